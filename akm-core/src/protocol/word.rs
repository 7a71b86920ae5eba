//! A word of a closed list in a request: a JSON string, or null where it may be absent, and nothing else.
//!
//! serde by itself reads an enum from an object with one member as well, `{"active":null}`, which the OpenAPI document
//! does not offer.

use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer};

pub(super) fn one<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let word = String::deserialize(from)?;
    T::deserialize(word.as_str().into_deserializer())
}

pub(super) fn option<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    match Option::<String>::deserialize(from)? {
        Some(word) => T::deserialize(word.as_str().into_deserializer()).map(Some),
        None => Ok(None),
    }
}

#[cfg(all(test, feature = "openapi"))]
mod tests {
    use serde_json::{Value, json};

    use crate::protocol::{Op, Request, openapi};

    /// The words that a field of a request may be, if it is one of a closed list.
    fn words(document: &Value, schema: &Value) -> Option<String> {
        if let Some(name) = schema["$ref"].as_str() {
            return words(document, document.pointer(name.strip_prefix('#')?)?);
        }
        if let Some(first) = schema["enum"].get(0).or(schema.get("const")) {
            return first.as_str().map(str::to_owned);
        }
        let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array())?;
        choices.iter().find_map(|choice| words(document, choice))
    }

    #[test]
    fn every_word_of_a_request_is_a_string_and_nothing_else() {
        let document: Value = serde_json::from_str(&openapi::document()).unwrap();
        let mut seen = Vec::new();
        for op in Op::ALL {
            let path = &document["paths"][format!("/v1/{}", op.name())]["post"];
            let mut request = &path["requestBody"]["content"]["application/json"]["schema"];
            if let Some(name) = request["$ref"].as_str() {
                request = document.pointer(name.strip_prefix('#').unwrap()).unwrap();
            }
            for (field, schema) in request["properties"].as_object().into_iter().flatten() {
                let Some(word) = &words(&document, schema) else {
                    continue;
                };
                let fault = |value: Value| {
                    let body = json!({field: value}).to_string();
                    let error = Request::decode(*op, body.as_bytes()).err()?;
                    (error.field() == Some(field)).then(|| error.message().to_owned())
                };
                assert_eq!(fault(json!(word)), None, "{op:?} {field}: the control");
                for wrong in [
                    json!({word: null}),
                    json!({}),
                    json!([word]),
                    json!(7),
                    json!(true),
                ] {
                    let said = fault(wrong.clone());
                    assert_eq!(
                        said.as_deref(),
                        Some("a field has the wrong type"),
                        "{op:?} {field} {wrong}"
                    );
                }
                let said = fault(json!("canary"));
                assert_eq!(
                    said.as_deref(),
                    Some("a field has the wrong type or value"),
                    "{op:?} {field}"
                );
                seen.push(format!("{} {field}", op.name()));
            }
        }
        assert!(seen.contains(&"key.list status".to_owned()), "{seen:?}");
        assert!(seen.len() >= 10, "{seen:?}");
    }
}
