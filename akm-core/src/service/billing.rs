//! The arms for tiers and orders, and the limits that a tier sets.
//!
//! Invariants: an account that its owner made here has no limits, whatever its row says: what it is stands sealed with its
//! keys; and where nothing is sold nobody has. How many keys there may be is asked before the insertion, enforced by it, and asked again inside its transaction, where
//! no order can come between. Who may administer was decided at the gate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::audit::{Caller, Via};
use crate::billing::codes::{self, Codes};
use crate::billing::order::Note;
use crate::billing::term::{self, MAX_MONTHS};
use crate::billing::{
    Order, PaymentProvider, Phase, Product, Purchase, Settings, Standing, State, Tier, money, tier,
};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::name::AccountName;
use crate::protocol::{
    AdminOrders, BillingCodesCreate, BillingOrderLink, BillingOrderResolve, BillingOrders,
    BillingRedeem, BillingStanding, Op, OrderInfo, OrderLink, OrderPage, RedeemCodes, Request,
    Resolution, Response, TierChange, TierInfo, TierState, Tiers,
};
use crate::store::{Id, Ledger, OrderRow, Settled, Store, TierRow};
use crate::vault::Unlocked;

use super::session::Session;
use super::{Asked, Service, keys, shape};

/// Most orders of an account that are weighed.
pub(super) const MOST_ORDERS: u32 = 10_000;
/// Changes of a tier that a status lists.
const HISTORY: u32 = 50;
/// Most redeem codes made at once.
const MAX_CODES: u32 = 1000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

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
    meter: Mutex<HashMap<Id, Minute>>,
}

