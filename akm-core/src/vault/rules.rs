//! Who may have an account's keys: its policy and its grants, and whether a caller is covered by them.
//!
//! They are part of the account's sealed state, so whoever can write the file can neither forge them nor put older
//! ones back. Deciding is done here on facts that are read when a rule needs them; who asks a person, and what an
//! operation is, stands in `service::access`.
//!
//! Invariants: what is not known of a caller fits no grant; a fact that may make the policy stricter and cannot be
//! read makes it stricter; an expired grant covers nobody.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::caller::{Class, Company, Hindrance, Process, Script};
use crate::error::{Error, Kind, Result};
use crate::protocol::Policy;
use crate::store::{AccountChange, BeforeCommit, Id};

use super::{Unlocked, Vault};

/// Most grants of an account.
pub const MAX_GRANTS: usize = 100;
/// Most bytes of all of them as they are written.
const MAX_ENCODED: usize = 128 * 1024;
/// How often a change is tried again that another one came before.
const TRIES: u32 = 3;

/// An account's policy and grants.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What holds for a caller that no grant covers.
    pub policy: Policy,
    /// The same for callers that come from a program that runs what a model wrote, if that is stricter.
    pub agents: Option<Policy>,
    /// The same for callers that come from a sandbox.
    pub sandboxes: Option<Policy>,
    /// What callers may do.
    pub grants: Vec<Grant>,
}

/// What a caller may do. Every field that is there has to fit.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Random.
    pub id: Id,
    /// The record of the key; every key if absent.
    pub key: Option<Id>,
    /// The key's name when the grant was made.
    pub name: Option<String>,
    /// Path of the executable.
    pub exe: Option<String>,
    /// SHA-256 of the executable.
    pub exe_sha256: Option<[u8; 32]>,
    /// Path of the script.
    pub script: Option<String>,
    /// Directory in or below which the caller works.
    pub under: Option<String>,
    /// Id of the known program that the caller comes from.
    pub via: Option<String>,
    /// Only use, never hand out.
    pub use_only: bool,
    /// Also with variables in its environment that load code.
    pub any_env: bool,
    /// Covers nobody: who is allowed to by a person gets a grant of this key.
    pub learn: bool,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds.
    pub expires_at: Option<i64>,
}

/// What is to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its secret leaves the agent.
    Release,
    /// The agent uses it.
    Use,
    /// It, or what stands beside it, becomes something else: added, changed, replaced, removed.
    Change,
}

/// What the rules say of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It may.
    Allowed,
    /// A person decides.
    Ask,
    /// A person decides, and the decision becomes a grant like this one, which learns.
    Learn(Id),
    /// It may not.
    Refused,
    /// It cannot be said without reading a whole file.
    Later,
}

impl Rules {
    /// Whether every caller is covered, so that nothing about it needs to be known.
    pub fn is_open(&self) -> bool {
        self.policy == Policy::Open && self.agents.is_none() && self.sandboxes.is_none()
    }

    /// What holds for a caller and a key.
    pub fn rule(
        &self,
        process: &dyn Process,
        record: &Id,
        what: Use,
        now_ms: i64,
        may_wait: bool,
    ) -> Ruling {
        if self.is_open() {
            return Ruling::Allowed;
        }
        let watches = self.watches();
        let policy = self.policy_of(process);
        if policy == Policy::Open {
            return Ruling::Allowed;
        }
        // Nobody is asked about it either: what such a process shows of itself is its own invention.
        let hindrance = process.hindrance();
        if hindrance == Some(Hindrance::ForeignNamespace) {
            return Ruling::Refused;
        }
        let mut learning = None;
        for grant in self.live(now_ms) {
            if grant.key.is_some_and(|key| key != *record) || grant.use_only && what != Use::Use {
                continue;
            }
            if grant.learn {
                learning.get_or_insert(grant.id);
                continue;
            }
            match grant.fits(process, hindrance, watches, may_wait) {
                Fit::Yes => return Ruling::Allowed,
                Fit::No => {}
                Fit::Later => return Ruling::Later,
            }
        }
        match (learning, policy) {
            (Some(id), _) => Ruling::Learn(id),
            (None, Policy::Ask) => Ruling::Ask,
            (None, _) => Ruling::Refused,
        }
    }

    /// What holds for a caller without a grant.
    pub fn policy_of(&self, process: &dyn Process) -> Policy {
        match self.watches() {
            true => self.policy_for(process.company()),
            false => self.policy,
        }
    }

    /// Whether a grant covers a caller now; reads all that it has to.
    pub fn covers(&self, grant: &Grant, process: &dyn Process) -> bool {
        let hindrance = process.hindrance();
        !grant.learn
            && hindrance != Some(Hindrance::ForeignNamespace)
            && matches!(
                grant.fits(process, hindrance, self.watches(), true),
                Fit::Yes
            )
    }

    /// Whether it matters which programs a caller comes from.
    fn watches(&self) -> bool {
        self.agents.is_some() || self.sandboxes.is_some()
    }

    /// The grants that are not over.
    pub fn live(&self, now_ms: i64) -> impl Iterator<Item = &Grant> {
        self.grants
            .iter()
            .filter(move |grant| !grant.is_over(now_ms))
    }

