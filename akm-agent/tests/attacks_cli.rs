//! What the command itself leaves of a secret or a passphrase: in its memory, in logs, on the terminal. Each is named
//! after its case in the attack programme and stands beside a positive control.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;
#[path = "support/search.rs"]
#[allow(unreachable_pub)]
mod search;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use cli_support::terminal::Terminal;
use cli_support::{Home, PASSPHRASE, run, stdout};
use search::{Search, Where};

const CANARY: &str = "sk-canary-Fz4Kx9Rb2Vt6Mq8Wd3Hs";
const ROTATED: &str = "sk-rotated-Gc7Yn1Pj5Ue2Xa8Lo4Ti";

fn lacks(program: &str) -> bool {
    let missing = std::process::Command::new(program)
        .arg("-V")
        .output()
        .is_err();
    assert!(
        !missing || std::env::var_os("CI").is_none(),
        "{program} is not installed, see .ci/packages"
    );
    if missing {
        eprintln!("skipped: {program} is not installed");
    }
    missing
}

#[test]
fn d02_a_typed_passphrase_is_gone_when_the_command_ends() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
        eprintln!("skipped: needs root to look into another process");
        return;
    }
    if lacks("strace") {
        return;
    }
    // Characters that nothing else begins with.
    let passphrase = "☂☯⚛♞ and some more words";
    let start: String = passphrase.chars().take(4).collect();
    let wide = start.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let beginning = Search::exactly(vec![start.into_bytes(), wide]);
    let home = Home::empty();
    let made = home.akm(
        &["init", "--no-totp", "--passphrase-stdin"],
        &format!("{passphrase}\n"),
    );
    assert!(made.status.success(), "{made:?}");
    home.akm(&["lock"], "");

    // Held up at its last call, with everything still in its memory.
    let log = home.file("strace");
    let arguments = [
        "-f",
        "-qq",
        "-o",
        log.to_str().unwrap(),
        "-e",
        "trace=execve,exit_group",
        "-e",
        "inject=exit_group:delay_enter=20000000",
        env!("CARGO_BIN_EXE_akm"),
        "unlock",
    ];
    let mut terminal = Terminal::of(&home, "strace", &arguments);
    terminal.expect("passphrase: ");
    terminal.until_silent();
    let pid: u32 = std::fs::read_to_string(&log)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    // The control: what is typed is read a line at a time, so that a search finds it while the line is checked is not
    // certain; something else of the process is.
    let own = Search::of(&[b"AKM_HOME="]);
    assert!(own.count(pid, Where::Writable) > 0, "the control");
    terminal.type_in(&format!("{passphrase}\n"));
    terminal.expect("unlocked");
    let at_the_end = format!("{} ", nix::libc::SYS_exit_group);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
        if call.starts_with(&at_the_end) {
            break;
        }
        assert!(std::time::Instant::now() < end, "it does not end: {call}");
        std::thread::yield_now();
    }
    let left = beginning.count(pid, Where::Everywhere);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    drop(terminal);
    assert_eq!(left, 0, "of what was typed");
}

/// A session of everyday commands, each with what is typed into it. Those that print a secret are not among them.
const EVERYDAY: &[&[&str]] = &[
    &["status"],
    &["ls"],
    &["ls", "--json"],
    &["show", "openai/work"],
    &["edit", "openai/work", "--notes", "note"],
    &["mv", "openai/work", "openai/other"],
    &["history", "openai/other"],
    &["disable", "openai/other"],
    &["get", "openai/other"],
    &["enable", "openai/other"],
    &["mv", "openai/other", "openai/work"],
    &["test", "local/x"],
    &["log"],
    &["log", "--json"],
    &["log", "verify"],
    &["backup", "create"],
    &["backup", "list"],
    &["doctor"],
    &[
        "run",
        "-p",
        "openai/work",
        "--",
        "sh",
        "-c",
        "echo $OPENAI_API_KEY",
    ],
    &["copy", "openai/work"],
];

