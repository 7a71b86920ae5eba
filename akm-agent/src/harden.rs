//! What the process gives up before it touches a secret. Beside `spawn` the only room of the agent with `unsafe`.
//!
//! Invariants: called before a second thread exists (changing the environment is not safe later); every
//! step that the system refuses is reported, and only the ones that protect secrets from other processes
//! are errors. `LD_PRELOAD` has done its work before the first line of ours runs: it is out of scope,
//! and only cleared so that nothing below inherits it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::os::unix::process::CommandExt;

use akm_core::error::{Error, Kind, Result};
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, getpid, getppid};

/// Most descriptors that are asked for: two for each connection and some of our own.
const MAX_DESCRIPTORS: u64 = 65_536;

/// What Rust's runtime does for a `main` of its own: descriptors 0 to 2 are open, so that no file that is opened later is taken for
/// standard output, and a reader that went away is an error and no signal.
///
/// Ends the process where that cannot be had.
#[allow(unsafe_code)]
pub fn begin() {
    for standard in 0..=2 {
        // SAFETY: asks about a number, whether or not it is a descriptor.
        if unsafe { libc::fcntl(standard, libc::F_GETFD) } != -1 {
            continue;
        }
        // The lowest number that is free, and those below are taken.
        match open("/dev/null", OFlag::O_RDWR, Mode::empty()).map(IntoRawFd::into_raw_fd) {
            Ok(opened) if opened == standard => {}
            _ => std::process::abort(),
        }
    }
    // SAFETY: no handler is installed, so nothing of ours runs in one.
    let ignored = unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    if ignored.is_err() {
        std::process::abort();
    }
}

/// Everything for the agent: not dumpable, no core, no new privileges, private files, clean environment.
///
/// Errors: `internal` if a second thread exists already, `io` if the system refuses.
#[allow(unsafe_code)]
pub fn agent() -> Result<()> {
    // Inherited: an agent whose starter blocked SIGTERM would be deaf to it.
    nix::sys::signal::SigSet::empty()
        .thread_set_mask()
        .map_err(|error| Error::from_io(&error.into()))?;
    if threads() != Some(1) {
        return Err(Error::internal("hardening came after the first thread"));
    }
    umask(Mode::from_bits_truncate(0o077));
    no_dump()?;
    let refused = |_| Error::new(Kind::Io, "the system refused to protect the process");
    prctl::set_no_new_privs().map_err(refused)?;
    // SAFETY: this is the only thread, as counted above, and it starts no other in between.
    unsafe { clear_environment() };
    few_arenas();
    raise_descriptors();
    Ok(())
}

fn threads() -> Option<usize> {
    std::fs::read_dir("/proc/self/task")
        .ok()
        .map(Iterator::count)
}

/// No core file, and no reading of this process's memory by others of the same user.
pub fn no_dump() -> Result<()> {
    let refused = |_| {
        Error::new(
            Kind::Io,
            "the system refused to protect the process's memory",
        )
    };
    prctl::set_dumpable(false).map_err(refused)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(refused)
}

/// Lets a child of a program with threads start as if nobody stood between it and whoever started this program, but not
/// outlive it: it gets SIGHUP when this thread ends, and no signal is blocked.
#[allow(unsafe_code)]
pub fn bind_child(command: &mut std::process::Command) {
    let parent = getpid();
    let prepare = move || {
        end_with(parent)?;
        Ok(SigSet::empty().thread_set_mask()?)
    };
    // SAFETY: between fork and exec it makes system calls on values that are there already; none of them takes
    // memory or a lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// In a child: SIGHUP for it when the thread that started it ends. Makes system calls alone.
pub(crate) fn end_with(parent: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGHUP)?;
    match getppid() == parent {
        true => Ok(()),
        // It died before the line above: nobody would send the signal any more.
        false => Err(nix::errno::Errno::ESRCH),
    }
}

/// Whether a variable could send the agent's traffic or trust elsewhere, or load code into a child.
fn is_dangerous(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let name = name.to_ascii_uppercase();
    name.starts_with("SSL_")
        || name.starts_with("LD_")
        || name.starts_with("DYLD_")
        || name.starts_with("GLIBC_TUNABLES")
        || name.ends_with("_PROXY")
        || name == "SSLKEYLOGFILE"
}

/// # Safety
///
/// There is no second thread.
#[allow(unsafe_code)]
unsafe fn clear_environment() {
    let names: Vec<OsString> = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| is_dangerous(name))
        .collect();
    for name in names {
        // SAFETY: the caller vouches that there is no second thread.
        unsafe { std::env::remove_var(name) };
    }
}

/// One heap for all threads: each further one costs memory at rest and scatters freed pages.
#[allow(unsafe_code)]
fn few_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: plain integers in; the only effect is on allocations to come.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
        // Give back what a big answer or a key derivation took.
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, 256 * 1024);
    }
}

