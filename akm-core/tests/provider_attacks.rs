//! Attacks on addresses that a user writes down, on keys in addresses, and on the connection itself, where a
//! system tool has to look on: `strace` for what is connected to, `openssl` for a TLS that is too old.
//!
//! Targets and cases are `vectors/ssrf_targets.json` (written for akm, free to use).

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[allow(dead_code, reason = "not every user plays all")]
#[path = "support/provider_server.rs"]
mod provider_server;
mod support;
#[allow(dead_code, reason = "not every user needs it")]
#[path = "support/tls.rs"]
mod tls;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;

use akm_core::protocol::{
    AuditList, BalanceOutcome, KeyList, Op, Outcome, ProviderBalance, ProviderTest,
};
use akm_core::provider::{
    self, BalanceOf, BaseUrl, Catalogue, Destinations, Outbound, Provider, Resolve, TestReport,
    balance, read_own,
};
use akm_core::{Kind, Secret};
use provider_server::{ProviderServer, Received, Reply};
use serde_json::{Value, json};
use support::{Bench, kind};

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

/// The listed targets, as they are and over https where they say http, and the spellings that parsers have
/// been fooled by. The two names among them are judged when they are resolved.
fn targets() -> Vec<String> {
    let mut all = texts(&vectors()["must_refuse"]);
    let names = ["api.openai.com", "localtest.me"];
    let secure: Vec<String> = all
        .iter()
        .filter_map(|target| target.strip_prefix("http://"))
        .filter(|rest| !names.contains(&rest.trim_end_matches('/')))
        .map(|rest| format!("https://{rest}"))
        .collect();
    all.extend(secure);
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "0",
        "0x0",
        "127.0.0.1.",
        "localhost.",
        "127.0.0.1:443",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[2001:db8::1]",
        "100.64.0.1",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "metadata.google.internal",
        "router",
        "printer.local",
        "１２７.0.0.1",
        "127。0。0。1",
        "api.openai.com@127.0.0.1",
        "api.openai.com:443@127.0.0.1",
        "127.0.0.1#@api.openai.com",
        "127.0.0.1?@api.openai.com",
        "api.openai.com\\@127.0.0.1",
        "api.openai.com%2f@127.0.0.1",
        "api.openai.com:99999",
        "api.openai.com:0",
        "api.openai.com:",
        "аpi.openai.com",
    ] {
        all.push(format!("https://{host}/"));
    }
    all
}

fn record() -> Value {
    json!({"id": "mine", "display_name": "Mine", "display_name_zh": "Mine", "status": "active", "kind": "gateway",
        "endpoints": [{"base_url": "https://gw.example.com", "region": "global", "protocol": "openai-chat",
            "also": ["https://gw2.example.com"]}],
        "auth": {"style": "bearer"}, "env": {"primary": "MINE_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "https://gw.example.com/models", "proves_key": true, "cost": "none", "verified": false},
        "models_list": {"url": "https://gw.example.com/models", "array": "/data", "id_field": "id", "public": false, "verified": false},
        "balance": [{"url": "https://gw.example.com/left", "verified": false, "reads": [{"kind": "prepaid", "of": "account",
            "currency": {"is": "USD"}, "amounts": [{"role": "available", "at": "/left"}]}]}],
        "console_url": "https://gw.example.com/keys", "docs_url": "https://gw.example.com/docs"})
}

#[test]
fn e07_no_address_that_a_user_writes_is_one_of_the_targets() {
    let targets = targets();
    assert!(targets.len() > 100, "{}", targets.len());
    assert!(read_own(&record().to_string()).is_ok(), "the control");
    let bench = Bench::initialized();
    for target in &targets {
        // As the address of a key.
        let request = json!({"name": "openai/x", "secret": KEY, "base_url": target}).to_string();
        let refused = bench.raw(Op::KeyAdd, &request).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (Kind::InvalidInput, Some("base_url")),
            "{target}"
        );
        // As every address of a record.
        for place in [
            "/endpoints/0/base_url",
            "/endpoints/0/also/0",
            "/test/url",
            "/models_list/url",
            "/balance/0/url",
            "/console_url",
            "/docs_url",
        ] {
            let mut record = record();
            *record.pointer_mut(place).unwrap() = json!(target);
            let request = json!({ "record": record }).to_string();
            let refused = bench.raw(Op::ProviderAdd, &request).unwrap_err();
            assert_eq!(refused.field(), Some("record"), "{place} {target}");
            assert!(!format!("{refused:?}").contains(target.as_str()), "{place}");
        }
    }
    assert!(bench.call(KeyList::default()).unwrap().keys.is_empty());
}

