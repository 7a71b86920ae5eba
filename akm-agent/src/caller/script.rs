//! Which script an interpreter runs, from its command line.
//!
//! Conservative: only what is certain is a file. An option that is not in the tables here, or that loads other code, makes
//! it unclear; `-c`, `-m`, standard input and a prompt are code without a file. The command line is what the process
//! says of itself, and a relative name is looked up where the process is now: a guard rail, as SECURITY.md says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use akm_core::caller::Script;

/// A kind of interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Python,
    Node,
    Shell,
    Perl,
    Ruby,
    /// Runs scripts in ways that are not read here.
    Other,
}

impl Family {
    /// By the file name of an executable, with or without a version: `python3.13`.
    pub(super) fn of(program: &str) -> Option<Family> {
        let name = program.rsplit('/').next().unwrap_or_default();
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
        Some(match bare {
            "python" | "pypy" => Family::Python,
            "node" | "nodejs" => Family::Node,
            "sh" | "bash" | "dash" | "zsh" | "ksh" | "mksh" | "ash" | "rbash" => Family::Shell,
            "perl" => Family::Perl,
            "ruby" => Family::Ruby,
            "php" | "deno" | "bun" | "lua" | "luajit" | "Rscript" | "R" | "java" | "pwsh"
            | "fish" | "tclsh" | "guile" | "awk" | "gawk" | "mawk" | "busybox" | "julia"
            | "elixir" | "erl" | "beam.smp" | "ipython" | "mono" | "dotnet" | "osascript"
            | "make" | "gdb" | "xargs" | "env" => Family::Other,
            _ => return None,
        })
    }
}

/// What an option does to what follows it.
enum Step {
    /// Nothing.
    Flag,
    /// The next word is its value.
    Value,
    Inline,
    Unclear,
}

/// The script of a process that runs `program` with these words, the first being its name for itself.
pub(super) fn script(program: &str, words: &[Vec<u8>], directory: Option<&str>) -> Script {
    let Some(family) = Family::of(program) else {
        return Script::NotOne;
    };
    if words.is_empty() {
        return Script::Unclear;
    }
    let mut rest = words[1..].iter().map(Vec::as_slice);
    while let Some(word) = rest.next() {
        let step = match (family, word) {
            (Family::Other, _) => Step::Unclear,
            (_, b"-") => Step::Inline,
            (_, b"--") => {
                return match rest.next() {
                    Some(b"-") | None => Script::Inline,
                    Some(path) => file(path, directory),
                };
            }
            (_, [b'-', ..]) => option(family, word),
            // A shell also takes options that begin with a plus.
            (Family::Shell, [b'+', ..]) => Step::Unclear,
            (_, path) => return file(path, directory),
        };
        match step {
            Step::Flag => {}
            Step::Value if rest.next().is_some() => {}
            Step::Inline => return Script::Inline,
            Step::Value | Step::Unclear => return Script::Unclear,
        }
    }
    match family {
        Family::Other => Script::Unclear,
        _ => Script::Inline,
    }
}

fn option(family: Family, word: &[u8]) -> Step {
    if let Some(long) = word.strip_prefix(b"--") {
        return long_option(family, long);
    }
    let letters = &word[1..];
    for (index, letter) in letters.iter().enumerate() {
        let has_more = index + 1 < letters.len();
        match (family, letter) {
            (Family::Python, b'c' | b'm') => return Step::Inline,
            (Family::Python, b'W' | b'X') => {
                let value = &letters[index + 1..];
                // -X presite=MODULE runs a module first.
                return match (has_more, value.starts_with(b"p")) {
                    (true, false) => Step::Flag,
                    (false, _) if *letter == b'W' => Step::Value,
                    _ => Step::Unclear,
                };
            }
            (
                Family::Python,
                b'b' | b'B' | b'd' | b'E' | b'I' | b'O' | b'P' | b'q' | b's' | b'S' | b'u' | b'v',
            ) => {}
            (Family::Node, b'e' | b'p' | b'i') => return Step::Inline,
            (Family::Shell, b'c' | b's') => return Step::Inline,
            (Family::Shell, b'o' | b'O') => {
                return if has_more { Step::Unclear } else { Step::Value };
            }
            (
                Family::Shell,
                b'a' | b'b' | b'e' | b'f' | b'h' | b'k' | b'l' | b'm' | b'n' | b'p' | b'u' | b'v'
                | b'x' | b'B' | b'C' | b'E' | b'H' | b'P' | b'T',
            ) => {}
            (Family::Perl | Family::Ruby, b'e' | b'E') => return Step::Inline,
            (Family::Perl, b'w' | b'W' | b't' | b'T' | b'U') => {}
            (Family::Ruby, b'w' | b'v') => {}
            _ => return Step::Unclear,
        }
    }
    Step::Flag
}

