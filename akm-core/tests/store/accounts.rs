//! Accounts, slots, TOTP steps and attempts: success, conflict, and that a refused change leaves nothing.

use akm_core::Kind;
use akm_core::store::{AccountChange, Attempts, ProfileChange, Store};

use crate::support::*;

#[test]
fn a_vault_keeps_its_id_and_two_vaults_differ() {
    let first = vault();
    let id = first.store.vault_id();
    assert_ne!(id, vault().store.vault_id());
    let (path, _dir) = first.close();
    assert_eq!(open(&path).unwrap().vault_id(), id);
}

#[test]
fn an_account_reads_back_as_written_after_reopening() {
    let vault = vault();
    let mut row = account("默认");
    row.totp_active = true;
    row.totp_step = 57_000_000;
    let slots = [slot(0), slot(1), slot(7)];
    // Out of order on the way in.
    let given = [slots[2].clone(), slots[0].clone(), slots[1].clone()];
    vault
        .store
        .create_account(&row, &given, &mut done())
        .unwrap();

    let (path, _dir) = vault.close();
    let store = open(&path).unwrap();
    assert_eq!(store.account_count().unwrap(), 1);
    assert_eq!(store.account(&row.id).unwrap().as_ref(), Some(&row));
    assert_eq!(store.account_by_name("默认").unwrap().as_ref(), Some(&row));
    assert_eq!(store.slots(&row.id).unwrap(), slots);

    assert_eq!(store.account(&random()).unwrap(), None);
    assert_eq!(store.account_by_name("default").unwrap(), None);
    assert_eq!(store.slots(&random()).unwrap(), []);
    assert_eq!(store.key_count(&random()).unwrap(), 0);
}

#[test]
fn a_taken_account_name_is_a_conflict_and_changes_nothing() {
    let vault = vault();
    let first = add_account(&vault.store, "ada");
    let second = account("ada");
    let slots = [slot(0)];
    let result = vault.store.create_account(&second, &slots, &mut done());
    assert_eq!(kind(result), Kind::Conflict);
    assert_eq!(vault.store.account_count().unwrap(), 1);
    assert_eq!(vault.store.slots(&second.id).unwrap(), []);
    assert_eq!(
        vault.store.account_by_name("ada").unwrap().unwrap().id,
        first
    );
}

#[test]
fn an_account_changes_all_or_nothing() {
    let vault = vault();
    let store = &vault.store;
    let row = account("ada");
    let old = [slot(0), slot(1), slot(2)];
    store.create_account(&row, &old, &mut done()).unwrap();

    let new = slot(0);
    let change = AccountChange {
        remove_slots: vec![2],
        put_slots: vec![new.clone(), slot(3)],
        profile: Some(ProfileChange {
            from_version: 1,
            profile: b"second".to_vec(),
            totp_active: true,
            totp_step: Some(100),
        }),
        ..AccountChange::default()
    };
    store
        .change_account(&row.id, &change, &untracked(), &mut done())
        .unwrap();
    let after = store.account(&row.id).unwrap().unwrap();
    assert_eq!(
        (after.profile.as_slice(), after.profile_version),
        (&b"second"[..], 2)
    );
    assert!(after.totp_active);
    assert_eq!(after.totp_step, 100);
    let slots = store.slots(&row.id).unwrap();
    assert_eq!(
        slots.iter().map(|slot| slot.slot).collect::<Vec<_>>(),
        [0, 1, 3]
    );
    assert_eq!(slots[0], new);

    // The same change again: slot 2 is gone, and version 1 is no longer the stored one.
    let again = store.change_account(&row.id, &change, &untracked(), &mut done());
    assert_eq!(kind(again), Kind::Conflict);
    let stale = AccountChange {
        put_slots: vec![slot(9)],
        profile: change.profile.clone(),
        ..AccountChange::default()
    };
    assert_eq!(
        kind(store.change_account(&row.id, &stale, &untracked(), &mut done())),
        Kind::Conflict
    );
    assert_eq!(store.slots(&row.id).unwrap(), slots);
    assert_eq!(store.account(&row.id).unwrap().unwrap(), after);

    let nobody = store.change_account(
        &random(),
        &AccountChange::default(),
        &untracked(),
        &mut done(),
    );
    assert_eq!(kind(nobody), Kind::NotFound);
}

