//! The arms for export and import: all keys of an account, a page at a time.
//!
//! What is under way stands in the session, so that it ends with it, wiped; there is one of each at most, and a new one
//! takes the place of the old. An export is not a snapshot: every key that exists from its beginning to its end is in it, as it
//! was when its page was made.
//!
//! Invariants: plaintext leaves only with the account's passphrase in the request that begins it, and a use-only key only sealed and
//! with that passphrase; a burned key never. The agent seals, so that without the passphrase nothing but a sealed file comes
//! out. Each key's event is written before its page leaves. An import retains no plaintext between its pages: a key is sealed
//! when it comes. It stores all of them in one transaction or none, and then reads each back.
//!
//! Deliberately absent: files, names of files, and every format on the way in. Reading what somebody wrote is the
//! command's business, in a process that holds no other key.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use crate::audit::Caller;
use crate::crypto::age::Sealer;
use crate::error::{Error, Kind, Result};
use crate::name::{KeyName, MAX_PASSPHRASE};
use crate::protocol::{
    ExportPage, ImportOutcome, ImportReport, ImportRow, KeyAdd, KeyRow, KeyStatus, MAX_IMPORT_PAGE,
    Op, VaultExport, VaultImport,
};
use crate::secret::Secret;
use crate::store::Id;
use crate::transfer::{MAX_KEYS, Origin, Writer};
use crate::vault::{Record, SealedKeys};

use super::access::{Gate, pass};
use super::changes::{ALL, TWICE};
use super::session::Generation;
use super::{Asked, Service, handover, shape};

/// A page ends with the key that takes it beyond this many bytes: far below what a client accepts.
const PAGE_BYTES: usize = 512 * 1024;
/// Most keys of a page, which is what a lock waits for.
pub(super) const PAGE_KEYS: u32 = 256;

/// What is on its way out of and into an account.
#[derive(Default)]
pub(super) struct Transfers {
    export: Mutex<Option<Export>>,
    import: Mutex<Option<Import>>,
    pub(super) handover: Mutex<handover::UnderWay>,
}

/// An export between two pages.
struct Export {
    id: Id,
    writer: Writer,
    sealer: Option<Sealer>,
    use_only: bool,
    /// Whether the passphrase came with it, which is a person's word for every key.
    confirmed: bool,
    pass: Pass,
    /// The last key that was looked at.
    after: Option<Id>,
}

impl Export {
    fn leaves_out(&self, record: &Record) -> bool {
        record.use_only && !self.use_only || record.confirm && !self.confirmed
    }
}

/// Which keys a way through the account takes along.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    All,
    /// Those with a better right to their variable: a provider's default key, or one that names it.
    Defaults,
    Others,
}

impl Pass {
    fn takes(self, record: &Record) -> bool {
        let is_default = record.name.label() == "default" || record.env.is_some();
        match self {
            Pass::All => true,
            Pass::Defaults => is_default,
            Pass::Others => !is_default,
        }
    }
}

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

/// What begins an export, checked.
struct Beginning<'a> {
    request: &'a VaultExport,
    sealer: Option<Sealer>,
    /// The beginning of the sealed file.
    head: Vec<u8>,
}

impl Service {
    pub(super) fn export(&self, caller: &Caller, request: VaultExport) -> Result<ExportPage> {
        const OP: Op = Op::VaultExport;
        if let Some(after) = &request.after {
            return self.open_session(caller, OP, |asked| self.next_page(asked, after, &request));
        }
        match &request.passphrase {
            Some(passphrase) => self.stepped_up(
                caller,
                OP,
                passphrase,
                |_| self.seal_with(&request),
                |asked, _, beginning| self.begin_export(asked, beginning),
            ),
            None => {
                let seen = self.open_session(caller, OP, |asked| {
                    if request.seal.is_none() {
                        return Err(needs("an export in plaintext needs the passphrase"));
                    }
                    if request.use_only.unwrap_or(false) {
                        return Err(needs("an export of use-only keys needs the passphrase"));
                    }
                    if !self.is_open(asked)? {
                        return Err(needs("under this policy an export needs the passphrase"));
                    }
                    Ok(asked.session.generation())
                })?;
                // The derivation is between the two: nobody holds a session during one.
                let beginning = self.seal_with(&request);
                self.open_session(caller, OP, |asked| {
                    same(asked, seen)?;
                    self.begin_export(asked, beginning?)
                })
            }
        }
    }

