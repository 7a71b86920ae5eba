//! Grants against real processes: who is covered, who is not, and which of the ways around them work for a process of
//! the same user. What does not hold is here as well, as measured, and in SECURITY.md.
//!
//! Nothing here is about another user: that is `agent_attacks`.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use akm_core::protocol::{AuditList, Policy};
use akm_core::protocol::{GrantAdd, KeyList, PolicySet};
use support::{Agent, Home, PASSPHRASE, copy_program, secret};

/// Asks for the key by hand, without any library, and prints what comes back.
const ASK: &str = r#"
import os, socket
def ask(s, name="openai/work", op="key.get"):
    body = '{"name":"%s"}' % name
    s.sendall(("POST /v1/%s HTTP/1.1\r\nhost: akm\r\ncontent-length: %d\r\n\r\n%s" % (op, len(body), body)).encode())
    got = b""
    while not got.endswith(b"}"):
        piece = s.recv(65536)
        if not piece:
            break
        got += piece
    return got.split(b"\r\n\r\n", 1)[-1].decode()
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["SOCK"])
    return s
"#;
const GET: &str = "print(ask(connect()))\n";

const VALUE: &str = "sk-of-a-granted-key";

/// An agent with one key, a project with a script in it, and a policy.
struct Bench {
    home: Home,
    agent: Agent,
    project: PathBuf,
}

impl Bench {
    fn new(policy: Policy) -> Bench {
        let home = Home::new();
        let agent = home.start();
        agent.register();
        agent.add("openai/work", VALUE).unwrap();
        agent.add("openai/other", "sk-other").unwrap();
        let project = home.dir.path().join("project");
        std::fs::create_dir(&project).unwrap();
        let project = project.canonicalize().unwrap();
        let bench = Bench {
            home,
            agent,
            project,
        };
        bench.script("app.py", GET);
        bench.policy(PolicySet {
            policy: Some(policy),
            ..PolicySet::default()
        });
        bench
    }

    fn policy(&self, mut request: PolicySet) {
        request.passphrase = Some(secret(PASSPHRASE));
        self.agent.client().call(&request).unwrap();
    }

