//! Who gets in and whose requests are heard: links, cookies, other names, other pages, other users.

use std::process::Command;

use super::support::{Home, is_root, request};
use super::{Browser, header, link, post, raw, status};

#[test]
fn a_link_lets_one_browser_in_once_on_loopback_only() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai/work", "sk-canary-1234567890").unwrap();
    let link = link(&agent);
    assert!(link.host.starts_with("127.0.0.1:"));
    // The page behind the link holds no token and needs none.
    let page = raw(
        &link.host,
        &format!(
            "GET {}/open HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            link.base, link.host
        ),
    );
    assert_eq!(status(&page), 200);
    assert!(!page.contains(&link.token));
    let exchange = |token: &str| {
        post(
            &link.host,
            &format!("{}/open", link.base),
            "",
            &format!("token={token}"),
        )
    };
    assert_eq!(status(&exchange("guess")), 403);
    let first = exchange(&link.token);
    assert_eq!(status(&first), 200);
    assert_eq!(status(&exchange(&link.token)), 403, "a second use");
    let browser = Browser::enter(&agent);
    let keys = browser.get("/");
    assert_eq!(status(&keys), 200);
    assert!(keys.contains("openai/") && !keys.contains("sk-canary-1234567890"));
    // Without the cookie, with another's, with the link's token as one, or below another path: nothing.
    for cookie in ["", "akm_guest=guess", &format!("akm_guest={}", link.token)] {
        let other = Browser {
            cookie: cookie.to_owned(),
            host: browser.host.clone(),
            base: browser.base.clone(),
        };
        assert_eq!(status(&other.get("/")), 401, "{cookie}");
        assert_eq!(
            status(&other.script("/keys/secret", "name=openai/work")),
            401
        );
    }
    let elsewhere = Browser {
        base: String::new(),
        host: browser.host.clone(),
        cookie: browser.cookie.clone(),
    };
    assert_eq!(status(&elsewhere.get("/")), 404);
    // Leaving is for good.
    assert_eq!(status(&browser.post("/leave", "")), 200);
    assert_eq!(status(&browser.get("/")), 401);
    let log = agent.http(&request("audit.list", r#"{"action":"ui.open"}"#));
    assert!(log.contains("\"action\":\"ui.open\""), "{log}");
}

#[test]
fn e14_a_browser_gets_a_new_cookie_of_its_own_for_each_link() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let (one, two) = (Browser::enter(&agent), Browser::enter(&agent));
    assert_ne!(one.cookie, two.cookie);
    // A cookie that somebody planted before is not the one that counts after.
    let link = link(&agent);
    let more = "cookie: akm_guest=planted\r\n";
    let answer = post(
        &link.host,
        &format!("{}/open", link.base),
        more,
        &format!("token={}", link.token),
    );
    assert!(!header(&answer, "set-cookie").unwrap().contains("planted"));
    let planted = Browser {
        cookie: "akm_guest=planted".into(),
        host: link.host,
        base: link.base,
    };
    assert_eq!(status(&planted.get("/")), 401);
    assert_eq!(status(&one.get("/")), 200);
}

#[test]
fn every_answer_carries_the_policy_and_is_not_kept() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai/work", "sk-canary-1234567890").unwrap();
    let browser = Browser::enter(&agent);
    for (answer, expected) in [
        (browser.get("/"), 200),
        (browser.get("/open"), 200),
        (browser.get("/account"), 200),
        (browser.get("/keys/show?name=openai/work"), 200),
        (browser.get("/no/such/page"), 404),
        (browser.get("/keys/show?name=openai/none"), 404),
        (browser.script("/keys/secret", "name=openai/work"), 200),
        (browser.script("/keys/secret", "name=openai/none"), 404),
        (
            browser.post("/keys/status", "name=openai/work&to=disabled"),
            303,
        ),
        (browser.get("/assets/app.js"), 200),
        (browser.get("/assets/../web/policy.txt"), 404),
        (browser.get("/assets/%2e%2e/policy.txt"), 404),
    ] {
        assert_eq!(status(&answer), expected, "{answer}");
        let policy = header(&answer, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"));
        assert!(!policy.contains("unsafe") && policy.contains("require-trusted-types-for"));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, name), Some(value), "{name}");
        }
        let kept = header(&answer, "cache-control").unwrap();
        let is_asset = header(&answer, "content-type")
            .unwrap()
            .contains("javascript");
        assert_eq!(kept == "no-store", !is_asset, "{answer}");
        assert!(header(&answer, "access-control-allow-origin").is_none());
        // Pages have neither script nor style of their own.
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        if header(&answer, "content-type")
            .unwrap()
            .starts_with("text/html")
        {
            assert!(
                !body.contains("<style") && !body.contains(" style=") && !body.contains(" onclick")
            );
            assert!(!body.contains("<script>") && !body.contains("javascript:"));
            assert!(!body.contains("sk-canary-1234567890"));
        }
    }
}

