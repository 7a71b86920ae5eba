//! What an account's owner should know: notices for whoever looks, reminders for whoever does not.
//!
//! Invariants: a reminder is claimed durably before it is sent, for one channel, one end and one of 7, 3 and 1 days, so it is
//! sent once at most; it is given back only where nothing was sent. That a tier ends is said whether or not anybody is signed
//! in; that a key expires only while its owner is, because nobody else can read when.

use crate::billing::contact::{check_email, check_hook};
use crate::billing::{Contact, Hook, Phase};
use crate::crypto::{self, Ad, Field};
use crate::error::{Error, Result};
use crate::protocol::{BillingContact, ContactInfo, Locale, NoticeInfo, NoticeKind, Notices, Role};
use crate::store::{Id, Ledger, Store};
use crate::vault::{Damage, Record, Unlocked};

use super::payments::PAGE;
use super::{Asked, Service, shape};

/// Days before an end on which somebody is reminded, from the last.
const DAYS: [u32; 3] = [1, 3, 7];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Most keys that are spoken of.
const MAX_KEYS: u32 = 100;
/// Sealed contacts are padded to this.
const BUCKET: usize = 512;
/// What a reminder about the tier is about.
const TIER: Id = [0; 16];

/// How a reminder reaches somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Mail.
    Mail,
    /// A chat hook.
    Hook,
}

impl Channel {
    const fn token(self) -> &'static str {
        match self {
            Channel::Mail => "mail",
            Channel::Hook => "hook",
        }
    }

    const fn reaches(self, contact: &Contact) -> bool {
        match self {
            Channel::Mail => contact.email.is_some(),
            Channel::Hook => contact.hook.is_some(),
        }
    }
}

/// A reminder that was claimed: to be sent now, or given back.
#[derive(Debug)]
pub struct Reminder {
    account: Id,
    subject: Id,
    ends_at: i64,
    stage: u32,
    /// The account's name.
    pub name: String,
    /// Where it goes.
    pub channel: Channel,
    /// How its owner is reached.
    pub contact: Contact,
    /// The tier that ends, by its name in the language of the contact, or
    pub tier: Option<String>,
    /// the key that expires.
    pub key: Option<String>,
    /// Whole days until then, at least 1.
    pub days: u32,
    /// When, Unix milliseconds.
    pub at: i64,
}

/// Whole days until `end`, rounded up, if it is ahead.
fn days_left(end: i64, now: i64) -> Option<u32> {
    let left = end.checked_sub(now).filter(|left| *left > 0)?;
    // A day that has begun counts.
    u32::try_from(left.saturating_add(DAY_MS - 1) / DAY_MS).ok()
}

/// The reminder that is due so many days before an end.
fn stage(days: u32) -> Option<u32> {
    DAYS.into_iter().find(|stage| days <= *stage)
}

impl Service {
    pub(super) fn contact(
        &self,
        asked: &Asked<'_>,
        request: &BillingContact,
    ) -> Result<ContactInfo> {
        let id = asked.session.account.id();
        let mut contact = self.contact_of(id)?.unwrap_or_default();
        let before = contact.clone();
        if let Some(email) = &request.email {
            contact.email = match email.as_str() {
                "" => None,
                email => {
                    check_email(email)?;
                    Some(email.to_owned())
                }
            };
        }
        match (request.hook, request.hook_url.as_deref()) {
            (None, None) => {}
            (None, Some("")) => contact.hook = None,
            (Some(kind), Some(url)) => {
                let hook = Hook {
                    kind,
                    url: url.to_owned(),
                };
                check_hook(&hook, &self.billing.settings.hooks)?;
                contact.hook = Some(hook);
            }
            _ => {
                return Err(Error::invalid(
                    "hook_url",
                    "a hook is given with its kind and its address",
                ));
            }
        }
        if let Some(locale) = request.locale {
            contact.locale = locale;
        }
        if contact != before {
            let plain = zeroize::Zeroizing::new(crate::protocol::encode(&contact)?);
            let sealed = crypto::seal_padded(
                &*self.host.random,
                &self.contact_key(),
                &self.contact_ad(id),
                &plain,
                BUCKET,
            )?;
            let nothing = contact.email.is_none()
                && contact.hook.is_none()
                && contact.locale == Locale::default();
            let sealed = (!nothing).then_some(&sealed[..]);
            self.file
                .set_contact(id, sealed, &mut || self.event(asked))?;
        }
        Ok(ContactInfo {
            email: contact.email,
            hook: contact.hook.map(|hook| hook.kind),
            locale: contact.locale,
        })
    }

