//! `audit.list`: order, filters, pages.

use super::*;
use crate::protocol::{AuditEvent, AuditList};

fn list(
    audit: &Audit,
    chain: &AccountChain,
    request: &AuditList,
) -> (Vec<AuditEvent>, Option<String>) {
    let filter = Filter::parse(request).unwrap();
    let page = audit.list(chain, &account_name(), true, &filter).unwrap();
    (page.events, page.next)
}

/// Position and chain of each event.
fn places(events: &[AuditEvent]) -> Vec<(u64, bool)> {
    events
        .iter()
        .map(|event| (event.seq, event.account.is_some()))
        .collect()
}

#[test]
fn both_chains_are_merged_by_time_and_an_event_shows_all_it_has() {
    let room = Room::new();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    append_system(&audit);
    append(&audit, &chain, 2);
    let (events, next) = list(&audit, &chain, &AuditList::default());
    assert_eq!(next, None);
    assert_eq!(places(&events), [(1, true), (1, false), (2, true)]);
    let json = serde_json::to_value(&events[0]).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "chain": "account", "seq": 1, "time": "2023-11-14T22:13:20.000Z", "action": "key.get", "account": "default", "key": "openai/k1",
            "caller": {"uid": 1000, "pid": 4242, "exe": "/usr/bin/python3"}, "outcome": "ok",
        })
    );
    assert_eq!(events[1].outcome, "wrong_credentials");
    assert_eq!(events[1].key, None);

    let filter = Filter::parse(&AuditList::default()).unwrap();
    let page = audit.list(&chain, &account_name(), false, &filter).unwrap();
    assert_eq!(places(&page.events), [(1, true), (2, true)]);
}

#[test]
fn filters_combine() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in [1, 2, 1] {
        append(&audit, &chain, index);
        append_system(&audit);
    }
    let of = |request: AuditList| places(&list(&audit, &chain, &request).0);
    let key = Some("openai/k1".to_owned());
    let action = Some("agent.unlock".to_owned());
    assert_eq!(
        of(AuditList {
            key: key.clone(),
            ..AuditList::default()
        }),
        [(1, true), (3, true)]
    );
    assert_eq!(
        of(AuditList {
            action: action.clone(),
            ..AuditList::default()
        }),
        [(1, false), (2, false), (3, false)]
    );
    assert_eq!(
        of(AuditList {
            key: key.clone(),
            action,
            ..AuditList::default()
        }),
        []
    );
    let since = Some("2023-11-14T22:13:20.003Z".to_owned());
    assert_eq!(
        of(AuditList {
            since: since.clone(),
            ..AuditList::default()
        })
        .len(),
        3
    );
    assert_eq!(
        of(AuditList {
            since,
            key,
            ..AuditList::default()
        }),
        [(3, true)]
    );
}

#[test]
fn pages_lose_and_repeat_nothing_whatever_their_size_and_the_clock() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in 0..40 {
        append(&audit, &chain, index);
        if index % 3 == 0 {
            append_system(&audit);
        }
        if index % 7 == 0 {
            // The clock is set back by more than all that was written.
            room.clock.0.fetch_sub(500, Ordering::Relaxed);
        }
    }
    let all = places(&list(&audit, &chain, &AuditList::default()).0);
    assert_eq!(all.len(), 54);
    for limit in [1, 2, 5, 53, 54, 55] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let request = AuditList {
                limit: Some(limit),
                after,
                ..AuditList::default()
            };
            let (events, next) = list(&audit, &chain, &request);
            assert!(events.len() <= limit as usize);
            found.extend(places(&events));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "limit {limit}");
    }
    for account in [true, false] {
        let seqs: Vec<u64> = all
            .iter()
            .filter(|at| at.1 == account)
            .map(|at| at.0)
            .collect();
        assert!(seqs.is_sorted());
    }
}

#[test]
fn a_list_with_a_forged_event_fails_and_points_to_verify() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in 0..3 {
        append(&audit, &chain, index);
    }
    audit.fold().unwrap();
    let mut row = room.store.get(&ACCOUNT, 2);
    row.sealed[80] ^= 1;
    room.store.put(row);
    let filter = Filter::parse(&AuditList::default()).unwrap();
    let error = audit
        .list(&chain, &account_name(), true, &filter)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(error.hint(), Some("run akm log verify"));
}

#[test]
fn whatever_stands_in_the_log_can_be_asked_for_by_its_name() {
    let room = Room::new();
    let (audit, chain) = room.open();
    let names: std::collections::BTreeSet<_> = actions().collect();
    let noted = [
        Noted::UncleanShutdown,
        Noted::JournalDamaged,
        Noted::FirstUse,
        Noted::Restored,
        Noted::RollbackAccepted,
        Noted::Check,
        Noted::AccountMissing,
        Noted::Rekeyed,
        Noted::PushRefused,
        Noted::OrderPaid,
        Noted::Lock(crate::protocol::LockReason::Restore),
    ];
    for noted in noted {
        audit.note(&chain, noted, Outcome::Ok, &caller()).unwrap();
    }
    append(&audit, &chain, 1);
    for noted in noted {
        let request = AuditList {
            action: Some(noted.action().to_owned()),
            ..AuditList::default()
        };
        let (events, _) = list(&audit, &chain, &request);
        let [event] = &events[..] else {
            panic!("{noted:?}: {events:?}");
        };
        assert_eq!(event.action, noted.action());
    }
    for name in names {
        let request = AuditList {
            action: Some(name.to_owned()),
            ..AuditList::default()
        };
        assert!(Filter::parse(&request).is_ok(), "{name}");
    }
    let request = AuditList {
        action: Some("vault.nothing".to_owned()),
        ..AuditList::default()
    };
    assert_eq!(Filter::parse(&request).unwrap_err().field(), Some("action"));
}
