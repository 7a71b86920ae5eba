//! Python: the package's own tests, the wheel in an empty environment, and SDKs that take their key from akm.

use std::path::{Path, PathBuf};
use std::process::Command;

use akm_core::Kind;

use crate::agent::{Agent, PASSPHRASE, SECRET, home};
use crate::provider::{Provider, Seen};
use crate::tools;

fn package() -> PathBuf {
    tools::root().join("bindings/python")
}

fn sdk(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(name)
}

/// A script with the package as it stands in the checkout.
pub(crate) fn command(script: impl AsRef<Path>) -> Command {
    with_checkout(tools::clean("python3"), script)
}

fn with_checkout(mut command: Command, script: impl AsRef<Path>) -> Command {
    command
        .arg(script.as_ref())
        .env("PYTHONPATH", package().join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AKM_LIBRARY", tools::library());
    command
}

#[test]
fn the_package_passes_its_own_tests() {
    if !tools::have("python3") {
        return;
    }
    let agent = Agent::with_key();
    let output = tools::output(
        command(package().join("tests/test_akm.py"))
            .env("AKM_AGENT_SOCK", &agent.socket)
            .env("AKM_TEST_SECRET", SECRET)
            .env("AKM_TEST_PASSPHRASE", PASSPHRASE)
            .env("AKM_TEST_HOME", agent.home.path()),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // A discovery that finds nothing succeeds too.
    let ran: usize = said
        .lines()
        .find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse().ok())
        .expect("unittest says how many tests it ran");
    assert!(ran >= 15 && !said.contains("skipped="), "{said}");
}

#[test]
fn errors_have_the_kinds_and_codes_of_rust() {
    if !tools::have("python3") {
        return;
    }
    let dir = home();
    let script = dir.path().join("kinds.py");
    std::fs::write(
        &script,
        "import akm\nfrom akm._errors import KINDS\n\
         for kind, cls in KINDS.items():\n    assert getattr(akm, cls.__name__) is cls and issubclass(cls, akm.Error)\n    \
         print(cls.code, kind, cls.__name__)\n",
    )
    .unwrap();
    assert_eq!(tools::run(&mut command(script)), kinds());
}

/// One line for each kind: code, token, class.
pub(crate) fn kinds() -> String {
    Kind::ALL
        .iter()
        .map(|kind| format!("{} {} {kind:?}\n", kind.code(), kind.token()))
        .collect()
}

#[test]
fn the_wheel_works_in_an_empty_environment() {
    if !tools::have("python3") {
        return;
    }
    let dir = home();
    let source = dir.path().join("source");
    tools::copy_tree(&package(), &source);
    let wheels = dir.path().join("wheels");
    tools::run(
        tools::installer(tools::python_with_sdks())
            .args([
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                "--no-index",
                "-w",
            ])
            .arg(&wheels)
            .arg(&source)
            .env("AKM_LIBRARY", tools::library()),
    );
    let wheel = std::fs::read_dir(&wheels)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let name = wheel.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        name.starts_with("akm-0.1.0-py3-none-") && !name.contains("-any"),
        "{name}"
    );

    let empty = dir.path().join("empty");
    tools::run(
        tools::installer("python3")
            .args(["-m", "venv", "--without-pip"])
            .arg(&empty),
    );
    let python = empty.join("bin/python");
    tools::run(
        tools::installer(tools::python_with_sdks())
            .args(["-m", "pip", "--python"])
            .arg(&python)
            .args(["install", "--quiet", "--no-index", "--no-deps"])
            .arg(&wheel),
    );
    let agent = Agent::with_key();
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let vault = elsewhere.join("own/vault.db");
    let program = format!(
        "import akm, os\n\
         print(akm.get('openai/work'))\n\
         with akm.open({vault:?}) as v:\n    \
             v.call('account.register', account='default', passphrase='p', totp=False)\n    \
             v.call('key.add', name='openai', secret='sk-own')\n    \
             print(v.get('openai'))\n\
         print(os.path.dirname(akm.__file__))\n"
    );
    let mut run = tools::clean(&python);
    run.arg("-c")
        .arg(program)
        .current_dir(&elsewhere)
        .env("AKM_AGENT_SOCK", &agent.socket);
    let printed = tools::run(&mut run);
    let mut lines = printed.lines();
    assert_eq!(lines.next(), Some(SECRET));
    assert_eq!(lines.next(), Some("sk-own"));
    assert!(Path::new(lines.next().unwrap()).starts_with(std::fs::canonicalize(&empty).unwrap()));

    // The control: without the library in the package nothing is found, not even in the working directory.
    std::fs::copy(tools::library(), elsewhere.join("libakm.so")).unwrap();
    let mut bare = tools::clean(&python);
    bare.args([
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import akm; akm.get('openai/work')",
    ])
    .arg(source.join("src"))
    .current_dir(&elsewhere)
    .env("AKM_AGENT_SOCK", &agent.socket);
    let output = tools::output(&mut bare);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no native library"), "{said}");
}

#[test]
fn the_openai_sdk_takes_its_key_from_akm_at_each_request() {
    if !tools::have("python3") {
        return;
    }
    let agent = Agent::with_key();
    let provider = Provider::start();
    let printed = tools::run(
        with_checkout(
            tools::clean(tools::python_with_sdks()),
            sdk("openai_sdk.py"),
        )
        .arg(format!("{}/v1", provider.url()))
        .env("AKM_AGENT_SOCK", &agent.socket),
    );
    assert_eq!(printed, "ok\n");
    let old = format!("Bearer {SECRET}");
    assert_eq!(
        provider.take_seen(),
        seen(&[
            ("GET /v1/models", &old),
            ("POST /v1/chat/completions", &old),
            ("GET /v1/models", &old),
            ("GET /v1/models", "Bearer sk-rotated"),
        ])
    );
}

/// Requests with their `Authorization`.
pub(crate) fn seen(requests: &[(&str, &str)]) -> Vec<Seen> {
    let seen = |(line, key): &(&str, &str)| Seen {
        line: format!("{line} HTTP/1.1"),
        authorization: Some((*key).to_owned()).filter(|key| !key.is_empty()),
    };
    requests.iter().map(seen).collect()
}

#[test]
fn auth_sets_the_providers_header_for_its_own_hosts_only() {
    if !tools::have("python3") {
        return;
    }
    let agent = Agent::with_key();
    let (own, other) = (Provider::start(), Provider::start());
    let request = serde_json::json!({"name": "openai/own", "secret": "sk-own", "base_url": format!("{}/v1", own.url())});
    agent.call("key.add", request);
    let printed = tools::run(
        with_checkout(tools::clean(tools::python_with_sdks()), sdk("http_auth.py"))
            .args([own.url(), other.url()])
            .env("AKM_AGENT_SOCK", &agent.socket),
    );
    assert_eq!(printed, "ok\n");
    assert_eq!(
        own.take_seen(),
        seen(&[("GET /v1/models", "Bearer sk-own"); 5])
    );
    assert_eq!(other.take_seen(), seen(&[("GET /v1/models", ""); 3]));
}

/// Not even where a server of its own sends the client elsewhere.
#[test]
fn no_redirect_takes_the_key_to_another_host() {
    if !tools::have("python3") {
        return;
    }
    let agent = Agent::with_key();
    let printed = tools::run(
        with_checkout(
            tools::clean(tools::python_with_sdks()),
            sdk("http_redirects.py"),
        )
        .env("AKM_AGENT_SOCK", &agent.socket),
    );
    assert_eq!(printed, "ok\n");
}
