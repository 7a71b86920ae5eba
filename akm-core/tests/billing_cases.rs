//! Group G of the attack cases, and every case of `fixtures/billing/payment_cases.json`, against a provider that signs what it
//! pushes.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

#[path = "support/selling.rs"]
mod selling;
mod support;

use akm_core::billing::gateway::Gateway;
use akm_core::billing::money;
use akm_core::billing::term::add_months;
use akm_core::protocol::{BillingStatus, OrderState};
use akm_core::service::PushAnswer;
use akm_core::{Kind, Secret};
use selling::{body, custom, gateway, hosted, orders, product, push, selling, settings, standing};
use support::{Bench, kind, new_key};

const CASES: &str = include_str!("fixtures/billing/payment_cases.json");

fn cases() -> Vec<serde_json::Value> {
    let file: serde_json::Value = serde_json::from_str(CASES).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// A and pushes for their account.
struct Shop {
    bench: Bench,
    alice: akm_core::audit::Caller,
    account: String,
}

impl Shop {
    fn open() -> Shop {
        let mut settings = settings();
        settings
            .products
            .push(product("gateway", "yen", "basic", 500));
        settings.products.last_mut().unwrap().currency = "JPY".to_owned();
        settings
            .products
            .push(product("gateway", "dinar", "basic", 1234));
        settings.products.last_mut().unwrap().currency = "KWD".to_owned();
        settings
            .products
            .push(product("gateway", "dollar", "basic", 1999));
        settings.products.last_mut().unwrap().currency = "USD".to_owned();
        let bench = selling(settings);
        let alice = hosted(&bench, "alice");
        let account = custom(&bench, &alice);
        Shop {
            bench,
            alice,
            account,
        }
    }

    fn raw(
        &self,
        product: &str,
        months: i64,
        amount: serde_json::Value,
        currency: &str,
    ) -> PushAnswer {
        let body = serde_json::json!({"order": "1", "account": self.account, "product": product, "months": months,
            "amount": amount, "currency": currency, "status": "paid"});
        push(&self.bench, &body.to_string())
    }

    fn tier(&self) -> String {
        standing(&self.bench, &self.alice).tier
    }

    fn signed_at(&self, at: i64, body: &str, sent: &str) -> PushAnswer {
        let at = at.to_string();
        let signature = format!("t={at},v1={}", gateway().sign(&at, body.as_bytes()));
        self.bench
            .service()
            .take_push("gateway", "", Some(&signature), sent.as_bytes())
    }

    fn good(&self) -> String {
        body("1", &self.account, "basic", 1, "5.00", "paid")
    }

    /// Nothing was granted and nothing stored, and the right push still is taken: the control.
    fn refused(&self, answer: &PushAnswer) {
        assert_eq!(answer.status, 400);
        assert_eq!(
            (self.tier().as_str(), orders(&self.bench).orders.len()),
            ("free", 0)
        );
        assert_eq!(push(&self.bench, &self.good()).status, 200);
        assert_eq!(self.tier(), "basic");
    }

    fn only_order(&self) -> akm_core::protocol::OrderInfo {
        let mut orders = orders(&self.bench).orders;
        assert_eq!(orders.len(), 1);
        orders.remove(0)
    }
}

fn date(text: &str) -> i64 {
    format!("{text}T00:00:00Z")
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond()
}

fn run(case: &serde_json::Value) {
    let shop = Shop::open();
    let now = shop.bench.clock.unix_s();
    let good = shop.good();
    let text = |field: &str| case[field].as_str().unwrap().to_owned();
    let first = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    match case["id"].as_str().unwrap() {
        "empty-secret-config" => {
            let secret = case["config"]["webhook_secret"]
                .as_str()
                .unwrap()
                .to_owned();
            let refused = Gateway::new(Secret::new(secret), None).err().unwrap();
            assert_eq!(refused.kind(), Kind::InvalidInput);
        }
        "body-changed-after-sign" => {
            let changed = good.replace("\"months\":1", "\"months\":9");
            assert_ne!(changed, good);
            shop.refused(&shop.signed_at(now, &good, &changed));
        }
        "whitespace-changed-after-sign" => {
            shop.refused(&shop.signed_at(now, &good, &good.replace(',', ", ")));
        }
        "timestamp-old-301s" => shop.refused(&shop.signed_at(now - 301, &good, &good)),
        "timestamp-future-301s" => shop.refused(&shop.signed_at(now + 301, &good, &good)),
        "two-v1-signatures-one-good" => {
            let at = now.to_string();
            let right = gateway().sign(&at, good.as_bytes());
            let signature = format!("t={at},v1={},v1={right}", "0".repeat(64));
            for _ in 0..2 {
                let answer = shop.bench.service().take_push(
                    "gateway",
                    "",
                    Some(&signature),
                    good.as_bytes(),
                );
                assert_eq!(answer.status, 200);
            }
            assert_eq!(standing(&shop.bench, &shop.alice).history.len(), 1);
        }
        "amount-higher" => {
            let price = case["order_minor"].as_i64().unwrap();
            let paid = case["paid_minor"].as_i64().unwrap();
            let amount = format!("{}.{:02}", paid / 100, paid % 100);
            assert_eq!(shop.raw("dollar", 1, amount.into(), "USD").status, 200);
            let order = shop.only_order();
            assert_eq!(
                (order.amount, order.months),
                (paid, 1),
                "{price} was asked for"
            );
            assert_eq!(order.note.as_deref(), Some("paid_more"));
            let until = standing(&shop.bench, &shop.alice).until.unwrap();
            assert_eq!(until, "2027-02-15T08:00:00.000Z", "one month and no more");
        }
        "currency-swap" => {
            let paid = first(text("paid"));
            assert_eq!(
                shop.raw("dollar", 1, paid[0].clone().into(), &paid[1])
                    .status,
                200
            );
            assert_eq!(shop.only_order().note.as_deref(), Some("currency"));
            assert_eq!(shop.tier(), "free");
        }
        "zero-decimal-currency" => {
            let order = first(text("order"));
            shop.raw("yen", 1, order[0].clone().into(), &order[1]);
            assert_eq!(
                (shop.only_order().amount, shop.tier().as_str()),
                (500, "basic")
            );
        }
        "three-decimal-currency" => {
            let order = first(text("order"));
            shop.raw("dinar", 1, order[0].clone().into(), &order[1]);
            assert_eq!(
                (shop.only_order().amount, shop.tier().as_str()),
                (1234, "basic")
            );
        }
        "float-0.1-plus-0.2" => {
            let sum: f64 = case["ops"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_f64().unwrap())
                .sum();
            shop.refused(&shop.raw("basic", 1, sum.into(), "CNY"));
        }
        "infinity" | "exponent" => {
            shop.refused(&shop.raw("basic", 1, case["amount"].clone(), "CNY"))
        }
        "i64-min" => {
            let minor = case["amount_minor"].as_i64().unwrap();
            shop.refused(&shop.raw("yen", 1, minor.to_string().into(), "JPY"));
        }
        "i64-max-plus" => {
            shop.refused(&shop.raw("yen", 1, case["amount_minor"].clone(), "JPY"));
        }
        "month-end" | "leap-day-year" => {
            let months = u32::try_from(case["months"].as_u64().unwrap()).unwrap();
            let end: String = text("expect").chars().take(10).collect();
            assert_eq!(add_months(date(&text("start")), months), Some(date(&end)));
        }
        "dst" => {
            // Half past one does not come twice in UTC: the same time of day a month later.
            let start = "2025-03-30T00:30:00Z".parse::<jiff::Timestamp>().unwrap();
            let end = "2025-04-30T00:30:00Z".parse::<jiff::Timestamp>().unwrap();
            let months = u32::try_from(case["months"].as_u64().unwrap()).unwrap();
            assert_eq!(
                add_months(start.as_millisecond(), months),
                Some(end.as_millisecond())
            );
        }
        "order-of-other-user" => {
            let bob = hosted(&shop.bench, "bob");
            push(&shop.bench, &good);
            // The same order in Bob's name, and an order for a name that Bob made up from Alice's.
            let bobs = custom(&shop.bench, &bob);
            push(&shop.bench, &body("1", &bobs, "basic", 1, "5.00", "paid"));
            let forged = format!(
                "{}{}",
                &bobs[..bobs.len() - 8],
                &shop.account[shop.account.len() - 8..]
            );
            push(&shop.bench, &body("2", &forged, "basic", 1, "5.00", "paid"));
            assert_eq!(standing(&shop.bench, &bob).tier, "free");
            assert_eq!(standing(&shop.bench, &shop.alice).history.len(), 1);
        }
        "split-prorate" => {
            let parts = u32::try_from(case["parts"].as_u64().unwrap()).unwrap();
            let shares = money::split(case["total_minor"].as_i64().unwrap(), parts).unwrap();
            let told: Vec<String> = shares.iter().map(i64::to_string).collect();
            assert!(text("expect").starts_with(&told.join("+")));
        }
        other => panic!("nobody runs the case {other}"),
    }
}

#[test]
fn g01_g03_every_payment_case_comes_out_as_it_says() {
    let cases = cases();
    assert_eq!(cases.len(), 20);
    for case in &cases {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(case)));
        assert!(done.is_ok(), "{}", case["id"]);
    }
}

