//! Debian's Chromium, driven by a script of `tests/web` with playwright-core.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the tool is; missing, it is an error in CI and a printed skip on a person's machine.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!ci, "{name} is needed in CI");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// Runs it, and shows what it said.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    println!("{said}");
}

/// A script of `tests/web` that is ready to run. The pictures it takes are in `target/web-shots`, or where `AKM_SHOTS` says.
/// None where a tool is missing.
pub fn script(name: &str) -> Option<Command> {
    let (chromium, node, npm) = (tool("chromium")?, tool("node")?, tool("npm")?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web");
    if !folder.join("node_modules/axe-core").is_dir() {
        run(Command::new(npm)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder));
    }
    let shots = std::env::var_os("AKM_SHOTS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../web-shots"),
        PathBuf::from,
    );
    let mut command = Command::new(node);
    command
        .arg(name)
        .current_dir(&folder)
        .env("AKM_CHROMIUM", chromium)
        .env("AKM_SHOTS", shots);
    Some(command)
}
