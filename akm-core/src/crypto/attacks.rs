//! Attacks on blobs and on derivation parameters, named after their numbers in the attack programme.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};

use super::blob::BlobKeys;
use super::primitives::gcm_open;
use super::tests::{Stuck, place, random};
use super::*;
use crate::Kind;
use crate::memory::tests::{memory_taken, watch_work_area};

#[test]
fn a07_kdf_downgrade() {
    let good = Kdf::passphrase(&random(), &KdfCost::standard());
    let numbers = |memory: u32, passes: u32, lanes: u32| {
        let mut encoded = good.encode();
        encoded[1..5].copy_from_slice(&memory.to_be_bytes());
        encoded[5..9].copy_from_slice(&passes.to_be_bytes());
        encoded[9..13].copy_from_slice(&lanes.to_be_bytes());
        encoded
    };
    // 19 MiB and two passes are the least.
    for (memory, passes, lanes) in [
        (8, 1, 1),
        (0, 0, 0),
        (8, 3, 1),
        (65536, 1, 1),
        (65536, 3, 0),
        (19 * 1024 - 1, 2, 1),
    ] {
        assert_refused(&numbers(memory, passes, lanes), Kind::Corrupt);
    }
    assert!(
        Kdf::decode(&numbers(19 * 1024, 2, 1)).is_ok(),
        "control: the floor"
    );
    assert!(
        Kdf::decode(&numbers(1024 * 1024, 16, 4)).is_ok(),
        "control: the ceiling"
    );

    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut encoded = good.encode();
        change(&mut encoded);
        encoded
    };
    // Another algorithm (PBKDF2 would be one), and every number that is none.
    for algorithm in (0..=254).filter(|algorithm| ![1, 2].contains(algorithm)) {
        assert_refused(&with(&|e| e[0] = algorithm), Kind::UnsupportedVersion);
    }
    // "Not stretched" and "test cost" do not come with a real cost.
    assert_refused(&with(&|e| e[0] = 2), Kind::Corrupt);
    assert_refused(&with(&|e| e[0] = 255), Kind::Corrupt);
    assert_refused(&with(&|e| e[13..].fill(0)), Kind::Corrupt);
    assert_refused(&with(&|e| e.truncate(28)), Kind::Corrupt);
    assert_refused(&with(&|e| e.push(0)), Kind::Corrupt);
    assert_refused(&[], Kind::Corrupt);
    assert!(Kdf::decode(&good.encode()) == Ok(good.clone()), "control");

    // A salt of zeros does not reach Argon2 by the other way either.
    let (_, mapped, refused) = memory_taken(|| {
        stretch(
            &Kdf::with_salt(&KdfCost::standard(), [0; 16]),
            b"passphrase",
        )
    });
    assert_eq!((mapped, refused.unwrap_err().kind()), (0, Kind::Corrupt));

    // A slot that was moved to other parameters, allowed ones, has another key.
    let stretched = LockedKey::from_bytes(&mut [1; 32]);
    let keys = |kdf: &Kdf| slot_keys(&stretched, None, &[1; 16], &[2; 16], 0, kdf, 0).unwrap();
    let moved = Kdf::decode(&numbers(19 * 1024, 2, 1)).unwrap();
    assert_ne!(keys(&good).1, keys(&moved).1);
    assert_ne!(keys(&good).0.expose(), keys(&moved).0.expose());
    assert_eq!(keys(&good).1, keys(&good).1, "control");
}

#[test]
fn a08_kdf_bomb() {
    let mut encoded = Kdf::passphrase(&random(), &KdfCost::standard()).encode();
    for (at, number) in [
        (1, 4 * 1024 * 1024),
        (1, 1024 * 1024 + 1),
        (1, u32::MAX),
        (5, 1 << 31),
        (5, 17),
        (9, 1 << 24),
        (9, 5),
    ] {
        let good = encoded.clone();
        encoded[at..at + 4].copy_from_slice(&number.to_be_bytes());
        assert_refused(&encoded, Kind::Corrupt);
        encoded = good;
    }
    // Control: the counters see what a derivation takes, and what an allocation is.
    let cost = KdfCost::new(19 * 1024, 2, 1).unwrap();
    let (_, mapped, _) = memory_taken(|| stretch(&Kdf::with_salt(&cost, [1; 16]), b"passphrase"));
    assert!(mapped >= 19 * 1024 * 1024);
    assert_eq!(memory_taken(|| Box::new(1u8)).0, 1);
}

