//! What is under way between an account and a file, or another account: what its arms (`export`, `import`, `handover`) share.
//!
//! Invariants: it stands in the session, so that it ends with it, wiped; there is one of each at most, and a new one takes the
//! place of the old. A next page is asked for with the random id of the one before.

use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;

use crate::error::{Error, Kind, Result};
use crate::protocol::{KeyAdd, KeyRow, KeyStatus};
use crate::secret::Secret;
use crate::store::Id;
use crate::vault::Record;

use super::export::Export;
use super::import::Import;
use super::session::Generation;
use super::{Asked, Service, handover, shape};

/// Most keys of a page, which is what a lock waits for.
pub(super) const PAGE_KEYS: u32 = 256;

/// What is on its way out of and into an account.
#[derive(Default)]
pub(super) struct Transfers {
    pub(super) export: Mutex<Option<Export>>,
    pub(super) import: Mutex<Option<Import>>,
    pub(super) handover: Mutex<handover::UnderWay>,
}

impl Service {
    pub(super) fn transfer_id(&self) -> Id {
        let mut id = Id::default();
        self.host.random.fill(&mut id);
        id
    }
}

/// A key as it leaves.
pub(super) fn key_row(record: &Record, secret: Secret) -> KeyRow {
    KeyRow {
        name: record.name.to_string(),
        secret,
        model: record.model.clone(),
        categories: record.categories.clone(),
        notes: record.notes.clone(),
        expires_at: record.expires_at.map(shape::time_ms),
        env: record.env.clone(),
        low_balance: record.low_balance.clone(),
        team: record.team.clone(),
        lifetime_s: record.lifetime_s,
        use_only: record.use_only.then_some(true),
        confirm: record.confirm.then_some(true),
        base_url: record.base_url.clone(),
        disabled: (record.status == KeyStatus::Disabled).then_some(true),
    }
}

/// A key as it is added.
pub(super) fn key_add(row: KeyRow) -> KeyAdd {
    KeyAdd {
        name: row.name,
        secret: row.secret,
        model: row.model,
        categories: row.categories,
        notes: row.notes,
        expires_at: row.expires_at,
        env: row.env,
        low_balance: row.low_balance,
        team: row.team,
        lifetime_s: row.lifetime_s,
        use_only: row.use_only,
        confirm: row.confirm,
        base_url: row.base_url,
    }
}

pub(super) fn same(asked: &Asked<'_>, seen: Generation) -> Result<()> {
    match asked.session.generation() == seen {
        true => Ok(()),
        false => Err(Error::locked()),
    }
}

pub(super) fn needs(message: &'static str) -> Error {
    Error::new(Kind::Denied, message).with_field("passphrase")
}

/// What was under way has ended, or another one took its place.
pub(super) fn over(field: &'static str) -> Error {
    Error::new(Kind::NotFound, "it is not under way").with_field(field)
}

pub(super) fn parse_id(text: &str, field: &'static str) -> Result<Id> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Error::invalid(
            field,
            "this does not come from a page before",
        ))
}

pub(super) fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
