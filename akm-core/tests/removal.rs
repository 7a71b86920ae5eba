//! Accounts that are removed: what goes, what stays, who may, and what nobody gains by it.
//!
//! Attacks: a session or a sign-in that outlives its account; a stranger, or an administrator without the own
//! passphrase, who removes somebody; an administrator who removes another; a redeem code or a push that is good again after the account
//! that used it is gone; a name that is taken anew and brings anything of its former owner's along; counters of guesses that
//! pile up with accounts that come and go; an add that races the removal and leaves a record behind.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/selling.rs"]
mod shop;
mod support;

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountRemove, AdminAccount, AdminGrant, AdminLog, AdminRemove, AuditVerify,
    BillingCodesCreate, BillingContact, BillingRedeem, KeyGet, KeyList, KeyRotate, OrderState,
    ProviderAdd, Role,
};
use akm_core::{Result, Secret};
use shop::{body, custom, hosted, orders, push, selling, settings, sign_in, standing};
use support::{Bench, PASSPHRASE, kind, me, new_key, secret};

const TABLES: [&str; 11] = [
    "accounts",
    "slots",
    "keys",
    "history",
    "providers",
    "last_tests",
    "tree",
    "tier_history",
    "contacts",
    "reminders",
    "orders",
];

fn remove(bench: &Bench, caller: &Caller, passphrase: &str) -> Result<u64> {
    let passphrase = secret(passphrase);
    let removed = bench.call_as(caller.clone(), AccountRemove { passphrase })?;
    Ok(removed.keys)
}

fn add(bench: &Bench, caller: &Caller, name: &str) -> Result<()> {
    bench
        .call_as(caller.clone(), new_key(name, "sk-1"))
        .map(drop)
}

