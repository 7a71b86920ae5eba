//! Completions: what the shell asks for while somebody types, with the names of keys and of what else there is.
//!
//! The script that `akm completions SHELL` prints runs `akm` again with [`VARIABLE`] set. Commands and flags come from the
//! table of commands, names from the agent. Invariants: a locked account, no agent or one that hangs is silence, never
//! an error on the command line; the wait is bounded; a name that a shell would take for more than a word is not
//! offered, because what is completed is run when somebody presses return.

use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use akm_core::client::Client;
use akm_core::protocol::{BackupList, GrantList, KeyList, Operation, ProviderList};
use akm_core::provider::VARIABLES;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Elvish, Fish, Powershell, Shells, Zsh};
use clap_complete::{CompleteEnv, Shell};

use super::output::{self, Fail, Result};
use super::reference::SCHEME;

mod bash;

/// Set to the shell's name, `akm` completes instead of doing anything.
const VARIABLE: &str = "AKM_COMPLETE";
/// As clap has them, but for bash.
const SHELLS: Shells<'static> = Shells(&[&bash::Bash, &Elvish, &Fish, &Powershell, &Zsh]);
/// How long the agent may take for one answer, and for all of them.
const ONE: Duration = Duration::from_millis(300);
const ALL: Duration = Duration::from_millis(900);
/// Keys per question.
const PAGE: u32 = 500;
/// What an argument takes that is known here or to the agent.
type Offer = fn() -> Option<Vec<String>>;
/// Where something is wanted that can be offered: command (`grant/rm` is one of grant's), argument, and what.
const PLACES: &[(&str, &str, Offer)] = &[
    ("get", "name", names),
    ("copy", "name", names),
    ("show", "name", names),
    ("edit", "name", names),
    ("mv", "old", names),
    ("rm", "name", names),
    ("disable", "name", names),
    ("enable", "name", names),
    ("rotate", "name", names),
    ("history", "name", names),
    ("test", "names", names),
    ("balance", "names", names),
    ("env", "names", names),
    ("run", "keys", names),
    ("log", "key", names),
    ("grant", "name", names),
    ("read", "reference", references),
    ("grant", "via", known_callers),
    ("grant/rm", "id", grants),
    ("backup/verify", "name", backups),
    ("backup/restore", "name", backups),
    ("log", "action", actions),
    ("ls", "provider", providers),
    ("models", "provider", providers),
    ("provider/show", "name", providers),
    ("provider/rm", "name", own_providers),
];
/// Where a variable with a reference is wanted.
const VARIABLE_OF_RUN: (&str, &str) = ("run", "variables");

/// Prints the script for a shell.
pub(crate) fn script(shell: Shell) -> Result<()> {
    let name = shell.to_string();
    let mut script = Vec::new();
    SHELLS
        .completer(&name)
        .ok_or(Fail::Exit(64))?
        .write_registration(VARIABLE, "akm", "akm", "akm", &mut script)
        .map_err(|error| akm_core::Error::from_io(&error))?;
    output::raw(&script)
}

/// Completes, if a shell asks for that.
pub(crate) fn completed(arguments: &[OsString]) -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    let directory = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| with_offers(super::command(), ""))
        .var(VARIABLE)
        .shells(SHELLS)
        .try_complete(arguments.iter().cloned(), directory.as_deref())
        // A shell that is unknown gets nothing.
        .unwrap_or(true)
}

/// The tree of commands with what its arguments may be. Nothing of it changes its place: the place of a word in a line says what
/// it is.
fn with_offers(command: clap::Command, path: &str) -> clap::Command {
    command
        .mut_args(|argument| {
            let place = (path, argument.get_id().as_str());
            if place == VARIABLE_OF_RUN {
                return argument.add(ArgValueCompleter::new(assignments));
            }
            let found = PLACES
                .iter()
                .find(|(command, argument, _)| place == (*command, *argument));
            match found {
                Some((_, _, offer)) => {
                    argument.add(ArgValueCandidates::new(|| candidates(offer(), "")))
                }
                None => argument,
            }
        })
        .mut_subcommands(|command| {
            let path = format!("{path}/{}", command.get_name());
            with_offers(command, path.trim_start_matches('/'))
        })
}

