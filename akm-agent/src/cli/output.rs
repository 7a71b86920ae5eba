//! The only room that prints: data on stdout, everything else on stderr, `hint:` for the next step.
//!
//! Invariants: a reader that goes away (`akm ls | head`) ends the program quietly and is never a panic;
//! what came from the vault, an agent or a provider is shown with its control characters escaped, so that
//! no name, note or answer can move the cursor, colour a line or forge one in a log; a buffer that held a
//! secret is wiped.
//!
//! Deliberately absent: `print!` and `println!`, which panic on a closed pipe.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use akm_core::{Error, Kind, Secret};
use comfy_table::{ContentArrangement, Table, presets};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;
use zeroize::Zeroizing;

use super::text::{message, text, translated};

/// What ends a command before its end.
#[derive(Debug)]
pub(crate) enum Fail {
    /// An error of akm, from here or from the agent.
    Akm(Error),
    /// The command line is at fault.
    Usage {
        /// What is wrong with it; holds no argument but the name of a flag.
        message: String,
        /// What to type instead.
        hint: Option<String>,
    },
    /// This argument of the command line is at fault.
    Argument {
        /// As in the help.
        field: String,
        /// As of a usage error.
        message: String,
        /// What to type instead.
        hint: String,
    },
    /// Everything is said; only the exit code is left.
    Exit(u8),
}

/// The result of a command and its parts.
pub(crate) type Result<T, E = Fail> = std::result::Result<T, E>;

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Fail::Akm(error)
    }
}

impl Fail {
    /// The command line is at fault, and this is what to do.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Fail::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The exit code: 1 failed, 2 no agent, 3 locked, 64 usage.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Fail::Akm(error) => match error.kind() {
                Kind::NoAgent => 2,
                Kind::Locked => 3,
                _ => 1,
            },
            Fail::Usage { .. } | Fail::Argument { .. } => 64,
            Fail::Exit(code) => *code,
        }
    }
}

/// As a shell reports a program that died of SIGPIPE.
const PIPE_CODE: u8 = 141;

fn written(result: io::Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Fail::Exit(PIPE_CODE),
        _ => Fail::Akm(unwritten(&error)),
    })
}

/// Why an output, of ours or of a command, could not be written.
pub(crate) fn unwritten(error: &io::Error) -> Error {
    Error::from_io(error)
        .with_hint("see where the output goes: not all of it could be written there")
}

/// Writes bytes to stdout as they are, without the buffer of the standard library, which is never wiped.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    written(write_all(io::stdout().as_fd(), bytes).map_err(Into::into))
}

