//! Attacks through the agent's socket and on its start, beside those of `agent_attacks.rs`. Each is named after its
//! case in the attack programme and stands beside a positive control.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::io::{IoSlice, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use akm_core::Kind;
use akm_core::protocol::{AgentStatus, Op};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use support::search::{Search, Where};
use support::user::{lacks, needs_root};
use support::{Agent, Home, PASSPHRASE, eventually, launch, request};

const CANARY: &str = "sk-canary-Tn8Wq3Zc6Hy1Lb5Gs9Dm";
/// A user that owns nothing.
const STRANGER: u32 = 65_534;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

#[test]
fn c07_sequences_of_broken_messages_leave_the_agent_as_it_was() {
    sequences(2_000);
}

#[test]
#[ignore = "a hundred thousand connections: minutes"]
fn c07_100000_sequences_of_broken_messages() {
    sequences(100_000);
}

fn sequences(count: usize) {
    let home = Home::new();
    let mut agent = home.start();
    agent.register();
    agent.add("openai", CANARY).unwrap();
    assert_eq!(agent.get("openai").unwrap(), CANARY);
    let threads = || {
        let tasks = format!("/proc/{}/task", agent.child.id());
        std::fs::read_dir(tasks).unwrap().count()
    };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let run = |dice: &mut Dice| {
        let mut stream = UnixStream::connect(&agent.socket).unwrap();
        let mut answered = 0;
        for _ in 0..=dice.roll(4) {
            let message = message(dice);
            if stream.write_all(&message).is_err() {
                break;
            }
            // Sometimes without waiting for the answer before.
            if dice.roll(3) == 0 {
                let _ = stream.set_nonblocking(true);
                answered += usize::from(stream.read(&mut [0; 4096]).is_ok());
                let _ = stream.set_nonblocking(false);
            }
        }
        if dice.roll(2) == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            answered += usize::from(rest.starts_with(b"HTTP/1.1"));
        }
        answered
    };
    // Once, so that what any request takes is taken.
    for _ in 0..200 {
        run(&mut dice);
    }
    eventually("rest", || agent.descriptors() < 40);
    let before = (0..500).map(|_| agent.descriptors()).min().unwrap();
    let answered: usize = (0..count).map(|_| run(&mut dice)).sum();
    // The control: much of it was understood.
    assert!(answered > count / 4, "{answered} answers");
    eventually("the end of every connection", || {
        agent.descriptors() <= before
    });
    assert!(threads() < 110);
    if agent.client().call(&AgentStatus {}).unwrap().locked {
        agent.unlock(None).unwrap();
    }
    assert_eq!(agent.get("openai").unwrap(), CANARY);
    let mut stderr = agent.child.stderr.take().unwrap();
    assert!(agent.stop().success());
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(!said.contains("panicked"), "{said}");
}

