//! The backup directory: what its files are called, which there are, which are kept, and how a file gets its name.
//!
//! Invariants: the directory is 0700 and every file 0600; a file stands under a backup's name only when it is
//! complete, checked and on the disk ([`Draft::publish`]: file flushed, renamed, directory flushed); what an
//! interrupted attempt left has another name (`.partial`) and is removed by the next attempt; a backup that was just
//! made is not removed to make room.
//!
//! What is in a file is the store's business. Deliberately absent: following a path that a request names. A
//! request names a file of this directory, and nothing else can be opened through it.

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Kind, Result};
use crate::paths::ensure_dir;
use crate::protocol::MAX_PAGE;
use crate::store::Id;

pub mod schedule;

/// How a backup's name ends.
pub const SUFFIX: &str = ".backup";
/// How the name of an unfinished one ends. It begins with a dot, which no backup's name does.
const PARTIAL: &str = ".partial";
/// Longest name in bytes.
const MAX_NAME: usize = 128;
/// Time within a name, UTC: sorts as times do.
const TIME: &str = "%Y%m%dT%H%M%S";
/// Most backups of one vault within one second.
const MAX_TWINS: u32 = 100;

/// A backup directory and the vault whose backups are made in it.
pub struct Directory {
    path: PathBuf,
    vault: Id,
}

/// A backup in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its file name.
    pub name: String,
    /// From its name, else when it was written last; Unix milliseconds.
    pub created_at: i64,
    /// Its size.
    pub bytes: u64,
    /// Whether its name says that it is of this vault.
    pub own: bool,
}

impl Directory {
    /// The directory at `path` for backups of `vault`. It need not exist.
    pub fn new(path: PathBuf, vault: Id) -> Directory {
        Directory { path, vault }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The backups, newest first; at most a thousand. Where there are more, those of this vault come before others'.
    pub fn list(&self) -> Result<Vec<Found>> {
        const MOST: usize = MAX_PAGE as usize;
        let mut found = self.all()?;
        let mut own = found.iter().filter(|found| found.own).count().min(MOST);
        let mut others = MOST - own;
        found.retain(|found| {
            let left = if found.own { &mut own } else { &mut others };
            let fits = *left > 0;
            *left -= usize::from(fits);
            fits
        });
        Ok(found)
    }

    /// The backups of this vault, newest first, however many there are.
    pub fn own(&self) -> Result<Vec<Found>> {
        let mut found = self.all()?;
        found.retain(|found| found.own);
        Ok(found)
    }

    fn all(&self) -> Result<Vec<Found>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if check_name(&name).is_err() {
                continue;
            }
            let meta = match entry.metadata() {
                Ok(meta) if meta.is_file() => meta,
                Ok(_) => continue,
                // One that was removed while we looked.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let own = name.starts_with(&self.prefix());
            let created_at = time_in(&name).unwrap_or(meta.mtime().saturating_mul(1000));
            found.push(Found {
                name,
                created_at,
                bytes: meta.len(),
                own,
            });
        }
        // Twins are numbered; in a name the number would come before the suffix of the first.
        let stem = |found: &Found| found.name.strip_suffix(SUFFIX).map(str::to_owned);
        found.sort_by_cached_key(|found| Reverse((found.created_at, stem(found))));
        Ok(found)
    }

