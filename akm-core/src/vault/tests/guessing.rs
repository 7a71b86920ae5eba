//! How often somebody may guess, to the millisecond and to the row; and what a sign-in asks for.

use super::super::limits::{Guess, Who};
use super::super::slot::PASSPHRASE as SLOT;
use super::*;
use crate::store::Attempts;

const OWNER: Guess = Guess::SignIn(Origin::Owner);
pub(super) const UID: Origin = Origin::User(5001);

impl Room {
    /// The attempts under a tag, which stay as they are.
    pub(super) fn attempts(&self, tag: &crate::store::Tag) -> Attempts {
        let mut found = Attempts::default();
        self.store
            .change_attempts(&[*tag], &mut |rows| found = rows[0])
            .unwrap();
        found
    }

    /// Who is guessed at: an account of that name, or nobody.
    pub(super) fn who<'a>(&self, name: &'a str) -> Who<'a> {
        let found = self.vault.find_account(name).unwrap();
        Who {
            name,
            id: found.id(),
            known: found.known(),
        }
    }

    /// The rows that such a guess is counted in.
    pub(super) fn tags(&self, guess: Guess, name: &str) -> Vec<crate::store::Tag> {
        let (counters, _) = self.vault.counters(guess, &self.who(name)).unwrap();
        counters.iter().map(|counter| counter.tag).collect()
    }

    /// The row that is written so that one answer takes as long as another.
    fn nothing(&self) -> u32 {
        let tag = crypto::tag(&self.vault.host_key, &[b"attempts", b"nothing"]);
        self.attempts(&tag).failures
    }

    /// What signing in says, by name and passphrase.
    pub(super) fn guess(
        &self,
        account: &str,
        passphrase: &str,
        origin: Origin,
    ) -> Result<Unlocked> {
        self.vault.sign_in(&SignIn {
            account,
            passphrase: &text(passphrase),
            totp: None,
            device: None,
            origin,
            accept_rollback: false,
        })
    }
}

/// What stands there after one more.
fn then(nothing: u32) -> u32 {
    1 + nothing % 2
}

pub(super) fn all() -> [Guess; 8] {
    [
        OWNER,
        Guess::SignIn(Origin::Network),
        Guess::SignIn(UID),
        Guess::Totp,
        Guess::Recovery(Origin::Owner),
        Guess::Recovery(Origin::Network),
        Guess::Recovery(UID),
        Guess::Confirmation,
    ]
}

#[test]
fn every_kind_of_guess_has_a_counter_of_its_own_and_waits_as_long_as_it_says() {
    let room = Room::empty();
    let vault = &room.vault;
    let waits = [60, 900, 900, 900, 60, 900, 900, 900];
    for (guess, longest) in all().into_iter().zip(waits) {
        let count = || vault.count_attempt(guess, &room.who("alice"));
        let mut seen = Vec::new();
        // Each wait to its last millisecond, and not one more.
        while seen.len() < 14 {
            match count() {
                Ok(_) => seen.push(0),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::RateLimited);
                    let seconds = error.retry_after_s().unwrap();
                    seen.push(seconds);
                    let wait = Duration::from_secs(seconds);
                    room.clock.advance(wait - Duration::from_millis(1));
                    let left = refusal(count()).retry_after_s();
                    assert_eq!(left, Some(1), "rounded up");
                    room.clock.advance(Duration::from_millis(1));
                    assert!(count().is_ok(), "who waited as told is let in");
                }
            }
        }
        let growing = [30, 60, 120, 240, 480, 960, 1920, 3840, 7680];
        let expected: Vec<u64> = std::iter::repeat_n(0, 5)
            .chain(growing.map(|wait: u64| wait.min(longest)))
            .collect();
        assert_eq!(seen, expected);
    }
    // The first of each kind had all five free, so none of them counted for another; nor does another name.
    let count = |name| vault.count_attempt(OWNER, &room.who(name));
    assert!(count("alice").is_ok());
    assert!(count("bob").is_ok());
    assert_eq!(kind(count("alice")), Kind::RateLimited, "control");
}

