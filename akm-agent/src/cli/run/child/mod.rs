//! The command as a child of this process, its output masked on the way through.
//!
//! Reading order: this file (which way, and to the end), `signals` (what is passed on), `stream` (the output),
//! `screen` (terminals), `session` (a terminal of the command's own, and who leads it).
//!
//! There are two ways. Where stdout or stderr is a terminal, the command has a terminal and a session of its own there
//! (`session`), so that what it writes to `/dev/tty` is masked too. Where neither is, there are pipes, and the command
//! stays in our process group.
//!
//! Invariants: the command ends as if it had been started directly: its signals reach it, its exit code or signal
//! becomes ours; it does not outlive us: when this process dies, it gets SIGHUP; what it wrote before its end is written;
//! output that others of its processes still hold open is not waited for. Nobody can read the memory of this process.

mod screen;
mod session;
mod signals;
mod stream;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use akm_core::Secret;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::Pid;

use super::super::output::{self, Fail, Result};
use super::{CoreLimit, cannot_run, cannot_start, own_failure};
use crate::harden;
use crate::spawn::Child;
use signals::{Attended, Signals};
use stream::{Copying, Target};

pub(crate) use session::lead;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Code(i32),
    Signal(Signal),
}

/// Runs a command with these keys in its environment and masks them in its output. Returns as it ended.
pub(crate) fn run(
    mut command: Command,
    keys: Vec<(String, Secret)>,
    core_limit: Option<CoreLimit>,
    json: bool,
) -> Result<()> {
    let own = |error: io::Error| cannot_start(&error, json);
    let outputs = [io::stdout().is_terminal(), io::stderr().is_terminal()];
    let has_session = outputs.contains(&true);
    let mut signals = Signals::block(has_session).map_err(own)?;
    let mut screen = None;
    if has_session {
        let opened = screen::Screen::open().map_err(own)?;
        command = session::led(&command, opened.at_once(), json);
        screen = Some(opened);
    }
    let mut copying = Copying::of(keys).map_err(own)?;
    let child = Child {
        command: &command,
        name: has_session.then_some("akm"),
        streams: connect_output(outputs, screen.as_ref(), &mut copying).map_err(own)?,
        mask: signals.before(),
        core_limit,
        leads_group: false,
        terminal: None,
    };
    // Closes our copies of the ends that are the command's.
    let child = child.start().map_err(|error| {
        if has_session {
            own(error)
        } else {
            cannot_run(&error, json)
        }
    })?;
    drop(command);
    if let Some(screen) = &mut screen {
        screen.give_away();
    }
    // The agent has looked at this process; nobody else needs to.
    let _ = harden::no_dump();
    let end = attend(child, &mut signals, screen.as_mut(), &mut copying, outputs);
    let written = copying.finish(&mut signals);
    drop(screen);
    drop(signals);
    let end = end.map_err(own)?;
    written.map_err(|error| own_failure(output::unwritten(&error), json))?;
    end_as(end)
}

/// Copies the output of the command until it ends.
fn attend(
    child: Pid,
    signals: &mut Signals,
    screen: Option<&mut screen::Screen>,
    copying: &mut Copying,
    [is_out, _]: [bool; 2],
) -> io::Result<End> {
    if let Some(screen) = &screen {
        let target = if is_out {
            Target::Stdout
        } else {
            Target::Stderr
        };
        copying.terminal(screen.master()?, target)?;
    }
    signals.attend(child, &mut Attended::of_run(screen, copying))
}

/// Ends as the command did; returns only for an exit code.
fn end_as(end: End) -> Result<()> {
    match end {
        End::Code(0) => Ok(()),
        End::Code(code) => Err(Fail::Exit(code as u8)),
        End::Signal(signal) => {
            // The core, if any, is the command's.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            let mut one = SigSet::empty();
            one.add(signal);
            let _ = one.thread_unblock();
            let _ = raise(signal);
            // One that we inherited as ignored.
            Err(Fail::Exit(128_u8.wrapping_add(signal as i32 as u8)))
        }
    }
}

/// The streams of the command: its output goes to the terminal where we have one, else to a pipe; one pipe for both where both
/// of ours are the same, so that their order stays. What is read there is copied to our output.
fn connect_output(
    terminals: [bool; 2],
    screen: Option<&screen::Screen>,
    copying: &mut Copying,
) -> io::Result<[Option<OwnedFd>; 3]> {
    let [out, err] = terminals;
    let slave = || match screen {
        Some(screen) => screen.slave(),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    let stdin = match screen.is_some_and(screen::Screen::at_once) {
        true => Some(slave()?),
        false => None,
    };
    let mut pipe = |target| -> io::Result<OwnedFd> {
        let (read, write) = io::pipe()?;
        copying.pipe(read.into(), target);
        Ok(write.into())
    };
    let (stdout, stderr) = if !out && !err && same_file(io::stdout(), io::stderr()) {
        let both = pipe(Target::Stdout)?;
        (both.try_clone()?, both)
    } else {
        let mut end = |is_terminal, target| match is_terminal {
            true => slave(),
            false => pipe(target),
        };
        (end(out, Target::Stdout)?, end(err, Target::Stderr)?)
    };
    Ok([stdin, Some(stdout), Some(stderr)])
}

fn same_file(a: impl AsFd, b: impl AsFd) -> bool {
    let of = |fd: &dyn AsFd| {
        let found = nix::sys::stat::fstat(fd.as_fd());
        found.map(|stat| (stat.st_dev, stat.st_ino)).ok()
    };
    of(&a).is_some() && of(&a) == of(&b)
}

/// What stands first among the arguments of the process that leads the session of a command.
pub(crate) const LEADER: &str = "__lead";

/// The words of a command, program first.
fn words(command: &Command) -> Vec<OsString> {
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    words
}
