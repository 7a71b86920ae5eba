//! A vault file that may be damaged: looked at as it lies there, and held while another takes its place.
//!
//! Invariants: nothing is written, no log is read, and nothing is made beside the file but its lock. A file that is in
//! use, or was not closed, is judged by its beginning alone: what else is in it may be on its way from the log.
//!
//! Deliberately absent: repair.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

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

    /// Looks at the vault file at `path`; says whether all of it was read (`None` where there is none). The lock is
    /// tried only where its file is there.
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
        let held = regular::open(&beside(path, ".lock"), Links::Refuse)?;
        if held.as_ref().is_none_or(|lock| lock.try_lock().is_err()) {
            return Ok(Some(false));
        }
        let log = std::fs::symlink_metadata(beside(path, "-wal"));
        if log.is_ok_and(|log| log.len() > 0) {
            return Ok(Some(false));
        }
        let (_, path) = files::resolve(path)?;
        let conn = immutable(&path)?;
        schema::check(&conn)?;
        schema::vault_id(&conn)?;
        super::backup::check_pages(&conn)?;
        Ok(Some(true))
    }
}
