//! Sessions of clients of the network: each by its own token, ended by whom, when, and how many there may be.

use std::time::Duration;

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountPassphrase, AgentLock, AgentStatus, AgentUnlock, KeyList, SessionList, SessionRevoke,
};
use akm_core::service::{Hosting, Registration};

use super::support::{PASSPHRASE, kind, me, new_key, secret};
use super::{ADDRESS, Site, get, nobody, unlock, with};

#[test]
fn many_accounts_are_open_at_once_each_by_its_own_token() {
    let site = Site::open();
    let accounts: Vec<(String, Caller)> = (0..20)
        .map(|number| format!("user-{number}"))
        .map(|name| (name.clone(), site.register(&name)))
        .collect();
    for (name, caller) in &accounts {
        site.call(caller, new_key("openai", &format!("sk-of-{name}")))
            .unwrap();
    }
    for (name, caller) in &accounts {
        let got = site.call(caller, get("openai")).unwrap();
        assert_eq!(got.secret.expose(), format!("sk-of-{name}"));
        let status = site.call(caller, AgentStatus {}).unwrap();
        assert_eq!(status.account.as_deref(), Some(name.as_str()));
    }
    // One lock is one account's affair.
    site.call(&accounts[3].1, AgentLock {}).unwrap();
    assert_eq!(kind(site.call(&accounts[3].1, get("openai"))), Kind::Locked);
    site.call(&accounts[4].1, get("openai")).unwrap();
    // The owner's socket keeps its own session beside them.
    assert_eq!(kind(site.call(&me(), get("openai"))), Kind::Locked);
    site.call(&me(), unlock("user-5", PASSPHRASE)).unwrap();
    site.call(&me(), get("openai")).unwrap();
    site.call(&accounts[5].1, get("openai")).unwrap();
}

#[test]
fn e14_a_sign_in_gets_a_token_of_its_own_and_the_one_it_came_with_ends() {
    let site = Site::open();
    let first = site.register("alice");
    let planted = "akms_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let fixated = Caller::network(ADDRESS, Some(planted));
    let token = site.sign_in(&fixated, "alice").unwrap();
    assert_ne!(token.expose(), planted);
    assert_eq!(kind(site.call(&fixated, KeyList::default())), Kind::Locked);
    site.call(&with(&token), KeyList::default()).unwrap();
    site.call(&first, KeyList::default())
        .expect("another session goes on");
    let next = site.sign_in(&with(&token), "alice").unwrap();
    assert_eq!(
        kind(site.call(&with(&token), KeyList::default())),
        Kind::Locked
    );
    site.call(&with(&next), KeyList::default()).unwrap();
    // 256 bits, each its own.
    assert_eq!(token.expose().len(), "akms_".len() + 43);
    assert!(!token.matches(&next));
    // What is no token, nearly one, or another's in part opens nothing.
    let cut = &next.expose()[..next.len() - 1];
    for wrong in ["", "akms_", cut, "x", &next.expose().to_uppercase()] {
        let caller = Caller::network(ADDRESS, Some(wrong));
        assert_eq!(
            kind(site.call(&caller, KeyList::default())),
            Kind::Locked,
            "{wrong}"
        );
    }
    assert!(!format!("{:?}", with(&next)).contains(&next.expose()[5..]));
}

