//! Which history of an account counts: what is put back, forged or taken up again, from several sessions and machines.

use super::*;

#[test]
fn a_manifest_that_is_none_is_refused_at_every_door() {
    let (room, codes) = Room::with_codes();
    room.filled();
    let read = "SELECT manifest FROM accounts";
    let good: Vec<u8> = room.hand().query_row(read, [], |row| row.get(0)).unwrap();
    let put = |manifest: &[u8]| {
        let set = "UPDATE accounts SET manifest = ?1";
        room.hand().execute(set, [manifest]).unwrap();
    };
    let flipped = |at: usize| {
        let mut manifest = good.clone();
        manifest[at] ^= 1;
        manifest
    };
    let mut newer = good.clone();
    newer[0] = 2;
    let copy = |name: &str| SqliteStore::open_copy(&room.backup(name), false).unwrap();
    for (index, (manifest, expected)) in [
        (vec![], Kind::Corrupt),
        (newer, Kind::UnsupportedVersion),
        (good[..good.len() - 1].to_vec(), Kind::Corrupt),
        ([&good[..], &[0]].concat(), Kind::Corrupt),
        (flipped(8), Kind::Corrupt),
        (flipped(24), Kind::Corrupt),
        (flipped(120), Kind::Corrupt),
    ]
    .into_iter()
    .enumerate()
    {
        put(&manifest);
        let rows = room.rows();
        assert_eq!(kind(room.sign_in()), expected, "{index}");
        room.clock.advance(Duration::from_secs(3600));
        let recovered =
            room.vault
                .recover(NAME, &codes[0], &passphrase(), Origin::Owner, &mut |_| {
                    Ok(())
                });
        assert_eq!(kind(recovered), expected, "{index}");
        // A restore is announced by what a file claims, so only what can be read is announced.
        let announced = announce_restore(room.home.path(), &copy(&format!("{index}.db")));
        let readable = manifest.len() == good.len() && manifest[0] == 1;
        assert_eq!(announced.map_err(|error| error.kind()).is_ok(), readable);
        assert!(room.rows() == rows);
    }
    put(&good);
    drop(room.session());
}

#[test]
fn whoever_is_open_already_notices_that_the_file_is_another_one() {
    let room = Room::new();
    room.filled();
    let old = room.backup("old.db");
    let first = room.session();
    room.rotate(&first, "openai/work", "sk-0123456789abcdef-three");
    let second = room.session();
    assert_eq!(second.notice(), Notice::None, "control");
    room.put_back(&old);
    let rows = room.rows();
    // A new sign-in next to one that is open; the rules, which are read once; a change by the one that is open.
    assert_eq!(kind(room.sign_in()), Kind::RolledBack);
    assert_eq!(kind(room.vault.rules(&first)), Kind::RolledBack);
    let mut change = |_: &mut Rules| Ok(());
    let changed = room.vault.change_rules(&first, &mut change, &mut || Ok(()));
    assert_eq!(kind(changed), Kind::Conflict);
    let added = room
        .vault
        .add_keys(&first, &[new_key("openai/new")], None, &mut |_| Ok(()));
    assert_eq!(kind(added), Kind::RolledBack);
    let mut check = Check::default();
    room.vault.check_slice(&first, &mut check).unwrap();
    assert!(check.broken, "{check:?}");
    assert!(room.rows() == rows);
    // Whoever accepts it goes on with it; the sessions share what counts, so the older ones go on as well.
    let accepted = room.sign_in_with(None, None, true).unwrap();
    assert_eq!(accepted.notice(), Notice::Accepted);
    room.vault.move_on(&accepted, &mut || Ok(())).unwrap();
    for session in [&first, &second, &room.session()] {
        let found = room.find(session, "openai/work").unwrap();
        assert_eq!(found.record.secret_version, 2);
    }
}

