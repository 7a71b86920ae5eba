//! Reminders through a real mail server and a real HTTP server, and pushes through a real listener.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

#[path = "hosted_support/mod.rs"]
mod hosted_support;
#[path = "../../akm-core/tests/support/provider_server.rs"]
mod provider_server;
mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akm_agent::jobs::Job;
use akm_agent::selling::Selling;
use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::billing::gateway::Gateway;
use akm_core::crypto::KdfCost;
use akm_core::host::{Clock, Host};
use akm_core::protocol::{
    AccountRegister, BillingContact, BillingOrderLink, HookKind, Locale, Request, Response,
};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Hosting, Options, Registration};
use hosted_support::{OPEN, Site, configure};
use provider_server::{ProviderServer, Received, Reply};
use serde_json::json;

const SECRET: &str = "a secret of the gateway, for tests";
const DAY: i64 = 86_400_000;

/// A mail server of Debian's python3-aiosmtpd that prints what it takes as lines of JSON; None where it is missing.
struct MailServer {
    child: Child,
    port: u16,
    seen: Arc<Mutex<Vec<serde_json::Value>>>,
}

const SERVER: &str = r#"
import asyncio, json, sys
from email import message_from_bytes, policy
from aiosmtpd.smtp import SMTP
class Handler:
    async def handle_DATA(self, server, session, envelope):
        m = message_from_bytes(envelope.content, policy=policy.default)
        print(json.dumps({"to": envelope.rcpt_tos, "from": envelope.mail_from, "subject": m["subject"],
                          "text": m.get_content()}), flush=True)
        return "250 OK"
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("later@"):
            return "451 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler()), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"#;

impl MailServer {
    fn start() -> Option<MailServer> {
        // Debian's own, where another one comes first on the path.
        let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
            Command::new(python)
                .args(["-c", "import aiosmtpd"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
        let Some(python) = python else {
            assert!(
                std::env::var_os("CI").is_none(),
                "python3-aiosmtpd is missing"
            );
            eprintln!("skipped: install python3-aiosmtpd");
            return None;
        };
        let mut child = Command::new(python)
            .args(["-c", SERVER])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(MailServer { child, port, seen })
    }

    /// What came; the server prints before it answers, so nothing is waited for but a pipe.
    fn taken(&self, count: usize) -> Vec<serde_json::Value> {
        for _ in 0..500 {
            if self.seen.lock().unwrap().len() >= count {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Hand(Mutex<i64>);

impl Clock for Hand {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(*self.0.lock().unwrap()).unwrap()
    }

    fn boot(&self) -> Duration {
        Duration::from_secs(1000)
    }
}

struct Shop {
    _home: tempfile::TempDir,
    door: Arc<Door>,
    clock: Arc<Hand>,
    job: Box<dyn Job>,
}

impl Shop {
    fn open(mail_port: u16, hook_port: u16) -> Shop {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| -> PathBuf { home.path().join(name) };
        std::fs::create_dir(at("state")).unwrap();
        let clock = Arc::new(Hand(Mutex::new(1_800_000_000_000)));
        let text = format!(
            "[gateway]\nsecret = \"{SECRET}\"\nlink = \"https://x.example/?for={{custom}}\"\n\
             [[product]]\nprovider = \"gateway\"\nplan = \"basic\"\ntier = \"basic\"\nprice = \"5.00\"\n\
             [mail]\nhost = \"127.0.0.1\"\nport = {mail_port}\nsecurity = \"none\"\nfrom = \"akm <akm@example.com>\"\n\
             [[hook]]\nkind = \"feishu\"\nbegin = \"http://127.0.0.1:{hook_port}/\"\n\
             [[hook]]\nkind = \"slack\"\nbegin = \"http://127.0.0.1:{hook_port}/\"\n"
        );
        let selling = Selling::parse(&text, Outbound::default(), clock.clone()).unwrap();
        let door = Door::open(Options {
            vault: at("vault.db"),
            journal: at("journal"),
            state: at("state"),
            backups: at("backups"),
            host: Host {
                clock: clock.clone(),
                kdf_cost: KdfCost::insecure_test(),
                ..Host::real()
            },
            key_limit: None,
            default_lifetime: None,
            outbound: Outbound::default(),
        })
        .unwrap()
        .with_billing(selling.settings())
        .with_hosting(Hosting {
            registration: Registration::Open,
            totp_required: false,
            ..Hosting::default()
        });
        let door = Arc::new(door);
        let job = selling
            .jobs(&door)
            .into_iter()
            .find(|job| job.name() == "reminders")
            .unwrap();
        Shop {
            _home: home,
            door,
            clock,
            job,
        }
    }

    /// A customer who is reached like this and paid a month.
    fn customer(&self, name: &str, contact: BillingContact) {
        let from = std::net::IpAddr::from([203, 0, 113, 9]);
        let register = AccountRegister {
            account: name.to_owned(),
            passphrase: Secret::new("correct horse battery staple".to_owned()),
            totp: Some(false),
            invitation: None,
        };
        let answer = self
            .door
            .call(&Caller::network(from, None), Request::from(register));
        let Ok(Response::AccountRegister(registered)) = answer else {
            panic!("{answer:?}")
        };
        let caller = Caller::network(from, Some(registered.token.unwrap().expose()));
        self.door.call(&caller, Request::from(contact)).unwrap();
        let link = BillingOrderLink {
            tier: "basic".to_owned(),
            months: None,
            provider: None,
        };
        let Ok(Response::BillingOrderLink(link)) = self.door.call(&caller, Request::from(link))
        else {
            panic!("there is no link")
        };
        let account = link.url.split_once("for=").unwrap().1;
        let body = json!({"order": name, "account": account, "product": "basic", "months": 1, "amount": "5.00",
            "currency": "CNY", "status": "paid"})
        .to_string();
        let at = self.clock.now().as_second().to_string();
        let gateway = Gateway::new(Secret::new(SECRET.to_owned()), None).unwrap();
        let signature = format!("t={at},v1={}", gateway.sign(&at, body.as_bytes()));
        let answer = self
            .door
            .take_push("gateway", "", Some(&signature), body.as_bytes());
        assert_eq!(answer.status, 200);
    }

    fn advance(&self, days: i64) {
        *self.clock.0.lock().unwrap() += days * DAY;
    }
}

fn mail_to(address: &str, locale: Locale) -> BillingContact {
    BillingContact {
        email: Some(address.to_owned()),
        locale: Some(locale),
        ..BillingContact::default()
    }
}

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
    assert_eq!(english["subject"], "akm: tier basic ends in 7 days");
    assert!(
        english["text"]
            .as_str()
            .unwrap()
            .contains("your account alice ends on 2027-02-15")
    );
    let chinese = of("xiaoming@example.com");
    assert_eq!(chinese["subject"], "akm：套餐 basic 将在 7 天后到期");
    assert!(
        chinese["text"]
            .as_str()
            .unwrap()
            .contains("您的账户 xiaoming")
    );
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
