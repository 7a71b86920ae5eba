//! `akm run` without a terminal: what the command gets, what it does not, how it ends, and its output.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use cli_support::{Home, code, run, stderr, stdout};
use serde_json::Value;

const SECRET: &str = "sk-canary-4f1d9b7ce05a83-wxyz";

/// D09: the command gets the variables that were asked for, and no argument anywhere holds a secret. The secret is printed
/// unmasked for that, and looked for in every process while the command runs under a masking akm too.
#[test]
fn d09_child_env_leak() {
    let home = Home::with_key("openai", SECRET);
    home.add("anthropic", "sk-ant-not-asked-for-0123456789");
    let names = |text: &str| {
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name.to_owned())
            .collect();
        names.sort();
        names
    };
    let plain = names(&stdout(&run(&mut home.command("env"), b"")));
    let mut expected = plain.clone();
    expected.push("OPENAI_API_KEY".to_owned());
    expected.sort();
    let probe = "tr '\\0' '\\n' < /proc/self/cmdline; tr '\\0' '\\n' < /proc/$PPID/cmdline; ps -eo args; env";
    for (masking, shown) in [("--no-masking", SECRET), ("--", "[akm:openai/default]")] {
        let with = |command: &[&str]| {
            let mut arguments = vec!["run", "-p", "openai", masking];
            if masking != "--" {
                arguments.push("--");
            }
            arguments.extend(command);
            let output = home.akm(&arguments, "");
            assert_eq!(code(&output), 0, "{output:?}");
            stdout(&output)
        };
        let text = with(&["sh", "-c", probe]);
        let holders: Vec<&str> = text.lines().filter(|line| line.contains(shown)).collect();
        // The positive control and the claim in one: it is found, once, where it belongs.
        assert_eq!(holders, [format!("OPENAI_API_KEY={shown}")]);
        assert!(!text.contains("sk-ant-not-asked-for"));
        assert_eq!(names(&with(&["env"])), expected, "{masking}");
    }
    // From outside, every process that comes of it: akm, what it starts, and what that starts.
    let mut child = home
        .command(env!("CARGO_BIN_EXE_akm"))
        .args([
            "run",
            "-p",
            "openai",
            "--",
            "sh",
            "-c",
            "echo on; read x; sh -c :",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let output = run(home.command("ps").args(["-eo", "pid,ppid,args"]), b"");
    let (listing, akm) = (stdout(&output), child.id().to_string());
    assert!(!listing.contains(SECRET));
    let command = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1) == Some(&akm.as_str()))
        .expect("the command is a child of akm");
    let environ = |pid: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert!(environ(command[0]).contains(SECRET), "the control");
    assert!(!environ(command[0]).contains("sk-ant-not-asked-for"));
    // Root may look at akm itself; anybody else may not look at all.
    if let Ok(bytes) = std::fs::read(format!("/proc/{akm}/environ")) {
        assert!(!String::from_utf8(bytes).unwrap().contains(SECRET));
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// A command whose output is masked, and the first line of it.
fn running(
    home: &Home,
    script: &str,
) -> (
    std::process::Child,
    BufReader<std::process::ChildStdout>,
    String,
) {
    let mut child = home
        .command(env!("CARGO_BIN_EXE_akm"))
        .args(["run", "-p", "openai", "--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    (child, out, line.trim().to_owned())
}

fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[test]
fn a_command_has_its_signals_and_its_limits() {
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt;
    let home = Home::with_key("openai", SECRET);
    for (sent, handled) in [
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR2, "USR2"),
    ] {
        // One that it does not handle ends it, and us as it.
        let (mut child, _, _) = running(&home, "echo $$; exec sleep 60");
        signal(child.id(), sent);
        assert_eq!(child.wait().unwrap().signal(), Some(sent as i32));
        // One that it handles is its own, once, and so is the end.
        let script =
            format!("trap 'echo got; exit 9' {handled}; echo $$; while :; do sleep 0.1; done");
        let (mut child, mut out, _) = running(&home, &script);
        signal(child.id(), sent);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), rest.as_str()),
            (Some(9), "got\n"),
            "{sent}"
        );
    }
    // Without masking it is the very process that was started.
    let mut child = home
        .command(env!("CARGO_BIN_EXE_akm"))
        .args([
            "run",
            "--no-masking",
            "-p",
            "openai",
            "--",
            "sh",
            "-c",
            "echo $$",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), child.id().to_string());
    child.wait().unwrap();

    let limit = |command: &mut Command| stdout(&run(command, b""));
    let limits = "ulimit -c; ulimit -Hc; grep Sig[BI] /proc/self/status";
    let direct = limit(home.command("sh").args(["-c", limits]));
    for masking in [&[][..], &["--no-masking"]] {
        let through = [
            &["run", "-p", "openai"],
            masking,
            &["--", "sh", "-c", limits],
        ]
        .concat();
        let mut command = home.command(env!("CARGO_BIN_EXE_akm"));
        assert_eq!(limit(command.args(through)), direct, "{masking:?}");
    }
}

