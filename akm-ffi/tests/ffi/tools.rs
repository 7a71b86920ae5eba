//! Finding and running what is not ours: compilers, Python, Node, npm, cargo.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
}

/// The shared library that this test program was built with: cargo puts it beside the program.
pub(crate) fn library() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let name = if cfg!(target_os = "macos") {
            "libakm.dylib"
        } else {
            "libakm.so"
        };
        let exe = std::env::current_exe().expect("a running program has a path");
        let path = exe
            .parent()
            .expect("a program lies in a directory")
            .join(name);
        assert!(
            path.is_file(),
            "cargo did not build the shared library beside the tests"
        );
        path
    })
}

/// Whether a tool is there. Missing, it is an error in CI and a printed skip on a person's machine.
pub(crate) fn have(tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success());
    if !found {
        missing(tool);
    }
    found
}

/// What a test needs is not there: an error in CI, a printed skip on a person's machine.
pub(crate) fn missing(what: &str) {
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    assert!(!ci, "{what} is needed in CI");
    eprintln!("skipped: {what} is not installed");
}

/// Runs a command to its end and gives its standard output; a failure shows everything it said.
pub(crate) fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("tools print UTF-8")
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"))
}

/// A command that sees akm only as the test says: none of the person's own variables.
pub(crate) fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in [
        "AKM_HOME",
        "AKM_AGENT_SOCK",
        "AKM_VAULT",
        "AKM_CONFIG",
        "AKM_LIBRARY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "PYTHONPATH",
        "NODE_PATH",
        "NODE_OPTIONS",
        "LD_LIBRARY_PATH",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    command
}

/// A command that may reach registries, so with the person's proxies.
pub(crate) fn installer(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in ["PYTHONPATH", "NODE_PATH", "NODE_OPTIONS", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

/// npm, without what it says besides.
pub(crate) fn npm() -> Command {
    let mut command = installer("npm");
    command
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_update_notifier", "false");
    command
}

/// What a lock file names, installed once for each lock file.
pub(crate) fn node_modules(name: &str, folder: &Path) -> PathBuf {
    let read = |file: &str| fs::read(folder.join(file)).expect("the folder has a lock file");
    let (package, lock) = (read("package.json"), read("package-lock.json"));
    let dir = cached(name, &[&package, &lock], |dir| {
        fs::write(dir.join("package.json"), &package).expect("target/tmp can be written");
        fs::write(dir.join("package-lock.json"), &lock).expect("target/tmp can be written");
        run(npm().arg("ci").current_dir(dir));
    });
    dir.join("node_modules")
}

/// Where the SDK tests of this crate and of the agent have their lists.
fn sdks() -> PathBuf {
    root().join("akm-ffi/tests/sdk")
}

/// The `node_modules` with the providers' SDKs.
pub(crate) fn node_with_sdks() -> PathBuf {
    node_modules("node-sdk", &sdks())
}

/// The Python of an environment with the providers' SDKs, made once for each set of versions.
pub(crate) fn python_with_sdks() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let list = sdks().join("requirements.txt");
        let requirements = fs::read(&list).expect("the list is there");
        let version = run(installer("python3").arg("--version"));
        let dir = cached("python", &[&requirements, version.as_bytes()], |dir| {
            run(installer("python3").args(["-m", "venv"]).arg(dir));
            run(installer(dir.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--no-input"])
                .args(["--disable-pip-version-check", "-r"])
                .arg(&list));
        });
        dir.join("bin/python")
    })
}

/// A directory under `target/tmp` that `make` fills once for each `content` it depends on.
pub(crate) fn cached(name: &str, content: &[&[u8]], make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{:016x}", hasher.finish()));
    let done = dir.join(".done");
    if !done.is_file() {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("target/tmp can be written");
        make(&dir);
        fs::write(&done, b"").expect("target/tmp can be written");
    }
    dir
}

/// Copies files and directories, but not what tools left there.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("the directory is readable") {
        let entry = entry.expect("the directory is readable");
        let name = entry.file_name();
        if ["node_modules", "native", "_native", "__pycache__", "dist"]
            .iter()
            .any(|skip| name == *skip)
        {
            continue;
        }
        let target = to.join(&name);
        if entry
            .file_type()
            .expect("the kind of a file is known")
            .is_dir()
        {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a file can be copied");
        }
    }
}

/// A program of the workspace, built with this cargo; quick when it is fresh. Cargo does not say in which order it tests
/// packages, so nobody else may have built it yet.
pub(crate) fn build(arguments: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let listing = run(Command::new(cargo)
        .current_dir(root())
        .args([
            "build",
            "--quiet",
            "--message-format=json-render-diagnostics",
        ])
        .args(arguments));
    listing
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .unwrap_or_else(|| panic!("cargo built no program for {arguments:?}"))
}

/// The daemon.
pub(crate) fn akm_agent() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "akm-agent", "--bin", "akm-agent"]))
}
