//! Where the demo happens: a temporary home, the processes in it, and the promise that none of it stays.
//!
//! Invariants: every process that the demo starts, and every one that those leave behind (the agent is such a
//! one), is a child of the demo in the end (it is their subreaper) and is gone before the demo is; the home is
//! removed last; an interruption ends the programs under way and then takes the same path as any other end.
//! Every wait for a program and everything it may print is bounded.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::super::text::{self, text};

/// Longest wait for a program of the demo; a build gets [`BUILD_PATIENCE`].
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a compiler or npm on a slow machine.
pub(super) const BUILD_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How long a process may take to end when asked, before it is ended.
const GRACE: Duration = Duration::from_secs(5);
/// Most bytes that are kept of what a program prints.
const MAX_OUTPUT: u64 = 4 * 1024 * 1024;
/// Longest `AKM_HOME` whose `agent.sock` fits a socket address.
const MAX_HOME: usize = 90;

/// What a program did.
pub(super) struct Ran {
    /// Its exit code; 128 + n if signal n ended it.
    pub(super) code: i32,
    /// What it printed.
    pub(super) stdout: Zeroizing<String>,
    /// What it said.
    pub(super) stderr: String,
}

/// Why a program could not be run to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The person pressed Ctrl-C, or somebody else ended the demo.
    Interrupted(i32),
    /// Anything else.
    Failed(String),
}

/// The temporary home and its processes.
pub(super) struct Stage {
    home: Option<TempDir>,
    path: PathBuf,
    akm: PathBuf,
    interrupted: Arc<AtomicI32>,
}

impl Stage {
    /// Makes the home and begins to listen for interruptions.
    pub(super) fn new() -> Result<Stage, Broken> {
        let failed = |error: &dyn std::fmt::Display| {
            Broken::Failed(text!("demo-no-stage", error = error.to_string()))
        };
        let akm = std::env::current_exe().map_err(|error| failed(&error))?;
        let interrupted = Arc::new(AtomicI32::new(0));
        listen(&interrupted).map_err(|error| failed(&error))?;
        nix::sys::prctl::set_child_subreaper(true).map_err(|error| failed(&error))?;
        let mut prefix = tempfile::Builder::new();
        prefix.prefix("akm-demo-");
        let usual = std::env::temp_dir();
        let home = match usual.as_os_str().len() + 24 <= MAX_HOME {
            true => prefix.tempdir_in(usual),
            false => prefix.tempdir_in("/tmp"),
        }
        .map_err(|error| failed(&error))?;
        Ok(Stage {
            path: home.path().to_owned(),
            home: Some(home),
            akm,
            interrupted,
        })
    }

