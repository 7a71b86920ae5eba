//! `akm account`: more accounts in one vault, another passphrase, and the way back without one.

use akm_core::protocol::{AccountPassphrase, AccountRecover};
use clap::{Args, Subcommand};

use super::output::{self, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::text;
use super::{admin, connect, handover, init, keyfile, server, totp};

/// Accounts in this vault.
#[derive(Args)]
#[command(
    after_help = "Example:\n  akm account register work\n  akm account list\n  akm account passphrase"
)]
pub(crate) struct Account {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create another account and leave it unlocked
    #[command(after_help = "Example:\n  akm account register work")]
    Register {
        /// Name of the account
        name: String,
        /// Do without codes from an authenticator
        #[arg(long)]
        no_totp: bool,
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
    /// List the accounts of this vault, without anything in them
    #[command(after_help = "Example:\n  akm account list --json")]
    List,
    /// Change the passphrase of the unlocked account (from stdin: the current one, then the new one)
    #[command(after_help = "Example:\n  akm account passphrase")]
    Passphrase {
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
    /// Remove the unlocked account with every key in it; its events stay (from stdin: the passphrase)
    #[command(after_help = "Example:\n  akm account rm")]
    Rm {
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
    /// Where the unlocked account is open, and ending that
    Sessions(admin::Sessions),
    /// A file without which the passphrase opens nothing
    Keyfile(keyfile::Keyfile),
    /// Seal all keys for an account of another server
    #[command(after_help = "Example:\n  akm account send akm-receive-1.… -o keys.handover")]
    Send(handover::Send),
    /// Show a code, then take in what was sealed for it: all keys or none
    #[command(after_help = "Example:\n  akm account receive\n  akm account receive keys.handover")]
    Receive(handover::Receive),
    /// Set a new passphrase with a recovery code (from stdin: the code, then the new passphrase)
    #[command(after_help = "Example:\n  akm account recover --account work")]
    Recover {
        /// The account; `default` if absent
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
}

pub(crate) fn account(args: Account, json: bool) -> Result<()> {
    match args.command {
        Command::Register {
            name,
            no_totp,
            passphrase,
        } => {
            let asker = Asker::new(&passphrase, &SecretFlags::default())?;
            asker.require_passphrase()?;
            init::register(&mut connect()?, &asker, &name, !no_totp, json)
        }
        // On this machine its owner may: the operation of an administrator, under the word that its owner looks for.
        Command::List => admin::accounts(json),
        Command::Passphrase { passphrase } => {
            let asker = Asker::new(&passphrase, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let mut client = connect()?;
            let result = client.call(&AccountPassphrase {
                passphrase: asker.passphrase(&text!("ask-current-passphrase"))?,
                new_passphrase: asker.new_passphrase(&text!("ask-new-passphrase"))?,
            })?;
            if json {
                return output::json(&result);
            }
            output::note(&text!("passphrase-changed"));
            Ok(())
        }
        Command::Rm { passphrase } => server::remove_own(&passphrase, json),
        Command::Sessions(args) => admin::sessions(args, json),
        Command::Keyfile(args) => keyfile::keyfile(args, json),
        Command::Send(args) => handover::send(&args, json),
        Command::Receive(args) => handover::receive(&args, json),
        Command::Recover {
            account,
            passphrase,
        } => {
            let asker = Asker::new(&passphrase, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let mut client = connect()?;
            let recovered = client.call(&AccountRecover {
                account,
                code: asker.recovery_code()?,
                new_passphrase: asker.new_passphrase(&text!("ask-new-passphrase"))?,
            })?;
            if json {
                output::json(&recovered)?;
            } else {
                output::note(&text!(
                    "recovered",
                    account = recovered.account.as_str(),
                    codes = recovered.codes_left,
                ));
            }
            match (&recovered.totp_secret, &recovered.totp_uri) {
                (Some(secret), Some(uri)) => {
                    if !json {
                        totp::show(secret, uri)?;
                    }
                    totp::confirm_first(&mut client, &asker)
                }
                _ => Ok(()),
            }
        }
    }
}
