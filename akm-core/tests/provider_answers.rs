//! Every provider and outcome, over real HTTP and TLS: what providers answer stands in `fixtures/answers`, written by
//! hand from their documents, and is played by a server that gives it only to the request that the provider wants.
//!
//! Over TLS the engine asks at home, at the provider's own address, through a proxy that ends at the played provider: one
//! connection and one host for each test, whatever the answer offers. Over plain HTTP it asks below a `base_url`.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/answers.rs"]
mod answers;
#[path = "support/provider_server.rs"]
mod provider_server;
#[path = "support/tls.rs"]
mod tls;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use akm_core::Secret;
use akm_core::provider::{
    self, BaseUrl, Catalogue, Destinations, Outbound, Provider, SystemResolver, TestReport,
};
use answers::{Answer, Script, all};
use provider_server::{Duplex, ProviderServer, Received, Reply};

const KEY: &str = "sk-canary-0123456789";

fn known(script: &Script) -> Option<&'static Provider> {
    Catalogue::builtin().provider(&script.id)
}

fn ask(outbound: &Outbound, script: &Script, base_url: Option<&str>) -> TestReport {
    let parsed = base_url.map(|text| BaseUrl::parse(text, "base_url").unwrap());
    let destinations = Destinations::of(known(script), parsed.as_ref());
    let secret = Secret::new(KEY.to_owned());
    provider::test(outbound, known(script), &destinations, base_url, &secret)
}

fn reply(answer: &Answer) -> Reply {
    let mut reply = Reply::json(answer.status, &answer.body);
    reply.headers = answer.headers.clone();
    reply
}

/// What of a request is not as the provider wants it.
fn unwanted(script: &Script, request: &Received) -> Option<String> {
    let asked = (request.method.as_str(), request.path.as_str());
    if asked != (&script.method, &script.path) {
        return Some(format!("{asked:?}"));
    }
    for (name, value) in &script.headers {
        let wanted = value.replace("KEY", KEY);
        if request.header(name) != Some(&wanted) {
            return Some(format!("{name} is {:?}", request.header(name)));
        }
    }
    let body = String::from_utf8_lossy(&request.body);
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    if json(&body) != script.body.as_deref().and_then(json) {
        return Some(format!("the body is {body}"));
    }
    // Nowhere but in its header, and nowhere at all where none is wanted.
    let wanted = script
        .headers
        .iter()
        .filter(|(_, value)| value.contains("KEY"));
    let carried = request
        .headers
        .iter()
        .filter(|(_, value)| value.contains(KEY));
    (wanted.count() != carried.count()).then(|| "the key stands in another header".to_owned())
}

/// Reads the head of `CONNECT host:port` and says yes.
fn tunnel(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let text = String::from_utf8_lossy(&head);
    Ok(text.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn every_answer_is_read_as_its_provider_means_it_at_its_own_address_over_tls() {
    let mut played = 0;
    for script in &all() {
        let current: Arc<Mutex<Option<Answer>>> = Arc::default();
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let inside = tls::with("providers");
        let (asked, seen) = (Arc::clone(&targets), Arc::clone(&current));
        let wrap = move |mut stream: TcpStream| -> io::Result<Box<dyn Duplex>> {
            asked.lock().unwrap().push(tunnel(&mut stream)?);
            inside(stream)
        };
        let play = move |_: &Received| reply(seen.lock().unwrap().as_ref().unwrap());
        let server = ProviderServer::start_inside(wrap, play).unwrap();
        let outbound = Outbound {
            ca_file: Some(tls::fixture("providers-ca.pem")),
            proxy: Some(format!("http://127.0.0.1:{}", server.port())),
            resolver: Arc::new(SystemResolver),
            ..Outbound::default()
        };
        // The common ones are played below, without TLS: they are about statuses alone.
        let own = script.answers.iter().filter(|answer| !answer.common);
        for answer in own {
            *current.lock().unwrap() = Some(answer.clone());
            let report = ask(&outbound, script, script.base.as_deref());
            let what = format!("{}: {}: {report:?}", script.id, answer.title);
            assert!(
                answer.fits(report.outcome.token(), &report.detail),
                "{what}"
            );
            assert!(!format!("{report:?}").contains(KEY), "{what}");
            let request = server.received().pop().expect(&what);
            assert_eq!(unwanted(script, &request), None, "{what}");
            played += 1;
        }
        let home = format!("{}:443", script.header("host").unwrap());
        let own = script
            .answers
            .iter()
            .filter(|answer| !answer.common)
            .count();
        assert_eq!(
            *targets.lock().unwrap(),
            vec![home; own],
            "{}: no other host",
            script.id
        );
    }
    assert!(played > 150, "{played}");
}

#[test]
fn every_answer_is_read_as_its_provider_means_it_below_a_base_url_over_http() {
    for script in &all() {
        let current: Arc<Mutex<Option<Answer>>> = Arc::default();
        let seen = Arc::clone(&current);
        let server =
            ProviderServer::start(move |_| reply(seen.lock().unwrap().as_ref().unwrap())).unwrap();
        let base_url = format!("http://127.0.0.1:{}", server.port());
        for answer in &script.answers {
            *current.lock().unwrap() = Some(answer.clone());
            let report = ask(&Outbound::default(), script, Some(&base_url));
            // Which region a key of a gateway belongs to is not for us to guess; that there are some is said.
            let mut expected = answer.clone();
            let is_of_region = |part: &String| part.contains("region") || part.contains("base_url");
            if expected.says.iter().any(is_of_region) {
                assert!(report.detail.contains("bound to a region"), "{report:?}");
            }
            expected
                .says
                .retain(|part| !part.contains("region") && !part.contains("base_url"));
            expected.says.push("(HTTP ".to_owned());
            let what = format!("{}: {}: {report:?}", script.id, answer.title);
            assert!(
                expected.fits(report.outcome.token(), &report.detail),
                "{what}"
            );
            assert!(!report.detail.contains("base_url"), "{what}");
        }
        assert_eq!(server.connections(), script.answers.len(), "{}", script.id);
    }
}

#[test]
fn a_request_that_the_provider_does_not_want_would_be_seen() {
    let script = all()
        .into_iter()
        .find(|script| script.id == "anthropic")
        .unwrap();
    let good = Received {
        method: "GET".into(),
        path: "/v1/models?limit=1".into(),
        headers: vec![
            ("host".into(), "api.anthropic.com".into()),
            ("x-api-key".into(), KEY.into()),
            ("anthropic-version".into(), "2023-06-01".into()),
        ],
        body: Vec::new(),
    };
    assert_eq!(unwanted(&script, &good), None);
    let bad = |change: &dyn Fn(&mut Received)| {
        let mut request = good.clone();
        change(&mut request);
        assert!(unwanted(&script, &request).is_some(), "{request:?}");
    };
    bad(&|request| request.path = "/v1/models".into());
    bad(&|request| request.method = "POST".into());
    bad(&|request| request.headers[0].1 = "api.openai.com".into());
    bad(&|request| drop(request.headers.pop()));
    bad(&|request| {
        request
            .headers
            .push(("authorization".into(), format!("Bearer {KEY}")))
    });
    bad(&|request| request.body = b"{}".to_vec());
}
