//! How the programs are linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The unwinder comes from the static library where the C compiler has one: loading the shared one is a twentieth of
    // `akm get`, most of it a constructor that asks the processor for its features, which is slow in virtual machines.
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo:rustc-link-lib=gcc_eh");
    }
}
