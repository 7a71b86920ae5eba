//! `akm run`: a command with keys in its environment.
//!
//! The command takes the place of this process (`exec`), so its terminal, its signals and its exit code
//! are its own and nothing of akm stays behind. Failures of akm itself are 125 (akm), 126 (the command
//! cannot be run) and 127 (there is no such command), as with `env` and `timeout`.
//!
//! Invariants: secrets go into the environment of the command alone, never into an argument; two keys on
//! one variable are refused, because the program would get one of them by chance.
//!
//! Deliberately absent for now: masking of the command's output, `--env-file`, `akm.toml`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use akm_core::client::Client;
use akm_core::name::{KeyName, check_env};
use akm_core::protocol::{Key, KeyGet, KeyList, KeyShow, KeyStatus};
use akm_core::provider::Catalogue;
use akm_core::{Error, Kind, Secret};
use clap::Args;
use nix::sys::resource::{Resource, setrlimit};

use super::output::{self, Fail, Result};
use super::{CoreLimit, connect, list};

/// A failure of akm itself.
pub(crate) const OWN_FAILURE: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NO_SUCH_COMMAND: u8 = 127;

/// Runs a command.
#[derive(Args)]
#[command(
    after_help = "Without -p and -e the command gets the default key of every provider.\nThe output of the command is not masked yet: a program that prints its key shows it.\n\nExample:\n  akm run -- python app.py\n  akm run -p openai/work -e SEARCH_KEY=akm://tavily -- npm start"
)]
pub(crate) struct Run {
    /// A key, under the key's own or its provider's standard variable; may be repeated
    #[arg(short = 'p', long = "provide", value_name = "NAME")]
    keys: Vec<String>,
    /// A key under a variable of your choice; may be repeated
    #[arg(short = 'e', long = "env", value_name = "VAR=akm://NAME")]
    variables: Vec<String>,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// One variable of the command.
struct Variable {
    name: String,
    secret: Secret,
}

pub(crate) fn run(args: Run, core_limit: Option<CoreLimit>, json: bool) -> Result<()> {
    let variables = match variables(&args) {
        Ok(variables) => variables,
        Err(fail) => {
            output::report(&fail, json);
            return Err(Fail::Exit(OWN_FAILURE));
        }
    };
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Fail::Exit(OWN_FAILURE));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    for variable in &variables {
        command.env(&variable.name, variable.secret.expose());
    }
    drop(variables);
    if let Some((soft, hard)) = core_limit {
        // The command is not ours: it may leave a core if it could before.
        let _ = setrlimit(Resource::RLIMIT_CORE, soft, hard);
    }
    // Returns only if it failed.
    let error = command.exec();
    let (code, message) = match error.kind() {
        ErrorKind::NotFound => (NO_SUCH_COMMAND, "there is no such command"),
        _ => (CANNOT_RUN, "the command cannot be run"),
    };
    output::report(
        &Fail::Usage {
            message: message.to_owned(),
            hint: None,
        },
        json,
    );
    Err(Fail::Exit(code))
}

fn variables(args: &Run) -> Result<Vec<Variable>> {
    // The command line first, then the agent: what is wrong here needs no unlocked vault to be said.
    let mut wanted = Vec::new();
    for text in &args.variables {
        wanted.push(parse_variable(text)?);
    }
    let mut client = connect()?;
    if args.keys.is_empty() && args.variables.is_empty() {
        for key in list::all(&mut client, KeyList::default())? {
            if let Some(pair) = default_key(key)? {
                wanted.push(pair);
            }
        }
        if wanted.is_empty() {
            return Err(Error::new(Kind::NotFound, "no provider has a default key")
                .with_hint("run akm add openai, or name keys with -p")
                .into());
        }
    }
    for name in &args.keys {
        let name = KeyName::parse(name, "name")?.to_string();
        let key = client.call(&KeyShow { name })?.key;
        wanted.push((variable_of(&key)?, key.name));
    }
    check_collisions(&mut wanted)?;
    let mut variables = Vec::with_capacity(wanted.len());
    for (name, key) in wanted {
        let secret = get(&mut client, key)?;
        variables.push(Variable { name, secret });
    }
    Ok(variables)
}

