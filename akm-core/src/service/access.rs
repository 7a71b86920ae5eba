//! Whether a caller may have a key: policy and grants, and a person's word where one is wanted.
//!
//! Every arm that releases or uses a secret comes through [`Service::may`], and every one that changes what rests through
//! [`Service::may_change`], under the session, after the key is known and before its secret leaves or anything is changed. Where a person has to be asked, the arm ends without having done anything, the question is put
//! without holding the session, and the arm runs again with the answer. What was asked about has to be what is
//! then done: same session, same record, same program.
//!
//! Invariants: only a clear yes is one; a question ends; questions are bounded, and one too many is a refusal; a refusal leaves
//! its event like any other. Rules are enforced only where the program sees its callers ([`Service::with_callers`]):
//! one that holds the vault itself has the keys anyway, and says so in `policy.show`. A key that wants confirmation is not handed
//! out there at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::{Caller, Event};
use crate::caller::{Answer, Confirm, Process, Question, Script, Why};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::name::KeyName;
use crate::protocol::{Op, Policy};
use crate::store::Id;
use crate::vault::{Grant, Rules, Ruling, Terms, Use};

use super::session::Generation;
use super::{Asked, Service, done};

/// Most questions that are open at a time.
pub const MAX_QUESTIONS: usize = 16;
/// Longest time for which an answer is kept.
const MAX_KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Most answers that a session keeps.
const MAX_KEPT: usize = 64;

/// What a service needs to enforce rules.
#[derive(Default)]
pub(super) struct Access {
    confirm: Option<Arc<dyn Confirm>>,
    questions: AtomicUsize,
}

/// An arm that may have to wait for a person.
pub(super) enum Gate<T> {
    /// It is done.
    Done(T),
    /// A person has to be asked first.
    Ask(Pending),
    /// It takes too long for the thread that answers.
    Later,
}

impl<T> Gate<T> {
    /// The same with another result.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Gate<U> {
        match self {
            Gate::Done(value) => Gate::Done(change(value)),
            Gate::Ask(pending) => Gate::Ask(pending),
            Gate::Later => Gate::Later,
        }
    }
}

/// Goes on where an arm may, and hands what stops it to whoever runs the arm.
macro_rules! pass {
    ($gate:expr) => {
        match $gate {
            $crate::service::access::Gate::Done(value) => value,
            $crate::service::access::Gate::Ask(pending) => {
                return Ok($crate::service::access::Gate::Ask(pending));
            }
            $crate::service::access::Gate::Later => {
                return Ok($crate::service::access::Gate::Later);
            }
        }
    };
}
pub(super) use pass;

/// What a person is to be asked.
pub(super) struct Pending {
    seen: Generation,
    record: Id,
    /// Of the key; empty where it is about more than one.
    name: String,
    why: Why,
    program: Option<[u8; 32]>,
}

/// What came of a question.
pub(super) struct Leave {
    pending: Pending,
    said: Said,
}

#[derive(Clone, Copy)]
enum Said {
    Answer(Answer),
    /// It was not even asked.
    TooMany,
}

/// Answers that hold for a while; wiped with the session.
#[derive(Default)]
pub(super) struct Answers(Mutex<Vec<Kept>>);

struct Kept {
    record: Id,
    program: [u8; 32],
    /// Boot time.
    until: Duration,
}

impl Answers {
    fn holds(&self, record: &Id, program: &[u8; 32], now: Duration) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|answer| now < answer.until);
        kept.iter()
            .any(|answer| answer.record == *record && answer.program == *program)
    }

    fn keep(&self, answer: Kept) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(answer);
    }
}

impl Service {
    /// Enforces policies and grants from here on, asking people this way. Every caller has to come with its process.
    #[must_use]
    pub fn with_callers(mut self, confirm: Arc<dyn Confirm>) -> Service {
        self.access.confirm = Some(confirm);
        self
    }

    /// Whether policies and grants are enforced.
    pub(super) fn enforces(&self) -> bool {
        self.access.confirm.is_some()
    }

