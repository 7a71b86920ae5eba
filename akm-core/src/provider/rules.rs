//! How a key is tested, and how the answer is read: the part of a record that the engine interprets.
//!
//! Invariants: a rule has one of a fixed set of conditions and one of a fixed set of meanings; `judge`
//! matches both exhaustively, so a new one does not compile until it is interpreted.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::schema::Remark;

/// How a key is tested: one request, and how to read its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The method.
    pub method: Method,
    /// The address; may start with `{base_url}` and hold other placeholders.
    pub url: String,
    /// A JSON body.
    #[serde(default)]
    pub body: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether the request carries the key at all.
    #[serde(default = "yes")]
    pub sends_key: bool,
    /// Whether an accepted request proves the key; a public endpoint accepts any.
    pub proves_key: bool,
    /// What it may cost.
    pub cost: Cost,
    /// Whether the test was read in a named source.
    pub verified: bool,
    /// Whether a key of one region is refused by the others, so that a refusal may mean just that.
    #[serde(default)]
    pub region_bound: bool,
    /// A JSON pointer that a successful answer has; without it the answer is somebody else's.
    #[serde(default)]
    pub expects: Option<Pointer>,
    /// How to read the answer: the first rule that fits decides. Once [completed](Test::complete), what is common to
    /// all stands at the end.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// For people, not kept in memory.
    #[serde(default)]
    pub note: Option<Remark>,
}

fn yes() -> bool {
    true
}

impl Test {
    /// Adds what is common to all providers, where the record itself does not decide the status. A test that sends no
    /// key is left alone: a refusal would say nothing about one.
    pub fn complete(&mut self, common: &[Rule]) {
        if !self.sends_key {
            return;
        }
        for rule in common {
            let decided = |own: &Rule| own.body.is_none() && own.status == rule.status;
            if !self.rules.iter().any(decided) {
                self.rules.push(rule.clone());
            }
        }
    }
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "HTTP's own names")]
pub enum Method {
    Get,
    Post,
}

/// What a test may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Nothing.
    None,
    /// A token or so; run only when named.
    Tokens,
}

/// One reading of an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The status it is about.
    pub status: StatusIs,
    /// Where in the JSON body to look, and for what; without, the status alone decides.
    #[serde(default)]
    pub body: Option<BodyIs>,
    /// What the answer says about the key.
    pub means: Means,
}

/// A status, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusIs {
    /// This one.
    Code(u16),
    /// Every one; only together with a body.
    Any,
}

impl StatusIs {
    /// Whether a status is meant.
    pub fn fits(self, status: u16) -> bool {
        match self {
            StatusIs::Code(code) => code == status,
            StatusIs::Any => true,
        }
    }
}

impl<'de> Deserialize<'de> for StatusIs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = StatusIs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an HTTP status or \"any\"")
            }
            fn visit_u64<E: de::Error>(self, code: u64) -> Result<StatusIs, E> {
                match u16::try_from(code) {
                    Ok(code @ 100..=599) => Ok(StatusIs::Code(code)),
                    _ => Err(E::custom("a status is 100 to 599")),
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusIs, E> {
                match text {
                    "any" => Ok(StatusIs::Any),
                    _ => Err(E::custom("a status is a number or \"any\"")),
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// What stands at a place of the body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyIs {
    /// The place; `*` in it is every element of an array, one of which must fit.
    pub at: Pointer,
    /// What must stand there.
    pub is: Match,
}

/// What a JSON value must be. Numbers and texts compare by how they are written, since providers send
/// the same code as either.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Match {
    /// Exactly this text.
    Text(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// Something that is written otherwise.
    OtherThan(String),
    /// A text with this in it, whatever the case of its letters.
    Contains(String),
    /// True or false.
    Bool(bool),
}

/// An RFC 6901 JSON pointer; empty is the whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// As `serde_json::Value::pointer` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() || text.starts_with('/') {
            Ok(Pointer(text))
        } else {
            Err(de::Error::custom("a pointer is empty or starts with /"))
        }
    }
}

/// What an answer says about the key. The engine maps each to an outcome and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// Accepted.
    Valid,
    /// Accepted, without the permission the test asked for.
    ValidButRestricted,
    /// Refused.
    InvalidKey,
    /// Refused: its time is over.
    ExpiredKey,
    /// Refused: the key, or the address it was sent to, is the wrong one.
    InvalidKeyOrWrongEndpoint,
    /// Refused; the provider does not tell a bad key from a missing permission.
    InvalidKeyOrNoPermission,
    /// Known, and switched off by its owner.
    Disabled,
    /// Known, and blocked by the provider.
    Blocked,
    /// Known, and not allowed here.
    NoPermission,
    /// Nothing left to spend.
    QuotaExhausted,
    /// The subscription is over.
    PlanExpired,
    /// The plan's allowance for now is used up; it comes back by itself.
    PlanOrDailyLimit,
    /// Too many requests.
    RateLimited,
    /// Too many requests or nothing left; the provider does not tell which.
    RateLimitedOrQuota,
    /// A success that says inside that it is none.
    FailedInBand,
}
