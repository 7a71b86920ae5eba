//! A question through a program, as ssh-agent asks: the text is its argument, `SSH_ASKPASS_PROMPT=confirm` stands in its
//! environment, and it ends with 0 for a yes. What it prints may say for how long: `yes 10m`. Printing nothing is
//! what the programs made for ssh-agent do on a yes.
//!
//! The program is the user's own and is trusted with the answer, not with time: it is ended when that is over.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use akm_core::caller::Answer;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::understood;
use crate::harden;

/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 256;

pub(super) fn ask(program: &Path, text: &str, patience: Duration) -> Answer {
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
    // It ends with this thread, which waits for it, and so with the agent.
    harden::bind_child(&mut command);
    let started = command.spawn();
    let Ok(mut child) = started else {
        return Answer::Nobody;
    };
    let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
    let (done, ended) = mpsc::channel();
    // Waits for the end, however late it comes, so that nothing is left of the program.
    std::thread::spawn(move || {
        let mut said = String::new();
        let read = child
            .stdout
            .take()
            .map(|out| out.take(MAX_ANSWER).read_to_string(&mut said));
        let ok = child.wait().is_ok_and(|status| status.success());
        // Whoever waited may have gone.
        let _ = done.send(match (ok, read) {
            (true, Some(Ok(_))) if said.trim().is_empty() => Answer::Yes,
            (true, Some(Ok(_))) => understood(&said),
            _ => Answer::No,
        });
    });
    match ended.recv_timeout(patience) {
        Ok(answer) => answer,
        Err(_) => {
            if let Some(group) = group {
                // Not reaped yet as nothing was sent, so the number is still its own.
                let _ = killpg(group, Signal::SIGKILL);
            }
            Answer::Nothing
        }
    }
}
