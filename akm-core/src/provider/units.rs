//! In what a provider's balance is counted, as far as its record tells.
//!
//! Invariant: only what an answer could say is left counts; a provider that tells what was spent has no unit to hold
//! against a threshold.

use std::collections::BTreeSet;

use super::Catalogue;
use super::address::BaseUrl;
use super::balance_rules::{CurrencyIs, Reading, Role};
use super::schema::{Provider, Region};

/// The units in which an answer may say what is left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Those that the record names.
    pub names: BTreeSet<String>,
    /// Whether the answer names a currency itself, by three letters.
    pub any_currency: bool,
}

impl Units {
    /// Those of a key of this provider at this address; none where nothing is known of its balance.
    pub fn of(provider: Option<&Provider>, base_url: Option<&BaseUrl>) -> Option<Units> {
        let record = match (provider, base_url) {
            (Some(record), _) => record,
            (None, Some(_)) => Catalogue::builtin().unlisted(),
            (None, None) => return None,
        };
        let region = region(record, base_url);
        let mut units = Units::default();
        let mut told = record
            .balance
            .iter()
            .flat_map(|source| &source.reads)
            .filter(|reading| tells_what_is_left(reading))
            .peekable();
        told.peek()?;
        for reading in told {
            match &reading.currency {
                CurrencyIs::Is(unit) => {
                    units.names.insert(unit.clone());
                }
                CurrencyIs::At(_) => units.any_currency = true,
                CurrencyIs::ByRegion(by) => {
                    let here = region.and_then(|region| by.get(&region));
                    units.names.extend(here.cloned());
                }
            }
        }
        Some(units)
    }

    /// Whether a balance may be counted in this.
    pub fn allow(&self, unit: &str) -> bool {
        self.any_currency && unit.len() == 3
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(unit))
    }
}

fn tells_what_is_left(reading: &Reading) -> bool {
    let has = |role| reading.amounts.iter().any(|amount| amount.role == role);
    has(Role::Available) || reading.remaining
}

/// The region of the endpoint that is asked; none where the address is somebody else's.
pub(super) fn region(record: &Provider, base_url: Option<&BaseUrl>) -> Option<Region> {
    match base_url {
        None => record.endpoints.first(),
        Some(base_url) => record.endpoints.iter().find(|endpoint| {
            std::iter::once(&endpoint.base_url)
                .chain(&endpoint.also)
                .any(|own| BaseUrl::read(own).is_ok_and(|own| own.origin() == base_url.origin()))
        }),
    }
    .map(|endpoint| endpoint.region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_those_in_which_something_can_be_left() {
        let of = |id: &str, base_url: Option<&str>| {
            let base_url = base_url.map(|text| BaseUrl::read(text).unwrap());
            Units::of(Catalogue::builtin().provider(id), base_url.as_ref())
        };
        let fits = |id, base_url, unit: &str| of(id, base_url).unwrap().allow(unit);
        assert!(fits("deepseek", None, "CNY") && fits("deepseek", None, "usd"));
        assert!(!fits("deepseek", None, "credits"));
        assert!(fits("tavily", None, "credits") && !fits("tavily", None, "USD"));
        assert!(fits("moonshot", None, "CNY") && !fits("moonshot", None, "USD"));
        let intl = Some("https://api.moonshot.ai/v1");
        assert!(fits("moonshot", intl, "USD") && !fits("moonshot", intl, "CNY"));
        // Elsewhere nobody knows, and what was spent is not what is left.
        let gateway = Some("https://gateway.example.com/v1");
        assert_eq!(of("moonshot", gateway), Some(Units::default()));
        assert!(!fits("openai", None, "CNY"), "its costs name a currency");
        assert_eq!(of("fireworks", None), None);
        // Of a provider without a balance nothing is known, nor of one that nobody listed; at an address of one's own it
        // may be a gateway.
        assert_eq!(of("anthropic", None), None);
        assert_eq!(of("nobody", None), None);
        assert!(fits("nobody", gateway, "USD") && !fits("nobody", gateway, "CNY"));
    }
}
