//! Accounts: registering, what an unlocked one holds, and its sealed state.
//!
//! Signing in is next door (`sign_in`), so are new ways in (`ways`, `recovery`) and codes (`codes`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::AccountName;
use crate::secret::Secret;
use crate::store::{AccountRow, Id, ProfileChange, Tag};

use super::Vault;
use super::manifest::{Notice, Shared};
use super::ready::ReadyKeys;
use super::rules::Rules;
use super::slot::Passphrase;
use super::totp;

/// The keys sealed under the root key: version, audit key, exchange key, vault key, whose account it is.
const KEYS_VERSION: u8 = 1;
const KEYS_LEN: usize = 1 + 3 * 32 + 1;
/// The last byte: an account that its owner made here, or one of a hosted service, which has a tier. It stands with the
/// keys because nothing else at rest that a thief of the file can write is there from the first moment and never changes.
const LOCAL: u8 = 0;
const HOSTED: u8 = 1;
/// Sealed state is padded to this, so that its size does not tell whether there is a TOTP secret.
const PROFILE_BUCKET: usize = 256;

/// A device secret, held by whoever signed in with it until the account is locked.
pub type Device = Arc<LockedKey>;

/// One account's keys, while it is unlocked. Wiped when dropped.
pub struct Unlocked {
    id: Id,
    name: AccountName,
    /// The version of the sealed state it was opened with: every change of a credential moves it.
    pub(super) profile_version: u64,
    /// Whether a tier limits it.
    hosted: bool,
    /// What it was opened with beside the passphrase, for the steps that ask for that again.
    device: Option<Device>,
    pub(super) vault_key: LockedKey,
    pub(super) index_key: LockedKey,
    pub(super) ready: ReadyKeys,
    profile_key: LockedKey,
    audit_key: LockedKey,
    pub(super) manifest_key: LockedKey,
    /// What all sessions of the account share.
    pub(super) shared: Arc<Shared>,
    pub(super) notice: Notice,
}

