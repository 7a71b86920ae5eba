//! A file that gets its name when it is whole and on the disk, and that leaves nothing when it does not get there.
//!
//! It holds secrets in plaintext. Where the file system can, it has no name until the end (`O_TMPFILE`): whatever ends this
//! process, SIGKILL too, its content goes with it. Elsewhere it stands beside its target meanwhile, and the signals that a
//! person or a system ends a command with take it along first; only SIGKILL and a loss of power leave it there.
//!
//! Invariant: readable by its owner alone from the start, whatever the umask; a target is replaced in one step or not at all.
//!
//! Deliberately absent: a way to replace a file by one without a name. The kernel has none, so that a whole file has another name
//! for the time between two calls, during which no signal but SIGKILL is heard.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use rustix::fs::{AtFlags, CWD};
use tempfile::NamedTempFile;

/// What a command is ended with from outside, that can be heard.
const ENDING: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];
const PREFIX: &str = ".akm-";

/// A file on its way.
pub(crate) struct FreshFile {
    content: Content,
    path: PathBuf,
}

enum Content {
    Nameless(File),
    /// Has none yet: the name is made when there is something to write, so that no question is asked while signals are held.
    Later,
    Beside(NamedTempFile),
}

impl FreshFile {
    /// One that is to become this.
    pub(crate) fn at(path: &Path) -> io::Result<FreshFile> {
        let dir = directory(path);
        let content = match nameless(dir) {
            Some(file) => Content::Nameless(file),
            None => {
                File::open(dir)?;
                Content::Later
            }
        };
        Ok(FreshFile {
            content,
            path: path.to_owned(),
        })
    }

    /// Straight to the kernel: no buffer keeps a copy.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all(bytes)
    }

    /// Gives it its name, after its content is on the disk, and sees that the name is. Without `replace`, what has the name keeps
    /// it: `AlreadyExists`.
    pub(crate) fn finish(mut self, replace: bool) -> io::Result<()> {
        self.file()?.sync_all()?;
        let dir = directory(&self.path);
        match (&self.content, replace) {
            (Content::Nameless(file), false) => link(file, &self.path)?,
            (Content::Nameless(file), true) => match link(file, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let _held = Held::begin()?;
                    let named = tempfile::Builder::new()
                        .prefix(PREFIX)
                        .make_in(dir, |name| link(file, name))?;
                    named.into_temp_path().persist(&self.path)?;
                }
                named => named?,
            },
            (Content::Later | Content::Beside(_), _) => {}
        }
        let target = self.path.clone();
        if let Content::Beside(file) = self.content {
            match replace {
                true => file.persist(&target)?,
                false => file.persist_noclobber(&target)?,
            };
        }
        File::open(directory(&target))?.sync_all()
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if matches!(self.content, Content::Later) {
            self.content = Content::Beside(beside(directory(&self.path))?);
        }
        match &mut self.content {
            Content::Nameless(file) => Ok(file),
            Content::Beside(file) => Ok(file.as_file_mut()),
            Content::Later => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A file without a name, if the file system has such and it can be given one later.
#[cfg(target_os = "linux")]
fn nameless(dir: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR).ok()?);
    // Without /proc it could never be named.
    own_name(&file).metadata().is_ok().then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<File> {
    None
}

fn own_name(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn link(file: &File, name: &Path) -> io::Result<()> {
    rustix::fs::linkat(CWD, own_name(file), CWD, name, AtFlags::SYMLINK_FOLLOW)
        .map_err(io::Error::from)
}

/// A file beside its target, that the signals take along. They are held for the rest of this command.
fn beside(dir: &Path) -> io::Result<NamedTempFile> {
    let mut heard = SigSet::empty();
    let ignored = ignored();
    for signal in ENDING {
        // What `nohup` keeps off ends nothing.
        if ignored & (1 << (signal as u32 - 1)) == 0 {
            heard.add(signal);
        }
    }
    heard.thread_block()?;
    let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(dir)?;
    let path = std::path::absolute(file.path())?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let Ok(signal) = heard.wait() else { return };
            let _ = std::fs::remove_file(&path);
            // As if it had not been held: whoever started this command sees the signal.
            let _ = heard.thread_unblock();
            let _ = raise(signal);
            std::process::exit(1);
        })?;
    Ok(file)
}

/// The signals that this process was started to ignore, a bit for each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Signals held back for a moment; what came meanwhile is heard afterwards.
struct Held {
    before: SigSet,
}

impl Held {
    fn begin() -> io::Result<Held> {
        let mut ending = SigSet::empty();
        ENDING.iter().for_each(|signal| ending.add(*signal));
        let before = ending.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Held { before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}
