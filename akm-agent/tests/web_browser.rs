//! The dashboard in a real browser: Debian's Chromium, driven by `tests/web/walk.mjs` through everything that a person does there.
//!
//! What it looks at stands in `tests/web/browser.mjs`: no violation of the policy, no error of a script, no canary that ran, no page
//! wider than its window, no serious finding of axe; with a control page that has all of them. The pictures it takes
//! are in `target/web-shots`, or where `AKM_SHOTS` says; `AKM_WALK=zh360` walks once.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

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

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    println!("{said}");
}

#[test]
fn a_person_walks_through_the_dashboard_in_both_languages() {
    let (Some(chromium), Some(node), Some(npm)) = (tool("chromium"), tool("node"), tool("npm"))
    else {
        return;
    };
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
    run(Command::new(node)
        .arg("walk.mjs")
        .current_dir(&folder)
        .env("AKM", env!("CARGO_BIN_EXE_akm"))
        .env("AKM_CHROMIUM", chromium)
        .env("AKM_SHOTS", shots));
}
