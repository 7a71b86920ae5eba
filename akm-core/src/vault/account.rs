//! Accounts: registering, signing in, recovering, and the keys an unlocked one holds.
//!
//! Sign-in order: count the attempt durably → derive → unwrap → TOTP → use up its step → clear the count.
//! Any failure wipes what was derived and answers `wrong_credentials`, for unknown names after the same
//! reads and the same derivation.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::AccountName;
use crate::secret::Secret;
use crate::store::{AccountChange, AccountRow, BeforeCommit, Id, ProfileChange, SlotRow};

use super::Vault;
use super::limits::Guess;
use super::manifest::{Notice, Shared};
use super::ready::ReadyKeys;
use super::slot::{PASSPHRASE, Passphrase, RecoveryCode};
use super::totp;

/// The keys sealed under the root key: version, audit key, exchange key, vault key.
const KEYS_VERSION: u8 = 1;
const KEYS_LEN: usize = 1 + 3 * 32;
/// Sealed state is padded to this, so that its size does not tell whether there is a TOTP secret.
const PROFILE_BUCKET: usize = 256;

/// One account's keys, while it is unlocked. Wiped when dropped.
pub struct Unlocked {
    id: Id,
    name: AccountName,
    /// The version of the sealed state it was opened with: every change of a credential moves it.
    profile_version: u64,
    pub(super) vault_key: LockedKey,
    pub(super) index_key: LockedKey,
    pub(super) ready: ReadyKeys,
    profile_key: LockedKey,
    audit_key: LockedKey,
    pub(super) manifest_key: LockedKey,
    /// What all sessions of the account share.
    pub(super) shared: Arc<Shared>,
    notice: Notice,
}

impl Unlocked {
    /// The same keys for a look into a copy of the vault, which has a state of its own.
    pub(super) fn over(&self, copy: &Vault) -> Result<Unlocked> {
        let again = |key: &LockedKey| {
            LockedKey::build(|to| {
                to.copy_from_slice(key.expose());
                Ok(())
            })
        };
        Ok(Unlocked {
            id: self.id,
            name: self.name.clone(),
            profile_version: self.profile_version,
            vault_key: again(&self.vault_key)?,
            index_key: again(&self.index_key)?,
            ready: ReadyKeys::default(),
            profile_key: again(&self.profile_key)?,
            audit_key: again(&self.audit_key)?,
            manifest_key: again(&self.manifest_key)?,
            shared: copy.open.of(&self.id),
            notice: Notice::None,
        })
    }

    /// The account's id.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// The account's name.
    pub fn name(&self) -> &AccountName {
        &self.name
    }

    /// What there is to say about the vault it was opened from.
    pub fn notice(&self) -> Notice {
        self.notice
    }

    /// The key of the account's audit chain.
    pub fn audit_key(&self) -> &LockedKey {
        &self.audit_key
    }
}

/// What somebody typed to sign in.
pub struct SignIn<'a> {
    /// The account, as typed.
    pub account: &'a str,
    /// The passphrase.
    pub passphrase: &'a Secret,
    /// The TOTP code, if one was given.
    pub totp: Option<&'a Secret>,
    /// Whether an older or changed vault is accepted as it is.
    pub accept_rollback: bool,
}

/// A new account, and what its owner must keep.
pub struct NewAccount {
    /// Its keys.
    pub unlocked: Unlocked,
    /// The pending TOTP secret (base32, URI).
    pub totp: Option<(Secret, Secret)>,
    /// Recovery codes.
    pub codes: Vec<Secret>,
}

/// A recovered account.
pub struct RecoveredAccount {
    /// Its keys.
    pub unlocked: Unlocked,
    /// A new pending TOTP secret (base32, URI), where there was one before.
    pub totp: Option<(Secret, Secret)>,
    /// Recovery codes left.
    pub codes_left: u32,
}

/// An account's sealed state.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// The binding TOTP secret.
    totp: Option<Wiped>,
    /// A TOTP secret that waits for its first code.
    pending: Option<Wiped>,
}

