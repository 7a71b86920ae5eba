//! What cannot be seen from outside: settings, plans, steps, and the mapping of errors.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi;
use sha2::{Digest, Sha256};

use super::connection::LOG_SIZE;
use super::*;

struct Still;

impl Clock for Still {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn boot(&self) -> Duration {
        Duration::ZERO
    }
}

impl Random for Still {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn open() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("vault.db"), &Still, &Still).unwrap();
    (store, dir)
}

#[test]
fn sqlite_has_the_fixes_that_matter_here() {
    assert!(
        rusqlite::version_number() >= 3_051_003,
        "{}",
        rusqlite::version()
    );
}

#[test]
fn the_id_is_chance_and_the_birthday_the_clocks() {
    let (store, _dir) = open();
    assert_eq!(store.vault_id(), [7; 16]);
    let at: i64 = hold(&store.writer)
        .query_row("SELECT created_at FROM vault", [], |row| row.get(0))
        .unwrap();
    assert_eq!(at, 0);
}

#[test]
fn every_connection_has_the_settings_it_is_meant_to_have() {
    let (store, _dir) = open();
    for (connection, cache, query_only) in [
        (&store.reader, READER_CACHE, 1),
        (&store.scanner, SCANNER_CACHE, 1),
        (&store.writer, WRITER_CACHE, 0),
    ] {
        let conn = hold(connection);
        let pragma = |name: &str| -> i64 {
            conn.pragma_query_value(None, name, |row| row.get(0))
                .unwrap()
        };
        for (name, value) in [
            ("synchronous", 2),
            ("secure_delete", 1),
            ("trusted_schema", 0),
            ("foreign_keys", 1),
            ("cell_size_check", 1),
            ("temp_store", 2),
            ("busy_timeout", 5000),
            ("journal_size_limit", LOG_SIZE),
            ("cache_size", -cache),
            ("query_only", query_only),
        ] {
            assert_eq!(pragma(name), value, "{name}");
        }
        let mode: String = conn
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(pragma("mmap_size"), 0);
        for (setting, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        ] {
            assert_eq!(conn.db_config(setting).unwrap(), on, "{setting:?}");
        }
        let fails = |statement: &str| conn.execute_batch(statement).unwrap_err().to_string();
        assert!(fails("ATTACH ':memory:' AS other").contains("too many attached"));
        assert!(fails("SELECT load_extension('x')").contains("no such function"));
        let write = conn.execute("INSERT INTO attempts VALUES (zeroblob(32), 1, 1)", []);
        assert_eq!(write.is_err(), query_only == 1);
    }
}

/// The flags of `.cargo/config.toml` reached the compiler.
#[test]
fn what_a_vault_has_no_use_for_is_not_in_the_program() {
    let (store, _dir) = open();
    let conn = hold(&store.reader);
    let mut options = conn.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = options
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for present in ["THREADSAFE=1", "OMIT_LOAD_EXTENSION", "OMIT_JSON"] {
        assert!(options.iter().any(|option| option == present), "{present}");
    }
    for absent in ["FTS3", "FTS5", "RTREE", "STAT4", "DBSTAT", "LOAD_EXTENSION"] {
        let enabled = format!("ENABLE_{absent}");
        assert!(
            !options.iter().any(|option| option.starts_with(&enabled)),
            "{absent}"
        );
    }
    // In double quotes is a name, and never a text where no such name is.
    let error = conn
        .execute_batch("SELECT \"nothing\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("no such column"), "{error}");
    let mut modules = conn.prepare("SELECT name FROM pragma_module_list").unwrap();
    let modules: Vec<String> = modules
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(modules, ["pragma_module_list"], "virtual tables");
}

fn plan(conn: &Connection, statement: &str, parameters: usize) -> String {
    let mut explain = conn
        .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
        .unwrap();
    let nulls = vec![rusqlite::types::Null; parameters];
    let lines: Vec<String> = explain
        .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    lines.join("; ")
}

/// Without statistics SQLite decides by the shape of the indexes alone, so an empty vault shows the plan of a full one.
#[test]
fn each_read_that_grows_with_the_vault_goes_through_its_index() {
    let (store, _dir) = open();
    let conn = hold(&store.reader);
    for (statement, parameters, expected) in [
        (
            keys::BY_TAG,
            2,
            "SEARCH keys USING INDEX keys_by_tag (account=? AND tag=?)",
        ),
        (
            keys::PAGE,
            3,
            "SEARCH keys USING INDEX keys_by_id (account=? AND id>?)",
        ),
        (
            keys::PAGE_OF_PROVIDER,
            4,
            "SEARCH keys USING INDEX keys_by_provider (account=? AND provider_tag=? AND id>?)",
        ),
        (
            keys::ROWS,
            3,
            "SEARCH keys USING INDEX keys_by_id (account=? AND id>?)",
        ),
        (
            tree::NODE,
            2,
            "SEARCH tree USING PRIMARY KEY (account=? AND node=?)",
        ),
        (
            events::PAGE,
            4,
            "SEARCH events USING INDEX events_by_seq (chain=? AND seq>?)",
        ),
        (
            events::PAGE_OF_ACTION,
            5,
            "SEARCH events USING INDEX events_by_action (chain=? AND action=? AND seq>?)",
        ),
        (
            events::FIRST_SINCE,
            2,
            "SEARCH events USING COVERING INDEX events_by_time (chain=? AND time>?)",
        ),
    ] {
        assert_eq!(plan(&conn, statement, parameters), expected);
    }
    // The control: a plan without an index reads otherwise.
    assert_eq!(
        plan(&conn, "SELECT * FROM keys WHERE meta = ?1", 1),
        "SCAN keys"
    );
}

/// A released step is history. A change of the schema is another step, and another hash here.
#[test]
fn the_steps_of_the_schema_are_not_edited_once_released() {
    let hashes: Vec<String> = schema::STEPS
        .iter()
        .map(|step| {
            let hash = Sha256::digest(step.as_bytes());
            data_encoding::HEXLOWER.encode(&hash)
        })
        .collect();
    let pinned = ["ce787f9f5e4827075d617d18c909b9a842c982ef8619036a5498700a38b360fd"];
    assert_eq!(hashes, pinned, "the text of a step changed");
}

#[test]
fn an_older_vault_goes_through_the_missing_steps_and_keeps_its_rows() {
    const SECOND: &str = "ALTER TABLE vault ADD COLUMN note TEXT;
                          CREATE TABLE more (x INTEGER PRIMARY KEY) STRICT;";
    let (store, dir) = open();
    let path = dir.path().join("vault.db");
    drop(store);
    let steps = [schema::STEPS, &[SECOND]].concat();
    let version = |conn: &Connection| -> i64 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };

    // A step that fails halfway leaves the version and the tables of before.
    let mut conn = connect(&path, 256).unwrap();
    let broken = [schema::STEPS, &[SECOND, "CREATE TABLE more (y)"]].concat();
    assert!(schema::prepare_with(&mut conn, &broken, &[9; 16], 5).is_err());
    assert_eq!(version(&conn), schema::STEPS.len() as i64);
    schema::prepare(&mut conn, &[9; 16], 5).unwrap();

    schema::prepare_with(&mut conn, &steps, &[9; 16], 5).unwrap();
    schema::prepare_with(&mut conn, &steps, &[9; 16], 5).unwrap();
    assert_eq!(version(&conn), steps.len() as i64);
    assert_eq!(schema::vault_id(&conn).unwrap(), [7; 16]);
    // And the program of before refuses it.
    let refused = schema::prepare(&mut conn, &[9; 16], 5).unwrap_err();
    assert_eq!(refused.kind(), Kind::UnsupportedVersion);
}

