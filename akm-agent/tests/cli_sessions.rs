//! Sessions of the command line as data: each file of `cli_sessions/` is typed into the real `akm`, in a home
//! of its own, without a terminal.
//!
//! A line begins with what it is: `$` a command (with `VAR=value` before it, quotes as in a shell), `<` a line of
//! its stdin, `>` of its stdout, `!` of its stderr, `?` its exit code (0 if absent), `#` a comment. In expected
//! lines `[..]` stands for anything within the line, and a line `...` for any number of lines.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::path::{Path, PathBuf};

use cli_support::{Home, run};

#[derive(Debug, Default)]
struct Step {
    line: usize,
    variables: Vec<(String, String)>,
    words: Vec<String>,
    input: String,
    stdout: Vec<String>,
    stderr: Vec<String>,
    code: i32,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (kind, rest) = line.split_at(line.len().min(1));
        let rest = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
        if kind == "$" {
            let mut words = words(&rest);
            let is_variable = |word: &String| {
                word.split_once('=').is_some_and(|(name, _)| {
                    name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
                })
            };
            let command = words.iter().position(|word| !is_variable(word)).unwrap();
            let variables = words
                .drain(..command)
                .map(|word| {
                    word.split_once('=')
                        .map(|(a, b)| (a.to_owned(), b.to_owned()))
                        .unwrap()
                })
                .collect();
            steps.push(Step {
                line: index + 1,
                variables,
                words,
                ..Step::default()
            });
            continue;
        }
        match kind {
            "" | "#" => {}
            "<" => last(&mut steps).input.push_str(&format!("{rest}\n")),
            ">" => last(&mut steps).stdout.push(rest),
            "!" => last(&mut steps).stderr.push(rest),
            "?" => last(&mut steps).code = rest.parse().unwrap(),
            _ => panic!("line {}: what is {kind:?}?", index + 1),
        }
    }
    steps
}

fn last(steps: &mut [Step]) -> &mut Step {
    steps.last_mut().expect("a command comes first")
}

/// Words, with single and double quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "an open quote in {text}");
    words.extend(word);
    words
}

/// Whether lines are as expected; `[..]` is anything in a line, `...` any number of lines.
fn matches(expected: &[String], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=found.len()).any(|skipped| matches(rest, &found[skipped..]))
        }
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others)),
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once("[..]") {
        None => pattern == line,
        Some((head, tail)) => line.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(index, _)| index)
                .chain([rest.len()])
                .any(|index| line_matches(tail, &rest[index..]))
        }),
    }
}

fn play(path: &Path) -> Result<usize, String> {
    let home = Home::empty();
    let steps = parse(&std::fs::read_to_string(path).unwrap());
    for step in &steps {
        let (program, arguments) = step.words.split_first().unwrap();
        let mut command = match program.as_str() {
            "akm" => home.akm_command(&[]),
            other => home.command(other),
        };
        command.args(arguments);
        for (name, value) in &step.variables {
            command.env(
                name,
                value.replace("$AKM_HOME", &home.path().display().to_string()),
            );
        }
        let output = run(&mut command, step.input.as_bytes());
        let (stdout, stderr) = (cli_support::stdout(&output), cli_support::stderr(&output));
        let as_expected = matches(&step.stdout, &stdout.lines().collect::<Vec<_>>())
            && matches(&step.stderr, &stderr.lines().collect::<Vec<_>>())
            && cli_support::code(&output) == step.code;
        if !as_expected {
            return Err(format!(
                "{}:{}: {}\n--- exit {}, expected {}\n--- stdout\n{stdout}--- expected\n{}\n--- stderr\n{stderr}--- expected\n{}\n",
                path.display(),
                step.line,
                step.words.join(" "),
                cli_support::code(&output),
                step.code,
                step.stdout.join("\n"),
                step.stderr.join("\n"),
            ));
        }
    }
    Ok(steps.len())
}

#[test]
fn every_session_goes_as_it_is_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli_sessions");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files
            .iter()
            .all(|file| file.extension().is_some_and(|e| e == "session"))
    );
    let played: Vec<Result<usize, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .iter()
            .map(|file| scope.spawn(|| play(file)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let failures: Vec<&String> = played
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    for failure in &failures {
        eprintln!("{failure}");
    }
    assert!(
        failures.is_empty(),
        "{} of {} sessions failed",
        failures.len(),
        files.len()
    );
    let steps: usize = played.into_iter().map(Result::unwrap).sum();
    // A directory that was emptied, or a parser that finds nothing, is no success.
    assert!(steps > 100, "{steps}");
}

#[test]
fn the_matcher_sees_differences() {
    let m = |expected: &[&str], found: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        matches(&expected, found)
    };
    assert!(m(&["a [..] c"], &["a b c"]));
    assert!(m(&["a[..]", "...", "z"], &["a", "1", "2", "z"]));
    assert!(m(&["..."], &[]));
    assert!(!m(&["a [..] c"], &["a b d"]));
    assert!(!m(&["a"], &["a", "b"]));
    assert!(!m(&["a", "b"], &["a"]));
    assert!(!m(&[], &["a"]));
    assert_eq!(
        words("akm add 'a b' \"\" x=\"y z\""),
        ["akm", "add", "a b", "", "x=y z"]
    );
}