/// Closes what a careless parent left open: a pipe that the daemon held would keep its reader waiting.
/// Called first thing in a daemon, before it opens anything.
#[allow(unsafe_code)]
pub fn close_inherited() {
    // SAFETY: no descriptor above standard error belongs to anything in this process yet.
    unsafe {
        nix::libc::close_range(3, nix::libc::c_uint::MAX, 0);
    }
}

/// Gives back what start-up and slow work left in memory: free heap, and pages of program text, which come
/// back from the file when they are used again. An agent spends its life waiting; this is its size there.
///
/// Only pages that the kernel says are unchanged copies of a file, in mappings nobody may write.
#[allow(unsafe_code)]
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: trims free blocks only.
    unsafe {
        nix::libc::malloc_trim(0);
    }
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for (start, length) in clean_text(&maps) {
        // SAFETY: the range is a read-only private mapping of a file without a changed page, so reading it
        // again gives the same bytes; nothing in it can be changed meanwhile, because it is not writable.
        unsafe {
            nix::libc::madvise(start as *mut _, length, nix::libc::MADV_DONTNEED);
        }
    }
}

/// Start and length of the mappings in a `/proc/PID/smaps` that are of a file, private, not writable and unchanged.
fn clean_text(maps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    let mut clean = false;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        match first {
            // A changed page of a private mapping is an anonymous one, in memory or swapped out.
            "Anonymous:" | "Swap:" | "Locked:" => {
                clean &= words.next() == Some("0");
            }
            // The last line of a mapping.
            "VmFlags:" => found.extend(candidate.take().filter(|_| clean)),
            _ if !first.ends_with(':') => {
                let rights = words.next().unwrap_or_default();
                let of_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                clean = of_file && matches!(rights, "r-xp" | "r--p");
                candidate = range(first);
            }
            _ => {}
        }
    }
    found
}

fn range(text: &str) -> Option<(usize, usize)> {
    let (start, end) = text.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

/// The groups of the process at the other end, as the kernel noted them when it connected; none where it does not say.
#[allow(unsafe_code)]
#[cfg(target_os = "linux")]
pub fn peer_groups(socket: BorrowedFd<'_>) -> Vec<u32> {
    use nix::libc::{SO_PEERGROUPS, SOL_SOCKET, getsockopt, socklen_t};
    // More than that is nobody's; the kernel allows 65,536.
    let mut groups = vec![0_u32; 1024];
    let Ok(mut length) = socklen_t::try_from(size_of_val(groups.as_slice())) else {
        return Vec::new();
    };
    // SAFETY: the kernel writes at most `length` bytes into a buffer of that size, and how many into `length`.
    let done = unsafe {
        getsockopt(
            socket.as_raw_fd(),
            SOL_SOCKET,
            SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let written = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
    groups.truncate(if done == 0 { written } else { 0 });
    groups
}

fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(MAX_DESCRIPTORS).max(soft);
        // Fewer descriptors mean fewer connections, which the server counts; nothing to report.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_read_only_files_are_given_back() {
        let mapping = |rights: &str, path: &str, dirty: &str| {
            format!(
                "1000-3000 {rights} 00000000 fe:00 42 {path}\nRss: 8 kB\nAnonymous: {dirty} kB\n\
                 Swap: 0 kB\nVmFlags: rd ex\n"
            )
        };
        let one = vec![(0x1000, 0x2000)];
        assert_eq!(clean_text(&mapping("r-xp", "/bin/x", "0")), one);
        assert_eq!(clean_text(&mapping("r--p", "/bin/x", "0")), one);
        let none = Vec::new();
        assert_eq!(clean_text(&mapping("r--p", "/bin/x", "4")), none);
        assert_eq!(clean_text(&mapping("rw-p", "/bin/x", "0")), none);
        assert_eq!(clean_text(&mapping("r--s", "/bin/x", "0")), none);
        assert_eq!(clean_text(&mapping("r-xp", "[vdso]", "0")), none);
        let both = mapping("r-xp", "/bin/x", "0") + &mapping("rw-p", "", "0");
        assert_eq!(clean_text(&both), one);
    }

    #[test]
    fn a_process_goes_on_after_giving_back() {
        give_back_memory();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!clean_text(&maps).is_empty());
        give_back_memory();
    }

    #[test]
    fn dangerous_variables_are_known_in_either_case() {
        for name in [
            "SSL_CERT_FILE",
            "SSLKEYLOGFILE",
            "https_proxy",
            "ALL_PROXY",
            "NO_PROXY",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
        ] {
            assert!(is_dangerous(OsStr::new(name)), "{name}");
        }
        for name in ["AKM_HOME", "HOME", "PATH", "OLD_HOME", "PROXY_HOST"] {
            assert!(!is_dangerous(OsStr::new(name)), "{name}");
        }
    }
}
