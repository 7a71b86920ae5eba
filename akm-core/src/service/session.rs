//! Sessions: which account is open for whom, and until when.
//!
//! A session belongs to a peer's uid and holds one account; unlocking another locks the first. Its keys
//! live in this table and nowhere else: whoever uses them holds the table's read guard, so that a lock,
//! which takes the write guard, answers only after the last use ended and the keys are wiped. Nobody
//! holds a guard during a key derivation or on the network; whoever comes back after one compares the
//! generation, and a changed one is locked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::AccountChain;
use crate::error::{Error, Result};
use crate::host::Clock;
use crate::vault::Unlocked;

use super::access::Answers;
use super::transfer::Transfers;

/// One open account.
pub(super) struct Session {
    pub(super) account: Unlocked,
    pub(super) chain: AccountChain,
    /// What is on its way out of or into the account; wiped with the session.
    pub(super) transfers: Transfers,
    /// What a person allowed for a while.
    pub(super) answers: Answers,
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
pub(super) struct Sessions {
    table: RwLock<Table>,
    /// Boot time in milliseconds at which the next session ends by itself, beside the table so that asking for it
    /// never waits; `NEVER` if none does.
    deadline_ms: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            table: RwLock::default(),
            deadline_ms: AtomicU64::new(NEVER),
        }
    }
}

#[derive(Default)]
pub(super) struct Table {
    by_uid: HashMap<u32, Session>,
    generation: u64,
    /// How often a uid locked, and how often everybody was locked.
    locks: HashMap<u32, u64>,
    all_locks: u64,
}

/// How often a uid had locked when something began; a lock since then is newer than what was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Locks(u64, u64);

/// An account on its way into a session.
pub(super) struct Opening {
    pub(super) account: Unlocked,
    pub(super) chain: AccountChain,
    pub(super) lifetime: Option<Duration>,
    /// From before the derivation.
    pub(super) since: Locks,
}

impl Table {
    fn locks(&self, uid: u32) -> Locks {
        Locks(self.locks.get(&uid).copied().unwrap_or(0), self.all_locks)
    }

    /// Some session of an account.
    pub(super) fn of_account(&self, account: &crate::store::Id) -> Option<&Session> {
        self.by_uid
            .values()
            .find(|session| session.account.id() == account)
    }

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

    /// Who has a session.
    #[cfg(feature = "providers")]
    pub(super) fn uids(&self) -> Vec<u32> {
        self.read().by_uid.keys().copied().collect()
    }

    /// How often a uid has locked up to now.
    pub(super) fn locks(&self, uid: u32) -> Locks {
        self.read().locks(uid)
    }

    /// Opens a session in place of whatever the uid had open. Nothing is opened, and `locked` or the error of `check`
    /// says so, where the uid locked since `opening` began or `check` refuses; both are decided where no lock and
    /// no change can come between. `last` runs before a replaced session is wiped.
    pub(super) fn open(
        &self,
        uid: u32,
        opening: Opening,
        clock: &dyn Clock,
        check: &dyn Fn(&Unlocked, &AccountChain) -> Result<()>,
        last: &mut dyn FnMut(u32, &Session),
    ) -> Result<Option<Timestamp>> {
        let Opening {
            account,
            chain,
            lifetime,
            since,
        } = opening;
        let deadline = lifetime.map(|lifetime| clock.boot().saturating_add(lifetime));
        let expires_at = lifetime.and_then(|lifetime| {
            let lifetime = jiff::SignedDuration::try_from(lifetime).ok()?;
            clock.now().checked_add(lifetime).ok()
        });
        let mut table = self.write();
        if table.locks(uid) != since {
            return Err(Error::locked());
        }
        check(&account, &chain)?;
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
                transfers: Transfers::default(),
                answers: Answers::default(),
                deadline,
                expires_at,
                generation,
            },
        );
        self.note_deadline(&table);
        Ok(expires_at)
    }

    /// Lets a session go on with other keys of its account, if it is still the one that was seen.
    pub(super) fn replace(&self, uid: u32, seen: Generation, account: Unlocked) {
        let mut table = self.write();
        if let Some(session) = table
            .by_uid
            .get_mut(&uid)
            .filter(|session| session.generation() == seen)
        {
            if !session.account.has_keys_of(&account) {
                // What is on its way in was sealed under keys that are replaced.
                session.transfers = Transfers::default();
            }
            session.account = account;
        }
    }

    /// Closes a uid's session; its keys are wiped when this returns. `last` runs before, with the session.
    pub(super) fn close(&self, uid: u32, last: &mut dyn FnMut(&Session)) -> bool {
        let mut table = self.write();
        *table.locks.entry(uid).or_default() += 1;
        let Some(session) = table.by_uid.remove(&uid) else {
            return false;
        };
        last(&session);
        self.note_deadline(&table);
        true
    }

    /// Closes every session that `which` names.
    pub(super) fn close_where(
        &self,
        which: &dyn Fn(&Session) -> bool,
        last: &mut dyn FnMut(u32, &Session),
    ) {
        let mut table = self.write();
        table.by_uid.retain(|uid, session| {
            let goes = which(session);
            if goes {
                last(*uid, session);
            }
            !goes
        });
        self.note_deadline(&table);
    }

    /// Closes every session, and whatever is on its way into one.
    pub(super) fn close_all(&self, last: &mut dyn FnMut(u32, &Session)) {
        self.write().all_locks += 1;
        self.close_where(&|_| true, last);
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
        match self.deadline_ms.load(Ordering::Acquire) {
            NEVER => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_deadline(&self, table: &Table) {
        let next = table
            .by_uid
            .values()
            .filter_map(|session| session.deadline)
            .min();
        // Rounded up: whoever wakes at the deadline finds it passed.
        let ms = next.map_or(NEVER, |next| {
            u64::try_from(next.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
        });
        self.deadline_ms.store(ms, Ordering::Release);
    }
}
