//! The variables that lead a command's programs to the address of a key, and past a proxy to this machine.
//!
//! Invariants: a key with an address of its own, or of a provider that somebody added, brings the variable that sends its
//! provider's programs there, without what they append themselves, but never to where the key was not sealed for; keys whose programs would read their address from one variable have one address, or are refused,
//! because a program would send one to the other's host; another variable that could send such a key elsewhere is taken
//! away, unless another provider's programs read theirs from it first: then it is that provider's, and a key without an address
//! is led to its provider's own by the variable that comes first; a base URL is never set empty (an SDK would keep the empty text), and an inherited empty one is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use akm_core::protocol::{Key, ProviderInfo};
use akm_core::provider::{BaseUrl, VARIABLES, Variables};
use akm_core::{Error, Secret};

use super::{Result, Source, Wanted};

/// What the programs of a provider read.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// The variable for the key.
    pub(super) primary: String,
    /// Those that they take rather than that one.
    pub(super) preferred: Vec<String>,
    /// Those for the address, the usual one first.
    addresses: Vec<AddressOf>,
    /// Where they go without any; empty where that is not known.
    endpoint: String,
    is_builtin: bool,
}

/// A variable that programs read an address from.
#[derive(Clone, Debug)]
struct AddressOf {
    name: String,
    /// The ends of an address that they append themselves.
    appended: Vec<String>,
}

impl Programs {
    /// Those of a built-in provider.
    pub(super) fn builtin(provider: &str) -> Option<Programs> {
        let known = Variables::of(provider)?;
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Some(Programs {
            primary: known.primary.to_owned(),
            preferred: owned(known.preferred),
            addresses: known
                .base_url
                .iter()
                .map(|name| AddressOf {
                    name: (*name).to_owned(),
                    appended: known
                        .appended
                        .iter()
                        .find(|(of, _)| of == name)
                        .map_or_else(Vec::new, |(_, ends)| owned(ends)),
                })
                .collect(),
            endpoint: usable(known.endpoint),
            is_builtin: true,
        })
    }

    /// Those of one that the agent listed.
    pub(super) fn listed(info: &ProviderInfo) -> Programs {
        Programs {
            primary: info.env.clone(),
            preferred: Vec::new(),
            addresses: info
                .base_url_env
                .iter()
                .map(|one| AddressOf {
                    name: one.name.clone(),
                    appended: one.appended.clone(),
                })
                .collect(),
            endpoint: usable(info.endpoints.first().map_or("", |first| &first.base_url)),
            is_builtin: false,
        }
    }
}

/// An address, if nothing has to be filled in.
fn usable(endpoint: &str) -> String {
    match endpoint.contains('{') {
        true => String::new(),
        false => endpoint.to_owned(),
    }
}

/// The names of two keys of which each has its own.
fn different(one: &str, other: &str) -> Error {
    Error::invalid(
        "base_url",
        "two keys have different addresses, and a program would send one to the other's",
    )
    .with_hint(format!(
        "run the command with one of them at a time: {one} or {other}"
    ))
}

/// The variables that lead to the addresses of these keys; adds those that are to be taken away.
pub(super) fn addresses<'k>(
    keys: impl Iterator<Item = &'k Key>,
    programs: &BTreeMap<String, Programs>,
    unset: &mut Vec<String>,
    inherited: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Vec<Wanted>> {
    // Each address with the name of a key that has it.
    let mut by_provider: BTreeMap<&str, BTreeMap<Option<&str>, &str>> = BTreeMap::new();
    for key in keys {
        let own = key.base_url.as_deref().filter(|url| !url.is_empty());
        let address = own.or_else(|| added(key, programs.get(&key.provider)?));
        by_provider
            .entry(&key.provider)
            .or_default()
            .entry(address)
            .or_insert(&key.name);
    }
    // Those that will lead the keys of their provider to an address of their own.
    let led: BTreeSet<&str> = by_provider
        .iter()
        .filter(|(_, found)| found.keys().any(Option::is_some))
        .filter_map(|(provider, _)| programs.get(*provider)?.addresses.first())
        .map(|usual| usual.name.as_str())
        .collect();
    let mut by_variable: BTreeMap<&str, (Option<String>, &str)> = BTreeMap::new();
    // Those that a key with an address of its own could be sent elsewhere by.
    let mut others = BTreeSet::new();
    for (provider, found) in by_provider {
        let Some(programs) = programs.get(provider) else {
            continue;
        };
        let Some((usual, more)) = programs.addresses.split_first() else {
            let mut names = found.into_values();
            if let (true, Some(one), Some(other)) =
                (programs.is_builtin, names.next(), names.next())
            {
                return Err(different(one, other).into());
            }
            continue;
        };
        // Without the first its programs would read one that leads another provider's key.
        let would_stray = more.iter().any(|one| led.contains(one.name.as_str()));
        let is_set = inherited(&usual.name).is_some_and(|value| !value.is_empty());
        let instead = (would_stray && !is_set && !programs.endpoint.is_empty())
            .then_some(programs.endpoint.as_str());
        for (found, key) in found {
            let found = found.or(instead);
            let value = found.map(|address| without(address, &usual.appended).to_owned());
            if value.is_some() {
                others.extend(more.iter().map(|one| one.name.as_str()));
            }
            match by_variable.get(usual.name.as_str()) {
                Some((other, of)) if *other != value => return Err(different(of, key).into()),
                _ => by_variable.insert(&usual.name, (value, key)),
            };
        }
        for variable in &programs.addresses {
            let is_empty = inherited(&variable.name).is_some_and(|value| value.is_empty());
            if is_empty && !unset.contains(&variable.name) {
                unset.push(variable.name.clone());
            }
        }
    }
    for name in others {
        let is_inherited = inherited(name).is_some_and(|value| !value.is_empty());
        if is_inherited && !by_variable.contains_key(name) {
            unset.push(name.to_owned());
        }
    }
    let mut wanted = Vec::new();
    for (name, (value, _)) in by_variable {
        if let Some(value) = value {
            unset.retain(|one| one != name);
            wanted.push(Wanted {
                variable: name.to_owned(),
                source: Source::Plain(Secret::new(value)),
            });
        }
    }
    Ok(wanted)
}

