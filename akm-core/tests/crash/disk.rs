//! What a machine may find after its power went: a disk made of what was flushed and some of what was not.
//!
//! The model is harder than most disks. Of what was written and not flushed, each 512-byte sector is there or not,
//! on its own and in any order, and so is every change of a length. Names follow their journal: some of the
//! changes since the directory was flushed are there, the earlier ones first. What one flush covers is its own file,
//! never another.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::trace::Event;

const SECTOR: u64 = 512;

/// A small generator, so that a point can be made again from its number.
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }
}

type FileId = usize;

/// What happened to a file since it was flushed last.
#[derive(Clone)]
enum Change {
    Write { at: u64, data: Vec<u8> },
    Length(u64),
}

#[derive(Clone, Default)]
struct Content {
    flushed: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Clone)]
enum Naming {
    Put(PathBuf, FileId),
    Take(PathBuf),
    Move(PathBuf, PathBuf),
}

/// The disk and the memory before it.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    files: Vec<Content>,
    /// Names as programs see them.
    seen: HashMap<PathBuf, FileId>,
    /// Names on the disk.
    names: BTreeMap<PathBuf, FileId>,
    /// Changes of names since, by directory.
    since: BTreeMap<PathBuf, Vec<Naming>>,
}

/// What became of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The process was killed: the system writes everything.
    Kill,
    /// The power went: any part of it is there.
    Power(u64),
}

impl Disk {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Ack(_) => {}
            Event::Create(path) => {
                let id = self.files.len();
                self.files.push(Content::default());
                self.seen.insert(path.clone(), id);
                self.name(path, Naming::Put(path.clone(), id));
            }
            Event::Write { path, at, data } => {
                let change = Change::Write {
                    at: *at,
                    data: data.clone(),
                };
                self.file(path).since.push(change);
            }
            Event::Truncate { path, length } => {
                self.file(path).since.push(Change::Length(*length));
            }
            Event::Sync(path) => {
                let file = self.file(path);
                file.flushed = file.all();
                file.since.clear();
            }
            Event::SyncDir(directory) => {
                for naming in self.since.remove(directory).unwrap_or_default() {
                    put(&mut self.names, &naming);
                }
            }
            Event::Rename { from, to } => {
                let id = self.seen.remove(from).expect("it has this name");
                self.seen.insert(to.clone(), id);
                self.name(to, Naming::Move(from.clone(), to.clone()));
            }
            Event::Link { from, to } => {
                let id = self.seen[from];
                self.seen.insert(to.clone(), id);
                self.name(to, Naming::Put(to.clone(), id));
            }
            Event::Unlink(path) => {
                self.seen.remove(path);
                self.name(path, Naming::Take(path.clone()));
            }
        }
    }

    fn name(&mut self, path: &Path, naming: Naming) {
        let directory = path.parent().unwrap().to_owned();
        self.since.entry(directory).or_default().push(naming);
    }

    fn file(&mut self, path: &Path) -> &mut Content {
        let id = *self
            .seen
            .get(path)
            .unwrap_or_else(|| panic!("{} is not there", path.display()));
        &mut self.files[id]
    }

    /// The files after a cut.
    pub(crate) fn cut(&self, cut: Cut) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut chance = match cut {
            Cut::Kill => None,
            Cut::Power(seed) => Some(Chance::new(seed)),
        };
        let mut names = self.names.clone();
        for namings in self.since.values() {
            let kept = match &mut chance {
                None => namings.len(),
                Some(chance) => chance.below(namings.len() + 1),
            };
            for naming in &namings[..kept] {
                put(&mut names, naming);
            }
        }
        names
            .into_iter()
            .map(|(path, id)| {
                let content = &self.files[id];
                let bytes = match &mut chance {
                    None => content.all(),
                    Some(chance) => content.some(chance),
                };
                (path, bytes)
            })
            .collect()
    }

    /// Puts the files after a cut into a home.
    pub(crate) fn lay_out(&self, cut: Cut, home: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        for (path, bytes) in self.cut(cut) {
            let path = home.join(path);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn put(names: &mut BTreeMap<PathBuf, FileId>, naming: &Naming) {
    match naming {
        Naming::Put(path, id) => {
            names.insert(path.clone(), *id);
        }
        Naming::Take(path) => {
            names.remove(path);
        }
        Naming::Move(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

impl Content {
    fn all(&self) -> Vec<u8> {
        let mut bytes = self.flushed.clone();
        for change in &self.since {
            match change {
                Change::Write { at, data } => write(&mut bytes, *at, data),
                Change::Length(length) => bytes.resize(*length as usize, 0),
            }
        }
        bytes
    }

    /// Some cuts keep nearly everything, some nearly nothing, most are in between: what breaks a format is one
    /// sector missing among many, or one there among none.
    fn some(&self, chance: &mut Chance) -> Vec<u8> {
        let (keep, of) = [(1, 2), (31, 32), (1, 32), (3, 4), (1, 1), (0, 1)][chance.below(6)];
        let mut kept = || (chance.next() >> 20) % of < keep;
        let mut bytes = self.flushed.clone();
        for change in &self.since {
            match change {
                Change::Write { at, data } => {
                    let mut start = 0;
                    while start < data.len() {
                        let here = at + start as u64;
                        let room = (SECTOR - here % SECTOR) as usize;
                        let end = data.len().min(start + room);
                        if kept() {
                            write(&mut bytes, here, &data[start..end]);
                        }
                        start = end;
                    }
                }
                Change::Length(length) if kept() => bytes.resize(*length as usize, 0),
                Change::Length(_) => {}
            }
        }
        bytes
    }
}

fn write(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let at = at as usize;
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..][..data.len()].copy_from_slice(data);
}

#[test]
fn what_was_flushed_stays_and_of_the_rest_any_part_may() {
    let path = || PathBuf::from("f");
    let mut disk = Disk::default();
    let writes = |at, byte| Event::Write {
        path: path(),
        at,
        data: vec![byte; 1024],
    };
    disk.apply(&Event::Create(path()));
    disk.apply(&writes(0, 1));
    disk.apply(&Event::Sync(path()));
    let names: Vec<bool> = (0..64)
        .map(|seed| disk.cut(Cut::Power(seed)).contains_key(&path()))
        .collect();
    assert!(
        names.contains(&true) && names.contains(&false),
        "its name was not flushed"
    );
    disk.apply(&Event::SyncDir(PathBuf::new()));
    disk.apply(&writes(512, 2));
    let mut found = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let bytes = disk.cut(Cut::Power(seed)).remove(&path()).unwrap();
        assert_eq!(bytes[..512], [1; 512], "flushed and not written since");
        let tail: Vec<u8> = bytes[512..].chunks(512).map(|sector| sector[0]).collect();
        found.insert(tail);
    }
    let all = [vec![1], vec![2], vec![1, 2], vec![2, 2]];
    assert_eq!(found, all.into_iter().collect());
    assert_eq!(disk.cut(Cut::Kill)[&path()].len(), 1536);
}
