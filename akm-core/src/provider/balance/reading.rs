//! From an answer to amounts: what the rules name is found in the text that was sent, added up and told apart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{MAX_BALANCES, MAX_ELEMENTS, Silence, month};
use crate::protocol::{Balance, BalanceKind, BalanceOutcome, BalanceScope};
use crate::provider::balance_rules::{
    Amount, BalanceSource, CurrencyIs, Measure, Reading, Role, Scope, Shape,
};
use crate::provider::decimal::Decimal;
use crate::provider::judge::body_is;
use crate::provider::schema::Region;

/// What one currency and scope add up to.
#[derive(Default)]
struct Sum {
    amounts: BTreeMap<Role, Decimal>,
    unlimited: bool,
    remaining: bool,
    since: Option<String>,
}

/// Which balance an amount belongs to: kind, scope, currency.
type Place = (BalanceKind, BalanceScope, Option<String>);

/// Balances in the order in which they were read.
#[derive(Default)]
pub(super) struct Sums(Vec<(Place, Sum)>);

const NOT_UNDERSTOOD: &str = "the answer does not have the shape of this provider's";

fn not_understood() -> Silence {
    Silence::new(BalanceOutcome::Unreachable, NOT_UNDERSTOOD)
}

impl Sums {
    fn at(&mut self, place: Place) -> Result<&mut Sum, Silence> {
        let index = match self.0.iter().position(|(there, _)| *there == place) {
            Some(index) => index,
            None if self.0.len() < MAX_BALANCES => {
                self.0.push((place, Sum::default()));
                self.0.len() - 1
            }
            None => return Err(not_understood()),
        };
        Ok(&mut self.0[index].1)
    }

    /// Elements of one reading add up.
    fn add(&mut self, place: Place, element: Sum) -> Result<(), Silence> {
        let sum = self.at(place)?;
        for (role, amount) in element.amounts {
            let total = match sum.amounts.get(&role) {
                Some(before) => before.plus(amount).ok_or_else(not_understood)?,
                None => amount,
            };
            sum.amounts.insert(role, total);
        }
        sum.unlimited |= element.unlimited;
        sum.remaining |= element.remaining;
        sum.since = element.since;
        Ok(())
    }

    /// A later reading or answer fills in what the earlier did not say.
    pub(super) fn join(&mut self, later: Sums) -> Result<(), Silence> {
        for (place, new) in later.0 {
            let sum = self.at(place)?;
            for (role, amount) in new.amounts {
                sum.amounts.entry(role).or_insert(amount);
            }
            sum.unlimited |= new.unlimited;
            sum.remaining |= new.remaining;
            sum.since = sum.since.take().or(new.since);
        }
        Ok(())
    }

    pub(super) fn balances(self) -> Result<Vec<Balance>, Silence> {
        self.0
            .into_iter()
            .map(|((kind, of, currency), mut sum)| {
                if sum.unlimited {
                    sum.amounts.remove(&Role::Available);
                    sum.amounts.remove(&Role::Total);
                } else if sum.remaining
                    && let (Some(total), Some(used)) =
                        (sum.amounts.get(&Role::Total), sum.amounts.get(&Role::Used))
                {
                    let left = total.plus(used.negated()).ok_or_else(not_understood)?;
                    sum.amounts.insert(Role::Available, left);
                }
                let text = |role| sum.amounts.get(&role).map(Decimal::to_string);
                Ok(Balance {
                    currency,
                    kind,
                    of,
                    available: text(Role::Available),
                    unlimited: sum.unlimited,
                    total: text(Role::Total),
                    used: text(Role::Used),
                    granted: text(Role::Granted),
                    topped_up: text(Role::ToppedUp),
                    credit: text(Role::Credit),
                    owed: text(Role::Owed),
                    since: sum.since.filter(|_| kind == BalanceKind::Spend),
                    low: None,
                })
            })
            .collect()
    }
}

/// Reads the answer of one source.
pub(super) fn read(
    source: &BalanceSource,
    region: Option<Region>,
    body: &[u8],
    now: Timestamp,
) -> Result<Sums, Silence> {
    if let Some(wanted) = &source.succeeds {
        let body = serde_json::from_slice(body).ok();
        if !body_is(wanted, body.as_ref()) {
            return Err(Silence::new(
                BalanceOutcome::Unreachable,
                "the provider says inside its answer that there is no balance",
            ));
        }
    }
    let whole: &RawValue = serde_json::from_slice(body).map_err(|_| not_understood())?;
    let since = source
        .url
        .contains("{from_")
        .then(|| format!("{:.3}", month(now)));
    let mut sums = Sums::default();
    for reading in &source.reads {
        let mut here = Sums::default();
        let elements = match &reading.each {
            None => vec![whole],
            Some(each) => elements(whole, each.as_str()).ok_or_else(not_understood)?,
        };
        if elements.is_empty() && !reading.may_be_empty {
            return Err(not_understood());
        }
        for element in elements {
            if let Some(sum) = read_element(reading, element)? {
                let currency = currency(reading, region, element).ok_or_else(not_understood)?;
                let place = (kind(reading.kind), scope(reading.of), currency);
                let since = since.clone();
                here.add(place, Sum { since, ..sum })?;
            }
        }
        // Two readings of one answer may be two spellings of the same.
        sums.join(here)?;
    }
    // Each amount may be missing, but an answer with none of them is somebody else's.
    if sums.0.is_empty() && !source.reads.iter().any(|reading| reading.may_be_empty) {
        return Err(not_understood());
    }
    Ok(sums)
}

