//! Tiers, limits, codes, orders for a human, and reminders, as customers and the owner of the service meet them.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

#[path = "support/selling.rs"]
mod selling;
mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::billing::Settings;
use akm_core::protocol::{
    AdminOrders, AuditVerify, BillingCodesCreate, BillingContact, BillingNotices, BillingOrderLink,
    BillingOrderResolve, BillingOrders, BillingRedeem, BillingStatus, BillingTiers, HookKind,
    KeyGet, KeyList, KeyRemove, Locale, NoticeKind, OrderState, Request, Resolution, Response,
    TierState,
};
use akm_core::service::Channel;
use selling::{DAY, body, custom, hosted, orders, push, selling, settings, sign_in, standing};
use support::{Bench, kind, new_key, secret};

fn unlimited_requests() -> Settings {
    let mut settings = settings();
    for tier in &mut settings.tiers {
        tier.requests_per_minute = None;
    }
    settings
}

fn add(bench: &Bench, caller: &akm_core::audit::Caller, name: &str) -> akm_core::Result<()> {
    bench
        .call_as(caller.clone(), new_key(name, "sk-of-a-customer"))
        .map(drop)
}

#[test]
fn a_tier_limits_hosted_accounts_and_never_the_owners_own() {
    let bench = selling(settings());
    let alice = hosted(&bench, "alice");
    for number in 0..10 {
        add(&bench, &alice, &format!("openai/k{number}")).unwrap();
    }
    assert_eq!(kind(add(&bench, &alice, "openai/more")), Kind::LimitReached);
    let status = standing(&bench, &alice);
    assert_eq!(
        (
            status.tier.as_str(),
            status.state,
            status.keys,
            status.most_keys
        ),
        ("free", TierState::None, 10, Some(10))
    );
    // The owner's own account, by the same door.
    for number in 0..12 {
        bench.add(&format!("openai/k{number}"), "sk-mine").unwrap();
    }
    let status = bench.call(BillingStatus {}).unwrap();
    assert_eq!(
        (status.tier.as_str(), status.state, status.most_keys),
        ("local", TierState::Local, None)
    );
    // Somebody with the file makes the customer's row look like the owner's: what an account is stands with its keys.
    bench
        .hand()
        .execute(
            "UPDATE accounts SET tier = 'local' WHERE name = 'alice'",
            [],
        )
        .unwrap();
    assert_eq!(kind(add(&bench, &alice, "openai/more")), Kind::LimitReached);
    let tiers = bench.call(BillingTiers {}).unwrap();
    assert_eq!(tiers.tiers[2].sold_by, ["gateway"]);
}

