//! `akm admin` for a server as a whole: how it is, its tiers, redeem codes and providers, and the removal of accounts.

use akm_core::Error;
use akm_core::billing::money;
use akm_core::protocol::{
    AccountRemove, AdminCodeRevoke, AdminCodes, AdminProviderPut, AdminProviderRemove, AdminRemove,
    AdminStatus, AdminTier, BillingTiers, CodeInfo, CodePage, MAX_PAGE, Observed, OperationCount,
    ServerStatus,
};
use clap::{Args, Subcommand};

use super::output::{self, Fail, Result};
use super::prompt::{self, Asker, PassphraseFlags, SecretFlags};
use super::text::{self, text};
use super::{backup, billing, connect, provider};

/// A tier, or what of it changes.
#[derive(Args)]
pub(crate) struct Tier {
    /// Its id: one that is there, or a new one
    tier: String,
    /// Its name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its name in Chinese
    #[arg(long, value_name = "NAME")]
    name_zh: Option<String>,
    /// Of a month: 9.00; what a seller asks for stands at the seller's and in billing.toml
    #[arg(long, value_name = "CNY")]
    price: Option<String>,
    /// Most keys, or none for no limit
    #[arg(long, value_name = "N", value_parser = limit::<u64>)]
    keys: Option<Limit<u64>>,
    /// Most providers of an account's own, or none for no limit
    #[arg(long, value_name = "N", value_parser = limit::<u32>)]
    providers: Option<Limit<u32>>,
    /// Most requests in a minute, or none for no limit
    #[arg(long, value_name = "N", value_parser = limit::<u32>)]
    requests: Option<Limit<u32>>,
}

/// A number, or `none`.
#[derive(Clone, Copy)]
pub(crate) struct Limit<T>(Option<T>);

/// The message holds nothing of what was typed.
fn limit<T: std::str::FromStr>(text: &str) -> Result<Limit<T>, &'static str> {
    match text {
        "none" => Ok(Limit(None)),
        number => match number.parse() {
            Ok(number) => Ok(Limit(Some(number))),
            Err(_) => Err("a limit is a number or none"),
        },
    }
}

/// Redeem codes that were made.
#[derive(Args)]
#[command(after_help = "Example:\n  akm admin code list")]
pub(crate) struct Code {
    #[command(subcommand)]
    command: CodeCommand,
}

#[derive(Subcommand)]
enum CodeCommand {
    /// List the redeem codes and what became of them, without the codes themselves
    #[command(after_help = "Example:\n  akm admin code list")]
    List,
    /// Take a redeem code back that nobody used
    #[command(after_help = "Example:\n  akm admin code revoke 3f9c…")]
    Revoke {
        /// Its id, as akm admin code list shows it
        id: String,
    },
}

/// Providers that every account has.
#[derive(Args)]
#[command(after_help = "Example:\n  akm admin provider add --file mycorp.json")]
pub(crate) struct Shared {
    #[command(subcommand)]
    command: SharedCommand,
}

#[derive(Subcommand)]
enum SharedCommand {
    /// Add a provider for every account, or change it: from a file, or with --base-url
    #[command(
        after_help = "Keys stay sealed for the hosts they were added for.\n\nExample:\n  akm admin provider add our-gateway --base-url https://gw.example.com/v1\n  akm admin provider add --file ours.json"
    )]
    Add(provider::Add),
    /// Remove a provider that every account has; keys stay
    #[command(after_help = "Example:\n  akm admin provider rm our-gateway")]
    Rm {
        /// Its id
        name: String,
    },
}

pub(crate) fn status(json: bool) -> Result<()> {
    let status = connect()?.call(&AdminStatus {})?;
    if json {
        return output::json(&status);
    }
    output::fields(&facts(&status))?;
    let Some(observed) = &status.observed else {
        return Ok(());
    };
    let rows: Vec<Vec<String>> = observed.operations.iter().map(counted).collect();
    if !rows.is_empty() {
        output::table(
            &["col-action", "col-answered", "col-failed", "col-faults"],
            &rows,
        )?;
    }
    for alert in &observed.alerts {
        output::note(&text!(
            "alert-since",
            what = text::of_token("alert", &alert.alert),
            time = alert.since.as_str()
        ));
    }
    Ok(())
}

fn facts(status: &ServerStatus) -> Vec<(&'static str, String)> {
    let never = || text!("never-yet");
    let mut facts = vec![
        ("field-accounts", status.accounts.to_string()),
        ("field-sessions", status.sessions.to_string()),
        ("field-vault-size", backup::size(status.vault_bytes)),
        (
            "field-last-backup",
            status.last_backup.clone().unwrap_or_else(never),
        ),
    ];
    if let Some(Observed {
        disk,
        certificate_ends,
        offsite,
        ..
    }) = &status.observed
    {
        if let Some(disk) = disk {
            facts.push((
                "field-disk",
                text!(
                    "disk-free",
                    free = backup::size(disk.free_bytes),
                    total = backup::size(disk.total_bytes)
                ),
            ));
        }
        if let Some(ends) = certificate_ends {
            facts.push(("field-certificate", ends.clone()));
        }
        if let Some(copy) = offsite {
            facts.push(("field-offsite", format!("{} {}", copy.outcome, copy.at)));
        }
    }
    facts
}

