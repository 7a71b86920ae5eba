//! Keys of LLM API Manager (ikunfydeos-tech/APIKey), the system that akm takes up: its JSON, and its SQLite database.
//!
//! ```text
//! Fernet key = PBKDF2-HMAC-SHA256(ENCRYPTION_KEY cut or filled with "0" to 32 bytes,
//!                                 ENCRYPTION_SALT likewise to 16 bytes, 100,000 rounds, 32 bytes)
//! ```
//!
//! Read from its models and settings at commit e5104ee (MIT); no code of it is used. One server secret seals the keys of all
//! users, so whoever has the database and its settings reads everybody's: an import is of one user. Its lists hold no
//! secrets, only previews: such rows are counted and left out. A provider that the catalogue knows is reached where the
//! catalogue says, because some addresses of that system are of interfaces that take no such key; any other keeps its own.

use std::path::Path;

use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::{MAX_KEYS, Parsed, misread};
use crate::crypto::fernet;
use crate::error::{Error, Kind, Result};
use crate::name::ProviderId;
use crate::protocol::KeyRow;
use crate::provider::Catalogue;
use crate::secret::Secret;
use crate::store::read_manager;

/// Salt of an installation that set none.
const DEFAULT_SALT: &str = "dev-salt-16-byte";
const ROUNDS: u32 = 100_000;
/// Longest label in bytes.
const MAX_LABEL: usize = 100;
/// What a SQLite database begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Whether a file is a SQLite database.
pub fn is_database(file: &[u8]) -> bool {
    file.starts_with(SQLITE)
}

/// What the database is read with: two settings of the server that wrote it.
pub struct Settings {
    key: Secret,
    salt: Secret,
}

impl Settings {
    /// Reads them from the text of its `.env` file.
    pub fn read(text: &str) -> Result<Settings> {
        let value = |name: &str| {
            text.lines().rev().find_map(|line| {
                let (key, value) = line.trim().split_once('=')?;
                let value = value.trim();
                let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
                let bare = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
                (key.trim() == name && !bare.is_empty()).then(|| Secret::new(bare.to_owned()))
            })
        };
        Ok(Settings {
            key: value("ENCRYPTION_KEY").ok_or(
                Error::invalid("settings", "the settings have no ENCRYPTION_KEY")
                    .with_hint("it stands in the .env file of the server, or in its environment"),
            )?,
            salt: value("ENCRYPTION_SALT").unwrap_or_else(|| Secret::new(DEFAULT_SALT.to_owned())),
        })
    }

    fn fernet(&self) -> Result<fernet::Key> {
        fernet::Key::derive(&filled(&self.key, 32), &filled(&self.salt, 16), ROUNDS)
    }
}

/// Cut, or filled with the character zero.
fn filled(text: &Secret, length: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    bytes.extend(text.expose().bytes().take(length));
    bytes.resize(length, b'0');
    bytes
}

/// A row of a file in JSON. What else stands in it is not wanted.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    provider_name: Option<String>,
    key_name: String,
    #[serde(default)]
    api_key: Option<String>,
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    notes: Option<String>,
    #[serde(default)]
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    List(Vec<Row>),
    Keys { keys: Vec<Row> },
    Data { data: Vec<Row> },
}

/// Reads an answer or an export of it.
pub fn parse(file: &[u8]) -> Result<Parsed> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let rows = match serde_json::from_slice(file)
        .map_err(|error| misread(&error, "the file is not a list of keys of LLM API Manager"))?
    {
        File::List(rows) | File::Keys { keys: rows } | File::Data { data: rows } => rows,
    };
    let mut parsed = Parsed::default();
    for mut row in rows {
        let Some(secret) = row.api_key.take().filter(|secret| !secret.is_empty()) else {
            parsed.ignored += 1;
            continue;
        };
        parsed.keys.push(key(
            Found {
                provider: row.provider_name.as_deref(),
                display: None,
                base_url: None,
                label: &row.key_name,
                model: row.model_id.take(),
                status: row.status.as_deref(),
                notes: row.notes.take(),
                expires_at: row.expires_at.take(),
            },
            Secret::new(secret),
        ));
    }
    Ok(parsed)
}

