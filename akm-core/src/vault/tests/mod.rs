//! The vault from inside: over a real SQLite file whose every call can be refused, and whose sealed content can be
//! forged by whoever has the keys (a newer akm, or a mistake of this one). Flows of users are in the crate's `tests/`.

mod account;
mod buckets;
mod faults;
mod guessing;
mod history;
mod policy;
mod racing;
mod records;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use super::sign_in::StepUp;
use super::slot::Passphrase;
use super::*;
use crate::crypto::{self, Ad, Field, KdfCost};
use crate::error::{Error, Kind};
use crate::host::Clock;
use crate::name::{AccountName, KeyName, ProviderId};
use crate::secret::Secret;
use crate::store::{AccountChange, Id, KeyRow, SqliteStore};
use store::Hands;

const PASSPHRASE: &str = "correct horse battery staple";
const NAME: &str = "default";

/// Moves only when told to; the wall clock also by itself.
struct ManualClock(Mutex<(i64, Duration)>);

impl ManualClock {
    fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        now.0 += i64::try_from(by.as_millis()).unwrap();
        now.1 += by;
    }

    fn set_wall(&self, unix_ms: i64) {
        self.0.lock().unwrap().0 = unix_ms;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0.lock().unwrap().0).unwrap()
    }

    fn boot(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// A home with a vault in it.
struct Room {
    vault: Vault,
    store: Arc<Hands>,
    clock: Arc<ManualClock>,
    home: tempfile::TempDir,
}

impl Room {
    /// An empty vault that this machine keeps anchors of.
    fn empty() -> Room {
        let clock = Arc::new(ManualClock(Mutex::new((
            1_800_000_000_000,
            Duration::from_secs(1000),
        ))));
        let host = Host {
            clock: clock.clone(),
            kdf_cost: KdfCost::insecure_test(),
            ..Host::real()
        };
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("vault.db");
        let file = SqliteStore::open(&path, &*host.random, &*host.clock).unwrap();
        let store = Arc::new(Hands::over(Arc::new(file)));
        let anchors = Anchors::open(home.path(), &store.vault_id()).unwrap();
        Room {
            vault: Vault::new(store.clone(), host, key(7), Some(anchors)),
            store,
            clock,
            home,
        }
    }

    /// With the account `default`, closed, and its recovery codes.
    fn with_codes() -> (Room, Vec<Secret>) {
        let room = Room::empty();
        let codes = room.register(NAME, false).codes;
        (room, codes)
    }

    /// With the account `default`, closed.
    fn new() -> Room {
        Room::with_codes().0
    }

    fn register(&self, name: &str, totp: bool) -> NewAccount {
        self.vault
            .register(name, &passphrase(), totp, None, None, &mut |_| Ok(()))
            .unwrap()
    }

    fn sign_in(&self) -> Result<Unlocked> {
        self.sign_in_with(None, None, false)
    }

    fn sign_in_with(
        &self,
        totp: Option<&Secret>,
        device: Option<Device>,
        accept_rollback: bool,
    ) -> Result<Unlocked> {
        self.vault.sign_in(&SignIn {
            account: NAME,
            passphrase: &passphrase(),
            totp,
            device,
            origin: Origin::Owner,
            accept_rollback,
        })
    }

    fn session(&self) -> Unlocked {
        self.sign_in().unwrap()
    }

    fn step_up(&self) -> StepUp {
        self.step_up_with(None).unwrap()
    }

    fn step_up_with(&self, device: Option<&Device>) -> Result<StepUp> {
        let name = AccountName::parse(NAME, "account").unwrap();
        self.vault
            .confirm_passphrase(&name, &passphrase(), device, Origin::Owner)
    }

    fn add(&self, account: &Unlocked, name: &str) {
        self.vault
            .add_keys(account, &[new_key(name)], None, &mut |_| Ok(()))
            .unwrap();
    }

    fn find(&self, account: &Unlocked, name: &str) -> Result<OpenedKey> {
        let found = self.vault.find_key(account, &key_name(name))?;
        Ok(found.expect("the key is there"))
    }

    /// With two keys, of which the first has been replaced once.
    /// All of an account's keys in a copy.
    fn open_copy(&self, copy: &Vault, account: &Unlocked) -> Result<Option<u64>> {
        let mut check = Check::default();
        while !check.done {
            if !self.vault.open_copy(copy, account, &mut check)? {
                return Ok(None);
            }
        }
        check.whole_copy().map(Some)
    }

    fn filled(&self) {
        let account = self.session();
        self.add(&account, "openai/work");
        self.add(&account, "google/home");
        self.rotate(&account, "openai/work", "sk-0123456789abcdef-two");
    }

    fn rotate(&self, account: &Unlocked, name: &str, secret: &str) {
        let opened = self.find(account, name).unwrap();
        let changed = opened.record.clone();
        let secret = text(secret);
        self.vault
            .update_key(account, &opened, changed, Some(&secret), &mut || Ok(()))
            .unwrap();
    }

    /// Changes what is sealed in a record, as an akm that writes something else would: sealed, in the tree, signed.
    fn rewrite(&self, account: &Unlocked, name: &str, change: impl FnOnce(&mut Value)) {
        let vault = &self.vault;
        let opened = self.find(account, name).unwrap();
        let mut row: KeyRow = opened.row.clone();
        let ad = |version| self.ad(account, Field::Meta, &row.head.id).version(version);
        let version = row.head.meta_version;
        let plain = crypto::open_padded(&opened.key, &ad(version), &row.head.meta).unwrap();
        let mut meta = serde_json::from_slice(&plain).unwrap();
        change(&mut meta);
        let plain = meta.to_string();
        let random = &*vault.host.random;
        let sealed =
            crypto::seal_padded(random, &opened.key, &ad(version + 1), plain.as_bytes(), 512);
        row.head.meta = sealed.unwrap();
        row.head.meta_version += 1;
        let mut edit = vault.edit(account).unwrap();
        edit.put(&row.head.id, Some(&opened.row), Some(&row))
            .unwrap();
        edit.commit(|tree| {
            vault
                .store
                .update_key(&row, version, None, tree, &mut || Ok(()))
        })
        .unwrap();
    }

    /// What something of a record is bound to.
    fn ad(&self, account: &Unlocked, field: Field, record: &Id) -> Ad {
        Ad::new(field)
            .vault(&self.store.vault_id())
            .account(account.id())
            .record(record)
    }

    /// Writes sealed state of the account as `change` makes it, with all that goes with it.
    fn rewrite_profile(&self, change: impl FnOnce(&mut super::account::Profile)) {
        let proof = self.step_up();
        let account = self.session();
        let (_, mut profile) = self.vault.open_stepped_up(&proof).unwrap();
        change(&mut profile);
        let new = self
            .vault
            .profile_change(&account, &proof.row, &profile, None);
        let change = AccountChange {
            profile: Some(new.unwrap()),
            ..AccountChange::default()
        };
        self.vault
            .commit_account(&account, &change, &mut || Ok(()))
            .unwrap();
    }

    /// Puts every row of an older file back.
    fn put_back(&self, old: &Path) {
        let hand = self.hand();
        hand.execute("ATTACH ?1 AS old", [old.to_str().unwrap()])
            .unwrap();
        hand.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        for table in ["history", "tree", "keys", "slots", "accounts"] {
            hand.execute_batch(&format!(
                "DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM old.{table}"
            ))
            .unwrap();
        }
    }

    /// A hand in the file, of somebody who has it and no key.
    fn hand(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    fn sql(&self, statement: &str) {
        assert!(self.hand().execute(statement, []).unwrap() > 0);
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("vault.db")
    }

    /// A copy of the file as it is now, as a backup makes it.
    fn backup(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::File::create_new(&path).unwrap();
        self.store.inner().copy_into(&path, &mut |_, _| {}).unwrap();
        path
    }

    /// The same, opened as a vault of its own.
    fn copy(&self, name: &str) -> Vault {
        let store = SqliteStore::open_copy(&self.backup(name), true).unwrap();
        self.vault.over_copy(Arc::new(store))
    }

    /// Everything that rests in the file, but for counted attempts, the last step of a code that was used up, and when.
    fn rows(&self) -> BTreeMap<String, Vec<String>> {
        rows(&self.path())
    }
}

fn rows(path: &Path) -> BTreeMap<String, Vec<String>> {
    let file = rusqlite::Connection::open(path).unwrap();
    let mut tables = file
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'attempts'")
        .unwrap();
    let tables = tables
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(std::result::Result::unwrap);
    tables
        .map(|table| {
            let mut read = file.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns: Vec<usize> = read
                .column_names()
                .enumerate()
                .filter(|(_, name)| *name != "totp_step")
                .map(|(index, _)| index)
                .collect();
            let mut lines: Vec<String> = read
                .query_map([], |row| {
                    let cells = columns
                        .iter()
                        .map(|index| format!("{:?}", row.get_ref(*index).unwrap()));
                    Ok(cells.collect::<Vec<_>>().join(" "))
                })
                .unwrap()
                .map(std::result::Result::unwrap)
                .collect();
            lines.sort();
            (table, lines)
        })
        .collect()
}

fn key(byte: u8) -> LockedKey {
    LockedKey::from_bytes(&mut [byte; 32])
}

fn device(byte: u8) -> Device {
    Arc::new(key(byte))
}

fn text(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn passphrase() -> Secret {
    text(PASSPHRASE)
}

fn key_name(name: &str) -> KeyName {
    KeyName::parse(name, "name").unwrap()
}

fn provider_id(id: &str) -> ProviderId {
    ProviderId::parse(id, "provider").unwrap()
}

fn new_key(name: &str) -> NewKey {
    NewKey {
        name: key_name(name),
        secret: text("sk-0123456789abcdef-one"),
        model: None,
        categories: Vec::new(),
        notes: Some("a note".into()),
        expires_at: None,
        env: None,
        low_balance: None,
        team: None,
        lifetime_s: None,
        use_only: false,
        confirm: false,
        base_url: None,
        destinations: b"https://api.example.com".to_vec(),
    }
}

/// The kind of an error; a success is a failure of the test.
#[track_caller]
fn kind<T>(result: Result<T>) -> Kind {
    refusal(result).kind()
}

#[track_caller]
fn refusal<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error,
    }
}

/// The code that an authenticator shows for a base-32 secret at `unix_s`.
fn code_at(base32: &Secret, unix_s: i64) -> Secret {
    let secret: [u8; 20] = data_encoding::BASE32_NOPAD
        .decode(base32.expose().as_bytes())
        .unwrap()
        .try_into()
        .unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    text(&totp.generate(u64::try_from(unix_s).unwrap()).to_string())
}

impl Room {
    /// The code that an authenticator shows now.
    fn code(&self, base32: &Secret) -> Secret {
        code_at(base32, self.vault.now_ms() / 1000)
    }

    /// The account asks for codes of this secret from here on; the step of now is used up.
    fn bind_totp(&self) -> Secret {
        let (secret, _) = self
            .vault
            .enable_totp(&self.step_up(), &mut || Ok(()))
            .unwrap();
        let account = self.session();
        self.vault
            .confirm_totp(&account, &self.code(&secret), &mut || Ok(()))
            .unwrap();
        self.clock.advance(Duration::from_secs(60));
        secret
    }
}
