//! Guesses over real connections (B05 of the attack programme), and what a person is told where an account was taken out of the
//! vault's file.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Home, PASSPHRASE, clean, request};

#[test]
fn b05_of_five_hundred_connections_released_together_five_are_tried() {
    const CONNECTIONS: usize = 500;
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.lock();
    let body = json!({"account": "default", "passphrase": "wrong"}).to_string();
    let request = request("agent.unlock", &body);
    let (first, rest) = request.split_at(request.len() - 1);
    let barrier = Barrier::new(CONNECTIONS);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (agent, barrier) = (&agent, &barrier);
                let client = move || {
                    let mut stream = UnixStream::connect(&agent.socket).unwrap();
                    let patience = Some(Duration::from_secs(120));
                    stream.set_read_timeout(patience).unwrap();
                    // All but the last byte: every request is there when they are let go.
                    stream.write_all(first.as_bytes()).unwrap();
                    barrier.wait();
                    stream.write_all(rest.as_bytes()).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    answer
                };
                let thread = std::thread::Builder::new().stack_size(256 * 1024);
                thread.spawn_scoped(scope, client).unwrap()
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let of = |kind: &str| {
        let kind = format!("\"kind\":\"{kind}\"");
        answers
            .iter()
            .filter(|answer| answer.contains(&kind))
            .count()
    };
    assert_eq!(of("wrong_credentials"), 5, "{:?}", answers.first());
    // Who finds no place among those that wait is told so, and was not tried either.
    assert_eq!(of("rate_limited") + of("unavailable"), CONNECTIONS - 5);
    assert!(of("rate_limited") > 0, "control: the counter refused");
}

fn akm(home: &Home, arguments: &[&str]) -> Output {
    let mut command = clean(Path::new(env!("CARGO_BIN_EXE_akm")));
    command
        .args(arguments)
        .env("AKM_HOME", home.path())
        .env("AKM_LANG", "en")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let typed = format!("{PASSPHRASE}\n");
    // One that asks for nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// The doctor's check of the accounts, if it has one.
fn accounts(home: &Home) -> Option<Value> {
    let (out, err) = said(&akm(home, &["doctor", "--json"]));
    let all: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let checks = all["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == "accounts")
        .cloned()
}

#[test]
fn a_vault_that_lost_its_accounts_is_told_from_one_that_never_had_any() {
    let home = Home::new();
    let unlock = ["unlock", "--passphrase-stdin"];
    let agent = home.start();
    let (_, err) = said(&akm(&home, &unlock));
    assert!(
        err.contains("no account yet") && err.contains("akm init"),
        "control: {err}"
    );
    assert_eq!(accounts(&home), None);
    assert!(agent.stop().success());
    let vault = home.path().join("vault.db");
    let empty = std::fs::read(&vault).unwrap();

    let agent = home.start();
    agent.register();
    assert!(agent.stop().success());
    std::fs::write(&vault, empty).unwrap();
    let _agent = home.start();
    let output = akm(&home, &unlock);
    let (_, err) = said(&output);
    assert!(!output.status.success());
    assert!(
        err.contains("an account that this machine has seen is missing"),
        "{err}"
    );
    assert!(err.contains("akm backup restore"), "{err}");
    let init = akm(&home, &["init", "--no-totp", "--passphrase-stdin"]);
    assert!(!init.status.success());
    assert!(
        said(&init).1.contains("is missing from the vault"),
        "{init:?}"
    );
    let (_, err) = said(&akm(&home, &["status"]));
    assert!(
        err.contains("akm doctor") && !err.contains("akm init"),
        "{err}"
    );
    let check = accounts(&home).expect("the doctor finds it");
    assert_eq!(check["state"], "bad");
    assert!(check["found"].as_str().unwrap().contains('1'), "{check}");
}
