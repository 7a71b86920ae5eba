//! A server that behaves as 爱发电's open API does: JSON in, `ec` out, HTTP status 200 also for failures, the signature
//! checked over the text of `params` as it was sent, orders newest first.

#![allow(unreachable_pub)] // A module of a test binary.
#![allow(clippy::unwrap_used)] // A helper that fails is a test that fails.

use std::sync::{Arc, Mutex};

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::provider_server::{ProviderServer, Received, Reply};

pub const USER_ID: &str = "0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "demo-token-0001";

#[derive(Default)]
pub struct Orders {
    /// Newest last.
    pub list: Vec<Value>,
    /// Unix seconds of the server's clock.
    pub now: i64,
    /// Answers this to everything, if set.
    pub breaks: Option<(u16, String)>,
}

pub struct AfdianServer {
    pub server: ProviderServer,
    pub orders: Arc<Mutex<Orders>>,
}

impl AfdianServer {
    pub fn start(now: i64) -> AfdianServer {
        let orders = Arc::new(Mutex::new(Orders {
            now,
            ..Orders::default()
        }));
        let shared = Arc::clone(&orders);
        let server =
            ProviderServer::start(move |request| answer(&shared.lock().unwrap(), request)).unwrap();
        AfdianServer { server, orders }
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    pub fn add(&self, order: Value) {
        self.orders.lock().unwrap().list.push(order);
    }
}

fn answer(orders: &Orders, request: &Received) -> Reply {
    if let Some((status, body)) = &orders.breaks {
        return Reply::json(*status, body);
    }
    if request.method != "POST" || request.header("content-type") != Some("application/json") {
        return Reply::json(405, "{}");
    }
    let (ec, em, data) = respond(orders, request);
    Reply::json(200, &json!({"ec": ec, "em": em, "data": data}).to_string())
}

fn respond(orders: &Orders, request: &Received) -> (i64, &'static str, Value) {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return (400_001, "params incomplete", Value::Null);
    };
    let (Some(user), Some(params), Some(ts), Some(sign)) = (
        body["user_id"].as_str(),
        body["params"].as_str(),
        body["ts"].as_i64(),
        body["sign"].as_str(),
    ) else {
        return (400_001, "params incomplete", Value::Null);
    };
    if (ts - orders.now).abs() > 3600 {
        return (400_002, "time was expired", Value::Null);
    }
    let Ok(params_value) = serde_json::from_str::<Value>(params) else {
        return (400_003, "params was not valid json string", Value::Null);
    };
    if user != USER_ID {
        return (400_004, "no valid token found", Value::Null);
    }
    let hashed = format!("{TOKEN}params{params}ts{ts}user_id{user}");
    let right = data_encoding::HEXLOWER.encode(&Md5::digest(hashed.as_bytes()));
    if sign != right {
        let debug = json!({"debug": {"kv_string": hashed.replace(TOKEN, "")}});
        return (400_005, "sign validation failed", debug);
    }
    match request.path.as_str() {
        "/api/open/ping" => (200, "pong", json!({"uid": user, "request": body})),
        "/api/open/query-order" => {
            let list: Vec<&Value> = match params_value["out_trade_no"].as_str() {
                Some(numbers) => {
                    let wanted: Vec<&str> = numbers.split(',').collect();
                    orders
                        .list
                        .iter()
                        .filter(|order| wanted.contains(&order["out_trade_no"].as_str().unwrap()))
                        .collect()
                }
                None => {
                    let page = params_value["page"].as_u64().unwrap_or(1) as usize;
                    let size = params_value["per_page"]
                        .as_u64()
                        .unwrap_or(50)
                        .clamp(1, 100) as usize;
                    orders
                        .list
                        .iter()
                        .rev()
                        .skip((page - 1) * size)
                        .take(size)
                        .collect()
                }
            };
            let count = orders.list.len();
            (
                200,
                "",
                json!({"list": list, "total_count": count, "total_page": count.div_ceil(50)}),
            )
        }
        _ => (400_001, "params incomplete", Value::Null),
    }
}
