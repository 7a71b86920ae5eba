//! Accounts that this machine has seen and the vault does not have any more: deleted behind akm's back, or gone with an older
//! file. An account that was removed, or that a restored backup does not have, was let go before and is not missed.
//!
//! Looked for when the vault is opened, and again whenever there are fewer accounts than there were. What is found is an
//! event of the system, stands in `agent.status` (so `akm doctor` says it), and explains to somebody of this machine why an account does not
//! open. Clients of the network are told nothing.

use crate::audit::{Caller, Noted, Outcome, Via};
use crate::error::{Error, Kind, Result};
use crate::name::AccountName;
use crate::store::Store;
use crate::vault::Origin;

use super::{Service, origin, this_process};

/// How many accounts there were when it was looked last, and how many were missing.
#[derive(Clone, Copy, Default)]
pub(super) struct Missing {
    accounts: u64,
    missing: u64,
}

const MISSING: Error = Error::new(
    Kind::RolledBack,
    "an account that this machine has seen is missing from the vault",
);
const HINT: &str =
    "restore a backup with akm backup restore, or move the vault's file away to begin anew";

impl Service {
    /// Looks for all of them. For the opening of a vault.
    pub(super) fn look_for_missing(&self) -> Result<()> {
        let found = Missing {
            accounts: self.file.account_count()?,
            missing: self.vault.missing_accounts()?,
        };
        *self.missing.lock().unwrap_or_else(|held| held.into_inner()) = found;
        if found.missing > 0 {
            // Said to whoever asks, whether or not its event could be written.
            let _ = self.audit.note_system(
                Noted::AccountMissing,
                Outcome::Failed(Kind::RolledBack),
                &this_process(),
            );
        }
        Ok(())
    }

    /// How many are missing.
    pub(super) fn missing_accounts(&self) -> Result<u64> {
        let accounts = self.file.account_count()?;
        let before = *self.missing.lock().unwrap_or_else(|held| held.into_inner());
        if accounts < before.accounts {
            self.look_for_missing()?;
        } else if accounts > before.accounts {
            let mut held = self.missing.lock().unwrap_or_else(|held| held.into_inner());
            held.accounts = accounts;
        }
        let held = self.missing.lock().unwrap_or_else(|held| held.into_inner());
        Ok(held.missing)
    }

    /// What somebody of this machine is told whose credentials opened nothing. That a name is none is told to the owner, and to
    /// everybody where there is no account at all.
    pub(super) fn explain(&self, caller: &Caller, typed: &str, refused: Error) -> Error {
        if caller.via != Via::Host
            || refused.kind() != Kind::WrongCredentials
            || refused.hint().is_some()
        {
            return refused;
        }
        if !matches!(self.missing_accounts(), Ok(1..)) {
            return refused;
        }
        let known = AccountName::parse(typed, "account")
            .is_ok_and(|name| !matches!(self.file.account_by_name(name.as_str()), Ok(None)));
        let owners = origin(caller) == Origin::Owner && !known;
        if owners || matches!(self.file.account_count(), Ok(0)) {
            return MISSING.with_hint(HINT);
        }
        refused.with_hint("an account is missing from the vault: run akm doctor")
    }

    /// A vault that lost its accounts is none to begin anew in.
    pub(super) fn refuse_to_begin_anew(&self) -> Result<()> {
        if self.file.account_count()? == 0 && self.missing_accounts()? > 0 {
            return Err(MISSING.with_hint(HINT));
        }
        Ok(())
    }
}
