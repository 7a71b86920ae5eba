//! How a balance is asked for, and how the answer is read: rules over data, as for the connection test.
//!
//! Invariants: everything is one of a fixed set, and `balance` interprets each exhaustively, so a rule
//! that the engine does not know does not compile and a record that uses one does not load. Units are
//! powers of ten: there is no factor that could round.
//!
//! Deliberately absent: arithmetic between amounts but `total - used`, and any provider's name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::decimal::Decimal;
use super::rules::{BodyIs, Pointer};
use super::schema::{Region, Remark};

/// Most requests for one balance.
const MAX_SOURCES: usize = 4;
/// Longest unit, such as `characters`.
const MAX_UNIT: usize = 16;

/// One request, and what its answer says about what is left.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceSource {
    /// The address, as of a test; it may also start with `{origin}`, hold `{team}` and, in its query,
    /// [`QueryPart`]s. The method is GET.
    pub url: String,
    /// Which of a provider's keys may read it.
    #[serde(default)]
    pub needs: KeyNeeded,
    /// What stands in an answer that is a success; without it a 200 is a failure inside.
    #[serde(default)]
    pub succeeds: Option<BodyIs>,
    /// What the answer says.
    pub reads: Vec<Reading>,
    /// Whether it was read in a named source.
    pub verified: bool,
    /// For people, not kept in memory.
    #[serde(default)]
    pub note: Option<Remark>,
}

/// Which of a provider's keys may read a balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyNeeded {
    /// Every one.
    #[default]
    Ordinary,
    /// One made for administration.
    Management,
}

/// Amounts of one currency, or of one currency per element of an array.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// What is measured.
    pub kind: Measure,
    /// Whose it is.
    pub of: Scope,
    /// The elements to read, each by itself; `*` is every element of an array. Without it, the whole answer.
    #[serde(default)]
    pub each: Option<Pointer>,
    /// Whether there may be none of them.
    #[serde(default)]
    pub may_be_empty: bool,
    /// What the amounts are counted in.
    pub currency: CurrencyIs,
    /// The power of ten of one unit: -4 where amounts count ten-thousandths.
    #[serde(default)]
    pub scale: i32,
    /// The amounts.
    pub amounts: Vec<Amount>,
    /// Whether what is available is the total without what is used.
    #[serde(default)]
    pub remaining: bool,
}

/// What a balance measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Money or points that were paid or given in advance.
    Prepaid,
    /// An allowance that comes back by itself.
    Quota,
    /// Only what was spent; what is left is not said.
    Spend,
}

/// Whose balance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The account's.
    Account,
    /// This key's own limit.
    Key,
    /// The subscription's.
    Plan,
}

/// What amounts are counted in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CurrencyIs {
    /// Always this: a currency's code, or a unit such as `credits`.
    Is(String),
    /// The code that stands there, three letters.
    At(Pointer),
    /// By the region of the endpoint; elsewhere nobody knows.
    ByRegion(BTreeMap<Region, String>),
}

/// One amount.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// What it is.
    pub role: Role,
    /// Where it stands: a number, or a text that is one.
    pub at: Pointer,
    /// How it is written.
    #[serde(default)]
    pub shape: Shape,
    /// Whether its sign is to be turned.
    #[serde(default)]
    pub negate: bool,
    /// Whether it may be missing or null.
    #[serde(default)]
    pub optional: bool,
    /// Whether null says that there is no limit.
    #[serde(default)]
    pub null_is_unlimited: bool,
    /// The amount from which on it says that there is no limit, before scale and sign.
    #[serde(default)]
    pub unlimited_from: Option<String>,
}

/// What an amount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What can be spent now.
    Available,
    /// All there was, or the limit.
    Total,
    /// What is gone of it.
    Used,
    /// The part of what is available that was a gift.
    Granted,
    /// The part of what is available that was paid.
    ToppedUp,
    /// How far below nothing one may go.
    Credit,
    /// What is owed.
    Owed,
}

/// How an amount is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A number, or a text that is one.
    #[default]
    Number,
    /// An object of `units` and `nanos`, the thousand-millionths.
    UnitsNanos,
}

