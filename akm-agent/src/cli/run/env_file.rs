//! `--env-file`: lines of `NAME=VALUE`, where a value is an `akm://` reference or plain text.
//!
//! Every dotenv reader has its own dialect, so this one is strict: what two programs would read differently is
//! refused rather than guessed. A line is empty, a `#` comment, or `NAME=VALUE` with an optional `export` before
//! it. A value is bare (no spaces, quotes, backslashes, `$` or backticks), `'literal'`, or `"quoted"` with `\n`,
//! `\r`, `\t`, `\\`, `\"` and `\$`. After a value only a comment may follow, which begins with a space and `#`.
//!
//! Invariants: nothing is expanded or run; a name stands once; an error names the line and never its content; the
//! text is wiped, because plain values are often secrets; the file is bounded.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use akm_core::name::check_env;
use akm_core::{Error, Kind, Secret};
use zeroize::Zeroizing;

use super::super::output::Result;
use super::super::reference;
use super::wanted::{Source, Wanted};

/// Largest file that is read, in bytes.
const MAX_FILE: usize = 256 * 1024;
/// The field that errors name.
const FIELD: &str = "env_file";

/// Reads a file.
///
/// Errors: `invalid_input` naming the line, `not_found`, `io`.
pub(crate) fn load(path: &Path) -> Result<Vec<Wanted>> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, "there is no such file")
            .with_field(FIELD)
            .with_hint("check the path"),
        _ => Error::from_io(&error).with_field(FIELD),
    })?;
    // Room for all of it, so that the buffer never moves and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    file.take(MAX_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(&error).with_field(FIELD))?;
    if bytes.len() > MAX_FILE {
        return Err(Error::invalid(FIELD, "the file is too large").into());
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<Wanted>> {
    // Some editors put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut all: Vec<Wanted> = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let parsed = std::str::from_utf8(line)
            .map_err(|_| "the file is not UTF-8")
            .and_then(|line| parse_line(line.strip_suffix('\r').unwrap_or(line)))
            .and_then(|parsed| match parsed {
                Some(wanted) if all.iter().any(|one| one.variable == wanted.variable) => {
                    Err("a variable stands twice in the file")
                }
                parsed => Ok(parsed),
            });
        match parsed {
            Ok(wanted) => all.extend(wanted),
            Err(message) => {
                return Err(Error::invalid(FIELD, message)
                    .with_hint(format!("look at line {} of the file", index + 1))
                    .into());
            }
        }
    }
    Ok(all)
}

fn parse_line(line: &str) -> Result<Option<Wanted>, &'static str> {
    let line = line.trim_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        _ => line,
    };
    let (name, rest) = line
        .split_once('=')
        .ok_or("a line is NAME=VALUE, or a comment")?;
    check_env(name, FIELD)
        .map_err(|_| "a variable name is A-Z, a-z, 0-9 and _, directly before the =")?;
    let value = match rest.as_bytes().first() {
        Some(b'\'') => literal(&rest[1..])?,
        Some(b'"') => quoted(&rest[1..])?,
        _ => bare(rest)?,
    };
    if value.chars().any(|c| c == '\0') {
        return Err("a value has a zero byte");
    }
    let source = if value.starts_with(reference::SCHEME) {
        let name = reference::parse(&value, FIELD)
            .map_err(|_| "a value that begins with akm:// is not the name of a key")?;
        Source::Key(name.to_string())
    } else {
        Source::Plain(Secret::new(value.as_str().to_owned()))
    };
    Ok(Some(Wanted {
        variable: name.to_owned(),
        source,
    }))
}

fn bare(rest: &str) -> Result<Zeroizing<String>, &'static str> {
    let end = rest.find([' ', '\t']).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    only_a_comment(after)?;
    if value.contains(['\'', '"', '\\', '$', '`']) {
        return Err("a value with quotes, backslashes, $ or ` is written in single quotes");
    }
    Ok(Zeroizing::new(value.to_owned()))
}

fn literal(rest: &str) -> Result<Zeroizing<String>, &'static str> {
    let (value, after) = rest
        .split_once('\'')
        .ok_or("a quote is not closed on its line")?;
    only_a_comment(after)?;
    Ok(Zeroizing::new(value.to_owned()))
}

