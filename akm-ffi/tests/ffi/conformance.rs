//! Every case through every way in, and a count that the cases leave nothing out.

use std::collections::BTreeSet;
use std::path::Path;

use akm_core::Kind;
use akm_core::protocol::{Authority, Op};

use crate::cases::Case;
use crate::drivers::{Connected, Embedded, Http, Program};
use crate::{c, cases, node, python, tools};

#[test]
fn rust_embedded() {
    cases::run_all(&mut Embedded::default());
}

#[test]
fn rust_connected() {
    cases::run_all(&mut Connected::default());
}

#[test]
fn http() {
    cases::run_all(&mut Http::default());
}

#[test]
fn c_embedded() {
    cases::run_all(&mut Program::start(c::program(), true));
}

#[test]
fn c_connected() {
    cases::run_all(&mut Program::start(c::program(), false));
}

#[test]
fn python_embedded() {
    if tools::have("python3") {
        cases::run_all(&mut Program::start(
            python::command(driver("driver.py")),
            true,
        ));
    }
}

#[test]
fn python_connected() {
    if tools::have("python3") {
        cases::run_all(&mut Program::start(
            python::command(driver("driver.py")),
            false,
        ));
    }
}

#[test]
fn node_embedded() {
    if tools::have("node") && tools::have("npm") {
        cases::run_all(&mut Program::start(
            node::command(driver("driver.mjs")),
            true,
        ));
    }
}

#[test]
fn node_connected() {
    if tools::have("node") && tools::have("npm") {
        cases::run_all(&mut Program::start(
            node::command(driver("driver.mjs")),
            false,
        ));
    }
}

fn driver(name: &str) -> impl AsRef<Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/drivers")
        .join(name)
}

/// The kinds of error that the cases must bring about, for each operation, beside `corrupt` (see [`UNHARMED`]). An operation
/// that is added has no case yet and does not compile without a line here; a kind that an operation learns is added here and
/// in a case.
fn kinds(op: Op) -> &'static [Kind] {
    use Kind::{
        Conflict, Denied, InvalidInput, LimitReached, Locked, NotFound, RateLimited, RolledBack,
        Unavailable, UnsupportedVersion, WrongCredentials,
    };
    match op {
        Op::AgentStatus | Op::AgentLock | Op::ProviderList => &[InvalidInput],
        Op::ModelList => &[InvalidInput, NotFound],
        Op::AccountRegister => &[Conflict, InvalidInput, RolledBack],
        Op::AgentUnlock | Op::AccountRecover => {
            &[InvalidInput, RateLimited, RolledBack, WrongCredentials]
        }
        Op::AccountPassphrase | Op::TotpCodes | Op::VaultRekey => {
            &[Locked, InvalidInput, RateLimited, WrongCredentials]
        }
        Op::TotpConfirm => &[Locked, InvalidInput, Conflict, WrongCredentials],
        Op::KeyfileShow => &[Locked, InvalidInput],
        Op::KeyfileEnable | Op::KeyfileDisable | Op::TotpEnable | Op::TotpDisable => &[
            Locked,
            InvalidInput,
            Conflict,
            RateLimited,
            WrongCredentials,
        ],
        Op::KeyAdd => &[Locked, InvalidInput, Conflict, LimitReached],
        Op::KeyUpdate => &[
            Locked,
            InvalidInput,
            NotFound,
            Conflict,
            Denied,
            WrongCredentials,
        ],
        Op::KeyGet | Op::KeyCopy | Op::ProviderTest | Op::ProviderBalance => {
            &[Locked, InvalidInput, NotFound, Denied]
        }
        Op::PolicyShow | Op::GrantList => &[Locked, InvalidInput],
        Op::PolicySet => &[Locked, InvalidInput, Denied, WrongCredentials],
        Op::GrantAdd => &[Locked, InvalidInput, NotFound, WrongCredentials],
        Op::GrantRemove => &[Locked, InvalidInput, NotFound],
        Op::ProviderAdd => &[Locked, InvalidInput, Conflict],
        Op::ProviderRemove => &[Locked, InvalidInput, NotFound, Denied],
        Op::ProviderShow | Op::KeyShow | Op::KeyRotate | Op::KeyRemove | Op::KeyHistory => {
            &[Locked, InvalidInput, NotFound]
        }
        Op::VaultExport => &[
            Locked,
            InvalidInput,
            NotFound,
            Denied,
            RateLimited,
            WrongCredentials,
        ],
        Op::VaultImport | Op::HandoverReceive => {
            &[Locked, InvalidInput, NotFound, Conflict, LimitReached]
        }
        Op::HandoverOffer => &[Locked, InvalidInput],
        Op::HandoverSend => &[
            Locked,
            InvalidInput,
            NotFound,
            Denied,
            RateLimited,
            WrongCredentials,
        ],
        Op::KeyList
        | Op::AuditList
        | Op::AuditCheckpoint
        | Op::BackupCreate
        | Op::BackupSchedule
        | Op::VaultCheck => &[Locked, InvalidInput],
        Op::AuditVerify => &[Locked, InvalidInput, UnsupportedVersion],
        // Unavailable where there is no dashboard, so no case asks for one.
        Op::BillingTiers | Op::AdminOrders => &[InvalidInput],
        Op::BillingStatus | Op::BillingOrders | Op::BillingContact | Op::BillingNotices => {
            &[Locked, InvalidInput]
        }
        // Nothing is sold without a configuration, which `akm-core/tests/billing/` has.
        Op::BillingOrderLink | Op::BillingRedeem => &[Locked, InvalidInput, NotFound],
        Op::BillingCodesCreate | Op::AdminTier | Op::AdminCodes | Op::AdminCodeRevoke => {
            &[InvalidInput, NotFound]
        }
        // An agent that serves no accounts has no business with them; `akm-core/tests/administration.rs` has one that does.
        Op::AdminProviderPut | Op::AdminRemove => &[InvalidInput, Unavailable],
        Op::AdminProviderRemove => &[InvalidInput, Denied, Unavailable],
        Op::AdminStatus => &[InvalidInput],
        Op::AccountRemove => &[Locked, InvalidInput, WrongCredentials],
        Op::BillingOrderResolve => &[InvalidInput, NotFound],
        Op::BackupList | Op::UiOpen | Op::AdminAccounts | Op::AdminInvite | Op::AdminLog => {
            &[InvalidInput]
        }
        Op::SessionList => &[Locked, InvalidInput],
        Op::SessionRevoke => &[Locked, InvalidInput, NotFound],
        Op::AdminGrant | Op::AdminAccount => &[InvalidInput, NotFound],
        Op::BackupVerify => &[InvalidInput, NotFound, UnsupportedVersion],
        Op::BackupRestore => &[
            InvalidInput,
            NotFound,
            Conflict,
            RateLimited,
            UnsupportedVersion,
            WrongCredentials,
        ],
    }
}

