//! The age file format, version 1, for passphrases (<https://age-encryption.org/v1>): what `age -p` writes and `age -d` reads.
//!
//! ```text
//! wrap key = scrypt(passphrase, "age-encryption.org/v1/scrypt" ‖ salt₁₆, N = 2^work factor, r = 8, p = 1)
//! body     = ChaCha20-Poly1305(wrap key, nonce 0, file key₁₆)
//! MAC      = HMAC-SHA256(HKDF-SHA256(file key, salt "", "header"), header up to and with "---")
//! payload  = nonce₁₆ ‖ STREAM(HKDF-SHA256(file key, nonce, "payload"), plaintext)
//! STREAM   = ChaCha20-Poly1305 of chunks of 64 KiB, nonce = counter (11, big-endian) ‖ 1 for the last chunk, else 0
//! ```
//!
//! Invariants: the header is checked to its last byte and within bounds, and the work factor against a floor and a
//! ceiling, before any memory is taken for it; nothing of a payload comes out unless all of it is authentic, to its end.
//!
//! Deliberately absent: recipients that are public keys, armour, files that do not fit into memory.

use data_encoding::BASE64_NOPAD;
use zeroize::Zeroizing;

use super::kdf;
use super::primitives::{self, TAG};
use crate::error::{Error, Kind, Result};
use crate::host::{Host, Random};
use crate::memory::LockedKey;
use crate::secret::Secret;

const VERSION_LINE: &[u8] = b"age-encryption.org/v1";
/// What every file of the format begins with, in any version of it.
const MAGIC: &[u8] = b"age-encryption.org/";
const ARMOUR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const CHUNK: usize = 64 * 1024;
const FILE_KEY: usize = 16;
const SALT: usize = 16;
const NONCE: usize = 16;
/// Longest header: one stanza takes about 200 bytes.
const MAX_HEADER: usize = 16 * 1024;

/// log₂ of scrypt's `N`: 2^18 takes 256 MiB, as `age` itself writes.
const STANDARD: u8 = 18;
/// The least that is opened. A file below it was not made by any age, and its passphrase may be known by now.
const MIN_WORK: u8 = 10;
/// The most that is opened: 1 GiB, as for the vault's own passphrase.
const MAX_WORK: u8 = 20;
/// What tests pay, where they say that the vault's passphrase costs next to nothing.
#[cfg(feature = "insecure-test-kdf")]
const INSECURE_TEST: u8 = MIN_WORK;

const FOREIGN: Error = invalid("the file is not in the age format");
const MALFORMED: Error = invalid("the header of the age file is malformed");
const DAMAGED: Error = invalid("the age file is damaged or cut off");

const fn too_dear() -> Error {
    invalid("opening the age file would cost more memory than this program takes")
}

const fn invalid(message: &'static str) -> Error {
    Error::new(Kind::InvalidInput, message)
}

/// Whether these bytes mean to be an age file, armoured or not.
pub fn is_age(file: &[u8]) -> bool {
    file.starts_with(MAGIC) || file.starts_with(ARMOUR)
}

/// Seals a stream with a passphrase.
pub struct Sealer {
    key: LockedKey,
    chunk: Zeroizing<Vec<u8>>,
    counter: u64,
}

impl Sealer {
    /// Derives the keys, which takes about a second, and writes the header.
    pub fn new(host: &Host, passphrase: &Secret, out: &mut Vec<u8>) -> Result<Sealer> {
        Self::with_work(&*host.random, passphrase, work_factor(host), out)
    }

