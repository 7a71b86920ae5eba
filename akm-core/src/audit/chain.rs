//! How events hold together: each one's MAC covers the whole event and the MAC before it.
//!
//! `MAC(n) = HMAC-SHA256(mac key, chain ‖ seq ‖ time ‖ action ‖ outcome ‖ record ‖ sealed ‖ MAC(n-1))`, every part
//! length-prefixed; `MAC(0) = HMAC-SHA256(mac key, "audit/first" ‖ vault ‖ chain)`. Both keys of a chain are
//! derived from one: the account's audit key, or the host key for the system chain.
//!
//! Deliberately absent: forward security. Who holds the chain's key can write another history; the chain
//! shows what anybody else changed.

use std::sync::{Mutex, PoisonError};

use crate::crypto::{self, Ad, Field, Series};
use crate::error::{Error, Kind, Result};
use crate::host::Random;
use crate::memory::LockedKey;
use crate::protocol::CheckpointVerdict;
use crate::store::{EventRow, Id, Store, Tag};

use super::event::{self, Detail};

/// The chain of events that belong to no account.
pub const SYSTEM: Id = [0; 16];

/// How many events [`walk`] reads at a time.
const PAGE: u32 = 64;

/// An event on its way, borrowed: what the MAC covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) chain: &'a Id,
    pub(super) seq: u64,
    pub(super) time: i64,
    pub(super) action: &'a str,
    pub(super) outcome: &'a str,
    pub(super) record: Option<&'a Id>,
    pub(super) sealed: &'a [u8],
}

impl<'a> From<&'a EventRow> for Entry<'a> {
    fn from(row: &'a EventRow) -> Self {
        Entry {
            chain: &row.chain,
            seq: row.seq,
            time: row.time,
            action: &row.action,
            outcome: &row.outcome,
            record: row.record.as_ref(),
            sealed: &row.sealed,
        }
    }
}

/// The last event of a chain, or its beginning (`seq` 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) mac: Tag,
}

/// The keys of one chain.
pub(super) struct ChainKeys {
    chain: Id,
    vault: Id,
    mac: LockedKey,
    seal: LockedKey,
    /// Begun with the first event this process writes to the chain.
    series: Mutex<Option<Series>>,
}

impl ChainKeys {
    /// Derives a chain's keys from the account's audit key, or from the host key.
    pub(super) fn new(key: &LockedKey, chain: Id, vault: Id) -> Self {
        ChainKeys {
            chain,
            vault,
            mac: crypto::derive(key, "audit/mac"),
            seal: crypto::derive(key, "audit/seal"),
            series: Mutex::new(None),
        }
    }

    pub(super) fn id(&self) -> &Id {
        &self.chain
    }

    /// Where the chain begins.
    pub(super) fn first(&self) -> Head {
        let mac = crypto::tag(&self.mac, &[b"audit/first", &self.vault, &self.chain]);
        Head { seq: 0, mac }
    }

    /// Where the chain stands in the store.
    pub(super) fn stored_head(&self, store: &dyn Store) -> Result<Head> {
        Ok(match store.last_event(&self.chain)? {
            Some(row) => Head {
                seq: row.seq,
                mac: row.mac,
            },
            None => self.first(),
        })
    }

    pub(super) fn mac(&self, entry: &Entry<'_>, previous: &Tag) -> Tag {
        crypto::tag(
            &self.mac,
            &[
                entry.chain,
                &entry.seq.to_le_bytes(),
                &entry.time.to_le_bytes(),
                entry.action.as_bytes(),
                entry.outcome.as_bytes(),
                entry.record.map_or(&[], |record| &record[..]),
                entry.sealed,
                previous,
            ],
        )
    }

