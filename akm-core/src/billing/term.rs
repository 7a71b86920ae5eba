//! From purchases to a standing: which tier, and until when.
//!
//! A purchase of n months begins when it was paid, or where the tier's purchases before it end. A month ends on the same day
//! of a later month in UTC, or on the last there is: from 31 January one month leads to the last day of February, and never
//! into March. While a higher tier holds, a lower one waits: what was paid is not lost. So a standing depends on the set
//! of purchases and the time, not on the order in which they became known.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Most months of one purchase.
pub const MAX_MONTHS: u32 = 120;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Months of a tier, paid at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purchase {
    /// When, Unix milliseconds.
    pub at: i64,
    /// The tier's place from the least.
    pub rank: usize,
    /// For how long.
    pub months: u32,
}

/// Whether what was paid holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was ever paid, or what was is over.
    None,
    /// It is paid.
    Paid,
    /// It ended and still holds for a while.
    Grace,
}

/// Where an account stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The tier's place from the least; 0 is the first, which costs nothing.
    pub rank: usize,
    /// Whether it is paid.
    pub phase: Phase,
    /// Until when it is, or was, paid; Unix milliseconds.
    pub until: Option<i64>,
}

/// The time `months` later, by the rule above; `None` out of range.
pub fn add_months(at: i64, months: u32) -> Option<i64> {
    if months == 0 || months > MAX_MONTHS {
        return None;
    }
    let span = Span::new().try_months(i64::from(months)).ok()?;
    let start = Timestamp::from_millisecond(at).ok()?;
    let end = start.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
    Some(end.timestamp().as_millisecond())
}

/// A stretch of time for which a tier is paid.
type Stretch = (i64, i64);

/// The stretches of each rank, in order of time; what overflows the calendar is left out.
fn stretches(purchases: &[Purchase]) -> Vec<(usize, Vec<Stretch>)> {
    let mut sorted = purchases.to_vec();
    sorted.sort_unstable();
    let mut ranks: Vec<usize> = sorted.iter().map(|purchase| purchase.rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let mut done: Vec<(usize, Vec<Stretch>)> = Vec::new();
    let mut higher: Vec<Stretch> = Vec::new();
    for rank in ranks.into_iter().rev() {
        let mut own: Vec<Stretch> = Vec::new();
        for purchase in sorted.iter().filter(|purchase| purchase.rank == rank) {
            let from = own
                .last()
                .map_or(purchase.at, |(_, end)| purchase.at.max(*end));
            let Some(mut end) = add_months(from, purchase.months) else {
                continue;
            };
            // In order of time, so that what an extension runs into extends it again.
            for (begins, ends) in &higher {
                if *begins < end && *ends > from {
                    end = end.saturating_add(ends - from.max(*begins));
                }
            }
            own.push((from, end));
        }
        higher.extend(&own);
        higher = united(higher);
        done.push((rank, own));
    }
    done
}

/// The same time, in stretches that neither overlap nor touch.
fn united(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut apart: Vec<Stretch> = Vec::new();
    for (begins, ends) in stretches {
        match apart.last_mut() {
            Some(last) if begins <= last.1 => last.1 = last.1.max(ends),
            _ => apart.push((begins, ends)),
        }
    }
    apart
}

/// Where an account with these purchases stands.
pub fn standing(purchases: &[Purchase], now: i64, grace_days: u32) -> Standing {
    let grace = i64::from(grace_days) * DAY_MS;
    let mut over = None;
    // From the highest rank.
    for (rank, own) in stretches(purchases) {
        for (from, until) in united(own).into_iter().rev() {
            if from > now {
                continue;
            }
            let phase = if now < until {
                Phase::Paid
            } else if now < until.saturating_add(grace) {
                Phase::Grace
            } else {
                over = over.max(Some(until));
                continue;
            };
            return Standing {
                rank,
                phase,
                until: Some(until),
            };
        }
    }
    Standing {
        rank: 0,
        phase: Phase::None,
        until: over,
    }
}
