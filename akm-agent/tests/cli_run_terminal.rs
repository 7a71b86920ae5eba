//! `akm run` at a terminal: the terminal stays one for the command, ours is left as it was, and nothing on the way shows a
//! key.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::process::Command;

use cli_support::Home;
use cli_support::terminal::Terminal;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, OutputFlags, tcgetattr};
use nix::unistd::Pid;

const SECRET: &str = "sk-proj-0123456789-abcdefghijkl";

fn home() -> Home {
    Home::with_key("openai", SECRET)
}

fn run<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [&["run", "-p", "openai", "--"], command].concat()
}

/// An interactive shell with job control, which knows how its terminal was.
fn shell(home: &Home) -> Terminal {
    let mut terminal = Terminal::of(
        home,
        "env",
        &[
            concat!("akm=", env!("CARGO_BIN_EXE_akm")),
            "bash",
            "--norc",
            "--noprofile",
            "--noediting",
            "-i",
        ],
    );
    // The text that is waited for is not the one that is typed.
    terminal.type_in("PS1='ready''> '; PATH=\"${akm%/*}:$PATH\"; before=$(stty -g); ");
    terminal.type_in("echo size=$(stty size)\n");
    terminal.expect("size=50 120");
    terminal.expect("ready> ");
    terminal
}

/// The shell's terminal is as it was at first.
fn assert_restored(terminal: &mut Terminal) {
    terminal.type_in("[ \"$(stty -g)\" = \"$before\" ] && echo re''stored || stty -a\n");
    terminal.expect("restored");
    terminal.expect("ready> ");
}