/// Signals that end nobody: the size of a terminal elsewhere, and that a stopped command goes on.
#[test]
fn a_command_is_told_to_go_on_and_of_sizes() {
    use nix::sys::signal::Signal;
    let home = Home::with_key("openai", SECRET);
    for (sent, handled, before) in [
        (Signal::SIGWINCH, "WINCH", ""),
        (Signal::SIGCONT, "CONT", ""),
        (Signal::SIGCONT, "CONT", "kill -STOP $$;"),
    ] {
        let script = format!(
            "trap 'echo got; exit 9' {handled}; echo $$; {before} while :; do sleep 0.1; done"
        );
        let (mut child, mut out, pid) = running(&home, &script);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let wait_until = |is: &mut dyn FnMut() -> bool| {
            while !is() && std::time::Instant::now() < end {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        };
        let is_stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(')').next().unwrap().trim().starts_with('T')
        };
        wait_until(&mut || before.is_empty() || is_stopped());
        signal(child.id(), sent);
        wait_until(&mut || child.try_wait().unwrap().is_some());
        // Does nothing where it has ended.
        child.kill().unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), rest.as_str()),
            (Some(9), "got\n"),
            "{sent} {before}"
        );
    }
}

/// Whoever kills akm, by whatever signal, ends the command.
#[test]
fn a_command_does_not_outlive_akm() {
    let home = Home::with_key("openai", SECRET);
    let (mut child, mut out, pid) = running(&home, "echo $$; exec sleep 60");
    signal(child.id(), nix::sys::signal::Signal::SIGKILL);
    child.wait().unwrap();
    // Its end of the pipe closes with akm; the command itself is gone when nobody can be asked for any more.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().unwrap().trim().starts_with('Z'),
        Err(_) => true,
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !gone() {
        assert!(std::time::Instant::now() < end, "it lives on");
        std::thread::yield_now();
    }
}

