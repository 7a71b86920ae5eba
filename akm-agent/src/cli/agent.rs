//! `akm agent`: starting and stopping the agent; `init` and `unlock` start it by themselves.

use std::path::PathBuf;

use akm_core::client::Client;
use akm_core::paths::Places;
use akm_core::{Error, Kind};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::connect;
use super::output::{self, Result};
use super::text::{text, translated};
use crate::daemon::{self, Launch};
use crate::lifetime::Lifetime;

/// The agent.
#[derive(Args)]
#[command(after_help = "Example:\n  akm agent start -t 8h\n  akm agent stop")]
pub(crate) struct Agent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the agent, locked; one that runs already stays
    #[command(after_help = "Example:\n  akm agent start -t 8h")]
    Start {
        /// Lock sessions after this time that do not say otherwise: 600 (seconds), 8h, 1d
        #[arg(short = 't', long = "lifetime", value_name = "LIFE", value_parser = parse_lifetime)]
        lifetime_s: Option<u64>,
    },
    /// Stop the agent; it locks first
    #[command(after_help = "Example:\n  akm agent stop")]
    Stop,
}

/// An agent that was started or stopped.
#[derive(Serialize)]
struct Which {
    pid: i32,
    socket: PathBuf,
}

pub(crate) fn agent(args: Agent, json: bool) -> Result<()> {
    let (which, said) = match args.command {
        Command::Start { lifetime_s } => {
            let which = start(lifetime_s)?;
            let said = text!("agent-runs", pid = which.pid);
            (which, said)
        }
        Command::Stop => {
            let which = stop()?;
            let said = text!("agent-stopped", pid = which.pid);
            (which, said)
        }
    };
    if json {
        return output::json(&which);
    }
    output::note(&said);
    Ok(())
}

fn start(lifetime_s: Option<u64>) -> Result<Which> {
    let places = Places::from_env()?;
    let pid = match lifetime_s {
        None => daemon::spawn(&places)?,
        // One that runs already has a lifetime of its own, so it is a conflict here.
        Some(seconds) => daemon::start(
            &places,
            &Launch {
                lifetime: Some(Lifetime::from_secs(seconds)?),
                ..Launch::default()
            },
        )?,
    };
    let socket = places.socket;
    Ok(Which { pid, socket })
}

fn stop() -> Result<Which> {
    let socket = Places::socket_from_env()?;
    let pid = daemon::running(&socket).ok_or_else(no_agent)?;
    daemon::end(pid)?;
    Ok(Which { pid, socket })
}

/// A vault that is gone and can come back is none to begin anew.
fn has_backups(places: &Places) -> bool {
    std::fs::read_dir(&places.backups).is_ok_and(|mut entries| entries.next().is_some())
}

/// On a machine without a vault there is nothing to unlock yet.
pub(super) fn where_to_begin(error: Error) -> Error {
    let is_new = error.kind() == Kind::NoAgent
        && !names_an_agent()
        && Places::from_env().is_ok_and(|places| {
            places.vault.try_exists().is_ok_and(|is| !is) && !has_backups(&places)
        });
    match is_new {
        true => error.with_hint("run akm init"),
        false => error,
    }
}

/// Whether `AKM_AGENT_SOCK` says which agent to use.
fn names_an_agent() -> bool {
    std::env::var_os("AKM_AGENT_SOCK").is_some_and(|path| !path.is_empty())
}

fn no_agent() -> Error {
    Error::new(Kind::NoAgent, "no agent is running")
}

/// The running agent, or a new one. Never a new one where `AKM_AGENT_SOCK` says which to use.
pub(crate) fn connect_or_start() -> Result<Client> {
    match Client::connect(None) {
        Err(error) if error.kind() == Kind::NoAgent => {
            if names_an_agent() {
                return Err(no_agent()
                    .with_hint(
                        "AKM_AGENT_SOCK says which agent to use: start that one, or unset it",
                    )
                    .into());
            }
            daemon::spawn(&Places::from_env()?)?;
            connect()
        }
        connected => Ok(connected?),
    }
}

/// As [`parse_lifetime`]; zero is none.
pub(crate) fn parse_lifetime_or_none(text: &str) -> Result<u64, String> {
    match text {
        "0" => Ok(0),
        text => parse_lifetime(text),
    }
}

/// A lifetime as ssh-agent writes it, in seconds.
pub(crate) fn parse_lifetime(text: &str) -> Result<u64, String> {
    Lifetime::parse(text)
        .map(Lifetime::as_secs)
        .map_err(|error| translated(error.message()).into_owned())
}
