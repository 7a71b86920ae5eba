//! Many clients, slow clients, and clients that mean no good: what others notice, and what is left afterwards.
//!
//! What runs with every change is bounded by counts (memory, descriptors, threads). The tests that measure time are ignored:
//! their figures stand in SECURITY.md with the machine they were measured on.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use akm_core::client::Client;
use akm_core::protocol::AgentStatus;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Agent, Home, eventually, request};

const SECRET: &str = "sk-under-load-0123456789";
/// Descriptors beside those of silent clients.
const OTHERS: u64 = 2048;

/// How many silent clients there is room for here and in an agent that is started from here, 10,000 at most. Each takes a descriptor
/// of the agent, which keeps some for itself and for those that speak.
fn many() -> usize {
    let wanted = 10_000 + OTHERS;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let most = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)) {
        Ok(()) => wanted,
        Err(_) => {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            hard
        }
    };
    let clients = usize::try_from(most.saturating_sub(OTHERS)).unwrap();
    if clients < 10_000 {
        eprintln!("the limit of descriptors is {hard}: {clients} clients instead of 10,000");
    }
    assert!(
        clients >= 1_000,
        "a limit of {hard} descriptors tells nothing"
    );
    clients
}

fn ready() -> (Home, Agent) {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", SECRET).unwrap();
    assert_eq!(agent.get("openai").unwrap(), SECRET);
    (home, agent)
}

/// The same where the agent has fewer descriptors.
fn ready_with(descriptors: usize) -> (Home, Agent) {
    let home = Home::new();
    let agent = home.start_with(descriptors);
    agent.register();
    agent.add("openai", SECRET).unwrap();
    (home, agent)
}

/// Clients that say nothing, half a head, half a body, and that read no answer.
fn half_open(agent: &Agent, clients: usize) -> Vec<UnixStream> {
    let whole = request("key.get", r#"{"name":"openai"}"#);
    let parts = [
        "",
        "POST /v1/key.get HTTP/1.1\r\nhos",
        "POST /v1/key.get HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{",
        &whole,
    ];
    let open = |part: &&str| {
        let mut stream = UnixStream::connect(&agent.socket).unwrap();
        // Refused where it was closed meanwhile.
        let _ = stream.write_all(part.as_bytes());
        stream
    };
    parts.iter().cycle().take(clients).map(open).collect()
}

fn threads(agent: &Agent) -> usize {
    let tasks = format!("/proc/{}/task", agent.child.id());
    std::fs::read_dir(tasks).unwrap().count()
}

/// Round trips on one connection each; the time that all but one in a hundred took at most, and the median.
fn waits(agent: &Agent, rounds: usize) -> (Duration, Duration) {
    let mut waits: Vec<Duration> = (0..rounds)
        .map(|_| {
            let asked = Instant::now();
            assert_eq!(agent.get("openai").unwrap(), SECRET);
            asked.elapsed()
        })
        .collect();
    waits.sort();
    (waits[rounds * 99 / 100], waits[rounds / 2])
}

#[test]
fn c10_10000_idle_clients_cost_little_and_100_are_served() {
    let many = many();
    let (_home, agent) = ready();
    let (memory, descriptors) = (agent.memory_kib("VmRSS"), agent.descriptors());
    let idle: Vec<UnixStream> = (0..many)
        .map(|_| UnixStream::connect(&agent.socket).unwrap())
        .collect();
    eventually("all of them", || agent.descriptors() >= many);
    let grown = agent.memory_kib("VmRSS").saturating_sub(memory);
    let (late, median) = waits(&agent, 1_000);
    // A hundred that are active at once, beside the others.
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let mut client = agent.client();
                for _ in 0..10 {
                    let got = client.call_raw("key.get", br#"{"name":"openai"}"#).unwrap();
                    assert!(String::from_utf8_lossy(&got).contains(SECRET));
                }
            });
        }
    });
    let allowed = 64 * 1024 * many as u64 / 10_000;
    eprintln!("{many} idle: {grown} KiB more; a get beside them {median:?}, p99 {late:?}");
    assert!(grown < allowed, "{grown} KiB");
    drop(idle);
    eventually("the end of all of them", || {
        agent.descriptors() <= descriptors
    });
    assert_eq!(agent.get("openai").unwrap(), SECRET);
}

