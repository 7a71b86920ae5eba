//! Who is at the other end of a Unix socket. The only room that names the `uds` crate.
//!
//! Invariants: the credentials are those the kernel noted when the connection was made, so they cannot
//! be forged by what is sent; a peer whose process has no id here (it lives in a process namespace that
//! we cannot see into) is an error, and both sides treat an error as a refusal.
//!
//! Deliberately absent: the decision who may speak. The client decides in `client`, the agent in its server.

use std::os::unix::net::UnixStream;

use uds::{ConnCredentials, UnixStreamExt};

use crate::error::{Error, Kind, Result};

/// The process at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id, as seen from here.
    pub uid: u32,
    /// Process id, as seen from here; `None` where the system does not tell.
    pub pid: Option<i32>,
    /// Effective group id, where the system tells.
    pub gid: Option<u32>,
}

/// The peer of a connected stream: on the accepting side who connected, on the connecting side who listens.
///
/// Errors: `denied` if the system does not say.
pub fn of(stream: &UnixStream) -> Result<Peer> {
    let credentials = stream.initial_peer_credentials().map_err(|_| {
        Error::new(
            Kind::Denied,
            "the system does not say who is at the other end",
        )
    })?;
    Ok(Peer {
        uid: credentials.euid(),
        pid: pid(&credentials),
        gid: credentials.egid(),
    })
}

fn pid(credentials: &ConnCredentials) -> Option<i32> {
    credentials
        .pid()
        .and_then(|pid| i32::try_from(pid.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_this_process() {
        let (a, b) = UnixStream::pair().unwrap();
        let own = Peer {
            uid: nix::unistd::geteuid().as_raw(),
            pid: Some(nix::unistd::getpid().as_raw()),
            gid: Some(nix::unistd::getegid().as_raw()),
        };
        assert_eq!(of(&a).unwrap(), own);
        assert_eq!(of(&b).unwrap(), own);
    }
}
