//! Blobs: what rests in the store.
//!
//! ```text
//! blob = version (1) ‖ algorithm (1) ‖ salt (32) ‖ commitment (32) ‖ ciphertext ‖ tag (16)
//! AES key (32) ‖ nonce (12) ‖ commitment (32)
//!      = HKDF-SHA256(salt, IKM = key, info = SHA-256(associated data ‖ version ‖ algorithm))
//! ciphertext ‖ tag = AES-256-GCM(AES key, nonce, plaintext)
//! ```
//!
//! RFC 5869, NIST SP 800-38D. The cipher's own associated data is empty: everything that could stand there
//! is in `info` already, and so in key, nonce and commitment. The commitment binds key, salt and associated data.

use zeroize::Zeroizing;

use super::ad::Ad;
use super::primitives::{self, NONCE, TAG};
use crate::error::{Error, Kind, Result};
use crate::host::Random;
use crate::memory::LockedKey;

/// The only version of the format.
pub(super) const VERSION: u8 = 1;
/// The only algorithm: HKDF-SHA256 and AES-256-GCM as above.
const AES_256_GCM: u8 = 1;

pub(super) const SALT: usize = 32;
pub(super) const COMMITMENT: usize = 32;
const HEADER: usize = 2 + SALT + COMMITMENT;
/// How much longer a blob is than its plaintext.
const OVERHEAD: usize = HEADER + TAG;

pub(super) const CORRUPT: Error = Error::corrupt("sealed data fails its authentication");

/// What one salt yields.
pub(super) struct BlobKeys(Zeroizing<[u8; 32 + NONCE + COMMITMENT]>);

impl BlobKeys {
    pub(super) fn derive(key: &LockedKey, salt: &[u8], ad: &Ad, algorithm: u8) -> Result<Self> {
        let mut digest = primitives::Sha256::new();
        digest.update(&ad.encode());
        digest.update(&[VERSION, algorithm]);
        let mut okm = Zeroizing::new([0; 32 + NONCE + COMMITMENT]);
        primitives::hkdf(salt, key.expose(), &[&digest.finish()], &mut okm[..])?;
        Ok(BlobKeys(okm))
    }

    pub(super) fn aes(&self) -> &[u8] {
        &self.0[..32]
    }

    /// The AES key alone, in locked memory.
    pub(super) fn locked(&self) -> Result<LockedKey> {
        LockedKey::build(|key| {
            key.copy_from_slice(self.aes());
            Ok(())
        })
    }

    pub(super) fn nonce(&self) -> &[u8] {
        &self.0[32..32 + NONCE]
    }

    pub(super) fn commitment(&self) -> &[u8] {
        &self.0[32 + NONCE..]
    }
}

/// Seals a plaintext: see the module for the formula. The result is 82 bytes longer.
pub fn seal(random: &dyn Random, key: &LockedKey, ad: &Ad, plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut blob = Vec::with_capacity(plaintext.len() + OVERHEAD);
    blob.extend_from_slice(&[VERSION, AES_256_GCM]);
    let mut salt = [0; SALT];
    random.fill(&mut salt);
    blob.extend_from_slice(&salt);
    let keys = BlobKeys::derive(key, &salt, ad, AES_256_GCM)?;
    blob.extend_from_slice(keys.commitment());
    blob.extend_from_slice(plaintext);
    let tag = primitives::gcm_seal(keys.aes(), keys.nonce(), &[], &mut blob[HEADER..])?;
    blob.extend_from_slice(&tag);
    Ok(blob)
}

/// Opens a blob that [`seal`] made with the same key and associated data.
///
/// `unsupported_version` for a version or algorithm that this program does not know, `corrupt` for anything else.
pub fn open(key: &LockedKey, ad: &Ad, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let sealed = Sealed::parse(blob)?;
    let mut plaintext = Zeroizing::new(sealed.ciphertext.to_vec());
    sealed.open_into(key, ad, &mut plaintext)?;
    Ok(plaintext)
}

/// [`seal`] with a length (32 bits, big-endian) before the plaintext and zeros after it, up to a multiple of `bucket`
/// bytes, so that the size of the blob says little about that of the plaintext.
pub fn seal_padded(
    random: &dyn Random,
    key: &LockedKey,
    ad: &Ad,
    plaintext: &[u8],
    bucket: usize,
) -> Result<Vec<u8>> {
    let too_long = Error::internal("padded data is too long");
    let len = u32::try_from(plaintext.len()).map_err(|_| too_long.clone())?;
    let size = (PADDED_LENGTH + plaintext.len())
        .checked_next_multiple_of(bucket)
        .ok_or(too_long)?;
    // At its full size from the start: growing would leave a copy behind.
    let mut padded = Zeroizing::new(Vec::with_capacity(size));
    padded.extend_from_slice(&len.to_be_bytes());
    padded.extend_from_slice(plaintext);
    padded.resize(size, 0);
    seal(random, key, ad, &padded)
}

