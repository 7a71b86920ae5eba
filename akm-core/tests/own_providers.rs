//! Providers of an account's own, whole: added, asked, removed; and that none of it ever moves a key.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[allow(dead_code, reason = "not every user plays all")]
#[path = "support/provider_server.rs"]
mod provider_server;
mod support;

use akm_core::Kind;
use akm_core::protocol::{
    AuditList, BalanceOutcome, KeyList, KeyShow, Op, Outcome, ProviderAdd, ProviderBalance,
    ProviderList, ProviderRemove, ProviderShow, ProviderTest, Record,
};
use provider_server::{ProviderServer, Received, Reply};
use serde_json::{Value, json};
use support::{Bench, kind, me, new_key};

const KEY: &str = "gw-canary-0123456789-0123456789";

fn record(id: &str, base_url: &str) -> Value {
    json!({"id": id, "display_name": "Mine", "display_name_zh": "我的", "status": "active", "kind": "local",
        "endpoints": [{"base_url": base_url, "region": "local", "protocol": "openai-chat"}],
        "auth": {"style": "header", "header": "x-api-key"}, "env": {"primary": "MINE_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "{base_url}/models", "proves_key": true, "cost": "none", "verified": false,
            "expects": "/data"},
        "balance": [{"url": "{base_url}/left", "verified": false, "reads": [{"kind": "prepaid", "of": "account",
            "currency": {"is": "USD"}, "scale": -2, "amounts": [{"role": "available", "at": "/cents"}]}]}]})
}

fn add(bench: &Bench, record: &Value) -> akm_core::Result<()> {
    let record: Record = record.as_object().unwrap().clone();
    bench.call(ProviderAdd { record }).map(drop)
}

fn remove(bench: &Bench, name: &str) {
    bench.call(ProviderRemove { name: name.into() }).unwrap();
}

