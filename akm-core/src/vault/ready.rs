//! Keys that were asked for lately, ready to be handed out again without reading and opening their records.
//!
//! Invariants: no plaintext rests here, neither of secrets nor of names. An entry is what a get has to
//! know (status, expiry, use-only, confirmation, version), the secret still sealed, and in locked memory the key that opens this
//! one blob. It stands under the keyed tag of its name and counts only while the store has not changed since before
//! its row was read: whoever was told that a change is done never gets what was before. Bounded; it is part of
//! the session's [`Unlocked`] and is wiped with it.
//!
//! Deliberately absent: entries for anything but the current version of a key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crypto;
use crate::error::{Error, Result};
use crate::name::KeyName;
use crate::protocol::KeyStatus;
use crate::secret::Secret;
use crate::store::{Id, Tag};

use super::sealed::name_tag;
use super::{OpenedKey, Unlocked, Vault};

/// How many there are at most; each has one place, by its tag.
const PLACES: usize = 64;
/// Longer blobs are opened from their record each time.
const MAX_BLOB: usize = 1024;

/// Whether a key may be handed out, and what its record says of that.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Record id.
    pub id: Id,
    /// As set by its owner.
    pub status: KeyStatus,
    /// Unix milliseconds after which it is not handed out.
    pub expires_at: Option<i64>,
    /// Seconds after which a session does not hand it out any more.
    pub lifetime_s: Option<u64>,
    /// Whether it is only ever used.
    pub use_only: bool,
    /// Whether a person is asked each time it is handed out.
    pub confirm: bool,
    /// Version of the secret.
    pub secret_version: u64,
}

/// A key that can be handed out without its record.
pub struct ReadyKey {
    /// Under which conditions.
    pub terms: Terms,
    tag: Tag,
    changes: u64,
    opener: crypto::Opener,
    blob: Vec<u8>,
}

impl ReadyKey {
    /// Opens its secret.
    pub fn open(&self) -> Result<Secret> {
        let mut plain = self.opener.open_padded(&self.blob)?;
        Secret::from_utf8(std::mem::take(&mut *plain)).ok_or(Error::corrupt("a secret is not text"))
    }
}

/// The keys of one session that are ready.
pub(super) struct ReadyKeys(Mutex<[Option<Arc<ReadyKey>>; PLACES]>);

impl Default for ReadyKeys {
    fn default() -> Self {
        ReadyKeys(Mutex::new([const { None }; PLACES]))
    }
}

impl ReadyKeys {
    fn places(&self) -> MutexGuard<'_, [Option<Arc<ReadyKey>>; PLACES]> {
        // A place is written whole, so a poisoned lock is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(tag: &Tag) -> usize {
    usize::from(tag[0]) % PLACES
}

impl Vault {
    /// The key of this name, if it is ready and nothing was changed since.
    pub fn ready_key(&self, account: &Unlocked, name: &KeyName) -> Option<Arc<ReadyKey>> {
        let tag = name_tag(&account.index_key, name);
        let changes = self.store.changes();
        let places = account.ready.places();
        let ready = places[place(&tag)].as_ref()?;
        (ready.tag == tag && ready.changes == changes).then(|| Arc::clone(ready))
    }

    /// Opens the secret of a key and keeps it ready for the next time.
    pub fn open_and_keep(&self, account: &Unlocked, opened: &OpenedKey) -> Result<Secret> {
        let record = &opened.record;
        let (ad, blob) = self.current_secret(account, opened);
        let ready = ReadyKey {
            terms: record.terms(),
            tag: *opened.tag(),
            changes: opened.changes,
            opener: crypto::Opener::of(&opened.key, &ad, blob)?,
            blob: blob.to_vec(),
        };
        let secret = ready.open()?;
        if blob.len() <= MAX_BLOB {
            let place = place(&ready.tag);
            account.ready.places()[place] = Some(Arc::new(ready));
        }
        Ok(secret)
    }
}
