//! `[hosted]`: what holds for clients of network listeners.

use std::time::Duration;

use akm_core::error::Result;
use akm_core::service::{Hosting, Registration};
use toml::Value;

use super::{lifetime, names, number, string, wrong_type};
use crate::server::network;
use crate::server::proxies::Cidr;

/// Requests, and sign-ins, of one address per minute where the configuration does not say.
const REQUESTS: u32 = 600;
const SIGN_INS: u32 = 20;

/// The section.
#[derive(Debug, PartialEq, Eq)]
pub struct Hosted {
    /// What the service is told.
    pub rules: Hosting,
    requests_per_minute: u32,
    sign_ins_per_minute: u32,
    metrics_from: Vec<Cidr>,
}

impl Default for Hosted {
    fn default() -> Self {
        Hosted {
            rules: Hosting::default(),
            requests_per_minute: REQUESTS,
            sign_ins_per_minute: SIGN_INS,
            metrics_from: Vec::new(),
        }
    }
}

impl Hosted {
    /// Takes one key of the section; false if there is none of that name.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<bool> {
        let life =
            |key| lifetime(value, key).map(|lifetime| Duration::from_secs(lifetime.as_secs()));
        let rate = |key| {
            number(value, key, 0..=u64::from(u32::MAX))
                .map(|rate| u32::try_from(rate).unwrap_or(u32::MAX))
        };
        match key {
            "registration" => {
                const KEY: &str = "hosted.registration";
                self.rules.registration = match string(value, KEY)?.as_str() {
                    "open" => Registration::Open,
                    "invitation" => Registration::Invitation,
                    "closed" => Registration::Closed,
                    _ => return Err(wrong_type().with_field(KEY)),
                };
            }
            "totp_required" => {
                self.rules.totp_required = value
                    .as_bool()
                    .ok_or_else(|| wrong_type().with_field("hosted.totp_required"))?;
            }
            "idle" => self.rules.idle = life("hosted.idle")?,
            "absolute" => self.rules.absolute = life("hosted.absolute")?,
            "requests_per_minute" => {
                self.requests_per_minute = rate("hosted.requests_per_minute")?;
            }
            "sign_ins_per_minute" => {
                self.sign_ins_per_minute = rate("hosted.sign_ins_per_minute")?;
            }
            "metrics_from" => {
                const KEY: &str = "hosted.metrics_from";
                self.metrics_from = names(value, KEY)?
                    .iter()
                    .map(|text| Cidr::parse(text).map_err(|error| error.with_field(KEY)))
                    .collect::<Result<_>>()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The listeners with the limits of the section.
    pub fn limits(&self, options: &network::Options) -> network::Options {
        network::Options {
            requests_per_minute: self.requests_per_minute,
            sign_ins_per_minute: self.sign_ins_per_minute,
            metrics_from: self.metrics_from.clone(),
            ..options.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn the_section_is_closed_and_asks_for_totp_unless_it_says_otherwise() {
        let rules = |text: &str| Config::parse(text).unwrap().hosted.rules;
        let default = rules("");
        assert_eq!(default.registration, Registration::Closed);
        assert!(default.totp_required);
        let said = Config::parse(
            "[hosted]\nregistration = \"invitation\"\ntotp_required = false\nidle = \"10m\"\nabsolute = 3600\n\
             requests_per_minute = 0\nsign_ins_per_minute = 5\n",
        )
        .unwrap()
        .hosted;
        assert_eq!(
            said.rules,
            Hosting {
                registration: Registration::Invitation,
                totp_required: false,
                idle: Duration::from_secs(600),
                absolute: Duration::from_secs(3600),
            }
        );
        let options = said.limits(&network::Options::default());
        assert_eq!(
            (options.requests_per_minute, options.sign_ins_per_minute),
            (0, 5)
        );
        for (text, field) in [
            ("registration = \"canary\"", "hosted.registration"),
            ("registration = true", "hosted.registration"),
            ("totp_required = \"canary\"", "hosted.totp_required"),
            ("idle = 0", "hosted.idle"),
            ("absolute = \"canary\"", "hosted.absolute"),
            ("requests_per_minute = -1", "hosted.requests_per_minute"),
        ] {
            let error = Config::parse(&format!("[hosted]\n{text}")).unwrap_err();
            assert_eq!(error.field(), Some(field), "{text}");
        }
        assert!(Config::parse("[hosted]\ncanary = 1").is_err());
    }
}
