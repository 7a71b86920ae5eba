//! Tokens and cookies, and who may ask for what over the listener.

use std::collections::BTreeSet;

use akm_core::protocol::{Authority, Offered, Op, offered};
use serde_json::json;

use super::JSON;
use super::hosted_support::{OPEN, Site};
use super::support::PASSPHRASE;

#[test]
fn e14_a_cookie_is_set_when_asked_for_and_no_script_can_read_it() {
    let site = Site::start(OPEN);
    site.register("alice");
    let origin = format!("Origin: http://{}", site.address);
    let body = json!({"account": "alice", "passphrase": PASSPHRASE}).to_string();
    let path = "/v1/agent.unlock";
    let asked = |headers: &[&str]| site.ask("POST", path, headers, &body);
    let plain = asked(&[JSON]);
    assert!(plain.header("set-cookie").is_none() && plain.token().starts_with("akms_"));
    // A login that a foreign page sends (or a program that wants a cookie and no page) sets none.
    assert_eq!(asked(&[JSON, "akm-session: cookie"]).status, 403);
    let answer = asked(&[JSON, &origin, "akm-session: cookie"]);
    assert!(
        answer.result()["token"].is_null(),
        "in one place only: {answer:?}"
    );
    let set = answer.header("set-cookie").unwrap();
    let (cookie, flags) = set.split_once(';').unwrap();
    assert_eq!(flags, " Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(cookie.starts_with("__Host-akm=akms_"));
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    let cookie_line = format!("Cookie: a=b; {cookie}");
    let list = |headers: &[&str]| {
        let mut all = vec![JSON, cookie_line.as_str()];
        all.extend(headers);
        site.ask("POST", "/v1/key.list", &all, "{}").status
    };
    // A cookie is sent along by itself: it counts with our own Origin and with nothing else.
    assert_eq!(list(&[&origin]), 200);
    assert_eq!(list(&[]), 403);
    assert_eq!(list(&["Origin: https://evil.test"]), 403);
    assert_eq!(list(&["Origin: null"]), 403);
    assert_eq!(
        list(&[&format!("Origin: https://{}", site.address)]),
        403,
        "another scheme"
    );
    assert_eq!(list(&[&origin, "Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(list(&[&origin, "Sec-Fetch-Site: same-site"]), 403);
    assert_eq!(list(&[&origin, "Sec-Fetch-Site: same-origin"]), 200);
    // Signing in with it gives another one, and this one is over.
    let again = asked(&[JSON, &origin, "akm-session: cookie", &cookie_line]);
    let next = again.header("set-cookie").unwrap();
    assert_ne!(next.split_once(';').unwrap().0, cookie);
    assert_eq!(list(&[&origin]), 423);
    // Leaving makes the browser forget it.
    let line = format!("Cookie: {}", next.split_once(';').unwrap().0);
    let left = site.ask("POST", "/v1/agent.lock", &[JSON, &origin, &line], "{}");
    assert!(
        left.header("set-cookie")
            .unwrap()
            .starts_with("__Host-akm=; ")
    );
    assert_eq!(
        site.ask("POST", "/v1/key.list", &[JSON, &origin, &line], "{}")
            .status,
        423
    );
    // And it is never taken from an address.
    let token = plain.token();
    let path = format!("/v1/key.list?token={token}&__Host-akm={token}");
    assert_eq!(site.ask("POST", &path, &[JSON], "{}").status, 423);
    assert_eq!(
        site.op(Some(&token), "key.list", &json!({})).status,
        200,
        "control"
    );
}

#[test]
fn b15_every_operation_over_the_listener_is_as_the_table_says() {
    let site = Site::start(OPEN);
    let user = site.register("user");
    let admin = site.register("admin");
    let granted = site.agent.client().call_raw(
        "admin.grant",
        json!({"account": "admin", "role": "admin"})
            .to_string()
            .as_bytes(),
    );
    granted.unwrap();
    let mut seen = BTreeSet::new();
    for op in Op::ALL {
        let status = |token: Option<&str>| {
            // No operation has this field: what passes the gate is refused for it and changes nothing.
            site.op(token, op.name(), &json!({"no operation has this field": 1}))
                .status
        };
        let never = offered(*op) == Offered::Never;
        let nobody = match offered(*op) {
            Offered::Never => 403,
            Offered::Anyone => 400,
            Offered::Entering | Offered::Session => 423,
        };
        let name = op.name();
        assert_eq!(status(None), nobody, "{name}");
        assert_eq!(status(Some("akms_guess")), nobody, "{name}");
        let for_user = !never && !matches!(op.authority(), Authority::Admin | Authority::Owner);
        assert_eq!(
            status(Some(&user)),
            if for_user { 400 } else { 403 },
            "{name}"
        );
        assert_eq!(
            status(Some(&admin)),
            if never { 403 } else { 400 },
            "{name}"
        );
        seen.insert((nobody, for_user));
    }
    assert!(
        seen.len() >= 4,
        "control: operations of every sort were there: {seen:?}"
    );
}
