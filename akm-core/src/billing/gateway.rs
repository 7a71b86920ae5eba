//! A payment gateway of the self-hoster's own: pushes that carry everything, under a shared secret.
//!
//! ```text
//! Akm-Signature: t=UNIX_SECONDS,v1=HEX[,v1=HEX]      HEX = HMAC-SHA256(secret, t ‖ "." ‖ raw body)
//! {"order","account","product","months","amount","currency","status":"paid"|"refunded","paid_at"}
//! ```
//!
//! Invariants: the signature is over the raw bytes, checked before they are parsed, in constant time, and not older or
//! newer than five minutes; an empty or short secret is refused when it is configured, so that no HMAC is ever made with
//! one (CVE-2026-41432); amounts are decimal text. `account` is what `billing.order_link` carries.

use serde::Deserialize;

use super::money;
use super::order::MAX_NUMBER;
use super::payment::{Bill, Line, Payment, PaymentProvider, Product, Push, Pushed, What};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// The provider's name.
pub const NAME: &str = "gateway";
/// Seconds by which a push may be off.
const TOLERANCE_S: i64 = 300;
/// Shortest secret in bytes.
const MIN_SECRET: usize = 16;
/// Most signatures that are tried: an old and a new secret at a change of it.
const MAX_SIGNATURES: usize = 4;

const FORGED: Error = Error::new(Kind::Denied, "the push is not signed by the provider");

/// A gateway.
pub struct Gateway {
    secret: Secret,
    /// Where somebody buys: a template with `{product}`, `{months}` and `{custom}`.
    link: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    order: String,
    #[serde(default)]
    account: Option<String>,
    product: String,
    months: i64,
    amount: String,
    currency: String,
    status: Status,
    #[serde(default)]
    paid_at: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Paid,
    Refunded,
}

impl Gateway {
    /// A gateway with this secret.
    pub fn new(secret: Secret, link: Option<String>) -> Result<Gateway> {
        if secret.len() < MIN_SECRET {
            return Err(Error::new(
                Kind::InvalidInput,
                "the secret of the gateway is empty or too short",
            )
            .with_hint("give it 16 characters or more, chosen at random"));
        }
        Ok(Gateway { secret, link })
    }

    /// The signature of a body at a time, in hex: what the gateway puts behind `v1=`.
    pub fn sign(&self, at: &str, body: &[u8]) -> String {
        let mac = crypto::hmac_sha256(
            self.secret.expose().as_bytes(),
            &[at.as_bytes(), b".", body],
        );
        data_encoding::HEXLOWER.encode(&mac)
    }

    fn check(&self, push: &Push<'_>) -> Result<()> {
        let header = push.signature.ok_or(FORGED)?;
        let mut at = None;
        let mut signatures = Vec::new();
        for part in header.split(',') {
            match part.trim().split_once('=') {
                Some(("t", value)) if at.is_none() => at = Some(value),
                Some(("v1", value)) if signatures.len() < MAX_SIGNATURES => signatures.push(value),
                Some(("t" | "v1", _)) | None => return Err(FORGED),
                Some(_) => {}
            }
        }
        let at = at.ok_or(FORGED)?;
        let seconds: i64 = at.parse().map_err(|_| FORGED)?;
        if push.now.abs_diff(seconds) > TOLERANCE_S.unsigned_abs() {
            return Err(FORGED);
        }
        let right = self.sign(at, push.body);
        let good = signatures.iter().fold(false, |good, signature| {
            good | crypto::equal(signature.as_bytes(), right.as_bytes())
        });
        if good { Ok(()) } else { Err(FORGED) }
    }
}

impl PaymentProvider for Gateway {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&self, push: &Push<'_>) -> Result<Pushed> {
        const BAD: Error = Error::new(Kind::InvalidInput, "the push is not one of an order");
        self.check(push)?;
        let body: Body = serde_json::from_slice(push.body).map_err(|_| BAD)?;
        if body.order.is_empty() || body.order.len() > MAX_NUMBER {
            return Err(BAD);
        }
        let decimals = money::decimals(&body.currency).ok_or(BAD)?;
        Ok(Pushed::Bill(Box::new(Bill {
            number: body.order,
            custom: body.account,
            what: What::Lines(vec![Line {
                product: body.product,
                goods: false,
                count: body.months,
            }]),
            amount: money::minor(&body.amount, decimals)?,
            currency: body.currency,
            payment: match body.status {
                Status::Paid => Payment::Done,
                Status::Refunded => Payment::Returned,
            },
            at: body.paid_at.and_then(|seconds| seconds.checked_mul(1000)),
        })))
    }

    fn bill(&self, _: &str) -> Result<Option<Bill>> {
        Ok(None)
    }

    fn newest(&self, _: u32) -> Result<Vec<Bill>> {
        Ok(Vec::new())
    }

    fn link(&self, product: &Product, months: u32, custom: &str) -> Option<String> {
        let template = self.link.as_deref()?;
        Some(
            template
                .replace("{product}", &product.id)
                .replace("{months}", &months.to_string())
                .replace("{custom}", custom),
        )
    }
}
