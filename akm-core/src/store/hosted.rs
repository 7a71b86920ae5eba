//! What a server keeps beside accounts: documents of its administrators, the list of redeem codes; and the removal of
//! an account with all that rests of it.
//!
//! Invariants: an account goes in one transaction or not at all. Its events stay, and so do its orders, as nobody's: an
//! order is what keeps a push, or a redeem code, from being good a second time. Documents carry a MAC of the machine,
//! which the service makes and checks: here it is a column.

use crate::error::Result;

use super::{BeforeCommit, CodeRow, Id, OrderRow, Tag};

/// A document of a server's administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// What it is.
    pub kind: String,
    /// Which of its kind.
    pub id: String,
    /// Over everything else.
    pub mac: Tag,
    /// Its text.
    pub body: Vec<u8>,
}

/// Which account goes, and what goes with it.
pub struct Removal<'a> {
    /// The account.
    pub account: &'a Id,
    /// Whether an administrator's account stays.
    pub spare_admins: bool,
    /// The counters of attempts under its name.
    pub attempts: &'a [Tag],
    /// What becomes of each of its orders; one that cannot be read stays under its old MAC.
    pub unlink: &'a dyn Fn(OrderRow) -> OrderRow,
}

/// A store of a server.
pub trait Hosted: Send + Sync {
    /// A document: one indexed read.
    fn document(&self, kind: &str, id: &str) -> Result<Option<DocumentRow>>;
    /// The documents of a kind, by id; more than `most` are `corrupt`.
    fn documents(&self, kind: &str, most: u32) -> Result<Vec<DocumentRow>>;
    /// Puts a document in place of the one of its kind and id; `limit_reached` past `most` of the kind.
    fn put_document(
        &self,
        row: &DocumentRow,
        most: u32,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()>;
    /// Removes a document; `not_found` without one.
    fn remove_document(&self, kind: &str, id: &str, before_commit: BeforeCommit<'_>) -> Result<()>;

    /// Redeem codes, newest first, before the one named, and whether each was used.
    fn codes_page(&self, before: Option<(i64, &Tag)>, limit: u32) -> Result<Vec<(CodeRow, bool)>>;
    /// Removes a redeem code that nobody used: `conflict` if somebody did, `not_found` without one.
    fn remove_code(&self, tag: &Tag, before_commit: BeforeCommit<'_>) -> Result<()>;

    /// Removes an account; how many keys went with it. `not_found` without one.
    fn remove_account(&self, removal: &Removal<'_>, before_commit: BeforeCommit<'_>)
    -> Result<u64>;
}
