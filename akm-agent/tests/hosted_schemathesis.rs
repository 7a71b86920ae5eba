//! What schemathesis finds to ask of the derived OpenAPI document: whatever it sends, no answer is an error of the server.
//!
//! It runs in three ways, bounded by counts, about a minute in all: every operation with a session, over the document as it is served; stateful runs, in
//! which what one operation answers is what others ask for; and without a session what needs none or ends one. Every call stands in
//! its log (HAR), which is read here: how many there were, which operations ever succeeded, and that none was answered with 5xx.
//!
//! The document says nothing of links between operations; those that the stateful run follows are written down below.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod hosted_support;
mod support;
#[path = "../../akm-ffi/tests/ffi/tools.rs"]
#[allow(dead_code)]
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use akm_core::protocol::{Offered, Op, offered};
use hosted_support::Site;
use serde_json::{Value, json};

/// The numbers that its choices follow from.
const SEEDS: [&str; 4] = ["6", "7", "8", "9"];

/// Operations that begin or end sessions: asked without one.
const OF_SESSIONS: [Op; 5] = [
    Op::AgentUnlock,
    Op::AgentLock,
    Op::AccountRegister,
    Op::AccountRecover,
    Op::SessionRevoke,
];

/// Operations that have something to do with what another one answered.
const LINKED: [Op; 17] = [
    Op::KeyAdd,
    Op::KeyGet,
    Op::KeyShow,
    Op::KeyList,
    Op::KeyUpdate,
    Op::KeyRotate,
    Op::KeyRemove,
    Op::KeyHistory,
    Op::ProviderTest,
    Op::ProviderBalance,
    Op::AuditList,
    Op::VaultImport,
    Op::VaultExport,
    Op::HandoverOffer,
    Op::HandoverSend,
    Op::HandoverReceive,
    Op::BillingNotices,
];

/// What is 5xx on purpose, and why.
fn on_purpose(op: &str, error: &str) -> bool {
    // A checkpoint of a version that this program does not know: `unsupported_version`, which CONTRACT.md maps to 500.
    op == "audit.verify" && error.contains("unsupported_version")
}

/// What was asked in a run.
#[derive(Default)]
struct Log {
    calls: usize,
    /// By operation: how often it was answered with which status.
    seen: BTreeMap<String, BTreeMap<u64, usize>>,
}

impl Log {
    fn read(path: &Path) -> Log {
        let har: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut log = Log::default();
        for entry in har["log"]["entries"].as_array().unwrap() {
            let url = entry["request"]["url"].as_str().unwrap();
            let path = url.split_once("/v1/").map_or("", |(_, path)| path);
            let op = path.split(['?', '#']).next().unwrap().to_owned();
            let status = entry["response"]["status"].as_u64().unwrap();
            let body = entry["response"]["content"]["text"].as_str().unwrap_or("");
            assert!(
                status < 500 || on_purpose(&op, body),
                "{op} answered {status}: {body}\nto {}",
                entry["request"]["postData"]
            );
            assert!(status > 0, "{op} was not answered");
            log.calls += 1;
            *log.seen.entry(op).or_default().entry(status).or_default() += 1;
        }
        log
    }

    fn add(&mut self, other: Log) {
        self.calls += other.calls;
        for (op, statuses) in other.seen {
            let seen = self.seen.entry(op).or_default();
            for (status, count) in statuses {
                *seen.entry(status).or_default() += count;
            }
        }
    }

    fn succeeded(&self) -> BTreeSet<&str> {
        let good = |(_, statuses): &(&String, &BTreeMap<u64, usize>)| statuses.contains_key(&200);
        let names = self.seen.iter().filter(good);
        names.map(|(op, _)| op.as_str()).collect()
    }

    fn say(&self, name: &str) {
        println!(
            "{name}: {} calls of {} operations, {} of them answered 200",
            self.calls,
            self.seen.len(),
            self.succeeded().len()
        );
        for (op, statuses) in &self.seen {
            println!("  {op} {statuses:?}");
        }
    }
}

struct Run<'a> {
    name: &'a str,
    phases: &'a str,
    seed: &'a str,
    /// About how many for each operation, or how many walks from one to the next. Counted and not timed: a slow machine asks as much.
    examples: &'a str,
    document: &'a Value,
    /// Whether only what the document allows is sent.
    well_formed: bool,
    token: Option<&'a str>,
    /// What is asked.
    ops: Vec<Op>,
}

