//! How often somebody may guess.
//!
//! An attempt is counted durably *before* it is made, so concurrent guesses are bounded by the counter
//! and not by luck, and a kill between check and count gains nothing.
//!
//! Passphrases and recovery codes have counters each, and each of them by where the attempt comes from:
//!
//! | from | counted | longest wait |
//! | --- | --- | --- |
//! | the owner's own uid | under the name | 1 min |
//! | the network | under the name, for all addresses together | 15 min |
//! | a uid that signed in to this account before | under account and uid | 15 min |
//! | any other uid of the machine | under name and uid, and together with all such uids under the name | 15 min |
//!
//! So nobody keeps somebody else waiting who signs in from a uid of their own: who guesses fills counters that a uid
//! which signed in before has no part in. What an account has to withstand is bounded all the same, however many uids
//! somebody controls (a range of subordinate ones, say): 16 uids at most are remembered for an account and each of them
//! has proved the passphrase of its time; all others share a total of 50 tries, then one in 15 minutes.
//!
//! *Known and unknown names count alike*: under a name stands for a bucket of it, one of 65,536 by a hash under the host
//! key, and whether somebody has to wait is decided by buckets alone. A table that is full cannot tell names apart, since it
//! never is, and nobody can choose a name that falls into another's bucket. What an account adds to its bucket is tallied
//! beside it, and a success takes back that much and no more: whoever has an account that happens to share a bucket
//! gains no guesses at the other. A bucket that nobody touched for a day after its wait begins anew: who waits for that gets
//! fewer guesses than who does not. Somebody who fills all buckets (327,680 failures, each of them a derivation) makes
//! the network wait, and neither the owner nor uids that signed in before.
//!
//! Waits are measured in boot time, so that no jump of the clock ends or stretches one; over a
//! restart the wall clock counts, and one that was set back costs the longest wait at most. A program of the owner's own that guesses without end can keep the owner waiting; it could
//! as well end the agent.

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::store::{AccountRow, Attempts, Id, Tag};

use super::Vault;

/// Failures before the first wait.
pub(super) const FREE_ATTEMPTS: u32 = 5;
/// The same of all uids together that never signed in.
pub(super) const FREE_TOGETHER: u32 = 50;
/// The first wait; each further failure doubles it.
const FIRST_WAIT_MS: i64 = 30_000;
/// The longest wait of the owner, and of everybody else.
const OWNER_WAIT_MS: i64 = 60_000;
const LONGEST_WAIT_MS: i64 = 15 * 60_000;
/// A bucket that was quiet for so long after its wait begins anew.
const QUIET_MS: i64 = 24 * 60 * 60_000;
/// How many uids are remembered to have signed in to an account.
const MAX_FAMILIAR: u32 = 16;

/// Where an attempt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The uid that this process runs as, over its own socket or inside it.
    Owner,
    /// Another uid of this machine, as the kernel says.
    User(u32),
    /// Anybody on the network.
    Network,
}

/// What is being guessed: each has its own counters.
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
            Guess::SignIn(_) => b"sign-in",
            Guess::Totp => b"code",
            Guess::Recovery(_) => b"recovery",
            Guess::Confirmation => b"confirmation",
        }
    }

    const fn origin(self) -> Option<Origin> {
        match self {
            Guess::SignIn(origin) | Guess::Recovery(origin) => Some(origin),
            Guess::Totp | Guess::Confirmation => None,
        }
    }
}

/// Whose secret is guessed.
pub(super) struct Who<'a> {
    /// A folded name, or whatever was typed.
    pub(super) name: &'a str,
    /// The account, or one that stands in for it.
    pub(super) id: Id,
    /// Whether the account has that name.
    pub(super) known: bool,
}

impl<'a> Who<'a> {
    /// An account that is there.
    pub(super) fn of(row: &'a AccountRow) -> Self {
        Who {
            name: &row.name,
            id: row.id,
            known: true,
        }
    }
}

