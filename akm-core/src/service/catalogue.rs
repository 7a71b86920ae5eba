//! The arms for what is publicly known: providers and models. They need no session and leave no event: who asks
//! learns nothing of anybody's keys.

use crate::error::Result;
use crate::protocol::{ModelList, ModelPage, Providers};
use crate::{paths, provider};

use super::Service;

impl Service {
    pub(super) fn list_providers(&self) -> Result<Providers> {
        provider::list_providers(&paths::models_beside(&self.path))
    }

    pub(super) fn list_models(&self, request: &ModelList) -> Result<ModelPage> {
        provider::list_models(&paths::models_beside(&self.path), request)
    }
}
