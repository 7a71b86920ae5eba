//! The arms for providers of an account's own (those of the server are in `shared`), and the one place where a name becomes a record.
//!
//! Invariants: the built-in catalogue comes first, so no record of a user's own is ever taken for a
//! built-in provider; what rests in the vault is checked again when it is read.

use crate::error::{Error, Kind, Result};
use crate::name::ProviderId;
use crate::protocol::{ProviderAdd, ProviderRemove, ProviderResult, ProviderShow, Record};
use crate::provider::{self, Added, Catalogue, Provider};
use crate::vault::Unlocked;

use super::{Asked, Service};

/// A record: one of the catalogue, or the account's own.
pub(super) enum Known {
    Builtin(&'static Provider),
    Own(Box<Provider>),
}

impl Known {
    pub(super) fn record(&self) -> &Provider {
        match self {
            Known::Builtin(record) => record,
            Known::Own(record) => record,
        }
    }
}

impl Service {
    /// The record of a provider, if there is one.
    pub(super) fn known(&self, account: &Unlocked, id: &ProviderId) -> Result<Option<Known>> {
        if let Some(record) = Catalogue::builtin().provider(id.as_str()) {
            return Ok(Some(Known::Builtin(record)));
        }
        let own = match self.vault.provider(account, id)? {
            Some(own) => Some(own),
            None => self.shared_text(id)?,
        };
        own.map(|text| read_stored(&text)).transpose()
    }

    /// The variables of the account's own providers and of the server's, by id, the own first: for lists.
    pub(super) fn own_variables(&self, account: &Unlocked) -> Result<Vec<(ProviderId, String)>> {
        let own = self
            .vault
            .providers(account)?
            .into_iter()
            .map(|(id, text)| Ok((id, read_stored(&text)?.record().env.primary.clone())));
        let shared = self.shared_providers()?.into_iter().map(|record| {
            let id = ProviderId::parse(&record.id, "record")?;
            Ok((id, record.env.primary))
        });
        own.chain(shared).collect()
    }

    /// The account's own providers, and those of the server that it does not have itself.
    pub(super) fn added(&self, account: &Unlocked) -> Result<Vec<Added>> {
        let mut own = Vec::new();
        for (_, text) in self.vault.providers(account)? {
            own.push(read_own_stored(&text)?);
        }
        let mut shared = self.shared_providers()?;
        shared.retain(|record| own.iter().all(|own| own.id != record.id));
        let own = own.into_iter().map(Added::Own);
        Ok(own.chain(shared.into_iter().map(Added::Shared)).collect())
    }

    pub(super) fn add_provider(
        &self,
        asked: &Asked<'_>,
        request: &ProviderAdd,
    ) -> Result<ProviderResult> {
        let text = serde_json::to_string(&request.record)
            .map_err(|_| Error::internal("a record could not be written"))?;
        let record = provider::read_own(&text)?;
        let id = ProviderId::parse(&record.id, "record")?;
        let mut event = || self.event(asked);
        self.vault.add_provider(
            &asked.session.account,
            &id,
            &text,
            self.provider_limit(&asked.session.account)?,
            &mut event,
        )?;
        Ok(ProviderResult {
            name: id.as_str().to_owned(),
            own: true,
            record: request.record.clone(),
        })
    }

    pub(super) fn show_provider(
        &self,
        asked: &Asked<'_>,
        request: &ProviderShow,
    ) -> Result<ProviderResult> {
        let id = ProviderId::parse(&request.name, "name")?;
        if let Some(record) = Catalogue::builtin_text(id.as_str()) {
            return Ok(ProviderResult {
                name: id.as_str().to_owned(),
                own: false,
                record,
            });
        }
        let text = self.vault.provider(&asked.session.account, &id)?;
        match (text, self.shared_text(&id)?) {
            (Some(text), _) => result(&id, &text),
            (None, Some(text)) => Ok(ProviderResult {
                own: false,
                ..result(&id, &text)?
            }),
            (None, None) => Err(unknown()),
        }
    }

    pub(super) fn remove_provider(
        &self,
        asked: &Asked<'_>,
        request: &ProviderRemove,
    ) -> Result<ProviderResult> {
        let id = ProviderId::parse(&request.name, "name")?;
        if Catalogue::builtin().provider(id.as_str()).is_some() {
            return Err(
                Error::new(Kind::Denied, "a built-in provider is not removed").with_field("name"),
            );
        }
        let mut event = || self.event(asked);
        let text = self
            .vault
            .remove_provider(&asked.session.account, &id, &mut event)?
            .ok_or_else(unknown)?;
        result(&id, &text)
    }
}

fn unknown() -> Error {
    Error::new(Kind::NotFound, "there is no provider of this name")
        .with_field("name")
        .with_hint("run akm providers")
}

fn result(id: &ProviderId, text: &str) -> Result<ProviderResult> {
    let record: Record = serde_json::from_str(text)
        .map_err(|_| Error::corrupt("a provider's record is not readable"))?;
    Ok(ProviderResult {
        name: id.as_str().to_owned(),
        own: true,
        record,
    })
}

fn read_stored(text: &str) -> Result<Known> {
    read_own_stored(text).map(|record| Known::Own(Box::new(record)))
}

fn read_own_stored(text: &str) -> Result<Provider> {
    provider::read_own(text).map_err(|_| {
        Error::corrupt("a provider of your own is not one this akm reads")
            .with_hint("run akm provider rm NAME and add it again; its keys stay as they are")
    })
}
