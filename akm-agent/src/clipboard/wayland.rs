//! The clipboard of a Wayland compositor, through `ext-data-control` or the older `wlr-data-control`, which let a program
//! without a window have it. GNOME's compositor has neither.
//!
//! Invariants: the compositor runs as this user; what is written to whoever pastes is a secret's length, in pieces
//! that a pipe takes at once, so that a reader that does not read holds nothing up for long.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use akm_core::error::{Error, Kind, Result};
use akm_core::secret::Secret;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wayland_client::backend::WaylandError;
use wayland_client::globals::{GlobalList, GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::{
    Connection, Dispatch, EventQueue, QueueHandle, delegate_noop, event_created_child,
};
use wayland_protocols::ext::data_control::v1::client as ext;
use wayland_protocols_wlr::data_control::v1::client as wlr;

use ext::ext_data_control_device_v1::{self, ExtDataControlDeviceV1};
use ext::ext_data_control_manager_v1::ExtDataControlManagerV1;
use ext::ext_data_control_offer_v1::ExtDataControlOfferV1;
use ext::ext_data_control_source_v1::{self, ExtDataControlSourceV1};
use wlr::zwlr_data_control_device_v1::{self, ZwlrDataControlDeviceV1};
use wlr::zwlr_data_control_manager_v1::ZwlrDataControlManagerV1;
use wlr::zwlr_data_control_offer_v1::ZwlrDataControlOfferV1;
use wlr::zwlr_data_control_source_v1::{self, ZwlrDataControlSourceV1};

use super::held::{HINT, HINT_TYPE, Owner, TEXT_TYPES};

/// How long a reader may take for each piece.
const PATIENCE_MS: u8 = 200;
/// What every pipe that is writable takes at once (`PIPE_BUF`).
const PIECE: usize = 4096;

/// Everything that goes wrong with a compositor is one thing to its user.
fn broken<E>(_: E) -> Error {
    Error::new(
        Kind::Unavailable,
        "the Wayland compositor does not do as it should",
    )
}

/// The clipboard, once it is ours.
pub(super) struct Holder {
    connection: Connection,
    queue: EventQueue<State>,
    state: State,
    manager: Manager,
    seat: WlSeat,
}

enum Manager {
    Ext(ExtDataControlManagerV1),
    Wlr(ZwlrDataControlManagerV1),
}

/// What events change.
#[derive(Default)]
struct State {
    secret: Option<Secret>,
    is_lost: bool,
}

impl Holder {
    /// Connects to a compositor that lets a program without a window have the clipboard.
    pub(super) fn connect(socket: &Path) -> Result<Holder> {
        let stream = super::own_socket(socket, false)?;
        let connection = Connection::from_socket(stream).map_err(broken)?;
        let (globals, queue): (GlobalList, EventQueue<State>) =
            registry_queue_init(&connection).map_err(broken)?;
        let handle = queue.handle();
        let ext = globals.bind(&handle, 1..=1, ()).map(Manager::Ext);
        let manager = ext
            .or_else(|_| globals.bind(&handle, 1..=1, ()).map(Manager::Wlr))
            .map_err(|_| {
                Error::new(
                    Kind::Unavailable,
                    "the Wayland compositor gives its clipboard to windows only",
                )
            })?;
        let seat = globals.bind(&handle, 1..=1, ()).map_err(broken)?;
        Ok(Holder {
            connection,
            queue,
            state: State::default(),
            manager,
            seat,
        })
    }

    /// Makes the content of the clipboard ours.
    pub(super) fn take(mut self, secret: Secret) -> Result<Holder> {
        self.state.secret = Some(secret);
        let handle = self.queue.handle();
        let types = || {
            TEXT_TYPES
                .iter()
                .copied()
                .chain([HINT_TYPE])
                .map(str::to_owned)
        };
        match &self.manager {
            Manager::Ext(manager) => {
                let source = manager.create_data_source(&handle, ());
                types().for_each(|kind| source.offer(kind));
                let device = manager.get_data_device(&self.seat, &handle, ());
                device.set_selection(Some(&source));
            }
            Manager::Wlr(manager) => {
                let source = manager.create_data_source(&handle, ());
                types().for_each(|kind| source.offer(kind));
                let device = manager.get_data_device(&self.seat, &handle, ());
                device.set_selection(Some(&source));
            }
        }
        // The compositor has taken it when it has answered.
        self.queue.roundtrip(&mut self.state).map_err(broken)?;
        match self.state.is_lost {
            false => Ok(self),
            true => Err(Error::new(
                Kind::Unavailable,
                "another program holds the clipboard and does not let go",
            )),
        }
    }
}

impl Owner for Holder {
    fn socket(&self) -> BorrowedFd<'_> {
        // Of the connection and not of the queue: it lives as long as the holder.
        self.connection.as_fd()
    }

    fn answer(&mut self) -> Result<bool> {
        loop {
            self.queue
                .dispatch_pending(&mut self.state)
                .map_err(broken)?;
            self.queue.flush().map_err(broken)?;
            let Some(guard) = self.queue.prepare_read() else {
                continue;
            };
            match guard.read() {
                Ok(0) => break,
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    break;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(!self.state.is_lost)
    }

    fn give_up(&mut self) {
        // Our source goes with the connection, and its selection with it.
        self.state.secret = None;
        let _ = self.queue.flush();
    }
}

/// Writes what is wanted to whoever pastes.
fn send(secret: &Secret, kind: &str, to: &OwnedFd) {
    let bytes = match kind {
        HINT_TYPE => HINT,
        kind if TEXT_TYPES.contains(&kind) => secret.expose().as_bytes(),
        _ => return,
    };
    for piece in bytes.chunks(PIECE) {
        let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::from(PATIENCE_MS)) {
            Ok(0) => return,
            Err(Errno::EINTR) => {}
            Err(_) => return,
            Ok(_) => {}
        }
        // A reader that goes away is nobody's problem: SIGPIPE is ignored in Rust programs.
        if nix::unistd::write(to, piece) != Ok(piece.len()) {
            return;
        }
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for State {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: <WlRegistry as wayland_client::Proxy>::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(State: ignore WlSeat);

/// The two protocols differ in their names.
macro_rules! speaks {
    ($manager:ident, $source:ident, $source_mod:ident, $device:ident, $device_mod:ident, $offer:ident) => {
        delegate_noop!(State: $manager);
        delegate_noop!(State: ignore $offer);

        impl Dispatch<$source, ()> for State {
            fn event(
                state: &mut Self,
                _: &$source,
                event: $source_mod::Event,
                (): &(),
                _: &Connection,
                _: &QueueHandle<Self>,
            ) {
                match event {
                    $source_mod::Event::Send { mime_type, fd } => {
                        if let Some(secret) = &state.secret {
                            send(secret, &mime_type, &fd);
                        }
                    }
                    $source_mod::Event::Cancelled => state.is_lost = true,
                    _ => {}
                }
            }
        }

        impl Dispatch<$device, ()> for State {
            fn event(
                _: &mut Self,
                _: &$device,
                event: $device_mod::Event,
                (): &(),
                _: &Connection,
                _: &QueueHandle<Self>,
            ) {
                // What others copied is not read.
                if let $device_mod::Event::DataOffer { id } = event {
                    id.destroy();
                }
            }

            event_created_child!(State, $device, [
                $device_mod::EVT_DATA_OFFER_OPCODE => ($offer, ()),
            ]);
        }
    };
}

speaks!(
    ExtDataControlManagerV1,
    ExtDataControlSourceV1,
    ext_data_control_source_v1,
    ExtDataControlDeviceV1,
    ext_data_control_device_v1,
    ExtDataControlOfferV1
);
speaks!(
    ZwlrDataControlManagerV1,
    ZwlrDataControlSourceV1,
    zwlr_data_control_source_v1,
    ZwlrDataControlDeviceV1,
    zwlr_data_control_device_v1,
    ZwlrDataControlOfferV1
);
