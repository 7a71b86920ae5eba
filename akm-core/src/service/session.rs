//! Sessions: which account is open for whom, and until when.
//!
//! A session belongs to a [`Principal`]: a peer's uid, or whoever shows a token that a network listener gave out. It
//! holds one account; a uid that unlocks another locks the first, a sign-in over the network has a session of its own. Its keys
//! live in this table and nowhere else: whoever uses them holds the table's read guard, so that a lock,
//! which takes the write guard, answers only after the last use ended and the keys are wiped. Nobody
//! holds a guard during a key derivation or on the network; whoever comes back after one compares the
//! generation, and a changed one is locked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::{AccountChain, Caller, TokenDigest, Via};
use crate::error::{Error, Kind, Result};
use crate::host::Clock;
use crate::protocol::LockReason;
use crate::store::Id;
use crate::vault::Unlocked;

use super::access::Answers;
use super::lifetimes::Lasting;
use super::transfer::Transfers;

/// Whom a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// The processes of a user of this machine.
    Uid(u32),
    /// Whoever shows the token of this digest.
    Token(TokenDigest),
    /// A client of a network listener that showed none: it has no session, whatever the table holds.
    Nobody,
}

impl From<u32> for Principal {
    fn from(uid: u32) -> Principal {
        Principal::Uid(uid)
    }
}

impl From<&Caller> for Principal {
    fn from(caller: &Caller) -> Principal {
        match caller.via {
            Via::Host => Principal::Uid(caller.uid),
            Via::Network(Some(token)) => Principal::Token(token),
            Via::Network(None) => Principal::Nobody,
        }
    }
}

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
    /// Where one over the network was begun from; none on the host.
    pub(super) from: Option<String>,
    /// Boot time at which it began, and the same for people.
    began: Duration,
    pub(super) opened_at: Timestamp,
    /// How long it may rest, and the boot time in milliseconds at which it was used last.
    pub(super) idle: Option<Duration>,
    used_ms: AtomicU64,
    /// Boot times at which keys with a lifetime began theirs, where that was not when the session did.
    lives: Mutex<HashMap<Id, Duration>>,
    generation: u64,
}

/// A session seen earlier, to be found again unchanged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

impl Session {
    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// What names it to its owner. It opens nothing.
    pub(super) fn handle(&self) -> String {
        self.generation.to_string()
    }

    /// Whether its time is over, swept or not.
    pub(super) fn is_over(&self, clock: &dyn Clock) -> bool {
        self.ends() && self.over(clock.boot()).is_some()
    }

    /// Somebody used it.
    pub(super) fn touch(&self, clock: &dyn Clock) {
        if self.idle.is_some() {
            self.used_ms.store(millis(clock.boot()), Ordering::Relaxed);
        }
    }

    /// Boot time at which the life of a key in it began.
    pub(super) fn life_of(&self, key: &Id) -> Duration {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.get(key).copied().unwrap_or(self.began)
    }

    pub(super) fn begin_life(&self, key: Id, now: Duration) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.insert(key, now);
    }

    /// When it ends by itself if nobody uses it, and why.
    fn end(&self) -> Option<(Duration, LockReason)> {
        let rested = self.idle.map(|idle| {
            let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
            (used.saturating_add(idle), LockReason::Idle)
        });
        let lived = self.deadline.map(|end| (end, LockReason::Lifetime));
        [lived, rested]
            .into_iter()
            .flatten()
            .min_by_key(|(end, _)| *end)
    }

    /// Whether it ends by itself at all; if not, no clock is asked.
    fn ends(&self) -> bool {
        self.deadline.is_some() || self.idle.is_some()
    }

    /// Why it is over at a boot time, if it is.
    fn over(&self, now: Duration) -> Option<LockReason> {
        let (end, why) = self.end()?;
        (end <= now).then_some(why)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The table of sessions.
pub(super) struct Sessions {
    table: RwLock<Table>,
    /// Boot time in milliseconds at which the next session ends by itself, beside the table so that asking for it
    /// never waits; `NEVER` if none does.
    deadline_ms: AtomicU64,
}

const NEVER: u64 = u64::MAX;
/// Most sessions of one account over the network, and of all accounts together: each holds an account's keys.
const MAX_OF_ACCOUNT: usize = 16;
const MAX_REMOTE: usize = 20_000;

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
    by_token: HashMap<TokenDigest, Session>,
    generation: u64,
    /// How often a uid locked, and how often everybody was locked.
    locks: HashMap<u32, u64>,
    all_locks: u64,
    /// Why the last session of a uid ended.
    reasons: HashMap<u32, LockReason>,
}

