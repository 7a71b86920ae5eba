//! Link options of the shared library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libakm.so");
        // Fork handlers and threads point into the library: dlclose must not take it away under them.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
