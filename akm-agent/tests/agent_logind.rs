//! Suspend and screen lock, as a stand-in for logind tells of them on a bus of the test's own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;
#[path = "support/tmux.rs"]
#[allow(unused)]
mod tmux;

use std::io::Read;
use std::os::fd::OwnedFd as Descriptor;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use akm_core::protocol::{AgentStatus, AuditList, LockReason};
use support::{Agent, Home, eventually, launch};
use tmux::has;
use zbus::names::BusName;
use zbus::zvariant::{OwnedFd, OwnedObjectPath, Value};

const SESSION: &str = "/org/freedesktop/login1/session/_31";
const FOREIGN: &str = "/org/freedesktop/login1/session/_32";
const UNKNOWN: &str = "/org/freedesktop/login1/session/_33";
/// Only bounds a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// logind's manager: hands out inhibitors, whose other ends the test gets.
struct Manager(Sender<(String, String, UnixStream)>);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn inhibit(&self, what: &str, _who: &str, _why: &str, mode: &str) -> OwnedFd {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.0.send((what.into(), mode.into(), ours)).unwrap();
        OwnedFd::from(Descriptor::from(theirs))
    }
}

/// A session of logind's.
struct Session(u32);

#[zbus::interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn user(&self) -> (u32, OwnedObjectPath) {
        let path = format!("/org/freedesktop/login1/user/_{}", self.0);
        (self.0, OwnedObjectPath::try_from(path).unwrap())
    }
}

