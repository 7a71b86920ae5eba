//! Who is at the other end of a network listener, and how to act in their name: the seam between the listeners and
//! whatever answers there, pages among them.
//!
//! A [`Visitor`] is made by the listener once per request, after Host, Origin and rate limits were checked; a room that
//! answers never looks at cookies, tokens or addresses itself. It asks [`Visitor::standing`] whose session this is,
//! and lets every action go through [`Visitor::call`], which is the door: authorised, audited, in the right lane.
//!
//! Invariants: a visitor holds the digest of a token, never the token. An operation that changes something is refused
//! where a cookie was all that came along and the request was not shown to be from our own pages (CSRF). A new session's
//! token leaves either in the answer or as a cookie that scripts cannot read, never both.
//!
//! A room of pages implements [`Pages`] and is given to [`super::network::Network::with_pages`]:
//!
//! ```text
//! impl Pages for Web {
//!     fn answer(&self, visitor: Visitor, request: hyper::Request<Bytes>) -> Answer<'_> {
//!         Box::pin(async move {
//!             match visitor.standing().await {
//!                 Ok(Some(who)) if request.uri().path() == "/keys" => {
//!                     let page = visitor.call(KeyList::default()).await; // Response::KeyList(page)
//!                     …
//!                 }
//!                 Ok(None) if request.uri().path() == "/login" && request.method() == Method::POST => {
//!                     // visitor.may_change() is what stands between a form and CSRF; enter() checks it as well
//!                     let (response, cookie) = visitor.enter(AgentUnlock { … }).await?;
//!                     answer.headers_mut().insert(SET_COOKIE, cookie);
//!                     …
//!                 }
//!                 …
//!             }
//!         })
//!     }
//! }
//! ```

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::crypto::age;
use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{AgentLock, Cost, Mark, Op, Request, Response};
use akm_core::service;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use super::Shared;
use super::route;
pub use super::route::Http;
use crate::log;

/// The cookie of a session. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`.
pub(super) const COOKIE: &str = "__Host-akm";

/// What a room of pages answers with.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Http> + Send + 'a>>;

/// A room that answers what is no operation: pages and what belongs to them.
pub trait Pages: Send + Sync {
    /// Answers a request whose body was read already, within the limits of an operation's. Host and Origin were
    /// checked. `visitor` is whoever asks, signed in or not.
    fn answer(&self, visitor: Visitor, request: hyper::Request<Bytes>) -> Answer<'_>;
}

/// What came along to show whose session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing.
    None,
    /// A header that no foreign page can set.
    Bearer,
    /// A cookie, which a browser sends by itself.
    Cookie,
    /// The kernel: a process of this machine.
    Kernel,
}

/// Whoever asks.
pub struct Visitor {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Caller,
    pub(super) proof: Proof,
    /// Whether the browser says that our own page asks.
    pub(super) same_origin: bool,
    /// Where the request comes from; a process of this machine has no address.
    pub(super) address: Option<IpAddr>,
}

impl Visitor {
    /// Whose session this is: account, role, and whether nothing is open to it but setting up TOTP. `None` if nobody is
    /// signed in.
    ///
    /// Errors: `unavailable` during a restore.
    pub async fn standing(&self) -> Result<Option<service::Visitor>> {
        if self.proof == Proof::None {
            return Ok(None);
        }
        let caller = self.caller.clone();
        let asked = self
            .shared
            .blocking(move |shared| shared.service.visitor(&caller));
        asked
            .await
            .unwrap_or_else(|| Err(Error::internal("the look at a session failed unexpectedly")))
    }

    /// Whether this request may change anything: it was not sent by a foreign page (CSRF). A page that only shows
    /// something need not ask.
    pub fn may_change(&self) -> bool {
        match self.proof {
            Proof::Bearer | Proof::Kernel => true,
            Proof::None | Proof::Cookie => self.same_origin,
        }
    }

    /// Where the request comes from, past trusted proxies.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Carries out an operation in the visitor's name.
    ///
    /// Errors: the operation's own; `denied` for one that changes something in a request that may not.
    pub async fn call(&self, request: impl Into<Request>) -> Result<Response> {
        let request = request.into();
        if !request.op().is(Mark::Repeatable) && !self.may_change() {
            return Err(foreign_page());
        }
        let _turn = self.turn(&request)?;
        self.run(request).await
    }

