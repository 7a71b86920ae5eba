//! The SQLite store from outside: what its contract promises, its files, hostile files, and faults.
//!
//! Blobs are made up; nothing here knows a cipher. Some faults need a process of their own (a umask, a
//! SIGKILL, a mount): those spawn this test binary again, see `children`.

// The lint's own exception for tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod accounts;
mod children;
mod durability;
mod events;
mod files;
mod hostile;
mod keys;
mod support;
