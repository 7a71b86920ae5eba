//! Who counts as asking, and what else a rule says: policies of their own, use alone, an end, a restart.

use std::path::Path;

use akm_core::protocol::{KeyList, Policy, PolicySet};

use super::support::{copy_program, kind};
use super::{ASK, Bench, GET, VALUE, gets, is_refused, python, text, which};

#[test]
fn what_akm_asks_for_is_asked_by_whoever_started_akm() {
    let bench = Bench::new(Policy::Granted);
    let akm = env!("CARGO_BIN_EXE_akm");
    let bash = text(&which("bash").canonicalize().unwrap());
    // A command after it, so that the shell does not turn into akm.
    for name in ["good.sh", "bad.sh"] {
        std::fs::write(
            bench.project.join(name),
            format!("{akm} get openai/work\ntrue\n"),
        )
        .unwrap();
    }
    bench.grant(|grant| {
        grant.exe = Some(bash.clone());
        grant.script = Some(text(&bench.project.join("good.sh")));
    });
    gets(&bench.run(&bash, &["good.sh"]));
    let refused = bench.run(&bash, &["bad.sh"]);
    assert!(
        refused.contains("no grant covers this program") && !refused.contains(VALUE),
        "{refused}"
    );
    // A grant to akm itself would be one to everybody, and is none.
    bench.grant(|grant| grant.exe = Some(text(&Path::new(akm).canonicalize().unwrap())));
    let refused = bench.run(&bash, &["bad.sh"]);
    assert!(!refused.contains(VALUE), "{refused}");
    // And akm run: its command has the key where who started akm may have it.
    let run = format!("{akm} run -e K=akm://openai/work --no-masking -- printenv K\ntrue\n");
    std::fs::write(bench.project.join("good.sh"), &run).unwrap();
    gets(&bench.run(&bash, &["good.sh"]));
    std::fs::write(bench.project.join("bad.sh"), &run).unwrap();
    assert!(!bench.run(&bash, &["bad.sh"]).contains(VALUE));
}

#[test]
fn what_a_coding_agent_runs_has_a_policy_of_its_own() {
    let bench = Bench::new(Policy::Open);
    bench.policy(PolicySet {
        agents: Some(Policy::Granted),
        ..PolicySet::default()
    });
    gets(&bench.python(&["app.py"]));
    // A shell that is called as one of the list, and what it runs.
    let claude = bench.project.join("claude");
    copy_program(which("bash").canonicalize().unwrap(), &claude);
    let line = format!("{} app.py; true", python());
    let below = || bench.run(&text(&claude), &["-c", &line]);
    is_refused(&below());
    // The mark that it leaves in the environment is seen without it in the chain.
    let marked = || {
        bench.run_with(&python(), &["app.py"], |command| {
            command.env("CLAUDECODE", "1");
        })
    };
    is_refused(&marked());
    // A grant for a person's programs is not meant; one that names the agent is.
    bench.grant(|_| {});
    is_refused(&below());
    bench.grant(|grant| grant.via = Some("codex".into()));
    is_refused(&below());
    bench.grant(|grant| grant.via = Some("claude".into()));
    gets(&below());
    gets(&marked());
}

#[test]
fn a_mark_that_only_akm_itself_carries_is_seen() {
    let bench = Bench::new(Policy::Open);
    bench.policy(PolicySet {
        agents: Some(Policy::Granted),
        ..PolicySet::default()
    });
    // The shell was started without it, so its own variables in /proc say nothing.
    let akm = env!("CARGO_BIN_EXE_akm");
    let bash = text(&which("bash").canonicalize().unwrap());
    let marked = format!("CLAUDECODE=1 {akm} get openai/work; true");
    let refused = bench.run(&bash, &["-c", &marked]);
    assert!(
        refused.contains("no grant covers this program") && !refused.contains(VALUE),
        "{refused}"
    );
    let through = format!("CLAUDECODE=1 {akm} run -- {akm} get openai/work; true");
    assert!(!bench.run(&bash, &["-c", &through]).contains(VALUE));
    // Control.
    let plain = format!("{akm} get openai/work; true");
    gets(&bench.run(&bash, &["-c", &plain]));
}

