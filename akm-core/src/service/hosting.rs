//! What holds for clients of network listeners, and for nobody else: which operations they are offered, how an account
//! comes into being there, and how long a session lasts.
//!
//! Invariants: without a [`Hosting`] every client of a network listener is refused. A session over the network hangs on a
//! random token that leaves once and is kept as a digest; a sign-in never goes on with a token that somebody brought. At
//! each request the account's standing is read anew: whoever was disabled, lost a role or has no TOTP although the
//! server asks for it is treated so at once. What a client without a session is told is the same for every server
//! and every name.

use std::time::Duration;

use unicode_normalization::UnicodeNormalization;

use crate::Secret;
use crate::audit::{Caller, TokenDigest, Via};
use crate::error::{Error, Kind, Result};
use crate::protocol::{
    Authority, Empty, LockReason, Offered, Op, Role, SessionInfo, SessionPage, SessionRevoke,
    Status, offered,
};
use crate::store::Standing;
use crate::vault::{Origin, Unlocked};

use super::lifetimes::Lasting;
use super::session::{Principal, Session, Table};
use super::{Asked, Service, origin, shape};

/// What a token starts with, so that a search for secrets finds one.
const TOKEN: &str = "akms_";
/// Fewest characters of a passphrase that is chosen over the network, as NIST SP 800-63B has it: whoever has the server's disk
/// guesses for as long as they like.
const MIN_PASSPHRASE: usize = 8;

/// Who may create an account over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Nobody: accounts are created on the host.
    #[default]
    Closed,
    /// Whoever has an invitation.
    Invitation,
    /// Anybody.
    Open,
}

/// What holds for clients of network listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosting {
    /// Who may create an account.
    pub registration: Registration,
    /// Whether an account without TOTP may do nothing but set it up.
    pub totp_required: bool,
    /// How long a session lasts without being used.
    pub idle: Duration,
    /// How long a session lasts at most.
    pub absolute: Duration,
}

impl Default for Hosting {
    fn default() -> Self {
        Hosting {
            registration: Registration::default(),
            totp_required: true,
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(12 * 60 * 60),
        }
    }
}

/// Who stands behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The account whose session it is.
    pub account: String,
    /// Its role.
    pub role: Role,
    /// Whether nothing is open to it but setting up TOTP.
    pub totp_missing: bool,
}

/// Whom a new session belongs to, and what its owner must know of it.
pub(super) struct Ticket {
    pub(super) who: Principal,
    pub(super) token: Option<Secret>,
    pub(super) from: Option<String>,
}

impl Service {
    /// Serves clients of network listeners by these rules.
    #[must_use]
    pub fn with_hosting(mut self, hosting: Hosting) -> Service {
        self.hosting = Some(hosting);
        self
    }

    /// Whether the vault can be read.
    pub fn ready(&self) -> Result<()> {
        self.vault.account_cards("", 1).map(drop)
    }

    /// Whose session the caller has, if it has one that is good for anything. Does not wait for a derivation.
    pub fn visitor(&self, caller: &Caller) -> Result<Option<Visitor>> {
        let table = self.sessions.read();
        let Ok(session) = table.live(caller, &*self.host.clock) else {
            return Ok(None);
        };
        let standing = self.vault.standing(session.account.id())?;
        let remote = caller.via != Via::Host;
        if remote && standing.disabled {
            return Ok(None);
        }
        Ok(Some(Visitor {
            account: session.account.name().as_str().to_owned(),
            role: standing.role,
            totp_missing: remote && self.lacks_totp(&standing),
        }))
    }

    /// Whether the caller may ask for the operation.
    pub(super) fn admit(&self, table: &Table, caller: &Caller, op: Op) -> Result<()> {
        if caller.via != Via::Host {
            return self.admit_remote(table, caller, op);
        }
        match op.authority() {
            Authority::Anyone => Ok(()),
            Authority::Session => {
                let session = table.live(caller, &*self.host.clock)?;
                session.touch(&*self.host.clock);
                Ok(())
            }
            Authority::Admin | Authority::Owner if origin(caller) == Origin::Owner => Ok(()),
            Authority::Admin | Authority::Owner => Err(not_for_you()),
        }
    }

