//! H11: many writers, checkpoints and a backup at once on one vault. One process owns a vault, so they are threads.

use std::sync::atomic::{AtomicBool, Ordering};

use akm_core::protocol::{AuditVerify, BackupCreate, BackupVerify, KeyGet};

use crate::child;
use crate::desk::Desk;
use crate::steps::{self, State, Step};
use crate::support::new_key;

const WRITERS: usize = 4;
const EACH: usize = 150;

#[test]
fn h11_writers_checkpoints_and_backups_at_once_leave_a_whole_vault() {
    // Older ones can lose a commit when a checkpoint restarts the log.
    assert!(
        rusqlite::version_number() >= 3_051_003,
        "{}",
        rusqlite::version()
    );
    let home = child::home();
    let desk = Desk::open(home.path(), 0).unwrap();
    steps::run(&desk, 0, &Step::Register, &State::default()).unwrap();
    let done = AtomicBool::new(false);
    let (checkpoints, backups) = std::thread::scope(|scope| {
        let (desk, done) = (&desk, &done);
        let checkpointers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        // Another one may be at it, or a backup reads: then it is said.
                        count += usize::from(desk.door.checkpoint().is_ok());
                        desk.door.fold().unwrap();
                    }
                    count
                })
            })
            .collect();
        let backing = scope.spawn(move || {
            let mut names = Vec::new();
            while !done.load(Ordering::Relaxed) {
                names.push(desk.call(BackupCreate::default()).unwrap().backup.name);
            }
            names
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    for index in 0..EACH {
                        let name = format!("openai/{writer}-{index}");
                        desk.call(new_key(&name, &format!("sk-{name}"))).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let checkpoints: usize = checkpointers
            .into_iter()
            .map(|one| one.join().unwrap())
            .sum();
        (checkpoints, backing.join().unwrap())
    });
    assert!(
        checkpoints > 0 && !backups.is_empty(),
        "control: they ran at once"
    );
    for name in &backups {
        desk.call(BackupVerify { name: name.clone() }).unwrap();
    }
    drop(desk);
    let hand = rusqlite::Connection::open(home.path().join("vault.db")).unwrap();
    let check: String = hand
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    hand.close().unwrap();
    let desk = Desk::open(home.path(), 0).unwrap();
    steps::unlock(&desk, "passphrase number 0").unwrap();
    for (writer, index) in
        (0..WRITERS).flat_map(|writer| (0..EACH).map(move |index| (writer, index)))
    {
        let name = format!("openai/{writer}-{index}");
        let got = desk
            .call(KeyGet {
                name: name.clone(),
                version: None,
            })
            .unwrap();
        assert_eq!(got.secret.expose(), format!("sk-{name}"));
    }
    assert!(desk.call(AuditVerify::default()).unwrap().ok);
}