#[test]
fn g01_a_forged_push_is_refused_whatever_it_is_signed_with() {
    let shop = Shop::open();
    let good = shop.good();
    let at = shop.bench.clock.unix_s().to_string();
    let with = |secret: &str| {
        let other = Gateway::new(Secret::new(secret.to_owned()), None).unwrap();
        other.sign(&at, good.as_bytes())
    };
    let right = gateway().sign(&at, good.as_bytes());
    let empty = akm_core::crypto::hmac_sha256(b"", &[at.as_bytes(), b".", good.as_bytes()]);
    let empty = data_encoding::HEXLOWER.encode(&empty);
    let headers = [
        None,
        Some(String::new()),
        Some(format!("t={at}")),
        Some(format!("t={at},v1=")),
        Some(format!("v1={right}")),
        Some(format!("t={at},v1={empty}")),
        Some(format!("t={at},v1={}", with("another secret of sixteen"))),
        Some(format!("t={at},v1={}", right.to_uppercase())),
        Some(format!("t={at},v0={right}")),
        Some(format!("t={at},t={at},v1={right}")),
        Some(format!("t= {at},v1={right}")),
        Some(format!("t={at},v1=0,v1=0,v1=0,v1=0,v1={right}")),
    ];
    for header in &headers {
        let answer =
            shop.bench
                .service()
                .take_push("gateway", "", header.as_deref(), good.as_bytes());
        assert_eq!(answer.status, 400, "{header:?}");
    }
    let huge = vec![b' '; 65 * 1024];
    assert_eq!(
        shop.bench
            .service()
            .take_push("gateway", "", None, &huge)
            .status,
        413
    );
    assert_eq!(
        (shop.tier().as_str(), orders(&shop.bench).orders.len()),
        ("free", 0)
    );
    for secret in ["", "short", "fifteen bytes.."] {
        assert!(Gateway::new(Secret::new(secret.to_owned()), None).is_err());
    }
    assert_eq!(push(&shop.bench, &good).status, 200, "control");
}

