//! What happens without a request: sessions end in time, events are folded into the store.
//!
//! Deadlines are in boot time, so that time spent suspended counts; the timer is the kernel's, because the
//! runtime's stops during suspend. With no deadline and nothing to fold there are no wake-ups at all. A
//! session whose time is over is refused by the service at once, swept or not: this is for the wipe.

use std::future::pending;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use akm_core::memory::scrub_stack;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::Shared;

/// How long events may wait in the journal before they are folded.
const FOLD_AFTER: Duration = Duration::from_secs(2);
/// Without a boot timer (an old kernel): how often deadlines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Arc<Shared>) {
    let timer = BootTimer::new();
    let mut fold_at: Option<Instant> = None;
    loop {
        let deadline = shared.service.next_deadline();
        tokio::select! {
            () = shared.work.notified() => {
                if shared.dirty.swap(false, Ordering::Relaxed) {
                    fold_at.get_or_insert_with(|| Instant::now() + FOLD_AFTER);
                }
            }
            () = BootTimer::reach(timer.as_ref(), deadline) => {
                shared.blocking(|shared| {
                    shared.service.expire();
                    shared.locked();
                }).await;
                scrub_stack();
                fold_at.get_or_insert_with(|| Instant::now() + FOLD_AFTER);
            }
            () = maybe_sleep_until(fold_at) => {
                fold_at = None;
                // What cannot be folded stays in the journal and is tried again after the next operation.
                shared.blocking(|shared| shared.service.fold().is_ok()).await;
            }
        }
    }
}

async fn maybe_sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// A kernel timer on the boot clock.
struct BootTimer(AsyncFd<TimerFd>);

impl BootTimer {
    fn new() -> Option<BootTimer> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags).ok()?;
        AsyncFd::with_interest(timer, Interest::READABLE)
            .ok()
            .map(BootTimer)
    }

    /// Waits until the deadline, without a timer for a while, without a deadline for ever.
    async fn reach(timer: Option<&BootTimer>, deadline: Option<Duration>) {
        let Some(deadline) = deadline else {
            return pending().await;
        };
        if let Some(BootTimer(timer)) = timer
            && set(timer.get_ref(), deadline)
        {
            // The count it reads is of no interest; reading makes it quiet again.
            let read = |timer: &TimerFd| {
                nix::unistd::read(timer.as_fd(), &mut [0; 8]).map_err(std::io::Error::from)
            };
            let _ = timer.async_io(Interest::READABLE, read).await;
        } else {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn set(timer: &TimerFd, deadline: Duration) -> bool {
    // A timer of zero is one that is off.
    let at = TimeSpec::nanoseconds(i64::try_from(deadline.as_nanos()).unwrap_or(i64::MAX).max(1));
    timer
        .set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
        .is_ok()
}
