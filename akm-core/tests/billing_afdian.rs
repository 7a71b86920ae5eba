//! 爱发电 against a server that behaves as it does: signatures both ways, orders, and everything that goes wrong.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

#[path = "support/afdian_server.rs"]
mod afdian_server;
#[path = "support/provider_server.rs"]
mod provider_server;
#[path = "support/selling.rs"]
mod selling;
mod support;

use std::sync::Arc;

use afdian_server::{AfdianServer, TOKEN, USER_ID};
use akm_core::audit::Caller;
use akm_core::billing::afdian::{Afdian, PUBLIC_KEY, Setup, sign};
use akm_core::billing::{PaymentProvider, Product, Push, Pushed, Settings};
use akm_core::host::Clock;
use akm_core::protocol::{BillingOrderLink, BillingTiers, OrderState};
use akm_core::provider::Outbound;
use akm_core::service::PushAnswer;
use akm_core::{Kind, Secret};
use selling::{custom, hosted, orders, product, selling, standing};
use serde_json::{Value, json};
use support::{Bench, ManualClock, kind};

const TEST_KEY: &[u8] = include_bytes!("fixtures/billing/test_key.pk8");
const TEST_PUBLIC: &str = include_str!("fixtures/billing/test_key.pub.pem");
const PLAN: &str = "a45353328af911eb973052540025c377";
const YEAR: &str = "b45353328af911eb973052540025c377";
const SKU: &str = "c45353328af911eb973052540025c377";
/// The test push of the console, as published.
const TEST_SIGN: &str = "EIUrs8kvspg0MqLvpODkQqpyQLppXCNGPDe8+vvfER9VCzGImjvVJiPUd2UWaGP3A9sS/Ov+hFGwHAdvrm4i9Bte3kNQvwAXcaZx2g06JsngEr4MCe+nn0JHm+mtK9np8N5gJ3DC3GAs6l88SmTnMeJ4no+bPexfqPTYAMWs26e0mexjyLY+8f5l9Zv9rQAz+i/kVjtGNgXFQF34+hAmfOoSxlTJth41XMeVLHxi46kHb+tJNGkU4vLrnMftos2yMzHO+rDP10N7o7VNGMO37aCWfJ+uwKgcXBo0xVbPPAVxHZ+GtOnlEpasINnmoJW7maaoOpRX+IUIxd/U4gTnxA==";

fn setup(origin: &str, public_key: &str) -> Setup {
    Setup {
        user_id: USER_ID.to_owned(),
        token: Secret::new(TOKEN.to_owned()),
        origin: origin.to_owned(),
        public_key: public_key.to_owned(),
    }
}

fn afdian(setup: Setup, clock: Arc<dyn Clock>) -> akm_core::Result<Afdian> {
    Afdian::new(setup, Outbound::default(), clock)
}

fn settings(afdian: Afdian) -> Settings {
    let goods = Product {
        goods: true,
        plan: Some(YEAR.to_owned()),
        months: 3,
        ..product("afdian", SKU, "pro", 4000)
    };
    Settings {
        payments: vec![Arc::new(afdian)],
        products: vec![
            product("afdian", PLAN, "basic", 500),
            Product {
                months: 12,
                ..product("afdian", YEAR, "pro", 15_000)
            },
            goods,
        ],
        ..Settings::default()
    }
}

struct Shop {
    server: AfdianServer,
    bench: Bench,
    alice: Caller,
    account: String,
}

impl Shop {
    fn open() -> Shop {
        Shop::with(|setup| setup)
    }

    fn with(change: impl FnOnce(Setup) -> Setup) -> Shop {
        let server = AfdianServer::start(1_800_000_000);
        let clock = ManualClock::at(1_800_000_000_000);
        let afdian = afdian(change(setup(&server.origin(), TEST_PUBLIC)), clock).unwrap();
        let bench = selling(settings(afdian));
        let alice = hosted(&bench, "alice");
        let account = custom(&bench, &alice);
        Shop {
            server,
            bench,
            alice,
            account,
        }
    }

