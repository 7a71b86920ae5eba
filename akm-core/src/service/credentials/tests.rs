//! Every operation that asks for the passphrase again: with it, without it, and while the session ends meanwhile.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::crypto::KdfCost;
use crate::host::{Clock, Host, Random};
use crate::protocol::{decode_result, envelope, open_envelope};
use crate::service::{Door, Options};

const PASSPHRASE: &str = "correct horse battery staple";

struct Still;

impl Clock for Still {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(1_800_000_000_000).unwrap()
    }

    fn boot(&self) -> Duration {
        Duration::from_secs(1000)
    }
}

type During = Box<dyn FnOnce() + Send>;

/// The kernel's chance, and something that happens when it is asked next: the moment between proof and change.
struct Chance(Arc<dyn Random>, Mutex<Option<During>>);

impl Random for Chance {
    fn fill(&self, buffer: &mut [u8]) {
        let during = self.1.lock().unwrap().take();
        if let Some(during) = during {
            during();
        }
        self.0.fill(buffer);
    }
}

struct Desk {
    door: Arc<Door>,
    chance: Arc<Chance>,
    home: tempfile::TempDir,
}

impl Desk {
    /// With the account `default`, unlocked by this user and by another one.
    fn new() -> Desk {
        let home = tempfile::tempdir().unwrap();
        let chance = Arc::new(Chance(Host::real().random, Mutex::default()));
        let state = home.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let door = Door::open(Options {
            vault: home.path().join("vault.db"),
            journal: home.path().join("audit.journal"),
            state,
            backups: home.path().join("backups"),
            host: Host {
                clock: Arc::new(Still),
                random: chance.clone(),
                kdf_cost: KdfCost::insecure_test(),
            },
            key_limit: None,
            default_lifetime: None,
            #[cfg(feature = "providers")]
            outbound: Default::default(),
        });
        let desk = Desk {
            door: Arc::new(door.unwrap()),
            chance,
            home,
        };
        let new = json!({"account": "default", "passphrase": PASSPHRASE, "totp": false});
        desk.ask(Op::AccountRegister, new).unwrap();
        desk.unlock(1).unwrap();
        desk
    }

    fn ask(&self, op: Op, body: Value) -> Result<Value> {
        self.ask_as(0, op, body)
    }

    /// A request of the user `by` after this one, as it comes over a wire.
    fn ask_as(&self, by: u32, op: Op, body: Value) -> Result<Value> {
        ask(&self.door, by, op, &body)
    }

    fn unlock(&self, by: u32) -> Result<Value> {
        self.unlock_with(by, PASSPHRASE)
    }

    fn unlock_with(&self, by: u32, passphrase: &str) -> Result<Value> {
        let with = json!({"account": "default", "passphrase": passphrase});
        self.ask_as(by, Op::AgentUnlock, with)
    }

    fn with_passphrase(&self, op: Op, passphrase: &str) -> Result<Value> {
        self.ask(op, json!({"passphrase": passphrase}))
    }

    fn is_open(&self, by: u32) -> bool {
        self.ask_as(by, Op::KeyList, json!({})).is_ok()
    }

    fn keyfile(&self) -> Value {
        self.ask(Op::KeyfileShow, json!({})).unwrap()
    }
}

fn ask(door: &Door, by: u32, op: Op, body: &Value) -> Result<Value> {
    let caller = Caller {
        uid: nix::unistd::geteuid().as_raw() + by,
        pid: 1,
        exe: "/usr/bin/test".into(),
        via: Default::default(),
        process: Default::default(),
    };
    let request = Request::decode(op, body.to_string().as_bytes())?;
    let answer = envelope(&door.call(&caller, request));
    decode_result(open_envelope(&answer)?)
}

/// Kind and field of a refusal.
#[track_caller]
fn refused(answer: Result<Value>) -> (Kind, Option<String>) {
    let error = answer.expect_err("a refusal was expected");
    (error.kind(), error.field().map(str::to_owned))
}

const WRONG: (Kind, Option<String>) = (Kind::WrongCredentials, None);

