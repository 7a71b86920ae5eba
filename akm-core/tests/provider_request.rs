//! What a connection test sends, and how it bounds what comes back, over real HTTP.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/ask.rs"]
mod ask;
#[path = "support/provider_fixtures.rs"]
mod provider_fixtures;
#[path = "support/provider_server.rs"]
mod provider_server;

use std::net::TcpListener;
use std::time::Duration;

use akm_core::Secret;
use akm_core::protocol::Outcome;
use akm_core::provider::{self, BaseUrl, Destinations, Outbound};
use ask::{ask, ask_by, below, known, start};
use provider_fixtures::play;
use provider_server::{Manner, Reply};

#[test]
fn the_key_stands_in_its_header_and_nowhere_else() {
    let server = start(play);
    for (id, path, header, value) in [
        (
            "openai",
            "/openai/v1",
            "authorization",
            "Bearer canary-valid",
        ),
        ("anthropic", "/anthropic", "x-api-key", "canary-valid"),
        ("google", "/gemini/v1beta", "x-goog-api-key", "canary-valid"),
        ("cohere", "/v2", "authorization", "Bearer canary-valid"),
    ] {
        let report = ask(known(id), &below(&server, path), "canary-valid");
        assert_eq!(report.outcome, Outcome::Valid);
        let request = server.received().pop().unwrap();
        let carriers: Vec<_> = request
            .headers
            .iter()
            .filter(|(_, value)| value.contains("canary"))
            .collect();
        assert_eq!(carriers, [&(header.to_owned(), value.to_owned())], "{id}");
        assert!(!request.path.contains("canary"));
        assert!(!String::from_utf8_lossy(&request.body).contains("canary"));
        assert!(request.header("user-agent").unwrap().starts_with("akm/"));
        assert_eq!(request.header("referer"), None);
        assert_eq!(request.header("cookie"), None);
        if id == "anthropic" {
            assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
            assert_eq!(request.path, "/anthropic/v1/models?limit=1");
        }
    }
}

