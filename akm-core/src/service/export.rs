//! The arm for an export: all keys of an account, a page at a time.
//!
//! An export is not a snapshot: every key that exists from its beginning to its end is in it, as it was when its page was made.
//!
//! Invariants: plaintext leaves only with the account's passphrase in the request that begins it, and a use-only key only
//! sealed and with that passphrase; a burned key never. The agent seals, so that without the passphrase nothing but a sealed
//! file comes out. Each key's event is written before its page leaves.
//!
//! Deliberately absent: files and their names. The command writes what it is given.

use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use crate::audit::Caller;
use crate::crypto::age::Sealer;
use crate::error::{Error, Kind, Result};
use crate::name::MAX_PASSPHRASE;
use crate::protocol::{ExportPage, KeyStatus, Op, VaultExport};
use crate::secret::Secret;
use crate::store::Id;
use crate::transfer::{Origin, Writer};
use crate::vault::{Damage, Record, Unlocked, is_damage};

use super::keys::with_a_way_on;
use super::transfer::{PAGE_KEYS, key_row, lock, needs, over, parse_id, same};
use super::{Asked, Service};

/// A page ends with the key that takes it beyond this many bytes: far below what a client accepts.
const PAGE_BYTES: usize = 512 * 1024;

/// An export between two pages.
pub(super) struct Export {
    id: Id,
    writer: Writer,
    sealer: Option<Sealer>,
    use_only: bool,
    skips_unreadable: bool,
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

/// Keys, those that do not open with what is wrong, and the cursor.
type Listed = (Vec<Record>, Vec<(Id, Kind)>, Option<Id>);

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
                    if !self.is_open_to(asked)? {
                        return Err(needs("under this policy an export needs the passphrase")
                            .with_hint("give the account's passphrase beside that of the file"));
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
            skips_unreadable: request.skip_unreadable.unwrap_or(false),
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
            || request.skip_unreadable.is_some()
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
        let (records, mut lost, next) = self.listed_for(account, &export)?;
        let mut unreadable = Vec::new();
        let mut ended = next.is_none();
        export.after = next;
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            if record.status == KeyStatus::Burned || export.leaves_out(&record) {
                left_out.push(record.name.to_string());
                continue;
            }
            match self.export_key(asked, &record, &mut export, &mut plain) {
                Err(error) if export.skips_unreadable && is_damage(error.kind()) => {
                    self.failure_event(asked, Some(record.id), Some(&record.name), error.kind());
                    unreadable.push(record.name.to_string());
                }
                exported => {
                    exported.map_err(|error| with_a_way_on(error, export.skips_unreadable))?;
                }
            }
            if plain.len() > PAGE_BYTES && records.peek().is_some() {
                export.after = Some(record.id);
                lost.retain(|(id, _)| *id <= record.id);
                ended = false;
                break;
            }
        }
        // They are met again on each way through the account.
        if export.pass != Pass::Others {
            for (id, kind) in lost {
                self.failure_event(asked, Some(id), None, kind);
                unreadable.push(HEXLOWER.encode(&id));
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
            unreadable,
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

    /// The next keys of an export, and the ids of those that do not open and are passed over.
    fn listed_for(&self, account: &Unlocked, export: &Export) -> Result<Listed> {
        let mut lost = Vec::new();
        let takes = |record: &Record| export.pass.takes(record);
        let after = export.after;
        let damage = match export.skips_unreadable {
            true => Damage::Noted(&mut lost),
            false => Damage::Fails,
        };
        let (records, next) = self
            .vault
            .list_keys(account, None, after, PAGE_KEYS, &takes, damage)
            .map_err(|error| with_a_way_on(error, export.skips_unreadable))?;
        Ok((records, lost, next))
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