    /// An order as the server lists it.
    fn order(&self, number: &str) -> Value {
        json!({"out_trade_no": number, "custom_order_id": self.account, "user_id": "adf397fe8374811eaacee52540025c377",
            "user_private_id": "33", "plan_id": PLAN, "month": 1, "total_amount": "5.00", "show_amount": "5.00",
            "status": 2, "remark": "a remark nobody needs", "product_type": 0, "sku_detail": [],
            "address_person": "somebody", "address_phone": "123", "address_address": "somewhere",
            "create_time": 1_799_999_000, "future_field": {"x": [1, 2]}})
    }

    fn push(&self, order: &Value) -> PushAnswer {
        self.bench
            .service()
            .take_push("afdian", "", None, &pushed(order))
    }

    fn tier(&self) -> String {
        standing(&self.bench, &self.alice).tier
    }

    fn held(&self, note: &str) {
        let listed = orders(&self.bench).orders;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].state, listed[0].note.as_deref()),
            (OrderState::Held, Some(note))
        );
        assert_eq!(self.tier(), "free");
    }
}

/// A push with the signature over what 爱发电 signs and nothing else.
fn pushed(order: &Value) -> Vec<u8> {
    let text = |field: &str| order[field].as_str().unwrap_or_default().to_owned();
    let signed = ["out_trade_no", "user_id", "plan_id", "total_amount"]
        .map(text)
        .concat();
    let key = ring::signature::RsaKeyPair::from_pkcs8(TEST_KEY).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &ring::signature::RSA_PKCS1_SHA256,
        &ring::rand::SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    let sign = data_encoding::BASE64.encode(&signature);
    json!({"ec": 200, "em": "ok", "data": {"type": "order", "order": order, "sign": sign}})
        .to_string()
        .into_bytes()
}

const TAKEN: &[u8] = br#"{"ec":200,"em":""}"#;

#[test]
fn requests_are_signed_as_the_worked_values_say() {
    for (token, user, params, ts, wanted) in [
        (
            "123",
            "abc",
            r#"{"a":333}"#,
            1_624_339_905,
            "a4acc28b81598b7e5d84ebdc3e91710c",
        ),
        (
            TOKEN,
            USER_ID,
            r#"{"page":1,"per_page":50}"#,
            1_763_817_600,
            "e8d1a836840b01f70594365cd690203b",
        ),
        (
            TOKEN,
            USER_ID,
            r#"{"page": 1, "per_page": 50}"#,
            1_763_817_600,
            "ffff0682d772c522532f3a9dddcbff25",
        ),
        (
            TOKEN,
            USER_ID,
            r#"{"out_trade_no":"202106232138371083454010626"}"#,
            1_763_817_600,
            "c1f3e420a9c2d463c1996068df260aa2",
        ),
        (
            TOKEN,
            USER_ID,
            "{}",
            1_763_817_600,
            "804720b9e0fd749620739bd6b4d4828e",
        ),
    ] {
        assert_eq!(sign(token, user, params, ts), wanted, "{params}");
    }
}

fn console_push() -> Value {
    json!({"ec": 200, "em": "ok", "data": {"type": "order", "sign": TEST_SIGN, "order": {
        "out_trade_no": "202106232138371083454010626", "user_id": "adf397fe8374811eaacee52540025c377",
        "plan_id": PLAN, "month": 1, "total_amount": "5.00", "status": 2}}})
}

#[test]
fn the_published_test_push_verifies_with_the_real_key_and_grants_nothing() {
    let provider = afdian(setup("https://afdian.com", PUBLIC_KEY), ManualClock::at(0)).unwrap();
    let open = |push: &Value| {
        let body = push.to_string();
        provider.open(&Push {
            signature: None,
            body: body.as_bytes(),
            now: 0,
        })
    };
    assert!(matches!(open(&console_push()).unwrap(), Pushed::Test));
    for (field, value) in [
        ("out_trade_no", "202106232138371083454010627"),
        ("user_id", "adf397fe8374811eaacee52540025c378"),
        ("plan_id", ""),
        ("total_amount", "50.0"),
    ] {
        let mut changed = console_push();
        changed["data"]["order"][field] = json!(value);
        assert_eq!(open(&changed).unwrap_err().kind(), Kind::Denied, "{field}");
    }
    // What the signature does not cover can be anything, and is not read.
    let mut uncovered = console_push();
    uncovered["data"]["order"]["month"] = json!(1200);
    uncovered["data"]["order"]["custom_order_id"] = json!("somebody");
    assert!(matches!(open(&uncovered).unwrap(), Pushed::Test));
    let mut other_type = console_push();
    other_type["data"]["type"] = json!("refund");
    assert_eq!(open(&other_type).unwrap_err().kind(), Kind::Denied);
}

