//! Putting a backup in the vault's place.
//!
//! Prepared beside the vault, under a name of its own, while everything goes on: copied, checked page by page,
//! opened with the passphrase that belongs to it, a few of its keys decrypted. A wrong passphrase, a damaged or a newer file
//! ends it there, and the vault was not touched. Then, while nobody is inside: the event, the journal folded, the
//! events and the counts of guesses since the backup brought along (a restore does not erase who asked for what, nor give anybody
//! new guesses), the restore announced where the epochs are, the file flushed, and one rename. The old vault is kept
//! beside the new one. Each account moves to a new epoch at its next unlock, and its recovery codes end there;
//! until then they open nothing.
//!
//! A restore takes everybody back, so it is for the agent's own user, or for an account with the role `admin` that is
//! open and in the vault as well ([`Service::backup_keeper`]). The passphrase that belongs to the backup is the proof
//! besides, so an owner who is locked out of the vault can restore; guesses count as those at a sign-in do.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::protocol::{BackupRestore, Op};
use crate::regular::{self, Links};
use crate::store::{Contents, SqliteStore, Store};

use crate::vault::{self, Origin};

use super::backups::{Backups, Turn, not_for_every_account};
use super::{DEFAULT_ACCOUNT, Options, Service, done, origin, salvage};

/// Copied at a time.
const CHUNK: usize = 1024 * 1024;
/// What the file is called until it is ready. `store` knows the name after that.
const INCOMING: &str = ".incoming";

/// A backup that is ready to take the vault's place.
///
/// It has the turn until it is there or given up: whoever prepared another one meanwhile would put it under the name of this
/// one, and what was proved of this one would be said of that.
pub(super) struct Staged {
    // In the order in which they go: the turn last.
    file: Arc<SqliteStore>,
    contents: Contents,
    incoming: Incoming,
    _turn: Turn,
}

impl Staged {
    /// Copies a backup beside `vault` and checks all of it.
    pub(super) fn bring(
        backups: &Backups,
        vault: &Path,
        host: &Host,
        name: &str,
    ) -> Result<Staged> {
        let path = backups.directory().find(name)?;
        let turn = backups.turn()?;
        let incoming = Incoming::new(vault)?;
        copy(&path, incoming.path(), &mut |done, total| {
            turn.at(done, total)
        })?;
        let file = SqliteStore::open(incoming.path(), &*host.random, &*host.clock)?;
        let contents = file.check_structure()?;
        Ok(Staged {
            file: Arc::new(file),
            contents,
            incoming,
            _turn: turn,
        })
    }

    pub(super) fn contents(&self) -> Contents {
        self.contents
    }

    pub(super) fn file(&self) -> &SqliteStore {
        &self.file
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.file) as Arc<dyn Store>
    }

    /// Announces it and gives it the name under which opening the vault finds it.
    pub(super) fn commit(self, state: &Path) -> Result<()> {
        // Should it end here, the vault that stands is still the newest.
        vault::announce_restore(state, &*self.file)?;
        // Closed: its log is written back and gone, and the file stands alone.
        let file = Arc::into_inner(self.file)
            .ok_or(Error::internal("a staged vault is held by somebody else"))?;
        file.checkpoint()?;
        drop(file);
        self.incoming.commit()
    }
}

/// A vault is replaced only where that was asked for.
pub(super) fn must_replace() -> Error {
    Error::new(
        Kind::Conflict,
        "this vault has an account: restoring takes its place",
    )
    .with_hint("say so with --replace; the vault as it is now is kept beside the new one")
}

impl Service {
    pub(super) fn prepare_restore(
        &self,
        caller: &Caller,
        request: &BackupRestore,
    ) -> Result<Staged> {
        self.noted(caller, Op::BackupRestore, self.stage(caller, request))
    }

    fn stage(&self, caller: &Caller, request: &BackupRestore) -> Result<Staged> {
        // Restoring comes in past `call`, where everything else meets the gate.
        self.gate(caller, Op::BackupRestore)?;
        let keeper = self.backup_keeper(caller)?;
        // Before anything else of it is said.
        self.backups.directory().find(&request.name)?;
        let live = self.file.account_count()? > 0;
        if live && !request.replace.unwrap_or(false) {
            return Err(must_replace());
        }
        let staged = Staged::bring(&self.backups, &self.path, &self.host, &request.name)?;
        let copy = self.vault.over_copy(staged.store());
        let account = request.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        let origin = origin(caller);
        let device = self
            .keyfiles
            .find(account, request.keyfile.as_ref(), origin)?;
        let passphrase = &request.passphrase;
        let proved = self
            .vault
            .prove_copy(&copy, account, passphrase, device.as_ref(), origin)?;
        // Somebody whose account was removed, or has another owner now, has no say in what everybody has.
        if live && keeper != Origin::Owner && self.file.account(&proved)?.is_none() {
            return Err(Error::new(
                Kind::Denied,
                "the account is in the backup and not in the vault that is replaced",
            )
            .with_field("account")
            .with_hint(
                "name an account that is in both, or restore as the user that the agent runs as",
            ));
        }
        Ok(staged)
    }

