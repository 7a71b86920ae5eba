//! Pages of records.
//!
//! Invariants: a page is bounded, by what it returns and by what is looked at for it; each record on it is the newest version
//! of itself, rests under the tags of its own name, and is searched by what is sealed.

use crate::error::{Error, Result};
use crate::name::ProviderId;
use crate::store::{Id, KeyHead, Tag};
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
    pub fn list_keys(
        &self,
        account: &Unlocked,
        provider: Option<&ProviderId>,
        after: Option<Id>,
        limit: u32,
        keep: &dyn Fn(&Record) -> bool,
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
            let page = self.newest_page(
                account,
                before,
                provider_tag.as_ref(),
                cursor.as_ref(),
                size,
            )?;
            let last_page = page.len() < size as usize;
            let count = page.len();
            for (index, head) in page.iter().enumerate() {
                let (record, _) = self.open_head(account, before, head)?;
                // The wanted provider is compared with what is sealed, not with the column that was searched.
                if !rests_rightly(account, before, &record, head) {
                    return Err(Error::corrupt("a key rests under the tag of another name"));
                }
                cursor = Some(head.id);
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
    /// A page of heads, each the newest version of its record.
    fn newest_page(
        &self,
        account: &Unlocked,
        before: Option<&Before>,
        provider_tag: Option<&Tag>,
        after: Option<&Id>,
        limit: u32,
    ) -> Result<Vec<KeyHead>> {
        let read = || {
            self.store
                .keys_page(account.id(), provider_tag, after, limit)
        };
        let older = |page: &[KeyHead]| -> Result<Option<usize>> {
            for (index, head) in page.iter().enumerate() {
                if !self.is_newest_head(account, head)? {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        };
        let page = read()?;
        if older(&page)?.is_none() {
            return Ok(page);
        }
        let _quiet = self.quiet(account);
        let page = read()?;
        match older(&page)? {
            None => Ok(page),
            Some(index) => {
                // What was never this account's is damage, not an older version.
                self.open_head(account, before, &page[index])?;
                Err(put_back())
            }
        }
    }
}
