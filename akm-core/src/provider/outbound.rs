//! Sending one connection test, or one request for a balance, and nothing else, to one address.
//!
//! Invariants: nothing is sent unless the address and the header are among the key's sealed
//! [`Destinations`]; a name is resolved once, every answer must be public, and only what was checked is
//! connected to; redirects are not followed; the key stands in one header marked sensitive; the answer
//! is bounded in size and time. The process environment has no say: no proxy variable, no certificate
//! variable.
//!
//! Deliberately absent: retries, connection reuse between tests, a second host.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::address::{BaseUrl, Host};
use super::echo::Echo;
use super::judge::{Verdict, judge};
use super::network::is_public;
use super::plan::{Plan, other_region, plan};
use super::rules::Method;
use super::schema::Provider;
use super::{Catalogue, Destinations, trust};
use crate::name::check_secret;
use crate::protocol::Outcome;
use crate::secret::Secret;

/// Largest answer that is read.
const MAX_BODY: usize = 1 << 20;
/// Most header lines of an answer; hyper bounds them to 408 KiB in all.
const MAX_HEADERS: usize = 100;
/// Most addresses of one name; more is not a provider.
const MAX_ADDRESSES: usize = 64;

/// How a name becomes addresses.
pub trait Resolve: Send + Sync {
    /// Every address of a name, asked once per test.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// An address that is let through although it is not public. Tests need one, because their servers
    /// run on loopback; nothing else may answer true.
    fn lets_a_test_server_through(&self, _address: IpAddr) -> bool {
        false
    }
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|a| a.ip()).collect())
    }
}

/// How providers are reached. Comes from the configuration file, never from the environment.
#[derive(Clone)]
pub struct Outbound {
    /// Certificate authorities in PEM, trusted besides the machine's.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy for https, `http://host:port`. It resolves the names then, so their addresses
    /// cannot be checked here; TLS still ends at the provider.
    pub proxy: Option<String>,
    /// Whether plain http to this machine, by number and with a port, is allowed. On a machine of one's own it
    /// is; a hosted service says no.
    pub loopback: bool,
    /// The longest a test takes in all.
    pub timeout: Duration,
    /// How names are resolved.
    pub resolver: Arc<dyn Resolve>,
    /// Called first on the thread that speaks with a provider, which does nothing else: there a program gives up what
    /// that does not need. Without one it is the caller's thread.
    pub alone: Option<fn()>,
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound {
            ca_file: None,
            proxy: None,
            loopback: true,
            timeout: Duration::from_secs(15),
            resolver: Arc::new(SystemResolver),
            alone: None,
        }
    }
}

/// A proxy's address may hold a password, so it is not shown.
impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy.as_ref().map(|_| ".."))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a connection test showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// The verdict.
    pub outcome: Outcome,
    /// Model ids, where the test's answer lists them.
    pub models: Option<Vec<String>>,
    /// Milliseconds from connecting to the whole answer.
    pub latency_ms: u64,
    /// A sentence for a person; never part of an answer.
    pub detail: String,
}

impl TestReport {
    fn without_asking(outcome: Outcome, sentence: &str) -> TestReport {
        TestReport {
            outcome,
            models: None,
            latency_ms: 0,
            detail: sentence.to_owned(),
        }
    }
}