    /// Puts the staged vault in place of this one. Nobody else may be inside; afterwards this service is over.
    pub(super) fn finish_restore(&self, caller: &Caller, staged: Staged) -> Result<()> {
        let finished = || {
            let file = &staged.file;
            self.lock_all(crate::protocol::LockReason::Restore);
            self.audit.append_system(&done(Op::BackupRestore, caller))?;
            self.audit.fold()?;
            if file.vault_id() == self.file.vault_id() {
                self.file.carry_events(file)?;
            }
            file.take_over(&self.file)?;
            // What this vault still owes its anchor would take the announcement back when this service ends.
            self.vault.sync_anchors()?;
            staged.commit(self.backups.state())
        };
        self.noted(caller, Op::BackupRestore, finished())
    }

    /// Whether the vault itself is what is corrupt, and not what was to be restored.
    pub(super) fn is_damaged(&self) -> bool {
        let checked = self.file.check_structure();
        checked.is_err_and(|error| error.kind() == Kind::Corrupt)
    }

    /// As [`super::salvage::replace`] for a vault that could be opened and turns out not to be whole. Nobody else may be
    /// inside.
    ///
    /// Errors: `conflict` where it is whole: since it was found damaged another restore may have put this one there.
    pub(super) fn replace_damaged(
        &self,
        options: &Options,
        caller: &Caller,
        request: &BackupRestore,
    ) -> Result<Contents> {
        let done = || {
            self.gate(caller, Op::BackupRestore)?;
            if origin(caller) != Origin::Owner {
                return Err(not_for_every_account());
            }
            if !self.is_damaged() {
                return Err(
                    Error::new(Kind::Conflict, "the vault is not damaged any more")
                        .with_hint("another restore was done meanwhile: look at what is there"),
                );
            }
            // What this vault still owes its anchor would take the announcement back when this service ends.
            self.vault.sync_anchors()?;
            salvage::replace(options, &self.backups, request)
        };
        self.noted(caller, Op::BackupRestore, done())
    }

    /// That a restore was done which the vault before it could not be told of.
    pub(super) fn note_restored(&self, caller: &Caller) {
        // It was done whether or not it can be written down.
        let _ = self.audit.append_system(&done(Op::BackupRestore, caller));
    }

    /// The file name that the vault before a restore got, if opening this one moved it.
    pub(super) fn replaced(&self) -> Option<String> {
        let name = self.file.replaced()?.file_name()?;
        name.to_str().map(str::to_owned)
    }
}

/// The file beside the vault that a backup is prepared in; removed when dropped before it is committed.
struct Incoming {
    vault: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl Incoming {
    fn new(vault: &Path) -> Result<Incoming> {
        let incoming = Incoming {
            path: beside(vault, INCOMING),
            vault: vault.to_owned(),
            committed: false,
        };
        // Of an attempt that did not come to its end.
        incoming.remove()?;
        Ok(incoming)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// The file is on the disk, then it has the name under which opening the vault finds it: the moment that counts.
    fn commit(mut self) -> Result<()> {
        File::open(&self.path)?.sync_all()?;
        remove(&beside(&self.path, ".lock"))?;
        fs::rename(&self.path, SqliteStore::restored_name(&self.vault))?;
        self.committed = true;
        let directory = self.vault.parent().unwrap_or(Path::new("/"));
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        remove_vault(&self.path)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now, the next attempt removes.
            let _ = self.remove();
        }
    }
}

fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let mut from = regular::open(from, Links::Refuse)?.ok_or(Error::new(
        Kind::Conflict,
        "the backup was removed meanwhile",
    ))?;
    let mut to = crate::backup::private(to)?;
    let total = from.metadata()?.len().max(1);
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..count])?;
        done += count as u64;
        progress(done.min(total), total);
    }
}

/// Removes a vault file of this room's own, with what may lie beside it.
pub(super) fn remove_vault(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        remove(&beside(path, suffix))?;
    }
    Ok(())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}
