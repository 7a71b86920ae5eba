//! New ways in: another passphrase, with or without a device secret, at the parameters of today.
//!
//! A way is one slot: it is derived without holding anything and put in place in one transaction that rewrites the
//! slot and the account's state, whatever the number of keys. Every change moves the version of that state, so
//! of two changes under way the first wins, and a recovery is never undone by somebody who still knew the old passphrase.

use crate::crypto::{Kdf, KdfCost};
use crate::error::Result;
use crate::secret::Secret;
use crate::store::{AccountChange, BeforeCommit, SlotRow};

use super::account::{Device, Profile};
use super::sign_in::StepUp;
use super::slot::Passphrase;
use super::{Unlocked, Vault};

/// A derived slot of the passphrase, not stored yet.
pub struct NewWay {
    slot: SlotRow,
    device: Option<Device>,
}

impl Vault {
    /// Derives the slot of a new passphrase, with the device secret of the old one; nothing is stored yet.
    pub fn prepare_passphrase(&self, step_up: &StepUp, new: &Secret) -> Result<NewWay> {
        let passphrase = Passphrase::parse(new, "new_passphrase")?;
        self.prepare_way(step_up, &passphrase, step_up.device.clone())
    }

    /// Derives the slot of the same passphrase with another device secret, or without one; nothing is stored yet.
    pub fn prepare_device(
        &self,
        step_up: &StepUp,
        passphrase: &Secret,
        device: Option<Device>,
    ) -> Result<NewWay> {
        let passphrase = Passphrase::parse(passphrase, "passphrase")?;
        self.prepare_way(step_up, &passphrase, device)
    }

    fn prepare_way(
        &self,
        step_up: &StepUp,
        passphrase: &Passphrase,
        device: Option<Device>,
    ) -> Result<NewWay> {
        let slot = self.passphrase_slot(
            &step_up.row.id,
            passphrase,
            device.as_deref(),
            &step_up.root,
        )?;
        Ok(NewWay { slot, device })
    }

    /// Puts a prepared way in place of the old one, and opens the account as it is then.
    pub fn change_way(
        &self,
        step_up: &StepUp,
        new: NewWay,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Unlocked> {
        self.change_slots(step_up, vec![new.slot], new.device, true, before_commit)
    }

    /// Replaces every recovery code.
    pub fn replace_codes(
        &self,
        step_up: &StepUp,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Vec<Secret>> {
        let (slots, codes) = self.recovery_slots(&step_up.row.id, &step_up.root)?;
        let device = step_up.device.clone();
        let unlocked = self.change_slots(step_up, slots, device, false, before_commit)?;
        unlocked.shared.set_codes_undelivered(false);
        Ok(codes)
    }

    /// Replaces the slot of a passphrase that was right just now by one that costs more to try.
    pub(super) fn upgrade_slot(
        &self,
        step_up: &StepUp,
        passphrase: &Passphrase,
        cost: &KdfCost,
    ) -> Result<Unlocked> {
        let slot = self.passphrase_slot_with(
            &step_up.row.id,
            Kdf::passphrase(&*self.host.random, cost),
            passphrase,
            step_up.device.as_deref(),
            &step_up.root,
        )?;
        let device = step_up.device.clone();
        self.change_slots(step_up, vec![slot], device, true, &mut || Ok(()))
    }

    fn change_slots(
        &self,
        step_up: &StepUp,
        put_slots: Vec<SlotRow>,
        device: Option<Device>,
        codes_stay: bool,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Unlocked> {
        let (_, before) = self.open_stepped_up(step_up)?;
        let mut unlocked = self.open_account(&step_up.row, &step_up.root, device)?;
        let profile = Profile {
            device: unlocked.device().is_some(),
            codes_undelivered: before.codes_undelivered && codes_stay,
            ..before
        };
        let change = AccountChange {
            put_slots,
            profile: Some(self.profile_change(&unlocked, &step_up.row, &profile, None)?),
            ..AccountChange::default()
        };
        self.commit_account(&unlocked, &change, before_commit)?;
        unlocked.profile_version += 1;
        Ok(unlocked)
    }
}
