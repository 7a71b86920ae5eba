//! Which process asks, for the audit and for grants.
//!
//! The process is pinned when its connection first speaks: its directory in `/proc` is opened and, through a pidfd of the
//! peer, which the kernel made for the process that connected, shown to be of that one and not of one that took its number later.
//! Where the kernel has no such pidfd (before Linux 6.5), when it connects. The
//! executable is read anew at each request, or known not to have changed, because a process may `execve` while it stays connected.
//!
//! Everything else (`look`: hash, script, directory, ancestors, container, what tampers with them) is read from `/proc` when
//! it is asked for: under the policy `open` that is never. What was read serves the requests of the same connection for a moment,
//! while the process has the memory that it was read of: an `execve` ends that at once, a debugger is noticed when the moment is over.
//!
//! For processes of the same user this is a record and a guard rail, not a boundary: such a process can
//! become any other. What cannot be read is `?`; a caller is never refused for that.

mod digest;
mod known;
mod look;
mod place;
mod proc;
mod script;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use akm_core::audit::Caller;
use akm_core::caller::Witness;
use akm_core::error::Result;
use akm_core::peer::Peer;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};

pub use known::{Extra, configure, known_ids};
use look::Look;
use proc::Dir;
pub(crate) use proc::keep_open;

/// Whether a program runs scripts: then a grant to it alone is one to every script.
pub fn is_interpreter(program: &str) -> bool {
    script::Family::of(program).is_some()
}

/// Whether a grant can tell the scripts of a program apart.
pub fn tells_scripts_apart(program: &str) -> bool {
    !matches!(
        script::Family::of(program),
        None | Some(script::Family::Other)
    )
}

/// Whether callers can be seen to come from a program of this id.
///
/// Errors: `internal` if the data of this program is broken.
pub fn is_known(id: &str, extra: &Extra) -> Result<bool> {
    known::has(id, extra)
}

/// Whether a program is `akm` of this installation, which asks for whoever started it.
pub fn is_akm(program: &Path) -> bool {
    proc::FileId::of(program).is_some_and(|id| look::is_akm(&id))
}

/// Most bytes of an executable's path that are kept.
const MAX_EXE: usize = 1024;

/// A connected process.
pub struct Process {
    uid: u32,
    pid: i32,
    /// `/proc/PID`, which answers for this process only, also when its number is used again.
    dir: Option<Arc<Dir>>,
    /// As the last request saw it.
    look: Mutex<Arc<Look>>,
}

impl Process {
    /// Whether the kernel can tell later, too, which process connected.
    pub fn can_be_pinned_later(stream: &impl AsFd) -> bool {
        static KNOWN: OnceLock<bool> = OnceLock::new();
        *KNOWN.get_or_init(|| !matches!(getsockopt(stream, PeerPidfd), Err(Errno::ENOPROTOOPT)))
    }

    /// Pins the process at the other end.
    pub fn pin(stream: &impl AsFd, peer: Peer) -> Process {
        let dir = peer.pid.and_then(|pid| pinned(stream, pid)).map(Arc::new);
        Process {
            uid: peer.uid,
            pid: peer.pid.unwrap_or(0),
            look: Mutex::new(Arc::new(Look::at(dir.clone()))),
            dir,
        }
    }

    /// Its number when it connected.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Who it is now.
    pub fn caller(&self) -> Caller {
        let look = self.look(Instant::now());
        let exe = match look.known(|| self.exe()) {
            Some(known) => known.to_owned(),
            None => self.exe().unwrap_or_else(unknown),
        };
        Caller {
            uid: self.uid,
            pid: self.pid,
            exe,
            via: Default::default(),
            process: Witness(Some(look)),
        }
    }

    fn look(&self, now: Instant) -> Arc<Look> {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if !look.holds(now) {
            *look = Arc::new(Look::at(self.dir.clone()));
        }
        Arc::clone(&look)
    }

    fn exe(&self) -> Option<String> {
        let mut exe = self.dir.as_ref()?.exe()?;
        exe.truncate(exe.floor_char_boundary(MAX_EXE));
        Some(exe)
    }
}

fn unknown() -> String {
    "?".to_owned()
}

fn pinned(stream: &impl AsFd, pid: i32) -> Option<Dir> {
    let dir = Dir::open(pid)?;
    match getsockopt(stream, PeerPidfd) {
        // Alive now, so the number was its own when the directory was opened.
        Ok(pidfd) => is_alive(&pidfd).then_some(dir),
        // Before Linux 6.5: the number could have been taken between connecting and here.
        Err(Errno::ENOPROTOOPT) => Some(dir),
        Err(_) => None,
    }
}

/// A pidfd becomes readable when its process ends.
pub(crate) fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use akm_core::caller::Process as _;

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

    /// A process of ours that runs another program once its line is read.
    fn changing(program: &str) -> (Child, Process) {
        let child = Command::new("sh")
            .args(["-c", "read line; exec $0 60", program])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("MARK", "before")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let dir = Some(Arc::new(Dir::open(pid).unwrap()));
        let process = Process {
            uid: nix::unistd::geteuid().as_raw(),
            pid,
            look: Mutex::new(Arc::new(Look::at(dir.clone()))),
            dir,
        };
        (child, process)
    }

    #[test]
    fn what_was_read_serves_for_a_moment_and_not_beyond_an_execve() {
        keep_open(1000);
        let (mut child, process) = changing("sleep");
        let first = process.look(Instant::now());
        let shell = first.program().unwrap().to_owned();
        // Not the time by now: a busy machine may have taken longer than a moment to come here.
        let now = first.since();
        assert!(Arc::ptr_eq(&first, &process.look(now)), "nothing changed");
        assert_eq!(
            process.caller().exe,
            shell,
            "of the process that is connected"
        );
        assert!(first.is_unchanged());
        // At the same instant, so that the memory alone decides.
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        while process.exe().unwrap() == shell {
            std::thread::yield_now();
        }
        let second = process.look(now);
        assert!(!Arc::ptr_eq(&first, &second), "another program");
        assert!(
            second.program().unwrap().ends_with("sleep"),
            "{:?}",
            second.program()
        );
        let now = second.since();
        assert!(Arc::ptr_eq(&second, &process.look(now)), "nothing changed");
        let later = now + Duration::from_millis(50);
        assert!(
            !Arc::ptr_eq(&second, &process.look(later)),
            "a moment is over"
        );
        child.kill().unwrap();
        child.wait().unwrap();
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
