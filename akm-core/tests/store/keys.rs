//! Keys and their history: success, conflict, limit, pages, and what runs before the commit.

use akm_core::store::{AccountChange, HistoryRow, Id, ProfileChange, Store};
use akm_core::{Error, Kind};

use crate::support::*;

#[test]
fn keys_read_back_as_written_and_only_for_their_account() {
    let vault = vault();
    let store = &vault.store;
    let (ada, bob) = (add_account(store, "ada"), add_account(store, "bob"));
    let mut row = key(&ada);
    row.head.status = 255;
    row.head.last_used_at = Some(-5);
    row.secret = vec![7; 20_000];
    let batch = [row.clone(), key(&ada), key(&ada)];
    store
        .insert_keys(&batch, None, &untracked(), &mut done())
        .unwrap();
    for row in &batch {
        assert_eq!(stored(store, row).as_ref(), Some(row));
    }
    assert_eq!(store.key_by_tag(&bob, &row.head.tag).unwrap(), None);
    assert_eq!(store.key_by_tag(&ada, &NO_TAG).unwrap(), None);
    assert_eq!(store.key_count(&ada).unwrap(), 3);
    assert_eq!(store.key_count(&bob).unwrap(), 0);

    // Another account may have the same tag.
    let mut same = key(&bob);
    same.head.tag = row.head.tag;
    insert(store, &same, &mut done()).unwrap();
    assert_eq!(stored(store, &same).unwrap(), same);
    assert_eq!(stored(store, &row).unwrap(), row);
}

#[test]
fn inserting_is_all_or_none() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let first = add_key(store, &ada);
    let mut taken = key(&ada);
    taken.head.tag = first.head.tag;
    let batch = [key(&ada), taken, key(&ada)];
    let result = store.insert_keys(&batch, None, &untracked(), &mut done());
    assert_eq!(kind(result), Kind::Conflict);
    assert_eq!(stored(store, &batch[0]), None);
    assert_eq!(stored(store, &first).unwrap(), first);
    assert_eq!(store.key_count(&ada).unwrap(), 1);

    let lost = insert(store, &key(&random()), &mut done());
    assert_eq!(kind(lost), Kind::NotFound);
    let bob = add_account(store, "bob");
    let mixed = [key(&ada), key(&bob)];
    let mixed = store.insert_keys(&mixed, None, &untracked(), &mut done());
    assert_eq!(kind(mixed), Kind::Internal);
    assert_eq!(store.key_count(&ada).unwrap(), 1);
}

#[test]
fn the_limit_is_the_last_place_and_counts_removals() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let batch = [key(&ada), key(&ada)];
    store
        .insert_keys(&batch, Some(2), &untracked(), &mut done())
        .unwrap();
    let more = [key(&ada)];
    let past = store.insert_keys(&more, Some(2), &untracked(), &mut done());
    assert_eq!(kind(past), Kind::LimitReached);
    assert_eq!(stored(store, &more[0]), None);
    assert_eq!(store.key_count(&ada).unwrap(), 2);
    store
        .remove_key(&ada, &batch[0].head.id, 1, &untracked(), &mut done())
        .unwrap();
    assert_eq!(store.key_count(&ada).unwrap(), 1);
    store
        .insert_keys(&more, Some(2), &untracked(), &mut done())
        .unwrap();
}

#[test]
fn of_many_at_once_exactly_one_gets_the_last_place() {
    let vault = vault();
    let ada = add_account(&vault.store, "ada");
    let rows: Vec<_> = (0..12).map(|_| key(&ada)).collect();
    for row in &rows[..3] {
        insert(&vault.store, row, &mut done()).unwrap();
    }
    let passed = race(9, |index| {
        match vault
            .store
            .insert_keys(&rows[3 + index..][..1], Some(4), &untracked(), &mut done())
        {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), Kind::LimitReached);
                false
            }
        }
    });
    assert_eq!(passed, 1);
    assert_eq!(vault.store.key_count(&ada).unwrap(), 4);
    let page = vault.store.keys_page(&ada, None, None, 100).unwrap();
    assert_eq!(page.len(), 4);
}

fn history_row(version: u64) -> HistoryRow {
    HistoryRow {
        version,
        meta: random::<64>().to_vec(),
        secret: random::<160>().to_vec(),
    }
}

