//! `akm test`: connection tests of many keys at once.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use akm_core::client::Client;
use akm_core::protocol::{
    Key, KeyList, KeyStatus, Outcome, ProviderInfo, ProviderList, ProviderTest, TestResult,
};
use akm_core::{Error, Kind};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::output::{self, Fail, Result};
use super::text::{of_token, text, translated};
use super::{connect, list};

/// Tests under way at a time: as many as the agent takes on. They wait for providers, so that all together take
/// about as long as the slowest.
const THREADS: usize = 64;
/// A provider gets its own time-outs from the agent; this is only for an agent that is gone.
const PATIENCE: Duration = Duration::from_secs(120);

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
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Tested {
    /// The provider was asked.
    Done(TestResult),
    /// It was not.
    Failed {
        /// The key as it was typed.
        name: String,
        /// Why.
        error: Error,
    },
}

impl Tested {
    fn passes(&self) -> bool {
        matches!(self, Tested::Done(result) if passes(result.outcome))
    }
}

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
        let active = KeyList {
            status: Some(KeyStatus::Active),
            ..KeyList::default()
        };
        let keys = list::all(&mut client, active)?;
        sort_out(keys, &client.call(&ProviderList {})?.providers)
    } else {
        (args.names, Vec::new())
    };
    let socket = client.socket().to_owned();
    drop(client);
    let bar = progress(names.len() as u64, json);
    let mut results = each(&names, |name| {
        let tested =
            Client::connect_with_timeout(Some(&socket), PATIENCE).and_then(|mut client| {
                client.call(&ProviderTest {
                    name: name.to_owned(),
                })
            });
        bar.inc(1);
        match tested {
            Ok(result) => Tested::Done(result),
            Err(error) => Tested::Failed {
                name: name.to_owned(),
                error,
            },
        }
    });
    bar.finish_and_clear();
    // Locked, or gone: that is one thing to say, not one for each key.
    let broken = results.iter().position(|tested| {
        matches!(tested, Tested::Failed { error, .. }
            if matches!(error.kind(), Kind::Locked | Kind::NoAgent))
    });
    if let Some(index) = broken
        && let Tested::Failed { error, .. } = results.swap_remove(index)
    {
        return Err(error.into());
    }
    let failed = results.iter().any(|tested| !tested.passes());
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

/// Runs a function on every name, a few at a time, and keeps their order.
pub(super) fn each<T: Send>(names: &[String], work: impl Fn(&str) -> T + Sync) -> Vec<T> {
    let queue: Mutex<VecDeque<(usize, &String)>> = Mutex::new(names.iter().enumerate().collect());
    let done = Mutex::new(Vec::with_capacity(names.len()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(names.len()) {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop_front();
                    let Some((index, name)) = next else { break };
                    let result = work(name);
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(super) fn progress(count: u64, json: bool) -> ProgressBar {
    if json || count < 2 || !output::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{} {{bar:30}} {{pos}}/{{len}}", text!("testing")))
    {
        bar.set_style(style);
    }
    bar.tick();
    bar
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_worked_on_once_and_order_is_kept() {
        let names: Vec<String> = (0..100).map(|n| format!("p/{n}")).collect();
        assert_eq!(each(&names, str::to_owned), names);
        assert!(each(&[], str::to_owned).is_empty());
    }

    #[test]
    fn so_many_tests_are_under_way_at_once() {
        // Each waits for all the others: with fewer threads this would never end.
        let names: Vec<String> = (0..THREADS).map(|n| n.to_string()).collect();
        let gate = std::sync::Barrier::new(THREADS);
        let leaders = each(&names, |_| gate.wait().is_leader());
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }
}
