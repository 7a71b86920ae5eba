//! How long a session and a key in it last.
//!
//! All of it is measured in boot time ([`boot`](crate::host::Clock::boot)), so that time spent suspended counts and a wall clock that is set
//! back gives nobody more. Invariants: whoever is over is refused at once, swept or not; an unlock cannot ask for
//! more than the longest lifetime; what the agent does by itself keeps no session alive.
//!
//! Deliberately absent: hearing of a suspend or a locked screen. A program hears of it and says why it locks.

use std::sync::PoisonError;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::protocol::MAX_LIFETIME_S;
use crate::vault::Terms;

use super::session::Session;
use super::{Asked, Service};

/// How long sessions last that begin from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a session that does not ask for one; until locked if absent.
    pub default: Option<Duration>,
    /// The longest that a session may ask for, and the lifetime of one that does not ask where there is no default.
    pub longest: Option<Duration>,
    /// A session that is not used for so long ends.
    pub idle: Option<Duration>,
}

impl Lifetimes {
    /// The lifetime of a session that asks for this.
    pub(super) fn of(&self, asked: Option<u64>) -> Result<Option<Duration>> {
        let asked = asked
            .map(|seconds| parse(seconds, "lifetime_s"))
            .transpose()?;
        let wanted = asked.or(self.default);
        Ok(match (wanted, self.longest) {
            (Some(wanted), Some(longest)) => Some(wanted.min(longest)),
            (wanted, longest) => wanted.or(longest),
        })
    }
}

/// How long one session lasts.
#[derive(Clone, Copy)]
pub(super) struct Lasting {
    pub(super) lifetime: Option<Duration>,
    pub(super) idle: Option<Duration>,
}

/// A lifetime on the wire, in seconds.
fn parse(seconds: u64, field: &'static str) -> Result<Duration> {
    match seconds {
        0 => Err(Error::invalid(field, "a lifetime is at least one second")),
        1..=MAX_LIFETIME_S => Ok(Duration::from_secs(seconds)),
        _ => Err(Error::invalid(field, "a lifetime is at most ten years")),
    }
}

/// The lifetime of a key that is added.
pub(super) fn of_new_key(lifetime_s: Option<u64>) -> Result<Option<u64>> {
    lifetime_s
        .map(|seconds| parse(seconds, "lifetime_s").map(|_| seconds))
        .transpose()
}

/// The lifetime that a change gives a key: none for zero.
pub(super) fn of_changed_key(seconds: u64) -> Result<Option<u64>> {
    match seconds {
        0 => Ok(None),
        seconds => parse(seconds, "lifetime_s").map(|_| Some(seconds)),
    }
}

/// A key may be given a shorter life by anybody who may change it, a longer one only with the passphrase: a program that
/// may use a key for an hour could else see to it that it may for ever.
pub(super) fn check_change(before: Option<u64>, after: Option<u64>, confirmed: bool) -> Result<()> {
    let longer = match (before, after) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(after)) => after > before,
    };
    match longer && !confirmed {
        true => Err(
            Error::new(Kind::Denied, "a longer lifetime needs the passphrase")
                .with_field("passphrase"),
        ),
        false => Ok(()),
    }
}

impl Service {
    /// Sets how long sessions last that begin from now on.
    pub fn set_lifetimes(&self, lifetimes: Lifetimes) {
        *self
            .lifetimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = lifetimes;
    }

    /// How long a session lasts that asks for this, and how long it may rest.
    pub(super) fn lifetime(&self, asked: Option<u64>) -> Result<Lasting> {
        let lifetimes = *self
            .lifetimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Lasting {
            lifetime: lifetimes.of(asked)?,
            idle: lifetimes.idle,
        })
    }

    /// Refused where the key's life in this session is over. It begins with the session, or with the key in it.
    pub(super) fn check_alive(&self, asked: &Asked<'_>, terms: &Terms) -> Result<()> {
        let Some(lifetime_s) = terms.lifetime_s else {
            return Ok(());
        };
        let age = self
            .host
            .clock
            .boot()
            .saturating_sub(asked.session.life_of(&terms.id));
        if age < Duration::from_secs(lifetime_s) {
            return Ok(());
        }
        Err(
            Error::new(Kind::Denied, "the key's lifetime in this session is over")
                .with_hint("run akm unlock to begin another one"),
        )
    }

    /// From now on a key with a lifetime lives anew in this session: it was just stored or given one.
    pub(super) fn begin_life(&self, session: &Session, terms: &Terms) {
        if terms.lifetime_s.is_some() {
            session.begin_life(terms.id, self.host.clock.boot());
        }
    }
}
