//! Addresses and `NO_PROXY`, without an agent.

use super::super::tests::plain;
use super::*;

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

/// A provider that somebody added.
fn listed(env: &str, base_url: &str) -> ProviderInfo {
    serde_json::from_value(serde_json::json!({
        "id": "gateway", "aliases": [], "name": "", "name_zh": "", "status": "active", "kind": "gateway",
        "endpoints": [{"base_url": "https://gw.example.com/v1", "region": "global", "protocol": "openai-chat"}], "env": env, "base_url_env": [{"name": base_url}],
        "test": {"proves_key": false, "cost": "none", "region_bound": false},
        "default_model": null, "models": 0, "console_url": null, "docs_url": null, "verified": false,
    }))
    .unwrap()
}

fn address_of(keys: &[Key], inherited: &[(&str, &str)]) -> Result<(Vec<Wanted>, Vec<String>)> {
    let mut unset = Vec::new();
    let mut programs: BTreeMap<String, Programs> = keys
        .iter()
        .filter_map(|key| Some((key.provider.clone(), Programs::builtin(&key.provider)?)))
        .collect();
    programs.insert(
        "gateway".to_owned(),
        Programs::listed(&listed("GATEWAY_KEY", "GATEWAY_URL")),
    );
    let get = |name: &str| {
        let found = inherited.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let wanted = addresses(keys.iter(), &programs, &mut unset, &get)?;
    Ok((wanted, unset))
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
    let mut unset = Vec::new();
    let mut wanted = vec![
        plain("OPENAI_BASE_URL", ""),
        plain("OTHER", ""),
        plain("ANTHROPIC_BASE_URL", "https://x.example.com"),
    ];
    drop_empty(&mut wanted, &BTreeMap::new(), &mut unset);
    assert_eq!(unset, ["OPENAI_BASE_URL"]);
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
        let added = no_proxy(&mut wanted, &BTreeMap::new(), &get);
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
            pair("NO_PROXY", "a.b, localhost,127.0.0.1,::1"),
            pair("no_proxy", "a.b, localhost,127.0.0.1,::1"),
        ]
    );
    // Whoever reads the spelling that is not there reads the other one's hosts still.
    let local = || base("http://127.0.0.1:1");
    let both = |value: &str| [pair("NO_PROXY", value), pair("no_proxy", value)];
    let corp = "corp,127.0.0.1,localhost";
    assert_eq!(with(local(), &[("no_proxy", "corp")]), both(corp));
    let inherited = [("no_proxy", ""), ("NO_PROXY", "corp")];
    assert_eq!(with(local(), &inherited), both(corp));
    // No proxy for anything stays that: curl and Python know a star only where it stands alone.
    assert_eq!(with(local(), &[("NO_PROXY", "*")]), [pair("NO_PROXY", "*")]);
    assert_eq!(with(local(), &[("no_proxy", "*")]), both("*"));
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

#[test]
fn a_proxy_is_never_asked_for_this_machine() {
    for proxy in ["HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
        let get = |name: &str| (name == proxy).then(|| OsString::from("http://proxy:1"));
        let added = no_proxy(&mut Vec::new(), &BTreeMap::new(), &get);
        assert_eq!(
            texts(&added),
            [("NO_PROXY", "127.0.0.1,localhost")],
            "{proxy}"
        );
        let mut wanted = vec![plain(proxy, "http://proxy:1")];
        assert_eq!(no_proxy(&mut wanted, &BTreeMap::new(), &|_| None).len(), 1);
    }
    assert!(no_proxy(&mut Vec::new(), &BTreeMap::new(), &|_| None).is_empty());
}

#[test]
fn a_variable_does_not_have_what_a_program_appends() {
    for (name, address, variable, value) in [
        (
            "google/x",
            "http://127.0.0.1:1/v1beta",
            "GOOGLE_GEMINI_BASE_URL",
            "http://127.0.0.1:1",
        ),
        (
            "google/x",
            "http://127.0.0.1:1",
            "GOOGLE_GEMINI_BASE_URL",
            "http://127.0.0.1:1",
        ),
        (
            "ollama/x",
            "http://127.0.0.1:1/api",
            "OLLAMA_HOST",
            "http://127.0.0.1:1",
        ),
        (
            "azure-openai/x",
            "https://a.example/openai/v1",
            "AZURE_OPENAI_ENDPOINT",
            "https://a.example",
        ),
        (
            "groq/x",
            "https://a.example/openai/v1",
            "GROQ_BASE_URL",
            "https://a.example",
        ),
        (
            "openai/x",
            "https://a.example/v1",
            "OPENAI_BASE_URL",
            "https://a.example/v1",
        ),
    ] {
        let (wanted, _) = address_of(&[key(name, Some(address))], &[]).unwrap();
        assert_eq!(texts(&wanted), [(variable, value)]);
    }
}

