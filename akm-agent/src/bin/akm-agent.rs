//! `akm-agent`, with ssh-agent's flags in ssh-agent's meaning.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use akm_agent::daemon::{self, Launch};
use akm_agent::flags::Arguments;
use akm_agent::lifetime::Lifetime;
use akm_agent::serve::Serve;
use akm_agent::{log, manager};
use akm_core::error::{Error, Kind, Result};
use akm_core::paths::Places;
use clap::Parser;
use nix::unistd::Pid;

#[global_allocator]
static ALLOCATOR: akm_core::memory::WipingAllocator = akm_core::memory::WipingAllocator;

fn main() -> ExitCode {
    if let Some(code) = daemon::reexecuted() {
        return ExitCode::from(code);
    }
    // A command of this name would be run as `akm-agent -- serve`.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == "serve")
    {
        let serve = match Serve::try_parse_from(std::env::args_os().skip(1)) {
            Ok(serve) => serve,
            Err(error) => return misused(&error),
        };
        let pid = Pid::this().as_raw();
        let served = serve.run(|socket| print(&announce(false, socket, pid)));
        return exit(served.map(|()| ExitCode::SUCCESS));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    exit(run(arguments))
}

fn misused(error: &clap::Error) -> ExitCode {
    // There is nobody to tell that telling failed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 64 } else { 0 })
}

fn exit(result: Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            daemon::report(&error);
            ExitCode::from(match error.kind() {
                Kind::NoAgent => 2,
                Kind::InvalidInput => 64,
                _ => 1,
            })
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let csh = match (arguments.csh, arguments.sh) {
        (true, _) => true,
        (_, true) => false,
        _ => std::env::var("SHELL").is_ok_and(|shell| shell.ends_with("csh")),
    };
    if arguments.kill {
        return end(csh).map(|()| ExitCode::SUCCESS);
    }
    let launch = Launch {
        socket: arguments.address,
        lifetime: arguments
            .lifetime
            .as_deref()
            .map(Lifetime::parse)
            .transpose()?,
        bound_to_parent: !arguments.command.is_empty(),
        network: None,
    };
    if arguments.foreground || arguments.debug {
        if arguments.debug {
            log::tell_requests();
        }
        let pid = Pid::this().as_raw();
        // A service manager does not evaluate anything.
        let activated = manager::passes_socket();
        return daemon::serve(&launch, |socket| match activated {
            true => Ok(()),
            false => print(&announce(csh, socket, pid)),
        })
        .map(|()| ExitCode::SUCCESS);
    }
    let mut places = Places::from_env()?;
    if let Some(socket) = &launch.socket {
        places.socket = std::path::absolute(socket).map_err(|error| Error::from_io(&error))?;
    }
    let launch = Launch {
        socket: launch.socket.as_ref().map(|_| places.socket.clone()),
        ..launch
    };
    let pid = daemon::start(&places, &launch)?;
    let Some((program, rest)) = arguments.command.split_first() else {
        return print(&announce(csh, &places.socket, pid)).map(|()| ExitCode::SUCCESS);
    };
    // The command takes this process's place: its exit code and its signals are its own.
    let error = Command::new(program)
        .args(rest)
        .env("AKM_AGENT_SOCK", &places.socket)
        .env("AKM_AGENT_PID", pid.to_string())
        .exec();
    // As a shell says it; the agent ends with this process.
    let (code, what) = match error.kind() {
        ErrorKind::NotFound => (127, Error::new(Kind::NotFound, "there is no such command")),
        _ => (126, Error::new(Kind::Io, "the command cannot be run")),
    };
    daemon::report(&what);
    Ok(ExitCode::from(code))
}

fn end(csh: bool) -> Result<()> {
    let pid = std::env::var("AKM_AGENT_PID")
        .ok()
        .and_then(|pid| pid.parse().ok())
        .filter(|pid| daemon::is_agent(*pid))
        .ok_or_else(|| Error::new(Kind::NoAgent, "AKM_AGENT_PID does not name an agent"))?;
    daemon::end(pid)?;
    let unset = if csh { "unsetenv" } else { "unset" };
    print(&format!(
        "{unset} AKM_AGENT_SOCK;\n{unset} AKM_AGENT_PID;\necho Agent pid {pid} killed;\n"
    ))
}

fn announce(csh: bool, socket: &Path, pid: i32) -> String {
    let socket = quoted(&socket.to_string_lossy());
    if csh {
        format!(
            "setenv AKM_AGENT_SOCK {socket};\nsetenv AKM_AGENT_PID {pid};\necho Agent pid {pid};\n"
        )
    } else {
        format!(
            "AKM_AGENT_SOCK={socket}; export AKM_AGENT_SOCK;\nAKM_AGENT_PID={pid}; export AKM_AGENT_PID;\n\
             echo Agent pid {pid};\n"
        )
    }
}

/// As one word of a shell: the output is made to be evaluated.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::from_io(&error))
}
