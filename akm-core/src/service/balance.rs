//! The arm for balances, and the threshold below which one is low.
//!
//! Invariants: as for a connection test, the secret is taken out under the session, after its event is
//! written, and the provider is asked without holding the session.

use crate::error::{Error, Result};
use crate::protocol::{Balance, BalanceResult, ProviderBalance};
use crate::provider::decimal::Decimal;

use super::Service;

/// Longest threshold in bytes.
const MAX_THRESHOLD: usize = 64;
/// Longest unit in bytes.
const MAX_UNIT: usize = 16;

/// `5`, or `5 CNY` where only that currency counts.
pub(super) struct Threshold {
    amount: Decimal,
    currency: Option<String>,
}

impl Threshold {
    pub(super) fn parse(text: &str) -> Result<Threshold> {
        const BAD: Error = Error::invalid(
            "low_balance",
            "a threshold is a number, or a number and a currency: 5, 5.50 CNY",
        );
        if text.len() > MAX_THRESHOLD {
            return Err(BAD);
        }
        let (amount, currency) = match text.split_once(' ') {
            Some((amount, currency)) => (amount, Some(currency)),
            None => (text, None),
        };
        let amount = Decimal::read(amount)
            .filter(|amount| !amount.is_negative())
            .ok_or(BAD)?;
        let unit_fits = |unit: &str| {
            (2..=MAX_UNIT).contains(&unit.len()) && unit.bytes().all(|b| b.is_ascii_alphabetic())
        };
        if !currency.is_none_or(unit_fits) {
            return Err(BAD);
        }
        Ok(Threshold {
            amount,
            currency: currency.map(str::to_owned),
        })
    }

    /// Whether nothing that could be spent reaches the threshold; none where the answer does not tell.
    #[cfg_attr(
        not(feature = "providers"),
        allow(dead_code, reason = "asked where a balance came from a provider")
    )]
    pub(super) fn is_low(&self, balances: &[Balance]) -> Option<bool> {
        let counted = balances.iter().filter(|balance| {
            self.currency.as_ref().is_none_or(|wanted| {
                balance
                    .currency
                    .as_ref()
                    .is_some_and(|is| is.eq_ignore_ascii_case(wanted))
            })
        });
        // A limit of the key and the money behind it both have to suffice; of two currencies one does.
        let mut low = None;
        for of in [
            crate::protocol::BalanceScope::Account,
            crate::protocol::BalanceScope::Plan,
            crate::protocol::BalanceScope::Key,
        ] {
            let here: Vec<bool> = counted
                .clone()
                .filter(|balance| balance.of == of)
                .filter_map(|balance| {
                    let available = balance.available.as_deref().and_then(Decimal::read);
                    match (balance.unlimited, available) {
                        (true, _) => Some(false),
                        (false, available) => Some(available? < self.amount),
                    }
                })
                .collect();
            if !here.is_empty() {
                low = Some(low.unwrap_or(false) || here.iter().all(|low| *low));
            }
        }
        low
    }
}

/// The threshold in its one spelling.
impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.amount)?;
        match &self.currency {
            Some(currency) => write!(f, " {currency}"),
            None => Ok(()),
        }
    }
}

impl Service {
    #[cfg(feature = "providers")]
    pub(super) fn provider_balance(
        &self,
        caller: &crate::audit::Caller,
        request: &ProviderBalance,
    ) -> Result<BalanceResult> {
        use super::access::{Gate, pass};
        use super::custom::Known;
        use crate::name::KeyName;
        use crate::provider::{BalanceOf, Destinations};
        use crate::vault::Use;
        let (name, record, secret, known) =
            self.asking(caller, crate::protocol::Op::ProviderBalance, |asked| {
                let name = KeyName::parse(&request.name, "name")?;
                let opened = self.find(asked, &name)?;
                let terms = opened.record.terms();
                self.check_usable(asked, &terms)?;
                pass!(self.may(asked, &terms, &name, Use::Use)?);
                let secret = self.vault.open_secret(&asked.session.account, &opened)?;
                let known = self.known(&asked.session.account, name.provider())?;
                self.key_event(asked, &opened.record.id, &name)?;
                Ok(Gate::Done((name, opened.record, secret, known)))
            })?;
        let destinations = Destinations::decode(&record.destinations)?;
        let now = self.host.clock.now();
        let report = crate::provider::balance(
            &self.outbound_for(caller),
            &BalanceOf {
                provider: known.as_ref().map(Known::record),
                destinations: &destinations,
                base_url: record.base_url.as_deref(),
                team: record.team.as_deref(),
                secret: &secret,
                now,
            },
        );
        let low = match &record.low_balance {
            Some(threshold) => Threshold::parse(threshold)
                .map_err(|_| Error::corrupt("a key's threshold is not one"))?
                .is_low(&report.balances),
            None => None,
        };
        Ok(BalanceResult {
            name: name.to_string(),
            outcome: report.outcome,
            balances: report.balances,
            low_balance: record.low_balance.clone(),
            low,
            checked_at: super::shape::time(now),
            detail: report.detail,
        })
    }

    #[cfg(not(feature = "providers"))]
    pub(super) fn provider_balance(
        &self,
        _: &crate::audit::Caller,
        _: &ProviderBalance,
    ) -> Result<BalanceResult> {
        Err(Error::new(
            crate::Kind::Unavailable,
            "this build asks no providers",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BalanceKind, BalanceScope};

    fn balance(of: BalanceScope, currency: &str, available: Option<&str>) -> Balance {
        Balance {
            currency: Some(currency.into()),
            kind: BalanceKind::Prepaid,
            of,
            available: available.map(str::to_owned),
            unlimited: available.is_none(),
            total: None,
            used: None,
            granted: None,
            topped_up: None,
            credit: None,
            owed: None,
            since: None,
        }
    }

    #[test]
    fn a_threshold_is_a_number_and_perhaps_a_currency() {
        for text in ["5", "5.50 CNY", "0", "100000 characters"] {
            assert_eq!(Threshold::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            " ",
            "5CNY",
            "-5",
            "5 ",
            "5  CNY",
            "5 C",
            "CNY",
            "5 ¥",
            "5 CNY USD",
            "1e99",
        ] {
            let error = Threshold::parse(bad).err().unwrap();
            assert_eq!(error.field(), Some("low_balance"), "{bad:?}");
        }
    }

    #[test]
    fn low_is_what_no_currency_reaches() {
        use BalanceScope::{Account, Key};
        let low =
            |text: &str, balances: &[Balance]| Threshold::parse(text).unwrap().is_low(balances);
        let cny = |amount| balance(Account, "CNY", Some(amount));
        let usd = |amount| balance(Account, "USD", Some(amount));
        assert_eq!(low("5", &[cny("4.99")]), Some(true));
        assert_eq!(low("5", &[cny("5.00")]), Some(false));
        assert_eq!(low("5", &[cny("-0.01")]), Some(true));
        assert_eq!(low("5", &[cny("0"), usd("5")]), Some(false));
        assert_eq!(low("5 cny", &[cny("0"), usd("5")]), Some(true));
        assert_eq!(low("5 EUR", &[cny("0"), usd("5")]), None);
        assert_eq!(low("5", &[]), None);
        // No limit on the key does not make up for an empty account.
        assert_eq!(low("5", &[balance(Key, "USD", None)]), Some(false));
        assert_eq!(low("5", &[balance(Key, "USD", None), usd("1")]), Some(true));
        assert_eq!(
            low("5", &[balance(Key, "USD", Some("1")), usd("9")]),
            Some(true)
        );
    }
}
