//! The agent as a process, over its socket.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use akm_core::Kind;
use akm_core::protocol::{AgentStatus, AuditList, AuditVerify, Authority, MAX_REQUEST, Op};
use nix::sys::signal::Signal;
use support::{Home, PASSPHRASE, clean, eventually, request};

#[test]
fn a_key_goes_in_and_comes_out_until_it_is_locked() {
    let home = Home::new();
    let agent = home.start();
    let status = agent.client().call(&AgentStatus {}).unwrap();
    assert!(!status.initialized && status.locked);
    assert_eq!(agent.get("openai").unwrap_err().kind(), Kind::Locked);

    agent.register();
    agent.add("openai", "sk-one").unwrap();
    assert_eq!(agent.get("openai").unwrap(), "sk-one");
    agent.lock();
    assert_eq!(agent.get("openai").unwrap_err().kind(), Kind::Locked);
    agent.unlock(None).unwrap();
    assert_eq!(agent.get("openai").unwrap(), "sk-one");

    // A stop locks, an acknowledged key is there after it.
    assert!(agent.stop().success());
    assert!(!home.socket().exists());
    let agent = home.start();
    assert_eq!(agent.get("openai").unwrap_err().kind(), Kind::Locked);
    agent.unlock(None).unwrap();
    assert_eq!(agent.get("openai").unwrap(), "sk-one");
    let mut client = agent.client();
    assert!(client.call(&AuditVerify::default()).unwrap().ok);
    let events = client.call(&AuditList::default()).unwrap().events;
    let exe = std::env::current_exe().unwrap();
    let get = events
        .iter()
        .find(|event| event.action == "key.get" && event.outcome == "ok")
        .unwrap();
    assert_eq!(get.caller.exe, exe.to_str().unwrap());
    assert_eq!(get.caller.pid, i32::try_from(std::process::id()).unwrap());
}

#[test]
fn plain_curl_works_and_every_answer_is_an_envelope() {
    let home = Home::new();
    let agent = home.start();
    let status_of = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    let curl = "POST /v1/agent.status HTTP/1.1\r\nHost: akm\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    let answer = agent.http(curl);
    assert_eq!(status_of(&answer), "200");
    assert!(answer.contains(r#""initialized":false"#));
    let empty = "Host: akm\r\nConnection: close\r\n\r\n";
    for (line, status, kind) in [
        ("GET /healthz", "200", None),
        ("GET /readyz", "200", None),
        ("GET /v1/openapi.json", "200", None),
        ("GET /v1/agent.status", "405", Some("invalid_input")),
        ("POST /healthz", "405", Some("invalid_input")),
        ("POST /readyz", "405", Some("invalid_input")),
        ("POST /v1/key.steal", "404", Some("not_found")),
        ("GET /", "404", Some("not_found")),
        ("POST /v1/../v1/agent.status", "404", Some("not_found")),
        ("POST /v1/agent.unlock", "400", Some("invalid_input")),
        ("POST /v1/key.list", "423", Some("locked")),
    ] {
        let answer = agent.http(&format!("{line} HTTP/1.1\r\n{empty}"));
        assert_eq!(status_of(&answer), status, "{line}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{line}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        if let Some(kind) = kind {
            assert_eq!(body["error"]["kind"], kind, "{line}");
            assert_eq!(body["ok"], false);
        }
    }
}

#[test]
fn a_locked_agent_does_not_look_at_what_is_asked() {
    let home = Home::new();
    let agent = home.start();
    let status = |op: &Op, body: &str| {
        let answer = agent.http(&request(op.name(), body));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let gated = || {
        let session = |op: &&Op| op.authority() == Authority::Session;
        Op::ALL.iter().filter(session)
    };
    for body in ["not json", r#"{"unknown":1}"#, ""] {
        for op in gated() {
            assert_eq!(status(op, body), "423", "{} {body}", op.name());
        }
        // Control: what needs no session is looked at.
        let expected = if body.is_empty() { "200" } else { "400" };
        assert_eq!(status(&Op::AgentStatus, body), expected);
    }
    // Control: the same content is refused for itself once the account is open.
    agent.register();
    for op in gated() {
        assert_eq!(status(op, "not json"), "400", "{}", op.name());
    }
}

#[test]
fn every_operation_of_the_table_has_its_route() {
    let home = Home::new();
    let agent = home.start();
    for op in Op::ALL {
        let answer = agent.http(&request(op.name(), "{}"));
        assert!(
            !answer.contains("there is no such operation"),
            "{}",
            op.name()
        );
        assert!(answer.contains("\"ok\":"), "{}", op.name());
    }
    assert!(
        agent
            .http(&request("key.none", "{}"))
            .contains("there is no such operation")
    );
}

#[test]
fn lock_closes_idle_connections_and_leaves_the_others() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    let mut used = UnixStream::connect(&agent.socket).unwrap();
    let get =
        "POST /v1/key.get HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\n\r\n{\"name\":\"openai\"}";
    used.write_all(get.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    let count = used.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..count]).contains("sk-one"));
    let mut silent = UnixStream::connect(&agent.socket).unwrap();

    agent.lock();
    assert_eq!(used.read(&mut answer).unwrap(), 0);
    silent
        .write_all(request("agent.status", "{}").as_bytes())
        .unwrap();
    let count = silent.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..count]).contains("\"locked\":true"));
}

