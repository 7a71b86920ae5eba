//! Pages of records.
//!
//! Invariants: a page is bounded, by what it returns and by what is looked at for it; each record on it is the newest version
//! of itself, rests under the tags of its own name, and is searched by what is sealed. One that does not open fails the page,
//! unless whoever asks wants the others and takes its id.

use crate::error::{Error, Kind, Result};
use crate::name::ProviderId;
use crate::store::{Id, KeyHead, Tag};
use crate::vault::check::is_damage;
use crate::vault::rekey::Before;
use crate::vault::sealed::{provider_tag, rests_rightly};
use crate::vault::{Unlocked, Vault};

use super::{Record, put_back};

/// Most rows looked at in one call when a filter passes few: then the page is short and has a cursor.
const MAX_SCAN: usize = 10_000;
/// Most rows opened at a time when a filter has to look inside.
const SCAN: u32 = 256;

impl Vault {
    /// Up to `limit` records that pass `keep`, in the order of their ids after `after`, and the cursor of the next
    /// page if there may be one.
    ///
    /// Errors: `corrupt` or `rolled_back` if one that was looked at does not open, unless that is to be noted.
    pub fn list_keys(
        &self,
        account: &Unlocked,
        provider: Option<&ProviderId>,
        after: Option<Id>,
        limit: u32,
        keep: &dyn Fn(&Record) -> bool,
        mut damage: Damage<'_>,
    ) -> Result<(Vec<Record>, Option<Id>)> {
        let mut records = Vec::new();
        let mut cursor = after;
        let mut seen = 0;
        let size = limit.clamp(16, SCAN);
        loop {
            let before = account.shared.before();
            let before = before.as_deref();
            let provider_tag = match (provider, before) {
                (Some(provider), None) => Some(provider_tag(&account.index_key, provider)),
                // Rows of one provider stand under two tags.
                _ => None,
            };
            let page = self.newest_page(account, provider_tag.as_ref(), cursor.as_ref(), size)?;
            let last_page = page.len() < size as usize;
            let count = page.len();
            for (index, (head, is_newest)) in page.into_iter().enumerate() {
                cursor = Some(head.id);
                let record = match self.open_listed(account, before, &head, is_newest) {
                    Ok(record) => record,
                    Err(error) => {
                        damage.note(&head.id, error)?;
                        continue;
                    }
                };
                // The wanted provider is compared with what is sealed, not with the column that was searched.
                let wanted = provider.is_none_or(|provider| record.name.provider() == provider);
                if wanted && keep(&record) {
                    records.push(record);
                    if records.len() == limit as usize {
                        let more = index + 1 < count || !last_page;
                        return Ok((records, cursor.filter(|_| more)));
                    }
                }
            }
            if last_page {
                return Ok((records, None));
            }
            seen += count;
            if seen >= MAX_SCAN {
                return Ok((records, cursor));
            }
        }
    }

    fn open_listed(
        &self,
        account: &Unlocked,
        before: Option<&Before>,
        head: &KeyHead,
        is_newest: Result<bool>,
    ) -> Result<Record> {
        // What was never this account's is damage, not an older version.
        let (record, _) = self.open_head(account, before, head)?;
        if !is_newest? {
            return Err(put_back());
        }
        if !rests_rightly(account, before, &record, head) {
            return Err(Error::corrupt("a key rests under the tag of another name"));
        }
        Ok(record)
    }

    /// A page of heads, and of each whether it is the newest version of its record.
    fn newest_page(
        &self,
        account: &Unlocked,
        provider_tag: Option<&Tag>,
        after: Option<&Id>,
        limit: u32,
    ) -> Result<Vec<(KeyHead, Result<bool>)>> {
        let read = || -> Result<Vec<(KeyHead, Result<bool>)>> {
            let page = self
                .store
                .keys_page(account.id(), provider_tag, after, limit)?;
            page.into_iter()
                .map(|head| match self.is_newest_head(account, &head) {
                    // About this one: the others may be whole.
                    Err(error) if is_damage(error.kind()) => Ok((head, Err(error))),
                    is_newest => Ok((head, Ok(is_newest?))),
                })
                .collect()
        };
        let page = read()?;
        if page.iter().all(|(_, is_newest)| *is_newest == Ok(true)) {
            return Ok(page);
        }
        // It may have changed between the row and the tree.
        let _quiet = self.quiet(account);
        read()
    }
}

/// What becomes of a list when a record does not open.
pub enum Damage<'a> {
    /// It fails.
    Fails,
    /// It goes on without it. The id, of whatever name it is, is put here with what is wrong.
    Noted(&'a mut Vec<(Id, Kind)>),
}

impl Damage<'_> {
    fn note(&mut self, id: &Id, error: Error) -> Result<()> {
        match self {
            Damage::Noted(unreadable) if is_damage(error.kind()) => {
                unreadable.push((*id, error.kind()));
                Ok(())
            }
            _ => Err(error),
        }
    }
}
