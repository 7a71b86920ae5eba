//! The arm for balances, and the threshold below which one is low.
//!
//! Invariants: as for a connection test, the secret is taken out under the session, after its event is
//! written, and the provider is asked without holding the session.

use crate::error::{Error, Result};
use crate::name::ProviderId;
use crate::protocol::{Balance, BalanceResult, BalanceScope, ProviderBalance};
use crate::provider::decimal::Decimal;
use crate::provider::{BaseUrl, Units};

use super::custom::Known;
use super::{Asked, Service};

/// Longest threshold in bytes.
const MAX_THRESHOLD: usize = 64;
/// Longest unit in bytes.
const MAX_UNIT: usize = 16;

/// What people call a currency, and its code.
const CODES: &[(&str, &str)] = &[("RMB", "CNY")];

/// `5`, or `5 CNY` where only that currency counts. A number alone counts for every currency: an account is low once
/// none of them reaches it, as any one of them pays.
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
        let code = |unit: &str| {
            let known = CODES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit));
            known.map_or(unit, |(_, code)| code).to_owned()
        };
        Ok(Threshold {
            amount,
            currency: currency.map(code),
        })
    }

    /// Refuses a threshold in a unit that no balance of such a key can have.
    fn check_unit(&self, units: &Units) -> Result<()> {
        if self
            .currency
            .as_deref()
            .is_none_or(|unit| units.allow(unit))
        {
            return Ok(());
        }
        let error = Error::invalid(
            "low_balance",
            "the balance of this key is never counted in that unit",
        );
        let known: Vec<&str> = units.names.iter().map(String::as_str).collect();
        Err(match (units.any_currency, known.as_slice()) {
            (true, _) => error.with_hint("a currency has three letters: 5 CNY, 5 USD"),
            (false, []) => {
                error.with_hint("what it is counted in is not known: give the number alone")
            }
            (false, known) => error.with_hint(format!("known are {}", known.join(", "))),
        })
    }

    /// Whether nothing that could be spent reaches the threshold, and in each balance whether it is the reason; or why
    /// that cannot be told.
    #[cfg_attr(
        not(feature = "providers"),
        allow(dead_code, reason = "asked where a balance came from a provider")
    )]
    fn judge(&self, balances: &mut [Balance]) -> std::result::Result<bool, &'static str> {
        let is_counted = |balance: &Balance| {
            self.currency.as_ref().is_none_or(|wanted| {
                let is = balance.currency.as_ref();
                is.is_some_and(|is| is.eq_ignore_ascii_case(wanted))
            })
        };
        let says_what_is_left = |balance: &Balance| balance.unlimited || left(balance).is_some();
        if !balances.iter().any(says_what_is_left) {
            return Err("the provider does not say what is left");
        }
        for balance in balances.iter_mut().filter(|balance| is_counted(balance)) {
            balance.low = match balance.unlimited {
                true => Some(false),
                false => left(balance).map(|left| left < self.amount),
            };
        }
        if balances.iter().all(|balance| balance.low.is_none()) {
            return Err(match balances.iter().any(|it| it.currency.is_some()) {
                true => "nothing is counted in the unit of the threshold",
                false => "the provider does not say in which unit it counts",
            });
        }
        // A limit of the key and the money behind it both have to suffice; of two currencies one does.
        let mut low = false;
        for of in [BalanceScope::Account, BalanceScope::Plan, BalanceScope::Key] {
            let here = || balances.iter().filter(|balance| balance.of == of);
            match here().any(|balance| balance.low == Some(false)) {
                false => low |= here().any(|balance| balance.low == Some(true)),
                true => {
                    for balance in balances.iter_mut().filter(|balance| balance.of == of) {
                        balance.low = balance.low.map(|_| false);
                    }
                }
            }
        }
        Ok(low)
    }
}

