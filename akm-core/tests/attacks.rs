//! Cases of the attack programme that go through the whole service, named after their ids. Each has its
//! positive control: the same reading without the attack, or the attack's own foothold shown to be real.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use akm_core::audit::Caller;
use akm_core::crypto::KdfCost;
use akm_core::host::Host;
use akm_core::memory::LockedKey;
use akm_core::name::KeyName;
use akm_core::protocol::{AgentStatus, AgentUnlock, AuditVerify, KeyGet, Op};
use akm_core::store::SqliteStore;
use akm_core::vault::{Origin, SignIn, Unlocked, Vault};
use akm_core::{Kind, Result};
use rusqlite::Connection;
use rusqlite::types::Value;
use support::{Bench, PASSPHRASE, kind, me, secret, totp_code, with_totp};

const SECRETS: [(&str, &str); 3] = [
    ("openai/one", "sk-first-canary-aaaaaaaaaaaaaaaa"),
    ("openai/two", "sk-second-canary-bbbbbbbbbbbbbbb"),
    ("anthropic/three", "sk-third-canary-cccccccccccccccc"),
];

/// A closed vault with known secrets, to be tampered with.
fn stored() -> Bench {
    let mut bench = Bench::initialized();
    for (name, value) in SECRETS {
        bench.add(name, value).unwrap();
    }
    bench.service().fold().unwrap();
    bench.close();
    bench
        .hand()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    bench
}

/// Opens a tampered vault and reads everything: every secret must be the right one or a typed error.
/// Says how many were right.
fn read_all(bench: &mut Bench) -> usize {
    bench.close();
    let service = match bench.open() {
        Ok(service) => service,
        Err(_) => return 0,
    };
    let unlock = AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    if service.call(&me(), unlock.into()).is_err() {
        return 0;
    }
    let mut right = 0;
    for (name, value) in SECRETS {
        match service.call(
            &me(),
            KeyGet {
                name: name.into(),
                version: None,
            }
            .into(),
        ) {
            Ok(akm_core::protocol::Response::KeyGet(got)) => {
                assert_eq!(got.secret.expose(), value, "a wrong plaintext came out");
                right += 1;
            }
            Ok(_) => panic!("key.get answered as something else"),
            Err(_) => {}
        }
    }
    right
}

/// A small deterministic generator, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A vault over the file alone, without journal and sessions.
fn bare_vault(path: &std::path::Path, host: &Host) -> Result<Vault> {
    let store = SqliteStore::open(path, &*host.random, &*host.clock)?;
    Ok(Vault::new(
        Arc::new(store),
        host.clone(),
        LockedKey::from_bytes(&mut [7; 32]),
        None,
    ))
}

fn sign_in(vault: &Vault) -> Result<Unlocked> {
    vault.sign_in(&SignIn {
        account: "default",
        passphrase: &secret(PASSPHRASE),
        totp: None,
        device: None,
        origin: Origin::Owner,
        accept_rollback: false,
    })
}

/// Opens the file and reads every secret with the keys at hand; with `afresh`, with what signing in gives instead.
/// Says how many were right.
fn read_vault(path: &std::path::Path, host: &Host, cached: &Unlocked, afresh: bool) -> usize {
    let Ok(vault) = bare_vault(path, host) else {
        return 0;
    };
    let fresh = match afresh.then(|| sign_in(&vault)) {
        None => None,
        Some(Ok(account)) => Some(account),
        Some(Err(_)) => return 0,
    };
    let account = fresh.as_ref().unwrap_or(cached);
    let mut right = 0;
    for (name, value) in SECRETS {
        let name = KeyName::parse(name, "name").unwrap();
        let read = vault.find_key(account, &name).and_then(|opened| {
            opened
                .map(|opened| vault.open_secret(account, &opened))
                .transpose()
        });
        if let Ok(Some(read)) = read {
            assert_eq!(read.expose(), value, "a wrong plaintext came out");
            right += 1;
        }
    }
    right
}

const PAGE: usize = 4096;

