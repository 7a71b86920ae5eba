//! What separates the agent from other programs: its bounds as the kernel knows them, what `akm doctor` measures, and an agent
//! that runs as a user of its own for the members of a group.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use support::user::{User, lacks, needs_root};
use support::{Agent, Home, PASSPHRASE, clean, copy_program, launch};

const OWNER: u32 = 54_324;

fn status_of(pid: u32, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.split(':').next() == Some(field));
    line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn the_agent_and_what_it_starts_are_under_the_list_of_calls() {
    let home = Home::new();
    let agent = home.start();
    assert_eq!(status_of(agent.child.id(), "Seccomp"), "2");
    let own: u32 = status_of(std::process::id(), "Seccomp_filters")
        .parse()
        .unwrap();
    let its: u32 = status_of(agent.child.id(), "Seccomp_filters")
        .parse()
        .unwrap();
    assert_eq!(its, own + 2, "the control: this process is not under it");
}

/// The doctor's checks of a user's, by name.
fn doctor(mut command: Command) -> Vec<Value> {
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let said: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    said["checks"].as_array().unwrap().clone()
}

fn check<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    let named = checks.iter().find(|check| check["name"] == name);
    named.unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

/// `akm` where every user can run it.
fn akm_for(user: &User) -> PathBuf {
    let akm = user.dir.path().join("akm");
    copy_program(env!("CARGO_BIN_EXE_akm"), &akm);
    akm
}

#[test]
fn the_doctor_measures_what_another_program_of_the_user_can_do() {
    if needs_root() {
        return;
    }
    let user = User::new(OWNER);
    let akm = akm_for(&user);
    let agent = user.start();
    let checks = doctor(user.command(&akm));
    let reach = check(&checks, "agent's memory");
    assert_eq!(reach["state"], "ok", "{reach}");
    assert_eq!(
        reach["found"],
        "a program beside it: ptrace refused, memory refused, environment refused"
    );
    // The control: the same program can do it where nothing is protected, unless this system has Yama.
    let plain = check(&checks, "your programs");
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if matches!(yama.trim(), "" | "0") {
        assert_eq!(plain["state"], "note", "{plain}");
        assert!(
            plain["found"].as_str().unwrap().contains("memory allowed"),
            "{plain}"
        );
        assert!(
            plain["hint"].as_str().unwrap().contains("ptrace_scope"),
            "{plain}"
        );
    }
    assert_eq!(check(&checks, "core dumps")["state"], "ok");
    for name in ["system calls", "files", "privileges"] {
        assert_eq!(check(&checks, name)["state"], "ok", "{name}");
    }
    let calls = check(&checks, "system calls");
    assert_eq!(
        calls["found"],
        "what is never needed is refused to the agent"
    );
    let own = check(&checks, "agent's user");
    assert_eq!(own["state"], "note", "{own}");
    assert!(
        own["hint"].as_str().unwrap().contains("--setup-system"),
        "{own}"
    );
    assert!(
        check(&checks, "locked memory")["found"]
            .as_str()
            .unwrap()
            .contains("the agent has")
    );
    assert_eq!(
        check(&checks, "who may connect")["found"],
        format!("uid {OWNER} alone")
    );

    // Without the right to lock memory, and with the socket open to all.
    std::fs::set_permissions(&agent.socket, PermissionsExt::from_mode(0o666)).unwrap();
    let mut limited = user.command(Path::new("sh"));
    let shell = format!("ulimit -l 0; exec {} \"$@\"", akm.display());
    limited.args(["-c", &shell, "sh"]);
    let checks = doctor(limited);
    assert_eq!(check(&checks, "locked memory")["state"], "note");
    assert_eq!(check(&checks, "who may connect")["state"], "bad");
}

#[test]
fn the_script_for_a_user_of_its_own_is_one_and_changes_nothing() {
    let home = Home::new();
    let mut command = clean(Path::new(env!("CARGO_BIN_EXE_akm")));
    command
        .env("AKM_HOME", home.path())
        .args(["doctor", "--setup-system"]);
    let output = command.output().unwrap();
    assert!(output.status.success() && !home.path().exists());
    let script = String::from_utf8(output.stdout).unwrap();
    for part in [
        "u akm - ",
        "SocketGroup=akm",
        "ProtectSystem=strict",
        "group = \"akm\"",
        "systemctl",
    ] {
        assert!(script.contains(part), "{part}");
    }
    assert!(
        !script.contains("\n@") && !script.contains("'@"),
        "{script}"
    );
    let mut shell = Command::new("sh");
    shell.args(["-n", "-c", &script]);
    assert!(shell.status().unwrap().success(), "it is not a script");
}

