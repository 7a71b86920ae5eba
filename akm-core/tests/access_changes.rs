//! Who may change what an account keeps, under a policy: the attack is a program that cannot read a key and replaces or
//! removes it, or adds what the next honest program will use. Facts about callers are what a test wants them to be.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::sync::{Arc, Mutex};

use akm_core::audit::Caller;
use akm_core::caller::{Answer, Company, Confirm, Hindrance, Process, Question, Script, Witness};
use akm_core::protocol::{Op, Request};
use akm_core::service::Door;
use akm_core::{Kind, Result};
use serde_json::{Value, json};
use support::{Bench, PASSPHRASE, kind, me};

/// A process of which only the executable differs.
struct Program(&'static str, Company);

impl Process for Program {
    fn program(&self) -> Option<&str> {
        Some(self.0)
    }
    fn known_digest(&self) -> Option<[u8; 32]> {
        self.digest()
    }
    fn digest(&self) -> Option<[u8; 32]> {
        Some([self.0.len() as u8; 32])
    }
    fn script(&self) -> &Script {
        &Script::NotOne
    }
    fn directory(&self) -> Option<&str> {
        Some("/home/me")
    }
    fn company(&self) -> &Company {
        &self.1
    }
    fn hindrance(&self) -> Option<Hindrance> {
        None
    }
    fn is_unchanged(&self) -> bool {
        true
    }
    fn terminal(&self) -> Option<std::path::PathBuf> {
        None
    }
}

fn program(path: &'static str) -> Caller {
    let company = Company {
        complete: true,
        ..Company::default()
    };
    Caller {
        process: Witness(Some(Arc::new(Program(path, company)))),
        ..me()
    }
}

/// A person with one answer, and what they were asked about.
struct Person(Mutex<Answer>, Mutex<Vec<(String, Op)>>);

impl Confirm for Person {
    fn ask(&self, question: &Question<'_>) -> Answer {
        let about = (question.key.to_owned(), question.op);
        self.1.lock().unwrap().push(about);
        *self.0.lock().unwrap()
    }
}

struct Place {
    door: Door,
    person: Arc<Person>,
    _bench: Bench,
}

impl Place {
    /// Two keys and a policy.
    fn new(policy: &str) -> Place {
        let mut bench = Bench::new();
        bench.close();
        let person = Arc::new(Person(Mutex::new(Answer::No), Mutex::default()));
        let place = Place {
            door: bench
                .open()
                .unwrap()
                .with_callers(Arc::clone(&person) as Arc<dyn Confirm>),
            person,
            _bench: bench,
        };
        let owner = json!({"account": "default", "passphrase": PASSPHRASE, "totp": false});
        place.done("account.register", owner);
        for name in ["openai/work", "openai/other"] {
            place.done("key.add", json!({"name": name, "secret": "sk-before"}));
        }
        place.policy(policy);
        place
    }

    fn policy(&self, policy: &str) {
        let request = json!({"policy": policy, "passphrase": PASSPHRASE});
        self.done("policy.set", request);
    }

    fn ask(&self, path: &'static str, op: &str, body: &Value) -> Result<Value> {
        let op = Op::from_name(op).unwrap();
        let request = Request::decode(op, body.to_string().as_bytes()).unwrap();
        let answer = self.door.call(&program(path), request)?;
        Ok(serde_json::from_slice(&answer.to_json().unwrap()).unwrap())
    }

    fn done(&self, op: &str, body: Value) -> Value {
        self.ask("/usr/bin/anything", op, &body).unwrap()
    }

    /// What rests, as a caller sees it that may see everything.
    fn state(&self) -> Value {
        self.policy("open");
        let mut keys = self.done("key.list", json!({}))["keys"].take();
        let keys = keys.as_array_mut().unwrap();
        keys.sort_by_key(|key| key["name"].as_str().unwrap().to_owned());
        let secret = self.done("key.get", json!({"name": "openai/work"}))["secret"].take();
        for key in keys.iter_mut() {
            key["last_used_at"].take();
        }
        let mut own = self.done("provider.list", json!({}));
        let own = own["providers"].take().as_array().unwrap().len();
        let backups = self.done("backup.list", json!({}))["schedule"].take();
        json!({"keys": keys, "secret": secret, "providers": own, "backups": backups})
    }
}

fn provider() -> Value {
    json!({"record": {"id": "mine", "display_name": "Mine", "display_name_zh": "我的", "status": "active", "kind": "local",
        "endpoints": [{"base_url": "http://127.0.0.1:9/v1", "region": "local", "protocol": "openai-chat"}],
        "auth": {"style": "header", "header": "x-api-key"}, "env": {"primary": "MINE_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "{base_url}/models", "proves_key": true, "cost": "none", "verified": false,
            "expects": "/data"},
        "balance": [{"url": "{base_url}/left", "verified": false, "reads": [{"kind": "prepaid", "of": "account",
            "currency": {"is": "USD"}, "scale": -2, "amounts": [{"role": "available", "at": "/cents"}]}]}]}})
}

/// Every request that changes what an account keeps, in an order in which all of them succeed.
fn changes() -> Vec<(&'static str, Value)> {
    vec![
        (
            "key.add",
            json!({"name": "openai/new", "secret": "sk-of-the-attacker"}),
        ),
        (
            "key.update",
            json!({"name": "openai/work", "notes": "mine"}),
        ),
        (
            "key.update",
            json!({"name": "openai/other", "status": "disabled"}),
        ),
        (
            "key.update",
            json!({"name": "openai/other", "new_name": "openai/else"}),
        ),
        (
            "key.rotate",
            json!({"name": "openai/work", "secret": "sk-of-the-attacker"}),
        ),
        (
            "vault.import",
            json!({"keys": [{"name": "openai/brought", "secret": "sk-of-the-attacker"}], "finish": true}),
        ),
        ("provider.add", provider()),
        ("provider.remove", json!({"name": "mine"})),
        ("backup.create", json!({"keep": 1})),
        ("backup.schedule", json!({"daily": true, "keep": 1})),
        ("backup.schedule", json!({"daily": false})),
        ("key.remove", json!({"name": "openai/work"})),
    ]
}

#[test]
fn c15_without_a_grant_nothing_is_changed_under_granted() {
    let place = Place::new("open");
    let before = place.state();
    place.policy("granted");
    for (op, body) in changes() {
        let refused = place.ask("/usr/bin/evil", op, &body).unwrap_err();
        assert_eq!(refused.kind(), Kind::Denied, "{op} {body}");
    }
    // Nor does a page of an import come in that only wants to know what there is.
    let page = json!({"keys": [{"name": "openai/work", "secret": "sk-guess"}]});
    let asked = place.ask("/usr/bin/evil", "vault.import", &page);
    assert_eq!(kind(asked), Kind::Denied);
    // Nor a grant for itself, nor a looser policy.
    let itself = json!({"exe": "/usr/bin/evil", "passphrase": "a guess at it"});
    let asked = place.ask("/usr/bin/evil", "grant.add", &itself);
    assert_eq!(kind(asked), Kind::WrongCredentials);
    let asked = place.ask("/usr/bin/evil", "policy.set", &json!({"policy": "open"}));
    assert_eq!(kind(asked), Kind::Denied);
    assert_eq!(place.state(), before);
    assert!(
        place.person.1.lock().unwrap().is_empty(),
        "nobody was asked"
    );
    // The control: each of them is possible, and seen in what is compared.
    for (op, body) in changes() {
        place.done(op, body);
    }
    let keys = place.done("key.list", json!({}));
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
}

#[test]
fn c15_names_of_keys_are_not_told_without_a_grant() {
    let place = Place::new("granted");
    let grant = json!({"name": "openai/work", "exe": "/usr/bin/app", "passphrase": PASSPHRASE});
    place.done("grant.add", grant);
    let soon =
        json!({"name": "openai/other", "expires_at": "2027-01-16", "passphrase": PASSPHRASE});
    place.done("key.update", soon);
    let told = |path, name: &str| {
        let unknown = json!({"name": "openai/nothing"});
        let hint = place.ask(path, "key.get", &unknown).unwrap_err();
        let events = place.ask(path, "audit.list", &json!({})).unwrap();
        assert!(events["events"].as_array().unwrap().len() > 3, "{events}");
        let notices = place.ask(path, "billing.notices", &json!({})).unwrap();
        let history = place.ask(path, "key.history", &json!({"name": name}));
        let all = format!("{:?} {events} {notices}", hint.hint());
        (all.contains(name), history.is_ok())
    };
    assert_eq!(told("/usr/bin/evil", "openai/work"), (false, false));
    assert_eq!(told("/usr/bin/evil", "openai/other"), (false, false));
    assert_eq!(told("/usr/bin/app", "openai/other"), (false, false));
    // The control.
    assert_eq!(told("/usr/bin/app", "openai/work"), (true, true));
    place.policy("open");
    assert_eq!(told("/usr/bin/evil", "openai/other"), (true, true));
}

#[test]
fn a_grant_lets_its_program_change_its_key_and_one_for_every_key_all() {
    let place = Place::new("granted");
    let grant = |exe: &str, name: Option<&str>, use_only: bool| {
        let mut request = json!({"exe": exe, "use_only": use_only, "passphrase": PASSPHRASE});
        if let Some(name) = name {
            request["name"] = json!(name);
        }
        place.done("grant.add", request);
    };
    grant("/usr/bin/app", Some("openai/work"), false);
    grant("/usr/bin/user", None, true);
    grant("/usr/bin/shell", None, false);
    let rotate = |name: &str| json!({"name": name, "secret": "sk-after"});
    let app = |op, body: Value| place.ask("/usr/bin/app", op, &body);
    assert!(app("key.rotate", rotate("openai/work")).is_ok());
    for refused in [
        app("key.rotate", rotate("openai/other")),
        app("key.remove", json!({"name": "openai/other"})),
        app("key.add", json!({"name": "openai/new", "secret": "sk"})),
        app("provider.add", provider()),
        place.ask("/usr/bin/user", "key.rotate", &rotate("openai/work")),
    ] {
        assert_eq!(kind(refused), Kind::Denied);
    }
    for (op, body) in changes() {
        place.ask("/usr/bin/shell", op, &body).unwrap();
    }
}

#[test]
fn the_passphrase_in_the_request_is_as_good_as_a_grant() {
    let place = Place::new("granted");
    let change = |passphrase: Option<&str>| {
        let mut request = json!({"name": "openai/work", "notes": "noted"});
        if let Some(passphrase) = passphrase {
            request["passphrase"] = json!(passphrase);
        }
        place.ask("/usr/bin/shell", "key.update", &request)
    };
    let refused = change(None).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.field()),
        (Kind::Denied, Some("passphrase"))
    );
    assert_eq!(kind(change(Some("not it"))), Kind::WrongCredentials);
    assert_eq!(change(Some(PASSPHRASE)).unwrap()["key"]["notes"], "noted");
}