/// A part of a query that is a time. The period is the calendar month so far, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryPart {
    /// Its start, in seconds since 1970.
    FromUnix,
    /// Its start, RFC 3339.
    FromTime,
    /// Now, RFC 3339.
    ToTime,
    /// Its first day.
    FromDate,
    /// Today.
    ToDate,
}

impl QueryPart {
    /// Every part, with how it is written.
    pub const ALL: &'static [(&'static str, QueryPart)] = &[
        ("{from_unix}", QueryPart::FromUnix),
        ("{from_time}", QueryPart::FromTime),
        ("{to_time}", QueryPart::ToTime),
        ("{from_date}", QueryPart::FromDate),
        ("{to_date}", QueryPart::ToDate),
    ];
}

/// A query with something in the place of each part.
pub fn fill_query(query: &str, value: impl Fn(QueryPart) -> String) -> String {
    QueryPart::ALL
        .iter()
        .fold(query.to_owned(), |query, (name, part)| {
            if query.contains(name) {
                query.replace(name, &value(*part))
            } else {
                query
            }
        })
}

/// Checks what the types cannot say; the problem is a field below `balance` and a sentence.
/// `address_fits` says whether a text is an address of a request.
pub fn check(
    sources: &[BalanceSource],
    regions: &BTreeSet<Region>,
    address_fits: impl Fn(&str) -> bool,
) -> Result<(), (String, &'static str)> {
    if sources.len() > MAX_SOURCES {
        return Err((String::new(), "there are more than four requests"));
    }
    for (index, source) in sources.iter().enumerate() {
        let at = |field: &str| format!("[{index}]{field}");
        let url = match source.url.split_once('?') {
            Some((address, query)) => {
                format!("{address}?{}", fill_query(query, |_| "x".to_owned()))
            }
            None => source.url.clone(),
        };
        if !address_fits(&url) {
            return Err((at(".url"), "it is not an address"));
        }
        if source.reads.is_empty() {
            return Err((at(".reads"), "there is nothing to read"));
        }
        for (place, reading) in source.reads.iter().enumerate() {
            let field = |field: &str| at(&format!(".reads[{place}]{field}"));
            reading
                .check(regions)
                .map_err(|(below, what)| (field(below), what))?;
        }
    }
    Ok(())
}

impl Reading {
    fn check(&self, regions: &BTreeSet<Region>) -> Result<(), (&'static str, &'static str)> {
        let unit_fits = |unit: &String| {
            (2..=MAX_UNIT).contains(&unit.len()) && unit.bytes().all(|b| b.is_ascii_alphabetic())
        };
        let currency_fits = match &self.currency {
            CurrencyIs::Is(unit) => unit_fits(unit),
            CurrencyIs::At(pointer) => !pointer.as_str().is_empty(),
            CurrencyIs::ByRegion(units) => {
                !units.is_empty()
                    && units
                        .iter()
                        .all(|(region, unit)| regions.contains(region) && unit_fits(unit))
            }
        };
        if !currency_fits {
            return Err((
                ".currency",
                "it is not a unit, or of a region without endpoint",
            ));
        }
        if !(-18..=18).contains(&self.scale) {
            return Err((".scale", "a power of ten is -18 to 18"));
        }
        if self.may_be_empty && self.each.is_none() {
            return Err((".may_be_empty", "only elements can be missing"));
        }
        let roles: BTreeSet<Role> = self.amounts.iter().map(|amount| amount.role).collect();
        if roles.is_empty() || roles.len() != self.amounts.len() {
            return Err((".amounts", "there are none, or two of one role"));
        }
        let bounds = roles.contains(&Role::Total) || roles.contains(&Role::Used);
        if self.remaining && (roles.contains(&Role::Available) || !bounds) {
            return Err((".remaining", "it is for a total and what is used of it"));
        }
        for amount in &self.amounts {
            let limit_fits = amount
                .unlimited_from
                .as_ref()
                .is_none_or(|text| Decimal::read(text).is_some());
            let limits = amount.null_is_unlimited || amount.unlimited_from.is_some();
            let may_be_unlimited = matches!(amount.role, Role::Available | Role::Total);
            if amount.at.as_str().is_empty() || !limit_fits || (limits && !may_be_unlimited) {
                return Err((
                    ".amounts",
                    "an amount has no place, or no limit to be without",
                ));
            }
        }
        Ok(())
    }
}
