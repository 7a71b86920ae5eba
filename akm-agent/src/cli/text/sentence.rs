//! Chinese for the sentences of akm-core, which are English literals wherever a program may read them.
//!
//! `texts/core.zh.po` holds pairs as gettext does: `msgid` is the literal of the source, `msgstr` the Chinese. Where the
//! source fills something in, `{}` stands for it in both. A sentence that is not in the file (of a newer agent, or of
//! a provider), or whose Chinese is empty, is shown as it came.
//!
//! Deliberately absent: the rest of the PO format (contexts, plurals, sentences over several lines).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Language, language};

pub(super) const PAIRS: &str = include_str!("../../../texts/core.zh.po");

/// A sentence of akm-core in the language of this process.
pub(crate) fn translated(sentence: &str) -> Cow<'_, str> {
    match language() {
        Language::English => Cow::Borrowed(sentence),
        Language::Chinese => chinese(sentence).map_or(Cow::Borrowed(sentence), Cow::Owned),
    }
}

/// The Chinese of a sentence, if there is one.
pub(crate) fn chinese(sentence: &str) -> Option<String> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::new(PAIRS)).get(sentence)
}

struct Table {
    whole: HashMap<String, String>,
    /// Those with something filled in, the longest first: the one that says most wins.
    patterns: Vec<(String, String)>,
}

impl Table {
    fn new(source: &str) -> Table {
        let (mut patterns, whole): (Vec<_>, Vec<_>) = pairs(source)
            .into_iter()
            .filter(|(_, chinese)| !chinese.is_empty())
            .partition(|(english, _)| english.contains("{}"));
        patterns.sort_by_key(|(english, _)| std::cmp::Reverse(english.len()));
        Table {
            whole: whole.into_iter().collect(),
            patterns,
        }
    }

    /// What a connection test says: a sentence, the status of the answer, and maybe what to try.
    fn verdict(&self, text: &str) -> Option<String> {
        let (said, rest) = text.split_once(" (HTTP ")?;
        let (status, advice) = rest.split_once(')')?;
        let advice = match advice {
            "" => String::new(),
            advice => self.get(advice)?,
        };
        let said = self.get(said)?;
        Some(format!("{said}（HTTP {status}）{advice}"))
    }

    /// What is wrong in a catalogue: record, field (maybe with its line) and a sentence, as `Problem` shows itself.
    fn problem(&self, text: &str) -> Option<String> {
        let (record, rest) = text.split_once(": ")?;
        let (field, what) = rest.split_once(": ")?;
        let what = self.whole.get(what)?;
        let record = self.whole.get(record).map_or(record, String::as_str);
        let line = field
            .strip_suffix(')')
            .and_then(|field| field.rsplit_once(" (line "));
        Some(match line {
            Some((field, line)) => format!("{record}：{field}（第 {line} 行）：{what}"),
            None => format!("{record}：{field}：{what}"),
        })
    }

    fn get(&self, sentence: &str) -> Option<String> {
        if let Some(chinese) = self.whole.get(sentence) {
            return Some(chinese.clone());
        }
        if let Some(made) = self.verdict(sentence).or_else(|| self.problem(sentence)) {
            return Some(made);
        }
        self.patterns.iter().find_map(|(english, chinese)| {
            let filled = matched(english, sentence)?;
            let mut filled = filled.into_iter();
            let mut out = String::new();
            for (index, part) in chinese.split("{}").enumerate() {
                if index > 0 {
                    out.push_str(filled.next()?);
                }
                out.push_str(part);
            }
            Some(out)
        })
    }
}

/// What stands in a sentence where its pattern has `{}`; the last of them takes the rest.
fn matched<'a>(pattern: &str, sentence: &'a str) -> Option<Vec<&'a str>> {
    let (head, mut pattern) = pattern.split_once("{}")?;
    let mut rest = sentence.strip_prefix(head)?;
    let mut filled = Vec::new();
    loop {
        match pattern.split_once("{}") {
            Some((between, after)) => {
                let (value, behind) = rest.split_once(between).filter(|_| !between.is_empty())?;
                filled.push(value);
                (rest, pattern) = (behind, after);
            }
            None => {
                filled.push(rest.strip_suffix(pattern)?);
                return Some(filled);
            }
        }
    }
}

/// Every pair of a file, in its order. Lines that are neither `msgid` nor `msgstr` say nothing.
pub(super) fn pairs(source: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut english = None;
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("msgid ") {
            english = unquoted(text);
        } else if let Some(text) = line.strip_prefix("msgstr ")
            && let (Some(english), Some(chinese)) = (english.take(), unquoted(text))
        {
            pairs.push((english, chinese));
        }
    }
    pairs
}

fn unquoted(text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
# a comment
msgid "the account is locked"
msgstr "账户已锁定"

msgid "did you mean {}?"
msgstr "是不是 {}？"

msgid "{} of {} are \"there\""
msgstr "{} / {} 在“这里”"
"#;

    #[test]
    fn a_sentence_is_found_whole_or_by_its_pattern() {
        let table = Table::new(SOURCE);
        let case = |text| table.get(text);
        assert_eq!(case("the account is locked").unwrap(), "账户已锁定");
        assert_eq!(
            case("did you mean openai/work?").unwrap(),
            "是不是 openai/work？"
        );
        assert_eq!(case("2 of 9 are \"there\"").unwrap(), "2 / 9 在“这里”");
        let verdict = "the account is locked (HTTP 423)did you mean a?";
        assert_eq!(case(verdict).unwrap(), "账户已锁定（HTTP 423）是不是 a？");
        let problem = "the account is locked: models[0].id (line 3): the account is locked";
        assert_eq!(
            case(problem).unwrap(),
            "账户已锁定：models[0].id（第 3 行）：账户已锁定"
        );
        assert_eq!(
            case("a/b: price: the account is locked").unwrap(),
            "a/b：price：账户已锁定"
        );
        for unknown in [
            "a/b: price: never said",
            "price: the account is locked",
            "something new (HTTP 200)",
            "",
            "the account is",
            "did you mean",
            "the account is locked now",
        ] {
            assert_eq!(case(unknown), None, "{unknown}");
        }
    }
}
