//! What is made of the balances that providers answer, over real HTTP, for every provider that has one; and
//! that every rule of the catalogue about them matters.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/balance_fixtures.rs"]
mod balance_fixtures;
#[path = "support/provider_server.rs"]
mod provider_server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use akm_core::Secret;
use akm_core::provider::{
    BalanceOf, BalanceReport, BaseUrl, Catalogue, Destinations, Outbound, balance,
};
use balance_fixtures::Fixture;
use provider_server::{Manner, ProviderServer, Received, Reply};
use serde_json::{Value, json};

const KEY: &str = "sk-canary-0123456789";

/// The catalogue as it is committed.
fn committed() -> Value {
    serde_json::from_str(include_str!("../catalog/providers.json")).unwrap()
}

fn records_with_balance() -> Vec<Value> {
    let catalogue = committed();
    let records = catalogue["providers"].as_array().unwrap();
    let has = |record: &&Value| record.get("balance").is_some();
    records.iter().filter(has).cloned().collect()
}

type Answers = BTreeMap<String, (u16, String)>;

/// Servers that stand for hosts, each with the answers of the moment.
#[derive(Default)]
struct Hosts {
    servers: BTreeMap<String, (ProviderServer, Arc<Mutex<Answers>>)>,
}

impl Hosts {
    /// The address that stands for a host.
    fn origin(&mut self, host: &str) -> String {
        let (server, _) = self.servers.entry(host.to_owned()).or_insert_with(|| {
            let answers: Arc<Mutex<Answers>> = Arc::default();
            let now = answers.clone();
            let play = move |request: &Received| {
                assert_eq!(request.method, "GET");
                match now.lock().unwrap().get(&request.path) {
                    Some((status, body)) => Reply::json(*status, body),
                    None => Reply::json(404, r#"{"error":"not found"}"#),
                }
            };
            (ProviderServer::start(play).unwrap(), answers)
        });
        format!("http://127.0.0.1:{}", server.port())
    }

    fn play(&mut self, fixture: &Fixture) {
        for (_, answers) in self.servers.values() {
            answers.lock().unwrap().clear();
        }
        for (host, path, status, body) in fixture.exchanges {
            self.origin(host);
            let (_, answers) = &self.servers[*host];
            let answer = (*status, (*body).to_owned());
            answers.lock().unwrap().insert((*path).to_owned(), answer);
        }
    }

    /// An address with its host replaced by the server that stands for it.
    fn here(&mut self, url: &str) -> String {
        let Some(rest) = url.strip_prefix("https://").or(url.strip_prefix("http://")) else {
            return url.to_owned();
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.contains('{') {
            return url.to_owned();
        }
        format!("{}{path}", self.origin(host))
    }

    /// A record with every host replaced.
    fn record_here(&mut self, record: &Value) -> Value {
        fn walk(hosts: &mut Hosts, value: &mut Value) {
            match value {
                Value::String(text) => *text = hosts.here(text),
                Value::Array(list) => list.iter_mut().for_each(|value| walk(hosts, value)),
                Value::Object(fields) => fields.values_mut().for_each(|value| walk(hosts, value)),
                _ => {}
            }
        }
        let mut record = record.clone();
        let fields = record.as_object_mut().unwrap();
        fields
            .retain(|field, _| !field.ends_with("_url") && field != "sources" && field != "notes");
        for field in ["endpoints", "test", "models_list", "balance"] {
            if let Some(value) = fields.get_mut(field) {
                walk(self, value);
            }
        }
        record
    }
}

/// The report as it stands on the wire.
type Seen = (String, Value, String);

/// What is made of a fixture by a record; the error is that of the catalogue.
fn ask(hosts: &mut Hosts, record: &Value, fixture: &Fixture) -> Result<Seen, String> {
    hosts.play(fixture);
    let mut catalogue = committed();
    catalogue["providers"] = json!([hosts.record_here(record)]);
    let catalogue =
        Catalogue::from_json(&catalogue.to_string()).map_err(|problem| problem.to_string())?;
    let provider = catalogue.provider(fixture.provider).unwrap();
    let base_url = fixture.base_url.map(|url| hosts.here(url));
    let read = base_url.as_deref().map(|url| BaseUrl::read(url).unwrap());
    let report = balance(
        &Outbound::default(),
        &BalanceOf {
            provider: Some(provider),
            destinations: &Destinations::of(Some(provider), read.as_ref()),
            base_url: base_url.as_deref(),
            team: fixture.team,
            secret: &Secret::new(KEY.to_owned()),
            now: "2026-11-22T19:30:15.678Z".parse().unwrap(),
        },
    );
    assert!(!format!("{report:?}").contains(KEY));
    let mut balances = serde_json::to_value(&report.balances).unwrap();
    for balance in balances.as_array_mut().unwrap() {
        let fields = balance.as_object_mut().unwrap();
        fields.retain(|field, value| field != "unlimited" || *value == json!(true));
    }
    Ok((report.outcome.token().to_owned(), balances, report.detail))
}

#[test]
fn every_provider_with_a_balance_is_read_with_its_currency_sign_and_unit() {
    let mut hosts = Hosts::default();
    let records = records_with_balance();
    assert_eq!(records.len(), 15);
    let mut covered = BTreeSet::new();
    for fixture in balance_fixtures::all() {
        let name = format!("{}: {}", fixture.provider, fixture.name);
        let record = records
            .iter()
            .find(|record| record["id"] == fixture.provider)
            .unwrap_or_else(|| panic!("{name}"));
        let (outcome, balances, detail) = ask(&mut hosts, record, &fixture).unwrap();
        assert_eq!(outcome, fixture.outcome, "{name}: {detail}");
        assert_eq!(balances, fixture.balances, "{name}: {detail}");
        assert!(detail.contains(fixture.says), "{name}: {detail}");
        for (host, path, _, _) in fixture.exchanges {
            let (server, _) = &hosts.servers[*host];
            let received = server.received();
            let request = received.iter().rev().find(|request| request.path == *path);
            let request = request.unwrap_or_else(|| panic!("{name}: {path} was not asked for"));
            let (header, value) = fixture.auth;
            let value = value.replace("KEY", KEY);
            assert_eq!(request.header(header), Some(value.as_str()), "{name}");
            assert!(!request.path.contains(KEY) && request.body.is_empty());
        }
        if outcome == "known" {
            covered.insert(fixture.provider);
        }
    }
    let ids: BTreeSet<&str> = records.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(covered, ids, "every one is read in some fixture");
}

/// Every way to change one rule of a record: its place, and the record with the change.
fn mutations(record: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, place: &str, out: &mut Vec<(String, Value)>) {
        let at = |field: &str| format!("{place}/{field}");
        match value {
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    walk(value, &format!("{place}/{index}"), out);
                }
            }
            Value::Object(fields) => {
                for (field, value) in fields {
                    match (field.as_str(), value) {
                        ("note" | "verified", _) => {}
                        ("kind", kind) => {
                            let other = if *kind == json!("quota") {
                                "prepaid"
                            } else {
                                "quota"
                            };
                            out.push((at(field), json!(other)));
                        }
                        ("of", of) => {
                            let other = if *of == json!("plan") { "key" } else { "plan" };
                            out.push((at(field), json!(other)));
                        }
                        ("needs", _) => out.push((at(field), json!("ordinary"))),
                        ("role", role) => {
                            let other = if *role == json!("credit") {
                                "owed"
                            } else {
                                "credit"
                            };
                            out.push((at(field), json!(other)));
                        }
                        ("shape", _) => out.push((at(field), json!("number"))),
                        ("at" | "each" | "url", Value::String(text)) => {
                            out.push((at(field), json!(format!("{text}x"))));
                        }
                        ("unlimited_from", _) => out.push((at(field), json!("100000001"))),
                        ("is" | "cn" | "intl" | "text", Value::String(_)) => {
                            out.push((at(field), json!("XXX")));
                        }
                        (_, Value::Bool(flag)) => out.push((at(field), json!(!flag))),
                        (_, Value::Number(scale)) => {
                            out.push((at(field), json!(scale.as_i64().unwrap() + 1)));
                        }
                        (_, Value::Array(_) | Value::Object(_)) => {
                            walk(value, &at(field), out);
                        }
                        (field, value) => panic!("{place}/{field} is not mutated: {value}"),
                    }
                }
                // What is not said is a rule as well.
                let is_amount = fields.contains_key("role");
                let is_reading = fields.contains_key("amounts");
                if is_amount && !fields.contains_key("negate") {
                    out.push((at("negate"), json!(true)));
                }
                if is_reading && !fields.contains_key("scale") {
                    out.push((at("scale"), json!(-1)));
                }
            }
            _ => {}
        }
    }
    let mut changes = Vec::new();
    walk(&record["balance"], "/balance", &mut changes);
    changes
        .into_iter()
        .map(|(place, new)| {
            let mut mutant = record.clone();
            let (parent, field) = place.rsplit_once('/').unwrap();
            let parent = mutant.pointer_mut(parent).unwrap();
            parent
                .as_object_mut()
                .unwrap()
                .insert(field.to_owned(), new);
            (place, mutant)
        })
        .collect()
}