/// Writes all of the bytes, also where somebody made the descriptor one that does not wait.
pub(crate) fn write_all(to: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(to, rest) {
            Ok(0) => return Err(Errno::EPIPE),
            Ok(count) => rest = &rest[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let _ = poll(
                    &mut [PollFd::new(to, PollFlags::POLLOUT)],
                    PollTimeout::NONE,
                );
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes one line of data to stdout.
pub(crate) fn line(text: &str) -> Result<()> {
    raw(format!("{text}\n").as_bytes())
}

/// Writes a secret and a newline to stdout, in one write, and wipes the copy.
pub(crate) fn secret(secret: &Secret) -> Result<()> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
    bytes.extend_from_slice(secret.expose().as_bytes());
    bytes.push(b'\n');
    raw(&bytes)
}

/// Writes a value as one line of JSON to stdout. Control characters in it are escaped.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    let mut text = json_text(value)?;
    text.push('\n');
    raw(text.as_bytes())
}

fn json_text<T: Serialize>(value: &T) -> Result<Zeroizing<String>> {
    let text = Zeroizing::new(
        serde_json::to_string(value)
            .map_err(|_| Error::internal("a value could not be written as JSON"))?,
    );
    // serde escapes what JSON must have escaped; a terminal obeys a few more.
    if !text.chars().any(moves_the_cursor) {
        return Ok(text);
    }
    let mut escaped = Zeroizing::new(String::with_capacity(text.len() * 2));
    for c in text.chars() {
        if moves_the_cursor(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Ok(escaped)
}

/// A span as it is typed: `8h`, `1h30m`.
pub(crate) fn duration(seconds: u64) -> String {
    let mut left = seconds;
    let mut text = String::new();
    for (unit, size) in [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)] {
        if left >= size {
            let _ = write!(text, "{}{unit}", left / size);
            left %= size;
        }
    }
    match text.is_empty() {
        true => "0".to_owned(),
        false => text,
    }
}

/// Writes one line for a person to stderr. A stderr that is gone is nobody's problem.
pub(crate) fn note(text: &str) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Says the next step, on stderr.
pub(crate) fn hint(text: &str) {
    note(&text!("hint", step = text));
}

/// Whether a person reads stdout.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person reads stderr, on a terminal where a line can be drawn again.
pub(crate) fn stderr_redraws() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Puts a line in the place of the one that was drawn last.
pub(crate) fn redraw(line: &str) {
    // A terminal that went away is no reason to stop what the line tells of.
    let _ = io::stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
}

/// Reports why a command ended, on stderr: the error object with `--json`, else a sentence and a hint.
pub(crate) fn report(fail: &Fail, as_json: bool) {
    match fail {
        Fail::Exit(_) => {}
        Fail::Akm(error) => {
            if as_json {
                let error = match (error.hint(), next_step(error)) {
                    (None, Some(step)) => Cow::Owned(error.clone().with_hint(step)),
                    _ => Cow::Borrowed(error),
                };
                report_json(error.as_ref());
                return;
            }
            let message = translated(error.message());
            note(&match error.field() {
                Some(field) => text!("error-of-field", field = field, message = message),
                None => text!("error", message = message),
            });
            let step = match error.hint() {
                Some(step) => Some(translated(step).into_owned()),
                None => next_step(error),
            };
            if let Some(step) = step {
                hint(&step);
            }
        }
        Fail::Usage { message, hint } => report_usage(message, None, hint.as_deref(), as_json),
        Fail::Argument {
            field,
            message,
            hint,
        } => report_usage(message, Some(field), Some(hint), as_json),
    }
}

fn report_usage(message: &str, field: Option<&str>, step: Option<&str>, as_json: bool) {
    if as_json {
        #[derive(Serialize)]
        struct Usage<'a> {
            kind: Kind,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
        }
        report_json(&Usage {
            kind: Kind::InvalidInput,
            message,
            field,
            hint: step,
        });
        return;
    }
    note(&text!("error", message = message));
    if let Some(step) = step {
        hint(step);
    }
}

fn report_json<T: Serialize>(value: &T) {
    if let Ok(text) = json_text(value) {
        note(&text);
    }
}

/// What to do about an error that does not say it itself.
fn next_step(error: &Error) -> Option<String> {
    if let Some(seconds) = error.retry_after_s() {
        return Some(text!("hint-wait", seconds = seconds));
    }
    let step = match error.kind() {
        Kind::NoAgent => text!("hint-no-agent"),
        Kind::Locked => text!("hint-unlock"),
        Kind::WrongCredentials => text!("hint-credentials"),
        Kind::Corrupt | Kind::RolledBack => text!("hint-corrupt"),
        Kind::UnsupportedVersion => text!("hint-version"),
        Kind::Timeout | Kind::Unavailable => text!("hint-again"),
        // A field is a path that was given; akm's own files have none.
        Kind::Io if error.field().is_some() => text!("hint-path"),
        Kind::Io => text!("hint-doctor"),
        // What there is instead, only whoever looked for it can say.
        Kind::NotFound
        | Kind::Conflict
        | Kind::Denied
        | Kind::LimitReached
        | Kind::RateLimited
        | Kind::InvalidInput
        | Kind::Provider
        | Kind::Internal
        | Kind::Closed
        | Kind::Forked => return None,
    };
    Some(step)
}

/// A text as a terminal may show it: control and invisible characters become `\u{…}`.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() || moves_the_cursor(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() || moves_the_cursor(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// What JSON allows unescaped and a terminal acts on or hides: DEL, C1, directions, invisible characters.
fn moves_the_cursor(c: char) -> bool {
    matches!(c,
        '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A table is not fitted to less columns than these: it would be letters below each other.
const NARROWEST: u16 = 20;

/// A table of cleaned cells with widths that are right for Chinese, fitted to the terminal if there is one. A head is
/// the id of a message.
pub(crate) fn table(headers: &[&'static str], rows: &[Vec<String>]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // A terminal that was never told its size says that it has no columns at all.
    let fits = table.width().is_none_or(|columns| columns >= NARROWEST);
    table.set_content_arrangement(match stdout_is_terminal() && fits {
        true => ContentArrangement::Dynamic,
        false => ContentArrangement::Disabled,
    });
    table.set_header(headers.iter().map(|id| match *id {
        "" => String::new(),
        id => message(id, &[]),
    }));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = String::new();
    for row in table.lines() {
        out.push_str(row.trim_end());
        out.push('\n');
    }
    raw(out.as_bytes())
}

/// Name and value pairs, one to a line, the values in one column. A name is the id of a message; none is
/// a line more of the value above.
pub(crate) fn fields(pairs: &[(&'static str, String)]) -> Result<()> {
    let names: Vec<String> = pairs
        .iter()
        .map(|(id, _)| match *id {
            "" => String::new(),
            id => message(id, &[]),
        })
        .collect();
    // Not what `format!` pads by: a Chinese character takes two columns.
    let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, (_, value)) in names.iter().zip(pairs) {
        let padding = width - name.width();
        let _ = writeln!(out, "{name}{:padding$}  {}", "", clean(value));
    }
    raw(out.as_bytes())
}

/// As a person reads a switch.
pub(crate) fn yes_or_no(is_so: bool) -> String {
    if is_so { text!("yes") } else { text!("no") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i06_nothing_that_moves_a_cursor_gets_through() {
        for bad in [
            "a\nb",
            "a\u{1b}[31mb",
            "a\u{9b}b",
            "a\u{202e}b",
            "a\rb",
            "\u{7f}",
            "a\0",
        ] {
            let shown = clean(bad);
            assert!(
                shown
                    .chars()
                    .all(|c| !c.is_control() && !moves_the_cursor(c)),
                "{shown}"
            );
            assert!(shown.contains("\\u{"), "{shown}");
        }
        assert_eq!(clean("openai/工作 é"), "openai/工作 é");
    }

    #[test]
    fn escaped_json_still_says_the_same() {
        let text = "tag \u{e0041} c1 \u{9b} bidi \u{202e} 工作 \u{1b}";
        let json = json_text(&text).unwrap();
        assert!(
            json.chars()
                .all(|c| !c.is_control() && !moves_the_cursor(c))
        );
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let code = |kind| Fail::Akm(Error::new(kind, "x")).code();
        assert_eq!(code(Kind::NoAgent), 2);
        assert_eq!(code(Kind::Locked), 3);
        for kind in Kind::ALL {
            if !matches!(kind, Kind::NoAgent | Kind::Locked) {
                assert_eq!(code(*kind), 1);
            }
        }
        assert_eq!(Fail::usage("x", "y").code(), 64);
    }
}
