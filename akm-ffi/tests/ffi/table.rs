//! The operation table through every transport: each operation is carried out, so that a name which one of them does not
//! know, or leads to another arm of the service, fails here.

use std::path::Path;

use akm_core::protocol::{Authority, Op};
use serde_json::{Value, json};

use crate::agent::{self, Agent, PASSPHRASE};
use crate::c;
use crate::drivers::{Answer, Connected, Http, Program, Way};
use crate::pattern::Known;

/// The least request that succeeds, and what the answer must have that no other operation's has. No two of the key
/// operations look alike: they are about different keys, versions and notes.
fn minimal(op: Op) -> (Value, Value) {
    match op {
        Op::AgentStatus => (json!({}), json!({"initialized": true, "locked": false})),
        Op::ProviderList => (
            json!({}),
            json!({"providers": [{"id": "openai", "env": "OPENAI_API_KEY"}, "..."]}),
        ),
        Op::ModelList => (
            json!({}),
            json!({"compiled": "$text", "installed": false, "models": [{"provider": "openai", "id": "$text"}, "..."]}),
        ),
        Op::AgentUnlock => (
            json!({"passphrase": PASSPHRASE, "lifetime_s": 3600}),
            json!({"account": "default", "expires_at": "$time"}),
        ),
        Op::AgentLock => (json!({}), json!({})),
        Op::AccountRegister => (
            json!({"account": "other", "passphrase": PASSPHRASE, "totp": false}),
            json!({"account": "other", "recovery_codes": ["$text", "..."]}),
        ),
        Op::AccountPassphrase => (
            json!({"passphrase": PASSPHRASE, "new_passphrase": PASSPHRASE}),
            json!({}),
        ),
        Op::AccountRecover => (
            json!({"code": "${code}", "new_passphrase": PASSPHRASE}),
            json!({"account": "default", "codes_left": "$number"}),
        ),
        Op::KeyfileEnable => (json!({"passphrase": PASSPHRASE}), json!({"path": "$text"})),
        Op::KeyfileDisable => (json!({"passphrase": PASSPHRASE}), json!({})),
        Op::KeyfileShow => (json!({}), json!({"enabled": false})),
        Op::TotpEnable => (
            json!({"passphrase": PASSPHRASE}),
            json!({"totp_secret": "$save totp", "totp_uri": "$text"}),
        ),
        Op::TotpConfirm => (json!({"code": "${totp totp}"}), json!({})),
        Op::TotpDisable => (json!({"passphrase": PASSPHRASE}), json!({})),
        Op::TotpCodes => (
            json!({"passphrase": PASSPHRASE}),
            json!({"recovery_codes": ["$text", "..."], "totp_secret": "$absent"}),
        ),
        Op::KeyAdd => (
            json!({"name": "unheard-of/new", "secret": "sk-new"}),
            json!({"key": {"name": "unheard-of/new", "version": 1}}),
        ),
        Op::KeyGet => (
            json!({"name": "unheard-of/new"}),
            json!({"secret": "sk-new"}),
        ),
        Op::KeyShow => (
            json!({"name": "unheard-of/work"}),
            json!({"key": {"name": "unheard-of/work", "notes": "$absent"}}),
        ),
        Op::KeyList => (
            json!({}),
            json!({"keys": [{"name": "$text"}, {"name": "$text"}]}),
        ),
        Op::KeyUpdate => (
            json!({"name": "unheard-of/work", "notes": "seen"}),
            json!({"key": {"name": "unheard-of/work", "notes": "seen", "version": 1}}),
        ),
        Op::KeyRotate => (
            json!({"name": "unheard-of/work", "secret": "sk-two"}),
            json!({"key": {"name": "unheard-of/work", "version": 2}}),
        ),
        Op::KeyRemove => (
            json!({"name": "unheard-of/new"}),
            json!({"key": {"name": "unheard-of/new"}}),
        ),
        Op::KeyHistory => (
            json!({"name": "unheard-of/work"}),
            json!({"versions": [{"version": 2}, {"version": 1}]}),
        ),
        Op::ProviderAdd => (
            json!({"record": own_provider()}),
            json!({"name": "mine", "own": true, "record": {"id": "mine"}}),
        ),
        Op::ProviderShow => (
            json!({"name": "mine"}),
            json!({"name": "mine", "own": true, "record": {"id": "mine"}}),
        ),
        Op::ProviderRemove => (
            json!({"name": "mine"}),
            json!({"name": "mine", "own": true}),
        ),
        Op::PolicyShow => (json!({}), json!({"policy": "open", "enforced": "$any"})),
        Op::PolicySet => (json!({"policy": "open"}), json!({"policy": "open"})),
        Op::GrantAdd => (
            json!({"exe": "/usr/bin/true", "passphrase": PASSPHRASE}),
            json!({"grant": {"id": "$save grant", "exe": "/usr/bin/true"}}),
        ),
        Op::GrantList => (json!({}), json!({"grants": [{"id": "${grant}"}]})),
        Op::GrantRemove => (
            json!({"id": "${grant}"}),
            json!({"grant": {"id": "${grant}"}}),
        ),
        Op::VaultExport => (
            json!({"seal": PASSPHRASE}),
            json!({"content": "$text", "keys": 1, "total": 1, "left_out": [], "next": "$absent"}),
        ),
        Op::VaultImport => (
            json!({"keys": [{"name": "unheard-of/more", "secret": "sk-more"}], "finish": true}),
            json!({"rows": [{"outcome": "added"}], "added": 1, "import": "$absent"}),
        ),
        // The account sends to itself, which has everything already.
        Op::HandoverOffer => (
            json!({}),
            json!({"code": "$save receiver", "expires_at": "$time"}),
        ),
        Op::HandoverSend => (
            json!({"code": "${receiver}", "passphrase": PASSPHRASE}),
            json!({"content": "$save piece", "keys": 2, "checksum": "$text", "next": "$absent"}),
        ),
        Op::HandoverReceive => (
            json!({"content": "${piece}", "finish": true}),
            json!({"handover": "$absent", "keys": 2, "added": 0, "unchanged": 2, "complete": true, "checksum": "$text", "differing": []}),
        ),
        Op::UiOpen => (json!({}), json!({"url": "$text", "expires_s": 60})),
        Op::KeyCopy => (
            json!({"name": "unheard-of/work", "display": ":65000"}),
            json!({}),
        ),
        // A provider that the catalogue does not know: no network.
        Op::ProviderTest => (
            json!({"name": "unheard-of/work"}),
            json!({"outcome": "unverifiable"}),
        ),
        Op::ProviderBalance => (
            json!({"name": "unheard-of/work"}),
            json!({"outcome": "unsupported", "balances": [], "checked_at": "$time"}),
        ),
        Op::AuditList => (
            json!({"action": "key.remove"}),
            json!({"events": [{"action": "key.remove", "key": "unheard-of/new"}]}),
        ),
        Op::AuditCheckpoint => (
            json!({}),
            json!({"version": 1, "time": "$time", "account_chain": {"seq": "$number", "mac": "$text"}, "signature": "$text"}),
        ),
        Op::AuditVerify => (json!({}), json!({"ok": true, "entries": "$number"})),
        Op::BackupCreate => (
            json!({}),
            json!({"backup": {"name": "$save backup", "own": true}, "removed": []}),
        ),
        Op::BackupList => (json!({}), json!({"backups": [{"name": "${backup}"}]})),
        Op::BackupVerify => (
            json!({"name": "${backup}"}),
            json!({"verified": "decrypted", "accounts": 1}),
        ),
        Op::BackupRestore => (
            json!({"name": "${backup}", "passphrase": PASSPHRASE, "replace": true}),
            json!({"name": "${backup}", "accounts": 1, "kept": "$text"}),
        ),
        Op::BackupSchedule => (
            json!({"daily": true}),
            json!({"schedule": {"every_s": 86400, "keep": 14}}),
        ),
        Op::BillingTiers => (
            json!({}),
            json!({"tiers": [], "grace_days": 0, "codes": false}),
        ),
        Op::BillingStatus => (json!({}), json!({"tier": "local", "state": "local"})),
        Op::BillingOrders => (json!({}), json!({"orders": [], "next": "$absent"})),
        Op::AdminOrders => (
            json!({"limit": 1}),
            json!({"orders": [], "next": "$absent"}),
        ),
        Op::BillingOrderLink => (json!({"tier": "pro"}), json!({})),
        Op::BillingRedeem => (json!({"code": "x"}), json!({})),
        Op::BillingCodesCreate => (json!({"tier": "pro", "months": 1}), json!({})),
        Op::BillingOrderResolve => (
            json!({"provider": "code", "number": "1", "resolution": "grant"}),
            json!({}),
        ),
        Op::BillingContact => (
            json!({"email": "me@example.com"}),
            json!({"email": "me@example.com", "locale": "en"}),
        ),
        Op::BillingNotices => (json!({}), json!({"notices": []})),
        Op::VaultCheck => (
            json!({}),
            json!({"ok": true, "checked": "$number", "missing": [], "next": "$absent"}),
        ),
        Op::SessionList => (
            json!({}),
            json!({"sessions": [{"current": true, "host": true, "from": "$absent"}]}),
        ),
        Op::SessionRevoke => (json!({}), json!({})),
        Op::AdminGrant => (
            json!({"account": "default", "role": "admin"}),
            json!({"account": "default", "role": "admin", "key_limit": "$absent"}),
        ),
        Op::AdminAccounts => (
            json!({}),
            json!({"accounts": [{"account": "default", "role": "admin"}], "next": "$absent"}),
        ),
        Op::AdminAccount => (
            json!({"account": "default", "key_limit": 99}),
            json!({"account": "default", "key_limit": 99, "disabled": false}),
        ),
        Op::AdminInvite => (
            json!({"uses": 2}),
            json!({"invitation": "$text", "uses": 2, "expires_at": "$time"}),
        ),
        Op::AdminLog => (
            json!({"action": "admin.invite"}),
            json!({"events": [{"action": "admin.invite", "chain": "system", "account": null}]}),
        ),
        Op::AdminStatus => (
            json!({}),
            json!({"accounts": 1, "sessions": 1, "vault_bytes": "$number", "pending_events": "$number"}),
        ),
        Op::AdminTier => (
            json!({"tier": "plus", "name": "Plus", "name_zh": "Plus", "price_fen": 900}),
            json!({}),
        ),
        Op::AdminCodes => (json!({}), json!({})),
        Op::AdminCodeRevoke => (json!({"id": "00"}), json!({})),
        Op::AdminProviderPut => (json!({"record": own_provider()}), json!({})),
        Op::AdminProviderRemove => (json!({"name": "ours"}), json!({})),
        Op::AdminRemove => (json!({"account": "nobody"}), json!({})),
        // Of the account that was registered just before.
        Op::AccountRemove => (
            json!({"passphrase": PASSPHRASE}),
            json!({"account": "$text", "keys": 0}),
        ),
        Op::VaultRekey => (
            json!({"passphrase": PASSPHRASE}),
            json!({"done": true, "rekeyed": "$number", "total": "$number", "recovery_codes": ["$text", "..."]}),
        ),
    }
}

