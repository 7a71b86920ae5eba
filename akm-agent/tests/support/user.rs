//! A user of its own for a test, who needs no entry in the user database: only root can act as one.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Agent, PASSPHRASE, clean, is_root, launch};

/// Without root there is no second user to act as; CI runs these as root.
pub fn needs_root() -> bool {
    if is_root() {
        return false;
    }
    assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
    eprintln!("skipped: needs root to act as another user");
    true
}

/// Whether a program that a test needs is there; under CI it must be.
pub fn lacks(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir: PathBuf| dir.join(program).exists());
    assert!(
        found || std::env::var_os("CI").is_none(),
        "{program} is not installed, see .ci/packages"
    );
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    !found
}

/// A user with a home and a copy of the agent that it can run.
pub struct User {
    pub uid: u32,
    pub dir: tempfile::TempDir,
    pub program: PathBuf,
}

impl User {
    pub fn new(uid: u32) -> User {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let program = dir.path().join("akm-agent");
        std::fs::copy(env!("CARGO_BIN_EXE_akm-agent"), &program).unwrap();
        let user = User { uid, dir, program };
        user.own(&user.home());
        user
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A directory of this user alone.
    pub fn own(&self, dir: &Path) {
        std::fs::create_dir(dir).unwrap();
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).unwrap();
        chown(dir, Some(self.uid), Some(self.uid)).unwrap();
    }

    /// A program as this user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = clean(program);
        command
            .env("AKM_HOME", self.home())
            .env("HOME", self.home())
            .current_dir("/")
            .uid(self.uid)
            .gid(self.uid);
        command
    }

    /// Its agent, in the foreground, after a line of shell.
    pub fn start_after(&self, shell: &str) -> Agent {
        let mut command = self.command(Path::new("sh"));
        command
            .arg("-c")
            .arg(format!("{shell}exec {} -D", self.program.display()));
        Agent {
            child: launch(command).expect("the agent starts"),
            socket: self.home().join("agent.sock"),
        }
    }

    pub fn start(&self) -> Agent {
        self.start_after("")
    }
}

impl User {
    /// A request of this user to an agent: the answer's body, empty where it was closed.
    pub fn ask(&self, agent: &Agent, op: &str, body: &serde_json::Value) -> String {
        let mut command = self.command(Path::new("curl"));
        command
            .args(["--silent", "--max-time", "30", "--data", &body.to_string()])
            .arg("--unix-socket")
            .arg(&agent.socket)
            .arg(format!("http://akm/v1/{op}"));
        let output = command.output().expect("curl is installed");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates the account `default`, without TOTP, and leaves it unlocked.
    pub fn register(&self, agent: &Agent) {
        let body =
            serde_json::json!({"account": "default", "passphrase": PASSPHRASE, "totp": false});
        let answer = self.ask(agent, "account.register", &body);
        assert!(answer.contains("\"ok\":true"), "{answer}");
    }
}
