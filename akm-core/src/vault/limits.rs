//! How often somebody may guess.
//!
//! An attempt is counted durably *before* it is made, so concurrent guesses are bounded by the counter
//! and not by luck, and a kill between check and count gains nothing. One counter per account serves
//! passphrase and TOTP; recovery codes and confirmations have their own. Unknown accounts are counted
//! alike, under a keyed tag, so the table names nobody. The wait grows to 15 minutes and no further, but whoever
//! guesses again after each wait can make the owner wait as long as that goes on.

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::store::{Attempts, Tag};

use super::Vault;

/// Failures before the first wait.
pub(super) const FREE_ATTEMPTS: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST_WAIT_MS: i64 = 30_000;
/// The longest wait.
const LONGEST_WAIT_MS: i64 = 15 * 60_000;

/// What is being guessed: each has its own counter.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    /// Passphrase and TOTP code.
    SignIn,
    /// A recovery code.
    Recovery,
    /// The first code of a new TOTP secret.
    Confirmation,
}

/// An attempt that was counted; cleared by success.
pub(super) struct Counted(Tag);

impl Vault {
    /// Counts an attempt of `who` (a folded name, or whatever was typed), or says how long to wait. The counter of a
    /// `known` account is never dropped for room.
    pub(super) fn count_attempt(&self, guess: Guess, who: &str, known: bool) -> Result<Counted> {
        let label: &[u8] = match guess {
            Guess::SignIn => b"sign-in",
            Guess::Recovery => b"recovery",
            Guess::Confirmation => b"confirmation",
        };
        let tag = crypto::tag(&self.host_key, &[b"attempts", label, who.as_bytes()]);
        let now = self.now_ms();
        let mut wait_ms = 0;
        self.store.change_attempts(&tag, &mut |before| {
            let (after, wait) = decide(before, now);
            wait_ms = wait;
            after.map(|after| Attempts { known, ..after })
        })?;
        if wait_ms > 0 {
            // Rounded up: a caller who waits as told is never told again.
            let seconds = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
            return Err(
                Error::new(Kind::RateLimited, "too many failed attempts").with_retry_after(seconds)
            );
        }
        Ok(Counted(tag))
    }

    /// Forgets the attempts that led to a success.
    pub(super) fn clear_attempts(&self, counted: &Counted) -> Result<()> {
        self.store
            .change_attempts(&counted.0, &mut |_| Some(Attempts::default()))
    }
}

/// The row after an attempt now, or the wait in milliseconds.
fn decide(before: Attempts, now: i64) -> (Option<Attempts>, i64) {
    // A clock set back must not turn a wait of minutes into one of years: what is too far ahead is brought back, once.
    let ceiling = now.saturating_add(LONGEST_WAIT_MS);
    if before.blocked_until > ceiling {
        return (
            Some(Attempts {
                blocked_until: ceiling,
                ..before
            }),
            LONGEST_WAIT_MS,
        );
    }
    if before.blocked_until > now {
        return (None, before.blocked_until - now);
    }
    let failures = before.failures.saturating_add(1);
    let wait = match failures.checked_sub(FREE_ATTEMPTS) {
        None => 0,
        Some(beyond) => FIRST_WAIT_MS
            .saturating_mul(1 << beyond.min(10))
            .min(LONGEST_WAIT_MS),
    };
    (
        Some(Attempts {
            failures,
            blocked_until: if wait == 0 {
                0
            } else {
                now.saturating_add(wait)
            },
            ..before
        }),
        0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_attempts_then_growing_waits_up_to_a_quarter_of_an_hour() {
        let mut row = Attempts::default();
        let mut now = 1_000_000;
        for _ in 0..FREE_ATTEMPTS {
            let (after, wait) = decide(row, now);
            assert_eq!(wait, 0);
            row = after.unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let (after, wait) = decide(row, now);
            assert!(after.is_none() && wait > 0);
            waits.push(wait / 1000);
            now += wait;
            row = decide(row, now).0.unwrap();
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    }

    #[test]
    fn a_clock_set_back_waits_the_longest_wait_once() {
        let row = Attempts {
            failures: 9,
            blocked_until: i64::MAX,
            known: true,
        };
        let (row, wait) = decide(row, 0);
        assert_eq!(wait, LONGEST_WAIT_MS);
        let (after, wait) = decide(row.unwrap(), LONGEST_WAIT_MS);
        assert_eq!(wait, 0, "who waits as told is let in");
        assert_eq!(after.unwrap().failures, 10);
    }
}
