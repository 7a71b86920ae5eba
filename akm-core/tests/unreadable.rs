//! Keys that do not open fail a list and an export, and are passed over by whoever asks for the others.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use akm_core::Kind;
use akm_core::protocol::{Op, VaultExport};
use serde_json::{Value, json};
use support::{Bench, PASSPHRASE, kind, secret};

/// The ids of all rows.
fn ids(bench: &Bench) -> BTreeSet<String> {
    let hand = bench.hand();
    let mut rows = hand.prepare("SELECT lower(hex(id)) FROM keys").unwrap();
    let ids = rows.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

/// Changes one byte at the end of a column of a row.
fn damage(bench: &Bench, id: &str, column: &str) {
    let hand = bench.hand();
    let of_row = format!("FROM keys WHERE lower(hex(id)) = '{id}'");
    let mut blob: Vec<u8> = hand
        .query_row(&format!("SELECT {column} {of_row}"), [], |row| row.get(0))
        .unwrap();
    *blob.last_mut().unwrap() ^= 1;
    let sql = format!("UPDATE keys SET {column} = ?1 WHERE lower(hex(id)) = '{id}'");
    assert_eq!(hand.execute(&sql, [blob]).unwrap(), 1);
}

/// Six keys: of one the record was changed, of one the secret, and one was put back.
struct Damaged {
    bench: Bench,
    record: String,
    older: String,
}

fn damaged() -> Damaged {
    let mut bench = Bench::initialized();
    let mut known = BTreeSet::new();
    let mut id_of = |bench: &Bench, name: &str| {
        bench.add(name, "sk-of-a-key").unwrap();
        let now = ids(bench);
        let new: Vec<String> = now.difference(&known).cloned().collect();
        known = now;
        new.into_iter().next().unwrap()
    };
    let record = id_of(&bench, "openai/record");
    let lost = id_of(&bench, "openai/secret");
    let older = id_of(&bench, "groq/older");
    for name in ["openai/default", "openai/b", "groq/c"] {
        id_of(&bench, name);
    }
    let hand = bench.hand();
    hand.execute_batch(&format!(
        "CREATE TEMP TABLE before AS SELECT * FROM keys WHERE lower(hex(id)) = '{older}'"
    ))
    .unwrap();
    bench
        .raw(Op::KeyRotate, r#"{"name":"groq/older","secret":"sk-new"}"#)
        .unwrap();
    hand.execute_batch("REPLACE INTO keys SELECT * FROM before")
        .unwrap();
    drop(hand);
    damage(&bench, &record, "meta");
    damage(&bench, &lost, "secret");
    bench.reopen();
    bench.unlock().unwrap();
    Damaged {
        bench,
        record,
        older,
    }
}

/// All pages: the names, and the ids that were passed over.
fn listed(bench: &Bench, filter: &Value, limit: u32) -> (Vec<String>, Vec<String>) {
    let (mut names, mut lost, mut after) = (Vec::new(), Vec::new(), None::<String>);
    let texts = |list: &Value, field: Option<&str>| -> Vec<String> {
        let text = |each: &Value| {
            field
                .map_or(each, |field| &each[field])
                .as_str()
                .map(str::to_owned)
        };
        list.as_array()
            .into_iter()
            .flatten()
            .map(|each| text(each).unwrap())
            .collect()
    };
    loop {
        let mut request = filter.clone();
        request["limit"] = limit.into();
        request["skip_unreadable"] = true.into();
        if let Some(after) = &after {
            request["after"] = after.as_str().into();
        }
        let page = bench.raw(Op::KeyList, &request.to_string()).unwrap();
        names.extend(texts(&page["keys"], Some("name")));
        lost.extend(texts(&page["unreadable"], None));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            names.sort();
            lost.sort();
            return (names, lost);
        }
    }
}

#[test]
fn a_list_fails_or_tells_which_rows_it_passes_over() {
    let Damaged {
        bench,
        record,
        older,
    } = damaged();
    let refused = bench.raw(Op::KeyList, "{}").unwrap_err();
    assert!(matches!(refused.kind(), Kind::Corrupt | Kind::RolledBack));
    assert!(refused.hint().unwrap().contains("--skip-unreadable"));
    let mut rows = vec![record, older];
    rows.sort();
    // Each once, wherever a page ends. What only a get opens is listed.
    let names = ["groq/c", "openai/b", "openai/default", "openai/secret"];
    for limit in [1, 2, 3, 1000] {
        let (found, lost) = listed(&bench, &json!({}), limit);
        assert_eq!(found, names, "{limit} at a time");
        assert_eq!(lost, rows, "{limit} at a time");
    }
    // The row of a key that does not open is still found by its provider's tag; which others are listed does not depend on it.
    let (found, _) = listed(&bench, &json!({"provider": "openai"}), 2);
    assert_eq!(found, names[1..]);
    assert_eq!(kind(bench.get("openai/record")), Kind::Corrupt);
    assert_eq!(kind(bench.get("openai/secret")), Kind::Corrupt);
    assert_eq!(kind(bench.get("groq/older")), Kind::RolledBack);
    assert_eq!(bench.get("openai/b").unwrap(), "sk-of-a-key", "control");
}

/// A page also ends where it is long enough, between two keys that were looked at together.
#[test]
fn none_is_lost_or_told_twice_where_a_long_page_ends() {
    let bench = Bench::initialized();
    const KEYS: usize = 700;
    let notes = "n".repeat(4000);
    for number in 0..KEYS {
        let mut key = support::new_key(&format!("openai/{number}"), "sk");
        key.notes = Some(notes.clone());
        bench.call(key).unwrap();
    }
    let rows: Vec<String> = ids(&bench).into_iter().collect();
    // One in three, so that each page has some on both sides of its end.
    let bad: Vec<String> = rows.into_iter().step_by(3).collect();
    for id in &bad {
        damage(&bench, id, "meta");
    }
    let (names, lost) = listed(&bench, &json!({}), 1000);
    assert_eq!(lost, bad);
    assert_eq!(names.len(), KEYS - bad.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    let mut request = json!({"passphrase": PASSPHRASE, "skip_unreadable": true});
    let (mut lost, mut pages) = (Vec::new(), 0);
    let keys = loop {
        let page = bench.raw(Op::VaultExport, &request.to_string()).unwrap();
        let texts = page["unreadable"].as_array().into_iter().flatten();
        lost.extend(texts.map(|text| text.as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => request = json!({ "after": next }),
            None => break page["keys"].as_u64().unwrap(),
        }
    };
    lost.sort();
    assert_eq!(lost, bad);
    assert_eq!(keys as usize, KEYS - bad.len());
    assert!(pages > 2, "control: {pages} pages");
}

#[test]
fn an_export_fails_or_tells_which_keys_it_passes_over() {
    let Damaged {
        bench,
        record,
        older,
    } = damaged();
    for format in ["json", "cxf", "env"] {
        let mut request = json!({"format": format, "passphrase": PASSPHRASE});
        let mut refused = bench.raw(Op::VaultExport, &request.to_string());
        // The way through the defaults of providers comes first, and may be whole.
        if let Ok(page) = &refused
            && let Some(next) = page["next"].as_str()
        {
            refused = bench.raw(Op::VaultExport, &json!({ "after": next }).to_string());
        }
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused.kind(), Kind::Corrupt | Kind::RolledBack),
            "{format}: {refused}"
        );
        // What failed until here is in the log already.
        let log = || {
            bench
                .raw(Op::AuditList, r#"{"action":"vault.export"}"#)
                .unwrap()
        };
        let newest = |log: &Value| {
            let events = log["events"].as_array().unwrap().iter();
            events
                .map(|event| event["seq"].as_u64().unwrap())
                .max()
                .unwrap()
        };
        let before = newest(&log());
        request["skip_unreadable"] = true.into();
        let (mut file, mut lost, mut keys) = (String::new(), Vec::new(), 0);
        loop {
            let page = bench.raw(Op::VaultExport, &request.to_string()).unwrap();
            file += page["content"].as_str().unwrap();
            keys = page["keys"].as_u64().unwrap().max(keys);
            let texts = page["unreadable"].as_array().into_iter().flatten();
            lost.extend(texts.map(|text| text.as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => request = json!({ "after": next }),
                None => break,
            }
        }
        lost.sort();
        let mut expected = vec![record.clone(), older.clone(), "openai/secret".to_owned()];
        expected.sort();
        assert_eq!(lost, expected, "{format}");
        assert_eq!(keys, 3, "{format}");
        // What was not handed out stands in the log too, with what is wrong.
        let events = log();
        let told = |key: Option<&str>, outcome: &str| {
            let events = events["events"].as_array().unwrap().iter();
            let mut events = events.filter(|event| event["seq"].as_u64().unwrap() > before);
            events.any(|event| event["key"].as_str() == key && event["outcome"] == outcome)
        };
        assert!(told(Some("openai/b"), "ok"), "control: {events}");
        assert!(told(Some("openai/secret"), "corrupt"), "{events}");
        assert!(
            told(None, "rolled_back") && told(None, "corrupt"),
            "{events}"
        );
        assert_eq!(file.matches("sk-of-a-key").count(), 3, "{format}: {file}");
    }
    // It is said at the beginning.
    let next = VaultExport {
        after: Some("00".repeat(16)),
        skip_unreadable: Some(true),
        ..VaultExport::default()
    };
    assert_eq!(kind(bench.call(next)), Kind::InvalidInput);
    let whole = Bench::initialized();
    whole.add("openai", "sk").unwrap();
    let sealed = VaultExport {
        seal: Some(secret("of the file")),
        skip_unreadable: Some(true),
        ..VaultExport::default()
    };
    assert!(whole.call(sealed).unwrap().unreadable.is_empty());
}
