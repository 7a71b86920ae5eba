//! The server edition in a real browser: `tests/web/hosted.mjs` registers, sets up TOTP, stores, tests, copies, looks for and takes
//! away keys, buys, and signs out, over TLS, in both languages and at two widths.
//!
//! What it looks at on each page stands in `tests/web/browser.mjs`. Providers are played behind a proxy for their own names, because
//! a server sends the keys of its accounts nowhere else. `AKM_WALK=zh360` walks once.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod browser_support;
mod hosted_support;
#[allow(dead_code, reason = "not every user plays all")]
#[path = "../../akm-core/tests/support/provider_server.rs"]
mod provider_server;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hosted_support::{Site, configure, private};
use provider_server::{Duplex, ProviderServer, Received, Reply};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use support::Home;

const VALID: &str = "Bearer sk-walk-valid-0123456789abcdef-wxyz";

/// A certificate or key that the tests of akm-core use too.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akm-core/tests/fixtures/tls")
        .join(name)
}

/// What OpenAI and DeepSeek answer, for one key that they take.
fn play(request: &Received) -> Reply {
    if request.header("authorization") != Some(VALID) {
        return Reply::json(
            401,
            r#"{"error":{"code":"invalid_api_key","message":"no"}}"#,
        );
    }
    match request.path.as_str() {
        "/user/balance" => Reply::json(
            200,
            r#"{"is_available":true,"balance_infos":[{"currency":"CNY","total_balance":"110.00","granted_balance":"10.00","topped_up_balance":"100.00"}]}"#,
        ),
        path if path.ends_with("/models") => Reply::json(
            200,
            r#"{"object":"list","data":[{"id":"gpt-4o","object":"model"}]}"#,
        ),
        _ => Reply::json(404, r#"{"error":{"message":"nothing here"}}"#),
    }
}

/// An HTTP proxy that is every provider itself.
fn providers() -> ProviderServer {
    let chain = vec![CertificateDer::from_pem_file(fixture("providers.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("providers.key.pem")).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |mut stream: TcpStream| -> std::io::Result<Box<dyn Duplex>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"CONNECT "), "asked as a proxy");
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        let session = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(StreamOwned::new(session, stream)))
    };
    ProviderServer::start_inside(wrap, play).unwrap()
}

const BILLING: &str = "codes = true\npush_secret = \"aRandomPathSecret123\"\n[gateway]\nsecret = \"a secret of the gateway, for tests\"\n\
    link = \"https://pay.example.com/?n={months}&for={custom}\"\n\
    [[product]]\nprovider = \"gateway\"\nplan = \"basic\"\ntier = \"basic\"\nprice = \"5.00\"\n\
    [[product]]\nprovider = \"gateway\"\nplan = \"pro\"\ntier = \"pro\"\nprice = \"15.00\"\n";

#[test]
fn somebody_with_an_account_walks_through_the_server_edition_in_both_languages() {
    let Some(mut script) = browser_support::script("hosted.mjs") else {
        return;
    };
    let providers = providers();
    let config = format!(
        "[hosted]\nregistration = \"open\"\nrequests_per_minute = 0\nsign_ins_per_minute = 0\n\
         [outbound]\nca_file = {:?}\nproxy = \"http://127.0.0.1:{}\"\n",
        fixture("providers-ca.pem"),
        providers.port()
    );
    let home = Home::new();
    configure(&home, &config);
    private(&home.path().join("billing.toml"), BILLING.as_bytes());
    let key = home.dir.path().join("server.key.pem");
    private(&key, &std::fs::read(fixture("good.key.pem")).unwrap());
    let certificate = fixture("good.pem");
    let site = Site::at(
        home,
        &config,
        &[
            "--listen",
            "https://127.0.0.1:0",
            "--cert",
            certificate.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ],
    );
    // The vault has its first account; redeem codes are made by the owner on the host.
    site.agent.register();
    let wanted = json!({"tier": "pro", "months": 12, "count": 4}).to_string();
    let made = site
        .agent
        .client()
        .call_raw("billing.codes_create", wanted.as_bytes())
        .unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    browser_support::run(
        script
            .env("AKM_URL", format!("https://{}", site.address))
            .env("AKM_CODES", made["codes"].to_string())
            .env("AKM_BINARY", env!("CARGO_BIN_EXE_akm"))
            .env("AKM_AGENT_SOCK", &site.agent.socket),
    );
    // With the keyboard alone no provider that is played is asked.
    let asked = providers.received().len();
    let one = std::env::var("AKM_WALK").is_ok_and(|one| one == "keyboard");
    assert!(one || asked >= 4, "{asked} requests for a verdict");
}
