//! The message files against each other and against the sources.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fluent_syntax::ast::{
    CallArguments, Entry, Expression, InlineExpression, Pattern, PatternElement,
};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::*;

thread_local! {
    /// Messages that this thread looked up.
    pub(in crate::cli) static LOOKED_UP: Cell<usize> = const { Cell::new(0) };
}

/// Ids that code composes of a family and a token; see [`of_token`].
fn composed() -> BTreeSet<String> {
    let categories: Vec<&str> = akm_core::provider::models::Category::ALL
        .iter()
        .map(|category| category.token())
        .collect();
    let families: &[(&str, &[&str])] = &[
        ("status", &["active", "disabled", "expired", "burned"]),
        ("provider", &["active", "uncertain", "retired"]),
        ("category", &categories),
    ];
    families
        .iter()
        .flat_map(|(family, tokens)| tokens.iter().map(move |token| (family, token)))
        .map(|(family, token)| format!("{family}-{}", token.replace('_', "-")))
        .collect()
}

/// Messages that are the same in Chinese because they hold no word that a language has.
const WITHOUT_CHINESE: &[&str] = &["field-agent"];

/// The variables of a message's text.
type Variables = BTreeSet<String>;

/// Every message of a file with its variables; no message stands twice.
fn messages(source: &str) -> BTreeMap<String, (String, Variables)> {
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
        let before = messages.insert(message.id.name.to_owned(), (words, variables));
        assert!(before.is_none(), "{} stands twice", message.id.name);
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

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
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

/// What the sources say: uses of `text!` with their variables, and every literal.
#[derive(Default)]
struct Sources {
    used: Vec<(PathBuf, String, Variables)>,
    literals: BTreeSet<String>,
}

impl Sources {
    fn read(dir: &Path) -> Sources {
        let mut sources = Sources::default();
        for file in rust_files(dir) {
            let source = std::fs::read_to_string(&file).unwrap();
            let tokens: TokenStream = source.parse().expect("the source is Rust");
            sources.scan(&file, tokens);
        }
        sources
    }

    fn scan(&mut self, file: &Path, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, tree) in tokens.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => {
                    let before = |back: usize| {
                        index
                            .checked_sub(back)
                            .map(|at| tokens[at].to_string())
                            .unwrap_or_default()
                    };
                    if group.delimiter() == Delimiter::Brace
                        && before(2) == "mod"
                        && before(1) == "tests"
                    {
                        continue;
                    }
                    if before(1) == "!" && before(2) == "text" {
                        self.used_here(file, group.stream());
                    }
                    self.scan(file, group.stream());
                }
                TokenTree::Literal(literal) => {
                    self.literals.extend(literal_text(&literal.to_string()));
                }
                _ => {}
            }
        }
    }

    /// `"id", name = value, …`
    fn used_here(&mut self, file: &Path, arguments: TokenStream) {
        let tokens: Vec<String> = arguments.into_iter().map(|tree| tree.to_string()).collect();
        let Some(id) = tokens.first().and_then(|first| literal_text(first)) else {
            return; // The macro's own definition.
        };
        let variables = tokens
            .windows(3)
            .filter(|three| three[0] == "," && three[2] == "=")
            .map(|three| three[1].clone())
            .collect();
        self.used.push((file.to_owned(), id, variables));
    }
}

fn literal_text(source: &str) -> Option<String> {
    syn::parse_str::<syn::LitStr>(source)
        .ok()
        .map(|literal| literal.value())
}

/// The files of a directory that are not tests alone.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn own_sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
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
    // Heads of tables and names of fields are given by their ids.
    for literal in &sources.literals {
        let is_id = literal.starts_with("col-") || literal.starts_with("field-");
        assert!(
            !is_id || english.contains_key(literal),
            "no message {literal}"
        );
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
    sources.scan(Path::new("x.rs"), source.parse().unwrap());
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
