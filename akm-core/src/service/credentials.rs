//! Operations that ask for the passphrase again: what opens an account is changed here, and nowhere else.
//!
//! The passphrase is confirmed, counted as every guess at it is, and the change prepared without holding the session; the
//! change is made only if the session is still the same. A new way in ends the other sessions of the account.

use std::sync::Arc;

use crate::Secret;
use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::protocol::{
    self, AccountPassphrase, KeyUpdate, KeyfileDisable, KeyfileEnable, KeyfileEnabled,
    KeyfileState, Op, RecoveryCodes, Request, Response, TotpSecret,
};
use crate::store::BeforeCommit;
use crate::vault::{NewWay, StepUp, Unlocked, key_file};

use super::access::{Gate, pass};
use super::changes::in_order;
use super::dispatch::Asked;
use super::session::Generation;
use super::{Service, origin};

impl Service {
    /// The operations whose request always has the passphrase in it.
    pub(super) fn change_credential(&self, caller: &Caller, request: Request) -> Result<Response> {
        let op = request.op();
        match request {
            Request::AccountPassphrase(request) => self
                .change_passphrase(caller, &request)
                .map(|()| Response::AccountPassphrase(protocol::Empty {})),
            Request::KeyfileEnable(request) => self
                .enable_keyfile(caller, &request)
                .map(Response::KeyfileEnable),
            Request::KeyfileDisable(request) => self
                .disable_keyfile(caller, &request)
                .map(|()| Response::KeyfileDisable(protocol::Empty {})),
            Request::TotpEnable(request) => self
                .confirmed(caller, op, &request.passphrase, |proof, event| {
                    self.vault.enable_totp(proof, event)
                })
                .map(|(totp_secret, totp_uri)| {
                    Response::TotpEnable(TotpSecret {
                        totp_secret,
                        totp_uri,
                    })
                }),
            Request::TotpDisable(request) => self
                .confirmed(caller, op, &request.passphrase, |proof, event| {
                    self.vault.disable_totp(proof, event)
                })
                .map(|()| Response::TotpDisable(protocol::Empty {})),
            Request::TotpCodes(request) => self
                .confirmed(caller, op, &request.passphrase, |proof, event| {
                    self.vault.replace_codes(proof, event)
                })
                .map(|recovery_codes| Response::TotpCodes(RecoveryCodes { recovery_codes })),
            _ => Err(Error::internal(
                "the table and the service disagree about a step-up",
            )),
        }
    }

    /// A change of a key that is allowed only with the passphrase, and one that needs none.
    pub(super) fn update_key_stepped_up(
        &self,
        caller: &Caller,
        mut request: KeyUpdate,
    ) -> Result<protocol::KeyResult> {
        const OP: Op = Op::KeyUpdate;
        match request.passphrase.take() {
            Some(passphrase) => self.stepped_up(
                caller,
                OP,
                &passphrase,
                |_| Ok(()),
                |asked, _, ()| in_order(|| self.update_key(asked, &request, true)),
            ),
            None => self.asking(caller, OP, |asked| {
                in_order(|| {
                    let may = self.may_change_key(asked, &request.name);
                    // Its owner may, whatever the program.
                    pass!(may.map_err(|error| error.with_field("passphrase"))?);
                    self.update_key(asked, &request, false).map(Gate::Done)
                })
            }),
        }
    }

    fn change_passphrase(&self, caller: &Caller, request: &AccountPassphrase) -> Result<()> {
        self.change_way(
            caller,
            Op::AccountPassphrase,
            &request.passphrase,
            |proof| {
                // Here, so that a refusal is in the log like any other.
                self.check_chosen(caller, &request.new_passphrase, "new_passphrase")?;
                self.vault
                    .prepare_passphrase(proof, &request.new_passphrase)
            },
        )
    }

