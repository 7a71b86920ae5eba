//! Lines of `NAME='secret'`, as shells and dotenv libraries read them.
//!
//! ```text
//! # akm://openai/work https://proxy.example/v1
//! OPENAI_API_KEY='sk-…'
//! # akm://openai/home
//! # akm {"use_only":true}
//! #OPENAI_API_KEY='sk-…'
//! ```
//!
//! A comment names the key that the next line belongs to, and its base URL, if it has one of its own: brought in again,
//! it must not be sent elsewhere. A second comment holds what else is known of it: a key that is only ever used, confirmed or
//! switched off must not come back as one that is not. Of two keys with one variable the first has it; the other is kept in a
//! comment, and so is one that is switched off. In a file that akm did not write a variable is the default key of the provider
//! that it is the standard variable of, and any other variable is passed over.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Parsed, append};
use crate::error::{Error, Result};
use crate::name::{KeyName, check_env};
use crate::protocol::KeyRow;
use crate::provider::Catalogue;
use crate::secret::Secret;

const SCHEME: &str = "akm://";
/// What begins the comment with what else is known of a key.
const KNOWN: &str = "akm {";

/// What is known of a key beside its name, variable, address and secret.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Known {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_balance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<bool>,
}

impl Known {
    fn of(row: &KeyRow) -> Known {
        Known {
            model: row.model.clone(),
            categories: row.categories.clone(),
            notes: row.notes.clone(),
            expires_at: row.expires_at.clone(),
            low_balance: row.low_balance.clone(),
            team: row.team.clone(),
            lifetime_s: row.lifetime_s,
            use_only: row.use_only,
            confirm: row.confirm,
            disabled: row.disabled,
        }
    }

    fn says_something(&self) -> bool {
        let Known {
            model,
            categories,
            notes,
            expires_at,
            low_balance,
            team,
            lifetime_s,
            use_only,
            confirm,
            disabled,
        } = self;
        let texts = [model, notes, expires_at, low_balance, team];
        let marks = [use_only, confirm, disabled];
        texts.iter().any(|text| text.is_some())
            || !categories.is_empty()
            || lifetime_s.is_some()
            || marks.iter().any(|mark| mark.is_some())
    }
}

pub(super) fn begin(out: &mut Zeroizing<Vec<u8>>) {
    out.extend_from_slice(
        b"# Exported by akm. Each line belongs to the key that is named before it.",
    );
}

pub(super) fn row(
    row: &KeyRow,
    taken: &mut HashSet<String>,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<()> {
    let provider = row.name.split('/').next().unwrap_or_default();
    let variable = row
        .env
        .clone()
        .or_else(|| standard(provider))
        .unwrap_or_else(|| made_up(provider));
    out.extend_from_slice(b"# ");
    out.extend_from_slice(SCHEME.as_bytes());
    out.extend_from_slice(row.name.as_bytes());
    if let Some(base_url) = &row.base_url {
        // A space cannot stand in a URL, so the last word is it, whatever stands in the label.
        out.push(b' ');
        out.extend_from_slice(base_url.as_bytes());
    }
    out.push(b'\n');
    let known = Known::of(row);
    if known.says_something() {
        out.extend_from_slice(b"# akm ");
        append(&known, out)?;
        out.push(b'\n');
    }
    if row.disabled == Some(true) || !taken.insert(variable.clone()) {
        out.push(b'#');
    }
    out.extend_from_slice(variable.as_bytes());
    out.push(b'=');
    quote(row.secret.expose(), out);
    out.push(b'\n');
    Ok(())
}

fn standard(provider: &str) -> Option<String> {
    Catalogue::builtin()
        .provider(provider)
        .map(|provider| provider.env.primary.clone())
}

/// For a provider whose variable nobody knows.
fn made_up(provider: &str) -> String {
    let name = provider.to_ascii_uppercase().replace('-', "_");
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("AKM_{name}_API_KEY"),
        false => format!("{name}_API_KEY"),
    }
}

