//! Below the service: every call of the store that an operation makes is refused once, and so is the event of
//! every change. The answer is the store's own error, nothing has changed, and the next attempt does it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::protocol::Outcome;

/// Does something again and again, one call further each time, until nothing is in its way any more.
fn each_call_fails_once<P>(
    room: &Room,
    what: &str,
    prepare: impl Fn() -> P,
    act: impl Fn(P) -> Result<()>,
) {
    for before in 0.. {
        // Who was refused is one who guessed wrong: the wait is over.
        room.clock.advance(Duration::from_secs(3600));
        let prepared = prepare();
        let rows = room.rows();
        room.store.refuse(before);
        let done = act(prepared);
        match (room.store.relent(), done) {
            (Some(call), Err(error)) => {
                assert_eq!(error.kind(), Kind::Io, "{what}: {call} ({before})");
                assert!(room.rows() == rows, "{what}: {call} ({before}) left a mark");
            }
            (Some(call), Ok(())) => panic!("{what}: {call} ({before}) was not missed"),
            (None, done) => {
                done.unwrap_or_else(|error| panic!("{what}, undisturbed: {error}"));
                assert!(before > 0, "control: {what} asks the store for something");
                return;
            }
        }
    }
}

impl Room {
    /// The event of a change, which can be refused as well.
    fn event(&self) -> Result<()> {
        self.store.step("event")
    }

    fn each(&self, what: &str, act: impl Fn(&Unlocked) -> Result<()>) {
        // Opened anew each time, so that nothing is in memory yet.
        each_call_fails_once(self, what, || self.session(), |account| act(&account));
    }

    fn each_stepped_up(&self, what: &str, act: impl Fn(&StepUp) -> Result<()>) {
        each_call_fails_once(
            self,
            what,
            || (self.session(), self.step_up()),
            |(_session, proof)| act(&proof),
        );
    }
}

#[test]
fn no_way_in_opens_and_nothing_changes_where_the_store_does_not_answer() {
    let room = Room::empty();
    let vault = &room.vault;
    let register = |name: &str, invitation| {
        let mut event = |_: &Unlocked| room.event();
        vault
            .register(name, &passphrase(), true, invitation, None, &mut event)
            .map(drop)
    };
    each_call_fails_once(&room, "register", || (), |()| register(NAME, None));
    let invite = || vault.invite(3, i64::MAX, &mut || room.event());
    each_call_fails_once(&room, "invite", || (), |()| invite().map(drop));
    let tag = vault.invitation_tag(&invite().unwrap());
    let invited = || register("invited", Some(&tag));
    each_call_fails_once(&room, "register with an invitation", || (), |()| invited());
    let overview = || vault.overview(NAME).map(drop);
    each_call_fails_once(&room, "overview", || (), |()| overview());

    let sign_in = |accept| room.sign_in_with(None, None, accept);
    each_call_fails_once(&room, "sign in", || (), |()| sign_in(false).map(drop));
    room.filled();
    each_call_fails_once(&room, "accept", || (), |()| sign_in(true).map(drop));
    let again = || room.step_up_with(None).map(drop);
    each_call_fails_once(&room, "confirm the passphrase", || (), |()| again());
    room.each("is it current", |account| vault.check_current(account));

    let wrong = || {
        let name = AccountName::parse(NAME, "account").unwrap();
        vault.confirm_passphrase(&name, &text("wrong"), None, Origin::Owner)
    };
    // The attempt, and the one that only looks like another.
    for before in 0..4 {
        room.store.refuse(before);
        assert_eq!(kind(wrong()), Kind::Io);
        assert!(room.store.relent().is_some());
    }
    assert_eq!(kind(wrong()), Kind::WrongCredentials, "control");
}

