//! `akm env`: keys as the lines of a shell that set them, and take away what would lead elsewhere.
//!
//! Invariant: a value is quoted so that a shell takes it as it is, whatever is in it; the tests ask real shells.

use clap::{Args, ValueEnum};
use serde::Serialize;
use zeroize::Zeroizing;

use super::output::{self, Result};
use super::run::Environment;
use super::{connect, run};

/// Whose quoting to use.
#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    /// Also dash and ksh
    Sh,
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Prints variables for a shell.
#[derive(Args)]
#[command(
    after_help = "Example:\n  eval \"$(akm env openai/work)\"\n  akm env openai/work tavily --shell fish | source"
)]
pub(crate) struct Env {
    /// The keys, each under its own or its provider's standard variable
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The shell that reads it
    #[arg(long, value_name = "SHELL", default_value = "sh")]
    shell: Shell,
}

pub(crate) fn env(args: &Env, json: bool) -> Result<()> {
    let mut client = connect()?;
    let environment = run::environment_of(&args.names, &mut client)?;
    if json {
        return as_json(&environment);
    }
    let set = environment.set.iter();
    let most: usize = set
        .map(|one| one.name.len() + 4 * one.value.len() + 16)
        .sum();
    // Room for all of it, so that no copy of it is left behind.
    let most = most + 144 * environment.unset.len();
    let mut lines = Zeroizing::new(String::with_capacity(most));
    for name in &environment.unset {
        unset(&mut lines, args.shell, name);
    }
    for one in &environment.set {
        line(&mut lines, args.shell, &one.name, one.value.expose());
    }
    output::raw(lines.as_bytes())
}

fn as_json(environment: &Environment) -> Result<()> {
    #[derive(Serialize)]
    struct Set<'a> {
        variable: &'a str,
        #[serde(flatten)]
        value: Value<'a>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Value<'a> {
        Key { name: &'a str, secret: &'a str },
        Plain { value: &'a str },
    }
    #[derive(Serialize)]
    struct Results<'a> {
        results: Vec<Set<'a>>,
        unset: &'a [String],
    }
    let results = environment
        .set
        .iter()
        .map(|one| Set {
            variable: &one.name,
            value: match one.key.as_deref() {
                Some(name) => Value::Key {
                    name,
                    secret: one.value.expose(),
                },
                None => Value::Plain {
                    value: one.value.expose(),
                },
            },
        })
        .collect();
    let unset = &environment.unset;
    output::json(&Results { results, unset })
}

/// Appends the line that takes a variable away.
fn unset(out: &mut String, shell: Shell, name: &str) {
    out.push_str(match shell {
        Shell::Sh | Shell::Bash | Shell::Zsh => "unset ",
        Shell::Fish => "set --erase ",
        Shell::Powershell => "$env:",
    });
    out.push_str(name);
    out.push_str(match shell {
        Shell::Powershell => " = $null\n",
        _ => "\n",
    });
}

/// Appends the line that sets a variable.
fn line(out: &mut String, shell: Shell, name: &str, value: &str) {
    let (open, close) = match shell {
        Shell::Sh | Shell::Bash | Shell::Zsh => ("export {}='", "'\n"),
        Shell::Fish => ("set -gx {} '", "'\n"),
        Shell::Powershell => ("$env:{} = '", "'\n"),
    };
    let (before, after) = open.split_once("{}").unwrap_or((open, ""));
    for part in [before, name, after] {
        out.push_str(part);
    }
    for c in value.chars() {
        match (shell, c) {
            (Shell::Sh | Shell::Bash | Shell::Zsh, '\'') => out.push_str("'\\''"),
            (Shell::Fish, '\'' | '\\') => out.extend(['\\', c]),
            (Shell::Powershell, '\'') => out.push_str("''"),
            _ => out.push(c),
        }
    }
    out.push_str(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn lines(shell: Shell, value: &str) -> String {
        let mut out = String::new();
        line(&mut out, shell, "A_KEY", value);
        out
    }

    /// Every character that a secret may have, and quotes at both ends.
    fn odd() -> String {
        let all: String = (0x20..=0x7eu8).map(char::from).collect();
        format!("'{all}'!!\\'\"$(echo x)`echo y`\\")
    }

    #[test]
    fn a_shell_takes_the_value_as_it_is() {
        for (shell, program) in [
            (Shell::Sh, "sh"),
            (Shell::Bash, "bash"),
            (Shell::Zsh, "zsh"),
            (Shell::Fish, "fish"),
        ] {
            let script = lines(shell, &odd()) + "printf %s \"$A_KEY\"";
            match Command::new(program).arg("-c").arg(script).output() {
                Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), odd()),
                // POSIX has one; the others may be missing, and their quoting is checked below.
                Err(_) if program != "sh" => eprintln!("skipped: {program} is not installed"),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_variable_that_leads_elsewhere_is_taken_away() {
        let mut lines = "export A_KEY=x\n".to_owned();
        unset(&mut lines, Shell::Sh, "A_KEY");
        let script = lines + "printf %s \"${A_KEY-none}\"";
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "none");
        for (shell, expected) in [
            (Shell::Fish, "set --erase A\n"),
            (Shell::Powershell, "$env:A = $null\n"),
        ] {
            let mut line = String::new();
            unset(&mut line, shell, "A");
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn quoting_is_each_shells_own() {
        let value = "a'b\\c$d";
        assert_eq!(lines(Shell::Sh, value), "export A_KEY='a'\\''b\\c$d'\n");
        assert_eq!(lines(Shell::Fish, value), "set -gx A_KEY 'a\\'b\\\\c$d'\n");
        assert_eq!(
            lines(Shell::Powershell, value),
            "$env:A_KEY = 'a''b\\c$d'\n"
        );
    }
}
