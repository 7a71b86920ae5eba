//! What a provider record may say, and the check that it says it right.
//!
//! Invariants: every rule is an enum and every object refuses fields it does not know, so a record that
//! the engine could not interpret does not exist; an error names record and field. The build script
//! reads the built-in catalogue with this very file and fails the build; the same reading happens when
//! a catalogue is loaded.
//!
//! Deliberately absent: sending and judging (`engine`), and any provider's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::address::{BaseUrl, Host};

/// The only version of the format that is read.
pub const SCHEMA: u32 = 1;

/// A catalogue as it stands in its file. Described in `catalog/README.md`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The day the facts were gathered.
    pub compiled: String,
    /// What is assumed of a provider nobody listed, when its owner gives a `base_url`.
    pub unlisted: Provider,
    /// The providers.
    pub providers: Vec<Provider>,
}

/// Everything known about one issuer of keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// `[a-z0-9-]{1,64}`, as in key names.
    pub id: String,
    /// Other spellings of the id.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The name for people.
    pub display_name: String,
    /// The name for people who read Chinese.
    pub display_name_zh: String,
    /// Whether it is in business.
    pub status: Status,
    /// What it sells.
    pub kind: ProviderKind,
    /// Where it answers; the first is the default.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// How a request carries the key.
    pub auth: Auth,
    /// Headers every request needs besides the key's.
    #[serde(default)]
    pub extra_headers: BTreeMap<String, String>,
    /// How a key is tested.
    pub test: Test,
    /// Where the models are listed.
    #[serde(default)]
    pub models_list: Option<ModelsList>,
    /// Environment variables its programs read.
    pub env: Env,
    /// What its keys look like.
    #[serde(default)]
    pub key_patterns: Vec<KeyPattern>,
    /// Where a person makes and revokes keys.
    #[serde(default)]
    pub console_url: Option<String>,
    /// Where it is documented.
    #[serde(default)]
    pub docs_url: Option<String>,
    /// Whether base address, auth and test were all read in a named source.
    pub verified: bool,
    /// Where the facts were read; for people, not kept in memory.
    #[serde(default)]
    pub sources: Vec<Remark>,
    /// Weak spots and oddities; for people, not kept in memory.
    #[serde(default)]
    pub notes: Vec<Remark>,
}

/// Whether a provider is in business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Yes.
    Active,
    /// Little sign of life.
    Uncertain,
    /// No longer.
    Retired,
}

/// What a provider sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Its own models.
    Llm,
    /// A subscription to its own models.
    LlmPlan,
    /// Other people's models.
    Gateway,
    /// A server on this machine.
    Local,
    /// Embeddings.
    Embedding,
    /// Speech.
    Voice,
    /// Web search.
    Search,
}

/// One place a provider answers at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Address without a trailing slash; may hold [`Placeholder`]s.
    pub base_url: String,
    /// Whom it serves.
    pub region: Region,
    /// What it speaks.
    pub protocol: Protocol,
    /// What the protocol's paths start with, where that is not part of the address.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// Other addresses of the same service.
    #[serde(default)]
    pub also: Vec<String>,
    /// Fixed query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The subscription it belongs to.
    #[serde(default)]
    pub plan: Option<String>,
    /// Whether it is on its way out.
    #[serde(default)]
    pub legacy: bool,
    /// Where it takes the credential otherwise than the record says.
    #[serde(default)]
    pub auth: Option<EndpointAuth>,
    /// For people, not kept in memory.
    #[serde(default)]
    pub note: Option<Remark>,
}

/// Whom an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// Everybody.
    Global,
    /// Mainland China.
    Cn,
    /// Everybody but mainland China.
    Intl,
    /// The United States.
    Us,
    /// One customer's workspace.
    Workspace,
    /// This machine.
    Local,
    /// The hosted form of a local program.
    Cloud,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the protocols' own")]
pub enum Protocol {
    OpenaiChat,
    OpenaiResponses,
    OpenaiEmbeddings,
    AzureOpenai,
    AnthropicMessages,
    Gemini,
    Cohere,
    Replicate,
    Bedrock,
    Ollama,
    Elevenlabs,
    Voyage,
    Tavily,
    BaiduLegacy,
}

/// A credential of one endpoint that differs from its record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointAuth {
    /// The same key, as `Authorization: Bearer`.
    Bearer,
    /// A token from an OAuth exchange; the key itself is of no use here.
    Oauth,
}

