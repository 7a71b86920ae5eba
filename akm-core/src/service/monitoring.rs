//! The arm of `admin.status`: how a server is. Counts, sizes, times and rules; no names.

use std::sync::Arc;

use crate::error::Result;
use crate::monitor::Monitor;
use crate::protocol::{ServerRules, ServerStatus};
use crate::store::Store;

use super::{Registration, Service, shape};

impl Service {
    /// Tells administrators what somebody saw who watches.
    #[must_use]
    pub fn with_monitor(mut self, monitor: Arc<dyn Monitor>) -> Service {
        self.monitor = Some(monitor);
        self
    }

    pub(super) fn server_status(&self) -> Result<ServerStatus> {
        let figures = self.figures();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let rules = self.hosting.as_ref().map(|hosting| ServerRules {
            registration: match hosting.registration {
                Registration::Open => "open",
                Registration::Invitation => "invitation",
                Registration::Closed => "closed",
            }
            .to_owned(),
            totp_required: hosting.totp_required,
            idle_s: hosting.idle.as_secs(),
            absolute_s: hosting.absolute.as_secs(),
            keys_per_account: self.key_limit,
        });
        Ok(ServerStatus {
            accounts: self.file.account_count()?,
            sessions: count(figures.sessions),
            vault_bytes: figures.vault_bytes,
            pending_events: count(figures.pending_events),
            last_backup: figures
                .last_backup_s
                .map(|at| shape::time_ms(at.saturating_mul(1000))),
            rules,
            observed: self
                .monitor
                .as_ref()
                .map(|monitor| monitor.observe(&figures)),
        })
    }
}
