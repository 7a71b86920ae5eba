//! `akm.toml`: which keys a project needs, committed beside its code.
//!
//! ```toml
//! [keys]
//! OPENAI_API_KEY = "akm://openai/work"
//!
//! [profile.staging.keys]              # --profile staging: these instead of, and besides, the ones above
//! OPENAI_API_KEY = "akm://openai/staging"
//! ```
//!
//! It is looked for in the working directory and upwards; the search ends at the home directory, and where another
//! file system begins. The nearest one counts alone.
//!
//! Invariants: no secret is accepted in it, in no profile: a value is a reference or the file is refused; it is
//! believed only if it is a plain file of this user that others cannot write, because it decides which keys a
//! program gets; errors name the line, never its content; an unknown entry is an error.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use akm_core::name::check_env;
use akm_core::{Error, Kind};
use nix::libc::{ELOOP, O_NOFOLLOW, O_NONBLOCK};
use serde::Deserialize;
use toml::Spanned;

use super::super::output::Result;
use super::super::reference;
use super::wanted::{Source, Wanted};

/// The file's name.
pub(crate) const FILE: &str = "akm.toml";
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

type Keys = BTreeMap<String, Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    keys: Keys,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    #[serde(default)]
    keys: Keys,
}

/// What the project around the working directory needs; `None` if there is no `akm.toml`.
///
/// Errors: `invalid_input` for its content, `denied` if others could have written it, `not_found` for a profile
/// that it does not have, `io`.
pub(crate) fn load(profile: Option<&str>) -> Result<Option<Vec<Wanted>>> {
    let here = std::env::current_dir().map_err(|error| Error::from_io(&error))?;
    let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
    match find(&here, home.as_deref())? {
        Some((path, file)) => Ok(Some(parse(&read(file, &path)?, profile)?)),
        None if profile.is_some() => Err(none().into()),
        None => Ok(None),
    }
}

/// There is no `akm.toml`.
pub(crate) fn none() -> Error {
    Error::new(
        Kind::NotFound,
        "there is no akm.toml here or in a directory above",
    )
    .with_hint("write [keys] and OPENAI_API_KEY = \"akm://openai\" into akm.toml")
}

fn find(here: &Path, home: Option<&Path>) -> Result<Option<(PathBuf, File)>, Error> {
    let io = |error: std::io::Error| Error::from_io(&error);
    let device = std::fs::metadata(here).map_err(io)?.dev();
    for dir in here.ancestors() {
        if std::fs::metadata(dir).map_err(io)?.dev() != device {
            break;
        }
        let path = dir.join(FILE);
        let opened = OpenOptions::new()
            .read(true)
            // A link could lead to a file that was meant for something else, and a pipe would be waited for.
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(&path);
        match opened {
            Ok(file) => return Ok(Some((path, file))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(ELOOP) => return Err(link(&path)),
            Err(error) => return Err(io(error)),
        }
        if home == Some(dir) {
            break;
        }
    }
    Ok(None)
}

fn read(file: File, path: &Path) -> Result<String, Error> {
    let meta = file.metadata().map_err(|error| Error::from_io(&error))?;
    let own = meta.uid() == nix::unistd::geteuid().as_raw();
    let by_group = meta.mode() & 0o020 != 0 && !is_of_the_user_alone(meta.gid());
    if !meta.is_file() || !own || by_group || meta.mode() & 0o002 != 0 {
        return Err(refused(path));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidData => Error::new(Kind::InvalidInput, "akm.toml is not UTF-8"),
            _ => Error::from_io(&error),
        })?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::new(Kind::InvalidInput, "akm.toml is too large"));
    }
    Ok(text)
}

/// Whether a group is the private one that many systems give each user, whose files a checkout makes writable to it.
fn is_of_the_user_alone(gid: u32) -> bool {
    let uid = nix::unistd::geteuid();
    let gid = nix::unistd::Gid::from_raw(gid);
    let (Ok(Some(user)), Ok(Some(group))) = (
        nix::unistd::User::from_uid(uid),
        nix::unistd::Group::from_gid(gid),
    ) else {
        return false;
    };
    let only_user = group.mem.iter().all(|member| *member == user.name);
    user.gid == gid && group.name == user.name && only_user
}

fn link(path: &Path) -> Error {
    Error::new(Kind::Denied, "akm.toml is a symbolic link")
        .with_hint(format!("put the file itself at {}", path.display()))
}

fn refused(path: &Path) -> Error {
    Error::new(Kind::Denied, "akm.toml is not a file of this user alone").with_hint(format!(
        "look at who owns {} and who may write it: chmod go-w",
        path.display()
    ))
}

