//! `config.toml`: what a person decides about the agent.
//!
//! Invariants: an unknown key is an error, because a misspelt limit must not be no limit; errors name
//! the key or the line, never the value (a proxy's address may hold a password); the file is believed
//! only if it is the user's or root's and others cannot write it. A file that is not there is the default.
//!
//! ```toml
//! [agent]
//! lifetime = "8h"              # of a session that does not say; until locked if absent
//! max_lifetime = "12h"         # the longest that a session may ask for; none if absent
//! idle = "30m"                 # lock a session that is not used for so long; never if absent
//! lock_on_suspend = true       # where there is logind; true if absent
//! lock_on_screen_lock = true   # where there is logind; true if absent
//! group = "akm"                # members of this group may connect too: for an agent that runs as a user of its own
//! paths = ["/mnt/nas"]         # what such an agent may write beside its own directories
//! [limits]
//! keys_per_account = 1000      # none if absent
//! [outbound]
//! ca_file = "/etc/ssl/corp.pem"
//! proxy = "http://proxy.corp:3128"
//! timeout_s = 30
//! [tests]
//! daily = true                 # test every key once a day while its account is open; off if absent
//! [web]
//! folder = "/etc/akm/web"      # theme.css, logo.svg, texts.en.ftl, texts.zh.ftl in place of akm's own
//! [hosted]                     # for clients of network listeners
//! registration = "invitation"  # open, invitation or closed; closed if absent
//! totp_required = true         # an account without TOTP may do nothing but set it up
//! idle = "30m"                 # a session ends unused after this
//! absolute = "12h"             # and in any case after this
//! requests_per_minute = 600    # of one address; 0 is no limit
//! sign_ins_per_minute = 20     # of one address, registrations and recoveries among them; 0 is no limit
//! metrics_from = ["10.0.0.5"]  # who may read GET /metrics over the network; nobody if absent
//! [monitoring]                 # when an alert is raised; 0 is never
//! backup_hours = 48            # the newest backup is older
//! error_percent = 5            # of answers that failed because of the server, in this hour and the one before
//! disk_percent = 10            # less of the vault's disk is free
//! certificate_days = 14        # the certificate ends sooner
//! [backup]
//! offsite = ["/usr/local/bin/copy-away", "--to", "vault"]   # run with each new backup's path behind; no shell
//! offsite_timeout_s = 3600
//! [confirm]
//! timeout_s = 45               # of a question whether a key may be handed out; silence is a no
//! [callers]
//! agents = ["my-bot"]          # more programs that run what a model wrote (data/callers.toml has the built-in ones)
//! sandboxes = ["my-jail"]
//! ignore = ["snap"]            # ids of the built-in list that do not count
//! ```

mod hosted;
mod known;
mod monitoring;

use std::io::Read;
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use akm_core::error::{Error, Kind, Result};
use akm_core::provider;
use akm_core::regular::{self, Links};
use toml::{Table, Value};

use crate::caller::Extra;
use crate::lifetime::Lifetime;

pub use hosted::Hosted;
pub(crate) use known::shown;
use known::{in_file, unknown};
pub use monitoring::{Elsewhere, Thresholds};

/// Largest file that is read.
const MAX_CONFIG: u64 = 64 * 1024;
/// Longest `timeout_s`: a client of the agent waits a minute.
const MAX_TIMEOUT_S: u64 = 50;

/// The configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Lifetime of a session that does not ask for one.
    pub lifetime: Option<Lifetime>,
    /// The longest lifetime that a session may ask for.
    pub max_lifetime: Option<Lifetime>,
    /// How long a session may rest.
    pub idle: Option<Lifetime>,
    /// What locks beside time.
    pub lock_on: LockOn,
    /// The group whose members may connect, of an agent that runs as a user of its own.
    pub group: Option<String>,
    /// What such an agent may write beside its own directories.
    pub paths: Vec<PathBuf>,
    /// Most keys per account.
    pub keys_per_account: Option<u64>,
    /// How providers are reached.
    pub outbound: Outbound,
    /// Whether keys are tested once a day by themselves.
    pub daily_tests: bool,
    /// What replaces the dashboard's style, logo and texts.
    pub web_folder: Option<PathBuf>,
    /// What holds for clients of network listeners.
    pub hosted: Hosted,
    /// When somebody should look.
    pub thresholds: Thresholds,
    /// How backups get elsewhere.
    pub elsewhere: Elsewhere,
    /// Programs that callers may come from, beside the built-in list.
    pub callers: Extra,
    /// Seconds that a person may take to confirm.
    pub confirm_timeout_s: Option<u64>,
}

