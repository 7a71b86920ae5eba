//! Where sealed rows rest. A store knows ids, versions, counts and opaque blobs; it holds no key.
//!
//! Invariants: every method is one transaction; a write is durable when it returns; a change names the
//! version it changes and fails with `conflict` when that is no longer the stored one; `before_commit`
//! runs inside the transaction after every statement succeeded, and its error rolls everything back
//! (the audit event is written there: no change without its event). Every SQL statement of akm lives
//! below this module.

use crate::error::Result;
use crate::protocol::Role;

mod hosted;
mod ledger;
mod sqlite;

pub use hosted::{DocumentRow, Hosted, Removal};
pub use ledger::{CodeRow, Decide, Ledger, OrderRow, Settled, TierRow, Weigh};

pub use sqlite::{Contents, SqliteStore, VaultLock};
pub(crate) use sqlite::{open_private, read_manager};

/// What a change says of a record that is not as it was when it was read.
pub(crate) const OVERTAKEN: &str = "the key was changed or removed meanwhile";

/// A random identifier.
pub type Id = [u8; 16];
/// A keyed tag or a MAC.
pub type Tag = [u8; 32];
/// Runs inside the transaction, last.
pub type BeforeCommit<'a> = &'a mut dyn FnMut() -> Result<()>;

/// An account. Blobs are sealed by the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Random.
    pub id: Id,
    /// In its one spelling.
    pub name: String,
    /// `user` or `admin`.
    pub role: String,
    /// Tier id; local accounts have `local`.
    pub tier: String,
    /// A hint for `agent.status`; what binds is inside `profile`.
    pub totp_active: bool,
    /// Last TOTP step used.
    pub totp_step: u64,
    /// Keys wrapped by the root key.
    pub keys: Vec<u8>,
    /// While a rekey is under way: the vault key before, wrapped by the one that replaces it.
    pub key_before: Option<Vec<u8>>,
    /// Sealed account state.
    pub profile: Vec<u8>,
    /// Counts changes of `profile`, from 1.
    pub profile_version: u64,
    /// What the account and its records are as of the last change, under a MAC of the vault.
    pub manifest: Vec<u8>,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// What an account may do, as far as that stands in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its role.
    pub role: Role,
    /// The hint of [`AccountRow::totp_active`].
    pub totp_active: bool,
    /// Whether nobody may sign in to it over the network.
    pub disabled: bool,
    /// Most keys it may have, where an administrator set that.
    pub key_limit: Option<u64>,
}

/// An account as its administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountCard {
    /// In its one spelling.
    pub name: String,
    /// What it may do.
    pub standing: Standing,
    /// Tier id.
    pub tier: String,
    /// How many keys it has.
    pub keys: u64,
    /// Unix milliseconds.
    pub created_at: i64,
}

/// A change of what an account may do; what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandingChange {
    /// The role.
    pub role: Option<Role>,
    /// Whether nobody may sign in to it over the network.
    pub disabled: Option<bool>,
    /// A limit of keys, or none any more.
    pub key_limit: Option<Option<u64>>,
}

/// One way to the root key: a passphrase, or a recovery code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRow {
    /// 0 is the passphrase; recovery codes count from 1.
    pub slot: u32,
    /// Encoded derivation parameters.
    pub kdf: Vec<u8>,
    /// Bits of the factors that enter the derivation.
    pub factors: u32,
    /// Commitment to the derived key.
    pub commit: Tag,
    /// The root key, wrapped.
    pub wrapped: Vec<u8>,
}

/// A change of an account, all or nothing.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// Slots that must exist and are removed; one missing is `conflict`.
    pub remove_slots: Vec<u32>,
    /// Slots written, replacing those of the same number.
    pub put_slots: Vec<SlotRow>,
    /// New sealed state, with the version it replaces.
    pub profile: Option<ProfileChange>,
    /// New keys: a rekey begins.
    pub keys: Option<KeysChange>,
    /// The vault key before is needed no more: a rekey is done.
    pub rekeyed: bool,
}

/// New keys of an account, and everything that moves under them at once.
#[derive(Clone, Debug)]
pub struct KeysChange {
    /// Wrapped by the new root key.
    pub keys: Vec<u8>,
    /// The vault key before, wrapped by the new one.
    pub key_before: Vec<u8>,
    /// Every provider that the account added, with the tag of the row that it replaces.
    pub providers: Vec<(Tag, ProviderRow)>,
}

/// A record with all that rests under its key, sealed anew.
#[derive(Clone, Debug)]
pub struct ResealedKey {
    /// The record.
    pub row: KeyRow,
    /// The stored record must have this version.
    pub from_meta_version: u64,
    /// All of its replaced secrets.
    pub history: Vec<HistoryRow>,
    /// Its last connection test, with the version of the secret.
    pub test: Option<(u64, Vec<u8>)>,
}

