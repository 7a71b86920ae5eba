//! What a person waits for and what stays behind: `akm get` as a whole process, and the agent at rest.
//!
//! `akm get` is started in turns with a hello-world of clap that makes one exchange of the same size with a
//! bare echo server; both from one process, with the same pipes. The hello-world is this program again.
//! `AKM_BENCH_STARTS` (default 400) says how often.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;

mod support;
use support::{Agent, Cores, NAME, SECRET, Server, median, probe, request};

/// Says hello, and asks a socket first.
#[derive(Parser)]
#[command(name = "hello", version)]
struct Hello {
    /// What to run
    #[arg(value_parser = ["hello"])]
    role: String,
    /// Ask this socket
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Bytes to send
    #[arg(long, default_value_t = 0)]
    sends: usize,
    /// Bytes to read
    #[arg(long, default_value_t = 0)]
    reads: usize,
}

/// Longer than the agent waits until it rests.
const REST: Duration = Duration::from_secs(15);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("echo") => {
            let number = |at: usize| arguments[at].parse().unwrap();
            support::serve_echo(Path::new(&arguments[2]), number(3), number(4));
        }
        Some("hello") => hello(&Hello::parse()),
        _ if support::benching() => {
            starts();
            at_rest();
        }
        _ => println!("run with cargo bench"),
    }
}

fn hello(arguments: &Hello) {
    let mut answer = vec![b'!'; arguments.reads];
    if let Some(socket) = &arguments.socket {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(&vec![b'.'; arguments.sends]).unwrap();
        stream.read_exact(&mut answer).unwrap();
    }
    println!("{} {}", arguments.role, String::from_utf8_lossy(&answer));
}

fn starts() {
    let rounds = support::setting("AKM_BENCH_STARTS", 400);
    let cores = Cores::all();
    println!(
        "akm get as a whole process, {rounds} starts each (goal <= 1.50 x clap with a trip, aim 1.25)"
    );
    println!(
        "{:<8}{:>12}{:>14}{:>12}{:>8}{:>18}{:>8}",
        "cores", "clap µs", "clap+trip µs", "akm get µs", "ratio", "akm get --json µs", "ratio"
    );
    for pinned in [true, false] {
        if pinned {
            cores.pin()
        } else {
            cores.free()
        }
        let home = support::home();
        let agent = Agent::with_a_key(home.path());
        let asked = request("key.get", &format!(r#"{{"name":"{NAME}"}}"#));
        let answer = probe(&agent.socket, &asked);
        let places = tempfile::tempdir().unwrap();
        let socket = places.path().join("echo");
        let _echo = Server::again("echo", &socket, &[asked.len(), answer.len()]);

        let again = std::env::current_exe().unwrap();
        let mut plain = Command::new(&again);
        plain
            .arg("hello")
            .arg("--reads")
            .arg(answer.len().to_string());
        let mut trip = Command::new(&again);
        trip.arg("hello").arg("--socket").arg(&socket);
        trip.arg("--sends")
            .arg(asked.len().to_string())
            .arg("--reads")
            .arg(answer.len().to_string());
        let mut get = Command::new(env!("CARGO_BIN_EXE_akm"));
        get.args(["get", NAME]).env("AKM_HOME", home.path());
        // Any flag makes it build the whole parser.
        let mut json = Command::new(env!("CARGO_BIN_EXE_akm"));
        json.args(["get", "--json", NAME])
            .env("AKM_HOME", home.path());
        for command in [&mut plain, &mut trip, &mut get, &mut json] {
            command
                .env_remove("AKM_AGENT_SOCK")
                .stdin(Stdio::null())
                .stderr(Stdio::inherit());
        }
        let printed = get.output().unwrap();
        assert_eq!(
            printed.stdout,
            format!("{SECRET}\n").as_bytes(),
            "the secret"
        );
        assert!(
            trip.output().unwrap().stdout.len() > answer.len(),
            "the answer"
        );

        let mut took = [(); 4].map(|()| Vec::with_capacity(rounds));
        for _ in 0..rounds {
            for (command, took) in [&mut plain, &mut trip, &mut get, &mut json]
                .into_iter()
                .zip(&mut took)
            {
                command.stdout(Stdio::null());
                let start = Instant::now();
                assert!(command.status().unwrap().success());
                took.push(start.elapsed());
            }
        }
        let [plain, trip, get, json] = took.map(|mut took| micros(median(&mut took)));
        let cores = if pinned { "one" } else { "free" };
        println!(
            "{cores:<8}{plain:>12.0}{trip:>14.0}{get:>12.0}{:>8.2}{json:>18.0}{:>8.2}",
            get / trip,
            json / trip
        );
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn at_rest() {
    println!("at rest, KiB (goal: RSS <= 8192)");
    println!(
        "{:<24}{:>9}{:>11}{:>11}{:>9}",
        "", "RSS", "anonymous", "of files", "PSS"
    );
    let home = support::home();
    drop(Agent::with_a_key(home.path()));
    let agent = Agent::start(home.path());
    show("akm-agent, locked", &agent.server);
    agent.unlock();
    show("akm-agent, unlocked", &agent.server);
    let asked = request("key.get", &format!(r#"{{"name":"{NAME}"}}"#));
    for _ in 0..100 {
        probe(&agent.socket, &asked);
    }
    support::wait_until_folded(home.path());
    show("akm-agent, after 100", &agent.server);
    // It gives back what it needed for them when nobody has asked for a while.
    std::thread::sleep(REST);
    show("akm-agent, at rest", &agent.server);
    agent.call("agent.lock", "{}");
    std::thread::sleep(REST);
    show("the same, locked", &agent.server);
    match support::ssh_agent(&home.path().join("ssh.sock")) {
        Some(server) => show("ssh-agent", &server),
        None => println!("ssh-agent is not installed"),
    }
}

fn show(what: &str, server: &Server) {
    let figure = |file, field| match server.memory(file, field) {
        Some(kib) => kib.to_string(),
        None => "-".to_owned(),
    };
    println!(
        "{what:<24}{:>9}{:>11}{:>11}{:>9}",
        figure("status", "VmRSS"),
        figure("status", "RssAnon"),
        figure("status", "RssFile"),
        figure("smaps_rollup", "Pss"),
    );
}
