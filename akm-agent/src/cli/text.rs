//! What `akm` says to a person, in English or 简体中文: one message file for each language in `texts/`.
//!
//! `text!("key-stored", name = key.name)` is the message of that id with its variables filled in. The language is
//! that of `AKM_LANG` (`en`, `zh`), else of the locale (`LC_ALL`, `LC_MESSAGES`, `LANG`); English where neither names
//! one, and wherever `--json` stands: what a script reads does not change with the locale of its owner.
//!
//! Invariants: a variable that holds text is shown with its control characters escaped (`output::clean`), so
//! no message needs to think of it; a file is parsed at the first message that is wanted, and never by
//! `akm get NAME` that succeeds; a missing id shows itself and is never a panic. The tests hold both files against each
//! other and against the sources.
//!
//! Deliberately absent: any text that goes to a program. JSON, HTTP, the library and the log of the agent are
//! English; [`translated`] turns what came from there for the eye of a person alone.

pub(crate) mod help;
mod sentence;
#[cfg(test)]
pub(crate) mod sources;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::Cell;
use std::sync::OnceLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

pub(crate) use self::sentence::{chinese, translated};
use super::output;

const EN: &str = include_str!("../../texts/en.ftl");
const ZH: &str = include_str!("../../texts/zh.ftl");

/// A language that akm speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// English.
    English,
    /// 简体中文.
    Chinese,
}

impl Language {
    /// As `AKM_LANG` names it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh",
        }
    }
}

/// The message of an id: `text!("unlocked", account = name)`.
macro_rules! text {
    ($id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::cli::text::message(
            $id,
            &[$((stringify!($name), fluent_bundle::FluentValue::from($value))),*],
        )
    };
}
pub(crate) use text;

static CHOSEN: OnceLock<Language> = OnceLock::new();

thread_local! {
    static SPOKEN: Cell<Option<Language>> = const { Cell::new(None) };
}

/// Makes messages in a language that somebody else reads: mail of the agent.
pub(crate) fn speaking<T>(language: Language, make: impl FnOnce() -> T) -> T {
    let before = SPOKEN.replace(Some(language));
    let made = make();
    SPOKEN.set(before);
    made
}

/// The language of this process.
pub(crate) fn language() -> Language {
    if let Some(language) = SPOKEN.get() {
        return language;
    }
    // Unit tests are of one language, whatever that of the person who runs them.
    if cfg!(test) {
        return Language::English;
    }
    *CHOSEN.get_or_init(|| choose(|name| std::env::var(name).ok()))
}

/// Speaks English from here on: for `--json`. Comes before the first message.
pub(crate) fn speak_english() {
    let _ = CHOSEN.set(Language::English);
}

fn choose(variable: impl Fn(&str) -> Option<String>) -> Language {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    match set("AKM_LANG").as_deref().map(language_of) {
        Some("zh") => return Language::Chinese,
        Some("en") => return Language::English,
        _ => {}
    }
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
    match locale {
        // A terminal of another encoding would show the Chinese as noise.
        Some(locale) if language_of(&locale) == "zh" && is_utf8(&locale) => Language::Chinese,
        _ => Language::English,
    }
}

/// `zh` of `zh_CN.UTF-8`.
fn language_of(locale: &str) -> &str {
    locale
        .split(['_', '-', '.', '@'])
        .next()
        .unwrap_or_default()
}

fn is_utf8(locale: &str) -> bool {
    match locale.split_once('.') {
        None => true,
        Some((_, rest)) => {
            let encoding = rest.split('@').next().unwrap_or_default();
            encoding.replace('-', "").eq_ignore_ascii_case("utf8")
        }
    }
}

/// The message of an id in the language of this process; see [`text!`].
pub(crate) fn message(id: &str, variables: &[(&'static str, FluentValue<'_>)]) -> String {
    message_in(language(), id, variables)
}

/// The message of a token that is part of the contract, as `outcome-valid`. One that this program does not know
/// (an agent may be newer) is shown as it came.
pub(crate) fn of_token(family: &str, token: &str) -> String {
    find(language(), &id_of(family, token), &[])
        .unwrap_or_else(|| output::clean(token).into_owned())
}

fn id_of(family: &str, token: &str) -> String {
    let token = token.replace(['_', ' '], "-").replace('\'', "");
    format!("{family}-{token}")
}

fn message_in(
    language: Language,
    id: &str,
    variables: &[(&'static str, FluentValue<'_>)],
) -> String {
    find(language, id, variables).unwrap_or_else(|| id.to_owned())
}

fn find(
    language: Language,
    id: &str,
    variables: &[(&'static str, FluentValue<'_>)],
) -> Option<String> {
    #[cfg(test)]
    tests::LOOKED_UP.with(|count| count.set(count.get() + 1));
    let bundle = bundle(language);
    let pattern = bundle.get_message(id)?.value()?;
    let mut arguments = FluentArgs::with_capacity(variables.len());
    for (name, value) in variables {
        arguments.set(
            *name,
            match value {
                FluentValue::String(text) => FluentValue::from(output::clean(text).into_owned()),
                other => other.clone(),
            },
        );
    }
    let mut errors = Vec::new();
    let text = bundle.format_pattern(pattern, Some(&arguments), &mut errors);
    debug_assert!(errors.is_empty(), "{id}: {errors:?}");
    Some(text.into_owned())
}

fn bundle(language: Language) -> &'static FluentBundle<FluentResource> {
    static ENGLISH: OnceLock<FluentBundle<FluentResource>> = OnceLock::new();
    static CHINESE: OnceLock<FluentBundle<FluentResource>> = OnceLock::new();
    match language {
        Language::English => ENGLISH.get_or_init(|| parse(EN, Language::English.code())),
        Language::Chinese => CHINESE.get_or_init(|| parse(ZH, Language::Chinese.code())),
    }
}

pub(crate) fn parse(source: &str, name: &str) -> FluentBundle<FluentResource> {
    let locale: LanguageIdentifier = name.parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![locale]);
    // A terminal shows the marks that would isolate a variable as boxes.
    bundle.set_use_isolating(false);
    // What is wrong in a file is left out and shown by its id; the tests let no such file pass.
    let resource = match FluentResource::try_new(source.to_owned()) {
        Ok(resource) | Err((resource, _)) => resource,
    };
    let _ = bundle.add_resource(resource);
    bundle
}
