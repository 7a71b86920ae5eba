//! What the pages do: keys, secrets, exports, markup as text, both languages.

use super::support::{Home, PASSPHRASE};
use super::{Browser, header, status};

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
