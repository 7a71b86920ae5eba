//! A real terminal for tests: a tmux server of its own with one window, what is typed into it and what it shows.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Only bounds a test that would otherwise hang; no result depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program can be run. On a person's machine a test without it is skipped; CI skips nothing.
pub fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} is not installed and CI skips nothing"
        );
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A terminal, ended when dropped.
pub struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// A window that runs `program` with these variables and nothing else of akm's.
    pub fn open(dir: &Path, program: &[&str], variables: &[(&str, String)]) -> Tmux {
        let tmux = Tmux {
            socket: dir.join("tmux"),
        };
        let mut command = tmux.command();
        command.args([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "160",
            "-y",
            "50",
        ]);
        command.arg("env");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("AKM_") || name.starts_with("XDG_") {
                command.args(["-u", &name]);
            }
        }
        command.args(["PS1=$ ", "AKM_LANG=en"]);
        for (name, value) in variables {
            command.arg(format!("{name}={value}"));
        }
        command.args(program);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        tmux
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).env_remove("TMUX");
        command
    }

    /// Types a line and presses return.
    pub fn line(&self, text: &str) {
        self.keys(text);
        self.press("Enter");
    }

    /// Types.
    pub fn keys(&self, text: &str) {
        let typed = self
            .command()
            .args(["send-keys", "-l", "--", text])
            .status();
        assert!(typed.unwrap().success());
    }

    /// Presses a key by tmux's name of it: `Enter`, `Tab`, `C-c`.
    pub fn press(&self, key: &str) {
        let pressed = self.command().args(["send-keys", key]).status();
        assert!(pressed.unwrap().success());
    }

    /// What is on the screen and above it.
    pub fn shown(&self) -> String {
        let output = self
            .command()
            .args(["capture-pane", "-p", "-J", "-S", "-500"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until a text is shown.
    pub fn expect(&self, text: &str) -> String {
        self.until(text, |shown| shown.contains(text))
    }

    /// Waits until what is shown is as wanted.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            if wanted(&shown) {
                return shown;
            }
            assert!(
                Instant::now() < end,
                "{what:?} does not come; there is:\n{shown}"
            );
            // Each look is a process; this only spares the others' time.
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Runs a line of a shell to its end: its output. The mark is typed in two parts, so that the echo of what was
    /// typed is not taken for what was printed.
    pub fn run(&self, number: u32, text: &str) -> String {
        self.line(&format!("{text}; echo 'done''-{number}-'$?'-'"));
        let mark = format!("done-{number}-");
        let shown = self.until(text, |shown| shown.lines().any(|line| line.contains(&mark)));
        let typed = format!("done''-{number}-");
        let after = shown.rsplit_once(&typed).map_or("", |(_, after)| after);
        after
            .split_once('\n')
            .map_or("", |(_, after)| after)
            .to_owned()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}
