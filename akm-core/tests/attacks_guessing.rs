//! Group B of the attack programme: guessing, clocks that jump, counters under kills, and accounts among each other.
//! Each case has its positive control: the same without the attack, or the attack's foothold shown to be real.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use akm_core::audit::{Caller, Via};
use akm_core::crypto::{self, KdfCost};
use akm_core::host::{Clock, Host};
use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AccountRegister, AgentUnlock, KeyAdd, KeyList, Offered, Op,
    Request, TotpConfirm, offered,
};
use akm_core::service::{Hosting, Registration};
use akm_core::store::SqliteStore;
use akm_core::vault::{Origin, SignIn, Vault, load_host_key};
use akm_core::{Error, Kind};
use support::{Bench, ManualClock, PASSPHRASE, kind, me, new_key, secret, totp_code, with_totp};

const MINUTE: Duration = Duration::from_secs(60);
const YEAR_MS: i64 = 366 * 86_400_000;

/// Somebody else than the owner.
fn stranger(number: u32) -> Caller {
    Caller {
        uid: me().uid + number,
        ..me()
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

#[test]
fn b03_an_unknown_name_is_locked_out_as_a_known_one_is() {
    let bench = Bench::initialized();
    bench.lock();
    for caller in [me as fn() -> Caller, || stranger(1)] {
        let answers = |account: &str| -> Vec<String> {
            (0..12)
                .map(|_| {
                    let error = bench.call_as(caller(), unlock(account, "wrong"));
                    serde_json::to_string(&error.unwrap_err()).unwrap()
                })
                .collect()
        };
        let known = answers("default");
        assert_eq!(answers("nobody"), known);
        let limited = known.iter().filter(|text| text.contains("rate_limited"));
        assert_eq!(limited.count(), 7, "control: the lockout is reached");
    }
}

#[test]
fn b03_a_table_full_of_names_that_nobody_has_tells_none_apart() {
    let mut bench = Bench::initialized();
    bench.close();
    bench
        .hand()
        .execute_batch(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO attempts (tag, failures, blocked_until) SELECT randomblob(32), 2, 0 FROM n",
        )
        .unwrap();
    bench.reopen();
    for caller in [me as fn() -> Caller, || stranger(1)] {
        let kinds = |account: &str| -> Vec<Kind> {
            (0..8)
                .map(|_| kind(bench.call_as(caller(), unlock(account, "wrong"))))
                .collect()
        };
        let known = kinds("default");
        assert_eq!(known[4..6], [Kind::WrongCredentials, Kind::RateLimited]);
        // In turns with other names that nobody has, each of which would once have made room for itself.
        for round in 0..20 {
            assert_eq!(kinds(&format!("nobody-{round}")), known);
        }
    }
}

#[test]
fn b06_an_attempt_counts_though_what_it_was_for_is_rolled_back() {
    let mut bench = Bench::new();
    let codes = bench.register("default", false).recovery_codes;
    bench.close();
    let vault = bench.bare_vault();
    let recover = |audit: &mut dyn FnMut() -> akm_core::Result<()>| {
        vault
            .recover(
                "default",
                &codes[0],
                &secret("new"),
                Origin::Owner,
                &mut |_| audit(),
            )
            .map(drop)
            .map_err(|error| error.kind())
    };
    // The code is right each time; the transaction that would use it up aborts.
    for _ in 0..5 {
        let aborted = recover(&mut || Err(Error::new(Kind::Io, "no space is left on the device")));
        assert_eq!(
            aborted,
            Err(Kind::Io),
            "control: it came as far as the commit"
        );
    }
    assert_eq!(recover(&mut || Ok(())), Err(Kind::RateLimited));
    bench.clock.advance(MINUTE);
    assert_eq!(
        recover(&mut || Ok(())),
        Ok(()),
        "control: the code is not used up"
    );
}

/// Kills this process as soon as a passphrase was tried and before its code is looked at.
struct KillingClock(Arc<ManualClock>);

impl Clock for KillingClock {
    fn now(&self) -> jiff::Timestamp {
        if crypto::derivations() > 0 {
            let me = std::process::id().to_string();
            let _ = Command::new("kill").args(["-9", &me]).status();
        }
        self.0.now()
    }

    fn boot(&self) -> Duration {
        self.0.boot()
    }
}

const B06_HOME: &str = "AKM_TEST_B06_HOME";

fn vault_with(home: &Path, clock: Arc<dyn Clock>) -> Vault {
    let host = Host {
        clock,
        kdf_cost: KdfCost::insecure_test(),
        ..Host::real()
    };
    let store = SqliteStore::open(&home.join("vault.db"), &*host.random, &*host.clock).unwrap();
    let host_key = load_host_key(&home.join("state"), &*host.random).unwrap();
    Vault::new(Arc::new(store), host, host_key, None)
}

#[test]
#[ignore = "a child process of b06_a_kill_between_check_and_answer_is_counted"]
fn b06_child() {
    let Some(home) = std::env::var_os(B06_HOME) else {
        return;
    };
    let clock = Arc::new(KillingClock(ManualClock::at(1_800_000_060_000)));
    let vault = vault_with(&PathBuf::from(home), clock);
    let error = vault
        .sign_in(&SignIn {
            account: "default",
            passphrase: &secret(PASSPHRASE),
            totp: Some(&secret("000000")),
            device: None,
            origin: Origin::Owner,
            accept_rollback: false,
        })
        .err()
        .unwrap();
    assert_eq!(error.kind(), Kind::RateLimited);
}

#[test]
fn b06_a_kill_between_check_and_answer_is_counted() {
    let (mut bench, base32) = with_totp();
    bench.close();
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "b06_child"])
            .env(B06_HOME, bench.home.path())
            .output()
            .unwrap()
            .status
    };
    for _ in 0..5 {
        assert_eq!(
            child().signal(),
            Some(9),
            "control: killed after the passphrase was tried"
        );
    }
    assert!(child().success(), "the sixth is not tried any more");
    bench.clock.advance(2 * MINUTE);
    bench.reopen();
    let code = totp_code(&base32, bench.clock.unix_s());
    bench
        .sign_in(None, PASSPHRASE, Some(&code))
        .expect("control: who waited gets in");
}

