//! Reading the log: filters, pages, and the two chains of an account and the system as one list.
//!
//! The order is: each chain by position, the two merged by time. A clock that was set back cannot lose or
//! repeat an event, because the cursor is a position in each chain and not a time.
//!
//! What is listed in clear (time, operation, outcome) was stored by whoever can write the file; the sealed part is
//! authentic or the list fails. That all of it is authentic and complete is what `audit.verify` shows.

use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::name::{AccountName, KeyName};
use crate::protocol::{AuditEvent, AuditList, CallerInfo, EventPage, MAX_PAGE, PAGE_BYTES};
use crate::store::{EventRow, Store};

use super::chain::{ChainKeys, SYSTEM};
use super::{AccountChain, Audit, actions};

const DEFAULT_PAGE: u32 = 100;
/// How many events are read from the store at a time.
const BATCH: u32 = 256;
/// Most events that one slice looks at, some tens of milliseconds: then the page is short and has a `next`.
const SLICE: u32 = 2_000;
const CURSOR_VERSION: u8 = 1;

/// What to list, parsed.
#[derive(Clone, Debug)]
pub struct Filter {
    since: Option<i64>,
    action: Option<&'static str>,
    key: Option<String>,
    limit: usize,
    /// How many bytes the events may still have.
    bytes: usize,
    after: Cursor,
    last: Option<u64>,
}

impl Filter {
    /// Parses a request; the error names the field at fault.
    pub fn parse(request: &AuditList) -> Result<Self> {
        let since = request.since.as_deref().map(parse_since).transpose()?;
        let action = request.action.as_deref().map(parse_action).transpose()?;
        let key = request.key.as_deref();
        let key = key.map(|name| KeyName::parse(name, "key")).transpose()?;
        let limit = request.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::invalid("limit", "a page has 1 to 1000 entries"));
        }
        let after = request.after.as_deref().map(Cursor::parse).transpose()?;
        let last = match request.last {
            Some(last) if !(1..=MAX_PAGE).contains(&last) => {
                return Err(Error::invalid("last", "a page has 1 to 1000 entries"));
            }
            Some(_) if after.is_some() => {
                return Err(Error::invalid(
                    "last",
                    "the newest events are asked for without a cursor",
                ));
            }
            last => last.map(u64::from),
        };
        Ok(Filter {
            since,
            action,
            key: key.map(|name| name.to_string()),
            limit: limit as usize,
            bytes: PAGE_BYTES,
            after: after.unwrap_or_default(),
            last,
        })
    }

    /// Goes on behind a page that was short. False where nothing is to be had any more.
    pub fn advance(&mut self, page: &EventPage) -> bool {
        self.limit = self.limit.saturating_sub(page.events.len());
        let bytes: usize = page.events.iter().map(size).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        match page.next.as_deref().and_then(Cursor::decode) {
            Some(after) if self.limit > 0 && self.bytes > 0 => {
                self.after = after;
                true
            }
            _ => false,
        }
    }
}

fn parse_since(text: &str) -> Result<i64> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| Error::invalid("since", "a time is written as in RFC 3339"))?;
    Ok(time.as_millisecond())
}

fn parse_action(text: &str) -> Result<&'static str> {
    actions()
        .find(|name| *name == text)
        .ok_or(Error::invalid("action", "there is no such operation"))
}

/// Up to where each chain was listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    account: u64,
    system: u64,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self> {
        Self::decode(text).ok_or(Error::invalid("after", "this is not the end of a page"))
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        let bytes: [u8; 17] = bytes.try_into().ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(*bytes[at..].first_chunk()?));
        let cursor = Cursor {
            account: number(1)?,
            system: number(9)?,
        };
        let last = i64::MAX as u64;
        (bytes[0] == CURSOR_VERSION && cursor.account <= last && cursor.system <= last)
            .then_some(cursor)
    }

    fn encode(self) -> String {
        let mut bytes = [CURSOR_VERSION; 17];
        bytes[1..9].copy_from_slice(&self.account.to_le_bytes());
        bytes[9..].copy_from_slice(&self.system.to_le_bytes());
        data_encoding::HEXLOWER.encode(&bytes)
    }
}

/// One chain, read a batch at a time.
struct Source<'a> {
    store: &'a dyn Store,
    keys: &'a ChainKeys,
    filter: &'a Filter,
    rows: std::vec::IntoIter<EventRow>,
    /// The last position read from the store.
    read: u64,
    ended: bool,
}

impl<'a> Source<'a> {
    fn new(store: &'a dyn Store, keys: &'a ChainKeys, filter: &'a Filter, after: u64) -> Self {
        Source {
            store,
            keys,
            filter,
            rows: Vec::new().into_iter(),
            read: after,
            ended: false,
        }
    }

    fn peek(&mut self) -> Result<Option<&EventRow>> {
        if self.rows.as_slice().is_empty() && !self.ended {
            let Filter { since, action, .. } = self.filter;
            let rows = self
                .store
                .events(self.keys.id(), self.read, *since, *action, BATCH)?;
            self.ended = rows.len() < BATCH as usize;
            self.read = rows.last().map_or(self.read, |row| row.seq);
            self.rows = rows.into_iter();
        }
        Ok(self.rows.as_slice().first())
    }
}

impl Audit {
    /// Lists the events of an account, called `name`, and with `with_system` those of the system among them, oldest
    /// first. Folds first, so that everything up to now is there. A page may be short, even empty, and still
    /// have a `next`: a slice ends after a number of events that were looked at, passed or not.
    pub fn list(
        &self,
        account: &AccountChain,
        name: &AccountName,
        with_system: bool,
        filter: &Filter,
    ) -> Result<EventPage> {
        self.merged(Some((account, name)), with_system, filter)
    }

