//! Cases B01, B02 and B18 of the attack programme: what a sign-in costs, for names that exist and names that do not, and for
//! a thousand at once. Derivations are counted for the whole process, so these run one at a time.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use akm_core::audit::Caller;
use akm_core::crypto::{self, KdfCost};
use akm_core::host::Host;
use akm_core::protocol::AgentUnlock;
use akm_core::store::SqliteStore;
use akm_core::vault::{Origin, SignIn, Vault, load_host_key};
use akm_core::{Kind, Secret};
use support::{Bench, PASSPHRASE, kind, me, secret, with_totp};

/// Held by each test while it counts.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What something cost: derivations, reads and writes of the store.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    derivations: u64,
    reads: u64,
    writes: u64,
}

/// The vault of a bench that is closed, with the seam that counts what its store does.
struct Counted {
    store: Arc<SqliteStore>,
    vault: Vault,
}

impl Counted {
    fn of(bench: &mut Bench) -> Counted {
        bench.close();
        let host = Host {
            clock: bench.clock.clone(),
            kdf_cost: KdfCost::insecure_test(),
            ..Host::real()
        };
        let store = SqliteStore::open(&bench.vault(), &*host.random, &*host.clock).unwrap();
        let store = Arc::new(store);
        let host_key = load_host_key(&bench.home.path().join("state"), &*host.random).unwrap();
        let vault = Vault::new(Arc::clone(&store) as _, host, host_key, None);
        Counted { store, vault }
    }

    fn cost<T>(&self, act: impl FnOnce(&Vault) -> T) -> (T, Cost) {
        let before = (crypto::derivations(), self.store.accesses());
        let answer = act(&self.vault);
        let (reads, writes) = self.store.accesses();
        let cost = Cost {
            derivations: crypto::derivations() - before.0,
            reads: reads - before.1.0,
            writes: writes - before.1.1,
        };
        (answer, cost)
    }

    fn sign_in(&self, account: &str, passphrase: &str, origin: Origin) -> (Option<Kind>, Cost) {
        let with = SignIn {
            account,
            passphrase: &secret(passphrase),
            totp: None,
            device: None,
            origin,
            accept_rollback: false,
        };
        let (answer, cost) = self.cost(|vault| vault.sign_in(&with).err());
        (answer.map(|error| error.kind()), cost)
    }
}

#[test]
fn b02_known_and_unknown_names_cost_the_same_derivations_reads_and_writes() {
    let _alone = alone();
    for totp in [false, true] {
        let mut bench = match totp {
            true => with_totp().0,
            false => Bench::initialized(),
        };
        bench.register("another", false);
        let counted = Counted::of(&mut bench);
        for origin in [Origin::Owner, Origin::Network, Origin::User(5001)] {
            let (refused, known) = counted.sign_in("default", "wrong", origin);
            assert_eq!(refused, Some(Kind::WrongCredentials));
            assert_eq!(known.derivations, 1, "control: the seams count");
            assert!(known.reads > 0 && known.writes > 0, "{known:?}");
            for name in [
                "nobody",
                "",
                "not a name",
                "DEFAULT2",
                "x/../default",
                "\u{202e}",
            ] {
                let (refused, unknown) = counted.sign_in(name, "wrong", origin);
                assert_eq!(refused, Some(Kind::WrongCredentials));
                assert_eq!(unknown, known, "{name:?}");
            }
            assert_eq!(counted.sign_in("another", "wrong", origin).1, known);
            // Those who wait, wait alike.
            let wait = |name: &str| {
                (0..6)
                    .map(|_| counted.sign_in(name, "wrong", origin))
                    .last()
                    .unwrap()
            };
            let (refused, waiting) = wait("default");
            assert_eq!(refused, Some(Kind::RateLimited));
            assert_eq!(wait("nobody"), (refused, waiting));
        }
        // With codes, the right passphrase without one costs what a wrong one costs: no oracle between the factors.
        if totp {
            bench.clock.advance(Duration::from_secs(16 * 60));
            let (_, wrong) = counted.sign_in("default", "wrong", Origin::Owner);
            bench.clock.advance(Duration::from_secs(16 * 60));
            let (_, right) = counted.sign_in("default", PASSPHRASE, Origin::Owner);
            assert_eq!(right.writes, wrong.writes);
            assert_eq!(right.derivations, wrong.derivations);
        } else {
            bench.clock.advance(Duration::from_secs(16 * 60));
            let (refused, opened) = counted.sign_in("default", PASSPHRASE, Origin::Owner);
            assert_eq!(refused, None);
            bench.clock.advance(Duration::from_secs(16 * 60));
            let (_, wrong) = counted.sign_in("default", "wrong", Origin::Owner);
            assert_ne!(opened, wrong, "control: more work shows");
        }
    }
}

