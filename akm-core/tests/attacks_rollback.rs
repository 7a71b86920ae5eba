//! Older data put back, whole or in parts, and what is missing: cases A05, A06 and H10 of the attack programme.
//! Each control shows that the older data is genuine: without the tree and the anchor it would be believed.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use akm_core::host::Host;
use akm_core::protocol::{AccountPassphrase, AgentUnlock, KeyGet, Op, Unlocked, VaultNotice};
use akm_core::store::SqliteStore;
use akm_core::vault::announce_restore;
use akm_core::{Kind, Result};
use rusqlite::Connection;
use support::{Bench, PASSPHRASE, kind, secret};

const OLD: &str = "sk-old-aaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "sk-new-bbbbbbbbbbbbbbbbbbbbbbbb";

fn rotate(bench: &Bench, name: &str, value: &str) {
    bench
        .raw(
            Op::KeyRotate,
            &format!(r#"{{"name":"{name}","secret":"{value}"}}"#),
        )
        .unwrap();
}

fn unlock(bench: &Bench, passphrase: &str, accept_rollback: bool) -> Result<Unlocked> {
    bench.call(AgentUnlock {
        account: None,
        passphrase: secret(passphrase),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: Some(accept_rollback),
    })
}

/// The vault of a closed bench, complete in one file.
fn copy(bench: &Bench) -> Vec<u8> {
    assert!(!bench.home.path().join("vault.db-wal").exists(), "closed");
    std::fs::read(bench.vault()).unwrap()
}

/// Closes the vault and puts other bytes in its place.
fn put_back(bench: &mut Bench, bytes: &[u8]) {
    bench.close();
    std::fs::write(bench.vault(), bytes).unwrap();
}

/// A vault with a rotated key: the file before, and the file after.
fn rotated() -> (Bench, Vec<u8>, Vec<u8>) {
    let mut bench = Bench::initialized();
    bench.add("openai", OLD).unwrap();
    bench.add("anthropic", "sk-other").unwrap();
    bench.close();
    let before = copy(&bench);
    bench.reopen();
    bench.unlock().unwrap();
    rotate(&bench, "openai", NEW);
    bench.close();
    let after = copy(&bench);
    bench.reopen();
    (bench, before, after)
}

fn actions(bench: &Bench) -> Vec<String> {
    let events = bench.raw(Op::AuditList, "{}").unwrap();
    let events = events["events"].as_array().unwrap().iter();
    events
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a05_an_older_file_is_refused_until_its_owner_accepts_it() {
    let (mut bench, before, after) = rotated();
    assert_eq!(bench.unlock().unwrap().notice, None, "control");
    assert_eq!(bench.get("openai").unwrap(), NEW, "control");

    put_back(&mut bench, &before);
    bench.reopen();
    let refused = bench.unlock().unwrap_err();
    assert_eq!(refused.kind(), Kind::RolledBack);
    assert!(refused.hint().unwrap().contains("--accept-rollback"));
    assert_eq!(kind(bench.get("openai")), Kind::Locked, "no key comes out");
    assert_eq!(
        kind(unlock(&bench, "wrong", true)),
        Kind::WrongCredentials,
        "accepting needs the passphrase"
    );

    // The control: the older file is whole, and who accepts it gets the older secret. That is in the audit.
    let accepted = unlock(&bench, PASSPHRASE, true).unwrap();
    assert_eq!(accepted.notice, Some(VaultNotice::RollbackAccepted));
    assert_eq!(bench.get("openai").unwrap(), OLD);
    assert!(actions(&bench).contains(&"vault.rollback_accepted".to_owned()));
    bench.reopen();
    assert_eq!(bench.unlock().unwrap().notice, None, "once is enough");

    // From now on the file that was newer is the older one.
    put_back(&mut bench, &after);
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
}

#[test]
fn a05_without_an_anchor_the_first_file_is_taken_and_that_is_said() {
    let (mut bench, before, _) = rotated();
    put_back(&mut bench, &before);
    std::fs::remove_dir_all(bench.home.path().join("state/epoch")).unwrap();
    bench.reopen();
    let unlocked = bench.unlock().unwrap();
    assert_eq!(unlocked.notice, Some(VaultNotice::FirstUse));
    assert_eq!(bench.get("openai").unwrap(), OLD, "nothing else remembers");
    assert!(actions(&bench).contains(&"vault.first_use".to_owned()));
    bench.reopen();
    assert_eq!(bench.unlock().unwrap().notice, None, "seen now");
}

#[test]
fn a05_two_histories_of_one_vault_do_not_pass_for_one_another() {
    let (mut bench, before, after) = rotated();
    // The same vault goes on elsewhere: another state directory, another secret, as many changes.
    let state = bench.home.path().join("state");
    let elsewhere = bench.home.path().join("elsewhere");
    put_back(&mut bench, &before);
    std::fs::rename(&state, &elsewhere).unwrap();
    std::fs::create_dir(&state).unwrap();
    bench.reopen();
    bench.unlock().unwrap();
    rotate(&bench, "openai", "sk-fork");
    bench.close();
    let fork = copy(&bench);
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&elsewhere, &state).unwrap();

    put_back(&mut bench, &fork);
    bench.reopen();
    let refused = bench.unlock().unwrap_err();
    assert_eq!(refused.kind(), Kind::RolledBack);
    assert!(refused.message().contains("two histories"));
    put_back(&mut bench, &after);
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), NEW, "control");

    // Nor does a row of the other history, though it has the same version.
    put_rows(&mut bench, &fork, "keys");
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::RolledBack);
}

