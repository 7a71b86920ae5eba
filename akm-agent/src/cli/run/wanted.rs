//! From what was asked for to the variables of a command: which key under which name, its address, `NO_PROXY`.
//!
//! Invariants: a variable has one value, and two different ones are refused, because the program would get one of
//! them by chance; only the key's own variable or its provider's primary one is set, never an alias; a key with an
//! address of its own brings the variable that sends the SDK there, and keys of one provider with different
//! addresses are refused, because a program would send one to the other's host; a base URL is never set empty (an
//! SDK would keep the empty text), and an inherited empty one is taken away; secrets are asked for last, once each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use akm_core::client::Client;
use akm_core::name::check_env;
use akm_core::protocol::{Key, KeyGet, KeyList, KeyShow, KeyStatus, ProviderList};
use akm_core::provider::{VARIABLES, Variables};
use akm_core::{Error, Kind, Secret};

use super::super::list;
use super::super::output::{self, Result};
use super::super::text::text;

/// Where a variable's value comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A key, by its full name.
    Key(String),
    /// A text from an env file.
    Plain(Secret),
}

/// A variable that was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Its name, checked.
    pub(crate) variable: String,
    /// Its value.
    pub(crate) source: Source,
}

/// A variable with its value.
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: Secret,
}

/// What a command's environment differs in from ours.
#[derive(Default)]
pub(crate) struct Environment {
    /// To be set.
    pub(crate) set: Vec<Variable>,
    /// To be taken away.
    pub(crate) unset: Vec<String>,
    /// Each key that is in it once: its name and secret.
    pub(crate) keys: Vec<(String, Secret)>,
}

/// Gathers what is wanted and asks the agent about it.
pub(crate) struct Gathering<'a> {
    client: &'a mut Client,
    wanted: Vec<Wanted>,
    known: BTreeMap<String, Key>,
}

