//! The manifest: what an account and all its records are as of its last change, in one line under a MAC.
//!
//! ```text
//! manifest = 1 ‖ epoch (8) ‖ generation (8) ‖ records (8) ‖ tree root (32) ‖ account (32) ‖ MAC (32)
//! MAC      = HMAC-SHA256(manifest key, len "manifest" ‖ vault ‖ account id ‖ all before it)
//! account  = SHA-256(name, keys, profile version, profile, then each slot)      see crypto::hash, crypto::tag
//! ```
//!
//! Invariants: every change of a record, a slot or the sealed state writes a manifest of the next generation in the same
//! transaction, and then the anchor (`anchor`); changes of one account come one after the other, whatever the session;
//! while an account is open the manifest in memory counts, not the file's, so a file that is changed underneath is
//! noticed without asking it. A row is believed only if the tree (`tree`) has exactly this version of it.
//!
//! What is outside: what is written without an account's keys (attempts, the last TOTP step, role and tier, times of
//! use), and the audit, which has chains of its own. A row that is *missing* shows only where somebody looks for all of
//! them: `check`.

use std::sync::MutexGuard;

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::store::{
    AccountChange, AccountRow, BeforeCommit, Id, KeyRow, SlotRow, Store, Tag, TreeChange,
};

use super::anchor::{Position, Standing};
use super::tree::{Draft, EMPTY, Marks, Nodes};
use super::{Check, Unlocked, Vault};

mod edit;
mod line;
mod shared;

pub(super) use edit::Edit;
use line::Manifest;
pub(super) use shared::{Registry, Shared, State};

/// Most rows read, or sealed anew, at a time.
pub const MAX_SLICE: u32 = 128;

/// The position that a stored manifest claims: not authenticated, good for announcing a restore.
pub fn claimed_position(row: &AccountRow) -> Result<Position> {
    Manifest::parse(&row.manifest).map(|manifest| manifest.position())
}

/// What there is to say about an account that was just opened, or has to happen before it can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// Nothing: the vault is what this machine last saw, or a continuation of it.
    #[default]
    None,
    /// This machine sees the account for the first time: whether it is the newest copy cannot be known.
    FirstUse,
    /// A backup was restored. [`Vault::move_on`] has to be called.
    Restored,
    /// The owner accepts the vault as it is. [`Vault::move_on`] has to be called.
    Accepted,
}

pub(super) const UNCHECKED: Error =
    Error::internal("an account was used before its manifest was checked");

fn next(number: u64) -> Result<u64> {
    number
        .checked_add(1)
        .ok_or(Error::internal("a generation overflows"))
}

/// A root, its nodes by number, and how many records they have.
type RowTree = (Tag, Vec<(i64, Vec<u8>)>, u64);

impl Vault {
    /// The first manifest of an account that is about to be stored.
    pub(super) fn first_manifest(
        &self,
        account: &Unlocked,
        row: &AccountRow,
        slots: &[SlotRow],
    ) -> Vec<u8> {
        let manifest = Manifest {
            epoch: 1,
            generation: 1,
            records: 0,
            root: EMPTY,
            account: account_mark(row, slots),
            mac: [0; 32],
        };
        let vault = self.store.vault_id();
        manifest
            .signed(&account.manifest_key, &vault, account.id())
            .bytes()
            .to_vec()
    }

    /// Takes note of an account that was just stored.
    pub(super) fn begin_manifest(&self, account: &Unlocked, row: &AccountRow) -> Result<()> {
        let manifest = Manifest::parse(&row.manifest)?;
        account.shared.begin(manifest);
        self.anchor(account.id(), &manifest);
        Ok(())
    }

    /// Whether the account is the newest that this machine has seen. `rolled_back` if not, unless a restore announced it
    /// or the owner accepts it: then the notice says that it has to move on.
    pub(super) fn check_manifest(&self, account: &Unlocked, accept: bool) -> Result<Notice> {
        let changes = account.shared.changes();
        let notice = self.check_held(account)?;
        drop(changes);
        match notice {
            Ok(notice @ (Notice::None | Notice::FirstUse)) if accept => {
                let mut check = Check::default();
                while !check.done {
                    self.check_slice(account, &mut check)?;
                }
                // Nothing is gained by accepting what does not open.
                Ok(if check.is_newest() {
                    notice
                } else {
                    Notice::Accepted
                })
            }
            Ok(notice) => Ok(notice),
            Err(_) if accept => Ok(Notice::Accepted),
            Err(refused) => Err(refused.with_hint(
                "restore a newer backup, or run akm unlock --accept-rollback to go on with the vault as it is",
            )),
        }
    }

