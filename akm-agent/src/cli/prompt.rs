//! Where a passphrase, a secret or a code comes from. Never an argument, never an environment variable.
//!
//! A flag decides first: `--passphrase-stdin` and `--secret-stdin` take one line each from standard input
//! (passphrases before the secret), `--passphrase-fd N` from a descriptor. Without a flag a person is asked: on
//! the terminal (`/dev/tty`, so a redirected stdin does not matter), or by the program in `AKM_ASKPASS`,
//! which gets the question as its argument and answers on its stdout, where there is no terminal or stdin
//! is not one. With neither, the command ends with 64: it never waits for an answer that cannot come.
//!
//! Invariants: every read is bounded; exactly one LF or CRLF is stripped; standard input is read a byte at
//! a time, so nothing past the line is taken from whoever reads next and no library buffer keeps a copy;
//! more than one line where the secret is the last is refused, not cut off; the terminal gets its echo back
//! also when the question is interrupted (rpassword raises SIGINT before it restores the terminal, which is
//! why this room does it itself).

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use akm_core::name::{MAX_PASSPHRASE, MAX_SECRET};
use akm_core::{Error, Kind, Secret};
use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::output::{Fail, Result};
use super::text::text;

/// Longest code that is read: recovery codes are longer than TOTP codes.
const MAX_CODE: usize = 128;
/// Longest answer to a question that is no secret.
const MAX_ANSWER: usize = 2048;

/// Where the passphrase comes from.
#[derive(Args, Debug, Default)]
pub(crate) struct PassphraseFlags {
    /// Read the passphrase from standard input, one line
    #[arg(long, conflicts_with = "passphrase_fd")]
    pub(crate) passphrase_stdin: bool,
    /// Read the passphrase from this open descriptor, one line
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
}

/// Where the secret comes from.
#[derive(Args, Debug, Default)]
pub(crate) struct SecretFlags {
    /// Read the secret from standard input, one line (after the passphrase, if that comes from there too)
    #[arg(long)]
    pub(crate) secret_stdin: bool,
}

/// Asks for what must not stand on a command line.
#[derive(Debug)]
pub(crate) struct Asker {
    passphrase: Way,
    secret: Way,
}

#[derive(Debug)]
enum Way {
    Stdin,
    Descriptor(File),
    Terminal,
    Program(PathBuf),
    Nobody,
}

impl Asker {
    /// Decides where each thing comes from. Asks nothing yet.
    pub(crate) fn new(passphrase: &PassphraseFlags, secret: &SecretFlags) -> Result<Self> {
        let passphrase = match passphrase.passphrase_fd {
            Some(0) => Way::Stdin,
            Some(number) => Way::Descriptor(open_descriptor(number)?),
            None if passphrase.passphrase_stdin => Way::Stdin,
            None => Way::of_a_person(),
        };
        let secret = if secret.secret_stdin {
            Way::Stdin
        } else {
            Way::of_a_person()
        };
        Ok(Asker { passphrase, secret })
    }

    /// Fails with 64 if no passphrase could be had, before anything is started or changed.
    pub(crate) fn require_passphrase(&self) -> Result<()> {
        match self.passphrase {
            Way::Nobody => Err(Fail::usage(
                text!("no-terminal-for-passphrase"),
                text!("hint-passphrase-flags"),
            )),
            _ => Ok(()),
        }
    }

    /// Fails with 64 if no secret could be had, before anything is started or changed.
    pub(crate) fn require_secret(&self) -> Result<()> {
        match self.secret {
            Way::Nobody => Err(Fail::usage(
                text!("no-terminal-for-secret"),
                text!("hint-secret-stdin"),
            )),
            _ => Ok(()),
        }
    }

    /// The account's passphrase.
    pub(crate) fn passphrase(&self, question: &str) -> Result<Secret> {
        self.require_passphrase()?;
        self.passphrase.ask(question, MAX_PASSPHRASE, "passphrase")
    }

    /// A passphrase to be set, asked twice on a terminal because nobody sees it.
    pub(crate) fn new_passphrase(&self, question: &str) -> Result<Secret> {
        let first = self.passphrase(question)?;
        if matches!(self.passphrase, Way::Terminal)
            && !self.passphrase(&text!("ask-again"))?.matches(&first)
        {
            return Err(Error::invalid("passphrase", "the two passphrases differ").into());
        }
        Ok(first)
    }

    /// A key's secret: the last thing that standard input holds.
    pub(crate) fn secret(&self, question: &str) -> Result<Secret> {
        self.require_secret()?;
        let secret = self.secret.ask(question, MAX_SECRET, "secret")?;
        akm_core::name::check_secret(&secret, "secret")?;
        if matches!(self.secret, Way::Stdin) && something_waits()? {
            return Err(Error::invalid("secret", "a secret is one line, and more follows").into());
        }
        Ok(secret)
    }

