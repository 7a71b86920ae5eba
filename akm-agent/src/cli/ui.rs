//! `akm ui`: the dashboard of the agent, in a browser of this machine.
//!
//! The link goes to the browser as an argument, which other users of the machine can read in a list of processes: the agent lets
//! in processes of its own user only, whoever knows the link.

use std::process::{Command, Stdio};

use akm_core::protocol::UiOpen;
use clap::Args;

use super::connect;
use super::output::{self, Result};
use super::text::text;

/// Opens the dashboard.
#[derive(Args)]
#[command(after_help = "Example:\n  akm ui\n  akm ui --no-open")]
pub(crate) struct Ui {
    /// Print the link and open nothing
    #[arg(long)]
    no_open: bool,
}

pub(crate) fn ui(args: &Ui, json: bool) -> Result<()> {
    let link = connect()?.call(&UiOpen {})?;
    if json {
        return output::json(&link);
    }
    if !args.no_open
        && output::stdout_is_terminal()
        && is_at_a_display()
        && opened(link.url.expose())
    {
        output::note(&text!("ui-opened"));
    }
    output::secret(&link.url)?;
    output::note(&text!("ui-link", seconds = link.expires_s));
    Ok(())
}

/// Whether a browser would open in front of the person who asks.
fn is_at_a_display() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("SSH_CONNECTION")
        && (cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

/// Hands the link to the system's own opener; whether there is one.
fn opened(url: &str) -> bool {
    let opener = match cfg!(target_os = "macos") {
        true => "open",
        false => "xdg-open",
    };
    Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}