/// The amounts of one element; none where each may be missing and is.
fn read_element(reading: &Reading, element: &RawValue) -> Result<Option<Sum>, Silence> {
    let mut sum = Sum {
        remaining: reading.remaining,
        ..Sum::default()
    };
    for amount in &reading.amounts {
        let found = at(element, amount.at.as_str()).filter(|found| found.get() != "null");
        let Some(found) = found else {
            let null = at(element, amount.at.as_str()).is_some();
            if amount.null_is_unlimited && null {
                sum.unlimited = true;
            } else if !amount.optional {
                return Err(not_understood());
            }
            continue;
        };
        let number = number(amount, found).ok_or_else(not_understood)?;
        let limit = amount.unlimited_from.as_deref().and_then(Decimal::read);
        if limit.is_some_and(|limit| number >= limit) {
            sum.unlimited = true;
            continue;
        }
        let scaled = number
            .times_ten_to(reading.scale)
            .ok_or_else(not_understood)?;
        let signed = if amount.negate {
            scaled.negated()
        } else {
            scaled
        };
        sum.amounts.insert(amount.role, signed);
    }
    let says_something = sum.unlimited || !sum.amounts.is_empty();
    Ok(says_something.then_some(sum))
}

fn number(amount: &Amount, found: &RawValue) -> Option<Decimal> {
    match amount.shape {
        Shape::Number => decimal(found),
        Shape::UnitsNanos => {
            // Both may be left out where they are nothing, but not both at once.
            let (units, nanos) = (at(found, "/units"), at(found, "/nanos"));
            if units.is_none() && nanos.is_none() {
                return None;
            }
            let part = |found: Option<&RawValue>| found.map_or(Decimal::read("0"), decimal);
            part(units)?.plus(part(nanos)?.times_ten_to(-9)?)
        }
    }
}

/// A JSON number, or a JSON text that is one.
fn decimal(found: &RawValue) -> Option<Decimal> {
    match found.get().strip_prefix('"') {
        // No digit, sign or point needs an escape in JSON.
        Some(text) => Decimal::read(text.strip_suffix('"')?),
        None => Decimal::read(found.get()),
    }
}

/// The outer none is an answer that does not fit; the inner one a currency that nobody knows.
fn currency(
    reading: &Reading,
    region: Option<Region>,
    element: &RawValue,
) -> Option<Option<String>> {
    match &reading.currency {
        CurrencyIs::Is(unit) => Some(Some(unit.clone())),
        CurrencyIs::ByRegion(units) => Some(region.and_then(|region| units.get(&region).cloned())),
        CurrencyIs::At(pointer) => {
            let code: String = serde_json::from_str(at(element, pointer.as_str())?.get()).ok()?;
            let fits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_alphabetic());
            fits.then(|| Some(code.to_ascii_uppercase()))
        }
    }
}

fn kind(measure: Measure) -> BalanceKind {
    match measure {
        Measure::Prepaid => BalanceKind::Prepaid,
        Measure::Quota => BalanceKind::Quota,
        Measure::Spend => BalanceKind::Spend,
    }
}

fn scope(of: Scope) -> BalanceScope {
    match of {
        Scope::Account => BalanceScope::Account,
        Scope::Key => BalanceScope::Key,
        Scope::Plan => BalanceScope::Plan,
    }
}

/// The steps of a pointer (RFC 6901).
fn steps(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
}

/// What stands at a pointer, as it was written.
fn at<'a>(value: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    steps(pointer).try_fold(value, |value, step| member(value, &step))
}

fn member<'a>(value: &'a RawValue, step: &str) -> Option<&'a RawValue> {
    if value.get().starts_with('[') {
        let list: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        return list.get(step.parse::<usize>().ok()?).copied();
    }
    let object: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
    object.get(step).copied()
}

/// What stands at a pointer where `*` is every element of an array.
fn elements<'a>(value: &'a RawValue, pointer: &str) -> Option<Vec<&'a RawValue>> {
    steps(pointer).try_fold(vec![value], |values, step| {
        let mut next = Vec::new();
        for value in values {
            if step == "*" {
                let list: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                next.extend(list);
            } else {
                next.push(member(value, &step)?);
            }
        }
        (next.len() <= MAX_ELEMENTS).then_some(next)
    })
}
