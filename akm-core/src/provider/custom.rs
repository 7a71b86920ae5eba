//! Records that a user writes: the same schema and the same check as the built-in ones, and no way to
//! stand in for one of those.
//!
//! Invariants: every address in a record passes the parser that typed addresses pass; an id that the
//! built-in catalogue knows, as id or as alias, is refused; what an error names is a word of the schema,
//! never a word of the record.
//!
//! Deliberately absent: where a record is kept (`vault`), and any effect on keys that exist: a key goes
//! where it was sealed for.

use super::Catalogue;
use super::check::{Problem, unreadable};
use super::schema::Provider;
use crate::error::{Error, Result};
use crate::name::ProviderId;

/// Longest record in bytes.
pub const MAX_RECORD: usize = 64 * 1024;

/// Reads and checks a record of a user's own, in the format of `catalog/README.md`.
///
/// `invalid_input` for `record`; the hint names the field.
pub fn read_own(text: &str) -> Result<Provider> {
    if text.len() > MAX_RECORD {
        return Err(Error::invalid(
            "record",
            "a provider's record has at most 64 KiB",
        ));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut record: Provider = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (field, what) = unreadable(&error.path().to_string(), error.inner());
        refused(what, &field)
    })?;
    reader
        .end()
        .map_err(|_| refused("something follows the record", "."))?;
    record.complete_own()?;
    Ok(record)
}

impl Provider {
    fn complete_own(&mut self) -> Result<()> {
        let builtin = Catalogue::builtin();
        self.test.complete(builtin.common());
        self.check()
            .map_err(|Problem { field, what, .. }| refused(what, &field))?;
        // Also catches aliases: an alias resolves to another id.
        let id = ProviderId::parse(&self.id, "record")?;
        if id.as_str() != self.id || builtin.provider(&self.id).is_some() {
            return Err(refused(
                "a built-in provider has this id or alias: choose another",
                "id",
            ));
        }
        if !self.aliases.is_empty() {
            return Err(refused(
                "a provider of your own has one name and no aliases",
                "aliases",
            ));
        }
        Ok(())
    }
}

