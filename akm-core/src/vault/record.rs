//! Keys: what is known of one, how it is found, and how its secrets are opened.
//!
//! A record has a random key of its own, wrapped by the vault key. Under it rest one padded blob of
//! metadata and one of the secret. What stands in clear beside them (tags, status, versions) is compared
//! with the sealed copy at every opening, so moving a blob or a tag between rows is `corrupt`. The secret
//! is bound to the destinations it was stored with: a changed file or catalogue never re-points a key.
//!
//! Every function takes [`Unlocked`]: without an account's keys there is nothing to call. Changes are made in `change`,
//! pages in `list`.

use crate::crypto::Ad;
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::KeyName;
use crate::protocol::KeyStatus;
use crate::secret::Secret;
use crate::store::{HistoryRow, Id, KeyRow, Tag};

use super::ready::Terms;
use super::sealed::{name_tag, open_secret_blob};
use super::{Unlocked, Vault};

mod change;
mod list;

pub use change::{NewKey, SealedKeys, is_overtaken};
pub use list::Damage;

/// A key's metadata, opened and authenticated.
#[derive(Clone)]
pub struct Record {
    /// Record id.
    pub id: Id,
    /// Its name.
    pub name: KeyName,
    /// The model it is meant for.
    pub model: Option<String>,
    /// The owner's categories.
    pub categories: Vec<String>,
    /// Free text.
    pub notes: Option<String>,
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
    /// The variable `akm run` sets.
    pub env: Option<String>,
    /// Below which balance its owner wants to know.
    pub low_balance: Option<String>,
    /// The id of the owner's team or account at the provider.
    pub team: Option<String>,
    /// Seconds after which a session does not hand it out any more.
    pub lifetime_s: Option<u64>,
    /// Whether it is only ever used.
    pub use_only: bool,
    /// Whether a person is asked each time it is handed out.
    pub confirm: bool,
    /// Where the provider is reached, if not at its standard address.
    pub base_url: Option<String>,
    /// Where the secret may be sent.
    pub destinations: Vec<u8>,
    /// As set by its owner; `expired` is derived by whoever asks.
    pub status: KeyStatus,
    /// First and last characters.
    pub preview: String,
    /// Version of the secret.
    pub secret_version: u64,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds.
    pub updated_at: i64,
    /// When the current secret was stored, Unix milliseconds.
    pub secret_at: i64,
    /// Unix milliseconds, from the row: unauthenticated.
    pub last_used_at: Option<i64>,
}

/// A record with the means to open its secret. Lives for one operation.
pub struct OpenedKey {
    /// The metadata.
    pub record: Record,
    pub(super) key: LockedKey,
    /// [`crate::store::Store::changes`] before the row was read.
    pub(super) changes: u64,
    pub(super) row: KeyRow,
}

impl Record {
    /// Whether it may be handed out.
    pub fn terms(&self) -> Terms {
        Terms {
            id: self.id,
            status: self.status,
            expires_at: self.expires_at,
            lifetime_s: self.lifetime_s,
            use_only: self.use_only,
            confirm: self.confirm,
            secret_version: self.secret_version,
        }
    }
}

impl OpenedKey {
    /// The tag it was found under.
    pub(super) fn tag(&self) -> &Tag {
        &self.row.head.tag
    }
}

/// A replaced secret's description.
pub struct OldVersion {
    /// Its number.
    pub version: u64,
    /// First and last characters.
    pub preview: String,
    /// When it was stored, Unix milliseconds.
    pub created_at: i64,
    /// When it was replaced, Unix milliseconds.
    pub replaced_at: i64,
    /// Where it could be sent.
    pub(super) destinations: Vec<u8>,
}

impl Vault {
    /// How many keys the account has.
    pub fn count_keys(&self, account: &Unlocked) -> Result<u64> {
        self.store.key_count(account.id())
    }

    /// Finds a key by name: one indexed read. `None` if there is none; `rolled_back` if what is there is not the newest
    /// version of the record.
    pub fn find_key(&self, account: &Unlocked, name: &KeyName) -> Result<Option<OpenedKey>> {
        let rekeying = account.shared.before().is_some();
        match self.read_key(account, name)? {
            Some(opened) if self.is_newest(account, &opened.row)? => return Ok(Some(opened)),
            None if !rekeying => return Ok(None),
            _ => {}
        }
        // A change of this very moment may have come between the row and the tree, or between the two tags.
        let _quiet = self.quiet(account);
        match self.read_key(account, name)? {
            Some(opened) if !self.is_newest(account, &opened.row)? => Err(put_back()),
            found => Ok(found),
        }
    }

    fn read_key(&self, account: &Unlocked, name: &KeyName) -> Result<Option<OpenedKey>> {
        let before = account.shared.before();
        let changes = self.store.changes();
        let by = |index_key| {
            let tag = name_tag(index_key, name);
            self.store.key_by_tag(account.id(), &tag)
        };
        let row = match (by(&account.index_key)?, &before) {
            (None, Some(before)) => by(&before.index_key)?,
            (row, _) => row,
        };
        let Some(row) = row else {
            return Ok(None);
        };
        let (record, key) = self.open_head(account, before.as_deref(), &row.head)?;
        if record.name != *name {
            return Err(Error::corrupt("a key rests under the tag of another name"));
        }
        Ok(Some(OpenedKey {
            record,
            key,
            changes,
            row,
        }))
    }

    /// Opens the secret of a key.
    pub fn open_secret(&self, account: &Unlocked, opened: &OpenedKey) -> Result<Secret> {
        let (ad, blob) = self.current_secret(account, opened);
        open_secret_blob(&opened.key, &ad, blob)
    }

    /// The sealed secret of a key, and what it is bound to.
    pub(super) fn current_secret<'a>(
        &self,
        account: &Unlocked,
        opened: &'a OpenedKey,
    ) -> (Ad, &'a [u8]) {
        let Record {
            id,
            secret_version,
            destinations,
            ..
        } = &opened.record;
        let ad = self.secret_ad(account, id, *secret_version, destinations);
        (ad, &opened.row.secret)
    }

    /// Opens a replaced secret. `None` if there is no such version.
    pub fn open_old_secret(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        version: u64,
    ) -> Result<Option<Secret>> {
        let rows = self.history(account, opened)?;
        let Some(row) = rows.iter().find(|row| row.version == version) else {
            return Ok(None);
        };
        let old = self.open_old(account, opened, row)?;
        let ad = self.secret_ad(account, &opened.record.id, version, &old.destinations);
        open_secret_blob(&opened.key, &ad, &row.secret).map(Some)
    }

    /// The replaced secrets of a key, newest first.
    pub fn old_versions(&self, account: &Unlocked, opened: &OpenedKey) -> Result<Vec<OldVersion>> {
        let rows = self.history(account, opened)?;
        rows.iter()
            .map(|row| self.open_old(account, opened, row))
            .collect()
    }

    /// The rows of the replaced secrets: every version before the current one, and no other.
    pub(super) fn history(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
    ) -> Result<Vec<HistoryRow>> {
        let rows = self.store.history(account.id(), &opened.record.id)?;
        let versions = rows.iter().map(|row| row.version);
        if !versions.eq((1..opened.record.secret_version).rev()) {
            return Err(Error::new(
                Kind::RolledBack,
                "the old versions of the key are not all there, or too many",
            ));
        }
        Ok(rows)
    }
}

fn put_back() -> Error {
    Error::new(
        Kind::RolledBack,
        "a key is an older version of itself than the vault had",
    )
    .with_hint("run akm doctor")
}
