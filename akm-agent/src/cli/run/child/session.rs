//! A session for the command on a terminal of its own, led by this program once more.
//!
//! The leader stands between us and the command so that Ctrl-Z works: a process whose parent is in another session
//! cannot be stopped from its keyboard. It starts the command in a process group of its own, in front. When the command
//! is stopped it stops itself, which we see, give our terminal back and stop as well; and the same way back.
//!
//! Invariants: the leader ends as the command did; when we die the terminal hangs up, and the command gets SIGHUP.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::{Pid, setsid, tcsetpgrp};

use super::super::super::output::{Fail, Result};
use super::super::{CoreLimit, OWN_FAILURE, cannot_run, cannot_start};
use super::signals::{Attended, Signals};
use super::{LEADER, end_as, words};
use crate::harden;

/// The word by which the leader is told how to report that the command cannot be run.
const JSON: &str = "json";
const TEXT: &str = "text";

/// This program again, as the leader of a session for a command, with that command's environment.
pub(super) fn led(command: &Command, json: bool) -> Command {
    // The path that stays right when the program is replaced by a new version meanwhile.
    let mut leader = Command::new("/proc/self/exe");
    leader
        .arg0("akm")
        .arg(LEADER)
        .arg(if json { JSON } else { TEXT })
        .args(words(command));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => leader.env(name, value),
            None => leader.env_remove(name),
        };
    }
    leader
}

/// What the leader does. `arguments` come after [`LEADER`]; stdin is the terminal.
pub(crate) fn lead(arguments: &[OsString], core_limit: Option<CoreLimit>) -> Result<()> {
    let [how, program, arguments @ ..] = arguments else {
        return Err(Fail::Exit(OWN_FAILURE));
    };
    let json = how == JSON;
    let own = |error: io::Error| cannot_start(&error, json);
    let os = |errno: nix::Error| cannot_start(&errno.into(), json);
    let terminal = io::stdin();
    let mut signals = Signals::block(true, true).map_err(own)?;
    setsid().map_err(os)?;
    rustix::process::ioctl_tiocsctty(&terminal).map_err(|errno| own(errno.into()))?;
    let front = terminal.as_fd().try_clone_to_owned().map_err(own)?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    harden::bind_child(&mut command, signals.before(), core_limit, Some(front));
    let child = command.spawn().map_err(|error| cannot_run(&error, json))?;
    drop(command);
    let child = Pid::from_raw(child.id() as i32);
    let mut attended = Attended::of_leader(|| {
        let _ = raise(Signal::SIGSTOP);
        // And on again.
        let _ = tcsetpgrp(&terminal, child);
        let _ = killpg(child, Signal::SIGCONT);
    });
    let end = signals.attend(child, &mut attended);
    drop(attended);
    drop(signals);
    end_as(end.map_err(own)?)
}
