//! Every format there and back, and what somebody else wrote.

use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use crate::secret::Secret;

const FORMATS: [ExportFormat; 3] = [ExportFormat::Json, ExportFormat::Cxf, ExportFormat::Env];

fn bare(name: &str, secret: &str) -> KeyRow {
    KeyRow {
        name: name.to_owned(),
        secret: Secret::new(secret.to_owned()),
        model: None,
        categories: Vec::new(),
        notes: None,
        expires_at: None,
        env: None,
        low_balance: None,
        team: None,
        lifetime_s: None,
        use_only: None,
        confirm: None,
        base_url: None,
        disabled: None,
    }
}

fn full() -> KeyRow {
    KeyRow {
        model: Some("gpt-5".to_owned()),
        categories: vec!["prod".to_owned(), "团队".to_owned()],
        notes: Some("first line\nsecond \"line\" \\ with 'quotes'".to_owned()),
        expires_at: Some("2027-01-31T12:34:56.789Z".to_owned()),
        env: Some("MY_OWN_KEY".to_owned()),
        low_balance: Some("5 CNY".to_owned()),
        team: Some("team-1".to_owned()),
        lifetime_s: Some(3600),
        use_only: Some(true),
        confirm: Some(true),
        base_url: Some("https://proxy.example/v1".to_owned()),
        disabled: Some(true),
        ..bare("openai/工作 two", "sk-\"'\\$`#= end")
    }
}

fn written(format: ExportFormat, rows: &[KeyRow]) -> Vec<u8> {
    let mut out = Zeroizing::default();
    let origin = Origin {
        id: [9; 16],
        created_at: 1_800_000_000_123,
        updated_at: 1_800_000_001_123,
    };
    let mut writer = Writer::begin(format, &[8; 16], 1_800_000_002_000, &mut out);
    for row in rows {
        writer.row(row, &origin, &mut out).unwrap();
    }
    assert_eq!(writer.rows(), rows.len() as u64);
    writer.end(&mut out);
    out.to_vec()
}

/// As text, for a comparison that a secret has not.
fn texts(rows: &[KeyRow]) -> Vec<String> {
    rows.iter()
        .map(|row| serde_json::to_string(row).unwrap())
        .collect()
}

#[test]
fn every_format_is_told_by_its_beginning_and_comes_back() {
    for format in FORMATS {
        for rows in [vec![], vec![bare("openai/default", "sk-1")]] {
            let file = written(format, &rows);
            if format != ExportFormat::Env || !rows.is_empty() {
                assert_eq!(detect(&file).unwrap(), FileFormat::Plain(format));
            }
            let parsed = parse(format, &file).unwrap();
            assert_eq!(texts(&parsed.keys), texts(&rows), "{format:?}");
            assert_eq!(parsed.ignored, 0);
        }
    }
    assert_eq!(detect(b"age-encryption.org/v1\n").unwrap(), FileFormat::Age);
    assert_eq!(detect(b" \n").unwrap_err().field(), Some("file"));
}

#[test]
fn json_and_cxf_keep_everything_that_is_known_of_a_key() {
    let rows = [full(), bare("anthropic/default", "sk-2")];
    for format in [ExportFormat::Json, ExportFormat::Cxf] {
        let file = written(format, &rows);
        assert_eq!(texts(&parse(format, &file).unwrap().keys), texts(&rows));
        // Behind a byte order mark too.
        let marked = [b"\xef\xbb\xbf", &file[..]].concat();
        assert_eq!(detect(&marked).unwrap(), FileFormat::Plain(format));
        assert_eq!(parse(format, &marked).unwrap().keys.len(), 2);
    }
}

#[test]
fn cxf_has_the_form_of_the_standard() {
    let file = written(ExportFormat::Cxf, &[full()]);
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file["version"], serde_json::json!({"major": 1, "minor": 0}));
    assert_eq!(file["timestamp"], 1_800_000_002);
    let item = &file["accounts"][0]["items"][0];
    assert_eq!(item["id"], "CQkJCQkJCQkJCQkJCQkJCQ");
    assert_eq!(item["title"], "openai/工作 two");
    assert_eq!(item["creationAt"], 1_800_000_000);
    let key = &item["credentials"][0];
    assert_eq!(key["type"], "api-key");
    assert_eq!(key["key"]["fieldType"], "concealed-string");
    assert_eq!(key["key"]["value"], full().secret.expose());
    assert_eq!(key["keyType"]["value"], "openai");
    assert_eq!(key["url"]["value"], "https://proxy.example/v1");
    assert_eq!(
        key["expiryDate"],
        serde_json::json!({"fieldType": "date", "value": "2027-01-31"})
    );
    assert_eq!(item["credentials"][1]["type"], "note");
    assert_eq!(item["credentials"][2]["type"], "custom-fields");
    assert_eq!(item["tags"], serde_json::json!(["prod", "团队"]));
}

