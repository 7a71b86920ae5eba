//! Tables, and the steps that lead to them.
//!
//! `user_version` counts the steps that a file has been through. A step is never edited once released:
//! a change is another step. What a file's schema must be is not written down a second time: the steps
//! are run on an empty database in memory and the result is compared entry by entry, so that a planted
//! trigger, view, index or table is refused before anything is read through it.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::values::{array, sql};
use crate::error::{Error, Kind, Result};
use crate::store::Id;

/// "akmv", so that `file` and a person can tell whose database this is.
pub(super) const APPLICATION_ID: i32 = 0x616b_6d76;

/// Version n is the result of the first n.
pub(super) const STEPS: &[&str] = &[V1];

/// Rows are wide (sealed blobs), so the tables that grow keep SQLite's rowid and have narrow indexes:
/// clustering a wide row on its tag would leave an inner page four children instead of sixty. Blobs
/// stand last, `secret` after `meta`, so that a page of heads never reads the secrets' overflow pages.
///
/// `accounts.key_count` is kept by the transactions that insert and remove keys: counting a million
/// index entries inside the inserting transaction would take it from microseconds to milliseconds.
const V1: &str = "
CREATE TABLE vault (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    tier TEXT NOT NULL,
    totp_active INTEGER NOT NULL CHECK (totp_active IN (0, 1)),
    totp_step INTEGER NOT NULL CHECK (totp_step >= 0),
    key_count INTEGER NOT NULL DEFAULT 0 CHECK (key_count >= 0),
    profile_version INTEGER NOT NULL CHECK (profile_version > 0),
    created_at INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    key_limit INTEGER CHECK (key_limit >= 0),
    manifest BLOB NOT NULL,
    keys BLOB NOT NULL,
    key_before BLOB,
    profile BLOB NOT NULL
) STRICT;

