//! What happened: the event as the service states it, and the part of it that rests sealed.
//!
//! Invariants: no field can hold a secret's value, a passphrase or a name that somebody typed. A key
//! stands in an event as a [`KeyName`], which the service takes from a record that exists; an account
//! stands in it only by being the chain; everything else is a literal of this program or was read from
//! the kernel. The sealed part has one layout, padded so that its length tells little about the name.

use std::fmt;

use crate::caller::Witness;
use crate::error::{Error, Kind, Result};
use crate::name::KeyName;
use crate::protocol::Op;
use crate::store::Id;

/// Longest path of an executable that an event keeps, in bytes; the rest is cut off.
pub const MAX_EXE: usize = 4096;
/// Longest key name: provider, slash, label.
const MAX_NAME: usize = crate::name::MAX_PROVIDER + 1 + crate::name::MAX_LABEL;
/// The plaintext of the sealed part is padded with zeros to a multiple of this.
const PADDING: usize = 64;
/// Layout of the plaintext: version, uid, pid, two lengths, two texts, zeros.
const FIXED: usize = 1 + 4 + 4 + 2 + 2;
const LAYOUT: u8 = 1;
/// Longest plaintext of the sealed part.
pub(super) const MAX_DETAIL: usize = (FIXED + MAX_NAME + MAX_EXE).next_multiple_of(PADDING);

/// The digest of a session's token: what is kept of it. The token itself leaves once, at sign-in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest(pub(crate) [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// How a request came in, which decides what its session hangs on and what it may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Over the agent's own socket or inside this process: the kernel says who it is.
    #[default]
    Host,
    /// Over a network listener, with the digest of the token that was shown, if any.
    Network(Option<TokenDigest>),
}

/// Who asks: a process of this machine, or a client of a network listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id; of a client of a network listener [`NETWORK_UID`].
    pub uid: u32,
    /// Process id; 0 where there is none.
    pub pid: i32,
    /// Path of the executable, as far as it could be read, or where a client of a network listener connects from; an
    /// event keeps the first [`MAX_EXE`] bytes.
    pub exe: String,
    /// How the request came in. It is not part of an event.
    pub via: Via,
    /// What else can be said of the process, by whoever sees it; no part of an event.
    pub process: Witness,
}

/// Stands in an event for the user id of whoever came over the network. No process has it: it is what system calls
/// take for "nobody in particular".
pub const NETWORK_UID: u32 = u32::MAX;

impl Caller {
    /// Whether it is the user of this process who asks, on this machine and not over the network.
    pub fn is_owner(&self) -> bool {
        self.via == Via::Host && self.uid == nix::unistd::geteuid().as_raw()
    }

    /// A client of a network listener, and what it showed as its token. A text that is no token is as good as one that
    /// fits nothing.
    pub fn network(from: std::net::IpAddr, token: Option<&str>) -> Caller {
        Caller {
            uid: NETWORK_UID,
            pid: 0,
            exe: format!("network {from}"),
            via: Via::Network(token.map(TokenDigest::of)),
            process: Witness::default(),
        }
    }
}

impl TokenDigest {
    /// The digest of a token as it was given out. Tokens are 256 random bits, so neither salt nor work is needed.
    pub fn of(token: &str) -> TokenDigest {
        TokenDigest(crate::crypto::hash(&[
            b"akm session token",
            token.as_bytes(),
        ]))
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, or is being done: the event is written first.
    Ok,
    /// It was refused or failed.
    Failed(Kind),
}

impl Outcome {
    /// The stable token: `ok`, or the kind's.
    pub const fn token(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed(kind) => kind.token(),
        }
    }

    /// The outcome of a finished operation.
    pub fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Outcome::Ok,
            Err(error) => Outcome::Failed(error.kind()),
        }
    }
}

/// What happened. There is no field that could hold a value.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The operation.
    pub op: Op,
    /// How it ended.
    pub outcome: Outcome,
    /// The key's record, where there is one.
    pub record: Option<Id>,
    /// The key's name; only of a key that exists.
    pub key: Option<&'a KeyName>,
    /// Who asked.
    pub caller: &'a Caller,
}

