//! How long sessions and keys last, on a clock that only moves when told to, and why each session ended.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

mod support;

use std::time::Duration;

use akm_core::Kind;
use akm_core::protocol::{
    AccountPassphrase, AgentStatus, AgentUnlock, AuditList, KeyAdd, KeyList, KeyRotate, KeyUpdate,
    LockReason, Unlocked,
};
use akm_core::service::Lifetimes;
use support::{Bench, PASSPHRASE, kind, me, new_key, secret};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn unlock(bench: &Bench, lifetime_s: Option<u64>) -> akm_core::Result<Unlocked> {
    bench.call(AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s,
        accept_rollback: None,
    })
}

/// The actions of the account's log that are locks.
fn locks(bench: &Bench) -> Vec<String> {
    let events = bench.call(AuditList::default()).unwrap().events;
    events
        .into_iter()
        .map(|event| event.action)
        .filter(|action| action.starts_with("agent.lock"))
        .collect()
}

fn because(bench: &Bench) -> Option<LockReason> {
    bench.call(AgentStatus {}).unwrap().locked_because
}

#[test]
fn a_session_that_rests_for_too_long_ends_and_use_keeps_it() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    bench.service().set_lifetimes(Lifetimes {
        idle: Some(10 * MINUTE),
        ..Lifetimes::default()
    });
    unlock(&bench, None).unwrap();
    let status = bench.call(AgentStatus {}).unwrap();
    assert_eq!(status.idle_lock_s, Some(600));
    assert_eq!(status.expires_at, None, "idle is not a lifetime");
    for _ in 0..6 {
        bench.clock.advance(9 * MINUTE);
        assert!(bench.get("openai").is_ok(), "used nine minutes ago");
        assert_eq!(bench.service().expire(), 0);
    }
    // Asking for the state is not a use: a prompt that shows it must not keep the vault open.
    bench.clock.advance(9 * MINUTE);
    assert!(!bench.call(AgentStatus {}).unwrap().locked);
    bench.clock.advance(MINUTE);
    let unswept = bench.call(AgentStatus {}).unwrap();
    assert!(unswept.locked);
    assert_eq!(
        unswept.locked_because,
        Some(LockReason::Idle),
        "before anybody sweeps"
    );
    assert_eq!(kind(bench.get("openai")), Kind::Locked);
    assert_eq!(bench.service().expire(), 1);
    assert_eq!(because(&bench), Some(LockReason::Idle));
    unlock(&bench, None).unwrap();
    assert_eq!(because(&bench), None);
    assert!(locks(&bench).contains(&"agent.lock.idle".to_owned()));
}

#[test]
fn what_the_agent_does_by_itself_is_no_use() {
    let bench = Bench::initialized();
    bench.service().set_lifetimes(Lifetimes {
        idle: Some(10 * MINUTE),
        ..Lifetimes::default()
    });
    unlock(&bench, None).unwrap();
    bench.clock.advance(9 * MINUTE);
    bench.service().test_due(Duration::ZERO);
    bench.service().check_some();
    bench.service().fold().unwrap();
    bench.clock.advance(MINUTE);
    assert_eq!(bench.service().expire(), 1);
    // Control: a request at the same moment is one.
    unlock(&bench, None).unwrap();
    bench.clock.advance(9 * MINUTE);
    bench.call(KeyList::default()).unwrap();
    bench.clock.advance(MINUTE);
    assert_eq!(bench.service().expire(), 0);
}

#[test]
fn nobody_gets_more_than_the_longest_lifetime() {
    let bench = Bench::initialized();
    let left = |asked| {
        use akm_core::host::Clock as _;
        unlock(&bench, asked).unwrap();
        let deadline = bench.service().next_deadline();
        deadline.map(|deadline| deadline - bench.clock.boot())
    };
    assert_eq!(left(Some(9 * 3600)), Some(9 * HOUR), "control");
    assert_eq!(left(None), None, "control");
    let longest = Lifetimes {
        longest: Some(8 * HOUR),
        ..Lifetimes::default()
    };
    bench.service().set_lifetimes(longest);
    assert_eq!(left(Some(9 * 3600)), Some(8 * HOUR));
    assert_eq!(left(Some(3600)), Some(HOUR));
    assert_eq!(
        left(None),
        Some(8 * HOUR),
        "who does not ask gets the longest"
    );
    bench.service().set_lifetimes(Lifetimes {
        default: Some(HOUR),
        ..longest
    });
    assert_eq!(left(None), Some(HOUR));
    // Use does not move an absolute end.
    bench.clock.advance(59 * MINUTE);
    assert!(bench.call(KeyList::default()).is_ok());
    bench.clock.advance(MINUTE);
    assert_eq!(kind(bench.call(KeyList::default())), Kind::Locked);
    assert_eq!(because(&bench), Some(LockReason::Lifetime));
}

#[test]
fn time_asleep_counts_and_a_wall_clock_set_back_gives_nothing() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    unlock(&bench, Some(3600)).unwrap();
    bench.clock.set_wall(1_700_000_000_000);
    bench.clock.advance(59 * MINUTE);
    assert!(bench.get("openai").is_ok(), "control");
    // A suspend: nothing ran, and boot time went on.
    bench.clock.advance(10 * HOUR);
    assert_eq!(kind(bench.get("openai")), Kind::Locked);
}

