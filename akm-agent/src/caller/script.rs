//! Which script an interpreter runs, from its command line.
//!
//! Conservative: only what is certain is a file. An option that is not in the tables here, or that loads other code, makes
//! it unclear; `-c`, `-m`, standard input and a prompt are code without a file. The command line is what the process
//! says of itself, and a relative name is looked up where the process is now: a guard rail, as SECURITY.md says.

use akm_core::caller::Script;

use super::place;
use super::proc::Dir;

/// A kind of interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Python,
    Node,
    Shell,
    /// A shell that always reads a file of the home directory.
    Zsh,
    Perl,
    Ruby,
    /// Runs scripts in ways that are not read here.
    Other,
}

impl Family {
    /// By the file name of an executable, with or without a version: `python3.13`. A build of its own kind (`python3-dbg`,
    /// `bash-static`, `python3.13t`) is read in no way that is certain.
    pub(super) fn of(program: &str) -> Option<Family> {
        let name = program.rsplit('/').next().unwrap_or_default();
        let is_version = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
        Family::named(name.trim_end_matches(is_version)).or_else(|| {
            let start = name.split(is_version).next().unwrap_or_default();
            Family::named(start).map(|_| Family::Other)
        })
    }

    fn named(name: &str) -> Option<Family> {
        Some(match name {
            "python" | "pypy" => Family::Python,
            "node" | "nodejs" => Family::Node,
            "zsh" => Family::Zsh,
            "sh" | "bash" | "dash" | "ksh" | "mksh" | "ash" | "rbash" => Family::Shell,
            "perl" => Family::Perl,
            "ruby" => Family::Ruby,
            "php" | "deno" | "bun" | "lua" | "luajit" | "Rscript" | "R" | "java" | "pwsh"
            | "fish" | "tclsh" | "guile" | "awk" | "gawk" | "mawk" | "busybox" | "julia"
            | "elixir" | "erl" | "beam.smp" | "ipython" | "mono" | "dotnet" | "osascript"
            | "make" | "gdb" | "xargs" | "env" | "lksh" | "oksh" | "yash" | "csh" | "tcsh"
            | "nu" | "beam" | "jshell" | "groovy" | "scala" | "ghci" | "runghc" | "ocaml"
            | "racket" | "sbcl" | "emacs" | "electron" => Family::Other,
            _ => return None,
        })
    }
}

/// What an option does to what follows it.
enum Step {
    /// Nothing.
    Flag,
    /// The next word is its value, if that is one of which it is known what it does.
    Value(Check),
    Inline,
    Unclear,
}

type Check = fn(&[u8]) -> bool;

/// The script of a process that runs `program` with these words, the first being its name for itself.
pub(super) fn script(
    program: &str,
    words: &[Vec<u8>],
    dir: &Dir,
    directory: Option<&str>,
) -> Script {
    let Some(family) = Family::of(program) else {
        return Script::NotOne;
    };
    let family = match family {
        Family::Zsh => Family::Shell,
        other => other,
    };
    let Some(own_name) = words.first() else {
        return Script::Unclear;
    };
    // A shell that is called like this reads what a login reads.
    if family == Family::Shell && own_name.starts_with(b"-") {
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
                    Some(path) => file(path, dir, directory),
                };
            }
            (_, [b'-', ..]) => option(family, word),
            // A shell also takes options that begin with a plus.
            (Family::Shell, [b'+', ..]) => Step::Unclear,
            (_, path) => return file(path, dir, directory),
        };
        match step {
            Step::Flag => {}
            Step::Value(fits) if rest.next().is_some_and(fits) => {}
            Step::Inline => return Script::Inline,
            Step::Value(_) | Step::Unclear => return Script::Unclear,
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
                let fits: Check = match letter {
                    b'W' => is_plain_warning,
                    _ => is_harmless_x,
                };
                return match has_more {
                    true if fits(&letters[index + 1..]) => Step::Flag,
                    true => Step::Unclear,
                    false => Step::Value(fits),
                };
            }
            (
                Family::Python,
                b'b' | b'B' | b'd' | b'E' | b'I' | b'O' | b'P' | b'q' | b's' | b'S' | b'u' | b'v',
            ) => {}
            (Family::Node, b'e' | b'p' | b'i') => return Step::Inline,
            (Family::Shell, b'c' | b's') => return Step::Inline,
            (Family::Shell, b'o') if !has_more => return Step::Value(is_harmless_set),
            // Those that mean the same to every shell: -l reads what a login reads, -b ends the options of zsh, -T of mksh
            // has a value.
            (
                Family::Shell,
                b'a' | b'e' | b'f' | b'h' | b'm' | b'n' | b'p' | b'u' | b'v' | b'x' | b'C',
            ) => {}
            (Family::Perl | Family::Ruby, b'e' | b'E') => return Step::Inline,
            (Family::Perl, b'w' | b'W' | b't' | b'T' | b'U') => {}
            (Family::Ruby, b'w' | b'v') => {}
            _ => return Step::Unclear,
        }
    }
    Step::Flag
}

/// A category with a module in its name makes Python import that.
fn is_plain_warning(value: &[u8]) -> bool {
    !value.contains(&b'.')
}

/// Others run a module first (`presite`) or take compiled code from elsewhere (`pycache_prefix`).
fn is_harmless_x(value: &[u8]) -> bool {
    let name = value.split(|byte| *byte == b'=').next().unwrap_or(value);
    [
        b"dev".as_slice(),
        b"utf8",
        b"faulthandler",
        b"importtime",
        b"tracemalloc",
        b"no_debug_ranges",
        b"int_max_str_digits",
        b"warn_default_encoding",
        b"gil",
        b"cpu_count",
        b"disable_remote_debug",
    ]
    .contains(&name)
}

