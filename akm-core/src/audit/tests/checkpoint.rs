//! Checkpoints, slices, and journals of other vaults.

use super::*;
use crate::protocol::{Checkpoint, CheckpointVerdict};

fn against(
    audit: &Audit,
    chain: &AccountChain,
    checkpoint: &Checkpoint,
) -> (bool, Option<CheckpointVerdict>) {
    let found = audit.verify(chain, Some(checkpoint)).unwrap();
    (found.ok, found.checkpoint)
}

/// A room whose two chains have ten events each, and a checkpoint of then.
fn checked() -> (Room, Checkpoint) {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in 0..10 {
        append(&audit, &chain, index);
        append_system(&audit);
    }
    let checkpoint = audit.checkpoint(&chain).unwrap();
    assert_eq!(checkpoint.account_chain.seq, 10);
    assert_eq!(checkpoint.system_chain.seq, 10);
    assert_eq!(
        against(&audit, &chain, &checkpoint),
        (true, Some(CheckpointVerdict::Holds))
    );
    (room, checkpoint)
}

#[test]
fn i03_a_tail_cut_off_between_two_runs_shows_against_a_checkpoint() {
    for chain_id in [ACCOUNT, SYSTEM] {
        for dropped in 1..=10 {
            let (room, checkpoint) = checked();
            for seq in 11 - dropped..=10 {
                room.store.delete(&chain_id, seq);
            }
            let (audit, chain) = room.open();
            // Without an anchor a shorter chain is whole: this is what SECURITY.md says of it.
            assert_eq!(verdict(&audit, &chain), Ok(20 - dropped));
            assert_eq!(
                against(&audit, &chain, &checkpoint),
                (false, Some(CheckpointVerdict::Truncated))
            );
        }
    }
}

#[test]
fn i03_a_tail_cut_off_and_written_over_shows_against_a_checkpoint() {
    for chain_id in [ACCOUNT, SYSTEM] {
        let (room, checkpoint) = checked();
        for seq in 8..=10 {
            room.store.delete(&chain_id, seq);
        }
        let (audit, chain) = room.open();
        for index in 20..30 {
            append(&audit, &chain, index);
            append_system(&audit);
        }
        assert_eq!(
            verdict(&audit, &chain),
            Ok(37),
            "the new chains are whole in themselves"
        );
        assert_eq!(
            against(&audit, &chain, &checkpoint),
            (false, Some(CheckpointVerdict::Forked))
        );
    }
}

#[test]
fn a_checkpoint_holds_whatever_comes_after_it() {
    let (room, checkpoint) = checked();
    let (audit, chain) = room.open();
    for index in 10..40 {
        append(&audit, &chain, index);
    }
    assert_eq!(
        against(&audit, &chain, &checkpoint),
        (true, Some(CheckpointVerdict::Holds))
    );
}

#[test]
fn a_checkpoint_that_was_changed_or_is_of_others_is_refused() {
    let (room, checkpoint) = checked();
    let (audit, chain) = room.open();
    let refused = |changed: &Checkpoint| {
        let error = audit.verify(&chain, Some(changed)).unwrap_err();
        assert_eq!(error.field(), Some("checkpoint"));
        error.kind()
    };
    let changes: [fn(&mut Checkpoint); 7] = [
        |it| it.account_chain.seq = 9,
        |it| it.system_chain.seq = 11,
        |it| it.account_chain.mac = "00".repeat(32),
        |it| it.system_chain.mac = String::new(),
        |it| it.time = "2026-01-01T00:00:00.000Z".to_owned(),
        |it| it.signature = "00".repeat(64),
        |it| it.signature.push('0'),
    ];
    for change in changes {
        let mut changed = checkpoint.clone();
        change(&mut changed);
        assert_eq!(refused(&changed), Kind::InvalidInput);
    }
    let mut newer = checkpoint.clone();
    newer.version = 2;
    assert_eq!(refused(&newer), Kind::UnsupportedVersion);
    // What the file says of itself is for people; the signature is over what is.
    let mut named = checkpoint.clone();
    named.vault = "another".to_owned();
    named.public_key = "another".to_owned();
    assert!(audit.verify(&chain, Some(&named)).unwrap().ok);

    // Signed by another account of the same vault.
    let other = audit.open_account([9; 16], &key(7)).unwrap();
    let foreign = audit.checkpoint(&other).unwrap();
    assert_eq!(refused(&foreign), Kind::InvalidInput);
    assert!(audit.verify(&other, Some(&foreign)).unwrap().ok, "control");
}

#[test]
fn anybody_can_check_a_checkpoint_with_the_key_in_it() {
    let (_room, checkpoint) = checked();
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    let flat = |chain: &crate::protocol::ChainHead| {
        [&chain.seq.to_be_bytes()[..], &hex(&chain.mac)].concat()
    };
    let (vault, account) = (hex(&checkpoint.vault), hex(&checkpoint.account));
    let (mine, system) = (
        flat(&checkpoint.account_chain),
        flat(&checkpoint.system_chain),
    );
    let parts: [&[u8]; 6] = [
        b"akm/audit/checkpoint/v1",
        &vault,
        &account,
        checkpoint.time.as_bytes(),
        &mine,
        &system,
    ];
    let public = hex(&checkpoint.public_key).try_into().unwrap();
    let signature = hex(&checkpoint.signature).try_into().unwrap();
    assert!(crate::crypto::verify(&public, &parts, &signature));
}

#[test]
fn a_long_log_is_checked_in_slices_and_what_comes_between_them_too() {
    let room = Room::new();
    let (audit, chain) = room.open();
    for index in 0..5000_u32 {
        append(&audit, &chain, index as u8);
    }
    let mut under_way = audit.begin_verify(&chain, None).unwrap();
    let mut slices = 0;
    let found = loop {
        slices += 1;
        append(&audit, &chain, 1);
        if let Some(found) = audit.verify_slice(&chain, &mut under_way).unwrap() {
            break found;
        }
    };
    assert!(slices > 3, "{slices}");
    assert!(found.ok);
    assert!(found.entries > 5000, "{}", found.entries);

    // Damage in a later slice is found where it is.
    room.store.delete(&ACCOUNT, 4000);
    assert_eq!(verdict(&audit, &chain), bad("account", 4000));
}

#[test]
fn the_journal_of_another_vault_is_refused_and_left_alone() {
    let room = Room::new();
    let (audit, chain) = room.open();
    append(&audit, &chain, 1);
    drop(audit);
    let before = std::fs::read(room.path()).unwrap();
    let open = |vault| {
        Audit::open(
            &room.path(),
            room.store.clone(),
            room.host(),
            &key(1),
            vault,
        )
    };
    let error = open([0xee; 16]).err().unwrap();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(std::fs::read(room.path()).unwrap(), before);
    assert!(open(VAULT).is_ok(), "control");
}
