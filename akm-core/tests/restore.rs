//! Restoring: what it needs, what it leaves alone, what it takes along.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::path::PathBuf;

use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AccountRegister, AccountRemove, AdminGrant, AgentStatus,
    AgentUnlock, AuditList, AuditVerify, BackupCreate, BackupList, BackupRestore, BackupSchedule,
    BackupVerify, KeyList, KeyfileEnable, Operation, Request, Restored, Role, VaultNotice,
    Verified,
};
use akm_core::{Kind, Result};
use support::{Bench, PASSPHRASE, kind, me, secret, totp_code, with_totp};

fn create(bench: &Bench) -> String {
    bench.call(BackupCreate::default()).unwrap().backup.name
}

fn restore(bench: &Bench, name: &str, passphrase: &str, replace: bool) -> Result<Restored> {
    bench.call(BackupRestore {
        name: name.into(),
        account: None,
        passphrase: secret(passphrase),
        keyfile: None,
        replace: Some(replace),
    })
}

fn files(bench: &Bench) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(bench.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("vault.db"))
        .collect();
    names.sort();
    names
}

#[test]
fn h04_a_wrong_passphrase_leaves_the_live_vault_untouched() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    let name = create(&bench);
    bench.add("openai/new", "sk-new").unwrap();
    bench.service().checkpoint().unwrap();
    let before = files(&bench);
    for _ in 0..5 {
        let refused = kind(restore(&bench, &name, "wrong", true));
        assert_eq!(refused, Kind::WrongCredentials);
    }
    assert_eq!(
        kind(restore(&bench, &name, PASSPHRASE, true)),
        Kind::RateLimited,
        "guesses count as at a sign-in"
    );
    assert_eq!(files(&bench), before, "nothing is left beside it");
    assert_eq!(bench.get("openai/new").unwrap(), "sk-new", "still unlocked");
    assert!(bench.call(AuditVerify::default()).unwrap().ok);

    // Control: the right one restores, and then the new key is gone.
    bench.clock.advance(std::time::Duration::from_secs(3600));
    restore(&bench, &name, PASSPHRASE, true).unwrap();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), "sk-old");
    assert_eq!(kind(bench.get("openai/new")), Kind::NotFound);
}

#[test]
fn h04_the_passphrase_is_that_of_the_backup_and_not_of_the_live_vault() {
    let bench = Bench::initialized();
    let name = create(&bench);
    bench
        .call(AccountPassphrase {
            passphrase: secret(PASSPHRASE),
            new_passphrase: secret("a newer one"),
        })
        .unwrap();
    assert_eq!(
        kind(restore(&bench, &name, "a newer one", true)),
        Kind::WrongCredentials
    );
    restore(&bench, &name, PASSPHRASE, true).unwrap();
    assert_eq!(
        kind(bench.sign_in(None, "a newer one", None)),
        Kind::WrongCredentials
    );
    bench.unlock().unwrap();
}

#[test]
fn h05_restoring_an_older_backup_needs_the_flag_and_is_logged() {
    let mut bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    let name = create(&bench);
    bench.add("openai/new", "sk-new").unwrap();
    assert_eq!(bench.get("openai/new").unwrap(), "sk-new");

    let error = restore(&bench, &name, PASSPHRASE, false).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.hint().unwrap().contains("--replace"));
    assert_eq!(bench.get("openai/new").unwrap(), "sk-new", "untouched");

    let restored = restore(&bench, &name, PASSPHRASE, true).unwrap();
    assert_eq!((restored.accounts, restored.keys), (1, 1));
    assert_eq!(restored.kept.as_deref(), Some("vault.db.replaced-1"));
    assert_eq!(
        kind(bench.get("openai")),
        Kind::Locked,
        "every session ended"
    );
    let notice = bench.unlock().unwrap().notice;
    assert_eq!(notice, Some(VaultNotice::Restored));
    assert_eq!(bench.unlock().unwrap().notice, None, "once");
    assert_eq!(bench.get("openai").unwrap(), "sk-old");
    assert_eq!(kind(bench.get("openai/new")), Kind::NotFound);
    // What was done since the backup is in the log all the same, and so is the restore.
    let actions: Vec<(String, String)> = bench
        .call(AuditList {
            limit: Some(1000),
            ..AuditList::default()
        })
        .unwrap()
        .events
        .into_iter()
        .map(|event| (event.action, event.outcome))
        .collect();
    let told = |action: &str, outcome: &str| {
        let same = |told: &&(String, String)| told.0 == action && told.1 == outcome;
        actions.iter().filter(same).count()
    };
    assert_eq!(told("key.add", "ok"), 2);
    assert_eq!(told("key.get", "ok"), 3);
    assert_eq!(told("backup.restore", "conflict"), 1);
    assert_eq!(told("backup.restore", "ok"), 1);
    let verdict = bench.call(AuditVerify::default()).unwrap();
    assert!(verdict.ok, "{verdict:?}");
    bench.add("openai/after", "sk-after").unwrap();
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai/after").unwrap(), "sk-after");
    assert!(bench.call(AuditVerify::default()).unwrap().ok);
}