fn long_option(family: Family, long: &[u8]) -> Step {
    let (name, has_value) = match long.iter().position(|byte| *byte == b'=') {
        Some(end) => (&long[..end], true),
        None => (long, false),
    };
    match (family, name) {
        (Family::Python, b"check-hash-based-pycs") if !has_value => Step::Value,
        (Family::Node, b"eval" | b"print" | b"interactive") => Step::Inline,
        (
            Family::Node,
            b"max-old-space-size"
            | b"max-semi-space-size"
            | b"stack-size"
            | b"unhandled-rejections"
            | b"disable-warning",
        ) if has_value => Step::Flag,
        (
            Family::Node,
            b"no-warnings"
            | b"trace-warnings"
            | b"trace-deprecation"
            | b"no-deprecation"
            | b"enable-source-maps"
            | b"expose-gc"
            | b"trace-uncaught"
            | b"preserve-symlinks"
            | b"preserve-symlinks-main",
        ) if !has_value => Step::Flag,
        (
            Family::Shell,
            b"login" | b"norc" | b"noprofile" | b"posix" | b"restricted" | b"verbose",
        ) if !has_value => Step::Flag,
        (Family::Ruby, b"yjit" | b"jit") if !has_value => Step::Flag,
        _ => Step::Unclear,
    }
}

/// The file that a word names, with every link resolved.
fn file(word: &[u8], directory: Option<&str>) -> Script {
    let path = Path::new(OsStr::from_bytes(word));
    let path = match (path.is_absolute(), directory) {
        (true, _) => path.to_owned(),
        (false, Some(directory)) => Path::new(directory).join(path),
        (false, None) => return Script::Unclear,
    };
    match path.canonicalize() {
        Ok(path) if path.is_file() => match path.into_os_string().into_string() {
            Ok(path) => Script::File(path),
            Err(_) => Script::Unclear,
        },
        _ => Script::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str, directory: &Path) -> Script {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        script(
            &format!("/usr/bin/{}", line.split(' ').next().unwrap()),
            &words,
            directory.to_str(),
        )
    }

    #[test]
    fn only_what_is_certain_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let app = home.join("app");
        std::fs::write(&app, "").unwrap();
        std::os::unix::fs::symlink(&app, home.join("link")).unwrap();
        let found = Script::File(app.to_str().unwrap().to_owned());
        for line in [
            "python3 app",
            "python3.13 app -c x",
            "python3 -u app",
            "python3 -Bu -W ignore -Xdev app --x",
            "python3 -Wignore -- app",
            "python3 ./link",
            "pypy3 app",
            "node app",
            "node --no-warnings --max-old-space-size=4096 app",
            "bash app",
            "bash -eu -o pipefail app",
            "bash --norc app",
            "sh -x app",
            "perl -w app",
            "ruby app",
        ] {
            assert_eq!(run(line, &home), found, "{line}");
        }
        for line in [
            "python3",
            "python3 -c app",
            "python3 -cprint(1) app",
            "python3 -m app",
            "python3 -Bm app",
            "python3 -uc app",
            "python3 - app",
            "node",
            "node -e app",
            "node --eval=1 app",
            "bash",
            "bash -c app",
            "bash -ec app",
            "bash -s app",
            "sh - app",
            "perl -e app",
            "ruby -e app",
        ] {
            assert_eq!(run(line, &home), Script::Inline, "{line}");
        }
        for line in [
            "python3 -i app",
            "python3 -Z app",
            "python3 -X presite=evil app",
            "python3 -Xpresite=evil app",
            "python3 missing",
            "python3 .",
            "python3 -W",
            "node -r ./evil app",
            "node --require=./evil app",
            "node --import ./evil app",
            "node --inspect app",
            "bash --rcfile evil app",
            "bash -i app",
            "perl -Mevil app",
            "perl -I. app",
            "ruby -r./evil app",
            "php app",
            "deno run app",
        ] {
            assert_eq!(run(line, &home), Script::Unclear, "{line}");
        }
        assert_eq!(run("akm get app", &home), Script::NotOne);
        assert_eq!(script("/usr/bin/python3", &[], None), Script::Unclear);
        // Relative to nowhere.
        assert_eq!(
            script("python3", &[b"p".to_vec(), b"app".to_vec()], None),
            Script::Unclear
        );
    }
}
