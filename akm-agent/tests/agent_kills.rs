//! What a SIGKILL cannot undo: counted attempts, acknowledged keys, and the events of secrets that were handed out.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use akm_core::Kind;
use akm_core::client::Client;
use akm_core::protocol::{AgentUnlock, AuditList, AuditVerify};
use support::{Agent, Home, PASSPHRASE, secret};

fn guess(agent: &Agent, passphrase: &str) -> Kind {
    let request = AgentUnlock {
        account: None,
        passphrase: secret(passphrase),
        totp: None,
        keyfile: None,
        lifetime_s: None,
        accept_rollback: None,
    };
    agent.client().call(&request).unwrap_err().kind()
}

#[test]
fn b07_a_killed_agent_has_counted_every_guess() {
    let home = Home::new();
    let agent = home.start();
    agent.register();
    agent.lock();
    for _ in 0..4 {
        assert_eq!(guess(&agent, "wrong"), Kind::WrongCredentials);
    }
    agent.kill();
    let agent = home.start();
    assert_eq!(
        guess(&agent, "wrong"),
        Kind::WrongCredentials,
        "control: the fifth is tried"
    );
    for _ in 0..3 {
        assert_eq!(guess(&agent, "wrong"), Kind::RateLimited);
    }
    assert_eq!(
        guess(&agent, PASSPHRASE),
        Kind::RateLimited,
        "the right one waits as well"
    );
    agent.kill();
    let agent = home.start();
    assert_eq!(
        guess(&agent, PASSPHRASE),
        Kind::RateLimited,
        "and after another kill"
    );
}

/// How many events of an operation ended well, over all pages.
fn events(client: &mut Client, action: &str) -> usize {
    let mut after = None;
    let mut found = 0;
    loop {
        let request = AuditList {
            action: Some(action.into()),
            limit: Some(1000),
            after,
            ..AuditList::default()
        };
        let page = client.call(&request).unwrap();
        found += page
            .events
            .iter()
            .filter(|event| event.outcome == "ok")
            .count();
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[test]
fn i08_h07_what_was_acknowledged_survives_a_kill() {
    let home = Home::new();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut handed_out = 0;
    for round in 0..8 {
        let agent = home.start();
        if round == 0 {
            agent.register();
            agent.add("openai/constant", "sk-constant").unwrap();
        } else {
            agent.unlock(None).unwrap();
        }
        // Adds from one client, gets from two, and the kill after as many adds as the round says.
        let stop = AtomicBool::new(false);
        let (added, got) = std::thread::scope(|scope| {
            let getters: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut got = 0;
                        while !stop.load(Ordering::Relaxed) && agent.get("openai/constant").is_ok()
                        {
                            got += 1;
                        }
                        got
                    })
                })
                .collect();
            let mut added = Vec::new();
            for index in 0..=round * 3 {
                let name = format!("openai/r{round}-{index}");
                agent.add(&name, &format!("sk-{name}")).unwrap();
                added.push(name);
            }
            agent.signal(nix::sys::signal::Signal::SIGKILL);
            stop.store(true, Ordering::Relaxed);
            let got: usize = getters
                .into_iter()
                .map(|getter| getter.join().unwrap())
                .sum();
            (added, got)
        });
        agent.kill();
        acknowledged.extend(added);
        handed_out += got;
    }
    assert!(
        handed_out > 0,
        "control: secrets were handed out while keys were added"
    );
    let agent = home.start();
    agent.unlock(None).unwrap();
    let mut client = agent.client();
    assert!(
        events(&mut client, "key.get") >= handed_out,
        "every secret that was handed out has its event"
    );
    assert!(events(&mut client, "key.add") > acknowledged.len());
    for name in &acknowledged {
        assert_eq!(agent.get(name).unwrap(), format!("sk-{name}"));
    }
    let verified = client.call(&AuditVerify::default()).unwrap();
    assert!(verified.ok, "{verified:?}");
}
