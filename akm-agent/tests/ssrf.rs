//! What the running agent connects to, as `strace` sees it: nothing that is refused, and what is allowed.
//!
//! The targets are `akm-core/tests/vectors/ssrf_targets.json` (written for akm, free to use).

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use akm_core::client::Client;
use akm_core::protocol::{AccountRegister, KeyAdd, Outcome, ProviderAdd, ProviderTest};
use akm_core::{Kind, Secret};
use serde_json::{Value, json};
use support::{Home, PASSPHRASE, launch};

fn key(name: &str, base_url: &str) -> KeyAdd {
    let request = json!({"name": name, "secret": "sk-canary-0123456789", "base_url": base_url});
    serde_json::from_value(request).unwrap()
}

#[test]
fn e07_the_agent_connects_to_nothing_that_is_refused() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        eprintln!("skipped: strace is missing");
        return;
    }
    let home = Home::new();
    let log = home.dir.path().join("strace");
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
        .arg(env!("CARGO_BIN_EXE_akm-agent"))
        .arg("-D")
        .env("AKM_HOME", home.path());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if (text.starts_with("AKM_") && text != "AKM_HOME") || text.starts_with("XDG_") {
            command.env_remove(&name);
        }
    }
    let mut tracer = launch(command).expect("the agent starts under strace");
    let mut client = Client::connect(Some(&home.socket())).unwrap();
    client
        .call(&AccountRegister {
            account: "default".into(),
            passphrase: Secret::new(PASSPHRASE.into()),
            totp: Some(false),
            invitation: None,
        })
        .unwrap();

    let vectors: Value = serde_json::from_str(include_str!(
        "../../akm-core/tests/vectors/ssrf_targets.json"
    ))
    .unwrap();
    let targets = vectors["must_refuse"].as_array().unwrap();
    assert_eq!(targets.len(), 32);
    for target in targets {
        let target = target.as_str().unwrap();
        let refused = client.call(&key("openai/x", target)).unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidInput, "{target}");
        let record = json!({"id": "mine", "display_name": "Mine", "display_name_zh": "Mine", "status": "active",
            "kind": "gateway", "auth": {"style": "bearer"}, "env": {"primary": "MINE"}, "verified": false,
            "test": {"method": "GET", "url": target, "proves_key": true, "cost": "none", "verified": false}});
        let record = record.as_object().unwrap().clone();
        let refused = client.call(&ProviderAdd { record }).unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidInput, "{target}");
        let test = ProviderTest {
            name: "openai/x".into(),
        };
        assert_eq!(client.call(&test).unwrap_err().kind(), Kind::NotFound);
    }
    let outward = || -> Vec<String> {
        let log = std::fs::read_to_string(&log).unwrap();
        let outward = log
            .lines()
            .filter(|line| line.contains("sa_family=AF_INET"));
        outward.map(str::to_owned).collect()
    };
    assert_eq!(outward(), Vec::<String>::new());

    // The control: an address that is allowed, in the same agent, under the same eye.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let count = stream.read(&mut head).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"data\":[]}")
            .unwrap();
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    client
        .call(&key("openai/x", &format!("http://127.0.0.1:{port}/v1")))
        .unwrap();
    let tested = client
        .call(&ProviderTest {
            name: "openai/x".into(),
        })
        .unwrap();
    assert_eq!(tested.outcome, Outcome::Valid, "{}", tested.detail);
    assert!(server.join().unwrap().contains("sk-canary-0123456789"));
    let seen = outward();
    assert!(!seen.is_empty(), "strace sees what is connected to");
    let there = format!("htons({port})");
    assert!(seen.iter().all(|line| line.contains(&there)), "{seen:?}");

    // The agent's own process, a child of strace, ends by itself; strace follows.
    let pid = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", tracer.id())).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.split_whitespace().next().unwrap().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    tracer.wait().unwrap();
}
