//! The arms for keys: add, get, show, list, rotate, remove, history. Changing what stands in their fields is `fields`' job.

use data_encoding::HEXLOWER;

use crate::error::{Error, Kind, Result};
use crate::name::{KeyName, MAX_MODEL, ProviderId, check_secret};
use crate::protocol::{
    self, History, KeyAdd, KeyGet, KeyHistory, KeyList, KeyPage, KeyRemove, KeyResult, KeyRotate,
    KeySecret, KeyShow, KeyStatus, PAGE_BYTES,
};
use crate::provider::{BaseUrl, Catalogue, Destinations};
use crate::store::Id;
use crate::vault::{Damage, LastTest, NewKey, OpenedKey, Record, Terms, Use, is_damage};

use super::access::{self, Gate, pass};
use super::custom::Known;
use super::fields::{line, notes, team, threshold, variable};
use super::{Asked, Service, lifetimes, shape};

/// How many existing keys a `not_found` hint names.
const HINTED_KEYS: u32 = 8;
/// Most records opened at a time for a page, so that few are opened for nothing where they are large.
const PIECE: u32 = 128;

impl Service {
    pub(super) fn add_key(&self, asked: &Asked<'_>, request: KeyAdd) -> Result<KeyResult> {
        let key = self.new_key(asked, request)?;
        let base_url = key.base_url.as_deref();
        self.check_threshold(
            asked,
            key.low_balance.as_deref(),
            key.name.provider(),
            base_url
                .map(|text| BaseUrl::parse(text, "base_url"))
                .transpose()?
                .as_ref(),
        )?;
        let name = key.name.clone();
        let limit = self.key_limit(&asked.session.account)?;
        let mut event = |records: &[Record]| {
            self.check_limit(&asked.session.account, limit)?;
            records
                .iter()
                .try_for_each(|record| self.key_event(asked, &record.id, &record.name))
        };
        let added = self
            .vault
            .add_keys(&asked.session.account, &[key], limit, &mut event);
        let records = added.inspect_err(|error| {
            // A refusal because of a key that exists is about that key.
            if error.kind() == Kind::Conflict {
                let _ = self.find(asked, &name);
            }
        })?;
        let record = records
            .first()
            .ok_or(Error::internal("a stored key is missing"))?;
        self.begin_life(asked.session, &record.terms());
        self.key_result(asked, record)
    }

    /// Checks every field of a key that is to be stored.
    pub(super) fn new_key(&self, asked: &Asked<'_>, request: KeyAdd) -> Result<NewKey> {
        let name = KeyName::parse(&request.name, "name")?;
        check_secret(&request.secret, "secret")?;
        let base_url = request
            .base_url
            .as_deref()
            .map(|text| BaseUrl::parse(text, "base_url"))
            .transpose()?;
        Ok(NewKey {
            destinations: self
                .destinations(asked, name.provider(), base_url.as_ref())?
                .encode(),
            name,
            secret: request.secret,
            model: line(request.model, MAX_MODEL, "model")?,
            categories: shape::parse_categories(request.categories)?,
            notes: notes(request.notes)?,
            expires_at: request
                .expires_at
                .as_deref()
                .map(shape::parse_expiry)
                .transpose()?,
            env: variable(request.env)?,
            low_balance: threshold(request.low_balance.as_deref())?,
            lifetime_s: lifetimes::of_new_key(request.lifetime_s)?,
            team: team(request.team)?,
            use_only: request.use_only.unwrap_or(false),
            confirm: request.confirm.unwrap_or(false),
            base_url: base_url.map(|url| url.to_string()),
        })
    }

