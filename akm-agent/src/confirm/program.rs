//! A question through a program, as ssh-agent asks: the text is its argument, `SSH_ASKPASS_PROMPT=confirm` stands in its
//! environment, and it ends with 0 for a yes. What it prints may say for how long: `yes 10m`. Printing nothing is
//! what the programs made for ssh-agent do on a yes.
//!
//! The program is the user's own and is trusted with the answer, not with time: it and what it started are ended when that
//! is over, with the session, and with the agent.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};

use akm_core::caller::Answer;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::{Wait, understood};
use crate::harden;

/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 256;

/// The groups of programs that ask. Their leaders are not reaped, so the numbers are their own.
struct Asking {
    groups: BTreeSet<Pid>,
    /// Whether the agent ends: then nobody is asked any more.
    over: bool,
}

static ASKING: Mutex<Asking> = Mutex::new(Asking {
    groups: BTreeSet::new(),
    over: false,
});

fn asking() -> MutexGuard<'static, Asking> {
    ASKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every program that still asks, for an agent that ends.
pub fn end_all() {
    let mut asking = asking();
    asking.over = true;
    for group in &asking.groups {
        // One that has ended meanwhile needs no signal.
        let _ = killpg(*group, Signal::SIGKILL);
    }
}

fn end(group: Pid) {
    if asking().groups.contains(&group) {
        let _ = killpg(group, Signal::SIGKILL);
    }
}

pub(super) fn ask(program: &Path, text: &str, wait: &Wait<'_>) -> Answer {
    let mut command = Command::new(program);
    command
        .arg(text)
        .env("SSH_ASKPASS_PROMPT", "confirm")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it starts ends with it.
        .process_group(0);
    // Where the agent is killed, too: it ends with this thread, which waits for it.
    harden::bind_child(&mut command);
    let (child, group) = {
        // Held over both, so that none begins behind the back of `end_all`.
        let mut asking = asking();
        if asking.over || wait.next().is_none() {
            return Answer::Nothing;
        }
        let Ok(child) = command.spawn() else {
            return Answer::Nobody;
        };
        let group = Pid::from_raw(child.id().cast_signed());
        asking.groups.insert(group);
        (child, group)
    };
    let (done, ended) = mpsc::channel();
    // Waits for the end, however late it comes, so that nothing is left of the program.
    std::thread::spawn(move || {
        // Whoever waited may have gone.
        let _ = done.send(answer_of(child, group));
    });
    while let Some(moment) = wait.next() {
        match ended.recv_timeout(moment) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    end(group);
    Answer::Nothing
}

fn answer_of(mut child: Child, group: Pid) -> Answer {
    let mut said = String::new();
    let read = (child.stdout.take()).map(|out| out.take(MAX_ANSWER).read_to_string(&mut said));
    // It stays in the list until it has ended, and leaves it before its number is free.
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(group), ended) == Err(Errno::EINTR) {}
    asking().groups.remove(&group);
    let ok = child.wait().is_ok_and(|status| status.success());
    match (ok, read) {
        (true, Some(Ok(_))) if said.trim().is_empty() => Answer::Yes,
        (true, Some(Ok(_))) => understood(&said),
        _ => Answer::No,
    }
}
