//! The log through the door: slices, checkpoints, and nothing in it that is secret.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use akm_core::crypto::KdfCost;
use akm_core::host::{Clock, Host};
use akm_core::protocol::{
    AccountRegister, AgentUnlock, AuditCheckpoint, AuditList, AuditVerify, CheckpointVerdict,
    KeyAdd, KeyGet, Request, Response,
};
use akm_core::provider::Outbound;
use akm_core::service::{Options, Service};
use akm_core::{Kind, Result};
use support::{Bench, PASSPHRASE, kind, me, new_key, secret};

/// Counts how often the session is looked up, and may be told at which look its lifetime is over.
#[derive(Default)]
struct Lookups {
    seen: AtomicU64,
    ends_at: AtomicU64,
}

impl Clock for Lookups {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn boot(&self) -> Duration {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        match self.ends_at.load(Ordering::SeqCst) {
            end @ 1.. if seen >= end => Duration::from_secs(10_000),
            _ => Duration::from_secs(1000),
        }
    }
}

struct Long {
    service: Service,
    clock: Arc<Lookups>,
    _home: tempfile::TempDir,
}

impl Long {
    /// A session of an hour with a log of 9000 gets.
    fn new() -> Long {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(Lookups::default());
        let service = Service::open(Options {
            vault: home.path().join("vault.db"),
            journal: home.path().join("audit.journal"),
            state: home.path().to_owned(),
            backups: home.path().join("backups"),
            host: Host {
                clock: clock.clone(),
                kdf_cost: KdfCost::insecure_test(),
                ..Host::real()
            },
            key_limit: None,
            default_lifetime: None,
            outbound: Outbound::default(),
        })
        .unwrap();
        let long = Long {
            service,
            clock,
            _home: home,
        };
        long.ask(AccountRegister {
            account: "default".into(),
            passphrase: secret(PASSPHRASE),
            totp: Some(false),
            invitation: None,
        })
        .unwrap();
        long.ask(AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            lifetime_s: Some(3600),
            accept_rollback: None,
            keyfile: None,
        })
        .unwrap();
        long.ask(new_key("openai", "sk-1")).unwrap();
        for _ in 0..9000 {
            long.ask(KeyGet {
                name: "openai".into(),
                version: None,
            })
            .unwrap();
        }
        long.service.fold().unwrap();
        long
    }

    fn ask(&self, request: impl Into<Request>) -> Result<Response> {
        self.service.call(&me(), request.into())
    }

    /// How often the session was looked up while `ask` ran.
    fn lookups(&self, request: impl Into<Request>) -> (Result<Response>, u64) {
        let before = self.clock.seen.load(Ordering::SeqCst);
        let answer = self.ask(request);
        (answer, self.clock.seen.load(Ordering::SeqCst) - before)
    }
}

fn rare() -> AuditList {
    AuditList {
        key: Some("groq".into()),
        ..AuditList::default()
    }
}

#[test]
fn a_long_log_is_read_in_slices_between_which_a_lock_gets_its_turn() {
    let long = Long::new();
    // One look at the gate, one for each slice; before there were slices it was two in all.
    let (verified, lookups) = long.lookups(AuditVerify::default());
    assert!(verified.is_ok());
    assert!(lookups >= 5, "{lookups}");
    let (listed, lookups) = long.lookups(rare());
    assert!(listed.is_ok());
    assert!(lookups >= 5, "{lookups}");

    // A session that ends between two slices ends the reading.
    for request in [Request::from(AuditVerify::default()), rare().into()] {
        let now = long.clock.seen.load(Ordering::SeqCst);
        long.clock.ends_at.store(now + 4, Ordering::SeqCst);
        let error = long.ask(request).unwrap_err();
        assert_eq!(error.kind(), Kind::Locked);
        assert!(
            long.clock.seen.load(Ordering::SeqCst) >= now + 4,
            "it had begun"
        );
        long.clock.ends_at.store(0, Ordering::SeqCst);
    }
    assert!(long.ask(AuditVerify::default()).is_ok(), "control");
}

