//! How the programs are linked, so that one that is started again and again starts quickly.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    // The unwinder comes from the static library where the C compiler has one: loading the shared one is a twentieth of
    // `akm get`, most of it a constructor that asks the processor for its features, which is slow in virtual machines.
    println!("cargo:rustc-link-lib=gcc_eh");
    // Twenty thousand addresses that the loader adjusts take a bit or two each instead of 24 bytes. A C library that does
    // not know this form refuses the program, so only where it is built for the one that is here.
    if std::env::var_os("HOST") == std::env::var_os("TARGET") && glibc() >= Some((2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = version.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
