//! A blocking client of the agent: one connection, one request at a time, no runtime.
//!
//! Invariants: nothing is sent before the kernel said that the listener is our own user or root (whoever
//! took the path first must not learn a passphrase); a request leaves in one `send`; buffers that held a
//! request or an answer are wiped; an answer is bounded before memory is taken for it; no wait is without
//! end. A request is repeated by itself at most once, on a new connection, and only if none of it was
//! taken or if doing it twice is the same as doing it once.
//!
//! Deliberately absent: starting an agent, asking for a passphrase, retrying on `locked`. That is the
//! command line's business.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, setsockopt, socket,
    sockopt::{ReceiveTimeout, SendTimeout},
};
use nix::sys::time::TimeVal;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Kind, Result};
use crate::paths::{MAX_SOCKET_PATH, Places};
use crate::peer;
use crate::protocol::{self, MAX_REQUEST, MAX_RESPONSE, Op, Operation};

/// How long an answer may take: Argon2 on a slow machine, or a provider that hangs, and then some.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes before the body of an answer; the agent sends about 80.
const MAX_HEAD: usize = 8 * 1024;
/// First read: a head and most answers.
const FIRST_READ: usize = 4 * 1024;

/// A handle on the agent behind one socket.
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
    stream: Option<UnixStream>,
}

/// Where a request failed, which decides whether it may be sent again.
enum Failure {
    /// The connection was gone before the agent took any of the request.
    NotSent,
    /// The agent closed without answering; it may have acted.
    NoAnswer,
    /// Anything else.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

impl Client {
    /// Connects to the agent at `socket`, or where [`Places`] finds it.
    ///
    /// Errors: `no_agent` if nothing listens, `denied` if the listener is neither this user nor root, `timeout`.
    pub fn connect(socket: Option<&Path>) -> Result<Client> {
        Client::connect_with_timeout(socket, DEFAULT_TIMEOUT)
    }

    /// As [`Client::connect`], where connecting and each answer may take up to `timeout`.
    pub fn connect_with_timeout(socket: Option<&Path>, timeout: Duration) -> Result<Client> {
        let socket = match socket {
            Some(path) => path.to_owned(),
            None => Places::socket_from_env()?,
        };
        // Zero would mean "for ever" to the kernel.
        let timeout = timeout.max(Duration::from_millis(1));
        let mut client = Client {
            socket,
            timeout,
            stream: None,
        };
        client.stream = Some(client.open()?);
        Ok(client)
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Closes the connection; the next call opens a new one. For a process that has forked.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Asks for an operation and waits for its result.
    pub fn call<T: Operation>(&mut self, request: &T) -> Result<T::Result> {
        let json = Zeroizing::new(protocol::encode(request)?);
        let body = self.exchange(T::OP.name(), &json)?;
        protocol::decode_result(protocol::open_envelope(&body)?)
    }

    /// Asks for an operation by name with a JSON object (empty means `{}`); returns the result's JSON.
    /// A name that this program does not know is sent all the same: the agent may be newer.
    pub fn call_raw(&mut self, op: &str, json: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_');
        if op.is_empty() || op.len() > 64 || !op.as_bytes().iter().all(plain) {
            return Err(Error::new(Kind::NotFound, "there is no such operation"));
        }
        let body = self.exchange(op, json)?;
        let result = protocol::open_envelope(&body)?;
        Ok(Zeroizing::new(result.get().as_bytes().to_vec()))
    }

    fn exchange(&mut self, op: &str, json: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if json.len() > MAX_REQUEST {
            return Err(Error::new(Kind::InvalidInput, "the request is too large"));
        }
        let request = request(op, json);
        let kept_alive = self.stream.is_some();
        let lost = Error::new(Kind::Unavailable, "the agent closed the connection");
        match self.attempt(&request) {
            Ok(body) => Ok(body),
            Err(Failure::Final(error)) => Err(error),
            // The agent closes idle connections, and all of them when it locks or restarts.
            Err(Failure::NotSent) if kept_alive => self.second_attempt(&request, lost),
            Err(Failure::NoAnswer) if kept_alive && repeatable(op) => {
                self.second_attempt(&request, lost)
            }
            Err(Failure::NotSent | Failure::NoAnswer) => Err(lost),
        }
    }

    fn second_attempt(&mut self, request: &[u8], lost: Error) -> Result<Zeroizing<Vec<u8>>> {
        self.attempt(request).map_err(|failure| match failure {
            Failure::Final(error) => error,
            Failure::NotSent | Failure::NoAnswer => lost,
        })
    }

    /// Sends and receives once. The connection survives only a whole answer.
    fn attempt(&mut self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open()?,
        };
        let deadline = Instant::now() + self.timeout;
        send_all(&stream, request)?;
        let (body, keep) = receive(&stream, deadline)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(body)
    }

