//! Backups through the door: of one moment, checked, kept, and consistent with the audit.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use akm_core::Kind;
use akm_core::protocol::{
    AuditVerify, BackupCreate, BackupList, BackupSchedule, BackupVerify, Verified,
};
use support::{Bench, kind};

fn create(bench: &Bench) -> String {
    bench.call(BackupCreate::default()).unwrap().backup.name
}

fn verify(bench: &Bench, name: &str) -> akm_core::Result<akm_core::protocol::BackupVerification> {
    bench.call(BackupVerify { name: name.into() })
}

/// A second home whose vault is a backup of this one, under the same host key.
fn opened(bench: &Bench, name: &str) -> Bench {
    let mut other = Bench::new();
    other.close();
    let home = other.home.path();
    let from = bench.home.path();
    std::fs::copy(from.join("backups").join(name), home.join("vault.db")).unwrap();
    std::fs::copy(from.join("state/host.key"), home.join("state/host.key")).unwrap();
    let _ = std::fs::remove_file(home.join("audit.journal"));
    other.reopen();
    other
}

#[test]
fn a_backup_opens_as_a_vault_and_its_audit_verifies() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-before").unwrap();
    assert_eq!(bench.get("openai").unwrap(), "sk-before");
    let name = create(&bench);
    bench.add("openai/after", "sk-after").unwrap();
    let checked = verify(&bench, &name).unwrap();
    assert_eq!(checked.verified, Verified::Decrypted);
    assert_eq!(
        (checked.accounts, checked.keys, checked.decrypted),
        (1, 1, 1)
    );

    let restored = opened(&bench, &name);
    restored.unlock().unwrap();
    assert_eq!(restored.get("openai").unwrap(), "sk-before");
    assert_eq!(kind(restored.get("openai/after")), Kind::NotFound);
    let verdict = restored.call(AuditVerify::default()).unwrap();
    assert!(verdict.ok, "{verdict:?}");
}

#[test]
fn a_backup_stands_alone_and_leaves_nothing_beside_it() {
    let bench = Bench::initialized();
    bench.add("openai", "sk").unwrap();
    let name = create(&bench);
    verify(&bench, &name).unwrap();
    let dir = bench.home.path().join("backups");
    let names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, [name]);
}

#[test]
fn a_backup_made_amid_writes_is_of_one_moment_with_every_event() {
    let bench = Bench::initialized();
    for index in 0..50 {
        bench.add(&format!("openai/first-{index}"), "sk").unwrap();
    }
    let stop = AtomicBool::new(false);
    let names = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut index = 0;
            while !stop.load(Ordering::Relaxed) {
                bench.add(&format!("openai/more-{index}"), "sk").unwrap();
                index += 1;
            }
        });
        let names: Vec<String> = (0..6).map(|_| create(&bench)).collect();
        stop.store(true, Ordering::Relaxed);
        names
    });
    let mut keys = Vec::new();
    for name in &names {
        let restored = opened(&bench, name);
        restored.unlock().unwrap();
        let verdict = restored.call(AuditVerify::default()).unwrap();
        assert!(verdict.ok, "{verdict:?}");
        let hand = restored.hand();
        let count = |sql: &str| -> i64 { hand.query_row(sql, [], |row| row.get(0)).unwrap() };
        let there = count("SELECT count(*) FROM keys");
        let told = count("SELECT count(*) FROM events WHERE action = 'key.add' AND outcome = 'ok'");
        assert!(told >= there, "{told} events for {there} keys");
        keys.push(there);
    }
    assert!(keys.is_sorted());
    assert!(keys[5] > keys[0], "control: keys were added meanwhile");
}

#[test]
fn a_damaged_backup_is_corrupt_and_a_live_file_is_no_backup() {
    let bench = Bench::initialized();
    for index in 0..20 {
        bench.add(&format!("openai/{index}"), "sk").unwrap();
    }
    let name = create(&bench);
    verify(&bench, &name).unwrap();
    let path = bench.home.path().join("backups").join(&name);
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() - 4096, whole.len() / 2, 600, 100, 0] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(kind(verify(&bench, &name)), Kind::Corrupt, "cut at {cut}");
    }
    // A page of a table overwritten: the structure does not hold.
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096..][..64].fill(0xa5);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(kind(verify(&bench, &name)), Kind::Corrupt, "page {page}");
    }
    std::fs::copy(bench.vault(), &path).unwrap();
    let error = verify(&bench, &name).unwrap_err();
    assert_eq!(error.message(), "the file is not a backup that akm made");
    std::fs::write(&path, &whole).unwrap();
    verify(&bench, &name).unwrap();
}

