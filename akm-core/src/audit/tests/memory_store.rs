//! A store of events in memory, with a door for attackers. Everything else it refuses.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Kind, Result};
use crate::store::{
    AccountCard, AccountChange, AccountRow, Attempts, BeforeCommit, EventRow, HistoryRow, Id,
    KeyHead, KeyRow, LastTestRow, ProviderRow, ResealedKey, SlotRow, Standing, StandingChange,
    Store, Tag, TreeChange,
};

#[derive(Default)]
pub(super) struct MemoryStore {
    /// What an attacker with the file can change.
    pub(super) rows: Mutex<BTreeMap<(Id, u64), EventRow>>,
    /// Makes every fold fail as on a full disk.
    pub(super) full: AtomicBool,
    pub(super) folds: AtomicUsize,
    /// The call from now on that fails, as on a broken disk; none at zero.
    pub(super) refuse: AtomicUsize,
}

impl MemoryStore {
    fn step(&self) -> Result<()> {
        match self.refuse.load(Ordering::Relaxed) {
            0 => Ok(()),
            left => {
                self.refuse.store(left - 1, Ordering::Relaxed);
                match left {
                    1 => Err(Error::new(Kind::Io, "the disk does not answer")),
                    _ => Ok(()),
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    pub(super) fn get(&self, chain: &Id, seq: u64) -> EventRow {
        self.rows.lock().unwrap()[&(*chain, seq)].clone()
    }

    /// Puts a row where it says it belongs, over whatever is there.
    pub(super) fn put(&self, row: EventRow) {
        let mut rows = self.rows.lock().unwrap();
        rows.insert((row.chain, row.seq), row);
    }

    pub(super) fn delete(&self, chain: &Id, seq: u64) -> EventRow {
        let mut rows = self.rows.lock().unwrap();
        rows.remove(&(*chain, seq)).unwrap()
    }
}

const OTHER: Error = Error::internal("this store has events only");

impl Store for MemoryStore {
    fn changes(&self) -> u64 {
        unreachable!("the audit keeps nothing that a change could make old")
    }

    fn fold_events(&self, events: &[EventRow]) -> Result<()> {
        self.folds.fetch_add(1, Ordering::Relaxed);
        self.step()?;
        if self.full.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Io, "no space is left on the device"));
        }
        let mut rows = self.rows.lock().unwrap();
        for event in events {
            match rows.get(&(event.chain, event.seq)) {
                Some(there) if there != event => return Err(Error::corrupt("another event")),
                _ => {}
            }
        }
        rows.extend(
            events
                .iter()
                .map(|event| ((event.chain, event.seq), event.clone())),
        );
        Ok(())
    }

    fn last_event(&self, chain: &Id) -> Result<Option<EventRow>> {
        self.step()?;
        let rows = self.rows.lock().unwrap();
        let last = rows.range((*chain, 0)..=(*chain, u64::MAX)).next_back();
        Ok(last.map(|(_, row)| row.clone()))
    }

    fn events(
        &self,
        chain: &Id,
        after_seq: u64,
        since: Option<i64>,
        action: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EventRow>> {
        self.step()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows
            .range((*chain, after_seq + 1)..=(*chain, u64::MAX))
            .map(|(_, row)| row)
            .filter(|row| since.is_none_or(|since| row.time >= since))
            .filter(|row| action.is_none_or(|action| row.action == action))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    fn keep_test(&self, _: &Id, _: &Id, _: u64, _: &[u8]) -> Result<()> {
        Err(OTHER)
    }
    fn last_tests(&self, _: &Id, _: &Id, _: &Id) -> Result<Vec<LastTestRow>> {
        Err(OTHER)
    }

    fn vault_id(&self) -> Id {
        super::VAULT
    }

    fn account_count(&self) -> Result<u64> {
        Err(OTHER)
    }
    fn account_by_name(&self, _: &str) -> Result<Option<AccountRow>> {
        Err(OTHER)
    }
    fn account_or_other(&self, _: &str, _: &Id) -> Result<Option<AccountRow>> {
        Err(OTHER)
    }
    fn account(&self, _: &Id) -> Result<Option<AccountRow>> {
        Err(OTHER)
    }
    fn accounts_page(&self, _: Option<&Id>, _: u32) -> Result<Vec<AccountRow>> {
        Err(OTHER)
    }
    fn slots(&self, _: &Id) -> Result<Vec<SlotRow>> {
        Err(OTHER)
    }
    fn create_account(&self, _: &AccountRow, _: &[SlotRow], _: BeforeCommit<'_>) -> Result<()> {
        Err(OTHER)
    }
    fn create_invited_account(
        &self,
        _: &AccountRow,
        _: &[SlotRow],
        _: &Tag,
        _: BeforeCommit<'_>,
    ) -> Result<()> {
        Err(OTHER)
    }
    fn standing(&self, _: &Id) -> Result<Standing> {
        Err(OTHER)
    }
    fn change_standing(
        &self,
        _: &str,
        _: &StandingChange,
        _: BeforeCommit<'_>,
    ) -> Result<AccountCard> {
        Err(OTHER)
    }
    fn account_cards(&self, _: &str, _: u32) -> Result<Vec<AccountCard>> {
        Err(OTHER)
    }
    fn add_invitation(&self, _: &Tag, _: u32, _: i64, _: i64, _: BeforeCommit<'_>) -> Result<()> {
        Err(OTHER)
    }
    fn is_invited(&self, _: &Tag, _: i64) -> Result<bool> {
        Err(OTHER)
    }
    fn change_account(
        &self,
        _: &Id,
        _: &AccountChange,
        _: &TreeChange,
        _: BeforeCommit<'_>,
    ) -> Result<()> {
        Err(OTHER)
    }
    fn use_totp_step(&self, _: &Id, _: u64) -> Result<bool> {
        Err(OTHER)
    }
    fn change_attempts(&self, _: &[Tag], _: &mut dyn FnMut(&mut [Attempts])) -> Result<()> {
        Err(OTHER)
    }
    fn familiar(&self, _: &Id) -> Result<Vec<Tag>> {
        Err(OTHER)
    }
    fn add_familiar(&self, _: &Id, _: &Tag, _: u32) -> Result<()> {
        Err(OTHER)
    }
    fn key_count(&self, _: &Id) -> Result<u64> {
        Err(OTHER)
    }
    fn key_by_tag(&self, _: &Id, _: &Tag) -> Result<Option<KeyRow>> {
        Err(OTHER)
    }
    fn reseal_keys(&self, _: &Id, _: &[ResealedKey], _: &TreeChange) -> Result<()> {
        Err(OTHER)
    }
    fn insert_keys(
        &self,
        _: &[KeyRow],
        _: Option<u64>,
        _: &TreeChange,
        _: BeforeCommit<'_>,
    ) -> Result<()> {
        Err(OTHER)
    }
    fn update_key(
        &self,
        _: &KeyRow,
        _: u64,
        _: Option<&HistoryRow>,
        _: &TreeChange,
        _: BeforeCommit<'_>,
    ) -> Result<()> {
        Err(OTHER)
    }
    fn remove_key(
        &self,
        _: &Id,
        _: &Id,
        _: u64,
        _: &TreeChange,
        _: BeforeCommit<'_>,
    ) -> Result<()> {
        Err(OTHER)
    }
    fn rows_page(&self, _: &Id, _: Option<&Id>, _: u32) -> Result<Vec<KeyRow>> {
        Err(OTHER)
    }
    fn tree_node(&self, _: &Id, _: i64) -> Result<Option<Vec<u8>>> {
        Err(OTHER)
    }
    fn keys_page(&self, _: &Id, _: Option<&Tag>, _: Option<&Id>, _: u32) -> Result<Vec<KeyHead>> {
        Err(OTHER)
    }
    fn history(&self, _: &Id, _: &Id) -> Result<Vec<HistoryRow>> {
        Err(OTHER)
    }
    fn provider_by_tag(&self, _: &Id, _: &Tag) -> Result<Option<ProviderRow>> {
        Err(OTHER)
    }
    fn providers(&self, _: &Id, _: u32) -> Result<Vec<ProviderRow>> {
        Err(OTHER)
    }
    fn insert_provider(&self, _: &Id, _: &ProviderRow, _: u32, _: BeforeCommit<'_>) -> Result<()> {
        Err(OTHER)
    }
    fn remove_provider(&self, _: &Id, _: &Tag, _: &Id, _: BeforeCommit<'_>) -> Result<()> {
        Err(OTHER)
    }
    fn checkpoint(&self) -> Result<()> {
        Err(OTHER)
    }
}
