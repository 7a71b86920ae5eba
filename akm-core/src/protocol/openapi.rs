//! The OpenAPI document, derived from the operation table and the types of its rows.

use serde_json::{Map, Value, json};

use super::{Audit, Authority, MAX_REQUEST};
use crate::error::{Error, Kind};

/// The document as JSON text.
pub fn document() -> String {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    let error = generator.subschema_for::<Error>();
    for (op, request, result) in super::schemas(&mut generator) {
        let failure = json!({
            "type": "object",
            "required": ["ok", "error"],
            "properties": { "ok": { "const": false }, "error": error },
        });
        let mut responses = Map::new();
        responses.insert(
            "200".into(),
            answer(
                "done",
                json!({
                    "type": "object",
                    "required": ["ok", "result"],
                    "properties": { "ok": { "const": true }, "result": result },
                }),
            ),
        );
        for kind in Kind::ALL.iter().filter(|kind| kind.http_status() != 0) {
            let status = kind.http_status().to_string();
            responses
                .entry(status)
                .or_insert_with(|| answer("an error; its kind says what to do", failure.clone()));
        }
        for (status, what) in [
            ("405", "only POST asks for an operation"),
            ("415", "over the network: the body is not said to be JSON"),
            ("421", "over the network: the server has another name"),
        ] {
            responses.insert(status.into(), answer(what, failure.clone()));
        }
        responses.insert("413".into(), answer("the body is too large", failure));
        let operation = json!({
            "operationId": op.name(),
            "x-akm-session": op.authority() == Authority::Session,
            "x-akm-audited": op.audit() == Audit::Audited,
            "requestBody": {
                "required": true,
                "content": { "application/json": { "schema": request } },
            },
            "responses": responses,
        });
        paths.insert(format!("/v1/{}", op.name()), json!({ "post": operation }));
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "akm agent",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("ssh-agent for API keys. A body is at most {MAX_REQUEST} bytes."),
        },
        "paths": paths,
        "components": { "schemas": Value::Object(generator.take_definitions(true)) },
    });
    document.to_string()
}

fn answer(description: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Op;

    #[test]
    fn every_operation_is_described_and_every_reference_resolves() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["paths"].as_object().unwrap().len(), Op::ALL.len());
        fn walk(value: &Value, root: &Value, seen: &mut usize) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(root.pointer(pointer).is_some(), "{reference}");
                        *seen += 1;
                    }
                    map.values().for_each(|value| walk(value, root, seen));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, root, seen)),
                _ => {}
            }
        }
        let mut seen = 0;
        walk(&document, &document, &mut seen);
        assert!(
            seen > Op::ALL.len(),
            "control: there are references to resolve"
        );
    }
}
