//! What the last connection test of a key showed: kept, bound to the secret, sealed; and the tests that the agent runs by
//! itself.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "support/provider_server.rs"]
#[allow(dead_code, reason = "what it is sent does not matter here")]
mod provider_server;
mod support;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use akm_core::protocol::{
    AuditList, Key, KeyAdd, KeyList, KeyRemove, KeyRotate, KeyShow, KeyStatus, KeyUpdate, Outcome,
    ProviderTest, VaultRekey,
};
use akm_core::{Kind, Result};
use provider_server::{ProviderServer, Reply};
use support::{Bench, PASSPHRASE, kind, new_key, secret};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A server that answers every request with a status that can be changed.
fn server(status: &Arc<AtomicU16>) -> ProviderServer {
    let status = Arc::clone(status);
    ProviderServer::start(move |_| {
        Reply::json(status.load(Ordering::SeqCst), r#"{"data": [{"id": "m"}]}"#)
    })
    .unwrap()
}

fn add(bench: &Bench, server: &ProviderServer, name: &str) {
    bench
        .call(KeyAdd {
            base_url: Some(format!("http://127.0.0.1:{}/v1", server.port())),
            ..new_key(name, "sk-of-a-test-0123456789")
        })
        .unwrap();
}

fn test(bench: &Bench, name: &str) -> Outcome {
    let result = bench.call(ProviderTest { name: name.into() });
    result.unwrap().outcome
}

fn show(bench: &Bench, name: &str) -> Result<Key> {
    Ok(bench.call(KeyShow { name: name.into() })?.key)
}

fn shown(bench: &Bench, name: &str) -> Option<(Outcome, String)> {
    let test = show(bench, name).unwrap().last_test;
    let listed = bench.call(KeyList::default()).unwrap().keys;
    let listed = listed.into_iter().find(|key| key.name == name).unwrap();
    let pair = |key: Option<akm_core::protocol::LastTest>| key.map(|t| (t.outcome, t.time));
    let test = pair(test);
    assert_eq!(test, pair(listed.last_test), "the list says the same");
    test
}

#[test]
fn the_last_test_is_shown_until_the_secret_is_another() {
    let status = Arc::new(AtomicU16::new(200));
    let server = server(&status);
    let mut bench = Bench::initialized();
    add(&bench, &server, "openai/work");
    add(&bench, &server, "openai/home");
    assert_eq!(shown(&bench, "openai/work"), None);
    assert_eq!(test(&bench, "openai/work"), Outcome::Valid);
    let (outcome, first) = shown(&bench, "openai/work").unwrap();
    assert_eq!(outcome, Outcome::Valid);
    assert_eq!(shown(&bench, "openai/home"), None, "each key has its own");

    bench.clock.advance(DAY);
    status.store(401, Ordering::SeqCst);
    test(&bench, "openai/work");
    let (outcome, second) = shown(&bench, "openai/work").unwrap();
    assert_eq!(outcome, Outcome::Invalid);
    assert!(second > first, "{first} {second}");

    // It outlives a restart and a change of the record.
    bench.reopen();
    bench.unlock().unwrap();
    let changed = KeyUpdate {
        name: "openai/work".into(),
        notes: Some("x".into()),
        ..KeyUpdate::default()
    };
    bench.call(changed).unwrap();
    assert_eq!(
        shown(&bench, "openai/work"),
        Some((Outcome::Invalid, second))
    );

    // Another secret was never tested; nor is a new key of an old name.
    let rotate = || KeyRotate {
        name: "openai/work".into(),
        secret: secret("sk-another-0123456789"),
    };
    bench.call(rotate()).unwrap();
    assert_eq!(shown(&bench, "openai/work"), None);
    test(&bench, "openai/work");
    assert!(shown(&bench, "openai/work").is_some());
    let remove = KeyRemove {
        name: "openai/work".into(),
    };
    bench.call(remove).unwrap();
    let left: u32 = bench
        .hand()
        .query_row("SELECT count(*) FROM last_tests", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0, "nothing is left of a key that is removed");
    add(&bench, &server, "openai/work");
    assert_eq!(shown(&bench, "openai/work"), None);
}

#[test]
fn a_result_of_another_key_or_a_changed_one_is_corrupt() {
    let status = Arc::new(AtomicU16::new(200));
    let server = server(&status);
    let bench = Bench::initialized();
    for name in ["openai/a", "openai/b"] {
        add(&bench, &server, name);
        test(&bench, name);
    }
    let hand = bench.hand();
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = hand
        .prepare("SELECT key, sealed FROM last_tests")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(|row| row.unwrap())
        .collect();
    let put = |key: &[u8], sealed: &[u8]| {
        hand.execute(
            "UPDATE last_tests SET sealed = ?2 WHERE key = ?1",
            [key, sealed],
        )
        .unwrap();
    };
    put(&rows[0].0, &rows[1].1);
    put(&rows[1].0, &rows[0].1);
    for name in ["openai/a", "openai/b"] {
        assert_eq!(kind(show(&bench, name)), Kind::Corrupt, "{name}");
    }
    for (key, sealed) in &mut rows {
        put(key, sealed);
        *sealed.last_mut().unwrap() ^= 1;
        put(key, sealed);
    }
    for name in ["openai/a", "openai/b"] {
        assert_eq!(kind(show(&bench, name)), Kind::Corrupt, "{name}");
    }
    // A secret is not held back for it, and a test puts it right.
    bench.get("openai/a").unwrap();
    test(&bench, "openai/a");
    assert_eq!(shown_one(&bench, "openai/a"), Some(Outcome::Valid));
}

#[test]
fn a_rekey_seals_every_last_test_anew_and_amid_it_all_are_read() {
    let status = Arc::new(AtomicU16::new(200));
    let server = server(&status);
    let bench = Bench::initialized();
    let names = ["openai/a", "openai/b", "openai/c"];
    for name in names {
        add(&bench, &server, name);
    }
    // One was never tested.
    for name in &names[..2] {
        test(&bench, name);
    }
    let sealed = || -> Vec<Vec<u8>> {
        let hand = bench.hand();
        let mut statement = hand.prepare("SELECT sealed FROM last_tests").unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = sealed();
    assert_eq!(before.len(), 2);
    let mut step = VaultRekey {
        passphrase: Some(secret(PASSPHRASE)),
        limit: Some(1),
        ..VaultRekey::default()
    };
    let mut steps = 0;
    loop {
        let done = bench.call(step).unwrap().done;
        for (name, expected) in names.into_iter().zip([true, true, false]) {
            let outcome = shown(&bench, name).map(|(outcome, _)| outcome);
            assert_eq!(outcome, expected.then_some(Outcome::Valid), "{name}");
        }
        if done {
            break;
        }
        steps += 1;
        step = VaultRekey {
            limit: Some(1),
            ..VaultRekey::default()
        };
    }
    assert!(steps > 0, "control: it was looked at amid the rekey");
    let after = sealed();
    assert_eq!(after.len(), 2);
    assert!(before.iter().all(|old| !after.contains(old)));
}

fn shown_one(bench: &Bench, name: &str) -> Option<Outcome> {
    show(bench, name)
        .unwrap()
        .last_test
        .map(|test| test.outcome)
}

#[test]
fn a_test_that_outlives_its_session_is_answered_and_not_kept() {
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    let server = ProviderServer::start(move |_| {
        held.wait(); // It is asked.
        held.wait(); // It may answer.
        Reply::json(200, r#"{"data": []}"#)
    })
    .unwrap();
    let bench = Bench::initialized();
    add(&bench, &server, "openai");
    let outcome = std::thread::scope(|scope| {
        let tested = scope.spawn(|| test(&bench, "openai/default"));
        gate.wait();
        bench.lock();
        bench.unlock().unwrap();
        gate.wait();
        tested.join().unwrap()
    });
    assert_eq!(outcome, Outcome::Valid);
    assert_eq!(shown(&bench, "openai/default"), None);
}

#[test]
fn what_is_due_is_tested_once_a_day_and_nothing_that_may_cost_money() {
    let status = Arc::new(AtomicU16::new(200));
    let server = server(&status);
    let bench = Bench::initialized();
    for name in [
        "openai/work",
        "mistral/work",
        "unheard-of/work",
        "openai/off",
        "github-models/retired",
        "vercel-ai-gateway/costs",
    ] {
        add(&bench, &server, name);
    }
    let off = KeyUpdate {
        name: "openai/off".into(),
        status: Some(KeyStatus::Disabled),
        ..KeyUpdate::default()
    };
    bench.call(off).unwrap();
    let service = bench.service();
    assert_eq!(service.test_due(DAY), 3);
    assert_eq!(server.connections(), 3);
    assert_eq!(shown_one(&bench, "openai/work"), Some(Outcome::Valid));
    for never in [
        "openai/off",
        "github-models/retired",
        "vercel-ai-gateway/costs",
    ] {
        assert_eq!(shown_one(&bench, never), None, "{never}");
    }
    // A day later again, and at once where the clock was set back behind the test.
    assert_eq!(service.test_due(DAY), 0);
    bench.clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(service.test_due(DAY), 3);
    bench
        .clock
        .set_wall(bench.clock.unix_s() * 1000 - 3_600_000);
    assert_eq!(service.test_due(DAY), 3);
    // Each left its event, as of this process.
    let log = AuditList {
        action: Some("provider.test".into()),
        ..AuditList::default()
    };
    let events = bench.call(log).unwrap().events;
    assert_eq!(events.len(), 9);
    assert!(
        events
            .iter()
            .all(|event| event.caller.pid == std::process::id() as i32)
    );
    // The control: nothing is tested while everything is locked.
    bench.lock();
    bench.clock.advance(DAY * 2);
    assert_eq!(service.test_due(DAY), 0);
}

#[test]
fn a_last_test_that_does_not_open_keeps_no_key_from_whoever_passes_over_it() {
    let status = Arc::new(AtomicU16::new(200));
    let server = server(&status);
    let bench = Bench::initialized();
    for name in ["openai/a", "openai/b"] {
        add(&bench, &server, name);
        assert_eq!(test(&bench, name), Outcome::Valid);
    }
    let hand = bench.hand();
    let some = "WHERE key = (SELECT max(key) FROM last_tests)";
    let damage = format!("UPDATE last_tests SET sealed = zeroblob(length(sealed)) {some}");
    assert_eq!(hand.execute(&damage, []).unwrap(), 1);
    let list = |skip: bool| {
        bench.call(KeyList {
            skip_unreadable: skip.then_some(true),
            ..KeyList::default()
        })
    };
    assert_eq!(kind(list(false)), Kind::UnsupportedVersion, "control");
    let page = list(true).unwrap();
    assert_eq!((page.keys.len(), page.unreadable.len()), (2, 0));
}
