//! What may stand in the fields of a key, and the arm that changes them.
//!
//! Invariants: an empty text is none; what makes a key freer (another host, no more use-only, no more confirmation, a longer life)
//! needs the passphrase or the secret again; only where its owner moves it does a key get new destinations.
//!
//! Deliberately absent: names and secrets, which are read in `name`.

use crate::error::{Error, Kind, Result};
use crate::name::{KeyName, MAX_MODEL, check_env, check_text, read_notes};
use crate::protocol::{KeyResult, KeyStatus, KeyUpdate};
use crate::provider::{BaseUrl, rules_programs};

use super::balance::Threshold;
use super::{Asked, Service, lifetimes, shape};

/// Longest id of a team in bytes.
const MAX_TEAM: usize = 128;

impl Service {
    /// `confirmed`: the passphrase came with the request and was right.
    pub(super) fn update_key(
        &self,
        asked: &Asked<'_>,
        request: &KeyUpdate,
        confirmed: bool,
    ) -> Result<KeyResult> {
        let name = KeyName::parse(&request.name, "name")?;
        let opened = self.find(asked, &name)?;
        let mut record = opened.record.clone();
        if let Some(new_name) = &request.new_name {
            record.name = KeyName::parse(new_name, "new_name")?;
        }
        if let Some(model) = &request.model {
            record.model = line(Some(model.clone()), MAX_MODEL, "model")?;
        }
        if let Some(categories) = &request.categories {
            record.categories = shape::parse_categories(categories.clone())?;
        }
        if let Some(text) = &request.notes {
            record.notes = notes(Some(text.clone()))?;
        }
        if let Some(expires_at) = &request.expires_at {
            record.expires_at = none_if_empty(expires_at)
                .map(shape::parse_expiry)
                .transpose()?;
        }
        if let Some(env) = &request.env {
            record.env = variable(Some(env.clone()))?;
        }
        if let Some(low_balance) = &request.low_balance {
            record.low_balance = threshold(Some(low_balance))?;
        }
        if let Some(text) = &request.team {
            record.team = team(Some(text.clone()))?;
        }
        if let Some(seconds) = request.lifetime_s {
            record.lifetime_s = lifetimes::of_changed_key(seconds)?;
            lifetimes::check_change(opened.record.lifetime_s, record.lifetime_s, confirmed)?;
        }
        if let Some(status) = request.status {
            record.status = next_status(record.status, status)?;
        }
        if let Some(use_only) = request.use_only {
            if record.use_only && !use_only && !confirmed {
                return Err(
                    Error::new(Kind::Denied, "clearing use-only needs the passphrase")
                        .with_field("passphrase"),
                );
            }
            record.use_only = use_only;
        }
        if let Some(confirm) = request.confirm {
            if record.confirm && !confirm && !confirmed {
                return Err(Error::new(
                    Kind::Denied,
                    "doing without confirmation needs the passphrase",
                )
                .with_field("passphrase"));
            }
            record.confirm = confirm;
        }
        let base_url = match &request.base_url {
            Some(text) => none_if_empty(text)
                .map(|text| BaseUrl::parse(text, "base_url"))
                .transpose()?,
            None => record
                .base_url
                .as_deref()
                .map(|text| BaseUrl::parse(text, "base_url"))
                .transpose()?,
        };
        record.base_url = base_url.as_ref().map(BaseUrl::to_string);
        if request.low_balance.is_some() {
            let threshold = record.low_balance.as_deref();
            self.check_threshold(asked, threshold, record.name.provider(), base_url.as_ref())?;
        }
        // Only where its owner moves it does a key get new destinations; a new catalogue alone never moves one.
        let moved =
            record.base_url != opened.record.base_url || record.name.provider() != name.provider();
        if let Some(secret) = &request.secret {
            let stored = self.vault.open_secret(&asked.session.account, &opened)?;
            if !secret.matches(&stored) {
                return Err(
                    Error::new(Kind::WrongCredentials, "that is not the key's secret")
                        .with_field("secret"),
                );
            }
        }
        if moved {
            if request.secret.is_none() {
                return Err(Error::new(
                    Kind::Denied,
                    "sending a key elsewhere needs its secret again",
                )
                .with_field("secret"));
            }
            record.destinations = self
                .destinations(asked, record.name.provider(), base_url.as_ref())?
                .encode();
        }
        let secret = request.secret.as_ref().filter(|_| moved);
        let mut event = || self.key_event(asked, &record.id, &name);
        let record = self.vault.update_key(
            &asked.session.account,
            &opened,
            record.clone(),
            secret,
            &mut event,
        )?;
        // Only who gave a lifetime to a key without one, or gave the passphrase, begins its life anew.
        if request.lifetime_s.is_some() && (confirmed || opened.record.lifetime_s.is_none()) {
            self.begin_life(asked.session, &record.terms());
        }
        self.key_result(asked, &record)
    }
}

fn next_status(now: KeyStatus, wanted: KeyStatus) -> Result<KeyStatus> {
    match (now, wanted) {
        (_, KeyStatus::Expired) => Err(Error::invalid(
            "status",
            "expired follows from the date; it is not set",
        )),
        (KeyStatus::Burned, KeyStatus::Active | KeyStatus::Disabled) => Err(Error::new(
            Kind::Denied,
            "a burned key stays burned until it is rotated",
        )
        .with_field("status")
        .with_hint("run akm rotate NAME")),
        (_, wanted) => Ok(wanted),
    }
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn line(
    text: Option<String>,
    max: usize,
    field: &'static str,
) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    check_text(&text, max, field)?;
    if text.contains(['\n', '\t']) {
        return Err(Error::invalid(field, "the text is one line"));
    }
    Ok(Some(text))
}

pub(super) fn notes(text: Option<String>) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    read_notes(text, "notes").map(Some)
}

pub(super) fn variable(name: Option<String>) -> Result<Option<String>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    check_env(&name, "env")?;
    if rules_programs(&name) {
        return Err(Error::invalid(
            "env",
            "a variable that says what a program is, loads or trusts holds no key",
        ));
    }
    Ok(Some(name))
}

pub(super) fn threshold(text: Option<&str>) -> Result<Option<String>> {
    text.and_then(none_if_empty)
        .map(|text| Threshold::parse(text).map(|threshold| threshold.to_string()))
        .transpose()
}

/// It stands in a path, so it is one segment of one reading.
pub(super) fn team(text: Option<String>) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let fits = text.len() <= MAX_TEAM
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !fits {
        return Err(Error::invalid(
            "team",
            "the id of a team has up to 128 of a-z, A-Z, 0-9, - and _",
        ));
    }
    Ok(Some(text))
}
