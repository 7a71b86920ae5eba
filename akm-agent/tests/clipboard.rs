//! `akm copy` on real displays: an X server (Xvfb) with xclip, a Wayland compositor (sway) with wl-paste, and a terminal.
//!
//! Nothing here waits for a time: the content is asked for until it is what it should be, or a bound is over.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cli_support::{Home, run, stderr, stdout};

const SECRET: &str = "sk-of-the-clipboard-0123456789-wxyz";
/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends a process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is there; under CI it must be.
fn is_there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(|child| drop(Ended(child)))
        .is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "{program} is not installed, see .ci/packages"
    );
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An X server with a display of its own.
struct X {
    display: String,
    _server: Ended,
}

impl X {
    fn start() -> Option<X> {
        if !is_there("Xvfb") || !is_there("xclip") {
            return None;
        }
        let mut server = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-nolisten",
                "tcp",
                "-screen",
                "0",
                "64x64x24",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Some(X {
            display: format!(":{}", line.trim()),
            _server: Ended(server),
        })
    }

    fn xclip(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("xclip");
        command
            .args(["-selection", "clipboard"])
            .args(arguments)
            .env("DISPLAY", &self.display);
        command
    }

    /// What a person would paste; nothing if nobody has anything.
    fn paste(&self, target: &str) -> Option<String> {
        // xclip waits for ever for an owner that does not answer: that is a failure, not no content.
        let paste = self.xclip(&["-o", "-t", target]);
        let mut command = Command::new("timeout");
        command.arg("20").arg("xclip").args(paste.get_args());
        let output = command.env("DISPLAY", &self.display).output().unwrap();
        assert_ne!(
            output.status.code(),
            Some(124),
            "nobody answered for {target}"
        );
        output.status.success().then(|| stdout(&output))
    }