/// A message, whole or broken in one of the ways that a client can break it.
fn message(dice: &mut Dice) -> Vec<u8> {
    let op = Op::ALL[dice.roll(Op::ALL.len())];
    // A stop of everything by a lock is one request among many; a derivation takes too long for a fuzzer, and a removal
    // that is asked for rightly is carried out.
    let op = match op.cost() {
        akm_core::protocol::Cost::Quick => op,
        _ if dice.roll(200) == 0 && !matches!(op, Op::AgentUnlock | Op::KeyRemove) => op,
        _ => Op::AgentStatus,
    };
    let bodies = [
        "{}",
        r#"{"name":"openai"}"#,
        r#"{"name":"openai","name":"x"}"#,
        r#"{"name":12345678901234567890123}"#,
        "[[[[[[[[[[[[[[[[",
        "\u{0}\u{1}\u{feff}",
        "",
        r#"{"limit":-1,"after":"x"}"#,
        "nul",
    ];
    let body = bodies[dice.roll(bodies.len())];
    let head = format!("POST /v1/{} HTTP/1.1\r\nhost: a\r\n", op.name());
    let length = body.len();
    let mut bytes = match dice.roll(9) {
        0 => format!(
            "{head}content-length: {}\r\n\r\n{body}",
            length + dice.roll(9)
        ),
        1 => format!(
            "{head}content-length: {}\r\n\r\n{body}",
            length.saturating_sub(dice.roll(9))
        ),
        2 => format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        3 => format!(
            "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}",
            usize::MAX
        ),
        4 => format!("{head}transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n{body}"),
        5 => format!(
            "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n",
            "../".repeat(dice.roll(20))
        ),
        6 => format!(
            "{head}expect: 100-continue\r\nupgrade: h2c\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        _ => format!("{head}content-length: {length}\r\n\r\n{body}"),
    }
    .into_bytes();
    match dice.roll(6) {
        0 => bytes.truncate(dice.roll(bytes.len()) + 1),
        1 => {
            let at = dice.roll(bytes.len());
            bytes[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        2 => {
            let at = dice.roll(bytes.len());
            bytes.splice(at..at, std::iter::repeat_n(b'\r', dice.roll(20)));
        }
        _ => {}
    }
    bytes
}

#[test]
fn c12_a_flood_of_wrong_unlocks_holds_up_nobody() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", CANARY).unwrap();
    let stop = AtomicBool::new(false);
    let wrong = AtomicUsize::new(0);
    let (gets, meanwhile) = std::thread::scope(|scope| {
        for thread in 0..4 {
            let (agent, stop, wrong) = (&agent, &stop, &wrong);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = json!({"account": format!("nobody{thread}x{number}"), "passphrase": "wrong"});
                    let answer = agent.http(&request("agent.unlock", &body.to_string()));
                    if answer.contains("wrong_credentials") {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // They derive, as many as may at once, before anything is counted.
        eventually("the flood", || wrong.load(Ordering::Relaxed) >= 4);
        let before = wrong.load(Ordering::Relaxed);
        let mut gets = 0;
        while gets < 1_000 {
            assert_eq!(agent.get("openai").unwrap(), CANARY);
            gets += 1;
        }
        let meanwhile = wrong.load(Ordering::Relaxed) - before;
        eventually("the flood still goes on", || {
            wrong.load(Ordering::Relaxed) > before + meanwhile
        });
        stop.store(true, Ordering::Relaxed);
        (gets, meanwhile)
    });
    // Behind one another, there would be at least one derivation for each four gets.
    assert!(
        meanwhile * 4 < gets,
        "{gets} gets beside {meanwhile} wrong unlocks"
    );
    // It recovers without a restart: the owner is let in at once.
    agent.lock();
    agent.unlock(None).unwrap();
    assert_eq!(agent.get("openai").unwrap(), CANARY);
}

#[test]
fn c13_the_time_of_a_stopped_agent_counts() {
    if needs_root() {
        return;
    }
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", CANARY).unwrap();
    agent.unlock(Some(2)).unwrap();
    let began = boot_seconds();
    assert_eq!(agent.get("openai").unwrap(), CANARY);
    agent.signal(Signal::SIGSTOP);
    // The boot clock says when the time is over, stopped or not.
    eventually("the end of the lifetime", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        boot_seconds() > began + 3
    });
    agent.signal(Signal::SIGCONT);
    assert_eq!(agent.get("openai").unwrap_err().kind(), Kind::Locked);
    let left = Search::of(&[CANARY.as_bytes(), PASSPHRASE.as_bytes()]);
    eventually("the wipe", || {
        left.count(agent.child.id(), Where::Everywhere) == 0
    });
    // The control: unlocked for longer, the same stop ends nothing.
    agent.unlock(Some(3600)).unwrap();
    agent.signal(Signal::SIGSTOP);
    agent.signal(Signal::SIGCONT);
    assert_eq!(agent.get("openai").unwrap(), CANARY);
}

fn boot_seconds() -> i64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap().tv_sec()
}

#[test]
fn c14_signals_at_any_moment() {
    if needs_root() {
        return;
    }
    let home = Home::new();
    let mut agent = home.start();
    agent.register();
    agent.add("openai", CANARY).unwrap();
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let left = Search::of(&[CANARY.as_bytes(), PASSPHRASE.as_bytes()]);
    for last in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGINT,
    ] {
        if agent.client().call(&AgentStatus {}).unwrap().locked {
            agent.unlock(None).unwrap();
        }
        let stop = AtomicBool::new(false);
        let answers = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (agent, stop, answers) = (&agent, &stop, &answers);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut client) = akm_core::client::Client::connect(Some(&agent.socket))
                        else {
                            return; // The end has come.
                        };
                        let got = client.call_raw("key.get", br#"{"name":"openai"}"#);
                        if let Err(error) = &got {
                            // Locked, or cut off amid the end; never anything else.
                            let fine = [Kind::Locked, Kind::NoAgent, Kind::Closed, Kind::Io];
                            assert!(fine.contains(&error.kind()), "{error:?}");
                        }
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let later = |steps: usize| {
                let until = answers.load(Ordering::Relaxed) + steps;
                eventually("more answers", || answers.load(Ordering::Relaxed) >= until);
            };
            for _ in 0..10 {
                later(dice.roll(20));
                agent.signal(match dice.roll(2) {
                    0 => Signal::SIGHUP,
                    _ => Signal::SIGPIPE,
                });
            }
            later(5);
            assert!(!agent.client().call(&AgentStatus {}).unwrap().locked);
            later(dice.roll(20));
            agent.signal(Signal::SIGUSR1);
            eventually("the lock", || {
                agent.client().call(&AgentStatus {}).unwrap().locked
            });
            eventually("the wipe", || {
                left.count(agent.child.id(), Where::Writable) == 0
            });
            agent.unlock(None).unwrap();
            later(dice.roll(20));
            agent.signal(last);
            eventually("the end", || !home.socket().exists());
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(agent.child.wait().unwrap().code(), Some(0), "{last}");
        assert!(!home.socket().exists());
        agent = home.start();
    }
}

#[test]
fn c16_descriptors_that_are_sent_along_are_not_kept() {
    let home = Home::new();
    let agent = home.start();
    let status = request("agent.status", "{}").replace("connection: close\r\n", "");
    let ask = |stream: &mut UnixStream, descriptors: &[i32]| {
        let control = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() {
            &[][..]
        } else {
            &control
        };
        let bytes = [IoSlice::new(status.as_bytes())];
        sendmsg::<()>(stream.as_raw_fd(), &bytes, control, MsgFlags::empty(), None).unwrap();
        let mut answer = [0; 4096];
        let count = stream.read(&mut answer).unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    };
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    // From the second request on, the link to this program is one more.
    ask(&mut stream, &[]);
    ask(&mut stream, &[]);
    let before = agent.descriptors();
    // The control: whoever holds the other end keeps this one from seeing its end.
    let (mut watched, held) = UnixStream::pair().unwrap();
    watched.set_nonblocking(true).unwrap();
    let ended = |watched: &mut UnixStream| matches!(watched.read(&mut [0; 1]), Ok(0));
    assert!(!ended(&mut watched));
    for _ in 0..20 {
        // The most that the kernel takes in one message.
        ask(&mut stream, &[held.as_raw_fd(); 253]);
        assert!(agent.descriptors() <= before);
    }
    assert!(!ended(&mut watched));
    drop(held);
    assert!(ended(&mut watched), "somebody keeps what was sent");
    ask(&mut stream, &[]);
}

/// A library that leaves a mark where it is loaded.
const LIBRARY: &str = "#include <stdio.h>\n#include <stdlib.h>\n\
    __attribute__((constructor)) static void loaded(void) { FILE *f = fopen(MARK, \"w\"); if (f) fclose(f); }\n";

#[test]
fn c17_no_operation_loads_a_library() {
    if lacks("cc") {
        return;
    }
    let home = Home::new();
    let tools = tempfile::tempdir().unwrap();
    let (source, library, mark) = (
        tools.path().join("x.c"),
        tools.path().join("x.so"),
        tools.path().join("mark"),
    );
    std::fs::write(&source, LIBRARY).unwrap();
    let built = Command::new("cc")
        .arg(format!("-DMARK=\"{}\"", mark.display()))
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    // The control: loaded, it leaves its mark.
    let control = Command::new("true").env("LD_PRELOAD", &library).status();
    assert!(control.unwrap().success() && mark.exists());
    std::fs::remove_file(&mark).unwrap();

    let agent = home.start();
    agent.register();
    agent.add("openai", CANARY).unwrap();
    let path = library.to_str().unwrap();
    for verb in [
        "agent.load",
        "key.load",
        "provider.load",
        "agent.exec",
        "add_smartcard_key",
        "agent.extension",
    ] {
        let answer = agent.http(&request(verb, &json!({ "path": path }).to_string()));
        assert!(answer.starts_with("HTTP/1.1 404"), "{verb}: {answer}");
    }
    // The ways of CVE-2023-38408: a path where a name is expected, and fields that other agents have.
    let fields = [
        "name", "provider", "path", "library", "module", "helper", "plugin", "command", "exe",
        "env",
    ];
    for op in Op::ALL.iter().filter(|op| **op != Op::AgentLock) {
        for field in fields {
            let answer = agent.http(&request(op.name(), &json!({ field: path }).to_string()));
            assert!(answer.starts_with("HTTP/1.1"), "{} {field}", op.name());
        }
    }
    assert_eq!(agent.get("openai").unwrap(), CANARY);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", agent.child.id())).unwrap();
    assert!(maps.contains("libc") && !maps.contains("x.so"), "{maps}");
    assert!(!mark.exists());
}

/// The variables of the attack programme, with the places of the test.
fn hostile(evil: &Path, proxy: u16) -> Vec<(String, String)> {
    let vectors: serde_json::Value = serde_json::from_str(include_str!(
        "../../akm-core/tests/vectors/ssrf_targets.json"
    ))
    .unwrap();
    let variables = vectors["hostile_environment"].as_object().unwrap();
    assert_eq!(variables.len(), 14);
    variables
        .iter()
        // Loaded before the first line of akm's own: out of scope, as SECURITY.md says.
        .filter(|(name, _)| *name != "LD_PRELOAD")
        .map(|(name, value)| {
            let value = value.as_str().unwrap();
            let value = value.replace("/tmp/", &format!("{}/", evil.display()));
            (name.clone(), value.replace(":9", &format!(":{proxy}")))
        })
        .collect()
}

#[test]
fn c18_a_hostile_environment_has_no_effect() {
    if needs_root() || lacks("strace") {
        return;
    }
    let home = Home::new();
    // Where anybody may put anything, and where somebody has.
    let evil = tempfile::Builder::new()
        .prefix("planted-")
        .tempdir()
        .unwrap();
    for name in ["evil", "shared"] {
        let dir = evil.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
        chown(&dir, Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let variables = hostile(evil.path(), proxy.local_addr().unwrap().port());

    let log = home.dir.path().join("strace");
    let mut command = support::clean(Path::new("strace"));
    command
        .args(["-f", "-qq", "-e", "trace=%file,%network", "-o"])
        .arg(&log);
    for (name, value) in &variables {
        command.args(["-E", &format!("{name}={value}")]);
    }
    command
        .arg(env!("CARGO_BIN_EXE_akm-agent"))
        .arg("-D")
        .env("AKM_HOME", home.path());
    let mut tracer = launch(command).expect("the agent starts under strace");
    let agent = Agent {
        child: Command::new("true").stdout(Stdio::null()).spawn().unwrap(),
        socket: home.socket(),
    };
    agent.register();
    // A provider on this machine, asked directly and not through a proxy.
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = provider.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = provider.accept().unwrap();
        let count = stream.read(&mut [0; 4096]).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"data\":[]}")
            .unwrap();
        count
    });
    let key = json!({"name": "openai/x", "secret": CANARY, "base_url": format!("http://127.0.0.1:{port}/v1")});
    agent
        .client()
        .call_raw("key.add", key.to_string().as_bytes())
        .unwrap();
    agent
        .client()
        .call_raw("provider.test", br#"{"name":"openai/x"}"#)
        .unwrap();
    assert!(server.join().unwrap() > 0, "the control");
    // And one over TLS, as far as it gets: the store of certificates is read before anything is sent.
    agent.add("openai", CANARY).unwrap();
    let _ = agent
        .client()
        .call_raw("provider.test", br#"{"name":"openai"}"#);

    let traced = std::fs::read_to_string(&log).unwrap();
    assert!(
        traced.contains("vault.db") && traced.contains("sa_family=AF_INET"),
        "the control"
    );
    let planted = evil.path().file_name().unwrap().to_str().unwrap();
    // Looking at who owns a directory is how it is found out; opening or making anything there would be the effect.
    let opened: Vec<_> = traced
        .lines()
        .filter(|line| line.contains(planted))
        .filter(|line| {
            !["execve(", "stat", "readlink", "access"]
                .iter()
                .any(|call| line.contains(call))
        })
        .collect();
    assert_eq!(opened, Vec::<&str>::new());
    assert!(proxy.accept().is_err(), "somebody connected to the proxy");
    for name in ["evil", "shared"] {
        assert_eq!(
            std::fs::read_dir(evil.path().join(name)).unwrap().count(),
            0
        );
    }
    assert!(!evil.path().join("keys.log").exists());
    let pid = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", tracer.id())).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(tracer.wait().unwrap().success());
    let mut said = String::new();
    tracer
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    for word in ["TRACE", "DEBUG", CANARY, PASSPHRASE] {
        assert!(!said.contains(word), "{said}");
    }
}

#[test]
fn c18_planted_places_are_not_used() {
    if needs_root() {
        return;
    }
    // A user without a home in the user database, whose variables all lead to somebody else's directory.
    let user = support::user::User::new(54_323);
    let evil = user.dir.path().join("evil");
    user.own(&evil);
    chown(&evil, Some(STRANGER), Some(STRANGER)).unwrap();
    std::fs::set_permissions(&evil, PermissionsExt::from_mode(0o777)).unwrap();
    let start = |own: bool| {
        let mut command = user.command(&user.program);
        command.arg("-D").env_remove("AKM_HOME").env("HOME", &evil);
        for name in [
            "XDG_RUNTIME_DIR",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "XDG_CONFIG_HOME",
        ] {
            command.env(name, &evil);
        }
        if own {
            command.env("AKM_HOME", user.home());
        }
        launch(command)
    };
    let failure = start(false)
        .map(|_| ())
        .expect_err("it started in a planted place");
    assert!(
        failure.stderr.contains("no home directory"),
        "{}",
        failure.stderr
    );
    let agent = Agent {
        child: start(true).unwrap(),
        socket: user.home().join("agent.sock"),
    };
    assert!(
        user.ask(&agent, "agent.status", &json!({}))
            .contains("\"ok\":true"),
        "the control"
    );
    assert_eq!(std::fs::read_dir(&evil).unwrap().count(), 0);
}
