//! A02 of the attack programme, every way: each sealed value of two accounts is exchanged with each other one, in the same and in
//! other tables, rows and accounts. Nothing may come out but what was put in, and each exchange is refused somewhere.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use akm_core::protocol::{KeyGet, Op};
use rusqlite::types::Value;
use support::{Bench, PASSPHRASE};

const ACCOUNTS: [&str; 2] = ["default", "mallory"];

/// A sealed value in the file: its table, its column, and its row.
#[derive(Debug)]
struct Cell {
    table: &'static str,
    column: &'static str,
    row: String,
}

fn get(hand: &rusqlite::Connection, cell: &Cell) -> Value {
    let Cell { table, column, row } = cell;
    let read = format!("SELECT {column} FROM {table} WHERE {row}");
    hand.query_row(&read, [], |row| row.get(0)).unwrap()
}

fn put(hand: &rusqlite::Connection, cell: &Cell, value: &Value) {
    let Cell { table, column, row } = cell;
    let write = format!("UPDATE {table} SET {column} = ?1 WHERE {row}");
    let changed = hand.execute(&write, [value]).unwrap();
    assert_eq!(changed, 1, "control: the hand reaches the file");
}

/// Every sealed value of both accounts.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for account in ACCOUNTS {
        let id = format!("(SELECT id FROM accounts WHERE name = '{account}')");
        let mut add = |table, columns: &[&'static str], row: &str| {
            for column in columns {
                cells.push(Cell {
                    table,
                    column,
                    row: row.to_owned(),
                });
            }
        };
        let blobs: &[_] = &["keys", "profile", "manifest"];
        add("accounts", blobs, &format!("name = '{account}'"));
        for slot in [0, 3] {
            let row = format!("account = {id} AND slot = {slot}");
            add("slots", &["wrapped"], &row);
        }
        let row = format!("account = {id}");
        add("keys", &["wrapped_key", "meta", "secret"], &row);
        add("history", &["meta", "secret"], &row);
        add("providers", &["record"], &row);
    }
    cells
}

/// Everything that can be read, by account: what it was, or nothing where it is refused.
fn read_all(bench: &mut Bench) -> Vec<Option<String>> {
    bench.clock.advance(Duration::from_secs(16 * 60));
    bench.reopen();
    let mut found = Vec::new();
    for account in ACCOUNTS {
        let opened = bench.sign_in(Some(account), PASSPHRASE, None);
        found.push(opened.ok().map(|opened| opened.account));
        let text = |op, body: &str| bench.raw(op, body).ok().map(|said| said.to_string());
        for version in [None, Some(1)] {
            let request = KeyGet {
                name: format!("openai/of-{account}"),
                version,
            };
            let got = bench.call(request).ok();
            found.push(got.map(|got| got.secret.expose().to_owned()));
        }
        let name = format!(r#"{{"name":"openai/of-{account}"}}"#);
        found.push(text(Op::KeyHistory, &name));
        let own = format!(r#"{{"name":"own-of-{account}"}}"#);
        found.push(text(Op::ProviderShow, &own));
        bench.lock();
    }
    found
}

/// Two accounts with everything that is sealed, closed.
fn filled() -> Bench {
    let mut bench = Bench::new();
    for account in ACCOUNTS {
        bench.register(account, false);
        let name = format!("openai/of-{account}");
        bench.add(&name, &format!("sk-first-of-{account}")).unwrap();
        let rotate = serde_json::json!({"name": name, "secret": format!("sk-second-of-{account}")});
        bench.raw(Op::KeyRotate, &rotate.to_string()).unwrap();
        let record = serde_json::json!({"record": {
            "id": format!("own-of-{account}"), "display_name": "Own", "display_name_zh": "Own",
            "status": "active", "kind": "gateway", "auth": {"style": "bearer"},
            "env": {"primary": "OWN_API_KEY"}, "verified": false,
            "test": {"method": "GET", "url": "https://gw.example.com/v1/models", "proves_key": false,
                "cost": "none", "verified": false}
        }});
        bench.raw(Op::ProviderAdd, &record.to_string()).unwrap();
    }
    bench.close();
    bench
}

/// Exchanges the pairs of which `mine` picks; says how many.
fn exchange(mine: impl Fn(usize) -> bool) -> usize {
    let mut bench = filled();
    let right = read_all(&mut bench);
    assert!(right.iter().all(Option::is_some), "control: {right:?}");
    assert_eq!(right.len(), 10);
    let cells = cells();
    assert_eq!(cells.len(), 22);
    let pairs = (0..cells.len()).flat_map(|left| (0..left).map(move |other| (left, other)));
    let mut tried = 0;
    for (_, (left, other)) in pairs.enumerate().filter(|(index, _)| mine(*index)) {
        let (left, other) = (&cells[left], &cells[other]);
        bench.close();
        let hand = bench.hand();
        let (a, b) = (get(&hand, left), get(&hand, other));
        assert_ne!(a, b);
        put(&hand, left, &b);
        put(&hand, other, &a);
        drop(hand);
        let found = read_all(&mut bench);
        let mut refused = 0;
        for (found, right) in found.iter().zip(&right) {
            match found {
                Some(_) => assert_eq!(found, right, "{left:?} and {other:?}"),
                None => refused += 1,
            }
        }
        assert!(
            refused > 0,
            "{left:?} and {other:?} are exchanged unnoticed"
        );
        bench.close();
        let hand = bench.hand();
        put(&hand, left, &a);
        put(&hand, other, &b);
        tried += 1;
    }
    assert_eq!(read_all(&mut bench), right, "control: put back, all reads");
    tried
}

#[test]
fn a02_no_value_passes_for_another_of_any_row_table_or_account() {
    // Two vaults, for two cores.
    let tried: usize = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| scope.spawn(move || exchange(|index| index % 2 == half)));
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    assert_eq!(tried, 22 * 21 / 2);
}