#[test]
fn g02_of_a_thousand_parallel_copies_one_is_credited() {
    let shop = Shop::open();
    let good = shop.good();
    let barrier = std::sync::Barrier::new(1000);
    std::thread::scope(|scope| {
        for _ in 0..1000 {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(push(&shop.bench, &good).status, 200);
            });
        }
    });
    let after = standing(&shop.bench, &shop.alice);
    assert_eq!((after.tier.as_str(), after.history.len()), ("basic", 1));
    assert_eq!(
        after.until.as_deref(),
        Some("2027-02-15T08:00:00.000Z"),
        "one month"
    );
    assert_eq!(orders(&shop.bench).orders.len(), 1);
}

#[test]
fn g03_amount_currency_and_product_are_the_configurations_and_months_are_paid_for() {
    for (product, months, amount, currency) in [
        ("pro", 1, "5.00", "CNY"),
        ("basic", 12, "5.00", "CNY"),
        ("basic", 1, "0.00", "CNY"),
        ("basic", 1, "4.99", "CNY"),
        ("basic", 1, "5.00", "USD"),
        ("basic", 1, "500", "JPY"),
        ("basic", -1, "5.00", "CNY"),
        ("basic", 0, "5.00", "CNY"),
        ("basic", 121, "605.00", "CNY"),
        ("basic", i64::MAX, "5.00", "CNY"),
        ("basic", i64::MIN, "5.00", "CNY"),
        ("", 1, "5.00", "CNY"),
        ("BASIC", 1, "5.00", "CNY"),
    ] {
        let shop = Shop::open();
        shop.raw(product, months, amount.into(), currency);
        assert_eq!(
            shop.only_order().state,
            OrderState::Held,
            "{product} {months} {amount}"
        );
        assert_eq!(
            shop.tier(),
            "free",
            "{product} {months} {amount} {currency}"
        );
    }
    let shop = Shop::open();
    shop.raw("basic", 12, "60.00".into(), "CNY");
    assert_eq!(shop.tier(), "basic", "control");
    assert_eq!(shop.only_order().monthly.iter().sum::<i64>(), 6000);
}

