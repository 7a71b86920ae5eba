//! `akm doctor`: where things are and whether they work, each as measured now.
//!
//! It changes nothing, starts nothing but children of its own to try things on, and says what it saw rather than what should be. Exit 1 if
//! something is wrong; that no agent runs or that the vault is locked is a state, not a fault.

#[cfg(target_os = "linux")]
mod isolation;
mod setup;

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use akm_core::Kind;
use akm_core::client::Client;
use akm_core::paths::Places;
use akm_core::protocol::{AgentStatus, Status, VaultCheck};
use akm_core::store::SqliteStore;
use clap::Args;
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::output::{self, Fail, Result};
use super::progress::Progress;
use super::session::{ELSEWHERE, is_unopened};
use super::text::{of_token, text, translated};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// An agent that takes longer than this to say how it is, is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is looked at, as `--json` names it; for a person each is a message `checked-…`.
#[cfg(test)]
pub(super) const CHECKS: &[&str] = &[
    "akm",
    "vault directory",
    "vault",
    "journal",
    "configuration",
    "state",
    "host key",
    "socket",
    "agent",
    "agent version",
    "agent's vault",
    "session",
    "keys",
    "accounts",
    "clock",
    "time since boot",
    "agent's memory",
    "your programs",
    "core dumps",
    "swap",
    "locked memory",
    "agent's user",
    "who may connect",
    "system calls",
    "files",
    "privileges",
    "kernel",
];

/// Measures.
#[derive(Args)]
#[command(after_help = "Example:\n  akm doctor\n  akm doctor --setup-system | less")]
pub(crate) struct Doctor {
    /// Print a script that lets the agent run as a user of its own, for the members of a group
    #[arg(long)]
    setup_system: bool,
}

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
    hint: Option<String>,
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

    fn note(name: &'static str, found: impl Into<String>, hint: String) -> Self {
        Check {
            state: State::Note,
            hint: Some(hint),
            ..Check::ok(name, found)
        }
    }

    fn bad(name: &'static str, found: impl Into<String>, hint: String) -> Self {
        Check {
            state: State::Bad,
            hint: Some(hint),
            ..Check::ok(name, found)
        }
    }
}

pub(crate) fn doctor(args: &Doctor, json: bool) -> Result<()> {
    if args.setup_system {
        return setup::print();
    }
    let places = Places::from_env()?;
    let mut checks = vec![Check::ok("akm", VERSION)];
    if let Some(dir) = places.vault.parent() {
        checks.push(directory("vault directory", dir));
    }
    checks.push(vault(&places.vault));
    checks.push(file("journal", &places.journal));
    checks.push(file("configuration", &places.config));
    checks.push(directory("state", &places.state));
    checks.push(file("host key", &places.state.join("host.key")));
    checks.push(socket(&places.socket));
    checks.extend(agent(&places));
    checks.extend(clocks(&places.vault));
    #[cfg(target_os = "linux")]
    checks.extend(isolation::checks(agent_pid(&places.socket), &places.socket));
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
                    State::Ok => text!("doctor-ok"),
                    State::Note => "-".to_owned(),
                    State::Bad => text!("doctor-bad"),
                };
                vec![state, of_token("checked", check.name), check.found.clone()]
            })
            .collect();
        output::table(&["", "col-what", "col-found"], &rows)?;
        for check in &checks {
            if let Some(step) = &check.hint {
                output::hint(&text!(
                    "hint-of",
                    what = of_token("checked", check.name),
                    step = step.as_str(),
                ));
            }
        }
    }
    if bad { Err(Fail::Exit(1)) } else { Ok(()) }
}

fn directory(name: &'static str, path: &Path) -> Check {
    owned(name, path, 0o700, text!("hint-mode-directory"))
}

fn file(name: &'static str, path: &Path) -> Check {
    owned(name, path, 0o600, text!("hint-mode-file"))
}

