//! The door: authorise, act, audit. Every way into akm, embedded or over a socket, comes through
//! [`Service::call`].
//!
//! Invariants: the locked gate stands before dispatch. A secret leaves only after its event is written; a
//! change commits only after its event is written (inside the same transaction, just before the commit).
//! A failed attempt leaves an event with the kind of its error. No guard on a session is held during a
//! key derivation or on the network.
//!
//! What it does not do: speak any wire, look at the environment, or know who is on a terminal.

mod access;
mod accounts;
mod admin;
mod allowance;
mod backups;
mod balance;
mod billing;
mod catalogue;
mod changes;
mod checks;
mod copy;
mod credentials;
mod custom;
mod dispatch;
mod documents;
mod door;
mod events;
mod export;
mod fields;
mod figures;
mod grants;
mod handover;
mod hosting;
mod import;
mod keyfile;
mod keys;
mod lifetimes;
mod missing;
mod monitoring;
mod orders;
mod payments;
mod rekey;
mod reminding;
mod removal;
mod restore;
mod salvage;
mod session;
mod shape;
mod shared;
#[cfg(feature = "providers")]
mod testing;
#[cfg(test)]
mod tests;
mod tiers;
mod transfer;
mod ui;
mod vouchers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::audit::{Audit, Caller, Event, Noted, Outcome, Via};
use crate::clipboard::Clipboard;
use crate::crypto;
use crate::dashboard::Dashboard;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::monitor::Monitor;
use crate::protocol::{Authority, Cost, LockReason, Op, Request, Response};
use crate::store::{SqliteStore, Store};
use crate::vault::{self, Origin, Vault};

pub use access::MAX_QUESTIONS;
pub use door::Door;
pub use figures::Figures;
pub use hosting::{Hosting, Registration, Visitor};
pub use lifetimes::Lifetimes;
pub use payments::PushAnswer;
pub use reminding::{Channel, Reminder};

use access::Gate;
use backups::Backups;
use dispatch::Asked;
use keyfile::Keyfiles;
use session::{Principal, Session, Sessions};

/// The account of a local vault, where none is named.
pub const DEFAULT_ACCOUNT: &str = "default";

/// Where a service finds its files and what bounds it.
#[derive(Clone)]
pub struct Options {
    /// The vault file; its directory must exist and be private.
    pub vault: PathBuf,
    /// The audit journal.
    pub journal: PathBuf,
    /// The state directory (host key); must exist and be private.
    pub state: PathBuf,
    /// Where backups are put; made when the first one is.
    pub backups: PathBuf,
    /// Time, chance, cost.
    pub host: Host,
    /// Most keys per account; none by default.
    pub key_limit: Option<u64>,
    /// When a session ends by itself whose request does not say; never by default.
    pub default_lifetime: Option<Duration>,
    /// How providers are reached.
    #[cfg(feature = "providers")]
    pub outbound: crate::provider::Outbound,
}

/// One vault, and the sessions on it. A program goes through a [`Door`].
pub struct Service {
    host: Host,
    vault: Vault,
    audit: Audit,
    sessions: Sessions,
    /// The file under the vault, for copies of it.
    file: Arc<SqliteStore>,
    backups: Backups,
    checks: checks::Checks,
    missing: Mutex<missing::Missing>,
    keyfiles: Keyfiles,
    key_limit: Option<u64>,
    billing: billing::Billing,
    lifetimes: Mutex<Lifetimes>,
    path: PathBuf,
    clipboard: Option<Arc<dyn Clipboard>>,
    dashboard: Option<Arc<dyn Dashboard>>,
    monitor: Option<Arc<dyn Monitor>>,
    /// What holds for clients of network listeners; without it nobody is served there.
    hosting: Option<Hosting>,
    access: access::Access,
    #[cfg(feature = "providers")]
    outbound: crate::provider::Outbound,
}