#[test]
fn every_rule_about_a_balance_matters() {
    let mut hosts = Hosts::default();
    let fixtures = balance_fixtures::all();
    let (mut tried, mut without_effect) = (0, Vec::new());
    for record in records_with_balance() {
        let id = record["id"].as_str().unwrap();
        let fixtures: Vec<&Fixture> = fixtures.iter().filter(|f| f.provider == id).collect();
        let truth: Vec<Seen> = fixtures
            .iter()
            .map(|fixture| ask(&mut hosts, &record, fixture).unwrap())
            .collect();
        for (place, mutant) in mutations(&record) {
            tried += 1;
            let seen = fixtures
                .iter()
                .zip(&truth)
                .any(|(fixture, truth)| ask(&mut hosts, &mutant, fixture).as_ref() != Ok(truth));
            if !seen {
                without_effect.push(format!("{id}{place}"));
            }
        }
    }
    assert!(tried > 150, "{tried}");
    assert_eq!(without_effect, Vec::<String>::new(), "of {tried}");
}

#[test]
fn a_rule_that_the_engine_does_not_know_is_refused_by_record_and_field() {
    let refused = |place: &str, new: Value| {
        let mut catalogue = committed();
        let providers = catalogue["providers"].as_array_mut().unwrap();
        let record = providers.iter_mut().find(|r| r["id"] == "novita").unwrap();
        let (parent, field) = place.rsplit_once('/').unwrap();
        let parent = record.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .insert(field.to_owned(), new);
        Catalogue::from_json(&catalogue.to_string()).unwrap_err()
    };
    for (place, new) in [
        ("/balance/0/factor", json!(0.0001)),
        ("/balance/0/reads/0/scale", json!("0.0001")),
        ("/balance/0/reads/0/scale", json!(0.5)),
        ("/balance/0/reads/0/kind", json!("lottery")),
        ("/balance/0/reads/0/currency", json!({"guess": true})),
        (
            "/balance/0/reads/0/currency",
            json!({"is": "USD", "at": "/x"}),
        ),
        ("/balance/0/reads/0/amounts/0/role", json!("luck")),
        ("/balance/0/reads/0/amounts/0/at", json!("availableBalance")),
        ("/balance/0/reads/0/amounts/0/negate", json!("yes")),
        ("/balance/0/reads/0/amounts/0/round", json!(2)),
        ("/balance/0/method", json!("POST")),
    ] {
        let problem = refused(place, new);
        assert!(problem.field.contains("balance[0]"), "{place}: {problem}");
    }
    for (place, new, field) in [
        (
            "/balance/0/url",
            json!("http://api.novita.ai/x"),
            "balance[0].url",
        ),
        (
            "/balance/0/url",
            json!("https://10.0.0.1/x"),
            "balance[0].url",
        ),
        (
            "/balance/0/url",
            json!("https://{team}.novita.ai/x"),
            "balance[0].url",
        ),
        (
            "/balance/0/url",
            json!("https://api.novita.ai/{base_url}"),
            "balance[0].url",
        ),
        (
            "/balance/0/url",
            json!("https://api.novita.ai/x?key={key}"),
            "balance[0].url",
        ),
        ("/balance/0/reads", json!([]), "balance[0].reads"),
        (
            "/balance/0/reads/0/scale",
            json!(40),
            "balance[0].reads[0].scale",
        ),
        (
            "/balance/0/reads/0/currency",
            json!({"is": "US$"}),
            "balance[0].reads[0].currency",
        ),
        (
            "/balance/0/reads/0/currency",
            json!({"by_region": {"cn": "CNY"}}),
            "balance[0].reads[0].currency",
        ),
        (
            "/balance/0/reads/0/amounts",
            json!([]),
            "balance[0].reads[0].amounts",
        ),
        (
            "/balance/0/reads/0/remaining",
            json!(true),
            "balance[0].reads[0].remaining",
        ),
        (
            "/balance/0/reads/0/may_be_empty",
            json!(true),
            "balance[0].reads[0].may_be_empty",
        ),
        (
            "/balance/0/reads/0/amounts/1/null_is_unlimited",
            json!(true),
            "balance[0].reads[0].amounts",
        ),
    ] {
        let problem = refused(place, new);
        assert_eq!(
            (problem.record.as_str(), problem.field.as_str()),
            ("novita", field)
        );
    }
    assert!(
        Catalogue::from_json(&committed().to_string()).is_ok(),
        "the control"
    );
}

