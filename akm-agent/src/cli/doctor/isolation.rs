//! What separates the agent from other programs of this machine, measured: on children of this process that protect themselves
//! as the agent does, and by what `/proc` says of the agent that runs.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use akm_core::memory::{LockedKey, lock_refused};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};

use super::super::text::{text, translated};
use super::Check;
use crate::probe::{self, Part, Probe, Reach};
use crate::sandbox::Held;

/// All of it. `agent` is the process id of the one that runs.
pub(super) fn checks(agent: Option<i32>, socket: &Path) -> Vec<Check> {
    let status = agent.map(|pid| Status::of(&format!("/proc/{pid}/status")));
    let root = nix::unistd::geteuid().is_root();
    let mut checks = vec![
        reach("agent's memory", Part::Guarded, root),
        reach("your programs", Part::Plain, root),
        core(),
        swap(),
        locked(status.as_ref()),
    ];
    checks.extend(status.as_ref().map(user));
    checks.extend(who(socket));
    checks.extend(bounds(status.as_ref()));
    checks.extend(status.as_ref().map(privileges));
    checks.push(kernel());
    checks
}

fn failed(name: &'static str, error: &akm_core::Error) -> Check {
    Check::bad(name, translated(error.message()), text!("hint-again"))
}

/// What another program of this user can do to one that protects itself as the agent does, and to one that does not.
fn reach(name: &'static str, part: Part, root: bool) -> Check {
    let Reach {
        ptrace,
        memory,
        environ,
    } = match Probe::start(part).and_then(|target| probe::reach(&target)) {
        Ok(reach) => reach,
        Err(error) => return failed(name, &error),
    };
    let said = |allowed| match allowed {
        true => text!("doctor-allowed"),
        false => text!("doctor-refused"),
    };
    let found = text!(
        "doctor-reach",
        ptrace = said(ptrace),
        memory = said(memory),
        environ = said(environ),
    );
    match (part, ptrace || memory || environ) {
        (_, false) => Check::ok(name, found),
        // Root reaches everything: measured as somebody else it says something.
        (_, true) if root => Check::note(name, found, text!("hint-reach-root")),
        (Part::Plain, true) => Check::note(name, found, text!("hint-reach-plain")),
        (_, true) => Check::bad(name, found, text!("hint-reach-agent")),
    }
}

fn core() -> Check {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let pattern = pattern.trim().to_owned();
    match Probe::start(Part::Aborting).and_then(Probe::dumps_core) {
        Ok(false) => Check::ok("core dumps", text!("doctor-no-core", pattern = pattern)),
        Ok(true) => Check::bad(
            "core dumps",
            text!("doctor-core", pattern = pattern),
            text!("hint-core"),
        ),
        Err(error) => failed("core dumps", &error),
    }
}

fn swap() -> Check {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let used: Vec<&str> = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if used.is_empty() {
        return Check::ok("swap", text!("doctor-no-swap"));
    }
    let found = text!("doctor-swap", places = used.join(", "));
    // Compressed memory, and a mapped device, which is how swap is encrypted.
    let harmless = |place: &&str| place.contains("/zram") || place.contains("/dm-");
    match used.iter().all(harmless) {
        true => Check::ok("swap", found),
        false => Check::note("swap", found, text!("hint-swap")),
    }
}

fn locked(agent: Option<&Status>) -> Check {
    let _key = LockedKey::from_bytes(&mut [0; LockedKey::LEN]);
    let limit = match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((nix::libc::RLIM_INFINITY, _)) | Err(_) => "∞".to_owned(),
        Ok((soft, _)) => format!("{} KiB", soft / 1024),
    };
    let found = match agent.and_then(|status| status.number("VmLck")) {
        Some(held) => text!("doctor-locked-agent", limit = limit, held = held),
        None => text!("doctor-locked", limit = limit),
    };
    let refused = lock_refused() || agent.is_some_and(|status| status.number("VmLck") == Some(0));
    match refused {
        false => Check::ok("locked memory", found),
        true => Check::note("locked memory", found, text!("hint-locked")),
    }
}

