//! Requests that are broken, doubled, nested too deep or full of somebody else's language.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::JSON;
use super::hosted_support::{Answer, OPEN, Site};

/// What a case of the file expects, as a set of status codes; 0 is a connection that was closed without an answer.
fn expected(text: &str) -> &'static [u16] {
    match text {
        "403_or_421" => &[403, 421],
        "400" => &[400],
        "403" => &[403],
        "415" => &[415],
        "400_and_close" => &[400],
        "400_or_501" => &[400, 501],
        "400_or_413" => &[400, 413],
        "400_or_2xx_never_split" => &[400, 200],
        "400_or_404" => &[400, 404],
        "401_or_404" => &[401, 404],
        "close_or_400" => &[0, 400],
        "405" => &[405],
        // There is no GET of an operation, and no preflight is answered.
        "401_or_normal_never_forwarded" => &[401, 405, 423],
        "no_acao_header" => &[403, 405],
        // A page or the way to one, or nothing: no upgrade, and no proxy behind this listener.
        "no_101" => &[200, 303, 404],
        "no_request_to_evil" => &[303, 403, 404, 405],
        other => panic!("say what {other} means"),
    }
}

#[test]
fn e01_e02_e04_e06_every_raw_request_of_the_file_is_answered_as_it_says() {
    let site = Site::start(OPEN);
    let port = site.address.port().to_string();
    let file: Value =
        serde_json::from_str(include_str!("../vectors/akm/http_raw_requests.json")).unwrap();
    let mut ran = 0;
    for case in file["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let raw = case["raw"].as_str().unwrap();
        // Those that are a description and not bytes have tests of their own.
        if ["slow-header", "slow-body", "half-open", "pipelined-100"].contains(&id) {
            assert!(raw.starts_with('{'));
            continue;
        }
        let raw = raw
            .replace("PORT", &port)
            .replace("{A*70000}", &"A".repeat(70_000));
        let mut stream = site.connect();
        let _ = stream.write_all(raw.as_bytes());
        let answer = Answer::read(&mut stream);
        let wanted = case["expect"].as_str().unwrap();
        assert!(
            expected(wanted).contains(&answer.status),
            "{id}: {answer:?}"
        );
        assert!(
            !answer.head.to_lowercase().contains("access-control"),
            "{id}: {answer:?}"
        );
        assert!(answer.header("upgrade").is_none(), "{id}");
        if wanted == "400_and_close" {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty(), "{id}: a second answer: {rest:?}");
        }
        // What hyper refuses by itself has no body.
        let json = answer.header("content-type").as_deref() == Some("application/json");
        if answer.status >= 400 && json {
            assert_eq!(answer.json()["ok"], false, "{id}: an envelope");
        }
        ran += 1;
    }
    assert_eq!(ran, 27, "every case that is bytes");
    // Control: the same listener answers who asks properly.
    assert_eq!(site.ask("GET", "/healthz", &[], "").status, 200);
    assert_eq!(site.ask("GET", "/readyz", &[], "").status, 200);
}

#[test]
fn a_path_that_nothing_has_is_404_to_a_program_and_a_page_to_a_browser() {
    let site = Site::start(OPEN);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let own = format!("Origin: http://{}", site.address);
    for (method, path, headers) in [
        ("POST", "/nope", &[JSON][..]),
        ("POST", "//v1/key.list", &[JSON]),
        ("POST", "/V1/agent.status", &[JSON]),
        ("POST", "/v1/key.steal", &[JSON]),
        ("POST", "/nope", &[]),
        ("POST", "/nope", &[form]),
        ("POST", "/nope", &[form, &own]),
        ("GET", "/nope", &[]),
        ("GET", "/nope", &["Accept: application/json"]),
        ("GET", "/unlock/", &[]),
        ("GET", "/admin/nope", &[]),
        ("GET", "/assets/nope", &[]),
    ] {
        let answer = site.ask(method, path, headers, "");
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
        assert_eq!(answer.kind(), "not_found", "{method} {path}");
    }
    let wrong = site.ask("POST", "/metrics", &[JSON], "{}");
    assert_eq!((wrong.status, wrong.kind()), (405, "invalid_input".into()));
    let browser = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    let page = site.ask("GET", "/nope", &[browser], "");
    assert_eq!(page.status, 404);
    assert!(page.body.contains("</html>"), "{page:?}");
    // Control: what there is keeps its door.
    assert_eq!(site.ask("GET", "/activity", &[browser], "").status, 303);
    for path in ["/unlock", "/keys/secret", "/admin/remove", "/language"] {
        assert_eq!(site.ask("POST", path, &[form], "").status, 403, "{path}");
    }
}

#[test]
fn no_answer_over_the_network_names_a_command() {
    let site = Site::start(OPEN);
    let token = site.register("alice");
    for (token, op, body, kind) in [
        (None, "key.list", json!({}), "locked"),
        (
            Some(&token),
            "key.get",
            json!({"name": "openai/none"}),
            "not_found",
        ),
        (
            Some(&token),
            "provider.show",
            json!({"name": "none"}),
            "not_found",
        ),
    ] {
        let answer = site.op(token.map(String::as_str), op, &body);
        assert_eq!(answer.kind(), kind, "{op}");
        assert_eq!(answer.json()["error"].get("hint"), None, "{op}");
    }
    // Controls: on the host the command is there, and a hint that names none is said.
    let here = site.agent.http(&super::support::request("key.list", "{}"));
    assert!(here.contains("run akm unlock"), "{here}");
    let body = json!({"name": "openai/work", "secret": "sk-1234567890"});
    assert_eq!(site.op(Some(&token), "key.add", &body).status, 200);
    let near = site.op(Some(&token), "key.get", &json!({"name": "openai/none"}));
    assert_eq!(near.json()["error"]["hint"], "there is openai/work");
}

