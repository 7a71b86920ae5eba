//! Every operation, once: its name, request, result, authority, whether it is audited, and what a transport must
//! know of it: its cost and its marks.
//!
//! The name is the HTTP route (`POST /v1/NAME`), the `op` of the C ABI and the action in the audit.
//! Adding an operation is a line in the `operations!` table below, its two types, and an arm in the service; no
//! transport changes.
//!
//! The types of the rows stand by noun in the files beside this one, the bytes in `codec`. This is the only
//! room that writes a secret's plaintext onto a wire (`plain`). Unknown request fields are
//! refused (an old agent must not ignore `use_only`); unknown result fields are ignored.

use serde::{Serialize, de::DeserializeOwned};

use crate::error::Result;

mod account;
mod admin;
mod agent;
mod audit;
mod backup;
mod balance;
mod billing;
mod catalogue;
mod codec;
mod copy;
mod custom;
mod grant;
mod handover;
mod hosted;
mod key;
mod keyfile;
mod lock;
#[cfg(feature = "openapi")]
pub mod openapi;
mod plain;
mod server;
mod session;
mod test;
mod transfer;
mod ui;
mod vault;
mod word;

pub use account::*;
pub use admin::*;
pub use agent::*;
pub use audit::*;
pub use backup::*;
pub use balance::*;
pub use billing::*;
pub use catalogue::*;
pub(crate) use codec::encoded_length;
pub use codec::{decode_result, encode, envelope, open_envelope};
pub use copy::*;
pub use custom::*;
pub use grant::*;
pub use handover::*;
pub use hosted::{Offered, offered};
pub use key::*;
pub use keyfile::*;
pub use lock::*;
pub use server::*;
pub use session::*;
pub use test::*;
pub use transfer::*;
pub use ui::*;
pub use vault::*;

/// Largest request body in bytes.
pub const MAX_REQUEST: usize = 256 * 1024;
/// Largest answer a client accepts, in bytes.
pub const MAX_RESPONSE: usize = 8 * 1024 * 1024;
/// Most records in one page of a list.
pub const MAX_PAGE: u32 = 1000;
/// A page of a list ends, with a `next`, with the record that takes it beyond this many bytes: far below what a client accepts.
pub(crate) const PAGE_BYTES: usize = 1024 * 1024;

/// Longest lifetime of a session, a key or a grant in seconds: ten years, so that no sum of times overflows.
pub const MAX_LIFETIME_S: u64 = 10 * 366 * 24 * 3600;

/// Who may ask for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Anybody who may speak to the agent at all, also while it is locked.
    Anyone,
    /// Only while an account is unlocked: the gate stands before dispatch.
    Session,
    /// Only the owner of the files, on the host, or over the network a session of an account with the role `admin`.
    Admin,
    /// Only the owner of the files, on the host.
    Owner,
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
    /// Reads of many rows or a commit: runs elsewhere.
    Store,
    /// A key derivation, with much memory and a core of its own: runs elsewhere, a few at a time.
    Deriving,
    /// Waits for a provider: runs elsewhere.
    Outbound,
}

/// What else a transport must know of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Asking twice leaves the same state as asking once, so a client may repeat it. A read that is audited may
    /// stand in the audit twice: it may have happened twice.
    Repeatable,
    /// The request or its answer holds what opens an account.
    Credential,
    /// Success ends a session that was open.
    EndsSession,
}

