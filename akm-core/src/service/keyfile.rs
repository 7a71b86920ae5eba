//! Keyfiles: where device secrets rest, and how one that is given is read.
//!
//! The agent keeps a keyfile in its state directory, named after the vault and the account, and finds it there by itself.
//! A keyfile elsewhere is read by whoever asks, who sends its bytes: this process opens no path that a request names.
//!
//! A keyfile is never removed or overwritten, not even when the account does without it again: backups from before
//! still need it. What counts is the slot, so one that lies there unused changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER;

use crate::error::{Error, Kind, Result};
use crate::host::Random;
use crate::memory::LockedKey;
use crate::name::AccountName;
use crate::secret::Secret;
use crate::store::Id;
use crate::vault::{Device, Origin, key_file};

/// The keyfiles of one vault in the state directory.
pub(super) struct Keyfiles {
    state: PathBuf,
    vault: String,
}

impl Keyfiles {
    pub(super) fn new(state: PathBuf, vault: &Id) -> Self {
        Keyfiles {
            state,
            vault: HEXLOWER.encode(&vault[..8]),
        }
    }

    /// Where the keyfile of an account is, or would be.
    pub(super) fn path(&self, account: &AccountName) -> PathBuf {
        let name = format!("keyfile.{}.{}", self.vault, account.as_str());
        self.state.join(name)
    }

    /// The device secret for whoever signs in to a typed account: what was given, else what is kept here. Looked for
    /// whether the account exists or not; what is wrong with the file is the owner's to know.
    pub(super) fn find(
        &self,
        typed: &str,
        given: Option<&Secret>,
        origin: Origin,
    ) -> Result<Option<Device>> {
        if let Some(given) = given {
            return key_file::from_hex(given, "keyfile").map(|key| Some(Arc::new(key)));
        }
        let kept = match AccountName::parse(typed, "account") {
            Ok(name) => key_file::read(&self.path(&name)),
            Err(_) => Ok(None),
        };
        match (kept, origin) {
            (Ok(kept), _) => Ok(kept.map(Arc::new)),
            (Err(_), Origin::User(_) | Origin::Network) => Ok(None),
            (Err(error), Origin::Owner) => Err(error),
        }
    }

    /// The keyfile of an account, made if there is none.
    pub(super) fn find_or_create(
        &self,
        account: &AccountName,
        random: &dyn Random,
    ) -> Result<Device> {
        let path = self.path(account);
        if let Some(key) = key_file::read(&path)? {
            return Ok(Arc::new(key));
        }
        let key = LockedKey::generate(random);
        match key_file::create(&path, &key) {
            Ok(()) => Ok(Arc::new(key)),
            // Somebody was first: theirs counts.
            Err(error) if error.kind() == Kind::Conflict => key_file::read(&path)?
                .map(Arc::new)
                .ok_or(Error::internal("the keyfile vanished")),
            Err(error) => Err(error),
        }
    }
}
