//! The agent with a listener on the network: every byte goes through a real socket.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod authority;
mod bounds;
#[path = "../hosted_support/mod.rs"]
mod hosted_support;
mod listening;
mod requests;
#[path = "../support/mod.rs"]
mod support;

const JSON: &str = "Content-Type: application/json";
