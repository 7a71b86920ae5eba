//! Wire types of the vault as a whole.

use serde::{Deserialize, Serialize};

use super::wire;

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
        /// Whether the record of the keys is damaged or not the newest itself.
        broken: bool,
        /// Where to go on; absent after the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
}
