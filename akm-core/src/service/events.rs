//! The arms for the log: listing and checking it, in slices.
//!
//! Under the policy `granted` names of keys that a caller may not know of are left out.
//!
//! Invariant: a long log is never read under one guard of the session. Between two slices a lock gets its turn, and whoever
//! finds another session than the one that began is locked.

use std::collections::HashMap;

use crate::audit::{Caller, Filter, Via};
use crate::error::{Error, Result};
use crate::name::KeyName;
use crate::protocol::{AuditEvent, AuditList, AuditVerify, EventPage, Op, Verification};

use super::changes::ALL;
use super::session::Generation;
use super::{Asked, Service};

/// Most slices that one request looks through when a filter passes few events: then the page is short and has a `next`.
const MAX_SLICES: u32 = 25;

impl Service {
    pub(super) fn list_events(&self, caller: &Caller, request: &AuditList) -> Result<EventPage> {
        let mut filter = Filter::parse(request)?;
        let mut seen = None;
        let mut shown = HashMap::new();
        let mut all = EventPage {
            events: Vec::new(),
            next: None,
            end: None,
        };
        for _ in 0..MAX_SLICES {
            // What happens on the machine is its owner's and administrators' to know, not every account's.
            let with_system = caller.via == Via::Host;
            let mut page = self.slice(caller, Op::AuditList, &mut seen, |asked| {
                let account = asked.session.account.name();
                let mut page =
                    self.audit
                        .list(&asked.session.chain, account, with_system, &filter)?;
                self.hide_names(asked, &mut page.events, &mut shown)?;
                Ok(page)
            })?;
            let more = filter.advance(&page);
            all.events.append(&mut page.events);
            all.next = page.next;
            all.end = page.end;
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// Takes the names of keys out of events whose reader may not know of them.
    fn hide_names(
        &self,
        asked: &Asked<'_>,
        events: &mut [AuditEvent],
        shown: &mut HashMap<String, bool>,
    ) -> Result<()> {
        if self.is_open(asked)? {
            return Ok(());
        }
        for event in events {
            let Some(name) = event.key.take() else {
                continue;
            };
            let is_shown = match shown.get(&name) {
                Some(is_shown) => *is_shown,
                None => {
                    let is_shown = self.may_see_name(asked, &name)?;
                    shown.insert(name.clone(), is_shown);
                    is_shown
                }
            };
            event.key = is_shown.then_some(name);
        }
        Ok(())
    }

    /// Of a key that is gone, or cannot be read, only whoever may see every key.
    fn may_see_name(&self, asked: &Asked<'_>, name: &str) -> Result<bool> {
        let found = KeyName::parse(name, "name")
            .and_then(|name| self.vault.find_key(&asked.session.account, &name))
            .ok()
            .flatten();
        self.may_see(asked, &found.map_or(ALL, |opened| opened.record.id))
    }

    pub(super) fn verify_events(
        &self,
        caller: &Caller,
        request: &AuditVerify,
    ) -> Result<Verification> {
        const OP: Op = Op::AuditVerify;
        let mut seen = None;
        let mut under_way = self.slice(caller, OP, &mut seen, |asked| {
            let begun = self
                .audit
                .begin_verify(&asked.session.chain, request.checkpoint.as_ref())?;
            Ok(match caller.via {
                Via::Host => begun,
                Via::Network(_) => begun.of_account_only(),
            })
        })?;
        loop {
            let done = self.slice(caller, OP, &mut seen, |asked| {
                self.audit
                    .verify_slice(&asked.session.chain, &mut under_way)
            })?;
            if let Some(verification) = done {
                return Ok(verification);
            }
        }
    }

    /// Runs `act` on the session that the slices before ran on.
    fn slice<T>(
        &self,
        caller: &Caller,
        op: Op,
        seen: &mut Option<Generation>,
        act: impl FnOnce(&Asked<'_>) -> Result<T>,
    ) -> Result<T> {
        self.open_session(caller, op, |asked| {
            let now = asked.session.generation();
            if *seen.get_or_insert(now) != now {
                return Err(Error::locked());
            }
            act(asked)
        })
    }
}