/// What is made of the one answer of a server that is a provider's own address, and how often it was asked.
fn answered(
    provider: &str,
    path: &str,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> (BalanceReport, usize) {
    let server = ProviderServer::start(move |_| reply()).unwrap();
    let base_url = format!("http://127.0.0.1:{}{path}", server.port());
    let provider = Catalogue::builtin().provider(provider);
    let read = BaseUrl::read(&base_url).unwrap();
    let report = balance(
        &Outbound {
            timeout: std::time::Duration::from_secs(5),
            ..Outbound::default()
        },
        &BalanceOf {
            provider,
            destinations: &Destinations::of(provider, Some(&read)),
            base_url: Some(&base_url),
            team: None,
            secret: &Secret::new(KEY.to_owned()),
            now: "2026-11-22T19:30:15Z".parse().unwrap(),
        },
    );
    (report, server.received().len())
}

/// One answer of one host to DeepSeek's question.
fn deepseek_says(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Seen, usize) {
    let (report, asked) = answered("deepseek", "", reply);
    let balances = serde_json::to_value(&report.balances).unwrap();
    let seen = (report.outcome.token().to_owned(), balances, report.detail);
    (seen, asked)
}

#[test]
fn an_answer_that_is_none_is_no_balance() {
    let of = |currency: &str, total: &str| {
        format!(
            r#"{{"balance_infos":[{{"currency":{currency},"total_balance":{total},"granted_balance":"0","topped_up_balance":"0"}}]}}"#
        )
    };
    let good = of(r#""CNY""#, r#""1.50""#);
    let ((outcome, balances, _), _) = deepseek_says(move || Reply::json(200, &good));
    assert_eq!(outcome, "known", "the control");
    assert_eq!(balances[0]["available"], "1.50");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        String::new(),
        "<html>".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"balance_infos":{}}"#.to_owned(),
        r#"{"balance_infos":[1,2]}"#.to_owned(),
        of(r#""CNY""#, "null"),
        of(r#""CNY""#, r#""much""#),
        of(r#""CNY""#, r#""1,50""#),
        of(r#""CNY""#, r#""NaN""#),
        of(r#""CNY""#, "1e999"),
        of(r#""CNY""#, "true"),
        of(r#""CNY""#, &"9".repeat(60)),
        of(&format!("{KEY:?}"), r#""1""#),
        of(r#""\u001b[2J""#, r#""1""#),
        of("7", r#""1""#),
        format!(r#"{{"balance_infos":{deep}}}"#),
        format!(r#"{{"balance_infos":[{}1]}}"#, "1,".repeat(20_000)),
    ] {
        let shown: String = body.chars().take(80).collect();
        let ((outcome, balances, detail), _) = deepseek_says(move || Reply::json(200, &body));
        assert_eq!(outcome, "unreachable", "{shown}: {detail}");
        assert_eq!(balances, json!([]));
        assert!(!detail.contains(KEY));
    }
}

#[test]
fn a_balance_is_asked_for_as_carefully_as_a_test() {
    for (reply, part) in [
        (
            (|| Reply::json(302, "{}").with("location", "http://127.0.0.1:9/x")) as fn() -> Reply,
            "redirect",
        ),
        (|| Reply::json(500, "{}"), "trouble"),
        (|| Reply::json(429, "{}"), "too many"),
        (|| Reply::json(402, "{}"), "not understood"),
        (
            || Reply::json(200, "{}").sent(Manner::Endless),
            "larger than 1 MiB",
        ),
        (|| Reply::json(200, "{}").sent(Manner::Never), "in time"),
        (
            || Reply::json(200, "{}").sent(Manner::NotHttp),
            "not one of HTTP",
        ),
    ] {
        let ((outcome, _, detail), asked) = deepseek_says(reply);
        assert_eq!(outcome, "unreachable", "{detail}");
        assert!(detail.contains(part), "{part}: {detail}");
        assert!(asked <= 1, "{part}: asked once");
    }
    // Sealed for another host: nothing is sent.
    let server = ProviderServer::start(|_| Reply::json(200, "{}")).unwrap();
    let base_url = format!("http://127.0.0.1:{}", server.port());
    let provider = Catalogue::builtin().provider("deepseek");
    let report = balance(
        &Outbound::default(),
        &BalanceOf {
            provider,
            destinations: &Destinations::of(provider, None),
            base_url: Some(&base_url),
            team: None,
            secret: &Secret::new(KEY.to_owned()),
            now: "2026-11-22T19:30:15Z".parse().unwrap(),
        },
    );
    assert!(report.detail.contains("nothing was sent"), "{report:?}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_answer_with_none_of_the_amounts_that_may_be_missing_is_no_balance() {
    let asked = |body| answered("venice", "/api/v1", move || Reply::json(200, body)).0;
    let control = asked(r#"{"balances":{"usd":0}}"#);
    assert_eq!(control.outcome.token(), "known", "{control:?}");
    for none in [
        r#"{"balances":{"usd":null,"diem":null}}"#,
        r#"{"balances":{}}"#,
        "{}",
    ] {
        let report = asked(none);
        assert_eq!(report.outcome.token(), "unreachable", "{none}: {report:?}");
        assert!(report.balances.is_empty());
    }
}
