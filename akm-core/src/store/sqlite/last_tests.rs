//! What a key's last connection test showed, sealed by the vault; at most one for each key.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::values::{blob, execute, int, number, sealed, sql};
use crate::error::Result;
use crate::store::Id;

/// Keeps a test of this version of a key's secret; a key that was removed or got another secret keeps none.
pub(super) fn keep(
    tx: &Transaction<'_>,
    account: &Id,
    key: &Id,
    secret_version: u64,
    test: &[u8],
) -> Result<()> {
    execute(
        tx,
        "INSERT INTO last_tests (account, key, secret_version, sealed)
         SELECT account, id, secret_version, ?4 FROM keys
         WHERE account = ?1 AND id = ?2 AND secret_version = ?3
         ON CONFLICT (account, key) DO UPDATE
         SET secret_version = excluded.secret_version, sealed = excluded.sealed",
        (account, key, int(secret_version)?, sealed(test)?),
    )
    .map(drop)
}

/// The last test of a key: the version of its secret, and what is sealed.
pub(super) fn last(conn: &Connection, account: &Id, key: &Id) -> Result<Option<(u64, Vec<u8>)>> {
    conn.prepare_cached(
        "SELECT secret_version, sealed FROM last_tests WHERE account = ?1 AND key = ?2",
    )
    .and_then(|mut statement| {
        statement
            .query_row((account, key), |row| {
                Ok(number(row, 0).and_then(|version| Ok((version, blob(row, 1)?))))
            })
            .optional()
    })
    .map_err(sql)?
    .transpose()
}
