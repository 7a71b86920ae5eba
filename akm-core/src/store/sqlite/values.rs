//! Between SQLite and akm: values out of rows, values into statements, and the one mapping of errors.
//!
//! A file may be hostile or damaged, so whatever comes out is checked for type, length and range, and
//! anything else is `corrupt`: no panic, no silent cast, no allocation larger than [`MAX_BLOB`]. What
//! goes in is held to the same bounds, so that akm cannot write what it would refuse to read.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Params, Row};

use crate::error::{Error, Kind, Result};

/// Longest blob in bytes. The largest request is as long; nothing sealed outgrows it.
pub(super) const MAX_BLOB: usize = 256 * 1024;
/// Longest text in bytes. Names and tokens are far shorter.
pub(super) const MAX_TEXT: usize = 1024;

const DAMAGED: Error = Error::corrupt("the vault holds a value that akm did not write");

/// The error of a statement.
pub(super) fn sql(error: rusqlite::Error) -> Error {
    use rusqlite::Error as E;
    match &error {
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..)
        | E::QueryReturnedNoRows
        | E::QueryReturnedMoreThanOneRow => return DAMAGED,
        _ => {}
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => Error::corrupt("the vault file is damaged"),
        Some(ErrorCode::NotADatabase) => Error::corrupt("the file is not a vault"),
        // Nothing this long is written, so it was read.
        Some(ErrorCode::TooBig) => DAMAGED,
        Some(ErrorCode::DiskFull) => Error::new(Kind::Io, "no space is left on the device"),
        Some(ErrorCode::SystemIoFailure) => {
            Error::new(Kind::Io, "reading or writing the vault failed")
        }
        Some(ErrorCode::ReadOnly) => Error::new(Kind::Io, "the vault cannot be written"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Error::new(Kind::Io, "a file of the vault cannot be opened")
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => Error::new(Kind::Unavailable, "the vault is busy"),
        Some(ErrorCode::OutOfMemory) => Error::new(Kind::Unavailable, "memory is used up"),
        _ => Error::internal("a statement of the store failed"),
    }
}

/// As [`sql`], where a value that is there already is the caller's `conflict`.
pub(super) fn unique(error: rusqlite::Error, taken: &'static str) -> Error {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    match error.sqlite_extended_error_code() {
        Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY) => {
            Error::new(Kind::Conflict, taken)
        }
        _ => sql(error),
    }
}

/// Runs a statement that returns no rows; says how many it changed.
pub(super) fn execute(conn: &Connection, statement: &str, params: impl Params) -> Result<usize> {
    conn.prepare_cached(statement)
        .and_then(|mut statement| statement.execute(params))
        .map_err(sql)
}

/// A blob, in place.
fn bytes<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8]> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Blob(blob) if blob.len() <= MAX_BLOB => Ok(blob),
        _ => Err(DAMAGED),
    }
}

/// A sealed or wrapped blob.
pub(super) fn blob(row: &Row<'_>, column: usize) -> Result<Vec<u8>> {
    bytes(row, column).map(<[u8]>::to_vec)
}

/// A sealed or wrapped blob that may be absent.
pub(super) fn optional_blob(row: &Row<'_>, column: usize) -> Result<Option<Vec<u8>>> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Null => Ok(None),
        _ => blob(row, column).map(Some),
    }
}

/// An id or a tag.
pub(super) fn array<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N]> {
    bytes(row, column)?.try_into().map_err(|_| DAMAGED)
}

/// An id that may be absent.
pub(super) fn optional_array<const N: usize>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<[u8; N]>> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Null => Ok(None),
        _ => array(row, column).map(Some),
    }
}

/// A short text.
pub(super) fn text(row: &Row<'_>, column: usize) -> Result<String> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Text(text) if text.len() <= MAX_TEXT => std::str::from_utf8(text)
            .map(str::to_owned)
            .map_err(|_| DAMAGED),
        _ => Err(DAMAGED),
    }
}

/// A time: any integer.
pub(super) fn time(row: &Row<'_>, column: usize) -> Result<i64> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Integer(value) => Ok(value),
        _ => Err(DAMAGED),
    }
}

/// A time that may be absent.
pub(super) fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<i64>> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Null => Ok(None),
        _ => time(row, column).map(Some),
    }
}

/// A count, version or number: not negative, and within the type asked for.
pub(super) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> Result<T> {
    match time(row, column)? {
        value @ 0.. => T::try_from(value).map_err(|_| DAMAGED),
        _ => Err(DAMAGED),
    }
}

/// A flag: zero or one.
pub(super) fn flag(row: &Row<'_>, column: usize) -> Result<bool> {
    match number::<u8>(row, column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DAMAGED),
    }
}

/// A number on its way in.
pub(super) fn int(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::internal("a number does not fit the store"))
}

/// A blob on its way in.
pub(super) fn sealed(blob: &[u8]) -> Result<&[u8]> {
    if blob.len() > MAX_BLOB {
        return Err(Error::internal("a sealed value does not fit the store"));
    }
    Ok(blob)
}

/// A text on its way in.
pub(super) fn short(text: &str) -> Result<&str> {
    if text.len() > MAX_TEXT {
        return Err(Error::internal("a text does not fit the store"));
    }
    Ok(text)
}