    pub(super) fn get_key(&self, asked: &Asked<'_>, request: &KeyGet) -> Result<Gate<KeySecret>> {
        let name = KeyName::parse(&request.name, "name")?;
        let account = &asked.session.account;
        let current = |terms: &Terms| {
            request
                .version
                .is_none_or(|version| version == terms.secret_version)
        };
        let (id, secret) = match self.vault.ready_key(account, &name) {
            Some(ready) if current(&ready.terms) => {
                asked.about(ready.terms.id, &name);
                self.check_releasable(asked, &ready.terms)?;
                pass!(self.may(asked, &ready.terms, &name, Use::Release)?);
                (ready.terms.id, ready.open()?)
            }
            _ => {
                let opened = self.find(asked, &name)?;
                let terms = opened.record.terms();
                self.check_releasable(asked, &terms)?;
                pass!(self.may(asked, &terms, &name, Use::Release)?);
                let secret = match request.version {
                    Some(version) if !current(&terms) => {
                        let old = self.vault.open_old_secret(account, &opened, version)?;
                        old.ok_or(
                            Error::new(Kind::NotFound, "the key has no such version")
                                .with_field("version")
                                .with_hint("run akm history NAME"),
                        )?
                    }
                    _ => self.vault.open_and_keep(account, &opened)?,
                };
                (terms.id, secret)
            }
        };
        // The event first; without it the secret is wiped here.
        self.key_event(asked, &id, &name)?;
        Ok(Gate::Done(KeySecret {
            name: name.to_string(),
            secret,
        }))
    }

    /// Whether a get would be refused, for the key's sake.
    pub(super) fn check_handing_out(&self, asked: &Asked<'_>, name: &str) -> Result<()> {
        let opened = self.find(asked, &KeyName::parse(name, "name")?)?;
        self.check_releasable(asked, &opened.record.terms())
    }

    pub(super) fn show_key(&self, asked: &Asked<'_>, request: &KeyShow) -> Result<KeyResult> {
        let name = KeyName::parse(&request.name, "name")?;
        let opened = self.find(asked, &name)?;
        if !self.may_see(asked, &opened.record.id)? {
            return Err(access::not_granted());
        }
        let mut result = self.key_result(asked, &opened.record)?;
        result.key.last_test = self.described_test(asked, &opened.record)?;
        Ok(result)
    }

    pub(super) fn list_keys(&self, asked: &Asked<'_>, request: &KeyList) -> Result<KeyPage> {
        let provider = request
            .provider
            .as_deref()
            .map(|text| ProviderId::parse(text, "provider"))
            .transpose()?;
        let limit = page_limit(request.limit)?;
        let after = request.after.as_deref().map(parse_cursor).transpose()?;
        let now = self.now_ms();
        let is_open = self.is_open(asked)?;
        if !is_open {
            self.check_may_list(asked)?;
        }
        let keep = |record: &Record| {
            // What cannot be decided is not shown.
            (is_open || self.may_see(asked, &record.id).unwrap_or(false))
                && request
                    .status
                    .is_none_or(|status| shape::status(&record.terms(), now) == status)
                && request
                    .category
                    .as_ref()
                    .is_none_or(|category| record.categories.contains(category))
        };
        let skips = request.skip_unreadable.unwrap_or(false);
        let mut unreadable = Vec::new();
        let seen = |unreadable: Vec<(Id, Kind)>| {
            let may_see = |id: &Id| is_open || self.may_see(asked, id).unwrap_or(false);
            let seen = unreadable.iter().filter(|(id, _)| may_see(id));
            seen.map(|(id, _)| HEXLOWER.encode(id)).collect()
        };
        let mut own = None;
        let mut keys = Vec::new();
        let mut bytes = 0;
        let mut after = after;
        let next = loop {
            let left = limit - u32::try_from(keys.len()).unwrap_or(limit);
            let wanted = left.min(PIECE);
            let account = &asked.session.account;
            let damage = match skips {
                true => Damage::Noted(&mut unreadable),
                false => Damage::Fails,
            };
            let (records, next) = self
                .vault
                .list_keys(account, provider.as_ref(), after, wanted, &keep, damage)
                .map_err(|error| with_a_way_on(error, skips))?;
            if own.is_none() && records.iter().any(|record| !is_builtin(record)) {
                own = Some(spared(self.own_variables(account), skips, Vec::new())?);
            }
            let own = own.as_deref().unwrap_or_default();
            let count = records.len();
            let tests = self.vault.last_tests(account, &records);
            let tests = spared(tests, skips, vec![None; count])?;
            for (index, (record, test)) in records.iter().zip(tests).enumerate() {
                let key = listed(record, test, now, own)?;
                bytes += protocol::encoded_length(&key)?;
                keys.push(key);
                if bytes > PAGE_BYTES && (index + 1 < count || next.is_some()) {
                    // What follows it comes with the next page.
                    unreadable.retain(|(id, _)| *id <= record.id);
                    return Ok(page(keys, seen(unreadable), Some(record.id)));
                }
            }
            // A piece that is short has looked at as much as one request may.
            let is_short = count < wanted as usize;
            if next.is_none() || is_short || keys.len() >= limit as usize {
                break next;
            }
            after = next;
        };
        Ok(page(keys, seen(unreadable), next))
    }

