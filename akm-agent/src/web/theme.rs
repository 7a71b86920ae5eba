//! What an operator replaces from a folder: a style of their own (`theme.css`, after ours), the logo (`logo.svg`), single
//! texts (`texts.en.ftl`, `texts.zh.ftl`).
//!
//! Invariants: a file is believed only if it is the agent's own user's or root's and others cannot write it: a style can
//! cover a page and a logo can lie. Each file is read once, and within bounds. Neither can bring a script: the policy
//! of every answer forbids it. What is not in the folder is ours.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use akm_core::error::{Error, Kind, Result};
use akm_core::regular::{self, Links};

use super::assets;
use super::words::{Language, Texts};

/// Largest file of the folder.
const MAX_FILE: u64 = 256 * 1024;

/// A dashboard as it looks and speaks here.
pub(crate) struct Site {
    style: Option<String>,
    logo: Option<String>,
    texts: Texts,
    version: String,
}

impl Site {
    /// Reads what the folder has; without one, everything is ours.
    ///
    /// Errors: `denied` for a file that others may write, `invalid_input` for one that is too large or not text.
    pub(crate) fn load(folder: Option<&Path>) -> Result<Site> {
        let file = |name: &str| match folder {
            Some(folder) => read(&folder.join(name)),
            None => Ok(None),
        };
        let own = [file("texts.en.ftl")?, file("texts.zh.ftl")?];
        let mut texts = Texts::new();
        for (language, source) in [Language::English, Language::Chinese].into_iter().zip(own) {
            if let Some(source) = source {
                texts.replace(language, source)?;
            }
        }
        let (style, logo) = (file("theme.css")?, file("logo.svg")?);
        let mut hash = DefaultHasher::new();
        (assets::all(), &style, &logo).hash(&mut hash);
        Ok(Site {
            version: format!("{:x}", hash.finish()),
            style,
            logo,
            texts,
        })
    }

    /// The operator's style, if there is one.
    pub(crate) fn style(&self) -> Option<&str> {
        self.style.as_deref()
    }

    /// The operator's logo, if there is one.
    pub(crate) fn logo(&self) -> Option<&str> {
        self.logo.as_deref()
    }

    /// What is said.
    pub(crate) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Stands in the address of every asset, so that a browser asks again when one has changed.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// A file, or nothing where there is none.
fn read(path: &Path) -> Result<Option<String>> {
    let Some(file) = regular::open(path, Links::Follow)? else {
        return Ok(None);
    };
    let meta = file.metadata().map_err(|error| Error::from_io(&error))?;
    let euid = nix::unistd::geteuid().as_raw();
    if !meta.is_file() || (meta.uid() != euid && meta.uid() != 0) || meta.mode() & 0o022 != 0 {
        return Err(Error::new(
            Kind::Denied,
            "a file of the dashboard's folder could have been written by others",
        ));
    }
    let mut text = String::new();
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    if read.is_err() || text.len() as u64 > MAX_FILE {
        return Err(Error::new(
            Kind::InvalidInput,
            "a file of the dashboard's folder is too large or not text",
        ));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_replaces_style_logo_and_single_texts() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Site::load(Some(dir.path())).unwrap();
        assert!(ours.style().is_none() && ours.logo().is_none());
        std::fs::write(dir.path().join("theme.css"), "body{color:red}").unwrap();
        std::fs::write(dir.path().join("texts.zh.ftl"), "brand = 我们的库\n").unwrap();
        let theirs = Site::load(Some(dir.path())).unwrap();
        assert_eq!(theirs.style(), Some("body{color:red}"));
        assert_ne!(theirs.version(), ours.version());
        let say = |site: &Site, language| site.texts().say(language, "brand", &[]);
        assert_eq!(say(&theirs, Language::Chinese), "我们的库");
        assert_eq!(
            say(&theirs, Language::English),
            say(&ours, Language::English)
        );
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("theme.css");
        std::fs::write(&path, "a{}").unwrap();
        assert!(Site::load(Some(dir.path())).is_ok());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let refused = |dir: &Path| Site::load(Some(dir)).err().map(|error| error.kind());
        assert_eq!(refused(dir.path()), Some(Kind::Denied));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, " ".repeat(MAX_FILE as usize + 1)).unwrap();
        assert_eq!(refused(dir.path()), Some(Kind::InvalidInput));
        std::fs::write(&path, "a{}").unwrap();
        std::fs::write(dir.path().join("texts.en.ftl"), "= broken\n").unwrap();
        assert_eq!(refused(dir.path()), Some(Kind::InvalidInput));
    }
}