#[test]
fn h05_after_a_restore_the_epoch_has_moved_and_what_was_before_is_older() {
    let mut bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    let name = create(&bench);
    bench.add("openai/new", "sk-new").unwrap();
    let kept = restore(&bench, &name, PASSPHRASE, true)
        .unwrap()
        .kept
        .unwrap();
    bench.unlock().unwrap();
    bench.close();
    // The vault that was replaced had come further once; put back by hand it is older now.
    std::fs::copy(bench.home.path().join(&kept), bench.vault()).unwrap();
    bench.reopen();
    assert_eq!(kind(bench.unlock()), Kind::RolledBack);
}

#[test]
fn the_replaced_vault_is_kept_whole_and_can_be_restored_in_turn() {
    let bench = Bench::initialized();
    let name = create(&bench);
    bench.add("openai/new", "sk-new").unwrap();
    let kept = restore(&bench, &name, PASSPHRASE, true)
        .unwrap()
        .kept
        .unwrap();
    let backups: PathBuf = bench.home.path().join("backups");
    std::fs::copy(bench.home.path().join(&kept), backups.join("back.backup")).unwrap();
    let again = restore(&bench, "back.backup", PASSPHRASE, true).unwrap();
    assert_eq!(again.keys, 1);
    assert_eq!(again.kept.as_deref(), Some("vault.db.replaced-2"));
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai/new").unwrap(), "sk-new");
    assert!(bench.call(AuditVerify::default()).unwrap().ok);
}

#[test]
fn recovery_codes_of_before_are_void_after_a_restore() {
    let bench = Bench::new();
    let codes = bench.register("default", false).recovery_codes;
    let name = create(&bench);
    let recover = |code: &str| {
        bench.call(AccountRecover {
            account: None,
            code: secret(code),
            new_passphrase: secret(PASSPHRASE),
        })
    };
    recover(codes[0].expose()).unwrap();
    restore(&bench, &name, PASSPHRASE, true).unwrap();
    for code in &codes[..2] {
        assert_eq!(kind(recover(code.expose())), Kind::WrongCredentials);
    }
    bench.unlock().unwrap();
    assert_eq!(kind(recover(codes[2].expose())), Kind::WrongCredentials);
}

#[test]
fn a_machine_without_a_vault_takes_one_over_without_a_flag() {
    let old = Bench::initialized();
    old.add("openai", "sk-old").unwrap();
    let name = create(&old);
    let bench = Bench::new();
    let backups = bench.home.path().join("backups");
    std::fs::create_dir(&backups).unwrap();
    std::fs::copy(
        old.home.path().join("backups").join(&name),
        backups.join(&name),
    )
    .unwrap();
    assert_eq!(
        kind(restore(&bench, &name, "wrong", false)),
        Kind::WrongCredentials
    );
    restore(&bench, &name, PASSPHRASE, false).unwrap();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), "sk-old");
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let bench = Bench::initialized();
    bench.add("openai", "sk").unwrap();
    let name = create(&bench);
    let path = bench.home.path().join("backups").join(&name);
    let whole = std::fs::read(&path).unwrap();
    let before = files(&bench);
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        kind(restore(&bench, &name, PASSPHRASE, true)),
        Kind::Corrupt
    );
    assert_eq!(files(&bench), before);
    assert_eq!(bench.get("openai").unwrap(), "sk");
    std::fs::write(&path, &whole).unwrap();
    bench.call(BackupVerify { name: name.clone() }).unwrap();
    restore(&bench, &name, PASSPHRASE, true).unwrap();
}

