//! Completions: what the shell asks for while somebody types, with the names of keys.
//!
//! The script that `akm completions SHELL` prints runs `akm` again with [`VARIABLE`] set. Commands and flags come from the
//! table of commands, names from the agent. Invariants: a locked account, no agent or one that hangs is silence, never
//! an error on the command line; the wait is bounded; a name that a shell would take for more than a word is not
//! offered, because what is completed is run when somebody presses return.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use akm_core::client::Client;
use akm_core::protocol::KeyList;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::output::{self, Fail, Result};

/// Set to the shell's name, `akm` completes instead of doing anything.
const VARIABLE: &str = "AKM_COMPLETE";
/// How long the agent may take for one answer, and for all of them.
const ONE: Duration = Duration::from_millis(300);
const ALL: Duration = Duration::from_millis(900);
/// Keys per question.
const PAGE: u32 = 500;
/// Where a key's name is wanted: command and argument.
const NAMES: &[(&str, &str)] = &[
    ("get", "name"),
    ("copy", "name"),
    ("show", "name"),
    ("edit", "name"),
    ("mv", "old"),
    ("rm", "name"),
    ("disable", "name"),
    ("enable", "name"),
    ("rotate", "name"),
    ("history", "name"),
    ("test", "names"),
    ("balance", "names"),
    ("env", "names"),
    ("run", "keys"),
    ("log", "key"),
    ("grant", "name"),
];

/// Prints the script for a shell.
pub(crate) fn script(shell: Shell) -> Result<()> {
    let name = shell.to_string();
    let mut script = Vec::new();
    Shells::builtins()
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
    CompleteEnv::with_factory(|| with_names(super::command()))
        .var(VARIABLE)
        .try_complete(arguments.iter().cloned(), directory.as_deref())
        // A shell that is unknown gets nothing.
        .unwrap_or(true)
}

fn with_names(command: clap::Command) -> clap::Command {
    NAMES.iter().fold(command, |command, (name, argument)| {
        command.mut_subcommand(name, |command| {
            command.mut_arg(argument, |argument| {
                argument.add(ArgValueCandidates::new(candidates))
            })
        })
    })
}

fn candidates() -> Vec<CompletionCandidate> {
    let mut names = names().unwrap_or_default();
    names.retain(|name| is_word(name));
    names.sort();
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn names() -> Option<Vec<String>> {
    let end = Instant::now() + ALL;
    let mut client = Client::connect_with_timeout(None, ONE).ok()?;
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = client.call(&KeyList {
            limit: Some(PAGE),
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
    fn every_place_for_a_name_exists() {
        with_names(super::super::command()).debug_assert();
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
