//! What opens an account, and what is sealed of it, where somebody with the file or with the keys has changed it.

use super::super::account::Wiped;
use super::*;
use crate::store::StandingChange;

/// What signing in says, and that nothing is changed by it.
#[track_caller]
fn refused(room: &Room) -> Option<Kind> {
    room.clock.advance(Duration::from_secs(3600));
    let rows = room.rows();
    let session = room.sign_in();
    assert!(session.is_ok() || room.rows() == rows);
    session.map_err(|error| error.kind()).err()
}

/// Seals other keys in place of an account's, under the same root key.
fn put_keys(room: &Room, proof: &StepUp, plain: &[u8]) {
    let ad = Ad::new(Field::AccountKeys)
        .vault(&room.store.vault_id())
        .account(&proof.row.id);
    let sealed = crypto::seal(&*room.vault.host.random, &proof.root, &ad, plain).unwrap();
    room.hand()
        .execute("UPDATE accounts SET keys = ?1", [sealed])
        .unwrap();
}

#[test]
fn an_accounts_keys_of_another_version_length_or_sort_are_refused() {
    let room = Room::new();
    let proof = room.step_up();
    let ad = Ad::new(Field::AccountKeys)
        .vault(&room.store.vault_id())
        .account(&proof.row.id);
    let good = crypto::open(&proof.root, &ad, &proof.row.keys).unwrap();
    assert_eq!((good.len(), good[0], good[97]), (98, 1, 0));
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut keys = good.to_vec();
        change(&mut keys);
        put_keys(&room, &proof, &keys);
        refused(&room)
    };
    assert_eq!(with(&|keys| keys[0] = 2), Some(Kind::UnsupportedVersion));
    assert_eq!(with(&Vec::clear), Some(Kind::UnsupportedVersion));
    assert_eq!(with(&|keys| keys.push(0)), Some(Kind::Corrupt));
    assert_eq!(with(&|keys| keys.truncate(97)), Some(Kind::Corrupt));
    assert_eq!(with(&|keys| keys.truncate(1)), Some(Kind::Corrupt));
    assert_eq!(with(&|keys| keys[97] = 2), Some(Kind::Corrupt));
    // The same keys sealed anew open, and are another state than the manifest says.
    assert_eq!(with(&|_| ()), Some(Kind::RolledBack));
    room.hand()
        .execute("UPDATE accounts SET keys = ?1", [&proof.row.keys])
        .unwrap();
    assert_eq!(refused(&room), None, "control");
    // A name that no door would have let in, whoever asks for it.
    let row = crate::store::AccountRow {
        name: "Default".into(),
        ..proof.row.clone()
    };
    let opened = room.vault.open_account(&row, &proof.root, None);
    assert_eq!(kind(opened), Kind::Corrupt);
    assert!(
        room.vault
            .open_account(&proof.row, &proof.root, None)
            .is_ok(),
        "control"
    );
    let last = crate::store::AccountRow {
        profile_version: u64::MAX,
        ..proof.row.clone()
    };
    let profile = super::super::account::Profile::default();
    let change = |row| {
        let account = room.session();
        room.vault
            .profile_change(&account, row, &profile, None)
            .map(|change| change.from_version)
    };
    assert_eq!(kind(change(&last)), Kind::Internal);
    assert_eq!(change(&proof.row), Ok(1), "control");
}

#[test]
fn sealed_state_of_an_unknown_shape_or_beside_another_mark_is_refused() {
    let room = Room::new();
    let proof = room.step_up();
    let ad = Ad::new(Field::Profile)
        .vault(&room.store.vault_id())
        .account(&proof.row.id)
        .version(1);
    let key = crypto::derive(&proof.root, "profile");
    let put = |profile: &[u8]| {
        room.hand()
            .execute("UPDATE accounts SET profile = ?1", [profile])
            .unwrap();
    };
    for plain in [r#"{"totp":null}"#, "[]", ""] {
        let random = &*room.vault.host.random;
        put(&crypto::seal_padded(random, &key, &ad, plain.as_bytes(), 256).unwrap());
        assert_eq!(refused(&room), Some(Kind::Corrupt), "{plain}");
    }
    put(&proof.row.profile);
    assert_eq!(refused(&room), None, "control");
    // The hint in clear is no way to do without a code, nor to ask for one.
    room.sql("UPDATE accounts SET totp_active = 1");
    assert_eq!(room.vault.overview(NAME), Ok((true, true)));
    assert_eq!(refused(&room), Some(Kind::Corrupt));
    room.sql("UPDATE accounts SET totp_active = 0");
    assert_eq!(refused(&room), None, "control");
    assert_eq!(room.vault.overview(NAME), Ok((true, false)));
    assert_eq!(room.vault.overview("not a name"), Ok((true, false)));
    assert_eq!(Room::empty().vault.overview(NAME), Ok((false, false)));
}