    fn copy(&self, text: &str) {
        // It stays in the background as the owner and would keep a pipe open.
        let mut command = self.xclip(&["-i"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// `akm copy` in front of a display.
fn copy(home: &Home, arguments: &[&str], display: &[(&str, &str)]) -> Output {
    let mut command = home.akm_command(&["copy"]);
    command.args(arguments);
    for name in [
        "SSH_CONNECTION",
        "SSH_TTY",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
    ] {
        command.env_remove(name);
    }
    command.envs(display.iter().copied());
    run(&mut command, b"")
}

#[test]
fn d14_a_copy_can_be_pasted_from_x_until_its_time_is_over() {
    let Some(x) = X::start() else { return };
    let home = Home::with_key("openai/work", SECRET);
    let on_x = [("DISPLAY", x.display.as_str())];
    let copied = copy(&home, &["openai/work", "--clear", "30s"], &on_x);
    assert_eq!(
        (
            copied.status.code(),
            stderr(&copied).as_str(),
            stdout(&copied).as_str()
        ),
        (
            Some(0),
            "openai/work is on the clipboard, which is cleared in 30 s\n",
            ""
        )
    );
    // Every form that programs ask for, and the one that clipboard managers look at.
    for target in [
        "UTF8_STRING",
        "STRING",
        "TEXT",
        "text/plain",
        "text/plain;charset=utf-8",
    ] {
        assert_eq!(x.paste(target).as_deref(), Some(SECRET), "{target}");
    }
    assert_eq!(
        x.paste("x-kde-passwordManagerHint").as_deref(),
        Some("secret")
    );
    let targets = x.paste("TARGETS").unwrap();
    assert!(targets.contains("UTF8_STRING") && targets.contains("x-kde-passwordManagerHint"));
    assert_eq!(x.paste("image/png"), None);

    // A shorter time takes the place of the longer one, and then nothing is there.
    let copied = copy(&home, &["openai/work", "--clear", "1s", "--json"], &on_x);
    assert_eq!(
        stdout(&copied),
        "{\"name\":\"openai/work\",\"clear_s\":1}\n"
    );
    until("the clipboard is cleared", || {
        x.paste("UTF8_STRING").is_none()
    });

    let log = home.akm(
        &[
            "log",
            "--action",
            "key.copy",
            "--key",
            "openai/work",
            "--json",
        ],
        "",
    );
    assert_eq!(
        stdout(&log).matches("\"outcome\":\"ok\"").count(),
        2,
        "{}",
        stdout(&log)
    );
}

#[test]
fn what_was_copied_meanwhile_is_left_alone() {
    let Some(x) = X::start() else { return };
    let home = Home::with_key("openai/work", SECRET);
    let on_x = [("DISPLAY", x.display.as_str())];
    copy(&home, &["openai/work", "--clear", "1s"], &on_x);
    assert_eq!(x.paste("UTF8_STRING").as_deref(), Some(SECRET));
    x.copy("something else");
    // Another copy with the same time, on another display, shows when that time is over.
    let Some(other) = X::start() else { return };
    copy(
        &home,
        &["openai/work", "--clear", "1s"],
        &[("DISPLAY", &other.display)],
    );
    until("the other is cleared", || {
        other.paste("UTF8_STRING").is_none()
    });
    assert_eq!(x.paste("UTF8_STRING").as_deref(), Some("something else"));
    // Nor does a lock take it.
    assert_eq!(home.akm(&["lock"], "").status.code(), Some(0));
    assert_eq!(x.paste("UTF8_STRING").as_deref(), Some("something else"));
}

#[test]
fn a_lock_and_the_end_of_the_agent_clear_the_clipboard() {
    let Some(x) = X::start() else { return };
    let home = Home::with_key("openai/work", SECRET);
    let on_x = [("DISPLAY", x.display.as_str())];
    copy(&home, &["openai/work", "--clear", "1h"], &on_x);
    assert_eq!(x.paste("UTF8_STRING").as_deref(), Some(SECRET));
    home.akm(&["lock"], "");
    until("the clipboard is cleared", || {
        x.paste("UTF8_STRING").is_none()
    });

    let unlock = home.akm(
        &["unlock", "--passphrase-stdin"],
        &format!("{}\n", cli_support::PASSPHRASE),
    );
    assert_eq!(unlock.status.code(), Some(0));
    copy(&home, &["openai/work", "--clear", "1h"], &on_x);
    assert_eq!(x.paste("UTF8_STRING").as_deref(), Some(SECRET));
    home.akm(&["agent", "stop"], "");
    until("the clipboard is cleared", || {
        x.paste("UTF8_STRING").is_none()
    });
}

#[test]
fn the_secret_is_in_no_argument_and_no_environment() {
    let Some(x) = X::start() else { return };
    let home = Home::with_key("openai/work", SECRET);
    copy(&home, &["openai/work"], &[("DISPLAY", &x.display)]);
    let mut helpers = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let arguments = read("cmdline");
        if arguments.windows(11).any(|piece| piece == b"__clipboard") {
            helpers += 1;
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            assert!(!environment.contains(SECRET) && !environment.contains("AKM_HOME"));
            // As root it can be read although the process is not dumpable; else it is empty.
            assert!(
                environment
                    .split('\0')
                    .all(|one| one.is_empty() || one.starts_with("XAUTHORITY="))
            );
        }
        assert!(
            !arguments
                .windows(SECRET.len())
                .any(|piece| piece == SECRET.as_bytes())
        );
    }
    assert!(helpers > 0, "the helper is found");
}

#[test]
fn a_display_that_does_not_answer_or_is_not_there_is_an_error_in_bounded_time() {
    let home = Home::with_key("openai/work", SECRET);
    let dir = tempfile::tempdir().unwrap();
    let silent = dir.path().join("wayland-silent");
    // Connected to by the kernel and never answered.
    let _listener = UnixListener::bind(&silent).unwrap();
    let copied = copy(
        &home,
        &["openai/work"],
        &[
            ("WAYLAND_DISPLAY", silent.to_str().unwrap()),
            ("XDG_RUNTIME_DIR", "/"),
        ],
    );
    assert_eq!(copied.status.code(), Some(1));
    assert!(
        stderr(&copied).starts_with("error: the display does not answer\n"),
        "{}",
        stderr(&copied)
    );
    let copied = copy(&home, &["openai/work"], &[("DISPLAY", ":64999")]);
    assert!(
        stderr(&copied).starts_with("error: nothing listens where"),
        "{}",
        stderr(&copied)
    );
    // Neither a display of another machine nor none at all is asked; without a terminal that is the end.
    for display in [&[("DISPLAY", "localhost:10.0")][..], &[]] {
        let copied = copy(&home, &["openai/work"], display);
        assert_eq!(copied.status.code(), Some(64), "{}", stderr(&copied));
        assert!(stdout(&copied).is_empty());
    }
}

#[test]
fn a_display_of_another_user_gets_nothing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: acting as another user needs root");
        assert!(std::env::var_os("CI").is_none());
        return;
    }
    let home = Home::with_key("openai/work", SECRET);
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let socket = dir.path().join("wayland-0");
    // Nobody's: says who connected and what came.
    let listener = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n\
        print('listening', flush=True)\n\
        c, _ = s.accept()\n\
        print('got', len(c.recv(4096)), flush=True)\n";
    let mut other = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            listener,
        ])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let _other = Ended(other);
    assert_eq!(lines.next().unwrap().unwrap(), "listening");
    let copied = copy(
        &home,
        &["openai/work"],
        &[
            ("WAYLAND_DISPLAY", socket.to_str().unwrap()),
            ("XDG_RUNTIME_DIR", "/"),
        ],
    );
    assert!(
        stderr(&copied)
            .starts_with("error: the display belongs to another user, nothing was sent\n"),
        "{}",
        stderr(&copied)
    );
    assert_eq!(lines.next().unwrap().unwrap(), "got 0");
}

