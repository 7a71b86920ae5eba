//! Numbers about a service, for whoever watches it: no names, no values.

use std::path::PathBuf;

use super::Service;

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Sessions that are open.
    pub sessions: usize,
    /// The vault's file and the log beside it.
    pub vault_bytes: u64,
    /// When the newest backup of this vault was made, Unix seconds.
    pub last_backup_s: Option<i64>,
    /// Events that wait in the journal.
    pub pending_events: usize,
}

impl Service {
    /// Reads sizes and the backup directory; what cannot be read counts as absent.
    pub fn figures(&self) -> Figures {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let bytes = |path: PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let backups = self.backups.directory().own().unwrap_or_default();
        let newest = backups.iter().map(|found| found.created_at).max();
        Figures {
            sessions: self.open_sessions(),
            vault_bytes: bytes(self.path.clone()) + bytes(PathBuf::from(log)),
            last_backup_s: newest.map(|ms| ms.div_euclid(1000)),
            pending_events: self.pending_events(),
        }
    }
}
