//! The published vectors of the format, and what they do not cover: sealing, sizes, costs.

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::crypto::KdfCost;

struct Bytes(u8);

impl Random for Bytes {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0);
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn sealed(passphrase: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sealer = Sealer::with_work(&Bytes(3), &secret(passphrase), MIN_WORK, &mut out).unwrap();
    sealer.write(plain, &mut out).unwrap();
    sealer.finish(&mut out).unwrap();
    out
}

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    expect: String,
    payload_sha256: Option<String>,
    file_key: Option<String>,
    #[serde(default)]
    passphrases: Vec<String>,
    file: Vec<Value>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.file {
            match piece {
                Value::String(hex) => bytes.extend(unhex(hex)),
                zeros => {
                    let zeros = usize::try_from(zeros.as_u64().unwrap()).unwrap();
                    bytes.resize(bytes.len() + zeros, 0);
                }
            }
        }
        bytes
    }

    /// With the passphrases if there are any, else from the file key on.
    fn run(&self, file: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if self.passphrases.is_empty() {
            let file_key = unhex(self.file_key.as_ref().unwrap());
            return Header::parse(file)?.open(&file_key.try_into().unwrap());
        }
        let mut last = Err(FOREIGN);
        for passphrase in &self.passphrases {
            last = open(file, &secret(passphrase));
            if !matches!(&last, Err(error) if error.kind() == Kind::WrongCredentials) {
                break;
            }
        }
        last
    }
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let mut digest = primitives::Sha256::new();
    digest.update(bytes);
    digest.finish().to_vec()
}

#[test]
fn cctv_vectors() {
    let text = include_str!("../../../tests/vectors/age/cctv_age.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    let mut opened = 0;
    let mut refused = 0;
    for case in &vectors.cases {
        let result = case.run(&case.bytes());
        let name = &case.name;
        match case.expect.as_str() {
            "success" => {
                let plain = result.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                let expected = unhex(case.payload_sha256.as_ref().unwrap());
                assert_eq!(sha256(&plain), expected, "{name}");
                opened += 1;
            }
            "no match" => {
                let kind = result.unwrap_err().kind();
                // Too costly to be tried is as good an answer.
                let refusals = [Kind::WrongCredentials, Kind::InvalidInput];
                assert!(refusals.contains(&kind), "{name}: {kind:?}");
                refused += 1;
            }
            "header failure" | "HMAC failure" | "payload failure" => {
                let kind = result
                    .err()
                    .unwrap_or_else(|| panic!("{name} opened"))
                    .kind();
                let refusals = [Kind::InvalidInput, Kind::UnsupportedVersion];
                assert!(refusals.contains(&kind), "{name}: {kind:?}");
                refused += 1;
            }
            other => panic!("{name}: an unknown expectation {other}"),
        }
    }
    assert_eq!((opened, refused), (12, 66));
}

#[test]
fn what_was_sealed_opens_at_every_size_around_a_chunk() {
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1] {
        let plain: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let file = sealed("one", &plain);
        assert_eq!(*open(&file, &secret("one")).unwrap(), plain, "{size}");
        let error = open(&file, &secret("two")).unwrap_err();
        assert_eq!(error.kind(), Kind::WrongCredentials, "{size}");
    }
}

#[test]
fn the_pieces_that_a_stream_comes_in_do_not_show() {
    let plain: Vec<u8> = (0..3 * CHUNK).map(|at| (at % 253) as u8).collect();
    let whole = sealed("one", &plain);
    for piece in [1000, CHUNK, CHUNK + 1] {
        let mut out = Vec::new();
        let mut sealer = Sealer::with_work(&Bytes(3), &secret("one"), MIN_WORK, &mut out).unwrap();
        for plain in plain.chunks(piece) {
            sealer.write(plain, &mut out).unwrap();
        }
        sealer.finish(&mut out).unwrap();
        assert!(out == whole, "{piece}");
    }
}

