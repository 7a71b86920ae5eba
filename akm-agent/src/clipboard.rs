//! The clipboard of the agent: a process of its own holds what was copied, and the agent holds that process.
//!
//! Content of an X11 or Wayland clipboard is served by whoever put it there, for as long as it lives. `akm copy` ends at
//! once, so the agent starts this program again ([`reexecuted`]) for each copy. Not in the agent itself, because the
//! code that speaks to a display reads what a foreign process writes, and must not share an address space with the
//! keys of the vault: the helper knows one secret and nothing else.
//!
//! The secret goes through a pipe, never into an argument or the environment, which other processes can read. The pipe
//! stays open as long as the content may stay: when the agent locks, stops or dies, the helper reads its end and takes
//! the content back. The helper gets none of the agent's environment; what it may connect to was checked by
//! [`akm_core::clipboard`] (displays of this machine only) and is checked again by the uid of whoever listens
//! there (`own_socket`): a display is a socket in a directory where everybody may put one.
//!
//! What it does not do: keep other programs of the same display from reading the clipboard. Nothing can; that is why
//! it is cleared.

#[cfg(target_os = "linux")]
mod held;
mod helper;
#[cfg(target_os = "macos")]
mod pasteboard;
#[cfg(target_os = "linux")]
mod wayland;
#[cfg(target_os = "linux")]
mod x11;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use akm_core::clipboard::{Clipboard, Target};
use akm_core::error::{Error, Kind, Result};
use akm_core::secret::Secret;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use helper::reexecuted;

/// The hidden first argument of a program that runs itself again as a helper.
const REEXEC: &str = "__clipboard";
/// What a helper says when the content can be pasted; anything else is an error object.
const READY: &[u8] = b"ready\n";
/// How long a helper may take until then. A display that does not answer must not keep an answer of the agent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of a helper's word.
const MAX_WORD: u64 = 4096;

/// What a helper is told before the secret: one line of JSON.
#[derive(Serialize, Deserialize)]
struct Order {
    target: Target,
    clear_ms: u64,
    /// Length of the secret, which follows.
    length: usize,
}

/// The agent's clipboard.
#[derive(Default)]
pub struct Helpers {
    /// The pipe of the helper that holds something; dropping it takes the content back.
    held: Mutex<Option<ChildStdin>>,
}

impl Helpers {
    fn hold(&self, pipe: Option<ChildStdin>) {
        // The old one goes after the new one has the clipboard, so that it is never without content in between.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(std::mem::replace(&mut *held, pipe));
    }
}

impl Clipboard for Helpers {
    fn offer(&self, target: &Target, secret: &Secret, clear_after: Duration) -> Result<()> {
        let mut child = start(target)?;
        let begun = match (child.stdin.take(), child.stdout.take()) {
            (Some(mut stdin), Some(stdout)) => tell(&mut stdin, target, secret, clear_after)
                .and_then(|()| ready(stdout))
                .map(|()| stdin),
            _ => Err(Error::internal("a helper has no pipes")),
        };
        match begun {
            Ok(stdin) => {
                // Reaped when it ends, which is at most an hour from now.
                std::thread::spawn(move || child.wait());
                self.hold(Some(stdin));
                Ok(())
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn withdraw(&self) {
        self.hold(None);
    }
}

fn start(target: &Target) -> Result<Child> {
    let mut command = Command::new(crate::daemon::this_program());
    command
        .arg(REEXEC)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(path) = &target.xauthority {
        // A path, not what is in the file.
        command.env("XAUTHORITY", path);
    }
    command.spawn().map_err(|_| {
        Error::new(
            Kind::Io,
            "the program that holds the clipboard does not start",
        )
    })
}

/// Everything at once: the helper reads all of it before it connects to anything, and it fits a pipe.
fn tell(
    to: &mut ChildStdin,
    target: &Target,
    secret: &Secret,
    clear_after: Duration,
) -> Result<()> {
    let order = Order {
        target: target.clone(),
        clear_ms: u64::try_from(clear_after.as_millis()).unwrap_or(u64::MAX),
        length: secret.len(),
    };
    let mut line = serde_json::to_vec(&order)
        .map_err(|_| Error::internal("a value could not be written as JSON"))?;
    line.push(b'\n');
    let mut bytes = Zeroizing::new(Vec::with_capacity(line.len() + secret.len()));
    bytes.extend_from_slice(&line);
    bytes.extend_from_slice(secret.expose().as_bytes());
    to.write_all(&bytes).map_err(|error| Error::from_io(&error))
}

/// Waits for a helper's word, a bounded time.
fn ready(from: ChildStdout) -> Result<()> {
    let slow = || Error::new(Kind::Timeout, "the display does not answer");
    let end = Instant::now() + PATIENCE;
    let mut word = Vec::new();
    let mut piece = [0; 512];
    let mut from = from;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(|_| slow())?;
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => return Err(slow()),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(Error::from_io(&errno.into())),
            Ok(_) => {}
        }
        let count = from
            .read(&mut piece)
            .map_err(|error| Error::from_io(&error))?;
        word.extend_from_slice(&piece[..count]);
        if word == READY {
            return Ok(());
        }
        if count == 0 || word.len() as u64 > MAX_WORD {
            return Err(serde_json::from_slice(&word).unwrap_or_else(|_| {
                Error::new(
                    Kind::Unavailable,
                    "the program that holds the clipboard ended",
                )
            }));
        }
    }
}

/// Connects to the socket of a display server that runs as this user, or as root if `root_too`. Nothing was sent
/// where somebody else listens.
fn own_socket(path: &Path, root_too: bool) -> Result<UnixStream> {
    let stream = UnixStream::connect(path).map_err(|_| {
        Error::new(
            Kind::Unavailable,
            "nothing listens where the display should be",
        )
    })?;
    let peer = akm_core::peer::of(&stream)?;
    let own = nix::unistd::geteuid().as_raw();
    if peer.uid == own || root_too && peer.uid == 0 {
        Ok(stream)
    } else {
        Err(Error::new(
            Kind::Denied,
            "the display belongs to another user, nothing was sent",
        ))
    }
}