    /// As [`Audit::list`], of the system alone.
    pub fn list_system(&self, filter: &Filter) -> Result<EventPage> {
        self.merged(None, true, filter)
    }

    fn merged(
        &self,
        account: Option<(&AccountChain, &AccountName)>,
        with_system: bool,
        filter: &Filter,
    ) -> Result<EventPage> {
        self.fold()?;
        let store = self.store.as_ref();
        let mut at = filter.after;
        let keys = account.map_or(&self.system, |(account, _)| &account.keys);
        let name = account.map(|(_, name)| name);
        if let Some(last) = filter.last {
            // Positions below which nothing is looked at: all of them are known without reading.
            let heads = &self.state()?.heads;
            let from = |chain: &ChainKeys| {
                let end = heads.get(chain.id()).map_or(0, |head| head.seq);
                end.saturating_sub(last)
            };
            at.account = at.account.max(from(keys));
            at.system = at.system.max(from(&self.system));
        }
        let mut mine = Source::new(store, keys, filter, at.account);
        let mut system = Source::new(store, &self.system, filter, at.system);
        mine.ended = account.is_none();
        system.ended = !with_system;
        let mut events = Vec::new();
        let mut bytes = 0;
        for _ in 0..SLICE {
            let my_time = mine.peek()?.map(|row| row.time);
            let system_time = system.peek()?.map(|row| row.time);
            let is_mine = match (my_time, system_time) {
                (None, None) => {
                    return Ok(EventPage {
                        events,
                        next: None,
                        end: Some(at.encode()),
                    });
                }
                (Some(mine), Some(system)) => mine <= system,
                (mine, _) => mine.is_some(),
            };
            if events.len() == filter.limit || bytes >= filter.bytes {
                break;
            }
            let source = if is_mine { &mut mine } else { &mut system };
            let Some(row) = source.rows.next() else {
                return Err(Error::internal("a page of events lost its first"));
            };
            *(if is_mine {
                &mut at.account
            } else {
                &mut at.system
            }) = row.seq;
            let shown = show(source.keys, row, name.filter(|_| is_mine), filter)?;
            bytes += shown.as_ref().map_or(0, size);
            events.extend(shown);
        }
        Ok(EventPage {
            events,
            next: Some(at.encode()),
            end: Some(at.encode()),
        })
    }
}

/// What an event takes on the wire, or more: a character of a path may be written with six.
fn size(event: &AuditEvent) -> usize {
    const REST: usize = 300;
    let account = event.account.as_ref().map_or(0, String::len);
    let key = event.key.as_ref().map_or(0, String::len);
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b >= b' ' && b != 0x7f && b != b'"' && b != b'\\')
    };
    let exe = &event.caller.exe;
    REST + account + 2 * key + exe.len() * if plain(exe) { 1 } else { 6 }
}

/// An event as it is shown, if the filter passes it.
fn show(
    keys: &ChainKeys,
    row: EventRow,
    account: Option<&AccountName>,
    filter: &Filter,
) -> Result<Option<AuditEvent>> {
    let detail = keys.open(&row).map_err(|error| {
        if error.kind() == Kind::Corrupt {
            Error::corrupt("an audit event is not authentic").with_hint("run akm log verify")
        } else {
            error
        }
    })?;
    if filter.key.is_some() && filter.key != detail.key {
        return Ok(None);
    }
    let time = Timestamp::from_millisecond(row.time)
        .map_err(|_| Error::corrupt("an audit event has no possible time"))?;
    Ok(Some(AuditEvent {
        chain: if row.chain == SYSTEM {
            "system"
        } else {
            "account"
        }
        .to_owned(),
        seq: row.seq,
        time: format!("{time:.3}"),
        action: row.action,
        account: account.map(|name| name.as_str().to_owned()),
        key: detail.key,
        caller: CallerInfo {
            uid: detail.caller.uid,
            pid: detail.caller.pid,
            exe: detail.caller.exe,
        },
        outcome: row.outcome,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_nothing_else_is_one() {
        let cursor = Cursor {
            account: 7,
            system: i64::MAX as u64,
        };
        let text = cursor.encode();
        assert_eq!(Cursor::parse(&text).unwrap(), cursor);
        for bad in [
            "",
            "00",
            "x",
            &text[1..],
            &text[2..],
            &format!("{text}00"),
            &text.replacen("01", "02", 1),
            &format!("01{}", "f".repeat(32)),
        ] {
            let error = Cursor::parse(bad).unwrap_err();
            assert_eq!(error.field(), Some("after"), "{bad}");
        }
    }

    #[test]
    fn bad_filters_name_their_field() {
        let request = |field: &str, text: &str| AuditList {
            since: (field == "since").then(|| text.to_owned()),
            action: (field == "action").then(|| text.to_owned()),
            key: (field == "key").then(|| text.to_owned()),
            limit: (field == "limit").then(|| text.parse().unwrap()),
            after: (field == "after").then(|| text.to_owned()),
            last: (field == "last").then(|| text.parse().unwrap()),
        };
        for (field, bad, good) in [
            ("since", "yesterday", "2026-01-02T03:04:05Z"),
            ("action", "key.steal", "key.get"),
            ("key", "open ai", "openai/work"),
            ("limit", "0", "1000"),
            ("limit", "1001", "1"),
            ("last", "0", "1000"),
            ("last", "1001", "1"),
            ("after", "0", "0100000000000000000000000000000000"),
        ] {
            let error = Filter::parse(&request(field, bad)).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput);
            assert_eq!(error.field(), Some(field));
            assert!(
                Filter::parse(&request(field, good)).is_ok(),
                "{field} {good}"
            );
        }
    }
}
