//! One file of the journal: written at its end, read from its beginning, and what is wrong with it.
//!
//! Invariants: one event is one `write` call at the end of the file. A write that fails or falls short is taken
//! back; where even that fails, the caller is told that the file cannot be trusted with more. A read is bounded by
//! one window of memory whatever stands in the file.
//!
//! What reading does with bytes that are no record: behind them it looks for the next whole one, so one
//! damaged record hides no other. If none follows and no more than one record's worth of bytes is left (zeros at the end
//! not counted), that is what a power loss leaves of the last write: *torn*, and only accepted in a file that another
//! process left behind. Everything else is *damage*, and the caller keeps the file as evidence.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::error::{Error, Kind, Result};
use crate::store::{EventRow, Id};

use super::record::{self, Front, HEADER, MAX_RECORD};

/// Longest segment. A journal that is not folded for so long refuses further events.
const MAX_SEGMENT: u64 = 1 << 30;
/// How much of a file is in memory at a time while it is read.
const WINDOW: usize = 128 * 1024;
/// How many places behind damaged bytes are tried before the rest of the file is given up as damaged: bounds the
/// work that a file made of beginnings of records causes.
const MAX_TRIES: u32 = 10_000;

/// A failed append: the error, and whether the file is as it was before.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) error: Error,
    pub(super) restored: bool,
}

/// One file of the journal.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    number: u64,
    /// How much of the file is known to be whole; everything, in a file that was found.
    len: u64,
    /// Where the records begin: behind the header, or at 0 where there is none.
    start: u64,
    /// Whether this process wrote it: then its length is known, and a torn end is damage.
    ours: bool,
    /// Whether a failed write of this process left something at the end.
    torn: bool,
}

impl Segment {
    /// Creates a file of this vault that must not exist yet.
    pub(super) fn create(path: &Path, number: u64, vault: &Id) -> Result<Segment> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)?;
        let mut segment = Segment {
            file,
            number,
            len: 0,
            start: HEADER as u64,
            ours: true,
            torn: false,
        };
        match segment.append(&record::encode_header(number, vault)) {
            Ok(()) => Ok(segment),
            Err(failed) => {
                // Empty or torn, it would be harmless; it would only be in the way of the next try.
                let _ = std::fs::remove_file(path);
                Err(failed.error)
            }
        }
    }

    /// Opens a file that a previous process left, if there is one. One with events of another vault is refused: they would
    /// stand among those of this one, and nothing of either may be lost. A restore leaves one without any.
    pub(super) fn open(path: &Path, vault: &Id) -> Result<Option<Segment>> {
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
                return Err(
                    Error::new(Kind::Denied, "the audit journal is a symbolic link")
                        .with_hint(moved_away(path)),
                );
            }
            Err(error) => return Err(error.into()),
        };
        let len = check(&file, path)?;
        let mut header = [0; HEADER];
        let number = match file.read_exact_at(&mut header, 0) {
            Ok(()) => record::decode_header(&header)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error.into()),
        };
        let number = match number {
            Some((_, other)) if other != *vault && len > HEADER as u64 => {
                return Err(Error::new(
                    Kind::Conflict,
                    "the audit journal belongs to another vault",
                )
                .with_hint("move the journal to where its vault is"));
            }
            number => number.map(|(number, _)| number),
        };
        Ok(Some(Segment {
            file,
            number: number.unwrap_or(0),
            len,
            start: number.map_or(0, |_| HEADER as u64),
            ours: false,
            torn: false,
        }))
    }

    /// The number in the header; 0 where there is no header.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing stands behind the header.
    pub(super) fn is_empty(&self) -> bool {
        self.len <= self.start
    }

    /// Writes bytes at the end with one call, wholly or not at all.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        const FULL: Error = Error::new(Kind::Io, "the audit journal is full");
        const SHORT: Error = Error::new(Kind::Io, "an audit event could not be written whole");
        let added = bytes.len() as u64;
        if self.len.saturating_add(added) > MAX_SEGMENT {
            return Err(AppendError {
                error: FULL,
                restored: true,
            });
        }
        let error = loop {
            match (&self.file).write(bytes) {
                Ok(written) if written == bytes.len() => {
                    self.len += added;
                    return Ok(());
                }
                Ok(_) => break SHORT,
                // Nothing was written yet when a call is interrupted.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Error::from_io(&error),
            }
        };
        self.torn = self.file.set_len(self.len).is_err();
        Err(AppendError {
            error,
            restored: !self.torn,
        })
    }

    #[cfg(test)]
    pub(super) fn exchange_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// As a write that failed half-way and could not be taken back.
    #[cfg(test)]
    pub(super) fn tear(&mut self, half: &[u8]) {
        (&self.file).write_all(half).expect("half a record");
        self.torn = true;
    }

    /// Reads the segment from its first record on.
    pub(super) fn read(&self) -> Result<Reader<'_>> {
        // What somebody else appended stands between our records, so all of it is read.
        let end = self.file.metadata()?.len();
        Ok(Reader {
            segment: self,
            window: Vec::new(),
            pos: 0,
            loaded: self.start.min(end),
            end,
            altered: self.ours && !self.torn && end != self.len,
            ordinal: 0,
            last: BTreeMap::new(),
        })
    }
}

