//! Exports as files, and with the age program itself: it opens what akm sealed, and akm opens what it sealed.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

const CANARY: &str = "sk-canary-of-an-interrupted-export";

/// An agent whose export has two pages. It tells when it is asked for the second, when the first is written; that is answered once it
/// is told to, or never.
fn two_pages(home: &mut Home) -> (Receiver<()>, std::sync::mpsc::Sender<()>) {
    home.pretended = true;
    let listener = UnixListener::bind(home.file("agent.sock")).unwrap();
    let (asked, when_asked) = channel();
    let (go_on, when_to) = channel::<()>();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        for (content, next) in [(CANARY, Some("00")), ("the end", None)] {
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
            reader.read_exact(&mut vec![0; length]).unwrap();
            if next.is_none() {
                asked.send(()).unwrap();
                if when_to.recv().is_err() {
                    return;
                }
            }
            let page = serde_json::json!({ "ok": true, "result": {
                "content": content, "keys": 1, "total": 2, "left_out": [], "next": next,
            }})
            .to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            )
            .unwrap();
        }
    });
    (when_asked, go_on)
}

fn begun(command: &mut Command) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = format!("{PASSPHRASE}\n");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    child
}

/// The names of files in a directory that hold the canary.
fn left(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            // A pipe among the open files of a process would be waited for.
            if !std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file()) {
                return None;
            }
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.contains(CANARY)
                .then(|| entry.file_name().into_string().unwrap())
        })
        .collect()
}

/// Whether strace is there and may look; an error in CI otherwise.
fn may_trace() -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok();
    let may = found && nix::unistd::geteuid().is_root();
    if !may {
        assert!(std::env::var_os("CI").is_none(), "CI has strace, as root");
        eprintln!("skipped: needs strace, as root");
    }
    may
}

