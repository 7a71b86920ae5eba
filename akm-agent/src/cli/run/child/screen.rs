//! Terminals: the one that the command writes to, and ours.
//!
//! Invariants: our terminal is left as it was found, also after a panic, before a stop and at every end but SIGKILL; it
//! is only touched while we are in front, so that a job in the background disturbs nobody; nothing that was typed is
//! taken before the command can have it; sizes follow. In a pipeline others may read the keyboard (`akm run -- CMD | less`), so
//! there it stays theirs until the command wants it, which shows by its being stopped for it (`session`).

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, read, tcgetpgrp, write};
use zeroize::Zeroizing;

/// Most typed bytes that are on their way at a time.
const TYPED: usize = 1024;

/// A terminal of the command's, shown on ours.
pub(super) struct Screen {
    master: OwnedFd,
    /// The command's end, until it has it.
    slave: Option<OwnedFd>,
    ours: OwnedFd,
    /// How ours was found.
    before: Termios,
    is_raw: bool,
    /// Whether the keyboard was the command's from the start.
    at_once: bool,
    /// Whether what is typed goes to the command.
    has_keyboard: bool,
    typed: Zeroizing<Vec<u8>>,
    input_ended: bool,
}

impl Screen {
    /// A terminal of the size and settings of ours. Where stdin and stdout are terminals nobody else is there to read it.
    pub(super) fn open() -> io::Result<Self> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let at_once = stdin.is_terminal() && stdout.is_terminal();
        let ours = match (at_once, stdout.is_terminal()) {
            (true, _) => stdin.as_fd().try_clone_to_owned()?,
            // The keyboard, if there is one.
            (false, shown) => match File::options().read(true).write(true).open("/dev/tty") {
                Ok(tty) => tty.into(),
                Err(_) if shown => stdout.as_fd().try_clone_to_owned()?,
                Err(_) => stderr.as_fd().try_clone_to_owned()?,
            },
        };
        let before = tcgetattr(&ours)?;
        let size = rustix::termios::tcgetwinsize(&ours)?;
        let size = Winsize {
            ws_row: size.ws_row,
            ws_col: size.ws_col,
            ws_xpixel: size.ws_xpixel,
            ws_ypixel: size.ws_ypixel,
        };
        let mut theirs = before.clone();
        if !at_once {
            // Ours goes on ending lines, so theirs must not: each line would end twice.
            theirs.output_flags.remove(OutputFlags::OPOST);
        }
        let pty = openpty(Some(&size), Some(&theirs))?;
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        // A command that does not read must not keep us from its signals.
        fcntl(
            &pty.master,
            FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
        )?;
        Ok(Screen {
            master: pty.master,
            slave: Some(pty.slave),
            ours,
            before,
            is_raw: false,
            at_once,
            has_keyboard: at_once,
            typed: Zeroizing::new(Vec::with_capacity(TYPED)),
            input_ended: false,
        })
    }

    /// Whether the keyboard is the command's from the start.
    pub(super) fn at_once(&self) -> bool {
        self.at_once
    }

    /// Another handle on our end.
    pub(super) fn master(&self) -> io::Result<OwnedFd> {
        self.master.try_clone()
    }

    /// Another handle on the command's end.
    pub(super) fn slave(&self) -> io::Result<OwnedFd> {
        match &self.slave {
            Some(slave) => slave.try_clone(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The command has its end now.
    pub(super) fn give_away(&mut self) {
        self.slave = None;
    }

    /// Takes on the size of our terminal.
    pub(super) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(&self.ours) {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// Lets every key through to the command, if we are in front.
    pub(super) fn come_to_front(&mut self) {
        self.resize();
        if !self.has_keyboard || !self.is_in_front() {
            return;
        }
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        if !self.at_once {
            // Others of the pipeline write here too, and count on their lines being ended.
            raw.output_flags = self.before.output_flags;
        }
        self.is_raw = tcsetattr(&self.ours, SetArg::TCSADRAIN, &raw).is_ok();
    }

    /// The leader of the session has stopped: because the command was, or because the command wants the keyboard for the
    /// first time, and stands in front for that.
    pub(super) fn stopped(&mut self, leader: Pid) {
        let wants =
            !self.has_keyboard && tcgetpgrp(&self.master).is_ok_and(|front| front != leader);
        self.has_keyboard |= wants;
        if wants && self.is_in_front() {
            self.come_to_front();
        } else {
            self.stop();
        }
    }

    /// Stops this process and its job, as Ctrl-Z does without us; comes back when it is continued. Where nobody could
    /// continue it, the system does not stop it.
    fn stop(&mut self) {
        self.leave();
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTSTP);
        let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
        let _ = stop.thread_unblock();
        // Here.
        let _ = stop.thread_block();
        self.come_to_front();
    }

    /// Waits until `held` is readable (true) or it is time to look again, and moves what is typed to the command.
    pub(super) fn pass_input(&mut self, held: PollFd<'_>, look: Duration) -> nix::Result<bool> {
        let in_front = self.is_in_front();
        match (in_front, self.is_raw) {
            (true, false) if self.has_keyboard => self.come_to_front(),
            (false, true) => self.is_raw = false,
            _ => {}
        }
        let timeout = match in_front || !self.has_keyboard {
            true => PollTimeout::NONE,
            false => PollTimeout::try_from(look).unwrap_or(PollTimeout::NONE),
        };
        let takes = self.has_keyboard && in_front && self.typed.is_empty() && !self.input_ended;
        let mut fds = vec![held];
        if takes {
            fds.push(PollFd::new(self.ours.as_fd(), PollFlags::POLLIN));
        } else if !self.typed.is_empty() {
            fds.push(PollFd::new(self.master.as_fd(), PollFlags::POLLOUT));
        }
        poll(&mut fds, timeout)?;
        let is_held = fds[0].any() == Some(true);
        let is_ready = fds.get(1).and_then(PollFd::any) == Some(true);
        if is_ready && takes {
            self.take()?;
        }
        if is_ready {
            self.give();
        }
        Ok(is_held)
    }

    fn take(&mut self) -> nix::Result<()> {
        self.typed.resize(TYPED, 0);
        let count = read(&self.ours, &mut self.typed);
        self.typed.truncate(*count.as_ref().unwrap_or(&0));
        match count {
            Ok(0) => self.input_ended = true,
            // We are not in front any more.
            Err(Errno::EIO) => {}
            Err(errno) if errno != Errno::EAGAIN => return Err(errno),
            _ => {}
        }
        Ok(())
    }

    fn give(&mut self) {
        if self.typed.is_empty() {
            return;
        }
        match write(&self.master, &self.typed) {
            Ok(count) => {
                self.typed.drain(..count);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody is there to read it.
            Err(_) => self.typed.clear(),
        }
    }

    fn is_in_front(&self) -> bool {
        tcgetpgrp(&self.ours).is_ok_and(|group| group == getpgrp())
    }

    fn leave(&mut self) {
        if self.is_raw && self.is_in_front() {
            let _ = tcsetattr(&self.ours, SetArg::TCSADRAIN, &self.before);
        }
        self.is_raw = false;
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}
