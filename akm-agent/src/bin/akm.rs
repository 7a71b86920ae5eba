//! `akm`: the command line, and, when it runs itself again, the agent.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: akm_core::memory::WipingAllocator = akm_core::memory::WipingAllocator;

fn main() -> ExitCode {
    match akm_agent::daemon::reexecuted() {
        Some(code) => code,
        None => akm_agent::cli::main(),
    }
}
