//! A vault in a temporary directory, a clock that stands still, random bytes that do not repeat, and rows.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use akm_core::host::{Clock, Random};
use akm_core::store::{
    AccountRow, BeforeCommit, EventRow, Id, KeyHead, KeyRow, SlotRow, SqliteStore, Store, Tag,
    TreeChange,
};
use akm_core::{Kind, Result};
use tempfile::TempDir;

pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(1_700_000_000_000).unwrap()
    }
    fn boot(&self) -> Duration {
        Duration::ZERO
    }
}

/// Different at every call, in every process.
pub(crate) struct CountingRandom;

impl Random for CountingRandom {
    fn fill(&self, buffer: &mut [u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let process = u64::from(std::process::id()) << 32;
        let mut state =
            (process + NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in buffer {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
    }
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    CountingRandom.fill(&mut bytes);
    bytes
}

pub(crate) fn open(path: &Path) -> Result<SqliteStore> {
    SqliteStore::open(path, &CountingRandom, &StillClock)
}

/// The kind of error that opening answers with; opening must fail.
pub(crate) fn refusal(path: &Path) -> Kind {
    match open(path) {
        Ok(_) => panic!("the file was opened"),
        Err(error) => error.kind(),
    }
}

pub(crate) struct Vault {
    pub(crate) store: SqliteStore,
    pub(crate) path: PathBuf,
    pub(crate) dir: TempDir,
}

pub(crate) fn vault() -> Vault {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault.db");
    let store = open(&path).unwrap();
    Vault { store, path, dir }
}

impl Vault {
    /// Closes the store; the files stay.
    pub(crate) fn close(self) -> (PathBuf, TempDir) {
        (self.path, self.dir)
    }
}

pub(crate) fn done() -> impl FnMut() -> Result<()> {
    || Ok(())
}

/// The tree of an account that has none: the store does not look inside.
pub(crate) fn untracked() -> TreeChange {
    TreeChange::default()
}

pub(crate) fn account(name: &str) -> AccountRow {
    AccountRow {
        id: random(),
        name: name.to_owned(),
        role: "user".to_owned(),
        tier: "local".to_owned(),
        totp_active: false,
        totp_step: 0,
        keys: random::<96>().to_vec(),
        key_before: None,
        profile: random::<200>().to_vec(),
        profile_version: 1,
        manifest: Vec::new(),
        created_at: 1_700_000_000_000,
    }
}

pub(crate) fn slot(number: u32) -> SlotRow {
    SlotRow {
        slot: number,
        kdf: random::<28>().to_vec(),
        factors: 0,
        commit: random(),
        wrapped: random::<112>().to_vec(),
    }
}

/// Adds an account with one slot; answers its id.
pub(crate) fn add_account(store: &dyn Store, name: &str) -> Id {
    let row = account(name);
    store.create_account(&row, &[slot(0)], &mut done()).unwrap();
    row.id
}

pub(crate) fn key(account: &Id) -> KeyRow {
    KeyRow {
        head: KeyHead {
            id: random(),
            account: *account,
            tag: random(),
            provider_tag: random(),
            status: 1,
            secret_version: 1,
            meta_version: 1,
            wrapped_key: random::<112>().to_vec(),
            meta: random::<320>().to_vec(),
            last_used_at: None,
        },
        secret: random::<160>().to_vec(),
    }
}

/// Adds one key without a limit.
pub(crate) fn add_key(store: &dyn Store, account: &Id) -> KeyRow {
    let row = key(account);
    insert(store, &row, &mut done()).unwrap();
    row
}

pub(crate) fn insert(store: &dyn Store, row: &KeyRow, before: BeforeCommit<'_>) -> Result<()> {
    store.insert_keys(std::slice::from_ref(row), None, &untracked(), before)
}

pub(crate) fn stored(store: &dyn Store, row: &KeyRow) -> Option<KeyRow> {
    store.key_by_tag(&row.head.account, &row.head.tag).unwrap()
}

pub(crate) fn event(chain: &Id, seq: u64, time: i64, action: &str, record: Option<Id>) -> EventRow {
    EventRow {
        chain: *chain,
        seq,
        time,
        action: action.to_owned(),
        outcome: "ok".to_owned(),
        record,
        sealed: random::<180>().to_vec(),
        mac: random(),
    }
}

pub(crate) fn kind<T>(result: Result<T>) -> Kind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

/// A connection past the store, for looking and for planting.
pub(crate) fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// 24 bytes from the inside of a blob: its mark.
pub(crate) fn mark(blob: &[u8]) -> [u8; 24] {
    blob[8..32].try_into().unwrap()
}

/// Which of the marks are found in the bytes.
pub(crate) fn found(bytes: &[u8], marks: &HashSet<[u8; 24]>) -> HashSet<[u8; 24]> {
    // Most windows begin as no mark does; hashing them all takes seconds in a debug build.
    let mut begins = vec![false; 1 << 16];
    let begin = |at: &[u8]| usize::from(at[0]) << 8 | usize::from(at[1]);
    marks.iter().for_each(|mark| begins[begin(mark)] = true);
    bytes
        .windows(24)
        .filter(|window| begins[begin(window)])
        .filter_map(|window| marks.get(window).copied())
        .collect()
}

/// How many of so many threads, started together, say true.
pub(crate) fn race(threads: usize, act: impl Fn(usize) -> bool + Sync) -> usize {
    let (start, passed) = (Barrier::new(threads), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for index in 0..threads {
            let (start, passed, act) = (&start, &passed, &act);
            scope.spawn(move || {
                start.wait();
                if act(index) {
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    passed.into_inner()
}

/// For a test that this machine does not allow. In CI nothing is skipped.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot be tested: {why}");
    // Past the capture of the test harness, so that a person sees it.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

pub(crate) const NO_TAG: Tag = [0; 32];
