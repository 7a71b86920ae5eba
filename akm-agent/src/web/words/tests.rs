//! The dashboard's message files against each other and against its sources.

use std::collections::BTreeSet;

use akm_core::Kind;
use akm_core::protocol::{
    AccountPassphrase, AccountRecover, AccountRegister, KeyAdd, KeyUpdate, Op, ProviderAdd,
};
use akm_core::provider::models::Category;

use super::*;
use crate::cli::text::sources::Sources;
use crate::cli::text::tests::{is_chinese, messages};

/// Messages that say the same in both languages.
const WITHOUT_CHINESE: &[&str] = &[];
/// Beginnings of ids that code composes, of a family and a token; what no test lists of them is checked here by hand.
const FAMILIES: &[&str] = &[
    "done-",
    "status-",
    "outcome-",
    "kind-",
    "category-",
    "field-",
    "balance-kind-",
    "balance-of-",
    "provider-",
    "role-",
    "order-note-",
    "code-",
    "alert-",
    "offsite-",
    "registration-",
    "change-",
];

#[test]
fn both_languages_have_the_same_messages_and_variables() {
    let (english, chinese) = (messages(EN), messages(ZH));
    assert!(english.len() > 200);
    let ids = |of: &std::collections::BTreeMap<String, _>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&english), ids(&chinese));
    for (id, (words, variables)) in &english {
        let (chinese_words, chinese_variables) = &chinese[id];
        assert_eq!(variables, chinese_variables, "variables of {id}");
        assert!(!is_chinese(words), "{id} is not English: {words}");
        assert!(
            is_chinese(chinese_words) || WITHOUT_CHINESE.contains(&id.as_str()),
            "{id} is not Chinese: {chinese_words}"
        );
    }
}

#[test]
fn every_message_that_is_said_exists_with_those_variables_and_every_one_is_said() {
    let english = messages(EN);
    let sources = Sources::read(&["akm-agent/src/web"]);
    assert!(sources.said.len() > 150, "the scan finds the uses");
    for (file, id, variables) in &sources.said {
        let file = file.display();
        let Some((_, wanted)) = english.get(id) else {
            panic!("{file} says {id}, which is in no message file");
        };
        assert_eq!(variables, wanted, "variables of {id} in {file}");
    }
    let unused: Vec<_> = english
        .keys()
        .filter(|id| !sources.literals.contains(*id))
        .filter(|id| !FAMILIES.iter().any(|family| id.starts_with(family)))
        .collect();
    assert!(unused.is_empty(), "nobody says {unused:?}");
}

#[test]
fn every_token_of_the_contract_has_a_word() {
    let texts = Texts::new();
    let words = Words::new(&texts, Language::English);
    let kinds = Kind::ALL.iter().map(|kind| ("kind", kind.token()));
    let categories = Category::ALL.iter().map(|each| ("category", each.token()));
    for (family, token) in kinds.chain(categories) {
        let id = format!("{family}-{}", token.replace('_', "-"));
        assert!(texts.find(Language::English, &id, &[]).is_some(), "{id}");
    }
    // The fields that an operation of these pages may name.
    fn fields<O: serde::Serialize>(of: &O) -> BTreeSet<String> {
        match serde_json::to_value(of).unwrap() {
            serde_json::Value::Object(fields) => fields.into_iter().map(|(name, _)| name).collect(),
            _ => BTreeSet::new(),
        }
    }
    let secret = || akm_core::Secret::new("x".into());
    let some = || Some("x".to_owned());
    let mut named = fields(&KeyAdd {
        name: "x".into(),
        secret: secret(),
        model: some(),
        categories: vec!["x".into()],
        notes: some(),
        expires_at: some(),
        env: some(),
        low_balance: some(),
        lifetime_s: None,
        team: some(),
        use_only: Some(true),
        confirm: None,
        base_url: some(),
    });
    named.extend(fields(&KeyUpdate {
        name: "x".into(),
        new_name: some(),
        passphrase: Some(secret()),
        secret: Some(secret()),
        ..KeyUpdate::default()
    }));
    named.extend(fields(&AccountRegister {
        account: "x".into(),
        passphrase: secret(),
        totp: None,
        invitation: Some(secret()),
    }));
    named.extend(fields(&AccountPassphrase {
        passphrase: secret(),
        new_passphrase: secret(),
    }));
    named.extend(fields(&AccountRecover {
        account: some(),
        code: secret(),
        new_passphrase: secret(),
    }));
    named.extend(fields(&ProviderAdd {
        record: serde_json::Map::new(),
    }));
    for field in named {
        assert_ne!(words.token("field", &field), field, "field-{field}");
    }
    assert_eq!(words.token("kind", "brand_new"), "brand_new");
    assert!(Op::ALL.len() > 30);
}

#[test]
fn the_language_is_chosen_by_a_person_and_then_by_the_browser() {
    use Language::{Chinese, English};
    for (chosen, accepted, wanted) in [
        (None, "", English),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", Chinese),
        (None, "fr, ZH-hant;q=0.5, en;q=0.4", Chinese),
        (None, "de-DE, en-GB;q=0.3", English),
        (Some("en"), "zh-CN", English),
        (Some("zh"), "en", Chinese),
        (Some("<script>"), "zh", Chinese),
    ] {
        assert_eq!(choose(chosen, accepted), wanted, "{chosen:?} {accepted}");
    }
}

#[test]
fn a_name_cannot_turn_a_sentence_around_and_an_error_is_a_sentence() {
    let texts = Texts::new();
    let english = Words::new(&texts, Language::English);
    let said = english.say(
        "error-of-field",
        &[
            ("field", "a\u{202e}b".into()),
            ("message", "c\u{1b}".into()),
        ],
    );
    assert!(
        said.contains("\\u{202e}") && !said.contains('\u{1b}'),
        "{said}"
    );
    assert_eq!(english.error(&Error::locked()), "The account is locked.");
    let chinese = Words::new(&texts, Language::Chinese);
    assert_eq!(chinese.error(&Error::locked()), "账户已锁定。");
    assert_eq!(english.say("no-such-id", &[]), "no-such-id");
}
