//! Grants against real processes: who is covered, who is not, and which of the ways around them work for a process of
//! the same user. What does not hold is here as well, as measured, and in SECURITY.md.
//!
//! Nothing here is about another user: that is `agent_attacks`.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod around;
mod cover;
mod rules;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use akm_core::protocol::{GrantAdd, Policy, PolicySet};
use support::{Agent, Home, PASSPHRASE, secret};

/// Asks for the key by hand, without any library, and prints what comes back.
const ASK: &str = r#"
import os, socket
def ask(s, name="openai/work", op="key.get"):
    body = '{"name":"%s"}' % name
    s.sendall(("POST /v1/%s HTTP/1.1\r\nhost: akm\r\ncontent-length: %d\r\n\r\n%s" % (op, len(body), body)).encode())
    got = b""
    while not got.endswith(b"}"):
        piece = s.recv(65536)
        if not piece:
            break
        got += piece
    return got.split(b"\r\n\r\n", 1)[-1].decode()
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["SOCK"])
    return s
"#;
const GET: &str = "print(ask(connect()))\n";

const VALUE: &str = "sk-of-a-granted-key";

/// An agent with one key, a project with a script in it, and a policy.
struct Bench {
    home: Home,
    agent: Agent,
    project: PathBuf,
}

impl Bench {
    fn new(policy: Policy) -> Bench {
        let home = Home::new();
        let agent = home.start();
        agent.register();
        agent.add("openai/work", VALUE).unwrap();
        agent.add("openai/other", "sk-other").unwrap();
        let project = home.dir.path().join("project");
        std::fs::create_dir(&project).unwrap();
        let project = project.canonicalize().unwrap();
        let bench = Bench {
            home,
            agent,
            project,
        };
        bench.script("app.py", GET);
        bench.policy(PolicySet {
            policy: Some(policy),
            ..PolicySet::default()
        });
        bench
    }

    fn policy(&self, mut request: PolicySet) {
        request.passphrase = Some(secret(PASSPHRASE));
        self.agent.client().call(&request).unwrap();
    }

    /// A script of the project that can ask.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.project.join(name);
        std::fs::write(&path, format!("{ASK}{body}")).unwrap();
        path
    }

    fn grant(&self, change: impl FnOnce(&mut GrantAdd)) -> String {
        let mut grant = GrantAdd {
            name: Some("openai/work".into()),
            exe: Some(python()),
            exe_sha256: None,
            script: None,
            under: None,
            via: None,
            use_only: None,
            any_env: None,
            learn: None,
            lifetime_s: None,
            passphrase: secret(PASSPHRASE),
        };
        change(&mut grant);
        self.agent.client().call(&grant).unwrap().grant.id
    }

    /// A grant to `app.py` under python.
    fn grant_app(&self) {
        self.grant(|grant| {
            grant.exe_sha256 = Some(sha256(&python()));
            grant.script = Some(text(&self.project.join("app.py")));
        });
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.run_with(program, arguments, |_| {})
    }

    fn run_with(
        &self,
        program: &str,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> String {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.project)
            .env("SOCK", &self.agent.socket)
            .env("AKM_HOME", self.home.path())
            .stdin(Stdio::null());
        for name in [
            "LD_LIBRARY_PATH",
            "PYTHONPATH",
            "AKM_AGENT_SOCK",
            "CLAUDECODE",
        ] {
            command.env_remove(name);
        }
        change(&mut command);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    fn python(&self, arguments: &[&str]) -> String {
        self.run(&python(), arguments)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn which(program: &str) -> PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is installed"))
}

/// The interpreter, as the kernel names it: what is in PATH may be a launcher.
fn python() -> String {
    static FOUND: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let find = || {
        let say = "import os; print(os.readlink('/proc/self/exe'))";
        let output = Command::new("python3")
            .args(["-c", say])
            .output()
            .expect("python3 is installed");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    FOUND.get_or_init(find).clone()
}

fn sha256(path: &str) -> String {
    let mut file = std::fs::File::open(path).unwrap();
    let digest = akm_core::crypto::digest_of(&mut file, u64::MAX)
        .unwrap()
        .unwrap();
    data_encoding::HEXLOWER.encode(&digest)
}

#[track_caller]
fn gets(answer: &str) {
    assert!(answer.contains(VALUE), "{answer}");
}

#[track_caller]
fn is_refused(answer: &str) {
    assert!(
        answer.contains(r#""kind":"denied""#) && !answer.contains(VALUE),
        "{answer}"
    );
}
