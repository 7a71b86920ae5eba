//! The output of a command on its way to ours: read, masked, written.
//!
//! A thread for each stream, because a reader of ours that does not read must hold up nothing but that stream.
//!
//! Invariants: what the command wrote before its end is written; when our reader goes away, the command's pipe is
//! closed, so that the command learns of it as it would without us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

use super::super::super::output;
use super::signals::Signals;
use crate::mask::{Mask, Patterns};

/// Most bytes that are read at a time. Every page of it is touched again to wipe it, which a short command waits for.
const PIECE: usize = 16 * 1024;
/// Most bytes that are read after the command's end: as much as a pipe can hold. More than that is of another process,
/// which may never stop writing.
const LATE: usize = 1024 * 1024;

/// Where a stream goes.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Stdout,
    Stderr,
}

/// The streams under way.
pub(super) struct Copying {
    /// Held open while the command runs; closing it tells the threads that it has ended.
    running: OwnedFd,
    ended: Arc<OwnedFd>,
    /// Readable at its end, when every thread has let go of `at_work`.
    idle: OwnedFd,
    at_work: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Copying {
    pub(super) fn new() -> io::Result<Self> {
        let (ended, running) = io::pipe()?;
        let (idle, at_work) = io::pipe()?;
        Ok(Copying {
            running: running.into(),
            ended: Arc::new(ended.into()),
            idle: idle.into(),
            at_work: Arc::new(at_work.into()),
            threads: Vec::new(),
        })
    }

    /// Copies a stream from here on.
    pub(super) fn start(
        &mut self,
        from: OwnedFd,
        to: Target,
        is_terminal: bool,
        patterns: Arc<Patterns>,
    ) {
        let (ended, at_work) = (self.ended.clone(), self.at_work.clone());
        self.threads.push(std::thread::spawn(move || {
            copy(from, to, is_terminal, &ended, Mask::new(patterns));
            drop(at_work);
        }));
    }

    /// Waits until everything is written that came before the command's end. Whoever asks us to end meanwhile does not
    /// wait for a reader that does not read.
    pub(super) fn finish(self, signals: &mut Signals) {
        drop((self.running, self.at_work));
        loop {
            let idle = PollFd::new(self.idle.as_fd(), PollFlags::POLLIN);
            let mut fds = [idle, signals.as_poll()];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds[0].any() == Some(true) => break,
                Ok(_) => {
                    if signals.is_asked_to_end() {
                        return;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        for thread in self.threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn copy(from: OwnedFd, to: Target, is_terminal: bool, ended: &OwnedFd, mut mask: Mask) {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    let mut out = Vec::new();
    let mut reader_is_gone = false;
    let mut late = LATE;
    while let Some(count) = next(&from, ended, &mut piece, &mut late) {
        mask.push(&piece[..count], &mut out);
        if !reader_is_gone {
            reader_is_gone = write(to, &out).is_err();
        }
        out.clear();
        if reader_is_gone && !is_terminal {
            return;
        }
    }
    mask.finish(&mut out);
    if !reader_is_gone {
        let _ = write(to, &out);
    }
}

/// Reads what comes next; `None` at the end of the stream, and once the command has ended and nothing is left.
fn next(from: &OwnedFd, ended: &OwnedFd, piece: &mut [u8], late: &mut usize) -> Option<usize> {
    loop {
        let mut fds = [
            PollFd::new(from.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return None,
        }
        let has_ended = fds[1].any().unwrap_or(true);
        match fds[0].any() {
            Some(true) => {}
            _ if has_ended => return None,
            _ => continue,
        }
        match nix::unistd::read(from, piece) {
            Ok(0) => return None,
            Ok(count) if has_ended => {
                *late = late.checked_sub(count)?;
                return Some(count);
            }
            Ok(count) => return Some(count),
            Err(Errno::EAGAIN) if has_ended => return None,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // A terminal that nobody has open any more.
            Err(_) => return None,
        }
    }
}

fn write(to: Target, bytes: &[u8]) -> nix::Result<()> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let to: BorrowedFd<'_> = match to {
        Target::Stdout => stdout.as_fd(),
        Target::Stderr => stderr.as_fd(),
    };
    output::write_all(to, bytes)
}
