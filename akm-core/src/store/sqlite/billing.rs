//! Orders, codes, tiers, contacts and reminders.

use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::SqliteStore;
use super::values::{
    array, blob, execute, number, optional_array, optional_time, sealed, short, sql, text, time,
};
use crate::error::{Error, Result};
use crate::store::{BeforeCommit, CodeRow, Decide, Id, Ledger, OrderRow, Tag, TierRow, Weigh};

const COLUMNS: &str = "
    provider, number, account, state, paid_at, seen_at, mac, body";
/// Most orders of an account that are weighed; see the billing room.
pub(super) const MOST: u32 = 10_000;

impl Ledger for SqliteStore {
    fn order(&self, provider: &str, number: &str) -> Result<Option<OrderRow>> {
        one(&self.reader(), provider, number)
    }

    fn orders_of(&self, account: &Id, most: u32) -> Result<Vec<OrderRow>> {
        of(&self.scanner(), account, most)
    }

    fn orders_page(
        &self,
        state: Option<u8>,
        before: Option<(i64, &str, &str)>,
        limit: u32,
    ) -> Result<Vec<OrderRow>> {
        let conn = self.scanner();
        let (seen, provider, number) = before.unwrap_or((i64::MAX, "\u{10ffff}", ""));
        let mut statement = conn
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM orders
                 WHERE (seen_at, provider, number) < (?1, ?2, ?3) AND (?4 IS NULL OR state = ?4)
                 ORDER BY seen_at DESC, provider DESC, number DESC LIMIT ?5"
            ))
            .map_err(sql)?;
        let mut rows = statement
            .query((seen, provider, number, state, limit))
            .map_err(sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(sql)? {
            found.push(order(row)?);
        }
        Ok(found)
    }

    fn settle(
        &self,
        provider: &str,
        number: &str,
        decide: Decide<'_>,
        weigh: Weigh<'_>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<bool> {
        self.write(|tx| {
            let Some(new) = decide(one(tx, provider, number)?)? else {
                return Ok(false);
            };
            execute(
                tx,
                "INSERT INTO orders (provider, number, account, state, paid_at, seen_at, mac, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (provider, number) DO UPDATE SET
                 account = ?3, state = ?4, paid_at = ?5, seen_at = ?6, mac = ?7, body = ?8",
                (
                    short(&new.provider)?,
                    short(&new.number)?,
                    new.account,
                    new.state,
                    new.paid_at,
                    new.seen_at,
                    new.mac,
                    sealed(&new.body)?,
                ),
            )?;
            if let Some(account) = new.account {
                note(tx, &account, weigh)?;
            }
            before_commit()?;
            Ok(true)
        })
    }

    fn weigh(&self, account: &Id, weigh: Weigh<'_>) -> Result<bool> {
        self.write(|tx| note(tx, account, weigh))
    }

    fn tier_history(&self, account: &Id, limit: u32) -> Result<Vec<TierRow>> {
        let conn = self.scanner();
        let mut statement = conn
            .prepare_cached(
                "SELECT time, tier, until, reason FROM tier_history WHERE account = ?1
                 ORDER BY seq DESC LIMIT ?2",
            )
            .map_err(sql)?;
        let mut rows = statement.query((account, limit)).map_err(sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(sql)? {
            found.push(tier(row)?);
        }
        Ok(found)
    }

    fn add_codes(&self, codes: &[CodeRow], before_commit: BeforeCommit<'_>) -> Result<()> {
        self.change(before_commit, |tx| {
            for code in codes {
                execute(
                    tx,
                    "INSERT INTO codes (tag, tier, months, expires_at, mac, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    (
                        code.tag,
                        short(&code.tier)?,
                        code.months,
                        code.expires_at,
                        code.mac,
                        code.created_at,
                    ),
                )?;
            }
            Ok(())
        })
    }

    fn code(&self, tag: &Tag) -> Result<Option<CodeRow>> {
        let conn = self.reader();
        let mut statement = conn
            .prepare_cached(
                "SELECT tag, tier, months, expires_at, mac, created_at FROM codes WHERE tag = ?1",
            )
            .map_err(sql)?;
        let mut rows = statement.query([tag]).map_err(sql)?;
        rows.next().map_err(sql)?.map(code).transpose()
    }

    fn set_contact(
        &self,
        account: &Id,
        content: Option<&[u8]>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<()> {
        self.change(before_commit, |tx| {
            execute(tx, "DELETE FROM contacts WHERE account = ?1", [account])?;
            if let Some(content) = content {
                execute(
                    tx,
                    "INSERT INTO contacts (account, sealed) VALUES (?1, ?2)",
                    (account, sealed(content)?),
                )?;
            }
            Ok(())
        })
    }

    fn contact(&self, account: &Id) -> Result<Option<Vec<u8>>> {
        let conn = self.reader();
        let mut statement = conn
            .prepare_cached("SELECT sealed FROM contacts WHERE account = ?1")
            .map_err(sql)?;
        let mut rows = statement.query([account]).map_err(sql)?;
        rows.next()
            .map_err(sql)?
            .map(|row| blob(row, 0))
            .transpose()
    }

    fn claim_reminder(
        &self,
        account: &Id,
        subject: &Id,
        ends_at: i64,
        days: u32,
        channel: &str,
    ) -> Result<bool> {
        self.write(|tx| {
            let claimed = execute(
                tx,
                "INSERT INTO reminders (account, subject, ends_at, days, channel)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                (account, subject, ends_at, days, short(channel)?),
            )?;
            Ok(claimed > 0)
        })
    }

    fn release_reminder(
        &self,
        account: &Id,
        subject: &Id,
        ends_at: i64,
        days: u32,
        channel: &str,
    ) -> Result<()> {
        self.write(|tx| {
            execute(
                tx,
                "DELETE FROM reminders WHERE account = ?1 AND subject = ?2 AND ends_at = ?3
                 AND days = ?4 AND channel = ?5",
                (account, subject, ends_at, days, channel),
            )
            .map(drop)
        })
    }
}

