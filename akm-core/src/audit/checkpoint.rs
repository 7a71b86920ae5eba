//! Checkpoints: where the chains stand now, signed, to be kept where whoever changes this machine cannot reach.
//!
//! `signature = Ed25519(seed, "akm/audit/checkpoint/v1", vault, account, time, seq and MAC of both chains)`, every part
//! length-prefixed, with `seed = derive(audit key, "audit/checkpoint")`. So it can only be made while the account is unlocked, anybody can
//! check it with the public key in it, and akm takes only those of the account itself.
//!
//! Deliberately absent: a protection from whoever holds the account's keys at the time, and of events that came after.

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::chain::Head;
use super::{AccountChain, Audit};
use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::protocol::{ChainHead, Checkpoint};
use crate::store::{Id, Tag};

const VERSION: u32 = 1;
const LABEL: &[u8] = b"akm/audit/checkpoint/v1";

impl Audit {
    /// Signs where the account's chain and the system's stand. What it says is durable: a power loss makes no alarm of it.
    pub fn checkpoint(&self, account: &AccountChain) -> Result<Checkpoint> {
        let chains = [&account.keys, &self.system];
        let heads = {
            let mut folder = self.folder()?;
            self.fold_held(&mut folder, &chains)?.1
        };
        let [mine, system] = heads.as_slice() else {
            return Err(Error::internal("a chain has no end"));
        };
        let now = Timestamp::from_millisecond(self.host.clock.now().as_millisecond());
        let time = format!("{:.3}", now.unwrap_or(Timestamp::UNIX_EPOCH));
        let id = account.keys.id();
        let signature = crypto::sign(
            &account.signer,
            &parts(&self.vault, id, &time, &[mine, system].map(flat).each_ref()),
        );
        let chain = |head: &Head| ChainHead {
            seq: head.seq,
            mac: HEXLOWER.encode(&head.mac),
        };
        Ok(Checkpoint {
            version: VERSION,
            vault: HEXLOWER.encode(&self.vault),
            account: HEXLOWER.encode(id),
            time,
            account_chain: chain(mine),
            system_chain: chain(system),
            public_key: HEXLOWER.encode(&crypto::verifying_key(&account.signer)),
            signature: HEXLOWER.encode(&signature),
        })
    }

    /// What a checkpoint of this account says: the ends of its chain and of the system's.
    pub(super) fn heads_of(
        &self,
        account: &AccountChain,
        checkpoint: &Checkpoint,
    ) -> Result<[Head; 2]> {
        const FIELD: &str = "checkpoint";
        const FOREIGN: Error = Error::invalid(FIELD, "this account did not sign the checkpoint");
        if checkpoint.version != VERSION {
            return Err(Error::new(
                Kind::UnsupportedVersion,
                "the checkpoint has a version that this program does not know",
            )
            .with_field(FIELD));
        }
        let heads = [&checkpoint.account_chain, &checkpoint.system_chain].map(|chain| {
            let mac: Tag = decode(&chain.mac)?;
            Some(Head {
                seq: chain.seq,
                mac,
            })
        });
        let [Some(mine), Some(system)] = heads else {
            return Err(FOREIGN);
        };
        let signature: [u8; 64] = decode(&checkpoint.signature).ok_or(FOREIGN)?;
        let flats = [&mine, &system].map(flat);
        let parts = parts(
            &self.vault,
            account.keys.id(),
            &checkpoint.time,
            &flats.each_ref(),
        );
        // Of this vault and account, whatever the file says of itself; with its own key, whatever key stands in it.
        let public = crypto::verifying_key(&account.signer);
        if !crypto::verify(&public, &parts, &signature) {
            return Err(FOREIGN);
        }
        Ok([mine, system])
    }
}

/// Position and MAC in one piece.
fn flat(head: &Head) -> [u8; 40] {
    let mut flat = [0; 40];
    flat[..8].copy_from_slice(&head.seq.to_be_bytes());
    flat[8..].copy_from_slice(&head.mac);
    flat
}

/// What is signed.
fn parts<'a>(
    vault: &'a Id,
    account: &'a Id,
    time: &'a str,
    heads: &[&'a [u8; 40]; 2],
) -> [&'a [u8]; 6] {
    [LABEL, vault, account, time.as_bytes(), heads[0], heads[1]]
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}
