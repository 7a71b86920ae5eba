//! What the shared library leaves in the memory of a program that uses it: case D02 for a host written in C.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::json;

use crate::agent::{Agent, home};
use crate::{c, tools};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "of another package's tests; not all of it is needed here"
)]
#[path = "../../../akm-agent/tests/support/search.rs"]
mod search;

use search::{Search, Where};

/// Nothing else in the program begins as these do.
const TYPED: &str = "☂☯⚛♞ and some more words";
const KEY: &str = "sk-host-9Wq3nT7vZx2Lm5Kc8Yb4";

struct Host {
    child: Child,
    say: Option<ChildStdin>,
    hear: BufReader<ChildStdout>,
    /// The start of the passphrase, as it is and as UTF-16; the secret in every form.
    typed: Search,
    key: Search,
}

impl Host {
    fn start(how: &str, place: &std::path::Path) -> Host {
        let dir = home();
        let program = dir.path().join("host");
        let source = tools::root().join("akm-ffi/tests/c/host.c");
        tools::run(&mut c::compile(&source, &program, &["-O1"]));
        let mut command = tools::clean(&program);
        command.arg(how).arg(place);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let start: String = TYPED.chars().take(4).collect();
        let wide = start.encode_utf16().flat_map(u16::to_le_bytes).collect();
        Host {
            say: child.stdin.take(),
            hear: BufReader::new(child.stdout.take().unwrap()),
            child,
            typed: Search::exactly(vec![start.into_bytes(), wide]),
            key: Search::of(&[KEY.as_bytes()]),
        }
    }

    fn tell(&mut self, bytes: &[u8]) {
        self.say.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn hears(&mut self, wanted: &str) {
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), wanted);
    }

    /// How often the passphrase and the secret stand in what the program can write.
    fn left(&self) -> (usize, usize) {
        let count = |search: &Search| search.count(self.child.id(), Where::Writable);
        (count(&self.typed), count(&self.key))
    }

    /// Carries out one line. `held`: whether passphrase and secret stand in the answer, until it is given back.
    fn call(&mut self, op: &str, request: &str, held: [bool; 2], comes: &str) {
        self.tell(format!("{op} {request}\n").as_bytes());
        self.hears("read");
        let (typed, key) = self.left();
        assert_eq!(
            (typed > 0, key > 0),
            (request.contains('☂'), request.contains("sk-")),
            "control: {op}"
        );
        self.tell(b"g");
        self.hears(comes);
        let (typed, key) = self.left();
        assert_eq!([typed > 0, key > 0], held, "answered: {op}");
        self.tell(b"g");
        self.hears("freed");
        assert_eq!(self.left(), (0, 0), "freed: {op}");
    }

    fn close(mut self) {
        self.say.take();
        // Its input is at an end: nothing waits for more.
        self.hears("closed");
        let _ = self.child.wait();
    }
}

fn everything(host: &mut Host, unlocks: &str) {
    let none = [false, false];
    let add = json!({"name": "openai/work", "secret": KEY}).to_string();
    host.call("key.add", &add, none, "done");
    host.call("get", "openai/work", [false, true], "done");
    let body = json!({"name": "openai/work"}).to_string();
    host.call("key.get", &body, [false, true], "done");
    host.call("agent.lock", "{}", none, "done");
    let wrong = unlocks.replace("some", "none");
    host.call("agent.unlock", &wrong, none, "failed");
    host.call("agent.unlock", unlocks, none, "done");
    host.call("get", "openai/work", [false, true], "done");
    host.call("agent.lock", "{}", none, "done");
}

#[test]
fn d02_a_host_in_c_keeps_nothing_of_passphrase_and_secret_in_a_vault_of_its_own() {
    let dir = home();
    let mut host = Host::start("embedded", &dir.path().join("vault.db"));
    let register = json!({"account": "default", "passphrase": TYPED, "totp": false}).to_string();
    host.call("account.register", &register, [false, false], "done");
    let unlock = json!({"passphrase": TYPED}).to_string();
    everything(&mut host, &unlock);
    host.close();
}

#[test]
fn d02_a_host_in_c_keeps_nothing_of_passphrase_and_secret_that_go_to_the_agent() {
    let agent = Agent::start();
    let mut host = Host::start("connected", &agent.socket);
    let register = json!({"account": "default", "passphrase": TYPED, "totp": false}).to_string();
    host.call("account.register", &register, [false, false], "done");
    let unlock = json!({"passphrase": TYPED}).to_string();
    everything(&mut host, &unlock);
    host.close();
}