/// `VAR=akm://NAME`.
fn parse_variable(text: &str) -> Result<(String, String)> {
    let wrong = || {
        Error::invalid("env", "a variable is given as VAR=akm://NAME")
            .with_hint("akm run -e OPENAI_API_KEY=akm://openai/work -- CMD")
    };
    let (variable, reference) = text.split_once('=').ok_or_else(wrong)?;
    check_env(variable, "env")?;
    let name = reference.strip_prefix("akm://").ok_or_else(wrong)?;
    let name = KeyName::parse(name, "env")?;
    Ok((variable.to_owned(), name.to_string()))
}

/// What a run without options takes of a key: its variable and name, if it is a default key that may be
/// handed out.
fn default_key(key: Key) -> Result<Option<(String, String)>> {
    if key.label != "default" {
        return Ok(None);
    }
    let left_out = match (key.status, key.use_only) {
        (_, true) => Some("is use-only"),
        (KeyStatus::Active, false) => None,
        (KeyStatus::Disabled, false) => Some("is disabled"),
        (KeyStatus::Expired, false) => Some("has expired"),
        (KeyStatus::Burned, false) => Some("is burned"),
    };
    if let Some(why) = left_out {
        output::note(&format!(
            "note: {} {why} and is left out",
            output::clean(&key.name)
        ));
        return Ok(None);
    }
    match variable_of(&key) {
        Ok(variable) => Ok(Some((variable, key.name))),
        Err(_) => {
            output::note(&format!(
                "note: {} has no variable and is left out; akm edit --env gives it one",
                output::clean(&key.name)
            ));
            Ok(None)
        }
    }
}

fn variable_of(key: &Key) -> Result<String> {
    if let Some(variable) = &key.env {
        return Ok(variable.clone());
    }
    let standard = Catalogue::builtin()
        .provider(&key.provider)
        .map(|provider| provider.env.primary.clone());
    match standard {
        Some(variable) => Ok(variable),
        None => Err(Error::invalid(
            "name",
            "the key has no variable and its provider is not known",
        )
        .with_hint("give -e VAR=akm://NAME, or akm edit NAME --env VAR")
        .into()),
    }
}

/// Twice the same key on a variable is once; another key on it is refused.
fn check_collisions(wanted: &mut Vec<(String, String)>) -> Result<()> {
    wanted.sort();
    wanted.dedup();
    if wanted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(
            Error::invalid("env", "two keys would have the same variable")
                .with_hint("give one of them another: -e VAR=akm://NAME")
                .into(),
        );
    }
    Ok(())
}

fn get(client: &mut Client, name: String) -> Result<Secret> {
    let request = KeyGet {
        name,
        version: None,
    };
    Ok(client.call(&request)?.secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(variable: &str, name: &str) -> (String, String) {
        (variable.to_owned(), name.to_owned())
    }

    #[test]
    fn a_variable_is_a_name_and_a_reference() {
        assert_eq!(
            parse_variable("KEY=akm://openai").unwrap(),
            pair("KEY", "openai/default")
        );
        assert_eq!(
            parse_variable("KEY=akm://my-own/工作").unwrap(),
            pair("KEY", "my-own/工作")
        );
        for bad in [
            "",
            "KEY",
            "KEY=openai",
            "=akm://openai",
            "9KEY=akm://openai",
            "KEY=akm://",
            "KEY=akm://openai/a/b",
            "K Y=akm://openai",
        ] {
            let fail = parse_variable(bad).unwrap_err();
            assert!(
                matches!(fail, Fail::Akm(error) if error.kind() == Kind::InvalidInput),
                "{bad}"
            );
        }
    }

    #[test]
    fn two_keys_on_one_variable_are_refused() {
        let mut same_twice = vec![pair("A", "openai/x"), pair("A", "openai/x")];
        check_collisions(&mut same_twice).unwrap();
        assert_eq!(same_twice.len(), 1);
        let mut apart = vec![pair("A", "openai/x"), pair("B", "openai/x")];
        check_collisions(&mut apart).unwrap();
        assert_eq!(apart.len(), 2);
        let mut collision = vec![pair("A", "openai/x"), pair("A", "openai/y")];
        assert!(check_collisions(&mut collision).is_err());
    }
}
