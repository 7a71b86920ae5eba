//! Wire types of balances.

use serde::{Deserialize, Serialize};

use super::wire;

wire! {
    /// Asks a key's provider what is left.
    request ProviderBalance {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// What a provider says is left.
    result BalanceResult {
        /// `provider/label`.
        name: String,
        /// Whether it is known.
        outcome: BalanceOutcome,
        /// One for each currency and scope; empty unless known.
        balances: Vec<Balance>,
        /// The key's own threshold, as its owner wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_balance: Option<String>,
        /// Whether what is available is below the threshold; absent without one, and where it cannot be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low: Option<bool>,
        /// Why what is available could not be held against the threshold; absent where it could, and without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_unknown: Option<String>,
        /// When the provider was asked, RFC 3339 UTC.
        checked_at: String,
        /// A sentence for a person; never part of the answer's body.
        detail: String,
    }
}

wire! {
    /// Amounts of one currency. Each is an exact decimal number as text.
    #[derive(Clone, PartialEq, Eq)]
    result Balance {
        /// A currency's code, or a unit such as `credits`; absent where the provider does not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
        /// `prepaid`, `quota` (comes back by itself) or `spend` (only what was used is known).
        kind: BalanceKind,
        /// `account`, `key` (a limit of this key alone) or `plan`.
        of: BalanceScope,
        /// What can be spent now; negative where money is owed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available: Option<String>,
        /// Whether there is no limit.
        #[serde(default)]
        unlimited: bool,
        /// All there was, or the limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<String>,
        /// What is gone of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used: Option<String>,
        /// The part of what is available that was a gift.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted: Option<String>,
        /// The part of what is available that was paid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topped_up: Option<String>,
        /// How far below nothing one may go.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credit: Option<String>,
        /// What is owed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owed: Option<String>,
        /// Since when `spend` counts, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// Whether this is what makes the key low; absent where it was not held against its threshold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low: Option<bool>,
    }
}

macro_rules! tokens {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $token:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// The token on the wire.
            pub const fn token(self) -> &'static str {
                match self { $($name::$variant => $token,)* }
            }
        }
    };
}

tokens! {
    /// Whether a balance is known, and if not, why.
    BalanceOutcome {
        /// The provider said it.
        Known = "known",
        /// The provider has none that a key can read, or not at this address.
        Unsupported = "unsupported",
        /// The provider refused the key, or this kind of key.
        Refused = "refused",
        /// No answer, or none that could be understood.
        Unreachable = "unreachable",
    }
}

tokens! {
    /// What a balance measures.
    BalanceKind {
        /// Paid or given in advance.
        Prepaid = "prepaid",
        /// An allowance that comes back by itself.
        Quota = "quota",
        /// Only what was spent.
        Spend = "spend",
    }
}

tokens! {
    /// Whose balance it is.
    BalanceScope {
        /// The account's.
        Account = "account",
        /// This key's own limit.
        Key = "key",
        /// The subscription's.
        Plan = "plan",
    }
}
