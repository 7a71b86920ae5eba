//! Whom a grant covers: this script, this directory, this executable, and no other.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;

use akm_core::protocol::{AuditList, Policy, PolicySet};

use super::support::kind;
use super::{ASK, Bench, GET, gets, is_refused, python, sha256, text, which};

#[test]
fn under_open_every_program_gets_a_key_and_under_granted_none() {
    let bench = Bench::new(Policy::Open);
    gets(&bench.python(&["app.py"]));
    bench.policy(PolicySet {
        policy: Some(Policy::Granted),
        ..PolicySet::default()
    });
    is_refused(&bench.python(&["app.py"]));
    assert_eq!(kind(&bench.agent.get("openai/work").unwrap_err()), "denied");
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
        assert_eq!(kind(&error), "denied", "{op}");
    }
    let sealed = br#"{"seal":"a passphrase of its own"}"#;
    let error = bench
        .agent
        .client()
        .call_raw("vault.export", sealed)
        .unwrap_err();
    assert_eq!(
        (kind(&error), error.field()),
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
