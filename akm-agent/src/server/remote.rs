//! From a request on a network listener to an answer.
//!
//! The order is fixed: form of the request → rate → Host → Origin and fetch metadata → body, within its limits → path and
//! method → content type → the gate → the content. What is refused early never sees what comes later; a refusal
//! with a body unread closes the connection.
//!
//! Invariants: Host is one of the names that the server was given, which is what DNS rebinding fails at. An Origin that is
//! not our own is refused whatever is asked; a cookie counts for a change only with our own Origin beside it. There is no CORS and
//! no upgrade. Every answer says that it must not be cached, framed or guessed at.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use akm_core::audit::Caller;
use akm_core::error::{Error, Kind};
use akm_core::protocol::{Mark, Op};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE as COOKIES, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, StatusCode};

use super::Shared;
use super::network::Network;
use super::proxies;
use super::route::{self, Http, closing, failure, http, wrong_method};
use super::visitor::{COOKIE, Proof, Visitor, cookie, forget_cookie, take_token};
use super::webhook;
use crate::log;

/// Asks that a session's token be set as a cookie instead of standing in the answer.
const SESSION: HeaderName = HeaderName::from_static("akm-session");
/// What a token starts with; anything else is none.
const BEARER: &str = "Bearer ";
/// Longest token that is looked at.
const MAX_TOKEN: usize = 128;

/// Answers one request of a connection from `peer`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    peer: IpAddr,
    tls: bool,
    request: Request<Incoming>,
) -> Http {
    let Some(network) = shared.network.get() else {
        return closing(failure(&Error::internal("a listener without its rules")));
    };
    let (head, body) = request.into_parts();
    let head = Request::from_parts(head, ());
    let client = proxies::client(peer, tls, head.headers(), &network.trusted);
    let answered = match check(network, &client, &head) {
        Err(refused) => closing(refused),
        Ok(same_origin) => match route::read(body).await {
            Err(refused) => closing(refused),
            Ok(body) => {
                let visitor = visitor(shared, &client, same_origin, head.headers());
                let (head, ()) = head.into_parts();
                routed(network, visitor, Request::from_parts(head, body)).await
            }
        },
    };
    guarded(answered, client.tls)
}

/// What is decided before anything is read of the body or looked up: whether our own page asks.
#[allow(
    clippy::result_large_err,
    reason = "the answer itself, made once, for a request that is refused"
)]
fn check(network: &Network, client: &proxies::Client, request: &Request<()>) -> Result<bool, Http> {
    let headers = request.headers();
    let one = |name: &HeaderName| {
        let mut all = headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| malformed()),
            (Some(_), Some(_)) => Err(malformed()),
        }
    };
    // Two ways to say where a request ends, or whom it is for, are one too many: a body has a length, and the name stands
    // in Host. That both were sent is not seen here any more, because hyper takes the length away then.
    let target = request.uri();
    if target.authority().is_some()
        || target.scheme().is_some()
        || headers.contains_key(TRANSFER_ENCODING)
    {
        return Err(malformed());
    }
    network
        .request(client.address)
        .map_err(|error| refused(&error))?;
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        let foreign = headers.contains_key(ORIGIN) && *request.method() == Method::OPTIONS;
        return Err(if foreign {
            forbidden()
        } else {
            let mut http = wrong_method("GET, HEAD, POST");
            http.headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            http
        });
    }
    let host = one(&HOST)?.ok_or_else(malformed)?;
    let name = authority(host).ok_or_else(malformed)?;
    if !network.hosts.contains(&name) {
        let mut http = failure(&Error::new(
            Kind::Denied,
            "this server is not reached by that name",
        ));
        *http.status_mut() = StatusCode::MISDIRECTED_REQUEST;
        return Err(http);
    }
    let scheme = if client.tls { "https" } else { "http" };
    let own = format!("{scheme}://{host}");
    let origin = one(&ORIGIN)?;
    if origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(&own)) {
        return Err(forbidden());
    }
    let meta = |name: &'static str| headers.get(name).map(HeaderValue::as_bytes);
    match meta("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => {}
        // A link on another site may lead to a page of ours; it brings no cookie along.
        Some(_) => {
            let link = meta("sec-fetch-mode") == Some(b"navigate")
                && meta("sec-fetch-dest") == Some(b"document")
                && *request.method() != Method::POST
                && !request.uri().path().starts_with("/v1/");
            if !link {
                return Err(forbidden());
            }
        }
    }
    Ok(origin.is_some())
}

