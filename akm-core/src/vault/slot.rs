//! Slots: the ways to an account's root key.
//!
//! Slot 0 is the passphrase; recovery codes count from 1. Opening a slot *is* the check of what was
//! typed: the commitment is compared in constant time, then the root key is unwrapped. No other hash is
//! stored. The slot's parameters and factors stand in clear and are bound into the derivation: one that is changed in
//! the file opens nothing. Only the passphrase's slot takes the device secret; recovery codes do without.

use data_encoding::BASE32_NOPAD;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::crypto::{self, Ad, FACTOR_DEVICE, Field, Kdf};
use crate::error::{Error, Result};
use crate::memory::LockedKey;
use crate::name::MAX_PASSPHRASE;
use crate::secret::Secret;
use crate::store::{Id, SlotRow};

use super::Vault;
use super::account::Device;
use super::sign_in::Found;

/// The number of the passphrase's slot.
pub(super) const PASSPHRASE: u32 = 0;
/// How many recovery codes an account gets.
pub(super) const RECOVERY_CODES: u32 = 8;
/// Bytes of a recovery code: 160 bits, so that no stretching is needed.
const CODE_BYTES: usize = 20;

/// A passphrase in its one spelling (NFC), so that every keyboard opens the same slot.
pub(super) struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Normalises a typed passphrase; `field` is named in the error.
    pub(super) fn parse(typed: &Secret, field: &'static str) -> Result<Self> {
        if typed.is_empty() {
            return Err(Error::invalid(field, "the passphrase is empty"));
        }
        if typed.len() > MAX_PASSPHRASE {
            return Err(Error::invalid(field, "a passphrase is at most 1024 bytes"));
        }
        if typed
            .expose()
            .chars()
            .any(|c| matches!(c, '\0' | '\n' | '\r'))
        {
            return Err(Error::invalid(field, "a passphrase is one line"));
        }
        // NFC never grows UTF-8 beyond three times; reserved at once, so no copy is left behind by growth.
        let mut folded = Zeroizing::new(String::with_capacity(typed.len() * 3));
        folded.extend(typed.expose().nfc());
        Ok(Passphrase(folded))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A recovery code: 20 random bytes, shown as eight groups of four base-32 characters.
pub(super) struct RecoveryCode(Zeroizing<Vec<u8>>);

impl RecoveryCode {
    /// Reads a typed code: case, dashes and spaces do not count. Anything else is no code.
    pub(super) fn parse(typed: &Secret) -> Option<Self> {
        if typed.len() > 128 {
            return None;
        }
        let mut compact = Zeroizing::new(String::with_capacity(typed.len()));
        compact.extend(
            typed
                .expose()
                .chars()
                .filter(|c| !matches!(c, '-' | ' '))
                .map(|c| c.to_ascii_uppercase()),
        );
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(compact.as_bytes()).ok()?);
        (bytes.len() == CODE_BYTES).then_some(RecoveryCode(bytes))
    }

    /// A code that no slot was ever made with.
    pub(super) fn misfit() -> Self {
        RecoveryCode(Zeroizing::new(vec![0; CODE_BYTES]))
    }

    /// The code as its owner writes it down.
    fn display(&self) -> Secret {
        let plain = Zeroizing::new(BASE32_NOPAD.encode(&self.0));
        let mut grouped = String::with_capacity(plain.len() + plain.len() / 4);
        for (index, c) in plain.chars().enumerate() {
            if index > 0 && index % 4 == 0 {
                grouped.push('-');
            }
            grouped.push(c);
        }
        Secret::new(grouped)
    }
}

impl Vault {
    /// A slot that opens with `passphrase`, and `device` where there is one. Costs one key derivation.
    pub(super) fn passphrase_slot(
        &self,
        account: &Id,
        passphrase: &Passphrase,
        device: Option<&LockedKey>,
        root: &LockedKey,
    ) -> Result<SlotRow> {
        let kdf = Kdf::passphrase(&*self.host.random, &self.host.kdf_cost);
        self.passphrase_slot_with(account, kdf, passphrase, device, root)
    }

    /// The same with parameters of the caller's choice.
    pub(super) fn passphrase_slot_with(
        &self,
        account: &Id,
        kdf: Kdf,
        passphrase: &Passphrase,
        device: Option<&LockedKey>,
        root: &LockedKey,
    ) -> Result<SlotRow> {
        self.make_slot(account, PASSPHRASE, kdf, passphrase.bytes(), device, root)
    }

    /// Fresh recovery slots with the codes that open them.
    pub(super) fn recovery_slots(
        &self,
        account: &Id,
        root: &LockedKey,
    ) -> Result<(Vec<SlotRow>, Vec<Secret>)> {
        let mut slots = Vec::new();
        let mut codes = Vec::new();
        for number in 1..=RECOVERY_CODES {
            let mut bytes = Zeroizing::new(vec![0; CODE_BYTES]);
            self.host.random.fill(&mut bytes);
            let code = RecoveryCode(bytes);
            slots.push(self.make_slot(
                account,
                number,
                Kdf::recovery(&*self.host.random),
                &code.0,
                None,
                root,
            )?);
            codes.push(code.display());
        }
        Ok((slots, codes))
    }

    fn make_slot(
        &self,
        account: &Id,
        slot: u32,
        kdf: Kdf,
        input: &[u8],
        device: Option<&LockedKey>,
        root: &LockedKey,
    ) -> Result<SlotRow> {
        let factors = device.map_or(0, |_| FACTOR_DEVICE);
        let vault = self.store.vault_id();
        let stretched = crypto::stretch(&kdf, input)?;
        let (key, commit) =
            crypto::slot_keys(&stretched, device, &vault, account, slot, &kdf, factors)?;
        let wrapped = crypto::wrap(&*self.host.random, &key, &self.slot_ad(account, slot), root)?;
        Ok(SlotRow {
            slot,
            kdf: kdf.encode(),
            factors,
            commit,
            wrapped,
        })
    }

