//! Whole flows through the door: accounts, sessions and keys as their owner uses them.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AgentStatus, AgentUnlock, AuditList, AuditVerify, KeyGet,
    KeyHistory, KeyList, KeyRemove, KeyRotate, KeyShow, KeyStatus, KeyUpdate, Op, TotpCodes,
    TotpConfirm, TotpDisable, TotpEnable,
};
use support::{Bench, PASSPHRASE, kind, me, new_key, secret, totp_code};

#[test]
fn a_key_goes_in_and_comes_out_and_stays_out_when_locked() {
    let mut bench = Bench::new();
    let status = bench.call(AgentStatus {}).unwrap();
    assert!(!status.initialized && status.locked);
    bench.register("default", false);
    let key = bench
        .add("openai/work", "sk-abcdefghijklmnopqrstuvwxyz")
        .unwrap();
    assert_eq!(
        (key.name.as_str(), key.preview.as_str()),
        ("openai/work", "sk-a…wxyz")
    );
    assert_eq!(key.env.as_deref(), Some("OPENAI_API_KEY"));
    assert_eq!(
        bench.get("openai/work").unwrap(),
        "sk-abcdefghijklmnopqrstuvwxyz"
    );
    bench.lock();
    assert_eq!(kind(bench.get("openai/work")), Kind::Locked);
    bench.unlock().unwrap();
    assert_eq!(
        bench.get("openai/work").unwrap(),
        "sk-abcdefghijklmnopqrstuvwxyz"
    );
    bench.reopen();
    assert_eq!(kind(bench.get("openai/work")), Kind::Locked);
    bench.unlock().unwrap();
    assert_eq!(
        bench.get("openai/work").unwrap(),
        "sk-abcdefghijklmnopqrstuvwxyz"
    );
    let status = bench.call(AgentStatus {}).unwrap();
    assert!(status.initialized && !status.locked && status.account.as_deref() == Some("default"));
}

