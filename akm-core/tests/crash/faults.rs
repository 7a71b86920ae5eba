//! H02, H03, H09: every write, flush and change of a name fails once, and then nothing is lost and nothing is claimed.
//!
//! The failure is real: the kernel's answer to the running process is replaced (`strace -e inject`), or the
//! file system is full. The process says which step was refused; another one, without faults, looks what is there.

use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::child::{self, Told, told};
use crate::disk::Cut;
use crate::power::Recorded;
use crate::{can_trace, check, steps};

/// Each by itself, because strace counts each call by itself, and what is refused first ends a script.
const WRITES: &[&str] = &["write", "pwrite64", "ftruncate"];
const FLUSHES: &[&str] = &["fsync", "fdatasync"];
const NAMES: &[&str] = &["openat", "rename,renameat,renameat2,linkat", "unlink"];

/// What happened in many runs with one fault each.
#[derive(Debug, Default)]
struct Runs {
    hit: usize,
    refused: usize,
    wrong: Vec<String>,
}

/// Runs a script with the K-th of some calls failing.
fn with_fault(home: &Path, script: &str, calls: &str, fault: &str, nth: usize) -> (Output, bool) {
    let log = home.with_extension("faults");
    let traced = format!("trace={calls}");
    let inject = format!("inject={calls}:{fault}:when={nth}");
    let wrap = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "0",
        "-o",
        log.to_str().unwrap(),
        "-e",
        &traced,
        "-e",
        &inject,
    ];
    let output = child::command(&wrap, script, home).output().unwrap();
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = std::fs::remove_file(&log);
    (output, text.contains("(INJECTED)"))
}

/// The calls of this kind that the working thread makes, as strace writes them.
fn made(script: &str, calls: &str) -> Vec<String> {
    let home = child::home();
    let log = home.path().with_extension("count");
    let traced = format!("trace={calls}");
    let wrap = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "0",
        "-o",
        log.to_str().unwrap(),
        "-e",
        &traced,
    ];
    let output = child::command(&wrap, script, home.path()).output().unwrap();
    assert!(output.status.success());
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let mut by_thread = std::collections::HashMap::<&str, Vec<String>>::new();
    for line in text.lines() {
        by_thread
            .entry(line.split(' ').next().unwrap())
            .or_default()
            .push(line.to_owned());
    }
    // None of a kind that the script does without.
    by_thread
        .into_values()
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

/// Each of the calls, or about `most` of each kind, fails once.
fn each_fails(script: &str, calls: &[&str], errors: &[&str], most: usize) -> Runs {
    let mut all = Runs::default();
    for calls in calls {
        let runs = each_of_a_kind_fails(script, calls, errors, most);
        all.hit += runs.hit;
        all.refused += runs.refused;
        all.wrong.extend(runs.wrong);
    }
    all
}

fn each_of_a_kind_fails(script: &str, calls: &str, errors: &[&str], most: usize) -> Runs {
    let total = made(script, calls).len();
    let step = total.div_ceil(most).max(1);
    let which: Vec<usize> = (1..=total).step_by(step).collect();
    these_fail(script, calls, errors, &which)
}

/// The calls with these numbers fail, each in a run of its own.
fn these_fail(script: &str, calls: &str, errors: &[&str], which: &[usize]) -> Runs {
    let total = which.len();
    let states = steps::states(&child::script(script));
    let runs = Mutex::new(Runs::default());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&nth) = which.get(index) else {
                        return;
                    };
                    let error = errors[index % errors.len()];
                    let home = child::home();
                    let fault = format!("error={error}");
                    let (output, hit) = with_fault(home.path(), script, calls, &fault, nth);
                    let said = told(home.path());
                    let wrong = judge(&output, &said, hit)
                        .and_then(|()| {
                            let done = said.done.len();
                            check::check(home.path(), &states[done], states.get(done + 1))
                        })
                        .and_then(|found| match found.audit {
                            true => Ok(()),
                            false => Err("the audit does not verify".to_owned()),
                        })
                        .err();
                    let mut runs = runs.lock().unwrap();
                    runs.hit += usize::from(hit);
                    runs.refused += usize::from(said.refused.is_some());
                    if let Some(wrong) = wrong {
                        runs.wrong
                            .push(format!("{error} at {calls} {nth}: {wrong}; {said:?}"));
                    }
                }
            });
        }
    });
    let runs = runs.into_inner().unwrap();
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "{script}, {calls}: {} of {total} failed, {} steps refused",
        runs.hit,
        runs.refused
    );
    runs
}

