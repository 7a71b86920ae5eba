//! Which file a path of another process names.
//!
//! The path is walked by hand, from the root of that process: the kernel would read it as one of ours, and `/proc/self`
//! with all that hangs on it (`/dev/fd`, `/dev/stdin`) is another place for each reader. What leads through procfs, by
//! name or by link, names nothing here. The file has to be the same under its name for this process, too, because
//! a grant was made for that one: in a chroot, or with mounts of its own, a process shows other files under the same name.
//!
//! What it cannot do: tell whether a link led elsewhere when the process followed it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, openat, readlinkat};

use super::proc::{Dir, FileId};

/// Most links on a way, as the kernel follows them.
const MAX_LINKS: usize = 40;
/// Most directories below each other, each of which is kept open meanwhile.
const MAX_DEPTH: usize = 64;

/// The regular file behind an absolute path of a process, with every link resolved.
pub(super) fn file(dir: &Dir, path: &[u8]) -> Option<String> {
    let root = dir.root()?;
    let mut way: Vec<(Vec<u8>, OwnedFd)> = Vec::new();
    let mut rest = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                way.pop();
                continue;
            }
            _ => {}
        }
        let here = way.last().map_or(root.as_fd(), |(_, fd)| fd.as_fd());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(here, part.as_slice(), flags, Mode::empty()).ok()?;
        if fstatfs(&found).ok()?.f_type == PROC_SUPER_MAGIC {
            return None;
        }
        if FileType::from_raw_mode(fstat(&found).ok()?.st_mode) == FileType::Symlink {
            links += 1;
            let target = readlinkat(&found, "", Vec::new()).ok()?.into_bytes();
            if links > MAX_LINKS {
                return None;
            }
            if target.starts_with(b"/") {
                way.clear();
            }
            let mut ahead = parts(&target);
            ahead.append(&mut rest);
            rest = ahead;
            continue;
        }
        way.push((part, found));
        if way.len() > MAX_DEPTH {
            return None;
        }
    }
    let (_, found) = way.last()?;
    let found = fstat(found).ok()?;
    let mut path = String::new();
    for (name, _) in &way {
        path.push('/');
        path.push_str(std::str::from_utf8(name).ok()?);
    }
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let ours = FileId::of(Path::new(&path))?;
    (is_file && ours.is_at(found.st_dev, found.st_ino)).then_some(path)
}

fn parts(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_sees_another_file_under_the_name_names_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        for place in ["good", "evil"] {
            std::fs::create_dir(home.join(place)).unwrap();
            std::fs::write(home.join(place).join("app"), place).unwrap();
        }
        let app = home.join("good/app");
        let app = app.to_str().unwrap();
        let me = Dir::open(std::process::id() as i32).unwrap();
        assert_eq!(file(&me, app.as_bytes()).as_deref(), Some(app));
        let shell = |change: &str| {
            let line = format!("{change} && echo ready && exec sleep 60");
            let mut child = Command::new("unshare")
                .args(["-rm", "sh", "-c", &line])
                .current_dir(&home)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut said = String::new();
            let output = child.stdout.take().unwrap();
            BufReader::new(output).read_line(&mut said).unwrap();
            let pid = child.id() as i32;
            let found = Dir::open(pid).and_then(|dir| file(&dir, app.as_bytes()));
            let here = Dir::open(pid).and_then(|dir| dir.directory());
            child.kill().unwrap();
            child.wait().unwrap();
            (said == "ready\n").then_some((found, here))
        };
        let Some(control) = shell("true") else {
            assert!(std::env::var_os("CI").is_none(), "CI can make namespaces");
            eprintln!("skipped: no namespaces here");
            return;
        };
        let own = home.to_str().map(str::to_owned);
        assert_eq!(control, (Some(app.to_owned()), own));
        let (found, _) = shell("mount --bind evil good").unwrap();
        assert_eq!(found, None);
        // Nor does it work where its directory seems to be.
        let (_, here) = shell("mount --bind evil good && cd good").unwrap();
        assert_eq!(here, None);
    }
}
