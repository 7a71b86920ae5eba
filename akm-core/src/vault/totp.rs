//! Time-based one-time codes (RFC 6238: SHA-1, six digits, 30 seconds, one step either side).
//!
//! A code is exactly six ASCII digits; nothing is trimmed or folded. This room says which step a code
//! belongs to; that a step is used once is the store's atomic promise.

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::host::Random;
use crate::name::AccountName;
use crate::secret::Secret;

/// Length of a step in seconds.
pub(super) const STEP_S: u64 = 30;
/// Bytes of a new secret: the 160 bits RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// A new secret.
pub(super) fn generate(random: &dyn Random) -> Zeroizing<Vec<u8>> {
    let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
    random.fill(&mut secret);
    secret
}

/// The secret as a person types it.
pub(super) fn base32(secret: &[u8]) -> Secret {
    Secret::new(BASE32_NOPAD.encode(secret))
}

/// The secret as an authenticator scans it. Account names need no escaping: their alphabet is safe.
pub(super) fn uri(account: &AccountName, secret: &[u8]) -> Secret {
    let base32 = base32(secret);
    Secret::new(format!(
        "otpauth://totp/akm:{}?secret={}&issuer=akm&algorithm=SHA1&digits=6&period={STEP_S}",
        account.as_str(),
        base32.expose()
    ))
}

/// The step that `code` belongs to at `unix_s`, if it is one of the three steps in reach.
pub(super) fn matching_step(secret: &[u8], code: &Secret, unix_s: i64) -> Result<Option<u64>> {
    let code = code.expose();
    if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let Ok(time) = u64::try_from(unix_s) else {
        return Ok(None);
    };
    const WRONG_LENGTH: Error = Error::corrupt("the TOTP secret has the wrong length");
    let secret: [u8; SECRET_BYTES] = secret.try_into().map_err(|_| WRONG_LENGTH)?;
    let totp = totp_rs::Builder::new()
        .with_secret(secret)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(STEP_S)
        .build()
        .map_err(|_| WRONG_LENGTH)?;
    Ok(totp.check(code, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn data(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn seed() -> Vec<u8> {
        b"12345678901234567890".to_vec()
    }

    #[test]
    fn rfc_4226_appendix_d() {
        let file = data(include_str!("../../tests/vectors/rfc/hotp_rfc4226.json"));
        let tests = file["tests"].as_array().unwrap();
        assert_eq!(tests.len(), 10);
        for case in tests {
            let counter = case["counter"].as_u64().unwrap();
            let code = Secret::new(case["otp6"].as_str().unwrap().to_owned());
            let time = i64::try_from(counter * STEP_S).unwrap();
            assert_eq!(
                matching_step(&seed(), &code, time).unwrap(),
                Some(counter),
                "{case}"
            );
        }
    }

    #[test]
    fn rfc_6238_appendix_b() {
        let file = data(include_str!("../../tests/vectors/rfc/totp_rfc6238.json"));
        let tests = file["tests"].as_array().unwrap();
        let mut ran = 0;
        for case in tests.iter().filter(|case| case["alg"] == "sha1") {
            let time = case["unix_time"].as_i64().unwrap();
            let code = Secret::new(case["totp6"].as_str().unwrap().to_owned());
            let step = u64::try_from(time).unwrap() / STEP_S;
            assert_eq!(
                matching_step(&seed(), &code, time).unwrap(),
                Some(step),
                "{case}"
            );
            ran += 1;
        }
        assert_eq!(ran, 6);
    }

    #[test]
    fn a_code_is_good_from_the_step_before_to_the_step_after_and_no_second_longer() {
        // RFC 4226 Appendix D: the code of step 5.
        let code = Secret::new("254676".into());
        let at = |unix_s: i64| matching_step(&seed(), &code, unix_s).unwrap();
        for (unix_s, step) in [
            (119, None),
            (120, Some(5)),
            (149, Some(5)),
            (150, Some(5)),
            (179, Some(5)),
            (180, Some(5)),
            (209, Some(5)),
            (210, None),
        ] {
            assert_eq!(at(unix_s), step, "{unix_s}");
        }
        // The code of the first step, where there is none before; and a clock from before time began.
        let first = Secret::new("755224".into());
        let at = |unix_s: i64| matching_step(&seed(), &first, unix_s).unwrap();
        assert_eq!((at(0), at(59), at(60)), (Some(0), Some(0), None));
        assert_eq!((at(-1), at(i64::MIN)), (None, None));
    }

    #[test]
    fn what_is_no_code_is_not_tried_and_a_secret_of_another_length_is_damage() {
        let step = |secret: &[u8], code: &str| {
            let step = matching_step(secret, &Secret::new(code.into()), 150);
            step.map_err(|error| error.kind())
        };
        assert_eq!(step(&seed(), "254676"), Ok(Some(5)), "control");
        let digits = "\u{0662}\u{0665}\u{0664}";
        for code in [
            "", "25467", "2546760", " 254676", "25467a", "25 676", "+54676", digits,
        ] {
            assert_eq!(step(&seed(), code), Ok(None), "{code}");
            // Not even looked at: what it would be tried against has no part in the answer.
            assert_eq!(step(b"short", code), Ok(None), "{code}");
        }
        for length in [0, 5, 19, 21, 64] {
            let refused = step(&vec![b'1'; length], "254676");
            assert_eq!(refused, Err(crate::Kind::Corrupt), "{length}");
        }
    }

    #[test]
    fn a_new_secret_is_160_bits_of_chance_and_typed_in_base_32() {
        let random = crate::host::Host::real().random;
        let (one, two) = (generate(&*random), generate(&*random));
        assert_eq!((one.len(), two.len()), (20, 20));
        assert_ne!(one, two);
        let shown = base32(&one);
        assert_eq!(shown.len(), 32);
        assert_eq!(
            BASE32_NOPAD.decode(shown.expose().as_bytes()).unwrap(),
            *one
        );
    }

    #[test]
    fn the_uri_has_what_an_authenticator_needs() {
        let uri = uri(&AccountName::parse("alice", "account").unwrap(), &seed());
        assert_eq!(
            uri.expose(),
            "otpauth://totp/akm:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=akm&algorithm=SHA1&digits=6&period=30"
        );
    }
}
