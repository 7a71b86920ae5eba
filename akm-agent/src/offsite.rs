//! Copies backups elsewhere, with a program of the operator's: `[backup] offsite` in `config.toml`.
//!
//! Invariants: no shell; the program is named by its whole path and neither it nor its directory can have been written by
//! others, looked at before each run; it gets the configured arguments and the backup's path behind them, an environment of
//! its own (`PATH`, `HOME`, `LANG`), no descriptor of ours, and a bounded time, after which it and what it started are ended. Each
//! backup is copied once, oldest first; at one that fails it stops, to try that one again within the hour. What it says is not
//! kept: it may name secrets.
//!
//! Which were copied is remembered by name and not as "all up to this one": a clock that was ahead once would give a name
//! that no backup of the years to come is newer than.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use akm_core::backup::schedule::{MAX_KEEP, replace};
use akm_core::error::{Error, Kind, Result};
use akm_core::host::Clock;
use akm_core::regular::{self, Links};
use akm_core::service::Door;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid, User};
use serde::{Deserialize, Serialize};

use crate::jobs::Job;
use crate::{confirm, harden};

/// The name of the job, also where the copy is made right behind the backup.
pub(crate) const JOB: &str = "offsite";
const FILE: &str = "offsite.json";
const VERSION: u32 = 1;
/// Largest file that is read: the longest names of as many backups as are looked at.
const MAX_FILE: u64 = 4096 + MAX_KEEP as u64 * 136;
const RETRY: Duration = Duration::from_secs(60 * 60);

/// A copy of a backup to elsewhere, as it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    version: u32,
    /// The backup's name.
    pub backup: String,
    /// When it was tried, Unix milliseconds.
    pub at: i64,
    /// `ok`, `failed`, `timeout` or `refused`.
    pub outcome: String,
    /// The names of those that were copied and were still there then.
    #[serde(default)]
    copied: Vec<String>,
}

impl Copied {
    fn succeeded(&self) -> bool {
        self.outcome == "ok"
    }
}

/// The command, and what became of the last run.
pub struct Offsite {
    command: Vec<String>,
    timeout: Duration,
    state: PathBuf,
    clock: Arc<dyn Clock>,
    turn: Mutex<()>,
}

impl Offsite {
    /// Runs `command`, an absolute path and arguments, for at most `timeout`.
    pub fn new(
        command: Vec<String>,
        timeout: Duration,
        state: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Offsite {
        Offsite {
            command,
            timeout,
            state,
            clock,
            turn: Mutex::default(),
        }
    }

    /// How the last run went. A file that cannot be read is as none.
    pub fn last(&self) -> Option<Copied> {
        let text = regular::read(&self.state.join(FILE), Links::Refuse, MAX_FILE).ok()??;
        let copied: Copied = serde_json::from_slice(&text).ok()?;
        (copied.version == VERSION).then_some(copied)
    }

    /// Whether the last run succeeded, if there was one.
    pub fn succeeded(&self) -> Option<bool> {
        self.last().map(|copied| copied.succeeded())
    }

    /// Copies the backups that were not copied yet.
    pub fn copy_new(&self, service: &Door) -> Result<()> {
        self.copy(&service.own_backups()?)
    }

    /// Copies those of `backups`, oldest first, that were not copied yet. Once the time of one run is over none is begun any
    /// more, so that the other jobs get their turn: the rest is for the next time.
    fn copy(&self, backups: &[(String, PathBuf)]) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let began = self.clock.boot();
        let mut copied = self.copied();
        let there: BTreeSet<&String> = backups.iter().map(|(name, _)| name).collect();
        copied.retain(|name| there.contains(name));
        for (name, path) in backups {
            // One that was removed meanwhile, to make room, is nobody's failure.
            if copied.contains(name) || std::fs::symlink_metadata(path).is_err() {
                continue;
            }
            if self.clock.boot().saturating_sub(began) > self.timeout {
                break;
            }
            let outcome = self.run(path);
            if outcome == "ok" {
                copied.insert(name.clone());
            }
            self.note(name, outcome, &copied)?;
            let message = match outcome {
                "ok" => continue,
                "refused" => {
                    "the command that copies backups elsewhere could have been written by others, or is not there"
                }
                "timeout" => "the command that copies backups elsewhere took too long",
                _ => "the command that copies backups elsewhere failed",
            };
            return Err(Error::new(Kind::Io, message));
        }
        Ok(())
    }

    /// The names of those that were copied.
    fn copied(&self) -> BTreeSet<String> {
        let Some(last) = self.last() else {
            return BTreeSet::new();
        };
        // A file of before they were listed names one.
        let one = last.succeeded().then_some(last.backup);
        last.copied.into_iter().chain(one).collect()
    }

    fn note(&self, name: &str, outcome: &str, copied: &BTreeSet<String>) -> Result<()> {
        let copied = Copied {
            version: VERSION,
            backup: name.to_owned(),
            at: self.clock.now().as_millisecond(),
            outcome: outcome.to_owned(),
            copied: copied.iter().cloned().collect(),
        };
        let text = serde_json::to_vec(&copied)
            .map_err(|_| Error::internal("a copy elsewhere cannot be noted"))?;
        replace(&self.state, FILE, &text)
    }

