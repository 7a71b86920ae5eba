//! Who takes money, and what a bill of theirs comes to.
//!
//! A provider proves that a push is its own, and says what was paid when it is asked by number. It decides nothing:
//! [`judge`] does, by the products of the configuration.

use super::order::{Bought, MAX_NUMBER, Note, Order, State};
use super::term::MAX_MONTHS;
use super::{Settings, Tier};
use crate::error::Result;
use crate::store::Id;

/// Most lines of a bill that are read.
pub const MAX_LINES: usize = 32;
/// The earliest time, Unix milliseconds, that an order for an account here can have been paid at: nothing was sold before
/// there was akm. 2026-01-01.
const FIRST_OF_OURS: i64 = 1_767_225_600_000;
/// And one of nobody here, which may be of a shop that is older. 2015-01-01.
const FIRST_OF_ANY: i64 = 1_420_070_400_000;

/// Something that is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// By whom.
    pub provider: String,
    /// What the provider calls it.
    pub id: String,
    /// Whether it is counted in pieces and not in months.
    pub goods: bool,
    /// The plan that goods stand under, where the provider's order page asks for it.
    pub plan: Option<String>,
    /// The tier it is of.
    pub tier: String,
    /// Months of one month or piece.
    pub months: u32,
    /// Of one month or piece, in the smallest unit.
    pub price: i64,
    /// Of this currency.
    pub currency: String,
}

/// A line of a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What the provider calls it.
    pub product: String,
    /// Whether it is counted in pieces and not in months.
    pub goods: bool,
    /// How many months or pieces.
    pub count: i64,
}

/// What was bought, as its provider says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Products, for what the configuration says they are.
    Lines(Vec<Line>),
    /// Months of a tier, by a code that says so itself.
    Months {
        /// The tier.
        tier: String,
        /// For how long.
        months: u32,
    },
}

/// Whether it is paid, as its provider says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    /// It is.
    Done,
    /// The money went back.
    Returned,
    /// Something else.
    Unknown,
}

/// What a provider says of an order when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Its number.
    pub number: String,
    /// What was carried from the order link.
    pub custom: Option<String>,
    /// What was bought.
    pub what: What,
    /// What was paid, in the smallest unit.
    pub amount: i64,
    /// Of this currency.
    pub currency: String,
    /// Whether it is paid.
    pub payment: Payment,
    /// When it was paid, Unix milliseconds, where that is said; [`judge`] believes no absurd one.
    pub at: Option<i64>,
}

/// A push, as it came.
pub struct Push<'a> {
    /// The header `Akm-Signature`.
    pub signature: Option<&'a str>,
    /// The raw body.
    pub body: &'a [u8],
    /// Unix seconds.
    pub now: i64,
}

/// What a push that is proven says.
#[derive(Debug)]
pub enum Pushed {
    /// That pushes arrive: nothing was bought.
    Test,
    /// That there is an order of this number; what it says beside is not proven, so it is asked for.
    Number(String),
    /// Everything.
    Bill(Box<Bill>),
}

/// Somebody who takes money.
pub trait PaymentProvider: Send + Sync {
    /// In orders, in the address of its pushes, in the configuration.
    fn name(&self) -> &'static str;
    /// Proves that a push is the provider's own; `denied` if it is not.
    fn open(&self, push: &Push<'_>) -> Result<Pushed>;
    /// What was paid under a number, from whoever knows it.
    fn bill(&self, number: &str) -> Result<Option<Bill>>;
    /// A page of the newest bills, from 1; empty where there are no more, or nothing can be asked for.
    fn newest(&self, page: u32) -> Result<Vec<Bill>>;
    /// Where somebody buys a product, with `custom` carried along; none where there is no such page.
    fn link(&self, product: &Product, months: u32, custom: &str) -> Option<String>;
    /// The body of the answer to a push that was taken.
    fn taken(&self) -> &'static [u8] {
        b"{}"
    }
}

/// What a bill comes to, with these tiers. `account` is whose the custom text is, if it is anybody's.
pub fn judge(
    settings: &Settings,
    tiers: &[Tier],
    provider: &str,
    bill: &Bill,
    account: Option<Id>,
    now: i64,
) -> Order {
    let (tier, months, cost) = match &bill.what {
        What::Months { tier, months } => (
            tiers
                .iter()
                .any(|known| known.id == *tier)
                .then(|| tier.clone()),
            i64::from(*months),
            Some(0),
        ),
        What::Lines(lines) => priced(settings, provider, lines, &bill.currency),
    };
    let known = months_within(months);
    let mut order = Order {
        provider: provider.to_owned(),
        number: bill.number.clone(),
        account,
        state: State::Held,
        paid_at: paid_at(bill.at, account.is_some(), now),
        seen_at: now,
        bought: Bought {
            months: known.unwrap_or(0),
            amount: bill.amount,
            currency: bill.currency.clone(),
            products: match &bill.what {
                What::Months { .. } => Vec::new(),
                What::Lines(lines) => lines
                    .iter()
                    .map(|line| line.product.chars().take(MAX_NUMBER).collect())
                    .collect(),
            },
            note: None,
            tier,
        },
    };
    if bill.payment == Payment::Returned {
        order.state = State::Refunded;
        return order;
    }
    order.bought.note = match (&order.bought.tier, known, cost) {
        _ if bill.payment == Payment::Unknown => Some(Note::Unpaid),
        (None, ..) => Some(Note::Product),
        (_, None, _) => Some(Note::Months),
        (.., None) => Some(Note::Currency),
        (.., Some(cost)) if bill.amount < cost => Some(Note::PaidLess),
        _ if account.is_none() => Some(Note::Account),
        (.., Some(cost)) => {
            order.state = State::Paid;
            (bill.amount > cost).then_some(Note::PaidMore)
        }
    };
    order
}

/// When an order counts as paid. A time before anything was sold is none: what was bought would be over when it comes in. One
/// in the future would let it begin later than it was paid for.
fn paid_at(said: Option<i64>, ours: bool, now: i64) -> i64 {
    let first = if ours { FIRST_OF_OURS } else { FIRST_OF_ANY };
    said.filter(|at| (first..=now).contains(at)).unwrap_or(now)
}

fn months_within(months: i64) -> Option<u32> {
    u32::try_from(months)
        .ok()
        .filter(|months| (1..=MAX_MONTHS).contains(months))
}

/// Tier, months and cost of the lines: no tier if one is not sold here or two are of different tiers, no cost in another
/// currency; months out of range if a count is none.
fn priced(
    settings: &Settings,
    provider: &str,
    lines: &[Line],
    currency: &str,
) -> (Option<String>, i64, Option<i64>) {
    let mut tier = None;
    let (mut months, mut cost) = (0_i64, Some(0_i64));
    if lines.is_empty() || lines.len() > MAX_LINES {
        return (None, 0, None);
    }
    for line in lines {
        let Some(product) = settings.products.iter().find(|product| {
            product.provider == provider
                && product.id == line.product
                && product.goods == line.goods
        }) else {
            return (None, 0, None);
        };
        if tier
            .replace(&product.tier)
            .is_some_and(|other| *other != product.tier)
        {
            return (None, 0, None);
        }
        if !(1..=i64::from(MAX_MONTHS)).contains(&line.count) {
            return (tier.cloned(), 0, cost);
        }
        // At most 32 lines of 120 times 120 months.
        months += line.count * i64::from(product.months);
        cost = (product.currency == currency)
            .then(|| product.price.checked_mul(line.count)?.checked_add(cost?))
            .flatten();
    }
    (tier.cloned(), months, cost)
}
