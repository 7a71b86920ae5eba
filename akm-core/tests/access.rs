//! Policies and grants through the service: what they say at their edges, and that nobody changes them in the file. Real
//! processes are in `akm-agent/tests/callers/`; here facts are whatever a test wants them to be.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use akm_core::audit::Caller;
use akm_core::caller::{
    Answer, Class, Company, Confirm, Hindrance, Known, Process, Question, Script, Why, Witness,
};
use akm_core::protocol::{
    AccountRecover, AccountRegister, AgentLock, AgentUnlock, GrantAdd, GrantList, GrantRemove,
    KeyGet, KeyList, KeyRemove, KeyUpdate, Operation, Policy, PolicySet, PolicyShow, Request,
    VaultExport, decode_result, envelope, open_envelope,
};
use akm_core::service::Door;
use akm_core::{Kind, Result};
use support::{Bench, PASSPHRASE, kind, me, new_key, secret};

/// A process that is what it is told to be.
#[derive(Clone)]
struct Pretended {
    program: Option<String>,
    digest: Option<[u8; 32]>,
    /// Whether the digest is known without reading.
    known: bool,
    script: Script,
    directory: Option<String>,
    company: Company,
    hindrance: Option<Hindrance>,
    unchanged: bool,
}

fn app() -> Pretended {
    Pretended {
        program: Some("/usr/bin/app".into()),
        digest: Some([7; 32]),
        known: true,
        script: Script::NotOne,
        directory: Some("/home/me/project".into()),
        company: Company {
            complete: true,
            ..Company::default()
        },
        hindrance: None,
        unchanged: true,
    }
}

impl Process for Pretended {
    fn program(&self) -> Option<&str> {
        self.program.as_deref()
    }
    fn known_digest(&self) -> Option<[u8; 32]> {
        self.digest.filter(|_| self.known)
    }
    fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }
    fn script(&self) -> &Script {
        &self.script
    }
    fn directory(&self) -> Option<&str> {
        self.directory.as_deref()
    }
    fn company(&self) -> &Company {
        &self.company
    }
    fn hindrance(&self) -> Option<Hindrance> {
        self.hindrance
    }
    fn is_unchanged(&self) -> bool {
        self.unchanged
    }
    fn terminal(&self) -> Option<std::path::PathBuf> {
        None
    }
}

/// A person with one answer.
struct Person {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Why>>,
}

impl Confirm for Person {
    fn ask(&self, question: &Question<'_>) -> Answer {
        self.asked.lock().unwrap().push(question.why);
        *self.answer.lock().unwrap()
    }
}

/// A service that enforces, with one key, called by `app`.
struct Place {
    bench: Bench,
    door: Option<Door>,
    person: Arc<Person>,
    codes: Vec<akm_core::Secret>,
}

impl Place {
    fn new() -> Place {
        let mut bench = Bench::new();
        bench.close();
        let person = Arc::new(Person {
            answer: Mutex::new(Answer::No),
            asked: Mutex::default(),
        });
        let mut place = Place {
            bench,
            door: None,
            person,
            codes: Vec::new(),
        };
        place.reopen();
        let registered = place
            .ask(
                &as_process(app()),
                AccountRegister {
                    account: "default".into(),
                    passphrase: secret(PASSPHRASE),
                    totp: Some(false),
                    invitation: None,
                },
            )
            .unwrap();
        place.codes = registered.recovery_codes;
        place
            .ask(&as_process(app()), new_key("openai/work", "sk-work"))
            .unwrap();
        place
    }

    fn reopen(&mut self) {
        self.door = None;
        self.door = Some(
            self.bench
                .open()
                .unwrap()
                .with_callers(Arc::clone(&self.person) as Arc<dyn Confirm>),
        );
    }

    fn unlock(&self) -> Result<()> {
        let request = AgentUnlock {
            account: None,
            passphrase: secret(PASSPHRASE),
            totp: None,
            keyfile: None,
            lifetime_s: None,
            accept_rollback: None,
        };
        self.ask(&as_process(app()), request).map(drop)
    }