#[test]
fn a_server_that_sells_nothing_limits_nobody() {
    let mut bench = Bench::new();
    bench.close();
    let door = bench
        .open()
        .unwrap()
        .with_hosting(akm_core::service::Hosting {
            registration: akm_core::service::Registration::Open,
            totp_required: false,
            ..akm_core::service::Hosting::default()
        });
    let from = std::net::IpAddr::from([203, 0, 113, 7]);
    let register = akm_core::protocol::AccountRegister {
        account: "alice".to_owned(),
        passphrase: secret(support::PASSPHRASE),
        totp: Some(false),
        invitation: None,
    };
    let answer = door.call(&Caller::network(from, None), Request::from(register));
    let Ok(Response::AccountRegister(registered)) = answer else {
        panic!("{answer:?}")
    };
    let alice = Caller::network(from, Some(registered.token.unwrap().expose()));
    for number in 0..130 {
        let key = new_key(&format!("openai/k{number}"), "sk-x");
        door.call(&alice, Request::from(key)).unwrap();
    }
    let answer = door.call(&alice, Request::from(BillingStatus {}));
    let Ok(Response::BillingStatus(status)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((status.state, status.most_keys), (TierState::Local, None));
}

#[test]
fn of_five_hundred_adds_with_one_place_left_one_passes() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    for number in 0..9 {
        add(&bench, &alice, &format!("openai/k{number}")).unwrap();
    }
    let (passed, limited) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = Barrier::new(500);
    std::thread::scope(|scope| {
        for number in 0..500 {
            let (bench, alice, barrier) = (&bench, &alice, &barrier);
            let (passed, limited) = (&passed, &limited);
            scope.spawn(move || {
                barrier.wait();
                match add(bench, alice, &format!("openai/parallel{number}")) {
                    Ok(()) => passed.fetch_add(1, Ordering::Relaxed),
                    Err(error) if error.kind() == Kind::LimitReached => {
                        limited.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(error) => panic!("{error:?}"),
                };
            });
        }
    });
    assert_eq!((passed.into_inner(), limited.into_inner()), (1, 499));
    assert_eq!(standing(&bench, &alice).keys, 10);
}

#[test]
fn falling_to_a_lower_tier_keeps_every_key_and_stops_adding() {
    let mut bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    let account = custom(&bench, &alice);
    assert_eq!(
        push(&bench, &body("1", &account, "pro", 1, "15.00", "paid")).status,
        200
    );
    for number in 0..15 {
        add(&bench, &alice, &format!("openai/k{number}")).unwrap();
    }
    let paid = standing(&bench, &alice);
    assert_eq!(
        (paid.tier.as_str(), paid.state, paid.most_keys),
        ("pro", TierState::Paid, None)
    );

    // The grace: it ended, and holds.
    bench.clock.advance(35 * DAY);
    bench.service().settle_tiers().unwrap();
    bench.service().settle_tiers().unwrap();
    let grace = standing(&bench, &alice);
    assert_eq!(
        (grace.tier.as_str(), grace.state),
        ("pro", TierState::Grace)
    );
    add(&bench, &alice, "openai/in-the-grace").unwrap();

    // Over: every key is there and is handed out; none is added until there are fewer than the tier allows.
    bench.clock.advance(5 * DAY);
    bench.service().settle_tiers().unwrap();
    let over = standing(&bench, &alice);
    assert_eq!(
        (over.tier.as_str(), over.state, over.keys),
        ("free", TierState::None, 16)
    );
    let reasons: Vec<&str> = over
        .history
        .iter()
        .map(|change| change.reason.as_str())
        .collect();
    assert_eq!(reasons, ["ended", "grace", "paid"], "each once");
    assert_eq!(kind(add(&bench, &alice, "openai/more")), Kind::LimitReached);
    let listed = bench.call_as(alice.clone(), KeyList::default()).unwrap();
    assert_eq!(listed.keys.len(), 16);
    for key in &listed.keys {
        let got = bench.call_as(
            alice.clone(),
            KeyGet {
                name: key.name.clone(),
                version: None,
            },
        );
        assert_eq!(got.unwrap().secret.expose(), "sk-of-a-customer");
    }
    let notices = bench.call_as(alice.clone(), BillingNotices {}).unwrap();
    assert_eq!(notices.notices[0].kind, NoticeKind::OverLimit);
    for key in &listed.keys[..7] {
        bench
            .call_as(
                alice.clone(),
                KeyRemove {
                    name: key.name.clone(),
                },
            )
            .unwrap();
    }
    add(&bench, &alice, "openai/fits-again").unwrap();
    assert_eq!(kind(add(&bench, &alice, "openai/not")), Kind::LimitReached);
    // And it is all still so after a restart.
    bench.reopen();
    let alice = sign_in(&bench, "alice");
    assert_eq!(standing(&bench, &alice).tier, "free");
    assert!(bench.call_as(alice, AuditVerify::default()).unwrap().ok);
}

#[test]
fn a_tier_limits_providers_of_ones_own_and_requests_in_a_minute() {
    let mut few = settings();
    few.tiers[0].requests_per_minute = Some(20);
    let bench = selling(few);
    let alice = hosted(&bench, "alice");
    let provider = |id: &str| {
        akm_core::protocol::ProviderAdd {
        record: serde_json::from_value(serde_json::json!({"id": id, "display_name": "M", "display_name_zh": "M",
            "status": "active", "kind": "gateway", "auth": {"style": "bearer"}, "env": {"primary": "MINE_API_KEY"},
            "verified": false, "test": {"method": "GET", "url": "https://gw.example.com/v1/models", "proves_key": false,
            "cost": "none", "verified": false}}))
        .unwrap(),
    }
    };
    bench.call_as(alice.clone(), provider("mine-1")).unwrap();
    bench.call_as(alice.clone(), provider("mine-2")).unwrap();
    assert_eq!(
        kind(bench.call_as(alice.clone(), provider("mine-3"))),
        Kind::LimitReached
    );
    for _ in 0..17 {
        standing(&bench, &alice);
    }
    let error = bench.call_as(alice.clone(), BillingStatus {}).unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    assert!((1..=60).contains(&error.retry_after_s().unwrap()));
    // Nobody else waits, and a minute later neither does she.
    bench.call(BillingStatus {}).unwrap();
    bench.clock.advance(std::time::Duration::from_secs(
        error.retry_after_s().unwrap(),
    ));
    standing(&bench, &alice);
}

#[test]
fn a_code_is_good_once_for_one_account_and_until_its_end() {
    let bench = selling(settings());
    let alice = hosted(&bench, "alice");
    let bob = hosted(&bench, "bob");
    let create = |count, expires: Option<&str>| BillingCodesCreate {
        tier: "basic".to_owned(),
        months: 2,
        count: Some(count),
        expires_at: expires.map(str::to_owned),
    };
    let codes = bench.call(create(3, None)).unwrap().codes;
    let redeem = |caller: &akm_core::audit::Caller, code: &str| {
        bench.call_as(caller.clone(), BillingRedeem { code: secret(code) })
    };
    // Typed as people type.
    let typed = codes[0].expose().to_lowercase().replace('-', " ");
    assert_eq!(redeem(&alice, &typed).unwrap().tier, "basic");
    assert_eq!(kind(redeem(&alice, codes[0].expose())), Kind::NotFound);
    assert_eq!(kind(redeem(&bob, codes[0].expose())), Kind::NotFound);
    assert_eq!(
        kind(redeem(&bob, "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA-A")),
        Kind::NotFound
    );
    assert_eq!(kind(redeem(&bob, "")), Kind::NotFound);
    // Thirty at once: one.
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| {
                if redeem(&bob, codes[1].expose()).is_ok() {
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 1);
    assert_eq!(standing(&bench, &bob).history.len(), 1);
    let late = bench.call(create(1, Some("2027-02-01"))).unwrap().codes;
    bench.clock.advance(30 * DAY);
    assert_eq!(kind(redeem(&bob, late[0].expose())), Kind::NotFound);
    // The control: one without an end, as late.
    redeem(&bob, codes[2].expose()).unwrap();
    // At rest there is no code.
    let file = std::fs::read(bench.vault()).unwrap();
    let log = std::fs::read(bench.vault().with_extension("db-wal")).unwrap_or_default();
    for code in &codes {
        for form in [code.expose().to_owned(), code.expose().replace('-', "")] {
            for bytes in [&file, &log] {
                assert!(
                    !bytes
                        .windows(form.len())
                        .any(|window| window == form.as_bytes())
                );
            }
        }
    }
    assert_eq!(
        kind(bench.call(BillingRedeem { code: secret("x") })),
        Kind::Denied,
        "nothing limits the owner"
    );
    assert_eq!(
        kind(bench.call_as(bob, create(1, None))),
        Kind::Denied,
        "a customer makes none"
    );
    for bad in [
        BillingCodesCreate {
            tier: "free".into(),
            ..create(1, None)
        },
        BillingCodesCreate {
            months: 0,
            ..create(1, None)
        },
        BillingCodesCreate {
            months: 121,
            ..create(1, None)
        },
        create(0, None),
        create(1001, None),
    ] {
        assert_eq!(kind(bench.call(bad)), Kind::InvalidInput);
    }
}

#[test]
fn what_cannot_be_matched_waits_for_a_human_who_decides_once() {
    let bench = selling(settings());
    let alice = hosted(&bench, "alice");
    let account = custom(&bench, &alice);
    let pushes = [
        (
            "nobody",
            body("1", "somebody", "pro", 1, "15.00", "paid"),
            "account",
        ),
        (
            "unknown product",
            body("2", &account, "gold", 1, "15.00", "paid"),
            "product",
        ),
        (
            "paid less",
            body("3", &account, "pro", 1, "14.99", "paid"),
            "paid_less",
        ),
        (
            "no months",
            body("4", &account, "pro", 0, "15.00", "paid"),
            "months",
        ),
    ];
    for (what, push_body, note) in &pushes {
        assert_eq!(
            push(&bench, push_body).status,
            200,
            "{what}: the money is taken"
        );
        let listed = orders(&bench);
        let order = &listed.orders[0];
        assert_eq!(
            (order.state, order.note.as_deref()),
            (OrderState::Held, Some(*note)),
            "{what}"
        );
        bench.clock.advance(std::time::Duration::from_secs(1));
    }
    assert_eq!(standing(&bench, &alice).tier, "free");
    let resolve = |number: &str, resolution, account: Option<&str>, tier: Option<&str>, months| {
        BillingOrderResolve {
            provider: "gateway".to_owned(),
            number: number.to_owned(),
            resolution,
            account: account.map(str::to_owned),
            tier: tier.map(str::to_owned),
            months,
        }
    };
    use Resolution::{Dismiss, Grant, Refund};
    let denied = bench.call_as(
        alice.clone(),
        resolve("1", Grant, Some("alice"), None, None),
    );
    assert_eq!(kind(denied), Kind::Denied, "not one's own judge");
    assert_eq!(
        kind(bench.call(resolve("1", Grant, None, None, None))),
        Kind::InvalidInput
    );
    assert_eq!(
        kind(bench.call(resolve("9", Grant, None, None, None))),
        Kind::NotFound
    );
    assert_eq!(
        kind(bench.call(resolve("2", Grant, Some("default"), None, None))),
        Kind::Conflict
    );
    let granted = bench
        .call(resolve("1", Grant, Some("alice"), None, None))
        .unwrap();
    assert_eq!(
        (granted.state, granted.account.as_deref()),
        (OrderState::Paid, Some("alice"))
    );
    assert_eq!(standing(&bench, &alice).tier, "pro");
    assert_eq!(
        kind(bench.call(resolve("1", Grant, Some("alice"), None, None))),
        Kind::Conflict,
        "once"
    );
    bench
        .call(resolve("2", Grant, None, Some("basic"), Some(2)))
        .unwrap();
    bench.call(resolve("3", Dismiss, None, None, None)).unwrap();
    assert_eq!(
        kind(bench.call(resolve("3", Grant, None, None, None))),
        Kind::Conflict
    );
    // A repeated push of what was dismissed stays dismissed.
    push(&bench, &pushes[2].1);
    bench.call(resolve("1", Refund, None, None, None)).unwrap();
    assert_eq!(
        standing(&bench, &alice).tier,
        "basic",
        "what was bought beside it stays"
    );
    let held = AdminOrders {
        state: Some(OrderState::Held),
        ..AdminOrders::default()
    };
    let numbers: Vec<String> = bench
        .call(held)
        .unwrap()
        .orders
        .into_iter()
        .map(|order| order.number)
        .collect();
    assert_eq!(numbers, ["4"]);
    // Pages, and one's own.
    let page = bench
        .call(AdminOrders {
            limit: Some(3),
            ..AdminOrders::default()
        })
        .unwrap();
    let rest = AdminOrders {
        limit: Some(3),
        after: page.next,
        ..AdminOrders::default()
    };
    assert_eq!(
        (page.orders.len(), bench.call(rest).unwrap().orders.len()),
        (3, 1)
    );
    let all = bench.call_as(alice.clone(), AdminOrders::default());
    assert_eq!(kind(all), Kind::Denied);
    let own = bench.call_as(alice, BillingOrders::default()).unwrap();
    assert!(own.orders.iter().all(|order| order.account.is_none()));
    assert_eq!(own.orders.len(), 4);
    assert_eq!(
        bench.call(BillingOrders::default()).unwrap().orders.len(),
        0,
        "nobody else's"
    );
}

#[test]
fn without_configuration_nothing_of_it_is_reachable() {
    let bench = Bench::initialized();
    for provider in ["afdian", "gateway", "code", "", "../afdian"] {
        assert_eq!(
            bench.service().take_push(provider, "", None, b"{}").status,
            404
        );
    }
    let link = BillingOrderLink {
        tier: "pro".into(),
        months: None,
        provider: None,
    };
    assert_eq!(kind(bench.call(link)), Kind::Unavailable);
    assert_eq!(
        kind(bench.call(BillingRedeem { code: secret("x") })),
        Kind::Unavailable
    );
    let codes = BillingCodesCreate {
        tier: "pro".into(),
        months: 1,
        count: None,
        expires_at: None,
    };
    assert_eq!(kind(bench.call(codes)), Kind::Unavailable);
    bench.service().poll_payments().unwrap();
    // The control: with it, the same push is looked at.
    let selling = selling(settings());
    assert_eq!(
        selling
            .service()
            .take_push("gateway", "", None, b"{}")
            .status,
        400
    );
}

fn contact(bench: &Bench, caller: &akm_core::audit::Caller) {
    let changed = bench.call_as(
        caller.clone(),
        BillingContact {
            email: Some("alice@example.com".into()),
            hook: Some(HookKind::Slack),
            hook_url: Some("https://hooks.slack.com/services/T/B/canary".into()),
            locale: Some(Locale::Zh),
        },
    );
    assert_eq!(changed.unwrap().hook, Some(HookKind::Slack));
}

#[test]
fn reminders_are_claimed_once_for_7_3_and_1_days_and_each_channel_and_survive_a_restart() {
    const BOTH: &[Channel] = &[Channel::Mail, Channel::Hook];
    let mut bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    let account = custom(&bench, &alice);
    push(&bench, &body("1", &account, "basic", 1, "5.00", "paid"));
    // 2027-01-15 and one month: 31 days. Locked: a tier's end is said to whoever is away.
    bench
        .service()
        .lock_all(akm_core::protocol::LockReason::Asked);
    let mut said = Vec::new();
    for day in 0..32 {
        for again in 0..2 {
            for reminder in bench.service().claim_reminders(BOTH).unwrap() {
                assert_eq!(again, 0, "claimed twice");
                assert_eq!(
                    (reminder.name.as_str(), reminder.contact.locale),
                    ("alice", Locale::Zh)
                );
                said.push((31 - day, reminder.days, reminder.channel == Channel::Mail));
            }
        }
        bench.reopen();
        bench.clock.advance(DAY);
    }
    let expected: Vec<(u64, u32, bool)> = [7_u32, 3, 1]
        .into_iter()
        .flat_map(|days| {
            [
                (u64::from(days), days, true),
                (u64::from(days), days, false),
            ]
        })
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn a_reminder_that_was_not_sent_is_given_back_and_one_that_was_missed_is_not_made_up_for() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    let account = custom(&bench, &alice);
    push(&bench, &body("1", &account, "basic", 1, "5.00", "paid"));
    bench.clock.advance(29 * DAY);
    let claimed = bench.service().claim_reminders(&[Channel::Mail]).unwrap();
    assert_eq!(claimed.len(), 1, "of 7 and 3 days the nearer");
    assert_eq!(claimed[0].days, 2);
    bench.service().release_reminder(&claimed[0]).unwrap();
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0
    );
    // A purchase moves the end: there is nothing to remind of any more, and later there is again.
    push(&bench, &body("2", &account, "basic", 1, "5.00", "paid"));
    bench.clock.advance(DAY + DAY / 2);
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0
    );
    bench.clock.advance(22 * DAY);
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_key_that_expires_is_spoken_of_while_its_owner_is_signed_in_and_listed_as_a_notice() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    for (name, expires) in [
        ("openai/soon", "2027-01-17"),
        ("openai/later", "2027-03-01"),
        ("openai/past", "2027-01-10"),
    ] {
        let mut key = new_key(name, "sk-x");
        key.expires_at = Some(expires.to_owned());
        bench.call_as(alice.clone(), key).unwrap();
    }
    let notices = bench
        .call_as(alice.clone(), BillingNotices {})
        .unwrap()
        .notices;
    let seen: Vec<(NoticeKind, Option<&str>)> = notices
        .iter()
        .map(|notice| (notice.kind, notice.key.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (NoticeKind::KeyExpired, Some("openai/past")),
            (NoticeKind::KeyExpires, Some("openai/soon"))
        ]
    );
    bench
        .service()
        .lock_all(akm_core::protocol::LockReason::Asked);
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0,
        "locked"
    );
    let _alice = sign_in(&bench, "alice");
    let claimed = bench.service().claim_reminders(&[Channel::Mail]).unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].key.as_deref(), Some("openai/soon"));
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0,
        "once"
    );
}

