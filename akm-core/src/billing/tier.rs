//! Tiers: data, from the least to the most.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The compiled-in table; a configuration may have its own.
const BUILTIN: &str = include_str!("../../catalog/tiers.json");
/// Most tiers.
const MAX_TIERS: usize = 16;
/// What `accounts.tier` says of an account without one.
pub const LOCAL: &str = "local";

/// What an account may have. A limit that is absent is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// `[a-z0-9-]`.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people, in Chinese.
    pub name_zh: String,
    /// Of a month, in fen. What is really asked for is the product's.
    pub price_fen: i64,
    /// Most keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Most providers of the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<u32>,
    /// Most requests in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    tiers: Vec<Tier>,
}

/// The table that is compiled in.
pub fn builtin() -> Result<Vec<Tier>> {
    let file: File = serde_json::from_str(BUILTIN)
        .map_err(|_| Error::internal("the table of tiers cannot be read"))?;
    if file.format != 1 {
        return Err(Error::internal("the table of tiers has an unknown format"));
    }
    check(&file.tiers)?;
    Ok(file.tiers)
}

/// Each tier is at least as much as the one before, and the first costs nothing.
pub fn check(tiers: &[Tier]) -> Result<()> {
    const BAD: Error = Error::new(Kind::InvalidInput, "the tiers contradict one another");
    /// No limit is more than any.
    fn grows<T: Ord>(less: Option<T>, more: Option<T>) -> bool {
        match (less, more) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(less), Some(more)) => less <= more,
        }
    }
    let named = tiers.iter().all(|tier| {
        (1..=32).contains(&tier.id.len())
            && tier
                .id
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && tier.id != LOCAL
            && tier.price_fen >= 0
    });
    let rising = tiers.windows(2).all(|pair| {
        pair[0].price_fen < pair[1].price_fen
            && grows(pair[0].keys, pair[1].keys)
            && grows(pair[0].providers, pair[1].providers)
            && grows(pair[0].requests_per_minute, pair[1].requests_per_minute)
    });
    let unique = (1..tiers.len()).all(|n| tiers[..n].iter().all(|tier| tier.id != tiers[n].id));
    let first_is_free = tiers.first().is_some_and(|tier| tier.price_fen == 0);
    if named && rising && unique && first_is_free && tiers.len() <= MAX_TIERS {
        Ok(())
    } else {
        Err(BAD.with_hint("the first is free, and each costs and allows more than the one before"))
    }
}