/// Rows of an account in every table that has any; its orders among them.
fn rows(bench: &Bench, id: &[u8]) -> Vec<(&'static str, i64)> {
    let conn = bench.hand();
    let of = |table: &'static str| {
        let column = if table == "accounts" { "id" } else { "account" };
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = ?1");
        (table, conn.query_row(&sql, [id], |row| row.get(0)).unwrap())
    };
    TABLES
        .map(of)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn id_of(bench: &Bench, name: &str) -> Vec<u8> {
    bench
        .hand()
        .query_row("SELECT id FROM accounts WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .unwrap()
}

fn code(bench: &Bench) -> Secret {
    let request = BillingCodesCreate {
        tier: "basic".to_owned(),
        months: 1,
        count: None,
        expires_at: None,
    };
    bench.call(request).unwrap().codes.remove(0)
}

fn redeem(bench: &Bench, caller: &Caller, code: &Secret) -> Result<()> {
    let code = Secret::new(code.expose().to_owned());
    bench
        .call_as(caller.clone(), BillingRedeem { code })
        .map(drop)
}

#[test]
fn everything_of_an_account_goes_at_once_and_nothing_of_it_is_good_again() {
    let bench = selling(settings());
    let (alice, bob) = (hosted(&bench, "alice"), hosted(&bench, "bob"));
    add(&bench, &bob, "openai/bobs").unwrap();
    add(&bench, &alice, "openai/one").unwrap();
    add(&bench, &alice, "openai/two").unwrap();
    let rotate = KeyRotate {
        name: "openai/one".to_owned(),
        secret: secret("sk-2"),
    };
    bench.call_as(alice.clone(), rotate).unwrap();
    let provider = serde_json::json!({"id": "mine", "display_name": "M", "display_name_zh": "M", "status": "active",
        "kind": "gateway", "auth": {"style": "bearer"}, "env": {"primary": "MINE_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "https://gw.example.com/v1/models", "proves_key": false, "cost": "none",
            "verified": false}});
    let record = provider.as_object().unwrap().clone();
    bench
        .call_as(alice.clone(), ProviderAdd { record })
        .unwrap();
    let contact = BillingContact {
        email: Some("alice@example.com".to_owned()),
        ..BillingContact::default()
    };
    bench.call_as(alice.clone(), contact).unwrap();
    let code = code(&bench);
    redeem(&bench, &alice, &code).unwrap();
    let bought = body(
        "order-1",
        &custom(&bench, &alice),
        "basic",
        1,
        "5.00",
        "paid",
    );
    assert_eq!(push(&bench, &bought).status, 200);
    let second = sign_in(&bench, "alice");
    let id = id_of(&bench, "alice");
    assert!(
        rows(&bench, &id).len() >= 8,
        "control: {:?}",
        rows(&bench, &id)
    );

    // Not without the passphrase, and then nothing is gone.
    assert_eq!(
        kind(remove(&bench, &alice, "a guess")),
        Kind::WrongCredentials
    );
    assert_eq!(
        bench
            .call_as(alice.clone(), KeyList::default())
            .unwrap()
            .keys
            .len(),
        2
    );
    assert_eq!(remove(&bench, &alice, PASSPHRASE).unwrap(), 2);
    assert_eq!(rows(&bench, &id), [], "everything");
    for caller in [&alice, &second] {
        let get = KeyGet {
            name: "openai/one".to_owned(),
            version: None,
        };
        assert_eq!(kind(bench.call_as(caller.clone(), get)), Kind::Locked);
    }
    // The audit stays: her chain's events, and the removal in the system's.
    let events: i64 = bench
        .hand()
        .query_row(
            "SELECT count(*) FROM events WHERE chain = ?1",
            [&id],
            |row| row.get(0),
        )
        .unwrap();
    bench.service().fold().unwrap();
    let log = AdminLog {
        action: Some("account.remove".to_owned()),
        ..AdminLog::default()
    };
    let log = bench.call(log).unwrap().events;
    let outcomes: Vec<&str> = log.iter().map(|event| event.outcome.as_str()).collect();
    assert_eq!(outcomes.last(), Some(&"ok"), "{outcomes:?}");
    let after: i64 = bench
        .hand()
        .query_row(
            "SELECT count(*) FROM events WHERE chain = ?1",
            [&id],
            |row| row.get(0),
        )
        .unwrap();
    assert!(after >= events && after > 0);
    assert!(bench.call(AuditVerify::default()).unwrap().ok);
    // Her orders are nobody's, and neither the push nor the code is good again.
    let left = orders(&bench).orders;
    assert_eq!(left.len(), 2);
    assert!(
        left.iter()
            .all(|order| order.account.is_none() && order.state == OrderState::Paid)
    );
    let again = hosted(&bench, "alice");
    assert_eq!(push(&bench, &bought).status, 200);
    assert_eq!(kind(redeem(&bench, &again, &code)), Kind::NotFound);
    assert_eq!(standing(&bench, &again).tier, "free");
    assert_eq!(orders(&bench).orders.len(), 2);
    assert!(
        bench
            .call_as(again, KeyList::default())
            .unwrap()
            .keys
            .is_empty()
    );
    // Control: nobody else lost anything.
    let get = KeyGet {
        name: "openai/bobs".to_owned(),
        version: None,
    };
    assert_eq!(bench.call_as(bob, get).unwrap().secret.expose(), "sk-1");
}

#[test]
fn an_administrator_removes_users_with_the_own_passphrase_and_no_administrator() {
    let bench = selling(settings());
    let root = hosted(&bench, "root");
    let (other, alice) = (hosted(&bench, "other"), hosted(&bench, "alice"));
    for account in ["root", "other"] {
        let account = account.to_owned();
        let role = Role::Admin;
        bench.call(AdminGrant { account, role }).unwrap();
    }
    let ask = |caller: &Caller, account: &str, passphrase: Option<&str>| {
        let request = AdminRemove {
            account: account.to_owned(),
            passphrase: passphrase.map(secret),
        };
        kind(
            bench
                .call_as(caller.clone(), request)
                .map(|_| ())
                .and(Err::<(), _>(akm_core::Error::new(
                    Kind::Timeout,
                    "it was done",
                ))),
        )
    };
    const DONE: Kind = Kind::Timeout;
    assert_eq!(ask(&alice, "other", Some(PASSPHRASE)), Kind::Denied);
    assert_eq!(ask(&root, "alice", None), Kind::InvalidInput);
    assert_eq!(ask(&root, "alice", Some("a guess")), Kind::WrongCredentials);
    assert_eq!(ask(&root, "other", Some(PASSPHRASE)), Kind::Denied);
    assert_eq!(ask(&root, "root", Some(PASSPHRASE)), Kind::Denied);
    assert_eq!(ask(&root, "default", Some("x")), Kind::WrongCredentials);
    assert_eq!(ask(&root, "nobody", Some(PASSPHRASE)), Kind::NotFound);
    // Control: everybody is still there.
    for caller in [&root, &other, &alice] {
        bench.call_as(caller.clone(), KeyList::default()).unwrap();
    }
    assert_eq!(ask(&root, "alice", Some(PASSPHRASE)), DONE);
    assert_eq!(kind(bench.call_as(alice, KeyList::default())), Kind::Locked);
    // The owner on the host reaches everybody.
    assert_eq!(ask(&me(), "other", None), DONE);
    assert_eq!(kind(bench.call_as(other, KeyList::default())), Kind::Locked);
}

#[test]
fn an_administrator_disables_others_and_never_the_own_account_but_on_the_host() {
    let bench = selling(settings());
    let root = hosted(&bench, "root");
    let other = hosted(&bench, "other");
    for account in ["root", "other"] {
        let account = account.to_owned();
        let role = Role::Admin;
        bench.call(AdminGrant { account, role }).unwrap();
    }
    let change = |account: &str, disabled, key_limit| AdminAccount {
        account: account.to_owned(),
        disabled,
        key_limit,
        no_key_limit: None,
    };
    for request in [
        change("root", Some(true), None),
        change("root", Some(true), Some(5)),
    ] {
        let refused = bench.call_as(root.clone(), request).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field()),
            (Kind::Denied, Some("account"))
        );
    }
    // Nothing of it was done, and everything else of the own account can be.
    bench.call_as(root.clone(), KeyList::default()).unwrap();
    let own = bench
        .call_as(root.clone(), change("root", Some(false), Some(7)))
        .unwrap();
    assert_eq!((own.disabled, own.key_limit), (false, Some(7)));
    let disabled = bench
        .call_as(root.clone(), change("other", Some(true), None))
        .unwrap();
    assert!(disabled.disabled);
    assert_eq!(kind(bench.call_as(other, KeyList::default())), Kind::Locked);
    let host = bench.call(change("root", Some(true), None)).unwrap();
    assert!(host.disabled, "the host does");
}

