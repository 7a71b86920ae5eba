//! Processes of their own: this test binary, run again with a task in its environment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use akm_core::Kind;
use akm_core::store::Store;

use crate::support::*;

const TASK: &str = "AKM_STORE_TEST_TASK";
const VAULT: &str = "AKM_STORE_TEST_VAULT";

/// A command that performs a task on a vault, its output piped. `wrap` goes before it.
pub(crate) fn command(wrap: &[&str], task: &str, vault: &Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrap {
        [] => Command::new(exe),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
    };
    command
        .args(["--exact", "children::task", "--ignored", "--nocapture"])
        .env(TASK, task)
        .env(VAULT, vault)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a task said, line by line, without the words of the test harness. The task must succeed.
pub(crate) fn run(wrap: &[&str], task: &str, vault: &Path) -> Vec<String> {
    let output = command(wrap, task, vault).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said(&text)
}

pub(crate) fn said(text: &str) -> Vec<String> {
    // The harness prints the test's name without a newline before the first of them.
    text.lines()
        .filter_map(|line| line.split_once("say:").map(|(_, said)| said.to_owned()))
        .collect()
}

/// One line, out at once: whoever reads it may kill us next.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "say:{line}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "a part of other tests, which run it with a task"]
fn task() {
    let (Ok(task), Some(vault)) = (std::env::var(TASK), std::env::var_os(VAULT)) else {
        return;
    };
    let vault = PathBuf::from(vault);
    match task.as_str() {
        "open" => match open(&vault) {
            Ok(_) => say("opened"),
            Err(error) => say(&format!(
                "{} {}",
                error.kind().token(),
                error.hint().unwrap_or_default()
            )),
        },
        "umask" => umask(&vault),
        "insert" => insert_without_end(&vault),
        "fill" => fill(&vault),
        _ => panic!("no such task"),
    }
}

/// Every file of a vault in use, with its mode, made under a umask that masks nothing, and one that
/// masks everything.
fn umask(vault: &Path) {
    use nix::sys::stat::{Mode, umask};
    for (name, mask) in [("none", 0), ("all", 0o777)] {
        let dir = vault.join(name);
        umask(Mode::from_bits_truncate(0o022));
        std::fs::create_dir(&dir).unwrap();
        umask(Mode::from_bits_truncate(mask));
        std::fs::write(dir.join("control"), b"").unwrap();
        let store = open(&dir.join("vault.db")).unwrap();
        let ada = add_account(&store, "ada");
        add_key(&store, &ada);
        for entry in std::fs::read_dir(&dir).unwrap() {
            use std::os::unix::fs::PermissionsExt as _;
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            say(&format!(
                "{name} {} {mode:o}",
                entry.file_name().to_str().unwrap()
            ));
        }
    }
}

/// Inserts keys and says each one's tag after the store acknowledged it, until it is killed.
fn insert_without_end(vault: &Path) {
    let store = open(vault).unwrap();
    let name = format!("account {}", std::process::id());
    let id = add_account(&store, &name);
    say(&format!("account {}", hex(&id)));
    loop {
        let row = key(&id);
        insert(&store, &row, &mut done()).unwrap();
        say(&format!("key {}", hex(&row.head.tag)));
    }
}

/// In a mount namespace of its own: a file system of one megabyte, filled up by inserting.
fn fill(vault: &Path) {
    let dir = vault.parent().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"])
        .arg(dir)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        say("no mount");
        return;
    }
    let store = open(vault).unwrap();
    let ada = add_account(&store, "ada");
    let mut rows = Vec::new();
    let error = loop {
        let row = key(&ada);
        match insert(&store, &row, &mut done()) {
            Ok(()) => rows.push(row),
            Err(error) => break error,
        }
        assert!(rows.len() < 100_000, "the device does not fill up");
    };
    assert_eq!(error.kind(), Kind::Io);
    assert_eq!(error.message(), "no space is left on the device");
    assert!(rows.len() > 10, "it was full before anything was written");

    let intact = |store: &dyn Store| {
        assert_eq!(store.key_count(&ada).unwrap(), rows.len() as u64);
        for row in &rows {
            assert_eq!(stored(store, row).as_ref(), Some(row));
        }
    };
    intact(&store);
    drop(store);
    let store = open(vault).unwrap();
    intact(&store);
    let check: String = sqlite(vault)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");

    // Room again, and it goes on.
    let more = Command::new("mount")
        .args(["-o", "remount,size=8m"])
        .arg(dir)
        .status();
    assert!(more.unwrap().success());
    add_key(&store, &ada);
    say(&format!("intact {}", rows.len()));
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
