//! What attempts are counted in: buckets of names, tallies beside them, uids; and what a success takes back.

use super::super::limits::{Guess, Who};
use super::guessing::{UID, all};
use super::*;
use crate::store::Attempts;

#[test]
fn what_is_an_accounts_own_goes_with_it_and_buckets_stay() {
    let room = Room::new();
    let id = *room.session().id();
    room.vault.remember_origin(&id, UID).unwrap();
    let own = room.vault.attempts_of(NAME, &id).unwrap();
    let different: std::collections::BTreeSet<_> = own.iter().collect();
    assert_eq!((own.len(), different.len()), (8, 8));
    let mut seen = 0;
    for guess in all() {
        let tags = room.tags(guess, NAME);
        let counted = room.vault.count_attempt(guess, &room.who(NAME)).unwrap();
        for tag in &tags {
            assert_eq!(room.attempts(tag).failures, 1);
            seen += usize::from(own.contains(tag));
        }
        room.vault.clear_attempts(&counted).unwrap();
        for tag in &tags {
            assert_eq!(room.attempts(tag), Attempts::default());
        }
    }
    assert_eq!(seen, 8, "each of them is counted in");
    let others = room.vault.attempts_of("bob", &[9; 16]).unwrap();
    assert!(others.iter().all(|tag| !own.contains(tag)));
    let mut elsewhere = Room::empty();
    elsewhere.vault.host_key = key(8);
    let others = elsewhere.vault.attempts_of(NAME, &id).unwrap();
    assert!(
        others.iter().all(|tag| !own.contains(tag)),
        "another machine"
    );
}

#[test]
fn a_success_takes_back_what_its_account_added_to_a_bucket_and_no_more() {
    let room = Room::new();
    let guess = Guess::SignIn(Origin::Network);
    let tags = room.tags(guess, NAME);
    let count = |name: &str| room.vault.count_attempt(guess, &room.who(name));
    // Somebody else's failures in the same bucket.
    let others = |failures: u32, blocked_until: i64| {
        room.store
            .change_attempts(&tags[..1], &mut |rows| {
                rows[0].failures += failures;
                rows[0].blocked_until = blocked_until;
            })
            .unwrap();
    };
    others(3, 0);
    count(NAME).unwrap();
    let last = count(NAME).unwrap();
    assert_eq!(room.attempts(&tags[0]).failures, 5);
    assert!(
        room.attempts(&tags[0]).blocked_until > 0,
        "control: it waits"
    );
    room.vault.clear_attempts(&last).unwrap();
    let left = Attempts {
        failures: 3,
        blocked_until: 0,
    };
    assert_eq!(room.attempts(&tags[0]), left);
    assert_eq!(room.attempts(&tags[1]), Attempts::default());
    // A wait that began since is somebody else's.
    let counted = count(NAME).unwrap();
    others(1, 1_900_000_000_000);
    room.vault.clear_attempts(&counted).unwrap();
    assert_eq!(room.attempts(&tags[0]).blocked_until, 1_900_000_000_000);
    assert_eq!(room.attempts(&tags[0]).failures, 4);
}

#[test]
fn a_recovery_takes_back_what_its_account_failed_to_sign_in_with_and_no_more() {
    let (room, codes) = Room::with_codes();
    let recover = |code: &Secret, origin| {
        room.vault
            .recover(NAME, code, &passphrase(), origin, &mut |_| Ok(()))
    };
    let wrong = text("AAAA-AAAA-AAAA-AAAA-AAAA-AAAA");
    for (number, origin) in [Origin::Owner, Origin::Network, UID]
        .into_iter()
        .enumerate()
    {
        let guess = || room.guess(NAME, "not this one at all", origin);
        for _ in 0..5 {
            assert_eq!(kind(guess()), Kind::WrongCredentials);
        }
        assert_eq!(kind(guess()), Kind::RateLimited, "control");
        // A code that fails helps nobody.
        assert_eq!(kind(recover(&wrong, origin)), Kind::WrongCredentials);
        assert_eq!(kind(guess()), Kind::RateLimited);
        recover(&codes[number], origin).unwrap();
        room.guess(NAME, PASSPHRASE, origin).unwrap();
        let left = room.tags(Guess::SignIn(origin), NAME);
        assert!(
            left.iter()
                .all(|tag| room.attempts(tag) == Attempts::default())
        );
    }
}

