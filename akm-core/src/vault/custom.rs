//! Providers of an account's own: the text of a record, sealed under the vault key and found by its id.
//!
//! A row is bound to its account, its random id and (by comparison after opening) to the tag it rests under.
//! It is written once: a change is a removal and an addition, and neither touches a key, whose destinations
//! were sealed when it was added. What is in the text is the provider room's business.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::ProviderId;
use crate::store::{BeforeCommit, Id, ProviderRow, Tag};

use super::{Unlocked, Vault};

/// Most providers of its own that an account holds.
pub(crate) const MAX_PROVIDERS: u32 = 256;
const VERSION: u8 = 1;
const BUCKET: usize = 1024;

/// The sealed form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: u8,
    provider: String,
    record: String,
}

impl Vault {
    /// Stores a record under its id; `conflict` if there is one, `limit_reached` past `most` or past what any account holds.
    pub fn add_provider(
        &self,
        account: &Unlocked,
        provider: &ProviderId,
        record: &str,
        most: u32,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let row = self.seal_provider(account, self.new_id(), provider, record)?;
        // Sealed under keys that a rekey may have replaced meanwhile.
        let _edit = self.edit(account)?;
        self.store
            .insert_provider(account.id(), &row, most.min(MAX_PROVIDERS), before_commit)
            .map_err(|error| match error.kind() {
                Kind::Conflict => {
                    Error::new(Kind::Conflict, "a provider of this name exists already")
                        .with_hint("run akm provider rm first; its keys stay as they are")
                }
                _ => error,
            })
    }

    /// Every record, sealed for the account as it is after a rekey, with the tag of the row that it replaces.
    pub(super) fn renewed_providers(
        &self,
        from: &Unlocked,
        to: &Unlocked,
    ) -> Result<Vec<(Tag, ProviderRow)>> {
        let rows = self.store.providers(from.id(), MAX_PROVIDERS)?;
        rows.iter()
            .map(|row| {
                let (provider, text) = self.open_provider(from, row)?;
                let renewed = self.seal_provider(to, row.id, &provider, &text)?;
                Ok((row.tag, renewed))
            })
            .collect()
    }

    fn seal_provider(
        &self,
        account: &Unlocked,
        id: Id,
        provider: &ProviderId,
        record: &str,
    ) -> Result<ProviderRow> {
        let plain = Zeroizing::new(crate::protocol::encode(&Sealed {
            format: VERSION,
            provider: provider.as_str().to_owned(),
            record: record.to_owned(),
        })?);
        Ok(ProviderRow {
            tag: custom_tag(account, provider),
            id,
            record: crypto::seal_padded(
                &*self.host.random,
                &key(account),
                &self.provider_ad(account, &id),
                &plain,
                BUCKET,
            )?,
        })
    }

    /// The text of a record, by its id: one indexed read.
    pub fn provider(&self, account: &Unlocked, provider: &ProviderId) -> Result<Option<String>> {
        let tag = custom_tag(account, provider);
        match self.store.provider_by_tag(account.id(), &tag)? {
            Some(row) => self
                .open_provider(account, &row)
                .map(|(_, text)| Some(text)),
            None => Ok(None),
        }
    }

    /// The texts of all records, by their ids.
    pub fn providers(&self, account: &Unlocked) -> Result<Vec<(ProviderId, String)>> {
        let rows = self.store.providers(account.id(), MAX_PROVIDERS)?;
        let mut found = rows
            .iter()
            .map(|row| self.open_provider(account, row))
            .collect::<Result<Vec<_>>>()?;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// Removes a record; its text comes back. None if there is none.
    pub fn remove_provider(
        &self,
        account: &Unlocked,
        provider: &ProviderId,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Option<String>> {
        let tag = custom_tag(account, provider);
        let Some(row) = self.store.provider_by_tag(account.id(), &tag)? else {
            return Ok(None);
        };
        let (_, text) = self.open_provider(account, &row)?;
        self.store
            .remove_provider(account.id(), &tag, &row.id, before_commit)?;
        Ok(Some(text))
    }

    fn open_provider(&self, account: &Unlocked, row: &ProviderRow) -> Result<(ProviderId, String)> {
        let ad = self.provider_ad(account, &row.id);
        let plain = crypto::open_padded(&key(account), &ad, &row.record)?;
        let sealed: Sealed = serde_json::from_slice(&plain)
            .map_err(|_| Error::corrupt("a provider's record has an unknown shape"))?;
        if sealed.format != VERSION {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "a provider's record has an unknown version",
            ));
        }
        let provider = ProviderId::parse(&sealed.provider, "provider")
            .map_err(|_| Error::corrupt("a provider's name is not one"))?;
        if custom_tag(account, &provider) != row.tag {
            return Err(Error::corrupt("a provider rests under the tag of another"));
        }
        Ok((provider, sealed.record))
    }

    fn provider_ad(&self, account: &Unlocked, id: &Id) -> Ad {
        Ad::new(Field::Provider)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
    }
}

/// What seals the records: apart from the keys that wrap keys.
fn key(account: &Unlocked) -> LockedKey {
    crypto::derive(&account.vault_key, "providers")
}

fn custom_tag(account: &Unlocked, provider: &ProviderId) -> Tag {
    crypto::tag(
        &account.index_key,
        &[b"own provider", provider.as_str().as_bytes()],
    )
}