/// Events of the machine that lock every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOn {
    /// It is being suspended.
    pub suspend: bool,
    /// Its user's screen was locked.
    pub screen: bool,
}

impl Default for LockOn {
    fn default() -> Self {
        LockOn {
            suspend: true,
            screen: true,
        }
    }
}

/// How providers are reached; all of it from this file, none of it from the environment.
#[derive(Default, PartialEq, Eq)]
pub struct Outbound {
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Address of an HTTP proxy.
    pub proxy: Option<String>,
    /// Seconds one request may take.
    pub timeout_s: Option<u64>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy.as_ref().map(|_| ".."))
            .field("timeout_s", &self.timeout_s)
            .finish()
    }
}

impl Config {
    /// Reads the file.
    ///
    /// Errors: `invalid_input` for its content, `denied` if others could have written it, `io`.
    pub fn load(path: &Path) -> Result<Config> {
        let Some(file) = regular::open(path, Links::Follow)? else {
            return Ok(Config::default());
        };
        let meta = file.metadata().map_err(|error| Error::from_io(&error))?;
        let euid = nix::unistd::geteuid().as_raw();
        if !meta.is_file() || (meta.uid() != euid && meta.uid() != 0) || meta.mode() & 0o022 != 0 {
            let denied = Error::new(
                Kind::Denied,
                "the configuration could have been written by others",
            );
            return Err(in_file(denied.with_hint("chmod 600"), path));
        }
        if meta.uid() == euid && meta.mode() & 0o077 != 0 {
            // As an editor leaves it. On a file system that is only read it stays, and doctor says so.
            let _ = file.set_permissions(std::fs::Permissions::from_mode(0o600));
        }
        let mut text = String::new();
        file.take(MAX_CONFIG + 1)
            .read_to_string(&mut text)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData => bad("the configuration is not UTF-8"),
                _ => Error::from_io(&error),
            })?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(bad("the configuration is too large"));
        }
        Config::parse(&text).map_err(|error| in_file(error, path))
    }

    /// How providers are reached, as the provider room wants to know it.
    pub fn outbound(&self) -> provider::Outbound {
        let default = provider::Outbound::default();
        provider::Outbound {
            ca_file: self.outbound.ca_file.clone(),
            proxy: self.outbound.proxy.clone(),
            #[cfg(target_os = "linux")]
            alone: Some(crate::sandbox::alone_with_a_provider),
            timeout: self
                .outbound
                .timeout_s
                .map_or(default.timeout, Duration::from_secs),
            ..default
        }
    }

    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Config> {
        let table: Table = toml::from_str(text).map_err(|error: toml::de::Error| {
            // The error's own text quotes the line.
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|b| *b == b'\n').count() + 1;
            bad("the configuration is not valid TOML").with_hint(format!("look at line {line}"))
        })?;
        let mut config = Config::default();
        for (section, value) in table {
            let Value::Table(entries) = value else {
                return Err(unknown("", &section));
            };
            for (key, value) in entries {
                match (section.as_str(), key.as_str()) {
                    ("agent", "lifetime") => {
                        config.lifetime = Some(lifetime(&value, "agent.lifetime")?);
                    }
                    ("agent", "max_lifetime") => {
                        config.max_lifetime = Some(lifetime(&value, "agent.max_lifetime")?);
                    }
                    ("agent", "idle") => {
                        config.idle = Some(lifetime(&value, "agent.idle")?);
                    }
                    ("agent", "lock_on_suspend") => {
                        config.lock_on.suspend = truth(&value, "agent.lock_on_suspend")?;
                    }
                    ("agent", "lock_on_screen_lock") => {
                        config.lock_on.screen = truth(&value, "agent.lock_on_screen_lock")?;
                    }
                    ("agent", "group") => config.group = Some(string(&value, "agent.group")?),
                    ("agent", "paths") => config.paths = paths(&value, "agent.paths")?,
                    ("limits", "keys_per_account") => {
                        config.keys_per_account =
                            Some(number(&value, "limits.keys_per_account", 0..=u64::MAX)?);
                    }
                    ("outbound", "ca_file") => {
                        config.outbound.ca_file = Some(absolute(&value, "outbound.ca_file")?);
                    }
                    ("outbound", "proxy") => {
                        config.outbound.proxy = Some(string(&value, "outbound.proxy")?);
                    }
                    ("outbound", "timeout_s") => {
                        config.outbound.timeout_s =
                            Some(number(&value, "outbound.timeout_s", 1..=MAX_TIMEOUT_S)?);
                    }
                    ("tests", "daily") => {
                        config.daily_tests = truth(&value, "tests.daily")?;
                    }
                    ("web", "folder") => {
                        config.web_folder = Some(absolute(&value, "web.folder")?);
                    }
                    ("hosted", key) if config.hosted.set(key, &value)? => {}
                    ("monitoring", key) if config.thresholds.set(key, &value)? => {}
                    ("backup", key) if config.elsewhere.set(key, &value)? => {}
                    ("confirm", "timeout_s") => {
                        config.confirm_timeout_s =
                            Some(number(&value, "confirm.timeout_s", 1..=MAX_TIMEOUT_S)?);
                    }
                    ("callers", "agents") => {
                        config.callers.agents = names(&value, "callers.agents")?;
                    }
                    ("callers", "sandboxes") => {
                        config.callers.sandboxes = names(&value, "callers.sandboxes")?;
                    }
                    ("callers", "ignore") => {
                        config.callers.ignore = names(&value, "callers.ignore")?;
                    }
                    _ => return Err(unknown(&section, &key)),
                }
            }
        }
        Ok(config)
    }
}

