//! Tests of the audit as a whole. Attacks and faults are in files of their own.

mod attacks;
mod checkpoint;
mod concurrency;
mod faults;
mod listing;
mod memory_store;
mod real;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::host::{Clock, Random};
use crate::name::{AccountName, KeyName};
use crate::protocol::Op;
use memory_store::MemoryStore;

const ACCOUNT: Id = [7; 16];
const VAULT: Id = [9; 16];

thread_local! {
    static CRASH_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Stops the thread where a test asked for it, so that what follows never happens.
pub(super) fn crash_point(name: &'static str) {
    if CRASH_AT.get() == Some(name) {
        CRASH_AT.set(None);
        panic!("crash point");
    }
}

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.fetch_add(1, Ordering::Relaxed)).unwrap()
    }

    fn boot(&self) -> Duration {
        Duration::ZERO
    }
}

struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        buffer.fill(0);
        buffer[..8].copy_from_slice(&count.to_le_bytes());
    }
}

/// A vault's audit in a temporary directory; opening it again is what the next process does.
struct Room {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    random: Arc<Counter>,
}

impl Room {
    fn new() -> Self {
        Room {
            dir: tempfile::tempdir().unwrap(),
            store: Arc::new(MemoryStore::default()),
            clock: Arc::new(TestClock(AtomicI64::new(1_700_000_000_000))),
            random: Arc::new(Counter(AtomicU64::new(0))),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.journal")
    }

    fn host(&self) -> Host {
        Host {
            clock: self.clock.clone(),
            random: self.random.clone(),
            kdf_cost: Host::real().kdf_cost,
        }
    }

    fn open(&self) -> (Audit, AccountChain) {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<(Audit, AccountChain)> {
        let audit = Audit::open(
            &self.path(),
            self.store.clone(),
            self.host(),
            &key(1),
            VAULT,
        )?;
        let chain = audit.open_account(ACCOUNT, &key(2))?;
        Ok((audit, chain))
    }

    /// What lies in the directory.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The actions in the system's chain.
    fn system_actions(&self) -> Vec<String> {
        let rows = self.store.rows.lock().unwrap();
        let system = rows.values().filter(|row| row.chain == SYSTEM);
        system.map(|row| row.action.clone()).collect()
    }
}

fn key(byte: u8) -> LockedKey {
    LockedKey::from_bytes(&mut [byte; 32])
}

fn caller() -> Caller {
    Caller {
        uid: 1000,
        pid: 4242,
        exe: "/usr/bin/python3".into(),
        via: Default::default(),
        process: Default::default(),
    }
}

/// The `index`-th of a series of different events.
fn append(audit: &Audit, chain: &AccountChain, index: u8) {
    try_append(audit, chain, index).unwrap();
}

fn try_append(audit: &Audit, chain: &AccountChain, index: u8) -> Result<()> {
    let name = KeyName::parse(&format!("openai/k{index}"), "name").unwrap();
    let event = Event {
        op: Op::KeyGet,
        outcome: Outcome::Ok,
        record: Some([index; 16]),
        key: Some(&name),
        caller: &caller(),
    };
    audit.append(chain, &event)
}

fn append_system(audit: &Audit) {
    let event = Event {
        op: Op::AgentUnlock,
        outcome: Outcome::Failed(Kind::WrongCredentials),
        record: None,
        key: None,
        caller: &caller(),
    };
    audit.append_system(&event).unwrap();
}

/// What `verify` says: how many events are good, or the chain and position of the first bad one.
fn verdict(audit: &Audit, chain: &AccountChain) -> Result<u64, (String, u64)> {
    let found = audit.verify(chain, None).unwrap();
    assert_eq!(found.ok, found.first_bad.is_none());
    match found.first_bad {
        None => Ok(found.entries),
        Some(seq) => Err((found.chain.unwrap(), seq)),
    }
}

fn bad<T>(chain: &str, seq: u64) -> Result<T, (String, u64)> {
    Err((chain.to_owned(), seq))
}

#[test]
fn events_reach_the_store_in_order_and_verify() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in 0..5 {
        append(&audit, &chain, index);
    }
    append_system(&audit);
    assert_eq!(audit.pending(), 6);
    assert_eq!(room.store.len(), 0);
    assert_eq!(audit.fold().unwrap(), 6);
    assert_eq!(audit.pending(), 0);
    assert_eq!(room.store.len(), 6);
    assert_eq!(audit.fold().unwrap(), 0);
    append(&audit, &chain, 5);
    assert_eq!(verdict(&audit, &chain), Ok(7));
    assert_eq!(room.files(), ["audit.journal"]);
    let row = room.store.get(&ACCOUNT, 6);
    assert_eq!(row.action, "key.get");
    assert_eq!(row.outcome, "ok");
    assert_eq!(row.record, Some([5; 16]));
}

#[test]
fn a_second_process_goes_on_where_the_first_ended() {
    let room = Room::new();
    for round in 0..4 {
        let (audit, chain) = room.open();
        append(&audit, &chain, round);
        append_system(&audit);
        // Every other process ends without folding.
        if round % 2 == 0 {
            audit.fold().unwrap();
        }
    }
    let (audit, chain) = room.open();
    assert_eq!(verdict(&audit, &chain), Ok(8));
    assert_eq!(room.system_actions(), ["agent.unlock"; 4]);
}

#[test]
fn an_account_opened_twice_has_one_chain() {
    let room = Room::new();
    let (audit, first) = room.open();
    let second = audit.open_account(ACCOUNT, &key(2)).unwrap();
    for index in 0..6 {
        append(&audit, if index % 2 == 0 { &first } else { &second }, index);
        if index == 3 {
            audit.fold().unwrap();
        }
    }
    drop(first);
    assert_eq!(verdict(&audit, &second), Ok(6));
}

#[test]
fn names_and_paths_rest_sealed() {
    let room = Room::new();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    let journal = std::fs::read(room.path()).unwrap();
    let holds = |text: &str| {
        journal
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(holds("key.get"));
    for sealed in ["openai", "k1", "python3", "/usr"] {
        assert!(!holds(sealed), "{sealed}");
    }
    assert_eq!(
        format!("{chain:?}"),
        "AccountChain { keys: ChainKeys(..), signer: LockedKey(..) }"
    );
}

#[test]
fn an_account_has_no_chain_with_the_systems_id() {
    let room = Room::new();
    let (audit, _) = room.open();
    let error = audit.open_account(SYSTEM, &key(2)).unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
}

/// As it is shown.
fn account_name() -> AccountName {
    AccountName::parse("default", "account").unwrap()
}
