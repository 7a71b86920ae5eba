//! A vault file that somebody changed: the input is a list of edits to one that akm made. It opens or is refused; whatever is
//! then read from it is an answer or an error.
//!
//! An edit is where (3 bytes), how many (1 byte), and the new bytes. A last byte that is odd cuts the file off there.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use akm_core::host::Host;
use akm_core::store::{SqliteStore, Store};
use akm_core::{audit, crypto, protocol, service};
use libfuzzer_sys::fuzz_target;

/// A vault with an account, keys, history and events.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let vault = dir.path().join("vault.db");
    let service = service::Service::open(service::Options {
        vault: vault.clone(),
        journal: dir.path().join("audit.journal"),
        state: dir.path().to_owned(),
        backups: dir.path().join("backups"),
        host: Host {
            kdf_cost: crypto::KdfCost::insecure_test(),
            ..Host::real()
        },
        key_limit: None,
        default_lifetime: None,
    })
    .expect("a vault");
    let caller = audit::Caller {
        uid: 0,
        pid: 1,
        exe: String::new(),
        via: Default::default(),
        process: Default::default(),
    };
    let ask = |op: protocol::Op, body: &str| {
        let request = protocol::Request::decode(op, body.as_bytes()).expect("a request");
        service.call(&caller, request).expect("an answer");
    };
    ask(
        protocol::Op::AccountRegister,
        r#"{"account":"default","passphrase":"x","totp":true}"#,
    );
    for name in ["openai", "openai/work", "groq"] {
        ask(
            protocol::Op::KeyAdd,
            &format!(r#"{{"name":"{name}","secret":"sk-1"}}"#),
        );
    }
    ask(
        protocol::Op::KeyRotate,
        r#"{"name":"openai","secret":"sk-2"}"#,
    );
    service.fold().expect("events in the store");
    service.checkpoint().expect("everything in one file");
    drop(service);
    std::fs::read(&vault).expect("the vault")
});

fuzz_target!(|data: &[u8]| {
    let mut image = IMAGE.clone();
    let mut rest = data;
    while let [a, b, c, len, bytes @ ..] = rest {
        let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize % image.len();
        let (now, later) = bytes.split_at(bytes.len().min(usize::from(*len)));
        let end = image.len().min(at + now.len());
        image[at..end].copy_from_slice(&now[..end - at]);
        rest = later;
        if let [last] = rest
            && last % 2 == 1
        {
            image.truncate(at);
            break;
        }
    }
    let home = Path::new("/dev/shm");
    let dir = tempfile::tempdir_in(if home.is_dir() {
        home
    } else {
        Path::new("/tmp")
    })
    .expect("a directory");
    let path = dir.path().join("vault.db");
    std::fs::write(&path, &image).expect("a file");
    let host = Host::real();
    let Ok(store) = SqliteStore::open(&path, &*host.random, &*host.clock) else {
        return;
    };
    let _ = store.account_count();
    let _ = store.last_event(&audit::SYSTEM);
    let _ = store.events(&audit::SYSTEM, 0, None, None, 100);
    if let Ok(Some(account)) = store.account_by_name("default") {
        let _ = store.slots(&account.id);
        let _ = store.key_count(&account.id);
        let _ = store.events(&account.id, 0, None, None, 100);
        for head in store
            .keys_page(&account.id, None, None, 100)
            .unwrap_or_default()
        {
            let _ = store.key_by_tag(&account.id, &head.tag);
            let _ = store.history(&account.id, &head.id);
        }
    }
});
