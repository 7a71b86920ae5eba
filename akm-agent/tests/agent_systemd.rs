//! The agent under a service manager: a socket that somebody else bound, and what the manager is told.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "cli_support/mod.rs"]
mod cli_support;
mod support;
#[path = "support/tmux.rs"]
mod tmux;

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use akm_core::client::Client;
use akm_core::protocol::AgentStatus;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Home, PASSPHRASE, clean, eventually};
use tmux::has;

/// A manager as the test plays it: it listens, and hears.
struct Manager {
    home: Home,
    listener: UnixListener,
    heard: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let home = Home::new();
        std::fs::create_dir_all(home.path()).unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let listener = UnixListener::bind(home.socket()).unwrap();
        let heard = UnixDatagram::bind(home.dir.path().join("notify")).unwrap();
        heard
            .set_read_timeout(Some(std::time::Duration::from_secs(30)))
            .unwrap();
        Manager {
            home,
            listener,
            heard,
        }
    }

    /// Starts an agent as systemd does: descriptor 3, and whom it is for.
    fn start(&self, listen_pid: &str) -> Child {
        fcntl(&self.listener, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let script = format!(
            "exec 3<&{}; LISTEN_FDS=1 LISTEN_PID={listen_pid} exec \"$0\" -D",
            self.listener.as_raw_fd()
        );
        clean(Path::new("bash"))
            .args(["-c", &script, env!("CARGO_BIN_EXE_akm-agent")])
            .env("AKM_HOME", self.home.path())
            .env("NOTIFY_SOCKET", self.home.dir.path().join("notify"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits for a message with this line; returns it.
    fn hears(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let count = self.heard.recv(&mut buffer).unwrap();
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if message.lines().any(|found| found == line) {
                return message;
            }
        }
    }

    fn client(&self) -> Client {
        Client::connect(Some(&self.home.socket())).unwrap()
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn a_passed_socket_is_served_told_of_and_left() {
    let manager = Manager::new();
    let socket = manager.home.socket();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let mut child = manager.start("$$");
    manager.hears("READY=1");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "strangers are out");
    let status = manager.client().call(&AgentStatus {}).unwrap();
    assert_eq!(status.pid, Some(child.id() as i32));

    // A configuration that is wrong changes nothing, a right one counts from then on.
    let config = manager.home.path().join("config.toml");
    std::fs::write(&config, "[agent]\nidel = \"1h\"\n").unwrap();
    signal(&child, Signal::SIGHUP);
    let message = manager.hears("RELOADING=1");
    assert!(message.contains("MONOTONIC_USEC="), "{message}");
    manager.hears("READY=1");
    std::fs::write(&config, "[agent]\nidle = \"1h\"\n").unwrap();
    signal(&child, Signal::SIGHUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    let register = akm_core::protocol::AccountRegister {
        account: "default".into(),
        passphrase: support::secret(PASSPHRASE),
        totp: Some(false),
        invitation: None,
    };
    manager.client().call(&register).unwrap();
    let status = manager.client().call(&AgentStatus {}).unwrap();
    assert_eq!(status.idle_lock_s, Some(3600));

    signal(&child, Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(child.wait().unwrap().success());
    assert!(socket.exists(), "it is the manager's");
    let mut log = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut log).unwrap();
    assert!(
        log.contains("\"event\":\"ready\"") && log.contains("\"activated\":true"),
        "{log}"
    );
    assert!(
        log.contains("\"event\":\"reloaded\",\"error\":\"invalid_input\""),
        "{log}"
    );
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
    assert_eq!(out, "", "nobody evaluates it");

    // Whoever comes now waits in the socket's queue for the next one.
    let waiting = std::thread::spawn({
        let socket = socket.clone();
        move || {
            Client::connect(Some(&socket))
                .unwrap()
                .call(&AgentStatus {})
        }
    });
    let mut next = manager.start("$$");
    assert!(waiting.join().unwrap().unwrap().locked);
    signal(&next, Signal::SIGTERM);
    next.wait().unwrap();
}

#[test]
fn a_socket_that_was_passed_to_somebody_else_is_not_served() {
    let manager = Manager::new();
    // The path is taken by a listener, so an agent that does not take descriptor 3 cannot start here.
    for pid in ["1", "''"] {
        let mut child = manager.start(pid);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{pid}");
    }
}

#[test]
fn stop_ends_the_agent_and_not_the_manager() {
    let manager = Manager::new();
    let mut child = manager.start("$$");
    manager.hears("READY=1");
    // The kernel names this process as the one that listens.
    let stream = std::os::unix::net::UnixStream::connect(manager.home.socket()).unwrap();
    let listens = akm_core::peer::of(&stream).unwrap().pid.unwrap();
    assert_eq!(listens, std::process::id() as i32, "control");
    let output = clean(Path::new(env!("CARGO_BIN_EXE_akm")))
        .args(["agent", "stop", "--json"])
        .env("AKM_HOME", manager.home.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains(&format!("\"pid\":{}", child.id())),
        "{output:?}"
    );
    assert!(child.wait().unwrap().success());
}

/// The process that listens on a path, as the test started it.
struct Activated(Child, PathBuf);

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn systemd_starts_it_at_the_first_question_and_unlock_asks_on_the_callers_terminal() {
    if !has("systemd-socket-activate") {
        return;
    }
    let mut home = cli_support::Home::empty();
    home.pretended = true;
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let socket = home.file("agent.sock");
    let child = Command::new("systemd-socket-activate")
        .arg("-l")
        .arg(&socket)
        .arg("-E")
        .arg(format!("AKM_HOME={}", home.path().display()))
        .args([env!("CARGO_BIN_EXE_akm-agent"), "-D"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let activated = Activated(child, socket);
    eventually("the socket", || activated.1.exists());
    let name = || std::fs::read(format!("/proc/{}/cmdline", activated.0.id())).unwrap();
    assert!(
        name().starts_with(b"systemd-socket"),
        "control: no agent yet"
    );
    let input = format!("{PASSPHRASE}\n");
    let output = home.akm(&["init", "--no-totp", "--passphrase-stdin"], &input);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        !name().starts_with(b"systemd-socket"),
        "it became the agent"
    );
    assert_eq!(home.akm(&["lock"], "").status.code(), Some(0));

    let mut terminal = cli_support::terminal::Terminal::open(&home, &["unlock"]);
    terminal.expect("passphrase:");
    terminal.until_silent();
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("default is unlocked"), "{shown}");
    let status = home.akm(&["status", "--json"], "");
    let text = cli_support::stdout(&status);
    assert!(text.contains("\"locked\":false"), "{text}");
    assert!(
        text.contains(&format!("\"pid\":{}", activated.0.id())),
        "{text}"
    );
}

#[test]
fn the_units_are_ones_that_systemd_accepts() {
    if !has("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let verify = |change: &dyn Fn(String) -> String| {
        for name in ["akm-agent.socket", "akm-agent.service"] {
            let text = std::fs::read_to_string(units.join(name)).unwrap();
            // The program is where this build put it.
            let text = text.replace("%h/.cargo/bin/akm-agent", env!("CARGO_BIN_EXE_akm-agent"));
            std::fs::write(dir.path().join(name), change(text)).unwrap();
        }
        let output = Command::new("systemd-analyze")
            .args(["verify", "--user", "--man=no"])
            .arg(dir.path().join("akm-agent.socket"))
            .arg(dir.path().join("akm-agent.service"))
            .env("XDG_RUNTIME_DIR", dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines()
            .filter(|line| line.contains("akm-agent"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(verify(&|text| text), Vec::<String>::new());
    // Control: a word that systemd does not know is told.
    assert!(!verify(&|text| text.replace("KillMode=", "KilMode=")).is_empty());
}
