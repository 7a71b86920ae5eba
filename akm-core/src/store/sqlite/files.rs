//! The vault's files before SQLite touches them: ownership, kind, modes, and the lock beside them.
//!
//! Invariants: nothing is followed, nothing foreign is opened, nothing shared by a hard link is opened
//! (a planted `vault.db -> /etc/passwd` or a link to somebody's file would be written into); every file
//! is 0600 whatever the umask; the lock is held before the first look at the vault and until the last
//! connection is closed. The lock is a file of its own because closing any descriptor of the database
//! drops SQLite's POSIX locks on it; for the same reason the checks here close theirs before SQLite
//! opens its own.
//!
//! Deliberately absent: checking the directory. Its owner and mode are the caller's to check, and they
//! are what makes the time between this check and SQLite's `open` harmless.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::connection::immutable;
use super::schema;
use crate::error::{Error, Kind, Result};
use crate::regular::{self, Links};

/// SQLite's smallest page in bytes: no database is shorter.
const MIN_DATABASE: u64 = 512;
/// What a vault is before its first transaction: one page with a header, in bytes.
const FIRST_PAGE: u64 = 4096;
/// How every SQLite database begins; the length of that beginning in bytes; and where in it a program puts its mark.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
pub(super) const HEADER: usize = 100;
const MARK: usize = 68;

/// A vault's files, checked, and the right to be the only one who opens them.
pub(super) struct Claim {
    /// The database, absolute and without a symbolic link in it.
    pub(super) path: PathBuf,
    /// The lock file. Closing it releases the lock; a child that inherited it by `fork` keeps it
    /// taken, where an explicit unlock in that child would have freed the parent's.
    pub(super) lock: File,
    /// Where the vault is now that a restored one took the place of.
    pub(super) replaced: Option<PathBuf>,
    /// Whether there is a log with something in it: the vault was not closed.
    pub(super) logged: bool,
}

/// What a restored vault is called until the vault is opened next.
const RESTORED: &str = ".restored";
/// Most vaults that restores left behind; more of them are for their owner to remove.
const MAX_REPLACED: u32 = 1000;

/// Takes the lock, checks every file of the vault, and creates the database empty if there is none.
pub(super) fn claim(path: &Path) -> Result<Claim> {
    let (directory, path) = resolve(path)?;
    look_first(&path)?;
    let lock = take_lock(&beside(&path, ".lock"))?;
    let replaced = complete_restore(&directory, &path)?;

    let (length, created) = match open_if(&path, false, check_ours)? {
        Some(file) => (file.metadata()?.len(), false),
        None => {
            open_private(&path, true)?;
            (0, true)
        }
    };
    if (1..MIN_DATABASE).contains(&length) {
        return Err(Error::corrupt("the file is not a vault"));
    }
    let mut logged = false;
    for suffix in ["-wal", "-shm", "-journal"] {
        let Some(file) = open_private(&beside(&path, suffix), false)? else {
            continue;
        };
        let filled = file.metadata()?.len() > 0;
        match suffix {
            // SQLite deletes the log of an empty database. Commits that were acknowledged are in it.
            "-wal" if filled && length == 0 => {
                return Err(Error::corrupt("the vault is empty but its log is not"));
            }
            "-wal" => logged = filled,
            // SQLite would play it back over the vault. akm has one only while it creates the first page.
            "-journal" if filled && length > FIRST_PAGE => {
                return Err(Error::corrupt(
                    "a rollback journal that is not akm's lies beside the vault",
                ));
            }
            _ => {}
        }
    }
    if created {
        // The name must be durable before anything in the file is acknowledged.
        File::open(directory)?.sync_all()?;
    }
    Ok(Claim {
        path,
        lock,
        replaced,
        logged,
    })
}

/// Whether what lies at `path`, if anything does, can be a vault of this user, before anything is made beside it: whoever
/// names another program's file by mistake must find everything as it was.
///
/// Not asked where a lock lies beside it: akm was here before, and closing the file would drop the locks of a connection
/// that this process may have. Nor where a restored vault waits: that takes the place of whatever this is.
pub(super) fn look_first(path: &Path) -> Result<()> {
    let is_there = |suffix| std::fs::symlink_metadata(beside(path, suffix)).is_ok();
    if is_there(".lock") || is_there(RESTORED) {
        return Ok(());
    }
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        // Nothing there; or what refuses to be looked at, which the opening says.
        return Ok(());
    };
    judge(&meta, path)?;
    if meta.len() == 0 {
        return Ok(());
    }
    let Some(file) = regular::open(path, Links::Refuse)? else {
        return Ok(());
    };
    check_ours(&file)?;
    // A database of one page has room for what is another program's and has no mark.
    match meta.len() <= FIRST_PAGE && !is_there("-wal") && !is_there("-journal") {
        true => schema::recognise(&immutable(path)?),
        false => Ok(()),
    }
}

