//! What rests about money: orders, redeem codes, the history of tiers, where somebody is reached, what was said.
//!
//! Invariants: an order is stored under its provider and number once, and whatever it grants is noted in the same
//! transaction; a reminder is claimed before it is sent. Rows that grant something carry a MAC of the machine, which
//! the billing room makes and checks: here it is a column.
//!
//! Apart from [`Store`](super::Store), because what keeps keys need not sell anything.

use crate::error::Result;

use super::{BeforeCommit, Id, Tag};

/// An order, as far as it is kept: no address, no remark, no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Which provider numbered it.
    pub provider: String,
    /// Its number there.
    pub number: String,
    /// Whose it is, where that is known.
    pub account: Option<Id>,
    /// A number of the billing room.
    pub state: u8,
    /// When it was paid, Unix milliseconds.
    pub paid_at: i64,
    /// When it was first seen here, Unix milliseconds.
    pub seen_at: i64,
    /// Over everything else.
    pub mac: Tag,
    /// What was bought, as the billing room writes it.
    pub body: Vec<u8>,
}

/// A redeem code that may still be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRow {
    /// Keyed tag of the code.
    pub tag: Tag,
    /// What it is good for.
    pub tier: String,
    /// For how long.
    pub months: u32,
    /// Until when it may be redeemed, Unix milliseconds.
    pub expires_at: Option<i64>,
    /// When it was made, Unix milliseconds.
    pub created_at: i64,
    /// Over everything else.
    pub mac: Tag,
}

/// A change of an account's tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierRow {
    /// When, Unix milliseconds.
    pub time: i64,
    /// The tier from then on.
    pub tier: String,
    /// Until when it is paid, Unix milliseconds.
    pub until: Option<i64>,
    /// Why, as a token.
    pub reason: String,
}

/// What an account's orders come to: decided inside the transaction that stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The tier as a hint beside the account.
    pub tier: String,
    /// The row that is written where it differs from the last one in tier, end or reason.
    pub history: TierRow,
}

/// Decides what becomes of an order; `None` leaves it as it is.
pub type Decide<'a> = &'a mut dyn FnMut(Option<OrderRow>) -> Result<Option<OrderRow>>;
/// Weighs all orders of an account.
pub type Weigh<'a> = &'a mut dyn FnMut(&[OrderRow]) -> Result<Settled>;

/// A store of money matters.
pub trait Ledger: Send + Sync {
    /// An order by its number: one indexed read.
    fn order(&self, provider: &str, number: &str) -> Result<Option<OrderRow>>;
    /// The orders of an account, oldest first; more than `most` are `corrupt`.
    fn orders_of(&self, account: &Id, most: u32) -> Result<Vec<OrderRow>>;
    /// Orders, newest first, before the one named; only those in `state`, if given.
    fn orders_page(
        &self,
        state: Option<u8>,
        before: Option<(i64, &str, &str)>,
        limit: u32,
    ) -> Result<Vec<OrderRow>>;
    /// Reads, decides and writes an order, weighs all orders of its account, and notes what that comes to: one
    /// transaction. Says whether anything changed.
    fn settle(
        &self,
        provider: &str,
        number: &str,
        decide: Decide<'_>,
        weigh: Weigh<'_>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<bool>;
    /// Weighs an account's orders again, because time has passed. Says whether that came to something else.
    fn weigh(&self, account: &Id, weigh: Weigh<'_>) -> Result<bool>;
    /// The changes of an account's tier, newest first.
    fn tier_history(&self, account: &Id, limit: u32) -> Result<Vec<TierRow>>;

    /// Keeps redeem codes, all or none.
    fn add_codes(&self, codes: &[CodeRow], before_commit: BeforeCommit<'_>) -> Result<()>;
    /// A code by its tag.
    fn code(&self, tag: &Tag) -> Result<Option<CodeRow>>;

    /// Keeps where an account's owner is reached, or nothing any more.
    fn set_contact(
        &self,
        account: &Id,
        sealed: Option<&[u8]>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Where an account's owner is reached.
    fn contact(&self, account: &Id) -> Result<Option<Vec<u8>>>;
    /// Claims a reminder: false if it was claimed before.
    fn claim_reminder(
        &self,
        account: &Id,
        subject: &Id,
        ends_at: i64,
        days: u32,
        channel: &str,
    ) -> Result<bool>;
    /// Gives a claim back, where nothing was sent.
    fn release_reminder(
        &self,
        account: &Id,
        subject: &Id,
        ends_at: i64,
        days: u32,
        channel: &str,
    ) -> Result<()>;
}