    pub(super) fn rotate_key(&self, asked: &Asked<'_>, request: &KeyRotate) -> Result<KeyResult> {
        let name = KeyName::parse(&request.name, "name")?;
        check_secret(&request.secret, "secret")?;
        let opened = self.find(asked, &name)?;
        let mut record = opened.record.clone();
        if record.status == KeyStatus::Burned {
            // What was found in the open was the old secret.
            record.status = KeyStatus::Active;
        }
        let mut event = || self.key_event(asked, &record.id, &name);
        let record = self.vault.update_key(
            &asked.session.account,
            &opened,
            record.clone(),
            Some(&request.secret),
            &mut event,
        )?;
        self.begin_life(asked.session, &record.terms());
        self.key_result(asked, &record)
    }

    pub(super) fn remove_key(&self, asked: &Asked<'_>, request: &KeyRemove) -> Result<KeyResult> {
        let name = KeyName::parse(&request.name, "name")?;
        let opened = self.find(asked, &name)?;
        let mut event = || self.key_event(asked, &opened.record.id, &name);
        self.vault
            .remove_key(&asked.session.account, &opened, &mut event)?;
        self.key_result(asked, &opened.record)
    }

    pub(super) fn key_history(&self, asked: &Asked<'_>, request: &KeyHistory) -> Result<History> {
        let name = KeyName::parse(&request.name, "name")?;
        let opened = self.find(asked, &name)?;
        let record = &opened.record;
        if !self.may_see(asked, &record.id)? {
            return Err(access::not_granted());
        }
        let mut versions = vec![protocol::Version {
            version: record.secret_version,
            preview: record.preview.clone(),
            created_at: shape::time_ms(record.secret_at),
            replaced_at: None,
        }];
        versions.extend(
            self.vault
                .old_versions(&asked.session.account, &opened)?
                .into_iter()
                .map(|old| protocol::Version {
                    version: old.version,
                    preview: old.preview,
                    created_at: shape::time_ms(old.created_at),
                    replaced_at: Some(shape::time_ms(old.replaced_at)),
                }),
        );
        Ok(History {
            name: name.to_string(),
            versions,
        })
    }

    #[cfg(not(feature = "providers"))]
    pub(super) fn provider_test(
        &self,
        _: &crate::audit::Caller,
        _: &protocol::ProviderTest,
    ) -> Result<protocol::TestResult> {
        Err(Error::new(
            Kind::Unavailable,
            "this build has no connection tests",
        ))
    }

    pub(super) fn find(&self, asked: &Asked<'_>, name: &KeyName) -> Result<OpenedKey> {
        match self.vault.find_key(&asked.session.account, name)? {
            Some(opened) => {
                asked.about(opened.record.id, name);
                Ok(opened)
            }
            None => Err(self.not_found(asked, name)),
        }
    }

    /// `not_found` with what exists nearby: names in the vault, never what was typed.
    fn not_found(&self, asked: &Asked<'_>, name: &KeyName) -> Error {
        let error = Error::new(Kind::NotFound, "there is no key with this name").with_field("name");
        let near = self.vault.list_keys(
            &asked.session.account,
            Some(name.provider()),
            None,
            HINTED_KEYS,
            &|record| self.may_see(asked, &record.id).unwrap_or(false),
            Damage::Fails,
        );
        let mut names: Vec<String> = match near {
            Ok((records, _)) => records
                .iter()
                .map(|record| record.name.to_string())
                .collect(),
            Err(_) => Vec::new(),
        };
        names.sort();
        match names.is_empty() {
            true => error.with_hint("run akm ls"),
            false => error.with_hint(format!("there is {}", names.join(", "))),
        }
    }

    fn check_releasable(&self, asked: &Asked<'_>, terms: &Terms) -> Result<()> {
        self.check_usable(asked, terms)?;
        if terms.use_only {
            return Err(
                Error::new(Kind::Denied, "the key is use-only: it is never handed out")
                    .with_hint("run akm edit NAME --no-use-only to allow it"),
            );
        }
        Ok(())
    }

