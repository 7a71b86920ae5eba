//! Starting an agent in the background, and finding the one that runs.
//!
//! A program that wants an agent runs itself again ([`spawn`]) with a hidden first argument, which its
//! `main` hands to [`reexecuted`]. The new process detaches, and says on its standard output, a pipe, that it
//! is ready or why not: whoever started it waits for that and never for a time. Two that start together
//! both end with the one agent that got the socket.
//!
//! Invariants: what is read of a new agent is bounded, and so is its log; a process is an agent by the name that it was
//! started under, so that no other gets its signals.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use akm_core::client::Client;
use akm_core::error::{Error, Kind, Result};
use akm_core::paths::{Places, ensure_dir};
use akm_core::protocol::AgentStatus;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{report, serve};
use crate::caller::is_alive;
use crate::clipboard;
use crate::harden;
use crate::lifetime::Lifetime;
use crate::server::network;

/// The hidden first argument of a program that runs itself again as the agent.
const REEXEC: &str = "__serve";
/// The name under which an agent runs, whatever program it is.
const ARG0: &str = "akm-agent";
/// How long an agent may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an agent may take to finish answers, wipe and fold its journal.
const TO_END: Duration = Duration::from_secs(15);
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

/// Tells an agent to end, and waits until it has: from then on it holds neither its vault nor its socket.
///
/// Errors: `denied` if it cannot be told; `timeout` if it goes on.
pub fn end(pid: i32) -> Result<()> {
    let handle = handle_of(pid);
    kill(Pid::from_raw(pid), Signal::SIGTERM)
        .map_err(|_| Error::new(Kind::Denied, "the agent cannot be told to stop"))?;
    let until = Instant::now() + TO_END;
    let is_gone = || match &handle {
        Some(handle) => !is_alive(handle),
        None => is_gone(pid),
    };
    while !is_gone() {
        if Instant::now() > until {
            return Err(Error::new(Kind::Timeout, "the agent does not stop")
                .with_hint("its log is agent.log in the state directory"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// What says of this very process, with all its threads, whether it has ended. `None` where the system has no such thing.
fn handle_of(pid: i32) -> Option<OwnedFd> {
    #[cfg(target_os = "linux")]
    return rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid)?,
        rustix::process::PidfdFlags::empty(),
    )
    .ok();
    #[cfg(not(target_os = "linux"))]
    None
}

/// Ended, even if its parent has not asked about it yet.
fn is_gone(pid: i32) -> bool {
    match std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) {
        Ok(stat) => stat
            .rsplit_once(')')
            .is_none_or(|(_, after)| after.trim_start().starts_with(['Z', 'X'])),
        Err(_) => kill(Pid::from_raw(pid), None).is_err(),
    }
}

/// First thing in `main` of every program that calls [`spawn`]: if this process was started as the agent,
/// as the holder of its clipboard, or as a child of the doctor, serves to the end and returns the exit code.
pub fn reexecuted() -> Option<u8> {
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
        return Some(1);
    }
    Some(0)
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
        // Not blocking: a pipe that somebody put there must not be waited for.
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(places.state.join("agent.log"))
        .map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Error::invalid("agent.log", "it is not a regular file"));
    }
    if meta.len() > MAX_LOG {
        file.set_len(0).map_err(io)?;
    }
    Ok(file)
}