#[test]
fn where_somebody_is_reached_is_not_readable_at_rest_and_goes_when_they_say_so() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    let mut bytes = std::fs::read(bench.vault()).unwrap();
    bytes.extend(std::fs::read(bench.vault().with_extension("db-wal")).unwrap_or_default());
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("alice"), "control: the account's name is in clear");
    assert!(!holds("alice@example.com") && !holds("canary"));
    let shown = bench
        .call_as(alice.clone(), BillingContact::default())
        .unwrap();
    assert_eq!(shown.email.as_deref(), Some("alice@example.com"));
    for (field, bad) in [
        (
            "email",
            BillingContact {
                email: Some("not one".into()),
                ..BillingContact::default()
            },
        ),
        (
            "hook_url",
            BillingContact {
                hook: Some(HookKind::Slack),
                ..BillingContact::default()
            },
        ),
        (
            "hook_url",
            BillingContact {
                hook: Some(HookKind::Feishu),
                hook_url: Some("https://169.254.169.254/".into()),
                ..BillingContact::default()
            },
        ),
    ] {
        let error = bench.call_as(alice.clone(), bad).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::InvalidInput, Some(field))
        );
    }
    let gone = BillingContact {
        email: Some(String::new()),
        hook_url: Some(String::new()),
        locale: Some(Locale::En),
        ..BillingContact::default()
    };
    let gone = bench.call_as(alice, gone).unwrap();
    assert_eq!((gone.email, gone.hook), (None, None));
    let rows: i64 = bench
        .hand()
        .query_row("SELECT count(*) FROM contacts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}