fn parse(text: &str, profile: Option<&str>) -> Result<Vec<Wanted>, Error> {
    let at = |start: usize| {
        let line = text.bytes().take(start).filter(|b| *b == b'\n').count() + 1;
        format!("look at line {line} of akm.toml")
    };
    let mut parsed: Text = toml::from_str(text).map_err(|error: toml::de::Error| {
        // The error's own text quotes the line.
        let start = error.span().map_or(0, |span| span.start);
        Error::new(
            Kind::InvalidInput,
            "akm.toml has [keys] and [profile.NAME.keys], each with VARIABLE = \"akm://NAME\"",
        )
        .with_hint(at(start))
    })?;
    let sections = [&parsed.keys].into_iter();
    for keys in sections.chain(parsed.profile.values().map(|profile| &profile.keys)) {
        for (variable, value) in keys {
            let start = value.span().start;
            check_env(variable, "keys").map_err(|error| error.with_hint(at(start)))?;
            reference::parse(value.get_ref(), "keys").map_err(|_| {
                Error::invalid(
                    "keys",
                    "a value in akm.toml is not an akm:// reference; the file is no place for a secret",
                )
                .with_hint(at(start))
            })?;
        }
    }
    if let Some(name) = profile {
        let Some(profile) = parsed.profile.remove(name) else {
            return Err(Error::new(Kind::NotFound, "akm.toml has no such profile")
                .with_field("profile")
                .with_hint("write [profile.NAME.keys] into it, or check the spelling"));
        };
        parsed.keys.extend(profile.keys);
    }
    parsed
        .keys
        .into_iter()
        .map(|(variable, value)| {
            let name = reference::parse(value.get_ref(), "keys")?.to_string();
            Ok(Wanted {
                variable,
                source: Source::Key(name),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const TEXT: &str = "[keys]\nA = \"akm://openai/work\"\nB = \"akm://tavily\"\n\
                        [profile.staging.keys]\nA = \"akm://openai/staging\"\nC = \"akm://gemini\"\n";

    fn pairs(profile: Option<&str>) -> Vec<(String, String)> {
        let name = |source| match source {
            Source::Key(name) => name,
            Source::Plain(_) => panic!("a plain value"),
        };
        let all = parse(TEXT, profile).unwrap();
        all.into_iter()
            .map(|one| (one.variable, name(one.source)))
            .collect()
    }

    #[test]
    fn a_profile_lies_over_the_keys() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let (a, b) = (pair("A", "openai/work"), pair("B", "tavily/default"));
        assert_eq!(pairs(None), [a, b.clone()]);
        let (a, c) = (pair("A", "openai/staging"), pair("C", "google/default"));
        assert_eq!(pairs(Some("staging")), [a, b, c]);
        let error = parse(TEXT, Some("canary")).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(!format!("{error:?}").contains("canary"));
    }

    #[test]
    fn a_secret_in_it_is_refused_and_not_repeated() {
        for bad in [
            "[keys]\n\nA = \"sk-canary\"\n",
            "[keys]\n\nA = \"akm://canary/x/y\"\n",
            "[profile.x.keys]\n\nA = \"sk-canary\"\n",
            "[keys]\n\n9A = \"akm://openai\"\n",
            "[keys]\n\nA = 1\n",
            "[keys]\n\nA = canary\n",
            "[keys]\n\nA = [\"canary\"]\n",
            "[keys]\n\n[canary]\n",
            "[profile.x]\n\ncanary = \"akm://openai\"\n",
        ] {
            let error = parse(bad, None).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput, "{bad}");
            assert_eq!(error.hint(), Some("look at line 3 of akm.toml"), "{bad}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn the_nearest_counts_and_home_is_the_last_place() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let deep = root.join("home/project/src");
        std::fs::create_dir_all(&deep).unwrap();
        let found = |home: Option<&Path>| find(&deep, home).unwrap().map(|(path, _)| path);
        assert_eq!(
            found(None),
            None,
            "the control: nothing above a test's directory"
        );
        std::fs::write(root.join(FILE), TEXT).unwrap();
        assert_eq!(found(None), Some(root.join(FILE)));
        assert_eq!(found(Some(&root.join("home"))), None);
        std::fs::write(root.join("home").join(FILE), TEXT).unwrap();
        assert_eq!(
            found(Some(&root.join("home"))),
            Some(root.join("home").join(FILE))
        );
        std::fs::write(root.join("home/project").join(FILE), TEXT).unwrap();
        assert_eq!(found(None), Some(root.join("home/project").join(FILE)));
    }

    #[test]
    fn a_file_that_others_may_write_and_a_link_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let path = root.join(FILE);
        std::fs::write(&path, TEXT).unwrap();
        let load = || {
            let (path, file) = find(&root, None)?.expect("a file");
            read(file, &path)
        };
        let own_group = nix::unistd::getegid().as_raw();
        let by_group = is_of_the_user_alone(own_group);
        let modes = [
            (0o644, true),
            (0o664, by_group),
            (0o646, false),
            (0o600, true),
        ];
        for (mode, fine) in modes {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            match load() {
                Ok(text) => assert!(fine && text == TEXT, "{mode:o}"),
                Err(error) => assert!(!fine && error.kind() == Kind::Denied, "{mode:o}"),
            }
        }
        // Only root gives a file to another group.
        let other = Some(nix::unistd::Gid::from_raw(own_group + 4242));
        if nix::unistd::chown(&path, None, other).is_ok() {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
            assert_eq!(load().unwrap_err().kind(), Kind::Denied);
        }
        assert!(!is_of_the_user_alone(own_group + 4242));
        std::fs::rename(&path, root.join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert_eq!(load().unwrap_err().kind(), Kind::Denied);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            load().unwrap_err().kind(),
            Kind::Denied,
            "and is not waited for"
        );
    }
}
