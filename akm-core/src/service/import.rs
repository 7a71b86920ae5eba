//! The arm for an import: keys that come in, a page at a time.
//!
//! Invariants: an import retains no plaintext between its pages: a key is sealed when it comes. It stores all of them in one
//! transaction or none, with an event for each, and then reads each back.
//!
//! Deliberately absent: every format. Reading what somebody wrote is the command's business, in a process that holds no
//! other key.

use std::collections::HashSet;

use data_encoding::HEXLOWER;

use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::name::KeyName;
use crate::protocol::{
    ImportOutcome, ImportReport, ImportRow, KeyRow, KeyStatus, MAX_IMPORT_PAGE, Op, VaultImport,
};
use crate::store::Id;
use crate::transfer::MAX_KEYS;
use crate::vault::{Record, SealedKeys};

use super::access::{Gate, pass};
use super::changes::{ALL, TWICE};
use super::transfer::{PAGE_KEYS, key_add, lock, over, parse_id, same};
use super::{Asked, Service};

/// An import between two pages.
pub(super) struct Import {
    pub(super) id: Id,
    pub(super) sealed: SealedKeys,
    names: HashSet<KeyName>,
    skip_existing: bool,
    pub(super) rows: usize,
    pub(super) unchanged: u64,
    skipped: u64,
    refused: u64,
}

impl Service {
    pub(super) fn import(&self, caller: &Caller, request: VaultImport) -> Result<ImportReport> {
        const OP: Op = Op::VaultImport;
        let finish = request.finish.unwrap_or(false);
        let mut request = Some(request);
        let (mut report, stored, seen) = self.asking(caller, OP, |asked| {
            // Only the last page changes anything.
            match finish {
                true => pass!(self.may_change(asked, ALL, "")?),
                false => self.check_may_change(asked, ALL)?,
            }
            let request = request.take().ok_or(TWICE)?;
            let (import, rows) = self.import_page(asked, request)?;
            let seen = asked.session.generation();
            let mut report = import.report(rows);
            if !finish {
                report.import = Some(HEXLOWER.encode(&import.id));
                *lock(&asked.session.transfers.import) = Some(import);
                return Ok(Gate::Done((report, Vec::new(), seen)));
            }
            self.store_import(asked, &import)?;
            let stored: Vec<(Id, KeyName)> = import
                .sealed
                .records()
                .iter()
                .map(|record| (record.id, record.name.clone()))
                .collect();
            Ok(Gate::Done((report, stored, seen)))
        })?;
        if finish {
            // In slices: a lock waits for one of them, not for all.
            for slice in stored.chunks(PAGE_KEYS as usize) {
                self.open_session(caller, OP, |asked| {
                    same(asked, seen)?;
                    slice
                        .iter()
                        .try_for_each(|(id, name)| self.read_back(asked, id, name))
                })?;
            }
            report.added = stored.len() as u64;
        }
        Ok(report)
    }

    /// Looks at the keys of a page and takes in those that are new.
    fn import_page(
        &self,
        asked: &Asked<'_>,
        request: VaultImport,
    ) -> Result<(Import, Vec<ImportRow>)> {
        if request.keys.len() > MAX_IMPORT_PAGE {
            return Err(Error::invalid("keys", "a page has at most 1000 keys"));
        }
        let id = request.import.as_deref();
        let id = id.map(|id| parse_id(id, "import")).transpose()?;
        let mut under_way = lock(&asked.session.transfers.import);
        let mut import = match (id, under_way.take()) {
            (None, _) => Import::new(self.transfer_id(), request.skip_existing.unwrap_or(false)),
            (Some(id), Some(import)) if import.id == id => import,
            (Some(_), other) => {
                *under_way = other;
                return Err(over("import"));
            }
        };
        drop(under_way);
        if request.import.is_some() && request.skip_existing.is_some() {
            return Err(Error::invalid(
                "skip_existing",
                "this is said with the first page of an import",
            ));
        }
        import.rows += request.keys.len();
        if import.rows > MAX_KEYS {
            return Err(Error::new(
                Kind::LimitReached,
                "an import has at most 20,000 keys",
            ));
        }
        let rows = request
            .keys
            .into_iter()
            .map(|row| self.import_row(asked, row, &mut import))
            .collect::<Result<_>>()?;
        Ok((import, rows))
    }

