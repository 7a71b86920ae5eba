//! Signing in, and the passphrase given again.
//!
//! Order: count the attempt durably → derive → unwrap → count the code durably → TOTP → use up its step → clear the counts. Any failure
//! wipes what was derived and answers `wrong_credentials`, for unknown names after the same reads and the same
//! derivation. Who asks on the owner's own socket is told one thing more: that the keyfile is missing.

use crate::crypto::{self, Kdf};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::AccountName;
use crate::secret::Secret;
use crate::store::{AccountRow, Id, SlotRow};

use super::account::{Device, Profile};
use super::limits::{Counted, Guess, Origin, Who};
use super::manifest::Notice;
use super::slot::{PASSPHRASE, Passphrase};
use super::totp;
use super::{Unlocked, Vault};

/// What somebody gave to sign in.
pub struct SignIn<'a> {
    /// The account, as typed.
    pub account: &'a str,
    /// The passphrase.
    pub passphrase: &'a Secret,
    /// The TOTP code, if one was given.
    pub totp: Option<&'a Secret>,
    /// The device secret, if there is one at hand.
    pub device: Option<Device>,
    /// Where the attempt comes from.
    pub origin: Origin,
    /// Whether an older or changed vault is accepted as it is.
    pub accept_rollback: bool,
}

/// Proof that the passphrase was given just now: the root key, for the one change that needs it.
pub struct StepUp {
    pub(super) root: LockedKey,
    pub(super) row: AccountRow,
    pub(super) device: Option<Device>,
}

impl StepUp {
    /// The account that confirmed.
    pub fn account(&self) -> &Id {
        &self.row.id
    }

    /// Whether the passphrase opens the account only together with a device secret.
    pub fn has_device(&self) -> bool {
        self.device.is_some()
    }
}

/// An account whose passphrase was right.
struct Opened {
    root: LockedKey,
    row: AccountRow,
    kdf: Kdf,
    /// The device secret, where the slot needed it.
    device: Option<Device>,
    counted: Counted,
}

impl Vault {
    /// Opens an account with passphrase, device secret where its slot asks for one, and TOTP where that is binding. A slot
    /// with weaker parameters than new ones get is replaced on the way.
    pub fn sign_in(&self, with: &SignIn<'_>) -> Result<Unlocked> {
        let passphrase = Passphrase::parse(with.passphrase, "passphrase")?;
        let opened =
            self.check_passphrase(with.account, &passphrase, with.device.as_ref(), with.origin)?;
        let Opened {
            root,
            row,
            kdf,
            device,
            counted,
        } = opened;
        let mut unlocked = self.open_account(&row, &root, device.clone())?;
        let profile = self.open_profile(&unlocked, &row)?;
        check_device(&profile, device.as_ref())?;
        unlocked
            .shared
            .set_codes_undelivered(profile.codes_undelivered);
        if let Some(secret) = &profile.totp {
            let counted = self.check_code(&row, &secret.0, with.totp)?;
            self.clear_attempts(&counted)?;
        }
        self.clear_attempts(&counted)?;
        // Last, so that nobody without the credentials learns how the file stands.
        let checked = self.check_manifest(&unlocked, with.accept_rollback);
        if checked.is_err() {
            // A rekey of this very moment is no damage: what was typed opens the account no more, or once again.
            self.check_current(&unlocked)?;
        }
        unlocked.notice = checked?;
        let settled = matches!(unlocked.notice, Notice::None | Notice::FirstUse);
        let raised = kdf
            .cost()
            .and_then(|cost| cost.upgraded(&self.host.kdf_cost));
        if let Some(cost) = raised
            && settled
        {
            let step_up = StepUp { root, row, device };
            // Who is in is not turned away because their slot could not be made stronger: the next unlock tries again.
            if let Ok(upgraded) = self.upgrade_slot(&step_up, &passphrase, &cost) {
                let notice = unlocked.notice;
                unlocked = upgraded;
                unlocked.notice = notice;
            }
        }
        Ok(unlocked)
    }

