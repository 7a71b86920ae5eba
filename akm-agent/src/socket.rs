//! The agent's socket: bound safely, never taken from a live agent, removed only if still ours.
//!
//! Invariants: nobody else can write the directory before anything is bound in it; binding and removing happen under a lock file beside it,
//! so of two agents that start together exactly one binds and the other sees it listening; a socket that
//! somebody listens on is never unlinked; on exit the path is removed only while it is the one that we bound.
//!
//! The lock file goes with the socket, by whoever holds it. Whoever waited for it meanwhile holds a file without a name then,
//! and begins again with the one that has it, so that no two starters hold two locks.

use std::fs::{File, OpenOptions, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use akm_core::error::{Error, Kind, Result};
use akm_core::paths::{MAX_SOCKET_PATH, accept_dir, ensure_dir};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// How often the lock is taken anew that somebody removed meanwhile.
const MAX_TRIES: u32 = 10_000;

/// A bound path. Dropping it leaves the path alone; [`Socket::remove`] takes it away.
pub struct Socket {
    path: PathBuf,
    /// Device and inode of what we bound.
    identity: (u64, u64),
    replaces: bool,
}

/// Whose directory a socket lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    /// One of akm's own places: made private.
    Own,
    /// One that the user named: checked, and left as it is.
    Given,
}

/// Makes the directory, replaces a stale socket and listens, mode 0600.
///
/// In a directory that others may read, the process's umask is what keeps them out between `bind` and
/// the mode: the agent's is 077.
///
/// Errors: `conflict` if an agent listens there already; `denied` if the directory is not ours alone or
/// the path is something else than a socket; `invalid_input` for a path that is too long; `io`.
pub fn bind(path: &Path, directory: Directory) -> Result<(UnixListener, Socket)> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Error::new(
            Kind::InvalidInput,
            "the path of the socket is too long, 107 bytes at most",
        ));
    }
    let dir = path
        .parent()
        .ok_or_else(|| Error::new(Kind::InvalidInput, "the path of the socket names no file"))?;
    match directory {
        Directory::Own => ensure_dir(dir)?,
        Directory::Given => accept_dir(dir)?,
    }
    let _lock = lock(path)?;
    let replaces = remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
    let identity = identity(path).map_err(io)?;
    let socket = Socket {
        path: path.to_owned(),
        identity,
        replaces,
    };
    Ok((listener, socket))
}

/// Lets the members of a group at a socket. Who connects is checked all the same: this is so that they can.
///
/// Errors: `not_found` for a group that does not exist; `io` if the agent may not give it away.
pub fn share(path: &Path, group: &str) -> Result<u32> {
    let found = nix::unistd::Group::from_name(group).map_err(|errno| io(errno.into()))?;
    let gid = found
        .ok_or_else(|| Error::new(Kind::NotFound, "the group of agent.group does not exist"))?
        .gid;
    let meta = std::fs::symlink_metadata(path).map_err(io)?;
    // One that a service manager made belongs to it, and has the group that its unit says.
    if meta.uid() == nix::unistd::geteuid().as_raw() {
        std::os::unix::fs::chown(path, None, Some(gid.as_raw())).map_err(io)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(io)?;
    }
    Ok(gid.as_raw())
}

impl Socket {
    /// Whether it stands in the place of one of an agent that listens no more: that one was killed, or is still ending.
    pub fn replaces_another(&self) -> bool {
        self.replaces
    }

    /// Removes the path if it is still what we bound. The listener is to be closed before.
    ///
    /// The inode alone does not tell: its number may have been given to a successor's socket. But a
    /// successor listens before it gives up the lock, and we do not listen any more.
    pub fn remove(self) -> Result<()> {
        let _lock = lock(&self.path)?;
        match identity(&self.path) {
            Ok(found) if found == self.identity && !is_live(&self.path)? => {
                std::fs::remove_file(&self.path).map_err(io)?;
                std::fs::remove_file(lock_name(&self.path)).map_err(io)
            }
            _ => Ok(()),
        }
    }
}

