//! New root key, vault key and record keys: nothing is lost, nothing old opens anything, and wherever it is cut off the
//! account opens as one.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod before;
mod midst;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use akm_core::protocol::{
    AuditList, AuditVerify, KeyGet, KeyHistory, KeyList, KeyRotate, KeyUpdate, ProviderAdd,
    ProviderShow, VaultCheck, VaultRekey, VaultRekeyed,
};
use akm_core::{Kind, Result};
use support::{Bench, PASSPHRASE, kind, secret, totp_code, with_totp};

fn begin(bench: &Bench, limit: Option<u32>) -> Result<VaultRekeyed> {
    bench.call(VaultRekey {
        passphrase: Some(secret(PASSPHRASE)),
        totp: None,
        limit,
    })
}

fn go_on(bench: &Bench, limit: Option<u32>) -> Result<VaultRekeyed> {
    bench.call(VaultRekey {
        limit,
        ..VaultRekey::default()
    })
}

/// A vault with keys of two providers, old versions, an own provider.
fn furnished(keys: usize) -> Bench {
    let bench = Bench::initialized();
    furnish(&bench, keys);
    bench
}

fn name(index: usize) -> String {
    let provider = ["openai", "groq"][index % 2];
    format!("{provider}/key-{index}")
}

fn furnish(bench: &Bench, keys: usize) {
    for index in 0..keys {
        let name = name(index);
        bench.add(&name, &format!("sk-first-{index}")).unwrap();
        if index % 3 == 0 {
            rotate(bench, &name, &format!("sk-second-{index}")).unwrap();
        }
    }
    let record = r#"{"record":{"id":"mine","display_name":"Mine","display_name_zh":"Mine","status":"active",
        "kind":"gateway","auth":{"style":"bearer"},"env":{"primary":"MINE_API_KEY"},"verified":false,
        "test":{"method":"GET","url":"https://gw.example.com/v1/models","proves_key":false,"cost":"none",
        "verified":false}}}"#;
    let request: ProviderAdd = serde_json::from_str(record).unwrap();
    bench.call(request).unwrap();
}

fn rotate(bench: &Bench, name: &str, value: &str) -> Result<()> {
    let request = KeyRotate {
        name: name.into(),
        secret: secret(value),
    };
    bench.call(request).map(drop)
}

fn rename(bench: &Bench, name: &str, new_name: &str) -> Result<()> {
    let json = serde_json::json!({"name": name, "new_name": new_name});
    let request: KeyUpdate = serde_json::from_value(json).unwrap();
    bench.call(request).map(drop)
}

fn listed(bench: &Bench, provider: Option<&str>) -> BTreeSet<String> {
    let request = KeyList {
        provider: provider.map(str::to_owned),
        limit: Some(1000),
        ..KeyList::default()
    };
    let keys = bench.call(request).unwrap().keys;
    keys.into_iter().map(|key| key.name).collect()
}

/// Everything of [`furnish`] is there, and sound.
fn assert_whole(bench: &Bench, keys: usize) {
    for index in 0..keys {
        let name = name(index);
        let rotated = index % 3 == 0;
        let now = if rotated { "second" } else { "first" };
        assert_eq!(bench.get(&name).unwrap(), format!("sk-{now}-{index}"));
        if rotated {
            let old = KeyGet {
                name: name.clone(),
                version: Some(1),
            };
            let old = bench.call(old).unwrap().secret;
            assert_eq!(old.expose(), format!("sk-first-{index}"));
            let history = bench.call(KeyHistory { name }).unwrap();
            assert_eq!(history.versions.len(), 2);
        }
    }
    assert_eq!(listed(bench, None), (0..keys).map(name).collect());
    let groq = (0..keys).filter(|index| index % 2 == 1).map(name);
    assert_eq!(listed(bench, Some("groq")), groq.collect());
    let mine = ProviderShow {
        name: "mine".into(),
    };
    assert!(bench.call(mine).unwrap().own);
    let check = bench.call(VaultCheck::default()).unwrap();
    assert!(check.ok && check.total == keys as u64, "{check:?}");
    assert!(bench.call(AuditVerify::default()).unwrap().ok);
}

/// Every blob of the account that a key of it seals, by table.
fn blobs(bench: &Bench) -> BTreeSet<Vec<u8>> {
    let hand = bench.hand();
    let mut found = BTreeSet::new();
    for statement in [
        "SELECT keys, profile, manifest FROM accounts",
        "SELECT commitment, kdf, wrapped FROM slots",
        "SELECT tag, provider_tag, wrapped_key, meta, secret FROM keys",
        "SELECT meta, secret FROM history",
        "SELECT tag, record FROM providers",
    ] {
        let mut statement = hand.prepare(statement).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                found.insert(row.get::<_, Vec<u8>>(column).unwrap());
            }
        }
    }
    found
}

