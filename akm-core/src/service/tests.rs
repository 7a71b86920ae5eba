//! What happens while something is half done: between two steps of a restore. Whole flows are in the crate's `tests/`.

use std::path::PathBuf;

use super::restore::Staged;
use super::*;
use crate::crypto::KdfCost;
use crate::protocol;
use crate::protocol::{AccountRegister, BackupCreate, BackupRestore, BackupVerify};
use crate::secret::Secret;

const PASSPHRASE: &str = "correct horse battery staple";

/// A directory with all that a vault needs.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("state")).unwrap();
        Home(home)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn options(&self) -> Options {
        Options {
            vault: self.file("vault.db"),
            journal: self.file("audit.journal"),
            state: self.file("state"),
            backups: self.file("backups"),
            host: Host {
                kdf_cost: KdfCost::insecure_test(),
                ..Host::real()
            },
            key_limit: None,
            default_lifetime: None,
            #[cfg(feature = "providers")]
            outbound: crate::provider::Outbound::default(),
        }
    }

    fn open(&self) -> Service {
        Service::open(self.options()).unwrap()
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn register(service: &Service, account: &str) {
    let request = AccountRegister {
        account: account.into(),
        passphrase: secret(PASSPHRASE),
        totp: Some(false),
        invitation: None,
    };
    service.call(&this_process(), request.into()).unwrap();
}

/// A backup of what is there; its name.
fn back_up(service: &Service) -> String {
    let request = BackupCreate::default();
    let made = service.create_backup(&this_process(), &request).unwrap();
    made.backup.name
}

fn restoring(name: &str, passphrase: &str) -> BackupRestore {
    BackupRestore {
        name: name.into(),
        account: None,
        passphrase: secret(passphrase),
        keyfile: None,
        replace: Some(true),
    }
}

fn kind<T>(answer: Result<T>) -> Kind {
    match answer {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.kind(),
    }
}

/// Somebody else's process on this machine.
fn stranger() -> Caller {
    Caller {
        uid: this_process().uid + 1,
        ..this_process()
    }
}

#[test]
fn what_is_being_restored_has_the_turn_until_it_is_in_place_or_given_up() {
    let home = Home::new();
    let service = home.open();
    register(&service, DEFAULT_ACCOUNT);
    let name = back_up(&service);
    let prepare = |passphrase| -> Result<Staged> {
        service.prepare_restore(&this_process(), &restoring(&name, passphrase))
    };
    let staged = prepare(PASSPHRASE).unwrap();
    assert_eq!(kind(prepare(PASSPHRASE)), Kind::Unavailable);
    let incoming = std::fs::metadata(home.file("vault.db.incoming"));
    assert!(incoming.unwrap().len() > 0, "nobody took it away");
    let verify = || {
        let request = BackupVerify { name: name.clone() };
        service.verify_backup(&this_process(), &request)
    };
    assert_eq!(kind(verify()), Kind::Unavailable);
    assert!(service.list_backups().unwrap().running.is_some());
    drop(staged);

    assert_eq!(kind(prepare("wrong")), Kind::WrongCredentials);
    assert!(service.list_backups().unwrap().running.is_none());
    verify().expect("a refused one has the turn no longer");
    let staged = prepare(PASSPHRASE).unwrap();
    service.finish_restore(&this_process(), staged).unwrap();
    verify().expect("nor has one that is done");
    drop(service);
    let replaced = home.open().replaced();
    assert_eq!(replaced.as_deref(), Some("vault.db.replaced-1"));
}

#[test]
fn a_vault_that_is_whole_once_nobody_is_inside_is_not_replaced_as_a_damaged_one() {
    let home = Home::new();
    let service = home.open();
    register(&service, DEFAULT_ACCOUNT);
    let name = back_up(&service);
    register(&service, "later");
    let restore = |caller: &Caller| {
        let request = restoring(&name, PASSPHRASE);
        service.replace_damaged(&home.options(), caller, &request)
    };
    assert_eq!(kind(restore(&this_process())), Kind::Conflict);
    for caller in [stranger(), Caller::network([203, 0, 113, 7].into(), None)] {
        assert_eq!(kind(restore(&caller)), Kind::Denied);
    }
    assert_eq!(service.open_sessions(), 1, "nobody was shut out");
    for left in ["vault.db.restored", "vault.db.incoming"] {
        assert!(!home.file(left).exists(), "{left}");
    }
    drop(service);
    let service = home.open();
    assert_eq!(service.replaced(), None);
    assert_eq!(service.file.account_count(), Ok(2));
}

#[test]
fn an_account_that_is_being_removed_is_not_missed_however_late_a_change_of_it_is_noted() {
    let home = Home::new();
    let service = home.open();
    register(&service, DEFAULT_ACCOUNT);
    register(&service, "other");
    let row = service.file.account_by_name("other").unwrap().unwrap();
    assert_eq!(service.missing_accounts(), Ok(0), "control");
    // What another session changed just before stands in the vault, and only now where the epochs are.
    let state = vault::Anchors::open(&home.file("state"), &service.file.vault_id()).unwrap();
    let noted = |generation| {
        let late = vault::Position {
            epoch: 1000,
            generation,
            mark: [1; 32],
        };
        state.advance(&row.id, &late);
    };
    let erase = || service.erase(&row.id, "other", false, &mut || Ok(()));
    let (_, leaving) = erase().unwrap();
    noted(1);
    for _ in 0..2 {
        assert_eq!(service.missing_accounts(), Ok(0));
    }
    assert!(erase().is_err(), "it is gone");
    assert_eq!(service.missing_accounts(), Ok(0), "and still leaving");
    service.end_all(leaving);
    for _ in 0..2 {
        assert_eq!(service.missing_accounts(), Ok(0));
    }
    let told = || {
        service.fold().unwrap();
        let action = Some("vault.account_missing");
        let events = service
            .file
            .events(&crate::audit::SYSTEM, 0, None, action, 10);
        events.unwrap().len()
    };
    assert_eq!(told(), 0);

    // The control, and what was found is looked at again.
    noted(2);
    service.look_for_missing().unwrap();
    assert_eq!((service.missing_accounts(), told()), (Ok(1), 1));
    state.let_go(&row.id).unwrap();
    assert_eq!(service.missing_accounts(), Ok(0));
}

/// An agent that ends after a rekey began and before anybody had its answer.
#[test]
fn recovery_codes_that_nobody_was_given_are_told_of_until_there_are_others() {
    fn call<R: protocol::Operation + Into<Request>>(service: &Service, request: R) -> R::Result {
        let answer = service.call(&this_process(), request.into()).unwrap();
        R::result(answer).expect("the answer is of its operation")
    }
    let told = |service: &Service| {
        let status = call(service, protocol::AgentStatus::default());
        call(service, protocol::AgentLock::default());
        let unlocked = call(
            service,
            protocol::AgentUnlock {
                account: None,
                passphrase: secret(PASSPHRASE),
                totp: None,
                keyfile: None,
                lifetime_s: None,
                accept_rollback: None,
            },
        );
        assert_eq!(status.codes_undelivered, unlocked.codes_undelivered);
        unlocked.codes_undelivered
    };
    let rekey = || protocol::VaultRekey {
        passphrase: Some(secret(PASSPHRASE)),
        ..Default::default()
    };
    let home = Home::new();
    let service = home.open();
    register(&service, DEFAULT_ACCOUNT);
    assert_eq!(call(&service, rekey()).recovery_codes.len(), 8, "control");
    assert_eq!(told(&service), None);

    service.begin_rekey(&this_process(), &rekey()).unwrap();
    drop(service);
    let service = home.open();
    let unlock = protocol::AgentUnlock {
        account: None,
        passphrase: secret(PASSPHRASE),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    assert_eq!(call(&service, unlock).codes_undelivered, Some(true));
    assert_eq!(told(&service), Some(true), "again and again");
    let codes = protocol::TotpCodes {
        passphrase: secret(PASSPHRASE),
    };
    call(&service, codes);
    assert_eq!(told(&service), None);

    service.begin_rekey(&this_process(), &rekey()).unwrap();
    assert_eq!(told(&service), Some(true), "and taken up by the unlock");
    call(&service, rekey());
    assert_eq!(told(&service), None, "another rekey gave others");
}
