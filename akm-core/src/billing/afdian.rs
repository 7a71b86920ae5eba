//! 爱发电: its requests, its pushes, its orders.
//!
//! ```text
//! request   sign = hex(MD5(token ‖ "params" ‖ params ‖ "ts" ‖ ts ‖ "user_id" ‖ user_id)), params as text
//! push      sign = RSA PKCS#1 v1.5 with SHA-256 over out_trade_no ‖ user_id ‖ plan_id ‖ total_amount
//! ```
//!
//! The signature of a push covers neither status, months, products, `custom_order_id` nor a time, and its key is the same
//! for every creator, so a push for somebody else's order is signed as well, and the one of the console's test is public. So
//! a push that verifies says one thing here: that there is an order to ask for. Everything else is taken from
//! `query-order`, asked with the own token for exactly that number.
//!
//! Failures come with HTTP status 200: `ec` decides. MD5 is afdian's choice; the token is not sent, and the exchange is TLS.
//!
//! Deliberately absent: names, remarks and postal addresses of buyers, which are not read; and refund notices, of which
//! none is documented: an order that is not `2` any more is shown to a human.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::money;
use super::payment::{
    Bill, Line, MAX_LINES, Payment, PaymentProvider, Product, Push, Pushed, What,
};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::host::Clock;
use crate::provider::{BaseUrl, Outbound, post_json};
use crate::secret::Secret;

/// The provider's name.
pub const NAME: &str = "afdian";
/// Where it is, unless the configuration says otherwise.
pub const ORIGIN: &str = "https://afdian.com";
/// Orders of a page when missed pushes are looked for.
const PER_PAGE: u32 = 50;
/// The number in the console's test push.
const TEST_ORDER: &str = "202106232138371083454010626";
const OK: i64 = 200;
const PAID: i64 = 2;
const PLAN: i64 = 0;
const GOODS: i64 = 1;

/// The key of pushes, since 2025-07-01.
pub const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwwdaCg1Bt+UKZKs0R54y
lYnuANma49IpgoOwNmk3a0rhg/PQuhUJ0EOZSowIC44l0K3+fqGns3Ygi4AfmEfS
4EKbdk1ahSxu7Zkp2rHMt+R9GarQFQkwSS/5x1dYiHNVMiR8oIXDgjmvxuNes2Cr
8fw9dEF0xNBKdkKgG2qAawcN1nZrdyaKWtPVT9m2Hl0ddOO9thZmVLFOb9NVzgYf
jEgI+KWX6aY19Ka/ghv/L4t1IXmz9pctablN5S0CRWpJW3Cn0k6zSXgjVdKm4uN7
jRlgSRaf/Ind46vMCm3N2sgwxu/g3bnooW+db0iLo13zzuvyn727Q3UDQ0MmZcEW
MQIDAQAB
-----END PUBLIC KEY-----
";

const FORGED: Error = Error::new(Kind::Denied, "the push is not signed by the provider");
const STRANGE: Error = Error::new(
    Kind::Provider,
    "the provider answered with something strange",
);

/// How 爱发电 is reached, and as whom.
pub struct Afdian {
    user_id: String,
    token: Secret,
    origin: BaseUrl,
    public_key: Vec<u8>,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
}

/// What the configuration says.
pub struct Setup {
    /// The creator's `user_id`.
    pub user_id: String,
    /// The creator's API token.
    pub token: Secret,
    /// [`ORIGIN`], or another host of theirs.
    pub origin: String,
    /// [`PUBLIC_KEY`], unless they change it.
    pub public_key: String,
}

