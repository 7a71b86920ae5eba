//! `akm unlock`, `akm lock`, `akm status`: the session.

use std::path::PathBuf;

use akm_core::Secret;
use akm_core::protocol::{AgentLock, AgentStatus, AgentUnlock};
use clap::Args;

use super::output::{self, Fail, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::{agent, connect, keyfile};

/// Unlocks.
#[derive(Args)]
#[command(
    after_help = "Example:\n  akm unlock -t 8h\n  pass show akm | akm unlock --passphrase-stdin --totp 123456"
)]
pub(crate) struct Unlock {
    /// The account; `default` if absent
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Lock again after this time: 600 (seconds), 30m, 8h, 1d; the agent's own lifetime if absent
    #[arg(short = 't', long = "lifetime", value_name = "LIFE", value_parser = agent::parse_lifetime)]
    lifetime_s: Option<u64>,
    /// The current code of your authenticator; good for one use, so it may stand here
    #[arg(long, value_name = "CODE")]
    totp: Option<String>,
    /// The account's keyfile, where the agent does not keep it: on a removable disk, for example
    #[arg(long, value_name = "PATH")]
    keyfile: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

pub(crate) fn unlock(args: &Unlock, json: bool) -> Result<()> {
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let keyfile = args.keyfile.as_deref().map(keyfile::read).transpose()?;
    let mut client = agent::connect_or_start()?;
    let status = client.call(&AgentStatus {})?;
    let passphrase = asker.passphrase("passphrase: ")?;
    let totp = match &args.totp {
        Some(code) => Some(Secret::new(code.clone())),
        None if status.totp_required => match asker.unlock_code("code of your authenticator: ")? {
            Some(code) => Some(code),
            None => {
                return Err(Fail::usage(
                    "this account needs a code as well",
                    "akm unlock --totp CODE",
                ));
            }
        },
        None => None,
    };
    let unlocked = client.call(&AgentUnlock {
        account: args.account.clone(),
        passphrase,
        totp,
        keyfile,
        lifetime_s: args.lifetime_s,
    })?;
    if json {
        return output::json(&unlocked);
    }
    output::note(&format!(
        "{} is unlocked{}",
        output::clean(&unlocked.account),
        until(unlocked.expires_at.as_deref())
    ));
    Ok(())
}

pub(crate) fn lock(json: bool) -> Result<()> {
    let result = connect()?.call(&AgentLock {})?;
    if json {
        return output::json(&result);
    }
    output::note("locked");
    Ok(())
}

pub(crate) fn status(json: bool) -> Result<()> {
    let status = connect()?.call(&AgentStatus {})?;
    if json {
        return output::json(&status);
    }
    let state = match (&status.account, status.initialized) {
        (_, false) => "no account yet".to_owned(),
        (None, true) => "locked".to_owned(),
        (Some(account), true) => {
            format!(
                "{account} is unlocked{}",
                until(status.expires_at.as_deref())
            )
        }
    };
    let mut fields = vec![("state", state), ("agent", status.version)];
    if let Some(vault) = status.vault {
        fields.push(("vault", vault));
    }
    if status.initialized && status.locked {
        let code = if status.totp_required { "yes" } else { "no" };
        fields.push(("code asked for", code.to_owned()));
    }
    output::fields(&fields)?;
    if !status.initialized {
        output::hint("run akm init");
    } else if status.locked {
        output::hint("run akm unlock");
    }
    Ok(())
}

fn until(expires_at: Option<&str>) -> String {
    match expires_at {
        Some(time) => format!(" until {}", output::clean(time)),
        None => String::new(),
    }
}
