//! The arms for a hand-over: all keys of an account for an account of another vault.
//!
//! The account that receives makes a code, the one that sends seals for it, and whoever carries the pieces can read none.
//! What is under way stands in the session and ends with it: the private key of a code is nowhere else, at no time at rest.
//!
//! Invariants: nothing is sent without the account's passphrase; a burned key never. Each key's event is written before its piece
//! leaves. A key that comes in is sealed at once. All are stored in one transaction or none is, only once the last piece said how
//! many they are and what their checksum is, and the code is used up before: a hand-over comes in once. Then each key is
//! opened again, and the checksum that is told is that of what is stored.
//!
//! Deliberately absent: files, and deleting anything where the keys came from. That is a person's decision, after comparing.

use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::name::KeyName;
use crate::protocol::{
    HandoverCode, HandoverPiece, HandoverReceive, HandoverRefused, HandoverReport, HandoverSend,
    ImportOutcome, KeyRow, KeyStatus, Op,
};
use crate::store::Id;
use crate::transfer::MAX_KEYS;
use crate::transfer::handover::{Code, End, Mark, Offer, Page, Stream};
use crate::vault::Damage;

use data_encoding::{BASE64, HEXLOWER};

use super::import::Import;
use super::session::Generation;
use super::transfer::{PAGE_KEYS, key_row, lock, needs, over, parse_id, same};
use super::{Asked, Service, shape};

/// A piece ends with the key that takes it beyond this many bytes, so that it fits into one request.
const PIECE_BYTES: usize = 64 * 1024;
/// How long a code is good.
const OFFER_MS: i64 = 24 * 60 * 60 * 1000;
/// Most refused keys that are named.
const MAX_REFUSED: usize = 100;

/// What is on its way.
#[derive(Default)]
pub(super) struct UnderWay {
    offer: Option<(Offer, i64)>,
    sending: Option<Sending>,
    receiving: Option<Receiving>,
}

/// A hand-over between two pieces that leave.
struct Sending {
    id: Id,
    stream: Stream,
    /// The last key that was looked at.
    after: Option<Id>,
}

/// A hand-over between two pieces that come.
struct Receiving {
    import: Import,
    stream: Stream,
    names: Vec<KeyName>,
    refused: Vec<HandoverRefused>,
    complete: bool,
}

impl Service {
    pub(super) fn offer_handover(&self, caller: &Caller) -> Result<HandoverCode> {
        self.open_session(caller, Op::HandoverOffer, |asked| {
            self.event(asked)?;
            let offer = Offer::new(&*self.host.random);
            let until = self.now_ms().saturating_add(OFFER_MS);
            let code = HandoverCode {
                code: offer.code.text(),
                expires_at: shape::time_ms(until),
            };
            let mut under_way = lock(&asked.session.transfers.handover);
            under_way.offer = Some((offer, until));
            under_way.receiving = None;
            Ok(code)
        })
    }

    pub(super) fn send_handover(
        &self,
        caller: &Caller,
        request: &HandoverSend,
    ) -> Result<HandoverPiece> {
        const OP: Op = Op::HandoverSend;
        if let Some(after) = &request.after {
            return self.open_session(caller, OP, |asked| self.next_piece(asked, after, request));
        }
        let refused = |error: Error| self.open_session(caller, OP, |_| Err(error));
        let Some(code) = &request.code else {
            return refused(
                Error::invalid("code", "a required field is missing")
                    .with_hint("the account that receives makes one: akm account receive"),
            );
        };
        let code = match Code::parse(code) {
            Ok(code) => code,
            Err(error) => return refused(error),
        };
        let Some(passphrase) = &request.passphrase else {
            return refused(needs("a hand-over needs the passphrase"));
        };
        let begin = || {
            let mut head = Vec::new();
            Stream::begin(&*self.host.random, &code, &mut head).map(|stream| (stream, head))
        };
        self.stepped_up(
            caller,
            OP,
            passphrase,
            |_| begin(),
            |asked, _, (stream, head)| {
                self.event(asked)?;
                let sending = Sending {
                    id: self.transfer_id(),
                    stream,
                    after: None,
                };
                self.piece(asked, sending, head)
            },
        )
    }

    fn next_piece(
        &self,
        asked: &Asked<'_>,
        after: &str,
        request: &HandoverSend,
    ) -> Result<HandoverPiece> {
        if request.code.is_some() || request.passphrase.is_some() {
            return Err(Error::invalid(
                "after",
                "a next piece is asked for with nothing else",
            ));
        }
        let id = parse_id(after, "after")?;
        let mut under_way = lock(&asked.session.transfers.handover);
        // Taken out, so that one that fails on its way is over.
        let sending = under_way.sending.take_if(|sending| sending.id == id);
        drop(under_way);
        self.piece(asked, sending.ok_or(over("after"))?, Vec::new())
    }

