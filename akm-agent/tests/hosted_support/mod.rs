//! A real agent with a listener on loopback, and a client that sends bytes as they are.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Agent, Home, PASSPHRASE, launch};

/// Anybody may register, without TOTP, as often as they like.
pub const OPEN: &str = "[hosted]\nregistration = \"open\"\ntotp_required = false\n\
    requests_per_minute = 0\nsign_ins_per_minute = 0\n";

/// Providers are asked through a proxy that is not there: no request leaves this machine.
const NO_PROVIDERS: &str = "[outbound]\nproxy = \"http://127.0.0.1:9\"\ntimeout_s = 1\n";

/// Something is sold, and nobody is refused for asking often.
const BILLING: &str = "codes = true\npush_secret = \"aRandomPathSecret123\"\n[gateway]\nsecret = \"a secret of the gateway, for tests\"\n\
    link = \"https://pay.example.com/?n={months}&for={custom}\"\n\
    [[product]]\nprovider = \"gateway\"\nplan = \"pro\"\ntier = \"pro\"\nprice = \"15.00\"\n\
    [[tier]]\nid = \"free\"\nname = \"Free\"\nname_zh = \"免费版\"\nprice_fen = 0\n\
    [[tier]]\nid = \"pro\"\nname = \"Pro\"\nname_zh = \"专业版\"\nprice_fen = 1500\n";

/// An agent that serves the network.
pub struct Site {
    pub agent: Agent,
    pub address: SocketAddr,
    pub home: Home,
}

impl Site {
    /// On plain loopback with this configuration.
    pub fn start(config: &str) -> Site {
        Site::with(config, &["--listen", "http://127.0.0.1:0"])
    }

    pub fn with(config: &str, arguments: &[&str]) -> Site {
        Site::at(Home::new(), config, arguments)
    }

    /// One that sells, to be asked anything: it is open to anybody and reaches no provider.
    pub fn selling() -> Site {
        let home = Home::new();
        let config = format!("{OPEN}{NO_PROVIDERS}");
        configure(&home, &config);
        private(&home.path().join("billing.toml"), BILLING.as_bytes());
        Site::at(home, &config, &["--listen", "http://127.0.0.1:0"])
    }

    pub fn at(home: Home, config: &str, arguments: &[&str]) -> Site {
        configure(&home, config);
        let mut command = home.command();
        command.arg("serve").args(arguments);
        let mut child = launch(command).unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !line.contains("listening on ") {
            line.clear();
            assert!(
                stderr.read_line(&mut line).unwrap() > 0,
                "no address was said"
            );
        }
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        // Nobody waits for the rest, and the agent must not wait for somebody to read it.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        });
        let socket = home.socket();
        Site {
            agent: Agent { child, socket },
            address,
            home,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(300)))
            .unwrap();
        stream
    }

    /// Sends bytes as they are; the first answer, as far as it is framed.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may refuse before it has taken everything.
        let _ = stream.write_all(bytes);
        Answer::read(&mut stream)
    }

    /// A request with these header lines.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|line| line.to_lowercase().starts_with("host:"))
        {
            head += &format!("Host: {}\r\n", self.address);
        }
        for line in headers {
            head += &format!("{line}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.raw(head.as_bytes())
    }

    /// An operation as a program asks for it.
    pub fn op(&self, token: Option<&str>, op: &str, body: &Value) -> Answer {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
        let mut headers = vec!["Content-Type: application/json"];
        headers.extend(bearer.as_deref());
        self.ask("POST", &format!("/v1/{op}"), &headers, &body.to_string())
    }

    /// Registers without TOTP; the token of the session.
    pub fn register(&self, account: &str) -> String {
        let body = json!({"account": account, "passphrase": PASSPHRASE, "totp": false});
        self.op(None, "account.register", &body).token()
    }

    pub fn sign_in(&self, account: &str, passphrase: &str) -> Answer {
        let body = json!({"account": account, "passphrase": passphrase});
        self.op(None, "agent.unlock", &body)
    }
}

pub fn configure(home: &Home, config: &str) {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(home.path())
        .unwrap();
    private(&home.path().join("config.toml"), config.as_bytes());
}

/// Writes a file that only its owner may read.
pub fn private(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An answer, or none where the server closed without one.
#[derive(Debug)]
pub struct Answer {
    /// 0 where the server closed.
    pub status: u16,
    pub head: String,
    pub body: String,
    /// Whether the server closed the connection behind it.
    pub closes: bool,
}

impl Answer {
    /// Reads one answer by its Content-Length.
    pub fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => break,
            }
        }
        let head = String::from_utf8(bytes).unwrap();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let length = header(&head, "content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        // An answer to HEAD announces what does not come; nobody asks with HEAD here.
        stream.read_exact(&mut body).unwrap();
        let announced = header(&head, "connection").is_some_and(|text| text == "close");
        Answer {
            status,
            closes: announced || status == 0,
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }

    /// As [`Answer::read`] with few system calls, where nothing but this answer is on its way.
    pub fn read_whole(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::with_capacity(4096);
        let mut piece = [0; 64 * 1024];
        let end = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (mut whole, mut head_end) = (usize::MAX, None);
        while bytes.len() < whole {
            let count = match stream.read(&mut piece) {
                // With a deadline, a stop and a continuation of the process end it.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(count > 0, "the server closed");
            bytes.extend_from_slice(&piece[..count]);
            if head_end.is_none()
                && let Some(at) = end(&bytes)
            {
                let head = std::str::from_utf8(&bytes[..at + 4]).unwrap();
                let length: usize = header(head, "content-length").unwrap().parse().unwrap();
                (whole, head_end) = (at + 4 + length, Some(at + 4));
            }
        }
        let body = bytes.split_off(head_end.unwrap());
        let head = String::from_utf8(bytes).unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            closes: header(&head, "connection").is_some_and(|text| text == "close"),
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }

    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["result"].clone()
    }

    pub fn kind(&self) -> String {
        self.json()["error"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn token(&self) -> String {
        self.result()["token"].as_str().unwrap().to_owned()
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (is, value) = line.split_once(':')?;
        is.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}
