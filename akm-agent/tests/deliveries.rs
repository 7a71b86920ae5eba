//! What reminders look like on their way: mail over TLS to a real server, and the texts that four kinds of chat hooks take, to a
//! real listener over TLS.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "not every user plays all")]
#[path = "../../akm-core/tests/support/provider_server.rs"]
mod provider_server;
mod selling_support;

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;

use akm_core::protocol::{BillingContact, HookKind, Locale};
use akm_core::provider::{Outbound, Resolve};
use provider_server::{Duplex, ProviderServer, Received, Reply};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use selling_support::{MailServer, Shop, Speaks, fixture, mail_to};
use serde_json::{Value, json};

const PASSWORD: &str = "the password of the mail";

/// The configuration of mail to a server on this machine.
fn mail(port: u16, security: &str) -> String {
    format!(
        "[mail]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"{security}\"\nuser = \"akm\"\npassword = \"{PASSWORD}\"\n\
         from = \"akm <akm@example.com>\"\n"
    )
}

/// Trusts the authority of the tests, or does not.
fn outbound(trusting: bool) -> Outbound {
    Outbound {
        ca_file: trusting.then(|| fixture("ca.pem")),
        resolver: Arc::new(Here),
        ..Outbound::default()
    }
}

/// Every name is this machine.
struct Here;

impl Resolve for Here {
    fn resolve(&self, _host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    }

    fn lets_a_test_server_through(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }
}

/// What comes to a server of this sort, with this certificate, when somebody is to be reminded; and whether the job is content.
fn delivered(
    speaks: Speaks,
    security: &str,
    certificate: &str,
    trusting: bool,
) -> Option<(Vec<Value>, bool)> {
    let server = MailServer::speaking(speaks, Some(certificate))?;
    let shop = Shop::with(&mail(server.port, security), outbound(trusting));
    shop.customer("alice", mail_to("alice@example.com", Locale::En));
    shop.advance(25);
    let content = shop.job.run().is_ok();
    // It signs in for a look, and again to send. The server prints before it answers: there is nothing to wait for but the pipe.
    Some((server.taken(if content { 3 } else { 0 }), content))
}

#[test]
fn mail_goes_over_tls_to_a_server_with_a_good_certificate() {
    for (speaks, security) in [(Speaks::Tls, "tls"), (Speaks::Starttls, "starttls")] {
        let Some((seen, content)) = delivered(speaks, security, "good", true) else {
            return;
        };
        assert!(content, "{security}");
        let logins: Vec<_> = seen.iter().filter(|said| said["login"] == "akm").collect();
        assert!(
            !logins.is_empty() && logins.iter().all(|said| said["good"] == true),
            "{seen:?}"
        );
        let mails: Vec<_> = seen
            .iter()
            .filter(|said| said["to"] == json!(["alice@example.com"]))
            .collect();
        assert_eq!(mails.len(), 1, "{seen:?}");
        assert_eq!(mails[0]["tls"], true, "{security}");
        assert_eq!(mails[0]["from"], "akm@example.com");
    }
}

#[test]
fn a_wrong_certificate_gets_neither_mail_nor_password() {
    for (speaks, security) in [(Speaks::Tls, "tls"), (Speaks::Starttls, "starttls")] {
        for (certificate, trusting) in [
            // For another name, over since years, nobody's, and one that is good where its authority is not known.
            ("elsewhere", true),
            ("expired", true),
            ("selfsigned", true),
            ("good", false),
        ] {
            let Some((seen, content)) = delivered(speaks, security, certificate, trusting) else {
                return;
            };
            assert!(!content, "{security}, {certificate}: the job says nothing");
            assert!(seen.is_empty(), "{security}, {certificate}: {seen:?}");
        }
    }
}

#[test]
fn a_server_that_offers_no_tls_gets_nothing() {
    let Some(server) = MailServer::speaking(Speaks::InClear, None) else {
        return;
    };
    for security in ["tls", "starttls"] {
        let shop = Shop::with(&mail(server.port, security), outbound(true));
        shop.customer("alice", mail_to("alice@example.com", Locale::En));
        shop.advance(25);
        assert!(shop.job.run().is_err(), "{security}");
        assert!(server.taken(0).is_empty(), "{security}");
    }
}

