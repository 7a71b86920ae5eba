//! The SQLite store from outside: what its contract promises, its files, hostile files, and faults.
//!
//! Blobs are made up; nothing here knows a cipher. Some faults need a process of their own (a umask, a
//! SIGKILL, a mount): those spawn this test binary again, see `children`.

mod children;
mod contract;
mod durability;
mod events;
mod files;
mod hostile;
mod support;
