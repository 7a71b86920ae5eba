//! `akm unlock`, `akm lock`, `akm status`: the session.

use std::path::PathBuf;

use akm_core::client::Client;
use akm_core::protocol::{
    AgentLock, AgentStatus, AgentUnlock, AuditEvent, AuditList, GrantInfo, GrantList, LockReason,
    Policy, PolicyShow, Status, VaultNotice,
};
use akm_core::{Error, Kind, Secret};
use clap::Args;
use serde::Serialize;

use super::output::{self, Fail, Result};
use super::prompt::{Asker, PassphraseFlags, SecretFlags};
use super::text::{of_token, text, translated};
use super::{agent, connect, grant, keyfile};

/// Unlocks.
#[derive(Args)]
#[command(
    after_help = "Example:\n  akm unlock -t 8h\n  pass show akm | akm unlock --passphrase-stdin --totp 123456"
)]
pub(crate) struct Unlock {
    /// The account; `default` if absent
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Lock again after this time: 600 (seconds), 30m, 8h, 1d; the agent's own lifetime if absent
    #[arg(short = 't', long = "lifetime", value_name = "LIFE", value_parser = agent::parse_lifetime)]
    lifetime_s: Option<u64>,
    /// The current code of your authenticator; good for one use, so it may stand here
    #[arg(long, value_name = "CODE")]
    totp: Option<String>,
    /// The account's keyfile, where the agent does not keep it: on a removable disk, for example
    #[arg(long, value_name = "PATH")]
    keyfile: Option<PathBuf>,
    /// Go on with a vault that is older than what this machine has seen, or was changed behind akm's back
    #[arg(long)]
    accept_rollback: bool,
    #[command(flatten)]
    passphrase: PassphraseFlags,
}

/// Where an empty vault may lie in another one's place.
pub(super) const ELSEWHERE: &str = "this machine has seen accounts of another vault: akm backup list shows what can be restored, akm init begins anew";

pub(crate) fn unlock(args: &Unlock, json: bool) -> Result<()> {
    let asker = Asker::new(&args.passphrase, &SecretFlags::default())?;
    asker.require_passphrase()?;
    let keyfile = args.keyfile.as_deref().map(keyfile::read).transpose()?;
    let mut client = agent::connect_or_start()?;
    let status = client.call(&AgentStatus {})?;
    // Where accounts are missing the agent says so.
    if !status.initialized && status.missing_accounts.is_none() {
        let none = Error::new(Kind::NotFound, "this vault has no account yet");
        return Err(none
            .with_hint(match status.accounts_elsewhere {
                Some(_) => ELSEWHERE,
                None => "run akm init",
            })
            .into());
    }
    let passphrase = asker.passphrase(&text!("ask-passphrase"))?;
    let totp = match &args.totp {
        Some(code) => Some(Secret::new(code.clone())),
        None if status.totp_required => match asker.unlock_code(&text!("ask-code"))? {
            Some(code) => Some(code),
            None => {
                return Err(Fail::usage(text!("code-needed"), "akm unlock --totp CODE"));
            }
        },
        None => None,
    };
    let unlocked = client.call(&AgentUnlock {
        account: args.account.clone(),
        passphrase,
        totp,
        keyfile,
        lifetime_s: args.lifetime_s,
        accept_rollback: args.accept_rollback.then_some(true),
    })?;
    if json {
        return output::json(&unlocked);
    }
    output::note(&state(&unlocked.account, unlocked.expires_at.as_deref()));
    if let Some(notice) = unlocked.notice {
        output::note(&match notice {
            VaultNotice::FirstUse => text!("vault-first-use"),
            VaultNotice::Restored => text!("vault-restored"),
            VaultNotice::RollbackAccepted => text!("vault-rollback-accepted"),
        });
    }
    if unlocked.codes_undelivered == Some(true) {
        say_codes_undelivered();
    }
    Ok(())
}

/// The owner believes in codes that open nothing any more.
pub(super) fn say_codes_undelivered() {
    output::note(&text!("codes-undelivered"));
    output::hint(&text!("hint-codes-undelivered"));
}

pub(crate) fn lock(json: bool) -> Result<()> {
    let result = connect()?.call(&AgentLock {})?;
    if json {
        return output::json(&result);
    }
    output::note(&text!("locked"));
    Ok(())
}

/// What `akm status --json` prints: the agent's state, what the account lets this program do, and its last event.
#[derive(Serialize)]
struct Seen {
    #[serde(flatten)]
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<AuditEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
}

/// What the rules say of whoever started this command.
#[derive(Serialize)]
struct Access {
    /// What holds for it without a grant.
    policy: Policy,
    /// How many grants the account has.
    grants: usize,
    /// Those that cover it.
    covering: Vec<GrantInfo>,
}

