//! Documents of administrators, the list of redeem codes, the removal of an account.

use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::SqliteStore;
use super::billing::{MOST, code, of as orders_of};
use super::values::{array, blob, execute, flag, number, sealed, short, sql, text};
use crate::error::{Error, Kind, Result};
use crate::protocol::Role;
use crate::store::{BeforeCommit, CodeRow, DocumentRow, Hosted, Id, Removal, Tag};

/// Tables whose rows are an account's, those that others point to last. Left out are its events, which stay, and its
/// orders, which become nobody's.
const TABLES: &[&str] = &[
    "last_tests",
    "history",
    "keys",
    "providers",
    "tree",
    "slots",
    "familiar",
    "tier_history",
    "contacts",
    "reminders",
];

impl Hosted for SqliteStore {
    fn document(&self, kind: &str, id: &str) -> Result<Option<DocumentRow>> {
        let conn = self.reader();
        let mut statement = conn
            .prepare_cached("SELECT kind, id, mac, body FROM documents WHERE kind = ?1 AND id = ?2")
            .map_err(sql)?;
        let mut rows = statement.query((kind, id)).map_err(sql)?;
        rows.next().map_err(sql)?.map(document).transpose()
    }

    fn documents(&self, kind: &str, most: u32) -> Result<Vec<DocumentRow>> {
        let conn = self.scanner();
        let mut statement = conn
            .prepare_cached(
                "SELECT kind, id, mac, body FROM documents WHERE kind = ?1 ORDER BY id LIMIT ?2",
            )
            .map_err(sql)?;
        let mut rows = statement.query((kind, i64::from(most) + 1)).map_err(sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(sql)? {
            found.push(document(row)?);
        }
        if found.len() > most as usize {
            return Err(Error::corrupt("there are more documents than akm writes"));
        }
        Ok(found)
    }

    fn put_document(
        &self,
        row: &DocumentRow,
        most: u32,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            execute(
                tx,
                "INSERT INTO documents (kind, id, mac, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (kind, id) DO UPDATE SET mac = ?3, body = ?4",
                (
                    short(&row.kind)?,
                    short(&row.id)?,
                    row.mac,
                    sealed(&row.body)?,
                ),
            )?;
            let count: u32 = tx
                .prepare_cached("SELECT count(*) FROM documents WHERE kind = ?1")
                .and_then(|mut statement| {
                    statement.query_row([&row.kind], |row| Ok(number(row, 0)))
                })
                .map_err(sql)??;
            if count > most {
                return Err(Error::new(
                    Kind::LimitReached,
                    "the server holds as many of these as it may",
                ));
            }
            Ok(())
        })
    }

    fn remove_document(&self, kind: &str, id: &str, before_commit: BeforeCommit<'_>) -> Result<()> {
        self.change(before_commit, |tx| {
            let removed = execute(
                tx,
                "DELETE FROM documents WHERE kind = ?1 AND id = ?2",
                (kind, id),
            )?;
            match removed {
                0 => Err(Error::new(Kind::NotFound, "there is no such document")),
                _ => Ok(()),
            }
        })
    }

    fn codes_page(&self, before: Option<(i64, &Tag)>, limit: u32) -> Result<Vec<(CodeRow, bool)>> {
        let conn = self.scanner();
        let (created, tag) = before.unwrap_or((i64::MAX, &[0xff; 32]));
        let mut statement = conn
            .prepare_cached(
                "SELECT tag, tier, months, expires_at, mac, created_at,
                     EXISTS (SELECT 1 FROM orders
                             WHERE provider = 'code' AND number = lower(hex(tag)))
                 FROM codes WHERE (created_at, tag) < (?1, ?2)
                 ORDER BY created_at DESC, tag DESC LIMIT ?3",
            )
            .map_err(sql)?;
        let mut rows = statement.query((created, tag, limit)).map_err(sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(sql)? {
            found.push((code(row)?, flag(row, 6)?));
        }
        Ok(found)
    }

    fn remove_code(&self, tag: &Tag, before_commit: BeforeCommit<'_>) -> Result<()> {
        self.change(before_commit, |tx| {
            let number = data_encoding::HEXLOWER.encode(tag);
            let used = tx
                .prepare_cached("SELECT 1 FROM orders WHERE provider = 'code' AND number = ?1")
                .and_then(|mut statement| statement.exists([&number]))
                .map_err(sql)?;
            if used {
                return Err(Error::new(Kind::Conflict, "the code was redeemed already"));
            }
            match execute(tx, "DELETE FROM codes WHERE tag = ?1", [tag])? {
                0 => Err(Error::no_code()),
                _ => Ok(()),
            }
        })
    }

    fn remove_account(
        &self,
        removal: &Removal<'_>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<u64> {
        self.write(|tx| {
            let keys = remove(tx, removal)?;
            before_commit()?;
            Ok(keys)
        })
    }
}

fn document(row: &Row<'_>) -> Result<DocumentRow> {
    Ok(DocumentRow {
        kind: text(row, 0)?,
        id: text(row, 1)?,
        mac: array(row, 2)?,
        body: blob(row, 3)?,
    })
}

fn remove(tx: &Transaction<'_>, removal: &Removal<'_>) -> Result<u64> {
    let account = removal.account;
    let (role, keys) = who(tx, account)?.ok_or_else(Error::no_account)??;
    if removal.spare_admins && role != Role::User.token() {
        return Err(Error::new(
            Kind::Denied,
            "an administrator is removed by its owner, or on the host",
        ));
    }
    for order in orders_of(tx, account, MOST)? {
        let row = (removal.unlink)(order);
        execute(
            tx,
            "UPDATE orders SET account = NULL, mac = ?3 WHERE provider = ?1 AND number = ?2",
            (&row.provider, &row.number, row.mac),
        )?;
    }
    for table in TABLES {
        execute(
            tx,
            &format!("DELETE FROM {table} WHERE account = ?1"),
            [account],
        )?;
    }
    for tag in removal.attempts {
        execute(tx, "DELETE FROM attempts WHERE tag = ?1", [tag])?;
    }
    execute(tx, "DELETE FROM accounts WHERE id = ?1", [account])?;
    Ok(keys)
}

/// Role and number of keys.
fn who(conn: &Connection, account: &Id) -> Result<Option<Result<(String, u64)>>> {
    conn.prepare_cached("SELECT role, key_count FROM accounts WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([account], |row| {
                    Ok(text(row, 0).and_then(|role| Ok((role, number(row, 1)?))))
                })
                .optional()
        })
        .map_err(sql)
}
