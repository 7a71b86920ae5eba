//! What a provider record may say.
//!
//! Invariants: every rule is an enum and every object refuses fields it does not know, so a record that
//! the engine could not interpret does not exist. The build script reads the built-in catalogue with
//! this very file and fails the build; the same reading happens when a catalogue is loaded. What types
//! cannot say is checked in `check`; a test and its rules are in [`rules`](super::rules).
//!
//! Deliberately absent: sending and judging, and any provider's name.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::balance_rules::BalanceSource;
use super::rules::{Pointer, Rule, Test};

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
    /// How to read an answer that the record says nothing about.
    pub common: Vec<Rule>,
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
    /// How its balance is read; several requests add up to one answer.
    #[serde(default)]
    pub balance: Vec<BalanceSource>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Those of the aliases that programs take rather than the primary one, where both are set.
    #[serde(default)]
    pub preferred: Vec<String>,
    /// Those for the base address, the usual one first.
    #[serde(default)]
    pub base_url: Vec<String>,
    /// For some of those: the ends of an address that programs append themselves, so that the variable must not have them.
    #[serde(default)]
    pub appended: BTreeMap<String, Vec<String>>,
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
    Origin,
    Team,
    Resource,
    Deployment,
    Region,
    WorkspaceId,
    Location,
    Project,
}

impl Placeholder {
    /// Whether it stands only in a request's address, where it is filled in or starts the text.
    pub fn is_of_requests(self) -> bool {
        matches!(
            self,
            Placeholder::BaseUrl | Placeholder::Origin | Placeholder::Team
        )
    }

    fn from_name(name: &str) -> Option<Placeholder> {
        Some(match name {
            "base_url" => Placeholder::BaseUrl,
            "origin" => Placeholder::Origin,
            "team" => Placeholder::Team,
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
