//! A backup from elsewhere, on its way into the backup directory, where the agent finds it.
//!
//! Invariants: only a regular file is copied, as long as it was when it was opened and no longer than there is room for; under a
//! backup's name stands only what was copied whole and is on the disk; the copy is removed when it is not
//! needed any more, which is also after a restore: the vault is that content then, and the file elsewhere is where it was.
//! What a command that was killed left under an unfinished name, the next one removes: nobody holds its lock.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use akm_core::Kind;
use akm_core::error::Error;
use akm_core::paths::ensure_dir;
use akm_core::regular::{self, Links};
use jiff::Timestamp;

use crate::cli::output::Result;
use crate::cli::progress::Progress;

/// How the names of copies begin and, until they are whole, end.
const PREFIX: &str = "from-elsewhere-";
const PARTIAL: &str = ".partial";
/// Copied at a time.
const CHUNK: usize = 1024 * 1024;
/// No vault is shorter.
const MIN: u64 = 512;

/// A file elsewhere that may be a backup.
pub(super) struct Elsewhere {
    file: File,
    length: u64,
}

/// A copy of it in the backup directory; removed when dropped.
pub(super) struct Guest {
    directory: PathBuf,
    name: String,
}

impl Elsewhere {
    /// Errors: `invalid_input` for what cannot be a backup, `not_found`, `io`.
    pub(super) fn open(path: &Path) -> Result<Elsewhere> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if fs::metadata(log).is_ok_and(|meta| meta.len() > 0) {
            return Err(Error::new(
                Kind::InvalidInput,
                "the file has a log beside it: it is a vault in use, or was not closed",
            )
            .with_hint("open it once with AKM_VAULT, or take a backup that akm made")
            .into());
        }
        let file = regular::open(path, Links::Follow)?.ok_or_else(|| {
            Error::new(Kind::NotFound, "there is no such file").with_hint("check the path")
        })?;
        let length = file.metadata().map_err(io)?.len();
        if length < MIN {
            return Err(Error::new(Kind::InvalidInput, "the file is not a backup").into());
        }
        Ok(Elsewhere { file, length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Copies it into `directory`, under a name of its own.
    pub(super) fn bring(self, directory: PathBuf, bar: &Progress) -> Result<Guest> {
        ensure_dir(&directory)?;
        sweep(&directory);
        let room = nix::sys::statvfs::statvfs(&directory).map_err(|errno| io(errno.into()))?;
        let room = (room.blocks_available() as u64).saturating_mul(room.fragment_size() as u64);
        if self.length > room {
            return Err(Error::new(Kind::Io, "no space is left on the device").into());
        }
        let name = format!("{PREFIX}{}.backup", Timestamp::now().as_millisecond());
        let draft = Guest {
            name: format!(".{name}{PARTIAL}"),
            directory,
        };
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(draft.path())
            .map_err(io)?;
        // Held until it has its name, so that nobody takes it for one that was left.
        to.lock().map_err(io)?;
        let mut from = self.file.take(self.length.saturating_add(1));
        let mut chunk = vec![0; CHUNK];
        let mut done: u64 = 0;
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io(error).into()),
            };
            done += count as u64;
            if done > self.length {
                break;
            }
            to.write_all(&chunk[..count]).map_err(io)?;
            bar.at(done, self.length);
        }
        if done != self.length {
            return Err(Error::new(Kind::Conflict, "the file changed while it was copied").into());
        }
        to.sync_all().map_err(io)?;
        let guest = Guest {
            directory: draft.directory.clone(),
            name,
        };
        fs::rename(draft.path(), guest.path()).map_err(io)?;
        File::open(&guest.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io)?;
        Ok(guest)
    }
}

impl Guest {
    /// As the agent knows it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Of a draft that got its name there is nothing left; one that cannot be removed is listed.
        let _ = fs::remove_file(self.path());
    }
}

/// Removes what commands that were killed left. That something could not be removed matters to nobody here.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| {
            name.strip_prefix('.')
                .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(PARTIAL))
        });
        if !ours {
            continue;
        }
        if let Ok(Some(left)) = regular::open(&entry.path(), Links::Refuse)
            && left.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn io(error: std::io::Error) -> Error {
    Error::from_io(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_stands_whole_under_its_name_goes_when_done_and_what_a_killed_one_left_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let (source, directory) = (home.path().join("old.backup"), home.path().join("backups"));
        fs::write(&source, vec![7; 3 * CHUNK / 2]).unwrap();
        fs::create_dir(&directory).unwrap();
        let left = ".from-elsewhere-1.backup.partial";
        let held = ".from-elsewhere-2.backup.partial";
        let others = ".vault-01020304-20270115T080000Z.backup.partial";
        for name in [left, held, others] {
            fs::write(directory.join(name), b"half").unwrap();
        }
        let lock = File::open(directory.join(held)).unwrap();
        lock.lock().unwrap();
        let elsewhere = Elsewhere::open(&source).unwrap_or_else(|_| panic!("a regular file"));
        let bar = Progress::hidden();
        let guest = elsewhere.bring(directory.clone(), &bar);
        let guest = guest.unwrap_or_else(|_| panic!("there is room"));
        assert_eq!(bar.done(), 3 * CHUNK as u64 / 2);
        assert_eq!(fs::read(guest.path()).unwrap(), fs::read(&source).unwrap());
        assert_eq!(names(&directory), [held, others, guest.name()]);
        drop(guest);
        assert_eq!(names(&directory), [held, others]);
    }

    #[test]
    fn a_file_that_grows_or_shrinks_meanwhile_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (source, directory) = (home.path().join("old.backup"), home.path().join("backups"));
        for length in [100, 5000] {
            fs::write(&source, vec![7; 1000]).unwrap();
            let elsewhere = Elsewhere::open(&source).unwrap_or_else(|_| panic!("a regular file"));
            fs::write(&source, vec![7; length]).unwrap();
            assert!(
                elsewhere
                    .bring(directory.clone(), &Progress::hidden())
                    .is_err()
            );
            assert_eq!(names(&directory), [""; 0]);
        }
    }
}