#[test]
fn every_operation_of_a_session_is_refused_while_locked() {
    let bench = Bench::initialized();
    bench.lock();
    let bodies = [
        (
            Op::AccountPassphrase,
            r#"{"passphrase":"a","new_passphrase":"b"}"#,
        ),
        (Op::AccountRemove, r#"{"passphrase":"a"}"#),
        (Op::KeyfileEnable, r#"{"passphrase":"a"}"#),
        (Op::KeyfileDisable, r#"{"passphrase":"a"}"#),
        (Op::KeyfileShow, "{}"),
        (Op::TotpEnable, r#"{"passphrase":"a"}"#),
        (Op::TotpConfirm, r#"{"code":"000000"}"#),
        (Op::TotpDisable, r#"{"passphrase":"a"}"#),
        (Op::TotpCodes, r#"{"passphrase":"a"}"#),
        (Op::KeyAdd, r#"{"name":"openai","secret":"x"}"#),
        (Op::KeyGet, r#"{"name":"openai"}"#),
        (Op::KeyShow, r#"{"name":"openai"}"#),
        (Op::KeyList, "{}"),
        (Op::KeyUpdate, r#"{"name":"openai"}"#),
        (Op::KeyRotate, r#"{"name":"openai","secret":"x"}"#),
        (Op::KeyRemove, r#"{"name":"openai"}"#),
        (Op::KeyHistory, r#"{"name":"openai"}"#),
        (Op::ProviderAdd, r#"{"record":{}}"#),
        (Op::ProviderShow, r#"{"name":"openai"}"#),
        (Op::ProviderRemove, r#"{"name":"mine"}"#),
        (Op::PolicyShow, "{}"),
        (Op::PolicySet, "{}"),
        (Op::GrantAdd, r#"{"passphrase":"x"}"#),
        (Op::GrantList, "{}"),
        (Op::GrantRemove, r#"{"id":"00"}"#),
        (Op::VaultExport, r#"{"seal":"a"}"#),
        (
            Op::VaultImport,
            r#"{"keys":[{"name":"openai","secret":"x"}]}"#,
        ),
        (Op::HandoverOffer, "{}"),
        (Op::HandoverSend, r#"{"code":"x","passphrase":"a"}"#),
        (Op::HandoverReceive, r#"{"content":"x"}"#),
        (Op::KeyCopy, r#"{"name":"openai","display":":0"}"#),
        (Op::ProviderTest, r#"{"name":"openai"}"#),
        (Op::ProviderBalance, r#"{"name":"openai"}"#),
        (Op::AuditList, "{}"),
        (Op::AuditCheckpoint, "{}"),
        (Op::AuditVerify, "{}"),
        (Op::VaultCheck, "{}"),
        (Op::SessionList, "{}"),
        (Op::SessionRevoke, "{}"),
        (Op::VaultRekey, r#"{"passphrase":"a"}"#),
        (Op::BillingStatus, "{}"),
        (Op::BillingOrders, "{}"),
        (Op::BillingOrderLink, r#"{"tier":"pro"}"#),
        (Op::BillingRedeem, r#"{"code":"x"}"#),
        (Op::BillingContact, "{}"),
        (Op::BillingNotices, "{}"),
        (Op::BackupCreate, "{}"),
        (Op::BackupSchedule, r#"{"daily":true}"#),
    ];
    for (op, body) in bodies {
        assert_eq!(kind(bench.raw(op, body)), Kind::Locked, "{}", op.name());
    }
    let gated = Op::ALL
        .iter()
        .filter(|op| op.authority() == akm_core::protocol::Authority::Session)
        .count();
    assert_eq!(gated, bodies.len(), "every operation with a gate is tried");
}

#[test]
fn adding_twice_is_a_conflict_and_changes_nothing() {
    let bench = Bench::initialized();
    bench.add("openai", "first").unwrap();
    let error = bench.add("openai/default", "second").unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (Kind::Conflict, Some("name"))
    );
    assert_eq!(bench.get("openai").unwrap(), "first");
}

#[test]
fn bad_fields_are_named_and_change_nothing() {
    let bench = Bench::initialized();
    let cases = [
        (r#"{"name":"","secret":"x"}"#, "name"),
        (r#"{"name":"openai/a\nb","secret":"x"}"#, "name"),
        (r#"{"name":"openai","secret":""}"#, "secret"),
        (r#"{"name":"openai","secret":"a\r\nb"}"#, "secret"),
        (
            r#"{"name":"openai","secret":"x","model":"a\u0000"}"#,
            "model",
        ),
        (
            r#"{"name":"openai","secret":"x","categories":[""]}"#,
            "categories",
        ),
        (
            r#"{"name":"openai","secret":"x","notes":"\u001b[2J"}"#,
            "notes",
        ),
        (
            r#"{"name":"openai","secret":"x","expires_at":"soon"}"#,
            "expires_at",
        ),
        (r#"{"name":"openai","secret":"x","env":"1BAD"}"#, "env"),
        (
            r#"{"name":"openai","secret":"x","base_url":"http://example.com"}"#,
            "base_url",
        ),
        (
            r#"{"name":"openai","secret":"x","use_only":"yes"}"#,
            "use_only",
        ),
    ];
    for (body, field) in cases {
        let error = bench.raw(Op::KeyAdd, body).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::InvalidInput, Some(field)),
            "{body}"
        );
    }
    let long = format!(r#"{{"name":"openai","secret":"{}"}}"#, "k".repeat(8193));
    assert_eq!(
        bench.raw(Op::KeyAdd, &long).unwrap_err().field(),
        Some("secret")
    );
    assert!(bench.call(KeyList::default()).unwrap().keys.is_empty());
    bench.add("openai", "control").unwrap();
    assert_eq!(
        bench.call(KeyList::default()).unwrap().keys.len(),
        1,
        "control"
    );
}

#[test]
fn not_found_names_what_exists() {
    let bench = Bench::initialized();
    bench.add("openai/work", "x").unwrap();
    let error = bench.get("openai").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(error.hint(), Some("there is openai/work"));
    assert!(
        !error.to_string().contains("openai"),
        "what was typed does not come back"
    );
}

#[test]
fn rotation_keeps_the_old_versions_sealed() {
    let bench = Bench::initialized();
    bench.add("openai", "version-one-abcdefghijkl").unwrap();
    bench.clock.advance(Duration::from_secs(60));
    let key = bench
        .call(KeyRotate {
            name: "openai".into(),
            secret: secret("version-two-abcdefghijkl"),
        })
        .unwrap()
        .key;
    assert_eq!(key.version, 2);
    assert_eq!(bench.get("openai").unwrap(), "version-two-abcdefghijkl");
    let old = bench
        .call(KeyGet {
            name: "openai".into(),
            version: Some(1),
        })
        .unwrap();
    assert_eq!(old.secret.expose(), "version-one-abcdefghijkl");
    assert_eq!(
        kind(bench.call(KeyGet {
            name: "openai".into(),
            version: Some(3)
        })),
        Kind::NotFound
    );
    let versions = bench
        .call(KeyHistory {
            name: "openai".into(),
        })
        .unwrap()
        .versions;
    assert_eq!(
        versions.iter().map(|v| v.version).collect::<Vec<_>>(),
        [2, 1]
    );
    assert_eq!(versions[1].preview, "vers…ijkl");
    assert!(versions[0].replaced_at.is_none() && versions[1].replaced_at.is_some());
}

#[test]
fn disabled_expired_burned_and_use_only_keys_are_denied() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    let set = |update: KeyUpdate| bench.call(update).map(|result| result.key);
    let base = || KeyUpdate {
        name: "openai".into(),
        ..KeyUpdate::default()
    };
    set(KeyUpdate {
        status: Some(KeyStatus::Disabled),
        ..base()
    })
    .unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
    set(KeyUpdate {
        status: Some(KeyStatus::Active),
        ..base()
    })
    .unwrap();
    assert!(bench.get("openai").is_ok(), "control");

    set(KeyUpdate {
        expires_at: Some("2027-01-16".into()),
        ..base()
    })
    .unwrap();
    assert!(bench.get("openai").is_ok(), "control");
    bench.clock.advance(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
    let shown = bench
        .call(KeyShow {
            name: "openai".into(),
        })
        .unwrap()
        .key;
    assert_eq!(shown.status, KeyStatus::Expired);
    set(KeyUpdate {
        expires_at: Some(String::new()),
        ..base()
    })
    .unwrap();
    assert!(bench.get("openai").is_ok(), "an empty date removes it");

    set(KeyUpdate {
        use_only: Some(true),
        ..base()
    })
    .unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
    let refused = set(KeyUpdate {
        use_only: Some(false),
        ..base()
    })
    .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.field()),
        (Kind::Denied, Some("passphrase"))
    );
    let wrong = KeyUpdate {
        use_only: Some(false),
        passphrase: Some(secret("wrong")),
        ..base()
    };
    assert_eq!(kind(set(wrong)), Kind::WrongCredentials);
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
    set(KeyUpdate {
        use_only: Some(false),
        passphrase: Some(secret(PASSPHRASE)),
        ..base()
    })
    .unwrap();
    assert!(bench.get("openai").is_ok());

    set(KeyUpdate {
        status: Some(KeyStatus::Burned),
        ..base()
    })
    .unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::Denied);
    assert_eq!(
        kind(set(KeyUpdate {
            status: Some(KeyStatus::Active),
            ..base()
        })),
        Kind::Denied
    );
    bench
        .call(KeyRotate {
            name: "openai".into(),
            secret: secret("fresh"),
        })
        .unwrap();
    assert_eq!(bench.get("openai").unwrap(), "fresh");
    assert_eq!(
        kind(set(KeyUpdate {
            status: Some(KeyStatus::Expired),
            ..base()
        })),
        Kind::InvalidInput
    );
}

#[test]
fn a_key_is_sent_elsewhere_only_with_its_secret() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-original").unwrap();
    let before = bench
        .call(KeyShow {
            name: "openai".into(),
        })
        .unwrap()
        .key;
    assert!(
        before
            .hosts
            .iter()
            .any(|host| host.starts_with("https://api.openai.com")),
        "{:?}",
        before.hosts
    );
    let moved = |secret_text: Option<&str>| KeyUpdate {
        name: "openai".into(),
        base_url: Some("http://127.0.0.1:9999/v1".into()),
        secret: secret_text.map(secret),
        ..KeyUpdate::default()
    };
    assert_eq!(kind(bench.call(moved(None))), Kind::Denied);
    assert_eq!(
        kind(bench.call(moved(Some("sk-other")))),
        Kind::WrongCredentials
    );
    let after = bench.call(moved(Some("sk-original"))).unwrap().key;
    assert_eq!(after.hosts, ["http://127.0.0.1:9999"]);
    assert_eq!(bench.get("openai").unwrap(), "sk-original");
    let renamed = KeyUpdate {
        name: "openai".into(),
        new_name: Some("mistral/x".into()),
        ..KeyUpdate::default()
    };
    assert_eq!(kind(bench.call(renamed)), Kind::Denied);
    let relabelled = KeyUpdate {
        name: "openai".into(),
        new_name: Some("openai/new".into()),
        ..KeyUpdate::default()
    };
    assert_eq!(bench.call(relabelled).unwrap().key.name, "openai/new");
    assert_eq!(kind(bench.get("openai")), Kind::NotFound);
}

#[test]
fn lists_filter_and_page() {
    let bench = Bench::initialized();
    for index in 0..30 {
        let mut key = new_key(
            &format!(
                "{}/k{index}",
                if index % 3 == 0 {
                    "openai"
                } else {
                    "anthropic"
                }
            ),
            "x",
        );
        key.categories = vec![if index % 2 == 0 { "even" } else { "odd" }.into()];
        bench.call(key).unwrap();
    }
    let count = |list: KeyList| {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = bench
                .call(KeyList {
                    provider: list.provider.clone(),
                    category: list.category.clone(),
                    status: list.status,
                    limit: Some(4),
                    after,
                    ..KeyList::default()
                })
                .unwrap();
            assert!(page.keys.len() <= 4);
            names.extend(page.keys.into_iter().map(|key| key.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        names.sort();
        names.dedup();
        names.len()
    };
    assert_eq!(count(KeyList::default()), 30);
    assert_eq!(
        count(KeyList {
            provider: Some("openai".into()),
            ..KeyList::default()
        }),
        10
    );
    assert_eq!(
        count(KeyList {
            category: Some("odd".into()),
            ..KeyList::default()
        }),
        15
    );
    assert_eq!(
        count(KeyList {
            status: Some(KeyStatus::Disabled),
            ..KeyList::default()
        }),
        0
    );
    assert_eq!(
        kind(bench.call(KeyList {
            limit: Some(0),
            ..KeyList::default()
        })),
        Kind::InvalidInput
    );
    assert_eq!(
        kind(bench.call(KeyList {
            after: Some("zz".into()),
            ..KeyList::default()
        })),
        Kind::InvalidInput
    );
}

#[test]
fn a_page_of_large_keys_is_short_and_goes_on() {
    let bench = Bench::initialized();
    // As large as a key may be, and larger on the wire.
    const KEYS: usize = 120;
    for index in 0..KEYS {
        let mut key = new_key(&format!("openai/{}{index:03}", "\"".repeat(90)), "x");
        key.notes = Some("\"".repeat(4096));
        key.categories = (0..32)
            .map(|number| format!("{}{number:02}", "\"".repeat(48)))
            .collect();
        bench.call(key).unwrap();
    }
    let mut names = Vec::new();
    let mut sizes = Vec::new();
    let mut after = None;
    loop {
        let page = bench
            .call(KeyList {
                limit: Some(1000),
                after,
                ..KeyList::default()
            })
            .unwrap();
        sizes.push(akm_core::protocol::encode(&page).unwrap().len());
        names.extend(page.keys.into_iter().map(|key| key.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), KEYS);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), KEYS, "each once");
    assert!(
        sizes.iter().sum::<usize>() > 1_100_000,
        "the control: {sizes:?}"
    );
    // A thousand of them on one page would be more than a client takes.
    assert!(sizes.iter().all(|size| *size < 1_100_000), "{sizes:?}");
    assert!(sizes.len() > 1);
}

#[test]
fn a_page_of_large_events_is_short_and_goes_on() {
    let bench = Bench::initialized();
    bench.add("openai/work", "x").unwrap();
    let caller = Caller {
        exe: format!("/{}", "\u{1}".repeat(4000)),
        ..me()
    };
    const GETS: usize = 700;
    for _ in 0..GETS {
        let request = KeyGet {
            name: "openai/work".into(),
            version: None,
        };
        bench.call_as(caller.clone(), request).unwrap();
    }
    let (mut pages, mut events, mut bytes) = (0, Vec::new(), 0);
    let mut after = None;
    loop {
        let page = bench
            .call(AuditList {
                action: Some("key.get".into()),
                limit: Some(1000),
                after,
                ..AuditList::default()
            })
            .unwrap();
        pages += 1;
        let size = akm_core::protocol::encode(&page).unwrap().len();
        assert!(size < 1_100_000, "{size}");
        bytes += size;
        events.extend(page.events.into_iter().map(|event| event.seq));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(bytes > 1_100_000, "the control: {bytes}");
    assert!(pages > 1);
    assert_eq!(events.len(), GETS);
    assert!(events.is_sorted_by(|a, b| a < b), "each once, in order");
}

#[test]
fn changes_of_one_key_at_once_are_carried_out_one_after_the_other() {
    const EACH: usize = 6;
    let bench = Bench::initialized();
    bench.add("openai/work", "x").unwrap();
    bench.add("openai/taken", "x").unwrap();
    let at_once = |change: &(dyn Fn(usize, usize) -> akm_core::Result<()> + Sync)| {
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        (0..EACH)
                            .map(|round| change(thread, round))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        })
    };
    let rotated = at_once(&|thread, round| {
        let request = KeyRotate {
            name: "openai/work".into(),
            secret: secret(&format!("{thread}-{round}")),
        };
        bench.call(request).map(|_| ())
    });
    assert!(rotated.iter().all(Result::is_ok), "{rotated:?}");
    let history = bench
        .call(KeyHistory {
            name: "openai/work".into(),
        })
        .unwrap();
    assert_eq!(history.versions.len(), 8 * EACH + 1);
    // Each changes a field of its own, and none undoes what another did.
    let updated = at_once(&|thread, round| {
        let name = "openai/work".to_owned();
        let request = match thread % 2 {
            0 => KeyUpdate {
                name,
                notes: Some(format!("round {round}")),
                ..KeyUpdate::default()
            },
            _ => KeyUpdate {
                name,
                model: Some(format!("round {round}")),
                ..KeyUpdate::default()
            },
        };
        bench.call(request).map(|_| ())
    });
    assert!(updated.iter().all(Result::is_ok), "{updated:?}");
    // A name that is taken is no matter of order.
    let refused = bench
        .call(KeyUpdate {
            name: "openai/work".into(),
            new_name: Some("openai/taken".into()),
            ..KeyUpdate::default()
        })
        .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.field()),
        (Kind::Conflict, Some("new_name"))
    );
    // One removes it, the others find it gone.
    let removed = at_once(&|_, _| {
        let request = KeyRemove {
            name: "openai/work".into(),
        };
        bench.call(request).map(|_| ())
    });
    let kinds = |wanted: Option<Kind>| {
        let kind = |result: &akm_core::Result<()>| result.as_ref().err().map(|error| error.kind());
        removed
            .iter()
            .filter(|result| kind(result) == wanted)
            .count()
    };
    assert_eq!(
        (kinds(None), kinds(Some(Kind::NotFound))),
        (1, 8 * EACH - 1)
    );
}

#[test]
fn removal_is_final() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    bench
        .call(KeyRemove {
            name: "openai".into(),
        })
        .unwrap();
    assert_eq!(kind(bench.get("openai")), Kind::NotFound);
    bench.add("openai", "y").unwrap();
    assert_eq!(bench.get("openai").unwrap(), "y");
}

#[test]
fn a_limit_on_keys_holds() {
    let bench = Bench::with_limit(Some(2));
    bench.register("default", false);
    bench.add("openai/a", "x").unwrap();
    bench.add("openai/b", "x").unwrap();
    assert_eq!(kind(bench.add("openai/c", "x")), Kind::LimitReached);
    bench
        .call(KeyRemove {
            name: "openai/a".into(),
        })
        .unwrap();
    bench.add("openai/c", "x").unwrap();
}

#[test]
fn a_new_passphrase_replaces_the_old() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    let change = |old: &str, new: &str| {
        bench.call(AccountPassphrase {
            passphrase: secret(old),
            new_passphrase: secret(new),
        })
    };
    assert_eq!(kind(change("wrong", "new one")), Kind::WrongCredentials);
    assert_eq!(
        change(PASSPHRASE, "").unwrap_err().field(),
        Some("new_passphrase")
    );
    change(PASSPHRASE, "new one").unwrap();
    assert_eq!(
        bench.get("openai").unwrap(),
        "x",
        "the caller's session stays"
    );
    bench.lock();
    assert_eq!(kind(bench.unlock()), Kind::WrongCredentials);
    bench.sign_in(None, "new one", None).unwrap();
    assert_eq!(bench.get("openai").unwrap(), "x");
}

#[test]
fn b16_composed_and_decomposed_passphrases_are_one() {
    let bench = Bench::initialized();
    bench
        .call(AccountPassphrase {
            passphrase: secret(PASSPHRASE),
            new_passphrase: secret("caf\u{e9}"),
        })
        .unwrap();
    bench.lock();
    bench.sign_in(None, "cafe\u{301}", None).unwrap();
    assert_eq!(
        kind(bench.sign_in(None, "cafe", None)),
        Kind::WrongCredentials
    );
}

#[test]
fn totp_binds_from_its_first_code_on() {
    let bench = Bench::new();
    let registered = bench.register("default", true);
    let base32 = registered.totp_secret.unwrap();
    let code = || totp_code(base32.expose(), bench.clock.unix_s());
    bench.lock();
    bench.unlock().expect("pending: not asked for yet");
    assert!(!bench.call(AgentStatus {}).unwrap().totp_required);
    assert_eq!(
        kind(bench.call(TotpConfirm {
            code: secret("000000")
        })),
        Kind::WrongCredentials
    );
    bench
        .call(TotpConfirm {
            code: secret(&code()),
        })
        .unwrap();
    assert!(bench.call(AgentStatus {}).unwrap().totp_required);
    assert_eq!(
        kind(bench.call(TotpConfirm {
            code: secret(&code())
        })),
        Kind::Conflict
    );
    bench.lock();
    assert_eq!(kind(bench.unlock()), Kind::WrongCredentials);
    assert_eq!(
        kind(bench.sign_in(None, PASSPHRASE, Some(&code()))),
        Kind::WrongCredentials,
        "the confirming code is used up"
    );
    bench.clock.advance(Duration::from_secs(30));
    bench.sign_in(None, PASSPHRASE, Some(&code())).unwrap();
    assert_eq!(
        kind(bench.call(TotpEnable {
            passphrase: secret(PASSPHRASE)
        })),
        Kind::Conflict
    );
    bench
        .call(TotpDisable {
            passphrase: secret(PASSPHRASE),
        })
        .unwrap();
    bench.lock();
    bench.unlock().unwrap();
    let again = bench
        .call(TotpEnable {
            passphrase: secret(PASSPHRASE),
        })
        .unwrap();
    assert!(!again.totp_secret.matches(&base32));
    assert!(again.totp_uri.expose().contains(again.totp_secret.expose()));
}

#[test]
fn b13_a_recovery_code_works_once_and_forces_new_factors() {
    let bench = Bench::new();
    let registered = bench.register("default", true);
    let base32 = registered.totp_secret.unwrap();
    bench.add("openai", "x").unwrap();
    let code = totp_code(base32.expose(), bench.clock.unix_s());
    bench
        .call(TotpConfirm {
            code: secret(&code),
        })
        .unwrap();
    bench.lock();
    let recover = |index: usize, new: &str| {
        bench.call(AccountRecover {
            account: None,
            code: registered.recovery_codes[index].duplicate(),
            new_passphrase: secret(new),
        })
    };
    assert_eq!(registered.recovery_codes.len(), 8);
    let recovered = recover(3, "after the loss").unwrap();
    assert_eq!(recovered.codes_left, 7);
    let fresh = recovered.totp_secret.expect("TOTP starts again");
    assert!(!fresh.matches(&base32));
    assert_eq!(bench.get("openai").unwrap(), "x");
    assert_eq!(kind(recover(3, "again")), Kind::WrongCredentials);
    bench.lock();
    assert_eq!(kind(bench.unlock()), Kind::WrongCredentials);
    bench.sign_in(None, "after the loss", None).unwrap();
    recover(4, "second loss").expect("the other codes still work");

    let replaced = bench
        .call(TotpCodes {
            passphrase: secret("second loss"),
        })
        .unwrap()
        .recovery_codes;
    assert_eq!(replaced.len(), 8);
    assert_eq!(kind(recover(5, "old code")), Kind::WrongCredentials);
}

#[test]
fn a_lifetime_ends_the_session_even_before_anybody_sweeps() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    let unlock = |lifetime_s| {
        bench.call(AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            keyfile: None,
            lifetime_s,
            accept_rollback: None,
        })
    };
    assert_eq!(kind(unlock(Some(0))), Kind::InvalidInput);
    assert_eq!(kind(unlock(Some(u64::MAX))), Kind::InvalidInput);
    let unlocked = unlock(Some(60)).unwrap();
    assert!(unlocked.expires_at.is_some());
    bench.clock.advance(Duration::from_secs(59));
    assert!(bench.get("openai").is_ok(), "control");
    let deadline = bench.service().next_deadline().unwrap();
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(kind(bench.get("openai")), Kind::Locked);
    assert!(bench.call(AgentStatus {}).unwrap().locked);
    assert_eq!(bench.service().next_deadline(), Some(deadline));
    bench.service().expire();
    assert_eq!(bench.service().next_deadline(), None);
}

#[test]
fn the_default_lifetime_holds_for_every_way_into_an_account() {
    let unlock = |bench: &Bench, lifetime_s| {
        bench.call(AgentUnlock {
            account: Some("second".into()),
            passphrase: secret(PASSPHRASE),
            totp: None,
            keyfile: None,
            lifetime_s,
            accept_rollback: None,
        })
    };
    let recover = |bench: &Bench, code: &akm_core::Secret| {
        bench.call(AccountRecover {
            account: Some("second".into()),
            code: code.duplicate(),
            new_passphrase: secret(PASSPHRASE),
        })
    };
    let mut bench = Bench::initialized();
    let left = |bench: &Bench| {
        use akm_core::host::Clock as _;
        let deadline = bench.service().next_deadline();
        deadline.map(|deadline| deadline - bench.clock.boot())
    };
    assert_eq!(left(&bench), None, "control: without a default");
    let hour = Duration::from_secs(3600);
    bench.default_lifetime = Some(hour);
    bench.reopen();
    let codes = bench.register("second", false).recovery_codes;
    assert_eq!(left(&bench), Some(hour), "register");
    bench.lock();
    assert_eq!(left(&bench), None);
    recover(&bench, &codes[0]).unwrap();
    assert_eq!(left(&bench), Some(hour), "recover");
    unlock(&bench, Some(60)).unwrap();
    assert_eq!(left(&bench), Some(Duration::from_secs(60)), "asked for");
    unlock(&bench, None).unwrap();
    assert_eq!(left(&bench), Some(hour), "unlock");
    bench.clock.advance(hour);
    assert!(bench.call(AgentStatus {}).unwrap().locked);
}

#[test]
fn sessions_belong_to_a_uid_and_hold_one_account() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
    let other = || Caller {
        uid: me().uid + 1,
        ..me()
    };
    let get = || KeyGet {
        name: "openai".into(),
        version: None,
    };
    assert_eq!(kind(bench.call_as(other(), get())), Kind::Locked);
    bench.register("second", false);
    assert_eq!(
        kind(bench.get("openai")),
        Kind::NotFound,
        "another account has other keys"
    );
    bench.sign_in(Some("default"), PASSPHRASE, None).unwrap();
    assert_eq!(bench.get("openai").unwrap(), "x");
    assert_eq!(
        kind(bench.call(support_register("default"))),
        Kind::Conflict
    );
    assert_eq!(
        kind(bench.call(support_register("no spaces"))),
        Kind::InvalidInput
    );
}

fn support_register(account: &str) -> akm_core::protocol::AccountRegister {
    akm_core::protocol::AccountRegister {
        account: account.into(),
        passphrase: secret("p"),
        totp: Some(false),
        invitation: None,
    }
}

#[test]
fn b14_a_new_passphrase_ends_other_sessions() {
    let bench = Bench::initialized();
    bench.add("openai", "x").unwrap();
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
    let get = || KeyGet {
        name: "openai".into(),
        version: None,
    };
    assert!(bench.call_as(other(), get()).is_ok(), "control");
    bench
        .call(AccountPassphrase {
            passphrase: secret(PASSPHRASE),
            new_passphrase: secret("new"),
        })
        .unwrap();
    assert_eq!(kind(bench.call_as(other(), get())), Kind::Locked);
    assert!(bench.get("openai").is_ok());
}

#[test]
fn what_happened_is_listed_and_verifies() {
    let mut bench = Bench::initialized();
    bench.add("openai/work", "x").unwrap();
    bench.get("openai/work").unwrap();
    assert_eq!(kind(bench.get("openai/nothing")), Kind::NotFound);
    bench.lock();
    assert_eq!(
        kind(bench.sign_in(Some("who-is-this"), "nobody", None)),
        Kind::WrongCredentials
    );
    bench.reopen();
    bench.unlock().unwrap();
    let events = bench.call(AuditList::default()).unwrap().events;
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.action.as_str(),
                event.outcome.as_str(),
                event.key.as_deref(),
            )
        })
        .collect();
    for wanted in [
        ("account.register", "ok", None),
        ("key.add", "ok", Some("openai/work")),
        ("key.get", "ok", Some("openai/work")),
        ("key.get", "not_found", None),
        ("agent.lock", "ok", None),
        ("agent.unlock", "ok", None),
        ("agent.unlock", "wrong_credentials", None),
    ] {
        assert!(seen.contains(&wanted), "{wanted:?} in {seen:?}");
    }
    let text = serde_json::to_string(&events).unwrap();
    assert!(
        !text.contains("who-is-this") && !text.contains("nothing"),
        "nothing typed in vain is kept"
    );
    assert!(text.contains("/usr/bin/test"), "control");
    let only = AuditList {
        action: Some("key.get".into()),
        key: Some("openai/work".into()),
        ..AuditList::default()
    };
    assert_eq!(bench.call(only).unwrap().events.len(), 1);
    let verified = bench.call(AuditVerify::default()).unwrap();
    assert!(verified.ok && verified.entries >= 7 && verified.first_bad.is_none());
    let shown = bench
        .call(KeyShow {
            name: "openai/work".into(),
        })
        .unwrap()
        .key;
    assert!(
        shown.last_used_at.is_some(),
        "the audit fills in when a key was used"
    );
}

#[test]
fn a_filter_finds_by_what_is_sealed() {
    let mut bench = Bench::initialized();
    bench.add("openai/a", "x").unwrap();
    bench.add("anthropic/b", "y").unwrap();
    let openai = || KeyList {
        provider: Some("openai".into()),
        ..KeyList::default()
    };
    assert_eq!(bench.call(openai()).unwrap().keys.len(), 1, "control");
    bench.close();
    let moved = bench
        .hand()
        .execute(
            "UPDATE keys SET provider_tag = (SELECT provider_tag FROM keys LIMIT 1)",
            [],
        )
        .unwrap();
    assert_eq!(moved, 2);
    bench.reopen();
    bench.unlock().unwrap();
    let both = bench.call(KeyList::default());
    assert_eq!(
        kind(both),
        Kind::Corrupt,
        "one of them rests under the other's provider"
    );
}
