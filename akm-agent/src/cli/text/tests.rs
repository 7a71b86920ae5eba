//! The message files against each other and against the sources.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use akm_core::protocol::Outcome;

use super::super::doctor;
use super::sentence::{PAIRS, chinese, pairs};
use super::sources::Sources;
use super::*;
use fluent_syntax::ast::{
    CallArguments, Entry, Expression, InlineExpression, Pattern, PatternElement,
};

thread_local! {
    /// Messages that this thread looked up.
    pub(in crate::cli) static LOOKED_UP: Cell<usize> = const { Cell::new(0) };
}

const OUTCOMES: &[Outcome] = &[
    Outcome::Valid,
    Outcome::ValidRestricted,
    Outcome::Invalid,
    Outcome::NoPermission,
    Outcome::OutOfCredit,
    Outcome::RateLimited,
    Outcome::Unreachable,
    Outcome::Unverifiable,
];

/// Ids that code composes of a family and a token; see [`of_token`].
fn composed() -> BTreeSet<String> {
    let kinds: Vec<&str> = akm_core::Kind::ALL
        .iter()
        .map(|kind| kind.token())
        .collect();
    let categories: Vec<&str> = akm_core::provider::models::Category::ALL
        .iter()
        .map(|category| category.token())
        .collect();
    let outcomes: Vec<&str> = OUTCOMES.iter().map(|outcome| outcome.token()).collect();
    let locks: Vec<&str> = akm_core::protocol::LockReason::ALL
        .iter()
        .map(|reason| reason.token())
        .collect();
    let families: &[(&str, &[&str])] = &[
        ("lock", &locks),
        ("status", &["active", "disabled", "expired", "burned"]),
        ("provider", &["active", "uncertain", "retired"]),
        ("chain", &["account", "system"]),
        ("policy", &["open", "ask", "granted"]),
        ("category", &categories),
        (
            "import",
            &["added", "unchanged", "skipped", "conflict", "invalid"],
        ),
        (
            "order-note",
            &[
                "account",
                "product",
                "paid_less",
                "paid_more",
                "months",
                "currency",
                "unpaid",
            ],
        ),
        ("code", &["open", "used", "expired"]),
        (
            "alert",
            &["backup", "offsite", "errors", "disk", "certificate"],
        ),
        ("balance-of", &["account", "key", "plan"]),
        ("balance-kind", &["prepaid", "quota", "spend"]),
        ("kind", &kinds),
        ("outcome", &outcomes),
        ("checked", doctor::CHECKS),
    ];
    families
        .iter()
        .flat_map(|(family, tokens)| tokens.iter().map(move |token| id_of(family, token)))
        .collect()
}

/// Messages that are the same in Chinese because they hold no word that a language has.
const WITHOUT_CHINESE: &[&str] = &["field-agent", "checked-akm", "checked-agent"];

/// Beginnings of ids that code passes on as such, and the variables all of them have.
const BY_ID: &[(&str, &[&str])] = &[
    ("col-", &[]),
    ("field-", &[]),
    ("changed-", &["name", "preview"]),
];

/// The variables of a message's text.
pub(crate) type Variables = BTreeSet<String>;

/// Every message of a file with its words and variables; no message stands there twice with another text.
pub(crate) fn messages(source: &str) -> BTreeMap<String, (String, Variables)> {
    let resource = fluent_syntax::parser::parse(source).expect("the file is Fluent");
    let mut messages = BTreeMap::new();
    for entry in resource.body {
        let Entry::Message(message) = entry else {
            continue;
        };
        let pattern = message.value.expect("a message has a text");
        let mut variables = Variables::new();
        let mut words = String::new();
        walk(&pattern, &mut variables, &mut words);
        assert!(message.attributes.is_empty(), "{}", message.id.name);
        let id = message.id.name;
        let made = (words, variables);
        let before = messages.insert(id.to_owned(), made.clone());
        // What two people add at once stands twice after a merge, and is the same.
        assert!(
            before.is_none_or(|before| before == made),
            "{id} stands twice"
        );
    }
    messages
}

fn walk(pattern: &Pattern<&str>, variables: &mut Variables, words: &mut String) {
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { value } => words.push_str(value),
            PatternElement::Placeable { expression } => {
                walk_expression(expression, variables, words)
            }
        }
    }
}

