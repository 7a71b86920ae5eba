//! Reminders through a real mail server and a real HTTP server, and pushes through a real listener.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

#[path = "hosted_support/mod.rs"]
mod hosted_support;
#[path = "../../akm-core/tests/support/provider_server.rs"]
mod provider_server;
mod selling_support;
mod support;

use std::os::unix::fs::PermissionsExt;

use akm_core::Secret;
use akm_core::billing::gateway::Gateway;
use akm_core::protocol::{BillingContact, HookKind, Locale};
use hosted_support::{OPEN, Site, configure};
use provider_server::{ProviderServer, Received, Reply};
use selling_support::{MailServer, SECRET, Shop, mail_to};
use serde_json::json;

fn hooks() -> ProviderServer {
    ProviderServer::start(|request: &Received| match request.path.as_str() {
        "/feishu" => Reply::json(200, r#"{"code":0}"#),
        "/full" => Reply::json(200, r#"{"code":11232,"msg":"too many"}"#),
        _ => Reply::json(200, "ok"),
    })
    .unwrap()
}

#[test]
fn people_are_reminded_once_by_mail_and_hook_in_their_own_language() {
    let Some(mail) = MailServer::start() else {
        return;
    };
    let hook = hooks();
    let shop = Shop::open(mail.port, hook.port());
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", hook.port());
    shop.customer("alice", mail_to("alice@example.com", Locale::En));
    shop.customer(
        "xiaoming",
        BillingContact {
            hook: Some(HookKind::Feishu),
            hook_url: Some(at("/feishu")),
            ..mail_to("xiaoming@example.com", Locale::Zh)
        },
    );
    shop.customer("silent", BillingContact::default());
    shop.door.lock_all(akm_core::protocol::LockReason::Asked);
    shop.job.run().unwrap();
    shop.advance(24);
    shop.job.run().unwrap();
    shop.job.run().unwrap();
    let seen = mail.taken(2);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let of = |to: &str| {
        let found: Vec<_> = seen
            .iter()
            .filter(|mail| mail["to"][0] == to)
            .cloned()
            .collect();
        assert_eq!(found.len(), 1, "{to}");
        found[0].clone()
    };
    let english = of("alice@example.com");
    assert_eq!(english["from"], "akm@example.com");
    assert_eq!(english["subject"], "akm: tier Basic ends in 7 days");
    assert!(
        english["text"]
            .as_str()
            .unwrap()
            .contains("your account alice ends on 2027-02-15")
    );
    let chinese = of("xiaoming@example.com");
    assert_eq!(chinese["subject"], "akm：套餐 基础版 将在 7 天后到期");
    assert!(
        chinese["text"]
            .as_str()
            .unwrap()
            .contains("您的账户 xiaoming")
    );
    // A name of its own for each, of the sender's domain.
    let ids = [&english, &chinese].map(|mail| mail["id"].as_str().unwrap().to_owned());
    for id in &ids {
        let name = id.strip_prefix('<').unwrap();
        let name = name.strip_suffix("@example.com>").unwrap();
        assert!(
            name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
    }
    assert_ne!(ids[0], ids[1]);
    assert!(english["date"].is_string());
    let posted = hook.received();
    assert_eq!(posted.len(), 1);
    let body: serde_json::Value = serde_json::from_slice(&posted[0].body).unwrap();
    assert_eq!(
        (posted[0].method.as_str(), body["msg_type"].as_str()),
        ("POST", Some("text"))
    );
    assert_eq!(posted[0].header("content-type"), Some("application/json"));
    assert!(
        body["content"]["text"]
            .as_str()
            .unwrap()
            .contains("7 天后到期")
    );
    // Three days before, and one: again, once each.
    shop.advance(4);
    shop.job.run().unwrap();
    shop.job.run().unwrap();
    shop.advance(2);
    shop.job.run().unwrap();
    assert_eq!(mail.taken(6).len(), 6);
    assert_eq!(hook.received().len(), 3);
    // It is over: nobody is reminded of it.
    shop.advance(3);
    shop.job.run().unwrap();
    assert_eq!((mail.taken(6).len(), hook.received().len()), (6, 3));
}

#[test]
fn what_was_surely_not_sent_is_tried_again_and_a_failure_keeps_nobody_else_waiting() {
    let Some(mail) = MailServer::start() else {
        return;
    };
    let hook = hooks();
    // A port that nobody listens on: taken, and given back.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let shop = Shop::open(port, hook.port());
    shop.customer("alice", mail_to("alice@example.com", Locale::En));
    shop.advance(25);
    assert!(shop.job.run().is_err());
    assert!(shop.job.run().is_err(), "it is still to be sent");

    let shop = Shop::open(mail.port, hook.port());
    let full = format!("http://127.0.0.1:{}/full", hook.port());
    shop.customer("later", mail_to("later@example.com", Locale::En));
    shop.customer(
        "full",
        BillingContact {
            hook: Some(HookKind::Feishu),
            hook_url: Some(full),
            ..BillingContact::default()
        },
    );
    shop.customer("zoe", mail_to("zoe@example.com", Locale::En));
    shop.advance(25);
    assert!(shop.job.run().is_err());
    assert!(shop.job.run().is_err());
    let seen = mail.taken(1);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0]["to"][0], "zoe@example.com");
    assert_eq!(hook.received().len(), 2, "asked again");
}

#[test]
fn g01_pushes_reach_the_service_through_the_listener_and_only_by_their_address() {
    const GATE: &str = "aRandomPathSecret123";
    let home = support::Home::new();
    configure(&home, OPEN);
    let path = home.path().join("billing.toml");
    let text = format!(
        "push_secret = \"{GATE}\"\n[gateway]\nsecret = \"{SECRET}\"\nlink = \"https://x.example/?for={{custom}}\"\n\
         [[product]]\nprovider = \"gateway\"\nplan = \"pro\"\ntier = \"pro\"\nprice = \"15.00\"\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let site = Site::at(home, OPEN, &["--listen", "http://127.0.0.1:0"]);
    let token = site.register("alice");
    let value = |answer: hosted_support::Answer| -> serde_json::Value {
        serde_json::from_str(&answer.body).unwrap()
    };
    let link = value(site.op(Some(&token), "billing.order_link", &json!({"tier": "pro"})));
    let account = link["result"]["url"]
        .as_str()
        .unwrap()
        .split_once("for=")
        .unwrap()
        .1
        .to_owned();
    let body =
        json!({"order": "1", "account": account, "product": "pro", "months": 1, "amount": "15.00",
        "currency": "CNY", "status": "paid"})
        .to_string();
    let at = jiff::Timestamp::now().as_second().to_string();
    let gateway = Gateway::new(Secret::new(SECRET.to_owned()), None).unwrap();
    let signed = format!(
        "Akm-Signature: t={at},v1={}",
        gateway.sign(&at, body.as_bytes())
    );
    let push = |path: &str, header: &str| {
        site.ask(
            "POST",
            path,
            &["Content-Type: application/json", header],
            &body,
        )
        .status
    };
    let good = format!("/webhook/gateway/{GATE}");
    for path in [
        "/webhook/gateway",
        "/webhook/gateway/",
        "/webhook/gateway/other",
        "/webhook/afdian/aRandomPathSecret123",
        "/webhook/",
    ] {
        assert_eq!(push(path, &signed), 404, "{path}");
    }
    assert_eq!(push(&good, "Akm-Signature: t=1,v1=00"), 400);
    assert_eq!(site.ask("GET", &good, &[], "").status, 405);
    let tier = |token: &str| {
        value(site.op(Some(token), "billing.status", &json!({})))["result"]["tier"].clone()
    };
    assert_eq!(tier(&token), "free");
    assert_eq!(push(&good, &signed), 200);
    assert_eq!(push(&good, &signed), 200);
    assert_eq!(tier(&token), "pro");
    // A customer administers nothing.
    for op in [
        "admin.orders",
        "billing.codes_create",
        "billing.order_resolve",
    ] {
        assert_eq!(site.op(Some(&token), op, &json!({})).status, 403, "{op}");
    }
}
