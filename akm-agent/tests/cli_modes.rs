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

#[test]
fn a_catalogue_of_models_is_read_from_wherever_its_owner_says() {
    const ROWS: &str = r#"{"schema":1,"compiled":"2026-12-01","defaults":{"openai":"m"},"models":[
        {"provider":"openai","id":"m","name":"M","category":"chat","context":1,"max_output":1,"price":null,"sources":["me"],"verified":false}]}"#;
    let home = Home::empty();
    let installed = |path: &str| {
        let output = home.akm(&["models", "update", path, "--json"], "");
        assert_eq!(code(&output), 0, "{path}: {}", stderr(&output));
        let listed = cli_support::stdout(&home.akm(&["models", "--json"], ""));
        assert!(listed.contains(r#""installed":true"#), "{listed}");
        home.akm(&["models", "update", "--reset"], "");
    };
    // A file that its owner's group may write, as editors and shared folders leave it.
    let shared = home.path().join("shared.json");
    std::fs::write(&shared, ROWS).unwrap();
    for mode in [0o664, 0o666] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&shared, permissions).unwrap();
        installed(shared.to_str().unwrap());
    }
    // A pipe with a name, into which somebody writes.
    let pipe = home.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let into = pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(into, ROWS).unwrap());
    installed(pipe.to_str().unwrap());
    writer.join().unwrap();
    // What is in its place is believed only if nobody else could have written it.
    let place = home.file("models.json");
    std::fs::write(&place, ROWS).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o664);
    std::fs::set_permissions(&place, open).unwrap();
    let output = home.akm(&["models"], "");
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    // And it does not keep out the one that mends it.
    installed(shared.to_str().unwrap());
}