fn walk_expression(expression: &Expression<&str>, variables: &mut Variables, words: &mut String) {
    match expression {
        Expression::Inline(inline) => walk_inline(inline, variables, words),
        Expression::Select { selector, variants } => {
            walk_inline(selector, variables, words);
            for variant in variants {
                walk(&variant.value, variables, words);
            }
        }
    }
}

fn walk_inline(inline: &InlineExpression<&str>, variables: &mut Variables, words: &mut String) {
    match inline {
        InlineExpression::VariableReference { id } => {
            variables.insert(id.name.to_owned());
        }
        InlineExpression::StringLiteral { value } => words.push_str(value),
        InlineExpression::NumberLiteral { .. } => {}
        InlineExpression::Placeable { expression } => walk_expression(expression, variables, words),
        // A message that leans on another, or on a function of its own, would need to be looked after.
        InlineExpression::FunctionReference {
            arguments: CallArguments { .. },
            ..
        }
        | InlineExpression::MessageReference { .. }
        | InlineExpression::TermReference { .. } => panic!("variables and literals only"),
    }
}

/// Has a Chinese character or at least Chinese punctuation; a forgotten English text has neither.
pub(crate) fn is_chinese(text: &str) -> bool {
    text.chars().any(
        |c| matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3000}'..='\u{303f}' | '\u{ff01}'..='\u{ff5e}'),
    )
}

#[test]
fn both_languages_have_the_same_messages_and_variables() {
    let (english, chinese) = (messages(EN), messages(ZH));
    let ids = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<_>>();
    let only_english: Vec<_> = ids(&english).difference(&ids(&chinese)).cloned().collect();
    let only_chinese: Vec<_> = ids(&chinese).difference(&ids(&english)).cloned().collect();
    assert!(only_english.is_empty(), "zh.ftl lacks {only_english:?}");
    assert!(only_chinese.is_empty(), "en.ftl lacks {only_chinese:?}");
    for (id, (words, variables)) in &english {
        let (chinese_words, chinese_variables) = &chinese[id];
        assert_eq!(variables, chinese_variables, "variables of {id}");
        assert!(!is_chinese(words), "{id} of en.ftl is not English");
        assert!(
            !words.trim().is_empty() || !variables.is_empty(),
            "{id} is empty"
        );
        assert!(
            is_chinese(chinese_words) || WITHOUT_CHINESE.contains(&id.as_str()),
            "{id} of zh.ftl is not Chinese: {chinese_words}"
        );
    }
}

#[test]
fn every_message_can_be_made_in_both_languages() {
    for (id, (_, variables)) in messages(EN) {
        for count in [0, 1, 2, 5] {
            let variables: Vec<(&'static str, FluentValue<'_>)> = variables
                .iter()
                .map(|name| (&*name.clone().leak(), FluentValue::from(count)))
                .collect();
            for language in [Language::English, Language::Chinese] {
                let made = find(language, &id, &variables).expect("it is there");
                assert!(
                    !made.trim().is_empty() && !made.contains("{$"),
                    "{id}: {made}"
                );
            }
        }
    }
}

fn own_sources() -> Sources {
    Sources::read(&[
        "akm-agent/src/cli",
        "akm-agent/src/confirm.rs",
        "akm-agent/src/confirm",
        "akm-agent/src/selling",
    ])
}

#[test]
fn every_message_that_is_used_exists_with_those_variables() {
    let english = messages(EN);
    let sources = own_sources();
    assert!(sources.used.len() > 10, "the scan finds the uses");
    for (file, id, variables) in &sources.used {
        let file = file.display();
        let Some((_, wanted)) = english.get(id) else {
            panic!("{file} uses {id}, which is in no message file");
        };
        assert_eq!(variables, wanted, "variables of {id} in {file}");
    }
    // What is given by its id: heads of tables, names of fields, what became of a key.
    for literal in &sources.literals {
        let is_id = BY_ID.iter().any(|(head, _)| literal.starts_with(head));
        assert!(
            !is_id || english.contains_key(literal),
            "no message {literal}"
        );
    }
    for (id, (_, variables)) in &english {
        if let Some((_, expected)) = BY_ID.iter().find(|(head, _)| id.starts_with(head)) {
            assert!(variables.iter().eq(expected.iter()), "variables of {id}");
        }
    }
}

