//! From what was asked for to the variables of a command: which key under which name, its address (`addresses`), `NO_PROXY`.
//!
//! Invariants: a variable has one value, and two different ones are refused, because the program would get one of
//! them by chance; only the key's own variable or its provider's primary one is set, never an alias, and an inherited alias
//! that programs would take rather than that is taken away; secrets are asked for last, once each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use akm_core::client::Client;
use akm_core::name::{KeyName, check_env};
use akm_core::protocol::{Key, KeyGet, KeyList, KeyShow, KeyStatus, ProviderInfo, ProviderList};
use akm_core::{Error, Kind, Secret};

use super::super::list;
use super::super::output::{self, Result};
use super::super::text::text;
use addresses::{Programs, addresses, drop_empty, no_proxy};

mod addresses;

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
    /// The key it is of, if it is one's secret.
    pub(crate) key: Option<String>,
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
    /// What the agent knows of providers, once it was asked.
    listed: Option<Vec<ProviderInfo>>,
}

impl<'a> Gathering<'a> {
    /// Nothing is wanted yet.
    pub(crate) fn new(client: &'a mut Client) -> Self {
        Gathering {
            client,
            wanted: Vec::new(),
            known: BTreeMap::new(),
            listed: None,
        }
    }

    /// Wants these variables.
    pub(crate) fn variables(&mut self, wanted: Vec<Wanted>) {
        self.wanted.extend(wanted);
    }

    /// Wants a key under its own or its provider's variable.
    pub(crate) fn key(&mut self, name: String) -> Result<()> {
        let key = self.show(&name)?;
        let (source, env) = (Source::Key(key.name.clone()), key.env.clone());
        let provider = key.provider.clone();
        let variable = self.variable_of(env, &provider)?;
        self.wanted.push(Wanted { variable, source });
        Ok(())
    }