#[test]
fn g05_all_permutations_of_five_events_end_in_one_state() {
    let paid_at = 1_799_990_000;
    let event = |order: &'static str,
                 product: &'static str,
                 amount: &'static str,
                 status: &'static str,
                 at: i64| {
        move |account: &str| {
            serde_json::json!({"order": order, "account": account, "product": product, "months": 1, "amount": amount,
                "currency": "CNY", "status": status, "paid_at": paid_at + at})
            .to_string()
        }
    };
    let events: [&dyn Fn(&str) -> String; 5] = [
        &event("a", "basic", "5.00", "paid", 0),
        &event("a", "basic", "5.00", "paid", 0),
        &event("a", "basic", "5.00", "refunded", 0),
        &event("b", "pro", "15.00", "paid", 5),
        &event("c", "basic", "5.00", "paid", 9),
    ];
    let mut orders_of_events = Vec::new();
    permute(&mut [0, 1, 2, 3, 4], 0, &mut orders_of_events);
    assert_eq!(orders_of_events.len(), 120);
    let shop = Shop::open();
    let mut ends = std::collections::BTreeSet::new();
    for (number, permutation) in orders_of_events.iter().enumerate() {
        let caller = hosted(&shop.bench, &format!("p{number}"));
        let account = custom(&shop.bench, &caller);
        for index in permutation {
            // Numbers are unique per provider, so each customer has their own.
            let body =
                events[*index](&account).replace("\"order\":\"", &format!("\"order\":\"{number}-"));
            assert_eq!(push(&shop.bench, &body).status, 200);
        }
        let after = standing(&shop.bench, &caller);
        let own = akm_core::protocol::BillingOrders::default();
        let states: Vec<String> = shop
            .bench
            .call_as(caller.clone(), own)
            .unwrap()
            .orders
            .iter()
            .map(|order| {
                let name = order.number.split_once('-').unwrap().1;
                format!(
                    "{name} {:?} {:?} {}",
                    order.state, order.tier, order.paid_at
                )
            })
            .collect();
        ends.insert(format!(
            "{} {:?} {:?} {states:?}",
            after.tier, after.state, after.until
        ));
    }
    assert_eq!(ends.len(), 1, "{ends:?}");
    let end = ends.first().unwrap();
    assert!(
        end.starts_with("pro Paid") && end.contains("a Refunded"),
        "{end}"
    );
}

