//! New root key, vault key and record keys: nothing is lost, nothing old opens anything, and wherever it is cut off the
//! account opens as one.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountRecover, AgentStatus, AgentUnlock, AuditList, AuditVerify, BackupCreate, BackupRestore,
    BackupVerify, KeyGet, KeyHistory, KeyList, KeyRemove, KeyRotate, KeyStatus, KeyUpdate,
    KeyfileEnable, KeyfileShow, ProviderAdd, ProviderShow, TotpCodes, VaultCheck, VaultImport,
    VaultRekey, VaultRekeyed, Verified,
};
use akm_core::{Kind, Result};
use rusqlite::types::Value;
use support::{Bench, PASSPHRASE, kind, me, new_key, secret, totp_code, with_totp};

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

/// A copy of the files beside them, as a thief takes it.
fn copy(bench: &mut Bench, name: &str) -> PathBuf {
    bench.close();
    let copy = bench.home.path().join(name);
    std::fs::copy(bench.vault(), &copy).unwrap();
    bench.reopen();
    copy
}

/// Puts the ways in and the keys of an old copy into the vault, by hand.
fn transplant(bench: &mut Bench, copy: &std::path::Path) {
    bench.close();
    let hand = bench.hand();
    hand.execute("ATTACH ?1 AS old", [copy.to_str().unwrap()])
        .unwrap();
    hand.execute_batch(
        "DELETE FROM slots; INSERT INTO slots SELECT * FROM old.slots;
         UPDATE accounts SET (keys, profile, profile_version, key_before)
             = (SELECT keys, profile, profile_version, key_before FROM old.accounts);
         DETACH old;",
    )
    .unwrap();
    hand.close().unwrap();
    bench.reopen();
}

fn unlock_accepting(bench: &Bench) -> Result<()> {
    let request = AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: Some(true),
    };
    bench.call(request).map(drop)
}

#[test]
fn with_an_old_copy_and_its_passphrase_a_vault_of_after_a_rekey_does_not_open() {
    let mut bench = furnished(4);
    let old = copy(&mut bench, "old");
    bench.unlock().unwrap();
    bench
        .call(TotpCodes {
            passphrase: secret(PASSPHRASE),
        })
        .unwrap();
    bench.add("openai/later", "sk-later").unwrap();
    // Control: what a rekey is for. The root key of the old copy opens what came later.
    transplant(&mut bench, &old);
    unlock_accepting(&bench).unwrap();
    assert_eq!(bench.get("openai/later").unwrap(), "sk-later");

    // In the midst of a rekey what it has come to is out of reach, at its end everything.
    begin(&bench, Some(2)).unwrap();
    for (finished, most) in [(false, 3), (true, 0)] {
        assert_eq!(
            under_way(&bench),
            !finished,
            "an unlock ends what was under way"
        );
        let sound = copy(&mut bench, "sound");
        transplant(&mut bench, &old);
        let refused = kind(bench.unlock());
        assert_eq!(refused, Kind::Corrupt, "the manifest is another key's");
        unlock_accepting(&bench).unwrap();
        let opened = (0..4).filter(|index| bench.get(&name(*index)).is_ok());
        let later = usize::from(bench.get("openai/later").is_ok());
        assert!(opened.count() + later <= most);
        bench.close();
        std::fs::copy(&sound, bench.vault()).unwrap();
        // The thief has no state directory of this machine's.
        std::fs::remove_dir_all(bench.home.path().join("state/epoch")).unwrap();
        bench.reopen();
        bench.unlock().unwrap();
    }
    assert_eq!(bench.get("openai/later").unwrap(), "sk-later", "control");
}

#[test]
fn between_two_slices_everything_works_as_before_and_after() {
    let bench = furnished(24);
    begin(&bench, Some(10)).unwrap();
    assert!(under_way(&bench));
    let status = bench.call(AgentStatus {}).unwrap().rekey.unwrap();
    assert_eq!((status.done, status.total), (10, 24));
    assert_whole(&bench, 24);

    // Names stay unique, whichever key a record is under.
    for index in 0..24 {
        assert_eq!(kind(bench.add(&name(index), "sk-x")), Kind::Conflict);
        let error = rename(&bench, &name((index + 2) % 24), &name(index)).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::Conflict, Some("new_name"))
        );
    }
    assert_whole(&bench, 24);
    // Every record changes, is renamed and back again, and some go and come.
    for index in 0..24 {
        let name = name(index);
        rename(&bench, &name, &format!("{name}-x")).unwrap();
        assert_eq!(kind(bench.get(&name)), Kind::NotFound);
        rename(&bench, &format!("{name}-x"), &name).unwrap();
    }
    bench.call(KeyRemove { name: name(1) }).unwrap();
    bench.add(&name(1), "sk-first-1").unwrap();
    let disabled = serde_json::json!({"name": name(5), "status": KeyStatus::Disabled});
    let request: KeyUpdate = serde_json::from_value(disabled).unwrap();
    bench.call(request).unwrap();
    assert_eq!(kind(bench.get(&name(5))), Kind::Denied);
    let active = serde_json::json!({"name": name(5), "status": KeyStatus::Active});
    let request: KeyUpdate = serde_json::from_value(active).unwrap();
    bench.call(request).unwrap();
    assert_whole(&bench, 24);
    while !go_on(&bench, Some(3)).unwrap().done {
        assert_whole(&bench, 24);
    }
    assert!(!under_way(&bench));
    assert_whole(&bench, 24);
    assert_eq!(kind(go_on(&bench, None)), Kind::InvalidInput);
}

