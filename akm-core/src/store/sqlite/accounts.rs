//! Accounts, and the slots that lead into them.

use rusqlite::{Connection, Row, Transaction};

use super::providers;
use super::values::{
    array, blob, execute, flag, int, number, optional_blob, sealed, short, sql, text, time,
};
use crate::error::{Error, Kind, Result};
use crate::name::{LOOK_ALIKES, outline};
use crate::store::{AccountChange, AccountRow, Id, KeysChange, SlotRow};

/// Most slots of an account: a passphrase and recovery codes come nowhere near; a file that claims
/// more must not fill the memory of whoever signs in.
const MAX_SLOTS: usize = 256;

pub(super) fn count(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM accounts")
        .and_then(|mut statement| statement.query_row([], |row| Ok(number(row, 0))))
        .map_err(sql)?
}

pub(super) fn by_name(conn: &Connection, name: &str) -> Result<Option<AccountRow>> {
    one(
        conn,
        "SELECT id, name, role, tier, totp_active, totp_step, keys, profile, profile_version, manifest, created_at, key_before
         FROM accounts WHERE name = ?1",
        name,
    )
}

/// Every sub-select runs whether the name is there or not: the look-up of a name must not tell.
pub(super) fn by_name_or_other(
    conn: &Connection,
    name: &str,
    other: &Id,
) -> Result<Option<AccountRow>> {
    let (named, next, first): (Option<i64>, Option<i64>, Option<i64>) = conn
        .prepare_cached(
            "SELECT (SELECT rowid FROM accounts WHERE name = ?1),
                    (SELECT rowid FROM accounts WHERE id >= ?2 ORDER BY id LIMIT 1),
                    (SELECT rowid FROM accounts ORDER BY id LIMIT 1)",
        )
        .and_then(|mut statement| {
            statement.query_row((name, other), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
        })
        .map_err(sql)?;
    one(
        conn,
        "SELECT id, name, role, tier, totp_active, totp_step, keys, profile, profile_version, manifest, created_at, key_before
         FROM accounts WHERE rowid = ?1",
        named.or(next).or(first),
    )
}

pub(super) fn by_id(conn: &Connection, id: &Id) -> Result<Option<AccountRow>> {
    one(
        conn,
        "SELECT id, name, role, tier, totp_active, totp_step, keys, profile, profile_version, manifest, created_at, key_before
         FROM accounts WHERE id = ?1",
        id,
    )
}

pub(super) fn page(conn: &Connection, after: Option<&Id>, limit: u32) -> Result<Vec<AccountRow>> {
    // Every id is greater than the empty blob.
    let after = after.map_or(&[][..], |id| id);
    let mut statement = conn
        .prepare_cached(
            "SELECT id, name, role, tier, totp_active, totp_step, keys, profile, profile_version, manifest, created_at, key_before
             FROM accounts WHERE id > ?1 ORDER BY id LIMIT ?2",
        )
        .map_err(sql)?;
    let mut rows = statement.query((after, limit)).map_err(sql)?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        accounts.push(account(row)?);
    }
    Ok(accounts)
}

fn one(
    conn: &Connection,
    statement: &str,
    key: impl rusqlite::ToSql,
) -> Result<Option<AccountRow>> {
    let mut statement = conn.prepare_cached(statement).map_err(sql)?;
    let mut rows = statement.query([key]).map_err(sql)?;
    rows.next().map_err(sql)?.map(account).transpose()
}

fn account(row: &Row<'_>) -> Result<AccountRow> {
    Ok(AccountRow {
        id: array(row, 0)?,
        name: text(row, 1)?,
        role: text(row, 2)?,
        tier: text(row, 3)?,
        totp_active: flag(row, 4)?,
        totp_step: number(row, 5)?,
        keys: blob(row, 6)?,
        profile: blob(row, 7)?,
        profile_version: number(row, 8)?,
        manifest: blob(row, 9)?,
        created_at: time(row, 10)?,
        key_before: optional_blob(row, 11)?,
    })
}

pub(super) fn slots(conn: &Connection, account: &Id) -> Result<Vec<SlotRow>> {
    let mut statement = conn
        .prepare_cached(
            "SELECT slot, kdf, factors, commitment, wrapped FROM slots WHERE account = ?1 ORDER BY slot",
        )
        .map_err(sql)?;
    let mut rows = statement.query([account]).map_err(sql)?;
    let mut slots = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        if slots.len() == MAX_SLOTS {
            return Err(Error::corrupt("an account has more slots than akm writes"));
        }
        slots.push(SlotRow {
            slot: number(row, 0)?,
            kdf: blob(row, 1)?,
            factors: number(row, 2)?,
            commit: array(row, 3)?,
            wrapped: blob(row, 4)?,
        });
    }
    Ok(slots)
}

