//! A hundred thousand requests made from the OpenAPI document of a server, right and wrong in every way: none is answered with an
//! error of the server, and afterwards everything is as it was.
//!
//! schemathesis asks about a thousand in `hosted_schemathesis.rs` and takes its time; this generator is small, follows a
//! seed, and asks as fast as the server answers. `AKM_CASES` and `AKM_SEED` say how many and which.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod hosted_support;
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use akm_core::protocol::{Cost, Offered, Op, offered};
use hosted_support::{Answer, Site};
use serde_json::{Map, Value, json};

const CASES: u64 = 100_000;
const CANARY: &str = "sk-fuzz-canary-0123456789";
/// Of so many requests that would derive a key one may.
const DERIVES: u64 = 500;
/// Operations that end the session that asks.
const ENDS: [Op; 2] = [Op::AgentLock, Op::SessionRevoke];

/// What texts are made of, beside names that exist.
const TEXTS: [&str; 26] = [
    "",
    " ",
    "openai",
    "openai/a",
    "groq/b",
    "mine/c",
    "../../etc/passwd",
    "' OR '1'='1",
    "%",
    "_",
    "\u{0}",
    "\u{202e}abc",
    "<script>globalThis.__canary=1</script>",
    "ＡＫＭ",
    "密钥",
    "e\u{301}",
    "sk-fuzz-0123456789",
    "2026-11-23",
    "2026-11-23T00:00:00Z",
    "9999-99-99",
    "http://127.0.0.1:1",
    "https://169.254.169.254/",
    "-1",
    "true",
    "{}",
    "\u{1F511}\u{200d}",
];

/// xorshift: what is asked follows from the seed alone.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len() as u64) as usize]
    }

    fn text(&mut self) -> String {
        match self.below(12) {
            0 => "x".repeat(self.below(9000) as usize),
            1 => (0..self.below(40))
                .filter_map(|_| char::from_u32(self.below(0x2_0000) as u32))
                .collect(),
            2 => format!("{:032x}", self.below(u64::MAX)),
            _ => (*self.of(&TEXTS)).to_owned(),
        }
    }

    /// Anything at all.
    fn anything(&mut self, deep: u32) -> Value {
        match self.below(if deep == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.once_in(2)),
            2 => json!(self.below(u64::MAX)),
            3 => json!(-(self.below(1 << 40) as i64)),
            4 => json!(self.below(1000) as f64 / 7.0),
            5 => json!(self.text()),
            6 => (0..self.below(4))
                .map(|_| self.anything(deep - 1))
                .collect(),
            _ => (0..self.below(4))
                .map(|_| (self.text(), self.anything(deep - 1)))
                .collect(),
        }
    }
}

/// The document of the server.
struct Document(Value);

