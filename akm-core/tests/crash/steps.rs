//! The workload: steps through the door, and what is there after each.

use std::collections::BTreeMap;
use std::sync::Mutex;

use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AccountRegister, AccountRemove, AgentLock, AgentUnlock,
    BackupCreate, BackupRestore, BackupSchedule, KeyGet, KeyRemove, KeyRotate, KeyStatus,
    KeyUpdate, Op, ProviderAdd, ProviderRemove, TotpCodes, TotpDisable, TotpEnable, VaultImport,
    VaultRekey,
};
use akm_core::{Result, Secret};

use crate::desk::Desk;
use crate::support::{new_key, secret};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Register,
    Add(String),
    Rotate(String),
    Rename(String),
    Disable(String),
    Remove(String),
    Get(String),
    Passphrase(u32),
    Codes,
    Totp,
    Lock,
    Unlock,
    Fold,
    Checkpoint,
    Schedule,
    Backup,
    Restore,
    /// Begins, and seals this many records anew.
    Rekey(u32),
    GoOn(u32),
    /// With a code of the last `Codes`; the new passphrase has this number.
    Recover(u32),
    Import(Vec<String>),
    /// The account, with its passphrase.
    RemoveAccount,
    /// A provider of one's own, and its removal.
    Provider,
    NoProvider,
    /// An operation that changes nothing that is compared, with its request.
    Ask(Op, &'static str),
}

impl Step {
    /// The operations that it asks for, by name.
    pub(crate) fn operations(&self) -> Vec<&'static str> {
        let ops: &[Op] = match self {
            Step::Register => &[Op::AccountRegister],
            Step::Add(_) => &[Op::KeyAdd],
            Step::Rotate(_) => &[Op::KeyRotate],
            Step::Rename(_) | Step::Disable(_) => &[Op::KeyUpdate],
            Step::Remove(_) => &[Op::KeyRemove],
            Step::Get(_) => &[Op::KeyGet],
            Step::Passphrase(_) => &[Op::AccountPassphrase],
            Step::Codes => &[Op::TotpCodes],
            Step::Totp => &[Op::TotpEnable, Op::TotpDisable],
            Step::Lock => &[Op::AgentLock],
            Step::Unlock => &[Op::AgentUnlock],
            Step::Fold | Step::Checkpoint => &[],
            Step::Schedule => &[Op::BackupSchedule],
            Step::Backup => &[Op::BackupCreate],
            Step::Restore => &[Op::BackupList, Op::BackupRestore],
            Step::Rekey(_) | Step::GoOn(_) => &[Op::VaultRekey],
            Step::Recover(_) => &[Op::AccountRecover],
            Step::Import(_) => &[Op::VaultImport],
            Step::RemoveAccount => &[Op::AccountRemove],
            Step::Provider => &[Op::ProviderAdd],
            Step::NoProvider => &[Op::ProviderRemove],
            Step::Ask(op, _) => std::slice::from_ref(op),
        };
        ops.iter().map(|op| op.name()).collect()
    }
}

/// What must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// None before the account exists.
    pub(crate) passphrase: Option<String>,
    /// Secrets by name.
    pub(crate) keys: BTreeMap<String, String>,
    /// What the newest backup holds.
    pub(crate) backup: Option<Box<State>>,
    /// How many backups there are.
    pub(crate) backups: usize,
    /// Whether there is a provider of one's own.
    pub(crate) provider: bool,
}

/// A recovery code that was issued last.
static CODE: Mutex<Option<Secret>> = Mutex::new(None);

const PROVIDER: &str = r#"{"record":{"id":"mine","display_name":"Mine","display_name_zh":"Mine","status":"active",
    "kind":"gateway","auth":{"style":"bearer"},"env":{"primary":"MINE_API_KEY"},"verified":false,
    "test":{"method":"GET","url":"https://gw.example.com/v1/models","proves_key":false,"cost":"none",
    "verified":false}}}"#;

fn passphrase(number: u32) -> String {
    format!("passphrase number {number}")
}