/// New sealed account state.
#[derive(Clone, Debug)]
pub struct ProfileChange {
    /// The stored version must be this; it becomes this + 1.
    pub from_version: u64,
    /// The sealed state.
    pub profile: Vec<u8>,
    /// The hint beside it.
    pub totp_active: bool,
    /// The last TOTP step used, where a confirmation used one; never moves backwards.
    pub totp_step: Option<u64>,
}

/// What a change does to the tree over an account's records. It is written with the change or not at all.
#[derive(Clone, Debug, Default)]
pub struct TreeChange {
    /// The stored manifest must be this; another one is `rolled_back`.
    pub from: Vec<u8>,
    /// It becomes this.
    pub manifest: Vec<u8>,
    /// Whether every node that is stored goes first.
    pub anew: bool,
    /// Nodes written, by number, replacing those of the same number.
    pub nodes: Vec<(i64, Vec<u8>)>,
}

/// A key's record without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHead {
    /// Random; the cursor of lists.
    pub id: Id,
    /// The owner.
    pub account: Id,
    /// Keyed tag of the name, unique per account.
    pub tag: Tag,
    /// Keyed tag of the provider.
    pub provider_tag: Tag,
    /// In clear for filters; authenticated inside `meta`.
    pub status: u8,
    /// Version of the secret, from 1.
    pub secret_version: u64,
    /// Version of the metadata, from 1.
    pub meta_version: u64,
    /// The record key, wrapped by the vault key.
    pub wrapped_key: Vec<u8>,
    /// Sealed metadata.
    pub meta: Vec<u8>,
    /// Unix milliseconds; a cache of the audit.
    pub last_used_at: Option<i64>,
}

/// A key's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// All but the secret.
    pub head: KeyHead,
    /// The sealed secret.
    pub secret: Vec<u8>,
}

/// A replaced secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// The version it was.
    pub version: u64,
    /// Sealed: preview, times, destinations.
    pub meta: Vec<u8>,
    /// The sealed secret, as it stood.
    pub secret: Vec<u8>,
}

/// What the last connection test of a key showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastTestRow {
    /// The record it is of.
    pub key: Id,
    /// The version of the secret that was tested.
    pub secret_version: u64,
    /// Sealed: outcome and time.
    pub sealed: Vec<u8>,
}

/// The record of a provider that an account added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    /// Keyed tag of the id, unique per account.
    pub tag: Tag,
    /// Random.
    pub id: Id,
    /// The sealed record.
    pub record: Vec<u8>,
}

/// The count of failed attempts under one tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts since the last success.
    pub failures: u32,
    /// Unix milliseconds before which no attempt is made.
    pub blocked_until: i64,
}

/// An audit event as it rests: what filters need in clear, the rest sealed, all of it under `mac`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The account's id, or zeros for the system chain.
    pub chain: Id,
    /// Position in the chain, from 1.
    pub seq: u64,
    /// Unix milliseconds.
    pub time: i64,
    /// Operation name.
    pub action: String,
    /// `ok` or an error kind.
    pub outcome: String,
    /// The key's record id, where there was one.
    pub record: Option<Id>,
    /// Sealed: key name, caller.
    pub sealed: Vec<u8>,
    /// Over everything above and the event before.
    pub mac: Tag,
}

/// A store. See the module for what every implementation owes.
pub trait Store: Send + Sync {
    /// The random id of this vault, made when it was created.
    fn vault_id(&self) -> Id;

    /// A number that is another one after every change but the folding of events. What was read before it moved may
    /// be old; it has moved when whoever asked for the change learns that it is done.
    fn changes(&self) -> u64;

