//! Providers of an account's own: sealed records, few and small.

use rusqlite::{Connection, Row, Transaction};

use super::values::{array, blob, execute, number, sealed, sql};
use crate::error::{Error, Kind, Result};
use crate::store::{Id, ProviderRow, Tag};

pub(super) fn by_tag(conn: &Connection, account: &Id, tag: &Tag) -> Result<Option<ProviderRow>> {
    let mut statement = conn
        .prepare_cached("SELECT tag, id, record FROM providers WHERE account = ?1 AND tag = ?2")
        .map_err(sql)?;
    let mut rows = statement.query((account, tag)).map_err(sql)?;
    rows.next().map_err(sql)?.map(provider).transpose()
}

pub(super) fn all(conn: &Connection, account: &Id, most: u32) -> Result<Vec<ProviderRow>> {
    let mut statement = conn
        .prepare_cached(
            "SELECT tag, id, record FROM providers WHERE account = ?1 ORDER BY tag LIMIT ?2",
        )
        .map_err(sql)?;
    // One more than there may be, so that a file that claims more is noticed.
    let mut rows = statement
        .query((account, i64::from(most) + 1))
        .map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        found.push(provider(row)?);
    }
    if found.len() > most as usize {
        return Err(Error::corrupt(
            "an account has more providers than akm writes",
        ));
    }
    Ok(found)
}

fn provider(row: &Row<'_>) -> Result<ProviderRow> {
    Ok(ProviderRow {
        tag: array(row, 0)?,
        id: array(row, 1)?,
        record: blob(row, 2)?,
    })
}

pub(super) fn insert(
    tx: &Transaction<'_>,
    account: &Id,
    row: &ProviderRow,
    most: u32,
) -> Result<()> {
    let exists = tx
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1")
        .and_then(|mut statement| statement.exists([account]))
        .map_err(sql)?;
    if !exists {
        return Err(Error::no_account());
    }
    let added = execute(
        tx,
        "INSERT INTO providers (account, tag, id, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        (account, row.tag, row.id, sealed(&row.record)?),
    )?;
    if added == 0 {
        return Err(Error::new(
            Kind::Conflict,
            "a provider of this name exists already",
        ));
    }
    let count: u32 = tx
        .prepare_cached("SELECT count(*) FROM providers WHERE account = ?1")
        .and_then(|mut statement| statement.query_row([account], |row| Ok(number(row, 0))))
        .map_err(sql)??;
    if count > most {
        return Err(Error::new(
            Kind::LimitReached,
            "the account holds as many providers of its own as it may",
        ));
    }
    Ok(())
}

/// Puts rows in place of those under the tags beside them, which must be all there are.
pub(super) fn replace(
    tx: &Transaction<'_>,
    account: &Id,
    rows: &[(Tag, ProviderRow)],
) -> Result<()> {
    let mut replaced = 0;
    for (tag, row) in rows {
        replaced += execute(
            tx,
            "UPDATE providers SET tag = ?4, record = ?5 WHERE account = ?1 AND tag = ?2 AND id = ?3",
            (account, tag, row.id, row.tag, sealed(&row.record)?),
        )?;
    }
    let count: usize = tx
        .prepare_cached("SELECT count(*) FROM providers WHERE account = ?1")
        .and_then(|mut statement| statement.query_row([account], |row| Ok(number(row, 0))))
        .map_err(sql)??;
    if replaced != rows.len() || count != rows.len() {
        return Err(Error::new(
            Kind::Conflict,
            "the account was changed meanwhile",
        ));
    }
    Ok(())
}

pub(super) fn remove(tx: &Transaction<'_>, account: &Id, tag: &Tag, id: &Id) -> Result<()> {
    let removed = execute(
        tx,
        "DELETE FROM providers WHERE account = ?1 AND tag = ?2 AND id = ?3",
        (account, tag, id),
    )?;
    if removed == 0 {
        return Err(Error::new(
            Kind::Conflict,
            "the provider was changed or removed meanwhile",
        ));
    }
    Ok(())
}
