//! The arms that remove an account: its owner's, with the passphrase once more, and an administrator's.
//!
//! Invariants: everything of the account goes in one transaction, after its event stands in the system's chain (and in the
//! account's own, where it is its owner who asks) and the state directory does not miss it any more; then every session of it ends. What stays: its events, sealed under a key
//! that is gone; its orders, as nobody's, so that no push and no redeem code is good a second time; copies in backups.
//! Over the network an administrator gives the own passphrase and reaches no other administrator. On the host it is the
//! owner of a server; an agent that serves nobody removes an account for its owner only.

use crate::audit::Caller;
use crate::billing::Order;
use crate::error::{Error, Result};
use crate::name::AccountName;
use crate::protocol::{AccountRemove, AdminRemove, LockReason, Op, Removed};
use crate::store::{BeforeCommit, Hosted, Id, OrderRow, Removal, Store};

use super::missing::Leaving;
use super::{Service, Via, done};

impl Service {
    pub(super) fn remove_own(&self, caller: &Caller, request: &AccountRemove) -> Result<Removed> {
        const OP: Op = Op::AccountRemove;
        let (removed, leaving) = self.stepped_up(
            caller,
            OP,
            &request.passphrase,
            |_| Ok(()),
            |asked, _, ()| {
                let account = &asked.session.account;
                let mut events = || {
                    self.audit.append_system(&done(OP, caller))?;
                    self.event(asked)
                };
                self.erase(account.id(), account.name().as_str(), false, &mut events)
            },
        )?;
        self.end_all(leaving);
        Ok(removed)
    }

    pub(super) fn remove_other(&self, caller: &Caller, request: &AdminRemove) -> Result<Removed> {
        const OP: Op = Op::AdminRemove;
        let name = AccountName::parse(&request.account, "account")?;
        self.serves_accounts()?;
        let remote = caller.via != Via::Host;
        let erase = |event: BeforeCommit<'_>| {
            let row = self.file.account_by_name(name.as_str())?;
            let row = row.ok_or_else(|| Error::no_account().with_field("account"))?;
            self.erase(&row.id, &row.name, remote, event)
        };
        let (removed, leaving) = if remote {
            let passphrase = request.passphrase.as_ref().ok_or(
                Error::invalid("passphrase", "a required field is missing")
                    .with_hint("give your own passphrase once more"),
            )?;
            self.stepped_up(
                caller,
                OP,
                passphrase,
                |_| Ok(()),
                |asked, _, ()| {
                    let by = Caller {
                        exe: format!(
                            "{} account {}",
                            caller.exe,
                            asked.session.account.name().as_str()
                        ),
                        ..caller.clone()
                    };
                    erase(&mut || {
                        self.audit.append_system(&done(OP, &by))?;
                        self.event(asked)
                    })
                },
            )?
        } else {
            erase(&mut || self.audit.append_system(&done(OP, caller)))?
        };
        self.end_all(leaving);
        Ok(removed)
    }

    /// It leaves until [`Service::end_all`].
    pub(super) fn erase(
        &self,
        account: &Id,
        name: &str,
        spare_admins: bool,
        before_commit: BeforeCommit<'_>,
    ) -> Result<(Removed, Leaving<'_>)> {
        let leaving = self.leaving(account);
        let (key, vault) = (&self.billing.key, self.file.vault_id());
        let unlink = |row: OrderRow| {
            let nobodys = || {
                let order = Order {
                    account: None,
                    ..Order::open(key, &vault, row.clone())?
                };
                order.close(key, &vault)
            };
            nobodys().unwrap_or_else(|_: Error| row.clone())
        };
        let keys = self.file.remove_account(
            &Removal {
                account,
                spare_admins,
                attempts: &self.vault.attempts_of(name, account)?,
                unlink: &unlink,
            },
            &mut || {
                before_commit()?;
                // Should it end here, the account is there and its next change says so where the epochs are.
                self.vault.let_go(account)
            },
        )?;
        let removed = Removed {
            account: name.to_owned(),
            keys,
        };
        Ok((removed, leaving))
    }

    /// Ends every session of an account that is gone, and takes what it was out of the store's log.
    pub(super) fn end_all(&self, leaving: Leaving<'_>) {
        let account = leaving.account();
        let theirs = |session: &super::Session| {
            (session.account.id() == account).then_some(LockReason::Asked)
        };
        self.sessions
            .close_where(&theirs, &mut |who, session, reason| {
                self.note_lock(who, session, reason);
            });
        crate::memory::scrub_stack();
        // A change that another session made just before may have written its epoch only now.
        let _ = self.vault.let_go(account);
        drop(leaving);
        self.leave_no_trace();
    }
}
