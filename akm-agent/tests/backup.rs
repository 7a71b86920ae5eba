//! Backups with a real agent: made by its own scheduler, restored while it runs.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use akm_core::Kind;
use akm_core::client::Client;
use akm_core::protocol::{
    AgentStatus, BackupCreate, BackupList, BackupPage, BackupRestore, BackupSchedule, BackupVerify,
    Verified,
};
use support::{Home, PASSPHRASE, eventually, kind, secret};

fn list(client: &mut Client) -> BackupPage {
    client.call(&BackupList {}).unwrap()
}

fn schedule(client: &mut Client, daily: bool) {
    let request = BackupSchedule {
        daily,
        keep: None,
        max_age_days: None,
    };
    client.call(&request).unwrap();
}

#[test]
fn a_schedule_makes_a_backup_by_itself_and_a_restart_makes_no_second_one() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-one").unwrap();
    let mut client = agent.client();
    assert_eq!(list(&mut client).backups.len(), 0);
    schedule(&mut client, true);
    eventually("a backup", || list(&mut client).backups.len() == 1);
    // It is listed before the job is over. The time of the next one is on the disk with its outcome.
    let jobs = home.path().join("state/jobs.json");
    eventually("the outcome", || {
        std::fs::read_to_string(&jobs).is_ok_and(|text| text.contains(r#""outcome":"ok""#))
    });
    let name = list(&mut client).backups.remove(0).name;
    let checked = client.call(&BackupVerify { name }).unwrap();
    assert_eq!((checked.verified, checked.keys), (Verified::Decrypted, 1));
    assert!(agent.stop().success());

    let agent = home.start();
    let mut client = agent.client();
    assert!(list(&mut client).schedule.is_some());
    agent.unlock(None).unwrap();
    agent.add("openai/later", "sk-later").unwrap();
    assert_eq!(list(&mut client).backups.len(), 1);
    // Control: this agent's scheduler runs as well: without its notes, the job is due.
    assert!(agent.stop().success());
    std::fs::remove_file(&jobs).unwrap();
    let agent = home.start();
    let mut client = agent.client();
    eventually("another backup", || list(&mut client).backups.len() == 2);
    assert!(agent.stop().success());
}

#[test]
fn a_restore_through_a_running_agent_locks_it_and_it_goes_on_with_the_backup() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-old").unwrap();
    let mut client = agent.client();
    let name = client.call(&BackupCreate::default()).unwrap().backup.name;
    agent.add("openai/new", "sk-new").unwrap();
    let restore = |passphrase: &str| BackupRestore {
        name: name.clone(),
        account: None,
        passphrase: secret(passphrase),
        keyfile: None,
        replace: Some(true),
    };
    let refused = client.call(&restore("wrong")).unwrap_err();
    assert_eq!(refused.kind(), Kind::WrongCredentials);
    assert_eq!(agent.get("openai/new").unwrap(), "sk-new", "untouched");
    let restored = client.call(&restore(PASSPHRASE)).unwrap();
    assert_eq!(restored.kept.as_deref(), Some("vault.db.replaced-1"));
    assert!(client.call(&AgentStatus {}).unwrap().locked);
    assert_eq!(kind(&agent.get("openai").unwrap_err()), "locked");
    agent.unlock(None).unwrap();
    assert_eq!(agent.get("openai").unwrap(), "sk-old");
    assert_eq!(kind(&agent.get("openai/new").unwrap_err()), "not_found");
    assert!(agent.stop().success());
    let agent = home.start();
    agent.unlock(None).unwrap();
    assert_eq!(
        agent.get("openai").unwrap(),
        "sk-old",
        "and after a restart"
    );
}

#[test]
fn h06_an_agent_killed_after_the_moment_that_counts_opens_the_restored_vault() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.add("openai", "sk-old").unwrap();
    let name = agent
        .client()
        .call(&BackupCreate::default())
        .unwrap()
        .backup
        .name;
    agent.add("openai/new", "sk-new").unwrap();
    agent.kill();
    // As a restore leaves it that was cut off between its rename and opening what it renamed.
    let backup = home.path().join("backups").join(&name);
    std::fs::copy(backup, home.path().join("vault.db.restored")).unwrap();
    let agent = home.start();
    assert!(home.path().join("vault.db.replaced-1").exists());
    assert!(!home.path().join("vault.db.restored").exists());
    // Nobody announced it, so it is what it looks like: an older vault.
    assert_eq!(kind(&agent.unlock(None).unwrap_err()), "rolled_back");
}
