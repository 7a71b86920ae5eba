//! A store of which a test decides what happens at which call: it is refused, or something else comes first.

use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::store::{
    AccountCard, AccountChange, AccountRow, Attempts, BeforeCommit, EventRow, HistoryRow, Id,
    KeyHead, KeyRow, LastTestRow, ProviderRow, ResealedKey, SlotRow, SqliteStore, Standing,
    StandingChange, Store, Tag, TreeChange,
};

type Hook = Box<dyn FnMut() + Send>;

/// The store, and the hands that hold it.
pub(super) struct Hands {
    inner: Arc<SqliteStore>,
    plan: Mutex<Plan>,
    /// Runs before the first call of this name, once.
    hook: Mutex<Option<(&'static str, Hook)>>,
}

#[derive(Default)]
struct Plan {
    /// How many calls go through before one is refused.
    before: Option<usize>,
    refused: Option<&'static str>,
}

impl Hands {
    pub(super) fn over(inner: Arc<SqliteStore>) -> Hands {
        Hands {
            inner,
            plan: Mutex::default(),
            hook: Mutex::default(),
        }
    }

    pub(super) fn inner(&self) -> &SqliteStore {
        &self.inner
    }

    pub(super) fn shared(&self) -> &Arc<SqliteStore> {
        &self.inner
    }

    /// The call after `before` others fails, once.
    pub(super) fn refuse(&self, before: usize) {
        *self.plan.lock().unwrap() = Plan {
            before: Some(before),
            refused: None,
        };
    }

    /// Ends it; says which call was refused, if it came to that.
    pub(super) fn relent(&self) -> Option<&'static str> {
        std::mem::take(&mut *self.plan.lock().unwrap()).refused
    }

    pub(super) fn meanwhile(&self, call: &'static str, hook: impl FnMut() + Send + 'static) {
        *self.hook.lock().unwrap() = Some((call, Box::new(hook)));
    }

    /// A step that may be refused: a call of the store, or the event of a change.
    pub(super) fn step(&self, call: &'static str) -> Result<()> {
        let hook = {
            let mut hook = self.hook.lock().unwrap();
            hook.take_if(|(at, _)| *at == call)
        };
        if let Some((_, mut hook)) = hook {
            hook();
        }
        let mut plan = self.plan.lock().unwrap();
        match plan.before {
            Some(0) => {
                *plan = Plan {
                    before: None,
                    refused: Some(call),
                };
                Err(Error::new(Kind::Io, "the disk does not answer"))
            }
            Some(before) => {
                plan.before = Some(before - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

macro_rules! through {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Store for Hands {
            fn vault_id(&self) -> Id {
                self.inner.vault_id()
            }

            fn changes(&self) -> u64 {
                self.inner.changes()
            }

            $(fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                self.step(stringify!($name))?;
                self.inner.$name($($argument),*)
            })*
        }
    };
}

through! {
    account_count() -> u64;
    account_by_name(name: &str) -> Option<AccountRow>;
    account_or_other(name: &str, other: &Id) -> Option<AccountRow>;
    account(id: &Id) -> Option<AccountRow>;
    accounts_page(after: Option<&Id>, limit: u32) -> Vec<AccountRow>;
    slots(account: &Id) -> Vec<SlotRow>;
    create_account(account: &AccountRow, slots: &[SlotRow], event: BeforeCommit<'_>) -> ();
    create_invited_account(
        account: &AccountRow, slots: &[SlotRow], invitation: &Tag, event: BeforeCommit<'_>
    ) -> ();
    standing(account: &Id) -> Standing;
    change_standing(name: &str, change: &StandingChange, event: BeforeCommit<'_>) -> AccountCard;
    account_cards(after: &str, limit: u32) -> Vec<AccountCard>;
    add_invitation(tag: &Tag, uses: u32, expires_at: i64, now: i64, event: BeforeCommit<'_>) -> ();
    is_invited(tag: &Tag, now: i64) -> bool;
    change_account(
        id: &Id, change: &AccountChange, tree: &TreeChange, event: BeforeCommit<'_>
    ) -> ();
    use_totp_step(account: &Id, step: u64) -> bool;
    change_attempts(tags: &[Tag], decide: &mut dyn FnMut(&mut [Attempts])) -> ();
    familiar(account: &Id) -> Vec<Tag>;
    add_familiar(account: &Id, tag: &Tag, most: u32) -> ();
    key_count(account: &Id) -> u64;
    key_by_tag(account: &Id, tag: &Tag) -> Option<KeyRow>;
    insert_keys(
        rows: &[KeyRow], limit: Option<u64>, tree: &TreeChange, event: BeforeCommit<'_>
    ) -> ();
    update_key(
        row: &KeyRow, from: u64, history: Option<&HistoryRow>, tree: &TreeChange,
        event: BeforeCommit<'_>
    ) -> ();
    reseal_keys(account: &Id, keys: &[ResealedKey], tree: &TreeChange) -> ();
    remove_key(
        account: &Id, id: &Id, from: u64, tree: &TreeChange, event: BeforeCommit<'_>
    ) -> ();
    rows_page(account: &Id, after: Option<&Id>, limit: u32) -> Vec<KeyRow>;
    tree_node(account: &Id, number: i64) -> Option<Vec<u8>>;
    keys_page(
        account: &Id, provider: Option<&Tag>, after: Option<&Id>, limit: u32
    ) -> Vec<KeyHead>;
    history(account: &Id, key: &Id) -> Vec<HistoryRow>;
    keep_test(account: &Id, key: &Id, version: u64, sealed: &[u8]) -> ();
    last_tests(account: &Id, first: &Id, last: &Id) -> Vec<LastTestRow>;
    provider_by_tag(account: &Id, tag: &Tag) -> Option<ProviderRow>;
    providers(account: &Id, most: u32) -> Vec<ProviderRow>;
    insert_provider(
        account: &Id, row: &ProviderRow, most: u32, event: BeforeCommit<'_>
    ) -> ();
    remove_provider(account: &Id, tag: &Tag, id: &Id, event: BeforeCommit<'_>) -> ();
    fold_events(events: &[EventRow]) -> ();
    last_event(chain: &Id) -> Option<EventRow>;
    events(
        chain: &Id, after: u64, since: Option<i64>, action: Option<&str>, limit: u32
    ) -> Vec<EventRow>;
    checkpoint() -> ();
}
