//! Selling: its state, its arms, and where an account stands by what it paid.
//!
//! Invariants: a standing is made of the orders at rest each time it is asked for, each of which is opened; what the row of
//! an account says of its tier is for lists and never decides.
//!
//! Deliberately absent: orders one by one (`orders`), codes (`vouchers`), the table of tiers (`tiers`), what follows from a
//! tier (`allowance`), and whoever takes money (`payments`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use crate::audit::Caller;
use crate::billing::term;
use crate::billing::{Phase, Purchase, Settings, Standing, State, Tier, tier};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::protocol::{BillingStanding, Op, Request, Response, TierChange, TierState};
use crate::store::{Id, Ledger, OrderRow, Settled, TierRow};
use crate::vault::Unlocked;

use super::allowance::Minute;
use super::{Service, shape};

/// Most orders of an account that are weighed.
pub(super) const MOST_ORDERS: u32 = 10_000;
/// Changes of a tier that a status lists.
const HISTORY: u32 = 50;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What the service keeps for selling.
pub(super) struct Billing {
    pub(super) key: LockedKey,
    pub(super) settings: Arc<Settings>,
    /// Whether the tiers hold: a server that sells nothing limits nobody by them.
    pub(super) on: bool,
    /// The tiers that hold now; see `tiers`.
    pub(super) tiers: RwLock<Arc<Vec<Tier>>>,
    /// Held by the one change of them.
    pub(super) changing: Mutex<()>,
    /// What each account asked in this minute.
    pub(super) meter: Mutex<HashMap<Id, Minute>>,
}

impl Billing {
    pub(super) fn new(host_key: &LockedKey) -> Billing {
        Billing {
            key: crypto::derive(host_key, "billing"),
            tiers: RwLock::new(Arc::new(Settings::default().tiers)),
            settings: Arc::default(),
            on: false,
            changing: Mutex::default(),
            meter: Mutex::default(),
        }
    }
}

/// Whether an operation is one of this room.
pub(super) fn concerns(op: Op) -> bool {
    op.name().starts_with("billing.") && op.authority() == crate::protocol::Authority::Session
}

/// For good, as long as the server is configured as it is: nobody's fault, and nothing to try again.
pub(super) fn not_sold() -> Error {
    Error::new(Kind::NotFound, "nothing is sold here")
        .with_hint("tiers are sold where the server has a billing.toml")
}

impl Service {
    /// Sells by these settings; from here on tiers limit hosted accounts.
    #[must_use]
    pub fn with_billing(mut self, settings: Arc<Settings>) -> Service {
        self.billing.settings = settings;
        self.billing.on = true;
        self.load_tiers();
        self
    }

    pub(super) fn billing(&self, caller: &Caller, request: Request) -> Result<Response> {
        self.open_session(caller, request.op(), |asked| match &request {
            Request::BillingStatus(_) => self
                .tier_status(&asked.session.account)
                .map(Response::BillingStatus),
            Request::BillingOrders(request) => self
                .list_orders(asked, request)
                .map(Response::BillingOrders),
            Request::BillingOrderLink(request) => self
                .order_link(asked, request)
                .map(Response::BillingOrderLink),
            Request::BillingRedeem(request) => {
                self.redeem(asked, request).map(Response::BillingRedeem)
            }
            Request::BillingContact(request) => {
                self.contact(asked, request).map(Response::BillingContact)
            }
            Request::BillingNotices(_) => self.notices(asked).map(Response::BillingNotices),
            _ => Err(Error::internal(
                "the table and the service disagree about an operation",
            )),
        })
    }

    /// Where an account stands.
    pub(super) fn tier_standing(&self, account: &Id) -> Result<Standing> {
        let rows = self.file.orders_of(account, MOST_ORDERS)?;
        self.weigh(&rows, self.now_ms())
    }

    fn weigh(&self, rows: &[OrderRow], now: i64) -> Result<Standing> {
        let settings = &self.billing.settings;
        let table = self.tier_table();
        let mut purchases = Vec::new();
        for row in rows {
            let order = self.open_order(row.clone())?;
            // A tier that is not offered any more is none.
            if order.state == State::Paid
                && let Some(rank) = order
                    .bought
                    .tier
                    .as_deref()
                    .and_then(|tier| table.iter().position(|known| known.id == tier))
            {
                purchases.push(Purchase {
                    at: order.paid_at,
                    rank,
                    months: order.bought.months,
                });
            }
        }
        Ok(term::standing(&purchases, now, settings.grace_days))
    }

    /// What an account's orders come to now, for its row and its history.
    pub(super) fn settled(&self, rows: &[OrderRow]) -> Result<Settled> {
        let now = self.now_ms();
        let standing = self.weigh(rows, now)?;
        let refunded = rows
            .iter()
            .any(|row| row.state == State::Refunded as u8 && standing.until.is_none());
        let tier = self.tier_of(&standing).id.clone();
        Ok(Settled {
            history: TierRow {
                time: now,
                tier: tier.clone(),
                until: standing.until,
                reason: match standing.phase {
                    Phase::Paid => "paid",
                    Phase::Grace => "grace",
                    Phase::None if refunded => "refunded",
                    Phase::None => "ended",
                }
                .to_owned(),
            },
            tier,
        })
    }

    pub(super) fn tier_status(&self, account: &Unlocked) -> Result<BillingStanding> {
        let keys = self.vault.count_keys(account)?;
        if !self.has_tier(account) {
            return Ok(BillingStanding {
                tier: tier::LOCAL.to_owned(),
                state: TierState::Local,
                until: None,
                holds_until: None,
                keys,
                most_keys: self.key_limit(account)?,
                most_providers: None,
                history: Vec::new(),
            });
        }
        let standing = self.tier_standing(account.id())?;
        let tier = self.tier_of(&standing);
        let grace = i64::from(self.billing.settings.grace_days).saturating_mul(DAY_MS);
        Ok(BillingStanding {
            tier: tier.id.clone(),
            state: match standing.phase {
                Phase::None => TierState::None,
                Phase::Paid => TierState::Paid,
                Phase::Grace => TierState::Grace,
            },
            until: standing.until.map(shape::time_ms),
            holds_until: match standing.phase {
                Phase::None => None,
                _ => standing
                    .until
                    .map(|until| shape::time_ms(until.saturating_add(grace))),
            },
            keys,
            most_keys: self.key_limit(account)?,
            most_providers: tier.providers,
            history: self
                .file
                .tier_history(account.id(), HISTORY)?
                .into_iter()
                .map(|row| TierChange {
                    time: shape::time_ms(row.time),
                    tier: row.tier,
                    until: row.until.map(shape::time_ms),
                    reason: row.reason,
                })
                .collect(),
        })
    }
}
