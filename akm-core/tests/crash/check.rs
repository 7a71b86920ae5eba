//! Opens what is left, as after the machine came back, and compares it with what was acknowledged.

use std::collections::BTreeMap;
use std::path::Path;

use akm_core::Kind;
use akm_core::protocol::{
    AgentStatus, AuditVerify, BackupList, BackupVerify, KeyGet, KeyList, Op, VaultCheck,
};

use crate::desk::Desk;
use crate::steps::{self, State};

/// What was found, where it is as it must be.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Found {
    /// Whether the step that was not acknowledged is there.
    pub(crate) ahead: bool,
    /// Whether the audit verified.
    pub(crate) audit: bool,
}

/// A home must be as `last` or, where the step after it had begun, as `next`; nothing between, nothing less.
///
/// The error says what is missing.
pub(crate) fn check(home: &Path, last: &State, next: Option<&State>) -> Result<Found, String> {
    let desk = Desk::open(home, 7200).map_err(|error| format!("does not open: {error:?}"))?;
    // Whatever was cut off, nobody deleted an account behind akm's back.
    let status = desk
        .call(AgentStatus {})
        .map_err(|error| format!("no status: {error:?}"))?;
    if status.missing_accounts.is_some() {
        return Err("an account is missed that nobody deleted".to_owned());
    }
    let candidates: Vec<&State> = [Some(last), next].into_iter().flatten().collect();
    let Some(passphrase) = opened_with(&desk, &candidates)? else {
        // No account: so it must have been before, or after its removal.
        return match candidates.iter().any(|state| state.passphrase.is_none()) {
            true => Ok(Found {
                ahead: last.passphrase.is_some(),
                audit: true,
            }),
            false => Err("no passphrase opens it".to_owned()),
        };
    };
    let keys = keys(&desk)?;
    let provider = match desk.raw(Op::ProviderShow, r#"{"name":"mine"}"#) {
        Ok(()) => true,
        Err(error) if error.kind() == Kind::NotFound => false,
        Err(error) => return Err(format!("the provider: {error:?}")),
    };
    let fits = |state: &&&State| {
        state.passphrase.as_deref() == Some(&*passphrase)
            && state.provider == provider
            && state.keys == keys
            && backups(&desk).is_ok_and(|count| count >= state.backups)
    };
    let Some(state) = candidates.iter().find(fits) else {
        let lost: Vec<&String> = last
            .keys
            .keys()
            .filter(|name| !keys.contains_key(*name))
            .collect();
        let had = backups(&desk);
        return Err(format!(
            "lost: {lost:?}; there: {} keys, backups {had:?}",
            keys.len()
        ));
    };
    let audit = desk
        .call(AuditVerify::default())
        .map_err(|error| format!("the audit cannot be read: {error:?}"))?;
    let checked = desk
        .call(VaultCheck::default())
        .map_err(|error| format!("cannot be checked: {error:?}"))?;
    if !checked.ok {
        return Err(format!(
            "the keys are not those of the last change: {checked:?}"
        ));
    }
    // A rekey that was cut off has gone on by itself.
    let status = desk
        .call(AgentStatus {})
        .map_err(|error| format!("no status: {error:?}"))?;
    if status.rekey.is_some() {
        return Err("a rekey does not come to its end".to_owned());
    }
    // It goes on from here.
    desk.call(crate::support::new_key("openai/goes-on", "sk-goes-on"))
        .map_err(|error| format!("takes no new key: {error:?}"))?;
    Ok(Found {
        ahead: **state != *last,
        audit: audit.ok,
    })
}

/// The passphrase that opens it; of two different ones exactly one must.
fn opened_with(desk: &Desk, candidates: &[&State]) -> Result<Option<String>, String> {
    let mut opened = Vec::new();
    let mut tried: Vec<&str> = Vec::new();
    for passphrase in candidates
        .iter()
        .filter_map(|state| state.passphrase.as_deref())
    {
        if tried.contains(&passphrase) {
            continue;
        }
        tried.push(passphrase);
        match steps::unlock(desk, passphrase) {
            Ok(()) => opened.push(passphrase.to_owned()),
            Err(error) if error.kind() == Kind::WrongCredentials => {}
            Err(error) => return Err(format!("does not unlock: {error:?}")),
        }
    }
    match opened.len() {
        0 | 1 => {
            // The last attempt may have been a wrong one; the session of the right one stays.
            Ok(opened.pop())
        }
        _ => Err("two passphrases open it".to_owned()),
    }
}

/// Every secret that is handed out, by name; a disabled key is none.
fn keys(desk: &Desk) -> Result<BTreeMap<String, String>, String> {
    let said = |error| format!("cannot be read: {error:?}");
    let page = desk
        .call(KeyList {
            limit: Some(1000),
            ..KeyList::default()
        })
        .map_err(said)?;
    let mut found = BTreeMap::new();
    for key in page.keys {
        let request = KeyGet {
            name: key.name.clone(),
            version: None,
        };
        match desk.call(request) {
            Ok(got) => {
                found.insert(key.name, got.secret.expose().to_owned());
            }
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => return Err(format!("{}: {error:?}", key.name)),
        }
    }
    Ok(found)
}

/// How many backups there are; each must be whole.
fn backups(desk: &Desk) -> Result<usize, String> {
    let page = desk
        .call(BackupList {})
        .map_err(|error| format!("backups: {error:?}"))?;
    for backup in &page.backups {
        let name = backup.name.clone();
        desk.call(BackupVerify { name })
            .map_err(|error| format!("{}: {error:?}", backup.name))?;
    }
    Ok(page.backups.len())
}
