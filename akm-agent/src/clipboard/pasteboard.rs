//! The pasteboard of macOS, through `pbcopy` and `pbpaste`. Unverified: written without a machine to try it on.
//!
//! The system keeps the content, so this process only waits and then empties the pasteboard if it still holds the
//! secret. Clipboard managers cannot be told by these programs to leave it alone.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use akm_core::error::{Error, Kind, Result};
use akm_core::name::MAX_SECRET;
use akm_core::secret::Secret;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

/// Puts a secret there, says so, and removes it when the time is over or the agent closed the pipe.
pub(super) fn hold(
    secret: &Secret,
    clear_after: Duration,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    put(secret.expose().as_bytes())?;
    ready()?;
    let agent = std::io::stdin();
    let mut fds = [PollFd::new(agent.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(clear_after).unwrap_or(PollTimeout::MAX);
    let _ = poll(&mut fds, timeout);
    match holds(secret)? {
        true => put(b""),
        false => Ok(()),
    }
}

fn failed<E>(_: E) -> Error {
    Error::new(Kind::Unavailable, "the pasteboard does not do as it should")
}

fn put(bytes: &[u8]) -> Result<()> {
    let mut child = Command::new("/usr/bin/pbcopy")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(bytes).map_err(failed)?;
    }
    match child.wait().map_err(failed)?.success() {
        true => Ok(()),
        false => Err(failed(())),
    }
}

fn holds(secret: &Secret) -> Result<bool> {
    let mut child = Command::new("/usr/bin/pbpaste")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(MAX_SECRET as u64 + 1);
        stdout.read_to_end(&mut content).map_err(failed)?;
    }
    let _ = child.kill();
    let _ = child.wait();
    let found = Secret::from_utf8(std::mem::take(&mut *content));
    Ok(found.is_some_and(|found| found.matches(secret)))
}
