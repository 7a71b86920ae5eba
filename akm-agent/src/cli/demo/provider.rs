//! A server on loopback that answers as OpenAI, Anthropic and Gemini answer a request for their models.
//!
//! Invariants: a key counts only in the header and form its provider takes it in, and nowhere else (a key in
//! the address, or in another provider's header, is refused), so a client that sends it wrongly fails; requests
//! are bounded and every wait ends.
//!
//! The answers are written by hand after the providers' documented ones. It answers nothing but
//! `GET …/models`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most bytes of a request's head, and of its body.
const MAX_REQUEST: u64 = 64 * 1024;
/// Longest wait for a client.
const PATIENCE: Duration = Duration::from_secs(10);

/// A provider that the server plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// `Authorization: Bearer KEY`
    Openai,
    /// `x-api-key: KEY` and `anthropic-version`
    Anthropic,
    /// `x-goog-api-key: KEY`
    Google,
}

impl Role {
    /// Every provider.
    pub(crate) const ALL: [Role; 3] = [Role::Openai, Role::Anthropic, Role::Google];

    /// Its id in the catalogue.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Role::Openai => "openai",
            Role::Anthropic => "anthropic",
            Role::Google => "google",
        }
    }

    /// The key it accepts.
    pub(crate) const fn valid_key(self) -> &'static str {
        match self {
            Role::Openai => "sk-demo-openai-5f0c2b7a91e44d38-wxyz",
            Role::Anthropic => "sk-ant-demo-anthropic-83b1d6c04f7e-mnop",
            Role::Google => "AIza-demo-google-d41f7be2905a6c3-qrst",
        }
    }

    /// A key that it knows and that asks too often.
    pub(crate) const fn busy_key(self) -> &'static str {
        match self {
            Role::Openai => "sk-demo-openai-too-many-requests-busy",
            Role::Anthropic => "sk-ant-demo-anthropic-too-many-requests-busy",
            Role::Google => "AIza-demo-google-too-many-requests-busy",
        }
    }

    /// A key that it does not know.
    pub(crate) const fn invalid_key(self) -> &'static str {
        match self {
            Role::Openai => "sk-demo-openai-revoked-long-ago-gone",
            Role::Anthropic => "sk-ant-demo-anthropic-revoked-long-ago-gone",
            Role::Google => "AIza-demo-google-revoked-long-ago-gone",
        }
    }

    /// The prefix under which it is reached, in the place of the provider's own endpoint.
    const fn base_path(self) -> &'static str {
        match self {
            Role::Openai => "/openai/v1",
            Role::Anthropic => "/anthropic",
            Role::Google => "/google/v1beta",
        }
    }

    const fn models_path(self) -> &'static str {
        match self {
            Role::Openai => "/openai/v1/models",
            Role::Anthropic => "/anthropic/v1/models",
            Role::Google => "/google/v1beta/models",
        }
    }
}

