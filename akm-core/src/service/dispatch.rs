//! Operations on an unlocked account: which arm runs, under which guard, and with which event.

use std::cell::OnceCell;

use crate::audit::{Caller, Event};
use crate::error::{Error, Kind, Result};
use crate::name::KeyName;
use crate::protocol::{self, Cost, Op, Request, Response};
use crate::store::Id;

use super::access::{Gate, Leave};
use super::session::Session;
use super::{Service, billing, done, failed};

/// One operation on one session, while the session cannot end.
pub(super) struct Asked<'a> {
    pub(super) session: &'a Session,
    pub(super) caller: &'a Caller,
    pub(super) op: Op,
    /// The key it turned out to be about, for the event of a refusal.
    pub(super) subject: OnceCell<(Id, KeyName)>,
    /// Whether it runs where waiting is allowed.
    pub(super) may_wait: bool,
    /// What a person said, where one was asked.
    pub(super) leave: Option<&'a Leave>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(session: &'a Session, caller: &'a Caller, op: Op) -> Self {
        Asked {
            session,
            caller,
            op,
            subject: OnceCell::new(),
            may_wait: true,
            leave: None,
        }
    }

    /// Names the key that exists and that this is about.
    pub(super) fn about(&self, id: Id, name: &KeyName) {
        // Said once: an operation is about one key.
        let _ = self.subject.set((id, name.clone()));
    }
}

impl Service {
    /// Operations on the unlocked account.
    pub(super) fn with_session(&self, caller: &Caller, request: Request) -> Result<Response> {
        match request {
            request @ (Request::AccountPassphrase(_)
            | Request::KeyfileEnable(_)
            | Request::KeyfileDisable(_)
            | Request::TotpEnable(_)
            | Request::TotpDisable(_)
            | Request::TotpCodes(_)) => self.change_credential(caller, request),
            Request::AccountRemove(request) => self
                .remove_own(caller, &request)
                .map(Response::AccountRemove),
            Request::VaultRekey(request) => self.rekey(caller, &request).map(Response::VaultRekey),
            Request::KeyUpdate(request) => self
                .update_key_stepped_up(caller, request)
                .map(Response::KeyUpdate),
            Request::AuditList(request) => {
                self.list_events(caller, &request).map(Response::AuditList)
            }
            Request::AuditVerify(request) => self
                .verify_events(caller, &request)
                .map(Response::AuditVerify),
            Request::SessionList(_) => self.list_sessions(caller).map(Response::SessionList),
            Request::SessionRevoke(request) => self
                .revoke_session(caller, &request)
                .map(Response::SessionRevoke),
            Request::VaultExport(request) => {
                self.export(caller, request).map(Response::VaultExport)
            }
            Request::VaultImport(request) => {
                self.import(caller, request).map(Response::VaultImport)
            }
            Request::HandoverOffer(_) => self.offer_handover(caller).map(Response::HandoverOffer),
            Request::HandoverSend(request) => self
                .send_handover(caller, &request)
                .map(Response::HandoverSend),
            Request::HandoverReceive(request) => self
                .receive_handover(caller, request)
                .map(Response::HandoverReceive),
            Request::KeyCopy(request) => self.copy_key(caller, request).map(Response::KeyCopy),
            Request::ProviderTest(request) => self
                .provider_test(caller, &request)
                .map(Response::ProviderTest),
            Request::ProviderBalance(request) => self
                .provider_balance(caller, &request)
                .map(Response::ProviderBalance),
            Request::BackupCreate(request) => self
                .create_backup(caller, &request)
                .map(Response::BackupCreate),
            Request::BackupSchedule(request) => self
                .schedule_backups(caller, &request)
                .map(Response::BackupSchedule),
            Request::PolicySet(request) => {
                self.set_policy(caller, request).map(Response::PolicySet)
            }
            Request::GrantAdd(request) => self.add_grant(caller, &request).map(Response::GrantAdd),
            request if billing::concerns(request.op()) => self.billing(caller, request),
            request if request.op().cost() == Cost::Quick => {
                self.asking(caller, request.op(), |asked| self.quick(asked, &request))
            }
            request => self.allowed_slow(caller, request),
        }
    }