fn quoted(rest: &str) -> Result<Zeroizing<String>, &'static str> {
    let mut value = Zeroizing::new(String::with_capacity(rest.len()));
    let mut chars = rest.chars();
    loop {
        match chars.next().ok_or("a quote is not closed on its line")? {
            '"' => break,
            '$' | '`' => {
                return Err("nothing is expanded: write \\$, or the value in single quotes");
            }
            '\\' => value.push(match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(c @ ('\\' | '"' | '$' | '`')) => c,
                _ => return Err("a backslash stands before something else than n r t \\ \" $"),
            }),
            c => value.push(c),
        }
    }
    only_a_comment(chars.as_str())?;
    Ok(value)
}

/// Nothing, or a space and a comment.
fn only_a_comment(after: &str) -> Result<(), &'static str> {
    let text = after.trim_start_matches([' ', '\t']);
    if text.is_empty() || (text.len() < after.len() && text.starts_with('#')) {
        Ok(())
    } else {
        Err("something follows the value; quote values that have spaces")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Fail;

    fn plain(wanted: &Wanted) -> (&str, &str) {
        match &wanted.source {
            Source::Plain(value) => (&wanted.variable, value.expose()),
            Source::Key(name) => (&wanted.variable, name),
        }
    }

    #[test]
    fn every_form_is_read() {
        let text = "\u{feff}# comment\n\n A=akm://openai/work\r\nexport B=plain # why\nC='a $b \"c\" \\ # d'\n\
                    D=\"x y\\n\\t\\\\\\\"\\$z\" # e\nE=\nF=\"akm://gemini\"\n\tG=https://h/p?a=b#c\nexport=1\n_h9=''";
        let all = parse(text.as_bytes()).unwrap();
        let found: Vec<_> = all.iter().map(plain).collect();
        assert_eq!(
            found,
            [
                ("A", "openai/work"),
                ("B", "plain"),
                ("C", "a $b \"c\" \\ # d"),
                ("D", "x y\n\t\\\"$z"),
                ("E", ""),
                ("F", "google/default"),
                ("G", "https://h/p?a=b#c"),
                ("export", "1"),
                ("_h9", ""),
            ]
        );
        let keys = all
            .iter()
            .filter(|one| matches!(one.source, Source::Key(_)));
        assert_eq!(keys.count(), 2);
    }

    #[test]
    fn errors_name_the_line_and_never_its_content() {
        for bad in [
            "canary",
            "9A=canary",
            "A =canary",
            "A B=canary",
            "A=canary canary",
            "A='canary",
            "A='canary'x",
            "A='canary'#x",
            "A=\"canary",
            "A=\"canary\\x\"",
            "A=\"canary\\",
            "A=\"$canary\"",
            "A=$canary",
            "A=`canary`",
            "A=can'ary",
            "A=can\\ary",
            "A=akm://canary/a/b",
            "A=akm://CANARY",
            "A=canary\0",
            "FIRST=canary",
        ] {
            let text = format!("FIRST=1\n# two\n{bad}\nLAST=1\n");
            let Fail::Akm(error) = parse(text.as_bytes()).unwrap_err() else {
                panic!("{bad}");
            };
            assert_eq!(error.kind(), Kind::InvalidInput, "{bad}");
            assert_eq!(error.field(), Some(FIELD));
            assert_eq!(error.hint(), Some("look at line 3 of the file"), "{bad}");
            assert!(!format!("{error:?}").to_lowercase().contains("canary"));
        }
        assert!(parse(b"A=1\nB=\xff\n").is_err());
    }

    #[test]
    fn a_file_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        let line = "#".repeat(MAX_FILE - 4);
        std::fs::write(&path, format!("{line}\nA=1")).unwrap();
        assert_eq!(load(&path).unwrap().len(), 1);
        std::fs::write(&path, format!("{line}\nA=12")).unwrap();
        assert!(load(&path).is_err());
        assert!(load(&dir.path().join("none")).is_err());
    }
}