    fn run(&self, backup: &Path) -> &'static str {
        let Some((program, arguments)) = self.command.split_first() else {
            return "refused";
        };
        let program = match Path::new(program).canonicalize() {
            Ok(program) if confirm::is_only_ours(&program) => program,
            _ => return "refused",
        };
        let home = User::from_uid(Uid::effective()).ok().flatten();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(backup)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env(
                "HOME",
                home.map_or_else(|| PathBuf::from("/"), |user| user.dir),
            )
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that what it starts ends with it.
            .process_group(0);
        // It ends with this thread, which waits for it, and so with the agent.
        harden::bind_child(&mut command);
        let Ok(mut child) = command.spawn() else {
            return "refused";
        };
        let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
        let (done, ended) = mpsc::channel();
        // Waits for the end, however late it comes, so that nothing is left of the program.
        std::thread::spawn(move || {
            let ok = child.wait().is_ok_and(|status| status.success());
            // Whoever waited may have gone.
            let _ = done.send(ok);
        });
        match ended.recv_timeout(self.timeout) {
            Ok(true) => "ok",
            Ok(false) => "failed",
            Err(_) => {
                if let Some(group) = group {
                    // Not reaped yet as nothing was sent, so the number is still its own.
                    let _ = killpg(group, Signal::SIGKILL);
                }
                "timeout"
            }
        }
    }
}

/// Copies what was not copied: also backups that somebody made by hand, and those that failed.
pub(crate) struct Copies {
    pub(crate) service: Arc<Door>,
    pub(crate) offsite: Arc<Offsite>,
}

