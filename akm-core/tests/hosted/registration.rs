//! Who may register, and what an account may do before it has what the server asks for.

use std::time::Duration;

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AccountRegister, AdminInvite, AgentStatus, KeyList, Offered,
    Op, TotpConfirm, TotpEnable, envelope, offered,
};
use akm_core::service::{Hosting, Registration};

use super::support::{PASSPHRASE, kind, me, new_key, secret};
use super::{Site, nobody, registration, unlock, with};

#[test]
fn registration_is_closed_by_invitation_or_open() {
    let closed = Site::new(Hosting::default());
    let refused = closed.call(&nobody(), registration("alice", Some(true)));
    assert_eq!(kind(refused), Kind::Denied);
    closed
        .call(&me(), registration("alice", Some(false)))
        .expect("control: the owner on the host creates accounts as ever");

    let site = Site::new(Hosting {
        registration: Registration::Invitation,
        totp_required: false,
        ..Hosting::default()
    });
    let invited = |account: &str, invitation: Option<&str>| {
        let request = AccountRegister {
            invitation: invitation.map(secret),
            ..registration(account, Some(false))
        };
        site.call(&nobody(), request)
    };
    let invite = |uses, days| {
        site.call(&me(), AdminInvite { uses, days })
            .unwrap()
            .invitation
    };
    invited("first", Some(invite(None, None).expose())).unwrap();
    // A name that is taken is told to nobody without an invitation.
    for name in ["first", "nobody-has-this"] {
        for text in [None, Some(""), Some("a guess")] {
            let error = invited(name, text).unwrap_err();
            assert_eq!(
                (error.kind(), error.field()),
                (Kind::Denied, Some("invitation"))
            );
        }
    }
    let once = invite(None, None);
    assert_eq!(kind(invited("first", Some(once.expose()))), Kind::Conflict);
    invited("second", Some(&once.expose().to_uppercase())).expect("a conflict uses none up");
    assert_eq!(kind(invited("third", Some(once.expose()))), Kind::Denied);
    let twice = invite(Some(2), Some(1));
    invited("third", Some(twice.expose())).unwrap();
    site.bench.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(
        kind(invited("fourth", Some(twice.expose()))),
        Kind::Denied,
        "over"
    );
    // At rest stands a keyed digest and not the text.
    let fresh = invite(None, None);
    let file = std::fs::read(site.bench.vault()).unwrap();
    let log = std::fs::read(site.bench.vault().with_extension("db-wal")).unwrap();
    let holds = |text: &[u8]| {
        let found = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        found(&file) || found(&log)
    };
    assert!(holds(b"third"), "control: names are found");
    assert!(!holds(fresh.expose().as_bytes()));
}

#[test]
fn an_invitation_for_one_lets_one_of_fifty_in() {
    let site = Site::new(Hosting {
        registration: Registration::Invitation,
        totp_required: false,
        ..Hosting::default()
    });
    let invitation = site.call(&me(), AdminInvite::default()).unwrap().invitation;
    let created = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let (site, created, invitation) = (&site, &created, &invitation);
            scope.spawn(move || {
                let request = AccountRegister {
                    invitation: Some(invitation.duplicate()),
                    ..registration(&format!("racer-{number}"), Some(false))
                };
                if site.call(&nobody(), request).is_ok() {
                    created.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(created.into_inner(), 1);
}

#[test]
fn a_passphrase_that_is_chosen_over_the_network_is_not_a_short_one() {
    let site = Site::open();
    let register = |caller: &Caller, account: &str, passphrase: &str| {
        let request = AccountRegister {
            passphrase: secret(passphrase),
            ..registration(account, Some(false))
        };
        site.call(caller, request)
    };
    // Characters count, not bytes, nor the two parts of one.
    for short in [
        "",
        "1",
        "seven77",
        "一二三四五六七",
        "e\u{301}e\u{301}e\u{301}e\u{301}",
    ] {
        let error = register(&nobody(), "alice", short).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::InvalidInput, Some("passphrase")),
            "{short:?}"
        );
    }
    register(&me(), "mine", "1").expect("a person's own vault takes any");
    let registered = register(&nobody(), "alice", "一二三四五六七八").unwrap();
    let alice = with(&registered.token.unwrap());
    let change = |new: &str| {
        let request = AccountPassphrase {
            passphrase: secret("一二三四五六七八"),
            new_passphrase: secret(new),
        };
        site.call(&alice, request)
    };
    let recover = |new: &str| {
        let request = AccountRecover {
            account: Some("alice".into()),
            code: registered.recovery_codes[0].duplicate(),
            new_passphrase: secret(new),
        };
        site.call(&nobody(), request)
    };
    for refused in [change("1").map(drop), recover("1").map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::InvalidInput, Some("new_passphrase"))
        );
    }
    change("eight ch").unwrap();
    recover("of eight").unwrap();
}