#[test]
fn an_update_replaces_the_record_and_keeps_its_history() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let old = add_key(store, &ada);
    let (first, second) = (history_row(1), history_row(2));
    let mut row = old.clone();
    for (version, history) in [(2, &first), (3, &second)] {
        let mut next = key(&ada);
        next.head.id = row.head.id;
        next.head.meta_version = version;
        next.head.secret_version = version;
        store
            .update_key(&next, version - 1, Some(history), &untracked(), &mut done())
            .unwrap();
        row = next;
    }
    assert_eq!(stored(store, &row).as_ref(), Some(&row));
    assert_eq!(stored(store, &old), None, "the old tag leads nowhere");
    let kept = store.history(&ada, &row.head.id).unwrap();
    assert_eq!(kept, [second, first.clone()]);
    assert_eq!(store.key_count(&ada).unwrap(), 1);

    // A version that is kept already is not overwritten.
    let mut next = row.clone();
    next.head.meta_version = 4;
    let again = store.update_key(&next, 3, Some(&first), &untracked(), &mut done());
    assert_eq!(kind(again), Kind::Conflict);
    assert_eq!(stored(store, &row).unwrap(), row);

    store
        .remove_key(&ada, &row.head.id, 3, &untracked(), &mut done())
        .unwrap();
    assert_eq!(stored(store, &row), None);
    assert_eq!(store.history(&ada, &row.head.id).unwrap(), []);
}

#[test]
fn a_stale_change_is_a_conflict_and_changes_nothing() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let row = add_key(store, &ada);
    let mut next = row.clone();
    next.head.meta_version = 2;
    next.secret = b"new".to_vec();
    let change =
        |row, from| store.update_key(row, from, Some(&history_row(1)), &untracked(), &mut done());

    // Nobody may change what they have not seen.
    let mut blind = next.clone();
    blind.head.meta_version = 8;
    assert_eq!(kind(change(&blind, 7)), Kind::Conflict);
    let stale = store.remove_key(&ada, &row.head.id, 7, &untracked(), &mut done());
    assert_eq!(kind(stale), Kind::Conflict);
    // Nor write a version that the next one could not tell from this.
    assert_eq!(kind(change(&row, 1)), Kind::Internal);
    // Nor change what is another account's.
    let bob = add_account(store, "bob");
    let mut foreign = next.clone();
    foreign.head.account = bob;
    assert_eq!(kind(change(&foreign, 1)), Kind::Conflict);
    let foreign = store.remove_key(&bob, &row.head.id, 1, &untracked(), &mut done());
    assert_eq!(kind(foreign), Kind::Conflict);
    let gone = store.remove_key(&ada, &random(), 1, &untracked(), &mut done());
    assert_eq!(kind(gone), Kind::Conflict);

    assert_eq!(stored(store, &row).unwrap(), row);
    assert_eq!(store.history(&ada, &row.head.id).unwrap(), []);
    assert_eq!(store.key_count(&ada).unwrap(), 1);

    change(&next, 1).unwrap();
    assert_eq!(stored(store, &row).unwrap(), next);
    assert_eq!(kind(change(&next, 1)), Kind::Conflict);
}

#[test]
fn a_name_taken_by_another_key_is_a_conflict() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let (row, other) = (add_key(store, &ada), add_key(store, &ada));
    let mut next = row.clone();
    next.head.tag = other.head.tag;
    next.head.meta_version = 2;
    let taken = store.update_key(&next, 1, None, &untracked(), &mut done());
    assert_eq!(kind(taken), Kind::Conflict);
    assert_eq!(stored(store, &row).unwrap(), row);
    assert_eq!(stored(store, &other).unwrap(), other);
}

#[test]
fn pages_follow_the_ids_and_lose_nothing() {
    let vault = vault();
    let store = &vault.store;
    let (ada, bob) = (add_account(store, "ada"), add_account(store, "bob"));
    let mut rows: Vec<_> = (0..23).map(|_| key(&ada)).collect();
    let provider = random();
    for row in rows.iter_mut().step_by(3) {
        row.head.provider_tag = provider;
    }
    store
        .insert_keys(&rows, None, &untracked(), &mut done())
        .unwrap();
    add_key(store, &bob);
    let mut heads: Vec<_> = rows.into_iter().map(|row| row.head).collect();
    heads.sort_by_key(|head| head.id);

    let walk = |provider: Option<&[u8; 32]>, limit| {
        let (mut all, mut after) = (Vec::new(), None::<Id>);
        loop {
            let page = store
                .keys_page(&ada, provider, after.as_ref(), limit)
                .unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else {
                return all;
            };
            after = Some(last.id);
            all.extend(page);
        }
    };
    for limit in [1, 5, 23, 100] {
        assert_eq!(walk(None, limit), heads);
        let of_provider: Vec<_> = heads
            .iter()
            .filter(|head| head.provider_tag == provider)
            .cloned()
            .collect();
        assert_eq!(of_provider.len(), 8);
        assert_eq!(walk(Some(&provider), limit), of_provider);
    }
    assert_eq!(store.keys_page(&ada, None, None, 0).unwrap(), []);
    assert_eq!(walk(Some(&NO_TAG), 10), []);
}

