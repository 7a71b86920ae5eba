//! The command line at a terminal: what is asked, what is shown, and how the terminal is left.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cli_support::{Home, PASSPHRASE, code, stdout};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

/// Only bounds a test that would otherwise hang; no result depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// `akm` in a terminal of its own.
struct Terminal {
    master: File,
    child: Child,
    pieces: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    read_to: usize,
}

impl Terminal {
    fn open(home: &Home, arguments: &[&str]) -> Terminal {
        let size = Winsize {
            ws_row: 50,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = File::from(pty.slave);
        let child = home
            .command("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_akm")])
            .args(arguments)
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .spawn()
            .unwrap();
        let master = File::from(pty.master);
        let mut reader = master.try_clone().unwrap();
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 1024];
            // The last program that has the terminal open ends this, with an error.
            while let Ok(count @ 1..) = reader.read(&mut piece) {
                if sender.send(piece[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal {
            master,
            child,
            pieces,
            seen: Vec::new(),
            read_to: 0,
        }
    }

    /// Waits until a text is shown, after what was waited for before; returns what came between.
    fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let shown = String::from_utf8_lossy(&self.seen[self.read_to..]).into_owned();
            if let Some(at) = shown.find(text) {
                self.read_to += at + text.len();
                return shown[..at].to_owned();
            }
            match self
                .pieces
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(piece) => self.seen.extend(piece),
                Err(_) => panic!("{text:?} does not come; there is {shown:?}"),
            }
        }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        let settings = tcgetattr(&self.master).unwrap();
        settings.local_flags.contains(LocalFlags::ECHO)
    }

    /// Waits for the end: the exit code, and everything that was ever shown.
    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        while let Ok(piece) = self.pieces.recv_timeout(Duration::from_millis(200)) {
            self.seen.extend(piece);
        }
        let output = std::process::Output {
            status,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        (
            code(&output),
            String::from_utf8_lossy(&self.seen).into_owned(),
        )
    }
}

#[test]
fn a_new_passphrase_is_asked_twice_and_never_shown() {
    let home = Home::empty();
    let mut terminal = Terminal::open(&home, &["init", "--no-totp"]);
    terminal.expect("new passphrase: ");
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("the same again: ");
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("account default is created and unlocked");
    assert!(terminal.echoes(), "the terminal is as it was");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(PASSPHRASE));
}

#[test]
fn two_different_passphrases_make_no_account() {
    let home = Home::empty();
    let mut terminal = Terminal::open(&home, &["init", "--no-totp"]);
    terminal.expect("new passphrase: ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("the same again: ");
    terminal.type_in("correct horse battery stable\n");
    terminal.expect("error: passphrase: the two passphrases differ");
    assert_eq!(terminal.end().0, 1);
    let status = stdout(&home.akm(&["status", "--json"], ""));
    assert!(status.contains("\"initialized\":false"), "{status}");
}

#[test]
fn an_interrupted_question_gives_the_echo_back() {
    let home = Home::ready();
    home.akm(&["lock"], "");
    let mut terminal = Terminal::open(&home, &["unlock"]);
    terminal.expect("passphrase: ");
    assert!(!terminal.echoes());
    terminal.type_in("half a pass\u{3}");
    // The terminal outlives the program: its settings can be asked for afterwards.
    let keeper = terminal.master.try_clone().unwrap();
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert!(!shown.contains("half a pass"));
    let settings = tcgetattr(&keeper).unwrap();
    assert!(settings.local_flags.contains(LocalFlags::ECHO));
    assert!(stdout(&home.akm(&["status", "--json"], "")).contains("\"locked\":true"));
}

#[test]
fn an_authenticator_is_set_up_at_the_terminal() {
    let home = Home::empty();
    let mut terminal = Terminal::open(&home, &["init"]);
    for question in ["new passphrase: ", "the same again: "] {
        terminal.expect(question);
        terminal.type_in(&format!("{PASSPHRASE}\n"));
    }
    terminal.expect("TOTP secret: ");
    let secret = terminal.expect("\r\n");
    let totp = totp_rs::Builder::new()
        .with_secret(totp_rs::Secret::try_from_base32(&secret).unwrap())
        .build()
        .unwrap();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let picture = terminal.expect("code of your authenticator (empty: later): ");
    // Half blocks, at least 21 modules high: the smallest QR code there is.
    let rows = picture
        .lines()
        .filter(|line| line.contains('▀') || line.contains('█'))
        .count();
    assert!(rows > 10, "{picture}");
    let right = totp.generate(now()).to_string();
    let wrong = if right.starts_with('1') { "2" } else { "1" }.to_owned() + &right[1..];
    terminal.type_in(&format!("{wrong}\n"));
    terminal.expect("error: ");
    terminal.expect("code of your authenticator (empty: later): ");
    terminal.type_in(&format!("{}\n", totp.generate(now())));
    terminal.expect("TOTP is confirmed");
    assert_eq!(terminal.end().0, 0);

    home.akm(&["lock"], "");
    let mut terminal = Terminal::open(&home, &["unlock"]);
    terminal.expect("passphrase: ");
    terminal.type_in(&format!("{PASSPHRASE}\n"));
    terminal.expect("code of your authenticator: ");
    terminal.type_in(&format!("{}\n", totp.generate(now() + 30)));
    terminal.expect("default is unlocked");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_secret_is_asked_for_and_not_shown() {
    let home = Home::ready();
    let mut terminal = Terminal::open(&home, &["add", "openai"]);
    terminal.expect("secret of openai/default: ");
    assert!(!terminal.echoes());
    terminal.type_in("sk-typed-by-hand-0123456789\n");
    terminal.expect("is stored");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0);
    assert!(!shown.contains("typed-by-hand"));
    assert_eq!(
        stdout(&home.akm(&["get", "openai"], "")),
        "sk-typed-by-hand-0123456789\n"
    );
}

#[test]
fn rm_asks_on_a_terminal() {
    let home = Home::with_key("openai", "sk-0123456789-0123456789");
    for (answer, left) in [("n", true), ("", true), ("yes", false)] {
        let mut terminal = Terminal::open(&home, &["rm", "openai"]);
        terminal.expect("remove openai/default and its history? [y/N] ");
        terminal.type_in(&format!("{answer}\n"));
        assert_eq!(terminal.end().0, i32::from(left), "{answer:?}");
        let get = home.akm(&["get", "openai"], "");
        assert_eq!(code(&get), i32::from(!left), "{answer:?}");
    }
}