impl State {
    /// After one more step.
    pub(crate) fn after(&self, index: usize, step: &Step) -> State {
        let mut next = self.clone();
        let value = format!("sk-value-of-step-{index}");
        match step {
            Step::Register => next.passphrase = Some(passphrase(0)),
            Step::Add(name) | Step::Rotate(name) => {
                next.keys.insert(name.clone(), value);
            }
            Step::Rename(name) => {
                let secret = next.keys.remove(name).unwrap();
                next.keys.insert(format!("{name}-renamed"), secret);
            }
            Step::Remove(name) | Step::Disable(name) => {
                next.keys.remove(name);
            }
            Step::Import(names) => {
                for name in names {
                    next.keys.insert(name.clone(), value.clone());
                }
            }
            Step::RemoveAccount => {
                next = State {
                    backups: self.backups,
                    ..State::default()
                }
            }
            Step::Provider => next.provider = true,
            Step::NoProvider => next.provider = false,
            Step::Passphrase(number) | Step::Recover(number) => {
                next.passphrase = Some(passphrase(*number))
            }
            Step::Backup => {
                next.backup = None;
                next.backup = Some(Box::new(State {
                    backup: None,
                    ..self.clone()
                }));
                next.backups += 1;
            }
            Step::Restore => {
                let then = self.backup.as_deref().unwrap();
                next.passphrase.clone_from(&then.passphrase);
                next.keys.clone_from(&then.keys);
                next.provider = then.provider;
            }
            Step::Get(_)
            | Step::Codes
            | Step::Totp
            | Step::Lock
            | Step::Unlock
            | Step::Fold
            | Step::Checkpoint
            | Step::Schedule
            | Step::Rekey(_)
            | Step::GoOn(_)
            | Step::Ask(..) => {}
        }
        next
    }
}

/// The states after 0, 1, 2, … steps.
pub(crate) fn states(steps: &[Step]) -> Vec<State> {
    let mut states = vec![State::default()];
    for (index, step) in steps.iter().enumerate() {
        states.push(states[index].after(index, step));
    }
    states
}

