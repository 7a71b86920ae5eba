//! How often a foreign peer is recorded.
//!
//! Invariant: whoever is refused at the socket writes a few events of the audit and no more; it is not for others to fill. That
//! they are refused does not depend on it.

use std::time::{Duration, Instant};

/// Foreign peers that are recorded at once, and how long until one more may be.
const FOREIGN_BURST: u32 = 16;
const FOREIGN_EVERY: Duration = Duration::from_secs(10);

/// A token bucket for the events of foreign peers.
pub(super) struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Bucket {
        Bucket {
            tokens: FOREIGN_BURST,
            filled: now,
        }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let earned = now.duration_since(self.filled).as_secs() / FOREIGN_EVERY.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(FOREIGN_BURST);
            self.tokens = self.tokens.saturating_add(earned).min(FOREIGN_BURST);
            self.filled = now;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_peers_cannot_fill_the_audit() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let taken = (0..1000).filter(|_| bucket.take(start)).count();
        assert_eq!(taken, FOREIGN_BURST as usize);
        assert!(bucket.take(start + FOREIGN_EVERY));
        assert!(!bucket.take(start + FOREIGN_EVERY));
    }
}
