//! Whether backups are made by themselves, and how many are kept: one small file in the state directory.
//!
//! It belongs to this machine and not to the vault, so that a restored vault does not bring another machine's
//! schedule along. It holds nothing secret. It is replaced whole: written aside, flushed, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::protocol::Schedule;

const FILE: &str = "backup.json";
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_FILE: u64 = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    schedule: Option<Schedule>,
}

/// The schedule, if there is one.
///
/// Errors: `corrupt` for a file that akm did not write, `unsupported_version`, `io`.
pub fn load(state: &Path) -> Result<Option<Schedule>> {
    let mut text = Vec::new();
    match File::open(state.join(FILE)) {
        Ok(file) => file.take(MAX_FILE + 1).read_to_end(&mut text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stored: Stored = serde_json::from_slice(&text)
        .map_err(|_| Error::corrupt("the schedule of backups is not one akm writes"))?;
    if stored.version != VERSION {
        return Err(Error::new(
            Kind::UnsupportedVersion,
            "the schedule of backups was written by another version",
        ));
    }
    Ok(stored.schedule)
}

/// Replaces the schedule; durable when it returns.
pub fn save(state: &Path, schedule: Option<&Schedule>) -> Result<()> {
    let stored = Stored {
        version: VERSION,
        schedule: schedule.cloned(),
    };
    replace(state, FILE, &crate::protocol::encode(&stored)?)
}

/// Replaces a small file of the state directory, all or nothing; durable when it returns.
pub fn replace(state: &Path, name: &str, content: &[u8]) -> Result<()> {
    let draft = state.join(format!("{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, state.join(name))?;
    File::open(state)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_comes_back_and_goes_away_and_a_strange_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        let schedule = Schedule {
            every_s: 86_400,
            keep: 3,
            max_age_days: Some(30),
        };
        save(dir.path(), Some(&schedule)).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(schedule));
        save(dir.path(), None).unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        fs::write(dir.path().join(FILE), b"{\"version\":1,\"x\":1}").unwrap();
        assert_eq!(load(dir.path()).unwrap_err().kind(), Kind::Corrupt);
        fs::write(dir.path().join(FILE), b"{\"version\":2,\"schedule\":null}").unwrap();
        assert_eq!(
            load(dir.path()).unwrap_err().kind(),
            Kind::UnsupportedVersion
        );
    }
}