/// A code that is not valid now.
fn wrong_code(base32: &str, unix_s: i64, guess: u32) -> String {
    let valid: Vec<String> = (-1..=1)
        .map(|step| totp_code(base32, unix_s + 30 * step))
        .collect();
    (guess..)
        .map(|guess| format!("{:06}", guess % 1_000_000))
        .find(|code| !valid.contains(code))
        .unwrap()
}

/// Guesses at the code of somebody whose passphrase is known, all day long.
fn guess_for_a_day(guesses: u32) {
    let (mut bench, base32) = with_totp();
    bench.close();
    let mut vault = Some(vault_with(bench.home.path(), bench.clock.clone()));
    let pause = Duration::from_secs(86_400) / guesses;
    let mut tried = 0;
    for guess in 0..guesses {
        bench.clock.advance(pause);
        if guess % (guesses / 8) == 0 {
            // A restart in between, as an attacker who can kill the agent has.
            drop(vault.take());
            vault = Some(vault_with(bench.home.path(), bench.clock.clone()));
        }
        let code = wrong_code(&base32, bench.clock.unix_s(), guess.wrapping_mul(7919));
        let error = vault
            .as_ref()
            .unwrap()
            .sign_in(&SignIn {
                account: "default",
                passphrase: &secret(PASSPHRASE),
                totp: Some(&secret(&code)),
                device: None,
                origin: Origin::Owner,
                accept_rollback: false,
            })
            .err()
            .unwrap();
        match error.kind() {
            Kind::WrongCredentials => tried += 1,
            Kind::RateLimited => {}
            other => panic!("{other:?}"),
        }
    }
    drop(vault);
    let hand = bench.hand();
    let mut statement = hand
        .prepare("SELECT failures FROM attempts ORDER BY failures")
        .unwrap();
    let failures: Vec<u32> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // The bucket of the name and what the account added to it are two rows.
    let [_, codes, passphrases, added] = failures[..] else {
        panic!("{failures:?}");
    };
    assert_eq!(passphrases, added);
    let chance = f64::from(codes) * 3.0 / 1_000_000.0;
    eprintln!(
        "{guesses} guesses in 24 h: {tried} answered, {codes} codes compared, chance {:.4} %",
        chance * 100.0
    );
    assert_eq!(passphrases, tried, "control: every other guess was tried");
    assert!(
        tried > 1000,
        "control: the passphrase's own counter lets more through"
    );
    assert!(codes > 50, "control: codes were compared");
    assert!(chance <= 0.001, "{chance}");
    // What was right all along gets in after the wait, and the counter is gone.
    bench.clock.advance(15 * MINUTE);
    bench.reopen();
    let code = totp_code(&base32, bench.clock.unix_s());
    bench.sign_in(None, PASSPHRASE, Some(&code)).unwrap();
}

