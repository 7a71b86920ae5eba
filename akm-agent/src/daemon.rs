//! The agent as a process: started, ready, told to stop.
//!
//! A program that wants an agent runs itself again ([`spawn`]) with a hidden first argument, which its
//! `main` hands to [`reexecuted`]. The new process detaches, and says on its standard output, a pipe, that it
//! is ready or why not: whoever started it waits for that and never for a time. Two that start together
//! both end with the one agent that got the socket.
//!
//! Invariants: hardened before the first thread and before the vault is opened; the socket listens before
//! the vault is opened, so that a client of the loser waits in the winner's queue; on SIGTERM and SIGINT
//! answers under way finish, every session is wiped, events are folded, the socket goes (unless a service manager passed
//! it), exit 0. SIGUSR1 locks. SIGHUP reads the configuration again, for sessions to come; one that is wrong changes
//! nothing. A changed certificate is taken up as well.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use akm_core::client::Client;
use akm_core::dashboard::Dashboard;
use akm_core::error::{Error, Kind, Result};
use akm_core::host::Host;
use akm_core::memory;
use akm_core::monitor::Monitor;
use akm_core::paths::{Places, accept_dir, ensure_dir};
use akm_core::protocol::{AgentStatus, LockReason};
use akm_core::service::{Door, Lifetimes, Options};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clipboard::{self, Helpers};
use crate::config::Config;
use crate::confirm::{self, People};
use crate::harden;
use crate::jobs::{Job, Scheduler};
use crate::lifetime::Lifetime;
use crate::log::{self, Entry};
use crate::manager::{self, Phase};
use crate::offsite::{Copies, Offsite};
#[cfg(target_os = "linux")]
use crate::sandbox;
use crate::selling::Selling;
use crate::server::lookout::Watch;
use crate::server::timetable::DailyBackup;
use crate::server::{self, Server, network};
use crate::socket::{self, Directory};
use crate::web::hosted::Hosted;
use crate::web::local::Local;

/// The hidden first argument of a program that runs itself again as the agent.
const REEXEC: &str = "__serve";
/// The name under which an agent runs, whatever program it is.
const ARG0: &str = "akm-agent";
/// How long an agent may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a ready agent says; anything else is an error object.
const READY: &[u8] = b"ready\n";
/// Most bytes that a starter reads.
const MAX_WORD: u64 = 8 * 1024;
/// The log starts anew beyond this size.
const MAX_LOG: u64 = 1024 * 1024;

/// How an agent is to run.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// A socket in place of the default one.
    pub socket: Option<PathBuf>,
    /// Lifetime of sessions that do not ask for one; overrides the configuration.
    pub lifetime: Option<Lifetime>,
    /// End when the process that started the agent ends.
    pub bound_to_parent: bool,
    /// Listen on the network too.
    pub network: Option<network::Options>,
}

/// Starts an agent in the background and returns its process id when it is ready. If one serves the socket
/// already, that is the one. The process is a child of this one, which reaps it if it lives that long.
///
/// Errors: what the agent failed with; `unavailable` if it ended without a word.
pub fn spawn(places: &Places) -> Result<i32> {
    match start(places, &Launch::default()) {
        Err(error) if error.kind() == Kind::Conflict => running(&places.socket).ok_or(error),
        started => started,
    }
}

/// As [`spawn`] with options; an agent that serves the socket already is `conflict`.
pub fn start(places: &Places, launch: &Launch) -> Result<i32> {
    let io = |error: std::io::Error| Error::from_io(&error);
    let mut child = Command::new(this_program())
        .arg0(ARG0)
        .arg(REEXEC)
        .args(launch.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file(places).map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()
        .map_err(io)?;
    let pid =
        i32::try_from(child.id()).map_err(|_| Error::internal("a process id is too large"))?;
    let mut word = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(MAX_WORD).read_to_end(&mut word).map_err(io)?;
    }
    if word == READY {
        return Ok(pid);
    }
    // It is ending; nothing of it is left behind.
    let _ = child.wait();
    Err(serde_json::from_slice(&word).unwrap_or_else(|_| {
        Error::new(Kind::Unavailable, "the agent ended before it was ready")
            .with_hint("its log is agent.log in the state directory")
    }))
}

