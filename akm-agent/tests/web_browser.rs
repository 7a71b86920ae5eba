//! The dashboard in a real browser: Debian's Chromium, driven by `tests/web/walk.mjs` through everything that a person does there.
//!
//! What it looks at stands in `tests/web/browser.mjs`: no violation of the policy, no error of a script, no canary that ran, no page
//! wider than its window, no serious finding of axe; with a control page that has all of them. The pictures it takes
//! are in `target/web-shots`, or where `AKM_SHOTS` says; `AKM_WALK=zh360` walks once.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod browser_support;

#[test]
fn a_person_walks_through_the_dashboard_in_both_languages() {
    let Some(mut script) = browser_support::script("walk.mjs") else {
        return;
    };
    browser_support::run(script.env("AKM", env!("CARGO_BIN_EXE_akm")));
}
