//! What was acknowledged stays, what was deleted goes: SIGKILL, a full disk, residue.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use akm_core::store::{HistoryRow, Id, Store, Tag};

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
    // Enough rows for several levels of pages, and secrets long enough for overflow pages.
    let mut rows: Vec<_> = (0..600).map(|_| key(&ada)).collect();
    for row in rows.iter_mut().step_by(5) {
        row.secret = (0..60).flat_map(|_| random::<160>()).collect();
    }
    for batch in rows.chunks(50) {
        store.insert_keys(batch, None, &mut done()).unwrap();
    }
    let old = HistoryRow {
        version: 1,
        meta: random::<64>().to_vec(),
        secret: random::<160>().to_vec(),
    };
    for row in &mut rows {
        row.head.meta_version = 2;
        let history = (row.head.id == old_of(&ada, store)).then_some(&old);
        store.update_key(row, 1, history, &mut done()).unwrap();
    }

    let everything = || {
        let mut bytes = std::fs::read(&vault.path).unwrap();
        let log = vault.dir.path().join("vault.db-wal");
        bytes.extend(std::fs::read(log).unwrap());
        bytes
    };
    // 24 bytes from the inside of a blob, which no overflow boundary cuts in the first part.
    fn part(blob: &[u8]) -> &[u8] {
        &blob[8..32]
    }
    let blobs = |row: &akm_core::store::KeyRow| {
        [
            part(&row.head.wrapped_key).to_vec(),
            part(&row.head.meta).to_vec(),
            part(&row.secret).to_vec(),
        ]
    };
    let before = everything();
    for row in rows.iter().step_by(37) {
        for blob in blobs(row) {
            assert!(contains(&before, &blob), "the control: it was there");
        }
    }
    assert!(contains(&before, part(&old.secret)));

    let removed: Vec<_> = rows.iter().step_by(2).collect();
    for row in &removed {
        store
            .remove_key(&ada, &row.head.id, 2, &mut done())
            .unwrap();
    }
    let id = old_of(&ada, store);
    store.remove_key(&ada, &id, 2, &mut done()).ok();
    store.checkpoint().unwrap();
    let after = everything();
    let mut residue = 0;
    for row in &removed {
        residue += blobs(row)
            .iter()
            .filter(|blob| contains(&after, blob))
            .count();
    }
    assert_eq!(residue, 0);
    assert!(
        contains(&after, part(&rows[1].head.meta)),
        "the rest is there"
    );
}

fn old_of(ada: &Id, store: &dyn Store) -> Id {
    store.keys_page(ada, None, None, 1).unwrap()[0].id
}

#[test]
fn a_checkpoint_empties_the_log_while_others_read() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let row = add_key(store, &ada);
    let log = vault.dir.path().join("vault.db-wal");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
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
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let _ = Duration::ZERO;
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
