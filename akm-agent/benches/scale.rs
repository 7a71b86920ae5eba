//! What a client waits for its key, by how many keys the vault has: 10, 10⁴, and 10⁶ with `AKM_BENCH_FULL=1` (several GB of
//! disk, minutes to fill).
//!
//! One client asks the agents of all vaults in turns over the socket, each time for any of their keys, decryption and
//! audit included, once the check of all rows that follows an unlock is done. `akm-core`'s benchmark of the same name measures the service alone.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use tempfile::TempDir;

#[path = "../../akm-core/benches/support/fill.rs"]
mod fill;
mod support;
use support::{Agent, Cores, median, probe, request};

/// Gets in one turn of one vault.
const GETS: usize = 1000;
const TURNS: usize = 20;

fn main() {
    if !support::benching() {
        println!("run with cargo bench");
        return;
    }
    let mut sizes = vec![10, 10_000];
    if std::env::var_os("AKM_BENCH_FULL").is_some() {
        sizes.push(1_000_000);
    }
    let vaults: Vec<(usize, TempDir)> = sizes.into_iter().map(filled).collect();
    println!(
        "key.get of any key on the socket, {} each (goal: flat within 1.30 x)",
        GETS * TURNS
    );
    println!(
        "{:<8}{:>10}{:>10}{:>10}{:>10}",
        "cores", "keys", "p50 µs", "p99 µs", "x first"
    );
    let cores = Cores::all();
    for pinned in [true, false] {
        if pinned {
            cores.pin()
        } else {
            cores.free()
        }
        gets(if pinned { "one" } else { "free" }, &vaults);
    }
}

fn filled(size: usize) -> (usize, TempDir) {
    let home = support::home();
    drop(Agent::with_a_key(home.path()));
    let start = Instant::now();
    fill::fill(home.path(), size);
    println!(
        "filled {size} keys in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    (size, home)
}

/// An agent that is asked, and how long each answer took.
struct Asked {
    size: usize,
    stream: UnixStream,
    /// As long as every answer is.
    length: usize,
    nanos: Vec<u32>,
    _agent: Agent,
}

fn asked(size: usize) -> Vec<u8> {
    request("key.get", &format!(r#"{{"name":"{}"}}"#, fill::name(size)))
}

fn gets(cores: &str, vaults: &[(usize, TempDir)]) {
    let mut all: Vec<Asked> = vaults
        .iter()
        .map(|(size, home)| {
            let agent = Agent::start(home.path());
            agent.unlock();
            agent.server.wait_until_idle();
            Asked {
                size: *size,
                stream: UnixStream::connect(&agent.socket).unwrap(),
                length: probe(&agent.socket, &asked(0)).len(),
                nanos: Vec::with_capacity(GETS * TURNS),
                _agent: agent,
            }
        })
        .collect();
    let mut chance = 88_172_645_463_325_252_u64;
    // The first turn only warms up.
    for turn in 0..=TURNS {
        for vault in &mut all {
            for _ in 0..GETS {
                // xorshift64: which key does not need to be a secret.
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                vault.get((chance % vault.size as u64) as usize);
            }
            if turn == 0 {
                vault.nanos.clear();
            }
        }
    }
    let mut first = None;
    for vault in &mut all {
        let p50 = f64::from(median(&mut vault.nanos)) / 1000.0;
        let last = vault.nanos.len() * 99 / 100;
        let p99 = f64::from(*vault.nanos.select_nth_unstable(last).1) / 1000.0;
        let first = *first.get_or_insert(p50);
        println!(
            "{cores:<8}{:>10}{p50:>10.1}{p99:>10.1}{:>10.2}",
            vault.size,
            p50 / first
        );
    }
}

impl Asked {
    fn get(&mut self, number: usize) {
        let request = asked(number);
        let mut answer = vec![0; self.length];
        let start = Instant::now();
        self.stream.write_all(&request).unwrap();
        self.stream.read_exact(&mut answer).unwrap();
        let took = start.elapsed().as_nanos();
        let is_it = answer
            .windows(fill::SECRET.len())
            .any(|part| part == fill::SECRET.as_bytes());
        assert!(is_it, "{}", String::from_utf8_lossy(&answer));
        self.nanos.push(u32::try_from(took).unwrap_or(u32::MAX));
    }
}
