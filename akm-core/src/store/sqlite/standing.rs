//! What accounts may do, and invitations: what stands in clear beside the sealed.

use rusqlite::{Connection, Row, Transaction};

use super::values::{execute, flag, int, number, sql, text, time};
use crate::error::{Error, Kind, Result};
use crate::protocol::Role;
use crate::store::{AccountCard, Id, Standing, StandingChange, Tag};

/// Most invitations at a time; those that are over make room first.
const MAX_INVITATIONS: u64 = 10_000;

pub(super) fn of(conn: &Connection, account: &Id) -> Result<Standing> {
    let mut statement = conn
        .prepare_cached("SELECT role, totp_active, disabled, key_limit FROM accounts WHERE id = ?1")
        .map_err(sql)?;
    let mut rows = statement.query([account]).map_err(sql)?;
    let row = rows.next().map_err(sql)?.ok_or_else(Error::no_account)?;
    standing(row)
}

fn standing(row: &Row<'_>) -> Result<Standing> {
    let limit = match row.get_ref(3).map_err(sql)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(number(row, 3)?),
    };
    Ok(Standing {
        role: Role::from_token(&text(row, 0)?).ok_or(Error::corrupt(
            "an account has a role that akm does not know",
        ))?,
        totp_active: flag(row, 1)?,
        disabled: flag(row, 2)?,
        key_limit: limit,
    })
}

pub(super) fn cards(conn: &Connection, after: &str, limit: u32) -> Result<Vec<AccountCard>> {
    let mut statement = conn
        .prepare_cached(
            "SELECT role, totp_active, disabled, key_limit, name, tier, key_count, created_at
             FROM accounts WHERE name > ?1 ORDER BY name LIMIT ?2",
        )
        .map_err(sql)?;
    let mut rows = statement.query((after, limit)).map_err(sql)?;
    let mut cards = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        cards.push(card(row)?);
    }
    Ok(cards)
}

fn card(row: &Row<'_>) -> Result<AccountCard> {
    Ok(AccountCard {
        standing: standing(row)?,
        name: text(row, 4)?,
        tier: text(row, 5)?,
        keys: number(row, 6)?,
        created_at: time(row, 7)?,
    })
}

pub(super) fn change(
    tx: &Transaction<'_>,
    name: &str,
    change: &StandingChange,
) -> Result<AccountCard> {
    let limit = change.key_limit.flatten().map(int).transpose()?;
    execute(
        tx,
        "UPDATE accounts SET role = ifnull(?2, role), disabled = ifnull(?3, disabled),
             key_limit = CASE WHEN ?4 THEN ?5 ELSE key_limit END
         WHERE name = ?1",
        (
            name,
            change.role.map(Role::token),
            change.disabled,
            change.key_limit.is_some(),
            limit,
        ),
    )?;
    let mut statement = tx
        .prepare_cached(
            "SELECT role, totp_active, disabled, key_limit, name, tier, key_count, created_at
             FROM accounts WHERE name = ?1",
        )
        .map_err(sql)?;
    let mut rows = statement.query([name]).map_err(sql)?;
    card(rows.next().map_err(sql)?.ok_or_else(Error::no_account)?)
}

pub(super) fn add_invitation(
    tx: &Transaction<'_>,
    tag: &Tag,
    uses: u32,
    expires_at: i64,
    now: i64,
) -> Result<()> {
    execute(
        tx,
        "DELETE FROM invitations WHERE uses = 0 OR expires_at <= ?1",
        [now],
    )?;
    let added = execute(
        tx,
        "INSERT INTO invitations (tag, uses, expires_at)
         SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM invitations) < ?4",
        (tag, uses, expires_at, int(MAX_INVITATIONS)?),
    )?;
    if added == 0 {
        return Err(Error::new(
            Kind::LimitReached,
            "there are too many invitations that nobody used",
        ));
    }
    Ok(())
}

pub(super) fn is_invited(conn: &Connection, tag: &Tag, now: i64) -> Result<bool> {
    conn.prepare_cached("SELECT 1 FROM invitations WHERE tag = ?1 AND uses > 0 AND expires_at > ?2")
        .and_then(|mut statement| statement.exists((tag, now)))
        .map_err(sql)
}

pub(super) fn use_invitation(tx: &Transaction<'_>, tag: &Tag, now: i64) -> Result<()> {
    let used = execute(
        tx,
        "UPDATE invitations SET uses = uses - 1
         WHERE tag = ?1 AND uses > 0 AND expires_at > ?2",
        (tag, now),
    )?;
    if used == 0 {
        return Err(Error::new(
            Kind::Denied,
            "the invitation was used up meanwhile",
        ));
    }
    Ok(())
}
