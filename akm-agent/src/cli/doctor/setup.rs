//! `akm doctor --setup-system`: what makes the agent a user of its own, for the members of a group. Printed and not
//! done: it is root's to read and to run.

use std::path::Path;

use super::super::output::{self, Result};

/// The parts of the script, with the place of the program to fill in.
const SCRIPT: &str = include_str!("../../../systemd/system/setup.sh");
const SERVICE: &str = include_str!("../../../systemd/system/akm-agent.service");
const SOCKET: &str = include_str!("../../../systemd/system/akm-agent.socket");
const USERS: &str = include_str!("../../../systemd/system/akm.sysusers");

/// Prints a script that sets it up, with the units in it.
pub(super) fn print() -> Result<()> {
    let own = crate::daemon::this_program();
    // `akm` runs itself as the agent, but a unit names the program that does nothing else.
    let agent = own
        .parent()
        .map(|dir| dir.join("akm-agent"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| Path::new("/usr/bin/akm-agent").to_owned());
    let script = SCRIPT
        .replace("@SERVICE@", SERVICE.trim_end())
        .replace("@SOCKET@", SOCKET.trim_end())
        .replace("@USERS@", USERS.trim_end())
        .replace("@AGENT@", &agent.display().to_string());
    output::line(script.trim_end())
}
