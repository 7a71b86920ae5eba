//! A service that sells, and a hosted customer of it.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails is a test that fails.

use std::sync::Arc;

use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::billing::gateway::Gateway;
use akm_core::billing::{PaymentProvider, Product, Settings};
use akm_core::protocol::{
    AccountRegister, AdminOrders, AgentUnlock, BillingOrderLink, BillingStanding, BillingStatus,
    OrderPage,
};
use akm_core::service::PushAnswer;

use super::support::{Bench, PASSPHRASE, secret};

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
        plan: None,
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

const ADDRESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

/// Registers `name` as a customer's account over the network and leaves it unlocked.
pub fn hosted(bench: &Bench, name: &str) -> Caller {
    let registered = bench
        .call_as(
            Caller::network(ADDRESS, None),
            AccountRegister {
                account: name.to_owned(),
                passphrase: secret(PASSPHRASE),
                totp: Some(false),
                invitation: None,
            },
        )
        .unwrap();
    Caller::network(ADDRESS, Some(registered.token.unwrap().expose()))
}

/// Signs in again.
pub fn sign_in(bench: &Bench, name: &str) -> Caller {
    let unlocked = bench
        .call_as(
            Caller::network(ADDRESS, None),
            AgentUnlock {
                account: Some(name.to_owned()),
                passphrase: secret(PASSPHRASE),
                totp: None,
                keyfile: None,
                lifetime_s: None,
                accept_rollback: None,
            },
        )
        .unwrap();
    Caller::network(ADDRESS, Some(unlocked.token.unwrap().expose()))
}

pub fn standing(bench: &Bench, caller: &Caller) -> BillingStanding {
    bench.call_as(caller.clone(), BillingStatus {}).unwrap()
}

pub fn orders(bench: &Bench) -> OrderPage {
    bench.call(AdminOrders::default()).unwrap()
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
        .take_push("gateway", "", Some(&signature), body.as_bytes())
}
