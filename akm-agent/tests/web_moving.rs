//! Keys come in from files and move between two servers, in the browser: real servers, forms as a page sends them.

#![allow(clippy::unwrap_used)]

mod hosted_support;
mod support;

use akm_core::Secret;
use akm_core::crypto::age::Sealer;
use akm_core::host::Host;
use hosted_support::{Answer, OPEN, Site};
use serde_json::json;
use support::PASSPHRASE;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// Somebody's browser.
struct Browser<'s> {
    site: &'s Site,
    cookie: String,
    token: String,
}

impl<'s> Browser<'s> {
    fn new(site: &'s Site, account: &str) -> Browser<'s> {
        let token = site.register(account);
        let origin = format!("Origin: http://{}", site.address);
        let body = encoded(&[("account", account), ("passphrase", PASSPHRASE)]);
        let answer = site.ask("POST", "/unlock", &[&origin, FORM], &body);
        let line = answer.header("set-cookie").unwrap();
        let cookie = format!("Cookie: {}", line.split(';').next().unwrap());
        Browser {
            site,
            cookie,
            token,
        }
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = format!("Origin: http://{}", self.site.address);
        let headers = [&origin, FORM, &self.cookie, "Accept-Language: en"];
        self.site.ask("POST", path, &headers, &encoded(fields))
    }

    fn secret(&self, name: &str) -> serde_json::Value {
        let asked = json!({ "name": name });
        self.site.op(Some(&self.token), "key.get", &asked).result()["secret"].clone()
    }

    fn keys(&self) -> usize {
        let page = self.site.op(Some(&self.token), "key.list", &json!({}));
        page.result()["keys"].as_array().unwrap().len()
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

#[test]
fn files_are_imported_and_accounts_move_in_the_browser() {
    let (old, new) = (Site::start(OPEN), Site::start(OPEN));
    let (from, to) = (Browser::new(&old, "mei"), Browser::new(&new, "mei-2"));
    let text =
        "OPENAI_API_KEY=sk-moving-0123456789abcdef\nGROQ_API_KEY=sk-moving-fedcba9876543210\n";
    // Looked at first: nothing is stored, and no secret is in the page.
    let looked = from.post("/move/import", &[("content", text), ("dry", "1")]);
    assert_eq!(looked.status, 200, "{looked:?}");
    assert!(looked.body.contains("2 keys would be stored"), "{looked:?}");
    assert!(!looked.body.contains("sk-moving"), "{looked:?}");
    assert_eq!(from.keys(), 0);
    let stored = from.post("/move/import", &[("content", text)]);
    assert!(stored.body.contains("2 keys are stored"), "{stored:?}");
    assert_eq!(from.secret("openai"), "sk-moving-0123456789abcdef");
    // All of a file or nothing of it, and why.
    let other = "OPENAI_API_KEY=sk-another\nMISTRAL_API_KEY=sk-moving-mistral\n";
    let kept_out = from.post("/move/import", &[("content", other)]);
    assert!(
        kept_out.body.contains("Nothing is stored: 1 key cannot"),
        "{kept_out:?}"
    );
    assert!(!kept_out.body.contains("sk-another"), "{kept_out:?}");
    assert_eq!(from.keys(), 2);
    for bad in [
        "",
        "[{\"x\":",
        "{}",
        "\u{0}\u{1}",
        "<script>alert(1)</script>",
    ] {
        let refused = from.post("/move/import", &[("content", bad)]);
        assert!(
            refused.body.contains("role=\"alert\""),
            "{bad}: {refused:?}"
        );
        assert_eq!(from.keys(), 2, "{bad}");
    }

    // A file that is sealed, as an export is.
    let seal = Secret::new("a passphrase of the file".into());
    let mut file = Vec::new();
    let mut sealer = Sealer::new(&Host::real(), &seal, &mut file).unwrap();
    sealer.write(text.as_bytes(), &mut file).unwrap();
    sealer.finish(&mut file).unwrap();
    let base64 = data_encoding::BASE64.encode(&file);
    let wrong = to.post("/move/import", &[("sealed", &base64), ("seal", "wrong")]);
    assert!(wrong.body.contains("does not open this file"), "{wrong:?}");
    let right = [
        ("sealed", &base64[..]),
        ("seal", "a passphrase of the file"),
        ("dry", "1"),
    ];
    let right = to.post("/move/import", &right);
    assert!(right.body.contains("2 keys would be stored"), "{right:?}");

    // Handed over: a code there, a file here, the file there.
    let offered = to.post("/move/offer", &[]);
    let at = offered.body.find("data-handover-code>").unwrap() + "data-handover-code>".len();
    let code = offered.body[at..].split('<').next().unwrap();
    let refused = from.post("/move/send", &[("code", code), ("passphrase", "wrong")]);
    assert!(refused.body.contains("role=\"alert\""), "{refused:?}");
    let sent = from.post("/move/send", &[("code", code), ("passphrase", PASSPHRASE)]);
    let name = sent.header("content-disposition").unwrap().to_owned();
    assert!(name.contains("akm-2-keys-"), "{name}");
    assert!(sent.body.starts_with("akm-handover-1\n") && !sent.body.contains("sk-moving"));
    let cut = sent.body.lines().next().unwrap();
    for bad in [cut, "something else", &sent.body[..sent.body.len() / 2]] {
        let refused = to.post("/move/receive", &[("content", bad)]);
        assert!(refused.body.contains("role=\"alert\""), "{refused:?}");
        assert_eq!(to.keys(), 0);
    }
    let came = to.post("/move/receive", &[("content", &sent.body)]);
    assert!(came.body.contains("2 keys are stored"), "{came:?}");
    let shown = name
        .split("akm-2-keys-")
        .nth(1)
        .unwrap()
        .split('.')
        .next()
        .unwrap();
    assert!(
        shown.len() >= 16 && came.body.contains(shown),
        "{name}: {came:?}"
    );
    assert_eq!(to.secret("groq"), "sk-moving-fedcba9876543210");
    // Once.
    let again = to.post("/move/receive", &[("content", &sent.body)]);
    assert!(again.body.contains("role=\"alert\""), "{again:?}");

    // Piece by piece, as the script sends them.
    let offered = to.post("/move/offer", &[]);
    let at = offered.body.find("data-handover-code>").unwrap() + "data-handover-code>".len();
    let code = offered.body[at..].split('<').next().unwrap();
    let sent = from.post("/move/send", &[("code", code), ("passphrase", PASSPHRASE)]);
    let mut handover = String::new();
    for line in sent.body.lines().skip(1) {
        let mut fields = vec![("content", line)];
        if !handover.is_empty() {
            fields.push(("handover", &handover));
        }
        let told = to.post("/move/piece", &fields);
        let told: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(told["refused"], json!([]));
        handover = told["handover"].as_str().unwrap().to_owned();
    }
    let came = to.post("/move/receive", &[("handover", &handover)]);
    assert!(
        came.body.contains("0 keys are stored; 2 were here already"),
        "{came:?}"
    );
    // Not for a foreign page.
    let forged = new.ask("POST", "/move/offer", &[FORM, &to.cookie], "");
    assert_eq!(forged.status, 403, "{forged:?}");
}
