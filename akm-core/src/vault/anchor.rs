//! The anchor: how far each account had come, kept in the state directory, apart from the vault.
//!
//! Whoever can put an older vault file back cannot make this machine forget that it has seen a newer one. One file per
//! account, `epoch/VAULT-ACCOUNT`, of two sectors that are written in turns:
//!
//! ```text
//! sector = "akmepoch" ‖ seq (8) ‖ epoch (8) ‖ generation (8) ‖ mark (32) ‖ awaited (32) ‖ SHA-256 of all that (32)
//! ```
//!
//! The sector with the higher `seq` counts; a write that power loss tears leaves the other one. A position only ever
//! rises: whoever writes holds the file's lock, reads, and takes the maximum. The vault commits first, so an anchor
//! *behind* the vault is what a crash leaves, and is nothing to worry about. Therefore it is written at every change
//! (kill -9 loses nothing) and synced later ([`Anchors::sync`]).
//!
//! An account whose anchor is there and which the vault does not have is missing, unless it was let go: that stands in the anchor
//! (`awaited` is all ones) before the account goes, and the next change of an account that stayed after all takes it back.
//!
//! What it does not do: keep a secret, or withstand somebody who can write the state directory as well.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crypto;
use crate::error::{Error, Result};
use crate::regular::{self, Links};
use crate::store::{Id, Tag, open_private};

const DIRECTORY: &str = "epoch";
const SECTOR: usize = 512;
const MAGIC: &[u8; 8] = b"akmepoch";
/// What of a sector is used before its checksum.
const RECORD: usize = 8 + 3 * 8 + 2 * 32;
/// No mark is awaited.
const NONE: Tag = [0; 32];
/// Nor is the account: it was removed on purpose. No MAC is this.
const GONE: Tag = [0xff; 32];

/// How far an account had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Rises when a history is deliberately taken up again at an earlier point.
    pub epoch: u64,
    /// Rises by one with each change.
    pub generation: u64,
    /// Of everything that the account was there: the MAC of its manifest.
    pub mark: Tag,
}

impl Position {
    fn order(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }
}

/// Before everything.
const NOWHERE: Position = Position {
    epoch: 0,
    generation: 0,
    mark: NONE,
};

/// How a vault stands to its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This machine has not seen the account before.
    Unknown,
    /// As far as the anchor, or further.
    Current,
    /// Older than what this machine has seen; restored on purpose if `awaited`.
    Older {
        /// Whether exactly this state was announced by a restore.
        awaited: bool,
        /// How far the anchor is.
        seen: Position,
    },
    /// As far as the anchor, and something else.
    Forked {
        /// How far the anchor is.
        seen: Position,
    },
    /// The anchor is there and cannot be read.
    Damaged,
}

/// The anchors of one vault.
pub struct Anchors {
    directory: PathBuf,
    vault: Id,
    open: Mutex<HashMap<Id, Anchor>>,
}

struct Anchor {
    file: File,
    /// Written in memory of the system, not surely on the disk.
    unsynced: bool,
    /// What could not be written when it should have been.
    owed: Option<Position>,
}

#[derive(Clone, Copy)]
struct Record {
    seq: u64,
    position: Position,
    awaited: Tag,
}

enum Stored {
    Nothing,
    Damaged,
    Known(Record),
}

impl Anchors {
    /// The anchors of a vault below the state directory, which must exist and be private.
    pub fn open(state: &Path, vault: &Id) -> Result<Anchors> {
        let directory = state.join(DIRECTORY);
        crate::paths::ensure_dir(&directory)?;
        Ok(Anchors {
            directory,
            vault: *vault,
            open: Mutex::default(),
        })
    }

    /// Compares a position with the anchor.
    pub fn compare(&self, account: &Id, now: &Position) -> Result<Standing> {
        let mut open = self.hold();
        let Some(anchor) = self.anchor(&mut open, account, false)? else {
            return Ok(Standing::Unknown);
        };
        let _held = Held::take(&anchor.file)?;
        let seen = match read(&anchor.file)? {
            Stored::Nothing => return Ok(Standing::Unknown),
            Stored::Damaged => return Ok(Standing::Damaged),
            Stored::Known(record) => record,
        };
        Ok(match now.order().cmp(&seen.position.order()) {
            std::cmp::Ordering::Greater => Standing::Current,
            std::cmp::Ordering::Equal if now.mark == seen.position.mark => Standing::Current,
            // What a restore changed in the copy (its codes) may bring it just as far.
            std::cmp::Ordering::Equal if now.mark == seen.awaited => Standing::Older {
                awaited: true,
                seen: seen.position,
            },
            std::cmp::Ordering::Equal => Standing::Forked {
                seen: seen.position,
            },
            std::cmp::Ordering::Less => Standing::Older {
                awaited: seen.awaited == now.mark,
                seen: seen.position,
            },
        })
    }