#[test]
fn adds_that_race_a_removal_leave_nothing_behind_and_break_nothing() {
    let bench = selling(settings());
    for round in 0..8 {
        let name = format!("racer-{round}");
        let callers: Vec<Caller> = std::iter::once(hosted(&bench, &name))
            .chain((0..3).map(|_| sign_in(&bench, &name)))
            .collect();
        let id = id_of(&bench, &name);
        std::thread::scope(|scope| {
            for (index, caller) in callers.iter().enumerate() {
                let bench = &bench;
                scope.spawn(move || {
                    for number in 0..4 {
                        let key = format!("openai/{index}-{number}");
                        if let Err(error) = add(bench, caller, &key) {
                            let told = [
                                Kind::Locked,
                                Kind::NotFound,
                                Kind::Conflict,
                                Kind::LimitReached,
                                Kind::RolledBack,
                            ];
                            assert!(told.contains(&error.kind()), "{error:?}");
                        }
                    }
                });
            }
            scope.spawn(|| remove(&bench, &callers[0], PASSPHRASE).unwrap());
        });
        assert_eq!(rows(&bench, &id), []);
    }
}

#[test]
fn what_was_counted_for_an_account_goes_with_it_and_its_bucket_counts_on() {
    let bench = selling(settings());
    let count = || -> i64 {
        bench
            .hand()
            .query_row(
                "SELECT count(*) FROM attempts WHERE failures > 2",
                [],
                |row| row.get(0),
            )
            .unwrap()
    };
    let before = count();
    for round in 0..3 {
        let name = format!("guessed-{round}");
        let caller = hosted(&bench, &name);
        for _ in 0..4 {
            let _ = bench.sign_in(Some(&name), "a guess", None);
        }
        // A name is counted in its bucket, as one that nobody has is, and beside it as the account's.
        assert_eq!(count(), before + round + 2, "control");
        remove(&bench, &caller, PASSPHRASE).unwrap();
        assert_eq!(count(), before + round + 1);
    }
}
