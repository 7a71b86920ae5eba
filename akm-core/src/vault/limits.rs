//! How often somebody may guess.
//!
//! An attempt is counted durably *before* it is made, so concurrent guesses are bounded by the counter
//! and not by luck, and a kill between check and count gains nothing. Unknown accounts are counted
//! alike, under a keyed tag, so the table names nobody.
//!
//! Passphrases and recovery codes have a counter each, and each of them one per origin: whoever guesses from
//! elsewhere never keeps the owner's own uid waiting. The wait grows to a minute for the owner and to 15 minutes for
//! others, and no further. Waits are measured in boot time, so that no jump of the clock ends or stretches one; over a
//! restart the wall clock counts, and one that was set back costs the longest wait at most. A program of the owner's own that guesses without end can keep the owner waiting; it could
//! as well end the agent.

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::store::{Attempts, Tag};

use super::Vault;

/// Failures before the first wait.
pub(super) const FREE_ATTEMPTS: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST_WAIT_MS: i64 = 30_000;
/// The longest wait of the owner, and of everybody else.
const OWNER_WAIT_MS: i64 = 60_000;
const LONGEST_WAIT_MS: i64 = 15 * 60_000;

/// Where an attempt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The uid that this process runs as, over its own socket or inside it.
    Owner,
    /// Anybody else.
    Other,
}

/// What is being guessed: each has its own counter.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    /// A passphrase.
    SignIn(Origin),
    /// A TOTP code, by somebody who has the passphrase. One for all origins: it bounds a day of guesses.
    Totp,
    /// A recovery code.
    Recovery(Origin),
    /// The first code of a new TOTP secret, by somebody whose session is open.
    Confirmation,
}

impl Guess {
    const fn label(self) -> &'static [u8] {
        match self {
            Guess::SignIn(Origin::Owner) => b"sign-in by the owner",
            Guess::SignIn(Origin::Other) => b"sign-in",
            Guess::Totp => b"code",
            Guess::Recovery(Origin::Owner) => b"recovery by the owner",
            Guess::Recovery(Origin::Other) => b"recovery",
            Guess::Confirmation => b"confirmation",
        }
    }

    const fn longest_wait_ms(self) -> i64 {
        match self {
            Guess::SignIn(Origin::Owner) | Guess::Recovery(Origin::Owner) => OWNER_WAIT_MS,
            Guess::SignIn(Origin::Other)
            | Guess::Recovery(Origin::Other)
            | Guess::Totp
            | Guess::Confirmation => LONGEST_WAIT_MS,
        }
    }
}

/// An attempt that was counted; cleared by success.
pub(super) struct Counted(Tag);

impl Vault {
    /// The counters of an account, by its folded name.
    pub fn attempts_of(&self, name: &str) -> Vec<Tag> {
        const ALL: [Guess; 6] = [
            Guess::SignIn(Origin::Owner),
            Guess::SignIn(Origin::Other),
            Guess::Totp,
            Guess::Recovery(Origin::Owner),
            Guess::Recovery(Origin::Other),
            Guess::Confirmation,
        ];
        ALL.iter()
            .map(|guess| self.attempt_tag(*guess, name))
            .collect()
    }

    fn attempt_tag(&self, guess: Guess, who: &str) -> Tag {
        crypto::tag(
            &self.host_key,
            &[b"attempts", guess.label(), who.as_bytes()],
        )
    }