fn user(agent: &Status) -> Check {
    let own = nix::unistd::geteuid().as_raw();
    let uid = agent.number("Uid");
    let name = uid
        .and_then(|uid| u32::try_from(uid).ok())
        .and_then(|uid| nix::unistd::User::from_uid(uid.into()).ok().flatten())
        .map_or_else(|| "?".to_owned(), |user| user.name);
    let found = text!("doctor-agent-user", name = name, uid = uid.unwrap_or(0));
    match uid {
        // The kernel shows it no other user's executables.
        Some(uid) if uid != u64::from(own) => Check {
            hint: Some(text!("hint-agent-other-user")),
            ..Check::ok("agent's user", found)
        },
        _ => Check::note("agent's user", found, text!("hint-agent-user")),
    }
}

fn who(socket: &Path) -> Option<Check> {
    let meta = std::fs::symlink_metadata(socket).ok()?;
    let mode = meta.mode() & 0o777;
    let group = nix::unistd::Group::from_gid(meta.gid().into())
        .ok()
        .flatten()
        .map_or_else(|| meta.gid().to_string(), |group| group.name);
    Some(match mode {
        _ if mode & 0o007 != 0 => Check::bad(
            "who may connect",
            text!("doctor-open-to-all"),
            text!("hint-mode-file"),
        ),
        _ if mode & 0o070 != 0 => Check::ok(
            "who may connect",
            text!("doctor-open-to-group", group = group),
        ),
        _ => Check::ok(
            "who may connect",
            text!("doctor-open-to-owner", uid = meta.uid()),
        ),
    })
}

/// What the kernel takes of the agent's bounds, on a child; and whether the agent that runs is bound.
fn bounds(agent: Option<&Status>) -> Vec<Check> {
    let taken = match Probe::start(Part::Bound).map(|child| child.taken()) {
        Ok(Some(taken)) => taken,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![failed("system calls", &error)],
    };
    let filtered = agent.map(|status| status.number("Seccomp") == Some(2));
    let calls = match (taken.calls, filtered) {
        (true, Some(true)) => Check::ok("system calls", text!("doctor-calls-agent")),
        (true, None) => Check::ok("system calls", text!("doctor-calls")),
        (true, Some(false)) => Check::bad(
            "system calls",
            text!("doctor-calls-not"),
            text!("hint-agent-again"),
        ),
        (false, _) => Check::note(
            "system calls",
            text!("doctor-no-calls"),
            text!("hint-no-calls"),
        ),
    };
    let files = match taken.files {
        Held::Whole => Check::ok("files", text!("doctor-files")),
        Held::Part => Check::note("files", text!("doctor-files-part"), text!("hint-no-files")),
        Held::Nothing => Check::note("files", text!("doctor-no-files"), text!("hint-no-files")),
    };
    vec![calls, files]
}

fn privileges(agent: &Status) -> Check {
    let none = agent
        .text("CapEff")
        .is_some_and(|set| set.trim_start_matches('0').is_empty());
    let closed = agent.number("NoNewPrivs") == Some(1);
    match (closed, none) {
        (true, true) => Check::ok("privileges", text!("doctor-no-privileges")),
        (true, false) => Check::note(
            "privileges",
            text!("doctor-privileges"),
            text!("hint-privileges"),
        ),
        (false, _) => Check::bad(
            "privileges",
            text!("doctor-new-privileges"),
            text!("hint-agent-again"),
        ),
    }
}

/// What of the kernel decides how well a caller is known.
fn kernel() -> Check {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    let pinned = UnixStream::pair().is_ok_and(|(end, _other)| getsockopt(&end, PeerPidfd).is_ok());
    match pinned {
        true => Check::ok("kernel", text!("doctor-kernel", release = release)),
        false => Check::note(
            "kernel",
            text!("doctor-kernel-old", release = release),
            text!("hint-kernel-old"),
        ),
    }
}

/// A `/proc/PID/status`, which everybody may read.
struct Status(String);

impl Status {
    fn of(path: &str) -> Status {
        Status(std::fs::read_to_string(path).unwrap_or_default())
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == field).then(|| value.split_whitespace().next())?
        })
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }
}
