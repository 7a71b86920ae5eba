//! The vault's files: who may own them, how they may look, who holds them.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use akm_core::Kind;
use akm_core::store::SqliteStore;

use crate::children;
use crate::support::*;

const FILES: [&str; 4] = ["vault.db", "vault.db-wal", "vault.db-shm", "vault.db.lock"];

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a16_every_file_is_0600_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let said = children::run(&[], "umask", dir.path());
    for umask in ["none", "all"] {
        for file in FILES {
            assert!(
                said.contains(&format!("{umask} {file} 600")),
                "{umask} {file}: {said:?}"
            );
        }
    }
    // The umask was in force.
    assert!(said.contains(&"none control 666".to_owned()));
    assert!(said.contains(&"all control 0".to_owned()));
    assert_eq!(said.len(), 10);
}

#[test]
fn a16_an_owned_looser_file_is_tightened_and_one_that_others_may_write_is_refused() {
    let (path, dir) = vault().close();
    for file in ["vault.db", "vault.db.lock"] {
        let file = dir.path().join(file);
        chmod(&file, 0o644);
        drop(open(&path).unwrap());
        assert_eq!(mode(&file), 0o600);
        for loose in [0o620, 0o602, 0o666] {
            chmod(&file, loose);
            assert_eq!(refusal(&path), Kind::Denied);
            assert_eq!(mode(&file), loose);
        }
        chmod(&file, 0o600);
        drop(open(&path).unwrap());
    }
}

#[test]
fn a_file_of_another_program_keeps_its_mode_and_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("vault.db");
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(other);
    let text = dir.path().join("text");
    std::fs::write(&text, "somebody's").unwrap();
    for (file, kind) in [
        (&database, Kind::UnsupportedVersion),
        (&text, Kind::Corrupt),
    ] {
        chmod(file, 0o644);
        let before = std::fs::read(file).unwrap();
        assert_eq!(refusal(file), kind);
        assert_eq!(mode(file), 0o644);
        assert_eq!(std::fs::read(file).unwrap(), before);
    }
}

#[test]
fn a_file_that_is_no_vault_leaves_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes");
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let refused = |kind: Kind| {
        assert_eq!(refusal(&path), kind);
        assert_eq!(names(), ["notes"]);
        assert_eq!(SqliteStore::look_first(&path).unwrap_err().kind(), kind);
        std::fs::remove_file(&path).unwrap();
    };
    for text in ["s", "somebody's", &"somebody's".repeat(1000)] {
        std::fs::write(&path, text).unwrap();
        refused(Kind::Corrupt);
    }
    // Databases of other programs, also one that is no longer than a vault before its first transaction.
    for page in [512, 4096] {
        let other = rusqlite::Connection::open(&path).unwrap();
        other.pragma_update(None, "page_size", page).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        refused(Kind::UnsupportedVersion);
    }
    symlink("/etc/passwd", &path).unwrap();
    refused(Kind::Denied);
    // The control: an empty file is one that a vault may begin in.
    File::create(&path).unwrap();
    drop(open(&path).unwrap());
    assert!(names().len() > 1);
}

#[test]
fn what_is_refused_is_named_with_what_to_do() {
    let (path, dir) = vault().close();
    let hint = || match open(&path) {
        Ok(_) => panic!("it is opened"),
        Err(error) => error.hint().unwrap_or_default().to_owned(),
    };
    let shown = path.display().to_string();
    chmod(&path, 0o666);
    assert!(hint().contains(&format!("chmod 600 {shown}")));
    chmod(&path, 0o600);
    let second = dir.path().join("second");
    std::fs::hard_link(&path, &second).unwrap();
    assert!(hint().contains(&format!("cp {shown} {shown}.copy && mv")));
    std::fs::remove_file(&path).unwrap();
    symlink(&second, &path).unwrap();
    assert!(hint().contains(&format!("ls -l {shown}")));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(hint().contains(&format!("ls -ld {shown}")));
}

/// A directory where everything but one name is as a new vault would find it.
fn planted(name: &str, plant: impl FnOnce(&Path, &Path)) -> (PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, b"somebody's").unwrap();
    plant(&dir.path().join(name), &elsewhere);
    (dir.path().join("vault.db"), dir)
}

fn refused(name: &str, plant: impl FnOnce(&Path, &Path)) {
    let (path, dir) = planted(name, plant);
    assert_eq!(refusal(&path), Kind::Denied, "{name}");
    let elsewhere = std::fs::read(dir.path().join("elsewhere"));
    assert_eq!(elsewhere.unwrap(), b"somebody's");
}

