//! Associated data: where a blob belongs, in an encoding that two places never share.
//!
//! The numbers below are the registry. A number is never reused and never means something else; names of
//! tables and columns, or versions of a schema, have no part in it, so that migrations touch no sealed data.

use crate::store::Id;

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Field {
    /// The root key under a slot's key.
    SlotRoot = 1,
    /// An account's keys under its root key, in one blob.
    AccountKeys = 2,
    /// An account's state.
    Profile = 3,
    /// A record key under the vault key.
    RecordKey = 4,
    /// A key's metadata.
    Meta = 5,
    /// A key's secret.
    Secret = 6,
    /// What is kept about a replaced secret.
    HistoryMeta = 7,
    /// The sealed part of an audit event.
    Event = 8,
    /// The audit key under the root key.
    AuditKey = 9,
    /// The X25519 private key under the root key.
    ExchangeKey = 10,
    /// A vault key under the root key.
    VaultKey = 11,
    /// What a key's last connection test showed.
    LastTest = 12,
    /// The record of a provider that an account added.
    Provider = 13,
    /// The vault key before, under the one that replaces it, while a rekey is under way.
    VaultKeyBefore = 14,
    /// Where a hosted account's owner is reached, under a key of the machine.
    Contact = 20,
    /// A piece of a hand-over to an account of another vault.
    Handover = 22,
}

/// What every encoding begins with.
const FORMAT: &[u8] = b"akm/v1";

/// Numbers of the parts. An encoding has them in rising order, each at most once.
mod part {
    pub(super) const FORMAT: u16 = 1;
    pub(super) const FIELD: u16 = 2;
    pub(super) const VAULT: u16 = 3;
    pub(super) const ACCOUNT: u16 = 4;
    pub(super) const RECORD: u16 = 5;
    pub(super) const SLOT: u16 = 6;
    pub(super) const VERSION: u16 = 7;
    pub(super) const DESTINATIONS: u16 = 8;
    pub(super) const SEQ: u16 = 9;
}

/// Associated data of one blob. A part that is set twice has its last value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ad {
    field: Field,
    vault: Option<Id>,
    account: Option<Id>,
    record: Option<Id>,
    slot: Option<u32>,
    version: Option<u64>,
    destinations: Option<[u8; 32]>,
    seq: Option<u64>,
}

impl Ad {
    /// Of a blob that is `field`.
    pub const fn new(field: Field) -> Self {
        Ad {
            field,
            vault: None,
            account: None,
            record: None,
            slot: None,
            version: None,
            destinations: None,
            seq: None,
        }
    }

    /// In this vault.
    #[must_use]
    pub const fn vault(mut self, id: &Id) -> Self {
        self.vault = Some(*id);
        self
    }

    /// Of this account.
    #[must_use]
    pub const fn account(mut self, id: &Id) -> Self {
        self.account = Some(*id);
        self
    }

    /// Of this record.
    #[must_use]
    pub const fn record(mut self, id: &Id) -> Self {
        self.record = Some(*id);
        self
    }

    /// In this slot.
    #[must_use]
    pub const fn slot(mut self, slot: u32) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Of this version.
    #[must_use]
    pub const fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// For the destinations with this hash.
    #[must_use]
    pub const fn destinations(mut self, hash: &[u8; 32]) -> Self {
        self.destinations = Some(*hash);
        self
    }

    /// At this place of a sequence.
    #[must_use]
    pub const fn seq(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// `(number ‖ length ‖ value)*` with 16-bit big-endian numbers and lengths, numbers rising.
    pub(super) fn encode(&self) -> Vec<u8> {
        fn put(out: &mut Vec<u8>, number: u16, value: &[u8]) {
            out.extend_from_slice(&number.to_be_bytes());
            // Every value is a literal or has a fixed size, far below 2¹⁶.
            out.extend_from_slice(&(value.len() as u16).to_be_bytes());
            out.extend_from_slice(value);
        }
        let mut out = Vec::with_capacity(160);
        put(&mut out, part::FORMAT, FORMAT);
        put(&mut out, part::FIELD, &(self.field as u16).to_be_bytes());
        if let Some(id) = &self.vault {
            put(&mut out, part::VAULT, id);
        }
        if let Some(id) = &self.account {
            put(&mut out, part::ACCOUNT, id);
        }
        if let Some(id) = &self.record {
            put(&mut out, part::RECORD, id);
        }
        if let Some(slot) = self.slot {
            put(&mut out, part::SLOT, &slot.to_be_bytes());
        }
        if let Some(version) = self.version {
            put(&mut out, part::VERSION, &version.to_be_bytes());
        }
        if let Some(hash) = &self.destinations {
            put(&mut out, part::DESTINATIONS, hash);
        }
        if let Some(seq) = self.seq {
            put(&mut out, part::SEQ, &seq.to_be_bytes());
        }
        out
    }
}
