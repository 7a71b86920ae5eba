//! What is listed, what is found, and which file takes the place of the built-in models.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn nowhere() -> &'static Path {
    Path::new("/nonexistent/models.json")
}

fn asked(request: ModelList) -> Vec<ModelInfo> {
    list_models(nowhere(), &request, &|_| false).unwrap().models
}

#[test]
fn the_builtin_models_are_all_there_and_keep_their_marks() {
    let page = list_models(nowhere(), &ModelList::default(), &|_| false).unwrap();
    assert_eq!(page.models.len(), 782);
    assert!(!page.installed);
    let unlicensed = |row: &&ModelInfo| row.sources == ["model-bank"];
    assert_eq!(page.models.iter().filter(unlicensed).count(), 103);
    assert!(
        page.models
            .iter()
            .filter(unlicensed)
            .all(|row| !row.verified)
    );
    // Unknown is unknown and never free: no price at all, or a known zero.
    assert_eq!(
        page.models.iter().filter(|row| row.price.is_none()).count(),
        107
    );
    let free = |row: &&ModelInfo| row.price.as_ref().is_some_and(|p| p.input == Some(0.0));
    assert_eq!(page.models.iter().filter(free).count(), 7);
    let providers = list_providers(nowhere(), &[]).unwrap().providers;
    assert_eq!(providers.len(), 46);
    assert_eq!(providers.iter().map(|p| p.models).sum::<u32>(), 782);
    // Every provider whose models are known has a default, and it is one of them.
    for provider in &providers {
        assert_eq!(
            provider.default_model.is_some(),
            provider.models > 0,
            "{}",
            provider.id
        );
        let of = |row: &&ModelInfo| row.provider == provider.id && row.default;
        assert!(
            provider.models == 0 || page.models.iter().any(|row| of(&row)),
            "{}",
            provider.id
        );
    }
    let openai = providers.iter().find(|p| p.id == "openai").unwrap();
    assert_eq!(openai.default_model.as_deref(), Some("gpt-5.6"));
    assert_eq!(
        (openai.status.as_str(), openai.kind.as_str()),
        ("active", "llm")
    );
    assert_eq!(openai.endpoints[0].protocol, "openai-chat");
}

#[test]
fn filters_combine_and_orders_put_the_unknown_last() {
    let rows = asked(ModelList {
        provider: Some("claude".into()),
        category: Some("long_context".into()),
        min_context: Some(500_000),
        sort: Some(ModelSort::Price),
    });
    assert!(!rows.is_empty());
    for row in &rows {
        assert_eq!(row.provider, "anthropic");
        assert!(row.category == "long_context" || row.tags.contains(&"long_context".to_owned()));
        assert!(row.context.unwrap() >= 500_000);
    }
    let price = |row: &ModelInfo| row.price.as_ref().and_then(|p| p.output);
    assert!(rows.windows(2).all(|w| price(&w[0]) <= price(&w[1])));

    let all = asked(ModelList {
        sort: Some(ModelSort::Price),
        ..ModelList::default()
    });
    let currency = |row: &ModelInfo| row.price.as_ref().map(|p| p.currency.clone());
    let mut runs: Vec<Option<String>> = all.iter().map(currency).collect();
    runs.dedup();
    assert_eq!(runs, [Some("USD".into()), Some("CNY".into()), None]);
    let wide = asked(ModelList {
        sort: Some(ModelSort::Context),
        ..ModelList::default()
    });
    assert!(wide.windows(2).all(|w| w[0].context >= w[1].context));
    assert!(wide.last().unwrap().context.is_none());
    let refused = |request| list_models(nowhere(), &request, &|_| false).unwrap_err();
    let error = refused(ModelList {
        category: Some("poetry".into()),
        ..ModelList::default()
    });
    assert_eq!(error.field(), Some("category"));
    let error = refused(ModelList {
        provider: Some("No".into()),
        ..ModelList::default()
    });
    assert_eq!(error.field(), Some("provider"));
}