#[test]
fn a_paid_order_is_asked_for_and_granted_once_and_its_answer_is_what_afdian_wants() {
    let shop = Shop::open();
    let order = shop.order("2027011500001");
    shop.server.add(order.clone());
    for _ in 0..3 {
        assert_eq!(
            shop.push(&order),
            PushAnswer {
                status: 200,
                body: TAKEN.to_vec()
            }
        );
    }
    let after = standing(&shop.bench, &shop.alice);
    assert_eq!((after.tier.as_str(), after.history.len()), ("basic", 1));
    // From when it was paid, not from when it was pushed.
    assert_eq!(after.until.as_deref(), Some("2027-02-15T07:43:20.000Z"));
    // Nothing of the buyer rests.
    let mut bytes = std::fs::read(shop.bench.vault()).unwrap();
    bytes.extend(std::fs::read(shop.bench.vault().with_extension("db-wal")).unwrap_or_default());
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("2027011500001"), "control");
    assert!(
        !holds("somewhere") && !holds("a remark") && !holds("adf397fe8374811eaacee52540025c377")
    );
}

#[test]
fn g02_a_hundred_parallel_pushes_of_an_order_are_credited_once() {
    let shop = Shop::open();
    let order = shop.order("1");
    shop.server.add(order.clone());
    let body = pushed(&order);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                assert_eq!(
                    shop.bench
                        .service()
                        .take_push("afdian", "", None, &body)
                        .status,
                    200
                )
            });
        }
    });
    assert_eq!(standing(&shop.bench, &shop.alice).history.len(), 1);
}

#[test]
fn g03_every_field_comes_from_the_server_and_none_from_the_push() {
    let shop = Shop::open();
    let order = shop.order("1");
    shop.server.add(order.clone());
    let mut lie = order;
    lie["month"] = json!(120);
    lie["custom_order_id"] = json!("somebody else");
    lie["status"] = json!(2);
    lie["product_type"] = json!(1);
    lie["sku_detail"] = json!([{"sku_id": SKU, "count": 9}]);
    assert_eq!(shop.push(&lie).status, 200);
    let after = standing(&shop.bench, &shop.alice);
    assert_eq!((after.tier.as_str(), after.history.len()), ("basic", 1));
    assert_eq!(orders(&shop.bench).orders[0].months, 1);
}

#[test]
fn g01_forged_pushes_and_orders_of_other_creators_grant_nothing() {
    let shop = Shop::open();
    // Signed by the one key of all creators, and not an order of ours.
    assert_eq!(shop.push(&shop.order("777")).status, 400);
    // Not signed.
    let order = shop.order("1");
    shop.server.add(order.clone());
    let good: Value = serde_json::from_slice(&pushed(&order)).unwrap();
    let mut bad = Vec::new();
    for change in [
        |push: &mut Value| push["data"]["sign"] = json!(""),
        |push: &mut Value| push["data"]["sign"] = json!("!!"),
        |push: &mut Value| push["data"]["sign"] = json!(TEST_SIGN),
        |push: &mut Value| push["data"]["order"]["total_amount"] = json!("0.01"),
        |push: &mut Value| push["data"]["order"]["total_amount"] = json!(5.00),
        |push: &mut Value| push["data"]["order"]["out_trade_no"] = json!("1,2"),
        |push: &mut Value| push["data"]["order"] = json!([]),
        |push: &mut Value| *push = json!(null),
    ] {
        let mut push = good.clone();
        change(&mut push);
        bad.push(push.to_string());
    }
    bad.push("{\"data\":".repeat(1000));
    bad.push(String::new());
    let asked = shop.server.server.received().len();
    for body in &bad {
        assert_eq!(
            shop.bench
                .service()
                .take_push("afdian", "", None, body.as_bytes())
                .status,
            400,
            "{body}"
        );
    }
    assert_eq!(
        shop.server.server.received().len(),
        asked,
        "nothing was asked for on their behalf"
    );
    // Fields are moved between those that are signed without a separator: it verifies, and asks for another number.
    let mut moved = order.clone();
    moved["out_trade_no"] = json!("1a");
    moved["user_id"] = json!("df397fe8374811eaacee52540025c377");
    let mut envelope = good;
    envelope["data"]["order"] = moved;
    let answer =
        shop.bench
            .service()
            .take_push("afdian", "", None, envelope.to_string().as_bytes());
    assert_eq!(answer.status, 400);
    assert_eq!(
        (shop.tier().as_str(), orders(&shop.bench).orders.len()),
        ("free", 0)
    );
    assert_eq!(shop.push(&order).status, 200, "control");
    assert_eq!(shop.tier(), "basic");
}

