//! What can go wrong under the audit: crashes, power loss, a full disk, files that are not what they should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::attacks::write_private;
use super::*;
use crate::audit::record::{HEADER, MAX_RECORD};
use crate::protocol::{AuditList, Checkpoint, CheckpointVerdict};

/// Runs until the crash point; says whether it was reached.
fn crash_at(name: &'static str, run: impl FnOnce()) -> bool {
    CRASH_AT.set(Some(name));
    let crashed = catch_unwind(AssertUnwindSafe(run)).is_err();
    assert_eq!(CRASH_AT.take().is_none(), crashed);
    crashed
}

/// A journal with four events in it, as a process that was killed leaves it, and the last one's length.
fn left_behind(room: &Room) -> (Vec<u8>, usize) {
    let (audit, chain) = room.open();
    for index in 0..3 {
        append(&audit, &chain, index);
    }
    let before = fs::read(room.path()).unwrap().len();
    append(&audit, &chain, 3);
    let journal = fs::read(room.path()).unwrap();
    let last = journal.len() - before;
    (journal, last)
}

/// What the next process makes of these bytes: events of the account, and the system's.
fn recovered(journal: &[u8]) -> (Result<u64, (String, u64)>, Vec<String>) {
    let room = Room::new();
    write_private(&room.path(), journal);
    let (audit, chain) = room.open();
    // Whatever was lost, writing goes on.
    append(&audit, &chain, 9);
    (verdict(&audit, &chain), room.system_actions())
}

#[test]
fn a_last_record_torn_at_any_byte_is_an_unclean_shutdown_and_no_tampering() {
    let (journal, last) = left_behind(&Room::new());
    // Control: four events, the new one, nothing to report.
    assert_eq!(recovered(&journal), (Ok(5), vec![]));
    for torn in 1..last {
        let (found, system) = recovered(&journal[..journal.len() - torn]);
        assert_eq!(
            (found, system),
            (Ok(5), vec![Noted::UncleanShutdown.action().to_owned()]),
            "{torn} torn off"
        );
    }
    // The whole record gone is a shorter journal.
    assert_eq!(recovered(&journal[..journal.len() - last]), (Ok(4), vec![]));
}

#[test]
fn a_last_record_of_which_blocks_never_reached_the_disk_is_an_unclean_shutdown() {
    let (journal, last) = left_behind(&Room::new());
    for (name, damage) in [
        ("its end", journal.len() - 7..journal.len()),
        ("its beginning", journal.len() - last..journal.len() - 40),
        ("all of it", journal.len() - last..journal.len()),
    ] {
        let mut zeroed = journal.clone();
        zeroed[damage].fill(0);
        // The file system had made the file longer already.
        for more in [0, 1, 3 * MAX_RECORD] {
            zeroed.resize(zeroed.len() + more, 0);
            let found = recovered(&zeroed);
            assert_eq!(
                found,
                (Ok(5), vec![Noted::UncleanShutdown.action().to_owned()]),
                "{name}, {more} more"
            );
        }
    }
    // And so is a header that did not get there.
    for len in 1..HEADER {
        assert_eq!(
            recovered(&journal[..len]),
            (Ok(2), vec![Noted::UncleanShutdown.action().to_owned()])
        );
    }
    assert_eq!(recovered(&[]), (Ok(1), vec![]));
}

#[test]
fn garbage_in_the_middle_is_reported_and_hides_nothing_behind_it() {
    let (journal, last) = left_behind(&Room::new());
    let middle = journal.len() - last;
    for garbage in [
        vec![0; 1],
        b"\n".to_vec(),
        record::MAGIC.to_vec(),
        record::MAGIC.repeat(5000),
        vec![0; 300_000],
        vec![0xa4; 300_000],
        b"event ".repeat(100_000),
    ] {
        let mut bytes = journal[..middle].to_vec();
        bytes.extend_from_slice(&garbage);
        bytes.extend_from_slice(&journal[middle..]);
        let (found, system) = recovered(&bytes);
        assert_eq!(
            system,
            [Noted::JournalDamaged.action()],
            "{} bytes",
            garbage.len()
        );
        assert_eq!(found, bad("journal", 4));
    }
    // More than a record's worth at the end is not what a power loss leaves, unless it is zeros.
    let mut bytes = journal.clone();
    bytes.extend(vec![7; MAX_RECORD + 1]);
    assert_eq!(recovered(&bytes).0, bad("journal", 5));
    // More beginnings of records than anybody looks at: given up there, and said so.
    let mut bytes = journal[..middle].to_vec();
    bytes.extend(record::MAGIC.repeat(100_000));
    bytes.extend_from_slice(&journal[middle..]);
    let (found, system) = recovered(&bytes);
    assert_eq!(
        (found, system),
        (
            bad("journal", 4),
            vec![Noted::JournalDamaged.action().to_owned()]
        )
    );
}

