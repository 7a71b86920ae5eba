//! Completion of key names in the shells themselves, and manual pages as their readers see them.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "cli_support/mod.rs"]
mod cli_support;
#[path = "support/tmux.rs"]
mod tmux;

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use cli_support::{Home, PASSPHRASE, stderr, stdout};
use tmux::{Tmux, has};

fn home() -> Home {
    let home = Home::with_key("openai/canary-work", "sk-of-a-test-0123456789");
    home.add("openai/other", "sk-of-a-test-0123456789");
    home.add("tavily", "tvly-of-a-test-0123456789");
    // What a shell would run is not offered.
    home.add("openai/canary$(touch bad)", "sk-of-a-test-0123456789");
    for shell in ["bash", "zsh", "fish"] {
        let output = home.akm(&["completions", shell], "");
        assert_eq!(output.status.code(), Some(0));
        std::fs::write(home.file(shell), output.stdout).unwrap();
    }
    home
}

fn variables(home: &Home) -> Vec<(&'static str, String)> {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_akm"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let dir = home.path().display().to_string();
    vec![("PATH", path), ("AKM_HOME", dir.clone()), ("HOME", dir)]
}

/// Types the beginning of a name, presses Tab, and looks what becomes of it: unlocked, then locked.
fn completes(shell: &[&str], script: &str) {
    if !has("tmux") || !has(shell[0]) {
        return;
    }
    let home = home();
    let tmux = Tmux::open(home.path(), shell, &variables(&home));
    tmux.line(script);
    tmux.line("echo be''gun");
    tmux.expect("begun");
    tmux.keys("akm show openai/can");
    tmux.press("Tab");
    tmux.expect("akm show openai/canary-work");
    tmux.press("Enter");
    // And what is completed is what runs.
    tmux.expect("name        openai/canary-work");
    tmux.keys("akm bala");
    tmux.press("Tab");
    tmux.expect("akm balance");
    tmux.press("C-u");
    tmux.keys("akm read akm://openai/oth");
    tmux.press("Tab");
    tmux.expect("akm read akm://openai/other");
    tmux.press("C-u");
    assert_eq!(home.akm(&["lock"], "").status.code(), Some(0));
    tmux.keys("echo a''way; akm get openai/oth");
    tmux.press("Tab");
    tmux.press("Enter");
    let shown = tmux.expect("the account is locked");
    assert!(!shown.contains("openai/other"), "{shown}");
    assert!(!home.file("bad").exists());
}

#[test]
fn bash_completes_names() {
    completes(&["bash", "--norc", "-i"], ". \"$HOME/bash\"");
}

#[test]
fn zsh_completes_names() {
    completes(
        &["zsh", "-f", "-i"],
        "autoload -U compinit && compinit -u -D && . \"$HOME/zsh\"",
    );
}

#[test]
fn fish_completes_names() {
    if !has("fish") {
        return;
    }
    let home = home();
    let complete = |line: &str| {
        let mut command = home.command("fish");
        for (name, value) in variables(&home) {
            command.env(name, value);
        }
        let script = format!("source ./fish; complete -C {line:?}");
        let output = command
            .args(["--no-config", "-c", &script])
            .output()
            .unwrap();
        assert_eq!(stderr(&output), "");
        stdout(&output)
    };
    assert_eq!(
        complete("akm get openai/"),
        "openai/canary-work\nopenai/other\n"
    );
    assert!(
        complete("akm get ").contains("tavily\n"),
        "a default key by its provider"
    );
    assert!(complete("akm bala").starts_with("balance\t"));
    assert_eq!(home.akm(&["lock"], "").status.code(), Some(0));
    assert_eq!(complete("akm get openai/"), "");
}

/// What a shell asks, without a shell.
fn ask(home: &Home, words: &[&str]) -> std::process::Output {
    let mut command = home.akm_command(&["--"]);
    command
        .args(words)
        .env("AKM_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n");
    command.output().unwrap()
}

#[test]
fn no_agent_or_one_that_hangs_is_silence_within_a_second_or_two() {
    let mut home = Home::empty();
    home.pretended = true;
    let output = ask(&home, &["akm", "get", ""]);
    assert!(
        stderr(&output).is_empty() && !stdout(&output).contains("openai"),
        "{output:?}"
    );
    // One that takes connections and never answers.
    let _listener = UnixListener::bind(home.file("agent.sock")).unwrap();
    let start = Instant::now();
    let output = ask(&home, &["akm", "get", "openai/"]);
    let took = start.elapsed();
    assert!(stderr(&output).is_empty(), "{output:?}");
    assert!(took > Duration::from_millis(250), "control: it was asked");
    // The bound is 0.9 s; a busy machine may take longer to start a process.
    assert!(took < Duration::from_secs(20), "{took:?}");
    // Control: an agent that answers.
    let home = self::home();
    let output = ask(&home, &["akm", "get", "openai/"]);
    assert_eq!(stdout(&output), "openai/canary-work\nopenai/other");
}

