//! Cases of the attack programme that count key derivations. The seam counts for the whole process, so these run
//! one at a time, in a process of their own.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use akm_core::protocol::{Op, Request};
use akm_core::vault::Origin;
use akm_core::{Kind, crypto};
use support::{Bench, PASSPHRASE, kind, secret, totp_code, with_totp};

/// Held by each test while it counts.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_kdf(bench: &Bench, change: impl FnOnce(&mut Vec<u8>)) {
    let hand = bench.hand();
    let mut kdf: Vec<u8> = hand
        .query_row("SELECT kdf FROM slots WHERE slot = 0", [], |row| row.get(0))
        .unwrap();
    change(&mut kdf);
    hand.execute("UPDATE slots SET kdf = ?1 WHERE slot = 0", [&kdf])
        .unwrap();
}

fn unlock_kind(bench: &mut Bench) -> std::result::Result<(), Kind> {
    bench.reopen();
    let answer = bench.unlock().map(drop).map_err(|error| error.kind());
    bench.close();
    answer
}

#[test]
fn b02_unknown_accounts_cost_the_same_derivations() {
    let _alone = alone();
    let bench = Bench::initialized();
    let cost = |account: &str| {
        let before = crypto::derivations();
        assert_eq!(
            kind(bench.sign_in(Some(account), "wrong", None)),
            Kind::WrongCredentials
        );
        crypto::derivations() - before
    };
    let known = cost("default");
    assert_eq!(known, 1, "control: the seam counts");
    for unknown in ["nobody", "", "not a name", "ＤＥＦＡＵＬＴ", "x/../default"] {
        assert_eq!(cost(unknown), known, "{unknown:?}");
    }
}

#[test]
fn b04_lockout_holds_over_all_spellings() {
    let _alone = alone();
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("vectors/akm/username_alias_cases.json")).unwrap();
    let bench = Bench::new();
    bench.register("alice", false);
    bench.lock();
    let derived = crypto::derivations();
    let mut typed: Vec<String> = vec!["alice".into()];
    for case in cases["cases"].as_array().unwrap() {
        match (&case["value"], case.get("raw_json")) {
            (serde_json::Value::String(text), _) => typed.push(text.clone()),
            (serde_json::Value::Null, Some(raw)) => {
                let raw = raw
                    .as_str()
                    .unwrap()
                    .replace("user", "account")
                    .replace("password", "passphrase");
                assert_eq!(
                    kind(Request::decode(Op::AgentUnlock, raw.as_bytes())),
                    Kind::InvalidInput
                );
            }
            (value @ (serde_json::Value::Number(_) | serde_json::Value::Array(_)), _) => {
                let body = serde_json::json!({"account": value, "passphrase": "x"}).to_string();
                let error = bench.raw(Op::AgentUnlock, &body).unwrap_err();
                assert_eq!(
                    (error.kind(), error.field()),
                    (Kind::InvalidInput, Some("account"))
                );
            }
            (serde_json::Value::Null, None) => {}
            (other, _) => panic!("{other}"),
        }
    }
    assert!(typed.len() > 20);
    assert_eq!(
        crypto::derivations(),
        derived,
        "control: nothing was tried yet"
    );
    // Whatever folds to alice shares her counter; whatever does not can never open her account.
    let mut as_alice = 0;
    for spelling in &typed {
        for _ in 0..6 {
            match bench
                .sign_in(Some(spelling), "wrong", None)
                .unwrap_err()
                .kind()
            {
                Kind::WrongCredentials => {
                    as_alice += usize::from(spelling.eq_ignore_ascii_case("alice"));
                }
                Kind::RateLimited => {}
                other => panic!("{spelling:?}: {other:?}"),
            }
        }
        let right = bench.sign_in(Some(spelling), PASSPHRASE, None);
        assert!(
            right.is_err(),
            "{spelling:?}: alice is waiting, others never open"
        );
    }
    assert_eq!(
        as_alice, 5,
        "alice's passphrase was tried five times over all spellings"
    );
    for spelling in typed
        .iter()
        .skip(1)
        .filter(|s| !s.eq_ignore_ascii_case("alice"))
    {
        let body =
            serde_json::json!({"account": spelling, "passphrase": "p", "totp": false}).to_string();
        match bench.raw(Op::AccountRegister, &body) {
            Ok(_) => assert!(spelling.is_ascii(), "{spelling:?} could be taken for alice"),
            Err(error) => assert_eq!(error.kind(), Kind::InvalidInput, "{spelling:?}"),
        }
    }
    let register = |name: &str| {
        let body = serde_json::json!({"account": name, "passphrase": "p", "totp": false});
        bench
            .raw(Op::AccountRegister, &body.to_string())
            .map_err(|error| (error.kind(), error.field().map(str::to_owned)))
    };
    for other in ["alice2", "malice", "ali-ce", "modern", "wave", "x.y"] {
        register(other).expect("control: it looks like no other");
    }
    for alike in [
        "a1ice", "aIice", "aL1CE", "ali.ce", "al1_ce", "modem", "rnodern", "vvave", "x-y", "x_y",
    ] {
        let refused = Err((Kind::Conflict, Some("account".to_owned())));
        assert_eq!(register(alike).map(drop), refused, "{alike}");
    }
    bench.clock.advance(Duration::from_secs(16 * 60));
    bench
        .sign_in(Some("Alice"), PASSPHRASE, None)
        .expect("control: after the wait the owner gets in");
}