#[test]
fn d11_nothing_is_logged_at_the_finest_level() {
    let home = Home::empty();
    let trace = |arguments: &[&str], input: &str| {
        let mut command = home.akm_command(arguments);
        command
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env_remove("DISPLAY");
        let output = run(&mut command, input.as_bytes());
        [output.stdout, output.stderr].concat()
    };
    let mut said = Vec::new();
    // The agent inherits the level.
    said.extend(trace(
        &["init", "--no-totp", "--passphrase-stdin"],
        &format!("{PASSPHRASE}\n"),
    ));
    said.extend(trace(
        &["add", "openai/work", "--secret-stdin"],
        &format!("{CANARY}\n"),
    ));
    said.extend(trace(
        &["rotate", "openai/work", "--secret-stdin"],
        &format!("{ROTATED}\n"),
    ));
    // A provider on this machine, so that a request with the secret in it is made.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let count = stream.read(&mut head).unwrap();
        let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    let url = format!("http://127.0.0.1:{port}/v1");
    said.extend(trace(
        &["add", "openai/x", "--base-url", &url, "--secret-stdin"],
        &format!("{CANARY}\n"),
    ));
    said.extend(trace(&["test", "openai/x"], ""));
    assert!(server.join().unwrap().contains(CANARY), "the control");
    for arguments in EVERYDAY {
        said.extend(trace(arguments, ""));
    }
    said.extend(trace(&["lock"], ""));
    said.extend(trace(
        &["unlock", "--passphrase-stdin"],
        &format!("{PASSPHRASE}x\n"),
    ));
    said.extend(trace(
        &["unlock", "--passphrase-stdin"],
        &format!("{PASSPHRASE}\n"),
    ));
    let got = trace(&["get", "openai/work"], "");
    assert!(
        String::from_utf8_lossy(&got).contains(ROTATED),
        "the control"
    );

    for text in [CANARY, ROTATED, PASSPHRASE] {
        assert!(!holds(&said, text), "{}", String::from_utf8_lossy(&said));
    }
    let mut files = 0;
    let mut open = vec![home.path().to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.is_file() {
                files += 1;
                clean(&path);
            }
        }
    }
    assert!(
        files >= 5 && home.file("state/agent.log").exists(),
        "{files}"
    );
}

fn clean(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    for text in [CANARY, ROTATED, PASSPHRASE] {
        assert!(!holds(&bytes, text), "{}", path.display());
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let first = text.as_bytes()[0];
    let places = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    places
        .map(|(at, _)| &bytes[at..])
        .any(|rest| rest.starts_with(text.as_bytes()))
}

#[test]
fn d14_a_terminal_shows_no_secret_unless_it_was_asked_for() {
    let home = Home::ready();
    let mut shown = String::new();
    for (arguments, typed) in [
        (&["add", "openai/work"][..], CANARY),
        (&["rotate", "openai/work"], ROTATED),
    ] {
        let mut terminal = Terminal::open(&home, arguments);
        terminal.until_silent();
        terminal.type_in(&format!("{typed}\n"));
        let (code, said) = terminal.end();
        assert_eq!(code, 0, "{said}");
        shown += &said;
    }
    let mut done = 0;
    for arguments in EVERYDAY {
        let (code, said) = Terminal::open(&home, arguments).end();
        done += usize::from(code == 0);
        shown += &said;
    }
    // What cannot work here is refused: no such key, no display, a key that is switched off.
    assert!(done >= EVERYDAY.len() - 6, "{done}: {shown}");
    for text in [CANARY, ROTATED, PASSPHRASE] {
        assert!(!shown.contains(text), "{shown}");
    }
    assert!(shown.contains("[akm:openai/work]"), "the control: {shown}");
    // The controls: what was asked for is shown, by the three commands whose job it is.
    for arguments in [
        &["get", "openai/work"][..],
        &["read", "akm://openai/work"],
        &["env", "openai/work"],
    ] {
        let (code, said) = Terminal::open(&home, arguments).end();
        assert!(code == 0 && said.contains(ROTATED), "{arguments:?}: {said}");
    }
    assert!(stdout(&home.akm(&["ls"], "")).contains("openai/work"));
}

/// Whatever is opened first would otherwise be standard output: the agent's socket, a file that is being written.
#[test]
fn closed_standard_streams_are_opened_on_nothing() {
    let home = Home::with_key("openai", CANARY);
    let seen = home.file("streams");
    // Of the shell itself, which has them from akm.
    let look = "for n in 0 1 2; do readlink /proc/$$/fd/$n; done | cat > \"$0\"";
    for (redirected, expected) in [
        ("<&- >&- 2>&-", ["/dev/null", "/dev/null", "/dev/null"]),
        (
            "<&- >/dev/full 2>&-",
            ["/dev/null", "/dev/full", "/dev/null"],
        ),
        (
            "</dev/zero >&- 2>/dev/full",
            ["/dev/zero", "/dev/null", "/dev/full"],
        ),
    ] {
        let mut shell = home.command("sh");
        shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirected}")]);
        shell.arg(env!("CARGO_BIN_EXE_akm"));
        shell.args([
            "run",
            "-p",
            "openai",
            "--no-masking",
            "--",
            "sh",
            "-c",
            look,
        ]);
        shell.arg(&seen);
        let output = run(&mut shell, b"");
        assert!(output.status.success(), "{redirected}: {output:?}");
        let streams = std::fs::read_to_string(&seen).unwrap();
        let streams: Vec<&str> = streams.lines().collect();
        assert_eq!(streams, expected, "{redirected}");
    }
}
