//! A real agent in a home of its own, and its life around a test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use akm_core::Kind;
use akm_core::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::tools;

/// A passphrase that every test account has.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
/// The secret under `openai/work` in [`Agent::with_key`].
pub(crate) const SECRET: &str = "sk-test-0123456789abcdef";

/// A directory for one test, short enough for a socket's path and of mode 0700.
pub(crate) fn home() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("akm")
        .tempdir()
        .expect("a temporary directory can be made")
}

/// A running agent; stopped when dropped.
pub(crate) struct Agent {
    pub(crate) home: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    child: Child,
}

impl Agent {
    /// Starts an agent on an empty home.
    pub(crate) fn start() -> Self {
        Agent::configured("")
    }

    /// Starts an agent on a home that holds only this `config.toml`.
    pub(crate) fn configured(config: &str) -> Self {
        let home = home();
        if !config.is_empty() {
            let path = home.path().join("config.toml");
            std::fs::write(&path, config).expect("the home can be written");
            // Whatever the umask: the agent believes no file that others may write.
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .expect("an own file can be tightened");
        }
        let socket = home.path().join("agent.sock");
        let child = start(home.path(), &socket);
        Agent {
            home,
            socket,
            child,
        }
    }

    /// Starts an agent with an unlocked account and `openai/work`.
    pub(crate) fn with_key() -> Self {
        let agent = Agent::start();
        agent.call(
            "account.register",
            json!({"account": "default", "passphrase": PASSPHRASE, "totp": false}),
        );
        agent.call("key.add", json!({"name": "openai/work", "secret": SECRET}));
        agent
    }

    /// Calls an operation that must succeed.
    pub(crate) fn call(&self, op: &str, request: Value) -> Value {
        let mut client = Client::connect(Some(&self.socket)).expect("the agent listens");
        let json = client
            .call_raw(op, request.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{op}: {error:?}"));
        serde_json::from_slice(&json).expect("a result is JSON")
    }

    pub(crate) fn lock(&self) {
        self.call("agent.lock", json!({}));
    }

    pub(crate) fn unlock(&self) {
        self.call("agent.unlock", json!({"passphrase": PASSPHRASE}));
    }

    /// Kills the agent and starts another on the same home and socket, locked.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = start(self.home.path(), &self.socket);
    }

    /// Asks the agent to end, and waits until it has closed its vault.
    pub(crate) fn close(&mut self) {
        // One that listens and does not answer yet has not said what a signal means to it.
        self.call("agent.status", json!({}));
        let pid = i32::try_from(self.child.id()).expect("a process id is one");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("an own child can be told");
        let ended = self.child.wait().expect("an own child ends");
        assert!(ended.success(), "the agent ended with {ended}");
    }

    /// Kills the agent: nothing listens afterwards.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(home: &Path, socket: &Path) -> Child {
    let mut child = tools::clean(tools::akm_agent())
        .args(["-D", "-a"])
        .arg(socket)
        .env("AKM_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the agent can be started");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match Client::connect(Some(socket)) {
            Ok(_) => return child,
            Err(error) if error.kind() == Kind::NoAgent => {}
            Err(error) => panic!("the agent refuses: {error:?}"),
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the agent ended with {status}");
        }
        assert!(Instant::now() < deadline, "the agent does not listen");
        // Not a proof of anything: there is no other way to be told that a process listens.
        std::thread::sleep(Duration::from_millis(5));
    }
}
