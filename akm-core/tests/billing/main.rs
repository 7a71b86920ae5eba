//! Tiers, limits, codes, orders for a human, and reminders, as customers and the owner of the service meet them.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod limits;
mod orders;
mod reminders;
#[path = "../support/selling.rs"]
mod selling;
#[path = "../support/mod.rs"]
mod support;

use akm_core::audit::Caller;
use akm_core::billing::Settings;
use selling::settings;
use support::{Bench, new_key};

fn unlimited_requests() -> Settings {
    let mut settings = settings();
    for tier in &mut settings.tiers {
        tier.requests_per_minute = None;
    }
    settings
}

fn add(bench: &Bench, caller: &Caller, name: &str) -> akm_core::Result<()> {
    bench
        .call_as(caller.clone(), new_key(name, "sk-of-a-customer"))
        .map(drop)
}