    /// Checks the passphrase of an account that is unlocked already, for a step that asks for it again.
    pub fn confirm_passphrase(
        &self,
        account: &AccountName,
        passphrase: &Secret,
        device: Option<&Device>,
        origin: Origin,
    ) -> Result<StepUp> {
        let passphrase = Passphrase::parse(passphrase, "passphrase")?;
        let opened = self.check_passphrase(account.as_str(), &passphrase, device, origin)?;
        self.clear_attempts(&opened.counted)?;
        Ok(StepUp {
            root: opened.root,
            row: opened.row,
            device: opened.device,
        })
    }

    /// Whether no credential of the account changed since it was opened. Whoever signed in with what is replaced by
    /// now is refused.
    pub fn check_current(&self, account: &Unlocked) -> Result<()> {
        match self.store.account(account.id())? {
            Some(row) if row.profile_version == account.profile_version => Ok(()),
            _ => Err(Error::wrong_credentials()),
        }
    }

    /// The keys and the state of an account that was just confirmed.
    pub(super) fn open_stepped_up(&self, step_up: &StepUp) -> Result<(Unlocked, Profile)> {
        let unlocked = self.open_account(&step_up.row, &step_up.root, step_up.device.clone())?;
        let profile = self.open_profile(&unlocked, &step_up.row)?;
        check_device(&profile, step_up.device.as_ref())?;
        Ok((unlocked, profile))
    }

    /// Checks a code for a step that asks for it again, where codes are binding.
    pub(super) fn confirm_code(
        &self,
        row: &AccountRow,
        profile: &Profile,
        code: Option<&Secret>,
    ) -> Result<()> {
        match &profile.totp {
            Some(secret) => {
                let counted = self.check_code(row, &secret.0, code)?;
                self.clear_attempts(&counted)
            }
            None => Ok(()),
        }
    }

    /// Checks a code under a counter of its own, and uses up its step. Every failure is the same answer as to a wrong
    /// passphrase, after the same writes: that the passphrase was right, or that codes have to wait, is not told.
    fn check_code(
        &self,
        row: &AccountRow,
        secret: &[u8],
        code: Option<&Secret>,
    ) -> Result<Counted> {
        let Some(code) = code else {
            self.count_nothing()?;
            return Err(Error::wrong_credentials());
        };
        let counted = match self.count_attempt(Guess::Totp, &Who::of(row)) {
            Ok(counted) => counted,
            Err(error) if error.kind() == Kind::RateLimited => {
                self.count_nothing()?;
                return Err(Error::wrong_credentials());
            }
            Err(error) => return Err(error),
        };
        if self.use_code(row, secret, code)? {
            Ok(counted)
        } else {
            Err(Error::wrong_credentials())
        }
    }

    /// Whether the code is right and nobody used it; now it is used. Counts nothing.
    pub(super) fn use_code(&self, row: &AccountRow, secret: &[u8], code: &Secret) -> Result<bool> {
        match totp::matching_step(secret, code, self.now_ms().div_euclid(1000))? {
            Some(step) => self.store.use_totp_step(&row.id, step),
            None => Ok(false),
        }
    }

    /// Counts the attempt, then opens the passphrase slot; the same work whether the account exists or not.
    fn check_passphrase(
        &self,
        typed: &str,
        passphrase: &Passphrase,
        device: Option<&Device>,
        origin: Origin,
    ) -> Result<Opened> {
        let found = self.find_account(typed)?;
        let slots = self.store.slots(&found.id())?;
        if origin == Origin::Owner
            && device.is_none()
            && found.known()
            && slots.iter().any(needs_device)
        {
            // Nothing was guessed, so nothing is counted. The owner's own socket may be told.
            return Err(keyfile_missing());
        }
        let counted = self.count_attempt(Guess::SignIn(origin), &found.who())?;
        let opened = self.open_passphrase_slot(&found, &slots, passphrase, device);
        let (root, slot) = match opened {
            Err(error) if error.kind() == Kind::WrongCredentials => {
                self.count_nothing()?;
                let has_way = slots.iter().any(|row| row.slot == PASSPHRASE);
                self.check_ways(&found, origin, has_way)?;
                return Err(error);
            }
            opened => opened?,
        };
        let Some(row) = found.account() else {
            return Err(Error::wrong_credentials());
        };
        Ok(Opened {
            root,
            row,
            kdf: Kdf::decode(&slot.kdf)?,
            device: device.filter(|_| needs_device(slot)).cloned(),
            counted,
        })
    }