#[test]
fn each_operation_does_what_it_is_called_and_only_with_the_passphrase() {
    let desk = Desk::new();
    assert_eq!(
        refused(desk.with_passphrase(Op::TotpEnable, "wrong")),
        WRONG
    );
    let enabled = desk.with_passphrase(Op::TotpEnable, PASSPHRASE).unwrap();
    let (secret, uri) = (&enabled["totp_secret"], &enabled["totp_uri"]);
    assert_eq!(secret.as_str().unwrap().len(), 32);
    let uri = uri.as_str().unwrap();
    assert!(uri.contains(secret.as_str().unwrap()) && uri.starts_with("otpauth://totp/"));
    assert_eq!(
        refused(desk.with_passphrase(Op::TotpDisable, "wrong")),
        WRONG
    );
    let disabled = desk.with_passphrase(Op::TotpDisable, PASSPHRASE).unwrap();
    assert_eq!(disabled, json!({}));
    let again = desk.with_passphrase(Op::TotpDisable, PASSPHRASE);
    assert_eq!(refused(again), (Kind::Conflict, None), "it was disabled");

    assert_eq!(refused(desk.with_passphrase(Op::TotpCodes, "wrong")), WRONG);
    let codes = desk.with_passphrase(Op::TotpCodes, PASSPHRASE).unwrap();
    let codes = codes["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 8);
    let recover = |code: &Value| {
        let body = json!({"account": "default", "code": code, "new_passphrase": "another one"});
        desk.ask(Op::AccountRecover, body)
    };
    assert!(recover(&codes[7]).is_ok(), "they are the ones that count");
    desk.unlock_with(0, "another one").unwrap();

    let change = |old: &str, new: &str| {
        let body = json!({"passphrase": old, "new_passphrase": new});
        desk.ask(Op::AccountPassphrase, body)
    };
    assert_eq!(refused(change(PASSPHRASE, "third")), WRONG);
    assert_eq!(
        refused(change("another one", "")),
        (Kind::InvalidInput, Some("new_passphrase".into()))
    );
    assert_eq!(change("another one", "third").unwrap(), json!({}));
    assert_eq!(refused(desk.unlock_with(2, "another one")), WRONG);
    desk.unlock_with(2, "third").unwrap();
}

#[test]
fn a_new_way_in_ends_the_other_sessions_of_the_account_and_nobody_elses() {
    let desk = Desk::new();
    let other = json!({"account": "other", "passphrase": PASSPHRASE, "totp": false});
    desk.ask_as(2, Op::AccountRegister, other).unwrap();
    assert!((0..3).all(|by| desk.is_open(by)), "control");
    let change = json!({"passphrase": PASSPHRASE, "new_passphrase": "second"});
    desk.ask(Op::AccountPassphrase, change).unwrap();
    assert!(desk.is_open(0), "who changed it goes on");
    assert!(!desk.is_open(1));
    assert!(desk.is_open(2));
    // It goes on with what is needed now.
    let codes = desk.with_passphrase(Op::TotpCodes, "second");
    assert!(codes.is_ok());
    desk.unlock_with(1, "second").unwrap();
    desk.with_passphrase(Op::TotpCodes, "second").unwrap();
    assert!(desk.is_open(1), "new recovery codes end no session");
}

#[test]
fn a_keyfile_comes_and_goes_and_is_shown_where_it_is() {
    let desk = Desk::new();
    assert_eq!(desk.keyfile(), json!({"enabled": false}));
    let disable = || desk.with_passphrase(Op::KeyfileDisable, PASSPHRASE);
    let enable = || desk.with_passphrase(Op::KeyfileEnable, PASSPHRASE);
    assert_eq!(refused(disable()), (Kind::Conflict, None));
    let wrong = desk.with_passphrase(Op::KeyfileEnable, "wrong");
    assert_eq!(refused(wrong), WRONG);
    assert_eq!(desk.keyfile(), json!({"enabled": false}));
    let path = enable().unwrap()["path"].as_str().unwrap().to_owned();
    assert_eq!(desk.keyfile(), json!({"enabled": true, "path": path}));
    assert!(!desk.is_open(1), "the other session ends");
    assert_eq!(refused(enable()), (Kind::Conflict, None));
    let path = PathBuf::from(path);
    assert!(path.starts_with(desk.home.path()));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Moved away: the account still needs it, and nothing says that it is here.
    let aside = desk.home.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    assert_eq!(desk.keyfile(), json!({"enabled": true}));
    let missing = refused(desk.unlock(0));
    assert_eq!(missing, (Kind::WrongCredentials, Some("keyfile".into())));
    std::fs::rename(&aside, &path).unwrap();
    desk.unlock(0).unwrap();
    let wrong = desk.with_passphrase(Op::KeyfileDisable, "wrong");
    assert_eq!(refused(wrong), WRONG);
    assert_eq!(disable().unwrap(), json!({}));
    // It lies there and counts for nothing.
    assert!(path.exists());
    assert_eq!(desk.keyfile(), json!({"enabled": false}));
    assert_eq!(
        enable().unwrap()["path"],
        json!(path),
        "and is taken up again"
    );
    disable().unwrap();
    // One that the caller keeps has no path here.
    for (keyfile, ok) in [("00", false), ("gg", false), ("a7", true)] {
        let body = json!({"passphrase": PASSPHRASE, "keyfile": keyfile.repeat(32)});
        let enabled = desk.ask(Op::KeyfileEnable, body);
        match ok {
            true => assert_eq!(enabled.unwrap(), json!({})),
            false => assert_eq!(
                refused(enabled),
                (Kind::InvalidInput, Some("keyfile".into()))
            ),
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(desk.keyfile(), json!({"enabled": true}));
    desk.with_passphrase(Op::TotpCodes, PASSPHRASE)
        .expect("the session knows what it was opened with");
}

#[test]
fn what_loosens_a_key_asks_for_the_passphrase_and_does_only_that() {
    let desk = Desk::new();
    let key = json!({"name": "openai", "secret": "sk-0123456789abcdef", "use_only": true});
    desk.ask(Op::KeyAdd, key).unwrap();
    let update = |change: Value, passphrase: Option<&str>| {
        let mut body = json!({"name": "openai"});
        for (field, value) in change.as_object().unwrap() {
            body[field] = value.clone();
        }
        if let Some(passphrase) = passphrase {
            body["passphrase"] = passphrase.into();
        }
        desk.ask(Op::KeyUpdate, body)
    };
    let loosen = json!({"use_only": false});
    let get = || desk.ask(Op::KeyGet, json!({"name": "openai"}));
    assert_eq!(refused(get()).0, Kind::Denied, "control");
    let asked = refused(update(loosen.clone(), None));
    assert_eq!(asked.1.as_deref(), Some("passphrase"));
    assert_eq!(refused(update(loosen.clone(), Some("wrong"))), WRONG);
    assert_eq!(refused(get()).0, Kind::Denied);
    let noted = update(json!({"notes": "free"}), None).unwrap();
    assert_eq!(noted["key"]["notes"], "free");
    let loosened = update(loosen, Some(PASSPHRASE)).unwrap();
    assert_eq!(loosened["key"]["name"], "openai/default");
    assert_eq!(get().unwrap()["secret"], "sk-0123456789abcdef");
}

#[test]
fn a_session_that_ends_between_proof_and_change_changes_nothing() {
    type End = fn(&Door);
    let ends: [(&str, End, Kind); 3] = [
        (
            "locked",
            |door| drop(ask(door, 0, Op::AgentLock, &json!({}))),
            Kind::Locked,
        ),
        (
            "opened anew",
            |door| {
                let again = json!({"account": "default", "passphrase": PASSPHRASE});
                ask(door, 0, Op::AgentUnlock, &again).unwrap();
            },
            Kind::Locked,
        ),
        (
            "overtaken by another change",
            |door| {
                let codes = json!({"passphrase": PASSPHRASE});
                ask(door, 1, Op::TotpCodes, &codes).unwrap();
            },
            Kind::Conflict,
        ),
    ];
    for (what, end, kind) in ends {
        let desk = Desk::new();
        let change = || {
            let body = json!({"passphrase": PASSPHRASE, "new_passphrase": "second"});
            desk.ask(Op::AccountPassphrase, body)
        };
        let door = Arc::clone(&desk.door);
        *desk.chance.1.lock().unwrap() = Some(Box::new(move || end(&door)));
        assert_eq!(refused(change()).0, kind, "{what}");
        assert_eq!(refused(desk.unlock_with(3, "second")), WRONG, "{what}");
        desk.unlock(0).unwrap();
        change().expect("control: undisturbed it is changed");
        desk.unlock_with(3, "second").unwrap();
    }
}
