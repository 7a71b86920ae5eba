//! The arms for providers that an administrator adds for every account.
//!
//! Invariants: a record is one that an account could add itself, under the same rules for addresses (E07); the catalogue
//! comes first, then the account's own, then these, so an administrator never changes what a name of somebody's own means. A
//! key's hosts and header were sealed with it: whoever changes a record here moves no key that exists.

use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::name::ProviderId;
use crate::protocol::{AdminProviderPut, AdminProviderRemove, Op, ProviderResult};
use crate::provider::{self, Catalogue, Provider};
use crate::store::Hosted;

use super::Service;

/// The documents.
const KIND: &str = "provider";
/// Most of them.
const MOST: u32 = 256;

impl Service {
    /// The text of a record that every account has.
    pub(super) fn shared_text(&self, id: &ProviderId) -> Result<Option<String>> {
        let text = self.document(KIND, id.as_str())?;
        text.map(|text| {
            String::from_utf8(text)
                .map_err(|_| Error::corrupt("a provider of this server is not a text"))
        })
        .transpose()
    }

    /// The records that every account has, by id.
    pub(super) fn shared_providers(&self) -> Result<Vec<Provider>> {
        let read = |text: Vec<u8>| {
            let text = String::from_utf8(text).unwrap_or_default();
            provider::read_own(&text)
                .map_err(|_| Error::corrupt("a provider of this server is not one this akm reads"))
        };
        self.documents(KIND, MOST)?.into_iter().map(read).collect()
    }

    pub(super) fn put_shared(
        &self,
        caller: &Caller,
        request: &AdminProviderPut,
    ) -> Result<ProviderResult> {
        let text = serde_json::to_string(&request.record)
            .map_err(|_| Error::internal("a record could not be written"))?;
        let record = provider::read_own(&text)?;
        let id = ProviderId::parse(&record.id, "record")?;
        self.serves_accounts()?;
        self.as_admin(caller, Op::AdminProviderPut, |event| {
            self.put_document(KIND, id.as_str(), text.into_bytes(), MOST, event)
        })?;
        Ok(ProviderResult {
            name: id.as_str().to_owned(),
            own: false,
            record: request.record.clone(),
        })
    }

    pub(super) fn remove_shared(
        &self,
        caller: &Caller,
        request: &AdminProviderRemove,
    ) -> Result<ProviderResult> {
        const NONE: Error = Error::new(
            Kind::NotFound,
            "there is no provider of this name for every account",
        );
        let id = ProviderId::parse(&request.name, "name")?;
        if Catalogue::builtin().provider(id.as_str()).is_some() {
            return Err(
                Error::new(Kind::Denied, "a built-in provider is not removed").with_field("name"),
            );
        }
        self.serves_accounts()?;
        // One that cannot be read is removed all the same; that is how it is got rid of.
        let text = self.shared_text(&id).ok().flatten().unwrap_or_default();
        let record = serde_json::from_str(&text).unwrap_or_default();
        self.as_admin(caller, Op::AdminProviderRemove, |event| {
            self.file.remove_document(KIND, id.as_str(), event)
        })
        .map_err(|error| match error.kind() {
            Kind::NotFound => NONE.with_field("name").with_hint("run akm providers"),
            _ => error,
        })?;
        Ok(ProviderResult {
            name: id.as_str().to_owned(),
            own: false,
            record,
        })
    }
}