/// How a request carries the key.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(
    tag = "style",
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    // With braces, because serde lets a unit variant have any fields.
    Bearer {},
    /// A header of the provider's own; the value is `prefix` and the key.
    Header {
        /// Its name, lower case.
        header: String,
        /// What stands before the key.
        #[serde(default)]
        prefix: String,
    },
    /// A query parameter. The engine never sends a key this way: addresses are logged.
    Query {
        /// Its name.
        param: String,
    },
}

impl Auth {
    /// The header that carries the key, lower case; none where it would stand in the address.
    pub fn header(&self) -> Option<&str> {
        match self {
            Auth::Bearer {} => Some("authorization"),
            Auth::Header { header, .. } => Some(header),
            Auth::Query { .. } => None,
        }
    }

    /// What stands before the key in that header.
    pub fn prefix(&self) -> &str {
        match self {
            Auth::Bearer {} => "Bearer ",
            Auth::Header { prefix, .. } => prefix,
            Auth::Query { .. } => "",
        }
    }
}

/// How a key is tested: one request, and how to read its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The method.
    pub method: Method,
    /// The address; may start with `{base_url}` and hold other [`Placeholder`]s.
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
    /// How to read the answer: the first rule that fits decides.
    pub rules: Vec<Rule>,
    /// For people, not kept in memory.
    #[serde(default)]
    pub note: Option<Remark>,
}

fn yes() -> bool {
    true
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Nothing.
    None,
    /// A token or so; run only when named.
    Tokens,
}

/// One reading of an answer.
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyIs {
    /// The place.
    pub at: Pointer,
    /// What must stand there.
    pub is: Match,
}

/// What a JSON value must be. Numbers and texts compare by how they are written, since providers send
/// the same code as either.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Match {
    /// Exactly this text.
    Text(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// A text with this in it.
    Contains(String),
    /// A whole number from the first to the last.
    Between(i64, i64),
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
    /// The provider's own trouble.
    Server,
}

/// Where the models are listed, and how to read the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsList {
    /// The address; as [`Test::url`]. The method is GET.
    pub url: String,
    /// The array.
    pub array: Pointer,
    /// The member of each element that holds the id.
    pub id_field: String,
    /// What stands before the id in that member.
    #[serde(default)]
    pub strip_prefix: Option<String>,
    /// Whether anybody gets the list.
    pub public: bool,
    /// Whether it was read in a named source.
    pub verified: bool,
    /// For people, not kept in memory.
    #[serde(default)]
    pub note: Option<Remark>,
}

/// Environment variables that a provider's programs read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Env {
    /// The one for the key.
    pub primary: String,
    /// Others that some tools read.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Those for the base address.
    #[serde(default)]
    pub base_url: Vec<String>,
}

/// What a key looks like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPattern {
    /// Rust regex syntax.
    pub regex: String,
    /// What such a key is for.
    pub kind: KeyKind,
    /// How much a match says.
    pub confidence: Confidence,
    /// Whether it was read in a named source.
    pub verified: bool,
    /// Where it was read; for people, not kept in memory.
    #[serde(default)]
    pub source: Option<Remark>,
    /// What else matches; for people, not kept in memory.
    #[serde(default)]
    pub false_positives: Option<Remark>,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum KeyKind {
    ApiKey,
    AdminKey,
    AuthKey,
    CloudKey,
    CodingPlanKey,
    FineGrainedPat,
    Legacy,
    LegacyJwt,
    LegacyUserKey,
    LongLived,
    OauthAccessToken,
    OauthRefreshToken,
    OrgToken,
    PlanKey,
    ShortLived,
    Token,
}

/// How much a match of a pattern says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A distinctive prefix.
    High,
    /// Others look alike.
    Medium,
    /// Many others look alike.
    Low,
    /// Must never match alone.
    ContextOnly,
}

/// Text for the people who keep the data. It must be text; it is not kept.
#[derive(Clone, Copy, Debug)]
pub struct Remark;

impl<'de> Deserialize<'de> for Remark {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Remark;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Remark, E> {
                Ok(Remark)
            }
        }
        from.deserialize_str(Visitor)
    }
}

/// A part of an address that only the owner of a key can fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Placeholder {
    BaseUrl,
    Resource,
    Deployment,
    Region,
    WorkspaceId,
    Location,
    Project,
}