/// Bytes inside sealed state, wiped when dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Vault {
    /// Whether there is an account, and whether signing in to `account` asks for a TOTP code.
    pub fn overview(&self, account: &str) -> Result<(bool, bool)> {
        let initialized = self.store.account_count()? > 0;
        let row = match AccountName::parse(account, "account") {
            Ok(name) => self.store.account_by_name(name.as_str())?,
            Err(_) => None,
        };
        Ok((initialized, row.is_some_and(|row| row.totp_active)))
    }

    /// Creates an account. `audit` runs with its keys before anything is stored.
    pub fn register(
        &self,
        account: &str,
        passphrase: &Secret,
        with_totp: bool,
        audit: &mut dyn FnMut(&Unlocked) -> Result<()>,
    ) -> Result<NewAccount> {
        let name = AccountName::parse(account, "account")?;
        let passphrase = Passphrase::parse(passphrase, "passphrase")?;
        if self.store.account_by_name(name.as_str())?.is_some() {
            return Err(taken());
        }
        let id = self.new_id();
        let random = &*self.host.random;
        let root = LockedKey::generate(random);
        let (exchange_key, _public) = crypto::x25519_pair(random);
        let unlocked = unlocked(
            id,
            name,
            1,
            &root,
            LockedKey::generate(random),
            LockedKey::generate(random),
            self.open.of(&id),
        );

        let mut profile = Profile::default();
        let mut totp = None;
        if with_totp {
            let secret = totp::generate(random);
            totp = Some((totp::base32(&secret), totp::uri(&unlocked.name, &secret)));
            profile.pending = Some(Wiped(secret.to_vec()));
        }
        let mut keys = Zeroizing::new(Vec::with_capacity(KEYS_LEN));
        keys.push(KEYS_VERSION);
        for key in [&unlocked.audit_key, &exchange_key, &unlocked.vault_key] {
            keys.extend_from_slice(key.expose());
        }
        let mut row = AccountRow {
            id,
            name: unlocked.name.as_str().to_owned(),
            role: "user".to_owned(),
            tier: "local".to_owned(),
            totp_active: false,
            totp_step: 0,
            keys: crypto::seal(random, &root, &self.keys_ad(&id), &keys)?,
            profile: self.seal_profile(&unlocked, 1, &profile)?,
            profile_version: 1,
            manifest: Vec::new(),
            created_at: self.now_ms(),
        };
        let (mut slots, codes) = self.recovery_slots(&id, &root)?;
        slots.insert(0, self.passphrase_slot(&id, &passphrase, &root)?);
        row.manifest = self.first_manifest(&unlocked, &row, &slots);
        self.store
            .create_account(&row, &slots, &mut || audit(&unlocked))
            .map_err(|error| {
                if error.kind() == Kind::Conflict {
                    taken()
                } else {
                    error
                }
            })?;
        self.begin_manifest(&unlocked, &row)?;
        Ok(NewAccount {
            unlocked,
            totp,
            codes,
        })
    }

    /// Opens an account with passphrase and, where it is binding, TOTP.
    pub fn sign_in(&self, with: &SignIn<'_>) -> Result<Unlocked> {
        let passphrase = Passphrase::parse(with.passphrase, "passphrase")?;
        let (root, row, counted) = self.check_passphrase(with.account, &passphrase)?;
        let mut unlocked = self.open_account(&row, &root)?;
        drop(root);
        if let Some(secret) = self.open_profile(&unlocked, &row)?.totp {
            let step = match with.totp {
                Some(code) => totp::matching_step(&secret.0, code, self.now_ms().div_euclid(1000))?,
                None => None,
            };
            let fresh = match step {
                Some(step) => self.store.use_totp_step(&row.id, step)?,
                None => false,
            };
            if !fresh {
                return Err(Error::wrong_credentials());
            }
        }
        self.clear_attempts(&counted)?;
        // Last, so that nobody without the credentials learns how the file stands.
        unlocked.notice = self.check_manifest(&unlocked, with.accept_rollback)?;
        Ok(unlocked)
    }

    /// Checks the passphrase of an account that is unlocked already, for a step that asks for it again.
    pub fn confirm_passphrase(&self, account: &AccountName, passphrase: &Secret) -> Result<StepUp> {
        let passphrase = Passphrase::parse(passphrase, "passphrase")?;
        let (root, row, counted) = self.check_passphrase(account.as_str(), &passphrase)?;
        self.clear_attempts(&counted)?;
        Ok(StepUp { root, row })
    }

    /// Whether no credential of the account changed since it was opened. Whoever signed in with what is replaced by
    /// now is refused.
    pub fn check_current(&self, account: &Unlocked) -> Result<()> {
        match self.store.account(&account.id)? {
            Some(row) if row.profile_version == account.profile_version => Ok(()),
            _ => Err(Error::wrong_credentials()),
        }
    }

    /// Derives the slot of a new passphrase; nothing is stored yet.
    pub fn prepare_passphrase(&self, step_up: &StepUp, new: &Secret) -> Result<NewPassphrase> {
        let passphrase = Passphrase::parse(new, "new_passphrase")?;
        self.passphrase_slot(&step_up.row.id, &passphrase, &step_up.root)
            .map(NewPassphrase)
    }

    /// Puts a prepared passphrase in place of the old: one slot is rewritten, whatever the number of keys.
    pub fn change_passphrase(
        &self,
        step_up: &StepUp,
        new: NewPassphrase,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change_slots(step_up, vec![new.0], before_commit)
    }

    /// Replaces every recovery code.
    pub fn replace_codes(
        &self,
        step_up: &StepUp,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Vec<Secret>> {
        let (slots, codes) = self.recovery_slots(&step_up.row.id, &step_up.root)?;
        self.change_slots(step_up, slots, before_commit)?;
        Ok(codes)
    }

    /// Writes slots, unless another credential changed since the passphrase was confirmed: of two changes under way
    /// the first wins, and a recovery is never undone by somebody who still knew the old passphrase.
    fn change_slots(
        &self,
        step_up: &StepUp,
        put_slots: Vec<SlotRow>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let unlocked = self.open_account(&step_up.row, &step_up.root)?;
        let same = self.open_profile(&unlocked, &step_up.row)?;
        let profile = Some(self.profile_change(&unlocked, &step_up.row, &same, None)?);
        let change = AccountChange {
            put_slots,
            profile,
            ..AccountChange::default()
        };
        self.commit_account(&unlocked, &change, before_commit)
    }

    /// Sets a new passphrase with a recovery code, which is used up; TOTP starts again.
    pub fn recover(
        &self,
        account: &str,
        code: &Secret,
        new: &Secret,
        audit: &mut dyn FnMut(&Unlocked) -> Result<()>,
    ) -> Result<RecoveredAccount> {
        let passphrase = Passphrase::parse(new, "new_passphrase")?;
        let (folded, row) = self.find_account(account)?;
        let counted = self.count_attempt(Guess::Recovery, &folded, row.is_some())?;
        let id = row.as_ref().map_or_else(Id::default, |row| row.id);
        let slots = self.store.slots(&id)?;
        // A text that is no code is tried as one that fits nothing: same work, same answer.
        let code = RecoveryCode::parse(code).unwrap_or_else(RecoveryCode::misfit);
        let opened = self.open_recovery_slot(&id, &slots, &code)?;
        let (Some(row), (used, root)) = (row, opened) else {
            return Err(Error::wrong_credentials());
        };
        // A code that was used since the backup would be good again.
        if self.is_restored(&row)? {
            return Err(Error::wrong_credentials());
        }

        let mut unlocked = self.open_account(&row, &root)?;
        let before = self.open_profile(&unlocked, &row)?;
        let mut profile = Profile::default();
        let mut totp = None;
        if before.totp.is_some() || before.pending.is_some() {
            let secret = totp::generate(&*self.host.random);
            totp = Some((totp::base32(&secret), totp::uri(&unlocked.name, &secret)));
            profile.pending = Some(Wiped(secret.to_vec()));
        }
        let change = AccountChange {
            remove_slots: vec![used],
            put_slots: vec![self.passphrase_slot(&id, &passphrase, &root)?],
            profile: Some(self.profile_change(&unlocked, &row, &profile, None)?),
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
        self.clear_attempts(&counted)?;
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

    /// Makes a TOTP secret (base32, URI) that binds once it is confirmed.
    pub fn enable_totp(
        &self,
        step_up: &StepUp,
        before_commit: BeforeCommit<'_>,
    ) -> Result<(Secret, Secret)> {
        let unlocked = self.open_account(&step_up.row, &step_up.root)?;
        let mut profile = self.open_profile(&unlocked, &step_up.row)?;
        if profile.totp.is_some() {
            return Err(Error::new(Kind::Conflict, "TOTP is enabled already")
                .with_hint("run akm totp disable first"));
        }
        let secret = totp::generate(&*self.host.random);
        let shown = (totp::base32(&secret), totp::uri(&unlocked.name, &secret));
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
            .account(&unlocked.id)?
            .ok_or(Error::corrupt("the account is gone"))?;
        let mut profile = self.open_profile(unlocked, &row)?;
        let Some(secret) = profile.pending.take() else {
            return Err(Error::new(Kind::Conflict, "no TOTP secret is pending")
                .with_hint("run akm totp enable"));
        };
        let counted = self.count_attempt(Guess::Confirmation, unlocked.name.as_str(), true)?;
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
        self.clear_attempts(&counted)
    }

    /// Removes TOTP, pending or binding.
    pub fn disable_totp(&self, step_up: &StepUp, before_commit: BeforeCommit<'_>) -> Result<()> {
        let unlocked = self.open_account(&step_up.row, &step_up.root)?;
        let before = self.open_profile(&unlocked, &step_up.row)?;
        if before.totp.is_none() && before.pending.is_none() {
            return Err(Error::new(Kind::Conflict, "TOTP is not enabled"));
        }
        let profile =
            Some(self.profile_change(&unlocked, &step_up.row, &Profile::default(), None)?);
        let change = AccountChange {
            profile,
            ..AccountChange::default()
        };
        self.commit_account(&unlocked, &change, before_commit)
    }

    /// Counts the attempt, then opens the passphrase slot; the same work whether the account exists or not.
    fn check_passphrase(
        &self,
        typed: &str,
        passphrase: &Passphrase,
    ) -> Result<(LockedKey, AccountRow, super::limits::Counted)> {
        let (folded, row) = self.find_account(typed)?;
        let counted = self.count_attempt(Guess::SignIn, &folded, row.is_some())?;
        let id = row.as_ref().map_or_else(Id::default, |row| row.id);
        let slots = self.store.slots(&id)?;
        let root = self.open_passphrase_slot(&id, &slots, &folded, passphrase)?;
        match row {
            Some(row) => Ok((root, row, counted)),
            None => Err(Error::wrong_credentials()),
        }
    }

    /// The one place where a typed account name becomes a row: the folded name (or what was typed, for
    /// counting), and the account if there is one. A name that cannot exist costs the same read.
    fn find_account(&self, typed: &str) -> Result<(String, Option<AccountRow>)> {
        match AccountName::parse(typed, "account") {
            Ok(name) => Ok((
                name.as_str().to_owned(),
                self.store.account_by_name(name.as_str())?,
            )),
            Err(_) => {
                // No account has an empty name.
                self.store.account_by_name("")?;
                Ok((typed.to_owned(), None))
            }
        }
    }

    fn open_account(&self, row: &AccountRow, root: &LockedKey) -> Result<Unlocked> {
        let keys = crypto::open(root, &self.keys_ad(&row.id), &row.keys)?;
        if keys.first() != Some(&KEYS_VERSION) {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "the account's keys have an unknown version",
            ));
        }
        if keys.len() != KEYS_LEN {
            return Err(Error::corrupt("the account's keys have the wrong length"));
        }
        let part = |index: usize| {
            LockedKey::build(|key| {
                key.copy_from_slice(&keys[1 + 32 * index..][..32]);
                Ok(())
            })
        };
        // The name stands in clear; what it is bound to is the id. It is folded already, or the row was changed.
        let name = AccountName::parse(&row.name, "account")
            .ok()
            .filter(|name| name.as_str() == row.name)
            .ok_or(Error::corrupt("the account's name is not one"))?;
        Ok(unlocked(
            row.id,
            name,
            row.profile_version,
            root,
            part(0)?,
            part(2)?,
            self.open.of(&row.id),
        ))
    }

    pub(super) fn open_profile(&self, unlocked: &Unlocked, row: &AccountRow) -> Result<Profile> {
        let ad = self.profile_ad(&row.id, row.profile_version);
        let plain = crypto::open_padded(&unlocked.profile_key, &ad, &row.profile)?;
        let profile: Profile = serde_json::from_slice(&plain)
            .map_err(|_| Error::corrupt("the account's state has an unknown shape"))?;
        if profile.totp.is_some() != row.totp_active {
            return Err(Error::corrupt(
                "the account's TOTP mark does not fit its sealed state",
            ));
        }
        Ok(profile)
    }

    fn seal_profile(
        &self,
        unlocked: &Unlocked,
        version: u64,
        profile: &Profile,
    ) -> Result<Vec<u8>> {
        let plain = Zeroizing::new(crate::protocol::encode(profile)?);
        let ad = self.profile_ad(&unlocked.id, version);
        crypto::seal_padded(
            &*self.host.random,
            &unlocked.profile_key,
            &ad,
            &plain,
            PROFILE_BUCKET,
        )
    }

    fn profile_change(
        &self,
        unlocked: &Unlocked,
        row: &AccountRow,
        profile: &Profile,
        totp_step: Option<u64>,
    ) -> Result<ProfileChange> {
        let version = row
            .profile_version
            .checked_add(1)
            .ok_or(Error::internal("the profile's version overflows"))?;
        Ok(ProfileChange {
            from_version: row.profile_version,
            profile: self.seal_profile(unlocked, version, profile)?,
            totp_active: profile.totp.is_some(),
            totp_step,
        })
    }

    fn keys_ad(&self, account: &Id) -> Ad {
        Ad::new(Field::AccountKeys)
            .vault(&self.store.vault_id())
            .account(account)
    }

    fn profile_ad(&self, account: &Id, version: u64) -> Ad {
        Ad::new(Field::Profile)
            .vault(&self.store.vault_id())
            .account(account)
            .version(version)
    }
}