#[test]
fn a_credential_is_the_old_one_or_the_new_one() {
    let (room, codes) = Room::with_codes();
    let vault = &room.vault;
    room.filled();
    let mut code = codes.iter();
    room.each_stepped_up("change the passphrase", |proof| {
        let way = vault.prepare_passphrase(proof, &passphrase())?;
        vault.change_way(proof, way, &mut || room.event()).map(drop)
    });
    room.each_stepped_up("replace the codes", |proof| {
        vault
            .replace_codes(proof, &mut || room.event())
            .map(|codes| assert_eq!(codes.len(), 8))
    });
    assert_eq!(
        kind(vault.recover(
            NAME,
            code.next().unwrap(),
            &passphrase(),
            Origin::Owner,
            &mut |_| Ok(())
        )),
        Kind::WrongCredentials,
        "control: they were replaced"
    );

    let pending = std::cell::RefCell::new(None);
    room.each_stepped_up("enable TOTP", |proof| {
        let (secret, _) = vault.enable_totp(proof, &mut || room.event())?;
        *pending.borrow_mut() = Some(secret);
        Ok(())
    });
    let secret = pending.take().unwrap();
    each_call_fails_once(
        &room,
        "confirm TOTP",
        || (room.session(), room.code(&secret)),
        |(account, code)| {
            let confirmed = vault.confirm_totp(&account, &code, &mut || room.event());
            spared(&room, confirmed)
        },
    );
    each_call_fails_once(
        &room,
        "sign in with a code",
        || room.code(&secret),
        |code| room.sign_in_with(Some(&code), None, false).map(drop),
    );
    let with_code = || {
        room.clock.advance(Duration::from_secs(3600));
        let code = room.code(&secret);
        let account = room.sign_in_with(Some(&code), None, false).unwrap();
        (account, room.step_up())
    };
    each_call_fails_once(&room, "disable TOTP", with_code, |(_account, proof)| {
        vault.disable_totp(&proof, &mut || room.event())
    });
}

/// What the change was made for is done; that its count could not be cleared is no reason to say that it was not.
fn spared(room: &Room, done: Result<()>) -> Result<()> {
    if done.is_ok()
        && let Some(call) = room.store.relent()
    {
        assert_eq!(call, "change_attempts");
    }
    done
}

#[test]
fn a_recovery_happens_with_its_answer_or_not_at_all() {
    let (room, codes) = Room::with_codes();
    room.bind_totp();
    each_call_fails_once(
        &room,
        "recover",
        || (),
        |()| {
            let recovered = room.vault.recover(
                NAME,
                &codes[3],
                &text("another"),
                Origin::Owner,
                &mut |_| room.event(),
            );
            let answer = recovered.map(|recovered| {
                assert_eq!(recovered.codes_left, 7);
                assert!(recovered.totp.is_some(), "whoever had TOTP gets it again");
            });
            spared(&room, answer)
        },
    );
    assert_eq!(kind(room.sign_in()), Kind::WrongCredentials, "control");
}

#[test]
fn a_record_is_there_whole_or_not_at_all() {
    let room = Room::new();
    let vault = &room.vault;
    room.filled();
    let name = key_name("openai/work");
    room.each("add", |account| {
        let keys = [new_key("openai/more"), new_key("google/more")];
        vault
            .add_keys(account, &keys, None, &mut |_| room.event())
            .map(drop)
    });
    room.each("find and open", |account| {
        let opened = room.find(account, "openai/work")?;
        vault.open_secret(account, &opened).map(drop)
    });
    room.each("keep ready", |account| {
        let opened = room.find(account, "openai/work")?;
        vault.open_and_keep(account, &opened).map(drop)
    });
    room.each("open an old one", |account| {
        let opened = room.find(account, "openai/work")?;
        let old = vault.open_old_secret(account, &opened, 1)?;
        assert_eq!(old.unwrap().expose(), "sk-0123456789abcdef-one");
        assert_eq!(vault.old_versions(account, &opened)?.len(), 1);
        Ok(())
    });
    room.each("list", |account| {
        let page = vault.list_keys(account, None, None, 100, &|_| true, Damage::Fails)?;
        assert_eq!(page.0.len(), 4);
        assert_eq!(vault.count_keys(account)?, 4);
        Ok(())
    });
    room.each("check", |account| {
        let mut check = Check::default();
        vault.check_slice(account, &mut check)?;
        assert!(check.is_clean() && check.done && check.seen == 4);
        Ok(())
    });
    // Read by a session before, so that a change has to read the tree itself.
    let opened = || {
        (
            room.find(&room.session(), "openai/work").unwrap(),
            room.session(),
        )
    };
    each_call_fails_once(&room, "change", opened, |(opened, account)| {
        let changed = opened.record.clone();
        let event = &mut || room.event();
        vault
            .update_key(&account, &opened, changed, None, event)
            .map(drop)
    });
    each_call_fails_once(&room, "rotate", opened, |(opened, account)| {
        let (changed, secret) = (opened.record.clone(), text("sk-three"));
        let event = &mut || room.event();
        vault
            .update_key(&account, &opened, changed, Some(&secret), event)
            .map(drop)
    });
    room.each("keep a test", |account| {
        let opened = room.find(account, "openai/work")?;
        vault.keep_test(account, &opened.record, Outcome::Valid)
    });
    room.each("read a test", |account| {
        let opened = room.find(account, "openai/work")?;
        let last = vault.last_test(account, &opened.record)?.unwrap();
        assert_eq!(last.outcome, Outcome::Valid);
        Ok(())
    });
    each_call_fails_once(&room, "remove", opened, |(opened, account)| {
        vault.remove_key(&account, &opened, &mut || room.event())
    });
    let gone = vault.find_key(&room.session(), &name).unwrap();
    assert!(gone.is_none(), "control");
}