/// How often a uid had locked when something began; a lock since then is newer than what was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Locks(u64, u64);

/// What is done with a session just before it is wiped.
pub(super) type Last<'a> = &'a mut dyn FnMut(Principal, &Session, LockReason);

/// An account on its way into a session.
pub(super) struct Opening {
    pub(super) account: Unlocked,
    pub(super) chain: AccountChain,
    pub(super) lasting: Lasting,
    pub(super) from: Option<String>,
    /// From before the derivation.
    pub(super) since: Locks,
}

impl Table {
    fn locks(&self, who: Principal) -> Locks {
        let own = match who {
            Principal::Uid(uid) => self.locks.get(&uid).copied().unwrap_or(0),
            // A token is as new as the session it opens: nobody can have locked it.
            Principal::Token(_) | Principal::Nobody => 0,
        };
        Locks(own, self.all_locks)
    }

    /// Every session, and whom it belongs to.
    pub(super) fn all(&self) -> impl Iterator<Item = (Principal, &Session)> {
        let uids = self.by_uid.iter();
        let tokens = self.by_token.iter();
        uids.map(|(uid, session)| (Principal::Uid(*uid), session))
            .chain(tokens.map(|(token, session)| (Principal::Token(*token), session)))
    }

    /// Some session of an account.
    pub(super) fn of_account(&self, account: &crate::store::Id) -> Option<&Session> {
        self.all()
            .map(|(_, session)| session)
            .find(|session| session.account.id() == account)
    }

    fn get(&self, who: Principal) -> Option<&Session> {
        match who {
            Principal::Uid(uid) => self.by_uid.get(&uid),
            // Found by its digest: how long the look-up takes tells nothing of any token.
            Principal::Token(token) => self.by_token.get(&token),
            Principal::Nobody => None,
        }
    }

    fn get_mut(&mut self, who: Principal) -> Option<&mut Session> {
        match who {
            Principal::Uid(uid) => self.by_uid.get_mut(&uid),
            Principal::Token(token) => self.by_token.get_mut(&token),
            Principal::Nobody => None,
        }
    }

    /// A new session over the network ends the one of its account that was used least lately, where there are too
    /// many: whoever signs in again and again fills nobody's memory. Past the bound over all accounts nobody gets in.
    fn make_room(&mut self, account: Id, last: Last<'_>) -> Result<()> {
        let of_account = |(_, session): &(&TokenDigest, &Session)| *session.account.id() == account;
        if self.by_token.iter().filter(of_account).count() >= MAX_OF_ACCOUNT {
            let oldest = self
                .by_token
                .iter()
                .filter(of_account)
                .min_by_key(|(_, session)| {
                    let used = session.used_ms.load(Ordering::Relaxed);
                    (used, session.generation)
                })
                .map(|(token, _)| Principal::Token(*token));
            if let Some(who) = oldest
                && let Some(session) = self.remove(who)
            {
                last(who, &session, LockReason::Unlock);
            }
        }
        if self.by_token.len() >= MAX_REMOTE {
            return Err(Error::new(
                Kind::Unavailable,
                "too many sessions are open on this server",
            )
            .with_retry_after(60));
        }
        Ok(())
    }

    fn insert(&mut self, who: Principal, session: Session) {
        match who {
            Principal::Uid(uid) => drop(self.by_uid.insert(uid, session)),
            Principal::Token(token) => drop(self.by_token.insert(token, session)),
            Principal::Nobody => {}
        }
    }

    fn remove(&mut self, who: Principal) -> Option<Session> {
        match who {
            Principal::Uid(uid) => self.by_uid.remove(&uid),
            Principal::Token(token) => self.by_token.remove(&token),
            Principal::Nobody => None,
        }
    }

    /// The live session of whoever asks; one whose time is over is locked, swept or not.
    pub(super) fn live(&self, who: impl Into<Principal>, clock: &dyn Clock) -> Result<&Session> {
        self.get(who.into())
            .filter(|session| !session.is_over(clock))
            .ok_or_else(Error::locked)
    }