    /// A one-time code: asked on the terminal where stdin is one, else the next line of standard input.
    /// `None` if there is none.
    pub(crate) fn code(&self, question: &str) -> Result<Option<Secret>> {
        let line = if self.is_person() {
            let mut tty = terminal().map_err(|error| Error::from_io(&error))?;
            let _ = tty.write_all(question.as_bytes());
            read_line(&tty, MAX_CODE, "code")?
        } else {
            read_line(&io::stdin(), MAX_CODE, "code")?
        };
        let Some(line) = line else { return Ok(None) };
        let code = text_of(&line)?;
        Ok((!code.is_empty()).then_some(code))
    }

    /// A code for unlocking, from whoever answers for the passphrase. `None` if nobody is there to ask: a
    /// pipe that nobody writes to must not be waited for.
    pub(crate) fn unlock_code(&self, question: &str) -> Result<Option<Secret>> {
        match &self.passphrase {
            Way::Program(program) => {
                let line = ask_program(program, question, MAX_CODE, "code")?;
                Ok(Some(text_of(&line)?))
            }
            _ if self.is_person() => self.code(question),
            _ => Ok(None),
        }
    }

    /// Whether a person at the terminal answers for codes.
    pub(crate) fn is_person(&self) -> bool {
        io::stdin().is_terminal() && !matches!(self.passphrase, Way::Stdin)
    }

    /// A recovery code: where the passphrase comes from, before it.
    pub(crate) fn recovery_code(&self) -> Result<Secret> {
        self.require_passphrase()?;
        self.passphrase
            .ask(&text!("ask-recovery-code"), MAX_CODE, "code")
    }
}

impl Way {
    /// As ssh-add decides: the terminal, unless stdin is not one and a program is named.
    fn of_a_person() -> Way {
        let program = std::env::var_os("AKM_ASKPASS").filter(|path| !path.is_empty());
        match program {
            Some(program) if !io::stdin().is_terminal() || terminal().is_err() => {
                Way::Program(program.into())
            }
            _ if terminal().is_ok() => Way::Terminal,
            _ => Way::Nobody,
        }
    }

    fn ask(&self, question: &str, max: usize, field: &'static str) -> Result<Secret> {
        let line = match self {
            Way::Stdin => read_line(&io::stdin(), max, field)?,
            Way::Descriptor(file) => read_line(file, max, field)?,
            Way::Terminal => ask_hidden(question, max, field)?,
            Way::Program(program) => Some(ask_program(program, question, max, field)?),
            Way::Nobody => None,
        };
        let Some(mut line) = line else {
            return Err(Error::invalid(field, "the input ended before a line came").into());
        };
        Secret::from_utf8(std::mem::take(&mut *line))
            .ok_or_else(|| Error::invalid(field, "the line is not UTF-8").into())
    }
}

fn text_of(line: &[u8]) -> Result<Secret> {
    let text = std::str::from_utf8(line).map_err(|_| Error::invalid("code", "a code is digits"))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// Asks on the terminal whether to go on. Where stdin is no terminal nobody is asked and the answer is yes:
/// a script has said what it wants.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut tty = terminal().map_err(|error| Error::from_io(&error))?;
    let _ = tty.write_all(question.as_bytes());
    let answer = read_line(&tty, 64, "answer")?;
    Ok(answer
        .is_some_and(|line| line.eq_ignore_ascii_case(b"y") || line.eq_ignore_ascii_case(b"yes")))
}

/// Asks on the terminal for something that may be seen. Where stdin is no terminal it is a matter for flags.
pub(crate) fn answer(question: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return Err(Fail::usage(
            text!("no-terminal-to-ask"),
            "akm provider add my-gateway --base-url https://gw.example.com/v1",
        ));
    }
    let mut tty = terminal().map_err(|error| Error::from_io(&error))?;
    let _ = tty.write_all(question.as_bytes());
    let line = read_line(&tty, MAX_ANSWER, "answer")?
        .ok_or_else(|| Error::new(Kind::Denied, "the question was not answered"))?;
    let text = std::str::from_utf8(&line)
        .map_err(|_| Error::invalid("answer", "the line is not UTF-8"))?;
    Ok(text.trim().to_owned())
}

fn terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

/// A descriptor that we inherited, opened anew by its name: no raw descriptor is ever adopted.
fn open_descriptor(number: u32) -> Result<File> {
    File::open(format!("/dev/fd/{number}")).map_err(|_| {
        Fail::usage(
            text!("bad-descriptor"),
            "akm unlock --passphrase-fd 3 3< <(your-password-manager)",
        )
    })
}

/// One line of at most `max` bytes, its LF or CRLF stripped; `None` at the end of input.
fn read_line(
    from: &impl AsFd,
    max: usize,
    field: &'static str,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    // Room for the longest line and its end, so that the buffer never moves and leaves a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(max + 2));
    let mut byte = Zeroizing::new([0u8; 1]);
    loop {
        match nix::unistd::read(from, byte.as_mut()) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                break;
            }
            Ok(_) if line.len() > max => {
                return Err(Error::invalid(field, "the line is too long").into());
            }
            Ok(_) => line.push(byte[0]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from_io(&errno.into()).into()),
        }
    }
    if line.len() > max {
        return Err(Error::invalid(field, "the line is too long").into());
    }
    Ok(Some(line))
}