#[test]
fn c09_clients_that_take_every_descriptor_keep_nobody_out() {
    let (_home, agent) = ready_with(64);
    let calm = agent.descriptors();
    // One that is connected and busy stays so.
    let mut busy = agent.client();
    busy.call_raw("key.get", br#"{"name":"openai"}"#).unwrap();
    let begin = Instant::now();
    let mut open = Vec::new();
    for _ in 0..10 {
        open.extend(half_open(&agent, 40));
        assert_eq!(agent.get("openai").unwrap(), SECRET);
        assert!(busy.call_raw("agent.status", b"{}").is_ok());
    }
    // Without them the next one is served when the first are closed for their silence, after 30 seconds.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    // The control: they did take what there is, and most of them had to go.
    let taken = agent.descriptors();
    assert!(taken >= calm + 10, "{calm}, then {taken}");
    let closed = |stream: &UnixStream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream = stream;
        !matches!(stream.read(&mut [0; 4096]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(open.iter().filter(|stream| closed(stream)).count() > 300);
}

#[test]
fn what_attacks_leave_behind_is_nothing() {
    let (_home, agent) = ready();
    let attack = || {
        // Half a head, half a body, an answer that nobody reads, a reset amid a request, a wrong passphrase.
        let connect = || UnixStream::connect(&agent.socket).unwrap();
        let mut open = Vec::new();
        for _ in 0..50 {
            let mut stream = connect();
            stream
                .write_all(b"POST /v1/key.get HTTP/1.1\r\nhos")
                .unwrap();
            open.push(stream);
            let mut stream = connect();
            let head = "POST /v1/key.get HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{";
            stream.write_all(head.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            open.push(stream);
            let mut stream = connect();
            let body = request("key.get", r#"{"name":"openai"}"#);
            stream.write_all(body.as_bytes()).unwrap();
            open.push(stream);
        }
        let wrong = r#"{"account":"nobody","passphrase":"wrong"}"#;
        assert!(
            agent
                .http(&request("agent.unlock", wrong))
                .contains("\"ok\":false")
        );
        assert_eq!(agent.get("openai").unwrap(), SECRET);
    };
    let calm = || {
        let least = (0..200).map(|_| agent.descriptors()).min();
        least.unwrap()
    };
    attack();
    eventually("rest", || agent.descriptors() < 40);
    let (descriptors, tasks) = (calm(), threads(&agent));
    for _ in 0..20 {
        attack();
    }
    eventually("the end of what was opened", || {
        agent.descriptors() <= descriptors
    });
    assert!(
        threads(&agent) <= tasks + 2,
        "{} threads, and {tasks} before",
        threads(&agent)
    );
    assert_eq!(agent.get("openai").unwrap(), SECRET);
}

#[test]
#[ignore = "waits for the server's own deadline of 30 seconds, and measures"]
fn c08_slowloris() {
    let (_home, agent) = ready();
    let (control, control_median) = waits(&agent, 1_000);
    let mut slow: Vec<_> = (0..1000)
        .map(|_| {
            let mut stream = UnixStream::connect(&agent.socket).unwrap();
            stream.write_all(b"P").unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    let mut all = Vec::new();
    while start.elapsed().as_secs() < 40 {
        for stream in &mut slow {
            // Refused once the agent has closed it.
            let _ = stream.write_all(b"O");
        }
        for _ in 0..100 {
            let asked = Instant::now();
            assert!(agent.client().call(&AgentStatus {}).is_ok());
            all.push(asked.elapsed());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    for stream in &mut slow {
        assert!(
            stream.write_all(b"S").is_err(),
            "a slow client is still connected"
        );
    }
    all.sort();
    let late = all[all.len() * 99 / 100];
    eprintln!(
        "1,000 slow clients: others {:?}, p99 {late:?}; without them {control_median:?}, p99 {control:?}",
        all[all.len() / 2]
    );
    assert!(late < Duration::from_millis(50), "{late:?}");
}

#[test]
#[ignore = "measures"]
fn others_are_served_soon_whatever_attacks() {
    let many = many();
    let (_home, agent) = ready();
    let (late, median) = waits(&agent, 2_000);
    eprintln!("alone: {median:?}, p99 {late:?}");
    let mut worst = Duration::ZERO;
    let mut beside = |name: &str, measured: (Duration, Duration)| {
        eprintln!("beside {name}: {:?}, p99 {:?}", measured.1, measured.0);
        worst = worst.max(measured.0);
    };
    let idle: Vec<_> = (0..many)
        .map(|_| UnixStream::connect(&agent.socket).unwrap())
        .collect();
    beside("idle clients", waits(&agent, 2_000));
    drop(idle);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (agent, stop) = (&agent, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let body =
                        format!(r#"{{"account":"nobody{thread}x{number}","passphrase":"wrong"}}"#);
                    agent.http(&request("agent.unlock", &body));
                }
            });
        }
        // Many, so that they see every part of a derivation.
        beside("wrong unlocks, four at a time", waits(&agent, 20_000));
        stop.store(true, Ordering::Relaxed);
    });
    drop(agent);
    let (_home, agent) = ready_with(2_048);
    let _open = half_open(&agent, 3_000);
    beside("clients that leave no descriptor", waits(&agent, 2_000));
    assert!(worst < Duration::from_millis(50), "{worst:?}");
}

/// Requests of the soak test; `AKM_SOAK` is another number.
const SOAK: u64 = 5_000_000;

#[test]
#[ignore = "five million requests"]
fn soak() {
    let wanted: u64 = std::env::var("AKM_SOAK").map_or(SOAK, |text| text.parse().unwrap());
    let (_home, agent) = ready();
    let done = AtomicU64::new(0);
    let begin = Instant::now();
    let mut marks: Vec<(u64, u64, usize)> = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (agent, done) = (&agent, &done);
            scope.spawn(move || {
                while done.load(Ordering::Relaxed) < wanted {
                    batch(agent, done, thread);
                }
            });
        }
        // A look after each tenth.
        for tenth in 1..=10 {
            while done.load(Ordering::Relaxed) < wanted / 10 * tenth {
                std::thread::sleep(Duration::from_millis(20));
            }
            let look = (
                done.load(Ordering::Relaxed),
                agent.memory_kib("VmRSS"),
                agent.descriptors(),
            );
            eprintln!(
                "{} requests in {:?}: resident {} KiB, {} descriptors",
                look.0,
                begin.elapsed(),
                look.1,
                look.2
            );
            marks.push(look);
        }
    });
    eventually("the end of the connections", || agent.descriptors() < 40);
    let (first, last) = (marks[0].1, marks[9].1);
    eprintln!(
        "from the first tenth to the last: {first} KiB to {last} KiB; {} descriptors and {} threads at rest",
        agent.descriptors(),
        threads(&agent)
    );
    assert!(
        last < first + 4 * 1024,
        "it grew from {first} to {last} KiB"
    );
    assert_eq!(agent.get("openai").unwrap(), SECRET);
}

/// A thousand requests on one connection, mostly gets, and now and then a client that breaks off.
fn batch(agent: &Agent, done: &AtomicU64, thread: u64) {
    let mut client = Client::connect(Some(&agent.socket)).unwrap();
    for number in 0..1_000_u64 {
        let answer = match number % 100 {
            0 => client.call_raw("key.list", b"{}"),
            1 => client.call_raw("agent.status", b"{}"),
            2 => {
                let unknown = client.call_raw("key.get", br#"{"name":"nobody"}"#);
                assert!(unknown.is_err());
                Ok(Default::default())
            }
            _ => client.call_raw("key.get", br#"{"name":"openai"}"#),
        };
        assert!(
            answer.is_ok(),
            "thread {thread}, request {number}: {:?}",
            answer.err()
        );
        done.fetch_add(1, Ordering::Relaxed);
    }
    let mut stream = UnixStream::connect(&agent.socket).unwrap();
    let _ = stream
        .write_all(b"POST /v1/key.get HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\n\r\n{\"na");
    let _ = stream.set_nonblocking(true);
    let _ = stream.read(&mut [0; 16]);
}
