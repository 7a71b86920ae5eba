//! H01, H06, H07: SIGKILL, for real, at moments that nobody chose.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use akm_core::protocol::{BackupList, BackupVerify, KeyGet};

use crate::child;
use crate::desk::Desk;
use crate::disk::Chance;
use crate::steps;

/// Lets the child get somewhere and kills it. The pause is there to hit many moments; nothing rests on its length.
fn kill_somewhere(mut child: Child, chance: &mut Chance, within: Duration) {
    let micros = chance.next() % u64::try_from(within.as_micros()).unwrap();
    std::thread::sleep(Duration::from_micros(micros));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The lines of `acks` that are whole.
fn lines(home: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(home.join(child::ACKS)).unwrap();
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .map(str::to_owned)
        .collect()
}

/// A home with an account, and the work that goes on in it until it is killed.
fn begin(work: &str) -> tempfile::TempDir {
    let home = child::home();
    let desk = Desk::open(home.path(), 0).unwrap();
    let states = [steps::State::default()];
    steps::run(&desk, 0, &steps::Step::Register, &states[0]).unwrap();
    for index in 0..40 {
        steps::run(
            &desk,
            index,
            &steps::Step::Add(format!("openai/{work}-first-{index}")),
            &states[0],
        )
        .unwrap();
    }
    home
}

fn killed_in_backups(cycles: usize) {
    let home = begin("backups");
    let mut chance = Chance::new(1);
    let mut interrupted = 0;
    for cycle in 0..cycles {
        let working = child::command(&[], "forever-backup", home.path())
            .spawn()
            .unwrap();
        kill_somewhere(working, &mut chance, Duration::from_millis(160));
        let names: Vec<String> = std::fs::read_dir(home.path().join("backups"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        interrupted += usize::from(names.iter().any(|name| name.contains(".partial")));
        let desk = Desk::open(home.path(), 0).unwrap();
        let listed = desk.call(BackupList {}).unwrap().backups;
        for backup in &listed {
            let name = backup.name.clone();
            let whole = desk.call(BackupVerify { name });
            assert!(whole.is_ok(), "cycle {cycle}: {} {whole:?}", backup.name);
        }
        // The newest that was acknowledged is there, whatever came after it.
        let told = lines(home.path());
        if let Some(newest) = told.last() {
            assert!(
                listed.iter().any(|backup| backup.name == *newest),
                "cycle {cycle}: {newest} is gone"
            );
        }
    }
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "h01: {cycles} kills, {interrupted} amid a backup, {} acknowledged",
        lines(home.path()).len()
    );
    assert!(interrupted > 0, "control: some kills came amid a backup");
    assert!(
        !lines(home.path()).is_empty(),
        "control: some backups were finished"
    );
}

#[test]
fn h01_a_kill_amid_a_backup_leaves_the_old_ones_and_no_half_one() {
    killed_in_backups(60);
}

#[test]
#[ignore = "minutes; whether it was run, and what it showed, stands in SECURITY.md"]
fn h01_1000_kills_amid_backups() {
    killed_in_backups(1000);
}

fn killed_in_writes(cycles: usize, look_every: usize) {
    let home = begin("writes");
    let mut chance = Chance::new(7);
    for cycle in 1..=cycles {
        let working = child::command(&[], "forever-add", home.path())
            .spawn()
            .unwrap();
        kill_somewhere(working, &mut chance, Duration::from_millis(250));
        if cycle % look_every != 0 && cycle != cycles {
            continue;
        }
        // Later than every child: a kill amid an unlock counts as a guess, and after a few of them one has to wait.
        let desk = Desk::open(home.path(), 20_000_000).unwrap();
        steps::unlock(&desk, "passphrase number 0").unwrap();
        for name in lines(home.path()) {
            let got = desk.call(KeyGet {
                name: name.clone(),
                version: None,
            });
            assert!(
                got.is_ok(),
                "cycle {cycle}: {name} was acknowledged: {got:?}"
            );
        }
        let verdict = desk
            .call(akm_core::protocol::AuditVerify::default())
            .unwrap();
        assert!(verdict.ok, "cycle {cycle}: {verdict:?}");
        drop(desk);
        let hand = rusqlite::Connection::open(home.path().join("vault.db")).unwrap();
        let check: String = hand
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok", "cycle {cycle}");
        // What was looked at need not be looked at again; a vault of a million keys is another test.
        if cycle < cycles && lines(home.path()).len() > 2000 {
            return killed_in_writes(cycles - cycle, look_every);
        }
    }
    assert!(
        lines(home.path()).len() > cycles.min(20) / 4,
        "control: keys were acknowledged"
    );
}

#[test]
fn h07_kill_9_in_writes_loses_nothing_that_was_acknowledged() {
    killed_in_writes(60, 10);
}

#[test]
#[ignore = "an hour and more: AKM_CYCLES sets how many; whether it was run stands in SECURITY.md"]
fn h07_100000_kills_in_writes() {
    let cycles = std::env::var("AKM_CYCLES")
        .ok()
        .and_then(|cycles| cycles.parse().ok());
    killed_in_writes(cycles.unwrap_or(100_000), 100);
}
