//! akm from outside: the C ABI, Python, Node, the examples and the conformance cases, against real agents.
//!
//! One test program, so that the agent, the Python environment and koffi are made once. Everything is made in temporary
//! directories and under `target/tmp`; nothing is left in the checkout.

#![allow(clippy::unwrap_used)] // A test program; its helpers are not marked as tests.

mod abi;
mod agent;
mod c;
mod cases;
mod conformance;
mod disk;
mod drivers;
mod examples;
mod memory;
mod node;
mod pattern;
mod places;
mod provider;
mod python;
mod table;
mod tools;
mod types;