    /// Quick operations: one indexed read and one journal write at most.
    pub(super) fn quick(&self, asked: &Asked<'_>, request: &Request) -> Result<Gate<Response>> {
        match request {
            Request::KeyGet(request) => Ok(self.get_key(asked, request)?.map(Response::KeyGet)),
            Request::KeyShow(request) => self
                .show_key(asked, request)
                .map(|shown| Gate::Done(Response::KeyShow(shown))),
            _ => Err(Error::internal(
                "the table and the service disagree about a cost",
            )),
        }
    }

    /// Slow operations that need nothing but the session.
    pub(super) fn slow(&self, asked: &Asked<'_>, request: Request) -> Result<Response> {
        match request {
            Request::TotpConfirm(request) => {
                let mut event = || self.event(asked);
                self.vault
                    .confirm_totp(&asked.session.account, &request.code, &mut event)?;
                Ok(Response::TotpConfirm(protocol::Empty {}))
            }
            Request::PolicyShow(_) => self.show_policy(asked).map(Response::PolicyShow),
            Request::GrantList(_) => self.list_grants(asked).map(Response::GrantList),
            Request::GrantRemove(request) => self
                .remove_grant(asked, &request)
                .map(Response::GrantRemove),
            Request::KeyfileShow(_) => Ok(Response::KeyfileShow(self.keyfile_state(asked))),
            Request::KeyAdd(request) => self.add_key(asked, request).map(Response::KeyAdd),
            Request::KeyList(request) => self.list_keys(asked, &request).map(Response::KeyList),
            Request::ProviderAdd(request) => self
                .add_provider(asked, &request)
                .map(Response::ProviderAdd),
            Request::ProviderShow(request) => self
                .show_provider(asked, &request)
                .map(Response::ProviderShow),
            Request::ProviderRemove(request) => {
                let removed = self.remove_provider(asked, &request)?;
                self.leave_no_trace();
                Ok(Response::ProviderRemove(removed))
            }
            Request::KeyHistory(request) => {
                self.key_history(asked, &request).map(Response::KeyHistory)
            }
            Request::VaultCheck(request) => {
                self.check_vault(asked, &request).map(Response::VaultCheck)
            }
            Request::AuditCheckpoint(_) => self
                .audit
                .checkpoint(&asked.session.chain)
                .map(Response::AuditCheckpoint),
            _ => Err(Error::internal(
                "the table and the service disagree about an operation",
            )),
        }
    }

    /// Runs `act` on the caller's session; a failure leaves its event.
    pub(super) fn open_session<T>(
        &self,
        caller: &Caller,
        op: Op,
        act: impl FnOnce(&Asked<'_>) -> Result<T>,
    ) -> Result<T> {
        let table = self.sessions.read();
        let session = table.live(caller, &*self.host.clock)?;
        self.audited(&Asked::new(session, caller, op), act)
    }

    /// A failed operation leaves an event of its own; a successful one wrote it on the way.
    pub(super) fn audited<T>(
        &self,
        asked: &Asked<'_>,
        act: impl FnOnce(&Asked<'_>) -> Result<T>,
    ) -> Result<T> {
        let answer = act(asked);
        if let Err(error) = &answer
            && asked.op.audit() == protocol::Audit::Audited
        {
            let subject = asked.subject.get();
            let (id, name) = subject.map(|(id, name)| (*id, name)).unzip();
            self.failure_event(asked, id, name, error.kind());
        }
        answer
    }

    /// The event of what was not done. It stays undone whether or not that could be written.
    pub(super) fn failure_event(
        &self,
        asked: &Asked<'_>,
        id: Option<Id>,
        name: Option<&KeyName>,
        kind: Kind,
    ) {
        let event = Event {
            record: id,
            key: name,
            ..failed(asked.op, asked.caller, kind)
        };
        let _ = self.audit.append(&asked.session.chain, &event);
    }

    /// The event of what is being done to the account.
    pub(super) fn event(&self, asked: &Asked<'_>) -> Result<()> {
        self.audit
            .append(&asked.session.chain, &done(asked.op, asked.caller))
    }

    /// The event of what is being done to a key.
    pub(super) fn key_event(&self, asked: &Asked<'_>, id: &Id, name: &KeyName) -> Result<()> {
        let event = Event {
            record: Some(*id),
            key: Some(name),
            ..done(asked.op, asked.caller)
        };
        self.audit.append(&asked.session.chain, &event)
    }
}
