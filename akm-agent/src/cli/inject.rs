//! `akm inject`: a template with references, filled in.
//!
//! The one syntax is `{{ akm://openai/work }}`, spaces optional, on one line. Everything else is copied byte by
//! byte, other `{{ … }}` too, so a template may belong to another program as well. Secrets are put in as they are:
//! nothing is quoted or escaped.
//!
//! Invariants: the whole output or nothing: every reference is read and every key is there before the first byte is
//! written; a file is made 0600, takes its target's place in one step and leaves nothing where it does not get there; an error
//! names the line, never its content; input and output are bounded.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use akm_core::protocol::KeyGet;
use akm_core::{Error, Kind};
use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::connect;
use super::fresh_file::FreshFile;
use super::output::{self, Result};
use super::reference;
use super::run::wanted::named;

/// Largest template, in bytes.
const MAX_TEMPLATE: usize = 1024 * 1024;
/// Largest output, in bytes.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// Fills in a template.
#[derive(Args)]
#[command(
    after_help = "A template has {{ akm://NAME }} where a secret belongs; everything else is copied as it is.\n\nExample:\n  akm inject -i config.tpl.yaml -o config.yaml\n  echo 'key: {{ akm://openai/work }}' | akm inject"
)]
pub(crate) struct Inject {
    /// The template; standard input if absent, or -
    #[arg(short, long, value_name = "F")]
    input: Option<PathBuf>,
    /// Where to write, readable by you alone; standard output if absent, or -
    #[arg(short, long, value_name = "F")]
    output: Option<PathBuf>,
}

/// A part of a template.
enum Piece<'a> {
    Text(&'a [u8]),
    Key(String),
}

/// What `--json` prints: the text, unless it went into a file.
#[derive(Serialize)]
struct Filled<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

pub(crate) fn inject(args: &Inject, as_json: bool) -> Result<()> {
    // A file of that name, full of secrets, is what nobody meant.
    let is_file = |path: &&PathBuf| path.as_os_str() != "-";
    let (input, output) = (
        args.input.as_ref().filter(is_file),
        args.output.as_ref().filter(is_file),
    );
    if let Some(path) = output {
        check_target(path)?;
    }
    let template = match input {
        Some(path) => {
            let file = File::open(path).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::new(Kind::NotFound, "there is no such file")
                    .with_field("input")
                    .with_hint("check the path"),
                _ => Error::from_io(&error).with_field("input"),
            })?;
            read(file)?
        }
        None => read(std::io::stdin().lock())?,
    };
    let pieces = parse(&template)?;
    let mut client = connect()?;
    let mut secrets = std::collections::BTreeMap::new();
    let mut length = 0;
    for piece in &pieces {
        length += match piece {
            Piece::Text(text) => text.len(),
            Piece::Key(name) => {
                if !secrets.contains_key(name) {
                    let request = KeyGet {
                        name: name.clone(),
                        version: None,
                    };
                    let found = client.call(&request);
                    let secret = found.map_err(|error| named(error, name))?.secret;
                    secrets.insert(name.clone(), secret);
                }
                secrets[name].len()
            }
        };
        if length > MAX_OUTPUT {
            return Err(Error::invalid("input", "the output would be too large").into());
        }
    }
    let mut filled = Zeroizing::new(Vec::with_capacity(length));
    for piece in &pieces {
        filled.extend_from_slice(match piece {
            Piece::Text(text) => text,
            Piece::Key(name) => secrets[name].expose().as_bytes(),
        });
    }
    // What cannot be said in JSON is refused before anything is written.
    let text = match (as_json, output) {
        (true, None) => Some(std::str::from_utf8(&filled).map_err(|_| {
            Error::invalid("input", "the template is not UTF-8, as JSON has to be")
                .with_hint("leave out --json, or give -o")
        })?),
        _ => None,
    };
    match output {
        Some(path) => write(path, &filled)?,
        None if !as_json => return output::raw(&filled),
        None => {}
    }
    match as_json {
        true => output::json(&Filled { text }),
        false => Ok(()),
    }
}

fn read(from: impl Read) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MAX_TEMPLATE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(&error).with_field("input"))?;
    if bytes.len() > MAX_TEMPLATE {
        return Err(Error::invalid("input", "the template is too large").into());
    }
    Ok(bytes)
}

fn parse(template: &[u8]) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(open) = find(&template[at..], b"{{").map(|found| at + found) {
        let inner = open + 2;
        let blank = template[inner..]
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if !template[inner + blank..].starts_with(reference::SCHEME.as_bytes()) {
            // One further, for `{{{ akm://x }}}`.
            at = open + 1;
            continue;
        }
        let wrong = |message| {
            let line = template[..open].iter().filter(|b| **b == b'\n').count() + 1;
            Error::invalid("input", message)
                .with_hint(format!("look at line {line} of the template"))
        };
        let line_end = find(&template[inner..], b"\n").map_or(template.len(), |end| inner + end);
        let close = find(&template[inner..line_end], b"}}")
            .ok_or_else(|| wrong("a reference is not closed with }} on its line"))?;
        let name = std::str::from_utf8(&template[inner..inner + close])
            .ok()
            .and_then(|text| reference::parse(text.trim_matches([' ', '\t']), "input").ok())
            .ok_or_else(|| wrong("a reference is written {{ akm://provider/label }}"))?;
        pieces.push(Piece::Text(&template[copied..open]));
        pieces.push(Piece::Key(name.to_string()));
        copied = inner + close + 2;
        at = copied;
    }
    pieces.push(Piece::Text(&template[copied..]));
    Ok(pieces)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// A file may be replaced; a device, a link or a directory may not.
fn check_target(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(Error::invalid("output", "the output is not a plain file")
            .with_hint("without -o the output goes to standard output")
            .into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::from_io(&error).with_field("output").into()),
    }
}

/// All of it under the name, or the name as it was.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = FreshFile::at(path).and_then(|mut file| {
        file.write(bytes)?;
        file.finish(true)
    });
    Ok(written.map_err(|error| Error::from_io(&error).with_field("output"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Fail;

    fn shown(template: &str) -> String {
        let pieces = parse(template.as_bytes()).unwrap();
        let show = |piece| match piece {
            Piece::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::Key(name) => format!("<{name}>"),
        };
        pieces.into_iter().map(show).collect()
    }

    #[test]
    fn references_are_found_and_all_else_is_copied() {
        for (template, expected) in [
            ("", ""),
            ("a{{akm://openai}}b", "a<openai/default>b"),
            ("{{ akm://a/b }}{{\takm://c }}\n", "<a/b><c/default>\n"),
            ("{{{ akm://a/b }}}", "{<a/b>}"),
            ("{{ jinja }} {{}} }} {{ \n", "{{ jinja }} {{}} }} {{ \n"),
            ("akm://openai {akm://openai}", "akm://openai {akm://openai}"),
            ("{{ x }}{{ akm://a/工作 }}", "{{ x }}<a/工作>"),
        ] {
            assert_eq!(shown(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for bad in [
            "{{ akm://canary",
            "{{ akm://canary }\n}}",
            "{{ akm://canary/x/y }}",
            "{{ akm:// }}",
            "{{ akm://canary | upper }}",
        ] {
            let template = format!("one\n{{{{ other }}}}\n{bad}");
            let Err(Fail::Akm(error)) = parse(template.as_bytes()) else {
                panic!("{bad}");
            };
            assert_eq!(error.kind(), Kind::InvalidInput);
            assert_eq!(
                error.hint(),
                Some("look at line 3 of the template"),
                "{bad}"
            );
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
