//! Amounts: integers in the smallest unit of a currency. No floating point anywhere.

use crate::error::{Error, Kind, Result};

const BAD: Error = Error::new(Kind::InvalidInput, "an amount is not one");

/// How many decimals the smallest unit of a currency is away; `None` for one that is not taken.
pub fn decimals(currency: &str) -> Option<u32> {
    match currency {
        "CNY" | "USD" | "EUR" | "GBP" | "HKD" | "TWD" | "SGD" => Some(2),
        "JPY" | "KRW" => Some(0),
        "KWD" | "BHD" => Some(3),
        _ => None,
    }
}

/// Reads `digits[.digits]` with at most `decimals` of them behind the point: `"5.00"` is 500 fen. Signs, exponents, spaces,
/// thousands separators and everything else are refused, and so is what does not fit.
pub fn minor(text: &str, decimals: u32) -> Result<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let places = decimals as usize;
    if whole.is_empty()
        || part.len() > places
        || (part.is_empty() && text.contains('.'))
        || !whole
            .bytes()
            .chain(part.bytes())
            .all(|b| b.is_ascii_digit())
    {
        return Err(BAD);
    }
    let zeros = std::iter::repeat_n(b'0', places - part.len());
    whole
        .bytes()
        .chain(part.bytes())
        .chain(zeros)
        .try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        })
        .ok_or(BAD)
}

/// An amount in the smallest unit of its currency, for people: 500 fen is `5.00 CNY`, 500 yen are `500 JPY`.
pub fn shown(amount: i64, currency: &str) -> String {
    let places = decimals(currency).unwrap_or(0) as usize;
    let sign = if amount < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", amount.unsigned_abs(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    match part {
        "" => format!("{sign}{whole} {currency}"),
        part => format!("{sign}{whole}.{part} {currency}"),
    }
}

/// Shares an amount over months: the first ones get what does not divide, the sum stays.
pub fn split(total: i64, parts: u32) -> Result<Vec<i64>> {
    if total < 0 || parts == 0 || parts > super::term::MAX_MONTHS {
        return Err(BAD);
    }
    let (each, rest) = (total / i64::from(parts), total % i64::from(parts));
    Ok((0..i64::from(parts))
        .map(|part| each + i64::from(part < rest))
        .collect())
}