/// Refuses a name that is taken, or that a person would take for one that is.
fn check_unlike(tx: &Transaction<'_>, name: &str) -> Result<()> {
    let outlined = LOOK_ALIKES
        .iter()
        .fold("name".to_owned(), |outlined, (from, to)| {
            ["replace(", &outlined, ", '", from, "', '", to, "')"].concat()
        });
    // Reads the index of names alone.
    let alike: Option<bool> = tx
        .prepare_cached(&format!(
            "SELECT max(name = ?1) FROM accounts WHERE {outlined} = ?2"
        ))
        .and_then(|mut statement| statement.query_row((name, outline(name)), |row| row.get(0)))
        .map_err(sql)?;
    match alike {
        None => Ok(()),
        Some(true) => Err(EXISTS),
        Some(false) => Err(Error::new(
            Kind::Conflict,
            "an account exists whose name looks like this one",
        )
        .with_field("account")),
    }
}

const EXISTS: Error = Error::new(Kind::Conflict, "the account exists already");

pub(super) fn create(tx: &Transaction<'_>, row: &AccountRow, slots: &[SlotRow]) -> Result<()> {
    check_unlike(tx, &row.name)?;
    let added = execute(
        tx,
        "INSERT INTO accounts
         (id, name, role, tier, totp_active, totp_step, profile_version, created_at, manifest, keys, profile)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO NOTHING",
        (
            row.id,
            short(&row.name)?,
            short(&row.role)?,
            short(&row.tier)?,
            row.totp_active,
            int(row.totp_step)?,
            int(row.profile_version)?,
            row.created_at,
            sealed(&row.manifest)?,
            sealed(&row.keys)?,
            sealed(&row.profile)?,
        ),
    )?;
    if added == 0 {
        return Err(EXISTS);
    }
    put_slots(tx, &row.id, slots)
}

pub(super) fn change(tx: &Transaction<'_>, id: &Id, change: &AccountChange) -> Result<()> {
    require(tx, id)?;
    for slot in &change.remove_slots {
        let removed = execute(
            tx,
            "DELETE FROM slots WHERE account = ?1 AND slot = ?2",
            (id, slot),
        )?;
        if removed == 0 {
            return Err(Error::new(
                Kind::Conflict,
                "the account's way in was changed meanwhile",
            ));
        }
    }
    put_slots(tx, id, &change.put_slots)?;
    if let Some(new) = &change.keys {
        replace_keys(tx, id, new)?;
    }
    if change.rekeyed {
        execute(
            tx,
            "UPDATE accounts SET key_before = NULL WHERE id = ?1",
            [id],
        )?;
    }
    let Some(new) = &change.profile else {
        return Ok(());
    };
    let changed = execute(
        tx,
        "UPDATE accounts
         SET profile = ?3, profile_version = profile_version + 1, totp_active = ?4,
             totp_step = ifnull(?5, totp_step)
         WHERE id = ?1 AND profile_version = ?2",
        (
            id,
            int(new.from_version)?,
            sealed(&new.profile)?,
            new.totp_active,
            new.totp_step.map(int).transpose()?,
        ),
    )?;
    if changed == 0 {
        return Err(Error::new(
            Kind::Conflict,
            "the account was changed meanwhile",
        ));
    }
    Ok(())
}

fn replace_keys(tx: &Transaction<'_>, id: &Id, new: &KeysChange) -> Result<()> {
    execute(
        tx,
        "UPDATE accounts SET keys = ?2, key_before = ?3 WHERE id = ?1",
        (id, sealed(&new.keys)?, sealed(&new.key_before)?),
    )?;
    providers::replace(tx, id, &new.providers)
}

fn put_slots(tx: &Transaction<'_>, account: &Id, slots: &[SlotRow]) -> Result<()> {
    for slot in slots {
        execute(
            tx,
            "INSERT INTO slots (account, slot, factors, kdf, commitment, wrapped)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (account, slot) DO UPDATE SET
                 factors = excluded.factors, kdf = excluded.kdf,
                 commitment = excluded.commitment, wrapped = excluded.wrapped",
            (
                account,
                slot.slot,
                slot.factors,
                sealed(&slot.kdf)?,
                slot.commit,
                sealed(&slot.wrapped)?,
            ),
        )?;
    }
    let stored: usize = tx
        .prepare_cached("SELECT count(*) FROM slots WHERE account = ?1")
        .and_then(|mut statement| statement.query_row([account], |row| Ok(number(row, 0))))
        .map_err(sql)??;
    if stored > MAX_SLOTS {
        return Err(Error::internal("an account would have too many slots"));
    }
    Ok(())
}

pub(super) fn use_totp_step(tx: &Transaction<'_>, account: &Id, step: u64) -> Result<bool> {
    require(tx, account)?;
    let used = execute(
        tx,
        "UPDATE accounts SET totp_step = ?2 WHERE id = ?1 AND totp_step < ?2",
        (account, int(step)?),
    )?;
    Ok(used == 1)
}

fn require(tx: &Transaction<'_>, account: &Id) -> Result<()> {
    let exists = tx
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1")
        .and_then(|mut statement| statement.exists([account]))
        .map_err(sql)?;
    if !exists {
        return Err(Error::no_account());
    }
    Ok(())
}