impl Service {
    /// Opens or creates the vault and takes its ownership lock: `conflict` if another process has it.
    pub fn open(options: Options) -> Result<Service> {
        let Options {
            vault: path,
            journal,
            state,
            backups,
            host,
            key_limit,
            default_lifetime,
            ..
        } = options;
        let file = Arc::new(SqliteStore::open(&path, &*host.random, &*host.clock)?);
        let store: Arc<dyn Store> = Arc::clone(&file) as Arc<dyn Store>;
        let host_key = vault::load_host_key(&state, &*host.random)?;
        let billing = billing::Billing::new(&host_key);
        let audit = Audit::open(
            &journal,
            Arc::clone(&store),
            host.clone(),
            &host_key,
            store.vault_id(),
        )?;
        let anchors = vault::Anchors::open(&state, &store.vault_id())?;
        let service = Service {
            keyfiles: Keyfiles::new(state.clone(), &store.vault_id()),
            vault: Vault::new(store, host.clone(), host_key, Some(anchors)),
            audit,
            sessions: Sessions::default(),
            backups: Backups::open(backups, state, file.vault_id())?,
            file,
            checks: checks::Checks::default(),
            missing: Mutex::default(),
            key_limit,
            billing,
            lifetimes: Mutex::new(Lifetimes {
                default: default_lifetime,
                ..Lifetimes::default()
            }),
            path,
            clipboard: None,
            dashboard: None,
            monitor: None,
            hosting: None,
            access: access::Access::default(),
            host,
            #[cfg(feature = "providers")]
            outbound: options.outbound,
        };
        service.look_for_missing()?;
        Ok(service)
    }

    /// Authorises, acts, audits. May take as long as a key derivation, a commit or the network.
    pub fn call(&self, caller: &Caller, request: Request) -> Result<Response> {
        let _turn = crypto::go_first(caller.is_owner());
        self.gate(caller, request.op())?;
        if request.op().authority() != Authority::Anyone {
            self.count_request(caller)?;
        }
        match request.op().authority() {
            Authority::Anyone => self.without_session(caller, request),
            Authority::Session => self.with_session(caller, request),
            Authority::Admin | Authority::Owner => self.administer(caller, request),
        }
    }

    /// The gate: `locked` where the operation needs a session and the caller has none, `denied` where it is not for this
    /// caller at all. A transport asks before it looks at the request's content.
    pub fn gate(&self, caller: &Caller, op: Op) -> Result<()> {
        if op.authority() == Authority::Anyone && caller.via == Via::Host {
            return Ok(());
        }
        self.admit(&self.sessions.read(), caller, op)
    }

    /// As [`Service::gate`], without ever waiting: `None` while the table of sessions is being changed.
    pub fn try_gate(&self, caller: &Caller, op: Op) -> Option<Result<()>> {
        if op.authority() == Authority::Anyone && caller.via == Via::Host {
            return Some(Ok(()));
        }
        let table = self.sessions.try_read()?;
        Some(self.admit(&table, caller, op))
    }