    fn with_work(
        random: &dyn Random,
        passphrase: &Secret,
        work: u8,
        out: &mut Vec<u8>,
    ) -> Result<Sealer> {
        let mut file_key = Zeroizing::new([0; FILE_KEY]);
        random.fill(&mut file_key[..]);
        let mut salt = [0; SALT];
        random.fill(&mut salt);
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce);
        let mut body = file_key.to_vec();
        let tag =
            primitives::chacha_seal(&wrap_key(passphrase, &salt, work)?, &[0; 12], &mut body)?;
        body.extend_from_slice(&tag);
        let start = out.len();
        out.extend_from_slice(VERSION_LINE);
        let stanza = format!(
            "\n-> scrypt {} {work}\n{}\n---",
            BASE64_NOPAD.encode(&salt),
            BASE64_NOPAD.encode(&body)
        );
        out.extend_from_slice(stanza.as_bytes());
        let mac = header_mac(&file_key, &out[start..])?;
        out.extend_from_slice(format!(" {}\n", BASE64_NOPAD.encode(&mac)).as_bytes());
        out.extend_from_slice(&nonce);
        Ok(Sealer {
            key: payload_key(&file_key, &nonce)?,
            chunk: Zeroizing::new(Vec::with_capacity(CHUNK)),
            counter: 0,
        })
    }

    /// Seals more of the stream; whole chunks of it go to `out`.
    pub fn write(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        while !plain.is_empty() {
            // Only when more follows: the last chunk is marked as the last.
            if self.chunk.len() == CHUNK {
                self.seal_chunk(false, out)?;
            }
            let (now, later) = plain.split_at(plain.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            plain = later;
        }
        Ok(())
    }

    /// Seals what is left. Without this the file does not open.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<()> {
        self.seal_chunk(true, out)
    }

    fn seal_chunk(&mut self, last: bool, out: &mut Vec<u8>) -> Result<()> {
        let nonce = chunk_nonce(self.counter, last);
        let tag = primitives::chacha_seal(&self.key, &nonce, &mut self.chunk)?;
        out.extend_from_slice(&self.chunk);
        out.extend_from_slice(&tag);
        self.counter += 1;
        zeroize::Zeroize::zeroize(&mut *self.chunk);
        Ok(())
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

fn work_factor(host: &Host) -> u8 {
    #[cfg(feature = "insecure-test-kdf")]
    if host.kdf_cost == kdf::KdfCost::insecure_test() {
        return INSECURE_TEST;
    }
    let _ = host;
    STANDARD
}

/// Opens a whole file. `wrong_credentials` where the passphrase does not fit, `invalid_input` for a file that is
/// malformed, damaged, cut off, or meant for somebody's key.
pub fn open(file: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>> {
    open_costing(file, passphrase, MAX_WORK)
}

/// As [`open`], for somebody else's file on a machine that many share: it costs no more than sealing one does.
pub fn open_shared(file: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>> {
    open_costing(file, passphrase, STANDARD)
}

fn open_costing(file: &[u8], passphrase: &Secret, most: u8) -> Result<Zeroizing<Vec<u8>>> {
    let header = Header::parse(file)?;
    let file_key = header.file_key(passphrase, most)?;
    header.open(&file_key)
}

/// One recipient's part of a header.
struct Stanza<'a> {
    arguments: Vec<&'a str>,
    body: Vec<u8>,
}

/// A header, and what follows it.
struct Header<'a> {
    stanzas: Vec<Stanza<'a>>,
    /// What the MAC is over.
    covered: &'a [u8],
    mac: [u8; 32],
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(file: &'a [u8]) -> Result<Self> {
        if file.starts_with(ARMOUR) {
            return Err(invalid("the age file is armoured")
                .with_hint("run age -d -o FILE on it, and import what comes out"));
        }
        let mut lines = Lines {
            file,
            at: 0,
            limit: MAX_HEADER,
        };
        if !file.starts_with(MAGIC) {
            return Err(FOREIGN);
        }
        if lines.next()? != VERSION_LINE {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "the age file has a version that this program does not know",
            )
            .with_hint("open it with the program that wrote it, or with a newer akm"));
        }
        let mut stanzas = Vec::new();
        loop {
            let start = lines.at;
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix(b"--- ") {
                let mac = decode(mac)?.try_into().map_err(|_| MALFORMED)?;
                if stanzas.is_empty() {
                    return Err(MALFORMED);
                }
                return Ok(Header {
                    stanzas,
                    covered: &file[..start + 3],
                    mac,
                    payload: &file[lines.at..],
                });
            }
            let arguments = line.strip_prefix(b"-> ").ok_or(MALFORMED)?;
            let arguments = std::str::from_utf8(arguments).map_err(|_| MALFORMED)?;
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let visible = |argument: &&str| {
                !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if !arguments.iter().all(visible) {
                return Err(MALFORMED);
            }
            let mut body = Vec::new();
            loop {
                // A body ends with its first line that is not full, which may be empty.
                let line = lines.next()?;
                if line.len() > 64 {
                    return Err(MALFORMED);
                }
                body.extend(decode(line)?);
                if line.len() < 64 {
                    break;
                }
            }
            stanzas.push(Stanza { arguments, body });
        }
    }

    fn file_key(&self, passphrase: &Secret, most: u8) -> Result<Zeroizing<[u8; FILE_KEY]>> {
        let is_scrypt = |stanza: &Stanza<'_>| stanza.arguments.first() == Some(&"scrypt");
        if !self.stanzas.iter().any(is_scrypt) {
            return Err(
                invalid("the age file is for somebody's key, not for a passphrase")
                    .with_hint("run age -d -i KEYFILE -o FILE on it, and import what comes out"),
            );
        }
        // A passphrase stands alone: another recipient could have been added by anybody.
        let [stanza] = self.stanzas.as_slice() else {
            return Err(MALFORMED);
        };
        let [_, salt, work] = stanza.arguments.as_slice() else {
            return Err(MALFORMED);
        };
        let salt: [u8; SALT] = decode(salt.as_bytes())?.try_into().map_err(|_| MALFORMED)?;
        let work = parse_work(work)?;
        if work > most {
            return Err(too_dear());
        }
        if stanza.body.len() != FILE_KEY + TAG {
            return Err(MALFORMED);
        }
        let (sealed, tag) = stanza.body.split_at(FILE_KEY);
        let mut file_key = Zeroizing::new([0; FILE_KEY]);
        file_key.copy_from_slice(sealed);
        let tag = tag.try_into().map_err(|_| MALFORMED)?;
        primitives::chacha_open(
            &wrap_key(passphrase, &salt, work)?,
            &[0; 12],
            &mut file_key[..],
            tag,
        )
        .map_err(|_| {
            Error::new(
                Kind::WrongCredentials,
                "the passphrase does not open this file",
            )
            .with_hint("type the passphrase that the file was sealed with, which need not be the account's")
        })?;
        Ok(file_key)
    }

    fn open(&self, file_key: &[u8; FILE_KEY]) -> Result<Zeroizing<Vec<u8>>> {
        if !primitives::equal(&header_mac(file_key, self.covered)?, &self.mac) {
            return Err(DAMAGED);
        }
        let (nonce, sealed) = self.payload.split_first_chunk().ok_or(DAMAGED)?;
        let key = payload_key(file_key, nonce)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        let mut chunks = sealed.chunks(CHUNK + TAG).peekable();
        let mut counter = 0;
        // A payload has at least one chunk, and an empty one only where it has no other.
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none();
            let (content, tag) = chunk.split_last_chunk::<TAG>().ok_or(DAMAGED)?;
            if content.is_empty() && counter > 0 {
                return Err(DAMAGED);
            }
            let start = plain.len();
            plain.extend_from_slice(content);
            primitives::chacha_open(&key, &chunk_nonce(counter, last), &mut plain[start..], tag)
                .map_err(|_| DAMAGED)?;
            counter += 1;
        }
        match counter {
            0 => Err(DAMAGED),
            _ => Ok(plain),
        }
    }
}

