//! `akm ui`: a dashboard for one browser of this machine.
//!
//! A link is `http://127.0.0.1:PORT/RANDOM/open#TOKEN`. What stands behind the `#` never leaves the browser by itself: the page that
//! is there sends it in a form and gets a cookie for it, once, within a minute. The browser then acts as the uid that asked for the
//! link, on that uid's own session: locked is locked there too, and the page asks for the passphrase.
//!
//! Invariants: 127.0.0.1 only, on a port that the system chooses; listening only while there is a link to use or a browser that used
//! one; peers of uids that asked for no link are closed unread. Cookies do not know ports, so every other server on 127.0.0.1
//! that the person visits would be shown ours: they are bound to a path of random bytes that no other server knows. A link's
//! token and a browser's cookie are different secrets, compared in constant time. A browser is forgotten after half an hour
//! without a request, after twelve hours, and when it says so.
//!
//! Deliberately absent: TLS. Whoever can read this machine's loopback can read the agent.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::dashboard::Dashboard;
use akm_core::error::{Error, Kind, Result};
use akm_core::host::Host;
use akm_core::protocol::UiLink;
use data_encoding::BASE32_NOPAD;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use zeroize::Zeroizing;

use super::guard::Origin;
use super::theme::Site;
use super::{peer, routes};
use crate::server::desk::Desk;

/// How long a link may wait for its browser.
const LINK_LIFE: Duration = Duration::from_secs(60);
/// Links that wait at a time; the oldest goes first.
const MAX_LINKS: usize = 8;
/// Browsers at a time; the one that was quiet the longest goes first.
const MAX_GUESTS: usize = 8;
/// How long a browser may be quiet, and stay at all.
const IDLE: Duration = Duration::from_secs(30 * 60);
const STAY: Duration = Duration::from_secs(12 * 60 * 60);
/// How often is looked whether anybody is still wanted.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Connections at a time: a browser opens six.
const MAX_CONNECTIONS: usize = 64;
/// What stands in the name of whoever a browser acts for.
const EXE: &str = "browser";

/// The dashboard of an agent.
pub(crate) struct Local(Arc<Inner>);

struct Inner {
    host: Host,
    folder: Option<PathBuf>,
    desk: OnceLock<(Desk, Handle)>,
    state: Mutex<State>,
    /// Somebody left: maybe the last.
    left: Notify,
}

#[derive(Default)]
struct State {
    door: Option<Arc<DoorTo>>,
    links: Vec<Link>,
    guests: Vec<Guest>,
}

/// A listener while it listens.
struct DoorTo {
    origin: Origin,
    /// `/RANDOM`
    base: String,
    site: Site,
    address: SocketAddr,
}

struct Link {
    token: Secret,
    caller: Caller,
    until: Duration,
}

struct Guest {
    cookie: Secret,
    caller: Caller,
    since: Duration,
    seen: Duration,
}

impl Local {
    /// A dashboard that listens to nothing yet; `folder` replaces its style, logo and texts.
    pub(crate) fn new(host: Host, folder: Option<PathBuf>) -> Local {
        Local(Arc::new(Inner {
            host,
            folder,
            desk: OnceLock::new(),
            state: Mutex::default(),
            left: Notify::new(),
        }))
    }

    /// Says which server answers. Within its runtime.
    pub(crate) fn serve(&self, desk: Desk) {
        let _ = self.0.desk.set((desk, Handle::current()));
    }
}

impl Dashboard for Local {
    fn open(&self, caller: &Caller) -> Result<UiLink> {
        let inner = &self.0;
        let (desk, handle) = inner
            .desk
            .get()
            .ok_or_else(|| Error::new(Kind::Unavailable, "the agent does not serve yet"))?;
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = inner.host.clock.boot();
        state.sweep(now);
        let door = match &state.door {
            Some(door) => Arc::clone(door),
            None => inner.listen(desk, handle, &mut state)?,
        };
        let token = inner.chance();
        let mut url = Zeroizing::new(String::with_capacity(256));
        for part in [
            &door.origin.origin,
            door.base.as_str(),
            "/open#",
            token.expose(),
        ] {
            url.push_str(part);
        }
        if state.links.len() == MAX_LINKS {
            state.links.remove(0);
        }
        state.links.push(Link {
            token,
            caller: Caller {
                exe: EXE.to_owned(),
                // The command that asked is gone; nobody can say more of a browser.
                process: Default::default(),
                ..caller.clone()
            },
            until: now.saturating_add(LINK_LIFE),
        });
        Ok(UiLink {
            url: Secret::new(std::mem::take(&mut *url)),
            expires_s: LINK_LIFE.as_secs(),
        })
    }
}

