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

use akm_core::{Error, Kind, Secret};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use zeroize::Zeroizing;

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
    pub(crate) fn usage(message: &str, hint: &str) -> Self {
        Fail::Usage {
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
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
            Fail::Usage { .. } => 64,
            Fail::Exit(code) => *code,
        }
    }
}

/// As a shell reports a program that died of SIGPIPE.
const PIPE_CODE: u8 = 141;

fn written(result: io::Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Fail::Exit(PIPE_CODE),
        _ => Fail::Akm(Error::from_io(&error)),
    })
}

/// Writes bytes to stdout as they are, without the buffer of the standard library, which is never wiped.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    let stdout = io::stdout();
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(&stdout, rest) {
            Ok(0) => return Err(Fail::Exit(PIPE_CODE)),
            Ok(count) => rest = &rest[count..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return written(Err(errno.into())),
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

/// Writes one line for a person to stderr. A stderr that is gone is nobody's problem.
pub(crate) fn note(text: &str) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Says the next step, on stderr.
pub(crate) fn hint(text: &str) {
    note(&format!("hint: {text}"));
}

/// Whether a person reads stdout.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person reads stderr.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Reports why a command ended, on stderr: the error object with `--json`, else a sentence and a hint.
pub(crate) fn report(fail: &Fail, as_json: bool) {
    match fail {
        Fail::Exit(_) => {}
        Fail::Akm(error) => {
            let error = match (error.hint(), next_step(error)) {
                (None, Some(step)) => Cow::Owned(error.clone().with_hint(step)),
                _ => Cow::Borrowed(error),
            };
            if as_json {
                report_json(error.as_ref());
                return;
            }
            let field = error.field().map_or(String::new(), |f| format!("{f}: "));
            note(&format!(
                "error: {}{}",
                clean(&field),
                clean(error.message())
            ));
            if let Some(text) = error.hint() {
                hint(&clean(text));
            }
        }
        Fail::Usage {
            message,
            hint: step,
        } => {
            if as_json {
                #[derive(Serialize)]
                struct Usage<'a> {
                    kind: Kind,
                    message: &'a str,
                    #[serde(skip_serializing_if = "Option::is_none")]
                    hint: Option<&'a str>,
                }
                report_json(&Usage {
                    kind: Kind::InvalidInput,
                    message,
                    hint: step.as_deref(),
                });
                return;
            }
            note(&format!("error: {}", clean(message)));
            if let Some(text) = step {
                hint(&clean(text));
            }
        }
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
        return Some(format!("wait {seconds} s and try again"));
    }
    let step = match error.kind() {
        Kind::NoAgent => "run akm unlock, or akm init on a new machine",
        Kind::Locked => "run akm unlock",
        Kind::WrongCredentials => "check the account, the passphrase and the code, and try again",
        Kind::NotFound => "run akm ls to see what there is",
        Kind::Corrupt | Kind::RolledBack => "run akm log verify and look into your backups",
        Kind::UnsupportedVersion => "use the version of akm that wrote the vault, or a newer one",
        Kind::Timeout | Kind::Unavailable => "try again, and run akm doctor if it stays",
        Kind::Io => "run akm doctor to see the files akm uses",
        Kind::Conflict
        | Kind::Denied
        | Kind::LimitReached
        | Kind::RateLimited
        | Kind::InvalidInput
        | Kind::Provider
        | Kind::Internal
        | Kind::Closed
        | Kind::Forked => return None,
    };
    Some(step.to_owned())
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

/// A table of cleaned cells with widths that are right for Chinese, fitted to the terminal if there is one.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(if stdout_is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table.set_header(headers.to_vec());
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

/// Name and value pairs, one to a line, the values in one column.
pub(crate) fn fields(pairs: &[(&str, String)]) -> Result<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in pairs {
        let _ = writeln!(out, "{name:width$}  {}", clean(value));
    }
    raw(out.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_gets_through() {
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
