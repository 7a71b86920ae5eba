//! The agent with a listener on the network: every byte goes through a real socket.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod hosted_support;
mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use akm_core::protocol::{Authority, Offered, Op, offered};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use hosted_support::{Answer, OPEN, Site};
use support::{Home, PASSPHRASE, eventually, launch};

const JSON: &str = "Content-Type: application/json";

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
        serde_json::from_str(include_str!("vectors/akm/http_raw_requests.json")).unwrap();
    let mut ran = 0;
    for case in file["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let raw = case["raw"].as_str().unwrap();
        // Those that are a description and not bytes have tests of their own below.
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
fn slow_and_silent_clients_are_closed_and_hold_nobody_up() {
    let site = Site::start(OPEN);
    std::thread::scope(|scope| {
        let closed = |first: &'static str, within: u64| {
            let site = &site;
            move || {
                let mut stream = site.connect();
                let first = first.replace("HOST", &site.address.to_string());
                stream.write_all(first.as_bytes()).unwrap();
                let mut drip = stream.try_clone().unwrap();
                let dripping = std::thread::spawn(move || {
                    // A byte a second, for as long as somebody takes it.
                    while drip.write_all(b"a").is_ok() {
                        std::thread::sleep(Duration::from_secs(1));
                    }
                });
                let start = Instant::now();
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                assert!(start.elapsed().as_secs() < within, "it was not closed");
                drop(stream);
                let _ = dripping.join();
                String::from_utf8(all).unwrap()
            }
        };
        let head = scope.spawn(closed("GET /healthz HTTP/1.1\r\nX: ", 45));
        let body = scope.spawn(closed(
            "POST /v1/agent.status HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n",
            25,
        ));
        let silent = scope.spawn(|| {
            let mut stream = site.connect();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        for _ in 0..20 {
            assert_eq!(site.ask("GET", "/healthz", &[], "").status, 200);
        }
        let told = head.join().unwrap();
        assert!(
            told.is_empty() || told.starts_with("HTTP/1.1 408"),
            "{told}"
        );
        assert!(body.join().unwrap().contains("did not come in time"));
        assert!(silent.join().unwrap().is_empty());
    });
}

#[test]
fn a_hundred_requests_that_nobody_reads_the_answers_of_cost_little() {
    let site = Site::start(OPEN);
    let one = format!(
        "GET /v1/openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n",
        site.address
    );
    assert_eq!(site.raw(one.as_bytes()).status, 200);
    let before = site.agent.memory_kib("VmRSS");
    let mut stream = site.connect();
    stream.write_all(one.repeat(100).as_bytes()).unwrap();
    // The server has come as far as it will once others are served.
    for _ in 0..20 {
        assert_eq!(site.ask("GET", "/healthz", &[], "").status, 200);
    }
    let after = site.agent.memory_kib("VmRSS");
    assert!(after < before + 8 * 1024, "{before} KiB became {after} KiB");
    for number in 0..100 {
        assert_eq!(Answer::read(&mut stream).status, 200, "answer {number}");
    }
}

#[test]
fn e14_a_cookie_is_set_when_asked_for_and_no_script_can_read_it() {
    let site = Site::start(OPEN);
    site.register("alice");
    let origin = format!("Origin: http://{}", site.address);
    let body = json!({"account": "alice", "passphrase": PASSPHRASE}).to_string();
    let path = "/v1/agent.unlock";
    let asked = |headers: &[&str]| site.ask("POST", path, headers, &body);
    let plain = asked(&[JSON]);
    assert!(plain.header("set-cookie").is_none() && plain.token().starts_with("akms_"));
    // A login that a foreign page sends (or a program that wants a cookie and no page) sets none.
    assert_eq!(asked(&[JSON, "akm-session: cookie"]).status, 403);
    let answer = asked(&[JSON, &origin, "akm-session: cookie"]);
    assert!(
        answer.result()["token"].is_null(),
        "in one place only: {answer:?}"
    );
    let set = answer.header("set-cookie").unwrap();
    let (cookie, flags) = set.split_once(';').unwrap();
    assert_eq!(flags, " Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(cookie.starts_with("__Host-akm=akms_"));
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    let cookie_line = format!("Cookie: a=b; {cookie}");
    let list = |headers: &[&str]| {
        let mut all = vec![JSON, cookie_line.as_str()];
        all.extend(headers);
        site.ask("POST", "/v1/key.list", &all, "{}").status
    };
    // A cookie is sent along by itself: it counts with our own Origin and with nothing else.
    assert_eq!(list(&[&origin]), 200);
    assert_eq!(list(&[]), 403);
    assert_eq!(list(&["Origin: https://evil.test"]), 403);
    assert_eq!(list(&["Origin: null"]), 403);
    assert_eq!(
        list(&[&format!("Origin: https://{}", site.address)]),
        403,
        "another scheme"
    );
    assert_eq!(list(&[&origin, "Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(list(&[&origin, "Sec-Fetch-Site: same-site"]), 403);
    assert_eq!(list(&[&origin, "Sec-Fetch-Site: same-origin"]), 200);
    // Signing in with it gives another one, and this one is over.
    let again = asked(&[JSON, &origin, "akm-session: cookie", &cookie_line]);
    let next = again.header("set-cookie").unwrap();
    assert_ne!(next.split_once(';').unwrap().0, cookie);
    assert_eq!(list(&[&origin]), 423);
    // Leaving makes the browser forget it.
    let line = format!("Cookie: {}", next.split_once(';').unwrap().0);
    let left = site.ask("POST", "/v1/agent.lock", &[JSON, &origin, &line], "{}");
    assert!(
        left.header("set-cookie")
            .unwrap()
            .starts_with("__Host-akm=; ")
    );
    assert_eq!(
        site.ask("POST", "/v1/key.list", &[JSON, &origin, &line], "{}")
            .status,
        423
    );
    // And it is never taken from an address.
    let token = plain.token();
    let path = format!("/v1/key.list?token={token}&__Host-akm={token}");
    assert_eq!(site.ask("POST", &path, &[JSON], "{}").status, 423);
    assert_eq!(
        site.op(Some(&token), "key.list", &json!({})).status,
        200,
        "control"
    );
}

#[test]
fn b15_every_operation_over_the_listener_is_as_the_table_says() {
    let site = Site::start(OPEN);
    let user = site.register("user");
    let admin = site.register("admin");
    let granted = site.agent.client().call_raw(
        "admin.grant",
        json!({"account": "admin", "role": "admin"})
            .to_string()
            .as_bytes(),
    );
    granted.unwrap();
    let mut seen = BTreeSet::new();
    for op in Op::ALL {
        let status = |token: Option<&str>| {
            // No operation has this field: what passes the gate is refused for it and changes nothing.
            site.op(token, op.name(), &json!({"no operation has this field": 1}))
                .status
        };
        let never = offered(*op) == Offered::Never;
        let nobody = match offered(*op) {
            Offered::Never => 403,
            Offered::Anyone => 400,
            Offered::Entering | Offered::Session => 423,
        };
        let name = op.name();
        assert_eq!(status(None), nobody, "{name}");
        assert_eq!(status(Some("akms_guess")), nobody, "{name}");
        let for_user = !never && !matches!(op.authority(), Authority::Admin | Authority::Owner);
        assert_eq!(
            status(Some(&user)),
            if for_user { 400 } else { 403 },
            "{name}"
        );
        assert_eq!(
            status(Some(&admin)),
            if never { 403 } else { 400 },
            "{name}"
        );
        seen.insert((nobody, for_user));
    }
    assert!(
        seen.len() >= 4,
        "control: operations of every sort were there: {seen:?}"
    );
}

#[test]
fn b18_a_flood_of_sign_ins_is_bounded_and_others_go_on() {
    // Through a proxy, so that a thousand addresses ask at once.
    let proxy = ["--trusted-proxy", "127.0.0.1"];
    let site = Site::with(
        OPEN,
        &[&["--listen", "http://127.0.0.1:0"][..], &proxy].concat(),
    );
    let token = site.register("alice");
    site.op(
        Some(&token),
        "key.add",
        &json!({"name": "openai", "secret": "sk-1"}),
    )
    .result();
    let before = site.agent.memory_kib("VmRSS");
    let (mut wrong, mut busy, mut waits) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..1000)
            .map(|number| {
                let site = &site;
                scope.spawn(move || {
                    let from = format!("X-Forwarded-For: 198.51.{}.{}", number / 250, number % 250);
                    let body =
                        json!({"account": format!("nobody-{number}"), "passphrase": "wrong"});
                    let headers = [JSON, from.as_str()];
                    site.ask("POST", "/v1/agent.unlock", &headers, &body.to_string())
                        .status
                })
            })
            .collect();
        // Meanwhile whoever is signed in is served.
        for _ in 0..200 {
            let start = Instant::now();
            assert_eq!(
                site.op(Some(&token), "key.get", &json!({"name": "openai"}))
                    .status,
                200
            );
            waits.push(start.elapsed());
        }
        for status in guesses.into_iter().map(|guess| guess.join().unwrap()) {
            match status {
                401 => wrong += 1,
                503 => busy += 1,
                other => panic!("{other}"),
            }
        }
    });
    let peak = site.agent.memory_kib("VmHWM");
    waits.sort();
    println!(
        "1,000 sign-ins: {wrong} refused, {busy} told to wait; {} KiB at most above {before}; \
         a get beside them took {:?} in the middle and {:?} at worst of {}",
        peak.saturating_sub(before),
        waits[waits.len() / 2],
        waits[waits.len() - 1],
        waits.len()
    );
    assert_eq!(wrong + busy, 1000);
    // A derivation has 64 MiB, and there are as many at once as cores, four at most.
    assert!(peak < before + 4 * 66 * 1024 + 64 * 1024, "{peak} KiB");
}

#[test]
fn one_address_is_slowed_down_and_told_for_how_long() {
    let limits = |requests: u32, sign_ins: u32| {
        format!(
            "[hosted]\nregistration = \"open\"\ntotp_required = false\n\
             requests_per_minute = {requests}\nsign_ins_per_minute = {sign_ins}\n"
        )
    };
    let site = Site::start(&limits(0, 3));
    site.register("alice");
    assert_eq!(site.sign_in("alice", "wrong").status, 401);
    assert_eq!(site.sign_in("bob", "wrong").status, 401);
    for name in ["alice", "bob"] {
        let slowed = site.sign_in(name, PASSPHRASE);
        assert_eq!(
            (slowed.status, slowed.kind().as_str()),
            (429, "rate_limited")
        );
        let wait: u64 = slowed.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=21).contains(&wait), "{slowed:?}");
    }
    assert_eq!(
        site.ask("GET", "/healthz", &[], "").status,
        200,
        "control: other requests go on"
    );
    let site = Site::start(&limits(5, 0));
    let answers: Vec<u16> = (0..8)
        .map(|_| site.ask("GET", "/healthz", &[], "").status)
        .collect();
    assert_eq!(answers, [200, 200, 200, 200, 200, 429, 429, 429]);
}

#[test]
fn only_a_named_proxy_says_for_whom_it_asks() {
    let from = |arguments: &[&str]| {
        let mut all = vec!["--listen", "http://127.0.0.1:0"];
        all.extend(arguments);
        let site = Site::with(OPEN, &all);
        let token = site.register("alice");
        let body = json!({"account": "alice", "passphrase": PASSPHRASE}).to_string();
        let headers = [
            JSON,
            "X-Forwarded-For: 198.51.100.1, 203.0.113.9",
            "X-Forwarded-Proto: https",
        ];
        site.ask("POST", "/v1/agent.unlock", &headers, &body)
            .token();
        let page = site.op(Some(&token), "session.list", &json!({})).result();
        page["sessions"][0]["from"].as_str().unwrap().to_owned()
    };
    assert_eq!(from(&[]), "network 127.0.0.1");
    assert_eq!(
        from(&["--trusted-proxy", "10.0.0.0/8"]),
        "network 127.0.0.1"
    );
    assert_eq!(
        from(&["--trusted-proxy", "127.0.0.0/8"]),
        "network 203.0.113.9"
    );
}

#[test]
fn e03_it_listens_where_it_was_told_and_nowhere_else() {
    let site = Site::start(OPEN);
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let table6 = std::fs::read_to_string("/proc/self/net/tcp6").unwrap_or_default();
    let port = format!(":{:04X} ", site.address.port());
    // Local address, then 0A for a listening socket.
    let listening = |table: &str| -> Vec<String> {
        table
            .lines()
            .filter(|line| line.split_whitespace().nth(3) == Some("0A") && line.contains(&port))
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(listening(&table), [format!("0100007F{}", port.trim())]);
    assert_eq!(listening(&table6), Vec::<String>::new());
    for (listen, word) in [
        ("http://0.0.0.0:0", "127.0.0.1 and [::1] only"),
        ("http://192.0.2.1:0", "127.0.0.1 and [::1] only"),
        ("https://127.0.0.1:0", "needs a certificate"),
    ] {
        let home = Home::new();
        let mut command = home.command();
        command.args(["serve", "--listen", listen]);
        let failure = launch(command).unwrap_err();
        assert_eq!(failure.status.code(), Some(64), "{}", failure.stderr);
        assert!(failure.stderr.contains(word), "{}", failure.stderr);
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

/// A certificate for `localhost` that signs itself; the file names of it and its key.
fn certificate(home: &Home, name: &str) -> (String, String) {
    let file = |end: &str| {
        home.dir
            .path()
            .join(format!("{name}.{end}"))
            .display()
            .to_string()
    };
    let (cert, key) = (file("pem"), file("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-keyout", &key, "-out", &cert])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    (cert, key)
}

fn curl(site: &Site, cert: &str, arguments: &[&str]) -> (bool, String) {
    let url = format!("https://localhost:{}", site.address.port());
    let mut all: Vec<String> = vec![
        "--silent".into(),
        "--show-error".into(),
        "--cacert".into(),
        cert.into(),
    ];
    all.extend(arguments.iter().map(|text| text.replace("URL", &url)));
    let out = Command::new("curl").args(all).output().unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), text)
}

#[test]
fn https_serves_with_a_certificate_that_can_be_changed_while_it_runs() {
    let home = Home::new();
    let (cert, key) = certificate(&home, "first");
    let (next_cert, next_key) = certificate(&home, "second");
    let site = Site::at(
        home,
        OPEN,
        &[
            "--listen",
            "https://127.0.0.1:0",
            "--cert",
            &cert,
            "--key",
            &key,
            "--host",
            "localhost",
        ],
    );
    let body = json!({"account": "alice", "passphrase": PASSPHRASE, "totp": false}).to_string();
    let (done, told) = curl(
        &site,
        &cert,
        &["-i", "-H", JSON, "-d", &body, "URL/v1/account.register"],
    );
    assert!(
        done && told.starts_with("HTTP/1.1 200") && told.contains("akms_"),
        "{told}"
    );
    assert!(
        told.to_lowercase()
            .contains("strict-transport-security: max-age="),
        "{told}"
    );
    // Plaintext on this port, old TLS, and another certificate's trust: nothing is served.
    assert_eq!(site.ask("GET", "/healthz", &[], "").status, 0);
    let (done, _) = curl(&site, &cert, &["--tls-max", "1.1", "URL/healthz"]);
    assert!(!done);
    let (done, _) = curl(&site, &next_cert, &["URL/healthz"]);
    assert!(!done, "control: curl looks at the certificate");
    // Half of a pair goes in: the old one goes on. Then the other half, and a signal.
    let trusted = site
        .home
        .dir
        .path()
        .join("trusted.pem")
        .display()
        .to_string();
    std::fs::copy(&cert, &trusted).unwrap();
    std::fs::copy(&next_cert, &cert).unwrap();
    site.agent.signal(Signal::SIGHUP);
    let (done, told) = curl(&site, &trusted, &["URL/readyz"]);
    assert!(done, "{told}");
    std::fs::copy(&next_key, &key).unwrap();
    site.agent.signal(Signal::SIGHUP);
    eventually("the new certificate", || {
        curl(&site, &next_cert, &["URL/healthz"]).0
    });
    let (done, _) = curl(&site, &trusted, &["URL/healthz"]);
    assert!(!done, "the old one is not shown any more");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let (cert, key) = certificate(&home, "loose");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = home.command();
    command.args([
        "serve",
        "--listen",
        "https://127.0.0.1:0",
        "--cert",
        &cert,
        "--key",
        &key,
    ]);
    let failure = launch(command).unwrap_err();
    assert!(
        failure.stderr.contains("others may read the key"),
        "{}",
        failure.stderr
    );
}

#[test]
fn a_port_that_is_taken_leaves_no_socket_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    let mut command = home.command();
    let listen = format!("http://{}", taken.local_addr().unwrap());
    command.args(["serve", "--listen", &listen]);
    let failure = launch(command).unwrap_err();
    let address = taken.local_addr().unwrap().to_string();
    for said in ["listen: another program listens at this address", &address] {
        assert!(failure.stderr.contains(said), "{}", failure.stderr);
    }
    assert!(!home.socket().exists());
}