impl Document {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(path) => self.0.pointer(path.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// What one operation takes.
    fn request(&self, op: Op) -> &Value {
        let path = format!("/v1/{}", op.name());
        let body =
            &self.0["paths"][&path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert!(body.is_object(), "{path} is in the document");
        self.resolve(body)
    }

    /// Something that the schema allows, mostly.
    fn value(&self, dice: &mut Dice, schema: &Value, deep: u32) -> Value {
        if deep == 0 || dice.once_in(25) {
            return dice.anything(2);
        }
        let schema = self.resolve(schema);
        for several in ["anyOf", "oneOf", "allOf"] {
            if let Some(several) = schema[several].as_array() {
                let one = dice.of(several).clone();
                return self.value(dice, &one, deep - 1);
            }
        }
        if let Some(tokens) = schema["enum"].as_array() {
            return dice.of(tokens).clone();
        }
        if !schema["const"].is_null() {
            return schema["const"].clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => dice.of(kinds).as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") => self.object(dice, schema, deep),
            Some("array") => (0..dice.below(4))
                .map(|_| self.value(dice, &schema["items"], deep - 1))
                .collect(),
            Some("string") => json!(dice.text()),
            Some("integer") => match dice.below(4) {
                0 => json!(dice.below(u64::MAX)),
                1 => json!(0),
                _ => json!(dice.below(200)),
            },
            Some("boolean") => json!(dice.once_in(2)),
            _ => dice.anything(2),
        }
    }

    fn object(&self, dice: &mut Dice, schema: &Value, deep: u32) -> Value {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut made = Map::new();
        for (name, of) in properties {
            let needed = required.contains(&json!(name));
            let there = match needed {
                true => !dice.once_in(20),
                false => dice.once_in(3),
            };
            if there {
                made.insert(name.clone(), self.value(dice, of, deep - 1));
            }
        }
        if dice.once_in(20) {
            made.insert(dice.text(), dice.anything(2));
        }
        Value::Object(made)
    }

    fn body(&self, dice: &mut Dice, op: Op) -> Vec<u8> {
        let mut value = self.object(dice, self.request(op), 6);
        let derives = op.cost() == Cost::Deriving
            || ["passphrase", "seal", "new_passphrase", "recovery_code"]
                .iter()
                .any(|field| value[field].is_string());
        if derives && !dice.once_in(DERIVES) {
            // Refused where it is read.
            value["passphrase"] = dice.anything(0);
            if value["passphrase"].is_string() || value["passphrase"].is_null() {
                value["passphrase"] = json!(7);
            }
        }
        let mut bytes = serde_json::to_vec(&value).unwrap();
        match dice.below(40) {
            0 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
            1 => {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
            2 => bytes.extend_from_slice(b"{}"),
            3 => bytes = "[".repeat(dice.below(5000) as usize).into_bytes(),
            4 => {
                bytes = (0..dice.below(200))
                    .map(|_| dice.below(256) as u8)
                    .collect()
            }
            5 => bytes = bytes.iter().copied().filter(|byte| *byte != b'"').collect(),
            _ => {}
        }
        bytes
    }
}

/// What is 5xx on purpose: a checkpoint of a version that this program does not know.
fn on_purpose(op: Op, answer: &Answer) -> bool {
    op == Op::AuditVerify && answer.body.contains("unsupported_version")
}

/// One connection, opened again where the server closed it.
struct Line<'s>(&'s Site, Option<TcpStream>);

impl Line<'_> {
    fn ask(&mut self, op: Op, token: Option<&str>, body: &[u8]) -> Answer {
        let stream = self.1.get_or_insert_with(|| self.0.connect());
        let bearer = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let mut request = format!(
            "POST /v1/{} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{bearer}Content-Length: {}\r\n\r\n",
            op.name(),
            self.0.address,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).unwrap();
        let answer = Answer::read_whole(stream);
        if answer.closes {
            self.1 = None;
        }
        answer
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn fuzz(cases: u64) {
    let site = Site::selling();
    let token = site.register("mei");
    let kept = json!({"name": "canary/kept", "secret": CANARY});
    site.op(Some(&token), "key.add", &kept).result();
    let document = Document(site.ask("GET", "/v1/openapi.json", &[], "").json());
    let ops: Vec<Op> = Op::ALL
        .iter()
        .copied()
        .filter(|op| offered(*op) != Offered::Never)
        .collect();
    let mut dice = Dice(number("AKM_SEED", 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut line = Line(&site, None);
    let (mut statuses, mut good) = (BTreeMap::<u16, u64>::new(), BTreeMap::<&str, u64>::new());
    let began = Instant::now();
    for case in 0..cases {
        let mut op = *dice.of(&ops);
        // Reads the whole log, which grows with every request: asked for seldom, or nothing else would be.
        if op == Op::AuditVerify && !dice.once_in(50) {
            op = Op::KeyList;
        }
        let bearer = match dice.below(10) {
            _ if ENDS.contains(&op) => None,
            0 => Some("akms_00000000000000000000000000000000000000000000"),
            1 => None,
            _ => Some(&token[..]),
        };
        let body = document.body(&mut dice, op);
        let answer = line.ask(op, bearer, &body);
        assert!(
            answer.status != 0 && (answer.status < 500 || on_purpose(op, &answer)),
            "case {case}: {} answered {answer:?}\nto {}",
            op.name(),
            String::from_utf8_lossy(&body)
        );
        *statuses.entry(answer.status).or_default() += 1;
        if answer.status == 200 {
            *good.entry(op.name()).or_default() += 1;
        }
    }
    let took = began.elapsed();
    println!(
        "{cases} requests of {} operations in {} s: {statuses:?}",
        ops.len(),
        took.as_secs()
    );
    println!("answered 200: {good:?}");
    // The control: a good part of it is not refused at the first look.
    assert!(good.len() >= 10, "{good:?}");
    let got = site
        .op(Some(&token), "key.get", &json!({"name": "canary/kept"}))
        .result();
    assert_eq!(got["secret"], CANARY);
    let verified = site.op(Some(&token), "audit.verify", &json!({})).result();
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(site.ask("GET", "/readyz", &[], "").status, 200);
}

#[test]
fn e18_requests_made_from_the_document_are_no_error_of_the_server() {
    fuzz(number("AKM_CASES", 1000));
}

#[test]
#[ignore = "takes minutes: run it with --ignored --nocapture"]
fn e18_a_hundred_thousand_requests_made_from_the_document() {
    fuzz(number("AKM_CASES", CASES));
}