#[test]
fn a_recovery_leaves_the_failures_of_others_in_the_bucket_of_sign_ins() {
    let (room, codes) = Room::with_codes();
    let guess = Guess::SignIn(Origin::Network);
    let tag = room.tags(guess, NAME)[0];
    let now = 1_800_000_000_000;
    let theirs = |failures| Attempts {
        failures,
        blocked_until: now + 60_000,
    };
    let put = |row: Attempts| {
        let put = &mut |rows: &mut [Attempts]| rows[0] = row;
        room.store.change_attempts(&[tag], put).unwrap();
    };
    let recover = |code: &Secret| {
        room.vault
            .recover(NAME, code, &passphrase(), Origin::Network, &mut |_| Ok(()))
            .unwrap();
    };
    // Nothing of it is the account's own.
    put(theirs(7));
    recover(&codes[0]);
    assert_eq!(room.attempts(&tag), theirs(7));
    for (others, ends) in [(6, now + 60_000), (4, now)] {
        put(Attempts::default());
        room.vault.count_attempt(guess, &room.who(NAME)).unwrap();
        put(theirs(others + 1));
        recover(&codes[usize::try_from(others).unwrap()]);
        let left = Attempts {
            failures: others,
            blocked_until: ends,
        };
        assert_eq!(room.attempts(&tag), left);
    }
}

#[test]
fn a_success_leaves_others_failures_the_end_of_their_wait_so_that_a_bucket_still_begins_anew() {
    let room = Room::new();
    let guess = Guess::SignIn(Origin::Network);
    let tag = room.tags(guess, NAME)[0];
    let count = || room.vault.count_attempt(guess, &room.who(NAME)).unwrap();
    let put = |row: Attempts| {
        let tags = [tag];
        let put = &mut |rows: &mut [Attempts]| rows[0] = row;
        room.store.change_attempts(&tags, put).unwrap();
    };
    // Somebody else's failures, whose wait is over.
    let theirs = Attempts {
        failures: 7,
        blocked_until: 1_800_000_000_000 - 1000,
    };
    put(theirs);
    let counted = count();
    assert_eq!(room.attempts(&tag).failures, 8, "control");
    room.vault.clear_attempts(&counted).unwrap();
    assert_eq!(room.attempts(&tag), theirs);
    room.clock.advance(Duration::from_secs(86_400));
    let counted = count();
    assert_eq!(room.attempts(&tag).failures, 1, "a day after");

    // What was forgotten is not put back, nor does it make a failure since then one of long ago.
    put(Attempts {
        failures: 2,
        blocked_until: 0,
    });
    room.vault.clear_attempts(&counted).unwrap();
    let since = Attempts {
        failures: 1,
        blocked_until: 0,
    };
    assert_eq!(room.attempts(&tag), since);

    // Nothing that is left needs no end either: no row.
    room.vault.clear_attempts(&count()).unwrap();
    put(Attempts::default());
    room.vault.clear_attempts(&count()).unwrap();
    assert_eq!(room.attempts(&tag), Attempts::default());
}

