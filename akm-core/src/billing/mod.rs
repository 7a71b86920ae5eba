//! What a hosted account may do, until when, and what it cost.
//!
//! In reading order: [`tier`] (what there is to have, as data), [`money`] (integers in the smallest unit), [`term`]
//! (from purchases to a standing), [`order`] (a purchase at rest), [`payment`] (who takes money, and what a bill of
//! theirs comes to), then those who do: [`afdian`], [`gateway`], [`codes`]; and [`contact`] (where somebody is reminded).
//!
//! Invariants: a tier limits hosted accounts only; a standing is a function of the orders and the time, so the order in
//! which events arrive does not matter; an order grants what the configuration says that its product is, never what a
//! push says; whatever does not fit is kept for a human and grants nothing. Orders and codes are under a MAC of the
//! machine: a row that was edited, or brought from another vault, is refused.
//!
//! Deliberately absent: removing or locking keys. Whoever falls to a lower tier stops *adding*. And defending an order
//! that whoever writes the file puts back as it was before a refund: the MAC was true then.

#[cfg(feature = "providers")]
pub mod afdian;
pub mod codes;
pub mod contact;
pub mod gateway;
pub mod money;
pub mod order;
pub mod payment;
pub mod term;
#[cfg(test)]
mod tests;
pub mod tier;

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

pub use contact::{Contact, Hook, HookKind};
pub use order::{Order, State};
pub use payment::{Bill, PaymentProvider, Product, Push, Pushed};
pub use term::{Phase, Purchase, Standing};
pub use tier::Tier;

/// For how long a tier that ended still holds.
const GRACE_DAYS: u32 = 7;

/// How a hosted service sells, as its owner configured it.
pub struct Settings {
    /// What there is to have, from the least.
    pub tiers: Vec<Tier>,
    /// Whether the configuration says them itself: then no administrator changes them.
    pub own_tiers: bool,
    /// Days for which a tier that ended still holds.
    pub grace_days: u32,
    /// What is sold where.
    pub products: Vec<Product>,
    /// Who takes money.
    pub payments: Vec<Arc<dyn PaymentProvider>>,
    /// Whether redeem codes are made and taken.
    pub codes: bool,
    /// What must stand behind the provider's name in the address that pushes come to: a cheap gate, no proof.
    pub push_secret: Option<Secret>,
    /// Where each kind of chat hook may point: the beginning of its address.
    pub hooks: Vec<(HookKind, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            // The compiled-in table is read by a test; an unreadable one would leave nothing to add to.
            tiers: tier::builtin().unwrap_or_default(),
            own_tiers: false,
            grace_days: GRACE_DAYS,
            products: Vec::new(),
            payments: Vec::new(),
            codes: false,
            push_secret: None,
            hooks: contact::known_hooks(),
        }
    }
}

impl Settings {
    /// Whether anything is sold.
    pub fn sells(&self) -> bool {
        self.codes || !self.payments.is_empty()
    }

    /// Where somebody buys so many months or pieces of a product, with `custom` carried along.
    pub fn link(&self, product: &Product, count: u32, custom: &str) -> Option<String> {
        let payment = self
            .payments
            .iter()
            .find(|payment| payment.name() == product.provider)?;
        payment.link(product, count, custom)
    }

    /// A tier by its id, and its place from the least.
    pub fn tier(&self, id: &str) -> Option<(usize, &Tier)> {
        self.tiers
            .iter()
            .enumerate()
            .find(|(_, tier)| tier.id == id)
    }

    /// Whether these tiers could stand in place of the configured ones: consistent, and above the first whatever is sold.
    pub fn fits(&self, tiers: &[Tier]) -> Result<()> {
        tier::check(tiers)?;
        let sold = self.products.iter().all(|product| {
            let paid = tiers.iter().skip(1);
            paid.map(|tier| &tier.id).any(|id| *id == product.tier)
        });
        match sold {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Conflict,
                "a tier that is sold would be none any more, or the first",
            )),
        }
    }

    /// Refuses what contradicts itself, before anything is sold by it.
    pub fn check(&self) -> Result<()> {
        const BAD: Error = Error::new(
            Kind::InvalidInput,
            "the configuration of tiers and products contradicts itself",
        );
        tier::check(&self.tiers)?;
        let sold = self.products.iter().all(|product| {
            product.price > 0
                && (1..=term::MAX_MONTHS).contains(&product.months)
                && !product.id.is_empty()
                && money::decimals(&product.currency).is_some()
                && self.tier(&product.tier).is_some_and(|(rank, _)| rank > 0)
                && self
                    .payments
                    .iter()
                    .any(|payment| payment.name() == product.provider)
        });
        let unique = self.products.iter().enumerate().all(|(index, product)| {
            self.products[..index].iter().all(|other| {
                (&other.provider, &other.id, other.goods)
                    != (&product.provider, &product.id, product.goods)
            })
        });
        let gate = self.push_secret.as_ref().is_none_or(|secret| {
            secret.len() >= 16 && secret.expose().bytes().all(|b| b.is_ascii_alphanumeric())
        });
        if !gate {
            return Err(Error::new(
                Kind::InvalidInput,
                "the secret in the address of pushes is empty, too short, or not of letters and digits",
            ));
        }
        if self.grace_days > 366 || !sold || !unique {
            return Err(BAD.with_hint(
                "a product names a provider that is configured, a tier above the first, a price, and 1 to 120 months",
            ));
        }
        Ok(())
    }
}
