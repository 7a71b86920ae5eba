//! The sealed form of a record: what is inside the blobs, under which associated data, and under which tags.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::{KeyName, ProviderId};
use crate::protocol::KeyStatus;
use crate::secret::Secret;
use crate::store::{HistoryRow, Id, KeyHead, Tag};

use super::record::{OldVersion, OpenedKey, Record};
use super::rekey::Before;
use super::{Unlocked, Vault};

const META_VERSION: u8 = 1;
const META_BUCKET: usize = 512;
pub(super) const SECRET_BUCKET: usize = 128;

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
    low_balance: Option<String>,
    team: Option<String>,
    lifetime_s: Option<u64>,
    use_only: bool,
    confirm: bool,
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
    pub(super) fn open_head(
        &self,
        account: &Unlocked,
        before: Option<&Before>,
        head: &KeyHead,
    ) -> Result<(Record, LockedKey)> {
        let ad = self.record_ad(account, &head.id);
        let key = match crypto::unwrap(&account.vault_key, &ad, &head.wrapped_key) {
            Err(error) if error.kind() == Kind::Corrupt => match before {
                Some(before) => crypto::unwrap(&before.vault_key, &ad, &head.wrapped_key)?,
                None => return Err(error),
            },
            key => key?,
        };
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
            low_balance: meta.low_balance.take(),
            team: meta.team.take(),
            lifetime_s: meta.lifetime_s,
            use_only: meta.use_only,
            confirm: meta.confirm,
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

    pub(super) fn seal_head(
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
            low_balance: record.low_balance.clone(),
            team: record.team.clone(),
            lifetime_s: record.lifetime_s,
            use_only: record.use_only,
            confirm: record.confirm,
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
            tag: name_tag(&account.index_key, &record.name),
            provider_tag: provider_tag(&account.index_key, record.name.provider()),
            status: status_code(record.status)
                .ok_or(Error::internal("a derived status is stored"))?,
            secret_version: record.secret_version,
            meta_version,
            wrapped_key,
            meta: crypto::seal_padded(&*self.host.random, key, &ad, &plain, META_BUCKET)?,
            last_used_at: record.last_used_at,
        })
    }

    pub(super) fn seal_secret(
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

    /// Wraps the record key of a new record.
    pub(super) fn wrap_record_key(
        &self,
        account: &Unlocked,
        id: &Id,
        key: &LockedKey,
    ) -> Result<Vec<u8>> {
        crypto::wrap(
            &*self.host.random,
            &account.vault_key,
            &self.record_ad(account, id),
            key,
        )
    }

    /// What stays known of a secret that is replaced now.
    pub(super) fn seal_old(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        replaced_at: i64,
    ) -> Result<Vec<u8>> {
        let record = &opened.record;
        let old = OldMeta {
            format: META_VERSION,
            preview: record.preview.clone(),
            destinations: record.destinations.clone(),
            created_at: record.secret_at,
            replaced_at,
        };
        let plain = Zeroizing::new(crate::protocol::encode(&old)?);
        let ad = self.old_ad(account, &record.id, record.secret_version);
        crypto::seal_padded(&*self.host.random, &opened.key, &ad, &plain, SECRET_BUCKET)
    }

    /// What is known of a replaced secret.
    pub(super) fn open_old(
        &self,
        account: &Unlocked,
        opened: &OpenedKey,
        row: &HistoryRow,
    ) -> Result<OldVersion> {
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
        let OldMeta {
            format: _,
            preview,
            destinations,
            created_at,
            replaced_at,
        } = old;
        Ok(OldVersion {
            version: row.version,
            preview,
            created_at,
            replaced_at,
            destinations,
        })
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

    pub(super) fn old_ad(&self, account: &Unlocked, id: &Id, version: u64) -> Ad {
        Ad::new(Field::HistoryMeta)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
            .version(version)
    }

    /// A secret, the current one or a replaced one, is bound to the destinations of its time.
    pub(super) fn secret_ad(
        &self,
        account: &Unlocked,
        id: &Id,
        version: u64,
        destinations: &[u8],
    ) -> Ad {
        Ad::new(Field::Secret)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
            .version(version)
            .destinations(&crypto::hash(&[b"destinations", destinations]))
    }
}

/// Opens a secret under the key of its record.
pub(super) fn open_secret_blob(key: &LockedKey, ad: &Ad, blob: &[u8]) -> Result<Secret> {
    let mut plain = crypto::open_padded(key, ad, blob)?;
    Secret::from_utf8(std::mem::take(&mut *plain)).ok_or(Error::corrupt("a secret is not text"))
}

/// Whether a row stands under the tags of what is sealed in it: those of now or, while a rekey is under way, before.
pub(super) fn rests_rightly(
    account: &Unlocked,
    before: Option<&Before>,
    record: &Record,
    head: &KeyHead,
) -> bool {
    let under = |key: &LockedKey| {
        name_tag(key, &record.name) == head.tag
            && provider_tag(key, record.name.provider()) == head.provider_tag
    };
    under(&account.index_key) || before.is_some_and(|before| under(&before.index_key))
}

/// The tag of a name under an index key.
pub(super) fn name_tag(index_key: &LockedKey, name: &KeyName) -> Tag {
    crypto::tag(
        index_key,
        &[
            b"name",
            name.provider().as_str().as_bytes(),
            name.label().as_bytes(),
        ],
    )
}

/// The tag of a provider under an index key.
pub(super) fn provider_tag(index_key: &LockedKey, provider: &ProviderId) -> Tag {
    crypto::tag(index_key, &[b"provider", provider.as_str().as_bytes()])
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

/// Enough to recognise a key, never enough to use it: four characters each side of a long secret.
pub(super) fn preview(secret: &Secret) -> String {
    let text = secret.expose();
    // check_secret has made it ASCII, so bytes are characters.
    let shown = match text.len() {
        20.. => 4,
        12.. => 2,
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
        for (length, expected) in [(11, "…"), (12, "xx…xx"), (19, "xx…xx"), (20, "xxxx…xxxx")]
        {
            assert_eq!(shown(&"x".repeat(length)), expected, "{length}");
        }
        // Nothing else than ASCII is stored; if it were, no character would be cut in two.
        assert_eq!(shown(&"€".repeat(7)), "…");
        assert_eq!(shown(&"ä".repeat(10)), "ää…ää");
    }
}
