//! Prints a key's secret: `cargo run -p akm-core --example get --features client -- NAME`.
//! Exit status 3 when locked, 2 without an agent, 1 otherwise.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use akm_core::client::Client;
use akm_core::protocol::KeyGet;
use akm_core::{Kind, Result, Secret};

fn get(name: String) -> Result<Secret> {
    let mut agent = Client::connect(None)?;
    let key = agent.call(&KeyGet {
        name,
        version: None,
    })?;
    Ok(key.secret)
}

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: get NAME");
        return ExitCode::from(64);
    };
    match get(name) {
        Ok(secret) => {
            println!("{}", secret.expose());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(match error.kind() {
                Kind::Locked => 3,
                Kind::NoAgent => 2,
                _ => 1,
            })
        }
    }
}
