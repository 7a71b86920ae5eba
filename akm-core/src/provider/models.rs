//! What a row of the catalogue of models may say.
//!
//! Invariants: unknown is null and never zero; a row names a provider, and provider, id and region together are
//! there once; a default names a row that is there. The build script reads the built-in catalogue with this very
//! file, and one that a person installs is read the same way; a problem names row and field.
//!
//! Deliberately absent: exchange rates, and prices above a provider's first tier.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::check::{Problem, unreadable};

/// The only version of the format that is read.
const SCHEMA: u32 = 1;
/// Largest file in bytes.
pub const MAX_FILE: u64 = 4 << 20;
/// Most rows.
const MAX_ROWS: usize = 20_000;
/// Longest id, name and note in bytes.
const MAX_TEXT: usize = 200;
/// A window larger than this is a mistake, and so is a price, in any currency.
const MAX_TOKENS: u64 = 1_000_000_000;
const MAX_PRICE: f64 = 1_000_000.0;

/// The one source that states no licence; what it alone says stays marked.
const UNLICENSED: &str = "model-bank";

/// A catalogue as it stands in its file. Described in `catalog/README.md`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// [`SCHEMA`].
    schema: u32,
    /// The day the facts were gathered.
    pub compiled: String,
    /// The model that is meant where nobody names one, by provider.
    pub defaults: BTreeMap<String, String>,
    /// The rows.
    pub models: Vec<Model>,
}

/// What is known of one model at one provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider's id.
    pub provider: String,
    /// The id in requests.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// What it is mostly for.
    pub category: Category,
    /// What else it can do.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// Tokens it reads.
    pub context: Option<u64>,
    /// Tokens it writes at most.
    pub max_output: Option<u64>,
    /// What it costs.
    pub price: Option<Price>,
    /// The region the price belongs to, where the provider has several.
    #[serde(default)]
    pub region: Option<ModelRegion>,
    /// The data sets that list the row.
    pub sources: Vec<String>,
    /// Whether two independent data sets agree on the price.
    pub verified: bool,
    /// When it appeared: a day, or a month.
    #[serde(default)]
    pub released: Option<String>,
    /// When its provider switches it off.
    #[serde(default)]
    pub retires: Option<String>,
    /// What the other data set says, for people.
    #[serde(default)]
    pub note: Option<String>,
}

/// What a million tokens cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Three capital letters.
    pub currency: String,
    /// Read.
    pub input: Option<f64>,
    /// Written.
    pub output: Option<f64>,
    /// Read from the provider's cache.
    #[serde(default)]
    pub cached: Option<f64>,
}

macro_rules! tokens {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $token:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum $name { $(#[serde(rename = $token)] $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word in the file and on the wire.
            pub const fn token(self) -> &'static str {
                match self { $($name::$variant => $token,)* }
            }
        }
    };
}

tokens! {
    /// What a model is mostly for.
    Category {
        Chat = "chat",
        Code = "code",
        Reasoning = "reasoning",
        Vision = "vision",
        LongContext = "long_context",
        Economy = "economy",
        Embedding = "embedding",
        Image = "image",
        Audio = "audio",
        Rerank = "rerank",
        Search = "search",
    }
}

tokens! {
    /// What a model can do besides.
    Tag {
        Reasoning = "reasoning",
        Vision = "vision",
        Tools = "tools",
        Audio = "audio",
        LongContext = "long_context",
        Economy = "economy",
    }
}

tokens! {
    /// Whom a price is for.
    ModelRegion {
        Cn = "cn",
        Intl = "intl",
    }
}

impl Model {
    /// Whether nothing but the one source without a licence lists the row.
    pub fn is_unlicensed(&self) -> bool {
        self.sources.len() == 1 && self.sources[0] == UNLICENSED
    }

