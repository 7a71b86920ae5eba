//! The catalogue: what is known about providers, looked up by id.
//!
//! Invariants: read once, when somebody first asks; the build has already checked the very same bytes
//! with the very same reader, so the built-in one cannot fail. An agent that only hands out keys never
//! reads it.
//!
//! Deliberately absent: fetching anything. New facts come with a release or from a file a person chose.

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::check::{Problem, unreadable};
use super::rules::Rule;
use super::schema::{Provider, Records};

/// The facts, as committed; the build script has checked them.
const BUILTIN: &str = include_str!("../../catalog/providers.json");

/// Providers by id.
pub struct Catalogue {
    records: Records,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Catalogue({} providers)", self.providers().len())
    }
}

impl Catalogue {
    /// The catalogue this program was built with.
    pub fn builtin() -> &'static Catalogue {
        static READ: OnceLock<Catalogue> = OnceLock::new();
        READ.get_or_init(|| {
            Catalogue::from_json(BUILTIN).expect("the build checked the built-in catalogue")
        })
    }

    /// Reads a catalogue; the problem names record and field.
    pub fn from_json(text: &str) -> Result<Catalogue, Problem> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let records: Records = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let (field, what) = unreadable(&error.path().to_string(), error.inner());
            Problem {
                record: "catalogue".to_owned(),
                field,
                what,
            }
        })?;
        reader.end().map_err(|_| Problem {
            record: "catalogue".to_owned(),
            field: ".".to_owned(),
            what: "something follows the catalogue",
        })?;
        Ok(Catalogue {
            records: records.complete()?,
        })
    }

    /// The record of an id. Aliases are resolved where names are parsed, in [`crate::name::ProviderId`].
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.records.providers.iter().find(|p| p.id == id)
    }

    /// All records, in the order of the file.
    pub fn providers(&self) -> &[Provider] {
        &self.records.providers
    }

    /// What is assumed of a provider nobody listed, when its owner gives a `base_url`.
    pub fn unlisted(&self) -> &Provider {
        &self.records.unlisted
    }

    /// How to read an answer that no record says anything about.
    pub fn common(&self) -> &[Rule] {
        &self.records.common
    }

    /// The record of an id as it stands in the built-in file.
    pub fn builtin_text(id: &str) -> Option<Map<String, Value>> {
        let Value::Object(mut file) = serde_json::from_str(BUILTIN).ok()? else {
            return None;
        };
        let Some(Value::Array(records)) = file.remove("providers") else {
            return None;
        };
        records.into_iter().find_map(|record| match record {
            Value::Object(fields) if fields.get("id").is_some_and(|own| own == id) => Some(fields),
            _ => None,
        })
    }

    /// Whether a text is a field's name in the built-in file, and so ours to repeat.
    pub(super) fn is_word(text: &str) -> bool {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            && BUILTIN.contains(&format!("\"{text}\":"))
    }

    /// The day the facts were gathered.
    pub fn compiled(&self) -> &str {
        &self.records.compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{ALIASES, ProviderId};

    #[test]
    fn the_builtin_catalogue_has_the_facts() {
        let catalogue = Catalogue::builtin();
        assert_eq!(catalogue.providers().len(), 46);
        assert_eq!(catalogue.compiled(), "2026-11-22");
        let openai = catalogue.provider("openai").unwrap();
        assert_eq!(openai.env.primary, "OPENAI_API_KEY");
        assert_eq!(openai.endpoints[0].base_url, "https://api.openai.com/v1");
        assert!(openai.test.proves_key);
        let anthropic = catalogue.provider("anthropic").unwrap();
        assert_eq!(anthropic.auth.header(), Some("x-api-key"));
        assert_eq!(anthropic.extra_headers["anthropic-version"], "2023-06-01");
        assert!(catalogue.provider("nobody").is_none());
        assert!(catalogue.provider("unlisted").is_none());
    }

    #[test]
    fn aliases_mean_the_same_where_names_are_parsed() {
        let mut in_catalogue = 0;
        for provider in Catalogue::builtin().providers() {
            let own = ProviderId::parse(&provider.id, "provider").unwrap();
            assert_eq!(own.as_str(), provider.id);
            for alias in &provider.aliases {
                let resolved = ProviderId::parse(alias, "provider").unwrap();
                assert_eq!(resolved.as_str(), provider.id, "{alias}");
                in_catalogue += 1;
            }
        }
        assert_eq!(in_catalogue, ALIASES.len());
    }

    #[test]
    fn a_record_the_engine_could_not_interpret_is_refused_by_name() {
        let change = |from: &str, to: &str| {
            assert!(BUILTIN.contains(from), "{from}");
            Catalogue::from_json(&BUILTIN.replacen(from, to, 1)).expect_err(to)
        };
        // Refused by the types: the path names the record.
        for (from, to) in [
            (r#""schema": 1"#, r#""schema": "1""#),
            (r#""status": "active""#, r#""status": "thriving""#),
            (
                r#""is": {"text": "insufficient_quota"}"#,
                r#""is": {"matches": "insufficient.*"}"#,
            ),
            (
                r#""is": {"text": "insufficient_quota"}"#,
                r#""is": "insufficient_quota""#,
            ),
            (r#""at": "/error/code""#, r#""at": "error.code""#),
            (r#""means": "quota_exhausted""#, r#""means": "poor""#),
            (r#""status": 429"#, r#""status": "4xx""#),
            (r#""method": "GET""#, r#""method": "PATCH""#),
            (r#""protocol": "gemini""#, r#""protocol": "telepathy""#),
            (
                r#""auth": {"style": "bearer"}"#,
                r#""auth": {"style": "bearer", "x": 1}"#,
            ),
            (
                r#""proves_key": true,"#,
                r#""proves_key": true, "proves_more": true,"#,
            ),
            (
                r#""proves_key": true,"#,
                r#""proves_key": true, "proves_key": true,"#,
            ),
            (r#""primary": "OPENAI_API_KEY","#, ""),
        ] {
            assert_ne!(change(from, to).field, "", "{to}");
        }
        let problem = change(r#""protocol": "gemini""#, r#""protocol": "telepathy""#);
        assert_eq!(problem.field, "providers[2].endpoints[0].protocol");

        // Refused by the check: record and field.
        for (from, to, record, field) in [
            (r#""schema": 1"#, r#""schema": 2"#, "catalogue", "schema"),
            (
                r#"{"status": 401, "means": "invalid_key"}"#,
                r#"{"status": 401, "body": {"at": "", "is": {"text": "x"}}, "means": "invalid_key"}"#,
                "catalogue",
                "common",
            ),
            (r#""id": "anthropic""#, r#""id": "openai""#, "openai", "id"),
            (
                r#""id": "anthropic""#,
                r#""id": "chatgpt""#,
                "chatgpt",
                "id",
            ),
            (
                r#""id": "anthropic""#,
                r#""id": "Anthropic""#,
                "Anthropic",
                "id",
            ),
            (
                r#""primary": "ANTHROPIC_API_KEY""#,
                r#""primary": "OPENAI_API_KEY""#,
                "anthropic",
                "env.primary",
            ),
            (
                r#""primary": "OPENAI_API_KEY""#,
                r#""primary": """#,
                "openai",
                "env.primary",
            ),
            (
                r#""base_url": "https://api.openai.com/v1""#,
                r#""base_url": "https://api.openai.com/v1/""#,
                "openai",
                "endpoints[0].base_url",
            ),
            (
                r#""base_url": "https://api.openai.com/v1""#,
                r#""base_url": "https://10.0.0.1/v1""#,
                "openai",
                "endpoints[0].base_url",
            ),
            (
                r#""base_url": "https://api.openai.com/v1""#,
                r#""base_url": "https://{anything}.openai.com/v1""#,
                "openai",
                "endpoints[0].base_url",
            ),
            (
                r#""url": "https://api.openai.com/v1/models""#,
                r#""url": "http://api.openai.com/v1/models""#,
                "openai",
                "test.url",
            ),
            (
                r#""header": "x-api-key""#,
                r#""header": "transfer-encoding""#,
                "anthropic",
                "auth",
            ),
            (
                r#""anthropic-version": "2023-06-01""#,
                r#""anthropic-version": "1\r\nx-evil: 1""#,
                "anthropic",
                "extra_headers",
            ),
            (
                r#"{"status": 200, "means": "valid"}"#,
                r#"{"status": 200, "means": "invalid_key"}"#,
                "unlisted",
                "test.rules[0]",
            ),
            (
                r#"{"status": 200, "means": "valid"}"#,
                r#"{"status": 302, "means": "valid"}"#,
                "unlisted",
                "test.rules[0]",
            ),
            (
                r#"{"status": 200, "means": "valid"}"#,
                r#"{"status": "any", "means": "valid"}"#,
                "unlisted",
                "test.rules[0]",
            ),
            (
                r#"{"status": 200, "means": "valid"}"#,
                r#"{"status": 201, "means": "valid"}"#,
                "unlisted",
                "test.rules",
            ),
            (
                r#"{"status": 433, "means": "quota_exhausted"}"#,
                r#"{"status": 432, "means": "quota_exhausted"}"#,
                "tavily",
                "test.rules[1]",
            ),
            (
                r#"{"one_of": ["1304", "1308", "1310"]}"#,
                r#"{"one_of": []}"#,
                "zhipu",
                "test.rules[1]",
            ),
            (
                r#""console_url": "https://platform.openai.com/api-keys""#,
                r#""console_url": "javascript:alert(1)""#,
                "openai",
                "console_url",
            ),
        ] {
            let problem = change(from, to);
            assert_eq!(
                (problem.record.as_str(), problem.field.as_str()),
                (record, field),
                "{to}"
            );
        }
        assert!(Catalogue::from_json(&format!("{BUILTIN} {{}}")).is_err());
        assert!(Catalogue::from_json(BUILTIN).is_ok(), "the control");
    }
}