#[test]
fn b10_a_day_of_guesses_at_a_code() {
    guess_for_a_day(5_000);
}

#[test]
#[ignore = "a hundred thousand guesses: half a minute in a release build"]
fn b10_a_hundred_thousand_guesses_in_a_day() {
    guess_for_a_day(100_000);
}

/// A waiting owner: six failures.
fn waiting(bench: &Bench) -> u64 {
    for _ in 0..5 {
        assert_eq!(
            kind(bench.sign_in(None, "wrong", None)),
            Kind::WrongCredentials
        );
    }
    retry_after(bench)
}

fn retry_after(bench: &Bench) -> u64 {
    let error = bench.unlock().unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    error.retry_after_s().unwrap()
}

#[test]
fn b11_a_clock_that_jumps_neither_ends_a_wait_nor_stretches_it() {
    let mut bench = Bench::initialized();
    bench.lock();
    let now = bench.clock.unix_s() * 1000;
    let wait = waiting(&bench);
    let after_2038 = i64::from(i32::MAX) * 1000 + 86_400_000;
    let after_2106 = i64::from(u32::MAX) * 1000 + 86_400_000;
    for wall in [now - YEAR_MS, now + YEAR_MS, after_2038, after_2106, 0, now] {
        bench.clock.set_wall(wall);
        assert_eq!(retry_after(&bench), wait, "at {wall}");
    }
    bench.clock.set_wall(now - YEAR_MS);
    bench.clock.advance(Duration::from_secs(wait));
    bench.unlock().expect("control: who waits as told gets in");
    bench.lock();

    // Over a restart the wall clock counts: set back by a year it costs the owner's longest wait, once.
    bench.clock.set_wall(now);
    bench.reopen();
    waiting(&bench);
    bench.clock.set_wall(now - YEAR_MS);
    bench.reopen();
    assert_eq!(retry_after(&bench), 60);
    bench.clock.advance(MINUTE);
    bench.unlock().unwrap();
}

#[test]
fn b11_no_old_code_opens_under_a_clock_that_was_set_back() {
    let (bench, base32) = with_totp();
    bench.lock();
    bench.clock.advance(MINUTE);
    let now = bench.clock.unix_s();
    // Seen by somebody a year ago, and this minute.
    let old = totp_code(&base32, now - 31_622_400);
    let this = totp_code(&base32, now);
    bench.sign_in(None, PASSPHRASE, Some(&this)).unwrap();
    bench.lock();
    let wrong = |code: &str| {
        assert_eq!(
            kind(bench.sign_in(None, PASSPHRASE, Some(code))),
            Kind::WrongCredentials
        );
    };
    bench.clock.set_wall((now - 31_622_400) * 1000);
    wrong(&old);
    bench.clock.set_wall(now * 1000);
    wrong(&this);
    wrong(&old);
    bench.clock.advance(MINUTE);
    let next = totp_code(&base32, bench.clock.unix_s());
    bench
        .sign_in(None, PASSPHRASE, Some(&next))
        .expect("control: the next code opens");
    bench.lock();
    // 2038 is no limit.
    bench
        .clock
        .set_wall(i64::from(i32::MAX) * 1000 + 86_400_000);
    let late = totp_code(&base32, bench.clock.unix_s());
    bench.sign_in(None, PASSPHRASE, Some(&late)).unwrap();
}

