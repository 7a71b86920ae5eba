//! A service that sells, and a hosted customer of it.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails is a test that fails.

use std::sync::Arc;

use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::billing::gateway::Gateway;
use akm_core::billing::{PaymentProvider, Product, Settings};
use akm_core::protocol::{
    AccountRegister, BillingOrderLink, BillingOrders, BillingStanding, BillingStatus, OrderPage,
};
use akm_core::service::PushAnswer;

use super::support::{Bench, PASSPHRASE, me, secret};

pub const SECRET: &str = "a secret of the gateway, for tests";
pub const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

pub fn gateway() -> Gateway {
    Gateway::new(
        Secret::new(SECRET.to_owned()),
        Some("https://pay.example.com/buy?p={product}&n={months}&for={custom}".to_owned()),
    )
    .unwrap()
}

pub fn product(provider: &str, id: &str, tier: &str, price: i64) -> Product {
    Product {
        provider: provider.to_owned(),
        id: id.to_owned(),
        goods: false,
        tier: tier.to_owned(),
        months: 1,
        price,
        currency: "CNY".to_owned(),
    }
}

pub fn settings() -> Settings {
    Settings {
        payments: vec![Arc::new(gateway()) as Arc<dyn PaymentProvider>],
        products: vec![
            product("gateway", "basic", "basic", 500),
            product("gateway", "pro", "pro", 1500),
        ],
        codes: true,
        ..Settings::default()
    }
}

/// A bench with the owner's account `default`, and settings that sell.
pub fn selling(settings: Settings) -> Bench {
    settings.check().unwrap();
    let mut bench = Bench::new();
    bench.billing = Some(Arc::new(settings));
    bench.reopen();
    bench.register("default", false);
    bench
}

/// Somebody who comes from elsewhere than the owner's own socket.
pub fn customer(number: u32) -> Caller {
    Caller {
        uid: me().uid + number,
        ..me()
    }
}

/// Registers `name` as a customer's account and leaves it unlocked.
pub fn hosted(bench: &Bench, number: u32, name: &str) -> Caller {
    let caller = customer(number);
    bench
        .call_as(
            caller.clone(),
            AccountRegister {
                account: name.to_owned(),
                passphrase: secret(PASSPHRASE),
                totp: Some(false),
            },
        )
        .unwrap();
    caller
}

pub fn standing(bench: &Bench, caller: &Caller) -> BillingStanding {
    bench.call_as(caller.clone(), BillingStatus {}).unwrap()
}

pub fn orders(bench: &Bench) -> OrderPage {
    bench
        .call(BillingOrders {
            all: Some(true),
            ..BillingOrders::default()
        })
        .unwrap()
}

/// What an order link of the customer carries.
pub fn custom(bench: &Bench, caller: &Caller) -> String {
    let link = bench
        .call_as(
            caller.clone(),
            BillingOrderLink {
                tier: "basic".to_owned(),
                months: None,
                provider: None,
            },
        )
        .unwrap();
    link.url
        .split_once("for=")
        .or_else(|| link.url.split_once("custom_order_id="))
        .unwrap()
        .1
        .to_owned()
}

pub fn body(
    order: &str,
    account: &str,
    product: &str,
    months: i64,
    amount: &str,
    status: &str,
) -> String {
    serde_json::json!({"order": order, "account": account, "product": product, "months": months,
        "amount": amount, "currency": "CNY", "status": status})
    .to_string()
}

/// Pushes a body with a right signature.
pub fn push(bench: &Bench, body: &str) -> PushAnswer {
    let at = bench.clock.unix_s().to_string();
    let signature = format!("t={at},v1={}", gateway().sign(&at, body.as_bytes()));
    bench
        .service()
        .take_push("gateway", Some(&signature), body.as_bytes())
}