#[test]
fn b05_concurrent_guesses_are_bounded_by_the_counter() {
    let _alone = alone();
    let bench = Bench::initialized();
    bench.lock();
    const THREADS: usize = 500;
    let barrier = Barrier::new(THREADS);
    let tried = AtomicUsize::new(0);
    let before = crypto::derivations();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                match kind(bench.sign_in(None, "wrong", None)) {
                    Kind::WrongCredentials => _ = tried.fetch_add(1, Ordering::Relaxed),
                    Kind::RateLimited => {}
                    other => panic!("{other:?}"),
                }
            });
        }
    });
    assert_eq!(tried.load(Ordering::Relaxed), 5);
    assert_eq!(
        crypto::derivations() - before,
        5,
        "the real hash was tried five times"
    );
}

#[test]
fn b12_no_oracle_between_the_factors() {
    let _alone = alone();
    let (bench, base32) = with_totp();
    bench.lock();
    bench.clock.advance(Duration::from_secs(60));
    let code = totp_code(&base32, bench.clock.unix_s());
    let try_with = |passphrase: &str, code: Option<&str>| {
        bench.clock.advance(Duration::from_secs(16 * 60));
        let before = crypto::derivations();
        let error = bench.sign_in(None, passphrase, code).unwrap_err();
        (
            serde_json::to_string(&error).unwrap(),
            crypto::derivations() - before,
        )
    };
    let wrong_passphrase = try_with("wrong", Some(&code));
    assert_eq!(wrong_passphrase.1, 1, "control: the seam counts");
    assert_eq!(try_with(PASSPHRASE, Some("000000")), wrong_passphrase);
    assert_eq!(try_with(PASSPHRASE, None), wrong_passphrase);
    assert_eq!(try_with("wrong", None), wrong_passphrase);
    bench.clock.advance(Duration::from_secs(16 * 60));
    let code = totp_code(&base32, bench.clock.unix_s());
    bench
        .sign_in(None, PASSPHRASE, Some(&code))
        .expect("control: both right opens");
}

#[test]
fn a07_kdf_downgrade() {
    let _alone = alone();
    let mut bench = Bench::initialized();
    bench.close();
    assert_eq!(unlock_kind(&mut bench), Ok(()), "control");
    let mut good = Vec::new();
    set_kdf(&bench, |kdf| good = kdf.clone());
    let derived = crypto::derivations();
    // The recovery codes' algorithm, which does not stretch; an unknown one; Argon2id of 8 KiB, t = 1.
    let weak = [
        vec![2u8],
        vec![9u8],
        [
            vec![1u8],
            8u32.to_be_bytes().to_vec(),
            1u32.to_be_bytes().to_vec(),
            1u32.to_be_bytes().to_vec(),
        ]
        .concat(),
        [
            vec![1u8],
            8u32.to_le_bytes().to_vec(),
            1u32.to_le_bytes().to_vec(),
            1u32.to_le_bytes().to_vec(),
        ]
        .concat(),
    ];
    for head in weak {
        let mut forged = good.clone();
        forged[..head.len().min(good.len())].copy_from_slice(&head[..head.len().min(good.len())]);
        if head.len() == 1 && head[0] == 2 {
            forged = [vec![2u8], good[good.len() - 16..].to_vec()].concat();
        }
        set_kdf(&bench, |kdf| *kdf = forged.clone());
        let refused = unlock_kind(&mut bench).unwrap_err();
        assert!(
            matches!(refused, Kind::Corrupt | Kind::UnsupportedVersion),
            "{refused:?}"
        );
    }
    let zero_salt: Vec<u8> = [&good[..good.len() - 16], &[0; 16]].concat();
    set_kdf(&bench, |kdf| *kdf = zero_salt);
    assert!(matches!(
        unlock_kind(&mut bench).unwrap_err(),
        Kind::Corrupt | Kind::UnsupportedVersion
    ));
    assert_eq!(
        crypto::derivations(),
        derived,
        "nothing was derived under weak parameters"
    );
    set_kdf(&bench, |kdf| *kdf = good.clone());
    // Five refusals are five attempts.
    bench.clock.advance(Duration::from_secs(16 * 60));
    assert_eq!(
        unlock_kind(&mut bench),
        Ok(()),
        "control: put back, it opens"
    );
}

#[test]
fn b14_a_recovery_is_not_undone_by_a_change_under_way() {
    let _alone = alone();
    // The vault's own steps, in the order of the race: the old passphrase is confirmed, the owner recovers, and only
    // then does the change try to commit.
    let mut bench = Bench::new();
    let codes = bench.register("default", false).recovery_codes;
    bench.close();
    let vault = bench.bare_vault();
    let name = akm_core::name::AccountName::parse("default", "account").unwrap();
    let proof = vault
        .confirm_passphrase(&name, &secret(PASSPHRASE), None, Origin::Owner)
        .unwrap();
    let evil = vault.prepare_passphrase(&proof, &secret("evil")).unwrap();
    vault
        .recover(
            "default",
            &codes[0],
            &secret("owner"),
            Origin::Owner,
            &mut |_| Ok(()),
        )
        .unwrap();
    let undone = vault.change_way(&proof, evil, &mut || Ok(()));
    assert_eq!(kind(undone), Kind::Conflict);
    drop(vault);
    bench.reopen();
    assert_eq!(
        kind(bench.sign_in(None, "evil", None)),
        Kind::WrongCredentials
    );
    bench
        .sign_in(None, "owner", None)
        .expect("control: the recovery stands");
}
