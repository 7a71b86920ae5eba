//! An order at rest, and what an event does to it.
//!
//! ```text
//! (none) ─► held ─► paid ─► refunded        held ─► dismissed
//! ```
//!
//! States only move to the right, and a refund that comes first stays: every permutation of the same events ends in one
//! state. An order that has an account keeps it.

use serde::{Deserialize, Serialize};

use crate::crypto;
use crate::error::{Error, Result};
use crate::memory::LockedKey;
pub use crate::protocol::OrderState as State;
use crate::store::{Id, OrderRow, Tag};

/// Longest order number in bytes.
pub const MAX_NUMBER: usize = 128;

fn read_state(number: u8) -> Result<State> {
    [State::Held, State::Paid, State::Refunded, State::Dismissed]
        .into_iter()
        .find(|state| *state as u8 == number)
        .ok_or(Error::corrupt("an order has an unknown state"))
}

/// What a human should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// It names no account of this service.
    Account,
    /// It is for something that is not sold here.
    Product,
    /// Less was paid than it costs.
    PaidLess,
    /// More was paid than it costs; what it costs was granted.
    PaidMore,
    /// It is for no months, or too many.
    Months,
    /// It was paid in another currency.
    Currency,
    /// The provider does not say that it is paid.
    Unpaid,
}

impl Note {
    /// The token on wires.
    pub const fn token(self) -> &'static str {
        match self {
            Note::Account => "account",
            Note::Product => "product",
            Note::PaidLess => "paid_less",
            Note::PaidMore => "paid_more",
            Note::Months => "months",
            Note::Currency => "currency",
            Note::Unpaid => "unpaid",
        }
    }
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bought {
    /// The tier, where the product is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// For how long; 0 where that is not known.
    pub months: u32,
    /// What was paid, in the smallest unit.
    pub amount: i64,
    /// Of this currency.
    pub currency: String,
    /// What the provider calls it.
    pub products: Vec<String>,
    /// What a human should look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which provider numbered it.
    pub provider: String,
    /// Its number there.
    pub number: String,
    /// Whose it is.
    pub account: Option<Id>,
    /// What became of it.
    pub state: State,
    /// When it was paid, Unix milliseconds.
    pub paid_at: i64,
    /// When it was first seen, Unix milliseconds.
    pub seen_at: i64,
    /// What was bought.
    pub bought: Bought,
}

impl Order {
    /// Reads a row, if it is one that this machine wrote for this vault.
    pub fn open(key: &LockedKey, vault: &Id, row: OrderRow) -> Result<Order> {
        if !crypto::equal(&mac(key, vault, &row), &row.mac) {
            return Err(
                Error::corrupt("an order fails its authentication").with_hint(
                    "the vault was edited, or came from another machine; keys are not concerned",
                ),
            );
        }
        let bought = serde_json::from_slice(&row.body)
            .map_err(|_| Error::corrupt("an order has an unknown shape"))?;
        Ok(Order {
            state: read_state(row.state)?,
            provider: row.provider,
            number: row.number,
            account: row.account,
            paid_at: row.paid_at,
            seen_at: row.seen_at,
            bought,
        })
    }

    /// The row of it.
    pub fn close(&self, key: &LockedKey, vault: &Id) -> Result<OrderRow> {
        let mut row = OrderRow {
            provider: self.provider.clone(),
            number: self.number.clone(),
            account: self.account,
            state: self.state as u8,
            paid_at: self.paid_at,
            seen_at: self.seen_at,
            mac: Tag::default(),
            body: crate::protocol::encode(&self.bought)?,
        };
        row.mac = mac(key, vault, &row);
        Ok(row)
    }

    /// What an event makes of the order that is stored; `None` where it changes nothing.
    pub fn after(stored: Option<Order>, event: Order) -> Option<Order> {
        let Some(stored) = stored else {
            return Some(event);
        };
        let merged = match (stored.state, event.state) {
            (State::Refunded | State::Dismissed, _) => return None,
            (_, State::Refunded) => Order {
                state: State::Refunded,
                account: stored.account.or(event.account),
                ..stored.clone()
            },
            // It was paid once. Whether it still is, a human finds out.
            (State::Paid, State::Held) if event.bought.note == Some(Note::Unpaid) => Order {
                bought: Bought {
                    note: Some(Note::Unpaid),
                    ..stored.bought.clone()
                },
                ..stored.clone()
            },
            (State::Paid, _) => return None,
            (State::Held, _) => Order {
                account: stored.account.or(event.account),
                paid_at: stored.paid_at,
                seen_at: stored.seen_at,
                ..event
            },
        };
        (merged != stored).then_some(merged)
    }
}

fn mac(key: &LockedKey, vault: &Id, row: &OrderRow) -> Tag {
    crypto::tag(
        key,
        &[
            b"order",
            vault,
            row.provider.as_bytes(),
            row.number.as_bytes(),
            row.account.as_ref().map_or(&[][..], |id| &id[..]),
            &[row.state],
            &row.paid_at.to_be_bytes(),
            &row.seen_at.to_be_bytes(),
            &row.body,
        ],
    )
}
