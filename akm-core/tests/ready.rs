//! A get again is answered from what the session kept (`vault/ready.rs`): that must never show.
//!
//! Each case asks twice before the change, so that the key is ready, and the control is that first answer.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

mod support;

use std::time::Duration;

use akm_core::Kind;
use akm_core::protocol::{AgentUnlock, KeyGet, KeyRemove, KeyRotate, KeyStatus, KeyUpdate};
use support::{Bench, PASSPHRASE, kind, me, secret};

fn ready() -> Bench {
    let bench = Bench::initialized();
    bench.add("openai", "sk-first").unwrap();
    for _ in 0..2 {
        assert_eq!(bench.get("openai").unwrap(), "sk-first", "control");
    }
    bench
}

fn update(bench: &Bench, change: KeyUpdate) {
    bench
        .call(KeyUpdate {
            name: "openai".into(),
            ..change
        })
        .unwrap();
}

#[test]
fn a_rotated_key_is_the_new_one_at_once_and_an_old_version_stays_itself() {
    let bench = ready();
    bench
        .call(KeyRotate {
            name: "openai".into(),
            secret: secret("sk-second"),
        })
        .unwrap();
    for _ in 0..2 {
        assert_eq!(bench.get("openai").unwrap(), "sk-second");
    }
    let old = bench.call(KeyGet {
        name: "openai".into(),
        version: Some(1),
    });
    assert_eq!(old.unwrap().secret.expose(), "sk-first");
    assert_eq!(bench.get("openai").unwrap(), "sk-second");
}

#[test]
fn a_key_that_is_switched_off_or_use_only_or_removed_is_refused_at_once() {
    let bench = ready();
    let status = |status| KeyUpdate {
        status: Some(status),
        ..KeyUpdate::default()
    };
    update(&bench, status(KeyStatus::Disabled));
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
    update(&bench, status(KeyStatus::Active));
    for _ in 0..2 {
        assert_eq!(bench.get("openai").unwrap(), "sk-first", "control");
    }
    update(
        &bench,
        KeyUpdate {
            use_only: Some(true),
            ..KeyUpdate::default()
        },
    );
    assert_eq!(kind(bench.get("openai")), Kind::Denied);

    let bench = ready();
    bench
        .call(KeyRemove {
            name: "openai".into(),
        })
        .unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::NotFound);
}

#[test]
fn a_key_expires_between_two_gets() {
    let bench = Bench::initialized();
    let day = jiff::Timestamp::from_second(bench.clock.unix_s() + 2 * 24 * 3600).unwrap();
    bench.add("openai", "sk-first").unwrap();
    update(
        &bench,
        KeyUpdate {
            expires_at: Some(day.to_string()),
            ..KeyUpdate::default()
        },
    );
    for _ in 0..2 {
        assert_eq!(bench.get("openai").unwrap(), "sk-first", "control");
    }
    bench.clock.advance(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
}

#[test]
fn a_change_by_another_session_of_the_account_is_seen() {
    let bench = ready();
    let other = akm_core::audit::Caller {
        uid: me().uid + 1,
        ..me()
    };
    bench
        .call_as(
            other.clone(),
            AgentUnlock {
                account: None,
                passphrase: secret(PASSPHRASE),
                totp: None,
                lifetime_s: None,
                accept_rollback: None,
                keyfile: None,
            },
        )
        .unwrap();
    bench
        .call_as(
            other,
            KeyRotate {
                name: "openai".into(),
                secret: secret("sk-second"),
            },
        )
        .unwrap();
    assert_eq!(bench.get("openai").unwrap(), "sk-second");
}

#[test]
fn a_lock_forgets_what_was_ready() {
    let bench = ready();
    bench.lock();
    assert_eq!(kind(bench.get("openai")), Kind::Locked);
}
