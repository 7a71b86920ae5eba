//! Wire types of backups: making, listing, checking, restoring and scheduling them.

use serde::{Deserialize, Serialize};

use super::plain::{one, option};
use super::wire;
use crate::secret::Secret;

wire! {
    /// Copies the whole vault, as it is at one moment, into the backup directory.
    #[derive(Default)]
    request BackupCreate {
        /// Afterwards keep this many of this vault's backups, the newest; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u32>,
        /// Afterwards remove this vault's backups that are older than this many days, never the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_days: Option<u32>,
    }
}

wire! {
    /// A new backup, on the disk and verified. Where its keys are damaged or missing as in the vault, the answer is `corrupt`, the
    /// backup stays, and no older one is removed for it.
    result BackupCreated {
        /// The backup.
        backup: Backup,
        /// Names of the backups that were removed for it.
        removed: Vec<String>,
        /// How much was shown about it.
        verified: Verified,
        /// Keys in it that were decrypted: those of every account that is open.
        decrypted: u64,
    }
}

wire! {
    /// A file in the backup directory.
    result Backup {
        /// Its file name.
        name: String,
        /// RFC 3339 UTC.
        created_at: String,
        /// Its size.
        bytes: u64,
        /// Whether it is of the vault that is held now, by its name.
        own: bool,
    }
}

wire! {
    /// Lists the backup directory.
    #[derive(Default)]
    request BackupList {}
}

wire! {
    /// The backup directory.
    result BackupPage {
        /// Newest first; at most a thousand.
        backups: Vec<Backup>,
        /// The directory.
        directory: String,
        /// The schedule, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<Schedule>,
        /// How far the backup is that is being made or checked now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        running: Option<Progress>,
    }
}

wire! {
    /// How far something is.
    result Progress {
        /// Parts done.
        done: u64,
        /// Parts in all.
        total: u64,
    }
}

wire! {
    /// Opens a backup and checks it: its structure, and, where the account that is open now is in it, that the
    /// account's keys open what is in it.
    request BackupVerify {
        /// File name in the backup directory.
        name: String,
    }
}

/// How much was shown about a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// Every page, index and reference is whole. Nothing was decrypted.
    Structure,
    /// The same, and all keys of the open account were decrypted.
    Decrypted,
}

wire! {
    /// A backup that is whole; one that is not is an error.
    result BackupVerification {
        /// Its file name.
        name: String,
        /// How much was shown.
        verified: Verified,
        /// Accounts in it.
        accounts: u64,
        /// Keys in it.
        keys: u64,
        /// Keys that were decrypted.
        decrypted: u64,
    }
}

wire! {
    /// Puts a backup in the vault's place. Every session ends; recovery codes are void afterwards.
    request BackupRestore {
        /// File name in the backup directory.
        name: String,
        /// An account in the backup; `default` if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// Its passphrase as it was when the backup was made.
        #[serde(with = "one")]
        #[cfg_attr(feature = "openapi", schemars(with = "String"))]
        passphrase: Secret,
        /// The 32 bytes of the keyfile that the account needed then, in hex, where the agent does not keep it.
        #[serde(default, with = "option", skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
        keyfile: Option<Secret>,
        /// Whether a vault that has an account may be replaced; false if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replace: Option<bool>,
    }
}

wire! {
    /// The backup is the vault now, and locked.
    result Restored {
        /// The backup.
        name: String,
        /// Accounts in it.
        accounts: u64,
        /// Keys in it.
        keys: u64,
        /// File name, beside the vault, of the vault that was replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<String>,
    }
}

wire! {
    /// Makes a backup every day while the agent runs, or stops doing so.
    request BackupSchedule {
        /// Whether to.
        daily: bool,
        /// Keep this many of this vault's backups; 14 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<u32>,
        /// Remove those older than this many days, never the newest; none if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_days: Option<u32>,
    }
}

wire! {
    /// What is scheduled now.
    result BackupScheduled {
        /// The schedule; null for none.
        schedule: Option<Schedule>,
    }
}

wire! {
    /// When backups are made by themselves, and how long they are kept.
    #[derive(Clone, PartialEq, Eq)]
    result Schedule {
        /// Seconds from one to the next.
        every_s: u64,
        /// How many are kept.
        keep: u32,
        /// How many days they are kept, if that is limited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_days: Option<u32>,
    }
}