#[test]
fn a_key_with_odd_characters_arrives_byte_for_byte() {
    let server = start(|_| Reply::json(200, r#"{"data": []}"#));
    let every: String = (0x21..=0x7eu8).map(char::from).collect();
    let long = "k".repeat(8192);
    for key in [
        every.as_str(),
        "sk-\"'`$(id)`;|&<>{}[]\\^~",
        "a b  c",
        "a:b: c",
        "%0d%0aX-Evil: 1",
        "\\r\\nX-Evil: 1",
        "=?utf-8?q?x?=",
        "Bearer Bearer",
        "x",
        &long,
    ] {
        let report = ask(known("openai"), &below(&server, "/v1"), key);
        assert_eq!(report.outcome, Outcome::Valid, "{key}: {}", report.detail);
        let request = server.received().pop().unwrap();
        assert_eq!(
            request.header("authorization"),
            Some(format!("Bearer {key}").as_str())
        );
        assert_eq!(request.header("x-evil"), None);
        ask(known("anthropic"), &below(&server, ""), key);
        let request = server.received().pop().unwrap();
        assert_eq!(request.header("x-api-key"), Some(key));
    }
}

#[test]
fn a_key_that_would_add_a_header_is_not_sent() {
    let server = start(|_| Reply::json(200, r#"{"data": []}"#));
    for key in [
        "a\r\nx-evil: 1",
        "a\nx-evil: 1",
        "a\r",
        "a\0b",
        "a\tb",
        "a\u{7f}",
        "é",
        "",
    ] {
        let report = ask(known("openai"), &below(&server, "/v1"), key);
        assert_eq!(report.outcome, Outcome::Unverifiable, "{key:?}");
    }
    assert_eq!(server.connections(), 0);
    // The control: the same server, a key that is one line.
    ask(known("openai"), &below(&server, "/v1"), "a");
    assert_eq!(server.connections(), 1);
}

#[test]
fn nothing_is_sent_to_an_address_the_key_was_not_sealed_for() {
    let (sealed, other) = (start(play), start(play));
    let secret = Secret::new("k-valid".into());
    let base_url = below(&sealed, "/openai/v1");
    let destinations = Destinations::of(known("openai"), Some(&BaseUrl::read(&base_url).unwrap()));
    let test = |destinations: &Destinations, base_url: Option<&str>| {
        provider::test(
            &Outbound::default(),
            known("openai"),
            destinations,
            base_url,
            &secret,
        )
    };
    // Another port, the provider's own address, another header.
    let elsewhere = test(&destinations, Some(&below(&other, "/openai/v1")));
    let home = test(&destinations, None);
    let header = Destinations {
        header: "x-api-key".into(),
        ..destinations.clone()
    };
    let in_other_header = test(&header, Some(&base_url));
    for report in [elsewhere, home, in_other_header] {
        assert_eq!(report.outcome, Outcome::Unverifiable);
        assert!(report.detail.contains("sealed"), "{}", report.detail);
    }
    assert_eq!((sealed.connections(), other.connections()), (0, 0));
    // The control.
    assert_eq!(test(&destinations, Some(&base_url)).outcome, Outcome::Valid);
    assert_eq!((sealed.connections(), other.connections()), (1, 0));
}

#[test]
fn an_answer_that_cannot_be_understood_is_unreachable() {
    let long = "x".repeat(2 << 20);
    type Answer = Box<dyn Fn() -> Reply + Send + Sync>;
    let cases: Vec<(&str, Answer)> = vec![
        ("HTTP 404", Box::new(|| Reply::json(404, "{}"))),
        ("HTTP 503", Box::new(|| Reply::json(503, "{}"))),
        ("HTTP 204", Box::new(|| Reply::json(204, ""))),
        ("HTTP 418", Box::new(|| Reply::json(418, "{}"))),
        (
            "HTTP 200",
            Box::new(|| Reply::json(200, "<html>Sign in to the hotel</html>")),
        ),
        (
            "HTTP 302",
            Box::new(|| Reply::json(302, "").with("location", "/login")),
        ),
        (
            "1 MiB",
            Box::new(move || Reply::json(200, &format!("{{\"data\": [\"{long}\"]}}"))),
        ),
        (
            "1 MiB",
            Box::new(|| Reply::json(200, "").sent(Manner::Endless)),
        ),
        (
            "HTTP",
            Box::new(|| Reply::json(200, "").sent(Manner::EndlessHead)),
        ),
        (
            "broke off",
            Box::new(|| Reply::json(200, "{\"data\": []}").sent(Manner::BreakOff)),
        ),
        (
            "HTTP",
            Box::new(|| Reply::json(200, "SSH-2.0-OpenSSH_9.9\r\n").sent(Manner::NotHttp)),
        ),
    ];
    for (says, answer) in cases {
        let server = start(move |_| answer());
        let report = ask(known("openai"), &below(&server, "/v1"), "k-valid");
        assert_eq!(report.outcome, Outcome::Unreachable, "{}", report.detail);
        assert!(report.detail.contains(says), "{says}: {}", report.detail);
        assert_eq!(report.models, None);
        assert_eq!(server.received().len(), 1, "asked once: {says}");
    }
}

#[test]
fn a_server_that_never_answers_is_unreachable_in_time() {
    let server = start(|_| Reply::json(200, "").sent(Manner::Never));
    let outbound = Outbound {
        timeout: Duration::from_secs(1),
        ..Outbound::default()
    };
    let report = ask_by(
        &outbound,
        known("openai"),
        &below(&server, "/v1"),
        "k-valid",
    );
    assert_eq!(report.outcome, Outcome::Unreachable);
    assert!(report.detail.contains("in time"), "{}", report.detail);
    assert_eq!(server.received().len(), 1);
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = ask(known("openai"), &format!("http://{free}/v1"), "k-valid");
    assert_eq!(report.outcome, Outcome::Unreachable);
    assert!(report.detail.contains("no connection"), "{}", report.detail);
}

#[test]
fn e11_a_key_that_is_sent_back_does_not_come_through() {
    let key = "sk-canary-0123456789";
    for status in [200, 302, 400, 401, 403, 429, 500] {
        let server = start(move |request| {
            let sent = request.header("authorization").unwrap_or_default();
            let key = sent.strip_prefix("Bearer ").unwrap_or_default();
            // A success with an error in it is none, and lists nothing.
            let told = if status == 200 { "note" } else { "error" };
            let base64 = data_encoding::BASE64.encode(sent.as_bytes());
            let hex = data_encoding::HEXUPPER.encode(key.as_bytes());
            let percent: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let escaped = key.replace('c', "\\\\u0063");
            Reply::json(
                status,
                &format!(
                    r#"{{"{told}": {{"message": "{sent}", "code": "{key}", "type": "{key}"}},
                        "data": [{{"id": "{key}"}}, {{"id": "x{key}x"}}, {{"id": "{base64}"}}, {{"id": "m-{hex}"}},
                            {{"id": "{percent}"}}, {{"id": "{escaped}"}}, {{"id": "honest"}}]}}"#
                ),
            )
            .with("location", &format!("/{key}"))
            .with("x-echo", sent)
        });
        let report = ask(known("openai"), &below(&server, "/v1"), key);
        assert!(!format!("{report:?}").contains("canary"), "{status}");
        if status == 200 {
            assert_eq!(
                report.models,
                Some(vec!["honest".to_owned()]),
                "the control"
            );
        }
        assert_eq!(server.received().len(), 1);
    }
}

#[test]
fn tests_do_not_share_anything_and_may_run_side_by_side() {
    let server = start(play);
    let base_url = below(&server, "/openai/v1");
    std::thread::scope(|scope| {
        let tests: Vec<_> = (0..16)
            .map(|n| {
                let mood = if n % 2 == 0 { "valid" } else { "invalid" };
                let base_url = &base_url;
                let test = scope
                    .spawn(move || ask(known("openai"), base_url, &format!("k{n}-{mood}")).outcome);
                (mood, test)
            })
            .collect();
        for (mood, test) in tests {
            let expected = if mood == "valid" {
                Outcome::Valid
            } else {
                Outcome::Invalid
            };
            assert_eq!(test.join().unwrap(), expected);
        }
    });
    assert_eq!(server.received().len(), 16);
}

#[test]
fn a_configuration_shows_no_proxy_password() {
    let outbound = Outbound {
        proxy: Some("http://user:canary@proxy.example:3128".into()),
        ..Outbound::default()
    };
    assert!(!format!("{outbound:?}").contains("canary"));
}

#[test]
fn e10_a_key_that_would_stand_in_the_address_is_never_sent() {
    let server = start(|_| Reply::json(200, r#"{"data": []}"#));
    let provider = |auth: &str| -> akm_core::provider::Provider {
        serde_json::from_str(&format!(
            r#"{{"id": "ours", "display_name": "Ours", "display_name_zh": "Ours", "status": "active",
                "kind": "gateway", "auth": {auth}, "env": {{"primary": "OURS"}}, "verified": false,
                "test": {{"method": "GET", "url": "{{base_url}}/x", "proves_key": true, "cost": "none",
                    "verified": false, "rules": [{{"status": 200, "means": "valid"}}]}}}}"#
        ))
        .unwrap()
    };
    let in_query = provider(r#"{"style": "query", "param": "key"}"#);
    let report = ask(Some(&in_query), &below(&server, ""), "canary");
    assert_eq!(report.outcome, Outcome::Unverifiable);
    assert!(report.detail.contains("logged"), "{}", report.detail);
    assert_eq!(server.connections(), 0);
    // The control: the same provider with a header.
    let in_header = provider(r#"{"style": "header", "header": "x-key", "prefix": "Key "}"#);
    let report = ask(Some(&in_header), &below(&server, ""), "canary");
    assert_eq!(report.outcome, Outcome::Valid);
    let request = server.received().pop().unwrap();
    assert_eq!(request.path, "/x");
    assert_eq!(request.header("x-key"), Some("Key canary"));
}
