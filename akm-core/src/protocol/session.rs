//! Wire types of sessions: where an account is open, and ending that.

use serde::{Deserialize, Serialize};

use super::wire;

wire! {
    /// Asks where the account is open.
    #[derive(Default)]
    request SessionList {}
}

wire! {
    /// The sessions of the account.
    result SessionPage {
        /// All of them, the latest first.
        sessions: Vec<SessionInfo>,
    }
}

wire! {
    /// One session.
    result SessionInfo {
        /// What names it in `session.revoke`. It opens nothing.
        id: String,
        /// Whether it is the one that asks.
        current: bool,
        /// Whether it was begun on the host itself, and not over the network.
        host: bool,
        /// Where it was begun from; absent on the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// When it was begun, RFC 3339 UTC; absent on the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created_at: Option<String>,
        /// When it ends by itself at the latest, RFC 3339 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    }
}

wire! {
    /// Ends sessions of the account.
    #[derive(Default)]
    request SessionRevoke {
        /// Which one; all but the one that asks if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    }
}
