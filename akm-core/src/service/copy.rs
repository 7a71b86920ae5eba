//! The arm of `key.copy`: a secret onto the clipboard of whoever asks.
//!
//! Refused as a get is, and with a get's event before anything leaves. The session is not held while a display is
//! asked; if it ended meanwhile, what was put there is taken back.

use std::sync::Arc;

use crate::audit::Caller;
use crate::clipboard::{self, Clipboard, Target};
use crate::error::{Error, Kind, Result};
use crate::protocol::{Copied, KeyCopy, KeyGet, Op};

use super::Service;
use super::access::{Gate, pass};

impl Service {
    /// Lets keys be copied to a clipboard, which is taken back when a session ends.
    #[must_use]
    pub fn with_clipboard(mut self, clipboard: Arc<dyn Clipboard>) -> Service {
        self.clipboard = Some(clipboard);
        self
    }

    /// Takes back what is on the clipboard.
    pub(super) fn withdraw(&self) {
        if let Some(clipboard) = &self.clipboard {
            clipboard.withdraw();
        }
    }

    pub(super) fn copy_key(&self, caller: &Caller, request: KeyCopy) -> Result<Copied> {
        let (clipboard, target, clear_after, key, seen) =
            self.asking(caller, Op::KeyCopy, |asked| {
                let target = Target::parse(&request)?;
                let clear_after = clipboard::clear_after(&request)?;
                // Refused for the key's sake before anything else is, in every program alike.
                self.check_handing_out(asked, &request.name)?;
                let clipboard = self.clipboard.clone().ok_or_else(|| {
                    Error::new(Kind::Unavailable, "this program has no clipboard")
                        .with_hint("run akm copy, which goes through the agent")
                })?;
                let get = KeyGet {
                    name: request.name.clone(),
                    version: None,
                };
                let key = pass!(self.get_key(asked, &get)?);
                let seen = asked.session.generation();
                Ok(Gate::Done((clipboard, target, clear_after, key, seen)))
            })?;
        clipboard.offer(&target, &key.secret, clear_after)?;
        // A lock that came meanwhile found nothing to take back yet.
        let is_open = {
            let table = self.sessions.read();
            let session = table.live(caller, &*self.host.clock);
            session.is_ok_and(|session| session.generation() == seen)
        };
        if !is_open {
            clipboard.withdraw();
            return Err(Error::locked());
        }
        Ok(Copied {
            name: key.name,
            clear_s: clear_after.as_secs(),
        })
    }
}
