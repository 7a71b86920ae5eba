//! Wire types of policies and grants.

use serde::{Deserialize, Serialize};

use super::plain::{one, option};
use super::{wire, word};
use crate::secret::Secret;

/// What holds for a caller that no grant covers, the loosest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Policy {
    /// Any process of the user may, as with ssh-agent.
    #[default]
    Open,
    /// A person is asked.
    Ask,
    /// It may not.
    Granted,
}

impl Policy {
    /// The token on the wire.
    pub const fn token(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::Ask => "ask",
            Policy::Granted => "granted",
        }
    }
}

wire! {
    /// Asks for the policy.
    request PolicyShow {}
}

wire! {
    /// Changes the policy. Absent fields stay.
    #[derive(Default)]
    request PolicySet {
        /// For a caller that no grant covers. A looser one needs `passphrase`.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        policy: Option<Policy>,
        /// The same for callers that come from a coding agent; `open` is no stricter one.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        agents: Option<Policy>,
        /// The same for callers that come from a sandbox or container.
        #[serde(default, deserialize_with = "word::option", skip_serializing_if = "Option::is_none")]
        sandboxes: Option<Policy>,
        /// The account's passphrase, for what needs it.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
    }
}

wire! {
    /// The policy of an account.
    result PolicyState {
        /// For a caller that no grant covers.
        policy: Policy,
        /// For callers that come from a coding agent, if that is stricter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agents: Option<Policy>,
        /// For callers that come from a sandbox or container, if that is stricter.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandboxes: Option<Policy>,
        /// Whether this program can enforce it: an agent can, a program that holds the vault itself cannot.
        enforced: bool,
        /// Which of them holds for whoever asks this, where callers are told apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<Policy>,
    }
}

wire! {
    /// Lets callers have keys. Every field that is there has to fit the caller.
    request GrantAdd {
        /// The key; every key if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Absolute path of the executable, without links.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exe: Option<String>,
        /// SHA-256 of the executable in hexadecimal, so that a replaced one is not covered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exe_sha256: Option<String>,
        /// Absolute path of the script that the executable runs, without links.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script: Option<String>,
        /// Absolute path of the directory in or below which the caller works, without links.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        under: Option<String>,
        /// The known coding agent or sandbox that the caller comes from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<String>,
        /// Only use the key, as a connection test does; never hand it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Also where a variable of the caller's environment loads code into it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        any_env: Option<bool>,
        /// Covers nobody yet: a person is asked, and whoever is allowed then gets a grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        learn: Option<bool>,
        /// Seconds until it is over; until it is removed if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
        /// The account's passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// Asks for the grants.
    request GrantList {}
}

wire! {
    /// Takes a grant back.
    request GrantRemove {
        /// Its id.
        id: String,
    }
}

wire! {
    /// What a caller may do.
    result GrantInfo {
        /// Its id.
        id: String,
        /// The key's name when the grant was made; every key if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Path of the executable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exe: Option<String>,
        /// SHA-256 of the executable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exe_sha256: Option<String>,
        /// Path of the script.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script: Option<String>,
        /// Directory in or below which the caller works.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        under: Option<String>,
        /// The known coding agent or sandbox that the caller comes from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<String>,
        /// Whether the key is only used.
        use_only: bool,
        /// Whether any environment will do.
        any_env: bool,
        /// Whether it covers nobody yet.
        learn: bool,
        /// In `grant.list`: whether it covers whoever asks this, where callers are told apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        covers_caller: Option<bool>,
        /// RFC 3339 UTC.
        created_at: String,
        /// RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    }
}

wire! {
    /// One grant.
    result GrantResult {
        /// The grant.
        grant: GrantInfo,
    }
}

wire! {
    /// The grants of an account.
    result Grants {
        /// The grants, oldest first.
        grants: Vec<GrantInfo>,
    }
}