#[test]
fn an_interrupted_rekey_goes_on_at_the_next_unlock_by_a_call_and_in_the_background() {
    let mut bench = furnished(12);
    // At the next unlock.
    begin(&bench, Some(1)).unwrap();
    bench.reopen();
    assert!(under_way(&bench));
    bench.unlock().unwrap();
    assert!(!under_way(&bench));
    assert_whole(&bench, 12);
    // By a call; with the passphrase again no second one begins.
    let codes = begin(&bench, Some(1)).unwrap().recovery_codes;
    let again = begin(&bench, Some(1)).unwrap();
    assert!(!again.done && again.recovery_codes.is_empty() && again.rekeyed == 2);
    assert!(go_on(&bench, None).unwrap().done);
    // In the background.
    begin(&bench, Some(1)).unwrap();
    let mut looks = 0;
    while bench.service().check_pending() {
        bench.service().check_some();
        looks += 1;
        assert!(looks < 100, "it ends");
    }
    assert!(!under_way(&bench));
    assert_whole(&bench, 12);
    bench.lock();
    let recover = AccountRecover {
        account: None,
        code: secret(codes[0].expose()),
        new_passphrase: secret("another"),
    };
    assert_eq!(
        kind(bench.call(recover)),
        Kind::WrongCredentials,
        "those were replaced as well"
    );
}