    /// The inner result is about the vault's content, the outer about reading it.
    fn check_held(&self, account: &Unlocked) -> Result<Result<Notice>> {
        let (row, slots) = self.stored_account(account.id())?;
        let vault = self.store.vault_id();
        let opened = Manifest::open(&row.manifest, &account.manifest_key, &vault, account.id());
        let manifest = match opened {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(state) = &*account.shared.state() {
            // Open elsewhere in this process, which made every change since.
            if state.manifest != manifest {
                return Ok(Err(BEHIND));
            }
        }
        if manifest.account != account_mark(&row, &slots) {
            return Ok(Err(Error::new(
                Kind::RolledBack,
                "the account's ways in or its state are not the newest",
            )));
        }
        if account.shared.before().is_none() {
            account.shared.set_before(self.open_before(account, &row)?);
        }
        let position = manifest.position();
        let notice = match &self.anchors {
            None => Notice::None,
            Some(anchors) => match anchors.compare(account.id(), &position)? {
                Standing::Unknown => Notice::FirstUse,
                Standing::Current => Notice::None,
                Standing::Older { awaited: true, .. } => return Ok(Ok(Notice::Restored)),
                Standing::Older { .. } => {
                    return Ok(Err(Error::new(
                        Kind::RolledBack,
                        "the vault is older than what this machine has seen",
                    )));
                }
                Standing::Forked { .. } => {
                    return Ok(Err(Error::new(
                        Kind::RolledBack,
                        "the vault and what this machine has seen are two histories",
                    )));
                }
                Standing::Damaged => {
                    return Ok(Err(Error::corrupt(
                        "the epoch in the state directory cannot be read",
                    )));
                }
            },
        };
        if account.shared.state().is_none() {
            account.shared.begin(manifest);
        }
        self.anchor(account.id(), &manifest);
        Ok(Ok(notice))
    }

    /// Goes on with the vault as it is, in a new epoch: after a restore, or because its owner accepts it; then
    /// the tree is made again of the rows that are there. Afterwards every other copy is older.
    pub fn move_on(&self, account: &Unlocked, before_commit: BeforeCommit<'_>) -> Result<()> {
        let _changes = account.shared.changes();
        let (row, mut slots) = self.stored_account(account.id())?;
        let vault = self.store.vault_id();
        let id = account.id();
        let mut change = AccountChange::default();
        if account.notice() == Notice::Restored {
            // Codes that were used since the backup would be good again.
            change.remove_slots = super::canary::recovery(&slots);
            slots.retain(|slot| !change.remove_slots.contains(&slot.slot));
        }
        let found = Manifest::open(&row.manifest, &account.manifest_key, &vault, id).ok();
        if found.is_none() && account.shared.state().is_some() {
            self.check_keys(account)?;
        }
        if account.shared.before().is_none() {
            // Accepted as it is: what does not open any more is missed by whoever asks for it.
            account
                .shared
                .set_before(self.open_before(account, &row).unwrap_or(None));
        }

        // A backup is whole: its tree is right, or whoever reads through it notices.
        let whole = found.filter(|_| account.notice() == Notice::Restored);
        let (root, nodes, records) = match whole {
            Some(manifest) => (manifest.root, Vec::new(), manifest.records),
            None => self.tree_of_rows(id)?,
        };
        let anew = whole.is_none();
        let manifest = Manifest {
            epoch: self.next_epoch(id, found)?,
            generation: next(found.map_or(0, |manifest| manifest.generation))?,
            records,
            root,
            account: account_mark(&row, &slots),
            mac: [0; 32],
        };
        self.write_manifest(account, &row.manifest, manifest, anew, nodes, |tree| {
            self.store.change_account(id, &change, tree, before_commit)
        })
    }

    /// A tree of the rows that are there: its root, its nodes, and how many records it has.
    fn tree_of_rows(&self, account: &Id) -> Result<RowTree> {
        let (mut draft, mut empty, mut records) = (Draft::new(), Nodes::new(EMPTY), 0);
        let mut after = None;
        loop {
            let rows = self.store.rows_page(account, after.as_ref(), MAX_SLICE)?;
            for row in &rows {
                // What was never sealed is left out, and so is a row that ought not to be there: the check says it.
                let Ok(marks) = Marks::of(row) else {
                    continue;
                };
                let id = &row.head.id;
                draft.put(&mut empty, &|_| Ok(None), id, None, Some(marks))?;
                records += 1;
            }
            match rows.last() {
                Some(last) => after = Some(last.head.id),
                None => break,
            }
        }
        let (root, nodes) = draft.finish(&empty);
        Ok((root, nodes, records))
    }

    /// Whether the account is as a restore announced it and nobody has signed in since.
    pub(super) fn is_restored(&self, row: &AccountRow) -> Result<bool> {
        let Some(anchors) = &self.anchors else {
            return Ok(false);
        };
        let standing = anchors.compare(&row.id, &claimed_position(row)?)?;
        Ok(matches!(standing, Standing::Older { awaited: true, .. }))
    }

    /// An epoch that neither the vault nor this machine has had.
    fn next_epoch(&self, account: &Id, found: Option<Manifest>) -> Result<u64> {
        let position = found.map_or(
            Position {
                epoch: 0,
                generation: 0,
                mark: [0; 32],
            },
            |manifest| manifest.position(),
        );
        let standing = match &self.anchors {
            Some(anchors) => anchors.compare(account, &position)?,
            None => Standing::Unknown,
        };
        next(match standing {
            Standing::Older { seen, .. } | Standing::Forked { seen } => {
                position.epoch.max(seen.epoch)
            }
            Standing::Unknown | Standing::Current | Standing::Damaged => position.epoch,
        })
    }

    /// Begins a change of the account's records. Where a restore was announced, the change is the first of a new epoch.
    pub(super) fn edit<'a>(&'a self, account: &'a Unlocked) -> Result<Edit<'a>> {
        let changes = account.shared.changes();
        let mut epoch = None;
        if account.shared.state().is_none() && self.check_held(account)?? == Notice::Restored {
            let (row, _) = self.stored_account(account.id())?;
            let manifest = Manifest::parse(&row.manifest)?;
            epoch = Some(self.next_epoch(account.id(), Some(manifest))?);
            account.shared.begin(manifest);
        }
        let records = self.check_keys(account)?;
        Ok(Edit {
            vault: self,
            account,
            draft: Draft::new(),
            records,
            epoch,
            _changes: changes,
        })
    }

    /// Whoever opened the account before a rekey must not sign for it any more. Says how many records there are.
    fn check_keys(&self, account: &Unlocked) -> Result<u64> {
        let state = account.shared.state();
        let manifest = &state.as_ref().ok_or(UNCHECKED)?.manifest;
        let vault = self.store.vault_id();
        let signed = manifest.signed(&account.manifest_key, &vault, account.id());
        if !crypto::equal(&signed.mac, &manifest.mac) {
            return Err(
                Error::new(Kind::Conflict, "the account got new keys meanwhile")
                    .with_hint("try again"),
            );
        }
        Ok(manifest.records)
    }

    /// Changes slots or sealed state, with the manifest that says so.
    pub(super) fn commit_account(
        &self,
        account: &Unlocked,
        change: &AccountChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let edit = self.edit(account)?;
        self.commit_account_as(account, edit, change, before_commit)
    }

    /// As [`Vault::commit_account`], where the account is another one after the change.
    pub(super) fn commit_account_as(
        &self,
        account: &Unlocked,
        edit: Edit<'_>,
        change: &AccountChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        let (mut row, mut slots) = self.stored_account(account.id())?;
        slots.retain(|slot| {
            !change.remove_slots.contains(&slot.slot)
                && change.put_slots.iter().all(|put| put.slot != slot.slot)
        });
        slots.extend(change.put_slots.iter().cloned());
        slots.sort_by_key(|slot| slot.slot);
        if let Some(new) = &change.profile {
            row.profile_version = next(new.from_version)?;
            row.profile = new.profile.clone();
        }
        if let Some(new) = &change.keys {
            row.keys.clone_from(&new.keys);
            row.key_before = Some(new.key_before.clone());
        }
        if change.rekeyed {
            row.key_before = None;
        }
        let mark = account_mark(&row, &slots);
        edit.commit_with(account, Some(mark), |tree| {
            self.store
                .change_account(account.id(), change, tree, before_commit)
        })
    }

    /// Whether `row` is the newest version of its record. The answer false may be due to a change that is under way:
    /// whoever gets it looks again with [`Vault::quiet`].
    pub(super) fn is_newest(&self, account: &Unlocked, row: &KeyRow) -> Result<bool> {
        let marks = Marks::of(row)?;
        self.marks_of(account, &row.head.id)
            .map(|known| known == Some(marks))
    }

    /// As [`Vault::is_newest`] for the metadata alone.
    pub(super) fn is_newest_head(
        &self,
        account: &Unlocked,
        head: &crate::store::KeyHead,
    ) -> Result<bool> {
        let mark = crypto::mark(&head.meta)?;
        self.marks_of(account, &head.id)
            .map(|known| known.is_some_and(|known| known.meta == mark))
    }

    fn marks_of(&self, account: &Unlocked, id: &Id) -> Result<Option<Marks>> {
        let mut state = account.shared.state();
        let State { nodes, .. } = state.as_mut().ok_or(UNCHECKED)?;
        let found = nodes.find(id, &|number| self.store.tree_node(account.id(), number));
        match found {
            Err(error) if error.kind() == Kind::RolledBack => Ok(None),
            found => found,
        }
    }

    /// Waits for the change that is under way, if there is one, and keeps the next one waiting.
    pub(super) fn quiet<'a>(&self, account: &'a Unlocked) -> MutexGuard<'a, ()> {
        account.shared.changes()
    }

    fn write_manifest(
        &self,
        account: &Unlocked,
        from: &[u8],
        manifest: Manifest,
        anew: bool,
        nodes: Vec<(i64, Vec<u8>)>,
        write: impl FnOnce(&TreeChange) -> Result<()>,
    ) -> Result<()> {
        let vault = self.store.vault_id();
        let manifest = manifest.signed(&account.manifest_key, &vault, account.id());
        let change = TreeChange {
            from: from.to_vec(),
            manifest: manifest.bytes().to_vec(),
            anew,
            nodes,
        };
        write(&change)?;
        let mut state = account.shared.state();
        let mut nodes = match state.take() {
            Some(state) => state.nodes,
            None => Nodes::new(EMPTY),
        };
        nodes.apply(manifest.root, anew, change.nodes);
        *state = Some(State { manifest, nodes });
        drop(state);
        self.anchor(account.id(), &manifest);
        Ok(())
    }

    fn anchor(&self, account: &Id, manifest: &Manifest) {
        if let Some(anchors) = &self.anchors {
            anchors.advance(account, &manifest.position());
        }
    }

    pub(super) fn stored_account(&self, id: &Id) -> Result<(AccountRow, Vec<SlotRow>)> {
        let row = self
            .store
            .account(id)?
            .ok_or(Error::corrupt("the account is gone"))?;
        Ok((row, self.store.slots(id)?))
    }
}