#[test]
fn e01_another_name_for_this_machine_opens_nothing() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let browser = Browser::enter(&agent);
    let port = browser.host.split_once(':').unwrap().1;
    for host in [
        format!("localhost:{port}"),
        format!("0.0.0.0:{port}"),
        format!("evil.test:{port}"),
        format!("127.0.0.1:{port}.evil.test"),
        "127.0.0.1".to_owned(),
        format!("x@127.0.0.1:{port}"),
    ] {
        let answer = raw(
            &browser.host,
            &format!(
                "GET {}/ HTTP/1.1\r\nhost: {host}\r\ncookie: {}\r\nconnection: close\r\n\r\n",
                browser.base, browser.cookie
            ),
        );
        assert!([400, 421].contains(&status(&answer)), "{host}: {answer}");
        assert!(!answer.contains("<html"));
    }
    // The control.
    assert_eq!(status(&browser.get("/")), 200);
}

#[test]
fn e02_another_page_can_make_a_browser_ask_and_gets_nothing_done() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai/work", "sk-canary-1234567890").unwrap();
    let browser = Browser::enter(&agent);
    let body = "name=openai/work";
    let case = |headers: &str| {
        raw(
            &browser.host,
            &format!(
                "POST {}/keys/remove HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
                browser.base,
                browser.host,
                browser.cookie,
                body.len()
            ),
        )
    };
    let own = format!("origin: http://{}\r\n", browser.host);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    for (headers, expected) in [
        (form.to_owned(), 403),
        (format!("origin: null\r\n{form}"), 403),
        (format!("origin: https://evil.test\r\n{form}"), 403),
        (format!("origin: http://127.0.0.1:1\r\n{form}"), 403),
        (format!("{own}{form}sec-fetch-site: cross-site\r\n"), 403),
        (format!("{own}{form}sec-fetch-site: same-site\r\n"), 403),
        (own.clone(), 415),
        (format!("{own}content-type: text/plain\r\n"), 415),
        (format!("{own}content-type: application/json\r\n"), 415),
    ] {
        let answer = case(&headers);
        assert_eq!(status(&answer), expected, "{headers}{answer}");
    }
    // A GET changes nothing, wherever it comes from, and nobody may ask from elsewhere for what it shows.
    assert_eq!(status(&browser.get("/keys/remove?name=openai/work")), 404);
    let cross = raw(
        &browser.host,
        &format!(
            "GET {}/ HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\nsec-fetch-site: cross-site\r\nconnection: close\r\n\r\n",
            browser.base, browser.host, browser.cookie
        ),
    );
    assert_eq!(status(&cross), 403);
    assert_eq!(agent.get("openai/work").unwrap(), "sk-canary-1234567890");
    // The control: our own page may.
    assert_eq!(
        status(&case(&format!(
            "{own}{form}sec-fetch-site: same-origin\r\n"
        ))),
        303
    );
    assert!(agent.get("openai/work").is_err());
}

#[test]
fn another_user_of_the_machine_is_closed_unread() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs this as root");
        eprintln!("skipped: only root can act as another user");
        return;
    }
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let browser = Browser::enter(&agent);
    let curl = |uid: &str| {
        let output = Command::new("setpriv")
            .args([
                "--reuid",
                uid,
                "--regid",
                uid,
                "--clear-groups",
                "curl",
                "--silent",
                "--max-time",
                "20",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
            ])
            .args(["-H", &format!("cookie: {}", browser.cookie)])
            .arg(format!("http://{}{}/", browser.host, browser.base))
            .current_dir("/")
            .output()
            .expect("curl and setpriv are installed");
        String::from_utf8(output.stdout).unwrap()
    };
    // The control first: the same request as the owner.
    assert_eq!(curl("0"), "200");
    assert_eq!(curl("65534"), "000");
}