    /// Notes how far an account has come. What cannot be written now is owed until the next [`Anchors::sync`]: the
    /// change it follows is in the vault already.
    pub fn advance(&self, account: &Id, now: &Position) {
        let mut open = self.hold();
        if let Ok(Some(anchor)) = self.anchor(&mut open, account, true) {
            anchor.advance(now);
        }
    }

    /// Makes what was noted durable. Cheap when there is nothing to do.
    pub fn sync(&self) -> Result<()> {
        for anchor in self.hold().values_mut() {
            if let Some(owed) = anchor.owed.take() {
                anchor.advance(&owed);
                if anchor.owed.is_some() {
                    return Err(UNWRITTEN);
                }
            }
            if anchor.unsynced {
                anchor.file.sync_data()?;
                anchor.unsynced = false;
            }
        }
        Ok(())
    }

    /// Announces that an account is about to be at an earlier `position`, because a backup is being restored: the next
    /// unlock finds it [`Standing::Older`] and awaited. Durable when it returns.
    pub fn expect(&self, account: &Id, position: &Position) -> Result<()> {
        let mut open = self.hold();
        let Some(anchor) = self.anchor(&mut open, account, true)? else {
            return Err(UNWRITTEN);
        };
        let _held = Held::take(&anchor.file)?;
        let (seq, seen) = match read(&anchor.file)? {
            Stored::Known(record) => (record.seq, record.position),
            // A machine that has seen nothing takes what it is given.
            Stored::Nothing | Stored::Damaged => return Ok(()),
        };
        let record = Record {
            seq: seq.saturating_add(1),
            position: seen,
            awaited: position.mark,
        };
        write(&anchor.file, &record)?;
        anchor.file.sync_data()?;
        Ok(())
    }

    /// Notes that an account is about to go on purpose. Durable when it returns.
    pub fn let_go(&self, account: &Id) -> Result<()> {
        let mut open = self.hold();
        let Some(anchor) = self.anchor(&mut open, account, false)? else {
            return Ok(());
        };
        {
            let _held = Held::take(&anchor.file)?;
            let (seq, position) = match read(&anchor.file)? {
                Stored::Nothing => return Ok(()),
                Stored::Known(record) if record.awaited == GONE => return Ok(()),
                Stored::Known(record) => (record.seq, record.position),
                Stored::Damaged => (0, NOWHERE),
            };
            let record = Record {
                seq: seq.saturating_add(1),
                position,
                awaited: GONE,
            };
            write(&anchor.file, &record)?;
            anchor.file.sync_all()?;
        }
        anchor.owed = None;
        Ok(())
    }

    /// The accounts that were seen and not let go, of those that `are` picks: it is asked first, since it costs less than a file.
    pub fn seen_of(&self, are: &dyn Fn(&Id) -> Result<bool>) -> Result<Vec<Id>> {
        let vault = data_encoding::HEXLOWER.encode(&self.vault);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let account = name
                .to_str()
                .and_then(|name| name.strip_prefix(&vault)?.strip_prefix('-'))
                .and_then(|id| data_encoding::HEXLOWER.decode(id.as_bytes()).ok())
                .and_then(|id| Id::try_from(id).ok());
            if let Some(account) = account
                && are(&account)?
                && self.is_seen(&account)?
            {
                found.push(account);
            }
        }
        Ok(found)
    }

    /// How many accounts of other vaults were seen and not let go: where a vault is empty, it may have taken the place of theirs.
    pub fn seen_elsewhere(&self) -> Result<u64> {
        let vault = data_encoding::HEXLOWER.encode(&self.vault);
        let mut found = 0;
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().is_none_or(|name| name.starts_with(&vault)) {
                continue;
            }
            // What cannot be read says nothing.
            if let Ok(Some(file)) = regular::open(&entry.path(), Links::Refuse)
                && let Ok(Stored::Known(record)) = read(&file)
                && record.awaited != GONE
            {
                found += 1;
            }
        }
        Ok(found)
    }

    /// Whether an account was seen in another vault and not in this one.
    pub fn is_seen_elsewhere(&self, account: &Id) -> Result<bool> {
        if self.is_seen(account)? {
            return Ok(false);
        }
        let account = data_encoding::HEXLOWER.encode(account);
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(&account)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an account was seen and not let go.
    pub fn is_seen(&self, account: &Id) -> Result<bool> {
        let mut open = self.hold();
        let Some(anchor) = self.anchor(&mut open, account, false)? else {
            return Ok(false);
        };
        let _held = Held::take(&anchor.file)?;
        Ok(match read(&anchor.file)? {
            Stored::Nothing => false,
            Stored::Known(record) => record.awaited != GONE,
            Stored::Damaged => true,
        })
    }

    fn anchor<'a>(
        &self,
        open: &'a mut HashMap<Id, Anchor>,
        account: &Id,
        create: bool,
    ) -> Result<Option<&'a mut Anchor>> {
        if !open.contains_key(account) {
            let name = [&self.vault[..], &account[..]].map(|id| data_encoding::HEXLOWER.encode(id));
            let path = self.directory.join(name.join("-"));
            let file = match open_private(&path, false)? {
                Some(file) => file,
                None if !create => return Ok(None),
                None => {
                    let file = open_private(&path, true)?.ok_or(UNWRITTEN)?;
                    File::open(&self.directory)?.sync_all()?;
                    file
                }
            };
            open.insert(
                *account,
                Anchor {
                    file,
                    unsynced: false,
                    owed: None,
                },
            );
        }
        Ok(open.get_mut(account))
    }

    fn hold(&self) -> MutexGuard<'_, HashMap<Id, Anchor>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Anchors {
    fn drop(&mut self) {
        // What is lost leaves the anchor behind the vault.
        let _ = self.sync();
    }
}

