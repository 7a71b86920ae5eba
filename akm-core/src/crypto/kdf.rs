//! From what a person knows to the key of a slot.
//!
//! ```text
//! P = Argon2id(passphrase, salt, cost)                                    slots with a passphrase
//! P = HKDF-SHA256(salt, IKM = code, info = "akm/v1/recovery")             slots with a recovery code
//! KEK ‖ commit = HKDF-SHA256(salt = device secret or 32 zero bytes, IKM = P,
//!                info = "akm/v1/slot" ‖ vault ‖ account ‖ slot ‖ encoded Kdf ‖ factors)
//! ```
//!
//! Parameters come from the file and so from whoever can write it: they are checked against floors (a thief
//! wants cheap guesses) and ceilings (a vandal wants the machine) before anything is allocated, and bound by `info`.
//! A passphrase arrives in Unicode form NFC; that is the edge's business.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use super::turns::{self, CORES};
use super::{PREFIX, primitives};
use crate::error::{Error, Kind, Result};
use crate::host::Random;
use crate::memory::{LockedKey, scrub_stack};
use crate::store::Id;

/// Argon2id, version 0x13.
const ARGON2ID: u8 = 1;
/// No stretching: for recovery codes, which nobody can guess.
const NONE: u8 = 2;
/// Argon2id at a cost that protects nothing.
#[cfg(feature = "insecure-test-kdf")]
const INSECURE_TEST: u8 = 255;

/// Least work memory: 19 MiB, the least that OWASP's password storage guide allows at two passes.
const MIN_MEMORY_KIB: u32 = 19 * 1024;
/// Most work memory: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MIN_PASSES: u32 = 2;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 4;
const SALT: usize = 16;
/// Shortest recovery code, in bytes: 128 bits.
const MIN_RECOVERY: usize = 16;

/// What trying one passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfCost {
    /// 64 MiB, three passes, one lane: the second choice of RFC 9106 §4, with one lane for its four.
    pub const fn standard() -> Self {
        KdfCost {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }

    /// A cost between the floors and ceilings; `corrupt` otherwise.
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        if memory_kib < MIN_MEMORY_KIB || passes < MIN_PASSES || lanes < 1 {
            return Err(Error::corrupt(
                "the passphrase parameters are weaker than this program accepts",
            ));
        }
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
            return Err(Error::corrupt(
                "the passphrase parameters cost more than this program accepts",
            ));
        }
        Ok(KdfCost {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// What a slot of this cost is made anew with where `today` asks for more memory or passes: the greater of each, so
    /// that neither ever goes down. `None` where it costs enough.
    pub fn upgraded(&self, today: &KdfCost) -> Option<KdfCost> {
        let raised = KdfCost {
            memory_kib: self.memory_kib.max(today.memory_kib),
            passes: self.passes.max(today.passes),
            lanes: self.lanes,
        };
        (raised != *self).then_some(raised)
    }

    /// The least that Argon2 can do. Protects nothing.
    #[cfg(feature = "insecure-test-kdf")]
    pub const fn insecure_test() -> Self {
        KdfCost {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        }
    }

    fn work_kib(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    fn algorithm(&self) -> u8 {
        #[cfg(feature = "insecure-test-kdf")]
        if *self == KdfCost::insecure_test() {
            return INSECURE_TEST;
        }
        ARGON2ID
    }
}

/// How a slot's input is stretched: algorithm, cost and salt. Rests beside the slot in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Kdf {
    method: Method,
    salt: [u8; SALT],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Passphrase(KdfCost),
    Recovery,
}

impl Kdf {
    /// Length of the encoding.
    pub const ENCODED: usize = 1 + 3 * 4 + SALT;

    /// For a passphrase, with a fresh salt.
    pub fn passphrase(random: &dyn Random, cost: &KdfCost) -> Self {
        let mut salt = [0; SALT];
        random.fill(&mut salt);
        Self::with_salt(cost, salt)
    }

    /// For a passphrase, with a salt that was derived: the slot that an unknown name gets.
    pub const fn with_salt(cost: &KdfCost, salt: [u8; SALT]) -> Self {
        Kdf {
            method: Method::Passphrase(*cost),
            salt,
        }
    }

    /// For a recovery code of at least 128 bits, with a fresh salt.
    pub fn recovery(random: &dyn Random) -> Self {
        let mut salt = [0; SALT];
        random.fill(&mut salt);
        Kdf {
            method: Method::Recovery,
            salt,
        }
    }

    /// Whether it is for a recovery code. A passphrase is never put through such a one.
    pub const fn is_recovery(&self) -> bool {
        matches!(self.method, Method::Recovery)
    }

    /// The cost of trying one passphrase; `None` for a recovery code.
    pub const fn cost(&self) -> Option<KdfCost> {
        match self.method {
            Method::Passphrase(cost) => Some(cost),
            Method::Recovery => None,
        }
    }

    /// `algorithm (1) ‖ memory in KiB (4) ‖ passes (4) ‖ lanes (4) ‖ salt (16)`, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let (algorithm, numbers) = match &self.method {
            Method::Passphrase(cost) => {
                (cost.algorithm(), [cost.memory_kib, cost.passes, cost.lanes])
            }
            Method::Recovery => (NONE, [0; 3]),
        };
        let mut out = Vec::with_capacity(Self::ENCODED);
        out.push(algorithm);
        for number in numbers {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.salt);
        out
    }

    /// Reads an encoding: `unsupported_version` for an unknown algorithm, `corrupt` for parameters outside the
    /// floors and ceilings, a salt of zeros or any other length. Allocates nothing.
    pub fn decode(encoded: &[u8]) -> Result<Self> {
        const MALFORMED: Error = Error::corrupt("the passphrase parameters are malformed");
        let (&algorithm, rest) = encoded.split_first().ok_or(MALFORMED)?;
        let known = match algorithm {
            ARGON2ID | NONE => true,
            #[cfg(feature = "insecure-test-kdf")]
            INSECURE_TEST => true,
            _ => false,
        };
        if !known {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "the passphrase is stretched by an algorithm that this program does not know",
            ));
        }
        let rest: &[u8; Kdf::ENCODED - 1] = rest.try_into().map_err(|_| MALFORMED)?;
        let number =
            |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let numbers = (number(0), number(4), number(8));
        let method = match algorithm {
            ARGON2ID => Method::Passphrase(KdfCost::new(numbers.0, numbers.1, numbers.2)?),
            #[cfg(feature = "insecure-test-kdf")]
            INSECURE_TEST => {
                let cost = KdfCost::insecure_test();
                if numbers != (cost.memory_kib, cost.passes, cost.lanes) {
                    return Err(MALFORMED);
                }
                Method::Passphrase(cost)
            }
            _ if numbers == (0, 0, 0) => Method::Recovery,
            _ => return Err(MALFORMED),
        };
        let mut salt = [0; SALT];
        salt.copy_from_slice(&rest[12..]);
        let kdf = Kdf { method, salt };
        kdf.check_salt()?;
        Ok(kdf)
    }

    /// A salt of zeros is a sign of tampering or of a broken random source; both end here.
    fn check_salt(&self) -> Result<()> {
        if self.salt == [0; SALT] {
            return Err(Error::corrupt("the salt of the passphrase is zeros"));
        }
        Ok(())
    }
}

