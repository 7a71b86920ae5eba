//! Files that somebody else may have put there, opened to be read: for every room that reads one of akm's
//! directories, or a path that a person named and that must be a file.
//!
//! Invariants: opening never waits (a pipe would keep the agent from starting until somebody writes into it), nothing
//! but a regular file is opened (a device has no end), and no more than the caller's bound is read.
//!
//! Deliberately absent: whose a file is and what mode it has. Rooms that rely on that judge the descriptor themselves.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{ELOOP, ENXIO, O_CLOEXEC, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};

use crate::error::{Error, Kind, Result};

/// Whether the path itself may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Of a path that a person named: where the link leads is meant.
    Follow,
    /// Of a file that akm writes: it made no link.
    Refuse,
}

/// Opens a regular file to read it; `None` where there is nothing of that name.
///
/// Errors: `invalid_input` for anything but a regular file, with its path as the hint; `io`.
pub fn open(path: &Path, links: Links) -> Result<Option<File>> {
    let refuse = match links {
        Links::Follow => 0,
        Links::Refuse => O_NOFOLLOW,
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(refuse | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(ELOOP | ENXIO)) => {
            return Err(irregular(path));
        }
        Err(error) => return Err(error.into()),
    };
    match file.metadata()?.is_file() {
        true => Ok(Some(file)),
        false => Err(irregular(path)),
    }
}

/// The content of a regular file of at most `most` bytes; `None` where there is nothing of that name.
///
/// Errors: as [`open`], and `invalid_input` for a longer one.
pub fn read(path: &Path, links: Links, most: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(path, links)? else {
        return Ok(None);
    };
    let mut content = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(Error::new(Kind::InvalidInput, "the file is too large").with_hint(named(path)));
    }
    Ok(Some(content))
}

fn irregular(path: &Path) -> Error {
    Error::new(Kind::InvalidInput, "it is not a regular file").with_hint(named(path))
}

fn named(path: &Path) -> String {
    format!("the file is {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_a_device_a_directory_and_a_link_are_refused_at_once_and_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(at("file"), b"content").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        for path in [at("pipe"), dir.path().to_owned(), "/dev/zero".into()] {
            for links in [Links::Follow, Links::Refuse] {
                let refused = read(&path, links, 100).unwrap_err();
                assert_eq!(refused.kind(), Kind::InvalidInput);
                assert!(refused.hint().unwrap().contains(path.to_str().unwrap()));
            }
        }
        assert!(read(&at("link"), Links::Refuse, 100).is_err());
        for (name, links) in [
            ("file", Links::Refuse),
            ("file", Links::Follow),
            ("link", Links::Follow),
        ] {
            let content = read(&at(name), links, 7).unwrap();
            assert_eq!(content.as_deref(), Some(&b"content"[..]), "control");
        }
        assert_eq!(
            read(&at("file"), Links::Refuse, 6).unwrap_err().message(),
            "the file is too large"
        );
        assert_eq!(read(&at("nothing"), Links::Refuse, 100).unwrap(), None);
    }
}