/// Completes a restore: the vault goes aside with what belongs to it, the restored one takes its name. It can be cut off
/// anywhere and done again: as long as the restored file has its own name, the vault is not opened without this.
fn complete_restore(directory: &Path, path: &Path) -> Result<Option<PathBuf>> {
    let restored = beside(path, RESTORED);
    if open_private(&restored, false)?.is_none() {
        return Ok(None);
    }
    let sync = || File::open(directory)?.sync_all().map_err(Error::from);
    let mut free = (1..=MAX_REPLACED).map(|number| beside(path, &format!(".replaced-{number}")));
    let aside = free
        .find(|aside| std::fs::symlink_metadata(aside).is_err())
        .ok_or_else(|| {
            Error::new(Kind::Io, "there are too many replaced vaults")
                .with_hint("remove old .replaced files beside the vault")
        })?;
    let moved = |from: &Path, to: &Path| match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::from(error)),
    };
    // Its log first: the vault may not have been closed, and is nothing without it.
    for suffix in ["-wal", "-journal"] {
        moved(&beside(path, suffix), &beside(&aside, suffix))?;
    }
    let kept = moved(path, &aside)?;
    match std::fs::remove_file(beside(path, "-shm")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    sync()?;
    moved(&restored, path)?;
    sync()?;
    Ok(kept.then_some(aside))
}

/// What a restored vault is called until the vault at `path` is opened next.
pub(super) fn restored_name(path: &Path) -> PathBuf {
    beside(path, RESTORED)
}

/// Which files a name led to.
#[derive(PartialEq, Eq)]
pub(super) struct Identity([Option<(u64, u64)>; 2]);

impl Identity {
    /// Of the database at `path` and its log.
    pub(super) fn of(path: &Path) -> Identity {
        Identity([path.to_owned(), beside(path, "-wal")].map(|path| {
            let meta = std::fs::symlink_metadata(path).ok()?;
            Some((meta.dev(), meta.ino()))
        }))
    }
}

/// The parent with every symbolic link resolved (the caller checked it), and the file in it as named:
/// SQLite's own no-follow flag refuses links anywhere in a path. Absolute, so that no name begins with
/// `file:`, which SQLite would read as a URI.
pub(super) fn resolve(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let path = std::path::absolute(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("the vault's path names no file"));
    };
    let parent = parent.canonicalize()?;
    let file = parent.join(name);
    Ok((parent, file))
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(OsStr::new(suffix));
    PathBuf::from(name)
}

/// How long a lock that somebody holds is tried again. A process that is being started holds a copy of each until it runs its
/// program, `akm doctor` one while it begins to read, and neither has the vault open.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn take_lock(path: &Path) -> Result<File> {
    let Some(file) = open_private(path, true)? else {
        return Err(Error::internal("a file that was created does not exist"));
    };
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Conflict, "the vault is in use")
                    .with_hint("another process holds this vault; go through its agent"));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Opens a regular file of this user that no other name leads to, 0600 from here on.
/// `None` if there is none and `create` is false.
pub(crate) fn open_private(path: &Path, create: bool) -> Result<Option<File>> {
    open_if(path, create, |_| Ok(()))
}

/// Whether a database with a looser mode can be akm's, before that is changed: whoever names another program's file by
/// mistake must find it as it was.
fn check_ours(file: &File) -> Result<()> {
    let mut header = [0; HEADER];
    let filled = file.read_at(&mut header, 0)?;
    let length = file.metadata()?.len();
    // SQLite would take a file of one byte for an empty one, and write over it.
    if filled > 0 && !header.starts_with(MAGIC) || (1..MIN_DATABASE).contains(&length) {
        return Err(Error::corrupt("the file is not a vault"));
    }
    let marked = header[MARK..].starts_with(&schema::APPLICATION_ID.to_be_bytes());
    // The mark comes with the first transaction.
    match marked || length <= FIRST_PAGE {
        true => Ok(()),
        false => Err(schema::foreign()),
    }
}

/// As [`open_private`]; a file that does not pass the check keeps its mode.
fn open_if(
    path: &Path,
    create: bool,
    check: impl FnOnce(&File) -> Result<()>,
) -> Result<Option<File>> {
    // Non-blocking: a planted FIFO must not hold the agent up.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT) if !create => Ok(None),
                Some(Errno::ELOOP) => Err(is_link(path)),
                Some(Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => Err(is_irregular(path)),
                _ => Err(error.into()),
            };
        }
    };
    let meta = file.metadata()?;
    judge(&meta, path)?;
    let mode = meta.mode() & 0o7777;
    if mode != 0o600 {
        check(&file)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(Some(file))
}

/// Whose a file is and who may write it, as far as that says whether it is touched at all.
fn judge(meta: &Metadata, path: &Path) -> Result<()> {
    if meta.is_symlink() {
        return Err(is_link(path));
    }
    if !meta.is_file() {
        return Err(is_irregular(path));
    }
    let shown = path.display();
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refused("a file of the vault belongs to another user")
            .with_hint(format!("see who it is with ls -l {shown}")));
    }
    if meta.nlink() != 1 {
        return Err(
            refused("a file of the vault has a second hard link").with_hint(format!(
                "if its content can be trusted, put a copy of it in its place: cp {shown} {shown}.copy && mv {shown}.copy {shown}"
            )),
        );
    }
    if meta.mode() & 0o022 != 0 {
        return Err(
            refused("a file of the vault is writable by other users").with_hint(format!(
                "if its content can be trusted, take that right away with chmod 600 {shown}"
            )),
        );
    }
    Ok(())
}

fn is_link(path: &Path) -> Error {
    refused("a file of the vault is a symbolic link").with_hint(format!(
        "see where it leads with ls -l {}, and name that file or move it here",
        path.display()
    ))
}

fn is_irregular(path: &Path) -> Error {
    refused("a file of the vault is not a regular file").with_hint(format!(
        "see what it is with ls -ld {}, and move it away",
        path.display()
    ))
}

fn refused(message: &'static str) -> Error {
    Error::new(Kind::Denied, message)
}
