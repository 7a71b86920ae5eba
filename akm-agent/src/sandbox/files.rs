//! Which files a thread may still reach.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, path_beneath_rules,
};
use serde::{Deserialize, Serialize};

/// What is read, and why.
pub(super) const SYSTEM: &[&str] = &[
    // Libraries, certificates, time zones, programs that are started; where they are no links into /usr, in the others.
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    // The same on NixOS.
    "/nix/store",
    "/run/current-system",
    // Names (resolv.conf, hosts, nsswitch.conf), certificates, users.
    "/etc",
    // Where resolv.conf often leads.
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    // Certificates on openSUSE.
    "/var/lib/ca-certificates",
    // Users of a domain.
    "/var/lib/sss/mc",
    // Who asks, and this process's own size.
    "/proc",
    // How many processors there are.
    "/sys/devices/system/cpu",
    // null and urandom.
    "/dev",
];
/// What is written beside its own directories.
pub(super) const DEVICES: &[&str] = &["/dev/null"];

/// How much of a list of files the kernel took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// All of it.
    Whole,
    /// What an older kernel knows.
    Part,
    /// Nothing: there is no Landlock.
    Nothing,
}

/// From here on this thread, and whatever it starts, reads only `read` and `write` and changes only `write`; what is not
/// there is passed over. It signals nobody outside.
pub(super) fn only(read: &[&Path], write: &[&Path]) -> Held {
    match restrict(read, write) {
        Ok(RulesetStatus::FullyEnforced) => Held::Whole,
        Ok(RulesetStatus::PartiallyEnforced) => Held::Part,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Held::Nothing,
    }
}

fn restrict(read: &[&Path], write: &[&Path]) -> Result<RulesetStatus, RulesetError> {
    // The newest that all of this was written for; an older kernel enforces what it knows.
    let abi = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(write, AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(status.ruleset)
}