#[test]
fn e07_loopback_by_number_with_a_port_can_be_forbidden() {
    let server = ProviderServer::start(|_| Reply::json(200, r#"{"data": []}"#)).unwrap();
    let base_url = format!("http://127.0.0.1:{}/v1", server.port());
    let here = Outbound::default();
    assert!(
        here.loopback,
        "a machine of one's own may have a local server"
    );
    let hosted = Outbound {
        loopback: false,
        ..Outbound::default()
    };
    let report = ask(&hosted, &base_url);
    assert_eq!(report.outcome, Outcome::Unreachable);
    assert!(
        report.detail.contains("not a public one"),
        "{}",
        report.detail
    );
    assert_eq!(server.connections(), 0);
    assert_eq!(ask(&here, &base_url).outcome, Outcome::Valid, "the control");
}

/// Answers of our own.
struct Fixed(Vec<IpAddr>, bool);

impl Resolve for Fixed {
    fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }

    fn lets_a_test_server_through(&self, address: IpAddr) -> bool {
        self.1 && address.is_loopback()
    }
}

fn ask(outbound: &Outbound, base_url: &str) -> TestReport {
    let provider = Catalogue::builtin().provider("openai");
    let url = BaseUrl::parse(base_url, "base_url").unwrap();
    let destinations = Destinations::of(provider, Some(&url));
    let secret = Secret::new(KEY.to_owned());
    provider::test(outbound, provider, &destinations, Some(base_url), &secret)
}

/// Whether a tool is there; a person may go without, a test run of the project may not.
fn has(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "{tool} is missing"
    );
    if !found {
        eprintln!("skipped: {tool} is missing");
    }
    found
}

/// Runs in a process of its own, below, while strace looks on.
#[test]
#[ignore = "started by e07_strace_sees_no_connection_to_what_is_refused"]
#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn while_strace_looks_on() {
    let port = std::env::var("AKM_TEST_PORT").unwrap();
    let base_url = format!("https://api.good.test:{port}/v1");
    let asked_for = |answers: &[&str], lets_loopback_through| {
        let answers = answers.iter().filter_map(|ip| ip.parse().ok()).collect();
        let outbound = Outbound {
            ca_file: Some(tls::authority()),
            resolver: Arc::new(Fixed(answers, lets_loopback_through)),
            ..Outbound::default()
        };
        ask(&outbound, &base_url)
    };
    for case in vectors()["dns_cases"].as_array().unwrap() {
        for answers in case["answers"].as_array().unwrap() {
            let answers = texts(answers);
            let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
            let report = asked_for(&answers, false);
            assert!(
                report.detail.contains("not a public one"),
                "{answers:?}: {}",
                report.detail
            );
        }
    }
    for target in texts(&vectors()["must_refuse"]) {
        let anywhere = Destinations {
            origins: vec![target.trim_end_matches('/').to_owned()],
            header: "authorization".into(),
        };
        let secret = Secret::new(KEY.to_owned());
        let provider = Catalogue::builtin().provider("openai");
        let report = provider::test(
            &Outbound::default(),
            provider,
            &anywhere,
            Some(&target),
            &secret,
        );
        assert_eq!(report.outcome, Outcome::Unverifiable, "{target}");
    }
    if std::env::var_os("AKM_TEST_CONTROL").is_some() {
        assert_eq!(asked_for(&["127.0.0.1"], true).outcome, Outcome::Valid);
    }
    println!("all were asked for");
}

#[test]
fn e07_strace_sees_no_connection_to_what_is_refused() {
    if !has("strace") {
        return;
    }
    let list = |_: &Received| Reply::json(200, r#"{"data": []}"#);
    let server = ProviderServer::start_inside(tls::with("good"), list).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let connections = |control: bool| -> Vec<String> {
        let log = folder.path().join("strace");
        let mut command = Command::new("strace");
        command
            .args([
                "-f",
                "-qq",
                "-e",
                "trace=connect,sendto,sendmsg,sendmmsg",
                "-o",
            ])
            .arg(&log)
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "while_strace_looks_on",
                "--ignored",
                "--nocapture",
            ])
            .env("AKM_TEST_PORT", server.port().to_string());
        if control {
            command.env("AKM_TEST_CONTROL", "1");
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("all were asked for"), "{said} {output:?}");
        let log = std::fs::read_to_string(log).unwrap();
        let outward = log
            .lines()
            .filter(|line| line.contains("sa_family=AF_INET"));
        outward.map(str::to_owned).collect()
    };
    assert_eq!(connections(false), Vec::<String>::new());
    // The control: one that is let through is seen, and it is the only one.
    let seen = connections(true);
    let port = format!("htons({})", server.port());
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        seen[0].contains("connect(") && seen[0].contains(&port),
        "{seen:?}"
    );
    assert_eq!(server.received().len(), 1);
}

