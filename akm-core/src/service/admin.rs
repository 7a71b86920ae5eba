//! The arms of administration: roles, accounts, invitations, the system's log.
//!
//! Invariants: nothing here holds or asks for a key, so an administrator can open nothing that rests. Who may come
//! this far was decided at the gate. What is done stands in the system's chain, and where an administrator did it over the
//! network in the chain of that account too: the change commits only after both events are written.

use crate::audit::{Caller, Filter, Via};
use crate::billing::tier;
use crate::error::{Error, Kind, Result};
use crate::name::AccountName;
use crate::protocol::{
    AccountPage, AccountSummary, AdminAccount, AdminAccounts, AdminGrant, AdminInvite, AdminLog,
    AuditList, EventPage, Invitation, LockReason, MAX_PAGE, Op, Request, Response,
};
use crate::store::{AccountCard, BeforeCommit, StandingChange};

use super::{Asked, Service, done, shape};

/// Accounts on a page that does not say.
const DEFAULT_PAGE: u32 = 100;
/// Slices of the log that one request looks through.
const MAX_SLICES: u32 = 25;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Service {
    /// Operations for administrators; the gate was passed.
    pub(super) fn administer(&self, caller: &Caller, request: Request) -> Result<Response> {
        let op = request.op();
        let answer = match request {
            Request::AdminGrant(request) => {
                self.grant_role(caller, &request).map(Response::AdminGrant)
            }
            Request::AdminAccounts(request) => {
                return self.list_accounts(&request).map(Response::AdminAccounts);
            }
            Request::AdminAccount(request) => self
                .change_standing(caller, &request)
                .map(Response::AdminAccount),
            Request::AdminInvite(request) => {
                self.invite(caller, &request).map(Response::AdminInvite)
            }
            Request::AdminLog(request) => return self.system_log(&request).map(Response::AdminLog),
            Request::AdminOrders(request) => {
                return self.list_all_orders(&request).map(Response::AdminOrders);
            }
            Request::AdminStatus(_) => return self.server_status().map(Response::AdminStatus),
            Request::AdminCodes(request) => {
                return self.list_codes(&request).map(Response::AdminCodes);
            }
            Request::AdminTier(request) => self.put_tier(caller, &request).map(Response::AdminTier),
            Request::AdminCodeRevoke(request) => self
                .revoke_code(caller, &request)
                .map(Response::AdminCodeRevoke),
            Request::AdminProviderPut(request) => self
                .put_shared(caller, &request)
                .map(Response::AdminProviderPut),
            Request::AdminProviderRemove(request) => self
                .remove_shared(caller, &request)
                .map(Response::AdminProviderRemove),
            Request::AdminRemove(request) => self
                .remove_other(caller, &request)
                .map(Response::AdminRemove),
            Request::BillingCodesCreate(request) => self
                .create_codes(caller, &request)
                .map(Response::BillingCodesCreate),
            Request::BillingOrderResolve(request) => self
                .resolve_order(caller, &request)
                .map(Response::BillingOrderResolve),
            _ => Err(Error::internal(
                "the table and the service disagree about an authority",
            )),
        };
        self.noted(caller, op, answer)
    }

    fn grant_role(&self, caller: &Caller, request: &AdminGrant) -> Result<AccountSummary> {
        let change = StandingChange {
            role: Some(request.role),
            ..StandingChange::default()
        };
        self.change(caller, Op::AdminGrant, &request.account, &change)
    }

    fn change_standing(&self, caller: &Caller, request: &AdminAccount) -> Result<AccountSummary> {
        let key_limit = match (request.key_limit, request.no_key_limit.unwrap_or(false)) {
            (Some(_), true) => {
                return Err(Error::invalid(
                    "no_key_limit",
                    "a limit is set or taken away, not both",
                ));
            }
            (Some(limit), false) => Some(Some(limit)),
            (None, true) => Some(None),
            (None, false) => None,
        };
        if request.disabled == Some(true) {
            self.spares_itself(caller, &request.account)?;
        }
        let change = StandingChange {
            disabled: request.disabled,
            key_limit,
            ..StandingChange::default()
        };
        let card = self.change(caller, Op::AdminAccount, &request.account, &change)?;
        if request.disabled == Some(true) {
            let name = &card.account;
            self.sessions.close_where(
                &|session| {
                    let goes = session.from.is_some() && session.account.name().as_str() == name;
                    goes.then_some(LockReason::Asked)
                },
                &mut |who, session, reason| self.note_lock(who, session, reason),
            );
        }
        Ok(card)
    }

    /// Over the network nobody disables the own account: only the host could enable it again.
    fn spares_itself(&self, caller: &Caller, account: &str) -> Result<()> {
        if caller.via == Via::Host {
            return Ok(());
        }
        let name = AccountName::parse(account, "account")?;
        let table = self.sessions.read();
        let session = table.live(caller, &*self.host.clock)?;
        if session.account.name() == &name {
            return Err(Error::new(
                Kind::Denied,
                "an administrator is disabled by another one, or on the host",
            )
            .with_field("account"));
        }
        Ok(())
    }

    fn change(
        &self,
        caller: &Caller,
        op: Op,
        account: &str,
        change: &StandingChange,
    ) -> Result<AccountSummary> {
        let card = self.as_admin(caller, op, |event| {
            self.vault.change_standing(account, change, event)
        })?;
        Ok(self.summary(card))
    }

    fn invite(&self, caller: &Caller, request: &AdminInvite) -> Result<Invitation> {
        let uses = request.uses.unwrap_or(1);
        if !(1..=1000).contains(&uses) {
            return Err(Error::invalid(
                "uses",
                "an invitation is good for 1 to 1000",
            ));
        }
        let days = request.days.unwrap_or(7);
        if !(1..=365).contains(&days) {
            return Err(Error::invalid("days", "an invitation lasts 1 to 365 days"));
        }
        let expires_at = self
            .now_ms()
            .saturating_add(i64::from(days).saturating_mul(DAY_MS));
        let invitation = self.as_admin(caller, Op::AdminInvite, |event| {
            self.vault.invite(uses, expires_at, event)
        })?;
        Ok(Invitation {
            invitation,
            uses,
            expires_at: shape::time_ms(expires_at),
        })
    }

    fn list_accounts(&self, request: &AdminAccounts) -> Result<AccountPage> {
        let limit = request.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::invalid("limit", "a page has 1 to 1000 entries"));
        }
        let cards = self
            .vault
            .account_cards(request.after.as_deref().unwrap_or(""), limit)?;
        let next = (cards.len() == limit as usize)
            .then(|| cards.last().map(|card| card.name.clone()))
            .flatten();
        Ok(AccountPage {
            accounts: cards.into_iter().map(|card| self.summary(card)).collect(),
            next,
        })
    }

    fn system_log(&self, request: &AdminLog) -> Result<EventPage> {
        let mut filter = Filter::parse(&AuditList {
            since: request.since.clone(),
            action: request.action.clone(),
            key: None,
            last: None,
            limit: request.limit,
            after: request.after.clone(),
        })?;
        let mut all = EventPage {
            events: Vec::new(),
            next: None,
            end: None,
        };
        for _ in 0..MAX_SLICES {
            let page = self.audit.list_system(&filter)?;
            let more = filter.advance(&page);
            all.events.extend(page.events);
            all.next = page.next;
            all.end = page.end;
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// Runs `act` with the event of what is being done: in the system's chain, and in that of the account whose session
    /// it is. The session cannot end meanwhile.
    pub(super) fn as_admin<T>(
        &self,
        caller: &Caller,
        op: Op,
        act: impl FnOnce(BeforeCommit<'_>) -> Result<T>,
    ) -> Result<T> {
        if caller.via == Via::Host {
            return act(&mut || self.audit.append_system(&done(op, caller)));
        }
        let table = self.sessions.read();
        let session = table.live(caller, &*self.host.clock)?;
        let by = Caller {
            exe: format!("{} account {}", caller.exe, session.account.name().as_str()),
            ..caller.clone()
        };
        let asked = Asked::new(session, caller, op);
        act(&mut || {
            self.audit.append_system(&done(op, &by))?;
            self.event(&asked)
        })
    }

    fn summary(&self, card: AccountCard) -> AccountSummary {
        let table = self.sessions.read();
        let open = |session: &super::Session| session.account.name().as_str() == card.name;
        let sessions = table.all().filter(|(_, session)| open(session)).count() as u64;
        AccountSummary {
            sessions,
            account: card.name,
            role: card.standing.role,
            // What its row says is of a time when tiers held, or will hold.
            tier: match self.billing.on {
                true => card.tier,
                false => tier::LOCAL.to_owned(),
            },
            disabled: card.standing.disabled,
            totp: card.standing.totp_active,
            keys: card.keys,
            key_limit: card.standing.key_limit,
            created_at: shape::time_ms(card.created_at),
        }
    }
}
