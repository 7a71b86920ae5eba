//! Suspend and screen lock, as logind tells of them on the system's bus.
//!
//! A *delay* inhibitor is held while the machine is awake: logind waits for it before it suspends, so that every session is
//! wiped before memory is written anywhere; it is let go when the wipe is done and taken anew after the machine woke up.
//!
//! Invariants: a signal counts only from the connection that has logind's name; whatever cannot be found out about a
//! locked screen locks (a wrong lock costs a passphrase, a missed one the keys); every question to the bus has an end;
//! without a bus nothing happens, and a bus or a logind that goes away is looked for again. The bus is the system's,
//! or one at a Unix path in a directory of this user's own: no other address is taken from the environment, because some
//! run a program.
//!
//! Deliberately absent: anything that is asked of logind beside the inhibitor and whose session a screen belongs to.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use akm_core::paths::accept_dir;
use akm_core::protocol::LockReason;
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::zvariant::{OwnedFd, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, Message, MessageStream, connection};

use crate::config::LockOn;
use crate::log::{self, Entry};
use crate::server::Server;

const BUS: &str = "org.freedesktop.DBus";
const LOGIND: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Where the system's bus is.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// How long the bus or logind may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a bus or a logind that went away.
const AGAIN: Duration = Duration::from_secs(20);

/// Locks every session of this agent when the machine is suspended or its user's screen locked. Never ends where
/// there is a bus.
pub(crate) async fn run(server: Server, lock_on: LockOn) {
    let named = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    let Some(path) = bus(named.as_deref()) else {
        return;
    };
    if !lock_on.suspend && !lock_on.screen {
        return;
    }
    let address = format!("unix:path={path}");
    let mut was_heard = false;
    loop {
        let mut heard = false;
        // Why it went away is of no use to anybody; that it did is.
        let _ = watch(&server, lock_on, &address, &mut heard).await;
        if heard || was_heard {
            log::write(&Entry::Logind { connected: false });
        }
        was_heard = false;
        tokio::time::sleep(AGAIN).await;
    }
}

/// The path of the bus, if there is one.
fn bus(named: Option<&str>) -> Option<String> {
    let path = match named.filter(|address| !address.is_empty()) {
        Some(address) => {
            let path = address.strip_prefix("unix:path=")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let own = Path::new(path).parent().map(accept_dir);
            (path.chars().all(plain) && (path == SYSTEM_BUS || matches!(own, Some(Ok(())))))
                .then(|| path.to_owned())?
        }
        None => SYSTEM_BUS.to_owned(),
    };
    Path::new(&path).exists().then_some(path)
}

async fn watch(
    server: &Server,
    lock_on: LockOn,
    address: &str,
    heard: &mut bool,
) -> zbus::Result<()> {
    let connect = connection::Builder::address(address)?
        .method_timeout(PATIENCE)
        .build();
    let bus = tokio::time::timeout(PATIENCE, connect)
        .await
        .map_err(|_| zbus::Error::Failure("no answer in time".to_owned()))??;
    // Before the first rule, so that nothing falls in between.
    let mut messages = MessageStream::from(&bus);
    for rule in rules() {
        ask(&bus, BUS, "/org/freedesktop/DBus", BUS, "AddMatch", &rule).await?;
    }
    let owner = ask(
        &bus,
        BUS,
        "/org/freedesktop/DBus",
        BUS,
        "GetNameOwner",
        &LOGIND,
    )
    .await?;
    let owner: String = owner.body().deserialize()?;
    let mut inhibitor = match lock_on.suspend {
        true => Some(inhibit(&bus).await?),
        false => None,
    };
    *heard = true;
    log::write(&Entry::Logind { connected: true });
    loop {
        let Some(message) = next(&mut messages).await else {
            return Ok(());
        };
        let message = message?;
        match signal(&message, &owner) {
            Some(Heard::Suspend(true)) if lock_on.suspend => {
                server.lock_all(LockReason::Suspend).await;
                // logind waits for this, and for nothing else of ours.
                inhibitor = None;
            }
            Some(Heard::Suspend(false)) if lock_on.suspend && inhibitor.is_none() => {
                inhibitor = Some(inhibit(&bus).await?);
            }
            Some(Heard::Screen(session)) if lock_on.screen && is_ours(&bus, &session).await => {
                server.lock_all(LockReason::Screen).await;
            }
            Some(Heard::Gone) => return Ok(()),
            _ => {}
        }
    }
}

