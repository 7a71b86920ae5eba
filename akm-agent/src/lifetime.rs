//! How long a session lasts, as people write it: `600`, `8h`, `1d`, `1h30m`, the way ssh-agent reads it.
//!
//! The deadline itself belongs to the service, which measures it in boot time; here is only the word.

use akm_core::error::{Error, Result};
use akm_core::protocol::MAX_LIFETIME_S;

/// A lifetime in whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(u64);

impl Lifetime {
    /// The longest, which is the agent's.
    pub const MAX: Lifetime = Lifetime(MAX_LIFETIME_S);

    /// Reads numbers with units `s m h d w` in either case, added up; a number without one is seconds.
    ///
    /// Errors: `invalid_input` with the field `lifetime`.
    pub fn parse(text: &str) -> Result<Lifetime> {
        const BAD: Error = Error::invalid(
            "lifetime",
            "a lifetime is written like 600, 8h, 1d or 1h30m",
        );
        let mut total: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| BAD)?;
            let (unit, after) = match after.bytes().next() {
                None => (1, after),
                Some(b's' | b'S') => (1, &after[1..]),
                Some(b'm' | b'M') => (60, &after[1..]),
                Some(b'h' | b'H') => (60 * 60, &after[1..]),
                Some(b'd' | b'D') => (24 * 60 * 60, &after[1..]),
                Some(b'w' | b'W') => (7 * 24 * 60 * 60, &after[1..]),
                Some(_) => return Err(BAD),
            };
            total = number
                .checked_mul(unit)
                .and_then(|seconds| total.checked_add(seconds))
                .ok_or(BAD)?;
            rest = after;
        }
        Lifetime::from_secs(total)
    }

    /// From seconds. Zero is refused: it would be read as "for ever" by one and "not at all" by another.
    pub fn from_secs(seconds: u64) -> Result<Lifetime> {
        if (1..=Self::MAX.0).contains(&seconds) {
            Ok(Lifetime(seconds))
        } else {
            Err(Error::invalid(
                "lifetime",
                "a lifetime is between one second and ten years",
            ))
        }
    }

    /// In seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ssh_agent_reads() {
        for (text, seconds) in [
            ("600", 600),
            ("1s", 1),
            ("8h", 28_800),
            ("1d", 86_400),
            ("2W", 1_209_600),
            ("1h30m", 5_400),
            ("1H30M10", 5_410),
            ("3660d", MAX_LIFETIME_S),
        ] {
            assert_eq!(Lifetime::parse(text).unwrap().as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "0",
            "0h",
            "h",
            "-1",
            "+1",
            "1.5h",
            "1 h",
            "8x",
            "1hh",
            "4000d",
            "316224001",
            "99999999999999999999",
            "9999999999999999999w",
            "８h",
        ] {
            let error = Lifetime::parse(text).unwrap_err();
            assert_eq!(error.field(), Some("lifetime"), "{text}");
        }
    }
}