/// The process that strace tells of first.
fn traced(log: &Path) -> Pid {
    let text = std::fs::read_to_string(log).unwrap();
    Pid::from_raw(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn a_plaintext_export_that_is_interrupted_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let mut home = Home::empty();
        let (asked, _never) = two_pages(&mut home);
        let mut command = home.command(env!("CARGO_BIN_EXE_akm"));
        command.args(["export", "--plaintext", "-o", "out", "--passphrase-stdin"]);
        let mut child = begun(&mut command);
        asked.recv_timeout(Duration::from_secs(60)).unwrap();
        // The control: the plaintext is in a file by now. Only root may look.
        if nix::unistd::geteuid().is_root() {
            let open = format!("/proc/{}/fd", child.id());
            assert_eq!(left(Path::new(&open)).len(), 1, "the control");
        }
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        assert_eq!(left(home.path()), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn where_every_file_has_a_name_an_interrupted_export_takes_its_own_along() {
    if !may_trace() {
        return;
    }
    let export = |home: &Home, nohup: bool| {
        let (log, out) = (home.file("strace"), home.file("out"));
        let mut command = home.command(if nohup { "nohup" } else { "env" });
        command.args(["strace", "-f", "-qq", "-o"]).arg(&log);
        // As a file system answers that has no files without a name.
        command.args([
            "-e",
            "trace=openat",
            "-e",
            "inject=openat:error=EOPNOTSUPP:when=1",
        ]);
        command.arg("-P").arg(home.path());
        command.args([env!("CARGO_BIN_EXE_akm"), "export", "--plaintext"]);
        command.arg("-o").arg(&out).arg("--passphrase-stdin");
        (begun(&mut command), log, out)
    };
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut home = Home::empty();
        let (asked, _never) = two_pages(&mut home);
        let (mut child, log, _) = export(&home, false);
        asked.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(left(home.path()).len(), 1, "the control");
        kill(traced(&log), signal).unwrap();
        // strace ends as what it traces.
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        assert_eq!(left(home.path()), Vec::<String>::new(), "{signal}");
    }
    // What is not interrupted, or by a signal that is to be ignored, gets its name.
    let mut home = Home::empty();
    let (asked, go_on) = two_pages(&mut home);
    let (child, log, out) = export(&home, true);
    asked.recv_timeout(Duration::from_secs(60)).unwrap();
    kill(traced(&log), Signal::SIGHUP).unwrap();
    go_on.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        std::fs::read_to_string(&out).unwrap(),
        format!("{CANARY}the end")
    );
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(left(home.path()), ["out"]);
}

#[test]
fn a_template_that_is_interrupted_while_it_is_filled_in_leaves_nothing() {
    if !may_trace() {
        return;
    }
    let home = Home::with_key("openai/work", CANARY);
    std::fs::write(home.file("template"), "key: {{ akm://openai/work }}\n").unwrap();
    let log = home.file("strace");
    let mut command = home.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(&log);
    // Held up where everything is written and has no name yet.
    command.args([
        "-e",
        "trace=execve,fsync",
        "-e",
        "inject=fsync:delay_enter=60000000",
    ]);
    command.args([env!("CARGO_BIN_EXE_akm"), "inject"]);
    command.args(["-i", "template", "-o", "out"]);
    let mut child = begun(&mut command);
    let end = Instant::now() + Duration::from_secs(60);
    let held = format!("{} ", nix::libc::SYS_fsync);
    let pid = loop {
        assert!(Instant::now() < end, "it does not come there");
        std::thread::yield_now();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let Some(pid) = text.split_whitespace().next() else {
            continue;
        };
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        if call.starts_with(&held) {
            break pid.to_owned();
        }
    };
    let open = format!("/proc/{pid}/fd");
    assert_eq!(left(Path::new(&open)).len(), 1, "the control");
    kill(traced(&log), Signal::SIGKILL).unwrap();
    // strace would sit out the delay.
    child.kill().unwrap();
    child.wait().unwrap();
    while std::fs::read_dir(&open).is_ok_and(|mut files| files.next().is_some()) {
        assert!(Instant::now() < end, "it does not end");
        std::thread::yield_now();
    }
    assert_eq!(left(home.path()), Vec::<String>::new());
}

const CHANGE_ONE: &str = include_str!("support/change_one.py");

#[test]
fn with_one_damaged_key_the_others_are_listed_and_exported_where_that_is_asked_for() {
    let home = vault();
    let changed = run(
        home.command("python3")
            .args(["-c", CHANGE_ONE])
            .arg(home.file("vault.db")),
        b"",
    );
    assert_eq!(code(&changed), 0, "{}", stderr(&changed));
    let id = stdout(&changed);
    let id = id.trim();
    let seal = format!("{SEAL}\n");
    let export = ["export", "--passphrase-stdin", "-o", "keys.age"];
    for (refused, input) in [(&["ls"][..], ""), (&export, &seal)] {
        let output = home.akm(refused, input);
        assert_ne!(code(&output), 0, "{refused:?}");
        let said = stderr(&output);
        assert!(said.contains("--skip-unreadable"), "{refused:?}: {said}");
    }
    assert!(!home.file("keys.age").exists());
    let listed = home.akm(&["ls", "--skip-unreadable"], "");
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    assert_eq!(stdout(&listed).lines().count(), 2, "a heading and one key");
    assert!(stderr(&listed).contains(id), "{}", stderr(&listed));
    let listed = home.akm(&["ls", "--skip-unreadable", "--json"], "");
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["unreadable"][0], id);
    let whole = ["openai/work", "anthropic/default"];
    let left = listed["keys"][0]["name"].as_str().unwrap();
    assert!(whole.contains(&left), "{listed}");
    let exported = home.akm(&[&export[..], &["--skip-unreadable"]].concat(), &seal);
    assert_eq!(code(&exported), 0, "{}", stderr(&exported));
    let said = stderr(&exported);
    assert!(
        said.contains("1 key is exported") && said.contains(id),
        "{said}"
    );
}