/// Real users and a real group, removed with the test.
struct Users {
    group: String,
    names: Vec<String>,
}

impl Users {
    /// The agent's own user, whose group it is; two members; one that is none.
    fn new() -> Users {
        // Tests of one process run side by side.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("akmt{}x{count}", std::process::id() % 100_000);
        let group = format!("{tag}g");
        done("groupadd", &["--system", &group]);
        let names: Vec<String> = ["a", "m", "n", "s"].map(|end| format!("{tag}{end}")).into();
        let users = Users {
            group: group.clone(),
            names,
        };
        for (index, name) in users.names.iter().enumerate() {
            let mut arguments = vec!["--system", "--no-create-home", "--shell", "/bin/sh"];
            match index {
                0 => arguments.extend(["--gid", &group]),
                1 | 2 => arguments.extend(["--groups", &group]),
                _ => {}
            }
            arguments.push(name);
            done("useradd", &arguments);
        }
        users
    }

    fn agent(&self) -> &str {
        &self.names[0]
    }

    fn members(&self) -> [&str; 2] {
        [&self.names[1], &self.names[2]]
    }

    fn stranger(&self) -> &str {
        &self.names[3]
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("userdel").arg(name).output();
        }
        let _ = Command::new("groupdel").arg(&self.group).output();
    }
}

