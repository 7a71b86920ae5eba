//! New keys for an account: root key, vault key, and the key of every record.
//!
//! Whoever once had an old copy of the vault with its passphrase has its root key, and with it every copy since. A rekey
//! ends that. It **begins** in one transaction: the account's keys, its sealed state, its own providers and every way in
//! move under a new root key and a new vault key; the vault key before rests beside them, wrapped by the new one. From
//! then on only the new ways open the account. Records follow in slices, a transaction each with the tree and
//! manifest of any other change, and every reader takes a record of either kind: one under the vault key before is
//! believed because the tree, which only the new key signs, has it. The last slice forgets the vault key before. So wherever
//! it is cut off there is one state, which opens, and what is left to do stands in it.
//!
//! The audit key stays, because the chain goes on; so does whoever knows it able to read and forge events of the account.
//! Recovery codes cannot be wrapped anew without knowing them: there are new ones. A keyfile and TOTP stay as they are.
//!
//! Nothing begins over a vault that has something in it that does not open: it would never end.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::secret::Secret;
use crate::store::{
    AccountChange, AccountRow, BeforeCommit, HistoryRow, Id, KeyRow, KeysChange, ProfileChange,
    ResealedKey, SlotRow,
};

use super::account::again;
use super::manifest::MAX_SLICE;
use super::record::OpenedKey;
use super::sealed::{SECRET_BUCKET, rests_rightly};
use super::sign_in::StepUp;
use super::slot::Passphrase;
use super::tree::STALE;
use super::{Check, Unlocked, Vault};

/// What opens the records that a rekey has not come to yet.
pub(super) struct Before {
    pub(super) vault_key: LockedKey,
    pub(super) index_key: LockedKey,
    /// The last record that was looked at, and how many were.
    passed: Mutex<(Option<Id>, u64)>,
}

impl Before {
    fn new(vault_key: LockedKey) -> Self {
        Before {
            index_key: crypto::derive(&vault_key, "index"),
            vault_key,
            passed: Mutex::default(),
        }
    }

    fn passed(&self) -> MutexGuard<'_, (Option<Id>, u64)> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// New keys that are made and not stored yet.
pub struct NewKeys {
    old: Unlocked,
    new: Unlocked,
    keys: Vec<u8>,
    key_before: Vec<u8>,
    profile: ProfileChange,
    slots: Vec<SlotRow>,
    codes: Vec<Secret>,
}

/// How far a rekey has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    /// Whether it is done.
    pub done: bool,
    /// How many records were looked at.
    pub passed: u64,
    /// How many there are.
    pub total: u64,
}

/// A record with all that rests under its key, opened.
pub(super) struct Whole {
    opened: OpenedKey,
    secret: Zeroizing<Vec<u8>>,
    history: Vec<OldWhole>,
}

/// A replaced secret, opened: its version, and description and secret with what each is bound to.
struct OldWhole {
    version: u64,
    meta: (Ad, Zeroizing<Vec<u8>>),
    secret: (Ad, Zeroizing<Vec<u8>>),
}

impl Vault {
    /// Makes new keys; nothing is stored yet. Takes a code where the account has TOTP. `None` where a rekey is under way.
    pub fn prepare_rekey(
        &self,
        step_up: &StepUp,
        passphrase: &Secret,
        code: Option<&Secret>,
    ) -> Result<Option<NewKeys>> {
        let passphrase = Passphrase::parse(passphrase, "passphrase")?;
        let (old, mut profile) = self.open_stepped_up(step_up)?;
        self.confirm_code(&step_up.row, &profile, code)?;
        if old.shared.before().is_some() {
            return Ok(None);
        }
        self.check_all_open(&old)?;

        let random = &*self.host.random;
        let root = LockedKey::generate(random);
        let (new, keys) = self.renewed(&old, &root)?;
        let ad = self.before_ad(old.id());
        let key_before = crypto::wrap(random, &new.vault_key, &ad, &old.vault_key)?;
        let (mut slots, codes) = self.recovery_slots(old.id(), &root)?;
        profile.codes_undelivered = true;
        let device = step_up.device.as_deref();
        slots.insert(
            0,
            self.passphrase_slot(old.id(), &passphrase, device, &root)?,
        );
        Ok(Some(NewKeys {
            profile: self.profile_change(&new, &step_up.row, &profile, None)?,
            old,
            new,
            keys,
            key_before,
            slots,
            codes,
        }))
    }