    /// The path of a backup by name: a regular file of this user that nobody else may write.
    ///
    /// Errors: `invalid_input` for a name that cannot be one, `not_found`, `denied`; all name the field.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        let path = self.path.join(name);
        let meta = match fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, "there is no such backup")
                    .with_field("name")
                    .with_hint("akm backup list shows what there is"));
            }
            Err(error) => return Err(error.into()),
        };
        let ours = meta.is_file()
            && meta.uid() == nix::unistd::geteuid().as_raw()
            && meta.mode() & 0o022 == 0
            && meta.nlink() == 1;
        if !ours {
            return Err(
                Error::new(Kind::Denied, "the backup is not a file of this user alone")
                    .with_field("name"),
            );
        }
        Ok(path)
    }

    /// An empty private file to write a backup into. What an earlier attempt of this vault left is removed.
    pub fn draft(&self, now: Timestamp) -> Result<Draft> {
        ensure_dir(&self.path)?;
        self.sweep()?;
        let name = self.free_name(now)?;
        let path = self.path.join(format!(".{name}{PARTIAL}"));
        private(&path)?;
        Ok(Draft {
            directory: self.path.clone(),
            name,
            path,
            published: false,
        })
    }

    /// Removes this vault's backups past the newest `keep` and those made before `oldest` (Unix milliseconds),
    /// but none of those named, the first of which was made just now: by a clock that was set back it looks old. Returns the names.
    pub fn prune(
        &self,
        spared: &[&[u8]],
        keep: Option<u32>,
        oldest: Option<i64>,
    ) -> Result<Vec<String>> {
        let own = self.own()?.into_iter();
        let others = own.filter(|found| !spared.contains(&found.name.as_bytes()));
        let mut removed = Vec::new();
        for (index, found) in others.enumerate() {
            let beyond = keep.is_some_and(|keep| index + 1 >= keep as usize);
            let old = oldest.is_some_and(|oldest| found.created_at < oldest);
            if beyond || old {
                fs::remove_file(self.path.join(&found.name))?;
                removed.push(found.name);
            }
        }
        Ok(removed)
    }

    /// Only the process that owns the vault makes its backups, so nothing under way is removed.
    fn sweep(&self) -> Result<()> {
        let prefix = format!(".{}", self.prefix());
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // With the journal that the store may have beside it.
            let ours = entry.file_name().to_str().is_some_and(|name| {
                name.starts_with(&prefix) && (name.ends_with(PARTIAL) || name.contains(".partial-"))
            });
            if ours {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn prefix(&self) -> String {
        let [a, b, c, d, ..] = self.vault;
        format!("vault-{a:02x}{b:02x}{c:02x}{d:02x}-")
    }

    fn free_name(&self, now: Timestamp) -> Result<String> {
        let time = now.to_zoned(TimeZone::UTC).strftime(TIME).to_string();
        let stem = format!("{}{time}Z", self.prefix());
        let name = |twin: u32| match twin {
            0 => format!("{stem}{SUFFIX}"),
            _ => format!("{stem}-{twin:02}{SUFFIX}"),
        };
        // After the last one: the number of one that was removed would make this one look older than it is.
        let taken = |twin: &u32| fs::symlink_metadata(self.path.join(name(*twin))).is_ok();
        let twin = (0..MAX_TWINS).rev().find(taken).map_or(0, |last| last + 1);
        if twin < MAX_TWINS {
            return Ok(name(twin));
        }
        Err(Error::new(
            Kind::Unavailable,
            "there are too many backups of this second",
        ))
    }
}

/// A backup on its way to its name. Removed when dropped before [`Draft::publish`].
pub struct Draft {
    directory: PathBuf,
    name: String,
    path: PathBuf,
    published: bool,
}

impl Draft {
    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name it will have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts the content on the disk, then gives it its name, then puts the name on the disk. Returns its size.
    ///
    /// Where it fails, the caller must say so: whether the name stands is then unknown, what it names is whole.
    pub fn publish(mut self) -> Result<u64> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&self.path, self.directory.join(&self.name))?;
        self.published = true;
        File::open(&self.directory)?.sync_all()?;
        Ok(bytes)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now, the next attempt removes.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Creates an empty file of this user alone; one that is there already is an error.
pub(crate) fn private(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(Error::from)
}

/// One part of a path, of harmless characters, with a backup's ending.
fn check_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let good = name.len() <= MAX_NAME
        && name.len() > SUFFIX.len()
        && !name.starts_with('.')
        && name.ends_with(SUFFIX)
        && name.bytes().all(plain);
    if good {
        Ok(())
    } else {
        Err(
            Error::invalid("name", "a backup is named as akm backup list shows it")
                .with_hint("a file from elsewhere is put into the backup directory first"),
        )
    }
}

