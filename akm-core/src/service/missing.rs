//! Accounts that this machine has seen and the vault does not have any more: deleted behind akm's back, or gone with an older
//! file. An account that was removed, or that a restored backup does not have, was let go before and is not missed.
//!
//! Looked for when the vault is opened, and again whenever there are fewer accounts than there were. What is found is an
//! event of the system, stands in `agent.status` (so `akm doctor` says it), and explains to somebody of this machine why an account does not
//! open. Clients of the network are told nothing.

use std::sync::{MutexGuard, PoisonError};

use crate::audit::{Caller, Noted, Outcome, Via};
use crate::error::{Error, Kind, Result};
use crate::name::AccountName;
use crate::store::{Id, Store};
use crate::vault::Origin;

use super::{Service, origin, this_process};

/// How many accounts there were when it was looked last, and which of those seen were missing.
#[derive(Default)]
pub(super) struct Missing {
    accounts: u64,
    missing: Vec<Id>,
    /// Accounts that are being removed, each as often as somebody does. A change just before may be noted in the state directory
    /// when the account is gone already, until it is let go for good.
    leaving: Vec<Id>,
}

/// While it lasts, an account that is not there is one that is being removed, and not missed.
pub(super) struct Leaving<'a> {
    service: &'a Service,
    account: Id,
}

impl Leaving<'_> {
    pub(super) fn account(&self) -> &Id {
        &self.account
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let leaving = &mut self.service.held().leaving;
        if let Some(place) = leaving.iter().position(|one| *one == self.account) {
            leaving.swap_remove(place);
        }
    }
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
        let accounts = self.file.account_count()?;
        let mut found = self.vault.missing_accounts()?;
        let all = found.len();
        // Nobody begins to leave meanwhile, and who has left by now is looked at again below.
        let mut held = self.held();
        found.retain(|account| !held.leaving.contains(account));
        let settled = found.len() == all;
        self.keep_missing(&mut held, found)?;
        // Of one that leaves it is not known yet: it is looked again.
        if settled {
            held.accounts = accounts;
        }
        let missing = !held.missing.is_empty();
        drop(held);
        if missing {
            // Said to whoever asks, whether or not its event could be written.
            let _ = self.audit.note_system(
                Noted::AccountMissing,
                Outcome::Failed(Kind::RolledBack),
                &this_process(),
            );
        }
        Ok(())
    }

    /// Of accounts that were found missing, those that still are: one may be let go by now.
    fn keep_missing(&self, held: &mut Missing, found: Vec<Id>) -> Result<()> {
        let mut missing = Vec::new();
        for account in found {
            if self.vault.is_missing(&account)? {
                missing.push(account);
            }
        }
        held.missing = missing;
        Ok(())
    }

    /// How many are missing.
    pub(super) fn missing_accounts(&self) -> Result<u64> {
        let accounts = self.file.account_count()?;
        if accounts < self.held().accounts {
            self.look_for_missing()?;
            return Ok(self.held().missing.len() as u64);
        }
        let mut held = self.held();
        held.accounts = accounts;
        let found = held.missing.clone();
        self.keep_missing(&mut held, found)?;
        Ok(held.missing.len() as u64)
    }

    /// From before an account is removed until it is let go for good.
    pub(super) fn leaving(&self, account: &Id) -> Leaving<'_> {
        self.held().leaving.push(*account);
        Leaving {
            service: self,
            account: *account,
        }
    }

    fn held(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
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
