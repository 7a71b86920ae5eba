//! Every operation, once: its name, request, result, authority, and whether it is audited.
//!
//! The name is the HTTP route (`POST /v1/NAME`), the `op` of the C ABI, the action in the audit and
//! the label in the metrics. Adding an operation is a line in [`operations!`] below, its two types,
//! and an arm in the service; no transport changes.
//!
//! This is the only room that writes a secret's plaintext onto a wire. Unknown request fields are
//! refused (an old agent must not ignore `use_only`); unknown result fields are ignored.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

#[cfg(feature = "openapi")]
pub mod openapi;

/// Largest request body in bytes.
pub const MAX_REQUEST: usize = 256 * 1024;
/// Largest answer a client accepts, in bytes.
pub const MAX_RESPONSE: usize = 8 * 1024 * 1024;
/// Most records in one page of a list.
pub const MAX_PAGE: u32 = 1000;

/// Who may ask for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Anybody who may speak to the agent at all, also while it is locked.
    Anyone,
    /// Only while an account is unlocked: the gate stands before dispatch.
    Session,
}

/// Whether an operation leaves an event in the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// Leaves an event, written before anything is released or changed.
    Audited,
    /// Reads metadata only; leaves none.
    Unaudited,
}

/// How long an operation may take, which decides where a server runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Microseconds: runs on the thread that read the request.
    Quick,
    /// A key derivation, a commit or the network: runs elsewhere.
    Slow,
}

