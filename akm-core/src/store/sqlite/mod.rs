//! The vault in one SQLite file.
//!
//! Three connections, each behind its own lock: `reader` answers the point reads of the hot path,
//! `scanner` reads pages, history and events, `writer` writes. In WAL mode a reader never waits for a
//! commit, and with a lock of its own the hot path never waits for a page of a thousand rows either.
//!
//! Invariants: one process holds the file (the lock in `files`); every write is one immediate
//! transaction and durable when it returns (`synchronous=FULL`); deleted content is overwritten
//! (`secure_delete`), and `checkpoint` takes it out of the log too; nothing that rests in the file is
//! trusted (`values`, `schema`), and nothing in it can run: no triggers, no views, no extensions, no
//! attached files.
//!
//! `before_commit` runs while the write lock is held: it may read through the store, never write.
//! If the commit itself fails after it (a full disk), its own effect stands and the change does not:
//! an event without its change can happen, a change without its event cannot.
//!
//! Deliberately absent: deleting, recreating or repairing a file. A damaged vault is the user's to restore.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    AccountCard, AccountChange, AccountRow, Attempts, BeforeCommit, EventRow, HistoryRow, Id,
    KeyHead, KeyRow, LastTestRow, ProviderRow, ResealedKey, SlotRow, Standing, StandingChange,
    Store, Tag, TreeChange,
};
use crate::error::{Error, Kind, Result};
use crate::host::{Clock, Random};

mod accounts;
mod attempts;
mod backup;
mod billing;
mod connection;
mod damage;
mod events;
mod files;
mod hosted;
mod keys;
mod last_tests;
mod manager;
mod providers;
mod schema;
mod standing;
mod tree;
mod values;

#[cfg(test)]
mod tests;

use connection::{
    READER_CACHE, SCANNER_CACHE, WRITER_CACHE, connect, id_without_log, keep_log, read_only,
    write_back,
};
use files::Identity;
pub(crate) use files::open_private;
pub(crate) use manager::read as read_manager;
use values::sql;

pub use backup::Contents;
pub use damage::VaultLock;

/// A vault file, held open by this process alone.
pub struct SqliteStore {
    // In the order in which they are closed: the lock last.
    reader: Mutex<Connection>,
    scanner: Mutex<Connection>,
    writer: Mutex<Connection>,
    vault_id: Id,
    path: PathBuf,
    replaced: Option<PathBuf>,
    /// None for a copy, which nobody writes to once it has its name.
    _lock: Option<File>,
    changes: AtomicU64,
    reads: AtomicU64,
    /// How many copies are being taken: each keeps the log from being emptied.
    copies: AtomicU64,
    /// The files that are open, as they were found by name.
    files: Identity,
}

impl SqliteStore {
    /// Opens the vault at `path`, or creates it. The directory must exist and be checked already.
    ///
    /// Errors: `conflict` if another process (or another store in this one) holds it; `denied` for a
    /// symbolic link, a second hard link, another owner, a file others may write, or no regular file;
    /// `unsupported_version` for a newer vault or another program's database; `corrupt` for anything
    /// else that akm did not write.
    pub fn open(path: &Path, random: &dyn Random, clock: &dyn Clock) -> Result<SqliteStore> {
        let claim = files::claim(path)?;
        // Asked before any log is read: a log is not bound to its database, SQLite would take another vault's.
        let beneath = match claim.logged {
            true => id_without_log(&claim.path),
            false => None,
        };
        let mut writer = connect(&claim.path, WRITER_CACHE)?;
        keep_log(&writer, true)?;
        let mut id = Id::default();
        random.fill(&mut id);
        schema::prepare(&mut writer, &id, clock.now().as_millisecond())?;
        let vault_id = schema::vault_id(&writer)?;
        if beneath.is_some_and(|beneath| beneath != vault_id) {
            return Err(Error::corrupt(
                "the log beside the vault is another vault's",
            ));
        }
        keep_log(&writer, false)?;
        let reader = read_only(connect(&claim.path, READER_CACHE)?)?;
        let scanner = read_only(connect(&claim.path, SCANNER_CACHE)?)?;
        Ok(SqliteStore {
            reader: Mutex::new(reader),
            scanner: Mutex::new(scanner),
            writer: Mutex::new(writer),
            vault_id,
            files: Identity::of(&claim.path),
            path: claim.path,
            replaced: claim.replaced,
            _lock: Some(claim.lock),
            changes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            copies: AtomicU64::new(0),
        })
    }

