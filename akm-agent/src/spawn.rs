//! Starts a command without copying this process: the child shares its memory until it has become the command, and this
//! process waits meanwhile (`CLONE_VM | CLONE_VFORK`, as posix_spawn does). `std` can do that only for a child with nothing to
//! do in between, and ours has.
//!
//! Invariants: the child makes system calls on values that were ready before, on a stack of its own, and nothing else: it takes
//! no memory and no lock, and cannot panic. This process has no signal handlers of its own when it starts one (it reads signals from
//! a descriptor), and every signal is blocked until the child has what it needs. What it could not do is told as an error, and no
//! child is left then.
//!
//! One of the rooms with `unsafe`.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_char};
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, setpgid, tcsetpgrp};

use crate::harden::end_with;

/// What the child's part needs several times over; no handler runs on it.
const STACK: usize = 16 * 1024;
/// Where programs are where nothing says it.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
const SHELL: &CStr = c"/bin/sh";

/// A child as if nobody stood between it and whoever started this process, but which does not outlive it: it gets SIGHUP
/// when this thread ends.
pub(crate) struct Child<'a> {
    /// Program, arguments and changes of the environment; the rest of it is not looked at.
    pub command: &'a Command,
    /// What it is called, if not as its program.
    pub name: Option<&'a str>,
    /// Its standard input, output and error, where they are not ours.
    pub streams: [Option<OwnedFd>; 3],
    /// The signal mask of before.
    pub mask: SigSet,
    /// The limit on core files of before, if we changed it.
    pub core_limit: Option<(u64, u64)>,
    /// Whether it leads a process group of its own.
    pub leads_group: bool,
    /// Where its process group is in front.
    pub terminal: Option<OwnedFd>,
}

impl Child<'_> {
    /// Starts it. An error is that of `execve` if the program cannot be run.
    #[allow(unsafe_code)]
    pub(crate) fn start(self) -> io::Result<Pid> {
        let environment = environment(self.command);
        let paths = candidates(
            self.command.get_program(),
            environment.get(OsStr::new("PATH")),
        )?;
        let program = self.name.map_or(self.command.get_program(), OsStr::new);
        let mut arguments = vec![c_string(program)?];
        for argument in self.command.get_args() {
            arguments.push(c_string(argument)?);
        }
        let environment = environment
            .into_iter()
            .map(|(name, value)| variable(name, &value))
            .collect::<io::Result<Vec<_>>>()?;
        let arguments = pointers(&arguments);
        let environment = pointers(&environment);
        // For a script without a first line that names its interpreter: `sh PATH ARGUMENT...`.
        let mut of_shell = vec![SHELL.as_ptr(), ptr::null()];
        of_shell.extend(&arguments[1..]);

        let parent = getpid();
        let mut failed = None;
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = {
            let run = Box::new(|| {
                failed = Some(match self.prepare(parent) {
                    // SAFETY: the arrays and what they point to outlive the child's use of them: this process waits for that.
                    Ok(()) => unsafe {
                        become_one(&paths, &arguments, &mut of_shell, &environment)
                    },
                    Err(errno) => errno,
                });
                127
            });
            let mut stack = vec![0; STACK];
            let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
            // SAFETY: until the child has become a program or has ended, this thread does not run, so nothing here is used by
            // two; the child only makes system calls (see above), within the stack that it is given.
            unsafe { nix::sched::clone(run, &mut stack, flags, Some(libc::SIGCHLD)) }
        };
        // It can only fail for a wrong argument, and this was a mask a moment ago.
        let _ = before.thread_set_mask();
        let child = started?;
        match failed {
            None => Ok(child),
            Some(errno) => {
                let _ = waitpid(child, None);
                Err(errno.into())
            }
        }
    }

    /// In the child: everything before it becomes the command.
    #[allow(unsafe_code)]
    fn prepare(&self, parent: Pid) -> nix::Result<()> {
        end_with(parent)?;
        for (stream, number) in self.streams.iter().zip(0..) {
            if let Some(stream) = stream {
                // SAFETY: what it replaces is of the child alone, which becomes another program.
                Errno::result(unsafe { libc::dup2(stream.as_raw_fd(), number) })?;
            }
        }
        if self.leads_group {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        }
        if let Some((soft, hard)) = self.core_limit {
            let _ = setrlimit(Resource::RLIMIT_CORE, soft, hard);
        }
        if let Some(terminal) = &self.terminal {
            tcsetpgrp(terminal, getpid())?;
        }
        // SAFETY: no handler is set. Rust programs ignore it; others expect to end by it.
        unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
        self.mask.thread_set_mask()
    }
}

/// In the child: becomes the first of the programs that there is; returns why it did not.
///
/// # Safety
///
/// The arrays end with a null pointer; their other pointers, but the second of `of_shell`, are of strings.
#[allow(unsafe_code)]
unsafe fn become_one(
    paths: &[CString],
    arguments: &[*const c_char],
    of_shell: &mut [*const c_char],
    environment: &[*const c_char],
) -> Errno {
    let mut last = Errno::ENOENT;
    for path in paths {
        // SAFETY: as the caller vouches.
        unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        match Errno::last() {
            Errno::ENOEXEC => {
                of_shell[1] = path.as_ptr();
                // SAFETY: now every pointer is of a string.
                unsafe { libc::execve(SHELL.as_ptr(), of_shell.as_ptr(), environment.as_ptr()) };
                return Errno::last();
            }
            // One further on may be allowed; if none is, this is what there is to say.
            Errno::EACCES => last = Errno::EACCES,
            Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT
                if paths.len() > 1 => {}
            errno => return errno,
        }
    }
    last
}

