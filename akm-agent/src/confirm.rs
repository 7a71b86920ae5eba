//! Asks a person whether a program may have a key.
//!
//! By the program in `AKM_ASKPASS` that the agent was started with, as ssh-agent asks through `SSH_ASKPASS`; else on the
//! terminal of whoever asks. A caller that comes from a program that runs what a model wrote is not asked about on its
//! terminal: whoever started it there would read the question and type the answer.
//!
//! Invariants: what other processes wrote (paths, names) is shown with its control characters escaped; only a clear yes
//! counts, and everything else, also silence, is a no; every wait ends, and with the session that it is for.

mod program;
mod terminal;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use akm_core::caller::{Answer, Class, Confirm, Hindrance, Question, Script, Why};
use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::Op;
use nix::sys::stat::{SFlag, stat};

use crate::cli::text::text;
use crate::lifetime::Lifetime;

pub use program::end_all as end_programs;

/// How long a person may take; a client waits a minute.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// How often a question looks whether its answer still matters.
const GLANCE: Duration = Duration::from_millis(200);
/// Most ancestors that a question names.
const MAX_NAMED: usize = 6;
/// Most characters of a path or name that a question shows.
const MAX_SHOWN: usize = 200;

/// The people who can be asked.
pub struct People {
    askpass: Option<PathBuf>,
    patience: Duration,
}

impl People {
    /// Whoever sits at the display of this program, where one is named, or at the caller's terminal.
    pub fn new(askpass: Option<PathBuf>, patience: Duration) -> People {
        People { askpass, patience }
    }
}

/// How long a question may stand, and whether anybody still wants its answer.
struct Wait<'a> {
    until: Instant,
    is_wanted: &'a (dyn Fn() -> bool + Sync),
}

impl Wait<'_> {
    /// How long to wait before the next look; nothing once the time is over or the session is.
    fn next(&self) -> Option<Duration> {
        let left = self.until.checked_duration_since(Instant::now())?;
        (self.is_wanted)().then(|| left.min(GLANCE))
    }
}

/// Whether a program, named by its real path, is ours or root's, and nobody else can write it or put another in its place.
pub(crate) fn is_only_ours(program: &Path) -> bool {
    let euid = nix::unistd::geteuid().as_raw();
    let is_private = |path: &Path, kind: SFlag| {
        stat(path).is_ok_and(|found| {
            SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) == kind
                && (found.st_uid == euid || found.st_uid == 0)
                && found.st_mode & 0o022 == 0
        })
    };
    let parent = program.parent().unwrap_or(Path::new("/"));
    is_private(program, SFlag::S_IFREG) && is_private(parent, SFlag::S_IFDIR)
}

/// The program in `AKM_ASKPASS`, if it can be trusted with the answer: nobody else can have written it.
///
/// Errors: `denied` if somebody could, `not_found` if there is none.
pub fn askpass(named: &Path) -> Result<PathBuf> {
    let path = named.canonicalize().map_err(|_| {
        Error::new(Kind::NotFound, "the program in AKM_ASKPASS does not exist")
            .with_hint("name it by its whole path")
    })?;
    if !is_only_ours(&path) {
        return Err(Error::new(
            Kind::Denied,
            "the program in AKM_ASKPASS could have been written by others",
        ));
    }
    Ok(path)
}

impl Confirm for People {
    fn ask(&self, question: &Question<'_>) -> Answer {
        let wait = Wait {
            until: Instant::now() + self.patience,
            is_wanted: question.is_wanted,
        };
        if let Some(program) = &self.askpass {
            let text = format!(
                "{}\n{}",
                described(question),
                text!("confirm-answer-askpass")
            );
            return program::ask(program, &text, &wait);
        }
        let Some(process) = &question.caller.process.0 else {
            return Answer::Nobody;
        };
        let company = process.company();
        if !company.complete
            || company
                .known
                .iter()
                .any(|known| known.class == Class::Agent)
        {
            return Answer::Nobody;
        }
        match process.terminal() {
            Some(path) => {
                let text = format!(
                    "\n{}\n{}",
                    described(question),
                    text!("confirm-answer-terminal")
                );
                terminal::ask(&path, question.caller.uid, &text, &wait)
            }
            None => Answer::Nobody,
        }
    }
}

