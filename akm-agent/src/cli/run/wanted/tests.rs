//! Collisions, addresses and `NO_PROXY`, without an agent.

use super::*;

fn wants(variable: &str, name: &str) -> Wanted {
    Wanted {
        variable: variable.to_owned(),
        source: Source::Key(name.to_owned()),
    }
}

fn plain(variable: &str, value: &str) -> Wanted {
    Wanted {
        variable: variable.to_owned(),
        source: Source::Plain(Secret::new(value.to_owned())),
    }
}

fn key(name: &str, base_url: Option<&str>) -> Key {
    let (provider, label) = name.split_once('/').unwrap();
    serde_json::from_value(serde_json::json!({
        "name": name, "provider": provider, "label": label, "model": null, "categories": [],
        "status": "active", "preview": "", "env": null, "use_only": false, "base_url": base_url,
        "version": 1, "created_at": "", "updated_at": "", "last_used_at": null, "expires_at": null,
    }))
    .unwrap()
}

fn text(one: &Wanted) -> (&str, &str) {
    let value = match &one.source {
        Source::Plain(value) => value.expose(),
        Source::Key(name) => name,
    };
    (&one.variable, value)
}

fn texts(wanted: &[Wanted]) -> Vec<(&str, &str)> {
    wanted.iter().map(text).collect()
}

fn address_of(keys: &[Key], inherited: &[(&str, &str)]) -> Result<(Vec<Wanted>, Vec<String>)> {
    let mut environment = Environment::default();
    let get = |name: &str| {
        let found = inherited.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let wanted = addresses(keys.iter(), &mut environment, &get)?;
    Ok((wanted, environment.unset))
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
fn an_address_brings_its_variable_and_an_empty_one_goes() {
    let local = "http://127.0.0.1:8080/v1";
    let one = key("openai/work", Some(local));
    let (wanted, unset) = address_of(&[one], &[("OPENAI_BASE_URL", "")]).unwrap();
    assert_eq!(texts(&wanted), [("OPENAI_BASE_URL", local)]);
    assert!(unset.is_empty());
    let (wanted, unset) =
        address_of(&[key("openai/work", None)], &[("OPENAI_BASE_URL", "")]).unwrap();
    assert!(wanted.is_empty());
    assert_eq!(unset, ["OPENAI_BASE_URL"]);
    // One that is set is the user's.
    let set = [("OPENAI_BASE_URL", "https://gateway.example.com")];
    let (wanted, unset) = address_of(&[key("openai/work", None)], &set).unwrap();
    assert!(wanted.is_empty() && unset.is_empty());
    let (wanted, _) = address_of(&[key("my-own/x", Some(local))], &[]).unwrap();
    assert!(wanted.is_empty(), "no variable is known for it");
}

#[test]
fn keys_of_one_provider_with_different_addresses_are_refused() {
    let (a, b) = (
        key("openai/a", Some("https://a.example.com")),
        key("openai/b", None),
    );
    assert!(address_of(&[a, b], &[]).is_err());
    let (a, b) = (
        key("openai/a", Some("https://a.example.com")),
        key("google/b", None),
    );
    assert_eq!(address_of(&[a, b], &[]).unwrap().0.len(), 1);
}

#[test]
fn an_empty_base_url_is_never_set() {
    let mut environment = Environment::default();
    let mut wanted = vec![
        plain("OPENAI_BASE_URL", ""),
        plain("OTHER", ""),
        plain("ANTHROPIC_BASE_URL", "https://x.example.com"),
    ];
    check_base_urls(&mut wanted, &mut environment);
    assert_eq!(environment.unset, ["OPENAI_BASE_URL"]);
    assert_eq!(wanted.len(), 2);
}

#[test]
fn this_machine_is_not_asked_for_through_a_proxy() {
    let with = |wanted: Vec<Wanted>, inherited: &[(&str, &str)]| {
        let mut wanted = wanted;
        let get = |name: &str| {
            let found = inherited.iter().find(|(one, _)| *one == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let added = no_proxy(&mut wanted, &get);
        let mut all: Vec<(String, String)> = texts(&added)
            .into_iter()
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        all.sort();
        all
    };
    let base = |url| vec![plain("OPENAI_BASE_URL", url)];
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        with(base("http://127.0.0.1:1"), &[]),
        [pair("NO_PROXY", "127.0.0.1,localhost")]
    );
    assert_eq!(
        with(
            base("http://[::1]:1/v1"),
            &[("no_proxy", "a.b, localhost"), ("NO_PROXY", "")]
        ),
        [
            pair("NO_PROXY", "127.0.0.1,localhost,::1"),
            pair("no_proxy", "a.b, localhost,127.0.0.1,::1"),
        ]
    );
    let mut both = base("http://localhost:1");
    both.push(plain("NO_PROXY", "corp"));
    assert_eq!(
        with(both, &[("NO_PROXY", "other")]),
        [pair("NO_PROXY", "corp,127.0.0.1,localhost")]
    );
    for elsewhere in [
        "https://api.openai.com",
        "http://127.0.0.100:1",
        "https://localhost.example.com",
    ] {
        assert!(with(base(elsewhere), &[]).is_empty(), "{elsewhere}");
    }
    assert!(with(vec![plain("OTHER", "http://127.0.0.1:1")], &[]).is_empty());
}
