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
    after_help = "A threshold (akm edit NAME --low-balance '5 CNY') counts for its currency alone. A number alone counts for every currency: the key is low once none of them reaches it, as any one of them pays.\n\nExit 1 if a balance is below the threshold of its key, a threshold could not be compared, or a provider did not answer. Of keys that are named also where the provider has no balance or does not tell it; with --all that is shown, and keys of providers without a balance are left out of the table.\n\nExample:\n  akm balance deepseek\n  akm balance --all --json"
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

/// Whether there is nothing to do about it. That a provider has no balance, or does not tell it to this kind of key, is no
/// failure of a key that nobody named; a threshold that says nothing is one of every key.
fn passes(asked: &Asked<BalanceResult>, named: bool) -> bool {
    match asked {
        Asked::Failed { .. } => false,
        Asked::Done(result) if result.low == Some(true) || is_uncompared(result) => false,
        Asked::Done(result) => match result.outcome {
            BalanceOutcome::Known => true,
            BalanceOutcome::Unsupported | BalanceOutcome::Refused => !named,
            BalanceOutcome::Unreachable => false,
        },
    }
}

/// Whether there is a threshold and nothing was held against it.
fn is_uncompared(result: &BalanceResult) -> bool {
    result.low_balance.is_some() && result.low.is_none()
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
            Asked::Done(result)
                if all
                    && result.outcome == BalanceOutcome::Unsupported
                    && !is_uncompared(result) =>
            {
                without += 1;
            }
            Asked::Done(result) if result.balances.is_empty() => {
                let said = translated(&result.detail).into_owned();
                let remarks = [Some(said), uncompared(result)];
                rows.push(bare(&result.name, joined(remarks.into_iter().flatten())));
            }
            Asked::Done(result) => {
                // That the threshold says nothing is said once for a key.
                let mut uncompared = uncompared(result);
                let balances = result.balances.iter();
                rows.extend(balances.map(|balance| row(result, balance, uncompared.take())));
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

/// That nothing was held against the threshold, and why, where the answer alone does not say it.
fn uncompared(result: &BalanceResult) -> Option<String> {
    let threshold = result.low_balance.as_deref()?;
    match (&result.low_unknown, result.outcome) {
        _ if result.low.is_some() => None,
        (Some(why), BalanceOutcome::Known) => Some(text!(
            "balance-uncompared-why",
            threshold = threshold,
            why = translated(why).into_owned()
        )),
        _ => Some(text!("balance-uncompared", threshold = threshold)),
    }
}

fn joined(remarks: impl Iterator<Item = String>) -> String {
    remarks.collect::<Vec<_>>().join("; ")
}

fn row(result: &BalanceResult, balance: &Balance, first: Option<String>) -> Vec<String> {
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
        joined(first.into_iter().chain(remarks(result, balance))),
    ]
}

/// The threshold first: it is what somebody looks for.
fn remarks(result: &BalanceResult, balance: &Balance) -> Vec<String> {
    let mut remarks = Vec::new();
    if let (Some(true), Some(threshold)) = (balance.low, &result.low_balance) {
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
    remarks
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
            low_unknown: None,
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
            (result(BalanceOutcome::Refused, None), false, true),
            (result(BalanceOutcome::Unreachable, None), false, false),
        ] {
            assert_eq!(passes(&asked, true), named);
            assert_eq!(passes(&asked, false), all);
            // A threshold that nothing was held against fails, whatever the answer.
            if let Asked::Done(mut result) = asked
                && result.low.is_none()
            {
                result.low_balance = Some("5 RMB".into());
                let asked = Asked::Done(result);
                assert!(!passes(&asked, true) && !passes(&asked, false));
            }
        }
    }

    #[test]
    fn a_threshold_that_was_not_compared_is_said_once() {
        let Asked::Done(mut asked) = result(BalanceOutcome::Known, None) else {
            panic!("it is done")
        };
        assert_eq!(uncompared(&asked), None);
        asked.low_balance = Some("5 credits".into());
        asked.low_unknown = Some("nothing is counted in the unit of the threshold".into());
        let said = uncompared(&asked).unwrap();
        assert_eq!(
            said,
            "not compared with 5 credits: nothing is counted in the unit of the threshold"
        );
        // Where there is no balance the row says why already.
        asked.outcome = BalanceOutcome::Refused;
        assert_eq!(uncompared(&asked).unwrap(), "not compared with 5 credits");
        asked.low = Some(false);
        assert_eq!(uncompared(&asked), None);
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
            low: Some(true),
        };
        let row = |low: &BalanceResult, balance: &Balance| row(low, balance, None);
        let shown = row(&low, &balance);
        assert_eq!(shown[1..3], ["4.20", "USD"]);
        assert!(shown[6].starts_with("below 5; "), "{shown:?}");
        assert!(shown[6].ends_with("1.00 owed"), "{shown:?}");
        balance.kind = BalanceKind::Spend;
        balance.since = Some("2026-11-01T00:00:00.000Z".into());
        assert!(row(&low, &balance)[6].contains("since 2026-11-01"));
        balance.unlimited = true;
        assert_eq!(row(&low, &balance)[1], "unlimited");
        // Only what makes the key low is marked.
        balance.low = None;
        assert!(!row(&low, &balance)[6].contains("below"));
    }
}
