//! What seal, open, wrap, derive and the rest promise.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::memory::tests::memory_taken;
use crate::store::Id;
use crate::{Kind, Result};

/// The kernel's random source, counted.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) calls: AtomicUsize,
    pub(super) bytes: AtomicUsize,
}

impl Random for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(buffer.len(), Ordering::Relaxed);
        getrandom::fill(buffer).unwrap();
    }
}

/// A random source that is stuck.
pub(super) struct Stuck;

impl Random for Stuck {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0x33);
    }
}

pub(super) fn random() -> Counted {
    Counted::default()
}

pub(super) fn place() -> Ad {
    Ad::new(Field::Secret)
        .vault(&[1; 16])
        .account(&[2; 16])
        .record(&[3; 16])
        .slot(4)
        .version(5)
        .destinations(&[6; 32])
        .seq(7)
}

#[test]
fn every_flipped_bit_of_a_blob_is_refused() {
    let (kek, key) = (
        LockedKey::generate(&random()),
        LockedKey::generate(&random()),
    );
    let wrapped = wrap(&random(), &kek, &place(), &key).unwrap();
    let sealed = seal_padded(&random(), &kek, &place(), b"canary", 32).unwrap();
    for bit in 0..wrapped.len() * 8 {
        let expected = if bit < 16 {
            Kind::UnsupportedVersion
        } else {
            Kind::Corrupt
        };
        let mut bad = wrapped.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(unwrap(&kek, &place(), &bad).unwrap_err().kind(), expected);
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            open_padded(&kek, &place(), &bad).unwrap_err().kind(),
            expected
        );
    }
    // Control: untouched, both open.
    assert_eq!(
        unwrap(&kek, &place(), &wrapped).unwrap().expose(),
        key.expose()
    );
    assert_eq!(
        open_padded(&kek, &place(), &sealed).unwrap().as_slice(),
        b"canary"
    );
}

