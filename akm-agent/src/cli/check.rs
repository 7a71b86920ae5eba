//! `akm test`: connection tests of many keys at once.

use akm_core::protocol::{Key, Outcome, ProviderInfo, ProviderList, ProviderTest, TestResult};
use clap::Args;
use serde::Serialize;

use super::connect;
use super::many::{self, Asked};
use super::output::{self, Fail, Result};
use super::text::{of_token, text, translated};

/// Tests keys.
#[derive(Args)]
#[command(after_help = "Example:\n  akm test openai/work\n  akm test --all --json")]
pub(crate) struct Test {
    /// The keys
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "NAME"
    )]
    names: Vec<String>,
    /// Every active key, but those of retired providers and those whose test may cost money
    #[arg(long)]
    all: bool,
}

/// A key that `--all` leaves out.
#[derive(Debug, Serialize)]
struct LeftOut {
    /// `provider/label`.
    name: String,
    /// `retired` or `costs_tokens`.
    reason: &'static str,
}

/// What became of one test.
pub(crate) type Tested = Asked<TestResult>;

/// Whether nothing speaks against the key. A provider that has no test that proves a key is no failure of the
/// key; a limit that was hit proves nothing and is one.
pub(crate) fn passes(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Valid | Outcome::ValidRestricted | Outcome::Unverifiable => true,
        Outcome::Invalid
        | Outcome::NoPermission
        | Outcome::OutOfCredit
        | Outcome::RateLimited
        | Outcome::Unreachable => false,
    }
}

pub(crate) fn test(args: Test, json: bool) -> Result<()> {
    let mut client = connect()?;
    let (names, left_out) = if args.all {
        let keys = many::active(&mut client)?;
        sort_out(keys, &client.call(&ProviderList {})?.providers)
    } else {
        (args.names, Vec::new())
    };
    let results = many::ask(client, &names, json, |name| ProviderTest { name })?;
    let failed = results
        .iter()
        .any(|tested| !matches!(tested, Asked::Done(result) if passes(result.outcome)));
    if json {
        #[derive(Serialize)]
        struct Results {
            results: Vec<Tested>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            left_out: Vec<LeftOut>,
        }
        output::json(&Results { results, left_out })?;
    } else {
        show(&results)?;
        for left_out in &left_out {
            let name = left_out.name.as_str();
            output::note(&match left_out.reason {
                RETIRED => text!("left-out-retired", name = name),
                _ => text!("left-out-costs", name = name),
            });
        }
        if !left_out.is_empty() {
            output::hint(&text!("hint-name-left-out"));
        }
    }
    if failed { Err(Fail::Exit(1)) } else { Ok(()) }
}

const RETIRED: &str = "retired";
const COSTS: &str = "costs_tokens";

/// The keys that are tested without being named, and those that are left out.
fn sort_out(keys: Vec<Key>, providers: &[ProviderInfo]) -> (Vec<String>, Vec<LeftOut>) {
    let (mut names, mut left_out) = (Vec::new(), Vec::new());
    for key in keys {
        let provider = providers.iter().find(|known| known.id == key.provider);
        let reason = match provider {
            Some(provider) if provider.status == "retired" => Some(RETIRED),
            // A word that this program does not know may mean money as well.
            Some(provider) if provider.test.cost != "none" => Some(COSTS),
            _ => None,
        };
        match reason {
            None => names.push(key.name),
            Some(reason) => left_out.push(LeftOut {
                name: key.name,
                reason,
            }),
        }
    }
    (names, left_out)
}

/// Prints the verdicts.
pub(crate) fn show(results: &[Tested]) -> Result<()> {
    let rows: Vec<Vec<String>> = results
        .iter()
        .map(|tested| match tested {
            Tested::Done(result) => vec![
                result.name.clone(),
                of_token("outcome", result.outcome.token()),
                format!("{} ms", result.latency_ms),
                match &result.models {
                    Some(models) => models.len().to_string(),
                    None => "-".to_owned(),
                },
                translated(&result.detail).into_owned(),
            ],
            Tested::Failed { name, error } => vec![
                name.clone(),
                of_token("kind", error.kind().token()),
                "-".to_owned(),
                "-".to_owned(),
                translated(error.message()).into_owned(),
            ],
        })
        .collect();
    output::table(
        &[
            "col-name",
            "col-outcome",
            "col-took",
            "col-models",
            "col-detail",
        ],
        &rows,
    )
}
