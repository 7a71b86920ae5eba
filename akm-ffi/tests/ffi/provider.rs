//! A server that answers as OpenAI does, on loopback, and remembers who asked with which key.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What came in: method, path, and the `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

/// The server; its thread ends with the test program.
pub(crate) struct Provider {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Provider {
    /// Listens on a port of its own.
    ///
    /// The key decides the answer: `sk-invalid…` is refused, `sk-limited…` asks too often, all others are valid.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                thread::spawn(move || serve(&stream, &log));
            }
        });
        Provider { port, seen }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What came in since the last time.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("the log is whole"))
    }
}

/// An address where nothing listens.
pub(crate) fn closed_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
    format!(
        "http://{}",
        listener
            .local_addr()
            .expect("a bound listener has an address")
    )
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = request(&mut reader) {
        let key = seen.authorization.clone().unwrap_or_default();
        let (status, answer) = match key.strip_prefix("Bearer ").unwrap_or("sk-invalid") {
            key if key.starts_with("sk-invalid") => (
                "401 Unauthorized",
                r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            ),
            key if key.starts_with("sk-limited") => (
                "429 Too Many Requests",
                r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#,
            ),
            _ if seen
                .line
                .starts_with("GET /v1/dashboard/billing/credit_grants") =>
            {
                (
                    "200 OK",
                    r#"{"object":"credit_summary","total_granted":18.0,"total_used":5.50,"total_available":12.50}"#,
                )
            }
            _ if seen.line.starts_with("POST /v1/chat/completions") => (
                "200 OK",
                r#"{"id":"c1","object":"chat.completion","created":1,"model":"gpt-test","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#,
            ),
            _ => (
                "200 OK",
                r#"{"object":"list","data":[{"id":"gpt-test","object":"model","created":1,"owned_by":"openai"}]}"#,
            ),
        };
        log.lock().expect("the log is whole").push(seen);
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let header = |name: &str| {
        lines
            .iter()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| {
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
    };
    let length = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        line: lines.first()?.clone(),
        authorization: header("authorization"),
    })
}
