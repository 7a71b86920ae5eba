//! The database of LLM API Manager, read and never written. It is foreign: whatever is in it may be hostile.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::connection::MAX_ROW;
use super::values::{MAX_BLOB, sql};
use crate::error::{Error, Kind, Result};

/// A key of it, as it rests.
pub(crate) struct ManagerRow {
    pub(crate) user: String,
    pub(crate) provider: Option<String>,
    pub(crate) display: Option<String>,
    pub(crate) base_url: Option<String>,
    pub(crate) label: String,
    pub(crate) encrypted: String,
    pub(crate) model: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) notes: Option<String>,
    pub(crate) expires_at: Option<String>,
}

const FOREIGN: Error = Error::invalid("file", "the file is not a database of LLM API Manager");

/// The keys of a user, or of everybody; more than `most` are refused.
pub(crate) fn read(path: &Path, user: Option<&str>, most: usize) -> Result<Vec<ManagerRow>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = Connection::open_with_flags(path, flags).map_err(sql)?;
    harden(&conn).map_err(sql)?;
    // Its first version had no such column.
    let expires: bool = conn
        .prepare("SELECT 1 FROM pragma_table_info('user_api_keys') WHERE name = 'expires_at'")
        .and_then(|mut statement| statement.exists([]))
        .map_err(|_| FOREIGN)?;
    let mut statement = conn
        .prepare(&format!(
            "SELECT u.username, p.name, p.display_name, p.base_url, k.key_name, k.api_key_encrypted, k.model_id,
                    k.status, k.notes, {}
             FROM user_api_keys k JOIN users u ON u.id = k.user_id
             LEFT JOIN api_providers p ON p.id = k.provider_id
             WHERE ?1 IS NULL OR u.username = ?1 ORDER BY k.id LIMIT ?2",
            if expires { "k.expires_at" } else { "NULL" }
        ))
        .map_err(|_| FOREIGN)?;
    let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = statement.query((user, limit)).map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        found.push(ManagerRow {
            user: text(row, 0)?.ok_or(FOREIGN)?,
            provider: text(row, 1)?,
            display: text(row, 2)?,
            base_url: text(row, 3)?,
            label: text(row, 4)?.ok_or(FOREIGN)?,
            encrypted: text(row, 5)?.ok_or(FOREIGN)?,
            model: text(row, 6)?,
            status: text(row, 7)?,
            notes: text(row, 8)?,
            expires_at: text(row, 9)?,
        });
    }
    if found.len() > most {
        return Err(Error::invalid(
            "file",
            "the file holds more than 20,000 keys",
        ));
    }
    if found.is_empty() && user.is_some() {
        return Err(
            Error::new(Kind::NotFound, "the database has no keys of this user").with_field("user"),
        );
    }
    Ok(found)
}

fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        conn.set_db_config(setting, on)?;
    }
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "mmap_size", 0)
}

fn text(row: &Row<'_>, column: usize) -> Result<Option<String>> {
    match row.get_ref(column).map_err(sql)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) if text.len() <= MAX_BLOB => std::str::from_utf8(text)
            .map(|text| Some(text.to_owned()))
            .map_err(|_| FOREIGN),
        _ => Err(FOREIGN),
    }
}
