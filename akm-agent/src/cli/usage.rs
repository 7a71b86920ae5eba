//! What is said about a command line that cannot be understood. Exit 64.
//!
//! Invariant: nothing that was typed comes back but the name of a flag: what stands where no argument
//! belongs may be a secret that somebody meant to store.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::output::{self, Fail, Result};

/// Turns clap's error into ours; help and version are data and go to stdout.
pub(crate) fn explain(error: &clap::Error) -> Result<()> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            let text = if output::stdout_is_terminal() {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            return output::raw(text.as_bytes());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::note(error.render().to_string().trim_end());
            return Err(Fail::Exit(64));
        }
        _ => {}
    }
    Err(Fail::Usage {
        message: message(error),
        hint: Some(hint(error)),
    })
}

fn message(error: &clap::Error) -> String {
    let flag = text(error, ContextKind::InvalidArg)
        .filter(|name| name.starts_with('-') || name.starts_with('<') || name.starts_with('['))
        // `--flag=value` keeps its value to itself.
        .map(|name| name.split('=').next().unwrap_or_default().to_owned());
    let of = |what: &str| match &flag {
        Some(flag) => format!("{what} {flag}"),
        None => what.to_owned(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument => match flag {
            Some(flag) if flag.starts_with("--") => format!("unknown flag {flag}"),
            Some(flag) if flag.starts_with('-') => {
                format!("unknown flag {}", flag.chars().take(2).collect::<String>())
            }
            _ => "there is an argument too many".to_owned(),
        },
        ErrorKind::InvalidSubcommand => "there is no such command".to_owned(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            if reason.is_empty() && text(error, ContextKind::InvalidValue).as_deref() == Some("") {
                of("a value is missing for")
            } else {
                format!("{}{reason}", of("the value is not one for"))
            }
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => {
            match list(error, ContextKind::InvalidArg) {
                Some(missing) if missing.contains('|') => "nothing to do is named".to_owned(),
                Some(missing) => format!("{missing} is missing"),
                None => "something is missing".to_owned(),
            }
        }
        ErrorKind::ArgumentConflict => match text(error, ContextKind::PriorArg) {
            Some(other) => format!(
                "{} and {other} exclude each other",
                flag.unwrap_or_default()
            ),
            None => of("only once:"),
        },
        ErrorKind::NoEquals
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues => of("the number of values is wrong for"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => "the command line cannot be understood".to_owned(),
    }
}

fn hint(error: &clap::Error) -> String {
    if let Some(values) = list(error, ContextKind::ValidValue) {
        return format!("one of {values}");
    }
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        if let Some(similar) = list(error, kind) {
            return format!("did you mean {similar}?");
        }
    }
    match text(error, ContextKind::Usage) {
        Some(usage) => usage
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
            .replacen("Usage: ", "", 1),
        None => "akm --help".to_owned(),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
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