#[test]
fn without_totp_an_account_may_do_nothing_but_set_it_up() {
    let site = Site::new(Hosting {
        registration: Registration::Open,
        ..Hosting::default()
    });
    let without = site.call(&nobody(), registration("alice", Some(false)));
    assert_eq!(kind(without), Kind::Denied);
    let registered = site.call(&nobody(), registration("alice", None)).unwrap();
    let caller = with(&registered.token.unwrap());
    let mut entering = 0;
    for op in Op::ALL {
        let open = site.door.gate(&caller, *op);
        match offered(*op) {
            Offered::Anyone => open.unwrap(),
            Offered::Entering => {
                entering += 1;
                open.unwrap();
            }
            Offered::Session | Offered::Never => {
                assert_eq!(kind(open), Kind::Denied, "{}", op.name())
            }
        }
    }
    assert_eq!(entering, 4);
    assert!(site.door.visitor(&caller).unwrap().unwrap().totp_missing);
    let base32 = registered.totp_secret.unwrap();
    let code = secret(&site.totp(&base32));
    site.call(&caller, TotpConfirm { code }).unwrap();
    site.call(&caller, new_key("openai", "sk-1")).unwrap();
    assert!(!site.door.visitor(&caller).unwrap().unwrap().totp_missing);
    // An account that the owner made without TOTP sets it up over the network.
    site.call(&me(), registration("bob", Some(false))).unwrap();
    let bob = with(&site.sign_in(&nobody(), "bob").unwrap());
    assert_eq!(kind(site.call(&bob, KeyList::default())), Kind::Denied);
    let enable = TotpEnable {
        passphrase: secret(PASSPHRASE),
    };
    let enabled = site.call(&bob, enable).unwrap();
    let code = secret(&site.totp(&enabled.totp_secret));
    site.call(&bob, TotpConfirm { code }).unwrap();
    site.call(&bob, KeyList::default()).unwrap();
}

#[test]
fn b01_names_that_nobody_has_get_the_same_answers_over_the_network() {
    let site = Site::open();
    site.register("alice");
    let status = |caller: &Caller| site.door.call(caller, AgentStatus {}.into());
    let empty = Site::open();
    let told = |answer| String::from_utf8(envelope(&answer)).unwrap();
    assert_eq!(
        told(status(&nobody())),
        told(empty.door.call(&nobody(), AgentStatus {}.into())),
        "not even whether there is an account"
    );
    let answers = |account: &str| -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(told(
                site.door.call(&nobody(), unlock(account, "wrong").into()),
            ));
        }
        for _ in 0..8 {
            let recover = AccountRecover {
                account: Some(account.into()),
                code: secret("wrong"),
                new_passphrase: secret("mine alone"),
            };
            all.push(told(site.door.call(&nobody(), recover.into())));
        }
        all
    };
    let known = answers("alice");
    assert_eq!(known, answers("nobody-has-this"));
    assert_eq!(known, answers("Not A Name At All"));
    assert!(
        known[0].contains("wrong_credentials") && known[7].contains("rate_limited"),
        "{known:?}"
    );
}