    /// The agent's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    /// This program, in the temporary home.
    pub(super) fn akm(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.akm);
        command.env("AKM_HOME", &self.path).args(arguments);
        command
    }

    /// A program that finds the agent by its socket, as applications do.
    pub(super) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command(program);
        command.env("AKM_AGENT_SOCK", self.socket());
        command
    }

    /// A program without any setting of akm's own, in the temporary home.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"AKM_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(&self.path)
            // What they say is shown, and looked at, in the language of the demo.
            .env("AKM_LANG", text::language().code());
        command
    }

    /// Runs a program to its end with `input` on its stdin.
    pub(super) fn run(&self, command: &mut Command, input: &str) -> Result<Ran, Broken> {
        self.run_within(command, input, PATIENCE)
    }

    /// As [`Stage::run`], with another limit.
    pub(super) fn run_within(
        &self,
        command: &mut Command,
        input: &str,
        patience: Duration,
    ) -> Result<Ran, Broken> {
        let mut running = self.start(command)?;
        running.write(input);
        running.end_input();
        running.finish(self, patience)
    }

    /// Starts a program to be talked to.
    pub(super) fn start(&self, command: &mut Command) -> Result<Running, Broken> {
        self.check()?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Broken::Failed(text!(
                    "demo-cannot-run",
                    program = program,
                    error = error.to_string()
                ))
            })?;
        let stdout = child.stdout.take().map(read_in_background);
        let stderr = child.stderr.take().map(read_in_background);
        Ok(Running {
            child,
            stdout,
            stderr,
            seen: Zeroizing::new(Vec::new()),
        })
    }

    /// Waits in small pieces, so that an interruption ends the wait.
    pub(super) fn check(&self) -> Result<(), Broken> {
        match self.interrupted.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Broken::Interrupted(signal)),
        }
    }

    /// Ends every process of the demo and removes the home. Says what stayed, if anything did.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        let processes = end_children();
        let files = match self.home.take() {
            Some(home) => home.close().map_err(|error| error.to_string()),
            None => Ok(()),
        };
        processes?;
        files?;
        match self.path.exists() {
            true => Err(text!("demo-home-stays")),
            false => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// A program under way.
pub(super) struct Running {
    child: Child,
    stdout: Option<Receiver<Zeroizing<Vec<u8>>>>,
    stderr: Option<Receiver<Zeroizing<Vec<u8>>>>,
    seen: Zeroizing<Vec<u8>>,
}

impl Running {
    /// Writes to its stdin. A program that does not listen says so by its exit code.
    pub(super) fn write(&mut self, text: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            let _ = stdin.write_all(text.as_bytes());
            let _ = stdin.flush();
        }
    }

    /// Closes its stdin.
    pub(super) fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Reads its stdout until `wanted` finds what it looks for; `None` if it ended before.
    pub(super) fn read_until<T>(
        &mut self,
        stage: &Stage,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Broken> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = wanted(&String::from_utf8_lossy(&self.seen)) {
                return Ok(Some(found));
            }
            stage.check()?;
            let Some(stdout) = &self.stdout else {
                return Ok(None);
            };
            match stdout.recv_timeout(Duration::from_millis(50)) {
                Ok(piece) => self.seen.extend_from_slice(&piece),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => self.stdout = None,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) if Instant::now() > end => {
                    return Err(Broken::Failed(text!("demo-silent")));
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for its end.
    pub(super) fn finish(mut self, stage: &Stage, patience: Duration) -> Result<Ran, Broken> {
        let end = Instant::now() + patience;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Err(Broken::Failed(error.to_string())),
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(Broken::Failed(text!("demo-endless")));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        stage.check()?;
        let mut stdout = std::mem::take(&mut self.seen);
        collect(self.stdout.take(), &mut stdout);
        let mut stderr = Zeroizing::new(Vec::new());
        collect(self.stderr.take(), &mut stderr);
        Ok(Ran {
            code: code_of(status),
            stdout: Zeroizing::new(String::from_utf8_lossy(&stdout).into_owned()),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

fn read_in_background(mut from: impl Read + Send + 'static) -> Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut left = MAX_OUTPUT as usize;
        let mut piece = Zeroizing::new([0; 4096]);
        loop {
            match from.read(piece.as_mut()) {
                Ok(0) => break,
                // What is too much is read and dropped, so that the program is not held up.
                Ok(_) if left == 0 => {}
                Ok(count) => {
                    let kept = count.min(left);
                    left -= kept;
                    if sender.send(Zeroizing::new(piece[..kept].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}

/// Takes what a program that has ended had printed. One that left its stdout to a daemon is not waited for.
fn collect(from: Option<Receiver<Zeroizing<Vec<u8>>>>, into: &mut Vec<u8>) {
    let Some(from) = from else { return };
    while let Ok(piece) = from.recv_timeout(GRACE) {
        into.extend_from_slice(&piece);
    }
}

/// From here on SIGINT and its kin are noted and passed to the programs under way; nothing dies of them here.
/// By handlers, not by a mask: programs inherit a mask, and an agent that cannot be told to stop would stay.
fn listen(interrupted: &Arc<AtomicI32>) -> io::Result<()> {
    let interrupted = Arc::clone(interrupted);
    let (ready, is_ready) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let noted = runtime.and_then(|runtime| {
            runtime.block_on(async {
                let mut hang_up = signal(SignalKind::hangup())?;
                let mut interrupt = signal(SignalKind::interrupt())?;
                let mut quit = signal(SignalKind::quit())?;
                let mut terminate = signal(SignalKind::terminate())?;
                let _ = ready.send(Ok(()));
                loop {
                    let signal = tokio::select! {
                        _ = hang_up.recv() => Signal::SIGHUP,
                        _ = interrupt.recv() => Signal::SIGINT,
                        _ = quit.recv() => Signal::SIGQUIT,
                        _ = terminate.recv() => Signal::SIGTERM,
                    };
                    interrupted.store(signal as i32, Ordering::SeqCst);
                    for child in children() {
                        let _ = kill(child, signal);
                    }
                }
            })
        });
        let _ = ready.send(noted);
    });
    is_ready
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// The children of this process, those included that it inherited as their subreaper.
fn children() -> Vec<Pid> {
    let own = nix::unistd::getpid().as_raw();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent_of(*pid) == Some(own))
        .map(Pid::from_raw)
        .collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the last bracket ends it.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

/// Asks every child to end, ends those that do not, and those that become children by that.
fn end_children() -> Result<(), String> {
    let asked = Instant::now();
    for child in children() {
        let _ = kill(child, Signal::SIGTERM);
    }
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.to_string()),
            Ok(WaitStatus::StillAlive) => {
                if asked.elapsed() > GRACE {
                    for child in children() {
                        let _ = kill(child, Signal::SIGKILL);
                    }
                }
                if asked.elapsed() > GRACE * 3 {
                    return Err(text!("demo-process-stays"));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(_) => {}
        }
    }
}
