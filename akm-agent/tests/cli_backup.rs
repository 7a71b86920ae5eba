//! Backups from elsewhere, files that are none, and a vault that cannot be opened, through the command itself.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod cli_support;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use cli_support::{Home, PASSPHRASE, code, stderr, stdout};

/// Longer than anything here takes on a busy machine, a derivation included; whoever waits for a pipe waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `akm` to its end, which must come. What it starts does not hold its output open.
fn akm(home: &Home, arguments: &[&str], input: &str) -> Output {
    let (out, err) = (home.file("out.txt"), home.file("err.txt"));
    let typed = home.file("typed.txt");
    fs::write(&typed, input).unwrap();
    let mut child = home
        .akm_command(arguments)
        .stdin(fs::File::open(&typed).unwrap())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            // The shell that waits and the command are one session.
            let _ = child.kill();
            panic!("akm {arguments:?} does not come to an end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: fs::read(out).unwrap(),
        stderr: fs::read(err).unwrap(),
    }
}

fn done(home: &Home, arguments: &[&str], input: &str) -> String {
    let output = akm(home, arguments, input);
    assert_eq!(code(&output), 0, "{arguments:?} {}", stderr(&output));
    stdout(&output)
}

fn refused(home: &Home, arguments: &[&str], input: &str) -> String {
    let output = akm(home, arguments, input);
    assert_eq!(code(&output), 1, "{arguments:?} {}", stderr(&output));
    stderr(&output)
}