/// How many failures are free, and how long the wait grows.
#[derive(Clone, Copy)]
struct Limit {
    free: u32,
    longest_ms: i64,
}

const OWNERS: Limit = Limit {
    free: FREE_ATTEMPTS,
    longest_ms: OWNER_WAIT_MS,
};
const OTHERS: Limit = Limit {
    free: FREE_ATTEMPTS,
    longest_ms: LONGEST_WAIT_MS,
};
const TOGETHER: Limit = Limit {
    free: FREE_TOGETHER,
    ..OTHERS
};

/// What a row of the table counts.
#[derive(Clone, Copy)]
enum Rule {
    /// Attempts at one account: a success clears it.
    Own(Limit),
    /// Whatever falls into a bucket: a success takes back what the account added itself.
    Shared(Limit),
    /// What the account added to the bucket before it. Decides nothing.
    Tally,
}

/// A row that an attempt is counted in.
pub(super) struct Counter {
    pub(super) tag: Tag,
    rule: Rule,
}

/// An account, and who is familiar to it.
type Familiar = (Id, Tag);

/// An attempt that was counted; cleared by success.
pub(super) struct Counted {
    counters: Vec<Counter>,
    /// What the attempt found in each and that still counted.
    found: Vec<Attempts>,
    /// What it made of it.
    set: Vec<Attempts>,
    /// What a success makes known for this account.
    familiar: Option<Familiar>,
}

impl Vault {
    /// The counters that are an account's alone.
    pub fn attempts_of(&self, name: &str, id: &Id) -> Result<Vec<Tag>> {
        let mut tags = Vec::new();
        for guess in [Guess::Totp, Guess::Confirmation] {
            tags.push(self.attempt_tag(guess, &[name.as_bytes()]));
        }
        let uids = self.store.familiar(id)?;
        for guess in [Guess::SignIn(Origin::Owner), Guess::Recovery(Origin::Owner)] {
            for from in [&b"owner"[..], b"network"] {
                tags.push(self.tally(guess, from, Some(id)));
            }
            tags.extend(
                uids.iter()
                    .map(|uid| self.attempt_tag(guess, &[b"uid", uid])),
            );
        }
        Ok(tags)
    }

    fn attempt_tag(&self, guess: Guess, parts: &[&[u8]]) -> Tag {
        let parts: Vec<&[u8]> = [b"attempts", guess.label()]
            .into_iter()
            .chain(parts.iter().copied())
            .collect();
        crypto::tag(&self.host_key, &parts)
    }

    /// One of 65,536 for what `of` says. Nobody without the host key can tell what falls together.
    fn bucket(&self, guess: Guess, from: &[u8], of: &[&[u8]]) -> Tag {
        let of: Vec<&[u8]> = [b"bucket", from]
            .into_iter()
            .chain(of.iter().copied())
            .collect();
        let whole = self.attempt_tag(guess, &of);
        self.attempt_tag(guess, &[b"bucket", from, &whole[..2]])
    }

    /// Names that nobody has share one: it is written, and never read.
    fn tally(&self, guess: Guess, from: &[u8], id: Option<&Id>) -> Tag {
        let whose = id.map_or(&b"nobody"[..], |id| id);
        self.attempt_tag(guess, &[b"tally", from, whose])
    }

    fn familiar_tag(&self, id: &Id, uid: u32) -> Tag {
        crypto::tag(&self.host_key, &[b"familiar", id, &uid.to_be_bytes()])
    }

