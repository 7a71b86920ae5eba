//! The dashboard as a browser meets it: a real agent, a real listener on loopback, requests byte by byte.
//!
//! The scripts beside this file are those that a real browser runs for `web_browser` and `web_hosted`.

#![allow(clippy::unwrap_used)]

mod accounts;
mod guard;
#[path = "../hosted_support/mod.rs"]
mod hosted_support;
mod pages;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use akm_core::protocol::UiOpen;
use support::Agent;

/// What a link consists of.
struct Link {
    host: String,
    base: String,
    token: String,
}

fn link(agent: &Agent) -> Link {
    let link = agent.client().call(&UiOpen {}).unwrap();
    assert_eq!(link.expires_s, 60);
    let url = link.url.expose().strip_prefix("http://").unwrap();
    let (host, path) = url.split_once('/').unwrap();
    let (base, token) = path.split_once("/open#").unwrap();
    Link {
        host: host.to_owned(),
        base: format!("/{base}"),
        token: token.to_owned(),
    }
}

/// A request as it is, and the whole answer.
fn raw(host: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A browser that may come in.
struct Browser {
    host: String,
    base: String,
    cookie: String,
}

impl Browser {
    fn enter(agent: &Agent) -> Browser {
        let link = link(agent);
        let answer = post(
            &link.host,
            &format!("{}/open", link.base),
            "",
            &format!("token={}", link.token),
        );
        assert_eq!(status(&answer), 200, "{answer}");
        let line = header(&answer, "set-cookie").unwrap();
        let (cookie, flags) = line.split_once("; ").unwrap();
        assert_eq!(
            flags,
            format!("Path={}/; HttpOnly; SameSite=Strict", link.base)
        );
        Browser {
            host: link.host,
            base: link.base,
            cookie: cookie.to_owned(),
        }
    }

    fn get(&self, path: &str) -> String {
        raw(
            &self.host,
            &format!(
                "GET {}{path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\naccept-language: en\r\nconnection: close\r\n\r\n",
                self.base, self.host, self.cookie
            ),
        )
    }

    fn post(&self, path: &str, body: &str) -> String {
        self.post_with(path, body, "")
    }

    /// As the page's own script does.
    fn script(&self, path: &str, body: &str) -> String {
        self.post_with(path, body, "accept: application/json\r\n")
    }

    fn post_with(&self, path: &str, body: &str, more: &str) -> String {
        let more = format!("cookie: {}\r\n{more}", self.cookie);
        post(&self.host, &format!("{}{path}", self.base), &more, body)
    }
}

fn post(host: &str, path: &str, more: &str, body: &str) -> String {
    raw(
        host,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n{more}connection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