    /// Wants the default key of every provider that has one which may be handed out.
    pub(crate) fn default_keys(&mut self) -> Result<()> {
        for key in list::all(self.client, KeyList::default())?.keys {
            if let Some(variable) = self.default_variable(&key) {
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

    /// What would be set to what, and what would be taken away. `inherited` is the environment they are added to.
    pub(crate) fn plan(
        &mut self,
        inherited: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<(Vec<Wanted>, Vec<String>)> {
        let mut wanted = std::mem::take(&mut self.wanted);
        check_collisions(&mut wanted)?;
        for one in &wanted {
            if let Source::Key(name) = &one.source {
                self.show(name)?;
            }
        }
        let mut programs = BTreeMap::new();
        let providers: BTreeSet<String> = self
            .known
            .values()
            .map(|key| key.provider.clone())
            .collect();
        for provider in providers {
            if let Some(found) = self.programs_of(&provider)? {
                programs.insert(provider, found);
            }
        }
        let mut unset = Vec::new();
        let addresses = addresses(self.known.values(), &programs, &mut unset, inherited)?;
        drop_empty(&mut wanted, &programs, &mut unset);
        drop_preferred(&wanted, &programs, &mut unset, inherited);
        wanted.extend(addresses);
        check_collisions(&mut wanted)?;
        let proxies = no_proxy(&mut wanted, &programs, inherited);
        wanted.extend(proxies);
        wanted.sort_by(|a, b| a.variable.cmp(&b.variable));
        Ok((wanted, unset))
    }

    /// The variables, with their secrets.
    pub(crate) fn resolve(
        mut self,
        inherited: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Environment> {
        let (wanted, unset) = self.plan(inherited)?;
        let mut environment = Environment {
            unset,
            ..Environment::default()
        };
        let mut secrets: BTreeMap<String, Secret> = BTreeMap::new();
        for Wanted { variable, source } in wanted {
            let key = match &source {
                Source::Key(name) => Some(name.clone()),
                Source::Plain(_) => None,
            };
            let value = match source {
                Source::Plain(value) => value,
                Source::Key(name) => match secrets.get(&name) {
                    Some(secret) => secret.duplicate(),
                    None => {
                        let request = KeyGet {
                            name: name.clone(),
                            version: None,
                        };
                        let found = self.client.call(&request);
                        let secret = found.map_err(|error| named(error, &name))?.secret;
                        let copy = secret.duplicate();
                        secrets.insert(name, secret);
                        copy
                    }
                },
            };
            let name = variable;
            environment.set.push(Variable { name, value, key });
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

    /// The variable of a key that a run without options takes: a default key that may be handed out.
    fn default_variable(&mut self, key: &Key) -> Option<String> {
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
        let variable = self.variable_of(key.env.clone(), &key.provider);
        if variable.is_err() {
            output::note(&text!("left-out-no-variable", name = name));
        }
        variable.ok()
    }

    /// The key's own variable, or its provider's primary one.
    fn variable_of(&mut self, own: Option<String>, provider: &str) -> Result<String> {
        if let Some(variable) = own {
            return Ok(variable);
        }
        let programs = self.programs_of(provider)?;
        match programs.filter(|programs| check_env(&programs.primary, "env").is_ok()) {
            Some(programs) => Ok(programs.primary),
            None => Err(Error::invalid(
                "name",
                "the key has no variable and its provider is not known",
            )
            .with_hint("give -e VAR=akm://NAME, or akm edit NAME --env VAR")
            .into()),
        }
    }

    /// What a provider's programs read: of one that is not built in, as the agent knows it.
    fn programs_of(&mut self, provider: &str) -> Result<Option<Programs>> {
        if let Some(builtin) = Programs::builtin(provider) {
            return Ok(Some(builtin));
        }
        if self.listed.is_none() {
            self.listed = Some(self.client.call(&ProviderList {})?.providers);
        }
        let mut listed = self.listed.iter().flatten();
        Ok(listed.find(|one| one.id == provider).map(Programs::listed))
    }
}

/// Of several keys that were asked for, which one there is not, or is not handed out. The agent's own hint has a name where it
/// knows one that is close.
pub(crate) fn named(error: Error, name: &str) -> Error {
    match (error.kind(), error.hint()) {
        (Kind::NotFound, Some("run akm ls") | None) => {
            error.with_hint(format!("run akm add {name}"))
        }
        _ => about(error, name),
    }
}

/// An error about one key, whose hint is to be typed as it is: the agent's are literals, and say NAME.
pub(crate) fn about(error: Error, name: &str) -> Error {
    // What is no name is not repeated.
    let Ok(name) = KeyName::parse(name, "name") else {
        return error;
    };
    let hint = match error.hint() {
        Some("run akm enable NAME") => format!("run akm enable {name}"),
        Some("run akm history NAME") => format!("run akm history {name}"),
        Some("run akm rotate NAME") => format!("run akm rotate {name}"),
        Some("run akm rotate NAME, or akm edit NAME --expires DATE") => {
            format!("run akm rotate {name}, or akm edit {name} --expires DATE")
        }
        Some("run akm edit NAME --no-use-only to allow it") => {
            format!("run akm edit {name} --no-use-only to allow it")
        }
        _ => return error,
    };
    error.with_hint(hint)
}

/// Takes away the inherited variables that programs would take rather than one that is set.
fn drop_preferred(
    wanted: &[Wanted],
    programs: &BTreeMap<String, Programs>,
    unset: &mut Vec<String>,
    inherited: &dyn Fn(&str) -> Option<OsString>,
) {
    let is_wanted = |name: &str| wanted.iter().any(|one| one.variable == name);
    for programs in programs.values() {
        if !is_wanted(&programs.primary) {
            continue;
        }
        for name in &programs.preferred {
            if inherited(name).is_some_and(|value| !value.is_empty()) && !is_wanted(name) {
                let (name, instead) = (name.as_str(), programs.primary.as_str());
                output::note(&text!(
                    "preferred-taken-away",
                    name = name,
                    instead = instead
                ));
                unset.push(name.to_owned());
            }
        }
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
    let mut pairs = wanted.windows(2);
    let Some([one, other]) = pairs.find_map(|pair| match pair {
        [a, b] if a.variable == b.variable => Some([a, b]),
        _ => None,
    }) else {
        return Ok(());
    };
    let variable = &one.variable;
    let error = match (&one.source, &other.source) {
        (Source::Key(one), Source::Key(other)) => {
            Error::invalid("env", "two keys would have the same variable").with_hint(format!(
                "{one} and {other} would both be {variable}: give one of them another, -e VAR=akm://NAME"
            ))
        }
        _ => Error::invalid("env", "a variable would have two values")
            .with_hint(format!("take one of the two away: {variable}")),
    };
    Err(error.into())
}

#[cfg(test)]
mod tests;
