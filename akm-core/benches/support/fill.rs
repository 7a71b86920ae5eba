//! A vault of many keys, for the benchmarks of both crates.

use std::path::Path;
use std::sync::Arc;

use akm_core::Secret;
use akm_core::host::Host;
use akm_core::name::KeyName;
use akm_core::provider::{Catalogue, Destinations};
use akm_core::store::SqliteStore;
use akm_core::vault::{self, NewKey, Origin, SignIn, Vault};

/// Of the one account.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
/// As long as a provider's are.
pub(crate) const SECRET: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnop";
/// How many keys go in with one commit.
const BATCH: usize = 1000;

/// Of the key of this number.
pub(crate) fn name(number: usize) -> String {
    format!("openai/key-{number:07}")
}

/// Adds keys in batches, below the service, which takes them one by one.
pub(crate) fn fill(home: &Path, size: usize) {
    let host = Host::real();
    let store = SqliteStore::open(&home.join("vault.db"), &*host.random, &*host.clock).unwrap();
    let host_key = vault::load_host_key(&home.join("state"), &*host.random).unwrap();
    let vault = Vault::new(Arc::new(store), host, host_key, None);
    let passphrase = Secret::new(PASSPHRASE.to_owned());
    let account = vault
        .sign_in(&SignIn {
            account: "default",
            passphrase: &passphrase,
            totp: None,
            device: None,
            origin: Origin::Owner,
            accept_rollback: false,
        })
        .unwrap();
    let destinations = Destinations::of(Catalogue::builtin().provider("openai"), None).encode();
    for first in (0..size).step_by(BATCH) {
        let keys: Vec<NewKey> = (first..size.min(first + BATCH))
            .map(|number| NewKey {
                name: KeyName::parse(&name(number), "name").unwrap(),
                secret: Secret::new(SECRET.to_owned()),
                low_balance: None,
                team: None,
                lifetime_s: None,
                model: None,
                categories: Vec::new(),
                notes: None,
                expires_at: None,
                env: None,
                use_only: false,
                confirm: false,
                base_url: None,
                destinations: destinations.clone(),
            })
            .collect();
        vault
            .add_keys(&account, &keys, None, &mut |_| Ok(()))
            .unwrap();
    }
}
