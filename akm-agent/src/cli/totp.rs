//! `akm totp`: codes of an authenticator, and the recovery codes that replace them.

use akm_core::client::Client;
use akm_core::protocol::{TotpCodes, TotpConfirm, TotpDisable, TotpEnable};
use akm_core::{Error, Secret};
use clap::{Args, Subcommand};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use super::connect;
use super::output::{self, Fail, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::{text, translated};

/// How often a person may mistype the first code.
const TRIES: usize = 3;

/// Two-factor codes for unlocking.
#[derive(Args)]
#[command(after_help = "Example:\n  akm totp enable\n  akm totp confirm 123456")]
pub(crate) struct Totp {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a TOTP secret; it is pending until its first valid code
    #[command(after_help = "Example:\n  akm totp enable")]
    Enable(PassphraseFlags),
    /// Make the pending TOTP secret binding
    #[command(after_help = "Example:\n  akm totp confirm 123456")]
    Confirm {
        /// The current code; good for one use, so it may stand here
        code: String,
    },
    /// Do without codes from now on
    #[command(after_help = "Example:\n  akm totp disable")]
    Disable(PassphraseFlags),
    /// Replace all recovery codes
    #[command(after_help = "Example:\n  akm totp codes")]
    Codes(PassphraseFlags),
}

pub(crate) fn totp(args: Totp, json: bool) -> Result<()> {
    match args.command {
        Command::Enable(flags) => {
            let asker = Asker::new(&flags, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let mut client = connect()?;
            let made = client.call(&TotpEnable {
                passphrase: asker.passphrase(&text!("ask-passphrase"))?,
            })?;
            if json {
                output::json(&made)?;
            } else {
                show(&made.totp_secret, &made.totp_uri)?;
            }
            confirm_first(&mut client, &asker)
        }
        Command::Confirm { code } => {
            let result = connect()?.call(&TotpConfirm {
                code: Secret::new(code),
            })?;
            if json {
                return output::json(&result);
            }
            output::note(&text!("totp-on"));
            Ok(())
        }
        Command::Disable(flags) => {
            let asker = Asker::new(&flags, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let result = connect()?.call(&TotpDisable {
                passphrase: asker.passphrase(&text!("ask-passphrase"))?,
            })?;
            if json {
                return output::json(&result);
            }
            output::note(&text!("totp-off"));
            Ok(())
        }
        Command::Codes(flags) => {
            let asker = Asker::new(&flags, &SecretFlags::default())?;
            asker.require_passphrase()?;
            let codes = connect()?.call(&TotpCodes {
                passphrase: asker.passphrase(&text!("ask-passphrase"))?,
            })?;
            if json {
                return output::json(&codes);
            }
            show_codes(&codes.recovery_codes)
        }
    }
}

/// Prints recovery codes.
pub(crate) fn show_codes(codes: &[Secret]) -> Result<()> {
    let length: usize = codes.iter().map(|code| code.len() + 3).sum();
    let head = text!("recovery-codes");
    let mut text = Zeroizing::new(String::with_capacity(head.len() + length + 1));
    text.push_str(&head);
    text.push('\n');
    for code in codes {
        text.push_str("  ");
        text.push_str(&output::clean(code.expose()));
        text.push('\n');
    }
    output::raw(text.as_bytes())
}

/// Prints a TOTP secret, its URI, and the picture an authenticator reads.
pub(crate) fn show(secret: &Secret, uri: &Secret) -> Result<()> {
    // The message is a label: no copy of the secret goes through the text room.
    let text = Zeroizing::new(format!(
        "{}{}\n{}{}\n",
        text!("totp-secret"),
        output::clean(secret.expose()),
        text!("totp-uri"),
        output::clean(uri.expose())
    ));
    output::raw(text.as_bytes())?;
    let code = QrCode::with_error_correction_level(uri.expose(), EcLevel::L)
        .map_err(|_| Error::internal("the TOTP URI does not fit a QR code"))?;
    // Most terminals are dark: the light modules are drawn, so that the code is dark on light.
    let picture = Zeroizing::new(
        code.render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .build(),
    );
    output::raw(picture.as_bytes())?;
    output::raw(b"\n")
}

/// Asks for the first code. Without one the secret stays pending, which is no failure; a wrong one is.
pub(crate) fn confirm_first(client: &mut Client, asker: &Asker) -> Result<()> {
    let mut tries = TRIES;
    loop {
        let Some(code) = asker.code(&text!("ask-first-code"))? else {
            output::note(&text!("totp-pending"));
            output::hint(&text!("hint-confirm-later"));
            return Ok(());
        };
        tries -= 1;
        match client.call(&TotpConfirm { code }) {
            Ok(_) => {
                output::note(&text!("totp-confirmed"));
                return Ok(());
            }
            Err(error) if tries > 0 && asker.is_person() && retryable(&error) => {
                output::note(&text!("error", message = translated(error.message())));
            }
            Err(error) => {
                return Err(Fail::Akm(match error.hint() {
                    Some(_) => error,
                    None => error.with_hint(text!("hint-confirm-later")),
                }));
            }
        }
    }
}

fn retryable(error: &Error) -> bool {
    matches!(
        error.kind(),
        akm_core::Kind::WrongCredentials | akm_core::Kind::InvalidInput
    )
}
