//! A vault inside this process: the same service the agent runs, with this process as the caller.
//!
//! Invariants: sessions end on time even when nobody calls (a keeper thread per vault, asleep while there is nothing
//! to do); slow operations run on a thread with a stack of known size, because callers such as koffi lend as little
//! as 128 KiB without a guard page; our threads take none of the host program's signals.
//!
//! Grants cannot be enforced here: whoever holds the process holds the vault.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use akm_core::audit::Caller;
use akm_core::host::Host;
use akm_core::paths::{self, Places};
use akm_core::protocol::{Cost, LockReason, Op, Request};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Options};
use akm_core::store::SqliteStore;
use akm_core::{Error, Kind, Result};
use nix::sys::signal::{SigSet, SigmaskHow};

/// Stack of our own threads.
const STACK: usize = 2 * 1024 * 1024;
/// How long an audit event may lie in the journal before it is folded into the store.
const FOLD_AFTER: Duration = Duration::from_secs(5);
/// Longest sleep while a session has an end: a suspended machine stops this clock but not the session's.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

pub(crate) struct Embedded {
    service: Arc<Door>,
    caller: Caller,
    bell: Arc<Bell>,
    keeper: Option<JoinHandle<()>>,
}

/// How calls wake the keeper.
#[derive(Default)]
struct Bell {
    state: Mutex<Chore>,
    rung: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Chore {
    /// Nothing to fold and no session: sleep without end.
    #[default]
    Nothing,
    /// A call was made.
    Called,
    /// The handle is closed.
    Stop,
}

impl Embedded {
    pub(crate) fn open(vault: Option<&Path>) -> Result<Self> {
        let host = Host::real();
        let service = on_own_stack(|| {
            let Homes {
                vault,
                journal,
                state,
                backups,
            } = places(vault)?;
            Door::open(Options {
                vault,
                journal,
                state,
                backups,
                host: host.clone(),
                key_limit: None,
                default_lifetime: None,
                outbound: Outbound::default(),
            })
        })?;
        let service = Arc::new(service);
        let bell = Arc::new(Bell::default());
        let keeper = {
            let (service, bell) = (service.clone(), bell.clone());
            quietly(|| {
                thread::Builder::new()
                    .name("akm-keeper".into())
                    .stack_size(STACK)
                    .spawn(move || keep(&service, &host, &bell))
            })
        };
        Ok(Embedded {
            service,
            caller: this_process(),
            bell,
            keeper: Some(keeper.map_err(|error| Error::from_io(&error))?),
        })
    }

    pub(crate) fn call(&self, op: &str, json: &[u8]) -> Result<Vec<u8>> {
        let op = Op::from_name(op)
            .ok_or_else(|| Error::new(Kind::NotFound, "there is no such operation"))?;
        let run = || -> Result<Vec<u8>> {
            // The locked gate before anything of the request is looked at.
            self.service.gate(&self.caller, op)?;
            let request = Request::decode(op, json)?;
            self.service.call(&self.caller, request)?.to_json()
        };
        let answer = match op.cost() {
            Cost::Quick => run(),
            Cost::Store | Cost::Deriving | Cost::Outbound => on_own_stack(run),
        };
        self.bell.ring(Chore::Called);
        answer
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.bell.ring(Chore::Stop);
        if let Some(keeper) = self.keeper.take() {
            // Its panic, if there was one, was told when it happened.
            let _ = keeper.join();
        }
    }
}

impl Bell {
    fn ring(&self, chore: Chore) {
        let mut state = self.lock();
        if *state != Chore::Stop && *state != chore {
            *state = chore;
            self.rung.notify_one();
        }
    }

