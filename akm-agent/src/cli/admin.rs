//! `akm admin`: the accounts of a server, seen from its host. No key of anybody is opened here.

use akm_core::protocol::{
    AccountPage, AccountSummary, AdminAccount, AdminAccounts, AdminGrant, AdminInvite, AdminLog,
    MAX_PAGE, Role, SessionInfo, SessionList, SessionRevoke,
};
use clap::{Args, Subcommand};

use super::output::{self, Result};
use super::text::text;
use super::{billing, connect, log, server};

/// Accounts of a server: roles, limits, invitations, its own log.
#[derive(Args)]
#[command(after_help = "Example:\n  akm admin accounts\n  akm admin log")]
pub(crate) struct Admin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the accounts, with counts
    #[command(after_help = "Example:\n  akm admin accounts")]
    Accounts,
    /// Make an account an administrator
    #[command(after_help = "Example:\n  akm admin grant alice")]
    Grant {
        /// The account
        name: String,
    },
    /// Make an administrator a user again
    #[command(after_help = "Example:\n  akm admin revoke alice")]
    Revoke {
        /// The account
        name: String,
    },
    /// Let nobody sign in to an account over the network; its sessions there end
    #[command(after_help = "Example:\n  akm admin disable alice")]
    Disable {
        /// The account
        name: String,
    },
    /// Let its owner sign in again
    #[command(after_help = "Example:\n  akm admin enable alice")]
    Enable {
        /// The account
        name: String,
    },
    /// Bound how many keys an account may have; what is there stays
    #[command(after_help = "Example:\n  akm admin limit alice 50\n  akm admin limit alice --none")]
    Limit {
        /// The account
        name: String,
        /// Most keys
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        keys: Option<u64>,
        /// No limit any more
        #[arg(long)]
        none: bool,
    },
    /// Make an invitation, where registering takes one
    #[command(after_help = "Example:\n  akm admin invite --uses 5 --days 2")]
    Invite {
        /// For how many accounts; one if absent
        #[arg(long, value_name = "N")]
        uses: Option<u32>,
        /// For how many days; 7 if absent
        #[arg(long, value_name = "N")]
        days: Option<u32>,
    },
    /// List everybody's orders
    #[command(after_help = "Example:\n  akm admin orders --held")]
    Orders(billing::All),
    /// Decide about an order that waits for a human
    #[command(
        after_help = "Example:\n  akm admin resolve afdian 202106232138371083454010626 grant --account alice"
    )]
    Resolve(billing::Resolve),
    /// Make redeem codes; they are printed once
    #[command(after_help = "Example:\n  akm admin codes basic --months 12 --count 10")]
    Codes(billing::Codes),
    /// List redeem codes and take them back
    Code(server::Code),
    /// Add a tier, or change its price and limits
    #[command(
        after_help = "Example:\n  akm admin tier basic --keys 60\n  akm admin tier plus --name Plus --price 9.00 --keys 100 --requests none"
    )]
    Tier(server::Tier),
    /// Providers that every account has
    Provider(server::Shared),
    /// Remove an account with every key in it; its events stay
    #[command(after_help = "Example:\n  akm admin remove alice --yes")]
    Remove {
        /// The account
        name: String,
        /// Do not ask on the terminal
        #[arg(short, long)]
        yes: bool,
    },
    /// Say how the server is: counts, sizes, alerts
    #[command(after_help = "Example:\n  akm admin status --json")]
    Status,
    /// Show the log of the system: failed sign-ins, backups, administration
    #[command(after_help = "Example:\n  akm admin log --action agent.unlock")]
    Log {
        /// Only this operation
        #[arg(long, value_name = "A")]
        action: Option<String>,
        /// The page behind this one: what the page before named
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
}

pub(crate) fn admin(args: Admin, json: bool) -> Result<()> {
    match args.command {
        Command::Orders(args) => billing::all(&args, json),
        Command::Resolve(args) => billing::resolve(args, json),
        Command::Codes(args) => billing::codes(&args, json),
        Command::Code(args) => server::code(args, json),
        Command::Tier(args) => server::tier(args, json),
        Command::Provider(args) => server::shared(args, json),
        Command::Remove { name, yes } => server::remove(name, yes, json),
        Command::Status => server::status(json),
        Command::Accounts => accounts(json),
        Command::Grant { name } => role(name, Role::Admin, json),
        Command::Revoke { name } => role(name, Role::User, json),
        Command::Disable { name } => change(name, json, |change| change.disabled = Some(true)),
        Command::Enable { name } => change(name, json, |change| change.disabled = Some(false)),
        Command::Limit { name, keys, none } => change(name, json, |change| {
            change.key_limit = keys;
            change.no_key_limit = none.then_some(true);
        }),
        Command::Invite { uses, days } => invite(&AdminInvite { uses, days }, json),
        Command::Log { action, after } => system_log(action, after, json),
    }
}