#[test]
fn two_that_register_one_name_at_once_are_one_and_a_conflict() {
    let room = Room::empty();
    let inner = Arc::clone(room.store.shared());
    let host = room.vault.host.clone();
    room.store.meanwhile("create_account", move || {
        let store: Arc<dyn Store> = inner.clone();
        Vault::new(store, host.clone(), key(7), None)
            .register(NAME, &text("the first"), false, None, None, &mut |_| Ok(()))
            .unwrap();
    });
    let register = || {
        room.vault
            .register(NAME, &passphrase(), false, None, None, &mut |_| Ok(()))
    };
    for _ in 0..2 {
        let error = refusal(register());
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::Conflict, Some("account"))
        );
    }
    assert_eq!(room.store.inner().account_count(), Ok(1));
    assert_eq!(kind(room.sign_in()), Kind::WrongCredentials, "whose it is");
}

#[test]
fn bad_names_and_passphrases_are_named_and_cost_no_attempt() {
    let room = Room::new();
    let rows = room.rows();
    let vault = &room.vault;
    let empty = text("");
    let proof = room.step_up();
    let name = AccountName::parse(NAME, "account").unwrap();
    let field = |error: Error| {
        assert_eq!(error.kind(), Kind::InvalidInput);
        error.field().unwrap().to_owned()
    };
    let mut nothing = |_: &Unlocked| Ok(());
    let register = vault.register("other", &empty, false, None, None, &mut nothing);
    assert_eq!(field(refusal(register)), "passphrase");
    let register = vault.register("a b", &passphrase(), false, None, None, &mut nothing);
    assert_eq!(field(refusal(register)), "account");
    let sign_in = vault.sign_in(&SignIn {
        account: NAME,
        passphrase: &empty,
        totp: None,
        device: None,
        origin: Origin::Owner,
        accept_rollback: false,
    });
    assert_eq!(field(refusal(sign_in)), "passphrase");
    let confirm = vault.confirm_passphrase(&name, &empty, None, Origin::Owner);
    assert_eq!(field(refusal(confirm)), "passphrase");
    let recover = vault.recover(NAME, &text("x"), &empty, Origin::Owner, &mut nothing);
    assert_eq!(field(refusal(recover)), "new_passphrase");
    let way = vault.prepare_passphrase(&proof, &empty);
    assert_eq!(field(refusal(way)), "new_passphrase");
    let way = vault.prepare_device(&proof, &empty, None);
    assert_eq!(field(refusal(way)), "passphrase");
    let rekey = vault.prepare_rekey(&proof, &empty, None);
    assert_eq!(field(refusal(rekey)), "passphrase");
    let proved = vault.prove_copy(vault, "a b", &passphrase(), None, Origin::Owner);
    assert_eq!(field(refusal(proved)), "account");
    let standing = vault.change_standing("a b", &StandingChange::default(), &mut || Ok(()));
    assert_eq!(field(refusal(standing)), "account");
    assert!(room.rows() == rows);
    let counted: u32 = room
        .hand()
        .query_row(
            "SELECT coalesce(sum(failures), 0) FROM attempts",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(counted, 0);
}

#[test]
fn a_slot_with_the_parameters_of_another_kind_opens_nothing() {
    let (room, codes) = Room::with_codes();
    let recover = |account: &str, code: &Secret| {
        let rows = room.rows();
        let new = text("another");
        let recovered = room
            .vault
            .recover(account, code, &new, Origin::Network, &mut |_| Ok(()));
        assert!(recovered.is_ok() || room.rows() == rows);
        recovered.map(|recovered| recovered.codes_left)
    };
    // A passphrase that is never stretched would be cheap to guess.
    let kdf = |slot: u32| -> Vec<u8> {
        let read = "SELECT kdf FROM slots WHERE slot = ?1";
        room.hand()
            .query_row(read, [slot], |row| row.get(0))
            .unwrap()
    };
    let put = |slot: u32, kdf: &[u8]| {
        let set = "UPDATE slots SET kdf = ?2 WHERE slot = ?1";
        assert_eq!(room.hand().execute(set, (slot, kdf)).unwrap(), 1);
    };
    let (stretched, plain) = (kdf(0), kdf(1));
    put(0, &plain);
    put(1, &stretched);
    assert_eq!(refused(&room), Some(Kind::Corrupt));
    assert_eq!(kind(recover(NAME, &codes[0])), Kind::Corrupt);
    put(0, &stretched);
    put(1, &plain);
    assert_eq!(refused(&room), None, "control");
    // Parameters that are none: whoever asks for an account that is not there is not told of it.
    put(0, &[0xff]);
    assert_eq!(refused(&room), Some(Kind::Corrupt));
    let nobody = room.vault.sign_in(&SignIn {
        account: "nobody",
        passphrase: &passphrase(),
        totp: None,
        device: None,
        origin: Origin::Network,
        accept_rollback: false,
    });
    assert_eq!(kind(nobody), Kind::WrongCredentials);
    put(0, &stretched);

    // What opens somebody's slot opens nothing under another name, and what is no code is tried like one.
    for (account, code) in [
        ("nobody", codes[0].duplicate()),
        ("not a name", codes[0].duplicate()),
        (NAME, text("")),
        (NAME, text(&"A".repeat(129))),
        (NAME, text("AAAA-BBBB")),
    ] {
        room.clock.advance(Duration::from_secs(3600));
        assert_eq!(kind(recover(account, &code)), Kind::WrongCredentials);
    }
    room.clock.advance(Duration::from_secs(3600));
    assert_eq!(recover(NAME, &codes[0]), Ok(7), "control");
    assert_eq!(kind(recover(NAME, &codes[0])), Kind::WrongCredentials);
}

#[test]
fn codes_of_an_authenticator_come_and_go_in_order() {
    let room = Room::new();
    let vault = &room.vault;
    let account = room.session();
    let rows = room.rows();
    let event = &mut || Ok(());
    let confirm = |code: &Secret| vault.confirm_totp(&room.session(), code, &mut || Ok(()));
    assert_eq!(
        kind(vault.disable_totp(&room.step_up(), event)),
        Kind::Conflict
    );
    assert_eq!(kind(confirm(&text("000000"))), Kind::Conflict);
    assert!(room.rows() == rows);

    // A pending one can be taken back, and replaced.
    let (first, _) = vault.enable_totp(&room.step_up(), event).unwrap();
    vault.disable_totp(&room.step_up(), event).unwrap();
    assert_eq!(kind(confirm(&room.code(&first))), Kind::Conflict);
    vault.enable_totp(&room.step_up(), event).unwrap();
    let (second, _) = vault.enable_totp(&room.step_up(), event).unwrap();
    let rows = room.rows();
    assert_eq!(kind(confirm(&room.code(&first))), Kind::WrongCredentials);
    assert!(room.rows() == rows, "a wrong code binds nothing");
    assert_eq!(confirm(&room.code(&second)), Ok(()));
    assert_eq!(
        kind(vault.enable_totp(&room.step_up(), event)),
        Kind::Conflict
    );
    // The code that confirmed is used up, and each other works once.
    let sign_in = |code: &Secret| room.sign_in_with(Some(code), None, false);
    assert_eq!(kind(sign_in(&room.code(&second))), Kind::WrongCredentials);
    room.clock.advance(Duration::from_secs(60));
    assert!(sign_in(&room.code(&second)).is_ok());
    assert_eq!(kind(sign_in(&room.code(&second))), Kind::WrongCredentials);
    assert_eq!(kind(room.sign_in()), Kind::WrongCredentials, "none given");
    vault.disable_totp(&room.step_up(), event).unwrap();
    assert!(room.sign_in().is_ok(), "control");
    drop(account);
}

#[test]
fn a_sealed_totp_secret_of_the_wrong_length_lets_nobody_in() {
    let room = Room::new();
    let any = text("123456");
    room.rewrite_profile(|profile| profile.pending = Some(Wiped(vec![1, 2, 3])));
    let account = room.session();
    let rows = room.rows();
    let confirmed = room.vault.confirm_totp(&account, &any, &mut || Ok(()));
    assert_eq!(kind(confirmed), Kind::Corrupt);
    assert!(room.rows() == rows);
    room.rewrite_profile(|profile| profile.totp = Some(Wiped(vec![1; 21])));
    let rows = room.rows();
    let signed_in = room.sign_in_with(Some(&any), None, false);
    assert_eq!(kind(signed_in), Kind::Corrupt);
    assert!(room.rows() == rows);
}

#[test]
fn a_copy_that_this_machine_knows_nothing_of_gets_no_codes_back() {
    let (mut room, codes) = Room::with_codes();
    room.filled();
    room.vault.anchors = None;
    let copy = room.copy("copy.db");
    let left = |path: &str| -> u32 {
        let file = rusqlite::Connection::open(room.home.path().join(path)).unwrap();
        let read = "SELECT count(*) FROM slots";
        file.query_row(read, [], |row| row.get(0)).unwrap()
    };
    let prove = |passphrase: &str| {
        let passphrase = text(passphrase);
        room.vault
            .prove_copy(&copy, NAME, &passphrase, None, Origin::Owner)
            .map(drop)
    };
    assert_eq!(kind(prove("wrong")), Kind::WrongCredentials);
    assert_eq!(left("copy.db"), 9, "the passphrase and eight codes");
    assert_eq!(prove(PASSPHRASE), Ok(()));
    assert_eq!(left("copy.db"), 1);
    assert_eq!(left("vault.db"), 9);
    // A machine that has anchors and none of this account does the same; one that has it leaves that to its unlock.
    let elsewhere = tempfile::tempdir().unwrap();
    let id = room.store.vault_id();
    room.vault.anchors = Some(Anchors::open(elsewhere.path(), &id).unwrap());
    let copy = room.copy("second.db");
    let prove = |copy: &Vault| {
        room.vault
            .prove_copy(copy, NAME, &passphrase(), None, Origin::Owner)
            .map(drop)
    };
    assert_eq!(prove(&copy), Ok(()));
    assert_eq!(left("second.db"), 1);
    drop(room.session());
    let copy = room.copy("third.db");
    assert_eq!(prove(&copy), Ok(()));
    assert_eq!(left("third.db"), 9);
    assert_eq!(codes.len(), 8);
}

#[test]
fn an_invitation_is_good_as_often_as_it_says_and_no_longer() {
    let room = Room::empty();
    let vault = &room.vault;
    let now = vault.now_ms();
    let text_of = vault.invite(1, now + 1000, &mut || Ok(())).unwrap();
    let typed = text(&text_of.expose().to_uppercase());
    let tag = vault.invitation_tag(&typed);
    assert_eq!(vault.is_invited(&tag), Ok(true));
    assert_eq!(
        vault.is_invited(&vault.invitation_tag(&text("x"))),
        Ok(false)
    );
    // What is longer than any is cut where a character ends, so that nothing is too long to be looked up.
    let long = vault.invitation_tag(&text(&"ä".repeat(4000)));
    assert_eq!(vault.is_invited(&long), Ok(false));
    let register = |name: &str| {
        vault
            .register(
                name,
                &passphrase(),
                false,
                Some(&tag),
                None,
                &mut |_| Ok(()),
            )
            .map(|new| new.codes.len())
    };
    assert_eq!(register("alice"), Ok(8));
    let rows = room.rows();
    assert_eq!(kind(register("bob")), Kind::Denied);
    assert!(room.rows() == rows);
}
