//! Asking for a balance and reading the answer: rules and an answer in, exact amounts out.
//!
//! Invariants: a key goes to its sealed destinations alone, as in a connection test, and through the same
//! request. Numbers are read from the text that was sent ([`Decimal`]), never through a float. An answer
//! without what the rules ask for is no balance: nothing is assumed to be zero. Of the answer's texts only
//! a currency's three letters are handed on.
//!
//! Deliberately absent: code for one provider, conversion between currencies, and remembering a balance.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use super::address::BaseUrl;
use super::balance_rules::{
    Amount, BalanceSource, CurrencyIs, KeyNeeded, Measure, QueryPart, Reading, Role, Scope, Shape,
    fill_query,
};
use super::decimal::Decimal;
use super::judge::body_is;
use super::outbound::{Outbound, exchange, headers};
use super::plan::{Plan, header, locate};
use super::rules::Method;
use super::schema::{Provider, Region};
use super::{Catalogue, Destinations};
use crate::protocol::{Balance, BalanceKind, BalanceOutcome, BalanceScope};
use crate::secret::Secret;

/// Most elements of an answer's array.
const MAX_ELEMENTS: usize = 10_000;
/// Most currencies and scopes of one balance.
const MAX_BALANCES: usize = 32;

/// Whose balance is asked for, and with what.
pub struct BalanceOf<'a> {
    /// The provider's record; none for one nobody listed.
    pub provider: Option<&'a Provider>,
    /// Those sealed with the key.
    pub destinations: &'a Destinations,
    /// The key's own address, as stored.
    pub base_url: Option<&'a str>,
    /// The id of the owner's team or account at the provider, as stored.
    pub team: Option<&'a str>,
    /// The key.
    pub secret: &'a Secret,
    /// The time, for what is counted by the month.
    pub now: Timestamp,
}

/// What a provider says is left.
#[derive(Debug, PartialEq, Eq)]
pub struct BalanceReport {
    /// Whether it is known.
    pub outcome: BalanceOutcome,
    /// One for each currency and scope.
    pub balances: Vec<Balance>,
    /// A sentence for a person; never part of an answer.
    pub detail: String,
}

/// Why a source says nothing.
struct Silence {
    outcome: BalanceOutcome,
    detail: String,
}

impl Silence {
    fn new(outcome: BalanceOutcome, sentence: &str) -> Silence {
        Silence {
            outcome,
            detail: sentence.to_owned(),
        }
    }

    fn unsupported(sentence: &str) -> Silence {
        Silence::new(BalanceOutcome::Unsupported, sentence)
    }

    fn answered(outcome: BalanceOutcome, sentence: &str, status: u16) -> Silence {
        Silence {
            outcome,
            detail: format!("{sentence} (HTTP {status})"),
        }
    }
}

/// Asks for the balance of a key. Blocks for at most [`Outbound::timeout`] per source (four at most), and must
/// not be called on a thread that drives a runtime.
pub fn balance(outbound: &Outbound, of: &BalanceOf<'_>) -> BalanceReport {
    match ask_all(outbound, of) {
        Ok((balances, detail)) => BalanceReport {
            outcome: BalanceOutcome::Known,
            balances,
            detail: detail.to_owned(),
        },
        Err(Silence { outcome, detail }) => BalanceReport {
            outcome,
            balances: Vec::new(),
            detail,
        },
    }
}

fn ask_all(
    outbound: &Outbound,
    of: &BalanceOf<'_>,
) -> Result<(Vec<Balance>, &'static str), Silence> {
    let base_url = of
        .base_url
        .map(BaseUrl::read)
        .transpose()
        .map_err(|refusal| Silence::unsupported(refusal.message()))?;
    if of.provider.is_none() && base_url.is_none() {
        return Err(Silence::unsupported(
            "nothing is known about this provider: give its base_url",
        ));
    }
    let record = of
        .provider
        .unwrap_or_else(|| Catalogue::builtin().unlisted());
    let region = region(record, base_url.as_ref());
    let mut sums = Sums::default();
    let mut silences: Vec<Silence> = Vec::new();
    let mut answered = false;
    for source in &record.balance {
        match ask(outbound, of, record, base_url.as_ref(), source)
            .and_then(|body| read(source, region, &body, of.now))
        {
            Ok(read) => {
                answered = true;
                sums.join(read)?;
            }
            Err(silence) => {
                let gone = silence.outcome == BalanceOutcome::Unreachable;
                silences.push(silence);
                if gone {
                    // Whoever does not answer the first request will not answer the next.
                    break;
                }
            }
        }
    }
    if answered {
        let detail = match silences.is_empty() {
            true => "the provider says so",
            false => "in part: the provider does not tell this key the rest",
        };
        return Ok((sums.balances()?, detail));
    }
    // What can be helped is said before what cannot.
    let rank = |silence: &Silence| match silence.outcome {
        BalanceOutcome::Refused => 0,
        BalanceOutcome::Unreachable => 1,
        BalanceOutcome::Unsupported | BalanceOutcome::Known => 2,
    };
    Err(silences
        .into_iter()
        .min_by_key(rank)
        .unwrap_or_else(|| Silence::unsupported("the provider has no balance that a key can read")))
}

