//! What is of before a rekey: copies, codes, rows, backups and a key file.

use std::path::PathBuf;

use akm_core::protocol::{
    AccountRecover, AgentUnlock, BackupCreate, BackupRestore, BackupVerify, KeyfileEnable,
    KeyfileShow, TotpCodes, Verified,
};
use akm_core::{Kind, Result};
use rusqlite::types::Value;

use super::support::{Bench, PASSPHRASE, kind, secret};
use super::{assert_whole, begin, furnish, furnished, go_on, name, under_way};

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