#[test]
fn cxf_of_others_is_read_and_what_is_no_key_is_passed_over() {
    let file = br#"{"version":{"major":1,"minor":3},"exporterRpId":"x.example","timestamp":1,"new":[{}],"accounts":[{"id":"a",
        "items":[
        {"id":"1","title":"openai/work","scope":{"urls":[]},"credentials":[
            {"type":"passkey","key":"cGsx","url":7,"fields":null,"content":[1,[2]]},
            {"type":"api-key","key":{"id":"x","fieldType":"concealed-string","value":"sk-1","extensions":[{"name":"y"}]},
             "username":{"fieldType":"string","value":"me"},"expiryDate":{"fieldType":"date","value":"2027-01-31"}},
            {"type":"api-key","key":{"fieldType":"concealed-string","value":"sk-second"}}]},
        {"id":"2","title":"Bank","credentials":[{"type":"basic-auth","password":{"fieldType":"concealed-string","value":"p"}}]},
        {"id":"3","title":"broken","credentials":[{"type":"api-key","key":{"fieldType":"concealed-string","value":5}}]}]}]}"#;
    assert_eq!(detect(file).unwrap(), FileFormat::Plain(ExportFormat::Cxf));
    let parsed = parse(ExportFormat::Cxf, file).unwrap();
    assert_eq!((parsed.keys.len(), parsed.ignored), (1, 2));
    let key = &parsed.keys[0];
    assert_eq!(
        (key.name.as_str(), key.secret.expose()),
        ("openai/work", "sk-1")
    );
    assert_eq!(key.expires_at.as_deref(), Some("2027-01-31"));
}

