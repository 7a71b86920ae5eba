//! In the midst of a rekey: everything works, an interrupted one goes on, and nothing is lost between its slices.

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountRecover, AgentStatus, AgentUnlock, KeyGet, KeyRemove, KeyStatus, KeyUpdate, VaultCheck,
    VaultImport,
};

use super::support::{PASSPHRASE, kind, me, new_key, secret};
use super::{assert_whole, begin, furnished, go_on, listed, name, rename, rotate, under_way};

#[test]
fn between_two_slices_everything_works_as_before_and_after() {
    let bench = furnished(24);
    begin(&bench, Some(10)).unwrap();
    assert!(under_way(&bench));
    let status = bench.call(AgentStatus {}).unwrap().rekey.unwrap();
    assert_eq!((status.done, status.total), (10, 24));
    assert_whole(&bench, 24);

    // Names stay unique, whichever key a record is under.
    for index in 0..24 {
        assert_eq!(kind(bench.add(&name(index), "sk-x")), Kind::Conflict);
        let error = rename(&bench, &name((index + 2) % 24), &name(index)).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::Conflict, Some("new_name"))
        );
    }
    assert_whole(&bench, 24);
    // Every record changes, is renamed and back again, and some go and come.
    for index in 0..24 {
        let name = name(index);
        rename(&bench, &name, &format!("{name}-x")).unwrap();
        assert_eq!(kind(bench.get(&name)), Kind::NotFound);
        rename(&bench, &format!("{name}-x"), &name).unwrap();
    }
    bench.call(KeyRemove { name: name(1) }).unwrap();
    bench.add(&name(1), "sk-first-1").unwrap();
    let disabled = serde_json::json!({"name": name(5), "status": KeyStatus::Disabled});
    let request: KeyUpdate = serde_json::from_value(disabled).unwrap();
    bench.call(request).unwrap();
    assert_eq!(kind(bench.get(&name(5))), Kind::Denied);
    let active = serde_json::json!({"name": name(5), "status": KeyStatus::Active});
    let request: KeyUpdate = serde_json::from_value(active).unwrap();
    bench.call(request).unwrap();
    assert_whole(&bench, 24);
    while !go_on(&bench, Some(3)).unwrap().done {
        assert_whole(&bench, 24);
    }
    assert!(!under_way(&bench));
    assert_whole(&bench, 24);
    assert_eq!(kind(go_on(&bench, None)), Kind::InvalidInput);
}

#[test]
fn an_interrupted_rekey_goes_on_at_the_next_unlock_by_a_call_and_in_the_background() {
    let mut bench = furnished(12);
    // At the next unlock.
    begin(&bench, Some(1)).unwrap();
    bench.reopen();
    assert!(under_way(&bench));
    bench.unlock().unwrap();
    assert!(!under_way(&bench));
    assert_whole(&bench, 12);
    // By a call; with the passphrase again no second one begins.
    let codes = begin(&bench, Some(1)).unwrap().recovery_codes;
    let again = begin(&bench, Some(1)).unwrap();
    assert!(!again.done && again.recovery_codes.is_empty() && again.rekeyed == 2);
    assert!(go_on(&bench, None).unwrap().done);
    // In the background.
    begin(&bench, Some(1)).unwrap();
    let mut looks = 0;
    while bench.service().check_pending() {
        bench.service().check_some();
        looks += 1;
        assert!(looks < 100, "it ends");
    }
    assert!(!under_way(&bench));
    assert_whole(&bench, 12);
    bench.lock();
    let recover = AccountRecover {
        account: None,
        code: secret(codes[0].expose()),
        new_passphrase: secret("another"),
    };
    assert_eq!(
        kind(bench.call(recover)),
        Kind::WrongCredentials,
        "those were replaced as well"
    );
}

#[test]
fn other_sessions_end_and_what_was_on_its_way_in_does_not_come() {
    let bench = furnished(3);
    let other = || Caller {
        uid: me().uid + 1,
        ..me()
    };
    let unlock = AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    bench.call_as(other(), unlock).unwrap();
    let import = |id: Option<String>, name: &str, finish: bool| {
        let json = serde_json::json!({"import": id, "keys": [{"name": name, "secret": "sk-new"}], "finish": finish});
        serde_json::from_value::<VaultImport>(json).unwrap()
    };
    let half = bench.call(import(None, "openai/half", false)).unwrap();
    begin(&bench, None).unwrap();
    let get = KeyGet {
        name: name(0),
        version: None,
    };
    assert_eq!(kind(bench.call_as(other(), get)), Kind::Locked);
    let rest = bench.call(import(half.import, "openai/rest", true));
    assert_eq!(kind(rest), Kind::NotFound);
    assert_whole(&bench, 3);
    // Control: without a rekey between, it comes.
    let half = bench.call(import(None, "openai/half", false)).unwrap();
    bench
        .call(import(half.import, "openai/rest", true))
        .unwrap();
    assert_eq!(bench.get("openai/half").unwrap(), "sk-new");
}

#[test]
fn changes_from_all_sides_while_a_rekey_runs_are_neither_lost_nor_doubled() {
    let bench = furnished(60);
    begin(&bench, Some(1)).unwrap();
    std::thread::scope(|scope| {
        let bench = &bench;
        let rekey = scope.spawn(move || while !go_on(bench, Some(1)).unwrap().done {});
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    for round in 0..20 {
                        let new = format!("openai/w{writer}-{round}");
                        bench.call(new_key(&new, "sk-new")).unwrap();
                        let old = name(writer * 20 + round);
                        // A record that got its new key in this very moment is a conflict, told as such.
                        while let Err(error) = rotate(bench, &old, &format!("sk-rotated-{old}")) {
                            assert_eq!(error.kind(), Kind::Conflict);
                        }
                    }
                })
            })
            .collect();
        let reader = scope.spawn(move || {
            for round in 0..300 {
                bench.get(&name(round % 60)).unwrap();
                if round % 20 == 0 {
                    assert!(listed(bench, Some("groq")).len() >= 30);
                }
            }
        });
        for thread in writers {
            thread.join().unwrap();
        }
        reader.join().unwrap();
        rekey.join().unwrap();
    });
    assert_eq!(listed(&bench, None).len(), 120);
    for index in 0..60 {
        let name = name(index);
        assert_eq!(bench.get(&name).unwrap(), format!("sk-rotated-{name}"));
    }
    assert!(bench.call(VaultCheck::default()).unwrap().ok);
}
