//! Wire types of the agent's session: status, unlock, lock.

use serde::{Deserialize, Serialize};

use super::plain::{one, option};
use super::vault::RekeyProgress;
use super::{LockReason, wire};
use crate::secret::Secret;

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
        /// When the session began, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opened_at: Option<String>,
        /// Seconds without use after which the session locks by itself; absent if it never does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle_lock_s: Option<u64>,
        /// Why the last session ended; only while locked, and only since the agent started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        locked_because: Option<LockReason>,
        /// Process id of the agent, or of the program that has the vault inside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
        /// Whether the check of all keys that follows an unlock found something wrong, absent until it is done; true also
        /// where the vault's file cannot be opened and waits for a restore.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damaged: Option<bool>,
        /// How many accounts this machine has seen that the vault does not have any more, without their having been removed;
        /// absent if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing_accounts: Option<u64>,
        /// How many accounts of another vault this machine has seen, where this one has none: it may have taken the place of
        /// theirs. Absent if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accounts_elsewhere: Option<u64>,
        /// How far new keys for the account have come, while a rekey is under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rekey: Option<RekeyProgress>,
        /// True where a rekey made the recovery codes void that the owner has, and ended before anybody was given the new ones:
        /// `totp.codes` makes others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codes_undelivered: Option<bool>,
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
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// The TOTP code, six digits.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp: Option<Secret>,
        /// The 32 bytes of the account's keyfile in hex, where the agent does not keep it.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        keyfile: Option<Secret>,
        /// Seconds until the session locks by itself; absent means the agent's own lifetime or, without one, until locked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifetime_s: Option<u64>,
        /// Goes on with a vault that is older than what this machine has seen, or whose keys were changed behind akm's
        /// back. Every other copy is older afterwards.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accept_rollback: Option<bool>,
    }
}

/// What there is to say about the vault that an account was opened from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VaultNotice {
    /// This machine sees the account for the first time: an older copy would not be noticed now.
    FirstUse,
    /// A backup was restored; it counts as the newest from now on.
    Restored,
    /// An older or changed vault was accepted; it counts as the newest from now on.
    RollbackAccepted,
}

wire! {
    /// An unlocked session.
    result Unlocked {
        /// The account.
        account: String,
        /// What there is to say about the vault, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notice: Option<VaultNotice>,
        /// As in the state of the agent: nobody was given the recovery codes that stand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codes_undelivered: Option<bool>,
        /// Over the network: what this session is known by from now on. A bearer token, 256 random bits.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        token: Option<Secret>,
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
