//! Records that are added, changed and removed.
//!
//! Invariants: several new keys are stored in one transaction or none is, and what waits for it is sealed already; a change is
//! made of the record as it was read and refused where that is not the newest any more; a replaced secret is kept in the
//! transaction that replaces it. Whatever the service does before a commit (its events) fails the change if it fails.
//!
//! Deliberately absent: checking fields. The service has, before it comes here.

use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::KeyName;
use crate::protocol::KeyStatus;
use crate::secret::Secret;
use crate::store::{BeforeCommit, HistoryRow, Id, KeyRow, OVERTAKEN};
use crate::vault::sealed::{name_tag, preview};
use crate::vault::{Unlocked, Vault};

use super::{OpenedKey, Record};

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
            Kind::Conflict if is_overtaken(&error) => overtaken(),
            Kind::Conflict if changed.name != before.name => {
                Error::new(Kind::Conflict, "a key with the new name exists already")
                    .with_field("new_name")
            }
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
        removed.map_err(|error| match is_overtaken(&error) {
            true => overtaken(),
            false => error,
        })
    }
}

/// What was the newest when it was read and is not any more.
fn meanwhile(error: Error) -> Error {
    match error.kind() {
        Kind::RolledBack => overtaken(),
        _ => error,
    }
}

fn overtaken() -> Error {
    Error::new(Kind::Conflict, OVERTAKEN).with_hint("try again")
}

/// Whether a change failed because another one came between reading and writing.
pub fn is_overtaken(error: &Error) -> bool {
    error.literal() == Some(OVERTAKEN)
}
