//! The flags of `akm-agent`: ssh-agent's, in ssh-agent's meaning. Here and not in the program, so that its manual page is
//! written with the others.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// Holds the vault open for programs of this user, as ssh-agent does for SSH keys.
///
/// Without a command it goes to the background and prints what a shell is to evaluate:
///
///  eval "$(akm-agent)"
///
/// With listeners on the network: akm-agent serve --help
#[derive(Parser)]
#[command(name = "akm-agent", version, verbatim_doc_comment)]
pub struct Arguments {
    /// Print C shell commands (default if SHELL looks like one)
    #[arg(short = 'c', conflicts_with = "sh")]
    pub csh: bool,
    /// Print Bourne shell commands
    #[arg(short = 's')]
    pub sh: bool,
    /// Stay in the foreground
    #[arg(short = 'D')]
    pub foreground: bool,
    /// Stay in the foreground and tell of each request on stderr: operation, outcome, time; never a value
    #[arg(short = 'd')]
    pub debug: bool,
    /// End the agent that AKM_AGENT_PID names
    #[arg(short = 'k', conflicts_with_all = ["foreground", "debug", "address", "lifetime", "command"])]
    pub kill: bool,
    /// Listen on this socket
    #[arg(short = 'a', value_name = "ADDR")]
    pub address: Option<PathBuf>,
    /// Lock by itself after this time (600, 8h, 1d), unless an unlock says otherwise
    #[arg(short = 't', value_name = "LIFE")]
    pub lifetime: Option<String>,
    /// Run this command with the agent, which ends when the command does
    #[arg(trailing_var_arg = true, conflicts_with_all = ["foreground", "debug"])]
    pub command: Vec<OsString>,
}
