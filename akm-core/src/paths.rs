//! Where akm's files are, which environment variables are believed, and how its directories are made.
//!
//! Invariants: a variable that names a place counts only where the directory is owned by the effective
//! user and not writable by others (`sudo -E` must not make root work in a user's directory, nor a
//! planted variable move a vault into `/tmp`). The user's own words (`AKM_*`) are refused when they
//! fail this rule, because quietly using another vault would be worse; `HOME` and `XDG_*` are common to
//! every program and are passed over. Directories are made 0700 in one step; an owned one that others
//! may read is tightened; one that others may write, or that is not ours, or a symlink, is refused.
//!
//! Deliberately absent: `TMPDIR` (whoever sets it would move the socket), and creating files: the rooms
//! that own a file create it 0600 themselves.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Longest path of a Unix socket in bytes: `sockaddr_un` has 108 with the terminating zero.
pub const MAX_SOCKET_PATH: usize = 107;

/// Every place that akm uses. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The vault file.
    pub vault: PathBuf,
    /// The audit journal, beside the vault.
    pub journal: PathBuf,
    /// The configuration file; it need not exist.
    pub config: PathBuf,
    /// The agent's socket.
    pub socket: PathBuf,
    /// The state directory: host key, epoch anchor, the agent's log.
    pub state: PathBuf,
    /// Where backups are put.
    pub backups: PathBuf,
}

/// The audit journal of a vault: `audit.journal` beside `vault.db`; beside a vault of another name one that has that
/// name in it, so that two vaults in one directory never share a journal.
pub fn journal_beside(vault: &Path) -> PathBuf {
    match vault.file_name().and_then(|name| name.to_str()) {
        Some("vault.db") | None => vault.with_file_name("audit.journal"),
        Some(name) => vault.with_file_name(format!("{name}.audit.journal")),
    }
}

/// Where a catalogue of models is that replaces the built-in one: beside the vault.
pub fn models_beside(vault: &Path) -> PathBuf {
    vault.with_file_name("models.json")
}

impl Places {
    /// The places of this process: its environment, its effective user.
    ///
    /// Errors: `denied` if an `AKM_*` variable points into a directory that is not the user's own,
    /// `invalid_input` if `AKM_AGENT_SOCK` is longer than [`MAX_SOCKET_PATH`], `io` if no home directory is known.
    pub fn from_env() -> Result<Places> {
        Environment::process().places()
    }

    /// Only the agent's socket, without looking for a home directory. Same rules and errors.
    pub fn socket_from_env() -> Result<PathBuf> {
        Environment::process().socket()
    }
}

/// What decides the places; injected by tests.
struct Environment<'a> {
    get: &'a dyn Fn(&str) -> Option<OsString>,
    euid: u32,
    /// The home directory of the user database.
    passwd_home: &'a dyn Fn() -> Option<PathBuf>,
    /// Where the socket goes without a runtime directory.
    fallback: PathBuf,
}