fn candidates(offered: Option<Vec<String>>, before: &str) -> Vec<CompletionCandidate> {
    let mut words = offered.unwrap_or_default();
    words.retain(|word| is_word(word.strip_prefix(SCHEME).unwrap_or(word)));
    words.sort();
    words
        .into_iter()
        .map(|word| CompletionCandidate::new(format!("{before}{word}")))
        .collect()
}

/// `VAR=akm://NAME`, once the variable is typed.
fn assignments(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some((variable, value)) = typed.to_str().and_then(|typed| typed.split_once('=')) else {
        return Vec::new();
    };
    let mut found = references().unwrap_or_default();
    found.retain(|reference| reference.starts_with(value));
    candidates(Some(found), &format!("{variable}="))
}

fn references() -> Option<Vec<String>> {
    let names = names()?.into_iter();
    Some(names.map(|name| format!("{SCHEME}{name}")).collect())
}

/// The agent's answer to one question.
fn told<T: Operation>(request: &T) -> Option<T::Result> {
    let mut client = Client::connect_with_timeout(None, ONE).ok()?;
    client.call(request).ok()
}

fn grants() -> Option<Vec<String>> {
    let grants = told(&GrantList {})?.grants.into_iter();
    Some(grants.map(|grant| grant.id).collect())
}

fn backups() -> Option<Vec<String>> {
    let backups = told(&BackupList {})?.backups.into_iter();
    Some(backups.map(|backup| backup.name).collect())
}

/// The built-in ones, and those of one's own where the agent knows them.
fn providers() -> Option<Vec<String>> {
    let mut ids = own_providers().unwrap_or_default();
    ids.extend(VARIABLES.iter().map(|known| known.provider.to_owned()));
    Some(ids)
}

fn own_providers() -> Option<Vec<String>> {
    let providers = told(&ProviderList {})?.providers.into_iter();
    let own = providers.filter(|provider| provider.own);
    Some(own.map(|provider| provider.id).collect())
}

fn actions() -> Option<Vec<String>> {
    Some(akm_core::audit::actions().map(str::to_owned).collect())
}

fn known_callers() -> Option<Vec<String>> {
    Some(crate::caller::known_ids())
}

/// The names of keys.
fn names() -> Option<Vec<String>> {
    let end = Instant::now() + ALL;
    let mut client = Client::connect_with_timeout(None, ONE).ok()?;
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = client.call(&KeyList {
            limit: Some(PAGE),
            // Those that open can be named all the same.
            skip_unreadable: Some(true),
            after,
            ..KeyList::default()
        });
        let Ok(page) = page else { return Some(names) };
        names.extend(page.keys.into_iter().map(|key| short(key.name)));
        after = page.next;
        if after.is_none() || Instant::now() + ONE > end {
            return Some(names);
        }
    }
}

/// As people type it: a provider's default key by its provider alone.
fn short(name: String) -> String {
    match name.strip_suffix("/default") {
        Some(provider) => provider.to_owned(),
        None => name,
    }
}

/// Whether a shell takes it for one word and nothing else.
fn is_word(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_exists_and_stays_where_it_is() {
        let before = super::super::command();
        with_offers(before.clone(), "").debug_assert();
        let places = PLACES
            .iter()
            .map(|(command, argument, _)| (*command, *argument));
        for (path, argument) in places.chain([VARIABLE_OF_RUN]) {
            let found = path
                .split('/')
                .try_fold(&before, |command, name| command.find_subcommand(name));
            let has = |command: &clap::Command| {
                command
                    .get_arguments()
                    .any(|known| known.get_id() == argument)
            };
            assert!(found.is_some_and(has), "{path} {argument}");
        }
        let mut after = with_offers(before, "");
        after.build();
        let mv = after.find_subcommand("mv").unwrap();
        let order: Vec<_> = mv.get_positionals().map(|word| word.get_id()).collect();
        assert_eq!(order, ["old", "new"]);
    }

    #[test]
    fn what_a_shell_would_run_is_not_a_word() {
        for name in ["openai", "openai/work", "openai/工作", "a/b.c_d-e+f@g"] {
            assert!(is_word(name), "{name}");
        }
        for name in [
            "a/$(reboot)",
            "a/b c",
            "a/`x`",
            "a/;x",
            "a/*",
            "a/'",
            "a/~\\",
            "a/b:c",
        ] {
            assert!(!is_word(name), "{name}");
        }
    }
}