impl Afdian {
    /// A provider. An empty id or token is refused: it would sign everything and nothing.
    pub fn new(setup: Setup, outbound: Outbound, clock: Arc<dyn Clock>) -> Result<Afdian> {
        let plain = |text: &str| {
            (8..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !plain(&setup.user_id) || !plain(setup.token.expose()) {
            return Err(Error::new(
                Kind::InvalidInput,
                "the user id or the token of afdian is empty or not one",
            )
            .with_hint("both stand in the developer console of afdian"));
        }
        let public_key = crypto::rsa_public_key(&setup.public_key).ok_or(Error::new(
            Kind::InvalidInput,
            "the public key is not one of RSA in PEM",
        ))?;
        Ok(Afdian {
            origin: BaseUrl::parse(&setup.origin, "origin")?,
            user_id: setup.user_id,
            token: setup.token,
            public_key,
            outbound,
            clock,
        })
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, path: &str, params: &str) -> Result<T> {
        let ts = self.clock.now().as_second();
        let body = serde_json::json!({
            "user_id": self.user_id,
            "params": params,
            "ts": ts,
            "sign": sign(self.token.expose(), &self.user_id, params, ts),
        });
        let url = format!("{}/api/open/{path}", self.origin);
        let answer = post_json(&self.outbound, &url, body.to_string().into_bytes())?;
        let answer: Answer<'_> = serde_json::from_slice(&answer).map_err(|_| STRANGE)?;
        match (answer.ec, answer.data) {
            (OK, Some(data)) => serde_json::from_str(data.get()).map_err(|_| STRANGE),
            (OK, None) => Err(STRANGE),
            (ec, _) => Err(refusal(ec)),
        }
    }
}

/// The signature of a request.
pub fn sign(token: &str, user_id: &str, params: &str, ts: i64) -> String {
    let ts = ts.to_string();
    let parts = [token, "params", params, "ts", &ts, "user_id", user_id];
    HEXLOWER.encode(&crypto::md5(&parts.map(str::as_bytes)))
}

fn refusal(ec: i64) -> Error {
    match ec {
        400_002 => Error::new(Kind::Provider, "afdian refused the time of the request")
            .with_hint("is the clock of this machine right"),
        400_004 | 400_005 => Error::new(Kind::Provider, "afdian refused the signature")
            .with_hint("do the user id and the token belong together; is the origin theirs"),
        _ => Error::new(Kind::Provider, "afdian refused the request"),
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    ec: i64,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Envelope {
    data: Pushing,
}

#[derive(Deserialize)]
struct Pushing {
    r#type: String,
    order: Signed,
    sign: String,
}

/// What the signature covers; nothing else of a push is read.
#[derive(Deserialize)]
struct Signed {
    out_trade_no: String,
    user_id: String,
    #[serde(default)]
    plan_id: String,
    total_amount: String,
}

#[derive(Deserialize)]
struct List {
    list: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Listed {
    out_trade_no: String,
    #[serde(default)]
    custom_order_id: Option<String>,
    #[serde(default)]
    plan_id: Option<String>,
    #[serde(default)]
    month: i64,
    total_amount: String,
    status: i64,
    #[serde(default)]
    product_type: i64,
    #[serde(default)]
    sku_detail: Option<Vec<Sku>>,
    #[serde(default)]
    create_time: Option<i64>,
}

#[derive(Deserialize)]
struct Sku {
    sku_id: String,
    count: i64,
}

impl Listed {
    fn bill(self) -> Result<Bill> {
        let lines = match self.product_type {
            PLAN => vec![Line {
                product: self.plan_id.unwrap_or_default(),
                goods: false,
                count: self.month,
            }],
            GOODS => self
                .sku_detail
                .unwrap_or_default()
                .into_iter()
                // One more than is taken, so that it is not taken for fewer.
                .take(MAX_LINES + 1)
                .map(|sku| Line {
                    product: sku.sku_id,
                    goods: true,
                    count: sku.count,
                })
                .collect(),
            _ => Vec::new(),
        };
        Ok(Bill {
            number: self.out_trade_no,
            custom: self.custom_order_id,
            what: What::Lines(lines),
            amount: money::minor(&self.total_amount, 2)?,
            currency: "CNY".to_owned(),
            payment: match self.status {
                PAID => Payment::Done,
                _ => Payment::Unknown,
            },
            at: self.create_time.and_then(|at| at.checked_mul(1000)),
        })
    }
}

/// A number, or an id of a plan or of goods, as afdian makes them; several at once are written with commas.
fn is_number(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl PaymentProvider for Afdian {
    fn name(&self) -> &'static str {
        NAME
    }

    fn open(&self, push: &Push<'_>) -> Result<Pushed> {
        let Envelope { data } = serde_json::from_slice(push.body)
            .map_err(|_| Error::new(Kind::InvalidInput, "the push is not one of an order"))?;
        let Signed {
            out_trade_no,
            user_id,
            plan_id,
            total_amount,
        } = &data.order;
        let signature = BASE64.decode(data.sign.as_bytes()).map_err(|_| FORGED)?;
        let signed = [out_trade_no, user_id, plan_id, total_amount].map(String::as_str);
        if data.r#type != "order"
            || !is_number(out_trade_no)
            || !crypto::rsa_verify(&self.public_key, signed.concat().as_bytes(), &signature)
        {
            return Err(FORGED);
        }
        if out_trade_no == TEST_ORDER {
            return Ok(Pushed::Test);
        }
        Ok(Pushed::Number(out_trade_no.clone()))
    }

    fn bill(&self, number: &str) -> Result<Option<Bill>> {
        if !is_number(number) {
            return Ok(None);
        }
        let params = serde_json::json!({ "out_trade_no": number }).to_string();
        let List { list } = self.ask("query-order", &params)?;
        let [only] = list.as_slice() else {
            return Ok(None);
        };
        let listed: Listed = serde_json::from_str(only.get()).map_err(|_| STRANGE)?;
        if listed.out_trade_no != number {
            return Ok(None);
        }
        listed.bill().map(Some)
    }

    fn newest(&self, page: u32) -> Result<Vec<Bill>> {
        let params = serde_json::json!({ "page": page, "per_page": PER_PAGE }).to_string();
        let List { list } = self.ask("query-order", &params)?;
        // One that cannot be read does not keep the others back; its push would say so.
        Ok(list
            .iter()
            .take(PER_PAGE as usize)
            .filter_map(|listed| serde_json::from_str::<Listed>(listed.get()).ok())
            .filter(|listed| is_number(&listed.out_trade_no))
            .filter_map(|listed| listed.bill().ok())
            .collect())
    }

    fn link(&self, product: &Product, months: u32, custom: &str) -> Option<String> {
        let id = &product.id;
        let what = if product.goods {
            // [{"sku_id":"…","count":…}], and the plan that they stand under: without it there is no such page.
            let plan = product.plan.as_deref().filter(|plan| is_number(plan))?;
            format!(
                "plan_id={plan}&product_type={GOODS}&sku=%5B%7B%22sku_id%22%3A%22{id}%22%2C%22count%22%3A{months}%7D%5D"
            )
        } else {
            format!("plan_id={id}&product_type={PLAN}&month={months}")
        };
        is_number(id).then(|| {
            format!(
                "{}/order/create?{what}&custom_order_id={custom}",
                self.origin
            )
        })
    }

    fn taken(&self) -> &'static [u8] {
        br#"{"ec":200,"em":""}"#
    }
}
