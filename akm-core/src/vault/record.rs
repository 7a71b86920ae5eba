//! Keys: how a record is sealed, found, changed and taken apart.
//!
//! A record has a random key of its own, wrapped by the vault key. Under it rest one padded blob of
//! metadata and one of the secret. What stands in clear beside them (tags, status, versions) is compared
//! with the sealed copy at every opening, so moving a blob or a tag between rows is `corrupt`. The secret
//! is bound to the destinations it was stored with: a changed file or catalogue never re-points a key.
//!
//! Every function takes [`Unlocked`]: without an account's keys there is nothing to call.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::{KeyName, ProviderId};
use crate::protocol::KeyStatus;
use crate::secret::Secret;
use crate::store::{BeforeCommit, HistoryRow, Id, KeyHead, KeyRow, Tag};

use super::{Unlocked, Vault};

const META_VERSION: u8 = 1;
const META_BUCKET: usize = 512;
const SECRET_BUCKET: usize = 128;
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
    /// Whether it is only ever used.
    pub use_only: bool,
    /// Where the provider is reached, if not at its standard address.
    pub base_url: Option<String>,
    /// Where the secret may be sent, in the provider room's encoding.
    pub destinations: Vec<u8>,
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
    /// Whether it is only ever used.
    pub use_only: bool,
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
    key: LockedKey,
    row: KeyRow,
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
}

/// The sealed form of a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    format: u8,
    provider: String,
    label: String,
    model: Option<String>,
    categories: Vec<String>,
    notes: Option<String>,
    expires_at: Option<i64>,
    env: Option<String>,
    use_only: bool,
    base_url: Option<String>,
    destinations: Vec<u8>,
    status: KeyStatus,
    preview: String,
    secret_version: u64,
    created_at: i64,
    updated_at: i64,
    secret_at: i64,
}

impl Drop for Meta {
    fn drop(&mut self) {
        self.notes.zeroize();
    }
}