#[test]
fn e08_a_balance_follows_no_redirect_either() {
    let list = |_: &Received| Reply::json(200, r#"{"left": 1}"#);
    let second = ProviderServer::start(list).unwrap();
    let there = format!("http://127.0.0.1:{}/left", second.port());
    for header in texts(&vectors()["credential_headers"]) {
        let mut record = record();
        record["auth"] = json!({"style": "header", "header": header});
        record["balance"][0]["url"] = json!("{base_url}/left");
        let provider: Provider = serde_json::from_value(record).unwrap();
        let ask = |base_url: &str| {
            let url = BaseUrl::read(base_url).unwrap();
            balance(
                &Outbound::default(),
                &BalanceOf {
                    provider: Some(&provider),
                    destinations: &Destinations::of(Some(&provider), Some(&url)),
                    base_url: Some(base_url),
                    team: None,
                    secret: &Secret::new(KEY.to_owned()),
                    now: "2026-11-22T00:00:00Z".parse().unwrap(),
                },
            )
        };
        for status in [301, 302, 303, 307, 308] {
            let location = there.clone();
            let first =
                ProviderServer::start(move |_| Reply::json(status, "").with("location", &location))
                    .unwrap();
            let report = ask(&format!("http://127.0.0.1:{}", first.port()));
            assert_eq!(report.outcome, BalanceOutcome::Unreachable);
            assert!(report.detail.contains("redirect"), "{}", report.detail);
            let received = first.received();
            assert_eq!(received.len(), 1);
            let carried = received[0].header(&header).unwrap();
            assert!(carried.contains(KEY), "the key did go to its own host");
        }
    }
    assert_eq!(second.connections(), 0);
    // The control: asked itself, the second listener does see the key.
    let mut record = record();
    record["balance"][0]["url"] = json!("{base_url}/left");
    let provider: Provider = serde_json::from_value(record).unwrap();
    let direct = format!("http://127.0.0.1:{}", second.port());
    let url = BaseUrl::read(&direct).unwrap();
    let report = balance(
        &Outbound::default(),
        &BalanceOf {
            provider: Some(&provider),
            destinations: &Destinations::of(Some(&provider), Some(&url)),
            base_url: Some(&direct),
            team: None,
            secret: &Secret::new(KEY.to_owned()),
            now: "2026-11-22T00:00:00Z".parse().unwrap(),
        },
    );
    assert_eq!(report.outcome, BalanceOutcome::Known, "{}", report.detail);
    assert_eq!(second.received().len(), 1);
}

#[test]
fn e10_a_provider_that_takes_keys_in_the_address_gets_none_and_nothing_shows_one() {
    let server = ProviderServer::start(|_| Reply::json(200, r#"{"data": []}"#)).unwrap();
    let base_url = format!("http://127.0.0.1:{}", server.port());
    let bench = Bench::initialized();
    let mut said = String::new();
    let mut mine = record();
    mine["auth"] = json!({"style": "query", "param": "key"});
    mine["endpoints"] =
        json!([{"base_url": base_url, "region": "local", "protocol": "openai-chat"}]);
    mine["test"]["url"] = json!("{base_url}/models");
    mine["balance"][0]["url"] = json!("{base_url}/left");
    bench
        .raw(Op::ProviderAdd, &json!({ "record": mine }).to_string())
        .unwrap();
    let added = bench.add("mine/work", KEY).unwrap();
    assert!(
        added.hosts.is_empty() && added.header.is_none(),
        "it is sealed for nowhere"
    );
    let tested = bench
        .call(ProviderTest {
            name: "mine/work".into(),
        })
        .unwrap();
    assert_eq!(tested.outcome, Outcome::Unverifiable);
    assert!(
        tested.detail.contains("in the address"),
        "{}",
        tested.detail
    );
    let left = bench
        .call(ProviderBalance {
            name: "mine/work".into(),
        })
        .unwrap();
    assert_eq!(left.outcome, BalanceOutcome::Unsupported);
    said.push_str(&format!("{added:?} {tested:?} {left:?}"));
    assert_eq!(server.connections(), 0);

    // A key pasted into an address is not taken, or (in a query of one's own record) not repeated.
    for address in [
        format!("https://gw.example.com/v1?key={KEY}"),
        format!("https://{KEY}@gw.example.com/v1"),
        format!("https://user:{KEY}@gw.example.com/v1"),
        format!("https://gw.example.com/v1#{KEY}"),
    ] {
        let request =
            json!({"name": "openai/x", "secret": "other", "base_url": address}).to_string();
        said.push_str(&format!(
            "{:?}",
            bench.raw(Op::KeyAdd, &request).unwrap_err()
        ));
        let mut record = record();
        record["endpoints"][0]["base_url"] = json!(address);
        let request = json!({ "record": record }).to_string();
        said.push_str(&format!(
            "{:?}",
            bench.raw(Op::ProviderAdd, &request).unwrap_err()
        ));
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut pasted = record();
    pasted["id"] = json!("pasted");
    pasted["test"]["url"] = json!(format!("http://{nobody}/models?key={KEY}"));
    bench
        .raw(Op::ProviderAdd, &json!({ "record": pasted }).to_string())
        .unwrap();
    bench.add("pasted", "another-secret-0123456789").unwrap();
    let tested = bench
        .call(ProviderTest {
            name: "pasted".into(),
        })
        .unwrap();
    assert_eq!(tested.outcome, Outcome::Unreachable, "{}", tested.detail);
    said.push_str(&format!("{tested:?}"));

    let events = bench.call(AuditList::default()).unwrap();
    assert!(
        events
            .events
            .iter()
            .any(|event| event.action == "provider.test"),
        "the control"
    );
    said.push_str(&serde_json::to_string(&events).unwrap());
    assert!(!said.contains("canary"), "{said}");
    for entry in std::fs::read_dir(bench.home.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(KEY.len())
                .any(|window| window == KEY.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    assert_eq!(kind(bench.get("nobody")), Kind::NotFound);
}

/// `openssl s_server` that serves `v1/models` in one version of TLS; says the port and what it printed.
fn openssl_serves(version: &str, then: impl FnOnce(u16)) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("v1")).unwrap();
    std::fs::write(folder.path().join("v1/models"), r#"{"data": []}"#).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            version,
            "-cipher",
            "ALL:@SECLEVEL=0",
            "-WWW",
            "-accept",
        ])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-cert")
        .arg(tls::fixture("good.pem"))
        .arg("-key")
        .arg(tls::fixture("good.key.pem"))
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("ACCEPT") {
        assert!(
            out.read_line(&mut said).unwrap() > 0,
            "openssl does not serve: {said}"
        );
    }
    then(port);
    server.kill().unwrap();
    server.wait().unwrap();
    out.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn e17_a_provider_that_speaks_an_old_tls_gets_no_key() {
    if !has("openssl") {
        return;
    }
    let outbound = Outbound {
        ca_file: Some(tls::authority()),
        resolver: Arc::new(Fixed(vec!["127.0.0.1".parse().unwrap()], true)),
        ..Outbound::default()
    };
    for version in ["-tls1_1", "-tls1"] {
        let said = openssl_serves(version, |port| {
            // The control: with a client as old as itself this server does talk.
            let mut client = Command::new("openssl")
                .args([
                    "s_client",
                    version,
                    "-cipher",
                    "ALL:@SECLEVEL=0",
                    "-connect",
                ])
                .arg(format!("127.0.0.1:{port}"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            client
                .stdin
                .take()
                .unwrap()
                .write_all(b"GET /v1/models HTTP/1.0\r\n\r\n")
                .unwrap();
            let output = client.wait_with_output().unwrap();
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                shown.contains("TLSv1"),
                "openssl speaks no old TLS: {shown}"
            );
            let report = ask(&outbound, &format!("https://api.good.test:{port}/v1"));
            assert_eq!(report.outcome, Outcome::Unreachable, "{version}");
            assert!(
                report.detail.contains("TLS"),
                "{version}: {}",
                report.detail
            );
        });
        assert!(!said.contains(KEY));
    }
    // The control: the same server, a TLS of today.
    openssl_serves("-tls1_2", |port| {
        let report = ask(&outbound, &format!("https://api.good.test:{port}/v1"));
        assert_eq!(report.outcome, Outcome::Valid, "{}", report.detail);
    });
}
