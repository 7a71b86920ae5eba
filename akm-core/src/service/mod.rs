//! Skeleton.
use std::path::PathBuf;
use std::time::Duration;

use crate::audit::Caller;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::protocol::{Request, Response};

/// Where a service finds its files and what bounds it.
pub struct Options {
    /// The vault file.
    pub vault: PathBuf,
    /// The state directory (host key, epoch anchor).
    pub state: PathBuf,
    /// Time, chance, cost.
    pub host: Host,
    /// Most keys per account; none by default.
    pub key_limit: Option<u64>,
    /// How providers are reached.
    #[cfg(feature = "providers")]
    pub outbound: crate::provider::Outbound,
}

/// The only door.
pub struct Service {}

impl Service {
    /// Opens or creates the vault and takes its ownership lock (`conflict` if another process has it).
    pub fn open(_options: Options) -> Result<Service> {
        Err(Error::internal("skeleton"))
    }
    /// Authorises, acts, audits. May block for a key derivation, a commit or the network.
    pub fn call(&self, _caller: &Caller, _request: Request) -> Result<Response> {
        Err(Error::internal("skeleton"))
    }
    /// As `call` for `Cost::Quick` operations, without ever waiting: hands the request back if it would have to.
    pub fn try_call(
        &self,
        _caller: &Caller,
        request: Request,
    ) -> std::result::Result<Result<Response>, Request> {
        Err(request)
    }
    /// Records in the system chain that a foreign uid was turned away.
    pub fn record_foreign_peer(&self, _caller: &Caller) -> Result<()> {
        Err(Error::internal("skeleton"))
    }
    /// Boot time (`Clock::boot`) at which the next session ends by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        None
    }
    /// Ends the sessions whose time is over.
    pub fn expire(&self) {}
    /// Ends every session; returns after the wipe.
    pub fn lock_all(&self) {}
    /// Folds the audit journal into the store. Call every few seconds and at shutdown.
    pub fn fold(&self) -> Result<()> {
        Ok(())
    }
}