const UNWRITTEN: Error = Error::new(
    crate::Kind::Io,
    "the epoch in the state directory cannot be written",
);

impl Anchor {
    fn advance(&mut self, now: &Position) {
        match self.try_advance(now) {
            Ok(()) => self.owed = None,
            Err(_) => self.owed = Some(*now),
        }
    }

    fn try_advance(&mut self, now: &Position) -> Result<()> {
        let _held = Held::take(&self.file)?;
        let seq = match read(&self.file)? {
            Stored::Known(seen) if seen.position.order() >= now.order() => return Ok(()),
            Stored::Known(seen) => seen.seq,
            Stored::Nothing | Stored::Damaged => 0,
        };
        let record = Record {
            seq: seq.saturating_add(1),
            position: *now,
            awaited: NONE,
        };
        self.unsynced = true;
        write(&self.file, &record)?;
        if seq == 0 {
            // A file whose length is not on the disk yet would be one that was never there.
            self.file.sync_all()?;
        }
        Ok(())
    }
}

/// The file's lock, for one look or change: another process may keep a copy of the vault.
struct Held<'a>(&'a File);

impl<'a> Held<'a> {
    fn take(file: &'a File) -> Result<Self> {
        file.lock()?;
        Ok(Held(file))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn read(file: &File) -> Result<Stored> {
    let mut sectors = [0; 2 * SECTOR];
    let mut length = 0;
    while length < sectors.len() {
        match file.read_at(&mut sectors[length..], length as u64)? {
            0 => break,
            n => length += n,
        }
    }
    let newest = sectors
        .chunks(SECTOR)
        .filter_map(decode)
        .max_by_key(|record| record.seq);
    Ok(match newest {
        Some(record) => Stored::Known(record),
        None if sectors.iter().all(|byte| *byte == 0) => Stored::Nothing,
        None => Stored::Damaged,
    })
}

fn write(file: &File, record: &Record) -> Result<()> {
    let mut sector = [0; SECTOR];
    let mut rest = &mut sector[..];
    let numbers = [
        record.seq,
        record.position.epoch,
        record.position.generation,
    ]
    .map(u64::to_be_bytes);
    let parts: [&[u8]; 4] = [
        MAGIC,
        numbers.as_flattened(),
        &record.position.mark,
        &record.awaited,
    ];
    for part in parts {
        let (place, after) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = after;
    }
    let sum = crypto::hash(&[&sector[..RECORD]]);
    sector[RECORD..RECORD + 32].copy_from_slice(&sum);
    file.write_all_at(&sector, (record.seq % 2) * SECTOR as u64)?;
    Ok(())
}

fn decode(sector: &[u8]) -> Option<Record> {
    let (used, rest) = sector.split_at_checked(RECORD)?;
    if used.first_chunk() != Some(MAGIC) || rest.get(..32)? != crypto::hash(&[used]) {
        return None;
    }
    let number = |at: usize| Some(u64::from_be_bytes(*used.get(at..)?.first_chunk()?));
    Some(Record {
        seq: number(8)?,
        position: Position {
            epoch: number(16)?,
            generation: number(24)?,
            mark: *used.get(32..)?.first_chunk()?,
        },
        awaited: *used.get(64..)?.first_chunk()?,
    })
}

#[cfg(test)]
mod tests;
