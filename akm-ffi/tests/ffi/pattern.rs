//! The small language of the conformance files: `${…}` in requests, `$…` in expected results.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_NOPAD;
use serde_json::Value;

/// What a case knows: addresses it was given, texts it saved from results.
#[derive(Debug, Default)]
pub(crate) struct Known(BTreeMap<String, String>);

impl Known {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Replaces `${name}`, `${totp name}` and `${totp+1 name}` (the code of the next step) in every text.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill_text(text)),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.fill(value)))
                .collect(),
            other => other.clone(),
        }
    }

    pub(crate) fn fill_text(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (word, after) = after.split_once('}').expect("a placeholder ends");
            out.push_str(before);
            out.push_str(&self.word(word));
            rest = after;
        }
        out + rest
    }

    fn word(&self, word: &str) -> String {
        let get = |name: &str| {
            self.0
                .get(name)
                .unwrap_or_else(|| panic!("nothing was saved as {name}"))
                .clone()
        };
        match word.split_once(' ') {
            None => get(word),
            Some(("totp", name)) => totp(&get(name), 0),
            Some(("totp+1", name)) => totp(&get(name), 1),
            Some(("wrong", name)) => wrong_totp(&get(name)),
            Some(("long", count)) => "x".repeat(count.parse().expect("a number")),
            Some(_) => panic!("the placeholder {word} is unknown"),
        }
    }

    /// Compares; says where they differ. Objects may have more fields than the pattern.
    pub(crate) fn fits(
        &mut self,
        pattern: &Value,
        value: &Value,
        path: &str,
    ) -> Result<(), String> {
        let differs = || Err(format!("{path}: expected {pattern}, got {value}"));
        match (pattern, value) {
            (Value::String(word), _) if word.starts_with('$') && !word.starts_with("${") => {
                self.fits_word(word, value).unwrap_or_else(differs)
            }
            (Value::String(text), Value::String(got)) if self.fill_text(text) == *got => Ok(()),
            (Value::Array(items), Value::Array(got)) => {
                self.fits_list(items, got, path).unwrap_or_else(differs)
            }
            (Value::Object(fields), Value::Object(got)) => {
                for (name, pattern) in fields {
                    let path = format!("{path}.{name}");
                    match (pattern.as_str() == Some("$absent"), got.get(name)) {
                        (true, None) => {}
                        (true, Some(got)) => {
                            return Err(format!("{path}: expected nothing, got {got}"));
                        }
                        (false, None) => {
                            return Err(format!("{path}: expected {pattern}, got nothing"));
                        }
                        (false, Some(got)) => self.fits(pattern, got, &path)?,
                    }
                }
                Ok(())
            }
            _ if pattern == value => Ok(()),
            _ => differs(),
        }
    }

    /// `$any`, `$text`, `$number`, `$time`, and `$save NAME` for a text.
    fn fits_word(&mut self, word: &str, value: &Value) -> Option<Result<(), String>> {
        let fits = match (word, value) {
            ("$any", _) => !value.is_null(),
            ("$text", Value::String(text)) => !text.is_empty(),
            ("$number", _) => value.is_u64(),
            ("$time", Value::String(text)) => is_time(text),
            (_, Value::String(text)) => match word.strip_prefix("$save ") {
                Some(name) => {
                    self.set(name, text.clone());
                    true
                }
                None => panic!("the pattern {word} is unknown"),
            },
            _ => false,
        };
        fits.then_some(Ok(()))
    }

    /// In order; `"..."` at the end stands for any number more, `"$unordered"` in front for any order.
    fn fits_list(
        &mut self,
        items: &[Value],
        got: &[Value],
        path: &str,
    ) -> Option<Result<(), String>> {
        if items.first().and_then(Value::as_str) == Some("$unordered") {
            return self.fits_unordered(&items[1..], got);
        }
        let (items, open) = match items.split_last() {
            Some((last, items)) if last == "..." => (items, true),
            _ => (items, false),
        };
        if got.len() < items.len() || (!open && got.len() > items.len()) {
            return None;
        }
        let all = items.iter().zip(got).enumerate();
        Some(
            all.map(|(index, (item, got))| (index, item, got))
                .try_for_each(|(index, item, got)| {
                    self.fits(item, got, &format!("{path}[{index}]"))
                }),
        )
    }

    fn fits_unordered(&mut self, items: &[Value], got: &[Value]) -> Option<Result<(), String>> {
        let mut left: Vec<&Value> = got.iter().collect();
        for item in items {
            let index = left
                .iter()
                .position(|got| self.fits(item, got, "").is_ok())?;
            left.remove(index);
        }
        left.is_empty().then_some(Ok(()))
    }
}

/// `2027-01-31T23:59:59.000Z`: of one length, so that texts sort as times do.
fn is_time(text: &str) -> bool {
    let layout = "0000-00-00T00:00:00.000Z";
    text.len() == layout.len()
        && layout
            .bytes()
            .zip(text.bytes())
            .all(|(wanted, got)| got == wanted || (wanted == b'0' && got.is_ascii_digit()))
}

/// The code of a base32 secret, `ahead` steps from now. The next step's code is always accepted: if the step ends
/// in between, it is the current one's.
fn totp(secret: &str, ahead: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_secs();
    let bytes = BASE32_NOPAD
        .decode(secret.as_bytes())
        .expect("the secret is base32");
    let bytes: [u8; 20] = bytes.try_into().expect("the secret has 160 bits");
    let totp = totp_rs::Builder::new()
        .with_secret(bytes)
        .with_digits(6)
        .with_step_duration(30)
        .build();
    totp.expect("these parameters are RFC 6238's")
        .generate(now.saturating_add_signed(30 * ahead))
        .to_string()
}

/// A code of none of the steps around now.
fn wrong_totp(secret: &str) -> String {
    let right: Vec<String> = (-1..3).map(|ahead| totp(secret, ahead)).collect();
    let mut candidates = (0..).map(|number: u32| format!("{number:06}"));
    candidates
        .find(|code| !right.contains(code))
        .expect("there are a million codes")
}
