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
mod anchor;
mod canary;
mod check;
mod codes;
mod custom;
mod host_key;
pub mod key_file;
mod last_test;
mod limits;
mod manifest;
mod ready;
mod record;
mod recovery;
mod rekey;
mod rules;
mod sealed;
mod sign_in;
mod slot;
mod standing;
#[cfg(test)]
mod tests;
mod totp;
mod tree;
mod ways;

use std::sync::Arc;
use std::time::Duration;

pub use account::{Device, NewAccount, Unlocked};
pub use anchor::{Anchors, Position, Standing};
pub use check::Check;
pub(crate) use check::is_damage;
pub use host_key::load_or_create as load_host_key;
pub use last_test::LastTest;
pub use limits::Origin;
pub use manifest::{MAX_SLICE, Notice, announce_restore, claimed_position};
pub use ready::{ReadyKey, Terms};
pub use record::{Damage, NewKey, OpenedKey, Record, SealedKeys, is_overtaken};
pub use recovery::RecoveredAccount;
pub use rekey::{NewKeys, Rekeyed};
pub use rules::{Grant, MAX_GRANTS, Rules, Ruling, Use};
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
    /// How far this machine has seen each account come.
    anchors: Option<Anchors>,
    open: manifest::Registry,
    /// Unix milliseconds and boot time when this was made.
    opened_at: (i64, Duration),
}

impl Vault {
    /// A vault over a store. The host key counts attempts and answers for unknown accounts. Without anchors an older
    /// file is not noticed.
    pub fn new(
        store: Arc<dyn Store>,
        host: Host,
        host_key: LockedKey,
        anchors: Option<Anchors>,
    ) -> Self {
        let opened_at = (host.clock.now().as_millisecond(), host.clock.boot());
        Vault {
            opened_at,
            store,
            host,
            host_key,
            anchors,
            open: manifest::Registry::default(),
        }
    }

    /// Makes the anchors durable. Cheap when nothing changed.
    pub fn sync_anchors(&self) -> Result<()> {
        self.anchors.as_ref().map_or(Ok(()), Anchors::sync)
    }

    /// The accounts that this machine has seen, that are not in the vault and were not let go.
    pub fn missing_accounts(&self) -> Result<Vec<Id>> {
        match &self.anchors {
            Some(anchors) => anchors.seen_of(&|account| self.is_gone(account)),
            None => Ok(Vec::new()),
        }
    }

    /// Whether this is one of them.
    pub fn is_missing(&self, account: &Id) -> Result<bool> {
        match &self.anchors {
            Some(anchors) => Ok(self.is_gone(account)? && anchors.is_seen(account)?),
            None => Ok(false),
        }
    }

    /// How many accounts of other vaults this machine has seen.
    pub fn accounts_elsewhere(&self) -> Result<u64> {
        self.anchors.as_ref().map_or(Ok(0), Anchors::seen_elsewhere)
    }

    /// Whether this machine has seen an account in another vault and not in this one. Ids are drawn at random.
    fn is_seen_elsewhere(&self, account: &Id) -> Result<bool> {
        match &self.anchors {
            Some(anchors) => anchors.is_seen_elsewhere(account),
            None => Ok(false),
        }
    }

    fn is_gone(&self, account: &Id) -> Result<bool> {
        Ok(self.store.account(account)?.is_none())
    }

    /// Takes note that an account is about to go on purpose. Durable when it returns.
    pub fn let_go(&self, account: &Id) -> Result<()> {
        match &self.anchors {
            Some(anchors) => anchors.let_go(account),
            None => Ok(()),
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
