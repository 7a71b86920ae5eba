//! Wire types of the vault as a whole.

use serde::{Deserialize, Serialize};

use super::plain::{list, option};
use super::wire;
use crate::secret::Secret;

wire! {
    /// Compares the stored keys with what the account had at its last change, a page at a time.
    #[derive(Default)]
    request VaultCheck {
        /// `next` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
}

wire! {
    /// What one page of the check found.
    result VaultChecked {
        /// Whether nothing is wrong on this page.
        ok: bool,
        /// How many keys were looked at.
        checked: u64,
        /// How many there ought to be in all.
        total: u64,
        /// Record ids of keys that ought to be there and are not, 100 at most.
        missing: Vec<String>,
        /// Record ids of keys that ought not to be there, 100 at most.
        foreign: Vec<String>,
        /// Record ids of keys that are another version than the newest, 100 at most.
        stale: Vec<String>,
        /// Record ids of keys that do not open, or of which something does not fit, 100 at most.
        unreadable: Vec<String>,
        /// Whether the record of the keys is damaged or not the newest itself.
        broken: bool,
        /// Where to go on; absent after the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}

wire! {
    /// Gives the account a new root key, a new vault key and a new key for every record; or goes on with that.
    #[derive(Default)]
    request VaultRekey {
        /// The passphrase: needed to begin. Without it a rekey that is under way goes on.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        passphrase: Option<Secret>,
        /// The TOTP code, six digits, beside the passphrase where the account has TOTP.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        totp: Option<Secret>,
        /// Most records that this call seals anew, 1 to 1000; 1000 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    }
}

wire! {
    /// How far a rekey has come.
    result VaultRekeyed {
        /// Whether it is done. If not, ask again, without the passphrase; a running agent also goes on by itself.
        done: bool,
        /// Records that were looked at.
        rekeyed: u64,
        /// Records that there are.
        total: u64,
        /// New recovery codes, where this call began the rekey: the old ones are void.
        #[serde(default, with = "list", skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "openapi", schemars(with = "Vec<String>"))]
        recovery_codes: Vec<Secret>,
    }
}

/// How far a rekey has come, for people who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RekeyProgress {
    /// Records that were looked at.
    pub done: u64,
    /// Records that there are.
    pub total: u64,
}
