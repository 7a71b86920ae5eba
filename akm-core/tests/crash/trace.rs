//! From what `strace` wrote to what happened to the files of a home, in order.
//!
//! Whatever it does not understand ends the test: a call that is passed over would make the disk forget less than
//! a real one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that change files or flush them.
const CALLS: &str = "openat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,lseek,fsync,fdatasync,\
    sync_file_range,fallocate,copy_file_range,sendfile,rename,renameat,renameat2,unlink,unlinkat,link,linkat,\
    mkdir,mkdirat,dup,dup2,dup3,msync";

/// Something that happened, to files named relative to the home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A name for a new, empty file.
    Create(PathBuf),
    Write {
        path: PathBuf,
        at: u64,
        data: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: u64,
    },
    /// Content and length are on the disk.
    Sync(PathBuf),
    /// Names in a directory are on the disk.
    SyncDir(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink(PathBuf),
    /// A step was acknowledged.
    Ack(usize),
}

/// Runs a script under `strace` and returns what it did; the script must run to its end.
pub(crate) fn record(script: &str, home: &Path, variables: &[(&str, &str)]) -> Vec<Event> {
    let log = home.with_extension("trace");
    let filter = format!("trace={CALLS}");
    let wrap = [
        "strace",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-xx",
        "-s",
        "4194304",
        "-o",
        log.to_str().unwrap(),
        "-e",
        &filter,
    ];
    let mut command: Command = crate::child::command(&wrap, script, home);
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    parse(&text, home)
}

/// An open file.
#[derive(Clone)]
struct Open {
    /// None for what is not in the home.
    path: Option<PathBuf>,
    directory: bool,
    append: bool,
    offset: u64,
}

struct Reader<'a> {
    home: &'a Path,
    open: HashMap<i64, Open>,
    /// Lengths by path, for appending.
    lengths: HashMap<PathBuf, u64>,
    events: Vec<Event>,
}

pub(crate) fn parse(text: &str, home: &Path) -> Vec<Event> {
    let mut reader = Reader {
        home,
        open: HashMap::new(),
        lengths: HashMap::new(),
        events: Vec::new(),
    };
    // A call that another thread's came between stands in two lines.
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if call.starts_with("+++") || call.starts_with("---") {
            continue;
        }
        if let Some(begin) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begin.to_owned());
            continue;
        }
        if call.starts_with("<... ") {
            let rest = call.split_once("resumed>").unwrap().1;
            let whole = unfinished.remove(pid).unwrap() + rest;
            reader.call(&whole);
        } else {
            reader.call(call);
        }
    }
    reader.events
}

impl Reader<'_> {
    fn call(&mut self, line: &str) {
        let (name, rest) = line.split_once('(').unwrap();
        let (arguments, result) = rest.rsplit_once(" = ").unwrap();
        let arguments = arguments.trim_end().strip_suffix(')').unwrap();
        let result: i64 = match result.split(' ').next().unwrap().parse() {
            Ok(result) if result >= 0 => result,
            // It failed, so nothing happened; or the process ended in it.
            _ => return,
        };
        let arguments = split(arguments);
        let number = |index: usize| arguments[index].parse::<i64>().unwrap();
        let length = |index: usize| arguments[index].parse::<u64>().unwrap();
        let path = |index: usize| self.inside(&bytes(&arguments[index]));
        match name {
            "openat" => {
                let flags = arguments[2].clone();
                let path = path(1);
                self.opened(result, path, &flags);
            }
            "close" => {
                self.open.remove(&number(0));
            }
            "dup" => {
                if let Some(open) = self.open.get(&number(0)).cloned() {
                    assert!(open.path.is_none(), "a file of the home is duplicated");
                    self.open.insert(result, open);
                }
            }
            "lseek" => {
                if let Some(open) = self.open.get_mut(&number(0)) {
                    open.offset = result as u64;
                }
            }
            "write" => {
                let data = bytes(&arguments[1]);
                self.written(number(0), None, &data[..result as usize]);
            }
            "pwrite64" => {
                let data = bytes(&arguments[1]);
                self.written(number(0), Some(length(3)), &data[..result as usize]);
            }
            "ftruncate" => {
                if let Some(path) = self.file(number(0)) {
                    let length = length(1);
                    self.lengths.insert(path.clone(), length);
                    self.events.push(Event::Truncate { path, length });
                }
            }
            "fsync" | "fdatasync" => {
                let Some(open) = self.open.get(&number(0)) else {
                    return;
                };
                if let Some(path) = open.path.clone() {
                    self.events.push(match open.directory {
                        true => Event::SyncDir(path),
                        false => Event::Sync(path),
                    });
                }
            }
            "rename" => self.renamed(path(0), path(1)),
            "renameat" | "renameat2" => self.renamed(path(1), path(3)),
            "link" => self.linked(path(0), path(1)),
            "linkat" => self.linked(path(1), path(3)),
            "unlink" => self.unlinked(path(0)),
            "unlinkat" => self.unlinked(path(1)),
            "mkdir" => assert!(path(0).is_none(), "directories are there before"),
            "mkdirat" => assert!(path(1).is_none(), "directories are there before"),
            _ => {
                let touches = self.file(number(0)).is_some();
                assert!(!touches, "{name} is not understood");
            }
        }
    }

    fn inside(&self, path: &[u8]) -> Option<PathBuf> {
        let path = Path::new(std::str::from_utf8(path).unwrap());
        path.strip_prefix(self.home).ok().map(Path::to_owned)
    }

    fn file(&self, descriptor: i64) -> Option<PathBuf> {
        self.open.get(&descriptor)?.path.clone()
    }

    fn opened(&mut self, descriptor: i64, path: Option<PathBuf>, flags: &str) {
        if let Some(path) = &path
            && !flags.contains("O_DIRECTORY")
            && !self.home.join(path).is_dir()
        {
            let known = self.lengths.contains_key(path);
            if !known && flags.contains("O_CREAT") {
                self.lengths.insert(path.clone(), 0);
                self.events.push(Event::Create(path.clone()));
            }
            if known && flags.contains("O_TRUNC") {
                self.lengths.insert(path.clone(), 0);
                self.events.push(Event::Truncate {
                    path: path.clone(),
                    length: 0,
                });
            }
        }
        let directory = path
            .as_ref()
            .is_some_and(|path| self.home.join(path).is_dir());
        self.open.insert(
            descriptor,
            Open {
                path,
                directory,
                append: flags.contains("O_APPEND"),
                offset: 0,
            },
        );
    }

    fn written(&mut self, descriptor: i64, at: Option<u64>, data: &[u8]) {
        let Some(open) = self.open.get_mut(&descriptor) else {
            return;
        };
        let Some(path) = open.path.clone() else {
            return;
        };
        if path == Path::new(crate::child::ACKS) {
            let line = std::str::from_utf8(data).unwrap();
            let step = line.strip_prefix("ok ").expect("every step succeeds");
            self.events.push(Event::Ack(step.trim().parse().unwrap()));
            return;
        }
        // Mapped memory: what is written to it by calls is only its length.
        if path.to_str().unwrap().ends_with("-shm") {
            return;
        }
        let length = self.lengths.entry(path.clone()).or_default();
        let moves = at.is_none();
        let at = match at {
            Some(at) => at,
            None if open.append => *length,
            None => open.offset,
        };
        let end = at + data.len() as u64;
        if moves {
            open.offset = end;
        }
        *length = (*length).max(end);
        self.events.push(Event::Write {
            path,
            at,
            data: data.to_vec(),
        });
    }

    fn renamed(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) {
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        for open in self.open.values_mut() {
            if open.path.as_ref() == Some(&from) {
                open.path = Some(to.clone());
            }
        }
        if let Some(length) = self.lengths.remove(&from) {
            self.lengths.insert(to.clone(), length);
        }
        self.events.push(Event::Rename { from, to });
    }

    fn linked(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) {
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        let length = self.lengths[&from];
        self.lengths.insert(to.clone(), length);
        self.events.push(Event::Link { from, to });
    }

    fn unlinked(&mut self, path: Option<PathBuf>) {
        let Some(path) = path else { return };
        self.lengths.remove(&path);
        for open in self.open.values_mut() {
            if open.path.as_ref() == Some(&path) {
                open.path = None;
            }
        }
        self.events.push(Event::Unlink(path));
    }
}

