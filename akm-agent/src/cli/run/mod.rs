//! `akm run`: a command with keys in its environment.
//!
//! Reading order: this file (what was asked for, and the command), `env_file` and `project` (the two files that say
//! which variables), `wanted` (from that to an environment), `child` (the command at work), `needs` (`akm check`).
//!
//! The command is a child whose output is masked (`child`). With `--no-masking`, or without a secret to look for, it takes
//! the place of this process (`exec`), and nothing of akm stays behind. Failures of akm itself are 125 (akm), 126 (the
//! command cannot be run) and 127 (there is no such command), as with `env` and `timeout`.
//!
//! Invariants: secrets go into the environment of the command alone, never into an argument.

mod child;
mod env_file;
pub(crate) mod needs;
mod project;
pub(crate) mod wanted;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use akm_core::Error;
use akm_core::client::Client;
use akm_core::name::{KeyName, check_env};
use clap::Args;
use nix::sys::resource::{Resource, setrlimit};

use super::output::{self, Fail, Result};
use super::text::text;
use super::{CoreLimit, connect, reference};
use crate::mask;
use wanted::{Gathering, Source, Wanted};

pub(crate) use child::{LEADER, lead};
pub(crate) use wanted::{Environment, about};

/// A failure of akm itself.
pub(crate) const OWN_FAILURE: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NO_SUCH_COMMAND: u8 = 127;

/// Runs a command.
#[derive(Args)]
#[cfg_attr(test, derive(Debug))]
#[command(
    after_help = "Without -p, -e and --env-file the command gets what akm.toml asks for, here or in a directory above; without\nan akm.toml the default key of every provider.\nA secret in the output becomes [akm:NAME], also in base64, URL-encoded or JSON-escaped; of other encodings nothing is known,\nand none under 8 characters is looked for. Bytes that could be the beginning of a secret wait for the next ones: at a terminal\na typed character may show late. --no-masking leaves the output alone.\n\nExample:\n  akm run -- python app.py\n  akm run -p openai/work -e SEARCH_KEY=akm://tavily -- npm start\n  akm run --profile staging -- ./deploy"
)]
pub(crate) struct Run {
    /// A key, under the key's own or its provider's standard variable; may be repeated
    #[arg(short = 'p', long = "provide", value_name = "NAME")]
    keys: Vec<String>,
    /// A key under a variable of your choice; may be repeated
    #[arg(short = 'e', long = "env", value_name = "VAR=akm://NAME")]
    variables: Vec<String>,
    /// Variables from a file: NAME=akm://NAME, or NAME=text
    #[arg(long, value_name = "F")]
    env_file: Option<PathBuf>,
    /// What akm.toml asks for in this profile, too
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Leave the output as it is, and the command in the place of akm
    #[arg(long)]
    no_masking: bool,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Run, core_limit: Option<CoreLimit>, json: bool) -> Result<()> {
    let environment = match environment(&args) {
        Ok(environment) => environment,
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
    for name in &environment.unset {
        command.env_remove(name);
    }
    for variable in &environment.set {
        command.env(&variable.name, variable.value.expose());
    }
    let mut keys = environment.keys;
    drop(environment.set);
    if args.no_masking {
        keys.clear();
    }
    keys.retain(|(name, secret)| {
        let is_long = secret.len() >= mask::SHORTEST;
        if !is_long {
            let name = name.as_str();
            output::note(&text!("not-masked", name = name, least = mask::SHORTEST));
        }
        is_long
    });
    if !keys.is_empty() {
        return child::run(command, keys, core_limit, json);
    }
    if let Some((soft, hard)) = core_limit {
        // The command is not ours: it may leave a core if it could before.
        let _ = setrlimit(Resource::RLIMIT_CORE, soft, hard);
    }
    // Returns only if it failed.
    Err(cannot_run(&command.exec(), json))
}

/// Says that the command could not be started, which is its own fault.
fn cannot_run(error: &std::io::Error, json: bool) -> Fail {
    let (code, message) = match error.kind() {
        ErrorKind::NotFound => (NO_SUCH_COMMAND, text!("usage-no-command")),
        _ => (CANNOT_RUN, text!("cannot-run")),
    };
    let fail = Fail::Usage {
        message,
        hint: None,
    };
    output::report(&fail, json);
    Fail::Exit(code)
}

/// Says that akm could not do what it needs to run a command.
fn cannot_start(error: &std::io::Error, json: bool) -> Fail {
    own_failure(Error::from_io(error), json)
}

/// Says what akm could not do for a command.
fn own_failure(error: Error, json: bool) -> Fail {
    output::report(&Fail::Akm(error), json);
    Fail::Exit(OWN_FAILURE)
}

fn environment(args: &Run) -> Result<Environment> {
    // The command line and the files first, then the agent: what is wrong here needs no unlocked vault to be said.
    let mut wanted = Vec::new();
    for text in &args.variables {
        wanted.push(parse_variable(text)?);
    }
    if let Some(path) = &args.env_file {
        wanted.extend(env_file::load(path)?);
    }
    let mut names = Vec::new();
    for name in &args.keys {
        names.push(KeyName::parse(name, "name")?.to_string());
    }
    let without = args.variables.is_empty() && args.env_file.is_none() && names.is_empty();
    let project = match without || args.profile.is_some() {
        true => project::load(args.profile.as_deref())?,
        false => None,
    };
    let mut client = connect()?;
    let mut gathering = Gathering::new(&mut client);
    if without && project.is_none() {
        gathering.default_keys()?;
    }
    gathering.variables(wanted);
    gathering.variables(project.unwrap_or_default());
    for name in names {
        gathering.key(name)?;
    }
    gathering.resolve(&|name| std::env::var_os(name))
}

/// The environment of these keys, each under its own or its provider's variable.
pub(crate) fn environment_of(names: &[String], client: &mut Client) -> Result<Environment> {
    let mut gathering = Gathering::new(client);
    for name in names {
        gathering.key(KeyName::parse(name, "name")?.to_string())?;
    }
    gathering.resolve(&|name| std::env::var_os(name))
}

/// `VAR=akm://NAME`.
fn parse_variable(text: &str) -> Result<Wanted> {
    let wrong = || {
        Error::invalid("env", "a variable is given as VAR=akm://NAME")
            .with_hint("akm run -e OPENAI_API_KEY=akm://openai/work -- CMD")
    };
    let (variable, value) = text.split_once('=').ok_or_else(wrong)?;
    check_env(variable, "env")?;
    if !value.starts_with(reference::SCHEME) {
        return Err(wrong().into());
    }
    let name = reference::parse(value, "env")?;
    Ok(Wanted {
        variable: variable.to_owned(),
        source: Source::Key(name.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use akm_core::Kind;

    #[test]
    fn a_variable_is_a_name_and_a_reference() {
        let pair = |text| {
            let wanted = parse_variable(text)?;
            match wanted.source {
                Source::Key(name) => Ok((wanted.variable, name)),
                Source::Plain(_) => panic!("a plain value"),
            }
        };
        let of = |name: &str| ("KEY".to_owned(), name.to_owned());
        assert_eq!(pair("KEY=akm://openai").unwrap(), of("openai/default"));
        assert_eq!(pair("KEY=akm://my-own/工作").unwrap(), of("my-own/工作"));
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
            let fail = pair(bad).unwrap_err();
            assert!(
                matches!(fail, Fail::Akm(error) if error.kind() == Kind::InvalidInput),
                "{bad}"
            );
        }
    }
}
