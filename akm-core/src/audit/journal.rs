//! The journal's files: the live segment that events are written to, and the ones on their way into the store.
//!
//! `audit.journal` is live, `audit.journal.folding` is being folded, `audit.journal.new` becomes live in a moment, `audit.journal.damaged-N` is evidence that nobody but the owner removes. The names are for
//! people: after a crash whatever of the first three exists is folded in the order of the numbers in the headers, so
//! it does not matter between which two steps the crash came.
//!
//! Invariants: a segment is removed only after everything readable in it is durably in the store, and
//! not at all if something in it was not readable. Folding the same segment twice changes nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::store::{EventRow, Id, Store};

use super::segment::{Item, Segment};

/// How many events go into the store in one transaction.
const BATCH: usize = 1024;
/// Most evidence files looked for; more of them change no answer.
const MAX_EVIDENCE: u64 = 1000;

/// Where the files are.
pub(super) struct Paths {
    live: PathBuf,
    folding: PathBuf,
    fresh: PathBuf,
    vault: Id,
}

/// What was wrong in a segment: per chain the first bad position, and the first record that belongs to none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    chains: BTreeMap<Id, u64>,
    /// Number of the first damaged record in its segment that claims no chain.
    pub(super) unclaimed: Option<u64>,
}

impl Findings {
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.unclaimed.is_none()
    }

    /// The first bad position of a chain.
    pub(super) fn of(&self, chain: &Id) -> Option<u64> {
        self.chains.get(chain).copied()
    }

    fn add(&mut self, chain: Id, seq: u64) {
        let first = self.chains.entry(chain).or_insert(seq);
        *first = seq.min(*first);
    }

    fn merge(&mut self, other: Findings) {
        for (chain, seq) in other.chains {
            self.add(chain, seq);
        }
        self.unclaimed = self.unclaimed.or(other.unclaimed);
    }

    fn add_damage(&mut self, ordinal: u64, claims: Option<(Id, u64)>) {
        match claims {
            Some((chain, seq)) => self.add(chain, seq),
            None => {
                self.unclaimed.get_or_insert(ordinal);
            }
        }
    }
}

/// What folding one segment came to.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Events that are in the store now.
    pub(super) events: usize,
    /// Whether the last write was cut off, as by a power loss.
    pub(super) torn: bool,
    pub(super) findings: Findings,
}

impl Paths {
    pub(super) fn new(live: &Path, vault: Id) -> Self {
        Paths {
            vault,
            live: live.to_owned(),
            folding: with_suffix(live, ".folding"),
            fresh: with_suffix(live, ".new"),
        }
    }

    /// Folds what previous processes left, and starts a new live segment.
    pub(super) fn recover(&self, store: &dyn Store) -> Result<(Segment, Folded)> {
        let mut left = Vec::new();
        for path in [&self.folding, &self.live, &self.fresh] {
            if let Some(segment) = Segment::open(path, &self.vault)? {
                left.push((segment, path));
            }
        }
        left.sort_by_key(|(segment, _)| segment.number());
        let mut sum = Folded::default();
        let mut number = 0;
        for (segment, path) in left {
            let folded = self.fold(&segment, path, store)?;
            number = segment.number();
            sum.events += folded.events;
            sum.torn |= folded.torn;
            sum.findings.merge(folded.findings);
        }
        let live = Segment::create(&self.live, number.wrapping_add(1), &self.vault)?;
        Ok((live, sum))
    }

    /// Whether nothing here is of another vault, whose events would be in the way.
    pub(super) fn check_vault(&self) -> Result<()> {
        for path in [&self.folding, &self.live, &self.fresh] {
            Segment::open(path, &self.vault)?;
        }
        Ok(())
    }

    /// Creates the segment that the next [`Paths::rotate`] makes live.
    pub(super) fn prepare(&self, number: u64) -> Result<Segment> {
        remove(&self.fresh)?;
        Segment::create(&self.fresh, number, &self.vault)
    }

