//! What providers of payment say: pushes, and what is asked of them.
//!
//! Invariants: an order is stored under its unique number and what it grants is noted in the same transaction, so a
//! thousand copies of a push grant once; what cannot be matched is stored for a human and answered as taken, because
//! the money is; whatever is not configured is not there.

use data_encoding::BASE32_NOPAD;

use crate::audit::{Noted, Outcome};
use crate::billing::payment::judge;
use crate::billing::{Bill, Order, PaymentProvider, Push, Pushed, State};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::store::{Id, Ledger, Store};

use super::{Service, this_process};

/// Largest push that is read.
pub(crate) const MAX_PUSH: usize = 64 * 1024;
/// Most pages that are looked through for missed pushes.
const MAX_PAGES: u32 = 20;
/// Accounts of a page when terms are settled.
pub(super) const PAGE: u32 = 200;
/// What an order link carries begins with this.
const CUSTOM: &str = "akm";
/// Bytes of the tag in it.
const CUSTOM_TAG: usize = 6;

/// The answer to a push.
#[derive(Debug, PartialEq, Eq)]
pub struct PushAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON.
    pub body: Vec<u8>,
}

impl PushAnswer {
    fn of(status: u16, body: &[u8]) -> PushAnswer {
        PushAnswer {
            status,
            body: body.to_vec(),
        }
    }