impl Environment<'_> {
    fn process() -> Environment<'static> {
        let euid = nix::unistd::geteuid();
        Environment {
            get: &|name| std::env::var_os(name),
            euid: euid.as_raw(),
            passwd_home: &|| {
                nix::unistd::User::from_uid(nix::unistd::geteuid())
                    .ok()
                    .flatten()
                    .map(|user| user.dir)
            },
            fallback: PathBuf::from(format!("/tmp/akm-{euid}")),
        }
    }

    fn places(&self) -> Result<Places> {
        let (vault, config, state, backups) = match self.akm_home()? {
            Some(home) => (
                home.join("vault.db"),
                home.join("config.toml"),
                home.join("state"),
                home.join("backups"),
            ),
            None => {
                let state = self.xdg("XDG_STATE_HOME", ".local/state")?.join("akm");
                (
                    self.xdg("XDG_DATA_HOME", ".local/share")?
                        .join("akm/vault.db"),
                    self.xdg("XDG_CONFIG_HOME", ".config")?
                        .join("akm/config.toml"),
                    state.clone(),
                    state.join("backups"),
                )
            }
        };
        let vault = self.file_variable("AKM_VAULT")?.unwrap_or(vault);
        Ok(Places {
            journal: journal_beside(&vault),
            vault,
            config: self.file_variable("AKM_CONFIG")?.unwrap_or(config),
            socket: self.socket()?,
            state,
            backups,
        })
    }

    fn socket(&self) -> Result<PathBuf> {
        if let Some(path) = self.file_variable("AKM_AGENT_SOCK")? {
            if path.as_os_str().len() > MAX_SOCKET_PATH {
                return Err(Error::new(
                    Kind::InvalidInput,
                    "AKM_AGENT_SOCK is too long for a socket, 107 bytes at most",
                ));
            }
            return Ok(path);
        }
        let Some(home) = self.akm_home()? else {
            return Ok(self.runtime_dir("agent.sock".len()).join("agent.sock"));
        };
        let path = home.join("agent.sock");
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(path);
        }
        // Two homes with one hash would meet on one socket: the agent that has it keeps it, the other
        // fails to bind, so a collision is a refusal and never a mix-up.
        let name = format!("agent-{:016x}.sock", fnv1a(home.as_os_str().as_bytes()));
        Ok(self.runtime_dir(name.len()).join(name))
    }

    fn akm_home(&self) -> Result<Option<PathBuf>> {
        let Some(home) = self.variable("AKM_HOME")? else {
            return Ok(None);
        };
        match std::fs::symlink_metadata(&home) {
            Ok(meta) if self.is_own_dir(&meta) => Ok(Some(home)),
            // Whoever can put another link there would move the vault.
            Ok(meta) if meta.is_symlink() => {
                Err(Error::new(Kind::Denied, "AKM_HOME is a symbolic link")
                    .with_hint("set AKM_HOME to the directory itself"))
            }
            Ok(_) => {
                Err(denied("AKM_HOME is not a directory of this user alone")
                    .with_hint(alone(&home)))
            }
            // It is made when it is needed, by `ensure_dir`, which checks the directories above it.
            Err(error) if is_absent(&error) => Ok(Some(home)),
            Err(error) => Err(Error::from_io(&error)),
        }
    }

    /// A variable that names a file. The directory may be root's: a system's configuration and socket are.
    fn file_variable(&self, name: &str) -> Result<Option<PathBuf>> {
        let Some(path) = self.variable(name)? else {
            return Ok(None);
        };
        let (Some(dir), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(
                Kind::InvalidInput,
                "a path variable of akm names no file",
            ));
        };
        match std::fs::metadata(dir) {
            Ok(meta)
                if self.is_own_dir(&meta)
                    || (name != "AKM_VAULT" && meta.uid() == 0 && meta.mode() & 0o022 == 0) =>
            {
                Ok(Some(path))
            }
            Ok(_) => Err(denied(match name {
                "AKM_VAULT" => "AKM_VAULT lies in a directory that is not of this user alone",
                "AKM_CONFIG" => "AKM_CONFIG lies in a directory that is not of this user alone",
                _ => "AKM_AGENT_SOCK lies in a directory that is not of this user alone",
            })
            .with_hint(alone(dir))),
            Err(error) if is_absent(&error) => Ok(Some(path)),
            Err(error) => Err(Error::from_io(&error)),
        }
    }

    fn xdg(&self, name: &str, below_home: &str) -> Result<PathBuf> {
        match self.common_dir(name) {
            Some(dir) => Ok(dir),
            None => Ok(self.home()?.join(below_home)),
        }
    }

    fn home(&self) -> Result<PathBuf> {
        if let Some(home) = self.common_dir("HOME") {
            return Ok(home);
        }
        (self.passwd_home)()
            .filter(|home| home.is_absolute())
            .ok_or_else(|| {
                Error::new(Kind::Io, "no home directory is known for this user")
                    .with_hint("set AKM_HOME to a directory of your own")
            })
    }

    fn runtime_dir(&self, name_len: usize) -> PathBuf {
        self.common_dir("XDG_RUNTIME_DIR")
            .map(|dir| dir.join("akm"))
            .filter(|dir| dir.as_os_str().len() + 1 + name_len <= MAX_SOCKET_PATH)
            .unwrap_or_else(|| self.fallback.clone())
    }

    /// `HOME` or `XDG_*`: believed if absolute and, where it exists, of this user alone.
    fn common_dir(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from((self.get)(name).filter(|value| !value.is_empty())?);
        if !path.is_absolute() {
            return None;
        }
        match std::fs::metadata(&path) {
            Ok(meta) => self.is_own_dir(&meta).then_some(path),
            // A home that does not exist tells nothing about its owner; a data directory in one's own home may be made.
            Err(error) => (is_absent(&error)
                && name != "HOME"
                && name != "XDG_RUNTIME_DIR"
                && nearest_existing(&path).is_some_and(|meta| self.is_own_dir(&meta)))
            .then_some(path),
        }
    }

    fn variable(&self, name: &str) -> Result<Option<PathBuf>> {
        match (self.get)(name) {
            Some(value) if !value.is_empty() => absolute(&value).map(Some),
            _ => Ok(None),
        }
    }

    fn is_own_dir(&self, meta: &Metadata) -> bool {
        meta.is_dir() && meta.uid() == self.euid && meta.mode() & 0o022 == 0
    }
}

