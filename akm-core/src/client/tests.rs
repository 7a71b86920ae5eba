use super::*;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use crate::protocol::{AgentLock, KeyGet};

const LOCKED: &str = r#"{"ok":false,"error":{"kind":"locked","message":"the account is locked"}}"#;
const EMPTY: &str = r#"{"ok":true,"result":{}}"#;

fn http(head: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{head}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What the server does with each request of each connection in turn, and what it received.
struct Server {
    dir: tempfile::TempDir,
    thread: JoinHandle<Vec<String>>,
}

enum Act {
    Answer(Vec<u8>),
    /// In pieces of one byte.
    Trickle(Vec<u8>),
    /// Reads the request, then closes.
    Close,
    /// Reads one byte of the request, then closes.
    Refuse,
    /// Reads the request, then nothing until told.
    Hang(std::sync::mpsc::Receiver<()>),
}

impl Server {
    fn start(connections: Vec<Vec<Act>>) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for acts in connections {
                let (mut stream, _) = listener.accept().unwrap();
                for act in acts {
                    if matches!(act, Act::Refuse) {
                        stream.read_exact(&mut [0]).unwrap();
                        break;
                    }
                    seen.push(read_request(&mut stream));
                    match act {
                        Act::Answer(bytes) => stream.write_all(&bytes).unwrap(),
                        Act::Trickle(bytes) => {
                            for byte in bytes {
                                stream.write_all(&[byte]).unwrap();
                            }
                        }
                        Act::Close | Act::Refuse => break,
                        Act::Hang(until) => drop(until.recv()),
                    }
                }
            }
            seen
        });
        Server { dir, thread }
    }

    fn client(&self) -> Client {
        Client::connect(Some(&self.dir.path().join("s"))).unwrap()
    }

    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn read_request(stream: &mut UnixStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).unwrap();
    bytes.truncate(count);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_is_one_write_and_the_connection_is_kept() {
    let server = Server::start(vec![vec![
        Act::Answer(http("", EMPTY)),
        Act::Answer(http("", LOCKED)),
    ]]);
    let mut client = server.client();
    assert_eq!(&**client.call_raw("agent.lock", b"").unwrap(), b"{}");
    let get = KeyGet {
        name: "openai".into(),
        version: None,
    };
    assert_eq!(client.call(&get).unwrap_err().kind(), Kind::Locked);
    let requests = server.requests();
    assert_eq!(
        requests[1],
        "POST /v1/key.get HTTP/1.1\r\nhost: akm\r\ncontent-type: application/json\r\n\
         content-length: 17\r\n\r\n{\"name\":\"openai\"}"
    );
    assert!(requests[0].starts_with("POST /v1/agent.lock "));
}

#[test]
fn answers_may_come_in_any_pieces_and_sizes() {
    let large = format!(r#"{{"ok":true,"result":"{}"}}"#, "x".repeat(300_000));
    let server = Server::start(vec![vec![
        Act::Trickle(http("x-pad: y\r\n", EMPTY)),
        Act::Answer(http("", &large)),
    ]]);
    let mut client = server.client();
    assert!(client.call(&AgentLock {}).is_ok());
    assert_eq!(client.call_raw("key.get", b"{}").unwrap().len(), 300_002);
    server.requests();
}

#[test]
fn an_idle_connection_that_was_closed_is_opened_again_once() {
    let server = Server::start(vec![
        vec![Act::Answer(http("", EMPTY))],
        vec![Act::Answer(http("", EMPTY))],
    ]);
    let mut client = server.client();
    client.call(&AgentLock {}).unwrap();
    client.call(&AgentLock {}).unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_change_without_an_answer_is_not_repeated_but_a_read_is() {
    let add = br#"{"name":"openai","secret":"x"}"#;
    let after_one = || {
        vec![
            vec![Act::Answer(http("", EMPTY)), Act::Close],
            vec![Act::Answer(http("", EMPTY))],
        ]
    };
    let server = Server::start(after_one());
    let mut client = server.client();
    client.call(&AgentLock {}).unwrap();
    assert!(client.call_raw("key.get", b"{}").is_ok());
    assert_eq!(server.requests().len(), 3);

    let server = Server::start(after_one());
    let mut client = server.client();
    client.call(&AgentLock {}).unwrap();
    let error = client.call_raw("key.add", add).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    // The handle itself goes on working.
    client.call(&AgentLock {}).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests.iter().filter(|r| r.contains("key.add")).count(), 1);
}

#[test]
fn a_change_that_was_not_read_is_sent_again() {
    let server = Server::start(vec![
        vec![Act::Answer(http("", EMPTY)), Act::Refuse],
        vec![Act::Answer(http("", EMPTY))],
    ]);
    let mut client = server.client();
    client.call(&AgentLock {}).unwrap();
    client.call_raw("key.add", b"{}").unwrap();
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|r| r.contains("key.add")).count(), 1);
}

