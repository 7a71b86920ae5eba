//! What a tier allows: how many keys and providers of one's own, how many requests in a minute.
//!
//! Invariants: an account that its owner made here has no limits, whatever its row says: what it is stands sealed with its
//! keys; and where nothing is sold nobody has. How many keys there may be is asked before the insertion, enforced by it, and
//! asked again inside its transaction, where no order can come between. Each request is counted once, on its way in.
//!
//! Deliberately absent: what an account's orders come to (`billing`), and the count of what a network address asks, which
//! is the listener's.

use std::sync::PoisonError;

use crate::audit::Caller;
use crate::error::{Error, Kind, Result};
use crate::store::Id;
use crate::vault::Unlocked;

use super::Service;
use super::session::Session;

const MINUTE_MS: i64 = 60_000;

/// The requests of an account in a minute.
pub(super) struct Minute {
    number: i64,
    requests: u32,
    most: Option<u32>,
}

impl Service {
    /// Whether a tier limits the account: it is one of a hosted service that has tiers.
    pub(super) fn has_tier(&self, account: &Unlocked) -> bool {
        self.billing.on && account.hosted()
    }

    /// Most keys of an account: the least of what holds for all, what an administrator set, and its tier's.
    pub(super) fn key_limit(&self, account: &Unlocked) -> Result<Option<u64>> {
        let own = self.vault.standing(account.id())?.key_limit;
        let of_tier = match self.has_tier(account) {
            true => self.tier_of(&self.tier_standing(account.id())?).keys,
            false => None,
        };
        Ok([self.key_limit, own, of_tier].into_iter().flatten().min())
    }

    /// Inside the inserting transaction: whether the limit still is what was enforced.
    pub(super) fn check_limit(&self, account: &Unlocked, enforced: Option<u64>) -> Result<()> {
        if self.key_limit(account)? == enforced {
            return Ok(());
        }
        Err(
            Error::new(Kind::Conflict, "the tier of the account changed meanwhile")
                .with_hint("try again"),
        )
    }

    /// Most providers of its own that an account may have.
    pub(super) fn provider_limit(&self, account: &Unlocked) -> Result<u32> {
        if !self.has_tier(account) {
            return Ok(u32::MAX);
        }
        let tier = self.tier_of(&self.tier_standing(account.id())?);
        Ok(tier.providers.unwrap_or(u32::MAX))
    }

    /// Counts a request of whoever asks; see [`Service::count_of`]. Whoever has no session is nobody's account.
    pub(super) fn count_request(&self, caller: &Caller) -> Result<()> {
        if !self.billing.on {
            return Ok(());
        }
        match self.sessions.read().live(caller, &*self.host.clock) {
            Ok(session) => self.count_of(session),
            Err(_) => Ok(()),
        }
    }

    /// Counts a request of a hosted account: `rate_limited` past what its tier allows in a minute. Each request is counted
    /// once, on its way in.
    pub(super) fn count_of(&self, session: &Session) -> Result<()> {
        let account = &session.account;
        if !self.has_tier(account) {
            return Ok(());
        }
        let now = self.now_ms();
        let number = now.div_euclid(MINUTE_MS);
        let mut meter = self
            .billing
            .meter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = meter
            .get(account.id())
            .is_none_or(|minute| minute.number != number);
        if fresh {
            // One row per account that asked in this minute.
            meter.retain(|_, minute| minute.number == number);
            // An order that cannot be read limits what is added, not what is asked.
            let most = match self.tier_standing(account.id()) {
                Ok(standing) => self.tier_of(&standing).requests_per_minute,
                Err(_) => self
                    .tier_table()
                    .first()
                    .and_then(|tier| tier.requests_per_minute),
            };
            meter.insert(
                *account.id(),
                Minute {
                    number,
                    requests: 0,
                    most,
                },
            );
        }
        let Some(minute) = meter.get_mut(account.id()) else {
            return Ok(());
        };
        minute.requests = minute.requests.saturating_add(1);
        if minute.most.is_some_and(|most| minute.requests > most) {
            let left = MINUTE_MS - now.rem_euclid(MINUTE_MS);
            return Err(Error::new(
                Kind::RateLimited,
                "the account asked as often in this minute as its tier allows",
            )
            .with_retry_after(u64::try_from(left).unwrap_or(0).div_ceil(1000)));
        }
        Ok(())
    }

    /// Takes back the count of a request that was not carried out and comes in again.
    pub(super) fn uncount(&self, account: &Id) {
        let mut meter = self
            .billing
            .meter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(minute) = meter.get_mut(account) {
            minute.requests = minute.requests.saturating_sub(1);
        }
    }
}