    fn contact_of(&self, account: &Id) -> Result<Option<Contact>> {
        let Some(sealed) = Ledger::contact(&*self.file, account)? else {
            return Ok(None);
        };
        let plain = crypto::open_padded(&self.contact_key(), &self.contact_ad(account), &sealed)?;
        serde_json::from_slice(&plain)
            .map(Some)
            .map_err(|_| Error::corrupt("a contact has an unknown shape"))
    }

    fn contact_key(&self) -> crate::memory::LockedKey {
        crypto::derive(&self.billing.key, "contact")
    }

    fn contact_ad(&self, account: &Id) -> Ad {
        Ad::new(Field::Contact)
            .vault(&self.file.vault_id())
            .account(account)
    }

    pub(super) fn notices(&self, asked: &Asked<'_>) -> Result<Notices> {
        let account = &asked.session.account;
        let now = self.now_ms();
        let mut notices = Vec::new();
        if self.has_tier(account) {
            let standing = self.tier_standing(account.id())?;
            let tier = self.tier_of(&standing);
            let about = |kind, days| NoticeInfo {
                kind,
                key: None,
                tier: Some(tier.id.clone()),
                at: standing.until.map(shape::time_ms),
                days,
            };
            match (
                standing.phase,
                standing.until.and_then(|end| days_left(end, now)),
            ) {
                (Phase::Paid, Some(days)) if stage(days).is_some() => {
                    notices.push(about(NoticeKind::TierEnds, days));
                }
                (Phase::Grace, _) => notices.push(about(NoticeKind::TierGrace, 0)),
                _ => {}
            }
            let keys = self.vault.count_keys(account)?;
            if self.key_limit(account)?.is_some_and(|most| keys > most) {
                notices.push(about(NoticeKind::OverLimit, 0));
            }
        }
        for record in self.expiring(account, now)? {
            if !self.may_see(asked, &record.id)? {
                continue;
            }
            let days = record.expires_at.and_then(|end| days_left(end, now));
            notices.push(NoticeInfo {
                kind: match days {
                    Some(_) => NoticeKind::KeyExpires,
                    None => NoticeKind::KeyExpired,
                },
                key: Some(record.name.to_string()),
                tier: None,
                at: record.expires_at.map(shape::time_ms),
                days: days.unwrap_or(0),
            });
        }
        notices.sort_by_key(|notice| notice.days);
        Ok(Notices { notices })
    }

    /// Keys that expired, or do so within a week.
    fn expiring(&self, account: &Unlocked, now: i64) -> Result<Vec<Record>> {
        let keep = |record: &Record| {
            record
                .expires_at
                .is_some_and(|end| days_left(end, now).is_none_or(|days| stage(days).is_some()))
        };
        // The check of the vault tells of those that do not open.
        let mut others = Vec::new();
        let damage = Damage::Noted(&mut others);
        let (records, _) = (self.vault).list_keys(account, None, None, MAX_KEYS, &keep, damage)?;
        Ok(records)
    }

