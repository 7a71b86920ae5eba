//! A vault file that may be damaged: looked at as it lies there, and held while another takes its place.
//!
//! Invariants: nothing is written, no log is read, and nothing is made beside the file but its lock. A file that is in
//! use, or was not closed, is judged by its beginning alone: what else is in it may be on its way from the log. Nor does
//! looking keep anybody waiting: who opens the vault while its pages are read finds its lock free, and what was read of a file
//! that was written to meanwhile is no verdict.
//!
//! Deliberately absent: repair.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::SqliteStore;
use super::connection::immutable;
use super::files::{self, HEADER, MAGIC, beside};
use super::schema;
use crate::error::{Error, Result};
use crate::regular::{self, Links};

/// The right to be the only one who opens a vault, without opening it.
pub struct VaultLock {
    /// Held until it is closed.
    _file: File,
}

impl SqliteStore {
    /// Takes the lock of the vault at `path`, whatever state that is in.
    ///
    /// Errors: `conflict` if another process holds it.
    pub fn lock(path: &Path) -> Result<VaultLock> {
        let (_, path) = files::resolve(path)?;
        let file = files::take_lock(&beside(&path, ".lock"))?;
        Ok(VaultLock { _file: file })
    }

    /// Whether the vault at `path` can be opened or made, as far as that shows before anything is made: for whoever makes
    /// directories for it.
    ///
    /// Errors: as [`SqliteStore::open`] for a file that is no vault of this user.
    pub fn look_first(path: &Path) -> Result<()> {
        match path.parent().is_some_and(Path::exists) {
            true => files::look_first(&files::resolve(path)?.1),
            false => Ok(()),
        }
    }

    /// Looks at the vault file at `path`; says whether all of it was read (`None` where there is none). The lock is
    /// tried only where its file is there, and given back before the pages are read.
    ///
    /// Errors: `corrupt` or `unsupported_version` for what is not a whole vault, `io`.
    pub fn look(path: &Path) -> Result<Option<bool>> {
        let Some(file) = regular::open(path, Links::Refuse)? else {
            return Ok(None);
        };
        let mut header = [0; HEADER];
        let length = file.metadata()?.len();
        if length == 0 {
            // Made, and not begun.
            return Ok(Some(true));
        }
        let read = file.read_at(&mut header, 0)?;
        if read < HEADER || !header.starts_with(MAGIC) {
            return Err(Error::corrupt("the file is not a vault"));
        }
        match Reading::begin(path)? {
            Some(reading) => reading.end().map(Some),
            None => Ok(Some(false)),
        }
    }
}

/// A vault file that nobody had open when its reading began.
struct Reading {
    path: PathBuf,
    begun: Stamp,
}

impl Reading {
    /// `None` where the vault is in use or was not closed.
    fn begin(path: &Path) -> Result<Option<Reading>> {
        // Held until this returns. A reader's lock of this kind would keep the owner out as well.
        let lock = regular::open(&beside(path, ".lock"), Links::Refuse)?;
        if lock.as_ref().is_none_or(|lock| lock.try_lock().is_err()) {
            return Ok(None);
        }
        let log = std::fs::symlink_metadata(beside(path, "-wal"));
        if log.is_ok_and(|log| log.len() > 0) {
            return Ok(None);
        }
        let (_, path) = files::resolve(path)?;
        let begun = Stamp::of(&path)?;
        Ok(Some(Reading { path, begun }))
    }

    /// Reads all of it; says whether that is what was there when it began.
    fn end(self) -> Result<bool> {
        let read = self.read();
        let same = Stamp::of(&self.path).is_ok_and(|now| now == self.begun);
        // Pages of two moments make no whole vault, and no damaged one.
        if same { read.map(|()| true) } else { Ok(false) }
    }

    fn read(&self) -> Result<()> {
        let conn = immutable(&self.path)?;
        schema::check(&conn)?;
        schema::vault_id(&conn)?;
        super::backup::check_pages(&conn)
    }
}

/// Which file it is, and what every write to it changes.
#[derive(PartialEq, Eq)]
struct Stamp([i64; 4], [u64; 3]);

impl Stamp {
    fn of(path: &Path) -> Result<Stamp> {
        let meta = std::fs::symlink_metadata(path)?;
        let times = [
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ];
        Ok(Stamp(times, [meta.dev(), meta.ino(), meta.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::host::Host;

    fn open(path: &Path) -> Result<SqliteStore> {
        let host = Host::real();
        SqliteStore::open(path, &*host.random, &*host.clock)
    }

    /// A vault that is closed.
    fn closed() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault.db");
        drop(open(&path).unwrap());
        (dir, path)
    }

    fn begin(path: &Path) -> Reading {
        Reading::begin(path).unwrap().expect("nobody has it open")
    }

    #[test]
    fn who_opens_a_vault_that_is_being_looked_at_is_let_in() {
        let (_dir, path) = closed();
        let reading = begin(&path);
        let store = open(&path).expect("the lock is free while pages are read");
        reading.end().unwrap();
        assert!(Reading::begin(&path).unwrap().is_none());
        assert_eq!(SqliteStore::look(&path), Ok(Some(false)), "in use");
        drop(store);
        assert_eq!(SqliteStore::look(&path), Ok(Some(true)));
    }

    #[test]
    fn a_vault_that_was_written_to_or_replaced_while_it_was_read_is_not_judged() {
        let (_dir, path) = closed();
        let whole = std::fs::read(&path).unwrap();
        let reading = begin(&path);
        // Half a write, as one would meet it: until the clock of the file system says so.
        while Stamp::of(&path).unwrap() == reading.begun {
            let file = std::fs::OpenOptions::new().write(true).open(&path);
            file.unwrap().write_all_at(&[0xaa; 8192], 4096).unwrap();
        }
        assert_eq!(reading.end(), Ok(false));
        let damaged = SqliteStore::look(&path).unwrap_err();
        assert_eq!(damaged.kind(), Kind::Corrupt, "control");

        let reading = begin(&path);
        let other = beside(&path, ".other");
        std::fs::write(&other, whole).unwrap();
        std::fs::rename(other, &path).unwrap();
        assert_eq!(reading.end(), Ok(false));
        assert_eq!(SqliteStore::look(&path), Ok(Some(true)), "control");
    }
}