    fn admit_remote(&self, table: &Table, caller: &Caller, op: Op) -> Result<()> {
        if self.hosting.is_none() || op.authority() == Authority::Owner {
            return Err(not_offered());
        }
        let entering = match offered(op) {
            Offered::Never => return Err(not_offered()),
            Offered::Anyone => return Ok(()),
            Offered::Entering => true,
            Offered::Session => false,
        };
        let session = table.live(caller, &*self.host.clock)?;
        let standing = self.vault.standing(session.account.id())?;
        if standing.disabled {
            return Err(Error::locked());
        }
        session.touch(&*self.host.clock);
        if !entering && self.lacks_totp(&standing) {
            return Err(Error::new(Kind::Denied, "this server asks for TOTP")
                .with_hint("confirm the code with totp.confirm, or begin with totp.enable"));
        }
        if op.authority() == Authority::Admin && standing.role != Role::Admin {
            return Err(not_for_you());
        }
        Ok(())
    }

    /// What reaches every account, or ends one, is for servers: the socket of a person's own agent is also reached by programs
    /// that a policy or a sandbox keeps from everything else.
    pub(super) fn serves_accounts(&self) -> Result<()> {
        if self.hosting.is_some() {
            return Ok(());
        }
        Err(
            Error::new(Kind::Unavailable, "this agent serves no accounts to others")
                .with_hint("a server does: akm-agent serve"),
        )
    }

    fn lacks_totp(&self, standing: &Standing) -> bool {
        self.hosting
            .as_ref()
            .is_some_and(|hosting| hosting.totp_required && !standing.totp_active)
    }

    /// Whether an account may be created this way; the digest of the invitation that it takes.
    pub(super) fn admit_registration(
        &self,
        caller: &Caller,
        totp: bool,
        invitation: Option<&Secret>,
    ) -> Result<Option<crate::store::Tag>> {
        let Some(hosting) = self.hosting.as_ref().filter(|_| caller.via != Via::Host) else {
            return Ok(None);
        };
        if hosting.totp_required && !totp {
            return Err(Error::new(Kind::Denied, "this server asks for TOTP").with_field("totp"));
        }
        match hosting.registration {
            Registration::Open => Ok(None),
            Registration::Closed => Err(Error::new(
                Kind::Denied,
                "accounts are not created over the network on this server",
            )),
            // Before anything is said about the name.
            Registration::Invitation => {
                let tag = invitation.map(|text| self.vault.invitation_tag(text));
                match tag {
                    Some(tag) if self.vault.is_invited(&tag)? => Ok(Some(tag)),
                    _ => Err(
                        Error::new(Kind::Denied, "registering here takes an invitation")
                            .with_field("invitation"),
                    ),
                }
            }
        }
    }

    /// Checks a passphrase that somebody chooses over the network. On the host a person's own vault takes any.
    pub(super) fn check_chosen(
        &self,
        caller: &Caller,
        typed: &Secret,
        field: &'static str,
    ) -> Result<()> {
        // In the spelling that opens the account.
        if caller.via == Via::Host || typed.expose().nfc().count() >= MIN_PASSPHRASE {
            return Ok(());
        }
        Err(Error::invalid(
            field,
            "on this server a passphrase has eight characters or more",
        )
        .with_hint("four or five words are easy to remember and hard to guess"))
    }

    /// What is told to a client that has no session: nothing that depends on a name, or on whether there is any account.
    pub(super) fn remote_status(&self, table: &Table, caller: &Caller) -> Result<Status> {
        let session = table.live(caller, &*self.host.clock).ok();
        let standing = match session {
            Some(session) => Some(self.vault.standing(session.account.id())?),
            None => None,
        };
        let required = self
            .hosting
            .as_ref()
            .is_some_and(|hosting| hosting.totp_required);
        Ok(Status {
            initialized: true,
            locked: session.is_none(),
            account: session.map(|session| session.account.name().as_str().to_owned()),
            totp_required: standing.map_or(required, |standing| standing.totp_active),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            expires_at: session
                .and_then(|session| session.expires_at)
                .map(shape::time),
            damaged: session.and_then(|session| self.checks.damaged(session.account.id())),
            rekey: match session {
                Some(session) => self.rekey_progress(&session.account)?,
                None => None,
            },
            codes_undelivered: session
                .is_some_and(|session| session.account.codes_undelivered())
                .then_some(true),
            opened_at: session.map(|session| shape::time(session.opened_at)),
            idle_lock_s: session
                .and_then(|session| session.idle)
                .map(|idle| idle.as_secs()),
            // Why somebody else's session ended is not told, nor what process this is, nor how other accounts are.
            missing_accounts: None,
            accounts_elsewhere: None,
            locked_because: None,
            pid: None,
            vault: None,
        })
    }

