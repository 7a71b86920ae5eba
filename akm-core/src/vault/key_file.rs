//! Files of 32 random bytes: the host key, and device secrets.
//!
//! Invariants: a file is read only where it is a regular one of this user that nobody else may read, through no symbolic
//! link and never past its length; it is made anew, 0600, and is on the disk (with its name) before anybody relies on it.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use nix::fcntl::OFlag;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::secret::Secret;

/// Reads a key; `None` if there is no such file. `denied` for a file that is not private, `corrupt` for one that is not
/// 32 bytes long or holds zeros.
pub fn read(path: &Path) -> Result<Option<LockedKey>> {
    read_if(path, |_, meta| meta.mode() & 0o077 == 0)
}

/// [`read`] of a file of akm's own: one that others may read is tightened, one that they may write is refused.
pub(super) fn read_own(path: &Path) -> Result<Option<LockedKey>> {
    read_if(path, |file, meta| {
        meta.mode() & 0o022 == 0
            && (meta.mode() & 0o077 == 0
                || file.set_permissions(Permissions::from_mode(0o600)).is_ok())
    })
}

fn read_if(
    path: &Path,
    is_private: impl FnOnce(&File, &Metadata) -> bool,
) -> Result<Option<LockedKey>> {
    // Not blocking: a pipe that somebody put there must not be waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    let ours =
        meta.is_file() && meta.uid() == nix::unistd::geteuid().as_raw() && is_private(&file, &meta);
    if !ours {
        return Err(
            Error::new(Kind::Denied, "a key file is not a private file of this user")
                .with_hint("check owner and mode (0600) of the key file; on a removable disk, mount it for yourself alone"),
        );
    }
    let mut bytes = [0u8; LockedKey::LEN + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..])? {
            0 => break,
            n => length += n,
        }
    }
    if length != LockedKey::LEN {
        bytes.zeroize();
        return Err(Error::corrupt("a key file has the wrong length"));
    }
    let key = LockedKey::build(|key| {
        key.copy_from_slice(&bytes[..LockedKey::LEN]);
        bytes.zeroize();
        Ok(())
    })?;
    check(key, || Error::corrupt("a key file holds zeros")).map(Some)
}

/// Makes the file, which must not exist (`conflict`), and waits until it is on the disk. On a failure nothing is left.
pub fn create(path: &Path, key: &LockedKey) -> Result<()> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(path);
    let mut file = match created {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::new(Kind::Conflict, "the key file exists already")
                .with_hint("akm overwrites no file; give a new path"));
        }
        Err(error) => return Err(error.into()),
    };
    let written = file
        .write_all(key.expose())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_directory(path));
    if written.is_err() {
        // The error that matters is the first.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(Error::from)
}

/// A key as a request carries it.
pub fn to_hex(key: &LockedKey) -> Secret {
    Secret::new(HEXLOWER.encode(key.expose()))
}

/// A key from a request; `invalid_input` naming `field` for anything but 64 hex digits, and for zeros, which are the same
/// as no key at all in a derivation.
pub fn from_hex(hex: &Secret, field: &'static str) -> Result<LockedKey> {
    let malformed = || Error::invalid(field, "a key file is 32 bytes, in a request 64 hex digits");
    if hex.len() != 2 * LockedKey::LEN {
        return Err(malformed());
    }
    let bytes = HEXLOWER_PERMISSIVE
        .decode(hex.expose().as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| malformed())?;
    let key = LockedKey::build(|key| {
        key.copy_from_slice(&bytes);
        Ok(())
    })?;
    check(key, || {
        Error::invalid(field, "a key file of zeros protects nothing")
    })
}

fn check(key: LockedKey, zeros: impl FnOnce() -> Error) -> Result<LockedKey> {
    if *key.expose() == [0; LockedKey::LEN] {
        return Err(zeros());
    }
    Ok(key)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key() -> LockedKey {
        LockedKey::build(|bytes| {
            bytes.fill(7);
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn only_a_private_file_of_the_right_length_is_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(read(&at("none")).unwrap().is_none());
        create(&at("good"), &key()).unwrap();
        assert_eq!(read(&at("good")).unwrap().unwrap().expose(), key().expose());
        assert_eq!(
            create(&at("good"), &key()).unwrap_err().kind(),
            Kind::Conflict
        );
        for (name, bytes) in [
            ("short", &[7; 31][..]),
            ("long", &[7; 33]),
            ("empty", &[]),
            ("zeros", &[0; 32]),
        ] {
            std::fs::write(at(name), bytes).unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o600)).unwrap();
            assert_eq!(read(&at(name)).unwrap_err().kind(), Kind::Corrupt, "{name}");
        }
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(at("good"), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(
                read(&at("good")).unwrap_err().kind(),
                Kind::Denied,
                "{mode:o}"
            );
        }
        std::os::unix::fs::symlink("good", at("link")).unwrap();
        assert!(read(&at("link")).is_err());
        // A pipe is not waited for; a directory is no file.
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&at("pipe")).unwrap_err().kind(), Kind::Denied);
        assert_eq!(read(dir.path()).unwrap_err().kind(), Kind::Denied);
    }

    #[test]
    fn a_place_that_is_not_there_or_is_taken_by_a_device_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("no/such/place");
        assert_eq!(create(&nowhere, &key()).unwrap_err().kind(), Kind::Io);
        let device = Path::new("/dev/full");
        assert_eq!(create(device, &key()).unwrap_err().kind(), Kind::Conflict);
    }

    /// Set to a directory, the test only tries to make a file there that has no room for a byte.
    const NO_ROOM: &str = "AKM_TEST_KEY_FILE_WITHOUT_ROOM";

    #[test]
    fn a_file_that_cannot_be_written_is_not_left_behind() {
        // How long a file may be, for this process: what a full disk is, without one.
        let limit = |bytes: &str| {
            std::process::Command::new("prlimit")
                .args(["--pid", &std::process::id().to_string()])
                .arg(format!("--fsize={bytes}:unlimited"))
                .status()
                .is_ok_and(|status| status.success())
        };
        if let Some(dir) = std::env::var_os(NO_ROOM) {
            let path = Path::new(&dir).join("key");
            assert!(limit("0"));
            let refused = create(&path, &key());
            assert!(limit("unlimited"));
            assert_eq!(refused.unwrap_err().kind(), Kind::Io);
            assert!(!path.exists());
            create(&path, &key()).expect("control");
            return;
        }
        if !limit("unlimited") {
            assert!(std::env::var_os("CI").is_none(), "CI skips nothing");
            eprintln!("skipped: there is no prlimit");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        // Whoever does not ignore the signal is ended by it.
        let child = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "vault::key_file::tests::a_file_that_cannot_be_written_is_not_left_behind",
            ])
            .env(NO_ROOM, dir.path())
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        assert!(
            dir.path().join("key").exists(),
            "control: the child was here"
        );
    }

    #[test]
    fn a_key_in_a_request_is_64_hex_digits_and_not_zeros() {
        let read = |text: &str| from_hex(&Secret::new(text.to_owned()), "keyfile");
        assert_eq!(
            read(to_hex(&key()).expose()).unwrap().expose(),
            key().expose()
        );
        assert!(read(&"AB".repeat(32)).is_ok());
        for bad in [
            String::new(),
            "07".repeat(31),
            "07".repeat(33),
            "0g".repeat(32),
            "00".repeat(32),
        ] {
            let error = read(&bad).unwrap_err();
            assert_eq!(
                (error.kind(), error.field()),
                (Kind::InvalidInput, Some("keyfile")),
                "{bad}"
            );
        }
    }
}
