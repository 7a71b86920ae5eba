//! Whether backups are made by themselves, and how many are kept: one small file in the state directory.
//!
//! It belongs to this machine and not to the vault, so that a restored vault does not bring another machine's
//! schedule along. It holds nothing secret. It is replaced whole: written aside, flushed, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::protocol::Schedule;
use crate::regular::{self, Links};

const FILE: &str = "backup.json";
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_FILE: u64 = 4096;
/// Most backups that are kept, and the longest that one is.
pub const MAX_KEEP: u32 = 10_000;
/// The same in days.
pub const MAX_AGE_DAYS: u32 = 36_500;
/// From one backup to the next, in seconds: whoever writes less into the file would have the agent do nothing else.
const EVERY_S: std::ops::RangeInclusive<u64> = 60..=366 * 24 * 60 * 60;

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
    let path = state.join(FILE);
    let strange = || {
        Error::corrupt("the schedule of backups is not one akm writes")
            .with_hint(format!("mend or remove {}", path.display()))
    };
    let Some(text) = regular::read(&path, Links::Refuse, MAX_FILE)? else {
        return Ok(None);
    };
    let stored: Stored = serde_json::from_slice(&text).map_err(|_| strange())?;
    if stored.version != VERSION {
        return Err(Error::new(
            Kind::UnsupportedVersion,
            "the schedule of backups was written by another version",
        ));
    }
    match stored.schedule {
        Some(schedule) if !is_sound(&schedule) => Err(strange()),
        schedule => Ok(schedule),
    }
}

/// Written by hand, a schedule can be one that keeps nothing or never ends.
fn is_sound(schedule: &Schedule) -> bool {
    EVERY_S.contains(&schedule.every_s)
        && (1..=MAX_KEEP).contains(&schedule.keep)
        && schedule
            .max_age_days
            .is_none_or(|days| (1..=MAX_AGE_DAYS).contains(&days))
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
    let create = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
    };
    let mut file = match create() {
        // Of an attempt that was cut off, or a pipe that would be waited for.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&draft)?;
            create()?
        }
        created => created?,
    };
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
        for sound in [
            r#"{"version":1,"schedule":{"every_s":0,"keep":3}}"#,
            r#"{"version":1,"schedule":{"every_s":86400,"keep":0}}"#,
            r#"{"version":1,"schedule":{"every_s":86400,"keep":10001}}"#,
            r#"{"version":1,"schedule":{"every_s":86400,"keep":3,"max_age_days":0}}"#,
        ] {
            fs::write(dir.path().join(FILE), sound).unwrap();
            let refused = load(dir.path()).unwrap_err();
            assert_eq!(refused.kind(), Kind::Corrupt, "{sound}");
            assert!(refused.hint().unwrap().contains(FILE));
        }
        fs::write(dir.path().join(FILE), b"{\"version\":2,\"schedule\":null}").unwrap();
        assert_eq!(
            load(dir.path()).unwrap_err().kind(),
            Kind::UnsupportedVersion
        );
    }

    #[test]
    fn a_pipe_in_place_of_the_file_or_its_draft_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&dir.path().join(name), mode).unwrap();
        };
        pipe(FILE);
        pipe("backup.json.new");
        let refused = load(dir.path()).unwrap_err();
        assert!(refused.hint().unwrap().contains(FILE));
        save(dir.path(), None).unwrap();
        assert_eq!(load(dir.path()).unwrap(), None, "control: a file again");
    }
}