/// Reads the keys of one user in a database; without a name, of the only one who has any.
pub fn read_database(path: &Path, settings: &Settings, user: Option<&str>) -> Result<Parsed> {
    let rows = read_manager(path, user, MAX_KEYS)?;
    if let Some(first) = rows.first()
        && rows.iter().any(|row| row.user != first.user)
    {
        return Err(
            Error::invalid("user", "the database has keys of several users")
                .with_hint("say whose with --user NAME"),
        );
    }
    let fernet = settings.fernet()?;
    let mut parsed = Parsed::default();
    for row in rows {
        let plain = fernet.open(&row.encrypted).map_err(|_| {
            Error::new(
                Kind::WrongCredentials,
                "the settings do not open the keys of the database",
            )
            .with_field("settings")
            .with_hint("they must be those of the server that wrote it")
        })?;
        let secret = Secret::from_utf8(plain.to_vec())
            .ok_or(Error::invalid("file", "a key of the database is not text"))?;
        parsed.keys.push(key(
            Found {
                provider: row.provider.as_deref(),
                display: row.display.as_deref(),
                base_url: row.base_url,
                label: &row.label,
                model: row.model,
                status: row.status.as_deref(),
                notes: row.notes,
                expires_at: row.expires_at,
            },
            secret,
        ));
    }
    Ok(parsed)
}

struct Found<'a> {
    provider: Option<&'a str>,
    display: Option<&'a str>,
    base_url: Option<String>,
    label: &'a str,
    model: Option<String>,
    status: Option<&'a str>,
    notes: Option<String>,
    expires_at: Option<String>,
}

fn key(found: Found<'_>, secret: Secret) -> KeyRow {
    let named = [found.provider, found.display].into_iter().flatten();
    let known = named.clone().find_map(known);
    let provider = match known {
        Some(id) => id.to_owned(),
        None => named
            .map(slug)
            .find(|id| !id.is_empty())
            .unwrap_or_else(|| "unknown".to_owned()),
    };
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    KeyRow {
        name: format!("{provider}/{}", label(found.label)),
        secret,
        model: text(found.model),
        categories: Vec::new(),
        notes: text(found.notes),
        expires_at: text(found.expires_at).map(|time| utc(&time)),
        env: None,
        low_balance: None,
        lifetime_s: None,
        team: None,
        use_only: None,
        confirm: None,
        base_url: match known {
            Some(_) => None,
            None => text(found.base_url),
        },
        disabled: (found.status == Some("inactive")).then_some(true),
    }
}

/// The provider of the catalogue that is meant by a name, as that system writes it.
fn known(name: &str) -> Option<&'static str> {
    let catalogue = Catalogue::builtin();
    let folded = name.trim().to_lowercase();
    if folded == "azure" {
        return catalogue
            .provider("azure-openai")
            .map(|known| known.id.as_str());
    }
    if let Ok(id) = ProviderId::parse(&folded, "provider")
        && let Some(known) = catalogue.provider(id.as_str())
    {
        return Some(known.id.as_str());
    }
    let plain = |text: &str| -> String {
        text.to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect()
    };
    let plain_name = plain(name);
    // "Zhipu AI" is meant by zhipu, "Google Gemini" by the name it begins with.
    catalogue
        .providers()
        .iter()
        .find(|known| {
            plain(&known.display_name) == plain_name || plain(&known.display_name_zh) == plain_name
        })
        .or_else(|| {
            let first = name.split_whitespace().next()?.to_lowercase();
            catalogue.provider(&first)
        })
        .map(|known| known.id.as_str())
}

/// Letters and digits of a name, as an id is written.
fn slug(name: &str) -> String {
    let mut id = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => id.push(c),
            _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            _ => {}
        }
    }
    id.truncate(64);
    id.trim_end_matches('-').to_owned()
}

/// A label without what cannot stand in one, cut at its longest.
fn label(name: &str) -> String {
    let mut label: String = name
        .trim()
        .chars()
        .map(|c| if c == '/' || c.is_control() { '-' } else { c })
        .collect();
    while label.len() > MAX_LABEL {
        label.pop();
    }
    label.trim().to_owned()
}

/// Its times are UTC and do not say so.
fn utc(time: &str) -> String {
    let time = time.trim().replacen(' ', "T", 1);
    if time.len() <= 10 || time.ends_with('Z') || time[10..].contains('+') {
        time
    } else {
        format!("{time}Z")
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if let Some(secret) = &mut self.api_key {
            secret.zeroize();
        }
    }
}