#[test]
fn guesses_counted_before_a_restore_count_after_it() {
    let bench = Bench::initialized();
    let name = create(&bench);
    bench.lock();
    for _ in 0..5 {
        let refused = kind(bench.sign_in(Some("nobody"), "wrong", None));
        assert_eq!(refused, Kind::WrongCredentials);
    }
    restore(&bench, &name, PASSPHRASE, true).unwrap();
    assert_eq!(
        kind(bench.sign_in(Some("nobody"), "wrong", None)),
        Kind::RateLimited
    );
    bench.unlock().unwrap();
}

#[test]
fn a_backup_of_an_account_with_a_keyfile_and_codes_is_restored_with_the_keyfile_and_no_code() {
    let (mut bench, base32) = with_totp();
    bench.add("openai", "sk-one").unwrap();
    let shown = bench
        .call(KeyfileEnable {
            passphrase: secret(PASSPHRASE),
            keyfile: Some(secret(&"2a".repeat(32))),
        })
        .unwrap();
    assert!(shown.path.is_none(), "the agent keeps none");
    let name = create(&bench);
    bench.add("openai/later", "sk-later").unwrap();
    bench.reopen();
    let ask = |bench: &Bench, keyfile: Option<&str>| {
        bench.call(BackupRestore {
            name: name.clone(),
            account: None,
            passphrase: secret(PASSPHRASE),
            keyfile: keyfile.map(secret),
            replace: Some(true),
        })
    };
    let missing = ask(&bench, None).unwrap_err();
    assert_eq!(missing.field(), Some("keyfile"));
    assert_eq!(kind(ask(&bench, Some("not hex"))), Kind::InvalidInput);
    let other = "2b".repeat(32);
    assert_eq!(kind(ask(&bench, Some(&other))), Kind::WrongCredentials);
    ask(&bench, Some(&"2a".repeat(32))).unwrap();
    // Restored, and as hard to open as before.
    bench.clock.advance(std::time::Duration::from_secs(60));
    let unlock = |keyfile: Option<&str>, code: bool| {
        let code = code.then(|| secret(&totp_code(&base32, bench.clock.unix_s())));
        bench.call(AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: code,
            keyfile: keyfile.map(secret),
            lifetime_s: None,
            accept_rollback: None,
        })
    };
    let right = "2a".repeat(32);
    assert_eq!(kind(unlock(None, true)), Kind::WrongCredentials);
    assert_eq!(kind(unlock(Some(&right), false)), Kind::WrongCredentials);
    let opened = unlock(Some(&right), true).unwrap();
    assert_eq!(opened.notice, Some(VaultNotice::Restored));
    assert_eq!(bench.get("openai").unwrap(), "sk-one");
    assert_eq!(kind(bench.get("openai/later")), Kind::NotFound);
}

/// Somebody else's process on this machine, of a group that an agent lets in.
fn stranger() -> Caller {
    Caller {
        uid: me().uid + 1000,
        ..me()
    }
}

/// What a stranger is answered; that it says whom to ask.
fn refused<T: Operation + Into<Request>>(bench: &Bench, request: T) {
    let Err(error) = bench.call_as(stranger(), request) else {
        panic!("somebody else decided about everybody's keys");
    };
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    assert!(error.hint().unwrap().contains("the agent runs as"));
}

fn register(bench: &Bench, account: &str) -> Result<()> {
    let request = AccountRegister {
        account: account.into(),
        passphrase: secret("a passphrase of its own"),
        totp: Some(false),
        invitation: None,
    };
    bench.call_as(stranger(), request).map(drop)
}