fn visitor(
    shared: &Arc<Shared>,
    client: &proxies::Client,
    same_origin: bool,
    headers: &HeaderMap,
) -> Visitor {
    let bearer = bearer(headers);
    let (proof, token) = match bearer {
        // A header that says who asks is not mixed with a cookie that says so.
        Some(token) => (Proof::Bearer, Some(token)),
        None => match session_cookie(headers) {
            Some(token) => (Proof::Cookie, Some(token)),
            None => (Proof::None, None),
        },
    };
    Visitor {
        shared: Arc::clone(shared),
        caller: Caller::network(client.address, token),
        proof,
        same_origin,
        address: Some(client.address),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let text = all.next()?.to_str().ok()?;
    let (scheme, token) = text.split_at_checked(BEARER.len())?;
    let fits = all.next().is_none()
        && scheme.eq_ignore_ascii_case(BEARER)
        && !token.is_empty()
        && token.len() <= MAX_TOKEN;
    fits.then_some(token)
}

/// The value of our cookie; of two of the same name neither counts.
fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    let mut found = headers
        .get_all(COOKIES)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) if !value.is_empty() && value.len() <= MAX_TOKEN => Some(value),
        _ => None,
    }
}

async fn routed(network: &Network, visitor: Visitor, request: Request<Bytes>) -> Http {
    let path = request.uri().path();
    if !is_plain(path) {
        return route::unknown();
    }
    if let Some(name) = path.strip_prefix("/v1/")
        && let Some(op) = Op::from_name(name)
    {
        return match *request.method() {
            Method::POST => {
                let (start, shared) = (Instant::now(), Arc::clone(&visitor.shared));
                let answer = operation(visitor, op, request).await;
                let (took, error) = (start.elapsed(), route::failed_as(&answer));
                shared.metrics.count(op, error, took);
                if log::tells_requests() {
                    log::request(op, error, took, 0);
                }
                answer
            }
            _ => wrong_method("POST"),
        };
    }
    if let Some(rest) = path.strip_prefix("/webhook/") {
        let rest = rest.to_owned();
        return webhook::answer(&visitor.shared, &rest, request).await;
    }
    if path == "/healthz" && *request.method() != Method::POST {
        return route::health(&visitor.shared);
    }
    if path == "/metrics" && *request.method() == Method::POST {
        return wrong_method("GET");
    }
    if path == "/metrics" {
        let may = visitor
            .address
            .is_some_and(|from| network.may_read_metrics(from));
        return match may {
            true => route::figures(&visitor.shared).await,
            false => failure(
                &Error::new(Kind::Denied, "metrics are not for this address")
                    .with_hint("name it in hosted.metrics_from, or ask the socket on the host"),
            ),
        };
    }
    let document = match path {
        "/healthz" => Some(Ok(Bytes::new())),
        "/readyz" => Some(route::ready(&visitor.shared).await),
        "/v1/openapi.json" => {
            let document = route::document(&visitor.shared).await;
            Some(document.ok_or_else(|| Error::internal("the operation failed unexpectedly")))
        }
        _ => None,
    };
    match (document, &network.pages) {
        (Some(_), _) if *request.method() == Method::POST => wrong_method("GET"),
        (Some(Ok(document)), _) => http(StatusCode::OK, document),
        (Some(Err(error)), _) => refused(&error),
        (None, Some(pages)) if !path.starts_with("/v1/") => pages.answer(visitor, request).await,
        _ => route::unknown(),
    }
}

