//! Accounts and keys: what may be opened with what. The formulas stand in `crypto`.
//!
//! ```text
//! passphrase ─stretch─► slot key ─unwraps─► root key ─opens─► audit key, exchange key, vault key
//! vault key ─wraps─► record key (one per key) ─seals─► metadata, secret, history
//! ```
//!
//! A [`Vault`] is what the process holds while everything is locked: the store and the host key. An
//! [`Unlocked`] is one account's keys, in locked memory, wiped when dropped; only it can read or write a
//! record. Neither knows about sessions, callers or events: that is the service's job.

mod account;
mod codes;
mod host_key;
pub mod key_file;
mod limits;
mod ready;
mod record;
mod recovery;
mod sealed;
mod sign_in;
mod slot;
mod totp;
mod ways;

use std::sync::Arc;
use std::time::Duration;

pub use account::{Device, NewAccount, Unlocked};
pub use host_key::load_or_create as load_host_key;
pub use limits::Origin;
pub use ready::{ReadyKey, Terms};
pub use record::{NewKey, OpenedKey, Record};
pub use recovery::RecoveredAccount;
pub use sign_in::{SignIn, StepUp};
pub use ways::NewWay;

use crate::error::Result;
use crate::host::Host;
use crate::memory::LockedKey;
use crate::store::{Id, Store};

/// The locked vault: a store of sealed rows, and the key of this machine.
pub struct Vault {
    store: Arc<dyn Store>,
    host: Host,
    host_key: LockedKey,
    /// Unix milliseconds and boot time when this was made.
    opened_at: (i64, Duration),
}

impl Vault {
    /// A vault over a store. The host key counts attempts and answers for unknown accounts.
    pub fn new(store: Arc<dyn Store>, host: Host, host_key: LockedKey) -> Self {
        let opened_at = (host.clock.now().as_millisecond(), host.clock.boot());
        Vault {
            opened_at,
            store,
            host,
            host_key,
        }
    }

    /// Writes the store's log back into its file.
    pub fn checkpoint(&self) -> Result<()> {
        self.store.checkpoint()
    }

    /// Unix milliseconds of the wall clock.
    fn now_ms(&self) -> i64 {
        self.host.clock.now().as_millisecond()
    }

    /// A random identifier.
    fn new_id(&self) -> Id {
        let mut id = Id::default();
        self.host.random.fill(&mut id);
        id
    }
}
