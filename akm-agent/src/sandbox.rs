//! What the agent may still do once it serves: two lists, one of system calls and one of files, each line with its reason.
//!
//! *Calls* (seccomp) bind the whole process and what it starts, from before the first thread. It is a list of what is
//! refused: the agent starts programs that are not ours (the one that asks a person, a command that carries backups away), so a
//! list of what is allowed would have to be theirs as well. Refused means `EPERM`, not a kill: such a program may try and go on.
//!
//! *Files* (Landlock) bind a thread and what it starts. Two ways:
//!
//! * An agent for its own user ([`Bounds::own_user`] is false): only the threads that speak with providers
//!   ([`alone_with_a_provider`]), which may read what names and certificates need, and write nothing. The rest is left
//!   free on purpose: a process under Landlock cannot look at one that is not (`/proc/PID/exe`, measured: `EACCES` even for
//!   root), so it could not say who asks; and programs of the user's own would inherit the bounds. Threads share their memory:
//!   this stops mistakes (a path from an answer that is opened), not code that runs in the agent.
//! * An agent as a user of its own (`agent.group`): the whole process, after the vault is opened. It could not look at
//!   other users' processes anyway. Whatever takes it over reads its own files and the system's, and writes its own directories
//!   and `agent.paths`. That is where a backup command writes to that leaves them.
//!
//! A kernel that lacks one of them is no reason not to start; [`confine`] says what was taken, `akm doctor` measures it on a child.

mod calls;
mod files;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use calls::deny as deny_calls;
pub use files::Held;

/// Which files stay open to the agent.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Whether it runs as a user of its own, so that all of it is bound.
    pub own_user: bool,
    /// Directories of its own: vault, state, backups, socket, and those of the configuration.
    pub write: Vec<PathBuf>,
    /// Files of the configuration beside the system's: certificates.
    pub read: Vec<PathBuf>,
}

/// What threads that speak with providers may read beside the system's files.
static CERTIFICATES: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Binds this thread and what it starts, where the agent runs as a user of its own, and notes what the threads for
/// providers may read. Says what of it the kernel took; `None` where only those threads are bound.
pub fn confine(bounds: &Bounds) -> Option<Held> {
    let _ = CERTIFICATES.set(bounds.read.clone());
    bounds.own_user.then(|| {
        let mut write: Vec<&Path> = bounds.write.iter().map(PathBuf::as_path).collect();
        write.extend(files::DEVICES.iter().map(Path::new));
        let program = crate::daemon::this_program();
        let mut read: Vec<&Path> = files::SYSTEM.iter().map(Path::new).collect();
        read.extend(bounds.read.iter().map(PathBuf::as_path));
        // To run itself again.
        read.push(&program);
        files::only(&read, &write)
    })
}

/// For a thread that does nothing but ask a provider: afterwards it reads what that needs and writes nothing.
pub fn alone_with_a_provider() {
    let mut read: Vec<&Path> = files::SYSTEM.iter().map(Path::new).collect();
    read.extend(
        CERTIFICATES
            .get()
            .into_iter()
            .flatten()
            .map(PathBuf::as_path),
    );
    // A kernel without it is told of at the start.
    let _ = files::only(&read, &[]);
}

/// What this kernel takes of either list, tried on this very process, which cannot go on as before: for a child.
pub fn try_here() -> (bool, Held) {
    let calls = deny_calls();
    (
        calls,
        files::only(&[Path::new("/usr"), Path::new("/proc")], &[]),
    )
}

#[cfg(test)]
mod tests;