    /// The rows that an attempt is counted in, and what a success makes known.
    pub(super) fn counters(
        &self,
        guess: Guess,
        who: &Who<'_>,
    ) -> Result<(Vec<Counter>, Option<Familiar>)> {
        let name = who.name.as_bytes();
        let under_name = |from: &[u8], limit: Limit| {
            let known = who.known.then_some(&who.id);
            vec![
                Counter {
                    tag: self.bucket(guess, from, &[name]),
                    rule: Rule::Shared(limit),
                },
                Counter {
                    tag: self.tally(guess, from, known),
                    rule: Rule::Tally,
                },
            ]
        };
        Ok(match guess.origin() {
            None => {
                let tag = self.attempt_tag(guess, &[name]);
                let rule = Rule::Own(OTHERS);
                (vec![Counter { tag, rule }], None)
            }
            Some(Origin::Owner) => (under_name(b"owner", OWNERS), None),
            Some(Origin::Network) => (under_name(b"network", OTHERS), None),
            Some(Origin::User(uid)) => {
                let tag = self.familiar_tag(&who.id, uid);
                let familiar = self.store.familiar(&who.id)?.contains(&tag);
                if familiar && who.known {
                    let tag = self.attempt_tag(guess, &[b"uid", &tag]);
                    let rule = Rule::Own(OTHERS);
                    return Ok((vec![Counter { tag, rule }], None));
                }
                let strangers = vec![
                    Counter {
                        tag: self.bucket(guess, b"a stranger", &[name, &uid.to_be_bytes()]),
                        rule: Rule::Shared(OTHERS),
                    },
                    Counter {
                        tag: self.bucket(guess, b"strangers", &[name]),
                        rule: Rule::Shared(TOGETHER),
                    },
                ];
                (strangers, who.known.then_some((who.id, tag)))
            }
        })
    }

    /// Counts an attempt, or says how long to wait.
    pub(super) fn count_attempt(&self, guess: Guess, who: &Who<'_>) -> Result<Counted> {
        let (counters, familiar) = self.counters(guess, who)?;
        let tags: Vec<Tag> = counters.iter().map(|counter| counter.tag).collect();
        let now = self.steady_ms();
        let (mut wait_ms, mut found, mut set) = (0, Vec::new(), Vec::new());
        self.store.change_attempts(&tags, &mut |rows| {
            let standing = rows.iter().zip(&counters);
            found = standing
                .map(|(row, counter)| counter.rule.standing(*row, now))
                .collect();
            let verdicts: Vec<_> = found
                .iter()
                .zip(&counters)
                .map(|(row, counter)| counter.rule.decide(*row, now))
                .collect();
            wait_ms = verdicts.iter().map(|(_, wait)| *wait).max().unwrap_or(0);
            for (row, (after, wait)) in rows.iter_mut().zip(verdicts) {
                // Where one of them says to wait nothing is counted in the others.
                if let Some(after) = after
                    && (wait_ms == 0 || wait > 0)
                {
                    *row = after;
                }
            }
            set = rows.to_vec();
        })?;
        if wait_ms > 0 {
            // Rounded up: a caller who waits as told is never told again.
            let seconds = u64::try_from(wait_ms).unwrap_or(0).div_ceil(1000);
            return Err(
                Error::new(Kind::RateLimited, "too many failed attempts").with_retry_after(seconds)
            );
        }
        Ok(Counted {
            counters,
            found,
            set,
            familiar,
        })
    }

    /// Writes as an attempt does and counts nothing: so that a wrong passphrase is not told from a right one with a wrong
    /// code by the time that the second counter takes.
    pub(super) fn count_nothing(&self) -> Result<()> {
        let tag = crypto::tag(&self.host_key, &[b"attempts", b"nothing"]);
        self.store.change_attempts(&[tag], &mut |rows| {
            for row in rows {
                row.failures = 1 + row.failures % 2;
            }
        })
    }

