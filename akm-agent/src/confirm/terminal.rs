//! A question on the terminal of whoever asks, one at a time on each.
//!
//! What was typed before the question is thrown away, so that no answer is older than it. The terminal reads lines with
//! echo while the question stands and is put back as it was. The agent never makes the terminal its own.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use akm_core::caller::Answer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr,
};

use super::{Wait, understood};
use crate::cli::text::text;

/// Longest line that is an answer.
const MAX_LINE: usize = 64;

static BUSY: (Mutex<Option<HashSet<PathBuf>>>, Condvar) = (Mutex::new(None), Condvar::new());

/// A terminal on which nobody else asks meanwhile.
struct Place<'a>(&'a Path);

impl<'a> Place<'a> {
    fn take(path: &'a Path, wait: &Wait<'_>) -> Option<Place<'a>> {
        let mut busy = BUSY.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let moment = wait.next()?;
            if busy.get_or_insert_default().insert(path.to_owned()) {
                return Some(Place(path));
            }
            busy = BUSY
                .1
                .wait_timeout(busy, moment)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut busy = BUSY.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.get_or_insert_default().remove(self.0);
        BUSY.1.notify_all();
    }
}

/// The terminal as it was, put back at the end.
struct Restore<'a>(&'a File, Termios);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // It may be gone, with whoever sat there.
        let _ = tcsetattr(self.0, SetArg::TCSANOW, &self.1);
    }
}

pub(super) fn ask(path: &Path, uid: u32, question: &str, wait: &Wait<'_>) -> Answer {
    let Some(_place) = Place::take(path, wait) else {
        return Answer::Nothing;
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK)
        .open(path);
    let Ok(tty) = opened else {
        return Answer::Nobody;
    };
    let is_theirs = tty
        .metadata()
        .is_ok_and(|meta| meta.file_type().is_char_device() && meta.uid() == uid);
    let Ok(before) = tcgetattr(&tty) else {
        return Answer::Nobody;
    };
    if !is_theirs {
        return Answer::Nobody;
    }
    let mut lines = before.clone();
    lines.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO;
    lines.input_flags |= InputFlags::ICRNL;
    let restore = Restore(&tty, before);
    if tcsetattr(&tty, SetArg::TCSANOW, &lines).is_err()
        || tcflush(&tty, FlushArg::TCIFLUSH).is_err()
    {
        return Answer::Nobody;
    }
    if (&tty).write_all(question.as_bytes()).is_err() {
        return Answer::Nobody;
    }
    let answer = match line(&tty, wait) {
        Line::Is(line) => understood(&line),
        Line::Late => {
            let why = match (wait.is_wanted)() {
                true => text!("confirm-too-late"),
                false => text!("confirm-withdrawn"),
            };
            let _ = (&tty).write_all(format!("\n{why}\n").as_bytes());
            Answer::Nothing
        }
        Line::None => Answer::No,
    };
    drop(restore);
    answer
}

enum Line {
    Is(String),
    Late,
    None,
}

fn line(tty: &File, wait: &Wait<'_>) -> Line {
    let mut line = Vec::new();
    let mut piece = [0; MAX_LINE];
    loop {
        let Some(moment) = wait.next() else {
            return Line::Late;
        };
        let mut fds = [PollFd::new(tty.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(moment).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return Line::None,
            Ok(_) => {}
        }
        match nix::unistd::read(tty, &mut piece) {
            // The end of input is no yes.
            Ok(0) => return Line::None,
            Ok(count) => line.extend_from_slice(&piece[..count]),
            // Somebody else took the line.
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => continue,
            Err(_) => return Line::None,
        }
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).map_or(Line::None, Line::Is);
        }
        if line.len() > MAX_LINE {
            return Line::None;
        }
    }
}
