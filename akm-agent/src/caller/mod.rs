//! Which process asks, for the audit and for grants.
//!
//! The process is pinned when it connects: its directory in `/proc` is opened and, through a pidfd of the
//! peer, shown to be of the process that connected and not of one that took its number later. The
//! executable is read anew at each request, because a process may `execve` while it stays connected.
//!
//! Everything else (`look`: hash, script, directory, ancestors, container, what tampers with them) is read from `/proc` when
//! it is asked for: under the policy `open` that is never.
//!
//! For processes of the same user this is a record and a guard rail, not a boundary: such a process can
//! become any other. What cannot be read is `?`; a caller is never refused for that.

mod digest;
mod known;
mod look;
mod proc;
mod script;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use akm_core::audit::Caller;
use akm_core::caller::Witness;
use akm_core::peer::Peer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};

pub use known::{Extra, configure};
use look::Look;
use proc::Dir;
pub(crate) use proc::keep_links;

/// Whether a program runs scripts: then a grant to it alone is one to every script.
pub fn is_interpreter(program: &str) -> bool {
    script::Family::of(program).is_some()
}

/// Most bytes of an executable's path that are kept.
const MAX_EXE: usize = 1024;

/// A connected process.
pub struct Process {
    uid: u32,
    pid: i32,
    /// `/proc/PID`, which answers for this process only, also when its number is used again.
    dir: Option<Arc<Dir>>,
}

impl Process {
    /// Pins the process at the other end.
    pub fn pin(stream: &UnixStream, peer: Peer) -> Process {
        Process {
            uid: peer.uid,
            pid: peer.pid.unwrap_or(0),
            dir: peer.pid.and_then(|pid| pinned(stream, pid)).map(Arc::new),
        }
    }

    /// Its number when it connected.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Who it is now.
    pub fn caller(&self) -> Caller {
        Caller {
            uid: self.uid,
            pid: self.pid,
            exe: self.exe().unwrap_or_else(|| "?".to_owned()),
            via: Default::default(),
            process: Witness(Some(Arc::new(Look::at(self.dir.clone())))),
        }
    }

    fn exe(&self) -> Option<String> {
        let mut exe = self.dir.as_ref()?.exe()?;
        exe.truncate(exe.floor_char_boundary(MAX_EXE));
        Some(exe)
    }
}

fn pinned(stream: &UnixStream, pid: i32) -> Option<Dir> {
    let dir = Dir::open(pid)?;
    match getsockopt(stream, PeerPidfd) {
        // Alive now, so the number was its own when the directory was opened.
        Ok(pidfd) => is_alive(&pidfd).then_some(dir),
        // Before Linux 6.5: the number could have been taken between connecting and here.
        Err(nix::errno::Errno::ENOPROTOOPT) => Some(dir),
        Err(_) => None,
    }
}

/// A pidfd becomes readable when its process ends.
fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_this_process() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let peer = akm_core::peer::of(&stream).unwrap();
        let caller = Process::pin(&stream, peer).caller();
        assert_eq!(caller.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(caller.pid, std::process::id() as i32);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(caller.exe, exe.to_str().unwrap());
    }

    #[test]
    fn a_process_that_is_gone_has_no_executable() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let peer = Peer {
            uid: 7,
            pid: Some(child.id() as i32),
            gid: None,
        };
        child.wait().unwrap();
        let caller = Process::pin(&stream, peer).caller();
        assert_eq!((caller.uid, caller.exe.as_str()), (7, "?"));
    }
}