/// The pages that hold what signing in reads: the account's row and its slots.
fn sign_in_pages(bench: &Bench, file: &[u8]) -> Vec<usize> {
    let hand = bench.hand();
    let mut blobs: Vec<Vec<u8>> = vec![b"default".to_vec()];
    for query in [
        "SELECT keys FROM accounts",
        "SELECT profile FROM accounts",
        "SELECT wrapped FROM slots",
    ] {
        let mut statement = hand.prepare(query).unwrap();
        blobs.extend(
            statement
                .query_map([], |row| row.get(0))
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<Vec<u8>>>(),
        );
    }
    let holds = |page: &[u8]| {
        blobs
            .iter()
            .any(|blob| page.windows(32).any(|w| blob.windows(32).next() == Some(w)))
    };
    let pages: Vec<usize> = file
        .chunks(PAGE)
        .enumerate()
        .filter(|(_, page)| holds(page))
        .map(|(index, _)| index)
        .collect();
    assert!(!pages.is_empty(), "control: the account rests somewhere");
    pages
}

/// Flips bits of every byte, from two threads, on a file system in memory where there is one.
fn flip_bits(bits_per_byte: u32) {
    let mut bench = stored();
    assert_eq!(
        read_all(&mut bench),
        3,
        "control: untouched, everything reads"
    );
    bench.close();
    bench
        .hand()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let good = std::fs::read(bench.vault()).unwrap();
    let host = Host {
        clock: bench.clock.clone(),
        kdf_cost: KdfCost::insecure_test(),
        ..Host::real()
    };
    let cached = sign_in(&bare_vault(&bench.vault(), &host).unwrap()).unwrap();
    let afresh = sign_in_pages(&bench, &good);
    let (harmless, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let memory = std::path::Path::new("/dev/shm");
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (good, host, harmless, refused) = (&good, &host, &harmless, &refused);
            let (cached, afresh) = (&cached, &afresh);
            scope.spawn(move || {
                let dir = match memory.is_dir() {
                    true => tempfile::tempdir_in(memory).unwrap(),
                    false => tempfile::tempdir().unwrap(),
                };
                let path = dir.path().join("vault.db");
                let mut dice = Dice(0x5eed_1234_5678_9abc + half as u64);
                for byte in (half..good.len()).step_by(2) {
                    for turn in 0..bits_per_byte {
                        let bit = if bits_per_byte == 8 {
                            turn
                        } else {
                            (dice.roll() % 8) as u32
                        };
                        let mut bad = good.clone();
                        bad[byte] ^= 1 << bit;
                        for name in ["vault.db-wal", "vault.db-shm"] {
                            let _ = std::fs::remove_file(dir.path().join(name));
                        }
                        std::fs::write(&path, &bad).unwrap();
                        match read_vault(&path, host, cached, afresh.contains(&(byte / PAGE))) {
                            3 => harmless.fetch_add(1, Ordering::Relaxed),
                            _ => refused.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                }
            });
        }
    });
    let (harmless, refused) = (harmless.into_inner(), refused.into_inner());
    eprintln!(
        "{} bytes: {harmless} flips harmless, {refused} refused, 0 wrong plaintexts",
        good.len()
    );
    assert_eq!(
        harmless + refused,
        good.len() * bits_per_byte as usize,
        "every flip was tried"
    );
    assert!(refused > 1000, "control: flips in sealed bytes are noticed");
    assert!(harmless > 1000, "control: flips in free space do no harm");
}

#[test]
fn a01_bit_flips() {
    flip_bits(1);
}

#[test]
#[ignore = "every bit of the file: cargo test --release -p akm-core --test attacks -- --ignored a01_all_bits"]
fn a01_all_bits() {
    flip_bits(8);
}

fn ids(hand: &Connection) -> Vec<Vec<u8>> {
    let mut statement = hand.prepare("SELECT id FROM keys ORDER BY id").unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect::<Vec<_>>()
}

fn cell(hand: &Connection, column: &str, id: &[u8]) -> Value {
    hand.query_row(
        &format!("SELECT {column} FROM keys WHERE id = ?1"),
        [id],
        |row| row.get(0),
    )
    .unwrap()
}

fn put(hand: &Connection, column: &str, id: &[u8], value: &Value) {
    let changed = hand
        .execute(
            &format!("UPDATE keys SET {column} = ?1 WHERE id = ?2"),
            (value, id),
        )
        .unwrap();
    assert_eq!(changed, 1, "control: the hand reaches the file");
}

const BLOBS: [&str; 3] = ["wrapped_key", "meta", "secret"];

