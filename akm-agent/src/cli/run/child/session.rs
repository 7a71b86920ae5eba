//! A session for the command on a terminal of its own, led by this program once more.
//!
//! The leader stands between us and the command so that Ctrl-Z works: a process whose parent is in another session
//! cannot be stopped from its keyboard. It starts the command in a process group of its own, in front. When the command
//! is stopped it stops itself, which we see, give our terminal back and stop as well; and the same way back.
//!
//! In a pipeline the command is not in front at first. It can write there, and is stopped by the kernel when it wants to
//! read or to set up the terminal. Then the leader puts it in front, and stops itself to tell us. (sudo does the same.)
//!
//! Invariants: the leader ends as the command did; when we die the terminal hangs up, and the command gets SIGHUP.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::Command;

use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::{setsid, tcsetpgrp};

use super::super::super::output::{Fail, Result};
use super::super::super::text::speak_english;
use super::super::{CoreLimit, OWN_FAILURE, cannot_run, cannot_start};
use super::signals::{Attended, Signals};
use super::{LEADER, end_as, words};
use crate::spawn::Child;

/// The words by which the leader is told how to report that the command cannot be run, and whether it is in front.
const JSON: &str = "json";
const TEXT: &str = "text";
const IN_FRONT: &str = "in-front";
const BEHIND: &str = "behind";

/// This program again, as the leader of a session for a command, with that command's environment.
pub(super) fn led(command: &Command, in_front: bool, json: bool) -> Command {
    // The path that stays right when the program is replaced by a new version meanwhile.
    let mut leader = Command::new("/proc/self/exe");
    leader
        .arg(LEADER)
        .arg(if json { JSON } else { TEXT })
        .arg(if in_front { IN_FRONT } else { BEHIND })
        .args(words(command));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => leader.env(name, value),
            None => leader.env_remove(name),
        };
    }
    leader
}

/// What the leader does. `arguments` come after [`LEADER`]; stdout or stderr is the terminal.
pub(crate) fn lead(arguments: &[OsString], core_limit: Option<CoreLimit>) -> Result<()> {
    let [how, place, program, arguments @ ..] = arguments else {
        return Err(Fail::Exit(OWN_FAILURE));
    };
    let json = how == JSON;
    if json {
        speak_english();
    }
    let own = |error: io::Error| cannot_start(&error, json);
    let os = |errno: nix::Error| cannot_start(&errno.into(), json);
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let terminal = match stdout.is_terminal() {
        true => stdout.as_fd(),
        false => stderr.as_fd(),
    };
    let mut signals = Signals::block(true).map_err(own)?;
    setsid().map_err(os)?;
    rustix::process::ioctl_tiocsctty(terminal).map_err(|errno| own(errno.into()))?;
    let front = match place == IN_FRONT {
        true => Some(terminal.try_clone_to_owned().map_err(own)?),
        false => None,
    };
    let mut is_in_front = front.is_some();
    let mut command = Command::new(program);
    command.args(arguments);
    let child = Child {
        command: &command,
        name: None,
        streams: [const { None }; 3],
        mask: signals.before(),
        core_limit,
        leads_group: true,
        terminal: front,
    };
    let child = child.start().map_err(|error| cannot_run(&error, json))?;
    let mut attended = Attended::of_leader(|signal| {
        if !is_in_front && matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU) {
            is_in_front = true;
            let _ = tcsetpgrp(terminal, child);
        }
        let _ = raise(Signal::SIGSTOP);
        // And on again.
        if is_in_front {
            let _ = tcsetpgrp(terminal, child);
        }
        let _ = killpg(child, Signal::SIGCONT);
    });
    let end = signals.attend(child, &mut attended);
    drop(attended);
    drop(signals);
    end_as(end.map_err(own)?)
}
