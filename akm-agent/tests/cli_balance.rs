//! `akm balance` against a provider that is played: which balance is low, which threshold says nothing, and the exit code.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod cli_support;
#[path = "../../akm-core/tests/support/provider_server.rs"]
#[allow(dead_code, reason = "how it was asked does not matter here")]
mod provider_server;

use cli_support::{Home, stdout};
use provider_server::{ProviderServer, Reply};
use serde_json::{Value, json};

/// Two currencies, as api-docs.deepseek.com/api/get-user-balance shows them.
const TWO: &str = r#"{"is_available":true,"balance_infos":[
    {"currency":"CNY","total_balance":"3.00","granted_balance":"0.00","topped_up_balance":"3.00"},
    {"currency":"USD","total_balance":"100.00","granted_balance":"0.00","topped_up_balance":"100.00"}]}"#;

/// A home with a key that the provider tells its balance, and one that it refuses.
fn home(server: &ProviderServer) -> Home {
    let home = Home::ready();
    let base_url = format!("http://127.0.0.1:{}", server.port());
    for label in ["rich", "refused"] {
        let name = format!("deepseek/{label}");
        let add = ["add", &name, "--secret-stdin", "--base-url", &base_url];
        let added = home.akm(&add, &format!("sk-{label}-0123456789\n"));
        assert_eq!(added.status.code(), Some(0), "{added:?}");
    }
    home
}

fn server() -> ProviderServer {
    ProviderServer::start(|request| match request.header("authorization") {
        Some("Bearer sk-rich-0123456789") => Reply::json(200, TWO),
        _ => Reply::json(401, r#"{"error":{"message":"no"}}"#),
    })
    .unwrap()
}

/// The exit code, the table and the answer.
fn balance(home: &Home, threshold: &str, what: &str) -> (i32, String, Value) {
    let edit = ["edit", "deepseek/rich", "--low-balance", threshold];
    let edited = home.akm(&edit, "");
    assert_eq!(edited.status.code(), Some(0), "{edited:?}");
    let shown = home.akm(&["balance", what], "");
    let answer = home.akm(&["balance", what, "--json"], "");
    assert_eq!(shown.status.code(), answer.status.code());
    (
        shown.status.code().unwrap(),
        stdout(&shown),
        serde_json::from_str(&stdout(&answer)).unwrap(),
    )
}

/// Which of the two balances are marked, in the table and in the answer.
fn marked(shown: &str, answer: &Value) -> ([bool; 2], [Value; 2]) {
    let line = |unit: &str| {
        let mut lines = shown.lines();
        lines
            .find(|line| line.contains(unit))
            .unwrap()
            .contains("below")
    };
    let results = answer["results"].as_array().unwrap();
    let rich = |result: &&Value| result["name"] == "deepseek/rich";
    let balances = &results.iter().find(rich).unwrap()["balances"];
    (
        [line("3.00"), line("100.00")],
        [balances[0]["low"].clone(), balances[1]["low"].clone()],
    )
}

#[test]
fn a_balance_is_low_for_its_own_currency_and_a_number_alone_for_all() {
    let server = server();
    let home = home(&server);
    let none = Value::Null;
    let (code, shown, answer) = balance(&home, "5 RMB", "deepseek/rich");
    assert_eq!(code, 1, "{shown}");
    assert_eq!(
        marked(&shown, &answer),
        ([true, false], [json!(true), none.clone()]),
        "{shown}"
    );
    assert!(shown.contains("below 5 CNY"), "{shown}");
    let (code, shown, answer) = balance(&home, "5", "deepseek/rich");
    assert_eq!(code, 0, "dollars pay as well: {shown}");
    assert_eq!(
        marked(&shown, &answer),
        ([false, false], [json!(false), json!(false)])
    );
    let (code, shown, answer) = balance(&home, "200", "deepseek/rich");
    assert_eq!(code, 1, "{shown}");
    assert_eq!(
        marked(&shown, &answer),
        ([true, true], [json!(true), json!(true)])
    );
}

#[test]
fn a_threshold_that_nothing_can_be_held_against_is_said_and_fails() {
    let server = server();
    let home = home(&server);
    for what in ["deepseek/rich", "--all"] {
        let (code, shown, answer) = balance(&home, "5 EUR", what);
        assert_eq!(code, 1, "{shown}");
        let said = "not compared with 5 EUR: nothing is counted in the unit of the threshold";
        assert_eq!(shown.matches(said).count(), 1, "{shown}");
        let text = answer.to_string();
        assert!(
            text.contains(r#""low_unknown":"nothing is counted in the unit of the threshold""#),
            "{text}"
        );
    }
    // The control: without it nothing fails, though a provider refuses to tell.
    let (code, shown, answer) = balance(&home, "", "--all");
    assert_eq!(code, 0, "{shown}");
    assert!(!answer.to_string().contains("low_unknown"), "{answer}");
}

#[test]
fn of_all_keys_only_a_low_one_fails_and_not_one_whose_balance_is_not_told() {
    let server = server();
    let home = home(&server);
    let (code, shown, _) = balance(&home, "2 CNY", "--all");
    assert_eq!(code, 0, "{shown}");
    let refused = shown.lines().find(|line| line.contains("deepseek/refused"));
    assert!(
        refused.unwrap().contains("HTTP 401"),
        "it is shown: {shown}"
    );
    let (code, shown, _) = balance(&home, "4 CNY", "--all");
    assert_eq!(code, 1, "{shown}");
    // Named, it is a failure.
    let named = home.akm(&["balance", "deepseek/refused"], "");
    assert_eq!(named.status.code(), Some(1), "{named:?}");
}