/// The smallest record of a provider.
fn own_provider() -> Value {
    json!({"id": "mine", "display_name": "Mine", "display_name_zh": "Mine", "status": "active", "kind": "gateway",
        "auth": {"style": "bearer"}, "env": {"primary": "MINE_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "https://gw.example.com/v1/models", "proves_key": false, "cost": "none",
            "verified": false}})
}

fn kind(answer: &Answer) -> Option<&str> {
    answer.as_ref().err()?["kind"].as_str()
}

/// Every operation through one way: refused with a field that none has, carried out, refused while locked.
fn walk(way: &mut dyn Way, place: &Path) {
    way.begin(place);
    let mut known = Known::default();
    let account = json!({"account": "default", "passphrase": PASSPHRASE, "totp": false});
    let registered = way.call("account.register", &account).unwrap();
    known.set("code", registered["recovery_codes"][0].as_str().unwrap());
    let key = json!({"name": "unheard-of/work", "secret": "sk-one"});
    way.call("key.add", &key).unwrap();
    let unknown = json!({"no operation has this field": 1});

    for op in Op::ALL {
        let answer = way.call(op.name(), &unknown);
        assert_eq!(
            kind(&answer),
            Some("invalid_input"),
            "{}: {answer:?}",
            op.name()
        );
    }
    // These change whose session it is: last.
    let last = [
        Op::AccountRegister,
        Op::AccountRemove,
        Op::AgentLock,
        Op::BackupRestore,
    ];
    let first = Op::ALL.iter().filter(|op| !last.contains(op));
    for op in first.chain(&last) {
        let (request, pattern) = minimal(*op);
        let answer = way.call(op.name(), &known.fill(&request));
        let refused = match op {
            // No such display, or no clipboard at all: the arm was reached.
            Op::KeyCopy => Some("unavailable"),
            // Nothing is sold: the arm was reached.
            Op::BillingOrderLink
            | Op::BillingRedeem
            | Op::BillingCodesCreate
            | Op::AdminTier
            | Op::AdminCodes
            | Op::AdminCodeRevoke
            | Op::BillingOrderResolve => Some("not_found"),
            // Neither has it others' accounts.
            Op::AdminProviderPut | Op::AdminProviderRemove | Op::AdminRemove => Some("unavailable"),
            _ => None,
        };
        if refused.is_some() {
            assert_eq!(kind(&answer), refused, "{answer:?}");
            continue;
        }
        // The agent has a dashboard, an embedded service none.
        if *op == Op::UiOpen && kind(&answer) == Some("unavailable") {
            continue;
        }
        let result = answer.unwrap_or_else(|error| panic!("{}: {error}", op.name()));
        known
            .fits(&pattern, &result, op.name())
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
    for op in Op::ALL {
        let refused = match op.authority() {
            Authority::Session => "locked",
            // The owner on the host may administer with nothing unlocked.
            Authority::Anyone | Authority::Admin | Authority::Owner => "invalid_input",
        };
        let answer = way.call(op.name(), &unknown);
        assert_eq!(kind(&answer), Some(refused), "{}: {answer:?}", op.name());
    }
    // The control: a name that is not in the table.
    assert_eq!(kind(&way.call("key.steal", &json!({}))), Some("not_found"));
    way.end();
}

#[test]
fn every_operation_is_carried_out_over_http() {
    walk(&mut Http::default(), &Agent::start().socket);
}

#[test]
fn every_operation_is_carried_out_through_the_client() {
    walk(&mut Connected::default(), &Agent::start().socket);
}

#[test]
fn every_operation_is_carried_out_through_the_c_abi_connected() {
    walk(
        &mut Program::start(c::program(), false),
        &Agent::start().socket,
    );
}

#[test]
fn every_operation_is_carried_out_through_the_c_abi_embedded() {
    let home = agent::home();
    walk(
        &mut Program::start(c::program(), true),
        &home.path().join("vault.db"),
    );
}