/// Whether the agent says that the vault's file cannot be opened: what is wrong with keys, only an open account shows.
pub(super) fn is_unopened(status: &Status) -> bool {
    status.locked && status.damaged == Some(true)
}

pub(crate) fn status(json: bool) -> Result<()> {
    let mut client = connect()?;
    let status = client.call(&AgentStatus {})?;
    let (last, access) = match status.locked {
        true => (None, None),
        false => (last_event(&mut client), access(&mut client)),
    };
    if json {
        return output::json(&Seen {
            status,
            last,
            access,
        });
    }
    let unopened = is_unopened(&status);
    let state = match (&status.account, status.initialized) {
        _ if unopened => text!("vault-damaged"),
        (_, false) => text!("no-account-yet"),
        (None, true) => match status.locked_because {
            // That somebody asked for it goes without saying.
            Some(reason) if reason != LockReason::Asked => {
                text!("locked-because", reason = of_token("lock", reason.token()))
            }
            _ => text!("locked"),
        },
        (Some(account), true) => state(account, status.expires_at.as_deref()),
    };
    let agent = match status.pid {
        Some(pid) => text!("agent-of", version = status.version, pid = pid),
        None => status.version,
    };
    let mut fields = vec![("field-state", state), ("field-agent", agent)];
    if let Some(time) = status.opened_at {
        fields.push(("field-since", time));
    }
    if let Some(seconds) = status.idle_lock_s {
        fields.push(("field-idle", output::duration(seconds)));
    }
    if let Some(access) = &access {
        let policy = of_token("policy", access.policy.token());
        fields.push(("field-policy-here", policy));
        fields.push(("field-grants", granted(access)));
        // One line for each, below the count.
        for grant in &access.covering {
            fields.push(("", grant::described(grant)));
        }
    }
    if let Some(event) = &last {
        fields.push(("field-last-asked", asked(event)));
    }
    if let Some(vault) = status.vault {
        fields.push(("field-vault", vault));
    }
    if let Some(rekey) = status.rekey {
        let far = text!("rekey-progress", done = rekey.done, total = rekey.total);
        fields.push(("field-rekey", far));
    }
    if status.initialized && status.locked && !unopened {
        fields.push(("field-code-asked", output::yes_or_no(status.totp_required)));
    }
    output::fields(&fields)?;
    if unopened {
        output::hint(&text!("hint-vault-damaged"));
    } else if status.damaged == Some(true) {
        output::hint(&text!("hint-damaged"));
    }
    if status.codes_undelivered == Some(true) {
        say_codes_undelivered();
    }
    if status.missing_accounts.is_some() {
        output::hint(&text!("hint-missing"));
    } else if !status.initialized {
        output::hint(&match status.accounts_elsewhere {
            Some(_) => translated(ELSEWHERE).into_owned(),
            None => text!("hint-init"),
        });
    } else if status.locked {
        output::hint(&text!("hint-unlock"));
    }
    Ok(())
}

/// The last event of the account. What there is to say of the agent is said without it as well.
fn last_event(client: &mut Client) -> Option<AuditEvent> {
    let newest = client.call(&AuditList {
        last: Some(1),
        ..AuditList::default()
    });
    let events = newest.ok()?.events;
    events.into_iter().rfind(|event| event.chain == "account")
}

/// What the rules say of this program; nothing where the other end does not tell programs apart.
fn access(client: &mut Client) -> Option<Access> {
    let policy = client.call(&PolicyShow {}).ok()?.caller?;
    let grants = client.call(&GrantList {}).ok()?.grants;
    Some(Access {
        policy,
        grants: grants.len(),
        covering: grants
            .into_iter()
            .filter(|grant| grant.covers_caller == Some(true))
            .collect(),
    })
}

/// How many grants there are, and how many of them are this program's.
fn granted(access: &Access) -> String {
    text!(
        "grants-here",
        count = access.grants,
        covering = access.covering.len()
    )
}

/// Who asked for what, and what came of it.
fn asked(event: &AuditEvent) -> String {
    let what = match &event.key {
        Some(key) => format!("{} {key}", event.action),
        None => event.action.clone(),
    };
    text!(
        "asked-by",
        what = what,
        exe = event.caller.exe.as_str(),
        pid = event.caller.pid,
        time = event.time.as_str(),
        outcome = event.outcome.as_str(),
    )
}

/// Whose session it is, and until when.
fn state(account: &str, expires_at: Option<&str>) -> String {
    match expires_at {
        Some(time) => text!("unlocked-until", account = account, time = time),
        None => text!("unlocked", account = account),
    }
}