#[test]
fn a_connection_that_carried_a_passphrase_is_closed() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let body = format!(r#"{{"passphrase":"{PASSPHRASE}"}}"#);
    let unlock = request("agent.unlock", &body).replace("connection: close\r\n", "");
    let answer = agent.http(&unlock);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    // Others are kept.
    let status = request("agent.status", "{}").replace("connection: close\r\n", "");
    let answer = agent.http(&format!("{status}{}", request("agent.status", "{}")));
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2);
}

#[test]
fn a_slow_operation_does_not_hold_up_others() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    // Key derivations under way and waiting; all of them together take many times as long as a get.
    let unlocking: Vec<_> = (0..10)
        .map(|number| {
            let body = format!(r#"{{"account":"nobody{number}","passphrase":"wrong"}}"#);
            let mut stream = UnixStream::connect(&agent.socket).unwrap();
            stream
                .write_all(request("agent.unlock", &body).as_bytes())
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(agent.get("openai").unwrap(), "sk-one");
    let mut unanswered = 0;
    for mut stream in unlocking {
        stream.set_nonblocking(true).unwrap();
        if stream
            .read(&mut [0; 1])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        {
            unanswered += 1;
        }
        stream.set_nonblocking(false).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("wrong_credentials"), "{answer}");
    }
    assert!(unanswered > 0, "the get waited for every unlock");
}

#[test]
fn a_lifetime_ends_a_session() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.lock();
    agent.unlock(Some(3600)).unwrap();
    let status = agent.client().call(&AgentStatus {}).unwrap();
    assert!(!status.locked && status.expires_at.is_some());
    agent.unlock(Some(1)).unwrap();
    eventually("the end of the session", || {
        agent.client().call(&AgentStatus {}).unwrap().locked
    });
    agent.stop();

    std::fs::write(
        home.path().join("config.toml"),
        "[agent]\nlifetime = \"1h\"\n",
    )
    .unwrap();
    let agent = home.start();
    agent.unlock(None).unwrap();
    assert!(
        agent
            .client()
            .call(&AgentStatus {})
            .unwrap()
            .expires_at
            .is_some()
    );
}

#[test]
fn signals_lock_stop_and_are_ignored() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    agent.signal(Signal::SIGHUP);
    assert_eq!(agent.get("openai").unwrap(), "sk-one");
    agent.signal(Signal::SIGUSR1);
    eventually("the lock", || {
        agent.client().call(&AgentStatus {}).unwrap().locked
    });
    let mut agent = agent;
    agent.signal(Signal::SIGINT);
    assert!(agent.child.wait().unwrap().success());
    assert!(!home.socket().exists());
}

#[test]
fn events_reach_the_store_without_a_request_and_at_the_end() {
    use akm_core::store::{SqliteStore, Store};
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    agent.get("openai").unwrap();
    assert!(agent.stop().success());
    let host = akm_core::host::Host::real();
    let store =
        SqliteStore::open(&home.path().join("vault.db"), &*host.random, &*host.clock).unwrap();
    let account = store.account_by_name("default").unwrap().unwrap().id;
    let events = store.events(&account, 0, None, None, 100).unwrap();
    assert!(events.iter().any(|event| event.action == "key.get"));
}

#[test]
fn it_goes_to_the_background_and_k_ends_it() {
    let home = Home::new();
    // A relative home is where the starter stands, not where the daemon goes.
    let relative = |flag| {
        home.command()
            .arg(flag)
            .env("AKM_HOME", "home")
            .current_dir(home.dir.path())
            .output()
    };
    let output = relative("-s").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let pid = text
        .split("AKM_AGENT_PID=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let socket = home.socket();
    assert!(text.starts_with(&format!("AKM_AGENT_SOCK={};", socket.display())));
    let mut client = akm_core::client::Client::connect(Some(&socket)).unwrap();
    assert!(client.call(&AgentStatus {}).is_ok());
    assert_eq!(
        akm_agent::daemon::running(&socket).map(|p| p.to_string()),
        Some(pid.clone())
    );
    // It leads a session of its own and holds nothing of its starter's.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(session, pid);
    assert_eq!(
        std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
        Path::new("/")
    );

    let second = home.command().arg("-s").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("listens on this socket already"));

    let killed = home
        .command()
        .arg("-k")
        .env("AKM_AGENT_PID", &pid)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&killed.stdout).contains("unset AKM_AGENT_SOCK;"));
    eventually("the end of the agent", || !socket.exists());
    let log = std::fs::metadata(home.path().join("state/agent.log")).unwrap();
    assert_eq!(log.mode() & 0o777, 0o600);
}