fn run(program: &Path, site: &Site, run: &Run<'_>) -> Log {
    let dir = site.home.dir.path();
    let document = dir.join(format!("{}.json", run.name));
    std::fs::write(&document, run.document.to_string()).unwrap();
    let har = dir.join(format!("{}.har", run.name));
    let mut command = tools::clean(program);
    command
        .arg("run")
        .arg(&document)
        .args(["--url", &format!("http://{}", site.address)])
        .args(["--phases", run.phases, "--seed", run.seed, "--no-color"])
        .args(["--checks", "not_a_server_error", "--continue-on-failure"])
        .args(["--no-shrink", "--max-examples", run.examples])
        .args(["--suppress-health-check", "all", "--request-timeout", "20"])
        .args(["--report", "har", "--output-sanitize", "false"])
        .arg("--report-har-path")
        .arg(&har)
        .current_dir(dir);
    if run.well_formed {
        command.args(["--mode", "positive"]);
    }
    if let Some(token) = run.token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    for op in &run.ops {
        command.args(["--include-path", &format!("/v1/{}", op.name())]);
    }
    let output = tools::output(&mut command);
    let said = String::from_utf8_lossy(&output.stdout);
    // What it found stands in the log; another code means that it did not run.
    assert!(
        matches!(output.status.code(), Some(0 | 1)) && har.is_file(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let log = Log::read(&har);
    log.say(run.name);
    log
}

/// The document, told which names and secrets are good ones and what leads where.
fn linked(document: &Value) -> Value {
    let mut document = document.clone();
    let schemas = &mut document["components"]["schemas"];
    for (schema, field, pattern) in [
        ("KeyAdd", "name", "^(openai|groq|mine)/[a-z]{1,6}$"),
        ("KeyAdd", "secret", "^sk-[a-z0-9]{16,40}$"),
        ("KeyRotate", "secret", "^sk-[a-z0-9]{16,40}$"),
        ("KeyRow", "name", "^(openai|groq|mine)/[a-z]{1,6}$"),
        ("KeyRow", "secret", "^sk-[a-z0-9]{16,40}$"),
    ] {
        let at = &mut schemas[schema]["properties"][field];
        assert!(at.is_object(), "{schema}.{field} is in the document");
        *at = json!({"type": "string", "pattern": pattern});
    }
    // What is optional is mostly left out: most texts at random are refused.
    let known = ["name", "secret", "categories", "use_only", "notes"];
    let properties = schemas["KeyAdd"]["properties"].as_object_mut().unwrap();
    properties.retain(|field, _| known.contains(&field.as_str()));
    // What goes on with a page goes on with nothing else, and a passphrase is not guessed at.
    for (schema, fields) in [
        ("HandoverSend", &["after"][..]),
        ("HandoverReceive", &["handover"]),
        ("VaultExport", &["passphrase", "use_only", "after"]),
    ] {
        let properties = schemas[schema]["properties"].as_object_mut().unwrap();
        for field in fields {
            assert!(properties.remove(*field).is_some(), "{schema}.{field}");
        }
    }
    schemas["HandoverSend"]["properties"]["passphrase"] = json!({"const": support::PASSPHRASE});
    let link = |from: &str, to: &str, body: Value, document: &mut Value| {
        let answer = &mut document["paths"][format!("/v1/{from}")]["post"]["responses"]["200"];
        assert!(answer.is_object(), "{from} is in the document");
        answer["links"][to] = json!({"operationId": to, "requestBody": body});
    };
    let name = json!({"name": "$response.body#/result/key/name"});
    for to in [
        "key.get",
        "key.show",
        "key.history",
        "key.remove",
        "provider.test",
        "provider.balance",
    ] {
        link("key.add", to, name.clone(), &mut document);
    }
    for (from, to, body) in [
        (
            "key.add",
            "key.rotate",
            json!({"name": "$response.body#/result/key/name", "secret": "sk-rotated-0123456789"}),
        ),
        (
            "key.add",
            "key.update",
            json!({"name": "$response.body#/result/key/name", "notes": "seen"}),
        ),
        (
            "key.add",
            "audit.list",
            json!({"key": "$response.body#/result/key/name"}),
        ),
        (
            "key.list",
            "key.list",
            json!({"after": "$response.body#/result/next"}),
        ),
        (
            "vault.import",
            "vault.import",
            json!({"import": "$response.body#/result/import", "finish": true}),
        ),
        (
            "handover.offer",
            "handover.send",
            json!({"code": "$response.body#/result/code", "passphrase": support::PASSPHRASE}),
        ),
        (
            "handover.send",
            "handover.receive",
            json!({"content": "$response.body#/result/content", "finish": true}),
        ),
    ] {
        link(from, to, body, &mut document);
    }
    document
}

/// schemathesis, installed once for the list of versions.
fn schemathesis() -> Option<PathBuf> {
    if !tools::have("python3") {
        return None;
    }
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/requirements.txt");
    let versions = std::fs::read(&list).unwrap();
    let dir = tools::cached("schemathesis", &[&versions], |dir| {
        tools::run(tools::installer("python3").args(["-m", "venv"]).arg(dir));
        tools::run(
            tools::installer(dir.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "-r"])
                .arg(&list),
        );
    });
    Some(dir.join("bin/schemathesis"))
}

#[test]
fn whatever_is_asked_of_the_document_no_answer_is_an_error_of_the_server() {
    let Some(program) = schemathesis() else {
        return;
    };
    let site = Site::selling();
    let token = site.register("schemathesis");
    // An administrator, so that nothing ends at the gate.
    let role = json!({"account": "schemathesis", "role": "admin"}).to_string();
    let granted = site.agent.client().call_raw("admin.grant", role.as_bytes());
    granted.unwrap();
    let document = site.ask("GET", "/v1/openapi.json", &[], "").json();
    let of_session: Vec<Op> = Op::ALL
        .iter()
        .filter(|op| offered(**op) != Offered::Never && !OF_SESSIONS.contains(op))
        .copied()
        .collect();

    // First, while nobody has guessed at a passphrase: who did has to wait.
    // Several beginnings: how far one leads turns on every word of the document.
    let linked = linked(&document);
    let mut stateful = Log::default();
    for seed in SEEDS {
        stateful.add(run(
            &program,
            &site,
            &Run {
                name: &format!("stateful-{seed}"),
                phases: "stateful",
                seed,
                examples: "60",
                document: &linked,
                well_formed: true,
                token: Some(&token),
                ops: LINKED.to_vec(),
            },
        ));
    }
    assert!(stateful.calls >= 100, "control: {} calls", stateful.calls);
    for op in ["key.add", "key.list", "handover.offer", "handover.send"] {
        assert!(stateful.succeeded().contains(op), "{op} never succeeded");
    }
    // What only a name that another operation answered leads to.
    let led: usize = ["key.get", "key.show", "key.history", "key.rotate"]
        .iter()
        .filter_map(|op| stateful.seen.get(*op)?.get(&200))
        .sum();
    assert!(led >= 3, "control: {led} calls followed a link to a key");

    let all = run(
        &program,
        &site,
        &Run {
            name: "every-operation",
            phases: "fuzzing",
            seed: SEEDS[0],
            examples: "10",
            document: &document,
            well_formed: false,
            token: Some(&token),
            ops: of_session.clone(),
        },
    );
    assert!(all.calls >= 400, "control: {} calls", all.calls);
    assert!(
        all.seen.len() >= of_session.len() - 2,
        "{} operations of {}",
        all.seen.len(),
        of_session.len()
    );

    let outside = run(
        &program,
        &site,
        &Run {
            name: "without-a-session",
            phases: "fuzzing",
            seed: SEEDS[0],
            examples: "25",
            document: &document,
            well_formed: false,
            token: None,
            ops: [&OF_SESSIONS[..], &[Op::KeyGet, Op::BillingTiers]].concat(),
        },
    );
    assert!(outside.calls >= 50, "control: {} calls", outside.calls);
    let got = outside.seen.get("key.get").unwrap();
    assert!(
        !got.contains_key(&200) && got.contains_key(&423),
        "nothing is handed out: {got:?}"
    );

    // The server is well, and the account's chain of events is whole.
    assert_eq!(site.ask("GET", "/readyz", &[], "").status, 200);
    let verified = site.op(Some(&token), "audit.verify", &json!({})).result();
    assert_eq!(verified["ok"], true);
    assert!(verified["entries"].as_u64().unwrap() > 100);
}
