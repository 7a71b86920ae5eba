//! Clients of network listeners, as the service sees them: tokens, registration, roles, and what reaches whom.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AccountRegister, AdminAccount, AdminGrant, AdminInvite,
    AgentLock, AgentStatus, AgentUnlock, AuditList, Authority, KeyGet, KeyList, Offered, Op,
    Operation, Request, Role, SessionList, SessionRevoke, TotpConfirm, TotpEnable, decode_result,
    encode, envelope, offered, open_envelope,
};
use akm_core::service::{Door, Hosting, Registration};
use akm_core::{Kind, Result, Secret};
use support::{Bench, PASSPHRASE, kind, me, new_key, secret, totp_code};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

/// A service with clients of the network.
struct Site {
    bench: Bench,
    door: Door,
}

impl Site {
    fn new(hosting: Hosting) -> Site {
        let mut bench = Bench::new();
        bench.close();
        let door = bench.open().unwrap().with_hosting(hosting);
        Site { bench, door }
    }

    /// Anybody may register, and TOTP is not asked for.
    fn open() -> Site {
        Site::new(Hosting {
            registration: Registration::Open,
            totp_required: false,
            ..Hosting::default()
        })
    }

    fn call<T: Operation + Into<Request>>(&self, caller: &Caller, request: T) -> Result<T::Result> {
        let request = Request::decode(T::OP, &encode(&request)?)?;
        let answer = envelope(&self.door.call(caller, request));
        decode_result(open_envelope(&answer)?)
    }

    fn register(&self, account: &str) -> Caller {
        let registered = self
            .call(&nobody(), registration(account, Some(false)))
            .unwrap();
        with(&registered.token.unwrap())
    }

    fn sign_in(&self, from: &Caller, account: &str) -> Result<Secret> {
        self.call(from, unlock(account, PASSPHRASE))
            .map(|unlocked| unlocked.token.unwrap())
    }

    fn totp(&self, base32: &Secret) -> String {
        totp_code(base32.expose(), self.bench.clock.unix_s())
    }
}

fn nobody() -> Caller {
    Caller::network(ADDRESS, None)
}

fn with(token: &Secret) -> Caller {
    Caller::network(ADDRESS, Some(token.expose()))
}

fn registration(account: &str, totp: Option<bool>) -> AccountRegister {
    AccountRegister {
        account: account.into(),
        passphrase: secret(PASSPHRASE),
        totp,
        invitation: None,
    }
}

fn unlock(account: &str, passphrase: &str) -> AgentUnlock {
    AgentUnlock {
        account: Some(account.into()),
        passphrase: secret(passphrase),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    }
}

fn get(name: &str) -> KeyGet {
    KeyGet {
        name: name.into(),
        version: None,
    }
}

#[test]
fn without_hosting_a_client_of_the_network_reaches_nothing() {
    let bench = Bench::initialized();
    for op in Op::ALL {
        let refused = bench.service().gate(&nobody(), *op);
        assert_eq!(kind(refused), Kind::Denied, "{}", op.name());
        bench
            .service()
            .gate(&me(), *op)
            .expect("control: the owner does");
    }
}

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
                new_passphrase: secret("mine"),
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

#[test]
fn a_role_is_granted_on_the_host_only_and_never_to_whoever_comes_first() {
    let site = Site::open();
    let first = site.register("first");
    let role = |caller: &Caller| site.door.visitor(caller).unwrap().unwrap().role;
    assert_eq!(role(&first), Role::User);
    let grant = |caller: &Caller, account: &str, role| {
        let account = account.to_owned();
        site.call(caller, AdminGrant { account, role }).map(drop)
    };
    assert_eq!(kind(grant(&first, "first", Role::Admin)), Kind::Denied);
    grant(&me(), "first", Role::Admin).unwrap();
    assert_eq!(role(&first), Role::Admin, "at once");
    // Not even an administrator makes one over the network.
    let second = site.register("second");
    assert_eq!(kind(grant(&first, "second", Role::Admin)), Kind::Denied);
    let disable = |caller: &Caller, account: &str, disabled| {
        let request = AdminAccount {
            account: account.into(),
            disabled: Some(disabled),
            key_limit: None,
            no_key_limit: None,
        };
        site.call(caller, request).map(drop)
    };
    assert_eq!(kind(disable(&second, "first", true)), Kind::Denied);
    disable(&first, "second", true).unwrap();
    assert_eq!(kind(site.call(&second, KeyList::default())), Kind::Locked);
    let refused = site.sign_in(&nobody(), "second").unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    let guessed = site.call(&nobody(), unlock("second", "wrong"));
    assert_eq!(
        kind(guessed),
        Kind::WrongCredentials,
        "told to its owner only"
    );
    disable(&first, "second", false).unwrap();
    site.sign_in(&nobody(), "second").unwrap();
    grant(&me(), "first", Role::User).unwrap();
    assert_eq!(
        kind(disable(&first, "second", true)),
        Kind::Denied,
        "at once"
    );
    // What was done stands in both chains.
    let own = site.call(&first, AuditList::default()).unwrap();
    let done = own
        .events
        .iter()
        .filter(|event| event.action == "admin.account");
    assert_eq!(done.count(), 2);
    assert!(
        own.events.iter().all(|event| event.chain == "account"),
        "the system's are not theirs"
    );
    let system = site
        .call(&me(), akm_core::protocol::AdminLog::default())
        .unwrap();
    let by = system
        .events
        .iter()
        .filter(|event| event.caller.exe == "network 203.0.113.7 account first");
    assert_eq!(by.count(), 2);
}

