//! New keys for an account: begun with the passphrase, carried on in slices by whoever asks, at an unlock, and by the agent
//! in the background.
//!
//! The event of the beginning stands in its transaction, and so does that of the end; the slices between are parts of one
//! act and leave none. Each runs under the table's read guard like any other use of a session, so that a lock waits for
//! one slice at most. An error between leaves a rekey that is under way, and nothing else.

use crate::audit::{Caller, Noted, Outcome};
use crate::error::{Error, Result};
use crate::protocol::{MAX_PAGE, Op, RekeyProgress, VaultRekey, VaultRekeyed};
use crate::store::Id;
use crate::vault::{MAX_SLICE, Rekeyed, Unlocked};

use super::session::Session;
use super::{Service, this_process};

const OP: Op = Op::VaultRekey;

impl Service {
    pub(super) fn rekey(&self, caller: &Caller, request: &VaultRekey) -> Result<VaultRekeyed> {
        let limit = match request.limit {
            Some(limit) if limit == 0 || limit > MAX_PAGE => {
                return self.open_session(caller, OP, |_| {
                    Err(Error::invalid("limit", "a limit is from 1 to 1000"))
                });
            }
            limit => limit.unwrap_or(MAX_PAGE),
        };
        let codes = match request.passphrase {
            Some(_) => self.begin_rekey(caller, request)?,
            None => None,
        };
        let went_on = self.go_on_rekeying(caller, limit);
        let Rekeyed {
            done,
            passed,
            total,
        } = match (went_on, &codes) {
            (Ok(Some(rekeyed)), _) => rekeyed,
            // What has begun goes on; the codes are its owner's whatever came between.
            (Ok(None) | Err(_), Some(_)) => Rekeyed {
                done: false,
                passed: 0,
                total: 0,
            },
            (Ok(None), None) => {
                return self.open_session(caller, OP, |_| {
                    Err(
                        Error::invalid("passphrase", "a rekey begins with the passphrase")
                            .with_hint("no rekey is under way that could go on without it"),
                    )
                });
            }
            (Err(error), None) => return Err(error),
        };
        if codes.is_some() {
            // Last. An agent that ended before has told nobody, and says so at the next unlock; so does one that cannot note
            // it now, to somebody who may have them.
            let _ = self.open_session(caller, OP, |asked| {
                self.vault.deliver_codes(&asked.session.account)
            });
        }
        Ok(VaultRekeyed {
            done,
            rekeyed: passed,
            total,
            recovery_codes: codes.unwrap_or_default(),
        })
    }

    /// `None` where one is under way already: then it goes on.
    pub(super) fn begin_rekey(
        &self,
        caller: &Caller,
        request: &VaultRekey,
    ) -> Result<Option<Vec<crate::Secret>>> {
        let Some(passphrase) = &request.passphrase else {
            return Ok(None);
        };
        let begun = self.stepped_up(
            caller,
            OP,
            passphrase,
            |proof| {
                self.vault
                    .prepare_rekey(proof, passphrase, request.totp.as_ref())
            },
            |asked, _, new| match new {
                Some(new) => {
                    let mut event = || self.event(asked);
                    let (account, codes) = self.vault.begin_rekey(new, &mut event)?;
                    Ok(Some((account, codes, asked.session.generation())))
                }
                None => Ok(None),
            },
        )?;
        let Some((account, codes, kept)) = begun else {
            return Ok(None);
        };
        self.checks.rekeying(account.id());
        self.go_on_as(caller, kept, account);
        Ok(Some(codes))
    }

    /// Seals up to `limit` records anew; `None` where no rekey is under way.
    pub(super) fn go_on_rekeying(&self, caller: &Caller, limit: u32) -> Result<Option<Rekeyed>> {
        let mut left = limit;
        loop {
            let rekeyed = self.open_session(caller, OP, |asked| {
                self.rekey_slice(asked.session, left, caller)
            })?;
            let Some(now) = rekeyed else { return Ok(None) };
            left = left.saturating_sub(MAX_SLICE);
            // After the last record one more look, which finds none and ends it.
            if now.done || left == 0 && now.passed < now.total {
                return Ok(Some(now));
            }
        }
    }

    fn rekey_slice(
        &self,
        session: &Session,
        most: u32,
        caller: &Caller,
    ) -> Result<Option<Rekeyed>> {
        let mut event = || {
            let noted = Noted::Rekeyed;
            self.audit.note(&session.chain, noted, Outcome::Ok, caller)
        };
        let account = &session.account;
        let rekeyed = self.vault.rekey_slice(account, most, &mut event)?;
        if rekeyed.is_none_or(|rekeyed| rekeyed.done) {
            self.checks.rekeyed(account.id());
        }
        if rekeyed.is_some_and(|rekeyed| rekeyed.done) {
            self.leave_no_trace();
        }
        Ok(rekeyed)
    }

    /// A rekey that was interrupted goes on: now, as far as one call goes, and then in the background.
    pub(super) fn take_up_rekey(&self, caller: &Caller, account: &Id) {
        self.checks.rekeying(account);
        // Whoever unlocked is in whatever comes of this.
        let _ = self.go_on_rekeying(caller, MAX_PAGE);
    }

    /// One slice of an account that is open somewhere, in the background.
    pub(super) fn rekey_some(&self, account: &Id) {
        let table = self.sessions.read();
        let went_on = match table.of_account(account) {
            Some(session) => self.rekey_slice(session, MAX_PAGE, &this_process()).is_ok(),
            None => false,
        };
        if !went_on {
            // Locked, or something does not open: the next unlock or call tries again.
            self.checks.rekeyed(account);
        }
    }

    /// How far the rekey of an open account is.
    pub(super) fn rekey_progress(&self, account: &Unlocked) -> Result<Option<RekeyProgress>> {
        let rekeyed = self.vault.rekeying(account)?;
        Ok(rekeyed.map(|rekeyed| RekeyProgress {
            done: rekeyed.passed,
            total: rekeyed.total,
        }))
    }
}
