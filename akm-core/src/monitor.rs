//! What the program around a vault offers to the [`Service`](crate::service::Service) for `admin.status`: what it counted,
//! the disk, the certificate, the alerts.
//!
//! The service authorises and knows the vault; it knows no listener, no disk and no clock of requests.

use crate::protocol::Observed;
use crate::service::Figures;

/// Whoever watches.
pub trait Monitor: Send + Sync {
    /// What was seen up to now; `figures` are the vault's.
    fn observe(&self, figures: &Figures) -> Observed;
}