#[test]
fn a_crash_at_any_step_of_a_fold_loses_and_repeats_nothing() {
    let points = [
        "before the new segment",
        "before the exchange",
        "before the renames",
        "between the renames",
        "after the renames",
        "after the store's commit",
        "after the removal",
        "never",
    ];
    for first in points {
        for second in points {
            let room = Room::new();
            let mut total = 0;
            for point in [first, second] {
                let (audit, chain) = room.open();
                for index in 0..3 {
                    append(&audit, &chain, index);
                }
                append_system(&audit);
                total += 4;
                let crashed = crash_at(point, || drop(audit.fold()));
                assert_eq!(crashed, point != "never", "{point}");
                // Other threads may go on writing until the process is gone.
                if try_append(&audit, &chain, 3).is_ok() {
                    total += 1;
                }
            }
            let (audit, chain) = room.open();
            assert_eq!(verdict(&audit, &chain), Ok(total), "{first}, {second}");
            assert_eq!(room.files(), ["audit.journal"]);
            append(&audit, &chain, 4);
            assert_eq!(verdict(&audit, &chain), Ok(total + 1));
        }
    }
}

#[test]
fn a_crash_while_leftovers_are_folded_loses_and_repeats_nothing() {
    let room = Room::new();
    {
        let (audit, chain) = room.open();
        for index in 0..5 {
            append(&audit, &chain, index);
        }
        assert!(crash_at("after the renames", || drop(audit.fold())));
    }
    assert_eq!(room.files(), ["audit.journal", "audit.journal.folding"]);
    for _ in 0..3 {
        assert!(crash_at("after the store's commit", || drop(
            room.try_open()
        )));
    }
    let (audit, chain) = room.open();
    assert_eq!(verdict(&audit, &chain), Ok(5));
    assert_eq!(room.files(), ["audit.journal"]);
}

#[test]
fn more_events_than_one_batch_survive_a_crash_between_batches() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for _ in 0..2500 {
        append(&audit, &chain, 1);
    }
    assert!(crash_at("between two batches", || drop(audit.fold())));
    assert!((1..2500).contains(&room.store.len()));
    drop((audit, chain));
    let (audit, chain) = room.open();
    assert_eq!(verdict(&audit, &chain), Ok(2500));
}

#[test]
fn a_fold_that_fails_leaves_the_events_for_the_next() {
    let room = Room::new();
    let (audit, chain) = room.open();
    room.store.full.store(true, Ordering::Relaxed);
    for index in 0..4 {
        append(&audit, &chain, index);
        assert_eq!(audit.fold().unwrap_err().kind(), Kind::Io);
        assert_eq!(audit.verify(&chain, None).unwrap_err().kind(), Kind::Io);
        assert_eq!(audit.pending(), usize::from(index) + 1);
    }
    assert_eq!(room.store.len(), 0);
    assert_eq!(room.files(), ["audit.journal", "audit.journal.folding"]);
    // Neither does a process that cannot even start.
    drop((audit, chain));
    assert_eq!(
        room.try_open().err().map(|error| error.kind()),
        Some(Kind::Io)
    );
    room.store.full.store(false, Ordering::Relaxed);
    let (audit, chain) = room.open();
    assert_eq!(verdict(&audit, &chain), Ok(4));
    assert_eq!(room.files(), ["audit.journal"]);

    // And the same process takes them as well.
    room.store.full.store(true, Ordering::Relaxed);
    append(&audit, &chain, 5);
    audit.fold().unwrap_err();
    append(&audit, &chain, 6);
    room.store.full.store(false, Ordering::Relaxed);
    assert_eq!(audit.fold().unwrap(), 2);
    assert_eq!(audit.pending(), 0);
    assert_eq!(verdict(&audit, &chain), Ok(6));
}

