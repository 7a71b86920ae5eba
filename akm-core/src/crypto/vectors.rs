//! Public vectors and akm's own pinned format, run through akm's own functions. Origins: `tests/vectors/README.md`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::primitives::{Argon2Input, HmacSha256, argon2id, gcm_open, gcm_seal, hkdf};
use super::*;
use crate::Kind;

macro_rules! data {
    ($file:literal) => {
        serde_json::from_str(include_str!(concat!("../../tests/vectors/", $file))).unwrap()
    };
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn key(bytes: &[u8]) -> LockedKey {
    LockedKey::from_bytes(&mut bytes.try_into().unwrap())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wycheproof<Test> {
    number_of_tests: usize,
    test_groups: Vec<Group<Test>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group<Test> {
    #[serde(default)]
    iv_size: usize,
    #[serde(default)]
    key_size: usize,
    #[serde(default)]
    tag_size: usize,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Aead {
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    result: String,
}

#[test]
fn wycheproof_aes_gcm() {
    let file: Wycheproof<Aead> = data!("wycheproof/aes_gcm_test.json");
    let (mut opened, mut refused, mut other_sizes) = (0, 0, 0);
    for group in &file.test_groups {
        for test in &group.tests {
            let (key, iv, ad) = (unhex(&test.key), unhex(&test.iv), unhex(&test.aad));
            let (msg, ct, tag) = (unhex(&test.msg), unhex(&test.ct), unhex(&test.tag));
            let mut sealed = msg.clone();
            let made = gcm_seal(&key, &iv, &ad, &mut sealed);
            let mut data = ct.clone();
            let outcome = gcm_open(&key, &iv, &ad, &mut data, &tag);
            if (group.key_size, group.iv_size, group.tag_size) != (256, 96, 128) {
                assert_eq!(made.unwrap_err().kind(), Kind::Internal);
                assert_eq!(outcome.unwrap_err().kind(), Kind::Internal);
                other_sizes += 1;
            } else if test.result == "valid" {
                assert_eq!((sealed, made.unwrap().to_vec()), (ct, tag));
                assert_eq!((outcome, data), (Ok(()), msg));
                opened += 1;
            } else {
                assert_eq!(outcome.unwrap_err().kind(), Kind::Corrupt);
                assert_eq!(data, ct, "data that fails is left as it was");
                refused += 1;
            }
        }
    }
    assert_eq!(file.number_of_tests, 316);
    assert_eq!((opened, refused, other_sizes), (39, 27, 250));
}

#[derive(Deserialize)]
struct Cavp {
    tests: Vec<CavpTest>,
}

#[derive(Deserialize)]
struct CavpTest {
    key: String,
    iv: String,
    aad: String,
    ct: String,
    tag: String,
    result: String,
    pt: Option<String>,
}

#[test]
fn cavp_aes_256_gcm_encrypt() {
    let file: Cavp = data!("nist_cavp/aes256_gcm_encrypt_iv96_tag128.json");
    for test in &file.tests {
        let mut data = unhex(test.pt.as_ref().unwrap());
        let (key, iv) = (unhex(&test.key), unhex(&test.iv));
        let tag = gcm_seal(&key, &iv, &unhex(&test.aad), &mut data).unwrap();
        assert_eq!((data, tag.to_vec()), (unhex(&test.ct), unhex(&test.tag)));
    }
    assert_eq!(file.tests.len(), 375);
}

#[test]
fn cavp_aes_256_gcm_decrypt() {
    let file: Cavp = data!("nist_cavp/aes256_gcm_decrypt_iv96_tag128.json");
    let (mut opened, mut refused) = (0, 0);
    for test in &file.tests {
        let mut data = unhex(&test.ct);
        let (key, iv, tag) = (unhex(&test.key), unhex(&test.iv), unhex(&test.tag));
        match gcm_open(&key, &iv, &unhex(&test.aad), &mut data, &tag) {
            Ok(()) => {
                assert_eq!(test.result, "valid");
                assert_eq!(data, unhex(test.pt.as_ref().unwrap()));
                opened += 1;
            }
            Err(error) => {
                assert_eq!(
                    (test.result.as_str(), error.kind()),
                    ("invalid", Kind::Corrupt)
                );
                refused += 1;
            }
        }
    }
    assert_eq!((opened, refused), (184, 191));
}

#[test]
fn wycheproof_hkdf_sha256() {
    #[derive(Deserialize)]
    struct Test {
        ikm: String,
        salt: String,
        info: String,
        size: usize,
        okm: String,
        result: String,
    }
    let file: Wycheproof<Test> = data!("wycheproof/hkdf_sha256_test.json");
    let (mut derived, mut refused) = (0, 0);
    for test in file.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let info = unhex(&test.info);
        // In two pieces, as akm gives it.
        let (head, tail) = info.split_at(info.len() / 2);
        match hkdf(
            &unhex(&test.salt),
            &unhex(&test.ikm),
            &[head, tail],
            &mut okm,
        ) {
            Ok(()) => {
                assert_eq!((test.result.as_str(), okm), ("valid", unhex(&test.okm)));
                derived += 1;
            }
            Err(_) => {
                assert_eq!(test.result, "invalid");
                refused += 1;
            }
        }
    }
    assert_eq!((derived, refused), (83, 3));
}

#[test]
fn wycheproof_hmac_sha256() {
    #[derive(Deserialize)]
    struct Test {
        key: String,
        msg: String,
        tag: String,
        result: String,
    }
    let file: Wycheproof<Test> = data!("wycheproof/hmac_sha256_test.json");
    let (mut matched, mut refused) = (0, 0);
    for group in &file.test_groups {
        for test in &group.tests {
            let msg = unhex(&test.msg);
            let (head, tail) = msg.split_at(msg.len() / 2);
            let mut mac = HmacSha256::new(&unhex(&test.key));
            mac.update(head);
            mac.update(tail);
            let same = equal(&mac.finish()[..group.tag_size / 8], &unhex(&test.tag));
            assert_eq!(same, test.result == "valid");
            *(if same { &mut matched } else { &mut refused }) += 1;
        }
    }
    assert_eq!((matched, refused), (66, 108));
}

#[test]
fn wycheproof_x25519() {
    #[derive(Deserialize)]
    struct Test {
        public: String,
        private: String,
        shared: String,
        flags: Vec<String>,
    }
    let file: Wycheproof<Test> = data!("wycheproof/x25519_test.json");
    let (mut agreed, mut refused) = (0, 0);
    for test in file.test_groups.iter().flat_map(|group| &group.tests) {
        let public = unhex(&test.public).try_into().unwrap();
        match x25519(&key(&unhex(&test.private)), &public) {
            Ok(shared) => {
                assert_eq!(shared.expose()[..], unhex(&test.shared));
                agreed += 1;
            }
            Err(error) => {
                assert!(test.flags.iter().any(|flag| flag == "ZeroSharedSecret"));
                assert_eq!(error.kind(), Kind::Corrupt);
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

#[test]
fn argon2id_reference_answers() {
    #[derive(Deserialize)]
    struct File {
        tests: Vec<Test>,
    }
    #[derive(Deserialize)]
    struct Test {
        m_kib: u32,
        t: u32,
        p: u32,
        password_hex: String,
        salt_hex: String,
        secret_hex: String,
        ad_hex: String,
        tag_hex: String,
    }
    let file: File = data!("argon2/argon2id_kats.json");
    for test in &file.tests {
        let mut out = [0; 32];
        let input = Argon2Input {
            password: &unhex(&test.password_hex),
            salt: &unhex(&test.salt_hex),
            secret: &unhex(&test.secret_hex),
            ad: &unhex(&test.ad_hex),
        };
        argon2id(&input, test.m_kib, test.t, test.p, &mut out).unwrap();
        assert_eq!(out[..], unhex(&test.tag_hex));
    }
    assert_eq!(file.tests.len(), 9);
}

#[test]
fn stretching_is_argon2id_with_the_parameters_of_the_slot() {
    let cost = KdfCost::new(19 * 1024, 2, 1).unwrap();
    let kdf = Kdf::with_salt(&cost, [5; 16]);
    let mut expected = [0; 32];
    let input = Argon2Input {
        password: b"a passphrase",
        salt: &[5; 16],
        ..Default::default()
    };
    argon2id(&input, 19 * 1024, 2, 1, &mut expected).unwrap();
    let (before, work) = (derivations(), derived_kib());
    let stretched = stretch(&kdf, b"a passphrase").unwrap();
    assert_eq!(stretched.expose(), &expected);
    assert!(derivations() > before);
    // Other tests add to it at the same time.
    assert!(derived_kib() - work >= 2 * 19 * 1024, "each pass counts");
    assert_ne!(stretch(&kdf, b"a passphrasf").unwrap().expose(), &expected);
}

/// Counts up from a byte, as the inputs in `make.mjs` do.
struct Counter(u8);

impl Random for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&run(self.0, buffer.len()));
    }
}

fn run(from: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| from.wrapping_add(index as u8))
        .collect()
}

#[test]
fn the_format_is_the_pinned_one() {
    let file: BTreeMap<String, String> = data!("akm/format_v1.json");
    let mut seen = 2; // `source` and `licence`
    let mut check = |name: &str, made: &[u8]| {
        assert_eq!(data_encoding::HEXLOWER.encode(made), file[name], "{name}");
        seen += 1;
    };
    let id = |from| <[u8; 16]>::try_from(run(from, 16)).unwrap();
    let (vault, account, record) = (id(0x60), id(0x70), id(0x80));
    let destinations: [u8; 32] = run(0x90, 32).try_into().unwrap();
    let (root, salt) = (key(&run(0, 32)), Counter(0x40));

    // Set in another order than encoded.
    let everything = Ad::new(Field::Secret)
        .seq(9)
        .destinations(&destinations)
        .version(1 << 40)
        .slot(7)
        .record(&record)
        .account(&account)
        .vault(&vault);
    check("ad_everything", &everything.encode());
    let ad = Ad::new(Field::Secret)
        .vault(&vault)
        .account(&account)
        .record(&record)
        .version(1)
        .destinations(&destinations);
    check("ad_secret", &ad.encode());

    let plaintext = b"sk-0123456789abcdef";
    let blob = seal(&salt, &root, &ad, plaintext).unwrap();
    check("blob", &blob);
    assert_eq!(open(&root, &ad, &blob).unwrap().as_slice(), plaintext);
    let blob = seal_padded(&salt, &root, &ad, plaintext, 64).unwrap();
    check("blob_padded_64", &blob);
    assert_eq!(
        open_padded(&root, &ad, &blob).unwrap().as_slice(),
        plaintext
    );
    let slot_ad = Ad::new(Field::SlotRoot)
        .vault(&vault)
        .account(&account)
        .slot(3);
    let blob = wrap(&salt, &root, &slot_ad, &key(&run(0xe0, 32))).unwrap();
    check("blob_wrapped_key", &blob);
    assert_eq!(
        unwrap(&root, &slot_ad, &blob).unwrap().expose()[..],
        run(0xe0, 32)
    );

    check("derive_index", derive(&root, "index").expose());
    check("tag", &tag(&root, &[b"openai", b"", b"work"]));
    check("hash", &hash(&[b"openai", b"", b"work"]));

    let kdf = Kdf::passphrase(&Counter(0xa0), &KdfCost::standard());
    check("kdf", &kdf.encode());
    let recovery = Kdf::recovery(&Counter(0xa0));
    check("kdf_recovery", &recovery.encode());
    let device = key(&run(0xc0, 32));
    for (name, device) in [
        ("slot_without_device", None),
        ("slot_with_device", Some(&device)),
    ] {
        let factors = if device.is_some() { FACTOR_DEVICE } else { 0 };
        let (kek, commit) = slot_keys(&root, device, &vault, &account, 3, &kdf, factors).unwrap();
        check(name, &[*kek.expose(), commit].concat());
    }
    check(
        "recovery",
        stretch(&recovery, &run(0xd0, 16)).unwrap().expose(),
    );
    assert_eq!(seen, file.len(), "every pinned answer was compared");
}

#[test]
fn a_subkey_is_what_hkdf_expands() {
    // With HKDF's own Extract: PRK = HMAC(salt, IKM) is the key that `derive` gets.
    let mut extract = HmacSha256::new(b"salt");
    extract.update(b"input");
    let mut okm = [0; 32];
    hkdf(b"salt", b"input", &[b"akm/v1/audit"], &mut okm).unwrap();
    assert_eq!(derive(&key(&extract.finish()), "audit").expose(), &okm);
}