#[test]
fn b11_a_clock_that_ran_ahead_costs_codes_until_a_new_secret_and_not_the_account() {
    let mut bench = Bench::new();
    let registered = bench.register("default", true);
    let confirm = |base32: &str| {
        let code = totp_code(base32, bench.clock.unix_s());
        bench.call(TotpConfirm {
            code: secret(&code),
        })
    };
    let base32 = registered.totp_secret.unwrap();
    confirm(base32.expose()).unwrap();
    bench.lock();
    let now = bench.clock.unix_s() * 1000;
    let sign_in = |base32: &str| {
        bench.clock.advance(MINUTE);
        let code = totp_code(base32, bench.clock.unix_s());
        bench.sign_in(None, PASSPHRASE, Some(&code)).map(drop)
    };
    bench.clock.set_wall(now + YEAR_MS);
    sign_in(base32.expose()).expect("control: whatever the clock says is now");
    bench.lock();
    // Back again: steps before one that was used are not taken, or who sets a clock back could use old codes.
    bench.clock.set_wall(now);
    assert_eq!(kind(sign_in(base32.expose())), Kind::WrongCredentials);
    // The way out: a recovery code brings a new secret, with which no step was used.
    let recovered = bench
        .call(AccountRecover {
            account: None,
            code: registered.recovery_codes[0].duplicate(),
            new_passphrase: secret(PASSPHRASE),
        })
        .unwrap();
    let base32 = recovered.totp_secret.unwrap();
    confirm(base32.expose()).unwrap();
    bench.lock();
    sign_in(base32.expose()).expect("codes of the new secret open at once");
    bench.lock();
    let again = totp_code(base32.expose(), bench.clock.unix_s());
    let replayed = bench.sign_in(None, PASSPHRASE, Some(&again));
    assert_eq!(kind(replayed), Kind::WrongCredentials, "and once");
    bench.close();
}

#[test]
fn b11_a_step_of_the_clock_during_a_session_does_not_move_its_end() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-one").unwrap();
    let now = bench.clock.unix_s() * 1000;
    let begin = || {
        bench
            .call(AgentUnlock {
                lifetime_s: Some(60),
                ..unlock("default", PASSPHRASE)
            })
            .unwrap();
    };
    for wall in [now - YEAR_MS, now + YEAR_MS, i64::from(i32::MAX) * 1000 + 1] {
        begin();
        bench.clock.set_wall(wall);
        assert!(
            bench.get("openai").is_ok(),
            "control: not ended by the jump to {wall}"
        );
        bench.clock.advance(Duration::from_secs(59));
        assert!(bench.get("openai").is_ok());
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(kind(bench.get("openai")), Kind::Locked, "at {wall}");
    }
}

#[test]
fn b13_a_code_that_a_hundred_use_at_once_opens_once() {
    let bench = Bench::new();
    let codes = bench.register("default", false).recovery_codes;
    bench.lock();
    const USES: u32 = 100;
    let barrier = Barrier::new(USES as usize);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let uses: Vec<_> = (0..USES)
            .map(|number| {
                let (bench, barrier, codes) = (&bench, &barrier, &codes);
                scope.spawn(move || {
                    barrier.wait();
                    let request = AccountRecover {
                        account: None,
                        code: codes[0].duplicate(),
                        new_passphrase: secret(&format!("mine-{number}")),
                    };
                    let answer = bench.call_as(stranger(number), request);
                    (number, answer.map(drop).map_err(|error| error.kind()))
                })
            })
            .collect();
        uses.into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let winners: Vec<u32> = answers
        .iter()
        .filter(|(_, answer)| answer.is_ok())
        .map(|(number, _)| *number)
        .collect();
    let [winner] = winners[..] else {
        panic!("{winners:?}");
    };
    for (_, answer) in &answers {
        if let Err(error) = answer {
            assert!(matches!(error, Kind::WrongCredentials | Kind::RateLimited));
        }
    }
    bench.clock.advance(16 * MINUTE);
    bench
        .sign_in(None, &format!("mine-{winner}"), None)
        .expect("control: what the one success set");
    bench.lock();
    for (left, code) in codes[1..].iter().enumerate() {
        let recovered = bench
            .call(AccountRecover {
                account: None,
                code: code.duplicate(),
                new_passphrase: secret("again"),
            })
            .expect("the remaining codes are intact");
        assert_eq!(recovered.codes_left as usize, 6 - left);
    }
}