fn done(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

/// A program as a user with all of its groups, as a login has them.
fn as_user(name: &str, program: &Path) -> Command {
    let mut command = clean(Path::new("setpriv"));
    let user = nix::unistd::User::from_name(name).unwrap().unwrap();
    command
        .arg(format!("--reuid={name}"))
        .arg(format!("--regid={}", user.gid))
        .arg("--init-groups")
        .arg(program)
        .current_dir("/");
    command
}

fn ask(name: &str, socket: &Path, op: &str, body: &Value) -> Output {
    let mut command = as_user(name, Path::new("curl"));
    command
        .args([
            "--silent",
            "--max-time",
            "30",
            "--data",
            &body.to_string(),
            "--unix-socket",
        ])
        .arg(socket)
        .arg(format!("http://akm/v1/{op}"));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_agent_of_its_own_user_serves_the_members_of_its_group_and_nobody_else() {
    if needs_root() || lacks("useradd") || lacks("setpriv") {
        return;
    }
    let users = Users::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.path().join("akm-agent");
    copy_program(env!("CARGO_BIN_EXE_akm-agent"), &program);
    let own = nix::unistd::User::from_name(users.agent())
        .unwrap()
        .unwrap();
    let place = |name: &str, mode| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        chown(&path, Some(own.uid.as_raw()), Some(own.gid.as_raw())).unwrap();
        path
    };
    let (home, run) = (place("home", 0o700), place("run", 0o755));
    let config = dir.path().join("config.toml");
    std::fs::write(&config, format!("[agent]\ngroup = \"{}\"\n", users.group)).unwrap();
    let socket = run.join("agent.sock");
    let start = || {
        let mut command = as_user(users.agent(), &program);
        command
            .arg("-D")
            .env("AKM_HOME", &home)
            .env("AKM_CONFIG", &config)
            .env("AKM_AGENT_SOCK", &socket);
        Agent {
            child: launch(command).expect("the agent starts"),
            socket: socket.clone(),
        }
    };
    let agent = start();
    assert_eq!(status_of(agent.child.id(), "Uid"), own.uid.to_string());
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    // Two members, each with an account and a session of its own.
    let [first, second] = users.members();
    for (name, secret) in [(first, "sk-of-the-first"), (second, "sk-of-the-second")] {
        let body = json!({"account": name, "passphrase": PASSPHRASE, "totp": false});
        assert!(said(&ask(name, &socket, "account.register", &body)).contains("\"ok\":true"));
        let body = json!({"name": "openai", "secret": secret});
        assert!(said(&ask(name, &socket, "key.add", &body)).contains("\"ok\":true"));
    }
    let get = json!({"name": "openai"});
    assert!(said(&ask(first, &socket, "key.get", &get)).contains("sk-of-the-first"));
    assert!(said(&ask(second, &socket, "key.get", &get)).contains("sk-of-the-second"));
    assert!(said(&ask(first, &socket, "agent.lock", &json!({}))).contains("\"ok\":true"));
    assert!(said(&ask(first, &socket, "key.get", &get)).contains("\"locked\""));
    assert!(said(&ask(second, &socket, "key.get", &get)).contains("sk-of-the-second"));

    // Which program asks it cannot see, so a grant covers nobody, and whatever needs one is refused.
    let as_second = |op: &str, body: Value| said(&ask(second, &socket, op, &body));
    let curl = std::fs::canonicalize("/usr/bin/curl").unwrap();
    let grant = json!({"name": "openai", "exe": curl, "passphrase": PASSPHRASE});
    assert!(as_second("grant.add", grant).contains("\"ok\":true"));
    let listed = as_second("grant.list", json!({}));
    assert!(listed.contains("\"covers_caller\":false"), "{listed}");
    for policy in ["granted", "ask"] {
        let set = json!({"policy": policy, "passphrase": PASSPHRASE});
        assert!(as_second("policy.set", set).contains("\"ok\":true"));
        for op in ["key.get", "key.remove"] {
            let refused = as_second(op, get.clone());
            assert!(refused.contains("\"denied\""), "{policy} {op}: {refused}");
        }
    }
    // The passphrase still manages, and a policy that needs to know nothing serves.
    let change = json!({"name": "openai", "notes": "noted", "passphrase": PASSPHRASE});
    assert!(as_second("key.update", change).contains("\"noted\""));
    let set = json!({"policy": "open", "passphrase": PASSPHRASE});
    assert!(as_second("policy.set", set).contains("\"ok\":true"));
    assert!(as_second("key.get", get.clone()).contains("sk-of-the-second"));

    // Who is none is refused by the file, and, where that lets everybody in, by the agent; so is root.
    let refused = ask(users.stranger(), &socket, "agent.status", &json!({}));
    assert!(refused.stdout.is_empty() && !refused.status.success());
    std::fs::set_permissions(&run, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    for name in [users.stranger(), "root"] {
        let refused = ask(name, &socket, "agent.status", &json!({}));
        assert!(
            refused.stdout.is_empty() && !refused.status.success(),
            "{name}"
        );
    }
    assert!(said(&ask(second, &socket, "agent.status", &json!({}))).contains("\"ok\":true"));

    // What belongs to the agent is not the members': files, memory, environment, configuration.
    for path in [
        home.join("vault.db").display().to_string(),
        format!("/proc/{}/environ", agent.child.id()),
        format!("/proc/{}/maps", agent.child.id()),
    ] {
        let mut look = as_user(second, Path::new("cat"));
        assert!(
            !look.arg(&path).output().unwrap().status.success(),
            "{path}"
        );
    }
    let mut write = as_user(second, Path::new("sh"));
    write.args(["-c", &format!("echo >> {}", config.display())]);
    assert!(!write.output().unwrap().status.success());

    // It makes backups within its bounds, stops, and starts again.
    let made = said(&ask(second, &socket, "backup.create", &json!({})));
    assert!(made.contains("\"ok\":true"), "{made}");
    assert!(agent.stop().success());
    let agent = start();
    let body = json!({"account": second, "passphrase": PASSPHRASE});
    assert!(said(&ask(second, &socket, "agent.unlock", &body)).contains("\"ok\":true"));
    assert!(said(&ask(second, &socket, "key.get", &get)).contains("sk-of-the-second"));
    drop(agent);
}

#[test]
fn through_a_socket_that_root_made_the_command_reaches_an_agent_of_another_user() {
    if needs_root() || lacks("useradd") || lacks("setpriv") || lacks("systemd-socket-activate") {
        return;
    }
    let users = Users::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (program, akm) = (dir.path().join("akm-agent"), dir.path().join("akm"));
    copy_program(env!("CARGO_BIN_EXE_akm-agent"), &program);
    copy_program(env!("CARGO_BIN_EXE_akm"), &akm);
    let own = nix::unistd::User::from_name(users.agent())
        .unwrap()
        .unwrap();
    let made = |name: &str, owner: u32, mode| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        chown(&path, Some(owner), None).unwrap();
        path
    };
    let home = made("home", own.uid.as_raw(), 0o700);
    // As /run/akm is: root's.
    let run = made("run", 0, 0o755);
    let config = dir.path().join("config.toml");
    std::fs::write(&config, format!("[agent]\ngroup = \"{}\"\n", users.group)).unwrap();
    let socket = run.join("agent.sock");
    let mut manager = clean(Path::new("systemd-socket-activate"));
    manager.arg("--listen").arg(&socket);
    for (name, value) in [
        ("AKM_HOME", &home),
        ("AKM_CONFIG", &config),
        ("AKM_AGENT_SOCK", &socket),
    ] {
        manager.arg(format!("--setenv={name}={}", value.display()));
    }
    manager
        .arg("setpriv")
        .arg(format!("--reuid={}", users.agent()))
        .arg(format!("--regid={}", own.gid))
        .arg("--init-groups")
        .arg(&program)
        .arg("-D");
    let child = manager.stdin(std::process::Stdio::null()).spawn().unwrap();
    let agent = Agent {
        child,
        socket: socket.clone(),
    };
    support::eventually("the socket", || socket.exists());
    chown(&socket, None, Some(own.gid.as_raw())).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o660)).unwrap();

    let member = users.members()[0];
    let member_home = made(
        "member",
        nix::unistd::User::from_name(member)
            .unwrap()
            .unwrap()
            .uid
            .as_raw(),
        0o700,
    );
    let say = |name: &str, arguments: &[&str], input: &str| {
        let mut command = as_user(name, &akm);
        command
            .args(arguments)
            .env("HOME", &member_home)
            .env("AKM_LANG", "en")
            .env("AKM_AGENT_SOCK", &socket)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let init = ["init", "--no-totp", "--passphrase-stdin"];
    let output = say(member, &init, &format!("{PASSPHRASE}\n"));
    assert!(output.status.success(), "{output:?}");
    let output = say(
        member,
        &["add", "openai", "--secret-stdin"],
        "sk-through-the-group\n",
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        said(&say(member, &["get", "openai"], "")),
        "sk-through-the-group\n"
    );
    // The doctor sees what it is.
    let output = say(member, &["doctor", "--json"], "");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    for name in [
        "socket",
        "agent's user",
        "agent's memory",
        "system calls",
        "privileges",
    ] {
        assert_eq!(check(checks, name)["state"], "ok", "{name}: {found}");
    }
    let name = check(checks, "agent's user")["found"].to_string();
    assert!(name.contains(users.agent()), "{name}");
    let hint = check(checks, "agent's user")["hint"].to_string();
    assert!(hint.contains("grants cover nobody"), "{hint}");
    assert_eq!(
        check(checks, "who may connect")["found"],
        format!("members of {}", users.group)
    );
    // Another member who guesses is told to wait, and whose account it is is not: the kernel tells them apart.
    let unlock = ["unlock", "--passphrase-stdin", "--json"];
    let kinds: Vec<String> = (0..6)
        .map(|_| {
            let output = say(users.members()[1], &unlock, "a guess\n");
            let error: Value = serde_json::from_slice(&output.stderr).unwrap();
            error["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds[4..], ["wrong_credentials", "rate_limited"], "control");
    assert!(say(member, &["lock"], "").status.success());
    let output = say(member, &unlock, &format!("{PASSPHRASE}\n"));
    assert!(output.status.success(), "{output:?}");
    // A stranger is not let in.
    let output = say(users.stranger(), &["get", "openai"], "");
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    drop(agent);
}

#[test]
fn a_group_that_does_not_exist_stops_the_start() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    let config = home.path().join("config.toml");
    std::fs::write(&config, "[agent]\ngroup = \"no-such-group-here\"\n").unwrap();
    let mut command = home.command();
    command.arg("-D").process_group(0);
    let failure = launch(command).map(|_| ()).expect_err("it started");
    assert!(
        failure.stderr.contains("agent.group does not exist"),
        "{}",
        failure.stderr
    );
    assert!(!home.socket().exists());
}
