//! Who may do what over the network: roles, administrators, and what of the machine is never for a client.

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AdminAccount, AdminGrant, AgentLock, AuditList, Authority, KeyList, Offered, Op, Request, Role,
    envelope, offered,
};

use super::support::{Bench, PASSPHRASE, kind, me, new_key};
use super::{ADDRESS, Site, get, nobody, unlock, with};

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
