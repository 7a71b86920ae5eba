//! `key.get` over the socket, decryption and audit included, beside a bare blocking echo and a bare hyper echo.
//!
//! Three servers, each a process of its own, are asked in turns by the same client loop with payloads of the
//! same size: at 1, 8 and 64 clients, all on one core and free. Where there is an ssh-agent, it is asked for its
//! (empty) list by the same loop.
//!
//! The agent's slices are long enough to hold a fold of its journal, and what is left of one is waited for, so
//! that it never falls into another's slice; `cpu` is its processor time per get with all folding.
//!
//! `AKM_BENCH_ROUNDS` (default 3) says how often each is asked; `AKM_BENCH_POLICY=granted` asks under that policy with a
//! grant by path, hash and directory, `agents` with ancestors looked at as well.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper_util::rt::TokioIo;

mod support;
use support::{Agent, Cores, NAME, Sample, Server, ask, probe, request};

const FLOOR_TIME: Duration = Duration::from_millis(700);
/// Longer than the agent waits before it folds.
const AGENT_TIME: Duration = Duration::from_millis(3000);

/// "Which identities do you have?", and "none" (draft-ietf-sshm-ssh-agent).
const SSH_LIST: &[u8] = &[0, 0, 0, 1, 11];
const SSH_NO_IDENTITIES: &[u8] = &[0, 0, 0, 5, 12, 0, 0, 0, 0];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments[at].parse().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("echo") => support::serve_echo(Path::new(&arguments[2]), number(3), number(4)),
        Some("hyper") => serve_hyper(Path::new(&arguments[2]), number(3)),
        _ if support::benching() => bench(),
        _ => println!("run with cargo bench"),
    }
}

fn bench() {
    let rounds = support::setting("AKM_BENCH_ROUNDS", 3);
    let cores = Cores::all();
    println!(
        "key.get on the socket, {rounds} rounds (goal: p50 at 1 client <= 3.0 x echo, aim 2.0)"
    );
    println!(
        "{:<6}{:>8}  {:>9}{:>9}{:>9}{:>9}  {:>7}{:>8}{:>7}  {:>8}{:>9}{:>8}{:>8}  {:>7}",
        "cores",
        "clients",
        "echo µs",
        "hyper µs",
        "ssh µs",
        "akm µs",
        "x echo",
        "x hyper",
        "x ssh",
        "echo /s",
        "hyper /s",
        "ssh /s",
        "akm /s",
        "cpu µs"
    );
    for pinned in [true, false] {
        if pinned {
            cores.pin()
        } else {
            cores.free()
        }
        let home = support::home();
        let agent = Agent::with_a_key(home.path());
        if let Ok(policy) = std::env::var("AKM_BENCH_POLICY") {
            agent.restrict(&policy);
        }
        let asked = request("key.get", &format!(r#"{{"name":"{NAME}"}}"#));
        let answer = probe(&agent.socket, &asked);
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let body = answer.len()
            - answer
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
                .unwrap()
            - 4;

        let places = tempfile::tempdir().unwrap();
        let (echo_socket, hyper_socket) = (places.path().join("echo"), places.path().join("hyper"));
        let echo = Server::again("echo", &echo_socket, &[asked.len(), answer.len()]);
        let hyper = Server::again("hyper", &hyper_socket, &[body]);
        let echoed = vec![b'.'; answer.len()];
        let hyper_answer = probe(&hyper_socket, &asked);
        assert_eq!(hyper_answer.len(), answer.len(), "the same payload");

        let ssh_socket = places.path().join("ssh");
        let ssh = support::ssh_agent(&ssh_socket);

        for clients in [1, 8, 64] {
            let [mut at_echo, mut at_hyper, mut at_ssh, mut at_akm] =
                [(); 4].map(|()| Sample::default());
            let time = FLOOR_TIME;
            for _ in 0..rounds {
                ask(&echo_socket, &asked, &echoed, clients, time, &mut at_echo);
                ask(
                    &hyper_socket,
                    &asked,
                    &hyper_answer,
                    clients,
                    time,
                    &mut at_hyper,
                );
                if ssh.is_some() {
                    let (list, none) = (SSH_LIST, SSH_NO_IDENTITIES);
                    ask(&ssh_socket, list, none, clients, time, &mut at_ssh);
                }
                let before = agent.server.cpu();
                let time = AGENT_TIME;
                ask(&agent.socket, &asked, &answer, clients, time, &mut at_akm);
                support::wait_until_folded(home.path());
                at_akm.cpu += agent.server.cpu() - before;
            }
            let [echo, hyper, ssh, akm] =
                [&mut at_echo, &mut at_hyper, &mut at_ssh, &mut at_akm].map(Sample::p50);
            println!(
                "{:<6}{clients:>8}  {echo:>9.1}{hyper:>9.1}{ssh:>9.1}{akm:>9.1}  {:>7.2}{:>8.2}{:>7.2}  {:>8.0}{:>9.0}{:>8.0}{:>8.0}  {:>7.1}",
                if pinned { "one" } else { "free" },
                akm / echo,
                akm / hyper,
                akm / ssh,
                at_echo.rate(),
                at_hyper.rate(),
                at_ssh.rate(),
                at_akm.rate(),
                at_akm.cpu.as_secs_f64() * 1e6 / at_akm.nanos.len() as f64,
            );
        }
        drop((echo, hyper, ssh));
    }
}

/// hyper as the agent sets it up, with nothing behind it.
fn serve_hyper(socket: &Path, body: usize) {
    let answer = Bytes::from(vec![b'.'; body]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        support::say_ready();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let _ = request.into_body().collect().await;
                    let mut response = hyper::Response::new(Full::new(answer));
                    response
                        .headers_mut()
                        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
}