    pub(super) fn check_usable(&self, asked: &Asked<'_>, terms: &Terms) -> Result<()> {
        match shape::status(terms, self.now_ms()) {
            KeyStatus::Active => self.check_alive(asked, terms),
            KeyStatus::Disabled => {
                Err(Error::new(Kind::Denied, "the key is disabled")
                    .with_hint("run akm enable NAME"))
            }
            KeyStatus::Expired => Err(Error::new(Kind::Denied, "the key has expired")
                .with_hint("run akm rotate NAME, or akm edit NAME --expires DATE")),
            KeyStatus::Burned => Err(Error::new(Kind::Denied, "the key was found in the open")
                .with_hint("run akm rotate NAME")),
        }
    }

    /// What the last test of a key showed, for the wire.
    pub(super) fn described_test(
        &self,
        asked: &Asked<'_>,
        record: &Record,
    ) -> Result<Option<protocol::LastTest>> {
        let test = self.vault.last_test(&asked.session.account, record)?;
        Ok(test.map(described))
    }

    pub(super) fn key_result(&self, asked: &Asked<'_>, record: &Record) -> Result<KeyResult> {
        let standard = match record.env {
            Some(_) => None,
            None => self
                .known(&asked.session.account, record.name.provider())?
                .map(|known| known.record().env.primary.clone()),
        };
        Ok(KeyResult {
            key: shape::key(record, self.now_ms(), standard)?,
        })
    }

    /// Where a key of this provider may be sent, as of now.
    pub(super) fn destinations(
        &self,
        asked: &Asked<'_>,
        provider: &ProviderId,
        base_url: Option<&BaseUrl>,
    ) -> Result<Destinations> {
        let known = self.known(&asked.session.account, provider)?;
        let record = known.as_ref().map(Known::record);
        Ok(Destinations::of(record, base_url))
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.host.clock.now().as_millisecond()
    }
}

/// What stands beside the keys: where it does not open that is no reason for whoever passes over such keys to be told of none.
fn spared<T>(read: Result<T>, skips: bool, instead: T) -> Result<T> {
    match read {
        Err(error) if skips && is_damage(error.kind()) => Ok(instead),
        read => read,
    }
}

/// What to do where one record does not open and fails what is asked about many, if that was not done already.
pub(super) fn with_a_way_on(error: Error, skips: bool) -> Error {
    match !skips && is_damage(error.kind()) {
        true => error.with_hint(
            "run akm doctor; with --skip-unreadable akm ls and akm export take the keys that open",
        ),
        false => error,
    }
}

fn page(keys: Vec<protocol::Key>, unreadable: Vec<String>, next: Option<Id>) -> KeyPage {
    KeyPage {
        keys,
        unreadable,
        next: next.map(|id| HEXLOWER.encode(&id)),
    }
}

/// A key on a page. `own` are the variables of the account's own providers.
fn listed(
    record: &Record,
    test: Option<LastTest>,
    now: i64,
    own: &[(ProviderId, String)],
) -> Result<protocol::Key> {
    let provider = record.name.provider();
    let standard = match Catalogue::builtin().provider(provider.as_str()) {
        Some(known) => Some(known.env.primary.clone()),
        None => own
            .iter()
            .find(|(id, _)| id == provider)
            .map(|(_, variable)| variable.clone()),
    };
    Ok(protocol::Key {
        last_test: test.map(described),
        ..shape::key(record, now, standard)?
    })
}

fn described(test: LastTest) -> protocol::LastTest {
    protocol::LastTest {
        outcome: test.outcome,
        time: shape::time_ms(test.at),
    }
}

fn is_builtin(record: &Record) -> bool {
    let id = record.name.provider().as_str();
    Catalogue::builtin().provider(id).is_some()
}

pub(super) fn page_limit(limit: Option<u32>) -> Result<u32> {
    match limit.unwrap_or(100) {
        limit @ 1..=protocol::MAX_PAGE => Ok(limit),
        _ => Err(Error::invalid("limit", "a page has 1 to 1000 records")),
    }
}

pub(super) fn parse_cursor(text: &str) -> Result<Id> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Error::invalid(
            "after",
            "the cursor is not one of this agent",
        ))
}
