//! The same steps through each language: a small program per language that reads steps and writes answers, and the ways
//! that need no other program.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use akm_core::audit::Caller;
use akm_core::client::Client;
use akm_core::host::Host;
use akm_core::protocol::{Op, Request};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Options};
use akm_core::{Error, Kind};
use serde_json::Value;

/// What an operation answered: its result, or its error object.
pub(crate) type Answer = Result<Value, Value>;

/// A way into akm.
pub(crate) trait Way {
    /// Whether it runs the vault itself, so that no agent is started.
    fn embedded(&self) -> bool;
    /// Begins a session on a vault file, or on an agent's socket; the error where there is none to be had.
    fn try_begin(&mut self, place: &Path) -> Result<(), Value>;
    /// Begins a session that there must be.
    fn begin(&mut self, place: &Path) {
        if let Err(error) = self.try_begin(place) {
            panic!("no session begins: {error}");
        }
    }
    /// Asks for an operation.
    fn call(&mut self, op: &str, request: &Value) -> Answer;
    /// Ends the session.
    fn end(&mut self);
    /// How many sessions it says were asked for.
    fn count(&mut self) -> usize;
}

fn code_fits(code: i32, error: &Value) {
    let kind = error["kind"].as_str().and_then(Kind::from_token);
    assert_eq!(
        kind.map(Kind::code),
        Some(code),
        "the code and the kind agree in {error}"
    );
}

/// A program that speaks the protocol of `driver.c`.
pub(crate) struct Program {
    embedded: bool,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(mut command: Command, embedded: bool) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
        let input = child.stdin.take().expect("the input is piped");
        let output = BufReader::new(child.stdout.take().expect("the output is piped"));
        Program {
            embedded,
            child,
            input,
            output,
        }
    }

    fn ask(&mut self, words: &[&str]) -> (i32, String) {
        let line = words.join("\t");
        assert!(!line.contains('\n'), "a step is one line");
        writeln!(self.input, "{line}").expect("the program reads");
        let mut answer = String::new();
        self.output
            .read_line(&mut answer)
            .expect("the program writes UTF-8");
        let (code, answer) = answer
            .trim_end_matches('\n')
            .split_once('\t')
            .expect("an answer has a code");
        (code.parse().expect("a code is a number"), answer.to_owned())
    }

    fn failed(code: i32, answer: &str) -> Value {
        let error = serde_json::from_str(answer).expect("an error is JSON");
        code_fits(code, &error);
        error
    }
}

impl Way for Program {
    fn embedded(&self) -> bool {
        self.embedded
    }

    fn try_begin(&mut self, place: &Path) -> Result<(), Value> {
        let word = if self.embedded { "open" } else { "connect" };
        let (code, answer) = self.ask(&[word, place.to_str().expect("a temporary path is UTF-8")]);
        if code != 0 {
            return Err(Program::failed(code, &answer));
        }
        assert_eq!(answer, "");
        Ok(())
    }

    fn call(&mut self, op: &str, request: &Value) -> Answer {
        let (code, answer) = self.ask(&["call", op, &request.to_string()]);
        if code != 0 {
            return Err(Program::failed(code, &answer));
        }
        Ok(serde_json::from_str(&answer).expect("a result is JSON"))
    }

    fn end(&mut self) {
        assert_eq!(self.ask(&["close"]).0, 0);
    }

