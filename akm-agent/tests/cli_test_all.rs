//! `akm test --all` over every provider of the catalogue: all at once, and only those that cost nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod cli_support;
#[path = "../../akm-core/tests/support/provider_server.rs"]
#[allow(dead_code, reason = "what it is sent does not matter here")]
mod provider_server;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use akm_core::Secret;
use akm_core::client::Client;
use akm_core::protocol::KeyAdd;
use akm_core::provider::Catalogue;
use cli_support::{Home, stderr, stdout};
use provider_server::{ProviderServer, Reply};
use serde_json::Value;

/// Providers whose keys are tested without being named: all but a retired one and one whose test may cost a token.
const TESTED: usize = 44;

/// Counts who is inside, and lets nobody out before so many are.
#[derive(Default)]
struct Gate {
    inside: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Gate {
    /// Waits until `wanted` are inside at once, or a good while.
    fn pass(&self, wanted: usize) {
        let mut inside = self.inside.lock().unwrap();
        inside.0 += 1;
        inside.1 = inside.1.max(inside.0);
        self.changed.notify_all();
        let enough = |inside: &mut (usize, usize)| inside.1 < wanted;
        let (mut inside, _) = self
            .changed
            .wait_timeout_while(inside, Duration::from_secs(60), enough)
            .unwrap();
        inside.0 -= 1;
    }

    fn most(&self) -> usize {
        self.inside.lock().unwrap().1
    }
}

/// A home with one key for each of the 46 providers, all of them played by the server.
fn home(server: &ProviderServer) -> Home {
    let home = Home::ready();
    let mut client = Client::connect(Some(&home.file("agent.sock"))).unwrap();
    for provider in Catalogue::builtin().providers() {
        let key = KeyAdd {
            name: provider.id.clone(),
            secret: Secret::new("sk-of-a-test-0123456789".into()),
            model: None,
            categories: Vec::new(),
            notes: None,
            expires_at: None,
            env: None,
            use_only: None,
            confirm: None,
            base_url: Some(format!("http://127.0.0.1:{}", server.port())),
            low_balance: None,
            team: None,
            lifetime_s: None,
        };
        client.call(&key).unwrap();
    }
    assert_eq!(Catalogue::builtin().providers().len(), 46);
    home
}

#[test]
fn all_are_asked_at_once_and_those_that_may_cost_money_only_by_name() {
    let gate = Arc::new(Gate::default());
    let inside = Arc::clone(&gate);
    let server = ProviderServer::start(move |_| {
        inside.pass(TESTED);
        Reply::json(401, "{}")
    })
    .unwrap();
    let home = home(&server);
    let output = home.akm(&["test", "--all", "--json"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["results"].as_array().unwrap().len(), TESTED);
    assert_eq!(
        answer["left_out"],
        serde_json::json!([
            {"name": "github-models/default", "reason": "retired"},
            {"name": "vercel-ai-gateway/default", "reason": "costs_tokens"}
        ])
    );
    // Nobody was answered before all were there.
    assert_eq!(gate.most(), TESTED);
    assert_eq!(server.connections(), TESTED);

    // Named, they are tested; for people, what is left out is said.
    let named = ["test", "github-models", "vercel-ai-gateway", "--json"];
    let output = home.akm(&named, "");
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["results"][1]["outcome"], "invalid", "{answer}");
    assert_eq!(server.connections(), TESTED + 2);
    let output = home.akm(&["test", "--all"], "");
    assert!(
        stderr(&output).contains("left out: github-models/default"),
        "{output:?}"
    );
    assert!(
        stderr(&output).contains("hint: run akm test NAME"),
        "{output:?}"
    );
    // What they showed is in the list.
    let output = home.akm(&["ls"], "");
    let line = |name: &str| {
        let text = stdout(&output);
        text.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    let tested = line("openai/default");
    let (_, time) = tested.split_once("invalid 20").unwrap();
    assert!(
        time.contains('T') && time.trim_end().ends_with('Z'),
        "the time, not the day alone: {tested}"
    );
}

#[test]
fn the_agent_tests_once_a_day_by_itself_only_where_the_configuration_says_so() {
    let (asked, requests) = std::sync::mpsc::channel();
    let asked = Mutex::new(asked);
    let server = ProviderServer::start(move |request| {
        let _ = asked.lock().unwrap().send(request.path.clone());
        Reply::json(200, r#"{"data": []}"#)
    })
    .unwrap();
    let home = Home::empty();
    let run = |arguments: &[&str], input: &str| {
        let output = home.akm(arguments, input);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        stdout(&output)
    };
    let passphrase = format!("{}\n", cli_support::PASSPHRASE);
    let unlock = || run(&["unlock", "--passphrase-stdin"], &passphrase);
    let base_url = format!("http://127.0.0.1:{}/off", server.port());
    run(&["init", "--no-totp", "--passphrase-stdin"], &passphrase);
    run(
        &["add", "openai", "--secret-stdin", "--base-url", &base_url],
        "sk-of-a-test-0123456789\n",
    );
    // Off: an unlock tests nothing. What is asked by name afterwards is the first that arrives.
    run(&["lock"], "");
    unlock();
    run(
        &[
            "add",
            "mistral",
            "--secret-stdin",
            "--base-url",
            &base_url.replace("off", "named"),
        ],
        "sk-of-a-test-0123456789\n",
    );
    run(&["test", "mistral"], "");
    assert_eq!(requests.recv().unwrap(), "/named/models");
    // On: the key that was never tested is, and the one that was just tested is not.
    run(&["agent", "stop"], "");
    std::fs::write(home.file("config.toml"), "[tests]\ndaily = true\n").unwrap();
    run(&["agent", "start"], "");
    unlock();
    assert_eq!(
        requests.recv_timeout(Duration::from_secs(60)).unwrap(),
        "/off/models"
    );
    run(
        &[
            "add",
            "groq",
            "--secret-stdin",
            "--base-url",
            &base_url.replace("off", "next"),
        ],
        "sk-of-a-test-0123456789\n",
    );
    run(&["lock"], "");
    unlock();
    assert_eq!(
        requests.recv_timeout(Duration::from_secs(60)).unwrap(),
        "/next/models"
    );
}

/// A figure, not a check: run it by name with `--ignored --nocapture`.
#[test]
#[ignore = "measures; its figures stand in SECURITY.md"]
fn figure_of_46_providers_that_answer_in_50_ms() {
    const ANSWER: Duration = Duration::from_millis(50);
    let server = ProviderServer::start(|_| {
        std::thread::sleep(ANSWER);
        Reply::json(401, "{}")
    })
    .unwrap();
    let home = home(&server);
    let timed = |arguments: &[&str]| {
        let start = Instant::now();
        home.akm(arguments, "");
        start.elapsed()
    };
    timed(&["test", "--all"]);
    let (one, all) = (timed(&["test", "openai"]), timed(&["test", "--all"]));
    let sum = ANSWER * u32::try_from(TESTED).unwrap();
    eprintln!("one {one:?}, all {TESTED} {all:?}, sum of the answers {sum:?}");
    eprintln!(
        "all / one {:.1}, all / sum {:.2}",
        all.as_secs_f64() / one.as_secs_f64(),
        all.as_secs_f64() / sum.as_secs_f64()
    );
}
