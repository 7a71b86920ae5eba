//! The audit on the real store and real file systems: an attacker with SQL, a full disk, kill -9.
//!
//! Where a process of its own is needed, the test starts itself again with [`CHILD`] naming a directory.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::{Connection, params};

use super::*;
use crate::audit::record::HEADER;
use crate::store::{EventRow, SqliteStore};

const CHILD: &str = "AKM_TEST_AUDIT_CHILD";

/// A vault in `dir` and its journal in `journal_dir`, with the machine's clock and chance.
fn open(dir: &Path, journal_dir: &Path) -> (Audit, AccountChain, Arc<SqliteStore>) {
    let host = Host::real();
    let path = dir.join("vault.db");
    let store = SqliteStore::open(&path, host.random.as_ref(), host.clock.as_ref()).unwrap();
    let store = Arc::new(store);
    let vault = store.vault_id();
    let journal = journal_dir.join("audit.journal");
    let audit = Audit::open(&journal, store.clone(), host, &key(1), vault).unwrap();
    let chain = audit.open_account(ACCOUNT, &key(2)).unwrap();
    (audit, chain, store)
}

/// This test again, in a process of its own that is given `dir`.
fn child(program: &[&str], test: &str, dir: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match program {
        [] => Command::new(&this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&this);
            command
        }
    };
    let test = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    command.args([test.as_str(), "--exact", "--nocapture"]);
    command.env(CHILD, dir).stdin(Stdio::null());
    command
}

#[test]
fn i01_edit_with_sql() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, chain, store) = open(dir.path(), dir.path());
    for index in 0..5 {
        append(&audit, &chain, index);
        append_system(&audit);
    }
    assert_eq!(verdict(&audit, &chain), Ok(10));
    let attacker = Connection::open(dir.path().join("vault.db")).unwrap();
    let mut tried = 0;
    for (id, name) in [(ACCOUNT, "account"), (SYSTEM, "system")] {
        for seq in 1..=5_u64 {
            let row = store.events(&id, seq - 1, None, None, 1).unwrap();
            for edit in [
                "seq = 77",
                "chain = x'11111111111111111111111111111111'",
                "time = time + 1",
                "time = -9223372036854775808",
                "action = 'key.list'",
                "action = action || char(0)",
                "outcome = 'denied'",
                "outcome = cast(zeroblob(2000) as text)",
                "record = x'22222222222222222222222222222222'",
                "record = CASE WHEN record IS NULL THEN zeroblob(16) END",
                "mac = zeroblob(32)",
                "sealed = zeroblob(length(sealed))",
                "sealed = x''",
                "sealed = zeroblob(1000000)",
            ] {
                let sql = format!("UPDATE events SET {edit} WHERE chain = ?1 AND seq = ?2");
                let changed = attacker.execute(&sql, params![id, seq as i64]).unwrap();
                assert_eq!(changed, 1);
                assert_eq!(
                    verdict(&audit, &chain),
                    bad(name, seq),
                    "{edit} of {name} {seq}"
                );
                restore(&attacker, &id, seq, &row[0]);
                tried += 1;
            }
            delete(&attacker, &id, seq);
            assert_eq!(
                verdict(&audit, &chain),
                bad(name, seq),
                "deleted {name} {seq}"
            );
            restore(&attacker, &id, seq, &row[0]);
            assert_eq!(verdict(&audit, &chain), Ok(10), "put back");
        }
    }
    assert_eq!(tried, 10 * 14);
}

fn delete(attacker: &Connection, chain: &Id, seq: u64) {
    let gone = "DELETE FROM events WHERE chain = ?1 AND seq = ?2 OR seq = 77";
    attacker.execute(gone, params![chain, seq as i64]).unwrap();
    let moved = "DELETE FROM events WHERE chain = x'11111111111111111111111111111111'";
    attacker.execute(moved, []).unwrap();
}

