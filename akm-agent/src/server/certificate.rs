//! When a certificate ends, out of its DER: the one field of X.509 that akm reads itself.
//!
//! The certificate is the operator's own and was taken by rustls already; what does not read as one has no end here, and
//! nothing else follows from that. RFC 5280 §4.1: certificate, its first part, past the version, number, algorithm and
//! issuer, the validity, of which the second time.

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate in Unix seconds.
pub(super) fn ends(der: &[u8]) -> Option<i64> {
    let mut rest = der;
    let mut certificate = part(&mut rest, SEQUENCE)?;
    let mut signed = part(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        take(&mut signed)?;
    }
    for _ in ["number", "algorithm", "issuer"] {
        take(&mut signed)?;
    }
    let mut validity = part(&mut signed, SEQUENCE)?;
    take(&mut validity)?;
    let (kind, text) = take(&mut validity)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match kind {
        // Two digits of the year: 50 and later are of the last century.
        UTC_TIME => match text.get(..2)?.parse::<u8>().ok()? {
            50.. => format!("19{text}"),
            _ => format!("20{text}"),
        },
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}

fn part<'a>(rest: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    let (kind, content) = take(rest)?;
    (kind == wanted).then_some(content)
}

/// The next value: its kind and content.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (kind, after) = rest.split_first()?;
    let (first, mut after) = after.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(*first),
        // At most three bytes of length: 16 MiB.
        0x81..=0x83 => {
            let (bytes, behind) = after.split_at_checked(usize::from(first & 0x7f))?;
            after = behind;
            bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (content, behind) = after.split_at_checked(length)?;
    *rest = behind;
    Some((*kind, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as it is read, with this end.
    fn with_end(kind: u8, end: &str) -> Vec<u8> {
        let wrap = |kind: u8, content: &[u8]| {
            let mut out = vec![kind, u8::try_from(content.len()).unwrap()];
            out.extend_from_slice(content);
            out
        };
        let begin = wrap(UTC_TIME, b"250101000000Z");
        let validity = wrap(SEQUENCE, &[begin, wrap(kind, end.as_bytes())].concat());
        let signed = [
            wrap(VERSION, &wrap(2, &[2])),
            wrap(2, &[1]),
            wrap(SEQUENCE, &[]),
            wrap(SEQUENCE, &[]),
            validity,
        ]
        .concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &signed))
    }

    #[test]
    fn the_end_is_read_in_both_spellings_and_nothing_else_is_an_end() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        for (kind, text, end) in [
            (UTC_TIME, "270203040506Z", "2027-02-03T04:05:06Z"),
            (UTC_TIME, "991231235959Z", "1999-12-31T23:59:59Z"),
            (GENERALIZED_TIME, "20991231235959Z", "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(ends(&with_end(kind, text)), Some(at(end)), "{text}");
        }
        let good = with_end(UTC_TIME, "270203040506Z");
        for cut in 0..good.len() {
            assert_eq!(ends(&good[..cut]), None, "cut at {cut}");
        }
        for (kind, text) in [(UTC_TIME, "2702Z"), (UTC_TIME, "éé"), (2, "270203040506Z")] {
            assert_eq!(ends(&with_end(kind, text)), None, "{text}");
        }
        assert_eq!(ends(&[0x30, 0x84, 1, 1, 1, 1]), None);
    }
}