/// Writes the sealed part's plaintext into `out`, replacing what is there.
pub(super) fn encode_detail(key: Option<&KeyName>, caller: &Caller, out: &mut Vec<u8>) {
    let exe = cut(&caller.exe, MAX_EXE);
    let name_len = key.map_or(0, |key| {
        key.provider().as_str().len() + 1 + key.label().len()
    });
    debug_assert!(name_len <= MAX_NAME);
    out.clear();
    out.push(LAYOUT);
    out.extend_from_slice(&caller.uid.to_le_bytes());
    out.extend_from_slice(&caller.pid.to_le_bytes());
    // Both fit: a KeyName is at most MAX_NAME bytes by its own parsing, `cut` bounds the path.
    out.extend_from_slice(&(name_len as u16).to_le_bytes());
    out.extend_from_slice(&(exe.len() as u16).to_le_bytes());
    if let Some(key) = key {
        out.extend_from_slice(key.provider().as_str().as_bytes());
        out.push(b'/');
        out.extend_from_slice(key.label().as_bytes());
    }
    out.extend_from_slice(exe.as_bytes());
    out.resize(out.len().next_multiple_of(PADDING), 0);
}

/// The sealed part, opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) key: Option<String>,
    pub(super) caller: Caller,
}

/// Reads what [`encode_detail`] wrote; anything else is `corrupt`.
pub(super) fn decode_detail(plain: &[u8]) -> Result<Detail> {
    parse_detail(plain).ok_or(Error::corrupt("an audit event does not have its layout"))
}

fn parse_detail(plain: &[u8]) -> Option<Detail> {
    let (&layout, rest) = plain.split_first()?;
    let (uid, rest) = rest.split_first_chunk()?;
    let (pid, rest) = rest.split_first_chunk()?;
    let (name_len, rest) = rest.split_first_chunk()?;
    let (exe_len, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*name_len)))?;
    let (exe, padding) = rest.split_at_checked(usize::from(u16::from_le_bytes(*exe_len)))?;
    let fits = layout == LAYOUT
        && name.len() <= MAX_NAME
        && exe.len() <= MAX_EXE
        && padding.len() < PADDING
        && plain.len().is_multiple_of(PADDING)
        && padding.iter().all(|byte| *byte == 0);
    if !fits {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    Some(Detail {
        key: (!name.is_empty()).then(|| name.to_owned()),
        caller: Caller {
            uid: u32::from_le_bytes(*uid),
            pid: i32::from_le_bytes(*pid),
            exe: std::str::from_utf8(exe).ok()?.to_owned(),
            via: Via::Host,
            process: Default::default(),
        },
    })
}

/// At most `max` bytes of a text, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(key: Option<&KeyName>, caller: &Caller) -> Detail {
        let mut plain = vec![7; 3];
        encode_detail(key, caller, &mut plain);
        assert!(plain.len() <= MAX_DETAIL);
        decode_detail(&plain).unwrap()
    }

    #[test]
    fn the_longest_event_fits_and_a_longer_path_is_cut_between_characters() {
        let longest = format!("{}/{}", "p".repeat(64), "l".repeat(100));
        let name = KeyName::parse(&longest, "name").unwrap();
        let caller = Caller {
            uid: u32::MAX,
            pid: i32::MIN,
            exe: "ä".repeat(MAX_EXE),
            via: Via::Host,
            process: Default::default(),
        };
        let detail = round(Some(&name), &caller);
        assert_eq!(detail.key.as_deref(), Some(longest.as_str()));
        assert_eq!(detail.caller.exe, "ä".repeat(MAX_EXE / 2));
        assert_eq!(detail.caller.uid, u32::MAX);
        assert_eq!(detail.caller.pid, i32::MIN);
    }

    #[test]
    fn lengths_within_one_padding_step_look_alike() {
        let length = |exe: usize| {
            let mut plain = Vec::new();
            let caller = Caller {
                uid: 0,
                pid: 0,
                exe: "x".repeat(exe),
                via: Via::Host,
                process: Default::default(),
            };
            encode_detail(None, &caller, &mut plain);
            plain.len()
        };
        assert_eq!(length(0), length(PADDING - FIXED));
        assert_ne!(length(0), length(PADDING - FIXED + 1));
    }

    proptest! {
        #[test]
        fn the_sealed_part_comes_back(uid: u32, pid: i32, exe in ".{0,200}", label in "[a-z]{0,20}") {
            let caller = Caller { uid, pid, exe, via: Via::Host, process: Default::default() };
            let key = KeyName::parse(&format!("openai/{label}"), "name").ok();
            let detail = round(key.as_ref(), &caller);
            prop_assert_eq!(detail.key, key.map(|key| key.to_string()));
            prop_assert_eq!(detail.caller, caller);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_detail(&bytes);
        }
    }
}
