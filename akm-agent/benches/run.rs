//! `akm run -- true` as a whole process, beside what it cannot do without: starting `env true`, and one get.
//!
//! All are started in turns from one process with the same streams. A get is measured twice: as an exchange on the
//! agent's socket, and as `akm get`. `AKM_BENCH_STARTS` (default 300) says how often.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

mod support;
use support::{Agent, Cores, NAME, SECRET, median, probe, request};

fn main() {
    if support::benching() {
        runs();
        masks();
    } else {
        println!("run with cargo bench");
    }
}

fn runs() {
    let rounds = support::setting("AKM_BENCH_STARTS", 300);
    let cores = Cores::all();
    println!("akm run -- true, {rounds} starts each (goal <= 2.00 x env true and one get)");
    println!(
        "{:<8}{:>12}{:>11}{:>12}{:>12}{:>16}{:>20}{:>20}",
        "cores",
        "env true µs",
        "get µs",
        "akm get µs",
        "akm run µs",
        "unmasked µs",
        "run/(env+get)",
        "run/(env+akm get)"
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
        let akm = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_akm"));
            command.args(arguments).env("AKM_HOME", home.path());
            command
        };
        let mut env = Command::new("env");
        env.arg("true");
        let mut get = akm(&["get", NAME]);
        let mut run = akm(&["run", "-p", NAME, "--", "true"]);
        let mut unmasked = akm(&["run", "--no-masking", "-p", NAME, "--", "true"]);
        for command in [&mut env, &mut get, &mut run, &mut unmasked] {
            command
                .env_remove("AKM_AGENT_SOCK")
                .stdin(Stdio::null())
                .stderr(Stdio::inherit());
        }
        // What is measured does what it says.
        let printed = akm(&["run", "-p", NAME, "--", "sh", "-c", "echo $OPENAI_API_KEY"])
            .env_remove("AKM_AGENT_SOCK")
            .output()
            .unwrap();
        assert_eq!(printed.stdout, format!("[akm:{NAME}]\n").as_bytes());

        let mut took = [(); 5].map(|()| Vec::with_capacity(rounds));
        for _ in 0..rounds {
            for (command, took) in [&mut env, &mut get, &mut run, &mut unmasked]
                .into_iter()
                .zip(&mut took)
            {
                command.stdout(Stdio::null());
                let start = Instant::now();
                assert!(command.status().unwrap().success());
                took.push(start.elapsed());
            }
            let start = Instant::now();
            probe(&agent.socket, &asked);
            took[4].push(start.elapsed());
        }
        let [env, get, run, unmasked, trip] = took.map(|mut took| micros(median(&mut took)));
        let cores = if pinned { "one" } else { "free" };
        println!(
            "{cores:<8}{env:>12.0}{trip:>11.0}{get:>12.0}{run:>12.0}{unmasked:>16.0}{:>20.2}{:>20.2}",
            run / (env + trip),
            run / (env + get)
        );
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// How fast output passes: text without a key, and text full of beginnings of keys.
fn masks() {
    let keys: Vec<(String, akm_core::Secret)> = (0..15)
        .map(|n| {
            let secret = format!("{SECRET}{n}");
            (format!("p/{n}"), akm_core::Secret::new(secret))
        })
        .collect();
    let start = Instant::now();
    let patterns = std::sync::Arc::new(akm_agent::mask::Patterns::new(&keys));
    println!(
        "patterns of 15 keys: {:.0} µs to make",
        micros(start.elapsed())
    );
    let text = "The quick brown fox jumps over the lazy dog 0123456789.\n".repeat(1200);
    let keyed = format!("{} ", &SECRET[..SECRET.len() - 1]).repeat(700);
    let hit = format!("{SECRET}7 ").repeat(700);
    for (what, piece) in [("text", text), ("almost keys", keyed), ("keys", hit)] {
        let mut mask = akm_agent::mask::Mask::new(patterns.clone());
        let mut out = Vec::new();
        let (start, mut bytes) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(500) {
            mask.push(piece.as_bytes(), &mut out);
            bytes += piece.len();
            out.clear();
        }
        let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!("masking {what:<12}{rate:>8.0} MB/s");
    }
}