#[test]
fn what_does_not_fit_is_kept_for_a_human_and_answered_as_taken() {
    for (field, value, note) in [
        ("custom_order_id", json!("a typo"), "account"),
        ("custom_order_id", Value::Null, "account"),
        ("plan_id", json!(""), "product"),
        (
            "plan_id",
            json!("ffffffffffffffffffffffffffffffff"),
            "product",
        ),
        ("product_type", json!(2), "product"),
        ("product_type", json!(1), "product"),
        ("month", json!(0), "months"),
        ("month", json!(-3), "months"),
        ("month", json!(9_000_000_000_000_000_000_i64), "months"),
        ("month", json!(2), "paid_less"),
        ("total_amount", json!("0.00"), "paid_less"),
        ("total_amount", json!("4.99"), "paid_less"),
        ("status", json!(1), "unpaid"),
    ] {
        let shop = Shop::open();
        let mut order = shop.order("1");
        order[field] = value.clone();
        shop.server.add(order.clone());
        assert_eq!(shop.push(&order).status, 200, "{field} {value}");
        shop.held(note);
    }
    // What cannot be read is not taken, so that it comes again.
    for (field, value) in [
        ("total_amount", json!("1e3")),
        ("total_amount", json!("-5.00")),
        ("month", json!(1.5)),
    ] {
        let shop = Shop::open();
        let mut order = shop.order("1");
        shop.server.add(order.clone());
        shop.server.orders.lock().unwrap().list[0][field] = value;
        order["total_amount"] = json!("5.00");
        assert_ne!(shop.push(&order).status, 200);
        assert_eq!(orders(&shop.bench).orders.len(), 0);
    }
}

#[test]
fn plans_of_a_year_and_goods_are_matched_by_plan_and_sku() {
    let shop = Shop::open();
    let mut year = shop.order("1");
    year["plan_id"] = json!(YEAR);
    year["total_amount"] = json!("150.00");
    shop.server.add(year.clone());
    shop.push(&year);
    assert_eq!(orders(&shop.bench).orders[0].months, 12);
    let mut goods = shop.order("2");
    goods["product_type"] = json!(1);
    goods["plan_id"] = json!("dddd");
    goods["sku_detail"] =
        json!([{"sku_id": SKU, "count": 2, "name": "x", "album_id": "", "pic": ""}]);
    goods["total_amount"] = json!("80.00");
    shop.server.add(goods.clone());
    shop.push(&goods);
    let listed = orders(&shop.bench).orders;
    let goods = listed.iter().find(|order| order.number == "2").unwrap();
    assert_eq!(
        (goods.state, goods.months, goods.tier.as_deref()),
        (OrderState::Paid, 6, Some("pro"))
    );
    assert_eq!(
        standing(&shop.bench, &shop.alice).until.as_deref(),
        Some("2028-07-15T07:43:20.000Z")
    );
}

