//! `akm doctor`: where things are and whether they work, each as measured now.
//!
//! It changes nothing, starts nothing, and says what it saw rather than what should be. Exit 1 if
//! something is wrong; that no agent runs or that the vault is locked is a state, not a fault.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use akm_core::Kind;
use akm_core::client::Client;
use akm_core::paths::Places;
use akm_core::protocol::{AgentStatus, Status};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::output::{self, Fail, Result};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// An agent that takes longer than this to say how it is, is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Note,
    Bad,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Check {
            name,
            state: State::Ok,
            found: found.into(),
            hint: None,
        }
    }

    fn note(name: &'static str, found: impl Into<String>, hint: &'static str) -> Self {
        Check {
            state: State::Note,
            hint: Some(hint),
            ..Check::ok(name, found)
        }
    }

    fn bad(name: &'static str, found: impl Into<String>, hint: &'static str) -> Self {
        Check {
            state: State::Bad,
            hint: Some(hint),
            ..Check::ok(name, found)
        }
    }
}

pub(crate) fn doctor(json: bool) -> Result<()> {
    let places = Places::from_env()?;
    let mut checks = vec![Check::ok("akm", VERSION)];
    if let Some(dir) = places.vault.parent() {
        checks.push(directory("vault directory", dir));
    }
    checks.push(file("vault", &places.vault));
    checks.push(file("journal", &places.journal));
    checks.push(file("configuration", &places.config));
    checks.push(directory("state", &places.state));
    checks.push(socket(&places.socket));
    checks.extend(agent(&places));
    checks.extend(clocks(&places.vault));
    let bad = checks.iter().any(|check| check.state == State::Bad);
    if json {
        #[derive(Serialize)]
        struct Checks {
            ok: bool,
            checks: Vec<Check>,
        }
        output::json(&Checks { ok: !bad, checks })?;
    } else {
        let rows: Vec<Vec<String>> = checks
            .iter()
            .map(|check| {
                let state = match check.state {
                    State::Ok => "ok",
                    State::Note => "-",
                    State::Bad => "BAD",
                };
                vec![state.to_owned(), check.name.to_owned(), check.found.clone()]
            })
            .collect();
        output::table(&["", "WHAT", "FOUND"], &rows)?;
        for check in &checks {
            if let Some(text) = check.hint {
                output::hint(&format!("{}: {text}", check.name));
            }
        }
    }
    if bad { Err(Fail::Exit(1)) } else { Ok(()) }
}

fn directory(name: &'static str, path: &Path) -> Check {
    owned(
        name,
        path,
        0o700,
        "chmod 0700, and look whether others put files there",
    )
}

fn file(name: &'static str, path: &Path) -> Check {
    owned(name, path, 0o600, "chmod 0600: others can read or write it")
}

/// A file or directory of this user alone.
fn owned(name: &'static str, path: &Path, wanted: u32, fix: &'static str) -> Check {
    let shown = path.display();
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(name, format!("{shown}, not there yet"));
        }
        Err(error) => {
            return Check::bad(
                name,
                format!("{shown}, {error}"),
                "look at the directories above it",
            );
        }
    };
    let mode = meta.mode() & 0o7777;
    let found = format!(
        "{shown}, mode {mode:04o}, uid {}, {} bytes",
        meta.uid(),
        meta.len()
    );
    if meta.is_symlink() {
        Check::bad(
            name,
            format!("{shown}, a symlink"),
            "akm follows no symlink to its files",
        )
    } else if meta.uid() != nix::unistd::geteuid().as_raw() {
        Check::bad(name, found, "it belongs to another user")
    } else if mode & !wanted != 0 {
        Check::bad(name, found, fix)
    } else {
        Check::ok(name, found)
    }
}

fn socket(path: &Path) -> Check {
    let checked = file("socket", path);
    match std::fs::symlink_metadata(path) {
        Ok(meta) if checked.state == State::Ok && !meta.file_type().is_socket() => Check::bad(
            "socket",
            format!("{}, not a socket", path.display()),
            "something else stands where the agent listens",
        ),
        _ => checked,
    }
}

fn agent(places: &Places) -> Vec<Check> {
    let begin = Instant::now();
    // By its path: without one, another vault than this environment names would be an error and not be shown.
    let asked = Client::connect_with_timeout(Some(&places.socket), PATIENCE)
        .and_then(|mut client| client.call(&AgentStatus {}));
    let took = begin.elapsed();
    match asked {
        Ok(status) => reached(&status, took, places),
        Err(error) if error.kind() == Kind::NoAgent => {
            vec![Check::note("agent", "not running", "akm unlock starts it")]
        }
        Err(error) => vec![Check::bad(
            "agent",
            output::clean(error.message()).into_owned(),
            "akm agent stop, then akm unlock",
        )],
    }
}

fn reached(status: &Status, took: Duration, places: &Places) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        "agent",
        format!("answers in {} µs", took.as_micros()),
    )];
    checks.push(if status.version == VERSION {
        Check::ok("agent version", status.version.clone())
    } else {
        Check::note(
            "agent version",
            format!("{}, this is {VERSION}", status.version),
            "akm agent stop, then akm unlock starts this version",
        )
    });
    if let Some(held) = &status.vault {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        checks.push(if real(Path::new(held)) == real(&places.vault) {
            Check::ok("agent's vault", held.clone())
        } else {
            Check::bad(
                "agent's vault",
                held.clone(),
                "the agent holds another vault than this environment names",
            )
        });
    }
    checks.push(match (&status.account, status.initialized) {
        (_, false) => Check::note("session", "no account yet", "akm init"),
        (None, true) => Check::note("session", "locked", "akm unlock"),
        (Some(account), true) => match &status.expires_at {
            Some(end) => Check::ok("session", format!("{account}, unlocked until {end}")),
            None => Check::ok("session", format!("{account}, unlocked until locked")),
        },
    });
    checks
}

/// Codes need the right time, lifetimes a clock that counts suspended time too.
fn clocks(vault: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    let newest = std::fs::metadata(vault).and_then(|meta| meta.modified());
    let now = Timestamp::now();
    // A minute of grace for a file server's clock.
    let behind = newest
        .ok()
        .and_then(|time| time.duration_since(SystemTime::now()).ok())
        .filter(|ahead| *ahead > Duration::from_secs(60));
    checks.push(match behind {
        Some(ahead) => Check::bad(
            "clock",
            format!("{now}, the vault was written {} s later", ahead.as_secs()),
            "set the clock: codes of an authenticator depend on it",
        ),
        None => Check::ok("clock", now.to_string()),
    });
    let clock = |id| clock_gettime(id).map(Duration::from);
    checks.push(
        match (
            clock(ClockId::CLOCK_BOOTTIME),
            clock(ClockId::CLOCK_MONOTONIC),
        ) {
            (Ok(boot), Ok(awake)) => Check::ok(
                "time since boot",
                format!(
                    "{} s, of which suspended {} s",
                    boot.as_secs(),
                    boot.saturating_sub(awake).as_secs()
                ),
            ),
            _ => Check::bad(
                "time since boot",
                "no clock that counts suspended time",
                "lifetimes end at once on this system",
            ),
        },
    );
    checks
}