/// Whether standard input has more to say, without waiting for it: a program that keeps its end open is not
/// kept waiting, and a value of two lines, which arrives as one write, is seen.
fn something_waits() -> Result<bool> {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(0) | Err(Errno::EINTR) => return Ok(false),
        Ok(_) => {}
        Err(errno) => return Err(Error::from_io(&errno.into()).into()),
    }
    let mut byte = Zeroizing::new([0u8; 1]);
    match nix::unistd::read(&stdin, byte.as_mut()) {
        Ok(count) => Ok(count > 0),
        Err(_) => Ok(false),
    }
}

/// Asks with the echo off. SIGINT and its kin are held back until the terminal is as it was.
fn ask_hidden(
    question: &str,
    max: usize,
    field: &'static str,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let io_error = |errno: Errno| Fail::from(Error::from_io(&errno.into()));
    let mut tty = terminal().map_err(|error| Error::from_io(&error))?;
    let mut held = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        held.add(signal);
    }
    let before = tcgetattr(&tty).map_err(io_error)?;
    let old_mask = held
        .thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)
        .map_err(io_error)?;
    let signals = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC).map_err(io_error)?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    hidden.local_flags.insert(LocalFlags::ECHONL);
    let asked = tcsetattr(&tty, SetArg::TCSAFLUSH, &hidden)
        .map_err(io_error)
        .and_then(|()| {
            let _ = tty.write_all(question.as_bytes());
            let mut fds = [
                PollFd::new(tty.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            // The terminal gives whole lines, so once it is readable the line is there.
            while let Err(errno) = poll(&mut fds, PollTimeout::NONE) {
                if errno != Errno::EINTR {
                    return Err(io_error(errno));
                }
            }
            if fds[1].any().unwrap_or(false) {
                return Ok(Err(signals.read_signal().ok().flatten()));
            }
            read_line(&tty, max, field).map(Ok)
        });
    let restored = tcsetattr(&tty, SetArg::TCSAFLUSH, &before);
    if let Ok(Err(signal)) = &asked {
        let _ = tty.write_all(b"\n");
        let signal = signal
            .and_then(|info| Signal::try_from(info.ssi_signo as i32).ok())
            .unwrap_or(Signal::SIGINT);
        let _ = old_mask.thread_set_mask();
        let _ = raise(signal);
        // Reached only if somebody made this program ignore the signal.
        return Err(Fail::Exit(130));
    }
    old_mask.thread_set_mask().map_err(io_error)?;
    restored.map_err(io_error)?;
    match asked? {
        Ok(line) => Ok(line),
        Err(_) => Err(Fail::Exit(130)),
    }
}

/// Lets a program ask, as ssh does with `SSH_ASKPASS`.
fn ask_program(
    program: &PathBuf,
    question: &str,
    max: usize,
    field: &'static str,
) -> Result<Zeroizing<Vec<u8>>> {
    let failed = || {
        Error::new(Kind::Io, "the program in AKM_ASKPASS could not be run")
            .with_hint("AKM_ASKPASS is the path of a program that prints what was typed")
    };
    let mut child = Command::new(program)
        .arg(question)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|_| failed())?;
    let line = match child.stdout.take() {
        Some(stdout) => read_line(&stdout, max, field),
        None => Ok(None),
    };
    let status = child.wait().map_err(|_| failed())?;
    match line? {
        Some(line) if status.success() => Ok(line),
        _ => Err(Error::new(Kind::Denied, "the question was not answered")
            .with_hint("the program in AKM_ASKPASS was cancelled or failed")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(bytes: &[u8], max: usize) -> Result<Option<Vec<u8>>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        Ok(read_line(&file, max, "secret")?.map(|line| line.to_vec()))
    }

    #[test]
    fn exactly_one_line_end_is_stripped() {
        let ok = |bytes: &[u8]| line_of(bytes, 16).unwrap();
        assert_eq!(ok(b"abc\n").unwrap(), b"abc");
        assert_eq!(ok(b"abc\r\n").unwrap(), b"abc");
        assert_eq!(ok(b"abc").unwrap(), b"abc");
        assert_eq!(ok(b"abc\r\r\n").unwrap(), b"abc\r");
        assert_eq!(ok(b"abc\r").unwrap(), b"abc\r");
        assert_eq!(ok(b" abc \n").unwrap(), b" abc ");
        assert_eq!(ok(b"\n").unwrap(), b"");
        assert_eq!(ok(b""), None);
    }

    #[test]
    fn a_line_is_bounded_and_the_bound_is_reachable() {
        assert_eq!(line_of(b"12345678\r\n", 8).unwrap().unwrap(), b"12345678");
        assert!(line_of(b"123456789\n", 8).is_err());
        assert!(line_of(b"123456789", 8).is_err());
        assert!(line_of(&[b'k'; 1 << 20], 8).is_err());
    }

    #[test]
    fn the_next_line_stays_for_the_next_reader() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\ntwo\n").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        assert_eq!(&**read_line(&file, 8, "x").unwrap().unwrap(), b"one");
        assert_eq!(&**read_line(&file, 8, "x").unwrap().unwrap(), b"two");
        assert!(read_line(&file, 8, "x").unwrap().is_none());
    }
}