    /// A script of the project that can ask.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.project.join(name);
        std::fs::write(&path, format!("{ASK}{body}")).unwrap();
        path
    }

    fn grant(&self, change: impl FnOnce(&mut GrantAdd)) -> String {
        let mut grant = GrantAdd {
            name: Some("openai/work".into()),
            exe: Some(python()),
            exe_sha256: None,
            script: None,
            under: None,
            via: None,
            use_only: None,
            any_env: None,
            learn: None,
            lifetime_s: None,
            passphrase: secret(PASSPHRASE),
        };
        change(&mut grant);
        self.agent.client().call(&grant).unwrap().grant.id
    }

    /// A grant to `app.py` under python.
    fn grant_app(&self) {
        self.grant(|grant| {
            grant.exe_sha256 = Some(sha256(&python()));
            grant.script = Some(text(&self.project.join("app.py")));
        });
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.run_with(program, arguments, |_| {})
    }

    fn run_with(
        &self,
        program: &str,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> String {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.project)
            .env("SOCK", &self.agent.socket)
            .env("AKM_HOME", self.home.path())
            .stdin(Stdio::null());
        for name in [
            "LD_LIBRARY_PATH",
            "PYTHONPATH",
            "AKM_AGENT_SOCK",
            "CLAUDECODE",
        ] {
            command.env_remove(name);
        }
        change(&mut command);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    fn python(&self, arguments: &[&str]) -> String {
        self.run(&python(), arguments)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The interpreter, as the kernel names it: what is in PATH may be a launcher.
fn python() -> String {
    static FOUND: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let find = || {
        let say = "import os; print(os.readlink('/proc/self/exe'))";
        let output = Command::new("python3")
            .args(["-c", say])
            .output()
            .expect("python3 is installed");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    FOUND.get_or_init(find).clone()
}

fn sha256(path: &str) -> String {
    let mut file = std::fs::File::open(path).unwrap();
    let digest = akm_core::crypto::digest_of(&mut file, u64::MAX)
        .unwrap()
        .unwrap();
    data_encoding::HEXLOWER.encode(&digest)
}

#[track_caller]
fn gets(answer: &str) {
    assert!(answer.contains(VALUE), "{answer}");
}

#[track_caller]
fn is_refused(answer: &str) {
    assert!(
        answer.contains(r#""kind":"denied""#) && !answer.contains(VALUE),
        "{answer}"
    );
}

#[test]
fn under_open_every_program_gets_a_key_and_under_granted_none() {
    let bench = Bench::new(Policy::Open);
    gets(&bench.python(&["app.py"]));
    bench.policy(PolicySet {
        policy: Some(Policy::Granted),
        ..PolicySet::default()
    });
    is_refused(&bench.python(&["app.py"]));
    assert_eq!(
        support::kind(&bench.agent.get("openai/work").unwrap_err()),
        "denied"
    );
}

#[test]
fn c15_same_uid_agent_without_grant() {
    let bench = Bench::new(Policy::Granted);
    let list = bench.script("list.py", "s = connect()\nb = '{}'\ns.sendall(('POST /v1/key.list HTTP/1.1\\r\\nhost: akm\\r\\nconnection: close\\r\\ncontent-length: 2\\r\\n\\r\\n' + b).encode())\nd = b''\nwhile True:\n    p = s.recv(65536)\n    if not p: break\n    d += p\nprint(d.decode())\n");
    // A child process without a grant: neither a secret nor a name.
    is_refused(&bench.python(&["app.py"]));
    let listed = bench.python(&["list.py"]);
    is_refused(&listed);
    assert!(!listed.contains("openai/"), "{listed}");
    // Nor does any other way out of the agent know it.
    for op in ["key.show", "key.copy", "provider.test", "provider.balance"] {
        let body = match op {
            "key.copy" => r#"{"name":"openai/work","display":":0"}"#,
            _ => r#"{"name":"openai/work"}"#,
        };
        let error = bench
            .agent
            .client()
            .call_raw(op, body.as_bytes())
            .unwrap_err();
        assert_eq!(support::kind(&error), "denied", "{op}");
    }
    let sealed = br#"{"seal":"a passphrase of its own"}"#;
    let error = bench
        .agent
        .client()
        .call_raw("vault.export", sealed)
        .unwrap_err();
    assert_eq!(
        (support::kind(&error), error.field()),
        ("denied", Some("passphrase"))
    );
    // The refusals are in the audit, with the program.
    let events = bench
        .agent
        .client()
        .call(&AuditList {
            action: Some("key.get".into()),
            ..AuditList::default()
        })
        .unwrap()
        .events;
    let refusals: Vec<_> = events
        .iter()
        .filter(|event| event.outcome == "denied")
        .collect();
    assert!(
        refusals.iter().any(|event| event.caller.exe == python()),
        "{refusals:?}"
    );
    // Control: the same children with a grant; and of the other key they see nothing.
    bench.grant(|_| {});
    gets(&bench.python(&["app.py"]));
    let listed = bench.python(&[&text(&list)]);
    assert!(
        listed.contains("openai/work") && !listed.contains("openai/other"),
        "{listed}"
    );
}

#[test]
fn a_grant_is_good_for_its_script_and_no_other_code() {
    let bench = Bench::new(Policy::Granted);
    bench.script("other.py", GET);
    bench.grant_app();
    gets(&bench.python(&["app.py"]));
    gets(&bench.python(&["-u", "./app.py", "--flag"]));
    is_refused(&bench.python(&["other.py"]));
    // Code without a file.
    let code = format!("{ASK}{GET}");
    is_refused(&bench.python(&["-c", &code]));
    is_refused(&bench.python(&["-c", &code, "app.py"]));
    is_refused(&bench.python(&["-m", "app"]));
    let app = std::fs::File::open(bench.project.join("app.py")).unwrap();
    is_refused(&bench.run_with(&python(), &["-"], |command| {
        command.stdin(app);
    }));
}

#[test]
fn a_symlinked_script_is_the_file_that_it_leads_to() {
    let bench = Bench::new(Policy::Granted);
    bench.script("other.py", GET);
    bench.grant_app();
    symlink("app.py", bench.project.join("link.py")).unwrap();
    gets(&bench.python(&["link.py"]));
    // The name that was granted, leading to something else.
    std::fs::rename(bench.project.join("app.py"), bench.project.join("kept.py")).unwrap();
    symlink("other.py", bench.project.join("app.py")).unwrap();
    is_refused(&bench.python(&["app.py"]));
    is_refused(&bench.python(&["kept.py"]));
}

#[test]
fn a_grant_under_a_directory_is_good_there_and_nowhere_else() {
    let bench = Bench::new(Policy::Granted);
    bench.grant(|grant| grant.under = Some(text(&bench.project)));
    let app = text(&bench.project.join("app.py"));
    gets(&bench.python(&[&app]));
    let below = bench.project.join("below");
    let beside = bench.home.dir.path().join("project-2");
    for directory in [&below, &beside] {
        std::fs::create_dir(directory).unwrap();
    }
    let at = |directory: &Path| {
        let directory = directory.to_owned();
        bench.run_with(&python(), &[&app], move |command| {
            command.current_dir(directory);
        })
    };
    gets(&at(&below));
    is_refused(&at(&beside));
    is_refused(&at(Path::new("/")));
}

#[test]
fn a_renamed_process_is_what_it_runs() {
    let bench = Bench::new(Policy::Granted);
    bench.grant(|grant| {
        grant.exe = Some("/opt/trusted/tool".into());
    });
    // argv[0] and the name in /proc are the process's own words.
    let rename = "import ctypes\nctypes.CDLL(None).prctl(15, b'tool', 0, 0, 0)\n";
    bench.script("renamed.py", &format!("{rename}{GET}"));
    let as_tool = bench.run_with(&python(), &["renamed.py"], |command| {
        command.arg0("/opt/trusted/tool");
    });
    is_refused(&as_tool);
    // Control: renamed or not, a grant to what it is covers it.
    bench.grant(|grant| grant.script = Some(text(&bench.project.join("renamed.py"))));
    gets(&bench.run_with(&python(), &["renamed.py"], |command| {
        command.arg0("/opt/trusted/tool");
    }));
}

#[test]
fn a_replaced_executable_is_another_one() {
    let bench = Bench::new(Policy::Granted);
    let curl = bench.project.join("client");
    let copy = |tail: &[u8]| {
        let mut bytes = std::fs::read(which("curl")).unwrap();
        bytes.extend_from_slice(tail);
        // A new file in its place, as an attacker and a package manager do.
        let new = bench.project.join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &curl).unwrap();
    };
    let ask = || {
        bench.run(
            &text(&curl),
            &[
                "--silent",
                "--data",
                r#"{"name":"openai/work"}"#,
                "--unix-socket",
                &text(&bench.agent.socket),
                "http://akm/v1/key.get",
            ],
        )
    };
    copy(b"");
    let id = bench.grant(|grant| {
        grant.exe = Some(text(&curl));
        grant.exe_sha256 = Some(sha256(&text(&curl)));
    });
    gets(&ask());
    gets(&ask());
    copy(b"changed");
    is_refused(&ask());
    // Put back as it was, it is what was granted.
    copy(b"");
    gets(&ask());
    // Written to in place: another hash under the same inode.
    let before = std::fs::metadata(&curl).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&curl)
        .unwrap();
    std::io::Write::write_all(&mut file, b"changed").unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    drop(file);
    is_refused(&ask());
    // Control: a grant without a hash does not mind.
    bench.grant(|grant| grant.exe = Some(text(&curl)));
    gets(&ask());
    // And what was removed is gone for good.
    let removed = format!(r#"{{"id":"{id}"}}"#);
    bench
        .agent
        .client()
        .call_raw("grant.remove", removed.as_bytes())
        .unwrap();
    assert!(
        bench
            .agent
            .client()
            .call_raw("grant.remove", removed.as_bytes())
            .is_err()
    );
}

fn which(program: &str) -> PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is installed"))
}

#[test]
fn variables_that_load_code_make_a_grant_void() {
    let bench = Bench::new(Policy::Granted);
    bench.grant_app();
    gets(&bench.python(&["app.py"]));
    // Code in front of the script's own, as PYTHONPATH is used for.
    let evil = bench.project.join("evil");
    std::fs::create_dir(&evil).unwrap();
    let steal = format!("{ASK}print('stolen', ask(connect()))\n");
    std::fs::write(evil.join("sitecustomize.py"), steal).unwrap();
    for (name, value) in [
        ("PYTHONPATH", text(&evil)),
        ("LD_PRELOAD", "libm.so.6".to_owned()),
        ("LD_LIBRARY_PATH", text(&evil)),
        ("PYTHONSTARTUP", text(&evil.join("sitecustomize.py"))),
    ] {
        let answer = bench.run_with(&python(), &["app.py"], |command| {
            command.env(name, &value);
        });
        is_refused(&answer);
    }
    // Set to nothing it loads nothing.
    gets(&bench.run_with(&python(), &["app.py"], |command| {
        command.env("LD_PRELOAD", "");
    }));
    // Control: a grant that does not mind, and the attack that it then allows.
    bench.grant(|grant| grant.any_env = Some(true));
    let answer = bench.run_with(&python(), &["app.py"], |command| {
        command.env("PYTHONPATH", &evil);
    });
    assert!(
        answer.contains("stolen") && answer.contains(VALUE),
        "{answer}"
    );
}

#[test]
fn a_variable_that_the_process_hides_is_not_seen() {
    // Measured, not wished: the environment in /proc is memory of the process, and started again without the variable,
    // what it loaded is still there for whoever put it into a file that the interpreter reads by itself.
    let bench = Bench::new(Policy::Granted);
    bench.grant_app();
    let user = bench.home.dir.path().join("user");
    let site = bench.run_with(
        &python(),
        &["-c", "import site; print(site.getusersitepackages())"],
        |command| {
            command.env("HOME", &user);
        },
    );
    let site = PathBuf::from(site.trim());
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(site.join("evil.pth"), "import evil_module\n").unwrap();
    std::fs::write(
        site.join("evil_module.py"),
        format!("{ASK}print('stolen', ask(connect()))\n"),
    )
    .unwrap();
    let answer = bench.run_with(&python(), &["app.py"], |command| {
        command.env("HOME", &user);
    });
    assert!(
        answer.contains("stolen") && answer.contains(VALUE),
        "{answer}"
    );
}

#[test]
fn a_traced_process_is_covered_by_no_grant() {
    let bench = Bench::new(Policy::Granted);
    bench.grant_app();
    gets(&bench.python(&["app.py"]));
    let strace = text(&which("strace"));
    let log = text(&bench.project.join("log"));
    is_refused(&bench.run(
        &strace,
        &["-f", "-e", "trace=none", "-o", &log, &python(), "app.py"],
    ));
}

#[test]
fn an_inherited_connection_counts_as_whoever_connected_while_that_lives() {
    let bench = Bench::new(Policy::Granted);
    // Connects, and lets other code ask over its connection: that passes, since the kernel names who connected.
    let inherit = "s = connect()\ns.set_inheritable(True)\n\
        child = 'import socket,os\\nexec(os.environ[\"ASK\"])\\nprint(ask(socket.socket(fileno=%d)))' % s.fileno()\n\
        import subprocess, sys\n\
        subprocess.run([sys.executable, '-c', child], env=dict(os.environ, ASK=os.environ['ASK']), close_fds=False)\n";
    bench.script("app.py", inherit);
    bench.grant_app();
    let with_ask = |command: &mut Command| {
        command.env("ASK", ASK);
    };
    gets(&bench.run_with(&python(), &["app.py"], with_ask));
    // The same, but who connected has ended: nobody stands behind the connection any more.
    let orphan = "s = connect()\n\
        pid = os.getpid()\n\
        r, w = os.pipe()\n\
        if os.fork() == 0:\n\
        \x20   os.close(w)\n\
        \x20   os.read(r, 1)\n\
        \x20   while os.path.exists('/proc/%d/exe' % pid) and os.getppid() == pid: pass\n\
        \x20   print(ask(s), flush=True)\n\
        \x20   os._exit(0)\n";
    bench.script("app.py", orphan);
    is_refused(&bench.python(&["app.py"]));
    // Control: the parent asks itself.
    bench.script("app.py", GET);
    gets(&bench.python(&["app.py"]));
}

#[test]
fn a_process_that_becomes_another_program_is_that() {
    let bench = Bench::new(Policy::Granted);
    // Connects as what is granted, then becomes something else with the connection still open.
    let become_other = "s = connect()\ns.set_inheritable(True)\nfirst = ask(s)\nprint(first, flush=True)\n\
        code = 'import socket,os\\nexec(os.environ[\"ASK\"])\\nprint(ask(socket.socket(fileno=%d)))' % s.fileno()\n\
        import sys\nos.execv(sys.executable, [sys.executable, '-c', code])\n";
    bench.script("app.py", become_other);
    bench.grant_app();
    let answer = bench.run_with(&python(), &["app.py"], |command| {
        command.env("ASK", ASK);
    });
    let mut lines = answer.lines();
    gets(lines.next().unwrap());
    is_refused(lines.next().unwrap());
}

#[test]
fn c02_other_user_namespace() {
    let bench = Bench::new(Policy::Granted);
    bench.grant(|_| {});
    let unshare = text(&which("unshare"));
    let probe = bench.run(&unshare, &["-U", "true"]);
    if !probe.is_empty() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI can make user namespaces: {probe}"
        );
        eprintln!("skipped: no user namespaces here");
        return;
    }
    gets(&bench.python(&["app.py"]));
    is_refused(&bench.run(&unshare, &["-U", &python(), "app.py"]));
    is_refused(&bench.run(&unshare, &["-U", "-r", &python(), "app.py"]));
    // Nobody is asked about it either.
    bench.policy(PolicySet {
        policy: Some(Policy::Ask),
        ..PolicySet::default()
    });
    is_refused(&bench.run(&unshare, &["-U", &python(), "app.py"]));
    // Under `open` nothing is looked at: that is what open means.
    bench.policy(PolicySet {
        policy: Some(Policy::Open),
        ..PolicySet::default()
    });
    gets(&bench.run(&unshare, &["-U", &python(), "app.py"]));
}

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
        support::kind(&bench.agent.client().call(&KeyList::default()).unwrap_err()),
        "denied"
    );
}