fn under_way(bench: &Bench) -> bool {
    bench
        .hand()
        .query_row("SELECT key_before IS NOT NULL FROM accounts", [], |row| {
            row.get(0)
        })
        .unwrap()
}

fn actions(bench: &Bench) -> Vec<String> {
    let page = bench.call(AuditList::default()).unwrap();
    page.events.into_iter().map(|event| event.action).collect()
}

#[test]
fn a_rekey_replaces_everything_that_is_sealed_and_loses_nothing() {
    let mut bench = furnished(30);
    bench.clock.advance(std::time::Duration::from_secs(5));
    let before = blobs(&bench);
    assert_eq!(blobs(&bench), before, "control: nothing changes by itself");
    let done = begin(&bench, None).unwrap();
    assert!(done.done && (done.rekeyed, done.total) == (30, 30));
    assert_eq!(done.recovery_codes.len(), 8);
    assert!(!under_way(&bench));
    let after = blobs(&bench);
    assert_eq!(after.len(), before.len());
    assert_eq!(after.intersection(&before).count(), 0);
    // Nor does anything of before rest in the file or its log.
    bench.service().fold().unwrap();
    bench.service().checkpoint().unwrap();
    let mut raw = std::fs::read(bench.vault()).unwrap();
    raw.extend(std::fs::read(bench.home.path().join("vault.db-wal")).unwrap_or_default());
    let rests = |blob: &[u8]| raw.windows(24).any(|window| window == &blob[..24]);
    for blob in before.iter().filter(|blob| blob.len() >= 32).step_by(7) {
        assert!(!rests(blob));
    }
    assert!(
        after
            .iter()
            .filter(|blob| blob.len() >= 32)
            .any(|blob| rests(blob)),
        "control: what is there is found"
    );
    assert_whole(&bench, 30);
    bench.reopen();
    bench.unlock().unwrap();
    assert_whole(&bench, 30);
    let actions = actions(&bench);
    for action in ["vault.rekey", "vault.rekeyed"] {
        assert_eq!(actions.iter().filter(|one| *one == action).count(), 1);
    }
}

#[test]
fn a_rekey_asks_for_passphrase_and_code_and_counts_both() {
    let (bench, base32) = with_totp();
    bench.add("openai", "sk-one").unwrap();
    let before = blobs(&bench);
    let ask = |passphrase: &str, totp: Option<&str>| {
        bench.call(VaultRekey {
            passphrase: Some(secret(passphrase)),
            totp: totp.map(secret),
            limit: None,
        })
    };
    // The code of the confirmation is used up.
    let used = totp_code(&base32, bench.clock.unix_s());
    assert_eq!(kind(ask(PASSPHRASE, None)), Kind::WrongCredentials);
    assert_eq!(kind(ask(PASSPHRASE, Some(&used))), Kind::WrongCredentials);
    bench.clock.advance(std::time::Duration::from_secs(30));
    let code = totp_code(&base32, bench.clock.unix_s());
    assert_eq!(
        kind(ask("not the passphrase", Some(&code))),
        Kind::WrongCredentials
    );
    assert_eq!(blobs(&bench), before);
    assert!(ask(PASSPHRASE, Some(&code)).unwrap().done);
    assert_eq!(
        kind(ask(PASSPHRASE, Some(&code))),
        Kind::WrongCredentials,
        "one use"
    );
    for _ in 0..8 {
        let _ = ask("not the passphrase", None);
    }
    assert_eq!(kind(ask(PASSPHRASE, None)), Kind::RateLimited);
    bench.lock();
    bench.clock.advance(std::time::Duration::from_secs(1000));
    let code = totp_code(&base32, bench.clock.unix_s());
    bench.sign_in(None, PASSPHRASE, Some(&code)).unwrap();
    assert_eq!(bench.get("openai").unwrap(), "sk-one");
}

#[test]
fn nothing_begins_over_a_vault_with_something_in_it_that_does_not_open() {
    for damage in [
        "UPDATE keys SET secret = CAST(substr(secret, 1, length(secret) - 1)
            || CASE substr(secret, -1) WHEN x'00' THEN x'01' ELSE x'00' END AS BLOB) WHERE rowid = 2",
        "UPDATE history SET secret = meta",
        "UPDATE keys SET wrapped_key = (SELECT wrapped_key FROM keys WHERE rowid = 3) WHERE rowid = 2",
        "UPDATE keys SET tag = zeroblob(32) WHERE rowid = 2",
        "DELETE FROM keys WHERE rowid = 2",
    ] {
        let bench = furnished(6);
        bench.hand().execute(damage, []).unwrap();
        let before = blobs(&bench);
        let refused = kind(begin(&bench, None));
        assert!(
            matches!(refused, Kind::Corrupt | Kind::RolledBack),
            "{damage}"
        );
        assert_eq!(blobs(&bench), before, "{damage}");
        assert!(!under_way(&bench));
    }
}
