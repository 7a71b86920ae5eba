//! What stands behind a handle: an agent's socket, or a vault inside this process.
//!
//! A connected target keeps a few idle connections, so that threads sharing a handle do not wait for each other: a call
//! takes one out, or makes a new one, and puts it back. No lock is held while an answer is awaited.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use akm_core::client::Client;
use akm_core::protocol::{self, KeyGet, KeySecret, Op};
use akm_core::{Error, Kind, Result};
use zeroize::Zeroizing;

use crate::embedded::Embedded;

/// Most idle connections a handle keeps.
const MAX_IDLE: usize = 4;

/// What a child process needs to know of a parent's target.
pub(crate) enum Origin {
    /// The socket's path.
    Socket(PathBuf),
    /// A vault in the parent.
    Vault,
}

pub(crate) enum Target {
    Connected(Connected),
    Embedded(Embedded),
}

impl Target {
    /// Connects at once, so that a missing agent is told here and not at the first call.
    pub(crate) fn connect(socket: Option<&Path>) -> Result<Self> {
        let client = Client::connect(socket)?;
        Ok(Target::Connected(Connected {
            socket: client.socket().to_owned(),
            idle: Mutex::new(vec![client]),
        }))
    }

    /// Opens a vault, locked.
    pub(crate) fn open(vault: Option<&Path>) -> Result<Self> {
        Embedded::open(vault).map(Target::Embedded)
    }

    /// The target of a child process that inherited one, if there can be one. Connects at the first call.
    pub(crate) fn reborn(origin: &Origin) -> Option<Self> {
        match origin {
            Origin::Socket(socket) => Some(Target::Connected(Connected {
                socket: socket.clone(),
                idle: Mutex::new(Vec::new()),
            })),
            Origin::Vault => None,
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        match self {
            Target::Connected(connected) => Origin::Socket(connected.socket.clone()),
            Target::Embedded(_) => Origin::Vault,
        }
    }

    /// Calls an operation by name; gives the result's JSON.
    pub(crate) fn call(&self, op: &str, json: &[u8]) -> Result<Vec<u8>> {
        match self {
            Target::Connected(connected) => connected.call(op, json),
            Target::Embedded(embedded) => embedded.call(op, json),
        }
    }

    /// Fetches a key; gives the secret's bytes.
    pub(crate) fn get(&self, name: &str) -> Result<Vec<u8>> {
        let request = protocol::encode(&KeyGet {
            name: name.to_owned(),
            version: None,
        })?;
        let json = Zeroizing::new(self.call(Op::KeyGet.name(), &request)?);
        let json = serde_json::from_slice(&json)
            .map_err(|_| Error::new(Kind::Unavailable, "the result is not JSON"))?;
        let result: KeySecret = protocol::decode_result(json)?;
        Ok(result.secret.expose().as_bytes().to_vec())
    }
}

pub(crate) struct Connected {
    socket: PathBuf,
    idle: Mutex<Vec<Client>>,
}

impl Connected {
    fn call(&self, op: &str, json: &[u8]) -> Result<Vec<u8>> {
        let idle = self.idle().pop();
        let mut client = match idle {
            Some(client) => client,
            None => Client::connect(Some(&self.socket))?,
        };
        // A client reconnects by itself, so it goes back whatever the answer was. After a panic it does not.
        let answer = client.call_raw(op, json);
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(client);
        }
        drop(idle);
        answer.map(|mut bytes| mem::take(&mut *bytes))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
