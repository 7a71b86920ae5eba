//! Bytes to requests, answers to bytes: strict on the way in, and nothing a sender wrote comes back in an error.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{Fields, Response};
use crate::error::{Error, Kind, Result};

/// The answer to any request, as bytes: `{"ok":true,"result":…}` or `{"ok":false,"error":…}`.
pub fn envelope(answer: &Result<Response>) -> Vec<u8> {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return error_envelope(error),
    };
    // Room for most answers at once: growing copies what may be a secret.
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(512));
    out.extend_from_slice(br#"{"ok":true,"result":"#);
    match response.write_json(&mut out) {
        Ok(()) => {
            out.push(b'}');
            std::mem::take(&mut *out)
        }
        Err(error) => error_envelope(&error),
    }
}

fn error_envelope(error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Failure<'a> {
        ok: bool,
        error: &'a Error,
    }
    serde_json::to_vec(&Failure { ok: false, error })
        .unwrap_or_else(|_| br#"{"ok":false,"error":{"kind":"internal","message":"the error could not be written"}}"#.to_vec())
}

/// Takes an answer apart: the bytes of the result, or the error.
pub fn open_envelope(body: &[u8]) -> Result<&serde_json::value::RawValue> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        ok: bool,
        #[serde(borrow)]
        result: Option<&'a serde_json::value::RawValue>,
        error: Option<Error>,
    }
    const FOREIGN: Error = Error::new(Kind::Unavailable, "the answer is not one of an akm agent");
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| FOREIGN)?;
    match (envelope.ok, envelope.result, envelope.error) {
        (true, Some(result), None) => Ok(result),
        (false, None, Some(error)) => Err(error),
        _ => Err(FOREIGN),
    }
}

/// Serializes a request body or a result.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    encode_into(value, &mut out)?;
    Ok(out)
}

/// How many bytes [`encode`] would write.
pub(crate) fn encoded_length<T: Serialize>(value: &T) -> Result<usize> {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_err(|_| UNWRITABLE)?;
    Ok(count.0)
}

pub(super) fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|_| UNWRITABLE)
}

const UNWRITABLE: Error = Error::internal("a value could not be written as JSON");

/// Reads a result; unknown fields are ignored.
pub fn decode_result<T: DeserializeOwned>(json: &serde_json::value::RawValue) -> Result<T> {
    serde_json::from_str(json.get()).map_err(|_| {
        Error::new(
            Kind::Unavailable,
            "the result does not have the expected shape",
        )
    })
}

/// Reads a request; the error names the field at fault by its own literal, never by what was sent.
pub(super) fn decode_object<T: DeserializeOwned + Fields>(body: &[u8]) -> Result<T> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    // serde reads a struct from an array as well; the contract says object.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::new(
            Kind::InvalidInput,
            "the request is not a JSON object",
        ));
    }
    if std::str::from_utf8(body).is_err() {
        return Err(Error::new(Kind::InvalidInput, "the request is not UTF-8"));
    }
    // Almost every request is right; where one fails is found out when it does.
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    // Our own literal for a field name, so that nothing a sender wrote comes back in an error.
    let field_literal = |name: &str| T::FIELDS.iter().copied().find(|field| *field == name);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().iter().find_map(|segment| match segment {
            serde_path_to_error::Segment::Map { key } => field_literal(key),
            _ => None,
        });
        let error = error.into_inner();
        let text = error.to_string();
        // serde quotes the field in backticks: ours in the first two cases, the sender's in the third.
        let quoted = text.split('`').nth(1).and_then(field_literal);
        if text.starts_with("missing field") {
            named("a required field is missing", quoted)
        } else if text.starts_with("duplicate field") {
            named("a field stands twice", quoted)
        } else if text.starts_with("unknown field") {
            // A field of another operation is our literal too; of one within a field, that field is named.
            let elsewhere = || text.split('`').nth(1).and_then(super::field_of_any);
            named(
                "a field is unknown to this operation",
                path.or_else(elsewhere),
            )
        } else if error.is_data() || serde_json::from_slice::<IgnoredAny>(body).is_ok() {
            // serde_json calls a number that no type can hold a fault of the syntax, too.
            // A word that is none of its values, a number out of its range: the type is right there.
            match text.starts_with("invalid type") {
                true => named("a field has the wrong type", path),
                false => named("a field has the wrong type or value", path),
            }
        } else {
            Error::new(Kind::InvalidInput, "the request is not valid JSON")
        }
    })?;
    reader
        .end()
        .map_err(|_| Error::new(Kind::InvalidInput, "something follows the request"))?;
    Ok(value)
}

