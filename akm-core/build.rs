//! Reads the built-in catalogues of providers and models with the schema the library reads it with. A rule the engine does not
//! know, a bad address, a doubled name: the build fails and names record and field. Takes out of them the one table that the
//! library wants without reading them.

// The files are the library's; a build script uses a part of them.
#![allow(
    dead_code,
    missing_docs,
    unfulfilled_lint_expectations,
    unreachable_pub
)]

use std::error::Error;

#[path = "src/provider/address.rs"]
mod address;
#[path = "src/provider/balance_rules.rs"]
mod balance_rules;
#[path = "src/provider/check.rs"]
mod check;
#[path = "src/provider/decimal.rs"]
mod decimal;
#[path = "src/provider/models.rs"]
mod models;
#[path = "src/provider/network.rs"]
mod network;
#[path = "src/provider/rules.rs"]
mod rules;
#[path = "src/provider/schema.rs"]
mod schema;

const CATALOGUE: &str = "catalog/providers.json";
const MODELS: &str = "catalog/models.json";

fn main() -> Result<(), Box<dyn Error>> {
    for file in [
        "address.rs",
        "balance_rules.rs",
        "check.rs",
        "decimal.rs",
        "network.rs",
        "models.rs",
        "rules.rs",
        "schema.rs",
    ] {
        println!("cargo::rerun-if-changed=src/provider/{file}");
    }
    println!("cargo::rerun-if-changed={CATALOGUE}");
    println!("cargo::rerun-if-changed={MODELS}");
    println!("cargo::rerun-if-changed=build.rs");
    let text = std::fs::read_to_string(CATALOGUE)?;
    let records: schema::Records =
        serde_json::from_str(&text).map_err(|error| format!("{CATALOGUE}: {error}"))?;
    let records = records
        .complete()
        .map_err(|problem| format!("{CATALOGUE}: {problem}"))?;
    let known = |id: &str| records.providers.iter().any(|provider| provider.id == id);
    models::Models::from_json(&std::fs::read_to_string(MODELS)?)
        .and_then(|models| models.check_providers(&known))
        .map_err(|problem| format!("{MODELS}: {problem}"))?;
    let variables: Vec<String> = records
        .providers
        .iter()
        .map(|provider| {
            let (id, env) = (&provider.id, &provider.env);
            format!(
                "Variables {{ provider: {id:?}, primary: {:?}, preferred: &{:?}, base_url: &{:?}, appended: &[{}], endpoint: {:?} }},\n",
                env.primary,
                env.preferred,
                env.base_url,
                appended(&env.appended),
                provider.endpoints.first().map_or("", |first| &first.base_url)
            )
        })
        .collect();
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(
        format!("{out}/variables.rs"),
        format!("&[\n{}]\n", variables.concat()),
    )?;
    Ok(())
}

fn appended(by_name: &std::collections::BTreeMap<String, Vec<String>>) -> String {
    by_name
        .iter()
        .map(|(name, ends)| format!("({name:?}, &{ends:?}), "))
        .collect()
}
