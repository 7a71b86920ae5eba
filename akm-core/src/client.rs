//! A blocking client of the agent: one connection, one request at a time, no runtime.
//!
//! Invariants: nothing is sent before the kernel said that the listener is our own user or root (whoever
//! took the path first must not learn a passphrase); a request leaves in one `send`; buffers that held a
//! request or an answer are wiped; an answer is bounded before memory is taken for it; no wait is without
//! end. A request is repeated by itself at most once, on a new connection, and only if the agent cannot
//! have read all of it or if doing it twice is the same as doing it once.
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
use crate::protocol::{self, AgentStatus, MAX_REQUEST, MAX_RESPONSE, Mark, Op, Operation};

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
    /// The connection was gone before the agent had read the whole request.
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
    /// Connects to the agent at `socket`, or where [`Places`] finds it. There, if `AKM_VAULT` names a vault, it
    /// has to be the agent's: who names one must not get another one's keys, nor add keys to it.
    ///
    /// Errors: `no_agent` if nothing listens, `denied` if the listener is neither this user nor root, `timeout`,
    /// `conflict` if the agent holds another vault.
    pub fn connect(socket: Option<&Path>) -> Result<Client> {
        Client::connect_with_timeout(socket, DEFAULT_TIMEOUT)
    }

    /// As [`Client::connect`], where connecting and each answer may take up to `timeout`.
    pub fn connect_with_timeout(socket: Option<&Path>, timeout: Duration) -> Result<Client> {
        let wanted = match std::env::var_os("AKM_VAULT") {
            Some(path) if socket.is_none() && !path.is_empty() => Some(Places::from_env()?.vault),
            _ => None,
        };
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
        if let Some(vault) = wanted {
            client.check_vault(&vault)?;
        }
        Ok(client)
    }

    fn check_vault(&mut self, wanted: &Path) -> Result<()> {
        let held = self.call(&AgentStatus {})?.vault;
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if held.is_some_and(|held| real(Path::new(&held)) == real(wanted)) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "the running agent holds another vault than AKM_VAULT names",
        )
        .with_hint("run akm agent stop, or set AKM_AGENT_SOCK for a second agent"))
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

/// An operation that this program does not know is not repeated.
fn repeatable(op: &str) -> bool {
    Op::from_name(op).is_some_and(|op| op.is(Mark::Repeatable))
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
        match read_some(&mut stream, &mut buffer[filled..], deadline) {
            Ok(0) if filled == 0 => return Err(Failure::NoAnswer),
            Ok(0) | Err(Failure::NotSent) if filled > 0 => return Err(truncated().into()),
            Ok(count) => filled += count,
            Err(failure) => return Err(failure),
        }
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
        match read_some(&mut stream, &mut buffer[filled..whole], deadline) {
            Ok(0) | Err(Failure::NotSent) => return Err(truncated().into()),
            Ok(count) => filled += count,
            Err(failure) => return Err(failure),
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
                // The kernel says so where a listener closed before it had read all that was sent. The
                // agent acts on whole requests only, so it has not acted on this one.
                std::io::ErrorKind::ConnectionReset => return Err(Failure::NotSent),
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
mod tests;
