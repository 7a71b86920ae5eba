//! The rooms of the daemon, shared by its two binaries: `akm-agent`, and `akm`, which runs itself again
//! as the agent.
//!
//! In reading order: [`daemon`] (a process from start to exit) puts together [`harden`], [`config`],
//! [`socket`] and [`server`]; [`caller`] says who asks; [`jobs`] is what the agent does by itself; [`lifetime`] is
//! how long a session lasts; [`clipboard`] holds what was copied; [`mask`] takes secrets out of the output of a command;
//! `web` is the dashboard, [`serve`] the agent with listeners on the network.
//!
//! Every binary that links this library declares
//! `#[global_allocator] static ALLOCATOR: akm_core::memory::WipingAllocator`.

pub mod caller;
pub mod cli;
pub mod clipboard;
pub mod config;
pub mod daemon;
pub mod harden;
pub mod jobs;
pub mod lifetime;
pub mod mask;
pub mod serve;
pub mod server;
pub mod socket;
pub(crate) mod web;
