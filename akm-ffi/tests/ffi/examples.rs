//! The examples: each prints the key, and says with its exit status that the account is locked or no agent is there.

use std::process::Command;

use crate::agent::{Agent, SECRET, home};
use crate::{c, node, python, tools};

/// Runs an example against an agent that is unlocked, locked, and gone.
fn prints_the_key(command: &mut dyn FnMut() -> Command) {
    let mut agent = Agent::with_key();
    let mut run = |agent: &Agent, name: &str| {
        let output = tools::output(command().arg(name).env("AKM_AGENT_SOCK", &agent.socket));
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            said,
        )
    };
    assert_eq!(
        run(&agent, "openai/work"),
        (Some(0), format!("{SECRET}\n"), format!("{SECRET}\n"))
    );
    assert_eq!(run(&agent, "openai/none").0, Some(1));
    agent.lock();
    let (code, out, said) = run(&agent, "openai/work");
    assert_eq!((code, out.as_str()), (Some(3), ""), "{said}");
    assert!(!said.contains(SECRET));
    agent.unlock();
    assert_eq!(run(&agent, "openai/work").0, Some(0));
    agent.stop();
    assert_eq!(run(&agent, "openai/work").0, Some(2));
}

fn example(path: &str) -> std::path::PathBuf {
    tools::root().join("examples").join(path)
}

#[test]
fn in_shell_with_curl() {
    if tools::have("curl") {
        prints_the_key(&mut || tools::clean(example("shell/get.sh")));
        // Quotes and backslashes come back as they went in.
        let agent = Agent::with_key();
        let odd = r#"sk-"quoted"\and\"both"#;
        agent.call(
            "key.add",
            serde_json::json!({"name": "openai/odd", "secret": odd}),
        );
        let mut run = tools::clean(example("shell/get.sh"));
        assert_eq!(
            tools::run(run.arg("openai/odd").env("AKM_AGENT_SOCK", &agent.socket)),
            format!("{odd}\n")
        );
    }
}

#[test]
fn in_rust() {
    let program = tools::build(&[
        "-p",
        "akm-core",
        "--no-default-features",
        "--features",
        "client",
        "--example",
        "get",
    ]);
    prints_the_key(&mut || tools::clean(&program));
}

#[test]
fn in_c() {
    let dir = home();
    let program = dir.path().join("get");
    tools::run(&mut c::compile(&example("c/get.c"), &program, &[]));
    prints_the_key(&mut || tools::clean(&program));
}

#[test]
fn in_python() {
    if tools::have("python3") {
        prints_the_key(&mut || python::command(example("python/get.py")));
    }
}

#[test]
fn in_node() {
    if tools::have("node") && tools::have("npm") {
        prints_the_key(&mut || {
            let mut command = tools::clean("node");
            command
                .arg(node::tree().join("examples/node/get.mjs"))
                .env("AKM_LIBRARY", tools::library());
            command
        });
    }
}