#[test]
fn a_tampered_older_vault_is_refused_before_any_step() {
    let (store, dir) = open();
    let path = dir.path().join("vault.db");
    drop(store);
    let mut conn = connect(&path, 256).unwrap();
    conn.execute_batch("CREATE TABLE more (x)").unwrap();
    let steps = [schema::STEPS, &["CREATE TABLE later (x)"]].concat();
    let refused = schema::prepare_with(&mut conn, &steps, &[9; 16], 5).unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt);
    let later = conn.prepare("SELECT * FROM later");
    assert!(later.is_err());
}

#[test]
fn a_creation_that_was_cut_off_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    let claim = files::claim(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    drop(claim);
    // As far as the header of an empty database in WAL mode.
    let conn = connect(&path, 256).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    drop(conn);
    assert!(std::fs::metadata(&path).unwrap().len() > 0);
    let store = SqliteStore::open(&path, &Still, &Still).unwrap();
    assert_eq!(store.account_count().unwrap(), 0);
}

#[test]
fn sqlites_errors_say_what_the_caller_can_do() {
    let map = |code| {
        let failure = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        values::sql(failure)
    };
    for (code, kind) in [
        (ffi::SQLITE_CORRUPT, Kind::Corrupt),
        (ffi::SQLITE_CORRUPT_INDEX, Kind::Corrupt),
        (ffi::SQLITE_NOTADB, Kind::Corrupt),
        (ffi::SQLITE_TOOBIG, Kind::Corrupt),
        (ffi::SQLITE_FULL, Kind::Io),
        (ffi::SQLITE_IOERR, Kind::Io),
        (ffi::SQLITE_IOERR_FSYNC, Kind::Io),
        (ffi::SQLITE_READONLY, Kind::Io),
        (ffi::SQLITE_CANTOPEN, Kind::Io),
        (ffi::SQLITE_CANTOPEN_SYMLINK, Kind::Io),
        (ffi::SQLITE_BUSY, Kind::Unavailable),
        (ffi::SQLITE_BUSY_RECOVERY, Kind::Unavailable),
        (ffi::SQLITE_LOCKED, Kind::Unavailable),
        (ffi::SQLITE_NOMEM, Kind::Unavailable),
        (ffi::SQLITE_CONSTRAINT_CHECK, Kind::Internal),
        (ffi::SQLITE_CONSTRAINT_UNIQUE, Kind::Internal),
        (ffi::SQLITE_MISUSE, Kind::Internal),
        (ffi::SQLITE_ERROR, Kind::Internal),
    ] {
        assert_eq!(map(code).kind(), kind, "{code}");
    }
    assert_eq!(
        map(ffi::SQLITE_FULL).message(),
        "no space is left on the device"
    );
}
