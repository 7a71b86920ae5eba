//! I05 of the attack programme through the whole service: on a file system that is full no secret leaves without its event.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use akm_core::Kind;
use akm_core::protocol::{AuditList, AuditVerify};
use support::Bench;

/// Names the directory for a file system of our own, in the process that runs in a mount namespace of its own.
const SMALL: &str = "AKM_TEST_SMALL";
const KEY: &str = "openai/work";
const VALUE: &str = "sk-full-disk-0123456789abcdef";

#[test]
fn i05_on_a_full_disk_as_many_secrets_leave_as_there_are_events() {
    if let Some(small) = std::env::var_os(SMALL) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"])
            .arg(&small)
            .status();
        assert!(mounted.unwrap().success());
        return on_a_full_disk(small.as_ref());
    }
    let unshare: &[&str] = if nix::unistd::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--mount", "--map-root-user"]
    };
    let mut probe = Command::new(unshare[0]);
    let may_mount = probe.args(&unshare[1..]).arg("true").status();
    if !may_mount.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "this needs a mount namespace"
        );
        eprintln!("skipped: a file system of our own cannot be mounted here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg(std::env::current_exe().unwrap())
        .args([
            "i05_on_a_full_disk_as_many_secrets_leave_as_there_are_events",
            "--exact",
            "--nocapture",
        ])
        .env(SMALL, dir.path())
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("the full disk was met"), "{text}{errors}");
}

/// Everything of the vault stands on the small file system.
fn on_a_full_disk(small: &std::path::Path) {
    let bench = Bench::initialized();
    assert!(bench.home.path().starts_with(small));
    bench.add(KEY, VALUE).unwrap();
    let mut released = 0;
    let mut refused = 0;
    // Full several times, with a little space each time; in between the journal is brought home.
    for room in [8 * 1024, 20 * 1024, 60 * 1024] {
        let path = small.join("filler");
        let mut filler = std::fs::File::create(&path).unwrap();
        let mut length = 0;
        while filler.write_all(&[1; 4096]).is_ok() {
            length += 4096;
        }
        filler.set_len(length - room).unwrap();
        let before = released;
        let error = loop {
            match bench.get(KEY) {
                Ok(secret) => {
                    assert_eq!(secret, VALUE);
                    released += 1;
                }
                Err(error) => break error,
            }
            assert!(released < 10_000, "the disk never filled");
        };
        assert_eq!(error.kind(), Kind::Io);
        assert!(released > before, "control: some were handed out before");
        for _ in 0..5 {
            assert_eq!(bench.get(KEY).unwrap_err().kind(), Kind::Io);
            refused += 1;
        }
        drop(filler);
        std::fs::remove_file(&path).unwrap();
        bench.service().fold().unwrap();
    }
    assert_eq!(
        bench.get(KEY).unwrap(),
        VALUE,
        "control: with space it goes on"
    );
    released += 1;
    let mut logged = 0;
    let mut after = None;
    loop {
        let page = bench
            .call(AuditList {
                action: Some("key.get".into()),
                after,
                ..AuditList::default()
            })
            .unwrap();
        let handed_out = page.events.iter().filter(|event| event.outcome == "ok");
        logged += handed_out.count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(logged, released, "{refused} were refused");
    assert!(bench.call(AuditVerify::default()).unwrap().ok);
    let mut out = std::io::stdout();
    writeln!(out, "the full disk was met: {released} released").unwrap();
}