    fn open(&self) -> Result<UnixStream> {
        if self.socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Error::invalid(
                "socket",
                "the path of the socket is too long",
            ));
        }
        let os = |errno: Errno| Error::from_io(&errno.into());
        let address = UnixAddr::new(&self.socket).map_err(os)?;
        let fd = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(os)?;
        // Before `connect`, which waits while the listener's queue is full.
        let limit = TimeVal::new(
            self.timeout.as_secs().min(i64::MAX as u64) as i64,
            self.timeout.subsec_micros().into(),
        );
        setsockopt(&fd, SendTimeout, &limit).map_err(os)?;
        setsockopt(&fd, ReceiveTimeout, &limit).map_err(os)?;
        loop {
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTDIR) => {
                    return Err(Error::new(Kind::NoAgent, "no agent is running")
                        .with_hint("run akm unlock"));
                }
                Err(Errno::EAGAIN) => {
                    return Err(Error::new(Kind::Timeout, "the agent does not answer"));
                }
                Err(Errno::EACCES | Errno::EPERM) => {
                    return Err(Error::new(
                        Kind::Denied,
                        "this user may not use the agent's socket",
                    ));
                }
                Err(errno) => return Err(os(errno)),
            }
        }
        let stream = UnixStream::from(fd);
        check_listener(peer::of(&stream)?.uid, nix::unistd::geteuid().as_raw())?;
        Ok(stream)
    }
}

/// Root could read our memory anyway; any other user who listens there is catching passphrases.
fn check_listener(uid: u32, euid: u32) -> Result<()> {
    if uid == euid || uid == 0 {
        Ok(())
    } else {
        Err(Error::new(
            Kind::Denied,
            "the socket belongs to another user, nothing was sent",
        ))
    }
}

/// Whether asking twice leaves the same state as asking once. A read that is audited may stand in the
/// audit twice: it may have happened twice.
fn repeatable(op: &str) -> bool {
    let Some(op) = Op::from_name(op) else {
        return false;
    };
    match op {
        Op::AgentStatus
        | Op::AgentLock
        | Op::KeyGet
        | Op::KeyShow
        | Op::KeyList
        | Op::KeyHistory
        | Op::ProviderTest
        | Op::AuditList
        | Op::AuditVerify => true,
        Op::AgentUnlock
        | Op::AccountRegister
        | Op::AccountPassphrase
        | Op::AccountRecover
        | Op::TotpEnable
        | Op::TotpConfirm
        | Op::TotpDisable
        | Op::TotpCodes
        | Op::KeyAdd
        | Op::KeyUpdate
        | Op::KeyRotate
        | Op::KeyRemove => false,
    }
}

/// Head and body in one buffer of exactly that size, so that no part is left behind by growing.
fn request(op: &str, json: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = json.len().to_string();
    let parts: [&[u8]; 6] = [
        b"POST /v1/",
        op.as_bytes(),
        b" HTTP/1.1\r\nhost: akm\r\ncontent-type: application/json\r\ncontent-length: ",
        length.as_bytes(),
        b"\r\n\r\n",
        json,
    ];
    let mut out = Zeroizing::new(Vec::with_capacity(
        parts.iter().map(|part| part.len()).sum(),
    ));
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn send_all(stream: &UnixStream, mut bytes: &[u8]) -> Result<(), Failure> {
    let whole = bytes.len();
    while !bytes.is_empty() {
        // Not `write`: in a host program that keeps the default, a vanished agent would raise SIGPIPE.
        match send(stream.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent.min(bytes.len())..],
            Err(Errno::EINTR) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) if bytes.len() == whole => {
                return Err(Failure::NotSent);
            }
            // The agent may refuse a request before it has read it all: its answer is waiting.
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
            Err(errno) => return Err(Error::from_io(&errno.into()).into()),
        }
    }
    Ok(())
}

