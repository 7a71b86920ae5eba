//! Keys and ciphertexts: derive, wrap and unwrap (keys), seal and open (data).
//!
//! Invariants: associated data names every blob's place and version, so that no blob opens anywhere else;
//! a blob commits to its key, so that none opens under two; every seal draws a fresh salt, from which key
//! and nonce are derived, or counts within a series that drew one, so that nonces never run out; an unknown version or algorithm is refused
//! and nothing is tried instead; derivation parameters from a file are checked against compiled-in floors and
//! ceilings before any memory is allocated; keys live in [`LockedKey`]s.
//!
//! Deliberately absent: choices. One cipher, one hash, one way to stretch a passphrase; a second one would
//! come with a number of its own. (`age` and `fernet` are other programs' formats, with the ciphers that they name; nothing at rest in a vault uses them.) Cipher crates are named in `primitives` alone.

mod ad;
pub mod age;
mod blob;
pub mod fernet;
mod kdf;
mod primitives;
mod series;
mod sign;
mod turns;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod formulas;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use ad::{Ad, Field};
pub use blob::{Opener, mark, open, open_padded, seal, seal_padded, unwrap, wrap};
pub use kdf::{FACTOR_DEVICE, Kdf, KdfCost, derivations, derived_kib, slot_keys, stretch};
pub use primitives::{equal, x25519};
#[cfg(feature = "providers")]
pub use primitives::{md5, rsa_public_key, rsa_verify};
pub use series::{Series, open_series};
pub use sign::{sign, verify, verifying_key};
pub use turns::go_first;

use crate::host::Random;
use crate::memory::LockedKey;

/// What every label begins with.
const PREFIX: &[u8] = b"akm/v1/";

/// A subkey: `HKDF-Expand(PRK = key, info = "akm/v1/" ‖ label, L = 32)` with SHA-256 (RFC 5869 §2.3).
///
/// The key must be uniformly random, as every [`LockedKey`] of the hierarchy is. A label is used for one purpose.
pub fn derive(key: &LockedKey, label: &'static str) -> LockedKey {
    // One block of output is one HMAC: T(1) = HMAC(PRK, info ‖ 1).
    let mut block = primitives::HmacSha256::new(key.expose());
    for piece in [PREFIX, label.as_bytes(), &[1]] {
        block.update(piece);
    }
    LockedKey::from_bytes(&mut block.finish())
}

/// A keyed tag: `HMAC-SHA256(key, len(p₁) ‖ p₁ ‖ len(p₂) ‖ p₂ ‖ …)`, lengths as 64 bits big-endian (RFC 2104).
///
/// Can share its key with [`derive()`]: no part is as long as `"akm/v1/…"` reads as a length.
pub fn tag(key: &LockedKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = primitives::HmacSha256::new(key.expose());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finish()
}

/// `HMAC-SHA256(key, p₁ ‖ p₂ ‖ …)` (RFC 2104) under a secret that is shared with another program, by whose rules the parts
/// are told apart.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = primitives::HmacSha256::new(key);
    for part in parts {
        mac.update(part);
    }
    mac.finish()
}

/// A digest: `SHA-256(len(p₁) ‖ p₁ ‖ len(p₂) ‖ p₂ ‖ …)`, lengths as 64 bits big-endian (FIPS 180-4).
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = primitives::Sha256::new();
    for part in parts {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finish()
}

/// A new X25519 key pair (RFC 7748 §6.1): the private key and `X25519(private, 9)`.
pub fn x25519_pair(random: &dyn Random) -> (LockedKey, [u8; 32]) {
    let private = LockedKey::generate(random);
    let public = primitives::x25519_public(&private);
    (private, public)
}

/// The plain SHA-256 of what a reader holds (FIPS 180-4), as `sha256sum` prints it. None past `most` bytes.
pub fn digest_of(reader: &mut dyn std::io::Read, most: u64) -> std::io::Result<Option<[u8; 32]>> {
    let mut digest = primitives::Sha256::new();
    let mut piece = [0; 16 * 1024];
    let mut total = 0;
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(Some(digest.finish())),
            Ok(count) => {
                total += count as u64;
                if total > most {
                    return Ok(None);
                }
                digest.update(&piece[..count]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