    fn ask<O: Operation + Into<Request>>(&self, caller: &Caller, request: O) -> Result<O::Result> {
        let answer = self.door.as_ref().unwrap().call(caller, request.into());
        decode_result(open_envelope(&envelope(&answer))?)
    }

    fn get_as(&self, process: Pretended) -> Result<String> {
        let get = KeyGet {
            name: "openai/work".into(),
            version: None,
        };
        self.ask(&as_process(process), get)
            .map(|got| got.secret.expose().to_owned())
    }

    fn set(&self, policy: Policy) {
        self.ask(
            &as_process(app()),
            PolicySet {
                policy: Some(policy),
                passphrase: Some(secret(PASSPHRASE)),
                ..PolicySet::default()
            },
        )
        .unwrap();
    }

    fn grant(&self, change: impl FnOnce(&mut GrantAdd)) -> String {
        let mut grant = grant();
        change(&mut grant);
        self.ask(&as_process(app()), grant).unwrap().grant.id
    }

    fn asked(&self) -> usize {
        self.person.asked.lock().unwrap().len()
    }
}

fn grant() -> GrantAdd {
    GrantAdd {
        name: Some("openai/work".into()),
        exe: Some("/usr/bin/app".into()),
        exe_sha256: None,
        script: None,
        under: None,
        via: None,
        use_only: None,
        any_env: None,
        learn: None,
        lifetime_s: None,
        passphrase: secret(PASSPHRASE),
    }
}

fn as_process(process: Pretended) -> Caller {
    Caller {
        process: Witness(Some(Arc::new(process))),
        ..me()
    }
}

#[track_caller]
fn denied<T>(answer: Result<T>) {
    assert_eq!(kind(answer), Kind::Denied);
}

#[test]
fn what_cannot_be_said_of_a_caller_fits_no_grant() {
    let place = Place::new();
    place.set(Policy::Granted);
    let id = place.grant(|grant| {
        grant.exe_sha256 = Some("07".repeat(32));
        grant.under = Some("/home/me".into());
    });
    assert_eq!(place.get_as(app()).unwrap(), "sk-work");
    let other = |change: &dyn Fn(&mut Pretended)| {
        let mut process = app();
        change(&mut process);
        place.get_as(process)
    };
    denied(other(&|p| p.program = None));
    denied(other(&|p| p.program = Some("/usr/bin/app2".into())));
    denied(other(&|p| p.digest = None));
    denied(other(&|p| p.digest = Some([8; 32])));
    denied(other(&|p| p.directory = None));
    denied(other(&|p| p.directory = Some("/home/meadow".into())));
    denied(other(&|p| p.hindrance = Some(Hindrance::Unreadable)));
    denied(other(&|p| p.hindrance = Some(Hindrance::Traced)));
    denied(other(&|p| p.hindrance = Some(Hindrance::Environment)));
    denied(other(&|p| p.unchanged = false));
    // A digest that has to be read first is read by whoever may wait.
    assert_eq!(other(&|p| p.known = false).unwrap(), "sk-work");
    // A caller of which nobody says anything.
    let nobody = place.ask(
        &me(),
        KeyGet {
            name: "openai/work".into(),
            version: None,
        },
    );
    denied(nobody);
    place.ask(&as_process(app()), GrantRemove { id }).unwrap();
    denied(place.get_as(app()));
    assert_eq!(place.asked(), 0);
    // A script that was granted is that file and not whatever cannot be said.
    place.grant(|grant| grant.script = Some("/home/me/app.py".into()));
    let with = |script| place.get_as(Pretended { script, ..app() });
    assert!(with(Script::File("/home/me/app.py".into())).is_ok());
    for script in [
        Script::File("/home/me/b.py".into()),
        Script::Inline,
        Script::Unclear,
        Script::NotOne,
    ] {
        denied(with(script));
    }
}

