//! A server with many accounts: every answer is the asker's own, and how fast and how large it is.
//!
//! What runs with every change asserts what is answered, for a few accounts. The test that is ignored measures a thousand accounts of
//! twenty keys, on loopback; its figures stand in `docs/hosted.md` with the machine they come from:
//!
//! ```sh
//! cargo test --release -p akm-agent --test hosted_load -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod hosted_support;
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hosted_support::{Answer, OPEN, Site, configure};
use serde_json::{Value, json};
use support::{Home, PASSPHRASE};

/// Tiers without limits, so that what is measured is not a refusal.
const TIERS: &str =
    "[[tier]]\nid = \"free\"\nname = \"Free\"\nname_zh = \"免费版\"\nprice_fen = 0\n";

/// How much of it.
#[derive(Clone, Copy)]
struct Load {
    accounts: usize,
    keys: usize,
    /// Clients at once.
    clients: usize,
    /// Requests of each phase.
    requests: usize,
}

/// A connection that is kept until the server closes it, as it does behind what holds a credential.
struct Line<'a> {
    site: &'a Site,
    stream: TcpStream,
}

impl Line<'_> {
    fn to(site: &Site) -> Line<'_> {
        Line {
            site,
            stream: connect(site),
        }
    }

    /// One request and its answer; the time between.
    fn ask(&mut self, token: &str, op: &str, body: &str) -> (Value, Duration) {
        let bearer = match token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let request = format!(
            "POST /v1/{op} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{bearer}Content-Length: {}\r\n\r\n{body}",
            self.site.address,
            body.len()
        );
        let asked = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        let answer = Answer::read_whole(&mut self.stream);
        let took = asked.elapsed();
        assert_eq!(answer.status, 200, "{op}: {answer:?}");
        if answer.closes {
            self.stream = connect(self.site);
        }
        (answer.json()["result"].take(), took)
    }
}

fn connect(site: &Site) -> TcpStream {
    let stream = site.connect();
    stream.set_nodelay(true).unwrap();
    stream
}

fn name(account: usize) -> String {
    format!("load-{account}")
}

fn secret(account: usize, key: usize) -> String {
    format!("sk-load-{account:05}-{key:05}-0123456789abcdef")
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

fn rows(account: usize, keys: usize) -> String {
    let keys: Vec<Value> = (0..keys)
        .map(|key| json!({"name": format!("openai/key-{key}"), "secret": secret(account, key), "categories": ["load"]}))
        .collect();
    json!({"keys": keys, "finish": true}).to_string()
}

/// Shares numbers out among clients, each with a connection of its own.
fn share(site: &Site, clients: usize, count: usize, act: impl Fn(&mut Line<'_>, usize) + Sync) {
    let next = Mutex::new(0..count);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut line = Line::to(site);
                loop {
                    let Some(number) = next.lock().unwrap().next() else {
                        return;
                    };
                    act(&mut line, number);
                }
            });
        }
    });
}

fn get(line: &mut Line<'_>, token: &str, account: usize, key: usize) -> Duration {
    let body = json!({"name": format!("openai/key-{key}")}).to_string();
    let (result, took) = line.ask(token, "key.get", &body);
    assert_eq!(result["secret"], secret(account, key), "another's key");
    took
}