    /// Whether it is of this category, mostly or besides.
    pub fn is_of(&self, category: Category) -> bool {
        self.category == category || self.tags.iter().any(|tag| tag.token() == category.token())
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let line = |text: &str| {
            (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if !id_fits(&self.provider) {
            return Err(("provider", "an id has 1 to 64 of a-z, 0-9 and -"));
        }
        if !(1..=MAX_TEXT).contains(&self.id.len())
            || !self.id.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(("id", "it is not 1 to 200 printable characters"));
        }
        if !line(&self.name) || self.name.trim() != self.name {
            return Err(("name", "it is not one line of text"));
        }
        if self.note.as_deref().is_some_and(|note| !line(note)) {
            return Err(("note", "it is not one line of text"));
        }
        for (field, tokens) in [("context", self.context), ("max_output", self.max_output)] {
            if tokens.is_some_and(|tokens| !(1..=MAX_TOKENS).contains(&tokens)) {
                return Err((field, "an unknown number is null, a known one is not zero"));
            }
        }
        if let Some(price) = &self.price {
            if price.currency.len() != 3 || !price.currency.bytes().all(|b| b.is_ascii_uppercase())
            {
                return Err(("price.currency", "a currency is three capital letters"));
            }
            if price.input.is_none() && price.output.is_none() {
                return Err(("price", "a price that is not known is null"));
            }
            for (field, amount) in [
                ("price.input", price.input),
                ("price.output", price.output),
                ("price.cached", price.cached),
            ] {
                if amount.is_some_and(|amount| !(0.0..=MAX_PRICE).contains(&amount)) {
                    return Err((field, "it is not an amount"));
                }
            }
        }
        let source = |text: &String| {
            (1..=40).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        if self.sources.is_empty() || self.sources.len() > 16 || !self.sources.iter().all(source) {
            return Err(("sources", "a source is a short name of a-z, 0-9, - and ."));
        }
        for (field, date) in [("released", &self.released), ("retires", &self.retires)] {
            if date.as_deref().is_some_and(|date| !date_fits(date)) {
                return Err((field, "a date is 2027-01-31 or 2027-01"));
            }
        }
        Ok(())
    }
}

impl Models {
    /// Reads and checks a catalogue; the problem names row and field, and the line where the file has one.
    pub fn from_json(text: &str) -> Result<Models, Problem> {
        let whole = |field: String, what| Problem {
            record: "catalogue of models".to_owned(),
            field,
            what,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let models: Models = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let (field, what) = unreadable(&error.path().to_string(), error.inner());
            whole(format!("{field} (line {})", error.inner().line()), what)
        })?;
        reader
            .end()
            .map_err(|_| whole(".".to_owned(), "something follows the catalogue"))?;
        models.check()?;
        Ok(models)
    }

    fn check(&self) -> Result<(), Problem> {
        let wrong = |record: &str, field: &str, what| {
            Err(Problem {
                record: record.to_owned(),
                field: field.to_owned(),
                what,
            })
        };
        let whole = |field: &str, what| wrong("catalogue of models", field, what);
        if self.schema != SCHEMA {
            return whole("schema", "the version is unknown");
        }
        if !date_fits(&self.compiled) {
            return whole("compiled", "a date is 2027-01-31 or 2027-01");
        }
        if self.models.is_empty() || self.models.len() > MAX_ROWS {
            return whole("models", "there are none, or more than 20000");
        }
        let (mut rows, mut providers) = (BTreeSet::new(), BTreeSet::new());
        for (index, model) in self.models.iter().enumerate() {
            if let Err((field, what)) = model.check() {
                // An id that does not fit is not repeated; the number of the row is.
                let row = match field {
                    "provider" | "id" => format!("models[{index}]"),
                    _ => format!("{}/{}", model.provider, model.id),
                };
                return wrong(&row, field, what);
            }
            if !rows.insert((&model.provider, &model.id, model.region)) {
                let row = format!("{}/{}", model.provider, model.id);
                return wrong(&row, "id", "the provider has it twice in one region");
            }
            providers.insert(&model.provider);
        }
        for (provider, default) in &self.defaults {
            let is_default = |model: &Model| model.provider == *provider && model.id == *default;
            if !self.models.iter().any(is_default) {
                let field = match id_fits(provider) {
                    true => format!("defaults.{provider}"),
                    false => "defaults".to_owned(),
                };
                return whole(&field, "the provider has no such model");
            }
        }
        match providers
            .iter()
            .find(|provider| !self.defaults.contains_key(**provider))
        {
            Some(provider) => whole(&format!("defaults.{provider}"), "it is missing"),
            None => Ok(()),
        }
    }

    /// Whether every provider that is named is one of these. Every default is one of a row, so the rows tell.
    pub fn check_providers(&self, known: &dyn Fn(&str) -> bool) -> Result<(), Problem> {
        match self.models.iter().find(|model| !known(&model.provider)) {
            Some(model) => Err(Problem {
                record: format!("{}/{}", model.provider, model.id),
                field: "provider".to_owned(),
                what: "there is no such provider, built in or of the account that is unlocked",
            }),
            None => Ok(()),
        }
    }
}

fn id_fits(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A day or a month, as far as digits tell.
fn date_fits(text: &str) -> bool {
    let shape: Vec<bool> = text.bytes().map(|b| b.is_ascii_digit()).collect();
    let digits = |range: std::ops::Range<usize>, most: u8| {
        text.get(range)
            .and_then(|part| part.parse::<u8>().ok())
            .is_some_and(|number| (1..=most).contains(&number))
    };
    let dashes = |at: &[usize]| {
        shape.iter().enumerate().all(|(index, digit)| {
            *digit != at.contains(&index) && (*digit || text.as_bytes()[index] == b'-')
        })
    };
    match text.len() {
        7 => dashes(&[4]) && digits(5..7, 12),
        10 => dashes(&[4, 7]) && digits(5..7, 12) && digits(8..10, 31),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"schema":1,"compiled":"2026-11-22","defaults":{"a":"m"},"models":[
{"provider":"a","id":"m","name":"M","category":"chat","tags":["tools"],"context":1000,"max_output":null,"price":{"currency":"CNY","input":0.5,"output":null},"sources":["model-bank"],"verified":false},
{"provider":"a","id":"n","name":"N","category":"code","context":null,"max_output":null,"price":null,"region":"cn","sources":["litellm"],"verified":true,"released":"2026-04"}
]}"#;

    #[test]
    fn a_row_that_could_be_misread_is_refused_by_row_and_field() {
        let change = |from: &str, to: &str| {
            assert!(SMALL.contains(from), "{from}");
            let problem = Models::from_json(&SMALL.replacen(from, to, 1)).expect_err(to);
            (problem.record, problem.field)
        };
        for (from, to, record, field) in [
            (
                r#""schema":1"#,
                r#""schema":2"#,
                "catalogue of models",
                "schema",
            ),
            (
                "2026-11-22",
                "22.11.2026",
                "catalogue of models",
                "compiled",
            ),
            (
                r#""defaults":{"a":"m"}"#,
                r#""defaults":{"a":"x"}"#,
                "catalogue of models",
                "defaults.a",
            ),
            (
                r#""defaults":{"a":"m"}"#,
                r#""defaults":{}"#,
                "catalogue of models",
                "defaults.a",
            ),
            (r#""id":"n""#, r#""id":"n\u0007""#, "models[1]", "id"),
            (
                r#""provider":"a""#,
                r#""provider":"A""#,
                "models[0]",
                "provider",
            ),
            (r#""name":"M""#, r#""name":"M\n""#, "a/m", "name"),
            (r#""context":1000"#, r#""context":0"#, "a/m", "context"),
            (
                r#""currency":"CNY""#,
                r#""currency":"yuan""#,
                "a/m",
                "price.currency",
            ),
            (r#""input":0.5"#, r#""input":-0.5"#, "a/m", "price.input"),
            (r#""input":0.5"#, r#""input":null"#, "a/m", "price"),
            (
                r#""sources":["litellm"]"#,
                r#""sources":[]"#,
                "a/n",
                "sources",
            ),
            ("2026-04", "2026-14", "a/n", "released"),
            (r#""id":"n""#, r#""id":"m""#, "", ""),
        ] {
            if record.is_empty() {
                // The same id in another region is another row.
                Models::from_json(&SMALL.replacen(from, to, 1)).unwrap();
                continue;
            }
            assert_eq!(
                change(from, to),
                (record.to_owned(), field.to_owned()),
                "{to}"
            );
        }
        let twice =
            SMALL
                .replacen(r#""id":"n""#, r#""id":"m""#, 1)
                .replacen(r#""region":"cn","#, "", 1);
        assert_eq!(Models::from_json(&twice).unwrap_err().field, "id");
        // What the types refuse is named by its place and line.
        for (from, to, field) in [
            (
                r#""category":"code""#,
                r#""category":"poetry""#,
                "models[1].category (line 3)",
            ),
            (
                r#""input":0.5"#,
                r#""input":"0.5""#,
                "models[0].price.input (line 2)",
            ),
            (
                r#""output":null"#,
                r#""output":null,"free":true"#,
                "models[0].price.free (line 2)",
            ),
            (
                r#""verified":true"#,
                r#""verified":true,"verified":false"#,
                "models[1].verified (line 3)",
            ),
            (r#","verified":false"#, "", "models[0].verified (line 2)"),
            (r#""compiled":"2026-11-22","#, "", "compiled (line 4)"),
            (
                r#""currency":"CNY","#,
                "",
                "models[0].price.currency (line 2)",
            ),
        ] {
            let (_, found) = change(from, to);
            assert_eq!(found, field, "{to}");
        }
        assert!(Models::from_json(&format!("{SMALL} {{}}")).is_err());
        assert_eq!(
            Models::from_json(SMALL).unwrap().models.len(),
            2,
            "the control"
        );
    }

    #[test]
    fn dates_are_days_or_months() {
        for good in ["2026-04", "2026-04-02"] {
            assert!(date_fits(good));
        }
        for bad in [
            "",
            "2026",
            "2026-4-2",
            "2026-00",
            "2026-04-32",
            "2026/04/02",
            "2026-04-0x",
            "-026-04-02",
        ] {
            assert!(!date_fits(bad), "{bad}");
        }
    }
}
