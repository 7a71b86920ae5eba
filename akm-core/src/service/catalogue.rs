//! The arms for what is publicly known: providers and models. They need no session and leave no event: who asks
//! learns nothing of anybody's keys.

use crate::audit::Caller;
use crate::error::Result;
use crate::name::ProviderId;
use crate::protocol::{ModelList, ModelPage, Providers};
use crate::{paths, provider};

use super::Service;

impl Service {
    /// Whoever has an account open sees its own providers as well.
    pub(super) fn list_providers(&self, caller: &Caller) -> Result<Providers> {
        let added = match self.sessions.read().live(caller, &*self.host.clock) {
            Ok(session) => self.added(&session.account)?,
            Err(_) => Vec::new(),
        };
        provider::list_providers(&paths::models_beside(&self.path), &added)
    }

    pub(super) fn list_models(&self, caller: &Caller, request: &ModelList) -> Result<ModelPage> {
        let is_added = |id: &ProviderId| {
            let table = self.sessions.read();
            let session = table.live(caller, &*self.host.clock);
            // One that cannot be read is there; what is wrong with it is told by whoever lists it.
            session.is_ok_and(|session| {
                self.known(&session.account, id)
                    .map_or(true, |k| k.is_some())
            })
        };
        provider::list_models(&paths::models_beside(&self.path), request, &is_added)
    }
}
