//! The keys of an account move from one server to another: two real processes, with nothing between them but a file that only the
//! receiving session can open.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod hosted_support;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use hosted_support::{OPEN, Site, configure};
use serde_json::{Value, json};
use support::{Home, PASSPHRASE, clean};

/// Tiers whose least has room for all keys of this test but one.
fn server(keys: Option<u32>) -> Site {
    let home = Home::new();
    configure(&home, OPEN);
    let billing = home.path().join("billing.toml");
    let most = keys.map_or_else(String::new, |keys| format!("keys = {keys}\n"));
    let tiers = format!(
        "[[tier]]\nid = \"free\"\nname = \"Free\"\nname_zh = \"免费版\"\nprice_fen = 0\n{most}"
    );
    std::fs::write(&billing, tiers).unwrap();
    std::fs::set_permissions(&billing, std::fs::Permissions::from_mode(0o600)).unwrap();
    Site::at(home, OPEN, &["--listen", "http://127.0.0.1:0"])
}

fn ask(site: &Site, token: &str, op: &str, body: &Value) -> Value {
    site.op(Some(token), op, body).result()
}

const KEYS: usize = 700;

fn secret(number: usize) -> String {
    format!("sk-moving-{number:04}-0123456789abcdef")
}

/// Keys of every sort: many, long, with every property, switched off, over, use-only.
fn fill(site: &Site, token: &str) {
    let notes = "说明 \"quoted\" \\ ".repeat(40);
    let keys: Vec<Value> = (0..KEYS)
        .map(|number| match number {
            0 => json!({"name": "openai", "secret": secret(0), "model": "gpt-4o", "categories": ["work", "prod"], "notes": notes,
                "expires_at": "2999-01-31", "env": "MY_KEY", "low_balance": "5 CNY", "team": "org-1", "lifetime_s": 3600}),
            1 => json!({"name": "groq", "secret": secret(1), "use_only": true}),
            2 => json!({"name": "deepseek", "secret": secret(2), "disabled": true, "confirm": true}),
            3 => json!({"name": "mine/own", "secret": secret(3), "base_url": "https://gw.example.com/v1"}),
            _ => json!({"name": format!("openai/key-{number}"), "secret": secret(number), "notes": notes}),
        })
        .collect();
    let mut import = Value::Null;
    for page in keys.chunks(100) {
        let mut request = json!({"keys": page});
        if !import.is_null() {
            request["import"] = import;
        }
        import = ask(site, token, "vault.import", &request)["import"].take();
    }
    let done = ask(
        site,
        token,
        "vault.import",
        &json!({"import": import, "finish": true}),
    );
    assert_eq!(done["added"], KEYS);
}

fn offer(site: &Site, token: &str) -> String {
    let offered = ask(site, token, "handover.offer", &json!({}));
    offered["code"].as_str().unwrap().to_owned()
}

/// All pieces, and what the sender says of the whole.
fn sent(site: &Site, token: &str, code: &str) -> (Vec<String>, Value) {
    let mut request = json!({"code": code, "passphrase": PASSPHRASE});
    let mut pieces = Vec::new();
    loop {
        let mut piece = ask(site, token, "handover.send", &request);
        pieces.push(piece["content"].take().as_str().unwrap().to_owned());
        match piece["next"].as_str() {
            Some(next) => request = json!({"after": next}),
            None => return (pieces, piece),
        }
    }
}

/// Takes pieces in, and finishes; the last answer.
fn received(site: &Site, token: &str, pieces: &[String]) -> hosted_support::Answer {
    let mut handover = Value::Null;
    for piece in pieces {
        let mut request = json!({"content": piece});
        if !handover.is_null() {
            request["handover"] = handover;
        }
        let answer = site.op(Some(token), "handover.receive", &request);
        if answer.status != 200 {
            return answer;
        }
        handover = answer.result()["handover"].take();
    }
    let finish = json!({"handover": handover, "finish": true});
    site.op(Some(token), "handover.receive", &finish)
}

fn count(site: &Site, token: &str) -> usize {
    let list = ask(site, token, "key.list", &json!({"limit": 1000}));
    list["keys"].as_array().unwrap().len()
}

/// What is known of each key, without what is the store's own, and its secret where it is handed out.
fn known(site: &Site, token: &str) -> Vec<Value> {
    let mut list = ask(site, token, "key.list", &json!({"limit": 1000}));
    let mut keys = list["keys"].take().as_array().unwrap().clone();
    for key in &mut keys {
        for own in ["created_at", "updated_at", "secret_at", "last_used_at"] {
            key.as_object_mut().unwrap().remove(own);
        }
    }
    keys.sort_by_key(|key| key["name"].to_string());
    keys
}

