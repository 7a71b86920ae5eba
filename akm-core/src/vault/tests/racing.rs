//! Many at once with one right code, below the counters: those let five through, so what bounds the uses of a code has to be shown
//! without them.

use std::sync::Barrier;

use super::*;

/// Runs `act` on so many threads, released together; says for which of them it was true.
fn race(threads: usize, act: impl Fn(usize) -> bool + Sync) -> Vec<usize> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let (barrier, act) = (&barrier, &act);
                let thread = move || {
                    barrier.wait();
                    act(number)
                };
                std::thread::Builder::new()
                    .stack_size(1024 * 1024)
                    .spawn_scoped(scope, thread)
                    .unwrap()
            })
            .collect();
        let answers = running.into_iter().map(|thread| thread.join().unwrap());
        let numbered = answers.enumerate().filter(|(_, yes)| *yes);
        numbered.map(|(number, _)| number).collect()
    })
}

#[test]
fn b08_of_a_thousand_that_bring_one_code_past_the_counter_one_is_let_in() {
    let room = Room::new();
    let secret = room.bind_totp();
    room.clock.advance(Duration::from_secs(60));
    let bytes = data_encoding::BASE32_NOPAD
        .decode(secret.expose().as_bytes())
        .unwrap();
    for round in 0..2 {
        let code = room.code(&secret);
        let row = room.store.account_by_name(NAME).unwrap().unwrap();
        let use_it = |_| room.vault.use_code(&row, &bytes, &code).unwrap();
        assert_eq!(race(1000, use_it).len(), 1, "round {round}");
        assert!(!use_it(0), "used up");
        room.clock.advance(Duration::from_secs(30));
    }
}

#[test]
fn b13_of_a_hundred_that_bring_one_recovery_code_past_the_counter_one_is_let_in() {
    let (room, codes) = Room::with_codes();
    let found = || room.vault.find_account(NAME).unwrap();
    let recover = |number: usize, code: &Secret| {
        let new = Passphrase::parse(&text(&format!("mine-{number}")), "new_passphrase").unwrap();
        room.vault
            .recover_with(found(), code, &new, Origin::Owner, &mut |_| Ok(()))
            .map(drop)
    };
    let winners = race(100, |number| {
        let answer = recover(number, &codes[0]);
        assert!(answer.is_ok() || kind(answer.clone()) == Kind::WrongCredentials);
        answer.is_ok()
    });
    let [winner] = winners[..] else {
        panic!("{winners:?}");
    };
    let sign_in = |passphrase: &str| {
        let with = SignIn {
            account: NAME,
            passphrase: &text(passphrase),
            totp: None,
            device: None,
            origin: Origin::Owner,
            accept_rollback: false,
        };
        room.vault.sign_in(&with).map(drop)
    };
    assert_eq!(sign_in(&format!("mine-{winner}")), Ok(()));
    assert_eq!(
        kind(recover(0, &codes[0])),
        Kind::WrongCredentials,
        "used up"
    );
    for code in &codes[1..] {
        assert_eq!(recover(7, code), Ok(()), "the others are whole");
    }
}
