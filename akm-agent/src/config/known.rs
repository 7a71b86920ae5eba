//! Which keys `config.toml` has, and how a person is told of one that it has not.

use std::path::Path;

use akm_core::error::Error;

use super::bad;

/// Every key, as it is written with its section.
pub(super) const KNOWN: &[&str] = &[
    "agent.lifetime",
    "agent.max_lifetime",
    "agent.idle",
    "agent.lock_on_suspend",
    "agent.lock_on_screen_lock",
    "agent.group",
    "agent.paths",
    "limits.keys_per_account",
    "outbound.ca_file",
    "outbound.proxy",
    "outbound.timeout_s",
    "tests.daily",
    "web.folder",
    "hosted.registration",
    "hosted.totp_required",
    "hosted.idle",
    "hosted.absolute",
    "hosted.requests_per_minute",
    "hosted.sign_ins_per_minute",
    "hosted.metrics_from",
    "monitoring.backup_hours",
    "monitoring.error_percent",
    "monitoring.disk_percent",
    "monitoring.certificate_days",
    "backup.offsite",
    "backup.offsite_timeout_s",
    "confirm.timeout_s",
    "callers.agents",
    "callers.sandboxes",
    "callers.ignore",
];

/// Whether a name looks like that of a key and may be shown: whoever pastes a secret to the wrong side of `=` does not find it in
/// a log.
pub(crate) fn shown(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.len() <= 32 && name.bytes().all(plain)
}

/// A key that does not exist, and which do.
pub(super) fn unknown(section: &str, key: &str) -> Error {
    let of_section = |known: &&str| known.split('.').next() == Some(section);
    let mut known: Vec<&str> = KNOWN.iter().copied().filter(of_section).collect();
    if known.is_empty() {
        known = KNOWN.to_vec();
    }
    let known = known.join(", ");
    bad("the configuration has an unknown key").with_hint(match shown(section) && shown(key) {
        true if section.is_empty() => format!("{key} stands in no section; known are {known}"),
        true => format!("{section}.{key} is none; known are {known}"),
        false => format!("known are {known}"),
    })
}

/// Says in which file to look.
pub(super) fn in_file(error: Error, path: &Path) -> Error {
    let file = path.display();
    let hint = match error.hint() {
        Some(hint) => format!("{hint}; the file is {file}"),
        None => format!("the file is {file}"),
    };
    error.with_hint(hint)
}
