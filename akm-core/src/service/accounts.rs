//! The arms for accounts and sessions: status, unlock, lock, register, recover.

use crate::Secret;
use crate::audit::{AccountChain, Caller, Noted, Outcome, Via};
use crate::error::{Error, Result};
use crate::protocol::{
    self, AccountRecover, AccountRegister, AgentUnlock, LockReason, Op, Recovered, Registered,
    Status, VaultNotice,
};
use crate::vault::{Notice, SignIn, Unlocked};

use super::hosting::Ticket;
use super::session::{Opening, Table};
use super::{DEFAULT_ACCOUNT, Service, done, origin, shape};

impl Service {
    pub(super) fn status(&self, table: &Table, caller: &Caller) -> Result<Status> {
        if caller.via != Via::Host {
            return self.remote_status(table, caller);
        }
        let session = table.live(caller, &*self.host.clock).ok();
        let account = session.map(|session| session.account.name().as_str().to_owned());
        let (initialized, totp_required) = self
            .vault
            .overview(account.as_deref().unwrap_or(DEFAULT_ACCOUNT))?;
        Ok(Status {
            initialized,
            locked: session.is_none(),
            expires_at: session
                .and_then(|session| session.expires_at)
                .map(shape::time),
            rekey: match session {
                Some(session) => self.rekey_progress(&session.account)?,
                None => None,
            },
            codes_undelivered: session
                .is_some_and(|session| session.account.codes_undelivered())
                .then_some(true),
            damaged: session.and_then(|session| self.checks.damaged(session.account.id())),
            accounts_elsewhere: match initialized {
                true => None,
                false => Some(self.vault.accounts_elsewhere()?).filter(|known| *known > 0),
            },
            missing_accounts: Some(self.missing_accounts()?).filter(|missing| *missing > 0),
            opened_at: session.map(|session| shape::time(session.opened_at)),
            idle_lock_s: session
                .and_then(|session| session.idle)
                .map(|idle| idle.as_secs()),
            locked_because: match session {
                Some(_) => None,
                None => table.reason(caller.uid, &*self.host.clock),
            },
            pid: Some(nix::unistd::getpid().as_raw()),
            account,
            totp_required,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vault: Some(self.path.display().to_string()),
        })
    }

    pub(super) fn unlock(
        &self,
        caller: &Caller,
        request: &AgentUnlock,
    ) -> Result<protocol::Unlocked> {
        let lasting = self.lifetime(request.lifetime_s)?;
        let since = self.sessions.locks(caller.into());
        let typed = request.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        let opened = self.vault.sign_in(&SignIn {
            account: typed,
            passphrase: &request.passphrase,
            totp: request.totp.as_ref(),
            device: self
                .keyfiles
                .find(typed, request.keyfile.as_ref(), origin(caller))?,
            origin: origin(caller),
            accept_rollback: request.accept_rollback.unwrap_or(false),
        });
        let account = opened.map_err(|refused| self.explain(caller, typed, refused))?;
        let (id, name) = (*account.id(), account.name().as_str().to_owned());
        let chain = self
            .audit
            .open_account(*account.id(), account.audit_key())?;
        let notice = self.take_up(&account, &chain, caller)?;
        let codes_undelivered = account.codes_undelivered().then_some(true);
        let opening = Opening {
            account,
            chain,
            lasting,
            from: None,
            since,
        };
        // Without its event no session begins, and one that does not begin leaves no event that says so.
        let (expires_at, token) = self.begin(caller, opening, &|chain| {
            self.audit.append(chain, &done(Op::AgentUnlock, caller))
        })?;
        self.checks.due(&id);
        Ok(protocol::Unlocked {
            account: name,
            notice,
            codes_undelivered,
            token,
            expires_at: expires_at.map(shape::time),
        })
    }

    /// Says what there is to say about the vault, with its event, and moves on from a state that is not the newest where
    /// that was announced or accepted.
    fn take_up(
        &self,
        account: &Unlocked,
        chain: &AccountChain,
        caller: &Caller,
    ) -> Result<Option<VaultNotice>> {
        let (notice, noted) = match account.notice() {
            Notice::None => return Ok(None),
            Notice::FirstUse => (VaultNotice::FirstUse, Noted::FirstUse),
            Notice::Restored => (VaultNotice::Restored, Noted::Restored),
            Notice::Accepted => (VaultNotice::RollbackAccepted, Noted::RollbackAccepted),
        };
        let mut event = || self.audit.note(chain, noted, Outcome::Ok, caller);
        match notice {
            VaultNotice::FirstUse => event()?,
            VaultNotice::Restored | VaultNotice::RollbackAccepted => {
                self.vault.move_on(account, &mut event)?;
            }
        }
        Ok(Some(notice))
    }