#[test]
fn a_forged_manifest_can_be_accepted_but_not_by_whoever_has_the_keys_before() {
    let room = Room::new();
    room.filled();
    let old_session = room.session();
    let open = room.session();
    room.sql("UPDATE accounts SET manifest = CAST(x'01' || randomblob(120) AS BLOB)");
    let refused = refusal(room.sign_in());
    assert_eq!(refused.kind(), Kind::Corrupt);
    assert!(
        refused
            .hint()
            .is_some_and(|hint| hint.contains("--accept-rollback"))
    );
    let accepted = room.sign_in_with(None, None, true).unwrap();
    assert_eq!(accepted.notice(), Notice::Accepted);
    room.vault.move_on(&accepted, &mut || Ok(())).unwrap();
    assert_eq!(room.session().notice(), Notice::None);
    drop(accepted);

    // New keys: whoever opened the account before them signs for it no more.
    let new = room
        .vault
        .prepare_rekey(&room.step_up(), &passphrase(), None);
    let (account, _) = room
        .vault
        .begin_rekey(new.unwrap().unwrap(), &mut || Ok(()))
        .unwrap();
    let rows = room.rows();
    let added = room
        .vault
        .add_keys(&open, &[new_key("openai/new")], None, &mut |_| Ok(()));
    let error = refusal(added);
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(error.message(), "the account got new keys meanwhile");
    let removed = room.vault.disable_totp(&room.step_up(), &mut || Ok(()));
    assert_eq!(kind(removed), Kind::Conflict);
    let mut change = |_: &mut Rules| Ok(());
    let changed = room.vault.change_rules(&open, &mut change, &mut || Ok(()));
    assert!(changed.is_err());
    assert_eq!(
        kind(room.vault.check_current(&open)),
        Kind::WrongCredentials
    );
    // Not even over a manifest that nobody signed.
    room.sql("UPDATE accounts SET manifest = CAST(x'01' || randomblob(120) AS BLOB)");
    let moved = room.vault.move_on(&old_session, &mut || Ok(()));
    assert_eq!(kind(moved), Kind::Conflict);
    let expected = rows["keys"].clone();
    assert!(room.rows()["keys"] == expected);
    let accepted = room.sign_in_with(None, None, true).unwrap();
    room.vault.move_on(&accepted, &mut || Ok(())).unwrap();
    room.add(&account, "openai/new");
    drop((old_session, open, accepted, account));
    let account = room.session();
    assert!(room.find(&account, "openai/new").is_ok(), "control");
    assert!(room.find(&account, "openai/work").is_ok(), "control");
}

#[test]
fn a_machine_without_anchors_takes_what_it_gets_and_can_still_move_on() {
    let mut room = Room::new();
    room.vault.anchors = None;
    room.filled();
    let old = room.backup("old.db");
    room.rotate(&room.session(), "openai/work", "sk-three");
    room.put_back(&old);
    assert_eq!(room.session().notice(), Notice::None, "nobody can know");
    room.sql("DELETE FROM tree");
    let accepted = room.sign_in_with(None, None, true).unwrap();
    assert_eq!(accepted.notice(), Notice::Accepted);
    assert_eq!(kind(room.find(&accepted, "openai/work")), Kind::RolledBack);
    room.vault.move_on(&accepted, &mut || Ok(())).unwrap();
    drop(accepted);
    let account = room.session();
    assert_eq!(account.notice(), Notice::None);
    assert!(room.find(&account, "openai/work").is_ok());
    assert_eq!(room.vault.records(&account), Ok(2));
    assert_eq!(room.vault.sync_anchors(), Ok(()));
}

#[test]
fn one_row_of_rubbish_does_not_keep_the_owner_out_of_the_others() {
    let room = Room::new();
    room.filled();
    for rubbish in ["x''", "x'0101'", "randomblob(600)"] {
        room.sql(&format!(
            "UPDATE keys SET meta = CAST({rubbish} AS BLOB) WHERE id = (SELECT min(id) FROM keys)"
        ));
        room.sql("UPDATE accounts SET manifest = CAST(x'01' || randomblob(120) AS BLOB)");
        let account = room.sign_in_with(None, None, true).unwrap();
        assert_eq!(account.notice(), Notice::Accepted);
        room.vault.move_on(&account, &mut || Ok(())).unwrap();
        drop(account);
        let account = room.session();
        assert_eq!(account.notice(), Notice::None, "{rubbish}");
        let found = ["openai/work", "google/home"].map(|name| room.find(&account, name));
        let good = found.iter().filter(|found| found.is_ok()).count();
        assert_eq!(good, 1, "{rubbish}");
        let mut check = Check::default();
        room.vault.check_slice(&account, &mut check).unwrap();
        // Where it might be a record it is in the tree; what is none is said to be none.
        let foreign = usize::from(!rubbish.contains("600"));
        assert_eq!((check.foreign.len(), check.missing.len()), (foreign, 0));
        assert_eq!((check.seen, check.stale.len()), (2, 0));
        assert_eq!(room.vault.records(&account), Ok(2 - foreign as u64));
    }
}

