//! What is known about providers, where a key may be sent, and whether it works there.
//!
//! Facts are data (`catalog/providers.json`), read with one schema; nothing here names a provider. In
//! reading order: [`address`] (what a `base_url` may be), [`network`] (which addresses are public), [`schema`] and [`rules`] (what a record may
//! say), [`Catalogue`], [`Destinations`] (sealed with every key), and with feature `providers` the
//! connection test: `plan` builds the request, `outbound` sends it, `judge` reads the answer, `echo` keeps the key out of what is
//! handed on; beside it `balance` asks what is left, by [`balance_rules`], in [`Units`] and in exact [`decimal`]s.
//!
//! Deliberately absent: code for one provider, and trying a key anywhere its record does not name.

pub mod address;
#[cfg(feature = "providers")]
mod balance;
pub mod balance_rules;
mod catalogue;
mod check;
mod custom;
pub mod decimal;
mod destinations;
#[cfg(feature = "providers")]
mod echo;
#[cfg(feature = "providers")]
mod judge;
mod listing;
pub mod models;
pub mod network;
#[cfg(feature = "providers")]
mod outbound;
#[cfg(feature = "providers")]
mod plan;
#[cfg(feature = "providers")]
mod post;
pub mod rules;
pub mod schema;
#[cfg(all(test, feature = "providers"))]
mod tests;
#[cfg(feature = "providers")]
mod trust;
mod units;
mod variables;

pub use address::{BaseUrl, Refusal};
#[cfg(feature = "providers")]
pub use balance::{BalanceOf, BalanceReport, balance};
pub use catalogue::Catalogue;
pub use check::{Problem, rules_programs};
pub use custom::{MAX_RECORD, read_own};
pub use destinations::Destinations;
pub use listing::{Added, install_models, list_models, list_providers, reset_models};
#[cfg(feature = "providers")]
pub use outbound::{Outbound, Resolve, SystemResolver, TestReport, test};
#[cfg(feature = "providers")]
pub use post::post_json;
pub use schema::Provider;
pub use units::Units;
pub use variables::{VARIABLES, Variables};

use crate::error::{Error, Result};

impl BaseUrl {
    /// Parses a typed address; `field` is named in the error.
    pub fn parse(text: &str, field: &'static str) -> Result<BaseUrl> {
        BaseUrl::read(text).map_err(|refusal| Error::invalid(field, refusal.message()))
    }
}
