//! Where a secret may be put for a person to paste: what a display may be, and what a program that has one
//! offers to the [`Service`](crate::service::Service).
//!
//! Invariants: a display is one of this machine. `DISPLAY=host:0` would send the secret over TCP, in clear, to whoever
//! is there; such a display is refused here, before anything is connected. Paths are absolute, without `..`, and of
//! bounded length; that they lead to a server of this user or of root is for whoever connects to check.
//!
//! It connects to nothing: an embedding program that offers no clipboard has none.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::protocol::KeyCopy;
use crate::secret::Secret;

/// How long a secret stays on the clipboard if the request does not say.
pub const DEFAULT_CLEAR: Duration = Duration::from_secs(45);
/// The longest it may stay.
pub const MAX_CLEAR: Duration = Duration::from_secs(3600);
/// Longest path of a socket.
const MAX_SOCKET: usize = 107;
/// Longest path of a file.
const MAX_PATH: usize = 4096;

/// An X display of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XDisplay {
    /// The number: 0 of `:0.1`.
    pub number: u16,
    /// The screen: 1 of `:0.1`.
    pub screen: u16,
}

impl XDisplay {
    /// `:0` or `:0.1`; nothing before the colon, which would name a host.
    pub fn parse(text: &str) -> Result<XDisplay> {
        let wrong = || {
            Error::invalid("display", "a display is one of this machine, as :0").with_hint(
                "where DISPLAY is another machine's, akm copy uses the terminal's clipboard",
            )
        };
        let (number, screen) = match text.strip_prefix(':').ok_or_else(wrong)?.split_once('.') {
            Some((number, screen)) => (number, screen),
            None => (&text[1..], "0"),
        };
        let digits = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten()
        };
        Ok(XDisplay {
            number: digits(number).ok_or_else(wrong)?,
            screen: digits(screen).ok_or_else(wrong)?,
        })
    }

    /// The socket of its server.
    pub fn socket(self) -> PathBuf {
        PathBuf::from(format!("/tmp/.X11-unix/X{}", self.number))
    }
}

/// Where a secret is to be put: the display of whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The X display.
    pub x: Option<XDisplay>,
    /// The file that opens it.
    pub xauthority: Option<PathBuf>,
    /// The socket of the Wayland compositor.
    pub wayland: Option<PathBuf>,
}

impl Target {
    /// Checks what a request says of a display.
    pub fn parse(request: &KeyCopy) -> Result<Target> {
        let target = Target {
            x: request
                .display
                .as_deref()
                .map(XDisplay::parse)
                .transpose()?,
            xauthority: request
                .xauthority
                .as_deref()
                .map(|path| absolute(path, MAX_PATH, "xauthority"))
                .transpose()?,
            wayland: request
                .wayland
                .as_deref()
                .map(|path| absolute(path, MAX_SOCKET, "wayland"))
                .transpose()?,
        };
        // The pasteboard of macOS belongs to the session, not to a display.
        if target.x.is_none() && target.wayland.is_none() && !cfg!(target_os = "macos") {
            return Err(Error::invalid("display", "no display is given"));
        }
        Ok(target)
    }
}

/// How long a secret is to stay, of a request.
pub fn clear_after(request: &KeyCopy) -> Result<Duration> {
    match request.clear_s.map(Duration::from_secs) {
        None => Ok(DEFAULT_CLEAR),
        Some(time) if !time.is_zero() && time <= MAX_CLEAR => Ok(time),
        Some(_) => Err(Error::invalid(
            "clear_s",
            "the clipboard is cleared after 1 to 3600 seconds",
        )),
    }
}

fn absolute(text: &str, max: usize, field: &'static str) -> Result<PathBuf> {
    let path = Path::new(text);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if text.len() > max || !path.is_absolute() || !plain || text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "the path is not an absolute one"));
    }
    Ok(path.to_owned())
}

/// A clipboard that a program offers to its service.
pub trait Clipboard: Send + Sync {
    /// Puts a secret there until the time is over, something else is copied, or [`Clipboard::withdraw`]. Returns when
    /// it can be pasted.
    fn offer(&self, target: &Target, secret: &Secret, clear_after: Duration) -> Result<()>;

    /// Takes back what was put there, if anything was. Does not wait.
    fn withdraw(&self);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_display_of_another_machine_is_refused() {
        let display = |number, screen| XDisplay { number, screen };
        assert_eq!(XDisplay::parse(":0").unwrap(), display(0, 0));
        assert_eq!(XDisplay::parse(":99.1").unwrap(), display(99, 1));
        for bad in [
            "",
            ":",
            "0",
            "host:0",
            "localhost:10.0",
            "127.0.0.1:0",
            "[::1]:0",
            "::0",
            "tcp/host:0",
            "unix:0",
            "/tmp/x:0",
            ":0.",
            ":.0",
            ":-1",
            ":+1",
            ":65536",
            ":0.0.0",
            ":0 ",
            ":x",
            "host::0",
            "inet6/::1:0",
            ":0/",
            "\u{661}:0",
            ":\u{661}",
        ] {
            let error = XDisplay::parse(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput, "{bad}");
            assert_eq!(error.field(), Some("display"));
        }
    }

    #[test]
    fn a_path_is_absolute_and_plain() {
        let request = |wayland: &str| KeyCopy {
            wayland: Some(wayland.to_owned()),
            ..KeyCopy::default()
        };
        let good = Target::parse(&request("/run/user/1000/wayland-0")).unwrap();
        assert_eq!(good.wayland.unwrap(), Path::new("/run/user/1000/wayland-0"));
        let long = format!("/{}", "x".repeat(MAX_SOCKET));
        for bad in [
            "",
            "wayland-0",
            "./w",
            "/run/../tmp/w",
            "/a\nb",
            "/a\0b",
            &long,
        ] {
            assert!(Target::parse(&request(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_time_is_between_a_second_and_an_hour() {
        let case = |clear_s| {
            clear_after(&KeyCopy {
                clear_s,
                ..KeyCopy::default()
            })
        };
        assert_eq!(case(None).unwrap(), DEFAULT_CLEAR);
        assert_eq!(case(Some(1)).unwrap(), Duration::from_secs(1));
        assert_eq!(case(Some(3600)).unwrap(), MAX_CLEAR);
        for bad in [0, 3601, u64::MAX] {
            assert_eq!(case(Some(bad)).unwrap_err().field(), Some("clear_s"));
        }
    }
}