/// Ours, with the changes of a command.
fn environment(command: &Command) -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<_, _> = std::env::vars_os().collect();
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => environment.insert(name.to_owned(), value.to_owned()),
            None => environment.remove(name),
        };
    }
    environment
}

/// Where a program may be: at its path, or in the directories of `PATH`, of which an empty one is the working directory.
fn candidates(program: &OsStr, path: Option<&OsString>) -> io::Result<Vec<CString>> {
    let bytes = program.as_bytes();
    if bytes.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if bytes.contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = path.map_or(DEFAULT_PATH, |path| path.as_bytes());
    path.split(|byte| *byte == b':')
        .map(|directory| {
            let mut at = directory.to_vec();
            if !at.is_empty() {
                at.push(b'/');
            }
            at.extend_from_slice(bytes);
            Ok(CString::new(at)?)
        })
        .collect()
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// `NAME=VALUE`
fn variable(name: OsString, value: &OsStr) -> io::Result<CString> {
    let mut text = name.into_vec();
    text.reserve_exact(value.len() + 2);
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    Ok(CString::new(text)?)
}

/// Null-terminated, as `execve` takes them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use nix::sys::wait::WaitStatus;

    use super::*;

    /// What a command prints, and how it ends.
    fn output(command: &Command, name: Option<&str>) -> io::Result<(String, WaitStatus)> {
        let (mut read, write) = io::pipe()?;
        let child = Child {
            command,
            name,
            streams: [
                Some(File::open("/dev/null")?.into()),
                Some(write.into()),
                None,
            ],
            mask: SigSet::empty(),
            core_limit: None,
            leads_group: false,
            terminal: None,
        };
        let child = child.start()?;
        let mut text = String::new();
        read.read_to_string(&mut text)?;
        Ok((text, waitpid(child, None)?))
    }

    fn script(at: &Path, text: &str, mode: u32) {
        fs::write(at, text).unwrap();
        fs::set_permissions(at, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_command_has_its_arguments_and_its_environment() {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "echo $0 $1 $AKM_TEST_A; test -z \"$HOME\" && exit 3",
                "zero",
                "o ne",
            ])
            .env("AKM_TEST_A", "a b")
            .env("HOME", "");
        let (text, end) = output(&command, None).unwrap();
        assert_eq!(text, "zero o ne a b\n");
        assert!(matches!(end, WaitStatus::Exited(_, 3)));
        // Called otherwise than its program.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cat /proc/$$/cmdline; true"]);
        let (text, _) = output(&command, Some("someone")).unwrap();
        assert!(text.starts_with("someone\0-c\0"), "{text:?}");
    }

    #[test]
    fn a_program_is_looked_for_in_the_path_it_will_have() {
        let home = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| home.path().join(name));
        for directory in [&first, &second] {
            fs::create_dir(directory).unwrap();
        }
        let both = format!("/nowhere:{}:{}", first.display(), second.display());
        let mut command = Command::new("akm-test-program");
        command.env("PATH", &both);
        assert_eq!(
            output(&command, None).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        // Not a program here, and one further on, without a line that says of which kind.
        script(&first.join("akm-test-program"), "", 0o644);
        // Root is refused only where no bit says that it is a program.
        let refused = output(&command, None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        script(&second.join("akm-test-program"), "echo found $1", 0o755);
        command.arg("it");
        assert_eq!(output(&command, None).unwrap().0, "found it\n");
        command.env_remove("PATH");
        assert_eq!(
            output(&command, None).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn what_cannot_be_a_program_is_an_error_and_leaves_no_child() {
        for (program, kind) in [
            ("", io::ErrorKind::NotFound),
            ("/nowhere/at/all", io::ErrorKind::NotFound),
            ("/", io::ErrorKind::PermissionDenied),
            ("/dev/null/x", io::ErrorKind::NotADirectory),
        ] {
            let command = Command::new(program);
            assert_eq!(
                output(&command, None).unwrap_err().kind(),
                kind,
                "{program:?}"
            );
        }
        let mut command = Command::new("true");
        command.env("A", "nul\0");
        let refused = output(&command, None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        // What comes before the program.
        let child = Child {
            command: &Command::new("true"),
            name: None,
            streams: [const { None }; 3],
            mask: SigSet::empty(),
            core_limit: None,
            leads_group: true,
            terminal: Some(File::open("/dev/null").unwrap().into()),
        };
        let refused = child.start().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::ENOTTY as i32));
        // Children of this thread alone; the control is one that waits for its input.
        let left = || fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(left(), "");
        let (read, write) = io::pipe().unwrap();
        let child = Child {
            command: &Command::new("cat"),
            name: None,
            streams: [Some(read.into()), None, None],
            mask: SigSet::empty(),
            core_limit: None,
            leads_group: false,
            terminal: None,
        };
        let child = child.start().unwrap();
        assert_eq!(left().trim(), child.to_string());
        drop(write);
        waitpid(child, None).unwrap();
    }

    #[test]
    fn signals_are_as_before_in_the_child_and_here() {
        let mut command = Command::new("sh");
        command.args(["-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status"]);
        let before = SigSet::thread_get_mask().unwrap();
        let (text, _) = output(&command, None).unwrap();
        let bits = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.split_once(':').unwrap().1.trim(), 16).unwrap()
        };
        assert_eq!(bits("SigBlk"), 0);
        assert_eq!(bits("SigIgn") & (1 << (Signal::SIGPIPE as u32 - 1)), 0);
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