/// What a journal file must be, whoever made it: ours alone, and a file.
fn check(file: &File, path: &Path) -> Result<u64> {
    let facts = file.metadata()?;
    let refuse = |message| Err(Error::new(Kind::Denied, message).with_hint(moved_away(path)));
    if !facts.is_file() {
        return refuse("the audit journal is not a regular file");
    }
    if facts.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("the audit journal belongs to another user");
    }
    if facts.nlink() > 1 {
        return refuse("the audit journal has a second name");
    }
    if facts.mode() & 0o022 != 0 {
        return Err(
            Error::new(Kind::Denied, "the audit journal can be written by others").with_hint(
                format!(
                    "if its content can be trusted, take that right away with chmod 600 {}",
                    path.display()
                ),
            ),
        );
    }
    if facts.mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(facts.len())
}

fn moved_away(path: &Path) -> String {
    format!(
        "see what it is with ls -l {}, and move it away: akm begins a new one",
        path.display()
    )
}

/// What stands next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A whole record. `suspect` names a position in its chain where the records of this segment do not follow
    /// one another as they were written.
    Event {
        /// The event.
        row: EventRow,
        /// The first position out of order, if there is one here.
        suspect: Option<u64>,
    },
    /// Bytes that are no record.
    Damage {
        /// Which record of the segment it is, from 1.
        ordinal: u64,
        /// The chain and position it claims, where it still has the shape of a record.
        claims: Option<(Id, u64)>,
    },
    /// What a power loss leaves of the last write.
    Torn,
}

/// Reads a segment record by record.
pub(super) struct Reader<'a> {
    segment: &'a Segment,
    window: Vec<u8>,
    /// Where in the window reading stands.
    pos: usize,
    /// The file's offset behind the window.
    loaded: u64,
    end: u64,
    /// Whether the file is not as long as this process made it.
    altered: bool,
    ordinal: u64,
    last: BTreeMap<Id, u64>,
}

impl Reader<'_> {
    /// What stands next, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Item>> {
        self.load()?;
        if self.pos == self.window.len() {
            let altered = std::mem::take(&mut self.altered);
            return Ok(altered.then_some(Item::Damage {
                ordinal: self.ordinal + 1,
                claims: None,
            }));
        }
        self.ordinal += 1;
        match record::decode(&self.window[self.pos..]) {
            Front::Record(row, len) => {
                self.pos += len;
                let suspect = match self.last.insert(row.chain, row.seq) {
                    Some(last) if last.checked_add(1) != Some(row.seq) => {
                        Some(row.seq.min(last.saturating_add(1)))
                    }
                    _ => None,
                };
                Ok(Some(Item::Event { row, suspect }))
            }
            Front::Damaged(claims) => self.pass_damage(claims).map(Some),
        }
    }

    /// Moves to the next whole record, or to the end.
    fn pass_damage(&mut self, claims: Option<(Id, u64)>) -> Result<Item> {
        let damage = Item::Damage {
            ordinal: self.ordinal,
            claims,
        };
        let start = self.offset();
        let mut content_end = start;
        let mut step = 1;
        for _ in 0..MAX_TRIES {
            content_end = self.skip(step).unwrap_or(content_end);
            content_end = self.skip_to_magic()?.unwrap_or(content_end);
            let rest = &self.window[self.pos..];
            if rest.is_empty() {
                let may_be_torn = !self.segment.ours || self.segment.torn;
                let torn = may_be_torn && content_end - start <= MAX_RECORD as u64;
                return Ok(if torn { Item::Torn } else { damage });
            }
            if matches!(record::decode(rest), Front::Record(..)) {
                return Ok(damage);
            }
            step = 1;
        }
        self.window.clear();
        self.pos = 0;
        self.loaded = self.end;
        Ok(damage)
    }

    /// Moves to where a record could begin; says where the last byte that is not zero was passed.
    fn skip_to_magic(&mut self) -> Result<Option<u64>> {
        let mut content_end = None;
        loop {
            self.load()?;
            let rest = &self.window[self.pos..];
            let magic = &record::MAGIC;
            let found = rest.windows(magic.len()).position(|bytes| bytes == magic);
            let step = match found {
                Some(at) => at,
                // All of it, but what could be the beginning of one.
                None if self.loaded < self.end => rest.len().saturating_sub(magic.len() - 1),
                None => rest.len(),
            };
            content_end = self.skip(step).or(content_end);
            if found.is_some() || self.pos == self.window.len() && self.loaded >= self.end {
                return Ok(content_end);
            }
        }
    }

    /// Passes bytes of the window; says where the last one that is not zero ended.
    fn skip(&mut self, len: usize) -> Option<u64> {
        let offset = self.offset();
        let passed = &self.window[self.pos..self.pos + len];
        self.pos += len;
        passed
            .iter()
            .rposition(|byte| *byte != 0)
            .map(|at| offset + at as u64 + 1)
    }

    /// The file's offset where reading stands.
    fn offset(&self) -> u64 {
        self.loaded - (self.window.len() - self.pos) as u64
    }

    /// Sees to it that the window holds a whole record, or all that is left.
    fn load(&mut self) -> Result<()> {
        if self.window.len() - self.pos >= MAX_RECORD || self.loaded >= self.end {
            return Ok(());
        }
        self.window.drain(..self.pos);
        self.pos = 0;
        while self.window.len() < WINDOW && self.loaded < self.end {
            let have = self.window.len();
            let left = usize::try_from(self.end - self.loaded).unwrap_or(usize::MAX);
            self.window.resize(have + left.min(WINDOW - have), 0);
            let file = &self.segment.file;
            let read = file.read_at(&mut self.window[have..], self.loaded);
            self.window
                .truncate(have + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => {
                    self.altered = self.segment.ours;
                    self.end = self.loaded;
                }
                Ok(got) => self.loaded += got as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
