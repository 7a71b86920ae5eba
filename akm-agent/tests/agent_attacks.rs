//! Attacks on the socket and on the process. Each is named after its case in the attack programme and stands
//! beside a positive control: the same act where it is allowed.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use akm_core::client::Client;
use akm_core::protocol::{AgentStatus, MAX_REQUEST};
use akm_core::store::{SqliteStore, Store};
use support::{Agent, Home, clean, copy_program, curl_as, eventually, is_root, launch, request};

/// A user that owns nothing.
const STRANGER: u32 = 65_534;
/// Another one, to run an agent as.
const OWNER: u32 = 54_321;

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Without root there is no second user to attack as; CI runs these as root.
fn needs_root() -> bool {
    if is_root() {
        return false;
    }
    assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
    eprintln!("skipped: needs root to act as another user");
    true
}

#[test]
fn c01_other_uid() {
    if needs_root() {
        return;
    }
    let home = Home::new();
    let agent = home.start();
    agent.register();
    // The worst case: the file system lets everybody in.
    mode(home.dir.path(), 0o711);
    mode(&home.path(), 0o711);
    mode(&agent.socket, 0o666);

    let own = curl_as(0, &agent.socket);
    assert!(String::from_utf8_lossy(&own.stdout).contains("\"ok\":true"));
    let other = curl_as(STRANGER, &agent.socket);
    assert!(other.stdout.is_empty());
    // curl's words for a server that closes: at once, without an answer, while it sends, with its request unread.
    assert!(
        matches!(other.status.code(), Some(7 | 52 | 55 | 56)),
        "{other:?}"
    );

    mode(&home.path(), 0o700);
    assert!(agent.stop().success());
    // The event shows that it had arrived.
    let refused = system_events(&home)
        .into_iter()
        .filter(|(_, outcome)| outcome == "denied")
        .count();
    assert_eq!(refused, 1);
}

/// Action and outcome of the system chain.
fn system_events(home: &Home) -> Vec<(String, String)> {
    let host = akm_core::host::Host::real();
    let store =
        SqliteStore::open(&home.path().join("vault.db"), &*host.random, &*host.clock).unwrap();
    let events = store.events(&[0; 16], 0, None, None, 100).unwrap();
    events
        .into_iter()
        .map(|event| (event.action, event.outcome))
        .collect()
}

#[test]
fn c03_precreated_directory() {
    let refused = |prepare: &dyn Fn(&Path)| {
        let home = Home::new();
        prepare(&home.path());
        let mut command = home.command();
        command.arg("-D");
        let failure = launch(command).map(|_| ()).expect_err("it started");
        assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
        assert!(!home.socket().exists());
    };
    refused(&|path| {
        std::fs::create_dir(path).unwrap();
        mode(path, 0o777);
    });
    refused(&|path| {
        std::fs::create_dir(path).unwrap();
        mode(path, 0o770);
    });
    refused(&|path| {
        let target = path.with_file_name("target");
        std::fs::create_dir(&target).unwrap();
        mode(&target, 0o700);
        symlink(target, path).unwrap();
    });
    // Above it: whoever can write there can put another directory in its place.
    refused(&|path| mode(path.parent().unwrap(), 0o777));
    if is_root() {
        refused(&|path| {
            std::fs::create_dir(path).unwrap();
            std::os::unix::fs::chown(path, Some(STRANGER), None).unwrap();
        });
    }

    // Control: our own, even if others may look.
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    mode(&home.path(), 0o755);
    let agent = home.start();
    assert!(agent.client().call(&AgentStatus {}).is_ok());
    assert_eq!(
        std::fs::metadata(home.path()).unwrap().mode() & 0o777,
        0o700
    );
}