#[test]
fn providers_rules_and_standing_change_whole_or_not_at_all() {
    let room = Room::new();
    let vault = &room.vault;
    let own = provider_id("own");
    room.each("add a provider", |account| {
        vault.add_provider(account, &own, "a record", 9, &mut || room.event())
    });
    room.each("read a provider", |account| {
        assert_eq!(vault.provider(account, &own)?.unwrap(), "a record");
        assert_eq!(vault.providers(account)?.len(), 1);
        Ok(())
    });
    room.each("remove a provider", |account| {
        let removed = vault.remove_provider(account, &own, &mut || room.event())?;
        assert_eq!(removed.unwrap(), "a record");
        Ok(())
    });
    room.each("read the rules", |account| vault.rules(account).map(drop));
    room.each("change the rules", |account| {
        let mut change = |rules: &mut Rules| {
            rules.policy = crate::protocol::Policy::Ask;
            Ok(())
        };
        let changed = vault.change_rules(account, &mut change, &mut || room.event())?;
        assert_eq!(changed.policy, crate::protocol::Policy::Ask);
        Ok(())
    });
    let disabled = crate::store::StandingChange {
        disabled: Some(true),
        ..Default::default()
    };
    let stand = || vault.change_standing(NAME, &disabled, &mut || room.event());
    each_call_fails_once(&room, "change the standing", || (), |()| stand().map(drop));
    let error = refusal(vault.change_standing("nobody", &disabled, &mut || Ok(())));
    assert_eq!(
        (error.kind(), error.field()),
        (Kind::NotFound, Some("account"))
    );
    let id = *room.session().id();
    let read = || {
        vault
            .standing(&id)
            .map(|standing| assert!(standing.disabled))
    };
    each_call_fails_once(&room, "read the standing", || (), |()| read());
    let cards = || {
        vault
            .account_cards("", 9)
            .map(|cards| assert_eq!(cards.len(), 1))
    };
    each_call_fails_once(&room, "list the accounts", || (), |()| cards());
    let invited = || vault.is_invited(&[1; 32]).map(|invited| assert!(!invited));
    each_call_fails_once(&room, "look for an invitation", || (), |()| invited());
}

#[test]
fn a_rekey_begins_goes_on_and_ends_whole_or_not_at_all() {
    let room = Room::new();
    let vault = &room.vault;
    room.filled();
    let account = room.session();
    let opened = room.find(&account, "openai/work").unwrap();
    vault
        .keep_test(&account, &opened.record, Outcome::Invalid)
        .unwrap();
    vault
        .add_provider(&account, &provider_id("own"), "a record", 9, &mut || Ok(()))
        .unwrap();
    drop(account);

    room.each_stepped_up("begin", |proof| {
        let new = vault.prepare_rekey(proof, &passphrase(), None)?;
        let new = new.expect("none is under way");
        let (account, codes) = vault.begin_rekey(new, &mut || room.event())?;
        assert_eq!(codes.len(), 8);
        assert!(vault.rekeying(&account)?.is_some());
        Ok(())
    });
    let session = room.session();
    let none = vault.prepare_rekey(&room.step_up(), &passphrase(), None);
    assert!(none.unwrap().is_none(), "one is under way");
    drop(session);
    // In between every record is found, whichever keys it is under.
    let slice = |what: &str, done: bool| {
        room.each(what, |account| {
            assert_eq!(
                vault
                    .open_secret(account, &room.find(account, "openai/work")?)?
                    .expose(),
                "sk-0123456789abcdef-two"
            );
            let slice = vault.rekey_slice(account, 1, &mut || room.event())?;
            assert_eq!(slice.unwrap().done, done);
            Ok(())
        });
    };
    let step = |account: &Unlocked, most| vault.rekey_slice(account, most, &mut || Ok(())).unwrap();
    slice("the first slice", false);
    let account = room.session();
    while !step(&account, 1).unwrap().done {}
    assert!(step(&account, 1).is_none(), "it is done");
    let opened = room.find(&account, "openai/work").unwrap();
    let test = vault.last_test(&account, &opened.record).unwrap().unwrap();
    assert_eq!(test.outcome, Outcome::Invalid);
    let old = vault
        .open_old_secret(&account, &opened, 1)
        .unwrap()
        .unwrap();
    assert_eq!(old.expose(), "sk-0123456789abcdef-one");
    let own = vault.provider(&account, &provider_id("own")).unwrap();
    assert_eq!(own.unwrap(), "a record");
    drop(account);

    // The end of another one.
    let proof = room.step_up();
    let session = room.session();
    let new = vault.prepare_rekey(&proof, &passphrase(), None).unwrap();
    let (account, _) = vault.begin_rekey(new.unwrap(), &mut || Ok(())).unwrap();
    drop(session);
    assert!(!step(&account, 100).unwrap().done);
    each_call_fails_once(
        &room,
        "the end",
        || (),
        |()| {
            let slice = vault.rekey_slice(&account, 100, &mut || room.event())?;
            assert!(slice.unwrap().done);
            Ok(())
        },
    );
}

