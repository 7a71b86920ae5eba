//! What the dashboard says, in English or 简体中文: `texts/web.en.ftl`, `texts/web.zh.ftl`.
//!
//! `say!(words, "keys-title")` is the message of that id. The language is the browser's, unless a person chose one. A variable
//! is shown with its control characters escaped, as on a terminal: no name can turn the direction of a sentence.
//! A missing id shows itself; the tests let none be missing.

use std::borrow::Cow;

use akm_core::error::{Error, Kind, Result};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::cli::clean;
use crate::cli::text::{chinese, parse};

pub(crate) use crate::cli::text::Language;

const EN: &str = include_str!("../../texts/web.en.ftl");
const ZH: &str = include_str!("../../texts/web.zh.ftl");

/// Every text of a dashboard.
pub(crate) struct Texts {
    english: FluentBundle<FluentResource>,
    chinese: FluentBundle<FluentResource>,
}

impl Texts {
    /// Ours.
    pub(crate) fn new() -> Texts {
        Texts {
            english: parse(EN, Language::English.code()),
            chinese: parse(ZH, Language::Chinese.code()),
        }
    }

    /// Puts the messages of a source in the place of ours.
    pub(crate) fn replace(&mut self, language: Language, source: String) -> Result<()> {
        let resource = FluentResource::try_new(source).map_err(|_| {
            Error::new(
                Kind::InvalidInput,
                "a file of the dashboard's folder is not Fluent",
            )
        })?;
        self.bundle_mut(language).add_resource_overriding(resource);
        Ok(())
    }

    /// The message of an id.
    pub(crate) fn say(
        &self,
        language: Language,
        id: &str,
        variables: &[(&'static str, FluentValue<'_>)],
    ) -> String {
        self.find(language, id, variables)
            .unwrap_or_else(|| id.to_owned())
    }

    fn find(
        &self,
        language: Language,
        id: &str,
        variables: &[(&'static str, FluentValue<'_>)],
    ) -> Option<String> {
        let bundle = match language {
            Language::English => &self.english,
            Language::Chinese => &self.chinese,
        };
        let pattern = bundle.get_message(id)?.value()?;
        let mut arguments = FluentArgs::with_capacity(variables.len());
        for (name, value) in variables {
            arguments.set(
                *name,
                match value {
                    FluentValue::String(text) => FluentValue::from(clean(text).into_owned()),
                    other => other.clone(),
                },
            );
        }
        // What an operator's text gets wrong shows where it stands.
        let mut errors = Vec::new();
        Some(
            bundle
                .format_pattern(pattern, Some(&arguments), &mut errors)
                .into_owned(),
        )
    }

    fn bundle_mut(&mut self, language: Language) -> &mut FluentBundle<FluentResource> {
        match language {
            Language::English => &mut self.english,
            Language::Chinese => &mut self.chinese,
        }
    }
}

/// The texts in one language.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    texts: &'a Texts,
    language: Language,
}

impl<'a> Words<'a> {
    pub(crate) fn new(texts: &'a Texts, language: Language) -> Words<'a> {
        Words { texts, language }
    }

    /// The message of an id; see [`say!`].
    pub(crate) fn say(&self, id: &str, variables: &[(&'static str, FluentValue<'_>)]) -> String {
        self.texts.say(self.language, id, variables)
    }

    /// The message of a token that is part of the contract, as `outcome-valid`; one that nobody knows as it came.
    pub(crate) fn token(&self, family: &str, token: &str) -> String {
        let id = format!("{family}-{}", token.replace(['_', '.', ' '], "-"));
        self.texts
            .find(self.language, &id, &[])
            .unwrap_or_else(|| clean(token).into_owned())
    }

    /// A sentence of akm-core.
    pub(crate) fn sentence<'t>(&self, sentence: &'t str) -> Cow<'t, str> {
        match self.language {
            Language::English => Cow::Borrowed(sentence),
            Language::Chinese => chinese(sentence).map_or(Cow::Borrowed(sentence), Cow::Owned),
        }
    }

    /// An error, as a sentence that begins and ends as sentences do.
    pub(crate) fn error(&self, error: &Error) -> String {
        let sentence = self.sentence(error.message());
        match self.language {
            Language::English => {
                let mut letters = sentence.chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                first.into_iter().chain(letters).chain(['.']).collect()
            }
            Language::Chinese => format!("{sentence}。"),
        }
    }

    /// As a page names it.
    pub(crate) fn tag(&self) -> &'static str {
        match self.language {
            Language::English => "en",
            Language::Chinese => "zh-CN",
        }
    }

    pub(crate) fn language(&self) -> Language {
        self.language
    }
}

/// The message of an id: `say!(words, "found", count = n)`.
macro_rules! say {
    ($words:expr, $id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $words.say($id, &[$((stringify!($name), fluent_bundle::FluentValue::from($value))),*])
    };
}
pub(crate) use say;

/// The language of a person: what they chose, else the first of their browser's that akm speaks, else English.
pub(crate) fn choose(chosen: Option<&str>, accepted: &str) -> Language {
    let known = |tag: &str| match tag.trim().split(['-', '_']).next() {
        Some("zh") => Some(Language::Chinese),
        Some("en") => Some(Language::English),
        _ => None,
    };
    chosen
        .and_then(known)
        .or_else(|| {
            let tags = accepted.split(',').take(MAX_TAGS);
            tags.filter_map(|tag| known(&tag.split(';').next()?.to_ascii_lowercase()))
                .next()
        })
        .unwrap_or(Language::English)
}

/// Most languages of a browser that are looked at.
const MAX_TAGS: usize = 32;

#[cfg(test)]
mod tests;