    /// How often this store was read and written. A test seam: equal work is counted, not timed.
    #[doc(hidden)]
    pub fn accesses(&self) -> (u64, u64) {
        (
            self.reads.load(Ordering::Relaxed),
            self.changes.load(Ordering::Relaxed),
        )
    }

    /// Whether the files still have their names. What is committed to a log that was taken away would be gone with
    /// this process; so it is brought home at once, and nothing more is acknowledged.
    fn check_files(&self, writer: &Connection) -> Result<()> {
        if Identity::of(&self.path) == self.files {
            return Ok(());
        }
        let _ = write_back(writer);
        Err(Error::new(
            Kind::Io,
            "a file of the vault was taken away or replaced while it is open",
        )
        .with_hint(
            "put it back or restart the agent, then look whether the last changes are there",
        ))
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        hold(&self.reader)
    }

    fn scanner(&self) -> MutexGuard<'_, Connection> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        hold(&self.scanner)
    }

    /// One immediate transaction: all of `act`, or nothing.
    fn write<T>(&self, act: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let done = self.transact(act);
        // Whatever became of it: what was read before is read again.
        self.changes.fetch_add(1, Ordering::Release);
        done
    }

    fn transact<T>(&self, act: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut writer = hold(&self.writer);
        self.check_files(&writer)?;
        let tx = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql)?;
        let done = act(&tx)?;
        tx.commit().map_err(sql)?;
        Ok(done)
    }

    /// As `write`, for a change that ends with its event.
    fn change(
        &self,
        before_commit: BeforeCommit<'_>,
        act: impl FnOnce(&Transaction<'_>) -> Result<()>,
    ) -> Result<()> {
        self.write(|tx| {
            act(tx)?;
            before_commit()
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Whatever it cannot write back now is in the log, and is read from there next time.
        let _ = self.checkpoint();
    }
}

/// A panic while the lock was held rolled its transaction back: the connection is as good as before.
fn hold(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for SqliteStore {
    fn vault_id(&self) -> Id {
        self.vault_id
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn account_count(&self) -> Result<u64> {
        accounts::count(&self.reader())
    }

    fn account_by_name(&self, name: &str) -> Result<Option<AccountRow>> {
        accounts::by_name(&self.reader(), name)
    }

    fn account_or_other(&self, name: &str, other: &Id) -> Result<Option<AccountRow>> {
        accounts::by_name_or_other(&self.reader(), name, other)
    }

    fn account(&self, id: &Id) -> Result<Option<AccountRow>> {
        accounts::by_id(&self.reader(), id)
    }

    fn accounts_page(&self, after: Option<&Id>, limit: u32) -> Result<Vec<AccountRow>> {
        accounts::page(&self.scanner(), after, limit)
    }

    fn slots(&self, account: &Id) -> Result<Vec<SlotRow>> {
        accounts::slots(&self.reader(), account)
    }

    fn create_account(
        &self,
        account: &AccountRow,
        slots: &[SlotRow],
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| accounts::create(tx, account, slots))
    }

    fn create_invited_account(
        &self,
        account: &AccountRow,
        slots: &[SlotRow],
        invitation: &Tag,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            standing::use_invitation(tx, invitation, account.created_at)?;
            accounts::create(tx, account, slots)
        })
    }

    fn standing(&self, account: &Id) -> Result<Standing> {
        standing::of(&self.reader(), account)
    }

    fn change_standing(
        &self,
        name: &str,
        change: &StandingChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<AccountCard> {
        self.write(|tx| {
            let card = standing::change(tx, name, change)?;
            before_commit()?;
            Ok(card)
        })
    }

    fn account_cards(&self, after: &str, limit: u32) -> Result<Vec<AccountCard>> {
        standing::cards(&self.scanner(), after, limit)
    }

    fn add_invitation(
        &self,
        tag: &Tag,
        uses: u32,
        expires_at: i64,
        now: i64,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            standing::add_invitation(tx, tag, uses, expires_at, now)
        })
    }

    fn is_invited(&self, tag: &Tag, now: i64) -> Result<bool> {
        standing::is_invited(&self.reader(), tag, now)
    }

    fn change_account(
        &self,
        id: &Id,
        change: &AccountChange,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            accounts::change(tx, id, change)?;
            tree::change(tx, id, tree)
        })
    }

    fn use_totp_step(&self, account: &Id, step: u64) -> Result<bool> {
        self.write(|tx| accounts::use_totp_step(tx, account, step))
    }

    fn change_attempts(&self, tags: &[Tag], decide: &mut dyn FnMut(&mut [Attempts])) -> Result<()> {
        self.write(|tx| attempts::change(tx, tags, decide))
    }

    fn familiar(&self, account: &Id) -> Result<Vec<Tag>> {
        attempts::familiar(&self.reader(), account)
    }

    fn add_familiar(&self, account: &Id, tag: &Tag, most: u32) -> Result<()> {
        self.write(|tx| attempts::add_familiar(tx, account, tag, most))
    }

    fn key_count(&self, account: &Id) -> Result<u64> {
        keys::count(&self.reader(), account)
    }

    fn key_by_tag(&self, account: &Id, tag: &Tag) -> Result<Option<KeyRow>> {
        keys::by_tag(&self.reader(), account, tag)
    }

    fn insert_keys(
        &self,
        rows: &[KeyRow],
        limit: Option<u64>,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            keys::insert(tx, rows, limit)?;
            match rows.first() {
                Some(row) => tree::change(tx, &row.head.account, tree),
                None => Ok(()),
            }
        })
    }

    fn update_key(
        &self,
        row: &KeyRow,
        from_meta_version: u64,
        history: Option<&HistoryRow>,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            keys::update(tx, row, from_meta_version, history)?;
            tree::change(tx, &row.head.account, tree)
        })
    }

    fn reseal_keys(&self, account: &Id, keys: &[ResealedKey], tree: &TreeChange) -> Result<()> {
        self.write(|tx| {
            for key in keys {
                keys::update(tx, &key.row, key.from_meta_version, None)?;
                keys::replace_history(tx, account, &key.row.head.id, &key.history)?;
                if let Some((version, sealed)) = &key.test {
                    last_tests::keep(tx, account, &key.row.head.id, *version, sealed)?;
                }
            }
            tree::change(tx, account, tree)
        })
    }

    fn remove_key(
        &self,
        account: &Id,
        id: &Id,
        from_meta_version: u64,
        tree: &TreeChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            keys::remove(tx, account, id, from_meta_version)?;
            tree::change(tx, account, tree)
        })
    }

    fn rows_page(&self, account: &Id, after: Option<&Id>, limit: u32) -> Result<Vec<KeyRow>> {
        keys::rows(&self.scanner(), account, after, limit)
    }

    fn tree_node(&self, account: &Id, number: i64) -> Result<Option<Vec<u8>>> {
        tree::node(&self.reader(), account, number)
    }

    fn keys_page(
        &self,
        account: &Id,
        provider_tag: Option<&Tag>,
        after: Option<&Id>,
        limit: u32,
    ) -> Result<Vec<KeyHead>> {
        keys::page(&self.scanner(), account, provider_tag, after, limit)
    }

    fn history(&self, account: &Id, key: &Id) -> Result<Vec<HistoryRow>> {
        keys::history(&self.scanner(), account, key)
    }

    fn provider_by_tag(&self, account: &Id, tag: &Tag) -> Result<Option<ProviderRow>> {
        providers::by_tag(&self.reader(), account, tag)
    }

    fn providers(&self, account: &Id, most: u32) -> Result<Vec<ProviderRow>> {
        providers::all(&self.scanner(), account, most)
    }

    fn insert_provider(
        &self,
        account: &Id,
        row: &ProviderRow,
        most: u32,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            providers::insert(tx, account, row, most)
        })
    }

    fn remove_provider(
        &self,
        account: &Id,
        tag: &Tag,
        id: &Id,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| providers::remove(tx, account, tag, id))
    }

    fn keep_test(&self, account: &Id, key: &Id, secret_version: u64, sealed: &[u8]) -> Result<()> {
        self.write(|tx| last_tests::keep(tx, account, key, secret_version, sealed))
    }

    fn last_tests(&self, account: &Id, first: &Id, last: &Id) -> Result<Vec<LastTestRow>> {
        last_tests::between(&self.scanner(), account, first, last)
    }

    fn fold_events(&self, events: &[EventRow]) -> Result<()> {
        self.transact(|tx| events::fold(tx, events))
    }

    fn last_event(&self, chain: &Id) -> Result<Option<EventRow>> {
        events::last(&self.scanner(), chain)
    }

    fn events(
        &self,
        chain: &Id,
        after_seq: u64,
        since: Option<i64>,
        action: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EventRow>> {
        events::page(&self.scanner(), chain, after_seq, since, action, limit)
    }

    fn checkpoint(&self) -> Result<()> {
        // Waiting for a copy would keep every writer waiting; whoever takes it does this afterwards.
        if self.copies.load(Ordering::Acquire) > 0 {
            return Err(Error::new(Kind::Unavailable, "the vault is busy"));
        }
        write_back(&hold(&self.writer))
    }
}