    /// Seals the next keys behind `piece`.
    fn piece(
        &self,
        asked: &Asked<'_>,
        mut sending: Sending,
        mut piece: Vec<u8>,
    ) -> Result<HandoverPiece> {
        let account = &asked.session.account;
        let total = self.vault.count_keys(account)?;
        let mut page = Page::default();
        let (mut left_out, mut size) = (Vec::new(), 0);
        let (records, next) = self.vault.list_keys(
            account,
            None,
            sending.after,
            PAGE_KEYS,
            &|_| true,
            Damage::Fails,
        )?;
        let mut ended = next.is_none();
        sending.after = next;
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            if record.status == KeyStatus::Burned {
                left_out.push(record.name.to_string());
                continue;
            }
            let row = self
                .row_of(asked, &record.name)?
                .filter(|(id, _)| *id == record.id)
                .map(|(_, row)| row)
                .ok_or(MOVED.with_hint("try again"))?;
            self.key_event(asked, &record.id, &record.name)?;
            sending.stream.count(&row)?;
            // What JSON escapes is at most six times as long; most of it is not escaped.
            size += row.secret.len() + row.notes.as_ref().map_or(0, String::len) + 256;
            page.keys.push(row);
            if size > PIECE_BYTES && records.peek().is_some() {
                sending.after = Some(record.id);
                ended = false;
                break;
            }
        }
        let stream = &mut sending.stream;
        let checksum = ended.then(|| stream.checksum(stream.marks()));
        page.end = checksum.clone().map(|checksum| End {
            keys: stream.keys(),
            checksum,
        });
        piece.extend(stream.seal(&*self.host.random, &page)?);
        let sent = HandoverPiece {
            content: BASE64.encode(&piece),
            keys: stream.keys(),
            total,
            left_out,
            checksum,
            next: (!ended).then(|| HEXLOWER.encode(&sending.id)),
        };
        if !ended {
            lock(&asked.session.transfers.handover).sending = Some(sending);
        }
        Ok(sent)
    }

    /// A key of the account as it leaves; none if there is none of the name, or it is burned.
    fn row_of(&self, asked: &Asked<'_>, name: &KeyName) -> Result<Option<(Id, KeyRow)>> {
        let account = &asked.session.account;
        let Some(opened) = self.vault.find_key(account, name)? else {
            return Ok(None);
        };
        if opened.record.status == KeyStatus::Burned {
            return Ok(None);
        }
        let secret = self.vault.open_secret(account, &opened)?;
        Ok(Some((opened.record.id, key_row(&opened.record, secret))))
    }

    pub(super) fn receive_handover(
        &self,
        caller: &Caller,
        request: HandoverReceive,
    ) -> Result<HandoverReport> {
        const OP: Op = Op::HandoverReceive;
        let finish = request.finish.unwrap_or(false);
        let (mut report, receiving, seen) = self.open_session(caller, OP, |asked| {
            let receiving = self.receive_piece(asked, request)?;
            let seen = asked.session.generation();
            let mut report = receiving.report();
            if !finish {
                report.handover = Some(HEXLOWER.encode(&receiving.import.id));
                lock(&asked.session.transfers.handover).receiving = Some(receiving);
                return Ok((report, None, seen));
            }
            self.take_in(asked, &receiving)?;
            Ok((report, Some(receiving), seen))
        })?;
        if let Some(receiving) = receiving {
            let (checksum, differing) = self.compare(caller, &receiving, seen)?;
            report.checksum = Some(checksum);
            report.differing = differing;
        }
        Ok(report)
    }

    /// Opens a piece and takes in its keys.
    fn receive_piece(&self, asked: &Asked<'_>, request: HandoverReceive) -> Result<Receiving> {
        let piece = request.content.map(|content| {
            let bytes = BASE64.decode(content.as_bytes());
            bytes.map_err(|_| Error::invalid("content", "a piece is written in base64"))
        });
        let piece = piece.transpose()?;
        let Some(id) = &request.handover else {
            let piece = piece.ok_or(Error::invalid("content", "a required field is missing"))?;
            let mut under_way = lock(&asked.session.transfers.handover);
            under_way.receiving = None;
            let now = self.now_ms();
            let offer = under_way.offer.take_if(|(_, until)| *until <= now);
            drop(offer);
            let (offer, _) = under_way.offer.as_ref().ok_or(
                Error::new(Kind::NotFound, "this session has no code to receive with")
                    .with_field("content")
                    .with_hint("make one: akm account receive"),
            )?;
            let (stream, blob) = offer.open(&piece)?;
            drop(under_way);
            let receiving = Receiving {
                import: Import::new(self.transfer_id(), false),
                stream,
                names: Vec::new(),
                refused: Vec::new(),
                complete: false,
            };
            return self.take_piece(asked, receiving, blob);
        };
        let id = parse_id(id, "handover")?;
        let mut under_way = lock(&asked.session.transfers.handover);
        // Taken out, so that one that fails on its way is over.
        let receiving = under_way
            .receiving
            .take_if(|receiving| receiving.import.id == id);
        drop(under_way);
        let receiving = receiving.ok_or(over("handover"))?;
        match piece {
            Some(piece) => self.take_piece(asked, receiving, &piece),
            None => Ok(receiving),
        }
    }

    fn take_piece(
        &self,
        asked: &Asked<'_>,
        mut receiving: Receiving,
        blob: &[u8],
    ) -> Result<Receiving> {
        let page = receiving.stream.unseal(blob)?;
        if receiving.complete {
            return Err(Error::invalid("content", "the last piece came already"));
        }
        receiving.import.rows += page.keys.len();
        if receiving.import.rows > MAX_KEYS {
            return Err(Error::new(
                Kind::LimitReached,
                "a hand-over has at most 20,000 keys",
            ));
        }
        for row in page.keys {
            receiving.stream.count(&row)?;
            let name = row.name.clone();
            let parsed = KeyName::parse(&name, "name").ok();
            let row = self.import_row(asked, row, &mut receiving.import)?;
            match row.outcome {
                ImportOutcome::Added | ImportOutcome::Unchanged | ImportOutcome::Skipped => {
                    receiving.names.extend(parsed);
                }
                ImportOutcome::Conflict | ImportOutcome::Invalid => {
                    receiving.refused.push(HandoverRefused {
                        name,
                        field: row.field,
                        message: row.message.unwrap_or_default(),
                    });
                }
            }
        }
        if let Some(end) = page.end {
            let checksum = receiving.stream.checksum(receiving.stream.marks());
            if (end.keys, end.checksum) != (receiving.stream.keys(), checksum) {
                return Err(Error::invalid(
                    "content",
                    "what came is not what the sender counted",
                ));
            }
            receiving.complete = true;
        }
        Ok(receiving)
    }

    /// Uses the code up and stores the keys, or does neither where it is known before that they cannot be stored.
    fn take_in(&self, asked: &Asked<'_>, receiving: &Receiving) -> Result<()> {
        if !receiving.complete {
            return Err(Error::invalid("finish", "the last piece has not come")
                .with_hint("nothing is stored; begin again with the first"));
        }
        let account = &asked.session.account;
        let added = receiving.import.sealed.records().len() as u64;
        if receiving.refused.is_empty()
            && let Some(most) = self.key_limit(account)?
            && added > 0
            && self.vault.count_keys(account)?.saturating_add(added) > most
        {
            return Err(Error::new(
                Kind::LimitReached,
                "the account has no room for all keys of the hand-over",
            )
            .with_hint("nothing is stored; the code is still good"));
        }
        if receiving.refused.is_empty() {
            // Before they are stored: a hand-over that came in never comes in again, whatever happens here.
            lock(&asked.session.transfers.handover).offer = None;
        }
        self.store_import(asked, &receiving.import)
    }

    /// Reads every key back: the checksum over what is stored, and the keys that are not as they were sent.
    fn compare(
        &self,
        caller: &Caller,
        receiving: &Receiving,
        seen: Generation,
    ) -> Result<(String, Vec<String>)> {
        let mut marks: Vec<Mark> = Vec::with_capacity(receiving.names.len());
        let mut differing = Vec::new();
        // In slices: a lock waits for one of them, not for all.
        let sent: Vec<_> = receiving
            .names
            .iter()
            .zip(receiving.stream.marks())
            .collect();
        for slice in sent.chunks(PAGE_KEYS as usize) {
            self.open_session(caller, Op::HandoverReceive, |asked| {
                same(asked, seen)?;
                for (name, sent) in slice {
                    let row = self.row_of(asked, name)?;
                    let mark = match row {
                        Some((_, row)) => receiving.stream.mark(&row)?,
                        None => Mark::default(),
                    };
                    if mark != **sent {
                        differing.push(name.to_string());
                    }
                    marks.push(mark);
                }
                Ok(())
            })?;
        }
        Ok((receiving.stream.checksum(&marks), differing))
    }
}

const MOVED: Error = Error::new(Kind::Conflict, "a key was changed during the hand-over");

impl Receiving {
    fn report(&self) -> HandoverReport {
        HandoverReport {
            handover: None,
            keys: self.stream.keys(),
            added: self.import.sealed.records().len() as u64,
            unchanged: self.import.unchanged,
            refused: self
                .refused
                .iter()
                .take(MAX_REFUSED)
                .map(|refused| HandoverRefused {
                    name: refused.name.clone(),
                    field: refused.field.clone(),
                    message: refused.message.clone(),
                })
                .collect(),
            complete: self.complete,
            checksum: None,
            differing: Vec::new(),
        }
    }
}
