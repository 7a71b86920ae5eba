//! The check of all rows against the tree: what a get cannot notice, a row that is missing, and what it would notice
//! later, one that is older or was added, or that does not open: each is opened whole, with the secrets it replaced.
//!
//! It goes by slices: changes of the account wait for one slice at most, and whoever runs it may stop in between.

use std::cmp::Ordering;

use crate::error::{Error, Kind, Result};
use crate::store::{Id, KeyRow};

use super::manifest::{MAX_SLICE, State, UNCHECKED};
use super::tree::{Entry, Marks};
use super::{Unlocked, Vault};

/// Where a check has come to, and what it found. Start with the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The last record looked at.
    after: Option<Id>,
    /// How many rows were looked at.
    pub seen: u64,
    /// Records that ought to be there and are not.
    pub missing: Vec<Id>,
    /// Rows that ought not to be there.
    pub foreign: Vec<Id>,
    /// Rows that are another version than the newest.
    pub stale: Vec<Id>,
    /// Rows of the newest version of which something does not open or does not fit.
    pub unreadable: Vec<Id>,
    /// Whether the tree itself could not be read to its end.
    pub broken: bool,
    /// Whether everything was looked at.
    pub done: bool,
}

impl Check {
    /// A check of what comes after a record.
    pub fn after(after: Option<Id>) -> Check {
        Check {
            after,
            ..Check::default()
        }
    }

    /// The last record looked at, unless everything was.
    pub fn next(&self) -> Option<Id> {
        self.after.filter(|_| !self.done)
    }

    /// How many keys a copy has, if nothing is wrong in it.
    pub fn whole_copy(&self) -> Result<u64> {
        match self.is_clean() {
            true => Ok(self.seen),
            false => Err(Error::corrupt(
                "keys in the backup are missing, damaged or not what the vault had",
            )
            .with_hint("run akm doctor: if the vault has the same damage, keep the older backups")),
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_empty() && self.is_newest()
    }

    /// Whether the rows are those of the tree so far, whatever is in them.
    pub(super) fn is_newest(&self) -> bool {
        self.missing.is_empty() && self.foreign.is_empty() && self.stale.is_empty() && !self.broken
    }
}

/// Most ids named in each list of a check: the rest is only more of the same.
const NAMED: usize = 100;

impl Vault {
    /// How many records the account has by its manifest.
    pub fn records(&self, account: &Unlocked) -> Result<u64> {
        let state = account.shared.state();
        state.as_ref().map(State::records).ok_or(UNCHECKED)
    }

    /// Compares the next rows with the tree and opens them: a deleted one, one put back, one added and a changed one are found.
    /// Changes of the account wait meanwhile, for a bounded number of rows. Call until `done`.
    pub fn check_slice(&self, account: &Unlocked, check: &mut Check) -> Result<()> {
        if check.done {
            return Ok(());
        }
        let _changes = account.shared.changes();
        let id = account.id();
        let (row, slots) = self.stored_account(id)?;
        let rows = self.store.rows_page(id, check.after.as_ref(), MAX_SLICE)?;
        let full = rows.len() == MAX_SLICE as usize;
        let mut upto = rows.last().filter(|_| full).map(|row| row.head.id);

        let mut held = account.shared.state();
        let state = held.as_mut().ok_or(UNCHECKED)?;
        check.broken |= !state.has(&row, &slots);
        let load = |number| self.store.tree_node(id, number);
        let most = 8 * MAX_SLICE as usize;
        let entries = match state
            .nodes
            .range(check.after.as_ref(), upto.as_ref(), most, &load)
        {
            Ok(entries) => entries,
            Err(error) if error.kind() == Kind::RolledBack => {
                check.broken = true;
                check.done = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if entries.len() == most {
            upto = entries.last().map(|entry| entry.id);
        }
        let rows: Vec<&KeyRow> = rows
            .iter()
            .filter(|row| upto.is_none_or(|upto| row.head.id <= upto))
            .collect();
        check.seen += rows.len() as u64;
        // A get looks into it.
        drop(held);
        let before = account.shared.before();
        for row in compare(&rows, &entries, check) {
            match self.open_whole(account, before.as_deref(), row) {
                Ok(_) => {}
                Err(error) if is_damage(error.kind()) => {
                    note(&mut check.unreadable, Some(row.head.id));
                }
                Err(error) => return Err(error),
            }
        }
        match upto {
            Some(upto) => check.after = Some(upto),
            None => check.done = true,
        }
        Ok(())
    }
}

fn note(list: &mut Vec<Id>, id: Option<Id>) {
    if list.len() < NAMED {
        list.extend(id);
    }
}

/// Whether what was read is at fault, and not the reading.
pub(crate) fn is_damage(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Corrupt | Kind::RolledBack | Kind::UnsupportedVersion
    )
}

/// Both by rising id. Returns the rows that are the newest versions.
fn compare<'a>(rows: &[&'a KeyRow], entries: &[Entry], check: &mut Check) -> Vec<&'a KeyRow> {
    let mut newest = Vec::new();
    let (mut rows, mut entries) = (rows.iter().peekable(), entries.iter().peekable());
    loop {
        let order = match (rows.peek(), entries.peek()) {
            (None, None) => return newest,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(row), Some(entry)) => row.head.id.cmp(&entry.id),
        };
        match order {
            Ordering::Less => note(&mut check.foreign, rows.next().map(|row| row.head.id)),
            Ordering::Greater => note(&mut check.missing, entries.next().map(|entry| entry.id)),
            Ordering::Equal => {
                let (row, entry) = (rows.next(), entries.next());
                let marks = row.and_then(|row| Marks::of(row).ok());
                match marks == entry.map(|entry| entry.marks) {
                    true => newest.extend(row),
                    false => note(&mut check.stale, entry.map(|entry| entry.id)),
                }
            }
        }
    }
}