/// Refused with nothing allocated or mapped: there was no time to lose.
fn assert_refused(encoded: &[u8], kind: Kind) {
    let (allocations, mapped, outcome) = memory_taken(|| Kdf::decode(encoded));
    assert_eq!(outcome.unwrap_err().kind(), kind);
    assert_eq!((allocations, mapped), (0, 0));
}

#[cfg(feature = "insecure-test-kdf")]
#[test]
fn the_test_cost_has_a_number_of_its_own() {
    let kdf = Kdf::passphrase(&random(), &KdfCost::insecure_test());
    let encoded = kdf.encode();
    assert_eq!(encoded[0], 255);
    assert!(Kdf::decode(&encoded) == Ok(kdf));
    // Its numbers under the real number, and other numbers under its own.
    assert_refused(&[&[1], &encoded[1..]].concat(), Kind::Corrupt);
    let mut other = encoded;
    other[4] = 16;
    assert_refused(&other, Kind::Corrupt);
}

#[test]
fn a14_unknown_version_or_algorithm() {
    let key = LockedKey::generate(&random());
    let blob = wrap(&random(), &key, &place(), &key).unwrap();
    for version in 0..=255 {
        for algorithm in 0..=255 {
            if (version, algorithm) == (1, 1) {
                continue;
            }
            let mut bad = blob.clone();
            bad[..2].copy_from_slice(&[version, algorithm]);
            // Whole, and cut to what would be too short for this version.
            for bad in [&bad[..], &bad[..2]] {
                let refused = Kind::UnsupportedVersion;
                assert_eq!(open(&key, &place(), bad).unwrap_err().kind(), refused);
                assert_eq!(unwrap(&key, &place(), bad).unwrap_err().kind(), refused);
                if algorithm != 2 || version != 1 {
                    let opened = open_series(&key, &place(), &place(), bad);
                    assert_eq!(opened.unwrap_err().kind(), refused);
                }
            }
        }
    }
    assert!(unwrap(&key, &place(), &blob).is_ok(), "control");
    // Nor does either way in take the other's blobs.
    let opened = open_series(&key, &place(), &place(), &blob);
    assert_eq!(opened.unwrap_err().kind(), Kind::UnsupportedVersion);
}

#[test]
fn a15_nonce_reuse() {
    nonce_reuse(20_000);
}

#[test]
#[ignore = "a minute optimised, and 400 MB"]
fn a15_nonce_reuse_ten_million() {
    nonce_reuse(10_000_000);
}

fn nonce_reuse(seals: usize) {
    let repeats = |random: &dyn Random, seals: usize| {
        let key = LockedKey::from_bytes(&mut [8; 32]);
        let mut seen = HashSet::with_capacity(seals);
        let fresh = (0..seals).filter(|_| {
            let blob = seal(random, &key, &Ad::new(Field::Secret), b"").unwrap();
            let keys = BlobKeys::derive(&key, &blob[2..34], &Ad::new(Field::Secret), 1).unwrap();
            // Half of the AES key: that alone never comes again.
            seen.insert(<[u8; 16]>::try_from(&keys.aes()[..16]).unwrap())
        });
        seals - fresh.count()
    };
    let random = random();
    assert_eq!(repeats(&random, seals), 0);
    assert_eq!(random.calls.load(Ordering::Relaxed), seals);
    assert_eq!(random.bytes.load(Ordering::Relaxed), seals * 32);
    assert_eq!(
        repeats(&Stuck, 3),
        2,
        "control: a stuck source is noticed here"
    );
    // And even with one salt for all, as in a cloned machine, another place is another key and nonce.
    let key = LockedKey::from_bytes(&mut [8; 32]);
    let nonces: HashSet<_> = (0..1000)
        .map(|version| BlobKeys::derive(&key, &[1; 32], &place().version(version), 1).unwrap())
        .map(|keys| [keys.aes(), keys.nonce()].concat())
        .collect();
    assert_eq!(nonces.len(), 1000);
    // In a series the key is one, so the nonces must differ, and they are as good as the source.
    let in_series = |random: &dyn Random, seals: usize| {
        let mut series = Series::start(random, &key, &place()).unwrap();
        let nonces: HashSet<Vec<u8>> = (0..seals)
            .map(|_| series.seal(random, &place(), b"").unwrap().unwrap())
            .map(|blob| blob[66..78].to_vec())
            .collect();
        seals - nonces.len()
    };
    assert_eq!(in_series(&self::random(), seals.min(100_000)), 0);
    assert_eq!(in_series(&Stuck, 3), 2, "control");
}

