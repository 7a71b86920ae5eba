//! What the kernel says of one process: its directory in `/proc`, opened once, and the files in it.
//!
//! Invariants: the open directory answers for one process only: once that has ended, every read fails, also when its
//! number is used again. Every read is bounded; a file that is longer counts as unreadable, because half of it may
//! leave out what matters.

use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstatat, stat};
use rustix::fs::readlinkat_raw;

/// Longest link.
const MAX_LINK: usize = 4096;
/// Longest `stat`, `status` or `cgroup`.
const MAX_SMALL: usize = 8 * 1024;
/// Longest command line or environment.
pub(super) const MAX_LARGE: usize = 512 * 1024;

/// `/proc/PID`.
pub(super) struct Dir {
    fd: OwnedFd,
    pub(super) pid: i32,
    /// Whether the program was asked for; then it will be again, and its link is kept.
    asked: AtomicBool,
    exe: OnceLock<Option<Link>>,
}

/// Which file an executable is, and whether it was written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    dev: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileId {
    pub(super) fn of(path: &std::path::Path) -> Option<FileId> {
        stat(path).ok().map(|found| FileId::from(&found))
    }

    /// Whether it is the same file, whatever was written to it since.
    pub(super) fn is_same_file(&self, other: &FileId) -> bool {
        self.is_at(other.dev, other.inode)
    }

    pub(super) fn is_at(&self, dev: u64, inode: u64) -> bool {
        (self.dev, self.inode) == (dev, inode)
    }

    pub(super) fn changed_s(&self) -> i64 {
        self.changed.0
    }
}

impl From<&nix::sys::stat::FileStat> for FileId {
    fn from(found: &nix::sys::stat::FileStat) -> FileId {
        FileId {
            dev: found.st_dev,
            inode: found.st_ino,
            size: found.st_size,
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
        }
    }
}

/// The line `stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: i32,
    /// Of the terminal; 0 without one.
    pub(super) terminal: i32,
    /// In ticks since boot.
    pub(super) started: u64,
}

impl Dir {
    pub(super) fn open(pid: i32) -> Option<Dir> {
        let fd = open(
            format!("/proc/{pid}").as_str(),
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        Some(Dir {
            fd: fd.ok()?,
            pid,
            asked: AtomicBool::new(false),
            exe: OnceLock::new(),
        })
    }

    /// Where a link leads, as the kernel writes it.
    pub(super) fn link(&self, name: &str) -> Option<String> {
        read_link(&self.fd, name)
    }

    /// Where `exe` leads, for whoever asks again and again.
    pub(super) fn exe(&self) -> Option<String> {
        if !self.asked.swap(true, Relaxed) {
            return self.link("exe");
        }
        match self.exe.get_or_init(|| Link::open(&self.fd, "exe")) {
            Some(link) => read_link(&link.0, ""),
            None => self.link("exe"),
        }
    }

    /// What tells whether the process still has the memory that it has now.
    pub(super) fn memory(&self) -> Option<Memory> {
        let place = Place::take()?;
        Some(Memory {
            environment: self.open_file("environ")?,
            _place: place,
        })
    }

    pub(super) fn exe_id(&self) -> Option<FileId> {
        fstatat(&self.fd, "exe", AtFlags::empty())
            .ok()
            .map(|found| FileId::from(&found))
    }

    /// The executable itself, whatever stands under its name by now.
    pub(super) fn open_exe(&self) -> Option<File> {
        self.open_file("exe")
    }

    pub(super) fn read(&self, name: &str, most: usize) -> Option<Vec<u8>> {
        let mut content = Vec::with_capacity(4096);
        self.open_file(name)?
            .take(most as u64 + 1)
            .read_to_end(&mut content)
            .ok()?;
        (content.len() <= most).then_some(content)
    }

    pub(super) fn small(&self, name: &str) -> Option<String> {
        self.read(name, MAX_SMALL)
            .map(|content| String::from_utf8_lossy(&content).into_owned())
    }

    pub(super) fn stat(&self) -> Option<Stat> {
        parse_stat(&self.small("stat")?)
    }

    /// Its words; empty for a process that has none.
    pub(super) fn arguments(&self) -> Option<Vec<Vec<u8>>> {
        self.read("cmdline", MAX_LARGE).map(|line| words(&line))
    }

    /// The environment that it was started with.
    pub(super) fn environment(&self) -> Option<Vec<u8>> {
        self.read("environ", MAX_LARGE)
    }

    /// Whether a debugger holds it.
    pub(super) fn is_traced(&self) -> Option<bool> {
        const FIELD: &[u8] = b"\nTracerPid:\t";
        // It stands among the first lines, and every request may come here.
        let mut room = [0; 512];
        let file = openat(
            &self.fd,
            "status",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        let count = nix::unistd::read(file.ok()?, &mut room).ok()?;
        let start = room[..count]
            .windows(FIELD.len())
            .position(|part| part == FIELD)?;
        let tracer = room[..count][start + FIELD.len()..]
            .split(|byte| *byte == b'\n')
            .next()?;
        Some(tracer != b"0")
    }

    /// Which file a link leads to.
    pub(super) fn link_id(&self, name: &str) -> Option<(u64, u64)> {
        let found = fstatat(&self.fd, name, AtFlags::empty()).ok()?;
        Some((found.st_dev, found.st_ino))
    }

    /// Where it works, if that is the same directory under the same name here.
    pub(super) fn directory(&self) -> Option<String> {
        let path = self.link("cwd")?;
        let (dev, inode) = self.link_id("cwd")?;
        let ours = FileId::of(std::path::Path::new(&path))?;
        ours.is_at(dev, inode).then_some(path)
    }

    /// What `/` is for it.
    pub(super) fn root(&self) -> Option<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.fd, "root", flags, Mode::empty()).ok()
    }