async fn operation(visitor: Visitor, op: Op, request: Request<Bytes>) -> Http {
    let headers = request.headers();
    let json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !json {
        let mut http = failure(&Error::new(
            Kind::InvalidInput,
            "the content type is not application/json",
        ));
        *http.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return closing(http);
    }
    let as_cookie = headers
        .get(SESSION)
        .is_some_and(|value| value.as_bytes() == b"cookie");
    // A token in an answer is for programs: a page that is to have a cookie asks from our own origin.
    if (as_cookie || visitor.proof == Proof::Cookie) && !visitor.same_origin {
        return closing(forbidden());
    }
    let body = request.into_body();
    let decoded = route::decode(&visitor.shared, &visitor.caller, op, &body).await;
    drop(body);
    let mut set_cookie = None;
    let answer = match decoded {
        Err(error) => Err(error),
        Ok(request) => match visitor.turn(&request) {
            Err(error) => Err(error),
            Ok(_turn) => {
                let mut answer = route::run(&visitor.shared, visitor.caller.clone(), request).await;
                if let Ok(response) = &mut answer
                    && as_cookie
                    && let Some(token) = take_token(response)
                {
                    set_cookie = Some(cookie(&token));
                }
                if op == Op::AgentLock && answer.is_ok() && visitor.proof == Proof::Cookie {
                    set_cookie = Some(forget_cookie());
                }
                answer
            }
        },
    };
    let mut http = match &answer {
        Ok(_) => route::envelope(&answer),
        Err(error) => refused(error),
    };
    if let Some(value) = set_cookie {
        http.headers_mut().insert(SET_COOKIE, value);
    }
    if op.is(Mark::Credential) {
        closing(http)
    } else {
        http
    }
}

/// Whether a path means what it says: no step up, nothing hidden in an escape.
fn is_plain(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let hidden = ["\\", "%2e", "%2f", "%5c", "%00"];
    !hidden.iter().any(|part| path.contains(part))
        && !path.split('/').any(|step| matches!(step, "." | ".."))
}

/// The name in a Host header, lowercase and without its port; `None` for anything that is not one name or address.
fn authority(host: &str) -> Option<String> {
    let (name, port) = match host.rfind(':') {
        Some(at) if !host.ends_with(']') => (&host[..at], Some(&host[at + 1..])),
        _ => (host, None),
    };
    let port_fits = port.is_none_or(|port| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    port_fits.then(|| host_name(name)).flatten()
}

/// A host name or address as it is compared; `None` if it is neither.
pub(super) fn host_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.len() <= 253 && name.bytes().all(plain),
    };
    fits.then(|| name.to_ascii_lowercase())
}

fn malformed() -> Http {
    failure(&Error::new(
        Kind::InvalidInput,
        "the head of the request is not well formed",
    ))
}

fn forbidden() -> Http {
    failure(&Error::new(
        Kind::Denied,
        "the request does not come from this server's own pages",
    ))
}

/// As every error, with the header that says how long to wait. The command line does not reach through the network: what it
/// would do is nobody's next step here.
fn refused(error: &Error) -> Http {
    let mut http = failure(&error.clone().without_command());
    if let Some(wait) = error.retry_after_s() {
        http.headers_mut().insert(RETRY_AFTER, wait.into());
    }
    http
}

/// What every answer says, unless a page says it more strictly itself.
fn guarded(mut http: Http, tls: bool) -> Http {
    let set = |headers: &mut HeaderMap, name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    let headers = http.headers_mut();
    set(headers, CACHE_CONTROL, "no-store");
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, X_FRAME_OPTIONS, "DENY");
    set(headers, REFERRER_POLICY, "no-referrer");
    set(
        headers,
        hyper::header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    if tls {
        set(headers, STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e01_a_host_is_one_name_and_perhaps_a_port() {
        for (host, name) in [
            ("akm.example:8443", "akm.example"),
            ("AKM.example.", "akm.example"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:65535", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(authority(host).as_deref(), Some(name), "{host}");
        }
        for host in [
            "", ":1", "a:", "a:b", "a:123456", "a@b", "a b", "a/b", "::1", "[::1", "[x]", "a,b",
            "a\\b",
        ] {
            assert_eq!(authority(host), None, "{host}");
        }
    }

    #[test]
    fn one_cookie_counts_and_two_do_not() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(COOKIES, value.parse().unwrap());
            }
            session_cookie(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["a=b; __Host-akm=t; c=d"]).as_deref(), Some("t"));
        assert_eq!(of(&["__Host-akm=t; __Host-akm=u"]), None);
        assert_eq!(of(&["__Host-akm=t", "__Host-akm=u"]), None);
        assert_eq!(of(&["__host-akm=t", "x__Host-akm=u", "__Host-akm="]), None);
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "bearer x".parse().unwrap());
        assert_eq!(bearer(&headers), Some("x"));
        headers.append(AUTHORIZATION, "Bearer y".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }
}
