//! A service in a temporary home, with a clock that only moves when told to.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails is a test that fails.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use akm_core::audit::Caller;
use akm_core::crypto::KdfCost;
use akm_core::host::{Clock, Host};
use akm_core::protocol::{
    AccountRegister, AgentLock, AgentUnlock, KeyAdd, KeyGet, Op, Operation, Request, TotpConfirm,
    decode_result, encode, envelope, open_envelope,
};
use akm_core::provider::Outbound;
use akm_core::service::{Door, Options};
use akm_core::store::SqliteStore;
use akm_core::vault::{Vault, load_host_key};
use akm_core::{Kind, Result, Secret};

pub const PASSPHRASE: &str = "correct horse battery staple";

/// A clock under the test's thumb.
pub struct ManualClock(Mutex<(i64, Duration)>);

impl ManualClock {
    pub fn at(unix_ms: i64) -> Arc<Self> {
        Arc::new(ManualClock(Mutex::new((
            unix_ms,
            Duration::from_secs(1000),
        ))))
    }

    /// Both clocks move on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        now.0 += i64::try_from(by.as_millis()).unwrap();
        now.1 += by;
    }

    /// Only the wall clock jumps.
    pub fn set_wall(&self, unix_ms: i64) {
        self.0.lock().unwrap().0 = unix_ms;
    }

    pub fn unix_s(&self) -> i64 {
        self.0.lock().unwrap().0.div_euclid(1000)
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

/// A home, a clock, and the service on it.
pub struct Bench {
    pub home: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub key_limit: Option<u64>,
    pub default_lifetime: Option<Duration>,
    /// What is sold, to whoever registers over the network; counts from the next `reopen`.
    pub billing: Option<Arc<akm_core::billing::Settings>>,
    service: Option<Door>,
    /// What a passphrase slot costs; counts from the next `reopen`.
    pub kdf_cost: KdfCost,
}

impl Bench {
    pub fn new() -> Self {
        Bench::with_limit(None)
    }

    pub fn with_limit(key_limit: Option<u64>) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("state")).unwrap();
        let mut bench = Bench {
            home,
            clock: ManualClock::at(1_800_000_000_000),
            key_limit,
            default_lifetime: None,
            billing: None,
            kdf_cost: KdfCost::insecure_test(),
            service: None,
        };
        bench.reopen();
        bench
    }

    /// A home with the account `default`, unlocked, without TOTP.
    pub fn initialized() -> Self {
        let bench = Bench::new();
        bench.register("default", false);
        bench
    }

    /// Closes the service and opens it again on the same files: everything is locked.
    pub fn reopen(&mut self) {
        self.close();
        self.service = Some(self.open().unwrap());
    }

    /// As `reopen`, serving clients of the network by these rules.
    pub fn serve(&mut self, hosting: akm_core::service::Hosting) {
        self.close();
        self.service = Some(self.open().unwrap().with_hosting(hosting));
    }

    pub fn close(&mut self) {
        self.service = None;
    }

    pub fn open(&self) -> Result<Door> {
        Door::open(self.options()).map(|door| match &self.billing {
            Some(settings) => {
                door.with_billing(Arc::clone(settings))
                    .with_hosting(akm_core::service::Hosting {
                        registration: akm_core::service::Registration::Open,
                        totp_required: false,
                        idle: Duration::from_secs(400 * 86_400),
                        absolute: Duration::from_secs(400 * 86_400),
                    })
            }
            None => door,
        })
    }

    /// As `reopen`, as a program does that restores what it cannot open.
    pub fn reopen_or_salvage(&mut self) {
        self.close();
        self.service = Some(Door::open_or_salvage(self.options()).unwrap());
    }

    fn options(&self) -> Options {
        Options {
            vault: self.vault(),
            journal: self.home.path().join("audit.journal"),
            state: self.home.path().join("state"),
            backups: self.home.path().join("backups"),
            host: self.host(),
            key_limit: self.key_limit,
            default_lifetime: self.default_lifetime,
            outbound: Outbound::default(),
        }
    }

    /// The vault under the service, for steps that the service does not stop between. The service must be closed.
    pub fn bare_vault(&self) -> Vault {
        let host = self.host();
        let store = SqliteStore::open(&self.vault(), &*host.random, &*host.clock).unwrap();
        let host_key = load_host_key(&self.home.path().join("state"), &*host.random).unwrap();
        Vault::new(Arc::new(store), host, host_key, None)
    }

    fn host(&self) -> Host {
        Host {
            clock: self.clock.clone(),
            kdf_cost: self.kdf_cost,
            ..Host::real()
        }
    }

    pub fn vault(&self) -> PathBuf {
        self.home.path().join("vault.db")
    }

    pub fn service(&self) -> &Door {
        self.service.as_ref().expect("the service is open")
    }

    pub fn call<T: Operation + Into<Request>>(&self, request: T) -> Result<T::Result> {
        self.call_as(me(), request)
    }

    /// Through the same bytes a wire would carry, so that every type is exercised both ways.
    pub fn call_as<T: Operation + Into<Request>>(
        &self,
        caller: Caller,
        request: T,
    ) -> Result<T::Result> {
        let request = Request::decode(T::OP, &encode(&request)?)?;
        let answer = envelope(&self.service().call(&caller, request));
        decode_result(open_envelope(&answer)?)
    }

    /// A request as typed by hand.
    pub fn raw(&self, op: Op, body: &str) -> Result<serde_json::Value> {
        let request = Request::decode(op, body.as_bytes())?;
        let answer = envelope(&self.service().call(&me(), request));
        decode_result(open_envelope(&answer)?)
    }

    pub fn register(&self, account: &str, totp: bool) -> akm_core::protocol::Registered {
        self.call(AccountRegister {
            account: account.into(),
            passphrase: secret(PASSPHRASE),
            totp: Some(totp),
            invitation: None,
        })
        .unwrap()
    }

    pub fn unlock(&self) -> Result<akm_core::protocol::Unlocked> {
        self.sign_in(None, PASSPHRASE, None)
    }

    pub fn sign_in(
        &self,
        account: Option<&str>,
        passphrase: &str,
        totp: Option<&str>,
    ) -> Result<akm_core::protocol::Unlocked> {
        self.call(AgentUnlock {
            account: account.map(str::to_owned),
            passphrase: secret(passphrase),
            totp: totp.map(secret),
            keyfile: None,
            lifetime_s: None,
            accept_rollback: None,
        })
    }

    pub fn lock(&self) {
        self.call(AgentLock {}).unwrap();
    }

    pub fn add(&self, name: &str, value: &str) -> Result<akm_core::protocol::Key> {
        self.call(new_key(name, value)).map(|result| result.key)
    }

    pub fn get(&self, name: &str) -> Result<String> {
        self.call(KeyGet {
            name: name.into(),
            version: None,
        })
        .map(|result| result.secret.expose().to_owned())
    }

    /// A connection of the test's own to the vault file: the hand of somebody who has the file.
    pub fn hand(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.vault()).unwrap()
    }
}