#[test]
fn a_copy_can_be_pasted_from_wayland_until_its_time_is_over() {
    if !is_there("sway") || !is_there("wl-paste") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "xwayland disable\n").unwrap();
    // It refuses to run as root. In a user namespace it is somebody else to itself and root to us.
    let words: &[&str] = match nix::unistd::geteuid().is_root() {
        true => &[
            "unshare",
            "--user",
            "--map-user=1000",
            "--map-group=1000",
            "sway",
        ],
        false => &["sway"],
    };
    let mut compositor = Command::new(words[0]);
    compositor
        .args(&words[1..])
        .arg("-c")
        .arg(&config)
        .env("XDG_RUNTIME_DIR", dir.path())
        .env("WLR_BACKENDS", "headless")
        .env("WLR_RENDERER", "pixman")
        .env("WLR_LIBINPUT_NO_DEVICES", "1")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _compositor = Ended(compositor.spawn().unwrap());
    let mut name = String::new();
    until("the compositor listens", || {
        let names = std::fs::read_dir(dir.path()).unwrap().flatten();
        let found = names.filter_map(|entry| entry.file_name().into_string().ok());
        name = found
            .filter(|name| name.starts_with("wayland-") && !name.ends_with(".lock"))
            .collect();
        !name.is_empty()
    });
    let runtime = dir.path().to_str().unwrap();
    let on_wayland = [
        ("WAYLAND_DISPLAY", name.as_str()),
        ("XDG_RUNTIME_DIR", runtime),
    ];
    let paste = |kind: &str| {
        let output = Command::new("wl-paste")
            .args(["--no-newline", "--type", kind])
            .envs(on_wayland)
            .output()
            .unwrap();
        output.status.success().then(|| stdout(&output))
    };
    let home = Home::with_key("openai/work", SECRET);
    let copied = copy(&home, &["openai/work"], &on_wayland);
    assert_eq!(copied.status.code(), Some(0), "{}", stderr(&copied));
    assert_eq!(paste("text/plain;charset=utf-8").as_deref(), Some(SECRET));
    assert_eq!(paste("UTF8_STRING").as_deref(), Some(SECRET));
    assert_eq!(
        paste("x-kde-passwordManagerHint").as_deref(),
        Some("secret")
    );
    // A shorter time takes its place.
    copy(&home, &["openai/work", "--clear", "1s"], &on_wayland);
    until("the clipboard is cleared", || {
        paste("UTF8_STRING").is_none()
    });
    // And something else that is copied meanwhile stays.
    copy(&home, &["openai/work", "--clear", "1h"], &on_wayland);
    assert_eq!(paste("UTF8_STRING").as_deref(), Some(SECRET));
    let other = Command::new("wl-copy")
        .arg("something else")
        .envs(on_wayland)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(other.unwrap().success());
    until("the other program has it", || {
        paste("UTF8_STRING").as_deref() == Some("something else")
    });
    home.akm(&["lock"], "");
    assert_eq!(paste("UTF8_STRING").as_deref(), Some("something else"));
}

#[test]
fn d14_over_ssh_the_terminal_gets_the_secret_and_shows_nothing() {
    let home = Home::with_key("openai/work", SECRET);
    // `script` gives it a terminal; the display in front of which nobody sits is not asked.
    let typed = format!("exec {} copy openai/work", env!("CARGO_BIN_EXE_akm"));
    let mut command = home.command("script");
    command
        .args(["-qec", &typed, "/dev/null"])
        .env("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22")
        .env("DISPLAY", ":0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut screen = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut screen)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{screen}");
    let encoded = data_encoding::BASE64.encode(SECRET.as_bytes());
    assert!(
        screen.contains(&format!("\x1b]52;c;{encoded}\x07")),
        "{screen:?}"
    );
    assert!(
        !screen.contains(SECRET) && screen.contains("akm cannot clear that one"),
        "{screen:?}"
    );
}