/// Everything that an administrator and the disk have: every answer that the operations of administration and a session of an
/// administrator give, and every byte of every file.
#[test]
fn an_administrator_with_the_disk_reads_no_secret_at_rest() {
    let site = Site::open();
    let canary = "sk-canary-of-the-victim-0123456789";
    let note = "note-canary-of-the-victim";
    let victim = site.register("victim");
    let key = akm_core::protocol::KeyAdd {
        notes: Some(note.into()),
        ..new_key("openai/label-canary", canary)
    };
    site.call(&victim, key).unwrap();
    site.call(&victim, get("openai/label-canary")).unwrap();
    let admin = site.register("admin");
    let grant = AdminGrant {
        account: "admin".into(),
        role: Role::Admin,
    };
    site.call(&me(), grant).unwrap();
    site.call(
        &admin,
        new_key("openai/of-the-admin", "sk-control-of-the-admin"),
    )
    .unwrap();
    let mut seen = Vec::new();
    let mut asked = 0;
    for caller in [&admin, &me()] {
        for op in Op::ALL {
            let names = ["victim", "openai/label-canary"];
            for name in names {
                for body in [
                    "{}".to_owned(),
                    format!(r#"{{"name":"{name}"}}"#),
                    format!(r#"{{"account":"{name}"}}"#),
                    format!(r#"{{"account":"{name}","role":"admin"}}"#),
                    format!(r#"{{"account":"{name}","disabled":false}}"#),
                ] {
                    let Ok(request) = Request::decode(*op, body.as_bytes()) else {
                        continue;
                    };
                    // An administrator may end a session and remove an account, but both have to be there for the rest.
                    if matches!(op, Op::AgentLock | Op::AdminRemove) {
                        continue;
                    }
                    asked += 1;
                    seen.extend(envelope(&site.door.call(caller, request)));
                }
            }
        }
    }
    assert!(asked > 2 * Op::ALL.len(), "control: {asked} were asked");
    site.door.fold().unwrap();
    let mut files = 0;
    let mut pending = vec![site.bench.home.path().to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files += 1;
                seen.extend(std::fs::read(path).unwrap());
            }
        }
    }
    assert!(files >= 4, "vault, journal, host key, anchors: {files}");
    let holds = |text: &str| {
        let hex = data_encoding::HEXLOWER.encode(text.as_bytes());
        let base64 = data_encoding::BASE64_NOPAD.encode(text.as_bytes());
        [text, &hex, &base64[..base64.len() - 2]]
            .iter()
            .any(|form| seen.windows(form.len()).any(|part| part == form.as_bytes()))
    };
    assert!(holds("victim"), "control: its name is seen");
    for secret in [canary, note, "label-canary", PASSPHRASE] {
        assert!(!holds(secret), "{secret}");
    }
    // And the control: the victim reads it, and the admin's own is the admin's.
    assert_eq!(
        site.call(&victim, get("openai/label-canary"))
            .unwrap()
            .secret
            .expose(),
        canary
    );
}

/// The table says what each operation is; this walks it over callers of every kind, so that one that is added is covered
/// by itself.
#[test]
fn b15_every_operation_is_refused_to_whom_it_is_not_for() {
    let site = Site::open();
    let user = site.register("user");
    let admin = site.register("admin");
    let grant = AdminGrant {
        account: "admin".into(),
        role: Role::Admin,
    };
    site.call(&me(), grant).unwrap();
    let gone = with(&site.sign_in(&nobody(), "user").unwrap());
    site.call(&gone, AgentLock {}).unwrap();
    let foreign_uid = Caller {
        uid: me().uid + 1,
        ..me()
    };
    let refused =
        |caller: &Caller, op: Op| site.door.gate(caller, op).err().map(|error| error.kind());
    for op in Op::ALL {
        let name = op.name();
        let offered = offered(*op);
        let nobody_gets = match offered {
            Offered::Never => Some(Kind::Denied),
            Offered::Anyone => None,
            Offered::Entering | Offered::Session => Some(Kind::Locked),
        };
        for caller in [
            &nobody(),
            &gone,
            &Caller::network(ADDRESS, Some("akms_guess")),
        ] {
            assert_eq!(refused(caller, *op), nobody_gets, "{name}");
        }
        let never = offered == Offered::Never;
        let for_user = !never && !matches!(op.authority(), Authority::Admin | Authority::Owner);
        assert_eq!(
            refused(&user, *op),
            (!for_user).then_some(Kind::Denied),
            "{name}"
        );
        let for_admin = !never && op.authority() != Authority::Owner;
        assert_eq!(
            refused(&admin, *op),
            (!for_admin).then_some(Kind::Denied),
            "{name}"
        );
        // A uid that is not the owner's has the rights of an account and no more.
        if matches!(op.authority(), Authority::Admin | Authority::Owner) {
            assert_eq!(refused(&foreign_uid, *op), Some(Kind::Denied), "{name}");
            assert_eq!(refused(&me(), *op), None, "control: {name}");
        }
        // Over the network nothing is offered that is for the owner.
        assert!(op.authority() != Authority::Owner || never, "{name}");
    }
}

#[test]
fn e07_a_client_of_the_network_reaches_nothing_of_the_machine_itself() {
    let site = Site::open();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let connected = || listener.accept().is_ok();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let alice = site.register("alice");
    let key = akm_core::protocol::KeyAdd {
        base_url: Some(base_url),
        ..new_key("openai", "sk-1")
    };
    site.call(&alice, key).unwrap();
    let test = |caller: &Caller| {
        let name = "openai".to_owned();
        site.call(caller, akm_core::protocol::ProviderTest { name })
            .unwrap()
    };
    let answer = test(&alice);
    assert_eq!(answer.outcome, akm_core::protocol::Outcome::Unreachable);
    let balance = akm_core::protocol::ProviderBalance {
        name: "openai".into(),
    };
    site.call(&alice, balance).unwrap();
    assert!(!connected(), "nothing was sent");
    // Control: on the host the same account reaches what its owner runs there.
    site.call(&me(), unlock("alice", PASSPHRASE)).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| test(&me()));
        while !connected() {
            assert!(!asked.is_finished(), "it was not asked");
        }
        drop(asked);
    });
}

