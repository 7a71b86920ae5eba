//! A service that sells and reminds, inside the test, and a mail server of its own.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
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
    AccountRegister, BillingContact, BillingOrderLink, Locale, Request, Response,
};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Hosting, Options, Registration};
use serde_json::json;

pub const SECRET: &str = "a secret of the gateway, for tests";
const DAY: i64 = 86_400_000;

/// A certificate or key of akm-core's tests.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akm-core/tests/fixtures/tls")
        .join(name)
}

/// A mail server of Debian's python3-aiosmtpd that prints what it takes as lines of JSON; None where it is missing.
pub struct MailServer {
    child: Child,
    pub port: u16,
    seen: Arc<Mutex<Vec<serde_json::Value>>>,
}

/// How a mail server speaks TLS, if it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    InClear,
    Starttls,
    Tls,
}

/// What it is given: how it speaks, a certificate, its key. In TLS it asks for a password, and says which it got.
const SERVER: &str = r#"
import asyncio, json, ssl, sys
from email import message_from_bytes, policy
from aiosmtpd.smtp import SMTP, AuthResult
speaks, certificate, key = sys.argv[1:]
def say(what):
    print(json.dumps(what), flush=True)
class Handler:
    async def handle_DATA(self, server, session, envelope):
        m = message_from_bytes(envelope.content, policy=policy.default)
        over_tls = server.transport.get_extra_info("ssl_object") is not None
        say({"to": envelope.rcpt_tos, "from": envelope.mail_from, "subject": m["subject"],
             "text": m.get_content(), "id": m["message-id"], "date": m["date"], "tls": over_tls})
        return "250 OK"
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("later@"):
            return "451 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"
def login(server, session, envelope, mechanism, data):
    say({"login": data.login.decode(), "good": data.password == b"the password of the mail"})
    return AuthResult(success=data.password == b"the password of the mail")
async def main():
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
    def protocol():
        if speaks == "clear":
            return SMTP(Handler())
        starttls = speaks == "starttls"
        return SMTP(Handler(), tls_context=context if starttls else None, require_starttls=starttls,
                    authenticator=login, auth_required=True, auth_require_tls=starttls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if speaks == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"#;

impl MailServer {
    pub fn start() -> Option<MailServer> {
        MailServer::speaking(Speaks::InClear, None)
    }

    /// With the certificate of that name of akm-core's tests.
    pub fn speaking(speaks: Speaks, certificate: Option<&str>) -> Option<MailServer> {
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
            .arg(match speaks {
                Speaks::InClear => "clear",
                Speaks::Starttls => "starttls",
                Speaks::Tls => "tls",
            })
            .args(["pem", "key.pem"].map(|end| match certificate {
                Some(name) => fixture(&format!("{name}.{end}")),
                None => PathBuf::new(),
            }))
            .stderr(Stdio::null())
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
    pub fn taken(&self, count: usize) -> Vec<serde_json::Value> {
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

pub struct Hand(pub Mutex<i64>);

impl Clock for Hand {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(*self.0.lock().unwrap()).unwrap()
    }

    fn boot(&self) -> Duration {
        Duration::from_secs(1000)
    }
}

/// A service that sells and reminds, with a clock that stands still.
pub struct Shop {
    _home: tempfile::TempDir,
    pub door: Arc<Door>,
    pub clock: Arc<Hand>,
    /// The job that reminds.
    pub job: Box<dyn Job>,
}

impl Shop {
    /// Mail in clear, and hooks on loopback.
    pub fn open(mail_port: u16, hook_port: u16) -> Shop {
        let more = format!(
            "[mail]\nhost = \"127.0.0.1\"\nport = {mail_port}\nsecurity = \"none\"\nfrom = \"akm <akm@example.com>\"\n\
             [[hook]]\nkind = \"feishu\"\nbegin = \"http://127.0.0.1:{hook_port}/\"\n\
             [[hook]]\nkind = \"slack\"\nbegin = \"http://127.0.0.1:{hook_port}/\"\n"
        );
        Shop::with(&more, Outbound::default())
    }

    /// With this behind what is sold.
    pub fn with(more: &str, outbound: Outbound) -> Shop {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| -> PathBuf { home.path().join(name) };
        std::fs::create_dir(at("state")).unwrap();
        let clock = Arc::new(Hand(Mutex::new(1_800_000_000_000)));
        let text = format!(
            "[gateway]\nsecret = \"{SECRET}\"\nlink = \"https://x.example/?for={{custom}}\"\n\
             [[product]]\nprovider = \"gateway\"\nplan = \"basic\"\ntier = \"basic\"\nprice = \"5.00\"\n{more}"
        );
        let selling = Selling::parse(&text, outbound, clock.clone()).unwrap();
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
    pub fn customer(&self, name: &str, contact: BillingContact) {
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

    pub fn advance(&self, days: i64) {
        *self.clock.0.lock().unwrap() += days * DAY;
    }
}

pub fn mail_to(address: &str, locale: Locale) -> BillingContact {
    BillingContact {
        email: Some(address.to_owned()),
        locale: Some(locale),
        ..BillingContact::default()
    }
}