#[test]
fn a05_an_anchor_behind_the_vault_is_what_a_crash_leaves() {
    let (mut bench, _, _) = rotated();
    bench.unlock().unwrap();
    let epoch = bench.home.path().join("state/epoch");
    let anchor = std::fs::read_dir(&epoch)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let behind = std::fs::read(&anchor).unwrap();
    rotate(&bench, "openai", "sk-newest");
    assert_ne!(
        std::fs::read(&anchor).unwrap(),
        behind,
        "control: it moves with each change, before the answer"
    );
    bench.close();
    std::fs::write(&anchor, &behind).unwrap();
    bench.reopen();
    assert_eq!(bench.unlock().unwrap().notice, None);
    assert_eq!(bench.get("openai").unwrap(), "sk-newest");
    // Damage is another thing: it is refused, and can be accepted.
    bench.close();
    std::fs::write(&anchor, vec![7; 1024]).unwrap();
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::Corrupt);
    unlock(&bench, PASSPHRASE, true).unwrap();
    bench.reopen();
    bench.unlock().unwrap();
}

#[test]
fn a05_an_announced_restore_moves_the_epoch_on_by_itself_and_only_for_that_file() {
    let (mut bench, before, after) = rotated();
    put_back(&mut bench, &before);
    let host = Host::real();
    let store = SqliteStore::open(&bench.vault(), &*host.random, &*host.clock).unwrap();
    announce_restore(&bench.home.path().join("state"), &store).unwrap();
    drop(store);
    bench.reopen();
    let restored = bench.unlock().unwrap();
    assert_eq!(restored.notice, Some(VaultNotice::Restored));
    assert_eq!(bench.get("openai").unwrap(), OLD);
    assert!(actions(&bench).contains(&"vault.restored".to_owned()));
    rotate(&bench, "openai", "sk-after-the-restore");
    bench.close();
    for older in [&before, &after] {
        put_back(&mut bench, older);
        bench.reopen();
        assert_eq!(kind(bench.unlock()), Kind::RolledBack, "once, not for ever");
    }
}