#[test]
fn b01_names_that_nobody_has_derive_at_the_costs_that_accounts_have() {
    let _alone = alone();
    let mut bench = Bench::new();
    let register = |bench: &Bench, cost: &str| {
        for number in 0..4 {
            bench.register(&format!("{cost}-{number}"), false);
        }
    };
    register(&bench, "cheap");
    let dear = KdfCost::new(19 * 1024, 2, 1).unwrap();
    bench.kdf_cost = dear;
    bench.reopen();
    register(&bench, "dear");
    bench.lock();
    let cost = |name: &str| {
        bench.clock.advance(Duration::from_secs(60));
        let before = crypto::derived_kib();
        let refused = bench.sign_in(Some(name), "wrong", None);
        assert_eq!(kind(refused), Kind::WrongCredentials);
        crypto::derived_kib() - before
    };
    let (low, high) = (cost("cheap-0"), cost("dear-0"));
    assert_eq!((low, high), (8, 2 * 19 * 1024), "control: the seam counts");
    let costs: Vec<u64> = (0..60).map(|n| cost(&format!("nobody-{n}"))).collect();
    for either in [low, high] {
        assert!(costs.contains(&either), "{costs:?}");
    }
    assert!(costs.iter().all(|cost| [low, high].contains(cost)));
    // And a name always at the same.
    for (number, before) in costs.iter().take(10).enumerate() {
        assert_eq!(cost(&format!("nobody-{number}")), *before);
    }
}

#[test]
fn b02_a_recovery_costs_the_same_for_names_that_nobody_has() {
    let _alone = alone();
    let mut bench = Bench::initialized();
    let counted = Counted::of(&mut bench);
    let cost = |name: &str, code: &str| {
        let (code, new) = (secret(code), secret("another"));
        let (answer, cost) = counted.cost(|vault| {
            let answer = vault.recover(name, &code, &new, Origin::Owner, &mut |_| Ok(()));
            answer.map(drop)
        });
        assert_eq!(kind(answer), Kind::WrongCredentials);
        cost
    };
    let misfit = "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA";
    let known = cost("default", misfit);
    assert!(known.reads > 0 && known.writes > 0, "control: {known:?}");
    for (name, code) in [
        ("nobody", misfit),
        ("not a name", misfit),
        ("default", "no code"),
    ] {
        assert_eq!(cost(name, code), known, "{name:?}");
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn mean_and_variance(of: &[f64]) -> (f64, f64) {
    let mean = of.iter().sum::<f64>() / of.len() as f64;
    let squares: f64 = of.iter().map(|one| (one - mean).powi(2)).sum();
    (mean, squares / (of.len() - 1) as f64)
}

/// Welch's t between two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let ((m1, v1), (m2, v2)) = (mean_and_variance(one), mean_and_variance(other));
    (m1 - m2) / (v1 / one.len() as f64 + v2 / other.len() as f64).sqrt()
}

/// Times of interleaved sign-ins with two names, in an order that is drawn for each pair.
fn interleaved(pairs: usize, names: [&str; 2], extra: Duration) -> [Vec<f64>; 2] {
    let bench = Bench::initialized();
    bench.lock();
    let mut times = [Vec::new(), Vec::new()];
    let mut dice = 88_172_645_463_325_252u64;
    for _ in 0..pairs {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // Nobody waits; what is measured is a guess that is tried.
        bench.clock.advance(Duration::from_secs(16 * 60));
        let first = (dice % 2) as usize;
        for which in [first, 1 - first] {
            let start = Instant::now();
            let refused = bench.sign_in(Some(names[which]), "wrong", None);
            while which == 1 && start.elapsed() < extra {}
            times[which].push(start.elapsed().as_nanos() as f64);
            assert_eq!(kind(refused), Kind::WrongCredentials);
        }
        bench.service().fold().unwrap();
    }
    times
}

#[test]
#[ignore = "10,000 sign-ins on a quiet machine; what it showed stands in SECURITY.md"]
fn b01_sign_ins_with_known_and_unknown_names_take_equally_long() {
    let _alone = alone();
    let measure = |names: [&str; 2]| {
        let [mut one, mut other] = interleaved(5000, names, Duration::ZERO);
        let t = welch(&one, &other);
        one.sort_by(f64::total_cmp);
        other.sort_by(f64::total_cmp);
        let (a, b) = (median(&one), median(&other));
        eprintln!(
            "b01 {names:?}: t = {t:.2}, medians {a:.0} and {b:.0} ns, {:+.2} %",
            (b / a - 1.0) * 100.0
        );
        (t, (b / a - 1.0).abs())
    };
    // Control: two names that nobody has.
    let (t, _) = measure(["nobody1", "nobody2"]);
    assert!(t.abs() < 4.5, "the machine is too busy to tell");
    let (t, apart) = measure(["default", "nobody2"]);
    assert!(t.abs() < 4.5, "|t| = {}", t.abs());
    assert!(apart < 0.01, "medians {} % apart", apart * 100.0);
}

#[test]
fn b01_the_statistics_tell_equal_times_from_different_ones() {
    let noise = |seed: u64| {
        let mut dice = seed;
        move || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 40) as f64 / 1e3
        }
    };
    let (mut a, mut b) = (noise(1), noise(2));
    let one: Vec<f64> = (0..5000).map(|_| 1e5 + a()).collect();
    let same: Vec<f64> = (0..5000).map(|_| 1e5 + b()).collect();
    let slower: Vec<f64> = same.iter().map(|time| time + 1e3).collect();
    assert!(welch(&one, &same).abs() < 4.5);
    assert!(welch(&one, &slower).abs() > 4.5, "1 % slower is seen");
}

