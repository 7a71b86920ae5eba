//! Who is covered by an account's rules: what is known of a caller, what is not, and what decides then.

use super::*;
use crate::caller::{Class, Company, Hindrance, Known, Process, Script};
use crate::protocol::Policy;

/// A caller of which everything is known, until a test takes something away.
struct Shell {
    program: Option<&'static str>,
    digest: Option<[u8; 32]>,
    /// Whether the digest is known without reading.
    read: bool,
    script: Script,
    directory: Option<&'static str>,
    company: Company,
    hindrance: Option<Hindrance>,
    unchanged: bool,
}

impl Process for Shell {
    fn program(&self) -> Option<&str> {
        self.program
    }

    fn known_digest(&self) -> Option<[u8; 32]> {
        self.digest.filter(|_| self.read)
    }

    fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    fn script(&self) -> &Script {
        &self.script
    }

    fn directory(&self) -> Option<&str> {
        self.directory
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

    fn terminal(&self) -> Option<PathBuf> {
        None
    }
}

fn shell() -> Shell {
    Shell {
        program: Some("/usr/bin/python3"),
        digest: Some([5; 32]),
        read: true,
        script: Script::File("/home/a/work/job.py".into()),
        directory: Some("/home/a/work"),
        company: Company {
            complete: true,
            ..Company::default()
        },
        hindrance: None,
        unchanged: true,
    }
}

fn known(class: Class) -> Known {
    Known {
        id: "codex".into(),
        class,
    }
}

/// Fits every caller.
fn grant() -> Grant {
    Grant {
        id: [1; 16],
        key: None,
        name: None,
        exe: None,
        exe_sha256: None,
        script: None,
        under: None,
        via: None,
        use_only: false,
        any_env: false,
        learn: false,
        created_at: 0,
        expires_at: None,
    }
}

const RECORD: Id = [9; 16];
const NOW: i64 = 1000;

fn rules(policy: Policy, grants: Vec<Grant>) -> Rules {
    Rules {
        policy,
        grants,
        ..Rules::default()
    }
}

fn rule(rules: &Rules, process: &Shell) -> Ruling {
    rules.rule(process, &RECORD, Use::Release, NOW, true)
}

#[test]
fn a_policy_decides_where_no_grant_does() {
    let somebody = shell();
    for (policy, ruling) in [
        (Policy::Open, Ruling::Allowed),
        (Policy::Ask, Ruling::Ask),
        (Policy::Granted, Ruling::Refused),
    ] {
        assert_eq!(rule(&rules(policy, Vec::new()), &somebody), ruling);
        assert_eq!(rules(policy, Vec::new()).is_open(), policy == Policy::Open);
    }
    // A stricter rule for some is no open vault; whoever it does not concern still gets in.
    let watching = Rules {
        agents: Some(Policy::Granted),
        ..rules(Policy::Open, Vec::new())
    };
    assert!(!watching.is_open());
    assert_eq!(rule(&watching, &somebody), Ruling::Allowed);
    for (class, ruling) in [
        (Class::Agent, Ruling::Refused),
        (Class::Sandbox, Ruling::Allowed),
    ] {
        let mut under = shell();
        under.company.known.push(known(class));
        assert_eq!(rule(&watching, &under), ruling, "{class:?}");
    }
    let mut lost = shell();
    lost.company.complete = false;
    assert_eq!(
        rule(&watching, &lost),
        Ruling::Refused,
        "the worst is assumed"
    );
    let boxed = Rules {
        sandboxes: Some(Policy::Ask),
        ..rules(Policy::Open, Vec::new())
    };
    assert_eq!(rule(&boxed, &lost), Ruling::Ask);
    assert_eq!(rule(&boxed, &somebody), Ruling::Allowed);
}

#[test]
fn every_field_of_a_grant_has_to_fit() {
    let covers = |grant: &Grant, process: &Shell| {
        let rules = rules(Policy::Granted, vec![grant.clone()]);
        let allowed = rule(&rules, process) == Ruling::Allowed;
        assert_eq!(rules.covers(grant, process), allowed);
        allowed
    };
    type Narrow = fn(&mut Grant);
    type Other = fn(&mut Shell);
    let cases: [(&str, Narrow, Other); 8] = [
        (
            "executable",
            |g| g.exe = Some("/usr/bin/python3".into()),
            |p| p.program = Some("/tmp/python3"),
        ),
        (
            "executable that cannot be read",
            |g| g.exe = Some("/usr/bin/python3".into()),
            |p| p.program = None,
        ),
        (
            "directory",
            |g| g.under = Some("/home/a/work".into()),
            |p| p.directory = Some("/home/a/workshop"),
        ),
        (
            "directory that cannot be read",
            |g| g.under = Some("/home/a".into()),
            |p| p.directory = None,
        ),
        (
            "script",
            |g| g.script = Some("/home/a/work/job.py".into()),
            |p| p.script = Script::Inline,
        ),
        (
            "digest",
            |g| g.exe_sha256 = Some([5; 32]),
            |p| p.digest = Some([6; 32]),
        ),
        (
            "digest that cannot be read",
            |g| g.exe_sha256 = Some([5; 32]),
            |p| p.digest = None,
        ),
        (
            "a program that is still the same",
            |_| (),
            |p| p.unchanged = false,
        ),
    ];
    for (what, narrow, other) in cases {
        let mut grant = grant();
        narrow(&mut grant);
        let (fits, mut misfits) = (shell(), shell());
        other(&mut misfits);
        assert!(covers(&grant, &fits), "control: {what}");
        assert!(!covers(&grant, &misfits), "{what}");
    }
    let mut over = grant();
    over.expires_at = Some(NOW);
    assert!(over.is_over(NOW) && !over.is_over(NOW - 1));
    assert_eq!(
        rule(&rules(Policy::Granted, vec![over]), &shell()),
        Ruling::Refused
    );
    for (hindrance, any_env, ruling) in [
        (Hindrance::Environment, false, Ruling::Refused),
        (Hindrance::Environment, true, Ruling::Allowed),
        (Hindrance::Traced, true, Ruling::Refused),
        (Hindrance::Unreadable, true, Ruling::Refused),
        (Hindrance::ForeignNamespace, true, Ruling::Refused),
    ] {
        let hindered = Shell {
            hindrance: Some(hindrance),
            ..shell()
        };
        let grant = Grant { any_env, ..grant() };
        assert_eq!(
            covers(&grant, &hindered),
            ruling == Ruling::Allowed,
            "{hindrance:?}"
        );
        // Nobody is asked about a process that invents what it shows; about the others somebody is.
        let asked = match hindrance {
            Hindrance::ForeignNamespace => Ruling::Refused,
            _ => Ruling::Ask,
        };
        assert_eq!(rule(&rules(Policy::Ask, Vec::new()), &hindered), asked);
    }
}

#[test]
fn a_grant_is_of_one_key_and_one_use() {
    let rules = |grant| rules(Policy::Granted, vec![grant]);
    let with = |grant: Grant, what| rules(grant).rule(&shell(), &RECORD, what, NOW, true);
    let of = |key| Grant {
        key: Some(key),
        ..grant()
    };
    assert_eq!(with(of(RECORD), Use::Release), Ruling::Allowed);
    assert_eq!(with(of([8; 16]), Use::Release), Ruling::Refused);
    let use_only = Grant {
        use_only: true,
        ..grant()
    };
    for (what, ruling) in [
        (Use::Use, Ruling::Allowed),
        (Use::Release, Ruling::Refused),
        (Use::Change, Ruling::Refused),
    ] {
        assert_eq!(with(use_only.clone(), what), ruling);
    }
}

#[test]
fn a_program_that_runs_what_a_model_wrote_needs_a_grant_that_names_it() {
    let watching = |grant| Rules {
        agents: Some(Policy::Granted),
        ..rules(Policy::Granted, vec![grant])
    };
    let mut agent = shell();
    agent.company.known.push(known(Class::Agent));
    let named = Grant {
        via: Some("codex".into()),
        ..grant()
    };
    // Made for a person's shell: what a model runs there is not meant.
    assert_eq!(rule(&watching(grant()), &agent), Ruling::Refused);
    assert_eq!(rule(&watching(grant()), &shell()), Ruling::Allowed);
    let mut lost = shell();
    lost.company.complete = false;
    assert_eq!(rule(&watching(grant()), &lost), Ruling::Refused);
    assert_eq!(rule(&watching(named.clone()), &agent), Ruling::Allowed);
    assert_eq!(rule(&watching(named), &shell()), Ruling::Refused);
    // Where nobody watches, a grant without a name covers both.
    let blind = rules(Policy::Granted, vec![grant()]);
    assert_eq!(rule(&blind, &agent), Ruling::Allowed);
}

#[test]
fn what_is_not_read_yet_is_read_where_waiting_is_allowed() {
    let rules = rules(
        Policy::Granted,
        vec![Grant {
            exe_sha256: Some([5; 32]),
            ..grant()
        }],
    );
    let unread = Shell {
        read: false,
        ..shell()
    };
    let with =
        |process: &Shell, may_wait| rules.rule(process, &RECORD, Use::Release, NOW, may_wait);
    assert_eq!(with(&unread, false), Ruling::Later);
    assert_eq!(with(&unread, true), Ruling::Allowed);
    assert_eq!(with(&shell(), false), Ruling::Allowed);
    let other = Shell {
        digest: Some([6; 32]),
        ..shell()
    };
    assert_eq!(with(&other, false), Ruling::Refused);
}

#[test]
fn the_first_that_learns_stands_behind_every_one_that_covers() {
    let learns = |id| Grant {
        id: [id; 16],
        learn: true,
        ..grant()
    };
    for policy in [Policy::Ask, Policy::Granted] {
        let rules = rules(policy, vec![learns(3), learns(4)]);
        assert_eq!(rule(&rules, &shell()), Ruling::Learn([3; 16]));
        assert!(!rules.covers(&rules.grants[0], &shell()));
    }
    let covered = rules(Policy::Granted, vec![learns(3), grant()]);
    assert_eq!(rule(&covered, &shell()), Ruling::Allowed);
    let other = Grant {
        key: Some([8; 16]),
        ..learns(3)
    };
    assert_eq!(
        rule(&rules(Policy::Ask, vec![other]), &shell()),
        Ruling::Ask,
        "it learns of another key"
    );
}

#[test]
fn what_lets_somebody_in_who_was_kept_out_is_looser() {
    let of = |policy, agents, sandboxes| Rules {
        policy,
        agents,
        sandboxes,
        grants: Vec::new(),
    };
    use Policy::{Ask, Granted, Open};
    for (after, before, looser) in [
        (of(Ask, None, None), of(Ask, None, None), false),
        (of(Open, None, None), of(Ask, None, None), true),
        (of(Granted, None, None), of(Ask, None, None), false),
        (
            of(Open, Some(Ask), None),
            of(Open, Some(Granted), None),
            true,
        ),
        (
            of(Open, Some(Granted), None),
            of(Open, Some(Ask), None),
            false,
        ),
        (
            of(Open, None, Some(Ask)),
            of(Open, None, Some(Granted)),
            true,
        ),
        (
            of(Open, None, Some(Granted)),
            of(Open, None, Some(Ask)),
            false,
        ),
        // A rule that is no stricter than the policy says nothing, but for whom grants without a name count.
        (of(Granted, None, None), of(Granted, Some(Ask), None), true),
        (of(Granted, None, None), of(Granted, None, Some(Ask)), true),
        (of(Granted, Some(Ask), None), of(Granted, None, None), false),
        (of(Open, None, None), of(Open, Some(Open), None), false),
        (of(Open, None, None), of(Open, None, Some(Open)), false),
        (of(Open, None, Some(Ask)), of(Open, Some(Ask), None), true),
    ] {
        assert_eq!(
            after.is_looser_than(&before),
            looser,
            "{after:?} {before:?}"
        );
    }
}

#[test]
fn an_account_has_as_many_grants_as_it_may_and_no_more() {
    let room = Room::new();
    let account = room.session();
    let change = |grants: Vec<Grant>| {
        let rows = room.rows();
        let mut change = |rules: &mut Rules| {
            rules.grants = grants.clone();
            Ok(())
        };
        let done = room
            .vault
            .change_rules(&account, &mut change, &mut || Ok(()));
        assert!(done.is_ok() || room.rows() == rows);
        done.map(|rules| rules.grants.len())
            .map_err(|error| error.kind())
    };
    assert_eq!(change(vec![grant(); MAX_GRANTS]), Ok(MAX_GRANTS), "control");
    assert_eq!(
        change(vec![grant(); MAX_GRANTS + 1]),
        Err(Kind::LimitReached)
    );
    // As long as they may be together, to the byte.
    let long = |length: usize| Grant {
        script: Some("x".repeat(length)),
        ..grant()
    };
    let size = |length| {
        let rules = rules(Policy::Open, vec![long(4000), long(length)]);
        crate::protocol::encode(&rules).unwrap().len()
    };
    let most = 128 * 1024 - size(0);
    assert_eq!(change(vec![long(4000), long(most)]), Ok(2), "control");
    assert_eq!(
        change(vec![long(4000), long(most + 1)]),
        Err(Kind::LimitReached)
    );
    assert_eq!(room.vault.rules(&account).unwrap().grants.len(), 2);
    // What is over goes with the next change.
    let over = Grant {
        expires_at: Some(room.vault.now_ms()),
        ..grant()
    };
    assert_eq!(change(vec![over, grant()]), Ok(2));
    let mut look = |_: &mut Rules| Ok(());
    let rules = room.vault.change_rules(&account, &mut look, &mut || Ok(()));
    assert_eq!(rules.unwrap().grants.len(), 1);
    // Who refuses on the way changes nothing.
    let mut refuse = |_: &mut Rules| Err(Error::new(Kind::Denied, "no"));
    let refused = room
        .vault
        .change_rules(&account, &mut refuse, &mut || Ok(()));
    assert_eq!(kind(refused), Kind::Denied);
    assert_eq!(room.vault.rules(&account).unwrap().grants.len(), 1);
}