#[test]
fn an_account_moves_between_two_servers_and_both_say_the_same_of_it() {
    let (old, new) = (server(None), server(None));
    let (from, to) = (old.register("mei"), new.register("mei-2"));
    fill(&old, &from);
    let code = offer(&new, &to);
    let (pieces, said) = sent(&old, &from, &code);
    assert!(pieces.len() > 3, "{} pieces", pieces.len());
    assert_eq!(
        (&said["keys"], &said["total"]),
        (&json!(KEYS), &json!(KEYS))
    );

    // What is carried holds nothing that can be read.
    let carried: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| data_encoding::BASE64.decode(piece.as_bytes()).unwrap())
        .collect();
    let holds = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    for text in ["sk-moving", "openai", "说明", "\"keys\"", "mei"] {
        assert!(!holds(&carried, text), "{text}");
    }
    assert!(
        holds(&[&carried[..], b"sk-moving"].concat(), "sk-moving"),
        "control"
    );

    let report = received(&new, &to, &pieces).result();
    assert_eq!(
        (&report["keys"], &report["added"], &report["unchanged"]),
        (&json!(KEYS), &json!(KEYS), &json!(0))
    );
    assert_eq!(report["checksum"], said["checksum"], "both say the same");
    assert_eq!(report["differing"], json!([]));
    let (before, after) = (known(&old, &from), known(&new, &to));
    assert_eq!(before.len(), KEYS);
    assert_eq!(before, after, "everything that is known of every key");
    for (name, number) in [("openai", 0), ("mine/own", 3), ("openai/key-699", 699)] {
        let got = ask(&new, &to, "key.get", &json!({ "name": name }));
        assert_eq!(got["secret"], secret(number));
    }
    // Use-only stays use-only, and what was switched off is.
    for name in ["groq", "deepseek"] {
        let refused = new.op(Some(&to), "key.get", &json!({ "name": name }));
        assert_eq!(refused.kind(), "denied", "{name}");
    }
    // Both logs tell of it, key by key.
    for (site, token, action) in [
        (&old, &from, "handover.send"),
        (&new, &to, "handover.receive"),
    ] {
        let wanted = json!({"action": action, "key": "groq"});
        let events = ask(site, token, "audit.list", &wanted);
        assert_eq!(events["events"].as_array().unwrap().len(), 1, "{action}");
    }

    // Again: the code is used up, and a new one is another one.
    let again = received(&new, &to, &pieces);
    assert_eq!((again.status, again.kind().as_str()), (404, "not_found"));
    offer(&new, &to);
    assert_eq!(received(&new, &to, &pieces).kind(), "invalid_input");
    assert_eq!(count(&new, &to), KEYS);
}

#[test]
fn what_is_cut_off_changed_or_meant_for_somebody_else_stores_nothing() {
    let (old, new) = (server(None), server(None));
    let from = old.register("mei");
    fill(&old, &from);
    let to = new.register("mei");
    let other = new.register("somebody-else");
    let code = offer(&new, &to);
    offer(&new, &other);
    let (pieces, _) = sent(&old, &from, &code);
    // Somebody else's session: with a code of its own, and none of the account's own other sessions.
    assert_eq!(received(&new, &other, &pieces).kind(), "invalid_input");
    let elsewhere = new.sign_in("mei", PASSPHRASE).token();
    assert_eq!(received(&new, &elsewhere, &pieces).kind(), "not_found");
    // Cut off behind each piece, and in the middle of one.
    for end in 1..pieces.len() {
        let cut = received(&new, &to, &pieces[..end]);
        assert_eq!(cut.kind(), "invalid_input", "{end}: {cut:?}");
    }
    let mut cut = pieces.clone();
    let last = cut.last_mut().unwrap();
    last.truncate(last.len() / 2 / 4 * 4);
    assert_eq!(received(&new, &to, &cut).kind(), "invalid_input");
    // A letter changed, pieces out of order, one left out, one put twice.
    let mut bent = pieces.clone();
    let at = bent[1].len() / 2;
    let letter = if &bent[1][at..=at] == "A" { "B" } else { "A" };
    bent[1].replace_range(at..=at, letter);
    let mut swapped = pieces.clone();
    swapped.swap(1, 2);
    let mut short = pieces.clone();
    short.remove(1);
    let mut twice = pieces.clone();
    twice.insert(1, pieces[1].clone());
    for (what, wrong) in [
        ("bent", bent),
        ("swapped", swapped),
        ("short", short),
        ("twice", twice),
    ] {
        let refused = received(&new, &to, &wrong);
        assert_eq!(refused.kind(), "invalid_input", "{what}");
        assert!(!refused.body.contains("sk-moving"), "{what}");
    }
    assert_eq!((count(&new, &to), count(&new, &other)), (0, 0));
    // A key that is there with another secret: none comes in, and it is named.
    let add = json!({"name": "openai/key-650", "secret": "sk-mine-0123456789"});
    ask(&new, &to, "key.add", &add);
    let refused = received(&new, &to, &pieces);
    assert_eq!((refused.kind().as_str(), count(&new, &to)), ("conflict", 1));
    ask(&new, &to, "key.remove", &json!({"name": "openai/key-650"}));
    // Control: the same pieces, as they were sent.
    let report = received(&new, &to, &pieces).result();
    assert_eq!(report["added"], KEYS);
}

