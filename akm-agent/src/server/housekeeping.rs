//! What happens without a request: sessions end in time, events are folded into the store, keys are checked after an
//! unlock.
//!
//! Deadlines are in boot time, so that time spent suspended counts. The runtime's timer stops while
//! suspended, so with a deadline ahead it is set for a few seconds at most and the boot clock is asked
//! again. With no deadline and nothing to fold there are no wake-ups at all. A session whose time is over
//! is refused by the service at once, swept or not: this is for the wipe.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use akm_core::memory::scrub_stack;
use nix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::harden;
use crate::log::{self, Entry};

/// How long events may wait in the journal before they are folded.
const FOLD_AFTER: Duration = Duration::from_secs(2);
/// How long after the last fold memory is given back; a busy agent keeps its pages.
const REST_AFTER: Duration = Duration::from_secs(8);
/// Between two slices of the check of all keys, each of which takes a millisecond or two.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// Longest sleep towards a deadline; the wipe may be this late after a suspend.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut fold_at: Option<Instant> = None;
    let mut rest_at: Option<Instant> = None;
    let mut check_at: Option<Instant> = None;
    loop {
        let mut left = shared.service.next_deadline().map(until);
        if left == Some(Duration::ZERO) {
            let ended = shared
                .blocking(|shared| {
                    let ended = shared.service.expire() > 0;
                    if ended {
                        shared.locked();
                    }
                    ended
                })
                .await;
            scrub_stack();
            if ended == Some(true) {
                // The event of the lock.
                shared.touched();
                log::write(&Entry::Expired);
            }
            // One that was used since its end was noted has another one now.
            left = shared.service.next_deadline().map(until);
        }
        let look_at = left.map(|left| Instant::now() + left.min(LOOK_EVERY));
        tokio::select! {
            () = shared.work.notified() => {
                // The mark stays until the fold, so that this task is woken once and not by each operation.
                if shared.dirty.load(Ordering::Relaxed) {
                    fold_at.get_or_insert_with(|| Instant::now() + FOLD_AFTER);
                }
                if shared.service.check_pending() {
                    check_at.get_or_insert_with(|| Instant::now() + FOLD_AFTER);
                }
            }
            () = maybe(look_at) => {}
            () = maybe(fold_at) => {
                shared.dirty.store(false, Ordering::Relaxed);
                // What cannot be folded stays in the journal and is tried again after the next operation.
                shared.blocking(|shared| shared.service.fold().is_ok()).await;
                fold_at = None;
                rest_at = Some(Instant::now() + REST_AFTER);
            }
            () = maybe(check_at) => {
                shared.blocking(|shared| shared.service.check_some()).await;
                check_at = shared.service.check_pending().then(|| Instant::now() + CHECK_EVERY);
            }
            () = maybe(rest_at) => {
                rest_at = None;
                shared.blocking(|_| harden::give_back_memory()).await;
            }
        }
    }
}

async fn maybe(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// From now to a boot time. As in the service, a system without the clock is past every deadline.
fn until(deadline: Duration) -> Duration {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from);
    deadline.saturating_sub(now)
}
