//! What can be said of the process of one request, read when it is asked for.
//!
//! The *subject* is who the facts are about: the caller, or, where that is the `akm` command, the process that started
//! it, because everybody can run `akm get`. What is read in several steps belongs together only if the executable is the
//! same before and after; `is_unchanged` says so.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use akm_core::caller::{Ancestor, Company, Hindrance, Script};

use super::digest;
use super::known::{self, Shown};
use super::proc::{Dir, FileId, Memory};
use super::script::{self, Family};

/// Most ancestors that are looked at. A longer chain counts as incomplete.
const MAX_DEPTH: usize = 64;
/// Most `akm` processes between a caller and its subject: `run`, the leader at a terminal, and a command that runs akm again.
const MAX_HANDS: usize = 4;

/// How long facts serve later requests of a connection. A debugger that takes hold of the process is noticed after that.
const MOMENT: Duration = Duration::from_millis(20);

/// The process of a request, and of those that follow at once.
pub(super) struct Look {
    dir: Option<Arc<Dir>>,
    /// Only where somebody wants to know: most requests need none of it.
    seen: OnceLock<Box<Seen>>,
}

struct Seen {
    since: Instant,
    /// Of the process, from before the first fact.
    memory: Option<Memory>,
    /// How many facts there are, and how many there were when the memory was last found in use.
    read: AtomicUsize,
    confirmed: AtomicUsize,
    /// Path of the process that is connected, which need not be the subject.
    exe: OnceLock<Option<String>>,
    subject: OnceLock<Option<Subject>>,
    script: OnceLock<Script>,
    directory: OnceLock<Option<String>>,
    company: OnceLock<Company>,
    variables: OnceLock<Option<Vec<String>>>,
    hindrance: OnceLock<Option<Hindrance>>,
}

struct Subject {
    dir: Arc<Dir>,
    program: String,
    id: FileId,
    /// What is connected, where that is not the subject, and every other `akm` between the two.
    hands: Vec<Arc<Dir>>,
}

impl Look {
    pub(super) fn at(dir: Option<Arc<Dir>>) -> Look {
        Look {
            dir,
            seen: OnceLock::new(),
        }
    }

    /// Whether what was read still says who asks.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.seen.get().is_none_or(|seen| {
            let read = seen.read.load(Relaxed);
            // Of whoever stands behind an `akm` the memory says nothing.
            let subject = seen.subject.get().and_then(Option::as_ref);
            let holds = subject.is_some_and(|subject| subject.hands.is_empty())
                && now.saturating_duration_since(seen.since) < MOMENT
                && seen.memory.as_ref().is_some_and(Memory::is_in_use);
            if holds {
                seen.confirmed.store(read, Relaxed);
            }
            holds
        })
    }

    /// When its first fact was read.
    #[cfg(test)]
    pub(super) fn since(&self) -> Instant {
        self.seen().since
    }

    /// The executable of the process that is connected, if facts that just were found to hold are there.
    pub(super) fn known(&self, read: impl FnOnce() -> Option<String>) -> Option<&str> {
        let seen = self.seen.get()?;
        self.fact(&seen.exe, read).as_deref()
    }

    fn fact<'a, T>(&self, place: &'a OnceLock<T>, read: impl FnOnce() -> T) -> &'a T {
        place.get_or_init(|| {
            self.seen().read.fetch_add(1, Relaxed);
            read()
        })
    }

    fn seen(&self) -> &Seen {
        self.seen.get_or_init(|| {
            Box::new(Seen {
                since: Instant::now(),
                memory: self.dir.as_ref().and_then(|dir| dir.memory()),
                read: AtomicUsize::new(0),
                confirmed: AtomicUsize::new(0),
                exe: OnceLock::new(),
                subject: OnceLock::new(),
                script: OnceLock::new(),
                directory: OnceLock::new(),
                company: OnceLock::new(),
                variables: OnceLock::new(),
                hindrance: OnceLock::new(),
            })
        })
    }

    fn subject(&self) -> Option<&Subject> {
        self.fact(&self.seen().subject, || self.find_subject())
            .as_ref()
    }

    fn find_subject(&self) -> Option<Subject> {
        let mut dir = Arc::clone(self.dir.as_ref()?);
        let mut hands = Vec::new();
        for _ in 0..=MAX_HANDS {
            let id = dir.exe_id()?;
            let program = dir.link("exe")?;
            if !is_akm(&id) {
                return Some(Subject {
                    dir,
                    program,
                    id,
                    hands,
                });
            }
            let parent = Arc::new(dir.parent()?);
            hands.push(std::mem::replace(&mut dir, parent));
        }
        None
    }

    /// Of every `akm` between the subject and here: a mark that the subject has not may stand there.
    fn variables_of_hands(&self) -> Option<Vec<String>> {
        let list = known::list()?;
        let mut found = Vec::new();
        for dir in &self.subject()?.hands {
            found.extend(list.telling(&dir.environment()?));
        }
        Some(found)
    }

    fn variables(&self) -> Option<&[String]> {
        self.fact(&self.seen().variables, || {
            Some(known::list()?.telling(&self.subject()?.dir.environment()?))
        })
        .as_deref()
    }

    fn find_company(&self) -> Company {
        let mut company = Company::default();
        let (Some(subject), Some(list)) = (self.subject(), known::list()) else {
            return company;
        };
        // What cannot be read may hold a mark.
        let (Some(own), Some(of_hands)) = (self.variables(), self.variables_of_hands()) else {
            return company;
        };
        list.of_variables(own, &mut company.known);
        list.of_variables(&of_hands, &mut company.known);
        if let Some(cgroup) = subject.dir.small("cgroup")
            && list.of_cgroup(&cgroup, &mut company.known)
        {
            company.container = cgroup
                .lines()
                .next()
                .and_then(|line| line.splitn(3, ':').nth(2))
                .map(str::to_owned);
        }
        let mut at = Arc::clone(&subject.dir);
        for depth in 0..=MAX_DEPTH {
            let program = at.link("exe");
            let name = at.small("comm").unwrap_or_default();
            let words = at.arguments().unwrap_or_default();
            let shown = Shown {
                program: program.as_deref(),
                name: name.trim_end(),
                words: &words,
            };
            list.of_process(&shown, &mut company.known);
            if depth > 0 {
                company.ancestors.push(Ancestor {
                    pid: at.pid,
                    name: program.unwrap_or_else(|| name.trim_end().to_owned()),
                });
            }
            let Some(stat) = at.stat() else {
                return company;
            };
            if at.pid == 1 || stat.parent == 0 {
                company.complete = true;
                return company;
            }
            let Some(parent) = at.parent() else {
                return company;
            };
            at = Arc::new(parent);
        }
        company
    }

    /// None where it cannot be said.
    fn find_hindrance(&self) -> Option<Option<Hindrance>> {
        let subject = self.subject()?;
        let all = || subject.hands.iter().chain([&subject.dir]);
        for dir in all() {
            if dir.link_id(USER_NAMESPACE)? != own_namespace()? {
                return Some(Some(Hindrance::ForeignNamespace));
            }
        }
        // With mounts or a root of its own another program has the name of the granted one. That of a file that was
        // removed meanwhile says so.
        let ours = FileId::of(Path::new(&subject.program));
        if !ours.is_some_and(|ours| ours.is_same_file(&subject.id))
            && !subject.program.ends_with(" (deleted)")
        {
            return None;
        }
        for dir in all() {
            if dir.is_traced()? {
                return Some(Some(Hindrance::Traced));
            }
        }
        let list = known::list()?;
        let loads = list.loads_code(Some(&subject.program), self.variables()?)
            || list.loads_code(None, &self.variables_of_hands()?)
            || Family::of(&subject.program) == Some(Family::Zsh)
                && known::has_foreign_home(&subject.dir.environment()?);
        Some(loads.then_some(Hindrance::Environment))
    }
}