#[test]
fn a_wait_is_measured_by_the_clock_that_cannot_be_set() {
    let room = Room::empty();
    let count = || room.vault.count_attempt(OWNER, &room.who("alice"));
    for _ in 0..5 {
        count().unwrap();
    }
    assert_eq!(refusal(count()).retry_after_s(), Some(30), "control");
    let tag = room.tags(OWNER, "alice")[0];
    assert_eq!(room.attempts(&tag).blocked_until, 1_800_000_030_000);
    for wall in [0, 1_900_000_000_000] {
        room.clock.set_wall(wall);
        assert_eq!(refusal(count()).retry_after_s(), Some(30));
    }
    room.clock.advance(Duration::from_secs(29));
    assert_eq!(refusal(count()).retry_after_s(), Some(1));
    room.clock.advance(Duration::from_secs(1));
    assert!(count().is_ok());
}

#[test]
fn a_wait_beyond_the_longest_is_brought_back_once_and_written_so() {
    let room = Room::empty();
    let count = || room.vault.count_attempt(OWNER, &room.who("alice"));
    let tags = room.tags(OWNER, "alice");
    let far = Attempts {
        failures: 9,
        blocked_until: i64::MAX,
    };
    room.store
        .change_attempts(&tags[..1], &mut |rows| rows[0] = far)
        .unwrap();
    assert_eq!(refusal(count()).retry_after_s(), Some(60));
    let cut = Attempts {
        failures: 9,
        blocked_until: 1_800_000_060_000,
    };
    assert_eq!(room.attempts(&tags[0]), cut, "and counted as no attempt");
    assert_eq!(room.attempts(&tags[1]).failures, 0, "nor in the tally");
    room.clock.advance(Duration::from_secs(60));
    assert!(count().is_ok(), "who waited as told is let in");
    assert_eq!(room.attempts(&tags[0]).failures, 10);
}

#[test]
fn what_counts_nothing_writes_each_time_and_never_grows() {
    let room = Room::new();
    let mut seen = Vec::new();
    for _ in 0..5 {
        room.vault.count_nothing().unwrap();
        seen.push(room.nothing());
    }
    assert_eq!(seen, [1, 2, 1, 2, 1]);
    // A wrong passphrase, a known name or not: one row more than its own, like a wrong code behind a right one.
    for (account, origin) in [(NAME, Origin::Owner), ("nobody", Origin::Network)] {
        let before = room.nothing();
        let error = refusal(room.guess(account, "wrong", origin));
        assert_eq!(error, Error::wrong_credentials());
        assert_eq!(room.nothing(), then(before), "{account}");
    }
    let before = room.nothing();
    drop(room.session());
    assert_eq!(room.nothing(), before, "a success has no need of it");
    let rows = room.rows();
    room.sql("UPDATE slots SET kdf = x'ff' WHERE slot = 0");
    assert_eq!(kind(room.sign_in()), Kind::Corrupt);
    assert_eq!(room.nothing(), before, "nor has damage");
    assert!(room.rows() != rows, "control");
}

#[test]
fn a_code_has_a_counter_of_its_own_and_tells_nothing() {
    let room = Room::new();
    let secret = room.bind_totp();
    let sign_in = |code: Option<&Secret>| room.sign_in_with(code, None, false);
    let tag = room.tags(Guess::Totp, NAME)[0];
    let wrong = text("000000");
    assert_ne!(room.code(&secret).expose(), wrong.expose(), "control");
    // None given: answered like a wrong one, after the same writes, and not counted as one.
    let nothing = room.nothing();
    assert_eq!(refusal(sign_in(None)), Error::wrong_credentials());
    assert_eq!(room.attempts(&tag).failures, 0);
    assert_eq!(room.nothing(), then(nothing));
    for failures in 1..=5 {
        // The passphrase has a counter too, which the same guesses fill.
        room.clock.advance(Duration::from_secs(60));
        assert_eq!(refusal(sign_in(Some(&wrong))), Error::wrong_credentials());
        assert_eq!(room.attempts(&tag).failures, failures);
    }
    // Now codes have to wait: even the right one, with the same answer and one more of the rows that say nothing.
    let nothing = room.nothing();
    let blocked = room.attempts(&tag);
    assert!(blocked.blocked_until > 0);
    room.clock.advance(Duration::from_secs(29));
    room.store
        .change_attempts(&room.tags(OWNER, NAME), &mut |rows| {
            rows.fill(Attempts::default())
        })
        .unwrap();
    let right = room.code(&secret);
    assert_eq!(refusal(sign_in(Some(&right))), Error::wrong_credentials());
    assert_eq!(room.nothing(), then(nothing));
    assert_eq!(room.attempts(&tag), blocked);
    room.clock.advance(Duration::from_secs(31));
    let right = room.code(&secret);
    assert!(sign_in(Some(&right)).is_ok());
    assert_eq!(room.attempts(&tag), Attempts::default());
    assert_eq!(
        refusal(sign_in(Some(&right))),
        Error::wrong_credentials(),
        "used up"
    );
    assert_eq!(room.attempts(&tag).failures, 1);

    // A step that asks for the code again.
    let session = {
        room.clock.advance(Duration::from_secs(60));
        sign_in(Some(&room.code(&secret))).unwrap()
    };
    let rekey = |code: Option<&Secret>| {
        let rows = room.rows();
        let prepared = room
            .vault
            .prepare_rekey(&room.step_up(), &passphrase(), code);
        assert!(room.rows() == rows);
        prepared.map(|new| new.is_some())
    };
    assert_eq!(refusal(rekey(None)), Error::wrong_credentials());
    assert_eq!(refusal(rekey(Some(&wrong))), Error::wrong_credentials());
    room.clock.advance(Duration::from_secs(60));
    assert_eq!(rekey(Some(&room.code(&secret))), Ok(true));
    assert_eq!(room.attempts(&tag), Attempts::default());
    drop(session);
}

