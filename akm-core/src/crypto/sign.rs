//! Signatures that somebody without any key of akm can check: Ed25519 (RFC 8032), with the key of a seed.

use super::primitives;
use crate::memory::LockedKey;

/// Signs `len(p₁) ‖ p₁ ‖ len(p₂) ‖ p₂ ‖ …`, lengths as 64 bits big-endian.
pub fn sign(seed: &LockedKey, parts: &[&[u8]]) -> [u8; 64] {
    primitives::ed25519_sign(seed, &joined(parts))
}

/// The public key that checks what [`sign`] signed.
pub fn verifying_key(seed: &LockedKey) -> [u8; 32] {
    primitives::ed25519_public(seed)
}

/// Whether [`sign`] made this signature of these parts with the seed of this public key.
pub fn verify(public: &[u8; 32], parts: &[&[u8]], signature: &[u8; 64]) -> bool {
    primitives::ed25519_verify(public, &joined(parts), signature)
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    }

    #[test]
    fn the_second_test_of_rfc_8032() {
        let seed = LockedKey::from_bytes(&mut hex(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        ));
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(primitives::ed25519_public(&seed), public);
        let signature = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(primitives::ed25519_sign(&seed, &[0x72]), signature);
        assert!(primitives::ed25519_verify(&public, &[0x72], &signature));
        assert!(!primitives::ed25519_verify(&public, &[0x73], &signature));
    }

    #[test]
    fn parts_do_not_run_into_each_other_and_no_other_key_fits() {
        let seed = LockedKey::from_bytes(&mut [7; 32]);
        let public = verifying_key(&seed);
        let signature = sign(&seed, &[b"ab", b"c"]);
        assert!(verify(&public, &[b"ab", b"c"], &signature));
        assert!(!verify(&public, &[b"a", b"bc"], &signature));
        let other = verifying_key(&LockedKey::from_bytes(&mut [8; 32]));
        assert!(!verify(&other, &[b"ab", b"c"], &signature));
        // The identity, a point of small order: it must not make anything valid.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        assert!(!verify(&identity, &[b"ab", b"c"], &forged));
    }
}