fn permute(items: &mut [usize], from: usize, out: &mut Vec<Vec<usize>>) {
    if from == items.len() {
        out.push(items.to_vec());
    }
    for index in from..items.len() {
        items.swap(from, index);
        permute(items, from + 1, out);
        items.swap(from, index);
    }
}

#[test]
fn g06_an_edited_order_or_one_from_another_vault_is_refused_and_keys_stay() {
    let edits = [
        (
            "a longer term",
            "UPDATE orders SET body = replace(CAST(body AS TEXT), '\"months\":1', '\"months\":9')",
        ),
        (
            "a higher tier",
            "UPDATE orders SET body = CAST(replace(CAST(body AS TEXT), 'basic', 'pro') AS BLOB)",
        ),
        (
            "paid later",
            "UPDATE orders SET paid_at = paid_at + 86400000",
        ),
        ("a refund undone", "UPDATE orders SET state = 2"),
        ("another number", "UPDATE orders SET number = '2'"),
        (
            "somebody else's",
            "UPDATE orders SET account = (SELECT id FROM accounts WHERE name = 'bob')",
        ),
    ];
    for (what, edit) in edits {
        let shop = Shop::open();
        let bob = hosted(&shop.bench, "bob");
        push(&shop.bench, &shop.good());
        if what == "a refund undone" {
            push(&shop.bench, &shop.good().replace("paid", "refunded"));
        }
        let key = new_key("openai", "sk-stays");
        shop.bench.call_as(shop.alice.clone(), key).unwrap();
        let hand = shop.bench.hand();
        let edit = edit
            .replace("body = replace(", "body = CAST(replace(")
            .replace("'\"months\":9')", "'\"months\":9') AS BLOB)");
        assert_eq!(hand.execute(&edit, []).unwrap(), 1, "{what}");
        let victim = if what == "somebody else's" {
            bob
        } else {
            shop.alice.clone()
        };
        let status = shop.bench.call_as(victim.clone(), BillingStatus {});
        assert_eq!(kind(status), Kind::Corrupt, "{what}");
        let added = shop
            .bench
            .call_as(victim, new_key("openai/more", "sk-more"));
        assert_eq!(kind(added), Kind::Corrupt, "{what}");
        let get = akm_core::protocol::KeyGet {
            name: "openai".into(),
            version: None,
        };
        let got = shop.bench.call_as(shop.alice.clone(), get).unwrap();
        assert_eq!(got.secret.expose(), "sk-stays", "{what}");
    }
    // The tier beside the account is a hint: editing it does nothing.
    let shop = Shop::open();
    shop.bench
        .hand()
        .execute("UPDATE accounts SET tier = 'pro'", [])
        .unwrap();
    assert_eq!(shop.tier(), "free");
    // A licence of one vault in another.
    push(&shop.bench, &shop.good());
    let other = Shop::open();
    let row: (i64, i64, i64, Vec<u8>, Vec<u8>) = shop
        .bench
        .hand()
        .query_row(
            "SELECT state, paid_at, seen_at, mac, body FROM orders",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )
        .unwrap();
    other
        .bench
        .hand()
        .execute(
            "INSERT INTO orders SELECT 'gateway', '1', id, ?1, ?2, ?3, ?4, ?5 FROM accounts WHERE name = 'alice'",
            row,
        )
        .unwrap();
    let status = other.bench.call_as(other.alice.clone(), BillingStatus {});
    assert_eq!(kind(status), Kind::Corrupt);
    assert_eq!(shop.tier(), "basic", "control: at home it is good");
}
