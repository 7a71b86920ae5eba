//! Wire types of the audit.

use serde::{Deserialize, Serialize};

use super::wire;

wire! {
    /// Asks for events. Filters combine.
    #[derive(Clone, Default)]
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
        /// Look only at the newest this many events of each chain, 1 to 1000; not together with `after`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u32>,
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
        /// `after` for what comes behind the last event that was looked at, also where there is no next page yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<String>,
    }
}

wire! {
    /// What happened. There is no field that could hold a value.
    result AuditEvent {
        /// `account` or `system`: the chain it stands in.
        chain: String,
        /// Position in its chain, from 1.
        seq: u64,
        /// RFC 3339 UTC.
        time: String,
        /// The operation.
        action: String,
        /// The account; null for a failed sign-in.
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
    /// Asks for a checkpoint: where the chains stand, signed, to be kept on another machine.
    #[derive(Default)]
    request AuditCheckpoint {}
}

wire! {
    /// Where the chains stood at a time, signed by the account.
    #[derive(Clone, PartialEq, Eq)]
    request Checkpoint {
        /// 1.
        version: u32,
        /// The vault's id.
        vault: String,
        /// The account's id.
        account: String,
        /// RFC 3339 UTC.
        time: String,
        /// The account's chain.
        account_chain: ChainHead,
        /// The system's chain.
        system_chain: ChainHead,
        /// Ed25519, in hex.
        public_key: String,
        /// Ed25519, in hex, over all of this but the key.
        signature: String,
    }
}

wire! {
    /// The last event of a chain.
    #[derive(Clone, PartialEq, Eq)]
    request ChainHead {
        /// Its position; 0 where there is none.
        seq: u64,
        /// Its MAC, in hex.
        mac: String,
    }
}

/// How the log stands to a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckpointVerdict {
    /// Everything that was there is there.
    Holds,
    /// Events are missing that were there.
    Truncated,
    /// At the place of an event that was there stands another one.
    Forked,
}

wire! {
    /// Checks the chains.
    #[derive(Default)]
    request AuditVerify {
        /// What was kept elsewhere, to be compared with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Checkpoint>,
    }
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
        /// How the log stands to the checkpoint, if there was one and it could be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<CheckpointVerdict>,
    }
}