#[test]
fn under_ask_a_person_is_asked_about_each_change_and_an_answer_is_good_for_one() {
    let place = Place::new("open");
    let before = place.state();
    place.policy("ask");
    for (op, body) in changes() {
        let refused = place.ask("/usr/bin/evil", op, &body);
        assert_eq!(kind(refused), Kind::Denied, "{op}");
    }
    let asked = std::mem::take(&mut *place.person.1.lock().unwrap());
    let ops: Vec<&str> = asked.iter().map(|(_, op)| op.name()).collect();
    assert_eq!(ops, changes().iter().map(|(op, _)| *op).collect::<Vec<_>>());
    assert_eq!(asked[0].0, "openai/new");
    assert_eq!(asked[4].0, "openai/work");
    assert_eq!(asked[6].0, "", "providers stand beside all keys");
    assert_eq!(place.state(), before);

    // A yes for ten minutes is one for having the key, not for changing it.
    place.policy("ask");
    *place.person.0.lock().unwrap() = Answer::YesFor(std::time::Duration::from_secs(600));
    let get = json!({"name": "openai/work"});
    for _ in 0..2 {
        place.ask("/usr/bin/evil", "key.get", &get).unwrap();
    }
    assert_eq!(place.person.1.lock().unwrap().len(), 1, "kept");
    *place.person.0.lock().unwrap() = Answer::No;
    let rotate = json!({"name": "openai/work", "secret": "sk-of-the-attacker"});
    let refused = place.ask("/usr/bin/evil", "key.rotate", &rotate);
    assert_eq!(kind(refused), Kind::Denied);
    // And the other way round.
    *place.person.0.lock().unwrap() = Answer::YesFor(std::time::Duration::from_secs(600));
    place.ask("/usr/bin/evil", "key.rotate", &rotate).unwrap();
    *place.person.0.lock().unwrap() = Answer::No;
    let again = place.ask("/usr/bin/evil", "key.rotate", &rotate);
    assert_eq!(kind(again), Kind::Denied);
}

#[test]
fn the_list_of_grants_says_which_cover_whoever_asks() {
    let place = Place::new("granted");
    for (exe, name) in [
        ("/usr/bin/app", "openai/work"),
        ("/usr/bin/tool", "openai/other"),
    ] {
        let grant = json!({"name": name, "exe": exe, "passphrase": PASSPHRASE});
        place.done("grant.add", grant);
    }
    let covering = |path| {
        let listed = place.ask(path, "grant.list", &json!({})).unwrap();
        let grants = listed["grants"].as_array().unwrap().clone();
        assert_eq!(grants.len(), 2);
        let mut covering: Vec<String> = Vec::new();
        for grant in grants {
            if grant["covers_caller"].as_bool().unwrap() {
                covering.push(grant["name"].as_str().unwrap().to_owned());
            }
        }
        covering
    };
    assert_eq!(covering("/usr/bin/app"), ["openai/work"]);
    assert!(covering("/usr/bin/evil").is_empty());
    let shown = place.done("policy.show", json!({}));
    assert_eq!(
        (&shown["caller"], &shown["enforced"]),
        (&json!("granted"), &json!(true))
    );
}