#[test]
fn every_other_length_of_a_blob_is_refused() {
    let kek = LockedKey::generate(&random());
    let blob = wrap(&random(), &kek, &place(), &LockedKey::generate(&random())).unwrap();
    for len in 0..blob.len() {
        assert_eq!(
            open(&kek, &place(), &blob[..len]).unwrap_err().kind(),
            Kind::Corrupt
        );
        assert_eq!(
            unwrap(&kek, &place(), &blob[..len]).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
    let longer = [&blob[..], &[0]].concat();
    assert_eq!(
        open(&kek, &place(), &longer).unwrap_err().kind(),
        Kind::Corrupt
    );
    assert!(open(&kek, &place(), &blob).is_ok(), "control");
    // A key has one length, even where the blob is authentic.
    for len in [0, 31, 33] {
        let other = seal(&random(), &kek, &place(), &vec![1; len]).unwrap();
        assert!(open(&kek, &place(), &other).is_ok(), "control");
        assert_eq!(
            unwrap(&kek, &place(), &other).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
}

#[test]
fn a_mark_is_the_first_half_of_the_commitment_and_of_nothing_shorter() {
    let key = LockedKey::generate(&random());
    let blob = seal(&random(), &key, &place(), b"").unwrap();
    assert_eq!(mark(&blob).unwrap(), blob[34..50]);
    assert_eq!(mark(&blob[..50]).unwrap(), blob[34..50]);
    for len in [0, 33, 34, 49] {
        assert_eq!(mark(&blob[..len]).unwrap_err().kind(), Kind::Corrupt);
    }
    // Of a stuck random source, the place still tells two blobs apart.
    let marked = |ad: &Ad| mark(&seal(&Stuck, &key, ad, b"the same").unwrap()).unwrap();
    assert_eq!(marked(&place()), marked(&place()));
    assert_ne!(marked(&place()), marked(&place().version(6)));
}

#[test]
fn a_blob_opens_nowhere_but_in_its_place() {
    let key = LockedKey::generate(&random());
    let blob = seal(&random(), &key, &place(), b"canary").unwrap();
    let elsewhere = [
        place().vault(&[9; 16]),
        place().account(&[9; 16]),
        place().record(&[9; 16]),
        place().slot(9),
        place().version(6),
        place().version(4),
        place().destinations(&[9; 32]),
        place().seq(9),
        Ad::new(Field::Secret),
        // Account and record exchanged.
        place().account(&[3; 16]).record(&[2; 16]),
        Ad::new(Field::Meta)
            .vault(&[1; 16])
            .account(&[2; 16])
            .record(&[3; 16])
            .slot(4)
            .version(5)
            .destinations(&[6; 32])
            .seq(7),
    ];
    for ad in &elsewhere {
        assert_eq!(
            open(&key, ad, &blob).unwrap_err().kind(),
            Kind::Corrupt,
            "{ad:?}"
        );
    }
    let other = LockedKey::generate(&random());
    assert_eq!(
        open(&other, &place(), &blob).unwrap_err().kind(),
        Kind::Corrupt
    );
    assert_eq!(
        open(&key, &place(), &blob).unwrap().as_slice(),
        b"canary",
        "control"
    );
}

#[test]
fn padding_hides_sizes_and_is_checked() {
    let key = LockedKey::generate(&random());
    let sizes: HashSet<_> = (0..=60)
        .map(|len| {
            seal_padded(&random(), &key, &place(), &vec![b'x'; len], 64)
                .unwrap()
                .len()
        })
        .collect();
    assert_eq!(sizes, HashSet::from([82 + 64]));
    let next = seal_padded(&random(), &key, &place(), &[b'x'; 61], 64).unwrap();
    assert_eq!(
        next.len(),
        82 + 128,
        "control: one byte more is the next bucket"
    );
    let none = seal_padded(&random(), &key, &place(), b"x", 0);
    assert_eq!(none.unwrap_err().kind(), Kind::Internal);
    // Authentic and malformed: no length, a length beyond the end, something in the padding.
    for malformed in [
        &[][..],
        &[0, 0, 0],
        &[0, 0, 0, 1],
        &[255; 8],
        &[0, 0, 0, 1, 7, 0, 1],
    ] {
        let blob = seal(&random(), &key, &place(), malformed).unwrap();
        assert_eq!(
            open_padded(&key, &place(), &blob).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
    let blob = seal(&random(), &key, &place(), &[0, 0, 0, 1, 7, 0, 0]).unwrap();
    assert_eq!(
        open_padded(&key, &place(), &blob).unwrap().as_slice(),
        [7],
        "control"
    );
}

#[test]
fn every_part_of_a_slot_changes_its_key_and_commitment() {
    let stretched = [
        LockedKey::from_bytes(&mut [1; 32]),
        LockedKey::from_bytes(&mut [2; 32]),
    ];
    let device = [
        LockedKey::from_bytes(&mut [3; 32]),
        LockedKey::from_bytes(&mut [0; 32]),
    ];
    let cost = KdfCost::standard();
    let kdf = [
        Kdf::with_salt(&cost, [1; 16]),
        Kdf::with_salt(&cost, [2; 16]),
    ];
    let recovery = Kdf::recovery(&Stuck);
    let (a, b): (Id, Id) = ([5; 16], [6; 16]);
    let made = [
        slot_keys(&stretched[0], None, &a, &b, 0, &kdf[0], 0),
        slot_keys(&stretched[1], None, &a, &b, 0, &kdf[0], 0),
        slot_keys(&stretched[0], Some(&device[0]), &a, &b, 0, &kdf[0], 1),
        // A device secret of zeros is not the same as none.
        slot_keys(&stretched[0], Some(&device[1]), &a, &b, 0, &kdf[0], 1),
        slot_keys(&stretched[0], None, &b, &b, 0, &kdf[0], 0),
        slot_keys(&stretched[0], None, &b, &a, 0, &kdf[0], 0),
        slot_keys(&stretched[0], None, &a, &b, 1, &kdf[0], 0),
        slot_keys(&stretched[0], None, &a, &b, 0, &kdf[1], 0),
        slot_keys(&stretched[0], None, &a, &b, 0, &recovery, 0),
    ]
    .map(Result::unwrap);
    let distinct: HashSet<_> = made
        .iter()
        .flat_map(|(kek, commit)| [*kek.expose(), *commit])
        .collect();
    assert_eq!(distinct.len(), 2 * made.len());
    let again = slot_keys(&stretched[0], None, &a, &b, 0, &kdf[0], 0).unwrap();
    assert_eq!(
        (again.0.expose(), again.1),
        (made[0].0.expose(), made[0].1),
        "control"
    );

    let kind = |device, factors| {
        slot_keys(&stretched[0], device, &a, &b, 0, &kdf[0], factors)
            .unwrap_err()
            .kind()
    };
    assert_eq!(kind(None, FACTOR_DEVICE), Kind::WrongCredentials);
    assert_eq!(kind(Some(&device[0]), 0), Kind::WrongCredentials);
    assert_eq!(kind(None, 2), Kind::UnsupportedVersion);
}

#[test]
fn a_recovery_code_has_128_bits_and_costs_no_derivation() {
    let kdf = Kdf::recovery(&random());
    assert!(kdf.is_recovery() && kdf.cost().is_none());
    let (_, mapped, short) = memory_taken(|| stretch(&kdf, &[1; 15]));
    assert_eq!(
        (mapped, short.unwrap_err().kind()),
        (0, Kind::WrongCredentials)
    );
    let (_, mapped, long) = memory_taken(|| stretch(&kdf, &[1; 16]));
    assert!(mapped < 1024 * 1024);
    assert_ne!(
        long.unwrap().expose(),
        stretch(&Kdf::recovery(&random()), &[1; 16])
            .unwrap()
            .expose(),
        "each slot has its salt"
    );
    assert!(Kdf::decode(&kdf.encode()) == Ok(kdf), "control");
}

#[test]
fn hashes_and_tags_see_where_parts_end() {
    let key = LockedKey::from_bytes(&mut [1; 32]);
    let splits: [&[&[u8]]; 5] = [&[b"ab"], &[b"a", b"b"], &[b"", b"ab"], &[b"ab", b""], &[]];
    let hashes: HashSet<_> = splits.iter().map(|parts| hash(parts)).collect();
    let tags: HashSet<_> = splits.iter().map(|parts| tag(&key, parts)).collect();
    assert_eq!((hashes.len(), tags.len()), (5, 5));
    assert_eq!(hash(&[b"a", b"b"]), hash(&[b"a", b"b"]), "control");
    assert!(equal(b"same", b"same") && !equal(b"same", b"sama") && !equal(b"same", b"sam"));
}

#[test]
fn a_key_pair_agrees() {
    let (alice, bob) = (x25519_pair(&random()), x25519_pair(&random()));
    let shared = x25519(&alice.0, &bob.1).unwrap();
    assert_eq!(shared.expose(), x25519(&bob.0, &alice.1).unwrap().expose());
    assert_eq!(
        x25519(&alice.0, &[0; 32]).unwrap_err().kind(),
        Kind::Corrupt
    );
}

#[test]
fn debug_shows_no_salt_and_no_key() {
    let kdf = Kdf::with_salt(&KdfCost::standard(), *b"canary of a salt");
    let shown = format!("{kdf:?} {:?}", x25519_pair(&random()).0);
    assert!(
        shown.contains("65536") && !shown.contains("99, 97, 110"),
        "{shown}"
    );
}

prop_compose! {
    fn any_ad()(
        field in proptest::sample::select(FIELDS.to_vec()),
        vault in proptest::option::of(any::<Id>()),
        account in proptest::option::of(any::<Id>()),
        record in proptest::option::of(any::<Id>()),
        slot in proptest::option::of(any::<u32>()),
        version in proptest::option::of(any::<u64>()),
        destinations in proptest::option::of(any::<[u8; 32]>()),
        seq in proptest::option::of(any::<u64>()),
    ) -> Ad {
        let mut ad = Ad::new(field);
        if let Some(id) = &vault { ad = ad.vault(id); }
        if let Some(id) = &account { ad = ad.account(id); }
        if let Some(id) = &record { ad = ad.record(id); }
        if let Some(slot) = slot { ad = ad.slot(slot); }
        if let Some(version) = version { ad = ad.version(version); }
        if let Some(hash) = &destinations { ad = ad.destinations(hash); }
        if let Some(seq) = seq { ad = ad.seq(seq); }
        ad
    }
}

/// Every field with its number, so that a change of one fails here.
const FIELDS: [Field; 14] = [
    Field::SlotRoot,
    Field::AccountKeys,
    Field::Profile,
    Field::RecordKey,
    Field::Meta,
    Field::Secret,
    Field::HistoryMeta,
    Field::Event,
    Field::AuditKey,
    Field::ExchangeKey,
    Field::VaultKey,
    Field::LastTest,
    Field::Provider,
    Field::VaultKeyBefore,
];

#[test]
fn registered_numbers_do_not_move() {
    // Of hosted accounts, apart from what rests under an account's keys.
    assert_eq!((Field::Contact as u16, Field::Handover as u16), (20, 22));
    for (index, field) in FIELDS.iter().enumerate() {
        assert_eq!(*field as usize, index + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Ids from a small set make near misses likely: what one has as account, the other has as record.
    #[test]
    fn associated_data_that_differs_is_encoded_differently(
        a in any_ad(), b in any_ad(), swap in any::<Id>(),
    ) {
        prop_assert_eq!(a == b, a.encode() == b.encode());
        let near = [
            Ad::new(Field::Meta), Ad::new(Field::Meta).vault(&swap),
            Ad::new(Field::Meta).account(&swap), Ad::new(Field::Meta).record(&swap),
            Ad::new(Field::Meta).version(1), Ad::new(Field::Meta).seq(1), a.clone(),
        ];
        for (i, x) in near.iter().enumerate() {
            for (j, y) in near.iter().enumerate() {
                prop_assert_eq!(i == j || x == y, x.encode() == y.encode());
            }
        }
        // Setting parts in another order, or twice, changes nothing.
        prop_assert_eq!(
            Ad::new(Field::Meta).seq(1).vault(&swap).encode(),
            Ad::new(Field::Meta).vault(&[0; 16]).vault(&swap).seq(1).encode()
        );
    }

    #[test]
    fn what_is_sealed_opens(
        ad in any_ad(), plaintext in proptest::collection::vec(any::<u8>(), 0..300), bucket in 1usize..200,
    ) {
        let key = LockedKey::generate(&random());
        let blob = seal(&random(), &key, &ad, &plaintext).unwrap();
        prop_assert_eq!(blob.len(), plaintext.len() + 82);
        prop_assert_eq!(&*open(&key, &ad, &blob).unwrap(), &plaintext);
        let blob = seal_padded(&random(), &key, &ad, &plaintext, bucket).unwrap();
        prop_assert_eq!((blob.len() - 82) % bucket, 0);
        prop_assert_eq!(&*open_padded(&key, &ad, &blob).unwrap(), &plaintext);
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let key = LockedKey::generate(&random());
        prop_assert!(open(&key, &place(), &bytes).is_err());
        let marked = [&[1, 1][..], &bytes].concat();
        prop_assert_eq!(open_padded(&key, &place(), &marked).unwrap_err().kind(), Kind::Corrupt);
        prop_assert!(unwrap(&key, &place(), &marked).is_err());
        let _ = Kdf::decode(&bytes);
    }
}

#[test]
fn a_series_opens_in_its_place_and_nowhere_else() {
    let key = LockedKey::generate(&random());
    let (ad, at) = (Ad::new(Field::Event), |seq| Ad::new(Field::Event).seq(seq));
    let mut series = Series::start(&random(), &key, &ad).unwrap();
    let mut seal = |seq| {
        series
            .seal(&random(), &at(seq), b"canary")
            .unwrap()
            .unwrap()
    };
    let (first, second) = (seal(1), seal(2));
    assert_eq!(first[..66], second[..66], "one derivation for both");
    let open = |key: &LockedKey, ad: &Ad, place: &Ad, blob: &[u8]| {
        open_series(key, ad, place, blob).map(|plain| plain.to_vec())
    };
    assert_eq!(open(&key, &ad, &at(1), &first).unwrap(), b"canary");
    assert_eq!(open(&key, &ad, &at(2), &second).unwrap(), b"canary");
    let other = LockedKey::generate(&random());
    for refused in [
        open(&key, &ad, &at(2), &first),
        open(&key, &place(), &at(1), &first),
        open(&other, &ad, &at(1), &first),
    ] {
        assert_eq!(refused.unwrap_err().kind(), Kind::Corrupt);
    }
    for bit in 0..first.len() * 8 {
        let mut bad = first.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&key, &ad, &at(1), &bad).is_err());
    }
    for len in 0..first.len() {
        assert!(open(&key, &ad, &at(1), &first[..len]).is_err());
    }
}

#[test]
fn a_series_ends_and_never_starts_again() {
    let key = LockedKey::generate(&random());
    let mut series = Series::start(&random(), &key, &place()).unwrap();
    assert!(series.seal(&random(), &place(), b"").is_some(), "control");
    series.end();
    assert!(series.seal(&random(), &place(), b"").is_none());
    assert!(series.seal(&random(), &place(), b"").is_none());
}

/// Interrupted before each piece; fails where it should have ended, if it is told to.
struct Halting<'a> {
    left: &'a [u8],
    interrupted: bool,
    fails: bool,
}

impl std::io::Read for Halting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        if self.left.is_empty() && self.fails {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.left.read(buffer)
    }
}

#[test]
fn a_digest_is_that_of_the_whole_and_of_nothing_past_its_limit() {
    let digest = |bytes: &[u8], most: u64, fails: bool| {
        let mut reader = Halting {
            left: bytes,
            interrupted: false,
            fails,
        };
        digest_of(&mut reader, most)
    };
    // FIPS 180-4, and two pieces of which the second is not full.
    let abc = data_encoding::HEXLOWER
        .decode(b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        .unwrap();
    assert_eq!(digest(b"abc", 3, false).unwrap().unwrap()[..], abc);
    let long: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut whole = primitives::Sha256::new();
    whole.update(&long);
    let expected = whole.finish();
    assert_eq!(
        digest(&long, long.len() as u64, false).unwrap(),
        Some(expected)
    );
    assert_eq!(digest(&long, long.len() as u64 - 1, false).unwrap(), None);
    assert_eq!(
        digest(b"abc", 3, true).unwrap_err().kind(),
        std::io::ErrorKind::StorageFull
    );
}
