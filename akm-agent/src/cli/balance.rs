//! `akm balance`: what is left with the providers of many keys at once.

use akm_core::protocol::{Balance, BalanceKind, BalanceOutcome, BalanceResult, ProviderBalance};
use clap::Args;
use serde::Serialize;

use super::connect;
use super::many::{self, Asked};
use super::output::{self, Fail, Result};
use super::text::{of_token, text, translated};

/// Asks for balances.
#[derive(Args)]
#[command(
    after_help = "Exit 1 if a balance is below the threshold of its key (akm edit NAME --low-balance 5), or a provider that was asked did not say it. With --all, keys of providers without a balance are left out of the table.\n\nExample:\n  akm balance deepseek\n  akm balance --all --json"
)]
pub(crate) struct Ask {
    /// The keys
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "NAME"
    )]
    names: Vec<String>,
    /// Every active key
    #[arg(long)]
    all: bool,
}

/// Whether there is nothing to do about it. A provider without a balance is no failure of a key that nobody named.
fn passes(asked: &Asked<BalanceResult>, named: bool) -> bool {
    match asked {
        Asked::Failed { .. } => false,
        Asked::Done(result) => match result.outcome {
            BalanceOutcome::Known => result.low != Some(true),
            BalanceOutcome::Unsupported => !named,
            BalanceOutcome::Refused | BalanceOutcome::Unreachable => false,
        },
    }
}

pub(crate) fn balance(args: Ask, json: bool) -> Result<()> {
    let mut client = connect()?;
    let names = if args.all {
        let keys = many::active(&mut client)?;
        keys.into_iter().map(|key| key.name).collect()
    } else {
        args.names
    };
    let results = many::ask(client, &names, json, |name| ProviderBalance { name })?;
    let failed = results.iter().any(|asked| !passes(asked, !args.all));
    if json {
        #[derive(Serialize)]
        struct Results {
            results: Vec<Asked<BalanceResult>>,
        }
        output::json(&Results { results })?;
    } else {
        show(&results, args.all)?;
    }
    if failed { Err(Fail::Exit(1)) } else { Ok(()) }
}

/// Prints the balances, a row for each currency and scope.
fn show(results: &[Asked<BalanceResult>], all: bool) -> Result<()> {
    let mut rows = Vec::new();
    let mut without: u32 = 0;
    for asked in results {
        match asked {
            Asked::Done(result) if all && result.outcome == BalanceOutcome::Unsupported => {
                without += 1;
            }
            Asked::Done(result) if result.balances.is_empty() => {
                rows.push(bare(&result.name, translated(&result.detail).into_owned()));
            }
            Asked::Done(result) => {
                rows.extend(result.balances.iter().map(|balance| row(result, balance)));
            }
            Asked::Failed { name, error } => {
                rows.push(bare(name, translated(error.message()).into_owned()));
            }
        }
    }
    output::table(
        &[
            "col-name",
            "col-available",
            "col-unit",
            "col-used",
            "col-total",
            "col-of",
            "col-remark",
        ],
        &rows,
    )?;
    if without > 0 {
        output::note(&text!("balance-left-out", count = without));
    }
    Ok(())
}

fn bare(name: &str, remark: String) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        name.to_owned(),
        dash(),
        dash(),
        dash(),
        dash(),
        dash(),
        remark,
    ]
}

fn row(result: &BalanceResult, balance: &Balance) -> Vec<String> {
    let or_dash = |amount: &Option<String>| amount.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        result.name.clone(),
        match balance.unlimited {
            true => text!("balance-unlimited"),
            false => or_dash(&balance.available),
        },
        or_dash(&balance.currency),
        or_dash(&balance.used),
        or_dash(&balance.total),
        of_token("balance-of", balance.of.token()),
        remark(result, balance),
    ]
}

/// The threshold first: it is what somebody looks for.
fn remark(result: &BalanceResult, balance: &Balance) -> String {
    let mut remarks = Vec::new();
    if let (Some(true), Some(threshold)) = (result.low, &result.low_balance) {
        remarks.push(text!("balance-low", threshold = threshold.as_str()));
    }
    match (balance.kind, &balance.since) {
        (BalanceKind::Spend, Some(since)) => {
            remarks.push(text!("balance-spent-since", time = since.as_str()));
        }
        (kind, _) => remarks.push(of_token("balance-kind", kind.token())),
    }
    if let Some(owed) = &balance.owed {
        remarks.push(text!("balance-owed", amount = owed.as_str()));
    }
    remarks.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use akm_core::protocol::BalanceScope;

    fn result(outcome: BalanceOutcome, low: Option<bool>) -> Asked<BalanceResult> {
        Asked::Done(BalanceResult {
            name: "x/y".into(),
            outcome,
            balances: Vec::new(),
            low_balance: low.map(|_| "5".into()),
            low,
            checked_at: String::new(),
            detail: String::new(),
        })
    }

    #[test]
    fn what_is_low_or_was_not_said_fails() {
        for (asked, named, all) in [
            (result(BalanceOutcome::Known, None), true, true),
            (result(BalanceOutcome::Known, Some(false)), true, true),
            (result(BalanceOutcome::Known, Some(true)), false, false),
            (result(BalanceOutcome::Unsupported, None), false, true),
            (result(BalanceOutcome::Refused, None), false, false),
            (result(BalanceOutcome::Unreachable, None), false, false),
        ] {
            assert_eq!(passes(&asked, true), named);
            assert_eq!(passes(&asked, false), all);
        }
    }

    #[test]
    fn a_row_says_the_threshold_and_since_when() {
        let Asked::Done(low) = result(BalanceOutcome::Known, Some(true)) else {
            panic!("it is done")
        };
        let mut balance = Balance {
            currency: Some("USD".into()),
            kind: BalanceKind::Prepaid,
            of: BalanceScope::Account,
            available: Some("4.20".into()),
            unlimited: false,
            total: None,
            used: None,
            granted: None,
            topped_up: None,
            credit: None,
            owed: Some("1.00".into()),
            since: None,
        };
        let shown = row(&low, &balance);
        assert_eq!(shown[1..3], ["4.20", "USD"]);
        assert!(shown[6].starts_with("below 5; "), "{shown:?}");
        assert!(shown[6].ends_with("1.00 owed"), "{shown:?}");
        balance.kind = BalanceKind::Spend;
        balance.since = Some("2026-11-01T00:00:00.000Z".into());
        assert!(row(&low, &balance)[6].contains("since 2026-11-01"));
        balance.unlimited = true;
        assert_eq!(row(&low, &balance)[1], "unlimited");
    }
}