/// Sends one request; a success's body comes back.
fn ask(
    outbound: &Outbound,
    of: &BalanceOf<'_>,
    record: &Provider,
    base_url: Option<&BaseUrl>,
    source: &BalanceSource,
) -> Result<zeroize::Zeroizing<Vec<u8>>, Silence> {
    let url = fill(&source.url, of)?;
    let header = header(record).map_err(Silence::unsupported)?;
    let (address, query) = locate(record, &url, base_url).map_err(Silence::unsupported)?;
    if !of.destinations.allow(&address.origin(), header) {
        return Err(Silence::unsupported(
            "the key was not sealed for the address of its balance: nothing was sent",
        ));
    }
    let headers = headers(record, header, Some(of.secret), false)
        .ok_or_else(|| Silence::unsupported("the key has characters that no header can carry"))?;
    let plan = Plan {
        address,
        query,
        method: Method::Get,
        header: header.to_owned(),
    };
    let answer = exchange(outbound, &plan, headers, None)
        .map_err(|failure| Silence::new(BalanceOutcome::Unreachable, failure.sentence()))?;
    let silent = |outcome, sentence| Err(Silence::answered(outcome, sentence, answer.status));
    match answer.status {
        200..=299 => Ok(answer.body),
        300..=399 => silent(
            BalanceOutcome::Unreachable,
            "the answer is a redirect, which is never followed",
        ),
        401 | 403 => silent(
            BalanceOutcome::Refused,
            match source.needs {
                KeyNeeded::Ordinary => {
                    "the provider refuses the key, or does not tell it the balance"
                }
                KeyNeeded::Management => {
                    "the provider tells the balance to keys made for administration alone"
                }
            },
        ),
        404 | 405 | 410 => silent(
            BalanceOutcome::Unsupported,
            "there is no balance at this address",
        ),
        429 => silent(BalanceOutcome::Unreachable, "too many requests for now"),
        500..=599 => silent(
            BalanceOutcome::Unreachable,
            "the provider has trouble of its own",
        ),
        _ => silent(BalanceOutcome::Unreachable, "the answer was not understood"),
    }
}

/// The address with what its owner and the calendar know.
fn fill(template: &str, of: &BalanceOf<'_>) -> Result<String, Silence> {
    let mut url = template.to_owned();
    if url.contains("{team}") {
        let team = of.team.ok_or_else(|| {
            Silence::unsupported(
                "the id of your team or account at the provider is needed: run akm edit NAME --team ID",
            )
        })?;
        url = url.replace("{team}", team);
    }
    Ok(match url.split_once('?') {
        Some((address, query)) => {
            let query = fill_query(query, |part| written(part, of.now));
            format!("{address}?{query}")
        }
        None => url,
    })
}

/// The start of the month.
fn month(now: Timestamp) -> Timestamp {
    let today = now.to_zoned(TimeZone::UTC).date();
    today
        .first_of_month()
        .to_zoned(TimeZone::UTC)
        .map_or(now, |start| start.timestamp())
}

fn written(part: QueryPart, now: Timestamp) -> String {
    // To the second, as providers write them; a colon needs no escape in a query.
    let time = |at: Timestamp| format!("{at:.0}");
    let date = |at: Timestamp| at.to_zoned(TimeZone::UTC).date().to_string();
    match part {
        QueryPart::FromUnix => month(now).as_second().to_string(),
        QueryPart::FromTime => time(month(now)),
        QueryPart::ToTime => time(now),
        QueryPart::FromDate => date(month(now)),
        QueryPart::ToDate => date(now),
    }
}

/// The region of the endpoint that is asked; none where the address is somebody else's.
fn region(record: &Provider, base_url: Option<&BaseUrl>) -> Option<Region> {
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
struct Sums(Vec<(Place, Sum)>);

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

    /// Elements of one answer add up.
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

    /// A later answer fills in what the earlier did not say.
    fn join(&mut self, later: Sums) -> Result<(), Silence> {
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

    fn balances(self) -> Result<Vec<Balance>, Silence> {
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
                })
            })
            .collect()
    }
}

/// Reads the answer of one source.
fn read(
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
                sums.add(place, Sum { since, ..sum })?;
            }
        }
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