/// The vault's file, and whether it is one: all of it while nobody has it open.
fn vault(path: &Path) -> Check {
    let checked = file("vault", path);
    if checked.state == State::Bad {
        return checked;
    }
    if std::fs::metadata(path).is_ok_and(|meta| meta.nlink() > 1) {
        let found = text!("doctor-linked", path = path.display().to_string());
        return Check::bad("vault", found, text!("hint-linked"));
    }
    let Err(error) = SqliteStore::look(path) else {
        return checked;
    };
    let found = format!("{}: {}", checked.found, translated(error.message()));
    let step = match error.kind() {
        Kind::Corrupt => text!("hint-vault-damaged"),
        Kind::UnsupportedVersion => text!("hint-version"),
        _ => text!("hint-again"),
    };
    Check::bad("vault", found, step)
}

/// A file or directory of this user alone.
fn owned(name: &'static str, path: &Path, wanted: u32, fix: String) -> Check {
    let shown = path.display().to_string();
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(name, text!("doctor-absent", path = shown));
        }
        Err(error) => {
            return Check::bad(
                name,
                text!("doctor-unreadable", path = shown, error = error.to_string()),
                text!("hint-directories-above"),
            );
        }
    };
    let mode = meta.mode() & 0o7777;
    let found = text!(
        "doctor-file",
        path = shown.as_str(),
        mode = format!("{mode:04o}"),
        uid = meta.uid(),
        size = meta.len(),
    );
    if meta.is_symlink() {
        Check::bad(
            name,
            text!("doctor-symlink", path = shown),
            text!("hint-symlink"),
        )
    } else if meta.uid() != nix::unistd::geteuid().as_raw() {
        Check::bad(name, found, text!("hint-other-user"))
    } else if mode & !wanted != 0 {
        Check::bad(name, found, fix)
    } else {
        Check::ok(name, found)
    }
}

/// The agent's process, as it says itself: of a socket that a service manager passed on, the kernel names the manager.
#[cfg(target_os = "linux")]
fn agent_pid(socket: &Path) -> Option<i32> {
    let mut client = Client::connect_with_timeout(Some(socket), PATIENCE).ok()?;
    client.call(&AgentStatus {}).ok()?.pid
}

fn socket(path: &Path) -> Check {
    let checked = file("socket", path);
    match std::fs::symlink_metadata(path) {
        // For the members of a group: made by root, who decides where people look for it.
        Ok(meta) if meta.file_type().is_socket() && meta.uid() == 0 && meta.mode() & 0o117 == 0 => {
            Check::ok("socket", checked.found)
        }
        Ok(meta) if checked.state == State::Ok && !meta.file_type().is_socket() => Check::bad(
            "socket",
            text!("doctor-no-socket", path = path.display().to_string()),
            text!("hint-no-socket"),
        ),
        _ => checked,
    }
}

fn agent(places: &Places) -> Vec<Check> {
    let begin = Instant::now();
    // By its path: without one, another vault than this environment names would be an error and not be shown.
    let asked = Client::connect_with_timeout(Some(&places.socket), PATIENCE)
        .and_then(|mut client| client.call(&AgentStatus {}).map(|status| (client, status)));
    let took = begin.elapsed();
    match asked {
        Ok((mut client, status)) => {
            let mut checks = reached(&status, took, places);
            if status.account.is_some() {
                checks.push(keys(&mut client));
            }
            checks
        }
        Err(error) if error.kind() == Kind::NoAgent => {
            vec![Check::note(
                "agent",
                text!("doctor-not-running"),
                text!("hint-unlock-starts"),
            )]
        }
        Err(error) => vec![Check::bad(
            "agent",
            translated(error.message()),
            text!("hint-agent-again"),
        )],
    }
}