    /// What holds for a caller of this company without a grant.
    fn policy_for(&self, company: &Company) -> Policy {
        let mut policy = self.policy;
        for (class, own) in [
            (Class::Agent, self.agents),
            (Class::Sandbox, self.sandboxes),
        ] {
            // Of a chain that could not be followed to its end the worst is assumed.
            if !company.complete || company.known.iter().any(|known| known.class == class) {
                policy = policy.max(own.unwrap_or_default());
            }
        }
        policy
    }

    /// Whether this lets somebody in whom `before` kept out, other than by a grant.
    pub fn is_looser_than(&self, before: &Rules) -> bool {
        let strict = |own: Option<Policy>, policy: Policy| own.unwrap_or_default().max(policy);
        self.policy < before.policy
            || strict(self.agents, self.policy) < strict(before.agents, before.policy)
            || strict(self.sandboxes, self.policy) < strict(before.sandboxes, before.policy)
            // Grants without a known program count again where nobody watches for such programs.
            || before.agents.is_some() && self.agents.is_none() && before.policy != Policy::Open
            || before.sandboxes.is_some() && self.sandboxes.is_none() && before.policy != Policy::Open
    }
}

enum Fit {
    Yes,
    No,
    Later,
}

impl Grant {
    /// Whether its time has passed.
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now_ms)
    }

    /// The cheap facts first.
    fn fits(
        &self,
        process: &dyn Process,
        hindrance: Option<Hindrance>,
        watches: bool,
        may_wait: bool,
    ) -> Fit {
        let hindered = match hindrance {
            None => false,
            Some(Hindrance::Environment) => !self.any_env,
            Some(_) => true,
        };
        if hindered {
            return Fit::No;
        }
        if let Some(exe) = &self.exe
            && process.program() != Some(exe)
        {
            return Fit::No;
        }
        if let Some(under) = &self.under
            && !process
                .directory()
                .is_some_and(|directory| Path::new(directory).starts_with(under))
        {
            return Fit::No;
        }
        if let Some(script) = &self.script
            && !matches!(process.script(), Script::File(path) if path == script)
        {
            return Fit::No;
        }
        let known = |id: &String| process.company().known.iter().any(|known| known.id == *id);
        let company_fits = match &self.via {
            Some(via) => known(via),
            // Made for a person's shell: what a model runs there is not meant.
            None if watches => process.company().known.is_empty() && process.company().complete,
            None => true,
        };
        if !company_fits {
            return Fit::No;
        }
        if let Some(wanted) = &self.exe_sha256 {
            let digest = match may_wait {
                true => process.digest(),
                false => match process.known_digest() {
                    Some(digest) => Some(digest),
                    None => return Fit::Later,
                },
            };
            if digest != Some(*wanted) {
                return Fit::No;
            }
        }
        // What was read belongs together only if the process did not become another program on the way.
        match process.is_unchanged() {
            true => Fit::Yes,
            false => Fit::No,
        }
    }
}

impl Vault {
    /// The rules of an account: from memory, or, once, from its sealed state.
    pub fn rules(&self, account: &Unlocked) -> Result<Arc<Rules>> {
        if let Some(rules) = account.shared.rules().as_ref() {
            return Ok(Arc::clone(rules));
        }
        // No change comes between reading and keeping.
        let _quiet = self.quiet(account);
        let (row, slots) = self.stored_account(account.id())?;
        let mut rules = account.shared.rules();
        if !account
            .shared
            .state()
            .as_ref()
            .is_some_and(|state| state.has(&row, &slots))
        {
            return Err(BEHIND);
        }
        let read = Arc::new(self.open_profile(account, &row)?.rules);
        *rules = Some(Arc::clone(&read));
        Ok(read)
    }

    /// Changes the rules of an account. `change` may run more than once.
    pub fn change_rules(
        &self,
        account: &Unlocked,
        change: &mut dyn FnMut(&mut Rules) -> Result<()>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Arc<Rules>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.change_rules_once(account, change, before_commit) {
                Err(error) if error.kind() == Kind::Conflict && tries < TRIES => {}
                changed => return changed,
            }
        }
    }

    fn change_rules_once(
        &self,
        account: &Unlocked,
        change: &mut dyn FnMut(&mut Rules) -> Result<()>,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Arc<Rules>> {
        let (row, slots) = self.stored_account(account.id())?;
        if !account
            .shared
            .state()
            .as_ref()
            .is_some_and(|state| state.has(&row, &slots))
        {
            return Err(
                Error::new(Kind::Conflict, "the account was changed meanwhile")
                    .with_hint("try again"),
            );
        }
        let mut profile = self.open_profile(account, &row)?;
        let now = self.now_ms();
        profile.rules.grants.retain(|grant| !grant.is_over(now));
        change(&mut profile.rules)?;
        if profile.rules.grants.len() > MAX_GRANTS
            || crate::protocol::encode(&profile.rules)?.len() > MAX_ENCODED
        {
            return Err(Error::new(
                Kind::LimitReached,
                "the account has as many grants as it may",
            )
            .with_hint("run akm grant rm ID"));
        }
        let rules = Arc::new(profile.rules.clone());
        let change = AccountChange {
            profile: Some(self.profile_change(account, &row, &profile, None)?),
            ..AccountChange::default()
        };
        self.commit_account(account, &change, before_commit)?;
        // Whoever read the old ones kept them before the commit: reading and keeping is one step beside changes.
        *account.shared.rules() = None;
        Ok(rules)
    }
}

const BEHIND: Error = Error::new(Kind::RolledBack, "the vault was changed behind akm's back");