fn counted(count: &OperationCount) -> Vec<String> {
    vec![
        count.operation.clone(),
        count.answered.to_string(),
        count.failed.to_string(),
        count.faults.to_string(),
    ]
}

pub(crate) fn tier(args: Tier, json: bool) -> Result<()> {
    let mut client = connect()?;
    let before = client.call(&BillingTiers {})?.tiers;
    let sells = !before.is_empty();
    let before = before.into_iter().find(|known| known.tier == args.tier);
    let price = match &args.price {
        Some(price) => Some(money::minor(price, 2).map_err(|error| error.with_field("price"))?),
        None => None,
    };
    let missing = |field| Error::invalid(field, "a required field is missing");
    let request = match before {
        Some(known) => AdminTier {
            tier: args.tier,
            name: args.name.unwrap_or(known.name),
            name_zh: args.name_zh.unwrap_or(known.name_zh),
            price_fen: price.unwrap_or(known.price_fen),
            keys: args.keys.map_or(known.keys, |limit| limit.0),
            providers: args.providers.map_or(known.providers, |limit| limit.0),
            requests_per_minute: args
                .requests
                .map_or(known.requests_per_minute, |limit| limit.0),
        },
        None => {
            // Where nothing is sold nothing is missing either: the server says so.
            let or = |given: Option<String>| given.or_else(|| (!sells).then(|| args.tier.clone()));
            let name = or(args.name).ok_or_else(|| missing("name"))?;
            let free = (!sells).then_some(0);
            AdminTier {
                name_zh: args.name_zh.unwrap_or_else(|| name.clone()),
                name,
                price_fen: price.or(free).ok_or_else(|| missing("price"))?,
                tier: args.tier,
                keys: args.keys.and_then(|limit| limit.0),
                providers: args.providers.and_then(|limit| limit.0),
                requests_per_minute: args.requests.and_then(|limit| limit.0),
            }
        }
    };
    let tiers = client.call(&request)?;
    billing::show_tiers(&tiers, json)
}

pub(crate) fn code(args: Code, json: bool) -> Result<()> {
    let mut client = connect()?;
    match args.command {
        CodeCommand::List => {
            let mut all = CodePage {
                codes: Vec::new(),
                next: None,
            };
            loop {
                let page = client.call(&AdminCodes {
                    limit: Some(MAX_PAGE),
                    after: all.next.take(),
                })?;
                all.codes.extend(page.codes);
                all.next = page.next;
                if all.next.is_none() {
                    break;
                }
            }
            if json {
                return output::json(&all);
            }
            let rows: Vec<Vec<String>> = all.codes.iter().map(code_row).collect();
            output::table(
                &[
                    "col-id",
                    "col-tier",
                    "col-months",
                    "col-state",
                    "col-made",
                    "col-expires",
                ],
                &rows,
            )
        }
        CodeCommand::Revoke { id } => {
            let revoked = client.call(&AdminCodeRevoke { id })?;
            if json {
                return output::json(&revoked);
            }
            output::note(&text!("code-revoked"));
            Ok(())
        }
    }
}

fn code_row(code: &CodeInfo) -> Vec<String> {
    vec![
        code.id.clone(),
        code.tier.clone(),
        code.months.to_string(),
        text::of_token("code", code.state.token()),
        code.created_at.clone(),
        code.expires_at.clone().unwrap_or_default(),
    ]
}

pub(crate) fn shared(args: Shared, json: bool) -> Result<()> {
    match args.command {
        SharedCommand::Add(args) => {
            let record = provider::record(args, |_| Ok(()))?;
            let put = connect()?.call(&AdminProviderPut { record })?;
            if json {
                return output::json(&put);
            }
            output::note(&text!("shared-provider-put", name = put.name.as_str()));
        }
        SharedCommand::Rm { name } => {
            let removed = connect()?.call(&AdminProviderRemove { name })?;
            if json {
                return output::json(&removed);
            }
            output::note(&text!(
                "shared-provider-removed",
                name = removed.name.as_str()
            ));
        }
    }
    Ok(())
}

/// Removes the unlocked account.
pub(crate) fn remove_own(flags: &PassphraseFlags, json: bool) -> Result<()> {
    let asker = Asker::new(flags, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let removed = connect()?.call(&AccountRemove {
        passphrase: asker.passphrase(&text!("ask-passphrase-to-remove"))?,
    })?;
    if json {
        return output::json(&removed);
    }
    output::note(&text!(
        "account-removed",
        account = removed.account.as_str(),
        keys = removed.keys
    ));
    Ok(())
}

/// Removes any account, from the host.
pub(crate) fn remove(name: String, yes: bool, json: bool) -> Result<()> {
    let question = text!("ask-account-rm", account = name.as_str());
    if !yes && !prompt::confirm(&question)? {
        output::note(&text!("nothing-removed"));
        return Err(Fail::Exit(1));
    }
    let removed = connect()?.call(&AdminRemove {
        account: name,
        passphrase: None,
    })?;
    if json {
        return output::json(&removed);
    }
    output::note(&text!(
        "account-removed",
        account = removed.account.as_str(),
        keys = removed.keys
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(limit::<u32>("50").unwrap().0, Some(50));
        assert_eq!(limit::<u32>("none").unwrap().0, None);
        for bad in ["", "-1", "4294967296", "all"] {
            assert!(limit::<u32>(bad).is_err(), "{bad}");
        }
    }
}
