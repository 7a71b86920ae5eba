//! Case A16: whatever the umask, what akm writes is its owner's alone: from vault and socket to exports and backups.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod cli_support;

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use cli_support::{Home, PASSPHRASE, code, run, stderr};

/// Every file and directory below a home, with its mode.
fn modes(home: &Home) -> Vec<(PathBuf, u32, std::fs::FileType)> {
    let mut open = vec![home.path().to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                open.push(path.clone());
            }
            found.push((path, meta.mode() & 0o777, meta.file_type()));
        }
    }
    found
}

#[test]
fn a16_under_a_umask_that_masks_nothing_every_file_is_private() {
    let home = Home::empty();
    let akm = |arguments: &str, input: &str| {
        // The agent that is started inherits the umask.
        let line = format!(
            "umask 000; touch control; exec setsid --wait {} {arguments}",
            env!("CARGO_BIN_EXE_akm")
        );
        let output = run(home.command("sh").args(["-c", &line]), input.as_bytes());
        assert_eq!(code(&output), 0, "{arguments}: {}", stderr(&output));
    };
    let passphrase = format!("{PASSPHRASE}\n");
    akm("init --no-totp --passphrase-stdin", &passphrase);
    akm("add openai --secret-stdin", "sk-one\n");
    akm("rotate openai --secret-stdin", "sk-two\n");
    akm("get openai", "");
    akm(
        "export -o sealed.age --passphrase-stdin",
        "a passphrase of the file\n",
    );
    akm(
        "export --plaintext --format json -o plain.json --passphrase-stdin",
        &passphrase,
    );
    akm(
        "account keyfile enable --path stick.key --passphrase-stdin",
        &passphrase,
    );
    akm("account keyfile disable --passphrase-stdin", &passphrase);
    akm("account keyfile enable --passphrase-stdin", &passphrase);
    akm("vault rekey --passphrase-stdin", &passphrase);
    akm("backup schedule --daily", "");
    akm("backup create", "");
    akm("log verify", "");
    let backups = std::fs::read_dir(home.file("backups")).unwrap();
    let name = backups
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.ends_with(".backup"))
        .unwrap();
    let seen = modes(&home);
    akm(
        &format!("backup restore {name} --replace --passphrase-stdin"),
        &passphrase,
    );
    akm("unlock --passphrase-stdin", &passphrase);

    let found = modes(&home);
    for (path, mode, kind) in seen.iter().chain(&found) {
        let wanted = match path.file_name().unwrap().to_str().unwrap() {
            "control" => 0o666,
            _ if kind.is_dir() => 0o700,
            _ => 0o600,
        };
        assert_eq!(*mode, wanted, "{} is {mode:o}", path.display());
    }
    for name in [
        "vault.db",
        "audit.journal",
        "sealed.age",
        "plain.json",
        "stick.key",
        "control",
    ] {
        assert!(home.file(name).exists(), "control: {name} was looked at");
    }
    assert!(
        found.iter().any(|(_, _, kind)| kind.is_socket()),
        "control: the socket was looked at"
    );
    assert!(
        found.len() > seen.len(),
        "control: the vault of before the restore was looked at"
    );
}
