//! The manifest as bytes: written, authenticated, read.

use crate::crypto;
use crate::error::{Error, Kind, Result};
use crate::memory::LockedKey;
use crate::store::{Id, Tag};
use crate::vault::anchor::Position;

const VERSION: u8 = 1;
const LEN: usize = 1 + 3 * 8 + 3 * 32;

/// What an account is as of one change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) struct Manifest {
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) records: u64,
    pub(super) root: Tag,
    pub(super) account: Tag,
    pub(super) mac: Tag,
}

impl Manifest {
    pub(super) fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.generation.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.records.to_be_bytes());
        bytes[25..57].copy_from_slice(&self.root);
        bytes[57..89].copy_from_slice(&self.account);
        bytes[89..].copy_from_slice(&self.mac);
        bytes
    }

    pub(super) fn signed(mut self, key: &LockedKey, vault: &Id, account: &Id) -> Self {
        self.mac = crypto::tag(
            key,
            &[b"manifest", vault, account, &self.bytes()[..LEN - 32]],
        );
        self
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Manifest> {
        const MALFORMED: Error = Error::corrupt("the account's manifest is malformed");
        match bytes.first() {
            Some(&VERSION) => {}
            None => return Err(MALFORMED),
            Some(_) => {
                return Err(Error::new(
                    Kind::UnsupportedVersion,
                    "the account's manifest has an unknown version",
                ));
            }
        }
        let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| MALFORMED)?;
        let number = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_be_bytes);
        let tag = |at: usize| bytes[at..].first_chunk().copied();
        Ok(Manifest {
            epoch: number(1).ok_or(MALFORMED)?,
            generation: number(9).ok_or(MALFORMED)?,
            records: number(17).ok_or(MALFORMED)?,
            root: tag(25).ok_or(MALFORMED)?,
            account: tag(57).ok_or(MALFORMED)?,
            mac: tag(89).ok_or(MALFORMED)?,
        })
    }

    pub(super) fn open(
        bytes: &[u8],
        key: &LockedKey,
        vault: &Id,
        account: &Id,
    ) -> Result<Manifest> {
        let manifest = Manifest::parse(bytes)?;
        if !crypto::equal(&manifest.signed(key, vault, account).mac, &manifest.mac) {
            return Err(Error::corrupt(
                "the account's manifest fails its authentication",
            ));
        }
        Ok(manifest)
    }

    pub(super) fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            generation: self.generation,
            mark: self.mac,
        }
    }
}