/// Arguments; a comma within quotes or brackets is no end. Strings hold no quote: they are in hexadecimal.
fn split(arguments: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut depth) = (false, 0);
    for c in arguments.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// `"\x61\x62"`.
fn bytes(text: &str) -> Vec<u8> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or_else(|| panic!("a string is cut off: {}", &text[..text.len().min(80)]));
    inner
        .as_bytes()
        .chunks_exact(4)
        .map(|four| {
            let hex = std::str::from_utf8(&four[2..]).unwrap();
            u8::from_str_radix(hex, 16).unwrap()
        })
        .collect()
}

#[test]
fn what_strace_writes_is_understood() {
    let hex = |text: &str| {
        let hex: String = text.bytes().map(|b| format!("\\x{b:02x}")).collect();
        format!("\"{hex}\"")
    };
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| hex(home.path().join(name).to_str().unwrap());
    let text = format!(
        "7  openat(AT_FDCWD, {a}, O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3\n\
         7  pwrite64(3, {data}, 3, 1024) = 3\n\
         8  write(1, {data}, 3) = 3\n\
         7  write(3, {data}, 3 <unfinished ...>\n\
         8  close(1) = 0\n\
         7  <... write resumed>) = 2\n\
         7  fdatasync(3) = 0\n\
         7  fsync(3) = -1 EIO (Input/output error)\n\
         7  openat(AT_FDCWD, {dir}, O_RDONLY|O_CLOEXEC) = 4\n\
         7  rename({a}, {b}) = 0\n\
         7  fsync(4) = 0\n\
         7  ftruncate(3, 1) = 0\n\
         7  unlink({b}) = 0\n\
         7  write(3, {data}, 3) = 3\n\
         7  openat(AT_FDCWD, {acks}, O_WRONLY|O_APPEND) = 5\n\
         7  write(5, {ack}, 5) = 5\n\
         7  +++ exited with 0 +++\n",
        a = at("a"),
        b = at("b"),
        dir = hex(home.path().to_str().unwrap()),
        data = hex("abc"),
        acks = at("acks"),
        ack = hex("ok 4\n"),
    );
    let (a, b) = (PathBuf::from("a"), PathBuf::from("b"));
    let write = |at, data: &[u8]| Event::Write {
        path: a.clone(),
        at,
        data: data.to_vec(),
    };
    assert_eq!(
        parse(&text, home.path()),
        [
            Event::Create(a.clone()),
            write(1024, b"abc"),
            write(0, b"ab"),
            Event::Sync(a.clone()),
            Event::Rename {
                from: a.clone(),
                to: b.clone()
            },
            Event::SyncDir(PathBuf::new()),
            Event::Truncate {
                path: b.clone(),
                length: 1
            },
            Event::Unlink(b),
            Event::Ack(4),
        ]
    );
}