#[test]
fn c03_precreated_runtime_directory() {
    if needs_root() {
        return;
    }
    let tools = tempfile::tempdir().unwrap();
    mode(tools.path(), 0o755);
    let program = tools.path().join("akm-agent");
    copy_program(env!("CARGO_BIN_EXE_akm-agent"), &program);
    let user_home = tools.path().join("home");
    std::fs::create_dir(&user_home).unwrap();
    std::os::unix::fs::chown(&user_home, Some(OWNER), Some(OWNER)).unwrap();
    let runtime = PathBuf::from(format!("/tmp/akm-{OWNER}"));
    let _ = std::fs::remove_dir_all(&runtime);
    let start = || {
        let mut command = clean(&program);
        command
            .arg("-D")
            .env("HOME", &user_home)
            .current_dir("/")
            .uid(OWNER)
            .gid(OWNER);
        launch(command)
    };
    // Somebody was there first.
    std::fs::create_dir(&runtime).unwrap();
    mode(&runtime, 0o777);
    let failure = start()
        .map(|_| ())
        .expect_err("it started in another user's directory");
    assert!(
        failure.stderr.contains("belongs to another user"),
        "{}",
        failure.stderr
    );
    std::fs::remove_dir(&runtime).unwrap();
    symlink(&user_home, &runtime).unwrap();
    let failure = start().map(|_| ()).expect_err("it followed a link");
    assert!(failure.stderr.contains("symlink"), "{}", failure.stderr);
    std::fs::remove_file(&runtime).unwrap();
    // Control: nobody was.
    let agent = Agent {
        child: start().unwrap(),
        socket: runtime.join("agent.sock"),
    };
    assert_eq!(std::fs::metadata(&runtime).unwrap().mode() & 0o777, 0o700);
    assert!(agent.stop().success());
    std::fs::remove_dir_all(&runtime).unwrap();
}

#[test]
fn c04_squatted_socket() {
    if needs_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    mode(dir.path(), 0o777);
    let path = dir.path().join("s");
    // A listener of another user, which prints what it is sent.
    let mut squatter = Command::new("python3")
        .args(["-c", LISTENER])
        .arg(&path)
        .current_dir("/")
        .uid(STRANGER)
        .gid(STRANGER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut out = squatter.stdout.take().unwrap();
    out.read_exact(&mut [0; 1]).unwrap();
    let error = Client::connect(Some(&path)).err().unwrap();
    assert_eq!(error.kind(), akm_core::Kind::Denied);
    let mut caught = Vec::new();
    out.read_to_end(&mut caught).unwrap();
    assert!(caught.is_empty());
    squatter.wait().unwrap();

    // Control: our own listener gets the request.
    let path = dir.path().join("own");
    let listener = UnixListener::bind(&path).unwrap();
    let taken = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read(&mut [0; 64]).unwrap()
    });
    let _ = Client::connect(Some(&path)).unwrap().call(&AgentStatus {});
    assert!(taken.join().unwrap() > 0);
}

const LISTENER: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()
import os; os.chmod(sys.argv[1], 0o777)
sys.stdout.write('r'); sys.stdout.flush()
c, _ = s.accept(); c.settimeout(20)
sys.stdout.buffer.write(c.recv(65536)); sys.stdout.flush()
";

#[test]
fn c05_stale_socket_and_race() {
    race(20);
}

#[test]
#[ignore = "the whole programme: a thousand rounds of two processes"]
fn c05_stale_socket_and_race_1000() {
    race(1000);
}

