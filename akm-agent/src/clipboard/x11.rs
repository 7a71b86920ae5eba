//! The clipboard of an X display, by the rules of the ICCCM (section 2): this process owns the selection CLIPBOARD and
//! answers whoever wants its content.
//!
//! Invariants: connected to the socket in the file system whose server runs as this user or root, and never to the
//! abstract one, which anybody may bind, nor over TCP; a request is answered by one property of at most the length
//! of a secret; a requestor that does wrong or goes away ends nothing.

use std::os::fd::{AsFd, BorrowedFd};

use akm_core::clipboard::XDisplay;
use akm_core::error::{Error, Kind, Result};
use akm_core::secret::Secret;
use x11rb::CURRENT_TIME;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt, CreateWindowAux, EventMask, PropMode, SELECTION_NOTIFY_EVENT,
    SelectionNotifyEvent, SelectionRequestEvent, Timestamp, Window, WindowClass,
};
use x11rb::reexports::x11rb_protocol::xauth;
use x11rb::rust_connection::{DefaultStream, RustConnection};
use x11rb::wrapper::ConnectionExt as _;

use super::held::{HINT, HINT_TYPE, Owner, TEXT_TYPES};

/// Most bytes of a file that opens displays.
const MAX_COOKIES: u64 = 64 * 1024;

/// The clipboard, while it is ours.
pub(super) struct Holder {
    connection: RustConnection,
    window: Window,
    /// When the selection became ours, in the server's time.
    since: Timestamp,
    atoms: Atoms,
    secret: Secret,
}

struct Atoms {
    clipboard: Atom,
    targets: Atom,
    timestamp: Atom,
    hint: Atom,
    text: Vec<Atom>,
}

/// Everything that goes wrong with a server is one thing to its user.
fn broken<E>(_: E) -> Error {
    Error::new(Kind::Unavailable, "the X display does not do as it should")
}

impl Holder {
    /// Makes the content of the clipboard ours.
    pub(super) fn take(display: XDisplay, secret: Secret) -> Result<Holder> {
        let connection = connect(display)?;
        let setup = connection.setup();
        let screen = setup
            .roots
            .get(usize::from(display.screen))
            .ok_or_else(|| Error::new(Kind::Unavailable, "the X display has no such screen"))?;
        let window = connection.generate_id().map_err(broken)?;
        connection
            .create_window(
                0,
                window,
                screen.root,
                0,
                0,
                1,
                1,
                0,
                WindowClass::INPUT_ONLY,
                0,
                &CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE),
            )
            .map_err(broken)?;
        let atoms = Atoms::new(&connection)?;
        let since = now(&connection, window)?;
        connection
            .set_selection_owner(window, atoms.clipboard, since)
            .map_err(broken)?;
        let owner = connection
            .get_selection_owner(atoms.clipboard)
            .map_err(broken)?
            .reply()
            .map_err(broken)?
            .owner;
        if owner != window {
            return Err(Error::new(
                Kind::Unavailable,
                "another program holds the clipboard and does not let go",
            ));
        }
        Ok(Holder {
            connection,
            window,
            since,
            atoms,
            secret,
        })
    }

    fn request(&self, event: &SelectionRequestEvent) -> Result<()> {
        // Old clients name no property and mean the target.
        let property = match event.property {
            0 => event.target,
            property => property,
        };
        let is_written = event.selection == self.atoms.clipboard && self.write(event, property)?;
        self.notify(event, if is_written { property } else { x11rb::NONE })
    }

    /// Tells a requestor where its answer is, or by no property that there is none.
    fn notify(&self, event: &SelectionRequestEvent, property: Atom) -> Result<()> {
        let notice = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: event.time,
            requestor: event.requestor,
            selection: event.selection,
            target: event.target,
            property,
        };
        self.connection
            .send_event(false, event.requestor, EventMask::NO_EVENT, notice)
            .map_err(broken)?;
        self.connection.flush().map_err(broken)
    }

    /// Writes what is wanted where it is wanted; false if we do not have it in that form.
    fn write(&self, event: &SelectionRequestEvent, property: Atom) -> Result<bool> {
        let atoms = &self.atoms;
        let replace = PropMode::REPLACE;
        let (to, target) = (event.requestor, event.target);
        if target == atoms.targets {
            let mut list = vec![atoms.targets, atoms.timestamp, atoms.hint];
            list.extend_from_slice(&atoms.text);
            self.connection
                .change_property32(replace, to, property, AtomEnum::ATOM, &list)
        } else if target == atoms.timestamp {
            self.connection.change_property32(
                replace,
                to,
                property,
                AtomEnum::INTEGER,
                &[self.since],
            )
        } else if target == atoms.hint {
            self.connection
                .change_property8(replace, to, property, target, HINT)
        } else if atoms.text.contains(&target) {
            let bytes = self.secret.expose().as_bytes();
            self.connection
                .change_property8(replace, to, property, target, bytes)
        } else {
            return Ok(false);
        }
        .map_err(broken)?;
        Ok(true)
    }
}