    pub(super) fn lock(&self, caller: &Caller) -> Result<protocol::Empty> {
        self.sessions.close(caller.into(), &mut |session| {
            if session.from.is_none() {
                self.withdraw();
            }
            // Locking must not fail: without room for its event the keys are wiped all the same.
            let _ = self
                .audit
                .append(&session.chain, &done(Op::AgentLock, caller));
        });
        crate::memory::scrub_stack();
        Ok(protocol::Empty {})
    }

    pub(super) fn register(
        &self,
        caller: &Caller,
        request: &AccountRegister,
    ) -> Result<Registered> {
        let since = self.sessions.locks(caller.into());
        let mut chain = None;
        let totp = request.totp.unwrap_or(true);
        let invitation = self.admit_registration(caller, totp, request.invitation.as_ref())?;
        self.refuse_to_begin_anew()?;
        self.check_chosen(caller, &request.passphrase, "passphrase")?;
        let new = self.vault.register(
            &request.account,
            &request.passphrase,
            totp,
            invitation.as_ref(),
            self.first_tier(caller).as_deref(),
            &mut |account: &Unlocked| {
                let opened = self
                    .audit
                    .open_account(*account.id(), account.audit_key())?;
                self.audit
                    .append(&opened, &done(Op::AccountRegister, caller))?;
                chain = Some(opened);
                Ok(())
            },
        )?;
        let account = new.unlocked.name().as_str().to_owned();
        // The account is there: what is not remembered may cost a wait, no more.
        let _ = self
            .vault
            .remember_origin(new.unlocked.id(), origin(caller));
        let chain = chain.ok_or(Error::internal("an account was stored without its event"))?;
        // What the owner must keep is theirs whether or not a lock came meanwhile.
        let opening = Opening {
            account: new.unlocked,
            chain,
            lasting: self.lifetime(None)?,
            from: None,
            since,
        };
        let begun = self.begin(caller, opening, &|_| Ok(()));
        let (totp_secret, totp_uri) = new.totp.unzip();
        Ok(Registered {
            token: begun.ok().and_then(|(_, token)| token),
            account,
            totp_secret,
            totp_uri,
            recovery_codes: new.codes,
        })
    }

    pub(super) fn recover(&self, caller: &Caller, request: &AccountRecover) -> Result<Recovered> {
        let account = request.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        self.check_chosen(caller, &request.new_passphrase, "new_passphrase")?;
        let since = self.sessions.locks(caller.into());
        let mut chain = None;
        let recovered = self.vault.recover(
            account,
            &request.code,
            &request.new_passphrase,
            origin(caller),
            &mut |account: &Unlocked| {
                let opened = self
                    .audit
                    .open_account(*account.id(), account.audit_key())?;
                self.audit
                    .append(&opened, &done(Op::AccountRecover, caller))?;
                chain = Some(opened);
                Ok(())
            },
        )?;
        let id = *recovered.unlocked.id();
        let account = recovered.unlocked.name().as_str().to_owned();
        let chain = chain.ok_or(Error::internal(
            "an account was recovered without its event",
        ))?;
        // Whoever was in with the old passphrase is out.
        self.sessions.close_where(
            &|session| (*session.account.id() == id).then_some(LockReason::Credential),
            &mut |who, session, reason| {
                self.note_lock(who, session, reason);
            },
        );
        // What the owner must keep is theirs whether or not a lock came meanwhile.
        let opening = Opening {
            account: recovered.unlocked,
            chain,
            lasting: self.lifetime(None)?,
            from: None,
            since,
        };
        let begun = self.begin(caller, opening, &|_| Ok(()));
        self.leave_no_trace();
        let (totp_secret, totp_uri) = recovered.totp.unzip();
        Ok(Recovered {
            token: begun.ok().and_then(|(_, token)| token),
            account,
            totp_secret,
            totp_uri,
            codes_left: recovered.codes_left,
        })
    }

    /// Opens a session, unless its owner locked or a credential changed since the account was opened; `event` is its last
    /// condition. Over the network it hangs on a token that is new: what was signed in with before opens nothing any more.
    fn begin(
        &self,
        caller: &Caller,
        mut opening: Opening,
        event: &dyn Fn(&AccountChain) -> Result<()>,
    ) -> Result<(Option<jiff::Timestamp>, Option<Secret>)> {
        let id = *opening.account.id();
        let under_way = self.vault.rekeying(&opening.account)?.is_some();
        let Ticket { who, token, from } = self.ticket(caller);
        opening.from = from;
        opening.lasting = self.lasting(caller, opening.lasting);
        let expires_at = self.sessions.open(
            who,
            opening,
            &*self.host.clock,
            &|account, chain| {
                self.vault.check_current(account)?;
                self.admit_account(caller, account)?;
                event(chain)
            },
            &mut |who, session, reason| self.note_lock(who, session, reason),
        )?;
        if caller.via != Via::Host {
            self.sessions.close(caller.into(), &mut |session| {
                self.note_lock(caller.into(), session, LockReason::Unlock);
            });
        }
        if under_way {
            self.take_up_rekey(caller, &id);
        }
        Ok((expires_at, token))
    }
}