/// The operations that a damaged file is nothing to. All others are `corrupt` where the vault is damaged, or the backup.
const UNHARMED: [Op; 2] = [Op::AgentStatus, Op::BackupList];

#[test]
fn the_cases_bring_about_every_kind_of_every_operation() {
    let cases = cases::all();
    for op in Op::ALL {
        let steps = || {
            cases
                .iter()
                .flat_map(Case::calls)
                .filter(|step| step.op == op.name())
        };
        let elsewhere = [
            // A copy needs a display: `akm-agent/tests/clipboard.rs` makes one.
            Op::KeyCopy,
            // A link to the dashboard needs an agent: `akm-agent/tests/web/` has one.
            Op::UiOpen,
            // And these something that is sold.
            Op::BillingOrderLink,
            Op::BillingRedeem,
            Op::BillingCodesCreate,
            Op::BillingOrderResolve,
            Op::AdminTier,
            Op::AdminCodes,
            Op::AdminCodeRevoke,
            // And these a server.
            Op::AdminProviderPut,
            Op::AdminProviderRemove,
            Op::AdminRemove,
        ];
        assert!(
            elsewhere.contains(op) || steps().any(|step| step.expected.is_ok()),
            "{} never succeeds",
            op.name()
        );
        let seen: BTreeSet<&str> = steps()
            .filter_map(|step| step.expected.as_ref().err()?["kind"].as_str())
            .collect();
        let mut wanted: BTreeSet<&str> = kinds(*op).iter().map(|kind| kind.token()).collect();
        if !UNHARMED.contains(op) {
            wanted.insert(Kind::Corrupt.token());
        }
        assert_eq!(seen, wanted, "{}", op.name());
        assert_eq!(
            wanted.contains("locked"),
            op.authority() == Authority::Session,
            "{}",
            op.name()
        );
    }
}