/// The process id of the agent that serves a socket, if it is our own user's.
///
/// The kernel names whoever began to listen. Where that is a service manager, which passed the socket on, the agent says
/// itself who it is; in either case it is a process that runs as an agent.
pub fn running(socket: &Path) -> Option<i32> {
    let stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    let peer = akm_core::peer::of(&stream).ok()?;
    let listens = (peer.uid == nix::unistd::geteuid().as_raw())
        .then_some(peer.pid)
        .flatten()
        .filter(|pid| is_agent(*pid));
    listens.or_else(|| {
        let mut client = Client::connect_with_timeout(Some(socket), PATIENCE).ok()?;
        let pid = client.call(&AgentStatus {}).ok()?.pid?;
        is_agent(pid).then_some(pid)
    })
}

/// Whether a process runs as an agent, by the name that it was started under: a number that was used again belongs to
/// somebody who does not expect our signals.
pub fn is_agent(pid: i32) -> bool {
    // 0 and negative numbers are groups, 1 is nobody's agent.
    if pid <= 1 {
        return false;
    }
    if !Path::new("/proc/self").exists() {
        return true;
    }
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name = line.split(|byte| *byte == 0).next().unwrap_or_default();
    Path::new(OsStr::from_bytes(name)).file_name() == Some(OsStr::new(ARG0))
}

/// First thing in `main` of every program that calls [`spawn`]: if this process was started as the agent,
/// as the holder of its clipboard, or as a child of the doctor, serves to the end and returns the exit code.
pub fn reexecuted() -> Option<ExitCode> {
    if let Some(code) = clipboard::reexecuted() {
        return Some(code);
    }
    #[cfg(target_os = "linux")]
    if let Some(code) = crate::probe::reexecuted() {
        return Some(code);
    }
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != REEXEC {
        return None;
    }
    harden::close_inherited();
    let served = Launch::from_arguments(arguments).and_then(|launch| {
        // Fails only for a process that leads a session already, which is as good.
        let _ = nix::unistd::setsid();
        serve(&launch, say_ready)
    });
    if let Err(error) = served {
        report(&error);
        let word = serde_json::to_vec(&error).unwrap_or_default();
        // A starter that has gone away does not want to know.
        let _ = std::io::stdout().write_all(&word);
        return Some(ExitCode::FAILURE);
    }
    Some(ExitCode::SUCCESS)
}

fn say_ready(_: &Path) -> Result<()> {
    let io = |error: std::io::Error| Error::from_io(&error);
    // Not before all paths are absolute; a daemon keeps no file system busy.
    std::env::set_current_dir("/").map_err(io)?;
    let mut out = std::io::stdout();
    out.write_all(READY)
        .and_then(|()| out.flush())
        .map_err(io)?;
    // The starter reads to the end of the pipe.
    let null = File::options().write(true).open("/dev/null").map_err(io)?;
    nix::unistd::dup2_stdout(&null).map_err(|errno| io(errno.into()))
}

