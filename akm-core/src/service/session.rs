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
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::{AccountChain, Caller, TokenDigest, Via};
use crate::error::{Error, Kind, Result};
use crate::host::Clock;
use crate::vault::Unlocked;

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

/// What a session that was begun over the network has beside the others.
pub(super) struct Remote {
    /// Where it was begun from.
    pub(super) from: String,
    /// When.
    pub(super) since: Timestamp,
    /// How long it lasts without being used.
    idle: Duration,
    /// Boot time in milliseconds when it was last used.
    used_ms: AtomicU64,
}

impl Remote {
    pub(super) fn new(from: String, clock: &dyn Clock, idle: Duration) -> Remote {
        Remote {
            from,
            since: clock.now(),
            idle,
            used_ms: AtomicU64::new(millis(clock.boot())),
        }
    }

    /// Boot time at which it ends if nobody uses it.
    fn deadline(&self) -> Duration {
        Duration::from_millis(self.used_ms.load(Ordering::Relaxed)).saturating_add(self.idle)
    }
}

/// Rounded up, so that whoever wakes then finds it passed.
fn millis(boot: Duration) -> u64 {
    u64::try_from(boot.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
}

/// One open account.
pub(super) struct Session {
    pub(super) account: Unlocked,
    pub(super) chain: AccountChain,
    /// What is on its way out of or into the account; wiped with the session.
    pub(super) transfers: Transfers,
    /// Boot time at which it ends by itself.
    deadline: Option<Duration>,
    /// The same for people.
    pub(super) expires_at: Option<Timestamp>,
    /// Of a session over the network.
    pub(super) remote: Option<Remote>,
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
        self.ends().is_some_and(|ends| ends <= clock.boot())
    }

    /// Boot time at which it ends by itself, as things stand.
    fn ends(&self) -> Option<Duration> {
        let idle = self.remote.as_ref().map(Remote::deadline);
        self.deadline.into_iter().chain(idle).min()
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
}

/// How often a uid had locked when something began; a lock since then is newer than what was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Locks(u64, u64);

/// An account on its way into a session.
pub(super) struct Opening {
    pub(super) account: Unlocked,
    pub(super) chain: AccountChain,
    pub(super) lifetime: Option<Duration>,
    pub(super) remote: Option<Remote>,
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
    fn make_room(
        &mut self,
        account: crate::store::Id,
        last: &mut dyn FnMut(Principal, &Session),
    ) -> Result<()> {
        let of_account = |(_, session): &(&TokenDigest, &Session)| *session.account.id() == account;
        if self.by_token.iter().filter(of_account).count() >= MAX_OF_ACCOUNT {
            let oldest = self
                .by_token
                .iter()
                .filter(of_account)
                .min_by_key(|(_, session)| {
                    let used = session.remote.as_ref().map(Remote::deadline);
                    (used, session.generation)
                })
                .map(|(token, _)| Principal::Token(*token));
            if let Some(who) = oldest
                && let Some(session) = self.remove(who)
            {
                last(who, &session);
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

    /// The live session of whoever asks; one whose time is over is locked, swept or not. Looking at it counts as use.
    pub(super) fn live(&self, who: impl Into<Principal>, clock: &dyn Clock) -> Result<&Session> {
        let session = self
            .get(who.into())
            .filter(|session| !session.is_over(clock))
            .ok_or_else(Error::locked)?;
        if let Some(remote) = &session.remote {
            let now = millis(clock.boot());
            remote.used_ms.fetch_max(now, Ordering::Relaxed);
        }
        Ok(session)
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

    /// How often somebody has locked up to now.
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
        last: &mut dyn FnMut(Principal, &Session),
    ) -> Result<Option<Timestamp>> {
        let Opening {
            account,
            chain,
            lifetime,
            remote,
            since,
        } = opening;
        let deadline = lifetime.map(|lifetime| clock.boot().saturating_add(lifetime));
        let expires_at = lifetime.and_then(|lifetime| {
            let lifetime = jiff::SignedDuration::try_from(lifetime).ok()?;
            clock.now().checked_add(lifetime).ok()
        });
        let mut table = self.write();
        if table.locks(who) != since {
            return Err(Error::locked());
        }
        check(&account, &chain)?;
        if let Some(replaced) = table.remove(who) {
            last(who, &replaced);
        }
        table.generation += 1;
        let generation = table.generation;
        if remote.is_some() {
            table.make_room(*account.id(), last)?;
        }
        table.insert(
            who,
            Session {
                account,
                chain,
                transfers: Transfers::default(),
                deadline,
                expires_at,
                remote,
                generation,
            },
        );
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
            session.account = account;
        }
    }

    /// Closes somebody's session; its keys are wiped when this returns. `last` runs before, with the session.
    pub(super) fn close(&self, who: Principal, last: &mut dyn FnMut(&Session)) -> bool {
        let mut table = self.write();
        if let Principal::Uid(uid) = who {
            *table.locks.entry(uid).or_default() += 1;
        }
        let Some(session) = table.remove(who) else {
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
        last: &mut dyn FnMut(Principal, &Session),
    ) {
        let mut table = self.write();
        let mut keep = |who: Principal, session: &Session| {
            let goes = which(session);
            if goes {
                last(who, session);
            }
            !goes
        };
        table
            .by_uid
            .retain(|uid, session| keep(Principal::Uid(*uid), session));
        table
            .by_token
            .retain(|token, session| keep(Principal::Token(*token), session));
        self.note_deadline(&table);
    }

    /// Closes every session, and whatever is on its way into one.
    pub(super) fn close_all(&self, last: &mut dyn FnMut(Principal, &Session)) {
        self.write().all_locks += 1;
        self.close_where(&|_| true, last);
    }

    /// Closes the sessions whose time is over.
    pub(super) fn close_expired(&self, now: Duration, last: &mut dyn FnMut(Principal, &Session)) {
        self.close_where(
            &|session| session.ends().is_some_and(|ends| ends <= now),
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
        let next = table.all().filter_map(|(_, session)| session.ends()).min();
        self.deadline_ms
            .store(next.map_or(NEVER, millis), Ordering::Release);
    }
}
