//! The providers' own SDKs, unmodified, as programs under `akm run`: they find their key and their address in the
//! environment, the server gets the key where it belongs, and what they print of it is masked.
//!
//! The SDKs are installed by version from the lists of `akm-ffi/tests/sdk`, once for each list.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod cli_support;
#[path = "../../akm-ffi/tests/ffi/tools.rs"]
#[allow(dead_code)]
mod tools;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use cli_support::{Home, code, stderr, stdout};

const SECRET: &str = "sk-test-0123456789-\"abc\"-defghijkl";

/// One provider: its key's name, the path below the server that is its base address, the request and the header that are
/// expected, and the answer as the provider's documentation shows it.
struct Case {
    key: &'static str,
    base: &'static str,
    paths: &'static [&'static str],
    header: &'static str,
    prefix: &'static str,
    answer: &'static str,
}

/// https://platform.openai.com/docs/api-reference/chat/create
const OPENAI: Case = Case {
    key: "openai",
    base: "/v1",
    paths: &["/v1/chat/completions"],
    header: "authorization",
    prefix: "Bearer ",
    answer: r#"{"id":"c1","object":"chat.completion","created":1,"model":"gpt-test","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#,
};

/// https://docs.anthropic.com/en/api/messages; the header is that of the SDKs since 2026-10-21.
const ANTHROPIC: Case = Case {
    key: "anthropic",
    base: "",
    paths: &["/v1/messages"],
    header: "authorization",
    prefix: "Bearer ",
    answer: r#"{"id":"m1","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#,
};

/// https://ai.google.dev/api/generate-content; Python asks below /v1, Node below /v1beta.
const GOOGLE: Case = Case {
    key: "google",
    base: "/v1beta",
    paths: &[
        "/v1/models/gemini-test:generateContent",
        "/v1beta/models/gemini-test:generateContent",
    ],
    header: "x-goog-api-key",
    prefix: "",
    answer: r#"{"candidates":[{"content":{"parts":[{"text":"hello"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}"#,
};

/// A server on loopback that answers one request as a provider does, and remembers every line of every head.
struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    fn start(case: &'static Case) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = heads.clone();
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || while answer(&stream, case, &log).is_some() {});
            }
        });
        Server { port, heads }
    }
}

fn answer(stream: &TcpStream, case: &Case, log: &Mutex<Vec<Vec<String>>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = value(&head, "content-length").and_then(|length| length.parse().ok());
    reader
        .take(length.unwrap_or(0))
        .read_to_end(&mut Vec::new())
        .ok()?;
    let is_right = match head[0].split(' ').collect::<Vec<_>>()[..] {
        ["POST", target, _] => case.paths.contains(&target),
        _ => false,
    };
    let (status, body) = match is_right {
        true => ("200 OK", case.answer),
        false => ("404 Not Found", "{}"),
    };
    log.lock().unwrap().push(head);
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    (&*stream).write_all(answer.as_bytes()).ok()
}

fn value<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
}

/// Runs a program that uses an SDK, and looks at both ends.
fn speaks_to_its_provider(case: &'static Case, program: &Path, script: &Path) {
    let server = Server::start(case);
    let home = Home::ready();
    let base = format!("http://127.0.0.1:{}{}", server.port, case.base);
    let add = ["add", case.key, "--secret-stdin", "--base-url", &base];
    let added = home.akm(&add, &format!("{SECRET}\n"));
    assert_eq!(code(&added), 0, "{added:?}");
    let mut command = home.akm_command(&["run", "-p", case.key, "--"]);
    command.arg(program).arg(script);
    for name in [
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "GOOGLE_API_KEY",
        "NO_PROXY",
        "no_proxy",
        "PYTHONPATH",
        "NODE_PATH",
        "NODE_OPTIONS",
    ] {
        command.env_remove(name);
    }
    // A proxy that is not there: whoever asks it for this machine gets nothing.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let output = cli_support::run(&mut command, b"");
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!(code(&output), 0, "{out}\n{err}");
    let label = format!("[akm:{}/default]", case.key);
    assert_eq!(out, format!("hello\n{label} {label}\n"), "{err}");
    assert!(!err.contains(SECRET), "{err}");
    let heads = server.heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "{heads:?}");
    let expected = format!("{}{SECRET}", case.prefix);
    assert_eq!(value(&heads[0], case.header), Some(expected.as_str()));
    // The key is in its header and nowhere else in the head.
    let holders = heads[0].iter().filter(|line| line.contains(SECRET)).count();
    assert_eq!(holders, 1, "{heads:?}");
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(name)
}

fn in_python(case: &'static Case, name: &str) {
    if tools::have("python3") {
        speaks_to_its_provider(case, tools::python_with_sdks(), &script(name));
    }
}

fn in_node(case: &'static Case, name: &str) {
    if !tools::have("node") || !tools::have("npm") {
        return;
    }
    // A script finds its packages beside itself.
    let dir = tempfile::tempdir().unwrap();
    symlink(tools::node_with_sdks(), dir.path().join("node_modules")).unwrap();
    let copy = dir.path().join(name);
    std::fs::copy(script(name), &copy).unwrap();
    let found = Command::new("node")
        .args(["-p", "process.execPath"])
        .output()
        .unwrap();
    let node = String::from_utf8(found.stdout).unwrap();
    speaks_to_its_provider(case, Path::new(node.trim()), &copy);
}

/// One after another: the first of a language installs for all.
#[test]
fn the_python_sdks_find_key_and_address_and_are_masked() {
    in_python(&OPENAI, "openai_sdk.py");
    in_python(&ANTHROPIC, "anthropic_sdk.py");
    in_python(&GOOGLE, "google_sdk.py");
}

#[test]
fn the_node_sdks_find_key_and_address_and_are_masked() {
    in_node(&OPENAI, "openai_sdk.mjs");
    in_node(&ANTHROPIC, "anthropic_sdk.mjs");
    in_node(&GOOGLE, "google_sdk.mjs");
}
