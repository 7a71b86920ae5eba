//! Wire types of administering a server: its tiers, redeem codes and providers, what it did, and the removal of accounts.
//!
//! Counts, sizes and times; nothing here is anybody's secret.

use serde::{Deserialize, Serialize};

use super::plain::{one, option};
use super::{Record, wire};
use crate::secret::Secret;

wire! {
    /// Adds a tier, or puts it in place of the one of its id. A limit that is absent is none.
    request AdminTier {
        /// Its id.
        tier: String,
        /// For people.
        name: String,
        /// For people, in Chinese.
        name_zh: String,
        /// Of a month, in fen. What a seller asks for stands at the seller's.
        price_fen: i64,
        /// Most keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<u64>,
        /// Most providers of the account's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        providers: Option<u32>,
        /// Most requests in a minute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requests_per_minute: Option<u32>,
    }
}

wire! {
    /// Asks for the redeem codes.
    #[derive(Default)]
    request AdminCodes {
        /// Most codes in the answer, 1 to 1000; 100 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `next` of the page before; opaque.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// A page of redeem codes, newest first. The codes themselves were said once.
    result CodePage {
        /// What is known of them.
        codes: Vec<CodeInfo>,
        /// Where the next page starts, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

/// Whether a redeem code is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CodeState {
    /// Somebody may redeem it.
    Open,
    /// Somebody did.
    Used,
    /// Its time is over.
    Expired,
}

impl CodeState {
    /// The stable token.
    pub const fn token(self) -> &'static str {
        match self {
            CodeState::Open => "open",
            CodeState::Used => "used",
            CodeState::Expired => "expired",
        }
    }
}

wire! {
    /// What is known of a redeem code.
    result CodeInfo {
        /// What names it in `admin.code_revoke`, and its order once it is used. It redeems nothing.
        id: String,
        /// What it is good for.
        tier: String,
        /// For how long.
        months: u32,
        /// Whether it is still good.
        state: CodeState,
        /// When it was made, RFC 3339 UTC.
        created_at: String,
        /// Until when it may be redeemed, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    }
}

wire! {
    /// Takes a redeem code back that nobody used.
    request AdminCodeRevoke {
        /// Its id.
        id: String,
    }
}

wire! {
    /// Adds a provider for every account, or puts it in place of the one of its id. Keys stay sealed for the hosts they
    /// were added for.
    request AdminProviderPut {
        /// Its record, as one of the catalogue.
        record: Record,
    }
}

wire! {
    /// Removes a provider that every account has. Keys stay, sealed for the hosts they were added for.
    request AdminProviderRemove {
        /// Its id.
        name: String,
    }
}

wire! {
    /// Removes the account whose session it is, with everything in it.
    request AccountRemove {
        /// Its passphrase.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
    }
}

wire! {
    /// Removes an account with everything in it.
    request AdminRemove {
        /// The account.
        account: String,
        /// The administrator's own passphrase; the owner on the host needs none.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "option")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
    }
}

wire! {
    /// An account that is no more.
    result Removed {
        /// Its name, which is free again.
        account: String,
        /// How many keys went with it.
        keys: u64,
    }
}

wire! {
    /// Asks how the server is.
    #[derive(Default)]
    request AdminStatus {}
}

wire! {
    /// How a server is.
    result ServerStatus {
        /// How many accounts there are.
        accounts: u64,
        /// In how many sessions accounts are open.
        sessions: u64,
        /// The vault's file and the log beside it, in bytes.
        vault_bytes: u64,
        /// Events that wait in the journal.
        pending_events: u64,
        /// When the newest backup was made, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_backup: Option<String>,
        /// What holds for clients of the network; absent where there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rules: Option<ServerRules>,
        /// What the program around the vault saw; absent where nobody watches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        observed: Option<Observed>,
    }
}

wire! {
    /// What holds for clients of the network.
    result ServerRules {
        /// `open`, `invitation` or `closed`.
        registration: String,
        /// Whether an account without TOTP may do nothing but set it up.
        totp_required: bool,
        /// Seconds after which a session ends unused.
        idle_s: u64,
        /// Seconds after which a session ends in any case.
        absolute_s: u64,
        /// Most keys of any account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys_per_account: Option<u64>,
    }
}

wire! {
    /// What the program around the vault saw.
    #[derive(Default)]
    result Observed {
        /// Since when, RFC 3339 UTC.
        since: String,
        /// Operations that were asked for, by name.
        operations: Vec<OperationCount>,
        /// The last hours, oldest first.
        hours: Vec<HourCount>,
        /// The disk that the vault is on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disk: Option<DiskInfo>,
        /// When the certificate of the listeners ends, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_ends: Option<String>,
        /// The last copy of a backup to elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offsite: Option<OffsiteInfo>,
        /// What somebody should look at.
        alerts: Vec<AlertInfo>,
    }
}

wire! {
    /// How often an operation was answered since the server began.
    result OperationCount {
        /// The operation.
        operation: String,
        /// How often.
        answered: u64,
        /// How often with an error of any kind.
        failed: u64,
        /// How often because of the server itself: `corrupt`, `rolled_back`, `unsupported_version`, `unavailable`, `io`, `internal`.
        faults: u64,
    }
}

wire! {
    /// What was answered in an hour.
    result HourCount {
        /// When it began, RFC 3339 UTC.
        hour: String,
        /// How many operations.
        answered: u64,
        /// How many with an error of any kind.
        failed: u64,
        /// How many because of the server itself.
        faults: u64,
    }
}

wire! {
    /// A disk.
    result DiskInfo {
        /// What is left on it for this program.
        free_bytes: u64,
        /// Its size.
        total_bytes: u64,
    }
}

wire! {
    /// A copy of a backup to elsewhere.
    result OffsiteInfo {
        /// The backup's name.
        backup: String,
        /// When it was tried, RFC 3339 UTC.
        at: String,
        /// `ok`, `failed`, `timeout` or `refused`.
        outcome: String,
    }
}

wire! {
    /// Something that somebody should look at.
    result AlertInfo {
        /// `backup`, `offsite`, `errors`, `disk` or `certificate`.
        alert: String,
        /// Since when, RFC 3339 UTC.
        since: String,
    }
}
