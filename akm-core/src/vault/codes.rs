//! Codes of an authenticator: how an account gets them, makes them binding, and does without again.
//!
//! What a code is stands in `totp`; that one opens a session, in `sign_in`.

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::store::{AccountChange, BeforeCommit};

use super::account::{Profile, Wiped};
use super::limits::{Guess, Who};
use super::sign_in::StepUp;
use super::totp;
use super::{Unlocked, Vault};

impl Vault {
    /// Makes a TOTP secret (base32, URI) that binds once it is confirmed.
    pub fn enable_totp(
        &self,
        step_up: &StepUp,
        before_commit: BeforeCommit<'_>,
    ) -> Result<(Secret, Secret)> {
        let (unlocked, mut profile) = self.open_stepped_up(step_up)?;
        if profile.totp.is_some() {
            return Err(Error::new(Kind::Conflict, "TOTP is enabled already")
                .with_hint("run akm totp disable first"));
        }
        let secret = totp::generate(&*self.host.random);
        let shown = (totp::base32(&secret), totp::uri(unlocked.name(), &secret));
        profile.pending = Some(Wiped(secret.to_vec()));
        let profile = Some(self.profile_change(&unlocked, &step_up.row, &profile, None)?);
        let change = AccountChange {
            profile,
            ..AccountChange::default()
        };
        self.commit_account(&unlocked, &change, before_commit)?;
        Ok(shown)
    }

    /// Makes the pending TOTP secret binding with its first code, which is thereby used up.
    pub fn confirm_totp(
        &self,
        unlocked: &Unlocked,
        code: &Secret,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let row = self
            .store
            .account(unlocked.id())?
            .ok_or(Error::corrupt("the account is gone"))?;
        let mut profile = self.open_profile(unlocked, &row)?;
        let Some(secret) = profile.pending.take() else {
            return Err(Error::new(Kind::Conflict, "no TOTP secret is pending")
                .with_hint("run akm totp enable"));
        };
        let counted = self.count_attempt(Guess::Confirmation, &Who::of(&row))?;
        let step = totp::matching_step(&secret.0, code, self.now_ms().div_euclid(1000))?;
        let Some(step) = step else {
            return Err(Error::wrong_credentials()
                .with_hint("the code must be the one shown now; check the clock"));
        };
        profile.totp = Some(secret);
        let profile = Some(self.profile_change(unlocked, &row, &profile, Some(step))?);
        let change = AccountChange {
            profile,
            ..AccountChange::default()
        };
        self.commit_account(unlocked, &change, before_commit)?;
        // It is binding: a count that stays may cost a wait, no more.
        let _ = self.clear_attempts(&counted);
        Ok(())
    }

    /// Removes TOTP, pending or binding.
    pub fn disable_totp(&self, step_up: &StepUp, before_commit: BeforeCommit<'_>) -> Result<()> {
        let (unlocked, before) = self.open_stepped_up(step_up)?;
        if before.totp.is_none() && before.pending.is_none() {
            return Err(Error::new(Kind::Conflict, "TOTP is not enabled"));
        }
        let without = Profile {
            totp: None,
            pending: None,
            ..before
        };
        let profile = Some(self.profile_change(&unlocked, &step_up.row, &without, None)?);
        let change = AccountChange {
            profile,
            ..AccountChange::default()
        };
        self.commit_account(&unlocked, &change, before_commit)
    }
}
