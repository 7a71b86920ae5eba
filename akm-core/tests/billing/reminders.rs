//! Reminders and notices: when, how often, through what, and where somebody is reached.

use akm_core::Kind;
use akm_core::audit::Caller;
use akm_core::protocol::{BillingContact, BillingNotices, HookKind, Locale, NoticeKind};
use akm_core::service::Channel;

use super::selling::{DAY, body, custom, hosted, push, selling, sign_in};
use super::support::{Bench, new_key};
use super::unlimited_requests;

fn contact(bench: &Bench, caller: &Caller) {
    let changed = bench.call_as(
        caller.clone(),
        BillingContact {
            email: Some("alice@example.com".into()),
            hook: Some(HookKind::Slack),
            hook_url: Some("https://hooks.slack.com/services/T/B/canary".into()),
            locale: Some(Locale::Zh),
        },
    );
    assert_eq!(changed.unwrap().hook, Some(HookKind::Slack));
}

#[test]
fn reminders_are_claimed_once_for_7_3_and_1_days_and_each_channel_and_survive_a_restart() {
    const BOTH: &[Channel] = &[Channel::Mail, Channel::Hook];
    let mut bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    let account = custom(&bench, &alice);
    push(&bench, &body("1", &account, "basic", 1, "5.00", "paid"));
    // 2027-01-15 and one month: 31 days. Locked: a tier's end is said to whoever is away.
    bench
        .service()
        .lock_all(akm_core::protocol::LockReason::Asked);
    let mut said = Vec::new();
    for day in 0..32 {
        for again in 0..2 {
            for reminder in bench.service().claim_reminders(BOTH).unwrap() {
                assert_eq!(again, 0, "claimed twice");
                assert_eq!(
                    (reminder.name.as_str(), reminder.contact.locale),
                    ("alice", Locale::Zh)
                );
                assert_eq!(reminder.tier.as_deref(), Some("基础版"), "in her language");
                said.push((31 - day, reminder.days, reminder.channel == Channel::Mail));
            }
        }
        bench.reopen();
        bench.clock.advance(DAY);
    }
    let expected: Vec<(u64, u32, bool)> = [7_u32, 3, 1]
        .into_iter()
        .flat_map(|days| {
            [
                (u64::from(days), days, true),
                (u64::from(days), days, false),
            ]
        })
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn a_reminder_that_was_not_sent_is_given_back_and_one_that_was_missed_is_not_made_up_for() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    let account = custom(&bench, &alice);
    push(&bench, &body("1", &account, "basic", 1, "5.00", "paid"));
    bench.clock.advance(29 * DAY);
    let claimed = bench.service().claim_reminders(&[Channel::Mail]).unwrap();
    assert_eq!(claimed.len(), 1, "of 7 and 3 days the nearer");
    assert_eq!(claimed[0].days, 2);
    bench.service().release_reminder(&claimed[0]).unwrap();
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0
    );
    // A purchase moves the end: there is nothing to remind of any more, and later there is again.
    push(&bench, &body("2", &account, "basic", 1, "5.00", "paid"));
    bench.clock.advance(DAY + DAY / 2);
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0
    );
    bench.clock.advance(22 * DAY);
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_key_that_expires_is_spoken_of_while_its_owner_is_signed_in_and_listed_as_a_notice() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    for (name, expires) in [
        ("openai/soon", "2027-01-17"),
        ("openai/later", "2027-03-01"),
        ("openai/past", "2027-01-10"),
    ] {
        let mut key = new_key(name, "sk-x");
        key.expires_at = Some(expires.to_owned());
        bench.call_as(alice.clone(), key).unwrap();
    }
    let notices = bench
        .call_as(alice.clone(), BillingNotices {})
        .unwrap()
        .notices;
    let seen: Vec<(NoticeKind, Option<&str>)> = notices
        .iter()
        .map(|notice| (notice.kind, notice.key.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (NoticeKind::KeyExpired, Some("openai/past")),
            (NoticeKind::KeyExpires, Some("openai/soon"))
        ]
    );
    bench
        .service()
        .lock_all(akm_core::protocol::LockReason::Asked);
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0,
        "locked"
    );
    let _alice = sign_in(&bench, "alice");
    let claimed = bench.service().claim_reminders(&[Channel::Mail]).unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].key.as_deref(), Some("openai/soon"));
    assert_eq!(
        bench
            .service()
            .claim_reminders(&[Channel::Mail])
            .unwrap()
            .len(),
        0,
        "once"
    );
}

#[test]
fn where_somebody_is_reached_is_not_readable_at_rest_and_goes_when_they_say_so() {
    let bench = selling(unlimited_requests());
    let alice = hosted(&bench, "alice");
    contact(&bench, &alice);
    let mut bytes = std::fs::read(bench.vault()).unwrap();
    bytes.extend(std::fs::read(bench.vault().with_extension("db-wal")).unwrap_or_default());
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("alice"), "control: the account's name is in clear");
    assert!(!holds("alice@example.com") && !holds("canary"));
    let shown = bench
        .call_as(alice.clone(), BillingContact::default())
        .unwrap();
    assert_eq!(shown.email.as_deref(), Some("alice@example.com"));
    for (field, bad) in [
        (
            "email",
            BillingContact {
                email: Some("not one".into()),
                ..BillingContact::default()
            },
        ),
        (
            "hook_url",
            BillingContact {
                hook: Some(HookKind::Slack),
                ..BillingContact::default()
            },
        ),
        (
            "hook_url",
            BillingContact {
                hook: Some(HookKind::Feishu),
                hook_url: Some("https://169.254.169.254/".into()),
                ..BillingContact::default()
            },
        ),
    ] {
        let error = bench.call_as(alice.clone(), bad).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::InvalidInput, Some(field))
        );
    }
    let gone = BillingContact {
        email: Some(String::new()),
        hook_url: Some(String::new()),
        locale: Some(Locale::En),
        ..BillingContact::default()
    };
    let gone = bench.call_as(alice, gone).unwrap();
    assert_eq!((gone.email, gone.hook), (None, None));
    let rows: i64 = bench
        .hand()
        .query_row("SELECT count(*) FROM contacts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}
