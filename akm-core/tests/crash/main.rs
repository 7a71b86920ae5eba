//! What a power cut, a full or failing disk, and a SIGKILL leave of what was acknowledged.
//!
//! A workload runs as a process of its own under `strace` (`child`), through the same door as everything else. Its
//! steps are known in advance (`steps`), and it notes each one that was acknowledged. From the calls it made (`trace`)
//! `disk` makes what a machine may find after a power cut at any point: what was flushed, and of the rest any 512-byte sectors. `check`
//! opens that with the real service and compares. The faults of `faults` are injected into the running process.
//!
//! The index of SQLite's log (`-shm`) is mapped memory and no call writes it: a power cut loses it whole,
//! as here, and opening makes it again from the log.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod check;
mod child;
mod desk;
mod disk;
mod faults;
mod kills;
mod power;
mod race;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod trace;

/// Says that a test did not run here; in CI that is a failure.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot be tested: {why}");
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether processes can be traced here.
fn can_trace() -> bool {
    let probe = std::process::Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .output();
    let can = probe.is_ok_and(|output| output.status.success());
    if !can {
        skip("strace cannot trace a process here");
    }
    can
}