#[test]
fn a_grant_ends_at_its_time_and_a_kept_answer_at_its_own() {
    let place = Place::new();
    place.set(Policy::Granted);
    place.grant(|grant| grant.lifetime_s = Some(60));
    place.bench.clock.advance(Duration::from_millis(59_999));
    assert!(place.get_as(app()).is_ok());
    place.bench.clock.advance(Duration::from_millis(1));
    denied(place.get_as(app()));
    assert!(
        place
            .ask(&as_process(app()), GrantList {})
            .unwrap()
            .grants
            .is_empty()
    );
    // An answer is kept in time that also passes while the machine sleeps, and never longer than a day.
    place.set(Policy::Ask);
    *place.person.answer.lock().unwrap() = Answer::YesFor(Duration::from_secs(600));
    assert!(place.get_as(app()).is_ok());
    place.bench.clock.advance(Duration::from_secs(599));
    assert!(place.get_as(app()).is_ok());
    assert_eq!(place.asked(), 1);
    place.bench.clock.advance(Duration::from_secs(1));
    *place.person.answer.lock().unwrap() = Answer::YesFor(Duration::MAX);
    assert!(place.get_as(app()).is_ok());
    assert_eq!(place.asked(), 2);
    place.bench.clock.advance(Duration::from_secs(24 * 60 * 60));
    assert!(place.get_as(app()).is_ok());
    assert_eq!(place.asked(), 3);
}

#[test]
fn only_yes_is_yes_and_what_was_asked_about_is_what_is_done() {
    let place = Place::new();
    place.set(Policy::Ask);
    for no in [Answer::No, Answer::Nothing, Answer::Nobody] {
        *place.person.answer.lock().unwrap() = no;
        denied(place.get_as(app()));
    }
    *place.person.answer.lock().unwrap() = Answer::Yes;
    assert!(place.get_as(app()).is_ok());
    assert!(place.get_as(app()).is_ok());
    assert_eq!(place.asked(), 5);
    // Whoever cannot be named is not asked about, nor is one from a namespace of its own.
    denied(place.get_as(Pretended {
        program: None,
        ..app()
    }));
    denied(place.get_as(Pretended {
        hindrance: Some(Hindrance::ForeignNamespace),
        ..app()
    }));
    assert_eq!(place.asked(), 5);
}

#[test]
fn being_stricter_is_free_and_being_looser_costs_the_passphrase() {
    use Policy::{Ask, Granted, Open};
    let policies = [Open, Ask, Granted];
    let place = Place::new();
    let set = |policy, agents, passphrase: bool| {
        let request = PolicySet {
            policy: Some(policy),
            agents: Some(agents),
            sandboxes: None,
            passphrase: passphrase.then(|| secret(PASSPHRASE)),
        };
        place.ask(&as_process(app()), request)
    };
    for from in policies {
        for from_agents in policies {
            for to in policies {
                for to_agents in policies {
                    set(from, from_agents, true).unwrap();
                    let effective = |policy: Policy, agents: Policy| policy.max(agents);
                    let looser = to < from
                        || effective(to, to_agents) < effective(from, from_agents)
                        // Watching for agents is what keeps grants for a person's programs from them.
                        || from != Open && from_agents != Open && to_agents == Open;
                    let answer = set(to, to_agents, false);
                    match looser {
                        true => denied(answer),
                        false => drop(answer.unwrap()),
                    }
                }
            }
        }
    }
    set(Open, Open, true).unwrap();
    let wrong = PolicySet {
        policy: Some(Granted),
        passphrase: Some(secret("not the passphrase")),
        ..PolicySet::default()
    };
    assert_eq!(
        kind(place.ask(&as_process(app()), wrong)),
        Kind::WrongCredentials
    );
}

