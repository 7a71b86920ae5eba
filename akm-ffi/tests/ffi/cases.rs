//! The conformance files: read, run through one way, counted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::agent::{self, Agent};
use crate::disk::Change;
use crate::drivers::Way;
use crate::pattern::Known;
use crate::provider::{Provider, closed_url};
use crate::tools;

/// One file.
pub(crate) struct Case {
    pub(crate) name: String,
    /// The agent's `config.toml`; such a case is not for an embedded vault, which reads none.
    config: Option<String>,
    only: Option<Only>,
    steps: Vec<Step>,
}

/// The ways that a case is for which is not for all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Agent,
    Embedded,
}

enum Step {
    Call(Call),
    Change(Change),
}

/// One operation and what it must answer.
pub(crate) struct Call {
    pub(crate) op: String,
    request: Value,
    pub(crate) expected: Result<Value, Value>,
}

impl Case {
    /// The operations that it asks for.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().filter_map(|step| match step {
            Step::Call(call) => Some(call),
            Step::Change(_) => None,
        })
    }

    fn is_for(&self, embedded: bool) -> bool {
        match (self.only, &self.config) {
            (Some(only), _) => (only == Only::Embedded) == embedded,
            (None, Some(_)) => !embedded,
            (None, None) => true,
        }
    }
}

/// The files of the directory, whatever is in them.
pub(crate) fn files() -> Vec<PathBuf> {
    let dir = tools::root().join("conformance/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("the cases are in the checkout")
        .map(|entry| entry.expect("the directory is readable").path())
        .collect();
    files.sort();
    files
}

/// Reads every file; anything that is not understood is an error, so that no case is passed over.
pub(crate) fn all() -> Vec<Case> {
    files().into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Case {
    let name = path
        .file_name()
        .expect("a file has a name")
        .to_string_lossy()
        .into_owned();
    assert!(name.ends_with(".json"), "{name} is no case");
    let text = fs::read_to_string(&path).expect("a case is readable");
    let case: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut fields: BTreeSet<&str> = case
        .as_object()
        .expect("a case is an object")
        .keys()
        .map(String::as_str)
        .collect();
    fields.remove("config");
    fields.remove("only");
    assert_eq!(fields, BTreeSet::from(["title", "steps"]), "{name}");
    let config = case.get("config").map(|config| {
        let config = config.as_str().expect("a configuration is a text");
        config.to_owned()
    });
    let only = case.get("only").map(|only| match only.as_str() {
        Some("agent") => Only::Agent,
        Some("embedded") if config.is_none() => Only::Embedded,
        _ => panic!("{name} is for no way"),
    });
    let steps: Vec<Step> = case["steps"]
        .as_array()
        .expect("steps are a list")
        .iter()
        .map(|step| read_step(&name, step))
        .collect();
    assert!(!steps.is_empty(), "{name} has no steps");
    Case {
        name,
        config,
        only,
        steps,
    }
}

fn read_step(name: &str, step: &Value) -> Step {
    let fields = step.as_object().expect("a step is an object");
    if fields.contains_key("file") {
        return Step::Change(Change::read(name, fields));
    }
    let known = ["op", "request", "result", "error"];
    assert!(
        fields.keys().all(|field| known.contains(&field.as_str())),
        "{name}: a step has an unknown field: {step}"
    );
    let expected = match (fields.get("result"), fields.get("error")) {
        (Some(result), None) => Ok(result.clone()),
        (None, Some(error)) => {
            assert!(
                error["kind"].is_string(),
                "{name}: an error has a kind: {step}"
            );
            Err(error.clone())
        }
        _ => panic!("{name}: a step has a result or an error: {step}"),
    };
    Step::Call(Call {
        op: step["op"]
            .as_str()
            .expect("a step has an operation")
            .to_owned(),
        request: fields
            .get("request")
            .cloned()
            .unwrap_or_else(|| serde_json::json!({})),
        expected,
    })
}

/// Runs every case through one way, each on an empty home, and fails unless all of them ran.
pub(crate) fn run_all(way: &mut dyn Way) {
    let provider = Provider::start();
    let cases = all();
    assert_eq!(cases.len(), files().len());
    let mut sessions = 0;
    let embedded = way.embedded();
    for case in cases.iter().filter(|case| case.is_for(embedded)) {
        sessions += run(way, case, &provider);
    }
    assert_eq!(way.count(), sessions, "as many as the cases for this way");
}

/// Where a vault is: an agent's home, or a directory of an embedded one.
enum Home {
    Agent(Agent),
    Directory(tempfile::TempDir),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Home::Agent(agent) => agent.home.path(),
            Home::Directory(home) => home.path(),
        }
    }

    /// What a session begins on.
    fn place(&self) -> PathBuf {
        match self {
            Home::Agent(agent) => agent.socket.clone(),
            Home::Directory(home) => home.path().join("vault.db"),
        }
    }
}

/// Says how many sessions it asked for.
fn run(way: &mut dyn Way, case: &Case, provider: &Provider) -> usize {
    let mut known = Known::default();
    known.set("server", provider.url());
    known.set("nobody", closed_url());
    let mut home = match way.embedded() {
        true => Home::Directory(agent::home()),
        false => Home::Agent(Agent::configured(
            case.config.as_deref().unwrap_or_default(),
        )),
    };
    way.begin(&home.place());
    let (mut sessions, mut open) = (1, true);
    for (index, step) in case.steps.iter().enumerate() {
        let at = |what: &str| format!("{} step {} ({what})", case.name, index + 1);
        match step {
            Step::Call(call) => {
                let answer = way.call(&call.op, &known.fill(&call.request));
                fits(&mut known, &call.expected, &answer)
                    .unwrap_or_else(|differs| panic!("{}: {differs}", at(&call.op)));
            }
            Step::Change(change) => {
                if open {
                    way.end();
                }
                if let Home::Agent(agent) = &mut home {
                    agent.close();
                }
                change.make(home.path(), &known);
                if let Home::Agent(agent) = &mut home {
                    agent.restart();
                }
                let opened = way.try_begin(&home.place()).map(|()| Value::Null);
                sessions += 1;
                open = opened.is_ok();
                fits(&mut known, change.expected(), &opened)
                    .unwrap_or_else(|differs| panic!("{}: {differs}", at("opened again")));
            }
        }
    }
    if open {
        way.end();
    }
    sessions
}

fn fits(
    known: &mut Known,
    expected: &Result<Value, Value>,
    answer: &Result<Value, Value>,
) -> Result<(), String> {
    match (expected, answer) {
        (Ok(pattern), Ok(result)) => known.fits(pattern, result, "result"),
        (Err(pattern), Err(error)) => known.fits(pattern, error, "error"),
        (Ok(_), Err(error)) => Err(format!("expected a result, got the error {error}")),
        (Err(pattern), Ok(_)) => Err(format!("expected the error {pattern}, got a result")),
    }
}