#[test]
fn whatever_the_store_does_not_answer_is_said_and_nothing_is_lost_or_called_tampering() {
    type Look = fn(&Audit, &AccountChain, &Checkpoint) -> Result<()>;
    let looks: [(&str, Look); 5] = [
        ("fold", |audit, _, _| audit.fold().map(drop)),
        ("list", |audit, chain, _| {
            let all = Filter::parse(&AuditList::default())?;
            audit.list(chain, &account_name(), true, &all).map(drop)
        }),
        ("list of the last", |audit, chain, _| {
            let last = AuditList {
                last: Some(2),
                ..AuditList::default()
            };
            let last = Filter::parse(&last)?;
            audit.list(chain, &account_name(), true, &last).map(drop)
        }),
        ("verify", |audit, chain, checkpoint| {
            audit.verify(chain, Some(checkpoint)).map(drop)
        }),
        ("checkpoint", |audit, chain, _| {
            audit.checkpoint(chain).map(drop)
        }),
    ];
    for (what, look) in looks {
        for call in 1.. {
            let room = Room::new();
            let checkpoint = {
                let (audit, chain) = room.open();
                for index in 0..3 {
                    append(&audit, &chain, index);
                    append_system(&audit);
                }
                let checkpoint = audit.checkpoint(&chain).unwrap();
                // For the next process to take up.
                append(&audit, &chain, 3);
                checkpoint
            };
            room.store.refuse.store(call, Ordering::Relaxed);
            let opened = room.try_open();
            let written = 7 + u64::from(opened.is_ok());
            let looked = opened.and_then(|(audit, chain)| {
                append(&audit, &chain, 4);
                look(&audit, &chain, &checkpoint)
            });
            let refused = room.store.refuse.swap(0, Ordering::Relaxed) == 0;
            let said = looked.map_err(|error| error.kind());
            let expected = if refused { Err(Kind::Io) } else { Ok(()) };
            assert_eq!(said, expected, "{what} {call}");
            let (audit, chain) = room.open();
            let found = audit.verify(&chain, Some(&checkpoint)).unwrap();
            assert_eq!(
                (found.ok, found.entries, found.checkpoint),
                (true, written, Some(CheckpointVerdict::Holds)),
                "{what} {call}"
            );
            if !refused {
                assert!(call > 4, "{what}: the store is asked more than that");
                break;
            }
        }
    }
}

#[test]
fn a_failed_write_that_cannot_be_taken_back_stops_the_audit() {
    let room = Room::new();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    // Writing here says that the device is full, and there is nothing to shorten.
    let device = fs::OpenOptions::new().append(true).open("/dev/full");
    let genuine = audit
        .state
        .lock()
        .unwrap()
        .live
        .exchange_file(device.unwrap());
    assert_eq!(try_append(&audit, &chain, 2).unwrap_err().kind(), Kind::Io);
    audit.state.lock().unwrap().live.exchange_file(genuine);
    for _ in 0..2 {
        let error = try_append(&audit, &chain, 2).unwrap_err();
        assert_eq!(
            error.message(),
            "the audit journal failed: restart the agent"
        );
    }
    // What was written before is still there, and the next process goes on.
    assert_eq!(verdict(&audit, &chain), Ok(1));
    assert!(try_append(&audit, &chain, 2).is_err());
    drop((audit, chain));
    let (audit, chain) = room.open();
    append(&audit, &chain, 2);
    assert_eq!(verdict(&audit, &chain), Ok(2));
}

#[test]
fn half_a_record_that_could_not_be_taken_back_is_no_tampering() {
    let room = Room::new();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    audit
        .state
        .lock()
        .unwrap()
        .live
        .tear(b"\xa4KMe half a record");
    // Its event, and the one that tells of the unclean end.
    assert_eq!(verdict(&audit, &chain), Ok(2));
    assert_eq!(audit.fold().unwrap(), 0);
    assert_eq!(room.system_actions(), [Noted::UncleanShutdown.action()]);
}

