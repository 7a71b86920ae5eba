//! A whole older file: refused by the anchor, taken where its owner says so, and what an honest crash or restore leaves.

use akm_core::Kind;
use akm_core::host::Host;
use akm_core::protocol::{AgentUnlock, Op, VaultNotice};
use akm_core::store::SqliteStore;
use akm_core::vault::announce_restore;

use super::support::{Bench, PASSPHRASE, kind, me, secret};
use super::{NEW, OLD, copy, put_back, put_rows, rotate, rotated, unlock};

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
            service.call(&me(), unlock.into())
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
