//! The agent's HTTP server: who may connect, how much they may send, and where each operation runs.
//!
//! Invariants: the peer is known before a byte of it is parsed, and a foreign one is closed unread; quick
//! operations run on the one thread that read the request (a hand-off to another thread costs more than
//! the operation), slow ones never on it; every wait on a client has an end; whatever ends a session also
//! closes the connections whose buffers held its secrets.
//!
//! Only the agent's own user may connect, and, for an agent that runs as a user of its own, the members of one group
//! ([`Server::with_group`]); each has sessions of its own. That excludes root: root can read this process's memory anyway,
//! but a `sudo akm get` that silently used somebody's keys would be an accident waiting to happen.
//!
//! `run` gets a listener and a future that says when to stop; who binds and who catches signals is in
//! [`crate::daemon`], so a test binds anything. Listeners on the network are in [`network`], what they answer in
//! `remote`, and who asks there in [`visitor`]; the dashboard of the owner's own machine listens by itself (`crate::web`).

mod certificate;
mod connection;
mod daily;
pub(crate) mod desk;
mod foreign;
mod housekeeping;
pub mod lookout;
mod metrics;
pub mod network;
pub mod proxies;
mod rate;
mod remote;
mod room;
pub(crate) mod route;
pub(crate) mod timetable;
mod tls;
pub mod visitor;
mod webhook;

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use akm_core::audit::Caller;
use akm_core::error::{Error, Result};
use akm_core::memory::scrub_stack;
use akm_core::peer::{self, Peer};
use akm_core::protocol::LockReason;
use akm_core::service::Door;
use tokio::sync::{Notify, Semaphore, watch};

use crate::caller::{Process, keep_open};
use crate::harden;
use crate::jobs::Scheduler;
use crate::log::{self, Entry};
use crate::web::local::Local;

use foreign::Bucket;
use metrics::Metrics;
use room::{Room, Seat};

/// Most descriptors of connections: a socket each and, for one that speaks, its process's directory.
const MAX_DESCRIPTORS: usize = 32_768;
/// Descriptors for everything else: the store, the journal, threads, a client for whom there is no seat yet.
const RESERVED_DESCRIPTORS: u64 = 34;
/// Descriptors for the providers that are asked, four each, where there are many: at most this part of all.
const OUTBOUND_DESCRIPTORS: u64 = 4 * MAX_OUTBOUND as u64;
const OUTBOUND_PART: u64 = 16;
/// Descriptors for what is kept open of the processes that ask (`caller`), or this part of them.
const LINK_DESCRIPTORS: u64 = 128;
const LINK_PART: u64 = 32;
/// Time for a whole head, from the end of the answer before: so it is the idle limit as well.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a whole body after its head.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time a client may leave an answer unread in a full socket.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Most header lines.
const MAX_HEADERS: usize = 32;
/// Threads for slow operations.
const MAX_SLOW: usize = 120;
/// Of these, for quick operations that turned out not to be, and for changes: they read a file, or wait for a person.
/// More than there are questions, so that nobody waits behind those.
const MAX_ASKING: usize = akm_core::service::MAX_QUESTIONS + 8;
/// Of these, for operations on the store. What is left over is for locks, deadlines and folding.
const MAX_STORING: usize = 8;
/// Of these, for operations that derive a key: they use 64 MiB and a core each, a few at a time.
const MAX_DERIVING: usize = 4;
/// Of these, for those of the agent's own user, who does not wait behind others.
const MAX_OWN_DERIVING: usize = 2;
/// Of these, for operations that wait for a provider.
const MAX_OUTBOUND: usize = 64;
/// Time for answers under way when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// First and longest pause of the accept loop when descriptors run out.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A server in front of one service.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    daily_tests: bool,
    scheduler: Option<Arc<Mutex<Scheduler>>>,
    dashboard: Option<Arc<Local>>,
}

/// What every connection sees.
struct Shared {
    service: Arc<Door>,
    /// Who may connect.
    uid: u32,
    /// And whose members.
    group: OnceLock<u32>,
    phase: watch::Sender<Phase>,
    /// Wakes housekeeping: deadlines may have moved, or events wait to be folded.
    work: Notify,
    /// Wakes the daily tests: a session may have begun.
    sessions: Notify,
    /// Wakes the timetable: a job may have been switched on.
    jobs: Notify,
    /// Whether an operation ran since events were last folded.
    dirty: AtomicBool,
    asking: Arc<Semaphore>,
    storing: Arc<Semaphore>,
    deriving: Arc<Semaphore>,
    own_deriving: Arc<Semaphore>,
    outbound: Arc<Semaphore>,
    foreign: Mutex<Bucket>,
    /// Listeners on the network, where there are any.
    network: OnceLock<network::Network>,
    metrics: Arc<Metrics>,
    watch: OnceLock<Arc<lookout::Watch>>,
    connections: AtomicUsize,
}

