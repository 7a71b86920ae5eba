//! `akm vault`: the vault as a whole. New keys for it, at most a few hundred records to a request, with a bar.
//!
//! The recovery codes come with the first answer and are shown before anything else is asked for: whatever happens to
//! the rest, it goes on by itself.

use std::time::Duration;

use akm_core::client::Client;
use akm_core::protocol::{AgentStatus, Status, VaultRekey, VaultRekeyed};
use akm_core::{Kind, Secret};
use clap::{Args, Subcommand};

use super::connect;
use super::output::{self, Fail, Result};
use super::progress::Progress;
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::session;
use super::text::text;
use super::totp;

/// Before it begins the agent opens every record: minutes for a million of them.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Records to a request: a bar that moves, and a lock that need not wait.
const STEP: u32 = 256;

/// The vault as a whole.
#[derive(Args)]
#[command(after_help = "Example:\n  akm vault rekey")]
pub(crate) struct Vault {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Give the account new keys and seal everything again; goes on with one that was interrupted
    #[command(
        after_help = "Example:\n  akm vault rekey\n\nFor when an old copy of the vault and its passphrase may be in other hands: they open nothing of what is stored from now on. Recovery codes are replaced. Change the passphrase as well; secrets that were in the copy are known all the same, so rotate them at their providers."
    )]
    Rekey {
        /// The current code of your authenticator; good for one use, so it may stand here
        #[arg(long, value_name = "CODE")]
        totp: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
}

pub(crate) fn vault(args: Vault, json: bool) -> Result<()> {
    match args.command {
        Command::Rekey { totp, passphrase } => rekey(totp, &passphrase, json),
    }
}

fn rekey(code: Option<String>, flags: &PassphraseFlags, json: bool) -> Result<()> {
    let asker = Asker::new(flags, &SecretFlags::default())?;
    let socket = connect()?.socket().to_owned();
    let mut client = Client::connect_with_timeout(Some(&socket), PATIENCE)?;
    let status = client.call(&AgentStatus {})?;
    let mut request = VaultRekey {
        limit: Some(STEP),
        ..VaultRekey::default()
    };
    if status.rekey.is_some() {
        output::note(&text!("rekey-goes-on"));
    } else {
        asker.require_passphrase()?;
        request.passphrase = Some(asker.passphrase(&text!("ask-passphrase"))?);
        request.totp = match code {
            Some(code) => Some(Secret::new(code)),
            None if status.totp_required => match asker.unlock_code(&text!("ask-code"))? {
                Some(code) => Some(code),
                None => {
                    return Err(Fail::usage(
                        text!("code-needed"),
                        "akm vault rekey --totp CODE",
                    ));
                }
            },
            None => None,
        };
    }
    let mut rekeyed = client.call(&request)?;
    if !json && !rekeyed.recovery_codes.is_empty() {
        totp::show_codes(&rekeyed.recovery_codes)?;
        output::note(&text!("rekey-codes"));
    }
    let went_on = go_on(&mut client, &mut rekeyed, json);
    if json {
        // Also where it did not come to its end: the codes are in it.
        output::json(&rekeyed)?;
    } else if went_on.is_ok() {
        output::note(&text!("rekey-done", keys = rekeyed.total));
        // One that only went on here may have begun in a call that nobody had an answer to.
        let undelivered = |status: Status| status.codes_undelivered == Some(true);
        if client.call(&AgentStatus {}).is_ok_and(undelivered) {
            session::say_codes_undelivered();
        }
    } else {
        output::hint(&text!("hint-rekey-goes-on"));
    }
    went_on
}

fn go_on(client: &mut Client, rekeyed: &mut VaultRekeyed, json: bool) -> Result<()> {
    let bar = Progress::of(rekeyed.total, json);
    while !rekeyed.done {
        bar.at(rekeyed.rekeyed, rekeyed.total);
        let answer = client.call(&VaultRekey {
            limit: Some(STEP),
            ..VaultRekey::default()
        });
        match answer {
            Ok(next) => {
                rekeyed.done = next.done;
                rekeyed.rekeyed = next.rekeyed;
                rekeyed.total = next.total;
            }
            // The agent was first with the last of them: nothing is under way any more.
            Err(error) if error.kind() == Kind::InvalidInput => {
                rekeyed.done = true;
                rekeyed.rekeyed = rekeyed.total;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
