//! A home for one test of the command line: a directory, the real `akm` in it, and no agent left afterwards.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod terminal;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The passphrase of every account here.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// A temporary home of akm.
pub(crate) struct Home {
    dir: TempDir,
    /// Whether a thread of the test plays the agent, which is not to be stopped by its process id.
    pub(crate) pretended: bool,
}

impl Home {
    /// An empty one, without agent or vault.
    pub(crate) fn empty() -> Home {
        let dir = tempfile::Builder::new()
            .prefix("akm-cli-")
            .tempdir()
            .unwrap();
        Home {
            dir,
            pretended: false,
        }
    }

    /// One with an unlocked account without TOTP.
    pub(crate) fn ready() -> Home {
        let home = Home::empty();
        let output = home.akm(
            &["init", "--no-totp", "--passphrase-stdin"],
            &format!("{PASSPHRASE}\n"),
        );
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        home
    }

    /// As [`Home::ready`], with one key.
    pub(crate) fn with_key(name: &str, secret: &str) -> Home {
        let home = Home::ready();
        home.add(name, secret);
        home
    }

    /// Adds a key.
    pub(crate) fn add(&self, name: &str, secret: &str) {
        let output = self.akm(&["add", name, "--secret-stdin"], &format!("{secret}\n"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command in this home, without any setting of the person who runs the tests.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"AKM_") || name == "RUST_BACKTRACE" {
                command.env_remove(name);
            }
        }
        command
            .env("AKM_HOME", self.path())
            .env("AKM_LANG", "en")
            .current_dir(self.path());
        command
    }

    /// `akm` without a terminal: in a session of its own, so that /dev/tty cannot be opened.
    pub(crate) fn akm_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("setsid");
        command
            .args(["--wait", env!("CARGO_BIN_EXE_akm")])
            .args(arguments);
        command
    }

    /// Runs `akm` without a terminal, `input` on its stdin.
    pub(crate) fn akm(&self, arguments: &[&str], input: &str) -> Output {
        run(&mut self.akm_command(arguments), input.as_bytes())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.pretended {
            return;
        }
        let _ = self
            .akm_command(&["agent", "stop"])
            .stdin(Stdio::null())
            .output();
    }
}

/// Runs a command to its end with `input` on its stdin.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that does not read all of it has closed its end.
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Stdout as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Stderr as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The exit code as a shell shows it: 128 + n for signal n.
pub(crate) fn code(output: &Output) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let status = output.status;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap()
}