fn restore(attacker: &Connection, chain: &Id, seq: u64, row: &EventRow) {
    delete(attacker, chain, seq);
    let columns = "chain, seq, time, action, outcome, record, sealed, mac";
    attacker
        .execute(
            &format!("INSERT INTO events ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
            params![
                row.chain,
                row.seq as i64,
                row.time,
                row.action,
                row.outcome,
                row.record,
                row.sealed,
                row.mac
            ],
        )
        .unwrap();
}

#[test]
fn i05_log_cannot_be_written() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return on_a_full_disk(Path::new(&dir));
    }
    let unshare: &[&str] = if nix::unistd::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--mount", "--map-root-user"]
    };
    let may_mount = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .status()
        .is_ok_and(|status| status.success());
    if !may_mount {
        assert!(
            std::env::var_os("CI").is_none(),
            "this needs a mount namespace"
        );
        eprintln!("skipped: a file system of our own cannot be mounted here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = child(unshare, "i05_log_cannot_be_written", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("the full disk was met"), "{text}{errors}");
}

/// Tells the parent a line, at once.
fn tell(line: &str) {
    writeln!(std::io::stdout(), "{line}").unwrap();
}

/// Runs in a mount namespace of its own, which ends with this process.
fn on_a_full_disk(dir: &Path) {
    let small = dir.join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"])
        .arg(&small)
        .status();
    assert!(mounted.unwrap().success());
    let filler = small.join("filler");
    std::fs::write(&filler, [1; 16 * 1024]).unwrap();

    let (audit, chain, store) = open(dir, &small);
    let journal = small.join("audit.journal");
    let mut written = 0;
    let error = loop {
        match try_append(&audit, &chain, 1) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the disk never filled");
    };
    assert_eq!(error.kind(), Kind::Io);
    assert!(written > 50);
    // The last write did begin: the file ended within a block. And it was taken back.
    let length = std::fs::metadata(&journal).unwrap().len();
    assert_ne!(length % 4096, 0);
    assert_eq!((length - HEADER as u64) % written, 0);
    for _ in 0..3 {
        assert_eq!(try_append(&audit, &chain, 1).unwrap_err().kind(), Kind::Io);
        assert_eq!(std::fs::metadata(&journal).unwrap().len(), length);
    }
    assert_eq!(audit.fold().unwrap_err().kind(), Kind::Io);
    assert_eq!(audit.pending() as u64, written);

    // Control: with space, all of it works again, and nothing is missing or half there.
    std::fs::remove_file(&filler).unwrap();
    append(&audit, &chain, 2);
    assert_eq!(audit.fold().unwrap() as u64, written + 1);
    append(&audit, &chain, 3);
    assert_eq!(verdict(&audit, &chain), Ok(written + 2));

    // Full again, and the process ends there: the next one finds what was acknowledged.
    std::fs::write(&filler, [1; 16 * 1024]).unwrap();
    let mut more = 0;
    while try_append(&audit, &chain, 4).is_ok() {
        more += 1;
    }
    assert!(more > 0);
    drop((audit, chain, store));
    let (audit, chain, _store) = open(dir, &small);
    assert_eq!(verdict(&audit, &chain), Ok(written + 2 + more));
    tell("the full disk was met");
}

#[test]
fn i08_killed_at_any_moment_no_acknowledged_event_is_missing() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("audit.journal");
    let mut before = 0;
    let mut unfolded = 0;
    let mut folding = 0;
    for acknowledged in [
        1, 2, 3, 10, 33, 100, 150, 200, 250, 300, 350, 400, 1000, 1001,
    ] {
        let mut process = child(
            &[],
            "i08_killed_at_any_moment_no_acknowledged_event_is_missing",
            dir.path(),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut seen = 0;
        let mut line = String::new();
        while seen < acknowledged {
            line.clear();
            assert_ne!(
                output.read_line(&mut line).unwrap(),
                0,
                "the child ended by itself"
            );
            seen += u64::from(line.ends_with("event\n"));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        seen += rest.matches("event\n").count() as u64;

        unfolded +=
            usize::from(std::fs::metadata(&journal).is_ok_and(|facts| facts.len() > HEADER as u64));
        folding += usize::from(dir.path().join("audit.journal.folding").exists());
        let (audit, chain, _store) = open(dir.path(), dir.path());
        let entries = verdict(&audit, &chain).unwrap();
        // One more may have been written and not yet told.
        assert!(
            (before + seen..=before + seen + 1).contains(&entries),
            "{before} before, {seen} acknowledged, {entries} there"
        );
        before = entries;
    }
    // Otherwise no kill came at a moment that matters.
    assert!(unfolded > 0, "{unfolded} unfolded, {folding} while folding");
}

fn until_killed(dir: &Path) {
    let (audit, chain, _store) = open(dir, dir);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                audit.fold().unwrap();
            }
        });
        loop {
            append(&audit, &chain, 1);
            tell("event");
        }
    })
}
