//! The process that holds what was copied: reads one order and one secret, takes the clipboard, and gives it back
//! when the time is over, when something else is copied, or when the agent closes the pipe.

use std::io::{Read, Write};
use std::time::Duration;

use akm_core::error::{Error, Kind, Result};
use akm_core::name::MAX_SECRET;
use akm_core::secret::Secret;
use zeroize::Zeroizing;

use super::{Order, READY, REEXEC};
use crate::harden;

/// Longest line of an order: three paths.
const MAX_ORDER: usize = 16 * 1024;

/// First thing in `main`: if this process was started as a helper, serves to the end and returns the exit code.
pub fn reexecuted() -> Option<u8> {
    if std::env::args_os().nth(1)? != REEXEC {
        return None;
    }
    harden::close_inherited();
    match serve() {
        Ok(()) => Some(0),
        Err(error) => {
            let word = serde_json::to_vec(&error).unwrap_or_default();
            // An agent that has gone away does not want to know.
            let _ = std::io::stdout().write_all(&word);
            Some(1)
        }
    }
}

fn serve() -> Result<()> {
    harden::no_dump()?;
    let (order, secret) = read(&mut std::io::stdin().lock())?;
    let clear_after = Duration::from_millis(order.clear_ms);
    #[cfg(target_os = "linux")]
    return super::held::hold(&order.target, secret, clear_after, say_ready);
    #[cfg(target_os = "macos")]
    return super::pasteboard::hold(&secret, clear_after, say_ready);
}

/// The order and the secret, each of bounded length; a byte at a time, so that no buffer keeps a copy.
fn read(from: &mut impl Read) -> Result<(Order, Secret)> {
    let wrong = || Error::new(Kind::InvalidInput, "the order of a copy is not one");
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        from.read_exact(&mut byte).map_err(|_| wrong())?;
        match byte {
            [b'\n'] => break,
            _ if line.len() >= MAX_ORDER => return Err(wrong()),
            [byte] => line.push(byte),
        }
    }
    let order: Order = serde_json::from_slice(&line).map_err(|_| wrong())?;
    if order.length == 0 || order.length > MAX_SECRET {
        return Err(wrong());
    }
    let mut bytes = Zeroizing::new(vec![0; order.length]);
    from.read_exact(&mut bytes).map_err(|_| wrong())?;
    let secret = Secret::from_utf8(std::mem::take(&mut *bytes)).ok_or_else(wrong)?;
    Ok((order, secret))
}

fn say_ready() -> Result<()> {
    let io = |error: std::io::Error| Error::from_io(&error);
    let mut out = std::io::stdout();
    out.write_all(READY)
        .and_then(|()| out.flush())
        .map_err(io)?;
    let null = std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .map_err(io)?;
    nix::unistd::dup2_stdout(&null).map_err(|errno| io(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_bounded_and_whole() {
        let order = |length: usize, secret: &str| {
            let line = format!(
                r#"{{"target":{{"x":{{"number":0,"screen":0}},"xauthority":null,"wayland":null}},"clear_ms":1000,"length":{length}}}"#
            );
            read(&mut format!("{line}\n{secret}").as_bytes()).map(|(_, secret)| secret)
        };
        assert_eq!(order(5, "sk-12 and more").unwrap().expose(), "sk-12");
        assert!(order(5, "sk-1").is_err());
        assert!(order(0, "").is_err());
        assert!(order(MAX_SECRET + 1, &"x".repeat(MAX_SECRET + 1)).is_err());
        assert!(read(&mut "x".repeat(MAX_ORDER + 2).as_bytes()).is_err());
        assert!(read(&mut "{}\nsk".as_bytes()).is_err());
    }
}
