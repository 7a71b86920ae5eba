//! What a tier limits, for whom, and what becomes of what is there when it ends.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AdminAccounts, AuditVerify, BillingNotices, BillingStatus, BillingTiers, KeyGet, KeyList,
    KeyRemove, NoticeKind, Request, Response, TierState,
};

use super::selling::{DAY, body, custom, hosted, push, selling, settings, sign_in, standing};
use super::support::{Bench, PASSPHRASE, kind, me, new_key, secret};
use super::{add, unlimited_requests};

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
        passphrase: secret(PASSPHRASE),
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
    // And nobody is told of limits that do not hold.
    let answer = door.call(&Caller::network(from, None), Request::from(BillingTiers {}));
    let Ok(Response::BillingTiers(tiers)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (tiers.tiers.len(), tiers.grace_days, tiers.codes),
        (0, 0, false)
    );
    let answer = door.call(&me(), Request::from(AdminAccounts::default()));
    let Ok(Response::AdminAccounts(page)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(page.accounts[0].tier, "local");
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
