//! The arms for redeem codes that were made: what became of them, and taking one back.
//!
//! The code itself is said once when it is made; here it is named by its keyed tag, which redeems nothing.

use data_encoding::HEXLOWER;

use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::protocol::{AdminCodeRevoke, AdminCodes, CodeInfo, CodePage, CodeState, Op};
use crate::store::{CodeRow, Hosted, Ledger, Tag};

use super::{Service, keys, shape};

impl Service {
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
        const NONE: Error = Error::new(Kind::NotFound, "there is no such code");
        let row = self
            .redeem_codes()?
            .by_number(&request.id)?
            .ok_or(NONE.with_field("id"))?;
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
