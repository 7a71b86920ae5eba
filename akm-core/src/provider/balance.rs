//! Asking for a balance and reading the answer: rules and an answer in, exact amounts out.
//!
//! Invariants: a key goes to its sealed destinations alone, as in a connection test, and through the same
//! request. Numbers are read from the text that was sent ([`Decimal`](super::decimal::Decimal)), never through a float. An answer
//! without what the rules ask for is no balance: nothing is assumed to be zero. Of the answer's texts only
//! a currency's three letters are handed on.
//!
//! Deliberately absent: code for one provider, conversion between currencies, and remembering a balance.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::address::BaseUrl;
use super::balance_rules::{BalanceSource, KeyNeeded, QueryPart, fill_query};
use super::outbound::{Outbound, exchange, headers};
use super::plan::{Plan, header, locate};
use super::rules::Method;
use super::schema::Provider;
use super::units::region;
use super::{Catalogue, Destinations};
use crate::protocol::{Balance, BalanceOutcome};
use crate::secret::Secret;

mod reading;

use reading::{Sums, read};

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
