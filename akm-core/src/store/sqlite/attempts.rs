//! The counters of failed attempts, and who is familiar to an account. What they mean, and what bounds them, stands in
//! `vault/limits.rs`.

use rusqlite::{Connection, Row, Transaction};

use super::values::{array, execute, number, sql, time};
use crate::error::Result;
use crate::store::{Attempts, Id, Tag};

pub(super) fn change(
    tx: &Transaction<'_>,
    tags: &[Tag],
    decide: &mut dyn FnMut(&mut [Attempts]),
) -> Result<()> {
    let before: Vec<Attempts> = tags.iter().map(|tag| of(tx, tag)).collect::<Result<_>>()?;
    let mut after = before.clone();
    decide(&mut after);
    for ((tag, before), after) in tags.iter().zip(&before).zip(&after) {
        if before != after {
            put(tx, tag, after)?;
        }
    }
    Ok(())
}

/// No row reads as no attempts, so a success takes its row out of the table.
fn put(tx: &Transaction<'_>, tag: &Tag, attempts: &Attempts) -> Result<()> {
    if *attempts == Attempts::default() {
        return execute(tx, "DELETE FROM attempts WHERE tag = ?1", [tag]).map(drop);
    }
    execute(
        tx,
        "INSERT INTO attempts (tag, failures, blocked_until) VALUES (?1, ?2, ?3)
         ON CONFLICT (tag) DO UPDATE SET
             failures = excluded.failures, blocked_until = excluded.blocked_until",
        (tag, attempts.failures, attempts.blocked_until),
    )
    .map(drop)
}

fn of(tx: &Transaction<'_>, tag: &Tag) -> Result<Attempts> {
    let mut statement = tx
        .prepare_cached("SELECT failures, blocked_until FROM attempts WHERE tag = ?1")
        .map_err(sql)?;
    let mut rows = statement.query([tag]).map_err(sql)?;
    match rows.next().map_err(sql)? {
        Some(row) => counter(row),
        None => Ok(Attempts::default()),
    }
}

fn counter(row: &Row<'_>) -> Result<Attempts> {
    Ok(Attempts {
        failures: number(row, 0)?,
        blocked_until: time(row, 1)?,
    })
}

/// Every counter; the table is bounded.
pub(super) fn all(conn: &Connection) -> Result<Vec<(Tag, Attempts)>> {
    let mut statement = conn
        .prepare_cached("SELECT failures, blocked_until, tag FROM attempts")
        .map_err(sql)?;
    let mut rows = statement.query([]).map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        found.push((array(row, 2)?, counter(row)?));
    }
    Ok(found)
}

/// Puts these counters in place of all there are.
pub(super) fn replace(tx: &Transaction<'_>, counters: &[(Tag, Attempts)]) -> Result<()> {
    execute(tx, "DELETE FROM attempts", [])?;
    for (tag, counter) in counters {
        put(tx, tag, counter)?;
    }
    Ok(())
}

/// More than a reader keeps of it would fill memory; akm writes far fewer.
const MOST_READ: u32 = 256;

pub(super) fn familiar(conn: &Connection, account: &Id) -> Result<Vec<Tag>> {
    let mut statement = conn
        .prepare_cached("SELECT tag FROM familiar WHERE account = ?1 LIMIT ?2")
        .map_err(sql)?;
    let mut rows = statement.query((account, MOST_READ)).map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        found.push(array(row, 0)?);
    }
    Ok(found)
}

pub(super) fn add_familiar(tx: &Transaction<'_>, account: &Id, tag: &Tag, most: u32) -> Result<()> {
    execute(
        tx,
        "INSERT INTO familiar (account, tag)
         SELECT ?1, ?2 WHERE (SELECT count(*) FROM familiar WHERE account = ?1) < ?3
         ON CONFLICT DO NOTHING",
        (account, tag, most),
    )
    .map(drop)
}
