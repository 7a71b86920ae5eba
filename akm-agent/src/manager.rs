//! The service manager that started the agent: a socket it bound beforehand, and how the agent is.
//!
//! systemd (or whoever follows its protocol) passes one listening Unix socket as descriptor 3 and is told
//! READY, RELOADING and STOPPING. Invariants: descriptors are taken only where `LISTEN_PID` is this very process,
//! so that nothing inherited by accident is served; one socket and no more; its directory is ours or root's alone and strangers
//! lose their rights on it. The socket stays when the agent goes: it is the manager's.
//!
//! Deliberately absent: starting the manager's units, and anything it could tell the agent but "here is a socket".

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use akm_core::error::{Error, Kind, Result};
use akm_core::paths::accept_dir;
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// What strangers may do with the socket's file.
const OTHERS: u32 = 0o007;

/// Whether a socket was passed to this very process.
pub fn passes_socket() -> bool {
    let pid = std::process::id().to_string();
    std::env::var("LISTEN_PID").is_ok_and(|named| named == pid)
        && std::env::var("LISTEN_FDS").is_ok_and(|count| count != "0")
}

/// The socket that was passed to this process, and its path; `None` if none was.
///
/// Errors: `invalid_input` for more than one, or one that is no listening Unix socket with a path; `denied` if others
/// could have put another one in its place.
pub fn listener() -> Result<Option<(UnixListener, PathBuf)>> {
    const WRONG: Error = Error::new(
        Kind::InvalidInput,
        "the service manager has to pass one listening unix socket with a path",
    );
    if !passes_socket() {
        return Ok(None);
    }
    let mut passed = ListenFd::from_env();
    if passed.len() != 1 {
        return Err(WRONG);
    }
    let listener = passed
        .take_unix_listener(0)
        .map_err(|_| WRONG)?
        .ok_or(WRONG)?;
    let accepts = nix::sys::socket::getsockopt(&listener, nix::sys::socket::sockopt::AcceptConn);
    if accepts != Ok(true) {
        return Err(WRONG);
    }
    let path = listener
        .local_addr()
        .ok()
        .and_then(|address| address.as_pathname().map(Path::to_owned))
        .filter(|path| path.is_absolute())
        .ok_or(WRONG)?;
    let dir = path.parent().ok_or(WRONG)?;
    if !is_roots_alone(dir) {
        accept_dir(dir)?;
    }
    close_to_others(&path)?;
    Ok(Some((listener, path)))
}

/// Whether root made a directory and nobody else writes it: where a system's sockets are, also those of an agent that runs
/// as a user of its own.
fn is_roots_alone(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

fn close_to_others(path: &Path) -> Result<()> {
    let io = |error: std::io::Error| Error::from_io(&error);
    let meta = std::fs::symlink_metadata(path).map_err(io)?;
    let euid = nix::unistd::geteuid().as_raw();
    if !meta.file_type().is_socket() || (meta.uid() != euid && meta.uid() != 0) {
        return Err(Error::new(
            Kind::Denied,
            "the socket that was passed is not at its path any more",
        ));
    }
    // One of root's has the mode that root gave it; who connects is asked in either case.
    if meta.uid() == euid && meta.mode() & OTHERS != 0 {
        let mode = Permissions::from_mode(meta.mode() & 0o777 & !OTHERS);
        std::fs::set_permissions(path, mode).map_err(io)?;
    }
    Ok(())
}

/// How the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Clients may come.
    Ready,
    /// The configuration is being read again; [`Phase::Ready`] follows.
    Reloading,
    /// It is ending.
    Stopping,
}

/// Tells the manager, if there is one. That it does not listen is nobody's problem.
pub fn tell(phase: Phase) {
    let _ = match phase {
        Phase::Ready => sd_notify::notify(false, &[NotifyState::Ready]),
        Phase::Stopping => sd_notify::notify(false, &[NotifyState::Stopping]),
        Phase::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(false, &[NotifyState::Reloading, now])),
    };
}