#[test]
fn rows_of_a_provider_that_nobody_knows_are_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let installed = dir.path().join("models.json");
    let file = r#"{"schema":1,"compiled":"2026-12-01","defaults":{"openai":"a","mine":"m"},"models":[
        {"provider":"openai","id":"a","name":"A","category":"chat","context":1,"max_output":1,"price":null,"sources":["me"],"verified":false},
        {"provider":"mine","id":"m","name":"M","category":"chat","context":1,"max_output":1,"price":null,"sources":["me"],"verified":false}]}"#;
    let error = install_models(file.as_bytes(), &installed, &|_| false).unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (Kind::InvalidInput, Some("models"))
    );
    assert_eq!(
        error.hint(),
        Some(
            "mine/m: provider: there is no such provider, built in or of the account that is unlocked"
        )
    );
    assert!(!installed.exists());
    // An alias is no id: its rows would be found by nobody.
    let alias = file.replace("\"mine\"", "\"claude\"");
    assert!(install_models(alias.as_bytes(), &installed, &|_| false).is_err());
    // Of one that was added they are, and its models and default are known then.
    let added = |id: &str| id == "mine";
    assert_eq!(
        install_models(file.as_bytes(), &installed, &added).unwrap(),
        2
    );
    let record = super::super::read_own(
        r#"{"id":"mine","display_name":"Mine","display_name_zh":"我的","status":"active","kind":"gateway","auth":{"style":"bearer"},
        "env":{"primary":"MINE"},"verified":false,"endpoints":[{"base_url":"https://gw.example.com","region":"global","protocol":"openai-chat"}],
        "test":{"method":"GET","url":"{base_url}/models","proves_key":false,"cost":"none","verified":false}}"#,
    );
    let list = list_providers(&installed, &[Added::Own(record.unwrap())]).unwrap();
    let mine = list.providers.last().unwrap();
    assert_eq!((mine.id.as_str(), mine.models, mine.own), ("mine", 1, true));
    assert_eq!(mine.default_model.as_deref(), Some("m"));
}

#[test]
fn models_of_a_provider_that_nobody_knows_are_not_found() {
    let models_of = |id: &str, added: bool| {
        let request = ModelList {
            provider: Some(id.into()),
            ..ModelList::default()
        };
        list_models(nowhere(), &request, &|_| added)
    };
    for (typed, hint) in [
        ("nobody", "run akm providers"),
        ("opnai", "did you mean openai? akm providers lists all"),
        (
            "anthropics",
            "did you mean anthropic? akm providers lists all",
        ),
        ("gemni", "did you mean gemini? akm providers lists all"),
    ] {
        let error = models_of(typed, false).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::NotFound, Some("provider"))
        );
        assert_eq!(error.hint(), Some(hint));
    }
    // Known, with no models that anybody listed: none is an answer.
    assert!(models_of("nobody", true).unwrap().models.is_empty());
    assert!(models_of("poe", false).unwrap().models.is_empty());
    assert!(!models_of("gemini", false).unwrap().models.is_empty());
}

#[test]
fn a_file_replaces_the_models_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let installed = dir.path().join("models.json");
    let install = |text: &str| install_models(text.as_bytes(), &installed, &|_| false);
    let rows = || {
        list_models(&installed, &ModelList::default(), &|_| false)
            .map(|page| (page.models.len(), page.installed))
    };
    let good = r#"{"schema":1,"compiled":"2026-12-01","defaults":{"openai":"new"},"models":[
        {"provider":"openai","id":"new","name":"New","category":"chat","context":1,"max_output":1,"price":null,"sources":["me"],"verified":false}]}"#;
    assert_eq!(rows().unwrap(), (782, false));
    assert_eq!(install(good).unwrap(), 1);
    assert_eq!(rows().unwrap(), (1, true));
    assert_eq!(
        std::fs::metadata(&installed).unwrap().permissions().mode() & 0o7777,
        0o600
    );

    // A bad one changes nothing, and says where it is bad.
    let error = install(&good.replace(r#""max_output":1"#, r#""max_output":0"#)).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("openai/new: max_output: "),
        "{error:?}"
    );
    assert_eq!(rows().unwrap(), (1, true));
    // One without end is read no further than a catalogue may go.
    let endless = install_models(std::io::repeat(b' '), &installed, &|_| false);
    assert_eq!(endless.unwrap_err().kind(), Kind::InvalidInput);
    assert_eq!(rows().unwrap(), (1, true));
    let left: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");

    // One that went bad in its place is refused, not passed over.
    std::fs::write(&installed, good.replace("\"chat\"", "\"poetry\"")).unwrap();
    let error = rows().unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(
        error
            .hint()
            .unwrap()
            .contains("models[0].category (line 2)"),
        "{error:?}"
    );
    std::fs::write(&installed, good).unwrap();
    std::fs::set_permissions(&installed, std::fs::Permissions::from_mode(0o622)).unwrap();
    assert_eq!(rows().unwrap_err().kind(), Kind::Denied);
    assert!(reset_models(&installed).unwrap());
    assert!(!reset_models(&installed).unwrap());
    assert_eq!(rows().unwrap(), (782, false));
}