    /// Puts new keys in place of the old ones: the account as it is then, and the recovery codes. Records follow with
    /// [`Vault::rekey_slice`].
    pub fn begin_rekey(
        &self,
        new: NewKeys,
        before_commit: BeforeCommit<'_>,
    ) -> Result<(Unlocked, Vec<Secret>)> {
        let NewKeys {
            old,
            new,
            keys,
            key_before,
            profile,
            slots,
            codes,
        } = new;
        let edit = self.edit(&old)?;
        let before = Before::new(again(&old.vault_key)?);
        let (_, stored) = self.stored_account(old.id())?;
        let numbers = stored.iter().map(|slot| slot.slot);
        let change = AccountChange {
            remove_slots: numbers
                .filter(|number| slots.iter().all(|slot| slot.slot != *number))
                .collect(),
            put_slots: slots,
            profile: Some(profile),
            keys: Some(KeysChange {
                keys,
                key_before,
                providers: self.renewed_providers(&old, &new)?,
            }),
            rekeyed: false,
        };
        self.commit_account_as(&new, edit, &change, before_commit)?;
        new.shared.set_before(Some(before));
        new.shared.set_codes_undelivered(true);
        Ok((new, codes))
    }

    /// Notes that the codes of a rekey are on their way to their owner.
    pub fn deliver_codes(&self, account: &Unlocked) -> Result<()> {
        let (row, _) = self.stored_account(account.id())?;
        let mut profile = self.open_profile(account, &row)?;
        profile.codes_undelivered = false;
        let change = AccountChange {
            profile: Some(self.profile_change(account, &row, &profile, None)?),
            ..AccountChange::default()
        };
        self.commit_account(account, &change, &mut || Ok(()))?;
        account.shared.set_codes_undelivered(false);
        Ok(())
    }

    /// How far the rekey of an account has come, if one is under way.
    pub fn rekeying(&self, account: &Unlocked) -> Result<Option<Rekeyed>> {
        match account.shared.before() {
            Some(before) => self.progress(account, &before).map(Some),
            None => Ok(None),
        }
    }

    /// Seals the next records anew, `most` at the most; after the last one the rekey is done, which `done` is told before it
    /// counts. `None` where no rekey is under way. Changes of the account wait meanwhile.
    pub fn rekey_slice(
        &self,
        account: &Unlocked,
        most: u32,
        done: BeforeCommit<'_>,
    ) -> Result<Option<Rekeyed>> {
        let mut edit = self.edit(account)?;
        let Some(before) = account.shared.before() else {
            return Ok(None);
        };
        let (after, passed) = *before.passed();
        let rows = self
            .store
            .rows_page(account.id(), after.as_ref(), most.clamp(1, MAX_SLICE))?;
        let Some(last) = rows.last().map(|row| row.head.id) else {
            let change = AccountChange {
                rekeyed: true,
                ..AccountChange::default()
            };
            self.commit_account_as(account, edit, &change, done)?;
            account.shared.set_before(None);
            let total = self.records(account)?;
            return Ok(Some(Rekeyed {
                done: true,
                passed: total,
                total,
            }));
        };
        let mut resealed = Vec::with_capacity(rows.len());
        for row in &rows {
            // Before anything in it is opened: what was put back may not even open, and is older first of all.
            if !self.is_newest(account, row)? {
                return Err(STALE);
            }
            if let Some(new) = self.reseal(account, &before, row)? {
                edit.put(&row.head.id, Some(row), Some(&new.row))?;
                resealed.push(new);
            }
        }
        // What an interrupted rekey has come to already is only passed over.
        if !resealed.is_empty() {
            edit.commit(|tree| self.store.reseal_keys(account.id(), &resealed, tree))?;
        }
        *before.passed() = (Some(last), passed + rows.len() as u64);
        self.progress(account, &before).map(Some)
    }

    /// The vault key before, where the stored account says that a rekey is under way.
    pub(super) fn open_before(
        &self,
        account: &Unlocked,
        row: &AccountRow,
    ) -> Result<Option<Before>> {
        let open = |wrapped: &Vec<u8>| {
            crypto::unwrap(&account.vault_key, &self.before_ad(account.id()), wrapped)
        };
        let key = row.key_before.as_ref().map(open).transpose()?;
        Ok(key.map(Before::new))
    }