#[test]
fn callers_from_agents_and_sandboxes_have_policies_of_their_own() {
    let place = Place::new();
    let set = PolicySet {
        agents: Some(Policy::Granted),
        sandboxes: Some(Policy::Ask),
        ..PolicySet::default()
    };
    place.ask(&as_process(app()), set).unwrap();
    let from = |id: &str, class| Pretended {
        company: Company {
            complete: true,
            known: vec![Known {
                id: id.into(),
                class,
            }],
            ..Company::default()
        },
        ..app()
    };
    assert!(place.get_as(app()).is_ok());
    denied(place.get_as(from("claude", Class::Agent)));
    assert_eq!(place.asked(), 0);
    *place.person.answer.lock().unwrap() = Answer::Yes;
    assert!(place.get_as(from("docker", Class::Sandbox)).is_ok());
    assert_eq!(place.asked(), 1);
    // A chain that could not be followed may hide either.
    denied(place.get_as(Pretended {
        company: Company::default(),
        ..app()
    }));
    place.grant(|grant| grant.via = Some("claude".into()));
    assert!(place.get_as(from("claude", Class::Agent)).is_ok());
    denied(place.get_as(from("codex", Class::Agent)));
}

#[test]
fn a_sealed_export_is_for_whom_the_policy_is_open() {
    let place = Place::new();
    let export = |process| {
        let sealed = VaultExport {
            seal: Some(secret("of the file")),
            ..VaultExport::default()
        };
        place.ask(&as_process(process), sealed)
    };
    let set = PolicySet {
        agents: Some(Policy::Ask),
        ..PolicySet::default()
    };
    place.ask(&as_process(app()), set).unwrap();
    assert_eq!(export(app()).unwrap().keys, 1);
    let from_agent = Pretended {
        company: Company {
            complete: true,
            known: vec![Known {
                id: "claude".into(),
                class: Class::Agent,
            }],
            ..Company::default()
        },
        ..app()
    };
    // Nor is one let in whose chain could not be followed.
    let unclear = Pretended {
        company: Company::default(),
        ..app()
    };
    for process in [from_agent, unclear] {
        let error = export(process).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::Denied, Some("passphrase"))
        );
        assert!(error.hint().is_some());
    }
    place.set(Policy::Ask);
    assert_eq!(kind(export(app())), Kind::Denied);
    assert_eq!(place.asked(), 0, "nobody is asked about all keys at once");
}

#[test]
fn whoever_may_see_one_key_is_told_of_no_other_that_does_not_open() {
    let place = Place::new();
    place
        .ask(&as_process(app()), new_key("openai/other", "sk-other"))
        .unwrap();
    place.grant(|_| {});
    let hand = place.bench.hand();
    let changed = hand.execute("UPDATE keys SET meta = zeroblob(length(meta))", []);
    assert_eq!(changed.unwrap(), 2);
    let list = || {
        let request = KeyList {
            skip_unreadable: Some(true),
            ..KeyList::default()
        };
        place.ask(&as_process(app()), request).unwrap().unreadable
    };
    assert_eq!(list().len(), 2, "control: whom the policy is open to");
    place.set(Policy::Granted);
    assert_eq!(list().len(), 1);
}

#[test]
fn a_grant_follows_its_key_and_not_its_name() {
    let place = Place::new();
    place.set(Policy::Granted);
    place.grant(|_| {});
    let rename = |from: &str, to: &str| {
        let request = KeyUpdate {
            name: from.into(),
            new_name: Some(to.into()),
            ..KeyUpdate::default()
        };
        place.ask(&as_process(app()), request).unwrap();
    };
    let get = |name: &str| {
        let request = KeyGet {
            name: name.into(),
            version: None,
        };
        place.ask(&as_process(app()), request)
    };
    // What changes keys without a grant for them is refused, so their owner does it.
    place.set(Policy::Open);
    place
        .ask(&as_process(app()), new_key("openai/prod", "sk-prod"))
        .unwrap();
    rename("openai/work", "openai/old");
    rename("openai/prod", "openai/work");
    place.set(Policy::Granted);
    denied(get("openai/work"));
    assert!(get("openai/old").is_ok());
    // Nor does a new key come under the grant of one that is gone.
    place.set(Policy::Open);
    place
        .ask(
            &as_process(app()),
            KeyRemove {
                name: "openai/old".into(),
            },
        )
        .unwrap();
    place
        .ask(&as_process(app()), new_key("openai/old", "sk-new"))
        .unwrap();
    place.set(Policy::Granted);
    denied(get("openai/old"));
}