#[test]
fn a_command_that_cannot_be_run_is_told_by_its_exit_code() {
    let home = Home::new();
    let code = |args: &[&str]| home.command().args(args).output().unwrap().status.code();
    for bogus in [&["--bogus"][..], &["-x"], &["--bogus", "true"]] {
        assert_eq!(code(bogus), Some(64), "{bogus:?}");
        assert!(!home.path().exists(), "something was started");
    }
    // Control: what stands after the command is the command's.
    assert_eq!(code(&["sh", "-c", "exit 7", "--bogus", "-k"]), Some(7));
    eventually("the end of the agent", || !home.socket().exists());
    assert_eq!(code(&["no-such-command-of-akm"]), Some(127));
    eventually("the end of the agent", || !home.socket().exists());
    assert_eq!(code(&["/dev/null"]), Some(126));
}

#[test]
fn an_agent_for_a_command_ends_with_it() {
    let home = Home::new();
    let script =
        "test -S \"$AKM_AGENT_SOCK\" && kill -0 $AKM_AGENT_PID && echo $AKM_AGENT_PID; exit 7";
    let output = home.command().args(["sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(!output.stdout.is_empty());
    eventually("the end of the agent", || !home.socket().exists());
}

#[test]
fn what_stops_it_from_starting_is_said_to_whoever_starts_it() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    std::fs::write(home.path().join("config.toml"), "[limits]\nkeys = 1\n").unwrap();
    for flag in ["-D", "-s"] {
        let output = home.command().arg(flag).output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        assert!(output.stdout.is_empty());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("unknown key"),
            "{flag}"
        );
    }
    assert!(!home.socket().exists());
    std::fs::remove_file(home.path().join("config.toml")).unwrap();
    home.start();
}

#[test]
fn the_process_gives_up_what_it_does_not_need() {
    let home = Home::new();
    let mut command = home.command();
    command
        .arg("-D")
        .env("HTTPS_PROXY", "http://x")
        .env("SSL_CERT_FILE", "/x")
        .env("AKM_LANG", "en");
    let child = support::launch(command).unwrap();
    let agent = support::Agent {
        child,
        socket: home.socket(),
    };
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", agent.child.id())).unwrap();
    let status = read("status");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"));
    assert!(status.lines().any(|line| line == "Umask:\t0077"));
    let core = read("limits")
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap()
        .to_owned();
    assert_eq!(core.split_whitespace().nth(4), Some("0"));
    // Files of a process that may not be dumped belong to root in /proc, whoever runs it.
    if !support::is_root() {
        let owner = std::fs::metadata(format!("/proc/{}/mem", agent.child.id()))
            .unwrap()
            .uid();
        assert_eq!(owner, 0);
    }
    agent.stop();
}

#[test]
fn files_and_directories_are_private() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o777;
    let mut open = vec![home.path()];
    let mut files = 0;
    while let Some(dir) = open.pop() {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files >= 4);
}

#[test]
fn a_directory_that_the_user_named_keeps_its_mode() {
    let home = Home::new();
    let given = home.dir.path().join("given");
    std::fs::create_dir(&given).unwrap();
    std::fs::set_permissions(&given, PermissionsExt::from_mode(0o755)).unwrap();
    let socket = given.join("s");
    let mut command = home.command();
    command.arg("-D").arg("-a").arg(&socket);
    let child = support::launch(command).unwrap();
    let agent = support::Agent {
        child,
        socket: socket.clone(),
    };
    assert!(agent.client().call(&AgentStatus {}).is_ok());
    assert_eq!(std::fs::metadata(&given).unwrap().mode() & 0o777, 0o755);
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn the_largest_request_is_read_whole() {
    let home = Home::new();
    let agent = home.start();
    let body = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
    assert!(
        agent
            .http(&request("agent.status", &body(MAX_REQUEST)))
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        agent
            .http(&request("agent.status", &body(MAX_REQUEST + 1)))
            .starts_with("HTTP/1.1 413")
    );
}

/// The test builds of this workspace know a key derivation that takes microseconds; what ships must not.
#[test]
fn a_release_is_built_without_the_fast_key_derivation() {
    let features = |edges: &str| {
        let output = clean(Path::new(env!("CARGO")))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--prefix",
                "none",
                "--format",
                "{p} {f}",
                "--edges",
                edges,
            ])
            .args([
                "--package",
                "akm-agent",
                "--package",
                "akm-ffi",
                "--package",
                "akm-core",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!features("normal,build").contains("insecure-test-kdf"));
    assert!(features("normal,build,dev").contains("insecure-test-kdf"));
}
