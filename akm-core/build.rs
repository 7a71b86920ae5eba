//! Reads the built-in catalogue with the schema the library reads it with. A rule the engine does not
//! know, a bad address, a doubled name: the build fails and names record and field.

use std::error::Error;

#[path = "src/provider/address.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod address;
#[path = "src/provider/schema.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    unfulfilled_lint_expectations
)]
mod schema;

const CATALOGUE: &str = "catalog/providers.json";

fn main() -> Result<(), Box<dyn Error>> {
    tell_cargo(&[
        "build.rs",
        CATALOGUE,
        "src/provider/address.rs",
        "src/provider/schema.rs",
    ]);
    let text = std::fs::read_to_string(CATALOGUE)?;
    let records: schema::Records =
        serde_json::from_str(&text).map_err(|error| format!("{CATALOGUE}: {error}"))?;
    records
        .check()
        .map_err(|problem| format!("{CATALOGUE}: {problem}"))?;
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "that is how a build script speaks to cargo"
)]
fn tell_cargo(files: &[&str]) {
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
}