    /// Whether the caller may do this with a key now.
    pub(super) fn may(
        &self,
        asked: &Asked<'_>,
        terms: &Terms,
        name: &KeyName,
        what: Use,
    ) -> Result<Gate<()>> {
        let confirm = terms.confirm && what == Use::Release;
        let why = match self.ruling(asked, &terms.id, what)? {
            Ruling::Allowed if confirm => Why::Confirm,
            Ruling::Allowed => return Ok(Gate::Done(())),
            Ruling::Ask => Why::Policy,
            Ruling::Learn(_) => Why::Learning,
            Ruling::Later => return Ok(Gate::Later),
            Ruling::Refused => return Err(not_granted()),
        };
        if !self.enforces() {
            return Err(Error::new(
                Kind::Denied,
                "the key is handed out after a question, which only the agent asks",
            )
            .with_hint("go through the agent, or run akm edit NAME --no-confirm"));
        }
        let process = asked.caller.process.0.as_deref();
        let program = match process {
            Some(process) if !asked.may_wait && process.known_digest().is_none() => {
                return Ok(Gate::Later);
            }
            Some(process) => fingerprint(process),
            None => None,
        };
        if why != Why::Confirm && program.is_none() {
            return Err(not_granted());
        }
        let now = self.host.clock.boot();
        if program.is_some_and(|program| asked.session.answers.holds(&terms.id, &program, now)) {
            return Ok(Gate::Done(()));
        }
        if !asked.may_wait {
            return Ok(Gate::Later);
        }
        let pending = Pending {
            seen: asked.session.generation(),
            record: terms.id,
            name: name.to_string(),
            why,
            program,
        };
        let for_how_long = pass!(word(asked, pending)?);
        if let (Some(duration), Some(program)) = (for_how_long, program) {
            asked.session.answers.keep(Kept {
                record: terms.id,
                program,
                until: now.saturating_add(duration.min(MAX_KEPT_FOR)),
            });
        }
        if why == Why::Learning
            && let Some(process) = process
        {
            self.learn(asked, terms, name, process)?;
        }
        Ok(Gate::Done(()))
    }

    /// Whether the caller may change a key, or, with an id that no key has, what stands beside all of them.
    ///
    /// A word is good for one change: an answer that is kept is about handing out a secret, and a grant that learns is
    /// one to have it.
    pub(super) fn may_change(&self, asked: &Asked<'_>, record: Id, name: &str) -> Result<Gate<()>> {
        match self.ruling(asked, &record, Use::Change)? {
            Ruling::Allowed => return Ok(Gate::Done(())),
            Ruling::Ask | Ruling::Learn(_) => {}
            Ruling::Later => return Ok(Gate::Later),
            Ruling::Refused => return Err(not_granted_to_change()),
        }
        let program = asked.caller.process.0.as_deref().and_then(fingerprint);
        if program.is_none() {
            return Err(not_granted_to_change());
        }
        let pending = Pending {
            seen: asked.session.generation(),
            record,
            name: name.to_owned(),
            why: Why::Policy,
            program,
        };
        pass!(word(asked, pending)?);
        Ok(Gate::Done(()))
    }

    /// Refuses whom [`Service::may_change`] would refuse without asking anybody.
    pub(super) fn check_may_change(&self, asked: &Asked<'_>, record: Id) -> Result<()> {
        match self.ruling(asked, &record, Use::Change)? {
            Ruling::Refused => Err(not_granted_to_change()),
            _ => Ok(()),
        }
    }

    /// Whether the caller may know of a key: under `granted` only of those that it has a grant for.
    pub(super) fn may_see(&self, asked: &Asked<'_>, record: &Id) -> Result<bool> {
        Ok(self.ruling(asked, record, Use::Use)? != Ruling::Refused)
    }

    /// Refuses a caller that no grant covers for any key, where the policy is `granted`.
    pub(super) fn check_may_list(&self, asked: &Asked<'_>) -> Result<()> {
        let rules = self.vault.rules(&asked.session.account)?;
        let now = self.now_ms();
        // With a key that a grant names, or with none at all where a grant is for every key.
        let mut keys: Vec<Id> = rules.live(now).filter_map(|grant| grant.key).collect();
        keys.push(Id::default());
        for key in keys {
            if self.may_see(asked, &key)? {
                return Ok(());
            }
        }
        Err(not_granted())
    }

