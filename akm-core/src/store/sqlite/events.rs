//! Audit events, as the journal hands them over.
//!
//! Events arrive in order and in batches, so every index here only grows at a few ends: a batch of
//! thousands is one commit and few pages. The chain's MACs are not checked here; they need a key.

use std::collections::HashMap;

use rusqlite::{Connection, Row, Transaction};

use super::values::{
    array, blob, execute, int, number, optional_array, optional_time, sealed, short, sql, text,
    time,
};
use crate::error::{Error, Result};
use crate::protocol::Op;
use crate::store::{EventRow, Id};

pub(super) fn fold(tx: &Transaction<'_>, events: &[EventRow]) -> Result<()> {
    let mut last_used: HashMap<(Id, Id), i64> = HashMap::new();
    for event in events {
        let added = execute(
            tx,
            "INSERT INTO events (chain, seq, time, action, outcome, record, mac, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO NOTHING",
            (
                event.chain,
                int(event.seq)?,
                event.time,
                short(&event.action)?,
                short(&event.outcome)?,
                event.record,
                event.mac,
                sealed(&event.sealed)?,
            ),
        )?;
        if added == 0 && at(tx, &event.chain, event.seq)?.as_ref() != Some(event) {
            return Err(Error::corrupt(
                "the journal and the vault tell one event twice",
            ));
        }
        if let (true, Some(record)) = (hands_out(event), event.record) {
            let time = last_used.entry((event.chain, record)).or_insert(event.time);
            *time = event.time.max(*time);
        }
    }
    for ((account, record), time) in last_used {
        // None is changed where the key was removed meanwhile, or used later than this.
        execute(
            tx,
            "UPDATE keys SET last_used_at = ?3
             WHERE account = ?1 AND id = ?2 AND (last_used_at IS NULL OR last_used_at < ?3)",
            (account, record, time),
        )?;
    }
    Ok(())
}

/// Whether a secret left for its caller or its provider.
fn hands_out(event: &EventRow) -> bool {
    event.outcome == "ok"
        && [
            Op::KeyGet,
            Op::KeyCopy,
            Op::ProviderTest,
            Op::ProviderBalance,
        ]
        .iter()
        .any(|op| op.name() == event.action)
}

fn at(conn: &Connection, chain: &Id, seq: u64) -> Result<Option<EventRow>> {
    let found = read(
        conn,
        "SELECT chain, seq, time, action, outcome, record, sealed, mac
         FROM events WHERE chain = ?1 AND seq = ?2",
        (chain, int(seq)?),
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn last(conn: &Connection, chain: &Id) -> Result<Option<EventRow>> {
    let found = read(
        conn,
        "SELECT chain, seq, time, action, outcome, record, sealed, mac
         FROM events WHERE chain = ?1 ORDER BY seq DESC LIMIT 1",
        [chain],
    )?;
    Ok(found.into_iter().next())
}

// The sign before `time` keeps SQLite from ordering by position what it found by time.
pub(super) const PAGE: &str = "SELECT chain, seq, time, action, outcome, record, sealed, mac
     FROM events WHERE chain = ?1 AND seq > ?2 AND +time >= ?3 ORDER BY seq LIMIT ?4";
pub(super) const PAGE_OF_ACTION: &str = "SELECT chain, seq, time, action, outcome, record, sealed, mac
     FROM events WHERE chain = ?1 AND action = ?5 AND seq > ?2 AND +time >= ?3 ORDER BY seq LIMIT ?4";
pub(super) const FIRST_SINCE: &str = "SELECT min(seq) FROM events WHERE chain = ?1 AND time >= ?2";

pub(super) fn page(
    conn: &Connection,
    chain: &Id,
    after_seq: u64,
    since: Option<i64>,
    action: Option<&str>,
    limit: u32,
) -> Result<Vec<EventRow>> {
    let mut after = int(after_seq)?;
    if let (0, Some(since)) = (after, since) {
        // The first page of "the last hour" would read a year of events to find where it begins.
        match first_since(conn, chain, since)? {
            Some(first) => after = first.saturating_sub(1),
            None => return Ok(Vec::new()),
        }
    }
    let since = since.unwrap_or(i64::MIN);
    match action {
        None => read(conn, PAGE, (chain, after, since, limit)),
        Some(action) => read(conn, PAGE_OF_ACTION, (chain, after, since, limit, action)),
    }
}

/// Clocks are set back, so time does not order a chain: the least position, not that of the least time.
fn first_since(conn: &Connection, chain: &Id, since: i64) -> Result<Option<i64>> {
    let mut statement = conn.prepare_cached(FIRST_SINCE).map_err(sql)?;
    statement
        .query_row((chain, since), |row| Ok(optional_time(row, 0)))
        .map_err(sql)?
}

fn read(
    conn: &Connection,
    statement: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<EventRow>> {
    let mut statement = conn.prepare_cached(statement).map_err(sql)?;
    let mut rows = statement.query(params).map_err(sql)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        events.push(event(row)?);
    }
    Ok(events)
}

fn event(row: &Row<'_>) -> Result<EventRow> {
    Ok(EventRow {
        chain: array(row, 0)?,
        seq: number(row, 1)?,
        time: time(row, 2)?,
        action: text(row, 3)?,
        outcome: text(row, 4)?,
        record: optional_array(row, 5)?,
        sealed: blob(row, 6)?,
        mac: array(row, 7)?,
    })
}