/// Opens a blob that [`seal_padded`] made, whatever its bucket.
pub fn open_padded(key: &LockedKey, ad: &Ad, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    unpad(open(key, ad, blob)?)
}

fn unpad(mut padded: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>> {
    const MALFORMED: Error = Error::corrupt("sealed data is malformed");
    let len = padded.first_chunk().ok_or(MALFORMED)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| MALFORMED)?;
    let end = PADDED_LENGTH.checked_add(len).ok_or(MALFORMED)?;
    if padded.len() < end || padded[end..].iter().any(|byte| *byte != 0) {
        return Err(MALFORMED);
    }
    padded.copy_within(PADDED_LENGTH..end, 0);
    zeroize::Zeroize::zeroize(&mut padded[len..]);
    padded.truncate(len);
    Ok(padded)
}

const PADDED_LENGTH: usize = 4;

/// What tells a blob from every other that was ever sealed: the first half of its commitment, which follows from key,
/// random salt and associated data. It is not checked here: opening the blob does that.
pub fn mark(blob: &[u8]) -> Result<[u8; 16]> {
    blob.get(2 + SALT..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .ok_or(CORRUPT)
}

/// Seals a key under another.
pub fn wrap(random: &dyn Random, kek: &LockedKey, ad: &Ad, key: &LockedKey) -> Result<Vec<u8>> {
    seal(random, kek, ad, key.expose())
}

/// Opens a wrapped key, straight into locked memory.
pub fn unwrap(kek: &LockedKey, ad: &Ad, blob: &[u8]) -> Result<LockedKey> {
    let sealed = Sealed::parse(blob)?;
    let ciphertext: &[u8; 32] = sealed.ciphertext.try_into().map_err(|_| CORRUPT)?;
    LockedKey::build(|key| {
        key.copy_from_slice(ciphertext);
        sealed.open_into(kek, ad, key)
    })
}

/// What opens one blob and no other: the AES key and nonce that its salt yields, the commitment compared already.
pub struct Opener {
    key: LockedKey,
    nonce: [u8; NONCE],
}

impl Opener {
    /// Derives it, and fails as [`open`] does.
    pub fn of(key: &LockedKey, ad: &Ad, blob: &[u8]) -> Result<Self> {
        let keys = Sealed::parse(blob)?.keys(key, ad)?;
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(keys.nonce());
        Ok(Opener {
            key: keys.locked()?,
            nonce,
        })
    }

    /// Opens the blob it was derived from, which [`seal_padded`] made. Any other is `corrupt`.
    pub fn open_padded(&self, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let sealed = Sealed::parse(blob)?;
        let mut plaintext = Zeroizing::new(sealed.ciphertext.to_vec());
        let key = self.key.expose();
        primitives::gcm_open(key, &self.nonce, &[], &mut plaintext, sealed.tag)?;
        unpad(plaintext)
    }
}

/// Why a blob that does not begin with the expected version and algorithm is refused.
pub(super) fn unknown(blob: &[u8]) -> Error {
    match blob {
        [] | [VERSION] => CORRUPT,
        _ => Error::new(
            Kind::UnsupportedVersion,
            "sealed data has a version or algorithm that this program does not know",
        ),
    }
}

/// The parts of a blob.
struct Sealed<'a> {
    salt: &'a [u8],
    commitment: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(blob: &'a [u8]) -> Result<Self> {
        // Version and algorithm first: what follows them is theirs to define.
        match blob {
            [VERSION, AES_256_GCM, ..] => {}
            _ => return Err(unknown(blob)),
        }
        if blob.len() < OVERHEAD {
            return Err(CORRUPT);
        }
        let (header, rest) = blob.split_at(HEADER);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
        let (salt, commitment) = header[2..].split_at(SALT);
        Ok(Sealed {
            salt,
            commitment,
            ciphertext,
            tag,
        })
    }

    /// Turns the ciphertext, which `buffer` holds a copy of, into the plaintext.
    fn open_into(&self, key: &LockedKey, ad: &Ad, buffer: &mut [u8]) -> Result<()> {
        let keys = self.keys(key, ad)?;
        primitives::gcm_open(keys.aes(), keys.nonce(), &[], buffer, self.tag)
    }

    /// What its salt yields, if it was sealed with this key for this place.
    fn keys(&self, key: &LockedKey, ad: &Ad) -> Result<BlobKeys> {
        let keys = BlobKeys::derive(key, self.salt, ad, AES_256_GCM)?;
        if !primitives::equal(keys.commitment(), self.commitment) {
            return Err(CORRUPT);
        }
        Ok(keys)
    }
}
