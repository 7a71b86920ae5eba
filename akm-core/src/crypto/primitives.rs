//! The primitives: the only file that names a cipher crate. Each function's doc is its formula and its standard.
//!
//! Sizes other than the one akm uses are refused. Nothing here knows formats, fields or policies.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use chacha20poly1305::ChaCha20Poly1305;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Digest;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::memory::{LockedKey, WorkArea};

/// Length of an AES-GCM nonce.
pub(super) const NONCE: usize = 12;
/// Length of an AES-GCM tag.
pub(super) const TAG: usize = 16;

const SIZES: Error = Error::internal("a cipher was given a key, nonce or tag of the wrong size");

/// AES-256-GCM encryption in place (NIST SP 800-38D §7.1): 256-bit key, 96-bit nonce; returns the 128-bit tag.
pub(super) fn gcm_seal(key: &[u8], nonce: &[u8], ad: &[u8], data: &mut [u8]) -> Result<[u8; TAG]> {
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| SIZES)?;
    let nonce = <&Nonce<_>>::try_from(nonce).map_err(|_| SIZES)?;
    cipher
        .encrypt_inout_detached(nonce, ad, data.into())
        .map(Into::into)
        .map_err(|_| Error::internal("data is too long for the cipher"))
}

/// AES-256-GCM decryption in place (NIST SP 800-38D §7.2). The tag is compared in constant time before anything
/// is decrypted; data that fails stays as it is.
pub(super) fn gcm_open(
    key: &[u8],
    nonce: &[u8],
    ad: &[u8],
    data: &mut [u8],
    tag: &[u8],
) -> Result<()> {
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| SIZES)?;
    let nonce = <&Nonce<_>>::try_from(nonce).map_err(|_| SIZES)?;
    let tag = <&Tag>::try_from(tag).map_err(|_| SIZES)?;
    cipher
        .decrypt_inout_detached(nonce, ad, data.into(), tag)
        .map_err(|_| Error::corrupt("sealed data fails its authentication"))
}

/// HKDF-SHA256 (RFC 5869): `OKM = Expand(Extract(salt, IKM), info₁ ‖ info₂ ‖ …, L = okm.len())`, at most 8160 bytes.
pub(super) fn hkdf(salt: &[u8], ikm: &[u8], info: &[&[u8]], okm: &mut [u8]) -> Result<()> {
    Hkdf::<sha2::Sha256>::new(Some(salt), ikm)
        .expand_multi_info(info, okm)
        .map_err(|_| Error::internal("more was derived than HKDF yields"))
}

/// HMAC-SHA256 (RFC 2104), fed piece by piece.
pub(super) struct HmacSha256(Hmac<sha2::Sha256>);

impl HmacSha256 {
    pub(super) fn new(key: &[u8]) -> Self {
        HmacSha256(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into_bytes().into()
    }
}

/// SHA-256 (FIPS 180-4), fed piece by piece.
pub(super) struct Sha256(sha2::Sha256);

impl Sha256 {
    pub(super) fn new() -> Self {
        Sha256(sha2::Sha256::new())
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Whether two byte strings are equal, in time that depends on their lengths alone.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// What Argon2 hashes.
#[derive(Default)]
pub(super) struct Argon2Input<'a> {
    pub(super) password: &'a [u8],
    pub(super) salt: &'a [u8],
    pub(super) secret: &'a [u8],
    pub(super) ad: &'a [u8],
}

/// Argon2id, version 0x13 (RFC 9106), a tag of 32 bytes. Its work memory is akm's own: the crate leaves it full of
/// what an attacker could start guessing from, here it is wiped and unmapped. Costs are not judged.
pub(super) fn argon2id(
    input: &Argon2Input<'_>,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    out: &mut [u8; 32],
) -> Result<()> {
    let refused = |_| Error::internal("argon2 refused its parameters");
    let mut params = argon2::ParamsBuilder::new();
    params.m_cost(memory_kib).t_cost(passes).p_cost(lanes);
    params.output_len(out.len());
    params.data(argon2::AssociatedData::new(input.ad).map_err(refused)?);
    let params = params.build().map_err(refused)?;
    let blocks = params.block_count();
    let hasher = argon2::Argon2::new_with_secret(
        input.secret,
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        params,
    )
    .map_err(refused)?;
    let mut memory = WorkArea::filled(blocks, argon2::Block::new()).ok_or(Error::new(
        Kind::Unavailable,
        "there is no memory to stretch the passphrase with",
    ))?;
    hasher
        .hash_password_into_with_memory(input.password, input.salt, out, memory.as_mut_slice())
        .map_err(refused)
}

/// X25519 (RFC 7748 §5): the shared secret. Refuses a public key of small order, whose result is zeros whatever the
/// private key (RFC 7748 §6.1).
pub fn x25519(private: &LockedKey, public: &[u8; 32]) -> Result<LockedKey> {
    let private = StaticSecret::from(*private.expose());
    let shared = private.diffie_hellman(&PublicKey::from(*public));
    if !shared.was_contributory() {
        return Err(Error::corrupt("a public key is of small order"));
    }
    let mut shared = Zeroizing::new(shared.to_bytes());
    Ok(LockedKey::from_bytes(&mut shared))
}

/// The public key of a private one: `X25519(private, 9)`.
pub(super) fn x25519_public(private: &LockedKey) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*private.expose())).to_bytes()
}

