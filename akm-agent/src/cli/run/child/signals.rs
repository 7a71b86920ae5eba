//! Signals while a command runs, and its end.
//!
//! Invariants: they are blocked from before the command exists, so none comes at a moment where it would be lost or
//! would end us without it; the command starts with the mask of before. One that the kernel sent because of a key
//! goes to the whole process group, and is not sent a second time to a command in ours: for many programs a second
//! Ctrl-C means "at once".

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::End;
use super::screen::Screen;
use super::stream::Copying;

/// Passed on to the command.
const PASSED_ON: &[Signal] = &[
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];
/// `si_code` of a signal that the kernel sent: because of a key, or a terminal that went away.
const FROM_KERNEL: i32 = 0x80;
/// How often a job in the background looks whether it is in front: a shell need not tell it.
const LOOK: Duration = Duration::from_millis(250);

/// Signals held back for us to read.
pub(super) struct Signals {
    before: SigSet,
    held: SignalFd,
}

/// What an end of a command needs besides waiting for it.
pub(super) struct Attended<'a> {
    screen: Option<&'a mut Screen>,
    /// Its output.
    copying: Option<&'a mut Copying>,
    /// The command is in our process group, and gets what the kernel sends there.
    same_group: bool,
    /// What to do when the command has been stopped, if that is not for the screen to say.
    stopped: Option<Box<dyn FnMut(Signal) + 'a>>,
    /// SIGHUP goes to the whole process group of the command.
    hangs_up_group: bool,
}

impl<'a> Attended<'a> {
    /// As `akm run` attends to a command, or to the leader of its session.
    pub(super) fn of_run(screen: Option<&'a mut Screen>, copying: &'a mut Copying) -> Self {
        Attended {
            same_group: screen.is_none(),
            screen,
            copying: Some(copying),
            stopped: None,
            hangs_up_group: false,
        }
    }

    /// As the leader of a session attends to the command.
    pub(super) fn of_leader(stopped: impl FnMut(Signal) + 'a) -> Self {
        Attended {
            screen: None,
            copying: None,
            same_group: false,
            stopped: Some(Box::new(stopped)),
            hangs_up_group: true,
        }
    }
}

impl Signals {
    /// Blocks what is passed on, and what a terminal needs.
    pub(super) fn block(has_session: bool) -> io::Result<Self> {
        let mut set = SigSet::empty();
        PASSED_ON.iter().for_each(|signal| set.add(*signal));
        set.add(Signal::SIGCHLD);
        if has_session {
            for signal in [
                Signal::SIGTSTP,
                // What a job in the background must not be stopped by is refused instead.
                Signal::SIGTTIN,
                Signal::SIGTTOU,
            ] {
                set.add(signal);
            }
        }
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let held = SignalFd::with_flags(&set, flags)?;
        Ok(Signals { before, held })
    }

    /// The mask of before.
    pub(super) fn before(&self) -> SigSet {
        self.before
    }

    /// Waits for the end of a child and passes on what comes meanwhile.
    pub(super) fn attend(&mut self, child: Pid, attended: &mut Attended<'_>) -> io::Result<End> {
        if let Some(screen) = &mut attended.screen {
            screen.come_to_front();
        }
        // It may have ended or stopped before its signal was blocked for us.
        if let Some(end) = ended(child, attended)? {
            return Ok(end);
        }
        loop {
            self.wait(attended)?;
            while let Some(info) = self.held.read_signal()? {
                let Ok(signal) = Signal::try_from(info.ssi_signo as i32) else {
                    continue;
                };
                let by_kernel = info.ssi_code == FROM_KERNEL;
                match (signal, &mut attended.screen) {
                    (Signal::SIGCHLD, _) => {
                        if let Some(end) = ended(child, attended)? {
                            return Ok(end);
                        }
                    }
                    (Signal::SIGWINCH, Some(screen)) => screen.resize(),
                    (Signal::SIGCONT, Some(screen)) => {
                        screen.come_to_front();
                        let _ = kill(child, signal);
                    }
                    (Signal::SIGHUP, _) if attended.hangs_up_group => {
                        let _ = nix::sys::signal::killpg(child, signal);
                    }
                    _ if attended.same_group && by_kernel => {}
                    (Signal::SIGTTIN | Signal::SIGTTOU, _) => {}
                    // A leader's command learns of these from its terminal, and when the leader goes on.
                    (Signal::SIGWINCH | Signal::SIGCONT, _) if !attended.same_group => {}
                    _ => {
                        let _ = kill(child, signal);
                    }
                }
            }
        }
    }

    /// Until there is a signal, moving what is typed to the command, and what it writes first.
    fn wait(&self, attended: &mut Attended<'_>) -> io::Result<()> {
        loop {
            let held = PollFd::new(self.held.as_fd(), PollFlags::POLLIN);
            let woken = match (&mut attended.screen, &mut attended.copying) {
                (Some(screen), _) => screen.pass_input(held, LOOK),
                (None, Some(copying)) => copying.listen(held, PollTimeout::NONE),
                (None, None) => poll(&mut [held], PollTimeout::NONE).map(|_| true),
            };
            match woken {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether somebody wants this process to end now.
    pub(super) fn is_asked_to_end(&self) -> bool {
        let ends = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
        while let Ok(Some(info)) = self.held.read_signal() {
            let signal = Signal::try_from(info.ssi_signo as i32);
            if signal.is_ok_and(|signal| ends.contains(&signal)) {
                return true;
            }
        }
        false
    }

    /// Readable when there is a signal.
    pub(super) fn as_poll(&self) -> PollFd<'_> {
        PollFd::new(self.held.as_fd(), PollFlags::POLLIN)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// How the child ended, if it did. If it was stopped, so are we.
fn ended(child: Pid, attended: &mut Attended<'_>) -> io::Result<Option<End>> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Some(End::Code(code))),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Some(End::Signal(signal))),
            Ok(WaitStatus::Stopped(_, signal)) => {
                if let Some(stopped) = &mut attended.stopped {
                    stopped(signal);
                } else if let Some(screen) = &mut attended.screen {
                    screen.stopped(child);
                    let _ = kill(child, Signal::SIGCONT);
                }
            }
            Ok(_) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
