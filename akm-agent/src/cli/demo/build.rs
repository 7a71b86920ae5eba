//! What the demo builds before it begins, in a checkout: the C library, the Rust example, koffi for Node.
//!
//! Outside a checkout, or without a tool, nothing is built and what needs it is skipped with the reason.
//! A build that fails is a failure, not a skip.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::super::text::text;
use super::stage::{BUILD_PATIENCE, Broken, Stage};

/// What is there to run, or why not.
pub(super) type Found<T> = Result<T, String>;

/// The source tree that this program was built from.
pub(super) struct Checkout {
    root: PathBuf,
    /// Where its builds go, and the profile, if this program lies in one.
    target: Option<(PathBuf, bool)>,
}

impl Checkout {
    /// Looks above this program, then where `cargo run` says that it runs.
    pub(super) fn find() -> Found<Checkout> {
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        let profile = exe.parent();
        let target = profile.and_then(|dir| {
            let release = match dir.file_name()?.to_str()? {
                "debug" => false,
                "release" => true,
                _ => return None,
            };
            Some((dir.parent()?.to_owned(), release))
        });
        let by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        exe.ancestors()
            .skip(1)
            .chain(by_cargo.iter().flat_map(|dir| dir.ancestors().take(2)))
            .find(|dir| is_root(dir))
            .map(|root| Checkout {
                root: root.to_owned(),
                target,
            })
            .ok_or_else(|| text!("demo-no-checkout"))
    }

    /// A file of the checkout.
    pub(super) fn file(&self, path: &str) -> Found<PathBuf> {
        let file = self.root.join(path);
        match file.is_file() {
            true => Ok(file),
            false => Err(text!("demo-no-file", path = path)),
        }
    }

    /// A directory of the checkout.
    pub(super) fn dir(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The arguments of cargo that put a build beside this program.
    fn cargo(&self, cargo: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo);
        command
            .current_dir(&self.root)
            .args([
                "build",
                "--quiet",
                "--message-format=json-render-diagnostics",
            ])
            .args(arguments);
        if let Some((target, release)) = &self.target {
            command.arg("--target-dir").arg(target);
            if *release {
                command.arg("--release");
            }
        }
        command
    }

    /// Builds a package and gives the path of what its target became.
    pub(super) fn build(
        &self,
        stage: &Stage,
        cargo: &Path,
        arguments: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<PathBuf, Broken> {
        let mut command = self.cargo(cargo, arguments);
        let ran = stage.run_within(&mut command, "", BUILD_PATIENCE)?;
        if ran.code != 0 {
            return Err(Broken::Failed(format!(
                "{}\n{}",
                text!(
                    "demo-build-failed",
                    what = format!("cargo build {}", arguments.join(" "))
                ),
                ran.stderr.trim_end()
            )));
        }
        ran.stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
            .flat_map(|artifact| artifact.filenames)
            .rfind(|file| wanted(file))
            .map(PathBuf::from)
            .ok_or_else(|| Broken::Failed(text!("demo-built-else")))
    }

    /// Installs what the Node package needs, if it is not there.
    pub(super) fn npm(&self, stage: &Stage, npm: &Path) -> Result<String, Broken> {
        let package = self.root.join("bindings/node");
        if package.join("node_modules/koffi/package.json").is_file() {
            return Ok(text!("demo-koffi-there"));
        }
        let mut command = Command::new(npm);
        command
            .current_dir(package)
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
        let ran = stage.run_within(&mut command, "", BUILD_PATIENCE)?;
        match ran.code {
            0 => Ok(text!("demo-koffi-installed")),
            _ => Err(Broken::Failed(format!(
                "{}\n{}",
                text!("demo-build-failed", what = "npm ci"),
                ran.stderr.trim_end()
            ))),
        }
    }
}

/// A line of cargo about something it built; every other line has no file names.
#[derive(Deserialize)]
struct Artifact {
    filenames: Vec<String>,
}

fn is_root(dir: &Path) -> bool {
    ["Cargo.lock", "akm-ffi/Cargo.toml", "akm-agent/Cargo.toml"]
        .iter()
        .all(|file| dir.join(file).is_file())
}

/// A program by its name in `PATH`.
pub(super) fn tool(name: &str) -> Found<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| text!("demo-no-tool", name = name))
}

/// The cargo that runs this program, or the one of `PATH`.
pub(super) fn cargo() -> Found<PathBuf> {
    match std::env::var_os("CARGO") {
        Some(cargo) if Path::new(&cargo).is_file() => Ok(cargo.into()),
        _ => tool("cargo"),
    }
}
