//! `[monitoring]`: when somebody should look. `[backup]`: where backups are copied.

use std::path::Path;
use std::time::Duration;

use akm_core::error::Result;
use toml::Value;

use super::{bad, number, string, wrong_type};

/// Most words of the command.
const MAX_WORDS: usize = 64;

/// When an alert is raised; none is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// The newest backup is older than this.
    pub backup_hours: Option<u32>,
    /// So many of a hundred answers failed because of the server.
    pub error_percent: Option<u32>,
    /// Less than this of the disk is free.
    pub disk_percent: Option<u32>,
    /// The certificate ends within this.
    pub certificate_days: Option<u32>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            backup_hours: Some(48),
            error_percent: Some(5),
            disk_percent: Some(10),
            certificate_days: Some(14),
        }
    }
}

impl Thresholds {
    /// Takes one key of the section; false if there is none of that name.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<bool> {
        let (place, name, most) = match key {
            "backup_hours" => (&mut self.backup_hours, "monitoring.backup_hours", 87_600),
            "error_percent" => (&mut self.error_percent, "monitoring.error_percent", 100),
            "disk_percent" => (&mut self.disk_percent, "monitoring.disk_percent", 100),
            "certificate_days" => (
                &mut self.certificate_days,
                "monitoring.certificate_days",
                3650,
            ),
            _ => return Ok(false),
        };
        let given = number(value, name, 0..=most)?;
        *place = u32::try_from(given).ok().filter(|given| *given > 0);
        Ok(true)
    }
}

/// How backups get elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// An absolute path and arguments; empty for none.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Default for Elsewhere {
    fn default() -> Self {
        Elsewhere {
            command: Vec::new(),
            timeout: Duration::from_secs(60 * 60),
        }
    }
}

impl Elsewhere {
    /// Takes one key of the section; false if there is none of that name.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<bool> {
        match key {
            "offsite" => {
                const KEY: &str = "backup.offsite";
                let words = value.as_array().filter(|words| words.len() <= MAX_WORDS);
                let words = words.ok_or_else(|| wrong_type().with_field(KEY))?;
                self.command = words
                    .iter()
                    .map(|word| string(word, KEY))
                    .collect::<Result<_>>()?;
                let program = self.command.first();
                if program.is_some_and(|program| !Path::new(program).is_absolute()) {
                    return Err(bad("a path is not absolute").with_field(KEY));
                }
            }
            "offsite_timeout_s" => {
                let seconds = number(value, "backup.offsite_timeout_s", 1..=86_400)?;
                self.timeout = Duration::from_secs(seconds);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn thresholds_and_the_command_are_read_and_errors_name_the_key() {
        assert_eq!(Config::parse("").unwrap().thresholds, Thresholds::default());
        let config = Config::parse(
            "[monitoring]\nbackup_hours = 0\nerror_percent = 1\ndisk_percent = 20\ncertificate_days = 30\n\
             [backup]\noffsite = [\"/usr/bin/rclone\", \"copyto\"]\noffsite_timeout_s = 60\n",
        )
        .unwrap();
        assert_eq!(
            config.thresholds,
            Thresholds {
                backup_hours: None,
                error_percent: Some(1),
                disk_percent: Some(20),
                certificate_days: Some(30),
            }
        );
        assert_eq!(config.elsewhere.command, ["/usr/bin/rclone", "copyto"]);
        assert_eq!(config.elsewhere.timeout, Duration::from_secs(60));
        for (text, field) in [
            (
                "[monitoring]\nerror_percent = 101",
                "monitoring.error_percent",
            ),
            (
                "[monitoring]\nbackup_hours = \"canary\"",
                "monitoring.backup_hours",
            ),
            ("[backup]\noffsite = \"canary\"", "backup.offsite"),
            ("[backup]\noffsite = [\"canary\"]", "backup.offsite"),
            ("[backup]\noffsite = [\"/x\", 7]", "backup.offsite"),
            (
                "[backup]\noffsite_timeout_s = 0",
                "backup.offsite_timeout_s",
            ),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert_eq!(error.field(), Some(field), "{text}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert!(Config::parse("[monitoring]\ncanary = 1").is_err());
        assert!(Config::parse("[backup]\ncanary = 1").is_err());
    }
}