/// The lines of a header, which end with LF alone.
struct Lines<'a> {
    file: &'a [u8],
    at: usize,
    limit: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a [u8]> {
        let rest = &self.file[self.at..self.file.len().min(self.limit)];
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(MALFORMED)?;
        self.at += end + 1;
        Ok(&rest[..end])
    }
}

/// Base64 without padding, in its one spelling.
fn decode(text: &[u8]) -> Result<Vec<u8>> {
    BASE64_NOPAD.decode(text).map_err(|_| MALFORMED)
}

/// Digits without sign and without zeros in front, between floor and ceiling.
fn parse_work(text: &str) -> Result<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if !digits || text.is_empty() {
        return Err(MALFORMED);
    }
    match text.parse::<u8>().ok() {
        Some(work @ MIN_WORK..=MAX_WORK) => Ok(work),
        Some(0..MIN_WORK) => Err(invalid(
            "the age file is sealed more weakly than this program accepts",
        )),
        _ => Err(too_dear().with_hint("run age -d -o FILE on it, and import what comes out")),
    }
}

fn wrap_key(passphrase: &Secret, salt: &[u8; SALT], work: u8) -> Result<LockedKey> {
    let salt = [LABEL, &salt[..]].concat();
    kdf::in_turn(|| {
        LockedKey::build(|out| primitives::scrypt(passphrase.expose().as_bytes(), &salt, work, out))
    })
}

fn header_mac(file_key: &[u8; FILE_KEY], covered: &[u8]) -> Result<[u8; 32]> {
    let key = LockedKey::build(|out| primitives::hkdf(&[], file_key, &[b"header"], out))?;
    let mut mac = primitives::HmacSha256::new(key.expose());
    mac.update(covered);
    Ok(mac.finish())
}

fn payload_key(file_key: &[u8; FILE_KEY], nonce: &[u8; NONCE]) -> Result<LockedKey> {
    LockedKey::build(|out| primitives::hkdf(nonce, file_key, &[b"payload"], out))
}

fn chunk_nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

#[cfg(test)]
#[path = "age/tests.rs"]
mod tests;
