//! Administering a server: tiers, redeem codes, providers for everybody, requests in a minute.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[allow(dead_code, reason = "not every user plays all")]
#[path = "support/provider_server.rs"]
mod provider_server;
#[path = "support/selling.rs"]
mod shop;
mod support;

use akm_core::audit::Caller;
use akm_core::protocol::{
    AdminCodeRevoke, AdminCodes, AdminGrant, AdminProviderPut, AdminProviderRemove, AdminRemove,
    AdminStatus, AdminTier, Authority, BillingCodesCreate, BillingRedeem, BillingTiers, CodeState,
    KeyGet, KeyList, Offered, Op, Outcome, ProviderAdd, ProviderList, ProviderShow, ProviderTest,
    Record, Request, Role, offered,
};
use akm_core::service::Hosting;
use akm_core::{Kind, Result, Secret};
use provider_server::{ProviderServer, Received, Reply};
use serde_json::{Value, json};
use shop::{hosted, selling, settings, sign_in, standing};
use support::{Bench, kind, me, new_key};

const KEY: &str = "gw-canary-0123456789-0123456789";

fn add(bench: &Bench, caller: &Caller, name: &str) -> Result<()> {
    bench.call_as(caller.clone(), new_key(name, KEY)).map(drop)
}

fn administrator(bench: &Bench, name: &str) -> Caller {
    let caller = hosted(bench, name);
    let account = name.to_owned();
    let role = Role::Admin;
    bench.call(AdminGrant { account, role }).unwrap();
    caller
}

fn tier(id: &str, price_fen: i64, keys: Option<u64>) -> AdminTier {
    AdminTier {
        tier: id.to_owned(),
        name: id.to_owned(),
        name_zh: id.to_owned(),
        price_fen,
        keys,
        providers: None,
        requests_per_minute: None,
    }
}

fn free(keys: u64) -> AdminTier {
    AdminTier {
        providers: Some(1),
        requests_per_minute: Some(100),
        ..tier("free", 0, Some(keys))
    }
}

#[test]
fn an_administrator_changes_tiers_and_they_hold_at_once_and_after_a_restart() {
    let mut bench = selling(settings());
    let root = administrator(&bench, "root");
    let alice = hosted(&bench, "alice");
    assert_eq!(kind(bench.call_as(alice.clone(), free(99))), Kind::Denied);
    bench.call_as(root.clone(), free(2)).unwrap();
    add(&bench, &alice, "openai/one").unwrap();
    add(&bench, &alice, "openai/two").unwrap();
    assert_eq!(
        kind(add(&bench, &alice, "openai/three")),
        Kind::LimitReached
    );
    bench.call_as(root.clone(), free(3)).unwrap();
    add(&bench, &alice, "openai/three").unwrap();
    // Another one between two that are there.
    let plus = AdminTier {
        providers: Some(20),
        requests_per_minute: Some(2000),
        ..tier("plus", 900, Some(100))
    };
    let tiers = bench.call_as(root.clone(), plus).unwrap().tiers;
    let ids: Vec<&str> = tiers.iter().map(|tier| tier.tier.as_str()).collect();
    assert_eq!(ids, ["free", "basic", "plus", "pro"]);
    // What contradicts itself, or what is sold, is refused and changes nothing.
    for (bad, refused) in [
        (tier("plus", 0, Some(100)), Kind::InvalidInput),
        (tier("plus", 900, Some(1)), Kind::InvalidInput),
        (tier("No Name", 2000, None), Kind::InvalidInput),
        (tier("local", 2000, None), Kind::InvalidInput),
        (tier("minus", -1, Some(0)), Kind::InvalidInput),
        (
            AdminTier {
                name: "a\u{7}".into(),
                ..tier("plus", 900, Some(100))
            },
            Kind::InvalidInput,
        ),
    ] {
        assert_eq!(kind(bench.call_as(root.clone(), bad)), refused);
    }
    bench.reopen();
    let tiers = bench.call(BillingTiers {}).unwrap().tiers;
    assert_eq!((tiers.len(), tiers[0].keys), (4, Some(3)));
    let alice = sign_in(&bench, "alice");
    assert_eq!(standing(&bench, &alice).most_keys, Some(3));
    assert_eq!(kind(add(&bench, &alice, "openai/four")), Kind::LimitReached);
    // A table that somebody wrote into the file counts for nothing: the configuration's holds.
    bench
        .hand()
        .execute(
            "UPDATE documents SET body = CAST(replace(CAST(body AS TEXT), '\"keys\":3', '\"keys\":9') AS BLOB)",
            [],
        )
        .unwrap();
    bench.reopen();
    let tiers = bench.call(BillingTiers {}).unwrap().tiers;
    assert_eq!((tiers.len(), tiers[0].keys), (3, Some(10)));
    // Where the configuration says them, nobody changes them here.
    let own = selling(akm_core::billing::Settings {
        own_tiers: true,
        ..settings()
    });
    assert_eq!(kind(own.call(free(2))), Kind::Conflict);
}

