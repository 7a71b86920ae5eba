//! Exact decimal numbers: money is never rounded, so it is never a float.
//!
//! Invariants: a number is its digits and where the point stands; it is read from the text that was sent,
//! moved by powers of ten, added and compared, and every step that does not fit says so. What is written
//! has every digit that was read (`110.00` stays `110.00`).
//!
//! Deliberately absent: division, and a conversion from or to a float. The build script reads this file
//! too, so it uses nothing but the standard library.

use std::cmp::Ordering;
use std::fmt;

/// Most digits of a number, the point's place included.
const MAX_DIGITS: u32 = 36;

/// An exact decimal number of at most 36 digits.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// The digits as one whole number.
    units: i128,
    /// How many of them stand behind the point.
    places: u32,
}

impl Decimal {
    /// Reads a number as JSON writes one: `-12.50`, `1e-7`. Nothing else, and nothing that does not fit.
    pub fn read(text: &str) -> Option<Decimal> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let padded = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || padded || whole.len() + fraction.len() > MAX_DIGITS as usize {
            return None;
        }
        let mut units: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            units = units * 10 + i128::from(digit - b'0');
        }
        let number = Decimal {
            units: if negative { -units } else { units },
            places: u32::try_from(fraction.len()).ok()?,
        };
        number.times_ten_to(exponent)
    }

    /// The number with its point moved.
    pub fn times_ten_to(self, exponent: i32) -> Option<Decimal> {
        let places = i64::from(self.places) - i64::from(exponent);
        if places > i64::from(MAX_DIGITS) {
            return None;
        }
        match u32::try_from(places) {
            Ok(places) => Decimal { places, ..self }.bounded(),
            // The point moved past the last digit: zeros follow.
            Err(_) => Decimal {
                units: self.units.checked_mul(ten_to(places.unsigned_abs())?)?,
                places: 0,
            }
            .bounded(),
        }
    }

    /// The number with the other sign.
    pub fn negated(self) -> Decimal {
        Decimal {
            units: -self.units,
            ..self
        }
    }

    /// The sum.
    pub fn plus(self, other: Decimal) -> Option<Decimal> {
        let places = self.places.max(other.places);
        let units = self
            .units_at(places)?
            .checked_add(other.units_at(places)?)?;
        Decimal { units, places }.bounded()
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.units < 0
    }

    /// The digits with the point moved to `places`, which is not before where it stands.
    fn units_at(self, places: u32) -> Option<i128> {
        self.units
            .checked_mul(ten_to(u64::from(places - self.places))?)
    }

    fn bounded(self) -> Option<Decimal> {
        (self.units.unsigned_abs() < 10_u128.pow(MAX_DIGITS)).then_some(self)
    }
}

fn ten_to(exponent: u64) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

fn read_exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// By value: `1.0` and `1` are the same number.
impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        let places = self.places.max(other.places);
        match (self.units_at(places), other.units_at(places)) {
            (Some(ours), Some(theirs)) => ours.cmp(&theirs),
            // Only a number far from nothing does not fit, and it is the one that outweighs the other.
            (None, _) => self.units.cmp(&0),
            (_, None) => 0.cmp(&other.units),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.places as usize;
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        if self.units < 0 {
            f.write_str("-")?;
        }
        f.write_str(whole)?;
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Decimal {
        Decimal::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn every_digit_that_was_read_is_written() {
        for (text, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("110.00", "110.00"),
            ("-12.50", "-12.50"),
            ("0.1015644762", "0.1015644762"),
            ("25.000000000000004", "25.000000000000004"),
            ("1e-7", "0.0000001"),
            ("1.5E3", "1500"),
            ("1.5e+0", "1.5"),
            ("-0.05", "-0.05"),
            ("9007199254740993", "9007199254740993"),
            (
                "999999999999999999999999999999999999",
                "999999999999999999999999999999999999",
            ),
        ] {
            assert_eq!(read(text).to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_does_not_fit_is_none() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "01",
            "+1",
            "1 ",
            " 1",
            "1,5",
            "1_000",
            "0x10",
            "NaN",
            "Infinity",
            "1e",
            "1e+",
            "1e99999",
            "1e40",
            "1e-40",
            "--1",
            "1.-5",
            "1.5.5",
            "１",
            "null",
            "$5",
            "1000000000000000000000000000000000000",
        ] {
            assert!(Decimal::read(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_point_moves_without_rounding() {
        for (text, exponent, moved) in [
            ("1234567", -4, "123.4567"),
            ("-1000", -2, "-10.00"),
            ("7", -4, "0.0007"),
            ("0.5", 2, "50"),
            ("0.1", 1, "1"),
            ("3", 3, "3000"),
        ] {
            let there = read(text).times_ten_to(exponent).unwrap();
            assert_eq!(there.to_string(), moved);
            assert_eq!(there.negated().negated(), there);
        }
        assert!(read("1").times_ten_to(36).is_none());
        assert!(read("1").times_ten_to(-37).is_none());
    }

    #[test]
    fn sums_are_exact_where_floats_are_not() {
        assert_eq!(read("0.1").plus(read("0.2")).unwrap().to_string(), "0.3");
        assert_ne!(0.1 + 0.2, 0.3, "the control");
        assert_eq!(
            read("9007199254740993")
                .plus(read("0.01"))
                .unwrap()
                .to_string(),
            "9007199254740993.01"
        );
        assert_eq!(
            read("5").plus(read("5.00").negated()).unwrap().to_string(),
            "0.00"
        );
        let most = read("999999999999999999999999999999999999");
        assert!(most.plus(read("1")).is_none());
        assert!(most.plus(read("0.1")).is_none());
    }

    #[test]
    fn numbers_compare_by_value() {
        assert_eq!(read("1.0"), read("1"));
        assert_eq!(read("-0"), read("0.00"));
        assert!(read("-1") < read("0.5") && read("4.99") < read("5"));
        let (most, least) = (
            read("999999999999999999999999999999999999"),
            read("0.00000000000000000000000000000000001"),
        );
        assert!(most > least && most.negated() < least && least > most.negated());
        assert!(least.negated() < most && least.negated() > most.negated());
        assert!(read("-0.01").is_negative() && !read("0").is_negative());
    }
}