#[test]
fn an_order_without_a_time_that_can_be_begins_now() {
    for said in [0, -1, 86_400, -1_000_000_000_000_000, i64::MIN, i64::MAX] {
        let shop = Shop::open();
        let mut order = shop.order("1");
        order["create_time"] = json!(said);
        shop.server.add(order.clone());
        assert_eq!(shop.push(&order).status, 200, "{said}");
        let after = standing(&shop.bench, &shop.alice);
        assert_eq!(
            (after.tier.as_str(), after.until.as_deref()),
            ("basic", Some("2027-02-15T08:00:00.000Z")),
            "{said}"
        );
    }
}

#[test]
fn the_poller_finds_what_was_never_pushed_and_stops_where_nothing_is_new() {
    let shop = Shop::open();
    for number in 0..120 {
        let mut order = shop.order(&format!("{number:05}"));
        order["custom_order_id"] = json!("nobody");
        shop.server.add(order);
    }
    shop.server.add(shop.order("99999"));
    shop.bench.service().poll_payments().unwrap();
    assert_eq!(shop.tier(), "basic");
    assert_eq!(orders_count(&shop.bench), 121);
    let asked = shop.server.server.received().len();
    assert_eq!(asked, 4, "three pages and an empty one");
    shop.bench.service().poll_payments().unwrap();
    assert_eq!(
        shop.server.server.received().len(),
        asked + 1,
        "nothing new on the first page"
    );
    assert_eq!(standing(&shop.bench, &shop.alice).history.len(), 1);
    // The push that comes late changes nothing.
    assert_eq!(shop.push(&shop.order("99999")).status, 200);
    assert_eq!(standing(&shop.bench, &shop.alice).history.len(), 1);
}

#[test]
fn an_order_that_is_not_paid_any_more_is_shown_to_a_human() {
    let shop = Shop::open();
    shop.server.add(shop.order("1"));
    shop.bench.service().poll_payments().unwrap();
    shop.server.orders.lock().unwrap().list[0]["status"] = json!(3);
    shop.bench.service().poll_payments().unwrap();
    let order = &orders(&shop.bench).orders[0];
    assert_eq!(
        (order.state, order.note.as_deref()),
        (OrderState::Paid, Some("unpaid"))
    );
    assert_eq!(
        shop.tier(),
        "basic",
        "no refund notice is documented: nobody is cut off by a guess"
    );
}

