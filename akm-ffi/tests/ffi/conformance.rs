//! Every case through every way in, and a count that the cases leave nothing out.

use std::collections::BTreeSet;
use std::path::Path;

use akm_core::Kind;
use akm_core::protocol::{Authority, Op};

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

/// Kinds that a caller cannot bring about from outside on a healthy machine, or that only a client raises.
const ELSEWHERE: &[Kind] = &[
    Kind::LimitReached,
    Kind::Corrupt,
    Kind::RolledBack,
    Kind::UnsupportedVersion,
    Kind::Unavailable,
    Kind::Provider,
    Kind::Io,
    Kind::Internal,
    Kind::NoAgent,
    Kind::Timeout,
    Kind::Closed,
    Kind::Forked,
];

#[test]
fn the_cases_leave_no_operation_and_no_kind_out() {
    let cases = cases::all();
    let steps = || cases.iter().flat_map(|case| &case.steps);
    let kinds_of = |op: Op| -> BTreeSet<&str> {
        steps()
            .filter(|step| step.op == op.name())
            .filter_map(|step| step.expected.as_ref().err()?["kind"].as_str())
            .collect()
    };
    for op in Op::ALL {
        let succeeds = steps().any(|step| step.op == op.name() && step.expected.is_ok());
        assert!(succeeds, "{} never succeeds", op.name());
        let kinds = kinds_of(*op);
        assert!(
            kinds.contains("invalid_input"),
            "{} is never asked in a wrong way",
            op.name()
        );
        if op.authority() == Authority::Session {
            assert!(
                kinds.contains("locked"),
                "{} is never asked while locked",
                op.name()
            );
        }
    }
    let seen: BTreeSet<&str> = Op::ALL.iter().flat_map(|op| kinds_of(*op)).collect();
    let wanted: BTreeSet<&str> = Kind::ALL
        .iter()
        .filter(|kind| !ELSEWHERE.contains(kind))
        .map(|kind| kind.token())
        .collect();
    assert_eq!(seen, wanted);
}
