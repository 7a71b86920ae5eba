//! Names and values, parsed once at the edge; inside, the types are the proof.
//!
//! A key is `provider/label`; a bare `openai` is exactly `openai/default`. Nothing is guessed.
//! Accounts are folded to one spelling here and nowhere else, so that lookup, lockout, audit and
//! sessions can never disagree about who somebody is.

use std::fmt;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// Longest provider id in bytes.
pub const MAX_PROVIDER: usize = 64;
/// Longest label in bytes.
pub const MAX_LABEL: usize = 100;
/// Longest account name in bytes.
pub const MAX_ACCOUNT: usize = 64;
/// Longest secret in bytes.
pub const MAX_SECRET: usize = 8192;
/// Longest passphrase in bytes.
pub const MAX_PASSPHRASE: usize = 1024;
/// Longest notes in bytes.
pub const MAX_NOTES: usize = 4096;
/// Longest model id in bytes.
pub const MAX_MODEL: usize = 200;
/// Longest category in bytes, and most categories on a key.
pub const MAX_CATEGORY: usize = 64;
/// Most categories on one key.
pub const MAX_CATEGORIES: usize = 32;

/// Spellings people use for a provider, and the id they mean.
pub(crate) const ALIASES: &[(&str, &str)] = &[
    ("gemini", "google"),
    ("claude", "anthropic"),
    ("gpt", "openai"),
    ("chatgpt", "openai"),
    ("kimi", "moonshot"),
    ("qwen", "alibaba"),
    ("dashscope", "alibaba"),
    ("glm", "zhipu"),
    ("bigmodel", "zhipu"),
    ("doubao", "volcengine"),
    ("hunyuan", "tencent"),
    ("grok", "xai"),
    ("azure", "azure-openai"),
    ("hf", "huggingface"),
];

/// A provider id: `[a-z0-9-]{1,64}`, aliases resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(String);

impl ProviderId {
    /// Parses an id or alias; `field` is named in the error.
    pub fn parse(text: &str, field: &'static str) -> Result<Self> {
        if text.is_empty() || text.len() > MAX_PROVIDER {
            return Err(Error::invalid(field, "a provider is 1 to 64 characters"));
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(Error::invalid(field, "a provider has only a-z, 0-9 and -"));
        }
        let id = ALIASES
            .iter()
            .find(|(alias, _)| *alias == text)
            .map_or(text, |(_, id)| id);
        Ok(ProviderId(id.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The full name of a key: provider and label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName {
    provider: ProviderId,
    label: String,
}

impl KeyName {
    /// Parses `provider/label` or `provider`; `field` is named in the error.
    pub fn parse(text: &str, field: &'static str) -> Result<Self> {
        let (provider, label) = text.split_once('/').unwrap_or((text, "default"));
        let provider = ProviderId::parse(provider, field)?;
        if label.is_empty() || label.len() > MAX_LABEL {
            return Err(Error::invalid(field, "a label is 1 to 100 bytes"));
        }
        if label.contains('/') {
            return Err(Error::invalid(field, "a label has no slash"));
        }
        if label.chars().any(is_unprintable) || label.trim() != label {
            return Err(Error::invalid(
                field,
                "a label has no control or invisible characters",
            ));
        }
        if !is_nfc(label) {
            return Err(Error::invalid(
                field,
                "a label is written in Unicode form NFC",
            ));
        }
        Ok(KeyName {
            provider,
            label: label.to_owned(),
        })
    }

    /// The issuer's id.
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The owner's label.
    pub fn label(&self) -> &str {
        &self.label
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider.0, self.label)
    }
}

/// An account name in its one spelling: `[a-z0-9]+([._-][a-z0-9]+)*`, at most 64, ASCII upper case folded.
///
/// Everything else is refused rather than folded. What still looks alike (`outline`) cannot be registered
/// beside one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    /// Parses and folds a typed name.
    pub fn parse(text: &str, field: &'static str) -> Result<Self> {
        const RULE: &str = "an account is 1 to 64 of a-z and 0-9, with single dots, dashes and underscores between them";
        let fits = text.len() <= MAX_ACCOUNT
            && text
                .split(['.', '-', '_'])
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        if fits {
            Ok(AccountName(text.to_ascii_lowercase()))
        } else {
            Err(Error::invalid(field, RULE))
        }
    }

    /// The folded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a hasty reader takes for one another in an account's name, each with what stands for all of them in an outline, to be
/// replaced in this order.
pub(crate) const LOOK_ALIKES: [(&str, &str); 7] = [
    ("0", "o"),
    ("1", "l"),
    ("i", "l"),
    ("rn", "m"),
    ("vv", "w"),
    (".", "-"),
    ("_", "-"),
];

/// The outline of an account's name: that of all names which look like it.
pub(crate) fn outline(account: &str) -> String {
    let replace = |name: String, (from, to): &(&str, &str)| name.replace(from, to);
    LOOK_ALIKES.iter().fold(account.to_owned(), replace)
}

/// Checks the plaintext of a key: 1 to 8192 bytes of 0x20 to 0x7E on one line.
pub fn check_secret(secret: &Secret, field: &'static str) -> Result<()> {
    if secret.is_empty() {
        return Err(Error::invalid(field, "the secret is empty"));
    }
    if secret.len() > MAX_SECRET {
        return Err(Error::invalid(field, "a secret is at most 8192 bytes"));
    }
    if !secret.expose().bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Err(Error::invalid(
            field,
            "a secret is printable ASCII on one line",
        ));
    }
    Ok(())
}

const INVISIBLE: Error = Error::new(
    crate::Kind::InvalidInput,
    "the text has control or invisible characters",
);

/// Checks free text that a person reads back: length, no control characters but LF and tab.
pub fn check_text(text: &str, max: usize, field: &'static str) -> Result<()> {
    if text.len() > max {
        return Err(Error::invalid(field, "the text is too long"));
    }
    if text
        .chars()
        .any(|c| is_unprintable(c) && c != '\n' && c != '\t')
    {
        return Err(INVISIBLE.with_field(field));
    }
    Ok(())
}

/// Reads notes: a line ends with LF however it was written, and scripts and emoji that need joiners and variants have them. In
/// a text that a person reads and nothing is looked up by, they deceive nobody; in a label they make two names look alike.
pub fn read_notes(text: String, field: &'static str) -> Result<String> {
    let text = match text.contains("\r\n") {
        true => text.replace("\r\n", "\n"),
        false => text,
    };
    if text.len() > MAX_NOTES {
        return Err(Error::invalid(field, "the text is too long"));
    }
    let joins = |c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
    if text
        .chars()
        .any(|c| is_unprintable(c) && !matches!(c, '\n' | '\t') && !joins(c))
    {
        return Err(INVISIBLE.with_field(field));
    }
    Ok(text)
}

/// Checks the name of an environment variable: `[A-Za-z_][A-Za-z0-9_]{0,127}`.
pub fn check_env(text: &str, field: &'static str) -> Result<()> {
    let fits = !text.is_empty()
        && text.len() <= 128
        && !text.as_bytes()[0].is_ascii_digit()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            "a variable name is A-Z, a-z, 0-9 and _, not first a digit",
        ))
    }
}