#[test]
fn a_grant_that_can_never_fit_is_refused() {
    let bench = Bench::new(Policy::Granted);
    let akm = env!("CARGO_BIN_EXE_akm");
    let (curl, app) = (text(&which("curl")), text(&bench.project.join("app.py")));
    let python = python();
    let add = |words: &[&str]| {
        let fixed = ["grant", "openai/work", "--json"];
        bench.run(akm, &[&fixed, words].concat())
    };
    for (words, field) in [
        (vec!["--exe", akm], "exe"),
        (vec!["--exe", &curl, "--script", &app], "script"),
        (vec!["--via", "nosuch"], "via"),
        (vec!["--exe", &python, "--via", "Claude"], "via"),
    ] {
        let refused = add(&words);
        assert!(refused.contains(r#""kind":"invalid_input""#), "{refused}");
        let named = format!(r#""field":"{field}""#);
        assert!(refused.contains(&named), "{refused}");
    }
    // Control: nothing is wrong with these but the passphrase that is missing.
    let config = bench.home.path().join("config.toml");
    std::fs::write(&config, "[callers]\nagents = [\"my-bot\"]\n").unwrap();
    for words in [
        vec!["--exe", &curl],
        vec!["--exe", &python, "--script", &app],
        vec!["--via", "claude"],
        vec!["--via", "my-bot"],
    ] {
        let asks = add(&words);
        assert!(asks.contains("a passphrase is needed"), "{asks}");
    }
}

#[test]
fn a_use_only_grant_uses_and_an_expired_one_covers_nobody() {
    let bench = Bench::new(Policy::Open);
    let test = "print(ask(connect(), op='provider.balance'))\n";
    bench.agent.add("unheard-of/key", "sk-x").unwrap();
    bench.policy(PolicySet {
        policy: Some(Policy::Granted),
        ..PolicySet::default()
    });
    bench.script(
        "app.py",
        &format!(
            "{}{}",
            test.replace("connect()", "connect(), 'unheard-of/key'"),
            GET.replace("connect()", "connect(), 'unheard-of/key'")
        ),
    );
    bench.grant(|grant| {
        grant.name = Some("unheard-of/key".into());
        grant.use_only = Some(true);
    });
    let answer = bench.python(&["app.py"]);
    let mut lines = answer.lines();
    assert!(lines.next().unwrap().contains(r#""ok":true"#), "{answer}");
    assert!(lines.next().unwrap().contains("denied"), "{answer}");
    // Time itself is the service's: see akm-core's tests. Here that a grant with a lifetime is one.
    bench.grant(|grant| grant.lifetime_s = Some(3600));
    bench.script("app.py", GET);
    gets(&bench.python(&["app.py"]));
}

#[test]
fn grants_survive_a_restart_and_are_sealed() {
    let bench = Bench::new(Policy::Granted);
    bench.grant_app();
    gets(&bench.python(&["app.py"]));
    let Bench {
        home,
        agent,
        project,
    } = bench;
    assert!(agent.stop().success());
    let mut file = std::fs::read(home.path().join("vault.db")).unwrap();
    for beside in ["vault.db-wal", "audit.journal"] {
        file.extend(std::fs::read(home.path().join(beside)).unwrap_or_default());
    }
    let holds = |text: &str| {
        file.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(!holds("app.py") && !holds("python"));
    // Control: the name of the account rests in clear.
    assert!(holds("default"));
    let agent = home.start();
    agent.unlock(None).unwrap();
    let bench = Bench {
        home,
        agent,
        project,
    };
    gets(&bench.python(&["app.py"]));
    is_refused(&bench.python(&["-c", &format!("{ASK}{GET}")]));
    assert_eq!(
        kind(&bench.agent.client().call(&KeyList::default()).unwrap_err()),
        "denied"
    );
}