fn lifetime(value: &Value, key: &'static str) -> Result<Lifetime> {
    match value {
        Value::String(text) => Lifetime::parse(text),
        Value::Integer(seconds) => Lifetime::from_secs(u64::try_from(*seconds).unwrap_or(0)),
        _ => Err(wrong_type()),
    }
    .map_err(|error| error.with_field(key))
}

fn paths(value: &Value, key: &'static str) -> Result<Vec<PathBuf>> {
    let Value::Array(entries) = value else {
        return Err(wrong_type().with_field(key));
    };
    let path = |entry: &Value| {
        let path = PathBuf::from(string(entry, key)?);
        if path.is_absolute() {
            return Ok(path);
        }
        Err(bad("a path is not absolute").with_field(key))
    };
    entries.iter().map(path).collect()
}

fn number(value: &Value, key: &'static str, range: RangeInclusive<u64>) -> Result<u64> {
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| wrong_type().with_field(key))
}

fn truth(value: &Value, key: &'static str) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong_type().with_field(key))
}

fn string(value: &Value, key: &'static str) -> Result<String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong_type().with_field(key)),
    }
}

/// Names of programs: few and short.
fn names(value: &Value, key: &'static str) -> Result<Vec<String>> {
    const MOST: usize = 64;
    let list = value.as_array().filter(|list| list.len() <= MOST);
    let list = list.ok_or_else(|| wrong_type().with_field(key))?;
    list.iter()
        .map(|name| string(name, key))
        .collect::<Result<_>>()
}

fn absolute(value: &Value, key: &'static str) -> Result<PathBuf> {
    let path = PathBuf::from(string(value, key)?);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(bad("a path is not absolute").with_field(key)),
    }
}

const fn bad(message: &'static str) -> Error {
    Error::new(Kind::InvalidInput, message)
}