#[test]
fn files_that_are_not_the_owners_journal_are_refused_unread() {
    let journal = |name: &str| {
        let room = Room::new();
        let (bytes, _) = left_behind(&Room::new());
        let path = room.dir.path().join(name);
        write_private(&path, &bytes);
        (room, path)
    };
    let kind = |room: &Room| room.try_open().err().map(|error| error.kind());
    for name in [
        "audit.journal",
        "audit.journal.folding",
        "audit.journal.new",
    ] {
        let (room, path) = journal(name);
        assert_eq!(kind(&room), None, "control");
        assert_eq!(room.store.len(), 4);

        let (room, path_of_link) = (Room::new(), path);
        symlink(&path_of_link, room.dir.path().join(name)).unwrap();
        assert_eq!(kind(&room), Some(Kind::Denied), "symbolic link");

        let (room, path) = journal(name);
        fs::hard_link(&path, room.dir.path().join("second")).unwrap();
        assert_eq!(kind(&room), Some(Kind::Denied), "hard link");

        let (room, path) = journal(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(kind(&room), Some(Kind::Denied), "writable by a group");

        let (room, path) = journal(name);
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(kind(&room), Some(Kind::Denied), "pipe");

        if nix::unistd::geteuid().is_root() {
            let (room, path) = journal(name);
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
            assert_eq!(kind(&room), Some(Kind::Denied), "foreign");
            assert_eq!(room.store.len(), 0);
        }

        let (room, path) = journal(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 2;
        write_private(&path, &bytes);
        assert_eq!(kind(&room), Some(Kind::UnsupportedVersion), "newer");
        assert_eq!(fs::read(&path).unwrap(), bytes, "left as it is");
    }
    // Readable by others is made private; so is every file made here.
    let (room, path) = journal("audit.journal");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    assert_eq!(
        fs::metadata(room.path()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_forged_row_in_the_store_keeps_no_later_event_out() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in 0..40 {
        append(&audit, &chain, index);
    }
    // The attacker is faster than the fold.
    let forged = crate::store::EventRow {
        chain: ACCOUNT,
        seq: 20,
        time: 0,
        action: "key.get".into(),
        outcome: "ok".into(),
        record: None,
        sealed: vec![0; 100],
        mac: [0; 32],
    };
    room.store.put(forged);
    assert_eq!(verdict(&audit, &chain), bad("account", 20));
    // 39 of the 40, the forged one, and the event that tells of it.
    assert_eq!(room.store.len(), 41);
    assert_eq!(room.files(), ["audit.journal", "audit.journal.damaged-1"]);
    append(&audit, &chain, 41);
    assert_eq!(
        audit.fold().unwrap(),
        1,
        "the new one; the system's report is there already"
    );
    assert_eq!(verdict(&audit, &chain), bad("account", 20));
}

#[test]
fn names_that_cannot_be_changed_delay_the_fold_and_lose_nothing() {
    let room = Room::new();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    // Where the segment should go there is a directory with something in it.
    let blocked = room.dir.path().join("audit.journal.folding");
    fs::create_dir_all(blocked.join("full")).unwrap();
    for index in 2..5 {
        assert_eq!(audit.fold().unwrap_err().kind(), Kind::Io);
        append(&audit, &chain, index);
    }
    assert_eq!(audit.pending(), 4);
    assert_eq!(room.store.len(), 0);
    // Neither does the next process start over it.
    drop((audit, chain));
    assert!(room.try_open().is_err());
    fs::remove_dir_all(&blocked).unwrap();
    let (audit, chain) = room.open();
    assert_eq!(verdict(&audit, &chain), Ok(4));

    append(&audit, &chain, 5);
    fs::create_dir_all(blocked.join("full")).unwrap();
    audit.fold().unwrap_err();
    append(&audit, &chain, 6);
    fs::remove_dir_all(&blocked).unwrap();
    assert_eq!(audit.fold().unwrap(), 2);
    assert_eq!(verdict(&audit, &chain), Ok(6));
    assert_eq!(room.files(), ["audit.journal"]);
}