impl Placeholder {
    fn from_name(name: &str) -> Option<Placeholder> {
        Some(match name {
            "base_url" => Placeholder::BaseUrl,
            "resource" => Placeholder::Resource,
            "deployment" => Placeholder::Deployment,
            "region" => Placeholder::Region,
            "workspace_id" => Placeholder::WorkspaceId,
            "location" => Placeholder::Location,
            "project" => Placeholder::Project,
            _ => return None,
        })
    }
}

/// The placeholders of an address, and the address with `x` in each one's place.
pub fn placeholders(text: &str) -> Result<(Vec<Placeholder>, String), &'static str> {
    let (mut found, mut filled, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a placeholder has no end")?;
        found.push(Placeholder::from_name(name).ok_or("an unknown placeholder")?);
        filled.push_str(before);
        filled.push('x');
        rest = after;
    }
    filled.push_str(rest);
    Ok((found, filled))
}

/// What is wrong with a catalogue: which record, which field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The record's id.
    pub record: String,
    /// The field, as a path inside the record.
    pub field: String,
    /// A sentence.
    pub what: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.record, self.field, self.what)
    }
}

impl Records {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), Problem> {
        let whole = |field: &str, what| {
            Err(Problem {
                record: "catalogue".to_owned(),
                field: field.to_owned(),
                what,
            })
        };
        if self.schema != SCHEMA {
            return whole("schema", "the version is unknown");
        }
        if self.providers.is_empty() {
            return whole("providers", "there are none");
        }
        self.unlisted.check()?;
        let (mut names, mut variables) = (BTreeSet::new(), BTreeSet::new());
        for provider in &self.providers {
            provider.check()?;
            for name in std::iter::once(&provider.id).chain(&provider.aliases) {
                if !names.insert(name) {
                    return provider.wrong("id", "the id or an alias stands twice");
                }
            }
            if !variables.insert(&provider.env.primary) {
                return provider.wrong("env.primary", "another provider has the same variable");
            }
        }
        Ok(())
    }
}

impl Provider {
    fn wrong(&self, field: impl Into<String>, what: &'static str) -> Result<(), Problem> {
        Err(Problem {
            record: self.id.clone(),
            field: field.into(),
            what,
        })
    }

    fn check(&self) -> Result<(), Problem> {
        for name in std::iter::once(&self.id).chain(&self.aliases) {
            let fits = (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !fits {
                return self.wrong("id", "an id or alias has 1 to 64 of a-z, 0-9 and -");
            }
        }
        if self.display_name.trim().is_empty() || self.display_name_zh.trim().is_empty() {
            return self.wrong("display_name", "it is empty");
        }
        self.check_endpoints()?;
        if let Auth::Header { header, prefix } = &self.auth {
            if !header_name_fits(header) || !printable(prefix) {
                return self.wrong("auth", "the header is not one that may carry a key");
            }
        }
        for (name, value) in &self.extra_headers {
            let carries_key = self.auth.header() == Some(name);
            if !header_name_fits(name) || !printable(value) || carries_key {
                return self.wrong("extra_headers", "a header is not one that may be added");
            }
        }
        self.check_test()?;
        if let Some(list) = &self.models_list {
            if !self.address_fits(&list.url) {
                return self.wrong("models_list.url", "it is not an address");
            }
        }
        self.check_env()?;
        for pattern in &self.key_patterns {
            if pattern.regex.is_empty() {
                return self.wrong("key_patterns", "a pattern is empty");
            }
        }
        for (field, url) in [
            ("console_url", &self.console_url),
            ("docs_url", &self.docs_url),
        ] {
            let fits = |url: &String| {
                url.strip_prefix("https://").is_some_and(|rest| {
                    rest.contains('.') && printable(rest) && !rest.contains(' ')
                })
            };
            if !url.as_ref().is_none_or(fits) {
                return self.wrong(field, "it is not an https address");
            }
        }
        Ok(())
    }

    fn check_endpoints(&self) -> Result<(), Problem> {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            for url in std::iter::once(&endpoint.base_url).chain(&endpoint.also) {
                let canonical = placeholders(url).is_ok_and(|(found, filled)| {
                    !found.contains(&Placeholder::BaseUrl)
                        && BaseUrl::read(&filled).is_ok_and(|read| read.to_string() == filled)
                });
                if !canonical {
                    let field = format!("endpoints[{index}].base_url");
                    return self.wrong(field, "it is not an address in its one spelling");
                }
            }
            let prefix = endpoint.path_prefix.as_deref();
            if !prefix.is_none_or(|p| p.starts_with('/') && !p.ends_with('/') && printable(p)) {
                let field = format!("endpoints[{index}].path_prefix");
                return self.wrong(field, "it starts with a slash and does not end with one");
            }
        }
        Ok(())
    }

