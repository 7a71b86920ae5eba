//! Formulas that other programs' formats and services ask for, at their published answers and at their edges.

use super::primitives::{cbc_open, pbkdf2, scrypt};
use super::*;
use crate::Kind;

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn pbkdf2_and_scrypt_answer_as_rfc_7914_says() {
    let mut out = [0; 64];
    pbkdf2(b"passwd", b"salt", 1, &mut out);
    assert_eq!(
        hex(&out),
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
         49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
    );
    let mut out = [0; 32];
    scrypt(b"pleaseletmein", b"SodiumChloride", 14, &mut out).unwrap();
    assert_eq!(
        hex(&out),
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    );
}

#[test]
fn scrypt_without_memory_says_so_and_ends_nothing() {
    let mut out = [0; 32];
    // A pebibyte: more than a process has addresses for.
    for (log_n, kind) in [(40, Kind::Unavailable), (64, Kind::Internal)] {
        let refused = scrypt(b"a", b"b", log_n, &mut out).unwrap_err();
        assert_eq!(refused.kind(), kind, "{log_n}");
        assert_eq!(out, [0; 32]);
    }
    scrypt(b"a", b"b", 1, &mut out).expect("control");
    assert_ne!(out, [0; 32]);
}

#[test]
fn cbc_gives_what_its_padding_leaves() {
    // A block of zeros under a key of zeros (NIST AESAVS, known answers): its last byte becomes the padding by the IV.
    let mut iv = [0; 16];
    iv[15] = 0x3a ^ 1;
    let mut block = [0; 16];
    assert_eq!(cbc_open(&[0; 16], &iv, &mut block), Ok(15));
    assert_eq!(hex(&block[..15]), "140f0f1011b5223d79587717ffd9ec");
    for (last, data) in [
        (0, &mut [0; 16][..]),
        (0x3a, &mut [0; 16]),
        (0x3b, &mut [0; 15]),
    ] {
        iv[15] = last;
        let refused = cbc_open(&[0; 16], &iv, data).unwrap_err();
        assert_eq!(refused.kind(), Kind::Corrupt, "{last}");
    }
}

#[test]
fn an_hmac_is_of_all_its_parts_and_a_digest_reads_in_large_pieces() {
    // RFC 4231 §4.3.
    assert_eq!(
        hex(&hmac_sha256(
            b"Jefe",
            &[b"what do ya want ", b"for nothing?"]
        )),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    /// Zeros, and how often they were asked for.
    struct Zeros(u64, usize);
    impl std::io::Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            let count = self.0.min(buffer.len() as u64);
            buffer[..count as usize].fill(0);
            self.0 -= count;
            Ok(count as usize)
        }
    }
    let mut zeros = Zeros(1 << 20, 0);
    let digest = digest_of(&mut zeros, 1 << 20).unwrap().unwrap();
    assert_eq!(
        hex(&digest),
        "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
    );
    assert_eq!(zeros.1, 65, "a mebibyte in 64 pieces, and the end");
}

#[test]
fn debug_of_a_recovery_slots_parameters_shows_no_salt() {
    let kdf = Kdf::recovery(&tests::Stuck);
    assert_eq!(format!("{kdf:?}"), "Recovery");
}

#[cfg(feature = "providers")]
mod service {
    use super::*;

