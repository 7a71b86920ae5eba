//! A series of blobs under one salt, for a writer that seals very often: one derivation for many of them.
//!
//! ```text
//! blob = version (1) ‖ algorithm (2) ‖ salt (32) ‖ commitment (32) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//! AES key (32) ‖ unused (12) ‖ commitment (32)
//!      = HKDF-SHA256(salt, IKM = key, info = SHA-256(associated data of the series ‖ version ‖ algorithm))
//! ciphertext ‖ tag = AES-256-GCM(AES key, nonce, plaintext, associated data of the place)
//! ```
//!
//! Nonces are random and a series ends after 2³² blobs, as NIST SP 800-38D §8.3 asks. Counted ones would cost a system
//! call less, and would repeat in a machine that was cloned while it ran. The series binds what all its
//! blobs share, the place binds each to its position.

use zeroize::Zeroizing;

use super::ad::Ad;
use super::blob::{BlobKeys, COMMITMENT, CORRUPT, SALT, VERSION, unknown};
use super::primitives::{self, NONCE, TAG};
use crate::error::Result;
use crate::host::Random;
use crate::memory::LockedKey;

/// The algorithm of a blob in a series.
const AES_256_GCM_SERIES: u8 = 2;

const SHARED: usize = 2 + SALT + COMMITMENT;
const HEADER: usize = SHARED + NONCE;

/// The sealing side of a series.
pub struct Series {
    key: LockedKey,
    /// Version, algorithm, salt and commitment, as every blob begins.
    shared: [u8; SHARED],
    left: u32,
}

impl Series {
    /// Starts a series with a salt of its own.
    pub fn start(random: &dyn Random, key: &LockedKey, ad: &Ad) -> Result<Self> {
        let mut shared = [0; SHARED];
        shared[..2].copy_from_slice(&[VERSION, AES_256_GCM_SERIES]);
        random.fill(&mut shared[2..2 + SALT]);
        let keys = BlobKeys::derive(key, &shared[2..2 + SALT], ad, AES_256_GCM_SERIES)?;
        shared[2 + SALT..].copy_from_slice(keys.commitment());
        Ok(Series {
            key: keys.locked()?,
            shared,
            left: u32::MAX,
        })
    }

    /// Seals one blob for its place; `None` at the end of the series.
    pub fn seal(
        &mut self,
        random: &dyn Random,
        place: &Ad,
        plaintext: &[u8],
    ) -> Option<Result<Vec<u8>>> {
        self.left = self.left.checked_sub(1)?;
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce);
        let mut blob = Vec::with_capacity(HEADER + plaintext.len() + TAG);
        blob.extend_from_slice(&self.shared);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(plaintext);
        let (key, ad) = (self.key.expose(), place.encode());
        let sealed = primitives::gcm_seal(key, &nonce, &ad, &mut blob[HEADER..]);
        Some(sealed.map(|tag| {
            blob.extend_from_slice(&tag);
            blob
        }))
    }

    #[cfg(test)]
    pub(super) fn end(&mut self) {
        self.left = 0;
    }
}

/// Opens a blob of a series that [`Series::start`] began with the same key and associated data.
///
/// Errors as those of [`super::open`].
pub fn open_series(
    key: &LockedKey,
    ad: &Ad,
    place: &Ad,
    blob: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let [VERSION, AES_256_GCM_SERIES, rest @ ..] = blob else {
        return Err(unknown(blob));
    };
    let parts = || {
        let (salt, rest) = rest.split_at_checked(SALT)?;
        let (commitment, rest) = rest.split_at_checked(COMMITMENT)?;
        let (nonce, rest) = rest.split_at_checked(NONCE)?;
        let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        Some((salt, commitment, nonce, ciphertext, tag))
    };
    let (salt, commitment, nonce, ciphertext, tag) = parts().ok_or(CORRUPT)?;
    let keys = BlobKeys::derive(key, salt, ad, AES_256_GCM_SERIES)?;
    if !primitives::equal(keys.commitment(), commitment) {
        return Err(CORRUPT);
    }
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    primitives::gcm_open(keys.aes(), nonce, &place.encode(), &mut plaintext, tag)?;
    Ok(plaintext)
}
