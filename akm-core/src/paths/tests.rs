use super::*;
use std::collections::HashMap;
use std::os::unix::fs::symlink;

struct Fixture {
    root: tempfile::TempDir,
    vars: HashMap<&'static str, OsString>,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Fixture {
            root,
            vars: HashMap::new(),
        }
    }

    fn dir(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) -> &mut Self {
        self.vars.insert(name, value.into());
        self
    }

    fn with<T>(&self, act: impl FnOnce(&Environment<'_>) -> T) -> T {
        act(&Environment {
            get: &|name| self.vars.get(name).cloned(),
            euid: nix::unistd::geteuid().as_raw(),
            passwd_home: &|| Some(PathBuf::from("/from/passwd")),
            fallback: PathBuf::from("/tmp/akm-7"),
        })
    }

    fn places(&self) -> Result<Places> {
        self.with(|environment| environment.places())
    }
}

#[test]
fn akm_home_holds_everything() {
    let mut fixture = Fixture::new();
    let home = fixture.dir("home", 0o755);
    let places = fixture.set("AKM_HOME", &home).places().unwrap();
    assert_eq!(
        places,
        Places {
            vault: home.join("vault.db"),
            journal: home.join("audit.journal"),
            config: home.join("config.toml"),
            socket: home.join("agent.sock"),
            state: home.join("state"),
            backups: home.join("backups"),
        }
    );
}

#[test]
fn defaults_follow_home_and_xdg() {
    let mut fixture = Fixture::new();
    let home = fixture.dir("me", 0o755);
    let run = fixture.dir("run", 0o700);
    fixture.set("HOME", &home).set("XDG_RUNTIME_DIR", &run);
    let places = fixture.places().unwrap();
    assert_eq!(places.vault, home.join(".local/share/akm/vault.db"));
    assert_eq!(places.journal, home.join(".local/share/akm/audit.journal"));
    assert_eq!(places.config, home.join(".config/akm/config.toml"));
    assert_eq!(places.state, home.join(".local/state/akm"));
    assert_eq!(places.backups, home.join(".local/state/akm/backups"));
    assert_eq!(places.socket, run.join("akm/agent.sock"));

    let data = home.join("data");
    fixture.set("XDG_DATA_HOME", &data);
    assert_eq!(fixture.places().unwrap().vault, data.join("akm/vault.db"));
}

#[test]
fn common_variables_that_others_may_write_are_passed_over() {
    let mut fixture = Fixture::new();
    let open = fixture.dir("open", 0o777);
    fixture
        .set("HOME", &open)
        .set("XDG_RUNTIME_DIR", &open)
        .set("XDG_DATA_HOME", open.join("x"))
        .set("XDG_STATE_HOME", "relative");
    let places = fixture.places().unwrap();
    assert_eq!(
        places.vault,
        Path::new("/from/passwd/.local/share/akm/vault.db")
    );
    assert_eq!(places.socket, Path::new("/tmp/akm-7/agent.sock"));
    assert_eq!(places.state, Path::new("/from/passwd/.local/state/akm"));
}

#[test]
fn the_directory_of_another_user_is_not_believed() {
    let mut fixture = Fixture::new();
    let home = fixture.dir("home", 0o700);
    fixture.set("AKM_HOME", &home).set("HOME", &home);
    let as_uid = |euid| {
        let environment = Environment {
            get: &|name| fixture.vars.get(name).cloned(),
            euid,
            passwd_home: &|| Some(PathBuf::from("/from/passwd")),
            fallback: PathBuf::from("/tmp/akm-7"),
        };
        (environment.places().map(|p| p.vault), environment.home())
    };
    let own = as_uid(nix::unistd::geteuid().as_raw());
    assert_eq!(own, (Ok(home.join("vault.db")), Ok(home)));
    let other = as_uid(nix::unistd::geteuid().as_raw() + 1);
    assert_eq!(other.0.unwrap_err().kind(), Kind::Denied);
    assert_eq!(other.1.unwrap(), Path::new("/from/passwd"));
}

