//! `akm demo` as somebody runs it who has only the program: outside a checkout, what needs one is skipped.
//! The whole of it, in a checkout, is `cargo run --bin akm -- demo`, which `.ci/run` calls.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use cli_support::{code, run, stderr, stdout};
use tempfile::TempDir;

/// `akm` alone in a directory, with a temporary directory of its own to leave nothing in.
struct Alone {
    dir: TempDir,
}

impl Alone {
    fn new() -> Alone {
        let dir = tempfile::Builder::new().prefix("akm-d-").tempdir().unwrap();
        // By another process: while this one has a program open for writing, a thread that forks keeps it open
        // and the program cannot be run.
        let copied = Command::new("cp")
            .args([env!("CARGO_BIN_EXE_akm").as_ref(), dir.path().as_os_str()])
            .status();
        assert!(copied.unwrap().success());
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Alone { dir }
    }

    fn akm(&self) -> Command {
        let mut command = Command::new(self.dir.path().join("akm"));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"AKM_")
                || name.as_encoded_bytes().starts_with(b"CARGO")
            {
                command.env_remove(name);
            }
        }
        command
            .env("TMPDIR", self.tmp())
            .env("AKM_LANG", "en")
            .current_dir(self.dir.path())
            .arg("demo");
        command
    }

    fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// No file in the temporary directory, and no process of this copy of the program.
    fn assert_nothing_is_left(&self) {
        let files: Vec<_> = std::fs::read_dir(self.tmp()).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
        let program = self.dir.path().join("akm");
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            if let Ok(exe) = std::fs::read_link(process.path().join("exe")) {
                assert_ne!(exe, program, "process {:?} is left", process.file_name());
            }
        }
    }
}

#[test]
fn the_demo_does_what_it_says_and_leaves_nothing() {
    let alone = Alone::new();
    let output = run(&mut alone.akm(), b"");
    let shown = stdout(&output);
    assert_eq!(code(&output), 0, "{shown}{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    for said in [
        "skipped: not in a checkout of akm",
        "confirmed with the code",
        "openai/work        valid ",
        "anthropic/revoked  invalid ",
        "google/busy        rate limited ",
        "sk-d…wxyz, the key that was added",
        "exit code 3: error: the account is locked",
        "all authentic and in order",
        "9 skipped. The temporary home and its agent are gone.",
    ] {
        assert!(shown.contains(said), "{said:?} is missing in\n{shown}");
    }
    // Previews only: none of the keys stands there whole.
    assert!(
        !shown.contains("sk-demo-")
            && !shown.contains("sk-ant-demo-")
            && !shown.contains("AIza-demo-")
    );
    alone.assert_nothing_is_left();
}

#[test]
fn one_wrong_answer_of_a_provider_fails_the_demo() {
    for provider in ["openai", "anthropic", "google"] {
        let alone = Alone::new();
        let output = run(alone.akm().args(["--break", provider]), b"");
        assert_eq!(code(&output), 1, "{provider}");
        assert!(
            stderr(&output).contains("should be valid"),
            "{}",
            stderr(&output)
        );
        alone.assert_nothing_is_left();
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    use nix::sys::signal::{Signal, kill};
    // Once the agent runs, and once before.
    for awaited in ["akm add openai/work", "akm init"] {
        let alone = Alone::new();
        let mut child = alone
            .akm()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(awaited) {
            line.clear();
            assert_ne!(std::io::BufRead::read_line(&mut out, &mut line).unwrap(), 0);
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 130, "{}", stderr(&output));
        alone.assert_nothing_is_left();
    }
}
