//! What must not grow with the vault, and what a durable write costs: through the service, in process.
//!
//! * unlock and `key.get` with 10 and 10⁴ keys, and 10⁶ with `AKM_BENCH_FULL=1` (several GB of disk, minutes to fill);
//! * unlock beside the bare Argon2 stretch of the same cost;
//! * `key.add` in each of them beside one bare SQLite commit (`synchronous=FULL`) of a row of the same size;
//! * a page of 1,000 of `key.list`.
//!
//! Vaults are filled first and then measured in turns, so that whatever else the machine does hits all alike.
//! Keys go in through the vault in batches, with no events; every measured operation has its event.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use akm_core::audit::Caller;
use akm_core::crypto::{self, Kdf, KdfCost};
use akm_core::host::Host;
use akm_core::protocol::{Op, Request};
use akm_core::service::{Options, Service};
use rusqlite::Connection;
use tempfile::TempDir;

#[path = "support/fill.rs"]
mod fill;
use fill::{PASSPHRASE, SECRET, name};

// As in the programs that see plaintext: wiping what is freed is part of the cost.
#[global_allocator]
static ALLOCATOR: akm_core::memory::WipingAllocator = akm_core::memory::WipingAllocator;

/// Gets in one turn of one vault.
const GETS: usize = 2000;
const TURNS: usize = 10;
const UNLOCKS: usize = 25;
const ADDS: usize = 400;
const LISTS: usize = 100;
const PAGE: usize = 1000;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run with cargo bench");
        return;
    }
    let mut sizes = vec![10, 10_000];
    if std::env::var_os("AKM_BENCH_FULL").is_some() {
        sizes.push(1_000_000);
    }
    let filled: Vec<Filled> = sizes.into_iter().map(Filled::new).collect();
    unlocks(&filled);
    gets(&filled);
    lists(&filled);
    adds(&filled);
}

/// A vault of so many keys, in a home of its own.
struct Filled {
    size: usize,
    service: Service,
    _home: TempDir,
}