/// Makes a directory of this user alone, with those above it, or tightens one that is there.
///
/// Errors: `denied` for a symlink, another owner, or one that others may write, here or above (a sticky
/// directory such as `/tmp` is fine above); `io` if the system refuses.
pub fn ensure_dir(path: &Path) -> Result<()> {
    settle_dir(path, true)
}

/// As [`ensure_dir`] for a directory that the user named and that may serve other purposes (`/run`, a
/// home): one that is there is checked and keeps its mode.
///
/// Errors: as [`ensure_dir`].
pub fn accept_dir(path: &Path) -> Result<()> {
    settle_dir(path, false)
}

fn settle_dir(path: &Path, tighten: bool) -> Result<()> {
    let euid = nix::unistd::geteuid().as_raw();
    let path = absolute(path.as_os_str())?;
    if let Some(parent) = path.parent() {
        make_parents(parent)?;
        check_parents(parent, euid)?;
    }
    match DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::from_io(&error)),
    }
    // Opened without following a link, then judged by the descriptor: what is checked is what is changed.
    let dir = open_dir(&path)?;
    let meta = dir.metadata().map_err(|error| Error::from_io(&error))?;
    if meta.uid() != euid {
        return Err(denied("a directory of akm belongs to another user").with_hint(alone(&path)));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(
            denied("a directory of akm can be written by others").with_hint(format!(
                "others may have put files there: look, then remove it or take the right away with chmod go-w {}",
                path.display()
            )),
        );
    }
    if tighten && meta.mode() & 0o7777 != 0o700 {
        dir.set_permissions(Permissions::from_mode(0o700))
            .map_err(|error| Error::from_io(&error))?;
    }
    Ok(())
}

fn open_dir(path: &Path) -> Result<File> {
    use nix::libc::{ELOOP, ENOTDIR, O_DIRECTORY, O_NOFOLLOW};
    OpenOptions::new()
        .read(true)
        .custom_flags(O_DIRECTORY | O_NOFOLLOW)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(ELOOP | ENOTDIR) => {
                denied("a directory of akm is a symlink or a file").with_hint(format!(
                    "see what it is with ls -ld {}, and move it away: akm makes the directory",
                    path.display()
                ))
            }
            _ => Error::from_io(&error),
        })
}

fn make_parents(parent: &Path) -> Result<()> {
    if parent.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|error| Error::from_io(&error))
}

/// Whoever can write a directory above ours can put another in its place. Root and this user may; others
/// only in a sticky directory, where they cannot touch what is ours.
fn check_parents(parent: &Path, euid: u32) -> Result<()> {
    let own_group = nix::unistd::getegid().as_raw();
    let trusted = |meta: &Metadata| meta.uid() == euid || meta.uid() == 0;
    // The links on the way first: whoever owns a link decides where it goes.
    for part in parent.ancestors() {
        let meta = std::fs::symlink_metadata(part).map_err(|error| Error::from_io(&error))?;
        if meta.is_symlink() && !trusted(&meta) {
            return Err(
                denied("a link on the way to a directory of akm belongs to another user")
                    .with_hint(format!("see whose it is with ls -ld {}", part.display())),
            );
        }
    }
    let real = parent
        .canonicalize()
        .map_err(|error| Error::from_io(&error))?;
    for part in real.ancestors() {
        let meta = std::fs::symlink_metadata(part).map_err(|error| Error::from_io(&error))?;
        // Many systems give each user a group of its own and a umask of 002.
        let loose = if meta.gid() == own_group && meta.uid() == euid {
            0o002
        } else {
            0o022
        };
        let sticky = meta.mode() & 0o1000 != 0;
        if !trusted(&meta) || (meta.mode() & loose != 0 && !sticky) {
            return Err(
                denied("a directory above one of akm's can be changed by others")
                    .with_hint(alone(part)),
            );
        }
    }
    Ok(())
}

fn nearest_existing(path: &Path) -> Option<Metadata> {
    path.ancestors()
        .find_map(|part| std::fs::metadata(part).ok())
}

/// Absolute and without `..`, so that a check of a path's parents is a check of the path.
fn absolute(path: &OsStr) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|error| Error::from_io(&error))?;
    if path
        .components()
        .any(|part| matches!(part, Component::ParentDir))
    {
        return Err(Error::new(Kind::InvalidInput, "a path of akm has .. in it"));
    }
    Ok(path)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

const fn denied(message: &'static str) -> Error {
    Error::new(Kind::Denied, message)
}

/// How a directory is made one of this user alone.
fn alone(dir: &Path) -> String {
    format!(
        "see it with ls -ld {}: a directory, your own, that no one else may write (chmod go-w)",
        dir.display()
    )
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): names a file, protects nothing.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