#[test]
fn a02_row_swap() {
    let mut bench = stored();
    let ids = ids(&bench.hand());
    assert_eq!(ids.len(), 3);
    assert_eq!(read_all(&mut bench), 3, "control");
    bench.close();
    for column in BLOBS {
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let hand = bench.hand();
            let (left, right) = (cell(&hand, column, &ids[a]), cell(&hand, column, &ids[b]));
            put(&hand, column, &ids[a], &right);
            put(&hand, column, &ids[b], &left);
            drop(hand);
            assert_eq!(
                read_all(&mut bench),
                1,
                "{column}: both swapped rows are refused, the third reads"
            );
            bench.close();
            let hand = bench.hand();
            put(&hand, column, &ids[a], &left);
            put(&hand, column, &ids[b], &right);
        }
    }
    // Tags are unique: they go through a third value.
    let hand = bench.hand();
    let (left, right) = (cell(&hand, "tag", &ids[0]), cell(&hand, "tag", &ids[1]));
    put(&hand, "tag", &ids[0], &Value::Blob(vec![0; 32]));
    put(&hand, "tag", &ids[1], &left);
    put(&hand, "tag", &ids[0], &right);
    drop(hand);
    assert_eq!(
        read_all(&mut bench),
        1,
        "a key under another's name is refused"
    );
}

#[test]
fn a02_a_row_of_another_account_does_not_open() {
    let mut bench = Bench::initialized();
    bench.add("openai/mine", "sk-mine").unwrap();
    bench.register("mallory", false);
    bench.add("openai/hers", "sk-hers").unwrap();
    assert_eq!(bench.get("openai/hers").unwrap(), "sk-hers", "control");
    bench.close();
    let hand = bench.hand();
    let changed = hand
        .execute(
            "UPDATE keys SET account = (SELECT id FROM accounts WHERE name = 'mallory')",
            [],
        )
        .unwrap();
    assert_eq!(changed, 2);
    drop(hand);
    bench.reopen();
    bench.sign_in(Some("mallory"), PASSPHRASE, None).unwrap();
    assert_eq!(
        kind(bench.get("openai/mine")),
        Kind::NotFound,
        "her tags are keyed with her own key"
    );
    assert_eq!(bench.get("openai/hers").unwrap(), "sk-hers");
    let error = bench.raw(Op::KeyList, "{}").unwrap_err();
    assert_eq!(
        error.kind(),
        Kind::Corrupt,
        "the foreign row is reported, not listed"
    );
}

#[test]
fn a03_column_swap() {
    let mut bench = stored();
    let ids = ids(&bench.hand());
    assert_eq!(read_all(&mut bench), 3, "control");
    bench.close();
    for (from, to) in [
        ("secret", "meta"),
        ("meta", "secret"),
        ("wrapped_key", "secret"),
        ("secret", "wrapped_key"),
    ] {
        let hand = bench.hand();
        let (moved, before) = (cell(&hand, from, &ids[0]), cell(&hand, to, &ids[0]));
        put(&hand, to, &ids[0], &moved);
        drop(hand);
        assert_eq!(read_all(&mut bench), 2, "{from} into {to}");
        bench.close();
        put(&bench.hand(), to, &ids[0], &before);
    }
    // Clear columns are checked against their sealed copies.
    for (column, value) in [("status", 2i64), ("secret_version", 2), ("meta_version", 2)] {
        let hand = bench.hand();
        let before = cell(&hand, column, &ids[0]);
        put(&hand, column, &ids[0], &Value::Integer(value));
        drop(hand);
        assert_eq!(read_all(&mut bench), 2, "{column}");
        bench.close();
        put(&bench.hand(), column, &ids[0], &before);
    }
    assert_eq!(
        read_all(&mut bench),
        3,
        "control: put back, everything reads"
    );
}