const USER_NAMESPACE: &str = "ns/user";

/// The user namespace of this process.
fn own_namespace() -> Option<(u64, u64)> {
    static OWN: OnceLock<Option<(u64, u64)>> = OnceLock::new();
    *OWN.get_or_init(|| Dir::open(nix::unistd::getpid().as_raw())?.link_id(USER_NAMESPACE))
}

/// Whether an executable is `akm` of this installation: what lies beside the agent's own.
pub(super) fn is_akm(id: &FileId) -> bool {
    static OWN: OnceLock<Vec<FileId>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let Ok(program) = std::env::current_exe() else {
            return Vec::new();
        };
        ["akm", "akm-agent"]
            .iter()
            .filter_map(|name| FileId::of(&program.with_file_name(name)))
            .collect()
    });
    own.iter().any(|own| own.is_same_file(id))
}

impl akm_core::caller::Process for Look {
    fn program(&self) -> Option<&str> {
        self.subject().map(|subject| subject.program.as_str())
    }

    fn known_digest(&self) -> Option<[u8; 32]> {
        digest::known(&self.subject()?.id)
    }

    fn digest(&self) -> Option<[u8; 32]> {
        let subject = self.subject()?;
        digest::of(&subject.dir, &subject.id)
    }

    fn script(&self) -> &Script {
        self.fact(&self.seen().script, || match self.subject() {
            None => Script::Unclear,
            Some(subject) => match subject.dir.arguments() {
                None => Script::Unclear,
                Some(words) => {
                    script::script(&subject.program, &words, &subject.dir, self.directory())
                }
            },
        })
    }

    fn directory(&self) -> Option<&str> {
        self.fact(&self.seen().directory, || self.subject()?.dir.directory())
            .as_deref()
    }

    fn company(&self) -> &Company {
        self.fact(&self.seen().company, || self.find_company())
    }

    fn hindrance(&self) -> Option<Hindrance> {
        *self.fact(&self.seen().hindrance, || {
            self.find_hindrance().unwrap_or(Some(Hindrance::Unreadable))
        })
    }

    fn is_unchanged(&self) -> bool {
        let Some(subject) = self.subject() else {
            return false;
        };
        // Nothing was read since the process was seen in the memory of the first fact: it has had no other meanwhile.
        let seen = self.seen();
        let confirmed = seen.confirmed.load(Relaxed);
        confirmed > 0 && confirmed == seen.read.load(Relaxed)
            || subject.dir.exe_id() == Some(subject.id)
    }

    fn terminal(&self) -> Option<PathBuf> {
        self.dir.as_ref()?.terminal()
    }
}
