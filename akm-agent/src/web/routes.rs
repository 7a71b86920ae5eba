//! From a request to a page.
//!
//! Checked in this order: where it comes from (`guard`), the path before the path, what everybody may load, the cookie, whether
//! the account is open. Only then is there a page. Whoever has no cookie learns nothing but that there is a door.

use akm_core::Secret;
use akm_core::audit::Caller;
use akm_core::error::{Error, Kind, Result};
use akm_core::protocol::{AgentStatus, Role, Status};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, StatusCode};

use super::answer::{self, Http};
use super::form::Form;
use super::guard::{self, Origin};
use super::theme::Site;
use super::words::{self, Words};
use super::{Edition, Visit, assets, page};
use crate::server::desk::{self, Desk};
use crate::server::route;

/// The cookie of a browser that may come in, and the one of the language it was told.
const GUEST: &str = "akm_guest";
const LANGUAGE: &str = "akm_lang";
/// Where a page sends which language is wanted.
const LANGUAGE_PATH: &str = "language";

/// Who lets browsers in.
pub(crate) trait Doorkeeper: Sync {
    /// A cookie for the token of a link of this uid's, once.
    fn exchange(&self, uid: u32, token: &Secret) -> Option<Secret>;
    /// Whom a cookie stands for.
    fn caller(&self, uid: u32, cookie: &Secret) -> Option<Caller>;
    /// Forgets a cookie.
    fn leave(&self, cookie: &Secret);
}

/// What a request meets.
pub(crate) struct Entry<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) site: &'a Site,
    pub(crate) origin: &'a Origin,
    pub(crate) base: &'a str,
    /// Whose process asks.
    pub(crate) uid: u32,
    pub(crate) doorkeeper: &'a dyn Doorkeeper,
}

/// What was asked, of whom a page may want to know more.
pub(crate) struct Ask {
    pub(crate) query: Form,
    pub(crate) form: Form,
    /// A script asks, and wants no page.
    pub(crate) script: bool,
    /// Path and query, for coming back.
    pub(crate) here: String,
}

impl Ask {
    fn new(parts: &hyper::http::request::Parts, form: Form) -> Ask {
        let query = parts.uri.query().unwrap_or("");
        let accept = parts.headers.get(ACCEPT);
        Ask {
            query: Form::parse(query.as_bytes()),
            form,
            script: accept == Some(&HeaderValue::from_static("application/json")),
            here: parts
                .uri
                .path_and_query()
                .map_or_else(String::new, |whole| whole.as_str().to_owned()),
        }
    }
}

/// Answers a request.
pub(crate) async fn answer(entry: &Entry<'_>, request: hyper::Request<Incoming>) -> Http {
    let (parts, body) = request.into_parts();
    guard::harden(match heard(entry, &parts, body).await {
        Ok(http) => http,
        Err(status) => answer::bare(status),
    })
}

async fn heard(
    entry: &Entry<'_>,
    parts: &hyper::http::request::Parts,
    body: Incoming,
) -> Result<Http, StatusCode> {
    entry
        .origin
        .check(&parts.method, &parts.uri, &parts.headers)?;
    let path = parts.uri.path().strip_prefix(entry.base);
    let path = path
        .and_then(|path| path.strip_prefix('/'))
        .ok_or(StatusCode::NOT_FOUND)?;
    let posts = parts.method == Method::POST;
    if let Some(name) = path.strip_prefix("assets/") {
        let asset = assets::find(entry.site, name).filter(|_| !posts);
        return asset.ok_or(StatusCode::NOT_FOUND);
    }
    let form = match posts {
        true => Form::parse(&desk::body(body).await?),
        false => Form::default(),
    };
    let words = words(entry.site, &parts.headers);
    if path == "open" {
        return Ok(match posts {
            true => exchange(entry, &form),
            false => page::open(entry.site, entry.base, words),
        });
    }
    let cookie = cookie(&parts.headers, GUEST).map(|value| Secret::new(value.to_owned()));
    let caller = cookie
        .as_ref()
        .and_then(|cookie| entry.doorkeeper.caller(entry.uid, cookie));
    let (Some(caller), Some(cookie)) = (caller, cookie) else {
        return Ok(page::no_entry(entry.site, entry.base, words));
    };
    if posts && path == "leave" {
        entry.doorkeeper.leave(&cookie);
        return Ok(page::left(entry.site, entry.base, words));
    }
    let visitor = entry
        .desk
        .owner(caller)
        .ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let visit = Visit {
        visitor: &visitor,
        site: entry.site,
        edition: Edition::Local,
        rules: None,
        base: entry.base,
        words,
    };
    Ok(pages(&visit, parts, path, form).await)
}

/// The language of whoever asks.
pub(super) fn words<'s>(site: &'s Site, headers: &HeaderMap) -> Words<'s> {
    let chosen = cookie(headers, LANGUAGE);
    let accepted = headers.get(ACCEPT_LANGUAGE);
    let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or("");
    Words::new(site.texts(), words::choose(chosen, accepted))
}