#[test]
fn akm_variables_that_others_may_write_are_refused() {
    let mut own = Fixture::new();
    let home = own.dir("home", 0o700);
    let good = own.dir("good", 0o755);
    let open = own.dir("open", 0o777);
    own.set("AKM_HOME", &home);
    for name in ["AKM_VAULT", "AKM_CONFIG", "AKM_AGENT_SOCK"] {
        own.set(name, good.join("f"));
        assert!(own.places().is_ok(), "{name}");
        own.set(name, open.join("f"));
        assert_eq!(own.places().unwrap_err().kind(), Kind::Denied, "{name}");
        own.set(name, good.join("../open/f"));
        assert!(own.places().is_err(), "{name}");
        own.vars.remove(name);
    }
    own.set("AKM_HOME", &open);
    let refused = own.places().unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    let shown = format!("ls -ld {}", open.display());
    assert!(refused.hint().unwrap().contains(&shown), "{refused:?}");
    let link = home.join("link");
    symlink(&good, &link).unwrap();
    own.set("AKM_HOME", &link);
    let refused = own.places().unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    // It leads to a directory that is in order: what is wrong is said.
    assert_eq!(refused.message(), "AKM_HOME is a symbolic link");
}

#[test]
fn overrides_change_one_place_each() {
    let mut fixture = Fixture::new();
    let home = fixture.dir("home", 0o700);
    let other = fixture.dir("other", 0o700);
    fixture
        .set("AKM_HOME", &home)
        .set("AKM_VAULT", other.join("v.db"))
        .set("AKM_CONFIG", other.join("c.toml"))
        .set("AKM_AGENT_SOCK", other.join("s"));
    let places = fixture.places().unwrap();
    assert_eq!(places.vault, other.join("v.db"));
    assert_eq!(places.journal, other.join("v.db.audit.journal"));
    assert_eq!(places.config, other.join("c.toml"));
    assert_eq!(places.socket, other.join("s"));
    assert_eq!(places.state, home.join("state"));
    fixture.set("AKM_VAULT", "");
    assert_eq!(fixture.places().unwrap().vault, home.join("vault.db"));
}

#[test]
fn a_long_home_gets_a_hashed_socket_in_the_runtime_directory() {
    let mut fixture = Fixture::new();
    let run = fixture.dir("run", 0o700);
    let home = fixture.dir(&"h".repeat(100), 0o700);
    fixture.set("AKM_HOME", &home).set("XDG_RUNTIME_DIR", &run);
    let socket = fixture.with(|e| e.socket()).unwrap();
    assert_eq!(socket.parent(), Some(run.join("akm").as_path()));
    assert!(socket.as_os_str().len() <= MAX_SOCKET_PATH);
    let other = fixture.dir(&"i".repeat(100), 0o700);
    fixture.set("AKM_HOME", &other);
    assert_ne!(fixture.with(|e| e.socket()).unwrap(), socket);

    fixture.set(
        "AKM_AGENT_SOCK",
        fixture.root.path().join("s".repeat(MAX_SOCKET_PATH)),
    );
    assert_eq!(
        fixture.with(|e| e.socket()).unwrap_err().kind(),
        Kind::InvalidInput
    );
}

#[test]
fn directories_are_made_private_and_tightened() {
    let fixture = Fixture::new();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    let deep = fixture.root.path().join("a/b/c");
    ensure_dir(&deep).unwrap();
    assert_eq!(mode(&deep), 0o700);
    assert_eq!(mode(deep.parent().unwrap()), 0o700);
    let loose = fixture.dir("loose", 0o755);
    accept_dir(&loose).unwrap();
    assert_eq!(mode(&loose), 0o755);
    ensure_dir(&loose).unwrap();
    assert_eq!(mode(&loose), 0o700);
    let made = fixture.root.path().join("made");
    accept_dir(&made).unwrap();
    assert_eq!(mode(&made), 0o700);
    ensure_dir(&loose).unwrap();
}

#[test]
fn directories_that_others_may_change_are_refused() {
    let fixture = Fixture::new();
    let denied = |path: &Path| ensure_dir(path).unwrap_err().kind() == Kind::Denied;
    let good = fixture.dir("good", 0o700);
    assert!(ensure_dir(&good).is_ok());
    let open = fixture.dir("open", 0o777);
    assert!(denied(&open));
    assert_eq!(accept_dir(&open).unwrap_err().kind(), Kind::Denied);
    assert_eq!(std::fs::metadata(&open).unwrap().mode() & 0o777, 0o777);
    assert!(denied(&open.join("inside")));
    // As /tmp: others may add to it, but not take away what is ours.
    let sticky = fixture.dir("sticky", 0o1777);
    assert!(ensure_dir(&sticky.join("inside")).is_ok());
    let link = fixture.root.path().join("link");
    symlink(&good, &link).unwrap();
    assert!(denied(&link));
    // A link above is fine where it is our own.
    assert!(ensure_dir(&link.join("inside")).is_ok());
    let file = fixture.root.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(denied(&file));
}

#[test]
fn the_hash_is_fnv1a() {
    // Test values of the FNV reference distribution.
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}
