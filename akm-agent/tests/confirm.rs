//! Questions to a person, asked through a real program and on a real terminal: what they say, what counts as a yes, and
//! what happens to everybody else meanwhile.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod cli_support;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use akm_core::protocol::{GrantAdd, GrantList, KeyList, Policy, PolicySet};
use cli_support::terminal::Terminal;
use support::{Agent, Home, PASSPHRASE, eventually, launch, secret};

const VALUE: &str = "sk-that-is-confirmed";

/// An agent whose questions a script answers.
struct Bench {
    home: Home,
    agent: Agent,
}

impl Bench {
    /// `answer` is what the script does after it has written down what it was asked.
    fn new(answer: &str) -> Bench {
        Bench::with_config(answer, "")
    }

    fn with_config(answer: &str, config: &str) -> Bench {
        let home = Home::new();
        std::fs::create_dir(home.path()).unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        let askpass = home.path().join("askpass");
        let asked = home.path().join("asked");
        // Written whole before it counts, so that nobody reads half of it.
        let script = format!(
            "#!/bin/sh\n{{ printf '%s\\n' \"$1\"; echo \"hint=$SSH_ASKPASS_PROMPT\"; }} > '{0}.'$$\nmv '{0}.'$$ '{0}-'$$\n{answer}\n",
            asked.display()
        );
        std::fs::write(&askpass, script).unwrap();
        std::fs::set_permissions(&askpass, PermissionsExt::from_mode(0o700)).unwrap();
        let mut command = home.command();
        command
            .arg("-D")
            .env("AKM_ASKPASS", &askpass)
            .env("AKM_LANG", "en");
        let child = launch(command).unwrap();
        let agent = Agent {
            child,
            socket: home.socket(),
        };
        agent.register();
        let key = format!(r#"{{"name":"openai/work","secret":"{VALUE}","confirm":true}}"#);
        agent.client().call_raw("key.add", key.as_bytes()).unwrap();
        Bench { home, agent }
    }

    /// What was asked so far.
    fn questions(&self) -> Vec<String> {
        std::fs::read_dir(self.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with("asked-")
            })
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    fn refusal(&self) -> &'static str {
        let error = self.agent.get("openai/work").unwrap_err();
        support::kind(&error)
    }

