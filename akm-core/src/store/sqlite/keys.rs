//! Records of keys, and the secrets they replaced.

use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::values::{array, blob, execute, int, number, optional_time, sealed, sql, unique};
use crate::error::{Error, Kind, Result};
use crate::store::{HistoryRow, Id, KeyHead, KeyRow, OVERTAKEN, Tag};

const TAKEN: &str = "a key of this name exists already";

pub(super) fn count(conn: &Connection, account: &Id) -> Result<u64> {
    conn.prepare_cached("SELECT key_count FROM accounts WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([account], |row| Ok(number(row, 0)))
                .optional()
        })
        .map_err(sql)?
        .unwrap_or(Ok(0))
}

pub(super) const BY_TAG: &str =
    "SELECT id, provider_tag, status, secret_version, meta_version, last_used_at, wrapped_key, meta, secret
     FROM keys WHERE account = ?1 AND tag = ?2";

/// The hot path: what the caller knows already is not read back.
pub(super) fn by_tag(conn: &Connection, account: &Id, tag: &Tag) -> Result<Option<KeyRow>> {
    let mut statement = conn.prepare_cached(BY_TAG).map_err(sql)?;
    let mut rows = statement.query((account, tag)).map_err(sql)?;
    let Some(row) = rows.next().map_err(sql)? else {
        return Ok(None);
    };
    Ok(Some(KeyRow {
        head: head(row, *account, *tag)?,
        secret: blob(row, 8)?,
    }))
}

/// Of a row whose first columns stand as in [`BY_TAG`].
fn head(row: &Row<'_>, account: Id, tag: Tag) -> Result<KeyHead> {
    Ok(KeyHead {
        id: array(row, 0)?,
        account,
        tag,
        provider_tag: array(row, 1)?,
        status: number(row, 2)?,
        secret_version: number(row, 3)?,
        meta_version: number(row, 4)?,
        last_used_at: optional_time(row, 5)?,
        wrapped_key: blob(row, 6)?,
        meta: blob(row, 7)?,
    })
}

pub(super) fn insert(tx: &Transaction<'_>, rows: &[KeyRow], limit: Option<u64>) -> Result<()> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let account = &first.head.account;
    if rows.iter().any(|row| row.head.account != *account) {
        return Err(Error::internal("keys of two accounts in one insertion"));
    }
    let added = int(rows.len() as u64)?;
    let count: u64 = tx
        .prepare_cached(
            "UPDATE accounts SET key_count = key_count + ?2 WHERE id = ?1 RETURNING key_count",
        )
        .and_then(|mut statement| {
            statement
                .query_row((account, added), |row| Ok(number(row, 0)))
                .optional()
        })
        .map_err(sql)?
        .ok_or_else(Error::no_account)??;
    if limit.is_some_and(|limit| count > limit) {
        return Err(Error::new(
            Kind::LimitReached,
            "the account holds as many keys as it may",
        ));
    }
    for KeyRow { head, secret } in rows {
        let added = execute(
            tx,
            "INSERT INTO keys
             (account, id, tag, provider_tag, status, secret_version, meta_version, last_used_at,
              wrapped_key, meta, secret)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT DO NOTHING",
            (
                head.account,
                head.id,
                head.tag,
                head.provider_tag,
                head.status,
                int(head.secret_version)?,
                int(head.meta_version)?,
                head.last_used_at,
                sealed(&head.wrapped_key)?,
                sealed(&head.meta)?,
                sealed(secret)?,
            ),
        )?;
        if added == 0 {
            return Err(Error::new(Kind::Conflict, TAKEN));
        }
    }
    Ok(())
}

