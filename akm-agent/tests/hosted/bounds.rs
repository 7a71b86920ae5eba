//! Clients that are slow, silent, greedy or many: bounded, and nobody else waits for them.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::JSON;
use super::hosted_support::{Answer, OPEN, Site};
use super::support::PASSPHRASE;

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
