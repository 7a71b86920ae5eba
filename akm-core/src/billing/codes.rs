//! Redeem codes: months of a tier, given away or sold elsewhere.
//!
//! A code is 128 random bits in base32, said once when it is made; at rest is its keyed tag, beside what it is good for,
//! under a MAC. It is used up by the order that it becomes, whose number is the tag: unique, like any order's.

use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, HEXLOWER};

use super::payment::{Bill, Payment, PaymentProvider, Product, Push, Pushed, What};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::memory::LockedKey;
use crate::secret::Secret;
use crate::store::{CodeRow, Id, Ledger, Tag};

/// The provider's name.
pub const NAME: &str = "code";
/// Random bytes of a code.
const RANDOM: usize = 16;
/// Characters in base32.
const LENGTH: usize = 26;
const GROUP: usize = 5;

/// The provider of codes of one vault.
pub struct Codes {
    ledger: Arc<dyn Ledger>,
    host: Host,
    key: LockedKey,
    vault: Id,
}

impl Codes {
    /// Codes under a key of the machine.
    pub fn new(ledger: Arc<dyn Ledger>, host: Host, key: LockedKey, vault: Id) -> Codes {
        Codes {
            ledger,
            host,
            key,
            vault,
        }
    }

    /// A new code and its row.
    pub fn create(&self, tier: &str, months: u32, expires_at: Option<i64>) -> (Secret, CodeRow) {
        let mut random = zeroize::Zeroizing::new([0; RANDOM]);
        self.host.random.fill(&mut random[..]);
        let mut letters = zeroize::Zeroizing::new(String::with_capacity(LENGTH));
        BASE32_NOPAD.encode_append(&random[..], &mut letters);
        let mut code = String::with_capacity(LENGTH + LENGTH / GROUP);
        for (at, letter) in letters.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                code.push('-');
            }
            code.push(letter);
        }
        let mut row = CodeRow {
            tag: self.tag(&letters),
            tier: tier.to_owned(),
            months,
            expires_at,
            created_at: self.host.clock.now().as_millisecond(),
            mac: Tag::default(),
        };
        row.mac = self.mac(&row);
        (Secret::new(code), row)
    }

    fn tag(&self, letters: &str) -> Tag {
        crypto::tag(&self.key, &[b"code", &self.vault, letters.as_bytes()])
    }

    /// Refuses a row that this machine did not write for this vault.
    pub fn check(&self, row: &CodeRow) -> Result<()> {
        match crypto::equal(&self.mac(row), &row.mac) {
            true => Ok(()),
            false => Err(Error::corrupt("a redeem code fails its authentication")),
        }
    }

    /// The row behind the number of a code's order, which is its tag.
    pub fn by_number(&self, number: &str) -> Result<Option<CodeRow>> {
        let tag = HEXLOWER
            .decode(number.as_bytes())
            .ok()
            .and_then(|bytes| Tag::try_from(bytes).ok());
        let Some(tag) = tag else { return Ok(None) };
        let row = self.ledger.code(&tag)?;
        row.as_ref().map_or(Ok(()), |row| self.check(row))?;
        Ok(row)
    }

    fn mac(&self, row: &CodeRow) -> Tag {
        let expires = row.expires_at.map(i64::to_be_bytes);
        crypto::tag(
            &self.key,
            &[
                b"code row",
                &self.vault,
                &row.tag,
                row.tier.as_bytes(),
                &row.months.to_be_bytes(),
                expires.as_ref().map_or(&[][..], |bytes| &bytes[..]),
                &row.created_at.to_be_bytes(),
            ],
        )
    }
}

impl PaymentProvider for Codes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&self, _: &Push<'_>) -> Result<Pushed> {
        Err(Error::new(Kind::Denied, "redeem codes are not pushed"))
    }

    /// `number` is the code as somebody typed it.
    fn bill(&self, number: &str) -> Result<Option<Bill>> {
        if number.len() > 4 * LENGTH {
            return Ok(None);
        }
        let letters: zeroize::Zeroizing<String> = zeroize::Zeroizing::new(
            number
                .chars()
                .filter(|c| !matches!(c, '-' | ' '))
                .map(|c| match c.to_ascii_uppercase() {
                    // What base32 leaves out because it looks like these.
                    '0' => 'O',
                    '1' => 'I',
                    c => c,
                })
                .collect(),
        );
        let tag = self.tag(&letters);
        let Some(row) = self.ledger.code(&tag)? else {
            return Ok(None);
        };
        self.check(&row)?;
        let now = self.host.clock.now().as_millisecond();
        if row.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        Ok(Some(Bill {
            number: HEXLOWER.encode(&tag),
            custom: None,
            what: What::Months {
                tier: row.tier,
                months: row.months,
            },
            amount: 0,
            currency: "CNY".to_owned(),
            payment: Payment::Done,
            at: Some(now),
        }))
    }

    fn newest(&self, _: u32) -> Result<Vec<Bill>> {
        Ok(Vec::new())
    }

    fn link(&self, _: &Product, _: u32, _: &str) -> Option<String> {
        None
    }
}