#[test]
fn a14_unknown_versions_are_refused() {
    let mut bench = stored();
    let ids = ids(&bench.hand());
    for column in BLOBS {
        for (offset, value) in [(0usize, 0u8), (0, 255), (1, 0), (1, 255)] {
            let hand = bench.hand();
            let before = cell(&hand, column, &ids[0]);
            let Value::Blob(mut blob) = before.clone() else {
                panic!("{column} is a blob")
            };
            assert_eq!(
                (blob[0], blob[1]),
                (1, 1),
                "control: version and algorithm stand where they are changed"
            );
            blob[offset] = value;
            put(&hand, column, &ids[0], &Value::Blob(blob));
            drop(hand);
            bench.reopen();
            bench.unlock().unwrap();
            let kinds: Vec<_> = SECRETS
                .iter()
                .filter_map(|(name, _)| bench.get(name).err())
                .map(|error| error.kind())
                .collect();
            assert_eq!(kinds, [Kind::UnsupportedVersion], "{column}");
            bench.close();
            put(&bench.hand(), column, &ids[0], &before);
        }
    }
    assert_eq!(read_all(&mut bench), 3, "control");
}

#[test]
fn a18_deleted_secret_residue() {
    let begun = std::time::SystemTime::now();
    let bench = Bench::initialized();
    let canary = "sk-residue-canary-0123456789abcdef";
    bench.add("openai", canary).unwrap();
    let sealed: Vec<u8> = bench
        .hand()
        .query_row("SELECT secret FROM keys", [], |row| row.get(0))
        .unwrap();
    let piece = sealed[66..98].to_vec();
    let backup = |name: &str| {
        let made = bench.raw(Op::BackupCreate, "{}").unwrap();
        let made = made["backup"]["name"].as_str().unwrap().to_owned();
        let path = bench.home.path().join("backups").join(&made);
        assert!(path.is_file(), "{name}");
        path
    };
    let before = backup("before");
    // Everything below the home, with state and backups, and whatever lies in the places for temporary files.
    let files = || -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut folders = vec![bench.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => all.push((path.clone(), std::fs::read(path).unwrap())),
                }
            }
        }
        let places = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        for folder in BTreeSet::from(places) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                // What was written since this test began; of other tests too, whose files come and go.
                let meta = entry.metadata().ok().filter(|meta| meta.is_file());
                let written = meta.and_then(|meta| meta.modified().ok());
                if written.is_some_and(|at| at + Duration::from_secs(2) >= begun) {
                    let path = entry.path();
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    all.push((path, bytes));
                }
            }
        }
        all
    };
    let having = |needle: &[u8]| -> Vec<PathBuf> {
        let has = |all: &[u8]| all.windows(needle.len()).any(|window| window == needle);
        let files = files().into_iter().filter(|(_, bytes)| has(bytes));
        files.map(|(path, _)| path).collect()
    };
    let state = bench.home.path().join("state");
    let seen = files();
    for folder in [bench.home.path(), &state, &state.join("epoch")] {
        let there = |path: &PathBuf| path.parent() == Some(folder);
        assert!(
            seen.iter().any(|(path, _)| there(path)),
            "control: {folder:?}"
        );
    }
    let planted = std::env::temp_dir().join(format!("akm-a18-{}", std::process::id()));
    std::fs::write(&planted, b"planted by a18 and found").unwrap();
    assert_eq!(having(b"by a18 and found").len(), 1, "control");
    std::fs::remove_file(planted).unwrap();
    let sealed_in = having(&piece);
    assert!(sealed_in.contains(&before), "control: it is in the backup");
    assert!(sealed_in.len() > 1, "and in the files");
    assert!(
        having(canary.as_bytes()).is_empty(),
        "the plaintext never is"
    );
    bench.raw(Op::KeyRemove, r#"{"name":"openai"}"#).unwrap();
    let service = bench.service();
    service.fold().unwrap();
    service.checkpoint().unwrap();
    backup("after");
    assert_eq!(
        having(&piece),
        [before],
        "after removal not even the sealed secret is, but in a backup of before"
    );
    assert!(having(canary.as_bytes()).is_empty());
}

#[test]
fn b07_a_restart_does_not_reset_the_counter() {
    let mut bench = Bench::initialized();
    bench.lock();
    for _ in 0..4 {
        assert_eq!(
            kind(bench.sign_in(None, "wrong", None)),
            Kind::WrongCredentials
        );
    }
    bench.reopen();
    assert_eq!(
        kind(bench.sign_in(None, "wrong", None)),
        Kind::WrongCredentials
    );
    let waiting = bench.unlock().unwrap_err();
    assert_eq!(waiting.kind(), Kind::RateLimited);
    let wait = waiting.retry_after_s().unwrap();
    assert!((1..=30).contains(&wait));
    bench.clock.advance(Duration::from_secs(wait));
    bench.unlock().expect("control: who waits as told gets in");
}

