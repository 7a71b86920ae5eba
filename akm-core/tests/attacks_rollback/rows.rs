//! Older rows in the newest file, and rows that are gone: refused by the tree, and nobody else with them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountPassphrase, AccountRegister, AccountRemove, AgentStatus, AgentUnlock, KeyGet, Op,
    VaultNotice,
};
use akm_core::service::{Hosting, Registration};
use rusqlite::Connection;

use super::support::{Bench, PASSPHRASE, kind, me, new_key, secret};
use super::{NEW, OLD, copy, put_back, put_rows, rotate, rotated, unlock};

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
    let other = || akm_core::audit::Caller { uid: 4242, ..me() };
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
        let caller = if number % 2 == 0 { me() } else { other() };
        bench.call_as(caller, new_key(&name, "x")).unwrap();
        for caller in [me(), other()] {
            let get = KeyGet {
                name: name.clone(),
                version: None,
            };
            bench.call_as(caller, get).unwrap();
        }
    }
    assert!(Path::new(&bench.vault()).exists());
}

/// Deletes accounts by hand, with everything of theirs.
fn delete(bench: &Bench, names: &str) {
    bench
        .hand()
        .execute_batch(&format!(
            "PRAGMA foreign_keys = OFF;
             DELETE FROM slots WHERE account IN (SELECT id FROM accounts WHERE {names});
             DELETE FROM accounts WHERE {names}"
        ))
        .unwrap();
}

fn status(bench: &Bench) -> (bool, Option<u64>) {
    let status = bench.call(AgentStatus {}).unwrap();
    (status.initialized, status.missing_accounts)
}

#[test]
fn a06_an_account_that_was_deleted_by_hand_is_missed() {
    let (mut bench, _, _) = rotated();
    bench.register("another", false);
    assert_eq!(status(&bench), (true, None), "control");
    // Of two one, under a running service and after a restart.
    delete(&bench, "name = 'default'");
    for _ in 0..2 {
        bench.lock();
        assert_eq!(status(&bench), (true, Some(1)));
        let refused = bench.unlock().unwrap_err();
        assert_eq!(refused.kind(), Kind::RolledBack);
        assert!(refused.hint().unwrap().contains("akm backup restore"));
        bench
            .sign_in(Some("another"), PASSPHRASE, None)
            .expect("control: who is there gets in");
        let wrong = bench.sign_in(Some("another"), "wrong", None).unwrap_err();
        assert_eq!(wrong.kind(), Kind::WrongCredentials);
        let stranger = Caller {
            uid: me().uid + 1,
            ..me()
        };
        let request = AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            keyfile: None,
            lifetime_s: None,
            accept_rollback: None,
        };
        let refused = bench.call_as(stranger, request);
        assert_eq!(kind(refused), Kind::WrongCredentials, "no name is told");
        bench.reopen();
    }
    // All of them: it is no vault to begin anew in.
    delete(&bench, "1");
    bench.reopen();
    assert_eq!(status(&bench), (false, Some(2)));
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
    let request = AccountRegister {
        account: "default".into(),
        passphrase: secret(PASSPHRASE),
        totp: Some(false),
        invitation: None,
    };
    assert_eq!(kind(bench.call(request)), Kind::RolledBack);
    // Over the network nobody is told.
    let day = std::time::Duration::from_secs(86_400);
    bench.serve(Hosting {
        registration: Registration::Open,
        totp_required: false,
        idle: day,
        absolute: day,
    });
    let client = Caller::network([203, 0, 113, 7].into(), None);
    let request = AgentUnlock {
        account: Some("default".into()),
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    let refused = bench.call_as(client.clone(), request).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.hint()),
        (Kind::WrongCredentials, None)
    );
    let status = bench.call_as(client, AgentStatus {}).unwrap();
    assert_eq!(status.missing_accounts, None);
    bench.service().fold().unwrap();
    let logged: u32 = bench
        .hand()
        .query_row(
            "SELECT count(*) FROM events WHERE action = 'vault.account_missing'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(logged > 0, "it is in the audit");
}

#[test]
fn an_account_that_was_removed_or_is_not_in_a_restored_backup_is_not_missed() {
    let (mut bench, _, _) = rotated();
    bench.unlock().unwrap();
    let backup = bench.raw(Op::BackupCreate, "{}").unwrap()["backup"]["name"].clone();
    bench.register("another", false);
    bench
        .call(AccountRemove {
            passphrase: secret(PASSPHRASE),
        })
        .unwrap();
    assert_eq!(status(&bench), (true, None));
    bench.reopen();
    assert_eq!(status(&bench), (true, None));
    bench.register("third", false);
    bench.lock();
    let body = serde_json::json!({"name": backup, "passphrase": PASSPHRASE, "replace": true});
    bench.raw(Op::BackupRestore, &body.to_string()).unwrap();
    for _ in 0..2 {
        assert_eq!(status(&bench), (true, None));
        bench.reopen();
    }
    bench.unlock().unwrap();
    // The control: it is missed as soon as nobody let it go.
    bench.close();
    delete(&bench, "name = 'default'");
    bench.reopen();
    assert_eq!(status(&bench), (false, Some(1)));
}
