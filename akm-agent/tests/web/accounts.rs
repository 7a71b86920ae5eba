//! The same pages on a server, behind a sign-in.

use std::process::Command;

use serde_json::json;

use super::hosted_support::{OPEN, Site, configure, private};
use super::support::{Home, PASSPHRASE, eventually};

#[test]
fn accounts_of_a_server_have_the_same_pages_behind_a_sign_in() {
    let site = Site::start(OPEN);
    let origin = format!("Origin: http://{}", site.address);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let get = |path: &str, cookie: &str| {
        let cookie = format!("Cookie: {cookie}");
        site.ask("GET", path, &[&cookie, "Accept-Language: en"], "")
    };
    let post = |path: &str, cookie: &str, body: &str| {
        let cookie = format!("Cookie: {cookie}");
        site.ask("POST", path, &[&origin, form, &cookie], body)
    };
    let outside = get("/", "x=y");
    assert_eq!(outside.status, 303);
    let sign_in = get("/unlock", "x=y");
    assert!(sign_in.body.contains("Sign in"), "{sign_in:?}");
    let policy = "content-security-policy: default-src 'none'; script-src 'self';";
    assert!(sign_in.head.to_lowercase().contains(policy), "{sign_in:?}");
    let body = "account=mei&new_passphrase=a+long+passphrase&again=a+long+passphrase";
    // Another page's form is refused before anything is done.
    assert_eq!(site.ask("POST", "/register", &[form], body).status, 403);
    let joined = post("/register", "x=y", body);
    assert_eq!(joined.status, 200, "{joined:?}");
    assert!(joined.body.contains("Recovery codes"));
    let line = joined
        .head
        .lines()
        .find(|line| line.to_lowercase().starts_with("set-cookie: "))
        .unwrap();
    assert!(
        line.contains("HttpOnly") && line.contains("Secure") && line.contains("SameSite=Strict")
    );
    let cookie = line[12..].split(';').next().unwrap();
    // What is for a machine of one's own is not said here.
    let empty = get("/", cookie).body;
    assert!(empty.contains("No keys yet") && empty.contains("Import or move"));
    let recover = get("/recover", "x=y").body;
    assert!(recover.contains("name=\"account\""), "control: {recover}");
    let missing = get("/keys/show?name=openai/none", cookie);
    assert_eq!(missing.status, 404, "{missing:?}");
    for page in [&empty, &recover, &missing.body] {
        for local in ["akm import", "akm ls", "“default”"] {
            assert!(!page.contains(local), "{local}: {page}");
        }
    }
    let added = post(
        "/keys/new",
        cookie,
        "provider=unheard-of&secret=sk-hosted-1234567890",
    );
    assert_eq!(added.status, 303, "{added:?}");
    for path in ["/", "/account", "/membership", "/log", "/activity"] {
        let page = get(path, cookie);
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(!page.body.contains("sk-hosted-1234567890"), "{path}");
    }
    // Administration is not this account's.
    assert_eq!(get("/admin", cookie).status, 403);
    assert_eq!(post("/lock", cookie, "").status, 303);
    assert_eq!(get("/", cookie).status, 303, "signed out is out");
    let wrong = post("/unlock", "x=y", "account=mei&passphrase=wrong");
    let unknown = post("/unlock", "x=y", "account=nobody&passphrase=wrong");
    assert_eq!((wrong.status, unknown.status), (401, 401));
}

#[test]
fn a_server_that_asks_for_totp_shows_nothing_but_how_to_set_it_up() {
    let site = Site::start("[hosted]\nregistration = \"open\"\n");
    let origin = format!("Origin: http://{}", site.address);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let body = "account=mei&new_passphrase=a+long+passphrase&again=a+long+passphrase&with_totp=1";
    let joined = site.ask("POST", "/register", &[&origin, form], body);
    assert!(joined.body.contains("class=\"qr\""), "{joined:?}");
    let line = joined
        .head
        .lines()
        .find(|line| line.to_lowercase().starts_with("set-cookie: "))
        .unwrap();
    let cookie = format!("Cookie: {}", line[12..].split(';').next().unwrap());
    for path in ["/", "/account", "/log"] {
        let page = site.ask("GET", path, &[&cookie], "");
        assert!(
            page.status == 303 && page.head.contains("/setup"),
            "{path}: {page:?}"
        );
    }
    assert_eq!(site.ask("GET", "/setup", &[&cookie], "").status, 200);
}