#[test]
fn five_wrong_passphrases_and_the_right_one_waits_as_long_as_a_stranger_cannot_make_it() {
    let room = Room::new();
    let guess = |passphrase, origin| room.guess(NAME, passphrase, origin).map(drop);
    for _ in 0..5 {
        let wrong = refusal(guess("wrong", Origin::Network));
        assert_eq!(wrong, Error::wrong_credentials());
    }
    let waits = refusal(guess(PASSPHRASE, Origin::Network));
    assert_eq!(
        (waits.kind(), waits.retry_after_s()),
        (Kind::RateLimited, Some(30))
    );
    assert_eq!(
        guess(PASSPHRASE, Origin::Owner),
        Ok(()),
        "the owner does not"
    );
    assert_eq!(
        kind(guess(PASSPHRASE, Origin::Network)),
        Kind::RateLimited,
        "whose success clears no other's count"
    );
    room.clock.advance(Duration::from_secs(30));
    assert_eq!(guess(PASSPHRASE, Origin::Network), Ok(()));
    for _ in 0..5 {
        assert_eq!(
            kind(guess("wrong", Origin::Network)),
            Kind::WrongCredentials
        );
    }
    // Confirming is a guess like any other.
    let step_up = |text_of: &str| {
        let name = AccountName::parse(NAME, "account").unwrap();
        room.vault
            .confirm_passphrase(&name, &text(text_of), None, Origin::Owner)
            .map(|proof| (*proof.account(), proof.has_device()))
    };
    let id = *room.session().id();
    for _ in 0..5 {
        assert_eq!(kind(step_up("wrong")), Kind::WrongCredentials);
    }
    assert_eq!(kind(step_up(PASSPHRASE)), Kind::RateLimited);
    room.clock.advance(Duration::from_secs(30));
    assert_eq!(step_up(PASSPHRASE), Ok((id, false)));
    let tag = room.tags(OWNER, NAME)[0];
    assert_eq!(room.attempts(&tag), Attempts::default());
}

#[test]
fn a_name_that_nobody_has_opens_nothing_of_anybody() {
    let room = Room::new();
    room.register("alice", false);
    for name in ["nobody", "", "not a name", "x".repeat(200).as_str()] {
        for origin in [Origin::Owner, Origin::Network] {
            let error = refusal(room.guess(name, PASSPHRASE, origin));
            assert_eq!(error, Error::wrong_credentials(), "{name}");
        }
    }
    for name in [NAME, "alice", "ALICE"] {
        let opened = room.guess(name, PASSPHRASE, Origin::Network).unwrap();
        assert_eq!(opened.name().as_str(), name.to_lowercase(), "control");
    }
    let found = |name: &str| room.vault.find_account(name).unwrap();
    assert!(found("alice").known() && !found("nobody").known() && !found("").known());
    let id = *room.guess("alice", PASSPHRASE, Origin::Owner).unwrap().id();
    assert_eq!(found("Alice").id(), id);
    assert_eq!(found("alice").account().unwrap().id, id);
    assert!(found("nobody").account().is_none());
    let empty = Room::empty();
    let nobody = empty.vault.find_account("alice").unwrap();
    assert_eq!((nobody.known(), nobody.id()), (false, [0; 16]));
    let error = refusal(empty.guess("alice", PASSPHRASE, Origin::Owner));
    assert_eq!(error, Error::wrong_credentials());
}