    /// Whether nothing that anybody types could open an account that is there: after all the work, and for the owner alone.
    pub(super) fn check_ways(&self, found: &Found, origin: Origin, has_way: bool) -> Result<()> {
        if origin != Origin::Owner || !found.known() {
            return Ok(());
        }
        let what = if !has_way {
            "the account has no way in: its slots are not in the vault"
        } else if self.is_seen_elsewhere(&found.id())? {
            "the vault's id is not the one that this machine has seen the account in"
        } else {
            return Ok(());
        };
        Err(Error::corrupt(what).with_hint(
            "the file was changed behind akm's back: akm backup list shows what can be restored, akm doctor what else is wrong",
        ))
    }

    /// The one place where a typed account name becomes a row. A name that nobody has, or that cannot exist, costs the
    /// same reads, of somebody else's rows: always of the same account for one name and of any for different ones, by a hash under the
    /// host key, so that such names derive at the costs that the accounts have, as often as accounts have them.
    pub(super) fn find_account(&self, typed: &str) -> Result<Found> {
        let name = AccountName::parse(typed, "account").ok();
        // No account has an empty name.
        let wanted = name.as_ref().map_or("", AccountName::as_str);
        let typed = match &name {
            Some(name) => name.as_str(),
            None => typed,
        };
        let drawn = crypto::tag(&self.host_key, &[b"stand-in", typed.as_bytes()]);
        let mut other = Id::default();
        other.copy_from_slice(&drawn[..16]);
        let row = self.store.account_or_other(wanted, &other)?;
        Ok(Found {
            typed: typed.to_owned(),
            wanted: wanted.to_owned(),
            row,
        })
    }
}

/// What was found under a typed name.
pub(super) struct Found {
    /// The folded name, or what was typed: what is counted.
    pub(super) typed: String,
    /// The folded name, or none.
    wanted: String,
    /// The account of that name or, so that the work is the same, another one.
    row: Option<AccountRow>,
}

impl Found {
    /// Whether the account is the one that was asked for.
    pub(super) fn known(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.name == self.wanted)
    }

    /// The id of whatever was found.
    pub(super) fn id(&self) -> Id {
        self.row.as_ref().map_or_else(Id::default, |row| row.id)
    }

    /// Whose secret is guessed.
    pub(super) fn who(&self) -> Who<'_> {
        Who {
            name: &self.typed,
            id: self.id(),
            known: self.known(),
        }
    }

    /// The account, if it is the one that was asked for.
    pub(super) fn account(self) -> Option<AccountRow> {
        if self.known() { self.row } else { None }
    }
}

fn needs_device(slot: &SlotRow) -> bool {
    slot.slot == PASSPHRASE && slot.factors & crate::crypto::FACTOR_DEVICE != 0
}

/// The slot in clear against the sealed state: one from before the device secret, put back, opens nothing.
fn check_device(profile: &Profile, device: Option<&Device>) -> Result<()> {
    if profile.device != device.is_some() {
        return Err(Error::new(
            Kind::RolledBack,
            "the account's way in is older than its state",
        ));
    }
    Ok(())
}

fn keyfile_missing() -> Error {
    Error::new(
        Kind::WrongCredentials,
        "the account's keyfile is needed and not there",
    )
    .with_field("keyfile")
    .with_hint("give it with --keyfile PATH; without it only akm account recover opens the account")
}