/// Reads one answer: its body, and whether the connection may be used again.
fn receive(
    mut stream: &UnixStream,
    deadline: Instant,
) -> Result<(Zeroizing<Vec<u8>>, bool), Failure> {
    let mut buffer = Zeroizing::new(vec![0; FIRST_READ]);
    let mut filled = 0;
    let head = loop {
        let count = read_some(&mut stream, &mut buffer[filled..], deadline)?;
        if count == 0 {
            return Err(match filled {
                0 => Failure::NoAnswer,
                _ => truncated().into(),
            });
        }
        filled += count;
        match Head::parse(&buffer[..filled])? {
            Some(head) => break head,
            None if filled == buffer.len() => grow(&mut buffer, filled, MAX_HEAD)?,
            None => {}
        }
    };
    let whole = head.length + head.body;
    if buffer.len() < whole {
        grow(&mut buffer, filled, whole)?;
    }
    while filled < whole {
        match read_some(&mut stream, &mut buffer[filled..whole], deadline)? {
            0 => return Err(truncated().into()),
            count => filled += count,
        }
    }
    // Bytes after the answer to the only request under way: not a server to go on talking to.
    let keep = head.keep && filled == whole;
    buffer.copy_within(head.length..whole, 0);
    buffer[head.body..].zeroize();
    buffer.truncate(head.body);
    Ok((buffer, keep))
}

fn truncated() -> Error {
    Error::new(
        Kind::Unavailable,
        "the agent closed in the middle of an answer",
    )
}

fn foreign() -> Error {
    Error::new(Kind::Unavailable, "the answer is not one of an akm agent")
}

/// Replaces the buffer by a larger one; the old one is wiped.
fn grow(buffer: &mut Zeroizing<Vec<u8>>, filled: usize, size: usize) -> Result<()> {
    if size <= buffer.len() {
        return Err(foreign());
    }
    let mut larger = Zeroizing::new(vec![0; size]);
    larger[..filled].copy_from_slice(&buffer[..filled]);
    *buffer = larger;
    Ok(())
}

fn read_some(
    stream: &mut &UnixStream,
    buffer: &mut [u8],
    deadline: Instant,
) -> Result<usize, Failure> {
    loop {
        // The kernel's limit is per read; this one is for an answer that trickles.
        if Instant::now() >= deadline {
            return Err(Error::new(Kind::Timeout, "no answer in time").into());
        }
        match stream.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) => match error.kind() {
                std::io::ErrorKind::Interrupted => {}
                std::io::ErrorKind::ConnectionReset => return Ok(0),
                _ => return Err(Error::from_io(&error).into()),
            },
        }
    }
}

/// What counts in the head of an answer. The status does not: the body says it in akm's own words.
struct Head {
    /// Bytes before the body.
    length: usize,
    /// Bytes of the body.
    body: usize,
    keep: bool,
}

impl Head {
    /// `None` if the head is not complete yet.
    fn parse(bytes: &[u8]) -> Result<Option<Head>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes).map_err(|_| foreign())? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let mut body = None;
        let mut keep = response.version == Some(1);
        for header in response.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let value = std::str::from_utf8(header.value).map_err(|_| foreign())?;
                let value: usize = value.trim().parse().map_err(|_| foreign())?;
                if body.replace(value).is_some() {
                    return Err(foreign());
                }
            } else if is("transfer-encoding") {
                // The agent knows the length of every answer.
                return Err(foreign());
            } else if is("connection") {
                keep &= !header.value.eq_ignore_ascii_case(b"close");
            }
        }
        match body {
            Some(body) if body <= MAX_RESPONSE => Ok(Some(Head { length, body, keep })),
            Some(_) => Err(Error::new(Kind::Unavailable, "the answer is too large")),
            None => Err(foreign()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use crate::protocol::{AgentLock, AgentStatus, KeyGet};

    const LOCKED: &str =
        r#"{"ok":false,"error":{"kind":"locked","message":"the account is locked"}}"#;
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
        /// Reads nothing more and closes.
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
                        seen.push(read_request(&mut stream));
                        match act {
                            Act::Answer(bytes) => stream.write_all(&bytes).unwrap(),
                            Act::Trickle(bytes) => {
                                for byte in bytes {
                                    stream.write_all(&[byte]).unwrap();
                                }
                            }
                            Act::Close => break,
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
}