#[test]
fn a_change_on_a_restored_account_begins_a_new_epoch() {
    let room = Room::new();
    room.filled();
    let old = room.backup("old.db");
    room.rotate(&room.session(), "openai/work", "sk-three");
    let newer = room.backup("newer.db");
    let store = SqliteStore::open_copy(&old, false).unwrap();
    announce_restore(room.home.path(), &store).unwrap();
    room.put_back(&old);
    let epoch = |room: &Room| {
        let id = room.step_up().row.id;
        let row = room.store.account(&id).unwrap().unwrap();
        claimed_position(&row).unwrap().epoch
    };
    assert_eq!(epoch(&room), 1);
    // Nobody has unlocked it; the change itself is what moves it on.
    room.vault
        .replace_codes(&room.step_up(), &mut || Ok(()))
        .unwrap();
    assert_eq!(epoch(&room), 2);
    assert_eq!(room.session().notice(), Notice::None);
    room.put_back(&newer);
    assert_eq!(
        kind(room.sign_in()),
        Kind::RolledBack,
        "the one before the restore is the older one now"
    );
}

#[test]
fn what_was_not_checked_is_not_used() {
    let room = Room::new();
    let proof = room.step_up();
    let unchecked = || {
        room.vault
            .open_account(&proof.row, &proof.root, None)
            .unwrap()
    };
    let account = unchecked();
    let mut check = Check::default();
    assert_eq!(kind(room.vault.records(&account)), Kind::Internal);
    assert_eq!(
        kind(room.vault.check_slice(&account, &mut check)),
        Kind::Internal
    );
    assert_eq!(kind(room.vault.rules(&account)), Kind::RolledBack);
    let session = room.session();
    assert_eq!(room.vault.records(&account), Ok(0), "control: shared");
    room.add(&session, "openai/work");
}

#[test]
fn a_restored_account_moves_on_without_its_codes_and_an_accepted_one_keeps_them() {
    let (room, codes) = Room::with_codes();
    room.filled();
    let recover = |code: usize| {
        let new = passphrase();
        room.vault
            .recover(NAME, &codes[code], &new, Origin::Owner, &mut |_| Ok(()))
            .map(|recovered| recovered.codes_left)
    };
    let old = room.backup("old.db");
    assert_eq!(recover(0), Ok(7));
    // An owner who accepts an older state has its codes again, the one that was used as well.
    room.put_back(&old);
    let accepted = room.sign_in_with(None, None, true).unwrap();
    assert_eq!(accepted.notice(), Notice::Accepted);
    room.vault.move_on(&accepted, &mut || Ok(())).unwrap();
    drop(accepted);
    assert_eq!(recover(0), Ok(7));
    // A restore voids them; until somebody has signed in they are good for nothing either.
    let store = SqliteStore::open_copy(&old, false).unwrap();
    announce_restore(room.home.path(), &store).unwrap();
    room.put_back(&old);
    assert_eq!(kind(recover(1)), Kind::WrongCredentials);
    let restored = room.session();
    assert_eq!(restored.notice(), Notice::Restored);
    let refused = room
        .vault
        .move_on(&restored, &mut || Err(Error::new(Kind::Io, "no event")));
    assert_eq!(kind(refused), Kind::Io);
    room.vault.move_on(&restored, &mut || Ok(())).unwrap();
    drop(restored);
    assert_eq!(kind(recover(1)), Kind::WrongCredentials);
    let account = room.session();
    assert_eq!(account.notice(), Notice::None);
    assert_eq!(room.store.inner().slots(account.id()).unwrap().len(), 1);
    assert!(room.find(&account, "openai/work").is_ok());
}

