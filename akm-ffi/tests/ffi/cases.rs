//! The conformance files: read, run through one way, counted.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::agent::{self, Agent};
use crate::drivers::Way;
use crate::pattern::Known;
use crate::provider::{Provider, closed_url};
use crate::tools;

/// One file.
pub(crate) struct Case {
    pub(crate) name: String,
    /// The agent's `config.toml`; such a case is not for an embedded vault, which reads none.
    config: Option<String>,
    pub(crate) steps: Vec<Step>,
}

/// One operation and what it must answer.
pub(crate) struct Step {
    pub(crate) op: String,
    request: Value,
    pub(crate) expected: Result<Value, Value>,
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
    assert_eq!(fields, BTreeSet::from(["title", "steps"]), "{name}");
    let config = case.get("config").map(|config| {
        let config = config.as_str().expect("a configuration is a text");
        config.to_owned()
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
        steps,
    }
}

fn read_step(name: &str, step: &Value) -> Step {
    let fields = step.as_object().expect("a step is an object");
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
    Step {
        op: step["op"]
            .as_str()
            .expect("a step has an operation")
            .to_owned(),
        request: fields
            .get("request")
            .cloned()
            .unwrap_or_else(|| serde_json::json!({})),
        expected,
    }
}

/// Runs every case through one way, each on an empty home, and fails unless all of them ran.
pub(crate) fn run_all(way: &mut dyn Way) {
    let provider = Provider::start();
    let cases = all();
    assert_eq!(cases.len(), files().len());
    let mut wanted = 0;
    for case in &cases {
        if way.embedded() && case.config.is_some() {
            continue;
        }
        run(way, case, &provider);
        wanted += 1;
    }
    assert_eq!(way.count(), wanted, "as many cases ran as this way can");
}

fn run(way: &mut dyn Way, case: &Case, provider: &Provider) {
    let mut known = Known::default();
    known.set("server", provider.url());
    known.set("nobody", closed_url());
    // The home outlives the session on it.
    let (_agent, _home);
    if way.embedded() {
        let home = agent::home();
        way.begin(&home.path().join("vault.db"));
        _home = home;
    } else {
        let agent = Agent::configured(case.config.as_deref().unwrap_or_default());
        way.begin(&agent.socket);
        _agent = agent;
    }
    for (index, step) in case.steps.iter().enumerate() {
        let at = format!("{} step {} ({})", case.name, index + 1, step.op);
        let answer = way.call(&step.op, &known.fill(&step.request));
        let fits = match (&step.expected, &answer) {
            (Ok(pattern), Ok(result)) => known.fits(pattern, result, "result"),
            (Err(pattern), Err(error)) => known.fits(pattern, error, "error"),
            (Ok(_), Err(error)) => Err(format!("expected a result, got the error {error}")),
            (Err(pattern), Ok(_)) => Err(format!("expected the error {pattern}, got a result")),
        };
        fits.unwrap_or_else(|difference| panic!("{at}: {difference}"));
    }
    way.end();
}
