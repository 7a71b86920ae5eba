//! What runs in the background after an unlock: the check of all keys, which somebody may ask for as well, and a rekey
//! that is under way (`rekey`).
//!
//! The background check is due when an account is opened and runs in slices, each as short as a page of a list, under
//! the table's read guard like any other use of a session. What it finds is an event of the account, and stands in
//! `agent.status` until the next check.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::audit::{Noted, Outcome};
use crate::error::{Kind, Result};
use crate::protocol::{VaultCheck, VaultChecked};
use crate::store::Id;
use crate::vault::Check;

use super::keys::parse_cursor;
use super::{Asked, Service, this_process};

/// Slices of one page.
const SLICES: usize = 8;

/// What is to be done in the background.
#[derive(Default)]
pub(super) struct Checks {
    /// How far the check of each account has come.
    pending: Mutex<HashMap<Id, Check>>,
    /// Accounts whose rekey is under way.
    rekeying: Mutex<HashSet<Id>>,
}

impl Checks {
    fn hold(&self) -> MutexGuard<'_, HashMap<Id, Check>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_rekeying(&self) -> MutexGuard<'_, HashSet<Id>> {
        self.rekeying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An account's rekey is under way.
    pub(super) fn rekeying(&self, account: &Id) {
        self.hold_rekeying().insert(*account);
    }

    /// An account's rekey is done, or cannot go on for now.
    pub(super) fn rekeyed(&self, account: &Id) {
        self.hold_rekeying().remove(account);
    }

    /// An account was opened: its check begins anew.
    pub(super) fn due(&self, account: &Id) {
        self.hold().insert(*account, Check::default());
    }

    /// Whether the last check of an account found something; `None` before its end.
    pub(super) fn damaged(&self, account: &Id) -> Option<bool> {
        let checks = self.hold();
        let check = checks.get(account)?;
        (check.done || !check.is_clean()).then(|| !check.is_clean())
    }
}

impl Service {
    pub(super) fn check_vault(
        &self,
        asked: &Asked<'_>,
        request: &VaultCheck,
    ) -> Result<VaultChecked> {
        let account = &asked.session.account;
        let after = request.after.as_deref().map(parse_cursor).transpose()?;
        let mut check = Check::after(after);
        for _ in 0..SLICES {
            self.vault.check_slice(account, &mut check)?;
        }
        let hex = |ids: &[Id]| {
            ids.iter()
                .map(|id| data_encoding::HEXLOWER.encode(id))
                .collect()
        };
        Ok(VaultChecked {
            ok: check.is_clean(),
            checked: check.seen,
            total: self.vault.records(account)?,
            missing: hex(&check.missing),
            foreign: hex(&check.foreign),
            stale: hex(&check.stale),
            unreadable: hex(&check.unreadable),
            broken: check.broken,
            next: check.next().map(|id| data_encoding::HEXLOWER.encode(&id)),
        })
    }

    /// Whether the background check of an open account, or its rekey, has something left.
    pub fn check_pending(&self) -> bool {
        !self.checks.hold_rekeying().is_empty()
            || self.checks.hold().values().any(|check| !check.done)
    }

    /// Looks at the next rows of every account whose check is not done, and goes on with every rekey. Call from time to time while
    /// [`Service::check_pending`].
    pub fn check_some(&self) {
        let rekeying: Vec<Id> = self.checks.hold_rekeying().iter().copied().collect();
        for id in &rekeying {
            self.rekey_some(id);
        }
        let pending: Vec<(Id, Check)> = {
            let checks = self.checks.hold();
            let pending = checks.iter().filter(|(_, check)| !check.done);
            pending.map(|(id, check)| (*id, check.clone())).collect()
        };
        for (id, mut check) in pending {
            let table = self.sessions.read();
            let Some(session) = table.of_account(&id) else {
                // Locked: the next unlock begins anew.
                self.checks.hold().remove(&id);
                continue;
            };
            let was_clean = check.is_clean();
            if self
                .vault
                .check_slice(&session.account, &mut check)
                .is_err()
            {
                // A vault that cannot be read says so to whoever asks for a key.
                check.done = true;
            }
            if was_clean && !check.is_clean() {
                let _ = self.audit.note(
                    &session.chain,
                    Noted::Check,
                    Outcome::Failed(Kind::RolledBack),
                    &this_process(),
                );
            }
            if let Some(held) = self.checks.hold().get_mut(&id) {
                *held = check;
            }
        }
    }
}
