//! Sessions: which account is open for whom, and until when.
//!
//! A session belongs to a peer's uid and holds one account; unlocking another locks the first. Its keys
//! live in this table and nowhere else: whoever uses them holds the table's read guard, so that a lock,
//! which takes the write guard, answers only after the last use ended and the keys are wiped. Nobody
//! holds a guard during a key derivation or on the network; whoever comes back after one compares the
//! generation, and a changed one is locked.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::AccountChain;
use crate::error::{Error, Result};
use crate::host::Clock;
use crate::vault::Unlocked;

/// One open account.
pub(super) struct Session {
    pub(super) account: Unlocked,
    pub(super) chain: AccountChain,
    /// Boot time at which it ends by itself.
    deadline: Option<Duration>,
    /// The same for people.
    pub(super) expires_at: Option<Timestamp>,
    generation: u64,
}

/// A session seen earlier, to be found again unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Session {
    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation)
    }
}

/// The table of sessions.
#[derive(Default)]
pub(super) struct Sessions {
    table: RwLock<Table>,
}

#[derive(Default)]
pub(super) struct Table {
    by_uid: HashMap<u32, Session>,
    generation: u64,
}

impl Table {
    /// The live session of a uid; one whose time is over is locked, swept or not.
    pub(super) fn live(&self, uid: u32, clock: &dyn Clock) -> Result<&Session> {
        self.by_uid
            .get(&uid)
            .filter(|session| {
                session
                    .deadline
                    .is_none_or(|deadline| clock.boot() < deadline)
            })
            .ok_or_else(Error::locked)
    }
}

impl Sessions {
    /// Waits for the table.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, if nobody is changing it.
    pub(super) fn try_read(&self) -> Option<RwLockReadGuard<'_, Table>> {
        match self.table.try_read() {
            Ok(table) => Some(table),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Opens a session in place of whatever the uid had open; `last` runs before that is wiped.
    pub(super) fn open(
        &self,
        uid: u32,
        account: Unlocked,
        chain: AccountChain,
        lifetime: Option<Duration>,
        clock: &dyn Clock,
        last: &mut dyn FnMut(u32, &Session),
    ) -> Option<Timestamp> {
        let deadline = lifetime.map(|lifetime| clock.boot().saturating_add(lifetime));
        let expires_at = lifetime.and_then(|lifetime| {
            let lifetime = jiff::SignedDuration::try_from(lifetime).ok()?;
            clock.now().checked_add(lifetime).ok()
        });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(replaced) = table.by_uid.remove(&uid) {
            last(uid, &replaced);
        }
        table.generation += 1;
        let generation = table.generation;
        table.by_uid.insert(
            uid,
            Session {
                account,
                chain,
                deadline,
                expires_at,
                generation,
            },
        );
        expires_at
    }

    /// Closes a uid's session; its keys are wiped when this returns. `last` runs before, with the session.
    pub(super) fn close(&self, uid: u32, last: &mut dyn FnMut(&Session)) -> bool {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = table.by_uid.remove(&uid) else {
            return false;
        };
        last(&session);
        true
    }

    /// Closes every session that `which` names.
    pub(super) fn close_where(
        &self,
        which: &dyn Fn(&Session) -> bool,
        last: &mut dyn FnMut(u32, &Session),
    ) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.by_uid.retain(|uid, session| {
            let goes = which(session);
            if goes {
                last(*uid, session);
            }
            !goes
        });
    }

    /// Closes the sessions whose time is over.
    pub(super) fn close_expired(&self, now: Duration, last: &mut dyn FnMut(u32, &Session)) {
        self.close_where(
            &|session| session.deadline.is_some_and(|deadline| deadline <= now),
            last,
        );
    }

    /// Boot time at which the next session ends by itself.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.read()
            .by_uid
            .values()
            .filter_map(|session| session.deadline)
            .min()
    }
}
