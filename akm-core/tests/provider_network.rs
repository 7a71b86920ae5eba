//! Where a connection test connects to, and where never: addresses, names, redirects, TLS, environment.
//!
//! Targets and cases are `vectors/ssrf_targets.json` (written for akm, free to use).

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/provider_server.rs"]
mod provider_server;
#[path = "support/tls.rs"]
mod tls;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::{Arc, Mutex};

use akm_core::Secret;
use akm_core::protocol::Outcome;
use akm_core::provider::network::is_public;
use akm_core::provider::{
    self, BaseUrl, Catalogue, Destinations, Outbound, Provider, Resolve, TestReport,
};
use provider_server::{ProviderServer, Received, Reply};
use serde_json::Value;

const KEY: &str = "sk-canary-0123456789";

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/ssrf_targets.json")).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let rows = value.as_array().unwrap();
    rows.iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

/// A resolver with answers of our own, which remembers what it was asked.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
    lets_loopback_through: bool,
}

impl Scripted {
    /// Answers in turn; the last is given again and again.
    fn new(answers: &[&[&str]], lets_loopback_through: bool) -> Arc<Scripted> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Scripted {
            answers: Mutex::new(answers.iter().map(parse).collect()),
            asked: Mutex::default(),
            lets_loopback_through,
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Scripted {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let next = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        next.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn lets_a_test_server_through(&self, address: IpAddr) -> bool {
        self.lets_loopback_through && address.is_loopback()
    }
}

fn reaching(resolver: &Arc<Scripted>) -> Outbound {
    Outbound {
        ca_file: Some(tls::authority()),
        resolver: resolver.clone(),
        ..Outbound::default()
    }
}

fn openai() -> Option<&'static Provider> {
    Catalogue::builtin().provider("openai")
}

fn ask(outbound: &Outbound, provider: Option<&Provider>, base_url: &str) -> TestReport {
    let url = BaseUrl::parse(base_url, "base_url").unwrap();
    let destinations = Destinations::of(provider, Some(&url));
    let secret = Secret::new(KEY.to_owned());
    provider::test(outbound, provider, &destinations, Some(base_url), &secret)
}

fn list(_: &Received) -> Reply {
    Reply::json(200, r#"{"data": [{"id": "m"}]}"#)
}

fn secure(
    certificate: &str,
    play: impl Fn(&Received) -> Reply + Send + Sync + 'static,
) -> ProviderServer {
    ProviderServer::start_inside(tls::with(certificate), play).unwrap()
}

/// Whether any header of any name carries the key.
fn carries_key(request: &Received) -> bool {
    request.headers.iter().any(|(_, value)| value.contains(KEY))
}

#[test]
fn e07_every_listed_target_is_refused_before_anything_is_asked() {
    let targets = texts(&vectors()["must_refuse"]);
    assert_eq!(targets.len(), 32);
    let resolver = Scripted::new(&[&["127.0.0.1"]], true);
    let secret = Secret::new(KEY.to_owned());
    for target in &targets {
        let refused = BaseUrl::parse(target, "base_url").unwrap_err();
        assert_eq!(refused.kind(), akm_core::Kind::InvalidInput, "{target}");
        assert_eq!(refused.field(), Some("base_url"));
        // Even one that got into a vault on another way: sealed for everything, and still nothing.
        let anywhere = Destinations {
            origins: vec![target.trim_end_matches('/').to_owned()],
            header: "authorization".into(),
        };
        let outbound = reaching(&resolver);
        let report = provider::test(&outbound, openai(), &anywhere, Some(target), &secret);
        assert_eq!(report.outcome, Outcome::Unverifiable, "{target}");
    }
    assert!(resolver.asked().is_empty());
    // The control: the same resolver is asked for a name that may be asked for.
    let server = secure("good", list);
    ask(
        &reaching(&resolver),
        openai(),
        &format!("https://api.good.test:{}/v1", server.port()),
    );
    assert_eq!(resolver.asked(), ["api.good.test"]);
}

#[test]
fn e07_numbers_are_refused_over_https_too_and_names_when_they_resolve() {
    let mut judged_by_name = Vec::new();
    for target in texts(&vectors()["must_refuse"]) {
        let Some(rest) = target.strip_prefix("http://") else {
            continue;
        };
        let secure = format!("https://{rest}");
        if BaseUrl::read(&secure).is_err() {
            continue;
        }
        let name = rest.trim_end_matches('/').to_owned();
        // What these names resolve to.
        let answer = match name.as_str() {
            "localtest.me" => "127.0.0.1",
            _ => "10.0.0.1",
        };
        let resolver = Scripted::new(&[&[answer]], false);
        let report = ask(&reaching(&resolver), openai(), &secure);
        assert_eq!(report.outcome, Outcome::Unreachable, "{target}");
        assert!(
            report.detail.contains("not a public one"),
            "{}",
            report.detail
        );
        assert_eq!(resolver.asked(), [name.as_str()]);
        judged_by_name.push(name);
    }
    judged_by_name.sort();
    assert_eq!(
        judged_by_name,
        ["api.openai.com", "localtest.me"],
        "everything else is refused by the parser"
    );
}

#[test]
fn e07_a_name_with_any_answer_that_is_not_public_is_refused() {
    let server = secure("good", list);
    let base_url = format!("https://api.good.test:{}/v1", server.port());
    for case in vectors()["dns_cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let answers: Vec<Vec<IpAddr>> = case["answers"]
            .as_array()
            .unwrap()
            .iter()
            // A resolver hands on what a CNAME leads to.
            .map(|answer| {
                texts(answer)
                    .iter()
                    .filter_map(|ip| ip.parse().ok())
                    .collect()
            })
            .collect();
        let resolver = Arc::new(Scripted {
            answers: Mutex::new(answers.into()),
            ..Scripted::default()
        });
        let report = ask(&reaching(&resolver), openai(), &base_url);
        assert_eq!(report.outcome, Outcome::Unreachable, "{id}");
        assert!(
            report.detail.contains("not a public one"),
            "{id}: {}",
            report.detail
        );
        assert_eq!(resolver.asked().len(), 1, "{id}: asked once");
    }
    // One bad answer among good ones, wherever it stands.
    for answers in [
        &["1.1.1.1", "10.0.0.1"][..],
        &["::1", "1.1.1.1"],
        &["1.1.1.1", "2606:4700::1111", "fd00::1"],
        &["64:ff9b::7f00:1"],
        &["::ffff:1.1.1.1"],
    ] {
        let resolver = Scripted::new(&[answers], true);
        let report = ask(&reaching(&resolver), openai(), &base_url);
        assert!(
            report.detail.contains("not a public one") || answers.contains(&"::1"),
            "{answers:?}: {}",
            report.detail
        );
        assert_ne!(report.outcome, Outcome::Valid);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn e07_the_address_that_was_checked_is_the_one_connected_to() {
    let (first, second) = (secure("good", list), secure("good", list));
    assert_ne!(first.port(), second.port());
    // Both listen on 127.0.0.1; the second answer points to a port of nobody on 127.0.0.2.
    let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]], true);
    let base_url = format!("https://api.good.test:{}/v1", first.port());
    let report = ask(&reaching(&resolver), openai(), &base_url);
    assert_eq!(report.outcome, Outcome::Valid, "{}", report.detail);
    assert_eq!(
        resolver.asked(),
        ["api.good.test"],
        "asked once, connected to that"
    );
    assert_eq!((first.received().len(), second.connections()), (1, 0));
    assert_eq!(
        first.received()[0].header("host"),
        Some(base_url[8..].trim_end_matches("/v1"))
    );
    // The control: with the answers the other way round nothing is reached.
    let resolver = Scripted::new(&[&["127.0.0.2"], &["127.0.0.1"]], true);
    let report = ask(&reaching(&resolver), openai(), &base_url);
    assert_eq!(report.outcome, Outcome::Unreachable);
    assert_eq!(first.received().len(), 1);
}

#[test]
fn e07_only_a_test_may_let_loopback_through() {
    assert!(!is_public(Ipv4Addr::LOCALHOST.into()));
    let server = secure("good", list);
    let base_url = format!("https://api.good.test:{}/v1", server.port());
    let report = ask(
        &reaching(&Scripted::new(&[&["127.0.0.1"]], false)),
        openai(),
        &base_url,
    );
    assert_eq!(report.outcome, Outcome::Unreachable);
    assert_eq!(server.connections(), 0);
    let system = provider::SystemResolver;
    assert!(!system.lets_a_test_server_through(Ipv4Addr::LOCALHOST.into()));
    // A name without an answer, and one with too many.
    for answers in [&[][..], &["1.1.1.1"; 65][..]] {
        let report = ask(
            &reaching(&Scripted::new(&[answers], true)),
            openai(),
            &base_url,
        );
        assert!(report.detail.contains("no address"), "{}", report.detail);
    }
}

/// A provider that takes its key in a header of that name.
fn with_header(header: &str) -> Provider {
    serde_json::from_value(serde_json::json!({
        "id": "ours", "display_name": "Ours", "display_name_zh": "Ours", "status": "active",
        "kind": "gateway", "auth": {"style": "header", "header": header}, "env": {"primary": "OURS"},
        "verified": false,
        "test": {"method": "GET", "url": "{base_url}/x", "proves_key": true, "cost": "none",
            "verified": false, "rules": [{"status": 200, "means": "valid"}]}
    }))
    .unwrap()
}

#[test]
fn e08_a_redirect_is_never_followed_and_no_header_goes_along() {
    let vectors = vectors();
    let second = secure("good", list);
    let plain = ProviderServer::start(list).unwrap();
    let resolver = Scripted::new(&[&["127.0.0.1"]], true);
    let outbound = reaching(&resolver);
    let headers = texts(&vectors["credential_headers"]);
    assert!(headers.len() >= 9);
    for case in vectors["redirect_cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let target = case["to"].as_str().unwrap().to_owned();
        // The targets, at the ports where somebody would see the request arrive.
        let evil = format!("evil.test:{}", second.port());
        let target = target
            .replace("evil.test", &evil)
            .replace(
                "api.good.test:8443",
                &format!("api.good.test:{}", second.port()),
            )
            .replace(
                "http://api.good.test/",
                &format!("http://api.good.test:{}/", plain.port()),
            );
        // Every status with one header, and every header with one status.
        let all = [301, 302, 303, 307, 308].map(|status| (status, "x-api-key"));
        let all = all
            .into_iter()
            .chain(headers.iter().map(|header| (307, header.as_str())));
        for (status, header) in all {
            let location = target.clone();
            let first = secure("good", move |_| {
                Reply::json(status, "").with("location", &location)
            });
            let base_url = format!("https://api.good.test:{}/v1", first.port());
            let report = ask(&outbound, Some(&with_header(header)), &base_url);
            assert_eq!(
                report.outcome,
                Outcome::Unreachable,
                "{id} {status} {header}"
            );
            assert!(
                report.detail.contains("redirect"),
                "{id}: {}",
                report.detail
            );
            assert!(!report.detail.contains("evil"));
            let received = first.received();
            assert_eq!(received.len(), 1, "{id}: asked once");
            assert!(carries_key(&received[0]), "the key did go to its own host");
        }
    }
    assert_eq!((second.connections(), plain.connections()), (0, 0));
    // The control: asked directly, the second listener does record the key.
    let direct = format!("https://evil.test:{}/v1", second.port());
    assert_eq!(ask(&outbound, openai(), &direct).outcome, Outcome::Valid);
    assert!(carries_key(&second.received()[0]));
}

#[test]
fn e17_a_certificate_that_is_not_to_be_trusted_gets_no_key() {
    let resolver = Scripted::new(&[&["127.0.0.1"]], true);
    let trusting = reaching(&resolver);
    let strict = Outbound {
        ca_file: None,
        ..trusting.clone()
    };
    for (certificate, outbound) in [
        ("selfsigned", &trusting),
        ("expired", &trusting),
        ("elsewhere", &trusting),
        ("good", &strict),
    ] {
        let server = secure(certificate, list);
        let base_url = format!("https://api.good.test:{}/v1", server.port());
        let report = ask(outbound, openai(), &base_url);
        assert_eq!(report.outcome, Outcome::Unreachable, "{certificate}");
        assert!(
            report.detail.contains("certificate"),
            "{certificate}: {}",
            report.detail
        );
        assert!(
            server.received().is_empty(),
            "{certificate}: nothing was sent"
        );
        assert_eq!(server.connections(), 1, "{certificate}: it was tried");
    }
    // A server that speaks plain HTTP where TLS is due.
    let server = ProviderServer::start_inside(
        |mut stream| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
            Ok(Box::new(stream))
        },
        list,
    )
    .unwrap();
    let report = ask(
        &trusting,
        openai(),
        &format!("https://api.good.test:{}/v1", server.port()),
    );
    assert!(report.detail.contains("TLS"), "{}", report.detail);
    assert!(server.received().is_empty());
    // The control: the same authority, the right name, in time.
    let server = secure("good", list);
    let report = ask(
        &trusting,
        openai(),
        &format!("https://api.good.test:{}/v1", server.port()),
    );
    assert_eq!(report.outcome, Outcome::Valid, "{}", report.detail);
    assert!(carries_key(&server.received()[0]));
}

