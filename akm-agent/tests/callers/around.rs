//! Ways around a grant: variables that load code, hidden ones, a tracer, an inherited connection, another namespace.

use std::path::{Path, PathBuf};
use std::process::Command;

use akm_core::protocol::{Policy, PolicySet};

use super::{ASK, Bench, GET, VALUE, gets, is_refused, python, text, which};

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
fn a_script_named_through_the_own_process_is_none_of_ours() {
    let bench = Bench::new(Policy::Granted);
    bench.grant_app();
    gets(&bench.python(&["app.py"]));
    // The agent works in another directory than the caller: this name is two files.
    let agent = format!("/proc/{}", bench.agent.pid());
    let there = std::fs::read_link(format!("{agent}/cwd")).unwrap();
    let app = text(&bench.project.join("app.py"));
    let below = app.strip_prefix(&text(&there)).unwrap_or(&app);
    let evil = bench.project.join("evil");
    let stolen = evil.join(below.trim_start_matches('/'));
    std::fs::create_dir_all(stolen.parent().unwrap()).unwrap();
    std::fs::write(&stolen, format!("{ASK}{GET}")).unwrap();
    let path = format!("/proc/self/cwd/{}", below.trim_start_matches('/'));
    let link = text(&evil.join("link.py"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let at_evil = |name: &str| {
        bench.run_with(&python(), &[name], |command| {
            command.current_dir(&evil);
        })
    };
    for name in [&path, &link, "link.py", &format!("/proc/self/root{app}")] {
        is_refused(&at_evil(name));
    }
    // Standard input under another name, and a descriptor.
    let open = || std::fs::File::open(&app).unwrap();
    for name in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        is_refused(&bench.run_with(&python(), &[name], |command| {
            command.stdin(open());
        }));
    }
    // Control: the same code under the granted name, by a link that leads there for everybody.
    let honest = text(&evil.join("honest.py"));
    std::os::unix::fs::symlink(&app, &honest).unwrap();
    gets(&at_evil(&honest));
}

#[test]
fn what_loads_code_into_a_shell_makes_a_grant_void() {
    let bench = Bench::new(Policy::Granted);
    let akm = env!("CARGO_BIN_EXE_akm");
    let get = format!("{akm} get openai/work\ntrue\n");
    let app = bench.project.join("app.sh");
    std::fs::write(&app, "ls\n").unwrap();
    let home = bench.project.join("home");
    std::fs::create_dir(&home).unwrap();
    for name in [".zshenv", ".bash_profile", ".profile"] {
        std::fs::write(home.join(name), &get).unwrap();
    }
    let granted = |shell: &str| {
        let shell = text(&which(shell).canonicalize().unwrap());
        bench.grant(|grant| {
            grant.exe = Some(shell.clone());
            grant.script = Some(text(&app));
        });
        shell
    };
    let bash = granted("bash");
    let run = |shell: &str, words: &[&str], variables: &[(&str, &str)]| {
        bench.run_with(shell, words, |command| {
            command.envs(variables.iter().copied());
        })
    };
    let refused = |answer: String| {
        assert!(
            answer.contains("no grant covers this program") && !answer.contains(VALUE),
            "{answer}"
        );
    };
    let function = format!("() {{ {}; }}", get.trim_end().replace('\n', "; "));
    refused(run(&bash, &["app.sh"], &[("BASH_FUNC_ls%%", &function)]));
    let home = text(&home);
    refused(run(&bash, &["--login", "app.sh"], &[("HOME", &home)]));
    refused(run(&bash, &["-l", "app.sh"], &[("HOME", &home)]));
    // Control: what the script itself asks for; and the function, where the grant does not mind.
    std::fs::write(&app, &get).unwrap();
    gets(&run(&bash, &["-x", "app.sh"], &[]));
    // Not every shell takes them from everybody, so that they are there is enough.
    for (name, value) in [("PS4", "$(true)"), ("SHELLOPTS", "xtrace"), ("FPATH", "/x")] {
        refused(run(&bash, &["app.sh"], &[(name, value)]));
    }
    std::fs::write(&app, "ls\n").unwrap();
    bench.grant(|grant| {
        grant.exe = Some(bash.clone());
        grant.any_env = Some(true);
    });
    gets(&run(&bash, &["app.sh"], &[("BASH_FUNC_ls%%", &function)]));
    let Some(zsh) = ["/usr/bin/zsh", "/bin/zsh"]
        .into_iter()
        .find(|path| Path::new(path).exists())
    else {
        return;
    };
    let zsh = granted(zsh);
    refused(run(&zsh, &["app.sh"], &[("HOME", &home)]));
    refused(run(&zsh, &["app.sh"], &[("ZDOTDIR", &home)]));
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let own = text(&own.unwrap().unwrap().dir);
    std::fs::write(&app, &get).unwrap();
    gets(&run(&zsh, &["app.sh"], &[("HOME", &own)]));
}

#[test]
fn compiled_code_from_elsewhere_makes_a_grant_void() {
    let bench = Bench::new(Policy::Granted);
    bench.grant_app();
    let evil = text(&bench.project.join("evil"));
    for name in ["PYTHONPYCACHEPREFIX", "OPENSSL_CONF", "OPENSSL_MODULES"] {
        is_refused(&bench.run_with(&python(), &["app.py"], |command| {
            command.env(name, &evil);
        }));
    }
    let option = format!("pycache_prefix={evil}");
    is_refused(&bench.python(&["-X", &option, "app.py"]));
    // Control.
    gets(&bench.python(&["-X", "dev", "app.py"]));
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