#[test]
fn a05_after_a_restore_codes_are_void_and_the_passphrase_moves_on() {
    let mut bench = Bench::new();
    let codes = bench.register("default", false).recovery_codes;
    bench.close();
    let before = copy(&bench);
    bench.reopen();
    bench.unlock().unwrap();
    bench.add("openai", NEW).unwrap();
    put_back(&mut bench, &before);
    let recover = |bench: &Bench| {
        bench.raw(
            Op::AccountRecover,
            &format!(
                r#"{{"code":"{}","new_passphrase":"a new one"}}"#,
                codes[0].expose()
            ),
        )
    };
    bench.reopen();
    assert_eq!(kind(recover(&bench)), Kind::RolledBack, "control");
    bench.close();
    let host = Host::real();
    let store = SqliteStore::open(&bench.vault(), &*host.random, &*host.clock).unwrap();
    announce_restore(&bench.home.path().join("state"), &store).unwrap();
    drop(store);
    bench.reopen();
    // A code that was used since the backup would be good again, so none is.
    assert_eq!(kind(recover(&bench)), Kind::WrongCredentials);
    let restored = bench.unlock().unwrap();
    assert_eq!(restored.notice, Some(VaultNotice::Restored));
    bench.add("openai", NEW).unwrap();
    put_back(&mut bench, &before);
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
}

/// Replaces a table of the closed vault by what an older or other copy has.
fn put_rows(bench: &mut Bench, older: &[u8], table: &str) {
    bench.close();
    let path = bench.home.path().join("older.db");
    std::fs::write(&path, older).unwrap();
    let hand = bench.hand();
    hand.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    hand.execute("ATTACH ?1 AS older", [path.to_str().unwrap()])
        .unwrap();
    hand.execute_batch(&format!(
        "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM older.{table}"
    ))
    .unwrap();
    drop(hand);
    std::fs::remove_file(path).unwrap();
}

/// Asks for every key by name: the answers, with what was refused as its kind.
fn answers(bench: &Bench) -> Vec<std::result::Result<String, Kind>> {
    ["openai", "anthropic"]
        .map(|name| bench.get(name).map_err(|error| error.kind()))
        .to_vec()
}

#[test]
fn a06_a_row_put_back_is_refused_and_the_others_are_not() {
    let (mut bench, before, _) = rotated();
    bench.unlock().unwrap();
    let right = answers(&bench);
    assert_eq!(right, [Ok(NEW.to_owned()), Ok("sk-other".to_owned())]);
    put_rows(&mut bench, &before, "keys");
    bench.reopen();
    bench.unlock().unwrap();
    let mixed = answers(&bench);
    assert_eq!(mixed, [Err(Kind::RolledBack), Ok("sk-other".to_owned())]);
    for (op, body) in [
        (Op::KeyList, "{}"),
        (Op::KeyShow, r#"{"name":"openai"}"#),
        (Op::KeyRemove, r#"{"name":"openai"}"#),
        (Op::KeyRotate, r#"{"name":"openai","secret":"x"}"#),
        (Op::KeyUpdate, r#"{"name":"openai","status":"disabled"}"#),
    ] {
        let refused = bench.raw(op, body).unwrap_err();
        assert_eq!(refused.kind(), Kind::RolledBack, "{}", op.name());
    }
    // The control: the row is genuine. Whoever accepts it gets the older secret.
    bench.lock();
    let accepted = unlock(&bench, PASSPHRASE, true).unwrap();
    assert_eq!(accepted.notice, Some(VaultNotice::RollbackAccepted));
    assert_eq!(bench.get("openai").unwrap(), OLD);
    bench.lock();
    let again = unlock(&bench, PASSPHRASE, true).unwrap();
    assert_eq!(again.notice, None, "nothing is left to be accepted");
}

#[test]
fn a06_the_tree_put_back_with_its_row_is_refused() {
    let (mut bench, before, after) = rotated();
    put_rows(&mut bench, &before, "keys");
    put_rows(&mut bench, &before, "tree");
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::RolledBack);
    // With the account's own row as well it is all of the older state, which the anchor knows.
    put_rows(&mut bench, &before, "slots");
    put_rows(&mut bench, &before, "accounts");
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
    put_back(&mut bench, &after);
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), NEW, "control");
}

#[test]
fn a06_a_row_put_back_under_an_open_session_is_refused_at_once() {
    let (bench, before, _) = rotated();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), NEW, "control");
    let path = bench.home.path().join("older.db");
    std::fs::write(&path, &before).unwrap();
    let older = Connection::open(path).unwrap();
    let hand = bench.hand();
    let mut rows = older
        .prepare("SELECT meta, secret, meta_version, secret_version, id FROM keys")
        .unwrap();
    let mut rows = rows.query([]).unwrap();
    let mut put = 0;
    while let Some(row) = rows.next().unwrap() {
        let cell = |column| row.get::<_, rusqlite::types::Value>(column).unwrap();
        put += hand
            .execute(
                "UPDATE keys SET meta = ?1, secret = ?2, meta_version = ?3, secret_version = ?4 WHERE id = ?5",
                [cell(0), cell(1), cell(2), cell(3), cell(4)],
            )
            .unwrap();
    }
    assert_eq!(put, 2, "control: the hand reaches the file");
    // What was handed out just now is ready to be handed out again, and is the newest.
    assert_eq!(bench.get("openai").unwrap(), NEW);
    let shown = bench.raw(Op::KeyShow, r#"{"name":"openai"}"#);
    assert_eq!(kind(shown), Kind::RolledBack);
    // A change of the manifest underneath is noticed by the next change.
    let manifest: Vec<u8> = older
        .query_row("SELECT manifest FROM accounts", [], |row| row.get(0))
        .unwrap();
    hand.execute("UPDATE accounts SET manifest = ?1", [manifest])
        .unwrap();
    assert_eq!(kind(bench.add("groq", "x")), Kind::RolledBack);
}