    fn progress(&self, account: &Unlocked, before: &Before) -> Result<Rekeyed> {
        let total = self.records(account)?;
        Ok(Rekeyed {
            done: false,
            passed: before.passed().1.min(total),
            total,
        })
    }

    /// Every row is the newest of its record, and everything in it opens.
    fn check_all_open(&self, account: &Unlocked) -> Result<()> {
        let mut check = Check::default();
        while !check.done {
            self.check_slice(account, &mut check)?;
        }
        if check.is_clean() {
            return Ok(());
        }
        let refused = Error::new(
            Kind::RolledBack,
            "some keys are missing, older or not akm's",
        )
        .with_hint("run akm doctor; nothing was changed");
        if check.unreadable.is_empty() {
            return Err(refused);
        }
        // Again, for what is wrong with the first of them.
        let mut after = None;
        loop {
            let _quiet = self.quiet(account);
            let rows = self
                .store
                .rows_page(account.id(), after.as_ref(), MAX_SLICE)?;
            for row in &rows {
                self.open_whole(account, None, row)?;
            }
            match rows.last() {
                Some(last) => after = Some(last.head.id),
                None => return Err(refused),
            }
        }
    }

    /// Opens everything of a record: what is known of it, its secret, and those before.
    pub(super) fn open_whole(
        &self,
        account: &Unlocked,
        before: Option<&Before>,
        row: &KeyRow,
    ) -> Result<Whole> {
        let (record, key) = self.open_head(account, before, &row.head)?;
        if !rests_rightly(account, before, &record, &row.head) {
            return Err(Error::corrupt("a key rests under the tag of another name"));
        }
        let opened = OpenedKey {
            record,
            key,
            changes: self.store.changes(),
            row: row.clone(),
        };
        let (ad, blob) = self.current_secret(account, &opened);
        let secret = crypto::open_padded(&opened.key, &ad, blob)?;
        let mut history = Vec::new();
        for old in self.history(account, &opened)? {
            let destinations = self.open_old(account, &opened, &old)?.destinations;
            let open = |ad: Ad, blob: &[u8]| {
                let plain = crypto::open_padded(&opened.key, &ad, blob)?;
                Ok::<_, Error>((ad, plain))
            };
            let id = &row.head.id;
            history.push(OldWhole {
                version: old.version,
                meta: open(self.old_ad(account, id, old.version), &old.meta)?,
                secret: open(
                    self.secret_ad(account, id, old.version, &destinations),
                    &old.secret,
                )?,
            });
        }
        Ok(Whole {
            opened,
            secret,
            history,
        })
    }

    /// A record under a new key of its own and the new keys of the account; `None` if it is already.
    fn reseal(
        &self,
        account: &Unlocked,
        before: &Before,
        row: &KeyRow,
    ) -> Result<Option<ResealedKey>> {
        match self.open_head(account, None, &row.head) {
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == Kind::Corrupt => {}
            Err(error) => return Err(error),
        }
        let Whole {
            opened,
            secret,
            history,
        } = self.open_whole(account, Some(before), row)?;
        let random = &*self.host.random;
        let seal = |key: &LockedKey, ad: &Ad, plain: &[u8]| {
            crypto::seal_padded(random, key, ad, plain, SECRET_BUCKET)
        };
        let key = LockedKey::generate(random);
        let id = &row.head.id;
        let (ad, _) = self.current_secret(account, &opened);
        let version = row.head.meta_version;
        let next = version
            .checked_add(1)
            .ok_or(Error::internal("a record's version overflows"))?;
        let wrapped = self.wrap_record_key(account, id, &key)?;
        let row = KeyRow {
            head: self.seal_head(account, &opened.record, &key, wrapped, next)?,
            secret: seal(&key, &ad, &secret)?,
        };
        let history = history
            .into_iter()
            .map(|old| {
                Ok(HistoryRow {
                    version: old.version,
                    meta: seal(&key, &old.meta.0, &old.meta.1)?,
                    secret: seal(&key, &old.secret.0, &old.secret.1)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Some(ResealedKey {
            row,
            from_meta_version: version,
            history,
            test: self.renewed_test(account, before, id)?,
        }))
    }

    fn before_ad(&self, account: &Id) -> Ad {
        Ad::new(Field::VaultKeyBefore)
            .vault(&self.store.vault_id())
            .account(account)
    }
}