/// A request type, tied to its operation and its result.
pub trait Operation: Serialize + DeserializeOwned {
    /// The row of the table.
    const OP: Op;
    /// What success carries.
    type Result: Serialize + DeserializeOwned;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $op:ident, $name:literal => $result:ident, $authority:ident, $audit:ident, $cost:ident;)*) => {
        /// An operation, without its content.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Op { $($(#[$doc])* $op,)* }

        impl Op {
            /// The whole table.
            pub const ALL: &'static [Op] = &[$(Op::$op,)*];

            /// The one name: route, C `op`, audit action, metric label.
            pub const fn name(self) -> &'static str {
                match self { $(Op::$op => $name,)* }
            }

            /// The operation of a name.
            pub fn from_name(name: &str) -> Option<Op> {
                match name { $($name => Some(Op::$op),)* _ => None }
            }

            /// Who may ask.
            pub const fn authority(self) -> Authority {
                match self { $(Op::$op => Authority::$authority,)* }
            }

            /// Whether it leaves an event.
            pub const fn audit(self) -> Audit {
                match self { $(Op::$op => Audit::$audit,)* }
            }

            /// Where a server runs it.
            pub const fn cost(self) -> Cost {
                match self { $(Op::$op => Cost::$cost,)* }
            }
        }

        /// A decoded request.
        #[derive(Debug)]
        pub enum Request { $($(#[$doc])* $op($op),)* }

        impl Request {
            /// Decodes a JSON body. Empty means `{}`. Errors name the field, never its content.
            pub fn decode(op: Op, body: &[u8]) -> Result<Request> {
                match op { $(Op::$op => decode_object(body).map(Request::$op),)* }
            }

            /// The row of the table.
            pub const fn op(&self) -> Op {
                match self { $(Request::$op(_) => Op::$op,)* }
            }
        }

        $(impl From<$op> for Request {
            fn from(request: $op) -> Request { Request::$op(request) }
        })*

        /// What success carries.
        #[derive(Debug)]
        pub enum Response { $($(#[$doc])* $op($result),)* }

        impl Response {
            /// The result alone, as JSON.
            pub fn to_json(&self) -> Result<Vec<u8>> {
                match self { $(Response::$op(result) => encode(result),)* }
            }
        }

        $(impl Operation for $op {
            const OP: Op = Op::$op;
            type Result = $result;
        })*

        #[cfg(feature = "openapi")]
        fn schemas(generator: &mut schemars::SchemaGenerator) -> Vec<(Op, schemars::Schema, schemars::Schema)> {
            vec![$((Op::$op, generator.subschema_for::<$op>(), generator.subschema_for::<$result>()),)*]
        }
    };
}

operations! {
    /// Whether a vault exists, is locked, and for whom it is open.
    AgentStatus, "agent.status" => Status, Anyone, Unaudited, Quick;
    /// Opens an account for this session.
    AgentUnlock, "agent.unlock" => Unlocked, Anyone, Audited, Slow;
    /// Closes the session; answers after the wipe.
    AgentLock, "agent.lock" => Empty, Anyone, Audited, Slow;
    /// Creates an account (the first one creates the vault) and leaves it unlocked.
    AccountRegister, "account.register" => Registered, Anyone, Audited, Slow;
    /// Replaces the passphrase.
    AccountPassphrase, "account.passphrase" => Empty, Session, Audited, Slow;
    /// Sets a new passphrase with a recovery code, which is used up, and leaves the account unlocked.
    AccountRecover, "account.recover" => Recovered, Anyone, Audited, Slow;
    /// Creates a TOTP secret; pending until confirmed.
    TotpEnable, "totp.enable" => TotpSecret, Session, Audited, Slow;
    /// Makes the pending TOTP secret binding.
    TotpConfirm, "totp.confirm" => Empty, Session, Audited, Slow;
    /// Removes TOTP from the account.
    TotpDisable, "totp.disable" => Empty, Session, Audited, Slow;
    /// Replaces all recovery codes.
    TotpCodes, "totp.codes" => RecoveryCodes, Session, Audited, Slow;
    /// Stores a new key.
    KeyAdd, "key.add" => KeyResult, Session, Audited, Slow;
    /// Hands out a key's secret.
    KeyGet, "key.get" => KeySecret, Session, Audited, Quick;
    /// Describes one key.
    KeyShow, "key.show" => KeyResult, Session, Unaudited, Quick;
    /// Describes keys, a page at a time.
    KeyList, "key.list" => KeyPage, Session, Unaudited, Slow;
    /// Changes what is known of a key.
    KeyUpdate, "key.update" => KeyResult, Session, Audited, Slow;
    /// Replaces a key's secret; the old one is kept sealed.
    KeyRotate, "key.rotate" => KeyResult, Session, Audited, Slow;
    /// Removes a key and its history.
    KeyRemove, "key.remove" => KeyResult, Session, Audited, Slow;
    /// Lists a key's versions, without their secrets.
    KeyHistory, "key.history" => History, Session, Unaudited, Slow;
    /// Tests a key against its provider.
    ProviderTest, "provider.test" => TestResult, Session, Audited, Slow;
    /// Lists audit events, newest last.
    AuditList, "audit.list" => EventPage, Session, Unaudited, Slow;
    /// Checks the audit chains.
    AuditVerify, "audit.verify" => Verification, Session, Unaudited, Slow;
}

/// Gives a request or result struct its derives: `wire!` for both directions, strict for requests.
macro_rules! wire {
    ($(#[$meta:meta])* request $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }
    };
    ($(#[$meta:meta])* result $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }
    };
}

wire! {
    /// Asks for the state of the agent.
    #[derive(Default)]
    request AgentStatus {}
}

wire! {
    /// The state of the agent.
    result Status {
        /// Whether the vault has an account.
        initialized: bool,
        /// Whether this session is locked.
        locked: bool,
        /// The unlocked account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// Whether unlocking asks for a TOTP code.
        totp_required: bool,
        /// The agent's version.
        version: String,
        /// When the session ends by itself, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
        /// Absolute path of the vault file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vault: Option<String>,
    }
}

wire! {
    /// Opens an account.
    request AgentUnlock {
        /// Account name; `default` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// The passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// The TOTP code, six digits.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp: Option<Secret>,
        /// Seconds until the session locks by itself; absent means until locked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
    }
}

wire! {
    /// An unlocked session.
    result Unlocked {
        /// The account.
        account: String,
        /// When the session ends by itself, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    }
}

wire! {
    /// Locks the session.
    #[derive(Default)]
    request AgentLock {}
}

wire! {
    /// A result without content.
    #[derive(Default)]
    result Empty {}
}

wire! {
    /// Creates an account.
    request AccountRegister {
        /// Account name.
        account: String,
        /// The passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// Whether to create a TOTP secret; true if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        totp: Option<bool>,
    }
}

wire! {
    /// A new account and what its owner must keep.
    result Registered {
        /// The account.
        account: String,
        /// The TOTP secret in base32; pending until `totp.confirm`.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_secret: Option<Secret>,
        /// The same as an `otpauth://` URI.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_uri: Option<Secret>,
        /// Recovery codes, each good for one use.
        #[serde(with = "plain_list")]
        #[cfg_attr(feature = "openapi", schemars(with = "Vec<String>"))]
        recovery_codes: Vec<Secret>,
    }
}

wire! {
    /// Replaces the passphrase of the unlocked account.
    request AccountPassphrase {
        /// The current passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// The new one.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        new_passphrase: Secret,
    }
}

wire! {
    /// Replaces a lost passphrase.
    request AccountRecover {
        /// Account name; `default` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// One of the recovery codes; it is used up.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        code: Secret,
        /// The new passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        new_passphrase: Secret,
    }
}

wire! {
    /// A recovered account: unlocked, with a new TOTP secret if it had one.
    result Recovered {
        /// The account.
        account: String,
        /// The new TOTP secret in base32; pending until `totp.confirm`.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_secret: Option<Secret>,
        /// The same as an `otpauth://` URI.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp_uri: Option<Secret>,
        /// How many recovery codes are left.
        codes_left: u32,
    }
}

wire! {
    /// Creates a TOTP secret for the unlocked account.
    request TotpEnable {
        /// The passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// A TOTP secret, pending until `totp.confirm`.
    result TotpSecret {
        /// Base32.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        totp_secret: Secret,
        /// The same as an `otpauth://` URI.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        totp_uri: Secret,
    }
}

wire! {
    /// Confirms the pending TOTP secret.
    request TotpConfirm {
        /// A current code, six digits.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        code: Secret,
    }
}

wire! {
    /// Removes TOTP.
    request TotpDisable {
        /// The passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// Replaces all recovery codes.
    request TotpCodes {
        /// The passphrase.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// New recovery codes; the old ones are void.
    result RecoveryCodes {
        /// Each good for one use.
        #[serde(with = "plain_list")]
        #[cfg_attr(feature = "openapi", schemars(with = "Vec<String>"))]
        recovery_codes: Vec<Secret>,
    }
}

wire! {
    /// Stores a new key.
    request KeyAdd {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// The plaintext: 1 to 8192 bytes of printable ASCII on one line.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
        /// The model the key is meant for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// The owner's categories.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        categories: Vec<String>,
        /// Free text, at most 4 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// A date (`2027-01-31`) or an RFC 3339 time after which the key is not handed out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
        /// The environment variable `akm run` sets; the provider's standard one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<String>,
        /// Never hand the secret out; only use it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Where the provider is reached, if not at its standard address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
    }
}

wire! {
    /// A key's record, without its secret.
    result Key {
        /// `provider/label`.
        name: String,
        /// The issuer.
        provider: String,
        /// The owner's label.
        label: String,
        /// The model the key is meant for.
        model: Option<String>,
        /// The owner's categories.
        categories: Vec<String>,
        /// Whether it may be handed out.
        status: KeyStatus,
        /// First and last characters, `sk-a…wxyz`.
        preview: String,
        /// The environment variable `akm run` sets: the key's own, else the provider's standard one.
        env: Option<String>,
        /// Whether it is only ever used, never handed out.
        use_only: bool,
        /// Where the provider is reached, if not at its standard address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
        /// Origins the secret may be sent to, `https://host:port`; sealed with it.
        #[serde(default)]
        hosts: Vec<String>,
        /// The header that carries it there.
        #[serde(default)]
        header: Option<String>,
        /// Free text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// Counts up with each rotation, from 1.
        version: u64,
        /// RFC 3339 UTC.
        created_at: String,
        /// RFC 3339 UTC.
        updated_at: String,
        /// RFC 3339 UTC; may lag behind the audit.
        last_used_at: Option<String>,
        /// RFC 3339 UTC.
        expires_at: Option<String>,
    }
}

/// Whether a key may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum KeyStatus {
    /// It may.
    Active,
    /// Its owner switched it off.
    Disabled,
    /// Its date has passed (derived, never set).
    Expired,
    /// It was found in the open: kept, never handed out.
    Burned,
}

impl KeyStatus {
    /// The token on the wire.
    pub const fn token(self) -> &'static str {
        match self {
            KeyStatus::Active => "active",
            KeyStatus::Disabled => "disabled",
            KeyStatus::Expired => "expired",
            KeyStatus::Burned => "burned",
        }
    }
}

wire! {
    /// One key.
    result KeyResult {
        /// The record.
        key: Key,
    }
}

wire! {
    /// Asks for a secret.
    request KeyGet {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// An older version, as `key.history` counts them; the current one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    }
}

wire! {
    /// A secret.
    result KeySecret {
        /// `provider/label`.
        name: String,
        /// The plaintext.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
    }
}

wire! {
    /// Asks for one record.
    request KeyShow {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// Asks for records. Filters combine.
    #[derive(Default)]
    request KeyList {
        /// Only this provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
        /// Only keys with this category.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<String>,
        /// Only this status.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<KeyStatus>,
        /// Most records in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A page of records, in no particular order.
    result KeyPage {
        /// The records.
        keys: Vec<Key>,
        /// Where the next page starts, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// Changes a record. Absent fields stay; an empty text removes.
    #[derive(Default)]
    request KeyUpdate {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// A new name; another provider needs `secret` again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new_name: Option<String>,
        /// The model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// All categories, replacing the old.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        categories: Option<Vec<String>>,
        /// Free text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
        /// A date or time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
        /// The environment variable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<String>,
        /// Setting is free; clearing needs `passphrase`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        use_only: Option<bool>,
        /// Another address needs `secret` again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<String>,
        /// `active`, `disabled` or `burned`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<KeyStatus>,
        /// The account's passphrase, for what needs it.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
        /// The key's secret, for what needs it.
        #[serde(default, with = "plain_option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        secret: Option<Secret>,
    }
}

wire! {
    /// Replaces a secret.
    request KeyRotate {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// The new plaintext.
        #[serde(with = "plain")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        secret: Secret,
    }
}

wire! {
    /// Removes a key.
    request KeyRemove {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// Asks for a key's versions.
    request KeyHistory {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// A key's versions, newest first.
    result History {
        /// `provider/label`.
        name: String,
        /// The versions.
        versions: Vec<Version>,
    }
}

wire! {
    /// One version of a secret.
    result Version {
        /// Its number, from 1.
        version: u64,
        /// First and last characters.
        preview: String,
        /// When it was stored, RFC 3339 UTC.
        created_at: String,
        /// When it was replaced; absent on the current one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_at: Option<String>,
    }
}

wire! {
    /// Tests a key.
    request ProviderTest {
        /// `provider/label`, or `provider` for its default key.
        name: String,
    }
}

wire! {
    /// What a test showed.
    result TestResult {
        /// `provider/label`.
        name: String,
        /// The verdict.
        outcome: Outcome,
        /// Model ids the provider listed, where it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        models: Option<Vec<String>>,
        /// Milliseconds from connecting to the whole answer.
        latency_ms: u64,
        /// A sentence for a person; never part of the answer's body.
        detail: String,
    }
}

/// The verdict of a connection test; never more than it proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The provider accepted the key.
    Valid,
    /// Accepted, but the key may not do what the test asked.
    ValidRestricted,
    /// The provider refused the key.
    Invalid,
    /// Known to the provider and not allowed here.
    NoPermission,
    /// Accepted, with nothing left to spend.
    OutOfCredit,
    /// Too many requests: nothing is known.
    RateLimited,
    /// No answer, or none that could be understood.
    Unreachable,
    /// The provider has no test that proves a key.
    Unverifiable,
}

impl Outcome {
    /// The token on the wire.
    pub const fn token(self) -> &'static str {
        match self {
            Outcome::Valid => "valid",
            Outcome::ValidRestricted => "valid_restricted",
            Outcome::Invalid => "invalid",
            Outcome::NoPermission => "no_permission",
            Outcome::OutOfCredit => "out_of_credit",
            Outcome::RateLimited => "rate_limited",
            Outcome::Unreachable => "unreachable",
            Outcome::Unverifiable => "unverifiable",
        }
    }
}

wire! {
    /// Asks for events. Filters combine.
    #[derive(Default)]
    request AuditList {
        /// Only events at or after this RFC 3339 time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// Only this operation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        /// Only this key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Most events in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A page of events, oldest first.
    result EventPage {
        /// The events.
        events: Vec<AuditEvent>,
        /// Where the next page starts, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// What happened. There is no field that could hold a value.
    result AuditEvent {
        /// Position in its chain, from 1.
        seq: u64,
        /// RFC 3339 UTC.
        time: String,
        /// The operation.
        action: String,
        /// The account; absent for a failed sign-in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// The key, where the operation had one that exists.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Who asked.
        caller: CallerInfo,
        /// `ok`, or the kind of the error.
        outcome: String,
    }
}

wire! {
    /// The process that asked.
    result CallerInfo {
        /// User id.
        uid: u32,
        /// Process id.
        pid: i32,
        /// Path of its executable, as far as it could be read.
        exe: String,
    }
}

wire! {
    /// Checks the chains.
    #[derive(Default)]
    request AuditVerify {}
}

wire! {
    /// What the check found.
    result Verification {
        /// Whether every event is authentic and none is missing before the last.
        ok: bool,
        /// How many events were checked.
        entries: u64,
        /// Position of the first event that fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_bad: Option<u64>,
        /// `account` or `system`: the chain of `first_bad`; `journal` for a damaged journal file, whose records it counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chain: Option<String>,
    }
}

/// Plaintext on the wire, one secret.
mod plain {
    use super::*;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

/// Plaintext on the wire, maybe one.
mod plain_option {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => to.serialize_some(secret.expose()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Secret>, D::Error> {
        Option::<String>::deserialize(from).map(|text| text.map(Secret::new))
    }
}

/// Plaintext on the wire, several.
mod plain_list {
    use super::*;

    pub(super) fn serialize<S: Serializer>(secrets: &[Secret], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(secrets.iter().map(Secret::expose))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
        Vec::<String>::deserialize(from).map(|texts| texts.into_iter().map(Secret::new).collect())
    }
}

/// The answer to any request, as bytes: `{"ok":true,"result":…}` or `{"ok":false,"error":…}`.
pub fn envelope(answer: &Result<Response>) -> Vec<u8> {
    let encoded = match answer {
        Ok(response) => response.to_json(),
        Err(error) => return error_envelope(error),
    };
    match encoded {
        Ok(json) => {
            let mut out = Vec::with_capacity(json.len() + 22);
            out.extend_from_slice(br#"{"ok":true,"result":"#);
            out.extend_from_slice(&json);
            out.push(b'}');
            drop(zeroize::Zeroizing::new(json));
            out
        }
        Err(error) => error_envelope(&error),
    }
}

fn error_envelope(error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Failure<'a> {
        ok: bool,
        error: &'a Error,
    }
    serde_json::to_vec(&Failure { ok: false, error })
        .unwrap_or_else(|_| br#"{"ok":false,"error":{"kind":"internal","message":"the error could not be written"}}"#.to_vec())
}

/// Takes an answer apart: the bytes of the result, or the error.
pub fn open_envelope(body: &[u8]) -> Result<&serde_json::value::RawValue> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        ok: bool,
        #[serde(borrow)]
        result: Option<&'a serde_json::value::RawValue>,
        error: Option<Error>,
    }
    const FOREIGN: Error = Error::new(Kind::Unavailable, "the answer is not one of an akm agent");
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| FOREIGN)?;
    match (envelope.ok, envelope.result, envelope.error) {
        (true, Some(result), None) => Ok(result),
        (false, None, Some(error)) => Err(error),
        _ => Err(FOREIGN),
    }
}

/// Serializes a request body or a result.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| Error::internal("a value could not be written as JSON"))
}

/// Reads a result; unknown fields are ignored.
pub fn decode_result<T: DeserializeOwned>(json: &serde_json::value::RawValue) -> Result<T> {
    serde_json::from_str(json.get()).map_err(|_| {
        Error::new(
            Kind::Unavailable,
            "the result does not have the expected shape",
        )
    })
}

/// Reads a request; the error names the field at fault by its own literal, never by what was sent.
fn decode_object<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    // serde reads a struct from an array as well; the contract says object.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::new(
            Kind::InvalidInput,
            "the request is not a JSON object",
        ));
    }
    if std::str::from_utf8(body).is_err() {
        return Err(Error::new(Kind::InvalidInput, "the request is not UTF-8"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().iter().find_map(|segment| match segment {
            serde_path_to_error::Segment::Map { key } => field_literal(key),
            _ => None,
        });
        let error = error.into_inner();
        let text = error.to_string();
        // serde quotes the field in backticks: ours in the first two cases, the sender's in the third.
        let quoted = text.split('`').nth(1).and_then(field_literal);
        if text.starts_with("missing field") {
            named("a required field is missing", quoted)
        } else if text.starts_with("duplicate field") {
            named("a field stands twice", quoted)
        } else if text.starts_with("unknown field") {
            Error::new(Kind::InvalidInput, "a field is unknown to this operation")
        } else if error.is_data() {
            named("a field has the wrong type", path)
        } else {
            Error::new(Kind::InvalidInput, "the request is not valid JSON")
        }
    })?;
    reader
        .end()
        .map_err(|_| Error::new(Kind::InvalidInput, "something follows the request"))?;
    Ok(value)
}

fn named(message: &'static str, field: Option<&'static str>) -> Error {
    match field {
        Some(field) => Error::invalid(field, message),
        None => Error::new(Kind::InvalidInput, message),
    }
}

/// Our own literal for a field name, so that nothing a sender wrote comes back in an error.
fn field_literal(name: &str) -> Option<&'static str> {
    const FIELDS: &[&str] = &[
        "account",
        "action",
        "after",
        "base_url",
        "categories",
        "category",
        "code",
        "env",
        "expires_at",
        "key",
        "lifetime_s",
        "limit",
        "model",
        "name",
        "new_name",
        "new_passphrase",
        "notes",
        "passphrase",
        "provider",
        "secret",
        "since",
        "status",
        "totp",
        "use_only",
        "version",
    ];
    FIELDS.iter().copied().find(|field| *field == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for op in Op::ALL {
            assert_eq!(Op::from_name(op.name()), Some(*op));
        }
        assert_eq!(Op::from_name("key.steal"), None);
    }

    #[test]
    fn decoding_names_the_field_and_echoes_nothing() {
        let case = |body: &str| Request::decode(Op::KeyAdd, body.as_bytes()).unwrap_err();
        assert_eq!(case(r#"{"name":"openai"}"#).field(), Some("secret"));
        assert_eq!(
            case(r#"{"name":"a","name":"b","secret":"c"}"#).field(),
            Some("name")
        );
        assert_eq!(case(r#"{"name":7,"secret":"c"}"#).field(), Some("name"));
        assert_eq!(
            case(r#"{"name":"a","secret":["canary"]}"#).field(),
            Some("secret")
        );
        for body in [
            r#"{"name":"a","secret":"b","canary":1}"#,
            "canary",
            "[\"canary\"]",
            "{\"name\":canary",
            "{} canary",
            r#"{"name":"a","secret":"b"} {"canary":1}"#,
            r#"{"name":{"canary":1},"secret":"b"}"#,
            r#"{"name":"a","secret":"b","use_only":"canary"}"#,
        ] {
            let error = case(body);
            assert_eq!(error.kind(), Kind::InvalidInput, "{body}");
            assert!(
                !format!("{error:?}").contains("canary"),
                "{body}: {error:?}"
            );
        }
        assert!(Request::decode(Op::AgentStatus, b"").is_ok());
        assert!(Request::decode(Op::KeyGet, b"{\"name\":\"\xff\"}").is_err());
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let body = br#"{"name":"openai","secret":"canary"}"#;
        let request = Request::decode(Op::KeyAdd, body).unwrap();
        assert!(!format!("{request:?}").contains("canary"));
        let response = Response::KeyGet(KeySecret {
            name: "openai/default".into(),
            secret: Secret::new("canary".into()),
        });
        assert!(!format!("{response:?}").contains("canary"));
        let json = String::from_utf8(envelope(&Ok(response))).unwrap();
        assert_eq!(
            json,
            r#"{"ok":true,"result":{"name":"openai/default","secret":"canary"}}"#
        );
    }

    #[test]
    fn answers_come_apart_again() {
        let error = Error::invalid("name", "bad").with_retry_after(3);
        assert_eq!(
            open_envelope(&envelope(&Err(error.clone()))).unwrap_err(),
            error
        );
        let ok = envelope(&Ok(Response::AgentLock(Empty {})));
        let _: Empty = decode_result(open_envelope(&ok).unwrap()).unwrap();
        assert_eq!(open_envelope(b"{}").unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(
            open_envelope(b"<html>").unwrap_err().kind(),
            Kind::Unavailable
        );
    }
}
