//! Listeners on the network: who may connect, how many, how often, and over TLS or not at all.
//!
//! Invariants: plaintext is for loopback only, where a reverse proxy stands in front or nobody else listens. Connections
//! are bounded in all and per address, so that clients of the network never use up what the owner's socket needs; so are
//! those who derive keys. A request is believed to be for somebody else only from a proxy that was named.
//!
//! What is asked and answered is in `remote`.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use akm_core::error::{Error, Kind, Result};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::proxies::Cidr;
use super::rate::{Limiter, PerMinute, network_of};
use super::tls::Certificate;
use super::visitor::Pages;
use super::{BACKOFF, Shared, connection, remote};

/// Most connections of all listeners.
const MAX_CONNECTIONS: usize = 4096;
/// Most connections of one address, or of one IPv6 network; a trusted proxy has none of this limit.
const MAX_OF_ADDRESS: u32 = 128;
/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most who derive a key or wait for their turn: each takes tens of milliseconds on a core of its own.
const MAX_WAITING: usize = 64;

/// Where to listen: `https://ADDR:PORT`, or `http://ADDR:PORT` on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// Whether over TLS.
    pub tls: bool,
}

impl Listen {
    /// Parses the address of a listener.
    pub fn parse(text: &str) -> Result<Listen> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(bad_listen()),
        };
        let address: SocketAddr = rest
            .strip_suffix('/')
            .unwrap_or(rest)
            .parse()
            .map_err(|_| bad_listen())?;
        if !tls && !address.ip().is_loopback() {
            return Err(Error::invalid(
                "listen",
                "http is for 127.0.0.1 and [::1] only: passphrases would cross the network in clear",
            )
            .with_hint("listen on https:// with --cert and --key, or on loopback behind a proxy"));
        }
        Ok(Listen { address, tls })
    }
}

/// Why an address cannot be had. It stands in the hint: the configuration or command line of whoever is told.
fn not_bound(error: &io::Error, listen: &Listen) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::AddrInUse => (Kind::Conflict, "another program listens at this address"),
        io::ErrorKind::AddrNotAvailable => (
            Kind::InvalidInput,
            "this machine does not have this address",
        ),
        io::ErrorKind::PermissionDenied => (
            Kind::Denied,
            "the operating system does not let this user listen at this port",
        ),
        _ => return Error::from_io(error).with_field("listen"),
    };
    Error::new(kind, message)
        .with_field("listen")
        .with_hint(format!("it is {}", listen.address))
}

fn bad_listen() -> Error {
    Error::invalid(
        "listen",
        "an address is written as https://192.0.2.1:8443 or http://127.0.0.1:8080",
    )
}

/// How network listeners are to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Certificate chain and key, for those over TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Who is believed when it says for whom it asks.
    pub trusted: Vec<Cidr>,
    /// Names under which the server is reached, besides the addresses it listens on.
    pub hosts: Vec<String>,
    /// Requests of one address per minute; 0 is no limit.
    pub requests_per_minute: u32,
    /// Sign-ins, registrations and recoveries of one address per minute; 0 is no limit.
    pub sign_ins_per_minute: u32,
    /// Who may read `GET /metrics`.
    pub metrics_from: Vec<Cidr>,
}

/// Listeners that are bound, and what holds on them.
pub struct Network {
    listeners: Mutex<Vec<(TcpListener, bool)>>,
    addresses: Vec<SocketAddr>,
    certificate: Option<Certificate>,
    pub(super) trusted: Vec<Cidr>,
    pub(super) metrics_from: Vec<Cidr>,
    /// Lowercase, without ports.
    pub(super) hosts: Vec<String>,
    pub(super) pages: Option<Arc<dyn Pages>>,
    requests: Mutex<Limiter>,
    sign_ins: Mutex<Limiter>,
    connected: Mutex<HashMap<IpAddr, u32>>,
    deriving: Arc<Semaphore>,
}