#[test]
fn a17_a_planted_link_directory_pipe_or_socket_is_refused() {
    // The control: nothing planted, and a harmless file of our own beside it.
    let (path, _dir) = planted("unrelated", |_, _| {});
    drop(open(&path).unwrap());

    for name in FILES.into_iter().chain(["vault.db-journal"]) {
        refused(name, |file, target| symlink(target, file).unwrap());
        refused(name, |file, _| symlink("nowhere", file).unwrap());
        refused(name, |file, target| {
            std::fs::hard_link(target, file).unwrap()
        });
        refused(name, |file, _| std::fs::create_dir(file).unwrap());
        refused(name, |file, _| {
            nix::unistd::mkfifo(file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        });
        refused(name, |file, _| {
            std::os::unix::net::UnixListener::bind(file).unwrap();
        });
    }
}

#[test]
fn a17_a_vault_that_gets_a_second_name_is_refused_until_it_loses_it() {
    let (path, dir) = vault().close();
    let second = dir.path().join("second");
    std::fs::hard_link(&path, &second).unwrap();
    assert_eq!(refusal(&path), Kind::Denied);
    std::fs::remove_file(&second).unwrap();
    drop(open(&path).unwrap());
}

#[test]
fn a17_a_file_of_another_user_is_refused() {
    let (path, dir) = vault().close();
    for file in ["vault.db", "vault.db.lock"] {
        let file = dir.path().join(file);
        let own = std::fs::metadata(&file).unwrap().uid();
        if std::os::unix::fs::chown(&file, Some(own + 1), None).is_err() {
            return skip("only root can give a file away");
        }
        // For a user who is not root the file system refuses first: a mode that lets anybody in.
        chmod(&file, 0o666);
        let kind = refusal(&path);
        std::os::unix::fs::chown(&file, Some(own), None).unwrap();
        chmod(&file, 0o600);
        assert_eq!(kind, Kind::Denied);
        drop(open(&path).unwrap());
    }
}

#[test]
fn a_link_above_the_vault_is_the_callers_to_judge() {
    let (path, dir) = vault().close();
    let link = tempfile::tempdir().unwrap();
    let link = link.path().join("home");
    symlink(dir.path(), &link).unwrap();
    let store = open(&link.join("vault.db")).unwrap();
    // It is one vault under both names.
    assert_eq!(refusal(&path), Kind::Conflict);
    drop(store);
    drop(open(&path).unwrap());
}

#[test]
fn a_directory_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(refusal(&dir.path().join("no/vault.db")), Kind::Io);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(refusal(Path::new("/")), Kind::Denied);
}

#[test]
fn a_second_opener_gets_conflict_here_and_in_another_process() {
    let vault = vault();
    let ada = add_account(&vault.store, "ada");
    let row = add_key(&vault.store, &ada);
    match open(&vault.path) {
        Ok(_) => panic!("two stores on one vault"),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Conflict);
            assert!(error.hint().is_some_and(|hint| hint.contains("agent")));
        }
    }
    let said = children::run(&[], "open", &vault.path);
    assert_eq!(
        said,
        ["conflict another process holds this vault; go through its agent"]
    );
    // The attempts disturbed nothing.
    assert_eq!(stored(&vault.store, &row).unwrap(), row);
    add_key(&vault.store, &ada);

    let (path, _dir) = vault.close();
    assert_eq!(children::run(&[], "open", &path), ["opened"]);
}

/// A program that is being started holds a copy of the lock until it runs.
#[test]
fn programs_that_are_started_meanwhile_keep_nobody_out() {
    let (path, _dir) = vault().close();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // By `fork`, as it has something to do before it runs the program.
                    let mut child = Command::new("true");
                    child.uid(nix::unistd::geteuid().as_raw());
                    assert!(child.status().unwrap().success());
                }
            });
        }
        let opened: Vec<_> = (0..60).map(|_| open(&path).map(drop)).collect();
        over.store(true, Ordering::Relaxed);
        for each in opened {
            each.unwrap();
        }
    });
}

#[test]
fn no_descriptor_of_the_vault_survives_an_exec() {
    let vault = vault();
    add_account(&vault.store, "ada");
    let inside = vault.dir.path().canonicalize().unwrap();
    let control = File::open(&vault.path).unwrap();
    nix::fcntl::fcntl(
        &control,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let (mut closed, mut left) = (0, 0);
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap().path();
        if !std::fs::read_link(&entry).is_ok_and(|target| target.starts_with(&inside)) {
            continue;
        }
        let info = Path::new("/proc/self/fdinfo").join(entry.file_name().unwrap());
        let info = std::fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        match flags & 0o2_000_000 {
            0 => left += 1,
            _ => closed += 1,
        }
    }
    assert_eq!(left, 1, "the control");
    // Three connections to the file and its log, one shared index, one lock.
    assert!(closed >= 6, "{closed}");
}