#[test]
fn the_command_has_a_terminal_and_a_session_of_its_own_and_is_masked() {
    let home = home();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo all three; stty size; ps -o sid=,pgid=,tpgid= -p $$; \
                  echo \"key $OPENAI_API_KEY\"; echo \"err $OPENAI_API_KEY\" >&2; echo \"tty $OPENAI_API_KEY\" > /dev/tty; \
                  ls --color=auto -d /; exit 7";
    let mut terminal = Terminal::open(&home, &run(&["sh", "-c", script]));
    terminal.expect("all three");
    terminal.expect("50 120");
    let ids = terminal.expect("key [akm:openai/default]\r\n");
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert!(
        ids[1] == ids[2] && ids[0] != ids[1],
        "in front, in a group of its own: {ids:?}"
    );
    terminal.expect("err [akm:openai/default]\r\n");
    terminal.expect("tty [akm:openai/default]\r\n");
    terminal.expect("\u{1b}[");
    let (code, shown) = terminal.end();
    assert_eq!(code, 7, "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn what_is_typed_arrives_and_raw_programs_see_every_key() {
    let home = home();
    let mut terminal = Terminal::open(
        &home,
        &run(&["sh", "-c", "echo on; read x; echo \"got <$x>\""]),
    );
    terminal.expect("on");
    // Typed secrets are echoed masked.
    terminal.type_in(&format!("{SECRET}\n"));
    terminal.expect("[akm:openai/default]");
    terminal.expect("got <[akm:openai/default]>");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0);
    assert!(!shown.contains(SECRET));

    let keys = "stty raw -echo; echo on; dd bs=1 count=4 2>/dev/null | od -An -tx1; stty sane";
    let mut terminal = Terminal::open(&home, &run(&["sh", "-c", keys]));
    terminal.expect("on");
    terminal.type_in("\u{3}\u{1a}\u{4}\r");
    terminal.expect("03 1a 04 0d");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn signals_of_keys_reach_the_command_and_its_end_is_ours() {
    let home = home();
    for (key, expected) in [("\u{3}", 130), ("\u{1c}", 131)] {
        let mut terminal = Terminal::open(&home, &run(&["sh", "-c", "echo on; exec sleep 60"]));
        terminal.expect("on");
        terminal.type_in(key);
        assert_eq!(terminal.end().0, expected);
    }
    let mut terminal = Terminal::open(
        &home,
        &run(&[
            "sh",
            "-c",
            "trap 'echo caught; exit 5' INT; echo on; while :; do sleep 0.1; done",
        ]),
    );
    terminal.expect("on");
    terminal.type_in("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 5);
    assert_eq!(shown.matches("caught").count(), 1, "{shown}");
    let missing = Terminal::open(&home, &run(&["no-such-command-anywhere"]));
    let (code, shown) = missing.end();
    assert_eq!(code, 127);
    assert!(shown.contains("error: there is no such command"), "{shown}");
}

#[test]
fn the_size_follows_and_the_terminal_is_given_back() {
    let home = home();
    let mut terminal = shell(&home);
    terminal.type_in("akm run -p openai -- sh -c 'trap \"stty size; exit 3\" WINCH; echo on; while :; do sleep 0.1; done'\n");
    terminal.expect("on\r\n");
    let settings = tcgetattr(&terminal.master).unwrap();
    assert!(
        !settings.local_flags.contains(LocalFlags::ICANON),
        "raw on our side"
    );
    let size = rustix::termios::Winsize {
        ws_row: 33,
        ws_col: 77,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&terminal.master, size).unwrap();
    terminal.expect("33 77");
    terminal.expect("ready> ");
    terminal.type_in("echo code=$?\n");
    terminal.expect("code=3");
    assert_restored(&mut terminal);
    terminal.type_in("exit\n");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn ctrl_z_stops_the_job_and_it_goes_on_in_front_or_behind() {
    let home = home();
    let mut terminal = shell(&home);
    terminal.type_in(
        "akm run -p openai -- sh -c 'echo on; read x; echo \"got <$x> $OPENAI_API_KEY\"'\n",
    );
    terminal.expect("on\r\n");
    terminal.type_in("\u{1a}");
    terminal.expect("Stopped");
    terminal.expect("ready> ");
    assert_restored(&mut terminal);
    terminal.type_in("fg\n");
    terminal.expect("akm run");
    terminal.type_in("line\n");
    terminal.expect("got <line> [akm:openai/default]");
    terminal.expect("ready> ");
    assert_restored(&mut terminal);
    // In the background it leaves the keyboard to the shell.
    terminal.type_in("akm run -p openai -- sh -c 'echo on; exec sleep 60'\n");
    terminal.expect("on\r\n");
    terminal.type_in("\u{1a}");
    terminal.expect("Stopped");
    terminal.type_in("bg\n");
    terminal.expect("ready> ");
    assert_restored(&mut terminal);
    terminal.type_in("fg\n");
    terminal.expect("akm run");
    // The shell names the job before it puts it in front, and a Ctrl-C in between is the shell's own.
    terminal.until_silent();
    terminal.type_in("\u{3}");
    terminal.expect("ready> ");
    terminal.type_in("echo code=$?\n");
    terminal.expect("code=130");
    assert_restored(&mut terminal);
    terminal.type_in("exit\n");
    terminal.end();
}

#[test]
fn in_a_pipeline_the_keyboard_belongs_to_whoever_reads_it() {
    let home = home();
    let mut terminal = shell(&home);
    // The other end reads the terminal, and our command does not.
    terminal.type_in("akm run -p openai -- sh -c 'echo $OPENAI_API_KEY; echo err $OPENAI_API_KEY >&2' | (read a; read b </dev/tty; echo \"<$a> <$b>\")\n");
    terminal.expect("err [akm:openai/default]");
    terminal.type_in("typed\n");
    terminal.expect("<[akm:openai/default]> <typed>");
    terminal.expect("ready> ");
    assert_restored(&mut terminal);
    // Our command reads it, and a pipe as well.
    terminal.type_in("echo data | akm run -p openai -- sh -c 'read a; echo $OPENAI_API_KEY >/dev/tty; read b </dev/tty; echo \"<$a> <$b>\"'\n");
    terminal.expect("[akm:openai/default]");
    terminal.type_in("typed\n");
    terminal.expect("<data> <typed>");
    terminal.expect("ready> ");
    assert_restored(&mut terminal);
    // It sets the terminal up, and is stopped and continued.
    terminal.type_in("echo data | akm run -p openai -- sh -c 'stty raw </dev/tty; echo on; dd bs=1 count=1 2>/dev/null </dev/tty | od -An -tx1'\n");
    terminal.expect("on\r\n");
    terminal.type_in("\u{3}");
    terminal.expect("03");
    terminal.expect("ready> ");
    assert_restored(&mut terminal);
    terminal.type_in("exit\n");
    let (_, shown) = terminal.end();
    assert!(!shown.contains(SECRET));
}

/// Kills the program that the shell started last, and looks for the command it ran.
#[test]
fn the_command_goes_when_akm_is_killed_and_when_the_terminal_goes() {
    let home = home();
    let gone = |pid: &str| {
        let state = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(')').next()?.trim().chars().next()
        };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while state(pid).is_some_and(|state| state != 'Z') {
            assert!(std::time::Instant::now() < end, "{pid} lives on");
            std::thread::yield_now();
        }
    };
    let start = || {
        let mut terminal =
            Terminal::open(&home, &run(&["sh", "-c", "echo pid=$$.; exec sleep 60"]));
        terminal.expect("pid=");
        let pid = terminal.expect(".");
        let leader = parent(&pid);
        let akm = parent(&leader);
        (terminal, pid, akm)
    };
    let (terminal, pid, akm) = start();
    kill(Pid::from_raw(akm.parse().unwrap()), Signal::SIGKILL).unwrap();
    gone(&pid);
    terminal.end();
    // A signal that can be handled gives the terminal back first.
    let (terminal, pid, akm) = start();
    kill(Pid::from_raw(akm.parse().unwrap()), Signal::SIGTERM).unwrap();
    gone(&pid);
    let keeper = terminal.master.try_clone().unwrap();
    assert_eq!(terminal.end().0, 143);
    let settings = tcgetattr(&keeper).unwrap();
    assert!(
        settings
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO)
    );
    assert!(settings.output_flags.contains(OutputFlags::OPOST));
    let (terminal, pid, akm) = start();
    kill(Pid::from_raw(akm.parse().unwrap()), Signal::SIGHUP).unwrap();
    gone(&pid);
    terminal.end();
}

fn parent(pid: &str) -> String {
    let output = Command::new("ps")
        .args(["-o", "ppid=", "-p", pid])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn much_output_and_much_input_pass_without_a_stall() {
    let home = home();
    let mut terminal = Terminal::open(
        &home,
        &run(&[
            "sh",
            "-c",
            "i=0; while [ $i -lt 2000 ]; do echo \"$i $OPENAI_API_KEY\"; i=$((i+1)); done; echo done; cat >/dev/null; echo end",
        ]),
    );
    terminal.expect("1999 [akm:openai/default]");
    terminal.expect("done");
    for _ in 0..200 {
        terminal.type_in("a line of forty characters is typed here\n");
    }
    terminal.type_in("\u{4}");
    terminal.expect("end");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0);
    assert!(!shown.contains(SECRET));
}

#[test]
fn without_masking_the_terminal_is_the_commands_own() {
    let home = home();
    let arguments = [
        "run",
        "--no-masking",
        "-p",
        "openai",
        "--",
        "sh",
        "-c",
        "echo $PPID; echo $OPENAI_API_KEY",
    ];
    let mut terminal = Terminal::open(&home, &arguments);
    terminal.expect(SECRET);
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn lines_end_once_where_only_some_streams_are_a_terminal() {
    let home = home();
    let akm = env!("CARGO_BIN_EXE_akm");
    for (before, after) in [("echo x |", ""), ("", "| cat"), ("echo x |", "| cat")] {
        let line =
            format!("{before} {akm} run -p openai -- sh -c 'echo err >&2; echo out' {after}");
        let (code, shown) = Terminal::of(&home, "sh", &["-c", &line]).end();
        assert_eq!(code, 0, "{shown}");
        for text in ["err\r\n", "out\r\n"] {
            assert!(shown.contains(text), "{line}: {shown:?}");
        }
        assert!(!shown.contains("\r\r"), "{line}: {shown:?}");
    }
}
