//! The tree over an account's records, as numbered opaque nodes, and the manifest that its root is under.
//!
//! Both change in the transaction of what they describe. What they mean is the vault's business.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::values::{blob, execute, sealed, sql};
use crate::error::{Error, Kind, Result};
use crate::store::{Id, TreeChange};

pub(super) const NODE: &str = "SELECT content FROM tree WHERE account = ?1 AND node = ?2";

pub(super) fn node(conn: &Connection, account: &Id, number: i64) -> Result<Option<Vec<u8>>> {
    conn.prepare_cached(NODE)
        .and_then(|mut statement| {
            statement
                .query_row((account, number), |row| Ok(blob(row, 0)))
                .optional()
        })
        .map_err(sql)?
        .transpose()
}

pub(super) fn change(tx: &Transaction<'_>, account: &Id, change: &TreeChange) -> Result<()> {
    let moved = execute(
        tx,
        "UPDATE accounts SET manifest = ?3 WHERE id = ?1 AND manifest = ?2",
        (account, sealed(&change.from)?, sealed(&change.manifest)?),
    )?;
    if moved == 0 {
        // One process holds the vault and changes an account one by one: this was not akm.
        return Err(Error::new(
            Kind::RolledBack,
            "the vault was changed behind akm's back",
        ));
    }
    if change.anew {
        execute(tx, "DELETE FROM tree WHERE account = ?1", [account])?;
    }
    for (number, content) in &change.nodes {
        execute(
            tx,
            "INSERT INTO tree (account, node, content) VALUES (?1, ?2, ?3)
             ON CONFLICT (account, node) DO UPDATE SET content = excluded.content",
            (account, number, sealed(content)?),
        )?;
    }
    Ok(())
}