#[test]
fn a_file_of_authorities_that_cannot_be_read_is_no_reason_to_trust() {
    let server = secure("good", list);
    let base_url = format!("https://api.good.test:{}/v1", server.port());
    for name in ["missing.pem", "good.key.pem", "make.sh"] {
        let outbound = Outbound {
            ca_file: Some(tls::fixture(name)),
            ..reaching(&Scripted::new(&[&["127.0.0.1"]], true))
        };
        let report = ask(&outbound, openai(), &base_url);
        assert_eq!(report.outcome, Outcome::Unreachable);
        assert!(
            report.detail.contains("authorities"),
            "{name}: {}",
            report.detail
        );
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_configured_proxy_is_asked_for_a_tunnel_and_sees_no_key() {
    let proxy = ProviderServer::start(|_| Reply::json(502, "{}")).unwrap();
    let server = secure("good", list);
    let resolver = Scripted::new(&[&["127.0.0.1"]], true);
    let outbound = Outbound {
        proxy: Some(format!("http://127.0.0.1:{}", proxy.port())),
        ..reaching(&resolver)
    };
    let target = format!("api.good.test:{}", server.port());
    let report = ask(&outbound, openai(), &format!("https://{target}/v1"));
    assert_eq!(report.outcome, Outcome::Unreachable);
    let received = proxy.received();
    assert_eq!(
        (received[0].method.as_str(), received[0].path.as_str()),
        ("CONNECT", target.as_str())
    );
    assert!(!carries_key(&received[0]));
    assert!(resolver.asked().is_empty(), "the proxy resolves");
    assert_eq!(server.connections(), 0);
    // Plain http to this machine never goes there.
    let local = ProviderServer::start(list).unwrap();
    let report = ask(
        &outbound,
        openai(),
        &format!("http://127.0.0.1:{}/v1", local.port()),
    );
    assert_eq!(report.outcome, Outcome::Valid);
    assert_eq!(proxy.received().len(), 1);
    // Something that is no proxy is not one.
    for bad in ["", "proxy", "socks5://127.0.0.1:9", "file:///etc/passwd"] {
        let outbound = Outbound {
            proxy: Some(bad.into()),
            ..reaching(&resolver)
        };
        let report = ask(&outbound, openai(), &format!("https://{target}/v1"));
        assert!(report.detail.contains("proxy"), "{bad}: {}", report.detail);
    }
    assert_eq!(server.connections(), 0);
}

/// Runs in a process of its own, below, with a hostile environment.
#[test]
#[ignore = "started by e17_a_hostile_environment_has_no_say"]
fn in_a_hostile_environment() {
    assert!(
        std::env::var_os("HTTPS_PROXY").is_some() && std::env::var_os("SSL_CERT_FILE").is_some()
    );
    let resolver = Scripted::new(&[&["127.0.0.1"]], true);
    let trusting = reaching(&resolver);
    let strict = Outbound {
        ca_file: None,
        ..trusting.clone()
    };
    let server = secure("good", list);
    let base_url = format!("https://api.good.test:{}/v1", server.port());
    // SSL_CERT_FILE names the authority that would make this valid.
    let report = ask(&strict, openai(), &base_url);
    assert!(report.detail.contains("certificate"), "{}", report.detail);
    assert!(server.received().is_empty());
    // The proxies lead elsewhere, and both requests arrive.
    assert_eq!(ask(&trusting, openai(), &base_url).outcome, Outcome::Valid);
    let plain = ProviderServer::start(list).unwrap();
    let report = ask(
        &trusting,
        openai(),
        &format!("http://127.0.0.1:{}/v1", plain.port()),
    );
    assert_eq!(report.outcome, Outcome::Valid);
    eprintln!("both requests arrived");
}

#[test]
fn e17_a_hostile_environment_has_no_say() {
    let trap = ProviderServer::start(list).unwrap();
    let there = format!("http://127.0.0.1:{}", trap.port());
    let folder = tempfile::tempdir().unwrap();
    let key_log = folder.path().join("keys.log");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "in_a_hostile_environment",
            "--ignored",
            "--nocapture",
        ])
        .envs(
            vectors()["hostile_environment"]
                .as_object()
                .unwrap()
                .iter()
                .filter_map(
                    // These two would stop the loader before akm runs at all.
                    |(name, value)| match name.as_str() {
                        "LD_PRELOAD" | "TMPDIR" => None,
                        name => Some((name.to_owned(), value.as_str()?.to_owned())),
                    },
                ),
        )
        .env("SSL_CERT_FILE", tls::authority())
        .env("SSL_CERT_DIR", tls::fixture(""))
        .env("SSLKEYLOGFILE", &key_log);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child
            .env(name, &there)
            .env(name.to_ascii_lowercase(), &there);
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("both requests arrived"),
        "the child ran: {said}"
    );
    assert!(!said.contains("canary"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("canary"));
    assert_eq!(trap.connections(), 0);
    assert!(!key_log.exists());
}