#[test]
fn a_secret_that_was_changed_in_a_backup_is_found_by_decrypting_and_not_by_structure() {
    let bench = Bench::initialized();
    bench.add("openai", "sk").unwrap();
    let name = create(&bench);
    let path = bench.home.path().join("backups").join(&name);
    let hand = rusqlite::Connection::open(&path).unwrap();
    let mut blob: Vec<u8> = hand
        .query_row("SELECT secret FROM keys", [], |row| row.get(0))
        .unwrap();
    *blob.last_mut().unwrap() ^= 1;
    hand.execute("UPDATE keys SET secret = ?1", [blob]).unwrap();
    hand.close().unwrap();
    assert_eq!(kind(verify(&bench, &name)), Kind::Corrupt);
    bench.lock();
    let checked = verify(&bench, &name).unwrap();
    assert_eq!(checked.verified, Verified::Structure, "all it can say");
}

#[test]
fn a_schedule_makes_backups_while_locked_and_keeps_as_many_as_it_says() {
    let mut bench = Bench::initialized();
    bench.add("openai", "sk").unwrap();
    bench.service().scheduled_backup().unwrap();
    assert_eq!(bench.call(BackupList {}).unwrap().backups.len(), 0);
    let scheduled = bench
        .call(BackupSchedule {
            daily: true,
            keep: Some(2),
            max_age_days: None,
        })
        .unwrap();
    assert_eq!(scheduled.schedule.unwrap().keep, 2);
    bench.reopen();
    for _ in 0..4 {
        bench.clock.advance(Duration::from_secs(24 * 3600));
        bench.service().scheduled_backup().unwrap();
    }
    let page = bench.call(BackupList {}).unwrap();
    assert_eq!(page.backups.len(), 2);
    assert!(page.schedule.is_some(), "it survived the restart");
    assert!(page.backups[0].created_at > page.backups[1].created_at);
    assert_eq!(
        verify(&bench, &page.backups[0].name).unwrap().verified,
        Verified::Structure
    );
}

#[test]
fn keys_that_are_not_in_a_backup_any_more_are_missed() {
    let bench = Bench::initialized();
    for name in ["openai", "openai/second"] {
        bench.add(name, "sk").unwrap();
    }
    for delete in [
        "DELETE FROM keys",
        "DELETE FROM keys WHERE id = (SELECT max(id) FROM keys)",
        "UPDATE keys SET status = 2 WHERE id = (SELECT max(id) FROM keys)",
    ] {
        let name = create(&bench);
        assert_eq!(verify(&bench, &name).unwrap().decrypted, 2, "control");
        let path = bench.home.path().join("backups").join(&name);
        let hand = rusqlite::Connection::open(&path).unwrap();
        hand.execute_batch(&format!("PRAGMA foreign_keys = ON; {delete}"))
            .unwrap();
        drop(hand);
        assert_eq!(kind(verify(&bench, &name)), Kind::Corrupt, "{delete}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_made_of_a_damaged_vault_pushes_no_good_backup_out() {
    let mut bench = Bench::initialized();
    for name in ["openai", "openai/second"] {
        bench.add(name, "sk").unwrap();
    }
    let keep = |keep| BackupCreate {
        keep: Some(keep),
        max_age_days: None,
    };
    let first = create(&bench);
    bench.clock.advance(Duration::from_secs(60));
    let made = bench.call(keep(1)).unwrap();
    assert_eq!(made.removed, [first], "control");
    assert_eq!((made.verified, made.decrypted), (Verified::Decrypted, 2));
    let good = made.backup.name;
    bench
        .call(BackupSchedule {
            daily: true,
            keep: Some(1),
            max_age_days: Some(1),
        })
        .unwrap();
    bench.close();
    bench
        .hand()
        .execute_batch("UPDATE keys SET tag = randomblob(32) WHERE id = (SELECT max(id) FROM keys)")
        .unwrap();
    bench.reopen();
    let names = |bench: &Bench| -> Vec<String> {
        let page = bench.call(BackupList {}).unwrap();
        page.backups.into_iter().map(|backup| backup.name).collect()
    };
    // Of a locked vault only the structure shows: backups come and go, but that one stays.
    for _ in 0..3 {
        bench.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
        bench.service().scheduled_backup().unwrap();
        let names = names(&bench);
        assert_eq!(names.len(), 2, "control: the others are removed");
        assert!(names.contains(&good), "{names:?}");
    }
    // Of an open one it is refused; what was made stays, and so do all others.
    bench.unlock().unwrap();
    let before = names(&bench).len();
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(kind(bench.call(keep(1))), Kind::Corrupt);
    assert_eq!(names(&bench).len(), before + 1);
    assert!(names(&bench).contains(&good));
}