    /// Whether every caller is covered, or nobody can tell them apart here.
    pub(super) fn is_open(&self, asked: &Asked<'_>) -> Result<bool> {
        Ok(!self.enforces() || self.vault.rules(&asked.session.account)?.is_open())
    }

    /// Whether the caller may have every key without a grant and without a question.
    pub(super) fn is_open_to(&self, asked: &Asked<'_>) -> Result<bool> {
        if self.is_open(asked)? {
            return Ok(true);
        }
        let rules = self.vault.rules(&asked.session.account)?;
        let process = asked.caller.process.0.as_deref();
        Ok(process.is_some_and(|process| rules.policy_of(process) == Policy::Open))
    }

    fn ruling(&self, asked: &Asked<'_>, record: &Id, what: Use) -> Result<Ruling> {
        if !self.enforces() {
            return Ok(Ruling::Allowed);
        }
        let rules = self.vault.rules(&asked.session.account)?;
        if rules.is_open() {
            return Ok(Ruling::Allowed);
        }
        Ok(match asked.caller.process.0.as_deref() {
            Some(process) => rules.rule(process, record, what, self.now_ms(), asked.may_wait),
            None => Ruling::Refused,
        })
    }

    /// Runs an arm; where it needs a person's word, asks for that without holding the session and runs it again.
    pub(super) fn asking<T>(
        &self,
        caller: &Caller,
        op: Op,
        mut act: impl FnMut(&Asked<'_>) -> Result<Gate<T>>,
    ) -> Result<T> {
        const UNDECIDED: Error = Error::internal("a question was answered and asked again");
        let pending = match self.open_session(caller, op, &mut act)? {
            Gate::Done(value) => return Ok(value),
            Gate::Ask(pending) => pending,
            Gate::Later => return Err(UNDECIDED),
        };
        let leave = self.put(caller, op, pending);
        let table = self.sessions.read();
        let session = table.live(caller, &*self.host.clock)?;
        let asked = Asked {
            leave: Some(&leave),
            ..Asked::new(session, caller, op)
        };
        match self.audited(&asked, act)? {
            Gate::Done(value) => Ok(value),
            Gate::Ask(_) | Gate::Later => Err(UNDECIDED),
        }
    }

    /// Asks a person. Nothing is held meanwhile but a place among the open questions.
    fn put(&self, caller: &Caller, op: Op, pending: Pending) -> Leave {
        let Some(confirm) = &self.access.confirm else {
            return Leave {
                pending,
                said: Said::Answer(Answer::Nobody),
            };
        };
        // Never waits: whoever changes the table will be done at the next look, and the answer is checked in any case.
        let is_wanted = || {
            self.sessions.try_read().is_none_or(|table| {
                let session = table.live(caller, &*self.host.clock);
                session.is_ok_and(|session| session.generation() == pending.seen)
            })
        };
        let open = self.access.questions.fetch_add(1, Ordering::AcqRel);
        let said = match open < MAX_QUESTIONS {
            true => Said::Answer(confirm.ask(&Question {
                key: &pending.name,
                op,
                why: pending.why,
                caller,
                is_wanted: &is_wanted,
            })),
            false => Said::TooMany,
        };
        self.access.questions.fetch_sub(1, Ordering::AcqRel);
        Leave { pending, said }
    }

    /// Makes a grant of what a person just allowed, where the caller can be told apart from others.
    fn learn(
        &self,
        asked: &Asked<'_>,
        terms: &Terms,
        name: &KeyName,
        process: &dyn Process,
    ) -> Result<()> {
        let script = match process.script() {
            Script::File(path) => Some(path.clone()),
            Script::NotOne => None,
            // A grant to an interpreter without a script would be one to everybody who can start it.
            Script::Inline | Script::Unclear => return Ok(()),
        };
        if process.hindrance().is_some() || !process.is_unchanged() {
            return Ok(());
        }
        let id = self.random_id();
        let now = self.now_ms();
        let mut learned = |rules: &mut Rules| {
            let Some(from) = rules
                .live(now)
                .find(|grant| grant.learn && grant.key.is_none_or(|key| key == terms.id))
            else {
                return Ok(());
            };
            let known = process
                .company()
                .known
                .first()
                .map(|known| known.id.clone());
            let watches = rules.agents.is_some() || rules.sandboxes.is_some();
            let grant = Grant {
                id,
                key: Some(terms.id),
                name: Some(name.to_string()),
                exe: process.program().map(str::to_owned),
                exe_sha256: process.digest(),
                script: script.clone(),
                under: from.under.clone(),
                via: known.filter(|_| watches),
                use_only: from.use_only,
                any_env: false,
                learn: false,
                created_at: now,
                expires_at: from.expires_at,
            };
            rules.grants.push(grant);
            Ok(())
        };
        let mut event = || {
            let event = Event {
                record: Some(terms.id),
                key: Some(name),
                ..done(Op::GrantAdd, asked.caller)
            };
            self.audit.append(&asked.session.chain, &event)
        };
        self.vault
            .change_rules(&asked.session.account, &mut learned, &mut event)?;
        Ok(())
    }
}

impl Said {
    /// For how long, if not only once.
    fn allows(self) -> Result<Option<Duration>> {
        let denied = |message| Error::new(Kind::Denied, message);
        match self {
            Said::Answer(Answer::Yes) => Ok(None),
            Said::Answer(Answer::YesFor(duration)) => Ok(Some(duration)),
            Said::Answer(Answer::No) => Err(denied("the request was not confirmed")),
            Said::Answer(Answer::Nothing) => Err(denied("nobody answered in time")),
            Said::Answer(Answer::Nobody) => Err(denied("there is nobody to ask")
                .with_hint("start the agent with AKM_ASKPASS, or ask from a terminal")),
            Said::TooMany => {
                Err(Error::new(Kind::RateLimited, "too many questions are open")
                    .with_retry_after(10))
            }
        }
    }
}

/// What a person said about this, for how long; the question, where nobody was asked yet.
fn word(asked: &Asked<'_>, pending: Pending) -> Result<Gate<Option<Duration>>> {
    let Some(leave) = asked.leave else {
        return Ok(Gate::Ask(pending));
    };
    let asked_about = &leave.pending;
    if asked_about.seen != pending.seen {
        return Err(Error::locked());
    }
    let same = asked_about.record == pending.record
        && asked_about.program == pending.program
        && asked_about.why == pending.why;
    if !same {
        return Err(Error::new(
            Kind::Denied,
            "the key or the program became another one during the question",
        ));
    }
    leave.said.allows().map(Gate::Done)
}

/// Who asks, as far as an answer is meant for others like it. None where the program cannot be read.
fn fingerprint(process: &dyn Process) -> Option<[u8; 32]> {
    let digest = process.digest()?;
    let script: &[u8] = match process.script() {
        Script::File(path) => path.as_bytes(),
        Script::NotOne => b"-",
        Script::Inline => b"-c",
        Script::Unclear => b"?",
    };
    Some(crypto::hash(&[
        b"program",
        process.program()?.as_bytes(),
        &digest,
        script,
        process.directory().unwrap_or_default().as_bytes(),
    ]))
}

pub(super) fn not_granted() -> Error {
    Error::new(Kind::Denied, "no grant covers this program")
        .with_hint("run akm grant NAME --exe PROGRAM, or akm policy set ask")
}

fn not_granted_to_change() -> Error {
    Error::new(Kind::Denied, "no grant lets this program change keys")
        .with_hint("run akm grant --all --exe PROGRAM --for 10m, or akm policy set ask")
}

/// Whether a policy is any at all; `open` beside the general one says nothing.
pub(super) fn stricter(policy: Policy) -> Option<Policy> {
    (policy != Policy::Open).then_some(policy)
}
