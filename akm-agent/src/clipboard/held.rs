//! Holding the clipboard of a display: which one, and until when.
//!
//! Wayland first where there is a compositor, because many show X11 content only to focused windows; X11 where the
//! compositor lets no program without a window have the clipboard (GNOME), or where there is none.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use akm_core::clipboard::Target;
use akm_core::error::{Error, Kind, Result};
use akm_core::secret::Secret;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::{wayland, x11};

/// A clipboard that this process has.
pub(super) trait Owner {
    /// Readable when the display has something to say.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Answers what it asks; false once the clipboard is somebody else's.
    fn answer(&mut self) -> Result<bool>;

    /// Gives the clipboard back empty.
    fn give_up(&mut self);
}

/// Which formats a secret is offered in.
pub(super) const TEXT_TYPES: &[&str] = &[
    "text/plain;charset=utf-8",
    "text/plain",
    "UTF8_STRING",
    "STRING",
    "TEXT",
];
/// Asks clipboard managers not to keep the content: KeePassXC's and Klipper's convention, which others follow.
pub(super) const HINT_TYPE: &str = "x-kde-passwordManagerHint";
/// What stands under that type.
pub(super) const HINT: &[u8] = b"secret";

/// Takes a clipboard, says so, and holds it until the time is over.
pub(super) fn hold(
    target: &Target,
    secret: Secret,
    clear_after: Duration,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // Nobody to hand a signal to: the content goes when the process does.
    let mut owner = take(target, secret)?;
    ready()?;
    serve(&mut *owner, clear_after)
}

fn take(target: &Target, secret: Secret) -> Result<Box<dyn Owner>> {
    let refused = match &target.wayland {
        None => Error::new(Kind::Unavailable, "there is no display"),
        Some(socket) => match wayland::Holder::connect(socket) {
            Ok(holder) => return Ok(Box::new(holder.take(secret)?)),
            Err(error) => error,
        },
    };
    match target.x {
        Some(display) => Ok(Box::new(x11::Holder::take(display, secret)?)),
        None => Err(refused),
    }
}

/// Until the time is over (suspended time counts), the clipboard is somebody else's, or the agent closed the pipe.
fn serve(owner: &mut dyn Owner, clear_after: Duration) -> Result<()> {
    let io = |errno: Errno| Error::from_io(&errno.into());
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC).map_err(io)?;
    timer
        .set(
            Expiration::OneShot(TimeSpec::from_duration(clear_after)),
            TimerSetTimeFlags::empty(),
        )
        .map_err(io)?;
    let agent = std::io::stdin();
    loop {
        // What came with an earlier answer is read already, and no poll would tell of it.
        if !owner.answer()? {
            return Ok(());
        }
        let mut fds = [
            PollFd::new(owner.socket(), PollFlags::POLLIN),
            PollFd::new(timer.as_fd(), PollFlags::POLLIN),
            PollFd::new(agent.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(io(errno)),
            Ok(_) => {}
        }
        // The agent says nothing more: whatever comes is the end.
        let is_over = [&fds[1], &fds[2]].iter().any(|fd| fd.any().unwrap_or(true));
        if is_over {
            owner.give_up();
            return Ok(());
        }
    }
}