fn rules() -> [String; 4] {
    [
        format!("type='signal',sender='{LOGIND}',interface='{MANAGER}',member='PrepareForSleep'"),
        format!("type='signal',sender='{LOGIND}',interface='{SESSION}',member='Lock'"),
        format!(
            "type='signal',sender='{LOGIND}',interface='{PROPERTIES}',member='PropertiesChanged',arg0='{SESSION}'"
        ),
        format!(
            "type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{LOGIND}'"
        ),
    ]
}

/// What a signal says.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// The machine is about to be suspended, or woke up.
    Suspend(bool),
    /// The screen of this session was locked.
    Screen(String),
    /// logind went away, or another one took its place.
    Gone,
}

fn signal(message: &Message, owner: &str) -> Option<Heard> {
    let header = message.header();
    if header.message_type() != Type::Signal {
        return None;
    }
    let sender = header.sender()?.as_str();
    let member = header.member()?.as_str();
    let interface = header.interface()?.as_str();
    if sender == BUS {
        return (interface == BUS && member == "NameOwnerChanged").then_some(Heard::Gone);
    }
    if sender != owner {
        return None;
    }
    let session = || {
        Heard::Screen(
            header
                .path()
                .map(|path| path.to_string())
                .unwrap_or_default(),
        )
    };
    match (interface, member) {
        (MANAGER, "PrepareForSleep") => {
            // What cannot be read is taken for the beginning of a suspend.
            Some(Heard::Suspend(message.body().deserialize().unwrap_or(true)))
        }
        (SESSION, "Lock") => Some(session()),
        (PROPERTIES, "PropertiesChanged") => {
            let body = message.body();
            let (_, changed, _): (
                String,
                std::collections::HashMap<String, Value<'_>>,
                Vec<String>,
            ) = body.deserialize().ok()?;
            matches!(changed.get("LockedHint"), Some(Value::Bool(true))).then(session)
        }
        _ => None,
    }
}

/// Whether a session is of this process's user. One that logind does not describe counts as ours.
async fn is_ours(bus: &Connection, session: &str) -> bool {
    let user = async {
        let answer = ask(bus, LOGIND, session, PROPERTIES, "Get", &(SESSION, "User")).await?;
        let user: OwnedValue = answer.body().deserialize()?;
        <(u32, OwnedObjectPath)>::try_from(user).map_err(zbus::Error::from)
    };
    match user.await {
        Ok((uid, _)) => uid == nix::unistd::geteuid().as_raw(),
        Err(_) => true,
    }
}

async fn inhibit(bus: &Connection) -> zbus::Result<OwnedFd> {
    let why = ("sleep", "akm", "wipes keys from memory", "delay");
    let path = "/org/freedesktop/login1";
    let answer = ask(bus, LOGIND, path, MANAGER, "Inhibit", &why).await?;
    answer.body().deserialize()
}

async fn ask<B: serde::Serialize + zbus::zvariant::DynamicType>(
    bus: &Connection,
    whom: &str,
    path: &str,
    interface: &str,
    method: &str,
    body: &B,
) -> zbus::Result<Message> {
    bus.call_method(Some(whom), path, Some(interface), method, body)
        .await
}

async fn next(messages: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|cx| Pin::new(&mut *messages).poll_next(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn no_address_from_the_environment_runs_a_program_or_leads_where_others_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        std::fs::write(&path, "").unwrap();
        let path = path.to_str().unwrap();
        let own = format!("unix:path={path}");
        assert_eq!(bus(Some(&own)).as_deref(), Some(path), "control");
        for address in [
            "unixexec:path=/bin/sh,argv1=-c,argv2=id".to_owned(),
            "tcp:host=127.0.0.1,port=1".to_owned(),
            "autolaunch:".to_owned(),
            "unix:abstract=bus".to_owned(),
            format!("{own},guid=0;unixexec:path=/bin/sh"),
            format!("{own};unixexec:path=/bin/sh"),
            format!("{own}%2f"),
            "unix:path=/nonexistent/bus".to_owned(),
        ] {
            assert_eq!(bus(Some(&address)), None, "{address}");
        }
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open).unwrap();
        assert_eq!(bus(Some(&own)), None, "others could have put it there");
    }
}
