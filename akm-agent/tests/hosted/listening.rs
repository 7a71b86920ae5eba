//! Where it listens, and the certificate that it shows.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;

use super::JSON;
use super::hosted_support::{OPEN, Site};
use super::support::{Home, PASSPHRASE, eventually, launch};

#[test]
fn e03_it_listens_where_it_was_told_and_nowhere_else() {
    let site = Site::start(OPEN);
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let table6 = std::fs::read_to_string("/proc/self/net/tcp6").unwrap_or_default();
    let port = format!(":{:04X} ", site.address.port());
    // Local address, then 0A for a listening socket.
    let listening = |table: &str| -> Vec<String> {
        table
            .lines()
            .filter(|line| line.split_whitespace().nth(3) == Some("0A") && line.contains(&port))
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(listening(&table), [format!("0100007F{}", port.trim())]);
    assert_eq!(listening(&table6), Vec::<String>::new());
    for (listen, word) in [
        ("http://0.0.0.0:0", "127.0.0.1 and [::1] only"),
        ("http://192.0.2.1:0", "127.0.0.1 and [::1] only"),
        ("https://127.0.0.1:0", "needs a certificate"),
    ] {
        let home = Home::new();
        let mut command = home.command();
        command.args(["serve", "--listen", listen]);
        let failure = launch(command).unwrap_err();
        assert_eq!(failure.status.code(), Some(64), "{}", failure.stderr);
        assert!(failure.stderr.contains(word), "{}", failure.stderr);
    }
}

/// A certificate for `localhost` that signs itself; the file names of it and its key.
fn certificate(home: &Home, name: &str) -> (String, String) {
    let file = |end: &str| {
        home.dir
            .path()
            .join(format!("{name}.{end}"))
            .display()
            .to_string()
    };
    let (cert, key) = (file("pem"), file("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-keyout", &key, "-out", &cert])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    (cert, key)
}

fn curl(site: &Site, cert: &str, arguments: &[&str]) -> (bool, String) {
    let url = format!("https://localhost:{}", site.address.port());
    let mut all: Vec<String> = vec![
        "--silent".into(),
        "--show-error".into(),
        "--cacert".into(),
        cert.into(),
    ];
    all.extend(arguments.iter().map(|text| text.replace("URL", &url)));
    let out = Command::new("curl").args(all).output().unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), text)
}

#[test]
fn https_serves_with_a_certificate_that_can_be_changed_while_it_runs() {
    let home = Home::new();
    let (cert, key) = certificate(&home, "first");
    let (next_cert, next_key) = certificate(&home, "second");
    let site = Site::at(
        home,
        OPEN,
        &[
            "--listen",
            "https://127.0.0.1:0",
            "--cert",
            &cert,
            "--key",
            &key,
            "--host",
            "localhost",
        ],
    );
    let body = json!({"account": "alice", "passphrase": PASSPHRASE, "totp": false}).to_string();
    let (done, told) = curl(
        &site,
        &cert,
        &["-i", "-H", JSON, "-d", &body, "URL/v1/account.register"],
    );
    assert!(
        done && told.starts_with("HTTP/1.1 200") && told.contains("akms_"),
        "{told}"
    );
    assert!(
        told.to_lowercase()
            .contains("strict-transport-security: max-age="),
        "{told}"
    );
    // Plaintext on this port, old TLS, and another certificate's trust: nothing is served.
    assert_eq!(site.ask("GET", "/healthz", &[], "").status, 0);
    let (done, _) = curl(&site, &cert, &["--tls-max", "1.1", "URL/healthz"]);
    assert!(!done);
    let (done, _) = curl(&site, &next_cert, &["URL/healthz"]);
    assert!(!done, "control: curl looks at the certificate");
    // Half of a pair goes in: the old one goes on. Then the other half, and a signal.
    let trusted = site
        .home
        .dir
        .path()
        .join("trusted.pem")
        .display()
        .to_string();
    std::fs::copy(&cert, &trusted).unwrap();
    std::fs::copy(&next_cert, &cert).unwrap();
    site.agent.signal(Signal::SIGHUP);
    let (done, told) = curl(&site, &trusted, &["URL/readyz"]);
    assert!(done, "{told}");
    std::fs::copy(&next_key, &key).unwrap();
    site.agent.signal(Signal::SIGHUP);
    eventually("the new certificate", || {
        curl(&site, &next_cert, &["URL/healthz"]).0
    });
    let (done, _) = curl(&site, &trusted, &["URL/healthz"]);
    assert!(!done, "the old one is not shown any more");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let (cert, key) = certificate(&home, "loose");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = home.command();
    command.args([
        "serve",
        "--listen",
        "https://127.0.0.1:0",
        "--cert",
        &cert,
        "--key",
        &key,
    ]);
    let failure = launch(command).unwrap_err();
    assert!(
        failure.stderr.contains("others may read the key"),
        "{}",
        failure.stderr
    );
}

#[test]
fn a_port_that_is_taken_leaves_no_socket_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    let mut command = home.command();
    let listen = format!("http://{}", taken.local_addr().unwrap());
    command.args(["serve", "--listen", &listen]);
    let failure = launch(command).unwrap_err();
    let address = taken.local_addr().unwrap().to_string();
    for said in ["listen: another program listens at this address", &address] {
        assert!(failure.stderr.contains(said), "{}", failure.stderr);
    }
    assert!(!home.socket().exists());
}