const fn wrong_type() -> Error {
    bad("a value of the configuration has the wrong type or range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn reads_every_key() {
        let config = Config::parse(
            "[agent]\nlifetime = \"8h\"\nmax_lifetime = \"12h\"\nidle = 1800\ngroup = \"akm\"\npaths = [\"/mnt/nas\"]\nlock_on_suspend = false\n\
             lock_on_screen_lock = false\n[limits]\nkeys_per_account = 10\n\
             [outbound]\nca_file = \"/ca.pem\"\nproxy = \"http://p:1\"\ntimeout_s = 5\n[tests]\ndaily = true\n\
             [confirm]\ntimeout_s = 9\n[callers]\nagents = [\"bot\"]\nsandboxes = []\nignore = [\"snap\"]\n[web]\nfolder = \"/web\"\n",
        )
        .unwrap();
        assert_eq!(config.lifetime.unwrap().as_secs(), 28_800);
        assert_eq!(config.max_lifetime.unwrap().as_secs(), 43_200);
        assert_eq!(config.idle.unwrap().as_secs(), 1800);
        let off = LockOn {
            suspend: false,
            screen: false,
        };
        assert_eq!(config.lock_on, off);
        let absent = Config::parse("").unwrap().lock_on;
        assert!(absent.suspend && absent.screen);
        assert_eq!(config.group.as_deref(), Some("akm"));
        assert_eq!(config.paths, [Path::new("/mnt/nas")]);
        assert_eq!(config.keys_per_account, Some(10));
        assert_eq!(
            config.outbound.ca_file.as_deref(),
            Some(Path::new("/ca.pem"))
        );
        assert_eq!(config.outbound.proxy.as_deref(), Some("http://p:1"));
        assert_eq!(config.outbound.timeout_s, Some(5));
        assert!(config.daily_tests);
        assert_eq!(config.confirm_timeout_s, Some(9));
        assert_eq!(config.callers.agents, ["bot"]);
        assert_eq!(config.callers.ignore, ["snap"]);
        assert_eq!(config.web_folder.as_deref(), Some(Path::new("/web")));
        assert_eq!(config.outbound().timeout, Duration::from_secs(5));
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_the_key_and_never_the_value() {
        for (text, field) in [
            ("[agent]\nlifetime = \"canary\"", Some("agent.lifetime")),
            ("[agent]\nlifetime = 0", Some("agent.lifetime")),
            ("[agent]\ngroup = 7", Some("agent.group")),
            ("[agent]\npaths = \"canary\"", Some("agent.paths")),
            ("[agent]\npaths = [\"canary\"]", Some("agent.paths")),
            (
                "[agent]\nmax_lifetime = \"canary\"",
                Some("agent.max_lifetime"),
            ),
            ("[agent]\nidle = 0", Some("agent.idle")),
            (
                "[agent]\nlock_on_suspend = \"canary\"",
                Some("agent.lock_on_suspend"),
            ),
            (
                "[agent]\nlock_on_screen_lock = 1",
                Some("agent.lock_on_screen_lock"),
            ),
            (
                "[limits]\nkeys_per_account = \"canary\"",
                Some("limits.keys_per_account"),
            ),
            (
                "[limits]\nkeys_per_account = -1",
                Some("limits.keys_per_account"),
            ),
            ("[outbound]\nca_file = \"canary\"", Some("outbound.ca_file")),
            ("[outbound]\nproxy = [\"canary\"]", Some("outbound.proxy")),
            ("[outbound]\ntimeout_s = 0", Some("outbound.timeout_s")),
            ("[outbound]\ntimeout_s = 51", Some("outbound.timeout_s")),
            ("[tests]\ndaily = \"canary\"", Some("tests.daily")),
            ("[confirm]\ntimeout_s = 51", Some("confirm.timeout_s")),
            ("[callers]\nagents = \"canary\"", Some("callers.agents")),
            ("[callers]\nignore = [7]", Some("callers.ignore")),
            ("[web]\nfolder = \"canary\"", Some("web.folder")),
            ("[agent]\ncanary-5 = 1", None),
            ("canary-5 = 1", None),
            ("[canary-5]\nx = 1", None),
            (
                "[hosted]\nmetrics_from = [\"canary\"]",
                Some("hosted.metrics_from"),
            ),
            ("[agent]\nlifetime = canary", None),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput, "{text}");
            assert_eq!(error.field(), field, "{text}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        let error = Config::parse("[agent]\n\nlifetime = canary").unwrap_err();
        assert_eq!(error.hint(), Some("look at line 3"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_every_listed_one_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        for (text, named) in [
            ("[hosted]\nregistartion = \"open\"\n", "hosted.registartion"),
            ("[hostd]\nidle = 1\n", "hostd.idle"),
            (
                "registration = \"open\"\n",
                "registration stands in no section",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = Config::load(&path).unwrap_err();
            let hint = error.hint().unwrap();
            assert!(hint.contains(named), "{hint}");
            assert!(hint.contains("hosted.registration"), "{hint}");
            assert!(hint.contains(path.to_str().unwrap()), "{hint}");
        }
        for known in known::KNOWN {
            let (section, key) = known.split_once('.').unwrap();
            let error = Config::parse(&format!("[{section}]\n{key} = 1979-05-27\n")).unwrap_err();
            assert_eq!(error.field(), Some(*known), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_and_none_is_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        assert_eq!(Config::load(&path).unwrap(), Config::default());
        std::fs::write(&path, "[limits]\nkeys_per_account = 3\n").unwrap();
        assert_eq!(Config::load(&path).unwrap().keys_per_account, Some(3));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(Config::load(&path).unwrap_err().kind(), Kind::Denied);
        let large = " ".repeat(MAX_CONFIG as usize + 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, large).unwrap();
        assert_eq!(Config::load(&path).unwrap_err().kind(), Kind::InvalidInput);
    }
}
