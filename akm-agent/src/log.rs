//! What the agent says while it serves: one line of JSON per event on standard error, which is `agent.log` or the journal.
//!
//! Invariants: a line is made of literals of this program, numbers, and tokens of the table of operations and errors;
//! no field can hold a name, a path, a value or a word of a request, because there is none to put it in. Where
//! systemd's journal reads, the line has its priority in front. Requests are told only on request (`akm-agent -d`).
//!
//! `tracing` was left out: a closed list of events cannot carry what an open one would let slip in.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use akm_core::error::{Error, Kind};
use akm_core::protocol::Op;
use jiff::Timestamp;
use serde::Serialize;

/// Whether each request is told.
static REQUESTS: AtomicBool = AtomicBool::new(false);

/// What can happen.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// Clients may come.
    Ready {
        /// This process.
        pid: u32,
        /// Whether a service manager passed the socket.
        activated: bool,
    },
    /// The agent was told to end.
    Stopping,
    /// Every session was ended.
    LockedAll {
        /// Why.
        reason: &'static str,
    },
    /// Sessions ended whose time was over.
    Expired,
    /// The configuration was read again.
    Reloaded {
        /// The kind of the error, if it could not be: then nothing changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Kind>,
        /// What is wrong with it: a literal.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'static str>,
    },
    /// The system refused to lock memory: keys could reach swap.
    MemoryNotLocked,
    /// The kernel does not take a bound that the agent would set itself: it runs without.
    Unbounded {
        /// `system_calls` (seccomp) or `files` (Landlock).
        bound: &'static str,
    },
    /// Suspend and screen lock are heard of.
    Logind {
        /// Whether they are from now on.
        connected: bool,
    },
    /// Something came up that somebody should look at, or is over.
    Alert {
        /// What: `backup`, `offsite`, `errors`, `disk` or `certificate`.
        alert: &'static str,
        /// Whether it came up.
        raised: bool,
    },
    /// Something that nobody waits for failed.
    Failed {
        /// What was to be done: the name of a job, or of what the agent sees to besides.
        job: &'static str,
        /// Its kind.
        kind: Kind,
        /// What: a literal.
        message: &'static str,
    },
    /// A request was answered.
    Request {
        /// The operation.
        op: &'static str,
        /// `ok`, or the kind of the error.
        outcome: &'static str,
        /// From its head to its answer.
        us: u64,
        /// The process that asked.
        pid: i32,
    },
}

impl Entry {
    /// As syslog counts: 3 error, 4 warning, 6 information, 7 detail.
    const fn priority(&self) -> u8 {
        match self {
            Entry::Failed { .. } | Entry::Reloaded { error: Some(_), .. } => 3,
            Entry::MemoryNotLocked
            | Entry::Unbounded { .. }
            | Entry::Alert { raised: true, .. }
            | Entry::Logind { connected: false } => 4,
            Entry::Request { .. } => 7,
            _ => 6,
        }
    }
}

#[derive(Serialize)]
struct Line {
    time: String,
    level: &'static str,
    #[serde(flatten)]
    entry: Entry,
}

/// Tells each request from now on.
pub fn tell_requests() {
    REQUESTS.store(true, Ordering::Relaxed);
}

/// Whether requests are told.
pub(crate) fn tells_requests() -> bool {
    REQUESTS.load(Ordering::Relaxed)
}

/// Tells of a request.
pub(crate) fn request(op: Op, outcome: Option<Kind>, took: Duration, pid: i32) {
    write(&Entry::Request {
        op: op.name(),
        outcome: outcome.map_or("ok", Kind::token),
        us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        pid,
    });
}

/// Tells of an error in a job that nobody waits for.
pub(crate) fn failed(job: &'static str, error: &Error) {
    write(&failure(job, error));
}

fn failure(job: &'static str, error: &Error) -> Entry {
    Entry::Failed {
        job,
        kind: error.kind(),
        message: literal(error),
    }
}

/// The message of an error as a literal of this program. One that came over a wire is not repeated.
pub(crate) fn literal(error: &Error) -> &'static str {
    error
        .literal()
        .unwrap_or("an error without a text of its own")
}

/// Writes an entry.
pub(crate) fn write(entry: &Entry) {
    let under_journal = std::env::var("JOURNAL_STREAM").is_ok_and(|named| is_stderr(&named));
    // There is nobody to tell that telling failed.
    let _ = std::io::stderr().write_all(text(entry, Timestamp::now(), under_journal).as_bytes());
}

/// Whether standard error is the file of this device and inode. The variable alone is inherited far beyond the journal.
fn is_stderr(named: &str) -> bool {
    let Ok(found) = nix::sys::stat::fstat(std::io::stderr()) else {
        return false;
    };
    named
        .split_once(':')
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)))
        == Some((found.st_dev, found.st_ino))
}

fn text(entry: &Entry, now: Timestamp, under_journal: bool) -> String {
    let priority = entry.priority();
    let line = Line {
        time: format!("{now:.3}"),
        level: match priority {
            3 => "error",
            4 => "warning",
            7 => "debug",
            _ => "info",
        },
        entry: *entry,
    };
    let json = serde_json::to_string(&line).unwrap_or_default();
    match under_journal {
        true => format!("<{priority}>{json}\n"),
        false => format!("{json}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_and_the_journal_gets_its_priority() {
        let now = Timestamp::UNIX_EPOCH;
        let entry = Entry::Request {
            op: Op::KeyGet.name(),
            outcome: "ok",
            us: 12,
            pid: 7,
        };
        assert_eq!(
            text(&entry, now, false),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"debug\",\"event\":\"request\",\
             \"op\":\"key.get\",\"outcome\":\"ok\",\"us\":12,\"pid\":7}\n"
        );
        let failed = failure("backup", &Error::new(Kind::Io, "no"));
        assert_eq!(
            text(&failed, now, true),
            "<3>{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"error\",\"event\":\"failed\",\
             \"job\":\"backup\",\"kind\":\"io\",\"message\":\"no\"}\n"
        );
        assert!(text(&Entry::Stopping, now, true).contains("\"event\":\"stopping\"}"));
    }
}