#[test]
fn an_older_state_put_back_into_the_file_is_not_believed() {
    let mut place = Place::new();
    let state = |bench: &Bench| -> (Vec<u8>, i64, Vec<u8>) {
        bench
            .hand()
            .query_row(
                "SELECT profile, profile_version, manifest FROM accounts",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap()
    };
    let open = state(&place.bench);
    place.set(Policy::Granted);
    denied(place.get_as(app()));
    let put_back = |bench: &Bench| {
        let changed = bench
            .hand()
            .execute(
                "UPDATE accounts SET profile = ?1, profile_version = ?2",
                (&open.0, open.1),
            )
            .unwrap();
        assert_eq!(changed, 1);
    };
    // While the account is open, what is in memory counts, and no change is built on what was put back.
    put_back(&place.bench);
    denied(place.get_as(app()));
    let tighten = PolicySet {
        agents: Some(Policy::Granted),
        ..PolicySet::default()
    };
    assert!(place.ask(&as_process(app()), tighten).is_err());
    place.reopen();
    assert_eq!(kind(place.unlock()), Kind::RolledBack);
    // The old manifest beside it does not help either.
    place
        .bench
        .hand()
        .execute("UPDATE accounts SET manifest = ?1", [&open.2])
        .unwrap();
    place.reopen();
    assert_eq!(kind(place.unlock()), Kind::RolledBack);
}

#[test]
fn policy_and_grants_outlive_the_agent_a_lock_and_a_recovery() {
    let mut place = Place::new();
    place.set(Policy::Granted);
    place.grant(|_| {});
    let stranger = || Pretended {
        program: Some("/usr/bin/other".into()),
        ..app()
    };
    let holds = |place: &Place| {
        assert!(place.get_as(app()).is_ok());
        denied(place.get_as(stranger()));
    };
    holds(&place);
    place.ask(&as_process(app()), AgentLock {}).unwrap();
    place.unlock().unwrap();
    holds(&place);
    place.reopen();
    place.unlock().unwrap();
    holds(&place);
    let recover = AccountRecover {
        account: None,
        code: place.codes.remove(0),
        new_passphrase: secret(PASSPHRASE),
    };
    place.ask(&as_process(app()), recover).unwrap();
    holds(&place);
}

#[test]
fn a_program_that_holds_the_vault_enforces_nothing_and_says_so() {
    let bench = Bench::initialized();
    bench.add("openai/work", "sk-work").unwrap();
    let set = PolicySet {
        policy: Some(Policy::Granted),
        ..PolicySet::default()
    };
    assert!(!bench.call(set).unwrap().enforced);
    assert!(!bench.call(PolicyShow {}).unwrap().enforced);
    assert_eq!(bench.get("openai/work").unwrap(), "sk-work");
    // A key that wants a question is not handed out where nobody asks it.
    let confirm = KeyUpdate {
        name: "openai/work".into(),
        confirm: Some(true),
        ..KeyUpdate::default()
    };
    bench.call(confirm).unwrap();
    denied(bench.get("openai/work"));
    // Control: where callers are seen it is enforced.
    let place = Place::new();
    assert!(
        place
            .ask(&as_process(app()), PolicyShow {})
            .unwrap()
            .enforced
    );
}

#[test]
fn an_account_has_a_bounded_number_of_grants() {
    let place = Place::new();
    for _ in 0..akm_core::vault::MAX_GRANTS {
        place.grant(|_| {});
    }
    assert_eq!(
        kind(place.ask(&as_process(app()), grant())),
        Kind::LimitReached
    );
    // Also by their size, below what a row may hold.
    let place = Place::new();
    let long = format!("/{}", "x".repeat(1000));
    let mut count = 0;
    let refused = loop {
        let mut grant = grant();
        grant.exe = Some(long.clone());
        grant.script = Some(long.clone());
        grant.under = Some(long.clone());
        match place.ask(&as_process(app()), grant) {
            Ok(_) => count += 1,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(refused, Kind::LimitReached);
    assert!(
        (20..akm_core::vault::MAX_GRANTS).contains(&count),
        "{count}"
    );
}
