//! H01, H06, H07: SIGKILL, for real, at moments that nobody chose.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use akm_core::protocol::{BackupList, BackupVerify, KeyGet};

use crate::child;
use crate::desk::Desk;
use crate::disk::Chance;
use crate::steps;

/// Between one process and the next, in seconds: backups have names of their own, and a kill amid an unlock, which counts as a
/// guess, makes nobody wait.
const DAY: u64 = 24 * 60 * 60;

/// Longest that a process may take until its first word.
const HUNG: Duration = Duration::from_secs(120);

/// Lets the child get somewhere and kills it. The pause is there to hit many moments.
fn kill_somewhere(child: Child, home: &Path, chance: &mut Chance, within: Duration) {
    let micros = chance.next() % u64::try_from(within.as_micros()).unwrap();
    std::thread::sleep(Duration::from_micros(micros));
    kill(child, home);
}

/// A kill amid the word itself leaves a part of it, where two pages of the file meet: that was not said.
fn kill(mut child: Child, home: &Path) {
    child.kill().unwrap();
    child.wait().unwrap();
    let acks = home.join(child::ACKS);
    let text = std::fs::read_to_string(&acks).unwrap();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        let file = std::fs::OpenOptions::new().write(true).open(&acks).unwrap();
        file.set_len(whole as u64).unwrap();
    }
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
        let later = cycle as u64 * DAY;
        let working = child::working("backup", home.path(), later)
            .spawn()
            .unwrap();
        kill_somewhere(
            working,
            home.path(),
            &mut chance,
            Duration::from_millis(160),
        );
        let names: Vec<String> = std::fs::read_dir(home.path().join("backups"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        interrupted += usize::from(names.iter().any(|name| name.contains(".partial")));
        let desk = Desk::open(home.path(), later).unwrap();
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

/// Waits until a process has acknowledged something; how long that took.
fn first_word(working: &mut Child, home: &Path, before: usize) -> Duration {
    let begun = Instant::now();
    while lines(home).len() == before {
        assert!(working.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(begun.elapsed() < HUNG, "it says nothing");
        std::thread::sleep(Duration::from_micros(200));
    }
    begun.elapsed()
}

/// How long a process takes here until its first key is acknowledged: the longest of three, on the first three days.
fn until_the_first_word(home: &Path) -> Duration {
    let one = |day| {
        let before = lines(home).len();
        let mut working = child::working("add", home, day * DAY).spawn().unwrap();
        let took = first_word(&mut working, home, before);
        kill(working, home);
        took
    };
    one(0).max(one(1)).max(one(2))
}

fn killed_in_writes(cycles: usize, look_every: usize) {
    let mut chance = Chance::new(7);
    let mut done = 0;
    let mut amid_writes = 0;
    while done < cycles {
        let (ran, hit) = killed_in_one_vault(&mut chance, cycles - done, look_every);
        done += ran;
        amid_writes += hit;
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "h07: {done} of {cycles} kills, {amid_writes} of them after a key was acknowledged"
        );
    }
    assert!(
        amid_writes >= cycles / 3,
        "control: {amid_writes} of {cycles} kills came amid writes"
    );
}

/// Until the vault holds 2,000 keys, because each look reads them all. How many kills there were, and how many amid writes.
fn killed_in_one_vault(chance: &mut Chance, most: usize, look_every: usize) -> (usize, usize) {
    let home = begin("writes");
    let within = 2 * until_the_first_word(home.path());
    let mut amid_writes = 0;
    for cycle in 1..=most {
        let before = lines(home.path()).len();
        let later = (cycle as u64 + 2) * DAY;
        let mut working = child::working("add", home.path(), later).spawn().unwrap();
        // Every second time amid its writes, however slow the machine is by now; else anywhere, opening and unlocking too.
        if cycle % 2 == 0 {
            first_word(&mut working, home.path(), before);
        }
        kill_somewhere(working, home.path(), chance, within);
        let acknowledged = lines(home.path()).len();
        amid_writes += usize::from(acknowledged > before);
        let is_last = cycle == most || acknowledged > 2000;
        if cycle % look_every != 0 && !is_last {
            continue;
        }
        let desk = Desk::open(home.path(), later + DAY / 2).unwrap();
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
        if is_last {
            return (cycle, amid_writes);
        }
    }
    unreachable!("a vault has at least one cycle")
}

#[test]
fn h07_kill_9_in_writes_loses_nothing_that_was_acknowledged() {
    killed_in_writes(60, 10);
}

#[test]
#[ignore = "an hour: AKM_CYCLES sets how many; whether it was run stands in SECURITY.md"]
fn h07_100000_kills_in_writes() {
    let cycles = std::env::var("AKM_CYCLES")
        .ok()
        .and_then(|cycles| cycles.parse().ok());
    killed_in_writes(cycles.unwrap_or(100_000), 100);
}