    /// Counted and told as a request for the operation is: whoever watches the server sees what its pages do.
    async fn run(&self, request: Request) -> Result<Response> {
        let (start, op) = (Instant::now(), request.op());
        let answer = route::run(&self.shared, self.caller.clone(), request).await;
        let (took, error) = (start.elapsed(), answer.as_ref().err().map(Error::kind));
        self.shared.metrics.count(op, error, took);
        if log::tells_requests() {
            log::request(op, error, took, 0);
        }
        answer
    }

    /// As [`Visitor::call`] for what begins a session (`agent.unlock`, `account.register`, `account.recover`): the token
    /// is taken out of the response and comes as the value of a `Set-Cookie` header. On the owner's own machine there is no
    /// token, and the value is the one that forgets the cookie.
    pub async fn enter(&self, request: impl Into<Request>) -> Result<(Response, HeaderValue)> {
        let mut response = self.call(request).await?;
        let token = take_token(&mut response);
        let cookie = token.map_or_else(forget_cookie, |token| cookie(&token));
        Ok((response, cookie))
    }

    /// Ends the session. The value of the `Set-Cookie` header that forgets its cookie.
    pub async fn leave(&self) -> Result<HeaderValue> {
        if !self.may_change() {
            return Err(foreign_page());
        }
        self.run(AgentLock {}.into()).await?;
        Ok(forget_cookie())
    }

    /// Opens a file that a passphrase seals, in the lane of whatever derives a key: it costs more than a sign-in.
    ///
    /// Errors: as [`age::open_shared`]; `unavailable` where too many derive already.
    pub(crate) async fn open_sealed(
        &self,
        file: Vec<u8>,
        passphrase: Secret,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let network = self.shared.network.get().filter(|_| self.address.is_some());
        let _turn = network.map(super::network::Network::turn).transpose()?;
        let lane = super::route::deriving(&self.shared, &self.caller);
        let place = Arc::clone(lane).acquire_owned().await.ok();
        let is_owner = self.caller.is_owner();
        let opened = self.shared.blocking(move |_| {
            let _place = place;
            let _turn = akm_core::crypto::go_first(is_owner);
            age::open_shared(&file, &passphrase)
        });
        opened
            .await
            .unwrap_or_else(|| Err(Error::internal("a file was not opened, unexpectedly")))
    }

    /// A place among those who derive keys for the network, and the leave to guess once more; a process of this machine
    /// needs neither.
    pub(super) fn turn(&self, request: &Request) -> Result<Option<super::network::Turn>> {
        let Some((network, address)) = self.shared.network.get().zip(self.address) else {
            return Ok(None);
        };
        let op = request.op();
        if matches!(
            op,
            Op::AgentUnlock | Op::AccountRegister | Op::AccountRecover
        ) {
            network.sign_in(address)?;
        }
        match op.cost() == Cost::Deriving || route::derives(request) {
            true => network.turn().map(Some),
            false => Ok(None),
        }
    }
}

fn foreign_page() -> Error {
    Error::new(
        Kind::Denied,
        "the request does not come from this server's own pages",
    )
}

/// The token of a session that has just begun.
pub(super) fn take_token(response: &mut Response) -> Option<Secret> {
    match response {
        Response::AgentUnlock(unlocked) => unlocked.token.take(),
        Response::AccountRegister(registered) => registered.token.take(),
        Response::AccountRecover(recovered) => recovered.token.take(),
        _ => None,
    }
}

/// The cookie of a session: for this host alone, over TLS, not for scripts, and not sent along by foreign pages. It has
/// no age: it ends with the browser, and on the server by the session's own limits.
pub(super) fn cookie(token: &Secret) -> HeaderValue {
    set_cookie(token.expose(), None)
}

/// Makes a browser forget the cookie.
pub(super) fn forget_cookie() -> HeaderValue {
    set_cookie("", Some(Duration::ZERO))
}

fn set_cookie(value: &str, age: Option<Duration>) -> HeaderValue {
    let age = age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs()));
    let text = format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{age}");
    let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}
