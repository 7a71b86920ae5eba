//! One connection to a vault file, opened without trust in what it finds.
//!
//! Invariants: the settings stand before the first statement, which reads the schema: nothing in the file can run, nothing is
//! attached, no row is longer than one that akm writes; every commit is flushed before it is acknowledged (`synchronous=FULL`)
//! and deleted content is overwritten (`secure_delete`). Whose a database is can be asked without its log, and a log that is
//! refused is not written over it at the end.
//!
//! Deliberately absent: creating a file. It is there, made and checked by `files`.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::values::sql;
use super::{schema, values};
use crate::error::{Error, Kind, Result};
use crate::store::Id;

/// How long a statement waits for a checkpoint that holds it up, or for another program's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest row or value SQLite itself will handle, in bytes: a few blobs of the longest kind.
pub(super) const MAX_ROW: i32 = 4 * values::MAX_BLOB as i32;
/// The log is cut back to this many bytes once it was longer.
pub(super) const LOG_SIZE: i64 = 4 * 1024 * 1024;
/// Statements kept prepared per connection: more than any of them has.
const STATEMENTS: usize = 32;
/// Page caches in KiB, filled as they are used. The reader holds the inner pages of a million keys, so that a get reads
/// two pages from the system at most.
pub(super) const READER_CACHE: i64 = 4096;
pub(super) const SCANNER_CACHE: i64 = 256;
pub(super) const WRITER_CACHE: i64 = 512;

pub(super) fn connect(path: &Path, cache_kib: i64) -> Result<Connection> {
    // Without CREATE: the file is there, made by `files`. The lock around each connection is ours.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags).map_err(sql)?;
    harden(&conn, cache_kib).map_err(sql)?;
    Ok(conn)
}

pub(super) fn harden(conn: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    // Before the first statement, which reads the schema. Loading extensions is off unless turned on.
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        conn.set_db_config(setting, on)?;
    }
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    // Statement journals would lie in /tmp otherwise, with sealed rows in them.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "synchronous", durability())?;
    conn.pragma_update(None, "journal_size_limit", LOG_SIZE)?;
    conn.pragma_update(None, "cache_size", -cache_kib)
}

/// Every commit is flushed before it is acknowledged.
#[cfg(not(feature = "insecure-test-storage"))]
fn durability() -> &'static str {
    "FULL"
}

/// The same, unless a test wants to see what is lost otherwise.
#[cfg(feature = "insecure-test-storage")]
fn durability() -> &'static str {
    match std::env::var("AKM_TEST_SYNCHRONOUS").as_deref() {
        Ok("NORMAL") => "NORMAL",
        _ => "FULL",
    }
}

/// The id in the main file alone, if it has one: a vault that was never written back may not.
pub(super) fn id_without_log(path: &Path) -> Option<Id> {
    schema::vault_id(&immutable(path).ok()?).ok()
}

/// The main file alone, read as it lies there: without its log, without a lock, and nothing is made beside it.
pub(super) fn immutable(path: &Path) -> Result<Connection> {
    let mut uri = String::from("file:");
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(uri, flags).map_err(sql)?;
    harden(&conn, SCANNER_CACHE).map_err(sql)?;
    Ok(conn)
}

/// Whether closing leaves the log as it is: a log that is refused is not written over the vault.
pub(super) fn keep_log(conn: &Connection, keep: bool) -> Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)
        .map(drop)
        .map_err(sql)
}

/// Waits for the readers of this process, whose statements are short.
pub(super) fn write_back(writer: &Connection) -> Result<()> {
    let busy: bool = writer
        .prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(sql)?;
    if busy {
        return Err(Error::new(Kind::Unavailable, "the vault is busy"));
    }
    Ok(())
}

pub(super) fn read_only(conn: Connection) -> Result<Connection> {
    conn.pragma_update(None, "query_only", true).map_err(sql)?;
    Ok(conn)
}