#[test]
fn what_is_known_is_offered_where_it_is_wanted() {
    let home = home();
    let offered = |words: &[&str]| {
        let output = ask(&home, words);
        assert_eq!(stderr(&output), "", "{words:?}");
        stdout(&output)
    };
    // The old name exists, the new one does not.
    assert_eq!(offered(&["akm", "mv", "openai/o"]), "openai/other");
    assert_eq!(offered(&["akm", "mv", "openai/other", "openai/o"]), "");
    let read = offered(&["akm", "read", "akm://"]);
    assert_eq!(
        read,
        "akm://openai/canary-work\nakm://openai/other\nakm://tavily"
    );
    assert_eq!(
        offered(&["akm", "run", "-e", "SEARCH=akm://t"]),
        "SEARCH=akm://tavily"
    );
    // Bash breaks both, and replaces what stands behind the last break.
    let broken = ["akm", "run", "-e", "SEARCH", "=", "akm", ":", "//t"];
    assert_eq!(offered(&broken), "//tavily");
    assert_eq!(offered(&["akm", "ls", "--provider", "tav"]), "tavily");
    assert_eq!(offered(&["akm", "models", "opena"]), "openai");
    assert_eq!(offered(&["akm", "provider", "show", "tav"]), "tavily");
    assert_eq!(offered(&["akm", "log", "--action", "key.ge"]), "key.get");
    assert_eq!(offered(&["akm", "grant", "--via", "clau"]), "claude");

    let added = home.akm(
        &[
            "provider",
            "add",
            "my-gw",
            "--base-url",
            "https://gw.example.com/v1",
        ],
        "",
    );
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    assert_eq!(
        offered(&["akm", "provider", "rm", ""]).lines().next(),
        Some("my-gw")
    );
    assert_eq!(offered(&["akm", "provider", "show", "my-"]), "my-gw");

    let granted = home.akm(
        &["grant", "tavily", "--learn", "--passphrase-stdin", "--json"],
        &format!("{PASSPHRASE}\n"),
    );
    let granted: serde_json::Value = serde_json::from_slice(&granted.stdout).unwrap();
    let id = granted["grant"]["id"].as_str().unwrap();
    assert_eq!(offered(&["akm", "grant", "rm", &id[..6]]), id);
    let made = home.akm(&["backup", "create", "--json"], "");
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    for verb in ["verify", "restore"] {
        let name = offered(&["akm", "backup", verb, "vault-"]);
        assert!(name.ends_with(".backup"), "{name}");
    }
    // Locked, only what is no secret of the account.
    assert_eq!(home.akm(&["lock"], "").status.code(), Some(0));
    assert_eq!(offered(&["akm", "grant", "rm", &id[..6]]), "");
    assert_eq!(offered(&["akm", "read", "akm://"]), "");
    assert_eq!(offered(&["akm", "models", "opena"]), "openai");
}

#[test]
fn every_command_has_a_page_that_its_readers_accept() {
    let mut home = Home::empty();
    home.pretended = true;
    std::fs::create_dir(home.file("man")).unwrap();
    let output = home.akm(&["man", "man"], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut pages: Vec<_> = std::fs::read_dir(home.file("man"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    let has_page = |name: &str| pages.iter().any(|page| page.ends_with(name));
    for name in [
        "akm.1",
        "akm-agent.1",
        "akm-add.1",
        "akm-backup-create.1",
        "akm-man.1",
    ] {
        assert!(has_page(name), "{name} in {pages:?}");
    }
    if has("mandoc") {
        let lint = |page: &std::path::Path| {
            Command::new("mandoc")
                .args(["-T", "lint", "-W", "error"])
                .arg(page)
                .output()
                .unwrap()
        };
        for page in &pages {
            let output = lint(page);
            assert!(
                output.status.success(),
                "{} {}",
                page.display(),
                stdout(&output)
            );
        }
        let broken = home.file("broken.1");
        std::fs::write(&broken, ".TH a 1\n.nosuchmacro\n.TS\n").unwrap();
        assert!(!lint(&broken).status.success(), "control");
    }
    if has("man") {
        let output = home
            .command("man")
            .args(["--warnings", "-l"])
            .arg(home.file("man/akm-add.1"))
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let text = stdout(&output);
        assert!(output.status.success(), "{output:?}");
        assert!(stderr(&output).is_empty(), "{}", stderr(&output));
        assert!(
            text.contains("akm-add") && text.contains("--secret-stdin"),
            "{text}"
        );
        assert!(
            text.contains("akm add openai/work --category work"),
            "the example: {text}"
        );
    }
    let output = home.akm(&["man"], "");
    assert!(stdout(&output).contains(".TH akm 1"), "{output:?}");
}