    /// A key pair of OpenSSL's making, for this test alone.
    const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAq+6DYdbjMNzmMkprT3rI
PVMvWMM5KGTv4c7SiFzceBW1Sono5vMGssGzqAGSMZu3y8FGAH6vWHc9KjZDYX4m
+WpVjvjCVQ07xwEsMAVD5enQM/mdetlyZSo1GrCUrFZznNtoFzQmAlAJnfeR1mtd
O781WUyhfgYoT94SreMZWJQAXuQfx9+pZmCD4mvjrCkI2uE2qnnvlj6DHVLXnDpj
Igas4Fv77m/3+vNBg5f2a9XiHlQgfgzmyn7ZSqtcrW7lIz3ho82gzg7A+xIMg7Qc
TEAEiOu4LS8qRaDjR500bxq/2orohT/dtcBkBPyqRAtLLjB0d3X1GFh0Bi7+Ay4D
eQIDAQAB
-----END PUBLIC KEY-----
";
    /// 1024 bits.
    const SHORT: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDnsGYxieTovAC8kTMKHHOIeelO
ryYM2si3IZqoWXiVxZYvWQSPPU+rl7lSx2ImmIeC3kvT6HM98cLBOU6/s7rxCwKC
oxAGKdH9FK5+wBRV6NoBSjNXH5272BU8S4GXAxOAHP6ZrhEHpigM5ivEswqvcZes
qxEdY+DGy18IhUYKrQIDAQAB
-----END PUBLIC KEY-----
";
    /// RSASSA-PKCS1-v1_5 with SHA-256 over `a message`.
    const SIGNATURE: &str = "\
     688197064867064bf5abedb1e4f940d1214a78f42513531910bc4b1f8544330c3794d17b41a8415681771f53abdd8355\
     2754908dae94d59907141e88e436e5b3ed1b9bf376e59e2a2159a35d0d5fd706843ceb27041666e6978c07aca45df865\
     b52cf32a3c4f903b2a45739dc0773ebdddf4c38f4d819254dadad911fd9d46caeb0dd8e53e2a5256578ce62bd485db11\
     dfd0942a7b9fe02ed6404ebe3f32033e0ae6541dcd87808891ef4e6c06edb405b627b0f51938194919025770e1fd3c31\
     4abf8780db45a9f095f5cbadbb90a0a7d3b9d7c97d164012e868313745b5e8b21bff5061d2158b3482aa0da422ddb9f4\
     6ad2fe270f3dce8dd07ec28bc6869c0e";

    fn der(pem: &str) -> Vec<u8> {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        data_encoding::BASE64.decode(body.as_bytes()).unwrap()
    }

    fn pem(der: &[u8]) -> String {
        let body = data_encoding::BASE64.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----")
    }

    #[test]
    fn md5_answers_as_rfc_1321_says() {
        assert_eq!(
            hex(&md5(&[b"ab", b"c"])),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(hex(&md5(&[])), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn an_rsa_key_is_what_stands_behind_every_length_and_tag() {
        let good = der(PUBLIC);
        let key = rsa_public_key(PUBLIC).unwrap();
        assert_eq!(key, good[24..], "what the headers lead to");
        assert_eq!(rsa_public_key(&pem(&good)), Some(key), "control");
        // Tags, lengths, the algorithm, and the byte before the key.
        for at in 0..28 {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(rsa_public_key(&pem(&flipped)), None, "{at} {bit}");
            }
        }
        for length in 0..good.len() {
            assert_eq!(rsa_public_key(&pem(&good[..length])), None, "{length}");
        }
        assert_eq!(rsa_public_key(&pem(&[&good[..], &[0]].concat())), None);
        assert_eq!(rsa_public_key(SHORT), None);
        for text in [
            "",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----?-----END PUBLIC KEY-----",
        ] {
            assert_eq!(rsa_public_key(text), None);
        }
        assert_eq!(rsa_public_key(&PUBLIC.replace("BEGIN", "BEGUN")), None);
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_message() {
        let key = rsa_public_key(PUBLIC).unwrap();
        let signature = data_encoding::HEXLOWER
            .decode(SIGNATURE.as_bytes())
            .unwrap();
        assert!(rsa_verify(&key, b"a message", &signature), "control");
        assert!(!rsa_verify(&key, b"a massage", &signature));
        let mut other = signature.clone();
        other[255] ^= 1;
        assert!(!rsa_verify(&key, b"a message", &other));
        assert!(!rsa_verify(&key, b"a message", &signature[..255]));
        assert!(!rsa_verify(&key[1..], b"a message", &signature));
        assert!(!rsa_verify(&der(SHORT)[22..], b"a message", &signature));
    }
}