fn one(conn: &Connection, provider: &str, number: &str) -> Result<Option<OrderRow>> {
    let mut statement = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM orders WHERE provider = ?1 AND number = ?2"
        ))
        .map_err(sql)?;
    let mut rows = statement.query((provider, number)).map_err(sql)?;
    rows.next().map_err(sql)?.map(order).transpose()
}

pub(super) fn of(conn: &Connection, account: &Id, most: u32) -> Result<Vec<OrderRow>> {
    let mut statement = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM orders WHERE account = ?1 ORDER BY paid_at, provider, number LIMIT ?2"
        ))
        .map_err(sql)?;
    let mut rows = statement
        .query((account, i64::from(most) + 1))
        .map_err(sql)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        found.push(order(row)?);
    }
    if found.len() > most as usize {
        return Err(Error::corrupt("an account has more orders than akm weighs"));
    }
    Ok(found)
}

fn order(row: &Row<'_>) -> Result<OrderRow> {
    Ok(OrderRow {
        provider: text(row, 0)?,
        number: text(row, 1)?,
        account: optional_array(row, 2)?,
        state: number(row, 3)?,
        paid_at: time(row, 4)?,
        seen_at: time(row, 5)?,
        mac: array(row, 6)?,
        body: blob(row, 7)?,
    })
}

pub(super) fn code(row: &Row<'_>) -> Result<CodeRow> {
    Ok(CodeRow {
        tag: array(row, 0)?,
        tier: text(row, 1)?,
        months: number(row, 2)?,
        expires_at: optional_time(row, 3)?,
        mac: array(row, 4)?,
        created_at: time(row, 5)?,
    })
}

fn tier(row: &Row<'_>) -> Result<TierRow> {
    Ok(TierRow {
        time: time(row, 0)?,
        tier: text(row, 1)?,
        until: optional_time(row, 2)?,
        reason: text(row, 3)?,
    })
}

/// Weighs an account's orders; where that comes to something else than before, says so beside the account and in
/// its history.
fn note(tx: &Transaction<'_>, account: &Id, weigh: Weigh<'_>) -> Result<bool> {
    let settled = weigh(&of(tx, account, MOST)?)?;
    let known = execute(
        tx,
        "UPDATE accounts SET tier = ?2 WHERE id = ?1",
        (account, short(&settled.tier)?),
    )?;
    if known == 0 {
        return Err(Error::no_account());
    }
    let last: Option<Result<(i64, TierRow)>> = tx
        .prepare_cached(
            "SELECT time, tier, until, reason, seq FROM tier_history WHERE account = ?1
             ORDER BY seq DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([account], |row| {
                    Ok(time(row, 4).and_then(|seq| Ok((seq, tier(row)?))))
                })
                .optional()
        })
        .map_err(sql)?;
    let new = &settled.history;
    let seq = match last.transpose()? {
        Some((_, old))
            if (&old.tier, old.until, &old.reason) == (&new.tier, new.until, &new.reason) =>
        {
            return Ok(false);
        }
        Some((seq, _)) => seq.saturating_add(1),
        None => 1,
    };
    execute(
        tx,
        "INSERT INTO tier_history (account, seq, time, tier, until, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            account,
            seq,
            new.time,
            short(&new.tier)?,
            new.until,
            short(&new.reason)?,
        ),
    )?;
    Ok(true)
}