#[test]
fn copies_and_restores_are_judged_only_by_what_was_read() {
    let room = Room::new();
    let vault = &room.vault;
    room.filled();
    let copy = room.copy("copy.db");
    room.each("open a copy", |account| {
        assert_eq!(room.open_copy(&copy, account)?, Some(2));
        Ok(())
    });
    let prove = |copy: &Vault| {
        let proved = vault.prove_copy(copy, NAME, &passphrase(), None, Origin::Owner);
        proved.map(drop)
    };
    each_call_fails_once(&room, "prove a copy", || (), |()| prove(&copy));
    // The calls of the copy itself.
    let flaky = Arc::new(Hands::over(Arc::new(
        SqliteStore::open_copy(&room.backup("backup.db"), true).unwrap(),
    )));
    let copy = vault.over_copy(flaky.clone());
    let account = room.session();
    let before = rows(&room.home.path().join("backup.db"));
    for (what, act) in [
        (
            "open",
            &(|| room.open_copy(&copy, &account).map(drop)) as &dyn Fn() -> Result<()>,
        ),
        ("prove", &|| prove(&copy)),
        ("announce", &|| announce_restore(room.home.path(), &*flaky)),
    ] {
        let mut refused = 0;
        loop {
            room.clock.advance(Duration::from_secs(3600));
            flaky.refuse(refused);
            let done = act();
            let Some(call) = flaky.relent() else {
                done.unwrap_or_else(|error| panic!("{what}, undisturbed: {error}"));
                break;
            };
            assert_eq!(kind(done), Kind::Io, "{what}: {call}");
            refused += 1;
        }
        assert!(refused > 0, "control: {what}");
    }
    assert!(rows(&room.home.path().join("backup.db")) == before);
}

#[test]
fn a_vault_moves_on_whole_or_not_at_all() {
    let room = Room::new();
    room.filled();
    let old = room.backup("old.db");
    let account = room.session();
    room.rotate(&account, "openai/work", "sk-0123456789abcdef-three");
    drop(account);
    // The owner accepts an older state: the row is put back, and everything that says so with it.
    room.put_back(&old);
    assert_eq!(kind(room.sign_in()), Kind::RolledBack, "control");
    each_call_fails_once(
        &room,
        "move on",
        || room.sign_in_with(None, None, true).unwrap(),
        |account| {
            assert_eq!(account.notice(), Notice::Accepted);
            room.vault.move_on(&account, &mut || room.event())
        },
    );
    let account = room.session();
    assert_eq!(account.notice(), Notice::None);
    let found = room.find(&account, "openai/work").unwrap();
    assert_eq!(found.record.secret_version, 2, "as it was");
}

#[test]
fn a_slot_that_cannot_be_made_stronger_keeps_nobody_out() {
    let mut room = Room::new();
    let kdf = |room: &Room| -> Vec<u8> {
        let read = "SELECT kdf FROM slots WHERE slot = 0";
        room.hand().query_row(read, [], |row| row.get(0)).unwrap()
    };
    let weak = kdf(&room);
    room.vault.host.kdf_cost = KdfCost::new(19 * 1024, 2, 1).unwrap();
    // The one write of the upgrade.
    let (path, tried) = (room.path(), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&tried);
    room.store.meanwhile("change_account", move || {
        let hand = rusqlite::Connection::open(&path).unwrap();
        hand.execute_batch("UPDATE accounts SET profile_version = profile_version + 1")
            .unwrap();
        seen.store(true, Ordering::Relaxed);
    });
    let account = room.session();
    assert_eq!(kdf(&room), weak, "the upgrade found another state");
    assert!(tried.load(Ordering::Relaxed), "control: it was tried");
    drop(account);
    room.sql("UPDATE accounts SET profile_version = profile_version - 1");
    room.session();
    let strong = kdf(&room);
    assert_ne!(strong, weak, "the next unlock tries again");
    room.session();
    assert_eq!(kdf(&room), strong, "and then leaves it");
}
