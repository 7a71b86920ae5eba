//! Wire types of `key.copy`.

use serde::{Deserialize, Serialize};

use super::wire;

wire! {
    /// Puts a secret on the clipboard of a display of this machine. What is given of a display is what the caller's
    /// environment says; at least one is needed where the system has displays.
    #[derive(Default)]
    request KeyCopy {
        /// `provider/label`, or `provider` for its default key.
        name: String,
        /// Seconds until the clipboard is cleared, 1 to 3600; 45 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clear_s: Option<u64>,
        /// `DISPLAY`, of this machine: `:0`, `:0.0`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display: Option<String>,
        /// `XAUTHORITY`: the absolute path of the file that opens that display.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xauthority: Option<String>,
        /// The absolute path of the socket of `WAYLAND_DISPLAY`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wayland: Option<String>,
    }
}

wire! {
    /// What is on the clipboard now.
    result Copied {
        /// `provider/label`.
        name: String,
        /// Seconds until it is cleared, unless something else was copied by then.
        clear_s: u64,
    }
}