impl Owner for Holder {
    fn socket(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    fn answer(&mut self) -> Result<bool> {
        while let Some(event) = self.connection.poll_for_event().map_err(broken)? {
            match event {
                Event::SelectionRequest(request) => self.request(&request)?,
                Event::SelectionClear(clear) if clear.selection == self.atoms.clipboard => {
                    return Ok(false);
                }
                // An error is a requestor's window that is gone; the rest is not for us.
                _ => {}
            }
        }
        Ok(true)
    }

    fn give_up(&mut self) {
        // With our time: if somebody else has it by now, the server ignores this.
        let _ = self
            .connection
            .set_selection_owner(x11rb::NONE, self.atoms.clipboard, self.since);
        // After this no request can come any more. One that came before waits for its answer, and would wait for ever:
        // nobody tells a requestor that the owner is gone.
        if self.connection.sync().is_err() {
            return;
        }
        while let Ok(Some(event)) = self.connection.poll_for_event() {
            if let Event::SelectionRequest(request) = event {
                let _ = self.notify(&request, x11rb::NONE);
            }
        }
        let _ = self.connection.destroy_window(self.window);
        let _ = self.connection.sync();
    }
}

impl Atoms {
    fn new(connection: &RustConnection) -> Result<Atoms> {
        let atom = |name: &str| {
            let cookie = connection.intern_atom(false, name.as_bytes());
            cookie
                .map_err(broken)?
                .reply()
                .map_err(broken)
                .map(|reply| reply.atom)
        };
        Ok(Atoms {
            clipboard: atom("CLIPBOARD")?,
            targets: atom("TARGETS")?,
            timestamp: atom("TIMESTAMP")?,
            hint: atom(HINT_TYPE)?,
            text: TEXT_TYPES
                .iter()
                .map(|name| atom(name))
                .collect::<Result<_>>()?,
        })
    }
}

fn connect(display: XDisplay) -> Result<RustConnection> {
    let stream = super::own_socket(&display.socket(), true)?;
    let (stream, (family, address)) = DefaultStream::from_unix_stream(stream).map_err(broken)?;
    let (name, data) = match is_readable_cookie() {
        true => xauth::get_auth(family, &address, display.number)
            .ok()
            .flatten()
            .unwrap_or_default(),
        // Many servers let their own user in without one.
        false => Default::default(),
    };
    RustConnection::connect_to_stream_with_auth_info(
        stream,
        usize::from(display.screen),
        name,
        data,
    )
    .map_err(|_| {
        Error::new(Kind::Denied, "the X display does not let this program in")
            .with_hint("check DISPLAY and XAUTHORITY, or run xauth list")
    })
}

/// Whether XAUTHORITY, the one variable of this process, names a file that can be read to its end.
fn is_readable_cookie() -> bool {
    std::env::var_os("XAUTHORITY")
        .and_then(|path| std::fs::metadata(path).ok())
        .is_some_and(|meta| meta.is_file() && meta.len() <= MAX_COOKIES)
}

/// The server's time, which a selection must be taken with, by changing nothing of a property of our own.
fn now(connection: &RustConnection, window: Window) -> Result<Timestamp> {
    connection
        .change_property8(
            PropMode::APPEND,
            window,
            AtomEnum::WM_NAME,
            AtomEnum::STRING,
            &[],
        )
        .map_err(broken)?;
    connection.flush().map_err(broken)?;
    loop {
        match connection.wait_for_event().map_err(broken)? {
            Event::PropertyNotify(event) if event.window == window => return Ok(event.time),
            Event::Error(_) => return Ok(CURRENT_TIME),
            _ => {}
        }
    }
}
