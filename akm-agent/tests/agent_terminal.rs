//! Each habit of ssh-agent's users, typed into a real terminal.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;
#[path = "support/tmux.rs"]
mod tmux;

use std::os::unix::net::UnixListener;

use akm_agent::daemon::{is_agent, running};
use akm_core::client::Client;
use akm_core::protocol::AgentStatus;
use support::{Agent, Home, PASSPHRASE, eventually};
use tmux::{Tmux, has};

fn terminal(home: &Home, shell: &[&str]) -> Tmux {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_akm"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    std::fs::create_dir_all(home.path()).unwrap();
    let home_dir = home.path().display().to_string();
    let variables = [
        ("PATH", path),
        ("AKM_HOME", home_dir.clone()),
        ("HOME", home_dir),
    ];
    Tmux::open(home.dir.path(), shell, &variables)
}

/// The process of the agent here, as the kernel says.
fn pid_of(home: &Home) -> i32 {
    running(&home.socket()).unwrap()
}

fn locked(home: &Home) -> bool {
    let mut client = Client::connect(Some(&home.socket())).unwrap();
    client.call(&AgentStatus {}).unwrap().locked
}

/// Registers the account of a home whose agent somebody else started.
fn register(home: &Home) {
    let request = akm_core::protocol::AccountRegister {
        account: "default".into(),
        passphrase: support::secret(PASSPHRASE),
        totp: Some(false),
        invitation: None,
    };
    let mut client = Client::connect(Some(&home.socket())).unwrap();
    client.call(&request).unwrap();
}

#[test]
fn eval_of_its_output_finds_it_and_eval_of_k_ends_it() {
    if !has("tmux") {
        return;
    }
    let home = Home::new();
    let tmux = terminal(&home, &["sh"]);
    let shown = tmux.run(1, "eval \"$(akm-agent -s)\"");
    let pid = pid_of(&home);
    assert!(shown.contains(&format!("Agent pid {pid}")), "{shown}");
    let shown = tmux.run(2, "echo pid=$AKM_AGENT_PID sock=$AKM_AGENT_SOCK");
    assert!(shown.contains(&format!("pid={pid} sock=/")), "{shown}");
    assert!(shown.contains("agent.sock"), "{shown}");
    let shown = tmux.run(3, "akm status");
    assert!(
        shown.contains("no account yet") && shown.contains("done-3-0-"),
        "{shown}"
    );
    // A live socket is never taken: exit 1, and the agent is the one it was.
    let shown = tmux.run(4, "akm-agent -s");
    assert!(shown.contains("listens on this socket already"), "{shown}");
    assert!(shown.contains("done-4-1-"), "{shown}");
    assert_eq!(pid_of(&home), pid);
    let shown = tmux.run(5, "eval \"$(akm-agent -k)\"");
    assert!(
        shown.contains(&format!("Agent pid {pid} killed")),
        "{shown}"
    );
    let shown = tmux.run(6, "echo pid=[$AKM_AGENT_PID$AKM_AGENT_SOCK]");
    assert!(shown.contains("pid=[]"), "{shown}");
    eventually("the end of the agent", || !home.socket().exists());
    // Nobody is there any more: 2.
    let shown = tmux.run(7, "akm-agent -k");
    assert!(shown.contains("done-7-2-"), "{shown}");
    let shown = tmux.run(8, "akm status");
    assert!(shown.contains("done-8-2-"), "{shown}");
}

#[test]
fn a_c_shell_gets_its_own_words() {
    if !has("tmux") || !has("tcsh") {
        return;
    }
    let home = Home::new();
    let tmux = terminal(&home, &["tcsh", "-f"]);
    tmux.line("eval `akm-agent -c`");
    let shown = tmux.expect("Agent pid ");
    assert!(!shown.contains("Command not found"), "{shown}");
    tmux.line("echo pid=${AKM_AGENT_PID}, code=$status");
    let pid = {
        eventually("the agent", || running(&home.socket()).is_some());
        pid_of(&home)
    };
    tmux.expect(&format!("pid={pid}, code=0"));
    tmux.line("eval `akm-agent -c -k`");
    tmux.expect(&format!("Agent pid {pid} killed"));
    tmux.line("echo left=$?AKM_AGENT_PID$?AKM_AGENT_SOCK.");
    tmux.expect("left=00.");
}

#[test]
fn a_command_has_its_agent_and_its_exit_code() {
    if !has("tmux") {
        return;
    }
    let home = Home::new();
    let tmux = terminal(&home, &["sh"]);
    let shown = tmux.run(
        1,
        "akm-agent sh -c 'akm status; echo agent=$AKM_AGENT_PID; test -S \"$AKM_AGENT_SOCK\" && exit 7'",
    );
    assert!(shown.contains("no account yet"), "{shown}");
    assert!(shown.contains("done-1-7-"), "{shown}");
    let line = shown
        .lines()
        .find(|line| line.starts_with("agent="))
        .unwrap();
    let pid: i32 = line["agent=".len()..].trim().parse().unwrap();
    eventually("the end of the agent", || !home.socket().exists());
    eventually("the end of its process", || !is_agent(pid));
    // ^C goes to the command, and the agent ends with it as well.
    tmux.line("akm-agent sh -c 'echo on''ward; sleep 600'");
    tmux.expect("onward");
    assert!(running(&home.socket()).is_some(), "control");
    tmux.press("C-c");
    eventually("the end of the agent", || !home.socket().exists());
    let shown = tmux.run(2, "true");
    assert!(shown.contains("done-2-0-"), "{shown}");
}

