//! What sessions cannot say of the command line: bytes, descriptors, processes.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use cli_support::{Home, PASSPHRASE, code, run, stderr, stdout};
use serde_json::Value;

const SECRET: &str = "sk-canary-4f1d9b7ce05a83-wxyz";

/// `secret_value_cases.json`: what is stored comes back byte for byte, what is not is refused by its field.
#[test]
fn secrets_are_kept_to_the_byte_or_refused() {
    let file: Value =
        serde_json::from_str(include_str!("cli_support/secret_value_cases.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let home = Home::ready();
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let value: Vec<u8> = if let Some(text) = case["value"].as_str() {
            text.as_bytes().to_vec()
        } else if let Some(hex) = case["raw_hex"].as_str() {
            let digits: Vec<char> = hex.chars().collect();
            let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
            digits.chunks(2).map(byte).collect()
        } else {
            let repeat = &case["repeat"];
            let count = usize::try_from(repeat["count"].as_u64().unwrap()).unwrap();
            repeat["char"].as_str().unwrap().repeat(count).into_bytes()
        };
        let name = format!("openai/{id}");
        let mut input = value.clone();
        input.push(b'\n');
        let added = run(
            &mut home.akm_command(&["add", &name, "--secret-stdin", "--json"]),
            &input,
        );
        let shown = home.akm(&["get", &name], "");
        match code(&added) {
            0 => {
                assert_eq!(code(&shown), 0, "{id}");
                assert_eq!(shown.stdout, input, "{id}");
                assert!(
                    !stdout(&added).contains(std::str::from_utf8(&value).unwrap()),
                    "{id}"
                );
                stored.push(id);
            }
            1 => {
                let error: Value = serde_json::from_slice(&added.stderr).unwrap();
                assert_eq!(error["kind"], "invalid_input", "{id}");
                assert_eq!(error["field"], "secret", "{id}");
                assert_eq!(code(&shown), 1, "{id}: nothing may be stored");
                refused.push(id);
            }
            other => panic!("{id}: exit {other}: {}", stderr(&added)),
        }
    }
    assert_eq!(
        stored,
        [
            "quote",
            "shell",
            "percent",
            "html",
            "csv-formula",
            "json-break"
        ]
    );
    assert_eq!(stored.len() + refused.len(), cases.len());
}

#[test]
fn one_line_end_is_stripped_and_a_second_line_is_refused() {
    let home = Home::ready();
    for (name, input) in [
        ("lf", "sk-value\n"),
        ("crlf", "sk-value\r\n"),
        ("none", "sk-value"),
    ] {
        let name = format!("openai/{name}");
        assert_eq!(code(&home.akm(&["add", &name, "--secret-stdin"], input)), 0);
        assert_eq!(stdout(&home.akm(&["get", &name], "")), "sk-value\n");
    }
    for input in [
        "sk-value\nsecond\n",
        "sk-value\n\n",
        "sk-value\r\r\n",
        "\n",
        "",
    ] {
        let output = home.akm(&["add", "openai/two", "--secret-stdin"], input);
        assert_eq!(code(&output), 1, "{input:?}");
        assert!(stderr(&output).starts_with("error: secret: "), "{output:?}");
        assert!(!stderr(&output).contains("sk-value"));
    }
    assert_eq!(code(&home.akm(&["get", "openai/two"], "")), 1);
}

/// A writer that keeps its end open after the line is not waited for.
#[test]
fn a_line_is_enough_even_if_the_pipe_stays_open() {
    let home = Home::ready();
    let mut child = home
        .akm_command(&["add", "openai", "--secret-stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{SECRET}").unwrap();
    // `stdin` is still open here.
    assert!(child.wait().unwrap().success());
    drop(stdin);
    assert_eq!(
        stdout(&home.akm(&["get", "openai"], "")),
        format!("{SECRET}\n")
    );
}

#[test]
fn a_passphrase_comes_from_a_descriptor() {
    let home = Home::ready();
    home.akm(&["lock"], "");
    let unlock = |passphrase: &str| {
        let script = format!(
            "printf '%s\\n' '{passphrase}' | {{ exec 7<&0; exec </dev/null; exec \"$0\" unlock --passphrase-fd 7; }}"
        );
        run(
            home.command("setsid")
                .args(["--wait", "sh", "-c", &script, env!("CARGO_BIN_EXE_akm")]),
            b"",
        )
    };
    assert_eq!(code(&unlock("not the passphrase")), 1);
    let output = unlock(PASSPHRASE);
    assert_eq!(code(&output), 0, "{output:?}");
    let closed = home.akm(&["unlock", "--passphrase-fd", "99"], "");
    assert_eq!(code(&closed), 64, "{closed:?}");
}

#[test]
fn without_a_terminal_the_program_of_akm_askpass_asks() {
    let home = Home::ready();
    home.akm(&["lock"], "");
    let script = |name: &str, body: &str| {
        let path = home.file(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        path
    };
    let unlock = |program| {
        let mut command = home.akm_command(&["unlock"]);
        run(command.env("AKM_ASKPASS", program), b"")
    };
    let cancelled = script("cancel", "echo half-typed; exit 1");
    let output = unlock(cancelled);
    assert_eq!(code(&output), 1);
    assert!(!stderr(&output).contains("half-typed"));
    assert_eq!(code(&unlock(home.file("missing"))), 1);
    let asks = script("ask", &format!("echo \"$1\" > asked; echo '{PASSPHRASE}'"));
    let output = unlock(asks);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(
        std::fs::read_to_string(home.file("asked")).unwrap(),
        "passphrase: \n"
    );
}

/// As a script does it that computes the code from what `init` printed, in one run.
#[test]
fn init_takes_the_first_code_from_the_next_line() {
    let home = Home::empty();
    let mut child = home
        .akm_command(&["init", "--passphrase-stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{PASSPHRASE}").unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let registered: Value = serde_json::from_str(&line).unwrap();
    let secret = registered["totp_secret"].as_str().unwrap().to_owned();
    let totp_code = |ahead| {
        let secret = totp_rs::Secret::try_from_base32(&secret).unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
        totp.generate(now + ahead).to_string()
    };
    let first = totp_code(0);
    writeln!(stdin, "{first}").unwrap();
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the result is one line");

    home.akm(&["lock"], "");
    let unlock = |more: &[&str]| {
        let arguments = [&["unlock", "--passphrase-stdin"], more].concat();
        home.akm(&arguments, &format!("{PASSPHRASE}\n"))
    };
    // Nobody to ask for a code: told at once, not waited for.
    assert_eq!(code(&unlock(&[])), 64);
    assert_eq!(code(&unlock(&["--totp", &first])), 1, "a code is good once");
    let output = unlock(&["--totp", &totp_code(30)]);
    assert_eq!(code(&output), 0, "{output:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let home = Home::ready();
    for number in 0..3 {
        home.add(&format!("openai/{number}"), SECRET);
    }
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["log"],
        &["completions", "zsh"],
        &["get", "openai/0"],
    ] {
        // Away before the first byte, however quickly the command writes.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = home
            .akm_command(arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert_eq!(code(&output), 141, "{arguments:?}");
    }
}

/// Names and notes cannot carry control characters; what an agent sends is escaped all the same (unit tests).
#[test]
fn i06_no_name_forges_a_line() {
    let home = Home::ready();
    for name in [
        "openai/a\nb",
        "openai/\u{1b}[31m",
        "openai/\u{202e}x",
        "openai/a\u{9b}b",
    ] {
        let output = home.akm(&["add", name, "--secret-stdin"], &format!("{SECRET}\n"));
        assert_eq!(code(&output), 1, "{name:?}");
        for bad in ['\u{1b}', '\u{202e}', '\u{9b}'] {
            assert!(!stderr(&output).contains(bad));
        }
    }
    assert_eq!(stdout(&home.akm(&["ls", "--json"], "")), "{\"keys\":[]}\n");
}

/// Who names a vault gets that vault's keys or none.
#[test]
fn another_vault_than_the_agents_is_a_conflict() {
    let home = Home::with_key("openai", SECRET);
    let get = |vault: std::path::PathBuf| {
        let mut command = home.akm_command(&["get", "openai", "--json"]);
        run(command.env("AKM_VAULT", vault), b"")
    };
    assert_eq!(code(&get(home.file("vault.db"))), 0);
    let other = get(home.file("other.db"));
    assert_eq!(code(&other), 1);
    let error: Value = serde_json::from_slice(&other.stderr).unwrap();
    assert_eq!(error["kind"], "conflict");
    assert!(other.stdout.is_empty());
    // The doctor shows the difference, rather than fail by it.
    let doctor = |vault: &str| {
        let mut command = home.akm_command(&["doctor", "--json"]);
        let output = run(command.env("AKM_VAULT", home.file(vault)), b"");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = found["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "agent's vault");
        check.unwrap()["state"].clone()
    };
    assert_eq!(doctor("vault.db"), "ok");
    assert_eq!(doctor("other.db"), "bad");
}

/// Answers each request with the next of these bodies, as an agent would that is not to be trusted.
fn pretend_agent(home: &mut Home, answers: Vec<String>) -> std::thread::JoinHandle<Vec<String>> {
    home.pretended = true;
    let listener = UnixListener::bind(home.file("agent.sock")).unwrap();
    std::thread::spawn(move || {
        let mut requests = Vec::new();
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        for answer in answers {
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            requests.push(String::from_utf8(body).unwrap());
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
        requests
    })
}

fn key(name: &str) -> Value {
    serde_json::json!({
        "name": name, "provider": "openai", "label": "x", "model": null, "categories": ["a\u{1b}[2J"],
        "status": "active", "preview": "sk\u{9b}31m", "env": null, "use_only": false, "hosts": [], "header": "",
        "notes": "one\ntwo\u{202e}", "version": 1, "created_at": "2026-01-01T00:00:00Z\r\n",
        "updated_at": "2026-01-01T00:00:00Z", "last_used_at": null, "expires_at": null,
    })
}

fn ok(result: &Value) -> String {
    serde_json::json!({ "ok": true, "result": result }).to_string()
}

fn assert_harmless(text: &str) {
    let harmful = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(harmful), "{text:?}");
}

#[test]
fn every_page_is_listed_sorted_and_harmless() {
    let pages = |home: &mut Home| {
        pretend_agent(
            home,
            vec![
                ok(
                    &serde_json::json!({ "keys": [key("openai/c"), key("openai/a")], "next": "page 2" }),
                ),
                ok(
                    &serde_json::json!({ "keys": [key("openai/b\nforged/line")], "next": "page 3" }),
                ),
                ok(&serde_json::json!({ "keys": [key("openai/0")] })),
            ],
        )
    };
    let mut home = Home::empty();
    let agent = pages(&mut home);
    let output = home.akm(&["ls"], "");
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    let names: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "openai/0",
            "openai/a",
            "openai/b\\u{a}forged/line",
            "openai/c"
        ]
    );
    assert_harmless(&text);
    let requests = agent.join().unwrap();
    assert!(
        requests[1].contains("page 2") && requests[2].contains("page 3"),
        "{requests:?}"
    );

    let mut home = Home::empty();
    let agent = pages(&mut home);
    let text = stdout(&home.akm(&["ls", "--json"], ""));
    agent.join().unwrap();
    assert_harmless(&text);
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 4);
    assert_eq!(
        listed["keys"][0]["preview"], "sk\u{9b}31m",
        "escaped, not changed"
    );
}

#[test]
fn i06_whatever_an_agent_answers_is_shown_harmless() {
    let event = serde_json::json!({
        "seq": 1, "time": "t\n", "action": "key.get\u{1b}[1A", "account": "a\rb", "key": "k\u{202e}",
        "caller": { "uid": 0, "pid": 1, "exe": "/bin/\u{1b}]0;x\u{7}sh\nforged" }, "outcome": "ok\u{85}",
    });
    let tested = serde_json::json!({
        "name": "openai/x\u{1b}[1A", "outcome": "valid", "latency_ms": 1, "detail": "line\nforged\u{1b}[0m",
    });
    let failure = serde_json::json!({
        "ok": false, "error": { "kind": "denied", "message": "no\u{1b}[31m\nhint: forged", "hint": "x\u{9b}y\nz" },
    });
    for (arguments, answer) in [
        (&["log"][..], ok(&serde_json::json!({ "events": [event] }))),
        (
            &["show", "openai"],
            ok(&serde_json::json!({ "key": key("openai/\u{1b}c") })),
        ),
        (
            &["add", "openai", "--secret-stdin", "--test"],
            ok(&serde_json::json!({ "key": key("openai/\u{1b}c") })),
        ),
        (
            &["status"],
            ok(&serde_json::json!({
                "initialized": true, "locked": false, "account": "a\u{1b}[0m", "totp_required": false,
                "version": "1\n2", "vault": "/\u{9b}",
            })),
        ),
        (&["show", "openai"], failure.to_string()),
        (&["show", "openai", "--json"], failure.to_string()),
    ] {
        let mut home = Home::empty();
        let agent = pretend_agent(&mut home, vec![answer, ok(&tested)]);
        let output = home.akm(arguments, &format!("{SECRET}\n"));
        assert_harmless(&stdout(&output));
        assert_harmless(&stderr(&output));
        let forged = |text: &str| {
            text.lines()
                .any(|line| line.starts_with("forged") || line.starts_with("hint: forged"))
        };
        assert!(
            !forged(&stdout(&output)) && !forged(&stderr(&output)),
            "{arguments:?}"
        );
        // It was shown at all, and not refused.
        assert!([0, 1].contains(&code(&output)), "{arguments:?} {output:?}");
        assert!(
            output.stdout.len() + output.stderr.len() > 10,
            "{arguments:?}"
        );
        drop(agent);
    }
}
