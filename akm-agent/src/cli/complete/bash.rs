//! Bash, which breaks a line at `:` and `=` as well: `akm://openai` comes as three words, and only the last is replaced.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap_complete::engine;
use clap_complete::env::{self, EnvCompleter};

/// As clap's, with references in one piece.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        env::Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        env::Bash.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        env::Bash.write_registration(var, name, bin, completer, buf)
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        // As the script sets them.
        let variable = |name| std::env::var(name).ok();
        let index = variable("_CLAP_COMPLETE_INDEX").and_then(|index| index.parse().ok());
        let between = variable("_CLAP_IFS").unwrap_or_else(|| "\n".to_owned());
        let line = Line::joined(&args, index.unwrap_or_default());
        let found = engine::complete(cmd, line.words, line.index, current_dir)?;
        let values: Vec<_> = found
            .iter()
            .map(|candidate| candidate.get_value().to_string_lossy())
            .collect();
        let shown: Vec<&str> = values
            .iter()
            .map(|value| value.strip_prefix(&line.kept).unwrap_or(value))
            .collect();
        buf.write_all(shown.join(&between).as_bytes())
    }
}

/// A line as it was typed.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    words: Vec<OsString>,
    /// The word that is completed.
    index: usize,
    /// What bash leaves alone of it.
    kept: String,
}

impl Line {
    /// Puts the pieces of references together, and of variables that hold one.
    fn joined(pieces: &[OsString], index: usize) -> Line {
        let mut line = Line {
            words: Vec::with_capacity(pieces.len()),
            index,
            kept: String::new(),
        };
        let mut rest = pieces.iter();
        let mut taken = 0;
        while let Some(piece) = rest.next() {
            let before = taken;
            taken += 1;
            let mut word = piece.clone();
            let mut kept = String::new();
            if let [colon, after, ..] = rest.as_slice()
                && piece == "akm"
                && colon == ":"
                && after.as_encoded_bytes().starts_with(b"//")
            {
                if let [.., variable, equals] = &line.words[..]
                    && equals == "="
                {
                    kept = format!("{}=", variable.to_string_lossy());
                    line.words.truncate(line.words.len() - 2);
                }
                kept.push_str("akm:");
                word = OsString::from(&kept);
                word.push(after);
                rest = rest.as_slice()[2..].iter();
                taken += 2;
            }
            if (before..taken).contains(&index) {
                line.index = line.words.len();
                line.kept = kept;
            }
            line.words.push(word);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_one_word_and_nothing_else_changes() {
        let joined = |pieces: &str, index| {
            let pieces: Vec<OsString> = pieces.split(' ').map(OsString::from).collect();
            let line = Line::joined(&pieces, index);
            let words: Vec<_> = line
                .words
                .iter()
                .map(|word| word.to_string_lossy())
                .collect();
            (words.join(" "), line.index, line.kept)
        };
        let is = |words: &str, index, kept: &str| (words.to_owned(), index, kept.to_owned());
        assert_eq!(joined("akm get op", 2), is("akm get op", 2, ""));
        assert_eq!(
            joined("akm read akm : //op", 4),
            is("akm read akm://op", 2, "akm:")
        );
        assert_eq!(
            joined("akm run -e A = akm : //x -e B = akm : //t", 13),
            is("akm run -e A=akm://x -e B=akm://t", 5, "B=akm:")
        );
        assert_eq!(
            joined("akm run -e A = akm : //x -p op", 9),
            is("akm run -e A=akm://x -p op", 5, "")
        );
        assert_eq!(
            joined("akm log --since = 8", 4),
            is("akm log --since = 8", 4, "")
        );
        assert_eq!(joined("akm read akm :", 3), is("akm read akm :", 3, ""));
    }
}
