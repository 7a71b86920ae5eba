//! Exports as files, and with the age program itself: it opens what akm sealed, and akm opens what it sealed.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use cli_support::terminal::Terminal;
use cli_support::{Home, PASSPHRASE, code, run, stderr, stdout};

const SEAL: &str = "the passphrase of the file";

/// Whether the age program is there: an error in CI, a printed skip on a person's machine.
fn have_age() -> bool {
    let found = Command::new("age")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!ci, "age is needed in CI");
        eprintln!("skipped: age is not installed");
    }
    found
}

fn vault() -> Home {
    let home = Home::with_key("openai/work", "sk-abcdefghijklmnopqrstuvwxyz");
    home.add("anthropic", "sk-ant-abcdefghijklmnopqrstuvwxyz");
    home
}

fn sealed(home: &Home, format: &str) {
    let arguments = [
        "export",
        "--force",
        "--format",
        format,
        "-o",
        "keys.age",
        "--passphrase-stdin",
    ];
    let output = home.akm(&arguments, &format!("{SEAL}\n"));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn the_age_program_opens_what_akm_sealed() {
    if !have_age() {
        return;
    }
    let home = vault();
    for (format, sign) in [
        (
            "json",
            "\"name\":\"openai/work\",\"secret\":\"sk-abcdefghijklmnopqrstuvwxyz\"",
        ),
        ("cxf", "\"value\":\"sk-abcdefghijklmnopqrstuvwxyz\""),
        ("env", "OPENAI_API_KEY='sk-abcdefghijklmnopqrstuvwxyz'"),
    ] {
        sealed(&home, format);
        let mut age = Terminal::of(&home, "age", &["-d", "-o", "keys", "keys.age"]);
        age.expect("nter passphrase");
        age.type_in(&format!("{SEAL}\n"));
        let (code, shown) = age.end();
        assert_eq!(code, 0, "{shown}");
        let plain = std::fs::read_to_string(home.file("keys")).unwrap();
        assert!(plain.contains(sign), "{format}");
        std::fs::remove_file(home.file("keys")).unwrap();
    }
    // Control: with another passphrase it does not.
    let mut age = Terminal::of(&home, "age", &["-d", "-o", "keys", "keys.age"]);
    age.expect("nter passphrase");
    age.type_in("another\n");
    assert_ne!(age.end().0, 0);
}

#[test]
fn akm_opens_what_the_age_program_sealed() {
    if !have_age() {
        return;
    }
    let home = vault();
    let plain =
        r#"{"format":"akm-export","version":1,"keys":[{"name":"groq","secret":"gsk-from-age"}]}"#;
    std::fs::write(home.file("plain.json"), plain).unwrap();
    let mut age = Terminal::of(&home, "age", &["-p", "-o", "from.age", "plain.json"]);
    age.expect("nter passphrase");
    age.type_in(&format!("{SEAL}\n"));
    age.expect("onfirm passphrase");
    age.type_in(&format!("{SEAL}\n"));
    let (ended, shown) = age.end();
    assert_eq!(ended, 0, "{shown}");
    let file = std::fs::read(home.file("from.age")).unwrap();
    assert!(
        file.starts_with(b"age-encryption.org/v1\n-> scrypt "),
        "control"
    );
    let output = home.akm(
        &["import", "from.age", "--passphrase-stdin"],
        &format!("{SEAL}\n"),
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&home.akm(&["get", "groq"], "")), "gsk-from-age\n");
}

#[test]
fn an_export_is_for_its_owner_alone_and_appears_whole() {
    let home = vault();
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("export") || name.contains("keys"))
            .collect();
        names.sort();
        names
    };
    // The umask of somebody who shares everything.
    let akm = env!("CARGO_BIN_EXE_akm");
    let script = format!("umask 0; exec {akm} export --plaintext -o keys.json --passphrase-stdin");
    let mut command = home.command("sh");
    let output = run(
        command.args(["-c", &script]),
        format!("{PASSPHRASE}\n").as_bytes(),
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mode = std::fs::metadata(home.file("keys.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(), ["keys.json"], "nothing else is left");

    // One that fails leaves nothing, and what was there before as it was.
    let before = std::fs::read(home.file("keys.json")).unwrap();
    let arguments = [
        "export",
        "--plaintext",
        "-o",
        "keys.json",
        "--force",
        "--passphrase-stdin",
    ];
    let output = home.akm(&arguments, "wrong\n");
    assert_eq!(code(&output), 1);
    assert_eq!(std::fs::read(home.file("keys.json")).unwrap(), before);
    assert_eq!(names(), ["keys.json"]);
    let output = home.akm(
        &["export", "-o", "no/keys.age", "--passphrase-stdin"],
        "x\n",
    );
    assert_eq!(code(&output), 1, "{}", stderr(&output));
}

#[test]
fn a_sealed_file_is_not_written_to_a_terminal_and_its_passphrase_is_asked_twice() {
    let home = vault();
    let terminal = Terminal::open(&home, &["export"]);
    let (ended, shown) = terminal.end();
    assert_eq!(ended, 64, "{shown}");
    let mut terminal = Terminal::open(&home, &["export", "-o", "keys.age"]);
    terminal.expect("passphrase of the file: ");
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{SEAL}\n"));
    terminal.expect("the same again: ");
    terminal.type_in(&format!("{SEAL}\n"));
    terminal.expect("2 keys are exported, sealed");
    let (ended, shown) = terminal.end();
    assert_eq!(ended, 0, "{shown}");
    assert!(!shown.contains(SEAL));
}

#[test]
fn e15_hostile_files_are_refused_soon() {
    let home = vault();
    let deep = "[".repeat(1_000_000);
    let many = format!(
        r#"{{"format":"akm-export","version":1,"keys":[{}]}}"#,
        vec![r#"{"name":"a","secret":"b"}"#; 20_001].join(",")
    );
    let fields = (0..200_000).fold(String::new(), |all, n| all + &format!("\"k{n}\":1,"));
    for (name, content) in [
        ("deep", deep),
        ("many", many),
        ("fields", format!("{{{fields}\"format\":\"akm-export\"}}")),
        ("twice", r#"{"format":"akm-export","format":"akm-export","version":1,"keys":[]}"#.into()),
        ("number", r#"{"format":"akm-export","version":1e999,"keys":[]}"#.into()),
        ("age", format!("age-encryption.org/v1\n{}", "-> x\n\n".repeat(100_000))),
        ("work", "age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 63\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".into()),
    ] {
        std::fs::write(home.file(name), content).unwrap();
        let output = home.akm(&["import", name, "--json", "--passphrase-stdin"], "x\n");
        assert_eq!(code(&output), 1, "{name}");
        assert!(stderr(&output).contains("invalid_input"), "{name}: {}", stderr(&output));
    }
    // A file that does not end, and one that nobody writes to.
    for path in ["/dev/zero", "/dev/tty"] {
        assert_ne!(code(&home.akm(&["import", path], "")), 0, "{path}");
    }
}