/// Others read the script from standard input (`stdin`, `shinstdin`) or files of a person's own first (`login`, `interactive`).
fn is_harmless_set(value: &[u8]) -> bool {
    [
        b"allexport".as_slice(),
        b"errexit",
        b"errtrace",
        b"functrace",
        b"noclobber",
        b"noexec",
        b"noglob",
        b"nounset",
        b"pipefail",
        b"posix",
        b"verbose",
        b"xtrace",
    ]
    .contains(&value)
}

fn long_option(family: Family, long: &[u8]) -> Step {
    let (name, has_value) = match long.iter().position(|byte| *byte == b'=') {
        Some(end) => (&long[..end], true),
        None => (long, false),
    };
    match (family, name) {
        (Family::Node, b"eval" | b"print" | b"interactive") => Step::Inline,
        (
            Family::Node,
            b"max-old-space-size"
            | b"max-semi-space-size"
            | b"stack-size"
            | b"unhandled-rejections"
            | b"disable-warning",
        ) if has_value => Step::Flag,
        // Not preserve-symlinks: modules would be those beside a link, which anybody can make.
        (
            Family::Node,
            b"no-warnings"
            | b"trace-warnings"
            | b"trace-deprecation"
            | b"no-deprecation"
            | b"enable-source-maps"
            | b"expose-gc"
            | b"trace-uncaught",
        ) if !has_value => Step::Flag,
        (Family::Shell, b"norc" | b"noprofile" | b"posix" | b"restricted" | b"verbose")
            if !has_value =>
        {
            Step::Flag
        }
        (Family::Ruby, b"yjit" | b"jit") if !has_value => Step::Flag,
        _ => Step::Unclear,
    }
}

/// The file that a word names, with every link resolved.
fn file(word: &[u8], dir: &Dir, directory: Option<&str>) -> Script {
    let found = match (word.starts_with(b"/"), directory) {
        (true, _) => place::file(dir, word),
        (false, Some(directory)) if !word.is_empty() => {
            place::file(dir, &[directory.as_bytes(), b"/", word].concat())
        }
        (false, _) => None,
    };
    found.map_or(Script::Unclear, Script::File)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn me() -> Dir {
        Dir::open(std::process::id() as i32).unwrap()
    }

    fn run(line: &str, directory: &Path) -> Script {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        script(
            &format!("/usr/bin/{}", line.split(' ').next().unwrap()),
            &words,
            &me(),
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
            "zsh -e -o pipefail app",
            "dash -o errexit app",
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
            "python3 -X pycache_prefix=evil app",
            "python3 -W ignore::evil.Warning app",
            "python3 -Wignore::evil.Warning app",
            "python3 --check-hash-based-pycs never app",
            "python3-dbg app",
            "bash-static app",
            "node --preserve-symlinks app",
            "node --preserve-symlinks-main app",
            "bash -l app",
            "bash --login app",
            "bash -xl app",
            "bash -O extdebug app",
            "dash -o stdin app",
            "zsh -o shinstdin app",
            "zsh -o login app",
            "zsh -b -x app",
            "mksh -T app app",
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
        assert_eq!(
            script("/usr/bin/python3", &[], &me(), None),
            Script::Unclear
        );
        // Relative to nowhere.
        assert_eq!(
            script("python3", &[b"p".to_vec(), b"app".to_vec()], &me(), None),
            Script::Unclear
        );
        // A login shell by its name.
        let words = |name: &str| vec![name.as_bytes().to_vec(), b"app".to_vec()];
        let named = |name| script("/usr/bin/bash", &words(name), &me(), home.to_str());
        assert_eq!((named("-bash"), named("x")), (Script::Unclear, found));
    }

    #[test]
    fn a_path_that_leads_through_procfs_names_nothing() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let app = home.join("app");
        std::fs::write(&app, "").unwrap();
        let open = std::fs::File::open(&app).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
        let (pid, app) = (std::process::id(), app.to_str().unwrap());
        std::fs::create_dir(home.join("below")).unwrap();
        for (name, target) in [
            ("root", format!("/proc/self/root{app}")),
            ("self", "/proc/self".to_owned()),
            ("again", "self/root".to_owned()),
            ("up", "/proc/..".to_owned()),
            ("loop", "loop".to_owned()),
            ("round", "below/../app".to_owned()),
            ("whole", app.to_owned()),
            ("here", ".".to_owned()),
        ] {
            symlink(target, home.join(name)).unwrap();
        }
        for path in [
            format!("/proc/self/root{app}"),
            format!("/proc/{pid}/root{app}"),
            format!("/proc/thread-self/root{app}"),
            format!("/dev/fd/{fd}"),
            format!("/proc/self/fd/{fd}"),
            format!("/proc/..{app}"),
            format!("/proc/self/../..{app}"),
            format!("self/root{app}"),
            format!("again{app}"),
            format!("up{app}"),
            "root".to_owned(),
            "/proc/self/environ".to_owned(),
            "/dev/stdin".to_owned(),
            "/dev/null".to_owned(),
            "loop".to_owned(),
        ] {
            let line = format!("python3 {path}");
            assert_eq!(run(&line, &home), Script::Unclear, "{path}");
        }
        let found = Script::File(app.to_owned());
        for path in [app, "round", "whole", "here/here/app", "below/../whole"] {
            let line = format!("python3 {path}");
            assert_eq!(run(&line, &home), found, "{path}");
        }
    }
}
