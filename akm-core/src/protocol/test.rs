//! Wire types of connection tests.

use serde::{Deserialize, Serialize};

use super::wire;

wire! {
    /// Tests a key.
    request ProviderTest {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// What a test showed.
    result TestResult {
        /// `provider/label`.
        name: String,
        /// The verdict.
        outcome: Outcome,
        /// Model ids the provider listed, where it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        models: Option<Vec<String>>,
        /// Milliseconds from connecting to the whole answer.
        latency_ms: u64,
        /// A sentence for a person; never part of the answer's body.
        detail: String,
    }
}

/// The verdict of a connection test; never more than it proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The provider accepted the key.
    Valid,
    /// Accepted, but the key may not do what the test asked.
    ValidRestricted,
    /// The provider refused the key.
    Invalid,
    /// Known to the provider and not allowed here.
    NoPermission,
    /// Accepted, with nothing left to spend.
    OutOfCredit,
    /// Too many requests: nothing is known.
    RateLimited,
    /// No answer, or none that could be understood.
    Unreachable,
    /// The provider has no test that proves a key.
    Unverifiable,
}

impl Outcome {
    /// The token on the wire.
    pub const fn token(self) -> &'static str {
        match self {
            Outcome::Valid => "valid",
            Outcome::ValidRestricted => "valid_restricted",
            Outcome::Invalid => "invalid",
            Outcome::NoPermission => "no_permission",
            Outcome::OutOfCredit => "out_of_credit",
            Outcome::RateLimited => "rate_limited",
            Outcome::Unreachable => "unreachable",
            Outcome::Unverifiable => "unverifiable",
        }
    }
}
