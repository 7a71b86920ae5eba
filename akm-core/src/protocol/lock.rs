//! Why a session ended: on the wire and in the audit.

use serde::{Deserialize, Serialize};

use super::Op;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LockReason {
    /// Somebody asked for it: `akm lock`.
    Asked,
    /// Its lifetime was over.
    Lifetime,
    /// It was not used for as long as the agent allows.
    Idle,
    /// The machine is being suspended.
    Suspend,
    /// The screen was locked.
    Screen,
    /// The agent got a signal that says so: SIGUSR1.
    Signal,
    /// The agent, or the program that had the vault inside, ended.
    Stop,
    /// The same user unlocked again, this or another account.
    Unlock,
    /// A way into the account was changed, or it was recovered.
    Credential,
    /// A backup took the vault's place.
    Restore,
}

impl LockReason {
    /// Every reason.
    pub const ALL: &'static [LockReason] = &[
        LockReason::Asked,
        LockReason::Lifetime,
        LockReason::Idle,
        LockReason::Suspend,
        LockReason::Screen,
        LockReason::Signal,
        LockReason::Stop,
        LockReason::Unlock,
        LockReason::Credential,
        LockReason::Restore,
    ];

    /// The stable token, as in `agent.status`.
    pub const fn token(self) -> &'static str {
        match self {
            LockReason::Asked => "asked",
            LockReason::Lifetime => "lifetime",
            LockReason::Idle => "idle",
            LockReason::Suspend => "suspend",
            LockReason::Screen => "screen",
            LockReason::Signal => "signal",
            LockReason::Stop => "stop",
            LockReason::Unlock => "unlock",
            LockReason::Credential => "credential",
            LockReason::Restore => "restore",
        }
    }

    /// The action in the audit: the operation where somebody asked, else its name with the reason behind.
    pub const fn action(self) -> &'static str {
        match self {
            LockReason::Asked => Op::AgentLock.name(),
            LockReason::Lifetime => "agent.lock.lifetime",
            LockReason::Idle => "agent.lock.idle",
            LockReason::Suspend => "agent.lock.suspend",
            LockReason::Screen => "agent.lock.screen",
            LockReason::Signal => "agent.lock.signal",
            LockReason::Stop => "agent.lock.stop",
            LockReason::Unlock => "agent.lock.unlock",
            LockReason::Credential => "agent.lock.credential",
            LockReason::Restore => "agent.lock.restore",
        }
    }
}