fn typed() -> String {
    format!("{PASSPHRASE}\n")
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

/// A home with a key, and a backup of it that lies elsewhere.
fn with_a_backup_elsewhere() -> (Home, String) {
    let home = Home::with_key("openai", "sk-old");
    let name = done(&home, &["backup", "create"], "").trim().to_owned();
    fs::create_dir(home.file("elsewhere")).unwrap();
    let elsewhere = home.file("elsewhere").join("old.backup");
    fs::copy(home.file("backups").join(name), &elsewhere).unwrap();
    home.add("openai/new", "sk-new");
    (home, elsewhere.to_str().unwrap().to_owned())
}

#[test]
fn a_restore_from_elsewhere_refuses_what_is_no_file_at_once_and_leaves_nothing() {
    let (home, elsewhere) = with_a_backup_elsewhere();
    let before = names(&home.file("backups"));
    let restore = |path: &str, more: &[&str], passphrase: &str| {
        let all = [&["backup", "restore", path, "--passphrase-stdin"], more].concat();
        let said = refused(&home, &all, passphrase);
        assert_eq!(names(&home.file("backups")), before, "{path} {more:?}");
        said
    };
    pipe(&home.file("pipe"));
    for irregular in ["./pipe", "/dev/zero", "./elsewhere"] {
        let said = restore(irregular, &["--replace"], &typed());
        assert!(said.contains("it is not a regular file"), "{said}");
    }
    let junk = home.file("junk.backup");
    fs::write(&junk, "no backup ".repeat(1000)).unwrap();
    restore("./junk.backup", &["--replace"], &typed());
    fs::write(&junk, "").unwrap();
    restore("./junk.backup", &["--replace"], &typed());
    restore("./absent.backup", &["--replace"], &typed());
    let said = restore(&elsewhere, &[], &typed());
    assert!(said.contains("--replace"), "{said}");
    let said = restore(&elsewhere, &["--replace"], "wrong\n");
    assert!(said.contains("wrong account"), "{said}");

    // Control: of a file it is done, through a link as well, and the copy goes.
    std::os::unix::fs::symlink(&elsewhere, home.file("link")).unwrap();
    let arguments = [
        "backup",
        "restore",
        "./link",
        "--replace",
        "--passphrase-stdin",
    ];
    done(&home, &arguments, &typed());
    assert_eq!(names(&home.file("backups")), before);
    done(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert_eq!(done(&home, &["get", "openai"], ""), "sk-old\n");
    refused(&home, &["get", "openai/new"], "");
    assert!(Path::new(&elsewhere).exists());
}

#[test]
fn a_pipe_in_place_of_any_file_of_akm_holds_nobody_up() {
    let home = Home::with_key("openai", "sk-old");
    let checkpoint = done(&home, &["log", "checkpoint"], "");
    fs::write(home.file("checkpoint.json"), checkpoint).unwrap();
    pipe(&home.file("pipe"));
    let said = refused(&home, &["log", "verify", "--checkpoint", "pipe"], "");
    assert!(said.contains("it is not a regular file"), "{said}");
    done(
        &home,
        &["log", "verify", "--checkpoint", "checkpoint.json"],
        "",
    );
    done(&home, &["agent", "stop"], "");

    // What the agent does not need it goes on without.
    for name in ["jobs.json", "alerts.json", "offsite.json", "agent.log"] {
        pipe(&home.file("state").join(name));
        done(&home, &["agent", "start"], "");
        done(&home, &["agent", "stop"], "");
        let _ = fs::remove_file(home.file("state").join(name));
    }
    // What says how it is to be it names, and does not start.
    for name in ["state/backup.json", "config.toml", "billing.toml"] {
        pipe(&home.file(name));
        let said = refused(&home, &["agent", "start"], "");
        assert!(said.contains("regular file"), "{name} {said}");
        fs::remove_file(home.file(name)).unwrap();
    }
    let schedule = r#"{"version":1,"schedule":{"every_s":0,"keep":0}}"#;
    fs::write(home.file("state/backup.json"), schedule).unwrap();
    let said = refused(&home, &["agent", "start"], "");
    assert!(said.contains("the schedule of backups"), "{said}");
    assert!(said.contains("state/backup.json"), "{said}");
    fs::remove_file(home.file("state/backup.json")).unwrap();
    done(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert_eq!(done(&home, &["get", "openai"], ""), "sk-old\n", "control");
}

/// Changes what stands at the beginning of the vault, whose agent was stopped.
fn spoil(home: &Home, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(home.file("vault.db"));
    file.unwrap().write_all_at(bytes, 0).unwrap();
}

/// What the doctor says of the vault's file.
fn doctor(home: &Home) -> (String, String) {
    doctor_on(home, "vault")
}

fn doctor_on(home: &Home, what: &str) -> (String, String) {
    let shown = stdout(&akm(home, &["doctor", "--json"], ""));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let checks = shown["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == what).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&found["state"]), text(&found["hint"]))
}

#[test]
fn files_that_keep_the_agent_from_its_vault_are_seen_by_the_doctor() {
    use std::os::unix::fs::PermissionsExt;
    let (home, _) = with_a_backup_elsewhere();
    done(&home, &["agent", "stop"], "");
    let second = home.path().join("second.db");
    fs::hard_link(home.file("vault.db"), &second).unwrap();
    let (state, hint) = doctor(&home);
    assert_eq!(state, "bad");
    assert!(hint.contains("remove the other name"), "{hint}");
    fs::remove_file(second).unwrap();
    assert_eq!(doctor(&home).0, "ok", "control");
    let key = home.file("state/host.key");
    let set = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    let now = || key.metadata().unwrap().permissions().mode() & 0o777;
    // Others could have written it: that is for its owner to judge.
    set(0o666);
    assert_eq!(doctor_on(&home, "host key").0, "bad");
    refused(&home, &["agent", "start"], "");
    assert_eq!(now(), 0o666);
    // They could only read it: tightened.
    set(0o644);
    done(&home, &["agent", "start"], "");
    assert_eq!(now(), 0o600);
    assert_eq!(doctor_on(&home, "host key").0, "ok");
}

#[test]
fn a_vault_whose_first_page_is_gone_is_seen_by_the_doctor_and_restored_with_what_the_hints_say() {
    let (home, _) = with_a_backup_elsewhere();
    assert_eq!(doctor(&home).0, "ok", "control: while it is in use");
    done(&home, &["agent", "stop"], "");
    assert_eq!(doctor(&home).0, "ok", "control: while it is not");
    let whole = fs::read(home.file("vault.db")).unwrap();
    // A page in the middle, which no agent has to read to start.
    let middle = whole.len() / 8192 * 4096;
    let mut holed = whole.clone();
    holed[middle..middle + 4096].fill(0xaa);
    for bytes in [&holed[..], b"SQLx"] {
        spoil(&home, bytes);
        let (state, hint) = doctor(&home);
        assert_eq!(state, "bad");
        assert!(hint.contains("akm backup restore"), "{hint}");
        spoil(&home, &whole);
        assert_eq!(doctor(&home).0, "ok");
    }
    spoil(&home, &[0xaa; 4096]);
    let said = refused(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert!(said.contains("akm backup list"), "{said}");
    for question in [&["log", "verify"][..], &["ls"], &["init"]] {
        let output = akm(&home, question, "");
        assert_ne!(code(&output), 0);
        assert_ne!(code(&output), 2, "there is an agent: {question:?}");
    }
    let said = refused(&home, &["log", "verify"], "");
    assert!(said.contains("akm backup restore"), "{said}");
    assert!(done(&home, &["status"], "").contains("damaged"));
    assert_eq!(doctor(&home).0, "bad", "also while an agent holds it");
    let listed = done(&home, &["backup", "list"], "");
    let name = listed
        .split_whitespace()
        .find(|word| word.ends_with(".backup"))
        .unwrap();
    let arguments = ["backup", "restore", name, "--replace", "--passphrase-stdin"];
    refused(&home, &arguments, "wrong\n");
    done(&home, &arguments, &typed());
    done(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert_eq!(done(&home, &["get", "openai"], ""), "sk-old\n");
    let kept = fs::read(home.file("vault.db.replaced-1")).unwrap();
    assert_eq!(kept.len(), whole.len());
    assert_eq!(kept[4096..], whole[4096..], "the damaged one is kept");
    assert_eq!(doctor(&home).0, "ok");
}

#[test]
fn a_vault_that_is_gone_is_told_from_a_new_machine_and_comes_back_without_an_agent() {
    let fresh = Home::empty();
    let said = refused(&fresh, &["unlock", "--passphrase-stdin"], &typed());
    assert!(said.contains("run akm init"), "control: {said}");
    assert!(!said.contains("akm backup list"), "control: {said}");

    let (home, _) = with_a_backup_elsewhere();
    let name = names(&home.file("backups")).remove(0);
    let lose = || {
        done(&home, &["agent", "stop"], "");
        fs::remove_file(home.file("vault.db")).unwrap();
    };
    lose();
    let output = akm(&home, &["ls"], "");
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("akm unlock"),
        "{}",
        stderr(&output)
    );
    let said = refused(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert!(said.contains("accounts of another vault"), "{said}");
    assert!(said.contains("akm backup list"), "{said}");
    let output = akm(&home, &["status"], "");
    assert!(stderr(&output).contains("akm backup list"));
    // Where the file was emptied it is the same.
    done(&home, &["agent", "stop"], "");
    fs::write(home.file("vault.db"), "").unwrap();
    let said = refused(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert!(said.contains("akm backup list"), "{said}");

    // None of these finds an agent.
    lose();
    assert!(done(&home, &["backup", "list"], "").contains(&name));
    lose();
    done(&home, &["backup", "verify", &name], "");
    lose();
    let restore = ["backup", "restore", &name, "--passphrase-stdin"];
    done(&home, &restore, &typed());
    done(&home, &["unlock", "--passphrase-stdin"], &typed());
    assert_eq!(done(&home, &["get", "openai"], ""), "sk-old\n");
}

#[test]
fn who_begins_anew_where_a_vault_was_is_warned() {
    let (home, _) = with_a_backup_elsewhere();
    done(&home, &["agent", "stop"], "");
    fs::remove_file(home.file("vault.db")).unwrap();
    let init = ["init", "--no-totp", "--passphrase-stdin"];
    let output = akm(&home, &init, &typed());
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("akm backup list"));
    // The control: a vault that is in use is nobody else's place.
    let status = done(&home, &["status", "--json"], "");
    assert!(!status.contains("accounts_elsewhere"), "{status}");
}