#[test]
fn e04_what_follows_a_refused_request_is_not_read_as_another() {
    let site = Site::start(OPEN);
    for front in [
        "POST /v1/agent.status HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1/agent.status HTTP/1.1\r\nHost: HOST\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1/agent.status HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 300000\r\n\r\n",
        "POST http://HOST/v1/agent.status HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
    ] {
        let host = site.address.to_string();
        let both =
            format!("{front}GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n").replace("HOST", &host);
        let mut stream = site.connect();
        stream.write_all(both.as_bytes()).unwrap();
        let answer = Answer::read(&mut stream);
        assert!(
            (400..500).contains(&answer.status) && answer.closes,
            "{front}: {answer:?}"
        );
        let mut rest = Vec::new();
        // A reset is as good as an end: what was not read is not answered.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{front}: {rest:?}");
    }
    // Control: two that are both in order get two answers.
    let host = site.address.to_string();
    let two = "GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
        .replace("HOST", &host)
        .repeat(2);
    let mut stream = site.connect();
    stream.write_all(two.as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(Answer::read(&mut stream).status, 200);
    }
}

#[test]
fn e15_json_bombs_end_soon_over_the_network() {
    let site = Site::start(OPEN);
    let token = site.register("alice");
    let bearer = format!("Authorization: Bearer {token}");
    let many = (0..20_000)
        .map(|n| format!("\"k{n}\":1"))
        .collect::<Vec<_>>()
        .join(",");
    for body in [
        "[".repeat(100_000),
        "{\"a\":".repeat(40_000),
        format!("{{{many}}}"),
        "{\"name\":\"openai\",\"name\":\"openai\"}".into(),
        "{\"limit\":1e999}".into(),
        format!("{{\"limit\":{}}}", "9".repeat(200_000)),
        "\u{feff}{}".into(),
        "{\"name\":\"\\ud800\"}".into(),
    ] {
        for op in ["key.list", "key.get", "key.add", "agent.unlock"] {
            let start = Instant::now();
            let answer = site.ask("POST", &format!("/v1/{op}"), &[JSON, &bearer], &body);
            let took = start.elapsed();
            assert_eq!(answer.status, 400, "{op} {:.20}: {answer:?}", body);
            assert!(
                took < Duration::from_secs(2),
                "{op} {:.20} took {took:?}",
                body
            );
        }
    }
    assert_eq!(
        site.op(Some(&token), "key.list", &json!({})).status,
        200,
        "control"
    );
}

/// Texts that would mean something to a database, a shell, a browser or a log.
const INJECTIONS: [&str; 12] = [
    "' OR '1'='1",
    "'; DROP TABLE keys; --",
    "\" OR \"\"=\"",
    "%",
    "%%%%%%%%%%%%%%%%%%%%%%%%_",
    "_",
    "\\",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "{{7*7}}${7*7}#{7*7}",
    "../../etc/passwd",
    "$(touch /tmp/x)`id`",
];

#[test]
fn e12_injections_in_every_text_field_change_nothing_and_find_nothing() {
    let site = Site::start(OPEN);
    let token = site.register("alice");
    let call = |op: &str, body: Value| site.op(Some(&token), op, &body);
    call(
        "key.add",
        json!({"name": "openai/kept", "secret": "sk-kept", "categories": ["safe"]}),
    )
    .result();
    let keys = || {
        call("key.list", json!({})).result()["keys"]
            .as_array()
            .unwrap()
            .len()
    };
    for text in INJECTIONS {
        let start = Instant::now();
        // As a filter it finds nothing, whatever it would mean to LIKE.
        for field in ["category", "provider", "status", "after"] {
            let answer = call("key.list", json!({ field: text }));
            let none =
                answer.status == 400 || answer.result()["keys"].as_array().unwrap().is_empty();
            assert!(none, "{field} {text}: {answer:?}");
        }
        for op in [
            "key.get",
            "key.show",
            "key.remove",
            "key.history",
            "provider.show",
            "provider.test",
        ] {
            let status = call(op, json!({ "name": text })).status;
            assert!([400, 404].contains(&status), "{op} {text}: {status}");
        }
        for (op, field) in [
            ("session.revoke", "id"),
            ("audit.list", "action"),
            ("audit.list", "key"),
        ] {
            let status = call(op, json!({ field: text })).status;
            assert!([400, 404].contains(&status), "{op} {text}: {status}");
        }
        let status = site.sign_in(text, text).status;
        assert!([401, 429].contains(&status), "{text}: {status}");
        // As content it comes back to the byte, or is refused by name.
        let label = format!("openai/{}", text.replace('/', "-"));
        let added = call(
            "key.add",
            json!({"name": label, "secret": text, "model": text, "notes": text, "categories": [text]}),
        );
        if added.status == 200 {
            assert_eq!(
                call("key.get", json!({"name": label})).result()["secret"],
                *text
            );
            assert_eq!(
                call("key.show", json!({"name": label})).result()["key"]["notes"],
                *text
            );
            let found = call("key.list", json!({"category": text})).result();
            assert_eq!(
                found["keys"].as_array().unwrap().len(),
                1,
                "by itself alone: {text}"
            );
            call("key.remove", json!({"name": label})).result();
        } else {
            assert_eq!(added.kind(), "invalid_input", "{text}");
        }
        assert_eq!(keys(), 1, "{text}");
        assert!(start.elapsed() < Duration::from_secs(20), "{text}");
    }
    assert_eq!(
        call("key.get", json!({"name": "openai/kept"})).result()["secret"],
        "sk-kept"
    );
}