#[test]
fn a_session_ends_unused_and_in_any_case() {
    let site = Site::new(Hosting {
        registration: Registration::Open,
        totp_required: false,
        idle: Duration::from_secs(600),
        absolute: Duration::from_secs(3600),
    });
    let list = |caller: &Caller| site.call(caller, KeyList::default()).map(drop);
    let idle = site.register("alice");
    let busy = with(&site.sign_in(&nobody(), "alice").unwrap());
    let host_clock = &site.bench.clock;
    let used = with(&site.sign_in(&nobody(), "alice").unwrap());
    for minute in 1..60 {
        host_clock.advance(Duration::from_secs(60));
        list(&busy).unwrap_or_else(|error| panic!("minute {minute}: {error}"));
        if minute == 9 {
            list(&used).expect("within ten minutes");
        }
        if minute == 10 {
            assert_eq!(kind(list(&idle)), Kind::Locked, "nobody used it");
        }
        if minute == 18 {
            list(&used).expect("it was used at nine");
        }
    }
    assert_eq!(kind(list(&used)), Kind::Locked);
    host_clock.advance(Duration::from_secs(60));
    assert_eq!(kind(list(&busy)), Kind::Locked, "after an hour in any case");
    // Nobody asks for more than the server gives.
    let longer = AgentUnlock {
        lifetime_s: Some(1_000_000),
        ..unlock("alice", PASSPHRASE)
    };
    let unlocked = site.call(&nobody(), longer).unwrap();
    let ends: jiff::Timestamp = unlocked.expires_at.unwrap().parse().unwrap();
    assert_eq!(ends.as_second() - host_clock.unix_s(), 3600);
    // Idle, and swept without being asked for.
    let caller = with(&unlocked.token.unwrap());
    list(&caller).unwrap();
    host_clock.advance(Duration::from_secs(600));
    let swept = site.door.next_deadline().unwrap();
    assert!(swept <= Duration::from_secs(1000 + 3600 + 600 + 3600));
    site.door.expire();
    assert_eq!(site.door.next_deadline(), None, "nothing is open any more");
    assert_eq!(kind(list(&caller)), Kind::Locked);
}

#[test]
fn b14_sessions_are_listed_and_revoked_and_the_others_end_with_the_passphrase() {
    let site = Site::open();
    let first = site.register("alice");
    let second = with(&site.sign_in(&nobody(), "alice").unwrap());
    let third = with(&site.sign_in(&nobody(), "alice").unwrap());
    let stranger = site.register("bob");
    let live = |caller: &Caller| site.call(caller, KeyList::default()).is_ok();
    let page = site.call(&second, SessionList {}).unwrap();
    assert_eq!(page.sessions.len(), 3);
    let current: Vec<bool> = page
        .sessions
        .iter()
        .map(|session| session.current)
        .collect();
    assert_eq!(current, [false, true, false], "the latest first");
    assert_eq!(
        page.sessions[0].from.as_deref(),
        Some("network 203.0.113.7")
    );
    let revoke = |caller: &Caller, id: Option<&str>| {
        let id = id.map(str::to_owned);
        site.call(caller, SessionRevoke { id })
    };
    // Bob cannot end it, though he knows its name.
    let id = page.sessions[0].id.clone();
    assert_eq!(kind(revoke(&stranger, Some(&id))), Kind::NotFound);
    assert!(live(&third));
    revoke(&second, Some(&id)).unwrap();
    assert!(!live(&third) && live(&second) && live(&first));
    let fourth = with(&site.sign_in(&nobody(), "alice").unwrap());
    let change = AccountPassphrase {
        passphrase: secret(PASSPHRASE),
        new_passphrase: secret("another one of alice's"),
    };
    site.call(&second, change).unwrap();
    assert!(live(&second), "the one that changed it goes on");
    assert!(!live(&first) && !live(&fourth));
    assert!(live(&stranger));
    let fifth = site
        .call(&nobody(), unlock("alice", "another one of alice's"))
        .unwrap();
    let fifth = with(&fifth.token.unwrap());
    revoke(&fifth, None).unwrap();
    assert!(live(&fifth) && !live(&second) && live(&stranger));
}

#[test]
fn whoever_signs_in_without_end_has_sixteen_sessions_and_no_more() {
    let site = Site::open();
    let first = site.register("alice");
    let other = site.register("bob");
    let tokens: Vec<Caller> = (0..20)
        .map(|_| with(&site.sign_in(&nobody(), "alice").unwrap()))
        .collect();
    let live = |caller: &Caller| site.call(caller, SessionList {}).is_ok();
    assert!(!live(&first) && !live(&tokens[0]), "the oldest go");
    assert!(live(&tokens[19]) && live(&other));
    assert_eq!(
        site.call(&tokens[19], SessionList {})
            .unwrap()
            .sessions
            .len(),
        16
    );
}