/// A derived slot for a new passphrase, not stored yet.
pub struct NewPassphrase(SlotRow);

/// Proof that the passphrase was given just now: the root key, for the one change that needs it.
pub struct StepUp {
    root: LockedKey,
    row: AccountRow,
}

impl StepUp {
    /// The account that confirmed.
    pub fn account(&self) -> &Id {
        &self.row.id
    }

    /// The keys of the account that confirmed, for a look at its records. Its sealed state opens as well.
    pub(super) fn open(&self, vault: &Vault) -> Result<Unlocked> {
        let unlocked = vault.open_account(&self.row, &self.root)?;
        vault.open_profile(&unlocked, &self.row)?;
        Ok(unlocked)
    }
}

fn unlocked(
    id: Id,
    name: AccountName,
    profile_version: u64,
    root: &LockedKey,
    audit_key: LockedKey,
    vault_key: LockedKey,
    shared: Arc<Shared>,
) -> Unlocked {
    Unlocked {
        id,
        name,
        profile_version,
        index_key: crypto::derive(&vault_key, "index"),
        manifest_key: crypto::derive(&vault_key, "manifest"),
        ready: ReadyKeys::default(),
        profile_key: crypto::derive(root, "profile"),
        vault_key,
        audit_key,
        shared,
        notice: Notice::None,
    }
}

fn taken() -> Error {
    Error::new(Kind::Conflict, "the account exists already")
        .with_field("account")
        .with_hint("run akm unlock")
}
