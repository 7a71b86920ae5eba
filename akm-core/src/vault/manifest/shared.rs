//! What the sessions of one account share in this process, and who may change it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Manifest, account_mark};
use crate::store::{AccountRow, Id, SlotRow};
use crate::vault::rekey::Before;
use crate::vault::rules::Rules;
use crate::vault::tree::Nodes;

/// What an account's sessions share: the manifest that counts, and what was verified under it.
#[derive(Default)]
pub(in crate::vault) struct Shared {
    /// Held for the whole of a change, from the first look to the last word.
    changes: Mutex<()>,
    state: Mutex<Option<State>>,
    /// What opens the records that a rekey has not come to yet.
    before: Mutex<Option<Arc<Before>>>,
    /// Policy and grants, once they were asked for.
    rules: Mutex<Option<Arc<Rules>>>,
    /// As in the sealed state: nobody was given the recovery codes that stand.
    codes_undelivered: AtomicBool,
}

pub(in crate::vault) struct State {
    pub(super) manifest: Manifest,
    pub(in crate::vault) nodes: Nodes,
}

impl State {
    /// How many records there are.
    pub(in crate::vault) fn records(&self) -> u64 {
        self.manifest.records
    }

    /// Whether the stored account is the one that counts.
    pub(in crate::vault) fn has(&self, row: &AccountRow, slots: &[SlotRow]) -> bool {
        row.manifest == self.manifest.bytes() && self.manifest.account == account_mark(row, slots)
    }
}

impl Shared {
    pub(in crate::vault) fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::vault) fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys before, while a rekey is under way.
    pub(in crate::vault) fn before(&self) -> Option<Arc<Before>> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.clone()
    }

    pub(in crate::vault) fn set_before(&self, before: Option<Before>) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = before.map(Arc::new);
    }

    pub(in crate::vault) fn rules(&self) -> MutexGuard<'_, Option<Arc<Rules>>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::vault) fn codes_undelivered(&self) -> bool {
        self.codes_undelivered.load(Ordering::Relaxed)
    }

    pub(in crate::vault) fn set_codes_undelivered(&self, are: bool) {
        self.codes_undelivered.store(are, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, manifest: Manifest) {
        *self.state() = Some(State {
            nodes: Nodes::new(manifest.root),
            manifest,
        });
    }
}

/// Accounts that are open somewhere in this process.
#[derive(Default)]
pub(in crate::vault) struct Registry(Mutex<HashMap<Id, Weak<Shared>>>);

impl Registry {
    /// What the sessions of an account share.
    pub(in crate::vault) fn of(&self, account: &Id) -> Arc<Shared> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.get(account).and_then(Weak::upgrade) {
            return shared;
        }
        known.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::default();
        known.insert(*account, Arc::downgrade(&shared));
        shared
    }
}
