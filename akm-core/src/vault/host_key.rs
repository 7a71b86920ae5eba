//! The host key: 32 random bytes in the state directory, made at first use.
//!
//! It keys what exists before anybody has signed in: the counters of attempts, the fake slots of unknown
//! accounts, and the system chain of the audit. It opens nothing in the vault. Without it the counters
//! start again and the system chain cannot be checked.

use std::path::Path;

use crate::error::{Error, Result};
use crate::host::Random;
use crate::memory::LockedKey;

use super::key_file;

const FILE: &str = "host.key";

/// Reads the host key below `state`, or makes it.
pub fn load_or_create(state: &Path, random: &dyn Random) -> Result<LockedKey> {
    let path = state.join(FILE);
    if let Some(key) = key_file::read_own(&path)? {
        return Ok(key);
    }
    // Written under another name and linked into place, so that no half-written key is ever read.
    let mut suffix = [0; 8];
    random.fill(&mut suffix);
    let draft = state.join(format!("{FILE}.{:016x}", u64::from_le_bytes(suffix)));
    let key = LockedKey::generate(random);
    key_file::create(&draft, &key)?;
    let linked =
        std::fs::hard_link(&draft, &path).and_then(|()| std::fs::File::open(state)?.sync_all());
    let removed = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => removed.map(|()| key).map_err(Error::from),
        // Another process was first: its key counts.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            key_file::read_own(&path)?.ok_or(Error::internal("the host key vanished"))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    use super::*;
    use crate::error::Kind;
    use crate::host::Host;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::real();
        let first = load_or_create(dir.path(), &*host.random).unwrap();
        let second = load_or_create(dir.path(), &*host.random).unwrap();
        assert_eq!(first.expose(), second.expose());
        assert_ne!(first.expose(), &[0; 32]);
        let path = dir.path().join(FILE);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Chance during whose second call, that for the key, somebody else does something.
    struct Meanwhile<F>(std::sync::atomic::AtomicUsize, F);

    impl<F: Fn() + Send + Sync> Random for Meanwhile<F> {
        fn fill(&self, buffer: &mut [u8]) {
            if self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                self.1();
            }
            buffer.fill(9);
        }
    }

    #[test]
    fn of_two_that_make_the_key_at_once_the_first_counts() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::real();
        let first = std::sync::Mutex::new(None);
        let race = Meanwhile(Default::default(), || {
            *first.lock().unwrap() = load_or_create(dir.path(), &*host.random).ok();
        });
        let second = load_or_create(dir.path(), &race).unwrap();
        let first = first.lock().unwrap().take().unwrap();
        assert_eq!(first.expose(), second.expose());
        assert_ne!(second.expose(), &[9; 32]);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft"
        );
        // A link that somebody plants in that moment is not followed, and its target not written.
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let race = Meanwhile(Default::default(), || {
            std::os::unix::fs::symlink(&target, dir.path().join(FILE)).unwrap();
        });
        assert_eq!(
            load_or_create(dir.path(), &race).unwrap_err().kind(),
            Kind::Io
        );
        assert!(!target.exists());
        // A directory that goes away leaves nothing to rely on.
        let race = Meanwhile(Default::default(), || {
            std::fs::remove_dir_all(dir.path()).unwrap();
        });
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(load_or_create(dir.path(), &race).is_err());
        let dir = tempfile::tempdir().unwrap();
        let alone = Meanwhile(Default::default(), || ());
        let key = load_or_create(dir.path(), &alone).unwrap();
        assert_eq!(key.expose(), &[9; 32], "control");
    }

    #[test]
    fn a_wrong_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::real();
        let path = dir.path().join(FILE);
        let mut private = OpenOptions::new();
        private.write(true).create(true).truncate(true).mode(0o600);
        private.open(&path).unwrap().write_all(&[7; 31]).unwrap();
        assert_eq!(
            load_or_create(dir.path(), &*host.random)
                .unwrap_err()
                .kind(),
            Kind::Corrupt
        );
        private.open(&path).unwrap().write_all(&[7; 33]).unwrap();
        assert_eq!(
            load_or_create(dir.path(), &*host.random)
                .unwrap_err()
                .kind(),
            Kind::Corrupt
        );
        private.open(&path).unwrap().write_all(&[7; 32]).unwrap();
        assert!(load_or_create(dir.path(), &*host.random).is_ok(), "control");
        let mode = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
            let read = load_or_create(dir.path(), &*host.random);
            let now = path.metadata().unwrap().mode() & 0o777;
            (read.map(drop).map_err(|error| error.kind()), now)
        };
        assert_eq!(mode(0o644), (Ok(()), 0o600), "tightened");
        assert_eq!(mode(0o660), (Err(Kind::Denied), 0o660), "others may write");
        assert_eq!(mode(0o602), (Err(Kind::Denied), 0o602), "others may write");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(load_or_create(dir.path(), &*host.random).is_err());
    }
}