#[test]
fn b08_one_code_opens_once_however_many_try() {
    let (bench, base32) = with_totp();
    bench.lock();
    bench.clock.advance(Duration::from_secs(60));
    let code = totp_code(&base32, bench.clock.unix_s());
    let opened = AtomicUsize::new(0);
    const TRIES: u32 = 1000;
    let barrier = Barrier::new(TRIES as usize);
    std::thread::scope(|scope| {
        for uid in 0..TRIES {
            let (code, opened, barrier, bench) = (&code, &opened, &barrier, &bench);
            scope.spawn(move || {
                barrier.wait();
                let unlock = AgentUnlock {
                    account: None,
                    passphrase: secret(PASSPHRASE),
                    totp: Some(secret(code)),
                    keyfile: None,
                    lifetime_s: None,
                    accept_rollback: None,
                };
                let caller = Caller {
                    uid: 1000 + uid,
                    ..me()
                };
                if bench.call_as(caller, unlock).is_ok() {
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(opened.load(Ordering::Relaxed), 1);
    bench.clock.advance(Duration::from_secs(16 * 60));
    let next = totp_code(&base32, bench.clock.unix_s());
    bench
        .sign_in(None, PASSPHRASE, Some(&next))
        .expect("control: the next code opens");
}

/// The public case file, each case on a fresh account: what is accepted is decided by text and step alone.
#[test]
fn b08_b09_verifier_cases() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("vectors/akm/totp_verifier_cases.json")).unwrap();
    let reference = data_encoding::BASE32_NOPAD.encode(b"12345678901234567890");
    let mut ran = 0;
    for case in cases["cases"].as_array().unwrap() {
        let (bench, base32) = with_totp();
        bench.lock();
        for attempt in case["attempts"].as_array().unwrap() {
            let (time, text, expected) = (
                attempt[0].as_i64().unwrap(),
                attempt[1].as_str().unwrap(),
                attempt[2].as_str().unwrap(),
            );
            bench.clock.set_wall(time * 1000);
            // The file's codes are of the RFC's seed; ours is random, so the same step's code takes their place.
            let typed = translate(text, time, &reference, &base32);
            // The confirming code was of a later time: the last step starts over for the case.
            bench
                .hand()
                .execute(
                    "UPDATE accounts SET totp_step = 0 WHERE totp_step > 50000000",
                    [],
                )
                .unwrap();
            let accepted = bench.sign_in(None, PASSPHRASE, Some(&typed)).is_ok();
            match expected {
                "accept" => assert!(accepted, "{case}"),
                "reject" => assert!(!accepted, "{case}"),
                "reject_or_same_as_normalised" => assert!(!accepted, "akm rejects: {case}"),
                other => panic!("{other}"),
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 26, "every attempt of the file");
}

/// The text with every code of the reference seed replaced by our seed's code of the same step.
fn translate(text: &str, time: i64, reference: &str, ours: &str) -> String {
    let mut typed = text.to_owned();
    for step in -3..=3i64 {
        let at = time + step * 30;
        if at < 0 {
            continue;
        }
        let (theirs, mine) = (totp_code(reference, at), totp_code(ours, at));
        if typed.contains(&theirs) {
            return typed.replace(&theirs, &mine);
        }
        if typed.contains(&theirs[1..]) {
            return typed.replace(&theirs[1..], &mine[1..]);
        }
        let fullwidth = |code: &str| {
            code.chars()
                .map(|c| char::from_u32(c as u32 + 0xfee0).unwrap())
                .collect::<String>()
        };
        typed = typed.replace(&fullwidth(&theirs), &fullwidth(&mine));
    }
    typed
}

#[test]
fn i08_a_secret_that_was_handed_out_has_its_event() {
    // The journal is written before the answer exists; dropped without any folding, it is all there.
    let mut bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    for _ in 0..5 {
        bench.get("openai").unwrap();
    }
    bench.reopen();
    bench.unlock().unwrap();
    let events = bench.raw(Op::AuditList, r#"{"action":"key.get"}"#).unwrap();
    assert_eq!(events["events"].as_array().unwrap().len(), 5);
    assert!(bench.call(AuditVerify::default()).unwrap().ok);
    assert!(bench.call(AgentStatus {}).unwrap().initialized);
}