/// `last_used_at` is the audit's to move: a record read before a fold must not take it back.
pub(super) fn update(
    tx: &Transaction<'_>,
    row: &KeyRow,
    from_meta_version: u64,
    history: Option<&HistoryRow>,
) -> Result<()> {
    let KeyRow { head, secret } = row;
    if head.meta_version <= from_meta_version {
        return Err(Error::internal("a change must raise the record's version"));
    }
    let changed = tx
        .prepare_cached(
            "UPDATE keys
             SET tag = ?4, provider_tag = ?5, status = ?6, secret_version = ?7, meta_version = ?8,
                 last_used_at = max(ifnull(last_used_at, ?9), ifnull(?9, last_used_at)),
                 wrapped_key = ?10, meta = ?11, secret = ?12
             WHERE account = ?1 AND id = ?2 AND meta_version = ?3",
        )
        .map_err(sql)?
        .execute((
            head.account,
            head.id,
            int(from_meta_version)?,
            head.tag,
            head.provider_tag,
            head.status,
            int(head.secret_version)?,
            int(head.meta_version)?,
            head.last_used_at,
            sealed(&head.wrapped_key)?,
            sealed(&head.meta)?,
            sealed(secret)?,
        ))
        .map_err(|error| unique(error, TAKEN))?;
    if changed == 0 {
        return Err(stale());
    }
    let Some(old) = history else {
        return Ok(());
    };
    tx.prepare_cached(
        "INSERT INTO history (account, key, version, meta, secret) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .map_err(sql)?
    .execute((
        head.account,
        head.id,
        int(old.version)?,
        sealed(&old.meta)?,
        sealed(&old.secret)?,
    ))
    .map_err(|error| unique(error, "this version of the secret is kept already"))?;
    Ok(())
}

/// Puts rows in place of those of the same versions, which must be all there are.
pub(super) fn replace_history(
    tx: &Transaction<'_>,
    account: &Id,
    key: &Id,
    history: &[HistoryRow],
) -> Result<()> {
    for old in history {
        let replaced = execute(
            tx,
            "UPDATE history SET meta = ?4, secret = ?5 WHERE account = ?1 AND key = ?2 AND version = ?3",
            (
                account,
                key,
                int(old.version)?,
                sealed(&old.meta)?,
                sealed(&old.secret)?,
            ),
        )?;
        if replaced == 0 {
            return Err(stale());
        }
    }
    let count: usize = tx
        .prepare_cached("SELECT count(*) FROM history WHERE account = ?1 AND key = ?2")
        .and_then(|mut statement| statement.query_row((account, key), |row| Ok(number(row, 0))))
        .map_err(sql)??;
    if count != history.len() {
        return Err(stale());
    }
    Ok(())
}

pub(super) fn remove(
    tx: &Transaction<'_>,
    account: &Id,
    id: &Id,
    from_meta_version: u64,
) -> Result<()> {
    execute(
        tx,
        "DELETE FROM history WHERE account = ?1 AND key = ?2",
        (account, id),
    )?;
    let removed = execute(
        tx,
        "DELETE FROM keys WHERE account = ?1 AND id = ?2 AND meta_version = ?3",
        (account, id, int(from_meta_version)?),
    )?;
    if removed == 0 {
        return Err(stale());
    }
    let counted = execute(
        tx,
        "UPDATE accounts SET key_count = key_count - 1 WHERE id = ?1 AND key_count > 0",
        [account],
    )?;
    if counted == 0 {
        return Err(Error::corrupt("an account counts fewer keys than it has"));
    }
    Ok(())
}

fn stale() -> Error {
    Error::new(Kind::Conflict, OVERTAKEN)
}

pub(super) const PAGE: &str =
    "SELECT id, provider_tag, status, secret_version, meta_version, last_used_at, wrapped_key, meta, tag
     FROM keys WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
pub(super) const PAGE_OF_PROVIDER: &str =
    "SELECT id, provider_tag, status, secret_version, meta_version, last_used_at, wrapped_key, meta, tag
     FROM keys WHERE account = ?1 AND provider_tag = ?4 AND id > ?2 ORDER BY id LIMIT ?3";

pub(super) fn page(
    conn: &Connection,
    account: &Id,
    provider_tag: Option<&Tag>,
    after: Option<&Id>,
    limit: u32,
) -> Result<Vec<KeyHead>> {
    // Every id is greater than the empty blob.
    let after = after.map_or(&[][..], |id| id);
    match provider_tag {
        None => heads(conn, PAGE, account, (account, after, limit)),
        Some(provider_tag) => heads(
            conn,
            PAGE_OF_PROVIDER,
            account,
            (account, after, limit, provider_tag),
        ),
    }
}

pub(super) const ROWS: &str =
    "SELECT id, provider_tag, status, secret_version, meta_version, last_used_at, wrapped_key, meta, tag, secret
     FROM keys WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

pub(super) fn rows(
    conn: &Connection,
    account: &Id,
    after: Option<&Id>,
    limit: u32,
) -> Result<Vec<KeyRow>> {
    let after = after.map_or(&[][..], |id| id);
    let mut statement = conn.prepare_cached(ROWS).map_err(sql)?;
    let mut rows = statement.query((account, after, limit)).map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        found.push(KeyRow {
            head: head(row, *account, array(row, 8)?)?,
            secret: blob(row, 9)?,
        });
    }
    Ok(found)
}

fn heads(
    conn: &Connection,
    statement: &str,
    account: &Id,
    params: impl rusqlite::Params,
) -> Result<Vec<KeyHead>> {
    let mut statement = conn.prepare_cached(statement).map_err(sql)?;
    let mut rows = statement.query(params).map_err(sql)?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        heads.push(head(row, *account, array(row, 8)?)?);
    }
    Ok(heads)
}

pub(super) fn history(conn: &Connection, account: &Id, key: &Id) -> Result<Vec<HistoryRow>> {
    let mut statement = conn
        .prepare_cached(
            "SELECT version, meta, secret FROM history
             WHERE account = ?1 AND key = ?2 ORDER BY version DESC",
        )
        .map_err(sql)?;
    let mut rows = statement.query((account, key)).map_err(sql)?;
    let mut history = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        history.push(HistoryRow {
            version: number(row, 0)?,
            meta: blob(row, 1)?,
            secret: blob(row, 2)?,
        });
    }
    Ok(history)
}