/// Serves in this process until told to stop. `ready` is called with the socket's path once clients may come.
///
/// Errors: whatever stops the agent from starting; once it serves, none.
pub fn serve(launch: &Launch, ready: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    harden::agent()?;
    #[cfg(target_os = "linux")]
    if !sandbox::deny_calls() {
        log::write(&Entry::Unbounded {
            bound: "system_calls",
        });
    }
    if launch.bound_to_parent {
        bind_to_parent()?;
    }
    let mut places = Places::from_env()?;
    let named = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let mut directory = match named("AKM_AGENT_SOCK") {
        true => Directory::Given,
        false => Directory::Own,
    };
    if let Some(path) = &launch.socket
        && *path != places.socket
    {
        places.socket = std::path::absolute(path).map_err(|error| Error::from_io(&error))?;
        directory = Directory::Given;
    }
    let config = Config::load(&places.config)?;
    crate::caller::configure(&config.callers)?;
    let vault_dir = places
        .vault
        .parent()
        .ok_or_else(|| Error::new(Kind::InvalidInput, "the path of the vault names no file"))?;
    match named("AKM_VAULT") {
        true => accept_dir(vault_dir)?,
        false => ensure_dir(vault_dir)?,
    }
    ensure_dir(&places.state)?;
    // Before the socket, so that a mistyped option leaves nothing behind.
    let network = match &launch.network {
        Some(options) => {
            let pages = Hosted::load(config.web_folder.as_deref(), &config.hosted.rules)?;
            let network = network::Network::bind(config.hosted.limits(options))?;
            Some(network.with_pages(Arc::new(pages)))
        }
        None => None,
    };
    let selling = Selling::load(&places.config, config.outbound())?;
    let (listener, bound) = match manager::listener()? {
        Some((listener, path)) => {
            places.socket = path;
            (listener, None)
        }
        None => {
            let (listener, bound) = socket::bind(&places.socket, directory)?;
            (listener, Some(bound))
        }
    };
    let dashboard = Arc::new(Local::new(Host::real(), config.web_folder.clone()));
    let watch = Arc::new(watch(&places, &config));
    let opened = open(
        &places,
        &config,
        launch,
        selling.as_ref(),
        &dashboard,
        &watch,
    );
    let served = opened.and_then(|service| {
        if memory::lock_refused() {
            log::write(&Entry::MemoryNotLocked);
        }
        let group = config.group.as_deref();
        let group = group.map(|group| socket::share(&places.socket, group));
        let group = group.transpose()?;
        #[cfg(target_os = "linux")]
        if sandbox::confine(&bounds(&places, &config, launch)) == Some(sandbox::Held::Nothing) {
            log::write(&Entry::Unbounded { bound: "files" });
        }
        let runtime = server::runtime()?;
        let served = runtime.block_on(async {
            let server = Server::new(Arc::clone(&service));
            let server = match group {
                Some(group) => server.with_group(group),
                None => server,
            };
            let serves = launch.network.is_some();
            let mut server = server
                .with_watch(Arc::clone(&watch))
                .with_jobs(jobs(
                    &places,
                    &service,
                    selling.as_ref(),
                    serves,
                    &config,
                    &watch,
                ))
                .with_dashboard(Arc::clone(&dashboard))
                .with_daily_tests(config.daily_tests);
            if let Some(network) = network {
                for address in network.addresses() {
                    note(&format!("listening on {address}"));
                }
                if network.certificate_is_over() {
                    // Served all the same: the next one is taken up without a restart.
                    note("the certificate has expired: clients will refuse it");
                }
                server = server.with_network(network);
            }
            let signals = Signals::new()?;
            #[cfg(target_os = "linux")]
            let logind = tokio::spawn(crate::logind::run(server.clone(), config.lock_on));
            ready(&places.socket)?;
            manager::tell(Phase::Ready);
            log::write(&Entry::Ready {
                pid: std::process::id(),
                activated: bound.is_none(),
            });
            harden::give_back_memory();
            let reload = || {
                reload(&places.config, &service, launch.lifetime);
                server.reload();
            };
            let served = server
                .run(listener, signals.until_stop(&server, &reload))
                .await;
            #[cfg(target_os = "linux")]
            logind.abort();
            served
        });
        service.lock_all(LockReason::Stop);
        memory::scrub_stack();
        if let Err(error) = service.fold() {
            // The journal keeps them; the next start folds them.
            log::failed(&error);
        }
        // A provider test may still wait for its answer; the process does not wait for it.
        runtime.shutdown_background();
        served
    });
    match bound {
        Some(bound) => served.and(bound.remove()),
        None => served,
    }
}