    /// Gives the segment that was live the name of the one being folded, and the prepared one the live name. If it
    /// fails half-way it can be repeated; the files are held open and do not depend on their names.
    pub(super) fn rotate(&self) -> Result<()> {
        match fs::rename(&self.live, &self.folding) {
            // Somebody took the name away; the file is still held open and is read through that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        super::crash_point("between the renames");
        fs::rename(&self.fresh, &self.live)?;
        Ok(())
    }

    /// Folds a segment under the name that [`Paths::rotate`] gave it.
    pub(super) fn fold_rotated(&self, segment: &Segment, store: &dyn Store) -> Result<Folded> {
        self.fold(segment, &self.folding, store)
    }

    /// Brings a segment into the store and removes it, or keeps it as evidence.
    fn fold(&self, segment: &Segment, path: &Path, store: &dyn Store) -> Result<Folded> {
        let folded = fold_into(segment, store)?;
        super::crash_point("after the store's commit");
        if folded.findings.is_empty() {
            remove(path)?;
        } else {
            self.keep_as_evidence(segment.number(), path)?;
        }
        Ok(folded)
    }

    fn keep_as_evidence(&self, number: u64, path: &Path) -> Result<()> {
        for number in number..number.saturating_add(MAX_EVIDENCE) {
            let to = self.evidence_path(number);
            // Only this process writes here, so nothing comes between the look and the rename.
            if fs::symlink_metadata(&to).is_ok() {
                continue;
            }
            return match fs::rename(path, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => Ok(other?),
            };
        }
        Err(Error::new(
            Kind::Io,
            "there are too many damaged audit journals",
        ))
    }

    fn evidence_path(&self, number: u64) -> PathBuf {
        with_suffix(&self.live, &format!(".damaged-{number}"))
    }

    /// What the evidence kept so far shows, beside what the store has.
    pub(super) fn examine_evidence(&self, store: &dyn Store) -> Result<Findings> {
        let mut findings = Findings::default();
        let parent = self.live.parent().filter(|dir| !dir.as_os_str().is_empty());
        let prefix = with_suffix(
            Path::new(self.live.file_name().unwrap_or_default()),
            ".damaged-",
        );
        let prefix = prefix.as_os_str().as_encoded_bytes();
        let mut seen = 0;
        for entry in fs::read_dir(parent.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(prefix) {
                continue;
            }
            seen += 1;
            let mut here = Findings::default();
            if seen <= MAX_EVIDENCE
                && let Ok(Some(segment)) = Segment::open(&entry.path(), &self.vault)
            {
                compare(&segment, store, &mut here)?;
            }
            // A file that cannot be examined, or in which nothing is wrong any more, was put here for a reason.
            if here.is_empty() {
                here.add_damage(1, None);
            }
            findings.merge(here);
        }
        Ok(findings)
    }
}

/// Folds all events of a segment, whatever stands between them.
fn fold_into(segment: &Segment, store: &dyn Store) -> Result<Folded> {
    let mut folded = Folded::default();
    let mut batch = Vec::new();
    let mut reader = segment.read()?;
    while let Some(item) = reader.next()? {
        match item {
            Item::Event { row, suspect } => {
                if let Some(seq) = suspect {
                    folded.findings.add(row.chain, seq);
                }
                batch.push(row);
                if batch.len() == BATCH {
                    folded.events += fold_batch(store, &batch, &mut folded.findings)?;
                    batch.clear();
                    super::crash_point("between two batches");
                }
            }
            Item::Damage { ordinal, claims } => folded.findings.add_damage(ordinal, claims),
            Item::Torn => folded.torn = true,
        }
    }
    folded.events += fold_batch(store, &batch, &mut folded.findings)?;
    Ok(folded)
}

/// Folds a batch; where the store has another event in the place of one, finds out which and folds the others, so
/// that one forged row cannot keep all later events out.
fn fold_batch(store: &dyn Store, batch: &[EventRow], findings: &mut Findings) -> Result<usize> {
    if batch.is_empty() {
        return Ok(0);
    }
    match store.fold_events(batch) {
        Ok(()) => Ok(batch.len()),
        Err(error) if error.kind() != Kind::Corrupt => Err(error),
        Err(error) => match batch {
            // Another reason than this event: the store itself is broken, and nothing is given up for that.
            [row] if stored(store, row)? != Stored::Otherwise => Err(error),
            [row] => {
                findings.add(row.chain, row.seq);
                Ok(0)
            }
            _ => {
                let (left, right) = batch.split_at(batch.len() / 2);
                Ok(fold_batch(store, left, findings)? + fold_batch(store, right, findings)?)
            }
        },
    }
}

#[derive(PartialEq, Eq)]
enum Stored {
    Same,
    Otherwise,
    Not,
}

fn stored(store: &dyn Store, row: &EventRow) -> Result<Stored> {
    let rows = match store.events(&row.chain, row.seq - 1, None, None, 1) {
        Ok(rows) => rows,
        // The row that stands there cannot even be read.
        Err(error) if error.kind() == Kind::Corrupt => return Ok(Stored::Otherwise),
        Err(error) => return Err(error),
    };
    Ok(match rows.first() {
        Some(found) if found == row => Stored::Same,
        Some(found) if found.seq == row.seq => Stored::Otherwise,
        _ => Stored::Not,
    })
}

/// Finds in an evidence file what is wrong in itself and what the store has otherwise or not at all.
fn compare(segment: &Segment, store: &dyn Store, findings: &mut Findings) -> Result<()> {
    let mut reader = segment.read()?;
    while let Some(item) = reader.next()? {
        match item {
            Item::Event { row, suspect } => {
                if let Some(seq) = suspect {
                    findings.add(row.chain, seq);
                }
                if stored(store, &row)? != Stored::Same {
                    findings.add(row.chain, row.seq);
                }
            }
            Item::Damage { ordinal, claims } => findings.add_damage(ordinal, claims),
            Item::Torn => {}
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