/// Carries a step out. `Ok` is the acknowledgement.
pub(crate) fn run(desk: &Desk, index: usize, step: &Step, before: &State) -> Result<()> {
    let now = || secret(before.passphrase.as_deref().unwrap());
    let value = format!("sk-value-of-step-{index}");
    match step {
        Step::Register => desk
            .call(AccountRegister {
                account: "default".into(),
                passphrase: secret(&passphrase(0)),
                totp: Some(false),
                invitation: None,
            })
            .map(drop),
        Step::Add(name) => desk.call(new_key(name, &value)).map(drop),
        Step::Rotate(name) => desk
            .call(KeyRotate {
                name: name.clone(),
                secret: secret(&value),
            })
            .map(drop),
        Step::Rename(name) => update(desk, name, Some(format!("{name}-renamed")), None),
        Step::Disable(name) => update(desk, name, None, Some(KeyStatus::Disabled)),
        Step::Remove(name) => desk.call(KeyRemove { name: name.clone() }).map(drop),
        Step::Get(name) => desk
            .call(KeyGet {
                name: name.clone(),
                version: None,
            })
            .map(|got| assert_eq!(got.secret.expose(), before.keys[name])),
        Step::Passphrase(number) => desk
            .call(AccountPassphrase {
                passphrase: now(),
                new_passphrase: secret(&passphrase(*number)),
            })
            .map(drop),
        Step::Codes => desk.call(TotpCodes { passphrase: now() }).map(|mut made| {
            *CODE.lock().unwrap() = made.recovery_codes.pop();
        }),
        Step::Totp => {
            desk.call(TotpEnable { passphrase: now() })?;
            desk.call(TotpDisable { passphrase: now() }).map(drop)
        }
        Step::Lock => desk.call(AgentLock {}).map(drop),
        Step::Unlock => unlock(desk, before.passphrase.as_deref().unwrap()),
        Step::Fold => desk.door.fold(),
        Step::Checkpoint => desk.door.checkpoint(),
        Step::Schedule => desk
            .call(BackupSchedule {
                daily: true,
                keep: None,
                max_age_days: None,
            })
            .map(drop),
        Step::Backup => {
            // Names have seconds in them, and the clock of a test stands still.
            desk.clock.advance(std::time::Duration::from_secs(60));
            desk.call(BackupCreate::default()).map(drop)
        }
        Step::Recover(number) => desk
            .call(AccountRecover {
                account: None,
                code: CODE.lock().unwrap().take().unwrap(),
                new_passphrase: secret(&passphrase(*number)),
            })
            .map(drop),
        Step::Import(names) => {
            let keys: Vec<_> = names
                .iter()
                .map(|name| serde_json::json!({"name": name, "secret": value}))
                .collect();
            let json = serde_json::json!({"keys": keys, "finish": true});
            let request: VaultImport = serde_json::from_value(json).unwrap();
            desk.call(request)
                .map(|report| assert_eq!(report.added, names.len() as u64))
        }
        Step::RemoveAccount => desk.call(AccountRemove { passphrase: now() }).map(drop),
        Step::Provider => {
            let request: ProviderAdd = serde_json::from_str(PROVIDER).unwrap();
            desk.call(request).map(drop)
        }
        Step::NoProvider => desk
            .call(ProviderRemove {
                name: "mine".into(),
            })
            .map(drop),
        Step::Ask(op, body) => {
            let body = body.replace("PASSPHRASE", before.passphrase.as_deref().unwrap());
            desk.raw(*op, &body)
        }
        Step::Rekey(limit) => desk
            .call(VaultRekey {
                passphrase: Some(now()),
                totp: None,
                limit: Some(*limit),
            })
            .map(|begun| assert_eq!(begun.recovery_codes.len(), 8)),
        Step::GoOn(limit) => desk
            .call(VaultRekey {
                limit: Some(*limit),
                ..VaultRekey::default()
            })
            .map(drop),
        Step::Restore => {
            let newest = desk
                .call(akm_core::protocol::BackupList {})?
                .backups
                .remove(0);
            let then = before.backup.as_deref().unwrap();
            desk.call(BackupRestore {
                name: newest.name,
                account: None,
                passphrase: secret(then.passphrase.as_deref().unwrap()),
                keyfile: None,
                replace: Some(true),
            })
            .map(drop)
        }
    }
}

/// Unlocks, and goes on with a restored vault.
pub(crate) fn unlock(desk: &Desk, passphrase: &str) -> Result<()> {
    desk.call(AgentUnlock {
        account: None,
        passphrase: secret(passphrase),
        totp: None,
        lifetime_s: None,
        accept_rollback: None,
        keyfile: None,
    })
    .map(drop)
}

fn update(
    desk: &Desk,
    name: &str,
    new_name: Option<String>,
    status: Option<KeyStatus>,
) -> Result<()> {
    let json = serde_json::json!({"name": name, "new_name": new_name, "status": status});
    let request: KeyUpdate = serde_json::from_value(json).unwrap();
    desk.call(request).map(drop)
}

/// Everything that changes something, mixed: the operations a vault lives by.
pub(crate) fn mixed(rounds: usize) -> Vec<Step> {
    let mut steps = vec![Step::Register];
    for round in 0..rounds {
        let key = |n: usize| format!("openai/r{round}-{n}");
        steps.extend((0..4).map(|n| Step::Add(key(n))));
        steps.extend([
            Step::Get(key(0)),
            Step::Rotate(key(0)),
            Step::Rename(key(1)),
            Step::Remove(key(2)),
            Step::Fold,
            Step::Disable(key(3)),
            Step::Passphrase(round as u32 + 1),
            Step::Codes,
            Step::Totp,
            Step::Lock,
            Step::Unlock,
            Step::Schedule,
            Step::Backup,
            Step::Add(key(5)),
            Step::Checkpoint,
            Step::Rotate(key(5)),
        ]);
    }
    steps
}