    /// Waits for a chore, or at most for `limit`.
    fn wait(&self, limit: Option<Duration>) -> Chore {
        let asleep = |state: &mut Chore| *state == Chore::Nothing;
        let state = match limit {
            None => self.rung.wait_while(self.lock(), asleep),
            Some(limit) => self
                .rung
                .wait_timeout_while(self.lock(), limit, asleep)
                .map(|(state, _)| state)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let chore = *state;
        if chore == Chore::Called {
            *state = Chore::Nothing;
        }
        chore
    }

    /// Waits until the handle is closed, or for `limit`; leaves other rings for later.
    fn wait_for_stop(&self, limit: Duration) -> Chore {
        let going = |state: &mut Chore| *state != Chore::Stop;
        match self.rung.wait_timeout_while(self.lock(), limit, going) {
            Ok((state, _)) => *state,
            Err(poisoned) => *poisoned.into_inner().0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Chore> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keeper: after a call it looks when the session ends, folds the journal, and ends sessions on time; at the end it locks.
fn keep(service: &Door, host: &Host, bell: &Bell) {
    loop {
        let until_deadline = service.next_deadline().map(|deadline| {
            deadline
                .saturating_sub(host.clock.boot())
                .min(LONGEST_SLEEP)
        });
        match bell.wait(until_deadline) {
            Chore::Stop => break,
            Chore::Nothing => {
                service.expire();
            }
            Chore::Called => {
                // Calls come in bursts: one fold for all of them, unless a session ends before.
                let pause = service
                    .next_deadline()
                    .map(|deadline| deadline.saturating_sub(host.clock.boot()))
                    .map_or(FOLD_AFTER, |left| left.min(FOLD_AFTER));
                if bell.wait_for_stop(pause) == Chore::Stop {
                    break;
                }
                service.expire();
                // A failure leaves the events in the journal; the next fold takes them.
                let _ = service.fold();
            }
        }
    }
    service.lock_all(LockReason::Stop);
    let _ = service.fold();
    // What is not written back now, the next opener writes back.
    let _ = service.checkpoint();
}

/// Where a vault and what belongs to it are.
struct Homes {
    vault: PathBuf,
    journal: PathBuf,
    state: PathBuf,
    backups: PathBuf,
}

/// The places of a vault, with their directories made.
///
/// The default vault has one state directory however it is named: a second one would hold a second host key, with
/// fresh counters of failed attempts and a system chain that nobody could verify.
fn places(vault: Option<&Path>) -> Result<Homes> {
    let Some(vault) = vault else {
        return default_places(Places::from_env()?);
    };
    let vault = std::path::absolute(vault).map_err(|error| Error::from_io(&error))?;
    let (Some(dir), Some(_)) = (vault.parent(), vault.file_name()) else {
        return Err(Error::invalid("vault", "the path names no file"));
    };
    // Before anything is made beside it.
    if vault.is_dir() {
        return Err(Error::invalid("vault", "the path names a directory"));
    }
    SqliteStore::look_first(&vault)?;
    // A directory that the program chose and that exists is its own business: it may hold more than a vault.
    if !dir.exists() {
        paths::ensure_dir(dir)?;
    }
    // A process without usable defaults (no home, say) has no default vault that this one could be.
    if let Ok(places) = Places::from_env()
        && is_same_entry(&places.vault, &vault)
    {
        return default_places(places);
    }
    let state = dir.join("state");
    paths::ensure_dir(&state)?;
    Ok(Homes {
        journal: akm_core::paths::journal_beside(&vault),
        backups: dir.join("backups"),
        state,
        vault,
    })
}

fn default_places(places: Places) -> Result<Homes> {
    SqliteStore::look_first(&places.vault)?;
    let named = std::env::var_os("AKM_VAULT").is_some_and(|path| !path.is_empty());
    match places.vault.parent() {
        // As in the agent: the directory of a vault that the user named may serve other purposes, and keeps its mode.
        Some(dir) if named => paths::accept_dir(dir)?,
        Some(dir) => paths::ensure_dir(dir)?,
        None => {}
    }
    paths::ensure_dir(&places.state)?;
    Ok(Homes {
        vault: places.vault,
        journal: places.journal,
        state: places.state,
        backups: places.backups,
    })
}

/// Whether two paths name one entry of one directory. The last part is not followed: the store refuses a link there.
fn is_same_entry(one: &Path, other: &Path) -> bool {
    let real_dir = |path: &Path| path.parent()?.canonicalize().ok();
    one.file_name() == other.file_name()
        && real_dir(one).is_some_and(|dir| Some(dir) == real_dir(other))
}

/// This process as the caller; the effective user, as in the events that the service writes by itself.
fn this_process() -> Caller {
    let exe = std::env::current_exe().unwrap_or_default();
    Caller {
        uid: nix::unistd::geteuid().as_raw(),
        pid: nix::unistd::getpid().as_raw(),
        exe: exe.to_string_lossy().into_owned(),
        via: Default::default(),
        process: Default::default(),
    }
}

/// Runs a call on a thread of our own and waits for it. A panic there becomes `internal` here.
fn on_own_stack<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = quietly(|| {
            thread::Builder::new()
                .name("akm-call".into())
                .stack_size(STACK)
                .spawn_scoped(scope, run)
        });
        match worker {
            Ok(worker) => worker
                .join()
                .unwrap_or_else(|_| Err(Error::internal("akm panicked"))),
            Err(error) => Err(Error::from_io(&error)),
        }
    })
}

/// Starts a thread with every signal blocked: the host program's handlers run on the host program's threads.
fn quietly<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = start();
    if let Ok(mask) = before {
        // Cannot fail: the mask is one that was set before.
        let _ = mask.thread_set_mask();
    }
    started
}