impl Inner {
    fn listen(
        self: &Arc<Self>,
        desk: &Desk,
        handle: &Handle,
        state: &mut State,
    ) -> Result<Arc<DoorTo>> {
        let io = |error: std::io::Error| Error::from_io(&error);
        let site = Site::load(self.folder.as_deref())?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let _entered = handle.enter();
        let listener = TcpListener::from_std(listener).map_err(io)?;
        let door = Arc::new(DoorTo {
            origin: Origin {
                origin: format!("http://{address}"),
                host: address.to_string(),
            },
            base: format!("/{}", self.chance().expose()),
            site,
            address,
        });
        state.door = Some(Arc::clone(&door));
        handle.spawn(Arc::clone(self).accept(desk.clone(), listener, Arc::clone(&door)));
        Ok(door)
    }

    /// Accepts while anybody is wanted.
    async fn accept(self: Arc<Self>, desk: Desk, listener: TcpListener, door: Arc<DoorTo>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    match (accepted, Arc::clone(&slots).try_acquire_owned()) {
                        (Ok((stream, client)), Ok(slot)) => {
                            let connection = Arc::clone(&self).admit(desk.clone(), stream, client, Arc::clone(&door));
                            tokio::spawn(async move {
                                connection.await;
                                drop(slot);
                            });
                        }
                        // More than a browser opens, or no descriptors: closed, and not at once again.
                        _ => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
                () = self.left.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = desk.stopped() => {
                    self.close();
                    return;
                }
            }
            if self.is_over() {
                return;
            }
        }
    }

    /// Whether nobody is wanted any more; then nothing is left to listen for, decided where no new link can come between.
    fn is_over(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep(self.host.clock.boot());
        let over = state.links.is_empty() && state.guests.is_empty();
        if over {
            state.door = None;
        }
        over
    }

    fn close(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    async fn admit(
        self: Arc<Self>,
        desk: Desk,
        stream: TcpStream,
        client: SocketAddr,
        door: Arc<DoorTo>,
    ) {
        let server = door.address;
        let user = desk.blocking(move || peer::user_of(client, server)).await;
        let Some(uid) = user.flatten().filter(|uid| self.expects(*uid)) else {
            return;
        };
        // Small answers, one behind the other.
        let _ = stream.set_nodelay(true);
        let entry = routes::Entry {
            desk: &desk,
            site: &door.site,
            origin: &door.origin,
            base: &door.base,
            uid,
            doorkeeper: &*self,
        };
        let answer = |request| routes::answer(&entry, request);
        desk.serve(stream, answer).await;
    }

    /// Whether anybody of this user asked for a link that waits or was used.
    fn expects(&self, uid: u32) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let links = state.links.iter().map(|link| &link.caller);
        let guests = state.guests.iter().map(|guest| &guest.caller);
        links.chain(guests).any(|caller| caller.uid == uid)
    }

    /// 160 bits that nobody guesses, in letters that stand in addresses and cookies.
    fn chance(&self) -> Secret {
        let mut bytes = Zeroizing::new([0; 20]);
        self.host.random.fill(&mut *bytes);
        let mut text = BASE32_NOPAD.encode(&*bytes);
        text.make_ascii_lowercase();
        Secret::new(text)
    }
}

impl routes::Doorkeeper for Inner {
    fn exchange(&self, uid: u32, token: &Secret) -> Option<Secret> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.host.clock.boot();
        state.sweep(now);
        let index = state
            .links
            .iter()
            .position(|link| link.caller.uid == uid && link.token.matches(token))?;
        let caller = state.links.remove(index).caller;
        if state.guests.len() == MAX_GUESTS {
            let quiet = (0..MAX_GUESTS).min_by_key(|index| state.guests[*index].seen);
            quiet.map(|index| state.guests.swap_remove(index));
        }
        let cookie = self.chance();
        state.guests.push(Guest {
            cookie: cookie.duplicate(),
            caller,
            since: now,
            seen: now,
        });
        Some(cookie)
    }

    fn caller(&self, uid: u32, cookie: &Secret) -> Option<Caller> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.host.clock.boot();
        state.sweep(now);
        let guest = state
            .guests
            .iter_mut()
            .find(|guest| guest.caller.uid == uid && guest.cookie.matches(cookie))?;
        guest.seen = now;
        Some(guest.caller.clone())
    }

    fn leave(&self, cookie: &Secret) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.guests.retain(|guest| !guest.cookie.matches(cookie));
        drop(state);
        self.left.notify_one();
    }
}

impl State {
    /// Forgets links and browsers whose time is over.
    fn sweep(&mut self, now: Duration) {
        self.links.retain(|link| now < link.until);
        self.guests.retain(|guest| {
            now < guest.seen.saturating_add(IDLE) && now < guest.since.saturating_add(STAY)
        });
    }
}

#[cfg(test)]
mod tests;