    /// Counts an attempt of `who` (a folded name, or whatever was typed), or says how long to wait. The counter of a
    /// `known` account is never dropped for room.
    pub(super) fn count_attempt(&self, guess: Guess, who: &str, known: bool) -> Result<Counted> {
        let tag = self.attempt_tag(guess, who);
        let now = self.steady_ms();
        let mut wait_ms = 0;
        self.store.change_attempts(&tag, &mut |before| {
            let (after, wait) = decide(before, now, guess.longest_wait_ms());
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

    /// Writes as an attempt does and counts nothing: so that a wrong passphrase is not told from a right one with a wrong
    /// code by the time that the second counter takes.
    pub(super) fn count_nothing(&self) -> Result<()> {
        let tag = crypto::tag(&self.host_key, &[b"attempts", b"nothing"]);
        self.store.change_attempts(&tag, &mut |before| {
            Some(Attempts {
                failures: 1 + before.failures % 2,
                blocked_until: 0,
                known: true,
            })
        })
    }

    /// Unix milliseconds that only run forward: the wall clock when the vault was opened, and boot time since. A wall
    /// clock that jumps while the process runs neither ends a wait nor makes one longer.
    fn steady_ms(&self) -> i64 {
        let (wall_ms, boot) = self.opened_at;
        let since = self.host.clock.boot().saturating_sub(boot);
        wall_ms.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Forgets the attempts that led to a success.
    pub(super) fn clear_attempts(&self, counted: &Counted) -> Result<()> {
        self.store
            .change_attempts(&counted.0, &mut |_| Some(Attempts::default()))
    }
}

/// The row after an attempt now, or the wait in milliseconds.
fn decide(before: Attempts, now: i64, longest: i64) -> (Option<Attempts>, i64) {
    // A clock set back must not turn a wait of minutes into one of years: what is too far ahead is brought back, once.
    let ceiling = now.saturating_add(longest);
    if before.blocked_until > ceiling {
        return (
            Some(Attempts {
                blocked_until: ceiling,
                ..before
            }),
            longest,
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
            .min(longest),
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
            let (after, wait) = decide(row, now, LONGEST_WAIT_MS);
            assert_eq!(wait, 0);
            row = after.unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let (after, wait) = decide(row, now, LONGEST_WAIT_MS);
            assert!(after.is_none() && wait > 0);
            waits.push(wait / 1000);
            now += wait;
            row = decide(row, now, LONGEST_WAIT_MS).0.unwrap();
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
        let (row, wait) = decide(row, 0, LONGEST_WAIT_MS);
        assert_eq!(wait, LONGEST_WAIT_MS);
        let (after, wait) = decide(row.unwrap(), LONGEST_WAIT_MS, LONGEST_WAIT_MS);
        assert_eq!(wait, 0, "who waits as told is let in");
        assert_eq!(after.unwrap().failures, 10);
    }

    #[test]
    fn a_wait_is_over_at_its_end_and_not_a_millisecond_before() {
        let at = |blocked_until| Attempts {
            failures: 7,
            blocked_until,
            known: true,
        };
        let (now, longest) = (1_000_000, LONGEST_WAIT_MS);
        // As far ahead as a wait can be: it is one, and nothing is written. Beyond it is cut to that.
        assert_eq!(decide(at(now + longest), now, longest), (None, longest));
        assert_eq!(
            decide(at(now + longest + 1), now, longest),
            (Some(at(now + longest)), longest)
        );
        assert_eq!(decide(at(now + 1), now, longest), (None, 1));
        let counted = Attempts {
            failures: 8,
            ..at(now + 240_000)
        };
        for over in [now, now - 1, 0, i64::MIN] {
            assert_eq!(decide(at(over), now, longest), (Some(counted), 0), "{over}");
        }
        assert_eq!(
            decide(at(0), now, OWNER_WAIT_MS).0.unwrap().blocked_until,
            now + 60_000
        );
    }

    #[test]
    fn counts_and_times_end_and_do_not_wrap() {
        let last = Attempts {
            failures: u32::MAX,
            blocked_until: 0,
            known: false,
        };
        let (after, wait) = decide(last, i64::MAX, LONGEST_WAIT_MS);
        let after = after.unwrap();
        assert_eq!(wait, 0);
        assert_eq!((after.failures, after.blocked_until), (u32::MAX, i64::MAX));
        assert!(!after.known, "whose it is stays as it was");
        let (after, _) = decide(Attempts::default(), 5, LONGEST_WAIT_MS);
        let first = after.unwrap();
        assert_eq!((first.failures, first.blocked_until), (1, 0), "no wait yet");
    }
}
