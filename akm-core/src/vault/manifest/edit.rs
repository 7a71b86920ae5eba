//! A change of records: the tree before and after, and the manifest that goes with it.

use std::sync::MutexGuard;

use super::{Manifest, State, UNCHECKED, next};
use crate::error::Result;
use crate::store::{Id, KeyRow, Tag, TreeChange};
use crate::vault::tree::{Draft, Marks, STALE};
use crate::vault::{Unlocked, Vault};

/// A change of an account's records, with the right to make it.
pub(in crate::vault) struct Edit<'a> {
    pub(super) vault: &'a Vault,
    pub(super) account: &'a Unlocked,
    pub(super) draft: Draft,
    pub(super) records: u64,
    /// The epoch of the change, where it is another than the one before.
    pub(super) epoch: Option<u64>,
    pub(super) _changes: MutexGuard<'a, ()>,
}

impl Edit<'_> {
    /// A record changes from `before` to `after`. `rolled_back` if the tree has something else.
    pub(in crate::vault) fn put(
        &mut self,
        id: &Id,
        before: Option<&KeyRow>,
        after: Option<&KeyRow>,
    ) -> Result<()> {
        let before = before.map(Marks::of).transpose()?;
        let after = after.map(Marks::of).transpose()?;
        let mut state = self.account.shared.state();
        let State { nodes, .. } = state.as_mut().ok_or(UNCHECKED)?;
        let load = |number| self.vault.store.tree_node(self.account.id(), number);
        if !self.draft.put(nodes, &load, id, before, after)? {
            return Err(STALE);
        }
        let less = u64::from(before.is_some());
        self.records = (self.records + u64::from(after.is_some())).saturating_sub(less);
        Ok(())
    }

    /// Lets `write` store the change, and takes note of it once it is stored.
    pub(in crate::vault) fn commit(
        self,
        write: impl FnOnce(&TreeChange) -> Result<()>,
    ) -> Result<()> {
        let account = self.account;
        self.commit_with(account, None, write)
    }

    /// `signs` is the account as it is after the change.
    pub(super) fn commit_with(
        self,
        signs: &Unlocked,
        account: Option<Tag>,
        write: impl FnOnce(&TreeChange) -> Result<()>,
    ) -> Result<()> {
        let (before, root, nodes) = {
            let state = self.account.shared.state();
            let state = state.as_ref().ok_or(UNCHECKED)?;
            let (root, nodes) = self.draft.finish(&state.nodes);
            (state.manifest, root, nodes)
        };
        let manifest = Manifest {
            epoch: self.epoch.unwrap_or(before.epoch),
            generation: next(before.generation)?,
            records: self.records,
            root,
            account: account.unwrap_or(before.account),
            ..before
        };
        self.vault
            .write_manifest(signs, &before.bytes(), manifest, false, nodes, write)
    }
}