    pub(super) fn seal(&self, random: &dyn Random, seq: u64, plain: &[u8]) -> Result<Vec<u8>> {
        let place = self.ad().seq(seq);
        // A series that was left half-way is as good as any.
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sealed) = series
            .as_mut()
            .and_then(|series| series.seal(random, &place, plain))
        {
            return sealed;
        }
        series
            .insert(Series::start(random, &self.seal, &self.ad())?)
            .seal(random, &place, plain)
            .ok_or(Error::internal("a new series has no room"))?
    }

    /// Opens the sealed part of an event of this chain.
    pub(super) fn open(&self, row: &EventRow) -> Result<Detail> {
        let (ad, place) = (self.ad(), self.ad().seq(row.seq));
        let plain = crypto::open_series(&self.seal, &ad, &place, &row.sealed)?;
        event::decode_detail(&plain)
    }

    fn ad(&self) -> Ad {
        Ad::new(Field::Event)
            .vault(&self.vault)
            .account(&self.chain)
    }

    /// Whether an event follows `previous` and is authentic in all its parts.
    fn follows(&self, row: &EventRow, previous: &Head) -> bool {
        row.chain == self.chain
            && previous.seq.checked_add(1) == Some(row.seq)
            && crypto::equal(&self.mac(&Entry::from(row), &previous.mac), &row.mac)
            && self.open(row).is_ok()
    }
}

/// What a walk along a chain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// How many events are authentic, from the first on without a gap.
    pub(super) entries: u64,
    /// The first position that holds no authentic event and should.
    pub(super) bad: Option<u64>,
    /// How the chain stands to the anchor, if there was one and nothing else is wrong.
    pub(super) anchor: Option<CheckpointVerdict>,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// To the end of the chain, or to where it breaks.
    Done(Walk),
    /// Not yet to the end; this is the last event that is good.
    More(Head),
}

/// Checks a chain in the store from behind the event `at`, which is known to be good, for about `budget` events or up to
/// `head`, where this process knows it must end. The event at the position of `anchor`, which somebody kept elsewhere,
/// has to be that one.
pub(super) fn walk(
    store: &dyn Store,
    keys: &ChainKeys,
    mut at: Head,
    head: &Head,
    anchor: Option<&Head>,
    budget: u64,
) -> Result<Walked> {
    let mut page = PAGE;
    let budget_end = at.seq.saturating_add(budget);
    let end = |at: &Head, bad, anchor| {
        Ok(Walked::Done(Walk {
            entries: at.seq,
            bad,
            anchor,
        }))
    };
    loop {
        if at.seq >= budget_end {
            return Ok(Walked::More(at));
        }
        let rows = match store.events(keys.id(), at.seq, None, None, page) {
            Ok(rows) => rows,
            // A row that the store cannot read is a bad entry, not the end of the check: find out which.
            Err(error) if error.kind() == Kind::Corrupt && page > 1 => {
                page = 1;
                continue;
            }
            Err(error) if error.kind() == Kind::Corrupt => return end(&at, Some(at.seq + 1), None),
            Err(error) => return Err(error),
        };
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            if !keys.follows(row, &at) {
                return end(&at, Some(at.seq + 1), None);
            }
            let is_anchor = anchor.is_some_and(|anchor| anchor.seq == row.seq);
            if is_anchor && anchor.is_some_and(|anchor| !crypto::equal(&anchor.mac, &row.mac)) {
                return end(&at, Some(row.seq), Some(CheckpointVerdict::Forked));
            }
            at = Head {
                seq: row.seq,
                mac: row.mac,
            };
        }
    }
    // Fewer than this process wrote: the tail was cut off. The same number with another end: replaced
    // (only by somebody with the key, or by an older copy). More cannot be authentic and was found above.
    let bad = match at.seq.cmp(&head.seq) {
        std::cmp::Ordering::Less => Some(at.seq + 1),
        std::cmp::Ordering::Equal if !crypto::equal(&at.mac, &head.mac) => Some(at.seq),
        std::cmp::Ordering::Greater => Some(head.seq + 1),
        std::cmp::Ordering::Equal => None,
    };
    match anchor {
        Some(anchor) if anchor.seq > at.seq => {
            let verdict = Some(CheckpointVerdict::Truncated);
            end(&at, bad.or(Some(at.seq + 1)), verdict)
        }
        _ => end(&at, bad, anchor.map(|_| CheckpointVerdict::Holds)),
    }
}

impl std::fmt::Debug for ChainKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChainKeys(..)")
    }
}
