//! The workload as a process of its own: this test binary, run again with a script in its environment.
//!
//! After each step it appends one line to `acks` in the home: `ok N`, or `no N KIND`. That write stands in the
//! trace behind everything the step did, and in the file for whoever looks after a kill.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::steps::{self, Step};
use crate::support::new_key;
use akm_core::protocol::BackupCreate;

use crate::desk::Desk;

const SCRIPT: &str = "AKM_CRASH_TEST_SCRIPT";
const HOME: &str = "AKM_CRASH_TEST_HOME";
const LATER: &str = "AKM_CRASH_TEST_LATER";
pub(crate) const ACKS: &str = "acks";

/// The steps of a script.
pub(crate) fn script(name: &str) -> Vec<Step> {
    match name.split_once('-') {
        Some(("mixed", rounds)) => steps::mixed(rounds.parse().unwrap()),
        Some(("adding", count)) => steps::adding(count.parse().unwrap()),
        _ if name == "restoring" => steps::restoring(),
        _ if name == "changing" => steps::changing(),
        _ if name == "removing" => steps::removing(),
        _ if name == "rekeying" => steps::rekeying(),
        _ if name == "others" => steps::others(),
        _ => panic!("no such script"),
    }
}

/// An empty home with its directories, as the agent makes them before it opens a vault.
pub(crate) fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir_in(scratch()).unwrap();
    prepare(home.path());
    home
}

pub(crate) fn prepare(home: &Path) {
    for name in ["state", "state/epoch", "backups"] {
        std::fs::create_dir_all(home.join(name)).unwrap();
    }
    File::create(home.join(ACKS)).unwrap();
}

/// Memory, where there is a file system of it: what is flushed there costs nothing, and what is tested does not depend on it.
pub(crate) fn scratch() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        Path::new("/tmp")
    }
}

/// A command that runs a script in a home. `wrap` goes before it.
pub(crate) fn command(wrap: &[&str], script: &str, home: &Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrap {
        [] => Command::new(exe),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
    };
    command
        .args(["--exact", "child::task", "--ignored", "--nocapture"])
        .env(SCRIPT, script)
        .env(HOME, home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A command that works until it is killed, this many seconds after the beginning of time.
pub(crate) fn working(work: &str, home: &Path, later: u64) -> Command {
    let mut command = command(&[], &format!("forever-{work}"), home);
    command.env(LATER, later.to_string());
    command
}

/// What became of a script.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Steps that were acknowledged.
    pub(crate) done: Vec<usize>,
    /// The step that was refused, and with which kind. The script ends there.
    pub(crate) refused: Option<(usize, String)>,
}

/// Reads `acks`; a line that was cut off was not said.
pub(crate) fn told(home: &Path) -> Told {
    let mut text = String::new();
    File::open(home.join(ACKS))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let mut told = Told::default();
    for line in text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ok", step] => told.done.push(step.parse().unwrap()),
            ["no", step, kind] => told.refused = Some((step.parse().unwrap(), kind.to_owned())),
            _ => panic!("the child says {line}"),
        }
    }
    told
}

#[test]
#[ignore = "a part of other tests, which run it with a script"]
fn task() {
    let (Ok(name), Some(home)) = (std::env::var(SCRIPT), std::env::var_os(HOME)) else {
        return;
    };
    let home = Path::new(&home);
    if let Some(work) = name.strip_prefix("forever-") {
        return forever(work, home);
    }
    let steps = script(&name);
    let states = steps::states(&steps);
    let mut acks = OpenOptions::new()
        .append(true)
        .open(home.join(ACKS))
        .unwrap();
    let mut say = |line: String| acks.write_all(line.as_bytes()).unwrap();
    let desk = match Desk::open(home, 0) {
        Ok(desk) => desk,
        Err(error) => return say(format!("no 0 {}\n", error.kind().token())),
    };
    for (index, step) in steps.iter().enumerate() {
        match steps::run(&desk, index, step, &states[index]) {
            Ok(()) => say(format!("ok {index}\n")),
            Err(error) => {
                // One failure, told honestly. What comes after it is another process's.
                return say(format!("no {index} {}\n", error.kind().token()));
            }
        }
    }
}

/// Work until somebody kills it: each thing that was acknowledged is said by its name.
fn forever(work: &str, home: &Path) {
    let mut acks = OpenOptions::new()
        .append(true)
        .open(home.join(ACKS))
        .unwrap();
    let mut say = |name: &str| acks.write_all(format!("{name}\n").as_bytes()).unwrap();
    let later = std::env::var(LATER).unwrap().parse().unwrap();
    let desk = Desk::open(home, later).unwrap();
    steps::unlock(&desk, "passphrase number 0").unwrap();
    for index in 0.. {
        if work == "backup" {
            desk.clock.advance(std::time::Duration::from_millis(10));
            let request = BackupCreate {
                keep: Some(5),
                max_age_days: None,
            };
            say(&desk.call(request).unwrap().backup.name);
        } else {
            let name = format!("openai/at{later}-{index}");
            desk.call(new_key(&name, "sk")).unwrap();
            say(&name);
        }
    }
}
