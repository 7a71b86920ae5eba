//! What the agent shows of itself: metrics, health, log lines. Never a name or a value.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use akm_core::protocol::{AgentStatus, BackupCreate, BackupSchedule, LockReason, Op};
use nix::sys::signal::Signal;
use support::{Home, PASSPHRASE, eventually};

/// An agent that writes its log to a file, which with `journal` is the one that the variable names.
fn logged(home: &Home, flag: &str, journal: bool) -> (support::Agent, PathBuf) {
    let log = home.dir.path().join("log");
    let meta = std::fs::File::create(&log).unwrap().metadata().unwrap();
    let mut command = support::clean(Path::new("sh"));
    command
        .args(["-c", "exec \"$0\" \"$1\" 2>>\"$2\""])
        .args([env!("CARGO_BIN_EXE_akm-agent"), flag])
        .arg(&log)
        .env("AKM_HOME", home.path());
    match journal {
        true => command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino())),
        // Inherited from whoever is logged: not this file.
        false => command.env(
            "JOURNAL_STREAM",
            format!("{}:{}", meta.dev(), meta.ino() + 1),
        ),
    };
    let agent = support::Agent {
        child: support::launch(command).unwrap(),
        socket: home.socket(),
    };
    (agent, log)
}

fn fetch(agent: &support::Agent, path: &str) -> (String, String) {
    let answer = agent.http(&format!(
        "GET {path} HTTP/1.1\r\nhost: akm\r\nconnection: close\r\n\r\n"
    ));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The value of one line of the metrics.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

#[test]
fn metrics_count_operations_errors_and_time_without_a_name() {
    let home = Home::new();
    let agent = home.start();
    let (_, locked) = fetch(&agent, "/metrics");
    assert_eq!(value(&locked, "akm_sessions"), Some(0.0));
    agent.register();
    agent
        .add("openai/canary-label", "canary-secret-0123456789")
        .unwrap();
    for _ in 0..5 {
        agent.get("openai/canary-label").unwrap();
    }
    agent.get("openai/canary-missing").unwrap_err();
    agent.client().call(&BackupCreate::default()).unwrap();
    let (head, metrics) = fetch(&agent, "/metrics");
    assert!(
        head.contains("content-type: application/openmetrics-text"),
        "{head}"
    );
    for (name, expected) in [
        ("akm_operations_total{operation=\"key.get\"}", 6.0),
        (
            "akm_operation_errors_total{operation=\"key.get\",kind=\"not_found\"}",
            1.0,
        ),
        (
            "akm_operation_duration_seconds_count{operation=\"key.get\"}",
            6.0,
        ),
        (
            "akm_operation_duration_seconds_bucket{le=\"+Inf\",operation=\"key.get\"}",
            6.0,
        ),
        ("akm_sessions", 1.0),
    ] {
        assert_eq!(value(&metrics, name), Some(expected), "{name} in {metrics}");
    }
    let sum = "akm_operation_duration_seconds_sum{operation=\"key.get\"}";
    assert!(value(&metrics, sum).unwrap() > 0.0);
    let vault = std::fs::metadata(home.path().join("vault.db"))
        .unwrap()
        .len();
    assert!(value(&metrics, "akm_vault_bytes").unwrap() >= vault as f64);
    let backup = value(&metrics, "akm_last_backup_timestamp_seconds").unwrap();
    let now = jiff::Timestamp::now().as_second() as f64;
    assert!((now - 600.0..=now).contains(&backup), "{backup} and {now}");
    assert!(value(&metrics, "akm_connections").unwrap() >= 1.0);
    assert!(metrics.ends_with("# EOF\n"));
    // Labels come from two closed lists.
    for text in ["canary", "openai", "default", PASSPHRASE] {
        assert!(!metrics.contains(text), "{text} in {metrics}");
    }
    for operation in metrics.split("operation=\"").skip(1) {
        let name = operation.split('"').next().unwrap();
        assert!(Op::from_name(name).is_some(), "{name}");
    }
    agent.lock();
    let (_, locked) = fetch(&agent, "/metrics");
    assert_eq!(value(&locked, "akm_sessions"), Some(0.0));
    let wrong = agent.http("POST /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(wrong.starts_with("HTTP/1.1 405"), "{wrong}");
}

#[test]
fn the_format_is_one_that_prometheus_client_of_python_reads() {
    // A parser that is not ours, where there is one; CI has the other checks.
    let parser = "from prometheus_client.openmetrics.parser import text_string_to_metric_families as p\n\
                  import sys\nprint(len(list(p(sys.stdin.read()))))";
    // Debian's module is of Debian's Python, which need not be the first in the path.
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let imported = std::process::Command::new(python)
            .args(["-c", "import prometheus_client"])
            .stderr(std::process::Stdio::null())
            .status();
        imported.is_ok_and(|status| status.success())
    });
    let Some(python) = python else {
        eprintln!("skipped: python3-prometheus-client is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI skips nothing");
        return;
    };
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let (_, metrics) = fetch(&agent, "/metrics");
    let parse = |text: &str| {
        let mut child = std::process::Command::new(python)
            .args(["-c", parser])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse::<u32>()
    };
    assert!(parse(&metrics).unwrap() >= 6, "{metrics}");
    // Control: a broken text is none.
    assert!(parse(&metrics.replace("# EOF", "akm_sessions x")).is_err());
}