/// What connections wait for beside their client.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Phase {
    /// Counts the ends of sessions.
    locks: u64,
    stopping: bool,
}

impl Server {
    /// A server in front of this service.
    pub fn new(service: Arc<Door>) -> Server {
        let phase = Phase {
            locks: 0,
            stopping: false,
        };
        Server {
            daily_tests: false,
            scheduler: None,
            dashboard: None,
            shared: Arc::new(Shared {
                service,
                uid: nix::unistd::geteuid().as_raw(),
                group: OnceLock::new(),
                phase: watch::Sender::new(phase),
                work: Notify::new(),
                sessions: Notify::new(),
                jobs: Notify::new(),
                dirty: AtomicBool::new(false),
                asking: Arc::new(Semaphore::new(MAX_ASKING)),
                storing: Arc::new(Semaphore::new(MAX_STORING)),
                deriving: Arc::new(Semaphore::new(MAX_DERIVING)),
                own_deriving: Arc::new(Semaphore::new(MAX_OWN_DERIVING)),
                outbound: Arc::new(Semaphore::new(MAX_OUTBOUND)),
                foreign: Mutex::new(Bucket::new(Instant::now())),
                network: OnceLock::new(),
                metrics: Arc::new(Metrics::new()),
                watch: OnceLock::new(),
                connections: AtomicUsize::new(0),
            }),
        }
    }

    /// The same, testing keys once a day.
    #[must_use]
    pub fn with_daily_tests(self, daily_tests: bool) -> Server {
        Server {
            daily_tests,
            ..self
        }
    }

    /// The same for the members of a group as well. Said once, before it serves.
    #[must_use]
    pub fn with_group(self, group: u32) -> Server {
        let _ = self.shared.group.set(group);
        self
    }

    /// The same with work that is done by itself while it serves.
    pub fn with_jobs(self, scheduler: Scheduler) -> Server {
        Server {
            scheduler: Some(Arc::new(Mutex::new(scheduler))),
            ..self
        }
    }

    /// The same with a dashboard, which the service leads to.
    pub(crate) fn with_dashboard(self, dashboard: Arc<Local>) -> Server {
        Server {
            dashboard: Some(dashboard),
            ..self
        }
    }

    /// The same on network listeners too. A second set is not taken.
    #[must_use]
    pub fn with_network(self, network: network::Network) -> Server {
        // Said once, while the server is put together.
        let _ = self.shared.network.set(network);
        self
    }

    /// The same, seen by whoever watches.
    #[must_use]
    pub fn with_watch(self, watch: Arc<lookout::Watch>) -> Server {
        watch.attach(&self.shared);
        // Said once, while the server is put together.
        let _ = self.shared.watch.set(watch);
        self
    }

    /// Takes up what may have changed in files: the certificate of the listeners.
    pub fn reload(&self) {
        if let Some(network) = self.shared.network.get() {
            network.reload();
        }
    }