    /// Claims every reminder that is due on these channels. What is claimed is sent or given back.
    pub fn claim_reminders(&self, channels: &[Channel]) -> Result<Vec<Reminder>> {
        let mut claimed = Vec::new();
        let mut after = None;
        loop {
            let rows = self.file.accounts_page(after.as_ref(), PAGE)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in rows {
                let Some(contact) = self.contact_of(&row.id)? else {
                    continue;
                };
                let standing = self.tier_standing(&row.id)?;
                if standing.phase == Phase::Paid
                    && let Some(end) = standing.until
                {
                    let tier = self.tier_of(&standing);
                    let tier = Some(match contact.locale {
                        Locale::En => tier.name,
                        Locale::Zh => tier.name_zh,
                    });
                    let about = (row.id, row.name.as_str(), TIER, end);
                    self.claim(about, (tier, None), &contact, channels, &mut claimed)?;
                }
            }
        }
        let table = self.sessions.read();
        for (_, session) in table.all() {
            if session.is_over(&*self.host.clock) {
                continue;
            }
            let account = &session.account;
            let Some(contact) = self.contact_of(account.id())? else {
                continue;
            };
            for record in self.expiring(account, self.now_ms())? {
                let Some(end) = record.expires_at else {
                    continue;
                };
                let about = (*account.id(), account.name().as_str(), record.id, end);
                let what = (None, Some(record.name.to_string()));
                self.claim(about, what, &contact, channels, &mut claimed)?;
            }
        }
        Ok(claimed)
    }

    fn claim(
        &self,
        (account, name, subject, end): (Id, &str, Id, i64),
        (tier, key): (Option<String>, Option<String>),
        contact: &Contact,
        channels: &[Channel],
        claimed: &mut Vec<Reminder>,
    ) -> Result<()> {
        let Some(days) = days_left(end, self.now_ms()) else {
            return Ok(());
        };
        let Some(stage) = stage(days) else {
            return Ok(());
        };
        for channel in channels {
            if channel.reaches(contact)
                && self
                    .file
                    .claim_reminder(&account, &subject, end, stage, channel.token())?
            {
                claimed.push(Reminder {
                    account,
                    subject,
                    ends_at: end,
                    stage,
                    name: name.to_owned(),
                    channel: *channel,
                    contact: contact.clone(),
                    tier: tier.clone(),
                    key: key.clone(),
                    days,
                    at: end,
                });
            }
        }
        Ok(())
    }

    /// Claims the news of an alert for every administrator who is reached on these channels. `since` tells one
    /// occurrence from the next, Unix milliseconds. What is claimed is sent or given back.
    pub fn claim_alert(
        &self,
        alert: &str,
        since: i64,
        channels: &[Channel],
    ) -> Result<Vec<Reminder>> {
        let mut claimed = Vec::new();
        let mut subject = Id::default();
        let tag = crypto::tag(&self.billing.key, &[b"alert", alert.as_bytes()]);
        subject.copy_from_slice(&tag[..16]);
        let mut after = None;
        loop {
            let rows = self.file.accounts_page(after.as_ref(), PAGE)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id);
            for row in rows.iter().filter(|row| row.role == Role::Admin.token()) {
                let Some(contact) = self.contact_of(&row.id)? else {
                    continue;
                };
                for channel in channels {
                    if channel.reaches(&contact)
                        && self
                            .file
                            .claim_reminder(&row.id, &subject, since, 0, channel.token())?
                    {
                        claimed.push(Reminder {
                            account: row.id,
                            subject,
                            ends_at: since,
                            stage: 0,
                            name: row.name.clone(),
                            channel: *channel,
                            contact: contact.clone(),
                            tier: None,
                            key: None,
                            days: 0,
                            at: since,
                        });
                    }
                }
            }
        }
        Ok(claimed)
    }

    /// Gives a reminder back that was not sent, so that it is tried again.
    pub fn release_reminder(&self, reminder: &Reminder) -> Result<()> {
        self.file.release_reminder(
            &reminder.account,
            &reminder.subject,
            reminder.ends_at,
            reminder.stage,
            reminder.channel.token(),
        )
    }
}