    /// Why a uid has no session, if it had one.
    pub(super) fn reason(&self, uid: u32, clock: &dyn Clock) -> Option<LockReason> {
        let unswept = self
            .by_uid
            .get(&uid)
            .and_then(|session| session.over(clock.boot()));
        unswept.or_else(|| self.reasons.get(&uid).copied())
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.by_uid.len() + self.by_token.len()
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
    pub(super) fn locks(&self, who: Principal) -> Locks {
        self.read().locks(who)
    }

    /// Opens a session in place of whatever the uid had open. Nothing is opened, and `locked` or the error of `check`
    /// says so, where the uid locked since `opening` began or `check` refuses; both are decided where no lock and
    /// no change can come between. `last` runs before a replaced session is wiped.
    pub(super) fn open(
        &self,
        who: Principal,
        opening: Opening,
        clock: &dyn Clock,
        check: &dyn Fn(&Unlocked, &AccountChain) -> Result<()>,
        last: Last<'_>,
    ) -> Result<Option<Timestamp>> {
        let Opening {
            account,
            chain,
            lasting: Lasting { lifetime, idle },
            from,
            since,
        } = opening;
        let (began, opened_at) = (clock.boot(), clock.now());
        let deadline = lifetime.map(|lifetime| began.saturating_add(lifetime));
        let expires_at = lifetime.and_then(|lifetime| {
            let lifetime = jiff::SignedDuration::try_from(lifetime).ok()?;
            opened_at.checked_add(lifetime).ok()
        });
        let mut table = self.write();
        if table.locks(who) != since {
            return Err(Error::locked());
        }
        check(&account, &chain)?;
        if let Some(replaced) = table.remove(who) {
            last(who, &replaced, LockReason::Unlock);
        }
        if from.is_some() {
            table.make_room(*account.id(), last)?;
        }
        table.generation += 1;
        let generation = table.generation;
        table.insert(
            who,
            Session {
                account,
                chain,
                transfers: Transfers::default(),
                answers: Answers::default(),
                deadline,
                expires_at,
                from,
                began,
                opened_at,
                idle,
                used_ms: AtomicU64::new(millis(began)),
                lives: Mutex::default(),
                generation,
            },
        );
        if let Principal::Uid(uid) = who {
            table.reasons.remove(&uid);
        }
        self.note_deadline(&table);
        Ok(expires_at)
    }

    /// Lets a session go on with other keys of its account, if it is still the one that was seen.
    pub(super) fn replace(&self, who: Principal, seen: Generation, account: Unlocked) {
        let mut table = self.write();
        if let Some(session) = table
            .get_mut(who)
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
    pub(super) fn close(&self, who: Principal, last: &mut dyn FnMut(&Session)) -> bool {
        let mut table = self.write();
        if let Principal::Uid(uid) = who {
            *table.locks.entry(uid).or_default() += 1;
        }
        let Some(session) = table.remove(who) else {
            return false;
        };
        if let Principal::Uid(uid) = who {
            table.reasons.insert(uid, LockReason::Asked);
        }
        last(&session);
        self.note_deadline(&table);
        true
    }

    /// Closes every session for which `why` has a reason; says how many.
    pub(super) fn close_where(
        &self,
        why: &dyn Fn(&Session) -> Option<LockReason>,
        last: Last<'_>,
    ) -> usize {
        let mut table = self.write();
        let before = table.count();
        let Table {
            by_uid,
            by_token,
            reasons,
            ..
        } = &mut *table;
        by_uid.retain(|uid, session| {
            let Some(reason) = why(session) else {
                return true;
            };
            reasons.insert(*uid, reason);
            last(Principal::Uid(*uid), session, reason);
            false
        });
        by_token.retain(|token, session| {
            let Some(reason) = why(session) else {
                return true;
            };
            last(Principal::Token(*token), session, reason);
            false
        });
        self.note_deadline(&table);
        before - table.count()
    }

    /// Closes every session, and whatever is on its way into one.
    pub(super) fn close_all(&self, reason: LockReason, last: Last<'_>) {
        self.write().all_locks += 1;
        self.close_where(&|_| Some(reason), last);
    }

    /// Closes the sessions whose time is over; says how many.
    pub(super) fn close_expired(&self, now: Duration, last: Last<'_>) -> usize {
        self.close_where(&|session| session.over(now), last)
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
            .all()
            .filter_map(|(_, session)| session.end().map(|(end, _)| end))
            .min();
        // Rounded up: whoever wakes at the deadline finds it passed.
        let ms = next.map_or(NEVER, |next| {
            u64::try_from(next.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
        });
        self.deadline_ms.store(ms, Ordering::Release);
    }
}