/// ChaCha20-Poly1305 encryption in place (RFC 8439 §2.8) without associated data: 256-bit key, 96-bit nonce; returns
/// the 128-bit tag. For age files alone, whose format names this cipher.
pub(super) fn chacha_seal(key: &LockedKey, nonce: &[u8; 12], data: &mut [u8]) -> Result<[u8; TAG]> {
    ChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(nonce.into(), &[], data.into())
        .map(Into::into)
        .map_err(|_| Error::internal("data is too long for the cipher"))
}

/// ChaCha20-Poly1305 decryption in place (RFC 8439 §2.8). Data that fails its authentication stays as it is.
pub(super) fn chacha_open(
    key: &LockedKey,
    nonce: &[u8; 12],
    data: &mut [u8],
    tag: &[u8; TAG],
) -> Result<()> {
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(nonce.into(), &[], data.into(), tag.into())
        .map_err(|_| Error::corrupt("encrypted data fails its authentication"))
}

/// scrypt (RFC 7914) with `N = 2^log_n, r = 8, p = 1` and 32 bytes of output, as age files use it. Takes
/// `2^log_n` KiB, which the crate allocates itself: it is wiped where the allocator wipes. Costs are not judged.
pub(super) fn scrypt(password: &[u8], salt: &[u8], log_n: u8, out: &mut [u8; 32]) -> Result<()> {
    const REFUSED: Error = Error::internal("scrypt refused its parameters");
    let params = ::scrypt::Params::new(log_n, 8, 1).map_err(|_| REFUSED)?;
    // The crate would end the process where there is no memory; here is the last chance to say so instead.
    let mut probe = Vec::<u8>::new();
    probe.try_reserve_exact(1024 << log_n).map_err(|_| {
        Error::new(
            Kind::Unavailable,
            "there is no memory to stretch the passphrase with",
        )
    })?;
    drop(probe);
    ::scrypt::scrypt(password, salt, &params, out).map_err(|_| REFUSED)
}

/// PBKDF2-HMAC-SHA256 (RFC 8018 §5.2). For what another program sealed. Costs are not judged.
pub(super) fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32, out: &mut [u8]) {
    ::pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, rounds, out);
}

/// AES-128-CBC decryption in place (NIST SP 800-38A §6.2) with PKCS #7 padding (RFC 5652 §6.3); the length without it. For
/// Fernet alone, which authenticates before it decrypts.
pub(super) fn cbc_open(key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) -> Result<usize> {
    use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
    cbc::Decryptor::<aes::Aes128>::new(key.into(), iv.into())
        .decrypt_padded::<Pkcs7>(data)
        .map(<[u8]>::len)
        .map_err(|_| Error::corrupt("encrypted data has no padding"))
}

/// An Ed25519 signature (RFC 8032 §5.1.6) by the key of this seed.
pub(super) fn ed25519_sign(seed: &LockedKey, message: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(seed.expose())
        .sign(message)
        .to_bytes()
}

/// The public key of a seed (RFC 8032 §5.1.5).
pub(super) fn ed25519_public(seed: &LockedKey) -> [u8; 32] {
    SigningKey::from_bytes(seed.expose())
        .verifying_key()
        .to_bytes()
}

/// Whether a signature is one of this key, in its one canonical form; a key of small order signs nothing
/// (RFC 8032 §5.1.7, with the checks of `verify_strict`).
pub(super) fn ed25519_verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public)
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .is_ok()
}

/// MD5 (RFC 1321) of the parts. Broken as a hash: for the signatures of a service that asks for nothing else.
#[cfg(feature = "providers")]
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = md5::Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// The RSA public key (RFC 8017 A.1.1, DER) in a `SubjectPublicKeyInfo` (RFC 5280 §4.1) in PEM; `None` if it is not one of
/// 2048 bits or more.
#[cfg(feature = "providers")]
pub fn rsa_public_key(pem: &str) -> Option<Vec<u8>> {
    /// rsaEncryption, without parameters (RFC 3279 §2.3.1).
    const ALGORITHM: &[u8] = &[
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    /// Two bytes of length behind a tag: everything that holds 256 to 65535 bytes.
    fn inside(der: &[u8], tag: u8) -> Option<&[u8]> {
        let (head, rest) = der.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        (head[..2] == [tag, 0x82] && rest.len() == length).then_some(rest)
    }
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")?
        .strip_suffix("-----END PUBLIC KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = data_encoding::BASE64.decode(body.as_bytes()).ok()?;
    let bits = inside(inside(&der, 0x30)?.strip_prefix(ALGORITHM)?, 0x03)?;
    let key = bits.strip_prefix(&[0])?;
    inside(key, 0x30)?;
    Some(key.to_vec())
}

/// Whether a signature is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2.2) of this key, of 2048 to 8192 bits.
#[cfg(feature = "providers")]
pub fn rsa_verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, public)
        .verify(message, signature)
        .is_ok()
}
