//! Clients of network listeners, as the service sees them: tokens, registration, roles, and what reaches whom.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod authority;
mod registration;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use std::net::IpAddr;

use akm_core::audit::Caller;
use akm_core::protocol::{
    AccountRegister, AgentUnlock, KeyGet, Operation, Request, decode_result, encode, envelope,
    open_envelope,
};
use akm_core::service::{Door, Hosting, Registration};
use akm_core::{Result, Secret};
use support::{Bench, PASSPHRASE, secret, totp_code};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

/// A service with clients of the network.
struct Site {
    bench: Bench,
    door: Door,
}

impl Site {
    fn new(hosting: Hosting) -> Site {
        let mut bench = Bench::new();
        bench.close();
        let door = bench.open().unwrap().with_hosting(hosting);
        Site { bench, door }
    }

    /// Anybody may register, and TOTP is not asked for.
    fn open() -> Site {
        Site::new(Hosting {
            registration: Registration::Open,
            totp_required: false,
            ..Hosting::default()
        })
    }

    fn call<T: Operation + Into<Request>>(&self, caller: &Caller, request: T) -> Result<T::Result> {
        let request = Request::decode(T::OP, &encode(&request)?)?;
        let answer = envelope(&self.door.call(caller, request));
        decode_result(open_envelope(&answer)?)
    }

    fn register(&self, account: &str) -> Caller {
        let registered = self
            .call(&nobody(), registration(account, Some(false)))
            .unwrap();
        with(&registered.token.unwrap())
    }

    fn sign_in(&self, from: &Caller, account: &str) -> Result<Secret> {
        self.call(from, unlock(account, PASSPHRASE))
            .map(|unlocked| unlocked.token.unwrap())
    }

    fn totp(&self, base32: &Secret) -> String {
        totp_code(base32.expose(), self.bench.clock.unix_s())
    }
}

fn nobody() -> Caller {
    Caller::network(ADDRESS, None)
}

fn with(token: &Secret) -> Caller {
    Caller::network(ADDRESS, Some(token.expose()))
}

fn registration(account: &str, totp: Option<bool>) -> AccountRegister {
    AccountRegister {
        account: account.into(),
        passphrase: secret(PASSPHRASE),
        totp,
        invitation: None,
    }
}

fn unlock(account: &str, passphrase: &str) -> AgentUnlock {
    AgentUnlock {
        account: Some(account.into()),
        passphrase: secret(passphrase),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    }
}

fn get(name: &str) -> KeyGet {
    KeyGet {
        name: name.into(),
        version: None,
    }
}
