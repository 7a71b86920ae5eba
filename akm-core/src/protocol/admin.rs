//! Wire types of administration: accounts as their administrator sees them. Nothing here is sealed, and nothing here
//! could be: names, roles, counts.

use serde::{Deserialize, Serialize};

use super::plain::one;
use super::{wire, word};
use crate::secret::Secret;

/// What an account may do beside its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing.
    User,
    /// Manage accounts. It opens nobody's keys.
    Admin,
}

impl Role {
    /// The stable token.
    pub const fn token(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Admin => "admin",
        }
    }

    /// The role of a token.
    pub fn from_token(token: &str) -> Option<Role> {
        [Role::User, Role::Admin]
            .into_iter()
            .find(|role| role.token() == token)
    }
}

wire! {
    /// Gives an account a role.
    request AdminGrant {
        /// The account.
        account: String,
        /// The role.
        #[serde(deserialize_with = "word::one")]
        role: Role,
    }
}

wire! {
    /// Asks for the accounts.
    #[derive(Default)]
    request AdminAccounts {
        /// Most accounts in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A page of accounts, by name.
    result AccountPage {
        /// The accounts.
        accounts: Vec<AccountSummary>,
        /// Where the next page starts, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// An account as its administrator sees it.
    result AccountSummary {
        /// The account.
        account: String,
        /// Its role.
        role: Role,
        /// Its tier; `local` where none limits it.
        tier: String,
        /// Whether nobody may sign in to it over the network.
        disabled: bool,
        /// Whether signing in asks for a TOTP code.
        totp: bool,
        /// How many keys it has.
        keys: u64,
        /// Most keys it may have, where an administrator set that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_limit: Option<u64>,
        /// In how many sessions it is open.
        sessions: u64,
        /// RFC 3339 UTC.
        created_at: String,
    }
}

wire! {
    /// Changes what an account may do.
    request AdminAccount {
        /// The account.
        account: String,
        /// True: its sessions over the network end, and nobody signs in to it there until this is false again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disabled: Option<bool>,
        /// Most keys it may have. Falling below what it has removes none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_limit: Option<u64>,
        /// True: an administrator sets no limit of keys any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no_key_limit: Option<bool>,
    }
}

wire! {
    /// Makes an invitation.
    #[derive(Default)]
    request AdminInvite {
        /// How many accounts it is good for, 1 to 1000; 1 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uses: Option<u32>,
        /// For how many days, 1 to 365; 7 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        days: Option<u32>,
    }
}

wire! {
    /// An invitation. It is told once.
    result Invitation {
        /// The text to hand on.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        invitation: Secret,
        /// How many accounts it is good for.
        uses: u32,
        /// When it ends, RFC 3339 UTC.
        expires_at: String,
    }
}

wire! {
    /// Asks for events of the system. Filters combine.
    #[derive(Default)]
    request AdminLog {
        /// Only events at or after this RFC 3339 time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// Only this operation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        /// Most events in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}