    /// Its parent: the process that has that number, and had it before this one began and while it was looked at.
    pub(super) fn parent(&self) -> Option<Dir> {
        let own = self.stat()?;
        let parent = Dir::open(own.parent)?;
        let is_older = parent.stat()?.started <= own.started;
        (is_older && self.stat()?.parent == own.parent).then_some(parent)
    }

    /// The terminal that it belongs to.
    pub(super) fn terminal(&self) -> Option<PathBuf> {
        let number = u32::try_from(self.stat()?.terminal).ok()?;
        let (major, minor) = (
            (number >> 8) & 0xfff,
            (number & 0xff) | (number >> 12 & 0xfff00),
        );
        match major {
            // Of each major number 256 pseudo-terminals, in one row.
            136..=143 => Some(format!("/dev/pts/{}", (major - 136) * 256 + minor).into()),
            4 if minor < 64 => Some(format!("/dev/tty{minor}").into()),
            4 => Some(format!("/dev/ttyS{}", minor - 64).into()),
            _ => None,
        }
    }

    fn open_file(&self, name: &str) -> Option<File> {
        openat(
            &self.fd,
            name,
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .ok()
        .map(File::from)
    }
}

/// A link that is kept open, so that reading it looks nothing up: each request reads one.
struct Link(OwnedFd, Place);

impl Link {
    fn open(at: &OwnedFd, name: &str) -> Option<Link> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = Place::take()?;
        let link = openat(at, name, flags, Mode::empty());
        link.ok().map(|link| Link(link, place))
    }
}

/// The memory of a process, as of when it was opened: an `execve` gives the process another.
pub(super) struct Memory {
    environment: File,
    _place: Place,
}

impl Memory {
    /// Whether a process still runs in it. Nothing can be read of memory that nobody has any more, nor of an empty environment.
    pub(super) fn is_in_use(&self) -> bool {
        self.environment
            .read_at(&mut [0], 0)
            .is_ok_and(|read| read == 1)
    }
}

/// The right to keep one file of a process open.
struct Place;

/// How many more may be kept; whoever comes later looks theirs up each time.
static PLACES: AtomicUsize = AtomicUsize::new(0);

/// Lets so many more files be kept open, each a descriptor.
pub(crate) fn keep_open(count: usize) {
    PLACES.fetch_add(count, Relaxed);
}

impl Place {
    fn take() -> Option<Place> {
        PLACES
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok()
            .then_some(Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        PLACES.fetch_add(1, Relaxed);
    }
}

fn read_link(at: &OwnedFd, name: &str) -> Option<String> {
    // On the stack: every request comes here, and what is freed is wiped first.
    let mut room = [MaybeUninit::uninit(); MAX_LINK + 1];
    let (path, _) = readlinkat_raw(at, name, &mut room[..]).ok()?;
    (path.len() <= MAX_LINK).then(|| String::from_utf8_lossy(path).into_owned())
}

fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    if line.is_empty() {
        return Vec::new();
    }
    line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// `PID (NAME) STATE PPID PGRP SESSION TTY …`: the name may hold anything, so fields count from its end.
fn parse_stat(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        terminal: fields.get(4)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_fields_behind_it() {
        let tail = "S 7 7 7 34816 7 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        for name in ["sh", "a b", ") R 1 1 1 0 1", "x) S 99 (y", "((("] {
            let stat = parse_stat(&format!("9 ({name}) {tail}")).unwrap();
            assert_eq!(
                stat,
                Stat {
                    parent: 7,
                    terminal: 34816,
                    started: 4242
                },
                "{name}"
            );
        }
        assert_eq!(parse_stat("9 (sh"), None);
        assert_eq!(parse_stat("9 (sh) S 7"), None);
    }

    #[test]
    fn this_process_and_its_parent_are_read() {
        let me = Dir::open(std::process::id() as i32).unwrap();
        let parent = me.parent().unwrap();
        assert_eq!(parent.pid, nix::unistd::getppid().as_raw());
        assert!(me.stat().unwrap().started >= parent.stat().unwrap().started);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(me.link("exe").unwrap(), exe.to_str().unwrap());
        // Whether it may be kept open or not.
        assert_eq!(me.exe(), me.link("exe"));
        keep_open(1000);
        let kept = Dir::open(me.pid).unwrap();
        assert_eq!((kept.exe(), kept.exe()), (me.link("exe"), me.link("exe")));
        assert!(kept.exe.get().unwrap().is_some());
        assert_eq!(me.exe_id(), FileId::of(&exe));
        let words = me.arguments().unwrap();
        assert_eq!(words.len(), std::env::args_os().count());
    }

    #[test]
    fn nothing_is_read_of_a_process_that_ended_whoever_has_its_number() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let dir = Dir::open(child.id() as i32).unwrap();
        assert!(dir.stat().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(dir.stat(), None);
        assert_eq!(dir.exe_id(), None);
        assert!(
            dir.arguments().is_none() && dir.environment().is_none() && dir.link("cwd").is_none()
        );
    }

    #[test]
    fn a_process_that_is_held_by_a_debugger_is_seen() {
        let me = Dir::open(std::process::id() as i32).unwrap();
        assert_eq!(me.is_traced(), Some(false));
        let status = me.small("status").unwrap();
        let end = status.find("\nTracerPid:\t0\n").unwrap();
        // A name of 15 bytes, each written as four.
        assert!(
            end + 100 < 512,
            "the field may lie behind what is read: {end}"
        );
    }

    #[test]
    fn words_come_apart() {
        assert_eq!(
            words(b"a\0b c\0\0"),
            [b"a".to_vec(), b"b c".to_vec(), Vec::new()]
        );
        assert!(words(b"").is_empty());
    }
}
