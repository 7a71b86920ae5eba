//! Keys: how a record is sealed, found, changed and taken apart.
//!
//! A record has a random key of its own, wrapped by the vault key. Under it rest one padded blob of
//! metadata and one of the secret. What stands in clear beside them (tags, status, versions) is compared
//! with the sealed copy at every opening, so moving a blob or a tag between rows is `corrupt`. The secret
//! is bound to the destinations it was stored with: a changed file or catalogue never re-points a key.
//!
//! Every function takes [`Unlocked`]: without an account's keys there is nothing to call.

use crate::crypto::Ad;
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::{KeyName, ProviderId};
use crate::protocol::KeyStatus;
use crate::secret::Secret;
use crate::store::{BeforeCommit, HistoryRow, Id, KeyHead, KeyRow, Tag};

use super::ready::Terms;
use super::rekey::Before;
use super::sealed::{name_tag, open_secret_blob, preview, provider_tag, rests_rightly};
use super::{Unlocked, Vault};

/// Most rows looked at in one call when a filter passes few: then the page is short and has a cursor.
const MAX_SCAN: usize = 10_000;
/// Most rows opened at a time when a filter has to look inside.
const SCAN: u32 = 256;

/// What is stored for a new key. The service has checked every field.
pub struct NewKey {
    /// Its name.
    pub name: KeyName,
    /// Its plaintext.
    pub secret: Secret,
    /// The model it is meant for.
    pub model: Option<String>,
    /// The owner's categories.
    pub categories: Vec<String>,
    /// Free text.
    pub notes: Option<String>,
    /// Unix milliseconds after which it is not handed out.
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
    /// Where the secret may be sent, in the provider room's encoding.
    pub destinations: Vec<u8>,
}

/// New keys in their sealed form, on their way into the store.
#[derive(Default)]
pub struct SealedKeys {
    rows: Vec<KeyRow>,
    records: Vec<Record>,
}

impl SealedKeys {
    /// What is known of them, in the order in which they were sealed.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

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
    /// Stores new keys, all or none.
    pub fn add_keys(
        &self,
        account: &Unlocked,
        keys: &[NewKey],
        limit: Option<u64>,
        audit: &mut dyn FnMut(&[Record]) -> Result<()>,
    ) -> Result<Vec<Record>> {
        let mut sealed = SealedKeys::default();
        for new in keys {
            self.seal_key(account, new, KeyStatus::Active, &mut sealed)?;
        }
        self.add_sealed_keys(account, &sealed, limit, audit)?;
        Ok(sealed.records)
    }

    /// Seals a new key beside others; nothing is stored yet.
    pub fn seal_key(
        &self,
        account: &Unlocked,
        new: &NewKey,
        status: KeyStatus,
        beside: &mut SealedKeys,
    ) -> Result<()> {
        let now = self.now_ms();
        let record = Record {
            id: self.new_id(),
            name: new.name.clone(),
            model: new.model.clone(),
            categories: new.categories.clone(),
            notes: new.notes.clone(),
            expires_at: new.expires_at,
            env: new.env.clone(),
            low_balance: new.low_balance.clone(),
            team: new.team.clone(),
            lifetime_s: new.lifetime_s,
            use_only: new.use_only,
            confirm: new.confirm,
            base_url: new.base_url.clone(),
            destinations: new.destinations.clone(),
            status,
            preview: preview(&new.secret),
            secret_version: 1,
            created_at: now,
            updated_at: now,
            secret_at: now,
            last_used_at: None,
        };
        let random = &*self.host.random;
        let key = LockedKey::generate(random);
        let wrapped = self.wrap_record_key(account, &record.id, &key)?;
        let secret = self.seal_secret(account, &record, &key, &new.secret)?;
        beside.rows.push(KeyRow {
            head: self.seal_head(account, &record, &key, wrapped, 1)?,
            secret,
        });
        beside.records.push(record);
        Ok(())
    }

