//! The audit's events as the store keeps them.

use akm_core::Kind;
use akm_core::store::{EventRow, Store};

use crate::support::*;

fn seqs(events: &[EventRow]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[test]
fn folding_twice_is_folding_once() {
    let vault = vault();
    let store = &vault.store;
    let chain = random();
    let events: Vec<_> = (1..=40)
        .map(|seq| event(&chain, seq, 1000 + seq as i64, "key.add", None))
        .collect();
    store.fold_events(&[]).unwrap();
    assert_eq!(store.last_event(&chain).unwrap(), None);
    store.fold_events(&events[..25]).unwrap();
    store.fold_events(&events[..25]).unwrap();
    // As after a crash between the fold and the end of its journal segment.
    store.fold_events(&events[10..]).unwrap();
    assert_eq!(store.events(&chain, 0, None, None, 100).unwrap(), events);
    assert_eq!(store.last_event(&chain).unwrap().as_ref(), events.last());
    assert_eq!(store.events(&random(), 0, None, None, 100).unwrap(), []);
}

#[test]
fn a_different_event_in_the_same_place_is_corrupt_and_folds_nothing() {
    let vault = vault();
    let store = &vault.store;
    let chain = random();
    let first = event(&chain, 1, 1, "key.get", Some(random()));
    store.fold_events(std::slice::from_ref(&first)).unwrap();
    let changes: [fn(&mut EventRow); 6] = [
        |event| event.time += 1,
        |event| event.action = "key.add".to_owned(),
        |event| event.outcome = "denied".to_owned(),
        |event| event.record = None,
        |event| event.sealed.push(0),
        |event| event.mac[31] ^= 1,
    ];
    for change in changes {
        let mut other = first.clone();
        change(&mut other);
        let batch = [event(&chain, 2, 2, "key.get", None), other];
        assert_eq!(kind(store.fold_events(&batch)), Kind::Corrupt);
        assert_eq!(store.last_event(&chain).unwrap().as_ref(), Some(&first));
    }
}

#[test]
fn pages_of_events_filter_by_position_time_and_action() {
    let vault = vault();
    let store = &vault.store;
    let (chain, other) = (random(), random());
    // A clock that is set back in the middle: 10, 20, … 100, 50, 60, … 140.
    let time = |seq: u64| if seq <= 10 { seq * 10 } else { seq * 10 - 60 } as i64;
    let action = |seq: u64| {
        if seq.is_multiple_of(4) {
            "key.get"
        } else {
            "key.list"
        }
    };
    let events: Vec<_> = (1..=20)
        .map(|seq| event(&chain, seq, time(seq), action(seq), None))
        .collect();
    store.fold_events(&events).unwrap();
    store
        .fold_events(&[event(&other, 1, 70, "key.get", None)])
        .unwrap();

    for since in [
        None,
        Some(-1),
        Some(55),
        Some(85),
        Some(101),
        Some(140),
        Some(141),
    ] {
        for name in [None, Some("key.get"), Some("key.list"), Some("key")] {
            for after in [0, 1, 7, 12, 20, 99] {
                for limit in [0, 1, 3, 100] {
                    let expected: Vec<u64> = events
                        .iter()
                        .filter(|event| event.seq > after)
                        .filter(|event| since.is_none_or(|since| event.time >= since))
                        .filter(|event| name.is_none_or(|name| event.action == name))
                        .map(|event| event.seq)
                        .take(limit)
                        .collect();
                    let page = store
                        .events(&chain, after, since, name, limit as u32)
                        .unwrap();
                    assert_eq!(
                        seqs(&page),
                        expected,
                        "after {after}, since {since:?}, {name:?}, {limit}"
                    );
                }
            }
        }
    }
}

#[test]
fn handing_a_secret_out_moves_the_time_of_last_use_forward_only() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let row = add_key(store, &ada);
    let id = row.head.id;
    let used = || stored(store, &row).unwrap().head.last_used_at;
    assert_eq!(used(), None);

    let mut denied = event(&ada, 1, 500, "key.get", Some(id));
    denied.outcome = "denied".to_owned();
    let quiet = [
        denied,
        event(&ada, 2, 600, "key.update", Some(id)),
        event(&ada, 3, 700, "key.get", None),
        event(&ada, 4, 800, "key.get", Some(random())),
        // Another account's event does not touch this record.
        event(&random(), 1, 900, "key.get", Some(id)),
    ];
    store.fold_events(&quiet).unwrap();
    assert_eq!(used(), None);

    let gets = [
        event(&ada, 5, 1000, "key.get", Some(id)),
        event(&ada, 6, 1300, "provider.test", Some(id)),
        event(&ada, 7, 1200, "key.get", Some(id)),
    ];
    store.fold_events(&gets).unwrap();
    assert_eq!(used(), Some(1300));
    store
        .fold_events(&[event(&ada, 8, 100, "key.get", Some(id))])
        .unwrap();
    assert_eq!(used(), Some(1300));

    // A record that was read before the fold does not take it back when it is written.
    let mut next = row.clone();
    next.head.meta_version = 2;
    store
        .update_key(&next, 1, None, &untracked(), &mut done())
        .unwrap();
    assert_eq!(used(), Some(1300));
    next.head.meta_version = 3;
    next.head.last_used_at = Some(1299);
    store
        .update_key(&next, 2, None, &untracked(), &mut done())
        .unwrap();
    assert_eq!(used(), Some(1300));
    next.head.meta_version = 4;
    next.head.last_used_at = Some(1301);
    store
        .update_key(&next, 3, None, &untracked(), &mut done())
        .unwrap();
    assert_eq!(used(), Some(1301));

    // An event about a key that is gone is still an event.
    store
        .remove_key(&ada, &id, 4, &untracked(), &mut done())
        .unwrap();
    store
        .fold_events(&[event(&ada, 9, 2000, "key.get", Some(id))])
        .unwrap();
    assert_eq!(store.last_event(&ada).unwrap().unwrap().seq, 9);
}

#[test]
fn thousands_of_events_fold_in_one_transaction() {
    let vault = vault();
    let store = &vault.store;
    let ada = add_account(store, "ada");
    let rows: Vec<_> = (0..50).map(|_| key(&ada)).collect();
    store
        .insert_keys(&rows, None, &untracked(), &mut done())
        .unwrap();
    let mut events: Vec<_> = (1..=5000_u64)
        .map(|seq| {
            let record = rows[seq as usize % 50].head.id;
            event(&ada, seq, seq as i64, "key.get", Some(record))
        })
        .collect();
    // One bad event at the end undoes the other 4,999.
    events[4999].seq = 1;
    assert_eq!(kind(store.fold_events(&events)), Kind::Corrupt);
    assert_eq!(store.last_event(&ada).unwrap(), None);
    events[4999].seq = 5000;
    store.fold_events(&events).unwrap();
    assert_eq!(store.last_event(&ada).unwrap().unwrap().seq, 5000);
    let last_uses = store.keys_page(&ada, None, None, 100).unwrap();
    assert!(
        last_uses
            .iter()
            .all(|head| head.last_used_at.is_some_and(|at| at > 4950))
    );
}