    fn check_test(&self) -> Result<(), Problem> {
        let test = &self.test;
        if !self.address_fits(&test.url) {
            return self.wrong("test.url", "it is not an address");
        }
        if test.body.is_some() && test.method == Method::Get {
            return self.wrong("test.body", "a GET has none");
        }
        if !test.sends_key && test.proves_key {
            return self.wrong(
                "test.proves_key",
                "a request without the key proves nothing",
            );
        }
        let mut decided = BTreeSet::new();
        for (index, rule) in test.rules.iter().enumerate() {
            let wrong = |what| self.wrong(format!("test.rules[{index}]"), what);
            match (rule.status, &rule.body) {
                (StatusIs::Any, None) => return wrong("a rule for any status looks at the body"),
                (StatusIs::Code(300..=399), _) => {
                    return wrong("a redirect is never followed or read");
                }
                (StatusIs::Code(code), None) => {
                    if !decided.insert(code) {
                        return wrong("the status is decided by an earlier rule");
                    }
                    if (200..=299).contains(&code) && rule.means != Means::Valid {
                        return wrong("a success alone cannot mean a failure");
                    }
                }
                (StatusIs::Code(code), Some(_)) => {
                    if decided.contains(&code) {
                        return wrong("the status is decided by an earlier rule");
                    }
                }
                (StatusIs::Any, Some(_)) => {
                    if !decided.is_empty() {
                        return wrong(
                            "a rule for any status stands before those for the status alone",
                        );
                    }
                }
            }
            let empty = match rule.body.as_ref().map(|body| &body.is) {
                Some(Match::Text(text) | Match::Contains(text)) => text.is_empty(),
                Some(Match::OneOf(texts)) => texts.is_empty() || texts.iter().any(String::is_empty),
                Some(Match::Between(first, last)) => first > last,
                Some(Match::Bool(_)) | None => false,
            };
            if empty {
                return wrong("nothing could match");
            }
        }
        if !decided.contains(&200) {
            return self.wrong("test.rules", "no rule says what a success means");
        }
        Ok(())
    }

    fn check_env(&self) -> Result<(), Problem> {
        let fits = |name: &String| {
            !name.is_empty()
                && name.len() <= 128
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if !fits(&self.env.primary) {
            return self.wrong("env.primary", "it is not the name of a variable");
        }
        for (field, names) in [
            ("env.aliases", &self.env.aliases),
            ("env.base_url", &self.env.base_url),
        ] {
            let unique: BTreeSet<_> = names.iter().chain([&self.env.primary]).collect();
            if !names.iter().all(fits) || unique.len() != names.len() + 1 {
                return self.wrong(field, "a name is not one of a variable, or stands twice");
            }
        }
        Ok(())
    }

    /// Whether text is an address of a request: an address with placeholders and perhaps a query, or
    /// `{base_url}` and a path.
    fn address_fits(&self, text: &str) -> bool {
        let path_fits = |path: &str| {
            BaseUrl::read(&format!("https://x.example{path}"))
                .is_ok_and(|read| read.path() == path && matches!(read.host(), Host::Name(_)))
        };
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        let query_fits = query.is_none_or(|query| {
            !query.is_empty()
                && query
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._=&".contains(&b))
        });
        let address_fits = match text.strip_prefix("{base_url}") {
            Some(path) => path_fits(path),
            None => placeholders(text).is_ok_and(|(found, filled)| {
                !found.contains(&Placeholder::BaseUrl)
                    && BaseUrl::read(&filled).is_ok_and(|read| read.to_string() == filled)
            }),
        };
        query_fits && address_fits
    }
}

/// A lower-case token that is none of the headers that frame or route a request.
fn header_name_fits(name: &str) -> bool {
    const FRAMING: &[&str] = &[
        "accept",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !FRAMING.contains(&name)
}

fn printable(text: &str) -> bool {
    text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}
