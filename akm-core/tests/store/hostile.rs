//! Files that akm did not write, or not like this: refused, never repaired, never a panic.

use akm_core::Kind;
use akm_core::store::Store;

use crate::support::*;

/// A closed vault with an account, a key, its history and an event, as a hostile hand leaves it.
fn tampered(sql: &str) -> (std::path::PathBuf, tempfile::TempDir, [u8; 16], [u8; 32]) {
    let vault = vault();
    let ada = add_account(&vault.store, "ada");
    let row = add_key(&vault.store, &ada);
    let mut next = row.clone();
    next.head.meta_version = 2;
    let history = akm_core::store::HistoryRow {
        version: 1,
        meta: b"meta".to_vec(),
        secret: b"secret".to_vec(),
    };
    vault
        .store
        .update_key(&next, 1, Some(&history), &untracked(), &mut done())
        .unwrap();
    let events = [event(&ada, 1, 5, "key.get", Some(row.head.id))];
    vault.store.fold_events(&events).unwrap();
    let (path, dir) = vault.close();
    let conn = sqlite(&path);
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;")
        .unwrap();
    conn.execute_batch(sql).unwrap();
    drop(conn);
    (path, dir, ada, row.head.tag)
}

#[test]
fn a12_a_hostile_schema_is_refused_and_left_as_it_is() {
    let (path, _dir, ..) = tampered("");
    drop(open(&path).unwrap());

    for sql in [
        "CREATE TRIGGER t AFTER UPDATE ON accounts BEGIN DELETE FROM keys; END",
        "CREATE VIEW v AS SELECT * FROM keys",
        "CREATE TABLE extra (x)",
        "CREATE TABLE extra (a INTEGER, b INTEGER AS (a * 2))",
        // By a program that has a module for it; ours has none.
        "PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES ('table', 'extra', 'extra', 0, 'CREATE VIRTUAL TABLE extra USING fts5(x)')",
        "CREATE INDEX extra ON keys (secret)",
        "ALTER TABLE keys ADD COLUMN extra INTEGER AS (status + 1)",
        "DROP INDEX keys_by_provider",
        "DROP INDEX keys_by_tag; CREATE INDEX keys_by_tag ON keys (account, tag)",
        "DROP TABLE attempts",
        // A table under a view's skin: the same name, another text.
        "ALTER TABLE vault RENAME TO moved; CREATE VIEW vault AS SELECT * FROM moved",
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'keys'",
        "ANALYZE",
    ] {
        let (path, _dir, ..) = tampered(sql);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(refusal(&path), Kind::Corrupt, "{sql}");
        assert!(std::fs::read(&path).unwrap() == before, "{sql}");
    }
}

