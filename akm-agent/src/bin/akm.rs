//! `akm`: the command line, and, when it runs itself again, the agent.
//!
//! Where the C library gives the arguments to whoever asks (GNU's does), `main` is C's. What Rust does before its own, above all
//! reading `/proc/self/maps` to have a word for a stack that overflows, takes longer than the agent does to answer;
//! [`akm_agent::harden::begin`] does what akm needs of it.

#![cfg_attr(all(target_os = "linux", target_env = "gnu"), no_main)]

use akm_agent::{cli, daemon};

#[global_allocator]
static ALLOCATOR: akm_core::memory::WipingAllocator = akm_core::memory::WipingAllocator;

fn akm() -> u8 {
    match daemon::reexecuted() {
        Some(code) => code,
        None => cli::main(),
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
// SAFETY: the name, the parameters and the result are those of C's `main`, and no other is linked.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main(_: nix::libc::c_int, _: *const *const nix::libc::c_char) -> nix::libc::c_int {
    akm_agent::harden::begin();
    // As of a Rust `main` that panics; the hook has said why.
    let code = std::panic::catch_unwind(akm).unwrap_or(101);
    std::process::exit(code.into())
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() -> std::process::ExitCode {
    akm().into()
}