    /// How many accounts there are.
    fn account_count(&self) -> Result<u64>;
    /// An account by its folded name.
    fn account_by_name(&self, name: &str) -> Result<Option<AccountRow>>;
    /// An account by its folded name or, so that a name nobody has costs the same, the next one from the id `other` on;
    /// `None` in an empty vault.
    fn account_or_other(&self, name: &str, other: &Id) -> Result<Option<AccountRow>>;
    /// An account by id.
    fn account(&self, id: &Id) -> Result<Option<AccountRow>>;
    /// Accounts in the order of their ids, after `after`.
    fn accounts_page(&self, after: Option<&Id>, limit: u32) -> Result<Vec<AccountRow>>;
    /// The slots of an account, by number. Empty for an unknown account, at the same cost.
    fn slots(&self, account: &Id) -> Result<Vec<SlotRow>>;
    /// Adds an account; `conflict` if the name is taken.
    fn create_account(
        &self,
        account: &AccountRow,
        slots: &[SlotRow],
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// As `create_account` for one use of an invitation; `denied` where there is none left at `account.created_at`.
    fn create_invited_account(
        &self,
        account: &AccountRow,
        slots: &[SlotRow],
        invitation: &Tag,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// What an account may do: one indexed read.
    fn standing(&self, account: &Id) -> Result<Standing>;
    /// Changes what the account of a folded name may do; `not_found` without one.
    fn change_standing(
        &self,
        name: &str,
        change: &StandingChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<AccountCard>;
    /// Accounts in the order of their names, after `after`.
    fn account_cards(&self, after: &str, limit: u32) -> Result<Vec<AccountCard>>;
    /// Adds an invitation; those that are over at `now` go. `limit_reached` past 10,000.
    fn add_invitation(
        &self,
        tag: &Tag,
        uses: u32,
        expires_at: i64,
        now: i64,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Whether an invitation has a use left at `now`.
    fn is_invited(&self, tag: &Tag, now: i64) -> Result<bool>;
    /// Changes an account.
    fn change_account(
        &self,
        id: &Id,
        change: &AccountChange,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Uses up a TOTP step: true if no step at or after it was used before.
    fn use_totp_step(&self, account: &Id, step: u64) -> Result<bool>;
    /// Reads, decides and writes the attempts under some tags in one durable transaction. There are as many rows as there
    /// are tags: it is for the caller to bound those.
    fn change_attempts(&self, tags: &[Tag], decide: &mut dyn FnMut(&mut [Attempts])) -> Result<()>;
    /// The tags of whoever is familiar to an account. Empty for an unknown account, at the same cost.
    fn familiar(&self, account: &Id) -> Result<Vec<Tag>>;
    /// Adds one of them, unless there are `most` already.
    fn add_familiar(&self, account: &Id, tag: &Tag, most: u32) -> Result<()>;

    /// How many keys an account has.
    fn key_count(&self, account: &Id) -> Result<u64>;
    /// A key by its tag: one indexed read.
    fn key_by_tag(&self, account: &Id, tag: &Tag) -> Result<Option<KeyRow>>;
    /// Adds keys, all or none: `conflict` if a tag is taken, `limit_reached` past `limit`.
    fn insert_keys(
        &self,
        rows: &[KeyRow],
        limit: Option<u64>,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Replaces a record that has `from_meta_version`; keeps `history` if given.
    fn update_key(
        &self,
        row: &KeyRow,
        from_meta_version: u64,
        history: Option<&HistoryRow>,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Replaces records and what rests with them, all or none; as many replaced secrets as there are, or `conflict`.
    fn reseal_keys(&self, account: &Id, keys: &[ResealedKey], tree: &TreeChange) -> Result<()>;
    /// Removes a record that has `from_meta_version`, and its history.
    fn remove_key(
        &self,
        account: &Id,
        id: &Id,
        from_meta_version: u64,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Whole records in the order of their ids, after `after`.
    fn rows_page(&self, account: &Id, after: Option<&Id>, limit: u32) -> Result<Vec<KeyRow>>;
    /// A node of the tree over an account's records.
    fn tree_node(&self, account: &Id, number: i64) -> Result<Option<Vec<u8>>>;
    /// Heads in the order of their ids, after `after`.
    fn keys_page(
        &self,
        account: &Id,
        provider_tag: Option<&Tag>,
        after: Option<&Id>,
        limit: u32,
    ) -> Result<Vec<KeyHead>>;
    /// Replaced secrets of a key, newest first.
    fn history(&self, account: &Id, key: &Id) -> Result<Vec<HistoryRow>>;
    /// Keeps the last connection test of a key whose secret has this version; otherwise there is nothing to keep.
    fn keep_test(&self, account: &Id, key: &Id, secret_version: u64, sealed: &[u8]) -> Result<()>;
    /// The last connection tests of the keys from one id to another, in the order of ids.
    fn last_tests(&self, account: &Id, first: &Id, last: &Id) -> Result<Vec<LastTestRow>>;

    /// A provider that an account added, by its tag: one indexed read.
    fn provider_by_tag(&self, account: &Id, tag: &Tag) -> Result<Option<ProviderRow>>;
    /// All of them; more than `most` are `corrupt`.
    fn providers(&self, account: &Id, most: u32) -> Result<Vec<ProviderRow>>;
    /// Adds one: `conflict` if the tag is taken, `limit_reached` past `most`.
    fn insert_provider(
        &self,
        account: &Id,
        row: &ProviderRow,
        most: u32,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Removes one that has this tag and id.
    fn remove_provider(
        &self,
        account: &Id,
        tag: &Tag,
        id: &Id,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;

    /// Takes events from the journal: an event that is there already is skipped, a different one in its place is
    /// `corrupt`. Moves `last_used_at` of the records that `key.get`, `provider.test` and `provider.balance` handed out.
    fn fold_events(&self, events: &[EventRow]) -> Result<()>;
    /// The last event of a chain.
    fn last_event(&self, chain: &Id) -> Result<Option<EventRow>>;
    /// Events of a chain in order, after `after_seq`, at or after `since`, of `action`.
    fn events(
        &self,
        chain: &Id,
        after_seq: u64,
        since: Option<i64>,
        action: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EventRow>>;

    /// Writes the log back into the main file, so that nothing deleted stays behind.
    fn checkpoint(&self) -> Result<()>;
}
