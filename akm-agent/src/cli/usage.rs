//! What is said about a command line that cannot be understood. Exit 64.
//!
//! Invariant: nothing that was typed comes back but the name of a flag: what stands where no argument
//! belongs may be a secret that somebody meant to store.

use std::borrow::Cow;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use super::output::{self, Fail, Result};
use super::text::{Language, help, language, text, translated};

/// Turns clap's error into ours; help and version are data and go to stdout.
pub(crate) fn explain(error: &clap::Error, line: &[OsString]) -> Result<()> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            let text = if output::stdout_is_terminal() {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            return output::raw(of_clap(&text).as_bytes());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::note(of_clap(&error.render().to_string()).trim_end());
            return Err(Fail::Exit(64));
        }
        _ => {}
    }
    let (message, hint) = (message(error), hint(error, line));
    if error.kind() == ErrorKind::InvalidUtf8
        && let Some(field) = not_text(line)
    {
        return Err(Fail::Argument {
            field,
            message,
            hint,
        });
    }
    Err(Fail::Usage {
        message,
        hint: Some(hint),
    })
}

/// The argument that is not UTF-8. clap does not say which: another word takes its place, and is looked for in what clap makes
/// of the line.
fn not_text(line: &[OsString]) -> Option<String> {
    const WORD: &str = "not-utf-8";
    let words = line.iter().map(|word| match word.to_str() {
        Some(text) => OsString::from(text),
        None => WORD.into(),
    });
    let matches = Cli::command().try_get_matches_from(words).ok()?;
    let mut at = &matches;
    loop {
        let found = at.ids().find(|id| {
            let raw = at.try_get_raw(id.as_str()).ok().flatten();
            // The other ids are those of the groups that clap makes of a struct.
            id.as_str().starts_with(|c: char| c.is_ascii_lowercase())
                && raw.is_some_and(|mut values| values.any(|value| value == WORD))
        });
        match found {
            Some(id) => return Some(id.as_str().to_owned()),
            None => at = at.subcommand()?.1,
        }
    }
}

fn message(error: &clap::Error) -> String {
    let flag = part(error, ContextKind::InvalidArg)
        .filter(|name| name.starts_with('-') || name.starts_with('<') || name.starts_with('['))
        // `--flag=value` keeps its value to itself.
        .map(|name| name.split('=').next().unwrap_or_default().to_owned());
    let Some(flag) = flag else {
        return without_flag(error);
    };
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => {
            text!("usage-unknown-flag", flag = flag)
        }
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            // What is glued to a short flag may be its value.
            let short: String = flag.chars().take(2).collect();
            text!("usage-unknown-flag", flag = short)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            match std::error::Error::source(error) {
                Some(reason) => {
                    let reason = in_words(reason);
                    text!("usage-bad-value-because", flag = flag, reason = reason)
                }
                None if part(error, ContextKind::InvalidValue).as_deref() == Some("") => {
                    text!("usage-value-missing", flag = flag)
                }
                None => text!("usage-bad-value", flag = flag),
            }
        }
        ErrorKind::ArgumentConflict => match part(error, ContextKind::PriorArg) {
            Some(other) => text!("usage-exclude", flag = flag, other = other),
            None => text!("usage-once", flag = flag),
        },
        ErrorKind::NoEquals
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues => text!("usage-count", flag = flag),
        _ => without_flag(error),
    }
}

/// Why a value is none. What the standard library says of a number is about its own parsing, not about what is expected.
fn in_words(reason: &(dyn std::error::Error + 'static)) -> String {
    match reason
        .downcast_ref::<ParseIntError>()
        .map(ParseIntError::kind)
    {
        Some(IntErrorKind::PosOverflow) => text!("usage-number-too-large"),
        Some(_) => text!("usage-not-a-number"),
        None => translated(&reason.to_string()).into_owned(),
    }
}

/// What clap rendered, in the language of this process.
fn of_clap(rendered: &str) -> Cow<'_, str> {
    match language() {
        Language::English => Cow::Borrowed(rendered),
        Language::Chinese => Cow::Owned(help::words_of_clap(rendered)),
    }
}

fn without_flag(error: &clap::Error) -> String {
    match error.kind() {
        ErrorKind::UnknownArgument => text!("usage-too-many"),
        ErrorKind::InvalidSubcommand => text!("usage-no-command"),
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => {
            match list(error, ContextKind::InvalidArg) {
                Some(missing) if missing.contains('|') => text!("usage-nothing-named"),
                Some(missing) => text!("usage-missing", what = missing),
                None => text!("usage-something-missing"),
            }
        }
        ErrorKind::InvalidUtf8 => text!("usage-not-utf8"),
        _ => text!("usage-unclear"),
    }
}

fn hint(error: &clap::Error, line: &[OsString]) -> String {
    if let Some(values) = list(error, ContextKind::ValidValue) {
        return text!("hint-one-of", values = values);
    }
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        if let Some(similar) = list(error, kind) {
            return text!("hint-did-you-mean", similar = similar);
        }
    }
    match part(error, ContextKind::Usage) {
        Some(usage) => {
            let usage = of_clap(&usage.replacen("Usage: ", "", 1)).into_owned();
            // Of a command with subcommands clap gives a line for each way to use it.
            let mut ways = usage.lines().map(str::trim).filter(|line| !line.is_empty());
            let way = match error.kind() {
                ErrorKind::InvalidSubcommand => ways.next_back(),
                _ => ways.next(),
            };
            way.unwrap_or_default().to_owned()
        }
        None => format!("{} --help", command_of(line)),
    }
}

/// The command that a line means, as far as its words are ones of ours: nothing else of it comes back.
fn command_of(line: &[OsString]) -> String {
    let mut command = Cli::command();
    let mut path = "akm".to_owned();
    let words = line.iter().skip(1).filter_map(|word| word.to_str());
    for word in words.filter(|word| !word.starts_with('-')) {
        let Some(found) = command.find_subcommand(word).cloned() else {
            break;
        };
        path = format!("{path} {}", found.get_name());
        command = found;
    }
    path
}

fn part(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}

fn list(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::Strings(list) if !list.is_empty() => Some(list.join(", ")),
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}
