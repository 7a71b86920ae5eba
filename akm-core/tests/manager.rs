//! What LLM API Manager wrote, read with the libraries that akm has.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use akm_core::Kind;
use akm_core::transfer::manager::{Settings, parse, read_database};
use akm_core::transfer::{FileFormat, Parsed, detect};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/manager")
        .join(name)
}

fn settings() -> Settings {
    Settings::read(&std::fs::read_to_string(fixture("settings.env")).unwrap()).unwrap()
}

fn names(parsed: &Parsed) -> Vec<(&str, &str)> {
    parsed
        .keys
        .iter()
        .map(|key| (key.name.as_str(), key.secret.expose()))
        .collect()
}

#[test]
fn a_database_gives_its_keys_with_the_settings_of_its_server() {
    let parsed = read_database(&fixture("app.db"), &settings(), Some("alice")).unwrap();
    assert_eq!(
        names(&parsed),
        [
            ("openai/work", "sk-manager-openai-0001"),
            ("anthropic/个人-测试", "sk-ant-manager-0002"),
            ("my-gateway/gateway", "gw-manager-0003"),
            ("zhipu/zhi", "zhipu-manager-0004.abc"),
            ("unknown/lost", "lost-manager-0005"),
        ]
    );
    let [work, personal, gateway, ..] = parsed.keys.as_slice() else {
        panic!("there are five")
    };
    assert_eq!(
        (work.model.as_deref(), work.notes.as_deref()),
        (Some("gpt-4o"), Some("of the team"))
    );
    assert_eq!((work.base_url.as_deref(), work.disabled), (None, None));
    assert_eq!(personal.disabled, Some(true));
    assert_eq!(
        personal.expires_at.as_deref(),
        Some("2027-03-01T12:30:00.000000Z")
    );
    assert_eq!(
        gateway.base_url.as_deref(),
        Some("https://gw.example.com/v1")
    );
    assert_eq!(gateway.notes, None);
    // Its first version had no expiry.
    let first = read_database(&fixture("v1.db"), &settings(), None).unwrap();
    assert_eq!(first.keys.len(), 5);
    assert!(first.keys.iter().all(|key| key.expires_at.is_none()));
}

#[test]
fn whose_keys_and_which_settings_must_fit() {
    let several = read_database(&fixture("app.db"), &settings(), None).unwrap_err();
    assert_eq!(
        (several.kind(), several.field()),
        (Kind::InvalidInput, Some("user"))
    );
    let nobody = read_database(&fixture("app.db"), &settings(), Some("mallory")).unwrap_err();
    assert_eq!(nobody.kind(), Kind::NotFound);
    for wrong in [
        "ENCRYPTION_KEY=another\nENCRYPTION_SALT=short-salt",
        "ENCRYPTION_KEY=a server secret that is longer than thirty-two bytes",
    ] {
        let settings = Settings::read(wrong).unwrap();
        let error = read_database(&fixture("app.db"), &settings, Some("bob")).unwrap_err();
        assert_eq!(error.kind(), Kind::WrongCredentials);
    }
    // Only the first 32 bytes count there, and here.
    let cut = Settings::read(
        "ENCRYPTION_KEY='a server secret that is longer t'\nENCRYPTION_SALT=short-salt000000",
    )
    .unwrap();
    assert_eq!(
        names(&read_database(&fixture("app.db"), &cut, Some("bob")).unwrap()),
        [("openai/work", "sk-manager-of-bob")]
    );
    assert_eq!(
        Settings::read("SECRET_KEY=x\nENCRYPTION_KEY=\n")
            .err()
            .unwrap()
            .kind(),
        Kind::InvalidInput
    );
}

#[test]
fn a_foreign_or_broken_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let refused = || read_database(&path, &settings(), None).unwrap_err();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE other (x)").unwrap();
    assert_eq!(refused().kind(), Kind::InvalidInput);
    // Views, which could compute anything, in place of tables.
    connection
        .execute_batch(
            "CREATE VIEW users AS SELECT 1 AS id, 'a' AS username;
             CREATE VIEW api_providers AS SELECT 1 AS id, 'a' AS name, 'a' AS display_name, '' AS base_url;
             CREATE VIEW user_api_keys AS SELECT 1 AS id, 1 AS user_id, 1 AS provider_id, 'k' AS key_name, 'x' AS api_key_encrypted,
                'm' AS model_id, 's' AS status, 'n' AS notes;",
        )
        .unwrap();
    assert_eq!(refused().kind(), Kind::InvalidInput);
    drop(connection);
    std::fs::write(&path, b"SQLite format 3\0 and then nothing of the kind").unwrap();
    assert!(read_database(&path, &settings(), None).is_err());
    // A token that was changed.
    std::fs::copy(fixture("v1.db"), &path).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("UPDATE user_api_keys SET api_key_encrypted = 'gAAAAA' || substr(api_key_encrypted, 7, 20) WHERE id = 2", [])
        .unwrap();
    assert_eq!(refused().kind(), Kind::WrongCredentials);
    std::fs::copy(fixture("v1.db"), &path).unwrap();
    assert_eq!(
        read_database(&path, &settings(), None).unwrap().keys.len(),
        5,
        "control"
    );
}

#[test]
fn a_list_gives_the_keys_that_have_a_secret_and_counts_the_others() {
    let file = std::fs::read(fixture("keys.json")).unwrap();
    assert_eq!(detect(&file).unwrap(), FileFormat::Manager);
    let parsed = parse(&file).unwrap();
    assert_eq!(
        names(&parsed),
        [
            ("openai/work", "sk-manager-openai-0001"),
            ("zhipu/zhi", "zhipu-manager-0004.abc")
        ]
    );
    assert_eq!(parsed.ignored, 1, "a preview is no secret");
    assert_eq!(
        parsed.keys[1].expires_at.as_deref(),
        Some("2027-03-01T12:30:00Z")
    );
    let rows = String::from_utf8(file).unwrap();
    for wrapped in [
        format!("{{\"keys\":{rows}}}"),
        format!("{{\"data\":{rows},\"total\":3}}"),
    ] {
        assert_eq!(parse(wrapped.as_bytes()).unwrap().keys.len(), 2);
    }
    for bad in [
        "[",
        "{}",
        "[1]",
        "[{\"api_key\":\"sk-canary\"}]",
        "\"sk-canary\"",
    ] {
        let error = parse(bad.as_bytes()).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let database = std::fs::read(fixture("app.db")).unwrap();
    assert_eq!(detect(&database).unwrap(), FileFormat::ManagerDatabase);
}