/// A restore, with changes before and after.
pub(crate) fn restoring() -> Vec<Step> {
    vec![
        Step::Register,
        Step::Add("openai/before".into()),
        Step::Add("openai/both".into()),
        Step::Backup,
        Step::Remove("openai/both".into()),
        Step::Add("openai/after".into()),
        Step::Passphrase(1),
        Step::Restore,
        Step::Unlock,
        Step::Add("openai/restored".into()),
    ]
}

/// An account that is removed, and another one of its name.
pub(crate) fn removing() -> Vec<Step> {
    let add = |name: &str| Step::Add(name.to_owned());
    vec![
        Step::Register,
        add("openai/first"),
        Step::RemoveAccount,
        Step::Register,
        add("openai/second"),
    ]
}

/// Credentials, again and again.
pub(crate) fn changing() -> Vec<Step> {
    vec![
        Step::Register,
        Step::Add("openai/one".into()),
        Step::Passphrase(1),
        Step::Codes,
        Step::Passphrase(2),
        Step::Lock,
        Step::Unlock,
        Step::Passphrase(3),
        Step::Add("openai/two".into()),
    ]
}

/// New keys, with changes while some records have theirs and some do not: finished by calls, and by an unlock.
pub(crate) fn rekeying() -> Vec<Step> {
    let key = |n: usize| format!("openai/{n}");
    let mut steps = vec![Step::Register];
    steps.extend((0..6).map(|n| Step::Add(key(n))));
    steps.extend([
        Step::Rotate(key(0)),
        Step::Rekey(2),
        Step::Rotate(key(1)),
        Step::Rename(key(2)),
        Step::GoOn(2),
        Step::Add(key(7)),
        Step::Fold,
        Step::Remove(key(3)),
        Step::GoOn(1000),
        Step::Passphrase(1),
        Step::Rekey(3),
        Step::Get(key(4)),
        Step::Passphrase(2),
        Step::Lock,
        Step::Unlock,
        Step::Rotate(key(0)),
    ]);
    steps
}

/// What the other scripts do not ask for. With them every operation that writes, and those that read at length.
pub(crate) fn others() -> Vec<Step> {
    vec![
        Step::Register,
        Step::Add("unheard-of/one".into()),
        Step::Rotate("unheard-of/one".into()),
        Step::Provider,
        Step::Ask(Op::ProviderShow, r#"{"name":"mine"}"#),
        Step::Ask(Op::KeyfileEnable, r#"{"passphrase":"PASSPHRASE"}"#),
        Step::Ask(Op::KeyfileShow, "{}"),
        Step::Import(vec!["openai/a".into(), "openai/b".into(), "groq/c".into()]),
        Step::Ask(Op::VaultExport, r#"{"seal":"a passphrase for the file"}"#),
        Step::Ask(Op::VaultExport, r#"{"passphrase":"PASSPHRASE"}"#),
        Step::Ask(Op::ProviderTest, r#"{"name":"unheard-of/one"}"#),
        Step::Ask(Op::ProviderBalance, r#"{"name":"unheard-of/one"}"#),
        Step::Ask(Op::KeyHistory, r#"{"name":"unheard-of/one"}"#),
        Step::Ask(Op::KeyShow, r#"{"name":"unheard-of/one"}"#),
        Step::Ask(Op::KeyList, r#"{"provider":"openai"}"#),
        Step::Fold,
        Step::Ask(Op::AuditList, "{}"),
        Step::Ask(Op::AuditVerify, "{}"),
        Step::Ask(Op::AuditCheckpoint, "{}"),
        Step::Ask(Op::VaultCheck, "{}"),
        Step::Ask(Op::KeyfileDisable, r#"{"passphrase":"PASSPHRASE"}"#),
        Step::Codes,
        Step::Lock,
        Step::Recover(1),
        Step::NoProvider,
        Step::Ask(Op::BackupSchedule, r#"{"daily":false}"#),
        Step::Backup,
        Step::Ask(Op::BackupList, "{}"),
        Step::Add("openai/last".into()),
    ]
}

/// Only additions: what the control loses most of.
pub(crate) fn adding(count: usize) -> Vec<Step> {
    let mut steps = vec![Step::Register];
    steps.extend((0..count).map(|n| Step::Add(format!("openai/{n}"))));
    steps
}