/// The field in the hint, since it is not a literal of ours: only words that stand in our own catalogue.
fn refused(what: &'static str, path: &str) -> Error {
    let words = path
        .split('.')
        .map(|step| {
            let (word, index) = step.split_at(step.find('[').unwrap_or(step.len()));
            match Catalogue::is_word(word) {
                true => format!("{word}{index}"),
                false => "?".to_owned(),
            }
        })
        .collect::<Vec<_>>();
    Error::invalid("record", what).with_hint(format!("look at {}", words.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn minimal() -> Value {
        json!({"id": "my-gateway", "display_name": "Mine", "display_name_zh": "我的", "status": "active",
            "kind": "gateway", "auth": {"style": "bearer"}, "env": {"primary": "MY_GATEWAY_KEY"}, "verified": false,
            "endpoints": [{"base_url": "https://gw.example.com/v1", "region": "global", "protocol": "openai-chat"}],
            "test": {"method": "GET", "url": "{base_url}/models", "proves_key": false, "cost": "none", "verified": false},
            "models_list": {"url": "{base_url}/models", "array": "/data", "id_field": "id", "public": false, "verified": false},
            "balance": [{"url": "https://gw.example.com/left", "verified": false, "reads": [
                {"kind": "prepaid", "of": "account", "currency": {"is": "USD"}, "amounts": [{"role": "available", "at": "/left"}]}]}]})
    }

    fn with(place: &str, new: Value) -> Result<Provider> {
        let mut record = minimal();
        let (parent, field) = place.rsplit_once('/').unwrap();
        let parent = record.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .insert(field.to_owned(), new);
        read_own(&record.to_string())
    }

    #[test]
    fn a_record_of_ones_own_is_read_and_completed() {
        let record = read_own(&minimal().to_string()).unwrap();
        assert_eq!(record.env.primary, "MY_GATEWAY_KEY");
        assert!(
            record.test.rules.len() >= 4,
            "what is common to all is added"
        );
        // A record that was written for the catalogue is one, under another name.
        let text = include_str!("../../catalog/providers.json");
        let catalogue: Value = serde_json::from_str(text).unwrap();
        for record in catalogue["providers"].as_array().unwrap() {
            let mut record = record.clone();
            record["id"] = json!(format!("my-{}", record["id"].as_str().unwrap()));
            record.as_object_mut().unwrap().remove("aliases");
            read_own(&record.to_string()).unwrap();
        }
    }

    #[test]
    fn a_builtin_name_is_not_taken_over() {
        let mut names: Vec<String> = crate::name::ALIASES
            .iter()
            .map(|(alias, _)| (*alias).to_owned())
            .collect();
        names.extend(
            Catalogue::builtin()
                .providers()
                .iter()
                .map(|p| p.id.clone()),
        );
        assert!(names.len() > 55);
        for name in names {
            let error = with("/id", json!(name)).unwrap_err();
            assert!(error.message().contains("built-in"), "{name}: {error}");
            assert_eq!(error.hint(), Some("look at id"));
        }
        assert!(with("/aliases", json!(["openai"])).is_err());
        assert!(with("/aliases", json!(["mine"])).is_err());
        assert!(with("/id", json!("openai-of-mine")).is_ok(), "the control");
    }

    #[test]
    fn errors_name_the_field_and_echo_nothing() {
        for (place, new, field) in [
            ("/id", json!("My Gateway canary"), "id"),
            ("/status", json!("canary"), "status"),
            ("/canary", json!(1), "?"),
            ("/test/canary", json!(1), "test.?"),
            (
                "/test/url",
                json!("http://gw.example.com/canary"),
                "test.url",
            ),
            ("/test/cost", json!("canary"), "test.cost"),
            (
                "/endpoints/0/base_url",
                json!("https://canary@gw.example.com"),
                "endpoints[0].base_url",
            ),
            ("/env/primary", json!("canary-canary"), "env.primary"),
            (
                "/auth",
                json!({"style": "header", "header": "host"}),
                "auth",
            ),
            (
                "/auth",
                json!({"style": "header", "header": "x-a\r\nx-canary"}),
                "auth",
            ),
            (
                "/balance/0/url",
                json!("https://10.0.0.1/canary"),
                "balance[0].url",
            ),
            (
                "/models_list/url",
                json!("https://localhost/canary"),
                "models_list.url",
            ),
        ] {
            let error = with(place, new).unwrap_err();
            assert_eq!(error.kind(), crate::Kind::InvalidInput, "{place}");
            assert_eq!(error.field(), Some("record"), "{place}");
            let hint = error.hint().unwrap();
            assert!(hint.ends_with(field), "{place}: {hint}");
            assert!(
                !format!("{error:?}").contains("canary"),
                "{place}: {error:?}"
            );
        }
        // What is missing or there twice is named itself, not what it belongs to.
        let message = |text: &str| {
            let error = read_own(text).unwrap_err();
            (error.message().to_owned(), error.hint().unwrap().to_owned())
        };
        for (place, field) in [
            ("/auth", "auth"),
            ("/display_name_zh", "display_name_zh"),
            ("/test/method", "test.method"),
            ("/endpoints/0/region", "endpoints[0].region"),
            ("/balance/0/reads", "balance[0].reads"),
        ] {
            let mut record = minimal();
            let (parent, name) = place.rsplit_once('/').unwrap();
            let parent = record.pointer_mut(parent).unwrap();
            parent.as_object_mut().unwrap().remove(name).unwrap();
            assert_eq!(
                message(&record.to_string()),
                ("a field is missing".to_owned(), format!("look at {field}"))
            );
        }
        let twice = minimal().to_string().replacen(
            "\"id\":\"my-gateway\"",
            "\"id\":\"my-gateway\",\"id\":\"x\"",
            1,
        );
        let (said, hint) = message(&twice);
        assert_eq!(said, "a field stands there twice");
        assert_eq!(hint, "look at id");
        for text in ["", "[]", "null", "{}", "{} {}", "{\"id\": \"x\""] {
            assert!(read_own(text).is_err(), "{text}");
        }
        let mut long = minimal().to_string();
        long.push_str(&" ".repeat(MAX_RECORD));
        assert!(read_own(&long).is_err());
    }
}
