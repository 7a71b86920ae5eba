//! What an account may do, as far as that is not sealed: its role, whether it is disabled, a limit of keys; and
//! invitations to create one.
//!
//! All of it stands in clear, beside the account and not inside: an administrator changes it without any key of the
//! account. Whoever can write the file can change it too, and gains by that what an administrator has: no key of anybody.

use crate::crypto;
use crate::error::{Kind, Result};
use crate::name::AccountName;
use crate::secret::Secret;
use crate::store::{AccountCard, BeforeCommit, Id, Standing, StandingChange, Tag};

use super::Vault;

/// Random bytes of an invitation.
const INVITATION: usize = 20;
/// Longest text that is looked up as one.
const MAX_INVITATION: usize = 64;

impl Vault {
    /// What an account may do.
    pub fn standing(&self, account: &Id) -> Result<Standing> {
        self.store.standing(account)
    }

    /// Changes what an account may do.
    pub fn change_standing(
        &self,
        account: &str,
        change: &StandingChange,
        before_commit: BeforeCommit<'_>,
    ) -> Result<AccountCard> {
        let name = AccountName::parse(account, "account")?;
        let card = self
            .store
            .change_standing(name.as_str(), change, before_commit);
        card.map_err(|error| {
            if error.kind() == Kind::NotFound {
                error.with_field("account")
            } else {
                error
            }
        })
    }

    /// Accounts by name, after `after`.
    pub fn account_cards(&self, after: &str, limit: u32) -> Result<Vec<AccountCard>> {
        self.store.account_cards(after, limit)
    }

    /// Makes an invitation, of which the store keeps a keyed digest.
    pub fn invite(
        &self,
        uses: u32,
        expires_at: i64,
        before_commit: BeforeCommit<'_>,
    ) -> Result<Secret> {
        let mut bytes = [0; INVITATION];
        self.host.random.fill(&mut bytes);
        let text = Secret::new(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase());
        let tag = self.invitation_tag(&text);
        self.store
            .add_invitation(&tag, uses, expires_at, self.now_ms(), before_commit)?;
        Ok(text)
    }

    /// The digest under which an invitation is kept. A text that is far too long to be one is as good as any other.
    pub fn invitation_tag(&self, text: &Secret) -> Tag {
        let text = text.expose();
        let text = &text[..text.floor_char_boundary(MAX_INVITATION)];
        let folded = text.to_ascii_lowercase();
        crypto::tag(&self.host_key, &[b"invitation", folded.as_bytes()])
    }

    /// Whether an invitation is good for an account now.
    pub fn is_invited(&self, tag: &Tag) -> Result<bool> {
        self.store.is_invited(tag, self.now_ms())
    }
}
