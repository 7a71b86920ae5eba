//! The library behind akm: an encrypted vault for API keys, the operations on it, and a client of the agent.
//!
//! Which type to use first:
//!
//! * a program that wants a key from the running agent: [`client::Client`] (feature `client`);
//! * a program that holds a vault itself: [`service::Door`] (feature `vault`), with the same
//!   operations and the same answers;
//! * either way, what can be asked and what comes back is the table in [`protocol`].
//!
//! Modules in reading order: [`protocol`], [`error`], [`secret`], [`name`], [`paths`], [`regular`], [`memory`], then
//! `crypto`, `store`, `vault`, `audit`, `provider`, `billing`, `transfer`, `clipboard`, `dashboard`, `monitor`, `caller`, `service`, and beside them `client` and `peer`.

pub mod error;
pub mod memory;
pub mod name;
pub mod paths;
pub mod protocol;
pub mod regular;
pub mod secret;

#[cfg(feature = "vault")]
pub mod audit;
#[cfg(feature = "vault")]
pub mod backup;
#[cfg(feature = "vault")]
pub mod billing;
#[cfg(feature = "vault")]
pub mod caller;
#[cfg(feature = "vault")]
pub mod clipboard;
#[cfg(feature = "vault")]
pub mod crypto;
#[cfg(feature = "vault")]
pub mod dashboard;
#[cfg(feature = "vault")]
pub mod host;
#[cfg(feature = "vault")]
pub mod monitor;
#[cfg(feature = "vault")]
pub mod provider;
#[cfg(feature = "vault")]
pub mod service;
#[cfg(feature = "vault")]
pub mod store;
#[cfg(feature = "vault")]
pub mod transfer;
#[cfg(feature = "vault")]
pub mod vault;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod peer;

pub use error::{Error, Kind, Result};
pub use secret::Secret;
