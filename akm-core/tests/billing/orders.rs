//! Codes, orders that a person decides about, and a server that sells nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use akm_core::Kind;
use akm_core::protocol::{
    AdminOrders, BillingCodesCreate, BillingOrderLink, BillingOrderResolve, BillingOrders,
    BillingRedeem, OrderState, Resolution,
};

use super::selling::{DAY, body, custom, hosted, orders, push, selling, settings, standing};
use super::support::{Bench, kind, secret};

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
fn a_time_before_anything_was_sold_is_none_and_what_was_bought_begins_now() {
    for (number, said) in [
        0,
        -1,
        86_400,
        1_262_304_000,
        -1_000_000_000_000_000,
        i64::MIN,
        i64::MAX,
    ]
    .into_iter()
    .enumerate()
    {
        let bench = selling(settings());
        let alice = hosted(&bench, "alice");
        let paid = |order: &str, account: &str| {
            let order = body(order, account, "basic", 1, "5.00", "paid");
            order.replace("\"order\"", &format!("\"paid_at\":{said},\"order\""))
        };
        let account = custom(&bench, &alice);
        assert_eq!(push(&bench, &paid("1", &account)).status, 200, "{said}");
        let until = "2027-02-15T08:00:00.000Z";
        let after = standing(&bench, &alice);
        assert_eq!(
            (after.tier.as_str(), after.until.as_deref()),
            ("basic", Some(until)),
            "{number}: {said}"
        );
        // And of nobody: it begins now for whoever turns out to have paid.
        assert_eq!(push(&bench, &paid("2", "nobody")).status, 200, "{said}");
        let listed = orders(&bench).orders;
        assert!(
            listed
                .iter()
                .all(|order| order.paid_at.starts_with("2027-01-15T08:00")),
            "{listed:?}"
        );
    }
    // The control: a time that can be is kept.
    let bench = selling(settings());
    let alice = hosted(&bench, "alice");
    let order = body("1", &custom(&bench, &alice), "basic", 1, "5.00", "paid");
    push(
        &bench,
        &order.replace("\"order\"", "\"paid_at\":1799900000,\"order\""),
    );
    assert_eq!(orders(&bench).orders[0].paid_at, "2027-01-14T04:13:20.000Z");
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
    // For good: a kind that is the server's fault would raise the alert of errors.
    assert_eq!(kind(bench.call(link)), Kind::NotFound);
    assert_eq!(
        kind(bench.call(BillingRedeem { code: secret("x") })),
        Kind::NotFound
    );
    let codes = BillingCodesCreate {
        tier: "pro".into(),
        months: 1,
        count: None,
        expires_at: None,
    };
    assert_eq!(kind(bench.call(codes)), Kind::NotFound);
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
