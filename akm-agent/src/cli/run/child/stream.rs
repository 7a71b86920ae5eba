//! The output of a command on its way to ours: read, masked, written.
//!
//! A thread for each stream, because a reader of ours that does not read must hold up nothing but that stream. A pipe gets
//! its thread when there is something in it: most commands never write to stderr, many write nothing at all.
//!
//! Invariants: what the command wrote before its end is written, or [`Copying::finish`] says why not; when our reader
//! goes away or cannot be written to, the command's pipe is closed, so that the command learns of it nearly as it would
//! without us; the secrets are here as they are until the first
//! thread starts, and as patterns from then on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use akm_core::Secret;
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
    /// Pipes that nothing came through yet.
    quiet: Vec<(OwnedFd, Target)>,
    /// Held open while the command runs; closing it tells the threads that it has ended.
    running: OwnedFd,
    ended: Arc<OwnedFd>,
    /// Readable at its end, when every thread has let go of `at_work`.
    idle: OwnedFd,
    at_work: Arc<OwnedFd>,
    threads: Vec<JoinHandle<nix::Result<()>>>,
    keys: Vec<(String, Secret)>,
    patterns: Option<Arc<Patterns>>,
}

impl Copying {
    /// Nothing yet; what is copied will be masked of these.
    pub(super) fn of(keys: Vec<(String, Secret)>) -> io::Result<Self> {
        let (ended, running) = io::pipe()?;
        let (idle, at_work) = io::pipe()?;
        Ok(Copying {
            quiet: Vec::new(),
            running: running.into(),
            ended: Arc::new(ended.into()),
            idle: idle.into(),
            at_work: Arc::new(at_work.into()),
            threads: Vec::new(),
            keys,
            patterns: None,
        })
    }

    /// Copies a pipe from when there is something in it.
    pub(super) fn pipe(&mut self, from: OwnedFd, to: Target) {
        self.quiet.push((from, to));
    }

    /// Copies a terminal from here on, and every pipe too: who waits at a terminal does not [`listen`](Self::listen).
    pub(super) fn terminal(&mut self, from: OwnedFd, to: Target) -> io::Result<()> {
        self.start(from, to, true)?;
        for (from, to) in std::mem::take(&mut self.quiet) {
            self.start(from, to, false)?;
        }
        Ok(())
    }

    /// Waits until `held` is readable (true) or something else happened: starts to copy the pipes that something came
    /// through, and lets go of those that nothing will.
    pub(super) fn listen(&mut self, held: PollFd<'_>, timeout: PollTimeout) -> nix::Result<bool> {
        let mut fds = vec![held];
        let quiet = self.quiet.iter();
        fds.extend(quiet.map(|(from, _)| PollFd::new(from.as_fd(), PollFlags::POLLIN)));
        poll(&mut fds, timeout)?;
        let happened: Vec<_> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let is_held = happened[0].is_none_or(|events| !events.is_empty());
        if happened[1..]
            .iter()
            .all(|events| *events == Some(PollFlags::empty()))
        {
            return Ok(is_held);
        }
        let quiet = std::mem::take(&mut self.quiet);
        for ((from, to), events) in quiet.into_iter().zip(&happened[1..]) {
            match events {
                Some(events) if events.is_empty() => self.quiet.push((from, to)),
                // Nothing is in it, and nobody has it open any more.
                Some(events) if !events.contains(PollFlags::POLLIN) => {}
                _ => self.start(from, to, false)?,
            }
        }
        Ok(is_held)
    }

    fn start(&mut self, from: OwnedFd, to: Target, is_terminal: bool) -> nix::Result<()> {
        let keys = &mut self.keys;
        let patterns = self.patterns.get_or_insert_with(|| {
            let keys = std::mem::take(keys);
            Arc::new(Patterns::new(&keys))
        });
        let mask = Mask::new(Arc::clone(patterns));
        let (ended, at_work) = (self.ended.clone(), self.at_work.clone());
        let copying = move || {
            let copied = copy(from, to, is_terminal, &ended, mask);
            drop(at_work);
            copied
        };
        let thread = std::thread::Builder::new().spawn(copying);
        let thread = thread.map_err(|error| {
            let number = error.raw_os_error();
            number.map_or(Errno::EAGAIN, Errno::from_raw)
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Waits until everything is written that came before the command's end; fails with why something could not be.
    /// Whoever asks us to end meanwhile does not wait for a reader that does not read.
    pub(super) fn finish(mut self, signals: &mut Signals) -> io::Result<()> {
        self.listen(signals.as_poll(), PollTimeout::ZERO)?;
        drop((self.quiet, self.running, self.at_work));
        loop {
            let idle = PollFd::new(self.idle.as_fd(), PollFlags::POLLIN);
            let mut fds = [idle, signals.as_poll()];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds[0].any() == Some(true) => break,
                Ok(_) => {
                    if signals.is_asked_to_end() {
                        return Ok(());
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        let mut written = Ok(());
        for thread in self.threads {
            // One that panicked has said so.
            if let Ok(copied) = thread.join() {
                written = written.and(copied);
            }
        }
        Ok(written?)
    }
}

/// Copies to the end of the stream, or until nothing can be written; fails where that is not because the reader is gone.
fn copy(
    from: OwnedFd,
    to: Target,
    is_terminal: bool,
    ended: &OwnedFd,
    mut mask: Mask,
) -> nix::Result<()> {
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    let mut out = Vec::new();
    let mut written = Ok(());
    let mut late = LATE;
    while let Some(count) = next(&from, ended, &mut piece, &mut late) {
        mask.push(&piece[..count], &mut out);
        written = written.and_then(|()| write(to, &out));
        out.clear();
        // A command whose terminal went away has its signal from there, and is read on until it heeds it.
        if written.is_err() && !is_terminal {
            break;
        }
    }
    mask.finish(&mut out);
    match written.and_then(|()| write(to, &out)) {
        Err(Errno::EPIPE) => Ok(()),
        // A terminal that hung up.
        Err(Errno::EIO) if is_terminal => Ok(()),
        result => result,
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