#[test]
fn a_bucket_begins_anew_a_day_after_its_wait_and_a_counter_of_codes_does_not() {
    let room = Room::new();
    for (guess, forgets) in [(Guess::SignIn(Origin::Network), true), (Guess::Totp, false)] {
        let count = || room.vault.count_attempt(guess, &room.who(NAME));
        let tag = room.tags(guess, NAME)[0];
        for _ in 0..5 {
            count().unwrap();
        }
        assert_eq!(refusal(count()).retry_after_s(), Some(30), "control");
        room.clock
            .advance(Duration::from_millis(30_000 + 86_399_999));
        count().unwrap();
        assert_eq!(room.attempts(&tag).failures, 6, "a millisecond before");
        room.clock.advance(Duration::from_secs(60 + 86_400));
        count().unwrap();
        assert_eq!(room.attempts(&tag).failures, if forgets { 1 } else { 7 });
    }
}

#[test]
fn however_many_names_are_tried_the_table_has_an_end_and_tells_none_apart() {
    let room = Room::new();
    let guess = Guess::SignIn(Origin::Network);
    let mut buckets = std::collections::BTreeSet::new();
    let mut tallies = std::collections::BTreeSet::new();
    for number in 0..2000 {
        let name = format!("nobody-{number}");
        let (counters, _) = room
            .vault
            .counters(
                guess,
                &Who {
                    name: &name,
                    id: [0; 16],
                    known: false,
                },
            )
            .unwrap();
        buckets.insert(counters[0].tag);
        tallies.insert(counters[1].tag);
    }
    // Of 65,536 buckets two thousand names meet in thirty or so.
    assert!((1900..2000).contains(&buckets.len()), "{}", buckets.len());
    assert_eq!(tallies.len(), 1);
    // Known or not, the same buckets decide.
    let known = room.tags(guess, NAME);
    let (unknown, _) = room
        .vault
        .counters(
            guess,
            &Who {
                name: NAME,
                id: [0; 16],
                known: false,
            },
        )
        .unwrap();
    assert_eq!(known[0], unknown[0].tag);
    assert_eq!(known.len(), unknown.len());
}

#[test]
fn of_many_uids_that_never_signed_in_the_guesses_have_one_end_and_who_did_waits_for_none() {
    let room = Room::new();
    assert_eq!(room.guess(NAME, PASSPHRASE, UID).map(drop), Ok(()));
    let tried = |uids: std::ops::Range<u32>| {
        let answers = uids
            .flat_map(|uid| (0..6).map(move |_| uid))
            .map(|uid| kind(room.guess(NAME, "wrong", Origin::User(uid))));
        answers
            .filter(|kind| *kind == Kind::WrongCredentials)
            .count()
    };
    assert_eq!(tried(1000..1001), 5, "one alone has its own five");
    assert_eq!(
        room.guess(NAME, PASSPHRASE, Origin::User(1500)).map(drop),
        Ok(()),
        "and keeps no other waiting, who never signed in"
    );
    assert_eq!(tried(2000..2100), 45, "fifty together");
    let stranger = room.guess(NAME, PASSPHRASE, Origin::User(1600)).map(drop);
    assert_eq!(
        kind(stranger),
        Kind::RateLimited,
        "control: now strangers wait"
    );
    for uid in [UID, Origin::User(1500), Origin::Network, Origin::Owner] {
        assert_eq!(
            room.guess(NAME, PASSPHRASE, uid).map(drop),
            Ok(()),
            "{uid:?}"
        );
    }
    // Whoever signed in before has five guesses and then waits, too, and a success clears them.
    assert_eq!(tried(5001..5002), 5);
    room.clock.advance(Duration::from_secs(30));
    assert_eq!(room.guess(NAME, PASSPHRASE, UID).map(drop), Ok(()));
    assert_eq!(tried(5001..5002), 5);
    // A name that nobody has is no different from one where the uid never signed in.
    let nobody = |uid| kind(room.guess("nobody", "wrong", Origin::User(uid)));
    let answers: Vec<Kind> = (0..7).map(|_| nobody(5001)).collect();
    assert_eq!(
        answers[4..],
        [Kind::WrongCredentials, Kind::RateLimited, Kind::RateLimited]
    );
}
