//! What `akm status` says of the program that asks: which policy holds for it, which grants cover it, what asked last; and
//! what the owner's shell may change where other programs may not.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod cli_support;

use std::path::PathBuf;

use cli_support::{Home, PASSPHRASE, code, run, stderr, stdout};
use serde_json::{Value, json};

fn bash() -> PathBuf {
    ["/usr/bin/bash", "/bin/bash"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .unwrap()
        .canonicalize()
        .unwrap()
}

/// A script of bash's that runs `akm` so, and is not replaced by it.
fn script(home: &Home, name: &str, arguments: &str) -> PathBuf {
    let path = home.path().join(name);
    let line = format!(
        "{} {arguments}\nended=$?\nexit $ended\n",
        env!("CARGO_BIN_EXE_akm")
    );
    std::fs::write(&path, line).unwrap();
    path.canonicalize().unwrap()
}

/// Runs it; every run is a program of its own.
fn ran(home: &Home, script: &std::path::Path) -> (i32, String, String) {
    let mut command = home.command(bash().to_str().unwrap());
    // cargo sets it; whoever could set it for a program decides what the program does, so that no grant covers it.
    command.arg(script).env_remove("LD_LIBRARY_PATH");
    let output = run(&mut command, b"");
    (code(&output), stdout(&output), stderr(&output))
}

fn as_owner(home: &Home, arguments: &[&str]) {
    let output = home.akm(arguments, &format!("{PASSPHRASE}\n"));
    assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
}

#[test]
fn status_says_which_grants_cover_the_program_and_what_asked_last() {
    let home = Home::with_key("openai/work", "sk-of-the-status");
    home.add("openai/other", "sk-other");
    let (app, tool) = (
        script(&home, "app.sh", "status --json"),
        script(&home, "tool.sh", "status"),
    );
    let bash = bash();
    for (name, script) in [("openai/work", &app), ("openai/other", &tool)] {
        let (bash, script) = (bash.to_str().unwrap(), script.to_str().unwrap());
        let grant = [
            "grant", name, "--exe", bash, "--script", script, "--for", "8h",
        ];
        as_owner(&home, &[&grant[..], &["--passphrase-stdin"]].concat());
    }
    let access = |said: &str| -> Value {
        let said: Value = serde_json::from_str(said).unwrap();
        said["access"].clone()
    };
    let under = |policy: &str| {
        as_owner(&home, &["policy", "set", policy, "--passphrase-stdin"]);
        let (ended, said, err) = ran(&home, &app);
        assert_eq!(ended, 0, "{err}");
        access(&said)
    };
    for policy in ["open", "granted"] {
        let access = under(policy);
        assert_eq!(access["policy"], policy);
        assert_eq!(access["grants"], 2);
        let covering = access["covering"].as_array().unwrap();
        assert_eq!(covering.len(), 1, "{access}");
        assert_eq!(covering[0]["name"], "openai/work");
        assert_eq!(covering[0]["covers_caller"], json!(true));
    }
    // The other program's grant is not its, and a third program has none.
    let (_, said, _) = ran(&home, &tool);
    assert!(
        said.contains("grants      2, of which for this program: 1"),
        "{said}"
    );
    assert!(
        said.contains("openai/other · ") && !said.contains("openai/work · "),
        "{said}"
    );
    assert!(said.contains("granted: only with a grant"), "{said}");
    let other = script(&home, "other.sh", "status --json");
    let (_, said, _) = ran(&home, &other);
    assert_eq!(access(&said)["covering"], json!([]));

    // What asked last: the program, the key and when; the key only to whom it may be known.
    let get = script(&home, "app.sh", "get openai/work ");
    assert_eq!(ran(&home, &get).1, "sk-of-the-status\n");
    let (_, said, _) = ran(&home, &tool);
    assert!(
        said.contains("key.get by ") && said.contains(": ok"),
        "{said}"
    );
    let last = |said: &str| -> Value {
        let said: Value = serde_json::from_str(said).unwrap();
        said["last"].clone()
    };
    let app = script(&home, "app.sh", "status --json");
    let seen = last(&ran(&home, &app).1);
    assert_eq!(
        (&seen["action"], &seen["key"]),
        (&json!("key.get"), &json!("openai/work"))
    );
    assert!(seen["caller"]["exe"].as_str().unwrap().ends_with("/akm"));
    assert!(seen["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(last(&ran(&home, &other).1)["key"], Value::Null);
}

#[test]
fn the_owners_shell_changes_keys_under_granted_with_a_grant_for_a_while_and_others_do_not() {
    let home = Home::with_key("openai/work", "sk-of-the-shell");
    home.add("openai/old", "sk-old");
    let mine = script(&home, "mine.sh", "rm --yes openai/old");
    let evil = script(&home, "evil.sh", "rm --yes openai/work");
    as_owner(&home, &["policy", "set", "granted"]);
    for refused in [&mine, &evil] {
        let (ended, _, err) = ran(&home, refused);
        assert_eq!(ended, 1, "{err}");
        assert!(
            err.contains("no grant lets this program change keys"),
            "{err}"
        );
        assert!(
            err.contains("akm grant --all --exe PROGRAM --for 10m"),
            "{err}"
        );
    }
    let bash = bash();
    let grant = [
        "grant",
        "--all",
        "--exe",
        bash.to_str().unwrap(),
        "--script",
        mine.to_str().unwrap(),
    ];
    as_owner(
        &home,
        &[&grant[..], &["--for", "10m", "--passphrase-stdin"]].concat(),
    );
    let (ended, _, err) = ran(&home, &mine);
    assert_eq!(ended, 0, "{err}");
    let (ended, _, _) = ran(&home, &evil);
    assert_eq!(ended, 1);
    // And with the passphrase, without a grant.
    let edit = [
        "edit",
        "openai/work",
        "--status",
        "disabled",
        "--passphrase-stdin",
    ];
    as_owner(&home, &edit);
}
