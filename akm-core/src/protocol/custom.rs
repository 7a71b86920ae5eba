//! Wire types of providers that a user adds.

use serde::{Deserialize, Serialize};

use super::wire;

/// A provider's record, in the format of `akm-core/catalog/README.md`.
pub type Record = serde_json::Map<String, serde_json::Value>;

wire! {
    /// Adds a provider of the account's own.
    request ProviderAdd {
        /// Its record, as one of the catalogue.
        record: Record,
    }
}

wire! {
    /// Asks for the record of a provider, built in or the account's own.
    request ProviderShow {
        /// Its id or alias.
        name: String,
    }
}

wire! {
    /// Removes a provider of the account's own. Its keys stay, sealed for the hosts they were added for.
    request ProviderRemove {
        /// Its id.
        name: String,
    }
}

wire! {
    /// A provider's record.
    result ProviderResult {
        /// Its id.
        name: String,
        /// Whether it is the account's own.
        own: bool,
        /// The record.
        record: Record,
    }
}