/// In single quotes, where every reader takes the text as it is; in double ones where it has a single one itself.
fn quote(secret: &str, out: &mut Zeroizing<Vec<u8>>) {
    if !secret.contains('\'') {
        out.push(b'\'');
        out.extend_from_slice(secret.as_bytes());
        out.push(b'\'');
        return;
    }
    out.push(b'"');
    for byte in secret.bytes() {
        if matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// The key that the next variable belongs to.
struct Named<'a> {
    name: &'a str,
    base_url: Option<&'a str>,
    known: Known,
}

pub(super) fn parse(text: &str) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut named: Option<Named<'_>> = None;
    for (index, line) in text.lines().enumerate() {
        let misread = |message| {
            Error::invalid("file", message).with_hint(format!("look at line {}", index + 1))
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let assignment = match line.strip_prefix('#') {
            None => line,
            Some(comment) => {
                if let Some(reference) = comment.trim_start().strip_prefix(SCHEME) {
                    named = Some(name(reference));
                    continue;
                }
                if let (Some(named), true) = (&mut named, comment.trim_start().starts_with(KNOWN)) {
                    let json = comment.trim_start().trim_start_matches("akm ");
                    named.known = serde_json::from_str(json)
                        .map_err(|_| misread("what is known of a key is not what akm wrote"))?;
                    continue;
                }
                // What we commented out ourselves is a key; what somebody else did is not.
                match comment.split_once('=') {
                    Some((variable, _))
                        if named.is_some() && check_env(variable, "env").is_ok() =>
                    {
                        comment
                    }
                    _ => continue,
                }
            }
        };
        let assignment = assignment.strip_prefix("export ").unwrap_or(assignment);
        let Some((variable, value)) = assignment.split_once('=') else {
            return Err(misread("a line is neither a variable nor a comment"));
        };
        let variable = variable.trim();
        check_env(variable, "file")
            .map_err(|_| misread("a line does not begin with a variable"))?;
        let secret =
            unquote(value.trim()).ok_or_else(|| misread("the quotes of a line do not end"))?;
        match named.take().map_or_else(|| known(variable), Some) {
            Some(named) => parsed.keys.push(key(named, variable, secret)),
            None => parsed.ignored += 1,
        }
    }
    Ok(parsed)
}

fn name(reference: &str) -> Named<'_> {
    match reference.rsplit_once(' ') {
        Some((name, url)) if url.contains("://") => Named {
            name,
            base_url: Some(url),
            known: Known::default(),
        },
        _ => Named {
            name: reference,
            base_url: None,
            known: Known::default(),
        },
    }
}

/// The provider that reads its key from this variable.
fn known(variable: &str) -> Option<Named<'static>> {
    let provider = Catalogue::builtin().providers().iter().find(|provider| {
        provider.env.primary == variable
            || provider.env.aliases.iter().any(|alias| alias == variable)
    })?;
    Some(Named {
        name: &provider.id,
        base_url: None,
        known: Known::default(),
    })
}

fn key(named: Named<'_>, variable: &str, secret: Secret) -> KeyRow {
    let Named {
        name,
        base_url,
        known,
    } = named;
    // Its own variable only where the provider has another.
    let usual = KeyName::parse(name, "name").ok().map(|name| {
        let provider = name.provider().as_str();
        let mut usual = Catalogue::builtin()
            .provider(provider)
            .map_or_else(Vec::new, |provider| {
                let mut usual = provider.env.aliases.clone();
                usual.push(provider.env.primary.clone());
                usual
            });
        if usual.is_empty() {
            usual.push(made_up(provider));
        }
        usual
    });
    let own = usual.is_some_and(|usual| !usual.iter().any(|usual| usual == variable));
    KeyRow {
        name: name.to_owned(),
        secret,
        model: known.model,
        categories: known.categories,
        notes: known.notes,
        expires_at: known.expires_at,
        env: own.then(|| variable.to_owned()),
        low_balance: known.low_balance,
        team: known.team,
        lifetime_s: known.lifetime_s,
        use_only: known.use_only,
        confirm: known.confirm,
        base_url: base_url.map(str::to_owned),
        disabled: known.disabled,
    }
}

/// A value without its quotes; `None` if they do not end. Without quotes, a comment may follow.
fn unquote(value: &str) -> Option<Secret> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (text, rest) = rest.split_once('\'')?;
        return is_comment(rest).then(|| Secret::new(text.to_owned()));
    }
    let Some(rest) = value.strip_prefix('"') else {
        let text = value.split(" #").next().unwrap_or_default();
        return Some(Secret::new(text.trim_end().to_owned()));
    };
    // As long as it can become from the start, so that it never moves and leaves a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(rest.len()));
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    is_comment(chars.as_str()).then(|| Secret::new(std::mem::take(&mut *text)))
}

fn is_comment(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}
