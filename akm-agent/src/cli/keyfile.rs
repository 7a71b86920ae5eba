//! `akm account keyfile`: a second factor at rest.
//!
//! With `--path` the file is this command's: it is made, synced and read here, and the agent sees its bytes only. Without,
//! the agent keeps it in its state directory.

use std::path::{Path, PathBuf};

use akm_core::host::Host;
use akm_core::memory::LockedKey;
use akm_core::protocol::{KeyfileDisable, KeyfileEnable, KeyfileShow};
use akm_core::vault::key_file;
use akm_core::{Error, Kind, Secret};
use clap::{Args, Subcommand};

use super::connect;
use super::output::{self, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::text;

/// Keyfiles.
#[derive(Args)]
#[command(after_help = "Example:\n  akm account keyfile enable\n  akm account keyfile show")]
pub(crate) struct Keyfile {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a keyfile; the passphrase opens the account only together with it from now on
    #[command(
        after_help = "Example:\n  akm account keyfile enable\n  akm account keyfile enable --path /media/me/stick/akm.key\n\nKeep a copy of the file: without it only a recovery code opens the account."
    )]
    Enable {
        /// Where to make it, or where one is already; the agent's state directory if absent
        #[arg(long, value_name = "PATH")]
        path: Option<PathBuf>,
        #[command(flatten)]
        passphrase: PassphraseFlags,
    },
    /// Let the passphrase alone open the account again; the file stays where it is
    #[command(after_help = "Example:\n  akm account keyfile disable")]
    Disable(PassphraseFlags),
    /// Say whether the account needs a keyfile, and where the agent keeps it
    #[command(after_help = "Example:\n  akm account keyfile show --json")]
    Show,
}

pub(crate) fn keyfile(args: Keyfile, json: bool) -> Result<()> {
    match args.command {
        Command::Enable { path, passphrase } => {
            let asker = Asker::new(&passphrase, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let mut client = connect()?;
            let passphrase = asker.passphrase(&text!("ask-passphrase"))?;
            let given = path.as_deref().map(find_or_create).transpose()?;
            let enabled = client.call(&KeyfileEnable {
                passphrase,
                keyfile: given,
            })?;
            if json {
                return output::json(&enabled);
            }
            let place = path
                .as_ref()
                .map(|path| path.display().to_string())
                .or(enabled.path);
            output::note(&text!("keyfile-enabled", path = place.unwrap_or_default()));
            output::hint(&text!("hint-keyfile-copy"));
            Ok(())
        }
        Command::Disable(flags) => {
            let asker = Asker::new(&flags, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let result = connect()?.call(&KeyfileDisable {
                passphrase: asker.passphrase(&text!("ask-passphrase"))?,
            })?;
            if json {
                return output::json(&result);
            }
            output::note(&text!("keyfile-disabled"));
            output::hint(&text!("hint-keyfile-stays"));
            Ok(())
        }
        Command::Show => {
            let state = connect()?.call(&KeyfileShow {})?;
            if json {
                return output::json(&state);
            }
            let needed = if state.enabled {
                text!("yes")
            } else {
                text!("no")
            };
            let mut fields = vec![("field-keyfile-needed", needed)];
            if let Some(path) = state.path {
                fields.push(("field-kept-in", path));
            }
            output::fields(&fields)
        }
    }
}

/// The bytes of a keyfile, as a request carries them.
pub(crate) fn read(path: &Path) -> Result<Secret> {
    let found = key_file::read(path).map_err(|error| match error.kind() {
        // It says nothing about the vault.
        Kind::Corrupt => error.with_field("keyfile").with_hint(
            "a keyfile is the 32 bytes that akm keyfile enable wrote: is this the right file",
        ),
        _ => error,
    });
    match found? {
        Some(key) => Ok(key_file::to_hex(&key)),
        None => Err(
            Error::new(Kind::NotFound, "there is no keyfile at this path")
                .with_field("keyfile")
                .with_hint("is the disk plugged in and mounted")
                .into(),
        ),
    }
}

/// One that is there already is used again: it may belong to backups.
fn find_or_create(path: &Path) -> Result<Secret> {
    if let Some(key) = key_file::read(path)? {
        return Ok(key_file::to_hex(&key));
    }
    let key = LockedKey::generate(&*Host::real().random);
    key_file::create(path, &key)?;
    Ok(key_file::to_hex(&key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::output::Fail;

    #[test]
    fn a_file_that_is_no_keyfile_is_not_said_to_be_a_damaged_vault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stick.key");
        std::fs::write(&path, "too short").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let Err(Fail::Akm(error)) = read(&path) else {
            panic!("it is read");
        };
        assert_eq!(error.field(), Some("keyfile"));
        assert!(
            error.hint().unwrap().contains("the right file"),
            "{error:?}"
        );
    }
}