#[test]
fn b14_of_three_sessions_the_one_that_changed_the_passphrase_stays() {
    let bench = Bench::initialized();
    for number in [1, 2] {
        bench
            .call_as(stranger(number), unlock("default", PASSPHRASE))
            .unwrap();
    }
    let list = |caller: Caller| bench.call_as(caller, KeyList::default()).map(drop);
    for number in 0..3 {
        list(stranger(number)).expect("control: three sessions are open");
    }
    bench
        .call_as(
            stranger(1),
            AccountPassphrase {
                passphrase: secret(PASSPHRASE),
                new_passphrase: secret("new"),
            },
        )
        .unwrap();
    assert_eq!(kind(list(me())), Kind::Locked);
    list(stranger(1)).expect("the one that changed it goes on");
    assert_eq!(kind(list(stranger(2))), Kind::Locked);
    // And of wrong ones none is changed.
    let refused = bench.call_as(
        stranger(1),
        AccountPassphrase {
            passphrase: secret(PASSPHRASE),
            new_passphrase: secret("evil"),
        },
    );
    assert_eq!(kind(refused), Kind::WrongCredentials);
    list(stranger(1)).unwrap();
}

/// An account of B15 and what is only its own.
struct Member {
    name: &'static str,
    caller: fn() -> Caller,
    passphrase: &'static str,
    key: &'static str,
    secret: &'static str,
}

const MEMBERS: [Member; 3] = [
    Member {
        name: "anna",
        caller: || stranger(1),
        passphrase: "passphrase of anna",
        key: "openai/only-annas",
        secret: "sk-canary-anna-0123456789",
    },
    Member {
        name: "bruno",
        caller: || stranger(2),
        passphrase: "passphrase of bruno",
        key: "openai/only-brunos",
        secret: "sk-canary-bruno-0123456789",
    },
    Member {
        name: "chen",
        caller: || stranger(3),
        passphrase: "passphrase of chen",
        key: "openai/only-chens",
        secret: "sk-canary-chen-0123456789",
    },
];

/// A provider that only its account knows.
fn own_provider(id: &str) -> serde_json::Value {
    serde_json::json!({
        "id": id, "display_name": "Own", "display_name_zh": "Own", "status": "active", "kind": "gateway",
        "auth": {"style": "bearer"}, "env": {"primary": "OWN_API_KEY"}, "verified": false,
        "test": {"method": "GET", "url": "https://gw.example.com/v1/models", "proves_key": false, "cost": "none",
            "verified": false}
    })
}