    fn enable_keyfile(&self, caller: &Caller, request: &KeyfileEnable) -> Result<KeyfileEnabled> {
        let given = match &request.keyfile {
            Some(hex) => Some(Arc::new(key_file::from_hex(hex, "keyfile")?)),
            None => None,
        };
        let name = self.open_session(caller, Op::KeyfileEnable, |asked| {
            Ok(asked.session.account.name().clone())
        })?;
        let path = match &given {
            Some(_) => None,
            None => Some(self.keyfiles.path(&name).display().to_string()),
        };
        self.change_way(caller, Op::KeyfileEnable, &request.passphrase, |proof| {
            if proof.has_device() {
                return Err(
                    Error::new(Kind::Conflict, "the account has a keyfile already")
                        .with_hint("run akm account keyfile disable first"),
                );
            }
            // On the disk before the slot that needs it.
            let device = match given {
                Some(device) => device,
                None => self.keyfiles.find_or_create(&name, &*self.host.random)?,
            };
            self.vault
                .prepare_device(proof, &request.passphrase, Some(device))
        })?;
        Ok(KeyfileEnabled { path })
    }

    fn disable_keyfile(&self, caller: &Caller, request: &KeyfileDisable) -> Result<()> {
        self.change_way(caller, Op::KeyfileDisable, &request.passphrase, |proof| {
            if !proof.has_device() {
                return Err(Error::new(Kind::Conflict, "the account has no keyfile"));
            }
            self.vault.prepare_device(proof, &request.passphrase, None)
        })
    }

    pub(super) fn keyfile_state(&self, asked: &Asked<'_>) -> KeyfileState {
        let account = &asked.session.account;
        let enabled = account.device().is_some();
        let path = self.keyfiles.path(account.name());
        KeyfileState {
            enabled,
            path: (enabled && path.exists()).then(|| path.display().to_string()),
        }
    }

    /// Puts a new way in place: other sessions of the account end, the one that changed it goes on with what is
    /// needed now.
    fn change_way(
        &self,
        caller: &Caller,
        op: Op,
        passphrase: &Secret,
        prepare: impl FnOnce(&StepUp) -> Result<NewWay>,
    ) -> Result<()> {
        let (account, kept) =
            self.stepped_up(caller, op, passphrase, prepare, |asked, proof, way| {
                let mut event = || self.event(asked);
                let account = self.vault.change_way(proof, way, &mut event)?;
                Ok((account, asked.session.generation()))
            })?;
        self.go_on_as(caller, kept, account);
        self.leave_no_trace();
        Ok(())
    }

    /// One session of an account goes on with these keys, the others end.
    pub(super) fn go_on_as(&self, caller: &Caller, kept: Generation, account: Unlocked) {
        let id = *account.id();
        self.sessions.replace(caller.into(), kept, account);
        let others = |session: &super::Session| {
            let goes = *session.account.id() == id && session.generation() != kept;
            goes.then_some(crate::protocol::LockReason::Credential)
        };
        self.sessions
            .close_where(&others, &mut |who, session, reason| {
                self.note_lock(who, session, reason)
            });
    }

    /// A change that prepares nothing.
    fn confirmed<T>(
        &self,
        caller: &Caller,
        op: Op,
        passphrase: &Secret,
        act: impl FnOnce(&StepUp, BeforeCommit<'_>) -> Result<T>,
    ) -> Result<T> {
        self.stepped_up(
            caller,
            op,
            passphrase,
            |_| Ok(()),
            |asked, proof, ()| act(proof, &mut || self.event(asked)),
        )
    }

    /// Confirms the passphrase and prepares the change without holding the session, then runs `act` if the session is
    /// still the same.
    pub(super) fn stepped_up<P, T>(
        &self,
        caller: &Caller,
        op: Op,
        passphrase: &Secret,
        prepare: impl FnOnce(&StepUp) -> Result<P>,
        act: impl FnOnce(&Asked<'_>, &StepUp, P) -> Result<T>,
    ) -> Result<T> {
        let (name, device, seen) = {
            let table = self.sessions.read();
            let session = table.live(caller, &*self.host.clock)?;
            let account = &session.account;
            (
                account.name().clone(),
                account.device().cloned(),
                session.generation(),
            )
        };
        let prepared = self
            .vault
            .confirm_passphrase(&name, passphrase, device.as_ref(), origin(caller))
            .and_then(|proof| prepare(&proof).map(|prepared| (proof, prepared)));
        let table = self.sessions.read();
        let session = table.live(caller, &*self.host.clock)?;
        if session.generation() != seen {
            return Err(Error::locked());
        }
        self.audited(&Asked::new(session, caller, op), |asked| {
            let (proof, prepared) = prepared?;
            act(asked, &proof, prepared)
        })
    }
}

#[cfg(test)]
mod tests;