/// Two wrapping keys, one ciphertext: GCM's tag is a polynomial in a key-dependent point, so one free block can make it
/// come out alike under two keys (Len, Grubbs, Ristenpart, "Partitioning Oracle Attacks").
#[test]
fn a19_two_keys_one_ciphertext() {
    let ad = Ad::new(Field::SlotRoot).slot(0);
    let salt = [0x19; 32];
    let keys = [
        LockedKey::generate(&random()),
        LockedKey::generate(&random()),
    ];
    let derived = [0, 1].map(|i| BlobKeys::derive(&keys[i], &salt, &ad, 1).unwrap());

    // tag = (c₁·H³ ⊕ c₂·H² ⊕ L·H) ⊕ S for two blocks and no associated data. Choose c₁, solve for c₂.
    let [(h1, s1), (h2, s2)] = [0, 1].map(|i| {
        let cipher = Aes256::new_from_slice(derived[i].aes()).unwrap();
        let encrypt = |block: [u8; 16]| {
            let mut block = block.into();
            cipher.encrypt_block(&mut block);
            u128::from_be_bytes(block.into())
        };
        let mut counter = [0; 16];
        counter[..12].copy_from_slice(derived[i].nonce());
        counter[15] = 1;
        (encrypt([0; 16]), encrypt(counter))
    });
    let first = u128::from_be_bytes([0x42; 16]);
    let lengths = 256u128;
    let square = |h| multiply(h, h);
    let constant = |h, s| multiply(first, multiply(square(h), h)) ^ multiply(lengths, h) ^ s;
    let difference = constant(h1, s1) ^ constant(h2, s2);
    let second = multiply(difference, invert(square(h1) ^ square(h2)));
    let tag = constant(h1, s1) ^ multiply(second, square(h1));
    assert_eq!(tag, constant(h2, s2) ^ multiply(second, square(h2)));
    let ciphertext = [first.to_be_bytes(), second.to_be_bytes()].concat();

    // Control: without the commitment the cipher opens it under both keys, to two different plaintexts.
    let opened = [0, 1].map(|i| {
        let mut data = ciphertext.clone();
        let (key, nonce) = (derived[i].aes(), derived[i].nonce());
        gcm_open(key, nonce, &[], &mut data, &tag.to_be_bytes()).unwrap();
        data
    });
    assert_ne!(opened[0], opened[1]);

    // With it, a blob opens under the key that it commits to and under no other.
    for (mine, other) in [(0, 1), (1, 0)] {
        let blob = [
            &[1, 1],
            &salt[..],
            derived[mine].commitment(),
            &ciphertext,
            &tag.to_be_bytes(),
        ]
        .concat();
        let key = unwrap(&keys[mine], &ad, &blob).unwrap();
        assert_eq!(key.expose()[..], opened[mine], "control");
        let refused = unwrap(&keys[other], &ad, &blob).unwrap_err();
        assert_eq!(refused.kind(), Kind::Corrupt);
        assert!(open(&keys[other], &ad, &blob).is_err());
    }
}

/// In the field of GHASH (NIST SP 800-38D §6.3): the first bit is the constant term.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut shifted) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            product ^= shifted;
        }
        let carry = shifted & 1;
        shifted = (shifted >> 1) ^ (carry * (0xe1 << 120));
    }
    product
}

/// `x^(2¹²⁸ − 2)`.
fn invert(x: u128) -> u128 {
    let (mut inverse, mut power) = (1 << 127, x);
    for _ in 1..128 {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    inverse
}

#[test]
fn d13_argon2_work_memory_is_wiped() {
    let cost = KdfCost::new(19 * 1024, 2, 1).unwrap();
    let kdf = Kdf::passphrase(&random(), &cost);
    let (before, after) = watch_work_area(|| {
        stretch(&kdf, b"passphrase").unwrap();
    })
    .unwrap();
    // Of 19 MiB of noise, one byte in 256 is zero.
    assert!(
        before > 19 * 1024 * 1024 / 256 * 254,
        "control: argon2 leaves it full"
    );
    assert_eq!(after, 0);
}