#[test]
fn a06_a_removed_key_does_not_come_back() {
    let mut bench = Bench::initialized();
    bench.add("openai", OLD).unwrap();
    bench.close();
    let before = copy(&bench);
    bench.reopen();
    bench.unlock().unwrap();
    bench.raw(Op::KeyRemove, r#"{"name":"openai"}"#).unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::NotFound, "control");
    put_rows(&mut bench, &before, "keys");
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::RolledBack);
}

#[test]
fn a06_an_old_passphrase_does_not_come_back() {
    let mut bench = Bench::initialized();
    bench.close();
    let before = copy(&bench);
    bench.reopen();
    bench.unlock().unwrap();
    bench
        .call(AccountPassphrase {
            passphrase: secret(PASSPHRASE),
            new_passphrase: secret("another passphrase"),
        })
        .unwrap();
    put_rows(&mut bench, &before, "slots");
    bench.reopen();
    let refused = unlock(&bench, PASSPHRASE, false).unwrap_err();
    assert_eq!(refused.kind(), Kind::RolledBack);
    // Nor does an older name of the account, or an older state.
    for statement in [
        "UPDATE accounts SET name = 'root'",
        "UPDATE accounts SET profile = zeroblob(400)",
    ] {
        let mut bench = Bench::initialized();
        bench.close();
        bench.hand().execute(statement, []).unwrap();
        bench.reopen();
        let unlocked = match statement.contains("root") {
            true => bench.sign_in(Some("root"), PASSPHRASE, None),
            false => bench.unlock(),
        };
        assert!(
            matches!(kind(unlocked), Kind::RolledBack | Kind::UnsupportedVersion),
            "{statement}"
        );
    }
    // The control: the slot is genuine; who knows its passphrase can accept it.
    unlock(&bench, PASSPHRASE, true).unwrap();
}

