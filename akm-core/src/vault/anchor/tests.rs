//! What an anchor remembers, through reopening, torn writes, other hands, and disks that do not answer.

use super::*;

const ACCOUNT: Id = [2; 16];

fn at(epoch: u64, generation: u64, mark: u8) -> Position {
    Position {
        epoch,
        generation,
        mark: [mark; 32],
    }
}

fn anchors() -> (Anchors, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Anchors::open(dir.path(), &[1; 16]).unwrap(), dir)
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    let mut files = std::fs::read_dir(dir.path().join(DIRECTORY)).unwrap();
    files.next().unwrap().unwrap().path()
}

#[test]
fn a_position_only_rises_and_survives_reopening() {
    let (anchors, dir) = anchors();
    assert_eq!(
        anchors.compare(&ACCOUNT, &at(1, 1, 1)).unwrap(),
        Standing::Unknown
    );
    for (generation, mark) in [(1, 1), (2, 2), (3, 3), (2, 9)] {
        anchors.advance(&ACCOUNT, &at(1, generation, mark));
    }
    drop(anchors);
    let anchors = Anchors::open(dir.path(), &[1; 16]).unwrap();
    let standing = |position| anchors.compare(&ACCOUNT, &position).unwrap();
    let seen = at(1, 3, 3);
    assert_eq!(standing(seen), Standing::Current);
    assert_eq!(standing(at(1, 4, 7)), Standing::Current);
    assert_eq!(standing(at(2, 0, 7)), Standing::Current);
    assert_eq!(standing(at(1, 3, 7)), Standing::Forked { seen });
    let older = |awaited| Standing::Older { awaited, seen };
    assert_eq!(standing(at(1, 2, 2)), older(false));
    assert_eq!(standing(at(0, 9, 2)), older(false));
    // Another account, another vault: nothing is known.
    let other = anchors.compare(&[3; 16], &at(1, 1, 1)).unwrap();
    assert_eq!(other, Standing::Unknown);
    let vault = Anchors::open(dir.path(), &[4; 16]).unwrap();
    let other = vault.compare(&ACCOUNT, &at(1, 1, 1)).unwrap();
    assert_eq!(other, Standing::Unknown);
    // A restore announces one state, and the next step forgets it.
    anchors.expect(&ACCOUNT, &at(1, 1, 1)).unwrap();
    assert_eq!(standing(at(1, 1, 1)), older(true));
    assert_eq!(standing(at(1, 2, 2)), older(false));
    // Also one that is as far as what was seen, by another way.
    assert_eq!(standing(at(1, 3, 7)), Standing::Forked { seen }, "control");
    anchors.expect(&ACCOUNT, &at(1, 3, 7)).unwrap();
    assert_eq!(standing(at(1, 3, 7)), older(true));
    assert_eq!(standing(at(1, 3, 6)), Standing::Forked { seen });
    anchors.advance(&ACCOUNT, &at(2, 2, 8));
    assert_eq!(
        standing(at(1, 1, 1)),
        Standing::Older {
            awaited: false,
            seen: at(2, 2, 8)
        }
    );
}

#[test]
fn accounts_of_other_vaults_are_counted_until_they_are_let_go() {
    let (anchors, dir) = anchors();
    anchors.advance(&ACCOUNT, &at(1, 1, 1));
    assert_eq!(anchors.seen_elsewhere(), Ok(0), "its own are none");
    let other = Anchors::open(dir.path(), &[4; 16]).unwrap();
    assert_eq!(other.seen_elsewhere(), Ok(1));
    assert_eq!(other.is_seen_elsewhere(&ACCOUNT), Ok(true));
    assert_eq!(other.is_seen_elsewhere(&[3; 16]), Ok(false));
    other.advance(&ACCOUNT, &at(1, 1, 1));
    assert_eq!(other.is_seen_elsewhere(&ACCOUNT), Ok(false), "and here");
    anchors.let_go(&ACCOUNT).unwrap();
    assert_eq!(other.seen_elsewhere(), Ok(0));
}

#[test]
fn two_holders_take_the_maximum() {
    let (first, dir) = anchors();
    let second = Anchors::open(dir.path(), &[1; 16]).unwrap();
    first.advance(&ACCOUNT, &at(1, 1, 1));
    second.advance(&ACCOUNT, &at(1, 5, 5));
    first.advance(&ACCOUNT, &at(1, 2, 2));
    let older = first.compare(&ACCOUNT, &at(1, 2, 2)).unwrap();
    assert!(matches!(older, Standing::Older { .. }));
}

#[test]
fn a_torn_write_leaves_the_one_before_and_two_are_damage() {
    use std::os::unix::fs::MetadataExt as _;
    let (anchors, dir) = anchors();
    anchors.advance(&ACCOUNT, &at(1, 1, 1));
    anchors.advance(&ACCOUNT, &at(1, 2, 2));
    let path = file(&dir);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    let good = std::fs::read(&path).unwrap();
    assert_eq!(good.len(), 2 * SECTOR);
    let with = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        anchors.compare(&ACCOUNT, &at(1, 1, 1)).unwrap()
    };
    assert!(matches!(with(&good), Standing::Older { .. }), "control");
    // The second write went to the first sector. Every tear of it leaves the first write.
    for cut in 0..RECORD + 32 {
        let mut torn = good.clone();
        torn[cut] ^= 1;
        assert_eq!(with(&torn), Standing::Current, "{cut}");
    }
    let mut both = good.clone();
    both[10] ^= 1;
    both[SECTOR + 10] ^= 1;
    assert_eq!(with(&both), Standing::Damaged);
    assert_eq!(with(&good[..100]), Standing::Damaged);
    assert_eq!(with(&[]), Standing::Unknown);
    // Damage is not for ever: what comes next is written.
    with(&both);
    anchors.advance(&ACCOUNT, &at(1, 3, 3));
    let now = anchors.compare(&ACCOUNT, &at(1, 3, 3)).unwrap();
    assert_eq!(now, Standing::Current);
}