/// A refusal says that the machine failed, and nobody panics but the child over its own notes.
fn judge(output: &Output, said: &Told, hit: bool) -> Result<(), String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("panicked at") && !stderr.contains("tests/crash/child.rs") {
        return Err(stderr.into_owned());
    }
    match &said.refused {
        Some((_, kind)) if !hit => Err(format!("refused with {kind} without a fault")),
        Some((_, kind)) if kind != "io" && kind != "unavailable" => {
            Err(format!("{kind} is not what happened"))
        }
        _ => Ok(()),
    }
}

fn all_honest(runs: &Runs) {
    assert!(
        runs.wrong.is_empty(),
        "{} of {}: {:#?}",
        runs.wrong.len(),
        runs.hit,
        &runs.wrong[..runs.wrong.len().min(5)]
    );
    assert!(
        runs.hit > 0 && runs.refused > 0,
        "control: faults arrive and are told: {runs:?}"
    );
}

#[test]
fn h03_a_failed_flush_is_told_and_nothing_is_lost() {
    if can_trace() {
        all_honest(&each_fails("mixed-1", FLUSHES, &["EIO"], usize::MAX));
        all_honest(&each_fails("restoring", FLUSHES, &["EIO"], usize::MAX));
    }
}

#[test]
fn h02_a_failed_write_is_told_and_nothing_is_lost() {
    if can_trace() {
        all_honest(&each_fails("mixed-1", WRITES, &["ENOSPC", "EIO"], 60));
        all_honest(&each_fails("restoring", WRITES, &["EIO", "ENOSPC"], 40));
    }
}

#[test]
fn h02_a_failed_change_of_a_name_is_told_and_nothing_is_lost() {
    if can_trace() {
        all_honest(&each_fails("mixed-1", NAMES, &["ENOSPC", "EIO"], 40));
        all_honest(&each_fails("restoring", NAMES, &["EIO", "ENOSPC"], 20));
    }
}

/// The change stands though its epoch could not be noted; a restore that follows is not taken for an attack.
#[test]
fn h02_an_epoch_that_cannot_be_noted_is_made_up_for() {
    if !can_trace() {
        return;
    }
    let of_epochs: Vec<usize> = made("restoring", "pwrite64")
        .iter()
        .zip(1..)
        .filter_map(|(call, number)| call.contains("/state/epoch/").then_some(number))
        .collect();
    assert!(of_epochs.len() > 5, "control: {of_epochs:?}");
    let runs = these_fail("restoring", "pwrite64", &["ENOSPC", "EIO"], &of_epochs);
    assert!(runs.wrong.is_empty(), "{:#?}", runs.wrong);
    assert!(runs.hit > 0, "control: {runs:?}");
}

