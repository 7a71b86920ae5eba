//! `akm init`: the first account, and what its owner must keep.

use akm_core::client::Client;
use akm_core::protocol::{AccountRegister, AgentStatus, Registered};
use akm_core::{Error, Kind};
use clap::Args;

use super::output::{self, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::text;
use super::{agent, totp};

/// Creates the vault.
#[derive(Args)]
#[command(
    after_help = "Example:\n  akm init\n  akm init --no-totp\n\nThe code of the authenticator is asked for on the terminal, or read from the next line of standard input."
)]
pub(crate) struct Init {
    /// Name of the account
    #[arg(long, value_name = "NAME", default_value = "default")]
    account: String,
    /// Do without codes from an authenticator
    #[arg(long)]
    no_totp: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

pub(crate) fn init(args: &Init, json: bool) -> Result<()> {
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let mut client = agent::connect_or_start()?;
    let status = client.call(&AgentStatus {})?;
    if status.initialized {
        return Err(
            Error::new(Kind::Conflict, "this vault has an account already")
                .with_hint("run akm unlock, or akm account register NAME for another account")
                .into(),
        );
    }
    if let Some(known) = status.accounts_elsewhere {
        output::note(&text!("init-elsewhere", known = known));
    }
    register(&mut client, &asker, &args.account, !args.no_totp, json)
}

/// Registers an account, shows what its owner must keep, and asks for the first code.
pub(crate) fn register(
    client: &mut Client,
    asker: &Asker,
    account: &str,
    with_totp: bool,
    json: bool,
) -> Result<()> {
    let registered = client.call(&AccountRegister {
        account: account.to_owned(),
        passphrase: asker.new_passphrase(&text!("ask-new-passphrase"))?,
        totp: Some(with_totp),
        invitation: None,
    })?;
    if json {
        output::json(&registered)?;
    } else {
        show(&registered)?;
    }
    match registered.totp_secret {
        Some(_) => totp::confirm_first(client, asker),
        None => Ok(()),
    }
}

fn show(registered: &Registered) -> Result<()> {
    output::note(&text!(
        "account-created",
        account = registered.account.as_str()
    ));
    totp::show_codes(&registered.recovery_codes)?;
    match (&registered.totp_secret, &registered.totp_uri) {
        (Some(secret), Some(uri)) => totp::show(secret, uri),
        _ => Ok(()),
    }
}
