//! Copies of a vault file: taken while it is in use, opened to be checked.
//!
//! A copy is a snapshot: a read transaction is held on a connection of its own from the first page to the last,
//! so writers go on (into the log) and the copy is of one moment. It is a single file: its header says
//! rollback journal, so nothing has to stand beside it, and opening it to read creates nothing.
//!
//! Flushing the file and giving it its name are the `backup` room's job. Deliberately absent: copying the
//! file's bytes. A copy of a live file without its log is an older vault, or none.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::connection::{READER_CACHE, SCANNER_CACHE, WRITER_CACHE, connect, harden, read_only};
use super::files::Identity;
use super::values::{array, sql};
use super::{SqliteStore, attempts, files, hold, schema};
use crate::error::{Error, Kind, Result};
use crate::regular::{self, Links};
use crate::store::{Id, Store as _};

/// Pages copied between two reports of progress: 8 MiB.
const STEP: i32 = 2048;
/// How long to wait where somebody else has the file open.
const PAUSE: Duration = Duration::from_millis(20);
/// Events carried over at a time.
const EVENTS: u32 = 1000;
/// Where SQLite's header says whether a log belongs to the file.
const FORMAT: std::ops::Range<usize> = 18..20;
const ROLLBACK_JOURNAL: [u8; 2] = [1, 1];

/// What is in a vault file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Accounts.
    pub accounts: u64,
    /// Keys, of all accounts.
    pub keys: u64,
}

impl SqliteStore {
    /// Copies the vault as it is now into the empty file `to`. Reports pages done and pages in all.
    ///
    /// The copy is not on the disk yet when this returns.
    pub fn copy_into(&self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        self.copies.fetch_add(1, Ordering::AcqRel);
        let copied = self.copy_held(to, progress);
        self.copies.fetch_sub(1, Ordering::AcqRel);
        // What was removed meanwhile goes from the log; if that fails now, with the next checkpoint.
        let _ = self.checkpoint();
        copied
    }