pub(super) fn accounts(json: bool) -> Result<()> {
    let mut client = connect()?;
    let mut all = AccountPage {
        accounts: Vec::new(),
        next: None,
    };
    loop {
        let page = client.call(&AdminAccounts {
            limit: Some(MAX_PAGE),
            after: all.next.take(),
        })?;
        all.accounts.extend(page.accounts);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    if json {
        return output::json(&all);
    }
    let rows: Vec<Vec<String>> = all.accounts.iter().map(row).collect();
    output::table(
        &[
            "col-account",
            "col-role",
            "col-tier",
            "col-keys",
            "col-limit",
            "col-sessions",
            "col-totp",
            "col-disabled",
            "col-made",
        ],
        &rows,
    )
}

fn row(account: &AccountSummary) -> Vec<String> {
    vec![
        account.account.clone(),
        account.role.token().to_owned(),
        account.tier.clone(),
        account.keys.to_string(),
        account
            .key_limit
            .map_or_else(|| "-".to_owned(), |limit| limit.to_string()),
        account.sessions.to_string(),
        output::yes_or_no(account.totp),
        output::yes_or_no(account.disabled),
        account.created_at.clone(),
    ]
}

fn role(account: String, role: Role, json: bool) -> Result<()> {
    let summary = connect()?.call(&AdminGrant { account, role })?;
    if json {
        return output::json(&summary);
    }
    let account = summary.account.as_str();
    output::note(&match summary.role {
        Role::Admin => text!("admin-granted", account = account),
        Role::User => text!("admin-revoked", account = account),
    });
    Ok(())
}

fn change(account: String, json: bool, how: impl FnOnce(&mut AdminAccount)) -> Result<()> {
    let mut request = AdminAccount {
        account,
        disabled: None,
        key_limit: None,
        no_key_limit: None,
    };
    how(&mut request);
    let summary = connect()?.call(&request)?;
    if json {
        return output::json(&summary);
    }
    let account = summary.account.as_str();
    output::note(&match (request.disabled, summary.key_limit) {
        (Some(true), _) => text!("account-disabled", account = account),
        (Some(false), _) => text!("account-enabled", account = account),
        (None, Some(limit)) => text!("account-limited", account = account, limit = limit),
        (None, None) => text!("account-unlimited", account = account),
    });
    Ok(())
}

fn invite(request: &AdminInvite, json: bool) -> Result<()> {
    let made = connect()?.call(request)?;
    if json {
        return output::json(&made);
    }
    output::note(&text!(
        "invitation-made",
        uses = made.uses,
        time = made.expires_at.as_str()
    ));
    output::secret(&made.invitation)
}

fn system_log(action: Option<String>, after: Option<String>, json: bool) -> Result<()> {
    let page = connect()?.call(&AdminLog {
        since: None,
        action,
        limit: Some(MAX_PAGE),
        after,
    })?;
    if json {
        return output::json(&page);
    }
    log::table(&page)?;
    if let Some(next) = page.next {
        output::hint(&text!("hint-admin-log-more", cursor = next));
    }
    Ok(())
}

/// `akm account sessions`: where the unlocked account is open, and ending that.
#[derive(Args)]
#[command(
    after_help = "Example:\n  akm account sessions\n  akm account sessions --end 12\n  akm account sessions --end-others"
)]
pub(crate) struct Sessions {
    /// End the session of this number
    #[arg(long, value_name = "ID", conflicts_with = "end_others")]
    end: Option<String>,
    /// End every session but this one
    #[arg(long)]
    end_others: bool,
}

pub(crate) fn sessions(args: Sessions, json: bool) -> Result<()> {
    let mut client = connect()?;
    if args.end.is_some() || args.end_others {
        let ended = client.call(&SessionRevoke { id: args.end })?;
        if json {
            return output::json(&ended);
        }
        output::note(&text!("sessions-ended"));
        return Ok(());
    }
    let page = client.call(&SessionList {})?;
    if json {
        return output::json(&page);
    }
    let row = |session: &SessionInfo| {
        vec![
            session.id.clone(),
            output::yes_or_no(session.current),
            session
                .from
                .clone()
                .unwrap_or_else(|| text!("session-here")),
            session.created_at.clone().unwrap_or_default(),
            session.expires_at.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = page.sessions.iter().map(row).collect();
    output::table(
        &[
            "col-id",
            "col-current",
            "col-from",
            "col-made",
            "col-expires",
        ],
        &rows,
    )
}