#[test]
fn a_keyfile_is_asked_for_only_where_the_slot_says_so_and_only_of_the_owner() {
    let room = Room::new();
    let sign_in = |device: Option<Device>, origin| {
        room.vault.sign_in(&SignIn {
            account: NAME,
            passphrase: &passphrase(),
            totp: None,
            device,
            origin,
            accept_rollback: false,
        })
    };
    let before = room.backup("before.db");
    // One that is at hand and not asked for has no part in it.
    let with = sign_in(Some(device(3)), Origin::Owner).unwrap();
    assert!(with.device().is_none());
    assert!(!room.step_up().has_device());
    let way = room
        .vault
        .prepare_device(&room.step_up(), &passphrase(), Some(device(3)));
    let opened = room
        .vault
        .change_way(&room.step_up(), way.unwrap(), &mut || Ok(()))
        .unwrap();
    assert!(opened.device().is_some());
    room.vault.check_current(&opened).unwrap();
    let older = room.vault.check_current(&with);
    assert_eq!(kind(older), Kind::WrongCredentials, "opened the old way");

    let tag = room.tags(OWNER, NAME)[0];
    let missing = refusal(sign_in(None, Origin::Owner));
    assert_eq!(
        (missing.kind(), missing.field()),
        (Kind::WrongCredentials, Some("keyfile"))
    );
    assert_eq!(room.attempts(&tag).failures, 0, "nothing was guessed");
    let wrong = refusal(sign_in(Some(device(4)), Origin::Owner));
    assert_eq!(wrong, Error::wrong_credentials());
    assert_eq!(room.attempts(&tag).failures, 1);
    let stranger = refusal(sign_in(None, Origin::Network));
    assert_eq!(stranger, Error::wrong_credentials(), "who is told nothing");
    let nobody = refusal(room.guess("nobody", PASSPHRASE, Origin::Owner));
    assert_eq!(nobody, Error::wrong_credentials());
    let again = sign_in(Some(device(3)), Origin::Owner).unwrap();
    assert!(again.device().is_some());
    let proof = room.step_up_with(Some(&device(3))).unwrap();
    assert!(proof.has_device());
    assert_eq!(proof.account(), again.id());
    assert_eq!(refusal(room.step_up_with(None)).field(), Some("keyfile"));

    // The slot from before, put back: the sealed state knows that a device secret is needed.
    let hand = room.hand();
    hand.execute("ATTACH ?1 AS old", [before.to_str().unwrap()])
        .unwrap();
    hand.execute(
        "REPLACE INTO main.slots SELECT * FROM old.slots WHERE slot = ?1",
        [SLOT],
    )
    .unwrap();
    drop(hand);
    let error = refusal(sign_in(None, Origin::Owner));
    assert_eq!(error.kind(), Kind::RolledBack);
    assert_eq!(
        error.message(),
        "the account's way in is older than its state"
    );
    let proof = room.step_up();
    let refused = room.vault.replace_codes(&proof, &mut || Ok(()));
    assert_eq!(kind(refused), Kind::RolledBack);
}

#[test]
fn who_signed_in_with_what_is_replaced_is_not_current() {
    let room = Room::new();
    let account = room.session();
    assert_eq!(room.vault.check_current(&account), Ok(()));
    room.vault
        .replace_codes(&room.step_up(), &mut || Ok(()))
        .unwrap();
    assert_eq!(
        refusal(room.vault.check_current(&account)),
        Error::wrong_credentials()
    );
    let account = room.session();
    assert_eq!(room.vault.check_current(&account), Ok(()));
    room.hand()
        .execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM accounts")
        .unwrap();
    assert_eq!(
        refusal(room.vault.check_current(&account)),
        Error::wrong_credentials()
    );
}
