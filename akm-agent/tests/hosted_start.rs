//! What a careless operator is told: which file, which key of it, which option; and who may read the figures of a server.

#![allow(clippy::unwrap_used)]

mod hosted_support;
mod support;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hosted_support::{OPEN, Site, configure};
use support::{Agent, Home, launch};

const PLAIN: [&str; 2] = ["--listen", "http://127.0.0.1:0"];

fn private(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../akm-core/tests/fixtures/tls")
        .join(name)
}

/// What a server says that does not start.
fn refused(home: &Home, arguments: &[&str]) -> String {
    let mut command = home.command();
    command.arg("serve").args(arguments);
    let failure = launch(command).unwrap_err();
    assert!(!home.socket().exists(), "{}", failure.stderr);
    failure.stderr
}

#[test]
fn a_wrong_configuration_is_named_by_file_and_key_and_never_by_value() {
    let home = Home::new();
    for (file, text, wanted) in [
        (
            "config.toml",
            "[hosted]\nregistartion = \"canary\"\n",
            "hosted.registartion",
        ),
        (
            "config.toml",
            "[hosted]\nregistration = \"canary\"\n",
            "hosted.registration: ",
        ),
        (
            "config.toml",
            "[hosted]\nidle = \"canary\"\n",
            "hosted.idle: ",
        ),
        (
            "config.toml",
            "[monitoring]\nbackup_hours = -7\n",
            "monitoring.backup_hours: ",
        ),
        ("config.toml", "[hosted]\nregistration = canary\n", "line 2"),
        (
            "billing.toml",
            "codes = true\ngrace_dais = 1\n",
            "grace_dais",
        ),
        (
            "billing.toml",
            "[afdian]\nuser_id = \"canary\"\ntokn = \"canary\"\n",
            "afdian.tokn",
        ),
        (
            "billing.toml",
            "[afdian]\nuser_id = 7\ntoken = \"canary\"\n",
            "afdian.user_id",
        ),
        ("billing.toml", "codes = canary\n", "line 1"),
    ] {
        configure(&home, "");
        private(&home.path().join(file), text.as_bytes());
        let said = refused(&home, &PLAIN);
        assert!(said.contains(wanted), "{text}: {said}");
        assert!(said.contains(file), "{text}: {said}");
        assert!(!said.contains("canary"), "{text}: {said}");
        let _ = std::fs::remove_file(home.path().join("billing.toml"));
    }
    configure(&home, "");
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(home.path().join("config.toml"), open).unwrap();
    let said = refused(&home, &PLAIN);
    assert!(
        said.contains("others") && said.contains("config.toml"),
        "{said}"
    );
}

#[test]
fn a_certificate_that_is_missing_or_another_ones_is_named() {
    let home = Home::new();
    configure(&home, "");
    let key = home.path().join("key.pem");
    private(&key, &std::fs::read(fixture("good.key.pem")).unwrap());
    let (key, good) = (key.to_str().unwrap(), fixture("good.pem"));
    let asked = |cert: &str, key: &str| {
        let listen = "https://127.0.0.1:0";
        refused(&home, &["--listen", listen, "--cert", cert, "--key", key])
    };
    let said = asked("/nowhere/chain.pem", key);
    assert!(
        said.contains("cert: ") && said.contains("/nowhere/chain.pem"),
        "{said}"
    );
    let said = asked(good.to_str().unwrap(), "/nowhere/key.pem");
    assert!(
        said.contains("key: ") && said.contains("/nowhere/key.pem"),
        "{said}"
    );
    let said = asked(fixture("providers.pem").to_str().unwrap(), key);
    assert!(
        said.contains("does not belong to the certificate"),
        "{said}"
    );
}

#[test]
fn a_certificate_whose_time_is_over_is_told_when_the_server_starts() {
    for (name, over) in [("expired", true), ("good", false)] {
        let home = Home::new();
        configure(&home, "");
        let key = home.path().join("key.pem");
        let pem = std::fs::read(fixture(&format!("{name}.key.pem"))).unwrap();
        private(&key, &pem);
        let mut command = home.command();
        command
            .args(["serve", "--listen", "https://127.0.0.1:0", "--cert"])
            .arg(fixture(&format!("{name}.pem")))
            .arg("--key")
            .arg(&key);
        let mut child = launch(command).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let socket = home.socket();
        // Ended here, so that what it said is whole.
        drop(Agent { child, socket });
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert!(said.contains("listening on"), "{said}");
        assert_eq!(said.contains("the certificate has expired"), over, "{said}");
    }
}

#[test]
fn metrics_are_for_named_addresses_and_the_socket() {
    let site = Site::start(OPEN);
    let closed = site.ask("GET", "/metrics", &[], "");
    assert_eq!(closed.status, 403, "{closed:?}");
    assert!(!closed.body.contains("akm_"), "{closed:?}");
    drop(site);
    let config = format!("{OPEN}metrics_from = [\"127.0.0.1\"]\n");
    let arguments = [
        "--listen",
        "http://127.0.0.1:0",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let site = Site::with(&config, &arguments);
    let open = site.ask("GET", "/metrics", &[], "");
    assert_eq!(open.status, 200, "{open:?}");
    assert!(
        open.body.contains("akm_") && open.body.ends_with("# EOF\n"),
        "{open:?}"
    );
    // What a page asks for counts as what a program asks for, its refusals too.
    let counted = |line: &str| {
        let text = site.ask("GET", "/metrics", &[], "").body;
        let counted = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        counted.unwrap_or(0_u64)
    };
    let all = "akm_operations_total{operation=\"agent.unlock\"}";
    let refused =
        "akm_operation_errors_total{operation=\"agent.unlock\",kind=\"wrong_credentials\"}";
    site.register("mei");
    let origin = format!("Origin: http://{}", site.address);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let before = (counted(all), counted(refused));
    for passphrase in ["wrong", "correct+horse+battery+staple"] {
        let body = format!("account=mei&passphrase={passphrase}");
        site.ask("POST", "/unlock", &[&origin, form], &body);
    }
    assert_eq!(
        (counted(all), counted(refused)),
        (before.0 + 2, before.1 + 1)
    );
    // For whom the proxy asks is what counts.
    let through = site.ask("GET", "/metrics", &["X-Forwarded-For: 203.0.113.9"], "");
    assert_eq!(through.status, 403, "{through:?}");
    assert_eq!(site.ask("POST", "/metrics", &[], "").status, 405);
}

#[test]
fn a_page_says_who_may_register_and_asks_for_what_it_takes() {
    let page = |config: &str, path: &str| {
        let site = Site::start(config);
        site.ask("GET", path, &["Accept-Language: en"], "").body
    };
    let closed = "[hosted]\nregistration = \"closed\"\n";
    assert!(!page(closed, "/unlock").contains("/register"));
    let told = page(closed, "/register");
    assert!(
        told.contains("Accounts are not created here") && !told.contains("new_passphrase"),
        "{told}"
    );
    let invited = page("[hosted]\nregistration = \"invitation\"\n", "/register");
    assert!(invited.contains("name=\"invitation\""), "{invited}");
    // TOTP is asked for, so there is no box to leave it out.
    assert!(
        invited.contains("type=\"hidden\" name=\"with_totp\" value=\"1\""),
        "{invited}"
    );
    let open = page(OPEN, "/register");
    assert!(
        !open.contains("name=\"invitation\"") && open.contains("new_passphrase"),
        "{open}"
    );
    assert!(
        open.contains("type=\"checkbox\" name=\"with_totp\""),
        "{open}"
    );
}