#[test]
fn a_key_goes_to_no_other_providers_address() {
    let (own, none) = (Some("https://a.example.com"), None);
    // One variable for both providers.
    for (zai, zhipu) in [
        (own, none),
        (none, own),
        (own, Some("https://b.example.com")),
    ] {
        let keys = [key("zai/x", zai), key("zhipu/x", zhipu)];
        assert!(address_of(&keys, &[]).is_err(), "{zai:?} {zhipu:?}");
    }
    let keys = [key("zai/x", own), key("zhipu/x", own)];
    assert_eq!(address_of(&keys, &[]).unwrap().0.len(), 1);
    // Another variable that leads such a key elsewhere is taken away; without an address of its own it is the user's.
    let inherited = [("OPENAI_API_BASE", "https://old.example")];
    let (_, unset) = address_of(&[key("openai/x", own)], &inherited).unwrap();
    assert_eq!(unset, ["OPENAI_API_BASE"]);
    let (_, unset) = address_of(&[key("openai/x", none)], &inherited).unwrap();
    assert!(unset.is_empty());
    // It is what another provider's key is led by.
    let keys = [key("lmstudio/x", own), key("openai/x", none)];
    let (wanted, unset) = address_of(&keys, &[("OPENAI_BASE_URL", "https://own.example")]).unwrap();
    assert_eq!(texts(&wanted), [("LM_STUDIO_API_BASE", own.unwrap())]);
    assert!(unset.is_empty());
}

/// LM Studio's programs read `OPENAI_BASE_URL` too, after their own variable.
#[test]
fn a_variable_is_of_the_provider_that_reads_it_first() {
    let (own, other) = ("https://a.example.com/v1", "http://127.0.0.1:9/v1");
    let both = |lmstudio, openai, inherited: &[(&str, &str)]| {
        let keys = [key("lmstudio/x", lmstudio), key("openai/x", openai)];
        let (wanted, unset) = address_of(&keys, inherited).unwrap();
        let wanted: Vec<_> = wanted
            .iter()
            .map(text)
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        (wanted, unset)
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for openai in [own, other] {
        let led = [
            pair("LM_STUDIO_API_BASE", other),
            pair("OPENAI_BASE_URL", openai),
        ];
        for inherited in [&[][..], &[("OPENAI_BASE_URL", "https://b.example.com")]] {
            assert_eq!(
                both(Some(other), Some(openai), inherited),
                (led.to_vec(), vec![])
            );
        }
    }
    // Without an address of its own it would follow OpenAI's key to that one's.
    let usual = "http://127.0.0.1:1234/v1";
    let led = vec![
        pair("LM_STUDIO_API_BASE", usual),
        pair("OPENAI_BASE_URL", own),
    ];
    let empty = [("LM_STUDIO_API_BASE", "")];
    let (_, once) = both(None, None, &[("OPENAI_BASE_URL", "")]);
    assert_eq!(once, ["OPENAI_BASE_URL"]);
    assert_eq!(both(None, Some(own), &[]), (led.clone(), vec![]));
    assert_eq!(both(None, Some(own), &empty), (led, vec![]));
    // One that is set is the user's.
    let set = [("LM_STUDIO_API_BASE", other)];
    assert_eq!(
        both(None, Some(own), &set).0,
        [pair("OPENAI_BASE_URL", own)]
    );
    assert_eq!(both(None, None, &[]), (vec![], vec![]));
}

#[test]
fn a_provider_that_was_added_has_its_variables_too() {
    let local = "http://127.0.0.1:8080/v1";
    let (wanted, _) = address_of(&[key("gateway/x", Some(local))], &[]).unwrap();
    assert_eq!(texts(&wanted), [("GATEWAY_URL", local)]);
    assert!(
        address_of(
            &[key("gateway/x", Some(local)), key("gateway/y", None)],
            &[]
        )
        .is_err()
    );
    // Its programs know its address from the record alone: where the key was sealed for it, and nowhere else.
    let old = [("GATEWAY_URL", "https://old.example.com")];
    for (hosts, led) in [
        (&[][..], &[][..]),
        (&["https://elsewhere.example.com:443"], &[]),
        (
            &["https://gw.example.com:443"],
            &[("GATEWAY_URL", "https://gw.example.com/v1")],
        ),
    ] {
        let mut key = key("gateway/x", None);
        key.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (wanted, _) = address_of(&[key], &old).unwrap();
        assert_eq!(texts(&wanted), led, "{hosts:?}");
    }
}
