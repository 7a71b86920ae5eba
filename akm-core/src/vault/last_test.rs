//! What the last connection test of a key showed, kept beside its record.
//!
//! It is a cache: no change of the record, bound to the version of the secret that was tested, gone with a rotation.
//! Sealed all the same, since which keys live is worth knowing to a thief of the file. An older result that is put
//! back in its place is not noticed: nothing is decided by it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Kind, Result};
use crate::protocol::Outcome;
use crate::store::{Id, LastTestRow};

use super::rekey::Before;
use super::{Record, Unlocked, Vault};

const VERSION: u8 = 1;
const BUCKET: usize = 128;

/// What a connection test showed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastTest {
    /// The verdict.
    pub outcome: Outcome,
    /// Unix milliseconds.
    pub at: i64,
}

/// The sealed form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u8,
    outcome: Outcome,
    at: i64,
}

impl Vault {
    /// Keeps what a test of a key showed; nothing where the key has another secret by now.
    pub fn keep_test(&self, account: &Unlocked, tested: &Record, outcome: Outcome) -> Result<()> {
        let kept = Kept {
            format: VERSION,
            outcome,
            at: self.now_ms(),
        };
        let plain = crate::protocol::encode(&kept)?;
        let ad = self.test_ad(account, &tested.id, tested.secret_version);
        let sealed =
            crypto::seal_padded(&*self.host.random, &account.vault_key, &ad, &plain, BUCKET)?;
        // Sealed under a key that a rekey may have replaced meanwhile.
        let _edit = self.edit(account)?;
        self.store
            .keep_test(account.id(), &tested.id, tested.secret_version, &sealed)
    }

    /// What the last test of a key showed, if it was of the secret that it has now.
    pub fn last_test(&self, account: &Unlocked, record: &Record) -> Result<Option<LastTest>> {
        let tests = self.last_tests(account, std::slice::from_ref(record))?;
        Ok(tests.into_iter().flatten().next())
    }

    /// [`Vault::last_test`] of each of a page of records, which stand in the order of their ids: one read.
    pub fn last_tests(
        &self,
        account: &Unlocked,
        records: &[Record],
    ) -> Result<Vec<Option<LastTest>>> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(Vec::new());
        };
        let rows = self.store.last_tests(account.id(), &first.id, &last.id)?;
        let test_of = |record: &Record| {
            let Ok(at) = rows.binary_search_by(|row| row.key.cmp(&record.id)) else {
                return Ok(None);
            };
            self.open_test(account, record, &rows[at])
        };
        records.iter().map(test_of).collect()
    }

    fn open_test(
        &self,
        account: &Unlocked,
        record: &Record,
        row: &LastTestRow,
    ) -> Result<Option<LastTest>> {
        if row.secret_version != record.secret_version {
            return Ok(None);
        }
        let ad = self.test_ad(account, &record.id, row.secret_version);
        let before = account.shared.before();
        let plain = open(account, before.as_deref(), &ad, &row.sealed)?;
        let kept: Kept = serde_json::from_slice(&plain)
            .map_err(|_| Error::corrupt("the last test of a key has an unknown shape"))?;
        if kept.format != VERSION {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "the last test of a key has an unknown format",
            ));
        }
        Ok(Some(LastTest {
            outcome: kept.outcome,
            at: kept.at,
        }))
    }

    /// The last test of a key whose record is sealed anew, if it has one.
    pub(super) fn renewed_test(
        &self,
        account: &Unlocked,
        before: &Before,
        id: &Id,
    ) -> Result<Option<(u64, Vec<u8>)>> {
        let rows = self.store.last_tests(account.id(), id, id)?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let version = row.secret_version;
        let ad = self.test_ad(account, id, version);
        let plain = open(account, Some(before), &ad, &row.sealed)?;
        let random = &*self.host.random;
        let sealed = crypto::seal_padded(random, &account.vault_key, &ad, &plain, BUCKET)?;
        Ok(Some((version, sealed)))
    }

    fn test_ad(&self, account: &Unlocked, id: &Id, secret_version: u64) -> Ad {
        Ad::new(Field::LastTest)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(id)
            .version(secret_version)
    }
}

/// Under the vault key or, while a rekey is under way, the one before.
fn open(
    account: &Unlocked,
    before: Option<&Before>,
    ad: &Ad,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    match (crypto::open_padded(&account.vault_key, ad, sealed), before) {
        (Err(error), Some(before)) if error.kind() == Kind::Corrupt => {
            crypto::open_padded(&before.vault_key, ad, sealed)
        }
        (opened, _) => opened,
    }
}