/// When a backup of a name that this room gave was made, Unix milliseconds.
fn time_in(name: &str) -> Option<i64> {
    let text = name.strip_prefix("vault-")?.get(9..24)?;
    let time = jiff::civil::DateTime::strptime(TIME, text).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?;
    Some(time.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn make(directory: &Directory, second: i64) -> String {
        let draft = directory.draft(at(second)).unwrap();
        fs::write(draft.path(), b"content").unwrap();
        let name = draft.name().to_owned();
        assert_eq!(draft.publish().unwrap(), 7);
        name
    }

    #[test]
    fn a_name_tells_vault_and_time_and_two_of_one_second_differ() {
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("backups"), [0xab; 16]);
        assert_eq!(directory.list().unwrap(), [], "no directory, no backups");
        let first = make(&directory, 0);
        let second = make(&directory, 0);
        assert_eq!(first, "vault-abababab-20270115T080000Z.backup");
        assert_eq!(second, "vault-abababab-20270115T080000Z-01.backup");
        let found = directory.list().unwrap();
        assert_eq!(found.len(), 2);
        for found in found {
            assert_eq!(found.created_at, at(0).as_millisecond());
            assert!(found.own && found.bytes == 7);
            let meta = fs::metadata(directory.find(&found.name).unwrap()).unwrap();
            assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
        }
        let dir = fs::metadata(directory.path()).unwrap();
        assert_eq!(dir.permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn what_was_not_finished_is_not_listed_and_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("backups"), [1; 16]);
        let other = Directory::new(home.path().join("backups"), [2; 16]);
        let draft = directory.draft(at(0)).unwrap();
        let path = draft.path().to_owned();
        drop(draft);
        assert!(!path.exists(), "given up, removed");
        std::mem::forget(directory.draft(at(0)).unwrap());
        assert!(path.exists(), "control: a process that died leaves it");
        assert_eq!(directory.list().unwrap(), []);
        drop(other.draft(at(1)).unwrap());
        assert!(path.exists(), "another vault's is not ours to remove");
        drop(directory.draft(at(1)).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn count_and_age_remove_old_ones_of_this_vault_and_never_the_newest() {
        const DAY: i64 = 86_400;
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("backups"), [1; 16]);
        let other = Directory::new(home.path().join("backups"), [2; 16]);
        let names: Vec<String> = (0..5).map(|day| make(&directory, day * DAY)).collect();
        let foreign = make(&other, 0);
        assert_eq!(
            directory.prune(&[names[4].as_bytes()], None, None).unwrap(),
            [""; 0]
        );
        let removed = directory
            .prune(&[names[4].as_bytes()], Some(3), None)
            .unwrap();
        assert_eq!(removed, [names[1].clone(), names[0].clone()]);
        let before = Some(at(4 * DAY).as_millisecond());
        let removed = directory
            .prune(&[names[4].as_bytes()], Some(3), before)
            .unwrap();
        assert_eq!(removed, [names[3].clone(), names[2].clone()]);
        let removed = directory
            .prune(&[names[4].as_bytes()], Some(0), Some(i64::MAX))
            .unwrap();
        assert_eq!(removed, [""; 0], "the newest stays");
        let left: Vec<String> = directory
            .list()
            .unwrap()
            .into_iter()
            .map(|f| f.name)
            .collect();
        assert_eq!(left, [names[4].clone(), foreign]);
    }

    #[test]
    fn a_thousand_newer_ones_of_other_vaults_hide_none_of_this_one_and_keep_none_from_going() {
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("backups"), [1; 16]);
        let names = [make(&directory, 0), make(&directory, 1)];
        for number in 0..MAX_PAGE + 5 {
            let name = format!("vault-02020202-20280115T080000Z-{number}.backup");
            fs::write(directory.path().join(name), b"content").unwrap();
        }
        let found = directory.list().unwrap();
        assert_eq!(found.len(), MAX_PAGE as usize, "control: a page is full");
        let own: Vec<String> = found
            .iter()
            .filter(|found| found.own)
            .map(|found| found.name.clone())
            .collect();
        assert_eq!(own, [names[1].clone(), names[0].clone()]);
        assert!(!found[0].own, "newest first, whoever's");
        let removed = directory
            .prune(&[names[1].as_bytes()], Some(1), None)
            .unwrap();
        assert_eq!(removed, [names[0].clone()]);
        let left = directory.own().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].name, names[1]);
        // Of this vault alone a page is the newest.
        for number in 0..MAX_PAGE {
            let name = format!("vault-01010101-20290115T080000Z-{number}.backup");
            fs::write(directory.path().join(name), b"content").unwrap();
        }
        let found = directory.list().unwrap();
        assert_eq!(found.len(), MAX_PAGE as usize);
        assert!(
            found
                .iter()
                .all(|found| found.own && found.name != names[1])
        );
    }

    #[test]
    fn of_two_in_a_second_and_after_a_clock_was_set_back_the_new_one_stays() {
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("backups"), [1; 16]);
        let first = make(&directory, 10);
        let twin = make(&directory, 10);
        let names: Vec<String> = directory
            .list()
            .unwrap()
            .into_iter()
            .map(|f| f.name)
            .collect();
        assert_eq!(names, [twin.clone(), first.clone()], "newest first");
        assert_eq!(
            directory.prune(&[twin.as_bytes()], Some(1), None).unwrap(),
            [first]
        );
        let third = make(&directory, 10);
        assert!(third > twin, "not the number of the one that was removed");
        assert_eq!(
            directory.prune(&[third.as_bytes()], Some(1), None).unwrap(),
            [twin]
        );
        let back = make(&directory, 0);
        assert_eq!(
            directory.prune(&[back.as_bytes()], Some(1), None).unwrap(),
            [third]
        );
        assert!(directory.find(&back).is_ok());
    }

    #[test]
    fn nothing_outside_the_directory_can_be_named() {
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("backups"), [1; 16]);
        let name = make(&directory, 0);
        assert!(directory.find(&name).is_ok(), "control");
        fs::write(home.path().join("x.backup"), b"x").unwrap();
        let long = format!("{}.backup", "a".repeat(200));
        for bad in [
            "../x.backup",
            "/etc/passwd",
            "",
            ".backup",
            ".x.backup",
            "x",
            "a/b.backup",
            "a\0.backup",
            &long,
        ] {
            let error = directory.find(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput, "{bad}");
            assert_eq!(error.field(), Some("name"));
        }
        assert_eq!(
            directory.find("x.backup").unwrap_err().kind(),
            Kind::NotFound
        );
        std::os::unix::fs::symlink(
            home.path().join("x.backup"),
            directory.path().join("x.backup"),
        )
        .unwrap();
        assert_eq!(directory.find("x.backup").unwrap_err().kind(), Kind::Denied);
    }
}
