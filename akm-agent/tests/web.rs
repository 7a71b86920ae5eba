//! The dashboard as a browser meets it: a real agent, a real listener on loopback, requests byte by byte.

#![allow(clippy::unwrap_used)]

mod hosted_support;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use akm_core::protocol::UiOpen;
use hosted_support::{OPEN, Site};
use support::{Agent, Home, PASSPHRASE};

/// What a link consists of.
struct Link {
    host: String,
    base: String,
    token: String,
}

fn link(agent: &Agent) -> Link {
    let link = agent.client().call(&UiOpen {}).unwrap();
    assert_eq!(link.expires_s, 60);
    let url = link.url.expose().strip_prefix("http://").unwrap();
    let (host, path) = url.split_once('/').unwrap();
    let (base, token) = path.split_once("/open#").unwrap();
    Link {
        host: host.to_owned(),
        base: format!("/{base}"),
        token: token.to_owned(),
    }
}

/// A request as it is, and the whole answer.
fn raw(host: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A browser that may come in.
struct Browser {
    host: String,
    base: String,
    cookie: String,
}

impl Browser {
    fn enter(agent: &Agent) -> Browser {
        let link = link(agent);
        let answer = post(
            &link.host,
            &format!("{}/open", link.base),
            "",
            &format!("token={}", link.token),
        );
        assert_eq!(status(&answer), 200, "{answer}");
        let line = header(&answer, "set-cookie").unwrap();
        let (cookie, flags) = line.split_once("; ").unwrap();
        assert_eq!(
            flags,
            format!("Path={}/; HttpOnly; SameSite=Strict", link.base)
        );
        Browser {
            host: link.host,
            base: link.base,
            cookie: cookie.to_owned(),
        }
    }

    fn get(&self, path: &str) -> String {
        raw(
            &self.host,
            &format!(
                "GET {}{path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\naccept-language: en\r\nconnection: close\r\n\r\n",
                self.base, self.host, self.cookie
            ),
        )
    }

    fn post(&self, path: &str, body: &str) -> String {
        self.post_with(path, body, "")
    }

    /// As the page's own script does.
    fn script(&self, path: &str, body: &str) -> String {
        self.post_with(path, body, "accept: application/json\r\n")
    }

    fn post_with(&self, path: &str, body: &str, more: &str) -> String {
        let more = format!("cookie: {}\r\n{more}", self.cookie);
        post(&self.host, &format!("{}{path}", self.base), &more, body)
    }
}

fn post(host: &str, path: &str, more: &str, body: &str) -> String {
    raw(
        host,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n{more}connection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

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
    let log = agent.http(&support::request("audit.list", r#"{"action":"ui.open"}"#));
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
fn a_secret_comes_to_the_script_that_asks_for_this_key_and_is_in_the_audit() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai/work", "sk-canary-1234567890").unwrap();
    let browser = Browser::enter(&agent);
    let answer = browser.script("/keys/secret", "name=openai%2Fwork");
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    assert!(
        answer.ends_with(r#"{"name":"openai/work","secret":"sk-canary-1234567890"}"#),
        "{answer}"
    );
    // Not to a form, which would leave it in a window, and not in an address.
    assert_eq!(
        status(&browser.post("/keys/secret", "name=openai%2Fwork")),
        400
    );
    assert_eq!(status(&browser.get("/keys/secret?name=openai%2Fwork")), 404);
    let log = browser.get("/log");
    assert!(log.contains("key.get") && log.contains("browser"), "{log}");
    agent.lock();
    let locked = browser.script("/keys/secret", "name=openai%2Fwork");
    assert_eq!(status(&locked), 423);
    let page = browser.get("/");
    assert_eq!(
        (
            status(&page),
            header(&page, "location").unwrap().ends_with("/unlock")
        ),
        (303, true)
    );
    // The browser may unlock, with the passphrase.
    assert_eq!(status(&browser.post("/unlock", "passphrase=wrong")), 401);
    let unlocked = browser.post(
        "/unlock",
        &format!("passphrase={}", PASSPHRASE.replace(' ', "+")),
    );
    assert_eq!(status(&unlocked), 303, "{unlocked}");
    assert_eq!(status(&browser.get("/")), 200);
}

#[test]
fn e13_markup_in_any_field_is_text_on_every_page() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let browser = Browser::enter(&agent);
    let canary = |field: &str| format!("\"'><img src=x onerror=alert('{field}')>");
    let mut form = vec![
        ("provider".to_owned(), "my-own".to_owned()),
        ("secret".to_owned(), "sk-<b>bold</b>-1234567890".to_owned()),
    ];
    for field in ["label", "model", "categories", "notes"] {
        // A label has no slash, and a category no comma.
        form.push((
            field.to_owned(),
            canary(field).replace('/', "|").replace(',', ";"),
        ));
    }
    let body: Vec<_> = form
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let added = browser.post("/keys/new", &body.join("&"));
    assert_eq!(status(&added), 303, "{added}");
    let location = header(&added, "location")
        .unwrap()
        .strip_prefix(&browser.base)
        .unwrap()
        .to_owned();
    let bad = format!("{}=x&q={}", encoded("<script>"), encoded(&canary("q")));
    let pages = [
        location,
        "/".to_owned(),
        format!("/?{bad}"),
        format!(
            "/?provider={0}&category={0}&status={0}&page={0}",
            encoded(&canary("filter"))
        ),
        "/log".to_owned(),
        format!("/log?key={0}&action={0}", encoded(&canary("key"))),
        format!("/models?{bad}"),
        format!("/providers?{bad}"),
        "/activity".to_owned(),
        format!("/keys/new?provider={}", encoded(&canary("provider"))),
        format!("/keys/show?name={}", encoded(&canary("name"))),
        "/balance".to_owned(),
        format!("/{}", encoded(&canary("path"))),
    ];
    let mut seen = String::new();
    for page in pages {
        let answer = browser.get(&page);
        assert!(
            [200, 400, 404].contains(&status(&answer)),
            "{page}: {answer}"
        );
        assert!(!answer.contains("<img src=x"), "{page}: {answer}");
        assert!(!answer.contains("'><"), "{page}: {answer}");
        assert!(!answer.contains("<b>bold"), "{page}: {answer}");
        seen.push_str(&answer);
    }
    // The control: they are there, as text.
    for field in ["label", "model", "categories", "notes", "q", "key"] {
        assert!(
            seen.contains(&format!("&lt;img src=x onerror=alert('{field}')&gt;")),
            "{field}"
        );
    }
    let refused = browser.post(
        "/keys/new",
        &format!("provider={}&secret=x", encoded(&canary("refused"))),
    );
    assert_eq!(status(&refused), 400);
    assert!(refused.contains("&lt;img") && !refused.contains("<img src=x"));
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn keys_are_added_edited_rotated_switched_off_and_removed() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let browser = Browser::enter(&agent);
    assert!(browser.get("/").contains("No keys yet"));
    let added = browser.post(
        "/keys/new",
        "provider=unheard-of&label=work&secret=sk-one&notes=a%0D%0Ab&categories=x%2C+y",
    );
    assert_eq!(status(&added), 303, "{added}");
    let show = "/keys/show?name=unheard-of/work";
    assert!(browser.get(show).contains("unheard-of"));
    let again = browser.post(
        "/keys/new",
        "provider=unheard-of&label=work&secret=sk-two&model=kept",
    );
    assert_eq!(status(&again), 409);
    assert!(
        again.contains("value=\"kept\"") && !again.contains("sk-two"),
        "{again}"
    );
    let name = "name=unheard-of/work";
    let edited = browser.post(
        "/keys/edit",
        &format!("{name}&new_name=unheard-of/home&model=m&categories=z&notes=n"),
    );
    assert!(
        header(&edited, "location")
            .unwrap()
            .contains("unheard-of%2Fhome&done=changed"),
        "{edited}"
    );
    let name = "name=unheard-of/home";
    assert_eq!(
        status(&browser.post("/keys/rotate", &format!("{name}&secret=sk-three"))),
        303
    );
    assert_eq!(agent.get("unheard-of/home").unwrap(), "sk-three");
    assert_eq!(
        status(&browser.post("/keys/status", &format!("{name}&to=disabled"))),
        303
    );
    assert!(agent.get("unheard-of/home").is_err());
    assert_eq!(
        status(&browser.post("/keys/status", &format!("{name}&to=active"))),
        303
    );
    let tested = browser.script("/keys/test", name);
    assert!(tested.contains("cannot be proven"), "{tested}");
    assert!(
        browser
            .get("/?q=HOME&category=z")
            .contains("unheard-of%2Fhome")
    );
    assert!(browser.get("/?category=other").contains("No key fits"));
    assert_eq!(status(&browser.post("/keys/remove", name)), 303);
    assert!(browser.get("/").contains("No keys yet"));
    assert!(browser.post("/log/verify", "").contains("authentic"));
}

#[test]
fn an_export_is_a_file_and_needs_a_passphrase_of_one_kind() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai/work", "sk-canary-1234567890").unwrap();
    let browser = Browser::enter(&agent);
    let sealed = browser.post("/account/export", "format=json&seal=a+long+passphrase");
    assert_eq!(
        header(&sealed, "content-disposition"),
        Some("attachment;filename=\"akm-keys.json.age\"")
    );
    assert!(sealed.contains("age-encryption.org/v1") && !sealed.contains("sk-canary"));
    assert_eq!(status(&browser.post("/account/export", "format=json")), 400);
    assert_eq!(
        status(&browser.post(
            "/account/export",
            "format=json&plaintext=1&passphrase=wrong"
        )),
        401
    );
    let body = format!(
        "format=env&plaintext=1&passphrase={}",
        PASSPHRASE.replace(' ', "+")
    );
    let clear = browser.post("/account/export", &body);
    assert!(clear.contains("sk-canary-1234567890"), "{clear}");
    assert_eq!(header(&clear, "cache-control"), Some("no-store"));
}

#[test]
fn another_user_of_the_machine_is_closed_unread() {
    if !support::is_root() {
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

#[test]
fn both_languages_and_what_a_folder_replaces() {
    let home = Home::new();
    let folder = home.dir.path().join("web");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(home.path()).unwrap();
    std::fs::write(folder.join("theme.css"), ":root{--accent:#123456}").unwrap();
    std::fs::write(folder.join("texts.en.ftl"), "brand = Our vault\n").unwrap();
    let config = format!("[web]\nfolder = \"{}\"\n", folder.display());
    std::fs::write(home.path().join("config.toml"), config).unwrap();
    let agent = home.start();
    agent.register();
    let browser = Browser::enter(&agent);
    let english = browser.get("/");
    assert!(english.contains("<html lang=\"en\">") && english.contains("Our vault"));
    assert!(english.contains("assets/theme.css"));
    assert!(
        browser
            .get("/assets/theme.css")
            .ends_with(":root{--accent:#123456}")
    );
    let switched = browser.post("/language", &format!("to=zh&back={}/log", browser.base));
    assert!(header(&switched, "location").unwrap().ends_with("/log"));
    let cookie = header(&switched, "set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let chinese = Browser {
        cookie: format!("{}; {cookie}", browser.cookie),
        host: browser.host.clone(),
        base: browser.base.clone(),
    };
    let page = chinese.get("/");
    assert!(
        page.contains("<html lang=\"zh-CN\">") && page.contains("还没有密钥"),
        "{page}"
    );
    // Back means back into the dashboard.
    for back in ["https://evil.test/", "//evil.test/", "/other"] {
        let answer = browser.post("/language", &format!("to=zh&back={back}"));
        assert_eq!(
            header(&answer, "location"),
            Some(format!("{}/", browser.base).as_str()),
            "{back}"
        );
    }
}

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
    assert!(get("/", cookie).body.contains("No keys yet"));
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
