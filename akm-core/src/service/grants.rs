//! The arms for policies and grants.
//!
//! Being stricter is free: `policy.set` to a stricter one, taking a grant back. Everything that lets somebody in asks for the
//! passphrase: a looser policy, any grant.

use data_encoding::HEXLOWER;

use crate::audit::Caller;
use crate::caller::Process;
use crate::error::{Error, Kind, Result};
use crate::name::KeyName;
use crate::protocol::{
    GrantAdd, GrantInfo, GrantRemove, GrantResult, Grants, MAX_LIFETIME_S, Op, PolicySet,
    PolicyState,
};
use crate::store::Id;
use crate::vault::{Grant, Rules};

use super::access::stricter;
use super::{Asked, Service, shape};

/// Longest path in bytes.
const MAX_PATH: usize = 1024;
/// Longest id of a known program.
const MAX_VIA: usize = 64;

impl Service {
    pub(super) fn show_policy(&self, asked: &Asked<'_>) -> Result<PolicyState> {
        let rules = self.vault.rules(&asked.session.account)?;
        Ok(self.policy_state(asked, &rules))
    }

    pub(super) fn set_policy(
        &self,
        caller: &Caller,
        mut request: PolicySet,
    ) -> Result<PolicyState> {
        const OP: Op = Op::PolicySet;
        match request.passphrase.take() {
            Some(passphrase) => self.stepped_up(
                caller,
                OP,
                &passphrase,
                |_| Ok(()),
                |asked, _, ()| self.change_policy(asked, &request, true),
            ),
            None => self.open_session(caller, OP, |asked| {
                self.change_policy(asked, &request, false)
            }),
        }
    }

    fn change_policy(
        &self,
        asked: &Asked<'_>,
        request: &PolicySet,
        confirmed: bool,
    ) -> Result<PolicyState> {
        let mut change = |rules: &mut Rules| {
            let before = rules.clone();
            if let Some(policy) = request.policy {
                rules.policy = policy;
            }
            if let Some(policy) = request.agents {
                rules.agents = stricter(policy);
            }
            if let Some(policy) = request.sandboxes {
                rules.sandboxes = stricter(policy);
            }
            match rules.is_looser_than(&before) && !confirmed {
                true => Err(
                    Error::new(Kind::Denied, "a looser policy needs the passphrase")
                        .with_field("passphrase"),
                ),
                false => Ok(()),
            }
        };
        let mut event = || self.event(asked);
        let rules = self
            .vault
            .change_rules(&asked.session.account, &mut change, &mut event)?;
        Ok(self.policy_state(asked, &rules))
    }

    fn policy_state(&self, asked: &Asked<'_>, rules: &Rules) -> PolicyState {
        PolicyState {
            policy: rules.policy,
            agents: rules.agents,
            sandboxes: rules.sandboxes,
            enforced: self.enforces(),
            caller: self.witness(asked).map(|process| rules.policy_of(process)),
        }
    }

    pub(super) fn add_grant(&self, caller: &Caller, request: &GrantAdd) -> Result<GrantResult> {
        const OP: Op = Op::GrantAdd;
        // What is wrong with the request is said before a guess at the passphrase is counted.
        self.open_session(caller, OP, |asked| self.new_grant(asked, request))?;
        self.stepped_up(
            caller,
            OP,
            &request.passphrase,
            |_| Ok(()),
            |asked, _, ()| {
                let grant = self.new_grant(asked, request)?;
                let mut change = |rules: &mut Rules| {
                    rules.grants.push(grant.clone());
                    Ok(())
                };
                let mut event = || self.grant_event(asked, &grant);
                self.vault
                    .change_rules(&asked.session.account, &mut change, &mut event)?;
                Ok(GrantResult {
                    grant: info(&grant),
                })
            },
        )
    }

    pub(super) fn list_grants(&self, asked: &Asked<'_>) -> Result<Grants> {
        let rules = self.vault.rules(&asked.session.account)?;
        let process = self.witness(asked);
        let described = |grant| GrantInfo {
            covers_caller: process.map(|process| rules.covers(grant, process)),
            ..info(grant)
        };
        Ok(Grants {
            grants: rules.live(self.now_ms()).map(described).collect(),
        })
    }

    /// The process that asks, where rules are enforced on it.
    fn witness<'a>(&self, asked: &'a Asked<'_>) -> Option<&'a dyn Process> {
        asked
            .caller
            .process
            .0
            .as_deref()
            .filter(|_| self.enforces())
    }