impl Filled {
    fn new(size: usize) -> Filled {
        let home = home();
        let service = open(home.path());
        call(
            &service,
            Op::AccountRegister,
            &format!(r#"{{"account":"default","passphrase":"{PASSPHRASE}","totp":false}}"#),
        );
        drop(service);
        let start = Instant::now();
        fill::fill(home.path(), size);
        println!(
            "filled {size} keys in {:.1} s",
            start.elapsed().as_secs_f64()
        );
        let service = open(home.path());
        Filled {
            size,
            service,
            _home: home,
        }
    }
}

fn unlocks(filled: &[Filled]) {
    let unlock = format!(r#"{{"account":"default","passphrase":"{PASSPHRASE}"}}"#);
    let mut bare = Vec::new();
    let mut took: Vec<Vec<Duration>> = filled.iter().map(|_| Vec::new()).collect();
    let host = Host::real();
    for _ in 0..UNLOCKS {
        let kdf = Kdf::passphrase(&*host.random, &KdfCost::standard());
        bare.push(time(|| {
            crypto::stretch(&kdf, PASSPHRASE.as_bytes())
                .map(drop)
                .unwrap()
        }));
        for (filled, took) in filled.iter().zip(&mut took) {
            took.push(time(|| call(&filled.service, Op::AgentUnlock, &unlock)));
            filled
                .service
                .lock_all(akm_core::protocol::LockReason::Asked);
        }
    }
    // The least of each: Argon2 does the same work every time, and what is beyond it is far below the noise of its median.
    let least = |took: &[Duration]| millis(took.iter().min().copied().unwrap_or_default());
    let bare = least(&bare);
    println!("unlock, least of {UNLOCKS} each (goal: bare Argon2id + 5 ms, flat within 1.30 x)");
    println!(
        "{:>10}{:>12}{:>12}{:>12}{:>10}",
        "keys", "argon2 ms", "unlock ms", "beyond ms", "x first"
    );
    let all: Vec<f64> = took.iter().map(|took| least(took)).collect();
    for (filled, unlock) in filled.iter().zip(&all) {
        println!(
            "{:>10}{bare:>12.2}{unlock:>12.2}{:>12.2}{:>10.2}",
            filled.size,
            unlock - bare,
            unlock / all[0]
        );
    }
}

fn gets(filled: &[Filled]) {
    let unlock = format!(r#"{{"account":"default","passphrase":"{PASSPHRASE}"}}"#);
    for filled in filled {
        call(&filled.service, Op::AgentUnlock, &unlock);
    }
    // Any of the keys, and always the same one; the first turn only warms up.
    let mut any: Vec<Vec<Duration>> = filled.iter().map(|_| Vec::new()).collect();
    let mut one = any.clone();
    let mut chance = 88_172_645_463_325_252_u64;
    for turn in 0..=TURNS {
        for (at, filled) in filled.iter().enumerate() {
            for _ in 0..GETS {
                // xorshift64: which key does not need to be a secret.
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                let number = (chance % filled.size as u64) as usize;
                any[at].push(get(&filled.service, &name(number)));
            }
            for _ in 0..GETS {
                one[at].push(get(&filled.service, &name(filled.size / 2)));
            }
            // Outside of what is timed, as in the agent, where another thread does it.
            filled.service.fold().unwrap();
            if turn == 0 {
                any[at].clear();
                one[at].clear();
            }
        }
    }
    println!(
        "key.get through the service, event included, {} each (goal: flat within 1.30 x)",
        GETS * TURNS
    );
    println!(
        "{:>10}{:>12}{:>12}{:>12}{:>10}{:>10}",
        "keys", "any p50 µs", "any p99 µs", "same p50 µs", "x first", "x first"
    );
    let p50 = |took: &mut Vec<Duration>| 1000.0 * millis(median(took));
    let anys: Vec<f64> = any.iter_mut().map(p50).collect();
    let ones: Vec<f64> = one.iter_mut().map(p50).collect();
    for (at, filled) in filled.iter().enumerate() {
        let last = any[at].len() * 99 / 100;
        let p99 = 1000.0 * millis(*any[at].select_nth_unstable(last).1);
        println!(
            "{:>10}{:>12.1}{p99:>12.1}{:>12.1}{:>10.2}{:>10.2}",
            filled.size,
            anys[at],
            ones[at],
            anys[at] / anys[0],
            ones[at] / ones[0]
        );
    }
}

fn lists(filled: &[Filled]) {
    println!("key.list, pages of {PAGE}, {LISTS} each");
    println!("{:>10}{:>12}{:>12}", "keys", "p50 ms", "µs a key");
    for filled in filled.iter().filter(|filled| filled.size >= PAGE) {
        let body = format!(r#"{{"limit":{PAGE}}}"#);
        let mut took: Vec<Duration> = (0..LISTS)
            .map(|_| time(|| call(&filled.service, Op::KeyList, &body)))
            .collect();
        let p50 = millis(median(&mut took));
        let each = 1000.0 * p50 / PAGE as f64;
        println!("{:>10}{p50:>12.2}{each:>12.1}", filled.size);
    }
}

fn get(service: &Service, name: &str) -> Duration {
    let body = format!(r#"{{"name":"{name}"}}"#);
    time(|| call(service, Op::KeyGet, &body))
}

fn adds(filled: &[Filled]) {
    let home = home();
    let mut bare = Connection::open(home.path().join("bare.db")).unwrap();
    bare.pragma_update(None, "journal_mode", "WAL").unwrap();
    bare.pragma_update(None, "synchronous", "FULL").unwrap();
    bare.execute_batch(
        "CREATE TABLE keys (tag BLOB NOT NULL UNIQUE, wrapped BLOB, meta BLOB, secret BLOB) STRICT",
    )
    .unwrap();
    let mut commit = Vec::new();
    let mut took: Vec<Vec<Duration>> = filled.iter().map(|_| Vec::new()).collect();
    for number in 0..ADDS {
        let tag = crypto::hash(&[&number.to_le_bytes()]);
        // What others have written is none of a commit's work.
        nix::unistd::sync();
        commit.push(time(|| {
            let tx = bare.transaction().unwrap();
            // The sizes of akm's own blobs of such a key.
            tx.prepare_cached("INSERT INTO keys VALUES (?1, ?2, ?3, ?4)")
                .unwrap()
                .execute((tag, [7; 114], &[7; 512 + 82][..], [7; 128 + 82]))
                .unwrap();
            tx.commit().unwrap();
        }));
        for (filled, took) in filled.iter().zip(&mut took) {
            nix::unistd::sync();
            let added = name(filled.size + number);
            let body = format!(r#"{{"name":"{added}","secret":"{SECRET}"}}"#);
            took.push(time(|| call(&filled.service, Op::KeyAdd, &body)));
        }
    }
    let commit = 1000.0 * millis(median(&mut commit));
    println!("durable key.add, {ADDS} each (goal <= 1.30 x one bare commit)");
    println!(
        "{:>10}{:>12}{:>12}{:>10}",
        "keys", "commit µs", "add µs", "x commit"
    );
    for (filled, took) in filled.iter().zip(&mut took) {
        let add = 1000.0 * millis(median(took));
        println!(
            "{:>10}{commit:>12.0}{add:>12.0}{:>10.2}",
            filled.size,
            add / commit
        );
    }
}

/// From bytes to bytes, as a transport would ask.
fn call(service: &Service, op: Op, body: &str) {
    let request = Request::decode(op, body.as_bytes()).unwrap();
    let caller = Caller {
        uid: 1000,
        pid: 1,
        exe: "/usr/bin/python3.11".to_owned(),
        via: Default::default(),
        process: Default::default(),
    };
    service.call(&caller, request).unwrap().to_json().unwrap();
}

fn open(home: &Path) -> Service {
    Service::open(Options {
        vault: home.join("vault.db"),
        journal: home.join("audit.journal"),
        state: home.join("state"),
        backups: home.join("backups"),
        host: Host::real(),
        key_limit: None,
        default_lifetime: None,
        outbound: akm_core::provider::Outbound::default(),
    })
    .unwrap()
}

/// A home on the disk that the build is on: a memory file system would make every commit free.
fn home() -> TempDir {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::create_dir(home.path().join("state")).unwrap();
    home
}

fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &mut [Duration]) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}