#[test]
fn a06_old_versions_are_all_there_or_refused() {
    let (mut bench, before, _) = rotated();
    bench.unlock().unwrap();
    let old = |bench: &Bench| {
        bench.call(KeyGet {
            name: "openai".into(),
            version: Some(1),
        })
    };
    assert_eq!(old(&bench).unwrap().secret.expose(), OLD, "control");
    put_rows(&mut bench, &before, "history");
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(kind(old(&bench)), Kind::RolledBack);
    let listed = bench.raw(Op::KeyHistory, r#"{"name":"openai"}"#);
    assert_eq!(kind(listed), Kind::RolledBack);
    assert_eq!(bench.get("openai").unwrap(), NEW, "the newest is untouched");
}

/// Runs the background check to its end, as the agent does.
fn checked(bench: &Bench) -> Option<bool> {
    let before = bench.raw(Op::AgentStatus, "{}").unwrap();
    assert!(before.get("damaged").is_none(), "not known yet");
    let mut slices = 0;
    while bench.service().check_pending() {
        bench.service().check_some();
        slices += 1;
    }
    assert!(slices > 2, "control: it goes by slices");
    bench.raw(Op::AgentStatus, "{}").unwrap()["damaged"].as_bool()
}

/// All pages of `vault.check`: what was looked at, missing, foreign and stale.
fn all_pages(bench: &Bench) -> (u64, [usize; 3]) {
    let (mut seen, mut found, mut body) = (0, [0; 3], "{}".to_owned());
    loop {
        let page = bench.raw(Op::VaultCheck, &body).unwrap();
        seen += page["checked"].as_u64().unwrap();
        for (count, list) in found.iter_mut().zip(["missing", "foreign", "stale"]) {
            *count += page[list].as_array().unwrap().len();
        }
        match page["next"].as_str() {
            Some(next) => body = format!(r#"{{"after":"{next}"}}"#),
            None => return (seen, found),
        }
    }
}

#[test]
fn a06_a_deleted_row_is_found_by_the_check_of_all_rows() {
    const KEYS: u64 = 1500;
    let mut bench = Bench::initialized();
    bench.close();
    let vault = bench.bare_vault();
    let account = vault
        .sign_in(&akm_core::vault::SignIn {
            account: "default",
            passphrase: &secret(PASSPHRASE),
            totp: None,
            accept_rollback: false,
            device: None,
            origin: akm_core::vault::Origin::Owner,
        })
        .unwrap();
    let keys: Vec<_> = (0..KEYS)
        .map(|number| akm_core::vault::NewKey {
            name: akm_core::name::KeyName::parse(&format!("openai/k{number}"), "name").unwrap(),
            secret: secret(OLD),
            model: None,
            categories: Vec::new(),
            notes: None,
            expires_at: None,
            env: None,
            use_only: false,
            confirm: false,
            base_url: None,
            low_balance: None,
            team: None,
            lifetime_s: None,
            destinations: akm_core::provider::Destinations::of(None, None).encode(),
        })
        .collect();
    vault
        .add_keys(&account, &keys, None, &mut |_| Ok(()))
        .unwrap();
    drop((account, vault));
    let whole = copy(&bench);
    let open = |bench: &mut Bench| {
        bench.reopen();
        bench.unlock().unwrap();
    };
    open(&mut bench);
    assert_eq!(checked(&bench), Some(false), "control");
    assert_eq!(all_pages(&bench), (KEYS, [0, 0, 0]), "control");

    // One row deleted, one copied under another id, one with another row's blobs.
    bench.close();
    let hand = bench.hand();
    let statements = [
        "DELETE FROM keys WHERE id = (SELECT id FROM keys ORDER BY id LIMIT 1 OFFSET 700)",
        "INSERT INTO keys SELECT account, randomblob(16), randomblob(32), provider_tag, status, secret_version,
         meta_version, last_used_at, wrapped_key, meta, secret FROM keys LIMIT 1",
        "UPDATE keys SET secret = (SELECT secret FROM keys ORDER BY id LIMIT 1 OFFSET 3)
         WHERE id = (SELECT id FROM keys ORDER BY id LIMIT 1 OFFSET 1300)",
    ];
    for statement in statements {
        assert_eq!(hand.execute(statement, []).unwrap(), 1);
    }
    drop(hand);
    open(&mut bench);
    assert_eq!(checked(&bench), Some(true));
    assert_eq!(all_pages(&bench), (KEYS, [1, 1, 1]));
    let noted = bench.raw(Op::AuditList, "{}").unwrap();
    let noted = noted["events"].as_array().unwrap();
    let noted = noted
        .iter()
        .filter(|event| event["action"] == "vault.check");
    let outcomes: Vec<_> = noted.map(|event| event["outcome"].clone()).collect();
    assert_eq!(outcomes, ["rolled_back"], "said once");

    // All rows gone, and the record of them gone.
    for (table, found) in [("keys", Some(())), ("tree", None)] {
        put_back(&mut bench, &whole);
        bench
            .hand()
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; DELETE FROM {table}"))
            .unwrap();
        open(&mut bench);
        let page = bench.raw(Op::VaultCheck, "{}").unwrap();
        assert_eq!(page["ok"], false, "{table}");
        match found {
            // Each page names a hundred of them.
            Some(()) => assert!(all_pages(&bench).1[0] >= 100),
            None => assert_eq!(page["broken"], true),
        }
    }
    // The owner goes on with what is left.
    bench.lock();
    let accepted = unlock(&bench, PASSPHRASE, true).unwrap();
    assert_eq!(accepted.notice, Some(VaultNotice::RollbackAccepted));
    assert_eq!(all_pages(&bench), (KEYS, [0, 0, 0]));
    assert_eq!(bench.get("openai/k77").unwrap(), OLD);
}

/// A copy of the file alone, taken while the vault is open, lacks what its log holds.
#[test]
fn h10_a_copy_of_a_live_file_without_its_log_is_not_taken_for_the_vault() {
    let mut bench = Bench::initialized();
    bench.add("openai", OLD).unwrap();
    bench.service().checkpoint().unwrap();
    let mut copies = Vec::new();
    for round in 0..20 {
        rotate(&bench, "openai", &format!("{NEW}{round}"));
        if round % 4 == 0 {
            bench.add(&format!("openai/{round}"), "x").unwrap();
        }
        copies.push(std::fs::read(bench.vault()).unwrap());
        if round == 9 {
            // In the middle of writing back: pages of two moments in one file.
            bench.service().checkpoint().unwrap();
            let (old, new) = (&copies[8], std::fs::read(bench.vault()).unwrap());
            let half = old.len().min(new.len()) / 2 / 4096 * 4096;
            copies.push([&new[..half], &old[half..]].concat());
        }
    }
    bench.close();
    let whole = copy(&bench);
    for bytes in &copies {
        put_back(&mut bench, bytes);
        let _ = std::fs::remove_file(bench.home.path().join("vault.db-wal"));
        let refused = bench.open().and_then(|service| {
            let unlock = AgentUnlock {
                account: None,
                passphrase: secret(PASSPHRASE),
                totp: None,
                keyfile: None,
                lifetime_s: None,
                accept_rollback: None,
            };
            service.call(&support::me(), unlock.into())
        });
        assert!(
            matches!(kind(refused), Kind::RolledBack | Kind::Corrupt),
            "a copy was taken for the vault"
        );
    }
    put_back(&mut bench, &whole);
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), format!("{NEW}19"), "control");
}

