//! The door on a home that somebody else made, with a clock that only moves when told to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use akm_core::Result;
use akm_core::crypto::KdfCost;
use akm_core::host::Host;
use akm_core::protocol::{Op, Operation, Request, decode_result, encode, envelope, open_envelope};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Options};

use crate::support::{ManualClock, me};

pub(crate) struct Desk {
    pub(crate) door: Door,
    pub(crate) clock: Arc<ManualClock>,
}

impl Desk {
    /// Opens the home `later` seconds after the beginning of time.
    pub(crate) fn open(home: &Path, later: u64) -> Result<Desk> {
        let clock = ManualClock::at(1_800_000_000_000);
        clock.advance(Duration::from_secs(later));
        let door = Door::open(Options {
            vault: home.join("vault.db"),
            journal: home.join("audit.journal"),
            state: home.join("state"),
            backups: home.join("backups"),
            host: Host {
                clock: clock.clone(),
                kdf_cost: KdfCost::insecure_test(),
                ..Host::real()
            },
            key_limit: None,
            default_lifetime: None,
            outbound: Outbound::default(),
        })?;
        Ok(Desk { door, clock })
    }

    /// A request as typed by hand.
    pub(crate) fn raw(&self, op: Op, body: &str) -> Result<()> {
        let request = Request::decode(op, body.as_bytes())?;
        self.door.call(&me(), request).map(drop)
    }

    pub(crate) fn call<T: Operation + Into<Request>>(&self, request: T) -> Result<T::Result> {
        let request = Request::decode(T::OP, &encode(&request)?)?;
        let answer = envelope(&self.door.call(&me(), request));
        decode_result(open_envelope(&answer)?)
    }
}