#[test]
fn health_is_told_to_whoever_asks() {
    let home = Home::new();
    let agent = home.start();
    for path in ["/healthz", "/readyz"] {
        let (head, body) = fetch(&agent, path);
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert_eq!(body, r#"{"ok":true,"result":{}}"#);
    }
}

#[test]
fn the_log_is_lines_of_json_with_every_lock_and_without_a_value() {
    let home = Home::new();
    let (agent, journal) = logged(&home, "-d", true);
    agent.register();
    agent
        .add("openai/canary-label", "canary-secret-0123456789")
        .unwrap();
    agent.get("openai/canary-label").unwrap();
    agent.get("canary/typed").unwrap_err();
    agent.http(&support::request(
        "key.get",
        r#"{"name":"canary","nonsense":1}"#,
    ));
    agent.signal(Signal::SIGUSR1);
    eventually("the lock", || agent.get("openai/canary-label").is_err());
    assert!(agent.stop().success());
    let text = std::fs::read_to_string(&journal).unwrap();
    let mut events = Vec::new();
    for line in text.lines() {
        let (priority, json) = line.strip_prefix('<').unwrap().split_once('>').unwrap();
        let line: serde_json::Value = serde_json::from_str(json).unwrap();
        let level = match priority {
            "3" => "error",
            "4" => "warning",
            "6" => "info",
            "7" => "debug",
            _ => panic!("{priority}"),
        };
        assert_eq!(line["level"], level);
        events.push(line["event"].as_str().unwrap().to_owned());
    }
    for event in ["ready", "request", "locked_all", "stopping"] {
        assert!(events.iter().any(|seen| seen == event), "{event} in {text}");
    }
    assert!(text.contains("\"reason\":\"signal\""), "{text}");
    assert!(text.contains("\"outcome\":\"not_found\""), "{text}");
    for secret in ["canary", PASSPHRASE, "openai"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn a_job_that_failed_is_named_in_the_log() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    let config = "[backup]\noffsite = [\"/nowhere/copy\"]\n";
    std::fs::write(home.path().join("config.toml"), config).unwrap();
    let (agent, log) = logged(&home, "-D", false);
    agent.register();
    let schedule = BackupSchedule {
        daily: true,
        keep: None,
        max_age_days: None,
    };
    agent.client().call(&schedule).unwrap();
    eventually("the failure", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.contains(
            r#""event":"failed","job":"offsite","kind":"io","message":"the command that copies"#,
        )
    });
}

#[test]
fn an_unused_session_is_wiped_by_itself_and_the_reason_is_told() {
    let home = Home::new();
    std::fs::create_dir(home.path()).unwrap();
    std::fs::write(home.path().join("config.toml"), "[agent]\nidle = \"1s\"\n").unwrap();
    let (agent, log) = logged(&home, "-D", false);
    agent.register();
    let log = || std::fs::read_to_string(&log).unwrap();
    // The wipe itself, and not only a refusal to whoever asks.
    eventually("the end of the session", || {
        log().contains("\"event\":\"expired\"")
    });
    let status = agent.client().call(&AgentStatus {}).unwrap();
    assert_eq!(status.locked_because, Some(LockReason::Idle));
    assert!(
        log().lines().all(|line| line.starts_with("{\"time\":")),
        "{}",
        log()
    );
}