#[test]
fn the_totp_step_never_moves_backwards_but_for_a_new_secret() {
    let vault = vault();
    let store = &vault.store;
    let id = add_account(store, "ada");
    assert!(store.use_totp_step(&id, 100).unwrap());
    assert!(!store.use_totp_step(&id, 100).unwrap());
    assert!(!store.use_totp_step(&id, 99).unwrap());
    assert!(store.use_totp_step(&id, 101).unwrap());
    let change = |totp_step| AccountChange {
        profile: Some(ProfileChange {
            from_version: store.account(&id).unwrap().unwrap().profile_version,
            profile: b"p".to_vec(),
            totp_active: true,
            totp_step,
        }),
        ..AccountChange::default()
    };
    store
        .change_account(&id, &change(None), &untracked(), &mut done())
        .unwrap();
    assert_eq!(store.account(&id).unwrap().unwrap().totp_step, 101);
    // But for a new secret, with which no step was used.
    store
        .change_account(&id, &change(Some(50)), &untracked(), &mut done())
        .unwrap();
    assert_eq!(store.account(&id).unwrap().unwrap().totp_step, 50);
    assert!(!store.use_totp_step(&id, 50).unwrap());
    assert!(store.use_totp_step(&id, 51).unwrap());
    assert_eq!(kind(store.use_totp_step(&random(), 1)), Kind::NotFound);
}

#[test]
fn a_totp_step_is_used_once_by_many_at_once() {
    let vault = vault();
    let id = add_account(&vault.store, "ada");
    assert_eq!(race(8, |_| vault.store.use_totp_step(&id, 7).unwrap()), 1);
}

#[test]
fn attempts_are_counted_across_reopening_and_forgotten_after_success() {
    let vault = vault();
    let (tag, other) = (random(), random());
    let fail = |store: &dyn Store, tags: &[[u8; 32]]| {
        let mut before = Vec::new();
        store
            .change_attempts(tags, &mut |rows| {
                before = rows.to_vec();
                for row in rows {
                    row.blocked_until = 1000 * i64::from(row.failures);
                    row.failures += 1;
                }
            })
            .unwrap();
        before
    };
    fail(&vault.store, &[tag]);
    fail(&vault.store, &[tag]);
    fail(&vault.store, &[other]);
    let (path, _dir) = vault.close();
    let store = open(&path).unwrap();
    // Both in one transaction, each its own.
    let seen = fail(&store, &[tag, other]);
    assert_eq!((seen[0].failures, seen[0].blocked_until), (2, 1000));
    assert_eq!(seen[1].failures, 1);

    // What is not changed stays.
    let mut calls = 0;
    store
        .change_attempts(&[tag, other], &mut |rows| {
            calls += 1;
            assert_eq!(rows[0].failures, 3);
            rows[0] = Attempts::default();
        })
        .unwrap();
    assert_eq!(calls, 1);
    let seen = fail(&store, &[tag, other]);
    assert_eq!(seen[0], Attempts::default());
    assert_eq!(seen[1].failures, 2);
}

#[test]
fn attempts_at_once_are_all_counted() {
    let vault = vault();
    let tag = random();
    race(8, |_| {
        let count = &mut |rows: &mut [Attempts]| rows[0].failures += 1;
        vault.store.change_attempts(&[tag], count).is_ok()
    });
    let mut failures = 0;
    vault
        .store
        .change_attempts(&[tag], &mut |rows| failures = rows[0].failures)
        .unwrap();
    assert_eq!(failures, 8);
}

#[test]
fn no_more_are_familiar_than_may_be_and_only_to_an_account() {
    let vault = vault();
    let (ada, bob) = (
        add_account(&vault.store, "ada"),
        add_account(&vault.store, "bob"),
    );
    let tags: Vec<[u8; 32]> = (0..3).map(|_| random()).collect();
    for _ in 0..2 {
        for tag in &tags {
            vault.store.add_familiar(&ada, tag, 2).unwrap();
        }
    }
    let mut found = vault.store.familiar(&ada).unwrap();
    found.sort();
    let mut expected = tags[..2].to_vec();
    expected.sort();
    assert_eq!(found, expected);
    assert!(vault.store.familiar(&bob).unwrap().is_empty());
    assert!(vault.store.add_familiar(&random(), &tags[0], 2).is_err());
}

#[test]
fn in_place_of_a_name_nobody_has_stands_the_next_account_by_id() {
    let vault = vault();
    let store = &vault.store;
    assert!(store.account_or_other("ada", &[0; 16]).unwrap().is_none());
    let mut ids: Vec<_> = ["ada", "bob", "chen"]
        .iter()
        .map(|name| add_account(store, name))
        .collect();
    let bob = ids[1];
    ids.sort();
    let found =
        |name: &str, other: &[u8; 16]| store.account_or_other(name, other).unwrap().unwrap().id;
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(found("nobody", id), *id);
        let mut after = u128::from_be_bytes(*id);
        after += 1;
        assert_eq!(found("nobody", &after.to_be_bytes()), ids[(index + 1) % 3]);
        assert_eq!(found("bob", id), bob, "who is there is found");
    }
    assert_eq!(found("", &[0xff; 16]), ids[0]);
}