    /// As [`Service::call`] for operations of [`Cost::Quick`], without ever waiting for slow work: where it
    /// would have to, the request comes back.
    #[allow(clippy::result_large_err)] // The error is the request itself, not a failure.
    pub fn try_call(&self, caller: &Caller, request: Request) -> Result<Result<Response>, Request> {
        if request.op().cost() != Cost::Quick {
            return Err(request);
        }
        let Some(table) = self.sessions.try_read() else {
            return Err(request);
        };
        // On the host the look-up below is the whole gate.
        if caller.via != Via::Host
            && let Err(refused) = self.admit(&table, caller, request.op())
        {
            return Ok(Err(refused));
        }
        if let Request::AgentStatus(_) = request {
            return Ok(self.status(&table, caller).map(Response::AgentStatus));
        }
        let mut counted = None;
        let answer = table.live(caller, &*self.host.clock).and_then(|session| {
            self.count_of(session)?;
            counted = Some(*session.account.id());
            session.touch(&*self.host.clock);
            let asked = Asked {
                may_wait: false,
                ..Asked::new(session, caller, request.op())
            };
            self.audited(&asked, |asked| self.quick(asked, &request))
        });
        match answer {
            Ok(Gate::Done(response)) => Ok(Ok(response)),
            Ok(Gate::Ask(_) | Gate::Later) => {
                // It comes in again through `call`, which counts it.
                if let Some(account) = &counted {
                    self.uncount(account);
                }
                Err(request)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Records in the system chain that a foreign uid was turned away.
    pub fn record_foreign_peer(&self, caller: &Caller) -> Result<()> {
        self.audit
            .append_system(&failed(Op::AgentStatus, caller, Kind::Denied))
    }

    /// Boot time (`Clock::boot`) at which the next session ends by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.sessions.next_deadline()
    }

    /// Ends the sessions whose time is over; returns after the wipe, and says how many there were.
    pub fn expire(&self) -> usize {
        self.sessions
            .close_expired(self.host.clock.boot(), &mut |who, session, reason| {
                self.note_lock(who, session, reason)
            })
    }

    /// Ends every session; returns after the wipe.
    pub fn lock_all(&self, reason: LockReason) {
        self.sessions
            .close_all(reason, &mut |who, session, reason| {
                self.note_lock(who, session, reason)
            });
    }

    /// How many sessions are open.
    pub fn open_sessions(&self) -> usize {
        self.sessions.read().count()
    }

    /// How many audit events wait in the journal.
    pub fn pending_events(&self) -> usize {
        self.audit.pending()
    }

    /// Folds the audit journal into the store and syncs how far the vault has come. Call every few seconds and at the end.
    pub fn fold(&self) -> Result<()> {
        // Neither waits for the other's success.
        let anchored = self.vault.sync_anchors();
        self.audit.fold()?;
        anchored
    }

    /// Writes the store's log back into its file. Call before stopping.
    pub fn checkpoint(&self) -> Result<()> {
        self.vault.checkpoint()
    }

    /// After a removal: what was removed goes from the store's log as well. If that fails now, it goes with the
    /// next checkpoint.
    fn leave_no_trace(&self) {
        let _ = self.checkpoint();
    }

    /// A session that ends by itself is an event of the account, caused by this process.
    fn note_lock(&self, who: Principal, session: &Session, reason: LockReason) {
        let mut caller = this_process();
        if let Principal::Uid(uid) = who {
            caller.uid = uid;
            self.withdraw();
        }
        // Locking must not fail: without room for its event the keys are wiped all the same.
        let _ = self
            .audit
            .note(&session.chain, Noted::Lock(reason), Outcome::Ok, &caller);
    }

    /// Operations that need no session.
    fn without_session(&self, caller: &Caller, request: Request) -> Result<Response> {
        let op = request.op();
        let answer = match request {
            Request::AgentStatus(_) => {
                return self
                    .status(&self.sessions.read(), caller)
                    .map(Response::AgentStatus);
            }
            Request::ProviderList(_) => {
                return self.list_providers(caller).map(Response::ProviderList);
            }
            Request::ModelList(request) => {
                return self.list_models(caller, &request).map(Response::ModelList);
            }
            Request::BillingTiers(_) => return Ok(Response::BillingTiers(self.tiers())),
            Request::AgentLock(_) => return self.lock(caller).map(Response::AgentLock),
            Request::AgentUnlock(request) => {
                self.unlock(caller, &request).map(Response::AgentUnlock)
            }
            Request::AccountRegister(request) => self
                .register(caller, &request)
                .map(Response::AccountRegister),
            Request::AccountRecover(request) => {
                self.recover(caller, &request).map(Response::AccountRecover)
            }
            Request::UiOpen(_) => self.open_ui(caller).map(Response::UiOpen),
            Request::BackupList(_) => return self.list_backups().map(Response::BackupList),
            Request::BackupVerify(request) => {
                return self
                    .verify_backup(caller, &request)
                    .map(Response::BackupVerify);
            }
            // Only the door can replace what it leads to.
            Request::BackupRestore(_) => Err(Error::new(
                Kind::Unavailable,
                "a backup is restored through the door",
            )),
            _ => Err(Error::internal(
                "the table and the service disagree about an authority",
            )),
        };
        if let Err(error) = &answer {
            // The refusal stands whether or not its event could be written.
            let _ = self.audit.append_system(&failed(op, caller, error.kind()));
        }
        answer
    }
}

/// Whether it is the owner who asks (this process's own uid, over its own socket or inside it), another uid of the machine
/// as the kernel names it, or somebody on the network.
fn origin(caller: &Caller) -> Origin {
    match caller.via {
        Via::Host if caller.is_owner() => Origin::Owner,
        Via::Host => Origin::User(caller.uid),
        Via::Network(_) => Origin::Network,
    }
}

/// The event of an operation that is being done: written before its effect.
const fn done(op: Op, caller: &Caller) -> Event<'_> {
    Event {
        op,
        outcome: Outcome::Ok,
        record: None,
        key: None,
        caller,
    }
}

/// The event of an operation that failed.
const fn failed(op: Op, caller: &Caller, kind: Kind) -> Event<'_> {
    Event {
        op,
        outcome: Outcome::Failed(kind),
        record: None,
        key: None,
        caller,
    }
}

/// This process as the cause of an event nobody asked for.
fn this_process() -> Caller {
    let exe = std::env::current_exe()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    Caller {
        uid: nix::unistd::geteuid().as_raw(),
        pid: nix::unistd::getpid().as_raw(),
        exe,
        via: Default::default(),
        process: Default::default(),
    }
}
