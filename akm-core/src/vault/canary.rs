//! Whether an account's keys, or its passphrase, open what rests in a copy of its vault.

use std::sync::Arc;

use crate::error::Result;
use crate::memory::LockedKey;
use crate::name::AccountName;
use crate::secret::Secret;
use crate::store::{AccountChange, Id, SlotRow, Store};

use super::check::Check;
use super::limits::{Guess, Who};
use super::slot::PASSPHRASE;
use super::{Device, Origin, Position, Standing, Unlocked, Vault};

impl Vault {
    /// A vault over a copy of this one. It is only read: the counters of guesses are under this machine's key,
    /// which it does not get.
    pub fn over_copy(&self, copy: Arc<dyn Store>) -> Vault {
        let nobodys = LockedKey::generate(&*self.host.random);
        Vault::new(copy, self.host.clone(), nobodys, None)
    }

    /// Opens the account's state in `copy`, and the next of its keys there, as [`Vault::check_slice`] does: call until the check is
    /// done. False where the copy has no such account, or has it under other keys, as after a rekey.
    pub fn open_copy(&self, copy: &Vault, account: &Unlocked, check: &mut Check) -> Result<bool> {
        let now = self.store.account(account.id())?;
        let Some(then) = copy.store.account(account.id())? else {
            return Ok(false);
        };
        // Rewritten only together with the keys in it.
        if now.is_none_or(|now| now.keys != then.keys) {
            return Ok(false);
        }
        copy.open_profile(account, &then)?;
        let account = account.over(copy)?;
        copy.check_manifest(&account, false)?;
        copy.check_slice(&account, check)?;
        Ok(true)
    }

    /// Whether a passphrase opens an account of `copy` and the account's keys open what is in it. Guesses are counted here
    /// and not in the copy, where whoever brought it could have set the count. Returns which account it is.
    pub fn prove_copy(
        &self,
        copy: &Vault,
        account: &str,
        passphrase: &Secret,
        device: Option<&Device>,
        origin: Origin,
    ) -> Result<Id> {
        let account = AccountName::parse(account, "account")?;
        let here = self.store.account_by_name(account.as_str())?;
        let who = Who {
            name: account.as_str(),
            id: here.as_ref().map_or_else(Id::default, |row| row.id),
            known: here.is_some(),
        };
        let counted = self.count_attempt(Guess::SignIn(origin), &who)?;
        // The copy counts under nobody's key, so it remembers nobody either.
        let from = match origin {
            Origin::Owner => Origin::Owner,
            Origin::User(_) | Origin::Network => Origin::Network,
        };
        let proof = copy.confirm_passphrase(&account, passphrase, device, from)?;
        let (unlocked, _) = copy.open_stepped_up(&proof)?;
        copy.check_manifest(&unlocked, false)?;
        let mut check = Check::default();
        while !check.done {
            copy.check_slice(&unlocked, &mut check)?;
        }
        check.whole_copy()?;
        if !self.has_seen(&unlocked)? {
            copy.void_codes(&unlocked)?;
        }
        self.clear_attempts(&counted)?;
        Ok(*unlocked.id())
    }

    /// Whether this machine knows how far the account had come. Then the first unlock after a restore moves the account on,
    /// which voids its codes; else nothing would.
    fn has_seen(&self, account: &Unlocked) -> Result<bool> {
        let nowhere = Position {
            epoch: 0,
            generation: 0,
            mark: [0; 32],
        };
        match &self.anchors {
            Some(anchors) => Ok(anchors.compare(account.id(), &nowhere)? != Standing::Unknown),
            None => Ok(false),
        }
    }

    /// Removes every slot that a recovery code opens.
    fn void_codes(&self, account: &Unlocked) -> Result<()> {
        let slots = self.store.slots(account.id())?;
        let change = AccountChange {
            remove_slots: recovery(&slots),
            ..AccountChange::default()
        };
        self.commit_account(account, &change, &mut || Ok(()))
    }
}

/// The slots that recovery codes open.
pub(super) fn recovery(slots: &[SlotRow]) -> Vec<u32> {
    let numbers = slots.iter().map(|slot| slot.slot);
    numbers.filter(|number| *number != PASSPHRASE).collect()
}