/// The names of a request's fields, so that an error can name one by our own literal.
trait Fields {
    const FIELDS: &[&'static str];
}

/// A request type, tied to its operation and its result.
pub trait Operation: Serialize + DeserializeOwned {
    /// The row of the table.
    const OP: Op;
    /// What success carries.
    type Result: Serialize + DeserializeOwned + Send + 'static;
    /// Its result out of an answer; `None` of another operation's.
    fn result(answer: Response) -> Option<Self::Result>;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $op:ident, $name:literal => $result:ident, $authority:ident, $audit:ident, $cost:ident, [$($mark:ident),*];)*) => {
        /// Our literal of a field of any operation.
        fn field_of_any(name: &str) -> Option<&'static str> {
            let fields = [$(<$op as Fields>::FIELDS,)*];
            fields.into_iter().flatten().copied().find(|field| *field == name)
        }

        /// An operation, without its content.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Op { $($(#[$doc])* $op,)* }

        impl Op {
            /// The whole table.
            pub const ALL: &'static [Op] = &[$(Op::$op,)*];

            /// The one name: route, C `op`, audit action.
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

            /// Whether it has this mark.
            pub fn is(self, mark: Mark) -> bool {
                let marks: &[Mark] = match self { $(Op::$op => &[$(Mark::$mark),*],)* };
                marks.contains(&mark)
            }
        }

        /// A decoded request.
        #[derive(Debug)]
        pub enum Request { $($(#[$doc])* $op($op),)* }

        impl Request {
            /// Decodes a JSON body. Empty means `{}`. Errors name the field, never its content.
            pub fn decode(op: Op, body: &[u8]) -> Result<Request> {
                match op { $(Op::$op => codec::decode_object(body).map(Request::$op),)* }
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

            /// The same behind what stands there already.
            fn write_json(&self, out: &mut Vec<u8>) -> Result<()> {
                match self { $(Response::$op(result) => codec::encode_into(result, out),)* }
            }
        }

        $(impl Operation for $op {
            const OP: Op = Op::$op;
            type Result = $result;
            fn result(answer: Response) -> Option<$result> {
                match answer { Response::$op(result) => Some(result), _ => None }
            }
        })*

        #[cfg(feature = "openapi")]
        fn schemas(generator: &mut schemars::SchemaGenerator) -> Vec<(Op, schemars::Schema, schemars::Schema)> {
            vec![$((Op::$op, generator.subschema_for::<$op>(), generator.subschema_for::<$result>()),)*]
        }
    };
}

operations! {
    /// Whether a vault exists, is locked, and for whom it is open.
    AgentStatus, "agent.status" => Status, Anyone, Unaudited, Quick, [Repeatable];
    /// Opens an account for this session.
    AgentUnlock, "agent.unlock" => Unlocked, Anyone, Audited, Deriving, [Credential, EndsSession];
    /// Closes the session; answers after the wipe.
    AgentLock, "agent.lock" => Empty, Anyone, Audited, Store, [Repeatable, Credential, EndsSession];
    /// Makes a link that lets one browser into the dashboard.
    UiOpen, "ui.open" => UiLink, Anyone, Audited, Store, [Credential];
    /// Lists where the account is open.
    SessionList, "session.list" => SessionPage, Session, Unaudited, Store, [Repeatable];
    /// Ends one session of the account, or all others.
    SessionRevoke, "session.revoke" => Empty, Session, Audited, Store, [EndsSession];
    /// Creates an account (the first one creates the vault) and leaves it unlocked.
    AccountRegister, "account.register" => Registered, Anyone, Audited, Deriving, [Credential, EndsSession];
    /// Replaces the passphrase.
    AccountPassphrase, "account.passphrase" => Empty, Session, Audited, Deriving, [Credential];
    /// Removes the account with everything in it; its events stay.
    AccountRemove, "account.remove" => Removed, Session, Audited, Deriving, [Credential, EndsSession];
    /// Sets a new passphrase with a recovery code, which is used up, and leaves the account unlocked.
    AccountRecover, "account.recover" => Recovered, Anyone, Audited, Deriving, [Credential, EndsSession];
    /// Makes the passphrase open the account only together with a keyfile.
    KeyfileEnable, "keyfile.enable" => KeyfileEnabled, Session, Audited, Deriving, [Credential];
    /// Does without the keyfile again.
    KeyfileDisable, "keyfile.disable" => Empty, Session, Audited, Deriving, [Credential];
    /// Whether the account needs a keyfile, and where it is.
    KeyfileShow, "keyfile.show" => KeyfileState, Session, Unaudited, Store, [Repeatable];
    /// Creates a TOTP secret; pending until confirmed.
    TotpEnable, "totp.enable" => TotpSecret, Session, Audited, Deriving, [Credential];
    /// Makes the pending TOTP secret binding.
    TotpConfirm, "totp.confirm" => Empty, Session, Audited, Store, [Credential];
    /// Removes TOTP from the account.
    TotpDisable, "totp.disable" => Empty, Session, Audited, Deriving, [Credential];
    /// Replaces all recovery codes.
    TotpCodes, "totp.codes" => RecoveryCodes, Session, Audited, Deriving, [Credential];
    /// Stores a new key.
    KeyAdd, "key.add" => KeyResult, Session, Audited, Store, [];
    /// Hands out a key's secret.
    KeyGet, "key.get" => KeySecret, Session, Audited, Quick, [Repeatable];
    /// Puts a key's secret on the clipboard of the caller's display.
    KeyCopy, "key.copy" => Copied, Session, Audited, Outbound, [];
    /// Describes one key.
    KeyShow, "key.show" => KeyResult, Session, Unaudited, Quick, [Repeatable];
    /// Describes keys, a page at a time.
    KeyList, "key.list" => KeyPage, Session, Unaudited, Store, [Repeatable];
    /// Changes what is known of a key.
    KeyUpdate, "key.update" => KeyResult, Session, Audited, Store, [Credential];
    /// Replaces a key's secret; the old one is kept sealed.
    KeyRotate, "key.rotate" => KeyResult, Session, Audited, Store, [];
    /// Removes a key and its history.
    KeyRemove, "key.remove" => KeyResult, Session, Audited, Store, [];
    /// Lists a key's versions, without their secrets.
    KeyHistory, "key.history" => History, Session, Unaudited, Store, [Repeatable];
    /// Says what holds for callers that no grant covers.
    PolicyShow, "policy.show" => PolicyState, Session, Unaudited, Store, [Repeatable];
    /// Changes what holds for callers that no grant covers.
    PolicySet, "policy.set" => PolicyState, Session, Audited, Store, [Credential];
    /// Lets callers have keys.
    GrantAdd, "grant.add" => GrantResult, Session, Audited, Deriving, [Credential];
    /// Lists what callers may do.
    GrantList, "grant.list" => Grants, Session, Unaudited, Store, [Repeatable];
    /// Takes a grant back.
    GrantRemove, "grant.remove" => GrantResult, Session, Audited, Store, [];
    /// Hands out all keys of the account as a file, a piece at a time.
    VaultExport, "vault.export" => ExportPage, Session, Audited, Deriving, [Credential];
    /// Brings keys in, all or none.
    VaultImport, "vault.import" => ImportReport, Session, Audited, Store, [Credential];
    /// Makes a code to receive the keys of an account of another vault with.
    HandoverOffer, "handover.offer" => HandoverCode, Session, Audited, Store, [];
    /// Hands out all keys of the account sealed for a code, a piece at a time.
    HandoverSend, "handover.send" => HandoverPiece, Session, Audited, Deriving, [Credential];
    /// Takes keys in that were sealed for a code of this session, all or none.
    HandoverReceive, "handover.receive" => HandoverReport, Session, Audited, Store, [];
    /// Lists the providers that are known.
    ProviderList, "provider.list" => Providers, Anyone, Unaudited, Store, [Repeatable];
    /// Lists the models that are known, with their prices.
    ModelList, "model.list" => ModelPage, Anyone, Unaudited, Store, [Repeatable];
    /// Adds a provider of the account's own.
    ProviderAdd, "provider.add" => ProviderResult, Session, Audited, Store, [];
    /// Shows the record of a provider.
    ProviderShow, "provider.show" => ProviderResult, Session, Unaudited, Store, [Repeatable];
    /// Removes a provider of the account's own; its keys stay.
    ProviderRemove, "provider.remove" => ProviderResult, Session, Audited, Store, [];
    /// Tests a key against its provider.
    ProviderTest, "provider.test" => TestResult, Session, Audited, Outbound, [Repeatable];
    /// Asks a key's provider what is left.
    ProviderBalance, "provider.balance" => BalanceResult, Session, Audited, Outbound, [Repeatable];
    /// Lists audit events, newest last.
    AuditList, "audit.list" => EventPage, Session, Unaudited, Store, [Repeatable];
    /// Signs where the audit chains stand.
    AuditCheckpoint, "audit.checkpoint" => Checkpoint, Session, Unaudited, Store, [Repeatable];
    /// Checks the audit chains.
    AuditVerify, "audit.verify" => Verification, Session, Unaudited, Store, [Repeatable];
    /// Copies the whole vault into the backup directory; removing older ones with it is for whom a restore is.
    BackupCreate, "backup.create" => BackupCreated, Session, Audited, Store, [];
    /// Lists the backup directory.
    BackupList, "backup.list" => BackupPage, Anyone, Unaudited, Store, [Repeatable];
    /// Opens a backup and checks it.
    BackupVerify, "backup.verify" => BackupVerification, Anyone, Unaudited, Store, [Repeatable];
    /// Puts a backup in the vault's place; for the agent's own user, or an account with the role `admin`.
    BackupRestore, "backup.restore" => Restored, Anyone, Audited, Deriving, [Credential, EndsSession];
    /// Makes a backup every day, or stops doing so; for the agent's own user, or an account with the role `admin`.
    BackupSchedule, "backup.schedule" => BackupScheduled, Session, Audited, Store, [Repeatable];
    /// Lists the tiers that hosted accounts can have.
    BillingTiers, "billing.tiers" => Tiers, Anyone, Unaudited, Store, [Repeatable];
    /// Says which tier the account has, and until when.
    BillingStatus, "billing.status" => BillingStanding, Session, Unaudited, Store, [Repeatable];
    /// Lists everybody's orders.
    AdminOrders, "admin.orders" => OrderPage, Admin, Unaudited, Store, [Repeatable];
    /// Lists the account's orders.
    BillingOrders, "billing.orders" => OrderPage, Session, Unaudited, Store, [Repeatable];
    /// Says where a tier is bought for the account.
    BillingOrderLink, "billing.order_link" => OrderLink, Session, Unaudited, Store, [Repeatable];
    /// Redeems a code for the account.
    BillingRedeem, "billing.redeem" => BillingStanding, Session, Audited, Store, [];
    /// Makes redeem codes; for an administrator.
    BillingCodesCreate, "billing.codes_create" => RedeemCodes, Admin, Audited, Store, [];
    /// Decides about an order that waits for a human; for an administrator.
    BillingOrderResolve, "billing.order_resolve" => OrderInfo, Admin, Audited, Store, [];
    /// Says, or changes, where the account's owner is reminded.
    BillingContact, "billing.contact" => ContactInfo, Session, Audited, Store, [Repeatable];
    /// Lists what the account's owner should know today.
    BillingNotices, "billing.notices" => Notices, Session, Unaudited, Store, [Repeatable];
    /// Compares the stored keys with what the account had at its last change.
    VaultCheck, "vault.check" => VaultChecked, Session, Unaudited, Store, [Repeatable];
    /// Makes an account an administrator, or takes that back.
    AdminGrant, "admin.grant" => AccountSummary, Owner, Audited, Store, [Repeatable];
    /// Lists the accounts: names, roles and counts.
    AdminAccounts, "admin.accounts" => AccountPage, Admin, Unaudited, Store, [Repeatable];
    /// Disables or enables an account, or bounds its keys.
    AdminAccount, "admin.account" => AccountSummary, Admin, Audited, Store, [Repeatable, EndsSession];
    /// Makes an invitation.
    AdminInvite, "admin.invite" => Invitation, Admin, Audited, Store, [Credential];
    /// Lists the events of the system: failed sign-ins, backups, administration.
    AdminLog, "admin.log" => EventPage, Admin, Unaudited, Store, [Repeatable];
    /// Removes an account with everything in it; its events stay.
    AdminRemove, "admin.remove" => Removed, Admin, Audited, Deriving, [Credential, EndsSession];
    /// Says how the server is: counts, sizes, alerts.
    AdminStatus, "admin.status" => ServerStatus, Admin, Unaudited, Store, [Repeatable];
    /// Adds or changes a tier.
    AdminTier, "admin.tier" => Tiers, Admin, Audited, Store, [Repeatable];
    /// Lists the redeem codes, without what redeems them.
    AdminCodes, "admin.codes" => CodePage, Admin, Unaudited, Store, [Repeatable];
    /// Takes a redeem code back that nobody used.
    AdminCodeRevoke, "admin.code_revoke" => CodeInfo, Admin, Audited, Store, [];
    /// Adds or changes a provider that every account has.
    AdminProviderPut, "admin.provider_put" => ProviderResult, Admin, Audited, Store, [Repeatable];
    /// Removes a provider that every account has; keys stay.
    AdminProviderRemove, "admin.provider_remove" => ProviderResult, Admin, Audited, Store, [];
    /// Gives the account new keys, and seals every record anew under them.
    VaultRekey, "vault.rekey" => VaultRekeyed, Session, Audited, Deriving, [Credential];
}

/// Gives a request or result struct its derives: `wire!` for both directions, strict for requests.
macro_rules! wire {
    ($(#[$meta:meta])* request $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }

        impl crate::protocol::Fields for $name {
            const FIELDS: &[&'static str] = &[$(stringify!($field)),*];
        }
    };
    ($(#[$meta:meta])* result $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }
    };
}
use wire;