fn make(count: u32) -> BillingCodesCreate {
    BillingCodesCreate {
        tier: "basic".to_owned(),
        months: 1,
        count: Some(count),
        expires_at: None,
    }
}

fn redeem(code: &Secret) -> BillingRedeem {
    BillingRedeem {
        code: Secret::new(code.expose().to_owned()),
    }
}

#[test]
fn codes_are_listed_without_themselves_and_what_is_taken_back_redeems_nothing() {
    let bench = selling(settings());
    let root = administrator(&bench, "root");
    let alice = hosted(&bench, "alice");
    let codes = bench.call_as(root.clone(), make(3)).unwrap().codes;
    let list = |after: Option<String>, limit: u32| {
        bench
            .call_as(
                root.clone(),
                AdminCodes {
                    limit: Some(limit),
                    after,
                },
            )
            .unwrap()
    };
    let all = list(None, 100).codes;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|code| code.state == CodeState::Open));
    let text = serde_json::to_string(&all).unwrap();
    assert!(codes.iter().all(|code| !text.contains(code.expose())));
    // A page at a time it is the same list.
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = list(after.take(), 1);
        paged.extend(page.codes.into_iter().map(|code| code.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let ids: Vec<String> = all.iter().map(|code| code.id.clone()).collect();
    assert_eq!(paged, ids);
    // The id is no code, and the code is no id.
    let by_id = Secret::new(ids[0].clone());
    assert_eq!(
        kind(bench.call_as(alice.clone(), redeem(&by_id))),
        Kind::NotFound
    );
    let revoke = |id: &str| {
        let id = id.to_owned();
        bench.call_as(root.clone(), AdminCodeRevoke { id })
    };
    assert_eq!(kind(revoke(codes[0].expose())), Kind::NotFound);
    bench.call_as(alice.clone(), redeem(&codes[0])).unwrap();
    let used: Vec<String> = list(None, 100)
        .codes
        .into_iter()
        .filter(|code| code.state == CodeState::Used)
        .map(|code| code.id)
        .collect();
    assert_eq!(used.len(), 1);
    assert_eq!(kind(revoke(&used[0])), Kind::Conflict);
    for id in ids.iter().filter(|id| **id != used[0]) {
        revoke(id).unwrap();
        assert_eq!(kind(revoke(id)), Kind::NotFound, "once");
    }
    for code in &codes[1..] {
        assert_eq!(
            kind(bench.call_as(alice.clone(), redeem(code))),
            Kind::NotFound
        );
    }
    // A customer neither lists nor revokes.
    assert_eq!(
        kind(bench.call_as(alice.clone(), AdminCodes::default())),
        Kind::Denied
    );
    let id = used[0].clone();
    assert_eq!(
        kind(bench.call_as(alice, AdminCodeRevoke { id })),
        Kind::Denied
    );
}

#[test]
fn of_a_redemption_and_a_revocation_at_once_exactly_one_succeeds() {
    let bench = selling(settings());
    let alice = hosted(&bench, "alice");
    for _ in 0..20 {
        let code = bench.call(make(1)).unwrap().codes.remove(0);
        let page = bench.call(AdminCodes::default()).unwrap().codes;
        let open = page.into_iter().find(|code| code.state == CodeState::Open);
        let id = open.unwrap().id;
        let (redeemed, revoked) = std::thread::scope(|scope| {
            let one = scope.spawn(|| bench.call_as(alice.clone(), redeem(&code)).is_ok());
            let other = scope.spawn(|| bench.call(AdminCodeRevoke { id }).is_ok());
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_ne!(redeemed, revoked);
    }
}

fn record(id: &str, base_url: &str) -> Record {
    let record = json!({"id": id, "display_name": "Ours", "display_name_zh": "我们的", "status": "active", "kind": "local",
        "endpoints": [{"base_url": base_url, "region": "local", "protocol": "openai-chat"}],
        "auth": {"style": "header", "header": "x-api-key"}, "env": {"primary": "OURS_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "{base_url}/models", "proves_key": true, "cost": "none", "verified": false,
            "expects": "/data"}});
    record.as_object().unwrap().clone()
}

fn server() -> (ProviderServer, String) {
    let server = ProviderServer::start(|request: &Received| {
        match request.header("x-api-key") == Some(KEY) {
            true => Reply::json(200, r#"{"data": []}"#),
            false => Reply::json(401, "{}"),
        }
    })
    .unwrap();
    let base_url = format!("http://127.0.0.1:{}/v1", server.port());
    (server, base_url)
}

fn test(bench: &Bench, name: &str) -> Outcome {
    let name = name.to_owned();
    bench.call(ProviderTest { name }).unwrap().outcome
}

#[test]
fn e07_an_administrator_who_points_a_provider_elsewhere_gets_no_key_that_exists() {
    let bench = selling(settings());
    let (home, base_url) = server();
    let (thief, elsewhere) = server();
    let put = |url: &str| {
        let record = record("ours", url);
        bench.call(AdminProviderPut { record }).map(drop)
    };
    put(&base_url).unwrap();
    bench.add("ours/before", KEY).unwrap();
    assert_eq!(test(&bench, "ours/before"), Outcome::Valid);
    put(&elsewhere).unwrap();
    assert_ne!(test(&bench, "ours/before"), Outcome::Valid);
    assert_eq!(thief.received().len(), 0, "the key was offered elsewhere");
    // Nor where it is gone altogether, or there again.
    let name = "ours".to_owned();
    bench.call(AdminProviderRemove { name }).unwrap();
    test(&bench, "ours/before");
    put(&elsewhere).unwrap();
    test(&bench, "ours/before");
    assert_eq!(thief.received().len(), 0);
    // Control: a key that is added now, for the hosts as they are now, goes there.
    bench.add("ours/after", KEY).unwrap();
    assert_eq!(test(&bench, "ours/after"), Outcome::Valid);
    assert_eq!(thief.received().len(), 1);
    put(&base_url).unwrap();
    assert_eq!(test(&bench, "ours/before"), Outcome::Valid);
    assert_eq!(home.received().len(), 2);
    // The rules for addresses hold for administrators.
    for address in [
        "http://gw.example.com/v1",
        "http://localhost:1/v1",
        "https://10.0.0.1/v1",
        "https://169.254.169.254/v1",
        "file:///etc/passwd",
    ] {
        let put = put(address);
        // An address that is no public one may stand in a record and is refused where a request would go there.
        if put.is_ok() {
            assert!(address.starts_with("https://1"), "{address} was taken");
            bench.add("ours/inner", KEY).unwrap();
            assert_eq!(
                test(&bench, "ours/inner"),
                Outcome::Unreachable,
                "{address}"
            );
            let name = "ours/inner".to_owned();
            bench.call(akm_core::protocol::KeyRemove { name }).unwrap();
        }
    }
}

#[test]
fn an_agent_that_serves_nobody_ends_no_account_and_changes_no_provider_of_others() {
    let mut bench = Bench::initialized();
    bench.add("ours/before", KEY).unwrap();
    let ask = |bench: &Bench| {
        let account = "default".to_owned();
        [
            bench
                .call(AdminProviderPut {
                    record: record("ours", "https://gw.example.com/v1"),
                })
                .map(drop),
            bench
                .call(AdminProviderRemove {
                    name: "ours".to_owned(),
                })
                .map(drop),
            bench
                .call(AdminRemove {
                    account,
                    passphrase: None,
                })
                .map(drop),
        ]
    };
    for locked in [false, true] {
        if locked {
            bench.reopen();
        }
        for answer in ask(&bench) {
            assert_eq!(kind(answer), Kind::Unavailable);
        }
    }
    bench.unlock().unwrap();
    assert_eq!(bench.call(KeyList::default()).unwrap().keys.len(), 1);
    // Control: the same of the owner of a server.
    bench.serve(Hosting::default());
    for answer in ask(&bench) {
        answer.unwrap();
    }
    assert_eq!(kind(bench.unlock()), Kind::WrongCredentials);
}

#[test]
fn providers_for_everybody_are_everybodys_and_never_come_before_ones_own() {
    let mut bench = selling(settings());
    let root = administrator(&bench, "root");
    let alice = hosted(&bench, "alice");
    let url = |host: &str| format!("https://{host}.example.com/v1");
    let put = |caller: &Caller, id: &str, host: &str| {
        let record = record(id, &url(host));
        bench.call_as(caller.clone(), AdminProviderPut { record })
    };
    assert_eq!(kind(put(&alice, "ours", "mine")), Kind::Denied);
    put(&root, "ours", "gw").unwrap();
    let shared = |bench: &Bench, caller: &Caller| -> Vec<(String, bool, bool)> {
        let list = bench.call_as(caller.clone(), ProviderList {}).unwrap();
        list.providers
            .into_iter()
            .filter(|known| known.shared || known.own)
            .map(|known| (known.id, known.own, known.shared))
            .collect()
    };
    for caller in [&root, &alice, &me()] {
        let listed = shared(&bench, caller);
        assert_eq!(listed, [("ours".to_owned(), false, true)]);
    }
    let key = bench
        .call_as(alice.clone(), new_key("ours/work", KEY))
        .unwrap()
        .key;
    assert_eq!(key.hosts, ["https://gw.example.com:443"]);
    assert_eq!(key.env.as_deref(), Some("OURS_API_KEY"));
    // One of her own of that name is hers, before and after the administrator changes theirs.
    let own = ProviderAdd {
        record: record("ours", &url("hers")),
    };
    bench.call_as(alice.clone(), own).unwrap();
    put(&root, "ours", "changed").unwrap();
    let name = "ours".to_owned();
    let hers = bench
        .call_as(alice.clone(), ProviderShow { name: name.clone() })
        .unwrap();
    assert!(hers.own);
    let key = bench
        .call_as(alice.clone(), new_key("ours/own", KEY))
        .unwrap()
        .key;
    assert_eq!(key.hosts, ["https://hers.example.com:443"]);
    assert_eq!(shared(&bench, &alice), [(name, true, false)]);
    // A built-in name is nobody's to take.
    assert_eq!(kind(put(&root, "openai", "gw")), Kind::InvalidInput);
    // What somebody wrote into the file is refused, not used.
    bench
        .hand()
        .execute(
            "UPDATE documents SET body = CAST(replace(CAST(body AS TEXT), 'changed', 'thieves') AS BLOB)",
            [],
        )
        .unwrap();
    bench.reopen();
    let alice = sign_in(&bench, "alice");
    assert_eq!(kind(bench.call_as(alice, ProviderList {})), Kind::Corrupt);
    let root = sign_in(&bench, "root");
    let name = "ours".to_owned();
    bench.call_as(root, AdminProviderRemove { name }).unwrap();
}

/// A request of every operation that is offered to a session, as small as it gets.
fn smallest(op: Op) -> Option<Request> {
    let body = [
        json!({}),
        json!({"name": "openai/one"}),
        json!({"passphrase": "x"}),
        json!({"code": "x"}),
        json!({"tier": "basic"}),
        json!({"name": "openai/one", "secret": "x"}),
        json!({"passphrase": "x", "new_passphrase": "y"}),
        json!({"record": {}}),
        json!({"account": "x"}),
        json!({"id": "x"}),
        json!({"tier": "basic", "months": 1}),
        json!({"provider": "x", "number": "x", "resolution": "grant"}),
        json!({"tier": "x", "name": "x", "name_zh": "x", "price_fen": 1}),
        json!({"import": "x", "finish": true}),
    ];
    body.iter()
        .find_map(|body: &Value| Request::decode(op, body.to_string().as_bytes()).ok())
}

#[test]
fn every_operation_of_an_account_counts_once_against_the_requests_of_its_tier() {
    let mut few = settings();
    few.tiers[0].requests_per_minute = Some(3);
    let bench = selling(few);
    let root = administrator(&bench, "root");
    add(&bench, &root, "openai/one").unwrap();
    let mut asked = 0;
    for op in Op::ALL.iter().filter(|op| {
        op.authority() != Authority::Anyone
            && matches!(offered(**op), Offered::Session | Offered::Entering)
    }) {
        // A minute of its own; its last request is the one that is too many.
        bench.clock.advance(std::time::Duration::from_secs(60));
        for _ in 0..3 {
            let name = "openai/one".to_owned();
            let get = KeyGet {
                name,
                version: None,
            };
            bench.call_as(root.clone(), get).unwrap();
        }
        let request = smallest(*op).unwrap_or_else(|| panic!("no request of {}", op.name()));
        let answer = match bench.service().try_call(&root, request) {
            Ok(answer) => answer,
            Err(request) => bench.service().call(&root, request),
        };
        assert_eq!(kind(answer), Kind::RateLimited, "{}", op.name());
        asked += 1;
    }
    assert!(asked > 35, "{asked}");
    // The owner on the host has no tier, and what needs no session is not counted.
    for _ in 0..10 {
        bench.call(AdminStatus {}).unwrap();
        bench.call_as(root.clone(), BillingTiers {}).unwrap();
    }
}
