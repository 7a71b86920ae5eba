//! The commands that programs start again and again, with a parser of their own.
//!
//! The whole tree of commands takes longer to build than a key takes to come. What this small one accepts, the whole one
//! accepts with the same meaning, because both are made of the same types; what it does not accept (an error, help) is asked of the whole
//! one, which alone speaks to people.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{Cli, Command, key, reference, run};

#[derive(Parser)]
#[command(name = "akm", disable_help_subcommand = true)]
struct Often {
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Few,
}

#[derive(Subcommand)]
enum Few {
    Get(key::Get),
    Run(run::Run),
    Read(reference::Read),
}

/// What a command line means, if it is one of these few.
pub(super) fn parse(arguments: &[OsString]) -> Option<Cli> {
    let name = arguments
        .iter()
        .skip(1)
        .find(|argument| !argument.as_encoded_bytes().starts_with(b"-"))?;
    if !["get", "run", "read"].iter().any(|few| name == few) {
        return None;
    }
    let often = Often::try_parse_from(arguments).ok()?;
    Some(Cli {
        json: often.json,
        command: match often.command {
            Few::Get(args) => Command::Get(args),
            Few::Run(args) => Command::Run(args),
            Few::Read(args) => Command::Read(args),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which command, and whether as JSON.
    type Told = Option<(String, bool)>;

    /// What the small and the whole parser say of a line.
    fn both(line: &[&str]) -> (Told, Told) {
        let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
        let told = |cli: Cli| {
            let command = match cli.command {
                Command::Get(args) => format!("{args:?}"),
                Command::Run(args) => format!("{args:?}"),
                Command::Read(args) => format!("{args:?}"),
                _ => "another".to_owned(),
            };
            (command, cli.json)
        };
        (
            parse(&arguments).map(told),
            Cli::try_parse_from(&arguments).ok().map(told),
        )
    }

    #[test]
    fn what_the_small_parser_accepts_the_whole_one_reads_alike() {
        for line in [
            &["akm", "get", "openai"][..],
            &["akm", "get", "--json", "openai/work"],
            &["akm", "--json", "get", "openai"],
            &["akm", "read", "akm://openai"],
            &["akm", "run", "--", "true"],
            &["akm", "run", "-p", "openai", "--", "env", "--json", "-p"],
            &[
                "akm",
                "--json",
                "run",
                "-e",
                "A=akm://tavily",
                "--no-masking",
                "--",
                "env",
            ],
        ] {
            let (small, whole) = both(line);
            assert!(small.is_some(), "{line:?}");
            assert_eq!(small, whole, "{line:?}");
        }
    }

    #[test]
    fn what_it_does_not_accept_is_left_to_the_whole_one() {
        for line in [
            &["akm"][..],
            &["akm", "--version"],
            &["akm", "get"],
            &["akm", "get", "--help"],
            &["akm", "run"],
            &["akm", "run", "--nothing", "true"],
            &["akm", "ls"],
            &["akm", "ls", "get"],
        ] {
            assert_eq!(both(line).0, None, "{line:?}");
        }
    }
}
