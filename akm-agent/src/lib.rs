//! The daemon that holds the vault unlocked, and the akm command.
pub mod cli;