/// Reads the configuration again. What is fixed when the agent starts stays as it is.
fn reload(path: &Path, service: &Door, lifetime: Option<Lifetime>) {
    manager::tell(Phase::Reloading);
    let read = Config::load(path);
    if let Ok(config) = &read {
        service.set_lifetimes(lifetimes(config, lifetime));
    }
    log::write(&Entry::Reloaded {
        error: read.as_ref().err().map(Error::kind),
        message: read.as_ref().err().map(log::literal),
    });
    manager::tell(Phase::Ready);
}

fn lifetimes(config: &Config, lifetime: Option<Lifetime>) -> Lifetimes {
    let time = |lifetime: Lifetime| Duration::from_secs(lifetime.as_secs());
    Lifetimes {
        default: lifetime.or(config.lifetime).map(time),
        longest: config.max_lifetime.map(time),
        idle: config.idle.map(time),
    }
}

fn open(
    places: &Places,
    config: &Config,
    launch: &Launch,
    selling: Option<&Selling>,
    dashboard: &Arc<Local>,
    watch: &Arc<Watch>,
) -> Result<Arc<Door>> {
    let door = Door::open(Options {
        vault: places.vault.clone(),
        journal: places.journal.clone(),
        state: places.state.clone(),
        backups: places.backups.clone(),
        host: Host::real(),
        key_limit: config.keys_per_account,
        default_lifetime: None,
        outbound: config.outbound(),
    })?
    .with_clipboard(Arc::new(Helpers::default()))
    .with_callers(Arc::new(people(config)))
    .with_dashboard(Arc::clone(dashboard) as Arc<dyn Dashboard>)
    .with_monitor(Arc::clone(watch) as Arc<dyn Monitor>);
    door.set_lifetimes(lifetimes(config, launch.lifetime));
    let door = match selling {
        Some(selling) => door.with_billing(selling.settings()),
        None => door,
    };
    Ok(Arc::new(match &launch.network {
        Some(_) => door.with_hosting(config.hosted.rules.clone()),
        None => door,
    }))
}

/// Who is asked about a key that wants confirmation.
fn people(config: &Config) -> People {
    let named = std::env::var_os("AKM_ASKPASS").filter(|path| !path.is_empty());
    let askpass = named.and_then(|path| match confirm::askpass(Path::new(&path)) {
        Ok(program) => Some(program),
        Err(error) => {
            // Without it the terminal is left, or nobody, which is a no.
            report(&error);
            None
        }
    });
    let patience = config
        .confirm_timeout_s
        .map_or(confirm::PATIENCE, Duration::from_secs);
    People::new(askpass, patience)
}

/// Which files it needs from here on.
#[cfg(target_os = "linux")]
fn bounds(places: &Places, config: &Config, launch: &Launch) -> sandbox::Bounds {
    let above = |path: &Path| path.parent().map(Path::to_owned);
    let own = [
        above(&places.vault),
        above(&places.socket),
        Some(places.state.clone()),
    ];
    let mut write: Vec<PathBuf> = own.into_iter().flatten().collect();
    write.push(places.backups.clone());
    write.extend(config.paths.iter().cloned());
    // The directories, because a certificate is changed by putting another file in its place.
    let files = launch
        .network
        .as_ref()
        .and_then(|of| of.certificate.clone());
    let certificate = files
        .into_iter()
        .flat_map(|(chain, key)| [chain, key])
        .filter_map(|path| std::path::absolute(path).ok())
        .filter_map(|path| above(&path));
    sandbox::Bounds {
        own_user: config.group.is_some(),
        write,
        read: [above(&places.config), config.outbound.ca_file.clone()]
            .into_iter()
            .flatten()
            .chain(certificate)
            .collect(),
    }
}

