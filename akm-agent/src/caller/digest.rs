//! Digests of executables, read once.
//!
//! A digest is kept under what the kernel says of the file: device, inode, size, and both times. The time of change cannot
//! be set by whoever writes the file; one that changed within the last seconds is not kept, because a second write
//! within the clock's grain would look the same. Bounded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::proc::{Dir, FileId};

/// Most digests that are kept.
const MAX_KEPT: usize = 256;
/// Largest executable that is read.
const MAX_EXE: u64 = 1024 * 1024 * 1024;
/// Seconds for which a file counts as new.
const NEW_S: i64 = 2;

static KEPT: Mutex<Option<HashMap<FileId, [u8; 32]>>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<HashMap<FileId, [u8; 32]>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The digest of a file that was read before and not written since.
pub(super) fn known(id: &FileId) -> Option<[u8; 32]> {
    kept().as_ref()?.get(id).copied()
}

/// The digest of the executable of a process, which is `id`.
pub(super) fn of(dir: &Dir, id: &FileId) -> Option<[u8; 32]> {
    if let Some(digest) = known(id) {
        return Some(digest);
    }
    let mut file = dir.open_exe()?;
    let digest = akm_core::crypto::digest_of(&mut file, MAX_EXE).ok()??;
    // The process may have become another one, the file may have been written to.
    if dir.exe_id()? != *id {
        return None;
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|now| i64::try_from(now.as_secs()).ok())?;
    if now.saturating_sub(id.changed_s()) > NEW_S {
        let mut kept = kept();
        let kept = kept.get_or_insert_default();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(*id, digest);
    }
    Some(digest)
}