    /// Come again later.
    pub(super) fn unavailable() -> PushAnswer {
        PushAnswer::of(503, br#"{"ec":503,"em":"unavailable"}"#)
    }
}

impl Service {
    /// Takes a push of a provider: `gate` is what stood behind its name in the address, `signature` the header
    /// `Akm-Signature`, `body` as it came. May wait for the provider.
    pub fn take_push(
        &self,
        provider: &str,
        gate: &str,
        signature: Option<&str>,
        body: &[u8],
    ) -> PushAnswer {
        let wanted = self.billing.settings.push_secret.as_ref();
        let wanted = wanted.map_or("", |secret| secret.expose());
        let payment = self
            .payment(provider)
            .filter(|_| crypto::equal(gate.as_bytes(), wanted.as_bytes()));
        let Some(payment) = payment else {
            return PushAnswer::of(404, br#"{"ec":404,"em":"not found"}"#);
        };
        if body.len() > MAX_PUSH {
            return PushAnswer::of(413, br#"{"ec":413,"em":"too large"}"#);
        }
        let push = Push {
            signature,
            body,
            now: self.host.clock.now().as_second(),
        };
        match self.follow(payment, &push) {
            Ok(()) => PushAnswer::of(200, payment.taken()),
            Err(error) => {
                // The refusal stands whether or not its event could be written.
                let _ = self.audit.note_system(
                    Noted::PushRefused,
                    Outcome::Failed(error.kind()),
                    &this_process(),
                );
                match error.kind() {
                    Kind::InvalidInput | Kind::Denied | Kind::NotFound => {
                        PushAnswer::of(400, br#"{"ec":400,"em":"refused"}"#)
                    }
                    _ => PushAnswer::unavailable(),
                }
            }
        }
    }

    fn follow(&self, payment: &dyn PaymentProvider, push: &Push<'_>) -> Result<()> {
        let bill = match payment.open(push)? {
            Pushed::Test => return Ok(()),
            Pushed::Bill(bill) => *bill,
            // The push proves that there is an order of this number with somebody; whether it is one of ours, and all
            // that it says, comes from whoever holds the money.
            Pushed::Number(number) => payment.bill(&number)?.ok_or(Error::new(
                Kind::NotFound,
                "the provider knows no such order",
            ))?,
        };
        self.take_bill(payment.name(), &bill)
    }

    /// Looks for orders whose pushes were missed.
    pub fn poll_payments(&self) -> Result<()> {
        let settings = std::sync::Arc::clone(&self.billing.settings);
        for payment in &settings.payments {
            for page in 1..=MAX_PAGES {
                let bills = payment.newest(page)?;
                let mut news = bills.is_empty();
                for bill in &bills {
                    let known = self.file.order(payment.name(), &bill.number)?.is_some();
                    news |= !known;
                    self.take_bill(payment.name(), bill)?;
                }
                // Newest first: behind a page on which everything was known there is nothing new.
                if bills.is_empty() || !news {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Notes which tiers ended or went into their grace since they were last looked at.
    pub fn settle_tiers(&self) -> Result<()> {
        let mut after = None;
        loop {
            let rows = self.file.accounts_page(after.as_ref(), PAGE)?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some(last.id);
            for row in &rows {
                // Who never paid has nothing that ends.
                if !self
                    .file
                    .orders_of(&row.id, super::billing::MOST_ORDERS)?
                    .is_empty()
                {
                    Ledger::weigh(&*self.file, &row.id, &mut |rows| self.settled(rows))?;
                }
            }
        }
    }

    fn payment(&self, provider: &str) -> Option<&dyn PaymentProvider> {
        self.billing
            .settings
            .payments
            .iter()
            .find(|payment| payment.name() == provider)
            .map(|payment| &**payment)
    }

    fn take_bill(&self, provider: &str, bill: &Bill) -> Result<()> {
        let account = self.whose(bill.custom.as_deref())?;
        self.settle(provider, bill, account, &mut |order| {
            let noted = match order.state {
                State::Held => Noted::OrderHeld,
                State::Paid => Noted::OrderPaid,
                State::Refunded => Noted::OrderRefunded,
                State::Dismissed => Noted::OrderDismissed,
            };
            self.audit.note_system(noted, Outcome::Ok, &this_process())
        })
        .map(drop)
    }

    /// Stores what a bill comes to; false where that changes nothing.
    pub(super) fn settle(
        &self,
        provider: &str,
        bill: &Bill,
        account: Option<Id>,
        event: &mut dyn FnMut(&Order) -> Result<()>,
    ) -> Result<bool> {
        let (key, vault) = (&self.billing.key, self.file.vault_id());
        let order = judge(
            &self.billing.settings,
            &self.tier_table(),
            provider,
            bill,
            account,
            self.now_ms(),
        );
        let stored = std::cell::RefCell::new(None);
        self.file.settle(
            provider,
            &bill.number,
            &mut |row| {
                let before = row.map(|row| self.open_order(row)).transpose()?;
                let after = Order::after(before, order.clone());
                *stored.borrow_mut() = after.clone();
                after.map(|order| order.close(key, &vault)).transpose()
            },
            &mut |rows| self.settled(rows),
            &mut || match &*stored.borrow() {
                Some(order) => event(order),
                None => Ok(()),
            },
        )
    }

    /// What an order link carries: whose the order is, in a form that nobody types by mistake and nobody makes up.
    pub(super) fn custom_of(&self, account: &Id) -> String {
        let tag = self.custom_tag(account);
        let mut bytes = account.to_vec();
        bytes.extend_from_slice(&tag[..CUSTOM_TAG]);
        format!(
            "{CUSTOM}{}",
            BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
        )
    }

    fn custom_tag(&self, account: &Id) -> [u8; 32] {
        crypto::tag(
            &self.billing.key,
            &[b"custom", &self.file.vault_id(), account],
        )
    }

    /// Whose order it is; nobody's where the text is not one that [`Service::custom_of`] made here.
    fn whose(&self, custom: Option<&str>) -> Result<Option<Id>> {
        let Some(bytes) = custom
            .and_then(|text| text.trim().strip_prefix(CUSTOM))
            .filter(|text| text.len() <= 64)
            .and_then(|text| {
                BASE32_NOPAD
                    .decode(text.to_ascii_uppercase().as_bytes())
                    .ok()
            })
        else {
            return Ok(None);
        };
        let Some((id, tag)) = bytes.split_first_chunk::<16>() else {
            return Ok(None);
        };
        if !crypto::equal(tag, &self.custom_tag(id)[..CUSTOM_TAG]) {
            return Ok(None);
        }
        Ok(self.file.account(id)?.map(|row| row.id))
    }
}