fn server() -> (ProviderServer, String) {
    let server = ProviderServer::start(|request: &Received| {
        let key = request.header("x-api-key");
        match (request.path.as_str(), key) {
            ("/v1/models", Some(KEY)) => Reply::json(200, r#"{"data": []}"#),
            ("/v1/left", Some(KEY)) => Reply::json(200, r#"{"cents": 1234}"#),
            _ => Reply::json(401, "{}"),
        }
    })
    .unwrap();
    let base_url = format!("http://127.0.0.1:{}/v1", server.port());
    (server, base_url)
}

fn test(bench: &Bench, name: &str) -> akm_core::protocol::TestResult {
    bench.call(ProviderTest { name: name.into() }).unwrap()
}

#[test]
fn a_provider_of_ones_own_works_like_any_other() {
    let mut bench = Bench::initialized();
    let (server, base_url) = server();
    add(&bench, &record("mine", &base_url)).unwrap();
    let key = bench.add("mine/work", KEY).unwrap();
    assert_eq!(key.env.as_deref(), Some("MINE_API_KEY"));
    assert_eq!(key.header.as_deref(), Some("x-api-key"));
    assert_eq!(key.hosts, [base_url.trim_end_matches("/v1")]);
    let tested = test(&bench, "mine/work");
    assert_eq!(tested.outcome, Outcome::Valid, "{}", tested.detail);
    let left = bench
        .call(ProviderBalance {
            name: "mine/work".into(),
        })
        .unwrap();
    assert_eq!(left.outcome, BalanceOutcome::Known, "{}", left.detail);
    assert_eq!(left.balances[0].available.as_deref(), Some("12.34"));
    assert_eq!(server.received().len(), 2);
    bench.add("mine/wrong", "gw-wrong-0123456789").unwrap();
    assert_eq!(test(&bench, "mine/wrong").outcome, Outcome::Invalid);

    // It is listed for whoever has the account open, and survives the agent.
    let own = |bench: &Bench| -> Vec<String> {
        let list = bench.call(ProviderList {}).unwrap().providers;
        let own = list.into_iter().filter(|provider| provider.own);
        own.map(|provider| provider.id).collect()
    };
    assert_eq!(own(&bench), ["mine"]);
    let keys = bench.call(KeyList::default()).unwrap().keys;
    assert!(
        keys.iter()
            .all(|key| key.env.as_deref() == Some("MINE_API_KEY"))
    );
    bench.reopen();
    assert!(own(&bench).is_empty(), "locked");
    bench.unlock().unwrap();
    assert_eq!(own(&bench), ["mine"]);
    assert_eq!(test(&bench, "mine/work").outcome, Outcome::Valid);

    // Another account knows nothing of it.
    bench.lock();
    bench.register("other", false);
    assert!(own(&bench).is_empty());
    let show = ProviderShow {
        name: "mine".into(),
    };
    assert_eq!(kind(bench.call(show)), Kind::NotFound);
    let there = bench.raw(Op::ProviderShow, r#"{"name":"claude"}"#).unwrap();
    assert_eq!(
        (&there["name"], &there["own"]),
        (&json!("anthropic"), &json!(false))
    );
}

#[test]
fn changing_or_removing_a_provider_never_repoints_a_key() {
    let bench = Bench::initialized();
    let (home, base_url) = server();
    let (thief, elsewhere) = server();
    add(&bench, &record("mine", &base_url)).unwrap();
    bench.add("mine/work", KEY).unwrap();
    let sealed = |bench: &Bench| {
        let shown = bench.call(KeyShow {
            name: "mine/work".into(),
        });
        let key = shown.unwrap().key;
        (key.hosts, key.header)
    };
    let before = sealed(&bench);

    // Removed: nothing is known, nothing is sent.
    remove(&bench, "mine");
    assert_eq!(test(&bench, "mine/work").outcome, Outcome::Unverifiable);
    assert_eq!(sealed(&bench), before);

    // Added again for another host, for another header, and with the test or the balance alone moved.
    let moved = |change: &dyn Fn(&mut Value)| {
        let mut record = record("mine", &base_url);
        change(&mut record);
        record
    };
    for record in [
        record("mine", &elsewhere),
        moved(&|record| record["auth"] = json!({"style": "bearer"})),
        moved(&|record| record["test"]["url"] = json!(format!("{elsewhere}/models"))),
        moved(&|record| record["endpoints"][0]["base_url"] = json!(elsewhere)),
    ] {
        add(&bench, &record).unwrap();
        let tested = test(&bench, "mine/work");
        assert_eq!(tested.outcome, Outcome::Unverifiable, "{record}");
        assert!(tested.detail.contains("not sealed"), "{}", tested.detail);
        assert_eq!(sealed(&bench), before, "{record}");
        remove(&bench, "mine");
    }
    add(
        &bench,
        &moved(&|record| record["balance"][0]["url"] = json!(format!("{elsewhere}/left"))),
    )
    .unwrap();
    let left = bench
        .call(ProviderBalance {
            name: "mine/work".into(),
        })
        .unwrap();
    assert_eq!(left.outcome, BalanceOutcome::Unsupported);
    // A rotation keeps the destinations as well.
    bench
        .raw(
            Op::KeyRotate,
            &json!({"name": "mine/work", "secret": KEY}).to_string(),
        )
        .unwrap();
    assert_eq!(sealed(&bench), before);
    assert_eq!((home.connections(), thief.connections()), (0, 0));
    remove(&bench, "mine");

    // The control: as it was, the key works; a new key goes where the record says now.
    add(&bench, &record("mine", &base_url)).unwrap();
    assert_eq!(test(&bench, "mine/work").outcome, Outcome::Valid);
    remove(&bench, "mine");
    add(&bench, &record("mine", &elsewhere)).unwrap();
    bench.add("mine/new", KEY).unwrap();
    assert_eq!(test(&bench, "mine/new").outcome, Outcome::Valid);
    assert_eq!((home.received().len(), thief.received().len()), (1, 1));
}

#[test]
fn what_is_no_record_or_takes_a_name_is_refused() {
    let bench = Bench::initialized();
    let gateway = "https://gw.example.com/v1";
    for name in ["openai", "anthropic", "claude", "kimi", "azure"] {
        let error = add(&bench, &record(name, gateway)).unwrap_err();
        assert_eq!(error.field(), Some("record"), "{name}");
    }
    assert_eq!(
        kind(bench.raw(Op::ProviderAdd, r#"{"record": [1]}"#)),
        Kind::InvalidInput
    );
    add(&bench, &record("mine", gateway)).unwrap();
    let again = add(&bench, &record("mine", "https://other.example.com")).unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    let remove = |name: &str| kind(bench.call(ProviderRemove { name: name.into() }));
    assert_eq!(remove("openai"), Kind::Denied);
    assert_eq!(remove("gemini"), Kind::Denied);
    assert_eq!(remove("nobody"), Kind::NotFound);
    assert_eq!(remove("Not A Name"), Kind::InvalidInput);
    for count in 1..256 {
        add(&bench, &record(&format!("mine-{count}"), gateway)).unwrap();
    }
    let one_more = add(&bench, &record("one-more", gateway)).unwrap_err();
    assert_eq!(one_more.kind(), Kind::LimitReached);
    // Added and removed are events; looking is none.
    let mut after = None;
    let mut actions = Vec::new();
    loop {
        let page = bench
            .call(AuditList {
                after,
                ..AuditList::default()
            })
            .unwrap();
        actions.extend(page.events.iter().map(|event| event.action.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let count = |action: &str| actions.iter().filter(|one| *one == action).count();
    assert_eq!(count("provider.add"), 256 + 5 + 1 + 1);
    assert_eq!(count("provider.remove"), 4);
    assert_eq!(count("provider.show"), 0);
}

#[test]
fn a_row_of_another_place_does_not_open() {
    let bench = Bench::initialized();
    add(&bench, &record("mine", "https://gw.example.com/v1")).unwrap();
    add(&bench, &record("yours", "https://evil.example.com/v1")).unwrap();
    let hand = bench.hand();
    // The record of one under the tag of the other, its id with it.
    hand.execute_batch(
        "CREATE TEMP TABLE both AS SELECT rowid AS place, tag, id, record FROM providers;
         UPDATE providers SET (id, record) = (SELECT id, record FROM both WHERE both.tag <> providers.tag);",
    )
    .unwrap();
    drop(hand);
    let show = |name: &str| kind(bench.call(ProviderShow { name: name.into() }));
    assert_eq!(show("mine"), Kind::Corrupt);
    assert_eq!(show("yours"), Kind::Corrupt);
    assert_eq!(kind(bench.call(new_key("mine/x", KEY))), Kind::Corrupt);
    assert_eq!(kind(bench.call_as(me(), ProviderList {})), Kind::Corrupt);
}

#[test]
fn a_record_that_does_not_open_keeps_no_key_from_whoever_passes_over_it() {
    let bench = Bench::initialized();
    add(&bench, &record("mine", "http://127.0.0.1:9/v1")).unwrap();
    bench.call(new_key("mine/a", KEY)).unwrap();
    let list = |skip: bool| {
        bench.call(KeyList {
            skip_unreadable: skip.then_some(true),
            ..KeyList::default()
        })
    };
    let variable = |page: akm_core::protocol::KeyPage| page.keys[0].env.clone();
    assert_eq!(
        variable(list(true).unwrap()).as_deref(),
        Some("MINE_API_KEY")
    );
    let hand = bench.hand();
    hand.execute("UPDATE providers SET record = zeroblob(length(record))", [])
        .unwrap();
    assert_eq!(kind(list(false)), Kind::UnsupportedVersion, "control");
    let page = list(true).unwrap();
    assert!(page.unreadable.is_empty(), "the key itself opens");
    assert_eq!(page.keys[0].name, "mine/a");
}
