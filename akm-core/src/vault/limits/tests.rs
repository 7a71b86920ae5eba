//! What one row counts: attempts, waits and their ends.

use super::*;

#[test]
fn five_attempts_then_growing_waits_up_to_a_quarter_of_an_hour() {
    let mut row = Attempts::default();
    let mut now = 1_000_000;
    for _ in 0..FREE_ATTEMPTS {
        let (after, wait) = decide(row, now, OTHERS);
        assert_eq!(wait, 0);
        row = after.unwrap();
    }
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (after, wait) = decide(row, now, OTHERS);
        assert!(after.is_none() && wait > 0);
        waits.push(wait / 1000);
        now += wait;
        row = decide(row, now, OTHERS).0.unwrap();
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
}

#[test]
fn a_clock_set_back_waits_the_longest_wait_once() {
    let row = Attempts {
        failures: 9,
        blocked_until: i64::MAX,
    };
    let (row, wait) = decide(row, 0, OTHERS);
    assert_eq!(wait, LONGEST_WAIT_MS);
    let (after, wait) = decide(row.unwrap(), LONGEST_WAIT_MS, OTHERS);
    assert_eq!(wait, 0, "who waits as told is let in");
    assert_eq!(after.unwrap().failures, 10);
}

#[test]
fn a_wait_is_over_at_its_end_and_not_a_millisecond_before() {
    let at = |blocked_until| Attempts {
        failures: 7,
        blocked_until,
    };
    let (now, longest) = (1_000_000, LONGEST_WAIT_MS);
    // As far ahead as a wait can be: it is one, and nothing is written. Beyond it is cut to that.
    assert_eq!(decide(at(now + longest), now, OTHERS), (None, longest));
    assert_eq!(
        decide(at(now + longest + 1), now, OTHERS),
        (Some(at(now + longest)), longest)
    );
    assert_eq!(decide(at(now + 1), now, OTHERS), (None, 1));
    let counted = Attempts {
        failures: 8,
        ..at(now + 240_000)
    };
    for over in [now, now - 1, 0, i64::MIN] {
        assert_eq!(decide(at(over), now, OTHERS), (Some(counted), 0), "{over}");
    }
    assert_eq!(
        decide(at(0), now, OWNERS).0.unwrap().blocked_until,
        now + 60_000
    );
}

#[test]
fn counts_and_times_end_and_do_not_wrap() {
    let last = Attempts {
        failures: u32::MAX,
        blocked_until: 0,
    };
    let (after, wait) = decide(last, i64::MAX, OTHERS);
    let after = after.unwrap();
    assert_eq!(wait, 0);
    assert_eq!((after.failures, after.blocked_until), (u32::MAX, i64::MAX));
    let (after, _) = decide(Attempts::default(), 5, OTHERS);
    let first = after.unwrap();
    assert_eq!((first.failures, first.blocked_until), (1, 0), "no wait yet");
}