#[test]
fn a_newer_vault_and_another_programs_database_are_refused_untouched() {
    for (sql, kind) in [
        ("PRAGMA user_version = 2", Kind::UnsupportedVersion),
        ("PRAGMA user_version = 2147483647", Kind::UnsupportedVersion),
        ("PRAGMA user_version = 0", Kind::Corrupt),
        ("PRAGMA user_version = -1", Kind::Corrupt),
        ("PRAGMA application_id = 0", Kind::UnsupportedVersion),
        ("PRAGMA application_id = 7", Kind::UnsupportedVersion),
        ("DELETE FROM vault", Kind::Corrupt),
        ("UPDATE vault SET id = x'00'", Kind::Corrupt),
    ] {
        let (path, _dir, ..) = tampered(sql);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(refusal(&path), kind, "{sql}");
        assert!(std::fs::read(&path).unwrap() == before, "{sql}");
    }

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    sqlite(&path)
        .execute_batch("CREATE TABLE bookmarks (url TEXT)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    private(&path, &before);
    assert_eq!(refusal(&path), Kind::UnsupportedVersion);
    assert!(std::fs::read(&path).unwrap() == before);
}

/// A file of this content with a mode that is not in the way, whatever the umask.
fn private(path: &std::path::Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    for content in [
        &b"x"[..],
        b"sk-something that is no database at all\n",
        &[0; 100],
        &[0; 4096],
        &[0xff; 9000],
        b"SQLite format 3\0",
    ] {
        private(&path, content);
        assert_eq!(refusal(&path), Kind::Corrupt, "{} bytes", content.len());
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    // What an interrupted creation leaves: the control, and no dead end.
    private(&path, b"");
    drop(open(&path).unwrap());
    drop(open(&path).unwrap());
}

#[test]
fn an_empty_vault_beside_a_log_is_refused_with_the_log_untouched() {
    let vault = vault();
    add_account(&vault.store, "ada");
    let log = std::fs::read(vault.dir.path().join("vault.db-wal")).unwrap();
    assert!(!log.is_empty());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    private(&path, b"");
    private(&dir.path().join("vault.db-wal"), &log);
    assert_eq!(refusal(&path), Kind::Corrupt);
    assert!(std::fs::read(dir.path().join("vault.db-wal")).unwrap() == log);
}

#[test]
fn values_that_akm_did_not_write_are_corrupt_never_a_panic() {
    // STRICT tables refuse other types, so the types are changed under them where one is tried.
    let keys = [
        "UPDATE keys SET id = x'00'",
        "UPDATE keys SET provider_tag = zeroblob(33)",
        "UPDATE keys SET status = 256",
        "UPDATE keys SET status = -1",
        "UPDATE keys SET secret_version = -9223372036854775808",
        "UPDATE keys SET meta_version = -1",
        "UPDATE keys SET wrapped_key = zeroblob(262145)",
        "UPDATE keys SET meta = zeroblob(262145)",
    ];
    for sql in keys {
        let (path, _dir, ada, tag) = tampered(sql);
        let store = open(&path).unwrap();
        assert_eq!(kind(store.key_by_tag(&ada, &tag)), Kind::Corrupt, "{sql}");
        let page = store.keys_page(&ada, None, None, 10);
        assert_eq!(kind(page), Kind::Corrupt, "{sql}");
    }
    // Longer than SQLite itself may handle here.
    for sql in [
        "UPDATE keys SET secret = zeroblob(262145)",
        "UPDATE keys SET secret = zeroblob(3000000)",
    ] {
        let (path, _dir, ada, tag) = tampered(sql);
        let store = open(&path).unwrap();
        assert_eq!(kind(store.key_by_tag(&ada, &tag)), Kind::Corrupt, "{sql}");
    }
    let accounts = [
        "UPDATE accounts SET totp_active = 2",
        "UPDATE accounts SET totp_step = -1",
        "UPDATE accounts SET profile_version = -7",
        "UPDATE accounts SET role = CAST(x'ff' AS TEXT)",
        "UPDATE accounts SET tier = printf('%.*c', 1025, 'x')",
        "UPDATE accounts SET keys = zeroblob(262145)",
    ];
    for sql in accounts {
        let (path, _dir, ada, _) = tampered(sql);
        let store = open(&path).unwrap();
        assert_eq!(kind(store.account(&ada)), Kind::Corrupt, "{sql}");
        assert_eq!(kind(store.account_by_name("ada")), Kind::Corrupt, "{sql}");
    }
    let slots = [
        "UPDATE slots SET slot = 4294967296",
        "UPDATE slots SET factors = -1",
        "UPDATE slots SET commitment = x''",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
         INSERT INTO slots SELECT account, i, factors, kdf, commitment, wrapped FROM slots, n",
    ];
    for sql in slots {
        let (path, _dir, ada, _) = tampered(sql);
        let store = open(&path).unwrap();
        assert_eq!(kind(store.slots(&ada)), Kind::Corrupt, "{sql}");
    }
    let events = [
        "UPDATE events SET seq = -4",
        "UPDATE events SET record = x'0102'",
        "UPDATE events SET mac = x'0102'",
        "UPDATE events SET action = printf('%.*c', 1025, 'x')",
    ];
    for sql in events {
        let (path, _dir, ada, _) = tampered(sql);
        let store = open(&path).unwrap();
        assert_eq!(kind(store.last_event(&ada)), Kind::Corrupt, "{sql}");
    }
    let (path, _dir, ada, _) = tampered("UPDATE accounts SET key_count = -1");
    let store = open(&path).unwrap();
    assert_eq!(kind(store.key_count(&ada)), Kind::Corrupt);
    let (path, _dir, ada, _) = tampered("UPDATE history SET version = -1");
    let store = open(&path).unwrap();
    let key = store.keys_page(&ada, None, None, 1).unwrap()[0].id;
    assert_eq!(kind(store.history(&ada, &key)), Kind::Corrupt);
    let (path, _dir, ada, _) = tampered("UPDATE events SET seq = -9223372036854775808");
    let store = open(&path).unwrap();
    assert_eq!(store.events(&ada, 0, Some(0), None, 9).unwrap(), []);
}

#[test]
fn flipped_and_cut_pages_answer_errors_never_a_panic() {
    let vault = vault();
    let ada = add_account(&vault.store, "ada");
    let rows: Vec<_> = (0..60).map(|_| key(&ada)).collect();
    vault
        .store
        .insert_keys(&rows, None, &untracked(), &mut done())
        .unwrap();
    let (path, _dir) = vault.close();
    let good = std::fs::read(&path).unwrap();
    let (mut refused, mut failed, mut same) = (0, 0, 0);
    let mut try_one = |bytes: &[u8]| {
        private(&path, bytes);
        let Ok(store) = open(&path) else {
            refused += 1;
            return;
        };
        let mut bad = store.account(&ada).is_err() as usize;
        bad += store.slots(&ada).is_err() as usize;
        bad += store.keys_page(&ada, None, None, 1000).is_err() as usize;
        for row in &rows {
            bad += store.key_by_tag(&ada, &row.head.tag).is_err() as usize;
        }
        // Writing must not panic either.
        let _ = insert(&store, &key(&ada), &mut done());
        match bad {
            0 => same += 1,
            _ => failed += 1,
        }
    };
    for round in 0..160_usize {
        let mut bytes = good.clone();
        let [a, b, c, value] = random::<4>();
        let place = usize::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]);
        // Half of them in the headers of pages, where it hurts.
        let place = match round % 2 {
            0 => place % bytes.len(),
            _ => (place % (bytes.len() / 4096)) * 4096 + usize::from(a) % 24,
        };
        bytes[place] ^= value.max(1);
        try_one(&bytes);
        if round % 8 == 0 {
            try_one(&good[..place]);
        }
    }
    assert!(refused > 0 && failed > 0, "{refused} {failed} {same}");
}

#[test]
fn a12_a_trigger_planted_while_the_vault_is_open_does_not_run() {
    let vault = vault();
    let ada = add_account(&vault.store, "ada");
    let row = add_key(&vault.store, &ada);
    let other = sqlite(&vault.path);
    other
        .execute_batch(
            "CREATE TRIGGER t AFTER UPDATE ON accounts BEGIN UPDATE keys SET secret = x'00'; END",
        )
        .unwrap();
    add_key(&vault.store, &ada);
    assert_eq!(stored(&vault.store, &row).unwrap(), row);
    // The control: it runs in a connection that trusts the file.
    other
        .execute("UPDATE accounts SET tier = 'local'", [])
        .unwrap();
    assert_eq!(stored(&vault.store, &row).unwrap().secret, [0]);
}
