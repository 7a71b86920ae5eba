//! Between the wire's texts and the vault's types: times, records, fields.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::error::{Error, Result};
use crate::name::{MAX_CATEGORIES, MAX_CATEGORY, check_text};
use crate::protocol::{Key, KeyStatus};
use crate::provider::Destinations;
use crate::vault::{Record, Terms};

/// RFC 3339 UTC, to the millisecond, so that texts sort as times do.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// RFC 3339 UTC of Unix milliseconds.
pub(super) fn time_ms(ms: i64) -> String {
    time(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Reads a date (valid to its end, UTC) or an RFC 3339 time, as Unix milliseconds.
pub(super) fn parse_expiry(text: &str) -> Result<i64> {
    const FIELD: &str = "expires_at";
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_millisecond());
    }
    text.parse::<Date>()
        .ok()
        .filter(|_| text.len() == 10)
        // The last days of 9999, which some write for "never", are beyond what a timestamp holds.
        .map(|date| {
            let end = date.at(23, 59, 59, 0).to_zoned(TimeZone::UTC);
            end.map_or(LAST_MS, |end| end.timestamp().as_millisecond())
        })
        .ok_or(Error::invalid(
            FIELD,
            "a date is 2027-01-31, a time 2027-01-31T12:00:00Z",
        ))
}

/// The last second that a timestamp of whole milliseconds can be at: 9999-12-30T21:59:59Z.
const LAST_MS: i64 = 253_402_207_199_000;

/// Checks and orders categories.
pub(super) fn parse_categories(mut categories: Vec<String>) -> Result<Vec<String>> {
    const FIELD: &str = "categories";
    if categories.len() > MAX_CATEGORIES {
        return Err(Error::invalid(FIELD, "a key has at most 32 categories"));
    }
    for category in &categories {
        check_text(category, MAX_CATEGORY, FIELD)?;
        if category.trim() != category || category.is_empty() || category.contains(['\n', '\t']) {
            return Err(Error::invalid(
                FIELD,
                "a category is one line of text without spaces around it",
            ));
        }
    }
    categories.sort();
    categories.dedup();
    Ok(categories)
}

/// What may be done with a key now: its owner's mark, or the date.
pub(super) fn status(terms: &Terms, now_ms: i64) -> KeyStatus {
    match terms.status {
        KeyStatus::Active if terms.expires_at.is_some_and(|at| at <= now_ms) => KeyStatus::Expired,
        status => status,
    }
}

/// A record as everybody sees it. `standard` is the variable of its provider.
pub(super) fn key(record: &Record, now_ms: i64, standard: Option<String>) -> Result<Key> {
    let provider = record.name.provider().as_str();
    let destinations = Destinations::decode(&record.destinations)?;
    Ok(Key {
        name: record.name.to_string(),
        provider: provider.to_owned(),
        label: record.name.label().to_owned(),
        model: record.model.clone(),
        categories: record.categories.clone(),
        status: status(&record.terms(), now_ms),
        preview: record.preview.clone(),
        env: record.env.clone().or(standard),
        use_only: record.use_only,
        confirm: record.confirm,
        low_balance: record.low_balance.clone(),
        team: record.team.clone(),
        lifetime_s: record.lifetime_s,
        base_url: record.base_url.clone(),
        header: Some(destinations.header).filter(|header| !header.is_empty()),
        hosts: destinations.origins,
        notes: record.notes.clone(),
        version: record.secret_version,
        created_at: time_ms(record.created_at),
        updated_at: time_ms(record.updated_at),
        last_used_at: record.last_used_at.map(time_ms),
        expires_at: record.expires_at.map(time_ms),
        last_test: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_a_date_to_its_end_or_a_time() {
        assert_eq!(
            time_ms(parse_expiry("2027-01-31").unwrap()),
            "2027-01-31T23:59:59.000Z"
        );
        assert_eq!(
            time_ms(parse_expiry("2027-01-31T12:00:00+08:00").unwrap()),
            "2027-01-31T04:00:00.000Z"
        );
        assert_eq!(
            time_ms(parse_expiry("9999-12-31").unwrap()),
            "9999-12-30T21:59:59.000Z"
        );
        for bad in [
            "",
            "tomorrow",
            "-9999-01-01",
            "2027-02-30",
            "2027-01-31 12:00",
            "20270131",
            "2027-01-31T25:00:00Z",
        ] {
            assert_eq!(
                parse_expiry(bad).unwrap_err().field(),
                Some("expires_at"),
                "{bad}"
            );
        }
    }

    #[test]
    fn categories_are_a_set() {
        let parsed = parse_categories(vec!["b".into(), "a".into(), "b".into()]).unwrap();
        assert_eq!(parsed, ["a", "b"]);
        for bad in ["", " a", "a\nb", "\u{202e}"] {
            assert!(parse_categories(vec![bad.into()]).is_err(), "{bad:?}");
        }
        assert!(parse_categories(vec!["x".into(); 33]).is_err());
    }
}