#[test]
fn env_keeps_all_that_is_known_and_sets_no_variable_twice_and_none_that_is_off() {
    let rows = [
        bare("openai/default", "sk-1"),
        full(),
        bare("openai/home", "it's \"$1\" `x` \\"),
        bare("unheard-of/x y", "sk-4"),
        bare("01ai/default", "sk-5"),
    ];
    let file = written(ExportFormat::Env, &rows);
    let text = std::str::from_utf8(&file).unwrap();
    let set: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    assert_eq!(
        set,
        ["OPENAI_API_KEY", "UNHEARD_OF_API_KEY", "AKM_01AI_API_KEY"]
    );
    let parsed = parse(ExportFormat::Env, &file).unwrap();
    assert_eq!(parsed.keys.len(), rows.len());
    assert_eq!(texts(&parsed.keys), texts(&rows));
    // What is known and cannot be read is no key without it.
    for wrong in [r#"{"use_only":true,"canary":1}"#, r#"{"use_only""#, "{}x"] {
        let file = format!("# akm://openai/work\n# akm {wrong}\nOPENAI_API_KEY='canary'\n");
        let error = parse(ExportFormat::Env, file.as_bytes()).unwrap_err();
        assert_eq!(error.hint(), Some("look at line 2"), "{wrong}");
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[test]
fn a_shell_reads_the_env_as_it_was_meant() {
    let rows = [
        bare("openai/default", "it's \"$HOME\" `id` \\n #x"),
        bare("groq/default", "plain #x $HOME"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("env");
    std::fs::write(&path, written(ExportFormat::Env, &rows)).unwrap();
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            ". {}; printf '%s\\n' \"$OPENAI_API_KEY\" \"$GROQ_API_KEY\"",
            path.display()
        ))
        .output()
        .unwrap();
    let expected: String = rows
        .iter()
        .map(|row| format!("{}\n", row.secret.expose()))
        .collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn an_env_of_others_gives_the_keys_of_known_variables() {
    let file = "# my keys\n\nexport OPENAI_API_KEY=sk-1 # for work\nDEBUG=1\n#ANTHROPIC_API_KEY=old\nANTHROPIC_API_KEY = \"a\\\"b\" # x\nGROQ_API_KEY=''\r\n";
    let parsed = parse(ExportFormat::Env, file.as_bytes()).unwrap();
    let keys: Vec<_> = parsed
        .keys
        .iter()
        .map(|key| (key.name.as_str(), key.secret.expose(), key.env.as_deref()))
        .collect();
    assert_eq!(
        keys,
        [
            ("openai", "sk-1", None),
            ("anthropic", "a\"b", None),
            ("groq", "", None)
        ]
    );
    assert_eq!(parsed.ignored, 1);
    for (bad, line) in [
        ("A='x\n", 1),
        ("\nB=\"x\\\"\n", 2),
        ("canary\n", 1),
        ("1A=x", 1),
        ("A='x'y", 1),
    ] {
        let error = parse(ExportFormat::Env, bad.as_bytes()).unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::InvalidInput, Some("file")),
            "{bad}"
        );
        assert_eq!(
            error.hint(),
            Some(format!("look at line {line}").as_str()),
            "{bad}"
        );
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[test]
fn another_version_field_or_format_is_refused_and_nothing_comes_back() {
    let json = |text: &str| parse(ExportFormat::Json, text.as_bytes()).unwrap_err();
    let newer = r#"{"format":"akm-export","version":2,"keys":{"canary":1}}"#;
    assert_eq!(json(newer).kind(), Kind::UnsupportedVersion);
    assert_eq!(json(newer).hint(), Some("read it with a newer akm"));
    for text in [
        r#"{"format":"akm-export","version":1,"keys":[{"name":"a","secret":"b","canary":1}]}"#,
        r#"{"format":"akm-export","version":1,"keys":[{"name":"a","name":"canary","secret":"b"}]}"#,
        r#"{"format":"akm-export","version":1,"keys":[],"keys":[]}"#,
        r#"{"format":"akm-export","version":1,"keys":[],"canary":1}"#,
        r#"{"format":"akm-export","version":1,"keys":[{"name":"canary"}]}"#,
        r#"{"format":"canary","version":1,"keys":[]}"#,
        r#"{"format":"akm-export","version":1e999,"keys":[]}"#,
        r#"{"format":"akm-export","version":1,"keys":[]} canary"#,
        "canary",
    ] {
        let error = json(text);
        assert_eq!(error.kind(), Kind::InvalidInput, "{text}");
        assert!(
            !format!("{error:?}").contains("canary"),
            "{text}: {error:?}"
        );
    }
    assert_eq!(
        parse(ExportFormat::Json, b"\xff").unwrap_err().field(),
        Some("file")
    );
    let newer = br#"{"version":{"major":2},"accounts":[]}"#;
    let error = parse(ExportFormat::Cxf, newer).unwrap_err();
    assert_eq!(error.kind(), Kind::UnsupportedVersion);
    assert_eq!(error.hint(), Some("read it with a newer akm"));
}

#[test]
fn json_bombs_end_early() {
    // Control: the reader takes a file of this size.
    let many: Vec<KeyRow> = (0..MAX_KEYS)
        .map(|n| bare(&format!("a/{n}"), "x"))
        .collect();
    let file = written(ExportFormat::Json, &many);
    assert_eq!(
        parse(ExportFormat::Json, &file).unwrap().keys.len(),
        MAX_KEYS
    );
    let mut many = many;
    many.push(bare("a/more", "x"));
    let file = written(ExportFormat::Json, &many);
    assert_eq!(
        parse(ExportFormat::Json, &file).unwrap_err().field(),
        Some("file")
    );

    for format in [ExportFormat::Json, ExportFormat::Cxf] {
        let deep = "[".repeat(100_000);
        for bomb in [
            deep.clone(),
            format!(r#"{{"format":"akm-export","version":1,"keys":{deep}"#),
            format!(r#"{{"version":{{"major":1}},"x":{deep}"#),
            format!(
                r#"{{"version":{{"major":1}},"accounts":[{{"items":[{{"title":"a","credentials":[{{"type":"api-key","key":{deep}"#
            ),
            r#"{"a":"#.repeat(100_000),
        ] {
            assert!(parse(format, bomb.as_bytes()).is_err());
        }
    }
    let error = parse(ExportFormat::Env, &vec![b'#'; MAX_FILE + 1]).unwrap_err();
    assert_eq!(error.field(), Some("file"));
}

proptest! {
    #[test]
    fn whatever_a_key_holds_comes_back(
        label in "[^/\\p{C}\\s]{1,20}", secret in "[ -~]{1,60}", notes in proptest::option::of("\\PC{1,40}"),
        disabled: bool, url: bool,
    ) {
        let row = KeyRow {
            notes,
            disabled: disabled.then_some(true),
            base_url: url.then(|| "https://proxy.example/v1".to_owned()),
            ..bare(&format!("openai/{label}"), &secret)
        };
        let rows = [row];
        for format in [ExportFormat::Json, ExportFormat::Cxf] {
            let parsed = parse(format, &written(format, &rows)).unwrap();
            prop_assert_eq!(texts(&parsed.keys), texts(&rows));
        }
        let parsed = parse(ExportFormat::Env, &written(ExportFormat::Env, &rows)).unwrap();
        prop_assert_eq!(&parsed.keys[0].name, &rows[0].name);
        prop_assert_eq!(parsed.keys[0].secret.expose(), rows[0].secret.expose());
        prop_assert_eq!(&parsed.keys[0].base_url, &rows[0].base_url);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = detect(&bytes);
        for format in FORMATS {
            let _ = parse(format, &bytes);
        }
    }
}