/// Whether somebody listens on the path.
///
/// Errors: `io` if the system does not say.
pub fn is_live(path: &Path) -> Result<bool> {
    let os = |errno: Errno| Error::from_io(&errno.into());
    let address = UnixAddr::new(path).map_err(os)?;
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )
    .map_err(os)?;
    match connect(fd.as_raw_fd(), &address) {
        // Busy is alive too: its queue is full.
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(os(errno)),
    }
}

/// Whether there was one.
fn remove_stale(path: &Path) -> Result<bool> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    if !meta.file_type().is_socket() {
        return Err(Error::new(
            Kind::Denied,
            "the socket's path is taken by something that is not a socket",
        ));
    }
    if is_live(path)? {
        return Err(
            Error::new(Kind::Conflict, "an agent listens on this socket already")
                .with_hint("run akm agent stop"),
        );
    }
    std::fs::remove_file(path).map_err(io)?;
    Ok(true)
}

/// Held for the time of one bind or removal, so waiting for it is short.
fn lock(path: &Path) -> Result<File> {
    let name = lock_name(path);
    for _ in 0..MAX_TRIES {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // Not blocking: a pipe that somebody put there must not be waited for.
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&name)
            .map_err(io)?;
        file.lock().map_err(io)?;
        let held = file.metadata().map_err(io)?;
        // While we hold the file, its number is no other's.
        if identity(&name).is_ok_and(|named| named == (held.dev(), held.ino())) {
            return Ok(file);
        }
    }
    Err(Error::new(
        Kind::Io,
        "the lock of the socket is removed again and again",
    ))
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

fn io(error: std::io::Error) -> Error {
    Error::from_io(&error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/agent.sock");
        (dir, path)
    }

    #[test]
    fn binds_private_and_removes_its_own() {
        let (_dir, path) = place();
        let (listener, socket) = bind(&path, Directory::Own).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(UnixStream::connect(&path).is_ok());
        drop(listener);
        socket.remove().unwrap();
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_lock_that_was_removed_while_somebody_waited_for_it_is_none() {
        let (_dir, path) = place();
        ensure_dir(path.parent().unwrap()).unwrap();
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let held = lock(&path).unwrap();
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(inside.fetch_add(1, SeqCst), 0, "two hold it");
                        std::thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                        std::fs::remove_file(lock_name(&path)).unwrap();
                        drop(held);
                    }
                });
            }
        });
    }

    #[test]
    fn a_live_socket_is_left_alone_and_a_stale_one_replaced() {
        let (_dir, path) = place();
        let (listener, _first) = bind(&path, Directory::Own).unwrap();
        let before = identity(&path).unwrap();
        let refused = bind(&path, Directory::Own).err().unwrap();
        assert_eq!(refused.kind(), Kind::Conflict);
        assert_eq!(refused.hint(), Some("run akm agent stop"));
        assert_eq!(identity(&path).unwrap(), before);
        assert!(UnixStream::connect(&path).is_ok());
        // As after kill -9: the path is there, nobody listens.
        drop(listener);
        let (_listener, _second) = bind(&path, Directory::Own).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_successors_socket_is_not_removed() {
        // Often enough that some successor gets the inode number of its predecessor.
        for _ in 0..100 {
            let (_dir, path) = place();
            let (listener, first) = bind(&path, Directory::Own).unwrap();
            drop(listener);
            let (_listener, _second) = bind(&path, Directory::Own).unwrap();
            first.remove().unwrap();
            assert!(UnixStream::connect(&path).is_ok());
        }
    }

    #[test]
    fn what_is_not_a_socket_is_not_replaced() {
        let (_dir, path) = place();
        ensure_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(
            bind(&path, Directory::Own).err().unwrap().kind(),
            Kind::Denied
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn of_many_that_start_together_one_binds() {
        let (_dir, path) = place();
        for _ in 0..50 {
            let barrier = std::sync::Barrier::new(8);
            let bound: Vec<_> = std::thread::scope(|scope| {
                let starters: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            bind(&path, Directory::Own)
                        })
                    })
                    .collect();
                starters.into_iter().map(|s| s.join().unwrap()).collect()
            });
            assert_eq!(bound.iter().filter(|b| b.is_ok()).count(), 1);
            assert!(UnixStream::connect(&path).is_ok());
            // All listeners close, the path stays: the next round starts from a stale socket.
        }
    }
}