#[test]
#[ignore = "every call, with both errors: many minutes"]
fn h02_h03_every_write_flush_and_name_fails_once() {
    if !can_trace() {
        return;
    }
    let mut wrong = Vec::new();
    for script in ["mixed-2", "restoring", "rekeying", "others"] {
        for calls in [WRITES, FLUSHES, NAMES] {
            for error in ["ENOSPC", "EIO"] {
                let runs = each_fails(script, calls, &[error], usize::MAX);
                assert!(runs.hit > 0, "control: {script} {calls:?}");
                wrong.extend(runs.wrong.into_iter().map(|said| (script, said)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A file system of so many KiB, in a mount namespace of the child's own.
fn on_a_small_disk(kib: usize) -> Result<Option<Told>, String> {
    let outer = child::home();
    let home = outer.path().join("small");
    std::fs::create_dir(&home).unwrap();
    let script = "mixed-1";
    let states = steps::states(&child::script(script));
    // Fills up, then copies out what is left, as somebody does who makes room.
    let shell = format!(
        "mount -t tmpfs -o size={kib}k,mode=0700 tmpfs {home} && mkdir {home}/state {home}/backups && touch {home}/acks \
         && chmod 600 {home}/acks && \"$@\"; cp -a {home}/. {out}/",
        home = home.display(),
        out = outer.path().display()
    );
    let root = nix::unistd::geteuid().is_root();
    let mut wrap = vec!["unshare", "--mount"];
    if !root {
        wrap.push("--map-root-user");
    }
    wrap.extend(["sh", "-c", &shell, "sh"]);
    let output = child::command(&wrap, script, &home).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("ermission denied") || stderr.contains("not permitted") {
        return Ok(None);
    }
    let said = told(outer.path());
    judge(&output, &said, true)?;
    let done = said.done.len();
    check::check(outer.path(), &states[done], states.get(done + 1))
        .map_err(|wrong| format!("{kib} KiB: {wrong}; {said:?}"))?;
    Ok(Some(said))
}

#[test]
fn h02_a_disk_that_fills_up_at_any_size_loses_nothing() {
    let all = child::script("mixed-1").len();
    let (mut refused, mut done) = (0, 0);
    for kib in (96..=1600).step_by(64) {
        let Some(said) = on_a_small_disk(kib).unwrap_or_else(|wrong| panic!("{wrong}")) else {
            return crate::skip("no small file system can be mounted here");
        };
        refused += usize::from(said.refused.is_some());
        done += usize::from(said.done.len() == all);
    }
    assert!(refused > 3, "control: some were too small");
    assert!(done > 0, "control: some were large enough");
}

/// Killed after every call, and the power cut there: exactly one state opens.
fn at_every_call(script: &str) {
    let recorded = Recorded::new(script, &[]);
    for power in [false, true] {
        let tally = recorded.try_cuts(
            |point| {
                let cut = match power {
                    false => Cut::Kill,
                    true => Cut::Power(point as u64 * 77 + 5),
                };
                (point + 1, cut)
            },
            recorded.len(),
        );
        assert_eq!(tally.lost, 0, "{:#?}", tally.samples);
        assert!(tally.ahead > 0, "control: some cuts come amid a step");
    }
}

#[test]
fn h06_a_restore_cut_off_at_any_call_leaves_the_old_vault_or_the_new_one() {
    if can_trace() {
        at_every_call("restoring");
    }
}

#[test]
fn h09_a_change_of_passphrase_cut_off_at_any_call_leaves_exactly_one_that_opens() {
    if can_trace() {
        at_every_call("changing");
    }
}

#[test]
fn h09_a_removal_of_an_account_cut_off_at_any_call_leaves_it_whole_or_gone_and_not_missed() {
    if can_trace() {
        at_every_call("removing");
    }
}

#[test]
fn h09_a_rekey_cut_off_at_any_call_leaves_exactly_one_that_opens_and_goes_on() {
    if can_trace() {
        at_every_call("rekeying");
    }
}

#[test]
fn h02_h03_a_rekey_whose_write_flush_or_name_fails_says_so_and_loses_nothing() {
    if can_trace() {
        all_honest(&each_fails("rekeying", FLUSHES, &["EIO"], 40));
        all_honest(&each_fails("rekeying", WRITES, &["ENOSPC", "EIO"], 60));
    }
}

#[test]
fn h02_h03_whatever_else_is_asked_for_says_so_when_a_write_flush_or_name_fails() {
    if can_trace() {
        all_honest(&each_fails("others", FLUSHES, &["EIO"], 40));
        all_honest(&each_fails("others", WRITES, &["ENOSPC", "EIO"], 60));
        all_honest(&each_fails("others", NAMES, &["EIO", "ENOSPC"], 15));
    }
}

/// The operations of the scripts that fail call by call.
#[test]
fn h02_h03_the_scripts_ask_for_thirty_operations() {
    let mut asked = std::collections::BTreeSet::new();
    for script in ["mixed-1", "restoring", "rekeying", "others"] {
        for step in child::script(script) {
            asked.extend(step.operations());
        }
    }
    assert!(asked.len() >= 30, "{}: {asked:?}", asked.len());
}