#[test]
fn a_check_names_what_is_missing_foreign_and_older_and_of_much_of_it_only_some() {
    let room = Room::new();
    let account = room.session();
    let keys: Vec<NewKey> = (0..150).map(|n| new_key(&format!("openai/{n}"))).collect();
    let check = || {
        let mut check = Check::default();
        let mut slices = 0;
        while !check.done {
            room.vault.check_slice(&account, &mut check).unwrap();
            slices += 1;
        }
        // Nothing more is done by another call.
        let done = check.clone();
        room.vault.check_slice(&account, &mut check).unwrap();
        assert_eq!((&check, check.next()), (&done, None));
        (check, slices)
    };
    room.vault
        .add_keys(&account, &keys, None, &mut |_| Ok(()))
        .unwrap();
    let (clean, slices) = check();
    assert!(clean.is_clean(), "control: {clean:?}");
    assert_eq!((clean.seen, slices), (150, 2), "128 at a time");
    let counts = |check: &Check| {
        (
            check.foreign.len(),
            check.missing.len(),
            check.stale.len(),
            check.broken,
        )
    };
    let hand = room.hand();
    hand.execute_batch(
        "CREATE TEMP TABLE kept AS SELECT * FROM keys;
         DELETE FROM keys WHERE id = (SELECT min(id) FROM keys);
         UPDATE keys SET meta = x'00' WHERE id = (SELECT max(id) FROM keys);",
    )
    .unwrap();
    assert_eq!(counts(&check().0), (0, 1, 1, false));
    hand.execute_batch(
        "INSERT INTO keys SELECT account, randomblob(16), randomblob(32), provider_tag, status,
             secret_version, meta_version, last_used_at, wrapped_key, meta, secret
         FROM kept LIMIT 3",
    )
    .unwrap();
    let (found, _) = check();
    assert_eq!(counts(&found), (3, 1, 1, false));
    assert!(!found.is_clean());
    hand.execute_batch("DELETE FROM keys").unwrap();
    assert_eq!(counts(&check().0), (0, 100, 0, false), "of 150");
}

#[test]
fn a_check_opens_every_row_whole() {
    const PUT_BACK: &str = "DELETE FROM history; DELETE FROM keys;
         INSERT INTO keys SELECT * FROM kept; INSERT INTO history SELECT * FROM kept_history";
    let room = Room::new();
    room.filled();
    let account = room.session();
    let hand = room.hand();
    let found = || {
        let mut check = Check::default();
        while !check.done {
            room.vault.check_slice(&account, &mut check).unwrap();
        }
        let others = check.missing.len() + check.foreign.len() + check.stale.len();
        assert_eq!((others, check.seen), (0, 2));
        check.unreadable.len()
    };
    assert_eq!(found(), 0, "control");
    hand.execute_batch(
        "CREATE TEMP TABLE kept AS SELECT * FROM keys; CREATE TEMP TABLE kept_history AS SELECT * FROM history;",
    )
    .unwrap();
    // The last byte is of the cipher's tag: the mark in the tree stays.
    let flipped = |column: &str| {
        let other = format!("CASE substr({column}, -1) WHEN x'00' THEN x'01' ELSE x'00' END");
        format!("{column} = CAST(substr({column}, 1, length({column}) - 1) || {other} AS BLOB)")
    };
    let mut changes: Vec<String> = ["wrapped_key", "meta", "secret"]
        .iter()
        .map(|column| format!("UPDATE keys SET {}", flipped(column)))
        .collect();
    for column in [
        "status = status % 3 + 1",
        "secret_version = secret_version + 1",
        "tag = randomblob(32)",
        "provider_tag = randomblob(32)",
    ] {
        changes.push(format!("UPDATE keys SET {column}"));
    }
    for change in &changes {
        hand.execute_batch(change).unwrap();
        assert_eq!(found(), 2, "{change}");
        hand.execute_batch(PUT_BACK).unwrap();
        assert_eq!(found(), 0, "control");
    }
    // Of one key only: the other has no replaced secret.
    for change in [
        "DELETE FROM history".to_owned(),
        "UPDATE history SET version = 2".to_owned(),
        format!("UPDATE history SET {}", flipped("meta")),
        format!("UPDATE history SET {}", flipped("secret")),
    ] {
        hand.execute_batch(PUT_BACK).unwrap();
        hand.execute_batch(&change).unwrap();
        assert_eq!(found(), 1, "{change}");
    }
}