#[test]
fn an_error_before_the_commit_rolls_everything_back() {
    let vault = vault();
    let store = &vault.store;
    let row = account("ada");
    let refuse = || {
        let mut calls = 0;
        move || {
            calls += 1;
            assert_eq!(calls, 1);
            Err(Error::new(Kind::Io, "the event cannot be written"))
        }
    };
    let add = |before: &mut dyn FnMut() -> akm_core::Result<()>| {
        store.create_account(&row, &[slot(0)], before)
    };
    assert_eq!(kind(add(&mut refuse())), Kind::Io);
    assert_eq!(store.account_count().unwrap(), 0);
    assert_eq!(store.slots(&row.id).unwrap(), []);
    add(&mut done()).unwrap();

    let change = AccountChange {
        remove_slots: vec![0],
        put_slots: vec![slot(1)],
        profile: Some(ProfileChange {
            from_version: 1,
            profile: b"new".to_vec(),
            totp_active: true,
            totp_step: Some(5),
        }),
        ..AccountChange::default()
    };
    let slots = store.slots(&row.id).unwrap();
    let result = store.change_account(&row.id, &change, &untracked(), &mut refuse());
    assert_eq!(kind(result), Kind::Io);
    assert_eq!(store.account(&row.id).unwrap().unwrap(), row);
    assert_eq!(store.slots(&row.id).unwrap(), slots);

    let first = key(&row.id);
    assert_eq!(kind(insert(store, &first, &mut refuse())), Kind::Io);
    assert_eq!(stored(store, &first), None);
    assert_eq!(store.key_count(&row.id).unwrap(), 0);
    insert(store, &first, &mut done()).unwrap();

    let mut next = first.clone();
    next.head.meta_version = 2;
    let result = store.update_key(&next, 1, Some(&history_row(1)), &untracked(), &mut refuse());
    assert_eq!(kind(result), Kind::Io);
    let result = store.remove_key(&row.id, &first.head.id, 1, &untracked(), &mut refuse());
    assert_eq!(kind(result), Kind::Io);
    assert_eq!(stored(store, &first).unwrap(), first);
    assert_eq!(store.history(&row.id, &first.head.id).unwrap(), []);
    assert_eq!(store.key_count(&row.id).unwrap(), 1);
}

#[test]
fn what_runs_before_the_commit_sees_the_old_state_and_runs_only_after_success() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let row = key(&ada);
    let mut seen = None;
    insert(store, &row, &mut || {
        seen = Some(stored(store, &row));
        Ok(())
    })
    .unwrap();
    assert_eq!(
        seen,
        Some(None),
        "read through the store, not yet committed"
    );
    assert_eq!(stored(store, &row).unwrap(), row);

    let mut called = false;
    let again = insert(store, &row, &mut || {
        called = true;
        Ok(())
    });
    assert_eq!(kind(again), Kind::Conflict);
    assert!(!called, "no event for a change that is refused");
}

#[test]
fn a_panic_before_the_commit_leaves_the_store_usable_and_unchanged() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let row = key(&ada);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        insert(store, &row, &mut || panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    assert_eq!(stored(store, &row), None);
    insert(store, &row, &mut done()).unwrap();
    assert_eq!(stored(store, &row).unwrap(), row);
}

#[test]
fn a_value_that_would_not_be_read_back_is_not_written() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let mut row = key(&ada);
    row.secret = vec![1; 256 * 1024];
    insert(store, &row, &mut done()).unwrap();
    assert_eq!(stored(store, &row).unwrap(), row);
    let mut long = key(&ada);
    long.secret = vec![1; 256 * 1024 + 1];
    assert_eq!(kind(insert(store, &long, &mut done())), Kind::Internal);
    let mut far = key(&ada);
    far.head.secret_version = u64::MAX;
    assert_eq!(kind(insert(store, &far, &mut done())), Kind::Internal);
    let slots: Vec<_> = (0..257).map(slot).collect();
    let eve = account("eve");
    let result = store.create_account(&eve, &slots, &mut done());
    assert_eq!(kind(result), Kind::Internal);
    store
        .create_account(&eve, &slots[..256], &mut done())
        .unwrap();
    assert_eq!(store.slots(&eve.id).unwrap().len(), 256);
}