#[test]
fn a_server_that_asks_to_close_is_not_used_again() {
    let server = Server::start(vec![
        vec![Act::Answer(http("connection: close\r\n", EMPTY))],
        vec![Act::Answer(http("", EMPTY))],
    ]);
    let mut client = server.client();
    client.call(&AgentLock {}).unwrap();
    assert!(client.stream.is_none());
    client.call(&AgentLock {}).unwrap();
    server.requests();
}

#[test]
fn foreign_and_oversized_answers_are_refused() {
    let long = format!("content-length: {}", MAX_RESPONSE + 1);
    for answer in [
        "SSH-2.0-OpenSSH\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{long}\r\n\r\n"),
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 23\r\n\r\n{}".into(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\n\r\n{}".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".into(),
        format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(2 * MAX_HEAD)),
    ] {
        let server = Server::start(vec![vec![Act::Answer(answer.clone().into_bytes())]]);
        let error = server.client().call(&AgentLock {}).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{answer:.60}");
        server.thread.join().ok();
    }
}

#[test]
fn nothing_listening_is_no_agent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let kind = |path: &Path| Client::connect(Some(path)).err().map(|e| e.kind());
    assert_eq!(kind(&path), Some(Kind::NoAgent));
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(kind(&path), None);
    drop(listener);
    assert_eq!(kind(&path), Some(Kind::NoAgent));
    assert_eq!(kind(&path.join("below")), Some(Kind::NoAgent));
}

#[test]
fn a_silent_agent_is_a_timeout() {
    let (release, until) = std::sync::mpsc::channel();
    let server = Server::start(vec![vec![Act::Hang(until)]]);
    let mut client = Client::connect_with_timeout(
        Some(&server.dir.path().join("s")),
        Duration::from_millis(20),
    )
    .unwrap();
    assert_eq!(
        client.call(&AgentStatus {}).unwrap_err().kind(),
        Kind::Timeout
    );
    drop(release);
    server.requests();
}

#[test]
fn operation_names_cannot_change_the_request() {
    let server = Server::start(vec![vec![Act::Answer(http("", EMPTY))]]);
    let mut client = server.client();
    for op in ["", "a b", "a\r\nx: y", "../x", "a/b", "A", "a?b"] {
        let error = client.call_raw(op, b"").unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{op:?}");
    }
    assert!(client.call_raw("key.newer_than_this", b"").is_ok());
    assert_eq!(server.requests().len(), 1);
}

/// The whole attack, with a listener of another user, is `c04_squatted_socket` in akm-agent.
#[test]
fn only_our_own_user_and_root_are_talked_to() {
    assert!(check_listener(1000, 1000).is_ok());
    assert!(check_listener(0, 1000).is_ok());
    assert!(check_listener(1001, 1000).is_err());
    assert!(check_listener(1000, 0).is_err());
}

/// Asks from a process of its own, whose environment is decided here; says how it ended in its exit code.
#[test]
#[ignore = "a part of another_vault_than_the_agents_is_a_conflict"]
fn connect_as_the_environment_says() {
    let kind = Client::connect(None).err().map(|error| error.kind());
    std::process::exit(match kind {
        None => 40,
        Some(Kind::Conflict) => 41,
        Some(_) => 42,
    });
}

#[test]
fn another_vault_than_the_agents_is_a_conflict() {
    // A directory of this user alone, or the variables would be refused for that.
    let home = tempfile::tempdir().unwrap();
    let vault = home.path().join("vault.db");
    let status = format!(
        r#"{{"ok":true,"result":{{"initialized":true,"locked":true,"account":null,"expires_at":null,"totp_required":false,"version":"1","vault":"{}"}}}}"#,
        vault.display()
    );
    let case = |named: Option<&Path>, asked: bool| {
        let acts = if asked {
            vec![Act::Answer(http("", &status))]
        } else {
            Vec::new()
        };
        let server = Server::start(vec![acts]);
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("client::tests::connect_as_the_environment_says")
            .env("AKM_AGENT_SOCK", server.dir.path().join("s"))
            .env("AKM_HOME", home.path())
            .env_remove("AKM_VAULT");
        if let Some(named) = named {
            command.env("AKM_VAULT", named);
        }
        let code = command.output().unwrap().status.code();
        server.requests();
        code
    };
    assert_eq!(case(Some(&vault), true), Some(40));
    assert_eq!(case(Some(&home.path().join("other.db")), true), Some(41));
    // Nobody is asked where no vault is named.
    assert_eq!(case(None, false), Some(40));
    assert_eq!(case(Some(Path::new("")), false), Some(40));
}