/// Another hand on an anchor's file.
fn reopened(dir: &tempfile::TempDir, writable: bool) -> File {
    let mut options = File::options();
    options.read(true).write(writable).open(file(dir)).unwrap()
}

#[test]
fn what_cannot_be_written_is_owed_and_said_until_it_is() {
    let (anchors, dir) = anchors();
    anchors.advance(&ACCOUNT, &at(1, 1, 1));
    let swap = |writable| {
        let file = reopened(&dir, writable);
        anchors.hold().get_mut(&ACCOUNT).unwrap().file = file;
    };
    let standing = || anchors.compare(&ACCOUNT, &at(1, 1, 1)).unwrap();
    swap(false);
    anchors.advance(&ACCOUNT, &at(1, 2, 2));
    assert_eq!(standing(), Standing::Current, "it was not written");
    for _ in 0..2 {
        assert_eq!(anchors.sync().unwrap_err().kind(), crate::Kind::Io);
    }
    let expected = anchors.expect(&ACCOUNT, &at(1, 1, 1));
    assert_eq!(expected.unwrap_err().kind(), crate::Kind::Io);
    swap(true);
    anchors.sync().unwrap();
    assert!(matches!(standing(), Standing::Older { awaited: false, .. }));
    anchors.sync().unwrap();
    anchors.expect(&ACCOUNT, &at(1, 1, 1)).unwrap();
    assert!(matches!(standing(), Standing::Older { awaited: true, .. }));
}

#[test]
fn a_place_that_is_not_a_private_file_is_refused_and_nothing_is_announced_to_who_saw_nothing() {
    let (anchors, dir) = anchors();
    // Seen nothing: whatever comes is taken, so there is nothing to announce.
    anchors.expect(&ACCOUNT, &at(1, 1, 1)).unwrap();
    let unknown = anchors.compare(&ACCOUNT, &at(1, 1, 1)).unwrap();
    assert_eq!(unknown, Standing::Unknown);
    drop(anchors);
    let path = file(&dir);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(dir.path().join("target"), &path).unwrap();
    let anchors = Anchors::open(dir.path(), &[1; 16]).unwrap();
    assert!(anchors.compare(&ACCOUNT, &at(1, 1, 1)).is_err());
    assert!(anchors.expect(&ACCOUNT, &at(1, 1, 1)).is_err());
    // A change is in the vault already: it does not fail for that.
    anchors.advance(&ACCOUNT, &at(1, 1, 1));
    assert!(!dir.path().join("target").exists());
    std::fs::remove_file(&path).unwrap();
    anchors.advance(&ACCOUNT, &at(1, 1, 1));
    let current = anchors.compare(&ACCOUNT, &at(1, 1, 1)).unwrap();
    assert_eq!(current, Standing::Current, "control");
    // Nor is a file a directory.
    let taken = tempfile::tempdir().unwrap();
    std::fs::write(taken.path().join(DIRECTORY), b"").unwrap();
    assert!(Anchors::open(taken.path(), &[1; 16]).is_err());
}

#[test]
fn who_was_let_go_is_not_missed_until_a_change_says_that_it_stayed() {
    let (anchors, dir) = anchors();
    let all = |anchors: &Anchors| {
        let mut seen = anchors.seen_of(&|_| Ok(true)).unwrap();
        seen.sort();
        seen
    };
    let none: [Id; 0] = [];
    assert_eq!(all(&anchors), none);
    anchors.let_go(&ACCOUNT).unwrap();
    assert_eq!(all(&anchors), none, "never seen, nothing made");
    anchors.advance(&ACCOUNT, &at(1, 1, 1));
    anchors.advance(&[3; 16], &at(1, 4, 1));
    assert_eq!(all(&anchors), [ACCOUNT, [3; 16]]);
    assert_eq!(
        anchors.seen_of(&|id| Ok(*id != ACCOUNT)).unwrap(),
        [[3; 16]]
    );
    for _ in 0..2 {
        anchors.let_go(&ACCOUNT).unwrap();
        assert_eq!(all(&anchors), [[3; 16]]);
    }
    // Another vault's, and what is no anchor, are none of ours.
    let other = Anchors::open(dir.path(), &[4; 16]).unwrap();
    assert_eq!(all(&other), none);
    std::fs::write(dir.path().join(DIRECTORY).join("else"), b"x").unwrap();
    drop(anchors);
    let anchors = Anchors::open(dir.path(), &[1; 16]).unwrap();
    assert_eq!(all(&anchors), [[3; 16]], "after a restart");
    // The removal did not come to its end: the account opens, and its next change takes it back.
    let standing = anchors.compare(&ACCOUNT, &at(1, 1, 1)).unwrap();
    assert_eq!(standing, Standing::Current);
    anchors.advance(&ACCOUNT, &at(1, 2, 2));
    assert_eq!(all(&anchors), [ACCOUNT, [3; 16]]);
    // One that cannot be read was seen, and can be let go.
    let name = [[1; 16], ACCOUNT].map(|id| data_encoding::HEXLOWER.encode(&id));
    let path = dir.path().join(DIRECTORY).join(name.join("-"));
    std::fs::write(&path, [7; 1024]).unwrap();
    assert_eq!(all(&anchors), [ACCOUNT, [3; 16]]);
    anchors.let_go(&ACCOUNT).unwrap();
    assert_eq!(all(&anchors), [[3; 16]]);
}
