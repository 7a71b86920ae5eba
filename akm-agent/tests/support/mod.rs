//! A real agent process in a temporary home.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

pub mod search;
pub mod user;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use akm_core::client::Client;
use akm_core::protocol::{AccountRegister, AgentLock, AgentUnlock, KeyAdd, KeyGet};
use akm_core::{Error, Result, Secret};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const PASSPHRASE: &str = "correct horse battery staple";

/// A temporary directory that an agent makes its home.
pub struct Home {
    pub dir: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("agent.sock")
    }

    /// The binary under test, with nothing of this process's environment that could move its places.
    pub fn command(&self) -> Command {
        let mut command = clean(Path::new(env!("CARGO_BIN_EXE_akm-agent")));
        command.env("AKM_HOME", self.path());
        command
    }

    /// Starts an agent in the foreground and waits until it says that it is ready.
    pub fn start(&self) -> Agent {
        let mut command = self.command();
        command.arg("-D");
        self.started(command)
    }

    /// The same where it may have so many descriptors.
    pub fn start_with(&self, descriptors: usize) -> Agent {
        let agent = env!("CARGO_BIN_EXE_akm-agent");
        let mut command = clean(Path::new("sh"));
        command
            .args(["-c", &format!("ulimit -n {descriptors}; exec {agent} -D")])
            .env("AKM_HOME", self.path());
        self.started(command)
    }

    fn started(&self, command: Command) -> Agent {
        match launch(command) {
            Ok(child) => Agent {
                child,
                socket: self.socket(),
            },
            Err(failure) => panic!("the agent did not start: {}", failure.stderr),
        }
    }
}

/// Without the variables that akm looks at.
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if text.starts_with("AKM_") || text.starts_with("XDG_") {
            command.env_remove(&name);
        }
    }
    command
}

/// An agent that did not come up.
#[derive(Debug)]
pub struct Failure {
    pub status: ExitStatus,
    pub stderr: String,
}

/// Runs `akm-agent -D …` until it announces itself, or to its end.
pub fn launch(mut command: Command) -> std::result::Result<Child, Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    while out.read_line(&mut line).unwrap() > 0 {
        if line.starts_with("echo Agent pid") {
            return Ok(child);
        }
        line.clear();
    }
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    Err(Failure {
        status: child.wait().unwrap(),
        stderr,
    })
}

/// A running agent; killed when dropped.
pub struct Agent {
    pub child: Child,
    pub socket: PathBuf,
}

impl Agent {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn client(&self) -> Client {
        Client::connect(Some(&self.socket)).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// SIGTERM, and its end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Creates the account `default` without TOTP and leaves it unlocked.
    pub fn register(&self) {
        let request = AccountRegister {
            account: "default".into(),
            passphrase: secret(PASSPHRASE),
            totp: Some(false),
            invitation: None,
        };
        self.client().call(&request).unwrap();
    }

    pub fn unlock(&self, lifetime_s: Option<u64>) -> Result<()> {
        let request = AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            keyfile: None,
            lifetime_s,
            accept_rollback: None,
        };
        self.client().call(&request).map(drop)
    }

    pub fn lock(&self) {
        self.client().call(&AgentLock {}).unwrap();
    }

    pub fn add(&self, name: &str, value: &str) -> Result<()> {
        let json = serde_json::json!({ "name": name, "secret": value }).to_string();
        let _: KeyAdd = serde_json::from_str(&json).unwrap();
        self.client().call_raw("key.add", json.as_bytes()).map(drop)
    }

    pub fn get(&self, name: &str) -> Result<String> {
        let request = KeyGet {
            name: name.into(),
            version: None,
        };
        // An agent that is being killed is an error here like any other.
        Client::connect(Some(&self.socket))?
            .call(&request)
            .map(|got| got.secret.expose().to_owned())
    }

    /// Sends bytes as they are and reads until the agent closes or `enough` bytes came.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        // The agent may close before it has taken everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// As [`Agent::raw`], as text.
    pub fn http(&self, request: &str) -> String {
        String::from_utf8(self.raw(request.as_bytes())).unwrap()
    }

    /// How many descriptors the agent has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// A line of `/proc/PID/status` in KiB.
    pub fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

pub fn request(op: &str, json: &str) -> String {
    format!(
        "POST /v1/{op} HTTP/1.1\r\nhost: akm\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )
}

/// Waits until something that another process does has happened; the bound is for a hang, not a proof.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed().as_secs() < 30, "{what} did not happen");
        std::thread::yield_now();
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// curl as another user.
pub fn curl_as(uid: u32, socket: &Path) -> std::process::Output {
    Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--data",
            "{}",
            "--unix-socket",
        ])
        .arg(socket)
        .arg("http://akm/v1/agent.status")
        .current_dir("/")
        .uid(uid)
        .gid(uid)
        .output()
        .expect("curl is installed")
}

pub fn kind(error: &Error) -> &'static str {
    error.kind().token()
}

/// Copies a program. By a process of its own: one that this process had open for writing while another thread starts a
/// child could not be executed ("text file busy").
pub fn copy_program(from: impl AsRef<std::ffi::OsStr>, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}