/// The address of a provider that somebody added, which its programs cannot know; not one that it got after the key was sealed.
fn added<'p>(key: &Key, programs: &'p Programs) -> Option<&'p str> {
    let origin = BaseUrl::read(&programs.endpoint).ok()?.origin();
    let is_sealed = key.hosts.contains(&origin);
    (!programs.is_builtin && is_sealed).then_some(programs.endpoint.as_str())
}

/// An address without the end that a program appends itself.
fn without<'a>(address: &'a str, appended: &[String]) -> &'a str {
    let mut ends = appended.iter();
    ends.find_map(|end| address.strip_suffix(end.as_str()))
        .unwrap_or(address)
}

/// An empty base URL of an env file means none: it is taken away rather than set.
pub(super) fn drop_empty(
    wanted: &mut Vec<Wanted>,
    programs: &BTreeMap<String, Programs>,
    unset: &mut Vec<String>,
) {
    wanted.retain(|one| {
        let empty = matches!(&one.source, Source::Plain(value) if value.is_empty());
        let drop = empty && is_base_url(&one.variable, programs);
        if drop {
            unset.push(one.variable.clone());
        }
        !drop
    });
}

fn is_base_url(variable: &str, programs: &BTreeMap<String, Programs>) -> bool {
    let mut own = programs.values().flat_map(|one| &one.addresses);
    let mut all = VARIABLES.iter();
    own.any(|one| one.name == variable) || all.any(|one| one.base_url.contains(&variable))
}

/// With a base URL on this machine, or a proxy, `NO_PROXY` has this machine: Python's SDKs would ask the proxy for it
/// otherwise.
pub(super) fn no_proxy(
    wanted: &mut Vec<Wanted>,
    programs: &BTreeMap<String, Programs>,
    inherited: &dyn Fn(&str) -> Option<OsString>,
) -> Vec<Wanted> {
    const THIS_MACHINE: &str = "http://127.0.0.1";
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    for one in wanted.iter() {
        if let Source::Plain(value) = &one.source
            && is_base_url(&one.variable, programs)
        {
            needed.extend(loopback(value.expose()));
        }
    }
    let is_set = |name: &str| {
        wanted.iter().any(|one| one.variable == name)
            || inherited(name).is_some_and(|value| !value.is_empty())
    };
    let mut proxies = ["http_proxy", "https_proxy", "all_proxy"].iter();
    if proxies.any(|name| is_set(name) || is_set(&name.to_ascii_uppercase())) {
        needed.extend(loopback(THIS_MACHINE));
    }
    if needed.is_empty() {
        return Vec::new();
    }
    const SPELLINGS: [&str; 2] = ["NO_PROXY", "no_proxy"];
    let before = SPELLINGS.map(
        |name| match wanted.iter().find(|one| one.variable == name) {
            Some(Wanted {
                source: Source::Plain(value),
                ..
            }) => Some(value.expose().to_owned()),
            Some(_) => None,
            None => inherited(name).map(|value| value.to_string_lossy().into_owned()),
        },
    );
    let mut added = Vec::new();
    // Where both spellings are set, programs differ in which they read; where one is, all of them read that one.
    for (name, (own, other)) in SPELLINGS.into_iter().zip([(0, 1), (1, 0)]) {
        let given = wanted.iter().position(|one| one.variable == name);
        // A key in it is nonsense, but not ours to judge.
        if given.is_some_and(|at| matches!(wanted[at].source, Source::Key(_)))
            || before[own].is_none() && name == "no_proxy"
        {
            continue;
        }
        let said = [own, other]
            .into_iter()
            .filter_map(|at| before[at].as_deref());
        let said = said.map(str::trim).find(|hosts| !hosts.is_empty());
        let mut hosts: Vec<&str> = said.unwrap_or_default().split(',').collect();
        hosts.retain(|host| !host.trim().is_empty());
        for host in ["127.0.0.1", "localhost", "::1"] {
            // A star is every host, and for many programs only where it stands alone.
            let is_there = hosts.iter().any(|one| [host, "*"].contains(&one.trim()));
            if needed.contains(host) && !is_there {
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