const BEHIND: Error = Error::new(Kind::RolledBack, "the vault was changed behind akm's back");

/// Over what an account is besides its records. Slots come by rising number.
fn account_mark(row: &AccountRow, slots: &[SlotRow]) -> Tag {
    let version = row.profile_version.to_be_bytes();
    let numbers: Vec<[u8; 8]> = slots
        .iter()
        .map(|slot| (u64::from(slot.slot) << 32 | u64::from(slot.factors)).to_be_bytes())
        .collect();
    let mut parts: Vec<&[u8]> = vec![
        b"account",
        row.name.as_bytes(),
        &row.keys,
        &version,
        &row.profile,
        row.key_before.as_deref().unwrap_or_default(),
    ];
    for (slot, number) in slots.iter().zip(&numbers) {
        parts.extend([&number[..], &slot.kdf, &slot.commit, &slot.wrapped]);
    }
    crypto::hash(&parts)
}

/// Announces a restore to the state directory: each account of `restored` may be exactly what it is there at its next
/// unlock, although this machine has seen more; it moves to a new epoch then. Accounts that it does not have are let go.
pub fn announce_restore(state: &std::path::Path, restored: &dyn Store) -> Result<()> {
    let anchors = super::Anchors::open(state, &restored.vault_id())?;
    for account in anchors.seen_of(&|account| Ok(restored.account(account)?.is_none()))? {
        anchors.let_go(&account)?;
    }
    let mut after = None;
    loop {
        let rows = restored.accounts_page(after.as_ref(), MAX_SLICE)?;
        for row in &rows {
            anchors.expect(&row.id, &claimed_position(row)?)?;
        }
        match rows.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}
