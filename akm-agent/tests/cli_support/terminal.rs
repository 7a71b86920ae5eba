//! A terminal for tests: a pseudo-terminal with a session on it, what it shows, and what is typed.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::{Home, code};

/// Only bounds a test that would otherwise hang; no result depends on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program in a terminal of its own.
pub(crate) struct Terminal {
    pub(crate) master: File,
    child: Child,
    pieces: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    read_to: usize,
}

impl Terminal {
    /// `akm`, on a terminal of 50 lines and 120 columns.
    pub(crate) fn open(home: &Home, arguments: &[&str]) -> Terminal {
        Terminal::of(home, env!("CARGO_BIN_EXE_akm"), arguments)
    }

    /// Any program.
    pub(crate) fn of(home: &Home, program: &str, arguments: &[&str]) -> Terminal {
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
            .args(["--ctty", "--wait", program])
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
    pub(crate) fn expect(&mut self, text: &str) -> String {
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

    /// Types.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Whether what is typed is shown.
    pub(crate) fn echoes(&self) -> bool {
        let settings = tcgetattr(&self.master).unwrap();
        settings.local_flags.contains(LocalFlags::ECHO)
    }

    /// Waits until what is typed is not shown: whoever is in front has taken the keyboard over.
    pub(crate) fn until_silent(&self) {
        let end = Instant::now() + PATIENCE;
        while self.echoes() {
            assert!(Instant::now() < end, "nobody takes the keyboard over");
            std::thread::yield_now();
        }
    }

    /// Waits for the end: the exit code, and everything that was ever shown.
    pub(crate) fn end(mut self) -> (i32, String) {
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