impl Job for Copies {
    fn name(&self) -> &'static str {
        JOB
    }

    fn every(&self) -> Option<Duration> {
        Some(RETRY)
    }

    fn run(&self) -> Result<()> {
        self.offsite.copy_new(&self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use akm_core::host::Host;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A directory that nobody else writes, with a program in it.
    fn program(dir: &Path, text: &str, mode: u32) -> String {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let path = dir.join("copy");
        let draft = dir.join("copy.new");
        std::fs::write(&draft, text).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(mode)).unwrap();
        // Renamed by a process of its own: a descriptor that a fork of another test inherited would keep it busy.
        let moved = Command::new("mv").arg(&draft).arg(&path).status().unwrap();
        assert!(moved.success());
        path.to_str().unwrap().to_owned()
    }

    fn offsite(dir: &Path, command: Vec<String>, timeout: Duration) -> Offsite {
        Offsite::new(command, timeout, dir.to_owned(), Host::real().clock)
    }

    /// Empty backups of these names.
    fn there(dir: &Path, names: &[&str]) -> Vec<(String, PathBuf)> {
        let make = |name: &&str| {
            let path = dir.join(name);
            std::fs::write(&path, "").unwrap();
            ((*name).to_owned(), path)
        };
        names.iter().map(make).collect()
    }

    /// A program that writes down what it is given, and fails at a file with something in it.
    fn writes_down(dir: &Path) -> String {
        let text = format!(
            "#!/bin/sh\nbasename \"$1\" >> {}\ntest ! -s \"$1\"\n",
            dir.join("seen").display()
        );
        program(dir, &text, 0o700)
    }

    /// What that program was given since the last time this was asked.
    fn seen(dir: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(dir.join("seen")).unwrap_or_default();
        std::fs::write(dir.join("seen"), "").unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_backup_is_copied_oldest_first_and_one_that_failed_before_any_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let new = || {
            let command = vec![writes_down(dir.path())];
            offsite(dir.path(), command, Duration::from_secs(60))
        };
        let mut backups = there(dir.path(), &["v1", "v2", "v3", "v4"]);
        new().copy(&backups[..2]).unwrap();
        assert_eq!(seen(dir.path()), ["v1", "v2"], "not only the newest");
        std::fs::write(&backups[2].1, "fails").unwrap();
        assert!(new().copy(&backups).is_err());
        assert_eq!(seen(dir.path()), ["v3"], "it stops there");
        assert_eq!(new().succeeded(), Some(false));
        assert!(new().copy(&backups).is_err());
        assert_eq!(
            seen(dir.path()),
            ["v3"],
            "and is tried again, before newer ones"
        );
        std::fs::write(&backups[2].1, "").unwrap();
        new().copy(&backups).unwrap();
        assert_eq!(seen(dir.path()), ["v3", "v4"]);
        assert_eq!(new().succeeded(), Some(true));
        // A clock that was set back gives a new one an old name.
        backups.splice(0..1, there(dir.path(), &["v0"]));
        new().copy(&backups).unwrap();
        assert_eq!(seen(dir.path()), ["v0"]);
        assert!(!new().copied().contains("v1"), "gone, so not remembered");
        // One that is removed before its turn comes holds up nobody.
        backups.extend(there(dir.path(), &["v5", "v6"]));
        std::fs::remove_file(&backups[4].1).unwrap();
        new().copy(&backups).unwrap();
        assert_eq!(seen(dir.path()), ["v6"]);
    }

    #[test]
    fn a_file_that_names_one_backup_alone_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let command = vec![writes_down(dir.path())];
        let offsite = offsite(dir.path(), command, Duration::from_secs(60));
        let backups = there(dir.path(), &["v1", "v2"]);
        let file = r#"{"version":1,"backup":"v1","at":1,"outcome":"ok"}"#;
        std::fs::write(dir.path().join(FILE), file).unwrap();
        offsite.copy(&backups).unwrap();
        assert_eq!(seen(dir.path()), ["v2"]);
    }

    /// A clock that goes on by a minute whenever it is looked at.
    struct Hasty(AtomicU64);

    impl Clock for Hasty {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::UNIX_EPOCH
        }

        fn boot(&self) -> Duration {
            Duration::from_secs(60 * self.0.fetch_add(1, Ordering::Relaxed))
        }
    }

    #[test]
    fn many_at_once_are_left_for_the_next_time_when_the_time_of_a_run_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let command = vec![writes_down(dir.path())];
        let clock = Arc::new(Hasty(AtomicU64::new(0)));
        let two = Duration::from_secs(120);
        let offsite = Offsite::new(command, two, dir.path().to_owned(), clock);
        let backups = there(dir.path(), &["v1", "v2", "v3"]);
        offsite.copy(&backups).unwrap();
        assert_eq!(seen(dir.path()), ["v1", "v2"]);
        offsite.copy(&backups).unwrap();
        assert_eq!(seen(dir.path()), ["v3"]);
    }

    #[test]
    fn a_real_program_gets_the_path_last_a_clean_environment_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let seen = dir.path().join("seen");
        let text = format!(
            "#!/bin/sh\n{{ echo \"$#: $1 $2\"; env; ls /proc/$$/fd; }} >> {}\n",
            seen.display()
        );
        let copy = program(dir.path(), &text, 0o700);
        let offsite = offsite(
            dir.path(),
            vec![copy, "an argument; touch /nowhere".into()],
            Duration::from_secs(60),
        );
        assert_eq!(offsite.succeeded(), None);
        let backups = there(dir.path(), &["vault 1.backup", "vault 2.backup"]);
        let backup = &backups[0].1;
        offsite.copy(&backups[..1]).unwrap();
        let said = std::fs::read_to_string(&seen).unwrap();
        let first = format!("2: an argument; touch /nowhere {}", backup.display());
        assert_eq!(said.lines().next(), Some(first.as_str()));
        let allowed = ["PATH=", "HOME=", "LANG=", "PWD=", "SHLVL=", "_=", "OLDPWD="];
        for line in said.lines().skip(1).filter(|line| line.contains('=')) {
            let known = allowed.iter().any(|name| line.starts_with(name));
            assert!(known, "inherited: {line}");
        }
        assert!(said.contains("PATH=/usr/local/bin:"), "control: {said}");
        assert_eq!(offsite.succeeded(), Some(true));
        offsite.copy(&backups[..1]).unwrap();
        assert_eq!(std::fs::read_to_string(&seen).unwrap(), said, "once");
        offsite.copy(&backups).unwrap();
        assert_ne!(std::fs::read_to_string(&seen).unwrap(), said);
    }

    #[test]
    fn what_fails_takes_too_long_or_is_not_ours_is_told_apart_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let backups = there(dir.path(), &["b"]);
        let outcome = |command: Vec<String>, timeout: Duration| {
            let offsite = offsite(dir.path(), command, timeout);
            assert!(offsite.copy(&backups).is_err());
            offsite.last().unwrap().outcome
        };
        let long = Duration::from_secs(60);
        let fails = program(dir.path(), "#!/bin/sh\nexit 3\n", 0o700);
        assert_eq!(outcome(vec![fails], long), "failed");
        // What it starts ends with it: the lock that it holds is free again.
        let held = dir.path().join("held");
        let text = format!("#!/bin/sh\nsleep 1000 9> {} &\nwait\n", held.display());
        let hangs = program(dir.path(), &text, 0o700);
        assert_eq!(outcome(vec![hangs], Duration::from_millis(300)), "timeout");
        let foreign = program(dir.path(), "#!/bin/sh\nexit 0\n", 0o722);
        assert_eq!(outcome(vec![foreign], long), "refused");
        assert_eq!(outcome(vec!["/nowhere/copy".into()], long), "refused");
        assert_eq!(outcome(Vec::new(), long), "refused");
        // Control: the same one, ours alone.
        let good = program(dir.path(), "#!/bin/sh\nexit 0\n", 0o700);
        let offsite = offsite(dir.path(), vec![good], long);
        offsite.copy(&backups).unwrap();
        assert_eq!(offsite.succeeded(), Some(true));
    }
}