#[test]
fn a_notice_calls_the_tier_what_people_call_it_in_their_language() {
    let home = Home::new();
    configure(&home, OPEN);
    // Its tiers are the administrator's to change.
    private(&home.path().join("billing.toml"), b"codes = true\n");
    let site = Site::at(home, OPEN, &["--listen", "http://127.0.0.1:0"]);
    let token = site.register("mei");
    for number in 1..=2 {
        let key = json!({"name": format!("openai/{number}"), "secret": "sk-hosted-1234567890"});
        assert_eq!(site.op(Some(&token), "key.add", &key).status, 200);
    }
    let page = |language: &str| {
        let cookie = format!("Cookie: __Host-akm={token}");
        let language = format!("Accept-Language: {language}");
        let page = site.ask("GET", "/", &[&cookie, &language], "");
        assert_eq!(page.status, 200, "{page:?}");
        page.body
    };
    assert!(
        !page("en").contains("class=\"notices\""),
        "control: nothing to tell"
    );
    // What everybody has without paying becomes less than this account has.
    let less = json!({"tier": "free", "name": "Guest", "name_zh": "访客版", "price_fen": 0, "keys": 1, "providers": 2, "requests_per_minute": 120});
    let client = || site.agent.client();
    client()
        .call_raw("admin.tier", less.to_string().as_bytes())
        .unwrap();
    for (language, name) in [("en", "Guest"), ("zh-CN", "访客版")] {
        let page = page(language);
        let (_, notices) = page.split_once("class=\"notices\"").unwrap();
        let (notices, _) = notices.split_once("</ul>").unwrap();
        assert!(
            notices.contains(name) && !notices.contains("free"),
            "{notices}"
        );
    }
}

const CHANGE_ONE: &str = include_str!("../support/change_one.py");

#[test]
fn with_one_damaged_key_the_others_are_shown_and_can_be_taken_away() {
    let site = Site::start(OPEN);
    let token = site.register("mei");
    for number in 1..=3 {
        let key = json!({"name": format!("openai/{number}"), "secret": "sk-hosted-1234567890"});
        assert_eq!(site.op(Some(&token), "key.add", &key).status, 200);
    }
    let changed = Command::new("python3")
        .args(["-c", CHANGE_ONE])
        .arg(site.home.path().join("vault.db"))
        .status();
    assert!(changed.unwrap().success());
    // The check of a new session finds it.
    let token = site.sign_in("mei", PASSPHRASE).token();
    let cookie = format!("Cookie: __Host-akm={token}");
    let get = |path: &str| site.ask("GET", path, &[&cookie, "Accept-Language: en"], "");
    eventually("the end of the check", || {
        get("/account").body.contains("Leave out the keys")
    });
    for path in ["/", "/balance"] {
        let page = get(path);
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let lost = "1 key does not open and is not shown here.";
        assert!(page.body.contains(lost), "{path}: {page:?}");
    }
    let shown = get("/").body;
    let names = ["openai/1", "openai/2", "openai/3"];
    let left = names.iter().filter(|name| shown.contains(*name));
    assert_eq!(left.count(), 2, "{shown}");
    let origin = format!("Origin: http://{}", site.address);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let export = |more: &str| {
        let body = format!(
            "format=json&plaintext=1&passphrase={}{more}",
            PASSPHRASE.replace(' ', "+")
        );
        site.ask("POST", "/account/export", &[&origin, form, &cookie], &body)
    };
    assert!(!export("").body.contains("sk-hosted-1234567890"));
    let file = export("&skip_unreadable=1");
    assert_eq!(file.status, 200, "{file:?}");
    assert_eq!(file.body.matches("sk-hosted-1234567890").count(), 2);
}