/// A place among those who derive keys; given back when dropped.
pub(super) struct Turn(#[allow(dead_code)] OwnedSemaphorePermit);

impl Network {
    /// Binds every listener. Nobody is served yet.
    ///
    /// Errors: `invalid_input` for options that do not go together, `io` if an address cannot be had.
    pub fn bind(options: Options) -> Result<Network> {
        let any_tls = options.listen.iter().any(|listen| listen.tls);
        let certificate = match (&options.certificate, any_tls) {
            (Some((certificate, key)), true) => Some(Certificate::open(certificate, key)?),
            (None, true) => {
                return Err(
                    Error::invalid("cert", "https needs a certificate and its key")
                        .with_hint("give them with --cert and --key"),
                );
            }
            (_, false) => None,
        };
        let mut hosts: Vec<String> = Vec::new();
        for host in &options.hosts {
            hosts.push(remote::host_name(host).ok_or_else(|| {
                Error::invalid("host", "a host is a name or an address without a port")
            })?);
        }
        for listen in &options.listen {
            let address = listen.address.ip();
            if address.is_unspecified() {
                if options.hosts.is_empty() {
                    return Err(Error::invalid(
                        "host",
                        "a listener on every address needs the names it is reached by",
                    )
                    .with_hint("give each with --host"));
                }
                continue;
            }
            hosts.push(match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            });
            if address.is_loopback() {
                hosts.push("localhost".to_owned());
            }
        }
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for listen in &options.listen {
            let bound =
                TcpListener::bind(listen.address).map_err(|error| not_bound(&error, listen))?;
            addresses.push(bound.local_addr().map_err(|error| Error::from_io(&error))?);
            listeners.push((bound, listen.tls));
        }
        let now = Instant::now();
        let limiter = |limit| Mutex::new(Limiter::new(PerMinute(limit), now));
        Ok(Network {
            listeners: Mutex::new(listeners),
            addresses,
            certificate,
            trusted: options.trusted,
            metrics_from: options.metrics_from,
            hosts,
            pages: None,
            requests: limiter(options.requests_per_minute),
            sign_ins: limiter(options.sign_ins_per_minute),
            connected: Mutex::default(),
            deriving: Arc::new(Semaphore::new(MAX_WAITING)),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers what is no operation with these pages.
    #[must_use]
    pub fn with_pages(self, pages: Arc<dyn Pages>) -> Network {
        Network {
            pages: Some(pages),
            ..self
        }
    }

    /// Takes up a changed certificate.
    pub fn reload(&self) {
        if let Some(certificate) = &self.certificate {
            certificate.reload();
        }
    }

    /// Whether clients will refuse the certificate because its time is over.
    pub(crate) fn certificate_is_over(&self) -> bool {
        let now = jiff::Timestamp::now().as_second();
        self.certificate_ends().is_some_and(|ends| ends <= now)
    }

    /// Whether this address may read how the server is.
    pub(super) fn may_read_metrics(&self, address: IpAddr) -> bool {
        self.metrics_from.iter().any(|of| of.contains(address))
    }

    /// When the certificate ends, Unix seconds.
    pub(super) fn certificate_ends(&self) -> Option<i64> {
        self.certificate.as_ref()?.ends()
    }

    /// One request of an address.
    pub(super) fn request(&self, address: IpAddr) -> Result<()> {
        take(&self.requests, address)
    }

    /// One sign-in of an address.
    pub(super) fn sign_in(&self, address: IpAddr) -> Result<()> {
        take(&self.sign_ins, address)
    }

    /// A place among those who derive keys; `unavailable` where too many wait already, so that a flood of sign-ins costs
    /// the flood its answers and nobody memory.
    pub(super) fn turn(&self) -> Result<Turn> {
        Arc::clone(&self.deriving)
            .try_acquire_owned()
            .map(Turn)
            .map_err(|_| {
                Error::new(Kind::Unavailable, "too many sign in at this moment").with_retry_after(2)
            })
    }

    /// Connections that may be open at a time, where there are so many descriptors for connections.
    pub(super) fn connections(descriptors: usize) -> usize {
        (descriptors / 4).clamp(1, MAX_CONNECTIONS)
    }
}

fn take(limiter: &Mutex<Limiter>, address: IpAddr) -> Result<()> {
    hold(limiter).take(address, Instant::now()).map_err(|wait| {
        Error::new(Kind::RateLimited, "too many requests from this address")
            .with_retry_after(wait.as_secs() + 1)
    })
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts on every listener until its task is aborted.
pub(super) fn accept_all(
    shared: &Arc<Shared>,
    slots: &Arc<Semaphore>,
) -> Result<Vec<tokio::task::JoinHandle<()>>> {
    let Some(network) = shared.network.get() else {
        return Ok(Vec::new());
    };
    let mut tasks = Vec::new();
    for (listener, tls) in hold(&network.listeners).drain(..) {
        let io = |error: io::Error| Error::from_io(&error);
        listener.set_nonblocking(true).map_err(io)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(io)?;
        let (shared, slots) = (Arc::clone(shared), Arc::clone(slots));
        tasks.push(tokio::spawn(accept(shared, listener, tls, slots)));
    }
    Ok(tasks)
}

async fn accept(
    shared: Arc<Shared>,
    listener: tokio::net::TcpListener,
    tls: bool,
    slots: Arc<Semaphore>,
) {
    let mut pause = BACKOFF.0;
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return; // Never: nobody closes it.
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = BACKOFF.0;
                if let Some(place) = Place::take(&shared, peer.ip()) {
                    tokio::spawn(serve(shared.clone(), stream, peer.ip(), tls, slot, place));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => {
                drop(slot);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: IpAddr,
    tls: bool,
    slot: OwnedSemaphorePermit,
    place: Place,
) {
    // Answers are one write; waiting to merge them with a next one that never comes costs 40 ms.
    let _ = stream.set_nodelay(true);
    let answer = |request| remote::answer(&shared, peer, tls, request);
    match tls
        .then(|| shared.network.get()?.certificate.as_ref())
        .flatten()
    {
        Some(certificate) => {
            let handshake = certificate.acceptor().accept(stream);
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                connection::serve_remote(&shared, stream, answer).await;
            }
        }
        None if tls => {}
        None => connection::serve_remote(&shared, stream, answer).await,
    }
    drop((slot, place));
}

/// A connection of an address; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    /// None for a trusted proxy.
    of: Option<IpAddr>,
}

impl Place {
    fn take(shared: &Arc<Shared>, peer: IpAddr) -> Option<Place> {
        let network = shared.network.get()?;
        let of =
            (!network.trusted.iter().any(|cidr| cidr.contains(peer))).then(|| network_of(peer));
        if let Some(of) = of {
            let mut connected = hold(&network.connected);
            let count = connected.entry(of).or_default();
            if *count >= MAX_OF_ADDRESS {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            shared: Arc::clone(shared),
            of,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (Some(network), Some(of)) = (self.shared.network.get(), self.of) else {
            return;
        };
        let mut connected = hold(&network.connected);
        if let Some(count) = connected.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e03_plaintext_is_refused_anywhere_but_on_loopback() {
        for (text, tls) in [
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("https://0.0.0.0:443", true),
            ("https://[::]:443/", true),
            ("https://192.0.2.1:443", true),
        ] {
            assert_eq!(Listen::parse(text).unwrap().tls, tls, "{text}");
        }
        for text in [
            "http://0.0.0.0:8080",
            "http://[::]:8080",
            "http://192.0.2.1:8080",
            "http://[::ffff:127.0.0.1]:8080",
            "http://localhost:8080",
            "127.0.0.1:8080",
            "https://127.0.0.1",
            "ftp://127.0.0.1:1",
            "",
        ] {
            assert_eq!(
                Listen::parse(text).unwrap_err().field(),
                Some("listen"),
                "{text}"
            );
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        let listen = |text: &str| vec![Listen::parse(text).unwrap()];
        let field = |options: Options| {
            let refused = Network::bind(options).err().unwrap();
            refused.field().map(str::to_owned)
        };
        assert_eq!(
            field(Options {
                listen: listen("https://127.0.0.1:0"),
                ..Options::default()
            }),
            Some("cert".to_owned())
        );
        assert_eq!(
            field(Options {
                listen: listen("http://127.0.0.1:0"),
                hosts: vec!["a b".into()],
                ..Options::default()
            }),
            Some("host".to_owned())
        );
        let network = Network::bind(Options {
            listen: listen("http://127.0.0.1:0"),
            ..Options::default()
        });
        assert_eq!(
            network.unwrap().hosts,
            ["127.0.0.1", "localhost"],
            "control"
        );
    }
}
