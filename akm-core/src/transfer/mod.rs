//! Keys as files: what an export looks like inside, and how it is read back.
//!
//! Three formats: `json` (akm's own, everything that is known of a key), `cxf` (FIDO Credential Exchange Format) and `env`.
//! A file sealed with a passphrase is one of these inside the age format, which `crypto::age` knows.
//!
//! Invariants: a writer adds one key at a time and holds no other; a reader takes bytes whose length was bounded
//! ([`MAX_FILE`]), returns at most [`MAX_KEYS`] keys, and its errors name a place and never content. Nothing is checked
//! here that the vault checks: a row that is read is not yet a key.
//!
//! Beside them are read: lists and databases of the system that akm takes up (`manager`); and sealed for another account: a
//! hand-over (`handover`).
//!
//! Deliberately absent: files and their modes, terminals, other tools' formats, old versions of secrets (those rest in
//! the vault and its backups).

use std::collections::HashSet;

use zeroize::Zeroizing;

use crate::crypto::age;
use crate::error::{Error, Result};
use crate::protocol::{ExportFormat, KeyRow};
use crate::store::Id;

mod cxf;
mod env;
pub(crate) mod handover;
mod json;
pub mod manager;
#[cfg(test)]
mod tests;

/// Longest file that is read.
pub const MAX_FILE: usize = 64 * 1024 * 1024;
/// Most keys in one file, and in one import.
pub const MAX_KEYS: usize = 20_000;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Sealed with a passphrase; what is inside shows once it is opened.
    Age,
    /// A list of keys of LLM API Manager, in clear.
    Manager,
    /// A database of LLM API Manager; its settings open the keys.
    ManagerDatabase,
    /// In clear.
    Plain(ExportFormat),
}

/// What a file of this content is, judged by its beginning.
pub fn detect(file: &[u8]) -> Result<FileFormat> {
    if age::is_age(file) {
        return Ok(FileFormat::Age);
    }
    if manager::is_database(file) {
        return Ok(FileFormat::ManagerDatabase);
    }
    let start = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    if start.trim_ascii_start().first() == Some(&b'[') {
        return Ok(FileFormat::Manager);
    }
    Ok(FileFormat::Plain(match start.trim_ascii_start().first() {
        None => return Err(Error::invalid("file", "the file is empty")),
        Some(b'{') if json::is_ours(start) => ExportFormat::Json,
        Some(b'{') => ExportFormat::Cxf,
        Some(_) => ExportFormat::Env,
    }))
}

/// What stands in a file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Its keys, unchecked.
    pub keys: Vec<KeyRow>,
    /// How many other things stand in it that are no keys.
    pub ignored: u64,
}

/// Reads a file that is in clear.
pub fn parse(format: ExportFormat, file: &[u8]) -> Result<Parsed> {
    if file.len() > MAX_FILE {
        return Err(Error::invalid("file", "the file is longer than 64 MiB"));
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let text = std::str::from_utf8(file)
        .map_err(|_| Error::invalid("file", "the file is not UTF-8 text"))?;
    let parsed = match format {
        ExportFormat::Json => json::parse(text),
        ExportFormat::Cxf => cxf::parse(text),
        ExportFormat::Env => env::parse(text),
    }?;
    if parsed.keys.len() > MAX_KEYS {
        return Err(Error::invalid(
            "file",
            "the file holds more than 20,000 keys",
        ));
    }
    Ok(parsed)
}

/// What a writer puts beside a row, where its format has a place for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) id: Id,
    /// Unix milliseconds.
    pub(crate) created_at: i64,
    /// Unix milliseconds.
    pub(crate) updated_at: i64,
}

/// Writes an export, key by key.
#[derive(Debug)]
pub(crate) struct Writer {
    format: ExportFormat,
    rows: u64,
    /// The variables of an `env` that are taken.
    variables: HashSet<String>,
}

impl Writer {
    /// Begins one of this account, made at this time (Unix milliseconds).
    pub(crate) fn begin(
        format: ExportFormat,
        account: &Id,
        now_ms: i64,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Writer {
        match format {
            ExportFormat::Json => json::begin(now_ms, out),
            ExportFormat::Cxf => cxf::begin(account, now_ms, out),
            ExportFormat::Env => env::begin(out),
        }
        Writer {
            format,
            rows: 0,
            variables: HashSet::new(),
        }
    }

    /// Whether keys that have a better right to their variable must come first.
    pub(crate) fn wants_defaults_first(&self) -> bool {
        self.format == ExportFormat::Env
    }

    /// How many keys were written.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes a key.
    pub(crate) fn row(
        &mut self,
        row: &KeyRow,
        origin: &Origin,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<()> {
        if self.rows > 0 && self.format != ExportFormat::Env {
            out.push(b',');
        }
        out.push(b'\n');
        self.rows += 1;
        match self.format {
            ExportFormat::Json => append(row, out),
            ExportFormat::Cxf => cxf::row(row, origin, out),
            ExportFormat::Env => env::row(row, &mut self.variables, out),
        }
    }

    /// Ends it.
    pub(crate) fn end(self, out: &mut Zeroizing<Vec<u8>>) {
        out.extend_from_slice(match self.format {
            ExportFormat::Json => json::END,
            ExportFormat::Cxf => cxf::END,
            ExportFormat::Env => b"",
        });
    }
}

/// Writes a value as JSON behind what is there.
fn append<T: serde::Serialize>(value: &T, out: &mut Zeroizing<Vec<u8>>) -> Result<()> {
    serde_json::to_writer(&mut **out, value)
        .map_err(|_| Error::internal("a key could not be written as JSON"))
}

/// Names the place of an error and nothing that stands there.
fn misread(error: &serde_json::Error, message: &'static str) -> Error {
    Error::invalid("file", message).with_hint(format!(
        "look at line {}, column {}",
        error.line(),
        error.column()
    ))
}