fn unlock(bench: &Bench, account: &str) {
    let request = AgentUnlock {
        account: Some(account.into()),
        passphrase: secret("a passphrase of its own"),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    bench.call_as(stranger(), request).unwrap();
}

fn restoring(name: &str, account: &str) -> BackupRestore {
    BackupRestore {
        name: name.into(),
        account: Some(account.into()),
        passphrase: secret("a passphrase of its own"),
        keyfile: None,
        replace: Some(true),
    }
}

fn removing() -> AccountRemove {
    AccountRemove {
        passphrase: secret("a passphrase of its own"),
    }
}

fn keeping(keep: Option<u32>, max_age_days: Option<u32>) -> BackupCreate {
    BackupCreate { keep, max_age_days }
}

fn scheduling(daily: bool) -> BackupSchedule {
    BackupSchedule {
        daily,
        keep: None,
        max_age_days: None,
    }
}

#[test]
fn b15_an_account_of_ones_own_rolls_nobody_back_and_removes_no_backup_also_when_it_is_gone() {
    let bench = Bench::initialized();
    register(&bench, "mallory").unwrap();
    let name = create(&bench);
    bench.clock.advance(std::time::Duration::from_secs(60));
    create(&bench);
    bench.call(scheduling(true)).unwrap();
    bench.add("openai/new", "sk-new").unwrap();

    refused(&bench, restoring(&name, "mallory"));
    refused(&bench, keeping(Some(1), None));
    refused(&bench, keeping(None, Some(1)));
    refused(&bench, scheduling(false));
    refused(&bench, scheduling(true));
    let mine = bench.call_as(stranger(), keeping(None, None)).unwrap();
    assert!(
        mine.removed.is_empty(),
        "control: a copy alone harms nobody"
    );
    bench.call_as(stranger(), removing()).unwrap();
    refused(&bench, restoring(&name, "mallory"));
    // Nor with the owner's passphrase: whoever knows that signs in, and is heard in the log.
    let mut with_the_owners = restoring(&name, "default");
    with_the_owners.passphrase = secret(PASSPHRASE);
    refused(&bench, with_the_owners);

    assert_eq!(bench.get("openai/new").unwrap(), "sk-new", "still unlocked");
    let page = bench.call(BackupList {}).unwrap();
    assert_eq!(page.backups.len(), 3);
    assert!(page.schedule.is_some());
    // Control: what was asked for is what the owner gets, also with an account that is gone.
    bench.call(restoring(&name, "mallory")).unwrap();
    bench.unlock().unwrap();
    assert_eq!(kind(bench.get("openai/new")), Kind::NotFound);
}

#[test]
fn b15_an_administrator_restores_with_an_account_of_the_live_vault_and_no_other() {
    let bench = Bench::initialized();
    register(&bench, "gone").unwrap();
    register(&bench, "alice").unwrap();
    let name = create(&bench);
    unlock(&bench, "gone");
    bench.call_as(stranger(), removing()).unwrap();
    register(&bench, "gone").unwrap();
    unlock(&bench, "alice");
    refused(&bench, restoring(&name, "alice"));
    let admin = AdminGrant {
        account: "alice".into(),
        role: Role::Admin,
    };
    bench.call(admin).unwrap();
    bench.call_as(stranger(), scheduling(true)).unwrap();
    bench.call_as(stranger(), keeping(Some(5), None)).unwrap();
    // Another account under the name of one that was removed.
    let error = bench
        .call_as(stranger(), restoring(&name, "gone"))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(error.field(), Some("account"));
    bench.call_as(stranger(), removing()).unwrap();
    refused(&bench, restoring(&name, "alice"));

    register(&bench, "alice").unwrap();
    let admin = AdminGrant {
        account: "alice".into(),
        role: Role::Admin,
    };
    bench.call(admin).unwrap();
    let error = bench
        .call_as(stranger(), restoring(&name, "alice"))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "the name alone is not it");
    bench.clock.advance(std::time::Duration::from_secs(60));
    let newer = create(&bench);
    bench
        .call_as(stranger(), restoring(&newer, "alice"))
        .expect("control: of an account that is in both it is done");
}

/// Overwrites a page of the vault, which is closed.
fn overwrite(bench: &Bench, page: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(bench.vault());
    file.unwrap()
        .write_all_at(&[0xaa; 4096], (page - 1) * 4096)
        .unwrap();
}