    /// A session for this caller: of its uid on the host, of a token made now over the network.
    pub(super) fn ticket(&self, caller: &Caller) -> Ticket {
        match (&caller.via, &self.hosting) {
            (Via::Host, _) => Ticket {
                who: caller.into(),
                token: None,
                from: None,
            },
            (Via::Network(_), None) => Ticket {
                who: Principal::Nobody,
                token: None,
                from: None,
            },
            (Via::Network(_), Some(_)) => {
                let mut bytes = [0; 32];
                self.host.random.fill(&mut bytes);
                let text = data_encoding::BASE64URL_NOPAD.encode(&bytes);
                let token = Secret::new(format!("{TOKEN}{text}"));
                Ticket {
                    who: Principal::Token(TokenDigest::of(token.expose())),
                    token: Some(token),
                    from: Some(caller.exe.clone()),
                }
            }
        }
    }

    /// How long a session of this caller may last, and rest: over the network what holds there as well.
    pub(super) fn lasting(&self, caller: &Caller, asked: Lasting) -> Lasting {
        let least = |asked: Option<Duration>, most: Duration| {
            Some(asked.map_or(most, |asked| asked.min(most)))
        };
        match (&caller.via, &self.hosting) {
            (Via::Network(_), Some(hosting)) => Lasting {
                lifetime: least(asked.lifetime, hosting.absolute),
                idle: least(asked.idle, hosting.idle),
            },
            _ => asked,
        }
    }

    /// Whether a session of this account may begin. Asked where nothing can come between, so that whoever disables an
    /// account finds its last session.
    pub(super) fn admit_account(&self, caller: &Caller, account: &Unlocked) -> Result<()> {
        if caller.via == Via::Host {
            return Ok(());
        }
        if self.hosting.is_none() {
            return Err(not_offered());
        }
        if self.vault.standing(account.id())?.disabled {
            return Err(Error::new(Kind::Denied, "the account is disabled"));
        }
        Ok(())
    }

    /// How providers are reached for this caller. This machine is not for clients of the network to reach into: an
    /// address of its own that somebody gave a key would lead to whatever else runs here.
    #[cfg(feature = "providers")]
    pub(super) fn outbound_for(&self, caller: &Caller) -> crate::provider::Outbound {
        let mut outbound = self.outbound.clone();
        outbound.loopback &= caller.via == Via::Host;
        outbound
    }

    pub(super) fn list_sessions(&self, caller: &Caller) -> Result<SessionPage> {
        let table = self.sessions.read();
        let mine = table.live(caller, &*self.host.clock)?;
        let mut all: Vec<(&Session, bool)> = table
            .all()
            .map(|(_, session)| session)
            .filter(|session| session.account.id() == mine.account.id())
            .filter(|session| !session.is_over(&*self.host.clock))
            .map(|session| (session, session.generation() == mine.generation()))
            .collect();
        all.sort_by_key(|(session, _)| std::cmp::Reverse(session.generation()));
        let shown = |(session, current): (&Session, bool)| SessionInfo {
            id: session.handle(),
            current,
            host: session.from.is_none(),
            from: session.from.clone(),
            created_at: session
                .from
                .as_ref()
                .map(|_| shape::time(session.opened_at)),
            expires_at: session.expires_at.map(shape::time),
        };
        Ok(SessionPage {
            sessions: all.into_iter().map(shown).collect(),
        })
    }

    pub(super) fn revoke_session(&self, caller: &Caller, request: &SessionRevoke) -> Result<Empty> {
        let (account, own) = {
            let table = self.sessions.read();
            let mine = table.live(caller, &*self.host.clock)?;
            let id = *mine.account.id();
            let named = |session: &Session| {
                *session.account.id() == id
                    && request
                        .id
                        .as_ref()
                        .is_some_and(|wanted| *wanted == session.handle())
            };
            self.audited(&Asked::new(mine, caller, Op::SessionRevoke), |asked| {
                if request.id.is_some() && !table.all().any(|(_, session)| named(session)) {
                    return Err(
                        Error::new(Kind::NotFound, "the account has no such session")
                            .with_field("id")
                            .with_hint("run akm account sessions"),
                    );
                }
                self.event(asked)
            })?;
            (id, mine.generation())
        };
        let which = |session: &Session| {
            let goes = *session.account.id() == account
                && match &request.id {
                    Some(wanted) => *wanted == session.handle(),
                    None => session.generation() != own,
                };
            goes.then_some(LockReason::Asked)
        };
        self.sessions
            .close_where(&which, &mut |who, session, reason| {
                self.note_lock(who, session, reason);
            });
        crate::memory::scrub_stack();
        Ok(Empty {})
    }
}

fn not_offered() -> Error {
    Error::new(Kind::Denied, "this is not offered over the network")
}

fn not_for_you() -> Error {
    Error::new(Kind::Denied, "this is for an administrator")
        .with_hint("the owner of the vault makes one on the host: akm admin grant NAME")
}