impl fmt::Debug for Kdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Method::Passphrase(cost) => cost.fmt(f),
            Method::Recovery => f.write_str("Recovery"),
        }
    }
}

/// Stretches a passphrase (NFC) or a recovery code: see the module for the formula.
///
/// Waits while as many derivations run as the machine has cores. `wrong_credentials` for a recovery code that is too short
/// to be one.
pub fn stretch(kdf: &Kdf, input: &[u8]) -> Result<LockedKey> {
    kdf.check_salt()?;
    match &kdf.method {
        Method::Passphrase(cost) => {
            let _place = CORES.enter(turns::goes_first());
            STARTED.fetch_add(1, Ordering::Relaxed);
            WORK.fetch_add(cost.work_kib(), Ordering::Relaxed);
            let stretched = LockedKey::build(|out| {
                let inputs = primitives::Argon2Input {
                    password: input,
                    salt: &kdf.salt,
                    ..Default::default()
                };
                primitives::argon2id(&inputs, cost.memory_kib, cost.passes, cost.lanes, out)
            });
            scrub_stack();
            stretched
        }
        Method::Recovery if input.len() < MIN_RECOVERY => Err(Error::wrong_credentials()),
        Method::Recovery => {
            LockedKey::build(|out| primitives::hkdf(&kdf.salt, input, &[PREFIX, b"recovery"], out))
        }
    }
}

/// Runs a derivation of another format in turn with those of sign-ins, and leaves nothing of it on the stack.
pub(super) fn in_turn<T>(derive: impl FnOnce() -> T) -> T {
    let _place = CORES.enter(turns::goes_first());
    let derived = derive();
    scrub_stack();
    derived
}

/// How many Argon2 derivations this process has started. A test seam: equal work is counted, not timed.
#[doc(hidden)]
pub fn derivations() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// How many KiB they were to go over in all, passes included.
#[doc(hidden)]
pub fn derived_kib() -> u64 {
    WORK.load(Ordering::Relaxed)
}

static STARTED: AtomicU64 = AtomicU64::new(0);
static WORK: AtomicU64 = AtomicU64::new(0);

/// The device secret enters the derivation.
pub const FACTOR_DEVICE: u32 = 1;

/// The key of a slot, and the commitment that stands beside it: see the module for the formula.
///
/// The parts of `info` are length-prefixed (64 bits, big-endian). `unsupported_version` for a factor that this program does not
/// know; `wrong_credentials` where `device` does not go with the factors.
pub fn slot_keys(
    stretched: &LockedKey,
    device: Option<&LockedKey>,
    vault: &Id,
    account: &Id,
    slot: u32,
    kdf: &Kdf,
    factors: u32,
) -> Result<(LockedKey, [u8; 32])> {
    if factors & !FACTOR_DEVICE != 0 {
        return Err(Error::new(
            Kind::UnsupportedVersion,
            "the account needs a factor that this program does not know",
        ));
    }
    if device.is_some() != (factors & FACTOR_DEVICE != 0) {
        return Err(Error::wrong_credentials());
    }
    let slot = slot.to_be_bytes();
    let kdf = kdf.encode();
    let factors = factors.to_be_bytes();
    let mut info = Vec::with_capacity(192);
    for part in [&b"akm/v1/slot"[..], vault, account, &slot, &kdf, &factors] {
        info.extend_from_slice(&(part.len() as u64).to_be_bytes());
        info.extend_from_slice(part);
    }
    let salt = device.map_or(&[0; 32], LockedKey::expose);
    let mut okm = Zeroizing::new([0; 64]);
    primitives::hkdf(salt, stretched.expose(), &[&info], &mut okm[..])?;
    let mut commit = [0; 32];
    commit.copy_from_slice(&okm[32..]);
    let kek = LockedKey::build(|key| {
        key.copy_from_slice(&okm[..32]);
        Ok(())
    })?;
    Ok((kek, commit))
}