/// Everything that a person needs for an answer.
fn described(question: &Question<'_>) -> String {
    let unknown = || text!("confirm-unknown");
    let mut lines = vec![match (changes(question.op), question.key) {
        (false, key) => text!("confirm-question", key = key),
        (true, "") => text!("confirm-question-beside"),
        (true, key) => text!("confirm-question-change", key = key),
    }];
    lines.push(text!("confirm-operation", op = question.op.name()));
    let Some(process) = question.caller.process.0.as_deref() else {
        return lines.join("\n");
    };
    let program = process.program().map_or_else(unknown, shown);
    lines.push(text!("confirm-program", program = program));
    let script = match process.script() {
        Script::NotOne => None,
        Script::File(path) => Some(shown(path)),
        Script::Inline => Some(text!("confirm-inline")),
        Script::Unclear => Some(unknown()),
    };
    if let Some(script) = script {
        lines.push(text!("confirm-script", script = script));
    }
    let directory = process.directory().map_or_else(unknown, shown);
    lines.push(text!("confirm-directory", directory = directory));
    let company = process.company();
    let mut parents: Vec<String> = company
        .ancestors
        .iter()
        .take(MAX_NAMED)
        .map(|ancestor| format!("{} ({})", shown(&ancestor.name), ancestor.pid))
        .collect();
    if company.ancestors.len() > MAX_NAMED || !company.complete {
        parents.push("…".to_owned());
    }
    lines.push(text!("confirm-parents", parents = parents.join(" < ")));
    if !company.known.is_empty() {
        let known: Vec<&str> = company
            .known
            .iter()
            .map(|known| known.id.as_str())
            .collect();
        lines.push(text!("confirm-known", names = known.join(", ")));
    }
    if let Some(container) = &company.container {
        lines.push(text!("confirm-container", name = shown(container)));
    }
    lines.extend(match process.hindrance() {
        None => None,
        Some(Hindrance::Traced) => Some(text!("confirm-traced")),
        Some(Hindrance::Environment) => Some(text!("confirm-environment")),
        Some(Hindrance::ForeignNamespace) => Some(text!("confirm-namespace")),
        Some(Hindrance::Unreadable) => Some(text!("confirm-unreadable")),
    });
    lines.push(match question.why {
        Why::Confirm => text!("confirm-because-key"),
        Why::Policy => text!("confirm-because-policy"),
        Why::Learning => text!("confirm-because-learning"),
    });
    lines.join("\n")
}

/// Whether an operation changes what it is about, and does not hand it out or use it.
fn changes(op: Op) -> bool {
    !matches!(
        op,
        Op::KeyGet | Op::KeyCopy | Op::ProviderTest | Op::ProviderBalance
    )
}

/// A path or name of another process, not too long; `text!` escapes it.
fn shown(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    // The end of a path tells more than its middle.
    let tail: Vec<char> = text.chars().rev().take(MAX_SHOWN / 2).collect();
    let head: String = text.chars().take(MAX_SHOWN / 2).collect();
    format!("{head}…{}", tail.into_iter().rev().collect::<String>())
}

/// What was answered: `yes`, `yes 10m`; nothing else is a yes.
fn understood(answer: &str) -> Answer {
    let answer = answer.trim();
    let Some(rest) = answer
        .get(..3)
        .filter(|word| word.eq_ignore_ascii_case("yes"))
        .map(|_| &answer[3..])
    else {
        return Answer::No;
    };
    if rest.is_empty() {
        return Answer::Yes;
    }
    match (rest.starts_with(' '), Lifetime::parse(rest.trim())) {
        (true, Ok(lifetime)) => Answer::YesFor(Duration::from_secs(lifetime.as_secs())),
        _ => Answer::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert_eq!(understood("yes\n"), Answer::Yes);
        assert_eq!(understood(" YES "), Answer::Yes);
        assert_eq!(
            understood("yes 10m"),
            Answer::YesFor(Duration::from_secs(600))
        );
        assert_eq!(
            understood("yes  1h30m\n"),
            Answer::YesFor(Duration::from_secs(5400))
        );
        for no in [
            "",
            "\n",
            "y",
            "Y",
            "no",
            "ok",
            "1",
            "yes!",
            "yes0",
            "yes10m",
            "yes 0",
            "yes maybe",
            "yes\n10m",
            "yess",
            "ye",
            "да",
            "ｙｅｓ",
        ] {
            assert_eq!(understood(no), Answer::No, "{no:?}");
        }
    }

    #[test]
    fn an_askpass_that_others_could_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("askpass");
        assert_eq!(askpass(&path).unwrap_err().kind(), Kind::NotFound);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&path, 0o755);
        assert_eq!(askpass(&path).unwrap(), path.canonicalize().unwrap());
        mode(&path, 0o775);
        assert_eq!(askpass(&path).unwrap_err().kind(), Kind::Denied);
        mode(&path, 0o755);
        mode(dir.path(), 0o777);
        assert_eq!(askpass(&path).unwrap_err().kind(), Kind::Denied);
        assert_eq!(askpass(dir.path()).unwrap_err().kind(), Kind::Denied);
    }
}