CREATE TABLE slots (
    account BLOB NOT NULL REFERENCES accounts (id),
    slot INTEGER NOT NULL CHECK (slot >= 0),
    factors INTEGER NOT NULL CHECK (factors >= 0),
    kdf BLOB NOT NULL,
    commitment BLOB NOT NULL CHECK (length(commitment) = 32),
    wrapped BLOB NOT NULL,
    PRIMARY KEY (account, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    tag BLOB NOT NULL PRIMARY KEY CHECK (length(tag) = 32),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    blocked_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE familiar (
    account BLOB NOT NULL REFERENCES accounts (id),
    tag BLOB NOT NULL CHECK (length(tag) = 32),
    PRIMARY KEY (account, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
    tag BLOB NOT NULL PRIMARY KEY CHECK (length(tag) = 32),
    uses INTEGER NOT NULL CHECK (uses >= 0),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    account BLOB NOT NULL REFERENCES accounts (id),
    id BLOB NOT NULL CHECK (length(id) = 16),
    tag BLOB NOT NULL CHECK (length(tag) = 32),
    provider_tag BLOB NOT NULL CHECK (length(provider_tag) = 32),
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 255),
    secret_version INTEGER NOT NULL CHECK (secret_version > 0),
    meta_version INTEGER NOT NULL CHECK (meta_version > 0),
    last_used_at INTEGER,
    wrapped_key BLOB NOT NULL,
    meta BLOB NOT NULL,
    secret BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_by_tag ON keys (account, tag);
CREATE UNIQUE INDEX keys_by_id ON keys (account, id);
CREATE INDEX keys_by_provider ON keys (account, provider_tag, id);

CREATE TABLE history (
    account BLOB NOT NULL,
    key BLOB NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    meta BLOB NOT NULL,
    secret BLOB NOT NULL,
    FOREIGN KEY (account, key) REFERENCES keys (account, id)
) STRICT;
CREATE UNIQUE INDEX history_by_version ON history (account, key, version);

CREATE TABLE providers (
    account BLOB NOT NULL REFERENCES accounts (id),
    tag BLOB NOT NULL CHECK (length(tag) = 32),
    id BLOB NOT NULL CHECK (length(id) = 16),
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX providers_by_tag ON providers (account, tag);

CREATE TABLE last_tests (
    account BLOB NOT NULL,
    key BLOB NOT NULL,
    secret_version INTEGER NOT NULL CHECK (secret_version > 0),
    sealed BLOB NOT NULL,
    PRIMARY KEY (account, key),
    FOREIGN KEY (account, key) REFERENCES keys (account, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE tree (
    account BLOB NOT NULL REFERENCES accounts (id),
    node INTEGER NOT NULL CHECK (node > 0),
    content BLOB NOT NULL,
    PRIMARY KEY (account, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    chain BLOB NOT NULL CHECK (length(chain) = 16),
    seq INTEGER NOT NULL CHECK (seq > 0),
    time INTEGER NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    record BLOB CHECK (length(record) = 16),
    mac BLOB NOT NULL CHECK (length(mac) = 32),
    sealed BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_seq ON events (chain, seq);
CREATE INDEX events_by_time ON events (chain, time, seq);
CREATE INDEX events_by_action ON events (chain, action, seq);

CREATE TABLE orders (
    provider TEXT NOT NULL,
    number TEXT NOT NULL,
    account BLOB CHECK (length(account) = 16),
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 4),
    paid_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    mac BLOB NOT NULL CHECK (length(mac) = 32),
    body BLOB NOT NULL,
    PRIMARY KEY (provider, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_account ON orders (account, paid_at, provider, number);
CREATE INDEX orders_by_time ON orders (seen_at, provider, number);

CREATE TABLE codes (
    tag BLOB NOT NULL PRIMARY KEY CHECK (length(tag) = 32),
    tier TEXT NOT NULL,
    months INTEGER NOT NULL CHECK (months > 0),
    expires_at INTEGER,
    mac BLOB NOT NULL CHECK (length(mac) = 32),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_by_time ON codes (created_at, tag);

CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    mac BLOB NOT NULL CHECK (length(mac) = 32),
    body BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tier_history (
    account BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq > 0),
    time INTEGER NOT NULL,
    tier TEXT NOT NULL,
    until INTEGER,
    reason TEXT NOT NULL,
    PRIMARY KEY (account, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
    account BLOB NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reminders (
    account BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    ends_at INTEGER NOT NULL,
    days INTEGER NOT NULL CHECK (days >= 0),
    channel TEXT NOT NULL,
    PRIMARY KEY (account, subject, ends_at, days, channel)
) STRICT, WITHOUT ROWID;
";

/// What a file turned out to be.
enum State {
    /// Nothing was ever written to it, or its creation was interrupted before the first commit.
    Empty,
    /// akm's, at a version that this program knows.
    Version(usize),
}

/// Brings the file to the current version, in one transaction; a new vault gets its id and its birthday.
/// A file that is newer, foreign or not as the steps leave it is refused untouched.
pub(super) fn prepare(writer: &mut Connection, id: &Id, now: i64) -> Result<()> {
    prepare_with(writer, STEPS, id, now)
}

/// A copy is akm's, at a version that this program knows, and as the steps to it leave it.
pub(super) fn check(conn: &Connection) -> Result<()> {
    match inspect(conn, STEPS)? {
        State::Empty => Err(Error::corrupt("the file is not a backup that akm made")),
        State::Version(version) => verify(conn, &STEPS[..version]),
    }
}

/// Whether it is akm's, or nobody's yet.
pub(super) fn recognise(conn: &Connection) -> Result<()> {
    inspect(conn, STEPS).map(drop)
}

/// The id of the vault.
pub(super) fn vault_id(conn: &Connection) -> Result<Id> {
    conn.prepare("SELECT id FROM vault")
        .and_then(|mut statement| statement.query_row([], |row| Ok(array(row, 0))))
        .map_err(sql)?
}

pub(super) fn prepare_with(
    writer: &mut Connection,
    steps: &[&str],
    id: &Id,
    now: i64,
) -> Result<()> {
    // Looks first: setting WAL writes the header, and a foreign file is not ours to write.
    inspect(writer, steps)?;
    let mode: String = writer
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sql)?;
    if mode != "wal" {
        return Err(Error::internal("the store cannot keep a write-ahead log"));
    }

    let tx = writer
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql)?;
    let from = match inspect(&tx, steps)? {
        State::Empty => 0,
        State::Version(version) => {
            verify(&tx, &steps[..version])?;
            version
        }
    };
    if from < steps.len() {
        apply(&tx, &steps[from..], steps.len())?;
        if from == 0 {
            tx.execute(
                "INSERT INTO vault (one, id, created_at) VALUES (1, ?1, ?2)",
                (id, now),
            )
            .map_err(sql)?;
        }
        verify(&tx, steps)?;
    }
    tx.commit().map_err(sql)
}

/// The file is SQLite's, but not akm's.
pub(super) fn foreign() -> Error {
    Error::new(
        Kind::UnsupportedVersion,
        "the file is a database of another program",
    )
}

fn inspect(conn: &Connection, steps: &[&str]) -> Result<State> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = pragma("application_id").map_err(sql)?;
    let version = pragma("user_version").map_err(sql)?;
    let entries: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sql)?;
    if (application, version, entries) == (0, 0, 0) {
        return Ok(State::Empty);
    }
    if application != APPLICATION_ID {
        return Err(foreign());
    }
    match usize::try_from(version) {
        Ok(version) if version > steps.len() => Err(Error::new(
            Kind::UnsupportedVersion,
            "the vault was written by a newer akm",
        )
        .with_hint("update akm; nothing in the vault was changed")),
        Ok(version @ 1..) => Ok(State::Version(version)),
        _ => Err(Error::corrupt("the vault's version is not one akm writes")),
    }
}

fn apply(tx: &Transaction<'_>, steps: &[&str], version: usize) -> Result<()> {
    for step in steps {
        tx.execute_batch(step).map_err(sql)?;
    }
    let version =
        i32::try_from(version).map_err(|_| Error::internal("too many steps of the schema"))?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)
        .and_then(|()| tx.pragma_update(None, "user_version", version))
        .map_err(sql)
}

/// Every entry of the schema is one that the steps make, and none is missing.
fn verify(conn: &Connection, steps: &[&str]) -> Result<()> {
    let model = Connection::open_in_memory().map_err(sql)?;
    for step in steps {
        model.execute_batch(step).map_err(sql)?;
    }
    let expected = entries(&model, usize::MAX)?;
    if entries(conn, expected.len() + 1)? != expected {
        return Err(Error::corrupt(
            "the vault's tables are not as akm made them",
        ));
    }
    Ok(())
}

/// Type, name, table and text of an entry.
type Entry = (String, String, String, Option<String>);

fn entries(conn: &Connection, most: usize) -> Result<Vec<Entry>> {
    conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .take(most)
                .collect()
        })
        .map_err(sql)
}
