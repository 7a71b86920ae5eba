//! Records, own providers and last tests that somebody with the keys sealed otherwise than this akm does, or that move
//! while somebody looks at them: each is refused for what it is, and nothing is written.

use super::*;
use crate::protocol::{KeyStatus, Outcome};
use crate::store::ProviderRow;

/// What a look at the key `openai/work` says, and that it changes nothing.
#[track_caller]
fn seen(room: &Room, account: &Unlocked) -> std::result::Result<(), Kind> {
    let rows = room.rows();
    let found = room.find(account, "openai/work");
    assert!(room.rows() == rows);
    found.map(drop).map_err(|error| error.kind())
}

#[test]
fn a_record_that_a_newer_akm_sealed_is_refused_and_not_guessed_at() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, std::result::Result<(), Kind>); 6] = [
        ("as it was", |_| {}, Ok(())),
        (
            "a newer format",
            |meta| meta["format"] = 2.into(),
            Err(Kind::UnsupportedVersion),
        ),
        (
            "an unknown field",
            |meta| meta["colour"] = "red".into(),
            Err(Kind::Corrupt),
        ),
        (
            "another status than in clear",
            |meta| meta["status"] = "disabled".into(),
            Err(Kind::Corrupt),
        ),
        (
            "another version than in clear",
            |meta| meta["secret_version"] = 7.into(),
            Err(Kind::Corrupt),
        ),
        (
            "a name that is none",
            |meta| meta["label"] = "a/b".into(),
            Err(Kind::Corrupt),
        ),
    ];
    for (what, change, expected) in cases {
        let room = Room::new();
        room.filled();
        let account = room.session();
        room.rewrite(&account, "openai/work", change);
        assert_eq!(seen(&room, &account), expected, "{what}");
        // A list stops there as well: what is left out looks like what is not there.
        let list = room
            .vault
            .list_keys(&account, None, None, 100, &|_| true, Damage::Fails);
        assert_eq!(list.map(drop).map_err(|error| error.kind()), expected);
        assert_eq!(
            room.find(&account, "google/home").map(drop),
            Ok(()),
            "control"
        );
    }
    // Another name than the tag it rests under.
    let room = Room::new();
    room.filled();
    let account = room.session();
    room.rewrite(&account, "openai/work", |meta| {
        meta["label"] = "play".into()
    });
    assert_eq!(seen(&room, &account), Err(Kind::Corrupt));
}

