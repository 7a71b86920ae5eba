//! Tells administrators of what somebody should look at: by mail and by chat hook, where each is reached (`akm billing
//! contact`), in the own language, once for each time that it comes up.
//!
//! As with reminders, the news is claimed in the vault before it is sent, and given back where it surely was not sent.

use std::sync::Arc;
use std::time::Duration;

use akm_core::error::Result;
use akm_core::protocol::Locale;
use akm_core::provider::Outbound;
use akm_core::service::{Channel, Door};

use super::jobs::deliver;
use super::mail::{Mail, Sent};
use crate::cli::text::{Language, of_token, speaking, text};
use crate::jobs::Job;
use crate::server::lookout::Watch;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// Looks, and tells.
pub(super) struct Alerts {
    pub(super) watch: Arc<Watch>,
    pub(super) service: Arc<Door>,
    pub(super) mail: Option<Arc<Mail>>,
    pub(super) outbound: Outbound,
}

impl Job for Alerts {
    fn name(&self) -> &'static str {
        "alerts"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn run(&self) -> Result<()> {
        let channels: &[Channel] = match self.mail {
            Some(_) => &[Channel::Mail, Channel::Hook],
            None => &[Channel::Hook],
        };
        let mut failed = None;
        for (alert, since) in self.watch.look(&self.service.figures()) {
            for news in self.service.claim_alert(&alert, since, channels)? {
                let language = match news.contact.locale {
                    Locale::En => Language::English,
                    Locale::Zh => Language::Chinese,
                };
                let (subject, body) = speaking(language, || words(&alert, since));
                match deliver(&news, self.mail.as_deref(), &self.outbound, &subject, &body) {
                    Sent::Yes => {}
                    Sent::No(error) => {
                        self.service.release_reminder(&news)?;
                        failed = Some(error);
                    }
                    Sent::Perhaps(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Subject and text.
fn words(alert: &str, since: i64) -> (String, String) {
    let time = jiff::Timestamp::from_millisecond(since)
        .map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default();
    let what = of_token("alert", alert);
    (
        text!("alert-subject", what = what.as_str()),
        text!("alert-body", what = what.as_str(), time = time.as_str()),
    )
}