#[test]
fn every_message_is_used() {
    let sources = own_sources();
    let composed = composed();
    let unused: Vec<String> = messages(EN)
        .into_keys()
        .filter(|id| !sources.literals.contains(id) && !composed.contains(id))
        .collect();
    assert!(unused.is_empty(), "nobody says {unused:?}");
    for id in composed {
        assert!(messages(EN).contains_key(&id), "there is no {id}");
    }
}

#[test]
fn the_scan_sees_what_is_wrong() {
    let mut sources = Sources::default();
    let source = r#"fn f() { output::note(&text!("a-id", name = g(x, y), other = text!("b-id"))); }
        mod tests { fn t() { text!("not-seen"); } }"#;
    sources.scan(Path::new("x.rs"), source.parse().unwrap(), false);
    let used: Vec<_> = sources
        .used
        .iter()
        .map(|(_, id, variables)| (id.as_str(), variables.iter().map(String::as_str).collect()))
        .collect();
    let expected: [(&str, Vec<&str>); 2] = [("a-id", vec!["name", "other"]), ("b-id", vec![])];
    assert_eq!(used, expected);
    let found = messages("a = x { $one } { $two ->\n    [one] y\n   *[other] { $three }\n  }\n");
    assert_eq!(found["a"].1.len(), 3);
}

