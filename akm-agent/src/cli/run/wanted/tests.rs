//! Collisions, without an agent.

use super::*;

fn wants(variable: &str, name: &str) -> Wanted {
    Wanted {
        variable: variable.to_owned(),
        source: Source::Key(name.to_owned()),
    }
}

pub(super) fn plain(variable: &str, value: &str) -> Wanted {
    Wanted {
        variable: variable.to_owned(),
        source: Source::Plain(Secret::new(value.to_owned())),
    }
}

#[test]
fn two_values_of_one_variable_are_refused() {
    let mut same_twice = vec![wants("A", "openai/x"), wants("A", "openai/x")];
    check_collisions(&mut same_twice).unwrap();
    assert_eq!(same_twice.len(), 1);
    let mut same_text = vec![plain("A", "x"), plain("B", "x"), plain("A", "x")];
    check_collisions(&mut same_text).unwrap();
    assert_eq!(same_text.len(), 2);
    let mut apart = vec![wants("A", "openai/x"), wants("B", "openai/x")];
    check_collisions(&mut apart).unwrap();
    assert_eq!(apart.len(), 2);
    for other in [wants("A", "openai/y"), plain("A", "openai/x")] {
        let mut collision = vec![other, wants("A", "openai/x")];
        assert!(check_collisions(&mut collision).is_err());
    }
    let mut texts = vec![plain("A", "x"), plain("A", "y")];
    assert!(check_collisions(&mut texts).is_err());
}

#[test]
fn an_alias_that_programs_prefer_is_taken_away_unless_it_is_asked_for() {
    let google = Programs::builtin("google").unwrap();
    let programs = BTreeMap::from([("google".to_owned(), google)]);
    let unset = |wanted: &[Wanted], name: &str, value: &str| {
        let mut unset = Vec::new();
        let get = |asked: &str| (asked == name).then(|| OsString::from(value));
        drop_preferred(wanted, &programs, &mut unset, &get);
        unset
    };
    let key = [wants("GEMINI_API_KEY", "google/x")];
    assert_eq!(unset(&key, "GOOGLE_API_KEY", "AIza"), ["GOOGLE_API_KEY"]);
    assert!(unset(&key, "GOOGLE_API_KEY", "").is_empty());
    let both = [
        wants("GEMINI_API_KEY", "google/x"),
        wants("GOOGLE_API_KEY", "google/y"),
    ];
    assert!(unset(&both, "GOOGLE_API_KEY", "AIza").is_empty());
    let other = [wants("MY_KEY", "google/x")];
    assert!(unset(&other, "GOOGLE_API_KEY", "AIza").is_empty());
}