/// Tests a key where it may be sent. Blocks for at most [`Outbound::timeout`]; has its own runtime, so it
/// must not be called on a thread that drives another.
///
/// `destinations` are those sealed with the key; `base_url` is the key's own, as stored.
pub fn test(
    outbound: &Outbound,
    provider: Option<&Provider>,
    destinations: &Destinations,
    base_url: Option<&str>,
    secret: &Secret,
) -> TestReport {
    let unverifiable = |sentence| TestReport::without_asking(Outcome::Unverifiable, sentence);
    let base_url = match base_url.map(BaseUrl::read).transpose() {
        Ok(base_url) => base_url,
        Err(refusal) => return unverifiable(refusal.message()),
    };
    if provider.is_none() && base_url.is_none() {
        return unverifiable("nothing is known about this provider: give its base_url");
    }
    let record = provider.unwrap_or_else(|| Catalogue::builtin().unlisted());
    let plan = match plan(record, base_url.as_ref()) {
        Ok(plan) => plan,
        Err(sentence) => return unverifiable(sentence),
    };
    if !destinations.allow(&plan.address.origin(), &plan.header) {
        return unverifiable(
            "the key was not sealed for the address of this test: remove it and add it again",
        );
    }
    let body = match &record.test.body {
        Some(body) => match serde_json::to_vec(body) {
            Ok(body) => Some(body),
            Err(_) => return unverifiable(Failure::Internal.sentence()),
        },
        None => None,
    };
    let carried = record.test.sends_key.then_some(secret);
    let Some(headers) = headers(record, &plan.header, carried, body.is_some()) else {
        return unverifiable("the key has characters that no header can carry");
    };
    let started = Instant::now();
    let answer = match exchange(outbound, &plan, headers, body) {
        Ok(answer) => answer,
        Err(failure) => {
            return TestReport {
                latency_ms: milliseconds(started),
                ..TestReport::without_asking(Outcome::Unreachable, failure.sentence())
            };
        }
    };
    let Verdict {
        outcome,
        models,
        detail,
    } = judge(
        record,
        other_region(record, base_url.as_ref()),
        answer.status,
        &answer.body,
    );
    // A server may send back what it was sent; a model id is the one text of an answer that is handed on.
    let echo = Echo::of(secret);
    let models = models.map(|ids| ids.into_iter().filter(|id| !echo.is_in(id)).collect());
    TestReport {
        outcome,
        models,
        latency_ms: answer.latency_ms,
        detail,
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The request's headers; none if the key does not fit into one.
pub(super) fn headers(
    record: &Provider,
    header: &str,
    secret: Option<&Secret>,
    has_body: bool,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &record.extra_headers {
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value).ok()?,
        );
    }
    if let Some(secret) = secret {
        check_secret(secret, "secret").ok()?;
        // With its capacity known, so that no half-written copy is left behind by growing.
        let prefix = record.auth.prefix().as_bytes();
        let mut value = Zeroizing::new(Vec::with_capacity(prefix.len() + secret.len()));
        value.extend_from_slice(prefix);
        value.extend_from_slice(secret.expose().as_bytes());
        let mut value = HeaderValue::from_bytes(&value).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(header.as_bytes()).ok()?, value);
    }
    Some(headers)
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
    latency_ms: u64,
}

/// Why there is no answer to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Internal,
    Roots(&'static str),
    Proxy,
    NoName,
    NotPublic,
    NoConnection,
    Certificate,
    Tls,
    BrokenAnswer,
    TooLarge,
    TooSlow,
}

impl Failure {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Failure::Internal => "the request could not be made",
            Failure::Roots(sentence) => sentence,
            Failure::Proxy => "the configured proxy is not an http or https address",
            Failure::NoName => "the name of the host has no address",
            Failure::NotPublic => "an address of the host is not a public one: nothing was sent",
            Failure::NoConnection => "there is no connection to the host",
            Failure::Certificate => {
                "the certificate of the host is not to be trusted: nothing was sent"
            }
            Failure::Tls => "the host does not speak TLS as it should: nothing was sent",
            Failure::BrokenAnswer => "the answer is not one of HTTP, or broke off",
            Failure::TooLarge => "the answer is larger than 1 MiB",
            Failure::TooSlow => "there was no answer in time",
        }
    }
}

/// One request and its answer. The caller has compared address and header with the sealed destinations.
pub(super) fn exchange(
    outbound: &Outbound,
    plan: &Plan,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
) -> Result<Answer, Failure> {
    if !plan.address.is_secure() && !outbound.loopback {
        return Err(Failure::NotPublic);
    }
    let Some(alone) = outbound.alone else {
        return ask(outbound, plan, headers, body);
    };
    std::thread::scope(|scope| {
        let work = || {
            alone();
            let answer = ask(outbound, plan, headers, body);
            // The header was on this stack.
            crate::memory::scrub_stack();
            answer
        };
        let thread = std::thread::Builder::new()
            .name("akm-outbound".to_owned())
            .spawn_scoped(scope, work);
        let answer = thread.map(std::thread::ScopedJoinHandle::join);
        answer
            .ok()
            .and_then(Result::ok)
            .unwrap_or(Err(Failure::Internal))
    })
}

fn ask(
    outbound: &Outbound,
    plan: &Plan,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|_| Failure::Internal)?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(outbound.timeout, send(outbound, plan, headers, body))
            .await
            .unwrap_or(Err(Failure::TooSlow))
    });
    // A resolver that hangs must not hold the caller longer than the time-out.
    runtime.shutdown_background();
    answer
}