fn reached(status: &Status, took: Duration, places: &Places) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        "agent",
        text!("doctor-answers", time = format!("{} µs", took.as_micros())),
    )];
    checks.push(if status.version == VERSION {
        Check::ok("agent version", status.version.clone())
    } else {
        Check::note(
            "agent version",
            text!(
                "doctor-version",
                agent = status.version.as_str(),
                this = VERSION,
            ),
            text!("hint-agent-version"),
        )
    });
    if let Some(held) = &status.vault {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        checks.push(if real(Path::new(held)) == real(&places.vault) {
            Check::ok("agent's vault", held.clone())
        } else {
            Check::bad("agent's vault", held.clone(), text!("hint-other-vault"))
        });
    }
    if is_unopened(status) {
        let (found, step) = (text!("vault-damaged"), text!("hint-vault-damaged"));
        checks.push(Check::bad("session", found, step));
        return checks;
    }
    if let Some(missing) = status.missing_accounts {
        checks.push(Check::bad(
            "accounts",
            text!("doctor-accounts-missing", missing = missing),
            text!("hint-accounts-missing"),
        ));
    }
    checks.push(match (&status.account, status.initialized) {
        (_, false) if status.missing_accounts.is_some() => {
            Check::ok("session", text!("no-account-yet"))
        }
        (_, false) if status.accounts_elsewhere.is_some() => Check::note(
            "session",
            text!("no-account-yet"),
            translated(ELSEWHERE).into_owned(),
        ),
        (_, false) => Check::note("session", text!("no-account-yet"), text!("hint-init")),
        (None, true) => Check::note("session", text!("locked"), text!("hint-unlock")),
        (Some(account), true) => match &status.expires_at {
            Some(end) => Check::ok(
                "session",
                text!(
                    "unlocked-until",
                    account = account.as_str(),
                    time = end.as_str()
                ),
            ),
            None => Check::ok("session", text!("unlocked", account = account.as_str())),
        },
    });
    checks
}

/// Every key against what the vault had at its last change.
fn keys(client: &mut Client) -> Check {
    let (mut seen, mut older, mut missing, mut foreign, mut unreadable) = (0, 0, 0, 0, 0);
    let mut broken = false;
    let mut after = None;
    let mut bar = None;
    loop {
        let page = match client.call(&VaultCheck { after }) {
            Ok(page) => page,
            Err(error) => {
                return Check::bad("keys", translated(error.message()), text!("hint-again"));
            }
        };
        seen += page.checked;
        older += page.stale.len();
        missing += page.missing.len();
        foreign += page.foreign.len();
        unreadable += page.unreadable.len();
        broken |= page.broken;
        after = page.next;
        if after.is_none() {
            break;
        }
        // Only a large vault has a second page.
        bar.get_or_insert_with(|| Progress::of(page.total, false))
            .at(seen, page.total);
    }
    drop(bar);
    if older + missing + foreign + unreadable > 0 {
        let found = text!(
            "doctor-keys-bad",
            seen = seen,
            missing = missing,
            older = older,
            foreign = foreign,
            unreadable = unreadable,
        );
        return Check::bad("keys", found, text!("hint-rolled-back"));
    }
    if broken {
        return Check::bad(
            "keys",
            text!("doctor-keys-broken"),
            text!("hint-rolled-back"),
        );
    }
    Check::ok("keys", text!("doctor-keys", seen = seen))
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
            text!(
                "doctor-clock-behind",
                now = now.to_string(),
                seconds = ahead.as_secs()
            ),
            text!("hint-clock"),
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
                text!(
                    "doctor-boot",
                    seconds = boot.as_secs(),
                    suspended = boot.saturating_sub(awake).as_secs(),
                ),
            ),
            _ => Check::bad(
                "time since boot",
                text!("doctor-no-boot-clock"),
                text!("hint-no-boot-clock"),
            ),
        },
    );
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_stands_in_the_list_that_is_translated() {
        let mut seen = 0;
        for source in [
            include_str!("doctor.rs"),
            include_str!("doctor/isolation.rs"),
        ] {
            for state in ["ok", "bad", "note"] {
                for rest in source.split(&format!("Check::{state}(\"")).skip(1) {
                    let name = rest.split('"').next().unwrap();
                    assert!(CHECKS.contains(&name), "{name}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "the checks are written in another way: {seen}");
    }
}