/// The most memory this process has had at once, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Strangers sign in at once, each with a name of their own, while the owner comes and goes. Answers how long
/// the owner waited each time, and by how much the peak of memory rose, in KiB.
fn flood(strangers: usize, unlocks: usize, cost: KdfCost) -> (Vec<Duration>, u64) {
    let mut bench = Bench::new();
    bench.kdf_cost = cost;
    bench.reopen();
    bench.register("default", false);
    let before = peak_kib();
    let (barrier, done) = (Barrier::new(strangers + 1), AtomicUsize::new(0));
    let derived = crypto::derivations();
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..strangers {
            let (bench, barrier, done) = (&bench, &barrier, &done);
            let stranger = move || {
                barrier.wait();
                let request = AgentUnlock {
                    account: Some(format!("stranger-{number}")),
                    passphrase: Secret::new("wrong".into()),
                    totp: None,
                    keyfile: None,
                    lifetime_s: None,
                    accept_rollback: None,
                };
                let caller = Caller {
                    uid: me().uid + 1,
                    ..me()
                };
                assert_eq!(kind(bench.call_as(caller, request)), Kind::WrongCredentials);
                done.fetch_add(1, Ordering::Relaxed);
            };
            std::thread::Builder::new()
                .stack_size(512 * 1024)
                .spawn_scoped(scope, stranger)
                .unwrap();
        }
        barrier.wait();
        for _ in 0..unlocks {
            let start = Instant::now();
            bench.unlock().unwrap();
            waits.push(start.elapsed());
        }
        let left = strangers - done.load(Ordering::Relaxed);
        assert!(
            left > 0,
            "control: the owner was in before the flood was over"
        );
    });
    assert_eq!(
        crypto::derivations() - derived,
        (strangers + unlocks) as u64,
        "control: each of them was derived for"
    );
    (waits, peak_kib() - before)
}

/// What all the threads and requests may take beside the work areas.
const BESIDE_KIB: u64 = 512 * 1024;

#[test]
fn b18_a_flood_of_sign_ins_takes_the_memory_of_a_few_and_lets_the_owner_in() {
    let _alone = alone();
    let least = KdfCost::new(19 * 1024, 2, 1).unwrap();
    // Together they would ask for nearly 5 GB; the thousand of the programme are below.
    let (waits, peak) = flood(250, 1, least);
    let places = std::thread::available_parallelism().unwrap().get() as u64;
    eprintln!(
        "b18: the owner waited {waits:?}, memory rose by {} MiB",
        peak / 1024
    );
    assert!(peak >= 19 * 1024, "control: a work area is seen");
    assert!(peak < places * 19 * 1024 + BESIDE_KIB, "{peak} KiB");
}

#[test]
#[ignore = "measures time: 1,000 sign-ins at full cost; what it showed stands in SECURITY.md"]
fn b18_the_owner_waits_less_than_five_seconds_in_a_flood() {
    let _alone = alone();
    let (mut waits, peak) = flood(1000, 100, KdfCost::standard());
    waits.sort();
    let p99 = waits[98];
    eprintln!(
        "b18 at full cost: median {:?}, p99 {p99:?}, memory rose by {} MiB",
        waits[50],
        peak / 1024
    );
    assert!(p99 < Duration::from_secs(5));
}
