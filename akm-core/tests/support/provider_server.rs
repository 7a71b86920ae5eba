//! A small HTTP server on loopback that plays somebody else and remembers what it was sent.
//!
//! For tests and for `akm demo` (taken in with `#[path]`), so it uses nothing but the standard library:
//! one thread per connection, one request per connection. TLS is put around the socket by the caller.
//! What the providers answer stands in `provider_fixtures.rs`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Largest head and largest body that are read.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 1 << 20;
/// A peer that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) path: String,
    /// Header lines in order: name in lower case, value as sent but for one space after the colon.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    #[allow(dead_code, reason = "not every user looks")]
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The first header of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is sent back, and how.
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// Header lines besides the length.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// How it is sent.
    pub(crate) manner: Manner,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every user plays all")]
pub(crate) enum Manner {
    /// As it should be.
    Whole,
    /// Never, until the server stops.
    Never,
    /// A body without an end.
    Endless,
    /// Header lines without an end.
    EndlessHead,
    /// Half of the body.
    BreakOff,
    /// The body alone, without a head.
    NotHttp,
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &str) -> Reply {
        Reply {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.as_bytes().to_vec(),
            manner: Manner::Whole,
        }
    }

    /// The same with one more header line.
    #[allow(dead_code, reason = "not every user needs it")]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same, sent otherwise.
    #[allow(dead_code, reason = "not every user plays all")]
    pub(crate) fn sent(mut self, manner: Manner) -> Reply {
        self.manner = manner;
        self
    }
}

/// A connection to read and write: plain, or with TLS around it.
pub(crate) trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

type Play = dyn Fn(&Received) -> Reply + Send + Sync;
type Wrap = dyn Fn(TcpStream) -> io::Result<Box<dyn Duplex>> + Send + Sync;

/// A running server; stops when dropped.
pub(crate) struct ProviderServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    play: Box<Play>,
    wrap: Box<Wrap>,
    seen: Mutex<Seen>,
    stopped: Condvar,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Received>,
    stop: bool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProviderServer {
    /// Starts on a free loopback port; `play` answers each request.
    pub(crate) fn start(
        play: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> io::Result<ProviderServer> {
        ProviderServer::start_inside(|stream| Ok(Box::new(stream)), play)
    }

    /// The same with something around every connection, such as TLS.
    pub(crate) fn start_inside(
        wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Duplex>> + Send + Sync + 'static,
        play: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> io::Result<ProviderServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            play: Box::new(play),
            wrap: Box::new(wrap),
            seen: Mutex::default(),
            stopped: Condvar::new(),
        });
        let accepting = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Ok(ProviderServer {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Everything that was sent so far.
    #[allow(dead_code, reason = "not every user looks")]
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.seen().requests.clone()
    }

    /// How often somebody connected, also without a request.
    #[allow(dead_code, reason = "not every user looks")]
    pub(crate) fn connections(&self) -> usize {
        self.shared.seen().connections
    }
}

impl Drop for ProviderServer {
    fn drop(&mut self) {
        self.shared.seen().stop = true;
        self.shared.stopped.notify_all();
        // Wakes the accept loop.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let mut seen = shared.seen();
        if seen.stop {
            return;
        }
        let Ok(stream) = stream else { continue };
        seen.connections += 1;
        drop(seen);
        let shared = shared.clone();
        std::thread::spawn(move || {
            // A peer that goes away in the middle is its own affair.
            drop(serve(stream, &shared));
        });
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut peer = (shared.wrap)(stream)?;
    let Some(request) = read_request(&mut peer)? else {
        return Ok(());
    };
    let reply = (shared.play)(&request);
    shared.seen().requests.push(request);
    write_reply(&mut peer, &reply, shared)?;
    peer.flush()
}

fn read_request(peer: &mut dyn Duplex) -> io::Result<Option<Received>> {
    let mut buffer = Vec::new();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > MAX_HEAD || !read_more(peer, &mut buffer)? {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut start = lines.next().unwrap_or_default().split(' ');
    let method = start.next().unwrap_or_default().to_owned();
    let path = start.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| {
            let value = value.strip_prefix(' ').unwrap_or(value);
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse::<usize>().ok())
        .unwrap_or(0)
        .min(MAX_BODY);
    let mut body = buffer.split_off(head + 4);
    while body.len() < length {
        if !read_more(peer, &mut body)? {
            return Ok(None);
        }
    }
    body.truncate(length);
    Ok(Some(Received {
        method,
        path,
        headers,
        body,
    }))
}

fn read_more(peer: &mut dyn Duplex, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    let count = peer.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..count]);
    Ok(count > 0)
}

fn write_reply(peer: &mut dyn Duplex, reply: &Reply, shared: &Shared) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Played\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = format!("content-length: {}\r\n\r\n", reply.body.len());
    match reply.manner {
        Manner::Whole => {
            peer.write_all(head.as_bytes())?;
            peer.write_all(length.as_bytes())?;
            peer.write_all(&reply.body)
        }
        Manner::Never => {
            let mut seen = shared.seen();
            while !seen.stop {
                seen = shared
                    .stopped
                    .wait(seen)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            Ok(())
        }
        Manner::Endless => {
            peer.write_all(head.as_bytes())?;
            peer.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
            let chunk = [b' '; 0x4000];
            while !shared.seen().stop {
                peer.write_all(b"4000\r\n")?;
                peer.write_all(&chunk)?;
                peer.write_all(b"\r\n")?;
            }
            Ok(())
        }
        Manner::EndlessHead => {
            peer.write_all(head.as_bytes())?;
            let line = format!("x-more: {}\r\n", "x".repeat(4000));
            while !shared.seen().stop {
                peer.write_all(line.as_bytes())?;
            }
            Ok(())
        }
        Manner::BreakOff => {
            peer.write_all(head.as_bytes())?;
            peer.write_all(length.as_bytes())?;
            peer.write_all(&reply.body[..reply.body.len() / 2])
        }
        Manner::NotHttp => peer.write_all(&reply.body),
    }
}