#[test]
fn what_the_system_noted_is_not_told_to_accounts_over_the_network() {
    let site = Site::open();
    let alice = site.register("alice");
    for _ in 0..3 {
        site.call(&nobody(), unlock("alice", "wrong")).unwrap_err();
    }
    let verify = |caller: &Caller| {
        site.call(caller, akm_core::protocol::AuditVerify::default())
            .unwrap()
    };
    let own = verify(&alice);
    let listed = site.call(&alice, AuditList::default()).unwrap().events;
    assert!(
        own.ok && own.entries == listed.len() as u64,
        "{own:?} {listed:?}"
    );
    assert!(listed.iter().all(|event| event.chain == "account"));
    site.call(&me(), unlock("alice", PASSPHRASE)).unwrap();
    let all = verify(&me());
    assert!(
        all.ok && all.entries >= own.entries + 3,
        "control: the owner sees both"
    );
}

#[test]
fn a_limit_of_keys_binds_at_once_and_removes_none() {
    let site = Site::open();
    let alice = site.register("alice");
    for number in 0..3 {
        site.call(&alice, new_key(&format!("openai/k{number}"), "sk"))
            .unwrap();
    }
    let limit = |key_limit, no_key_limit| {
        let request = AdminAccount {
            account: "alice".into(),
            disabled: None,
            key_limit,
            no_key_limit,
        };
        site.call(&me(), request).unwrap()
    };
    let card = limit(Some(2), None);
    assert_eq!((card.keys, card.key_limit, card.sessions), (3, Some(2), 1));
    let full = site.call(&alice, new_key("openai/more", "sk"));
    assert_eq!(kind(full), Kind::LimitReached);
    site.call(&alice, get("openai/k2"))
        .expect("what is there stays");
    limit(None, Some(true));
    site.call(&alice, new_key("openai/more", "sk")).unwrap();
}