    /// Serves until `shutdown` is ready, then lets answers under way finish for a few seconds. Sessions
    /// stay open: the caller ends them.
    ///
    /// Errors: `io` if the listener cannot be watched.
    pub async fn run(
        &self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<()> {
        let io = |error: io::Error| Error::from_io(&error);
        listener.set_nonblocking(true).map_err(io)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(io)?;
        let mut limit = connection_descriptors();
        let mut remote_limit = 0;
        if self.shared.network.get().is_some() {
            remote_limit = network::Network::connections(limit);
            // Each of theirs costs one descriptor.
            limit = limit.saturating_sub(remote_limit).max(room::FOR_ONE);
        }
        let room = Room::new(limit);
        if let Some(dashboard) = &self.dashboard {
            dashboard.serve(desk::Desk::new(&self.shared));
        }
        let remote_slots = Arc::new(Semaphore::new(remote_limit));
        let remote = network::accept_all(&self.shared, &remote_slots)?;
        let housekeeper = tokio::spawn(housekeeping::run(Arc::clone(&self.shared)));
        let tester = self
            .daily_tests
            .then(|| tokio::spawn(daily::run(Arc::clone(&self.shared))));
        let timetable = self
            .scheduler
            .as_ref()
            .map(|jobs| tokio::spawn(timetable::run(Arc::clone(&self.shared), Arc::clone(jobs))));

        tokio::select! {
            biased;
            () = shutdown => {}
            () = self.accept(&listener, &room) => {}
        }

        drop(listener);
        // Ends the listeners; connections have tasks of their own.
        for task in remote {
            task.abort();
        }
        self.shared.phase.send_modify(|phase| phase.stopping = true);
        let drained = async {
            room.emptied().await;
            let _theirs = remote_slots.acquire_many(remote_limit as u32).await;
        };
        // What is not answered by then is cut off by the end of the process.
        let _ = tokio::time::timeout(DRAIN, drained).await;
        housekeeper.abort();
        if let Some(tester) = tester {
            tester.abort();
        }
        // A job under way ends with the process; what it was making is removed by the next.
        if let Some(timetable) = timetable {
            timetable.abort();
        }
        Ok(())
    }

    /// Ends every session, off this thread, and closes the connections that held secrets.
    pub async fn lock_all(&self, reason: LockReason) {
        let shared = Arc::clone(&self.shared);
        shared
            .blocking(move |shared| {
                shared.service.lock_all(reason);
                shared.locked();
            })
            .await;
        // The events of the locks.
        shared.touched();
        log::write(&Entry::LockedAll {
            reason: reason.token(),
        });
        scrub_stack();
    }

    async fn accept(&self, listener: &tokio::net::UnixListener, room: &Arc<Room>) {
        let mut pause = BACKOFF.0;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    pause = BACKOFF.0;
                    self.admit(stream, room).await;
                }
                // The client went away before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors or memory: the queue keeps the client, asking again at once would spin.
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Decides by what the kernel says, before anything is read. A stream that is not admitted is closed.
    /// One that is has a seat before the next is looked at.
    async fn admit(&self, stream: tokio::net::UnixStream, room: &Arc<Room>) {
        // The room that asks the kernel speaks of plain streams.
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let Ok(peer) = peer::of(&stream) else {
            return;
        };
        if !self.shared.admits(&stream, peer) {
            let process = Process::pin(&stream, peer);
            drop(stream);
            if self.tells_of_foreign() {
                self.note_foreign(process.caller(), room.seat().await);
            }
            return;
        }
        let Ok(stream) = tokio::net::UnixStream::from_std(stream) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let seat = room.seat().await;
        let pinned = match Process::can_be_pinned_later(&stream) {
            true => None,
            false => Some((seat.second().await, Process::pin(&stream, peer))),
        };
        tokio::spawn(async move {
            shared.connections.fetch_add(1, Ordering::Relaxed);
            connection::serve(&shared, stream, peer, pinned, &seat).await;
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            drop(seat);
        });
    }

    /// One event per foreign attempt, but no faster than the bucket fills: the audit is not for others to fill.
    fn tells_of_foreign(&self) -> bool {
        let bucket = self.shared.foreign.lock();
        let mut bucket = bucket.unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now())
    }

    fn note_foreign(&self, caller: Caller, seat: Seat) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // Held until the end, so that a stop waits for the event.
            let _answering = seat.answering();
            shared
                .blocking(move |shared| {
                    // Refused all the same if it cannot be recorded.
                    let _ = shared.service.record_foreign_peer(&caller);
                })
                .await;
            shared.touched();
        });
    }
}

impl Shared {
    /// Whether a peer may speak at all. The groups are those it had when it connected.
    fn admits(&self, stream: &UnixStream, peer: Peer) -> bool {
        if peer.uid == self.uid {
            return true;
        }
        match self.group.get() {
            Some(group) if peer.uid != 0 => {
                peer.gid == Some(*group) || harden::peer_groups(stream.as_fd()).contains(group)
            }
            _ => false,
        }
    }

    /// Runs slow work on another thread, which leaves nothing on its stack. `None` if it panicked.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Option<T> {
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&shared)));
            scrub_stack();
            done.ok()
        })
        .await
        .ok()
        .flatten()
    }

    /// A session ended: the buffers of every connection may hold its secrets.
    fn locked(&self) {
        self.phase.send_modify(|phase| phase.locks += 1);
    }

    /// An operation ran: an event may wait in the journal.
    fn touched(&self) {
        if !self.dirty.swap(true, Ordering::Relaxed) {
            self.work.notify_one();
        }
    }
}

/// How many of the process's descriptors are for connections, beside links of their processes.
fn connection_descriptors() -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let links = LINK_DESCRIPTORS.min(descriptors / LINK_PART);
    keep_open(links as usize);
    let reserved =
        RESERVED_DESCRIPTORS + links + OUTBOUND_DESCRIPTORS.min(descriptors / OUTBOUND_PART);
    usize::try_from(descriptors.saturating_sub(reserved))
        .unwrap_or(MAX_DESCRIPTORS)
        .clamp(room::FOR_ONE, MAX_DESCRIPTORS)
}

/// The runtime that a server runs on: one thread for the sockets, a bounded number for slow work.
///
/// Errors: `io` if the system has no descriptors left.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_SLOW)
        .thread_name("akm-slow")
        .build()
        .map_err(|error| Error::from_io(&error))
}

/// Waits for a future that a pinned borrow of it will finish, or for the phase to change.
async fn until_changed<F: Future>(
    mut work: std::pin::Pin<&mut F>,
    phase: &mut watch::Receiver<Phase>,
) -> Option<F::Output> {
    let changed = pin!(phase.changed());
    tokio::select! {
        biased;
        done = work.as_mut() => Some(done),
        _ = changed => None,
    }
}