#[test]
fn a_key_with_a_lifetime_is_handed_out_until_it_is_over_and_again_after_an_unlock() {
    let bench = Bench::initialized();
    let add = |name: &str, lifetime_s| {
        bench.call(KeyAdd {
            lifetime_s,
            ..new_key(name, "sk-of-a-test-0123456789")
        })
    };
    assert_eq!(kind(add("openai/bad", Some(0))), Kind::InvalidInput);
    assert_eq!(kind(add("openai/bad", Some(u64::MAX))), Kind::InvalidInput);
    bench.clock.advance(HOUR);
    // Its life begins when it is stored, not with the session an hour ago.
    let added = add("openai/short", Some(1800)).unwrap();
    assert_eq!(added.key.lifetime_s, Some(1800));
    add("openai/long", None).unwrap();
    bench.clock.advance(29 * MINUTE);
    assert!(bench.get("openai/short").is_ok());
    bench.clock.advance(MINUTE);
    let error = bench.get("openai/short").unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(
        error.message(),
        "the key's lifetime in this session is over"
    );
    assert_eq!(
        kind(bench.get("openai/short")),
        Kind::Denied,
        "also when it was ready"
    );
    assert!(bench.get("openai/long").is_ok(), "control: others go on");
    unlock(&bench, None).unwrap();
    assert!(bench.get("openai/short").is_ok());
    bench.clock.advance(30 * MINUTE);
    assert_eq!(kind(bench.get("openai/short")), Kind::Denied);

    // Who may change a key may not let it live longer.
    let update = |lifetime_s, passphrase: Option<&str>| {
        bench.call(KeyUpdate {
            name: "openai/short".into(),
            lifetime_s: Some(lifetime_s),
            passphrase: passphrase.map(secret),
            ..KeyUpdate::default()
        })
    };
    for longer in [1801, 0] {
        let error = update(longer, None).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::Denied, Some("passphrase"))
        );
    }
    assert_eq!(kind(update(7200, Some("wrong"))), Kind::WrongCredentials);
    update(1200, None).unwrap();
    assert_eq!(
        kind(bench.get("openai/short")),
        Kind::Denied,
        "shorter revives nothing"
    );
    update(7200, Some(PASSPHRASE)).unwrap();
    assert!(
        bench.get("openai/short").is_ok(),
        "the owner begins it anew"
    );
    bench.clock.advance(2 * HOUR);
    assert_eq!(kind(bench.get("openai/short")), Kind::Denied);
    // Who has the new secret has it anyway.
    bench
        .call(KeyRotate {
            name: "openai/short".into(),
            secret: secret("sk-the-next-0123456789"),
        })
        .unwrap();
    assert!(bench.get("openai/short").is_ok());
    let removed = update(0, Some(PASSPHRASE)).unwrap();
    assert_eq!(removed.key.lifetime_s, None);
    bench.clock.advance(100 * HOUR);
    assert!(bench.get("openai/short").is_ok());
    // One that had none gets it from now on.
    update(60, None).unwrap();
    assert!(bench.get("openai/short").is_ok());
    bench.clock.advance(MINUTE);
    assert_eq!(kind(bench.get("openai/short")), Kind::Denied);
}

#[test]
fn every_lock_is_in_the_log_with_its_reason() {
    let bench = Bench::initialized();
    let mut wanted = Vec::new();
    let mut expect = |reason: LockReason| wanted.push(reason.action().to_owned());
    bench.lock();
    expect(LockReason::Asked);
    for reason in [
        LockReason::Suspend,
        LockReason::Screen,
        LockReason::Signal,
        LockReason::Stop,
    ] {
        unlock(&bench, None).unwrap();
        bench.service().lock_all(reason);
        assert_eq!(because(&bench), Some(reason));
        expect(reason);
    }
    unlock(&bench, Some(60)).unwrap();
    bench.clock.advance(MINUTE);
    bench.service().expire();
    expect(LockReason::Lifetime);
    unlock(&bench, None).unwrap();
    unlock(&bench, None).unwrap();
    expect(LockReason::Unlock);
    // A second uid's session of the account ends when its passphrase changes.
    let other = akm_core::audit::Caller {
        uid: me().uid + 1,
        ..me()
    };
    let request = AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    bench.call_as(other, request).unwrap();
    let change = AccountPassphrase {
        passphrase: secret(PASSPHRASE),
        new_passphrase: secret("another passphrase altogether"),
    };
    bench.call(change).unwrap();
    expect(LockReason::Credential);
    assert_eq!(locks(&bench), wanted);
    let only = AuditList {
        action: Some("agent.lock.suspend".into()),
        ..AuditList::default()
    };
    assert_eq!(bench.call(only).unwrap().events.len(), 1);
}

#[test]
fn the_newest_events_are_found_without_reading_the_others() {
    let bench = Bench::initialized();
    for number in 0..5 {
        bench.add(&format!("openai/{number}"), "x").unwrap();
    }
    bench.get("openai/3").unwrap();
    let last = |last| {
        let events = bench
            .call(AuditList {
                last: Some(last),
                ..AuditList::default()
            })
            .unwrap()
            .events;
        let own = events.into_iter().filter(|event| event.chain == "account");
        own.map(|event| (event.action, event.key))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        last(1),
        [("key.get".to_owned(), Some("openai/3".to_owned()))]
    );
    assert_eq!(last(2).len(), 2);
    assert_eq!(last(1000).len(), 7, "as many as there are");
    let both = AuditList {
        last: Some(1),
        after: Some("0100000000000000000000000000000000".into()),
        ..AuditList::default()
    };
    assert_eq!(kind(bench.call(both)), Kind::InvalidInput);
}
