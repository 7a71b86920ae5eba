//! What was acknowledged stays, what was deleted goes: SIGKILL, a full disk, residue.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};

use akm_core::store::{HistoryRow, Id, KeyRow, Store, Tag};

use crate::children;
use crate::support::*;

#[test]
fn kill_9_during_inserts_loses_no_acknowledged_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    let mut acknowledged: Vec<(Id, Vec<Tag>)> = Vec::new();
    // Killed before the first key, amid few, and beyond the first automatic checkpoint.
    for wanted in [0, 1, 2, 17, 60, 400] {
        let mut child = children::command(&[], "insert", &path).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut account: Option<Id> = None;
        let mut tags = Vec::new();
        let mut take = |line: &str| {
            for said in children::said(line) {
                match said.split_once(' ') {
                    Some(("account", id)) => account = Some(unhex(id)),
                    Some(("key", tag)) => tags.push(unhex(tag)),
                    _ => panic!("the child says {said}"),
                }
            }
            (account.is_some(), tags.len())
        };
        loop {
            let line = lines.next().expect("the child inserts until it is killed");
            if let (true, count) = take(&line.unwrap())
                && count >= wanted
            {
                break;
            }
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        // What it said before it died was acknowledged too; a line cut off in the middle was not said.
        for line in lines.map_while(Result::ok) {
            if line.len() == "say:key ".len() + 64 {
                take(&line);
            }
        }
        acknowledged.push((account.unwrap(), tags));

        // The lock of a killed process is free, and every row of every round is there.
        let store = open(&path).unwrap();
        for (account, tags) in &acknowledged {
            for tag in tags {
                assert!(store.key_by_tag(account, tag).unwrap().is_some());
            }
            let page = store.keys_page(account, None, None, 100_000).unwrap();
            assert_eq!(page.len() as u64, store.key_count(account).unwrap());
            // At most the one whose acknowledgement the kill cut off.
            assert!(page.len() - tags.len() <= 1);
        }
        drop(store);
        let check: String = sqlite(&path)
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
    let total: usize = acknowledged.iter().map(|(_, tags)| tags.len()).sum();
    assert!(total >= 480);
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .unwrap()
        .try_into()
        .unwrap()
}

#[test]
fn a_full_disk_answers_io_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    let root = nix::unistd::geteuid().is_root();
    let wrap: &[&str] = if root {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--mount", "--map-root-user"]
    };
    let probe = std::process::Command::new(wrap[0])
        .args(&wrap[1..])
        .arg("true")
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skip("no mount namespaces here, so no small file system");
    }
    let said = children::run(wrap, "fill", &path);
    match said.as_slice() {
        [line] if line.starts_with("intact ") => {}
        [line] if line == "no mount" => skip("no tmpfs can be mounted here"),
        other => panic!("the child said {other:?}"),
    }
    assert!(!path.exists(), "the file system was the child's own");
}

#[test]
fn a18_deleted_blobs_are_gone_from_file_and_log() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    // Enough rows for several levels of pages, and secrets long enough for overflow pages. Pages split
    // and merge on the way: what they leave behind in their slack counts as well.
    let mut rows: Vec<_> = (0..600).map(|_| key(&ada)).collect();
    for row in rows.iter_mut().step_by(5) {
        row.secret = (0..60).flat_map(|_| random::<160>()).collect();
    }
    for batch in rows.chunks(50) {
        store
            .insert_keys(batch, None, &untracked(), &mut done())
            .unwrap();
    }
    let everything = || {
        let mut bytes = std::fs::read(&vault.path).unwrap();
        bytes.extend(std::fs::read(vault.dir.path().join("vault.db-wal")).unwrap());
        bytes
    };
    let inserted = everything();
    // A third is rotated: the replaced blobs go, the history keeps what it is given until its key goes.
    let (mut gone, mut kept) = (HashSet::new(), HashSet::new());
    for (index, row) in rows.iter_mut().enumerate() {
        let removed = index % 2 == 0;
        if index % 3 == 0 {
            let mut next = key(&ada);
            next.head.id = row.head.id;
            next.head.meta_version = 2;
            let old = HistoryRow {
                version: 1,
                meta: random::<64>().to_vec(),
                secret: random::<160>().to_vec(),
            };
            store
                .update_key(&next, 1, Some(&old), &untracked(), &mut done())
                .unwrap();
            gone.extend(marks(row));
            let old = [mark(&old.meta), mark(&old.secret)];
            if removed { &mut gone } else { &mut kept }.extend(old);
            *row = next;
        }
        if removed { &mut gone } else { &mut kept }.extend(marks(row));
    }

    // The control. A few marks are never found: a page ends in the middle of them.
    let rotated = everything();
    let mut there = found(&inserted, &gone);
    there.extend(found(&rotated, &gone));
    let staying = found(&rotated, &kept);
    assert!(
        there.len() * 10 > gone.len() * 9,
        "{} of {}",
        there.len(),
        gone.len()
    );
    assert!(staying.len() * 10 > kept.len() * 9);
    for row in rows.iter().step_by(2) {
        store
            .remove_key(
                &ada,
                &row.head.id,
                row.head.meta_version,
                &untracked(),
                &mut done(),
            )
            .unwrap();
    }
    assert!(!found(&everything(), &gone).is_empty(), "the log has them");
    store.checkpoint().unwrap();
    let after = everything();
    assert_eq!(found(&after, &gone).len(), 0);
    assert!(found(&after, &kept) == staying, "the rest is there");
}

fn marks(row: &KeyRow) -> [[u8; 24]; 3] {
    [
        mark(&row.head.wrapped_key),
        mark(&row.head.meta),
        mark(&row.secret),
    ]
}

#[test]
fn a_checkpoint_empties_the_log_while_others_read() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let row = add_key(store, &ada);
    let log = vault.dir.path().join("vault.db-wal");
    let stop = AtomicBool::new(false);
    // Also when an assertion fails: the readers would go on for ever.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(stored(store, &row).is_some());
                    assert!(!store.keys_page(&ada, None, None, 10).unwrap().is_empty());
                }
            });
        }
        for _ in 0..20 {
            add_key(store, &ada);
            assert!(std::fs::metadata(&log).unwrap().len() > 0);
            store.checkpoint().unwrap();
            assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        }
    });
}

#[test]
fn closing_leaves_one_file_and_the_lock() {
    let vault = vault();
    let ada = add_account(&vault.store, "ada");
    add_key(&vault.store, &ada);
    let (_, dir) = vault.close();
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["vault.db", "vault.db.lock"]);
}