#[test]
fn failures_come_with_status_200_and_are_failures() {
    // A wrong token, a clock that is off, another creator: each is refused by the server with an ec.
    for change in [
        |setup: Setup| Setup {
            token: Secret::new("another-token-0002".to_owned()),
            ..setup
        },
        |setup: Setup| Setup {
            user_id: "ffffffffffffffffffffffffffffffff".to_owned(),
            ..setup
        },
    ] {
        let shop = Shop::with(change);
        let order = shop.order("1");
        shop.server.add(order.clone());
        assert_eq!(shop.push(&order).status, 503, "to be pushed again");
        assert_eq!(
            shop.bench.service().poll_payments().unwrap_err().kind(),
            Kind::Provider
        );
        assert_eq!(shop.tier(), "free");
    }
    let shop = Shop::open();
    let order = shop.order("1");
    shop.server.add(order.clone());
    shop.server.orders.lock().unwrap().now += 7200;
    assert_eq!(shop.push(&order).status, 503);
    shop.server.orders.lock().unwrap().now -= 7200;
    for (status, body) in [
        (200, "not json"),
        (200, "{}"),
        (200, r#"{"ec":200}"#),
        (200, r#"{"ec":200,"em":"ok","data":{}}"#),
        (200, r#"{"ec":200,"em":"ok","data":{"list":[{}]}}"#),
        (
            200,
            r#"{"ec":400001,"em":"params incomplete","data":{"list":[]}}"#,
        ),
        (500, r#"{"ec":200,"em":"ok","data":{"list":[]}}"#),
        (302, ""),
    ] {
        shop.server.orders.lock().unwrap().breaks = Some((status, body.to_owned()));
        assert_eq!(shop.push(&order).status, 503, "{status} {body}");
    }
    // Another order than the one that was asked for, or two.
    for list in [
        json!([shop.order("2")]),
        json!([order.clone(), order.clone()]),
        json!([]),
    ] {
        let body = json!({"ec": 200, "em": "ok", "data": {"list": list}}).to_string();
        shop.server.orders.lock().unwrap().breaks = Some((200, body));
        assert_eq!(shop.push(&order).status, 400);
    }
    assert_eq!(orders(&shop.bench).orders.len(), 0);
    shop.server.orders.lock().unwrap().breaks = None;
    assert_eq!(shop.push(&order).status, 200, "control");
}

#[test]
fn the_order_link_says_whose_the_order_is_and_what_it_costs() {
    let shop = Shop::open();
    let link = |tier: &str, months| {
        let request = BillingOrderLink {
            tier: tier.into(),
            months: Some(months),
            provider: None,
        };
        shop.bench.call_as(shop.alice.clone(), request)
    };
    let basic = link("basic", 3).unwrap();
    let expected = format!(
        "{}/order/create?plan_id={PLAN}&product_type=0&month=3&custom_order_id={}",
        shop.server.origin(),
        shop.account
    );
    assert_eq!((basic.url, basic.amount), (expected, 1500));
    assert!(shop.account.len() <= 40 && shop.account.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!(link("pro", 12).unwrap().amount, 15_000);
    // Goods: pieces of three months, under their plan.
    let goods = link("pro", 6).unwrap();
    let sku = format!("%5B%7B%22sku_id%22%3A%22{SKU}%22%2C%22count%22%3A2%7D%5D");
    let expected = format!(
        "{}/order/create?plan_id={YEAR}&product_type=1&sku={sku}&custom_order_id={}",
        shop.server.origin(),
        shop.account
    );
    assert_eq!((goods.url, goods.amount), (expected, 8000));
    assert_eq!(link("pro", 5).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(link("gold", 1).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(link("basic", 0).unwrap_err().kind(), Kind::InvalidInput);
}

#[test]
fn goods_without_a_plan_are_matched_and_nobody_is_sent_to_buy_them() {
    let server = AfdianServer::start(1_800_000_000);
    let clock = ManualClock::at(1_800_000_000_000);
    let mut settings = settings(afdian(setup(&server.origin(), TEST_PUBLIC), clock).unwrap());
    settings.products.retain(|product| product.id != YEAR);
    let sold_by = |bench: &Bench| -> Vec<Vec<String>> {
        let tiers = bench.call(BillingTiers {}).unwrap().tiers;
        tiers.into_iter().map(|tier| tier.sold_by).collect()
    };
    let none = Vec::<String>::new;
    let at = || vec!["afdian".to_owned()];
    settings.products[1].plan = None;
    let bench = selling(settings);
    assert_eq!(sold_by(&bench), [none(), at(), none()]);
    let link = BillingOrderLink {
        tier: "pro".into(),
        months: Some(3),
        provider: None,
    };
    let alice = hosted(&bench, "alice");
    assert_eq!(kind(bench.call_as(alice, link)), Kind::NotFound);
    // The control: with their plan they are.
    assert_eq!(sold_by(&Shop::open().bench), [none(), at(), at()]);
}

#[test]
fn an_empty_secret_or_a_wrong_key_refuses_to_start() {
    let clock = || ManualClock::at(0);
    let good = || setup("https://afdian.com", PUBLIC_KEY);
    let cases = [
        Setup {
            token: Secret::new(String::new()),
            ..good()
        },
        Setup {
            token: Secret::new("        ".to_owned()),
            ..good()
        },
        Setup {
            user_id: String::new(),
            ..good()
        },
        Setup {
            public_key: String::new(),
            ..good()
        },
        Setup {
            public_key: PUBLIC_KEY.replace("MIIB", "MIIC"),
            ..good()
        },
        Setup {
            origin: "http://afdian.com".to_owned(),
            ..good()
        },
        Setup {
            origin: "https://127.0.0.1".to_owned(),
            ..good()
        },
    ];
    for case in cases {
        assert_eq!(
            afdian(case, clock()).err().unwrap().kind(),
            Kind::InvalidInput
        );
    }
    assert!(afdian(good(), clock()).is_ok(), "control");
}

fn orders_count(bench: &Bench) -> i64 {
    bench
        .hand()
        .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
        .unwrap()
}