#[test]
fn output_comes_whole_in_order_and_ends_with_the_command() {
    let home = Home::with_key("openai", SECRET);
    // As much as many pipes hold, with a secret at the very end and no newline.
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"line $i $OPENAI_API_KEY and so on and so on and so on and so on\"; i=$((i+1)); done; printf %s $OPENAI_API_KEY";
    let output = home.akm(&["run", "-p", "openai", "--", "sh", "-c", script], "");
    let text = stdout(&output);
    assert!(!text.contains(SECRET));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3001);
    assert!(lines[2999].starts_with("line 2999 [akm:openai/default] and so on"));
    assert_eq!(lines[3000], "[akm:openai/default]");
    // Both streams into one file keep their order.
    let script = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let file = std::fs::File::create(home.file("both")).unwrap();
    let mut command = home.command(env!("CARGO_BIN_EXE_akm"));
    let status = command
        .args(["run", "-p", "openai", "--", "sh", "-c", script])
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .status();
    assert!(status.unwrap().success());
    let text = std::fs::read_to_string(home.file("both")).unwrap();
    let expected: String = (0..200).map(|i| format!("out {i}\nerr {i}\n")).collect();
    assert_eq!(text, expected);
    // A process that the command leaves behind holds nobody up, and one that writes for ever neither.
    for left in ["sleep 60 &", "while :; do echo more; done &"] {
        let script = format!("{left} echo $!; printf %s $OPENAI_API_KEY");
        let output = home.akm(&["run", "-p", "openai", "--", "sh", "-c", &script], "");
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("[akm:openai/default]"), "{left}");
        let pid = stdout(&output).lines().find_map(|line| line.parse().ok());
        let pid = nix::unistd::Pid::from_raw(pid.unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

#[test]
fn the_example_of_a_project_works() {
    let home = Home::ready();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/project");
    for file in ["akm.toml", "config.tpl.json", "service.env"] {
        std::fs::copy(example.join(file), home.file(file)).unwrap();
        std::fs::set_permissions(home.file(file), PermissionsExt::from_mode(0o644)).unwrap();
    }
    home.add("openai/work", SECRET);
    assert_eq!(code(&home.akm(&["check"], "")), 1, "one is missing");
    home.add("tavily", "tvly-0123456789");
    assert_eq!(code(&home.akm(&["check"], "")), 0);
    let show = "echo $OPENAI_API_KEY $SEARCH_KEY $LOG_LEVEL $GREETING";
    let shown = |more: &[&str]| {
        let arguments = [&["run", "--no-masking"], more, &["--", "sh", "-c", show]].concat();
        stdout(&home.akm(&arguments, ""))
    };
    assert_eq!(shown(&[]), format!("{SECRET} tvly-0123456789\n"));
    let with_file = shown(&["--env-file", "service.env"]);
    assert_eq!(with_file, format!("{SECRET} debug two words\n"));
    home.add("openai/staging", "sk-staging-0123456789");
    let staging = shown(&["--profile", "staging"]);
    assert_eq!(staging, "sk-staging-0123456789 tvly-0123456789\n");
    let inject = ["inject", "-i", "config.tpl.json", "-o", "config.json"];
    assert_eq!(code(&home.akm(&inject, "")), 0);
    let config = std::fs::read(home.file("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["model"]["key"], SECRET);
    assert_eq!(config["search"]["key"], "tvly-0123456789");
    assert_eq!(config["model"]["prompt"], "Hello {{ name }}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    let home = Home::with_key("openai", SECRET);
    let (mut child, out, _) = running(&home, "echo first; exec yes");
    drop(out);
    let status = child.wait().unwrap();
    let output = std::process::Output {
        status,
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    assert_eq!(code(&output), 141);
}

#[test]
fn output_that_cannot_be_written_is_a_failure_that_is_said() {
    let home = Home::with_key("openai", SECRET);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let run = |script: &str, is_err: bool| {
        let mut command = home.command(env!("CARGO_BIN_EXE_akm"));
        command.args(["run", "-p", "openai", "--", "sh", "-c", script]);
        match is_err {
            true => command.stderr(full().unwrap()),
            false => command.stdout(full().unwrap()),
        };
        command.output().unwrap()
    };
    // The second never ends but by its closed pipe.
    for script in ["echo once", "exec yes"] {
        let output = run(script, false);
        assert_eq!(code(&output), 125, "{script}");
        let said = stderr(&output);
        assert!(
            said.contains("no space is left") && said.contains("output"),
            "{said}"
        );
    }
    assert_eq!(code(&run("echo once >&2", true)), 125);
    // Controls: what is silent there does not fail.
    assert_eq!(code(&run("true", false)), 0);
    assert_eq!(code(&run("exit 3", true)), 3);
}