/// Who watches: over the disk of the vault, by the thresholds of the configuration.
fn watch(places: &Places, config: &Config) -> Watch {
    let above = places.vault.parent().unwrap_or(Path::new("/"));
    let clock = Host::real().clock;
    let offsite = (!config.elsewhere.command.is_empty()).then(|| {
        Arc::new(Offsite::new(
            config.elsewhere.command.clone(),
            config.elsewhere.timeout,
            places.state.clone(),
            Arc::clone(&clock),
        ))
    });
    let (directory, state) = (above.to_owned(), places.state.clone());
    Watch::new(config.thresholds.clone(), directory, state, clock, offsite)
}

/// What the agent does by itself.
fn jobs(
    places: &Places,
    service: &Arc<Door>,
    selling: Option<&Selling>,
    serves: bool,
    config: &Config,
    watch: &Arc<Watch>,
) -> Scheduler {
    let offsite = watch.offsite();
    let mut jobs: Vec<Box<dyn Job>> = vec![Box::new(DailyBackup {
        service: Arc::clone(service),
        offsite: offsite.clone(),
    })];
    if let Some(offsite) = offsite {
        jobs.push(Box::new(Copies {
            service: Arc::clone(service),
            offsite,
        }));
    }
    if let Some(selling) = selling {
        jobs.extend(selling.jobs(service));
    }
    if serves {
        let watch = Arc::clone(watch);
        jobs.push(Selling::alerts(selling, service, watch, config.outbound()));
    }
    Scheduler::new(jobs, Host::real().clock, places.state.clone())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    lock: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let catch = |kind| signal(kind).map_err(|error| Error::from_io(&error));
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            lock: catch(SignalKind::user_defined1())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    async fn until_stop(mut self, server: &Server, reload: &dyn Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.lock.recv() => server.lock_all(LockReason::Signal).await,
                _ = self.hang_up.recv() => reload(),
            }
        }
        log::write(&Entry::Stopping);
        manager::tell(Phase::Stopping);
    }
}

/// Asks the kernel for SIGTERM when the process that started this one ends, whatever it has become by then.
fn bind_to_parent() -> Result<()> {
    let parent = nix::unistd::getppid();
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .map_err(|errno| Error::from_io(&errno.into()))?;
    // It may have ended before the kernel was asked.
    if nix::unistd::getppid() != parent || parent.as_raw() == 1 {
        return Err(Error::new(
            Kind::Unavailable,
            "the command ended before the agent was ready",
        ));
    }
    Ok(())
}

impl Launch {
    fn arguments(&self) -> [OsString; 3] {
        [
            self.socket.clone().unwrap_or_default().into(),
            self.lifetime
                .map_or_else(String::new, |lifetime| lifetime.as_secs().to_string())
                .into(),
            if self.bound_to_parent { "bound" } else { "" }.into(),
        ]
    }

    fn from_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Launch> {
        let mut next = || arguments.next().filter(|text| !text.is_empty());
        Ok(Launch {
            socket: next().map(PathBuf::from),
            lifetime: next()
                .map(|text| Lifetime::parse(&text.to_string_lossy()))
                .transpose()?,
            bound_to_parent: next().as_deref() == Some(OsStr::new("bound")),
            network: None,
        })
    }
}

/// This program, also when its file was replaced since.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

fn log_file(places: &Places) -> Result<File> {
    ensure_dir(&places.state)?;
    let io = |error: std::io::Error| Error::from_io(&error);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(places.state.join("agent.log"))
        .map_err(io)?;
    if file.metadata().map_err(io)?.len() > MAX_LOG {
        file.set_len(0).map_err(io)?;
    }
    Ok(file)
}

fn note(text: &str) {
    // There is nobody to tell that telling failed.
    let _ = writeln!(std::io::stderr(), "akm-agent: {text}");
}

/// Says on standard error what went wrong.
pub fn report(error: &Error) {
    match error.field() {
        Some(field) => note(&format!("{field}: {}", error.message())),
        None => note(error.message()),
    }
    if let Some(hint) = error.hint() {
        note(&format!("hint: {hint}"));
    }
}
