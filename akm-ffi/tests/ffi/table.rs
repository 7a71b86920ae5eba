//! The operation table through every transport: a name that one of them does not know fails here.

use akm_core::client::Client;
use akm_core::protocol::Op;
use serde_json::{Value, json};

use crate::agent::{self, Agent};
use crate::c;
use crate::drivers::{Http, Program, Way};

/// What an operation asked with a field that none has must answer: the operation was found, and it read the request.
fn is_known(op: Op, answer: &Result<Value, Value>) {
    let kind = answer
        .as_ref()
        .err()
        .and_then(|error| error["kind"].as_str());
    assert_eq!(kind, Some("invalid_input"), "{}: {answer:?}", op.name());
}

#[test]
fn every_operation_is_reached_through_http_the_c_abi_and_the_client() {
    let agent = Agent::with_key();
    let unknown = json!({"no operation has this field": 1});

    let mut http = Http::default();
    http.begin(&agent.socket);
    let mut connected = Program::start(c::program(), false);
    connected.begin(&agent.socket);
    let mut client = Client::connect(Some(&agent.socket)).unwrap();

    let home = agent::home();
    let mut embedded = Program::start(c::program(), true);
    embedded.begin(&home.path().join("vault.db"));

    for op in Op::ALL {
        is_known(*op, &http.call(op.name(), &unknown));
        is_known(*op, &connected.call(op.name(), &unknown));
        is_known(*op, &embedded.call(op.name(), &unknown));
        let error = client
            .call_raw(op.name(), unknown.to_string().as_bytes())
            .unwrap_err();
        is_known(*op, &Err(serde_json::to_value(&error).unwrap()));
    }

    // The control: a name that is not in the table answers otherwise, everywhere alike.
    let nothing = json!({});
    let kinds = [
        http.call("key.steal", &nothing),
        connected.call("key.steal", &nothing),
        embedded.call("key.steal", &nothing),
    ]
    .map(|answer| answer.unwrap_err()["kind"].clone());
    assert_eq!(kinds, ["not_found", "not_found", "not_found"]);
    assert_eq!(
        client.call_raw("key.steal", b"{}").unwrap_err().kind(),
        akm_core::Kind::NotFound
    );
}
