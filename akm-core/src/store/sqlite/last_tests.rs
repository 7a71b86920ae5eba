//! What a key's last connection test showed, sealed by the vault; at most one for each key.

use rusqlite::{Connection, Transaction};

use super::values::{array, blob, execute, int, number, sealed, sql};
use crate::error::Result;
use crate::store::{Id, LastTestRow};

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

pub(super) fn between(
    conn: &Connection,
    account: &Id,
    first: &Id,
    last: &Id,
) -> Result<Vec<LastTestRow>> {
    let mut statement = conn
        .prepare_cached(
            "SELECT key, secret_version, sealed FROM last_tests
             WHERE account = ?1 AND key BETWEEN ?2 AND ?3 ORDER BY key",
        )
        .map_err(sql)?;
    let mut rows = statement.query((account, first, last)).map_err(sql)?;
    let mut tests = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        tests.push(LastTestRow {
            key: array(row, 0)?,
            secret_version: number(row, 1)?,
            sealed: blob(row, 2)?,
        });
    }
    Ok(tests)
}