async fn send(
    outbound: &Outbound,
    plan: &Plan,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
) -> Result<Answer, Failure> {
    let url = strictly_the_same(plan)?;
    // Held to the end, so that those who ask meanwhile find it.
    let shared = match plan.address.is_secure() {
        true => trust::client_config(outbound.ca_file.as_deref()).map_err(Failure::Roots)?,
        false => Arc::new(trust::trusting_nobody().ok_or(Failure::Internal)?),
    };
    // A copy of one's own, without a cache of TLS sessions in common with the tests of other keys.
    let mut tls = (*shared).clone();
    tls.resumption = rustls::client::Resumption::disabled();
    let mut client = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .https_only(plan.address.is_secure())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        .http1_max_headers(MAX_HEADERS)
        .user_agent(concat!("akm/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .dns_resolver(NobodyElse);
    match (&outbound.proxy, plan.address.is_secure()) {
        (Some(proxy), true) => {
            let proxy = reqwest::Url::parse(proxy).map_err(|_| Failure::Proxy)?;
            if !matches!(proxy.scheme(), "http" | "https") {
                return Err(Failure::Proxy);
            }
            let host = proxy.host_str().ok_or(Failure::Proxy)?.to_owned();
            if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
                // The owner of the machine named it, so it may be inside the network.
                let addresses = resolve(outbound, &host).await?;
                client = client.resolve_to_addrs(&host, &addresses);
            }
            client = client.proxy(reqwest::Proxy::https(proxy).map_err(|_| Failure::Proxy)?);
        }
        _ => {
            if let Host::Name(name) = plan.address.host() {
                let addresses = resolve(outbound, name).await?;
                let may = |a: &SocketAddr| {
                    is_public(a.ip()) || outbound.resolver.lets_a_test_server_through(a.ip())
                };
                if !addresses.iter().all(may) {
                    return Err(Failure::NotPublic);
                }
                client = client.resolve_to_addrs(name, &addresses);
            }
        }
    }
    let client = client.build().map_err(|_| Failure::Internal)?;
    let method = match plan.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
    };
    let mut request = client.request(method, url).headers(headers);
    if let Some(body) = body {
        request = request.body(body);
    }
    let started = Instant::now();
    let mut response = request.send().await.map_err(|error| classify(&error))?;
    let status = response.status().as_u16();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        body,
        latency_ms: milliseconds(started),
    })
}

/// The address in the client's own type, if it reads it as we do.
fn strictly_the_same(plan: &Plan) -> Result<reqwest::Url, Failure> {
    let url = reqwest::Url::parse(&plan.url()).map_err(|_| Failure::Internal)?;
    let path = if plan.address.path().is_empty() {
        "/"
    } else {
        plan.address.path()
    };
    let same = url.scheme()
        == if plan.address.is_secure() {
            "https"
        } else {
            "http"
        }
        && url.host_str() == Some(plan.address.host_text().as_str())
        && url.port_or_known_default() == Some(plan.address.port())
        && url.path() == path
        && url.query() == plan.query.as_deref()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    same.then_some(url).ok_or(Failure::Internal)
}

/// Resolves off the runtime's thread, so that the time-out holds.
async fn resolve(outbound: &Outbound, host: &str) -> Result<Vec<SocketAddr>, Failure> {
    let (resolver, host) = (outbound.resolver.clone(), host.to_owned());
    let answer = tokio::task::spawn_blocking(move || resolver.resolve(&host)).await;
    let addresses = answer
        .map_err(|_| Failure::Internal)?
        .map_err(|_| Failure::NoName)?;
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        return Err(Failure::NoName);
    }
    // Port 0 stands for the one of the address that is asked for.
    Ok(addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, 0))
        .collect())
}

/// Any name but the one that was resolved and checked has no address.
struct NobodyElse;

impl reqwest::dns::Resolve for NobodyElse {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async { Err("only what was checked is connected to".into()) })
    }
}

/// Which of our sentences an error is. Its own text may hold an address and is not used.
fn classify(error: &reqwest::Error) -> Failure {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::InvalidCertificate(_) => Failure::Certificate,
                _ => Failure::Tls,
            };
        }
        // An io::Error's source is that of the error it wraps, not the wrapped one.
        source = match cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    if error.is_timeout() {
        Failure::TooSlow
    } else if error.is_connect() {
        Failure::NoConnection
    } else {
        Failure::BrokenAnswer
    }
}
