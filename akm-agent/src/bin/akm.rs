//! The `akm` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    akm_agent::cli::main()
}
