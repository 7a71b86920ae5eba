//! The arms for orders: those of an account, those of everybody, where one is made, what a person decides about one.
//!
//! Invariants: an order is opened, which is where its MAC is compared, before anything of it counts; a decision is about the
//! order as it was seen and is refused where that changed meanwhile. Who may administer was decided at the gate.
//!
//! Deliberately absent: how an order comes in (`payments`), and what an account's orders come to (`billing`).

use crate::audit::Caller;
use crate::billing::order::Note;
use crate::billing::term::MAX_MONTHS;
use crate::billing::{Order, Product, State, money};
use crate::error::{Error, Kind, Result};
use crate::name::AccountName;
use crate::protocol::{
    AdminOrders, BillingOrderLink, BillingOrderResolve, BillingOrders, Op, OrderInfo, OrderLink,
    OrderPage, Resolution,
};
use crate::store::{Id, Ledger, OrderRow, Store};

use super::billing::{MOST_ORDERS, not_sold};
use super::{Asked, Service, keys, shape};

impl Service {
    pub(super) fn open_order(&self, row: OrderRow) -> Result<Order> {
        Order::open(&self.billing.key, &self.file.vault_id(), row)
    }

    pub(super) fn list_orders(
        &self,
        asked: &Asked<'_>,
        request: &BillingOrders,
    ) -> Result<OrderPage> {
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

    pub(super) fn order_link(
        &self,
        asked: &Asked<'_>,
        request: &BillingOrderLink,
    ) -> Result<OrderLink> {
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
                let count = months / product.months;
                Some(OrderLink {
                    provider: product.provider.clone(),
                    url: settings.link(product, count, &custom)?,
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
                let none = || Error::no_account().with_field("account");
                Some(row.map(|row| row.id).ok_or_else(none)?)
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