#[test]
fn codes_of_before_are_void_at_once_and_one_of_after_recovers_in_the_midst_of_it() {
    let bench = Bench::new();
    let old = bench.register("default", false).recovery_codes;
    furnish(&bench, 6);
    let new = begin(&bench, Some(1)).unwrap().recovery_codes;
    bench.lock();
    let recover = |code: &akm_core::Secret| {
        bench.call(AccountRecover {
            account: None,
            code: secret(code.expose()),
            new_passphrase: secret("another one"),
        })
    };
    assert_eq!(kind(recover(&old[0])), Kind::WrongCredentials);
    assert_eq!(recover(&new[0]).unwrap().codes_left, 7);
    assert_whole(&bench, 6);
    assert!(!under_way(&bench), "a recovery is an unlock as well");
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
fn other_sessions_end_and_what_was_on_its_way_in_does_not_come() {
    let bench = furnished(3);
    let other = || Caller {
        uid: me().uid + 1,
        ..me()
    };
    let unlock = AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    bench.call_as(other(), unlock).unwrap();
    let import = |id: Option<String>, name: &str, finish: bool| {
        let json = serde_json::json!({"import": id, "keys": [{"name": name, "secret": "sk-new"}], "finish": finish});
        serde_json::from_value::<VaultImport>(json).unwrap()
    };
    let half = bench.call(import(None, "openai/half", false)).unwrap();
    begin(&bench, None).unwrap();
    let get = KeyGet {
        name: name(0),
        version: None,
    };
    assert_eq!(kind(bench.call_as(other(), get)), Kind::Locked);
    let rest = bench.call(import(half.import, "openai/rest", true));
    assert_eq!(kind(rest), Kind::NotFound);
    assert_whole(&bench, 3);
    // Control: without a rekey between, it comes.
    let half = bench.call(import(None, "openai/half", false)).unwrap();
    bench
        .call(import(half.import, "openai/rest", true))
        .unwrap();
    assert_eq!(bench.get("openai/half").unwrap(), "sk-new");
}

#[test]
fn what_is_put_back_amid_a_rekey_is_refused() {
    let mut bench = furnished(6);
    let old = copy(&mut bench, "before");
    bench.unlock().unwrap();
    begin(&bench, Some(1)).unwrap();
    let amid = copy(&mut bench, "amid");
    // A row of before, which the key that is still there would open.
    rotate_after_unlock(&mut bench, &old);
    // The mark that a rekey is under way, taken away.
    bench.close();
    std::fs::copy(&amid, bench.vault()).unwrap();
    let hand = bench.hand();
    hand.execute("UPDATE accounts SET key_before = NULL", [])
        .unwrap();
    hand.close().unwrap();
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
    // The whole file of before.
    bench.close();
    std::fs::copy(&old, bench.vault()).unwrap();
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
}

/// With a rekey under way, one record is rotated; its row of before, put back, is refused.
fn rotate_after_unlock(bench: &mut Bench, old: &std::path::Path) {
    // Not to its end at the unlock: something does not open any more, and everything else does.
    bench.close();
    let hand = bench.hand();
    hand.execute("ATTACH ?1 AS old", [old.to_str().unwrap()])
        .unwrap();
    let stale: Vec<u8> = hand
        .query_row(
            "SELECT k.id FROM keys k JOIN old.keys o ON o.id = k.id WHERE o.meta <> k.meta",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let row: Vec<Value> = hand
        .query_row(
            "SELECT wrapped_key, meta, secret, meta_version, tag, provider_tag FROM old.keys WHERE id = ?1",
            [&stale],
            |row| (0..6).map(|at| row.get(at)).collect(),
        )
        .unwrap();
    hand.execute(
        "UPDATE keys SET wrapped_key = ?2, meta = ?3, secret = ?4, meta_version = ?5, tag = ?6, provider_tag = ?7
         WHERE id = ?1",
        rusqlite::params![stale, row[0], row[1], row[2], row[3], row[4], row[5]],
    )
    .unwrap();
    hand.close().unwrap();
    bench.reopen();
    bench.unlock().unwrap();
    assert!(
        under_way(bench),
        "it cannot end over a row that was put back"
    );
    assert_eq!(kind(go_on(bench, None)), Kind::RolledBack);
    let refused: Vec<Kind> = (0..6)
        .filter_map(|index| bench.get(&name(index)).err())
        .map(|error| error.kind())
        .collect();
    assert_eq!(refused, [Kind::RolledBack]);
}

#[test]
fn nothing_begins_over_a_vault_with_something_in_it_that_does_not_open() {
    for damage in [
        "UPDATE keys SET secret = CAST(substr(secret, 1, length(secret) - 1) || x'00' AS BLOB) WHERE rowid = 2",
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

#[test]
fn backups_of_before_amid_and_after_a_rekey_verify_and_open() {
    let mut bench = furnished(8);
    let backup = |bench: &Bench| {
        bench.clock.advance(std::time::Duration::from_secs(60));
        bench.call(BackupCreate::default()).unwrap().backup.name
    };
    let verified = |bench: &Bench, name: &String| {
        bench
            .call(BackupVerify { name: name.clone() })
            .unwrap()
            .verified
    };
    let before = backup(&bench);
    assert_eq!(verified(&bench, &before), Verified::Decrypted);
    begin(&bench, Some(3)).unwrap();
    let amid = backup(&bench);
    assert_eq!(verified(&bench, &amid), Verified::Decrypted);
    go_on(&bench, None).unwrap();
    let after = backup(&bench);
    assert_eq!(verified(&bench, &after), Verified::Decrypted);
    assert_eq!(
        verified(&bench, &amid),
        Verified::Decrypted,
        "the same vault key"
    );
    assert_eq!(verified(&bench, &before), Verified::Structure, "other keys");
    for name in [amid, before, after] {
        let request = BackupRestore {
            name: name.clone(),
            account: None,
            passphrase: secret(PASSPHRASE),
            keyfile: None,
            replace: Some(true),
        };
        bench.call(request).unwrap();
        bench.unlock().unwrap();
        assert_whole(&bench, 8);
        assert!(!under_way(&bench), "{name}: one that was under way goes on");
        bench.reopen();
        bench.unlock().unwrap();
        assert_whole(&bench, 8);
    }
}

#[test]
fn a_keyfile_stays_needed_after_a_rekey() {
    let mut bench = furnished(2);
    bench
        .call(KeyfileEnable {
            passphrase: secret(PASSPHRASE),
            keyfile: None,
        })
        .unwrap();
    assert!(begin(&bench, None).unwrap().done);
    let shown = bench.call(KeyfileShow {}).unwrap();
    assert!(shown.enabled);
    bench.reopen();
    bench.unlock().unwrap();
    assert_whole(&bench, 2);
    bench.reopen();
    std::fs::remove_file(shown.path.unwrap()).unwrap();
    assert_eq!(bench.unlock().unwrap_err().field(), Some("keyfile"));
}

#[test]
fn changes_from_all_sides_while_a_rekey_runs_are_neither_lost_nor_doubled() {
    let bench = furnished(60);
    begin(&bench, Some(1)).unwrap();
    std::thread::scope(|scope| {
        let bench = &bench;
        let rekey = scope.spawn(move || while !go_on(bench, Some(1)).unwrap().done {});
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    for round in 0..20 {
                        let new = format!("openai/w{writer}-{round}");
                        bench.call(new_key(&new, "sk-new")).unwrap();
                        let old = name(writer * 20 + round);
                        // A record that got its new key in this very moment is a conflict, told as such.
                        while let Err(error) = rotate(bench, &old, &format!("sk-rotated-{old}")) {
                            assert_eq!(error.kind(), Kind::Conflict);
                        }
                    }
                })
            })
            .collect();
        let reader = scope.spawn(move || {
            for round in 0..300 {
                bench.get(&name(round % 60)).unwrap();
                if round % 20 == 0 {
                    assert!(listed(bench, Some("groq")).len() >= 30);
                }
            }
        });
        for thread in writers {
            thread.join().unwrap();
        }
        reader.join().unwrap();
        rekey.join().unwrap();
    });
    assert_eq!(listed(&bench, None).len(), 120);
    for index in 0..60 {
        let name = name(index);
        assert_eq!(bench.get(&name).unwrap(), format!("sk-rotated-{name}"));
    }
    assert!(bench.call(VaultCheck::default()).unwrap().ok);
}
