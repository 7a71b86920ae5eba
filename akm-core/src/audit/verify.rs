//! Checking the log from its first event to its last, in slices.
//!
//! Each slice folds, so that what the store holds ends exactly where the chains do, and then walks on from where the one before
//! ended. Events that come between two slices are checked by the next.

use super::chain::{self, Head, Walk, Walked};
use super::journal::Findings;
use super::{AccountChain, Audit};
use crate::error::Result;
use crate::protocol::{Checkpoint, CheckpointVerdict, Verification};
use crate::store::Id;

/// How many events one slice checks: some tens of milliseconds.
const SLICE: u64 = 2048;
/// The chains in the order in which they are checked.
const NAMES: [&str; 2] = ["account", "system"];

/// A check that is under way.
#[derive(Debug)]
pub struct Verifying {
    /// Which chain is being checked.
    chain: usize,
    /// The last event of it that is good.
    at: Option<Head>,
    entries: u64,
    bad: Option<(u64, &'static str)>,
    evidence: Findings,
    anchors: [Option<Head>; 2],
    verdict: Option<CheckpointVerdict>,
    /// Whether it ends behind the account's chain.
    account_only: bool,
}

impl Audit {
    /// Begins a check of the account's chain and the system's, and of the evidence kept of damaged journals. With a
    /// checkpoint, also that the chains still hold what they held then; `invalid_input` for one that this account
    /// did not sign.
    pub fn begin_verify(
        &self,
        account: &AccountChain,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Verifying> {
        let anchors = match checkpoint {
            Some(checkpoint) => self.heads_of(account, checkpoint)?.map(Some),
            None => [None; 2],
        };
        let mut folder = self.folder()?;
        self.fold_held(&mut folder, &[])?;
        Ok(Verifying {
            chain: 0,
            at: None,
            entries: 0,
            bad: None,
            evidence: self.paths.examine_evidence(self.store.as_ref())?,
            anchors,
            verdict: checkpoint.map(|_| CheckpointVerdict::Holds),
            account_only: false,
        })
    }

    /// Checks a slice more; the answer comes with the last one. `chain` in it is `account`, `system` or `journal`; for the
    /// last, `first_bad` counts the records of a damaged journal.
    pub fn verify_slice(
        &self,
        account: &AccountChain,
        under_way: &mut Verifying,
    ) -> Result<Option<Verification>> {
        let mut folder = self.folder()?;
        let chains = [&account.keys, &self.system];
        let (_, heads) = self.fold_held(&mut folder, &chains)?;
        let (Some(keys), Some(head)) = (chains.get(under_way.chain), heads.get(under_way.chain))
        else {
            return Ok(Some(under_way.verdict()));
        };
        let anchor = under_way.anchors[under_way.chain];
        let at = under_way.at.unwrap_or_else(|| keys.first());
        let walked = chain::walk(self.store.as_ref(), keys, at, head, anchor.as_ref(), SLICE)?;
        match walked {
            Walked::More(at) => under_way.at = Some(at),
            Walked::Done(walk) => under_way.end_chain(&walk, keys.id()),
        }
        let last = if under_way.account_only {
            1
        } else {
            chains.len()
        };
        Ok((under_way.chain >= last).then(|| under_way.verdict()))
    }

    /// All slices, one behind the other.
    pub fn verify(
        &self,
        account: &AccountChain,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Verification> {
        let mut under_way = self.begin_verify(account, checkpoint)?;
        loop {
            if let Some(verification) = self.verify_slice(account, &mut under_way)? {
                return Ok(verification);
            }
        }
    }
}

impl Verifying {
    /// Of the account's chain alone: neither how many events the system has, nor what became of its journal.
    #[must_use]
    pub fn of_account_only(mut self) -> Verifying {
        self.account_only = true;
        self.evidence.unclaimed = None;
        self
    }

    fn end_chain(&mut self, walk: &Walk, id: &Id) {
        let bad = [walk.bad, self.evidence.of(id)].into_iter().flatten().min();
        self.bad = self.bad.or(bad.map(|seq| (seq, NAMES[self.chain])));
        self.entries += walk.entries;
        match walk.anchor {
            Some(CheckpointVerdict::Holds) => {}
            Some(other) => self.verdict = Some(other),
            // The chain broke before its anchor was reached: nothing can be said of that.
            None if self.verdict == Some(CheckpointVerdict::Holds) => self.verdict = None,
            None => {}
        }
        self.chain += 1;
        self.at = None;
    }

    fn verdict(&self) -> Verification {
        let journal = self.evidence.unclaimed.map(|ordinal| (ordinal, "journal"));
        let bad = self.bad.or(journal);
        Verification {
            ok: bad.is_none(),
            entries: self.entries,
            first_bad: bad.map(|(seq, _)| seq),
            chain: bad.map(|(_, name)| name.to_owned()),
            checkpoint: self.verdict,
        }
    }
}
