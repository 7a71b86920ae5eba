//! What the log records beside operations: what akm itself noticed or did, each under a name that is no operation.
//!
//! The one list of them: whoever writes such an event takes its name from here, so whoever filters the log can ask for
//! every name that stands in it.

use crate::protocol::{LockReason, Op};

macro_rules! noted {
    ($($(#[$doc:meta])* $name:ident = $action:literal;)*) => {
        /// Something that is recorded and is no operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Noted {
            $($(#[$doc])* $name,)*
            /// A session ended, for this reason.
            Lock(LockReason),
        }

        impl Noted {
            /// All of them but the ends of sessions.
            const ALL: &'static [Noted] = &[$(Noted::$name),*];

            /// The name in the log.
            pub const fn action(self) -> &'static str {
                match self {
                    $(Noted::$name => $action,)*
                    Noted::Lock(reason) => reason.action(),
                }
            }
        }
    };
}

noted! {
    /// The journal's last write was cut off.
    UncleanShutdown = "audit.unclean_shutdown";
    /// The journal, or a part of it, had to be kept as evidence.
    JournalDamaged = "audit.journal_damaged";
    /// This machine saw the account for the first time.
    FirstUse = "vault.first_use";
    /// A restored backup was taken up.
    Restored = "vault.restored";
    /// An older or changed vault was accepted.
    RollbackAccepted = "vault.rollback_accepted";
    /// The check of all keys in the background found something.
    Check = "vault.check";
    /// An account that this machine has seen is missing from the vault.
    AccountMissing = "vault.account_missing";
    /// A rekey came to its end.
    Rekeyed = "vault.rekeyed";
    /// A push of a payment provider was refused.
    PushRefused = "order.push";
    /// An order waits for somebody to look at it.
    OrderHeld = "order.held";
    /// An order was paid.
    OrderPaid = "order.paid";
    /// An order was refunded.
    OrderRefunded = "order.refunded";
    /// An order was dismissed.
    OrderDismissed = "order.dismissed";
}

/// Every name that can stand in the log.
pub fn actions() -> impl Iterator<Item = &'static str> {
    let locks = LockReason::ALL.iter().map(|reason| Noted::Lock(*reason));
    Noted::ALL
        .iter()
        .copied()
        .chain(locks)
        .map(Noted::action)
        .chain(Op::ALL.iter().map(|op| op.name()))
}