    /// An error of this is one of the vault; what is wrong with the row stands in the answer.
    pub(super) fn import_row(
        &self,
        asked: &Asked<'_>,
        row: KeyRow,
        import: &mut Import,
    ) -> Result<ImportRow> {
        let account = &asked.session.account;
        let status = match row.disabled {
            Some(true) => KeyStatus::Disabled,
            _ => KeyStatus::Active,
        };
        let new = match self.new_key(asked, key_add(row)) {
            Ok(new) => new,
            Err(error) => {
                import.refused += 1;
                return Ok(ImportRow {
                    outcome: ImportOutcome::Invalid,
                    field: error.field().map(str::to_owned),
                    message: Some(error.message().to_owned()),
                });
            }
        };
        let plainly = |outcome| ImportRow {
            outcome,
            field: None,
            message: None,
        };
        if !import.names.insert(new.name.clone()) {
            import.refused += 1;
            return Ok(ImportRow {
                field: Some("name".to_owned()),
                message: Some("the name stands in the import before".to_owned()),
                ..plainly(ImportOutcome::Conflict)
            });
        }
        let Some(existing) = self.vault.find_key(account, &new.name)? else {
            self.vault
                .seal_key(account, &new, status, &mut import.sealed)?;
            return Ok(plainly(ImportOutcome::Added));
        };
        if self
            .vault
            .open_secret(account, &existing)?
            .matches(&new.secret)
        {
            import.unchanged += 1;
            return Ok(plainly(ImportOutcome::Unchanged));
        }
        if import.skip_existing {
            import.skipped += 1;
            return Ok(plainly(ImportOutcome::Skipped));
        }
        import.refused += 1;
        Ok(ImportRow {
            message: Some("the key exists with another secret".to_owned()),
            ..plainly(ImportOutcome::Conflict)
        })
    }

    /// One transaction, with an event for each key.
    pub(super) fn store_import(&self, asked: &Asked<'_>, import: &Import) -> Result<()> {
        if import.refused > 0 {
            return Err(Error::new(
                Kind::Conflict,
                "some keys cannot be imported, so none was",
            ));
        }
        self.event(asked)?;
        if import.sealed.records().is_empty() {
            return Ok(());
        }
        let account = &asked.session.account;
        let limit = self.key_limit(account)?;
        let mut events = |records: &[Record]| {
            self.check_limit(account, limit)?;
            records
                .iter()
                .try_for_each(|record| self.key_event(asked, &record.id, &record.name))
        };
        self.vault
            .add_sealed_keys(account, &import.sealed, limit, &mut events)?;
        for record in import.sealed.records() {
            self.begin_life(asked.session, &record.terms());
        }
        Ok(())
    }

    /// Opens what was stored: the cipher shows that it is what was sealed.
    fn read_back(&self, asked: &Asked<'_>, id: &Id, name: &KeyName) -> Result<()> {
        let account = &asked.session.account;
        match self.vault.find_key(account, name)? {
            Some(opened) if opened.record.id == *id => {
                self.vault.open_secret(account, &opened).map(drop)
            }
            // Somebody was faster and removed or renamed it.
            _ => Ok(()),
        }
    }
}

impl Import {
    pub(super) fn new(id: Id, skip_existing: bool) -> Import {
        Import {
            id,
            sealed: SealedKeys::default(),
            names: HashSet::new(),
            skip_existing,
            rows: 0,
            unchanged: 0,
            skipped: 0,
            refused: 0,
        }
    }

    fn report(&self, rows: Vec<ImportRow>) -> ImportReport {
        ImportReport {
            import: None,
            rows,
            added: self.sealed.records().len() as u64,
            unchanged: self.unchanged,
            skipped: self.skipped,
            refused: self.refused,
        }
    }
}