    fn count(&mut self) -> usize {
        self.ask(&["count"]).1.parse().expect("a count is a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rust, with the service inside this process.
#[derive(Default)]
pub(crate) struct Embedded {
    service: Option<Door>,
    count: usize,
}

impl Way for Embedded {
    fn embedded(&self) -> bool {
        true
    }

    fn try_begin(&mut self, place: &Path) -> Result<(), Value> {
        self.count += 1;
        let state = place.with_file_name("state");
        akm_core::paths::ensure_dir(&state).expect("the state directory can be made");
        let options = Options {
            vault: place.to_owned(),
            journal: place.with_file_name("audit.journal"),
            state,
            backups: place.with_file_name("backups"),
            host: Host::real(),
            key_limit: None,
            default_lifetime: None,
            outbound: Outbound::default(),
        };
        let service = Door::open(options).map_err(|error| error_value(&error))?;
        self.service = Some(service);
        Ok(())
    }

    fn call(&mut self, op: &str, request: &Value) -> Answer {
        let op = Op::from_name(op).expect("the case names an operation");
        let service = self.service.as_ref().expect("a session was begun");
        let caller = Caller {
            uid: nix::unistd::geteuid().as_raw(),
            pid: 1,
            exe: "/test".into(),
            via: Default::default(),
            process: Default::default(),
        };
        // As every transport does: the gate, then the content.
        let answer = service
            .gate(&caller, op)
            .and_then(|()| Request::decode(op, request.to_string().as_bytes()))
            .and_then(|request| service.call(&caller, request))
            .and_then(|response| response.to_json());
        json_answer(answer)
    }

    fn end(&mut self) {
        self.service = None;
    }

    fn count(&mut self) -> usize {
        self.count
    }
}

/// Rust, through the client.
#[derive(Default)]
pub(crate) struct Connected {
    client: Option<Client>,
    count: usize,
}

impl Way for Connected {
    fn embedded(&self) -> bool {
        false
    }

    fn try_begin(&mut self, place: &Path) -> Result<(), Value> {
        self.count += 1;
        let client = Client::connect(Some(place)).map_err(|error| error_value(&error))?;
        self.client = Some(client);
        Ok(())
    }

    fn call(&mut self, op: &str, request: &Value) -> Answer {
        let client = self.client.as_mut().expect("a session was begun");
        json_answer(
            client
                .call_raw(op, request.to_string().as_bytes())
                .map(|bytes| bytes.to_vec()),
        )
    }

    fn end(&mut self) {
        self.client = None;
    }

    fn count(&mut self) -> usize {
        self.count
    }
}

fn json_answer(answer: akm_core::Result<Vec<u8>>) -> Answer {
    match answer {
        Ok(json) => Ok(serde_json::from_slice(&json).expect("a result is JSON")),
        Err(error) => Err(error_value(&error)),
    }
}

fn error_value(error: &Error) -> Value {
    serde_json::to_value(error).expect("an error is JSON")
}

/// Plain HTTP on the socket, as `curl --unix-socket` speaks it; the status is checked against the kind.
#[derive(Default)]
pub(crate) struct Http {
    place: PathBuf,
    /// Kept open between requests unless the agent says that it closes.
    stream: Option<BufReader<UnixStream>>,
    count: usize,
}

impl Http {
    fn exchange(&mut self, head: &str, body: &str) -> (u16, Vec<u8>) {
        let mut stream = self.stream.take().unwrap_or_else(|| {
            BufReader::new(UnixStream::connect(&self.place).expect("the agent listens"))
        });
        let length = body.len();
        let request =
            format!("{head} HTTP/1.1\r\nhost: akm\r\ncontent-length: {length}\r\n\r\n{body}");
        stream
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the agent reads");
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).expect("the agent answers");
            line.trim_end().to_owned()
        };
        let status = line()
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("an answer has a status");
        let (mut length, mut closes) = (0, false);
        while let Some((name, value)) = line().split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().expect("a length is a number"),
                "connection" => closes = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream
            .read_exact(&mut body)
            .expect("the agent answers whole");
        self.stream = Some(stream).filter(|_| !closes);
        (status, body)
    }
}

impl Way for Http {
    fn embedded(&self) -> bool {
        false
    }

    fn try_begin(&mut self, place: &Path) -> Result<(), Value> {
        self.count += 1;
        self.place = place.to_owned();
        self.stream = None;
        Ok(())
    }

    fn call(&mut self, op: &str, request: &Value) -> Answer {
        let (status, body) = self.exchange(&format!("POST /v1/{op}"), &request.to_string());
        let body: Value = serde_json::from_slice(&body).expect("an answer is JSON");
        if body["ok"] == true {
            assert_eq!(status, 200);
            return Ok(body["result"].clone());
        }
        let error = body["error"].clone();
        let kind = error["kind"]
            .as_str()
            .and_then(Kind::from_token)
            .expect("an error has a kind");
        assert_eq!(
            status,
            kind.http_status(),
            "the status and the kind agree in {error}"
        );
        Err(error)
    }

    fn end(&mut self) {
        self.stream = None;
    }

    fn count(&mut self) -> usize {
        self.count
    }
}