/// A request that asks for what is the other's: its key, its account, its passphrase, its code, its cursor.
fn aimed_at(op: Op, other: &Member, code: &str, cursor: &str) -> serde_json::Value {
    use serde_json::json;
    let Member {
        name,
        passphrase,
        key,
        secret,
        ..
    } = other;
    match op.name() {
        "agent.status" | "agent.lock" | "ui.open" | "keyfile.show" | "audit.verify"
        | "provider.list" => {
            json!({})
        }
        "agent.unlock" => json!({"account": name, "passphrase": "a guess"}),
        "account.register" => json!({"account": name, "passphrase": "mine", "totp": false}),
        "account.recover" => {
            json!({"account": name, "code": code, "new_passphrase": "mine"})
        }
        "account.passphrase" => json!({"passphrase": passphrase, "new_passphrase": "mine"}),
        "keyfile.enable" | "keyfile.disable" | "totp.enable" | "totp.disable" | "totp.codes"
        | "vault.rekey" => {
            json!({"passphrase": passphrase})
        }
        "totp.confirm" => json!({"code": "000000"}),
        "key.add" => json!({"name": key, "secret": secret}),
        "key.get" | "key.show" | "key.remove" | "key.history" | "provider.test" => {
            json!({"name": key})
        }
        "key.copy" => json!({"name": key, "display": ":0"}),
        "provider.balance" => json!({"name": key}),
        "backup.create" | "backup.list" | "vault.check" => json!({}),
        "vault.export" => json!({"passphrase": passphrase}),
        "vault.import" => json!({"import": "another's", "finish": true}),
        "handover.offer" => json!({}),
        "handover.send" => json!({"code": "akm-receive-1.another's", "passphrase": passphrase}),
        "handover.receive" => json!({"handover": "another's", "finish": true}),
        "provider.add" => json!({"record": own_provider("mine")}),
        "provider.show" | "provider.remove" => json!({"name": format!("own-of-{name}")}),
        "audit.checkpoint" => json!({}),
        "session.list" | "admin.accounts" | "admin.invite" | "admin.log" | "admin.status"
        | "admin.codes" => json!({}),
        "account.remove" => json!({"passphrase": passphrase}),
        "admin.remove" => json!({"account": name, "passphrase": passphrase}),
        "admin.tier" => json!({"tier": "free", "name": "x", "name_zh": "x", "price_fen": 0}),
        "admin.code_revoke" => json!({"id": code}),
        "admin.provider_put" => json!({"record": own_provider("mine")}),
        "admin.provider_remove" => json!({"name": format!("own-of-{name}")}),
        "billing.tiers" | "billing.status" | "billing.orders" | "billing.notices"
        | "admin.orders" => json!({}),
        "billing.contact" => json!({"email": "mine@example.com"}),
        "billing.order_link" => json!({"tier": "pro"}),
        "billing.redeem" => json!({"code": code}),
        "billing.codes_create" => json!({"tier": "pro", "months": 1}),
        "billing.order_resolve" => {
            json!({"provider": "code", "number": "1", "resolution": "grant", "account": name})
        }
        "policy.show" | "grant.list" => json!({}),
        "policy.set" => json!({"policy": "granted", "passphrase": passphrase}),
        "grant.add" => json!({"name": key, "exe": "/bin/true", "passphrase": passphrase}),
        "grant.remove" => json!({"id": "0123456789abcdef"}),
        "session.revoke" => json!({"id": "1"}),
        "admin.grant" => json!({"account": name, "role": "admin"}),
        "admin.account" => json!({"account": name, "disabled": true, "key_limit": 0}),
        "backup.verify" => json!({"name": "nothing.db"}),
        "backup.restore" => {
            json!({"name": "nothing.db", "account": name, "passphrase": passphrase, "replace": true})
        }
        "backup.schedule" => json!({"daily": false}),
        "key.list" => json!({"provider": "openai", "after": cursor}),
        "key.update" => json!({"name": key, "notes": "mine now"}),
        "key.rotate" => json!({"name": key, "secret": "sk-mine"}),
        "audit.list" => json!({"key": key}),
        "model.list" => json!({"provider": "openai"}),
        other => panic!("say how {other} would ask for what is another account's"),
    }
}

#[test]
fn b15_no_operation_reaches_another_account() {
    let callers = MEMBERS.each_ref().map(|member| (member.caller)());
    no_operation_reaches_another_account(&Bench::new(), callers);
}

#[test]
fn b15_no_operation_reaches_another_account_over_the_network() {
    let mut bench = Bench::new();
    let long = Duration::from_secs(3600 * 24 * 365);
    bench.serve(Hosting {
        registration: Registration::Open,
        totp_required: false,
        idle: long,
        absolute: long,
    });
    let nobody = Caller::network([203, 0, 113, 7].into(), None);
    no_operation_reaches_another_account(&bench, [nobody.clone(), nobody.clone(), nobody]);
}

