//! Damaged, cut, foreign and vanished files of a vault: cases A09, A10, A11 and A13 of the attack programme. Nothing
//! that rests in a file makes akm panic, hand out a wrong secret, or go on as if nothing had been lost.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use akm_core::protocol::{AccountRecover, AgentUnlock, KeyGet, Op, Request, Response};
use akm_core::{Kind, Result};
use rusqlite::Connection;
use support::{Bench, PASSPHRASE, kind, me, secret};

fn name(number: usize) -> String {
    format!("openai/k{number}")
}

fn value(number: usize) -> String {
    format!("sk-{number:04}-aaaaaaaaaaaaaaaaaaaa")
}

fn wal(bench: &Bench) -> PathBuf {
    bench.home.path().join("vault.db-wal")
}

/// Every file of a home, as a kill at this moment would leave them: what was written is the kernel's.
#[derive(Clone)]
struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Files {
    fn of(bench: &Bench) -> Files {
        fn walk(top: &Path, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(top, &path, files);
                } else {
                    let name = path.strip_prefix(top).unwrap().to_owned();
                    files.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        walk(bench.home.path(), bench.home.path(), &mut files);
        // Shared memory is rebuilt.
        files.retain(|(name, _)| name != Path::new("vault.db-shm"));
        Files(files)
    }

    fn file(&self, name: &str) -> &[u8] {
        let found = self.0.iter().find(|(path, _)| path == Path::new(name));
        &found.unwrap().1
    }

    fn with(&self, name: &str, content: Option<&[u8]>) -> Files {
        let mut files = self.clone();
        files.0.retain(|(path, _)| path != Path::new(name));
        if let Some(content) = content {
            files.0.push((name.into(), content.to_vec()));
        }
        files
    }

    /// Without what this machine remembers of the vault.
    fn forgotten(&self) -> Files {
        let mut files = self.clone();
        files.0.retain(|(path, _)| !path.starts_with("state/epoch"));
        files
    }

    /// The only files of a closed bench.
    fn put(&self, bench: &mut Bench) {
        bench.close();
        for entry in std::fs::read_dir(bench.home.path()).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
        for (name, content) in &self.0 {
            let path = bench.home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Opens, unlocks and asks for every key; says which are there. Whatever comes out must be right.
fn read(bench: &Bench, keys: usize) -> Result<Vec<bool>> {
    let service = bench.open()?;
    service.call(
        &me(),
        AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            lifetime_s: None,
            accept_rollback: None,
            keyfile: None,
        }
        .into(),
    )?;
    let there = (0..keys).map(|number| {
        let get = KeyGet {
            name: name(number),
            version: None,
        };
        match service.call(&me(), get.into()) {
            Ok(Response::KeyGet(got)) => {
                assert_eq!(got.secret.expose(), value(number), "a wrong secret");
                Ok(true)
            }
            Ok(_) => panic!("key.get answered as something else"),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    });
    there.collect()
}

/// A live vault whose keys are in its log alone.
fn logged(keys: usize) -> Bench {
    let bench = Bench::initialized();
    bench.service().fold().unwrap();
    bench.service().checkpoint().unwrap();
    for number in 0..keys {
        bench.add(&name(number), &value(number)).unwrap();
    }
    assert!(std::fs::metadata(wal(&bench)).unwrap().len() > 10_000);
    bench
}

#[test]
fn a09_a_log_cut_anywhere_opens_at_a_committed_state_or_not_at_all() {
    const KEYS: usize = 2;
    let files = Files::of(&logged(KEYS));
    let log = files.file("vault.db-wal").to_vec();
    let mut bench = Bench::new();
    let (mut refused, mut counts) = (0, [0; KEYS + 1]);
    for cut in (0..log.len()).step_by(512).chain([log.len()]) {
        let files = files.with("vault.db-wal", Some(&log[..cut]));
        // Where a newer vault is remembered, only the newest is taken.
        files.put(&mut bench);
        match read(&bench, KEYS) {
            Ok(there) => {
                assert_eq!(there, [true; KEYS], "{cut}: something was lost in silence");
                assert_eq!(cut, log.len(), "nothing shorter is whole");
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::RolledBack, "{cut}: {error}");
                refused += 1;
            }
        }
        // Where nothing is remembered, it is one of the states that were committed, whole.
        files.forgotten().put(&mut bench);
        let there = read(&bench, KEYS).unwrap();
        let count = there.iter().filter(|there| **there).count();
        assert!(there[..count].iter().all(|there| *there), "{cut}: a hole");
        counts[count] += 1;
        let check: String = bench
            .hand()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok", "{cut}");
    }
    assert!(refused > 50, "control: most cuts lose something");
    assert!(
        counts.iter().all(|count| *count > 0),
        "control: every state was seen: {counts:?}"
    );
}

#[test]
fn a10_a_foreign_log_is_ignored_or_refused() {
    const KEYS: usize = 3;
    let mut closed = logged(KEYS);
    let live = Files::of(&closed);
    closed.close();
    let whole = Files::of(&closed);
    assert!(whole.0.iter().all(|(name, _)| !name.ends_with("-wal")));
    let mut bench = Bench::new();

    // The controls: the vault opens without a log, and with its own.
    whole.put(&mut bench);
    assert_eq!(read(&bench, KEYS).unwrap(), [true; KEYS]);
    live.put(&mut bench);
    assert_eq!(read(&bench, KEYS).unwrap(), [true; KEYS]);

    // A log of a vault that was never written back has every page of it, so this would be that vault.
    let other = Bench::initialized();
    other.add("openai/theirs", "x").unwrap();
    let foreign = Files::of(&other).file("vault.db-wal").to_vec();
    let planted = whole.with("vault.db-wal", Some(&foreign));
    planted.put(&mut bench);
    let refused = read(&bench, KEYS).unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt);
    assert!(refused.message().contains("another vault"), "{refused}");
    let left = Files::of(&bench);
    for name in ["vault.db", "vault.db-wal"] {
        assert!(left.file(name) == planted.file(name), "{name} is untouched");
    }
    // The control of that: whoever does not look takes it.
    let vault_id = |path: &Path| -> Vec<u8> {
        Connection::open(path)
            .unwrap()
            .query_row("SELECT id FROM vault", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(vault_id(&bench.vault()), vault_id(&other.vault()));

    // Some pages of another vault; an older log of the same; another program's; no log at all.
    let partial = Files::of(&logged(2)).file("vault.db-wal").to_vec();
    let program = {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let conn = Connection::open(&path).unwrap();
        conn.pragma_update(None, "journal_mode", "WAL").unwrap();
        conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(9000));")
            .unwrap();
        std::fs::read(dir.path().join("x.db-wal")).unwrap()
    };
    let mut grown = Bench::new();
    whole.put(&mut grown);
    grown.reopen();
    grown.unlock().unwrap();
    for number in 0..KEYS {
        grown
            .raw(Op::KeyRemove, &format!(r#"{{"name":"{}"}}"#, name(number)))
            .unwrap();
        grown.add(&name(number), &value(number)).unwrap();
    }
    grown.close();
    let grown = Files::of(&grown);
    for (case, base, log) in [
        ("partial", &whole, &partial[..]),
        ("program", &whole, &program[..]),
        ("older", &grown, live.file("vault.db-wal")),
    ] {
        base.with("vault.db-wal", Some(log)).put(&mut bench);
        let refused = kind(read(&bench, KEYS));
        assert!(
            matches!(
                refused,
                Kind::RolledBack
                    | Kind::Corrupt
                    | Kind::UnsupportedVersion
                    | Kind::WrongCredentials
            ),
            "{case}: {refused:?}"
        );
    }
    for (case, log) in [
        ("noise", vec![0x5a; 20_000]),
        ("zeros", vec![0; 20_000]),
        ("header", foreign[..32].to_vec()),
    ] {
        whole.with("vault.db-wal", Some(&log)).put(&mut bench);
        assert_eq!(read(&bench, KEYS).unwrap(), [true; KEYS], "{case}");
    }
}

#[test]
fn a10_a_rollback_journal_beside_the_vault_is_refused() {
    // A journal of another database, hot: its owner was killed in the middle of a transaction.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "PRAGMA cache_size = 1; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(40000));
         BEGIN; UPDATE t SET x = randomblob(40000);
         INSERT INTO t VALUES (randomblob(90000));",
    )
    .unwrap();
    conn.cache_flush().unwrap();
    let journal = std::fs::read(dir.path().join("x.db-journal")).unwrap();
    assert!(journal.len() > 4096, "control: pages to be played back");

    let mut bench = logged(2);
    bench.close();
    let whole = Files::of(&bench);
    whole
        .with("vault.db-journal", Some(&journal))
        .put(&mut bench);
    assert_eq!(kind(read(&bench, 2)), Kind::Corrupt);
    assert!(Files::of(&bench).file("vault.db") == whole.file("vault.db"));
    // The control: SQLite alone plays it back over the vault.
    drop(
        bench
            .hand()
            .query_row("SELECT count(*) FROM keys", [], |_| Ok(())),
    );
    assert!(Files::of(&bench).file("vault.db") != whole.file("vault.db"));
    // An empty one is what SQLite may leave.
    whole.with("vault.db-journal", Some(&[])).put(&mut bench);
    assert_eq!(read(&bench, 2).unwrap(), [true; 2]);
}

#[test]
fn a11_a_log_taken_away_under_an_open_vault_is_noticed_by_the_next_change_and_by_the_next_open() {
    let mut bench = logged(3);
    let control = Files::of(&bench);
    std::fs::remove_file(wal(&bench)).unwrap();
    std::fs::remove_file(bench.home.path().join("vault.db-shm")).unwrap();
    // Killed now: what was acknowledged is gone with the log, and that is not passed over.
    let killed = Files::of(&bench);
    let mut other = Bench::new();
    killed.put(&mut other);
    assert_eq!(kind(read(&other, 3)), Kind::RolledBack);
    killed.forgotten().put(&mut other);
    assert_eq!(
        read(&other, 3).unwrap(),
        [false; 3],
        "control: they are lost"
    );
    control.put(&mut other);
    assert_eq!(
        read(&other, 3).unwrap(),
        [true; 3],
        "control: not by the kill"
    );

    // Alive: reads go on, the next change is refused, and what was in the log is brought home.
    assert_eq!(bench.get(&name(0)).unwrap(), value(0));
    let refused = bench.add("openai/late", "x").unwrap_err();
    assert_eq!(refused.kind(), Kind::Io);
    assert!(refused.message().contains("taken away"));
    let killed = Files::of(&bench);
    killed.put(&mut other);
    assert_eq!(read(&other, 3).unwrap(), [true; 3]);
    bench.reopen();
    bench.unlock().unwrap();
    bench
        .add("openai/late", "x")
        .expect("after a restart it goes on");
}

#[test]
fn a11_a_vault_replaced_under_an_open_vault_is_noticed_by_the_next_change() {
    let bench = logged(1);
    let moved = bench.home.path().join("moved.db");
    std::fs::rename(bench.vault(), &moved).unwrap();
    assert_eq!(kind(bench.add("openai/late", "x")), Kind::Io);
    std::fs::rename(&moved, bench.vault()).unwrap();
    bench.add("openai/late", "x").expect("control: put back");
}

/// Every operation that reads, on a vault of changed bytes. Answers are errors or right; nothing panics.
fn read_everything(bench: &Bench) -> bool {
    let mut fine = read(bench, 6).is_ok_and(|there| there == [true; 6]);
    let Ok(service) = bench.open() else {
        return false;
    };
    let bodies = [
        (
            Op::AgentUnlock,
            format!(r#"{{"passphrase":"{PASSPHRASE}","accept_rollback":true}}"#),
        ),
        (Op::KeyList, "{}".to_owned()),
        (Op::KeyShow, r#"{"name":"openai/k1"}"#.to_owned()),
        (Op::KeyHistory, r#"{"name":"openai/k2"}"#.to_owned()),
        (Op::KeyGet, r#"{"name":"openai/k2","version":1}"#.to_owned()),
        (Op::AuditList, "{}".to_owned()),
        (Op::AuditVerify, "{}".to_owned()),
        (
            Op::KeyRotate,
            r#"{"name":"openai/k3","secret":"x"}"#.to_owned(),
        ),
        (Op::KeyRemove, r#"{"name":"openai/k4"}"#.to_owned()),
    ];
    for (op, body) in bodies {
        let request = Request::decode(op, body.as_bytes()).unwrap();
        fine &= service.call(&me(), request).is_ok();
    }
    fine
}

fn fuzz_pages(rounds: u64, seed: u64) {
    let mut bench = logged(6);
    for number in [2, 3] {
        let body = |value: &str| format!(r#"{{"name":"{}","secret":"{value}"}}"#, name(number));
        bench.raw(Op::KeyRotate, &body("another")).unwrap();
        bench.raw(Op::KeyRotate, &body(&value(number))).unwrap();
    }
    bench.close();
    let good = Files::of(&bench);
    assert!(read_everything(&bench), "control: unchanged, all is well");
    let bytes = good.file("vault.db").to_vec();
    let pages = bytes.len() / 4096;
    // xorshift64: a failure can be run again.
    let mut dice = seed;
    let mut roll = |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % below as u64) as usize
    };
    let (mut fine, mut noticed) = (0, 0);
    for _ in 0..rounds {
        let mut bad = bytes.clone();
        for _ in 0..=roll(3) {
            let page = roll(pages) * 4096;
            match roll(6) {
                // Bits anywhere; headers of pages, where it hurts; pointers to cells.
                0 => bad[page + roll(4096)] ^= 1 << roll(8),
                1 => bad[page + roll(12)] = roll(256) as u8,
                2 => bad[page + 8 + roll(64)] = roll(256) as u8,
                // A stretch of zeros, or of another page.
                3 => {
                    let at = page + roll(4000);
                    bad[at..at + 96].fill(0);
                }
                4 => {
                    let (from, at) = (roll(pages) * 4096 + roll(4000), page + roll(4000));
                    bad.copy_within(from..from + 64, at);
                }
                // A page in another's place.
                _ => {
                    let from = roll(pages) * 4096;
                    bad.copy_within(from..from + 4096, page);
                }
            }
        }
        good.with("vault.db", Some(&bad)).put(&mut bench);
        match read_everything(&bench) {
            true => fine += 1,
            false => noticed += 1,
        }
    }
    eprintln!("{rounds} rounds: {noticed} noticed, {fine} without effect, 0 wrong secrets");
    assert!(noticed > rounds / 4, "control: most damage is noticed");
    assert!(fine > 0, "control: free space does not matter");
}

#[test]
fn a13_changed_pages_never_panic_and_never_yield_a_wrong_secret() {
    fuzz_pages(250, 0x5eed_1234_5678_9abc);
}

#[test]
#[ignore = "minutes: cargo test --release -p akm-core --test attacks_files -- --ignored a13"]
fn a13_changed_pages_a_hundred_thousand() {
    fuzz_pages(100_000, 0x0bad_cafe_0bad_cafe);
}

/// No passphrase can be right there, so the owner is not told that theirs is wrong. Everybody else is.
#[test]
fn an_account_that_nothing_can_open_is_told_to_its_owner_and_to_nobody_else() {
    for change in [
        "DELETE FROM slots",
        "UPDATE vault SET id = x'000102030405060708090a0b0c0d0e0f'",
    ] {
        let mut bench = Bench::initialized();
        bench.lock();
        // Else the journal would tell first that it is another vault's.
        bench.service().fold().unwrap();
        bench.close();
        bench.hand().execute_batch(change).unwrap();
        bench.reopen();
        let recover = || {
            bench.call(AccountRecover {
                account: None,
                code: secret("AAAA-AAAA-AAAA-AAAA-AAAA-AAAA"),
                new_passphrase: secret("another one altogether"),
            })
        };
        for refused in [bench.unlock().unwrap_err(), recover().unwrap_err()] {
            assert_eq!(refused.kind(), Kind::Corrupt, "{change}");
            assert!(refused.hint().unwrap().contains("akm backup list"));
        }
        let unknown = bench.sign_in(Some("nobody"), PASSPHRASE, None);
        assert_eq!(kind(unknown), Kind::WrongCredentials, "{change}");
        let unlock = AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            keyfile: None,
            lifetime_s: None,
            accept_rollback: None,
        };
        let mut other = me();
        other.uid += 1;
        assert_eq!(
            kind(bench.call_as(other, unlock)),
            Kind::WrongCredentials,
            "{change}"
        );
    }
    // The control.
    let bench = Bench::initialized();
    bench.lock();
    let wrong = bench.sign_in(None, "not this one at all", None);
    assert_eq!(kind(wrong), Kind::WrongCredentials);
}
