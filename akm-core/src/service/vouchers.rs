//! The arms for redeem codes: making them, redeeming one, what became of them, and taking one back.
//!
//! Invariants: a code is said once, when it is made; from then on it is named by its keyed tag, which redeems nothing. That it
//! is still there is asked inside the transaction that redeems it.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::audit::Caller;
use crate::billing::PaymentProvider as _;
use crate::billing::codes::{self, Codes};
use crate::billing::term::MAX_MONTHS;
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::protocol::{
    AdminCodeRevoke, AdminCodes, BillingCodesCreate, BillingRedeem, BillingStanding, CodeInfo,
    CodePage, CodeState, Op, RedeemCodes,
};
use crate::store::{CodeRow, Hosted, Ledger, Store, Tag};

use super::billing::not_sold;
use super::{Asked, Service, keys, shape};

/// Most redeem codes made at once.
const MAX_CODES: u32 = 1000;

impl Service {
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

    pub(super) fn redeem(
        &self,
        asked: &Asked<'_>,
        request: &BillingRedeem,
    ) -> Result<BillingStanding> {
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

    pub(super) fn list_codes(&self, request: &AdminCodes) -> Result<CodePage> {
        let codes = self.redeem_codes()?;
        let limit = keys::page_limit(request.limit)?;
        let after = request.after.as_deref().map(read_cursor).transpose()?;
        let before = after.as_ref().map(|(made, tag)| (*made, tag));
        let rows = self.file.codes_page(before, limit)?;
        let next = match rows.last() {
            Some((last, _)) if rows.len() == limit as usize => Some(cursor(last)),
            _ => None,
        };
        let described = |(row, used): &(CodeRow, bool)| {
            codes.check(row)?;
            Ok(self.code_info(row, *used))
        };
        Ok(CodePage {
            codes: rows.iter().map(described).collect::<Result<_>>()?,
            next,
        })
    }

    pub(super) fn revoke_code(
        &self,
        caller: &Caller,
        request: &AdminCodeRevoke,
    ) -> Result<CodeInfo> {
        let row = self
            .redeem_codes()?
            .by_number(&request.id)?
            .ok_or_else(|| Error::no_code().with_field("id"))?;
        self.as_admin(caller, Op::AdminCodeRevoke, |event| {
            self.file.remove_code(&row.tag, event)
        })
        .map_err(|error| match error.kind() {
            Kind::NotFound | Kind::Conflict => error.with_field("id"),
            _ => error,
        })?;
        Ok(self.code_info(&row, false))
    }

    /// Whether a code is still there: asked inside the transaction that redeems it, where no revocation can come between.
    pub(super) fn still_open(&self, number: &str) -> Result<()> {
        let tag = tag_of(number).ok_or(Error::internal("a code without its tag"))?;
        match self.file.code(&tag)? {
            Some(_) => Ok(()),
            None => Err(
                Error::new(Kind::NotFound, "the code is not one, or is used up").with_field("code"),
            ),
        }
    }

    fn code_info(&self, row: &CodeRow, used: bool) -> CodeInfo {
        let over = row.expires_at.is_some_and(|end| end <= self.now_ms());
        CodeInfo {
            id: HEXLOWER.encode(&row.tag),
            tier: row.tier.clone(),
            months: row.months,
            state: match (used, over) {
                (true, _) => CodeState::Used,
                (false, true) => CodeState::Expired,
                (false, false) => CodeState::Open,
            },
            created_at: shape::time_ms(row.created_at),
            expires_at: row.expires_at.map(shape::time_ms),
        }
    }
}

fn tag_of(number: &str) -> Option<Tag> {
    Tag::try_from(HEXLOWER.decode(number.as_bytes()).ok()?).ok()
}

fn cursor(row: &CodeRow) -> String {
    format!("{}-{}", row.created_at, HEXLOWER.encode(&row.tag))
}

fn read_cursor(text: &str) -> Result<(i64, Tag)> {
    const BAD: Error = Error::invalid("after", "that is not a cursor of this list");
    let (made, tag) = text.split_once('-').ok_or(BAD)?;
    Ok((made.parse().map_err(|_| BAD)?, tag_of(tag).ok_or(BAD)?))
}