pub fn me() -> Caller {
    Caller {
        uid: nix::unistd::getuid().as_raw(),
        pid: 1,
        exe: "/usr/bin/test".into(),
        via: Default::default(),
        process: Default::default(),
    }
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

pub fn new_key(name: &str, value: &str) -> KeyAdd {
    KeyAdd {
        name: name.into(),
        secret: secret(value),
        model: None,
        categories: Vec::new(),
        notes: None,
        expires_at: None,
        env: None,
        low_balance: None,
        team: None,
        lifetime_s: None,
        use_only: None,
        confirm: None,
        base_url: None,
    }
}

/// The kind of an error; a success is a failure of the test.
pub fn kind<T>(result: Result<T>) -> Kind {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.kind(),
    }
}

/// The code an authenticator shows for a base-32 secret.
pub fn totp_code(base32: &str, unix_s: i64) -> String {
    let secret: [u8; 20] = data_encoding::BASE32_NOPAD
        .decode(base32.as_bytes())
        .unwrap()
        .try_into()
        .unwrap();
    totp_rs::Builder::new()
        .with_secret(secret)
        .build()
        .unwrap()
        .generate(u64::try_from(unix_s).unwrap())
        .to_string()
}

/// A bench whose account asks for codes of the base-32 secret.
pub fn with_totp() -> (Bench, String) {
    let bench = Bench::new();
    let base32 = bench
        .register("default", true)
        .totp_secret
        .unwrap()
        .expose()
        .to_owned();
    let code = totp_code(&base32, bench.clock.unix_s());
    bench
        .call(TotpConfirm {
            code: secret(&code),
        })
        .unwrap();
    (bench, base32)
}
