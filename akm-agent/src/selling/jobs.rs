//! What a service that sells does by itself.
//!
//! A reminder is claimed in the vault before it is sent. It is given back where it surely was not sent, and kept where
//! nobody can tell: once at most is the promise.

use std::sync::Arc;
use std::time::Duration;

use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::Locale;
use akm_core::provider::Outbound;
use akm_core::service::{Channel, Door, Reminder};

use super::mail::{Mail, Sent};
use crate::cli::text::{Language, speaking, text};
use crate::jobs::Job;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Notes tiers that ended.
pub(super) struct Tiers(pub(super) Arc<Door>);

impl Job for Tiers {
    fn name(&self) -> &'static str {
        "tiers"
    }

    fn every(&self) -> Option<Duration> {
        Some(HOUR)
    }

    fn run(&self) -> Result<()> {
        self.0.settle_tiers()
    }
}

/// Looks for orders whose pushes were missed.
pub(super) struct Orders(pub(super) Arc<Door>);

impl Job for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(10 * 60))
    }

    fn run(&self) -> Result<()> {
        self.0.poll_payments()
    }
}

/// Reminds people.
pub(super) struct Remind {
    pub(super) service: Arc<Door>,
    pub(super) mail: Option<Arc<Mail>>,
    pub(super) outbound: Outbound,
}

impl Job for Remind {
    fn name(&self) -> &'static str {
        "reminders"
    }

    fn every(&self) -> Option<Duration> {
        Some(HOUR)
    }

    fn run(&self) -> Result<()> {
        let channels: &[Channel] = match self.mail {
            Some(_) => &[Channel::Mail, Channel::Hook],
            None => &[Channel::Hook],
        };
        let mut failed = None;
        for reminder in self.service.claim_reminders(channels)? {
            match self.send(&reminder) {
                Sent::Yes => {}
                Sent::No(error) => {
                    self.service.release_reminder(&reminder)?;
                    failed = Some(error);
                }
                Sent::Perhaps(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Remind {
    fn send(&self, reminder: &Reminder) -> Sent {
        let language = match reminder.contact.locale {
            Locale::En => Language::English,
            Locale::Zh => Language::Chinese,
        };
        let (subject, body) = speaking(language, || words(reminder));
        deliver(
            reminder,
            self.mail.as_deref(),
            &self.outbound,
            &subject,
            &body,
        )
    }
}

/// Sends a text the way that was claimed.
pub(super) fn deliver(
    to: &Reminder,
    mail: Option<&Mail>,
    outbound: &Outbound,
    subject: &str,
    body: &str,
) -> Sent {
    match (to.channel, mail) {
        (Channel::Mail, Some(mail)) => match &to.contact.email {
            Some(address) => mail.send(address, subject, body),
            None => Sent::Yes,
        },
        (Channel::Mail, None) => Sent::No(Error::internal("a mail without a server")),
        (Channel::Hook, _) => match &to.contact.hook {
            None => Sent::Yes,
            Some(hook) => match hook.send(outbound, &format!("{subject}\n{body}")) {
                Ok(()) => Sent::Yes,
                Err(error) => match error.kind() {
                    Kind::Unavailable | Kind::Denied | Kind::InvalidInput => Sent::No(error),
                    _ => Sent::Perhaps(error),
                },
            },
        },
    }
}

/// Subject and text.
fn words(reminder: &Reminder) -> (String, String) {
    let date = jiff::Timestamp::from_millisecond(reminder.at)
        .map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default();
    let (days, account) = (reminder.days, reminder.name.as_str());
    match (&reminder.key, &reminder.tier) {
        (Some(key), _) => (
            text!("reminder-key-subject", key = key.as_str(), days = days),
            text!(
                "reminder-key",
                account = account,
                key = key.as_str(),
                date = date.as_str()
            ),
        ),
        (None, tier) => {
            let tier = tier.as_deref().unwrap_or_default();
            (
                text!("reminder-tier-subject", tier = tier, days = days),
                text!(
                    "reminder-tier",
                    account = account,
                    tier = tier,
                    date = date.as_str()
                ),
            )
        }
    }
}