    /// A get in a process of its own, without what cargo puts into the environment.
    fn curl_for(&self, name: &str) -> Command {
        self.curl_to("key.get", &format!(r#"{{"name":"{name}"}}"#))
    }

    fn curl_to(&self, op: &str, body: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--max-time", "60", "--data"])
            .arg(body)
            .arg("--unix-socket")
            .arg(&self.agent.socket)
            .arg(format!("http://akm/v1/{op}"))
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    fn curl(&self) -> Command {
        self.curl_for("openai/work")
    }

    fn curl_answer(&self) -> String {
        String::from_utf8(self.curl().output().unwrap().stdout).unwrap()
    }
}

#[test]
fn a_yes_releases_the_key_and_the_question_says_who_asks_for_what_and_why() {
    let bench = Bench::new("echo yes");
    assert_eq!(bench.agent.get("openai/work").unwrap(), VALUE);
    let questions = bench.questions();
    let question = &questions[0];
    let me = std::env::current_exe().unwrap();
    let here = std::env::current_dir().unwrap();
    let parent =
        std::fs::read_link(format!("/proc/{}/exe", std::os::unix::process::parent_id())).unwrap();
    for part in [
        "may this program have openai/work?",
        "wants:      key.get",
        &format!("program:    {}", me.display()),
        &format!("directory:  {}", here.display()),
        &format!(
            "started by: {} ({})",
            parent.display(),
            std::os::unix::process::parent_id()
        ),
        "reason:     the key is confirmed at each use",
        "hint=confirm",
    ] {
        assert!(question.contains(part), "{part:?} is missing in {question}");
    }
    // Each time anew.
    assert_eq!(bench.agent.get("openai/work").unwrap(), VALUE);
    assert_eq!(bench.questions().len(), 2);
    // Another key is nobody's question.
    bench.agent.add("openai/plain", "sk-plain").unwrap();
    assert_eq!(bench.agent.get("openai/plain").unwrap(), "sk-plain");
    assert_eq!(bench.questions().len(), 2);
}

#[test]
fn nothing_but_a_clear_yes_is_one() {
    for no in [
        "exit 1",
        "echo yes; exit 1",
        "echo no",
        "echo y",
        "echo Yes please",
        "echo yes forever",
        "printf 'yes\\nno\\n'",
        "kill -9 $$",
        "head -c 100000 /dev/zero | tr '\\0' y",
    ] {
        let bench = Bench::new(no);
        assert_eq!(bench.refusal(), "denied", "{no}");
        assert_eq!(bench.questions().len(), 1, "{no}");
    }
    // Control: what the programs that are made for ssh-agent say on a yes is nothing.
    for yes in ["exit 0", "echo YES"] {
        assert_eq!(
            Bench::new(yes).agent.get("openai/work").unwrap(),
            VALUE,
            "{yes}"
        );
    }
}

#[test]
fn names_from_other_processes_cannot_draw_on_the_question() {
    let bench = Bench::new("echo yes");
    let hostile = bench
        .home
        .path()
        .join("a\nreason:     harmless\u{1b}[2J\u{202e}");
    std::fs::create_dir(&hostile).unwrap();
    let answer = bench.curl().current_dir(&hostile).output().unwrap();
    assert!(String::from_utf8_lossy(&answer.stdout).contains(VALUE));
    let question = bench.questions().remove(0);
    assert!(
        !question.contains('\u{1b}') && !question.contains('\u{202e}'),
        "{question:?}"
    );
    let reasons = question
        .lines()
        .filter(|line| line.trim_start().starts_with("reason:"))
        .count();
    assert_eq!(reasons, 1, "{question}");
    assert!(question.contains("\\u{1b}"), "{question}");
}

#[test]
fn silence_is_a_no_and_the_program_is_ended() {
    let fifo = "mkfifo \"$0.fifo\"; echo $$ > \"$0.pid\"; cat \"$0.fifo\"";
    let bench = Bench::with_config(fifo, "[confirm]\ntimeout_s = 1\n");
    assert_eq!(bench.refusal(), "denied");
    let pid = std::fs::read_to_string(bench.home.path().join("askpass.pid")).unwrap();
    let pid: i32 = pid.trim().parse().unwrap();
    eventually("the end of the program", || {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err()
    });
    // The agent goes on.
    bench.agent.add("openai/plain", "sk-plain").unwrap();
    assert_eq!(bench.agent.get("openai/plain").unwrap(), "sk-plain");
}

/// Whether a process has ended, reaped or not.
fn is_over(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_question_ends_with_the_session_and_with_the_agent_and_what_its_program_started_too() {
    let bench = Bench::new("sleep 600 & echo $$ $! > \"$0.ids\"; wait");
    let ids = bench.home.path().join("askpass.ids");
    let asking = || {
        let waiting = bench.curl().spawn().unwrap();
        let mut pids = Vec::new();
        eventually("the question", || {
            let text = std::fs::read_to_string(&ids).unwrap_or_default();
            if text.ends_with('\n') {
                pids = text.split_whitespace().map(str::to_owned).collect();
            }
            pids.len() == 2
        });
        std::fs::remove_file(&ids).unwrap();
        assert!(!pids.iter().any(|pid| is_over(pid)), "control: both run");
        (waiting, pids)
    };
    let (waiting, pids) = asking();
    bench.agent.lock();
    let answer = String::from_utf8(waiting.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.contains(r#""kind":"locked""#), "{answer}");
    eventually("the end of both", || pids.iter().all(|pid| is_over(pid)));

    bench.agent.unlock(None).unwrap();
    let (mut waiting, pids) = asking();
    let Bench { agent, home: _home } = bench;
    assert!(agent.stop().success());
    eventually("the end of both", || pids.iter().all(|pid| is_over(pid)));
    waiting.wait().unwrap();
}

#[test]
fn an_answer_is_kept_as_long_as_the_person_said_for_this_program_and_session() {
    let bench = Bench::new("echo yes 1h");
    assert_eq!(bench.agent.get("openai/work").unwrap(), VALUE);
    assert_eq!(bench.agent.get("openai/work").unwrap(), VALUE);
    assert_eq!(bench.questions().len(), 1);
    // Another program is asked about.
    assert!(bench.curl_answer().contains(VALUE));
    assert_eq!(bench.questions().len(), 2);
    assert!(bench.curl_answer().contains(VALUE));
    assert_eq!(bench.questions().len(), 2);
    // And the next session knows nothing of it.
    bench.agent.lock();
    bench.agent.unlock(None).unwrap();
    assert_eq!(bench.agent.get("openai/work").unwrap(), VALUE);
    assert_eq!(bench.questions().len(), 3);
}

#[test]
fn a_question_holds_up_nobody_and_a_lock_ends_what_it_was_for() {
    // Answers when told to.
    let bench = Bench::new("until [ -e \"$0.go\" ]; do sleep 0.05; done; echo yes");
    let waiting = bench.curl().spawn().unwrap();
    eventually("the question", || !bench.questions().is_empty());
    // Everybody else is served, also by operations that change the account.
    bench.agent.add("openai/plain", "sk-plain").unwrap();
    assert_eq!(bench.agent.get("openai/plain").unwrap(), "sk-plain");
    bench.agent.lock();
    std::fs::write(bench.home.path().join("askpass.go"), "").unwrap();
    let answer = String::from_utf8(waiting.wait_with_output().unwrap().stdout).unwrap();
    assert!(
        answer.contains(r#""kind":"locked""#) && !answer.contains(VALUE),
        "{answer}"
    );
    // Also where the account was opened again before the answer.
    std::fs::remove_file(bench.home.path().join("askpass.go")).unwrap();
    bench.agent.unlock(None).unwrap();
    let waiting = bench.curl().spawn().unwrap();
    eventually("the question", || bench.questions().len() == 2);
    bench.agent.lock();
    bench.agent.unlock(None).unwrap();
    std::fs::write(bench.home.path().join("askpass.go"), "").unwrap();
    let answer = String::from_utf8(waiting.wait_with_output().unwrap().stdout).unwrap();
    assert!(
        answer.contains(r#""kind":"locked""#) && !answer.contains(VALUE),
        "{answer}"
    );
    // Control: undisturbed it is released.
    assert!(bench.curl_answer().contains(VALUE));
}

#[test]
fn one_question_too_many_is_refused_at_once_and_the_others_go_on() {
    let bench = Bench::new("until [ -e \"$0.go\" ]; do sleep 0.05; done; echo yes");
    let most = akm_core::service::MAX_QUESTIONS;
    let waiting: Vec<_> = (0..most).map(|_| bench.curl().spawn().unwrap()).collect();
    eventually("all questions", || {
        eprintln!("{}", bench.questions().len());
        std::thread::sleep(std::time::Duration::from_millis(500));
        bench.questions().len() == most
    });
    let answer = bench.curl_answer();
    assert!(answer.contains(r#""kind":"rate_limited""#), "{answer}");
    bench.agent.add("openai/plain", "sk-plain").unwrap();
    assert_eq!(bench.agent.get("openai/plain").unwrap(), "sk-plain");
    std::fs::write(bench.home.path().join("askpass.go"), "").unwrap();
    for child in waiting {
        let answer = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(answer.contains(VALUE), "{answer}");
    }
    assert_eq!(bench.questions().len(), most);
}

#[test]
fn questions_about_changes_say_so_and_hold_up_nobody_who_only_reads() {
    let bench = Bench::new("until [ -e \"$0.go\" ]; do sleep 0.05; done; echo yes");
    let ask = PolicySet {
        policy: Some(Policy::Ask),
        passphrase: Some(secret(PASSPHRASE)),
        ..PolicySet::default()
    };
    bench.agent.client().call(&ask).unwrap();
    let most = akm_core::service::MAX_QUESTIONS;
    let rotate = r#"{"name":"openai/work","secret":"sk-another"}"#;
    let waiting: Vec<_> = (0..most)
        .map(|_| bench.curl_to("key.rotate", rotate).spawn().unwrap())
        .collect();
    eventually("all questions", || bench.questions().len() == most);
    for question in bench.questions() {
        assert!(
            question.contains("may this program change openai/work?"),
            "{question}"
        );
    }
    // More than the places of those that never wait are taken, and a list needs one.
    let listed = bench.agent.client().call(&KeyList::default()).unwrap();
    assert_eq!(listed.keys[0].version, 1, "nothing is changed yet");
    std::fs::write(bench.home.path().join("askpass.go"), "").unwrap();
    let answers = waiting
        .into_iter()
        .map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap());
    // Of changes at once some come too late, and say so.
    let changed = answers.filter(|answer| answer.contains(r#""ok":true"#));
    assert!(changed.count() > 0, "a yes is one");
}

#[test]
fn an_export_without_the_passphrase_leaves_out_what_is_confirmed() {
    let bench = Bench::new("echo yes");
    bench.agent.add("openai/plain", "sk-plain").unwrap();
    let export = |body: &str| {
        let answer = bench
            .agent
            .client()
            .call_raw("vault.export", body.as_bytes())
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let without = export(r#"{"seal":"of the file"}"#);
    assert!(
        without.contains(r#""keys":1"#) && without.contains(r#""left_out":["openai/work"]"#),
        "{without}"
    );
    let with = export(&format!(
        r#"{{"seal":"of the file","passphrase":"{PASSPHRASE}"}}"#
    ));
    assert!(with.contains(r#""keys":2"#), "{with}");
    assert!(bench.questions().is_empty());
}

/// A question that is open keeps an agent for as long as it waits for answers under way.
fn with_an_open_question() -> (Bench, std::process::Child) {
    let bench = Bench::new("exec sleep 60");
    let waiting = bench.curl().spawn().unwrap();
    eventually("the question", || bench.questions().len() == 1);
    (bench, waiting)
}

#[test]
fn k_says_that_an_agent_is_killed_when_it_is() {
    let (bench, mut waiting) = with_an_open_question();
    let pid = bench.agent.child.id().to_string();
    let killed = bench
        .home
        .command()
        .arg("-k")
        .env("AKM_AGENT_PID", &pid)
        .output()
        .unwrap();
    assert_eq!(killed.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&killed.stdout).contains(&format!("Agent pid {pid} killed")));
    // It holds nothing that the next one needs.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    assert!(bench.home.start().stop().success());
    waiting.wait().unwrap();
}

#[test]
fn a_start_waits_for_the_agent_that_is_ending() {
    let (bench, mut waiting) = with_an_open_question();
    bench.agent.signal(nix::sys::signal::Signal::SIGTERM);
    eventually("the end of its listening", || {
        !akm_agent::socket::is_live(&bench.home.socket()).unwrap()
    });
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", bench.agent.child.id())).unwrap();
    assert!(!stat.contains(") Z "), "control: it is still there");
    assert!(bench.home.start().stop().success());
    waiting.wait().unwrap();
}

#[test]
fn the_policy_asks_about_every_key_and_learning_asks_once() {
    let bench = Bench::new("echo yes");
    let client = || bench.agent.client();
    bench.agent.add("openai/plain", "sk-plain").unwrap();
    let set = |policy| {
        let request = PolicySet {
            policy: Some(policy),
            passphrase: Some(secret(PASSPHRASE)),
            ..PolicySet::default()
        };
        client().call(&request).unwrap();
    };
    set(Policy::Ask);
    assert_eq!(bench.agent.get("openai/plain").unwrap(), "sk-plain");
    assert!(bench.questions()[0].contains("reason:     no grant covers the program"));
    set(Policy::Granted);
    assert_eq!(
        support::kind(&bench.agent.get("openai/plain").unwrap_err()),
        "denied"
    );
    assert_eq!(bench.questions().len(), 1);
    // Learning: this program is asked about once, and then covered.
    let learn = GrantAdd {
        name: Some("openai/plain".into()),
        exe: None,
        exe_sha256: None,
        script: None,
        under: None,
        via: None,
        use_only: None,
        any_env: None,
        learn: Some(true),
        lifetime_s: Some(3600),
        passphrase: secret(PASSPHRASE),
    };
    client().call(&learn).unwrap();
    let curl = || {
        let answer = bench.curl_for("openai/plain").output().unwrap();
        String::from_utf8(answer.stdout).unwrap()
    };
    assert!(curl().contains("sk-plain"));
    assert_eq!(bench.questions().len(), 2);
    assert!(
        bench
            .questions()
            .iter()
            .any(|question| question.contains("first use"))
    );
    assert!(curl().contains("sk-plain"));
    assert_eq!(bench.questions().len(), 2);
    let grants = client().call(&GrantList {}).unwrap().grants;
    let learned = grants.iter().find(|grant| !grant.learn).unwrap();
    assert!(learned.exe.as_deref().unwrap().ends_with("/curl"));
    assert!(learned.exe_sha256.is_some() && learned.expires_at.is_some());
    // Code in no file is allowed by a person, and not remembered: it would be everybody's.
    let before = client().call(&GrantList {}).unwrap().grants.len();
    let python = "import socket,sys\ns=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\nb='{\"name\":\"openai/plain\"}'\ns.sendall(('POST /v1/key.get HTTP/1.1\\r\\nhost: akm\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n%s'%(len(b),b)).encode())\nprint(s.recv(4096).decode())";
    let direct = || {
        let output = Command::new("python3")
            .args(["-c", python])
            .arg(&bench.agent.socket)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let asked = bench.questions().len();
    assert!(direct().contains("sk-plain"));
    assert!(direct().contains("sk-plain"));
    assert_eq!(bench.questions().len(), asked + 2);
    assert_eq!(client().call(&GrantList {}).unwrap().grants.len(), before);
}

#[test]
fn with_nobody_to_ask_the_answer_is_no() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    let key = format!(r#"{{"name":"openai/work","secret":"{VALUE}","confirm":true}}"#);
    agent.client().call_raw("key.add", key.as_bytes()).unwrap();
    // A process without a terminal.
    let output = Command::new("setsid")
        .args([
            "--wait",
            "curl",
            "--silent",
            "--data",
            r#"{"name":"openai/work"}"#,
            "--unix-socket",
        ])
        .arg(&agent.socket)
        .arg("http://akm/v1/key.get")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(
        answer.contains(r#""kind":"denied""#) && !answer.contains(VALUE),
        "{answer}"
    );
}

/// A home whose agent asks on terminals, whoever runs these tests.
fn terminal_home() -> cli_support::Home {
    let home = cli_support::Home::empty();
    let ids = [
        "claude",
        "codex",
        "cursor",
        "aider",
        "gemini-cli",
        "opencode",
        "copilot",
        "windsurf",
        "goose",
        "cline",
    ];
    let list: Vec<String> = ids.iter().map(|id| format!("{id:?}")).collect();
    std::fs::write(
        home.file("config.toml"),
        format!("[callers]\nignore = [{}]\n", list.join(", ")),
    )
    .unwrap();
    let init = home.akm(
        &["init", "--no-totp", "--passphrase-stdin"],
        &format!("{PASSPHRASE}\n"),
    );
    assert!(init.status.success(), "{init:?}");
    let add = home.akm(
        &["add", "openai/work", "--confirm", "--secret-stdin"],
        &format!("{VALUE}\n"),
    );
    assert!(add.status.success(), "{add:?}");
    home
}

#[test]
fn without_a_program_the_callers_terminal_asks() {
    let home = terminal_home();
    let shell = |answer: &str| {
        // The shell stays, so that akm has somebody who started it.
        let line = format!(
            "{} get openai/work; echo code=$?",
            env!("CARGO_BIN_EXE_akm")
        );
        let mut terminal = Terminal::of(&home, "bash", &["-c", &line]);
        terminal.expect("may this program have openai/work?");
        let between = terminal.expect("or no: ");
        assert!(terminal.echoes());
        terminal.type_in(answer);
        let end = terminal.expect("code=");
        let (_, shown) = terminal.end();
        (between, end, shown)
    };
    let (question, answer, _) = shell("yes\n");
    assert!(
        question.contains("program:    /") && question.contains("bash"),
        "{question}"
    );
    assert!(answer.contains(VALUE), "{answer}");
    for no in ["no\n", "\n", "y\n", "\u{4}"] {
        let (_, answer, shown) = shell(no);
        assert!(
            !answer.contains(VALUE) && shown.contains("code=1"),
            "{no:?}: {shown}"
        );
    }
}

#[test]
fn what_was_typed_before_the_question_is_no_answer() {
    let home = terminal_home();
    let line = format!(
        "read x; {} get openai/work; echo code=$?",
        env!("CARGO_BIN_EXE_akm")
    );
    let mut terminal = Terminal::of(&home, "bash", &["-c", &line]);
    // Two lines at once: one for the shell, and one that lies in wait.
    terminal.type_in("go\nyes\n");
    terminal.expect("or no: ");
    terminal.type_in("no\n");
    terminal.expect("code=1");
    let (_, shown) = terminal.end();
    assert!(!shown.contains(VALUE), "{shown}");
}

#[test]
fn confirmation_is_cleared_with_the_passphrase_only() {
    let home = terminal_home();
    let refused = home.akm(&["edit", "openai/work", "--no-confirm"], "");
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    let wrong = home.akm(
        &["edit", "openai/work", "--no-confirm", "--passphrase-stdin"],
        "wrong\n",
    );
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let right = home.akm(
        &["edit", "openai/work", "--no-confirm", "--passphrase-stdin"],
        &format!("{PASSPHRASE}\n"),
    );
    assert!(right.status.success(), "{right:?}");
    let got = home.akm(&["get", "openai/work"], "");
    assert_eq!(String::from_utf8_lossy(&got.stdout).trim(), VALUE);
}
