//! Fernet, another program's format: read, never written.
//!
//! ```text
//! token = base64url(0x80 ‖ time (8) ‖ IV (16) ‖ ciphertext ‖ HMAC-SHA256(signing key, everything before))
//! signing key (16) ‖ encryption key (16) = the key; ciphertext = AES-128-CBC with PKCS #7
//! ```
//!
//! <https://github.com/fernet/spec>. The MAC is compared before anything is decrypted.

use data_encoding::BASE64URL;
use zeroize::Zeroizing;

use super::primitives;
use crate::error::{Error, Result};

const VERSION: u8 = 0x80;
const IV: usize = 16;
const MAC: usize = 32;
const HEAD: usize = 1 + 8 + IV;
/// Longest token that is read.
const MAX_TOKEN: usize = 64 * 1024;

const CORRUPT: Error = Error::corrupt("encrypted data fails its authentication");

/// A key.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// A key from a password, by PBKDF2-HMAC-SHA256.
    pub fn derive(password: &[u8], salt: &[u8], rounds: u32) -> Result<Key> {
        // Whoever says so many says nothing sensible.
        if !(1..=10_000_000).contains(&rounds) {
            return Err(Error::internal("a derivation of no or too many rounds"));
        }
        let mut key = Zeroizing::new([0; 32]);
        primitives::pbkdf2(password, salt, rounds, &mut key[..]);
        Ok(Key(key))
    }

    /// Opens a token.
    pub fn open(&self, token: &str) -> Result<Zeroizing<Vec<u8>>> {
        if token.len() > MAX_TOKEN {
            return Err(CORRUPT);
        }
        let bytes = BASE64URL.decode(token.as_bytes()).map_err(|_| CORRUPT)?;
        let (signed, mac) = bytes.split_last_chunk::<MAC>().ok_or(CORRUPT)?;
        let (signing, encryption) = self.0.split_first_chunk::<16>().ok_or(CORRUPT)?;
        let encryption: &[u8; 16] = encryption.try_into().map_err(|_| CORRUPT)?;
        let right = super::hmac_sha256(signing, &[signed]);
        if signed.first() != Some(&VERSION) || !super::equal(&right, mac) {
            return Err(CORRUPT);
        }
        let (head, ciphertext) = signed.split_at_checked(HEAD).ok_or(CORRUPT)?;
        let iv = head.last_chunk::<IV>().ok_or(CORRUPT)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        let length = primitives::cbc_open(encryption, iv, &mut plain)?;
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example (`generate.json`, `verify.json`; public domain), whose key is given as it is.
    #[test]
    fn the_specifications_token_opens_and_a_changed_one_does_not() {
        let raw = BASE64URL
            .decode(b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
            .unwrap();
        let key = Key(Zeroizing::new(raw.try_into().unwrap()));
        let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        assert_eq!(key.open(token).unwrap().as_slice(), b"hello");
        let mut refused = 0;
        for index in 0..token.len() {
            let mut changed = token.as_bytes().to_vec();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            refused += usize::from(key.open(std::str::from_utf8(&changed).unwrap()).is_err());
        }
        assert_eq!(refused, token.len());
        for short in ["", "gA==", "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0O"] {
            assert!(key.open(short).is_err());
        }
    }

    #[test]
    fn what_is_signed_and_still_no_token_is_refused() {
        let key = Key(Zeroizing::new([7; 32]));
        // In hand-made tokens the MAC is right: what follows it is what refuses them.
        let token = |signed: &[u8]| {
            let mac = crate::crypto::hmac_sha256(&[7; 16], &[signed]);
            BASE64URL.encode(&[signed, &mac].concat())
        };
        let sealed = |iv: [u8; 16], data: &[u8]| [&[VERSION; 1][..], &[0; 8], &iv, data].concat();
        // What one block of zeros decrypts to, and the IV with which it is fifteen zeros and their padding.
        let mut block = [0; 16];
        let mut iv = [0; 16];
        assert!(primitives::cbc_open(&[7; 16], &iv, &mut block).is_err());
        for last in 0..=255 {
            iv[15] = last;
            if key
                .open(&token(&sealed(iv, &[0; 16])))
                .is_ok_and(|plain| plain.len() == 15)
            {
                break;
            }
        }
        let good = sealed(iv, &[0; 16]);
        assert_eq!(key.open(&token(&good)).unwrap().len(), 15, "control");
        let mut other = good.clone();
        other[0] = 0x81;
        let mut unpadded = good.clone();
        unpadded[HEAD - 1] ^= 0x40;
        let part = &good[..good.len() - 1];
        for signed in [&[][..], &good[..1], &good[..HEAD], part, &other, &unpadded] {
            let error = key.open(&token(signed)).unwrap_err();
            assert_eq!(error.kind(), crate::Kind::Corrupt);
        }
        // A whole token in front of which there is too much.
        let mut long = token(&good);
        long.insert_str(0, &"A".repeat(MAX_TOKEN));
        assert_eq!(key.open(&long).unwrap_err().kind(), crate::Kind::Corrupt);
    }

    #[test]
    fn a_key_from_a_password_is_pbkdf2_of_a_sensible_number_of_rounds() {
        // RFC 7914 §11, its first half.
        let key = Key::derive(b"passwd", b"salt", 1).unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&key.0[..]),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
        for rounds in [0, 10_000_001, u32::MAX] {
            let refused = Key::derive(b"passwd", b"salt", rounds).err().unwrap();
            assert_eq!(refused.kind(), crate::Kind::Internal);
        }
    }
}