    /// Stores keys that were sealed, all or none.
    pub fn add_sealed_keys(
        &self,
        account: &Unlocked,
        sealed: &SealedKeys,
        limit: Option<u64>,
        audit: &mut dyn FnMut(&[Record]) -> Result<()>,
    ) -> Result<()> {
        let mut edit = self.edit(account)?;
        for row in &sealed.rows {
            edit.put(&row.head.id, None, Some(row))?;
        }
        let free = sealed
            .records
            .iter()
            .try_for_each(|record| self.check_free_before(account, &record.name, None));
        let stored = free.and_then(|()| {
            edit.commit(|tree| {
                self.store
                    .insert_keys(&sealed.rows, limit, tree, &mut || audit(&sealed.records))
            })
        });
        stored.map_err(|error| match error.kind() {
            Kind::Conflict => Error::new(Kind::Conflict, "a key with this name exists already")
                .with_field("name")
                .with_hint("run akm rotate to replace its secret"),
            _ => error,
        })
    }

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

    /// Among the records that a rekey has not come to yet none but `own` may have this name: the store compares tags
    /// under one key only. Asked under an edit.
    fn check_free_before(
        &self,
        account: &Unlocked,
        name: &KeyName,
        own: Option<&Id>,
    ) -> Result<()> {
        let Some(before) = account.shared.before() else {
            return Ok(());
        };
        let tag = name_tag(&before.index_key, name);
        match self.store.key_by_tag(account.id(), &tag)? {
            Some(row) if own != Some(&row.head.id) => Err(Error::new(
                Kind::Conflict,
                "a key of this name exists already",
            )),
            _ => Ok(()),
        }
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

    /// Writes `changed` in place of an opened record; with `secret`, as a new version, the old one kept.
    ///
    /// New destinations without a new secret are refused: the stored secret is bound to the old ones.
    pub fn update_key(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        mut changed: Record,
        secret: Option<&Secret>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Record> {
        let OpenedKey {
            record: before,
            key,
            row,
            ..
        } = opened;
        let overflow = Error::internal("a record's version overflows");
        let meta_version = row
            .head
            .meta_version
            .checked_add(1)
            .ok_or(overflow.clone())?;
        changed.updated_at = self.now_ms();
        let (secret, history) = match secret {
            None if changed.destinations != before.destinations => {
                return Err(Error::internal("new destinations without the secret"));
            }
            None => (row.secret.clone(), None),
            Some(secret) => {
                changed.secret_version = before.secret_version.checked_add(1).ok_or(overflow)?;
                changed.secret_at = changed.updated_at;
                changed.preview = preview(secret);
                let meta = self.seal_old(account, opened, changed.updated_at)?;
                let history = HistoryRow {
                    version: before.secret_version,
                    meta,
                    secret: row.secret.clone(),
                };
                (
                    self.seal_secret(account, &changed, key, secret)?,
                    Some(history),
                )
            }
        };
        let head = self.seal_head(
            account,
            &changed,
            key,
            row.head.wrapped_key.clone(),
            meta_version,
        )?;
        let new_row = KeyRow { head, secret };
        let mut edit = self.edit(account)?;
        // It was the newest when it was read.
        edit.put(&row.head.id, Some(row), Some(&new_row))
            .map_err(meanwhile)?;
        let free = self.check_free_before(account, &changed.name, Some(&row.head.id));
        let stored = free.and_then(|()| {
            edit.commit(|tree| {
                self.store.update_key(
                    &new_row,
                    row.head.meta_version,
                    history.as_ref(),
                    tree,
                    before_commit,
                )
            })
        });
        stored.map_err(|error| match error.kind() {
            Kind::Conflict if changed.name != before.name => {
                Error::new(Kind::Conflict, "a key with the new name exists already")
                    .with_field("new_name")
            }
            Kind::Conflict => changed_meanwhile(),
            _ => error,
        })?;
        Ok(changed)
    }

    /// Removes a key and its history.
    pub fn remove_key(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let row = &opened.row;
        let mut edit = self.edit(account)?;
        edit.put(&row.head.id, Some(row), None).map_err(meanwhile)?;
        let removed = edit.commit(|tree| {
            self.store.remove_key(
                account.id(),
                &row.head.id,
                row.head.meta_version,
                tree,
                before_commit,
            )
        });
        removed.map_err(|error| {
            if error.kind() == Kind::Conflict {
                changed_meanwhile()
            } else {
                error
            }
        })
    }

    /// Up to `limit` records that pass `keep`, in the order of their ids after `after`, and the cursor of the next
    /// page if there may be one.
    pub fn list_keys(
        &self,
        account: &Unlocked,
        provider: Option<&ProviderId>,
        after: Option<Id>,
        limit: u32,
        keep: &dyn Fn(&Record) -> bool,
    ) -> Result<(Vec<Record>, Option<Id>)> {
        let mut records = Vec::new();
        let mut cursor = after;
        let mut seen = 0;
        let size = limit.clamp(16, SCAN);
        loop {
            let before = account.shared.before();
            let before = before.as_deref();
            let provider_tag = match (provider, before) {
                (Some(provider), None) => Some(provider_tag(&account.index_key, provider)),
                // Rows of one provider stand under two tags.
                _ => None,
            };
            let page = self.newest_page(
                account,
                before,
                provider_tag.as_ref(),
                cursor.as_ref(),
                size,
            )?;
            let last_page = page.len() < size as usize;
            let count = page.len();
            for (index, head) in page.iter().enumerate() {
                let (record, _) = self.open_head(account, before, head)?;
                // The wanted provider is compared with what is sealed, not with the column that was searched.
                if !rests_rightly(account, before, &record, head) {
                    return Err(Error::corrupt("a key rests under the tag of another name"));
                }
                cursor = Some(head.id);
                let wanted = provider.is_none_or(|provider| record.name.provider() == provider);
                if wanted && keep(&record) {
                    records.push(record);
                    if records.len() == limit as usize {
                        let more = index + 1 < count || !last_page;
                        return Ok((records, cursor.filter(|_| more)));
                    }
                }
            }
            if last_page {
                return Ok((records, None));
            }
            seen += count;
            if seen >= MAX_SCAN {
                return Ok((records, cursor));
            }
        }
    }
}

impl Vault {
    /// A page of heads, each the newest version of its record.
    fn newest_page(
        &self,
        account: &Unlocked,
        before: Option<&Before>,
        provider_tag: Option<&Tag>,
        after: Option<&Id>,
        limit: u32,
    ) -> Result<Vec<KeyHead>> {
        let read = || {
            self.store
                .keys_page(account.id(), provider_tag, after, limit)
        };
        let older = |page: &[KeyHead]| -> Result<Option<usize>> {
            for (index, head) in page.iter().enumerate() {
                if !self.is_newest_head(account, head)? {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        };
        let page = read()?;
        if older(&page)?.is_none() {
            return Ok(page);
        }
        let _quiet = self.quiet(account);
        let page = read()?;
        match older(&page)? {
            None => Ok(page),
            Some(index) => {
                // What was never this account's is damage, not an older version.
                self.open_head(account, before, &page[index])?;
                Err(put_back())
            }
        }
    }
}

fn put_back() -> Error {
    Error::new(
        Kind::RolledBack,
        "a key is an older version of itself than the vault had",
    )
    .with_hint("run akm doctor")
}

/// What was the newest when it was read and is not any more.
fn meanwhile(error: Error) -> Error {
    match error.kind() {
        Kind::RolledBack => changed_meanwhile(),
        _ => error,
    }
}

fn changed_meanwhile() -> Error {
    Error::new(Kind::Conflict, "the key was changed meanwhile").with_hint("try again")
}