    pub(super) fn remove_grant(
        &self,
        asked: &Asked<'_>,
        request: &GrantRemove,
    ) -> Result<GrantResult> {
        let unknown = || {
            Error::new(Kind::NotFound, "there is no grant with this id")
                .with_field("id")
                .with_hint("run akm grant list")
        };
        let id: Id = HEXLOWER
            .decode(request.id.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(unknown)?;
        let rules = self.vault.rules(&asked.session.account)?;
        let grant = rules
            .grants
            .iter()
            .find(|grant| grant.id == id)
            .ok_or_else(unknown)?;
        let mut change = |rules: &mut Rules| {
            rules.grants.retain(|grant| grant.id != id);
            Ok(())
        };
        let mut event = || self.grant_event(asked, grant);
        self.vault
            .change_rules(&asked.session.account, &mut change, &mut event)?;
        Ok(GrantResult { grant: info(grant) })
    }

    fn new_grant(&self, asked: &Asked<'_>, request: &GrantAdd) -> Result<Grant> {
        let learn = request.learn.unwrap_or(false);
        let key = match &request.name {
            Some(name) => Some(self.find(asked, &KeyName::parse(name, "name")?)?.record),
            None => None,
        };
        let exe = path(request.exe.as_deref(), "exe")?;
        let script = path(request.script.as_deref(), "script")?;
        let under = path(request.under.as_deref(), "under")?;
        if !learn && exe.is_none() && under.is_none() && request.via.is_none() {
            return Err(Error::invalid(
                "exe",
                "a grant names at least a program, a directory or where the caller comes from",
            ));
        }
        if exe.is_none() && (script.is_some() || request.exe_sha256.is_some()) {
            return Err(Error::invalid(
                "exe",
                "a script or a hash is that of a program",
            ));
        }
        if learn && (exe.is_some() || request.via.is_some()) {
            return Err(Error::invalid(
                "learn",
                "who asks first is learned, not said",
            ));
        }
        let digest = |hex: &String| {
            HEXLOWER
                .decode(hex.to_ascii_lowercase().as_bytes())
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(Error::invalid(
                    "exe_sha256",
                    "a SHA-256 is 64 hexadecimal digits",
                ))
        };
        let expires_at = match request.lifetime_s {
            None => None,
            Some(seconds @ 1..=MAX_LIFETIME_S) => {
                Some(self.now_ms().saturating_add(seconds as i64 * 1000))
            }
            Some(_) => {
                return Err(Error::invalid(
                    "lifetime_s",
                    "a lifetime is between one second and ten years",
                ));
            }
        };
        Ok(Grant {
            id: self.random_id(),
            key: key.as_ref().map(|record| record.id),
            name: key.map(|record| record.name.to_string()),
            exe,
            exe_sha256: request.exe_sha256.as_ref().map(digest).transpose()?,
            script,
            under,
            via: request.via.as_deref().map(via).transpose()?,
            use_only: request.use_only.unwrap_or(false),
            any_env: request.any_env.unwrap_or(false),
            learn,
            created_at: self.now_ms(),
            expires_at,
        })
    }

    fn grant_event(&self, asked: &Asked<'_>, grant: &Grant) -> Result<()> {
        let name = grant
            .name
            .as_deref()
            .and_then(|name| KeyName::parse(name, "name").ok());
        match (grant.key, name) {
            (Some(id), Some(name)) => self.key_event(asked, &id, &name),
            _ => self.event(asked),
        }
    }

    pub(super) fn random_id(&self) -> Id {
        let mut id = Id::default();
        self.host.random.fill(&mut id);
        id
    }
}

fn info(grant: &Grant) -> GrantInfo {
    GrantInfo {
        id: HEXLOWER.encode(&grant.id),
        name: grant.name.clone(),
        exe: grant.exe.clone(),
        exe_sha256: grant.exe_sha256.map(|digest| HEXLOWER.encode(&digest)),
        script: grant.script.clone(),
        under: grant.under.clone(),
        via: grant.via.clone(),
        use_only: grant.use_only,
        any_env: grant.any_env,
        learn: grant.learn,
        covers_caller: None,
        created_at: shape::time_ms(grant.created_at),
        expires_at: grant.expires_at.map(shape::time_ms),
    }
}

/// An absolute path in the spelling in which the kernel names it; links are whoever asks' business.
fn path(text: Option<&str>, field: &'static str) -> Result<Option<String>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let parts = || text.split('/').skip(1);
    let fits = text.len() <= MAX_PATH
        && text.starts_with('/')
        && !text.chars().any(char::is_control)
        && (text == "/" || parts().all(|part| !matches!(part, "" | "." | "..")));
    match fits {
        true => Ok(Some(text.to_owned())),
        false => Err(Error::invalid(
            field,
            "a path is absolute, without links, . and .., and has at most 1024 bytes",
        )),
    }
}

fn via(text: &str) -> Result<String> {
    let fits = (1..=MAX_VIA).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    match fits {
        true => Ok(text.to_owned()),
        false => Err(Error::invalid(
            "via",
            "the name of a known program has up to 64 of a-z, A-Z, 0-9, -, _ and .",
        )),
    }
}