impl<'a> Gathering<'a> {
    /// Nothing is wanted yet.
    pub(crate) fn new(client: &'a mut Client) -> Self {
        Gathering {
            client,
            wanted: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// Wants these variables.
    pub(crate) fn variables(&mut self, wanted: Vec<Wanted>) {
        self.wanted.extend(wanted);
    }

    /// Wants a key under its own or its provider's variable.
    pub(crate) fn key(&mut self, name: String) -> Result<()> {
        self.show(&name)?;
        let key = &self.known[&name];
        let variable = variable_of(key, self.client)?;
        let source = Source::Key(key.name.clone());
        self.wanted.push(Wanted { variable, source });
        Ok(())
    }

    /// Wants the default key of every provider that has one which may be handed out.
    pub(crate) fn default_keys(&mut self) -> Result<()> {
        for key in list::all(self.client, KeyList::default())? {
            if let Some(variable) = default_variable(&key, self.client) {
                let source = Source::Key(key.name.clone());
                self.wanted.push(Wanted { variable, source });
                self.known.insert(key.name.clone(), key);
            }
        }
        if self.wanted.is_empty() {
            return Err(Error::new(Kind::NotFound, "no provider has a default key")
                .with_hint("run akm add openai, or name keys with -p")
                .into());
        }
        Ok(())
    }

    /// The variables. `inherited` is the environment they are added to.
    pub(crate) fn resolve(
        mut self,
        inherited: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Environment> {
        let mut wanted = std::mem::take(&mut self.wanted);
        check_collisions(&mut wanted)?;
        for one in &wanted {
            if let Source::Key(name) = &one.source {
                self.show(name)?;
            }
        }
        let mut environment = Environment::default();
        let addresses = addresses(self.known.values(), &mut environment, inherited)?;
        check_base_urls(&mut wanted, &mut environment);
        wanted.extend(addresses);
        check_collisions(&mut wanted)?;
        let proxies = no_proxy(&mut wanted, inherited);
        wanted.extend(proxies);
        wanted.sort_by(|a, b| a.variable.cmp(&b.variable));
        let mut secrets: BTreeMap<String, Secret> = BTreeMap::new();
        for Wanted { variable, source } in wanted {
            let value = match source {
                Source::Plain(value) => value,
                Source::Key(name) => match secrets.get(&name) {
                    Some(secret) => secret.duplicate(),
                    None => {
                        let request = KeyGet {
                            name: name.clone(),
                            version: None,
                        };
                        let secret = self.client.call(&request)?.secret;
                        let copy = secret.duplicate();
                        secrets.insert(name, secret);
                        copy
                    }
                },
            };
            let name = variable;
            environment.set.push(Variable { name, value });
        }
        environment.keys = secrets.into_iter().collect();
        Ok(environment)
    }

    fn show(&mut self, name: &str) -> Result<&Key> {
        // The agent may spell the name otherwise than it was typed; both spellings lead to it.
        if !self.known.contains_key(name) {
            let request = KeyShow {
                name: name.to_owned(),
            };
            let found = self.client.call(&request);
            let key = found.map_err(|error| named(error, name))?.key;
            self.known.insert(name.to_owned(), key);
        }
        Ok(&self.known[name])
    }
}

/// Of several keys that were asked for, which one there is not. The agent's own hint has a name where it knows one that is
/// close.
pub(crate) fn named(error: Error, name: &str) -> Error {
    match (error.kind(), error.hint()) {
        (Kind::NotFound, Some("run akm ls") | None) => {
            error.with_hint(format!("run akm add {name}"))
        }
        _ => error,
    }
}

/// The variable of a key that a run without options takes: a default key that may be handed out.
fn default_variable(key: &Key, client: &mut Client) -> Option<String> {
    if key.label != "default" {
        return None;
    }
    let name = key.name.as_str();
    let left_out = match (key.status, key.use_only) {
        (_, true) => Some(text!("left-out-use-only", name = name)),
        (KeyStatus::Active, false) => None,
        (KeyStatus::Disabled, false) => Some(text!("left-out-disabled", name = name)),
        (KeyStatus::Expired, false) => Some(text!("left-out-expired", name = name)),
        (KeyStatus::Burned, false) => Some(text!("left-out-burned", name = name)),
    };
    if let Some(why) = left_out {
        output::note(&why);
        return None;
    }
    let variable = variable_of(key, client);
    if variable.is_err() {
        output::note(&text!("left-out-no-variable", name = name));
    }
    variable.ok()
}

/// The key's own variable, or its provider's primary one: of a provider that is not built in, as the agent knows it.
fn variable_of(key: &Key, client: &mut Client) -> Result<String> {
    if let Some(variable) = &key.env {
        return Ok(variable.clone());
    }
    if let Some(variables) = Variables::of(&key.provider) {
        return Ok(variables.primary.to_owned());
    }
    let known = client.call(&ProviderList {})?.providers;
    let found = known.into_iter().find(|one| one.id == key.provider);
    match found.filter(|one| check_env(&one.env, "env").is_ok()) {
        Some(provider) => Ok(provider.env),
        None => Err(Error::invalid(
            "name",
            "the key has no variable and its provider is not known",
        )
        .with_hint("give -e VAR=akm://NAME, or akm edit NAME --env VAR")
        .into()),
    }
}

/// Twice the same value for a variable is once; another one is refused.
fn check_collisions(wanted: &mut Vec<Wanted>) -> Result<()> {
    let same = |a: &Source, b: &Source| match (a, b) {
        (Source::Key(a), Source::Key(b)) => a == b,
        (Source::Plain(a), Source::Plain(b)) => a.matches(b),
        _ => false,
    };
    wanted.sort_by(|a, b| a.variable.cmp(&b.variable));
    wanted.dedup_by(|b, a| a.variable == b.variable && same(&a.source, &b.source));
    if wanted
        .windows(2)
        .any(|pair| pair[0].variable == pair[1].variable)
    {
        return Err(
            Error::invalid("env", "two keys would have the same variable")
                .with_hint("give one of them another: -e VAR=akm://NAME")
                .into(),
        );
    }
    Ok(())
}

/// The variables that send a provider's programs to the address of its keys.
fn addresses<'k>(
    keys: impl Iterator<Item = &'k Key>,
    environment: &mut Environment,
    inherited: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<Wanted>> {
    let mut by_provider: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
    for key in keys {
        let address = key.base_url.as_deref().filter(|url| !url.is_empty());
        by_provider
            .entry(&key.provider)
            .or_default()
            .insert(address);
    }
    let mut wanted = Vec::new();
    for (provider, addresses) in by_provider {
        let Some(record) = Variables::of(provider) else {
            continue;
        };
        for variable in record.base_url {
            if inherited(variable).is_some_and(|value| value.is_empty()) {
                environment.unset.push((*variable).to_owned());
            }
        }
        if addresses.len() > 1 {
            return Err(Error::invalid(
                "base_url",
                "two keys of one provider have different addresses, and a program would mix them",
            )
            .with_hint("run the command with one of them at a time")
            .into());
        }
        let address = addresses.into_iter().next().flatten();
        if let (Some(address), Some(variable)) = (address, record.base_url.first()) {
            environment.unset.retain(|one| one != variable);
            wanted.push(Wanted {
                variable: (*variable).to_owned(),
                source: Source::Plain(Secret::new(address.to_owned())),
            });
        }
    }
    Ok(wanted)
}

/// An empty base URL of an env file means none: it is taken away rather than set.
fn check_base_urls(wanted: &mut Vec<Wanted>, environment: &mut Environment) {
    wanted.retain(|one| {
        let empty = matches!(&one.source, Source::Plain(value) if value.is_empty());
        let drop = empty && is_base_url(&one.variable);
        if drop {
            environment.unset.push(one.variable.clone());
        }
        !drop
    });
}

fn is_base_url(variable: &str) -> bool {
    let mut all = VARIABLES.iter();
    all.any(|provider| provider.base_url.contains(&variable))
}

/// With a base URL on this machine, `NO_PROXY` has this machine: Python's SDKs would ask a proxy for it otherwise.
fn no_proxy(wanted: &mut Vec<Wanted>, inherited: &dyn Fn(&str) -> Option<OsString>) -> Vec<Wanted> {
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    for one in wanted.iter() {
        if let Source::Plain(value) = &one.source
            && is_base_url(&one.variable)
        {
            needed.extend(loopback(value.expose()));
        }
    }
    if needed.is_empty() {
        return Vec::new();
    }
    let mut added = Vec::new();
    // Where both spellings are set, programs differ in which they read.
    for name in ["NO_PROXY", "no_proxy"] {
        let given = wanted.iter().position(|one| one.variable == name);
        let before = match given.map(|at| &wanted[at].source) {
            // A key in it is nonsense, but not ours to judge.
            Some(Source::Key(_)) => continue,
            Some(Source::Plain(value)) => Some(value.expose().to_owned()),
            None => inherited(name).map(|value| value.to_string_lossy().into_owned()),
        };
        if before.is_none() && name == "no_proxy" {
            continue;
        }
        let mut hosts: Vec<&str> = before.as_deref().unwrap_or_default().split(',').collect();
        hosts.retain(|host| !host.trim().is_empty());
        for host in ["127.0.0.1", "localhost", "::1"] {
            if needed.contains(host) && !hosts.iter().any(|one| one.trim() == host) {
                hosts.push(host);
            }
        }
        let source = Source::Plain(Secret::new(hosts.join(",")));
        if let Some(at) = given {
            wanted.swap_remove(at);
        }
        added.push(Wanted {
            variable: name.to_owned(),
            source,
        });
    }
    added
}

/// What `NO_PROXY` needs for an address: nothing, if it is not this machine.
fn loopback(address: &str) -> &'static [&'static str] {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let end = |text: &str| text.is_empty() || text.starts_with([':', '/']);
    if rest.strip_prefix("[::1]").is_some_and(end) {
        return &["127.0.0.1", "localhost", "::1"];
    }
    let mut names = ["127.0.0.1", "localhost"].iter();
    match names.any(|name| rest.strip_prefix(name).is_some_and(end)) {
        true => &["127.0.0.1", "localhost"],
        false => &[],
    }
}

#[cfg(test)]
mod tests;