/// Two agents start together on what a killed one left behind: exactly one serves.
fn race(rounds: usize) {
    let home = Home::new();
    home.start().kill();
    for round in 0..rounds {
        assert!(home.socket().exists());
        assert!(
            UnixStream::connect(home.socket()).is_err(),
            "round {round}: the socket is not stale"
        );
        let starters: Vec<_> = (0..2)
            .map(|_| {
                let mut command = home.command();
                command.arg("-D");
                std::thread::spawn(|| launch(command))
            })
            .collect();
        let started: Vec<_> = starters
            .into_iter()
            .map(|starter| starter.join().unwrap())
            .collect();
        let mut winners: Vec<_> = Vec::new();
        for outcome in started {
            match outcome {
                Ok(child) => winners.push(Agent {
                    child,
                    socket: home.socket(),
                }),
                Err(failure) => assert!(
                    failure.stderr.contains("listens on this socket already"),
                    "round {round}: {}",
                    failure.stderr
                ),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        // The one that says it serves is the one that is reached.
        let reached = akm_agent::daemon::running(&home.socket());
        assert_eq!(reached, Some(winners[0].pid().as_raw()), "round {round}");
        winners.remove(0).kill();
    }
}

#[test]
fn c06_oversized_frame() {
    let home = Home::new();
    let agent = home.start();
    let head = |length: &str| {
        format!("POST /v1/agent.status HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
    };
    // Once, so that what any request takes is taken.
    let filled = format!("{{}}{}", " ".repeat(MAX_REQUEST - 2));
    assert!(
        agent
            .http(&request("agent.status", &filled))
            .starts_with("HTTP/1.1 200")
    );
    let before = agent.memory_kib("VmHWM");

    for length in [
        "4294967295",
        "9223372036854775807",
        &(MAX_REQUEST + 1).to_string(),
    ] {
        let answer = agent.http(&head(length));
        assert!(answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert!(answer.contains("connection: close") && answer.contains("invalid_input"));
    }
    for length in [
        "-1",
        "99999999999999999999999",
        "2\r\ncontent-length: 3",
        "x",
    ] {
        let answer = agent.http(&format!("{}{{}}", head(length)));
        assert!(answer.starts_with("HTTP/1.1 400"), "{length}: {answer}");
    }

    // Chunks without end: the agent stops reading, whatever else comes.
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    stream
        .write_all(
            b"POST /v1/agent.status HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let sent = (0..100_000)
        .take_while(|_| stream.write_all(chunk.as_bytes()).is_ok())
        .count();
    assert!(sent * 0x1000 < 4 * MAX_REQUEST, "it took {sent} chunks");

    // Headers without end.
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    stream
        .write_all(b"POST /v1/agent.status HTTP/1.1\r\n")
        .unwrap();
    let line = format!("x-flood: {}\r\n", "y".repeat(1000));
    let sent = (0..100_000)
        .take_while(|_| stream.write_all(line.as_bytes()).is_ok())
        .count();
    assert!(sent < 1000, "it took {sent} header lines");
    let many = "x: y\r\n".repeat(200);
    let answer = agent.http(&format!("POST /v1/agent.status HTTP/1.1\r\n{many}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");

    // Lengths at the end of what a number holds, as docs/http.md has them.
    for (length, status) in [
        (u128::from(u64::MAX) - 2, "413"),
        (u128::from(u64::MAX) - 1, "431"),
        (u128::from(u64::MAX), "431"),
        (u128::from(u64::MAX) + 1, "400"),
    ] {
        let answer = agent.http(&format!(
            "POST /v1/agent.status HTTP/1.1\r\ncontent-length: {length}\r\n\r\n"
        ));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{length}: {answer}"
        );
    }

    let grown = agent.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 4 * 1024, "it took {grown} KiB");
    assert!(
        agent
            .http(&request("agent.status", "{}"))
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn c09_descriptors_run_out() {
    let home = Home::new();
    let agent = home.start_with(64);
    let clients: Vec<_> = (0..200)
        .map(|_| UnixStream::connect(&agent.socket).unwrap())
        .collect();
    eventually("the limit", || agent.descriptors() > 40);
    assert!(agent.descriptors() <= 64);
    // It waits and does not spin: two looks at its processor time with a hundred clients in the queue.
    let before = processor_ticks(&agent);
    for _ in 0..200 {
        assert!(UnixStream::connect(&agent.socket).is_ok());
    }
    assert!(processor_ticks(&agent) - before < 20);
    drop(clients);
    // It recovers.
    assert!(agent.client().call(&AgentStatus {}).is_ok());
}

/// Processor time of the agent in ticks of a hundredth of a second.
fn processor_ticks(agent: &Agent) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.child.id())).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn c11_half_open_and_reset() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    assert_eq!(agent.get("openai").unwrap(), "sk-one");
    let request = request("key.get", r#"{"name":"openai"}"#);
    eventually("the end of the connections before", || {
        agent.descriptors() == baseline(&agent)
    });
    let before = baseline(&agent);
    for cut in 0..=request.len() {
        let part = &request.as_bytes()[..cut];
        // Closed, and half closed then closed.
        let mut stream = UnixStream::connect(&agent.socket).unwrap();
        stream.write_all(part).unwrap();
        drop(stream);
        let mut stream = UnixStream::connect(&agent.socket).unwrap();
        stream.write_all(part).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert_eq!(agent.get("openai").unwrap(), "sk-one");
    eventually("the end of the cut connections", || {
        agent.descriptors() <= before
    });
}

/// The descriptors that stay when nobody is connected.
fn baseline(agent: &Agent) -> usize {
    let mut least = agent.descriptors();
    for _ in 0..1000 {
        least = least.min(agent.descriptors());
    }
    least
}