#[test]
fn i03_a_tail_taken_out_of_the_file_between_two_runs_shows_against_a_checkpoint() {
    let mut bench = Bench::initialized();
    bench.add("openai", "sk-1").unwrap();
    for _ in 0..5 {
        bench.get("openai").unwrap();
    }
    let checkpoint = bench.call(AuditCheckpoint {}).unwrap();
    let verify = |bench: &Bench| {
        let request = AuditVerify {
            checkpoint: Some(checkpoint.clone()),
        };
        bench.call(request).unwrap()
    };
    assert_eq!(verify(&bench).checkpoint, Some(CheckpointVerdict::Holds));
    let last = checkpoint.account_chain.seq;
    bench.close();
    let gone = bench
        .hand()
        .execute(
            "DELETE FROM events WHERE chain != zeroblob(16) AND seq > ?1 - 3",
            [i64::try_from(last).unwrap()],
        )
        .unwrap();
    assert!(gone >= 3, "{gone}");
    bench.reopen();
    bench.unlock().unwrap();
    let without = bench.call(AuditVerify::default()).unwrap();
    assert!(without.ok, "as SECURITY.md says, nothing here shows it");
    let found = verify(&bench);
    assert!(!found.ok);
    assert!(matches!(
        found.checkpoint,
        Some(CheckpointVerdict::Truncated | CheckpointVerdict::Forked)
    ));
    assert!(found.first_bad.is_some_and(|seq| seq > last - 3));
}

#[test]
fn the_end_of_a_page_is_where_new_events_begin() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-1").unwrap();
    let all = bench.call(AuditList::default()).unwrap();
    assert!(all.next.is_none());
    let behind = |end: Option<String>| {
        bench
            .call(AuditList {
                after: end,
                ..AuditList::default()
            })
            .unwrap()
    };
    let nothing = behind(all.end.clone());
    assert!(nothing.events.is_empty() && nothing.end == all.end);
    bench.get("openai").unwrap();
    let new = behind(all.end);
    assert_eq!(new.events.len(), 1);
    assert_eq!(new.events[0].action, "key.get");
}

#[test]
fn i07_no_secret_stands_in_any_file_or_answer_of_the_log() {
    const CANARY: &str = "sk-canary_0123456789abcdefghij";
    // One that could be a name: no key has it.
    const NAME_LIKE: &str = "sk-canary-0123456789abcdefghij";
    let bench = Bench::initialized();
    bench
        .call(KeyAdd {
            notes: Some("notes-canary-text".into()),
            ..new_key("openai/work", CANARY)
        })
        .unwrap();
    bench.get("openai/work").unwrap();
    // What somebody typed in the wrong place.
    for wrong in [CANARY, "correct horse"] {
        let _ = bench.sign_in(Some(wrong), "wrong-canary-passphrase", None);
        let _ = bench.get(wrong);
        assert_eq!(kind(bench.add(wrong, CANARY)), Kind::InvalidInput);
    }
    let missing = bench.get(NAME_LIKE).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    let told = format!("{:?}", bench.call(AuditList::default()).unwrap());
    let canaries = ["canary", "0123456789abcdefghij", PASSPHRASE];
    for canary in canaries {
        assert!(!told.contains(canary), "{canary}");
    }
    assert!(told.contains("openai/work"), "control: the log is told");
    let mut files = 0;
    let mut control = false;
    let mut dirs = vec![bench.home.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let holds = |text: &str| {
                bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
            };
            files += 1;
            control |= holds("default");
            for canary in canaries {
                for spelling in [
                    canary.to_owned(),
                    data_encoding::HEXLOWER.encode(canary.as_bytes()),
                    data_encoding::BASE64_NOPAD.encode(canary.as_bytes()),
                ] {
                    assert!(!holds(&spelling), "{} holds {canary}", path.display());
                }
            }
        }
    }
    assert!(
        files >= 3 && control,
        "control: {files} files, with the account's name in clear"
    );
}
