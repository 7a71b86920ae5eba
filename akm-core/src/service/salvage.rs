//! What is left to do where the vault's file cannot be opened: look at the backups, and put one in its place.
//!
//! Invariants: the damaged file is held by its lock and not written to; it goes aside when a restored one takes
//! its name, as with every restore. Only the user that the agent runs as restores, with the passphrase that belongs to the
//! backup; guesses are counted in a vault of their own beside the damaged one, which the restored one takes the counts
//! over from. Everything else is answered with what is wrong and what helps.
//!
//! The journal is left as it is, for the restored vault to fold: its chains go on where the damaged file ends, so
//! nothing is written to them here, and an attempt that fails leaves no event. A restore is in the log of the restored vault.

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::{self, Caller, Via};
use crate::error::{Error, Kind, Result};
use crate::protocol::{BackupRestore, Op, Request, Response, Status};
use crate::store::{Contents, SqliteStore, Store, VaultLock};
use crate::vault::{self, Origin, Vault};

use super::backups::{Backups, not_for_every_account, verified};
use super::keyfile::Keyfiles;
use super::restore::{Staged, beside, must_replace, remove_vault};
use super::{DEFAULT_ACCOUNT, Options, origin};

/// What the vault is called in which guesses are counted.
const COUNTS: &str = ".salvage";

const DAMAGED: Error = Error::corrupt("the vault file is damaged and cannot be opened");

/// A vault that is only there to be replaced.
pub(super) struct Salvage {
    options: Options,
    backups: Backups,
    /// Given back before the restored vault is opened.
    _lock: VaultLock,
}

impl Salvage {
    /// Takes the lock of the damaged vault.
    pub(super) fn open(options: Options) -> Result<Salvage> {
        let lock = SqliteStore::lock(&options.vault)?;
        // Whose backups are this vault's own, the journal still knows.
        let vault = audit::vault_of(&options.journal).unwrap_or_default();
        let backups = Backups::open(options.backups.clone(), options.state.clone(), vault)?;
        Ok(Salvage {
            options,
            backups,
            _lock: lock,
        })
    }

    pub(super) fn gate(&self, caller: &Caller, op: Op) -> Result<()> {
        match op {
            _ if caller.via != Via::Host => Err(unopened()),
            Op::AgentStatus | Op::BackupList | Op::BackupVerify => Ok(()),
            Op::BackupRestore if origin(caller) == Origin::Owner => Ok(()),
            Op::BackupRestore => Err(not_for_every_account()),
            _ => Err(damaged()),
        }
    }

    pub(super) fn call(&self, caller: &Caller, request: &Request) -> Result<Response> {
        self.gate(caller, request.op())?;
        match request {
            Request::AgentStatus(_) => Ok(Response::AgentStatus(self.status())),
            Request::BackupList(_) => self.backups.page().map(Response::BackupList),
            Request::BackupVerify(request) => {
                let (_turn, _, contents) = self.backups.open_copy(&request.name)?;
                let found = verified(&request.name, contents, None);
                Ok(Response::BackupVerify(found))
            }
            _ => Err(damaged()),
        }
    }

    pub(super) fn status(&self) -> Status {
        Status {
            initialized: true,
            locked: true,
            account: None,
            totp_required: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            expires_at: None,
            opened_at: None,
            idle_lock_s: None,
            locked_because: None,
            pid: Some(nix::unistd::getpid().as_raw()),
            damaged: Some(true),
            rekey: None,
            codes_undelivered: None,
            missing_accounts: None,
            accounts_elsewhere: None,
            vault: Some(self.options.vault.display().to_string()),
        }
    }

    pub(super) fn restore(&self, caller: &Caller, request: &BackupRestore) -> Result<Contents> {
        self.gate(caller, Op::BackupRestore)?;
        replace(&self.options, &self.backups, request)
    }
}

/// Brings a backup so far that opening the vault at its place finds it, and asks nothing of the vault that is there.
/// Returns what is in it. For the owner.
pub(super) fn replace(
    options: &Options,
    backups: &Backups,
    request: &BackupRestore,
) -> Result<Contents> {
    backups.directory().find(&request.name)?;
    if !request.replace.unwrap_or(false) {
        return Err(must_replace());
    }
    let Options {
        vault: path,
        journal,
        state,
        host,
        ..
    } = options;
    let staged = Staged::bring(backups, path, host, &request.name)?;
    let restored = staged.file().vault_id();
    // Else it could not be opened afterwards.
    audit::check_vault(journal, restored)?;
    let counts: PathBuf = beside(path, COUNTS);
    let counted = Arc::new(SqliteStore::open(&counts, &*host.random, &*host.clock)?);
    let vault = Vault::new(
        Arc::clone(&counted) as Arc<dyn Store>,
        host.clone(),
        vault::load_host_key(state, &*host.random)?,
        Some(vault::Anchors::open(state, &restored)?),
    );
    let account = request.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
    let keyfiles = Keyfiles::new(state.clone(), &restored);
    let device = keyfiles.find(account, request.keyfile.as_ref(), Origin::Owner)?;
    let copy = vault.over_copy(staged.store());
    let passphrase = &request.passphrase;
    vault.prove_copy(&copy, account, passphrase, device.as_ref(), Origin::Owner)?;
    drop(copy);
    staged.file().take_over(&counted)?;
    let contents = staged.contents();
    staged.commit(state)?;
    drop((vault, counted));
    // What cannot be removed now is in nobody's way.
    let _ = remove_vault(&counts);
    Ok(contents)
}

/// Whether it is the vault's file for which a service could not be opened. The state directory has files that may be corrupt as
/// well, and no backup helps those.
pub(super) fn is_for(options: &Options, error: &Error) -> bool {
    let Options { vault, host, .. } = options;
    let look = || SqliteStore::open(vault, &*host.random, &*host.clock)?.check_structure();
    error.kind() == Kind::Corrupt && look().is_err_and(|error| error.kind() == Kind::Corrupt)
}

/// All that the network hears: what is the matter here is nobody's business there.
pub(super) fn unopened() -> Error {
    Error::new(
        Kind::Unavailable,
        "the vault of this server cannot be opened",
    )
}

/// What is wrong, and what helps.
pub(super) fn damaged() -> Error {
    DAMAGED.with_hint(
        "akm backup list shows what can be put in its place, akm backup restore NAME --replace does it and keeps the damaged file",
    )
}