/// Whether there is a page at a path, to read or to send to, for somebody.
pub(super) fn is_known(path: &str) -> bool {
    path == LANGUAGE_PATH || page::PATHS.contains(&path) || page::session::PATHS.contains(&path)
}

/// To whoever asks a server for a path that no page has: a page to a browser, the envelope to a program.
pub(super) fn unknown(visit: &Visit<'_>, parts: &hyper::http::request::Parts) -> Http {
    let reads_pages = parts.headers.get_all(ACCEPT).iter().any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.to_ascii_lowercase().contains("text/html")
    });
    if !reads_pages {
        return route::unknown();
    }
    let ask = Ask::new(parts, Form::default());
    page::failed(visit, &ask, &no_page())
}

fn no_page() -> Error {
    Error::new(Kind::NotFound, "there is no such page")
}

/// A page for somebody who is known, or the page that says why there is none.
pub(super) async fn pages(
    visit: &Visit<'_>,
    parts: &hyper::http::request::Parts,
    path: &str,
    form: Form,
) -> Http {
    let posts = parts.method == Method::POST;
    let ask = Ask::new(parts, form);
    match visited(visit, posts, path, &ask).await {
        Ok(http) => http,
        Err(error) if ask.script => {
            let mut http = answer::json(&serde_json::json!({"error": visit.words.error(&error)}));
            *http.status_mut() = answer::status(&error);
            http
        }
        // It was locked between one look and the next.
        Err(error) if error.kind() == Kind::Locked && !posts => answer::see(&visit.path("unlock")),
        Err(error) => page::failed(visit, &ask, &error),
    }
}

/// Pages behind the door.
async fn visited(visit: &Visit<'_>, posts: bool, path: &str, ask: &Ask) -> Result<Http> {
    if posts && path == LANGUAGE_PATH {
        return Ok(language(visit, ask));
    }
    let status = visit.ask(AgentStatus {}).await?;
    if let Some(http) = page::session::route(visit, posts, path, ask, &status).await? {
        return Ok(http);
    }
    if let Some(http) = shut(visit, ask, &status) {
        return http;
    }
    let mut role = Role::User;
    if visit.is_hosted() {
        let who = visit.visitor.standing().await?.ok_or_else(Error::locked)?;
        if who.totp_missing && !page::session::SETTING_UP.contains(&path) {
            return Ok(answer::see(&visit.path("setup")));
        }
        role = who.role;
    }
    let page = page::Page::new(visit, ask, &status, role);
    if let Some(http) = page::route(&page, posts, path, ask).await? {
        return Ok(http);
    }
    Err(no_page())
}

/// The way to a page that needs an open account, while there is none.
fn shut(visit: &Visit<'_>, ask: &Ask, status: &Status) -> Option<Result<Http>> {
    if !status.locked {
        return None;
    }
    if ask.script {
        return Some(Err(Error::locked()));
    }
    let page = match status.initialized {
        true => "unlock",
        false => "register",
    };
    Some(Ok(answer::see(&visit.path(page))))
}

/// Trades the token of a link for a cookie.
fn exchange(entry: &Entry<'_>, form: &Form) -> Http {
    let cookie = form
        .secret("token")
        .and_then(|token| entry.doorkeeper.exchange(entry.uid, &token));
    let Some(cookie) = cookie else {
        return answer::bare(StatusCode::FORBIDDEN);
    };
    let mut http = answer::bare(StatusCode::OK);
    let line = zeroize::Zeroizing::new(format!(
        "{GUEST}={}; Path={}/; HttpOnly; SameSite=Strict",
        cookie.expose(),
        entry.base
    ));
    if let Ok(mut line) = HeaderValue::from_str(&line) {
        line.set_sensitive(true);
        http.headers_mut().insert(SET_COOKIE, line);
    }
    http
}

/// Remembers in which language a person wants to read.
fn language(visit: &Visit<'_>, ask: &Ask) -> Http {
    let tag = match ask.form.get("to") {
        Some("zh") => "zh",
        _ => "en",
    };
    let back = ask.form.get("back").unwrap_or_default();
    // Back into this dashboard, wherever the form says.
    let ours = back.starts_with(&format!("{}/", visit.base)) && !back.contains(['\\', '\r', '\n']);
    let back = match ours && !back.starts_with("//") {
        true => back.to_owned(),
        false => visit.path(""),
    };
    let mut http = answer::see(&back);
    let secure = if visit.is_hosted() { "; Secure" } else { "" };
    let line = format!(
        "{LANGUAGE}={tag}; Path={}/; HttpOnly; SameSite=Strict; Max-Age=31536000{secure}",
        visit.base
    );
    if let Ok(line) = HeaderValue::from_str(&line) {
        http.headers_mut().insert(SET_COOKIE, line);
    }
    http
}

/// The value of a cookie.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}