#[test]
fn nobody_is_refused_because_a_change_is_under_way() {
    let bench = Bench::initialized();
    for number in 0..30 {
        bench.add(&format!("openai/k{number}"), "x").unwrap();
    }
    let (stop, gets) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (bench, stop, gets) = (&bench, &stop, &gets);
            scope.spawn(move || {
                let mut number = reader;
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("openai/k{}", number % 6);
                    bench.get(&name).expect("a key that is being rotated");
                    if number % 8 == 0 {
                        bench
                            .raw(Op::KeyList, "{}")
                            .expect("keys that are being rotated");
                    }
                    gets.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let bench = &bench;
                scope.spawn(move || {
                    for round in 0..60 {
                        let name = format!("openai/k{}", writer * 3 + round % 3);
                        rotate(bench, &name, &format!("value-{round}"));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(gets.load(Ordering::Relaxed) > 100, "control");
}

#[test]
fn sessions_of_one_account_share_its_changes() {
    let bench = Bench::initialized();
    let other = || akm_core::audit::Caller {
        uid: 4242,
        ..support::me()
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
    for number in 0..30 {
        let name = format!("openai/k{number}");
        let caller = if number % 2 == 0 {
            support::me()
        } else {
            other()
        };
        bench.call_as(caller, support::new_key(&name, "x")).unwrap();
        for caller in [support::me(), other()] {
            let get = KeyGet {
                name: name.clone(),
                version: None,
            };
            bench.call_as(caller, get).unwrap();
        }
    }
    assert!(Path::new(&bench.vault()).exists());
}
