//! What a program that has a web dashboard offers to the [`Service`](crate::service::Service): a link to it.
//!
//! The service authorises and audits `ui.open` and knows no socket; a program that embeds it and offers no dashboard
//! has none.

use crate::audit::Caller;
use crate::error::Result;
use crate::protocol::UiLink;

/// A dashboard.
pub trait Dashboard: Send + Sync {
    /// A link that lets one browser in, once and soon, for the session of this caller's uid.
    ///
    /// Errors: `io` where no listener can be opened; `unavailable` while the program stops.
    fn open(&self, caller: &Caller) -> Result<UiLink>;
}