/// What can be spent, as a number.
fn left(balance: &Balance) -> Option<Decimal> {
    balance.available.as_deref().and_then(Decimal::read)
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
    /// Refuses a key's threshold in a unit that its provider is known not to count in.
    pub(super) fn check_threshold(
        &self,
        asked: &Asked<'_>,
        threshold: Option<&str>,
        provider: &ProviderId,
        base_url: Option<&BaseUrl>,
    ) -> Result<()> {
        let Some(threshold) = threshold.map(Threshold::parse).transpose()? else {
            return Ok(());
        };
        if threshold.currency.is_none() {
            return Ok(());
        }
        let known = self.known(&asked.session.account, provider)?;
        match Units::of(known.as_ref().map(Known::record), base_url) {
            Some(units) => threshold.check_unit(&units),
            None => Ok(()),
        }
    }

    #[cfg(feature = "providers")]
    pub(super) fn provider_balance(
        &self,
        caller: &crate::audit::Caller,
        request: &ProviderBalance,
    ) -> Result<BalanceResult> {
        use super::access::{Gate, pass};
        use crate::name::KeyName;
        use crate::protocol::BalanceOutcome;
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
        let mut report = crate::provider::balance(
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
        let (mut low, mut low_unknown) = (None, None);
        if let Some(threshold) = &record.low_balance {
            let threshold = Threshold::parse(threshold)
                .map_err(|_| Error::corrupt("a key's threshold is not one"))?;
            let judged = match report.outcome {
                BalanceOutcome::Known => threshold.judge(&mut report.balances),
                _ => Err("the balance is not known"),
            };
            match judged {
                Ok(is_low) => low = Some(is_low),
                Err(why) => low_unknown = Some(why.to_owned()),
            }
        }
        Ok(BalanceResult {
            name: name.to_string(),
            outcome: report.outcome,
            balances: report.balances,
            low_balance: record.low_balance.clone(),
            low,
            low_unknown,
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
    use crate::protocol::BalanceKind;

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
            low: None,
        }
    }

    #[test]
    fn a_threshold_is_a_number_and_perhaps_a_currency() {
        for text in ["5", "5.50 CNY", "0", "100000 characters"] {
            assert_eq!(Threshold::parse(text).unwrap().to_string(), text);
        }
        for text in ["5 RMB", "5 rmb"] {
            assert_eq!(Threshold::parse(text).unwrap().to_string(), "5 CNY");
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

    /// Whether it is low, and which of the balances are the reason.
    fn low(
        text: &str,
        balances: &[Balance],
    ) -> std::result::Result<(bool, Vec<Option<bool>>), &'static str> {
        let mut balances = balances.to_vec();
        let low = Threshold::parse(text).unwrap().judge(&mut balances)?;
        Ok((low, balances.iter().map(|balance| balance.low).collect()))
    }

    fn cny(amount: &str) -> Balance {
        balance(BalanceScope::Account, "CNY", Some(amount))
    }

    fn usd(amount: &str) -> Balance {
        balance(BalanceScope::Account, "USD", Some(amount))
    }

    #[test]
    fn low_is_what_no_currency_reaches() {
        use BalanceScope::Key;
        let is_low = |text: &str, balances: &[Balance]| low(text, balances).unwrap().0;
        assert!(is_low("5", &[cny("4.99")]));
        assert!(!is_low("5", &[cny("5.00")]));
        assert!(is_low("5", &[cny("-0.01")]));
        assert!(!is_low("5", &[cny("0"), usd("5")]));
        assert!(is_low("5 cny", &[cny("0"), usd("5")]));
        // No limit on the key does not make up for an empty account.
        assert!(!is_low("5", &[balance(Key, "USD", None)]));
        assert!(is_low("5", &[balance(Key, "USD", None), usd("1")]));
        assert!(is_low("5", &[balance(Key, "USD", Some("1")), usd("9")]));
    }

    #[test]
    fn a_balance_is_marked_for_its_own_currency_alone() {
        let marks = |text: &str, balances: &[Balance]| low(text, balances).unwrap();
        let (no, yes) = (Some(false), Some(true));
        assert_eq!(
            marks("5 CNY", &[cny("3.00"), usd("100")]),
            (true, vec![yes, None])
        );
        assert_eq!(
            marks("5 CNY", &[cny("3.00"), usd("1")]),
            (true, vec![yes, None])
        );
        assert_eq!(
            marks("5 USD", &[cny("3.00"), usd("100")]),
            (false, vec![None, no])
        );
        // A number alone: one currency that reaches it will do, and then none is marked.
        assert_eq!(
            marks("5", &[cny("3.00"), usd("100")]),
            (false, vec![no, no])
        );
        assert_eq!(marks("5", &[cny("3.00"), usd("1")]), (true, vec![yes, yes]));
        let key = balance(BalanceScope::Key, "USD", Some("1"));
        assert_eq!(marks("5", &[key, usd("9")]), (true, vec![yes, no]));
    }

    #[test]
    fn a_threshold_that_cannot_be_compared_says_why() {
        let unnamed = Balance {
            currency: None,
            ..cny("3")
        };
        let spent = Balance {
            kind: BalanceKind::Spend,
            unlimited: false,
            used: Some("3".into()),
            ..balance(BalanceScope::Account, "USD", None)
        };
        for (text, balances, why) in [
            ("5 EUR", vec![cny("0"), usd("5")], "unit of the threshold"),
            ("5 credits", vec![cny("0")], "unit of the threshold"),
            ("5 CNY", vec![unnamed.clone()], "in which unit it counts"),
            ("5", vec![spent.clone()], "what is left"),
            ("5 USD", vec![spent], "what is left"),
            ("5", vec![], "what is left"),
        ] {
            let said = low(text, &balances).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert_eq!(low("5", &[unnamed]), Ok((true, vec![Some(true)])));
    }

    #[test]
    fn a_unit_that_no_balance_has_is_refused() {
        let units = |names: &[&str], any_currency| Units {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            any_currency,
        };
        let refused = |text: &str, units: &Units| {
            let error = Threshold::parse(text).unwrap().check_unit(units).err()?;
            assert_eq!(error.field(), Some("low_balance"));
            Some(error.hint().unwrap().to_owned())
        };
        let (any, two, none) = (
            units(&[], true),
            units(&["DIEM", "USD"], false),
            Units::default(),
        );
        for fine in ["5", "5 RMB", "5 usd"] {
            assert_eq!(refused(fine, &any), None, "{fine}");
        }
        assert!(
            refused("5 credits", &any)
                .unwrap()
                .contains("three letters")
        );
        assert_eq!(refused("5 diem", &two), None);
        assert_eq!(refused("5 CNY", &two).unwrap(), "known are DIEM, USD");
        assert!(refused("5 CNY", &none).unwrap().contains("number alone"));
        assert_eq!(refused("5", &none), None);
    }
}
