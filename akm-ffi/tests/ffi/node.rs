//! Node: the package's own tests, the tarball in an empty folder, and an SDK that takes its key from akm.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::agent::{Agent, SECRET, home};
use crate::provider::Provider;
use crate::{python, tools};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The package as it stands in the checkout, in a tree of its own with what it needs beside it.
pub(crate) fn tree() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = home();
        let package = dir.path().join("bindings/node");
        tools::copy_tree(&tools::root().join("bindings/node"), &package);
        tools::copy_tree(
            &tools::root().join("examples/node"),
            &dir.path().join("examples/node"),
        );
        symlink(
            tools::node_modules("node", &package),
            package.join("node_modules"),
        )
        .unwrap();
        // Beside the package, so that "akm" means this one; the SDK is found one step up.
        std::fs::copy(
            here().join("tests/drivers/driver.mjs"),
            package.join("driver.mjs"),
        )
        .unwrap();
        std::fs::copy(
            here().join("tests/sdk/openai_sdk.mjs"),
            package.join("openai_sdk.mjs"),
        )
        .unwrap();
        symlink(tools::node_with_sdks(), dir.path().join("node_modules")).unwrap();
        dir
    })
    .path()
}

/// A script of the tests, with the package.
pub(crate) fn command(script: impl AsRef<Path>) -> Command {
    let name = script.as_ref().file_name().expect("a script has a name");
    let mut command = tools::clean("node");
    command
        .arg(tree().join("bindings/node").join(name))
        .env("AKM_LIBRARY", tools::library());
    command
}

fn have_node() -> bool {
    tools::have("node") && tools::have("npm")
}

#[test]
fn the_package_passes_its_own_tests() {
    if !have_node() {
        return;
    }
    let agent = Agent::with_key();
    let printed = tools::run(
        tools::clean("node")
            .args(["--test", "--test-reporter=tap"])
            .arg(tree().join("bindings/node/test/akm.test.js"))
            .env("AKM_LIBRARY", tools::library())
            .env("AKM_AGENT_SOCK", &agent.socket)
            .env("AKM_TEST_SECRET", SECRET)
            .env("AKM_TEST_PASSPHRASE", crate::agent::PASSPHRASE)
            .env("AKM_TEST_HOME", agent.home.path()),
    );
    let count = |word: &str| -> usize {
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# {word} ")));
        line.and_then(|count| count.parse().ok())
            .expect("the runner counts")
    };
    assert!(count("pass") >= 12, "{printed}");
    assert_eq!(
        (
            count("fail"),
            count("skipped"),
            count("cancelled"),
            count("todo")
        ),
        (0, 0, 0, 0),
        "{printed}"
    );
}

#[test]
fn errors_have_the_kinds_and_codes_of_rust() {
    if !have_node() {
        return;
    }
    let program = "import * as akm from 'akm';\n\
        for (const [kind, one] of Object.entries(akm.kinds)) {\n  \
        if (akm[one.name] !== one || !(new one('x') instanceof akm.AkmError)) throw new Error(kind);\n  \
        console.log(one.code, kind, one.name);\n}\n";
    let printed = tools::run(
        tools::clean("node")
            .args(["--input-type=module", "-e", program])
            .current_dir(tree().join("bindings/node")),
    );
    assert_eq!(printed, python::kinds());
    // And the types name every class.
    let types = std::fs::read_to_string(tools::root().join("bindings/node/index.d.ts")).unwrap();
    for kind in akm_core::Kind::ALL {
        assert!(
            types.contains(&format!("export class {kind:?} extends AkmError")),
            "{kind:?}"
        );
    }
}

#[test]
fn the_tarball_works_in_an_empty_folder() {
    if !have_node() {
        return;
    }
    let dir = home();
    let source = dir.path().join("source");
    tools::copy_tree(&tools::root().join("bindings/node"), &source);
    // The control: without the library it is not packed at all.
    assert!(
        !tools::output(
            tools::npm()
                .arg("pack")
                .current_dir(&source)
                .env_remove("AKM_LIBRARY")
        )
        .status
        .success()
    );
    tools::run(
        tools::npm()
            .arg("pack")
            .current_dir(&source)
            .env("AKM_LIBRARY", tools::library()),
    );
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(
        elsewhere.join("package.json"),
        "{\"private\":true,\"type\":\"module\"}\n",
    )
    .unwrap();
    tools::run(
        tools::npm()
            .arg("install")
            .arg(source.join("akm-0.1.0.tgz"))
            .current_dir(&elsewhere),
    );

    let agent = Agent::with_key();
    let vault = elsewhere.join("own/vault.db");
    let program = format!(
        "import {{ get, open }} from 'akm';\n\
         console.log(await get('openai/work'));\n\
         const vault = open({vault:?});\n\
         await vault.call('account.register', {{ account: 'default', passphrase: 'p', totp: false }});\n\
         await vault.call('key.add', {{ name: 'openai', secret: 'sk-own' }});\n\
         console.log(await vault.get('openai'));\n\
         vault.close();\n\
         console.log(import.meta.resolve('akm'));\n"
    );
    std::fs::write(elsewhere.join("main.js"), program).unwrap();
    let mut run = tools::clean("node");
    run.arg("main.js")
        .current_dir(&elsewhere)
        .env("AKM_AGENT_SOCK", &agent.socket);
    let printed = tools::run(&mut run);
    let mut lines = printed.lines();
    assert_eq!(lines.next(), Some(SECRET));
    assert_eq!(lines.next(), Some("sk-own"));
    assert!(
        lines
            .next()
            .unwrap()
            .ends_with("/elsewhere/node_modules/akm/index.js"),
        "{printed}"
    );
    let installed = std::fs::symlink_metadata(elsewhere.join("node_modules/akm")).unwrap();
    assert!(installed.is_dir(), "a linked folder proves nothing");
}

#[test]
fn the_openai_sdk_takes_its_key_from_akm_at_each_request() {
    if !have_node() {
        return;
    }
    let agent = Agent::with_key();
    let provider = Provider::start();
    let printed = tools::run(
        command("openai_sdk.mjs")
            .arg(format!("{}/v1", provider.url()))
            .env("AKM_AGENT_SOCK", &agent.socket),
    );
    assert_eq!(printed, "ok\n");
    let old = format!("Bearer {SECRET}");
    assert_eq!(
        provider.take_seen(),
        python::seen(&[
            ("GET /v1/models", &old),
            ("POST /v1/chat/completions", &old),
            ("GET /v1/models", "Bearer sk-rotated"),
        ])
    );
}
