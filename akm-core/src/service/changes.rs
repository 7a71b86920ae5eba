//! Which requests change what rests in an account, and whether their caller may.
//!
//! The attack: under the policy `granted` a program without a grant, one that a language model drives, say, cannot read
//! a key. If it could *replace* one, the next request of an honest program would go out under an account of the
//! attacker's, who reads what is sent there; if it could add a provider of its own making, the next key that is stored
//! would be sealed for the attacker's hosts; and it could remove keys, or make backups go by changing how many are kept.
//!
//! So a change needs what handing out needs: a grant (for the key; for every key, where it is about more than one or about
//! one that does not exist yet), or, under `ask`, a person's word for this one change. A change that came with the
//! passphrase is its owner's. Whoever may only use a key may not change it.
//!
//! Free stay what makes things stricter (a policy, taking a grant back, locking) and what has a proof of its own in the
//! request. Where nobody tells callers apart ([`Service::with_callers`] was not said) nothing is asked.

use crate::audit::Caller;
use crate::error::{Error, Result};
use crate::name::KeyName;
use crate::protocol::{Op, Request, Response};
use crate::store::Id;
use crate::vault::is_overtaken;

use super::access::{Gate, pass};
use super::{Asked, Service};

/// Stands for no key: only a grant for every key covers it.
pub(super) const ALL: Id = [0; 16];
/// A request that changes something was about to be carried out a second time.
pub(super) const TWICE: Error = Error::internal("a change was begun twice");

/// How often a change is made of a key that other changes come before. Each time one of those is through, so that these are
/// more than a program has waiting at once.
const TRIES: u32 = 64;

/// Makes a change of a key anew where another one came between reading and writing: requests carry no version, so they are
/// carried out one after the other. `change` asks for the authority again each time.
pub(super) fn in_order<T>(mut change: impl FnMut() -> Result<T>) -> Result<T> {
    let mut tries = 1;
    loop {
        match change() {
            Err(error) if is_overtaken(&error) && tries < TRIES => tries += 1,
            changed => return changed,
        }
    }
}

/// What a request would change.
enum What<'a> {
    /// This key, which exists.
    Key(&'a str),
    /// This key, which is new.
    New(&'a str),
    /// What stands beside the keys.
    Beside,
    /// Nothing that this room is about.
    Nothing,
}

fn what(request: &Request) -> What<'_> {
    match request {
        Request::KeyAdd(request) => What::New(&request.name),
        Request::KeyRotate(request) => What::Key(&request.name),
        Request::KeyRemove(request) => What::Key(&request.name),
        Request::ProviderAdd(_) | Request::ProviderRemove(_) => What::Beside,
        _ => What::Nothing,
    }
}

impl Service {
    /// Runs a slow operation, after a question where its change needs one.
    pub(super) fn allowed_slow(&self, caller: &Caller, request: Request) -> Result<Response> {
        let op = request.op();
        let mut request = Some(request);
        self.asking(caller, op, |asked| {
            in_order(|| {
                if let Some(request) = &request {
                    pass!(self.may_change_by(asked, request)?);
                }
                let answer = match &request {
                    Some(Request::KeyRotate(request)) => {
                        self.rotate_key(asked, request).map(Response::KeyRotate)
                    }
                    Some(Request::KeyRemove(request)) => {
                        self.remove_key(asked, request).map(Response::KeyRemove)
                    }
                    _ => self.slow(asked, request.take().ok_or(TWICE)?),
                };
                answer.map(Gate::Done)
            })
        })
    }

    fn may_change_by(&self, asked: &Asked<'_>, request: &Request) -> Result<Gate<()>> {
        match what(request) {
            What::Key(name) => self.may_change_key(asked, name),
            What::New(name) => {
                let name = KeyName::parse(name, "name")?;
                self.may_change(asked, ALL, &name.to_string())
            }
            What::Beside => self.may_change(asked, ALL, ""),
            What::Nothing => Ok(Gate::Done(())),
        }
    }

    /// Whether the caller may change the key of this name.
    pub(super) fn may_change_key(&self, asked: &Asked<'_>, name: &str) -> Result<Gate<()>> {
        // Nothing is opened twice where nobody is told apart.
        if self.is_open(asked)? {
            return Ok(Gate::Done(()));
        }
        let name = KeyName::parse(name, "name")?;
        let id = self.find(asked, &name)?.record.id;
        self.may_change(asked, id, &name.to_string())
    }

    /// Refuses, or asks a person about, a change of what stands beside the account.
    pub(super) fn ask_to_change(&self, caller: &Caller, op: Op) -> Result<()> {
        self.asking(caller, op, |asked| self.may_change(asked, ALL, ""))
    }
}