impl Unlocked {
    /// The same keys for a look into a copy of the vault, which has a state of its own.
    pub(super) fn over(&self, copy: &Vault) -> Result<Unlocked> {
        Ok(Unlocked {
            id: self.id,
            name: self.name.clone(),
            hosted: self.hosted,
            profile_version: self.profile_version,
            vault_key: again(&self.vault_key)?,
            index_key: again(&self.index_key)?,
            ready: ReadyKeys::default(),
            profile_key: again(&self.profile_key)?,
            audit_key: again(&self.audit_key)?,
            manifest_key: again(&self.manifest_key)?,
            shared: copy.open.of(&self.id),
            notice: Notice::None,
            device: self.device.clone(),
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

    /// Whether it is an account of a hosted service, which a tier limits. The owner's own has no limits.
    pub fn hosted(&self) -> bool {
        self.hosted
    }

    /// What there is to say about the vault it was opened from.
    pub fn notice(&self) -> Notice {
        self.notice
    }

    /// Whether the recovery codes are void that its owner has, and nobody was given the new ones.
    pub fn codes_undelivered(&self) -> bool {
        self.shared.codes_undelivered()
    }

    /// The key of the account's audit chain.
    pub fn audit_key(&self) -> &LockedKey {
        &self.audit_key
    }

    /// Whether what is sealed for one is sealed for the other.
    pub fn has_keys_of(&self, other: &Unlocked) -> bool {
        crypto::equal(self.vault_key.expose(), other.vault_key.expose())
    }

    /// The device secret it was opened with, where the passphrase alone does not open it.
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }
}

/// A copy of a key, in locked memory as well.
pub(super) fn again(key: &LockedKey) -> Result<LockedKey> {
    LockedKey::build(|to| {
        to.copy_from_slice(key.expose());
        Ok(())
    })
}

/// What the root key opens, as far as it is used.
struct Keys {
    audit: LockedKey,
    vault: LockedKey,
    hosted: bool,
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

/// An account's sealed state.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// The binding TOTP secret.
    pub(super) totp: Option<Wiped>,
    /// A TOTP secret that waits for its first code.
    pub(super) pending: Option<Wiped>,
    /// Whether the passphrase opens the account only together with the device secret. Beside the slot, which says so
    /// in clear, so that a slot from before the device secret does not open the account any more.
    pub(super) device: bool,
    /// Whether nobody was given the recovery codes that stand: a rekey made them, and its answer may be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) codes_undelivered: bool,
    /// Who may have its keys.
    pub(super) rules: Rules,
}

/// Bytes inside sealed state, wiped when dropped.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Wiped(pub(super) Vec<u8>);

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

    /// Creates an account, of a hosted service where a `tier` is given, for which an invitation may be used up. `audit` runs
    /// with its keys before anything is stored.
    pub fn register(
        &self,
        account: &str,
        passphrase: &Secret,
        with_totp: bool,
        invitation: Option<&Tag>,
        tier: Option<&str>,
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
            None,
            &root,
            Keys {
                audit: LockedKey::generate(random),
                vault: LockedKey::generate(random),
                hosted: tier.is_some(),
            },
            self.open.of(&id),
        );

        let mut profile = Profile::default();
        let mut totp = None;
        if with_totp {
            let secret = totp::generate(random);
            totp = Some((totp::base32(&secret), totp::uri(&unlocked.name, &secret)));
            profile.pending = Some(Wiped(secret.to_vec()));
        }
        let mut row = AccountRow {
            id,
            name: unlocked.name.as_str().to_owned(),
            role: "user".to_owned(),
            tier: tier.unwrap_or("local").to_owned(),
            totp_active: false,
            totp_step: 0,
            keys: self.seal_keys(&unlocked, &exchange_key, &root)?,
            key_before: None,
            profile: self.seal_profile(&unlocked, 1, &profile)?,
            profile_version: 1,
            manifest: Vec::new(),
            created_at: self.now_ms(),
        };
        let (mut slots, codes) = self.recovery_slots(&id, &root)?;
        slots.insert(0, self.passphrase_slot(&id, &passphrase, None, &root)?);
        row.manifest = self.first_manifest(&unlocked, &row, &slots);
        let mut event = || audit(&unlocked);
        let created = match invitation {
            None => self.store.create_account(&row, &slots, &mut event),
            Some(tag) => self
                .store
                .create_invited_account(&row, &slots, tag, &mut event),
        };
        created.map_err(|error| {
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

    /// The same account under new keys; with it, what is stored of them. The audit key stays: the chain goes on.
    pub(super) fn renewed(
        &self,
        account: &Unlocked,
        root: &LockedKey,
    ) -> Result<(Unlocked, Vec<u8>)> {
        let random = &*self.host.random;
        // Nothing is sealed to it yet.
        let (exchange_key, _public) = crypto::x25519_pair(random);
        let renewed = unlocked(
            account.id,
            account.name.clone(),
            account.profile_version + 1,
            account.device.clone(),
            root,
            Keys {
                audit: again(&account.audit_key)?,
                vault: LockedKey::generate(random),
                hosted: account.hosted,
            },
            Arc::clone(&account.shared),
        );
        let keys = self.seal_keys(&renewed, &exchange_key, root)?;
        Ok((renewed, keys))
    }

    fn seal_keys(
        &self,
        account: &Unlocked,
        exchange_key: &LockedKey,
        root: &LockedKey,
    ) -> Result<Vec<u8>> {
        let mut keys = Zeroizing::new(Vec::with_capacity(KEYS_LEN));
        keys.push(KEYS_VERSION);
        for key in [&account.audit_key, exchange_key, &account.vault_key] {
            keys.extend_from_slice(key.expose());
        }
        keys.push(if account.hosted { HOSTED } else { LOCAL });
        crypto::seal(&*self.host.random, root, &self.keys_ad(&account.id), &keys)
    }

    pub(super) fn open_account(
        &self,
        row: &AccountRow,
        root: &LockedKey,
        device: Option<Device>,
    ) -> Result<Unlocked> {
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
            device,
            root,
            Keys {
                audit: part(0)?,
                vault: part(2)?,
                hosted: match keys[KEYS_LEN - 1] {
                    LOCAL => false,
                    HOSTED => true,
                    _ => return Err(Error::corrupt("the account is of an unknown sort")),
                },
            },
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

    pub(super) fn profile_change(
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

fn unlocked(
    id: Id,
    name: AccountName,
    profile_version: u64,
    device: Option<Device>,
    root: &LockedKey,
    keys: Keys,
    shared: Arc<Shared>,
) -> Unlocked {
    Unlocked {
        id,
        name,
        profile_version,
        hosted: keys.hosted,
        device,
        index_key: crypto::derive(&keys.vault, "index"),
        ready: ReadyKeys::default(),
        manifest_key: crypto::derive(&keys.vault, "manifest"),
        profile_key: crypto::derive(root, "profile"),
        vault_key: keys.vault,
        audit_key: keys.audit,
        shared,
        notice: Notice::None,
    }
}

fn taken() -> Error {
    Error::new(Kind::Conflict, "the account exists already")
        .with_field("account")
        .with_hint("run akm unlock")
}
