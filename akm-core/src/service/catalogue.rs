//! The arms for what is publicly known: providers and models. They need no session and leave no event: who asks
//! learns nothing of anybody's keys.

use crate::audit::Caller;
use crate::error::Result;
use crate::protocol::{ModelList, ModelPage, Providers};
use crate::{paths, provider};

use super::Service;

impl Service {
    /// Whoever has an account open sees its own providers as well.
    pub(super) fn list_providers(&self, caller: &Caller) -> Result<Providers> {
        let mut list = provider::list_providers(&paths::models_beside(&self.path))?;
        if let Ok(session) = self.sessions.read().live(caller, &*self.host.clock) {
            self.list_own(&session.account, &mut list)?;
        }
        Ok(list)
    }

    pub(super) fn list_models(&self, request: &ModelList) -> Result<ModelPage> {
        provider::list_models(&paths::models_beside(&self.path), request)
    }
}
