//! Both lists bind a thread, so each test gives one up.

use std::fs::File;
use std::net::ToSocketAddrs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::ptrace;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::*;

/// What a thread of its own finds.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap()
}

#[test]
fn what_is_never_needed_is_refused_and_the_rest_goes_on() {
    let attempts = || {
        let nowhere = "/nowhere-at-all";
        [
            (
                "ptrace",
                ptrace::attach(nix::unistd::Pid::from_raw(1 << 21)),
            ),
            (
                "unshare",
                unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC),
            ),
            (
                "mount",
                mount(
                    None::<&str>,
                    nowhere,
                    None::<&str>,
                    MsFlags::empty(),
                    None::<&str>,
                ),
            ),
            ("chroot", nix::unistd::chroot(nowhere)),
            ("dumpable", prctl::set_dumpable(true)),
            (
                "packets",
                socket(
                    AddressFamily::Packet,
                    SockType::Raw,
                    SockFlag::SOCK_CLOEXEC,
                    None,
                )
                .map(drop),
            ),
            (
                "vsock",
                socket(
                    AddressFamily::Vsock,
                    SockType::Stream,
                    SockFlag::SOCK_CLOEXEC,
                    None,
                )
                .map(drop),
            ),
        ]
    };
    let (free, bound) = apart(|| {
        let free = attempts();
        assert!(deny_calls(), "this kernel takes no filter");
        // What the agent does all day, and a program that it starts.
        assert!(Command::new("true").status().unwrap().success());
        assert!(std::thread::spawn(|| 1).join().is_ok());
        assert!(("localhost", 0).to_socket_addrs().is_ok());
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        (free, attempts())
    });
    for ((name, free), (_, bound)) in free.into_iter().zip(bound) {
        assert_eq!(bound, Err(Errno::EPERM), "{name}");
        // The control: without the list it is something else, where this user may.
        if nix::unistd::geteuid().is_root() {
            assert_ne!(free, Err(Errno::EPERM), "{name}");
        }
    }
}

#[test]
fn a_program_that_is_started_inherits_the_list() {
    let shell = "unshare --uts true";
    let run = || Command::new("sh").args(["-c", shell]).output().unwrap();
    let (free, bound) = apart(|| {
        let free = run();
        assert!(deny_calls());
        (free, run())
    });
    assert!(!bound.status.success());
    if nix::unistd::geteuid().is_root() {
        assert!(free.status.success(), "the control");
    }
}

#[test]
fn whoever_speaks_with_a_provider_reads_what_that_needs_and_writes_nothing() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = dir.path().join("vault.db");
    std::fs::write(&file, "precious").unwrap();
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    let exe = format!("/proc/{}/exe", child.id());
    let look = || std::fs::read_link(&exe).map_err(|error| error.kind());
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    apart(|| {
        assert!(File::open(&file).is_ok() && look().is_ok(), "the control");
        alone_with_a_provider();
        let denied = std::io::ErrorKind::PermissionDenied;
        assert_eq!(File::open(&file).unwrap_err().kind(), denied);
        assert_eq!(
            File::create(dir.path().join("new")).unwrap_err().kind(),
            denied
        );
        assert_eq!(std::fs::remove_file(&file).unwrap_err().kind(), denied);
        assert_eq!(
            std::fs::read_dir("/root").map(drop).unwrap_err().kind(),
            denied
        );
        // Nobody else's process: that is why the thread that says who asks is not bound.
        assert_eq!(look(), Err(denied));
        assert!(std::fs::read("/etc/passwd").is_ok());
        assert!(std::fs::read_dir("/etc/ssl").is_ok() || std::fs::read_dir("/usr/share").is_ok());
        assert!(("localhost", 0).to_socket_addrs().is_ok());
    });
    drop(listener);
    // The control: the thread beside it is as free as before.
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    assert!(look().is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_agent_of_a_user_of_its_own_writes_its_directories_only() {
    let own = tempfile::tempdir_in("/var/tmp").unwrap();
    let other = tempfile::tempdir_in("/var/tmp").unwrap();
    let bounds = Bounds {
        own_user: true,
        write: vec![own.path().to_owned(), "/not/there".into()],
        read: vec![],
    };
    apart(|| {
        assert_eq!(
            confine(&bounds),
            Some(Held::Whole),
            "this kernel has a part of Landlock"
        );
        std::fs::write(own.path().join("a"), "1").unwrap();
        std::fs::rename(own.path().join("a"), own.path().join("b")).unwrap();
        assert!(std::fs::write(other.path().join("a"), "1").is_err());
        assert!(std::fs::rename(own.path().join("b"), other.path().join("b")).is_err());
        assert!(File::options().write(true).open("/dev/null").is_ok());
        // It starts programs of the system, and itself.
        assert!(Command::new("true").status().unwrap().success());
        let itself = Command::new(crate::daemon::this_program())
            .arg("--list")
            .output();
        assert!(itself.unwrap().status.success());
        // And what they write is bound as well.
        let copy = Command::new("cp")
            .arg(own.path().join("b"))
            .arg(other.path())
            .output();
        assert!(!copy.unwrap().status.success());
    });
    assert_eq!(confine(&Bounds::default()), None);
    std::fs::write(other.path().join("a"), "1").unwrap();
}