#[test]
fn an_account_without_room_for_all_takes_none_and_keeps_its_code() {
    let most = u32::try_from(KEYS).unwrap() - 1;
    let (old, new) = (server(None), server(Some(most)));
    let (from, to) = (old.register("mei"), new.register("mei"));
    fill(&old, &from);
    let code = offer(&new, &to);
    let (pieces, _) = sent(&old, &from, &code);
    let full = received(&new, &to, &pieces);
    assert_eq!(
        (full.kind().as_str(), count(&new, &to)),
        ("limit_reached", 0)
    );
    // Where one key less is sent, the same code takes them.
    ask(&old, &from, "key.remove", &json!({"name": "groq"}));
    let (pieces, said) = sent(&old, &from, &code);
    let report = received(&new, &to, &pieces).result();
    assert_eq!(report["added"], most);
    assert_eq!(report["checksum"], said["checksum"]);
}

#[test]
fn whoever_has_the_disks_the_file_and_even_the_passphrase_cannot_open_it_later() {
    let (old, new) = (server(None), server(None));
    let (from, to) = (old.register("mei"), new.register("mei"));
    ask(
        &old,
        &from,
        "key.add",
        &json!({"name": "openai", "secret": secret(0)}),
    );
    let code = offer(&new, &to);
    let (pieces, _) = sent(&old, &from, &code);
    // Nothing was sent without the passphrase, or with another one.
    for body in [
        json!({"code": code}),
        json!({"code": code, "passphrase": "wrong"}),
    ] {
        let refused = old.op(Some(&from), "handover.send", &body);
        assert!([401, 403].contains(&refused.status), "{refused:?}");
    }
    // The session that made the code ends, as it does when the server stops; signing in again does not bring it back.
    ask(&new, &to, "agent.lock", &json!({}));
    let again = new.sign_in("mei", PASSPHRASE).token();
    assert_eq!(received(&new, &again, &pieces).kind(), "not_found");
    // Nor does the sender open its own.
    offer(&old, &from);
    assert_eq!(received(&old, &from, &pieces).kind(), "invalid_input");
    assert_eq!(count(&new, &again), 0);
}

fn akm(site: &Site, dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = clean(Path::new(env!("CARGO_BIN_EXE_akm")));
    let mut child = command
        .args(arguments)
        .current_dir(dir)
        .env("AKM_HOME", site.home.path())
        .env("AKM_LANG", "en")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_same_on_the_command_line_of_two_hosts() {
    let (old, new) = (server(None), server(None));
    let dir = tempfile::tempdir().unwrap();
    let passphrase = format!("{PASSPHRASE}\n");
    for (site, name) in [(&old, "mei"), (&new, "mei")] {
        site.register(name);
        let arguments = ["unlock", "--account", name, "--passphrase-stdin"];
        let (code, _, err) = said(&akm(site, dir.path(), &arguments, &passphrase));
        assert_eq!(code, Some(0), "{err}");
    }
    let add = ["add", "openai/work", "--secret-stdin"];
    let (code, _, err) = said(&akm(&old, dir.path(), &add, "sk-moving-0123456789\n"));
    assert_eq!(code, Some(0), "{err}");
    let (code, receiver, err) = said(&akm(&new, dir.path(), &["account", "receive"], ""));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("akm account send CODE -o FILE"), "{err}");
    let receiver = receiver.trim();
    let send = [
        "account",
        "send",
        receiver,
        "-o",
        "keys.handover",
        "--passphrase-stdin",
        "--json",
    ];
    let (code, sent, err) = said(&akm(&old, dir.path(), &send, &passphrase));
    assert_eq!(code, Some(0), "{err}");
    let sent: Value = serde_json::from_str(&sent).unwrap();
    let file = dir.path().join("keys.handover");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Not over a file that is there.
    let (code, ..) = said(&akm(&old, dir.path(), &send, &passphrase));
    assert_eq!(code, Some(1));
    // Cut off, it is refused and stores nothing.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(dir.path().join("cut"), &text[..text.len() / 2]).unwrap();
    let (code, _, err) = said(&akm(&new, dir.path(), &["account", "receive", "cut"], ""));
    assert_eq!(code, Some(1), "{err}");
    let receive = ["account", "receive", "keys.handover"];
    let (code, out, err) = said(&akm(&new, dir.path(), &receive, ""));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(sent["checksum"].as_str().unwrap()), "{out}");
    assert!(err.contains("stored, 0 were there"), "{err}");
    let (code, out, _) = said(&akm(&new, dir.path(), &["get", "openai/work"], ""));
    assert_eq!((code, out.as_str()), (Some(0), "sk-moving-0123456789\n"));
    // Twice is once too often.
    let (code, _, err) = said(&akm(&new, dir.path(), &receive, ""));
    assert_eq!(code, Some(1));
    assert!(err.contains("no code to receive with"), "{err}");
}