/// The sealed description of a replaced secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OldMeta {
    format: u8,
    preview: String,
    destinations: Vec<u8>,
    created_at: i64,
    replaced_at: i64,
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
        let mut rows = Vec::with_capacity(keys.len());
        let mut records = Vec::with_capacity(keys.len());
        for new in keys {
            let now = self.now_ms();
            let record = Record {
                id: self.new_id(),
                name: new.name.clone(),
                model: new.model.clone(),
                categories: new.categories.clone(),
                notes: new.notes.clone(),
                expires_at: new.expires_at,
                env: new.env.clone(),
                use_only: new.use_only,
                base_url: new.base_url.clone(),
                destinations: new.destinations.clone(),
                status: KeyStatus::Active,
                preview: preview(&new.secret),
                secret_version: 1,
                created_at: now,
                updated_at: now,
                secret_at: now,
                last_used_at: None,
            };
            let random = &*self.host.random;
            let key = LockedKey::generate(random);
            let wrapped = crypto::wrap(
                random,
                &account.vault_key,
                &self.record_ad(account, &record.id),
                &key,
            )?;
            let secret = self.seal_secret(account, &record, &key, &new.secret)?;
            rows.push(KeyRow {
                head: self.seal_head(account, &record, &key, wrapped, 1)?,
                secret,
            });
            records.push(record);
        }
        self.store
            .insert_keys(&rows, limit, &mut || audit(&records))
            .map_err(|error| match error.kind() {
                Kind::Conflict => Error::new(Kind::Conflict, "a key with this name exists already")
                    .with_field("name")
                    .with_hint("run akm rotate to replace its secret"),
                _ => error,
            })?;
        Ok(records)
    }

    /// Finds a key by name: one indexed read. `None` if there is none.
    pub fn find_key(&self, account: &Unlocked, name: &KeyName) -> Result<Option<OpenedKey>> {
        let Some(row) = self
            .store
            .key_by_tag(account.id(), &name_tag(account, name))?
        else {
            return Ok(None);
        };
        let (record, key) = self.open_head(account, &row.head)?;
        if record.name != *name {
            return Err(Error::corrupt("a key rests under the tag of another name"));
        }
        Ok(Some(OpenedKey { record, key, row }))
    }

    /// Opens the secret of a key.
    pub fn open_secret(&self, account: &Unlocked, opened: &OpenedKey) -> Result<Secret> {
        let OpenedKey { record, key, row } = opened;
        let ad = self.secret_ad(
            account,
            &record.id,
            record.secret_version,
            &record.destinations,
        );
        text(crypto::open_padded(key, &ad, &row.secret)?)
    }

    /// Opens a replaced secret. `None` if there is no such version.
    pub fn open_old_secret(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        version: u64,
    ) -> Result<Option<Secret>> {
        let rows = self.store.history(account.id(), &opened.record.id)?;
        let Some(row) = rows.iter().find(|row| row.version == version) else {
            return Ok(None);
        };
        let old = self.open_old(account, opened, row)?;
        let ad = self.secret_ad(account, &opened.record.id, version, &old.destinations);
        text(crypto::open_padded(&opened.key, &ad, &row.secret)?).map(Some)
    }

    /// The replaced secrets of a key, newest first.
    pub fn old_versions(&self, account: &Unlocked, opened: &OpenedKey) -> Result<Vec<OldVersion>> {
        let rows = self.store.history(account.id(), &opened.record.id)?;
        rows.iter()
            .map(|row| {
                let OldMeta {
                    format: _,
                    preview,
                    destinations: _,
                    created_at,
                    replaced_at,
                } = self.open_old(account, opened, row)?;
                Ok(OldVersion {
                    version: row.version,
                    preview,
                    created_at,
                    replaced_at,
                })
            })
            .collect()
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
                let old = OldMeta {
                    format: META_VERSION,
                    preview: before.preview.clone(),
                    destinations: before.destinations.clone(),
                    created_at: before.secret_at,
                    replaced_at: changed.updated_at,
                };
                let plain = Zeroizing::new(crate::protocol::encode(&old)?);
                let ad = self.old_ad(account, &before.id, before.secret_version);
                let meta =
                    crypto::seal_padded(&*self.host.random, key, &ad, &plain, SECRET_BUCKET)?;
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
        self.store
            .update_key(
                &new_row,
                row.head.meta_version,
                history.as_ref(),
                before_commit,
            )
            .map_err(|error| match error.kind() {
                Kind::Conflict if new_row.head.tag != row.head.tag => {
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
        self.store
            .remove_key(
                account.id(),
                &opened.record.id,
                opened.row.head.meta_version,
                before_commit,
            )
            .map_err(|error| {
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
        let provider_tag = provider.map(|provider| provider_tag(account, provider));
        let mut records = Vec::new();
        let mut cursor = after;
        let size = limit.clamp(16, SCAN);
        loop {
            let page =
                self.store
                    .keys_page(account.id(), provider_tag.as_ref(), cursor.as_ref(), size)?;
            let last_page = page.len() < size as usize;
            let count = page.len();
            for (index, head) in page.iter().enumerate() {
                let (record, _) = self.open_head(account, head)?;
                if name_tag(account, &record.name) != head.tag
                    || provider_tag.is_some_and(|tag| tag != head.provider_tag)
                {
                    return Err(Error::corrupt("a key rests under the tag of another name"));
                }
                cursor = Some(head.id);
                if keep(&record) {
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
        }
    }

    fn open_head(&self, account: &Unlocked, head: &KeyHead) -> Result<(Record, LockedKey)> {
        let key = crypto::unwrap(
            &account.vault_key,
            &self.record_ad(account, &head.id),
            &head.wrapped_key,
        )?;
        let ad = self.meta_ad(account, &head.id, head.meta_version);
        let plain = crypto::open_padded(&key, &ad, &head.meta)?;
        let mut meta: Meta = serde_json::from_slice(&plain)
            .map_err(|_| Error::corrupt("a record's metadata has an unknown shape"))?;
        if meta.format != META_VERSION {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "a record's metadata has an unknown version",
            ));
        }
        if status_code(meta.status) != Some(head.status)
            || meta.secret_version != head.secret_version
        {
            return Err(Error::corrupt(
                "a record's clear columns do not fit its sealed metadata",
            ));
        }
        let name = KeyName::parse(&format!("{}/{}", meta.provider, meta.label), "name")
            .map_err(|_| Error::corrupt("a record's name is not one"))?;
        let record = Record {
            id: head.id,
            name,
            model: meta.model.take(),
            categories: std::mem::take(&mut meta.categories),
            notes: meta.notes.take(),
            expires_at: meta.expires_at,
            env: meta.env.take(),
            use_only: meta.use_only,
            base_url: meta.base_url.take(),
            destinations: std::mem::take(&mut meta.destinations),
            status: meta.status,
            preview: std::mem::take(&mut meta.preview),
            secret_version: meta.secret_version,
            created_at: meta.created_at,
            updated_at: meta.updated_at,
            secret_at: meta.secret_at,
            last_used_at: head.last_used_at,
        };
        Ok((record, key))
    }

    fn seal_head(
        &self,
        account: &Unlocked,
        record: &Record,
        key: &LockedKey,
        wrapped_key: Vec<u8>,
        meta_version: u64,
    ) -> Result<KeyHead> {
        let meta = Meta {
            format: META_VERSION,
            provider: record.name.provider().as_str().to_owned(),
            label: record.name.label().to_owned(),
            model: record.model.clone(),
            categories: record.categories.clone(),
            notes: record.notes.clone(),
            expires_at: record.expires_at,
            env: record.env.clone(),
            use_only: record.use_only,
            base_url: record.base_url.clone(),
            destinations: record.destinations.clone(),
            status: record.status,
            preview: record.preview.clone(),
            secret_version: record.secret_version,
            created_at: record.created_at,
            updated_at: record.updated_at,
            secret_at: record.secret_at,
        };
        let plain = Zeroizing::new(crate::protocol::encode(&meta)?);
        let ad = self.meta_ad(account, &record.id, meta_version);
        Ok(KeyHead {
            id: record.id,
            account: *account.id(),
            tag: name_tag(account, &record.name),
            provider_tag: provider_tag(account, record.name.provider()),
            status: status_code(record.status)
                .ok_or(Error::internal("a derived status is stored"))?,
            secret_version: record.secret_version,
            meta_version,
            wrapped_key,
            meta: crypto::seal_padded(&*self.host.random, key, &ad, &plain, META_BUCKET)?,
            last_used_at: record.last_used_at,
        })
    }

    fn seal_secret(
        &self,
        account: &Unlocked,
        record: &Record,
        key: &LockedKey,
        secret: &Secret,
    ) -> Result<Vec<u8>> {
        let ad = self.secret_ad(
            account,
            &record.id,
            record.secret_version,
            &record.destinations,
        );
        crypto::seal_padded(
            &*self.host.random,
            key,
            &ad,
            secret.expose().as_bytes(),
            SECRET_BUCKET,
        )
    }

    fn open_old(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        row: &HistoryRow,
    ) -> Result<OldMeta> {
        let ad = self.old_ad(account, &opened.record.id, row.version);
        let plain = crypto::open_padded(&opened.key, &ad, &row.meta)?;
        let old: OldMeta = serde_json::from_slice(&plain)
            .map_err(|_| Error::corrupt("an old version has an unknown shape"))?;
        if old.format != META_VERSION {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "an old version has an unknown format",
            ));
        }
        Ok(old)
    }

    fn record_ad(&self, account: &Unlocked, id: &Id) -> Ad {
        Ad::new(Field::RecordKey)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
    }

    fn meta_ad(&self, account: &Unlocked, id: &Id, version: u64) -> Ad {
        Ad::new(Field::Meta)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
            .version(version)
    }

    fn old_ad(&self, account: &Unlocked, id: &Id, version: u64) -> Ad {
        Ad::new(Field::HistoryMeta)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
            .version(version)
    }

    fn secret_ad(&self, account: &Unlocked, id: &Id, version: u64, destinations: &[u8]) -> Ad {
        Ad::new(Field::Secret)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
            .version(version)
            .destinations(&crypto::hash(&[b"destinations", destinations]))
    }
}

fn name_tag(account: &Unlocked, name: &KeyName) -> Tag {
    crypto::tag(
        &account.index_key,
        &[
            b"name",
            name.provider().as_str().as_bytes(),
            name.label().as_bytes(),
        ],
    )
}

fn provider_tag(account: &Unlocked, provider: &ProviderId) -> Tag {
    crypto::tag(
        &account.index_key,
        &[b"provider", provider.as_str().as_bytes()],
    )
}

/// The clear column of a stored status; `expired` is never stored.
fn status_code(status: KeyStatus) -> Option<u8> {
    match status {
        KeyStatus::Active => Some(1),
        KeyStatus::Disabled => Some(2),
        KeyStatus::Burned => Some(3),
        KeyStatus::Expired => None,
    }
}

fn text(mut plain: Zeroizing<Vec<u8>>) -> Result<Secret> {
    Secret::from_utf8(std::mem::take(&mut *plain)).ok_or(Error::corrupt("a secret is not text"))
}

fn changed_meanwhile() -> Error {
    Error::new(Kind::Conflict, "the key was changed meanwhile").with_hint("try again")
}

/// Enough to recognise a key, never enough to use it: four characters each side of a long secret.
fn preview(secret: &Secret) -> String {
    let text = secret.expose();
    // check_secret has made it ASCII, so bytes are characters.
    let shown = match text.len() {
        24.. => 4,
        16.. => 2,
        _ => 0,
    };
    match (text.get(..shown), text.get(text.len() - shown..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_show_little_of_much_and_nothing_of_little() {
        let shown = |text: &str| preview(&Secret::new(text.into()));
        assert_eq!(shown("sk-abcdefghijklmnopqrstuvwxyz"), "sk-a…wxyz");
        assert_eq!(shown("0123456789abcdef"), "01…ef");
        assert_eq!(shown("short"), "…");
    }
}