#[test]
fn the_language_is_chosen_by_akm_lang_and_then_by_the_locale() {
    let case = |set: &[(&str, &str)]| {
        choose(|name| {
            let found = set.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    use Language::{Chinese, English};
    for (set, wanted) in [
        (&[][..], English),
        (&[("AKM_LANG", "zh")], Chinese),
        (&[("AKM_LANG", "zh"), ("LC_ALL", "en_US.UTF-8")], Chinese),
        (&[("AKM_LANG", "en"), ("LC_ALL", "zh_CN.UTF-8")], English),
        (&[("AKM_LANG", "fr"), ("LANG", "zh_CN.UTF-8")], Chinese),
        (&[("AKM_LANG", ""), ("LANG", "zh_CN.UTF-8")], Chinese),
        (&[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")], English),
        (&[("LC_ALL", ""), ("LC_MESSAGES", "zh_CN.utf8")], Chinese),
        (&[("LC_MESSAGES", "en_GB"), ("LANG", "zh_CN")], English),
        (&[("LANG", "zh_CN.GB18030")], English),
        (&[("LANG", "zh-Hans")], Chinese),
        (&[("LANG", "zha_XX")], English),
    ] {
        assert_eq!(case(set), wanted, "{set:?}");
    }
}

#[test]
fn a_variable_cannot_move_the_cursor_and_a_missing_id_shows_itself() {
    for language in [Language::English, Language::Chinese] {
        let said = message_in(
            language,
            "unlocked",
            &[("account", "a\u{1b}[2J\u{202e}b".into())],
        );
        assert!(
            said.contains("\\u{1b}") && said.contains("\\u{202e}"),
            "{said}"
        );
        assert!(said.chars().all(|c| !c.is_control()), "{said}");
        assert_eq!(message_in(language, "no-such-id", &[]), "no-such-id");
    }
    assert_eq!(of_token("outcome", "brand_new"), "brand_new");
}

/// Beginnings of what is typed, not said, and of names that `of_token` translates.
const TYPED: &[&str] = &[
    "akm ", "cargo ", "curl ", "node ", "npm ", "python3 ", "export ", "set -gx ",
];
/// A passphrase and an answer of a server, both of the demo.
const NOT_SAID: &[&str] = &["correct horse battery staple", "broken for this demo"];

fn is_for_a_person(file: &Path, sentence: &str) -> bool {
    let is_typed = TYPED.iter().any(|head| sentence.starts_with(head));
    let is_this_room = file.components().any(|part| part.as_os_str() == "text");
    !is_typed
        && !is_this_room
        && !NOT_SAID.contains(&sentence)
        && !doctor::CHECKS.contains(&sentence)
}

/// Sentences that come from elsewhere.
const OF_OTHERS: &[&str] = &[
    // The end of a verdict, to which addresses are added.
    "; keys are bound to a region: if this one is of the other, set its base_url to {}",
    "; keys are bound to a region, and this address may be for another: the provider has {}",
];

#[test]
fn every_sentence_of_an_error_has_its_chinese() {
    let pairs = pairs(PAIRS);
    let table: BTreeMap<&str, &str> = pairs
        .iter()
        .map(|(english, chinese)| (english.as_str(), chinese.as_str()))
        .collect();
    for (english, chinese) in &pairs {
        // What two people add at once stands twice after a merge, and is the same.
        assert_eq!(table[english.as_str()], chinese, "{english} stands twice");
    }
    // Sentences reach the table through variables, so every one counts; in the rooms of the CLI, which speak by `text!`,
    // a sentence is a forgotten one, or one that becomes an error.
    let library = Sources::read(&["akm-core/src", "akm-agent/src"]);
    assert!(library.sentences.len() > 200, "the scan finds them");
    let mut missing = Vec::new();
    for (sentence, place) in &library.sentences {
        let in_cli = place
            .file
            .components()
            .any(|part| part.as_os_str() == "cli");
        if in_cli && !place.in_error && !is_for_a_person(&place.file, sentence) {
            continue;
        }
        match table.get(sentence.as_str()) {
            None => missing.push(format!("{}: {sentence}", place.file.display())),
            Some(chinese) => {
                let is_said = !chinese.is_empty() || !place.in_error;
                let is_literal = sentence.starts_with("akm ");
                assert!(is_said, "an error has no Chinese: {sentence}");
                assert!(
                    chinese.is_empty() || is_literal || is_chinese(chinese),
                    "not Chinese: {chinese}"
                );
            }
        }
    }
    assert!(
        missing.is_empty(),
        "texts/core.zh.po lacks a msgid for:\n{}",
        missing.join("\n")
    );
    for (english, chinese) in &pairs {
        let is_there = library.sentences.contains_key(english);
        assert!(
            is_there || OF_OTHERS.contains(&english.as_str()),
            "nobody says: {english}"
        );
        let holes = |text: &str| text.matches("{}").count();
        assert!(
            chinese.is_empty() || holes(english) == holes(chinese),
            "{english}"
        );
    }
}

/// Pieces of the parser's own text that `check` looks for, and what it calls a record; nobody is shown them alone.
const NO_PROBLEM: &[&str] = &[
    "catalogue of models",
    "duplicate field `",
    "missing field `",
    "unknown field",
];

#[test]
fn every_problem_of_a_catalogue_is_told_in_chinese() {
    let sources = Sources::read(&[
        "akm-core/src/provider/balance_rules.rs",
        "akm-core/src/provider/check.rs",
        "akm-core/src/provider/models.rs",
    ]);
    let mut told = 0;
    for what in sources.sentences.keys() {
        if NO_PROBLEM.contains(&what.as_str()) || what.contains("{}") {
            continue;
        }
        told += 1;
        for record in ["openai/new", "catalogue of models"] {
            let problem = format!("{record}: models[1].price (line 3): {what}");
            let said = chinese(&problem).unwrap_or_else(|| panic!("no Chinese: {problem}"));
            assert!(
                is_chinese(&said) && !said.contains(what.as_str()) && !said.contains("line"),
                "{said}"
            );
        }
        let problem = format!("openai/new: price.output: {what}");
        assert!(chinese(&problem).is_some_and(|said| !said.contains(": ")));
    }
    assert!(told > 50, "the scan finds them: {told}");
    assert!(sources.sentences.contains_key("it is not an amount"));
    // As `Problem` itself writes it, and as the file's place is added to it.
    let problem = akm_core::provider::models::Models::from_json("{}").unwrap_err();
    let said = chinese(&problem.to_string()).unwrap();
    assert_eq!(said, "模型目录：schema（第 1 行）：缺少字段");
}

#[test]
fn the_scan_sees_sentences() {
    let mut sources = Sources::default();
    let source = r#"
        /// not this one
        fn f() { Error::new(Kind::Io, match x { _ => "AKM is broken" }).with_hint(format!("there is {name}")) }
        fn g() -> &'static str { "a sentence of a function" }
        #[cfg(test)] mod tests { fn t() { "nor this one" } }"#;
    sources.scan(Path::new("x.rs"), source.parse().unwrap(), false);
    let found: Vec<(&str, bool)> = sources
        .sentences
        .iter()
        .map(|(text, place)| (text.as_str(), place.in_error))
        .collect();
    let expected = [
        ("AKM is broken", true),
        ("a sentence of a function", false),
        ("there is {}", true),
    ];
    assert_eq!(found, expected);
    assert_eq!(chinese("there is openai/work").unwrap(), "现有 openai/work");
    assert_eq!(chinese("never said by anybody"), None);
}
