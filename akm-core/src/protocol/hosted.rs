//! Which operations a network listener offers.
//!
//! A list of what is offered, not of what is not: an operation that is added is refused there until somebody thought
//! about who asks for it over the network, and wrote it down here. What is about the machine rather than about an
//! account (backups of everybody's keys, the clipboard, files of the state directory) stays with the owner on the host.

use super::Op;

/// To whom a network listener offers an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// To nobody.
    Never,
    /// To whoever has a session, and past that to whom the table says.
    Session,
    /// To whoever has a session, also while its account has no TOTP although the server asks for that: what leads there.
    Entering,
    /// To anybody who reaches the listener.
    Anyone,
}

/// To whom a network listener offers this operation.
pub const fn offered(op: Op) -> Offered {
    match op {
        Op::AgentStatus
        | Op::AgentUnlock
        | Op::AgentLock
        | Op::AccountRegister
        | Op::AccountRecover
        | Op::BillingTiers => Offered::Anyone,
        Op::TotpEnable | Op::TotpConfirm | Op::SessionList | Op::SessionRevoke => Offered::Entering,
        Op::AccountPassphrase
        | Op::TotpDisable
        | Op::TotpCodes
        | Op::KeyAdd
        | Op::KeyGet
        | Op::KeyShow
        | Op::KeyList
        | Op::KeyUpdate
        | Op::KeyRotate
        | Op::KeyRemove
        | Op::KeyHistory
        | Op::VaultExport
        | Op::VaultImport
        | Op::HandoverOffer
        | Op::HandoverSend
        | Op::HandoverReceive
        | Op::VaultCheck
        | Op::VaultRekey
        | Op::ProviderList
        | Op::ModelList
        | Op::ProviderAdd
        | Op::ProviderShow
        | Op::ProviderRemove
        | Op::ProviderTest
        | Op::ProviderBalance
        | Op::AuditList
        | Op::AuditVerify
        | Op::AdminAccounts
        | Op::AdminAccount
        | Op::AdminInvite
        | Op::AdminLog
        | Op::AdminStatus
        | Op::AdminTier
        | Op::AdminCodes
        | Op::AdminCodeRevoke
        | Op::AdminProviderPut
        | Op::AdminProviderRemove
        | Op::AdminRemove
        | Op::AccountRemove
        | Op::BillingStatus
        | Op::BillingOrders
        | Op::BillingOrderLink
        | Op::BillingRedeem
        | Op::BillingContact
        | Op::BillingNotices
        | Op::AdminOrders
        | Op::BillingCodesCreate
        | Op::BillingOrderResolve => Offered::Session,
        // Among them whatever was added since and nobody thought about.
        _ => Offered::Never,
    }
}
