//! The arm for connection tests, and the tests that the agent runs by itself once a day where its owner wants that.
//!
//! A secret is taken out under the session and tested without holding it. What the test showed is kept for `key.list` if
//! the session is still the same; the answer does not wait for that to succeed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::access::{Gate, pass};
use super::custom::Known;
use super::{Asked, Service, shape, this_process};
use crate::audit::Caller;
use crate::error::Result;
use crate::name::KeyName;
use crate::protocol::{KeyStatus, Op, ProviderTest, TestResult};
use crate::provider::Destinations;
use crate::provider::rules::Cost;
use crate::provider::schema::Status;
use crate::vault::{Damage, Record, Use};

/// Tests that the agent runs at a time by itself.
const BY_ITSELF: usize = 8;
/// Most keys of an account that are tested by themselves in one go.
const MAX_DUE: u32 = 1000;

impl Service {
    pub(super) fn provider_test(
        &self,
        caller: &Caller,
        request: &ProviderTest,
    ) -> Result<TestResult> {
        self.test_key(caller, request, false)
    }

    /// `by_itself`: nobody asked, so nobody has to be allowed.
    fn test_key(
        &self,
        caller: &Caller,
        request: &ProviderTest,
        by_itself: bool,
    ) -> Result<TestResult> {
        let (name, record, secret, seen, known) =
            self.asking(caller, Op::ProviderTest, |asked| {
                let name = KeyName::parse(&request.name, "name")?;
                let opened = self.find(asked, &name)?;
                let terms = opened.record.terms();
                self.check_usable(asked, &terms)?;
                if !by_itself {
                    pass!(self.may(asked, &terms, &name, Use::Use)?);
                }
                let secret = self.vault.open_secret(&asked.session.account, &opened)?;
                let known = self.known(&asked.session.account, name.provider())?;
                self.key_event(asked, &opened.record.id, &name)?;
                let seen = asked.session.generation();
                Ok(Gate::Done((name, opened.record, secret, seen, known)))
            })?;
        let destinations = Destinations::decode(&record.destinations)?;
        let provider = known.as_ref().map(Known::record);
        let report = crate::provider::test(
            &self.outbound_for(caller),
            provider,
            &destinations,
            record.base_url.as_deref(),
            &secret,
        );
        drop(secret);
        let table = self.sessions.read();
        if let Ok(session) = table.live(caller, &*self.host.clock)
            && session.generation() == seen
        {
            // A cache: that it could not be kept is no reason to keep the answer back.
            let _ = self
                .vault
                .keep_test(&session.account, &record, report.outcome);
        }
        Ok(TestResult {
            name: name.to_string(),
            outcome: report.outcome,
            models: report.models,
            latency_ms: report.latency_ms,
            detail: report.detail,
        })
    }

    /// Tests the keys of every open account that were not tested for so long, as an operation of this process; says
    /// how many. Left out are keys that are not handed out, retired providers, and tests that may cost money.
    pub fn test_due(&self, not_for: Duration) -> usize {
        let mut due = VecDeque::new();
        for uid in self.sessions.uids() {
            let caller = Caller {
                uid,
                ..this_process()
            };
            // A session that ended meanwhile has nothing to test.
            let names = self.open_session(&caller, Op::KeyList, |asked| self.due(asked, not_for));
            due.extend(
                names
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| (caller.clone(), name)),
            );
        }
        let count = due.len();
        let queue = Mutex::new(due);
        std::thread::scope(|scope| {
            for _ in 0..BY_ITSELF.min(count) {
                scope.spawn(|| {
                    loop {
                        let next = queue
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .pop_front();
                        let Some((caller, name)) = next else { break };
                        // What came of it is kept beside the key; what failed is tried at the next time.
                        let _ = self.test_key(&caller, &ProviderTest { name }, true);
                        crate::memory::scrub_stack();
                    }
                });
            }
        });
        count
    }

    fn due(&self, asked: &Asked<'_>, not_for: Duration) -> Result<Vec<String>> {
        let now = self.now_ms();
        let since = now.saturating_sub(i64::try_from(not_for.as_millis()).unwrap_or(i64::MAX));
        let account = &asked.session.account;
        let free = |record: &Record| {
            self.known(account, record.name.provider())
                .is_ok_and(|known| {
                    known.as_ref().map(Known::record).is_none_or(|record| {
                        record.status != Status::Retired && record.test.cost == Cost::None
                    })
                })
        };
        let keep = |record: &Record| {
            shape::status(&record.terms(), now) == KeyStatus::Active
                && free(record)
                // One that cannot be read is found by whoever lists it.
                && self.vault.last_test(account, record).is_ok_and(|test| {
                    // A clock that was set back must not mean never.
                    test.is_none_or(|test| !(since..=now).contains(&test.at))
                })
        };
        // The check of the vault tells of those that do not open.
        let mut others = Vec::new();
        let damage = Damage::Noted(&mut others);
        let (records, _) = (self.vault).list_keys(account, None, None, MAX_DUE, &keep, damage)?;
        Ok(records
            .iter()
            .map(|record| record.name.to_string())
            .collect())
    }
}
