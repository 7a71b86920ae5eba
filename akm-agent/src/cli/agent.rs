//! `akm agent`: starting and stopping the agent; `init` and `unlock` start it by themselves.

use akm_core::Kind;
use akm_core::client::Client;
use clap::{Args, Subcommand};

use super::output::{self, Fail, Result};
use super::{check_vault, connect};

/// The agent.
#[derive(Args)]
pub(crate) struct Agent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the agent, locked
    #[command(after_help = "Example:\n  akm agent start")]
    Start,
    /// Stop the agent; it locks first
    #[command(after_help = "Example:\n  akm agent stop")]
    Stop,
}

pub(crate) fn agent(_args: Agent, _json: bool) -> Result<()> {
    Err(Fail::Exit(1))
}

/// The running agent, or a new one. Never a new one where `AKM_AGENT_SOCK` says which to use.
pub(crate) fn connect_or_start() -> Result<Client> {
    connect()
}

/// A lifetime as ssh-agent writes it, in seconds.
pub(crate) fn parse_lifetime(text: &str) -> Result<u64, String> {
    text.parse::<u64>().map_err(|_| "bad".to_owned())
}