/// A listener with TLS that takes what it is sent, as each kind says that it did.
fn hooks() -> ProviderServer {
    let chain = vec![CertificateDer::from_pem_file(fixture("good.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("good.key.pem")).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream: TcpStream| -> std::io::Result<Box<dyn Duplex>> {
        let session = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(StreamOwned::new(session, stream)))
    };
    ProviderServer::start_inside(wrap, |request: &Received| {
        let refuses = request.path.contains("refused");
        match request.path.split('/').nth(1) {
            Some("slack") if refuses => Reply::json(404, "no_service"),
            Some("slack") => Reply::json(200, "ok"),
            // These say 200 to everything, and in the body how it went.
            Some("feishu") if refuses => {
                Reply::json(200, r#"{"code":19001,"msg":"param invalid"}"#)
            }
            Some("feishu") => Reply::json(200, r#"{"code":0,"data":{},"msg":"success"}"#),
            _ if refuses => Reply::json(200, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#),
            _ => Reply::json(200, r#"{"errcode":0,"errmsg":"ok"}"#),
        }
    })
    .unwrap()
}

/// Each kind, the path of a hook as its documentation shows it, and the body that it takes for a text:
/// - open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
/// - open.dingtalk.com/document/robots/custom-robot-access
/// - developer.work.weixin.qq.com/document/path/91770
/// - api.slack.com/messaging/webhooks
fn documented(kind: HookKind, text: &str) -> (&'static str, &'static str, Value) {
    match kind {
        HookKind::Feishu => (
            "feishu",
            "/feishu/open-apis/bot/v2/hook/0a1b2c3d",
            json!({"msg_type": "text", "content": {"text": text}}),
        ),
        HookKind::Dingtalk => (
            "dingtalk",
            "/dingtalk/robot/send?access_token=0a1b2c3d",
            json!({"msgtype": "text", "text": {"content": text}}),
        ),
        HookKind::Wecom => (
            "wecom",
            "/wecom/cgi-bin/webhook/send?key=0a1b2c3d",
            json!({"msgtype": "text", "text": {"content": text}}),
        ),
        HookKind::Slack => (
            "slack",
            "/slack/services/T000/B000/XXXX",
            json!({ "text": text }),
        ),
    }
}

const KINDS: [HookKind; 4] = [
    HookKind::Feishu,
    HookKind::Dingtalk,
    HookKind::Wecom,
    HookKind::Slack,
];

/// A shop whose customer is reached through this path.
fn shop(kind: HookKind, port: u16, path: &str, trusting: bool) -> Shop {
    let base = format!("https://api.good.test:{port}/");
    let (token, ..) = documented(kind, "");
    let more = format!("[[hook]]\nkind = \"{token}\"\nbegin = \"{base}\"\n");
    let shop = Shop::with(&more, outbound(trusting));
    let contact = BillingContact {
        hook: Some(kind),
        hook_url: Some(format!("{base}{}", &path[1..])),
        locale: Some(Locale::Zh),
        ..BillingContact::default()
    };
    shop.customer("xiaoming", contact);
    shop.advance(25);
    shop
}

#[test]
fn each_kind_of_hook_gets_the_body_that_its_documentation_shows() {
    let server = hooks();
    for (index, kind) in KINDS.into_iter().enumerate() {
        let (name, path, _) = documented(kind, "");
        let shop = shop(kind, server.port(), path, true);
        shop.job.run().unwrap();
        shop.job.run().unwrap();
        let posted = server.received();
        assert_eq!(posted.len(), index + 1, "{name}: once");
        let last = posted.last().unwrap();
        assert_eq!(
            (last.method.as_str(), last.path.as_str()),
            ("POST", path),
            "{name}"
        );
        assert_eq!(last.header("content-type"), Some("application/json"));
        let host = format!("api.good.test:{}", server.port());
        assert_eq!(last.header("host"), Some(host.as_str()));
        let body: Value = serde_json::from_slice(&last.body).unwrap();
        let text = ["/content/text", "/text/content", "/text"]
            .iter()
            .find_map(|place| body.pointer(place)?.as_str())
            .unwrap();
        assert!(
            text.contains("5 天后到期") || text.contains("天后到期"),
            "{name}: {text}"
        );
        assert!(text.contains("xiaoming"), "{name}: {text}");
        let (.., shape) = documented(kind, text);
        assert_eq!(body, shape, "{name}: this and nothing else");
    }
}

#[test]
fn a_hook_that_says_no_is_asked_again_and_one_that_nobody_vouches_for_gets_nothing() {
    let server = hooks();
    for kind in KINDS {
        let (name, path, _) = documented(kind, "");
        let before = server.received().len();
        let refused = path
            .replace("0a1b2c3d", "refused")
            .replace("XXXX", "refused");
        let shop = shop(kind, server.port(), &refused, true);
        assert!(shop.job.run().is_err(), "{name}");
        let again = shop.job.run();
        let asked = server.received().len() - before;
        match kind {
            // Another status than 200: nobody can tell, so it is not sent twice.
            HookKind::Slack => assert!(again.is_ok() && asked == 1, "{name}"),
            _ => assert!(again.is_err() && asked == 2, "{name}"),
        }
    }
    let before = server.received().len();
    for kind in KINDS {
        let (name, path, _) = documented(kind, "");
        let shop = shop(kind, server.port(), path, false);
        assert!(
            shop.job.run().is_err(),
            "{name}: its certificate is nobody's"
        );
    }
    assert_eq!(server.received().len(), before, "no text was sent");
}