fn named(message: &'static str, field: Option<&'static str>) -> Error {
    match field {
        Some(field) => Error::invalid(field, message),
        None => Error::new(Kind::InvalidInput, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Empty, KeySecret, Op, Request};
    use crate::secret::Secret;

    #[test]
    fn an_unknown_field_is_named_where_it_is_one_of_ours() {
        let field = |body: &[u8]| {
            let error = Request::decode(Op::KeyGet, body).unwrap_err();
            assert_eq!(error.message(), "a field is unknown to this operation");
            error.field().map(str::to_owned)
        };
        assert_eq!(
            field(br#"{"name": "openai", "use_only": true}"#).as_deref(),
            Some("use_only")
        );
        assert_eq!(field(br#"{"name": "openai", "sk-canary": true}"#), None);
        assert_eq!(field(br#"{"name": "openai", "`sk-canary`": true}"#), None);
    }

    #[test]
    fn names_are_unique_and_found() {
        for op in Op::ALL {
            assert_eq!(Op::from_name(op.name()), Some(*op));
        }
        assert_eq!(Op::from_name("key.steal"), None);
    }

    #[test]
    fn null_stands_for_every_optional_field_of_a_new_key() {
        // What is required, and what is not: found by leaving each field out.
        let all = r#"{"name":"a","secret":"b","categories":["c"]}"#;
        assert!(Request::decode(Op::KeyAdd, all.as_bytes()).is_ok());
        let mut optional = 0;
        for field in <crate::protocol::KeyAdd as crate::protocol::Fields>::FIELDS {
            let body = match *field {
                "name" => r#"{"name":null,"secret":"b"}"#.to_owned(),
                "secret" => r#"{"name":"a","secret":null}"#.to_owned(),
                field => {
                    optional += 1;
                    format!(r#"{{"name":"a","secret":"b","{field}":null}}"#)
                }
            };
            let decoded = Request::decode(Op::KeyAdd, body.as_bytes());
            match ["name", "secret"].contains(field) {
                true => assert_eq!(decoded.unwrap_err().field(), Some(*field)),
                false => assert!(decoded.is_ok(), "{field}"),
            }
        }
        assert!(optional > 5, "{optional}");
        let wrong = r#"{"name":"a","secret":"b","categories":"c"}"#;
        let error = Request::decode(Op::KeyAdd, wrong.as_bytes()).unwrap_err();
        assert_eq!(error.field(), Some("categories"));
    }

    #[test]
    fn decoding_names_the_field_and_echoes_nothing() {
        let case = |body: &str| Request::decode(Op::KeyAdd, body.as_bytes()).unwrap_err();
        assert_eq!(case(r#"{"name":"openai"}"#).field(), Some("secret"));
        assert_eq!(
            case(r#"{"name":"a","name":"b","secret":"c"}"#).field(),
            Some("name")
        );
        assert_eq!(case(r#"{"name":7,"secret":"c"}"#).field(), Some("name"));
        assert_eq!(
            case(r#"{"name":"a","secret":["canary"]}"#).field(),
            Some("secret")
        );
        let list = |body: &str| Request::decode(Op::KeyList, body.as_bytes()).unwrap_err();
        for (body, field, message) in [
            (r#"{"limit":"7"}"#, "limit", "a field has the wrong type"),
            (r#"{"status":7}"#, "status", "a field has the wrong type"),
            (
                r#"{"limit":1e999}"#,
                "limit",
                "a field has the wrong type or value",
            ),
            (
                r#"{"provider":"\ud800"}"#,
                "provider",
                "a field has the wrong type or value",
            ),
            (
                r#"{"limit":-1}"#,
                "limit",
                "a field has the wrong type or value",
            ),
            (
                r#"{"status":"canary"}"#,
                "status",
                "a field has the wrong type or value",
            ),
        ] {
            let error = list(body);
            assert_eq!(
                (error.field(), error.message()),
                (Some(field), message),
                "{body}"
            );
        }
        for body in [
            r#"{"name":"a","secret":"b","canary":1}"#,
            "canary",
            "[\"canary\"]",
            "{\"name\":canary",
            "{} canary",
            r#"{"name":"a","secret":"b"} {"canary":1}"#,
            r#"{"name":{"canary":1},"secret":"b"}"#,
            r#"{"name":"a","secret":"b","use_only":"canary"}"#,
        ] {
            let error = case(body);
            assert_eq!(error.kind(), Kind::InvalidInput, "{body}");
            assert!(
                !format!("{error:?}").contains("canary"),
                "{body}: {error:?}"
            );
        }
        assert!(Request::decode(Op::AgentStatus, b"").is_ok());
        assert!(Request::decode(Op::KeyGet, b"{\"name\":\"\xff\"}").is_err());
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let body = br#"{"name":"openai","secret":"canary"}"#;
        let request = Request::decode(Op::KeyAdd, body).unwrap();
        assert!(!format!("{request:?}").contains("canary"));
        let response = Response::KeyGet(KeySecret {
            name: "openai/default".into(),
            secret: Secret::new("canary".into()),
        });
        assert!(!format!("{response:?}").contains("canary"));
        let json = String::from_utf8(envelope(&Ok(response))).unwrap();
        assert_eq!(
            json,
            r#"{"ok":true,"result":{"name":"openai/default","secret":"canary"}}"#
        );
    }

    #[test]
    fn answers_come_apart_again() {
        let error = Error::invalid("name", "bad").with_retry_after(3);
        assert_eq!(
            open_envelope(&envelope(&Err(error.clone()))).unwrap_err(),
            error
        );
        let ok = envelope(&Ok(Response::AgentLock(Empty {})));
        let _: Empty = decode_result(open_envelope(&ok).unwrap()).unwrap();
        assert_eq!(open_envelope(b"{}").unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(
            open_envelope(b"<html>").unwrap_err().kind(),
            Kind::Unavailable
        );
    }
}
