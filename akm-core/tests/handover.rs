//! A hand-over through the door: how long a code is good, what leaves, and what a receiver is told.
//!
//! Between two servers it is in `akm-agent/tests/hosted_handover.rs`, its bytes beside `transfer::handover`.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use akm_core::protocol::{
    HandoverOffer, HandoverPiece, HandoverReceive, HandoverReport, HandoverSend, KeyRemove,
    KeyUpdate, VaultRekey,
};
use akm_core::{Kind, Result};
use support::{Bench, PASSPHRASE, kind, secret};

fn offer(bench: &Bench) -> String {
    bench.call(HandoverOffer {}).unwrap().code
}

fn send(bench: &Bench, code: &str) -> Result<HandoverPiece> {
    bench.call(HandoverSend {
        code: Some(code.to_owned()),
        passphrase: Some(secret(PASSPHRASE)),
        after: None,
    })
}

/// The one piece of a small hand-over, and its end.
fn receive(bench: &Bench, piece: &HandoverPiece) -> Result<HandoverReport> {
    bench.call(HandoverReceive {
        handover: None,
        content: Some(piece.content.clone()),
        finish: Some(true),
    })
}

fn update(bench: &Bench, body: &str) {
    let update: KeyUpdate = serde_json::from_str(body).unwrap();
    bench.call(update).unwrap();
}

#[test]
fn a_code_ends_with_its_day_with_its_session_and_with_the_keys_of_its_account() {
    let from = Bench::initialized();
    from.add("openai", "sk-1").unwrap();
    type End = fn(&Bench);
    let ends: [(&str, End); 4] = [
        ("a day", |to| {
            to.clock.advance(Duration::from_secs(24 * 60 * 60));
        }),
        ("a lock", |to| {
            to.lock();
            to.unlock().unwrap();
        }),
        ("a rekey", |to| {
            let request = VaultRekey {
                passphrase: Some(secret(PASSPHRASE)),
                totp: None,
                limit: None,
            };
            assert!(to.call(request).unwrap().done);
        }),
        ("another code", |to| {
            offer(to);
        }),
    ];
    for (what, end) in ends {
        let to = Bench::initialized();
        let piece = send(&from, &offer(&to)).unwrap();
        end(&to);
        let refused = kind(receive(&to, &piece));
        assert!(
            [Kind::NotFound, Kind::InvalidInput].contains(&refused),
            "{what}: {refused:?}"
        );
        assert_eq!(kind(to.get("openai")), Kind::NotFound, "{what}");
    }
    // Control: an hour before.
    let to = Bench::initialized();
    let piece = send(&from, &offer(&to)).unwrap();
    to.clock.advance(Duration::from_secs(23 * 60 * 60));
    assert_eq!(receive(&to, &piece).unwrap().added, 1);
    assert_eq!(to.get("openai").unwrap(), "sk-1");
}

#[test]
fn burned_keys_stay_and_are_named() {
    let (from, to) = (Bench::initialized(), Bench::initialized());
    for name in ["openai", "groq"] {
        from.add(name, "sk-1").unwrap();
    }
    update(&from, r#"{"name":"groq","status":"burned"}"#);
    let piece = send(&from, &offer(&to)).unwrap();
    assert_eq!(
        (piece.keys, piece.total, piece.left_out.as_slice()),
        (1, 2, &["groq/default".to_owned()][..])
    );
    let report = receive(&to, &piece).unwrap();
    assert_eq!((report.keys, report.added), (1, 1));
    assert_eq!(report.checksum, piece.checksum);
}

#[test]
fn a_key_that_was_there_with_other_properties_is_named_and_the_checksums_differ() {
    let (from, to) = (Bench::initialized(), Bench::initialized());
    from.add("openai", "sk-1").unwrap();
    from.add("groq", "sk-2").unwrap();
    to.add("openai", "sk-1").unwrap();
    let note = |bench: &Bench, notes: &str| {
        update(bench, &format!(r#"{{"name":"openai","notes":"{notes}"}}"#));
    };
    note(&to, "mine");
    let piece = send(&from, &offer(&to)).unwrap();
    let report = receive(&to, &piece).unwrap();
    assert_eq!((report.added, report.unchanged), (1, 1));
    assert_eq!(report.differing, ["openai/default"]);
    assert_ne!(report.checksum, piece.checksum);
    // Control: sent again as it is there now, the two say the same.
    note(&from, "mine");
    let piece = send(&from, &offer(&to)).unwrap();
    let report = receive(&to, &piece).unwrap();
    assert_eq!((report.added, report.unchanged), (0, 2));
    assert_eq!(
        (report.differing.len(), report.checksum),
        (0, piece.checksum)
    );
}

#[test]
fn an_empty_account_is_handed_over_as_such() {
    let (from, to) = (Bench::initialized(), Bench::initialized());
    let piece = send(&from, &offer(&to)).unwrap();
    assert_eq!((piece.keys, piece.next.as_deref()), (0, None));
    let report = receive(&to, &piece).unwrap();
    assert_eq!((report.keys, report.complete), (0, true));
    assert_eq!(report.checksum, piece.checksum);
    // Its code is used up like any other.
    assert_eq!(kind(receive(&to, &piece)), Kind::NotFound);
    let gone = KeyRemove {
        name: "openai".into(),
    };
    assert_eq!(kind(to.call(gone)), Kind::NotFound, "control");
}