/// Every operation of the table by every account, aimed at every other. Whoever is given a token uses it from then on.
fn no_operation_reaches_another_account(bench: &Bench, callers: [Caller; 3]) {
    let remote = callers[0].via != Via::Host;
    let callers = RefCell::new(callers);
    let number = |member: &Member| {
        let is_it = |other: &Member| other.name == member.name;
        MEMBERS.iter().position(is_it).unwrap()
    };
    let caller = |member: &Member| callers.borrow()[number(member)].clone();
    let signed_in = |member: &Member, token: Option<akm_core::Secret>| {
        assert_eq!(token.is_some(), remote);
        if let Some(token) = token {
            let caller = Caller::network([203, 0, 113, 7].into(), Some(token.expose()));
            callers.borrow_mut()[number(member)] = caller;
        }
    };
    let mut codes = BTreeMap::new();
    for member in &MEMBERS {
        let registered = bench
            .call_as(
                caller(member),
                AccountRegister {
                    account: member.name.into(),
                    passphrase: secret(member.passphrase),
                    totp: Some(false),
                    invitation: None,
                },
            )
            .unwrap();
        signed_in(member, registered.token);
        codes.insert(member.name, registered.recovery_codes);
        let key = KeyAdd {
            notes: Some(format!("note-canary-{}", member.name)),
            ..new_key(member.key, member.secret)
        };
        bench.call_as(caller(member), key).unwrap();
    }
    let raw = |member: &Member, op: Op, body: &serde_json::Value| {
        let request = Request::decode(op, body.to_string().as_bytes()).unwrap();
        akm_core::protocol::envelope(&bench.service().call(&caller(member), request))
    };
    for member in &MEMBERS {
        let record = own_provider(&format!("own-of-{}", member.name));
        let added = raw(
            member,
            Op::ProviderAdd,
            &serde_json::json!({"record": record}),
        );
        assert!(String::from_utf8(added).unwrap().contains("\"ok\":true"));
    }
    // What an account sees of itself; times of use aside, nothing another one does may change it.
    let view = |member: &Member| {
        let shown = raw(member, Op::KeyList, &serde_json::json!({}));
        let got = raw(member, Op::KeyGet, &serde_json::json!({"name": member.key}));
        let own = serde_json::json!({"name": format!("own-of-{}", member.name)});
        let provider = raw(member, Op::ProviderShow, &own);
        let text = [shown, got, provider]
            .map(|answer| String::from_utf8(answer).unwrap())
            .concat();
        let parts: Vec<&str> = text.split("\"last_used_at\":").collect();
        let text = parts
            .iter()
            .map(|part| {
                part.split_once(",\"expires_at")
                    .map_or(*part, |(_, rest)| rest)
            })
            .collect::<String>();
        assert!(text.contains(member.secret), "control: it reads its own");
        text
    };
    let mut tried = 0;
    for (a, attacker) in MEMBERS.iter().enumerate() {
        for (b, victim) in MEMBERS.iter().enumerate() {
            if a == b {
                continue;
            }
            let cursor = "00000000000000000000000000000000";
            for op in Op::ALL {
                let before = view(victim);
                // A code of the attacker's own, tried on the other's account.
                let body = aimed_at(*op, victim, codes[attacker.name][b].expose(), cursor);
                let answer = String::from_utf8(raw(attacker, *op, &body)).unwrap();
                // Adding a key under the other's name makes one of the attacker's own, which goes again.
                if op.name() == "key.add" {
                    let own = raw(
                        attacker,
                        Op::KeyRemove,
                        &serde_json::json!({"name": victim.key}),
                    );
                    assert!(String::from_utf8(own).unwrap().contains("\"ok\":true"));
                } else {
                    let note = format!("note-canary-{}", victim.name);
                    assert!(!answer.contains(victim.secret), "{}: {answer}", op.name());
                    assert!(!answer.contains(&note), "{}: {answer}", op.name());
                }
                let about_a_key =
                    op.name().starts_with("key.") || op.name().starts_with("provider.");
                if about_a_key && body.get("name").is_some() && op.name() != "key.add" {
                    let refused = if remote && offered(*op) == Offered::Never {
                        "\"denied\""
                    } else {
                        "\"not_found\""
                    };
                    assert!(answer.contains(refused), "{}: {answer}", op.name());
                }
                if body.get("passphrase").is_some() || body.get("code").is_some() {
                    assert!(!answer.contains("\"ok\":true"), "{}: {answer}", op.name());
                }
                bench.clock.advance(16 * MINUTE);
                assert_eq!(
                    view(victim),
                    before,
                    "{} changed another account",
                    op.name()
                );
                // A lock and a failed unlock are the attacker's own affair.
                let again =
                    bench.call_as(caller(attacker), unlock(attacker.name, attacker.passphrase));
                signed_in(attacker, again.unwrap().token);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 6 * Op::ALL.len());
}

#[test]
fn b17_whoever_guesses_from_elsewhere_does_not_keep_the_owner_waiting() {
    let bench = Bench::initialized();
    bench.lock();
    let mut longest = 0;
    for _ in 0..40 {
        let error = bench
            .call_as(stranger(7), unlock("default", "wrong"))
            .unwrap_err();
        if let Some(seconds) = error.retry_after_s() {
            longest = longest.max(seconds);
            bench.clock.advance(Duration::from_secs(seconds));
        }
    }
    assert_eq!(longest, 900, "control: elsewhere it is locked out");
    bench
        .call_as(stranger(7), unlock("default", "wrong"))
        .unwrap_err();
    let refused = bench.call_as(stranger(7), unlock("default", PASSPHRASE));
    assert_eq!(
        kind(refused),
        Kind::RateLimited,
        "control: even with the passphrase"
    );
    bench
        .call_as(stranger(8), unlock("default", PASSPHRASE))
        .expect("another user does not, who never was here");
    bench.unlock().expect("nor does the owner");
    bench.lock();
    // And of a recovery.
    for _ in 0..12 {
        let request = AccountRecover {
            account: None,
            code: secret("wrong"),
            new_passphrase: secret("mine"),
        };
        bench.call_as(stranger(7), request).unwrap_err();
    }
    let request = AccountRecover {
        account: None,
        code: secret("wrong"),
        new_passphrase: secret("mine"),
    };
    assert_eq!(
        kind(bench.call(request)),
        Kind::WrongCredentials,
        "not rate_limited"
    );
}

#[test]
fn b17_no_number_of_uids_keeps_a_user_waiting_who_signed_in_before() {
    let mut bench = Bench::new();
    // An agent of a user of its own: everybody is somebody else. Alice registers, or signed in once.
    let (alice, also_alice) = (stranger(1), stranger(2));
    let register = AccountRegister {
        account: "alice".into(),
        passphrase: secret(PASSPHRASE),
        totp: Some(false),
        invitation: None,
    };
    bench.call_as(alice.clone(), register).unwrap();
    bench
        .call_as(also_alice.clone(), unlock("alice", PASSPHRASE))
        .unwrap();
    let mut tried = 0;
    for number in 100..200 {
        for _ in 0..6 {
            let refused = bench.call_as(stranger(number), unlock("alice", "wrong"));
            tried += u32::from(kind(refused) == Kind::WrongCredentials);
        }
    }
    assert_eq!(tried, 50, "control: however many uids, they end");
    let refused = bench.call_as(stranger(300), unlock("alice", PASSPHRASE));
    assert_eq!(kind(refused), Kind::RateLimited, "control: strangers wait");
    for reopened in [false, true] {
        for caller in [&alice, &also_alice] {
            bench
                .call_as(caller.clone(), unlock("alice", PASSPHRASE))
                .unwrap_or_else(|error| panic!("{error:?}, reopened: {reopened}"));
        }
        bench.reopen();
    }
    // What asks for the passphrase again counts under the same uid.
    let change = AccountPassphrase {
        passphrase: secret(PASSPHRASE),
        new_passphrase: secret("new"),
    };
    bench
        .call_as(alice.clone(), unlock("alice", PASSPHRASE))
        .unwrap();
    bench.call_as(alice, change).unwrap();
}

#[test]
fn b17_the_owner_waits_a_minute_at_most_however_long_somebody_guessed() {
    let bench = Bench::initialized();
    bench.lock();
    let mut longest = 0;
    for _ in 0..200 {
        let error = bench.sign_in(None, "wrong", None).unwrap_err();
        if let Some(seconds) = error.retry_after_s() {
            longest = longest.max(seconds);
            bench.clock.advance(Duration::from_secs(seconds));
        }
    }
    assert_eq!(longest, 60);
    bench.sign_in(None, "wrong", None).unwrap_err();
    let wait = retry_after(&bench);
    assert!(wait <= 60);
    bench.clock.advance(Duration::from_secs(wait));
    bench.unlock().expect("who waits as told gets in");
}
