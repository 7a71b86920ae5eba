//! The rooms of the daemon, shared by its two binaries: `akm-agent`, and `akm`, which runs itself again
//! as the agent.
//!
//! In reading order: [`daemon`] (a process from start to exit) puts together [`harden`], [`config`],
//! [`socket`] and [`server`]; [`caller`] says who asks, [`confirm`] asks a person about it; [`jobs`] is what the agent does by itself; [`lifetime`] is
//! how long a session lasts; [`flags`] are those of `akm-agent`; [`manager`] is who started the agent, [`log`] what it says; `sandbox` is what the agent may still do; `spawn` starts a command; `probe` is what the doctor tries; [`clipboard`] holds what was copied; [`mask`] takes secrets out of the output of a command;
//! `web` is the dashboard, [`serve`] the agent with listeners on the network; [`selling`] is what a hosted service sells there.
//!
//! Every binary that links this library declares
//! `#[global_allocator] static ALLOCATOR: akm_core::memory::WipingAllocator`.

pub mod caller;
pub mod cli;
pub mod clipboard;
pub mod config;
pub mod confirm;
pub mod daemon;
pub mod flags;
pub mod harden;
pub mod jobs;
pub mod lifetime;
pub mod log;
#[cfg(target_os = "linux")]
mod logind;
pub mod manager;
pub mod mask;
pub mod offsite;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod power;
#[cfg(target_os = "linux")]
pub mod probe;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod selling;
pub mod serve;
pub mod server;
pub mod socket;
mod spawn;
pub(crate) mod web;