#[test]
fn the_foreground_listens_where_it_is_told_and_ends_with_control_c() {
    if !has("tmux") {
        return;
    }
    let home = Home::new();
    let tmux = terminal(&home, &["sh"]);
    let socket = home.dir.path().join("elsewhere");
    tmux.line(&format!(
        "akm-agent -D -a {}; echo 'ended''-'$?",
        socket.display()
    ));
    tmux.expect("echo Agent pid");
    assert!(socket.exists() && !home.socket().exists());
    tmux.press("C-c");
    tmux.expect("ended-0");
    assert!(!socket.exists());
}

#[test]
fn debugging_tells_of_requests_and_of_no_value() {
    if !has("tmux") {
        return;
    }
    let home = Home::new();
    let tmux = terminal(&home, &["sh"]);
    tmux.line("akm-agent -d");
    tmux.expect("echo Agent pid");
    register(&home);
    let mut client = Client::connect(Some(&home.socket())).unwrap();
    let add = r#"{"name":"openai/canary-name","secret":"canary-secret"}"#;
    client.call_raw("key.add", add.as_bytes()).unwrap();
    let get = r#"{"name":"openai/canary-name"}"#;
    client.call_raw("key.get", get.as_bytes()).unwrap();
    client
        .call_raw("key.get", br#"{"name":"openai/canary-typed"}"#)
        .unwrap_err();
    let shown = tmux.expect("\"not_found\"");
    assert!(
        shown.contains("\"op\":\"key.get\",\"outcome\":\"ok\""),
        "{shown}"
    );
    assert!(
        !shown.contains("canary") && !shown.contains(PASSPHRASE),
        "{shown}"
    );
    tmux.press("C-c");
    eventually("the end of the agent", || !home.socket().exists());
}

#[test]
fn signals_lock_and_end_and_a_stale_socket_is_replaced() {
    if !has("tmux") {
        return;
    }
    let home = Home::new();
    let tmux = terminal(&home, &["sh"]);
    tmux.run(1, "eval \"$(akm-agent -t 8h)\"");
    register(&home);
    let shown = tmux.run(2, "akm status");
    assert!(shown.contains("default is unlocked until"), "{shown}");
    tmux.run(3, "kill -USR1 $AKM_AGENT_PID");
    eventually("the lock", || locked(&home));
    let shown = tmux.run(4, "akm status");
    assert!(shown.contains("locked (the agent got SIGUSR1)"), "{shown}");
    // The passphrase is asked for here, and not shown.
    tmux.line("akm unlock -t 1s; echo 'answered''-'$?");
    tmux.expect("passphrase:");
    tmux.line(PASSPHRASE);
    tmux.expect("answered-0");
    eventually("the end of its second", || locked(&home));
    let shown = tmux.run(5, "akm status");
    assert!(shown.contains("locked (its time was over)"), "{shown}");
    assert!(!shown.contains(PASSPHRASE), "{shown}");

    let pid = pid_of(&home);
    tmux.run(6, "kill -KILL $AKM_AGENT_PID");
    eventually("the end of the process", || !is_agent(pid));
    assert!(home.socket().exists(), "control: it is stale");
    let shown = tmux.run(7, "eval \"$(akm-agent)\"");
    assert!(shown.contains("done-7-0-"), "{shown}");
    assert_ne!(pid_of(&home), pid);
    tmux.run(8, "kill -TERM $AKM_AGENT_PID");
    eventually("the end of the agent", || !home.socket().exists());
}

#[test]
fn k_ends_agents_only() {
    let home = Home::new();
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let kill = |pid: &str| {
        let mut command = home.command();
        command
            .arg("-k")
            .env("AKM_AGENT_PID", pid)
            .output()
            .unwrap()
    };
    for pid in [&other.id().to_string(), "1", "0", "-1", "", "x"] {
        let output = kill(pid);
        assert_eq!(output.status.code(), Some(2), "{pid}");
        assert!(output.stdout.is_empty());
    }
    assert!(other.try_wait().unwrap().is_none(), "it lives");
    other.kill().unwrap();
    other.wait().unwrap();
    // Control.
    let mut agent: Agent = home.start();
    assert_eq!(kill(&agent.child.id().to_string()).status.code(), Some(0));
    assert!(agent.child.wait().unwrap().success());
}

#[test]
fn a_socket_of_another_program_is_not_an_agents_and_not_taken() {
    let home = Home::new();
    std::fs::create_dir_all(home.path()).unwrap();
    let listener = UnixListener::bind(home.socket()).unwrap();
    let output = home.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    drop(listener);
    // Control: stale now.
    let agent = home.start();
    assert!(agent.stop().success());
}