    /// Derives what the export is sealed with, if it is.
    fn seal_with<'a>(&self, request: &'a VaultExport) -> Result<Beginning<'a>> {
        let mut head = Vec::new();
        let sealer = match &request.seal {
            None => None,
            Some(seal) if seal.is_empty() => {
                return Err(Error::invalid("seal", "the passphrase is empty"));
            }
            Some(seal) if seal.len() > MAX_PASSPHRASE => {
                return Err(Error::invalid("seal", "a passphrase is at most 1024 bytes"));
            }
            Some(seal) => Some(Sealer::new(&self.host, seal, &mut head)?),
        };
        Ok(Beginning {
            request,
            sealer,
            head,
        })
    }

    fn begin_export(&self, asked: &Asked<'_>, beginning: Beginning<'_>) -> Result<ExportPage> {
        let Beginning {
            request,
            sealer,
            head,
        } = beginning;
        let use_only = request.use_only.unwrap_or(false);
        if use_only && sealer.is_none() {
            return Err(
                Error::new(Kind::Denied, "a use-only key never leaves in plaintext")
                    .with_field("use_only"),
            );
        }
        self.event(asked)?;
        let mut plain = Zeroizing::new(Vec::new());
        let account = asked.session.account.id();
        let format = request.format.unwrap_or_default();
        let writer = Writer::begin(format, account, self.now_ms(), &mut plain);
        let export = Export {
            id: self.transfer_id(),
            pass: match writer.wants_defaults_first() {
                true => Pass::Defaults,
                false => Pass::All,
            },
            writer,
            sealer,
            use_only,
            confirmed: request.passphrase.is_some(),
            after: None,
        };
        self.export_page(asked, export, plain, head)
    }

    fn next_page(
        &self,
        asked: &Asked<'_>,
        after: &str,
        request: &VaultExport,
    ) -> Result<ExportPage> {
        if request.format.is_some()
            || request.seal.is_some()
            || request.passphrase.is_some()
            || request.use_only.is_some()
        {
            return Err(Error::invalid(
                "after",
                "a next page is asked for with nothing else",
            ));
        }
        let id = parse_id(after, "after")?;
        let mut under_way = lock(&asked.session.transfers.export);
        // Taken out, so that an export that fails on its way is over.
        let export = match under_way.take() {
            Some(export) if export.id == id => export,
            other => {
                *under_way = other;
                return Err(over("after"));
            }
        };
        drop(under_way);
        self.export_page(asked, export, Zeroizing::default(), Vec::new())
    }

    /// Writes the next keys behind what `plain` and `head` hold already.
    fn export_page(
        &self,
        asked: &Asked<'_>,
        mut export: Export,
        mut plain: Zeroizing<Vec<u8>>,
        head: Vec<u8>,
    ) -> Result<ExportPage> {
        let account = &asked.session.account;
        let total = self.vault.count_keys(account)?;
        let mut left_out = Vec::new();
        let pass = export.pass;
        let (records, next) =
            self.vault
                .list_keys(account, None, export.after, PAGE_KEYS, &|record| {
                    pass.takes(record)
                })?;
        let mut ended = next.is_none();
        export.after = next;
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            if record.status == KeyStatus::Burned || export.leaves_out(&record) {
                left_out.push(record.name.to_string());
                continue;
            }
            self.export_key(asked, &record, &mut export, &mut plain)?;
            if plain.len() > PAGE_BYTES && records.peek().is_some() {
                export.after = Some(record.id);
                ended = false;
                break;
            }
        }
        if ended && export.pass == Pass::Defaults {
            export.pass = Pass::Others;
            export.after = None;
            ended = false;
        }
        let mut page = ExportPage {
            content: Secret::new(String::new()),
            keys: export.writer.rows(),
            total,
            left_out,
            next: (!ended).then(|| HEXLOWER.encode(&export.id)),
        };
        if ended {
            export.writer.end(&mut plain);
            page.content = match export.sealer {
                Some(sealer) => sealed_text(sealer, &plain, head, true)?.0,
                None => plain_text(plain)?,
            };
            return Ok(page);
        }
        page.content = match export.sealer.take() {
            Some(sealer) => {
                let (content, sealer) = sealed_text(sealer, &plain, head, false)?;
                export.sealer = sealer;
                content
            }
            None => plain_text(plain)?,
        };
        *lock(&asked.session.transfers.export) = Some(export);
        Ok(page)
    }

    fn export_key(
        &self,
        asked: &Asked<'_>,
        record: &Record,
        export: &mut Export,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<()> {
        const MOVED: Error = Error::new(Kind::Conflict, "a key was changed during the export");
        let account = &asked.session.account;
        let opened = self
            .vault
            .find_key(account, &record.name)?
            .ok_or(MOVED.with_hint("try again"))?;
        let secret = self.vault.open_secret(account, &opened)?;
        let record = &opened.record;
        // It may have become use-only or burned since it was listed.
        if export.leaves_out(record) || record.status == KeyStatus::Burned {
            return Err(MOVED.with_hint("try again"));
        }
        self.key_event(asked, &record.id, &record.name)?;
        let row = key_row(record, secret);
        let origin = Origin {
            id: record.id,
            created_at: record.created_at,
            updated_at: record.updated_at,
        };
        export.writer.row(&row, &origin, out)
    }

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

    pub(super) fn transfer_id(&self) -> Id {
        let mut id = Id::default();
        self.host.random.fill(&mut id);
        id
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

/// Seals a page; the sealer comes back unless the page is the last.
fn sealed_text(
    mut sealer: Sealer,
    plain: &[u8],
    mut out: Vec<u8>,
    last: bool,
) -> Result<(Secret, Option<Sealer>)> {
    sealer.write(plain, &mut out)?;
    let sealer = match last {
        true => {
            sealer.finish(&mut out)?;
            None
        }
        false => Some(sealer),
    };
    Ok((Secret::new(BASE64.encode(&out)), sealer))
}

fn plain_text(mut plain: Zeroizing<Vec<u8>>) -> Result<Secret> {
    Secret::from_utf8(std::mem::take(&mut *plain)).ok_or(Error::internal("an export is not text"))
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

fn key_add(row: KeyRow) -> KeyAdd {
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
