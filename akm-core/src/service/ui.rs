//! The arm of `ui.open`: a link to the dashboard of the program this service runs in.
//!
//! The event is written before there is a link: whoever has it acts as the owner of the session.

use std::sync::Arc;

use crate::audit::Caller;
use crate::dashboard::Dashboard;
use crate::error::{Error, Kind, Result};
use crate::protocol::{Op, UiLink};

use super::{Service, done};

impl Service {
    /// Lets a browser in through a dashboard.
    #[must_use]
    pub fn with_dashboard(mut self, dashboard: Arc<dyn Dashboard>) -> Service {
        self.dashboard = Some(dashboard);
        self
    }

    pub(super) fn open_ui(&self, caller: &Caller) -> Result<UiLink> {
        let dashboard = self.dashboard.as_ref().ok_or_else(|| {
            Error::new(Kind::Unavailable, "this program has no dashboard")
                .with_hint("run akm ui, which goes through the agent")
        })?;
        let event = done(Op::UiOpen, caller);
        {
            let table = self.sessions.read();
            match table.live(caller.uid, &*self.host.clock) {
                Ok(session) => self.audit.append(&session.chain, &event)?,
                Err(_) => self.audit.append_system(&event)?,
            }
        }
        dashboard.open(caller)
    }
}
