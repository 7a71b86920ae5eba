//! Wire types of keys.

use serde::{Deserialize, Deserializer, Serialize};

use super::plain::{one, option};
use super::{Outcome, wire, word};
use crate::secret::Secret;

/// Null stands for what is absent, as in every other optional field: programs write it where they have nothing.
fn null_is_none<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

wire! {
    /// Stores a new key.
    request KeyAdd {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// The plaintext: 1 to 8192 bytes of printable ASCII on one line.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
        /// The model the key is meant for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// The owner's categories.
        #[serde(default, deserialize_with = "null_is_none", skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<Vec<String>>"))]
        categories: Vec<String>,
        /// Free text, at most 4 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// A date (`2027-01-31`) or an RFC 3339 time after which the key is not handed out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
        /// The environment variable `akm run` sets; the provider's standard one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<String>,
        /// A balance below which the key is low, `5` or `5 CNY`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_balance: Option<String>,
        /// The id of the owner's team or account at the provider, where its addresses need one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// Seconds after which a session does not hand the key out any more, until the next unlock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
        /// Never hand the secret out; only use it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Ask a person each time before it is handed out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<bool>,
        /// Where the provider is reached, if not at its standard address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
    }
}

wire! {
    /// A key's record, without its secret.
    result Key {
        /// `provider/label`.
        name: String,
        /// The issuer.
        provider: String,
        /// The owner's label.
        label: String,
        /// The model the key is meant for.
        model: Option<String>,
        /// The owner's categories.
        categories: Vec<String>,
        /// Whether it may be handed out.
        status: KeyStatus,
        /// First and last characters, `sk-a…wxyz`.
        preview: String,
        /// The environment variable `akm run` sets: the key's own, else the provider's standard one.
        env: Option<String>,
        /// A balance below which the key is low, `5` or `5 CNY`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_balance: Option<String>,
        /// The id of the owner's team or account at the provider, where its addresses need one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// Seconds after which a session does not hand the key out any more, until the next unlock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
        /// Whether it is only ever used, never handed out.
        use_only: bool,
        /// Whether a person is asked each time before it is handed out.
        #[serde(default)]
        confirm: bool,
        /// Where the provider is reached, if not at its standard address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
        /// Origins the secret may be sent to, `https://host:port`; sealed with it.
        #[serde(default)]
        hosts: Vec<String>,
        /// The header that carries it there.
        #[serde(default)]
        header: Option<String>,
        /// Free text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// Counts up with each rotation, from 1.
        version: u64,
        /// RFC 3339 UTC.
        created_at: String,
        /// RFC 3339 UTC.
        updated_at: String,
        /// RFC 3339 UTC; may lag behind the audit.
        last_used_at: Option<String>,
        /// RFC 3339 UTC.
        expires_at: Option<String>,
        /// What the last connection test of this secret showed; in `key.list` and `key.show`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_test: Option<LastTest>,
    }
}

wire! {
    /// What a connection test showed, and when.
    result LastTest {
        /// The verdict.
        outcome: Outcome,
        /// RFC 3339 UTC.
        time: String,
    }
}

/// Whether a key may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum KeyStatus {
    /// It may.
    Active,
    /// Its owner switched it off.
    Disabled,
    /// Its date has passed (derived, never set).
    Expired,
    /// It was found in the open: kept, never handed out.
    Burned,
}

impl KeyStatus {
    /// The token on the wire.
    pub const fn token(self) -> &'static str {
        match self {
            KeyStatus::Active => "active",
            KeyStatus::Disabled => "disabled",
            KeyStatus::Expired => "expired",
            KeyStatus::Burned => "burned",
        }
    }
}

wire! {
    /// One key.
    result KeyResult {
        /// The record.
        key: Key,
    }
}

wire! {
    /// Asks for a secret.
    request KeyGet {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// An older version, as `key.history` counts them; the current one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    }
}

wire! {
    /// A secret.
    result KeySecret {
        /// `provider/label`.
        name: String,
        /// The plaintext.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
    }
}

wire! {
    /// Asks for one record.
    request KeyShow {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// Asks for records. Filters combine.
    #[derive(Default)]
    request KeyList {
        /// Only this provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
        /// Only keys with this category.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<String>,
        /// Only this status.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        status: Option<KeyStatus>,
        /// Whether a record that does not open is passed over; it fails the list otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skip_unreadable: Option<bool>,
        /// Most records in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A page of records, in no particular order.
    result KeyPage {
        /// The records.
        keys: Vec<Key>,
        /// The ids of records that were passed over because they do not open, of whatever name and status.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unreadable: Vec<String>,
        /// Where the next page starts, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// Changes a record. Absent fields stay; an empty text removes.
    #[derive(Default)]
    request KeyUpdate {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// A new name; another provider needs `secret` again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new_name: Option<String>,
        /// The model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// All categories, replacing the old.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        categories: Option<Vec<String>>,
        /// Free text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// A date or time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
        /// The environment variable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<String>,
        /// A balance below which the key is low, `5` or `5 CNY`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_balance: Option<String>,
        /// The id of the owner's team or account at the provider, where its addresses need one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<String>,
        /// Seconds after which a session does not hand the key out any more; 0 removes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
        /// Setting is free; clearing needs `passphrase`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Setting is free; clearing needs `passphrase`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<bool>,
        /// Another address needs `secret` again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
        /// `active`, `disabled` or `burned`.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        status: Option<KeyStatus>,
        /// The account's passphrase, for what needs it.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
        /// The key's secret, for what needs it.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        secret: Option<Secret>,
    }
}

wire! {
    /// Replaces a secret.
    request KeyRotate {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// The new plaintext.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
    }
}

wire! {
    /// Removes a key.
    request KeyRemove {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// Asks for a key's versions.
    request KeyHistory {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// A key's versions, newest first.
    result History {
        /// `provider/label`.
        name: String,
        /// The versions.
        versions: Vec<Version>,
    }
}

wire! {
    /// One version of a secret.
    result Version {
        /// Its number, from 1.
        version: u64,
        /// First and last characters.
        preview: String,
        /// When it was stored, RFC 3339 UTC.
        created_at: String,
        /// When it was replaced; absent on the current one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_at: Option<String>,
    }
}