#[test]
fn an_old_version_of_an_unknown_shape_or_format_is_refused() {
    for (plain, expected) in [
        (
            r#"{"format":1,"preview":"…","destinations":[],"created_at":1,"replaced_at":2}"#,
            None,
        ),
        (
            r#"{"format":2,"preview":"…","destinations":[],"created_at":1,"replaced_at":2}"#,
            Some(Kind::UnsupportedVersion),
        ),
        (r#"{"format":1,"preview":"…"}"#, Some(Kind::Corrupt)),
        ("not JSON", Some(Kind::Corrupt)),
    ] {
        let room = Room::new();
        room.filled();
        let account = room.session();
        let opened = room.find(&account, "openai/work").unwrap();
        let ad = room.ad(&account, Field::HistoryMeta, &opened.record.id);
        let random = &*room.vault.host.random;
        let meta = crypto::seal_padded(random, &opened.key, &ad.version(1), plain.as_bytes(), 128)
            .unwrap();
        room.hand()
            .execute("UPDATE history SET meta = ?1", [meta])
            .unwrap();
        let versions = room.vault.old_versions(&account, &opened);
        let found = versions.map(|all| all.len());
        assert_eq!(found.map_err(|error| error.kind()).err(), expected);
        // A rekey that would have to leave it behind does not begin.
        let before = room.rows();
        let begun = room
            .vault
            .prepare_rekey(&room.step_up(), &passphrase(), None);
        let refused = begun.map(drop).map_err(|error| error.kind()).err();
        // The destinations are not those that the secret was bound to: that is damage as well.
        assert_eq!(refused, Some(expected.unwrap_or(Kind::Corrupt)));
        assert!(room.rows() == before);
    }
}

#[test]
fn a_row_that_is_cut_or_lost_is_damage_wherever_it_is_read() {
    for (column, table) in [
        ("meta", "keys"),
        ("secret", "keys"),
        ("wrapped_key", "keys"),
        ("meta", "history"),
        ("secret", "history"),
    ] {
        for cut in ["x''", "x'01'", "x'0101'", "substr(COLUMN, 1, 100)"] {
            let room = Room::new();
            room.filled();
            let cut = cut.replace("COLUMN", column);
            room.sql(&format!("UPDATE {table} SET {column} = {cut}"));
            let account = room.session();
            let rows = room.rows();
            let read = room.find(&account, "openai/work").and_then(|opened| {
                room.vault.open_secret(&account, &opened)?;
                room.vault.open_old_secret(&account, &opened, 1)
            });
            assert_eq!(kind(read), Kind::Corrupt, "{table} {column} {cut}");
            let listed = room
                .vault
                .list_keys(&account, None, None, 9, &|_| true, Damage::Fails);
            let (heads, refused) = (table == "keys" && column != "secret", Err(Kind::Corrupt));
            let listed = listed.map(drop).map_err(|error| error.kind());
            assert_eq!(listed, if heads { refused } else { Ok(()) });
            let begun = room
                .vault
                .prepare_rekey(&room.step_up(), &passphrase(), None);
            // Another version than the tree has, or one that does not open.
            let expected = match table {
                "keys" if column != "wrapped_key" && !cut.contains("substr") => Kind::RolledBack,
                _ => Kind::Corrupt,
            };
            assert_eq!(kind(begun), expected, "{table} {column} {cut}");
            assert!(room.rows() == rows);
        }
    }
    let room = Room::new();
    room.filled();
    let account = room.session();
    let opened = room.find(&account, "openai/work").unwrap();
    let now = room.vault.open_old_secret(&account, &opened, 2).unwrap();
    assert!(now.is_none(), "the one of now is no old one");
    room.sql("DELETE FROM history");
    let old = room.vault.open_old_secret(&account, &opened, 1);
    assert_eq!(kind(old), Kind::RolledBack);
    assert_eq!(
        kind(room.vault.old_versions(&account, &opened)),
        Kind::RolledBack
    );
}

#[test]
fn what_would_seal_a_lie_is_refused_before_anything_is_written() {
    let room = Room::new();
    room.filled();
    let account = room.session();
    let vault = &room.vault;
    let opened = || room.find(&account, "openai/work").unwrap();
    let update = |opened: &OpenedKey, record: Record, secret: Option<&Secret>| {
        let rows = room.rows();
        let done = vault.update_key(&account, opened, record, secret, &mut || Ok(()));
        assert!(done.is_ok() || room.rows() == rows);
        done.map(drop).map_err(|error| error.kind())
    };
    let secret = text("sk-three");
    let elsewhere = Record {
        destinations: b"https://evil.example".to_vec(),
        ..opened().record.clone()
    };
    assert_eq!(
        update(&opened(), elsewhere.clone(), None),
        Err(Kind::Internal),
        "a secret never changes where it goes"
    );
    assert_eq!(
        update(&opened(), elsewhere, Some(&secret)),
        Ok(()),
        "control"
    );
    let expired = Record {
        status: KeyStatus::Expired,
        ..opened().record.clone()
    };
    assert_eq!(update(&opened(), expired, None), Err(Kind::Internal));
    let mut last = opened();
    last.row.head.meta_version = u64::MAX;
    let record = last.record.clone();
    assert_eq!(update(&last, record.clone(), None), Err(Kind::Internal));
    let mut last = opened();
    last.record.secret_version = u64::MAX;
    assert_eq!(update(&last, record, Some(&secret)), Err(Kind::Internal));
}

#[test]
fn a_change_that_another_hand_comes_before_is_a_conflict() {
    // The version in clear is moved between the look and the write: the tree has not seen it, the store has.
    for remove in [false, true] {
        let room = Room::new();
        room.filled();
        let account = room.session();
        let opened = room.find(&account, "openai/work").unwrap();
        let path = room.path();
        let call = if remove { "remove_key" } else { "update_key" };
        room.store.meanwhile(call, move || {
            let hand = rusqlite::Connection::open(&path).unwrap();
            hand.execute_batch("UPDATE keys SET meta_version = meta_version + 1")
                .unwrap();
        });
        let change = || {
            if remove {
                return room.vault.remove_key(&account, &opened, &mut || Ok(()));
            }
            let record = opened.record.clone();
            let event = &mut || Ok(());
            let changed = room
                .vault
                .update_key(&account, &opened, record, None, event);
            changed.map(drop)
        };
        let error = refusal(change());
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(error.hint(), Some("try again"));
        room.sql("UPDATE keys SET meta_version = meta_version - 1");
        assert_eq!(change(), Ok(()), "control");
        // What was read before that is not the newest any more.
        assert_eq!(kind(change()), Kind::Conflict);
    }
}

#[test]
fn a_key_that_vanishes_from_a_copy_while_it_is_looked_at_is_damage() {
    let room = Room::new();
    room.filled();
    let account = room.session();
    assert_eq!(
        room.open_copy(&room.copy("good.db"), &account),
        Ok(Some(2)),
        "control"
    );
    let path = room.backup("copy.db");
    let hands = Arc::new(Hands::over(Arc::new(
        SqliteStore::open_copy(&path, true).unwrap(),
    )));
    let copy = room.vault.over_copy(hands.clone());
    hands.meanwhile("history", move || {
        let hand = rusqlite::Connection::open(&path).unwrap();
        hand.execute_batch("DELETE FROM history; DELETE FROM keys")
            .unwrap();
    });
    assert_eq!(kind(room.open_copy(&copy, &account)), Kind::Corrupt);
}

#[test]
fn a_copy_from_before_the_account_has_nothing_to_open() {
    let room = Room::empty();
    let before = room.copy("before.db");
    room.register(NAME, false);
    room.filled();
    let account = room.session();
    assert_eq!(room.open_copy(&before, &account), Ok(None));
    // Under other keys, as from before a rekey.
    let copy = room.copy("copy.db");
    assert_eq!(room.open_copy(&copy, &account), Ok(Some(2)), "control");
    let new = room
        .vault
        .prepare_rekey(&room.step_up(), &passphrase(), None);
    let (account, _) = room
        .vault
        .begin_rekey(new.unwrap().unwrap(), &mut || Ok(()))
        .unwrap();
    assert_eq!(room.open_copy(&copy, &account), Ok(None));
}

#[test]
fn a_provider_of_its_own_is_refused_where_it_is_not_what_this_akm_wrote() {
    let room = Room::new();
    let account = room.session();
    let vault = &room.vault;
    let own = provider_id("own");
    vault
        .add_provider(&account, &own, "a record", 9, &mut || Ok(()))
        .unwrap();
    let read = "SELECT tag, id, record FROM providers";
    let good = room
        .hand()
        .query_row(read, [], |row| {
            Ok(ProviderRow {
                tag: row.get(0)?,
                id: row.get(1)?,
                record: row.get(2)?,
            })
        })
        .unwrap();
    let look = |plain: &str| {
        let ad = room.ad(&account, Field::Provider, &good.id);
        let key = crypto::derive(&account.vault_key, "providers");
        let random = &*vault.host.random;
        let sealed = crypto::seal_padded(random, &key, &ad, plain.as_bytes(), 1024).unwrap();
        room.hand()
            .execute("UPDATE providers SET record = ?1", [sealed])
            .unwrap();
        let rows = room.rows();
        let one = vault.provider(&account, &own).map_err(|error| error.kind());
        let all = vault.providers(&account).map_err(|error| error.kind());
        assert_eq!(one.clone().err(), all.err());
        if let Err(expected) = one {
            let removed = vault.remove_provider(&account, &own, &mut || Ok(()));
            assert_eq!(kind(removed), expected);
            assert!(room.rows() == rows);
        }
        one
    };
    let record = |format: u8, name: &str| {
        format!(r#"{{"format":{format},"provider":"{name}","record":"a record"}}"#)
    };
    assert_eq!(
        look(&record(1, "own")),
        Ok(Some("a record".into())),
        "control"
    );
    assert_eq!(look(&record(2, "own")), Err(Kind::UnsupportedVersion));
    assert_eq!(look(&record(1, "another")), Err(Kind::Corrupt));
    assert_eq!(look(&record(1, "Not One")), Err(Kind::Corrupt));
    assert_eq!(look(r#"{"format":1}"#), Err(Kind::Corrupt));
    // One that another account sealed, or that was cut, does not open.
    for broken in [vec![], good.record[..good.record.len() - 1].to_vec()] {
        room.hand()
            .execute("UPDATE providers SET record = ?1", [broken])
            .unwrap();
        assert_eq!(kind(vault.provider(&account, &own)), Kind::Corrupt);
    }
    room.sql("DELETE FROM providers");
    assert_eq!(vault.provider(&account, &own), Ok(None));
    let removed = vault.remove_provider(&account, &own, &mut || Ok(()));
    assert_eq!(removed, Ok(None));
}

#[test]
fn a_last_test_of_an_unknown_shape_or_format_is_refused_and_an_older_secrets_is_none() {
    let room = Room::new();
    room.filled();
    let account = room.session();
    let vault = &room.vault;
    let opened = room.find(&account, "openai/work").unwrap();
    assert_eq!(vault.last_test(&account, &opened.record), Ok(None));
    let keep = |outcome| vault.keep_test(&account, &opened.record, outcome);
    keep(Outcome::Valid).unwrap();
    let look = |plain: &str| {
        let ad = room
            .ad(&account, Field::LastTest, &opened.record.id)
            .version(2);
        let random = &*vault.host.random;
        let sealed =
            crypto::seal_padded(random, &account.vault_key, &ad, plain.as_bytes(), 128).unwrap();
        room.hand()
            .execute("UPDATE last_tests SET sealed = ?1", [sealed])
            .unwrap();
        vault
            .last_test(&account, &opened.record)
            .map_err(|error| error.kind())
    };
    let test = LastTest {
        outcome: Outcome::Invalid,
        at: 5,
    };
    let good = r#"{"format":1,"outcome":"invalid","at":5}"#;
    assert_eq!(look(good), Ok(Some(test)), "control");
    assert_eq!(
        look(r#"{"format":2,"outcome":"invalid","at":5}"#),
        Err(Kind::UnsupportedVersion)
    );
    assert_eq!(look(r#"{"format":1,"at":5}"#), Err(Kind::Corrupt));
    // Put beside another version than it is bound to.
    look(good).unwrap();
    room.sql("UPDATE last_tests SET secret_version = 1");
    assert_eq!(vault.last_test(&account, &opened.record), Ok(None));
    let old = Record {
        secret_version: 1,
        ..opened.record.clone()
    };
    assert_eq!(kind(vault.last_test(&account, &old)), Kind::Corrupt);
}

#[test]
fn the_last_tests_of_a_page_stand_beside_their_own_keys() {
    let room = Room::new();
    room.filled();
    let account = room.session();
    room.add(&account, "deepseek/third");
    let vault = &room.vault;
    let (records, _) = vault
        .list_keys(&account, None, None, 100, &|_| true, Damage::Fails)
        .unwrap();
    assert!(records.len() >= 3, "control");
    assert_eq!(vault.last_tests(&account, &[]), Ok(Vec::new()));
    let last = records.last().unwrap();
    let first = &records[0];
    let outcomes = |records: &[Record]| -> Vec<Option<Outcome>> {
        let tests = vault.last_tests(&account, records).unwrap();
        tests
            .into_iter()
            .map(|test| test.map(|test| test.outcome))
            .collect()
    };
    assert_eq!(outcomes(&records), vec![None; records.len()]);
    vault.keep_test(&account, first, Outcome::Valid).unwrap();
    vault.keep_test(&account, last, Outcome::Invalid).unwrap();
    let mut expected = vec![None; records.len()];
    expected[0] = Some(Outcome::Valid);
    expected[records.len() - 1] = Some(Outcome::Invalid);
    assert_eq!(outcomes(&records), expected);
    // Of keys between which others lie, and of a part.
    let ends = [first.clone(), last.clone()];
    assert_eq!(
        outcomes(&ends),
        [Some(Outcome::Valid), Some(Outcome::Invalid)]
    );
    assert_eq!(outcomes(&records[1..]), expected[1..]);
    assert_eq!(outcomes(&records[1..2]), [None]);
}

#[test]
fn a_long_secret_is_never_kept_ready() {
    let room = Room::new();
    let account = room.session();
    for (name, length, ready) in [("openai/short", 100, true), ("openai/long", 2000, false)] {
        let key = NewKey {
            secret: text(&"x".repeat(length)),
            ..new_key(name)
        };
        room.vault
            .add_keys(&account, &[key], None, &mut |_| Ok(()))
            .unwrap();
        let opened = room.find(&account, name).unwrap();
        let secret = room.vault.open_and_keep(&account, &opened).unwrap();
        assert_eq!(secret.len(), length);
        let kept = room.vault.ready_key(&account, &key_name(name));
        assert_eq!(kept.is_some(), ready, "{name}");
        if let Some(kept) = kept {
            assert_eq!(kept.open().unwrap().len(), length);
        }
    }
}

#[test]
fn whoever_moves_rows_about_during_a_rekey_stops_it_and_loses_nothing() {
    let room = Room::new();
    room.filled();
    let account = room.session();
    let new = room
        .vault
        .prepare_rekey(&room.step_up(), &passphrase(), None);
    let (account, _) = {
        let begun = room
            .vault
            .begin_rekey(new.unwrap().unwrap(), &mut || Ok(()));
        drop(account);
        begun.unwrap()
    };
    let slice = || {
        let rows = room.rows();
        let slice = room.vault.rekey_slice(&account, 100, &mut || Ok(()));
        let refused = slice.map(|slice| slice.unwrap().done);
        assert!(refused.is_ok() || room.rows() == rows);
        refused.map_err(|error| error.kind())
    };
    // A key that neither the new keys nor the old ones wrapped.
    let read = "SELECT wrapped_key FROM keys ORDER BY id LIMIT 1";
    let wrapped: Vec<u8> = room.hand().query_row(read, [], |row| row.get(0)).unwrap();
    let put = |wrapped: &[u8]| {
        let first = "UPDATE keys SET wrapped_key = ?1 WHERE id = (SELECT min(id) FROM keys)";
        assert_eq!(room.hand().execute(first, [wrapped]).unwrap(), 1);
    };
    let mut flipped = wrapped.clone();
    flipped[70] ^= 1;
    put(&flipped);
    assert_eq!(slice(), Err(Kind::Corrupt));
    let mut newer = wrapped.clone();
    newer[0] = 9;
    put(&newer);
    assert_eq!(slice(), Err(Kind::UnsupportedVersion));
    put(&wrapped);
    // Tags of one record at another: the name is not the one that is sealed.
    let read = "SELECT tag FROM keys ORDER BY id LIMIT 1";
    let tag: Vec<u8> = room.hand().query_row(read, [], |row| row.get(0)).unwrap();
    let set = |tag: &[u8]| {
        let first = "UPDATE keys SET tag = ?1 WHERE id = (SELECT min(id) FROM keys)";
        assert_eq!(room.hand().execute(first, [tag]).unwrap(), 1);
    };
    set(&[7; 32]);
    assert_eq!(slice(), Err(Kind::Corrupt));
    set(&tag);
    assert_eq!(slice(), Ok(false), "control");
    assert_eq!(slice(), Ok(true), "control: it ends");
    let opened = room.find(&account, "openai/work").unwrap();
    let secret = room.vault.open_secret(&account, &opened).unwrap();
    assert_eq!(secret.expose(), "sk-0123456789abcdef-two");
}