/// The running server; stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1. The answer of `broken` to its valid key is a server error.
    pub(crate) fn start(broken: Option<Role>) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let answered = Arc::clone(&answered);
                    if let Ok(stream) = stream {
                        std::thread::spawn(move || {
                            // A client that goes away is its own business.
                            let _ = serve(&stream, broken, &answered);
                        });
                    }
                }
            })
        };
        Ok(Server {
            address,
            stop,
            answered,
            thread: Some(thread),
        })
    }

    /// What to give as `--base-url`.
    pub(crate) fn base_url(&self, role: Role) -> String {
        format!("http://{}{}", self.address, role.base_path())
    }

    /// How many requests were answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The listener wakes for a connection and sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: &TcpStream, broken: Option<Role>, answered: &AtomicUsize) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(MAX_REQUEST));
    let Some(request) = Request::read(&mut reader)? else {
        return Ok(());
    };
    let (status, extra, body) = answer(&request, broken);
    answered.fetch_add(1, Ordering::SeqCst);
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{extra}connection: close\r\n\r\n{body}",
        body.len()
    )?;
    out.flush()
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\r', '\n']).to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut words = lines.first().map_or("", String::as_str).split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: lines
                .iter()
                .skip(1)
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        };
        let length = request
            .header("content-length")
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0);
        io::copy(&mut reader.take(length.min(MAX_REQUEST)), &mut io::sink())?;
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            // None, or two of them: a client that does not know what it sends.
            _ => None,
        }
    }

    /// The key, if it stands where this provider takes it and nowhere else.
    fn key(&self, role: Role) -> Option<&str> {
        let (own, others): (_, [&str; 2]) = match role {
            Role::Openai => ("authorization", ["x-api-key", "x-goog-api-key"]),
            Role::Anthropic => ("x-api-key", ["authorization", "x-goog-api-key"]),
            Role::Google => ("x-goog-api-key", ["authorization", "x-api-key"]),
        };
        let stray = others
            .iter()
            .any(|name| self.headers.iter().any(|(n, _)| n == name));
        if stray || self.query.contains("key=") {
            return None;
        }
        let value = self.header(own)?;
        match role {
            Role::Openai => value.strip_prefix("Bearer "),
            Role::Anthropic | Role::Google => Some(value),
        }
    }
}

type Answer = (&'static str, &'static str, &'static str);

const OK: &str = "200 OK";
const BAD_REQUEST: &str = "400 Bad Request";
const UNAUTHORIZED: &str = "401 Unauthorized";
const FORBIDDEN: &str = "403 Forbidden";
const TOO_MANY: &str = "429 Too Many Requests";
const LATER: &str = "retry-after: 20\r\n";

fn answer(request: &Request, broken: Option<Role>) -> Answer {
    let role = Role::ALL
        .into_iter()
        .find(|role| request.method == "GET" && request.path == role.models_path());
    let Some(role) = role else {
        return (
            "404 Not Found",
            "",
            r#"{"error":{"message":"unknown path"}}"#,
        );
    };
    let key = request.key(role);
    if broken == Some(role) && key == Some(role.valid_key()) {
        return ("500 Internal Server Error", "", "broken for this demo");
    }
    match role {
        Role::Openai => openai(key),
        Role::Anthropic if request.header("anthropic-version").is_none() => (
            BAD_REQUEST,
            "",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"anthropic-version: header is required"}}"#,
        ),
        Role::Anthropic => anthropic(key),
        Role::Google => google(key),
    }
}

