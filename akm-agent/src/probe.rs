//! Children on which `akm doctor` tries what this machine really protects: one that protects itself as the agent does, one
//! that does not, and one that attacks them. Nothing is measured on the agent itself, which is not to be touched.
//!
//! A child says on its standard output, a pipe, what it found, as one line; it ends when its standard input does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use akm_core::error::{Error, Result};
use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::{harden, sandbox};

/// The hidden first argument.
const REEXEC: &str = "__probe";
/// Most bytes of a child's word.
const MAX_WORD: u64 = 4096;

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Protected as the agent is; waits.
    Guarded,
    /// Protected as any program is; waits.
    Plain,
    /// Protected as the agent is; aborts when its input ends.
    Aborting,
    /// Gives up what the agent gives up, and says what the kernel took of it.
    Bound,
}

impl Part {
    const ALL: [(Part, &'static str); 4] = [
        (Part::Guarded, "guarded"),
        (Part::Plain, "plain"),
        (Part::Aborting, "aborting"),
        (Part::Bound, "bound"),
    ];
}

/// What a program of the same user could do to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Attach to it as a debugger.
    pub ptrace: bool,
    /// Open its memory.
    pub memory: bool,
    /// Read its environment.
    pub environ: bool,
}

/// What the kernel took of the agent's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The list of system calls.
    pub calls: bool,
    /// The list of files.
    pub files: sandbox::Held,
}

/// A child that waits. Ends with this value.
pub struct Probe {
    child: Child,
    word: String,
}

impl Probe {
    /// Starts one and waits for its word.
    ///
    /// Errors: `io` if it does not start or says nothing.
    pub fn start(part: Part) -> Result<Probe> {
        let name = Part::ALL.iter().find(|(known, _)| *known == part);
        run(name.map_or("", |(_, name)| name))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a bound one said.
    pub fn taken(&self) -> Option<Taken> {
        serde_json::from_str(&self.word).ok()
    }

    /// Ends its input, and says whether it left a core file behind.
    pub fn dumps_core(mut self) -> Result<bool> {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|error| Error::from_io(&error))?;
        Ok(status.core_dumped())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program beside it, of the same user, can do to this one. Not tried by its own parent, which some systems allow more.
///
/// Errors: `io` if the program does not start.
pub fn reach(of: &Probe) -> Result<Reach> {
    let said = run(&of.pid().to_string())?;
    serde_json::from_str(&said.word).map_err(|_| Error::internal("a child said nothing"))
}

fn run(part: &str) -> Result<Probe> {
    let io = |error: std::io::Error| Error::from_io(&error);
    let mut child = Command::new(crate::daemon::this_program())
        .arg0("akm")
        .args([REEXEC, part])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(io)?;
    let mut word = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out.take(MAX_WORD))
            .read_line(&mut word)
            .map_err(io)?;
    }
    let probe = Probe { child, word };
    if probe.word.is_empty() {
        return Err(Error::internal("a child said nothing"));
    }
    Ok(probe)
}

/// First thing in `main`: if this process was started as a child of the doctor, plays its part.
pub fn reexecuted() -> Option<u8> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != REEXEC {
        return None;
    }
    let part = arguments.next().unwrap_or_default();
    Some(play(&part).is_err().into())
}

fn play(part: &str) -> Result<()> {
    let Some((part, _)) = Part::ALL.iter().find(|(_, name)| *name == part) else {
        let target = part
            .parse()
            .map_err(|_| Error::internal("a child without a part"))?;
        return say(&look(Pid::from_raw(target)));
    };
    match part {
        Part::Guarded | Part::Aborting => harden::no_dump()?,
        Part::Plain | Part::Bound => {}
    }
    match part {
        Part::Bound => {
            let (calls, files) = sandbox::try_here();
            return say(&Taken { calls, files });
        }
        _ => say(&true)?,
    }
    // To the end of the pipe: whoever started this one has seen enough.
    let _ = std::io::stdin().read(&mut [0; 1]);
    if *part == Part::Aborting {
        std::process::abort();
    }
    Ok(())
}

fn say(word: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(word).map_err(|_| Error::internal("a child said nothing"))?;
    line.push(b'\n');
    let mut out = std::io::stdout();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(|error| Error::from_io(&error))
}

fn look(target: Pid) -> Reach {
    let open = |name: &str| File::open(format!("/proc/{target}/{name}"));
    // Reading memory at 0 fails for everybody: opening it is what is refused. The environment is refused when it is read.
    let memory = open("mem").is_ok();
    let environ = open("environ")
        .and_then(|mut file| file.read(&mut [0; 1]))
        .is_ok();
    let ptrace = ptrace::attach(target).is_ok();
    if ptrace {
        let _ = waitpid(target, None);
        let _ = ptrace::detach(target, None);
    }
    Reach {
        ptrace,
        memory,
        environ,
    }
}