/// Control characters, and the ones that change how a line of a terminal or a log reads.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(feature = "vault")]
fn is_nfc(text: &str) -> bool {
    unicode_normalization::is_nfc(text)
}

// The client sends names as typed; the vault's side decides about normal forms.
#[cfg(not(feature = "vault"))]
fn is_nfc(_: &str) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_provider_is_its_default_key() {
        let name = KeyName::parse("openai", "name").unwrap();
        assert_eq!(name.to_string(), "openai/default");
        assert_eq!(
            KeyName::parse("gemini/x", "name").unwrap().to_string(),
            "google/x"
        );
        assert_eq!(
            KeyName::parse("my-own/工作", "name").unwrap().label(),
            "工作"
        );
    }

    #[test]
    fn bad_names_are_refused_and_name_the_field() {
        let long_provider = "a".repeat(65);
        let long_label = format!("openai/{}", "a".repeat(101));
        for bad in [
            "",
            "/",
            "openai/",
            "/x",
            "Openai",
            "open ai",
            "openai/a/b",
            "openai/a\nb",
            "openai/a\0",
            "openai/\u{200b}x",
            "openai/ x",
            "openai/x ",
            "openai/e\u{301}",
            &long_provider,
            &long_label,
            "openai/\u{202e}x",
        ] {
            let error = KeyName::parse(bad, "name").unwrap_err();
            assert_eq!(error.kind(), crate::Kind::InvalidInput, "{bad:?}");
            assert_eq!(error.field(), Some("name"));
        }
        assert!(KeyName::parse(&format!("openai/{}", "a".repeat(100)), "name").is_ok());
    }

    #[test]
    fn notes_have_what_writing_needs_and_nothing_that_hides() {
        let read = |text: &str| read_notes(text.into(), "notes");
        assert_eq!(read("a\r\nb\tc\n").unwrap(), "a\nb\tc\n");
        for fine in [
            "می\u{200c}خواهم",
            "👩\u{200d}💻",
            "❤\u{fe0f} and ☎\u{fe0e}",
            "क्\u{200d}ष",
        ] {
            assert_eq!(read(fine).unwrap(), fine);
            // Two labels must not look alike.
            assert!(KeyName::parse(&format!("openai/{fine}"), "name").is_err());
        }
        for bad in [
            "a\rb",
            "a\u{202e}b",
            "\u{200b}",
            "\u{feff}a",
            "\u{1b}[2J",
            "\0",
            "\u{e0041}",
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.field(), Some("notes"), "{bad:?}");
        }
        assert!(read(&"x\r\n".repeat(2048)).is_ok());
        assert!(read(&"x".repeat(4097)).is_err());
    }

    #[test]
    fn secrets_are_one_printable_line() {
        let ok = |s: &str| check_secret(&Secret::new(s.into()), "secret").is_ok();
        assert!(ok("sk-\"'`$(id)`"));
        assert!(ok(&"k".repeat(8192)));
        assert!(!ok(&"k".repeat(8193)));
        for bad in ["", "a\r\nb", "a\0", "a\tb", "é", "\u{1b}]52"] {
            assert!(!ok(bad), "{bad:?}");
        }
    }

    #[test]
    fn account_spellings_fold_or_fail() {
        assert_eq!(
            AccountName::parse("ALICE", "account").unwrap().as_str(),
            "alice"
        );
        for bad in [
            "",
            " alice",
            "alice\t",
            "ali\0ce",
            "ａｌｉｃｅ",
            "alıce",
            "./alice",
            "alice+",
            "\u{212a}",
            "alice.",
            "alice--",
            "alic_",
            "al._ice",
            "-",
        ] {
            assert!(AccountName::parse(bad, "account").is_err(), "{bad:?}");
        }
        for good in ["a", "7", "a.b-c_d", &"x".repeat(64)] {
            assert!(AccountName::parse(good, "account").is_ok(), "{good:?}");
        }
        assert!(AccountName::parse(&"x".repeat(65), "account").is_err());
    }
}