fn openai(key: Option<&str>) -> Answer {
    match key {
        Some(key) if key == Role::Openai.valid_key() => (
            OK,
            "",
            r#"{"object":"list","data":[{"id":"gpt-5","object":"model","created":1754425777,"owned_by":"system"},{"id":"gpt-4o","object":"model","created":1715367049,"owned_by":"system"},{"id":"text-embedding-3-small","object":"model","created":1705948997,"owned_by":"system"}]}"#,
        ),
        Some(key) if key == Role::Openai.busy_key() => (
            TOO_MANY,
            LATER,
            r#"{"error":{"message":"Rate limit reached for requests. Please try again in 20s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
        ),
        Some(_) => (
            UNAUTHORIZED,
            "",
            r#"{"error":{"message":"Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        ),
        None => (
            UNAUTHORIZED,
            "",
            r#"{"error":{"message":"You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
    }
}

fn anthropic(key: Option<&str>) -> Answer {
    match key {
        Some(key) if key == Role::Anthropic.valid_key() => (
            OK,
            "",
            r#"{"data":[{"type":"model","id":"claude-sonnet-4-5","display_name":"Claude Sonnet 4.5","created_at":"2025-09-29T00:00:00Z"}],"has_more":true,"first_id":"claude-sonnet-4-5","last_id":"claude-sonnet-4-5"}"#,
        ),
        Some(key) if key == Role::Anthropic.busy_key() => (
            TOO_MANY,
            LATER,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit."}}"#,
        ),
        Some(_) => (
            UNAUTHORIZED,
            "",
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
        ),
        None => (
            UNAUTHORIZED,
            "",
            r#"{"type":"error","error":{"type":"authentication_error","message":"x-api-key header is required"}}"#,
        ),
    }
}

fn google(key: Option<&str>) -> Answer {
    match key {
        Some(key) if key == Role::Google.valid_key() => (
            OK,
            "",
            r#"{"models":[{"name":"models/gemini-2.5-flash","version":"001","displayName":"Gemini 2.5 Flash","supportedGenerationMethods":["generateContent","countTokens"]}],"nextPageToken":"Ch"}"#,
        ),
        Some(key) if key == Role::Google.busy_key() => (
            TOO_MANY,
            LATER,
            r#"{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        Some(_) => (
            BAD_REQUEST,
            "",
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}}]}}"#,
        ),
        None => (
            FORBIDDEN,
            "",
            r#"{"error":{"code":403,"message":"Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.","status":"PERMISSION_DENIED"}}"#,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, head: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "{head}\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn with_key(role: Role, key: &str) -> String {
        let path = role.models_path();
        match role {
            Role::Openai => format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {key}"),
            Role::Anthropic => format!(
                "GET {path}?limit=1 HTTP/1.1\r\nX-Api-Key: {key}\r\nanthropic-version: 2023-06-01"
            ),
            Role::Google => format!("GET {path}?pageSize=1 HTTP/1.1\r\nx-goog-api-key: {key}"),
        }
    }

    #[test]
    fn each_provider_answers_in_its_own_way() {
        let server = Server::start(None).unwrap();
        for (role, invalid) in [
            (Role::Openai, 401),
            (Role::Anthropic, 401),
            (Role::Google, 400),
        ] {
            let status = |key| ask(&server, &with_key(role, key)).0;
            assert_eq!(status(role.valid_key()), 200, "{role:?}");
            assert_eq!(status(role.busy_key()), 429, "{role:?}");
            assert_eq!(status(role.invalid_key()), invalid, "{role:?}");
            assert_eq!(status(""), invalid, "{role:?}");
        }
        assert_eq!(server.answered(), 12);
    }

    #[test]
    fn a_key_in_the_wrong_place_is_no_key() {
        let server = Server::start(None).unwrap();
        for role in Role::ALL {
            let right = with_key(role, role.valid_key());
            assert_eq!(ask(&server, &right).0, 200);
            let path = role.models_path();
            let key = role.valid_key();
            let mut wrong = vec![
                format!("GET {path} HTTP/1.1"),
                format!("GET {path}?key={key} HTTP/1.1\r\nanthropic-version: 1"),
                format!("{right}\r\nx-other: 1").replacen("GET", "HEAD", 1),
                right
                    .replacen("Bearer ", "Basic ", 1)
                    .replacen("pi-key:", "pi-keys:", 1)
                    .replacen("pi-Key:", "pi-keys:", 1),
            ];
            for other in Role::ALL.into_iter().filter(|other| *other != role) {
                let elsewhere = with_key(other, key).replacen(other.models_path(), path, 1);
                wrong.push(elsewhere);
                // Beside the right header, in another provider's: sprayed about.
                let (_, headers) = with_key(other, key)
                    .split_once("\r\n")
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    .unwrap();
                wrong.push(format!("{right}\r\n{headers}"));
            }
            for head in wrong {
                assert_ne!(ask(&server, &head).0, 200, "{head}");
            }
        }
    }

    #[test]
    fn a_broken_provider_breaks_alone() {
        let server = Server::start(Some(Role::Openai)).unwrap();
        let status = |role: Role| ask(&server, &with_key(role, role.valid_key())).0;
        assert_eq!(status(Role::Openai), 500);
        assert_eq!(status(Role::Anthropic), 200);
        assert_eq!(status(Role::Google), 200);
    }
}
