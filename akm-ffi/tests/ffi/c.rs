//! The header and the shared library, as C programs meet them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use akm_core::Kind;

use crate::agent::{Agent, SECRET, home};
use crate::tools;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compiles a C program against the header and the freshly built library.
pub(crate) fn compile(source: &Path, to: &Path, extra: &[&str]) -> Command {
    let directory = tools::library()
        .parent()
        .expect("the library lies in a directory");
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(directory);
    let mut command = tools::clean("cc");
    command
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
        .args(extra)
        .arg("-I")
        .arg(here().join("include"))
        .arg(source)
        .arg("-o")
        .arg(to)
        .arg(tools::library())
        .arg(rpath)
        .arg("-pthread");
    command
}

/// The conformance driver; without cargo's library path, which would put an older build in front of the one tested.
pub(crate) fn program() -> Command {
    tools::clean(driver())
}

/// The driver, compiled once.
fn driver() -> &'static OsStr {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = BUILT.get_or_init(|| {
        let dir = home();
        let program = dir.path().join("driver");
        tools::run(&mut compile(
            &here().join("tests/drivers/driver.c"),
            &program,
            &[],
        ));
        (dir, program)
    });
    program.as_os_str()
}

#[test]
fn header_and_kinds_have_the_same_codes() {
    let dir = home();
    let name = |kind: &Kind| format!("AKM_{}", kind.token().to_uppercase());
    let lines: String = Kind::ALL
        .iter()
        .map(|kind| format!("    printf(\"%d\\n\", (int){});\n", name(kind)))
        .collect();
    let source = dir.path().join("codes.c");
    std::fs::write(
        &source,
        format!("#include \"akm.h\"\n#include <stdio.h>\nint main(void)\n{{\n{lines}    return AKM_OK;\n}}\n"),
    )
    .unwrap();
    let program = dir.path().join("codes");
    tools::run(&mut compile(&source, &program, &[]));
    let printed = tools::run(&mut Command::new(&program));
    let codes: Vec<i32> = printed.lines().map(|line| line.parse().unwrap()).collect();
    let wanted: Vec<i32> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes, wanted);

    // And the header has no constant that Rust does not know.
    let header = std::fs::read_to_string(here().join("include/akm.h")).unwrap();
    let constants = header
        .lines()
        .filter(|line| line.starts_with("    AKM_"))
        .count();
    assert_eq!(constants, Kind::ALL.len() + 1);
}

#[test]
fn header_is_good_for_cpp() {
    if !tools::have("c++") {
        return;
    }
    let dir = home();
    let source = dir.path().join("a.cpp");
    std::fs::write(
        &source,
        "#include \"akm.h\"\nint main() { akm_buffer b = AKM_BUFFER_INIT; akm_buffer_free(&b); return AKM_OK; }\n",
    )
    .unwrap();
    tools::run(
        tools::clean("c++")
            .args([
                "-std=c++11",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pedantic",
                "-I",
            ])
            .arg(here().join("include"))
            .arg(&source)
            .arg(tools::library())
            .arg("-o")
            .arg(dir.path().join("a")),
    );
}

#[test]
fn only_the_abi_is_exported() {
    if !tools::have("nm") {
        return;
    }
    let listing = tools::run(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(tools::library()),
    );
    let mut names: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "akm_abi_version",
            "akm_buffer_free",
            "akm_call",
            "akm_close",
            "akm_connect",
            "akm_get",
            "akm_open"
        ]
    );
}

#[test]
fn smoke_test_in_c() {
    let dir = home();
    let program = dir.path().join("smoke");
    let source = here().join("tests/c/smoke.c");
    let mut sanitized = compile(
        &source,
        &program,
        &["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    );
    if !tools::output(&mut sanitized).status.success() {
        // Distributions ship compilers without the sanitizers' libraries; the test itself stays the same.
        tools::missing("a C compiler with the sanitizers' libraries");
        tools::run(&mut compile(&source, &program, &[]));
    }
    let agent = Agent::with_key();
    let printed = tools::run(
        tools::clean(&program)
            .arg(&agent.socket)
            .arg(SECRET)
            .arg(dir.path().join("vault/vault.db")),
    );
    assert_eq!(printed, "ok\n");
}

#[test]
fn a_vanished_agent_raises_no_signal() {
    let dir = home();
    let source = dir.path().join("gone.c");
    std::fs::write(
        &source,
        r#"#include "akm.h"
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    akm_client client;
    akm_buffer buffer = AKM_BUFFER_INIT;
    if (argc != 2 || akm_connect(argv[1], strlen(argv[1]), &client, &buffer) != AKM_OK)
        return 1;
    for (int round = 0; round < 3; round++) {
        puts("ready");
        fflush(stdout);
        if (getchar() == EOF)
            return 2;
        printf("%d\n", (int)akm_get(client, "openai/work", 11, &buffer));
        fflush(stdout);
        akm_buffer_free(&buffer);
    }
    return 0;
}
"#,
    )
    .unwrap();
    let program = dir.path().join("gone");
    tools::run(&mut compile(&source, &program, &[]));

    use std::io::{BufRead, BufReader, Write};
    let mut agent = Agent::with_key();
    let mut child = tools::clean(&program)
        .arg(&agent.socket)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut input = child.stdin.take().unwrap();
    let mut ask = |prepare: &mut dyn FnMut()| {
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        prepare();
        input.write_all(b"\n").unwrap();
        lines.next().unwrap().unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(ask(&mut || {}), 0);
    assert_eq!(ask(&mut || agent.stop()), Kind::NoAgent.code());
    // The handle is not spoilt: a new agent on the same socket answers, locked.
    assert_eq!(ask(&mut || agent.restart()), Kind::Locked.code());
    drop(input);
    assert!(child.wait().unwrap().success());
}
