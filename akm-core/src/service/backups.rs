//! The arms for backups: making one, listing, checking, scheduling.
//!
//! A backup is of the whole vault, so its events stand in the system's chain, whoever asked and whether or not
//! anybody is unlocked: the scheduled one runs while the vault is locked as well. No session is held while
//! pages are copied or checked.
//!
//! The order of making one: copy a snapshot → check it → write the event → fold the journal and carry the
//! events over, so that every change in the backup has its event there → open in it what is open here → flush, rename, flush the
//! directory. The newest one of which keys were opened is never removed: what is made of a locked vault shows its structure
//! only, and damage behind that must not push the last good one out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::Caller;
use crate::backup::schedule::{self, MAX_AGE_DAYS, MAX_KEEP};
use crate::backup::{Directory, Found};
use crate::error::{Error, Kind, Result};
use crate::protocol::{
    Backup, BackupCreate, BackupCreated, BackupPage, BackupSchedule, BackupScheduled,
    BackupVerification, BackupVerify, Op, Progress, Role, Schedule, Verified,
};
use crate::regular::{self, Links};
use crate::store::{Contents, Id, SqliteStore};
use crate::vault::{Check, Origin, Vault};

use super::{Service, done, failed, origin, shape, this_process};

/// From one scheduled backup to the next.
const DAILY_S: u64 = 24 * 60 * 60;
/// How many a schedule keeps that does not say.
const KEEP: u32 = 14;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Names the newest backup of which keys were opened; in the state directory.
const OPENED: &str = "backup.opened";
/// Longest name of a backup.
const MAX_NAME: u64 = 255;

/// What the service keeps for backups.
pub(super) struct Backups {
    directory: Directory,
    state: PathBuf,
    schedule: Mutex<Option<Schedule>>,
    work: Arc<Work>,
}

/// The one backup that is being made, checked or restored.
#[derive(Default)]
struct Work {
    taken: AtomicBool,
    done: AtomicU64,
    /// Zero while nothing is under way.
    total: AtomicU64,
}

impl Backups {
    pub(super) fn open(path: PathBuf, state: PathBuf, vault: Id) -> Result<Backups> {
        Ok(Backups {
            directory: Directory::new(path, vault),
            schedule: Mutex::new(schedule::load(&state)?),
            state,
            work: Arc::default(),
        })
    }

    /// One at a time: they are long, and each takes the disk for itself. What is restored has one place to be prepared in.
    pub(super) fn turn(&self) -> Result<Turn> {
        if self.work.taken.swap(true, Ordering::Acquire) {
            return Err(Error::new(
                Kind::Unavailable,
                "another backup is being made, checked or restored",
            )
            .with_hint("try again when it is done"));
        }
        Ok(Turn(Arc::clone(&self.work)))
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    fn schedule(&self) -> MutexGuard<'_, Option<Schedule>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn page(&self) -> Result<BackupPage> {
        let found = self.directory.list()?;
        Ok(BackupPage {
            backups: found.into_iter().map(described).collect(),
            directory: self.directory.path().display().to_string(),
            schedule: self.schedule().clone(),
            running: self.running(),
        })
    }

    /// Opens a copy to read it, and checks all of it.
    pub(super) fn open_copy(&self, name: &str) -> Result<(Turn, SqliteStore, Contents)> {
        let path = self.directory.find(name)?;
        let turn = self.turn()?;
        turn.at(0, 1);
        let copy = SqliteStore::open_copy(&path, false)?;
        let contents = copy.check_structure()?;
        Ok((turn, copy, contents))
    }

    fn running(&self) -> Option<Progress> {
        let total = self.work.total.load(Ordering::Relaxed);
        (total > 0).then(|| Progress {
            done: self.work.done.load(Ordering::Relaxed).min(total),
            total,
        })
    }
}

/// The right to work on a backup, wherever it is taken along; progress is shown while it lasts.
pub(super) struct Turn(Arc<Work>);

