//! Older data put back, whole or in parts, and what is missing: cases A05, A06 and H10 of the attack programme.
//! Each control shows that the older data is genuine: without the tree and the anchor it would be believed.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod files;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use akm_core::Result;
use akm_core::protocol::{AgentUnlock, Op, Unlocked};
use support::{Bench, secret};

const OLD: &str = "sk-old-aaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "sk-new-bbbbbbbbbbbbbbbbbbbbbbbb";

fn rotate(bench: &Bench, name: &str, value: &str) {
    bench
        .raw(
            Op::KeyRotate,
            &format!(r#"{{"name":"{name}","secret":"{value}"}}"#),
        )
        .unwrap();
}

fn unlock(bench: &Bench, passphrase: &str, accept_rollback: bool) -> Result<Unlocked> {
    bench.call(AgentUnlock {
        account: None,
        passphrase: secret(passphrase),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: Some(accept_rollback),
    })
}

/// The vault of a closed bench, complete in one file.
fn copy(bench: &Bench) -> Vec<u8> {
    assert!(!bench.home.path().join("vault.db-wal").exists(), "closed");
    std::fs::read(bench.vault()).unwrap()
}

/// Closes the vault and puts other bytes in its place.
fn put_back(bench: &mut Bench, bytes: &[u8]) {
    bench.close();
    std::fs::write(bench.vault(), bytes).unwrap();
}

/// A vault with a rotated key: the file before, and the file after.
fn rotated() -> (Bench, Vec<u8>, Vec<u8>) {
    let mut bench = Bench::initialized();
    bench.add("openai", OLD).unwrap();
    bench.add("anthropic", "sk-other").unwrap();
    bench.close();
    let before = copy(&bench);
    bench.reopen();
    bench.unlock().unwrap();
    rotate(&bench, "openai", NEW);
    bench.close();
    let after = copy(&bench);
    bench.reopen();
    (bench, before, after)
}

/// Replaces a table of the closed vault by what an older or other copy has.
fn put_rows(bench: &mut Bench, older: &[u8], table: &str) {
    bench.close();
    let path = bench.home.path().join("older.db");
    std::fs::write(&path, older).unwrap();
    let hand = bench.hand();
    hand.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    hand.execute("ATTACH ?1 AS older", [path.to_str().unwrap()])
        .unwrap();
    hand.execute_batch(&format!(
        "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM older.{table}"
    ))
    .unwrap();
    drop(hand);
    std::fs::remove_file(path).unwrap();
}