#[test]
fn a_changed_cut_or_lengthened_file_does_not_open() {
    let file = sealed("one", &vec![7; CHUNK + 100]);
    assert!(open(&file, &secret("one")).is_ok(), "control");
    let header = file.windows(4).position(|bytes| bytes == b"\n---").unwrap() + 50;
    let mut tried = 0;
    for at in (0..header).chain([header + 20, file.len() - CHUNK, file.len() - 1]) {
        for bit in [1, 0x20] {
            let mut changed = file.clone();
            changed[at] ^= bit;
            assert!(open(&changed, &secret("one")).is_err(), "byte {at}");
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
    for len in (0..header + 40).chain([file.len() - 117, file.len() - 116, file.len() - 1]) {
        assert!(open(&file[..len], &secret("one")).is_err(), "{len} bytes");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(open(&longer, &secret("one")).is_err());
}

#[test]
fn a_work_factor_outside_floor_and_ceiling_is_refused_before_any_memory_is_taken() {
    let file = sealed("one", b"x");
    let with = |work: &str| {
        let text = format!("== {work}\n");
        let end = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let line = file[end..].iter().position(|byte| *byte == b'\n').unwrap() + end;
        let stanza = std::str::from_utf8(&file[end..line]).unwrap();
        let stanza = stanza.strip_suffix(" 10").unwrap();
        [
            &file[..end],
            stanza.as_bytes(),
            text.trim_start_matches('=').as_bytes(),
            &file[line + 1..],
        ]
        .concat()
    };
    assert!(with("10") == file, "control");
    // 2^63 KiB could not even be asked for: whoever tried would see another error, or the end of the process.
    for work in [
        "1",
        "9",
        "21",
        "22",
        "30",
        "63",
        "64",
        "255",
        "256",
        "99999999999",
    ] {
        let error = open(&with(work), &secret("one")).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput, "{work}");
        assert!(error.message().contains("age file"), "{work}: {error:?}");
    }
    // A machine that many share opens what costs as much as sealing does, and no more.
    for work in ["19", "20"] {
        let error = open_shared(&with(work), &secret("one")).unwrap_err();
        assert_eq!(error, too_dear(), "{work}");
    }
    assert!(open_shared(&file, &secret("one")).is_ok(), "control");
    for work in ["010", "+10", "-1", "0x0a", "", "1e1", "10.0", "１０"] {
        assert_eq!(
            open(&with(work), &secret("one")).unwrap_err(),
            MALFORMED,
            "{work}"
        );
    }
}

#[test]
fn what_is_not_for_us_says_so() {
    let case = |file: &[u8]| open(file, &secret("one")).unwrap_err();
    assert_eq!(case(b"{\"keys\":[]}"), FOREIGN);
    assert_eq!(case(b""), FOREIGN);
    let armoured = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n";
    assert!(is_age(armoured) && case(armoured).hint().unwrap().contains("age -d"));
    let newer = b"age-encryption.org/v2\n-> x\n\n--- x\n";
    assert!(is_age(newer) && case(newer).kind() == Kind::UnsupportedVersion);
    let keyed = b"age-encryption.org/v1\n-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\n\
        EmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U\n--- Vn+54jqiiUCE+WZcEVY3f1sqHjlu/z1LCQ/T7Xm7qI0\n";
    assert!(case(keyed).hint().unwrap().contains("age -d -i"));
    assert!(!is_age(b"AKM"));
}

#[test]
fn a_header_without_end_is_refused_early() {
    let mut file = b"age-encryption.org/v1\n-> scrypt a 10\n".to_vec();
    for _ in 0..1000 {
        file.extend_from_slice(&[b'A'; 64]);
        file.push(b'\n');
    }
    assert_eq!(open(&file, &secret("one")).unwrap_err(), MALFORMED);
    let mut file = b"age-encryption.org/v1\n".to_vec();
    file.extend(b"-> x\n\n".repeat(10_000));
    assert_eq!(open(&file, &secret("one")).unwrap_err(), MALFORMED);
}

#[test]
fn a_real_host_pays_the_standard_cost_and_a_test_does_not() {
    let real = Host::real();
    assert_eq!(work_factor(&real), STANDARD);
    let test = Host {
        kdf_cost: KdfCost::insecure_test(),
        ..real
    };
    assert_eq!(work_factor(&test), MIN_WORK);
}