impl Turn {
    pub(super) fn at(&self, done: u64, total: u64) {
        self.0.done.store(done, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.at(0, 0);
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Service {
    pub(super) fn create_backup(
        &self,
        caller: &Caller,
        request: &BackupCreate,
    ) -> Result<BackupCreated> {
        if request.keep.is_some() || request.max_age_days.is_some() {
            // Backups are removed by it.
            self.noted(caller, Op::BackupCreate, self.backup_keeper(caller))?;
            self.ask_to_change(caller, Op::BackupCreate)?;
        }
        let made = bounded(request.keep, request.max_age_days)
            .and_then(|()| self.make_backup(caller, request.keep, request.max_age_days));
        self.noted(caller, Op::BackupCreate, made)
    }

    /// Whether the caller may decide about what everybody has: put an older state in its place, remove backups, say how
    /// many are kept. That is the agent's own user, or somebody on the host whose account has the role `admin` and is
    /// open. An account of one's own is not enough: where a group shares an agent, anybody in it makes one. Says
    /// which of the two it is.
    pub(super) fn backup_keeper(&self, caller: &Caller) -> Result<Origin> {
        if origin(caller) == Origin::Owner {
            return Ok(Origin::Owner);
        }
        if let Ok(session) = self.sessions.read().live(caller, &*self.host.clock) {
            let standing = self.vault.standing(session.account.id())?;
            if standing.role == Role::Admin && !standing.disabled {
                return Ok(origin(caller));
            }
        }
        Err(not_for_every_account())
    }

    /// Makes the backup that is due by the schedule, also while everything is locked; nothing without a schedule.
    pub fn scheduled_backup(&self) -> Result<()> {
        let Some(schedule) = self.backup_schedule() else {
            return Ok(());
        };
        let caller = this_process();
        let made = self.make_backup(&caller, Some(schedule.keep), schedule.max_age_days);
        self.noted(&caller, Op::BackupCreate, made).map(drop)
    }

    /// Name and path of this vault's backups, oldest first; of more than a schedule can keep, the newest.
    pub fn own_backups(&self) -> Result<Vec<(String, PathBuf)>> {
        let directory = &self.backups.directory;
        let mut own = directory.own()?;
        own.truncate(MAX_KEEP as usize);
        let named = own.into_iter().rev().map(|found| {
            let path = directory.path().join(&found.name);
            (found.name, path)
        });
        Ok(named.collect())
    }

    /// The schedule of backups, if there is one.
    pub fn backup_schedule(&self) -> Option<Schedule> {
        self.backups.schedule().clone()
    }

    pub(super) fn list_backups(&self) -> Result<BackupPage> {
        self.backups.page()
    }

    pub(super) fn verify_backup(
        &self,
        caller: &Caller,
        request: &BackupVerify,
    ) -> Result<BackupVerification> {
        let (turn, copy, contents) = self.backups.open_copy(&request.name)?;
        let copy = self.vault.over_copy(Arc::new(copy));
        let own = {
            let table = self.sessions.read();
            let live = table.live(caller, &*self.host.clock);
            live.map(|session| *session.account.id())
        };
        let opened = match own {
            Ok(own) => self.open_in_copy(&copy, &own, &turn)?,
            Err(_) => None,
        };
        Ok(verified(&request.name, contents, opened))
    }

    /// Opens all keys of an open account in a copy, and says how many; `None` where they cannot be, or not any more. The table of
    /// sessions is held for a few keys at a time: a lock does not wait for a large vault.
    fn open_in_copy(&self, copy: &Vault, account: &Id, turn: &Turn) -> Result<Option<u64>> {
        let mut check = Check::default();
        while !check.done {
            let table = self.sessions.read();
            let Some(session) = table.of_account(account) else {
                return Ok(None);
            };
            if !self.vault.open_copy(copy, &session.account, &mut check)? {
                return Ok(None);
            }
            turn.at(check.seen, self.vault.records(&session.account)?.max(1));
        }
        check.whole_copy().map(Some)
    }

    /// The same for every account that is open; says how many keys in all.
    fn open_all_in_copy(&self, copy: &Vault, turn: &Turn) -> Result<Option<u64>> {
        let open: BTreeSet<Id> = {
            let table = self.sessions.read();
            table
                .all()
                .map(|(_, session)| *session.account.id())
                .collect()
        };
        let mut opened = None;
        for account in &open {
            if let Some(keys) = self.open_in_copy(copy, account, turn)? {
                opened = Some(opened.unwrap_or(0) + keys);
            }
        }
        Ok(opened)
    }

    pub(super) fn schedule_backups(
        &self,
        caller: &Caller,
        request: &BackupSchedule,
    ) -> Result<BackupScheduled> {
        self.noted(caller, Op::BackupSchedule, self.backup_keeper(caller))?;
        self.ask_to_change(caller, Op::BackupSchedule)?;
        let set = || {
            bounded(request.keep, request.max_age_days)?;
            let schedule = request.daily.then(|| Schedule {
                every_s: DAILY_S,
                keep: request.keep.unwrap_or(KEEP),
                max_age_days: request.max_age_days,
            });
            let mut held = self.backups.schedule();
            self.audit
                .append_system(&done(Op::BackupSchedule, caller))?;
            schedule::save(&self.backups.state, schedule.as_ref())?;
            held.clone_from(&schedule);
            Ok(BackupScheduled { schedule })
        };
        self.noted(caller, Op::BackupSchedule, set())
    }

    fn make_backup(
        &self,
        caller: &Caller,
        keep: Option<u32>,
        max_age_days: Option<u32>,
    ) -> Result<BackupCreated> {
        let turn = self.backups.turn()?;
        let directory = &self.backups.directory;
        let now = self.host.clock.now();
        let draft = directory.draft(now)?;
        turn.at(0, 1);
        self.file
            .copy_into(draft.path(), &mut |done, total| turn.at(done, total))?;
        let copy = SqliteStore::open_copy(draft.path(), true)?;
        copy.check_structure()?;
        self.audit.append_system(&done(Op::BackupCreate, caller))?;
        self.audit.fold()?;
        self.file.carry_events(&copy)?;
        copy.close_copy()?;
        let opened = {
            let copy = SqliteStore::open_copy(draft.path(), false)?;
            self.open_all_in_copy(&self.vault.over_copy(Arc::new(copy)), &turn)
        };
        let name = draft.name().to_owned();
        // A damaged one as well: it may be all that there is. It takes no older one's place.
        let bytes = draft.publish()?;
        let opened = opened?;
        if opened.is_some() {
            schedule::replace(&self.backups.state, OPENED, name.as_bytes())?;
        }
        let oldest = max_age_days.map(|days| {
            now.as_millisecond()
                .saturating_sub(i64::from(days).saturating_mul(DAY_MS))
        });
        let removed = match (keep, oldest) {
            (None, None) => Vec::new(),
            (keep, oldest) => {
                let proved =
                    regular::read(&self.backups.state.join(OPENED), Links::Refuse, MAX_NAME)?;
                let proved = proved.unwrap_or_default();
                directory.prune(&[name.as_bytes(), &proved], keep, oldest)?
            }
        };
        Ok(BackupCreated {
            backup: Backup {
                name,
                created_at: shape::time(now),
                bytes,
                own: true,
            },
            removed,
            verified: how_far(opened),
            decrypted: opened.unwrap_or(0),
        })
    }

    /// A failure leaves an event of its own; a success wrote it on the way.
    pub(super) fn noted<T>(&self, caller: &Caller, op: Op, answer: Result<T>) -> Result<T> {
        if let Err(error) = &answer {
            // The refusal stands whether or not its event could be written.
            let _ = self.audit.append_system(&failed(op, caller, error.kind()));
        }
        answer
    }
}

fn bounded(keep: Option<u32>, max_age_days: Option<u32>) -> Result<()> {
    if keep.is_some_and(|keep| keep == 0 || keep > MAX_KEEP) {
        return Err(Error::invalid("keep", "from 1 to 10000 backups are kept"));
    }
    if max_age_days.is_some_and(|days| days == 0 || days > MAX_AGE_DAYS) {
        return Err(Error::invalid(
            "max_age_days",
            "backups are kept from 1 to 36500 days",
        ));
    }
    Ok(())
}

pub(super) fn verified(name: &str, contents: Contents, opened: Option<u64>) -> BackupVerification {
    BackupVerification {
        name: name.to_owned(),
        verified: how_far(opened),
        accounts: contents.accounts,
        keys: contents.keys,
        decrypted: opened.unwrap_or(0),
    }
}

fn how_far(opened: Option<u64>) -> Verified {
    match opened {
        Some(_) => Verified::Decrypted,
        None => Verified::Structure,
    }
}

/// To whoever may not decide about what everybody has.
pub(super) fn not_for_every_account() -> Error {
    Error::new(
        Kind::Denied,
        "this decides about everybody's keys, and is not for every account",
    )
    .with_hint("ask the user that the agent runs as, or an account with the role admin")
}

fn described(found: Found) -> Backup {
    Backup {
        name: found.name,
        created_at: shape::time_ms(found.created_at),
        bytes: found.bytes,
        own: found.own,
    }
}