struct Bus {
    daemon: Child,
    address: String,
    /// Driven by a thread of its own: a stand-in answers whatever the test does meanwhile.
    runtime: tokio::runtime::Handle,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Bus {
    fn start(home: &Home) -> Bus {
        let config = home.dir.path().join("bus.conf");
        let path = home.dir.path().join("bus");
        std::fs::write(
            &config,
            format!(
                "<busconfig><listen>unix:path={}</listen><policy context='default'>\
                 <allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/>\
                 </policy></busconfig>",
                path.display()
            ),
        )
        .unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--config-file")
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the bus", || UnixStream::connect(&path).is_ok());
        Bus {
            daemon,
            address: format!("unix:path={}", path.display()),
            runtime: driven(),
        }
    }

    /// A connection that has logind's name, or none.
    fn connect(
        &self,
        inhibitors: Option<Sender<(String, String, UnixStream)>>,
    ) -> zbus::Connection {
        self.runtime.block_on(async {
            let mut builder = zbus::connection::Builder::address(self.address.as_str()).unwrap();
            if let Some(sender) = inhibitors {
                let me = nix::unistd::geteuid().as_raw();
                builder = builder
                    .serve_at("/org/freedesktop/login1", Manager(sender))
                    .unwrap()
                    .serve_at(SESSION, Session(me))
                    .unwrap()
                    .serve_at(FOREIGN, Session(me + 1))
                    .unwrap()
                    .name("org.freedesktop.login1")
                    .unwrap();
            }
            builder.build().await.unwrap()
        })
    }

    /// Waits for something that another thread or process does.
    fn until<T>(&self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(done) = done() {
                return done;
            }
            assert!(std::time::Instant::now() < end, "{what} did not happen");
            // A look is cheap and the machine is others' as well.
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn emit<B>(&self, from: &zbus::Connection, to: Option<&str>, path: &str, name: &str, body: &B)
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        let (interface, member) = name.rsplit_once('.').unwrap();
        let to = to.map(|name| BusName::try_from(name).unwrap());
        self.runtime
            .block_on(from.emit_signal(to, path, interface, member, body))
            .unwrap();
    }
}

fn driven() -> tokio::runtime::Handle {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    // Ends with the process.
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

struct Stage {
    agent: Agent,
    bus: Bus,
    logind: zbus::Connection,
    inhibitors: Receiver<(String, String, UnixStream)>,
    home: Home,
}

impl Stage {
    fn new() -> Option<Stage> {
        if !has("dbus-daemon") {
            return None;
        }
        let home = Home::new();
        let bus = Bus::start(&home);
        let (sender, inhibitors) = channel();
        let logind = bus.connect(Some(sender));
        let agent = agent(&home, &bus);
        agent.register();
        Some(Stage {
            agent,
            bus,
            logind,
            inhibitors,
            home,
        })
    }

    fn inhibitor(&self) -> (String, String, UnixStream) {
        self.bus
            .until("an inhibitor", || self.inhibitors.try_recv().ok())
    }

    fn reason(&self) -> Option<LockReason> {
        let status = self.agent.client().call(&AgentStatus {}).unwrap();
        status.locked.then_some(status.locked_because).flatten()
    }

    fn is_locked(&self) -> bool {
        self.agent.client().call(&AgentStatus {}).unwrap().locked
    }
}

fn agent(home: &Home, bus: &Bus) -> Agent {
    let mut command = home.command();
    command
        .arg("-D")
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    Agent {
        child: launch(command).unwrap(),
        socket: home.socket(),
    }
}

/// Waits until the other end is let go.
fn let_go(mut inhibitor: UnixStream) {
    inhibitor.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(inhibitor.read(&mut [0]).unwrap(), 0);
}

fn is_held(inhibitor: &UnixStream) -> bool {
    inhibitor.set_nonblocking(true).unwrap();
    let held = (&mut { inhibitor }).read(&mut [0]);
    inhibitor.set_nonblocking(false).unwrap();
    held.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn the_machine_sleeps_only_after_the_wipe() {
    let Some(stage) = Stage::new() else { return };
    let (what, mode, inhibitor) = stage.inhibitor();
    assert_eq!((what.as_str(), mode.as_str()), ("sleep", "delay"));
    assert!(!stage.is_locked() && is_held(&inhibitor), "control: awake");
    let sleep = |begins: bool| {
        let name = "org.freedesktop.login1.Manager.PrepareForSleep";
        let path = "/org/freedesktop/login1";
        stage.bus.emit(&stage.logind, None, path, name, &(begins,));
    };
    sleep(true);
    let_go(inhibitor);
    // Nobody waits here: what was let go was let go after the lock.
    assert_eq!(stage.reason(), Some(LockReason::Suspend));
    sleep(false);
    let (_, _, inhibitor) = stage.inhibitor();
    stage.agent.unlock(None).unwrap();
    assert!(!stage.is_locked() && is_held(&inhibitor), "awake again");
    sleep(true);
    let_go(inhibitor);
    assert!(stage.is_locked(), "and the next time");
    stage.agent.unlock(None).unwrap();
    let events = stage
        .agent
        .client()
        .call(&AuditList::default())
        .unwrap()
        .events;
    let locks = events
        .iter()
        .filter(|event| event.action == "agent.lock.suspend");
    assert_eq!(locks.count(), 2);
}

#[test]
fn a_locked_screen_locks_if_it_is_ours_or_nobody_knows() {
    let Some(stage) = Stage::new() else { return };
    let _held = stage.inhibitor();
    let lock = |path: &str| {
        let name = "org.freedesktop.login1.Session.Lock";
        stage.bus.emit(&stage.logind, None, path, name, &());
    };
    let hint = |path: &str, locked: bool| {
        let name = "org.freedesktop.DBus.Properties.PropertiesChanged";
        let changed = std::collections::HashMap::from([("LockedHint", Value::from(locked))]);
        let body = (
            "org.freedesktop.login1.Session",
            changed,
            Vec::<&str>::new(),
        );
        stage.bus.emit(&stage.logind, None, path, name, &body);
    };
    let expect_screen = || {
        stage
            .bus
            .until("the lock", || stage.is_locked().then_some(()));
        assert_eq!(stage.reason(), Some(LockReason::Screen));
        stage.agent.unlock(None).unwrap();
    };
    // Signals come in order: what a foreign screen did would show before ours does.
    lock(FOREIGN);
    hint(SESSION, false);
    lock(SESSION);
    expect_screen();
    hint(FOREIGN, true);
    hint(SESSION, true);
    expect_screen();
    lock(UNKNOWN);
    expect_screen();
    let events = stage
        .agent
        .client()
        .call(&AuditList::default())
        .unwrap()
        .events;
    let locks = events
        .iter()
        .filter(|event| event.action == "agent.lock.screen");
    assert_eq!(locks.count(), 3, "none for the foreign ones");
}

#[test]
fn only_logind_is_believed_and_looked_for_again() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (_, _, inhibitor) = stage.inhibitor();
    // Straight to every connection there is, past the rules of the bus.
    let stranger = stage.bus.connect(None);
    for number in 0..10 {
        let to = format!(":1.{number}");
        let name = "org.freedesktop.login1.Session.Lock";
        stage.bus.emit(&stranger, Some(&to), SESSION, name, &());
    }
    // Control: the same from logind, behind those.
    assert!(!stage.is_locked());
    let name = "org.freedesktop.login1.Manager.PrepareForSleep";
    let path = "/org/freedesktop/login1";
    stage.bus.emit(&stage.logind, None, path, name, &(true,));
    let_go(inhibitor);
    assert_eq!(stage.reason(), Some(LockReason::Suspend));
    // An agent goes on without a bus, and ends as always.
    stage.bus.daemon.kill().unwrap();
    stage.bus.daemon.wait().unwrap();
    stage.agent.unlock(None).unwrap();
    assert!(stage.agent.stop().success());
    drop(stage.home);
}

#[test]
fn what_is_switched_off_does_not_lock() {
    if !has("dbus-daemon") {
        return;
    }
    let home = Home::new();
    let bus = Bus::start(&home);
    let (sender, inhibitors) = channel();
    let logind = bus.connect(Some(sender));
    std::fs::create_dir(home.path()).unwrap();
    std::fs::write(
        home.path().join("config.toml"),
        "[agent]\nlock_on_screen_lock = false\n",
    )
    .unwrap();
    let agent = agent(&home, &bus);
    agent.register();
    let (_, _, inhibitor) = bus.until("an inhibitor", || inhibitors.try_recv().ok());
    bus.emit(
        &logind,
        None,
        SESSION,
        "org.freedesktop.login1.Session.Lock",
        &(),
    );
    let name = "org.freedesktop.login1.Manager.PrepareForSleep";
    bus.emit(&logind, None, "/org/freedesktop/login1", name, &(true,));
    let_go(inhibitor);
    let status = agent.client().call(&AgentStatus {}).unwrap();
    assert_eq!(
        status.locked_because,
        Some(LockReason::Suspend),
        "not the screen"
    );
}