    fn copy_held(&self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let source = read_only(connect(&self.path, SCANNER_CACHE)?)?;
        let snapshot = source.unchecked_transaction().map_err(sql)?;
        // A transaction begins to hold its moment with its first read.
        schema::vault_id(&snapshot)?;
        let mut target = Connection::open_with_flags(
            to,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW,
        )
        .map_err(sql)?;
        // Until it has its name nobody reads it: it needs no journal, and is flushed once, at the end.
        target
            .execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;")
            .map_err(sql)?;
        let backup = Backup::new(&snapshot, &mut target).map_err(sql)?;
        loop {
            let step = backup.step(STEP).map_err(sql)?;
            let pages = backup.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
            let total = count(pages.pagecount);
            progress(total.saturating_sub(count(pages.remaining)), total);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(PAUSE),
            }
        }
        drop(backup);
        // The header said that a log belongs to the file.
        let mode: String = target
            .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))
            .map_err(sql)?;
        if mode != "delete" {
            return Err(Error::internal("a backup still wants a log"));
        }
        target.close().map_err(|(_, error)| sql(error))?;
        // The pragma answers so even where the header could not be written.
        is_finished(to)
    }

    /// Closes a copy that is to get its name.
    ///
    /// Errors: `io` if whoever opens the file next would find another one than this.
    pub fn close_copy(self) -> Result<()> {
        let path = self.path.clone();
        drop(self);
        is_finished(&path)
    }

    /// Opens a copy that [`SqliteStore::copy_into`] made, without a lock and without a log; `writable` before it
    /// has its name.
    ///
    /// Errors: `corrupt` for anything that is not such a copy, `unsupported_version`.
    pub fn open_copy(path: &Path, writable: bool) -> Result<SqliteStore> {
        // Absolute, so that no name begins with `file:`, which SQLite would read as a URI; without a link, which
        // SQLite would refuse.
        let (parent, name) = path
            .parent()
            .zip(path.file_name())
            .ok_or(Error::internal("a backup's path names no file"))?;
        let path = parent.canonicalize()?.join(name);
        if !stands_alone(&path)? {
            return Err(Error::corrupt("the file is not a backup that akm made"));
        }
        let open = |path: &PathBuf, cache| {
            let mode = if writable {
                OpenFlags::SQLITE_OPEN_READ_WRITE
            } else {
                OpenFlags::SQLITE_OPEN_READ_ONLY
            };
            let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            let conn = Connection::open_with_flags(path, flags).map_err(sql)?;
            harden(&conn, cache).map_err(sql)?;
            Ok::<_, Error>(conn)
        };
        let writer = open(&path, WRITER_CACHE)?;
        schema::check(&writer)?;
        Ok(SqliteStore {
            reads: AtomicU64::new(0),
            vault_id: schema::vault_id(&writer)?,
            reader: Mutex::new(read_only(open(&path, READER_CACHE)?)?),
            scanner: Mutex::new(read_only(open(&path, SCANNER_CACHE)?)?),
            writer: Mutex::new(writer),
            files: Identity::of(&path),
            path,
            replaced: None,
            _lock: None,
            changes: AtomicU64::new(0),
            copies: AtomicU64::new(0),
        })
    }

    /// Reads every page, index and reference.
    ///
    /// Errors: `corrupt` if something in the file is not as it must be.
    pub fn check_structure(&self) -> Result<Contents> {
        let scanner = hold(&self.scanner);
        check_pages(&scanner)?;
        let count = |statement: &str| {
            scanner
                .query_row(statement, [], |row| row.get::<_, i64>(0))
                .map_err(sql)
                .and_then(|count| {
                    u64::try_from(count).map_err(|_| Error::internal("a count is negative"))
                })
        };
        Ok(Contents {
            accounts: count("SELECT count(*) FROM accounts")?,
            keys: count("SELECT count(*) FROM keys")?,
        })
    }

    /// Brings the events of every chain that stand here and not yet in `copy` over, so that a change that
    /// the copy holds has its event there.
    pub fn carry_events(&self, copy: &SqliteStore) -> Result<()> {
        for chain in self.chains()? {
            loop {
                let after = copy.last_event(&chain)?.map_or(0, |event| event.seq);
                let events = self.events(&chain, after, None, None, EVENTS)?;
                if events.is_empty() {
                    break;
                }
                copy.fold_events(&events)?;
            }
        }
        Ok(())
    }

    /// Makes a copy of `live` ready to take its place: who guessed how often is as it is there now.
    pub fn take_over(&self, live: &SqliteStore) -> Result<()> {
        let counters = attempts::all(&hold(&live.scanner))?;
        self.write(|tx| attempts::replace(tx, &counters))
    }

    /// Where the vault is that this one took the place of when it was opened, if it did.
    pub fn replaced(&self) -> Option<&Path> {
        self.replaced.as_deref()
    }

    /// What to call a vault that is to take the place of the one at `path` when that is opened next.
    pub fn restored_name(path: &Path) -> PathBuf {
        files::restored_name(path)
    }

    /// The system's chain and every account's.
    fn chains(&self) -> Result<Vec<Id>> {
        let scanner = hold(&self.scanner);
        let mut statement = scanner.prepare("SELECT id FROM accounts").map_err(sql)?;
        let mut rows = statement.query([]).map_err(sql)?;
        let mut chains = vec![crate::audit::SYSTEM];
        while let Some(row) = rows.next().map_err(sql)? {
            chains.push(array(row, 0)?);
        }
        Ok(chains)
    }
}

/// Every page, index and reference.
pub(super) fn check_pages(conn: &Connection) -> Result<()> {
    let verdict: String = conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(sql)?;
    let dangling = conn
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut statement| statement.exists([]))
        .map_err(sql)?;
    if verdict != "ok" || dangling {
        return Err(Error::corrupt("the vault file is damaged"));
    }
    Ok(())
}

/// A journal that SQLite could not remove is played back by the next who opens the file, and what it undoes was said
/// to be done.
fn is_finished(path: &Path) -> Result<()> {
    let journal = files::beside(path, "-journal").try_exists()?;
    if journal || !stands_alone(path)? {
        return Err(Error::new(Kind::Io, "reading or writing the vault failed"));
    }
    Ok(())
}

/// Whether a file's header says that no log belongs to it. A file too short for one does not.
fn stands_alone(path: &Path) -> Result<bool> {
    let mut header = [0; FORMAT.end];
    let Some(mut file) = regular::open(path, Links::Refuse)? else {
        return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
    };
    let read = file.read_exact(&mut header);
    Ok(read.is_ok() && header[FORMAT] == ROLLBACK_JOURNAL)
}