#[test]
fn a_vault_that_cannot_be_opened_is_replaced_by_a_backup_and_kept_aside() {
    let mut bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    let name = create(&bench);
    bench.add("openai/new", "sk-new").unwrap();
    // One event rests in the damaged file alone, the next in the journal.
    bench.service().fold().unwrap();
    bench.add("openai/newer", "sk-newer").unwrap();
    bench.close();
    overwrite(&bench, 1);
    let damaged = std::fs::read(bench.vault()).unwrap();
    assert_eq!(kind(bench.open().map(drop)), Kind::Corrupt, "control");

    bench.reopen_or_salvage();
    let status = bench.call(AgentStatus {}).unwrap();
    assert!(status.initialized && status.locked);
    assert_eq!(status.damaged, Some(true));
    for error in [
        bench.call(KeyList::default()).map(drop).unwrap_err(),
        bench.unlock().map(drop).unwrap_err(),
        bench.call(BackupCreate::default()).map(drop).unwrap_err(),
        register(&bench, "other").unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.hint().unwrap().contains("akm backup restore"));
    }
    let nobody = Caller::network([203, 0, 113, 7].into(), None);
    for refused in [
        bench.call_as(nobody.clone(), AgentStatus {}).map(drop),
        bench.call_as(nobody.clone(), BackupList {}).map(drop),
        bench.call_as(nobody, restoring(&name, "default")).map(drop),
    ] {
        assert_eq!(kind(refused), Kind::Unavailable);
    }
    let page = bench.call(BackupList {}).unwrap();
    assert_eq!((page.backups.len(), page.backups[0].own), (1, true));
    let verified = bench.call(BackupVerify { name: name.clone() }).unwrap();
    assert_eq!((verified.verified, verified.keys), (Verified::Structure, 1));
    refused(&bench, restoring(&name, "default"));
    assert_eq!(
        kind(restore(&bench, &name, PASSPHRASE, false)),
        Kind::Conflict
    );
    for _ in 0..5 {
        let wrong = kind(restore(&bench, &name, "wrong", true));
        assert_eq!(wrong, Kind::WrongCredentials);
    }
    bench.reopen_or_salvage();
    assert_eq!(
        kind(restore(&bench, &name, PASSPHRASE, true)),
        Kind::RateLimited,
        "guesses count, also over a restart"
    );
    assert_eq!(std::fs::read(bench.vault()).unwrap(), damaged, "untouched");

    bench.clock.advance(std::time::Duration::from_secs(3600));
    let restored = restore(&bench, &name, PASSPHRASE, true).unwrap();
    assert_eq!(restored.keys, 1);
    let kept = bench.home.path().join(restored.kept.unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), damaged);
    let left = files(&bench);
    assert!(
        !left.iter().any(|name| name.contains("salvage")),
        "{left:?}"
    );
    assert_eq!(bench.unlock().unwrap().notice, Some(VaultNotice::Restored));
    assert_eq!(bench.get("openai").unwrap(), "sk-old");
    assert_eq!(kind(bench.get("openai/new")), Kind::NotFound);
    let told = |event: &akm_core::protocol::AuditEvent| {
        event.action == "backup.restore" && event.outcome == "ok"
    };
    let events = bench.call(AuditList::default()).unwrap().events;
    assert_eq!(events.iter().filter(|event| told(event)).count(), 1);
    let verdict = bench.call(AuditVerify::default()).unwrap();
    assert!(!verdict.ok, "what went with the damaged file is missed");
    bench.add("openai/after", "sk-after").unwrap();
    bench.reopen();
    bench.unlock().unwrap();
    assert_eq!(bench.get("openai").unwrap(), "sk-old", "an ordinary vault");
}

#[test]
fn a_vault_that_opens_and_is_not_whole_is_replaced_by_a_backup_as_well() {
    let mut bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    let name = create(&bench);
    for table in ["attempts", "accounts", "events"] {
        bench.close();
        let read = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root: i64 = bench
            .hand()
            .query_row(read, [table], |row| row.get(0))
            .unwrap();
        overwrite(&bench, u64::try_from(root).unwrap());
        bench.reopen_or_salvage();
        assert_eq!(kind(bench.unlock()), Kind::Corrupt, "control: {table}");
        assert_eq!(
            kind(restore(&bench, &name, "wrong", true)),
            Kind::WrongCredentials
        );
        let restored = restore(&bench, &name, PASSPHRASE, true);
        assert_eq!(restored.unwrap().keys, 1, "{table}");
        bench.unlock().unwrap();
        assert_eq!(bench.get("openai").unwrap(), "sk-old");
    }
}
