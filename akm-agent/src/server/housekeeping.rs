//! What happens without a request: sessions end in time, events are folded into the store.
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

/// How long events may wait in the journal before they are folded.
const FOLD_AFTER: Duration = Duration::from_secs(2);
/// Longest sleep towards a deadline; the wipe may be this late after a suspend.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut fold_at: Option<Instant> = None;
    loop {
        let left = shared.service.next_deadline().map(until);
        if left == Some(Duration::ZERO) {
            shared
                .blocking(|shared| {
                    shared.service.expire();
                    shared.locked();
                })
                .await;
            scrub_stack();
            // The event of the lock.
            shared.touched();
        }
        let look_at = left.map(|left| Instant::now() + left.min(LOOK_EVERY));
        tokio::select! {
            () = shared.work.notified() => {
                // Stays set until the fold, so that the operations in between wake nobody.
                if shared.dirty.load(Ordering::Relaxed) {
                    fold_at.get_or_insert_with(|| Instant::now() + FOLD_AFTER);
                }
            }
            () = maybe(look_at) => {}
            () = maybe(fold_at) => {
                fold_at = None;
                // Before the fold: what runs from now on asks for the next one.
                shared.dirty.store(false, Ordering::Relaxed);
                // What cannot be folded stays in the journal and is tried again after the next operation.
                shared.blocking(|shared| shared.service.fold().is_ok()).await;
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