    /// Opens the passphrase slot among `slots`, or does the same work on somebody else's for an account that does not
    /// exist: at the same cost, with a salt of its own, and always in vain.
    pub(super) fn open_passphrase_slot<'a>(
        &self,
        found: &Found,
        slots: &'a [SlotRow],
        passphrase: &Passphrase,
        device: Option<&Device>,
    ) -> Result<(LockedKey, &'a SlotRow)> {
        let salt = crypto::tag(&self.host_key, &[b"fake slot", found.typed.as_bytes()]);
        let mut half = [0; 16];
        half.copy_from_slice(&salt[..16]);
        let slot = slots.iter().find(|row| row.slot == PASSPHRASE);
        match slot.filter(|_| found.known()) {
            Some(row) => self
                .open_slot(&found.id(), row, passphrase.bytes(), device)
                .map(|root| (root, row)),
            None => {
                let cost = slot
                    .and_then(|row| Kdf::decode(&row.kdf).ok()?.cost())
                    .unwrap_or(self.host.kdf_cost);
                let kdf = Kdf::with_salt(&cost, half);
                let stretched = crypto::stretch(&kdf, passphrase.bytes())?;
                let vault = self.store.vault_id();
                let (_, commit) =
                    crypto::slot_keys(&stretched, None, &vault, &found.id(), PASSPHRASE, &kdf, 0)?;
                // Compared as well, and whatever comes of it, nothing opens.
                let _ = slot.is_some_and(|row| crypto::equal(&commit, &row.commit));
                Err(Error::wrong_credentials())
            }
        }
    }

    /// Opens whichever recovery slot `code` fits; the same number of derivations whether one fits or not.
    pub(super) fn open_recovery_slot(
        &self,
        account: &Id,
        slots: &[SlotRow],
        code: &RecoveryCode,
    ) -> Result<(u32, LockedKey)> {
        let mut found = Err(Error::wrong_credentials());
        for number in 1..=RECOVERY_CODES {
            match slots.iter().find(|row| row.slot == number) {
                Some(row) => match self.open_slot(account, row, &code.0, None) {
                    Ok(root) => found = Ok((number, root)),
                    Err(error) if error.kind() == crate::Kind::WrongCredentials => {}
                    Err(error) => return Err(error),
                },
                None => {
                    let kdf = Kdf::recovery(&*self.host.random);
                    let stretched = crypto::stretch(&kdf, &code.0)?;
                    crypto::slot_keys(
                        &stretched,
                        None,
                        &self.store.vault_id(),
                        account,
                        number,
                        &kdf,
                        0,
                    )?;
                }
            }
        }
        found
    }

    fn open_slot(
        &self,
        account: &Id,
        row: &SlotRow,
        input: &[u8],
        device: Option<&Device>,
    ) -> Result<LockedKey> {
        let kdf = Kdf::decode(&row.kdf)?;
        // A passphrase is never tried without stretching, whatever the file says.
        if kdf.is_recovery() == (row.slot == PASSPHRASE) {
            return Err(Error::corrupt("a slot has the parameters of another kind"));
        }
        let stretched = crypto::stretch(&kdf, input)?;
        let vault = self.store.vault_id();
        // A device secret that is at hand and not asked for has no part in it: there is one right answer to a slot.
        let device = device.filter(|_| row.factors & FACTOR_DEVICE != 0);
        let (key, commit) = crypto::slot_keys(
            &stretched,
            device.map(|device| &**device),
            &vault,
            account,
            row.slot,
            &kdf,
            row.factors,
        )?;
        if !crypto::equal(&commit, &row.commit) {
            return Err(Error::wrong_credentials());
        }
        crypto::unwrap(&key, &self.slot_ad(account, row.slot), &row.wrapped)
    }

    fn slot_ad(&self, account: &Id, slot: u32) -> Ad {
        Ad::new(Field::SlotRoot)
            .vault(&self.store.vault_id())
            .account(account)
            .slot(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrases_are_one_spelling() {
        let composed = Passphrase::parse(&Secret::new("caf\u{e9}".into()), "passphrase").unwrap();
        let decomposed =
            Passphrase::parse(&Secret::new("cafe\u{301}".into()), "passphrase").unwrap();
        assert_eq!(composed.bytes(), decomposed.bytes());
        for bad in ["", "two\nlines", "nul\0", &"x".repeat(1025)] {
            let error = Passphrase::parse(&Secret::new(bad.into()), "passphrase")
                .err()
                .unwrap();
            assert_eq!(error.field(), Some("passphrase"));
        }
    }

    #[test]
    fn codes_read_back_as_people_type_them() {
        let code = RecoveryCode(Zeroizing::new((0..20).collect()));
        let shown = code.display();
        assert_eq!(shown.len(), 39);
        let lower = Secret::new(shown.expose().to_lowercase().replace('-', " "));
        assert_eq!(*RecoveryCode::parse(&lower).unwrap().0, *code.0);
        assert!(RecoveryCode::parse(&Secret::new("AAAA-AAAA".into())).is_none());
        assert!(RecoveryCode::parse(&Secret::new("1".repeat(39))).is_none());
        // As long as it may be, with all the dashes somebody likes; and not one longer.
        let dashes = |length| Secret::new(format!("{:->length$}", shown.expose()));
        assert!(RecoveryCode::parse(&dashes(128)).is_some());
        assert!(RecoveryCode::parse(&dashes(129)).is_none());
    }
}
