//! Where an embedded vault keeps its state: the default vault has one state directory, however it is named.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::agent::{self, PASSPHRASE};
use crate::c;
use crate::drivers::{Answer, Program, Way};

/// A program in a home with its data and its state in different directories.
fn program(home: &Path, state: &str) -> Program {
    let mut command = c::program();
    command
        .env("HOME", home)
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_STATE_HOME", home.join(state));
    Program::start(command, true)
}

fn unlock(program: &mut Program, passphrase: &str) -> Answer {
    program.call("agent.unlock", &json!({"passphrase": passphrase}))
}

fn kind(answer: Answer) -> Value {
    answer.unwrap_err()["kind"].clone()
}

#[test]
fn the_default_vault_by_its_path_has_the_same_counters_and_the_same_system_chain() {
    let home = agent::home();
    let vault = home.path().join("data/akm/vault.db");
    let default = Path::new("");
    let mut program_a = program(home.path(), "state");
    program_a.begin(default);
    let account = json!({"account": "default", "passphrase": PASSPHRASE, "totp": false});
    program_a.call("account.register", &account).unwrap();
    program_a.call("agent.lock", &json!({})).unwrap();
    // An event of the system chain, under the host key.
    assert_eq!(kind(unlock(&mut program_a, "wrong")), "wrong_credentials");
    program_a.end();

    // By the path, and through a link in it.
    std::os::unix::fs::symlink(home.path().join("data"), home.path().join("link")).unwrap();
    for path in [&vault, &home.path().join("link/akm/vault.db")] {
        program_a.begin(path);
        unlock(&mut program_a, PASSPHRASE).unwrap();
        let verified = program_a.call("audit.verify", &json!({})).unwrap();
        assert_eq!(verified["ok"], true, "{verified}");
        program_a.end();
    }
    assert!(!vault.with_file_name("state").exists());

    program_a.begin(&vault);
    for _ in 0..5 {
        assert_eq!(kind(unlock(&mut program_a, "wrong")), "wrong_credentials");
    }
    program_a.end();
    program_a.begin(default);
    assert_eq!(kind(unlock(&mut program_a, PASSPHRASE)), "rate_limited");
    program_a.end();
    program_a.begin(&vault);
    assert_eq!(kind(unlock(&mut program_a, PASSPHRASE)), "rate_limited");
    program_a.end();

    // The control, and the limit that is documented: another state directory has counters of its own.
    let mut program_b = program(home.path(), "elsewhere");
    program_b.begin(&vault);
    unlock(&mut program_b, PASSPHRASE).unwrap();
    let verified = program_b.call("audit.verify", &json!({})).unwrap();
    assert_eq!(verified["ok"], false, "{verified}");
    program_b.end();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_directory_of_a_vault_that_the_user_named_keeps_its_mode() {
    let home = agent::home();
    let (own, project) = (home.path().join("akm"), home.path().join("project"));
    for dir in [&own, &project] {
        std::fs::create_dir(dir).unwrap();
        std::fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    }
    let open = |named: Option<&Path>| {
        let mut command = c::program();
        command.env("AKM_HOME", &own);
        if let Some(vault) = named {
            command.env("AKM_VAULT", vault);
        }
        let mut program = Program::start(command, true);
        program.begin(Path::new(""));
        program.end();
    };
    open(Some(&project.join("keys.db")));
    assert!(project.join("keys.db").is_file());
    assert_eq!((mode(&project), mode(&own)), (0o755, 0o755));
    // The control: the directory that is akm's own is tightened.
    open(None);
    assert_eq!((mode(&project), mode(&own)), (0o755, 0o700));
}