/// The requests of an account in a minute.
struct Minute {
    number: i64,
    requests: u32,
    most: Option<u32>,
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

pub(super) fn not_sold() -> Error {
    Error::new(Kind::Unavailable, "nothing is sold here")
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

    pub(super) fn tiers(&self) -> Tiers {
        let settings = &self.billing.settings;
        Tiers {
            tiers: self
                .tier_table()
                .iter()
                .map(|tier| {
                    let mut sold_by: Vec<String> = settings
                        .products
                        .iter()
                        .filter(|product| product.tier == tier.id)
                        .map(|product| product.provider.clone())
                        .collect();
                    sold_by.sort();
                    sold_by.dedup();
                    TierInfo {
                        tier: tier.id.clone(),
                        name: tier.name.clone(),
                        name_zh: tier.name_zh.clone(),
                        price_fen: tier.price_fen,
                        keys: tier.keys,
                        providers: tier.providers,
                        requests_per_minute: tier.requests_per_minute,
                        sold_by,
                    }
                })
                .collect(),
            grace_days: settings.grace_days,
            codes: settings.codes,
        }
    }

    /// The tier that an account begins with; none for one that the owner of this machine makes for themselves.
    pub(super) fn first_tier(&self, caller: &Caller) -> Option<String> {
        if caller.via == Via::Host {
            return None;
        }
        let table = self.tier_table();
        Some(
            table
                .first()
                .map_or_else(String::new, |tier| tier.id.clone()),
        )
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

    pub(super) fn open_order(&self, row: OrderRow) -> Result<Order> {
        Order::open(&self.billing.key, &self.file.vault_id(), row)
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

    /// Whether a tier limits the account: it is one of a hosted service that has tiers.
    pub(super) fn has_tier(&self, account: &Unlocked) -> bool {
        self.billing.on && account.hosted()
    }

    /// Most keys of an account: the least of what holds for all, what an administrator set, and its tier's.
    pub(super) fn key_limit(&self, account: &Unlocked) -> Result<Option<u64>> {
        let own = self.vault.standing(account.id())?.key_limit;
        let of_tier = match self.has_tier(account) {
            true => self.tier_of(&self.tier_standing(account.id())?).keys,
            false => None,
        };
        Ok([self.key_limit, own, of_tier].into_iter().flatten().min())
    }

    /// Inside the inserting transaction: whether the limit still is what was enforced.
    pub(super) fn check_limit(&self, account: &Unlocked, enforced: Option<u64>) -> Result<()> {
        if self.key_limit(account)? == enforced {
            return Ok(());
        }
        Err(
            Error::new(Kind::Conflict, "the tier of the account changed meanwhile")
                .with_hint("try again"),
        )
    }

    /// Most providers of its own that an account may have.
    pub(super) fn provider_limit(&self, account: &Unlocked) -> Result<u32> {
        if !self.has_tier(account) {
            return Ok(u32::MAX);
        }
        let tier = self.tier_of(&self.tier_standing(account.id())?);
        Ok(tier.providers.unwrap_or(u32::MAX))
    }

    /// Counts a request of whoever asks; see [`Service::count_of`]. Whoever has no session is nobody's account.
    pub(super) fn count_request(&self, caller: &Caller) -> Result<()> {
        if !self.billing.on {
            return Ok(());
        }
        match self.sessions.read().live(caller, &*self.host.clock) {
            Ok(session) => self.count_of(session),
            Err(_) => Ok(()),
        }
    }

    /// Counts a request of a hosted account: `rate_limited` past what its tier allows in a minute. Each request is counted
    /// once, on its way in.
    pub(super) fn count_of(&self, session: &Session) -> Result<()> {
        let account = &session.account;
        if !self.has_tier(account) {
            return Ok(());
        }
        let now = self.now_ms();
        let number = now.div_euclid(MINUTE_MS);
        let mut meter = self
            .billing
            .meter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = meter
            .get(account.id())
            .is_none_or(|minute| minute.number != number);
        if fresh {
            // One row per account that asked in this minute.
            meter.retain(|_, minute| minute.number == number);
            // An order that cannot be read limits what is added, not what is asked.
            let most = match self.tier_standing(account.id()) {
                Ok(standing) => self.tier_of(&standing).requests_per_minute,
                Err(_) => self
                    .tier_table()
                    .first()
                    .and_then(|tier| tier.requests_per_minute),
            };
            meter.insert(
                *account.id(),
                Minute {
                    number,
                    requests: 0,
                    most,
                },
            );
        }
        let Some(minute) = meter.get_mut(account.id()) else {
            return Ok(());
        };
        minute.requests = minute.requests.saturating_add(1);
        if minute.most.is_some_and(|most| minute.requests > most) {
            let left = MINUTE_MS - now.rem_euclid(MINUTE_MS);
            return Err(Error::new(
                Kind::RateLimited,
                "the account asked as often in this minute as its tier allows",
            )
            .with_retry_after(u64::try_from(left).unwrap_or(0).div_ceil(1000)));
        }
        Ok(())
    }

    /// Takes back the count of a request that was not carried out and comes in again.
    pub(super) fn uncount(&self, account: &Id) {
        let mut meter = self
            .billing
            .meter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(minute) = meter.get_mut(account) {
            minute.requests = minute.requests.saturating_sub(1);
        }
    }

    fn tier_status(&self, account: &Unlocked) -> Result<BillingStanding> {
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

    fn list_orders(&self, asked: &Asked<'_>, request: &BillingOrders) -> Result<OrderPage> {
        let limit = keys::page_limit(request.limit)?;
        let account = asked.session.account.id();
        let mut orders = Vec::new();
        for row in self.file.orders_of(account, MOST_ORDERS)?.into_iter().rev() {
            let order = self.open_order(row)?;
            if request.state.is_none_or(|state| state == order.state) {
                orders.push(described(&order, None)?);
            }
        }
        orders.truncate(limit as usize);
        Ok(OrderPage { orders, next: None })
    }

    pub(super) fn list_all_orders(&self, request: &AdminOrders) -> Result<OrderPage> {
        let limit = keys::page_limit(request.limit)?;
        let after = request.after.as_deref().map(read_cursor).transpose()?;
        let before = after
            .as_ref()
            .map(|(seen, provider, number)| (*seen, provider.as_str(), number.as_str()));
        let rows = self
            .file
            .orders_page(request.state.map(|state| state as u8), before, limit)?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit as usize => Some(cursor(last)),
            _ => None,
        };
        let orders = rows
            .into_iter()
            .map(|row| {
                let order = self.open_order(row)?;
                let account = self.name_of(order.account.as_ref())?;
                described(&order, account)
            })
            .collect::<Result<_>>()?;
        Ok(OrderPage { orders, next })
    }

    fn name_of(&self, account: Option<&Id>) -> Result<Option<String>> {
        match account {
            Some(id) => Ok(self.file.account(id)?.map(|row| row.name)),
            None => Ok(None),
        }
    }

    fn order_link(&self, asked: &Asked<'_>, request: &BillingOrderLink) -> Result<OrderLink> {
        let settings = &self.billing.settings;
        if settings.payments.is_empty() {
            return Err(not_sold());
        }
        let months = request.months.unwrap_or(1);
        if !(1..=MAX_MONTHS).contains(&months) {
            return Err(Error::invalid("months", "months are 1 to 120"));
        }
        let custom = self.custom_of(asked.session.account.id());
        let fits = |product: &&Product| {
            product.tier == request.tier
                && months.is_multiple_of(product.months)
                && request
                    .provider
                    .as_ref()
                    .is_none_or(|provider| *provider == product.provider)
        };
        settings
            .products
            .iter()
            .filter(fits)
            .find_map(|product| {
                let payment = settings
                    .payments
                    .iter()
                    .find(|payment| payment.name() == product.provider)?;
                let count = months / product.months;
                Some(OrderLink {
                    provider: product.provider.clone(),
                    url: payment.link(product, count, &custom)?,
                    amount: product.price.checked_mul(i64::from(count))?,
                    currency: product.currency.clone(),
                })
            })
            .ok_or(
                Error::new(Kind::NotFound, "this is not sold for so many months")
                    .with_field("tier")
                    .with_hint("run akm billing tiers"),
            )
    }

    pub(super) fn redeem_codes(&self) -> Result<Codes> {
        if !self.billing.settings.codes {
            return Err(not_sold());
        }
        let again = LockedKey::build(|to| {
            to.copy_from_slice(self.billing.key.expose());
            Ok(())
        })?;
        Ok(Codes::new(
            Arc::clone(&self.file) as Arc<dyn Ledger>,
            self.host.clone(),
            again,
            self.file.vault_id(),
        ))
    }

    fn redeem(&self, asked: &Asked<'_>, request: &BillingRedeem) -> Result<BillingStanding> {
        const NONE: Error = Error::new(Kind::NotFound, "the code is not one, or is used up");
        let account = &asked.session.account;
        let codes = self.redeem_codes()?;
        if !account.hosted() {
            return Err(Error::new(
                Kind::Denied,
                "an account of your own has no limits: a code does nothing for it",
            ));
        }
        let bill = codes
            .bill(request.code.expose())?
            .ok_or(NONE.with_field("code"))?;
        let changed = self.settle(codes::NAME, &bill, Some(*account.id()), &mut |_| {
            self.still_open(&bill.number)?;
            self.event(asked)
        })?;
        if !changed {
            return Err(NONE.with_field("code"));
        }
        self.tier_status(account)
    }

    /// Whether this is a tier above the first.
    fn is_bought(&self, tier: &str) -> bool {
        self.tier_table()
            .iter()
            .skip(1)
            .any(|known| known.id == tier)
    }

    pub(super) fn create_codes(
        &self,
        caller: &Caller,
        request: &BillingCodesCreate,
    ) -> Result<RedeemCodes> {
        let codes = self.redeem_codes()?;
        if !self.is_bought(&request.tier) {
            return Err(Error::invalid("tier", "there is no such tier to buy"));
        }
        if !(1..=MAX_MONTHS).contains(&request.months) {
            return Err(Error::invalid("months", "months are 1 to 120"));
        }
        let count = request.count.unwrap_or(1);
        if !(1..=MAX_CODES).contains(&count) {
            return Err(Error::invalid("count", "a count is 1 to 1000"));
        }
        let expires_at = request
            .expires_at
            .as_deref()
            .map(shape::parse_expiry)
            .transpose()?;
        let (made, rows): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| codes.create(&request.tier, request.months, expires_at))
            .unzip();
        self.as_admin(caller, Op::BillingCodesCreate, |event| {
            self.file.add_codes(&rows, event)
        })?;
        Ok(RedeemCodes { codes: made })
    }

    pub(super) fn resolve_order(
        &self,
        caller: &Caller,
        request: &BillingOrderResolve,
    ) -> Result<OrderInfo> {
        let row = self.file.order(&request.provider, &request.number)?.ok_or(
            Error::new(Kind::NotFound, "there is no such order")
                .with_field("number")
                .with_hint("run akm admin orders to see what there is"),
        )?;
        let seen = self.open_order(row)?;
        let account = match &request.account {
            Some(name) => {
                let name = AccountName::parse(name, "account")?;
                let row = self.file.account_by_name(name.as_str())?;
                Some(row.map(|row| row.id).ok_or(
                    Error::new(Kind::NotFound, "there is no such account").with_field("account"),
                )?)
            }
            None => None,
        };
        if seen.account.is_some() && account.is_some_and(|account| Some(account) != seen.account) {
            return Err(
                Error::new(Kind::Conflict, "the order is another account's").with_field("account")
            );
        }
        if let Some(tier) = &request.tier
            && !self.is_bought(tier)
        {
            return Err(Error::invalid("tier", "there is no such tier to buy"));
        }
        if request
            .months
            .is_some_and(|months| !(1..=MAX_MONTHS).contains(&months))
        {
            return Err(Error::invalid("months", "months are 1 to 120"));
        }
        let mut decided = seen.clone();
        decided.bought.note = None;
        match (request.resolution, seen.state) {
            (Resolution::Grant, State::Held) => {
                decided.account = seen.account.or(account);
                decided.bought.tier = request.tier.clone().or(decided.bought.tier);
                decided.bought.months = request.months.unwrap_or(decided.bought.months);
                decided.state = State::Paid;
                if decided.account.is_none() {
                    return Err(Error::invalid("account", "say whose the order is"));
                }
                if decided.bought.tier.is_none() || decided.bought.months == 0 {
                    return Err(Error::invalid(
                        "tier",
                        "say what the order grants: tier and months",
                    ));
                }
            }
            (Resolution::Refund, State::Held | State::Paid) => decided.state = State::Refunded,
            (Resolution::Dismiss, State::Held) => decided.state = State::Dismissed,
            // Nothing is decided but that it was looked at.
            (Resolution::Dismiss, State::Paid) if seen.bought.note.is_some() => {}
            _ => {
                return Err(Error::new(
                    Kind::Conflict,
                    "the order does not wait for this",
                ));
            }
        }
        let row = decided.close(&self.billing.key, &self.file.vault_id())?;
        self.as_admin(caller, Op::BillingOrderResolve, |event| {
            self.file.settle(
                &request.provider,
                &request.number,
                &mut |stored| match stored {
                    Some(stored) if self.open_order(stored.clone())? == seen => {
                        Ok(Some(row.clone()))
                    }
                    _ => Err(Error::new(Kind::Conflict, "the order changed meanwhile")
                        .with_hint("try again")),
                },
                &mut |rows| self.settled(rows),
                event,
            )
        })?;
        let account = self.name_of(decided.account.as_ref())?;
        described(&decided, account)
    }
}

fn described(order: &Order, account: Option<String>) -> Result<OrderInfo> {
    Ok(OrderInfo {
        provider: order.provider.clone(),
        number: order.number.clone(),
        state: order.state,
        account,
        tier: order.bought.tier.clone(),
        months: order.bought.months,
        amount: order.bought.amount,
        monthly: match order.bought.months {
            0 => Vec::new(),
            months => money::split(order.bought.amount, months)?,
        },
        currency: order.bought.currency.clone(),
        paid_at: shape::time_ms(order.paid_at),
        note: order.bought.note.map(|note: Note| note.token().to_owned()),
    })
}

fn cursor(row: &OrderRow) -> String {
    let text = format!("{}\n{}\n{}", row.seen_at, row.provider, row.number);
    data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
}

fn read_cursor(text: &str) -> Result<(i64, String, String)> {
    const BAD: Error = Error::invalid("after", "that is not a cursor of this list");
    let text = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| BAD)?;
    let text = String::from_utf8(text).map_err(|_| BAD)?;
    let mut parts = text.splitn(3, '\n');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(seen), Some(provider), Some(number)) => Ok((
            seen.parse().map_err(|_| BAD)?,
            provider.to_owned(),
            number.to_owned(),
        )),
        _ => Err(BAD),
    }
}
