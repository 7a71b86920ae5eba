//! The way back without the passphrase: a recovery code.
//!
//! A code opens a slot of its own, without the device secret: it is for whoever lost that too. It is used up by the
//! transaction that puts the new passphrase in place; TOTP starts again, and the device secret is let go.

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::store::AccountChange;

use super::account::{Profile, Wiped};
use super::limits::{Guess, Origin, Who};
use super::sign_in::Found;
use super::slot::{PASSPHRASE, Passphrase, RecoveryCode};
use super::totp;
use super::{Unlocked, Vault};

/// A recovered account.
pub struct RecoveredAccount {
    /// Its keys.
    pub unlocked: Unlocked,
    /// A new pending TOTP secret (base32, URI), where there was one before.
    pub totp: Option<(Secret, Secret)>,
    /// Recovery codes left.
    pub codes_left: u32,
}

impl Vault {
    /// Sets a new passphrase with a recovery code, which is used up.
    pub fn recover(
        &self,
        account: &str,
        code: &Secret,
        new: &Secret,
        origin: Origin,
        audit: &mut dyn FnMut(&Unlocked) -> Result<()>,
    ) -> Result<RecoveredAccount> {
        let passphrase = Passphrase::parse(new, "new_passphrase")?;
        let found = self.find_account(account)?;
        let counted = self.count_attempt(Guess::Recovery(origin), &found.who())?;
        let recovered = self.recover_with(found, code, &passphrase, origin, audit)?;
        // The code is used up and the answer holds what comes after it: a count that stays may cost a wait, no more.
        let _ = self.clear_attempts(&counted);
        // What was guessed at before is replaced. Last: the uid that has recovered is familiar now.
        let unlocked = &recovered.unlocked;
        let who = Who {
            name: unlocked.name().as_str(),
            id: *unlocked.id(),
            known: true,
        };
        for replaced in [Guess::SignIn(origin), Guess::Totp] {
            let _ = self.forgive(replaced, &who);
        }
        Ok(recovered)
    }

    /// The same without counting.
    pub(super) fn recover_with(
        &self,
        found: Found,
        code: &Secret,
        passphrase: &Passphrase,
        origin: Origin,
        audit: &mut dyn FnMut(&Unlocked) -> Result<()>,
    ) -> Result<RecoveredAccount> {
        let id = found.id();
        let slots = self.store.slots(&id)?;
        // A text that is no code is tried as one that fits nothing: same work, same answer.
        let code = RecoveryCode::parse(code).unwrap_or_else(RecoveryCode::misfit);
        let opened = match self.open_recovery_slot(&id, &slots, &code) {
            Err(error) if error.kind() == Kind::WrongCredentials => {
                // One whose codes are used up has its passphrase.
                self.check_ways(&found, origin, !slots.is_empty())?;
                return Err(error);
            }
            opened => opened?,
        };
        // What opens a slot of somebody else opens nothing.
        let (Some(row), (used, root)) = (found.account(), opened) else {
            return Err(Error::wrong_credentials());
        };
        // A code that was used since the backup would be good again.
        if self.is_restored(&row)? {
            return Err(Error::wrong_credentials());
        }

        let mut unlocked = self.open_account(&row, &root, None)?;
        let before = self.open_profile(&unlocked, &row)?;
        let mut profile = Profile {
            rules: before.rules,
            ..Profile::default()
        };
        let mut totp = None;
        if before.totp.is_some() || before.pending.is_some() {
            let secret = totp::generate(&*self.host.random);
            totp = Some((totp::base32(&secret), totp::uri(unlocked.name(), &secret)));
            profile.pending = Some(Wiped(secret.to_vec()));
        }
        let change = AccountChange {
            remove_slots: vec![used],
            put_slots: vec![self.passphrase_slot(&id, passphrase, None, &root)?],
            profile: Some(self.profile_change(&unlocked, &row, &profile, None)?),
            ..AccountChange::default()
        };
        self.commit_account(&unlocked, &change, &mut || audit(&unlocked))
            .map_err(|error| {
                if error.kind() == Kind::Conflict {
                    Error::wrong_credentials()
                } else {
                    error
                }
            })?;
        unlocked.profile_version = row.profile_version + 1;
        // Whoever had one of the codes was given them.
        unlocked.shared.set_codes_undelivered(false);
        let codes_left = slots
            .iter()
            .filter(|slot| slot.slot != PASSPHRASE && slot.slot != used)
            .count();
        Ok(RecoveredAccount {
            unlocked,
            totp,
            codes_left: u32::try_from(codes_left).unwrap_or(0),
        })
    }
}
