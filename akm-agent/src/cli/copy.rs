//! `akm copy`: a secret onto the clipboard, without showing it.
//!
//! On a display of this machine the agent puts it there and takes it back (`key.copy`), so the secret never comes here.
//! Over SSH, and where there is no display, the clipboard is that of the terminal: the secret is fetched and written as
//! an OSC 52 sequence, which the terminal obeys and does not show. A terminal cannot be asked what it holds, so nothing
//! is cleared there, and that is said.

use std::path::PathBuf;

use akm_core::clipboard::XDisplay;
use akm_core::protocol::{Copied, KeyCopy, KeyGet};
use akm_core::{Error, Kind, Secret};
use clap::Args;
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::output::{self, Fail, Result};
use super::run::about;
use super::text::text;
use super::{agent, connect};

/// Copies a secret.
#[derive(Args)]
#[command(after_help = "Example:\n  akm copy openai/work\n  akm copy openai/work --clear 10s")]
pub(crate) struct Copy {
    /// provider/label; a provider alone is its default key
    name: String,
    /// Clear the clipboard after this time, if it still holds the secret: 10s, 45s (if absent), 5m
    #[arg(long = "clear", value_name = "TIME", value_parser = agent::parse_lifetime)]
    clear_s: Option<u64>,
}

/// What the environment says of a display of this machine.
#[derive(Debug, Default, PartialEq, Eq)]
struct Display {
    x: Option<String>,
    xauthority: Option<String>,
    wayland: Option<String>,
}

impl Display {
    /// `None` where the person sits elsewhere or in front of no display.
    fn find(variable: impl Fn(&str) -> Option<String>) -> Option<Display> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        if set("SSH_CONNECTION").is_some() || set("SSH_TTY").is_some() {
            return None;
        }
        if cfg!(target_os = "macos") {
            return Some(Display::default());
        }
        let path = |dir: &str, name: &str| Some(PathBuf::from(dir).join(name).to_str()?.to_owned());
        let wayland = set("WAYLAND_DISPLAY")
            .and_then(|name| path(&set("XDG_RUNTIME_DIR").unwrap_or_default(), &name))
            .filter(|path| path.starts_with('/'));
        // One of another machine is no display for this: the secret would go there in clear.
        let x = set("DISPLAY").filter(|display| XDisplay::parse(display).is_ok());
        let xauthority = set("XAUTHORITY")
            .or_else(|| path(&set("HOME")?, ".Xauthority"))
            .filter(|path| x.is_some() && path.starts_with('/'));
        (x.is_some() || wayland.is_some()).then_some(Display {
            x,
            xauthority,
            wayland,
        })
    }
}

pub(crate) fn copy(args: Copy, json: bool) -> Result<()> {
    match Display::find(|name| std::env::var(name).ok()) {
        Some(display) => to_display(args, display, json),
        None => to_terminal(args, json),
    }
}

fn to_display(args: Copy, display: Display, json: bool) -> Result<()> {
    let request = KeyCopy {
        name: args.name,
        clear_s: args.clear_s,
        display: display.x,
        xauthority: display.xauthority,
        wayland: display.wayland,
    };
    let copied = connect()?
        .call(&request)
        .map_err(|error| about(error, &request.name))?;
    if json {
        return output::json(&copied);
    }
    output::note(&text!(
        "copied",
        name = copied.name,
        seconds = copied.clear_s
    ));
    Ok(())
}

fn to_terminal(args: Copy, json: bool) -> Result<()> {
    if !output::stdout_is_terminal() {
        return Err(Fail::usage(
            text!("no-clipboard"),
            text!("hint-no-clipboard"),
        ));
    }
    if args.clear_s.is_some() {
        return Err(Error::new(
            Kind::Unavailable,
            "the clipboard of a terminal cannot be cleared after a time",
        )
        .with_hint("leave out --clear, and copy something else afterwards")
        .into());
    }
    let request = KeyGet {
        name: args.name,
        version: None,
    };
    let answer = connect()?
        .call(&request)
        .map_err(|error| about(error, &request.name))?;
    output::raw(&sequence(&answer.secret))?;
    if json {
        // Never cleared, which is said as no time at all.
        return output::json(&Copied {
            name: answer.name,
            clear_s: 0,
        });
    }
    output::note(&text!("copied-to-terminal", name = answer.name));
    output::hint(&text!("hint-copied-to-terminal"));
    Ok(())
}

/// OSC 52: the terminal puts what follows on its clipboard.
fn sequence(secret: &Secret) -> Zeroizing<Vec<u8>> {
    let bytes = secret.expose().as_bytes();
    let encoded = Zeroizing::new(BASE64.encode(bytes));
    let mut out = Zeroizing::new(Vec::with_capacity(encoded.len() + 16));
    out.extend_from_slice(b"\x1b]52;c;");
    out.extend_from_slice(encoded.as_bytes());
    out.extend_from_slice(b"\x07");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_is_used_only_where_the_person_sits_in_front_of_it() {
        let find = |set: &[(&str, &str)]| {
            Display::find(|name| {
                let found = set.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let some = |text: &str| Some(text.to_owned());
        let x = find(&[("DISPLAY", ":0"), ("HOME", "/home/a")]).unwrap();
        assert_eq!(
            (x.x, x.xauthority),
            (some(":0"), some("/home/a/.Xauthority"))
        );
        let both = find(&[
            ("DISPLAY", ":1.0"),
            ("XAUTHORITY", "/run/x"),
            ("WAYLAND_DISPLAY", "wayland-1"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
        ])
        .unwrap();
        assert_eq!(both.xauthority, some("/run/x"));
        assert_eq!(both.wayland, some("/run/user/1/wayland-1"));
        let absolute = find(&[("WAYLAND_DISPLAY", "/run/w"), ("XDG_RUNTIME_DIR", "/run/u")]);
        assert_eq!(absolute.unwrap().wayland, some("/run/w"));
        for elsewhere in [
            &[][..],
            &[("DISPLAY", "")],
            &[("DISPLAY", "host:0")],
            &[("DISPLAY", "localhost:10.0")],
            &[("WAYLAND_DISPLAY", "wayland-0")],
            &[
                ("DISPLAY", ":0"),
                ("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22"),
            ],
            &[("DISPLAY", ":0"), ("SSH_TTY", "/dev/pts/1")],
        ] {
            assert_eq!(find(elsewhere), None, "{elsewhere:?}");
        }
    }

    #[test]
    fn a_terminal_reads_the_secret_back() {
        let sequence = sequence(&Secret::new("sk-1;\u{7}x".to_owned()));
        let inner = sequence.strip_prefix(b"\x1b]52;c;").unwrap();
        let inner = inner.strip_suffix(b"\x07").unwrap();
        assert_eq!(BASE64.decode(inner).unwrap(), b"sk-1;\x07x");
    }
}