fn list(line: &mut Line<'_>, token: &str, keys: usize) -> Duration {
    let (result, took) = line.ask(token, "key.list", r#"{"limit":1000}"#);
    assert_eq!(result["keys"].as_array().unwrap().len(), keys);
    took
}

fn sign_in(line: &mut Line<'_>, account: usize) -> (String, Duration) {
    let body = json!({"account": name(account), "passphrase": PASSPHRASE}).to_string();
    let (result, took) = line.ask("", "agent.unlock", &body);
    assert_eq!(result["account"], name(account));
    (result["token"].as_str().unwrap().to_owned(), took)
}

/// What a number of requests took.
#[derive(Default)]
struct Waits(Mutex<Vec<Duration>>);

impl Waits {
    fn note(&self, wait: Duration) {
        self.0.lock().unwrap().push(wait);
    }

    fn say(self, what: &str) -> usize {
        let mut waits = self.0.into_inner().unwrap();
        waits.sort();
        let count = waits.len();
        if count > 0 {
            println!(
                "{what}: {count} requests, p50 {:?}, p99 {:?}, worst {:?}",
                waits[count / 2],
                waits[count * 99 / 100],
                waits[count - 1]
            );
        }
        count
    }
}

fn per_second(count: usize, since: Instant) -> u64 {
    (count as f64 / since.elapsed().as_secs_f64()) as u64
}

fn run(load: Load) {
    let Load {
        accounts,
        keys,
        clients,
        requests,
    } = load;
    let home = Home::new();
    configure(&home, OPEN);
    let tiers = home.path().join("billing.toml");
    std::fs::write(&tiers, TIERS).unwrap();
    std::fs::set_permissions(&tiers, std::fs::Permissions::from_mode(0o600)).unwrap();
    let site = Site::at(home, OPEN, &["--listen", "http://127.0.0.1:0"]);
    println!("empty: RSS {} KiB", site.agent.memory_kib("VmRSS"));

    let tokens: Mutex<Vec<String>> = Mutex::new(vec![String::new(); accounts]);
    let began = Instant::now();
    share(&site, 4, accounts, |line, account| {
        let body = json!({"account": name(account), "passphrase": PASSPHRASE, "totp": false});
        let (result, _) = line.ask("", "account.register", &body.to_string());
        let token = result["token"].as_str().unwrap().to_owned();
        let (result, _) = line.ask(&token, "vault.import", &rows(account, keys));
        assert_eq!(result["added"], keys);
        tokens.lock().unwrap()[account] = token;
    });
    println!(
        "{accounts} accounts registered with {keys} keys each in {:?}; RSS {} KiB",
        began.elapsed(),
        site.agent.memory_kib("VmRSS")
    );
    let mut tokens = tokens.into_inner().unwrap();

    // One client, one request at a time: what a get and a list cost.
    let (alone, lists) = (Waits::default(), Waits::default());
    let (mut line, mut dice) = (Line::to(&site), Dice(0x5eed_0001));
    for _ in 0..requests / 10 {
        let account = dice.below(accounts);
        alone.note(get(&mut line, &tokens[account], account, dice.below(keys)));
        let account = dice.below(accounts);
        lists.note(list(&mut line, &tokens[account], keys));
    }
    alone.say("one client, key.get");
    lists.say(&format!("one client, key.list of {keys}"));

    // A list of a thousand, for an account that has them.
    let body = json!({"account": "large", "passphrase": PASSPHRASE, "totp": false}).to_string();
    let (result, _) = line.ask("", "account.register", &body);
    let large = result["token"].as_str().unwrap();
    let many = (keys * 50).min(1000);
    let (result, _) = line.ask(large, "vault.import", &rows(accounts, many));
    assert_eq!(result["added"], many);
    let lists = Waits::default();
    for _ in 0..requests.div_ceil(200) {
        lists.note(list(&mut line, large, many));
    }
    lists.say(&format!("one client, key.list of {many}"));

    // Gets alone, by many clients: what the server gives at most.
    let waits = Waits::default();
    let began = Instant::now();
    share(&site, clients, requests, |line, number| {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1));
        dice.below(2);
        let account = dice.below(accounts);
        waits.note(get(line, &tokens[account], account, dice.below(keys)));
    });
    println!(
        "{clients} clients, gets alone: {} per second",
        per_second(requests, began)
    );
    assert_eq!(waits.say("  key.get"), requests);

    // Everything at once: of a hundred requests one signs in, nineteen list and eighty get.
    let [gets, lists, sign_ins] = std::array::from_fn(|_| Waits::default());
    let began = Instant::now();
    share(&site, clients, requests, |line, number| {
        let mut dice = Dice(0x2545_f491_4f6c_dd1d ^ (number as u64 + 1));
        dice.below(2);
        let account = dice.below(accounts);
        match number % 100 {
            0 => {
                let (token, took) = sign_in(line, account);
                sign_ins.note(took);
                get(line, &token, account, dice.below(keys));
            }
            1..=19 => lists.note(list(line, &tokens[account], keys)),
            _ => gets.note(get(line, &tokens[account], account, dice.below(keys))),
        }
    });
    println!(
        "{clients} clients, mixed: {} per second",
        per_second(requests, began)
    );
    let done = gets.say("  key.get") + lists.say("  key.list") + sign_ins.say("  agent.unlock");
    assert_eq!(done, requests, "every request was answered");

    // Nobody's log was torn, and a session that is ended is: the others go on. The line from before was idle for too long.
    let mut line = Line::to(&site);
    let (verified, _) = line.ask(&tokens[0], "audit.verify", "{}");
    assert_eq!(verified["ok"], true);
    assert!(verified["entries"].as_u64().unwrap() > keys as u64);
    let last = tokens.pop().unwrap();
    line.ask(&last, "agent.lock", "{}");
    assert_eq!(
        site.op(Some(&last), "key.list", &json!({})).kind(),
        "locked"
    );
    get(&mut line, &tokens[0], 0, 0);
    println!(
        "at the end: RSS {} KiB, at most {} KiB",
        site.agent.memory_kib("VmRSS"),
        site.agent.memory_kib("VmHWM")
    );
}

#[test]
fn many_accounts_at_once_get_what_is_theirs_and_nothing_else() {
    run(Load {
        accounts: 12,
        keys: 20,
        clients: 8,
        requests: 1_000,
    });
}

#[test]
#[ignore = "measures, for some minutes"]
fn a_thousand_accounts_with_twenty_keys_each() {
    run(Load {
        accounts: 1_000,
        keys: 20,
        clients: 16,
        requests: 40_000,
    });
}