    /// Unix milliseconds that only run forward: the wall clock when the vault was opened, and boot time since. A wall
    /// clock that jumps while the process runs neither ends a wait nor makes one longer.
    fn steady_ms(&self) -> i64 {
        let (wall_ms, boot) = self.opened_at;
        let since = self.host.clock.boot().saturating_sub(boot);
        wall_ms.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Forgets the attempts that led to a success, and remembers the uid that had it.
    pub(super) fn clear_attempts(&self, counted: &Counted) -> Result<()> {
        let tags: Vec<Tag> = counted.counters.iter().map(|counter| counter.tag).collect();
        self.store.change_attempts(&tags, &mut |rows| {
            let tally = rows
                .iter()
                .zip(&counted.counters)
                .find(|(_, counter)| matches!(counter.rule, Rule::Tally));
            let added = tally.map_or(1, |(row, _)| row.failures);
            let before = counted.found.iter().zip(&counted.set);
            let counters = counted.counters.iter().zip(before);
            for (row, (counter, (found, set))) in rows.iter_mut().zip(counters) {
                match counter.rule {
                    Rule::Own(_) | Rule::Tally => *row = Attempts::default(),
                    Rule::Shared(_) => {
                        row.failures = row.failures.saturating_sub(added);
                        // A wait that somebody else's failure began since stays. Of one before that, whose failures
                        // stay, its end: without it the bucket would never begin anew.
                        if row.blocked_until == set.blocked_until {
                            row.blocked_until = match row.failures {
                                0 => 0,
                                _ => found.blocked_until,
                            };
                        }
                    }
                }
            }
        })?;
        match &counted.familiar {
            Some((account, tag)) => self.store.add_familiar(account, tag, MAX_FAMILIAR),
            None => Ok(()),
        }
    }

    /// Takes back what an account added to the counters of another secret than the one it just proved itself with, which that
    /// success replaced.
    pub(super) fn forgive(&self, guess: Guess, who: &Who<'_>) -> Result<()> {
        let (counters, _) = self.counters(guess, who)?;
        let tags: Vec<Tag> = counters.iter().map(|counter| counter.tag).collect();
        let now = self.steady_ms();
        self.store.change_attempts(&tags, &mut |rows| {
            let tally = rows
                .iter()
                .zip(&counters)
                .find(|(_, counter)| matches!(counter.rule, Rule::Tally));
            let added = tally.map_or(0, |(row, _)| row.failures);
            for (row, counter) in rows.iter_mut().zip(&counters) {
                match counter.rule {
                    Rule::Own(_) | Rule::Tally => *row = Attempts::default(),
                    Rule::Shared(_) if row.failures <= added => *row = Attempts::default(),
                    Rule::Shared(limit) => {
                        row.failures -= added;
                        // What is left of others began no wait. Its end is kept, so that the bucket begins anew.
                        if added > 0 && row.failures < limit.free {
                            row.blocked_until = row.blocked_until.min(now);
                        }
                    }
                }
            }
        })
    }

    /// Remembers that the account was made from there: by whoever has its passphrase.
    pub fn remember_origin(&self, account: &Id, origin: Origin) -> Result<()> {
        match origin {
            Origin::User(uid) => {
                let tag = self.familiar_tag(account, uid);
                self.store.add_familiar(account, &tag, MAX_FAMILIAR)
            }
            Origin::Owner | Origin::Network => Ok(()),
        }
    }
}

impl Rule {
    /// What of a row still counts: nothing of a bucket that was quiet for long.
    fn standing(self, row: Attempts, now: i64) -> Attempts {
        let quiet = row.blocked_until != 0 && now.saturating_sub(row.blocked_until) >= QUIET_MS;
        match self {
            Rule::Shared(_) if quiet => Attempts::default(),
            Rule::Own(_) | Rule::Shared(_) | Rule::Tally => row,
        }
    }

    /// The row after an attempt now, or the wait in milliseconds.
    fn decide(self, before: Attempts, now: i64) -> (Option<Attempts>, i64) {
        match self {
            Rule::Own(limit) | Rule::Shared(limit) => decide(before, now, limit),
            Rule::Tally => {
                let failures = before.failures.saturating_add(1);
                (Some(Attempts { failures, ..before }), 0)
            }
        }
    }
}

/// The row after an attempt now, or the wait in milliseconds.
fn decide(before: Attempts, now: i64, limit: Limit) -> (Option<Attempts>, i64) {
    let longest = limit.longest_ms;
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
    let wait = match failures.checked_sub(limit.free) {
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
        }),
        0,
    )
}

#[cfg(test)]
mod tests;
